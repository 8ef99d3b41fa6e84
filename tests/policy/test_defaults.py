"""Every default and every row of the pool's drawings, as documented: a changed cell fails under its name."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from sans_io.http.urls import Origin
from sans_io.policy.deadline import NEVER, Timers, after
from sans_io.policy.pool import AGE_JITTER, REASONS, SWEEP, TICKET_TRANSITIONS, TRANSITIONS, Pool, Route
from sans_io.policy.retry import RetryBudget, RetryPolicy, RetryState

TIMERS = {
    "total": 120.0, "until_commit": None, "pool": 30.0, "connect": 5.0, "write": 30.0, "first_token": 120.0, "idle": 120.0,
}  # fmt: skip
POLICY = {
    "max_retries": 3, "base_transient": 0.5, "base_throttled": 2.0, "max_backoff": 30.0, "max_retry_after": 60.0,
    "retry_ambiguous": True,
}  # fmt: skip
SLOTS = {
    ("free", "dial"): "connecting", ("connecting", "connected"): "leased", ("connecting", "pass_on"): "connecting",
    ("connecting", "drop"): "free", ("leased", "park"): "idle", ("leased", "hand_over"): "leased",
    ("leased", "redial"): "connecting", ("leased", "destroy"): "free", ("idle", "lease"): "leased",
    ("idle", "expire"): "free", ("idle", "evict"): "free", ("idle", "close"): "free",
}  # fmt: skip
TICKETS = {
    ("new", "grant"): "granted", ("new", "queue"): "waiting", ("waiting", "grant"): "granted",
    ("waiting", "leave"): "done", ("granted", "grant"): "granted", ("granted", "leave"): "done",
}  # fmt: skip


@pytest.mark.parametrize("name", TIMERS)
def test_how_long_a_part_may_take(name: str) -> None:
    assert asdict(Timers())[name] == TIMERS[name]


@pytest.mark.parametrize("name", TIMERS)
@pytest.mark.parametrize("wrong", [0, -1.0, float("nan")])
def test_a_time_that_cannot_pass_is_refused_by_name(name: str, wrong: float) -> None:
    with pytest.raises(ValueError, match=rf"Timers\.{name} must be a positive number of seconds or None"):
        Timers(**{name: wrong})


def test_no_time_at_all_is_never() -> None:
    assert float("inf") == NEVER
    assert after(5.0, None) == NEVER
    assert after(5.0, 2.0) == 7.0


@pytest.mark.parametrize("name", POLICY)
def test_how_patient_the_retries_are(name: str) -> None:
    assert asdict(RetryPolicy())[name] == POLICY[name]


@pytest.mark.parametrize("name", ["base_transient", "base_throttled", "max_backoff", "max_retry_after"])
@pytest.mark.parametrize("wrong", [-0.1, float("nan"), "1", None])
def test_an_impossible_patience_is_refused_by_name(name: str, wrong: object) -> None:
    with pytest.raises(ValueError, match=rf"RetryPolicy\.{name} must be"):
        RetryPolicy(**{name: wrong})  # type: ignore[arg-type]
    assert getattr(RetryPolicy(**{name: 0}), name) == 0  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [-1, 1.5, True, "3"])
def test_an_impossible_number_of_retries_is_refused(wrong: object) -> None:
    with pytest.raises(ValueError, match="max_retries"):
        RetryPolicy(max_retries=wrong)  # type: ignore[arg-type]
    assert RetryPolicy(max_retries=0).max_retries == 0


def test_a_budget_begins_full() -> None:
    budget = RetryBudget()
    assert (budget.tokens, budget.max_tokens, budget.floor) == (500, 500, 6)
    assert budget.untouched


def test_the_retries_of_a_call_begin_at_none() -> None:
    assert RetryState(RetryPolicy(), RetryBudget(), 1).retries == 0


@pytest.mark.parametrize("edge", SLOTS, ids=" ".join)
def test_a_slot_goes(edge: tuple[str, str]) -> None:
    assert TRANSITIONS[edge] == SLOTS[edge]  # type: ignore[index]


@pytest.mark.parametrize("edge", TICKETS, ids=" ".join)
def test_a_ticket_goes(edge: tuple[str, str]) -> None:
    assert TICKET_TRANSITIONS[edge] == TICKETS[edge]  # type: ignore[index]


def test_no_way_beyond_those_written_here() -> None:
    assert set(TRANSITIONS) == set(SLOTS)
    assert set(TICKET_TRANSITIONS) == set(TICKETS)


def test_why_connections_end() -> None:
    assert REASONS == ("expired", "max_age", "stale", "not_reusable", "cancelled", "closed", "evicted")


def test_the_sweep_and_the_jitter_are_those_documented() -> None:
    assert (SWEEP, AGE_JITTER) == (4, 0.1)


def test_how_much_a_pool_keeps_and_how_long() -> None:
    pool = Pool[object]()
    assert (pool.max_connections, pool.max_idle, pool.max_age, pool.idle_timeout) == (None, 1000, 300.0, 15.0)


def test_a_route_shares_nothing_it_was_not_told_to_set_apart() -> None:
    origin = Origin("https", "llm.example", 443)
    assert Route(origin) == Route(origin, None, None, None)
