"""Error replies of providers as data, with what each tells the client about coming back."""

from __future__ import annotations

from typing import Final

_DATES: Final = ("Mon, 02 Nov 2026 10:00:00 GMT", "Mon, 02 Nov 2026 10:00:03 GMT")

#: fault -> status, provider's code, extra header fields, seconds the client must wait at least (0: no hint).
REFUSALS: Final[dict[str, tuple[int, str, bytes, float]]] = {
    "throttled_seconds": (429, "rate_limit_error", b"Retry-After: 3\r\n", 3.0),
    "throttled_ms": (429, "rate_limit_error", b"retry-after-ms: 1500\r\nRetry-After: 2\r\n", 1.5),
    "throttled_date": (
        429, "rate_limit_error", f"Date: {_DATES[0]}\r\nRetry-After: {_DATES[1]}\r\n".encode(), 3.0,
    ),
    "throttled_long": (429, "rate_limit_error", b"Retry-After: 86400\r\n", 86400.0),
    "throttled_bare": (429, "rate_limit_error", b"", 0.0),
    "throttled_nonsense": (429, "rate_limit_error", b"Retry-After: -5\r\nretry-after-ms: soon\r\n", 0.0),
    "quota": (429, "insufficient_quota", b"Retry-After: 1\r\n", 1.0),
    "server_error": (500, "api_error", b"", 0.0),
    "overloaded": (529, "overloaded_error", b"Retry-After: 1\r\n", 1.0),
    "gateway_html": (502, "", b"", 0.0),
    "bad_request": (400, "invalid_request_error", b"", 0.0),
    "unauthorized": (401, "authentication_error", b"", 0.0),
    "lying_limits": (
        503, "api_error", b"x-ratelimit-remaining-requests: -3\r\nx-ratelimit-reset-requests: 9e99y\r\n", 0.0,
    ),
    "should_retry": (400, "invalid_request_error", b"x-should-retry: true\r\n", 0.0),
    "gateway_timeout": (504, "timeout_error", b"", 0.0),
    "coded_refusal": (429, "rate_limit_error", b"Retry-After: 2\r\nContent-Encoding: gzip\r\n", 2.0),
    "stalled_refusal": (429, "rate_limit_error", b"Retry-After: 2\r\n", 2.0),
    "cut_refusal": (401, "authentication_error", b"", 0.0),
}  # fmt: skip

#: After these a request may have run: it is not sent again where the caller forbids that.
MAY_HAVE_RUN: Final = frozenset({"gateway_html", "gateway_timeout"})
