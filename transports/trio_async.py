"""trio, natively. One pool per `trio.run`; a transport serves any number of runs.

Rules of this file:
- Seconds are those of `time.monotonic`, unless the run has a clock of its own (a test's MockClock): then its seconds.
- The pool is a RunVar: it ends with its run.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import Any, TypeVar

import trio

from sans_io.calls.call import Call
from sans_io.chat.response import Attempt
from sans_io.policy.deadline import NEVER
from sans_io.policy.pool import PoolStats, Route

from . import resolver, tls
from .faults import Fault
from .happy_eyeballs import first_to_connect, raced
from .interface import Authorizer, Hands, Wire
from .interface import Bell as AnyBell
from .keeper import begin_keeper
from .loading import FIRST, accelerate, need
from .pools import PoolSettings, summed
from .pump import Pump
from .resolver import Addresses, Job
from .trio_wire import SocketWire, connect

T = TypeVar("T")


class TrioTransport:
    """Calls over trio. `TrioTransport(max_connections=None)`: connections per route and run, None: no bound."""

    def __init__(self, max_connections: int | None = None, *, settings: PoolSettings | None = None) -> None:
        self._settings = settings or PoolSettings(max_connections)
        self._of_run: trio.lowlevel.RunVar[Runtime | None] = trio.lowlevel.RunVar("transports.trio_async")
        self._loaded = False

    def start(
        self,
        call: Call,
        *,
        authorize: Authorizer | None = None,
        on_attempt: Callable[[Attempt], object] | None = None,
    ) -> Pump:
        """A pump for the call, in the current run. Next: `await pump.advance()`."""
        if not self._loaded:
            need(*FIRST)
            self._loaded = True
        if call.stream:
            accelerate()  # an import: here rather than while bytes are waiting
        return Pump(call, self._runtime(), authorize, on_attempt)

    def now(self) -> float:
        """Seconds for this run's deadlines."""
        return self._runtime().now()

    def pool_stats(self) -> PoolStats:
        """Of the current run; outside of any there is none."""
        runtime = self._known()
        return summed([] if runtime is None else [runtime.hands.stats()])

    def close_idle(self) -> None:
        """Close the idle connections of the current run. Another run's end with it."""
        runtime = self._known()
        if runtime is not None:
            runtime.hands.close_idle(runtime.now())

    def _runtime(self) -> Runtime:
        runtime = self._known()
        if runtime is None:
            runtime = Runtime(self._settings)
            self._of_run.set(runtime)
        return runtime

    def _known(self) -> Runtime | None:
        try:
            return self._of_run.get(None)
        except RuntimeError:  # not in a run
            return None


class Runtime:
    """What one run has: its clock, its pool, and a generator that trio ends when the run ends."""

    def __init__(self, settings: PoolSettings) -> None:
        self.now = _clock()
        self._token = trio.lowlevel.current_trio_token()
        self.hands: Hands = Hands(settings.new_pool, self.bell)
        self._keeper = begin_keeper(self.hands, self.now)

    def nested(self) -> bool:
        return False

    def bell(self) -> Bell:
        return Bell(self._token, self.now)

    def resolve(self, host: str, port: int, bell: AnyBell) -> Job[Addresses]:
        return resolver.resolve(host, port, bell)

    def tls_ready(self, route: Route, bell: AnyBell) -> Job[bool]:
        return tls.tls_ready(route.tls_profile, bell)

    async def dial(self, addresses: Addresses, deadline: float, bell: AnyBell) -> Wire:
        if len(addresses) == 1 and isinstance(bell, Bell):
            return await connect(self.now, deadline, bell, addresses[0])
        one = partial(connect, self.now, deadline, None)
        race = first_to_connect(addresses, one, trio.open_nursery, trio.Event, trio.move_on_after)
        wire: Wire = await raced(self.within(race, NEVER, bell), deadline, self.now)
        return wire

    async def secure(self, wire: Wire, route: Route, name: str, deadline: float) -> Wire:
        if not isinstance(wire, SocketWire):
            raise TypeError(f"TLS over {wire!r}")
        return await tls.start_tls(wire, route.tls_profile, name, deadline)

    async def within(self, result: Any, deadline: float, bell: AnyBell) -> Any:
        with trio.CancelScope(relative_deadline=max(0.0, deadline - self.now())) as scope:
            if isinstance(bell, Bell):
                bell.scope = scope
            return await result
        raise Fault("timeout")


class Bell:
    """A scope that any thread can cancel."""

    __slots__ = ("_now", "_rung", "_token", "scope")

    def __init__(self, token: trio.lowlevel.TrioToken, now: Callable[[], float]) -> None:
        self._token = token
        self._now = now
        self._rung = False
        self.scope: trio.CancelScope | None = None

    def ring(self) -> None:
        self._rung = True
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._wake)

    async def wait(self, until: float) -> None:
        with trio.CancelScope(relative_deadline=max(0.0, until - self._now())) as self.scope:
            if not self._rung:
                await trio.sleep_forever()

    def _wake(self) -> None:
        if self.scope is not None:
            self.scope.cancel()


def _clock() -> Callable[[], float]:
    """`monotonic` under trio's own clock (20 times cheaper than asking for it), else the run's time."""
    clock = trio.lowlevel.current_clock()
    if type(clock).__name__ == "SystemClock":
        return monotonic
    offset = monotonic() - clock.current_time()
    return lambda: clock.current_time() + offset
