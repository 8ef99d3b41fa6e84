"""What the header fields of a reply say about retrying: Retry-After in all its forms, x-should-retry, HTTP dates.

Rules of this file:
- No clock: a date counts from the reply's own `Date`, or from the time of day that the caller gives.
- A malformed, negative or signed value is ignored; it is never an error.
"""

from __future__ import annotations

from typing import Final, TypeAlias

Headers: TypeAlias = tuple[tuple[str, str], ...]


def retry_after(headers: Headers, wall_now: float | None = None) -> float | None:
    """Seconds to wait, the first valid of `retry-after-ms`, `x-ms-retry-after-ms`, `retry-after` (seconds or date).

    A date counts from the response's own `Date` where there is one, else from `wall_now` (seconds since the epoch;
    None: dates are ignored). Negative, signed or malformed values are ignored (RFC 9110 section 10.2.3).
    """
    found: dict[str, str] = {}
    for name, value in headers:
        if name in _HINT_HEADERS:
            found.setdefault(name, value.strip())
    if not found:
        return None
    for name in ("retry-after-ms", "x-ms-retry-after-ms"):
        milliseconds = _decimal(found.get(name))
        if milliseconds is not None:
            return milliseconds / 1000
    said = found.get("retry-after")
    if said is None:
        return None
    seconds = _decimal(said)
    if seconds is not None:
        return seconds
    then = http_date(said)
    if then is None:
        return None
    since = http_date(found["date"]) if "date" in found else None
    if since is None:
        since = wall_now
    return None if since is None or then < since else then - since


def should_retry(headers: Headers) -> bool | None:
    """The value of `x-should-retry`: True, False, or None if it is missing or neither."""
    for name, value in headers:
        if name == "x-should-retry":
            return {"true": True, "false": False}.get(value.strip().lower())
    return None


_HINT_HEADERS: Final = frozenset({"retry-after-ms", "x-ms-retry-after-ms", "retry-after", "date"})


def _decimal(text: str | None) -> float | None:
    """Plain digits with at most one fraction ("2", "1.5"); no sign, exponent, infinity or foreign digits."""
    if text is None or not text.isascii() or len(text) > 32:
        return None
    whole, dot, fraction = text.partition(".")
    if not whole.isdigit() or (dot and not fraction.isdigit()):
        return None
    return float(text)


_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


def http_date(text: str) -> float | None:
    """Seconds since the epoch of an HTTP-date in any of its three forms (RFC 9110 section 5.6.7), or None."""
    words = text.replace("-", " ").replace(",", " ").split()
    if len(words) == 6 and words[5].upper() in ("GMT", "UTC"):
        _, day, month, year, clock, _ = words
    elif len(words) == 5:
        _, month, day, clock, year = words
    else:
        return None
    hours = clock.split(":")
    numbers = (day, year, *hours)
    if len(hours) != 3 or month.lower() not in _MONTHS or not all(n.isascii() and n.isdigit() for n in numbers):
        return None
    if max(map(len, numbers)) > 4:
        return None
    y, m, d = int(year), _MONTHS.index(month.lower()) + 1, int(day)
    if len(year) == 2:
        y += 1900 if y >= 70 else 2000
    h, minute, s = map(int, hours)
    if not (1970 <= y <= 9999 and 1 <= d <= 31 and h < 24 and minute < 60 and s <= 60):
        return None
    # Days from the civil date, counted from March so that the leap day comes last (Hinnant's algorithm).
    y -= m <= 2
    days = 365 * y + y // 4 - y // 100 + y // 400 + (153 * ((m + 9) % 12) + 2) // 5 + d - 1 - 719468
    return float(days * 86400 + h * 3600 + minute * 60 + s)
