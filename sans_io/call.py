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
- A finished call stays finished: exactly one of `response` and `error` is set (R6).
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias, TypeVar

from . import failing
from .actions import Acquire, Action, Authorize, Connect, Deliver, Receive, Release, Send, Wait
from .errors import LLMError, LLMStreamError, LocalProtocolError
from .events import Event, UsageReported
from .exchange import Exchange
from .faults import FaultKind
from .policy.deadline import NEVER, Timers, after
from .policy.limits import DEFAULT_LIMITS, Limits
from .policy.pool import Route
from .policy.retry import FATAL, TRANSIENT, Again, Budget, RetryBudget, RetryClass, RetryPolicy, RetryState
from .policy.retry import retry_after as hint_in
from .policy.retry import retry_table, should_retry
from .providers.base import Operation
from .response import Attempt, ChatResponse
from .steps import dial_steps, forwarding_proxy

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
    "DELIVER": ("RECEIVE", "DRAIN", "RELEASE"),
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
#: Seconds to read on after a finish reason, for usage and the terminal event.
FINISHING: Final = 5.0

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
        "_action", "_after_release", "_attempt_error", "_attempt_reason", "_attempt_started",
        "_authorizes", "_billed", "_cancelled", "_commit_at", "_condition", "_connection", "_content_seen",
        "_epoch_offset", "_exchange", "_finish_at", "_fresh", "_held", "_keepalives_seen", "_limits", "_operation",
        "_phase", "_receive", "_refreshed", "_retries", "_reused", "_seat", "_sent", "_sent_at", "_stream",
        "timers", "_total_at", "_view", "_write_fault", "attempts", "committed", "error", "response", "route",
        "state",
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
        self.state: State = "ACQUIRE"
        self.response: ChatResponse | None = None
        self.error: LLMError | None = None
        self.attempts: tuple[Attempt, ...] = ()
        self.committed = False
        self._operation = operation
        self._authorizes = operation is None
        self._refreshed = False
        self.timers = timers
        self._stream = stream
        self._limits = limits
        self._epoch_offset = epoch_offset
        self._retries = RetryState(retry or _DEFAULT_POLICY, budget or RetryBudget(), seed)
        self._total_at = after(now, timers.total)
        self._commit_at = min(self._total_at, after(now, timers.until_commit))
        self._held: list[Event] = []
        self._seat = False
        self._fresh = False
        self._billed = False
        self._phase = "acquire"
        self._cancelled = False
        self._attempt_reason = "first"
        self._receive = Receive(READ_SIZE, NEVER)
        self._action: Action | None = None
        self._begin(now)

    # -- what next ---------------------------------------------------------------------------------------------------

    @property
    def finished(self) -> bool:
        return self.state == "DONE"

    @property
    def whole(self) -> bool:
        """Whether the reply has arrived in full, its last events included: what is left is to settle the connection."""
        if self.response is not None:
            return True
        exchange = self._exchange
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

    # -- answers -----------------------------------------------------------------------------------------------------

    def on_authorized(self, operation: Operation, now: float) -> None:
        """The credential was renewed. Next: `next_action`."""
        self._answering(Authorize)
        self._operation = operation
        self._acquire(now)

    def on_acquired(self, reused: bool, now: float) -> None:
        """A seat was granted. `reused` False: dial, so a Connect follows."""
        self._answering(Acquire)
        self._reused = reused
        self._connection = "reused" if reused else "new"
        if reused:
            self._send(now)
            return
        self.state = "CONNECT"
        self._phase = "connect"
        self._action = Connect(dial_steps(self.route), min(after(now, self.timers.connect), self._commit_at))

    def on_connected(self, now: float) -> None:
        """The dial succeeded."""
        self._answering(Connect)
        self._send(now)

    def on_sent(self, now: float, early: bool = False) -> None:
        """All of `Send.data` was written. `early`: the peer has begun to answer although more is to be sent."""
        action = self._answering(Send)
        self._sent += len(action.data)
        exchange = self._running()
        if self._sent < len(self._view):
            if early:
                exchange.early = True
                self._await_head(now)
                return
            self._send_piece(now)
            return
        exchange.sent_all = True
        self._await_head(now)

    def on_data(self, data: bytes, now: float) -> None:
        """Bytes were read (never empty: the end of the stream is `on_eof`)."""
        self._answering(Receive)
        exchange = self._running()
        if self.state == "DRAIN":
            exchange.receive_data(data)
            self._drain(now)
            return
        events = exchange.receive_data(data)
        if events and self._stream:
            if self.committed or self._commits(events):
                self._deliver(events)
                return
            self._held += events
        if exchange.done:
            self._conclude(now)
        else:
            self._receive_on(exchange, now)

    def on_eof(self, now: float) -> None:
        """The peer closed its side."""
        self._answering(Receive)
        exchange = self._running()
        if self.state == "DRAIN":
            exchange.receive_eof()
            self._release(now, reusable=False)
            return
        if not exchange.http.started:
            self._broken("reset", now, "the server closed the connection without an answer", None)
            return
        self._take_last(exchange.receive_eof(), now)

    def on_delivered(self, now: float) -> None:
        """The user has taken the events and asks for more."""
        self._answering(Deliver)
        exchange = self._running()
        if exchange.done:
            self._conclude(now)
            return
        self.state = "RECEIVE"
        self._content_seen = exchange.content_events
        self._keepalives_seen = exchange.keepalives
        self._rearm(exchange, now)
        self._action = self._receive

    def on_released(self, now: float) -> None:
        """The seat was given back."""
        self._answering(Release)
        self._seat = False
        self._settle(now)

    def on_waited(self, now: float) -> None:
        """The time of `Wait.until` has come."""
        self._answering(Wait)
        self._begin(now)

    def on_error(self, kind: FaultKind, now: float, detail: str = "", cause: BaseException | None = None) -> None:
        """The action could not be done. `detail` is one line of text for people, `cause` becomes `__cause__`."""
        action = self._action
        match self.state:
            case "RECEIVE":
                self._receive_failed(kind, now, detail, cause)
            case "SEND":
                self._send_failed(kind, now, detail, cause)
            case "DRAIN":
                self._release(now, reusable=False)
            case "CONNECT":
                self._dial_failed(kind, now, detail, cause)
            case "ACQUIRE" | "AUTHORIZE":
                self._not_begun(kind, now, detail, cause)
            case "RELEASE":
                self.on_released(now)
            case "WAIT":
                self._give_up(failing.deadline_passed(self._total_shown(), "backoff"), now)
            case _:
                raise LocalProtocolError(f"on_error({kind!r}) while {action!r} is outstanding")

    def cancel(self, now: float) -> None:
        """The caller leaves. Any time, any number of times. Afterwards at most a Release, then None.

        A reply that is whole already is kept, with its connection: only its last events were not asked for.
        """
        if self._cancelled or self.state == "DONE":
            return
        self._cancelled = True
        exchange = self._exchange
        if self.state in ("DELIVER", "DRAIN") and exchange is not None and exchange.done and exchange.error is None:
            self.response = exchange.response()
            self._release(now, reusable=exchange.clean)
        elif not self._seat:
            self._give_up(self._cancellation(), now)
        elif self.state != "RELEASE":
            self._condition = "cancelled"
            self._attempt_error = self._cancellation()
            self._release(now, reusable=False)
        elif self._after_release is not None:
            self._after_release = None
            self._attempt_error = self._cancellation()

    # -- an attempt, forwards ----------------------------------------------------------------------------------------

    def _begin(self, now: float) -> None:
        self._attempt_started = now
        self._connection: str | None = None
        self._reused = False
        self._exchange: Exchange | None = None
        self._condition = "ok"
        self._attempt_error: LLMError | None = None
        self._after_release: Again | None = None
        self._write_fault: tuple[FaultKind, str, BaseException | None] | None = None
        self._finish_at = NEVER
        self._content_seen = self._keepalives_seen = 0
        self._held = []
        if self._operation is None:
            self.state = "AUTHORIZE"
            self._phase = "authorize"
            self._action = Authorize(self._refreshed, self._commit_at)
        else:
            self._acquire(now)

    def _acquire(self, now: float) -> None:
        self.state = "ACQUIRE"
        self._phase = "acquire"
        self._seat = True
        self._action = Acquire(self.route, min(after(now, self.timers.pool), self._commit_at), self._fresh)

    def _send(self, now: float) -> None:
        operation = self._operation
        if operation is None:
            raise LocalProtocolError("no operation to send")
        self._exchange = Exchange(operation, self._limits)
        self.state = "SEND"
        self._phase = "write"
        self._view = operation.request.wire(forwarding_proxy(self.route))
        self._sent = 0
        self._send_piece(now)

    def _send_piece(self, now: float) -> None:
        piece = self._view[self._sent : self._sent + SEND_PIECE]
        more = self._sent + len(piece) < len(self._view)
        self._action = Send(piece, min(after(now, self.timers.write), self._commit_at), more)

    def _await_head(self, now: float) -> None:
        self.state = "RECEIVE"
        self._phase = "head"
        self._sent_at = now
        self._receive.deadline = min(after(now, self.timers.first_token), self._commit_at)
        self._action = self._receive

    def _receive_on(self, exchange: Exchange, now: float) -> None:
        """Nothing for the user in this read; content restarts the idle timer, keep-alives do not."""
        self.state = "RECEIVE"
        if self._phase == "head" and exchange.head is not None:
            self._phase = "body"
            if not self._stream:
                self._rearm(exchange, now)
        if self.committed or not self._stream:
            seen = exchange.content_events
            if seen != self._content_seen:
                self._content_seen = seen
                self._keepalives_seen = exchange.keepalives
                self._rearm(exchange, now)
        if exchange.finishing and self._finish_at == NEVER:
            self._rearm(exchange, now)
        if now >= self._receive.deadline:
            self._receive_failed("timeout", now, "", None)
            return
        self._action = self._receive

    def _rearm(self, exchange: Exchange, now: float) -> None:
        limit = self._total_at if self.committed else self._commit_at
        idle_at = after(now, self.timers.idle)
        if exchange.finishing:
            if self._finish_at == NEVER:
                self._finish_at = min(idle_at, now + FINISHING)
            idle_at = self._finish_at
        self._receive.deadline = idle_at if idle_at < limit else limit

    def _commits(self, events: list[Event]) -> bool:
        """Usage alone is held back: servers send it with the head and fail afterwards."""
        for event in events:
            if type(event) is not UsageReported:
                self.committed = True
                self._phase = "stream"
                return True
        return False

    def _deliver(self, events: list[Event]) -> None:
        if self._held:
            events = self._held + events
            self._held = []
        self.state = "DELIVER"
        self._action = Deliver(events)

    # -- how an attempt ends -----------------------------------------------------------------------------------------

    def _take_last(self, events: list[Event], now: float) -> None:
        """The events of the end of the body; the exchange is done."""
        if events and self._stream and (self.committed or self._commits(events)):
            self._deliver(events)
        else:
            self._conclude(now)

    def _conclude(self, now: float) -> None:
        """The exchange is done: whole, or with an error of its own."""
        exchange = self._running()
        error = exchange.error
        if error is None:
            self._complete(now)
            return
        if exchange.condition == "truncated" and not self._stream:
            cut = failing.broke_in_reply(error.message, self.route.origin)
            cut.__cause__ = error
            error = cut
        if exchange.condition == "status":
            self._refused(error, now)
        else:
            self._failed(error, exchange.condition or "garbled", now)

    def _complete(self, now: float) -> None:
        exchange = self._running()
        self.response = exchange.response()
        if self._held:
            held, self._held = self._held, []
            self.committed = True
            self._deliver(held)
            return
        if self._stream and exchange.sent_all and not exchange.http.ended and exchange.http.error is None:
            if exchange.http.framing != "close":
                self._receive.deadline = now + DRAIN
                self._drain(now)
                return
        self._release(now, reusable=exchange.clean)

    def _drain(self, now: float) -> None:
        http = self._running().http
        if http.ended or http.error is not None or now >= self._receive.deadline:
            self._release(now, reusable=self._running().clean)
            return
        self.state = "DRAIN"
        self._action = self._receive

    def _refused(self, error: LLMError, now: float) -> None:
        """A reply with an error status."""
        exchange, operation = self._running(), self._operation
        head = exchange.head
        if head is None or operation is None:
            raise LocalProtocolError("a refusal without a head")
        if head.status == 401 and self._authorizes and not self._refreshed:
            self._refreshed = True
            self._operation = None
            self._condition = "401"
            self._attempt_error = error
            self._after_release = Again(now, 0.0, "immediate")
            self._release(now, reusable=exchange.clean)
            return
        retry_class = operation.retry_table.of_reply(head.status, error.code, error.error_type)
        told = should_retry(head.headers)
        if told is not None:
            retry_class = FATAL if not told else TRANSIENT if retry_class == FATAL else retry_class
        wall_now = None if self._epoch_offset is None else now + self._epoch_offset
        hint = hint_in(head.headers, wall_now)
        error.retry_after = hint
        error.request_id = error.request_id or operation.request_id(head.headers)
        self._condition = str(head.status)
        self._decide(error, retry_class, hint, now)

    def _failed(self, error: LLMError, condition: str, now: float) -> None:
        """Anything else: the condition is a fault of the table, or "event" for an error inside a 2xx."""
        table = self._operation.retry_table if self._operation is not None else _DEFAULT_TABLE
        if condition == "event":
            retry_class = table.of_reply(None, error.code, error.error_type)
        else:
            retry_class = table.of_fault(condition)
        self._condition = condition
        self._decide(error, retry_class, error.retry_after, now)

    def _decide(self, error: LLMError, retry_class: RetryClass, hint: float | None, now: float) -> None:
        exchange = self._exchange
        if exchange is not None:
            head = exchange.head
            if head is not None:
                error.status_code = error.status_code or head.status
                if self._operation is not None and error.request_id is None:
                    error.request_id = self._operation.request_id(head.headers)
            if exchange.sent_all and (head is None or 200 <= head.status < 300):
                self._billed = True
            if self._stream and error.partial is None:
                error.partial = exchange.response()
        if not self.committed:
            decision = self._retries.on_failure(self._condition, retry_class, hint, now, self._commit_at)
            if isinstance(decision, Again):
                self._after_release = decision
                self._fresh = self._condition == "stale"
            else:
                error.retry_suppressed = decision.suppressed
        self._attempt_error = error
        self._release(now, reusable=exchange is not None and exchange.clean)

    def _release(self, now: float, *, reusable: bool) -> None:
        self.state = "RELEASE"
        hint = None
        if reusable and self._exchange is not None:
            hint = self._exchange.http.keep_alive_timeout
        self._action = Release(reusable, hint)

    def _settle(self, now: float) -> None:
        """After the release: write the attempt down, then wait, begin again, or finish."""
        again = self._after_release
        self._note(now, again)
        if again is not None:
            self._attempt_reason = self._condition
            if again.delay > 0:
                self.state = "WAIT"
                self._phase = "backoff"
                self._action = Wait(again.at)
            else:
                self._begin(now)
            return
        if self.response is not None and self._attempt_error is None:
            self._retries.on_success()
            self.response.attempts = self.attempts
            self._action = None
            self.state = "DONE"
            return
        self._give_up(self._attempt_error or self._cancellation(), now)

    def _give_up(self, error: LLMError, now: float) -> None:
        operation = self._operation
        if operation is not None:
            error.provider = error.provider or operation.provider
            error.model = error.model or operation.model
        error.phase = error.phase or self._phase
        error.may_be_billed = error.may_be_billed or self._billed
        error.attempts = self.attempts
        self.response = None
        self.error = error
        self._action = None
        self.state = "DONE"

    def _note(self, now: float, again: Again | None) -> None:
        exchange, error = self._exchange, self._attempt_error
        head = None if exchange is None else exchange.head
        request_id = None
        if head is not None and self._operation is not None:
            request_id = self._operation.request_id(head.headers)
        attempt = Attempt(
            number=len(self.attempts) + 1,
            started_at=self._attempt_started,
            ended_at=now,
            reason=self._attempt_reason,
            connection=self._connection,
            status=None if head is None else head.status,
            outcome="ok" if error is None else self._condition,
            error=None if error is None else type(error).__name__,
            request_id=request_id,
            delay=None if again is None else again.delay,
            delay_reason=None if again is None else again.reason,
        )
        self.attempts = (*self.attempts, attempt)

    # -- what a fault means where ------------------------------------------------------------------------------------

    def _not_begun(self, kind: FaultKind, now: float, detail: str, cause: BaseException | None) -> None:
        if kind == "timeout" and now >= self._commit_at:
            error, condition = failing.deadline_passed(self._total_shown(), self._phase), "deadline"
        elif kind == "timeout":
            error, condition = failing.no_free_connection(self.timers.pool, detail), "pool_timeout"
        else:
            error, condition = failing.of_fault(kind, detail, self.route.origin), kind
        error.__cause__ = cause
        if not self._seat:
            self._give_up(error, now)
            return
        self._failed(error, condition, now)

    def _dial_failed(self, kind: FaultKind, now: float, detail: str, cause: BaseException | None) -> None:
        condition: str = kind
        if kind == "timeout" and now >= self._commit_at:
            error, condition = failing.deadline_passed(self._total_shown(), "connect"), "deadline"
        elif kind == "timeout":
            error, condition = failing.connect_timed_out(self.timers.connect, self.route, detail), "connect_timeout"
        else:
            condition = "connect_reset" if kind == "reset" else kind
            error = failing.of_fault(kind, detail, self.route.origin)
        error.__cause__ = cause
        self._failed(error, condition, now)

    def _send_failed(self, kind: FaultKind, now: float, detail: str, cause: BaseException | None) -> None:
        """A server that refuses early answers and closes: its answer tells more than our broken pipe."""
        if kind == "timeout" and now >= self._commit_at:
            self._broken(kind, now, detail, cause)
            return
        self._write_fault = (kind, detail, cause)
        self.state = "RECEIVE"
        self._receive.deadline = min(now + EARLY_ANSWER, self._commit_at)
        self._action = self._receive

    def _receive_failed(self, kind: FaultKind, now: float, detail: str, cause: BaseException | None) -> None:
        exchange = self._running()
        if exchange.finishing:
            self._take_last(exchange.finish(), now)
            return
        if kind != "timeout" or self._write_fault is not None:
            self._broken(kind, now, detail, cause)
            return
        limit = self._total_at if self.committed else self._commit_at
        keepalives_only = exchange.keepalives > self._keepalives_seen
        if now >= limit:
            error, condition = failing.deadline_passed(self._total_shown(), self._phase), "deadline"
        elif self.committed or (exchange.head is not None and not self._stream):
            error, condition = failing.idle(self.timers.idle, self._phase), "idle"
        else:
            error, condition = failing.first_token(self.timers.first_token, self._phase), "first_token"
        if keepalives_only:
            failing.blame_keepalives(error, now - self._sent_at)
        error.__cause__ = cause
        self._failed(error, condition, now)

    def _broken(self, kind: FaultKind, now: float, detail: str, cause: BaseException | None) -> None:
        """The connection broke, or writing failed; what it means depends on what had been sent and received."""
        exchange = self._running()
        if self._write_fault is not None and not exchange.http.started:
            kind, detail, cause = self._write_fault
        if kind == "timeout":
            deadline = now >= self._commit_at
            error: LLMError = (
                failing.deadline_passed(self._total_shown(), "write")
                if deadline
                else failing.write_timed_out(self.timers.write)
            )
            condition = "deadline" if deadline else "write_timeout"
        elif self.committed:
            error, condition = failing.cut(detail), "truncated"
        elif exchange.http.started:
            if exchange.head is not None and exchange.head.status >= 300:
                exchange.receive_eof()
                if exchange.condition == "status" and exchange.error is not None:
                    self._refused(exchange.error, now)
                    return
            error, condition = failing.broke_in_reply(detail, self.route.origin), "truncated"
        else:
            error = failing.of_fault(kind, detail, self.route.origin)
            condition = "stale" if self._reused else "no_reply" if exchange.sent_all else "write_failed"
        error.__cause__ = cause
        self._failed(error, condition, now)

    # -- small words -------------------------------------------------------------------------------------------------

    def _answering(self, wanted: type[_Action]) -> _Action:
        action = self._action
        if type(action) is not wanted:
            raise LocalProtocolError(f"an answer to {wanted.__name__} while {action!r} is outstanding")
        return action

    def _running(self) -> Exchange:
        if self._exchange is None:
            raise LocalProtocolError("no exchange is running")
        return self._exchange

    def _cancellation(self) -> LLMError:
        partial = self._exchange.response() if self._stream and self._exchange is not None else None
        return LLMStreamError("the call was cancelled", code="cancelled", partial=partial)

    def _total_shown(self) -> float | None:
        return self.timers.total if self._total_at <= self._commit_at else self.timers.until_commit


_DEFAULT_POLICY: Final = RetryPolicy()
_DEFAULT_TABLE: Final = retry_table()
