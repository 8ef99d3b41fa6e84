"""Blocking I/O, for any number of threads over one pool.

httpcore dials (`SyncBackend`: `connect_tcp` and `start_tls`); after that bytes flow through the socket it hands out.

Rules of this file:
- httpcore is imported when the first call begins, which must dial, and ssl by the first https dial: not before, and
  not within the time that a dial may take.
- A blocked connect cannot be woken on every platform, so it runs in a daemon thread and the caller waits on a bell;
  a connection that comes too late is closed by that thread.
- A socket's timeout is set only when it would pass the deadline or end long before it: that is a system call per read
  saved. When a read times out early it is simply repeated (`_fit`).
- Reads and writes are woken by `shutdown`, from any thread.
"""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, TypeVar
from weakref import finalize

from sans_io.call import Call
from sans_io.policy.pool import PoolStats, Route
from sans_io.response import Attempt

from . import resolver
from .faults import dial_fault, wire_fault
from .happy_eyeballs import worst
from .interface import Fault, Hands, SyncAuthorize, SyncBell, SyncWire
from .pools import PoolSettings
from .pump_sync import Pump
from .resolver import OTHERS, Address, Addresses, Job
from .sockets import OPTIONS, READ_SIZE, show, shut

if TYPE_CHECKING:
    from httpcore import NetworkStream

T = TypeVar("T")

#: Seconds for each address but the last: a dead one must not use up the time of a living one.
ADDRESS_TIMEOUT: Final = 1.0
#: The longest that a socket or an event is told to wait at once; whoever has longer asks again.
_LONGEST: Final = 3600.0


class SyncTransport:
    """Calls over blocking sockets. `SyncTransport(max_connections=None)`: connections per route, None: no bound."""

    now = staticmethod(monotonic)

    def __init__(self, max_connections: int | None = None, *, settings: PoolSettings | None = None) -> None:
        self._runtime = Runtime(settings or PoolSettings(max_connections))

    def start(
        self,
        call: Call,
        *,
        authorize: SyncAuthorize | None = None,
        on_attempt: Callable[[Attempt], object] | None = None,
    ) -> Pump:
        """A pump for the call. Next: `pump.advance()`."""
        import httpcore  # noqa: F401  used where it is dialled; see the rules

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
        while not self._event.wait(min(max(0.0, until - monotonic()), _LONGEST)):
            if monotonic() >= until:
                return


class SocketWire:
    """A connected socket, plain or TLS."""

    __slots__ = ("_handle", "_held", "_poll", "_sock", "_stream", "_timeout", "_tls", "_torn")

    def __init__(self, stream: NetworkStream, tls: bool = False) -> None:
        self._stream = stream
        #: A `socket.socket`, with TLS an `ssl.SSLSocket`, which has `pending` besides.
        self._sock: Any = stream.get_extra_info("socket")
        self._tls = tls
        #: A TLS read that timed out may have left a part of a record with OpenSSL, which does not say so.
        self._torn = False
        self._handle: socket.socket | None = None
        self._timeout = 0.0
        self._poll = _poller(self._sock)
        #: Plaintext (or the end, b"") met while looking for it.
        self._held: bytes | None = None

    def receive(self, max_bytes: int, deadline: float) -> bytes:
        if self._held is not None:
            data, self._held = self._held, None
            return data
        while True:
            left = min(deadline - monotonic(), _LONGEST)
            if not left * 0.25 <= self._timeout <= left:
                self._fit(left)
            try:
                received: bytes = self._sock.recv(max_bytes)
                return received
            except (TimeoutError, BlockingIOError, InterruptedError):
                self._torn = self._tls
                if monotonic() >= deadline:
                    raise Fault("timeout") from None
            except OSError as error:
                raise wire_fault(error) from None

    def send(self, data: memoryview, deadline: float) -> None:
        while True:
            left = min(deadline - monotonic(), _LONGEST)
            if not left * 0.25 <= self._timeout <= left:
                self._fit(left)
            try:
                sent = self._sock.send(data)
            except (TimeoutError, BlockingIOError, InterruptedError):
                self._torn = self._tls
                if monotonic() >= deadline:
                    raise Fault("timeout") from None
            except OSError as error:
                raise wire_fault(error) from None
            else:
                if sent == len(data):
                    return
                data = data[sent:]

    def unread(self) -> bool:
        return self.answered() or self._torn or (self._tls and self._readable())

    def answered(self) -> bool:
        if self._held is not None:
            return True
        if not self._readable():
            return False
        return not self._tls or self._look_into()

    def _readable(self) -> bool:
        try:
            return bool(self._poll(0)) or (self._tls and self._sock.pending() > 0)
        except (OSError, ValueError):
            return True

    def _look_into(self) -> bool:
        """Session tickets come unasked after the handshake, so something to read is no answer yet."""
        from ssl import SSLWantReadError

        from .tls import Records

        records = Records()
        self._timeout = 0.0
        try:
            self._sock.settimeout(0.0)
            # The socket's own recv, below TLS: OpenSSL reads one record at a time, so a record begins here.
            waiting = socket.socket.recv(self._sock, 2 * READ_SIZE, socket.MSG_PEEK)
            records.follow(waiting)
            if records.torn and not 0 < records.first <= len(waiting):
                return False
            self._held = self._sock.recv(READ_SIZE)
        except (SSLWantReadError, BlockingIOError):
            self._torn = self._torn or records.torn
            return False
        except (OSError, ValueError):
            self._held = b""
        return True

    def abort(self) -> None:
        self._stream.close()

    def shutdown(self) -> None:
        shut(self._handle or self._sock)

    def forget(self) -> None:
        self._sock.close()

    def secure(self, profile: object, name: str, deadline: float) -> SocketWire:
        """The same connection with TLS. This wire is only good for `shutdown` meanwhile, and for nothing afterwards."""
        from httpcore import ConnectError, ConnectTimeout

        from . import tls

        context = tls.tls_context(profile)
        left = deadline - monotonic()
        if left <= 0:
            raise Fault("timeout")
        try:
            # The socket object changes hands inside; a second descriptor lets `shutdown` reach the connection.
            self._handle = self._sock.dup()
        except OSError as error:
            raise dial_fault(error, name) from None
        try:
            return SocketWire(self._stream.start_tls(context, server_hostname=name, timeout=left), tls=True)
        except ConnectTimeout:
            raise Fault("timeout") from None
        except ConnectError as error:
            raise tls.tls_fault(error.__cause__ or error, name) from None
        except ValueError as error:
            raise tls.tls_fault(error, name) from None
        finally:
            self._handle.close()

    def _fit(self, left: float) -> None:
        """A timeout somewhat below what is left serves many reads; the last stretch is timed exactly."""
        if left <= 0:
            raise Fault("timeout")
        self._timeout = left if left < 0.05 else left * 0.75
        try:
            self._sock.settimeout(self._timeout)
        except OSError as error:
            raise wire_fault(error) from None


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
    from httpcore import ConnectError, ConnectTimeout, SyncBackend

    host, port = address[1][:2]
    try:
        stream = SyncBackend().connect_tcp(host, port, timeout=min(timeout, _LONGEST), socket_options=OPTIONS)
    except ConnectTimeout as error:
        raise Fault("unreachable", f"{show(address)}: no answer within {timeout:.3g} s", error) from None
    except ConnectError as error:
        cause = error.__cause__
        if isinstance(cause, OSError):
            raise dial_fault(cause, show(address)) from None
        raise Fault("local", f"{show(address)}: {error}", error) from None
    return SocketWire(stream)


def _poller(sock: socket.socket) -> Callable[[int], list[object]]:
    """A function that tells without waiting whether a socket is readable."""
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        return poll.poll  # type: ignore[return-value]  # a list of pairs is a list of objects to whoever only counts
    return lambda _: list(select.select([sock], [], [], 0)[0])


def _close_all(hands: Hands[SyncWire, SyncBell]) -> None:
    hands.close_all(monotonic())
