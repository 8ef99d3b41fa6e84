"""What a pump needs of an I/O library, and the one executor of the pool's commands.

    Pump ── asks ──> Call             what next?
         ── does it with ──> Runtime  bells, dials, TLS            (one per event loop; one for all threads)
                             Wire     bytes of one connection
                             Hands    the pool, and obeying it

Rules of this file:
- A wire fails with `Fault` and nothing else; the exception tables of the transports see to it.
- `Hands` holds its lock around pure code only, by the rules of `exclusion`: closing and waking happen after it was
  given back, and nothing re-entrant waits for it.
- What a finaliser may do (any thread, any time, in the middle of anything): `abandon`. No lock is taken.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar
from weakref import WeakSet

from sans_io.policy.pool import Close, Command, Pool, PoolStats, Route, Ticket, stats_of

from .exclusion import Exclusion
from .faults import Fault
from .resolver import Addresses, Job

if TYPE_CHECKING:
    from sans_io.providers.base import Operation

__all__ = ["Authorizer", "Bell", "Fault", "Hands", "Runtime", "Wire"]

T = TypeVar("T")

#: Makes the operation of a call that was given none; `True` asks for a fresh credential. A blocking one returns it.
Authorizer: TypeAlias = "Callable[[bool], Operation | Awaitable[Operation]]"


class Bell(Protocol):
    """Something to wait for beside a wire. A bell that was rung stays rung."""

    def ring(self) -> None:
        """From any thread, a signal handler included."""
        ...

    def wait(self, until: float) -> Awaitable[object] | None:
        """Until it rings or the time has come; look at what you wait for to know which. A blocking one has waited when
        it returns, and returns None.
        """
        ...


class Wire(Protocol):
    """One connection. The ends of it differ in who may use them."""

    def receive(self, max_bytes: int, deadline: float) -> bytes | Awaitable[bytes]:
        """What one read gives, b"" at the end of the stream; at once from a blocking wire, else to be awaited."""
        ...

    def send(self, data: memoryview, deadline: float) -> Awaitable[object] | None:
        """Write all of it; to be awaited if it is not done. `Fault("reset")` if the peer takes nothing more and has
        `answered`.
        """
        ...

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


class ByteWire(Wire, Protocol):
    """An asynchronous wire that TLS can be laid over."""

    def receive(self, max_bytes: int, deadline: float) -> Awaitable[bytes]: ...

    async def send(self, data: memoryview, deadline: float, answered: Callable[[], bool] | None = None) -> None:
        """As above; whoever is laid over it says with `answered` whether what came is an answer."""
        ...

    def take(self) -> bytes | None:
        """What can be read without waiting; b"" at the end of the stream (or if it broke), None for nothing."""
        ...


class Runtime(Protocol):
    """What a pump needs of blocking I/O, or of an event loop. The coroutines of a blocking one never suspend."""

    @property
    def hands(self) -> Hands: ...
    def now(self) -> float: ...
    def bell(self) -> Bell: ...
    def resolve(self, host: str, port: int, bell: Bell) -> Job[Addresses]: ...
    def tls_ready(self, route: Route, bell: Bell) -> Job[bool]: ...

    def nested(self) -> bool:
        """Whether the pump runs inside another one of the same thread (a signal handler's call, say), which goes on
        only when it is done. Never so in an event loop, where tasks take turns.
        """
        ...

    async def dial(self, addresses: Addresses, deadline: float, bell: Bell) -> Wire:
        """TCP to the first of the addresses that answers. Given up (any Fault) when the bell rings."""
        ...

    async def secure(self, wire: Wire, route: Route, name: str, deadline: float) -> Wire:
        """TLS over the wire, which must not be used any more. `tls_ready(route)` is done."""
        ...

    async def within(self, result: Any, deadline: float, bell: Bell) -> Any:
        """The awaited result: given up (a Fault) at the deadline or when the bell rings. A blocking callable's result
        is there already; it could not be interrupted.
        """
        ...


class Hands:
    """The pool of one event loop, or of all threads, and the one place where its commands are obeyed.

    Its lock follows `exclusion`: what is given back from inside a locked part is left to the holder; whoever needs a
    seat there gets `apart()`, a pool of its own; `stats()` is the last published snapshot and takes no lock.
    """

    def __init__(self, new_pool: Callable[[], Pool[Wire]], new_bell: Callable[[], Bell]) -> None:
        self._new_pool = new_pool
        self._new_bell = new_bell
        self._begin()
        _ALL_HANDS.add(self)

    def seat(self, ticket: Ticket[Wire], now: float) -> None:
        """Get the ticket granted, or hang up a bell in its `waker` that rings when it is. Taking the place and hanging
        up the bell are one locked step, or a grant between the two would ring for nobody. Not while `inside()`.
        """
        if os.getpid() != self._pid:
            self.forget()
        try:
            with self._lock:
                overdue = self._overdue(now) if self._left or self._torn else None
                commands = self._pool.acquire(ticket.route, now, fresh=ticket.fresh, ticket=ticket)[1]
                if not ticket.granted:
                    ticket.waker = self._new_bell()
                elif len(commands) == 1:
                    commands = []  # its own grant: nobody waits for the bell
                self._published = self._pool.counts.copy()
            if overdue:
                self._obey(overdue)
            if commands:
                self._obey(commands)
        except BaseException:
            self._interrupted()
            raise
        if self._left:
            self.sweep(now)

    def inside(self) -> bool:
        """Whether this thread is in the middle of a change of the pool: a signal handler or a finaliser asks."""
        return self._exclusion.held()

    def foreign(self) -> bool:
        """Whether all of this is still the parent's, in the child of a fork: finalisers run before its hooks do."""
        return os.getpid() != self._pid

    def apart(self) -> Hands:
        """A pool for one call that cannot wait for this one: it dials, and its connection is closed at the end."""
        return Hands(lambda: Pool(max_idle=0), self._new_bell)

    def lost(self, ticket: Ticket[Wire]) -> bool:
        """Whether nobody here knows of a ticket that is not done: it waited in the pool of the parent of a fork."""
        return not self._pool.knows(ticket)

    def bell_of(self, ticket: Ticket[Wire]) -> Bell:
        """The bell of a ticket that was not granted at once."""
        bell: Bell = ticket.waker  # type: ignore[assignment]  # the pool keeps it for us as an object
        return bell

    def connected(self, ticket: Ticket[Wire], wire: Wire, now: float) -> None:
        """The ticket's owner has dialled. If this is nobody's seat (a fork lies between), the connection is closed."""
        self._change(now, self._connected, ticket, wire)

    def stale(self, ticket: Ticket[Wire], now: float) -> None:
        """The reused connection is dead: afterwards the same ticket has another one, or none and its owner dials."""
        self._change(now, self._pool.on_stale, ticket)

    def release(self, ticket: Ticket[Wire], reusable: bool, now: float, idle_hint: float | None = None) -> None:
        """The caller is done. A ticket that this pool does not know (after a fork) changes nothing."""
        self._change(now, self._pool.release, ticket, reusable, idle_hint=idle_hint)

    def cancel(self, ticket: Ticket[Wire], now: float) -> None:
        """The caller left. Idempotent."""
        self._change(now, self._pool.cancel, ticket)

    def abandon(self, ticket: Ticket[Wire]) -> None:
        """The caller was collected: any thread, any time, in the middle of anything. The next operation cancels it."""
        self._left.append(partial(self._pool.cancel, ticket))

    def sweep(self, now: float) -> None:
        """Do what finalisers, handlers and other threads have left to be done. Nothing while `inside()`."""
        while (self._left or self._torn) and not self._exclusion.held():
            self._change(now, None)

    def stats(self) -> PoolStats:
        """As of the last change. Any thread, any time."""
        return stats_of(self._published)

    def close_idle(self, now: float) -> None:
        """Close idle connections now and leased ones when they are released. The owner's thread only."""
        self._change(now, self._pool.close)

    def close_idle_later(self) -> None:
        """The same at the next operation. From any thread."""
        self._left.append(self._pool.close)

    def close_all(self, now: float) -> None:
        """The loop or the interpreter ends: nothing stays open, whoever still holds a stream."""
        self.close_idle(now)
        for wire in tuple(self.wires):
            wire.abort()
        self.wires.clear()

    def forget(self) -> None:
        """In the child of a fork: all of this is the parent's. Close our copies of its descriptors, and start over."""
        inherited = tuple(self.wires)
        self._begin()
        for wire in inherited:
            wire.forget()

    def _begin(self) -> None:
        self._pid = os.getpid()
        # A lock held by a thread that does not exist in the child would never be given back.
        self._exclusion = Exclusion()
        self._lock = self._exclusion.lock
        #: Changes left by whoever could not make them: each is called with the time, and gives commands.
        self._left: deque[Callable[[float], list[Command[Wire]]]] = deque()
        #: An exception came out of a change, which may be half done.
        self._torn = False
        self._pool = self._new_pool()
        self._published = self._pool.counts.copy()
        #: Every open connection, so that none outlives its loop.
        self.wires: set[Wire] = set()

    def _change(self, now: float, change: Callable[..., list[Command[Wire]]] | None, *args: Any, **more: Any) -> None:
        """Make a change of the pool, which takes the time as its last argument; obey the commands outside the lock."""
        if self._exclusion.held():
            if change is not None:
                self._left.append(partial(change, *args, **more))
            return
        try:
            with self._lock:
                commands = self._overdue(now) if self._left or self._torn else []
                if change is not None:
                    commands += change(*args, now, **more)
                self._published = self._pool.counts.copy()
            if commands:
                self._obey(commands)
        except BaseException:
            self._interrupted()
            raise
        if self._left and change is not None:
            self.sweep(now)

    def _connected(self, ticket: Ticket[Wire], wire: Wire, now: float) -> list[Command[Wire]]:
        commands = self._pool.on_connected(ticket, wire, now)
        if not commands:
            self.wires.add(wire)
        return commands

    def _overdue(self, now: float) -> list[Command[Wire]]:
        """What is to be done first: mend a half-done change, then make those that were left."""
        commands: list[Command[Wire]] = []
        if self._torn:
            commands += self._pool.repair(tuple(self.wires), now)
            self._torn = False
        while self._left:
            # Made first and then taken off: an interrupted one is made again, and all of them are harmless twice.
            commands += self._left[0](now)
            self._left.popleft()
        return commands

    def _obey(self, commands: list[Command[Wire]]) -> None:
        for command in commands:
            if isinstance(command, Close):
                command.conn.abort()
                self.wires.discard(command.conn)
            elif command.ticket.waker is not None:
                self.bell_of(command.ticket).ring()

    def _interrupted(self) -> None:
        """An exception at any bytecode of a change, or of obeying it: the lock is free, and the next one repairs."""
        self._torn = True
        self._exclusion.let_go()


_ALL_HANDS: WeakSet[Hands] = WeakSet()


def _forget_parent() -> None:
    for hands in list(_ALL_HANDS):
        hands.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parent)
