"""What every test shares: the Hypothesis profiles, and the watch over the purity of `sans_io`.

Profiles: `dev` (the default) explores; `ci` is derandomised, so that a pull request fails for what it changed and not
for a new roll of the dice; `nightly` searches longer. Choose with HYPOTHESIS_PROFILE or --hypothesis-profile.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import sans_io

# Two shared cores make a single example arbitrarily slow; whole-test time is bounded by pytest-timeout instead.
_COMMON = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}

settings.register_profile("dev", max_examples=200, **_COMMON)
settings.register_profile("ci", max_examples=200, derandomize=True, database=None, print_blob=True, **_COMMON)
settings.register_profile("nightly", max_examples=5_000, **_COMMON)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "dev"))

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell's background job is deaf to Ctrl-C, and so are all its children; some tests press it.
    signal.signal(signal.SIGINT, signal.default_int_handler)


# ---- an audit hook around every test (PEP 578): the core may not open, connect, start or wait ----------------------

_CORE = str(Path(sans_io.__file__).parent) + os.sep
_TESTS = str(Path(__file__).parent) + os.sep
_IMPURE = (
    "open",
    "socket.",
    "subprocess.",
    "os.",
    "time.sleep",
    "ctypes.",
    "shutil.",
    "tempfile.",
    "signal.",
    "_thread.",
)
_impure_acts: list[str] = []


def _watch(event: str, args: tuple[object, ...]) -> None:
    if not event.startswith(_IMPURE):
        return
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith("<frozen importlib"):  # an import opens files; which imports are allowed is another test
            return
        if name.startswith(_TESTS):  # the core calls no test: whatever it is doing, this one has come in between
            return
        if name.startswith(_CORE):
            _impure_acts.append(f"{event}{args!r:.200} from {name}:{frame.f_lineno}")
            return
        frame = frame.f_back


# Not under coverage: each thread installs a trace function there, which CPython refuses while this hook runs for
# another thread's ("Cannot install a trace function while another trace function is being installed").
WATCHING = sys.gettrace() is None
if WATCHING:
    sys.addaudithook(_watch)


@pytest.fixture(autouse=True)
def the_core_stays_pure() -> Iterator[None]:
    """Fails the test during which code called by `sans_io` touched the outside world."""
    _impure_acts.clear()
    yield
    assert not _impure_acts, "sans_io did I/O: " + "; ".join(_impure_acts)
