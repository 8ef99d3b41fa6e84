"""Blocking I/O, for any number of threads over one pool.

httpcore dials (`SyncBackend`: `connect_tcp` and `start_tls`); after that bytes flow through the socket it hands out.

Rules of this file:
- httpcore's backend (and ssl with it) is imported when the first call begins, which must dial: not before, and not
  within the time that a dial may take. So is the accelerator of streams when the first stream begins.
- A blocked connect cannot be woken on every platform, so it runs in a thread of its own and the caller waits on a
  bell; a connection that comes too late is closed by that thread. Where no thread can be started the caller dials.
"""

from __future__ import annotations

import sys
from _thread import allocate_lock
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from types import FrameType
from typing import Any, Final, TypeVar
from weakref import finalize

from sans_io.calls.call import Call
from sans_io.chat.response import Attempt
from sans_io.policy.pool import PoolStats, Route

from . import resolver
from .blocking_wire import LONGEST, SocketWire
from .faults import Fault, dial_fault, load
from .happy_eyeballs import worst
from .httpcore_backend import backend
from .interface import Authorizer, Hands, Wire
from .interface import Bell as AnyBell
from .loading import FIRST, accelerate, need
from .pools import PoolSettings
from .pump import BlockingPump, Pump
from .resolver import Address, Addresses, Job
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
        authorize: Authorizer | None = None,
        on_attempt: Callable[[Attempt], object] | None = None,
    ) -> BlockingPump:
        """A pump for the call. Next: `pump.advance()`."""
        if not self._loaded:
            need(*FIRST)
            backend()
            self._loaded = True
        if call.stream:
            accelerate()
        return BlockingPump(call, self._runtime, authorize, on_attempt)

    def pool_stats(self) -> PoolStats:
        """A snapshot. In a signal handler that interrupts a change of the pool: as it was before that change."""
        hands = self._runtime.hands
        hands.sweep(monotonic())
        return hands.stats()

    def close_idle(self) -> None:
        """Close idle connections now, leased ones when they are released."""
        self._runtime.hands.close_idle(monotonic())


class Runtime:
    """What all threads share."""

    now = staticmethod(monotonic)

    def __init__(self, settings: PoolSettings) -> None:
        self.hands: Hands = Hands(settings.new_pool, Bell)
        # When nobody has it any more, or the interpreter ends, what is open is closed rather than warned of.
        finalize(self, _close_all, self.hands)

    def nested(self) -> bool:
        """Asked only where a call has to wait for a seat, so a walk over the frames is cheap enough. Pumps without a
        place in the pool (which ask for a credential, say) keep nobody from one.
        """
        advance, found = Pump.advance.__code__, 0
        frame: FrameType | None = sys._getframe()
        while frame is not None:
            found += frame.f_code is advance and frame.f_locals["self"].seated
            frame = frame.f_back
        return found > 1

    def bell(self) -> Bell:
        return Bell()

    def resolve(self, host: str, port: int, bell: AnyBell) -> Job[Addresses]:
        return resolver.resolve(host, port, bell)

    def tls_ready(self, route: Route, bell: AnyBell) -> Job[bool]:
        load("transports.tls")
        from . import tls

        return tls.tls_ready(route.tls_profile, bell)

    async def dial(self, addresses: Addresses, deadline: float, bell: AnyBell) -> Wire:
        job = Job(None, f"connecting to {show(addresses[0])}", lambda: _dial(addresses, deadline), SocketWire.abort)
        try:
            resolver.start(job, bell)
            if not job.done:
                bell.wait(deadline)
            if job.done:
                return job.value()
            raise Fault("timeout")
        finally:
            job.unwatch(bell)

    async def secure(self, wire: Wire, route: Route, name: str, deadline: float) -> Wire:
        if not isinstance(wire, SocketWire):
            raise TypeError(f"TLS over {wire!r}")
        return wire.secure(route.tls_profile, name, deadline)

    async def within(self, result: Any, deadline: float, bell: AnyBell) -> Any:  # noqa: ARG002  no interrupting it
        return result


class Bell:
    """An event that anybody can set, and one thread waits for.

    A raw lock that is free when it was rung: `threading.Event` has a lock of its own, and a signal handler that rings
    in the middle of its `wait` or `set` would wait for it in vain.
    """

    __slots__ = ("_heard", "_lock")

    def __init__(self) -> None:
        self._heard = False
        self._lock = allocate_lock()
        self._lock.acquire()

    def ring(self) -> None:
        with suppress(RuntimeError):  # rung before, and not heard yet
            self._lock.release()

    def wait(self, until: float) -> None:
        while not self._heard and (left := until - monotonic()) > 0.0:
            self._heard = self._lock.acquire(timeout=min(left, LONGEST))


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


def _close_all(hands: Hands) -> None:
    hands.close_all(monotonic())
