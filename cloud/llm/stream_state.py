"""What every stream decides: who may read, what was handed over, how it ends. The two kinds are in `streams`.

    new ──first pull──> open ──end of the reply, failure, cancel, close──> ended      (and it stays so)

Rules of this file:
- Nothing happens before the first pull: no clock is read, no seat in the pool is taken, no byte is sent.
- Whoever has the turn owns the pump; everyone else may only call `pump.cancel()`. A turn is an object made before it
  is claimed, and given back in two nested `finally`s: Ctrl-C can come at any bytecode, those of the first included.
- An exception that interrupts a pull ends the stream, and the next pull says so: a cut reply never looks complete.
"""

from __future__ import annotations

from _thread import get_ident
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Iterator
from copy import copy
from typing import TYPE_CHECKING, Protocol

from sans_io.chat.response import ChatResponse
from sans_io.errors import LLMStreamError

from .logs import log_response
from .outcome import raise_error, without

if TYPE_CHECKING:
    from sans_io.calls.call import Call
    from sans_io.chat.events import Event


class PumpInterface(Protocol):
    """What every pump has: `cancel` from anywhere, `close` by its owner, `abandon` in finalisers.

    `reentrant`: this thread must neither wait nor read, since it is in the middle of a change of the pool (a handler or
    finaliser runs), or the connection belongs to the process it was forked from.
    """

    def cancel(self) -> None: ...
    def close(self) -> None: ...
    def abandon(self) -> None: ...
    @property
    def reentrant(self) -> bool: ...


class SyncPump(PumpInterface, Protocol):
    """A pump that blocks: the events of one read, or None when the call is finished."""

    def advance(self) -> list[Event] | None: ...


class AsyncPump(PumpInterface, Protocol):
    """The same, awaited."""

    def advance(self) -> Awaitable[list[Event] | None]: ...


NOTHING: Iterator[Event] = iter(())


class StreamState(ABC):
    """State and decisions; `ChatStream` and `AsyncChatStream` differ in `await` only."""

    def __init__(self) -> None:
        self._call: Call | None = None
        self._pump: PumpInterface | None = None
        #: Whose turn it is, under the only key there is: `setdefault` claims it in one operation of C.
        self._turns: dict[str, object] = {}
        #: Events that the pump has handed out and we have not. A list's iterator, so that a copy can look ahead.
        self._pending: Iterator[Event] = NOTHING
        #: Those that never will be handed out: set when the stream ends.
        self._dropped: list[Event] = []
        self._ended = False
        self._completed = False
        self._interrupted = False
        self._cancelled_by: object = None

    @property
    def partial(self) -> ChatResponse:
        """What has been handed over so far: `content` is the text of all chunks up to now. Never raises."""
        partial = None if self._call is None else self._call.partial
        if partial is None:
            return ChatResponse()
        return without(partial, self._dropped or list(copy(self._pending)))

    @property
    def response(self) -> ChatResponse:
        """The final response, once the stream was read to its end. `RuntimeError` before that and after a failure."""
        call = self._call
        if self._completed and call is not None and call.response is not None:
            return call.response
        if not self._ended:
            raise RuntimeError("the stream has not been read to its end: call until_done(), or read partial")
        cause = None if call is None else call.error
        raise RuntimeError("the stream did not complete; what had arrived is in partial") from cause

    def cancel(self) -> None:
        """Stop, from any thread or task, at any time. Raises nothing here, and the next pull of the thread or task that
        cancelled just ends the iteration; any other one that iterates gets `LLMStreamError(code="cancelled")`.
        """
        if self._ended or self._cancelled_by is not None:
            return
        self._cancelled_by = self._who()
        pump = self._pump
        if pump is None:
            return
        turn = object()
        try:
            if self._owns_thread() and self._claim(turn):
                self._drop_pending()
                pump.close()
            else:
                pump.cancel()
        finally:
            self._give_back(turn)

    # -- decisions for both kinds -------------------------------------------------------------------------------------

    def _who(self) -> object:
        """Who runs now, as far as `cancel` makes a difference."""
        return get_ident()

    def _owns_thread(self) -> bool:
        """Whether this thread may act as the pump's owner (an event loop's objects belong to its thread)."""
        return True

    def _claim(self, turn: object) -> bool:
        """Make it this one's turn, if it is nobody's. `_give_back` it in any case."""
        return self._turns.setdefault("turn", turn) is turn

    def _give_back(self, turn: object) -> None:
        """Harmless twice, and for a turn that was not granted."""
        if self._turns.get("turn") is turn:
            del self._turns["turn"]

    def _take_turn(self, turn: object) -> bool:
        """Claim the pump for one pull. False: the stream is over. The caller must give the turn back."""
        if not self._claim(turn):
            if self._cancelled_by is None and not self._ended:
                raise RuntimeError("the stream is being read by another task or thread")
            if not self._ended:
                # Whoever cancels it has the turn for a moment, to close it.
                self._ended = True
                self._blame_canceller()
            return False
        if not self._ended and self._cancelled_by is None and not self._interrupted:
            return True
        if not self._ended:
            self._end()
            if self._interrupted:
                raise self._cancelled("the previous read was interrupted, so the reply is incomplete")
            self._blame_canceller()
        return False

    def _opened(self, call: Call, pump: PumpInterface) -> None:
        self._call, self._pump = call, pump
        if self._cancelled_by is not None:
            # `cancel` was called when there was no pump yet.
            pump.cancel()

    def _took(self, events: list[Event] | None) -> bool:
        """Take the events of a pull. False: the reply ended in order."""
        if self._cancelled_by is not None:
            self._pending = iter(events or ())
            self._end()
            self._blame_canceller()
            return False
        if events is not None:
            self._pending = iter(events)
            return True
        call = self._call
        error = None if call is None else call.error
        self._completed = error is None
        self._end()
        if error is not None:
            raise_error(error)
        if call is not None and call.response is not None:
            log_response(call.response)
        return False

    @abstractmethod
    async def _drain(self) -> None:
        """Read what is left of a reply that has arrived whole. Never suspends in a blocking stream."""

    async def _close(self) -> None:
        if self._ended:
            return
        turn = object()
        try:
            try:
                if not self._owns_thread() or not self._claim(turn):
                    self.cancel()
                elif self._may_finish():
                    self._drop_pending()
                    await self._drain()
                    self._settled()
                else:
                    self._end()
            finally:
                self._give_back(turn)
        finally:
            self._give_back(turn)

    def _end(self) -> None:
        self._ended = True
        self._drop_pending()
        if self._pump is not None and not self._completed:
            self._pump.close()

    def _interrupt(self) -> None:
        """An exception that is not the call's own came out of a pull: Ctrl-C, a task's cancellation."""
        self._interrupted = True
        if self._pump is not None:
            self._pump.close()

    def _may_finish(self) -> bool:
        """Whether the whole reply has arrived, so that closing need not cancel and the connection can be kept."""
        if self._call is None or self._pump is None or self._pump.reentrant:
            return False
        return self._call.whole and not self._interrupted and self._cancelled_by is None

    def _settled(self) -> None:
        """The owner closed a reply that had arrived whole; it counts as read if none of it was left unread."""
        self._ended = True
        self._completed = not self._dropped and self._call is not None and self._call.response is not None

    def _final(self) -> ChatResponse:
        call = self._call
        if call is not None:
            if self._completed and call.response is not None:
                return call.response
            if call.error is not None and self._cancelled_by is None:
                raise_error(call.error)
        raise self._cancelled("the stream was cancelled or closed before its end")

    def _drop_pending(self) -> None:
        if not self._dropped:
            self._dropped = list(self._pending)
        self._pending = NOTHING

    def _blame_canceller(self) -> None:
        if self._cancelled_by != self._who():
            raise self._cancelled("the stream was cancelled by another task or thread")

    def _cancelled(self, message: str) -> LLMStreamError:
        call = self._call
        known = None if call is None else call.error
        return LLMStreamError(
            message,
            code="cancelled",
            phase="stream",
            partial=self.partial,
            attempts=() if call is None else call.attempts,
            request_id=None if known is None else known.request_id,
            provider=None if known is None else known.provider,
            model=None if known is None else known.model,
            may_be_billed=call is not None,
        )

    def __del__(self) -> None:
        # Runs in any thread, with or without a loop, so only what `abandon` promises may be used here.
        pump = getattr(self, "_pump", None)
        if pump is not None and not self._ended:
            pump.abandon()

    def __repr__(self) -> str:
        state = "ended" if self._ended else "new" if self._pump is None else "open"
        return f"<{type(self).__name__}: {state}>"
