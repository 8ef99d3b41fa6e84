"""Bytes of an event stream in, `ServerSentEvent`s out (WHATWG HTML, section 9.2 "Server-sent events").

Rules of this file:
- Where the bytes are cut never matters: the events and the error are the same for every split.
- Lines end in LF, CR or CRLF and nothing else (U+2028, U+0085 are text), so lines are cut as bytes and decoded after:
  a character never spans a line end. Invalid UTF-8 becomes U+FFFD, as the standard decodes.
- A blank line dispatches; an event without one is discarded at the end of the stream, but see `unfinished`.
- With `errors`, a field `error: WORDS` is an event of that name beside the one it is in, which the standard would drop,
  and so is a bare line `{"error": ...}`: some servers end a stream so. Its last line need not be ended.
- Linear and bounded: partial lines and data grow in bytearrays, up to `max_sse_line`, `max_sse_event`, `max_stream`.
"""

from __future__ import annotations

import re
from typing import Final

from ..errors import LLMProtocolError
from ..limits import DEFAULT_LIMITS, Limits
from ..records import dataclass


@dataclass(slots=True)
class ServerSentEvent:
    """One dispatched event. `event` is "message" where none was given; `id` is the last one seen in the stream;
    `retry` is the reconnection time in milliseconds if this event carried one.
    """

    event: str = "message"
    data: str = ""
    id: str = ""
    retry: int | None = None


class SSEDecoder:
    """Feed `receive_data()` as bytes arrive and `receive_eof()` at the end; check `error` after each.

    `error` is None or, from then on, the reason why nothing more is decoded (`LLMProtocolError` with code
    "sse_line_too_long", "sse_event_too_large" or "stream_too_long"). Servers send comment lines as keep-alives, and
    blank ones: `comments` counts the former, `blanks` the latter and events without data.
    """

    __slots__ = (
        "_after_cr",
        "_commented",
        "_data",
        "_errors",
        "_event",
        "_id",
        "_limits",
        "_line",
        "_received",
        "_reported",
        "_retry",
        "_start",
        "blanks",
        "comments",
        "error",
    )

    def __init__(self, limits: Limits = DEFAULT_LIMITS, *, errors: bool = False) -> None:
        self._limits = limits
        self._errors = errors
        #: The value of an `error` field since the last blank line.
        self._reported: bytes | None = None
        self._received = 0
        self._start: bytes | None = b""  # what came before it was clear whether there is a BOM
        self._after_cr = False
        self._line = bytearray()
        self._data: bytes | bytearray | None = None
        self._event = b""
        self._id = ""
        self._retry: int | None = None
        #: Whether a comment came since the last blank line, which then is a part of it.
        self._commented = False
        self.comments = 0
        self.blanks = 0
        self.error: LLMProtocolError | None = None

    def receive_data(self, data: bytes) -> list[ServerSentEvent]:
        """The events that these bytes complete. Check `error` next, then feed more, or call `receive_eof()`."""
        events: list[ServerSentEvent] = []
        if self.error is not None:
            return events
        room = self._limits.max_stream - self._received
        self._received += len(data)
        usable = data if len(data) <= room else data[:room]
        for at in range(0, len(usable), _PIECE):
            if not self._receive(usable if len(usable) <= _PIECE else usable[at : at + _PIECE], events):
                return events
        if usable is not data:
            self._fail("stream_too_long", f"more than {self._limits.max_stream} bytes in one stream")
        return events

    def receive_eof(self) -> list[ServerSentEvent]:
        """The stream is over: always `[]`, an event without its blank line is discarded. Look at `unfinished`."""
        return []

    @property
    def unfinished(self) -> ServerSentEvent | None:
        """The event that only lacks its blank line (its last line is whole and ended), or None."""
        if self.error is not None:
            return None
        reported = self._reported
        found = _ERROR.match(self._line) if self._errors else None
        if found:
            reported = bytes(self._line[found.end() :]).strip()
        if reported is not None:
            return self._error(reported)
        if self._data is None or self._line:
            return None
        return ServerSentEvent(_text(self._event) or "message", _text(self._data), self._id, self._retry)

    @property
    def between_events(self) -> bool:
        """Whether nothing is pending: the next byte begins a line, and no event, id or retry waits for a blank line."""
        return (
            self._data is None
            and not (self._line or self._after_cr or self._event or self._commented or self._start is not None)
            and self._retry is None
            and self._reported is None
        )

    @property
    def pending(self) -> int:
        """How many bytes wait for the rest of their line or event."""
        return len(self._line) + len(self._data or b"") + len(self._start or b"") + len(self._reported or b"")

    def _receive(self, data: bytes, events: list[ServerSentEvent]) -> bool:
        """Whether decoding may go on."""
        if self._start is not None:
            data = self._start + data
            if len(data) < len(_BOM) and _BOM.startswith(data):
                self._start = data
                return True
            self._start = None
            data = data.removeprefix(_BOM)
        if self._after_cr and data:
            self._after_cr = False
            data = data.removeprefix(b"\n")
        if _CR in data:
            self._after_cr = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        lines = data.split(b"\n")
        rest = lines.pop()
        longest = self._limits.max_sse_line
        if lines and self._line:
            self._line += lines[0]
            lines[0] = bytes(self._line)
            self._line.clear()
        for line in lines:
            if len(line) > longest:
                break
            if line:
                self._field(line)
                if self.error is not None:
                    return False
            else:
                self._dispatch(events)
        else:
            self._line += rest
            if len(self._line) <= longest:
                return True
        self._fail("sse_line_too_long", f"an event stream line has more than {longest} bytes")
        return False

    def _field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        if value.startswith(b" "):
            value = value[1:]
        if name == b"data":
            if self._data is None:
                self._data = value
            else:
                if not isinstance(self._data, bytearray):
                    self._data = bytearray(self._data)
                self._data += b"\n"
                self._data += value
            if len(self._data) > self._limits.max_sse_event:
                limit = self._limits.max_sse_event
                self._fail("sse_event_too_large", f"the data of one event has more than {limit} bytes")
        elif not name:
            self.comments += 1
            self._commented = True
        elif name == b"event":
            self._event = value
        elif name == b"id":
            if _NUL not in value:
                self._id = _text(value)
        elif self._errors and (found := _ERROR.match(line)):
            self._reported = line[found.end() :]
        elif name == b"retry" and value.isdigit() and len(value) <= _MAX_RETRY_DIGITS:
            self._retry = int(value)

    def _dispatch(self, events: list[ServerSentEvent]) -> None:
        if self._data is not None:
            events.append(ServerSentEvent(_text(self._event) or "message", _text(self._data), self._id, self._retry))
            self._data = None
        elif not self._commented and self._reported is None:
            self.blanks += 1
        if self._reported is not None:
            events.append(self._error(self._reported))
            self._reported = None
        self._commented = False
        self._event = b""
        self._retry = None

    def _error(self, words: bytes) -> ServerSentEvent:
        return ServerSentEvent("error", _text(words), self._id, self._retry)

    def _fail(self, code: str, message: str) -> None:
        self.error = LLMProtocolError(message, code=code)
        self._line.clear()
        self._data = None


_ERROR: Final = re.compile(rb'error: ?|(?=\{\s*"error"\s*:)')
_BOM: Final = b"\xef\xbb\xbf"
#: As numbers: looking for a byte is ten times as fast as looking for a string of one byte.
_CR: Final = 13
_NUL: Final = 0
#: More digits than any time in milliseconds needs; also keeps `int()` cheap.
_MAX_RETRY_DIGITS: Final = 18
#: Lines are cut from pieces of this size: a list of all lines of a large read could take many times its memory.
_PIECE: Final = 64 * 1024


def _text(data: bytes | bytearray) -> str:
    return data.decode("utf-8", "replace")
