"""A loop of coroutines on virtual time: no thread, no clock, no I/O; the order is a function of the seed.

Rules of this file:
- Time passes only when nothing else can be done; then it jumps to the next timer (as trio's MockClock does).
- Coroutines wait on a `Mailbox`, and on nothing else. A cancellation is an exception thrown in where a task waits.
- Timers at the same time fire in the order in which they were set.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from types import coroutine
from typing import TypeAlias

from ...faults import Fault

Callback: TypeAlias = Callable[[], object]


class Cancelled(BaseException):
    """Thrown into a task by `Task.cancel`; like the cancellations of asyncio and trio not an Exception."""


class Mailbox:
    """One value, one waiter: `put` it once, `await mailbox.take(...)` it."""

    __slots__ = ("_loop", "_task", "full", "value")

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._task: Task | None = None
        self.full = False
        self.value: object = None

    def put(self, value: object = None) -> None:
        if not self.full:
            self.full = True
            self.value = value
            task = self._task
            if task is not None:
                self._task = task.waiting_on = None
                self._loop.ready.append(task)

    async def take(self, deadline: float) -> object:
        """The value; raises `Fault("timeout")` at the deadline."""
        if not self.full:
            timer = self._loop.call_at(deadline, self._expire) if deadline < float("inf") else None
            try:
                await _park(self)
            finally:
                self._task = None
                if timer is not None:
                    timer.cancel()
        if isinstance(self.value, BaseException):
            raise self.value
        return self.value

    def _expire(self) -> None:
        self.put(Fault("timeout", ""))


@coroutine
def _park(mailbox: Mailbox) -> Generator[Mailbox, None, None]:
    yield mailbox


class Timer:
    __slots__ = ("callback",)

    def __init__(self, callback: Callback) -> None:
        self.callback: Callback | None = callback

    def cancel(self) -> None:
        self.callback = None


class Task:
    """A running coroutine. `done` once it returned; `error` is what it raised (Cancelled included)."""

    __slots__ = ("_coro", "_loop", "_throw", "done", "error", "gone", "name", "steps", "waiting_on")

    def __init__(self, loop: VirtualLoop, coro: Coroutine[Mailbox, None, None], name: str) -> None:
        self._loop = loop
        self._coro = coro
        self._throw: BaseException | None = None
        self.name = name
        self.done = False
        self.error: BaseException | None = None
        #: Full once the task is done.
        self.gone = Mailbox(loop)
        self.waiting_on: Mailbox | None = None
        self.steps = 0

    def cancel(self) -> None:
        """Throw `Cancelled` in at the place where the task waits; nothing if it is done."""
        if self.done or self._throw is not None:
            return
        self._throw = Cancelled()
        if self.waiting_on is not None:
            self.waiting_on._task = None
            self.waiting_on = None
            self._loop.ready.append(self)

    def step(self) -> None:
        if self.done:
            return
        self.steps += 1
        self.waiting_on = None
        try:
            if self._throw is not None:
                error, self._throw = self._throw, None
                mailbox = self._coro.throw(error)
            else:
                mailbox = self._coro.send(None)
        except StopIteration:
            self._end(None)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the world looks at it
            self._end(error)
        else:
            if mailbox.full:
                self._loop.ready.append(self)
            else:
                mailbox._task = self
                self.waiting_on = mailbox

    def _end(self, error: BaseException | None) -> None:
        self.done = True
        self.error = error
        self.gone.put()


class VirtualLoop:
    """`spawn` tasks, `call_at` timers, `run`."""

    def __init__(self) -> None:
        self.now = 0.0
        self.ready: deque[Task] = deque()
        self._timers: list[tuple[float, int, Timer]] = []
        self._count = 0
        self.steps = 0

    def spawn(self, coro: Coroutine[Mailbox, None, None], name: str = "") -> Task:
        task = Task(self, coro, name)
        self.ready.append(task)
        return task

    def call_at(self, when: float, callback: Callback) -> Timer:
        timer = Timer(callback)
        self._count += 1
        heapq.heappush(self._timers, (max(when, self.now), self._count, timer))
        return timer

    def call_later(self, delay: float, callback: Callback) -> Timer:
        return self.call_at(self.now + delay, callback)

    def run(self, max_steps: int = 1_000_000) -> None:
        """Until nothing is left to do. Raises RuntimeError after `max_steps`: something turns in a circle."""
        ready, timers = self.ready, self._timers
        while True:
            while ready:
                self.steps += 1
                if self.steps > max_steps:
                    raise RuntimeError(f"the simulation did not end within {max_steps} steps")
                ready.popleft().step()
            while timers:
                when, _, timer = heapq.heappop(timers)
                callback = timer.callback
                if callback is not None:
                    self.now = when
                    callback()
                    break
            else:
                return
