"""The errors that a Call makes itself: one place for their wording.

Rules of this file:
- One line each, naming what failed, where, and what the user can change. No key, no prompt, no path of the machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .errors import (
    LLMAuthError,
    LLMConnectionError,
    LLMError,
    LLMStreamError,
    LLMTimeoutError,
)
from .faults import FaultKind

if TYPE_CHECKING:
    from .policy.pool import Route
    from .urls import Origin

_TEXTS: Final[dict[FaultKind, tuple[str, str]]] = {
    "dns_temporary": ("the name of {origin} could not be resolved for now", "dns"),
    "dns_failed": ("the name of {origin} does not exist; check base_url", "dns"),
    "refused": ("{origin} refused the connection; is the server running?", "refused"),
    "unreachable": ("{origin} cannot be reached", "unreachable"),
    "reset": ("{origin} broke the connection", "reset"),
    "tls_verify": ("the certificate of {origin} was not accepted", "tls_verify"),
    "tls_failed": ("TLS with {origin} failed", "tls"),
    "proxy_refused": ("the proxy refused to connect to {origin}", "proxy"),
    "too_many_files": ("no file descriptor is left for a connection to {origin}", "too_many_open_files"),
    "pool_closed": ("the connection pool was closed", "pool_closed"),
    "auth_callable": ("the api_key callable failed", "auth_callable"),
    "local": ("the connection to {origin} failed", "local"),
}


def of_fault(kind: FaultKind, detail: str, origin: Origin) -> LLMError:
    text, code = _TEXTS[kind]
    message = text.format(origin=shown(origin)) + (f": {detail}" if detail else "")
    if kind == "auth_callable":
        return LLMAuthError(message, code=code)
    return LLMConnectionError(message, code=code)


def deadline_passed(seconds: float | None, phase: str) -> LLMError:
    where = {
        "acquire": "while waiting for a free connection",
        "connect": "while connecting",
        "write": "while sending the request",
        "head": "before the server answered",
        "body": "before the answer was complete",
        "stream": "in the middle of the stream",
        "backoff": "while waiting to try again",
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
    through = "" if route.proxy is None else " through the proxy"
    note = f": {detail}" if detail else ""
    return LLMTimeoutError(
        f"no connection to {shown(route.origin)}{through} within {_seconds(seconds)}{note};"
        " increase Timeouts(connect=…)",
        code="connect_timeout",
        phase="connect",
    )


def write_timed_out(seconds: float | None) -> LLMError:
    return LLMTimeoutError(
        f"the server took no request bytes for {_seconds(seconds)}; increase Timeouts(write=…)",
        code="write_timeout",
        phase="write",
    )


def first_token(seconds: float | None, phase: str) -> LLMError:
    return LLMTimeoutError(
        f"nothing of the answer came within {_seconds(seconds)}; increase Timeouts(first_token=…)",
        code="first_token_timeout",
        phase=phase,
    )


def idle(seconds: float | None, phase: str) -> LLMError:
    return LLMTimeoutError(
        f"the answer stopped for {_seconds(seconds)}; increase Timeouts(idle=…)", code="idle_timeout", phase=phase
    )


def blame_keepalives(error: LLMError, seconds: float, timer: str = "idle") -> None:
    """Long silent reasoning looks like this: the server is alive and says nothing. `timer` is the one to increase."""
    error.code = "idle_keepalive_only"
    error.message = (
        f"only keep-alives for {_seconds(seconds)}; increase Timeouts({timer}=…) for models that think silently"
    )
    error.args = (error.message,)


def cut(detail: str) -> LLMError:
    note = f": {detail}" if detail else ""
    return LLMStreamError(f"the stream was cut before its end{note}", code="truncated", phase="stream")


def broke_in_reply(detail: str, origin: Origin, phase: str) -> LLMError:
    note = f": {detail}" if detail else ""
    return LLMConnectionError(
        f"{shown(origin)} broke the connection in the middle of its answer{note}", code="truncated", phase=phase
    )


def shown(origin: Origin) -> str:
    return f"{origin.scheme}://{origin.authority}"


def _seconds(seconds: float | None) -> str:
    return "its deadline" if seconds is None else f"{seconds:.3g} s"
