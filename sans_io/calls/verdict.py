"""What a failure means, by where it happened: the error for the user, and the condition for the retry table.

Rules of this file:
- Pure functions of what is known; a deadline of the whole call always wins over the timer of a part ("deadline").
- The condition is one of the faults of `policy.retry`; the wording of errors is `failing`'s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from . import failures as failing

if TYPE_CHECKING:
    from ..errors import LLMError
    from ..policy.deadline import Timers
    from ..policy.pool import Route
    from .attempt import Failure, Try
    from .exchange import Exchange


#: Seconds after a request was written within which the end of a reused connection may have been on its way already: the
#: server closed it before it saw the request (RFC 9110 section 9.2.2, RFC 9112 section 9.3.1). One round trip to
#: another continent, 150 to 300 ms; a Call does not know its own. The longer this is, the more requests that ran could
#: be sent twice; the shorter, the more that never ran are called ambiguous, which costs a backoff.
ROUND_TRIP: Final = 0.25


class Verdict(NamedTuple):
    error: LLMError
    condition: str


class Clock(NamedTuple):
    """How the time stands: whether the deadline of the whole call has passed, and how long it was (seconds)."""

    overdue: bool
    total: float | None


def of_queue(failure: Failure, route: Route, timers: Timers, clock: Clock, phase: str) -> Verdict:
    """No seat in the pool, or no credential."""
    if failure.kind != "timeout":
        verdict = Verdict(failing.of_fault(failure.kind, failure.detail, route.origin), failure.kind)
    elif clock.overdue:
        verdict = Verdict(failing.deadline_passed(clock.total, phase), "deadline")
    else:
        verdict = Verdict(failing.no_free_connection(timers.pool, failure.detail), "pool_timeout")
    return _caused(verdict, failure)


def of_dial(failure: Failure, route: Route, timers: Timers, clock: Clock) -> Verdict:
    """No connection."""
    if failure.kind != "timeout":
        condition = "connect_reset" if failure.kind == "reset" else failure.kind
        verdict = Verdict(failing.of_fault(failure.kind, failure.detail, route.origin), condition)
    elif clock.overdue:
        verdict = Verdict(failing.deadline_passed(clock.total, "connect"), "deadline")
    else:
        verdict = Verdict(failing.connect_timed_out(timers.connect, route, failure.detail), "connect_timeout")
    return _caused(verdict, failure)


def of_silence(
    timer: Literal["idle", "first_token"],
    attempt: Try,
    exchange: Exchange,
    timers: Timers,
    clock: Clock,
    now: float,
    phase: str,
) -> Verdict:
    """Nothing that counts came in time. Keep-alives alone are named: the server lives, the answer does not."""
    if clock.overdue:
        verdict = Verdict(failing.deadline_passed(clock.total, phase), "deadline")
    elif timer == "idle":
        verdict = Verdict(failing.idle(timers.idle, phase), "idle")
    else:
        verdict = Verdict(failing.first_token(timers.first_token, phase), "first_token")
    if exchange.keepalives > attempt.keepalives_seen:
        failing.blame_keepalives(verdict.error, now - attempt.content_at, timer)
    return verdict


def of_break(
    failure: Failure,
    attempt: Try,
    exchange: Exchange,
    route: Route,
    timers: Timers,
    clock: Clock,
    now: float,
    *,
    committed: bool,
) -> Verdict:
    """The connection broke or took no bytes; what it means depends on what had been sent and received."""
    if failure.kind == "timeout" and clock.overdue:
        verdict = Verdict(failing.deadline_passed(clock.total, "write"), "deadline")
    elif failure.kind == "timeout":
        verdict = Verdict(failing.write_timed_out(timers.write), "write_timeout")
    elif committed:
        verdict = Verdict(failing.cut(failure.detail), "truncated")
    elif exchange.http.started:
        phase = "head" if exchange.head is None else "body"
        verdict = Verdict(failing.broke_in_reply(failure.detail, route.origin, phase), "truncated")
    else:
        unseen = attempt.write_failure is not None or now - attempt.sent_at <= ROUND_TRIP
        condition = "stale" if attempt.reused and unseen else "no_reply" if exchange.sent_all else "write_failed"
        verdict = Verdict(failing.of_fault(failure.kind, failure.detail, route.origin), condition)
    return _caused(verdict, failure)


def _caused(verdict: Verdict, failure: Failure) -> Verdict:
    verdict.error.__cause__ = failure.cause
    return verdict
