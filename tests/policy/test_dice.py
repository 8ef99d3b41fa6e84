"""The dice are the published algorithm, and nothing but the seed decides them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sans_io.policy.dice import Dice


def test_the_reference_values_of_splitmix64() -> None:
    """The first numbers of the published C program for seed 1234567."""
    dice = Dice(1234567)
    assert [dice.bits() for _ in range(3)] == [6457827717110365317, 3203168211198807973, 9817491932198370423]


@given(st.integers())
def test_the_same_seed_gives_the_same_rolls(seed: int) -> None:
    rolls = [[dice.roll() for _ in range(5)] for dice in (Dice(seed), Dice(seed))]
    assert rolls[0] == rolls[1]
    assert all(0.0 <= roll < 1.0 for roll in rolls[0])
