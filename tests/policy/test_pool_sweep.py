"""What one input of the pool does not do: look at more idle connections than `SWEEP`."""

from __future__ import annotations

import pytest

from sans_io.errors import LocalProtocolError
from sans_io.http.urls import Origin
from sans_io.policy.pool import SWEEP, Close, Grant, Pool, Route

ROUTE = Route(Origin("http", "a.test", 80))


def test_among_many_expired_connections_the_newcomer_dials_after_a_few_looks() -> None:
    """Otherwise one caller paid for what a burst of others left behind."""
    pool: Pool[int] = Pool(idle_timeout=10.0)
    tickets = [pool.acquire(ROUTE, 0.0)[0] for _ in range(3 * SWEEP)]
    for number, ticket in enumerate(tickets):
        pool.on_connected(ticket, number, 0.0)
    for ticket in tickets:
        pool.release(ticket, True, 0.0)
    assert pool.stats().idle == 3 * SWEEP

    ticket, commands = pool.acquire(ROUTE, 20.0)

    assert ticket.granted
    assert not ticket.reused
    assert [command.conn for command in commands if isinstance(command, Grant)] == [None]
    closed = [command for command in commands if isinstance(command, Close)]
    assert len(closed) == 2 * SWEEP, "as many as it looked for one, as many in passing"
    assert {command.reason for command in closed} == {"expired"}
    assert pool.stats().idle == SWEEP


def test_a_stale_connection_that_is_replaced_by_an_idle_one_is_counted_no_more() -> None:
    pool: Pool[int] = Pool()
    tickets = [pool.acquire(ROUTE, 0.0)[0] for _ in range(2)]
    for number, ticket in enumerate(tickets):
        pool.on_connected(ticket, number, 0.0)
    for ticket in tickets:
        pool.release(ticket, True, 0.0)
    ticket, _ = pool.acquire(ROUTE, 1.0)

    pool.on_stale(ticket, 1.0)

    stats = pool.stats()
    assert (stats.open, stats.idle, stats.leased, stats.connecting) == (1, 0, 1, 0)
    assert stats.destroyed == {"stale": 1}
    pool.release(ticket, True, 1.0)
    assert (pool.stats().open, pool.stats().idle, pool.stats().leased) == (1, 1, 0)


def test_nobody_who_waits_or_is_done_holds_a_stale_connection() -> None:
    pool: Pool[int] = Pool(max_connections=1)
    first, _ = pool.acquire(ROUTE, 0.0)
    waiting, _ = pool.acquire(ROUTE, 0.0)
    assert not waiting.granted
    for ticket in (first, waiting):
        with pytest.raises(LocalProtocolError, match="was granted no reused connection"):
            pool.on_stale(ticket, 0.0)


def test_what_was_dialled_in_place_of_a_stale_connection_is_kept_for_the_next() -> None:
    pool: Pool[str] = Pool()
    first, _ = pool.acquire(ROUTE, 0.0)
    pool.on_connected(first, "old", 0.0)
    pool.release(first, True, 0.0)
    ticket, _ = pool.acquire(ROUTE, 1.0)
    pool.close(1.0)
    assert pool.on_stale(ticket, 1.0) == [Close("old", "stale"), Grant(ticket, None, False)]
    pool.on_connected(ticket, "new", 1.0)
    assert pool.release(ticket, True, 1.0) == []
    assert pool.stats().idle == 1
