"""What a pump needs of an I/O library, and the one executor of the pool's commands.

    Pump ── asks ──> Call             what next?
         ── does it with ──> Runtime  bells, dials, TLS            (one per event loop; one for all threads)
                             Wire     bytes of one connection
                             Hands    the pool, and obeying it

Rules of this file:
- A wire fails with `Fault` and nothing else; the exception tables of the transports see to it.
- `Hands` holds its lock around pure code only: closing and waking happen after it was given back.
- What a finaliser may do (any thread, any time, in the middle of anything): append to `abandoned`. No lock is taken.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, TypeVar
from weakref import WeakSet

from sans_io.policy.pool import Close, Command, Pool, PoolStats, Route, Ticket

from .faults import Fault
from .resolver import Addresses, Job

if TYPE_CHECKING:
    from sans_io.providers.base import Operation

__all__ = [
    "AsyncAuthorize", "AsyncBell", "AsyncRuntime", "AsyncWire", "Bell", "Fault", "Hands", "SyncAuthorize", "SyncBell",
    "SyncRuntime", "SyncWire", "Wire",
]  # fmt: skip

T = TypeVar("T")

SyncAuthorize: TypeAlias = "Callable[[bool], Operation]"
AsyncAuthorize: TypeAlias = "Callable[[bool], Awaitable[Operation]]"


class Bell(Protocol):
    """Something to wait for beside a wire. A bell that was rung stays rung."""

    def ring(self) -> None:
        """From any thread."""
        ...


class SyncBell(Bell, Protocol):
    def wait(self, until: float) -> None:
        """Until it rings or the time has come; look at what you wait for to know which."""
        ...


class AsyncBell(Bell, Protocol):
    def wait(self, until: float) -> Awaitable[object]:
        """Until it rings or the time has come; look at what you wait for to know which."""
        ...


class Wire(Protocol):
    """One connection. The three ends of it differ in who may use them."""

    def unread(self) -> bool:
        """Whether anything at all came that nobody received: a byte in any layer, or the end of the stream.

        Asked only while nothing is being received. What TLS says on its own (session tickets) is dealt with here.
        """
        ...

    def answered(self) -> bool:
        """Whether `receive` would return at once: in TLS, a part of a record is unread but no answer."""
        ...

    def abort(self) -> None:
        """Close at once and synchronously, without a goodbye. Idempotent; the owner's thread only."""
        ...

    def shutdown(self) -> None:
        """Wake whoever waits on this connection and make it useless: shutdown(SHUT_RDWR). Any thread, any time."""
        ...

    def forget(self) -> None:
        """Close the descriptor and touch nothing else. In the child of a fork."""
        ...


class SyncWire(Wire, Protocol):
    def receive(self, max_bytes: int, deadline: float) -> bytes:
        """What one read gives; b"" at the end of the stream."""
        ...

    def send(self, data: memoryview, deadline: float) -> None:
        """Write all of it. `Fault("reset")` if the peer takes nothing more and has `answered`."""
        ...


class AsyncWire(Wire, Protocol):
    def receive(self, max_bytes: int, deadline: float) -> Awaitable[bytes]:
        """What one read gives; b"" at the end of the stream."""
        ...

    async def send(self, data: memoryview, deadline: float) -> None:
        """Write all of it. `Fault("reset")` if the peer takes nothing more and has `answered`."""
        ...


class ByteWire(AsyncWire, Protocol):
    """A wire that TLS can be laid over."""

    async def send(self, data: memoryview, deadline: float, answered: Callable[[], bool] | None = None) -> None:
        """As above; whoever is laid over it says with `answered` whether what came is an answer."""
        ...

    def take(self) -> bytes | None:
        """What can be read without waiting; b"" at the end of the stream (or if it broke), None for nothing."""
        ...


WireT = TypeVar("WireT", bound=Wire)


class SyncRuntime(Protocol):
    """What blocking I/O gives a pump."""

    @property
    def hands(self) -> Hands[SyncWire, SyncBell]: ...
    def now(self) -> float: ...
    def bell(self) -> SyncBell: ...
    def resolve(self, host: str, port: int, bell: SyncBell) -> Job[Addresses]: ...
    def tls_ready(self, route: Route, bell: SyncBell) -> Job[bool]: ...

    def dial(self, addresses: Addresses, deadline: float, bell: SyncBell) -> SyncWire:
        """TCP to the first of the addresses that answers. Given up (any Fault) when the bell rings."""
        ...

    def secure(self, wire: SyncWire, route: Route, name: str, deadline: float) -> SyncWire:
        """TLS over the wire, which must not be used any more. `tls_ready(route)` is done."""
        ...

    def within(self, result: T, deadline: float, bell: SyncBell) -> T:
        """The result. A user's blocking callable cannot be interrupted."""
        ...


class AsyncRuntime(Protocol):
    """What an event loop gives a pump."""

    @property
    def hands(self) -> Hands[AsyncWire, AsyncBell]: ...
    def now(self) -> float: ...
    def bell(self) -> AsyncBell: ...
    def resolve(self, host: str, port: int, bell: AsyncBell) -> Job[Addresses]: ...
    def tls_ready(self, route: Route, bell: AsyncBell) -> Job[bool]: ...

    async def dial(self, addresses: Addresses, deadline: float, bell: AsyncBell) -> AsyncWire:
        """TCP to the first of the addresses that answers. Given up (any Fault) when the bell rings."""
        ...

    async def secure(self, wire: AsyncWire, route: Route, name: str, deadline: float) -> AsyncWire:
        """TLS over the wire, which must not be used any more. `tls_ready(route)` is done."""
        ...

    async def within(self, result: Awaitable[T], deadline: float, bell: AsyncBell) -> T:
        """The awaited result. Given up (a Fault) at the deadline or when the bell rings."""
        ...


BellT = TypeVar("BellT", bound=Bell)


class Hands(Generic[WireT, BellT]):
    """The pool of one event loop, or of all threads, and the one place where its commands are obeyed."""

    def __init__(self, new_pool: Callable[[], Pool[WireT]], new_bell: Callable[[], BellT]) -> None:
        self._new_pool = new_pool
        self._new_bell = new_bell
        #: Tickets of pumps that were dropped without being closed. Finalisers append, the next operation takes.
        self.abandoned: deque[Ticket[WireT]] = deque()
        self._begin()
        _ALL_HANDS.add(self)

    def seat(self, route: Route, fresh: bool, now: float) -> Ticket[WireT]:
        """A ticket, granted or with a bell in `waker` that rings when it is. Taking the place and hanging up the bell
        are one locked step, or a grant between the two would ring for nobody.
        """
        if os.getpid() != self._pid:
            self.forget()
        with self._lock:
            overdue = self._overdue(now) if self.abandoned or self._close_idle else None
            ticket, commands = self._pool.acquire(route, now, fresh=fresh)
            self._seated.add(ticket)
            if not ticket.granted:
                ticket.waker = self._new_bell()
        if overdue:
            self._obey(overdue)
        if len(commands) > ticket.granted:  # a grant at once rings no bell
            self._obey(commands)
        return ticket

    def bell_of(self, ticket: Ticket[WireT]) -> BellT:
        """The bell of a ticket that was not granted at once."""
        bell: BellT = ticket.waker  # type: ignore[assignment]  # the pool keeps it for us as an object
        return bell

    def connected(self, ticket: Ticket[WireT], wire: WireT, now: float) -> None:
        """The ticket's owner has dialled."""
        with self._lock:
            commands = self._overdue(now) if self.abandoned or self._close_idle else []
            if ticket in self._seated:
                commands += self._pool.on_connected(ticket, wire, now)
                self.wires.add(wire)
            else:
                # Nobody's seat (a fork lies between): kept by no pool, it would stay open for ever.
                commands.append(Close(wire, "cancelled"))
        self._obey(commands)

    def stale(self, ticket: Ticket[WireT], now: float) -> None:
        """The reused connection is dead: afterwards the same ticket has another one, or none and its owner dials."""
        with self._lock:
            commands = self._pool.on_stale(ticket, now) if ticket in self._seated else []
        self._obey(commands)

    def release(self, ticket: Ticket[WireT], reusable: bool, now: float, idle_hint: float | None = None) -> None:
        """The caller is done. A ticket that this pool does not know (after a fork) changes nothing."""
        with self._lock:
            commands = self._overdue(now) if self.abandoned or self._close_idle else []
            if ticket in self._seated:
                self._seated.discard(ticket)
                commands += self._pool.release(ticket, reusable, now, idle_hint)
        if commands:
            self._obey(commands)

    def cancel(self, ticket: Ticket[WireT], now: float) -> None:
        """The caller left. Idempotent."""
        with self._lock:
            commands = self._overdue(now) if self.abandoned or self._close_idle else []
            if ticket in self._seated:
                self._seated.discard(ticket)
                commands += self._pool.cancel(ticket, now)
        self._obey(commands)

    def sweep(self, now: float) -> None:
        """Do what finalisers and other threads have left to be done."""
        if self.abandoned or self._close_idle:
            with self._lock:
                commands = self._overdue(now)
            self._obey(commands)

    def stats(self) -> PoolStats:
        with self._lock:
            return self._pool.stats()

    def close_idle(self, now: float) -> None:
        """Close idle connections now and leased ones when they are released. The owner's thread only."""
        self._close_idle = True
        self.sweep(now)

    def close_idle_later(self) -> None:
        """The same at the next operation. From any thread."""
        self._close_idle = True

    def close_all(self, now: float) -> None:
        """The loop or the interpreter ends: nothing stays open, whoever still holds a stream."""
        self.close_idle(now)
        for wire in tuple(self.wires):
            wire.abort()
        self.wires.clear()

    def forget(self) -> None:
        """In the child of a fork: everything here is the parent's. Close our copies of its descriptors, begin anew."""
        inherited = tuple(self.wires)
        self._begin()
        for wire in inherited:
            wire.forget()

    def _begin(self) -> None:
        self._pid = os.getpid()
        # A lock held by a thread that does not exist in the child would never be given back.
        self._lock = threading.Lock()
        self._pool = self._new_pool()
        self._seated: set[Ticket[WireT]] = set()
        #: Every open connection, so that none outlives its loop.
        self.wires: set[WireT] = set()
        self._close_idle = False
        self.abandoned.clear()

    def _overdue(self, now: float) -> list[Command[WireT]]:
        commands: list[Command[WireT]] = []
        while self.abandoned:
            ticket = self.abandoned.popleft()
            if ticket in self._seated:
                self._seated.discard(ticket)
                commands += self._pool.cancel(ticket, now)
        if self._close_idle:
            self._close_idle = False
            commands += self._pool.close(now)
        return commands

    def _obey(self, commands: list[Command[WireT]]) -> None:
        for command in commands:
            if isinstance(command, Close):
                self.wires.discard(command.conn)
                command.conn.abort()
            elif command.ticket.waker is not None:
                self.bell_of(command.ticket).ring()


_ALL_HANDS: WeakSet[Hands[Any, Any]] = WeakSet()


def _forget_parent() -> None:
    for hands in list(_ALL_HANDS):
        hands.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parent)
