"""Runs of repeated bytes, found at the speed of a comparison.

A server that floods a client sends the same few bytes over and over; reading one repetition is enough.
"""

from __future__ import annotations

from typing import Final

#: The longest repeated unit in bytes, and how many bytes of it are searched for.
_MAX_PERIOD: Final = 512
_NEEDLE: Final = 32
#: Fewer repetitions are not worth the search.
_FEWEST: Final = 8


def period(data: bytes, at: int) -> int:
    """The size in bytes of the unit that begins at `at` and is repeated at once; 0 if there is none."""
    size = data.find(data[at : at + _NEEDLE], at + 1, at + _NEEDLE + _MAX_PERIOD) - at
    if size <= 0 or at + _FEWEST * size > len(data):
        return 0
    return size if data.startswith(data[at : at + size] * (_FEWEST - 1), at + size) else 0


def repetitions(data: bytes, at: int, unit: bytes) -> int:
    """How many times in a row `unit` occurs from `at` on."""
    begun = at
    for size in (4096, 256, 16, 1):
        block = unit * (size // len(unit) or 1)
        while data.startswith(block, at):
            at += len(block)
    return (at - begun) // len(unit)
