"""The transport of a simulated world: `Runtime` for the shipped pump, on virtual time.

Rules of this file:
- It only carries out: what a fault means is the Call's business, which one happens is the world's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from sans_io.decode import jsontext
from sans_io.policy.pool import Pool, Route

from ...faults import Fault
from ...interface import Connection, PoolRunner, Wakeup
from ...resolver import Addresses, ThreadJob
from .faults import draw_dial
from .loop import SimWakeup
from .network import SimConnection, SimPeer

if TYPE_CHECKING:
    from .scene import Scene

T = TypeVar("T")


class Connections(Protocol):
    """Connections in the order in which they were dialled."""

    def append(self, connection: SimConnection, /) -> None: ...
    def __iter__(self) -> Iterator[SimConnection]: ...


class SimRuntime:
    """`transports.interface.Runtime` over simulated connections; it can carry any client's calls."""

    def __init__(self, world: Scene, server: SimPeer) -> None:
        self._world = world
        self._server = server
        self._loop = world.loop
        # As every transport does. A world is the same with and without msgspec.
        jsontext.accelerate()
        self._dialled = 0
        self._fault: str | None = None
        self.connections: Connections = []
        self.pool_runner: PoolRunner = PoolRunner(
            lambda: Pool(max_connections=world.max_connections, seed=world.seed), self._wakeup_of_waiter
        )
        #: Whether anybody ever had to wait for a seat.
        self.crowded = False

    def now(self) -> float:
        return self._loop.now

    def nested(self) -> bool:
        return False

    def wakeup(self) -> SimWakeup:
        return SimWakeup(self._loop)

    def _wakeup_of_waiter(self) -> SimWakeup:
        self.crowded = True
        return SimWakeup(self._loop)

    def resolve(self, host: str, port: int, wakeup: Wakeup) -> ThreadJob[Addresses]:
        world = self._world
        self._fault = world.draw(draw_dial, 0.3)
        job: ThreadJob[Addresses] = ThreadJob(None, f"resolving {host}", lambda: _resolved(self._named(host)))
        if self._fault == "dns_slow":
            job.wakeups.append(wakeup)
            self._loop.call_later(world.roll() * 8, lambda: _done(job))
        else:
            _done(job)
        return job

    def tls_ready(self, route: Route, wakeup: Wakeup) -> ThreadJob[bool]:
        return ThreadJob.of(True)

    async def dial(self, addresses: Addresses, deadline: float, wakeup: Wakeup) -> Connection:
        world, fault = self._world, self._fault
        await self.pause(world.roll() * 0.1, deadline, wakeup)
        match fault:
            case "refused":
                raise Fault("refused", "simulated")
            case "unreachable":
                raise Fault("unreachable", "simulated")
            case "too_many_files":
                raise Fault("too_many_files", "simulated")
            case "dial_reset":
                raise Fault("reset", "simulated")
            case "dial_silence":
                await self.pause(1e9, deadline, wakeup)
        self._dialled += 1
        connection = SimConnection(self._loop, self._server, world.route, self._dialled)
        self.connections.append(connection)
        world.trace("dial", connection.number)
        if fault == "speaks_first":
            connection.tainted = "it spoke before it was asked"
            connection.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
        return connection

    async def secure(self, connection: Connection, route: Route, name: str, deadline: float) -> Connection:
        await self.pause(self._world.roll() * 0.1, deadline, self.wakeup())
        if self._fault == "tls_failed":
            raise Fault("tls_failed", "simulated")
        if self._fault == "tls_verify":
            raise Fault("tls_verify", "simulated")
        return connection

    async def within(self, result: Any, deadline: float, wakeup: Wakeup) -> Any:
        return await result

    async def pause(self, seconds: float, deadline: float = float("inf"), wakeup: Wakeup | None = None) -> None:
        """Let virtual time pass; ends early when the wakeup is woken."""
        waiting = (wakeup or self.wakeup()).wait(min(deadline, self.now() + seconds))
        if waiting is not None:
            await waiting
        if self.now() >= deadline:
            raise Fault("timeout", "")

    def _named(self, host: str) -> str:
        if self._fault == "dns_temporary":
            raise Fault("dns_temporary", f"{host}: simulated")
        if self._fault == "dns_failed":
            raise Fault("dns_failed", f"{host}: simulated")
        return host


def _done(job: ThreadJob[Addresses]) -> None:
    job.run()
    job.done = True
    for wakeup in job.wakeups:
        wakeup.wake()


def _resolved(host: str) -> Addresses:
    return ()
