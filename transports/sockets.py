"""What the transports know of sockets, whichever library waits for them.

Rules of this file:
- A socket is made here and owned by its wire from its first moment, before anything is awaited.
- Finalisers may run in any thread and after any loop: `QuietSocket` closes its descriptor and does nothing else.
"""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from .faults import Fault, dial_fault, wire_fault
from .resolver import Address

#: One read: what a burst of events fits into, and what stays below malloc's threshold for a mapping of its own.
READ_SIZE: Final = 64 * 1024
#: Seconds after which a write that the peer does not take looks whether the peer has answered instead.
LOOK_EVERY: Final = 0.1
#: The most that one look after a deadline reads: more than a kernel takes in for a reader that has stopped.
MAX_LATE: Final = 1024 * 1024
_NOTHING: Final = (BlockingIOError, InterruptedError)
ANSWERED: Final = "the server answered and took no more of the request"


def _options() -> tuple[tuple[int, int, int], ...]:
    """Nagle off; probes after 30 s, every 10 s, 3 of them; unacknowledged data for 60 s ends a connection."""
    tcp = socket.IPPROTO_TCP
    wanted = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1), (tcp, socket.TCP_NODELAY, 1)]
    for name, number in (
        ("TCP_KEEPIDLE", 30),
        ("TCP_KEEPALIVE", 30),  # what macOS calls it
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
    """A socket whose owner may be collected after its event loop: it closes itself, and does not warn of it."""

    __slots__ = ()

    def __del__(self) -> None:
        # Where no descriptor was left, the constructor raised before there was anything to close.
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
    """Whether a non-blocking socket has bytes, its end or an error to give."""
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
            raise wire_fault(error) from None
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
    """Until more can be written; raises `Fault("reset")` once the peer has answered instead of taking more."""
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
    """One read of a non-blocking socket without waiting: None if there is nothing, b"" at its end or if it broke."""
    try:
        return sock.recv(READ_SIZE)
    except (BlockingIOError, InterruptedError):
        return None
    except OSError:
        return b""


def arrived(receive: Callable[[int], bytes], nothing: tuple[type[OSError], ...] = _NOTHING) -> bytes | None:
    """After a deadline: everything that non-blocking reads give, up to `MAX_LATE`; b"" at the end, None if nothing is
    there, which `receive` says with `nothing`. Raises OSError for a connection that broke.
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
        if not parts:  # else it comes again, after what arrived before it
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
    """Wake whoever waits on it. On a socket that is closed or not connected there is nobody to wake.

    `pid` is the process that made the connection: in the child of a fork a finaliser may run before the hooks that
    close what was inherited, and a shutdown there would end the parent's connection.
    """
    if os.getpid() == pid:
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)


def show(address: Address) -> str:
    host, port = address[1][:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
