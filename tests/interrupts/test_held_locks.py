"""A signal handler or a finaliser that works on for seconds inside a locked part stops nobody else.

The thread it interrupts keeps the lock meanwhile. Here a thread is kept inside a change by an event instead.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from time import monotonic, sleep
from typing import Any

import pytest

from cloud.llm import LLMError
from cloud.llm.budgets import SharedBudget
from sans_io.http.urls import Origin
from sans_io.policy.pool import Pool, Route, Ticket
from tests.callers import HELLO
from tests.interrupts.scene import Scene, dies_rather_than_hangs
from transports.exclusion import PATIENCE, Busy, Exclusion
from transports.httpcore_sync import BlockingWakeup
from transports.interface import PoolRunner
from transports.resolver import DaemonThreads, ThreadJob
from transports.testing import LoopbackServer

ROUTE = Route(Origin("http", "host", 80))
#: What counts as "at once" on a busy machine, in seconds.
SOON = PATIENCE + 1.0


@contextmanager
def kept_inside(enter: Callable[[Callable[[], object]], object]) -> Iterator[None]:
    """Another thread inside a locked part, until the block ends. `enter` runs what it is given in the locked part."""
    inside, free = threading.Event(), threading.Event()

    def stay() -> list[Any]:
        inside.set()
        free.wait(30.0)
        return []

    thread = threading.Thread(target=enter, args=(stay,), daemon=True)
    thread.start()
    assert inside.wait(10.0)
    try:
        yield
    finally:
        free.set()
        thread.join(30.0)
        assert not thread.is_alive()


def kept_in_the_pool(runner: PoolRunner) -> Any:
    return kept_inside(lambda stay: runner._change(0.0, lambda now: stay()))


def took(work: Callable[[], object]) -> float:
    begun = monotonic()
    work()
    return monotonic() - begun


# -- the lock itself --------------------------------------------------------------------------------------------------


def test_what_is_given_back_is_left_to_the_holder_at_once() -> None:
    exclusion, done = Exclusion(), []
    with kept_inside(exclusion.do):
        assert took(lambda: exclusion.give(partial(done.append, 1))) < PATIENCE
        assert not done
    assert done == [1]


def test_a_result_is_waited_for_no_longer_than_patience() -> None:
    exclusion = Exclusion()
    with kept_inside(exclusion.do):
        begun = monotonic()
        with pytest.raises(Busy):
            exclusion.do(lambda: 1)
        assert PATIENCE * 0.9 < monotonic() - begun < SOON
    assert exclusion.do(lambda: 1) == 1


def test_a_holder_that_only_passes_through_is_waited_for() -> None:
    exclusion = Exclusion()

    def hold() -> None:
        for _ in range(20):
            exclusion.do(lambda: sleep(0.005))

    threads = [threading.Thread(target=hold) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


# -- the pool -----------------------------------------------------------------------------------------------------------


def test_a_seat_is_refused_and_what_is_given_back_is_left() -> None:
    runner = PoolRunner(partial(Pool, max_connections=1), BlockingWakeup)
    first, second, third = (Ticket[Any](ROUTE) for _ in range(3))
    assert runner.seat(first, 0.0)
    assert runner.seat(second, 0.0)
    with kept_in_the_pool(runner):
        assert took(lambda: runner.cancel(first, 1.0)) < PATIENCE
        assert not second.granted
        assert not runner.seat(third, 1.0)
        assert third.state == "new"
        assert not runner.stale(second, 1.0)
        assert not runner.connected(second, None, 1.0)  # type: ignore[arg-type]
        assert took(lambda: runner.sweep(1.0)) < PATIENCE
    assert second.granted, "the holder did what was left, and the next in line has its seat"
    assert second.waker._woken or second.waker._lock.acquire(False)
    runner.cancel(second, 2.0)
    assert runner.stats().leased + runner.stats().connecting + runner.stats().waiting == 0


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with LoopbackServer() as server:
        yield server.base_url("openai")


@pytest.mark.parametrize("place", ["seat", "connected", "stale"])
def test_a_call_goes_on_apart_wherever_the_pool_is_kept(url: str, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answer comes, and afterwards nothing is missing in either pool."""
    scene = Scene(url, warm=place == "stale", max_connections=2)
    runner = scene.transport._runtime.pool_runner
    real, apart = getattr(PoolRunner, place), []

    def kept(self: PoolRunner, *args: Any) -> bool:
        if self is not runner:
            apart.append(self)
            return bool(real(self, *args))
        with kept_in_the_pool(runner):
            return bool(real(self, *args))

    monkeypatch.setattr(PoolRunner, place, kept)
    if place == "stale":
        (idle,) = runner.connections
        monkeypatch.setattr(type(idle), "unread", lambda self: self is idle)
    with dies_rather_than_hangs(60):
        assert took(scene.chat) < 5 * SOON
    assert apart or place == "stale"
    monkeypatch.undo()
    scene.chat()
    for each in {runner, *apart}:
        stats = each.stats()
        assert (stats.leased, stats.connecting, stats.waiting) == (0, 0, 0)


def test_other_threads_keep_their_deadlines_while_a_handler_works_inside(url: str) -> None:
    scene = Scene(url, warm=True, max_connections=2)
    runner = scene.transport._runtime.pool_runner
    outcomes: list[object] = []

    def call() -> None:
        try:
            outcomes.append(scene.client.chat(HELLO).content)
        except LLMError as error:
            outcomes.append(error)

    with kept_in_the_pool(runner), dies_rather_than_hangs(60):
        threads = [threading.Thread(target=call) for _ in range(8)]
        spent = took(lambda: ([t.start() for t in threads], [t.join(30.0) for t in threads]))
        assert len(outcomes) == 8
    assert all(isinstance(each, str) for each in outcomes), outcomes
    assert spent < 10 * SOON
    stats = scene.transport.pool_stats()
    assert (stats.leased, stats.connecting, stats.waiting) == (0, 0, 0)


# -- the others ---------------------------------------------------------------------------------------------------------


def test_a_budget_answers_from_a_copy_and_takes_later(monkeypatch: pytest.MonkeyPatch) -> None:
    from cloud.llm import budgets

    exclusion = Exclusion()
    monkeypatch.setattr(budgets, "_inside", exclusion)
    budget = SharedBudget((0, Origin("http", "host", 80), None))
    before = budget.tokens
    with kept_inside(exclusion.do):
        assert budget.take(5, 0.0) == 5
        assert budget.tokens == before
    assert budget.tokens == before - 5


def test_a_lookup_gets_a_thread_of_its_own() -> None:
    lookups = DaemonThreads(2)
    with kept_inside(lookups._inside.do):
        wakeup = BlockingWakeup()
        job = lookups.join(ThreadJob("name", "lookup", lambda: 7), wakeup)
        wakeup.wait(monotonic() + 10.0)
        assert job.done
        assert job.value() == 7
        job.unwatch(wakeup)


def test_a_lookup_that_ends_while_the_lock_is_kept_is_told_of() -> None:
    lookups, go = DaemonThreads(2), threading.Event()
    wakeup = BlockingWakeup()
    job = lookups.join(ThreadJob("name", "lookup", lambda: go.wait(10.0)), wakeup)
    with kept_inside(lookups._inside.do):
        go.set()
        wakeup.wait(monotonic() + 10.0)
        assert job.done
        assert job.value() is True
        job.unwatch(wakeup)
    second = BlockingWakeup()
    assert lookups.join(ThreadJob("name", "lookup", lambda: 8), second) is not job
