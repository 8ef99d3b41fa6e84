"""One request and its reply on one connection: HTTP framing, content, and whether the connection may serve again.

    bytes ──> HTTPExchange ──body──> Reply ──> events

Rules of this file:
- Bytes in, events out; `done`, `error` and `condition` are sticky.
- A reply can be done before its HTTP message is (after `[DONE]`): `done` speaks of the content, `clean` of the wire.
- `clean` is the only word on reuse: request sent in full, framing ended exactly, nothing left over.
"""

from __future__ import annotations

from ..chat.events import Event
from ..chat.response import ChatResponse, late
from ..errors import LLMError, LLMStreamError
from ..http.heads import ResponseHead
from ..http.http11 import HTTPExchange
from ..policy.limits import DEFAULT_LIMITS, Limits
from ..providers.base import Headers, Operation
from .reply import COMPRESSED, CUT_SHORT, Reply, condition_of_fault


class Exchange:
    """`receive_data(bytes)`, `receive_eof()` -> events; `sent_all` is set by the owner once the request is written."""

    __slots__ = ("_limits", "_operation", "early", "http", "reply", "sent_all")

    def __init__(self, operation: Operation, limits: Limits = DEFAULT_LIMITS) -> None:
        self._operation = operation
        self._limits = limits
        self.http = HTTPExchange(operation.request.method, limits)
        self.reply: Reply | None = None
        self.sent_all = False
        self.early = False

    @property
    def head(self) -> ResponseHead | None:
        return self.http.head

    @property
    def done(self) -> bool:
        """Nothing more needs to be read: the reply ended or failed, or the framing broke."""
        reply = self.reply
        return (reply is not None and reply.done) or self.http.error is not None

    @property
    def error(self) -> LLMError | None:
        reply = self.reply
        if reply is not None:
            if reply.error is not None:
                return reply.error
            if reply.done:
                return None
        return self.http.error

    @property
    def condition(self) -> str | None:
        """The word for the retry table, when there is an error."""
        if self.reply is not None and self.reply.error is not None:
            return self.reply.condition
        error = self.http.error
        if error is None:
            return None
        if isinstance(error, LLMStreamError):
            return "truncated"
        return condition_of_fault(error)

    @property
    def finishing(self) -> bool:
        return self.reply is not None and self.reply.finishing

    @property
    def explaining(self) -> bool:
        """Whether the reply has failed already, and its body is read to say why."""
        return self.reply is not None and self.reply.explaining

    @property
    def content_events(self) -> int:
        reply = self.reply
        return 0 if reply is None or reply.reader is None else reply.reader.content_events

    @property
    def keepalives(self) -> int:
        return self.http.informational + (0 if self.reply is None else self.reply.keepalives)

    @property
    def clean(self) -> bool:
        """Reusable: see reliability.md; anything doubtful is False."""
        return self.sent_all and not self.early and self.http.clean

    def receive_data(self, data: bytes) -> list[Event]:
        """Bytes of one read. Check `done` afterwards."""
        http = self.http
        body = http.receive_data(data)
        reply = self.reply
        if reply is None:
            if http.head is None:
                return []
            reply = self._begin(http.head)
        events = reply.receive_data(body) if body else []
        if http.ended:
            if not reply.done:
                events += reply.receive_eof()
        elif http.error is not None and reply.explaining:
            self._end_explanation(reply, http.error)
        return events

    def receive_eof(self) -> list[Event]:
        """The peer closed its side. The exchange is `done` afterwards, whole or with `error`."""
        http = self.http
        body = http.receive_eof()
        reply = self.reply
        if reply is None:  # there is one from the head on
            return []
        events = reply.receive_data(body) if body else []
        if reply.done:
            return events
        if http.error is None or reply.complete or reply.reader is None:
            # An error body that was cut still says what went wrong, and a reply with its finish reason is whole.
            events += reply.receive_eof("" if http.error is None else CUT_SHORT)
        return events

    def finish(self) -> list[Event]:
        """End a `finishing` reply here, without what was still to come (usage, the terminal event, an explanation)."""
        return [] if self.reply is None else self.reply.receive_eof(CUT_SHORT)

    def response(self) -> ChatResponse | None:
        """What has arrived so far, with what the head says."""
        reply = self.reply
        response = None if reply is None else reply.response()
        head = self.http.head
        if head is not None and response is not None:
            response.headers = late(head.told, _as_dict)
            response.rate_limit = late(head.told, self._operation.rate_limit)
            response.request_id = late(head.told, self._operation.request_id)
        return response

    def _begin(self, head: ResponseHead) -> Reply:
        self.reply = Reply(self._operation, head, self.http.media_type, self._limits)
        return self.reply

    def _end_explanation(self, reply: Reply, error: LLMError) -> None:
        """The message is broken, or coded. A reply that has failed already is what it was, with what there is of it."""
        if error.code != "coded_reply":
            reply.receive_eof(CUT_SHORT)
        elif reply.status >= 300:
            reply.receive_eof(COMPRESSED)


def _as_dict(headers: Headers) -> dict[str, str]:
    """Repeated fields are joined with a comma (RFC 9110 section 5.3)."""
    fields = dict(headers)
    if len(fields) != len(headers):
        fields = {}
        for name, value in headers:
            fields[name] = f"{fields[name]}, {value}" if name in fields else value
    return fields
