"""What a Call needs to know of a provider: an `Operation`, and a `ReplyReader` for each attempt.

Rules of this file:
- A codec is immutable configuration plus pure functions; a reader is the state of one reply.
- Garbage never raises out of `receive_data` or `receive_eof` (R5): events before the fault are returned, then the
  reader's `error` is set and stays (R6).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from ..records import dataclass

if TYPE_CHECKING:
    from ..chat.events import Event
    from ..chat.messages import ChatRequest
    from ..chat.response import ChatResponse
    from ..errors import LLMError
    from ..http.http11 import HTTPRequest
    from ..policy.retry import RetryTable

#: Header fields of a response: lower-cased names, values decoded as latin-1, in order.
Headers: TypeAlias = tuple[tuple[str, str], ...]
ReplyForm: TypeAlias = Literal["json", "sse", "ndjson"]


class ReplyReader(Protocol):
    """Body bytes of one 2xx reply in, events out.

    `ended`: what ends the read was seen ([DONE], message_stop, `"done": true`; for a JSON body only its end).
    `complete`: an end of body now makes a complete reply. `finishing`: a finish reason was seen on every choice but
    the read has not ended (usage may follow). `content_events` counts provider events that are content, `keepalives`
    everything else that came whole (`chat.content`). All are plain attributes or properties; none of them ever goes
    back, and until the end every event given but `UsageReported` comes with more `content_events`.
    """

    @property
    def error(self) -> LLMError | None: ...
    @property
    def ended(self) -> bool: ...
    @property
    def complete(self) -> bool: ...
    @property
    def finishing(self) -> bool: ...
    @property
    def content_events(self) -> int: ...
    @property
    def keepalives(self) -> int: ...

    def receive_data(self, data: bytes) -> list[Event]:
        """Body bytes, cut anywhere. Check `error` and `ended` afterwards."""
        ...

    def receive_eof(self) -> list[Event]:
        """The body ended in order. A reply that is not complete now sets `error` (`LLMStreamError`, truncated)."""
        ...

    def response(self) -> ChatResponse:
        """What has arrived so far as a response: the final one once the reply is complete, a partial one before.

        Headers, request id, attempts and rate limits are filled in by the Call.
        """
        ...


@dataclass(slots=True)
class Operation:
    """One thing asked of a server: the request, and how its reply is read. Serves every attempt; nobody changes it.

    `form` is the content type a 2xx reply must have. `decode_error` turns a non-2xx reply (status, headers, body,
    cut to `max_error_body`) into the typed error; it never raises. `request_id` finds the provider's request id in
    the headers, `rate_limit` its rate-limit numbers. `may_lack_v1`: a web page may mean that base_url should end
    in /v1.
    """

    request: HTTPRequest
    form: ReplyForm
    provider: str
    model: str | None
    retry_table: RetryTable
    new_reader: Callable[[], ReplyReader]
    decode_error: Callable[[int, Headers, bytes], LLMError]
    request_id: Callable[[Headers], str | None]
    rate_limit: Callable[[Headers], dict[str, float]]
    may_lack_v1: bool = True


class Codec(Protocol):
    """A wire's requests and readers for one server and credential. Immutable."""

    def build(self, chat: ChatRequest) -> HTTPRequest:
        """The request for `chat`. Raises `LLMBadRequestError` naming what the wire does not support."""
        ...

    def operation(self, chat: ChatRequest) -> Operation:
        """The request and how its reply is read; serves every attempt of a call."""
        ...

    def models_operation(self) -> Operation:
        """Asks for the models that the server has; the reader's `models` are their names."""
        ...
