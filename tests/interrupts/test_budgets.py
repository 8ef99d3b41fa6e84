"""Retry budgets: interrupted anywhere, nobody waits for itself and no token is counted wrongly."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from itertools import count
from time import monotonic

import pytest

from cloud.llm import budgets
from cloud.llm.budgets import SharedBudget, retry_budget
from sans_io.http.urls import parse_base_url
from tests.interrupts.kit import Scenario, at_every_bytecode, ctrl_c_at_every_bytecode, finalisers_everywhere, watched

COST = 14
NUMBERS = count()


def new_budget(taken: int = 0) -> SharedBudget:
    budget = retry_budget(None, parse_base_url(f"http://h{next(NUMBERS)}.example/v1").origin, None)
    for _ in range(taken):
        assert budget.take(COST, 0.0) == COST
    return budget


def works(budget: SharedBudget) -> None:
    """Nobody is inside, and what is taken and given back is counted, and kept while it is not whole."""
    assert not budgets._inside.held()
    budgets._inside.settle()  # what an interruption left to whoever comes next
    before = budget.tokens
    assert budget.take(COST, 0.0) == COST
    assert budget.tokens == before - COST
    assert budgets._spent[budget._key] is budget
    budget.refund(COST)
    assert budget.tokens == before
    assert (budget._key in budgets._spent) == (not budget.untouched)


OPERATIONS: dict[str, tuple[Callable[[SharedBudget], object], int]] = {
    "take": (lambda budget: budget.take(COST, 0.0), -COST),
    "refund": (lambda budget: budget.refund(COST), COST),
    "on_success": (lambda budget: budget.on_success(), 1),
}


@pytest.mark.parametrize("nested", OPERATIONS)
@pytest.mark.parametrize("outer", OPERATIONS)
def test_a_handler_uses_a_budget_at_any_bytecode_of_its_use(outer: str, nested: str) -> None:
    (run, change), (act, other_change) = OPERATIONS[outer], OPERATIONS[nested]

    def make() -> Scenario:
        budget = new_budget(taken=4)
        expected = budget.tokens + change + other_change

        def check() -> None:
            assert budget.tokens == expected
            works(budget)

        return (lambda: run(budget)), (lambda: act(budget)), check

    assert at_every_bytecode(make) > 20


def test_a_handler_takes_what_is_there_and_no_more() -> None:
    """Of an empty budget the floor's retries are shared out, whoever asks where."""

    def make() -> Scenario:
        budget = new_budget()
        budget.tokens, budget.floor = 0, 1
        answers: list[int | None] = []

        def check() -> None:
            # From the middle of the other one's question both may see the last retry of this minute.
            assert sorted(answers, key=repr) in ([0, None], [0, 0])
            assert budget.take(COST, 0.0) is None
            assert budget.tokens == 0

        def take() -> None:
            answers.append(budget.take(COST, 0.0))

        return take, take, check

    assert at_every_bytecode(make) > 20


def test_a_handler_makes_a_budget_at_any_bytecode_of_making_it() -> None:
    def make() -> Scenario:
        origin = parse_base_url(f"http://h{next(NUMBERS)}.example/v1").origin
        made: list[SharedBudget] = []

        def new() -> None:
            made.append(retry_budget(None, origin, None))

        def check() -> None:
            assert retry_budget(None, origin, None) in made
            works(made[0])
            works(made[1])

        return new, new, check

    assert at_every_bytecode(make) > 20


@pytest.mark.parametrize("operation", OPERATIONS)
def test_ctrl_c_at_any_bytecode_costs_one_retry_at_most(operation: str) -> None:
    run, change = OPERATIONS[operation]

    def make() -> tuple[Callable[[], object], Callable[[], None]]:
        budget = new_budget(taken=4)
        before = budget.tokens

        def check() -> None:
            works(budget)
            # What was left and interrupted is done again: once too often at most.
            assert budget.tokens - before in (0, change, 2 * change)

        return (lambda: run(budget)), check

    assert ctrl_c_at_every_bytecode(make) > 20


def test_ctrl_c_at_any_bytecode_of_making_a_budget() -> None:
    def make() -> tuple[Callable[[], object], Callable[[], None]]:
        origin = parse_base_url(f"http://h{next(NUMBERS)}.example/v1").origin

        def check() -> None:
            budget = retry_budget(None, origin, None)
            assert retry_budget(None, origin, None) is budget
            works(budget)

        return (lambda: retry_budget(None, origin, None)), check

    assert ctrl_c_at_every_bytecode(make) > 20


def test_finalisers_and_threads_lose_no_token() -> None:
    budget = new_budget(taken=20)
    before = budget.tokens

    def finalise() -> None:
        assert budget.take(1, 0.0) == 1
        budget.refund(1)

    def caller() -> None:
        for _ in range(300):
            leave_garbage()
            assert budget.take(1, 0.0) == 1
            budget.refund(1)

    with finalisers_everywhere(finalise) as leave_garbage:
        threads = [threading.Thread(target=caller, daemon=True) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60.0)
        assert not any(thread.is_alive() for thread in threads)
    assert budget.tokens == before
    watched(lambda: works(budget))


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this platform has no interval timers")
def test_signals_lose_no_token() -> None:
    budget, handled = new_budget(taken=20), [0]
    before = budget.tokens

    def handler(*_: object) -> None:
        handled[0] += 1
        assert budget.take(1, 0.0) == 1
        budget.refund(1)

    previous = signal.signal(signal.SIGALRM, handler)
    try:
        until = monotonic() + 50.0
        while handled[0] < 1000:
            assert monotonic() < until, f"only {handled[0]} signals came"
            signal.setitimer(signal.ITIMER_REAL, 0.00005)
            for _ in range(20):
                assert budget.take(1, 0.0) == 1
                budget.refund(1)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, previous)
    assert budget.tokens == before
    works(budget)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
def test_a_child_that_was_forked_from_inside_has_a_lock_of_its_own() -> None:
    budget = new_budget()
    with budgets._inside.lock:
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                works(budget)
                code = 0
            finally:
                os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
