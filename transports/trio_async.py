"""trio, natively: one pool per `trio.run`. A transport serves any number of runs.

Rules of this file:
- Times are those of `time.monotonic`, unless the run has a clock of its own (a test's MockClock): then its times.
- The pool is a RunVar: it ends with its run.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Any, TypeVar

import trio

from sans_io.policy.deadline import NEVER
from sans_io.policy.pool import PoolStats, Route

from . import resolver, tls
from .faults import Fault
from .happy_eyeballs import first_to_connect, raced
from .interface import Connection, PoolRunner, Wakeup
from .loop_end import at_loop_end
from .loop_transport import LoopTransport
from .pools import PoolSettings, summed
from .resolver import Addresses, ThreadJob
from .trio_connection import TrioConnection, TrioWakeup, connect

T = TypeVar("T")


class TrioTransport(LoopTransport):
    """Calls over trio. `TrioTransport(max_connections=None)`: connections per route and run, None: unlimited."""

    def __init__(self, max_connections: int | None = None, *, settings: PoolSettings | None = None) -> None:
        super().__init__(max_connections, settings=settings)
        self._of_run: trio.lowlevel.RunVar[TrioRuntime | None] = trio.lowlevel.RunVar("transports.trio_async")

    def now(self) -> float:
        """The time in seconds that this run's deadlines refer to."""
        return self._runtime().now()

    def pool_stats(self) -> PoolStats:
        """Of the current run; all zero outside a run."""
        runtime = self._known()
        return summed([] if runtime is None else [runtime.pool_runner.stats()])

    def close_idle(self) -> None:
        """Close the idle connections of the current run. Another run's end with it."""
        runtime = self._known()
        if runtime is not None:
            runtime.pool_runner.close_idle(runtime.now())

    def _runtime(self) -> TrioRuntime:
        runtime = self._known()
        if runtime is None:
            runtime = TrioRuntime(self._settings)
            self._of_run.set(runtime)
        return runtime

    def _known(self) -> TrioRuntime | None:
        try:
            return self._of_run.get(None)
        except RuntimeError:  # not in a run
            return None


class TrioRuntime:
    """What belongs to one run: its clock, its pool, and a generator that trio closes when the run ends."""

    def __init__(self, settings: PoolSettings) -> None:
        self.now = _clock()
        self._token = trio.lowlevel.current_trio_token()
        self.pool_runner: PoolRunner = PoolRunner(settings.new_pool, self.wakeup)
        self._loop_end = at_loop_end(self.pool_runner, self.now)

    def nested(self) -> bool:
        return False

    def wakeup(self) -> TrioWakeup:
        return TrioWakeup(self._token, self.now)

    def resolve(self, host: str, port: int, wakeup: Wakeup) -> ThreadJob[Addresses]:
        return resolver.resolve(host, port, wakeup)

    def tls_ready(self, route: Route, wakeup: Wakeup) -> ThreadJob[bool]:
        return tls.tls_ready(route.tls_profile, wakeup)

    async def dial(self, addresses: Addresses, deadline: float, wakeup: Wakeup) -> Connection:
        if len(addresses) == 1 and isinstance(wakeup, TrioWakeup):
            return await connect(self.now, deadline, wakeup, addresses[0])
        one = partial(connect, self.now, deadline, None)
        race = first_to_connect(addresses, one, trio.open_nursery, trio.Event, trio.move_on_after)
        connection: Connection = await raced(self.within(race, NEVER, wakeup), deadline, self.now)
        return connection

    async def secure(self, connection: Connection, route: Route, name: str, deadline: float) -> Connection:
        if not isinstance(connection, TrioConnection):
            raise TypeError(f"TLS over {connection!r}")
        return await tls.start_tls(connection, route.tls_profile, name, deadline)

    async def within(self, result: Any, deadline: float, wakeup: Wakeup) -> Any:
        with trio.CancelScope(relative_deadline=max(0.0, deadline - self.now())) as scope:
            if isinstance(wakeup, TrioWakeup):
                wakeup.scope = scope
            return await result
        raise Fault("timeout")


def _clock() -> Callable[[], float]:
    """`monotonic` if trio's clock is the usual one (20 times cheaper than asking trio), else the run's clock."""
    clock = trio.lowlevel.current_clock()
    if type(clock).__name__ == "SystemClock":
        return monotonic
    offset = monotonic() - clock.current_time()
    return lambda: clock.current_time() + offset
