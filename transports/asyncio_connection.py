"""Bytes of one connection under asyncio.

Rules of this file:
- It uses a non-blocking socket of our own and the loop's readiness callbacks: nothing is buffered between the kernel
  and the reader, so `unread()` is one system call, and closing is synchronous.
- One future per wait, and one timer per connection, which is moved only when it must fire earlier.
- An idle connection refers to no loop, so that a loop that is dropped takes its pool with it.
- Loops without readiness callbacks (Windows' proactor) wait by means of anyio, which has its own way.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from time import monotonic
from weakref import ref

import anyio

from sans_io.policy.deadline import AT_ONCE, NEVER

from .faults import Fault, connection_fault, dial_fault
from .resolver import Address
from .sockets import arrived, new_socket, readable, send_all, show, shut, take, takes_more


class AsyncioConnection:
    """A connected socket and the one who waits for it. `receive` returns a future: no coroutine per read."""

    __slots__ = ("_deadline", "_future", "_loop", "_pid", "_reading", "_sock", "_timer", "_timer_at")

    def __init__(self, sock: socket.socket, loop: ref[asyncio.AbstractEventLoop]) -> None:
        self._sock = sock
        self._loop = loop
        self._pid = os.getpid()
        self._future: asyncio.Future[bytes] | None = None
        self._reading = False
        self._deadline = NEVER
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = NEVER

    def receive(self, max_bytes: int, deadline: float) -> Awaitable[bytes]:
        if deadline == AT_ONCE:
            future = asyncio.get_running_loop().create_future()
            self._look(future, True)
            return future
        future = self._wait(deadline)
        if not self._reading:
            try:
                future.get_loop().add_reader(self._sock, self._on_readable, max_bytes)
            except NotImplementedError:
                return _receive_by_anyio(self._sock, max_bytes, deadline)
            except (OSError, ValueError):  # closed by a fork or another thread
                return _closed()
            self._reading = True
        return future

    async def send(self, data: memoryview, deadline: float, answered: Callable[[], bool] | None = None) -> None:
        await send_all(self._sock, data, deadline, self.writable, monotonic, answered or self.answered)

    async def writable(self, deadline: float) -> None:
        if self._reading:
            self._stop_reading()  # what arrives meanwhile stays in the kernel: nobody reads
        future = self._wait(deadline)
        loop = future.get_loop()
        try:
            loop.add_writer(self._sock, _complete, future)
        except NotImplementedError:
            await _writable_by_anyio(self._sock, deadline)
            return
        try:
            await future
        finally:
            self._future = None
            loop.remove_writer(self._sock)

    def unread(self) -> bool:
        self._drop_timer()  # it would keep the loop and this connection alive while it runs
        return readable(self._sock)

    def answered(self) -> bool:
        return readable(self._sock)

    def take(self) -> bytes | None:
        return take(self._sock)

    def abort(self) -> None:
        self._drop_timer()
        loop = self._loop()
        if self._reading and loop is not None and not loop.is_closed():
            loop.remove_reader(self._sock)
        self._reading = False
        self._future = None
        self._sock.close()

    def shutdown(self) -> None:
        shut(self._sock, self._pid)

    def interrupt(self) -> None:
        """End a wait in progress. The loop's thread only; `shutdown` does not end a connect on every platform."""
        future, self._future = self._future, None
        if future is not None and not future.done():
            future.set_exception(Fault("reset", "interrupted"))

    def forget(self) -> None:
        self._sock.close()

    def _wait(self, deadline: float) -> asyncio.Future[bytes]:
        loop = asyncio.get_running_loop()
        if loop is not self._loop():
            raise Fault("local", "this connection belongs to another event loop")
        self._deadline = deadline
        if deadline < self._timer_at:
            self._drop_timer()
            self._timer_at = deadline
            self._timer = loop.call_later(max(0.0, deadline - monotonic()), self._on_timer)
        future = self._future = loop.create_future()
        return future

    def _on_readable(self, max_bytes: int) -> None:
        future = self._future
        if future is None or future.done():
            # Nobody reads: the kernel keeps the bytes, and stops the peer when its buffer is full.
            self._stop_reading()
            return
        try:
            data = self._sock.recv(max_bytes)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._stop_reading()
            self._future = None
            future.set_exception(connection_fault(error))
            return
        if not data:
            self._stop_reading()
        # A pooled connection keeps neither the bytes it has read nor anything that refers to the loop.
        self._future = None
        future.set_result(data)

    def _stop_reading(self) -> None:
        self._reading = False
        asyncio.get_running_loop().remove_reader(self._sock)

    def _on_timer(self) -> None:
        self._timer = None
        self._timer_at = NEVER
        future = self._future
        if future is None or future.done():
            return
        if monotonic() < self._deadline:  # it was moved meanwhile
            self._timer_at = self._deadline
            self._timer = future.get_loop().call_later(self._deadline - monotonic(), self._on_timer)
        else:
            self._future = None
            self._look(future, self._reading)

    def _look(self, future: asyncio.Future[bytes], reading: bool) -> None:
        """The deadline has passed. If the process was stopped or the loop blocked, bytes may have come before it."""
        try:
            if reading:
                data = arrived(self._sock.recv)
            else:
                data = b"" if takes_more(self._sock) else None
        except OSError as error:
            future.set_exception(connection_fault(error))
            return
        if data is None:
            future.set_exception(Fault("timeout"))
        else:
            future.set_result(data)

    def _drop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._timer_at = NEVER


class AsyncioWakeup:
    """A future that any thread can complete; `interrupt` is called as well."""

    __slots__ = ("_future", "_loop", "_woken", "interrupt")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._future: asyncio.Future[None] | None = None
        self._woken = False
        self.interrupt: Callable[[], None] | None = None

    def wake(self) -> None:
        self._woken = True
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            self._loop.call_soon_threadsafe(self._wake_here)

    async def wait(self, until: float) -> None:
        if self._woken:
            return
        future = self._future = self._loop.create_future()
        timer = None if until == NEVER else self._loop.call_later(max(0.0, until - monotonic()), self._wake_here)
        try:
            await future
        finally:
            if timer is not None:
                timer.cancel()

    def _wake_here(self) -> None:
        if self._future is not None and not self._future.done():
            self._future.set_result(None)
        if self.interrupt is not None:
            self.interrupt()


async def connect(
    loop: ref[asyncio.AbstractEventLoop], deadline: float, wakeup: AsyncioWakeup | None, address: Address
) -> AsyncioConnection:
    """A connection to this address. Raises `Fault`, leaving nothing open."""
    if monotonic() >= deadline:
        raise Fault("timeout")
    sock = new_socket(address)
    connection = AsyncioConnection(sock, loop)
    if wakeup is not None:
        wakeup.interrupt = connection.interrupt
    try:
        with suppress(BlockingIOError):
            sock.connect(address[1])
        await connection.writable(deadline)
        number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            raise OSError(number, os.strerror(number))
    except OSError as error:
        connection.abort()
        raise dial_fault(error, show(address)) from None
    except BaseException:
        connection.abort()
        raise
    return connection


async def _receive_by_anyio(sock: socket.socket, max_bytes: int, deadline: float) -> bytes:
    while True:
        with anyio.CancelScope(deadline=anyio.current_time() + (deadline - monotonic())) as scope:
            await anyio.wait_readable(sock)
        try:
            if scope.cancelled_caught:
                data = arrived(sock.recv)
                if data is None:
                    raise Fault("timeout")
                return data
            return sock.recv(max_bytes)
        except (BlockingIOError, InterruptedError):
            continue
        except OSError as error:
            raise connection_fault(error) from None


async def _writable_by_anyio(sock: socket.socket, deadline: float) -> None:
    with anyio.CancelScope(deadline=anyio.current_time() + (deadline - monotonic())) as scope:
        await anyio.wait_writable(sock)
    if scope.cancelled_caught and not takes_more(sock):
        raise Fault("timeout")


async def _closed() -> bytes:
    raise Fault("reset", "the connection was closed")


def _complete(future: asyncio.Future[bytes]) -> None:
    if not future.done():
        future.set_result(b"")
