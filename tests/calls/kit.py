"""A wire of one-line events, so that the Call's tests speak of the Call and of no provider.

Body lines: `t:TEXT` a text delta · `sig` content without an event · `role`, `:` keep-alives · `usage` a usage report ·
`fin` the finish reason, content the first time · `done` the terminal event · `err:CODE` an error event.
"""

from __future__ import annotations

from sans_io.chat.events import Event, Finished, TextDelta, UsageReported
from sans_io.chat.response import ChatResponse, Usage
from sans_io.errors import LLMError, LLMProtocolError, LLMServerError, LLMStreamError
from sans_io.http.http11 import HTTPRequest, RequestHead
from sans_io.http.urls import Origin
from sans_io.policy.pool import Route
from sans_io.policy.retry import retry_table
from sans_io.providers.base import Headers, Operation

ORIGIN = Origin("http", "api.test", 80)
ROUTE = Route(ORIGIN)
TABLE = retry_table(codes={"soon": "B", "never": "D"})


class LineReader:
    """See the module's text."""

    def __init__(self) -> None:
        self.error: LLMError | None = None
        self.ended = self.complete = self.finishing = False
        self.content_events = self.keepalives = 0
        self.text = ""
        self._rest = b""

    def receive_data(self, data: bytes) -> list[Event]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        events: list[Event] = []
        for line in lines:
            if self.ended or self.error is not None:
                break
            self._line(line.decode("utf-8", "replace"), events)
        return events

    def _line(self, line: str, events: list[Event]) -> None:
        word, _, rest = line.partition(":")
        if word in ("t", "sig", "done") or (word == "fin" and not self.finishing):
            self.content_events += 1
        elif word in ("", "role", "usage", "fin"):
            self.keepalives += 1
        if word == "t":
            self.text += rest
            events.append(TextDelta(rest))
        elif word == "usage":
            events.append(UsageReported(Usage(1, 1)))
        elif word == "fin":
            self.finishing = self.complete = True
        elif word == "done":
            self.ended = self.complete = True
            events.append(Finished("stop"))
        elif word == "err":
            self.error = LLMServerError("in-stream", code=rest)
        elif word not in ("", "role", "sig"):
            self.error = LLMProtocolError(f"no such line: {line!r}", code="bad_line")

    def receive_eof(self) -> list[Event]:
        if not self.complete and self.error is None:
            self.error = LLMStreamError("no end", code="truncated")
        return []

    def response(self) -> ChatResponse:
        return ChatResponse(content=self.text)


def decode_error(status: int, headers: Headers, body: bytes) -> LLMError:
    return LLMServerError(f"status {status}", status_code=status, code=dict(headers).get("x-code"))


def operation(*, stream: bool = True, body: bytes = b"{}") -> Operation:
    return Operation(
        request=HTTPRequest(RequestHead("POST", ORIGIN, "/x"), body),
        form="ndjson" if stream else "json",
        provider="test",
        model="m",
        retry_table=TABLE,
        new_reader=LineReader,
        decode_error=decode_error,
        request_id=lambda headers: dict(headers).get("x-request-id"),
        rate_limit=lambda headers: {},
    )


def reply(body: bytes = b"", *, status: int = 200, headers: bytes = b"", framing: str = "length") -> bytes:
    """Response bytes; framing "length", "chunked" (one chunk a line) or "close"."""
    head = b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\n%b" % (status, headers)
    if framing == "length":
        return head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    if framing == "close":
        return head + b"\r\n" + body
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(line), line) for line in body.splitlines(keepends=True))
    return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
