"""`FakeClock`: time that passes only when somebody waits. `RealClock`: the same, for those who truly want to wait."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

#: Seconds between looks at whether a real wait has become pointless.
_SLICE: Final = 0.02


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
            raise ValueError("this would wait forever: nothing is scripted and there is no deadline")
        self._now = max(self._now, when)
        return self._now

    async def wait_until(self, when: float, given_up: Callable[[], bool]) -> None:  # noqa: ARG002  see RealClock
        """`advance_to` for those who await."""
        self.advance_to(when)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self():.3f})"


class RealClock(FakeClock):
    """The monotonic clock of this machine; waiting takes its time. For replaying at the recorded pace."""

    __slots__ = ()

    def __call__(self) -> float:
        return time.monotonic()

    def advance_to(self, when: float) -> float:
        if when == float("inf"):
            raise ValueError("this would wait forever: nothing is scripted and there is no deadline")
        time.sleep(max(0.0, when - self()))
        return max(when, self())

    def advance(self, seconds: float) -> float:
        return self.advance_to(self() + seconds)

    async def wait_until(self, when: float, given_up: Callable[[], bool]) -> None:
        """Until then, or until `given_up()`; other tasks go on meanwhile."""
        import anyio

        while not given_up() and (left := when - self()) > 0:  # noqa: ASYNC110  what gives up sets no event
            await anyio.sleep(min(left, _SLICE))
