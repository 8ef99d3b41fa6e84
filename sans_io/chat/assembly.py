"""Pieces of a reply in, the whole `ChatResponse` out: what the three codecs share.

Rules of this file:
- It knows no provider's words; a codec writes what it understood into the slots and asks for the response.
- `response()` may be asked at any time and as often as wanted; nothing it hands out is shared with the next one.
- A tool call is runnable only after `finish()`, which only a reply that ended in order reaches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from ..decode import jsontext
from ..decode.jsontext import JSON, JSONObject
from ..errors import LLMProtocolError
from ..limits import DEFAULT_LIMITS, Limits
from ..records import replace
from .content import Tally
from .events import Event, Finished, ToolCallCompleted
from .response import ChatResponse, Choice, ToolCall, Usage
from .shapes import NATIVE, NOT_FROM_SERVERS
from .tool_calls import ToolCallAssembler

if TYPE_CHECKING:
    from .shapes import AssistantMessage, FinishReason, TokenLogprob

_NO_USAGE = Usage()


class ChoiceAssembler:
    """One answer in the making. A codec appends to `text`, `reasoning`, `refusal` (lists of pieces), feeds `tools`,
    and sets `finish_reason` (normalised), `raw_finish_reason`, `extras` (the server's message keys to keep and send
    back), `native` (the message in its wire's own form, see `shapes.NATIVE`) and `logprobs` (fresh ones each time it
    asks for the response).
    """

    __slots__ = (
        "_compact",
        "_limits",
        "_tally",
        "_tools",
        "extras",
        "finish_reason",
        "index",
        "logprobs",
        "native",
        "raw_finish_reason",
        "reasoning",
        "refusal",
        "text",
    )

    def __init__(
        self,
        index: int = 0,
        limits: Limits = DEFAULT_LIMITS,
        *,
        compact_arguments: bool = False,
        tally: Tally | None = None,
    ) -> None:
        self.index = index
        self.text: list[str] = []
        self.reasoning: list[str] = []
        self.refusal: list[str] = []
        self.finish_reason: FinishReason | None = None
        self.raw_finish_reason: str | None = None
        self.extras: JSONObject = {}
        self.native: JSONObject | None = None
        self.logprobs: list[TokenLogprob] | None = None
        self._limits = limits
        self._compact = compact_arguments
        self._tally = tally
        self._tools: ToolCallAssembler | None = None

    @property
    def tools(self) -> ToolCallAssembler:
        """The assembler of this answer's tool calls, made when first asked for: most answers have none."""
        if self._tools is None:
            self._tools = ToolCallAssembler(self.index, self._limits, compact=self._compact, tally=self._tally)
        return self._tools

    @property
    def has_tools(self) -> bool:
        """Whether any tool call was begun."""
        return self._tools is not None and bool(self._tools)

    @property
    def error(self) -> LLMProtocolError | None:
        """The cap that this answer's tool calls exceeded, or None."""
        return None if self._tools is None else self._tools.error

    def finish(self) -> list[Event]:
        """The answer ended in order: its calls completed, then `Finished`."""
        events: list[Event] = []
        runnable = False
        if self._tools is not None:
            ended = self.finish_reason in ("stop", "tool_calls") and not self.refusal
            events += self._tools.finish(whole_turn=ended)
            runnable = any(
                isinstance(event, ToolCallCompleted) and event.tool_call.arguments_error is None for event in events
            )
        events.append(Finished(_finish_reason(self.finish_reason, runnable), self.raw_finish_reason, self.index))
        return events

    def whole(self) -> Choice:
        """The answer so far, in fresh lists and dicts."""
        content = _joined(self.text)
        runnable: list[ToolCall] = []
        invalid: list[ToolCall] = []
        message: JSONObject = {"role": "assistant", "content": content}
        if self._tools is not None:
            runnable, invalid, extras = self._tools.tool_calls_and_extras()
            if runnable:
                message["content"] = content or None
                message["tool_calls"] = list(map(_tool_call_message, runnable, extras))
        if self.extras:
            kept = {key: value for key, value in self.extras.items() if key not in NOT_FROM_SERVERS}
            message.update(jsontext.well_formed_tree(kept))
        if self.native is not None:
            message[NATIVE] = jsontext.well_formed_tree(self.native)
        return Choice(
            self.index,
            content,
            _finish_reason(self.finish_reason, bool(runnable)),
            self.raw_finish_reason,
            runnable,
            invalid,
            _joined(self.reasoning) or None,
            _joined(self.refusal) or None,
            cast("AssistantMessage", message),
            self.logprobs,
        )


class ReplyAssembler:
    """All answers of one reply. A codec sets `model` and `usage`, fills the answers it gets from `choice(i)`, and notes
    in `tally` what it takes in without an event.
    """

    __slots__ = ("_compact", "_finished", "_limits", "choices", "model", "tally", "usage")

    def __init__(self, limits: Limits = DEFAULT_LIMITS, *, compact_arguments: bool = False) -> None:
        self.model = ""
        self.usage = _NO_USAGE
        self.choices: dict[int, ChoiceAssembler] = {}
        self.tally = Tally()
        self._limits = limits
        self._compact = compact_arguments
        self._finished = False

    @property
    def error(self) -> LLMProtocolError | None:
        """The first cap that an answer exceeded, or None. Only tool calls can set it."""
        for choice in self.choices.values():
            if choice.error is not None:
                return choice.error
        return None

    def choice(self, index: JSON = 0) -> ChoiceAssembler | None:
        """The answer with this index, made if new. None for what is no index (negative, above the cap, no integer)."""
        if type(index) is not int or not 0 <= index <= self._limits.max_tool_index:
            return None
        found = self.choices.get(index)
        if found is None:
            found = self.choices[index] = ChoiceAssembler(
                index, self._limits, compact_arguments=self._compact, tally=self.tally
            )
        return found

    def finish(self) -> list[Event]:
        """The reply ended in order: choice by choice `ToolCallCompleted` of every call, then `Finished`.

        Calling it again returns `[]`. Read `response()` next.
        """
        if self._finished:
            return []
        self._finished = True
        return [event for index in sorted(self.choices) for event in self.choices[index].finish()]

    def response(self, raw: JSONObject) -> ChatResponse:
        """What has arrived so far: final after `finish()`, partial before (every tool call is then invalid).

        The top-level fields are those of choice 0, or of the lowest one there is. `raw` is handed out as it is given.
        """
        choices = self.choices
        wholes = tuple([choices[index].whole() for index in (sorted(choices) if len(choices) > 1 else choices)])
        return response_of(wholes, self.model, replace(self.usage), raw)


def response_of(choices: tuple[Choice, ...], model: str, usage: Usage, raw: JSONObject) -> ChatResponse:
    """The response whose top-level fields are those of the first choice, if there is one."""
    first = choices[0] if choices else Choice()
    return ChatResponse(
        first.content,
        model,
        usage.input_tokens or 0,
        usage.output_tokens or 0,
        first.finish_reason,
        first.tool_calls,
        raw,
        first.raw_finish_reason,
        first.invalid_tool_calls,
        first.reasoning,
        first.refusal,
        usage,
        first.message,
        choices,
        logprobs=first.logprobs,
    )


def _finish_reason(reason: FinishReason | None, runnable: bool) -> FinishReason:
    # Gemini and older Ollama behind the OpenAI wire, and Ollama's own wire, end a tool turn with "stop".
    return "tool_calls" if runnable and reason == "stop" else reason or "other"


def _joined(pieces: list[str]) -> str:
    return jsontext.well_formed("".join(pieces)) if pieces else ""


def _tool_call_message(call: ToolCall, kept: JSONObject | None) -> JSONObject:
    arguments = call.raw_arguments
    if not arguments.startswith("{"):
        arguments = jsontext.dumps(call.arguments).decode()
    entry: JSONObject = {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}
    if kept:
        kept = jsontext.well_formed_tree(kept)
        if kept.get("type", "function") != "function":
            return {"id": call.id, **kept}
        function = kept.get("function")
        if isinstance(function, dict):
            entry["function"] = {**function, **entry["function"]}
        entry = {**kept, **entry}
    return entry
