"""Bytes of an event stream in, `(event name, JSON value)` pairs out: what the codecs of SSE wires read.

Rules of this file:
- `SSEDecoder` and `jsontext.decode` are the reference; the fast path only gives the same pairs sooner. It takes blocks
  that are exactly `data: {...}` or `event: NAME`, `data: {...}`, LF, and a blank line; the reference takes all others.
- What could be nested too deeply never reaches a decoder (`json_guards`): a value's line is checked before it is read.
- Pairs before a fault are returned, then `error` is set and stays.
- A block that is not whole yet waits as bytes, as long as it is short; a long one, or one with a CR, goes through
  `SSEDecoder`, which has the caps, until that is between events again.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from ..errors import LLMProtocolError
from ..limits import DEFAULT_LIMITS, Limits
from . import jsontext
from .jsontext import JSON, JSONTextError
from .sse import ServerSentEvent, SSEDecoder

#: The value of a pair whose data begins with `[DONE]`, OpenAI's end of a stream.
DONE: Final = object()


class SSEJSONDecoder:
    """Feed `receive_data()` as bytes arrive and `receive_eof()` at the end; check `error` after each.

    A pair's value is the parsed data, or the constant `DONE`; its name is "message" where no event was named. Events
    with empty data are skipped; one named "error" that holds mere words is `{"error": words}`. `error` is None or, from
    then on, why nothing more is decoded (`LLMProtocolError`, codes of `SSEDecoder` and "bad_json"). `keepalives` counts
    comments, blank lines and events without data. Half a surrogate pair in a string is left as it is: its other half
    may be in the next event (`jsontext.SurrogateJoiner`).
    """

    __slots__ = (
        "_clear",
        "_empty",
        "_events",
        "_fast",
        "_head",
        "_is_harmless",
        "_left",
        "_limits",
        "_name",
        "_plain_size",
        "_raw_head",
        "_small",
        "_tail",
        "error",
    )

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        self._events = SSEDecoder(limits, errors=True)
        self._fast: Callable[[bytes], JSON] | None = jsontext.accelerator(limits)
        self._left = limits.max_stream
        self._tail = b""
        self._empty = 0
        #: Whether the next byte begins a block: nothing waits here, in `_events`, or for its BOM.
        self._clear = False
        #: How the last block began and what it was called. Most blocks of a stream begin alike: one comparison.
        self._head, self._raw_head, self._name = "data: {", b"data: {", "message"
        # A block that short can hold no line, event or document that is too long.
        self._plain_size = min(limits.max_sse_line, limits.max_sse_event, limits.max_json, jsontext.MAX_IN_PLACE)
        harmless = jsontext.Harmless(limits)
        self._small, self._is_harmless = harmless.small, harmless.holds
        self.error: LLMProtocolError | None = None

    @property
    def keepalives(self) -> int:
        """Comments, blank lines and events without data seen so far."""
        return self._events.comments + self._events.blanks + self._empty

    separator: Final = b"\n\n"

    @property
    def pending(self) -> int:
        """How many bytes wait for the rest of their event."""
        return len(self._tail) + self._events.pending

    @property
    def room(self) -> int:
        """How many bytes `max_stream` still allows."""
        return max(self._left, 0)

    def skip(self, size: int) -> None:
        """So many bytes, at most `room`, came that would have given nothing and left no trace but in `keepalives`."""
        self._left -= size

    @property
    def unfinished(self) -> tuple[str, JSON] | None:
        """The pair that only lacks its blank line: its last line is whole, ended in a newline, and it is JSON."""
        self._end_tail()
        event = self._events.unfinished if self.error is None else None
        if event is None:
            return None
        pairs: list[tuple[str, JSON]] = []
        try:
            self._judge(event, pairs)
        except JSONTextError:
            return None
        return pairs[0] if pairs else None

    def receive_data(self, data: bytes) -> list[tuple[str, JSON]]:
        """The pairs that these bytes complete. Check `error` next, then feed more, or call `receive_eof()`."""
        pairs: list[tuple[str, JSON]] = []
        size = len(data)
        self._left -= size
        if self._clear and data[-2:] == b"\n\n" and size <= self._plain_size and self._left >= 0:
            if self._fast is None:
                self._scan(data, pairs)
            else:
                self._cut_out(data, self._fast, pairs)
        elif self.error is None:
            going_on = self._receive(data if self._left >= 0 else data[: self._left], pairs)
            if going_on and self._left < 0:
                going_on = self._fail("stream_too_long", f"more than {self._limits.max_stream} bytes in one stream")
            self._clear = going_on and not self._tail and self._events.between_events
        return pairs

    def receive_eof(self) -> list[tuple[str, JSON]]:
        """The stream is over: always `[]`. Look at `unfinished`."""
        self._end_tail()
        return []

    def _receive(self, data: bytes, pairs: list[tuple[str, JSON]]) -> bool:
        """Any bytes in any state. Whether decoding may go on (so do the methods below)."""
        if self._tail:
            data = self._tail + data
            self._tail = b""
        elif not self._events.between_events and _CR not in data:
            # Back to the fast road after the next blank line.
            at = data.find(b"\n\n") + 2
            at = at if at > 1 else len(data)
            if not self._decode(data[:at], pairs):
                return False
            data = data[at:]
        if _CR in data or not self._events.between_events:
            return self._decode(data, pairs)
        cut = data.rfind(b"\n\n") + 2
        if cut > 1:
            block = data[:cut]
            if cut > self._plain_size:
                going_on = self._decode(block, pairs)
            elif self._fast is not None:
                going_on = self._cut_out(block, self._fast, pairs)
            else:
                going_on = self._scan(block, pairs)
            if not going_on:
                return False
            data = data[cut:]
        if len(data) > min(_MAX_TAIL, self._plain_size) or data.startswith((b":", b"\n")):
            return self._decode(data, pairs)  # keep-alives are counted at once
        self._tail = data
        return True

    def _scan(self, block: bytes, pairs: list[tuple[str, JSON]]) -> bool:
        """Whole blocks by the standard library's scanner. It gets each value cut out, or it would follow one whose line
        ends too early into lines that nobody has judged.
        """
        try:
            text = block.decode()
        except UnicodeDecodeError:
            return self._decode(block, pairs)
        if "\r" in text:
            return self._decode(block, pairs)
        scan = jsontext.SCAN
        at = 0
        end = len(text)
        while at < end:
            if text.startswith(self._head, at) or self._new_head(text, at):
                start = at + len(self._head) - 1
                stop = text.find("\n", start)
                if text[stop + 1 : stop + 2] == "\n" and (
                    stop - start <= self._small or self._is_harmless(text, start, stop)
                ):
                    try:
                        value, size = scan(text[start:stop], 0)
                    except (ValueError, StopIteration, RecursionError):
                        value, size = None, -1
                    if size == stop - start:
                        pairs.append((self._name, value))
                        at = stop + 2
                        continue
            plain = _PLAIN_AHEAD.search(text, at)
            stop = plain.end() if plain else end
            if not self._decode(text[at:stop].encode(), pairs):
                return False
            at = stop
        return True

    def _new_head(self, text: str, at: int) -> bool:
        """Whether a plain block begins at `text[at:]`; then its head is the one to expect from now on."""
        name = "message"
        start = at
        if text.startswith("event: ", at):
            start = text.find("\n", at) + 1
            name = text[at + 7 : start - 1] or name
        if not text.startswith("data: {", start):
            return False
        self._head = text[at : start + 7]
        self._name = name
        return True

    def _cut_out(self, block: bytes, fast: Callable[[bytes], JSON], pairs: list[tuple[str, JSON]]) -> bool:
        """Whole blocks by the accelerator, which takes bytes: nothing needs decoding beforehand."""
        if _CR in block:
            return self._decode(block, pairs)
        at = 0
        end = len(block)
        while at < end:
            if block.startswith(self._raw_head, at) or self._new_raw_head(block, at):
                start = at + len(self._raw_head) - 1
                stop = block.find(b"\n", start)
                if stop + 1 < end and block[stop + 1] == _LF:
                    value = fast(block[start:stop])
                    if value is not jsontext.UNSURE:
                        pairs.append((self._name, value))
                        at = stop + 2
                        continue
            plain = _PLAIN_AHEAD_RAW.search(block, at)
            stop = plain.end() if plain else end
            if not self._decode(block[at:stop], pairs):
                return False
            at = stop
        return True

    def _new_raw_head(self, block: bytes, at: int) -> bool:
        name = "message"
        start = at
        if block.startswith(b"event: ", at):
            start = block.find(b"\n", at) + 1
            name = block[at + 7 : start - 1].decode("utf-8", "replace") or name
        if not block.startswith(b"data: {", start):
            return False
        self._raw_head = block[at : start + 7]
        self._name = name
        return True

    def _decode(self, data: bytes, pairs: list[tuple[str, JSON]]) -> bool:
        """By the reference."""
        for event in self._events.receive_data(data):
            try:
                self._judge(event, pairs)
            except JSONTextError as fault:
                return self._fail("bad_json", f"the data of an event is not JSON: {fault}")
        if self._events.error is None:
            return True
        self.error = self._events.error
        self._clear = False
        return False

    def _judge(self, event: ServerSentEvent, pairs: list[tuple[str, JSON]]) -> None:
        data = event.data
        if data.startswith("[DONE]"):
            pairs.append((event.event, DONE))
        elif data.strip(" \t\r\n"):
            pairs.append((event.event, self._value(event)))
        else:
            self._empty += 1

    def _value(self, event: ServerSentEvent) -> JSON:
        try:
            value = jsontext.decode(event.data, self._limits)
        except JSONTextError:
            if event.event != "error":
                raise
            value = event.data
        return {"error": value} if event.event == "error" and isinstance(value, str) else value

    def _end_tail(self) -> None:
        """Hands the waiting bytes over; they complete no event, or they would not have waited."""
        tail, self._tail = self._tail, b""
        if tail:
            self._decode(tail, [])

    def _fail(self, code: str, message: str) -> bool:
        self.error = LLMProtocolError(message, code=code)
        self._tail = b""
        self._clear = False
        return False


#: A longer unfinished block is moved out of the way of the next read: joining it again costs time for every read.
_MAX_TAIL: Final = 4 * 1024
_LF: Final = 10
_CR: Final = 13  # see `sse`
#: Where the next block begins that may be plain; everything before it is decoded by the law in one go.
_PLAIN_AHEAD: Final = re.compile(r"\n\n(?=data: \{|event: )")
_PLAIN_AHEAD_RAW: Final = re.compile(_PLAIN_AHEAD.pattern.encode())
