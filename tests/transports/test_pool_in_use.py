"""Slots on real sockets: who waits is served, whoever leaves."""

from __future__ import annotations

import asyncio
import threading
from time import monotonic
from typing import Self

import pytest
import trio

from tests.callers import BUSY
from tests.transports.modes import ASYNC_MODES, ASYNCIO, MODES, SYNC, Ask, Mode, answer, passes_within
from transports.pools import PoolSettings
from transports.testing import LoopbackServer, ScriptedReply

STALLS = ScriptedReply(text=["a", "b" * 10_000], cut_after=2_000, after_cut="silence")


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_no_more_connections_than_concurrent_calls(mode: Mode) -> None:
    with LoopbackServer() as server:
        transport = mode.transport()

        async def one() -> None:
            for number in range(3):
                assert await answer(transport, server.url, f"{number}") == f"You said: {number}"

        async def main() -> None:
            await mode.together(*[one] * 20)
            stats = transport.pool_stats()
            assert stats.dialled <= 20
            assert stats.leased == stats.waiting == 0
            transport.close_idle()

        mode.run(main)
        assert server.max_open <= 20
        assert server.accepted == len({request.connection for request in server.requests})


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_one_seat_serves_all_in_turn(mode: Mode) -> None:
    with LoopbackServer() as server:
        transport = mode.transport(max_connections=1)

        async def one() -> None:
            assert await answer(transport, server.url) == "You said: hello"

        async def main() -> None:
            await mode.together(*[one] * 12)
            transport.close_idle()

        mode.run(main)
        assert server.accepted == 1


@pytest.mark.parametrize("closed_by_server", [False, True])
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_an_idle_connection_ends_with_the_next_operation_after_its_time(mode: Mode, closed_by_server: bool) -> None:
    """docs/reliability.md: nothing is done in the background, and each operation closes four of the oldest."""
    many = 6
    with LoopbackServer() as server, LoopbackServer() as other:
        transport = mode.transport(settings=PoolSettings(idle_timeout=1.0))

        async def one() -> None:
            await answer(transport, server.url)

        async def main() -> None:
            server.server.script(*[ScriptedReply(text="late", head_delay=0.2)] * many)
            await mode.together(*[one] * many)
            assert transport.pool_stats().idle == many
            if closed_by_server:
                server.hang_up()
            await mode.sleep(1.2)
            assert transport.pool_stats().idle == many, "nothing closes them meanwhile, nor does looking"
            call = Ask(transport, other.url)
            await call.pull()  # a call to another server begins
            await call.end()  # and ends
            assert transport.pool_stats().destroyed["expired"] == many
            assert transport.pool_stats().idle == 1
            assert server.wait_until(lambda: server.open_connections == 0)
            transport.close_idle()

        mode.run(main)


class SlowDial:
    """A listener whose queue is full: connects to it neither succeed nor fail."""

    def __init__(self) -> None:
        import socket

        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(0)
        self.port = self.listener.getsockname()[1]
        self.fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", self.port))
            self.fillers.append(filler)
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for each in (*self.fillers, self.listener):
            each.close()


@pytest.mark.parametrize("waiters", [1, 2, 5])
@pytest.mark.parametrize("mode", ASYNC_MODES, ids=str)
def test_a_cancelled_dialler_passes_its_slot_on(mode: Mode, waiters: int) -> None:
    """Every waiter gets to dial in its turn: none is left behind a slot that nobody owns."""
    with SlowDial() as slow:
        transport = mode.transport(max_connections=1)
        reached: list[int] = []

        async def dialler(scope) -> None:
            with scope:
                await Ask(transport, slow.url).end()

        async def waiter(number: int, scope) -> None:
            with scope:
                ask = Ask(transport, slow.url)
                try:
                    await ask.end()
                finally:
                    reached.append(number)

        async def main() -> None:
            import anyio

            scopes = [anyio.CancelScope() for _ in range(waiters + 1)]
            async with anyio.create_task_group() as group:
                group.start_soon(dialler, scopes[0])
                await anyio.sleep(0.05)
                for number in range(waiters):
                    group.start_soon(waiter, number, scopes[number + 1])
                await anyio.sleep(0.05)
                for number in range(waiters + 1):
                    stats = transport.pool_stats()
                    assert (stats.connecting, stats.waiting) == (1, waiters - number)
                    scopes[number].cancel()
                    await anyio.sleep(0.02)
            stats = transport.pool_stats()
            assert (stats.connecting, stats.waiting, stats.open) == (0, 0, 0)
            assert reached == list(range(waiters))

        mode.run(main)


@pytest.mark.parametrize("waiters", [1, 5])
def test_a_cancelled_dialler_passes_its_slot_on_between_threads(waiters: int) -> None:
    with SlowDial() as slow:
        transport = SYNC.transport(max_connections=1)
        asks = [Ask(transport, slow.url) for _ in range(waiters + 1)]
        threads = [threading.Thread(target=lambda ask=ask: drive(ask)) for ask in asks]
        errors: list[str | None] = []

        def drive(ask: Ask) -> None:
            assert ask.pump.advance() is None
            errors.append(ask.call.error and ask.call.error.code)

        for number, thread in enumerate(threads):
            thread.start()
            assert passes_within(5.0, lambda n=number: transport.pool_stats().waiting == n)
        for number, ask in enumerate(asks):
            began = monotonic()
            ask.pump.cancel()
            threads[number].join(5.0)
            assert not threads[number].is_alive()
            assert monotonic() - began < 0.1 + BUSY
        assert errors == ["cancelled"] * (waiters + 1)
        assert transport.pool_stats().connecting == 0


@pytest.mark.parametrize("mode", ASYNC_MODES, ids=str)
def test_cancelling_at_every_checkpoint_costs_nothing_but_the_call(mode: Mode) -> None:
    """Cancel a stream's task after k turns of the loop, for every k until it survives; then all is as before."""
    with LoopbackServer() as server:
        transport = mode.transport(max_connections=2)

        async def main() -> None:
            import anyio

            survived = False
            turns = 0
            while not survived:
                server.server.script(ScriptedReply(text=["a", "b", "c"], delay=0.001))
                with anyio.CancelScope() as scope:
                    async with anyio.create_task_group() as group:

                        async def one() -> None:
                            nonlocal survived
                            await Ask(transport, server.url, stream=True).end()
                            survived = True
                            scope.cancel()

                        group.start_soon(one)
                        for _ in range(turns):
                            await anyio.lowlevel.checkpoint()
                        scope.cancel()
                server.server._script.clear()
                stats = transport.pool_stats()
                assert (stats.leased, stats.connecting, stats.waiting) == (0, 0, 0), turns
                turns += 1 if turns < 60 else 25
                assert turns < 20_000
            for _ in range(20):
                assert await answer(transport, server.url) == "You said: hello"
            assert transport.pool_stats().open <= 2

        mode.run(main)
        assert server.wait_until(lambda: server.open_connections == 0, 2.0)


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_stream_left_half_read_is_never_used_again(mode: Mode) -> None:
    with LoopbackServer() as server:
        transport = mode.transport()

        async def main() -> None:
            for leave in ("close", "abandon", "drop"):
                server.server.script(STALLS)
                ask = Ask(transport, server.url, stream=True)
                assert await ask.pull()
                if leave == "drop":
                    del ask
                else:
                    getattr(ask.pump, leave)()
                assert await answer(transport, server.url, leave) == f"You said: {leave}"
            assert transport.pool_stats().open == 1
            transport.close_idle()

        mode.run(main)
        connections = [request.connection for request in server.requests]
        # Each stream's connection served it alone or came last on it.
        assert connections == [0, 1, 1, 2, 2, 3]


def test_a_connection_of_another_loop_is_refused() -> None:
    """A half-read stream carried into a second loop fails in order, and touches nothing of the first."""
    with LoopbackServer() as server:
        transport = ASYNCIO.transport()
        loop = asyncio.new_event_loop()
        server.server.script(STALLS)

        async def begin() -> Ask:
            ask = Ask(transport, server.url, stream=True)
            assert await ask.pull()
            return ask

        ask = loop.run_until_complete(begin())
        asyncio.run(_end_with_error(ask))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


async def _end_with_error(ask: Ask) -> None:
    await ask.end()
    assert ask.call.error is not None


def test_a_cancelled_trio_pull_raises_cancelled() -> None:
    with LoopbackServer() as server:
        server.server.script(STALLS)

        async def main() -> None:
            transport = MODES[2].transport()
            ask = Ask(transport, server.url, stream=True)
            assert await ask.pull()
            with trio.move_on_after(0.05) as scope:
                await ask.pull()
            assert scope.cancelled_caught
            assert not await ask.pull()
            assert ask.call.error is not None
            assert ask.call.error.code == "cancelled"
            assert transport.pool_stats().open == 0

        trio.run(main)
