"""Anthropic's replies: whole messages and event streams in, events and `ChatResponse` out.

    message_start  (content_block_start  content_block_delta*  content_block_stop)*  message_delta+  message_stop

Rules of this file:
- Only a `tool_use` block is a call for the client; blocks of server tools pass through untouched.
- Usage in `message_delta` is cumulative: it overwrites, and what it leaves out keeps its first value.
- `ping` is a keep-alive. Event, block and delta types nobody knows yet are ignored, never an error.
- A stream ends with `message_stop`. One that ends without it is whole only if it gave its `stop_reason`.
- `raw` of a stream is the message in its non-streaming shape, signatures and citations included.
"""

from __future__ import annotations

from typing import Final

from .. import jsontext
from ..assembly import ChoiceAssembler, ReplyAssembler
from ..errors import LLMError, LLMStreamError
from ..events import Event, ReasoningDelta, RefusalDelta, TextDelta, ToolCallCompleted, UsageReported
from ..jsontext import JSON, JSONObject, JSONTextError, SurrogateJoiner
from ..policy.limits import DEFAULT_LIMITS, Limits
from ..response import ChatResponse, ToolCall, Usage
from ..sse_json import DONE, SSEJSONDecoder
from .anthropic_messages import native_keys
from .failures import failure_from_event
from .whole import WholeReader, count

_PROVIDER: Final = "anthropic"

#: `stop_reason` -> the common finish reason; anything else is "other".
FINISH_REASONS: Final = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
    "pause_turn": "pause",
}


class WholeMessageReader(WholeReader):
    """The reader of `POST /v1/messages` without `stream`."""

    def __init__(self, model: str | None = None, version: str | None = None, limits: Limits = DEFAULT_LIMITS) -> None:
        super().__init__(_PROVIDER, model, limits)
        self._message = _Message(version, limits)
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
            for block in [{"type": "text", "text": content}] if isinstance(content, str) else content or ():
                if isinstance(block, dict):
                    message.open(block)
            message.update(value)
            message.finish()
            if message.reply.error is not None:
                self.fail(message.reply.error)

    def response(self) -> ChatResponse:
        return self._message.reply.response(self._raw)


class MessageStreamReader:
    """The reader of `POST /v1/messages` with `stream`. See `ReplyReader` for its attributes."""

    __slots__ = ("_blocks", "_current", "_decoder", "_index", "_message", "_model", "_pings", "content_events", "ended", "error")

    def __init__(self, model: str | None = None, version: str | None = None, limits: Limits = DEFAULT_LIMITS) -> None:
        self._decoder = SSEJSONDecoder(limits)
        self._message = _Message(version, limits)
        self._model = model
        self._blocks: dict[int, _Block] = {}
        self._current: _Block | None = None
        #: Index of the current block, if it takes text deltas.
        self._index: JSON = None
        self._pings = 0
        self.content_events = 0
        self.ended = False
        self.error: LLMError | None = None

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
        return self._pings + self._decoder.keepalives

    def receive_data(self, data: bytes) -> list[Event]:
        """Body bytes, cut anywhere. Check `error` and `ended` afterwards."""
        if self._stopped():
            return []
        events: list[Event] = []
        message = self._message
        for name, value in self._decoder.receive_data(data):
            if type(value) is dict and value.get("type") == "content_block_delta" and self._current is not None:
                # Nearly every event of nearly every stream: plain text for the block at hand.
                delta = value.get("delta")
                if type(delta) is dict and delta.get("type") == "text_delta" and value.get("index") == self._index:
                    text = delta.get("text")
                    if type(text) is str and text:
                        self.content_events += 1
                        if message.waiting is None and text.isascii():
                            self._current.pieces.append(text)
                            message.choice.text.append(text)
                            events.append(TextDelta(text))
                        else:
                            events += message.add_text(self._current, text)
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
        if kind == "ping":
            self._pings += 1
            return []
        self.content_events += 1
        if kind == "error":
            self._fail(failure_from_event(_PROVIDER, value, model=self._model))
            return []
        if kind == "message_stop":
            return self._finish()
        handler = _HANDLERS.get(kind)
        if handler is None:
            return []
        events = handler(self, value)
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
        native = value.get("content_block")
        return self._open(value.get("index"), native) if isinstance(native, dict) else []

    def _open(self, index: JSON, native: JSONObject) -> list[Event]:
        events = self._message.end_text()
        block, opened = self._message.open(native)
        if type(index) is int:
            self._blocks[index] = block
        self._current = block
        self._index = index if block.kind == "text" else _NO_INDEX
        return events + opened

    def _on_block_delta(self, value: JSONObject) -> list[Event]:
        delta = value.get("delta")
        if not isinstance(delta, dict):
            return []
        index = value.get("index")
        block = self._blocks.get(index) if type(index) is int else self._current
        kind = delta.get("type")
        events: list[Event] = []
        if kind in _TEXTS:
            block_kind, field = _TEXTS[kind]
            text = delta.get(field)
            if not isinstance(text, str):
                return []
            if block is None or block.kind != block_kind:
                # A delta without its block: the text counts all the same.
                events += self._open(index, {"type": block_kind, field: ""})
                block = self._current
            return events + self._message.add_text(block, text) if block is not None else events
        if block is not None:
            events += self._message.add(block, kind, delta)
        return events

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
        if message.add_usage(value.get("usage")):
            events.append(UsageReported(message.reply.usage))
        return events

    def _end(self) -> list[Event]:
        """An end other than `message_stop`."""
        if self._message.stop_reason is not None:
            return self._finish()
        self._fail(
            LLMStreamError("the stream ended before the message did (no stop_reason, no message_stop)", code="truncated")
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


class _Block:
    """One content block. `native` is its start; `pieces` are its text, its thinking, or the JSON text of its input."""

    __slots__ = ("call", "closed", "kind", "native", "pieces")

    def __init__(self, native: JSONObject, kind: str, call: int | None) -> None:
        self.native = native
        self.kind = kind
        self.call = call
        self.pieces: list[str] = []
        self.closed = False

    def whole(self, calls: dict[int, ToolCall]) -> JSONObject:
        """The block in its non-streaming shape."""
        native = dict(self.native)
        if self.kind in ("text", "thinking"):
            native[self.kind] = "".join(self.pieces)
        elif self.call is not None and self.call in calls:
            native["input"] = calls[self.call].arguments
        elif self.pieces:
            native["input"] = _parsed_input("".join(self.pieces))
        return native


class _Message:
    """One message in the making, from either form of the reply."""

    __slots__ = (
        "_blocks", "_calls", "_completed", "_head", "_joiner", "_usage", "_version", "choice", "reply", "stop_reason",
        "waiting",
    )  # fmt: skip

    def __init__(self, version: str | None, limits: Limits) -> None:
        self.reply = ReplyAssembler(limits, compact_arguments=True)
        self.choice = self.reply.choices[0] = ChoiceAssembler(0, limits, compact_arguments=True)
        self.stop_reason: str | None = None
        #: The block whose text ended in the first half of a surrogate pair.
        self.waiting: _Block | None = None
        self._version = version
        self._head: JSONObject = {}
        self._usage: JSONObject = {}
        self._blocks: list[_Block] = []
        self._calls = 0
        self._completed: dict[int, ToolCall] = {}
        self._joiner = SurrogateJoiner()

    def begin(self, start: JSONObject) -> bool:
        """The message as it starts. A second one (gateways restart) only fills gaps; False then."""
        first = not self._head
        for key, item in start.items():
            if first or self._head.get(key) in (None, ""):
                self._head[key] = item
        usage = start.get("usage")
        if first:
            self.add_usage(usage)
        elif isinstance(usage, dict):
            self.add_usage({key: item for key, item in usage.items() if key not in self._usage})
        model = self._head.get("model")
        if isinstance(model, str):
            self.reply.model = jsontext.well_formed(model)
        return first

    def open(self, native: JSONObject) -> tuple[_Block, list[Event]]:
        """A block begins, empty or with content in it already."""
        kind = native.get("type")
        block = _Block(native, kind if isinstance(kind, str) else "", None)
        self._blocks.append(block)
        events: list[Event] = []
        if block.kind == "tool_use":
            block.call = self._calls
            self._calls += 1
            events += self.choice.tools.fragment(index=block.call, id=native.get("id"), name=native.get("name"))
        elif block.kind in ("text", "thinking"):
            text = native.get(block.kind)
            if isinstance(text, str) and text:
                events += self.add_text(block, text)
        return block, events

    def add_text(self, block: _Block, text: str) -> list[Event]:
        """A piece of a text or thinking block."""
        if not text:
            return []
        events = self.end_text() if self.waiting is not block else []
        if self.waiting is not None or not text.isascii():
            self.waiting = block if "\ud800" <= text[-1] <= "\udbff" else None
            text = self._joiner.join(text)
        return events + self._add_text(block, text)

    def end_text(self) -> list[Event]:
        """Half a character that is still waiting will not be completed."""
        block, self.waiting = self.waiting, None
        return [] if block is None else self._add_text(block, self._joiner.flush())

    def _add_text(self, block: _Block, text: str) -> list[Event]:
        if not text:
            return []
        block.pieces.append(text)
        if block.kind == "text":
            self.choice.text.append(text)
            return [TextDelta(text)]
        self.choice.reasoning.append(text)
        return [ReasoningDelta(text)]

    def add(self, block: _Block, kind: JSON, delta: JSONObject) -> list[Event]:
        """A delta that is not text."""
        if kind == "input_json_delta":
            piece = delta.get("partial_json")
            if isinstance(piece, str) and piece:
                if block.call is not None:
                    block.pieces.append(piece)
                    return self.choice.tools.fragment(index=block.call, arguments=piece)
                if "input" in block.native or block.kind.endswith("tool_use"):
                    block.pieces.append(piece)
        elif kind == "signature_delta":
            if block.kind == "thinking" and isinstance(delta.get("signature"), str):
                block.native["signature"] = delta["signature"]
        elif kind == "citations_delta":
            if block.kind == "text" and "citation" in delta:
                known = block.native.get("citations")
                if isinstance(known, list):
                    known.append(delta["citation"])
                else:
                    block.native["citations"] = [delta["citation"]]
        elif kind == "compaction_delta" and block.kind == "compaction":
            block.native.update((key, item) for key, item in delta.items() if key != "type")
        return []

    def close(self, block: _Block) -> list[Event]:
        """A block ended. Input that came whole with its start counts unless pieces followed."""
        if block.closed:
            return []
        block.closed = True
        given = block.native.get("input")
        if block.call is None or block.pieces or not given:
            return []
        return self.choice.tools.fragment(index=block.call, arguments=given)

    def update(self, delta: JSONObject) -> list[Event]:
        """Keys of the message that are known at its end: `stop_reason`, `stop_details`, `container` and others."""
        for key, item in delta.items():
            if item is not None or key not in self._head:
                self._head[key] = item
        reason = delta.get("stop_reason")
        if isinstance(reason, str) and reason:
            self.stop_reason = jsontext.well_formed(reason)
            self.choice.raw_finish_reason = self.stop_reason
            self.choice.finish_reason = FINISH_REASONS.get(reason, "other")
        details = delta.get("stop_details")
        explanation = details.get("explanation") if isinstance(details, dict) else None
        if not isinstance(explanation, str) or not explanation or self.choice.refusal:
            return []
        self.choice.refusal.append(jsontext.well_formed(explanation))
        return [RefusalDelta(self.choice.refusal[0])]

    def add_usage(self, usage: JSON) -> bool:
        """Counts known so far. False if there are none."""
        if not isinstance(usage, dict) or not usage:
            return False
        self._usage.update((key, item) for key, item in usage.items() if item is not None or key not in self._usage)
        self.reply.usage = _usage(self._usage)
        return True

    def finish(self) -> list[Event]:
        """The message ended in order."""
        events = self.end_text()
        for block in self._blocks:
            events += self.close(block)
        if self.choice.finish_reason == "length" and self._blocks and self._blocks[-1].call is not None:
            self.choice.tools.cut_last()
        ending = self.reply.finish()
        for event in ending:
            if isinstance(event, ToolCallCompleted):
                self._completed[event.index] = event.tool_call
        self.choice.extras = native_keys(self._history_blocks(), self._version)
        return events + ending

    def raw(self) -> JSONObject:
        """The message as a non-streaming reply would hold it; fresh objects."""
        content = [block.whole(self._completed) for block in self._blocks]
        raw: JSONObject = {**self._head, "content": content}
        if self._usage:
            raw["usage"] = self._usage
        copied: JSONObject = jsontext.well_formed_tree(raw)
        return copied

    def _history_blocks(self) -> list[JSONObject]:
        """The blocks to send back: all but calls that cannot be run, which nobody will answer."""
        kept = []
        for block in self._blocks:
            call = None if block.call is None else self._completed.get(block.call)
            if block.call is None:
                kept.append(block.whole(self._completed))
            elif call is not None and call.arguments_error is None:
                kept.append({**block.native, "id": call.id, "name": call.name, "input": call.arguments})
        blocks: list[JSONObject] = jsontext.well_formed_tree(kept)
        return blocks


def _parsed_input(text: str) -> JSON:
    """The input of a server's own tool; `{}` where its text was cut."""
    try:
        return jsontext.loads(text)
    except JSONTextError:
        return {}


def _usage(wire: JSONObject) -> Usage:
    """`input_tokens` of the wire leaves out what came from or went to the cache; ours includes it."""
    cached = count(wire.get("cache_read_input_tokens"))
    written = count(wire.get("cache_creation_input_tokens"))
    details = wire.get("output_tokens_details")
    parts = [n for n in (count(wire.get("input_tokens")), cached, written) if n is not None]
    return Usage(
        input_tokens=sum(parts) if parts else None,
        output_tokens=count(wire.get("output_tokens")),
        cached_tokens=cached,
        cache_write_tokens=written,
        reasoning_tokens=count(details.get("thinking_tokens")) if isinstance(details, dict) else None,
    )
