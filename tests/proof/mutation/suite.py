"""The tests that judge mutants, inside pytest: what each executes and how long it takes, and running some of them.

Hypothesis runs fewer examples, derandomised, and shrinks nothing: whether a test fails is all that is asked.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import signal
import time
import warnings
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any

import coverage
import pytest
from _pytest.runner import runtestprotocol
from _pytest.warnings import catch_warnings_for_item
from hypothesis import Phase, settings

from tests.proof.mutation import patch

ROOT = Path(__file__).resolve().parents[3]
#: What needs neither sockets nor threads nor minutes.
PLACES = [
    *(f"tests/{place}" for place in ("call", "policy", "decoders", "tool_calls", "http11", "failures", "messages")),
    *(f"tests/{place}" for place in ("urls", "proxies", "promises", "fuzz", "wires", "recordings", "mutation")),
    *(f"tests/cloud/test_{name}.py" for name in ("config", "credentials")),
    *(f"tests/security/test_{name}.py" for name in ("caps", "inputs", "hiding")),
    "tests/house/test_records.py",
]
#: A test that takes longer than this (seconds) judges no mutant.
TOO_LONG = 3.0
ARGUMENTS = [
    *("-q", "-p", "no:cacheprovider", "-o", "timeout=0", "--tb=native"),
    *("-W", "ignore::pytest.PytestAssertRewriteWarning", "-m", "not serial and not real_model and not slow"),
]
Lines = dict[str, list[int]]
#: Test -> (seconds, module of the core -> lines executed).
Learned = dict[str, tuple[float, Lines]]


def with_few_examples(items: Iterable[pytest.Item], examples: int) -> None:
    """At most so many examples of every Hypothesis test and state machine."""
    for item in items:
        machine = getattr(getattr(item, "cls", None), "settings", None)
        if isinstance(machine, settings):
            item.cls.settings = _few(machine, examples)  # type: ignore[attr-defined]
        function = getattr(item, "obj", None)
        function = getattr(function, "__func__", function)
        used = getattr(function, "_hypothesis_internal_use_settings", None)
        if used is not None or getattr(function, "is_hypothesis_test", False):
            function._hypothesis_internal_use_settings = _few(used or settings.default, examples)


def _few(given: Any, examples: int) -> settings:
    return settings(
        given,
        max_examples=min(given.max_examples, examples),
        phases=(Phase.explicit, Phase.generate),
        derandomize=True,
        database=None,
        report_multiple_bugs=False,
    )


def passes(item: pytest.Item) -> bool:
    patch.forget_what_was_cached()
    # What pytest does around it: without these filters a test that expects a warning would be failed by it.
    with catch_warnings_for_item(item.config, item.ihook, "runtest", item):
        return not any(report.failed for report in runtestprotocol(item, log=False, nextitem=None))


def judge(items: list[pytest.Item], seconds: Iterable[float], say: Any) -> int:
    """In a child: runs the tests until one fails; returns the exit code, 1 for a failure. `say(n)` before test n.

    A test that takes much longer than it did is ended by a signal, and the process with it: the mutant is endless.
    """
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
    for number, (item, usual) in enumerate(zip(items, seconds, strict=True)):
        say(number)
        signal.setitimer(signal.ITIMER_VIRTUAL, 2 + 8 * usual)
        try:
            if not passes(item):
                return 1
        except BaseException:  # the child's only purpose: a mutant that exits or interrupts is found too
            return 1
    signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    return 0


def learn(items: list[pytest.Item], examples: int) -> Learned:
    """Runs every test once; what was learned is kept in `.mutation`, for as long as neither code nor test changes."""
    path = ROOT / ".mutation" / f"learned-{examples}.json"
    path.parent.mkdir(exist_ok=True)
    (path.parent / ".gitignore").write_text("*\n")
    kept: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    core = _digest(*sorted((ROOT / "sans_io").rglob("*.py")))
    if kept.get("core") != core:
        kept = {"core": core, "files": {}}
    files: dict[str, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(str(item.path.relative_to(ROOT)), []).append(item)
    found: Learned = {}
    for name, tests in files.items():
        digest = _digest(ROOT / name)
        entry = kept["files"].get(name)
        if entry is None or entry["digest"] != digest:
            entry = kept["files"][name] = {"digest": digest, "tests": _executed(tests)}
            path.write_text(json.dumps(kept))
        found.update({test: (seconds, lines) for test, (seconds, lines) in entry["tests"].items()})
    patch.live_functions()
    patch.forget_what_was_cached()
    gc.freeze()  # children then copy fewer pages; what is frozen is no longer listed, hence the two lines above
    return found


def _executed(items: list[pytest.Item]) -> Learned:
    """Failing tests and those that are too long are left out."""
    recorder = coverage.Coverage(data_file=None, config_file=False, include=[str(ROOT / "sans_io" / "*")])
    recorder.start()
    durations: dict[str, float] = {}
    for item in items:
        recorder.switch_context(item.nodeid)
        began = time.process_time()
        passed = passes(item)
        took = time.process_time() - began
        if not passed:
            os.write(2, f"{item.nodeid} fails without any mutant, so it is not asked\n".encode())
        elif took < TOO_LONG:
            durations[item.nodeid] = round(took, 4)
    recorder.stop()
    executed: dict[str, Lines] = {test: {} for test in durations}
    with warnings.catch_warnings(action="ignore", category=coverage.exceptions.CoverageWarning):
        data = recorder.get_data()  # it warns where a file's tests execute nothing of the core
    for path in data.measured_files():
        module = str(Path(path).relative_to(ROOT))
        for line, tests in data.contexts_by_lineno(path).items():
            for test in tests:
                if test in executed:
                    executed[test].setdefault(module, []).append(line)
    return {test: (durations[test], lines) for test, lines in executed.items()}


def _digest(*paths: Path) -> str:
    return sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()
