"""What `chat_stream()` returns: an object that is its own iterator, blocking or asynchronous.

Rules of this file:
- Classes, not generators: the garbage collector decides when a generator's `finally` runs (PEP 533, 789).
- The two streams differ in `await` only; every decision is made in `stream_state`.
"""

from __future__ import annotations

from _thread import get_ident
from collections.abc import Callable
from typing import TYPE_CHECKING, Self

from sans_io.chat.events import TextDelta
from sans_io.chat.response import ChatResponse

from .loops import at_once, running_task
from .stream_state import NOTHING, AsyncPump, StreamState, SyncPump

if TYPE_CHECKING:
    from types import TracebackType

    from sans_io.calls.call import Call
    from sans_io.chat.events import Event


class ChatStream(StreamState):
    """A reply as it arrives: `for text in stream`, or `events()`; then `response`. Use `with`, or `close()` it."""

    def __init__(self, begin: Callable[[], tuple[Call, SyncPump]]) -> None:
        super().__init__()
        self._begin = begin
        self._running: SyncPump | None = None

    def __iter__(self) -> ChatStream:
        return self

    def __next__(self) -> str:
        """The next piece of the first choice's text. Raises `LLMError`; `RuntimeError` for a second consumer."""
        while True:
            for event in self._pending:
                if type(event) is TextDelta and event.choice == 0:
                    return event.text
            if not self._pull():
                raise StopIteration

    def events(self) -> EventIterator:
        """The typed events of all choices, from the current position of the stream."""
        return EventIterator(self)

    def until_done(self) -> ChatResponse:
        """Read to the end and return the final response. Raises the stream's error, even if it was raised before."""
        while self._pull(skip=True):
            pass
        return self._final()

    def close(self) -> None:
        """Stop reading. Before the end of the reply this cancels it; later the connection is kept. Harmless twice."""
        at_once(self._close())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _pull(self, *, skip: bool = False) -> bool:
        turn = object()
        try:
            try:
                if not self._take_turn(turn):
                    return False
                if skip:
                    self._pending = NOTHING
                return self._took(self._advance())
            finally:
                self._give_back(turn)
        finally:
            self._give_back(turn)

    async def _drain(self) -> None:
        while self._advance() is not None:
            pass

    def _advance(self) -> list[Event] | None:
        try:
            pump = self._running
            if pump is None:
                call, pump = self._begin()
                self._running = pump
                self._opened(call, pump)
            return pump.advance()
        except BaseException:
            self._interrupt()
            raise


class EventIterator:
    """What `ChatStream.events()` returns."""

    __slots__ = ("_stream",)

    def __init__(self, stream: ChatStream) -> None:
        self._stream = stream

    def __iter__(self) -> EventIterator:
        return self

    def __next__(self) -> Event:
        stream = self._stream
        while True:
            for event in stream._pending:
                return event
            if not stream._pull():
                raise StopIteration


class AsyncChatStream(StreamState):
    """A reply as it arrives: `async for text in stream`, or `events()`; then `response`. On asyncio and trio.

    Use `async with`, or `await stream.aclose()`.
    """

    def __init__(self, begin: Callable[[], tuple[Call, AsyncPump]]) -> None:
        super().__init__()
        self._begin = begin
        self._running: AsyncPump | None = None
        self._thread = 0

    def __aiter__(self) -> AsyncChatStream:
        return self

    async def __anext__(self) -> str:
        """The next piece of the first choice's text. Raises `LLMError`; `RuntimeError` for a second consumer."""
        while True:
            for event in self._pending:
                if type(event) is TextDelta and event.choice == 0:
                    return event.text
            if not await self._pull():
                raise StopAsyncIteration

    def events(self) -> AsyncEventIterator:
        """The typed events of all choices, from the current position of the stream."""
        return AsyncEventIterator(self)

    async def until_done(self) -> ChatResponse:
        """Read to the end and return the final response. Raises the stream's error, even if it was raised before."""
        while await self._pull(skip=True):
            pass
        return self._final()

    async def aclose(self) -> None:
        """Stop reading. Before the end of the reply this cancels it; later the connection is kept. Harmless twice."""
        await self._close()

    close = aclose

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _pull(self, *, skip: bool = False) -> bool:
        turn = object()
        try:
            try:
                if not self._take_turn(turn):
                    return False
                if skip:
                    self._pending = NOTHING
                return self._took(await self._advance())
            finally:
                self._give_back(turn)
        finally:
            self._give_back(turn)

    async def _drain(self) -> None:
        while await self._advance() is not None:
            pass

    async def _advance(self) -> list[Event] | None:
        try:
            pump = self._running
            if pump is None:
                self._thread = get_ident()
                call, pump = self._begin()
                self._running = pump
                self._opened(call, pump)
            return await pump.advance()
        except BaseException:
            self._interrupt()
            raise

    def _owns_thread(self) -> bool:
        return self._thread == get_ident()

    def _who(self) -> object:
        return (get_ident(), running_task())


class AsyncEventIterator:
    """What `AsyncChatStream.events()` returns."""

    __slots__ = ("_stream",)

    def __init__(self, stream: AsyncChatStream) -> None:
        self._stream = stream

    def __aiter__(self) -> AsyncEventIterator:
        return self

    async def __anext__(self) -> Event:
        stream = self._stream
        while True:
            for event in stream._pending:
                return event
            if not await stream._pull():
                raise StopAsyncIteration
