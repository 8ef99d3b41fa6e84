"""Bytes of one connection under trio.

Rules of this file:
- A non-blocking socket of our own and `wait_readable`: nothing is kept between the kernel and the reader.
- One scope per wait, none across a pull.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress

import trio

from .faults import Fault, dial_fault, wire_fault
from .resolver import Address
from .sockets import new_socket, readable, send_all, show, shut, take


class SocketWire:
    """A connected socket."""

    __slots__ = ("_now", "_pid", "_sock")

    def __init__(self, sock: socket.socket, now: Callable[[], float]) -> None:
        self._sock = sock
        self._now = now
        self._pid = os.getpid()

    async def receive(self, max_bytes: int, deadline: float) -> bytes:
        while True:
            await self._wait(trio.lowlevel.wait_readable, deadline)
            try:
                return self._sock.recv(max_bytes)
            except (BlockingIOError, InterruptedError):
                continue
            except OSError as error:
                raise wire_fault(error) from None

    async def send(self, data: memoryview, deadline: float, answered: Callable[[], bool] | None = None) -> None:
        await send_all(self._sock, data, deadline, self._writable, self._now, answered or self.answered)

    def unread(self) -> bool:
        return readable(self._sock)

    answered = unread

    def take(self) -> bytes | None:
        return take(self._sock)

    def abort(self) -> None:
        with suppress(RuntimeError, trio.ClosedResourceError):  # outside of a run nobody waits for it; closed: neither
            trio.lowlevel.notify_closing(self._sock)
        self._sock.close()

    def shutdown(self) -> None:
        shut(self._sock, self._pid)

    def forget(self) -> None:
        self._sock.close()

    def _writable(self, deadline: float) -> Awaitable[None]:
        return self._wait(trio.lowlevel.wait_writable, deadline)

    async def _wait(self, wait: Callable[[socket.socket], Awaitable[None]], deadline: float) -> None:
        while True:
            with trio.CancelScope(relative_deadline=max(0.0, deadline - self._now())):
                try:
                    await wait(self._sock)
                except (OSError, ValueError, trio.ClosedResourceError) as error:  # by a fork or `abort`
                    raise Fault("reset", "the connection was closed", error) from None
                return
            if self._now() >= deadline:  # trio's clock may be a hair ahead of ours
                raise Fault("timeout")


async def connect(now: Callable[[], float], address: Address) -> SocketWire:
    """A wire to this address; the deadline is the scope's. Raises `Fault`; then nothing of it is left."""
    sock = new_socket(address)
    try:
        with suppress(BlockingIOError):
            sock.connect(address[1])
        await trio.lowlevel.wait_writable(sock)
        number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            raise OSError(number, os.strerror(number))
    except OSError as error:
        sock.close()
        raise dial_fault(error, show(address)) from None
    except BaseException:
        sock.close()
        raise
    return SocketWire(sock, now)
