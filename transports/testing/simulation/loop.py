"""A loop of coroutines on virtual time: no thread, no clock, no I/O; the order is a function of the seed.

Rules of this file:
- Time passes only when nothing else can be done; then it jumps to the next timer (as trio's MockClock does).
- Coroutines wait for a `SimWakeup`, and on nothing else. A cancellation is an exception thrown in where a task waits.
- Timers at the same time fire in the order in which they were set.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine, Generator
from heapq import heappop, heappush
from types import coroutine
from typing import Final, TypeAlias

Callback: TypeAlias = Callable[[], object]
_NEVER: Final = float("inf")


class Cancelled(BaseException):
    """Thrown into a task by `Task.cancel`; like the cancellations of asyncio and trio not an Exception."""


class SimWakeup:
    """What a coroutine waits for: `wake` it once, `await wakeup.wait(...)` it. One waiter at a time.

    That it was woken stays so; that a wait ran out does not.
    """

    __slots__ = ("_alarm", "_loop", "_task", "woken")

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._task: Task | None = None
        #: The number of the timer that ends the wait; 0: none does.
        self._alarm = 0
        self.woken = False

    def wake(self) -> None:
        if not self.woken:
            self.woken = True
            task = self._task
            if task is not None:
                self._task = None
                self._loop.ready.append(task)

    @coroutine
    def wait(self, until: float) -> Generator[SimWakeup, None, bool]:
        """Until it is woken or the time has come. Whether it was woken."""
        if not self.woken:
            if until < _NEVER:
                if until <= self._loop.now:
                    return False
                self._alarm = self._loop.call_at(until, self)
            try:
                yield self
            finally:
                self._task = None
                self._alarm = 0
        return self.woken


class Task:
    """A running coroutine. `done` once it returned; `error` is what it raised (Cancelled included)."""

    __slots__ = ("_coro", "_loop", "_throw", "_wakeup", "done", "error", "gone", "name")

    def __init__(self, loop: VirtualLoop, coro: Coroutine[SimWakeup, None, None], name: str) -> None:
        self._loop = loop
        self._coro = coro
        self._throw: BaseException | None = None
        self.name = name
        self.done = False
        self.error: BaseException | None = None
        #: Woken once the task is done.
        self.gone = SimWakeup(loop)
        #: What it waits for, or waited for last.
        self._wakeup: SimWakeup | None = None

    def cancel(self) -> None:
        """Throw `Cancelled` in at the place where the task waits; nothing if it is done."""
        if self.done or self._throw is not None:
            return
        self._throw = Cancelled()
        wakeup = self._wakeup
        if wakeup is not None and wakeup._task is self:
            wakeup._task = None
            self._loop.ready.append(self)

    def step(self) -> None:
        if self.done:
            return
        try:
            if self._throw is None:
                wakeup = self._coro.send(None)
            else:
                error, self._throw = self._throw, None
                wakeup = self._coro.throw(error)
        except StopIteration:
            self._end(None)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the world looks at it
            self._end(error)
        else:
            wakeup._task = self
            self._wakeup = wakeup

    def _end(self, error: BaseException | None) -> None:
        self.done = True
        self.error = error
        self.gone.wake()


class VirtualLoop:
    """`spawn` tasks, `call_at` timers, `run`."""

    def __init__(self) -> None:
        self.now = 0.0
        self.ready: deque[Task] = deque()
        #: When, the number of the timer, what is due.
        self._timers: list[tuple[float, int, Callback | SimWakeup]] = []
        self._count = 0

    def spawn(self, coro: Coroutine[SimWakeup, None, None], name: str = "") -> Task:
        task = Task(self, coro, name)
        self.ready.append(task)
        return task

    def call_later(self, delay: float, callback: Callback) -> None:
        self.call_at(self.now + delay, callback)

    def call_at(self, when: float, due: Callback | SimWakeup) -> int:
        """Set a timer: a callback is called; a wakeup's wait ends if this is still its alarm. Returns its number."""
        self._count = number = self._count + 1
        heappush(self._timers, (when if when > self.now else self.now, number, due))
        return number

    def run(self, max_steps: int = 1_000_000) -> None:
        """Until nothing is left to do. Raises RuntimeError after `max_steps`: something turns in a circle."""
        ready, timers, left = self.ready, self._timers, max_steps
        while True:
            while ready:
                if not left:
                    raise RuntimeError(f"the simulation did not end within {max_steps} steps")
                left -= 1
                ready.popleft().step()
            while timers:
                when, number, due = heappop(timers)
                if isinstance(due, SimWakeup):
                    task = due._task
                    if task is not None and due._alarm == number:
                        self.now = when
                        due._task = None
                        ready.append(task)
                        break
                else:
                    self.now = when
                    due()
                    break
            else:
                return
