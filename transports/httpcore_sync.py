"""Blocking I/O, for any number of threads over one pool.

httpcore dials (`SyncBackend`: `connect_tcp` and `start_tls`); after that bytes flow through the socket it hands out.

Rules of this file:
- httpcore's backend (and ssl with it) is imported when the first call begins, which must dial: not before, and not
  within the time that a dial may take. So is the accelerator of streams when the first stream begins.
- A blocked connect cannot be woken on every platform, so it runs in a daemon thread and the caller waits on a bell;
  a connection that comes too late is closed by that thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic
from typing import Final, TypeVar
from weakref import finalize

from sans_io.call import Call
from sans_io.policy.pool import PoolStats, Route
from sans_io.response import Attempt

from . import resolver
from .blocking_wire import LONGEST, SocketWire
from .faults import Fault, dial_fault, load
from .happy_eyeballs import worst
from .httpcore_backend import backend
from .interface import Hands, SyncAuthorize, SyncBell, SyncWire
from .loading import FIRST, accelerate, need
from .pools import PoolSettings
from .pump_sync import Pump
from .resolver import OTHERS, Address, Addresses, Job
from .sockets import OPTIONS, show

T = TypeVar("T")

#: Seconds for each address but the last: a dead one must not use up the time of a living one.
ADDRESS_TIMEOUT: Final = 1.0


class SyncTransport:
    """Calls over blocking sockets. `SyncTransport(max_connections=None)`: connections per route, None: no bound."""

    now = staticmethod(monotonic)

    def __init__(self, max_connections: int | None = None, *, settings: PoolSettings | None = None) -> None:
        self._runtime = Runtime(settings or PoolSettings(max_connections))
        self._loaded = False

    def start(
        self,
        call: Call,
        *,
        authorize: SyncAuthorize | None = None,
        on_attempt: Callable[[Attempt], object] | None = None,
    ) -> Pump:
        """A pump for the call. Next: `pump.advance()`."""
        if not self._loaded:
            need(*FIRST)
            backend()
            self._loaded = True
        if call.stream:
            accelerate()
        return Pump(call, self._runtime, authorize, on_attempt)

    def pool_stats(self) -> PoolStats:
        return self._runtime.hands.stats()

    def close_idle(self) -> None:
        """Close idle connections now, leased ones when they are released."""
        self._runtime.hands.close_idle(monotonic())


class Runtime:
    """What all threads share."""

    now = staticmethod(monotonic)

    def __init__(self, settings: PoolSettings) -> None:
        self.hands: Hands[SyncWire, SyncBell] = Hands(settings.new_pool, Bell)
        # When nobody has it any more, or the interpreter ends, what is open is closed rather than warned of.
        finalize(self, _close_all, self.hands)

    def bell(self) -> Bell:
        return Bell()

    def resolve(self, host: str, port: int, bell: SyncBell) -> Job[Addresses]:
        return resolver.resolve(host, port, bell)

    def tls_ready(self, route: Route, bell: SyncBell) -> Job[bool]:
        load("transports.tls")
        from . import tls

        return tls.tls_ready(route.tls_profile, bell)

    def dial(self, addresses: Addresses, deadline: float, bell: SyncBell) -> SyncWire:
        job = OTHERS.join(
            Job(object(), f"connecting to {show(addresses[0])}", lambda: _dial(addresses, deadline), SocketWire.abort),
            bell,
        )
        try:
            bell.wait(deadline)
            if job.done:
                return job.value()
            raise Fault("timeout")
        finally:
            job.unwatch(bell)

    def secure(self, wire: SyncWire, route: Route, name: str, deadline: float) -> SyncWire:
        if not isinstance(wire, SocketWire):
            raise TypeError(f"TLS over {wire!r}")
        return wire.secure(route.tls_profile, name, deadline)

    def within(self, result: T, deadline: float, bell: SyncBell) -> T:  # noqa: ARG002  nothing to interrupt it with
        return result


class Bell:
    """An event that any thread can set."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = threading.Event()

    def ring(self) -> None:
        self._event.set()

    def wait(self, until: float) -> None:
        while not self._event.wait(min(max(0.0, until - monotonic()), LONGEST)):
            if monotonic() >= until:
                return


def _dial(addresses: Addresses, deadline: float) -> SocketWire:
    """Address after address."""
    faults: list[Fault] = []
    for address in addresses:
        left = deadline - monotonic()
        if left <= 0:
            break
        last = address is addresses[-1]
        try:
            return _connect(address, left if last else min(left, ADDRESS_TIMEOUT))
        except Fault as fault:
            faults.append(fault)
    if monotonic() >= deadline or not faults:
        raise Fault("timeout")
    raise worst(faults)


def _connect(address: Address, timeout: float) -> SocketWire:
    httpcore = backend()
    host, port = address[1][:2]
    try:
        stream = httpcore.SyncBackend().connect_tcp(host, port, timeout=min(timeout, LONGEST), socket_options=OPTIONS)
    except httpcore.ConnectTimeout as error:
        raise Fault("unreachable", f"{show(address)}: no answer within {timeout:.3g} s", error) from None
    except httpcore.ConnectError as error:
        cause = error.__cause__
        if isinstance(cause, OSError):
            raise dial_fault(cause, show(address)) from None
        raise Fault("local", f"{show(address)}: {error}", error) from None
    return SocketWire(stream)


def _close_all(hands: Hands[SyncWire, SyncBell]) -> None:
    hands.close_all(monotonic())
