"""Numbers that a user configures. What cannot be counted with is refused where it is given, not where it overflows."""

from __future__ import annotations

from typing import Final, TypeGuard

#: The largest count of anything: beyond it no size or position is possible.
MAX_COUNT: Final = 2**63 - 1
#: The largest whole number of seconds that a float, and so a point in time, can hold.
_MAX_SECONDS: Final = 10**308


def is_count(value: object, least: int = 0) -> TypeGuard[int]:
    """Whether it is a whole number from `least` to `MAX_COUNT`. True and False are none."""
    return type(value) is int and least <= value <= MAX_COUNT


def is_seconds(value: object) -> TypeGuard[float]:
    """Whether it is a number of seconds of at least 0, infinity included, that can be added to a time."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return value >= 0 and (isinstance(value, float) or value <= _MAX_SECONDS)


def shown(value: object) -> str:
    """For an error: `repr`, which raises for integers of thousands of digits."""
    if isinstance(value, int) and abs(value) > MAX_COUNT:
        return f"an integer of {value.bit_length()} bits"
    return repr(value)
