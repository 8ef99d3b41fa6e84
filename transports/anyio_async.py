"""asyncio: one pool per event loop. A transport serves any number of loops, one after another or at once.

Rules of this file:
- Bytes go through `asyncio_connection`, which needs no scope. What waits for anything else (a race between addresses,
  a user's coroutine) does so in an anyio scope with a deadline.
- No pool refers to its loop: a loop that is dropped takes its pool with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from functools import partial
from time import monotonic
from typing import Any, TypeVar
from weakref import WeakKeyDictionary, ref

import anyio

from sans_io.policy.deadline import NEVER
from sans_io.policy.pool import PoolStats, Route

from . import resolver, tls
from .asyncio_connection import AsyncioConnection, AsyncioWakeup, connect
from .faults import Fault, load
from .happy_eyeballs import first_to_connect, raced
from .interface import Connection, PoolRunner, Wakeup
from .loading import need_anyio
from .loop_end import at_loop_end
from .loop_transport import LoopTransport
from .pools import PoolSettings, summed
from .resolver import Addresses, ThreadJob

T = TypeVar("T")


class AsyncioTransport(LoopTransport):
    """Calls over asyncio. `AsyncioTransport(max_connections=None)`: connections per route and loop, None: unlimited."""

    now = staticmethod(monotonic)

    def __init__(self, max_connections: int | None = None, *, settings: PoolSettings | None = None) -> None:
        super().__init__(max_connections, settings=settings)
        self._runtimes: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncioRuntime] = WeakKeyDictionary()

    def pool_stats(self) -> PoolStats:
        """Of the running loop; outside any loop, of all loops together."""
        loop = _running_loop()
        return summed([runtime.pool_runner.stats() for home, runtime in self._all() if loop is None or home is loop])

    def close_idle(self) -> None:
        """Close idle connections: those of the running loop now, others at the next operation in their loop."""
        loop = _running_loop()
        for home, runtime in self._all():
            if home is loop or home.is_closed():
                runtime.pool_runner.close_idle(monotonic())
            else:
                runtime.pool_runner.close_idle_later()

    def _runtime(self) -> AsyncioRuntime:
        loop = asyncio.get_running_loop()
        runtime = self._runtimes.get(loop)
        if runtime is None:
            self._drop_closed_loops()
            runtime = self._runtimes[loop] = AsyncioRuntime(loop, self._settings)
        return runtime

    def _drop_closed_loops(self) -> None:
        """A loop that was closed during a call cannot be collected before that call's connection is closed."""
        for home, runtime in self._all():
            if home.is_closed():
                runtime.pool_runner.close_all(monotonic())
                self._runtimes.pop(home, None)

    def _all(self) -> list[tuple[asyncio.AbstractEventLoop, AsyncioRuntime]]:
        """A snapshot: loops in other threads come and go meanwhile."""
        homes = [home for home in (reference() for reference in self._runtimes.keyrefs()) if home is not None]
        pairs = [(home, self._runtimes.get(home)) for home in homes]
        return [(home, runtime) for home, runtime in pairs if runtime is not None]


class AsyncioRuntime:
    """What belongs to one event loop: its pool, and a generator that the loop closes when it ends."""

    now = staticmethod(monotonic)

    def __init__(self, loop: asyncio.AbstractEventLoop, settings: PoolSettings) -> None:
        self._loop = ref(loop)
        self.pool_runner: PoolRunner = PoolRunner(settings.new_pool, self.wakeup)
        self._loop_end = at_loop_end(self.pool_runner, monotonic)

    def nested(self) -> bool:
        return False

    def wakeup(self) -> AsyncioWakeup:
        return AsyncioWakeup(asyncio.get_running_loop())

    def resolve(self, host: str, port: int, wakeup: Wakeup) -> ThreadJob[Addresses]:
        return resolver.resolve(host, port, wakeup)

    def tls_ready(self, route: Route, wakeup: Wakeup) -> ThreadJob[bool]:
        return tls.tls_ready(route.tls_profile, wakeup)

    async def dial(self, addresses: Addresses, deadline: float, wakeup: Wakeup) -> Connection:
        if len(addresses) == 1 and isinstance(wakeup, AsyncioWakeup):
            return await connect(self._loop, deadline, wakeup, addresses[0])
        one = partial(connect, self._loop, deadline, None)
        race = first_to_connect(addresses, one, anyio.create_task_group, anyio.Event, anyio.move_on_after)
        connection: Connection = await raced(self.within(race, NEVER, wakeup), deadline, monotonic)
        return connection

    async def secure(self, connection: Connection, route: Route, name: str, deadline: float) -> Connection:
        if not isinstance(connection, AsyncioConnection):
            raise TypeError(f"TLS over {connection!r}")
        return await tls.start_tls(connection, route.tls_profile, name, deadline)

    async def within(self, result: Any, deadline: float, wakeup: Wakeup) -> Any:
        try:
            load("anyio", lambda _: need_anyio("asyncio"))
        except Fault:
            if isinstance(result, Coroutine):
                result.close()
            raise
        with anyio.CancelScope(deadline=anyio.current_time() + (deadline - monotonic())) as scope:
            if isinstance(wakeup, AsyncioWakeup):
                wakeup.interrupt = scope.cancel
            return await result
        raise Fault("timeout")


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
