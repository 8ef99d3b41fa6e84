"""One reply after its head: decides what the body is, then feeds the reader that understands it.

    head ──> 2xx of the right type ──> reader (the codec's)
         ├─> 2xx of another type ────> kept, to say what it was
         └─> anything else ──────────> kept, to be decoded as an error

Rules of this file:
- A reply that is not a 2xx of the right type has failed already: its body only explains that, and may stop anywhere or
  never come.
- This file does not know HTTP framing (that is `http11`) nor a provider's words (that is the codec).
- `error` and `done` are sticky; events before a fault are returned first (R5, R6).
- A content type alone never makes a stream: servers mislabel both ways, so the first byte that is not white space
  is looked at as well.
"""

from __future__ import annotations

from typing import Final

from ..chat.events import Event
from ..chat.response import ChatResponse
from ..decode import jsontext
from ..errors import LLMError, LLMProtocolError
from ..http.heads import ResponseHead
from ..policy.limits import DEFAULT_LIMITS, Limits
from ..printable import printable
from ..providers.base import Operation, ReplyReader

_STREAM_TYPES: Final = frozenset(
    {"", "text/event-stream", "application/x-ndjson", "application/ndjson", "application/jsonl", "application/json",
     "text/plain", "application/octet-stream", "application/stream+json"}
)  # fmt: skip
_JSON_TYPES: Final = frozenset({"", "text/plain", "application/octet-stream", "text/json"})

#: What the error's message says of an explanation that was not read in full.
COMPRESSED: Final = "its body is compressed, although identity was asked for, and was not read"
CUT_SHORT: Final = "its body was cut short"
TOO_LONG: Final = "the rest of its body was dropped; see Limits.max_error_body"


class Reply:
    """Body bytes in, events out. Create it once the final head is known; then `receive_data`, `receive_eof`.

    `done`: nothing more needs to be read (the reply ended, or failed). `condition` names a failure for the retry
    table: "status", "event" (an error inside a 2xx), "truncated", "garbled", "oversize", "wrong_type", "redirect".
    """

    __slots__ = (
        "_eof", "_head", "_kept", "_limits", "_media_type", "_mode", "_operation", "_size", "condition", "error",
        "reader",
    )  # fmt: skip

    def __init__(
        self, operation: Operation, head: ResponseHead, media_type: str, limits: Limits = DEFAULT_LIMITS
    ) -> None:
        self._operation = operation
        self._limits = limits
        self._head = head
        self._media_type = media_type
        self.error: LLMError | None = None
        self.condition: str | None = None
        self._kept = bytearray()
        self._size = 0
        self._eof = False
        self.reader: ReplyReader | None = None
        status = head.status
        if 200 <= status < 300:
            if operation.form == "json":
                fits = media_type in _JSON_TYPES or media_type.endswith("json")
            else:
                fits = media_type in _STREAM_TYPES
            self._mode = "sniff" if fits else "wrong"
        else:
            self._mode = "error"
            if 300 <= status < 400:
                self._fail(_redirected(status, head.first("location") or ""), "redirect")

    @property
    def status(self) -> int:
        return self._head.status

    @property
    def done(self) -> bool:
        return self.error is not None or self._eof or (self.reader is not None and self.reader.ended)

    @property
    def complete(self) -> bool:
        """Whether an end of body now is the end of a whole reply."""
        return self.reader is not None and self.reader.complete and self.error is None

    @property
    def finishing(self) -> bool:
        """Whether all that counts has come, and what may still follow is not worth a long wait."""
        reader = self.reader
        return self.explaining if reader is None else reader.finishing and self.error is None

    @property
    def explaining(self) -> bool:
        """Whether it has failed already, and the body is read to say why."""
        return self._mode in ("error", "wrong") and self.error is None

    @property
    def keepalives(self) -> int:
        """What came of the body and is no content; white space before it counts as one."""
        if self.reader is not None:
            return self.reader.keepalives
        return int(self._mode == "sniff" and bool(self._kept))

    def receive_data(self, data: bytes) -> list[Event]:
        """Body bytes, cut anywhere. Check `done` afterwards."""
        reader = self.reader
        if reader is None or self.error is not None:
            return self._receive_early(data)
        self._size += len(data)
        if self._size > self._limits.max_stream:
            self._fail(self._oversize("max_stream", self._limits.max_stream), "oversize")
            return []
        events = reader.receive_data(data)
        if reader.error is not None:
            self._fail(reader.error, _reader_condition(reader.error))
        return events

    def receive_eof(self, missing: str = "") -> list[Event]:
        """The body ended: the reply is `done` afterwards, whole or with `error`.

        `missing`: what the error's message says of an explanation that was not read in full.
        """
        if self.done:
            return []
        self._eof = True
        if self._mode == "sniff":
            # An empty body: only the reader can say in its provider's words what is missing.
            self.reader = self._operation.new_reader()
            self._mode = "read"
        if self.reader is not None:
            events = self.reader.receive_eof()
            if self.reader.error is not None:
                self._fail(self.reader.error, _reader_condition(self.reader.error))
            return events
        self._decode_kept(missing)
        return []

    def response(self) -> ChatResponse | None:
        """What has arrived so far, whole or partial; None where no 2xx body of the right type began."""
        return None if self.reader is None else self.reader.response()

    def _receive_early(self, data: bytes) -> list[Event]:
        if self.error is not None:
            return []
        if self._mode == "sniff":
            if self._kept:
                data = bytes(self._kept) + data
            start = data[:64].lstrip(b"\xef\xbb\xbf \t\r\n")
            if not start and len(data) < 4096:
                self._kept = bytearray(data)
                return []
            if start[:1] == b"<" or (self._operation.form == "sse" and start[:1] in (b"{", b"[")):
                self._mode = "wrong"
                self._kept = bytearray(data)
            else:
                self._mode = "read"
                self.reader = self._operation.new_reader()
                self._kept = bytearray()
                return self.receive_data(data)
        else:
            self._kept += data
        # What is kept only explains a failure: more of it would not explain it better.
        if len(self._kept) > self._limits.max_error_body:
            del self._kept[self._limits.max_error_body :]
            self._decode_kept(TOO_LONG)
        return []

    def _decode_kept(self, missing: str) -> None:
        kept = bytes(self._kept)
        if self._mode == "error":
            self._fail(self._refusal(kept, missing), "status")
        elif _holds_error(kept):
            self._fail(self._operation.decode_error(self._head.status, self._head.headers, kept), "event")
        else:
            self._fail(self._wrong_type(kept), "wrong_type")

    def _refusal(self, kept: bytes, missing: str) -> LLMError:
        status, headers = self._head.status, self._head.headers
        if not missing:
            return self._operation.decode_error(status, headers, kept)
        if kept.strip():
            error = self._operation.decode_error(status, headers, kept)
            error.message = f"{error.message} ({missing})"
        else:
            # Our words stand in for the server's: an empty body would say something, a prompt that is too long.
            error = self._operation.decode_error(status, headers, f"HTTP {status}; {missing}".encode())
            error.body = None
        error.args = (error.message,)
        return error

    def _wrong_type(self, kept: bytes) -> LLMProtocolError:
        wanted = {"json": "JSON", "sse": "an event stream", "ndjson": "NDJSON"}[self._operation.form]
        shown = printable(kept[:1000].decode("utf-8", "replace"), 200)
        is_html = kept.lstrip()[:1] == b"<" or "html" in self._media_type
        hint = " Is `/v1` missing from base_url, or a proxy in between?" if is_html else ""
        return LLMProtocolError(
            f"expected {wanted}, got {self._media_type or 'no content type'!r}: {shown!r}.{hint}",
            code="wrong_content_type",
            status_code=self._head.status,
        )

    def _oversize(self, name: str, limit: int) -> LLMProtocolError:
        return LLMProtocolError(f"the reply is larger than Limits.{name} ({limit} bytes)", code="too_large")

    def _fail(self, error: LLMError, condition: str) -> None:
        self.error = error
        self.condition = condition


def _holds_error(kept: bytes) -> bool:
    """Whether a body of another type is a provider's JSON error (sent with a 200, where a stream was asked for)."""
    try:
        body = jsontext.loads(kept)
    except jsontext.JSONTextError:
        return False
    if isinstance(body, list) and body:
        body = body[0]
    return isinstance(body, dict) and bool(body.get("error") or body.get("detail") or body.get("object") == "error")


def _reader_condition(error: LLMError) -> str:
    """An error in the provider's words is classed by its code; a fault of the bytes by what it is."""
    if isinstance(error, LLMProtocolError):
        return condition_of_fault(error)
    return "truncated" if error.code == "truncated" else "event"


def condition_of_fault(error: LLMError) -> str:
    """The word for the retry table of bytes that are not what they should be."""
    return "oversize" if error.code is not None and "too_" in error.code else "garbled"


def _redirected(status: int, target: str) -> LLMProtocolError:
    """Redirects are never followed: the prompt and the key belong to the host that was named."""
    bare = target.partition("?")[0].partition("#")[0]
    scheme, separator, rest = bare.partition("://")
    if separator:
        authority, slash, path = rest.partition("/")
        bare = f"{scheme}://{authority.rpartition('@')[2]}{slash}{path}"
    where = f" to {printable(bare, 200)!r}" if bare else ""
    return LLMProtocolError(
        f"the server answered {status}, a redirect{where}; redirects are not followed: set base_url to the right place",
        code="redirect",
        status_code=status,
    )
