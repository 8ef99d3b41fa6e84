"""The pool against a reference model: any input, in any order, at any time; then the rules one by one."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from sans_io.errors import LocalProtocolError
from sans_io.policy import pool as pool_module
from sans_io.policy.pool import (
    REASONS,
    SWEEP,
    TICKET_TRANSITIONS,
    TRANSITIONS,
    Close,
    Grant,
    Pool,
    Route,
    Ticket,
)


@dataclass(frozen=True)
class FakeOrigin:
    host: str


@dataclass(eq=False)
class Conn:
    """A connection as its transport sees it."""

    number: int
    route: Route
    open: bool = True
    clean: bool = True
    alive: bool = True
    opened_at: float = 0.0
    keep_until: float = 0.0


def route(name: str) -> Route:
    return Route(FakeOrigin(name))  # type: ignore[arg-type]


ROUTES = [route("a"), route("b")]
PICK = st.integers(0, 5)


@dataclass
class Model:
    """What the pool must be, written without slots: who holds, who dials, who waits, what lies idle."""

    dialling: list[Ticket] = field(default_factory=list)
    holding: dict[Ticket, Conn] = field(default_factory=dict)
    waiting: list[Ticket] = field(default_factory=list)
    idle: list[Conn] = field(default_factory=list)
    closed: Counter = field(default_factory=Counter)
    dialled: int = 0
    served: list[tuple[str, Ticket]] = field(default_factory=list)

    def slots(self, route: Route) -> int:
        return (
            sum(ticket.route == route for ticket in self.dialling)
            + sum(ticket.route == route for ticket in self.holding)
            + sum(conn.route == route for conn in self.idle)
        )


class PoolMachine(RuleBasedStateMachine):
    """Every input is a rule. The model is updated from the commands, and each command is checked as it comes."""

    pool_class: type[Pool] = Pool
    max_connections: int | None = 2
    max_idle = 3
    max_age = 40.0
    idle_timeout = 15.0

    def __init__(self) -> None:
        super().__init__()
        self.pool = self.pool_class(
            self.max_connections, max_idle=self.max_idle, max_age=self.max_age, idle_timeout=self.idle_timeout, seed=7
        )
        self.model = Model()
        self.now = 1000.0
        self.ended: list[Ticket] = []

    # What the commands must mean.

    def obey(self, commands: list, *, first_in_line: dict[Route, Ticket | None] | None = None) -> None:
        model = self.model
        for command in commands:
            if isinstance(command, Close):
                conn = command.conn
                assert conn.open, "closed twice"
                assert conn not in model.holding.values(), "closed under its owner"
                assert command.reason in REASONS
                conn.open = False
                if conn in model.idle:
                    model.idle.remove(conn)
                model.closed[command.reason] += 1
                continue
            assert isinstance(command, Grant)
            ticket = command.ticket
            assert ticket.granted, "granted in name only"
            assert ticket not in self.ended, "granted to somebody who left"
            assert (ticket.conn, ticket.reused) == (command.conn, command.reused)
            assert command.reused == (command.conn is not None)
            if ticket in model.waiting:
                ahead = [other for other in model.waiting if other.route == ticket.route]
                assert ahead[0] is ticket, "overtook somebody who came first"
                model.waiting.remove(ticket)
            if command.conn is None:
                model.dialling.append(ticket)
                continue
            conn = command.conn
            assert not ticket.fresh, "granted a used connection to somebody who wants a new one"
            assert conn.open, "granted a closed connection"
            assert conn.route == ticket.route, "granted a connection of another route"
            assert conn.clean, "granted a connection whose exchange did not end clean (I2)"
            assert conn not in model.holding.values(), "one connection, two owners"
            assert self.now < conn.opened_at + self.max_age * 1.1, "granted a connection past its age"
            if conn in model.idle:
                assert self.now < conn.keep_until, "granted an expired connection"
                newest = [other for other in model.idle if other.route == conn.route and self.now < other.keep_until]
                assert newest[-1] is conn, "not the one used last"
                model.idle.remove(conn)
            model.holding[ticket] = conn

    # Inputs.

    @rule(name=st.sampled_from(ROUTES), fresh=st.booleans())
    def acquire(self, name: Route, fresh: bool) -> None:
        ticket, commands = self.pool.acquire(name, self.now, fresh=fresh)
        if not ticket.granted:
            self.model.waiting.append(ticket)
            assert self.max_connections is not None
            assert self.model.slots(name) >= self.max_connections, "made to wait on a route with room"
        self.obey(commands)

    @rule(name=st.sampled_from(ROUTES))
    def acquire_and_connect(self, name: Route) -> None:
        before = len(self.model.dialling)
        self.acquire(name, False)
        if len(self.model.dialling) > before:
            self.connected(-1)

    @precondition(lambda self: self.model.dialling)
    @rule(n=PICK)
    def connected(self, n: int) -> None:
        ticket = self.model.dialling.pop(n % len(self.model.dialling) if n >= 0 else n)
        conn = self.dial(ticket)
        assert self.pool.on_connected(ticket, conn, self.now) == []
        assert ticket.conn is conn
        self.model.holding[ticket] = conn

    @precondition(lambda self: any(ticket.reused for ticket in self.model.holding))
    @rule(n=PICK)
    def stale(self, n: int) -> None:
        reused = [ticket for ticket in self.model.holding if ticket.reused]
        ticket = reused[n % len(reused)]
        conn = self.model.holding.pop(ticket)
        commands = self.pool.on_stale(ticket, self.now)
        assert commands[0] == Close(conn, "stale")
        self.obey(commands)
        assert ticket.granted, "not served again at once"

    @precondition(lambda self: self.live())
    @rule(n=PICK, clean=st.booleans(), hint=st.sampled_from([None, None, -1.0, 0.0, 3.0, 60.0, float("nan")]))
    def release(self, n: int, clean: bool, hint: float | None) -> None:
        ticket = self.live()[n % len(self.live())]
        conn = self.leave(ticket)
        held_for = self.idle_timeout if hint is None or hint != hint else min(hint, self.idle_timeout)
        if conn is not None:
            conn.clean = conn.clean and clean
            conn.keep_until = self.now + held_for
            # Put it where it will be if it is kept; a Close or a Grant takes it away again.
            self.model.idle.append(conn)
        self.obey(self.pool.release(ticket, clean, self.now, hint))
        if conn is not None and conn in self.model.idle:
            assert conn.clean, "kept a connection that must not be used again (I2)"
            assert held_for > 0

    @precondition(lambda self: self.model.holding)
    @rule(n=PICK)
    def release_clean(self, n: int) -> None:
        self.release(n % len(self.model.holding), True, None)

    @precondition(lambda self: self.live())
    @rule(n=PICK)
    def cancel(self, n: int) -> None:
        self.cancel_one(self.live()[n % len(self.live())])

    @precondition(lambda self: self.ended)
    @rule(n=PICK, what=st.sampled_from(["connected", "stale", "release", "cancel"]))
    def told_after_the_end(self, n: int, what: str) -> None:
        """A caller that was cancelled from elsewhere may tell one thing more."""
        ticket = self.ended[n % len(self.ended)]
        if what == "connected":
            conn = self.dial(ticket)
            assert self.pool.on_connected(ticket, conn, self.now) == [Close(conn, "cancelled")]
            self.model.closed["cancelled"] += 1
        elif what == "stale":
            assert self.pool.on_stale(ticket, self.now) == []
        elif what == "release":
            self.obey(self.pool.release(ticket, True, self.now))
        else:
            self.obey(self.pool.cancel(ticket, self.now))

    def dial(self, ticket: Ticket) -> Conn:
        self.model.dialled += 1
        return Conn(self.model.dialled, ticket.route, opened_at=self.now)

    def live(self) -> list[Ticket]:
        return [*self.model.holding, *self.model.dialling, *self.model.waiting]

    def cancel_one(self, ticket: Ticket) -> None:
        conn = self.leave(ticket)
        if conn is not None:
            conn.clean = False
        self.obey(self.pool.cancel(ticket, self.now))
        assert conn is None or not conn.open

    def leave(self, ticket: Ticket) -> Conn | None:
        self.ended.append(ticket)
        if ticket in self.model.waiting:
            self.model.waiting.remove(ticket)
        if ticket in self.model.dialling:
            self.model.dialling.remove(ticket)
        return self.model.holding.pop(ticket, None)

    @rule(seconds=st.sampled_from([0.001, 1.0, 2.5, 10.0, 15.0, 50.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def expire(self) -> None:
        self.obey(self.pool.expire(self.now))
        assert all(self.now < conn.keep_until for conn in self.model.idle)

    @rule()
    def close(self) -> None:
        self.obey(self.pool.close(self.now))
        assert not self.model.idle
        # None of those open now may come back into the pool.
        for conn in self.model.holding.values():
            conn.clean = False

    @precondition(lambda self: self.live())
    @rule()
    def everybody_leaves(self) -> None:
        """I10: when no caller is left, no slot is."""
        while self.live():
            self.cancel_one(self.live()[0])
        stats = self.pool.stats()
        assert (stats.leased, stats.connecting, stats.waiting) == (0, 0, 0)
        assert stats.open == stats.idle == len(self.model.idle)

    # Laws.

    @invariant()
    def agrees_with_the_model(self) -> None:
        stats, model = self.pool.stats(), self.model
        assert stats.idle == len(model.idle)
        assert stats.leased == len(model.holding)
        assert stats.connecting == len(model.dialling)
        assert stats.waiting == len(model.waiting)
        assert stats.open == stats.idle + stats.leased
        assert stats.dialled == model.dialled
        assert stats.destroyed == {reason: count for reason, count in model.closed.items() if count}
        assert stats.dialled == stats.open + sum(stats.destroyed.values()), "a connection is in no place, or in two"

    @invariant()
    def nobody_waits_beside_a_free_place(self) -> None:
        for ticket in self.model.waiting:
            assert self.max_connections is not None
            assert self.model.slots(ticket.route) == self.max_connections, "a slot was lost, or a waiter forgotten"
            assert not any(conn.route == ticket.route for conn in self.model.idle)

    @invariant()
    def never_more_than_allowed(self) -> None:
        assert len(self.model.idle) <= self.max_idle
        if self.max_connections is not None:
            assert all(self.model.slots(name) <= self.max_connections for name in ROUTES)

    @invariant()
    def leaves_nothing_behind(self) -> None:
        used = {name for name in ROUTES if self.model.slots(name)} | {ticket.route for ticket in self.model.waiting}
        assert set(self.pool._routes) == used

    def teardown(self) -> None:
        while self.live():
            self.cancel_one(self.live()[0])
        self.obey(self.pool.close(self.now))
        assert self.pool.stats().open == 0
        assert not self.pool._routes


TestPool = PoolMachine.TestCase
TestPool.settings = settings(stateful_step_count=50)


class OneConnection(PoolMachine):
    max_connections = 1
    max_idle = 1


TestPoolOfOne = OneConnection.TestCase
TestPoolOfOne.settings = settings(stateful_step_count=50)


class Unbounded(PoolMachine):
    max_connections = None


TestUnboundedPool = Unbounded.TestCase
TestUnboundedPool.settings = settings(stateful_step_count=50)


# The machine is worth something only if it finds what it is meant to find.


class LosesSlotOfCancelledDial(Pool):
    """The slot of a caller who gives up while dialling is never granted on."""

    def cancel(self, ticket, now):
        if ticket.slot is not None and ticket.slot.state == "connecting":
            self._end(ticket)
            return []
        return super().cancel(ticket, now)


class ServesNewestWaiter(Pool):
    def _next_waiter(self, record):
        if not record.waiters:
            return None
        self.counts["waiting"] -= 1
        return record.waiters.popitem(last=True)[0]


class KeepsUncleanConnections(Pool):
    def release(self, ticket, reusable, now, idle_hint=None):
        return super().release(ticket, True, now, idle_hint)


class KeepsCancelledConnections(Pool):
    def cancel(self, ticket, now):
        return self.release(ticket, True, now)


class ForgetsToWakeAtRelease(Pool):
    def release(self, ticket, reusable, now, idle_hint=None):
        return [c for c in super().release(ticket, reusable, now, idle_hint) if not isinstance(c, Grant)]


class IgnoresExpiry(Pool):
    def _park(self, slot, conn, keep_until, commands):
        super()._park(slot, conn, keep_until, commands)
        slot.keep_until = slot.retire_at = float("inf")


class ReusesAfterClose(Pool):
    def close(self, now):
        commands = super().close(now)
        self._generation -= 1
        return commands


@pytest.mark.parametrize(
    "broken",
    [
        LosesSlotOfCancelledDial,
        ServesNewestWaiter,
        KeepsUncleanConnections,
        KeepsCancelledConnections,
        ForgetsToWakeAtRelease,
        IgnoresExpiry,
        ReusesAfterClose,
    ],
)
def test_the_machine_finds_a_planted_bug(broken: type[Pool]) -> None:
    class Broken(PoolMachine):
        pool_class = broken
        max_connections = 1

    with pytest.raises(AssertionError):
        run_state_machine_as_test(
            Broken,
            settings=settings(
                max_examples=1_000,
                phases=[Phase.generate],
                stateful_step_count=30,
                database=None,
                derandomize=True,
                deadline=None,
                report_multiple_bugs=False,
                print_blob=False,
                suppress_health_check=list(HealthCheck),
            ),
        )


def test_a_lost_slot_in_two_steps() -> None:
    """What the state machine shrinks the first planted bug to, against the shipped pool: the waiter is served."""
    for behind in (1, 2, 5):
        pool: Pool[Conn] = Pool(max_connections=1)
        dialler, _ = pool.acquire(ROUTES[0], 0.0)
        waiters = [pool.acquire(ROUTES[0], 0.0)[0] for _ in range(behind)]
        assert pool.cancel(dialler, 1.0) == [Grant(waiters[0], None, False)]
        for waiter, heir in zip(waiters, [*waiters[1:], None], strict=True):
            commands = pool.release(waiter, False, 2.0)
            assert commands == ([] if heir is None else [Grant(heir, None, False)])
        assert pool.stats().connecting == 0


# The rules, one by one.


def connect(pool: Pool[Conn], name: Route, now: float) -> tuple[Ticket[Conn], Conn]:
    ticket, _ = pool.acquire(name, now, fresh=True)
    conn = Conn(0, name)
    assert pool.on_connected(ticket, conn, now) == []
    return ticket, conn


def test_the_connection_used_last_is_used_first() -> None:
    pool: Pool[Conn] = Pool()
    (one, _), (two, second) = connect(pool, ROUTES[0], 0.0), connect(pool, ROUTES[0], 0.0)
    pool.release(one, True, 1.0)
    pool.release(two, True, 2.0)
    ticket, commands = pool.acquire(ROUTES[0], 3.0)
    assert commands == [Grant(ticket, second, True)]
    assert pool.stats().reused == 1


def test_release_hands_the_connection_to_who_came_first() -> None:
    pool: Pool[Conn] = Pool(max_connections=1)
    ticket, conn = connect(pool, ROUTES[0], 0.0)
    first, _ = pool.acquire(ROUTES[0], 0.0)
    second, _ = pool.acquire(ROUTES[0], 0.0)
    assert pool.release(ticket, True, 1.0) == [Grant(first, conn, True)]
    assert not second.granted
    assert pool.release(first, False, 2.0) == [Close(conn, "not_reusable"), Grant(second, None, False)]


@pytest.mark.parametrize(("hint", "after", "kept"), [(None, 14.9, True), (None, 15.0, False), (3.0, 2.9, True),
                                                     (3.0, 3.0, False), (60.0, 15.0, False)])  # fmt: skip
def test_idle_connections_expire(hint: float | None, after: float, kept: bool) -> None:
    pool: Pool[Conn] = Pool()
    ticket, conn = connect(pool, ROUTES[0], 0.0)
    assert pool.release(ticket, True, 10.0, hint) == []
    again, commands = pool.acquire(ROUTES[0], 10.0 + after)
    assert again.reused is kept
    assert commands == ([] if kept else [Close(conn, "expired")]) + [Grant(again, conn if kept else None, kept)]


def test_a_promise_of_no_time_is_no_promise() -> None:
    pool: Pool[Conn] = Pool(max_connections=1)
    ticket, conn = connect(pool, ROUTES[0], 0.0)
    waiter, _ = pool.acquire(ROUTES[0], 0.0)
    assert pool.release(ticket, True, 1.0, 0.0) == [Close(conn, "expired"), Grant(waiter, None, False)]


def test_greatest_age_is_jittered_and_reproducible() -> None:
    ages = []
    for seed in (1, 1, 2):
        pool: Pool[Conn] = Pool(idle_timeout=1e9, seed=seed)
        slots = []
        for _ in range(200):
            ticket, _conn = connect(pool, ROUTES[0], 0.0)
            assert ticket.slot is not None
            slots.append(ticket.slot.retire_at)
        ages.append(slots)
    assert ages[0] == ages[1] != ages[2]
    assert all(270.0 <= age <= 330.0 for age in ages[0])
    assert max(ages[0]) - min(ages[0]) > 50.0


def test_a_connection_past_its_age_is_not_kept() -> None:
    pool: Pool[Conn] = Pool(max_age=100.0)
    ticket, conn = connect(pool, ROUTES[0], 0.0)
    assert pool.release(ticket, True, 89.0) == []
    ticket, _ = pool.acquire(ROUTES[0], 89.0)
    assert ticket.conn is conn
    assert pool.release(ticket, True, 110.0) == [Close(conn, "max_age")]


def test_an_idle_connection_that_comes_of_age_is_counted_as_such() -> None:
    pool: Pool[Conn] = Pool(max_age=10.0, idle_timeout=15.0)
    ticket, conn = connect(pool, ROUTES[0], 0.0)
    pool.release(ticket, True, 5.0)
    assert pool.expire(8.9) == []
    assert pool.expire(11.0) == [Close(conn, "max_age")]
    assert pool.stats().destroyed == {"max_age": 1}


def test_a_stale_connection_is_replaced_at_once_by_the_next_one_then_by_a_dial() -> None:
    pool: Pool[Conn] = Pool(max_connections=2)
    (one, first), (two, second) = connect(pool, ROUTES[0], 0.0), connect(pool, ROUTES[0], 0.0)
    pool.release(one, True, 0.0)
    pool.release(two, True, 0.0)
    ticket, _ = pool.acquire(ROUTES[0], 1.0)
    assert pool.on_stale(ticket, 1.0) == [Close(second, "stale"), Grant(ticket, first, True)]
    assert pool.on_stale(ticket, 1.0) == [Close(first, "stale"), Grant(ticket, None, False)]
    assert pool.stats().reused == 0
    with pytest.raises(LocalProtocolError, match="no reused connection"):
        pool.on_stale(ticket, 1.0)


def test_a_fresh_connection_makes_room_for_itself_on_a_full_route() -> None:
    pool: Pool[Conn] = Pool(max_connections=1)
    ticket, conn = connect(pool, ROUTES[0], 0.0)
    pool.release(ticket, True, 0.0)
    again, commands = pool.acquire(ROUTES[0], 1.0, fresh=True)
    assert commands == [Close(conn, "evicted"), Grant(again, None, False)]


def test_who_waits_for_a_fresh_connection_is_not_handed_a_used_one() -> None:
    pool: Pool[Conn] = Pool(max_connections=1)
    ticket, conn = connect(pool, ROUTES[0], 0.0)
    waiter, _ = pool.acquire(ROUTES[0], 0.0, fresh=True)
    assert pool.release(ticket, True, 1.0) == [Close(conn, "evicted"), Grant(waiter, None, False)]


def test_idle_connections_of_all_routes_together_are_bounded_oldest_first() -> None:
    pool: Pool[Conn] = Pool(max_idle=2)
    held = [connect(pool, route(str(n)), 0.0) for n in range(3)]
    assert [pool.release(ticket, True, 1.0) for ticket, _ in held] == [[], [], [Close(held[0][1], "evicted")]]


def test_close_ends_what_was_open_and_leaves_the_pool_usable() -> None:
    pool: Pool[Conn] = Pool(max_connections=2)
    (busy, leased), (spare, idle) = connect(pool, ROUTES[0], 0.0), connect(pool, ROUTES[0], 0.0)
    pool.release(spare, True, 0.0)
    dialler, _ = pool.acquire(ROUTES[1], 0.0)
    assert pool.close(1.0) == [Close(idle, "closed")]
    assert pool.close(1.0) == []
    late = Conn(9, ROUTES[1])
    assert pool.on_connected(dialler, late, 2.0) == []
    assert pool.release(busy, True, 2.0) == [Close(leased, "closed")]
    assert pool.release(dialler, True, 2.0) == [Close(late, "closed")]
    ticket, conn = connect(pool, ROUTES[0], 3.0)
    assert pool.release(ticket, True, 3.0) == []
    assert pool.acquire(ROUTES[0], 4.0)[0].conn is conn


def test_a_waiter_served_after_close_dials_for_the_new_time() -> None:
    pool: Pool[Conn] = Pool(max_connections=1)
    ticket, conn = connect(pool, ROUTES[0], 0.0)
    waiter, _ = pool.acquire(ROUTES[0], 0.0)
    pool.close(1.0)
    assert pool.release(ticket, True, 2.0) == [Close(conn, "closed"), Grant(waiter, None, False)]
    pool.on_connected(waiter, Conn(1, ROUTES[0]), 2.0)
    assert pool.release(waiter, True, 3.0) == []
    assert pool.stats().idle == 1


def test_out_of_turn() -> None:
    pool: Pool[Conn] = Pool(max_connections=1)
    ticket, conn = connect(pool, ROUTES[0], 0.0)
    with pytest.raises(LocalProtocolError, match="not asked to dial"):
        pool.on_connected(ticket, conn, 0.0)
    with pytest.raises(LocalProtocolError, match="no reused connection"):
        pool.on_stale(ticket, 0.0)
    waiter, _ = pool.acquire(ROUTES[0], 0.0)
    with pytest.raises(LocalProtocolError, match="waiting"):
        pool.on_connected(waiter, conn, 0.0)
    assert pool.stats().dialled == 1
    assert "granted" in repr(ticket)


@pytest.mark.parametrize(
    "arguments", [{"max_connections": 0}, {"max_idle": -1}, {"max_age": 0.0}, {"idle_timeout": float("nan")}]
)
def test_impossible_settings_are_refused(arguments: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must"):
        Pool(**arguments)  # type: ignore[arg-type]


# Size.


def test_routes_used_once_leave_nothing_but_idle_connections() -> None:
    pool: Pool[object] = Pool(max_idle=100)
    for n in range(100_000):
        name = Route(FakeOrigin("host"), credential_print=str(n))  # type: ignore[arg-type]
        ticket, _ = pool.acquire(name, 0.0)
        pool.on_connected(ticket, object(), 0.0)
        pool.release(ticket, True, 0.0)
    assert len(pool._routes) == len(pool._idle) == 100
    pool.expire(20.0)
    assert not pool._routes
    assert not pool._idle


def test_a_crowd_that_gives_up_leaves_nothing() -> None:
    pool: Pool[Conn] = Pool(max_connections=1)
    ticket, _ = connect(pool, ROUTES[0], 0.0)
    for _ in range(10_000):
        waiter, _ = pool.acquire(ROUTES[0], 0.0)
        pool.cancel(waiter, 0.0)
    assert not pool._routes[ROUTES[0]].waiters
    pool.cancel(ticket, 0.0)
    assert not pool._routes


def lines_run(function: object, *arguments: object) -> int:
    """How many lines of the pool's file one call executes: a count, the same on every machine."""
    count = 0

    def trace(frame, event, argument):
        nonlocal count
        if frame.f_code.co_filename != pool_module.__file__:
            return None
        if event == "line":
            count += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function(*arguments)  # type: ignore[operator]
    finally:
        sys.settrace(before)
    return count


def crowded(size: int) -> tuple[Pool[Conn], Ticket[Conn], list[Ticket[Conn]], list[Ticket[Conn]]]:
    """`size` idle connections, `size` leases on one unbounded route, and a full route with `size` waiters."""
    pool: Pool[Conn] = Pool(max_connections=size, max_idle=10 * size, idle_timeout=50.0)
    idle = [connect(pool, route(f"idle{n % 7}"), 0.0)[0] for n in range(size)]
    held = [connect(pool, ROUTES[0], 0.0)[0] for _ in range(size)]
    for ticket in idle:
        pool.release(ticket, True, 0.0)
    waiting = [pool.acquire(ROUTES[0], 0.0)[0] for _ in range(size)]
    return pool, held[size // 2], held, waiting


def test_every_input_costs_the_same_in_a_crowd() -> None:
    def costs(size: int) -> dict[str, int]:
        pool, ticket, held, waiting = crowded(size)
        return {
            "cancel a waiter": lines_run(pool.cancel, waiting[size // 2], 1.0),
            "hand over": lines_run(pool.release, ticket, True, 1.0),
            "cancel a lease": lines_run(pool.cancel, held[0], 1.0),
            "queue": lines_run(pool.acquire, ROUTES[0], 1.0),
            "reuse": lines_run(pool.acquire, route("idle3"), 1.0),
            "dial": lines_run(pool.acquire, ROUTES[1], 1.0),
            "acquire among expired": lines_run(pool.acquire, route("idle4"), 60.0),
            "release among expired": lines_run(pool.release, held[1], True, 60.0),
        }

    assert costs(100) == costs(5_000)


def test_what_has_expired_is_closed_a_few_at_a_time_by_whatever_comes_next() -> None:
    pool, ticket, _, _ = crowded(20)
    commands = pool.cancel(ticket, 60.0)
    assert sum(isinstance(command, Close) for command in commands) == SWEEP + 1
    for _ in range(5):
        pool.acquire(ROUTES[0], 60.0)
    assert pool.stats().destroyed == {"cancelled": 1, "expired": 20}


# The drawing.


@pytest.mark.parametrize(
    ("table", "start", "ends"), [(TRANSITIONS, "free", {"free"}), (TICKET_TRANSITIONS, "new", {"done"})]
)
def test_every_state_can_be_reached_and_left(table: dict[tuple[str, str], str], start: str, ends: set[str]) -> None:
    def closure(seeds: set[str], edges: list[tuple[str, str]]) -> set[str]:
        reached = set(seeds)
        while more := {b for a, b in edges if a in reached} - reached:
            reached |= more
        return reached

    edges = [(before, after) for (before, _), after in table.items()]
    states = {state for edge in edges for state in edge}
    assert closure({start}, edges) == states
    assert closure(ends, [(b, a) for a, b in edges]) == states


def test_every_transition_is_taken() -> None:
    """No row of the tables is dead: each is met by the examples above, played once more under observation."""
    taken: set[tuple[str, str]] = set()

    class Watched(dict):
        def __getitem__(self, key):
            taken.add(key)
            return super().__getitem__(key)

    patch = pytest.MonkeyPatch()
    with patch.context() as context:
        context.setattr(pool_module, "TRANSITIONS", Watched(TRANSITIONS))
        context.setattr(pool_module, "TICKET_TRANSITIONS", Watched(TICKET_TRANSITIONS))
        test_a_lost_slot_in_two_steps()
        test_release_hands_the_connection_to_who_came_first()
        test_idle_connections_expire(None, 15.0, False)
        test_idle_connections_expire(None, 1.0, True)
        test_a_stale_connection_is_replaced_at_once_by_the_next_one_then_by_a_dial()
        test_close_ends_what_was_open_and_leaves_the_pool_usable()
        test_idle_connections_of_all_routes_together_are_bounded_oldest_first()
        test_a_crowd_that_gives_up_leaves_nothing()
    assert taken == set(TRANSITIONS) | set(TICKET_TRANSITIONS)
