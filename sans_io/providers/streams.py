"""What the readers of streams share: how they count content and keep-alives.

Rules of this file:
- Each event of the wire is counted once, as content or as a keep-alive; `sans_io.content` says which it is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from ..content import has_content

if TYPE_CHECKING:
    from ..content import Tally
    from ..errors import LLMError
    from ..events import Event


class StreamReader(ABC):
    """Base of the readers of streams (`ReplyReader`). A subclass decodes and tells `_took()` of each event."""

    __slots__ = ("_entered", "_silent", "content_events", "error")

    def __init__(self) -> None:
        self.content_events = 0
        self.error: LLMError | None = None
        #: Events that brought no content.
        self._silent = 0
        #: How much of the tally has been counted.
        self._entered = 0

    @abstractmethod
    def receive_data(self, data: bytes) -> list[Event]:
        """Body bytes, cut anywhere. Check `error` and `ended` afterwards."""

    @property
    @abstractmethod
    def keepalives(self) -> int:
        """What came and was no content."""

    def _took(self, events: list[Event], tally: Tally) -> None:
        """One event of the wire was read, and these came of it."""
        if tally.content != self._entered or has_content(events):
            self._entered = tally.content
            self.content_events += 1
        else:
            self._silent += 1
