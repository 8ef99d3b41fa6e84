"""Reproducible dice: splitmix64, a pure function of a 64-bit seed (Steele, Lea, Flood: "Fast splittable PRNGs", 2014).

Rules of this file:
- The core rolls no dice of its own (R1): the seed is given at construction, and the same seed gives the same rolls.
- Not for secrets: every roll can be computed from the previous one.
"""

from __future__ import annotations

from typing import Final

_MASK: Final = (1 << 64) - 1
_GAMMA: Final = 0x9E3779B97F4A7C15


class Dice:
    """A stream of rolls. `Dice(seed)`; any integer is a seed, its low 64 bits count."""

    __slots__ = ("_state",)

    def __init__(self, seed: int) -> None:
        self._state = seed & _MASK

    def bits(self) -> int:
        """The next 64 bits, 0 <= n < 2**64."""
        self._state = (self._state + _GAMMA) & _MASK
        mixed = self._state
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
        return mixed ^ (mixed >> 31)

    def roll(self) -> float:
        """The next number, 0.0 <= x < 1.0, with 53 bits."""
        return (self.bits() >> 11) * 2.0**-53
