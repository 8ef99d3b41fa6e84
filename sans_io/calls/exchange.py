"""One request and its reply on one connection: HTTP framing, content, and whether the connection may serve again.

    bytes ──> HTTPExchange ──body──> 2xx of the right type ──> reader (the codec's) ──> events
                                 ├─> 2xx of another type ────> kept, to say what it was
                                 └─> anything else ──────────> kept, to be decoded as an error

Rules of this file:
- Bytes in, events out; `done`, `error`, `condition` are sticky; events before a fault are returned first (R5, R6).
- It knows neither HTTP's framing (that is `http11`) nor a provider's words (that is the codec). Who has no framing
  (recorded bodies) calls `begin`, `receive_body` and `end_body`.
- A reply can be done before its HTTP message is (after `[DONE]`): `done` speaks of the content, `clean` of the
  connection.
- A reply that is not a 2xx of the right type has failed already: its body only explains that, and may stop anywhere or
  never come.
- A content type alone never makes a stream: servers mislabel both ways, so the first byte that is not white space
  is looked at as well. White space before it is a keep-alive: any amount of it, up to the cap of the reply, is passed
  over without being kept.
"""

from __future__ import annotations

import re
from typing import Final

from ..chat.events import Event
from ..chat.response import ChatResponse, deferred
from ..decode import jsontext
from ..errors import LLMError, LLMProtocolError, LLMStreamError, printable
from ..http.heads import ResponseHead
from ..http.http11 import HTTPExchange
from ..limits import DEFAULT_LIMITS, Limits
from ..providers.base import Headers, Operation, ReplyReader

_STREAM_TYPES: Final = frozenset(
    {"", "text/event-stream", "application/x-ndjson", "application/ndjson", "application/jsonl", "application/json",
     "text/plain", "application/octet-stream", "application/stream+json"}
)  # fmt: skip
_JSON_TYPES: Final = frozenset({"", "text/plain", "application/octet-stream", "text/json"})

#: What the error's message says of an explanation that was not read in full.
COMPRESSED: Final = "its body is compressed although no compression was requested, and was not read"
CUT_SHORT: Final = "its body was cut short"
TOO_LONG: Final = "the rest of its body was dropped; see Limits.max_error_body"

_NO_HEAD: Final = ResponseHead(0, ())

_BOM: Final = b"\xef\xbb\xbf"
#: What says nothing of the body that follows. A BOM is no white space, but servers send it in its place.
_BLANK: Final = re.compile(rb"(?:[ \t\r\n]++|\xef\xbb\xbf)*+")


class Exchange:
    """`receive_data(bytes)`, `receive_eof()` -> events; `sent_all` is set by the owner once the request is written.

    `done`: nothing more needs to be read (the reply ended, or `error` says why it failed). `condition` names a failure
    for the retry table: "status", "event" (an error inside a 2xx), "truncated", "garbled", "oversize", "wrong_type",
    "redirect". `reader`: the codec's, once the body is what was asked for.
    """

    __slots__ = (
        "_blanks", "_head", "_kept", "_limits", "_mode", "_operation", "_size", "condition", "done", "early", "error",
        "http", "media_type", "reader", "sent_all",
    )  # fmt: skip

    def __init__(self, operation: Operation, limits: Limits = DEFAULT_LIMITS) -> None:
        self._operation = operation
        self._limits = limits
        self.http = HTTPExchange(operation.request.method, limits)
        self.sent_all = False
        self.early = False
        self._head = _NO_HEAD
        self.media_type = ""
        self.done = False
        self.error: LLMError | None = None
        self.condition: str | None = None
        self.reader: ReplyReader | None = None
        self._mode = "head"
        self._kept = bytearray()
        self._size = 0
        #: Reads of nothing but white space before the body.
        self._blanks = 0

    @property
    def head(self) -> ResponseHead | None:
        return None if self._mode == "head" else self._head

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
        """Whether the reply has failed already, and its body is read to say why."""
        return self._mode in ("error", "wrong") and self.error is None

    @property
    def content_events(self) -> int:
        return 0 if self.reader is None else self.reader.content_events

    @property
    def keepalives(self) -> int:
        """What came and is no content; white space before a body counts as one."""
        before = self.http.informational + self._blanks
        return before if self.reader is None else before + self.reader.keepalives

    @property
    def clean(self) -> bool:
        """The only word on reuse: request sent in full, framing ended exactly, nothing left over, nothing doubtful."""
        return self.sent_all and not self.early and self.http.clean

    def receive_data(self, data: bytes) -> list[Event]:
        """Bytes of one read. Check `done` afterwards."""
        http = self.http
        body = http.receive_data(data)
        if self._mode == "head" and http.head is not None:
            self.begin(http.head, http.media_type)
        events = self.receive_body(body) if body else []
        if http.ended:
            events += self.end_body()
        elif http.error is not None and not self.done:
            self._framing_broke(http.error)
        return events

    def receive_eof(self) -> list[Event]:
        """The peer closed its side. The exchange is `done` afterwards, whole or with `error`."""
        http = self.http
        body = http.receive_eof()
        events = self.receive_body(body) if body else []
        if self._mode != "head" and (http.error is None or self.complete or self.reader is None):
            # An error body that was cut still says what went wrong, and a reply with its finish reason is whole.
            events += self.end_body("" if http.error is None else CUT_SHORT)
        if http.error is not None and not self.done:
            self._framing_broke(http.error)
        return events

    def finish(self) -> list[Event]:
        """End a `finishing` reply here, without what was still to come (usage, the terminal event, an explanation)."""
        return self.end_body(CUT_SHORT)

    def response(self) -> ChatResponse | None:
        """What has arrived so far, with what the head says; None where no 2xx body of the right type began."""
        response = None if self.reader is None else self.reader.response()
        head = self.head
        if head is not None and response is not None:
            response.headers = deferred(head.read, _as_dict)
            response.rate_limit = deferred(head.read, self._operation.rate_limit)
            response.request_id = deferred(head.read, self._operation.request_id)
        return response

    def begin(self, head: ResponseHead, media_type: str) -> None:
        """The final head is there. `receive_body` is next."""
        self._head = head
        self.media_type = media_type
        status, form = head.status, self._operation.form
        if 200 <= status < 300:
            if form == "json":
                fits = media_type in _JSON_TYPES or media_type.endswith("json")
            else:
                fits = media_type in _STREAM_TYPES
            self._mode = "sniff" if fits else "wrong"
        else:
            self._mode = "error"
            if 300 <= status < 400:
                self._fail(_redirected(status, head.first("location") or ""), "redirect")

    def receive_body(self, data: bytes) -> list[Event]:
        """Body bytes, cut anywhere. Check `done` afterwards."""
        if self.done:
            return []
        reader = self.reader
        if reader is None:
            return self._receive_early(data)
        self._size += len(data)
        if self._size > self._limits.max_stream:
            self._fail(self._oversize("max_stream", self._limits.max_stream), "oversize")
            return []
        events = reader.receive_data(data)
        if reader.error is not None:
            self._fail(reader.error, _reader_condition(reader.error))
        elif reader.ended:
            self.done = True
        return events

    def end_body(self, missing: str = "") -> list[Event]:
        """The body ended: the exchange is `done` afterwards, whole or with `error`.

        `missing`: what the error's message says of an explanation that was not read in full.
        """
        if self.done or self._mode == "head":
            return []
        if self._mode == "sniff":
            # An empty body: only the reader can say in its provider's words what is missing.
            self.reader = self._new_reader()
            if self._kept:  # half a BOM
                self.reader.receive_data(bytes(self._kept))
            self._mode = "read"
        self.done = True
        if self.reader is None:
            self._explain(missing)
            return []
        events = self.reader.receive_eof()
        if self.reader.error is not None:
            self._fail(self.reader.error, _reader_condition(self.reader.error))
        return events

    def _framing_broke(self, error: LLMError) -> None:
        """The message is broken, or coded. A reply that has failed already is what it was, with what there is of it."""
        if self.explaining:
            if error.code != "coded_reply":
                self.end_body(CUT_SHORT)
            elif self._head.status >= 300:
                self.end_body(COMPRESSED)
        if not self.done:
            self._fail(error, "truncated" if isinstance(error, LLMStreamError) else _condition_of_fault(error))

    def _receive_early(self, data: bytes) -> list[Event]:
        if self._mode == "sniff":
            if self._kept:
                data = bytes(self._kept) + data
                self._kept.clear()
            blank = _BLANK.match(data)
            end = blank.end() if blank else 0
            self._size += end
            start = data[end : end + 3]
            if not start or (start != _BOM and _BOM.startswith(start)):
                self._blanks += 1
                self._kept += start
                name = "max_json" if self._operation.form == "json" else "max_stream"
                limit: int = getattr(self._limits, name)
                if self._size > limit:
                    self._fail(self._oversize(name, limit), "oversize")
                return []
            data = data[end:] if end else data
            if start[:1] == b"<" or (self._operation.form == "sse" and start[:1] in (b"{", b"[")):
                self._mode = "wrong"
                self._kept += data
            else:
                self._mode = "read"
                self.reader = self._new_reader()
                return self.receive_body(data)
        else:
            self._kept += data
        # What is kept only explains a failure: more of it would not explain it better.
        if len(self._kept) > self._limits.max_error_body:
            del self._kept[self._limits.max_error_body :]
            self._explain(TOO_LONG)
        return []

    def _new_reader(self) -> ReplyReader:
        reader = self._operation.new_reader()
        if self._head.status != 200:
            from ..providers.json_replies import WholeReader

            if isinstance(reader, WholeReader):
                reader.status = self._head.status
        return reader

    def _explain(self, missing: str) -> None:
        """Fail with what was kept of the body."""
        head, kept = self._head, bytes(self._kept)
        if self._mode == "error":
            self._fail(self._refusal(head, kept, missing), "status")
        elif _holds_error(kept):
            self._fail(self._operation.decode_error(head.status, head.headers, kept), "event")
        else:
            self._fail(self._wrong_type(head, kept), "wrong_type")

    def _refusal(self, head: ResponseHead, kept: bytes, missing: str) -> LLMError:
        status, headers = head.status, head.headers
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

    def _wrong_type(self, head: ResponseHead, kept: bytes) -> LLMProtocolError:
        wanted = {"json": "JSON", "sse": "an event stream", "ndjson": "NDJSON"}[self._operation.form]
        shown = printable(kept[:1000].decode("utf-8", "replace"), 200)
        is_html = kept.lstrip()[:1] == b"<" or "html" in self.media_type
        hint = ""
        if is_html:
            doubt = "`/v1` missing from base_url, or is " if self._operation.may_lack_v1 else ""
            hint = f" Is {doubt}a proxy in between?"
        return LLMProtocolError(
            f"expected {wanted}, got {self.media_type or 'no content type'!r}: {shown!r}.{hint}",
            code="wrong_content_type",
            status_code=head.status,
        )

    def _oversize(self, name: str, limit: int) -> LLMProtocolError:
        return LLMProtocolError(f"the reply is larger than Limits.{name} ({limit} bytes)", code="too_large")

    def _fail(self, error: LLMError, condition: str) -> None:
        self.error = error
        self.condition = condition
        self.done = True


def _as_dict(headers: Headers) -> dict[str, str]:
    """Repeated fields are joined with a comma (RFC 9110 section 5.3)."""
    fields = dict(headers)
    if len(fields) != len(headers):
        fields = {}
        for name, value in headers:
            fields[name] = f"{fields[name]}, {value}" if name in fields else value
    return fields


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
        return _condition_of_fault(error)
    return "truncated" if error.code == "truncated" else "event"


def _condition_of_fault(error: LLMError) -> str:
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
        f"the server answered {status}, a redirect{where}; redirects are not followed:"
        " set base_url to the final address",
        code="redirect",
        status_code=status,
    )
