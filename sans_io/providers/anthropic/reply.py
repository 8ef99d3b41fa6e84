"""Anthropic's replies: whole messages and event streams in, events and `ChatResponse` out.

    message_start  (content_block_start  content_block_delta*  content_block_stop)*  message_delta+  message_stop

Rules of this file:
- `ping` is a keep-alive. Event, block and delta types nobody knows yet are ignored, never an error.
- A stream ends with `message_stop`. One that ends without it is whole only if it gave its `stop_reason`.
- `raw` of a stream is the message in its non-streaming shape, signatures and citations included.
"""

from __future__ import annotations

from typing import Final

from ...chat.events import Event, TextDelta, UsageReported
from ...chat.response import ChatResponse, Usage
from ...decode.jsontext import JSON, JSONObject
from ...decode.sse_json import DONE, SSEJSONDecoder
from ...errors import LLMError, LLMStreamError
from ...limits import DEFAULT_LIMITS, Limits
from ..failures import failure_from_event
from ..json_replies import WholeReader
from ..stream_readers import LONG, StreamReader
from .assembly import Block, MessageAssembler

_PROVIDER: Final = "anthropic"


class WholeMessageReader(WholeReader):
    """The reader of `POST /v1/messages` without `stream`."""

    def __init__(self, model: str | None = None, version: str | None = None, limits: Limits = DEFAULT_LIMITS) -> None:
        super().__init__(_PROVIDER, model, limits)
        self._message = MessageAssembler(version, limits)
        self._raw: JSONObject = {}

    def read(self, value: JSONObject) -> None:
        content = value.get("content")
        if value.get("type") == "error" or (value.get("error") and content is None):
            self.reported(value)
        elif not isinstance(content, (list, str)) and value.get("type") != "message":
            self.unexpected(value)
        else:
            self._raw = value
            message = self._message
            message.begin(value)
            blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
            for block in blocks if isinstance(blocks, list) else ():
                if isinstance(block, dict):
                    message.close(message.open(block)[0])
            message.update(value)
            message.finish()
            if message.reply.error is not None:
                self.fail(message.reply.error)

    def response(self) -> ChatResponse:
        return self._message.reply.response(self._raw)


class MessageStreamReader(StreamReader):
    """The reader of `POST /v1/messages` with `stream`. See `ReplyReader` for its attributes."""

    __slots__ = (
        "_blocks",
        "_current",
        "_decoder",
        "_index",
        "_message",
        "_model",
        "_reported",
        "ended",
    )

    def __init__(self, model: str | None = None, version: str | None = None, limits: Limits = DEFAULT_LIMITS) -> None:
        super().__init__()
        self._decoder = SSEJSONDecoder(limits)
        self._message = MessageAssembler(version, limits)
        self._model = model
        #: The counts of the last `UsageReported`.
        self._reported: Usage | None = None
        self._blocks: dict[int, Block] = {}
        self._current: Block | None = None
        #: Index of the current block, if it takes text deltas.
        self._index: JSON = None
        self.ended = False

    @property
    def complete(self) -> bool:
        """An end of the body now is the end of a whole message."""
        return self.ended or self._message.stop_reason is not None

    @property
    def finishing(self) -> bool:
        """The stop reason was seen; `message_stop` may follow."""
        return self._message.stop_reason is not None

    @property
    def keepalives(self) -> int:
        return self._decoder.keepalives + self._silent

    def receive_data(self, data: bytes) -> list[Event]:
        """Body bytes, cut anywhere. Check `error` and `ended` afterwards."""
        if self._stopped():
            return []
        if len(data) > LONG and not self._cutting:
            return self._receive_long(data, self._decoder, self._message.reply.tally)
        events: list[Event] = []
        message = self._message
        for name, value in self._decoder.receive_data(data):
            if type(value) is dict and value.get("type") == "content_block_delta" and self._current is not None:
                # Nearly every event of nearly every stream: plain text for the block at hand.
                delta = value.get("delta")
                if type(delta) is dict and delta.get("type") == "text_delta" and value.get("index") == self._index:
                    text = delta.get("text")
                    if type(text) is str and text:
                        if message.waiting is None and text.isascii():
                            self.content_events += 1
                            self._current.pieces.append(text)
                            message.choice.text.append(text)
                            events.append(TextDelta(text))
                        else:
                            said = message.add_text(self._current, text)
                            self._took(said, message.reply.tally)
                            events += said
                        continue
            events += self._receive(name, value)
            if self._stopped():
                return events
        if self._decoder.error is not None:
            self._fail(self._decoder.error)
        return events

    def receive_eof(self) -> list[Event]:
        """The body ended in order. Without its end the stream was cut, unless its stop reason was seen."""
        if self._stopped():
            return []
        events: list[Event] = []
        unfinished = self._decoder.unfinished
        if unfinished is not None:
            name, value = unfinished
            if value is DONE or _kind(name, value) in ("message_delta", "message_stop", "error"):
                events += self._receive(name, value)
        if not self._stopped():
            events += self._end()
        return events

    def response(self) -> ChatResponse:
        """What has arrived so far, whole or partial."""
        return self._message.reply.response(self._message.raw())

    def _stopped(self) -> bool:
        return self.ended or self.error is not None

    def _receive(self, name: str, value: JSON) -> list[Event]:
        if value is DONE:
            # Not Anthropic's word: gateways that speak both wires end every stream with it.
            return self._end()
        kind = _kind(name, value)
        if kind == "error":
            self._fail(failure_from_event(_PROVIDER, value, model=self._model))
            return []
        if kind == "message_stop":
            return self._finish()
        handler = _HANDLERS.get(kind)
        events = [] if handler is None else handler(self, value)
        self._took(events, self._message.reply.tally)
        if self._message.reply.error is not None:
            self._fail(self._message.reply.error)
        return events

    def _on_message_start(self, value: JSONObject) -> list[Event]:
        start = value.get("message")
        if not isinstance(start, dict):
            return []
        if not self._message.begin(start):
            return []
        events: list[Event] = []
        content = start.get("content")
        for i, native in enumerate(content if isinstance(content, list) else ()):
            if isinstance(native, dict):
                self._blocks[i], opened = self._message.open(native)
                events += opened
        return events

    def _on_block_start(self, value: JSONObject) -> list[Event]:
        index, native = value.get("index"), value.get("content_block")
        if not isinstance(native, dict):
            return []
        block = self._blocks.get(index) if type(index) is int else None
        if block is None or not block.is_begun_by(native):
            return self._open(index, native)
        self._turn_to(block, index)
        return []

    def _open(self, index: JSON, native: JSONObject) -> list[Event]:
        events = self._message.end_text()
        block, opened = self._message.open(native)
        if type(index) is int:
            self._blocks[index] = block
        self._turn_to(block, index)
        return events + opened

    def _turn_to(self, block: Block, index: JSON) -> None:
        self._current = block
        self._index = index if block.kind == "text" else _NO_INDEX

    def _on_block_delta(self, value: JSONObject) -> list[Event]:
        delta = value.get("delta")
        if not isinstance(delta, dict):
            return []
        index = value.get("index")
        block = self._blocks.get(index) if type(index) is int else self._current
        kind = delta.get("type")
        events: list[Event] = []
        if isinstance(kind, str) and kind in _TEXTS:
            block_kind, field = _TEXTS[kind]
            text = delta.get(field)
            if not isinstance(text, str):
                return []
            if block is None or block.kind != block_kind:
                # A delta without its block: the text counts all the same.
                events += self._open(index, {"type": block_kind, field: ""})
                block = self._current
            return events + self._message.add_text(block, text) if block is not None else events
        return events + self._message.add(block, kind, delta)

    def _on_block_stop(self, value: JSONObject) -> list[Event]:
        index = value.get("index")
        block = self._blocks.get(index) if type(index) is int else self._current
        events = self._message.end_text()
        if block is not None:
            events += self._message.close(block)
        return events

    def _on_message_delta(self, value: JSONObject) -> list[Event]:
        message = self._message
        delta = value.get("delta")
        events = message.update(delta) if isinstance(delta, dict) else []
        message.update({key: item for key, item in value.items() if key not in ("type", "delta", "usage")})
        if message.add_usage(value.get("usage")) and message.reply.usage != self._reported:
            self._reported = message.reply.usage
            events.append(UsageReported(self._reported))
        return events

    def _end(self) -> list[Event]:
        """An end other than `message_stop`."""
        if self._message.stop_reason is not None:
            return self._finish()
        self._fail(
            LLMStreamError("the stream was cut: it ended without stop_reason and message_stop", code="truncated")
        )
        return []

    def _finish(self) -> list[Event]:
        events = self._message.finish()
        if self._message.reply.error is not None:
            self._fail(self._message.reply.error)
            return []
        self.ended = True
        return events

    def _fail(self, error: LLMError) -> None:
        error.provider = error.provider or _PROVIDER
        error.model = error.model or self._model
        error.partial = self.response()
        self.error = error


_HANDLERS: Final = {
    "message_start": MessageStreamReader._on_message_start,
    "content_block_start": MessageStreamReader._on_block_start,
    "content_block_delta": MessageStreamReader._on_block_delta,
    "content_block_stop": MessageStreamReader._on_block_stop,
    "message_delta": MessageStreamReader._on_message_delta,
}
#: Delta type -> (type of the block it belongs to, key of its text).
_TEXTS: Final = {"text_delta": ("text", "text"), "thinking_delta": ("thinking", "thinking")}
#: Equal to no index that a server can send.
_NO_INDEX: Final = object()


def _kind(name: str, value: JSON) -> str:
    """The event's type. Its own `type` decides; `event:` lines are missing on some servers and wrong on none."""
    kind = value.get("type") if isinstance(value, dict) else None
    if name == "error" or (kind is None and isinstance(value, dict) and "error" in value):
        return "error"
    return kind if isinstance(kind, str) else name if isinstance(value, dict) else ""
