"""The embedded server never outlives its owner, whatever ends the owner."""

from __future__ import annotations

import gc
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from cloud.llm.embedded import EmbeddedServer, EmbeddedServerError

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and process ids of POSIX")

OWNER = """
import sys, time
from cloud.llm.embedded import EmbeddedServer
server = EmbeddedServer(progress=None)
try:
    server.start()
    print(server.pid, flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.fixture(autouse=True)
def _needs_the_model(server: EmbeddedServer) -> None:
    """Skips where the model does not run."""


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    # A zombie that nobody reaps (as in a container without an init) is dead for our purpose.
    return not (
        stat.exists() and stat.read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[0] == "Z"
    )


def gone_within(seconds: float, pid: int) -> bool:
    end = time.monotonic() + seconds
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.02)
    return not alive(pid)


def owner(code: str = OWNER) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("sign", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_it_ends_with_its_owner(sign: str) -> None:
    process = owner()
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    assert alive(pid)
    process.send_signal(getattr(signal, sign))
    _, errors = process.communicate(timeout=20)
    assert errors == ""
    assert gone_within(5, pid)


@pytest.mark.parametrize("delay", [0.15, 0.3, 0.5, 0.8])
def test_an_interrupted_start_leaves_nothing(delay: float) -> None:
    process = owner()
    time.sleep(delay)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    pids = [int(pid) for pid in children.read_text(encoding="ascii").split()] if children.exists() else []
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=20)
    assert all(gone_within(5, pid) for pid in pids)


def test_a_fork_of_the_owner_does_not_keep_it_alive() -> None:
    fork = OWNER.replace(
        "    time.sleep(60)",
        "    import os\n    if os.fork() == 0:\n        os.close(1); os.close(2); time.sleep(8); os._exit(0)\n    time.sleep(60)",
    )
    process = owner(fork)
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    process.kill()
    process.communicate(timeout=20)
    assert gone_within(5, pid)


def test_stop_and_the_garbage_collector_end_it() -> None:
    said = io.StringIO()
    server = EmbeddedServer(progress=said)
    with pytest.raises(RuntimeError, match="not running"):
        _ = server.base_url
    with server:
        pid = server.pid
        assert pid is not None
        with urllib.request.urlopen(f"{server.base_url}/models", timeout=10) as reply:
            assert json.load(reply)["data"][0]["id"] == server.model
    assert not alive(pid)
    server.stop()
    assert said.getvalue().startswith("Starting llama.cpp with SmolLM2-135M on this machine ... ready after ")
    server.start()
    pid = server.pid
    assert pid is not None
    del server
    gc.collect()
    assert gone_within(5, pid)


def test_a_start_that_takes_too_long_is_one_clear_line() -> None:
    with pytest.raises(EmbeddedServerError, match="did not answer within"):
        EmbeddedServer(progress=None, start_timeout=0.01).start()


def test_a_model_that_is_not_there_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloud.llm.embedded._MODEL_PACKAGE", "no-such-package")
    with pytest.raises(EmbeddedServerError, match="no-such-package is not installed"):
        EmbeddedServer(progress=None).start()


def test_a_server_that_dies_at_once_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"not a model")
    monkeypatch.setattr("cloud.llm.embedded._model_file", lambda: broken)
    with pytest.raises(EmbeddedServerError, match="the embedded server ended with exit code"):
        EmbeddedServer(progress=None).start()


def test_the_readme_s_block_for_a_model_on_this_machine(server: EmbeddedServer) -> None:
    """As a program of its own, as a reader would run it."""
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    (block,) = (each for each in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if "EmbeddedServer" in each)
    done = subprocess.run([sys.executable, "-c", block], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.strip()
