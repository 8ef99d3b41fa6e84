"""One download per model at a time: callers that ask for the same one meanwhile wait for it and see its progress.

Rules of this file:
- The first to ask leads and does the work; `on_progress` of each follower is called in its own thread or task.
- A leader that is cancelled or interrupted ends only its own flight: the first follower to notice leads the next one.
- A follower's own timers apply while it follows: `first_token` until the first sign of progress, `idle` afterwards.
- Nothing waits for itself or for another process: code that interrupts a leader in its own thread leads a flight that
  nobody shares, and a forked child ignores those of its parent.
- No lock: one operation of a dict enters a flight, and only its leader removes it.
- Followers of a failed flight get an error of their own: a traceback belongs to one raiser.
- One text for both kinds of client; `SyncPulls` and `AsyncPulls` differ in what they wait with.
"""

from __future__ import annotations

from _thread import allocate_lock, get_ident
from abc import ABC, abstractmethod
from contextlib import suppress
from copy import copy
from os import getpid
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

from sans_io.calls import failures
from sans_io.chat.events import PullProgress
from sans_io.errors import LLMError
from sans_io.policy.deadline import after
from transports.loading import need_anyio

from .loops import at_once, running_loop, running_loop_object, running_task
from .outcome import raise_error, settle

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from sans_io.calls.call import Call
    from sans_io.chat.events import Event
    from sans_io.policy.deadline import Timers
    from sans_io.providers.base import Operation
    from transports.resolver import Waker

    from .stream_state import AsyncPump, PumpInterface, SyncPump

PumpT = TypeVar("PumpT", bound="PumpInterface")

#: The longest single sleep of a thread in seconds; longer ones are repeated.
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
        self.over: bool = False
        #: Once over: whether the model arrived. If it neither arrived nor failed, the leader left.
        self.arrived: bool = False
        self.error: LLMError | None = None
        #: One for each follower, who adds and removes it.
        self.wakeups: list[Waker] = []

    def report(self, progress: PullProgress) -> None:
        self.latest = progress
        self._wake_all()

    def land(self, error: LLMError | None) -> None:
        self.arrived, self.error = error is None, error

    def end(self) -> None:
        """Harmless twice."""
        self.over = True
        self._wake_all()

    def _wake_all(self) -> None:
        for wakeup in tuple(self.wakeups):
            wakeup.wake()


class _Pulls(ABC, Generic[PumpT]):
    """Leading and following: one text. That of blocking clients never suspends."""

    def __init__(self) -> None:
        self._flights: dict[Hashable, Flight] = {}

    async def _join(
        self,
        identity: Hashable,
        leader: object,
        asking: Asking,
        begin: Callable[[], tuple[Call, PumpT]],
        on_progress: Callable[[PullProgress], object] | None,
    ) -> bool:
        """Lead or follow until the model is there: True. Raises the download's `LLMError`."""
        while True:
            flight = Flight(leader)
            try:
                try:
                    ahead = self._board(identity, flight)
                    if ahead is None:
                        return await self._lead(flight, begin, on_progress)
                finally:
                    self._leave(identity, flight)
            except BaseException:
                self._leave(identity, flight)  # the first one may have been interrupted
                raise
            if await self._follow(ahead, asking, on_progress):
                return True

    def _board(self, identity: Hashable, flight: Flight) -> Flight | None:
        """The flight to follow; None: lead this one."""
        ahead = self._flights.setdefault((getpid(), identity), flight)
        return None if ahead is flight or ahead.leader == flight.leader or ahead.over else ahead

    def _leave(self, identity: Hashable, flight: Flight) -> None:
        """The flight is over, if it was led at all. Harmless twice."""
        key = (getpid(), identity)
        if self._flights.get(key) is flight:
            self._flights.pop(key, None)
        flight.end()

    async def _lead(
        self,
        flight: Flight,
        begin: Callable[[], tuple[Call, PumpT]],
        on_progress: Callable[[PullProgress], object] | None,
    ) -> bool:
        call, pump = begin()
        try:
            while (events := await self._read(pump)) is not None:
                for event in events:
                    if type(event) is PullProgress:
                        flight.report(event)
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
        """Whether the flight brought the model; False if its leader left."""
        wakeup, clock = self._new_wakeup(), self._clock()
        flight.wakeups.append(wakeup)
        try:
            seen = None
            until = after(clock(), asking.timers.first_token)
            while True:
                over, latest = flight.over, flight.latest
                news = latest is not None and latest is not seen
                if latest is not None and news:
                    if on_progress is not None:
                        on_progress(latest)
                    if latest != seen:
                        until = after(clock(), asking.timers.idle)
                    seen = latest
                if over:
                    return _followed(flight)
                if not news and clock() >= until:
                    raise_error(_too_long(seen, asking))
                waiting = wakeup.wait(until)
                if waiting is not None:
                    await waiting
        finally:
            flight.wakeups.remove(wakeup)

    @abstractmethod
    async def _read(self, pump: PumpT) -> list[Event] | None:
        """What the pump's `advance` gives."""

    @abstractmethod
    def _new_wakeup(self) -> _ThreadWakeup | _TaskWakeup: ...

    @abstractmethod
    def _clock(self) -> Callable[[], float]: ...


class SyncPulls(_Pulls["SyncPump"]):
    """The downloads of all blocking clients."""

    def join(
        self,
        identity: Hashable,
        asking: Asking,
        begin: Callable[[], tuple[Call, SyncPump]],
        on_progress: Callable[[PullProgress], object] | None,
    ) -> bool:
        """Lead or follow until the model is there: True. Raises the download's `LLMError`."""
        return at_once(self._join(identity, get_ident(), asking, begin, on_progress))

    def watch(
        self, begin: Callable[[], tuple[Call, SyncPump]], on_progress: Callable[[PullProgress], object] | None
    ) -> bool:
        """The progress of what nobody shares, to its end: True. Raises its `LLMError`."""
        return at_once(self._lead(Flight(None), begin, on_progress))

    async def _read(self, pump: SyncPump) -> list[Event] | None:
        return pump.advance()

    def _new_wakeup(self) -> _ThreadWakeup:
        return _ThreadWakeup()

    def _clock(self) -> Callable[[], float]:
        return monotonic


class AsyncPulls(_Pulls["AsyncPump"]):
    """The downloads of all asynchronous clients, each event loop by itself."""

    async def join(
        self,
        identity: Hashable,
        asking: Asking,
        begin: Callable[[], tuple[Call, AsyncPump]],
        on_progress: Callable[[PullProgress], object] | None,
    ) -> bool:
        """The same, awaited."""
        need_anyio(running_loop() or "asyncio")
        return await self._join((running_loop_object(), identity), running_task(), asking, begin, on_progress)

    async def watch(
        self, begin: Callable[[], tuple[Call, AsyncPump]], on_progress: Callable[[PullProgress], object] | None
    ) -> bool:
        """The same, awaited."""
        return await self._lead(Flight(None), begin, on_progress)

    async def _read(self, pump: AsyncPump) -> list[Event] | None:
        return await pump.advance()

    def _new_wakeup(self) -> _TaskWakeup:
        return _TaskWakeup()

    def _clock(self) -> Callable[[], float]:
        from anyio import current_time

        return current_time


async def let_others_run() -> None:
    """A pause of no length; a place to be cancelled."""
    need_anyio(running_loop() or "asyncio")
    from anyio.lowlevel import checkpoint

    await checkpoint()


class _ThreadWakeup:
    """Woken by anyone, waited for by one thread, any number of times. A raw lock that is free once it was woken."""

    def __init__(self) -> None:
        self._lock = allocate_lock()
        self._lock.acquire()

    def wake(self) -> None:
        with suppress(RuntimeError):  # woken before, and not noticed yet
            self._lock.release()

    def wait(self, until: float) -> None:
        self._lock.acquire(timeout=max(0.0, min(until - monotonic(), _LONGEST)))


class _TaskWakeup:
    """Woken by anyone, from any thread (a finaliser ends what a loop has dropped), waited for by one task."""

    def __init__(self) -> None:
        from anyio import Event

        self._event = Event()
        loop: Any = running_loop_object()
        self._soon = loop.run_sync_soon if running_loop() == "trio" else loop.call_soon_threadsafe

    def wake(self) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            self._soon(self._event_set)

    def _event_set(self) -> None:
        self._event.set()

    async def wait(self, until: float) -> None:
        from anyio import Event, current_time, move_on_after

        with move_on_after(max(0.0, until - current_time())):
            await self._event.wait()
        self._event = Event()


def _followed(flight: Flight) -> bool:
    """Whether a flight that is over brought the model; False if its leader left. Raises a copy of its error."""
    if flight.error is not None:
        own = copy(flight.error)
        own.__cause__ = flight.error
        raise_error(own)
    return flight.arrived


def _too_long(seen: PullProgress | None, asking: Asking) -> LLMError:
    """The error that this caller's own call would have raised after so long a silence."""
    timers, operation = asking.timers, asking.operation
    error = failures.first_token(timers.first_token, "head") if seen is None else failures.idle(timers.idle, "stream")
    error.provider, error.model = operation.provider, operation.model
    return error
