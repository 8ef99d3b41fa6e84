"""The pump: asks a Call what to do, does it with the hands of a transport, and answers.

Rules of this file:
- One text for blocking and asynchronous I/O. What a blocking runtime is asked for is done when it returns, so that a
  coroutine over it never suspends and `BlockingPump` runs it to its end at once. What is called often (`receive`,
  `send`, `wait`) returns its value or something to await: a blocking one costs no coroutine.
- It knows no I/O library and decides nothing about the call: what a failure means is the Call's business.
- However `advance` is left, nothing is left half done: events were handed over, or the call is finished, or everything
  was dropped, synchronously, in `close`.
- There is no lock between `advance` and `cancel`, so a signal handler can cancel at any bytecode. `cancel` sets the
  flag, then looks for a wire or bell; `advance` puts the wire or bell in its place (or takes it away), then looks at
  the flag. So one of the two sees the other: no wait is missed, and a connection that `cancel` may have shut down is
  never given back for reuse.
- After every wait the flag is looked at before the answer is given: what a cancelled call received is not its own.
- Ctrl-C may come at any bytecode. The ticket is the pump's before the pool hears of it and until it is given back, and
  every step of `close` is harmless twice, so whoever closes a second time (callers do) completes a `close` cut short.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from sans_io.actions import (
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
from sans_io.call import Call
from sans_io.errors import LocalProtocolError
from sans_io.events import Event
from sans_io.policy.pool import PoolStats, Ticket
from sans_io.response import Attempt
from sans_io.tunnel import Tunnel

from .faults import Fault, unasked
from .interface import Authorizer, Bell, Hands, Runtime, Wire
from .resolver import Job

T = TypeVar("T")

#: Seconds between looks at what finalisers have left, while waiting for somebody else's seat.
SWEEP_EVERY: Final = 0.25


class Pump:
    """Drives one Call, to be awaited. `advance()` until it gives None, then read `call.response` or `call.error`.

    `authorize(refresh)` makes the operation of a Call that was given none; `on_attempt` is called with each finished
    attempt. One task or thread advances; `cancel` is for everybody, `close` for the one that advances, `abandon` for
    finalisers.
    """

    __slots__ = (
        "__weakref__", "_authorize", "_bell", "_call", "_cancelled", "_delivered", "_given", "_hands", "_on_attempt",
        "_runtime", "_ticket", "_told", "_wire",
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
        self._hands = runtime.hands
        self._ticket: Ticket[Wire] | None = None
        self._wire: Wire | None = None
        self._bell: Bell | None = None
        self._cancelled = False
        self._delivered = False
        self._told = 0
        #: What the last `advance` gave.
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
                        wire = self._wire
                        if wire is None:
                            raise LocalProtocolError("a Receive without a connection")
                        data = wire.receive(action.max_bytes, action.deadline)
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
                        self._tell_attempts()
                        return None
                    else:
                        if isinstance(action, Send):
                            wire = self._wire
                            if wire is None:
                                raise LocalProtocolError("a Send without a connection")
                            sending = wire.send(action.data, action.deadline)
                            if sending is not None:
                                await sending
                            if not self._cancelled:
                                call.on_sent(clock(), action.more and wire.answered())
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
        """End the call from any thread or task, at any time. Whoever advances is woken and finishes it."""
        self._cancelled = True
        bell, wire = self._bell, self._wire
        if bell is not None:
            bell.ring()
        if wire is not None:
            wire.shutdown()

    def close(self) -> None:
        """The one that advances leaves: the call is cancelled, the seat given back, nothing awaited. Idempotent."""
        call = self._call
        if self._ticket is None and call.finished:
            self._tell_attempts()
            return
        if self._hands.foreign():
            # A finaliser in the child of a fork, before its hooks: connection and locks are the parent's.
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
        except Exception:  # noqa: BLE001  the call was interrupted in the middle of a change and cannot follow
            call.break_off()
        ticket, wire = self._ticket, self._wire
        if ticket is not None:
            self._plug_in(None)
            if wire is not None and ticket.conn is None:
                wire.abort()
            self._hands.cancel(ticket, now)
            self._ticket = None
        if not call.finished:
            call.break_off()
        self._tell_attempts()

    def abandon(self) -> None:
        """The pump is being collected. The socket is made useless; the next operation of the pool does the rest."""
        self._cancelled = True
        wire, ticket = self._wire, self._ticket
        if ticket is not None:
            self._hands.abandon(ticket)
            self._ticket = None
        if wire is not None:
            wire.shutdown()
            self._wire = None

    @property
    def reentrant(self) -> bool:
        """Whether nothing may be waited for: this thread is in the middle of a change of the pool, or in the child of a
        fork that has not renewed the pool yet.
        """
        hands = self._runtime.hands
        return hands.inside() or hands.foreign()

    def __del__(self) -> None:
        if getattr(self, "_ticket", None) is not None:  # there is none yet if the constructor was interrupted
            self.abandon()

    # -- one action each; an answer is given unless the pump was cancelled meanwhile ---------------------------------

    async def _do(self, action: Action) -> None:
        """What is done once in a while."""
        if isinstance(action, Connect):
            await self._connect(action)
        elif isinstance(action, Wait):
            await self._pause(self._runtime.bell(), action.until)
            if not self._cancelled:
                self._call.on_waited(self._runtime.now())
        elif isinstance(action, Authorize):
            await self._ask_credential(action)
        else:
            raise LocalProtocolError(f"nobody can do {action!r}")

    def _acquire(self, action: Acquire, now: float) -> bool:
        """Whether there was a seat at once; then it is taken."""
        hands = self._runtime.hands
        ticket = self._sit_down(hands.apart() if hands.inside() else hands, action, now)
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
            # What is waited for may be the seat of the very call that this one interrupts.
            self._hands.cancel(ticket, now)
            ticket = self._sit_down(runtime.hands.apart(), action, now)
        hands, clock = self._hands, runtime.now
        while not ticket.granted:
            await self._pause(hands.bell_of(ticket), min(action.deadline, now + SWEEP_EVERY))
            now = clock()
            if self._cancelled:
                return
            hands.sweep(now)
            if hands.lost(ticket):  # a handler has forked while we waited, and this is the child
                ticket = self._sit_down(hands, action, now)
            if now >= action.deadline and not ticket.granted:
                raise Fault("timeout", _crowd(hands.stats()))
        self._seated(ticket, now)

    def _seated(self, ticket: Ticket[Wire], now: float) -> None:
        """The seat is ours: with a connection that is as silent as it should be, or without one."""
        while ticket.conn is not None and ticket.conn.unread():
            self._hands.stale(ticket, now)
        self._plug_in(ticket.conn)
        self._call.on_acquired(ticket.reused, now)

    def _sit_down(self, hands: Hands, action: Acquire, now: float) -> Ticket[Wire]:
        """Ask for a seat. Ticket and pool are ours first, then the pool hears of it."""
        self._hands = hands
        ticket = self._ticket = Ticket(action.route, action.fresh)
        hands.seat(ticket, now)
        return ticket

    async def _connect(self, action: Connect) -> None:
        runtime, ticket, deadline = self._runtime, self._ticket, action.deadline
        if ticket is None:
            raise LocalProtocolError("a Connect without a seat")
        wire: Wire | None = None
        connected = False
        try:
            for step in action.steps:
                bell = runtime.bell()
                if isinstance(step, Tcp):
                    addresses = await self._finish(runtime.resolve(step.host, step.port, bell), bell, deadline)
                    bell = runtime.bell()  # the one before may yet ring for what it found
                    if addresses is None or not self._may_wait(bell):
                        return
                    wire = await runtime.dial(addresses, deadline, bell)
                elif wire is None:
                    raise LocalProtocolError(f"{step!r} before Tcp")
                elif isinstance(step, StartTLS):
                    await self._finish(runtime.tls_ready(ticket.route, bell), bell, deadline)
                    if self._cancelled:
                        return
                    wire = await runtime.secure(wire, ticket.route, step.name, deadline)
                elif isinstance(step, TunnelThrough):
                    await _pass_through(step.tunnel, wire, deadline)
                self._plug_in(wire)
                if self._cancelled:
                    return
            if wire is None:
                raise LocalProtocolError("a Connect without steps")
            await _expect_silence(wire, deadline)
            now = runtime.now()
            self._hands.connected(ticket, wire, now)
            connected = True
            self._call.on_connected(now)
        finally:
            if not connected:
                self._plug_in(None)
                if wire is not None:
                    wire.abort()

    def _release(self, action: Release, now: float, leaving: bool = False) -> None:
        wire, ticket = self._wire, self._ticket
        self._plug_in(None)
        if ticket is not None:
            cancelled = self._cancelled  # looked at after the wire was taken away
            if wire is not None and ticket.conn is None:
                wire.abort()  # the pool never had it: an exception cut the dial short
            if action.reusable and not cancelled and wire is not None and not wire.unread():
                self._hands.release(ticket, True, now, action.idle_hint)
            elif cancelled or leaving:
                self._hands.cancel(ticket, now)
            else:
                self._hands.release(ticket, False, now)
            self._ticket = None
        self._call.on_released(now)
        self._tell_attempts()

    async def _ask_credential(self, action: Authorize) -> None:
        if self._authorize is None:
            raise LocalProtocolError("a call without an operation needs `authorize`")
        bell = self._runtime.bell()
        if not self._may_wait(bell):
            return
        try:
            operation = await self._runtime.within(self._authorize(action.refresh), action.deadline, bell)
        except Fault:
            raise
        except Exception as error:  # noqa: BLE001  a user's callable raises what it likes
            raise Fault("auth_callable", f"{type(error).__name__}: {error}", error) from None
        if not self._cancelled:
            self._call.on_authorized(operation, self._runtime.now())

    # -- small words -------------------------------------------------------------------------------------------------

    async def _finish(self, job: Job[T], bell: Bell, deadline: float) -> T | None:
        """Wait for a job of another thread. None if the pump was cancelled."""
        try:
            if not job.done:
                await self._pause(bell, deadline)
            if self._cancelled:
                return None
            if not job.done:
                raise Fault("timeout", f"{job.what} took too long")
            return job.value()
        finally:
            job.unwatch(bell)

    async def _pause(self, bell: Bell, until: float) -> None:
        """Until the time has come, or somebody rings: the bell's owner or `cancel`."""
        if self._may_wait(bell):
            waiting = bell.wait(until)
            if waiting is not None:
                await waiting

    def _may_wait(self, bell: Bell) -> bool:
        """Give `cancel` the bell, then see whether it came before."""
        self._bell = bell
        return not self._cancelled

    def _plug_in(self, wire: Wire | None) -> None:
        self._wire = wire
        self._bell = None

    def _tell_attempts(self) -> None:
        if self._on_attempt is not None:
            for attempt in self._call.attempts[self._told :]:
                self._told += 1
                self._on_attempt(attempt)


class BlockingPump(Pump):
    """Drives one Call over a blocking runtime."""

    __slots__ = ()

    def advance(self) -> list[Event] | None:  # type: ignore[override]  # the same, not to be awaited
        """The next events for the user, or None when the call is finished (and at every later call)."""
        # `next` with a default swallows the StopIteration in which a coroutine that never suspends ends.
        if next(_ADVANCE(self).__await__(), _ENDED) is not _ENDED:
            raise LocalProtocolError("a blocking pump was suspended")
        return self._given


_ADVANCE: Final = Pump.advance
_ENDED: Final = object()


async def _pass_through(tunnel: Tunnel, wire: Wire, deadline: float) -> None:
    """An HTTP CONNECT exchange on a fresh connection to a proxy."""
    sending = wire.send(tunnel.request(), deadline)
    if sending is not None:
        await sending
    while not tunnel.done:
        data = await _received(wire, 4096, deadline)
        if not data:
            raise Fault("proxy_refused", "the proxy closed the connection without an answer to CONNECT")
        tunnel.receive_data(data)
        if tunnel.error is not None:
            raise Fault("proxy_refused", tunnel.error)


async def _expect_silence(wire: Wire, deadline: float) -> None:
    """Nobody has asked anything on this connection yet, so what has come is nobody's answer."""
    if wire.answered():
        raise unasked(await _received(wire, 64, deadline))


async def _received(wire: Wire, max_bytes: int, deadline: float) -> bytes:
    data = wire.receive(max_bytes, deadline)
    return data if isinstance(data, bytes) else await data


def _crowd(stats: PoolStats) -> str:
    return f"{stats.leased} leased, {stats.connecting} connecting, {stats.waiting} waiting"
