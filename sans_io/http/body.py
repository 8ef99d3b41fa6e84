"""Body readers: which bytes of a connection are body, and where the body ends (RFC 9112 section 6 and 7).

Rules of this file:
- A reader knows nothing of heads, methods or providers. Bytes in, body bytes out, joined per read.
- CR LF is strict: a bare LF or a bare CR in the framing is an error. When two parsers disagree about where a body ends,
  one caller gets another caller's reply.
- Only whole tokens are judged (a line at its LF, the CR LF after a chunk as two bytes), so a cut never matters (R9).
- What was body before a fault is returned; then `error` is set and stays (R5, R6), and later input is ignored.
- Never accept what h11 refuses (a differential test holds this); being stricter is allowed.
"""

from __future__ import annotations

import re
from typing import Final, Protocol

from ..decode.repetition import repetitions
from ..errors import LLMProtocolError, LLMStreamError
from ..limits import DEFAULT_LIMITS, Limits


class BodyReader(Protocol):
    """The seam. `stopped` is `ended or error is not None`: one look per read tells whether anything else changed.

    `surplus`: the first bytes received after the end of the body (those of one read); never given out as body.
    """

    stopped: bool
    ended: bool
    error: LLMProtocolError | LLMStreamError | None
    surplus: bytes

    def receive_data(self, data: bytes) -> bytes:
        """Bytes from the connection, cut anywhere; returns the body bytes among them. Check `stopped` afterwards."""
        ...

    def receive_eof(self) -> None:
        """The peer closed. Sets `ended`, or `error` if the body is incomplete."""
        ...


class LengthReader:
    """A body of `length` bytes (Content-Length, RFC 9112 section 6.3). With length 0 it has ended at once."""

    __slots__ = ("_remaining", "ended", "error", "stopped", "surplus")

    def __init__(self, length: int) -> None:
        self._remaining = length
        self.stopped = self.ended = length == 0
        self.error: LLMProtocolError | LLMStreamError | None = None
        self.surplus = b""

    def receive_data(self, data: bytes) -> bytes:
        if self.stopped:
            if self.ended:
                self.surplus = self.surplus or data
            return b""
        remaining = self._remaining - len(data)
        if remaining > 0:
            self._remaining = remaining
            return data
        self.stopped = self.ended = True
        if remaining:
            self.surplus = data[remaining:]
            data = data[:remaining]
        self._remaining = 0
        return data

    def receive_eof(self) -> None:
        if not self.stopped:
            self.stopped = True
            self.error = LLMStreamError(
                f"the server closed the connection {self._remaining} bytes before the end of its reply",
                code="truncated_body",
            )


class CloseReader:
    """A body that ends where the connection does: neither Content-Length nor Transfer-Encoding was given.

    Only its content can tell whether it is complete.
    """

    __slots__ = ("ended", "error", "stopped", "surplus")

    def __init__(self) -> None:
        self.stopped = self.ended = False
        self.error: LLMProtocolError | LLMStreamError | None = None
        self.surplus = b""

    def receive_data(self, data: bytes) -> bytes:
        return b"" if self.stopped else data

    def receive_eof(self) -> None:
        self.stopped = self.ended = True


#: Values of `ChunkedReader._remaining` that are no count of chunk data.
_AT_SIZE_LINE: Final = 0
_AT_CHUNK_END: Final = -1
_AT_TRAILERS: Final = -2

#: Size lines remembered by one reader, and the longest one worth it: a few tens of KiB at most.
_MAX_KNOWN_SIZES: Final = 512
_MAX_KNOWN_LINE: Final = 16
#: A chunk this short, framing included, is looked for again behind itself: a flood of equal ones is taken at once.
_SHORT_CHUNK: Final = 64
#: chunk-size, then extensions (not interpreted, RFC 9112 section 7.1.1) or the trailing blanks that some servers pad
#: the size with. As many digits as h11 takes; no real chunk needs more than eight.
_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,20})(?:;[\t\x20-\x7e\x80-\xff]*|[ \t]*)")
_TRAILER_LINE = re.compile(rb"([-!#$%&'*+.^_`|~0-9A-Za-z]+):[^\x00\n\r\x0b\x0c]*")
_FOLDED_LINE = re.compile(rb"[ \t][^\x00\n\r\x0b\x0c]*")
#: Fields that would change the framing or the routing of a message already framed (RFC 9110 section 6.5.1).
_FORBIDDEN_TRAILERS: Final = frozenset((b"content-length", b"transfer-encoding"))


class ChunkedReader:
    """A chunked body (RFC 9112 section 7.1); trailers are checked and dropped."""

    __slots__ = (
        "_max_line",
        "_max_trailer_bytes",
        "_max_trailers",
        "_pending",
        "_remaining",
        "_sizes",
        "_trailer_bytes",
        "_trailers",
        "ended",
        "error",
        "stopped",
        "surplus",
    )

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self._max_line = limits.max_chunk_line
        self._max_trailer_bytes = limits.max_head
        self._max_trailers = limits.max_headers
        self._trailer_bytes = 0
        self._trailers = 0
        # Bytes of a size line, chunk end or trailer line that is not whole yet; never body, never beyond one line.
        self._pending = b""
        self._remaining = _AT_SIZE_LINE
        # Whole size lines already judged: events of one stream are much of a size, and a look-up is the cheapest parse.
        self._sizes: dict[bytes, int] = {}
        self.stopped = self.ended = False
        self.error: LLMProtocolError | LLMStreamError | None = None
        self.surplus = b""

    def receive_data(self, data: bytes) -> bytes:
        if self.stopped:
            if self.ended:
                self.surplus = self.surplus or data
            return b""
        if self._pending:
            data = self._pending + data
            self._pending = b""
        sizes = self._sizes
        size = self._remaining
        position, begun = 0, -_SHORT_CHUNK
        end = len(data)
        body: list[bytes] = []
        while True:
            if size == _AT_SIZE_LINE:
                begun = position
                line_feed = data.find(b"\n", position)
                known = sizes.get(data[position : line_feed + 1])
                if known is None:
                    known = self._size_line(data, position, line_feed)
                    if known is None:
                        break
                size = known
                position = line_feed + 1
                if size == 0:
                    size = _AT_TRAILERS
            if size > 0:
                stop = position + size
                if stop > end:
                    self._remaining = stop - end
                    if position < end:
                        body.append(data[position:])
                    break
                body.append(data[position:stop])
                position = stop
                size = _AT_CHUNK_END
            if size == _AT_CHUNK_END:
                if data[position : position + 2] == b"\r\n":
                    position += 2
                    size = _AT_SIZE_LINE
                    if position - begun <= _SHORT_CHUNK and data.startswith(data[begun:position], position):
                        times = repetitions(data, position, data[begun:position])
                        body.append(body[-1] * times)
                        position += times * (position - begun)
                    if position < end:
                        continue
                    self._remaining = size
                    break
                if end - position >= 2:
                    self._fail("a chunk does not end with CR LF", "bad_chunk")
                self._remaining = size
                self._pending = data[position:]
                break
            self._remaining = size
            self._read_trailers(data, position)
            break
        return body[0] if len(body) == 1 else b"".join(body)

    def receive_eof(self) -> None:
        if not self.stopped:
            self.stopped = True
            self.error = LLMStreamError(
                "the server closed the connection before the end of its chunked reply", code="truncated_body"
            )

    def _size_line(self, data: bytes, position: int, line_feed: int) -> int | None:
        """The chunk size of a line met for the first time; None if it is not whole yet or not valid."""
        self._remaining = _AT_SIZE_LINE
        line = self._whole_line(data, position, line_feed)
        if line is None:
            return None
        match = _SIZE_LINE.fullmatch(line)
        if match is None:
            self._fail("a chunk-size line is malformed", "bad_chunk")
            return None
        size = int(match[1], 16)
        if len(line) <= _MAX_KNOWN_LINE and len(self._sizes) < _MAX_KNOWN_SIZES:
            self._sizes[data[position : line_feed + 1]] = size
        return size

    def _read_trailers(self, data: bytes, position: int) -> None:
        while True:
            line_feed = data.find(b"\n", position)
            line = self._whole_line(data, position, line_feed)
            if line is None:
                return
            position = line_feed + 1
            if not line:
                self.stopped = self.ended = True
                self.surplus = data[position:]
                return
            self._trailer_bytes += len(line) + 2
            if self._trailer_bytes > self._max_trailer_bytes:
                self._fail("the trailer section is too large", "head_too_large")
                return
            if self._trailers and _FOLDED_LINE.fullmatch(line):
                continue
            self._trailers += 1
            if self._trailers > self._max_trailers:
                self._fail("there are too many trailer fields", "too_many_headers")
                return
            match = _TRAILER_LINE.fullmatch(line)
            if match is None or match[1].lower() in _FORBIDDEN_TRAILERS:
                self._fail("a trailer field is malformed or not allowed", "bad_chunk")
                return

    def _whole_line(self, data: bytes, position: int, line_feed: int) -> bytes | None:
        """The line that ends at `line_feed` without its CR LF; None if there is none yet (kept) or it is refused."""
        length = (len(data) if line_feed < 0 else line_feed) - position
        # One more than the cap may be the CR.
        if length > self._max_line + 1:
            self._fail("a line of the chunked framing is too long", "chunk_line_too_long")
        elif line_feed < 0:
            self._pending = data[position:]
        elif length == 0 or data[line_feed - 1] != 13:
            self._fail("a line of the chunked framing ends in a bare LF", "bad_chunk")
        else:
            return data[position : line_feed - 1]
        return None

    def _fail(self, message: str, code: str) -> None:
        self.stopped = True
        self.error = LLMProtocolError(f"the reply's chunked framing is broken: {message}", code=code)
