"""The whole client on virtual time: many seeds, no invariant broken; the same seed, the same trace.

SIM_CALLS sets how many calls are made (default 3,000; `.ci/run` makes 100,000, `make proof` a million).
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.proof.simulation.mutants import MOST, MUTANTS, found_by, plant
from transports.testing.simulation.faults import CATALOGUE
from transports.testing.simulation.search import Findings, run_seed, search, shrink

#: The first test to need them waits for all the worlds.
pytestmark = pytest.mark.timeout(1800)

CALLS = int(os.environ.get("SIM_CALLS", "3000"))
#: How rare the rarest fault may be: 1,000 in a million calls.
RAREST = 0.001


@pytest.fixture(scope="module")
def findings() -> Findings:
    return search(0, CALLS // 24 + 1, jobs=os.cpu_count() or 1)


def test_no_invariant_breaks(findings: Findings) -> None:
    for seed, violation in findings.failures[:3]:
        print(f"seed {seed}: {violation}\n  {shrink(seed).command}")
    assert not findings.failures


def test_the_calls_are_hard_enough(findings: Findings) -> None:
    counts = findings.histogram
    assert counts["streams"] >= 0.6 * findings.calls
    assert counts["met a fault"] >= 0.7 * findings.calls
    if findings.calls >= 50_000:
        rare = {
            name: counts[name]
            for name in [*(f"fault:{spec.name}" for spec in CATALOGUE), *PHASES, *ENDS]
            if counts[name] < RAREST * findings.calls
        }
        assert not rare


PHASES = [f"phase:{name}" for name in ("acquire", "connect", "write", "head", "body", "stream", "backoff")]
ENDS = [
    "end:" + name
    for name in (
        "completed", "cancelled", "LLMTimeoutError", "LLMConnectionError", "LLMStreamError", "LLMProtocolError",
        "LLMServerError", "LLMRateLimitError", "LLMQuotaError", "LLMAuthError", "LLMBadRequestError",
    )
]  # fmt: skip


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_planted_mistake_is_found(mutant, tmp_path) -> None:
    seed = found_by(mutant, plant(mutant, tmp_path))
    assert seed is not None, f"not found in {MOST} worlds"
    assert not run_seed(seed).violations


def test_a_failing_seed_shrinks_to_a_command(tmp_path) -> None:
    mutant = next(mutant for mutant in MUTANTS if mutant.name == "partial lost")
    planted = plant(mutant, tmp_path)
    seed = found_by(mutant, planted)
    program = f"from transports.testing.simulation.search import shrink; s = shrink({seed}); print(s.calls, s.command)"
    done = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": str(planted)}, cwd=tmp_path,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    calls, _, command = done.stdout.strip().partition(" ")
    assert int(calls) < 24
    assert command.startswith(f"python -m transports.testing.simulation replay {seed} --calls {calls}")
