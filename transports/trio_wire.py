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
from typing import Protocol

import trio

from .faults import Fault, dial_fault, wire_fault
from .resolver import Address
from .sockets import arrived, new_socket, readable, send_all, show, shut, take, takes_more


class SocketWire:
    """A connected socket."""

    __slots__ = ("_now", "_pid", "_sock")

    def __init__(self, sock: socket.socket, now: Callable[[], float]) -> None:
        self._sock = sock
        self._now = now
        self._pid = os.getpid()

    async def receive(self, max_bytes: int, deadline: float) -> bytes:
        while True:
            ready = await self._wait(trio.lowlevel.wait_readable, deadline)
            try:
                if ready:
                    return self._sock.recv(max_bytes)
                data = arrived(self._sock.recv)
            except (BlockingIOError, InterruptedError):
                continue
            except OSError as error:
                raise wire_fault(error) from None
            if data is None:
                raise Fault("timeout")
            return data

    async def send(self, data: memoryview, deadline: float, answered: Callable[[], bool] | None = None) -> None:
        await send_all(self._sock, data, deadline, self.writable, self._now, answered or self.answered)

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

    async def writable(self, deadline: float, bell: Interrupting | None = None) -> None:
        if not await self._wait(trio.lowlevel.wait_writable, deadline, bell) and not takes_more(self._sock):
            raise Fault("timeout")

    async def _wait(
        self, wait: Callable[[socket.socket], Awaitable[None]], deadline: float, bell: Interrupting | None = None
    ) -> bool:
        """False if the deadline has passed. What came before it is yet unseen if the process was stopped."""
        while True:
            with trio.CancelScope(relative_deadline=max(0.0, deadline - self._now())) as scope:
                if bell is not None:
                    bell.scope = scope
                try:
                    await wait(self._sock)
                except (OSError, ValueError, trio.ClosedResourceError) as error:  # by a fork or `abort`
                    raise Fault("reset", "the connection was closed", error) from None
                return True
            if self._now() >= deadline or bell is not None:  # trio's clock may be a hair ahead of ours
                return False


class Interrupting(Protocol):
    """A bell that, when it is rung, cancels the scope that was left with it."""

    scope: trio.CancelScope | None


async def connect(now: Callable[[], float], deadline: float, bell: Interrupting | None, address: Address) -> SocketWire:
    """A wire to this address. Raises `Fault`; then nothing of it is left."""
    if now() >= deadline:
        raise Fault("timeout")
    sock = new_socket(address)
    wire = SocketWire(sock, now)
    try:
        with suppress(BlockingIOError):
            sock.connect(address[1])
        await wire.writable(deadline, bell)
        number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            raise OSError(number, os.strerror(number))
    except OSError as error:
        sock.close()
        raise dial_fault(error, show(address)) from None
    except BaseException:
        sock.close()
        raise
    return wire
