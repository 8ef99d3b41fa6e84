"""Thousands of mixed calls leave no memory, descriptor, thread or task behind. SOAK_CALLS=50000 is the long form."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CALLS = int(os.environ.get("SOAK_CALLS", "10000"))


@pytest.mark.serial
@pytest.mark.slow
@pytest.mark.timeout(120 + CALLS // 40)
def test_a_long_run_leaves_nothing() -> None:
    """In a process of its own, so that the memory is ours and not the test runner's."""
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.proof.soak.run", str(CALLS)],
        cwd=Path(__file__).parents[3], capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert ran.stderr == ""
    seen = json.loads(ran.stdout)
    outcomes = seen["outcomes"]
    assert outcomes.get("wrong", 0) == 0
    assert seen["calls"] >= CALLS * 0.98
    assert outcomes["answer"] + outcomes["stream"] > seen["calls"] * 0.7
    assert {"left", "cancelled", "LLMConnectionError", "LLMServerError"} <= outcomes.keys()
    assert seen["after"] == seen["before"]
    assert max(seen["memory"][1:]) - seen["memory"][0] <= 2 << 20, seen["memory"]
