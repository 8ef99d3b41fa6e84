"""Retries at their edges: the last hint that is waited for, the widest jitter, what a free retry earns."""

from __future__ import annotations

import pytest

from sans_io.http.urls import Origin
from sans_io.policy.dice import Dice
from sans_io.policy.pool import Pool, Route, Ticket
from sans_io.policy.retry import Again, RetryBudget, RetryPolicy, RetryState, Stop, retry_table

FAR = 1e9


def state(seed: int = 0, budget: RetryBudget | None = None) -> RetryState:
    return RetryState(RetryPolicy(), budget or RetryBudget(), seed)


@pytest.mark.parametrize(("status", "wanted"), [(499, "D"), (500, "B"), (599, "B"), (600, "D"), (299, "D"), (200, "D")])
def test_only_what_http_calls_a_server_error_is_transient_unasked(status: int, wanted: str) -> None:
    assert retry_table().of_reply(status, None, None) == wanted


def test_a_provider_s_own_cells_win_over_the_common_ones() -> None:
    table = retry_table(
        statuses={429: "D", 418: "B"},
        codes={"quota": "B"},
        events={"api_error": "D", "moonrise": "B"},
        faults={"idle": "D", "eclipse": "B"},
    )
    assert (table.of_reply(429, None, None), table.of_reply(418, None, None)) == ("D", "B")
    assert table.of_reply(400, "quota", None) == "B"
    assert (table.of_reply(None, "api_error", None), table.of_reply(None, "moonrise", None)) == ("D", "B")
    assert (table.of_fault("idle"), table.of_fault("eclipse"), table.of_fault("refused")) == ("D", "B", "A")


def test_the_longest_hint_that_is_waited_for() -> None:
    assert isinstance(state().on_failure("429", "C", 60.0, 0.0, FAR), Again)
    assert state().on_failure("429", "C", 60.001, 0.0, FAR) == Stop("retry_after")


def test_the_jitter_of_a_hint_reaches_a_tenth_of_it_and_at_most_a_second() -> None:
    def longest(hint: float) -> float:
        decisions = [state(seed).on_failure("429", "C", hint, 0.0, FAR) for seed in range(300)]
        return max(each.delay - hint for each in decisions if isinstance(each, Again))

    assert 0.47 < longest(5.0) <= 0.5
    assert 0.94 < longest(50.0) <= 1.0


def test_a_stale_connection_is_not_replaced_after_the_deadline() -> None:
    assert state().on_failure("stale", "A", None, 5.0, 5.0) == Stop("deadline")


def test_a_call_earns_a_token_only_without_a_retry() -> None:
    budget = RetryBudget()
    budget.tokens = 400
    state(budget=budget).on_success()
    assert budget.tokens == 401
    for condition, retry_class, hint in (("refused", "A", None), ("429", "C", 1.0)):
        tried = state(budget=budget)
        assert isinstance(tried.on_failure(condition, retry_class, hint, 0.0, FAR), Again)  # type: ignore[arg-type]
        tried.on_success()
        assert budget.tokens == 401


def test_a_roll_is_the_upper_53_bits_as_a_fraction() -> None:
    assert Dice(1234567).roll() == (6457827717110365317 >> 11) / 2**53


def test_impossible_pools() -> None:
    assert Pool[object](max_connections=1, max_idle=0).max_idle == 0
    assert Pool[object](max_age=0.5, idle_timeout=0.5).max_age == 0.5
    for impossible in ({"max_connections": 0}, {"max_idle": -1}, {"max_age": 0.0}, {"idle_timeout": 0.0}):
        with pytest.raises(ValueError, match="m"):
            Pool[object](**impossible)  # type: ignore[arg-type]


def test_a_ticket_begins_with_nothing() -> None:
    ticket: Ticket[object] = Ticket(Route(Origin("http", "llm.example", 80)))
    assert (ticket.fresh, ticket.granted, ticket.reused, ticket.conn, ticket.waker) == (False, False, False, None, None)


def test_an_idle_connection_expires_at_its_time_and_not_after() -> None:
    pool = Pool[object](idle_timeout=15.0)
    ticket, _ = pool.acquire(Route(Origin("http", "llm.example", 80)), 0.0)
    pool.on_connected(ticket, object(), 0.0)
    pool.release(ticket, True, 1.0)
    assert pool.expire(15.999) == []
    assert len(pool.expire(16.0)) == 1


def test_a_budget_may_be_forgotten_only_if_nothing_would_change() -> None:
    budget = RetryBudget(max_tokens=3, floor=1)
    assert budget.untouched
    budget.take(2, 0.0)
    assert not budget.untouched, "tokens are missing"
    budget.refund(2)
    assert budget.untouched
    assert budget.take(4, 0.0) == 0, "one of the floor's"
    assert not budget.untouched, "the floor is used up, though all tokens are there"
