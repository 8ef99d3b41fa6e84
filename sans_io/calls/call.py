"""One logical call, from the first attempt to the last byte: what next, and what an answer or a failure means.

    ADMIT ─> [AUTHORIZE] ─> ACQUIRE ─> CONNECT ─> SEND ─> RECEIVE ⇄ DELIVER ─> [DRAIN] ─> RELEASE ─> DONE
      ▲                        │          │         │        │                              │
      └──────── WAIT <─────────┴──────────┴─────────┴────────┴──── failed, not committed ───┘

Rules of this file:
- One action is outstanding at a time and `next_action` returns it until it is answered (R3).
- Every Acquire is followed by exactly one Release, also when it failed.
- COMMIT is the first Deliver: after it nothing is ever tried again (R7). Usage alone does not commit.
- Time is an argument. Deadlines are absolute; none is later than the one of the whole call (R2).
- Failures are inputs. Only an answer to a question that was not asked raises (`LocalProtocolError`, R4).
- What has arrived by a deadline counts, however late it is looked at: past it one more read takes what is there.
- A finished call stays finished: exactly one of `response` and `error` is set (R6).
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias, TypeVar, cast

from ..chat.content import has_content
from ..chat.events import Event
from ..chat.response import Attempt, ChatResponse
from ..errors import LLMError, LLMStreamError, LocalProtocolError
from ..http.heads import ResponseHead
from ..http.server_hints import retry_after, should_retry
from ..limits import DEFAULT_LIMITS, Limits
from ..policy.deadline import AT_ONCE, NEVER, Timers, after
from ..policy.pool import Route
from ..policy.retry import (
    FATAL,
    MAY_HAVE_RUN,
    TRANSIENT,
    TRANSPARENT,
    Again,
    Budget,
    RetryBudget,
    RetryClass,
    RetryPolicy,
    RetryState,
    retry_table,
)
from ..providers.base import Operation
from . import failures
from .actions import (
    Acquire,
    Action,
    Authorize,
    Connect,
    Deliver,
    Receive,
    Release,
    Send,
    Wait,
    dial_steps,
    forwarding_proxy,
)
from .attempt import Try
from .exchange import Exchange
from .failures import Clock, Failure, FaultKind, ReportedFault

State: TypeAlias = Literal[
    "AUTHORIZE", "ACQUIRE", "CONNECT", "SEND", "RECEIVE", "DELIVER", "DRAIN", "RELEASE", "WAIT", "DONE"
]

#: From each state, the states that an input can lead to. The docs' diagram is drawn from it and tests walk it.
TRANSITIONS: Final[dict[State, tuple[State, ...]]] = {
    "AUTHORIZE": ("ACQUIRE", "DONE"),
    "ACQUIRE": ("CONNECT", "SEND", "RELEASE"),
    "CONNECT": ("SEND", "RELEASE"),
    "SEND": ("SEND", "RECEIVE", "RELEASE"),
    "RECEIVE": ("RECEIVE", "DELIVER", "DRAIN", "RELEASE"),
    "DELIVER": ("RECEIVE", "DELIVER", "DRAIN", "RELEASE"),
    "DRAIN": ("DRAIN", "RELEASE"),
    "RELEASE": ("WAIT", "ACQUIRE", "AUTHORIZE", "DONE"),
    "WAIT": ("ACQUIRE", "AUTHORIZE", "DONE"),
    "DONE": (),
}

#: One piece of a request: what a socket buffer usually takes at once, so that progress can be seen.
SEND_PIECE: Final = 64 * 1024
#: One read.
READ_SIZE: Final = 64 * 1024
#: Seconds to look for an early answer (413, 401) after a write failed.
EARLY_ANSWER: Final = 1.0
#: Seconds to wait for the end of the HTTP message after the end of the content, so that the connection can be reused.
DRAIN: Final = 0.1
#: Seconds to read on after all that counts has come: a finish reason (usage and the terminal event follow), or a status
#: that is an error (its body says why).
FINISHING: Final = 5.0
#: The longest pause in the body of an error.
EXPLAINING: Final = 1.0

_Action = TypeVar("_Action", bound=Action)


class Call:
    """One call. Drive it: `action = call.next_action(now)`, do it, answer with the input its docstring names.

    `now` is the transport's monotonic clock in seconds, in every input. `operation` None: it is asked for with
    `Authorize` before the first attempt (callable credentials), and once more after a 401. `stream` False: nothing
    is delivered piecewise; read `response` at the end. `seed` is the call's jitter. `epoch_offset` is what to add to
    `now` to have seconds since 1970 (None: Retry-After dates need the response's own Date).

    Finished when `next_action` returns None: then exactly one of `response` and `error` is set.
    """

    __slots__ = (
        "_action", "_again", "_authorizes", "_billed", "_commit_at", "_epoch_offset", "_exchange",
        "_fresh", "_held", "_limits", "_operation", "_phase", "_receive", "_refreshed", "_retries", "_seat",
        "_total_at", "_try", "attempts", "committed", "error", "response", "route", "state", "stream",
        "timers",
    )  # fmt: skip

    def __init__(
        self,
        operation: Operation | None,
        route: Route,
        timers: Timers,
        *,
        now: float,
        retry: RetryPolicy | None = None,
        budget: Budget | None = None,
        seed: int = 0,
        stream: bool = False,
        limits: Limits = DEFAULT_LIMITS,
        epoch_offset: float | None = None,
    ) -> None:
        self.route = route
        self.timers = timers
        self.state: State = "ACQUIRE"
        self.response: ChatResponse | None = None
        self.error: LLMError | None = None
        self.attempts: tuple[Attempt, ...] = ()
        self.committed = False
        self._operation = operation
        self._authorizes = operation is None
        self._refreshed = False
        self.stream = stream
        self._limits = limits
        self._epoch_offset = epoch_offset
        self._retries = RetryState(retry or _DEFAULT_POLICY, budget or RetryBudget(), seed)
        self._total_at = after(now, timers.total)
        self._commit_at = min(self._total_at, after(now, timers.until_commit))
        self._seat = False
        self._fresh = False
        self._billed = False
        self._phase = "acquire"
        self._receive = Receive(READ_SIZE, NEVER)
        self._action: Action | None = None
        self._exchange: Exchange | None = None
        self._again: Again | None = None
        self._held: list[Event] = []
        self._begin("first", now)

    # -- what next ---------------------------------------------------------------------------------------------------

    @property
    def finished(self) -> bool:
        return self.state == "DONE"

    @property
    def whole(self) -> bool:
        """Whether the reply has arrived in full, its last events included: what is left is to settle the connection."""
        exchange = self._exchange
        if self.response is not None:
            return True
        return self.error is None and exchange is not None and exchange.done and exchange.error is None

    @property
    def partial(self) -> ChatResponse | None:
        """What has arrived so far; None before the first byte of a 2xx body."""
        if self.response is not None:
            return self.response
        if self.error is not None and self.error.partial is not None:
            return self.error.partial
        return None if self._exchange is None else self._exchange.response()

    def next_action(self, now: float) -> Action | None:
        """The one thing to do now; None when the call is finished. Asking again returns an equal action."""
        return self._action

    def reseed(self, seed: int) -> None:
        """Roll the jitter from this seed from now on, so that a simulated transport can be replayed."""
        self._retries = RetryState(self._retries.policy, self._retries.budget, seed)

    # -- answers -----------------------------------------------------------------------------------------------------

    def on_authorized(self, operation: Operation, now: float) -> None:
        """The credential was renewed. Next: `next_action`."""
        self._answering(Authorize)
        self._operation = operation
        self._acquire(now)

    def on_acquired(self, reused: bool, now: float) -> None:
        """A seat was granted. `reused` False: dial, so a Connect follows."""
        self._answering(Acquire)
        self._try.connection = "reused" if reused else "new"
        if reused:
            self._send(now)
            return
        self._enter("CONNECT", "connect")
        self._action = Connect(
            dial_steps(self.route, self._limits), min(after(now, self.timers.connect), self._commit_at)
        )

    def on_connected(self, now: float) -> None:
        """The dial succeeded."""
        self._answering(Connect)
        self._send(now)

    def on_sent(self, now: float, early: bool = False) -> None:
        """All of `Send.data` was written. `early`: the peer has begun to answer although more is to be sent."""
        action, attempt, exchange = self._answering(Send), self._try, self._running(Send)
        attempt.sent += len(action.data)
        if attempt.sent < len(attempt.view) and not early:
            if now < self._commit_at:
                self._send_piece(now)
            else:
                self._send_failed(exchange, ReportedFault("timeout"), now)
            return
        exchange.sent_all = attempt.sent == len(attempt.view)
        exchange.early = not exchange.sent_all
        self._enter("RECEIVE", "head")
        attempt.sent_at = attempt.content_at = now
        self._receive.deadline = min(after(now, self.timers.first_token), self._commit_at)
        self._action = self._receive

    def on_data(self, data: bytes, now: float) -> None:
        """Bytes were read (never empty: the end of the stream is `on_eof`)."""
        exchange = self._running(Receive)
        if self.state == "DRAIN":
            exchange.receive_data(data)
            self._drain(exchange, now)
            return
        events = exchange.receive_data(data)
        if events and self.stream:
            # Late, only content is still handed over.
            if (self.committed and now < self._receive.deadline) or self._commits(events):
                self._deliver(events, now)
                return
            self._held += events
        if exchange.done:
            self._conclude(exchange, now)
        else:
            self._receive_on(exchange, now)

    def on_eof(self, now: float) -> None:
        """The peer closed its side."""
        exchange = self._running(Receive)
        if self.state == "DRAIN":
            exchange.receive_eof()
            self._release(reusable=False)
        elif exchange.http.started:
            self._take_last(exchange, exchange.receive_eof(), now)
        else:
            self._broken(exchange, ReportedFault("reset", "the server closed the connection without answering"), now)

    def on_delivered(self, now: float) -> None:
        """The user has taken the events and asks for more."""
        exchange = self._running(Deliver)
        if exchange.done:
            self._conclude(exchange, now)
            return
        self.state = "RECEIVE"
        if not self._rearm(exchange, now):
            # Usage alone. What the user did meanwhile was no silence of the server.
            deadline = self._receive.deadline + now - self._try.delivered_at
            self._receive.deadline = min(deadline, self._total_at)
        if now < self._receive.deadline:
            self._action = self._receive
        elif self._try.overdue:
            self._receive_failed(exchange, ReportedFault("timeout"), now)
        else:
            self._try.overdue = True
            self._look()

    def on_released(self, now: float) -> None:
        """The seat was given back."""
        self._answering(Release)
        self._seat = False
        self._settle(now)

    def on_waited(self, now: float) -> None:
        """The time of `Wait.until` has come."""
        self._answering(Wait)
        self._begin(self._try.condition, now)

    def on_error(self, kind: FaultKind, now: float, detail: str = "", cause: BaseException | None = None) -> None:
        """The action could not be done. `detail` is one line of text for people, `cause` becomes `__cause__`."""
        fault = ReportedFault(kind, detail, cause)
        clock = self._clock(now)
        exchange = self._exchange
        match self.state:
            case "RECEIVE" if exchange is not None:
                self._receive_failed(exchange, fault, now)
            case "SEND" if exchange is not None:
                self._send_failed(exchange, fault, now)
            case "DRAIN":
                self._release(reusable=False)
            case "CONNECT":
                self._failed(failures.of_dial(fault, self.route, self.timers, clock), now)
            case "ACQUIRE":
                self._failed(failures.of_queue(fault, self.route, self.timers, clock, self._phase), now)
            case "AUTHORIZE":
                self._give_up(failures.of_queue(fault, self.route, self.timers, clock, self._phase).error)
            case "RELEASE":
                self.on_released(now)
            case "WAIT":
                self._give_up(failures.deadline_passed(clock.total, "backoff"))
            case _:
                raise LocalProtocolError(f"on_error({kind!r}) while {self._action!r} is outstanding")

    def cancel(self, now: float) -> None:
        """The caller leaves. Any time, any number of times. Afterwards at most a Release, then None.

        A reply that is whole already is kept, with its connection: only its last events were not asked for.
        """
        if self.state == "DONE":
            return
        exchange = self._exchange
        if self.state in ("DELIVER", "DRAIN") and exchange is not None and exchange.done and exchange.error is None:
            self.response = exchange.response()
            self._release(reusable=exchange.clean)
        elif not self._seat:
            self._give_up(self._cancellation())
        elif self.state != "RELEASE":
            self._try.failed(self._cancellation(), "cancelled", self._operation, self.route, stream=self.stream)
            self._release(reusable=False)
        elif self._again is not None:
            self._again = None
            self._try.error = self._cancellation()

    def break_off(self) -> None:
        """End here and now, whatever was going on: an exception has left an input half done. The seat is the caller's
        to give back. Nothing is looked at that may be half changed; a response or error that is set already stays.
        """
        if self.state == "DONE":
            return
        if self.response is None and self.error is None:
            self.error = LLMStreamError("the call was interrupted", code="cancelled")
        self._finish()

    # -- an attempt, forwards ----------------------------------------------------------------------------------------

    def _begin(self, reason: str, now: float) -> None:
        self._try = Try(reason, now)
        self._exchange = None
        self._again = None
        self._held = []
        if self._operation is None:
            self._enter("AUTHORIZE", "authorize")
            self._action = Authorize(self._refreshed, self._commit_at)
        else:
            self._acquire(now)

    def _acquire(self, now: float) -> None:
        self._enter("ACQUIRE", "acquire")
        self._seat = True
        self._action = Acquire(self.route, min(after(now, self.timers.pool), self._commit_at), self._fresh)

    def _send(self, now: float) -> None:
        if now >= self._commit_at:  # the seat or the connection came too late: nothing is sent any more
            clock = self._clock(now)
            self._failed(failures.of_queue(ReportedFault("timeout"), self.route, self.timers, clock, self._phase), now)
            return
        operation = cast("Operation", self._operation)  # without one no Acquire is asked for
        self._exchange = self._try.exchange = Exchange(operation, self._limits)
        self._try.view = operation.request.wire(forwarding_proxy(self.route))
        self._enter("SEND", "write")
        self._send_piece(now)

    def _send_piece(self, now: float) -> None:
        view, sent = self._try.view, self._try.sent
        piece = view[sent : sent + SEND_PIECE]
        more = sent + len(piece) < len(view)
        self._action = Send(piece, min(after(now, self.timers.write), self._commit_at), more)

    def _receive_on(self, exchange: Exchange, now: float) -> None:
        """Nothing for the user in this read."""
        self.state = "RECEIVE"
        begun = self._phase == "head" and exchange.head is not None
        if begun:
            self._phase = "body"
        self._rearm(exchange, now, whole=begun and not self.stream)
        if now < self._receive.deadline:
            self._action = self._receive
        elif self._receive.deadline > AT_ONCE:
            self._look()
        else:
            self._receive_failed(exchange, ReportedFault("timeout"), now)

    def _look(self) -> None:
        """Past a deadline: read once more, without waiting. The rest of the reply may have arrived before it passed."""
        self._receive.deadline = AT_ONCE
        self._action = self._receive

    def _rearm(self, exchange: Exchange, now: float, *, whole: bool = False) -> bool:
        """Restart the idle timer if content came (`chat.content`), or the head of a whole reply; whether it did.

        Once all that counts has come, what may still follow has one time for all of it. A body that only explains a
        refusal has that too, and may not stall.
        """
        attempt = self._try
        explaining = exchange.explaining
        if exchange.content_events == attempt.content_seen and not whole and not explaining:
            return False
        attempt.content_at = now
        attempt.content_seen = exchange.content_events
        attempt.keepalives_seen = exchange.keepalives
        idle_at = after(now, self.timers.idle)
        if exchange.finishing:
            if attempt.finish_at == NEVER:
                attempt.finish_at = min(self._receive.deadline if explaining else idle_at, now + FINISHING)
            idle_at = min(attempt.finish_at, now + EXPLAINING) if explaining else attempt.finish_at
        limit = self._total_at if self.committed else self._commit_at
        self._receive.deadline = idle_at if idle_at < limit else limit
        return True

    def _commits(self, events: list[Event]) -> bool:
        """Usage alone is held back: servers send it with the head and fail afterwards."""
        if not has_content(events):
            return False
        self.committed = True
        self._phase = "stream"
        return True

    def _deliver(self, events: list[Event], now: float) -> None:
        if self._held:
            events = self._held + events
            self._held = []
        self.state = "DELIVER"
        self._try.delivered_at = now
        self._action = Deliver(events)

    # -- how an attempt ends -----------------------------------------------------------------------------------------

    def _take_last(self, exchange: Exchange, events: list[Event], now: float) -> None:
        """The events of the end of the body; the exchange is done."""
        if events and self.stream and (self.committed or self._commits(events)):
            self._deliver(events, now)
        else:
            self._conclude(exchange, now)

    def _conclude(self, exchange: Exchange, now: float) -> None:
        """The exchange is done: whole, or with an error of its own."""
        error, condition = exchange.error, exchange.condition or "garbled"
        head, operation = exchange.head, self._operation
        if error is None:
            self._complete(exchange, now)
        elif condition == "status" and head is not None and operation is not None:
            self._refused(error, head, operation, now)
        elif condition == "truncated" and (exchange.head is None or not self.stream):
            cut = failures.broke_in_reply(error.message, self.route.origin, "head" if exchange.head is None else "body")
            cut.__cause__ = error
            self._failed(Failure(cut, condition), now)
        else:
            self._failed(Failure(error, condition), now)

    def _complete(self, exchange: Exchange, now: float) -> None:
        self.response = exchange.response()
        if self._held:
            held, self._held = self._held, []
            self.committed = True
            self._deliver(held, now)
            return
        http = exchange.http
        drains = self.stream and exchange.sent_all and http.framing != "close"
        if drains and not http.ended and http.error is None:
            self._receive.deadline = min(now + DRAIN, self._total_at)
            self._drain(exchange, now)
        else:
            self._release(reusable=exchange.clean)

    def _drain(self, exchange: Exchange, now: float) -> None:
        http = exchange.http
        if http.ended or http.error is not None or now >= self._receive.deadline:
            self._release(reusable=exchange.clean)
        else:
            self.state = "DRAIN"
            self._action = self._receive

    def _refused(self, error: LLMError, head: ResponseHead, operation: Operation, now: float) -> None:
        """A reply with an error status."""
        proxys = failures.of_proxy(head, error, self.route)
        if proxys is not None:
            self._failed(proxys, now)
            return
        self._try.failed(error, str(head.status), operation, self.route, stream=self.stream)
        if head.status == 401 and self._authorizes and not self._refreshed:
            self._refreshed = True
            self._operation = None
            self._again = Again(now, 0.0, "immediate")
            self._release(reusable=self._reusable)
            return
        retry_class = operation.retry_table.of_error(error, head.status)
        exchange = self._exchange
        if retry_class in MAY_HAVE_RUN and exchange is not None and exchange.sent_all:
            self._billed = True
        told = should_retry(head.headers)
        if told is not None:
            retry_class = FATAL if not told else TRANSIENT if retry_class == FATAL else retry_class
        wall_now = None if self._epoch_offset is None else now + self._epoch_offset
        hint = retry_after(head.headers, wall_now)
        if hint is not None:
            error.retry_after = hint
        self._decide(error, retry_class, now)

    def _failed(self, failure: Failure, now: float) -> None:
        """Anything else: the condition is a fault of the table, or "event" for an error inside a 2xx."""
        error, condition = failure
        table = _DEFAULT_TABLE if self._operation is None else self._operation.retry_table
        self._try.failed(error, condition, self._operation, self.route, stream=self.stream)
        if condition == "event":
            retry_class = table.of_error(error, error.status_code)
        else:
            retry_class = table.of_fault(condition)
        self._decide(error, retry_class, now)

    def _decide(self, error: LLMError, retry_class: RetryClass, now: float) -> None:
        attempt = self._try
        if attempt.may_be_billed and retry_class != TRANSPARENT:
            self._billed = True
        if not self.committed:
            decision = self._retries.on_failure(attempt.condition, retry_class, error.retry_after, now, self._commit_at)
            if isinstance(decision, Again):
                self._again = decision
                self._fresh = attempt.condition == "stale"
            else:
                error.retry_suppressed = decision.suppressed
        self._release(reusable=self._reusable)

    def _release(self, *, reusable: bool) -> None:
        self.state = "RELEASE"
        exchange = self._exchange
        hint = exchange.http.keep_alive_timeout if reusable and exchange is not None else None
        self._action = Release(reusable, hint)

    def _settle(self, now: float) -> None:
        """After the release: write the attempt down, then wait, begin again, or finish."""
        attempt, again = self._try, self._again
        self.attempts = (*self.attempts, attempt.row(len(self.attempts) + 1, now, self._operation, again))
        if again is not None and again.delay > 0:
            self._enter("WAIT", "backoff")
            self._action = Wait(again.at)
        elif again is not None:
            self._begin(attempt.condition, now)
        elif self.response is not None and attempt.error is None:
            self._retries.on_success()
            self.response.attempts = self.attempts
            self._finish()
        else:
            self._give_up(attempt.error or self._cancellation())

    def _give_up(self, error: LLMError) -> None:
        operation = self._operation
        if operation is not None:
            error.provider = error.provider or operation.provider
            error.model = error.model or operation.model
        error.phase = error.phase or self._phase
        error.may_be_billed = error.may_be_billed or self._billed
        error.attempts = self.attempts
        self.response = None
        self.error = error
        self._finish()

    def _finish(self) -> None:
        self.state = "DONE"
        self._action = None

    # -- failures on a standing connection ---------------------------------------------------------------------------

    def _send_failed(self, exchange: Exchange, fault: ReportedFault, now: float) -> None:
        """A server that refuses early answers and closes: its answer tells more than our broken pipe."""
        if fault.kind == "timeout" and now >= self._commit_at:
            self._broken(exchange, fault, now)
            return
        self._try.write_failure = fault
        self.state = "RECEIVE"
        self._receive.deadline = min(now + EARLY_ANSWER, self._commit_at)
        self._action = self._receive

    def _receive_failed(self, exchange: Exchange, fault: ReportedFault, now: float) -> None:
        attempt = self._try
        if exchange.finishing:
            self._take_last(exchange, exchange.finish(), now)
        elif fault.kind != "timeout" or attempt.write_failure is not None:
            self._broken(exchange, fault, now)
        else:
            clock = self._clock(now)
            timer: Literal["idle", "first_token"] = "idle" if self._idles else "first_token"
            self._failed(failures.of_silence(timer, attempt, exchange, self.timers, clock, now, self._phase), now)

    def _broken(self, exchange: Exchange, fault: ReportedFault, now: float) -> None:
        """The connection broke, or writing failed."""
        attempt = self._try
        if attempt.write_failure is not None and not exchange.http.started:
            fault = attempt.write_failure
        clock = self._clock(now)
        self._failed(
            failures.of_break(fault, attempt, exchange, self.route, self.timers, clock, now, committed=self.committed),
            now,
        )

    # -- small words -------------------------------------------------------------------------------------------------

    def _enter(self, state: State, phase: str) -> None:
        self.state = state
        self._phase = phase

    @property
    def _idles(self) -> bool:
        """Which timer runs: before the first content of a stream, or the head of a whole reply, it is `first_token`."""
        return self._try.content_seen > 0 or (not self.stream and self._phase == "body")

    @property
    def _reusable(self) -> bool:
        return self._exchange is not None and self._exchange.clean

    def _clock(self, now: float) -> Clock:
        limit = self._total_at if self.committed else self._commit_at
        timers = self.timers
        return Clock(now >= limit, timers.total if limit == self._total_at else timers.until_commit)

    def _answering(self, wanted: type[_Action]) -> _Action:
        action = self._action
        if type(action) is not wanted:
            raise self._out_of_turn(wanted)
        return action

    def _running(self, wanted: type[Action]) -> Exchange:
        """The exchange that an answer to `wanted` speaks of."""
        exchange = self._exchange
        if type(self._action) is not wanted or exchange is None:
            raise self._out_of_turn(wanted)
        return exchange

    def _out_of_turn(self, wanted: type[object]) -> LocalProtocolError:
        return LocalProtocolError(f"an answer to {wanted.__name__} while {self._action!r} is outstanding")

    def _cancellation(self) -> LLMError:
        partial = self._exchange.response() if self.stream and self._exchange is not None else None
        return LLMStreamError("the call was cancelled", code="cancelled", partial=partial)


_DEFAULT_POLICY: Final = RetryPolicy()
_DEFAULT_TABLE: Final = retry_table()
