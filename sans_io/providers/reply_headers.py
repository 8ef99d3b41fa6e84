"""What the header fields of a reply say beside the protocol: request id and rate-limit numbers.

Rules of this file:
- No clock: a point in time becomes seconds by subtracting the reply's own `Date`, or is left out.
- A value that is not what it should be is left out, never an error.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from ..errors import printable
from ..http.server_hints import http_date

if TYPE_CHECKING:
    from .base import Headers

#: OpenAI, Groq, Mistral and most others; Anthropic; Azure; OpenRouter; Amazon.
_REQUEST_IDS: Final = {
    "x-request-id": 0,
    "request-id": 1,
    "apim-request-id": 2,
    "x-ms-request-id": 3,
    "x-generation-id": 4,
    "x-amzn-requestid": 5,
}
_PREFIXES: Final = ("x-ratelimit-", "anthropic-ratelimit-", "ratelimit-")
_ENDS: Final = ("limit", "remaining", "reset")
_MAX_NUMBER: Final = 2**63


def request_id(headers: Headers) -> str | None:
    """The provider's id of this request, at most 200 printable characters, or None."""
    found, rank = None, len(_REQUEST_IDS)
    for name, value in headers:
        if name in _REQUEST_IDS and _REQUEST_IDS[name] < rank and value:
            found, rank = value, _REQUEST_IDS[name]
    return None if found is None else printable(found, 200)


def rate_limit(headers: Headers) -> dict[str, float]:
    """Rate-limit numbers by header name without its vendor prefix: `{"remaining-requests": 59.0, ...}`.

    `reset` values are in seconds: OpenAI and Groq send Go durations ("6m0s", "120ms"), Anthropic RFC 3339 times,
    others plain seconds or Unix times; a time counts from the reply's `Date` and is left out without one.
    """
    numbers: dict[str, float] = {}
    for name, value in headers:
        if "ratelimit" not in name:  # Most are not; every reply comes through here.
            continue
        for prefix in _PREFIXES:
            if name.startswith(prefix):
                key = name[len(prefix) :]
                number = _reset(value.strip(), headers) if "reset" in key else _count(value.strip())
                if number is not None and any(end in key for end in _ENDS):
                    numbers.setdefault(key, number)
                break
    return numbers


def _count(text: str) -> float | None:
    if len(text) > 32 or not _DECIMAL.fullmatch(text):
        return None
    number = float(text)
    return number if number < _MAX_NUMBER else None


def _reset(text: str, headers: Headers) -> float | None:
    if len(text) > 64:
        return None
    if _DECIMAL.fullmatch(text):
        number = float(text)
        if number < 1e9:
            return number
        # A Unix time, in milliseconds where it would otherwise be thousands of years away.
        return _since_date(number / 1000 if number > 1e11 else number, headers)
    duration = go_duration(text)
    if duration is not None:
        return duration
    then = rfc3339(text)
    return None if then is None else _since_date(then, headers)


def _since_date(then: float, headers: Headers) -> float | None:
    for name, value in headers:
        if name == "date":
            now = http_date(value)
            return None if now is None else max(0.0, then - now)
    return None


_DECIMAL: Final = re.compile(r"[0-9]{1,30}(\.[0-9]{1,30})?")
_GO_PART: Final = re.compile(r"([0-9]{1,18}(?:\.[0-9]{0,18})?)(ns|us|\xb5s|ms|s|m|h|d)")
_GO_UNITS: Final = {
    "ns": 1e-9, "us": 1e-6, "\xb5s": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0,
}  # fmt: skip


def go_duration(text: str) -> float | None:
    """Seconds of a Go duration ("1m30.5s"), or None. Negative ones are not durations to wait."""
    if not text or len(text) > 64:
        return None
    seconds, position = 0.0, 0
    for match in _GO_PART.finditer(text):
        if match.start() != position:
            return None
        seconds += float(match[1]) * _GO_UNITS[match[2]]
        position = match.end()
    return seconds if position == len(text) and seconds < _MAX_NUMBER else None


_RFC3339: Final = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt ]([0-9]{2}):([0-9]{2}):([0-9]{2})(\.[0-9]{1,12})?"
    r"(?:([Zz])|([+-])([0-9]{2}):([0-9]{2}))"
)


def rfc3339(text: str) -> float | None:
    """Seconds since the epoch of an RFC 3339 time ("2026-11-22T10:00:00Z"), or None."""
    match = _RFC3339.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(match[i]) for i in range(1, 7))
    if not (1 <= month <= 12 and 1 <= day <= 31 and hour < 24 and minute < 60 and second <= 60):
        return None
    offset = 0
    if match[8] is None:
        offset = (int(match[10]) * 60 + int(match[11])) * (60 if match[9] == "+" else -60)
    # Days from the civil date, counted from March so that the leap day comes last (Hinnant's algorithm).
    year -= month <= 2
    days = 365 * year + year // 4 - year // 100 + year // 400 + (153 * ((month + 9) % 12) + 2) // 5 + day - 1 - 719468
    return days * 86400 + hour * 3600 + minute * 60 + second + float(match[7] or 0) - offset
