"""What all transports share about sockets, whichever library waits for them.

Rules of this file:
- A socket is made here and belongs to its connection from the first moment, before anything is awaited.
- Finalisers may run in any thread and after the loop has ended: `QuietSocket` only closes its descriptor.
"""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from .faults import Fault, connection_fault, dial_fault
from .resolver import Address

#: Bytes of one read: a burst of events fits, and it stays below the size for which malloc makes a mapping.
READ_SIZE: Final = 64 * 1024
#: Seconds after which a write that the peer does not accept checks whether the peer has answered instead.
LOOK_EVERY: Final = 0.1
#: The most bytes read after a deadline: more than a kernel buffers for a reader that has stopped.
MAX_LATE: Final = 1024 * 1024
_NOTHING: Final = (BlockingIOError, InterruptedError)
ANSWERED: Final = "the server answered and did not read the rest of the request"


def _options() -> tuple[tuple[int, int, int], ...]:
    """Nagle off; keep-alive after 30 s, 3 probes 10 s apart; data unacknowledged for 60 s ends a connection."""
    tcp = socket.IPPROTO_TCP
    wanted = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1), (tcp, socket.TCP_NODELAY, 1)]
    for name, number in (
        ("TCP_KEEPIDLE", 30),
        ("TCP_KEEPALIVE", 30),  # its name on macOS
        ("TCP_KEEPINTVL", 10),
        ("TCP_KEEPCNT", 3),
        ("TCP_USER_TIMEOUT", 60_000),
    ):
        option = getattr(socket, name, None)
        if option is not None:
            wanted.append((tcp, option, number))
    return tuple(wanted)


OPTIONS: Final = _options()


class QuietSocket(socket.socket):
    """A socket whose owner may be collected after its event loop: it closes itself without a warning."""

    __slots__ = ()

    def __del__(self) -> None:
        # If no descriptor was left, the constructor raised before there was anything to close.
        if hasattr(self, "_io_refs"):
            self.close()


def new_socket(address: Address) -> QuietSocket:
    """A non-blocking TCP socket for this address with our options. Raises `Fault`."""
    try:
        made = QuietSocket(address[0], socket.SOCK_STREAM, socket.IPPROTO_TCP)
    except OSError as error:
        raise dial_fault(error, show(address)) from None
    try:
        made.setblocking(False)
        for option in OPTIONS:
            made.setsockopt(*option)
    except OSError as error:
        made.close()
        raise dial_fault(error, show(address)) from None
    return made


def readable(sock: socket.socket) -> bool:
    """Whether reading a non-blocking socket would give bytes, its end or an error."""
    try:
        sock.recv(1, socket.MSG_PEEK)
    except (BlockingIOError, InterruptedError):
        return False
    except OSError:
        return True
    return True


async def send_all(
    sock: socket.socket,
    data: memoryview,
    deadline: float,
    writable: Callable[[float], Awaitable[None]],
    now: Callable[[], float],
    answered: Callable[[], bool],
) -> None:
    """Write all of it on a non-blocking socket, waiting with `writable(deadline)`. Raises `Fault`."""
    while True:
        try:
            sent = sock.send(data)
        except (BlockingIOError, InterruptedError):
            await _room(deadline, writable, now, answered)
        except OSError as error:
            raise connection_fault(error) from None
        else:
            if sent == len(data):
                return
            data = data[sent:]


async def _room(
    deadline: float,
    writable: Callable[[float], Awaitable[None]],
    now: Callable[[], float],
    answered: Callable[[], bool],
) -> None:
    """Wait until more can be written. Raises `Fault("reset")` once the peer has answered instead of reading on."""
    while True:
        look_at = now() + LOOK_EVERY
        try:
            return await writable(min(deadline, look_at))
        except Fault as fault:
            if fault.kind != "timeout":
                raise
            if answered():
                raise Fault("reset", ANSWERED) from None
            if deadline <= look_at:
                raise


def take(sock: socket.socket) -> bytes | None:
    """One read without waiting: None if there is nothing, b"" at the end of the stream or if it broke."""
    try:
        return sock.recv(READ_SIZE)
    except (BlockingIOError, InterruptedError):
        return None
    except OSError:
        return b""


def arrived(receive: Callable[[int], bytes], nothing: tuple[type[OSError], ...] = _NOTHING) -> bytes | None:
    """After a deadline: everything that non-blocking reads give, up to `MAX_LATE` bytes; b"" at the end, None if there
    is nothing (`receive` then raises one of `nothing`). Raises OSError if the connection broke.
    """
    parts: list[bytes] = []
    size = 0
    try:
        while size < MAX_LATE and (part := receive(READ_SIZE)):
            parts.append(part)
            size += len(part)
    except nothing:
        if not parts:
            return None
    except OSError:
        if not parts:  # otherwise it is raised again, after what arrived before it
            raise
    return b"".join(parts)


def takes_more(sock: socket.socket) -> bool:
    """Whether a write, or the end of a connect, would not wait now: possibly for a failure."""
    try:
        if hasattr(select, "poll"):
            poll = select.poll()
            poll.register(sock, select.POLLOUT)
            return bool(poll.poll(0))
        return any(select.select([], [sock], [sock], 0))
    except (OSError, ValueError):  # it is closed
        return True


def shut(sock: socket.socket, pid: int) -> None:
    """Wake whoever waits on the socket. Does nothing if it is closed or not connected.

    `pid` is the process that made the connection: in a forked child a finaliser may run before the hooks that close
    what was inherited, and a shutdown there would end the parent's connection.
    """
    if os.getpid() == pid:
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)


def show(address: Address) -> str:
    host, port = address[1][:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
