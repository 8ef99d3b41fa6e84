"""Worlds with Ctrl-C, finalisers and signal handlers in the middle of anything: nothing is lost, nobody is starved.

A tenth of the calls of test_simulation (SIM_CALLS); `make proof` makes a million.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

import pytest

from tests.proof.simulation.mutants import MOST, REENTRANT, ROOT, found_by, plant
from tests.proof.simulation.test_simulation import CALLS, RAREST
from transports.testing.simulation.events import Event
from transports.testing.simulation.reentry import EVENTS, MANNERS
from transports.testing.simulation.search import Findings, run_seed, search, shrink

pytestmark = [
    pytest.mark.timeout(1800),
    pytest.mark.skipif(sys.gettrace() is not None, reason="a tracer is set, so there would be no events"),
]


@pytest.fixture(scope="module")
def findings() -> Findings:
    return search(0, CALLS // 240 + 1, jobs=os.cpu_count() or 1, reentrant=True)


def test_no_invariant_breaks(findings: Findings) -> None:
    for seed, violation in findings.failures[:3]:
        print(f"seed {seed}: {violation}\n  {shrink(seed, reentrant=True).command}")
    assert not findings.failures


def test_something_happens_in_the_middle_of_enough_calls(findings: Findings) -> None:
    counts = findings.histogram
    assert counts["event:ahead"] > 0.25 * findings.calls
    assert counts["fault:ctrl_c"] + counts["fault:collected"] > 0.05 * findings.calls
    if findings.calls >= 5_000:
        rare = {name: counts["fault:" + name] for name in (*EVENTS, *MANNERS)}
        assert not {name: count for name, count in rare.items() if count < 2 * RAREST * findings.calls}


@pytest.mark.parametrize("mutant", REENTRANT, ids=lambda mutant: mutant.name)
def test_a_planted_mistake_is_found(mutant, tmp_path) -> None:
    """By the seed that finds it on CPython 3.11, or by another one: bytecodes differ."""
    seed = found_by(mutant, plant(mutant, tmp_path))
    assert seed is not None, f"not found in {MOST} worlds"
    assert not run_seed(seed, reentrant=True).violations


# -- a seed is a world -----------------------------------------------------------------------------------------------

#: Worlds before these, of either kind, change nothing: what a process does only once is not counted.
PROGRAM = """
from transports.testing.simulation import run_seed
for seed in {before}:
    run_seed(seed, reentrant=seed % 2 == 0)
print(*[run_seed(seed, reentrant=True).digest for seed in range(8)])
"""


@pytest.mark.parametrize("before", [(), (1, 3, 8, 9, 11)], ids=["alone", "after others"])
def test_the_same_in_another_process(before: tuple[int, ...]) -> None:
    here = [run_seed(seed, reentrant=True).digest for seed in range(8)]
    assert len(set(here)) == 8
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(before=before)], cwd=ROOT, capture_output=True, text=True, check=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": str(len(before))},
    )  # fmt: skip
    assert done.stdout.split() == here


def test_events_can_be_left_out() -> None:
    less = run_seed(5, reentrant=True, without=frozenset(EVENTS))
    assert less.histogram["event:ahead"] > 0
    assert not [name for name in EVENTS if less.histogram["fault:" + name]]


def test_where_something_traces_already_nothing_happens() -> None:
    seen: Counter[str] = Counter()

    def tracer(frame, event, argument):
        seen[event] += 1

    sys.settrace(tracer)
    try:
        outcome = run_seed(2, reentrant=True)
        assert sys.gettrace() is tracer
    finally:
        sys.settrace(None)
    assert seen["call"] > 1000
    assert outcome.histogram["event:not traced"] > 0
    assert not [name for name in EVENTS if outcome.histogram["fault:" + name]]
    assert not outcome.violations


def test_nothing_traces_afterwards() -> None:
    run_seed(2, reentrant=True)
    assert sys.gettrace() is None


# -- the event itself ------------------------------------------------------------------------------------------------


def test_each_bytecode_can_be_met() -> None:
    """Also those of a function that ran untraced before, which CPython 3.12 and 3.13 do not trace without being asked."""

    def function(number: int) -> int:
        try:
            number += 1
        finally:
            number += 2
        return number

    for _ in range(100):
        function(1)
    places: list[str] = []
    for left in range(1, 100):
        event = Event(lambda code: code is function.__code__, left, lambda _, place: places.append(place))
        event.during = object()  # type: ignore[assignment]
        sys.settrace(event.enter)
        try:
            function(1)
        finally:
            sys.settrace(None)
        if not event.over:
            break
    assert len(set(places)) > 10
