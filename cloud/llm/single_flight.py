"""One download per model at a time: whoever asks for the same one meanwhile waits for it, and sees its progress.

Rules of this file:
- The first to ask leads and does the work; each follower has its own `on_progress` called in its own thread or task.
- A leader that is cancelled or interrupted ends its own flight only: the first follower to notice leads the next.
- A follower's own timers hold while it follows: `first_token` until the first sign of progress, `idle` from then on.
- Nobody waits for itself or for another process: what interrupts a leader in its own thread leads a flight that nobody
  shares, and a forked child knows none of its parent's.
- No lock: a flight is entered with one operation of a dict, and only its leader takes it out.
- Followers of a failed flight get an error of their own: a traceback belongs to one raiser.
- `SyncPulls` and `AsyncPulls` differ in `await` and in what they wait with.
"""

from __future__ import annotations

from _thread import allocate_lock, get_ident
from contextlib import suppress
from copy import copy
from os import getpid
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Protocol

from sans_io.calls import failures
from sans_io.chat.events import PullProgress
from sans_io.errors import LLMError
from sans_io.policy.deadline import after
from transports.loading import need_anyio

from .loops import running_loop, running_loop_object, running_task
from .outcome import raise_error, settle

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from sans_io.calls.call import Call
    from sans_io.policy.deadline import Timers
    from sans_io.providers.base import Operation
    from transports.resolver import Waker

    from .stream_state import AsyncPump, SyncPump

#: The longest that a thread sleeps at once; whoever has longer sleeps again.
_LONGEST: Final = 3600.0


class Asking(Protocol):
    """What a follower needs of its own job."""

    @property
    def operation(self) -> Operation: ...
    @property
    def timers(self) -> Timers: ...


class Flight:
    """One download. Its leader changes it: `latest` at any time, what became of it before `over`."""

    def __init__(self, leader: object) -> None:
        self.leader = leader
        self.latest: PullProgress | None = None
        self.over = False
        #: When over: whether it arrived. Neither arrived nor failed: its leader left.
        self.arrived = False
        self.error: LLMError | None = None
        #: One for each follower, who adds and removes it.
        self.wakeups: list[Waker] = []

    def tell(self, progress: PullProgress) -> None:
        self.latest = progress
        self._ring()

    def land(self, error: LLMError | None) -> None:
        self.arrived, self.error = error is None, error

    def end(self) -> None:
        """Harmless twice."""
        self.over = True
        self._ring()

    def _ring(self) -> None:
        for wakeup in tuple(self.wakeups):
            wakeup.wake()


class _Pulls:
    def __init__(self) -> None:
        self._flights: dict[Hashable, Flight] = {}

    def _board(self, identity: Hashable, flight: Flight) -> Flight | None:
        """The flight to follow; None: this one is to be led."""
        ahead = self._flights.setdefault((getpid(), identity), flight)
        return None if ahead is flight or ahead.leader == flight.leader or ahead.over else ahead

    def _leave(self, identity: Hashable, flight: Flight) -> None:
        """The flight, if it was led at all, is over. Harmless twice."""
        key = (getpid(), identity)
        if self._flights.get(key) is flight:
            self._flights.pop(key, None)
        flight.end()


class SyncPulls(_Pulls):
    """The downloads of all blocking clients."""

    def join(
        self,
        identity: Hashable,
        asking: Asking,
        begin: Callable[[], tuple[Call, SyncPump]],
        on_progress: Callable[[PullProgress], object] | None,
    ) -> bool:
        """Lead or follow until the model is there: True. Raises the download's `LLMError`."""
        while True:
            flight = Flight(get_ident())
            try:
                try:
                    ahead = self._board(identity, flight)
                    if ahead is None:
                        return self._lead(flight, begin, on_progress)
                finally:
                    self._leave(identity, flight)
            except BaseException:
                self._leave(identity, flight)  # an interruption may have come in the first
                raise
            if self._follow(ahead, asking, on_progress):
                return True

    def _lead(
        self,
        flight: Flight,
        begin: Callable[[], tuple[Call, SyncPump]],
        on_progress: Callable[[PullProgress], object] | None,
    ) -> bool:
        call, pump = begin()
        try:
            while (events := pump.advance()) is not None:
                for event in events:
                    if type(event) is PullProgress:
                        flight.tell(event)
                        if on_progress is not None:
                            on_progress(event)
        finally:
            pump.close()
        response, error = call.response, call.error
        del call, pump
        flight.land(error)
        settle(response, error)
        return True

    def _follow(self, flight: Flight, asking: Asking, on_progress: Callable[[PullProgress], object] | None) -> bool:
        """Whether it brought the model; False if its leader left."""
        wakeup = _Wakeup()
        flight.wakeups.append(wakeup)
        try:
            told = None
            until = after(monotonic(), asking.timers.first_token)
            while True:
                over, latest = flight.over, flight.latest
                news = latest is not None and latest is not told
                if latest is not None and news:
                    if on_progress is not None:
                        on_progress(latest)
                    if latest != told:
                        until = after(monotonic(), asking.timers.idle)
                    told = latest
                if over:
                    return _followed(flight)
                if not news and monotonic() >= until:
                    raise_error(_too_long(told, asking))
                wakeup.wait(until)
        finally:
            flight.wakeups.remove(wakeup)


class AsyncPulls(_Pulls):
    """The downloads of all asynchronous clients, each event loop by itself."""

    async def join(
        self,
        identity: Hashable,
        asking: Asking,
        begin: Callable[[], tuple[Call, AsyncPump]],
        on_progress: Callable[[PullProgress], object] | None,
    ) -> bool:
        """Lead or follow until the model is there: True. Raises the download's `LLMError`."""
        need_anyio(running_loop() or "asyncio")
        identity = (running_loop_object(), identity)
        while True:
            flight = Flight(running_task())
            try:
                try:
                    ahead = self._board(identity, flight)
                    if ahead is None:
                        return await self._lead(flight, begin, on_progress)
                finally:
                    self._leave(identity, flight)
            except BaseException:
                self._leave(identity, flight)  # an interruption may have come in the first
                raise
            if await self._follow(ahead, asking, on_progress):
                return True

    async def _lead(
        self,
        flight: Flight,
        begin: Callable[[], tuple[Call, AsyncPump]],
        on_progress: Callable[[PullProgress], object] | None,
    ) -> bool:
        call, pump = begin()
        try:
            while (events := await pump.advance()) is not None:
                for event in events:
                    if type(event) is PullProgress:
                        flight.tell(event)
                        if on_progress is not None:
                            on_progress(event)
        finally:
            pump.close()
        response, error = call.response, call.error
        del call, pump
        flight.land(error)
        settle(response, error)
        return True

    async def _follow(
        self, flight: Flight, asking: Asking, on_progress: Callable[[PullProgress], object] | None
    ) -> bool:
        """Whether it brought the model; False if its leader left."""
        from anyio import current_time

        wakeup = _AsyncWakeup()
        flight.wakeups.append(wakeup)
        try:
            told = None
            until = after(current_time(), asking.timers.first_token)
            while True:
                over, latest = flight.over, flight.latest
                news = latest is not None and latest is not told
                if latest is not None and news:
                    if on_progress is not None:
                        on_progress(latest)
                    if latest != told:
                        until = after(current_time(), asking.timers.idle)
                    told = latest
                if over:
                    return _followed(flight)
                if not news and current_time() >= until:
                    raise_error(_too_long(told, asking))
                await wakeup.wait(until)
        finally:
            flight.wakeups.remove(wakeup)


class _Wakeup:
    """Rung by anybody, waited for by one thread, any number of times. A raw lock that is free when it was rung."""

    def __init__(self) -> None:
        self._lock = allocate_lock()
        self._lock.acquire()

    def wake(self) -> None:
        with suppress(RuntimeError):  # rung before, and not heard yet
            self._lock.release()

    def wait(self, until: float) -> None:
        self._lock.acquire(timeout=max(0.0, min(until - monotonic(), _LONGEST)))


class _AsyncWakeup:
    """Rung by anybody, of another thread too (a finaliser ends what a loop has dropped), waited for by one task."""

    def __init__(self) -> None:
        from anyio import Event

        self._event = Event()
        loop: Any = running_loop_object()
        self._soon = loop.run_sync_soon if running_loop() == "trio" else loop.call_soon_threadsafe

    def wake(self) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            self._soon(self._hear)

    def _hear(self) -> None:
        self._event.set()

    async def wait(self, until: float) -> None:
        from anyio import Event, current_time, move_on_after

        with move_on_after(max(0.0, until - current_time())):
            await self._event.wait()
        self._event = Event()


def _followed(flight: Flight) -> bool:
    """Whether the flight that is over brought the model; False if its leader left. Raises a copy of its error."""
    if flight.error is not None:
        own = copy(flight.error)
        own.__cause__ = flight.error
        raise_error(own)
    return flight.arrived


def _too_long(told: PullProgress | None, asking: Asking) -> LLMError:
    """What this caller's own call would have raised after so long a silence."""
    timers, operation = asking.timers, asking.operation
    error = failures.first_token(timers.first_token, "head") if told is None else failures.idle(timers.idle, "stream")
    error.provider, error.model = operation.provider, operation.model
    return error
