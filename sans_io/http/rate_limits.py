"""What the header fields of a reply say about rate limits: their numbers by name, and the same in one normal form.

    x-ratelimit-remaining-tokens: 149984          rate_limit()   {"remaining-tokens": 149984.0}
    anthropic-ratelimit-input-tokens-reset: ...   rate_limits()  {("input-tokens", ""): RateLimitState(..., reset=30.0)}

Rules of this file:
- No clock: a point in time becomes seconds by subtracting the reply's own `Date`, or is left out.
- A value that is not what it should be is left out, never an error. Of two fields that say the same the first counts.
- What a field does not say is not guessed: the window is "" where it is not in the name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple, TypeAlias

from ..errors import printable
from .server_hints import http_date

Fields: TypeAlias = Iterable[tuple[str, str]]


class RateLimitState(NamedTuple):
    """One limit: how much there is of it in all, how much is left, and in how many seconds from the reply it is whole
    again. None where the server did not say."""

    limit: float | None = None
    remaining: float | None = None
    reset: float | None = None


#: What a limit counts ("requests", "tokens", "input-tokens", "priority-output-tokens", ...) and in which window
#: ("second", "minute", "hour", "day", "month", "90s", or "" where that is not said).
RateLimits: TypeAlias = dict[tuple[str, str], RateLimitState]

#: The vendors' prefixes, and what is left of one in a key.
_PREFIXES: Final = {
    "x-ratelimit-": "",
    "x-rate-limit-": "",  # Azure
    "anthropic-ratelimit-": "",
    "anthropic-priority-": "priority-",
    "anthropic-fast-": "fast-",
    "x-tokenlimit-": "tokens-",
    "ratelimit-": "",
}
_STARTS: Final = (*_PREFIXES, "ratelimit")
_PARTS: Final = ("limit", "remaining", "reset")
_WINDOWS: Final = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "month": None}
_DIMENSIONS: Final = {
    "": "requests",
    "req": "requests",
    "tokens-prompt": "input-tokens",  # Fireworks
    "tokens-generated": "output-tokens",
}
_MAX_NUMBER: Final = 2**63


def rate_limit(headers: Fields) -> dict[str, float]:
    """Rate-limit numbers by header name without its vendor prefix: `{"remaining-requests": 59.0, ...}`.

    `reset` values are in seconds: OpenAI and Groq send Go durations ("6m0s", "120ms"), Anthropic RFC 3339 times,
    others plain seconds (Azure milliseconds where it names the period) or Unix times; a time counts from the reply's
    `Date` and is left out without one. Beside them Mistral's "tokens-query-cost" (what this call cost) and Fireworks'
    "over-limit" (1.0 or 0.0). Of the structured fields `ratelimit` and `ratelimit-policy` each limit gives
    "<name>-limit", "<name>-remaining" and "<name>-reset".
    """
    fields = [(name, value) for name, value in headers if name.startswith(_STARTS) or name == "date"]
    numbers: dict[str, float] = {}
    for name, value in fields:
        key = _key(name)
        number = _number(key, value.strip(), fields)
        if number is not None:
            numbers.setdefault(key, number)
    for name, state in _structured(fields).values():
        for part, number in zip(_PARTS, state, strict=True):
            if number is not None:
                numbers.setdefault(f"{name}-{part}" if name else part, number)
    return numbers


def rate_limits(headers: Fields) -> RateLimits:
    """The same by what is limited and in which window: `{("tokens", "minute"): RateLimitState(6000.0, 5.0, 12.5)}`."""
    fields = [(name, value) for name, value in headers if name.startswith(_STARTS) or name == "date"]
    if len(fields) < 2 and not any(name != "date" for name, _ in fields):
        return {}
    found: dict[tuple[str, str], dict[str, float]] = {}
    for name, value in fields:
        words = _key(name).split("-")
        part = next((part for part in _PARTS if part in words), None)
        number = None if part is None or "over" in words else _number("-".join(words), value.strip(), fields)
        if part is None or number is None:
            continue
        words.remove(part)
        window = _take_window(words)
        dimension = "-".join(words)
        window = window or _window(_period(dimension, fields))
        found.setdefault((_DIMENSIONS.get(dimension, dimension), window), {}).setdefault(part, number)
    limits = {key: RateLimitState(**parts) for key, parts in found.items()}
    for key, (_, state) in _structured(fields).items():
        limits.setdefault(key, state)
    return limits


def exhausted_for(limits: RateLimits) -> float | None:
    """Seconds until all limits of which nothing is left are whole again; None if no header says so."""
    waits = [
        state.reset
        for state in limits.values()
        if state.reset is not None and (state.remaining == 0 or state[:2] == (None, None))
    ]
    return max(waits, default=None)


def _key(name: str) -> str:
    """The name without its vendor's prefix, "" if it has none."""
    for prefix, rest in _PREFIXES.items():
        if name.startswith(prefix):
            return rest + name[len(prefix) :]
    return ""


def _number(key: str, value: str, fields: Fields) -> float | None:
    if "reset" in key:
        reset = _reset(value, fields)
        # Azure: 500 of a limit of 120 a minute, after one request.
        in_milliseconds = reset is not None and value.isdigit() and _period(key.removeprefix("reset-"), fields)
        return reset / 1000 if reset is not None and in_milliseconds else reset
    if key == "over-limit":
        return {"yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}.get(value.lower())
    return _count(value) if "limit" in key or "remaining" in key or key.endswith("-cost") else None


def _period(dimension: str, fields: Fields) -> str:
    """The seconds that Azure gives as the period of a limit, "" where it does not."""
    name = f"x-ratelimit-renewalperiod-{dimension}"
    return next((value.strip() for field, value in fields if field == name and _count(value.strip())), "")


def _take_window(words: list[str]) -> str:
    """The window at the end of a name, taken off it: "minute", or "10s" of "10-second"."""
    if not words or words[-1] not in _WINDOWS:
        return ""
    window = words.pop()
    length = _WINDOWS[window]
    if not words or not words[-1].isdigit() or length is None:
        return window
    return _window(str(int(words.pop()[:9]) * length))


def _window(seconds: str) -> str:
    """Its name, or its length."""
    return _LENGTHS.get(seconds) or (f"{seconds}s" if _count(seconds) is not None else "")


def _count(text: str) -> float | None:
    if len(text) > 32 or not _DECIMAL.fullmatch(text):
        return None
    number = float(text)
    return number if number < _MAX_NUMBER else None


def _reset(text: str, fields: Fields) -> float | None:
    if len(text) > 64:
        return None
    if _DECIMAL.fullmatch(text):
        number = float(text)
        if number < 1e9:
            return number
        # A Unix time, in milliseconds where it would otherwise be thousands of years away.
        return _since_date(number / 1000 if number > 1e11 else number, fields)
    duration = go_duration(text)
    if duration is not None:
        return duration
    then = rfc3339(text)
    return None if then is None else _since_date(then, fields)


def _since_date(then: float, fields: Fields) -> float | None:
    for name, value in fields:
        if name == "date":
            now = http_date(value)
            return None if now is None else max(0.0, then - now)
    return None


# -- the structured fields (draft-ietf-httpapi-ratelimit-headers) -----------------------------------------------------

_ITEM: Final = r'(?:"([^"]{0,100})"|([\w*.:/-]{1,100}))((?:\s*;\s*[a-z]+\s*=\s*(?:"[^"]*"|[^;,"\s]+))*)'
_PARAMETER: Final = r';\s*([a-z]+)\s*=\s*"?([^;,"\s]+)'
_MEMBER: Final = r"\b(limit|remaining|reset)\s*=\s*([0-9]+)"
_LENGTHS: Final = {"1": "second", "60": "minute", "3600": "hour", "86400": "day"}


def _structured(fields: Fields) -> dict[tuple[str, str], tuple[str, RateLimitState]]:
    """The limits of `ratelimit: "name";r=50;t=30` and `ratelimit-policy: "name";q=100;w=60`, with their names.

    In older drafts a policy is `100;w=60` and the other field `limit=100, remaining=50, reset=30`.
    """
    policies: dict[str, dict[str, str]] = {}
    states: dict[str, dict[str, str]] = {}
    for field, value in fields:
        if field == "ratelimit" and (members := dict(re.findall(_MEMBER, value[:2000]))):
            states[""] = {parameter: members.get(part, "") for parameter, part in zip("qrt", _PARTS, strict=True)}
        elif field in ("ratelimit", "ratelimit-policy"):
            for quoted, token, parameters in re.findall(_ITEM, value[:2000]):
                said = dict(re.findall(_PARAMETER, parameters))
                name = quoted or token
                if token.isdigit():
                    name, said = "", {"q": token, **said}
                (policies if field == "ratelimit-policy" else states).setdefault(name, said)
    found: dict[tuple[str, str], tuple[str, RateLimitState]] = {}
    for name in {**policies, **states}:
        said = {**policies.get(name, {}), **states.get(name, {})}
        window = _window(said.get("w", ""))
        plain = name.lower() if name.lower().endswith(("tokens", "requests")) else "requests"
        state = RateLimitState(*(_count(said.get(parameter, "")) for parameter in ("q", "r", "t")))
        if any(number is not None for number in state):
            found.setdefault((said.get("qu", plain), window), (printable(name, 100), state))
    return found


# -- durations and times ----------------------------------------------------------------------------------------------

_DECIMAL: Final = re.compile(r"[0-9]{1,30}(\.[0-9]{1,30})?")
_GO_PART: Final = re.compile(r"([0-9]{1,18}(?:\.[0-9]{0,18})?)(ns|us|\xb5s|ms|s|m|h|d)")
#: Seconds in one, or how many are in a second: a division by 1000 is exact where a factor of 0.001 is not.
_GO_UNITS: Final = {
    "ns": (1, 1e9), "us": (1, 1e6), "\xb5s": (1, 1e6), "ms": (1, 1e3), "s": (1, 1), "m": (60, 1), "h": (3600, 1),
    "d": (86400, 1),
}  # fmt: skip


def go_duration(text: str) -> float | None:
    """Seconds of a Go duration ("1m30.5s"), or None. Negative ones are not durations to wait."""
    if not text or len(text) > 64:
        return None
    seconds, position = 0.0, 0
    for match in _GO_PART.finditer(text):
        if match.start() != position:
            return None
        times, parts = _GO_UNITS[match[2]]
        seconds += float(match[1]) * times / parts
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
