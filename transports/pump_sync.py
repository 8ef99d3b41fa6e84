"""The pump: asks a Call what to do, does it with the hands of a transport, and answers.

Rules of this file:
- pump_sync.py is this text for blocking I/O: the two keywords left out, the types renamed. A test holds them equal.
- It knows no I/O library and decides nothing about the call: what a failure means is the Call's business.
- However `advance` is left, nothing is left half done: events were handed over, or the call is finished, or everything
  was dropped, synchronously, in `close`.
- `_guard` is held while a wire or a bell changes hands: `cancel` from another thread must never meet a connection that
  has just been given to somebody else. It is re-entrant, since a signal handler may cancel.
- After every wait the flag is looked at before the answer is given: what a cancelled call received is not its own.
"""

from __future__ import annotations

import threading
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
from .interface import SyncAuthorize, SyncBell, SyncRuntime, SyncWire
from .resolver import Job

T = TypeVar("T")

#: Seconds between looks at what finalisers have left, while waiting for somebody else's seat.
SWEEP_EVERY: Final = 0.25


class Pump:
    """Drives one Call. `advance()` until it gives None, then read `call.response` or `call.error`.

    `authorize(refresh)` makes the operation of a Call that was given none; `on_attempt` is called with each finished
    attempt. One task or thread advances; `cancel` is for everybody, `close` for the one that advances, `abandon` for
    finalisers.
    """

    __slots__ = (
        "__weakref__", "_authorize", "_bell", "_call", "_cancelled", "_delivered", "_guard", "_on_attempt", "_runtime",
        "_ticket", "_told", "_wire",
    )  # fmt: skip

    def __init__(
        self,
        call: Call,
        runtime: SyncRuntime,
        authorize: SyncAuthorize | None = None,
        on_attempt: Callable[[Attempt], object] | None = None,
    ) -> None:
        self._call = call
        self._runtime = runtime
        self._authorize = authorize
        self._on_attempt = on_attempt
        self._guard = threading.RLock()
        self._ticket: Ticket[SyncWire] | None = None
        self._wire: SyncWire | None = None
        self._bell: SyncBell | None = None
        self._cancelled = False
        self._delivered = False
        self._told = 0

    def advance(self) -> list[Event] | None:
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
                        return action.events
                    elif action is None:
                        unsettled = False
                        self._tell_attempts()
                        return None
                    else:
                        if isinstance(action, Send):
                            self._send(action)
                        elif isinstance(action, Acquire):
                            self._acquire(action, now)
                        elif isinstance(action, Release):
                            self._release(action, now)
                        else:
                            self._do(action)
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
        with self._guard:
            if self._bell is not None:
                self._bell.ring()
            if self._wire is not None:
                self._wire.shutdown()

    def close(self) -> None:
        """The one that advances leaves: the call is cancelled, the seat given back, nothing awaited. Idempotent."""
        call = self._call
        if self._ticket is None and call.finished:
            self._tell_attempts()
            return
        now = self._runtime.now()
        self._cancelled = True
        self._delivered = False
        call.cancel(now)
        action = call.next_action(now)
        if isinstance(action, Release):
            self._release(action, now)
        self._tell_attempts()

    def abandon(self) -> None:
        """The pump is being collected. The socket is made useless; the next operation of the pool does the rest."""
        self._cancelled = True
        wire, ticket = self._wire, self._ticket
        self._wire = self._ticket = None
        if wire is not None:
            wire.shutdown()
        if ticket is not None:
            self._runtime.hands.abandoned.append(ticket)

    def __del__(self) -> None:
        if self._ticket is not None:
            self.abandon()

    # -- one action each; an answer is given unless the pump was cancelled meanwhile ---------------------------------

    def _do(self, action: Action) -> None:
        """What is done once in a while."""
        if isinstance(action, Connect):
            self._connect(action)
        elif isinstance(action, Wait):
            self._pause(self._runtime.bell(), action.until)
            if not self._cancelled:
                self._call.on_waited(self._runtime.now())
        elif isinstance(action, Authorize):
            self._ask_credential(action)
        else:
            raise LocalProtocolError(f"nobody can do {action!r}")

    def _send(self, action: Send) -> None:
        wire = self._wire
        if wire is None:
            raise LocalProtocolError("a Send without a connection")
        wire.send(action.data, action.deadline)
        if not self._cancelled:
            self._call.on_sent(self._runtime.now(), action.more and wire.answered())

    def _acquire(self, action: Acquire, now: float) -> None:
        hands, clock = self._runtime.hands, self._runtime.now
        ticket = self._ticket = hands.seat(action.route, action.fresh, now)
        while not ticket.granted:
            self._pause(hands.bell_of(ticket), min(action.deadline, now + SWEEP_EVERY))
            now = clock()
            if self._cancelled:
                return
            hands.sweep(now)
            if now >= action.deadline and not ticket.granted:
                raise Fault("timeout", _crowd(hands.stats()))
        while ticket.conn is not None and ticket.conn.unread():
            hands.stale(ticket, now)
        self._plug_in(ticket.conn)
        self._call.on_acquired(ticket.reused, now)

    def _connect(self, action: Connect) -> None:
        runtime, ticket, deadline = self._runtime, self._ticket, action.deadline
        if ticket is None:
            raise LocalProtocolError("a Connect without a seat")
        wire: SyncWire | None = None
        connected = False
        try:
            for step in action.steps:
                bell = runtime.bell()
                if isinstance(step, Tcp):
                    addresses = self._finish(runtime.resolve(step.host, step.port, bell), bell, deadline)
                    bell = runtime.bell()  # the one before may yet ring for what it found
                    if addresses is None or not self._may_wait(bell):
                        return
                    wire = runtime.dial(addresses, deadline, bell)
                elif wire is None:
                    raise LocalProtocolError(f"{step!r} before Tcp")
                elif isinstance(step, StartTLS):
                    self._finish(runtime.tls_ready(ticket.route, bell), bell, deadline)
                    if self._cancelled:
                        return
                    wire = runtime.secure(wire, ticket.route, step.name, deadline)
                elif isinstance(step, TunnelThrough):
                    _pass_through(step.tunnel, wire, deadline)
                self._plug_in(wire)
                if self._cancelled:
                    return
            if wire is None:
                raise LocalProtocolError("a Connect without steps")
            _expect_silence(wire, deadline)
            now = runtime.now()
            runtime.hands.connected(ticket, wire, now)
            connected = True
            self._call.on_connected(now)
        finally:
            if not connected:
                self._plug_in(None)
                if wire is not None:
                    wire.abort()

    def _release(self, action: Release, now: float) -> None:
        wire, ticket = self._wire, self._ticket
        self._plug_in(None)
        self._ticket = None
        if ticket is not None:
            hands = self._runtime.hands
            if action.reusable and wire is not None and not wire.unread():
                hands.release(ticket, True, now, action.idle_hint)
            elif self._cancelled:
                hands.cancel(ticket, now)
            else:
                hands.release(ticket, False, now)
        self._call.on_released(now)
        self._tell_attempts()

    def _ask_credential(self, action: Authorize) -> None:
        if self._authorize is None:
            raise LocalProtocolError("a call without an operation needs `authorize`")
        bell = self._runtime.bell()
        if not self._may_wait(bell):
            return
        try:
            operation = self._runtime.within(self._authorize(action.refresh), action.deadline, bell)
        except Fault:
            raise
        except Exception as error:  # noqa: BLE001  a user's callable raises what it likes
            raise Fault("auth_callable", f"{type(error).__name__}: {error}", error) from None
        if not self._cancelled:
            self._call.on_authorized(operation, self._runtime.now())

    # -- small words -------------------------------------------------------------------------------------------------

    def _finish(self, job: Job[T], bell: SyncBell, deadline: float) -> T | None:
        """Wait for a job of another thread. None if the pump was cancelled."""
        try:
            if not job.done:
                self._pause(bell, deadline)
            if self._cancelled:
                return None
            if not job.done:
                raise Fault("timeout", f"{job.what} took too long")
            return job.value()
        finally:
            job.unwatch(bell)

    def _pause(self, bell: SyncBell, until: float) -> None:
        """Until the time has come, or somebody rings: the bell's owner or `cancel`."""
        if self._may_wait(bell):
            bell.wait(until)

    def _may_wait(self, bell: SyncBell) -> bool:
        """Give `cancel` the bell, and see whether it came before."""
        with self._guard:
            self._bell = bell
        return not self._cancelled

    def _plug_in(self, wire: SyncWire | None) -> None:
        with self._guard:
            self._wire = wire
            self._bell = None

    def _tell_attempts(self) -> None:
        if self._on_attempt is not None:
            for attempt in self._call.attempts[self._told :]:
                self._told += 1
                self._on_attempt(attempt)


def _pass_through(tunnel: Tunnel, wire: SyncWire, deadline: float) -> None:
    """An HTTP CONNECT exchange on a fresh connection to a proxy."""
    wire.send(tunnel.request(), deadline)
    while not tunnel.done:
        data = wire.receive(4096, deadline)
        if not data:
            raise Fault("proxy_refused", "the proxy closed the connection without an answer to CONNECT")
        tunnel.receive_data(data)
        if tunnel.error is not None:
            raise Fault("proxy_refused", tunnel.error)


def _expect_silence(wire: SyncWire, deadline: float) -> None:
    """Nobody has asked anything on this connection yet, so what has come is nobody's answer."""
    if wire.answered():
        raise unasked(wire.receive(64, deadline))


def _crowd(stats: PoolStats) -> str:
    return f"{stats.leased} leased, {stats.connecting} connecting, {stats.waiting} waiting"
