"""What a blocked thread waits on can be rung by code that interrupts its own `wait` or `ring`."""

from __future__ import annotations

import sys
import threading
from time import monotonic, sleep
from typing import Any

import pytest

from cloud.llm.flights import _Wakeup
from tests.callers import BUSY
from tests.interrupting import OURS, Tracer, at
from tests.interrupts.kit import Scenario, at_every_bytecode, ctrl_c_at_every_bytecode, finalisers_everywhere, watched
from transports.httpcore_sync import Bell

BELLS = pytest.mark.parametrize("kind", [Bell, _Wakeup])


def returns_at_once(bell: Any) -> None:
    began = monotonic()
    bell.wait(began + 60.0)
    assert monotonic() - began < BUSY


@BELLS
@pytest.mark.parametrize("rung", [True, False], ids=["rung", "not rung"])
def test_a_handler_rings_at_any_bytecode_of_a_wait(kind: Any, rung: bool) -> None:
    """Those of the standard library included: an `Event` gets stuck in its own."""

    def make() -> Scenario:
        bell = kind()
        if rung:
            bell.ring()
        # Not rung by the handler: by the clock, or the wait would have no last bytecode to interrupt.
        return (lambda: bell.wait(monotonic() + (60.0 if rung else 0.01))), bell.ring, lambda: None

    assert at_every_bytecode(make, everywhere=True) > 5


@BELLS
def test_a_ring_at_any_bytecode_before_the_thread_sleeps_keeps_it_awake(kind: Any) -> None:
    def bytecodes_before_it_sleeps() -> int:
        bell, tracer = kind(), Tracer(0, lambda: None, False, OURS)

        def wait() -> None:
            sys.settrace(tracer)
            bell.wait(monotonic() + 60.0)

        thread = threading.Thread(target=wait)
        thread.start()
        sleep(0.3)
        seen = tracer.seen
        bell.ring()
        thread.join()
        return seen

    for step in range(1, bytecodes_before_it_sleeps() + 1):
        bell, began = kind(), monotonic()
        watched(lambda: at(step, bell.ring, lambda: bell.wait(began + 60.0)))
        assert monotonic() - began < BUSY, step


@BELLS
def test_a_handler_rings_at_any_bytecode_of_a_ring(kind: Any) -> None:
    def make() -> Scenario:
        bell = kind()
        return bell.ring, bell.ring, lambda: returns_at_once(bell)

    assert at_every_bytecode(make, everywhere=True) > 5


def test_a_bell_that_a_handler_rang_stays_rung() -> None:
    def make() -> Scenario:
        bell = Bell()

        def check() -> None:
            returns_at_once(bell)
            returns_at_once(bell)

        return (lambda: bell.wait(monotonic() + 0.01)), bell.ring, check

    assert at_every_bytecode(make) > 5


@BELLS
def test_ctrl_c_at_any_bytecode_leaves_a_wakeup_that_works(kind: Any) -> None:
    def waiting() -> tuple[Any, Any]:
        bell = kind()
        bell.ring()

        def check() -> None:
            bell.ring()
            returns_at_once(bell)

        return (lambda: bell.wait(monotonic() + 60.0)), check

    def ringing() -> tuple[Any, Any]:
        bell = kind()

        def check() -> None:
            bell.ring()
            returns_at_once(bell)

        return bell.ring, check

    assert ctrl_c_at_every_bytecode(waiting) > 5
    assert ctrl_c_at_every_bytecode(ringing) >= 5


@BELLS
def test_finalisers_ring_while_others_ring(kind: Any) -> None:
    bell = kind()

    def rounds() -> None:
        with finalisers_everywhere(bell.ring) as leave_garbage:
            for _ in range(300):
                leave_garbage()
                bell.ring()
                bell.wait(monotonic() + 60.0)

    watched(rounds)


@BELLS
def test_another_thread_wakes_a_waiting_one(kind: Any) -> None:
    bell = kind()
    timer = threading.Timer(0.05, bell.ring)
    timer.start()
    returns_at_once(bell)
    timer.join()
    began = monotonic()
    kind().wait(began + 0.05)
    assert 0.05 <= monotonic() - began < 0.05 + BUSY
