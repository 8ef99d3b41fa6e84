"""asyncio. One pool per event loop; a transport serves any number of loops, one after another or at once.

Rules of this file:
- Bytes go through `asyncio_wire`, which needs no scope; what waits for more than bytes (the race of several addresses,
  a user's coroutine) does so in an anyio scope with a deadline.
- No pool refers to its loop: a loop that is dropped takes its pool with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import Any, TypeVar
from weakref import WeakKeyDictionary, ref

import anyio

from sans_io.calls.call import Call
from sans_io.chat.response import Attempt
from sans_io.policy.deadline import NEVER
from sans_io.policy.pool import PoolStats, Route

from . import resolver, tls
from .asyncio_wire import SocketWire, connect
from .faults import Fault, load
from .happy_eyeballs import first_to_connect, raced
from .interface import Authorizer, Hands, Wire
from .interface import Bell as AnyBell
from .keeper import begin_keeper
from .loading import FIRST, accelerate, need, need_anyio
from .pools import PoolSettings, summed
from .pump import Pump
from .resolver import Addresses, Job

T = TypeVar("T")


class AsyncioTransport:
    """Calls over asyncio. `AsyncioTransport(max_connections=None)`: connections per route and loop, None: no bound."""

    now = staticmethod(monotonic)

    def __init__(self, max_connections: int | None = None, *, settings: PoolSettings | None = None) -> None:
        self._settings = settings or PoolSettings(max_connections)
        self._runtimes: WeakKeyDictionary[asyncio.AbstractEventLoop, Runtime] = WeakKeyDictionary()
        self._loaded = False

    def start(
        self,
        call: Call,
        *,
        authorize: Authorizer | None = None,
        on_attempt: Callable[[Attempt], object] | None = None,
    ) -> Pump:
        """A pump for the call, in the running loop. Next: `await pump.advance()`."""
        if not self._loaded:
            need(*FIRST)
            self._loaded = True
        if call.stream:
            accelerate()  # an import: here rather than while bytes are waiting
        return Pump(call, self._runtime(), authorize, on_attempt)

    def pool_stats(self) -> PoolStats:
        """Of the running loop; outside of any, of all loops together."""
        loop = _running_loop()
        return summed([runtime.hands.stats() for home, runtime in self._all() if loop is None or home is loop])

    def close_idle(self) -> None:
        """Close idle connections: those of the running loop now, others at their loop's next operation."""
        loop = _running_loop()
        for home, runtime in self._all():
            if home is loop or home.is_closed():
                runtime.hands.close_idle(monotonic())
            else:
                runtime.hands.close_idle_later()

    def _runtime(self) -> Runtime:
        loop = asyncio.get_running_loop()
        runtime = self._runtimes.get(loop)
        if runtime is None:
            self._bury()
            runtime = self._runtimes[loop] = Runtime(loop, self._settings)
        return runtime

    def _bury(self) -> None:
        """A loop that was closed in the middle of a call cannot be collected before that call's connection is."""
        for home, runtime in self._all():
            if home.is_closed():
                runtime.hands.close_all(monotonic())
                self._runtimes.pop(home, None)

    def _all(self) -> list[tuple[asyncio.AbstractEventLoop, Runtime]]:
        """A snapshot; other loops in other threads come and go meanwhile."""
        homes = [home for home in (reference() for reference in self._runtimes.keyrefs()) if home is not None]
        pairs = [(home, self._runtimes.get(home)) for home in homes]
        return [(home, runtime) for home, runtime in pairs if runtime is not None]


class Runtime:
    """What one event loop has: its pool, and a generator that the loop ends when it ends."""

    now = staticmethod(monotonic)

    def __init__(self, loop: asyncio.AbstractEventLoop, settings: PoolSettings) -> None:
        self._loop = ref(loop)
        self.hands: Hands = Hands(settings.new_pool, self.bell)
        self._keeper = begin_keeper(self.hands, monotonic)

    def nested(self) -> bool:
        return False

    def bell(self) -> Bell:
        return Bell(asyncio.get_running_loop())

    def resolve(self, host: str, port: int, bell: AnyBell) -> Job[Addresses]:
        return resolver.resolve(host, port, bell)

    def tls_ready(self, route: Route, bell: AnyBell) -> Job[bool]:
        return tls.tls_ready(route.tls_profile, bell)

    async def dial(self, addresses: Addresses, deadline: float, bell: AnyBell) -> Wire:
        if len(addresses) == 1 and isinstance(bell, Bell):
            return await connect(self._loop, deadline, bell, addresses[0])
        one = partial(connect, self._loop, deadline, None)
        race = first_to_connect(addresses, one, anyio.create_task_group, anyio.Event, anyio.move_on_after)
        wire: Wire = await raced(self.within(race, NEVER, bell), deadline, monotonic)
        return wire

    async def secure(self, wire: Wire, route: Route, name: str, deadline: float) -> Wire:
        if not isinstance(wire, SocketWire):
            raise TypeError(f"TLS over {wire!r}")
        return await tls.start_tls(wire, route.tls_profile, name, deadline)

    async def within(self, result: Any, deadline: float, bell: AnyBell) -> Any:
        try:
            load("anyio", lambda _: need_anyio("asyncio"))
        except Fault:
            if isinstance(result, Coroutine):
                result.close()
            raise
        with anyio.CancelScope(deadline=anyio.current_time() + (deadline - monotonic())) as scope:
            if isinstance(bell, Bell):
                bell.interrupt = scope.cancel
            return await result
        raise Fault("timeout")


class Bell:
    """A future that any thread can complete, or something that it can interrupt."""

    __slots__ = ("_future", "_loop", "_rung", "interrupt")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._future: asyncio.Future[None] | None = None
        self._rung = False
        self.interrupt: Callable[[], None] | None = None

    def ring(self) -> None:
        self._rung = True
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            self._loop.call_soon_threadsafe(self._wake)

    async def wait(self, until: float) -> None:
        if self._rung:
            return
        future = self._future = self._loop.create_future()
        timer = None if until == NEVER else self._loop.call_later(max(0.0, until - monotonic()), self._wake)
        try:
            await future
        finally:
            if timer is not None:
                timer.cancel()

    def _wake(self) -> None:
        if self._future is not None and not self._future.done():
            self._future.set_result(None)
        if self.interrupt is not None:
            self.interrupt()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
