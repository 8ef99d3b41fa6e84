"""Replies that are one JSON document: collected, decoded once, then read by a codec.

Rules of this file:
- It knows no provider's words; a reader of a codec says what the document means in `read()`.
- Nothing raises because of received bytes (R5); `error` is sticky (R6).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from ..chat.events import Event
from ..chat.response import ChatResponse
from ..decode import jsontext
from ..decode.jsontext import JSON, JSONObject, JSONTextError
from ..errors import LLMError, LLMProtocolError
from ..limits import DEFAULT_LIMITS, MAX_COUNT, Limits
from .failures import failure_from_event, not_json, printable
from .merging import copied

if TYPE_CHECKING:
    from ..chat.shapes import TokenLogprob


class WholeReader(ABC):
    """Base of the readers of `application/json` replies. A subclass has `read(value)` and `response()`.

    Feed `receive_data` and `receive_eof`; look at `error` and `ended`, then ask for `response()`.
    """

    finishing = False
    #: Which 2xx it is; the exchange sets it where it is another.
    status = 200
    #: Whether a web page instead of a reply may mean that /v1 is missing from base_url.
    may_lack_v1 = False

    def __init__(self, provider: str, model: str | None, limits: Limits = DEFAULT_LIMITS) -> None:
        self.provider = provider
        self.model = model
        self.limits = limits
        self.error: LLMError | None = None
        self.ended = False
        self.content_events = 0
        self.keepalives = 0
        self._pieces: list[bytes] = []
        self._size = 0

    @property
    def complete(self) -> bool:
        """Only the end of the body tells, and then `ended` says the same."""
        return self.ended

    def receive_data(self, data: bytes) -> list[Event]:
        """A piece of the body. Check `error` afterwards. White space alone is a keep-alive: routers send it."""
        if self.error is not None or self.ended or not data:
            return []
        if data.isspace():
            self.keepalives += 1
        else:
            self.content_events += 1
        self._size += len(data)
        if self._size > self.limits.max_json:
            self._pieces.clear()
            limit = self.limits.max_json
            self.fail(LLMProtocolError(f"the reply is larger than Limits.max_json ({limit} bytes)", code="too_large"))
        else:
            self._pieces.append(data)
        return []

    def receive_eof(self) -> list[Event]:
        """The body is over: decode it. Afterwards either `ended` or `error` is set."""
        if self.error is not None or self.ended:
            return []
        body = b"".join(self._pieces)
        self._pieces.clear()
        try:
            value = jsontext.loads(body, limits=self.limits)
        except JSONTextError as fault:
            self.fail(self._undecodable(body, fault))
            return []
        if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict) and "error" in value[0]:
            value = value[0]
        if not isinstance(value, dict):
            self.unexpected(value)
        else:
            self.read(value)
        self.ended = self.error is None
        return []

    @abstractmethod
    def read(self, value: JSONObject) -> None:
        """Take the document in; call `fail()`, `reported()` or `unexpected()` if it is not what was asked for."""

    @abstractmethod
    def response(self) -> ChatResponse:
        """The reply as a `ChatResponse`; empty where it is something else, or not yet whole."""

    def fail(self, error: LLMError) -> None:
        """Set `error`; called once, since nothing is read after it."""
        error.provider = error.provider or self.provider
        error.model = error.model or self.model
        self.error = error

    def reported(self, value: JSON) -> None:
        """The document is the server's error, sent with a 2xx."""
        self.fail(failure_from_event(self.provider, value, model=self.model))

    def unexpected(self, value: JSON) -> None:
        """The document is JSON, but not the reply that was asked for."""
        shown = printable(jsontext.dumps(value)[:2000].decode("utf-8", "ignore"), 200)
        message = f"{self.provider} answered with JSON that is not the reply that was asked for: {shown}"
        self.fail(LLMProtocolError(message, code="unexpected_reply", body=value))

    def _undecodable(self, body: bytes, fault: JSONTextError) -> LLMError:
        if body.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] not in (b"{", b"["):
            return not_json(
                self.provider,
                self.status,
                (),
                body[: self.limits.max_error_body],
                model=self.model,
                may_lack_v1=self.may_lack_v1,
            )
        return LLMProtocolError(f"the reply is not valid JSON: {fault}", code="bad_json")


class RawReader(WholeReader):
    """Base of the readers of what is no chat: only `response().raw` is filled, with the whole document."""

    def __init__(self, provider: str, limits: Limits = DEFAULT_LIMITS) -> None:
        super().__init__(provider, None, limits)
        self._raw: JSONObject = {}

    def response(self) -> ChatResponse:
        return ChatResponse(raw=self._raw)


class ModelsReader(RawReader):
    """Base of the readers of a list of models: `models` holds their names in the server's order."""

    def __init__(self, provider: str, limits: Limits = DEFAULT_LIMITS) -> None:
        super().__init__(provider, limits)
        self.models: list[str] = []


def token_logprobs(entries: JSON) -> list[TokenLogprob] | None:
    """Log probabilities of the tokens as sent, less what is none; None if there is no list. Nothing is shared."""
    if not isinstance(entries, list):
        return None
    return [copied(one) for one in entries if _is_token(one)]


def _is_token(value: JSON) -> bool:
    return (
        isinstance(value, dict) and isinstance(value.get("token"), str) and type(value.get("logprob")) in (int, float)
    )


def count(value: JSON) -> int | None:
    """A token count as sent, or None for what cannot be one (negative, fractional, text, beyond 64 bits)."""
    return value if type(value) is int and 0 <= value <= MAX_COUNT else None
