"""What the readers of streams share: how they count content and keep-alives, and how they get through floods.

Rules of this file:
- Each event of the wire is counted once, as content or as a keep-alive; `sans_io.chat.content` says which it is.
- Bytes that only repeat what has just changed nothing are passed over without being decoded: a flood of empty events
  costs no more for each byte than a stream of text does. The outcome is the same, counts and caps included.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final, Protocol

from ..chat.content import has_content
from ..decode.repetition import period, repetitions

if TYPE_CHECKING:
    from ..chat.content import Tally
    from ..chat.events import Event
    from ..errors import LLMError

#: A longer read is taken in pieces, each to the end of an event, to see where it begins to repeat itself.
LONG: Final = 512
_PIECE: Final = 4 * 1024


class Decoder(Protocol):
    """What passing over needs of a decoder: what ends an event, how many bytes wait in it, how many its cap allows."""

    @property
    def separator(self) -> bytes: ...
    @property
    def pending(self) -> int: ...
    @property
    def room(self) -> int: ...

    def skip(self, size: int) -> None:
        """So many bytes came that changed nothing."""
        ...


class StreamReader(ABC):
    """Base of the readers of streams (`ReplyReader`). A subclass decodes, hands reads that are `LONG` to
    `_receive_long()` unless it is `_cutting`, and tells `_took()` of each event.
    """

    __slots__ = ("_cutting", "_entered", "_silent", "content_events", "error")

    def __init__(self) -> None:
        self.content_events = 0
        self.error: LLMError | None = None
        #: Events that brought no content.
        self._silent = 0
        #: Whether a long read is being taken in pieces.
        self._cutting = False
        #: How much of the tally has been counted.
        self._entered = 0

    @abstractmethod
    def receive_data(self, data: bytes) -> list[Event]:
        """Body bytes, cut anywhere. Check `error` and `ended` afterwards."""

    @property
    @abstractmethod
    def keepalives(self) -> int:
        """What came and was no content."""

    @abstractmethod
    def _stopped(self) -> bool:
        """Whether nothing more is read."""

    def _took(self, events: list[Event], tally: Tally) -> None:
        """One event of the wire was read, and these came of it."""
        if tally.content != self._entered or has_content(events):
            self._entered = tally.content
            self.content_events += 1
        else:
            self._silent += 1

    def _receive_long(self, data: bytes, decoder: Decoder, tally: Tally) -> list[Event]:
        """A read longer than `LONG`, piece by piece."""
        events: list[Event] = []
        self._cutting = True
        at = 0
        while at < len(data) and not self._stopped():
            size = period(data, at)
            if size:
                at, quiet = self._pass_over(data, at, size, decoder, tally, events)
                if quiet:
                    continue
            end = data.find(decoder.separator, at + _PIECE, at + 2 * _PIECE)
            end = at + _PIECE if end < 0 else end + len(decoder.separator)
            events += self.receive_data(data[at:end])
            at = end
        self._cutting = False
        return events

    def _pass_over(
        self, data: bytes, at: int, size: int, decoder: Decoder, tally: Tally, events: list[Event]
    ) -> tuple[int, bool]:
        """Take the `size` bytes at `at` twice; if they changed nothing the second time, they will not the next times.

        Where that led, and whether anything was passed over.
        """
        unit = data[at : at + size]
        at += size
        if not self._brings_nothing(unit, tally, events):
            return at, False
        pending, counted = decoder.pending, self.keepalives
        at += size
        if not self._brings_nothing(unit, tally, events) or decoder.pending != pending:
            return at, False
        times = min(repetitions(data, at, unit), decoder.room // size)
        decoder.skip(times * size)
        self._silent += times * (self.keepalives - counted)
        return at + times * size, times > 0

    def _brings_nothing(self, data: bytes, tally: Tally, events: list[Event]) -> bool:
        """Receive it; whether nothing came of it but keep-alives."""
        before = (self.content_events, tally.beside)
        said = self.receive_data(data)
        events += said
        return not said and not self._stopped() and (self.content_events, tally.beside) == before
