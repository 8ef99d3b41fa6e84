"""Bytes of newline-delimited JSON in, values out (one document a line; the wire of Ollama's streams).

Rules of this file:
- Where the bytes are cut never matters: the values and the error are the same for every split.
- A line ends in LF; a CR before it is JSON white space. Blank lines are skipped, a BOM at the start is tolerated.
- Whole lines are scanned in place where they are plain; anything else is judged by `jsontext`, line by line.
- Linear and bounded: the partial line grows in a bytearray, up to `max_ndjson_line`; all bytes up to `max_stream`.
"""

from __future__ import annotations

from . import jsontext
from .errors import LLMProtocolError
from .jsontext import JSON, JSONTextError
from .policy.limits import DEFAULT_LIMITS, Limits


class NDJSONDecoder:
    """Feed `receive_data()` as bytes arrive and `receive_eof()` at the end; check `error` after each.

    `error` is None or, from then on, the reason why nothing more is decoded (`LLMProtocolError` with code "bad_json",
    "ndjson_line_too_long" or "stream_too_long"). Half a surrogate pair in a string is left as it is: its other half
    may be in the next line (`jsontext.SurrogateJoiner`).
    """

    __slots__ = ("_fast", "_limits", "_line", "_plain_size", "_received", "error")

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        self._received = 0
        self._line = bytearray()
        self._fast = jsontext.accelerator(limits)
        # A block that short can hold no line and no document that is too long.
        self._plain_size = min(limits.max_ndjson_line, limits.max_json, jsontext.MAX_IN_PLACE)
        self.error: LLMProtocolError | None = None

    def receive_data(self, data: bytes) -> list[JSON]:
        """The values of the lines that these bytes complete. Check `error` next, then feed more."""
        values: list[JSON] = []
        if self.error is not None:
            return values
        room = self._limits.max_stream - self._received
        self._received += len(data)
        if len(data) <= room:
            self._receive(data, values)
        else:
            self._receive(data[:room], values)
            if self.error is None:
                self._fail("stream_too_long", f"more than {self._limits.max_stream} bytes in one stream")
        return values

    def receive_eof(self) -> list[JSON]:
        """The stream is over. A last line without its newline counts if it is whole JSON; one that was cut does not."""
        values: list[JSON] = []
        if self.error is None and self._line:
            line = bytes(self._line)
            self._line.clear()
            try:
                self._line_value(line, values)
            except JSONTextError:
                return values
        return values

    def _receive(self, data: bytes, values: list[JSON]) -> None:
        cut = data.rfind(b"\n") + 1
        if cut:
            at = 0
            if self._line:
                at = data.find(b"\n") + 1
                self._line += data[:at]
                line = bytes(self._line)
                self._line.clear()
                self._lines(line, 0, len(line), values)
            if self.error is None and at < cut:
                if self._fast is not None:
                    self._lines(data, at, cut, values)
                else:
                    self._scan(data[at:cut], values)
            if self.error is not None:
                return
            data = data[cut:]
        self._line += data
        if len(self._line) > self._limits.max_ndjson_line:
            self._too_long()

    def _scan(self, block: bytes, values: list[JSON]) -> None:
        """Whole lines by the standard library's scanner, in place: half the cost of cutting each line out first."""
        try:
            text = block.decode() if len(block) <= self._plain_size else ""
        except UnicodeDecodeError:
            text = ""
        limits = self._limits
        crowded = text.count("{") + text.count("[") > min(limits.max_json_depth, limits.max_json_containers)
        scan = jsontext.SCAN
        at = 0
        while at < len(text):
            try:
                value, stop = scan(text, at)
            except (ValueError, StopIteration, RecursionError):
                break
            # JSON allows line ends between tokens, NDJSON does not: the first one must be where the value ends.
            if text.find("\n", at) != stop:
                break
            if (crowded or stop - at > limits.max_json_digits) and not jsontext.needs_no_guard(text, at, stop, limits):
                break
            values.append(value)
            at = stop + 1
        if at < len(text) or not text:
            rest = text[at:].encode() if text else block
            self._lines(rest, 0, len(rest), values)

    def _lines(self, data: bytes, at: int, end: int, values: list[JSON]) -> None:
        """The lines of `data[at:end]`, which ends in LF, one by one."""
        while at < end:
            stop = data.find(b"\n", at, end)
            if stop - at > self._limits.max_ndjson_line:
                self._too_long()
                return
            try:
                self._line_value(data[at:stop], values)
            except JSONTextError as fault:
                self._fail("bad_json", f"a line of the stream is not JSON: {fault}")
                return
            at = stop + 1

    def _line_value(self, line: bytes, values: list[JSON]) -> None:
        value = self._fast(line) if self._fast is not None else jsontext.UNSURE
        if value is jsontext.UNSURE:
            text = jsontext.decode_utf8(line)
            if not text.strip(" \t\r"):
                return
            value = jsontext.decode(text, self._limits)
        values.append(value)

    def _too_long(self) -> None:
        self._fail("ndjson_line_too_long", f"a line of the stream has more than {self._limits.max_ndjson_line} bytes")

    def _fail(self, code: str, message: str) -> None:
        self.error = LLMProtocolError(message, code=code)
        self._line.clear()
