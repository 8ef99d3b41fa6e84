"""The data of the pool: routes, tickets, commands, statistics, and the slots whose state `pool` changes.

Rules of this file:
- Data only. Who changes what, and in which order, is written in `pool`; everything public is exported from there.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final, Generic, Literal, TypeAlias, TypeVar

from ..records import dataclass

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from ..http.proxies import Proxy
    from ..http.urls import Origin

ConnT = TypeVar("ConnT")

SlotState: TypeAlias = Literal["free", "connecting", "leased", "idle"]
TicketState: TypeAlias = Literal["new", "waiting", "granted", "done"]
#: Why a connection was destroyed; the keys of `PoolStats.destroyed`.
Reason: TypeAlias = Literal["expired", "max_age", "stale", "not_reusable", "cancelled", "closed", "evicted"]
REASONS: Final[tuple[Reason, ...]] = (
    "expired", "max_age", "stale", "not_reusable", "cancelled", "closed", "evicted",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Route:
    """The pool's key: connections are interchangeable within a route and never cross to another.

    `tls_profile` is any hashable (the transport looks the context up by it). `credential_print` is None unless the
    client asked for connections of its own (`isolate_credentials`); the credential itself never comes here.
    """

    origin: Origin
    proxy: Proxy | None = None
    tls_profile: Hashable = None
    credential_print: str | None = None


class Ticket(Generic[ConnT]):
    """One caller's place in a pool, and the mailbox into which its grant is put.

    `state` is "waiting", "granted" or "done". When granted: `conn` is the connection, or None if the ticket's owner
    must dial and tell `on_connected`; `reused` says whether the connection has served before, which is never so with
    `fresh`. `waker` belongs to the transport (an event to set when a `Grant` for this ticket is carried out); the pool
    never looks at it.
    """

    __slots__ = ("conn", "fresh", "reused", "route", "slot", "state", "waker")

    def __init__(self, route: Route, fresh: bool = False) -> None:
        self.route = route
        self.fresh = fresh
        self.state: TicketState = "new"
        self.conn: ConnT | None = None
        self.reused = False
        self.slot: Slot[ConnT] | None = None
        self.waker: object = None

    @property
    def granted(self) -> bool:
        return self.state == "granted"

    def __repr__(self) -> str:
        return f"<Ticket {self.state}{' reused' if self.reused else ''}>"


@dataclass(slots=True)
class Grant(Generic[ConnT]):
    """The ticket owns a slot now: wake its owner. With `conn` None (then `reused` is False) the owner dials."""

    ticket: Ticket[ConnT]
    conn: ConnT | None
    reused: bool


@dataclass(slots=True)
class Close(Generic[ConnT]):
    """Close this connection, synchronously. The pool has forgotten it already."""

    conn: ConnT
    reason: Reason


Command: TypeAlias = Grant[ConnT] | Close[ConnT]


@dataclass(frozen=True, slots=True)
class PoolStats:
    """A snapshot. `open` = `idle` + `leased`; `dialled` = `open` + everything in `destroyed`, at any moment.

    `dialled` and `reused` count since the pool was made; a reused connection that turned out stale is not counted.
    """

    open: int
    idle: int
    leased: int
    connecting: int
    waiting: int
    dialled: int
    reused: int
    destroyed: dict[str, int]


def new_counts() -> dict[str, int]:
    """The counters of a pool: slots by state, waiting tickets, dials, reuses, and destroyed connections by reason.

    One dictionary, so that a copy of it, which is one operation of C, is a consistent snapshot.
    """
    return dict.fromkeys(("free", "connecting", "leased", "idle", "waiting", "dialled", "reused", *REASONS), 0)


def stats_of(counts: Mapping[str, int]) -> PoolStats:
    """A snapshot of the counters as it is shown to people."""
    return PoolStats(
        open=counts["idle"] + counts["leased"],
        idle=counts["idle"],
        leased=counts["leased"],
        connecting=counts["connecting"],
        waiting=counts["waiting"],
        dialled=counts["dialled"],
        reused=counts["reused"],
        destroyed={reason: counts[reason] for reason in REASONS if counts[reason]},
    )


class Slot(Generic[ConnT]):
    """The right to have one connection. Times are absolute; `generation` is the pool's when the dial was granted."""

    __slots__ = ("conn", "generation", "keep_until", "owner", "record", "retire_at", "state")

    def __init__(self, record: RouteRecord[ConnT], generation: int) -> None:
        self.record = record
        self.generation = generation
        self.state: SlotState = "free"
        self.owner: Ticket[ConnT] | None = None
        self.conn: ConnT | None = None
        self.retire_at = 0.0
        self.keep_until = 0.0


class RouteRecord(Generic[ConnT]):
    """What one route has: how many slots, which of them idle (used last at the end), and who waits (first in front)."""

    __slots__ = ("idle", "listed", "route", "slots", "waiters")

    def __init__(self, route: Route) -> None:
        self.route = route
        self.listed = False
        self.slots = 0
        self.idle: OrderedDict[Slot[ConnT], None] = OrderedDict()
        self.waiters: OrderedDict[Ticket[ConnT], None] = OrderedDict()
