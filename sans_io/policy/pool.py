"""`Pool`: who may use which connection, and who waits. It opens and closes nothing; its commands say what to do.

A slot is the right to have one connection. It is in exactly one state, and its owner is a field of it:

                      dial                      connected
       (no slot) ----------->  CONNECTING  ------------------>  LEASED  <---+ hand_over: to the next waiter
           ^  ^                 |  ^    ^                       | |  | |    |
           |  |          drop   |  |    |        redial         | |  | +----+
           |  +-----------------+  +----+-----------------------+ |  |
           |                 pass_on: the next waiter dials       |  | park
           |                            destroy                   |  v
           +------------------------------------------------------+  IDLE  (no owner; lease: back to LEASED)
           |                       expire, evict, close              |
           +---------------------------------------------------------+

    CONNECTING  an owner, no connection: the owner of the ticket dials, nobody dials for anybody else
    LEASED      an owner and a connection
    IDLE        a connection, no owner

A ticket is one caller's place: `waiting` (first in, first out) -> `granted` (it owns a slot) -> `done`.
`TRANSITIONS` and `TICKET_TRANSITIONS` below are these drawings as data. Every change of state goes through them.

Rules of this file:
- No I/O, no clock, no locks, no dice of its own (R1, R2): time is an argument, the jitter comes from the seed. A
  transport that shares a pool between threads holds one lock around each input and carries out commands outside it.
- Connections are opaque. Whether one may be used again is decided by the exchange (`reusable`), whether one is still
  alive is checked by the transport (`on_stale`); the pool knows only whose it is and how old.
- While somebody waits on a route, that route is full and has no idle connection. So a waiter is served by its own
  route only, at release (hand-off), and a newcomer can never overtake it.
- Every input is O(1): idle connections are last in, first out; expiry is checked on those that are popped, and every
  input closes a few of the oldest idle ones (`SWEEP`). Only `expire` and `close` look at all idle connections.
- There is no background task: what has expired is closed by the next inputs, of whichever route.
- A route that has no slot and no waiter leaves nothing behind.
- An exception (Ctrl-C) can leave an input at any bytecode. Nothing here tries to be consistent at each of them; what
  matters to others is assigned last (a ticket's state after everything it promises), and `repair` reconstructs the rest
  from the tickets. That costs an undisturbed call nothing, and covers places nobody has thought of.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final, Generic, Literal, cast

from ..errors import LocalProtocolError
from .dice import Dice
from .slots import (
    REASONS,
    Close,
    Command,
    ConnT,
    Grant,
    PoolStats,
    Reason,
    Route,
    RouteRecord,
    Slot,
    SlotState,
    Ticket,
    TicketState,
    new_counts,
    stats_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "AGE_JITTER",
    "REASONS",
    "SWEEP",
    "TICKET_TRANSITIONS",
    "TRANSITIONS",
    "Close",
    "Command",
    "Grant",
    "Pool",
    "PoolStats",
    "Reason",
    "Route",
    "Ticket",
    "stats_of",
]

#: (state of a slot, what happens) -> its next state. "free" is no slot at all.
TRANSITIONS: Final[Mapping[tuple[SlotState, str], SlotState]] = {
    ("free", "dial"): "connecting",
    ("connecting", "connected"): "leased",
    ("connecting", "pass_on"): "connecting",
    ("connecting", "drop"): "free",
    ("leased", "park"): "idle",
    ("leased", "hand_over"): "leased",
    ("leased", "redial"): "connecting",
    ("leased", "destroy"): "free",
    ("idle", "lease"): "leased",
    ("idle", "expire"): "free",
    ("idle", "evict"): "free",
    ("idle", "close"): "free",
}
#: (state of a ticket, what happens) -> its next state. A "new" ticket is never seen outside `acquire`.
TICKET_TRANSITIONS: Final[Mapping[tuple[TicketState, str], TicketState]] = {
    ("new", "grant"): "granted",
    ("new", "queue"): "waiting",
    ("waiting", "grant"): "granted",
    ("waiting", "leave"): "done",
    ("granted", "grant"): "granted",
    ("granted", "leave"): "done",
}

#: How many idle connections one input looks at for expiry beyond the one it needs: enough to outrun what comes in.
SWEEP: Final = 4
#: Half the width of the random part of a connection's greatest age, so that those opened together do not end together.
AGE_JITTER: Final = 0.1


class Pool(Generic[ConnT]):
    """Slots and tickets of all routes of one transport (and, for an async one, of one event loop).

    `max_connections` bounds the slots of each route, connecting ones included (None: no bound, nobody ever waits);
    `max_idle` bounds the idle connections of all routes together, the oldest going first. `max_age` and
    `idle_timeout` are seconds; the greatest age of each connection varies by 10 % either way, by `seed`.
    """

    def __init__(
        self,
        max_connections: int | None = None,
        max_idle: int = 1000,
        max_age: float = 300.0,
        idle_timeout: float = 15.0,
        seed: int = 0,
    ) -> None:
        if max_connections is not None and max_connections < 1:
            raise ValueError(f"max_connections must be at least 1 or None, not {max_connections!r}")
        if max_idle < 0 or not max_age > 0 or not idle_timeout > 0:
            raise ValueError("max_idle must not be negative, max_age and idle_timeout must be positive")
        self.max_connections = max_connections
        self.max_idle = max_idle
        self.max_age = max_age
        self.idle_timeout = idle_timeout
        self._dice = Dice(seed)
        self._generation = 0
        self._routes: dict[Route, RouteRecord[ConnT]] = {}
        #: All idle slots and their connections, in the order in which they became idle.
        self._idle: OrderedDict[Slot[ConnT], ConnT] = OrderedDict()
        #: Everybody who has a place: each ticket from `acquire` until it is done, in the order of their coming.
        self._tickets: dict[Ticket[ConnT], None] = {}
        #: Slots by state, waiting tickets, dials and reuses so far, destroyed connections by reason: see `stats_of`.
        self.counts: dict[str, int] = new_counts()

    def acquire(
        self, route: Route, now: float, *, fresh: bool = False, ticket: Ticket[ConnT] | None = None
    ) -> tuple[Ticket[ConnT], list[Command[ConnT]]]:
        """A ticket: granted at once (`ticket.granted`, also reported by a `Grant`), or waiting its turn.

        `ticket` is one the caller has made with `route` and `fresh`, so that it already owns it should this input be
        interrupted; by default a new one is made. `fresh` asks for a connection that has never been used: a retry after
        a reused one died must not meet its equally dead neighbours. Next: wait for the grant; then, with `conn` None,
        dial and call `on_connected`, else check that nothing can be read from the connection (`on_stale` if it can) and
        use it. Whatever happens, `release` or `cancel` ends it.
        """
        commands: list[Command[ConnT]] = []
        record = self._routes.get(route)
        if record is None:
            record = RouteRecord(route)
        if ticket is None:
            ticket = Ticket(route, fresh)
        self._tickets[ticket] = None
        if not self._serve(ticket, record, now, commands):
            _step(ticket, "queue")
            record.waiters[ticket] = None
            self.counts["waiting"] += 1
        if not record.listed:  # it is new, or closing what had expired has just emptied it
            self._routes[route] = record
            record.listed = True
        self._sweep(now, commands)
        return ticket, commands

    def on_connected(self, ticket: Ticket[ConnT], conn: ConnT, now: float) -> list[Command[ConnT]]:
        """The owner of a ticket granted without a connection has dialled. Next: use `conn`, then `release`.

        If the ticket was cancelled in the meantime its slot is somebody else's: the connection is to be closed.
        """
        slot = ticket.slot
        if ticket not in self._tickets:
            if ticket.state != "done":  # another pool gave it (a fork lies between)
                return [Close(conn, "cancelled")]
            self.counts["dialled"] += 1
            return [self._destroy(conn, "cancelled")]
        if slot is None or slot.state != "connecting":
            raise LocalProtocolError(f"on_connected for {ticket!r}, which was not asked to dial")
        self.counts["dialled"] += 1
        self._move(slot, "connected")
        slot.conn = ticket.conn = conn
        slot.retire_at = now + self.max_age * (1.0 + AGE_JITTER * (2.0 * self._dice.roll() - 1.0))
        return []

    def on_stale(self, ticket: Ticket[ConnT], now: float) -> list[Command[ConnT]]:
        """The reused connection just granted is dead, or has something to read before anything was asked of it (I3).

        It is closed and the same ticket is served again at once: by another idle connection, else its owner dials.
        Nothing happens to a ticket that was cancelled in the meantime.
        """
        slot = ticket.slot
        if ticket not in self._tickets:
            return []
        if slot is None or slot.conn is None or not ticket.reused:
            raise LocalProtocolError(f"on_stale for {ticket!r}, which was granted no reused connection")
        commands: list[Command[ConnT]] = [self._destroy(slot.conn, "stale")]
        slot.conn = None
        self.counts["reused"] -= 1
        other = self._pop_idle(slot.record, now, commands)
        if other is None:
            self._move(slot, "redial")
            slot.generation = self._generation
            self._grant(ticket, slot, commands)
        else:
            slot.owner = None
            self._move(slot, "destroy")
            slot.record.slots -= 1
            self._grant(ticket, other, commands)
        return commands

    def release(
        self, ticket: Ticket[ConnT], reusable: bool, now: float, idle_hint: float | None = None
    ) -> list[Command[ConnT]]:
        """The caller needs its place no more: the exchange ended, the dial failed, or it waited in vain.

        `reusable` is the exchange's verdict (and means nothing without a connection). `idle_hint` is how long the
        server promised to keep the connection, in seconds, safety margin taken off; it can only shorten. A ticket
        that is done already, or that another pool gave, changes nothing. Next: nothing; the ticket is done.
        """
        slot = ticket.slot
        if ticket not in self._tickets or slot is None or slot.conn is None or not reusable:
            return self._leave(ticket, "not_reusable", now)
        keep_until = now + self.idle_timeout
        if idle_hint is not None and now + idle_hint < keep_until:
            keep_until = now + idle_hint
        if slot.generation != self._generation:
            return self._leave(ticket, "closed", now)
        if now >= slot.retire_at:
            return self._leave(ticket, "max_age", now)
        if now >= keep_until:
            return self._leave(ticket, "expired", now)
        if slot.record.waiters and next(iter(slot.record.waiters)).fresh:
            return self._leave(ticket, "evicted", now)
        commands: list[Command[ConnT]] = []
        self._end(ticket)
        heir = self._next_waiter(slot.record)
        if heir is not None:
            self._move(slot, "hand_over")
            self._grant(heir, slot, commands)
        else:
            self._park(slot, slot.conn, keep_until, commands)
        self._sweep(now, commands)
        return commands

    def cancel(self, ticket: Ticket[ConnT], now: float) -> list[Command[ConnT]]:
        """The caller is gone, in whatever state: its connection is closed, its slot goes to the next waiter.

        Idempotent, also after `release`. Next: nothing; the ticket is done.
        """
        return self._leave(ticket, "cancelled", now)

    def expire(self, now: float) -> list[Command[ConnT]]:
        """Close every idle connection whose time is over. O(idle); the other inputs do this a few at a time."""
        commands: list[Command[ConnT]] = []
        for slot in [slot for slot in self._idle if now >= slot.keep_until]:
            self._discard(slot, "expire", commands)
        return commands

    def close(self, now: float) -> list[Command[ConnT]]:
        """Close all idle connections now, and each leased or connecting one at its release. O(idle).

        The pool stays usable: waiters keep their turn, and whoever comes next dials. Twice is harmless.
        """
        self._generation += 1
        commands: list[Command[ConnT]] = []
        for slot in list(self._idle):
            self._discard(slot, "expire" if now >= slot.keep_until else "close", commands)
        return commands

    def knows(self, ticket: Ticket[ConnT]) -> bool:
        """Whether the ticket waits here, or has a seat."""
        return ticket in self._tickets

    def stats(self) -> PoolStats:
        """How many of what there are now, and what has happened since the pool was made."""
        return stats_of(self.counts)

    def repair(self, conns: Iterable[ConnT], now: float) -> list[Command[ConnT]]:
        """To be called before any other input once an exception has left an input half done.

        A ticket keeps its slot if both agree on it, and an idle connection stays idle if nobody owns it. Every other
        ticket waits (or, if it was already granted, is done: its owner is the one that was interrupted), and every
        other of `conns`, all the connections that the transport has open, is closed. Grants are given out again, since
        the commands of the interrupted input are lost; a waker that was rung already loses nothing by it. O(tickets).
        It can be left at any bytecode itself: the tickets stay where they are until nothing else is to be worked out.
        """
        commands: list[Command[ConnT]] = []
        idle = [slot for slot in self._idle if slot.state == "idle" and slot.owner is None and slot.conn is not None]
        kept = set(idle)
        counts = self.counts = new_counts() | {
            name: self.counts[name] for name in ("dialled", "reused", *REASONS)
        }  # fmt: skip
        self._routes = {}
        for slot in idle:
            slot.record = self._record(slot.record.route)
            slot.record.slots += 1
            slot.record.idle[slot] = None
        self._idle = OrderedDict((slot, cast("ConnT", slot.conn)) for slot in idle)
        waiting: list[Ticket[ConnT]] = []
        over: list[Ticket[ConnT]] = []
        for ticket in self._tickets:
            held = ticket.slot
            if ticket.state == "granted" and held is not None and held.owner is ticket and held not in kept:
                kept.add(held)
                held.state = "connecting" if held.conn is None else "leased"
                ticket.conn = held.conn
                held.record = self._record(ticket.route)
                held.record.slots += 1
                commands.append(Grant(ticket, ticket.conn, ticket.reused))
            else:
                ticket.slot = ticket.conn = None
                if ticket.state in ("granted", "done"):
                    over.append(ticket)
                else:
                    ticket.state = "new"
                    waiting.append(ticket)
        for slot in kept:
            counts[slot.state] += 1
        owned = {slot.conn for slot in kept}
        commands += [Close(conn, "cancelled") for conn in conns if conn not in owned]
        # Each dial is open or destroyed; those whose end was being written down count as cancelled.
        known = counts["idle"] + counts["leased"] + sum(counts[reason] for reason in REASONS)
        counts["cancelled"] += max(0, counts["dialled"] - known)
        counts["dialled"] = max(counts["dialled"], known)
        for ticket in over:
            ticket.state = "done"
            del self._tickets[ticket]
        for ticket in waiting:
            commands += self.acquire(ticket.route, now, ticket=ticket)[1]
        return commands

    def _serve(
        self,
        ticket: Ticket[ConnT],
        record: RouteRecord[ConnT],
        now: float,
        commands: list[Command[ConnT]],
    ) -> bool:
        slot = None if ticket.fresh else self._pop_idle(record, now, commands)
        if slot is None:
            if self.max_connections is not None and record.slots >= self.max_connections:
                if not record.idle:
                    return False
                # Only a fresh connection was wanted and the route is full: the idle one it avoids makes room.
                self._discard(next(iter(record.idle)), "evict", commands)
            slot = Slot(record, self._generation)
            record.slots += 1
            self._move(slot, "dial")
        self._grant(ticket, slot, commands)
        return True

    def _leave(self, ticket: Ticket[ConnT], reason: Reason, now: float) -> list[Command[ConnT]]:
        """End a ticket without keeping its connection; its slot, if any, goes to the next waiter or vanishes."""
        commands: list[Command[ConnT]] = []
        slot = ticket.slot
        if ticket not in self._tickets:
            return commands
        if ticket.state == "waiting":
            record = self._routes[ticket.route]
            del record.waiters[ticket]
            self.counts["waiting"] -= 1
            self._end(ticket)
        elif slot is not None:
            self._end(ticket)
            connecting = slot.conn is None
            if slot.conn is not None:
                commands.append(self._destroy(slot.conn, reason))
                slot.conn = None
            heir = self._next_waiter(slot.record)
            if heir is None:
                self._move(slot, "drop" if connecting else "destroy")
                self._forget(slot)
            else:
                self._move(slot, "pass_on" if connecting else "redial")
                slot.generation = self._generation
                self._grant(heir, slot, commands)
        self._sweep(now, commands)
        return commands

    def _end(self, ticket: Ticket[ConnT]) -> None:
        del self._tickets[ticket]
        _step(ticket, "leave")
        if ticket.slot is not None:
            ticket.slot.owner = None
            ticket.slot = ticket.conn = None

    def _next_waiter(self, record: RouteRecord[ConnT]) -> Ticket[ConnT] | None:
        if not record.waiters:
            return None
        self.counts["waiting"] -= 1
        return record.waiters.popitem(last=False)[0]

    def _grant(self, ticket: Ticket[ConnT], slot: Slot[ConnT], commands: list[Command[ConnT]]) -> None:
        slot.owner = ticket
        ticket.conn = slot.conn
        ticket.reused = slot.conn is not None
        self.counts["reused"] += ticket.reused
        ticket.slot = slot
        _step(ticket, "grant")  # last: other threads look at it without asking
        commands.append(Grant(ticket, ticket.conn, ticket.reused))

    def _pop_idle(self, record: RouteRecord[ConnT], now: float, commands: list[Command[ConnT]]) -> Slot[ConnT] | None:
        """The idle connection used last, leased again; None if there is none worth having."""
        for _ in range(SWEEP):
            if not record.idle:
                return None
            slot = next(reversed(record.idle))
            if now < slot.keep_until:
                self._unpark(slot)
                self._move(slot, "lease")
                return slot
            self._discard(slot, "expire", commands)
        return None

    def _sweep(self, now: float, commands: list[Command[ConnT]]) -> None:
        for _ in range(SWEEP):
            if not self._idle:
                return
            slot = next(iter(self._idle))
            if now < slot.keep_until:
                return
            self._discard(slot, "expire", commands)

    def _park(self, slot: Slot[ConnT], conn: ConnT, keep_until: float, commands: list[Command[ConnT]]) -> None:
        self._move(slot, "park")
        slot.keep_until = min(keep_until, slot.retire_at)
        slot.record.idle[slot] = None
        self._idle[slot] = conn
        if len(self._idle) > self.max_idle:
            self._discard(next(iter(self._idle)), "evict", commands)

    def _unpark(self, slot: Slot[ConnT]) -> ConnT:
        del slot.record.idle[slot]
        return self._idle.pop(slot)

    def _discard(
        self, slot: Slot[ConnT], event: Literal["expire", "evict", "close"], commands: list[Command[ConnT]]
    ) -> None:
        """An idle slot and its connection go away."""
        conn = self._unpark(slot)
        self._move(slot, event)
        reason: Reason = "evicted" if event == "evict" else "closed"
        if event == "expire":
            reason = "max_age" if slot.keep_until == slot.retire_at else "expired"
        commands.append(self._destroy(conn, reason))
        slot.conn = None
        self._forget(slot)

    def _destroy(self, conn: ConnT, reason: Reason) -> Close[ConnT]:
        self.counts[reason] += 1
        return Close(conn, reason)

    def _record(self, route: Route) -> RouteRecord[ConnT]:
        """The listed record of a route."""
        record = self._routes.get(route)
        if record is None:
            record = self._routes[route] = RouteRecord(route)
            record.listed = True
        return record

    def _forget(self, slot: Slot[ConnT]) -> None:
        record = slot.record
        record.slots -= 1
        if not record.slots and not record.waiters and record.listed:
            del self._routes[record.route]
            record.listed = False

    def _move(self, slot: Slot[ConnT], event: str) -> None:
        counts = self.counts
        counts[slot.state] -= 1
        slot.state = TRANSITIONS[slot.state, event]
        counts[slot.state] += 1


def _step(ticket: Ticket[ConnT], event: str) -> None:
    ticket.state = TICKET_TRANSITIONS[ticket.state, event]
