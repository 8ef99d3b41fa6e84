"""The pool's settings, and what finalisers, other loops and other processes leave for the next operation."""

from __future__ import annotations

import threading

import pytest

from sans_io.http.urls import Origin
from sans_io.policy.pool import PoolStats, Route, Ticket
from tests.transports.modes import ASYNCIO, MODES, Mode, answer
from transports.interface import PoolRunner
from transports.pools import PoolSettings, summed
from transports.testing import (
    LoopbackServer,
)

URL = "http://scripted.example"
BODY = (
    b'{"id":"m","type":"message","role":"assistant","model":"claude-test","content":[{"type":"text","text":"hi"}],'
    b'"stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":1}}'
)
OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(BODY), BODY)


def test_statistics_add_up() -> None:
    one = PoolStats(3, 1, 2, 1, 4, 5, 6, {"stale": 1, "closed": 1})
    assert summed([one, one]) == PoolStats(6, 2, 4, 2, 8, 10, 12, {"stale": 2, "closed": 2})
    assert summed([]) == PoolStats(0, 0, 0, 0, 0, 0, 0, {})


def test_every_pool_has_a_jitter_of_its_own() -> None:
    pools = [PoolSettings(3).new_pool() for _ in range(2)]
    assert pools[0].max_connections == 3
    assert pools[0]._dice.bits() != pools[1]._dice.bits()


class Connection:
    def __init__(self) -> None:
        self.ends: list[str] = []

    def unread(self) -> bool:
        return False

    answered = unread

    def abort(self) -> None:
        self.ends.append("abort")

    def shutdown(self) -> None:
        self.ends.append("shutdown")

    def forget(self) -> None:
        self.ends.append("forget")


ROUTE = Route(Origin("http", "h", 80))


def seated(runner: PoolRunner) -> Ticket:
    ticket: Ticket = Ticket(ROUTE)
    runner.seat(ticket, 0.0)
    return ticket


def test_a_ticket_of_a_forgotten_pool_changes_nothing() -> None:
    """After a fork a pump of the parent may still give back what it thinks it has."""
    runner: PoolRunner = PoolRunner(PoolSettings().new_pool, threading.Event)
    ticket, connection = seated(runner), Connection()
    runner.connected(ticket, connection, 0.0)
    runner.forget()
    assert connection.ends == ["forget"]
    before, late = runner.stats(), Connection()
    runner.connected(ticket, late, 0.0)
    assert late.ends == ["abort"]
    runner.stale(ticket, 0.0)
    runner.release(ticket, True, 0.0)
    runner.cancel(ticket, 0.0)
    assert runner.stats() == before


def test_another_process_is_noticed_without_the_hook(monkeypatch: pytest.MonkeyPatch) -> None:
    runner: PoolRunner = PoolRunner(PoolSettings().new_pool, threading.Event)
    ticket, connection = seated(runner), Connection()
    runner.connected(ticket, connection, 0.0)
    runner.release(ticket, True, 0.0)
    runner._pid -= 1
    assert seated(runner).conn is None
    assert connection.ends == ["forget"]


def test_what_finalisers_leave_is_done_at_the_next_operation() -> None:
    runner: PoolRunner = PoolRunner(PoolSettings(1).new_pool, lambda: Wakeup(woken))
    woken: list[int] = []
    first, connection = seated(runner), Connection()
    runner.connected(first, connection, 0.0)
    second = seated(runner)
    assert not second.granted
    runner.abandon(first)
    runner.abandon(first)
    assert connection.ends == []
    runner.sweep(0.0)
    assert connection.ends == ["abort"]
    assert second.granted
    assert woken == [1]
    runner.sweep(0.0)


class Wakeup:
    def __init__(self, woken: list[int]) -> None:
        self.wake = lambda: woken.append(1)


def test_closing_from_elsewhere_is_done_at_the_next_operation() -> None:
    runner: PoolRunner = PoolRunner(PoolSettings().new_pool, threading.Event)
    ticket, connection = seated(runner), Connection()
    runner.connected(ticket, connection, 0.0)
    runner.release(ticket, True, 0.0)
    runner.close_idle_later()
    assert connection.ends == []
    assert seated(runner).conn is None
    assert connection.ends == ["abort"]


def test_the_end_closes_what_is_leased_too() -> None:
    runner: PoolRunner = PoolRunner(PoolSettings().new_pool, threading.Event)
    connections = [Connection(), Connection()]
    tickets = [seated(runner) for _ in connections]
    for ticket, connection in zip(tickets, connections, strict=True):
        runner.connected(ticket, connection, 0.0)
    runner.release(tickets[0], True, 0.0)
    runner.close_all(0.0)
    assert [connection.ends for connection in connections] == [["abort"], ["abort"]]


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_idle_connections_of_other_loops_are_closed_at_their_next_operation(mode: Mode) -> None:
    with LoopbackServer() as server:
        transport = mode.transport()

        async def main() -> None:
            await answer(transport, server.url)
            if mode is ASYNCIO:
                other = threading.Thread(target=transport.close_idle)
                other.start()
                other.join()
                assert transport.pool_stats().idle == 1
                await answer(transport, server.url)
                assert server.accepted == 2
            transport.close_idle()
            assert transport.pool_stats().idle == 0

        mode.run(main)
    transport.close_idle()
    assert transport.pool_stats().open == 0
