"""Failures of a call: what a transport reports, what it means at that point of the call, and its wording.

    ReportedFault (from a transport) ──where it happened──> Failure (error for the user, condition for the retry table)

Rules of this file:
- A transport maps every exception to one `FaultKind`; what is done about it is decided here alone.
- Pure functions. The deadline of the whole call always takes precedence over the timer of a part ("deadline").
- A condition is a key of the tables in `policy.retry`. An error is one line that names what failed, where, and what
  the user can change. No key, no prompt, no path of this machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

from ..errors import LLMAuthError, LLMConnectionError, LLMError, LLMStreamError, LLMTimeoutError
from ..http.tunnel import refusal

if TYPE_CHECKING:
    from ..http.heads import ResponseHead
    from ..http.proxies import Proxy
    from ..http.urls import Origin
    from ..policy.deadline import Timers
    from ..policy.pool import Route
    from .attempt import Try
    from .exchange import Exchange

FaultKind: TypeAlias = Literal[
    "timeout",
    "dns_temporary",
    "dns_failed",
    "refused",
    "unreachable",
    "reset",
    "tls_verify",
    "tls_failed",
    "proxy_refused",
    "too_many_files",
    "pool_closed",
    "auth_callable",
    "local",
]

#: "timeout": the action's deadline passed · "dns_temporary": EAI_AGAIN · "dns_failed": the name does not exist, or has
#: no address · "refused", "unreachable": TCP · "reset": the peer broke the connection (RST, EPIPE, aborted)
#: · "tls_verify": certificate or hostname · "tls_failed": any other TLS failure (alert, plain HTTP, EOF in the
#: handshake) · "proxy_refused": a proxy answered CONNECT with anything but 2xx; where that says that it did not reach
#: the server (502, 503, 504) it is "unreachable" · "too_many_files": EMFILE, ENFILE
#: · "pool_closed": the loop or pool went away · "auth_callable": the user's callable raised · "local": anything else
FAULT_KINDS: Final[tuple[FaultKind, ...]] = (
    "timeout", "dns_temporary", "dns_failed", "refused", "unreachable", "reset", "tls_verify", "tls_failed",
    "proxy_refused", "too_many_files", "pool_closed", "auth_callable", "local",
)  # fmt: skip


class ReportedFault(NamedTuple):
    """What a transport reported: the kind, one line for people, and the exception that becomes `__cause__`."""

    kind: FaultKind
    detail: str = ""
    cause: BaseException | None = None


class Failure(NamedTuple):
    """The error for the user, and the condition that the retry table knows it by."""

    error: LLMError
    condition: str


class Clock(NamedTuple):
    """Whether the deadline of the whole call has passed, and how long it was in seconds."""

    overdue: bool
    total: float | None


# -- what a fault means, by where it happened --------------------------------------------------------------------------

#: Seconds after a request was written within which the end of a reused connection may already have been under way: the
#: server closed it before it saw the request (RFC 9110 section 9.2.2, RFC 9112 section 9.3.1). One round trip to
#: another continent takes 150 to 300 ms; a Call does not know its own. If this is longer, more requests that did run
#: may be sent twice; if shorter, more that never ran are called ambiguous, which costs a backoff.
ROUND_TRIP: Final = 0.25


def of_queue(fault: ReportedFault, route: Route, timers: Timers, clock: Clock, phase: str) -> Failure:
    """No seat in the pool, or no credential."""
    if fault.kind != "timeout":
        failure = Failure(of_fault(fault.kind, fault.detail, route.origin), fault.kind)
    elif clock.overdue:
        failure = Failure(deadline_passed(clock.total, phase), "deadline")
    else:
        failure = Failure(no_free_connection(timers.pool, fault.detail), "pool_timeout")
    return _caused(failure, fault)


def of_dial(fault: ReportedFault, route: Route, timers: Timers, clock: Clock) -> Failure:
    """No connection."""
    if fault.kind != "timeout":
        condition = "connect_reset" if fault.kind == "reset" else fault.kind
        failure = Failure(of_fault(fault.kind, fault.detail, route.origin, route.proxy), condition)
    elif clock.overdue:
        failure = Failure(deadline_passed(clock.total, "connect"), "deadline")
    else:
        failure = Failure(connect_timed_out(timers.connect, route, fault.detail), "connect_timeout")
    return _caused(failure, fault)


def of_silence(
    timer: Literal["idle", "first_token"],
    attempt: Try,
    exchange: Exchange,
    timers: Timers,
    clock: Clock,
    now: float,
    phase: str,
) -> Failure:
    """No content came in time. An error says so if keep-alives did: the server is alive, but the reply has stalled."""
    if clock.overdue:
        failure = Failure(deadline_passed(clock.total, phase), "deadline")
    elif timer == "idle":
        failure = Failure(idle(timers.idle, phase), "idle")
    else:
        failure = Failure(first_token(timers.first_token, phase), "first_token")
    if exchange.keepalives > attempt.keepalives_seen:
        blame_keepalives(failure.error, now - attempt.content_at, timer)
    return failure


def of_break(
    fault: ReportedFault,
    attempt: Try,
    exchange: Exchange,
    route: Route,
    timers: Timers,
    clock: Clock,
    now: float,
    committed: bool,
) -> Failure:
    """The connection broke or accepted no data; what that means depends on what had been sent and received."""
    if fault.kind == "timeout" and clock.overdue:
        failure = Failure(deadline_passed(clock.total, "write"), "deadline")
    elif fault.kind == "timeout":
        failure = Failure(write_timed_out(timers.write), "write_timeout")
    elif committed:
        failure = Failure(cut(fault.detail), "truncated")
    elif exchange.http.started:
        phase = "head" if exchange.head is None else "body"
        failure = Failure(broke_in_reply(fault.detail, route.origin, phase), "truncated")
    else:
        unseen = attempt.write_failure is not None or now - attempt.sent_at <= ROUND_TRIP
        condition = "stale" if attempt.reused and unseen else "no_reply" if exchange.sent_all else "write_failed"
        failure = Failure(of_fault(fault.kind, fault.detail, route.origin, route.proxy), condition)
    return _caused(failure, fault)


def of_proxy(head: ResponseHead, error: LLMError, route: Route) -> Failure | None:
    """A forwarding proxy asked for its password (407), which no server does; None where the answer is the server's."""
    if head.status != 407 or route.proxy is None or route.origin.scheme != "http":
        return None
    detail = refusal(head, route.proxy)
    failure = Failure(of_fault("proxy_refused", detail, route.origin), "proxy_refused")
    failure.error.body = error.body
    return failure


def _caused(failure: Failure, fault: ReportedFault) -> Failure:
    failure.error.__cause__ = fault.cause
    return failure


# -- wording ----------------------------------------------------------------------------------------------------------

_TEXTS: Final[dict[FaultKind, tuple[str, str]]] = {
    "dns_temporary": ("the host name of {origin} could not be resolved at the moment", "dns"),
    "dns_failed": ("the host name of {origin} does not exist; check base_url", "dns"),
    "refused": ("{origin} refused the connection; is the server running?", "refused"),
    "unreachable": ("{origin} cannot be reached", "unreachable"),
    "reset": ("the connection to {origin} broke", "reset"),
    "tls_verify": ("the certificate of {origin} was not accepted", "tls_verify"),
    "tls_failed": ("TLS with {origin} failed", "tls"),
    "proxy_refused": ("the proxy refused to connect to {origin}", "proxy"),
    "too_many_files": ("no file descriptor is left for a connection to {origin}", "too_many_open_files"),
    "pool_closed": ("the connection pool was closed", "pool_closed"),
    "auth_callable": ("the api_key callable failed", "auth_callable"),
    "local": ("the connection to {origin} failed", "local"),
}


#: What is said instead on the way through a proxy: it is what was dialled.
_PROXY_TEXTS: Final[dict[FaultKind, str]] = {
    "dns_temporary": "the host name of the proxy {proxy} could not be resolved at the moment",
    "dns_failed": "the host name of the proxy {proxy} does not exist; check the proxy's URL",
    "refused": "the proxy {proxy} refused the connection; is the proxy running?",
    "unreachable": "{origin} cannot be reached through the proxy {proxy}",
    "reset": "the connection to {origin} through the proxy {proxy} broke",
}


def of_fault(kind: FaultKind, detail: str, origin: Origin, proxy: Proxy | None = None) -> LLMError:
    text, code = _TEXTS[kind]
    through = ""
    if proxy is not None:
        text, through = _PROXY_TEXTS.get(kind, text), shown_proxy(proxy)
    message = text.format(origin=shown(origin), proxy=through) + (f": {detail}" if detail else "")
    if kind == "auth_callable":
        return LLMAuthError(message, code=code)
    return LLMConnectionError(message, code=code)


def deadline_passed(seconds: float | None, phase: str) -> LLMError:
    where = {
        "acquire": "while waiting for a free connection",
        "connect": "while connecting",
        "write": "while sending the request",
        "head": "before the server answered",
        "body": "before the reply was complete",
        "stream": "in the middle of the stream",
        "backoff": "while waiting to retry",
    }.get(phase, f"in phase {phase!r}")
    return LLMTimeoutError(f"timed out after {_seconds(seconds)} {where}", code="timeout", phase=phase)


def no_free_connection(seconds: float | None, detail: str) -> LLMError:
    statistics = f" ({detail})" if detail else ""
    return LLMConnectionError(
        f"no free connection in the pool within {_seconds(seconds)}{statistics};"
        " increase Timeouts(pool=…) or max_connections",
        code="pool_timeout",
        phase="acquire",
    )


def connect_timed_out(seconds: float | None, route: Route, detail: str) -> LLMError:
    through = "" if route.proxy is None else f" through the proxy {shown_proxy(route.proxy)}"
    note = f": {detail}" if detail else ""
    return LLMTimeoutError(
        f"no connection to {shown(route.origin)}{through} within {_seconds(seconds)}{note};"
        " increase Timeouts(connect=…)",
        code="connect_timeout",
        phase="connect",
    )


def write_timed_out(seconds: float | None) -> LLMError:
    return LLMTimeoutError(
        f"the server accepted no request data for {_seconds(seconds)}; increase Timeouts(write=…)",
        code="write_timeout",
        phase="write",
    )


def first_token(seconds: float | None, phase: str) -> LLMError:
    return LLMTimeoutError(
        f"no content was received within {_seconds(seconds)}; increase Timeouts(first_token=…)",
        code="first_token_timeout",
        phase=phase,
    )


def idle(seconds: float | None, phase: str) -> LLMError:
    return LLMTimeoutError(
        f"no further content was received for {_seconds(seconds)}; increase Timeouts(idle=…)",
        code="idle_timeout",
        phase=phase,
    )


def blame_keepalives(error: LLMError, seconds: float, timer: str = "idle") -> None:
    """Long reasoning without output looks like this. `timer` is the one to increase."""
    error.code = "idle_keepalive_only"
    error.message = (
        f"only keep-alives were received for {_seconds(seconds)};"
        f" increase Timeouts({timer}=…) for models that reason without output"
    )
    error.args = (error.message,)


def cut(detail: str) -> LLMError:
    note = f": {detail}" if detail else ""
    return LLMStreamError(f"the stream was cut off before its end{note}", code="truncated", phase="stream")


def broke_in_reply(detail: str, origin: Origin, phase: str) -> LLMError:
    note = f": {detail}" if detail else ""
    return LLMConnectionError(
        f"the connection to {shown(origin)} broke in the middle of the reply{note}", code="truncated", phase=phase
    )


def shown(origin: Origin) -> str:
    return f"{origin.scheme}://{origin.authority}"


def shown_proxy(proxy: Proxy) -> str:
    host = f"[{proxy.host}]" if ":" in proxy.host else proxy.host
    return f"http://{host}:{proxy.port}"


def _seconds(seconds: float | None) -> str:
    return "its deadline" if seconds is None else f"{seconds:.3g} s"
