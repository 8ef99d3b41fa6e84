"""The pump: asks a Call what to do next, does it by means of a transport's `Runtime`, and reports the result.

Rules of this file:
- One text for blocking and asynchronous I/O. A blocking runtime has done what it was asked for when it returns, so a
  coroutine over it never suspends, and `BlockingPump` runs it to its end at once. What is called often (`receive`,
  `send`, `wait`) returns either its value or an awaitable: a blocking one costs no coroutine.
- It knows no I/O library and decides nothing about the call: what a failure means is the Call's business.
- However `advance` is left, nothing is left half done: events were handed over, or the call is finished, or `close` has
  dropped everything synchronously.
- There is no lock between `advance` and `cancel`, so a signal handler can cancel at any bytecode. `cancel` sets the
  flag, then looks for a connection or wakeup; `advance` attaches the connection or wakeup (or detaches it), then looks
  at the flag. So one of the two sees the other: no wait is missed, and a connection that `cancel` may have shut down
  is never given back for reuse.
- After every wait the flag is checked before the result is reported: what a cancelled call received is not its own.
- Ctrl-C may come at any bytecode. The ticket is the pump's before the pool hears of it and until it is given back, and
  every step of `close` is harmless twice, so that calling it again (as callers do) completes a `close` cut short.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from sans_io.calls.actions import (
    Acquire,
    Action,
    Authorize,
    Connect,
    Deliver,
    Receive,
    Release,
    Send,
    StartTLS,
    Tcp,
    TunnelThrough,
    Wait,
)
from sans_io.calls.call import Call
from sans_io.chat.events import Event
from sans_io.chat.response import Attempt
from sans_io.errors import LocalProtocolError
from sans_io.http.tunnel import Tunnel
from sans_io.policy.pool import PoolStats, Ticket

from .faults import Fault, unasked
from .interface import Authorizer, Connection, PoolRunner, Runtime, Wakeup
from .resolver import ThreadJob

T = TypeVar("T")

#: Seconds between checks for what finalisers have left to do, while waiting for a seat.
SWEEP_EVERY: Final = 0.25


class Pump:
    """Drives one Call. Await `advance()` until it returns None, then read `call.response` or `call.error`.

    `authorize(refresh)` makes the operation of a Call that was created without one; `on_attempt` is called with each
    finished attempt. One task or thread advances; anyone may `cancel`, only the one that advances may `close`, and
    `abandon` is for finalisers.
    """

    __slots__ = (
        "__weakref__", "_authorize", "_call", "_cancelled", "_connection", "_delivered", "_given", "_on_attempt",
        "_pool_runner", "_reported", "_runtime", "_ticket", "_wakeup",
    )  # fmt: skip

    def __init__(
        self,
        call: Call,
        runtime: Runtime,
        authorize: Authorizer | None = None,
        on_attempt: Callable[[Attempt], object] | None = None,
    ) -> None:
        self._call = call
        self._runtime = runtime
        self._authorize = authorize
        self._on_attempt = on_attempt
        self._pool_runner = runtime.pool_runner
        self._ticket: Ticket[Connection] | None = None
        self._connection: Connection | None = None
        self._wakeup: Wakeup | None = None
        self._cancelled = False
        self._delivered = False
        self._reported = 0
        #: What the last `advance` returned.
        self._given: list[Event] | None = None

    async def advance(self) -> list[Event] | None:
        """The next events for the user, or None when the call is finished (and at every later call)."""
        call, clock = self._call, self._runtime.now
        now = clock()
        if self._cancelled:
            call.cancel(now)
        elif self._delivered:
            call.on_delivered(now)
        self._delivered = False
        unsettled = True
        try:
            while True:
                action = call.next_action(now)
                try:
                    if isinstance(action, Receive):
                        connection = self._connection
                        if connection is None:
                            raise LocalProtocolError("a Receive without a connection")
                        data = connection.receive(action.max_bytes, action.deadline)
                        if type(data) is not bytes:
                            data = await data  # type: ignore[misc]  # not bytes: to be awaited
                        now = clock()
                        if self._cancelled:
                            call.cancel(now)
                        elif data:
                            call.on_data(data, now)
                        else:
                            call.on_eof(now)
                    elif isinstance(action, Deliver):
                        self._delivered = True
                        unsettled = False
                        events = self._given = action.events
                        return events
                    elif action is None:
                        unsettled = False
                        self._given = None
                        self._report_attempts()
                        return None
                    else:
                        if isinstance(action, Send):
                            connection = self._connection
                            if connection is None:
                                raise LocalProtocolError("a Send without a connection")
                            sending = connection.send(action.data, action.deadline)
                            if sending is not None:
                                await sending
                            if not self._cancelled:
                                call.on_sent(clock(), action.more and connection.answered())
                        elif isinstance(action, Acquire):
                            if not self._acquire(action, now):
                                await self._queue(action, now)
                        elif isinstance(action, Release):
                            self._release(action, now)
                        else:
                            await self._do(action)
                        now = clock()
                        if self._cancelled:
                            call.cancel(now)
                except Fault as fault:
                    now = clock()
                    if self._cancelled:
                        call.cancel(now)
                    else:
                        call.on_error(fault.kind, now, fault.detail, fault.cause)
        except GeneratorExit:
            # A suspended coroutine is being collected, in whatever thread, possibly after its loop.
            unsettled = False
            self.abandon()
            raise
        finally:
            if unsettled:
                self.close()

    def cancel(self) -> None:
        """End the call from any thread or task, at any time. The one that advances is woken and finishes it."""
        self._cancelled = True
        wakeup, connection = self._wakeup, self._connection
        if wakeup is not None:
            wakeup.wake()
        if connection is not None:
            connection.shutdown()

    def close(self) -> None:
        """For the one that advances: cancel the call and give the seat back, awaiting nothing. Idempotent."""
        call = self._call
        if self._ticket is None and call.finished:
            self._report_attempts()
            return
        if self._pool_runner.foreign():
            # A finaliser in a forked child, before its hooks ran: connection and locks are the parent's.
            self.abandon()
            call.break_off()
            return
        now = self._runtime.now()
        self._delivered = False
        try:
            call.cancel(now)
            action = call.next_action(now)
            if isinstance(action, Release):
                self._release(action, now, leaving=True)
        except Exception:  # noqa: BLE001  the call was interrupted in the middle of a change and cannot be cancelled
            call.break_off()
        ticket, connection = self._ticket, self._connection
        if ticket is not None:
            self._attach(None)
            if connection is not None and ticket.conn is None:
                connection.abort()
            self._pool_runner.cancel(ticket, now)
            self._ticket = None
        if not call.finished:
            call.break_off()
        self._report_attempts()

    def abandon(self) -> None:
        """The pump is being collected: shut the socket down and leave the rest to the next operation of the pool."""
        self._cancelled = True
        connection, ticket = self._connection, self._ticket
        if ticket is not None:
            self._pool_runner.abandon(ticket)
            self._ticket = None
        if connection is not None:
            connection.shutdown()
            self._connection = None

    @property
    def seated(self) -> bool:
        """Whether it has a place in the pool, or waits for one."""
        return self._ticket is not None

    @property
    def reentrant(self) -> bool:
        """Whether this thread must not wait: it is in the middle of a change of the pool, or in a forked child that has
        not renewed the pool yet.
        """
        runner = self._runtime.pool_runner
        return runner.inside() or runner.foreign()

    def __del__(self) -> None:
        if getattr(self, "_ticket", None) is not None:  # missing if the constructor was interrupted
            self.abandon()

    # -- one action each; its result is reported unless the pump was cancelled meanwhile ------------------------------

    async def _do(self, action: Action) -> None:
        """The rarer actions."""
        if isinstance(action, Connect):
            await self._connect(action)
        elif isinstance(action, Wait):
            await self._pause(self._runtime.wakeup(), action.until)
            if not self._cancelled:
                self._call.on_waited(self._runtime.now())
        elif isinstance(action, Authorize):
            await self._ask_credential(action)
        else:
            raise LocalProtocolError(f"unknown action {action!r}")

    def _acquire(self, action: Acquire, now: float) -> bool:
        """Take a seat if one is free. Returns whether one was."""
        ticket = self._sit_down(self._runtime.pool_runner, action, now)
        if not ticket.granted:
            return False
        self._seated(ticket, now)
        return True

    async def _queue(self, action: Acquire, now: float) -> None:
        """Wait for a seat."""
        runtime, ticket = self._runtime, self._ticket
        if ticket is None:
            raise LocalProtocolError("waiting without a ticket")
        if runtime.nested():
            # The seat it would wait for may be that of the very call that this one interrupts.
            self._pool_runner.cancel(ticket, now)
            ticket = self._sit_down(runtime.pool_runner.apart(), action, now)
        runner, clock = self._pool_runner, runtime.now
        while not ticket.granted:
            await self._pause(runner.wakeup_of(ticket), min(action.deadline, now + SWEEP_EVERY))
            now = clock()
            if self._cancelled:
                return
            runner.sweep(now)
            if runner.lost(ticket):  # a handler has forked while this call waited, and this is the child
                ticket = self._sit_down(runner, action, now)
                runner = self._pool_runner
            if now >= action.deadline and not ticket.granted:
                raise Fault("timeout", _crowd(runner.stats()))
        self._seated(ticket, now)

    def _seated(self, ticket: Ticket[Connection], now: float) -> None:
        """The seat is ours: with an idle connection that has nothing unread, or without one."""
        while ticket.conn is not None and ticket.conn.unread():
            if not self._pool_runner.stale(ticket, now):
                ticket = self._move_apart(ticket, now)
        self._attach(ticket.conn)
        self._call.on_acquired(ticket.reused, now)

    def _sit_down(self, runner: PoolRunner, action: Acquire, now: float) -> Ticket[Connection]:
        """Ask for a seat. Ticket and pool are recorded here before the pool hears of it."""
        self._pool_runner = runner
        ticket = self._ticket = Ticket(action.route, action.fresh)
        if not runner.seat(ticket, now):
            return self._sit_down(runner.apart(), action, now)
        return ticket

    def _move_apart(self, ticket: Ticket[Connection], now: float) -> Ticket[Connection]:
        """Give the seat back and take one in a pool of its own: a thread keeps this pool to itself."""
        runner = self._pool_runner
        runner.cancel(ticket, now)
        return self._sit_down(runner.apart(), Acquire(ticket.route, now, ticket.fresh), now)

    async def _connect(self, action: Connect) -> None:
        runtime, ticket, deadline = self._runtime, self._ticket, action.deadline
        if ticket is None:
            raise LocalProtocolError("a Connect without a seat")
        connection: Connection | None = None
        connected = False
        try:
            for step in action.steps:
                wakeup = runtime.wakeup()
                if isinstance(step, Tcp):
                    addresses = await self._finish(runtime.resolve(step.host, step.port, wakeup), wakeup, deadline)
                    wakeup = runtime.wakeup()  # the previous one may still be woken by the lookup
                    if addresses is None or not self._may_wait(wakeup):
                        return
                    connection = await runtime.dial(addresses, deadline, wakeup)
                elif connection is None:
                    raise LocalProtocolError(f"{step!r} before Tcp")
                elif isinstance(step, StartTLS):
                    await self._finish(runtime.tls_ready(ticket.route, wakeup), wakeup, deadline)
                    if self._cancelled:
                        return
                    connection = await runtime.secure(connection, ticket.route, step.name, deadline)
                elif isinstance(step, TunnelThrough):
                    await _pass_through(step.tunnel, connection, deadline)
                self._attach(connection)
                if self._cancelled:
                    return
            if connection is None:
                raise LocalProtocolError("a Connect without steps")
            await _expect_silence(connection, deadline)
            now = runtime.now()
            if not self._pool_runner.connected(ticket, connection, now):
                ticket = self._move_apart(ticket, now)
                self._pool_runner.connected(ticket, connection, now)
            connected = True
            self._call.on_connected(now)
        finally:
            if not connected:
                self._attach(None)
                if connection is not None:
                    connection.abort()

    def _release(self, action: Release, now: float, leaving: bool = False) -> None:
        connection, ticket = self._connection, self._ticket
        self._attach(None)
        if ticket is not None:
            cancelled = self._cancelled  # read after the connection was detached
            if connection is not None and ticket.conn is None:
                connection.abort()  # the pool never had it: an exception cut the dial short
            if action.reusable and not cancelled and connection is not None and not connection.unread():
                self._pool_runner.release(ticket, True, now, action.idle_hint)
            elif cancelled or leaving:
                self._pool_runner.cancel(ticket, now)
            else:
                self._pool_runner.release(ticket, False, now)
            self._ticket = None
        self._call.on_released(now)
        self._report_attempts()

    async def _ask_credential(self, action: Authorize) -> None:
        if self._authorize is None:
            raise LocalProtocolError("a call without an operation needs `authorize`")
        wakeup = self._runtime.wakeup()
        if not self._may_wait(wakeup):
            return
        try:
            operation = await self._runtime.within(self._authorize(action.refresh), action.deadline, wakeup)
        except Fault:
            raise
        except Exception as error:  # noqa: BLE001  a user's callable raises what it likes
            raise Fault("auth_callable", f"{type(error).__name__}: {error}", error) from None
        if not self._cancelled:
            self._call.on_authorized(operation, self._runtime.now())

    # -- details -----------------------------------------------------------------------------------------------------

    async def _finish(self, job: ThreadJob[T], wakeup: Wakeup, deadline: float) -> T | None:
        """Wait for a job in another thread. None if the pump was cancelled."""
        try:
            if not job.done:
                await self._pause(wakeup, deadline)
            if self._cancelled:
                return None
            if not job.done:
                raise Fault("timeout", f"{job.what} took too long")
            return job.value()
        finally:
            job.unwatch(wakeup)

    async def _pause(self, wakeup: Wakeup, until: float) -> None:
        """Wait until that time, or until the wakeup is woken: by its owner or by `cancel`."""
        if self._may_wait(wakeup):
            waiting = wakeup.wait(until)
            if waiting is not None:
                await waiting

    def _may_wait(self, wakeup: Wakeup) -> bool:
        """Show `cancel` the wakeup, then check whether it came before."""
        self._wakeup = wakeup
        return not self._cancelled

    def _attach(self, connection: Connection | None) -> None:
        self._connection = connection
        self._wakeup = None

    def _report_attempts(self) -> None:
        if self._on_attempt is not None:
            for attempt in self._call.attempts[self._reported :]:
                self._reported += 1
                self._on_attempt(attempt)


class BlockingPump(Pump):
    """Drives one Call over a blocking runtime: `advance()` returns, instead of being awaited."""

    __slots__ = ()

    def advance(self) -> list[Event] | None:  # type: ignore[override]  # the same, without await
        """The next events for the user, or None when the call is finished (and at every later call)."""
        # `next` with a default swallows the StopIteration in which a coroutine that never suspends ends.
        if next(_ADVANCE(self).__await__(), _ENDED) is not _ENDED:
            raise LocalProtocolError("a blocking pump was suspended")
        return self._given


_ADVANCE: Final = Pump.advance
_ENDED: Final = object()


async def _pass_through(tunnel: Tunnel, connection: Connection, deadline: float) -> None:
    """An HTTP CONNECT exchange on a fresh connection to a proxy."""
    sending = connection.send(tunnel.request(), deadline)
    if sending is not None:
        await sending
    while not tunnel.done:
        data = await _received(connection, 4096, deadline)
        if not data:
            raise Fault("proxy_refused", "the proxy closed the connection without answering CONNECT")
        tunnel.receive_data(data)
        if tunnel.error is not None:
            raise Fault("unreachable" if tunnel.unreached else "proxy_refused", tunnel.error)


async def _expect_silence(connection: Connection, deadline: float) -> None:
    """Nothing was sent on this connection yet, so whatever arrived answers nothing."""
    if connection.answered():
        raise unasked(await _received(connection, 64, deadline))


async def _received(connection: Connection, max_bytes: int, deadline: float) -> bytes:
    data = connection.receive(max_bytes, deadline)
    return data if isinstance(data, bytes) else await data


def _crowd(stats: PoolStats) -> str:
    return f"{stats.leased} leased, {stats.connecting} connecting, {stats.waiting} waiting"
