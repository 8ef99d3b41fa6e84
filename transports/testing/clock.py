"""`FakeClock`: time that passes only when somebody waits."""

from __future__ import annotations


class FakeClock:
    """Seconds from `start`. Calling it gives the time; waiting moves it. Never goes back."""

    __slots__ = ("_now",)

    def __init__(self, start: float = 1000.0) -> None:
        self._now = start

    def __call__(self) -> float:
        return self._now

    def advance(self, seconds: float) -> float:
        """Let this much time pass; the new time."""
        return self.advance_to(self._now + seconds)

    def advance_to(self, when: float) -> float:
        """Let time pass until `when`; one that has passed already changes nothing. `ValueError` for infinity."""
        if when == float("inf"):
            raise ValueError("this would wait for ever: nothing is scripted to come and there is no deadline")
        self._now = max(self._now, when)
        return self._now

    def __repr__(self) -> str:
        return f"FakeClock({self._now!r})"
