"""asyncio. One pool per event loop; a transport serves any number of loops, one after another or at once.

Rules of this file:
- Bytes go through a non-blocking socket of our own and the loop's readiness callbacks: nothing is kept between the
  kernel and the reader, so `unread()` is one look at the kernel, closing is synchronous, and a closed or collected
  loop leaves nothing that warns. Loops without readiness callbacks (Windows' proactor) wait by anyio.
- One future per wait, and one timer per wire that is moved only when it must fire earlier. No scope on the hot path.
- Whatever waits for more than bytes (dialling, a user's coroutine) does so in an anyio scope with a deadline.
- No wire and no pool refers to its loop: a loop that is dropped takes its pool with it.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import TypeVar
from weakref import WeakKeyDictionary, ref

import anyio

from sans_io.call import Call
from sans_io.policy.deadline import NEVER
from sans_io.policy.pool import PoolStats, Route
from sans_io.response import Attempt

from . import resolver, tls
from .faults import dial_fault, wire_fault
from .happy_eyeballs import first_to_connect
from .interface import AsyncAuthorize, AsyncBell, AsyncWire, Fault, Hands
from .pools import PoolSettings, summed
from .pump import Pump
from .resolver import Address, Addresses, Job
from .sockets import new_socket, readable, show, shut, take

T = TypeVar("T")


class AsyncioTransport:
    """Calls over asyncio. `AsyncioTransport(max_connections=None)`: connections per route and loop, None: no bound."""

    now = staticmethod(monotonic)

    def __init__(self, max_connections: int | None = None, *, settings: PoolSettings | None = None) -> None:
        self._settings = settings or PoolSettings(max_connections)
        self._runtimes: WeakKeyDictionary[asyncio.AbstractEventLoop, Runtime] = WeakKeyDictionary()

    def start(
        self,
        call: Call,
        *,
        authorize: AsyncAuthorize | None = None,
        on_attempt: Callable[[Attempt], object] | None = None,
    ) -> Pump:
        """A pump for the call, in the running loop. Next: `await pump.advance()`."""
        return Pump(call, self._runtime(), authorize, on_attempt)

    def pool_stats(self) -> PoolStats:
        """Of the running loop; outside of any, of all loops together."""
        loop = _running_loop()
        return summed([runtime.hands.stats() for home, runtime in self._all() if loop is None or home is loop])

    def close_idle(self) -> None:
        """Close idle connections: those of the running loop now, others at their loop's next operation."""
        loop = _running_loop()
        for home, runtime in self._all():
            if home is loop or home.is_closed():
                runtime.hands.close_idle(monotonic())
            else:
                runtime.hands.close_idle_later()

    def _runtime(self) -> Runtime:
        loop = asyncio.get_running_loop()
        runtime = self._runtimes.get(loop)
        if runtime is None:
            self._bury()
            runtime = self._runtimes[loop] = Runtime(loop, self._settings)
        return runtime

    def _bury(self) -> None:
        """A loop that was closed in the middle of a call cannot be collected before that call's connection is."""
        for home, runtime in self._all():
            if home.is_closed():
                runtime.hands.close_all(monotonic())
                self._runtimes.pop(home, None)

    def _all(self) -> list[tuple[asyncio.AbstractEventLoop, Runtime]]:
        """A snapshot; other loops in other threads come and go meanwhile."""
        homes = [home for home in (reference() for reference in self._runtimes.keyrefs()) if home is not None]
        pairs = [(home, self._runtimes.get(home)) for home in homes]
        return [(home, runtime) for home, runtime in pairs if runtime is not None]


class Runtime:
    """What one event loop has: its pool, and a generator that the loop ends when it ends."""

    now = staticmethod(monotonic)

    def __init__(self, loop: asyncio.AbstractEventLoop, settings: PoolSettings) -> None:
        self._loop = ref(loop)
        self.hands: Hands[AsyncWire, AsyncBell] = Hands(settings.new_pool, self.bell)
        self._keeper = _keep(self.hands)
        # The loop is to end the generator at shutdown_asyncgens, but the generator is not to hold the loop.
        hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(finalizer=None)
        with suppress(StopIteration):
            self._keeper.asend(None).send(None)
        sys.set_asyncgen_hooks(*hooks)

    def bell(self) -> Bell:
        return Bell(asyncio.get_running_loop())

    def resolve(self, host: str, port: int, bell: AsyncBell) -> Job[Addresses]:
        return resolver.resolve(host, port, bell)

    def tls_ready(self, route: Route, bell: AsyncBell) -> Job[bool]:
        return tls.tls_ready(route.tls_profile, bell)

    async def dial(self, addresses: Addresses, deadline: float, bell: AsyncBell) -> AsyncWire:
        if len(addresses) == 1 and isinstance(bell, Bell):
            return await _connect(self._loop, deadline, bell, addresses[0])
        connect = partial(_connect, self._loop, NEVER, None)
        race = first_to_connect(addresses, connect, anyio.create_task_group, anyio.Event, anyio.move_on_after)
        return await self.within(race, deadline, bell)

    async def secure(self, wire: AsyncWire, route: Route, name: str, deadline: float) -> AsyncWire:
        if not isinstance(wire, SocketWire):
            raise TypeError(f"TLS over {wire!r}")
        return await tls.start_tls(wire, route.tls_profile, name, deadline)

    async def within(self, result: Awaitable[T], deadline: float, bell: AsyncBell) -> T:
        with anyio.CancelScope(deadline=anyio.current_time() + (deadline - monotonic())) as scope:
            if isinstance(bell, Bell):
                bell.interrupt = scope.cancel
            return await result
        raise Fault("timeout")


class Bell:
    """A future that any thread can complete, or something that it can interrupt."""

    __slots__ = ("_future", "_loop", "_rung", "interrupt")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._future: asyncio.Future[None] | None = None
        self._rung = False
        self.interrupt: Callable[[], None] | None = None

    def ring(self) -> None:
        self._rung = True
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            self._loop.call_soon_threadsafe(self._wake)

    async def wait(self, until: float) -> None:
        if self._rung:
            return
        future = self._future = self._loop.create_future()
        timer = None if until == NEVER else self._loop.call_later(max(0.0, until - monotonic()), self._wake)
        try:
            await future
        finally:
            if timer is not None:
                timer.cancel()

    def _wake(self) -> None:
        if self._future is not None and not self._future.done():
            self._future.set_result(None)
        if self.interrupt is not None:
            self.interrupt()


class SocketWire:
    """A connected socket and whoever waits for it. `receive` gives the future itself: no coroutine per read."""

    __slots__ = ("_deadline", "_future", "_loop", "_reading", "_sock", "_timer", "_timer_at")

    def __init__(self, sock: socket.socket, loop: ref[asyncio.AbstractEventLoop]) -> None:
        self._sock = sock
        self._loop = loop
        self._future: asyncio.Future[bytes] | None = None
        self._reading = False
        self._deadline = NEVER
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = NEVER

    def receive(self, max_bytes: int, deadline: float) -> Awaitable[bytes]:
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

    async def send(self, data: memoryview, deadline: float) -> None:
        while True:
            try:
                sent = self._sock.send(data)
            except (BlockingIOError, InterruptedError):
                await self.writable(deadline)
            except OSError as error:
                raise wire_fault(error) from None
            else:
                if sent == len(data):
                    return
                data = data[sent:]

    async def writable(self, deadline: float) -> None:
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
        self._drop_timer()  # it would refer to the loop, and to this wire for as long as it runs
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
        shut(self._sock)

    def interrupt(self) -> None:
        """Make whoever waits here give up. The loop's thread only; a connect is not woken by `shutdown` everywhere."""
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
            # Nobody reads: the kernel keeps the bytes, and stops the peer when it has enough of them.
            self._stop_reading()
            return
        try:
            data = self._sock.recv(max_bytes)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._stop_reading()
            self._future = None
            future.set_exception(wire_fault(error))
            return
        if not data:
            self._stop_reading()
        # What was read is the caller's: a pooled wire keeps nothing of it, and nothing that knows the loop.
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
            future.set_exception(Fault("timeout"))

    def _drop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._timer_at = NEVER


async def _connect(
    loop: ref[asyncio.AbstractEventLoop], deadline: float, bell: Bell | None, address: Address
) -> SocketWire:
    sock = new_socket(address)
    wire = SocketWire(sock, loop)
    if bell is not None:
        bell.interrupt = wire.interrupt
    try:
        with suppress(BlockingIOError):
            sock.connect(address[1])
        await wire.writable(deadline)
        number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            raise OSError(number, os.strerror(number))
    except OSError as error:
        wire.abort()
        raise dial_fault(error, show(address)) from None
    except BaseException:
        wire.abort()
        raise
    return wire


async def _keep(hands: Hands[AsyncWire, AsyncBell]) -> AsyncGenerator[None, None]:
    """Suspended for as long as the loop lives; what closes its connections when it ends."""
    try:
        yield
    finally:
        hands.close_all(monotonic())


async def _receive_by_anyio(sock: socket.socket, max_bytes: int, deadline: float) -> bytes:
    while True:
        with anyio.CancelScope(deadline=anyio.current_time() + (deadline - monotonic())) as scope:
            await anyio.wait_readable(sock)
        if scope.cancelled_caught:
            raise Fault("timeout")
        try:
            return sock.recv(max_bytes)
        except (BlockingIOError, InterruptedError):
            continue
        except OSError as error:
            raise wire_fault(error) from None


async def _writable_by_anyio(sock: socket.socket, deadline: float) -> None:
    with anyio.CancelScope(deadline=anyio.current_time() + (deadline - monotonic())) as scope:
        await anyio.wait_writable(sock)
    if scope.cancelled_caught:
        raise Fault("timeout")


async def _closed() -> bytes:
    raise Fault("reset", "the connection was closed")


def _complete(future: asyncio.Future[bytes]) -> None:
    if not future.done():
        future.set_result(b"")


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
