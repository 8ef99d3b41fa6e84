"""Bytes of one connection on a blocking socket, plain or TLS.

Rules of this file:
- A socket's timeout is set only when it would pass the deadline or end long before it, which saves a system call per
  read. A read that times out early is repeated (`_fit`).
- `shutdown` from any thread wakes reads and writes.
- With TLS, bytes in the kernel are decrypted before they count as an answer: they may be session tickets.
"""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from .faults import Fault, connection_fault, dial_fault
from .httpcore_backend import backend
from .sockets import ANSWERED, LOOK_EVERY, READ_SIZE, arrived, shut, takes_more

if TYPE_CHECKING:
    from httpcore import NetworkStream

#: The longest single wait of a socket or wakeup in seconds; longer ones are repeated.
LONGEST: Final = 3600.0
#: A socket's timeout is set again when it is below this part of what is left: the deadlines of writing and reading
#: differ by less, so a call on a connection in use does not set it at all.
_SHORTEST: Final = 1 / 16
#: Seconds for a write for which there is room although its deadline has passed.
_LAST: Final = 1 / 32
#: Bytes that a socket with nothing else to send accepts at once.
_SURE: Final = 16 * 1024


class BlockingConnection:
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
                raise connection_fault(error) from None

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
                raise connection_fault(error) from None
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
        """The deadline has passed. If the process was stopped, bytes may have come before it."""
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
            raise connection_fault(error) from None
        if data is None:
            raise Fault("timeout")
        return data

    def _readable(self) -> bool:
        try:
            return bool(self._poll(0)) or (self._tls and self._sock.pending() > 0)
        except (OSError, ValueError):
            return True

    def _look_into(self) -> bool:
        """Session tickets arrive unasked after the handshake, so something to read is not yet an answer."""
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
        # The dial was interrupted before anyone owned it: close it without the warning for an unclosed socket.
        stream = getattr(self, "_stream", None)
        if stream is not None:
            stream.close()

    def shutdown(self) -> None:
        shut(self._handle or self._sock, self._pid)

    def forget(self) -> None:
        self._sock.close()

    def secure(self, profile: object, name: str, deadline: float) -> BlockingConnection:
        """The same connection with TLS. Meanwhile only `shutdown` works on this object, and nothing afterwards."""
        from . import tls

        httpcore = backend()
        context = tls.tls_context(profile)
        left = deadline - monotonic()
        if left <= 0:
            raise Fault("timeout")
        try:
            # The socket object is replaced inside; a second descriptor lets `shutdown` reach the connection.
            self._handle = self._sock.dup()
        except OSError as error:
            raise dial_fault(error, name) from None
        try:
            return BlockingConnection(self._stream.start_tls(context, server_hostname=name, timeout=left), tls=True)
        except httpcore.ConnectTimeout:
            raise Fault("timeout") from None
        except httpcore.ConnectError as error:
            raise tls.tls_fault(error.__cause__ or error, name) from None
        except ValueError as error:
            raise tls.tls_fault(error, name) from None
        finally:
            self._handle.close()

    def _fit(self, left: float) -> None:
        """Set a timeout somewhat below what is left, which serves many reads; the last 50 ms are timed exactly."""
        if left <= 0:
            raise Fault("timeout")
        self._timeout = left if left < 0.05 else left * 0.75
        try:
            self._sock.settimeout(self._timeout)
        except OSError as error:
            raise connection_fault(error) from None


def _poller(sock: socket.socket) -> Callable[[int], list[object]]:
    """A function that tells without waiting whether a socket is readable."""
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        return poll.poll  # type: ignore[return-value]  # a list of pairs is a list of objects to whoever only counts
    return lambda _: list(select.select([sock], [], [], 0)[0])
