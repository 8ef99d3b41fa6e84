"""Bytes of one connection on a blocking socket, plain or TLS.

Rules of this file:
- A socket's timeout is set only when it would pass the deadline or end long before it: that is a system call per read
  saved. When a read times out early it is simply repeated (`_fit`).
- Reads and writes are woken by `shutdown`, from any thread.
- With TLS, what the kernel holds is looked into before it counts: session tickets are nobody's answer.
"""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from .faults import Fault, dial_fault, wire_fault
from .httpcore_backend import backend
from .sockets import ANSWERED, LOOK_EVERY, READ_SIZE, arrived, shut, takes_more

if TYPE_CHECKING:
    from httpcore import NetworkStream

#: The longest that a socket or an event is told to wait at once; whoever has longer asks again.
LONGEST: Final = 3600.0
#: The part of what is left below which a socket's timeout is set anew: the deadlines of writing and reading differ by
#: less, so a call on a connection in use sets none at all.
_SHORTEST: Final = 1 / 16
#: Seconds for a write for which there is room although its deadline has passed.
_LAST: Final = 1 / 32
#: So many bytes a socket takes at once that has nothing else to send.
_SURE: Final = 16 * 1024


class SocketWire:
    """A connected socket, plain or TLS."""

    __slots__ = ("_handle", "_held", "_pid", "_poll", "_sock", "_stream", "_timeout", "_tls", "_torn")

    def __init__(self, stream: NetworkStream, tls: bool = False) -> None:
        self._stream = stream
        #: A `socket.socket`, with TLS an `ssl.SSLSocket`, which has `pending` besides.
        self._sock: Any = stream.get_extra_info("socket")
        self._tls = tls
        #: A TLS read that timed out may have left a part of a record with OpenSSL, which does not say so.
        self._torn = False
        self._handle: socket.socket | None = None
        self._pid = os.getpid()
        self._timeout = 0.0
        self._poll = _poller(self._sock)
        #: Plaintext (or the end, b"") met while looking for it.
        self._held: bytes | None = None

    def receive(self, max_bytes: int, deadline: float) -> bytes:
        if self._held is not None:
            data, self._held = self._held, None
            return data
        while True:
            left = min(deadline - monotonic(), LONGEST)
            if left <= 0:
                return self._arrived()
            if not left * _SHORTEST <= self._timeout <= left:
                self._fit(left)
            try:
                received: bytes = self._sock.recv(max_bytes)
                return received
            except (TimeoutError, BlockingIOError, InterruptedError):
                self._torn = self._tls
            except OSError as error:
                raise wire_fault(error) from None

    def send(self, data: memoryview, deadline: float) -> None:
        longest = LONGEST if len(data) <= _SURE else LOOK_EVERY
        late = False
        while True:
            left = min(deadline - monotonic(), longest)
            if left <= 0 and not late and takes_more(self._sock):
                late, left = True, _LAST
            if not left * _SHORTEST <= self._timeout <= left:
                self._fit(left)
            try:
                sent = self._sock.send(data)
            except (TimeoutError, BlockingIOError, InterruptedError):
                self._torn = self._tls
                if self.answered():
                    raise Fault("reset", ANSWERED) from None
                if monotonic() >= deadline:
                    raise Fault("timeout") from None
                longest = LOOK_EVERY
            except OSError as error:
                raise wire_fault(error) from None
            else:
                if sent == len(data):
                    return
                data = data[sent:]

    def unread(self) -> bool:
        if self._tls:
            return self.answered() or self._torn or self._readable()
        return self._readable()

    def answered(self) -> bool:
        if self._held is not None:
            return True
        return self._readable() and (not self._tls or self._look_into())

    def _arrived(self) -> bytes:
        """The deadline has passed: what lies here was sent before, and is unseen if the process was stopped."""
        self._timeout = 0.0
        try:
            self._sock.settimeout(0.0)
            if self._tls:
                from ssl import SSLWantReadError

                self._torn = True
                data = arrived(self._sock.recv, (SSLWantReadError,))
            else:
                data = arrived(self._sock.recv)
        except OSError as error:
            raise wire_fault(error) from None
        if data is None:
            raise Fault("timeout")
        return data

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

    def __del__(self) -> None:
        # Whoever dialled it was interrupted before he had it: it is closed without the warning of an unclosed socket.
        stream = getattr(self, "_stream", None)
        if stream is not None:
            stream.close()

    def shutdown(self) -> None:
        shut(self._handle or self._sock, self._pid)

    def forget(self) -> None:
        self._sock.close()

    def secure(self, profile: object, name: str, deadline: float) -> SocketWire:
        """The same connection with TLS. This wire is only good for `shutdown` meanwhile, and for nothing afterwards."""
        from . import tls

        httpcore = backend()
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
        except httpcore.ConnectTimeout:
            raise Fault("timeout") from None
        except httpcore.ConnectError as error:
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


def _poller(sock: socket.socket) -> Callable[[int], list[object]]:
    """A function that tells without waiting whether a socket is readable."""
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        return poll.poll  # type: ignore[return-value]  # a list of pairs is a list of objects to whoever only counts
    return lambda _: list(select.select([sock], [], [], 0)[0])
