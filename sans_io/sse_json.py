"""Bytes of an event stream in, `(event name, JSON value)` pairs out: what the codecs of SSE wires read.

Rules of this file:
- `SSEDecoder` and `jsontext.decode` are the law; the fast road only gives the same pairs sooner. A block takes it if
  it is exactly `data: {...}` or `event: NAME`, `data: {...}`, LF, and a blank line; everything else takes the law.
- JSON allows line ends between tokens and an event stream does not, so the first LF must be where the value ends.
- Pairs before a fault are given, then `error` is set and stays.
- A block that is not whole yet waits as bytes, as long as it is short; a long one, or one with a CR, goes through
  `SSEDecoder`, which has the caps, until that is between events again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from . import jsontext
from .errors import LLMProtocolError
from .jsontext import JSON, JSONTextError
from .policy.limits import DEFAULT_LIMITS, Limits
from .sse import ServerSentEvent, SSEDecoder

#: The value of a pair whose data begins with `[DONE]`, OpenAI's end of a stream.
DONE: Final = object()


class SSEJSONDecoder:
    """Feed `receive_data()` as bytes arrive and `receive_eof()` at the end; check `error` after each.

    A pair's value is the parsed data, or the constant `DONE`; its name is "message" where no event was named. Events
    with empty data are skipped. `error` is None or, from then on, why nothing more is decoded (`LLMProtocolError`,
    codes of `SSEDecoder` and "bad_json"). `keepalives` counts comment lines. Half a surrogate pair in a string is
    left as it is: its other half may be in the next event (`jsontext.SurrogateJoiner`).
    """

    __slots__ = ("_events", "_fast", "_limits", "_plain_size", "_received", "_tail", "_tail_size", "error")

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        self._events = SSEDecoder(limits)
        self._fast: Callable[[bytes], JSON] | None = jsontext.accelerator(limits)
        self._tail = b""
        self._received = 0
        # Text that short can hold no line, event or document that is too long.
        self._plain_size = min(limits.max_sse_line, limits.max_sse_event, limits.max_json, jsontext.MAX_IN_PLACE)
        self._tail_size = min(_MAX_TAIL, self._plain_size)
        self.error: LLMProtocolError | None = None

    @property
    def keepalives(self) -> int:
        """Comment lines seen so far."""
        return self._events.comments

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
        if self.error is not None:
            return pairs
        self._received += len(data)
        surplus = self._received - self._limits.max_stream
        self._receive(data if surplus <= 0 else data[:-surplus], pairs)
        if surplus > 0 and self.error is None:
            self._fail("stream_too_long", f"more than {self._limits.max_stream} bytes in one stream")
        return pairs

    def receive_eof(self) -> list[tuple[str, JSON]]:
        """The stream is over: always `[]`. Look at `unfinished`."""
        self._end_tail()
        return []

    def _receive(self, data: bytes, pairs: list[tuple[str, JSON]]) -> None:
        if self._tail:
            data = self._tail + data
            self._tail = b""
        elif not self._events.between_events and b"\r" not in data:
            # Back to the fast road after the next blank line.
            at = data.find(b"\n\n") + 2
            self._decode(data[:at] if at > 1 else data, pairs)
            data = data[at:] if at > 1 else b""
        if not data or self.error is not None:
            return
        if b"\r" in data or not self._events.between_events:
            self._decode(data, pairs)
            return
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
                return
            data = data[cut:]
        if len(data) > self._tail_size or data.startswith(b":"):
            self._decode(data, pairs)
        else:
            self._tail = data

    def _scan(self, block: bytes, pairs: list[tuple[str, JSON]]) -> bool:
        """Whole blocks by the standard library's scanner, in place: half the cost of cutting each value out first."""
        try:
            text = block.decode()
        except UnicodeDecodeError:
            return self._decode(block, pairs)
        limits = self._limits
        crowded = text.count("{") + text.count("[") > min(limits.max_json_depth, limits.max_json_containers)
        digits = limits.max_json_digits
        scan = jsontext.SCAN
        at = 0
        while at < len(text):
            name = "message"
            start = at + 6
            if not text.startswith("data: {", at):
                start = text.find("\n", at) + 7
                if text.startswith("event: ", at) and text.startswith("data: {", start - 6):
                    name = text[at + 7 : start - 7] or name
                else:
                    start = len(text)
            try:
                value, stop = scan(text, start)
            except (ValueError, StopIteration, RecursionError):
                value, stop = None, -1
            if (
                text.find("\n", start) == stop != -1
                and text.startswith("\n", stop + 1)
                and (not (crowded or stop - start > digits) or jsontext.needs_no_guard(text, start, stop, limits))
            ):
                pairs.append((name, value))
                at = stop + 2
                continue
            stop = text.find("\n\n", at) + 2
            if stop == 1:  # the last of three LFs
                stop = len(text)
            if not self._decode(text[at:stop].encode(), pairs):
                return False
            at = stop
        return True

    def _cut_out(self, block: bytes, fast: Callable[[bytes], JSON], pairs: list[tuple[str, JSON]]) -> bool:
        """Whole blocks by the accelerator, which takes bytes: nothing needs decoding beforehand."""
        at = 0
        while at < len(block):
            name = "message"
            start = at + 6
            if not block.startswith(b"data: {", at):
                start = block.find(b"\n", at) + 7
                if block.startswith(b"event: ", at) and block.startswith(b"data: {", start - 6):
                    name = block[at + 7 : start - 7].decode("utf-8", "replace") or name
                else:
                    start = len(block)
            stop = block.find(b"\n", start)
            if block.startswith(b"\n", stop + 1):
                value = fast(block[start:stop])
                if value is not jsontext.UNSURE:
                    pairs.append((name, value))
                    at = stop + 2
                    continue
            stop = block.find(b"\n\n", at) + 2
            if stop == 1:  # the last of three LFs
                stop = len(block)
            if not self._decode(block[at:stop], pairs):
                return False
            at = stop
        return True

    def _decode(self, data: bytes, pairs: list[tuple[str, JSON]]) -> bool:
        """By the law. Whether decoding may go on."""
        for event in self._events.receive_data(data):
            try:
                self._judge(event, pairs)
            except JSONTextError as fault:
                self._fail("bad_json", f"the data of an event is not JSON: {fault}")
                return False
        self.error = self._events.error
        return self.error is None

    def _judge(self, event: ServerSentEvent, pairs: list[tuple[str, JSON]]) -> None:
        data = event.data
        if data.startswith("[DONE]"):
            pairs.append((event.event, DONE))
        elif data.strip(" \t\r\n"):
            pairs.append((event.event, jsontext.decode(data, self._limits)))

    def _end_tail(self) -> None:
        """Hands the waiting bytes over; they complete no event, or they would not have waited."""
        if self._tail:
            self._decode(self._tail, [])
            self._tail = b""

    def _fail(self, code: str, message: str) -> None:
        self.error = LLMProtocolError(message, code=code)
        self._tail = b""


#: A longer unfinished block is moved out of the way of the next read: joining it again costs time for every read.
_MAX_TAIL: Final = 4 * 1024
