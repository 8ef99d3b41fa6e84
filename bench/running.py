"""What the benchmarks share: the load server in a process of its own, and programs counted by cachegrind."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent


def environment(*, writes_bytecode: bool) -> dict[str, str]:
    """That of a measured process: our packages are those of this checkout, and sets have the same order each time.

    Without writing bytecode, of two runs the first does not pay for what the second finds.
    """
    chosen = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONPATH": str(HERE.parent)}
    chosen["PYTHONDONTWRITEBYTECODE"] = "" if writes_bytecode else "1"
    return chosen


@contextmanager
def load_server() -> Iterator[str]:
    """The URL of a server that is killed at the end."""
    command = [sys.executable, str(HERE / "server.py")]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        yield f"http://127.0.0.1:{server.stdout.readline().split()[1]}"
    finally:
        server.kill()


def instructions(arguments: list[str], environment: dict[str, str]) -> int:
    """All instructions of one interpreter with these arguments."""
    cachegrind = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
    command = [*cachegrind, sys.executable, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    found = re.search(r"I\s+refs:\s+([\d,]+)", done.stderr)
    if done.returncode or found is None:
        raise RuntimeError(f"{arguments}: {done.stderr[-400:]}")
    return int(found[1].replace(",", ""))
