"""What a pump needs from an I/O library, and what carries out the pool's commands.

    Pump ── asks ──> Call                what next?
         ── does it with ──> Runtime     wakeups, dials, TLS        (one per event loop; one for all threads)
                             Connection  the bytes of one connection
                             PoolRunner  the pool, and what carries out its commands

Rules of this file:
- A connection raises `Fault` and nothing else; the exception tables of the transports see to that.
- `PoolRunner` holds its lock around pure code only, by the rules of `exclusion`: closing and waking happen after the
  lock is released, and nothing re-entrant waits for it.
- A finaliser (any thread, any time, in the middle of anything) may only call `abandon`, which takes no lock.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar
from weakref import WeakSet

from sans_io.policy.pool import Close, Command, Pool, PoolStats, Route, Ticket, stats_of

from .exclusion import PATIENCE, Exclusion
from .faults import Fault
from .resolver import Addresses, ThreadJob

if TYPE_CHECKING:
    from sans_io.providers.base import Operation

__all__ = ["Authorizer", "Connection", "Fault", "PoolRunner", "Runtime", "Wakeup"]

T = TypeVar("T")

#: Makes the operation of a call created without one; `True` asks for a fresh credential. A blocking one returns it.
Authorizer: TypeAlias = "Callable[[bool], Operation | Awaitable[Operation]]"


class Wakeup(Protocol):
    """Something to wait for other than a connection. Once woken, it stays woken."""

    def wake(self) -> None:
        """From any thread or signal handler."""
        ...

    def wait(self, until: float) -> Awaitable[object] | None:
        """Wait until it is woken or the time has come; look at what you wait for to learn which.

        A blocking wakeup waits and returns None.
        """
        ...


class Connection(Protocol):
    """One connection. `abort`, `shutdown` and `forget` all end it; they differ in who may call them."""

    def receive(self, max_bytes: int, deadline: float) -> bytes | Awaitable[bytes]:
        """The bytes of one read, b"" at the end of the stream. Connections that do not block return an awaitable."""
        ...

    def send(self, data: memoryview, deadline: float) -> Awaitable[object] | None:
        """Write all of it. Returns an awaitable if that is not done yet. Raises `Fault("reset")` if the peer accepts no
        more and has `answered`.
        """
        ...

    def unread(self) -> bool:
        """Whether anything arrived that nobody received: a byte in any layer, or the end of the stream.

        Asked only while nothing is being received. Messages of TLS itself (session tickets) are handled here.
        """
        ...

    def answered(self) -> bool:
        """Whether `receive` would return at once. In TLS, part of a record is unread but not an answer."""
        ...

    def abort(self) -> None:
        """Close at once and synchronously, without a goodbye. Idempotent; the owner's thread only."""
        ...

    def shutdown(self) -> None:
        """Wake whoever waits on this connection and make it unusable: shutdown(SHUT_RDWR). Any thread, any time."""
        ...

    def forget(self) -> None:
        """Close the descriptor and touch nothing else. For forked children."""
        ...


class ByteConnection(Connection, Protocol):
    """An asynchronous connection that TLS can be laid over."""

    def receive(self, max_bytes: int, deadline: float) -> Awaitable[bytes]: ...

    async def send(self, data: memoryview, deadline: float, answered: Callable[[], bool] | None = None) -> None:
        """As above; the layer above tells by `answered` whether what arrived is an answer."""
        ...

    def take(self) -> bytes | None:
        """What can be read without waiting: b"" at the end of the stream or if it broke, None if nothing is there."""
        ...


class Runtime(Protocol):
    """What a pump needs from blocking I/O or an event loop. The coroutines of a blocking runtime never suspend."""

    @property
    def pool_runner(self) -> PoolRunner: ...
    def now(self) -> float: ...
    def wakeup(self) -> Wakeup: ...
    def resolve(self, host: str, port: int, wakeup: Wakeup) -> ThreadJob[Addresses]: ...
    def tls_ready(self, route: Route, wakeup: Wakeup) -> ThreadJob[bool]: ...

    def nested(self) -> bool:
        """Whether the pump runs inside another one of the same thread (a signal handler's call, say) that has a place
        in the pool and goes on only when it is done. Never so in an event loop, where tasks take turns.
        """
        ...

    async def dial(self, addresses: Addresses, deadline: float, wakeup: Wakeup) -> Connection:
        """TCP to the first of the addresses that answers. Raises a `Fault` when the wakeup is woken."""
        ...

    async def secure(self, connection: Connection, route: Route, name: str, deadline: float) -> Connection:
        """TLS over the connection, which must not be used directly afterwards. `tls_ready(route)` is done."""
        ...

    async def within(self, result: Any, deadline: float, wakeup: Wakeup) -> Any:
        """Await the result; raises a `Fault` at the deadline or when the wakeup is woken. A blocking callable has
        returned already and could not be interrupted.
        """
        ...


class PoolRunner:
    """The pool of one event loop, or of all threads, and the one place where its commands are carried out.

    Its lock follows `exclusion`: what is given back from inside a locked part is left to the holder; a call that needs
    a seat there gets `apart()`, a pool of its own; `stats()` is the last published snapshot and takes no lock.
    """

    def __init__(self, new_pool: Callable[[], Pool[Connection]], new_wakeup: Callable[[], Wakeup]) -> None:
        self._new_pool = new_pool
        self._new_wakeup = new_wakeup
        self._begin()
        _ALL_RUNNERS.add(self)

    def seat(self, ticket: Ticket[Connection], now: float) -> bool:
        """Get the ticket granted, or put a wakeup into its `waker` that is woken when it is granted.

        Queuing and setting the wakeup are one locked step: a grant between the two would wake nobody. False, and no
        change, if a thread is inside and stays there, this one or another.
        """
        if os.getpid() != self._pid:
            self.forget()
        if self._exclusion.held():
            return False
        try:
            if not self._exclusion.enter():
                return False
            with self._lock:
                self._lock.release()
                overdue = self._overdue(now) if self._left or self._torn else None
                commands = self._pool.acquire(ticket.route, now, fresh=ticket.fresh, ticket=ticket)[1]
                if not ticket.granted:
                    ticket.waker = self._new_wakeup()
                elif len(commands) == 1:
                    commands = []  # its own grant: nobody waits for the wakeup
                self._published = self._pool.counts.copy()
            if overdue:
                self._carry_out(overdue)
            if commands:
                self._carry_out(commands)
        except BaseException:
            self._interrupted()
            raise
        if self._left:
            self.sweep(now)
        return True

    def inside(self) -> bool:
        """Whether this thread is in the middle of a change of the pool; for signal handlers and finalisers."""
        return self._exclusion.held()

    def foreign(self) -> bool:
        """Whether this is a forked child and all of this still the parent's: finalisers may run before fork hooks."""
        return os.getpid() != self._pid

    def apart(self) -> PoolRunner:
        """A pool for one call that cannot wait for this one: it dials, and its connection is closed afterwards."""
        return PoolRunner(lambda: Pool(max_idle=0), self._new_wakeup)

    def lost(self, ticket: Ticket[Connection]) -> bool:
        """Whether nobody here knows a ticket that is not done: it waited in the pool of the parent of a fork."""
        return not self._pool.knows(ticket)

    def wakeup_of(self, ticket: Ticket[Connection]) -> Wakeup:
        """The wakeup of a ticket that was not granted at once."""
        wakeup: Wakeup = ticket.waker  # type: ignore[assignment]  # the pool keeps it for us as an object
        return wakeup

    def connected(self, ticket: Ticket[Connection], connection: Connection, now: float) -> bool:
        """The ticket's owner has dialled. The connection of an unknown ticket (after a fork) is closed.

        False, and no change, if a thread is inside and stays there.
        """
        return self._change(now, self._connected, ticket, connection, patience=PATIENCE)

    def stale(self, ticket: Ticket[Connection], now: float) -> bool:
        """The reused connection is dead. Afterwards the ticket has another one, or none, and its owner dials.

        False, and no change, if a thread is inside and stays there.
        """
        return self._change(now, self._pool.on_stale, ticket, patience=PATIENCE)

    def release(self, ticket: Ticket[Connection], reusable: bool, now: float, idle_hint: float | None = None) -> None:
        """The caller is done. A ticket that this pool does not know (after a fork) changes nothing."""
        self._change(now, self._pool.release, ticket, reusable, idle_hint=idle_hint)

    def cancel(self, ticket: Ticket[Connection], now: float) -> None:
        """The caller left. Idempotent."""
        self._change(now, self._pool.cancel, ticket)

    def abandon(self, ticket: Ticket[Connection]) -> None:
        """The caller was collected: any thread, any time, in the middle of anything. The next operation cancels it."""
        self._left.append(partial(self._pool.cancel, ticket))

    def sweep(self, now: float) -> None:
        """Do what finalisers, handlers and other threads have left to do. Nothing if a thread is inside: it does it."""
        while (self._left or self._torn) and self._change(now, None):
            pass

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
        """The loop or the interpreter ends: nothing stays open, even if somebody still holds a stream."""
        self.close_idle(now)
        for connection in tuple(self.connections):
            connection.abort()
        self.connections.clear()

    def forget(self) -> None:
        """In a forked child, where all of this is the parent's: close our copies of its descriptors and start over."""
        inherited = tuple(self.connections)
        self._begin()
        for connection in inherited:
            connection.forget()

    def _begin(self) -> None:
        self._pid = os.getpid()
        # A lock held by a thread that does not exist in the child would never be released.
        self._exclusion = Exclusion()
        self._lock = self._exclusion.lock
        #: Changes left by those who could not make them: each is called with the time and returns commands.
        self._left: deque[Callable[[float], list[Command[Connection]]]] = deque()
        #: Whether an exception came out of a change, which may be half done.
        self._torn = False
        self._pool = self._new_pool()
        self._published = self._pool.counts.copy()
        #: Every open connection, so that none outlives its loop.
        self.connections: set[Connection] = set()

    def _change(
        self,
        now: float,
        change: Callable[..., list[Command[Connection]]] | None,
        *args: Any,
        patience: float = 0.0,
        **more: Any,
    ) -> bool:
        """Change the pool; the change takes the time as its last argument. Carry out its commands outside the lock.

        False if a thread is inside. The change was left to it then, or where a result is needed (`patience`, seconds)
        was not made.
        """
        if self._exclusion.held():
            return self._leave(change, args, more, patience)
        try:
            if not self._exclusion.enter(patience):
                made = self._leave(change, args, more, patience)
            else:
                with self._lock:
                    self._lock.release()
                    commands = self._overdue(now) if self._left or self._torn else []
                    if change is not None:
                        commands += change(*args, now, **more)
                    self._published = self._pool.counts.copy()
                if commands:
                    self._carry_out(commands)
                made = True
        except BaseException:
            self._interrupted()
            raise
        if self._left and change is not None:
            self.sweep(now)
        return made

    def _leave(
        self,
        change: Callable[..., list[Command[Connection]]] | None,
        args: tuple[Any, ...],
        more: dict[str, Any],
        patience: float,
    ) -> bool:
        if change is not None and not patience:
            self._left.append(partial(change, *args, **more))
        return False

    def _connected(self, ticket: Ticket[Connection], connection: Connection, now: float) -> list[Command[Connection]]:
        commands = self._pool.on_connected(ticket, connection, now)
        if not commands:
            self.connections.add(connection)
        return commands

    def _overdue(self, now: float) -> list[Command[Connection]]:
        """What has to be done first: repair a half-done change, then make those that were left."""
        commands: list[Command[Connection]] = []
        if self._torn:
            commands += self._pool.repair(tuple(self.connections), now)
            self._torn = False
        while self._left:
            # Made first, then taken off the queue: an interrupted one is made again, and all are harmless twice.
            commands += self._left[0](now)
            self._left.popleft()
        return commands

    def _carry_out(self, commands: list[Command[Connection]]) -> None:
        for command in commands:
            if isinstance(command, Close):
                command.conn.abort()
                self.connections.discard(command.conn)
            elif command.ticket.waker is not None:
                self.wakeup_of(command.ticket).wake()

    def _interrupted(self) -> None:
        """After an exception at any bytecode of a change or its commands: release the lock; the next change repairs."""
        self._torn = True
        self._exclusion.let_go()


_ALL_RUNNERS: WeakSet[PoolRunner] = WeakSet()


def _forget_parent() -> None:
    for runner in list(_ALL_RUNNERS):
        runner.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parent)
