"""Durations in, absolute times out.

Rules of this file:
- `Timers` is configuration (seconds, None = unlimited) and never changes; a deadline is an absolute time (R2).
- A deadline is never later than the one of the whole call.
"""

from __future__ import annotations

from ..limits import is_seconds, shown
from ..records import dataclass

#: No deadline, so that deadlines can be compared without checking for None.
NEVER = float("inf")
#: The deadline of a caller that does not wait at all.
AT_ONCE = -NEVER


@dataclass(frozen=True, slots=True)
class Timers:
    """How long each part of one call may take, in seconds; None means unlimited.

    `total` bounds the whole call with its sleeps and retries. `until_commit` bounds everything up to the first event
    handed to the user, over all attempts. `pool` is the wait for a connection, `connect` name resolution, TCP, proxy
    and TLS together, `write` the longest pause while sending, `first_token` each attempt's wait from the request
    sent to the first content event, `idle` the longest gap between content events afterwards (`sans_io.chat.content`).
    """

    total: float | None = 120.0
    until_commit: float | None = None
    pool: float | None = 30.0
    connect: float | None = 5.0
    write: float | None = 30.0
    first_token: float | None = 120.0
    idle: float | None = 120.0

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if value is not None and (not is_seconds(value) or value == 0):
                raise ValueError(f"Timers.{name} must be a positive number of seconds or None, not {shown(value)}")


def after(now: float, seconds: float | None) -> float:
    """The absolute time `seconds` after `now`; NEVER for None."""
    return NEVER if seconds is None else now + seconds
