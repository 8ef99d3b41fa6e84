"""An Anthropic message in the making: blocks and deltas in, `ChatResponse`, `raw` and the history's blocks out.

Rules of this file:
- Both forms of a reply go through it, so that a drained stream and a whole reply say the same.
- Only a `tool_use` block is a call for the client; blocks of server tools pass through untouched.
- Input belongs to the block whose index it names, as long as that is open; any other is lost (`chat.tool_calls`).
- Usage is cumulative: a later count overwrites, and what is left out, null or zero keeps its value; but the count of
  output at a message's start is no count yet.
- Nothing received raises; what is not what it should be is passed over.
"""

from __future__ import annotations

from typing import Final

from ...chat.assembly import ChoiceAssembler, ReplyAssembler
from ...chat.events import Event, ReasoningDelta, RefusalDelta, TextDelta, ToolCallCompleted
from ...chat.response import ToolCall, Usage
from ...chat.shapes import FinishReason
from ...decode import jsontext
from ...decode.jsontext import JSON, JSONObject, JSONTextError, SurrogateJoiner
from ...limits import Limits
from ..json_replies import count
from .messages import native_form

#: `stop_reason` -> the common finish reason; anything else is "other".
FINISH_REASONS: Final[dict[str, FinishReason]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
    "pause_turn": "pause",
}


#: Where a call's input may be; the wire's own place first.
_INPUT_KEYS: Final = ("input", "arguments", "parameters", "args")


class Block:
    """One content block. `native` is its start; `pieces` are its text, its thinking, or the JSON text of its input."""

    __slots__ = ("call", "closed", "kind", "native", "pieces")

    def __init__(self, native: JSONObject, kind: str, call: int | None) -> None:
        self.native = native
        self.kind = kind
        self.call = call
        self.pieces: list[str] = []
        self.closed = False

    @property
    def given(self) -> JSON:
        """The input that came whole with the start of a call, if there was any."""
        return next((self.native[key] for key in _INPUT_KEYS if self.native.get(key)), None)

    def is_begun_by(self, native: JSONObject) -> bool:
        """Whether this start only repeats the one of this block, which is still open (gateways restart). A call without
        an id may be a second one.
        """
        return not self.closed and native == self.native and (self.call is None or bool(native.get("id")))

    def whole(self, calls: dict[int | None, ToolCall]) -> JSONObject:
        """The block in its non-streaming shape."""
        native = dict(self.native)
        if self.kind in ("text", "thinking"):
            native[self.kind] = "".join(self.pieces)
        elif self.call in calls and calls[self.call].arguments_error is None:
            native["input"] = calls[self.call].arguments
        elif self.pieces:
            native["input"] = _parsed_input("".join(self.pieces))
        return native


class MessageAssembler:
    """One message in the making, from either form of the reply."""

    __slots__ = (
        "_blocks", "_calls", "_completed", "_counted", "_head", "_joiner", "_usage", "_version", "choice", "reply",
        "stop_reason", "tally", "waiting",
    )  # fmt: skip

    def __init__(self, version: str | None, limits: Limits) -> None:
        self.reply = ReplyAssembler(limits, compact_arguments=True)
        self.tally = self.reply.tally
        self.choice = self.reply.choices[0] = ChoiceAssembler(0, limits, compact_arguments=True, tally=self.tally)
        self.stop_reason: str | None = None
        #: The block whose text ended in the first half of a surrogate pair.
        self.waiting: Block | None = None
        self._version = version
        self._head: JSONObject = {}
        self._usage: JSONObject = {}
        #: Whether an output count above 0 came after the start.
        self._counted = False
        self._blocks: list[Block] = []
        self._calls = 0
        self._completed: dict[int | None, ToolCall] = {}
        self._joiner = SurrogateJoiner()

    def begin(self, start: JSONObject) -> bool:
        """The message as it starts. A second one (gateways restart) only fills gaps; False then."""
        first = not self._head
        for key, item in start.items():
            if first or self._head.get(key) in (None, ""):
                self._head[key] = item
        usage = start.get("usage")
        if isinstance(usage, dict):
            self._usage |= {key: item for key, item in usage.items() if key not in self._usage}
            self.reply.usage = _usage(self._usage)
        model = self._head.get("model")
        if isinstance(model, str):
            self.reply.model = jsontext.well_formed(model)
        return first

    def open(self, native: JSONObject) -> tuple[Block, list[Event]]:
        """A block begins, empty or with content in it already."""
        kind = native.get("type")
        block = Block(native, kind if isinstance(kind, str) else "", None)
        again = bool(self._blocks) and native == self._blocks[-1].native
        self._blocks.append(block)
        events: list[Event] = []
        if block.kind == "tool_use":
            block.call = self._calls
            self._calls += 1
            events += self.choice.tools.fragment(
                index=block.call, id=native.get("id"), name=native.get("name"), apart=True
            )
        elif block.kind in ("text", "thinking"):
            text = native.get(block.kind)
            if isinstance(text, str) and text:
                events += self.add_text(block, text)
        # Else it may hold a result, a name, redacted thinking: such blocks come whole, and the same again says nothing.
        if again:
            self.tally.beside += 1
        else:
            self.tally.take(native)
        return block, events

    def add_text(self, block: Block, text: str) -> list[Event]:
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

    def _add_text(self, block: Block, text: str) -> list[Event]:
        if not text:
            return []
        block.pieces.append(text)
        if block.kind == "text":
            self.choice.text.append(text)
            return [TextDelta(text)]
        self.choice.reasoning.append(text)
        return [ReasoningDelta(text)]

    def add(self, block: Block | None, kind: JSON, delta: JSONObject) -> list[Event]:
        """A delta that is not text."""
        if kind == "input_json_delta" or (kind is None and "partial_json" in delta):
            piece = delta.get("partial_json")
            if piece is None:  # Under another name nobody knows what it is.
                piece = [item for key, item in delta.items() if item and key != "type"]
            if isinstance(piece, dict):
                piece = jsontext.dumps(jsontext.well_formed_tree(piece)).decode()
            if isinstance(piece, str) and piece:
                if block is not None and not block.closed:
                    if block.call is not None:
                        block.pieces.append(piece)
                        return self.choice.tools.fragment(index=block.call, arguments=piece)
                    if "input" in block.native or block.kind.endswith("tool_use"):
                        self.tally.content += 1
                        block.pieces.append(piece)
                        return []
                if not piece.isspace():
                    self.choice.tools.lose()
            elif piece:
                self.choice.tools.lose()
        elif block is None:
            return []
        elif kind == "signature_delta":
            if block.kind == "thinking" and isinstance(delta.get("signature"), str):
                self._replace(block, {"signature": delta["signature"]})
        elif kind == "citations_delta":
            if block.kind == "text" and "citation" in delta:
                known = block.native.get("citations")
                if not isinstance(known, list):
                    known = block.native["citations"] = []
                if delta["citation"] in known[-1:]:
                    self.tally.beside += 1
                else:
                    self.tally.take(delta["citation"])
                known.append(delta["citation"])
        elif kind == "compaction_delta" and block.kind == "compaction":
            self._replace(block, {key: item for key, item in delta.items() if key != "type"})
        return []

    def _replace(self, block: Block, keys: JSONObject) -> None:
        """Keys of a block that are whole each time; the same again says nothing."""
        if any(block.native.get(key) != item for key, item in keys.items()):
            self.tally.take(list(keys.values()))
            block.native.update(keys)

    def close(self, block: Block) -> list[Event]:
        """A block ended. Input that came whole with its start counts unless pieces of another followed."""
        if block.closed:
            return []
        block.closed = True
        given = block.given
        if block.call is None or "".join(block.pieces) not in ("", "{}") or not given:
            return []
        return self.choice.tools.fragment(index=block.call, arguments=given)

    def update(self, delta: JSONObject) -> list[Event]:
        """Keys of the message that are known at its end: `stop_reason`, `stop_details`, `container` and others."""
        for key, item in delta.items():
            if item is not None or key not in self._head:
                self._head[key] = item
        reason = delta.get("stop_reason")
        if isinstance(reason, str) and reason:
            if self.stop_reason is None:
                self.tally.content += 1
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
        """Counts known at the end, or so far. False if there are none."""
        if not isinstance(usage, dict) or not usage:
            return False
        output = count(usage.get("output_tokens"))
        _update(self._usage, usage)
        if output == 0 and not self._counted:
            # What a message begins with is no count yet, so its first real one may be 0.
            self._usage["output_tokens"] = 0
        self._counted = self._counted or bool(output)
        self.reply.usage = _usage(self._usage)
        return True

    def finish(self) -> list[Event]:
        """The message ended in order. Not so if a cap was exceeded: look at `reply.error`."""
        events = self.end_text()
        for block in self._blocks:
            if block.call is not None and not block.closed:
                self.choice.tools.left_open(block.call)
            events += self.close(block)
        if self.reply.error is not None:
            return events
        if self.choice.finish_reason == "length" and self._blocks and self._blocks[-1].call is not None:
            self.choice.tools.cut_last()
        if self.choice.finish_reason not in ("stop", "tool_calls"):
            for block in self._blocks:
                # Whole replies say `{}` of input that was cut off too.
                if block.call is not None and not block.given and not "".join(block.pieces).strip(" \t\r\n{}"):
                    self.choice.tools.cut(block.call)
        ending = self.reply.finish()
        for event in ending:
            if isinstance(event, ToolCallCompleted):
                self._completed[event.index] = event.tool_call
        self.choice.native = native_form(self._history_blocks(), self._version)
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
                if block.kind:
                    kept.append(block.whole(self._completed))
            elif call is not None and call.arguments_error is None:
                native = {key: item for key, item in block.native.items() if key not in _INPUT_KEYS}
                kept.append({**native, "id": call.id, "name": call.name, "input": call.arguments})
        blocks: list[JSONObject] = jsontext.well_formed_tree(kept)
        return blocks


def _parsed_input(text: str) -> JSON:
    """The input of a server's own tool; `{}` where its text was cut."""
    try:
        return jsontext.loads(text)
    except JSONTextError:
        return {}


def _update(known: JSONObject, sent: JSONObject) -> None:
    """Later counts take the place of earlier ones; gateways end with zeros, which do not."""
    for key, item in sent.items():
        before = known.get(key)
        if isinstance(item, dict) and isinstance(before, dict):
            known[key] = dict(before)
            _update(known[key], item)
        elif item or not before:
            known[key] = item if item is not None else before


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
