"""Bytes of one connection under trio.

Rules of this file:
- It uses a non-blocking socket of our own and `wait_readable`: nothing is buffered between the kernel and the reader.
- One scope per wait, none across two reads.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress

import trio

from .faults import Fault, connection_fault, dial_fault
from .resolver import Address
from .sockets import arrived, new_socket, readable, send_all, show, shut, take, takes_more


class TrioConnection:
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
                raise connection_fault(error) from None
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
        with suppress(RuntimeError, trio.ClosedResourceError):  # outside a run, or closed: nobody waits for it
            trio.lowlevel.notify_closing(self._sock)
        self._sock.close()

    def shutdown(self) -> None:
        shut(self._sock, self._pid)

    def forget(self) -> None:
        self._sock.close()

    async def writable(self, deadline: float, wakeup: TrioWakeup | None = None) -> None:
        if not await self._wait(trio.lowlevel.wait_writable, deadline, wakeup) and not takes_more(self._sock):
            raise Fault("timeout")

    async def _wait(
        self, wait: Callable[[socket.socket], Awaitable[None]], deadline: float, wakeup: TrioWakeup | None = None
    ) -> bool:
        """False if the deadline has passed. If the process was stopped, bytes may have come before it."""
        while True:
            with trio.CancelScope(relative_deadline=max(0.0, deadline - self._now())) as scope:
                if wakeup is not None:
                    wakeup.scope = scope
                try:
                    await wait(self._sock)
                except (OSError, ValueError, trio.ClosedResourceError) as error:  # by a fork or `abort`
                    raise Fault("reset", "the connection was closed", error) from None
                return True
            if self._now() >= deadline or wakeup is not None:  # trio's clock may be slightly ahead of ours
                return False


class TrioWakeup:
    """A scope that any thread can cancel."""

    __slots__ = ("_now", "_token", "_woken", "scope")

    def __init__(self, token: trio.lowlevel.TrioToken, now: Callable[[], float]) -> None:
        self._token = token
        self._now = now
        self._woken = False
        self.scope: trio.CancelScope | None = None

    def wake(self) -> None:
        self._woken = True
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._wake_here)

    async def wait(self, until: float) -> None:
        with trio.CancelScope(relative_deadline=max(0.0, until - self._now())) as self.scope:
            if not self._woken:
                await trio.sleep_forever()

    def _wake_here(self) -> None:
        if self.scope is not None:
            self.scope.cancel()


async def connect(
    now: Callable[[], float], deadline: float, wakeup: TrioWakeup | None, address: Address
) -> TrioConnection:
    """A connection to this address. Raises `Fault`, leaving nothing open."""
    if now() >= deadline:
        raise Fault("timeout")
    sock = new_socket(address)
    connection = TrioConnection(sock, now)
    try:
        with suppress(BlockingIOError):
            sock.connect(address[1])
        await connection.writable(deadline, wakeup)
        number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            raise OSError(number, os.strerror(number))
    except OSError as error:
        sock.close()
        raise dial_fault(error, show(address)) from None
    except BaseException:
        sock.close()
        raise
    return connection
