"""Bytes of newline-delimited JSON in, values out (one document a line; the format of Ollama's streams).

Rules of this file:
- Where the bytes are cut never matters: the values and the error are the same for every split.
- A line ends in LF; a CR before it is JSON white space. Blank lines are skipped, a BOM at the start is tolerated.
- The last line may lack its LF. If it is no whole document, the stream was cut there, and `error` says so.
- Whole lines are scanned at once where they are plain; anything else is judged by `jsontext`, line by line.
- Linear and bounded: the partial line grows in a bytearray, up to `max_ndjson_line`; all bytes up to `max_stream`.
"""

from __future__ import annotations

import re
from typing import Final

from ..errors import LLMError, LLMProtocolError, LLMStreamError
from ..limits import DEFAULT_LIMITS, Limits
from . import jsontext
from .jsontext import JSON, JSONTextError


class NDJSONDecoder:
    """Feed `receive_data()` as bytes arrive and `receive_eof()` at the end; check `error` after each.

    `error` is None or, from then on, the reason why nothing more is decoded: an `LLMProtocolError` with code
    "bad_json", "ndjson_line_too_long" or "stream_too_long", or an `LLMStreamError` with code "truncated". Half a
    surrogate pair in a string is left as it is: its other half may be in the next line (`jsontext.SurrogateJoiner`).
    `blanks` counts blank lines: servers send them as keep-alives.
    """

    __slots__ = ("_fast", "_is_harmless", "_left", "_limits", "_line", "_plain_size", "_small", "blanks", "error")

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        self._left = limits.max_stream
        self._line = bytearray()
        self._fast = jsontext.accelerator(limits)
        # A block that short can hold no line and no document that is too long.
        self._plain_size = min(limits.max_ndjson_line, limits.max_json, jsontext.MAX_IN_PLACE)
        harmless = jsontext.Harmless(limits)
        self._small, self._is_harmless = harmless.small, harmless.holds
        self.blanks = 0
        self.error: LLMError | None = None

    separator: Final = b"\n"

    @property
    def pending(self) -> int:
        """How many bytes wait for the rest of their line."""
        return len(self._line)

    @property
    def room(self) -> int:
        """How many bytes `max_stream` still allows."""
        return max(self._left, 0)

    def skip(self, size: int) -> None:
        """Count bytes, at most `room`, that arrived and would have given nothing."""
        self._left -= size

    def receive_data(self, data: bytes) -> list[JSON]:
        """The values of the lines that these bytes complete. Check `error` next, then feed more."""
        values: list[JSON] = []
        if self.error is not None:
            return values
        self._left -= len(data)
        going_on = self._receive(data if self._left >= 0 else data[: self._left], values)
        if going_on and self._left < 0:
            self._fail("stream_too_long", f"more than {self._limits.max_stream} bytes in one stream")
        return values

    def receive_eof(self) -> list[JSON]:
        """The stream is over. A last line without its newline counts if it is whole JSON; else `error` says so."""
        values: list[JSON] = []
        if self.error is None and self._line:
            line = bytes(self._line)
            self._line.clear()
            try:
                self._line_value(line, values)
            except JSONTextError as fault:
                if fault.reason in ("syntax", "utf8"):
                    self.error = LLMStreamError("the stream was cut in the middle of a line", code="truncated")
                else:
                    self._fail("bad_json", f"a line of the stream is not JSON: {fault}")
        return values

    def _receive(self, data: bytes, values: list[JSON]) -> bool:
        """Whether decoding may go on (so do the methods below)."""
        if self._line:
            at = data.find(b"\n") + 1
            self._line += data[:at] if at else data
            if not at:
                return len(self._line) <= self._limits.max_ndjson_line or self._too_long()
            line = bytes(self._line)
            self._line.clear()
            if not self._lines(line, values):
                return False
            data = data[at:]
        cut = len(data) if data[-1:] == b"\n" else data.rfind(b"\n") + 1
        if cut:
            block = data[:cut]
            if not (self._scan(block, values) if self._fast is None else self._lines(block, values)):
                return False
            data = data[cut:]
        if data:
            self._line += data
        return len(data) <= self._limits.max_ndjson_line or self._too_long()

    def _scan(self, block: bytes, values: list[JSON]) -> bool:
        """Whole lines by the standard library's scanner, once they are known to be harmless."""
        if len(block) > self._plain_size:
            return self._lines(block, values)
        try:
            text = block.decode()
        except UnicodeDecodeError:
            return self._lines(block, values)
        scan = jsontext.SCAN
        at = 0
        while at < len(text):
            stop = text.find("\n", at)
            if stop - at <= self._small or self._is_harmless(text, at, stop):
                try:
                    value, size = scan(text[at:stop], 0)
                except (ValueError, StopIteration, RecursionError):
                    value, size = None, -1
                if size == stop - at:
                    values.append(value)
                    at = stop + 1
                    continue
            blank = _BLANK_LINES.match(text, at)
            if blank:
                self.blanks += text.count("\n", at, blank.end())
                at = blank.end()
                continue
            stop = text.find("\n", at) + 1
            if not self._lines(text[at:stop].encode(), values):
                return False
            at = stop
        return True

    def _lines(self, block: bytes, values: list[JSON]) -> bool:
        """The lines of a block, which ends in LF, one by one."""
        at = 0
        while at < len(block):
            stop = block.find(b"\n", at)
            if stop == at:
                self.blanks += 1
                at += 1
                continue
            if stop - at > self._limits.max_ndjson_line:
                return self._too_long()
            try:
                self._line_value(block[at:stop], values)
            except JSONTextError as fault:
                return self._fail("bad_json", f"a line of the stream is not JSON: {fault}")
            at = stop + 1
        return True

    def _line_value(self, line: bytes, values: list[JSON]) -> None:
        value = self._fast(line) if self._fast is not None else jsontext.UNSURE
        if value is jsontext.UNSURE:
            text = jsontext.decode_utf8(line)
            if not text.strip(" \t\r"):
                self.blanks += 1
                return
            value = jsontext.decode(text, self._limits)
        values.append(value)

    def _too_long(self) -> bool:
        limit = self._limits.max_ndjson_line
        return self._fail("ndjson_line_too_long", f"a line of the stream has more than {limit} bytes")

    def _fail(self, code: str, message: str) -> bool:
        self.error = LLMProtocolError(message, code=code)
        self._line.clear()
        return False


_BLANK_LINES: Final = re.compile(r"(?:[ \t\r]*+\n)++")
