"""What a blocked thread waits on can be woken by code that interrupts its own `wait` or `wake`."""

from __future__ import annotations

import sys
import threading
from time import monotonic, sleep
from typing import Any

import pytest

from cloud.llm.single_flight import _ThreadWakeup
from tests.callers import BUSY
from tests.interrupting import OURS, Tracer, at
from tests.interrupts.kit import Scenario, at_every_bytecode, ctrl_c_at_every_bytecode, finalisers_everywhere, watched
from transports.httpcore_sync import BlockingWakeup

WAKEUPS = pytest.mark.parametrize("kind", [BlockingWakeup, _ThreadWakeup])


def returns_at_once(wakeup: Any) -> None:
    began = monotonic()
    wakeup.wait(began + 60.0)
    assert monotonic() - began < BUSY


@WAKEUPS
@pytest.mark.parametrize("woken", [True, False], ids=["woken", "not woken"])
def test_a_handler_wakes_at_any_bytecode_of_a_wait(kind: Any, woken: bool) -> None:
    """Those of the standard library included: an `Event` gets stuck in its own."""

    def make() -> Scenario:
        wakeup = kind()
        if woken:
            wakeup.wake()
        # Not by the handler but by the clock, or the wait would have no last bytecode to interrupt.
        return (lambda: wakeup.wait(monotonic() + (60.0 if woken else 0.01))), wakeup.wake, lambda: None

    assert at_every_bytecode(make, everywhere=True) > 5


@WAKEUPS
def test_a_wake_at_any_bytecode_before_the_thread_sleeps_keeps_it_awake(kind: Any) -> None:
    def bytecodes_before_it_sleeps() -> int:
        wakeup, tracer = kind(), Tracer(0, lambda: None, False, OURS)

        def wait() -> None:
            sys.settrace(tracer)
            wakeup.wait(monotonic() + 60.0)

        thread = threading.Thread(target=wait)
        thread.start()
        sleep(0.3)
        seen = tracer.seen
        wakeup.wake()
        thread.join()
        return seen

    for step in range(1, bytecodes_before_it_sleeps() + 1):
        wakeup, began = kind(), monotonic()
        watched(lambda: at(step, wakeup.wake, lambda: wakeup.wait(began + 60.0)))
        assert monotonic() - began < BUSY, step


@WAKEUPS
def test_a_handler_wakes_at_any_bytecode_of_a_wake(kind: Any) -> None:
    def make() -> Scenario:
        wakeup = kind()
        return wakeup.wake, wakeup.wake, lambda: returns_at_once(wakeup)

    assert at_every_bytecode(make, everywhere=True) > 5


def test_a_wakeup_that_a_handler_woke_stays_woken() -> None:
    def make() -> Scenario:
        wakeup = BlockingWakeup()

        def check() -> None:
            returns_at_once(wakeup)
            returns_at_once(wakeup)

        return (lambda: wakeup.wait(monotonic() + 0.01)), wakeup.wake, check

    assert at_every_bytecode(make) > 5


@WAKEUPS
def test_ctrl_c_at_any_bytecode_leaves_a_wakeup_that_works(kind: Any) -> None:
    def waiting() -> tuple[Any, Any]:
        wakeup = kind()
        wakeup.wake()

        def check() -> None:
            wakeup.wake()
            returns_at_once(wakeup)

        return (lambda: wakeup.wait(monotonic() + 60.0)), check

    def ringing() -> tuple[Any, Any]:
        wakeup = kind()

        def check() -> None:
            wakeup.wake()
            returns_at_once(wakeup)

        return wakeup.wake, check

    assert ctrl_c_at_every_bytecode(waiting) > 5
    assert ctrl_c_at_every_bytecode(ringing) >= 5


@WAKEUPS
def test_finalisers_wake_while_others_wake(kind: Any) -> None:
    wakeup = kind()

    def rounds() -> None:
        with finalisers_everywhere(wakeup.wake) as leave_garbage:
            for _ in range(300):
                leave_garbage()
                wakeup.wake()
                wakeup.wait(monotonic() + 60.0)

    watched(rounds)


@WAKEUPS
def test_another_thread_wakes_a_waiting_one(kind: Any) -> None:
    wakeup = kind()
    timer = threading.Timer(0.05, wakeup.wake)
    timer.start()
    returns_at_once(wakeup)
    timer.join()
    began = monotonic()
    kind().wait(began + 0.05)
    assert 0.05 <= monotonic() - began < 0.05 + BUSY
