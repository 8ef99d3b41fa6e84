"""Durations that make no sense are refused where they are given."""

from __future__ import annotations

import pytest

from sans_io.policy.deadline import NEVER, Timers, after

NAMES = ("total", "until_commit", "pool", "connect", "write", "first_token", "idle")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seconds", [0, 0.0, -1, float("-inf"), float("nan")])
def test_a_timer_is_a_positive_number_of_seconds(name: str, seconds: float) -> None:
    with pytest.raises(
        ValueError, match=rf"Timers\.{name} must be a positive number of seconds or None, not {seconds}"
    ):
        Timers(**{name: seconds})


@pytest.mark.parametrize("name", NAMES)
def test_none_is_unlimited(name: str) -> None:
    assert after(5.0, getattr(Timers(**{name: None}), name)) == NEVER
    assert after(5.0, getattr(Timers(**{name: 0.5}), name)) == 5.5
