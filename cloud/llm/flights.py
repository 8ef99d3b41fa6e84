"""One download per model at a time: whoever asks for the same one meanwhile waits for it, and sees its progress.

Rules of this file:
- The first to ask leads and does the work; each follower has its own `on_progress` called in its own thread or task.
- A leader that is cancelled or killed ends its own flight only: the first follower to notice begins anew.
- Followers of a failed flight get an error of their own: a traceback belongs to one raiser.
- `SyncPulls` and `AsyncPulls` differ in `await` and in what they wait with.
"""

from __future__ import annotations

import threading
from copy import copy
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from sans_io.errors import LLMError
from sans_io.events import PullProgress
from transports.loading import need_anyio

from .loops import running_loop, running_loop_object
from .outcome import raise_error, settle

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

    from sans_io.call import Call

    from .stream_state import AsyncPump, SyncPump


class Signal(Protocol):
    """An event of `threading` or of `anyio`."""

    def set(self) -> object: ...


class SyncSignal(Signal, Protocol):
    def wait(self) -> object: ...


class AsyncSignal(Signal, Protocol):
    def wait(self) -> Awaitable[object]: ...


SignalT = TypeVar("SignalT", bound=Signal)


class Flight(Generic[SignalT]):
    """One download. `news` is replaced by a fresh signal whenever `latest` or `over` changes, then set."""

    def __init__(self, new_signal: Callable[[], SignalT]) -> None:
        self._new_signal = new_signal
        self.news = new_signal()
        self.latest: PullProgress | None = None
        self.over = False
        #: When over: whether it arrived. Neither arrived nor failed: its leader left.
        self.arrived = False
        self.error: LLMError | None = None

    def tell(self, progress: PullProgress) -> None:
        self.latest = progress
        self._announce()

    def land(self, error: LLMError | None) -> None:
        self.arrived, self.error = error is None, error
        self.end()

    def end(self) -> None:
        if not self.over:
            self.over = True
            self._announce()

    def _announce(self) -> None:
        news, self.news = self.news, self._new_signal()
        news.set()


class _Pulls(Generic[SignalT]):
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._flights: dict[Hashable, Flight[SignalT]] = {}

    def _board(self, identity: Hashable, new_signal: Callable[[], SignalT]) -> tuple[Flight[SignalT], bool]:
        """The flight to take, and whether as its leader."""
        with self._lock:
            flight = self._flights.get(identity)
            if flight is not None and not flight.over:
                return flight, False
            flight = self._flights[identity] = Flight(new_signal)
            return flight, True

    def _leave(self, identity: Hashable, flight: Flight[SignalT]) -> None:
        with self._lock:
            if self._flights.get(identity) is flight:
                del self._flights[identity]
        flight.end()


class SyncPulls(_Pulls["SyncSignal"]):
    """The downloads of all blocking clients."""

    def join(
        self,
        identity: Hashable,
        begin: Callable[[], tuple[Call, SyncPump]],
        on_progress: Callable[[PullProgress], object] | None,
    ) -> bool:
        """Lead or follow until the model is there: True. Raises the download's `LLMError`."""
        while True:
            flight, leads = self._board(identity, threading.Event)
            if leads:
                return self._lead(identity, flight, begin, on_progress)
            told = None
            while True:
                news, over, latest = flight.news, flight.over, flight.latest
                if latest is not None and latest is not told and on_progress is not None:
                    told = latest
                    on_progress(latest)
                if over:
                    break
                news.wait()
            if _followed(flight):
                return True

    def _lead(
        self,
        identity: Hashable,
        flight: Flight[SyncSignal],
        begin: Callable[[], tuple[Call, SyncPump]],
        on_progress: Callable[[PullProgress], object] | None,
    ) -> bool:
        try:
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
        finally:
            self._leave(identity, flight)
        settle(response, error)
        return True


class AsyncPulls(_Pulls["AsyncSignal"]):
    """The downloads of all asynchronous clients, each event loop by itself."""

    async def join(
        self,
        identity: Hashable,
        begin: Callable[[], tuple[Call, AsyncPump]],
        on_progress: Callable[[PullProgress], object] | None,
    ) -> bool:
        """Lead or follow until the model is there: True. Raises the download's `LLMError`."""
        need_anyio(running_loop() or "asyncio")
        from anyio import Event

        identity = (running_loop_object(), identity)
        while True:
            flight, leads = self._board(identity, Event)
            if leads:
                return await self._lead(identity, flight, begin, on_progress)
            told = None
            while True:
                news, over, latest = flight.news, flight.over, flight.latest
                if latest is not None and latest is not told and on_progress is not None:
                    told = latest
                    on_progress(latest)
                if over:
                    break
                await news.wait()
            if _followed(flight):
                return True

    async def _lead(
        self,
        identity: Hashable,
        flight: Flight[AsyncSignal],
        begin: Callable[[], tuple[Call, AsyncPump]],
        on_progress: Callable[[PullProgress], object] | None,
    ) -> bool:
        try:
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
        finally:
            self._leave(identity, flight)
        settle(response, error)
        return True


def _followed(flight: Flight[SignalT]) -> bool:
    """Whether the flight that is over brought the model; False if its leader left. Raises a copy of its error."""
    if flight.error is not None:
        own = copy(flight.error)
        own.__cause__ = flight.error
        raise_error(own)
    return flight.arrived
