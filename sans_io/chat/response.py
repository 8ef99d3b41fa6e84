"""What comes back whole: `ChatResponse` and its parts.

Rules of this file:
- Plain slotted data, no behaviour beyond reading; every response owns what it holds (nothing is shared).
- Nothing here is frozen, since a frozen field costs six times as much to set; `Usage` and `Attempt` are hashed by what
  they hold, so leave them as they came.
- `ToolCall`s in `tool_calls` are runnable; anything cut or invalid is in `invalid_tool_calls`.
"""

from __future__ import annotations

from functools import partial
from types import MemberDescriptorType
from typing import TYPE_CHECKING, Final, TypeVar, cast

from ..decode import jsontext
from ..decode.jsontext import JSON, JSONObject, JSONTextError
from ..errors import LLMProtocolError
from ..limits import DEFAULT_LIMITS, Limits, is_count
from ..records import dataclass, field
from .shapes import AssistantMessage, FinishReason, TokenLogprob, ToolMessage

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..http.rate_limits import RateLimits

_T = TypeVar("_T")
_Of = TypeVar("_Of")


@dataclass(slots=True, unsafe_hash=True)
class Usage:
    """Token counts; None where the provider did not say. `input_tokens` includes cached ones on every wire."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None


@dataclass(slots=True, unsafe_hash=True)
class Attempt:
    """One try of a call. Times are in seconds on the transport's monotonic clock.

    `reason`: why it was made ("first", or the condition that made a retry of the one before). `connection`: "new",
    "reused" or None when none was had. `outcome`: "ok" or the condition that ended it. `delay`: seconds waited
    before the next attempt (None: there was none); `delay_reason`: "backoff", "server" or "immediate".
    """

    number: int
    started_at: float
    ended_at: float
    reason: str = "first"
    connection: str | None = None
    status: int | None = None
    outcome: str = "ok"
    error: str | None = None
    request_id: str | None = None
    delay: float | None = None
    delay_reason: str | None = None


@dataclass(slots=True)
class ToolCall:
    """A tool call from the model.

    `arguments` is the parsed object, `raw_arguments` the text as received. `arguments_error` says what is wrong with
    the text (then `arguments` is `{}` and the call must not be run).
    """

    id: str
    name: str
    arguments: JSONObject = field(default_factory=dict)
    raw_arguments: str = ""
    arguments_error: str | None = None

    @classmethod
    def from_openai(cls, tc: JSON) -> ToolCall:
        """From `{"id", "function": {"name", "arguments": str}}` or `{"id", "custom": {"name", "input"}}`.

        A dict or the OpenAI SDK's object of that shape. A custom tool's free text becomes `{"input": text}`.
        """
        custom = _field(tc, "custom")
        if custom is not None:
            text = _field(custom, "input")
            text = jsontext.well_formed(text) if isinstance(text, str) else ""
            return cls(as_label(_field(tc, "id")), as_label(_field(custom, "name")), {"input": text}, text)
        function = _field(tc, "function")
        return _tool_call(_field(tc, "id"), _field(function, "name"), _field(function, "arguments"))

    @classmethod
    def from_anthropic(cls, block: JSON) -> ToolCall:
        """From a `{"type": "tool_use", "id", "name", "input": {...}}` block, or the Anthropic SDK's object."""
        return _tool_call(_field(block, "id"), _field(block, "name"), _field(block, "input"))

    @classmethod
    def from_ollama(cls, tc: JSON) -> ToolCall:
        """From `{"id"?, "function": {"index"?, "name", "arguments": {...}}}`, or the Ollama SDK's object.

        Older servers send no id; it is then made from the index or the name.
        """
        function = _field(tc, "function")
        index = _field(function, "index")
        name = _field(function, "name")
        made_up = f"call_{index if type(index) is int else as_label(name)}"
        return _tool_call(as_label(_field(tc, "id")) or made_up, name, _field(function, "arguments"))

    def result(self, content: JSON, is_error: bool = False) -> ToolMessage:
        """The tool message to append to the history.

        `content` is what the tool gave: a string, a list of content parts, or anything else that JSON can hold, which
        is encoded. `is_error` tells the model that the tool failed. Raises `ValueError` for what JSON cannot hold.
        """
        if not isinstance(content, (str, list)):
            content = jsontext.dumps(content).decode()
        message: ToolMessage = {"role": "tool", "tool_call_id": self.id, "name": self.name, "content": content}
        if is_error:
            message["is_error"] = True
        return message


def _no_message() -> AssistantMessage:
    return cast("AssistantMessage", {})


@dataclass(slots=True)
class Choice:
    """One of the answers asked for with `n`; its fields mean what those of `ChatResponse` mean."""

    index: int = 0
    content: str = ""
    finish_reason: FinishReason = "other"
    raw_finish_reason: str | None = None
    tool_calls: list[ToolCall] = field(default_factory=list)
    invalid_tool_calls: list[ToolCall] = field(default_factory=list)
    reasoning: str | None = None
    refusal: str | None = None
    message: AssistantMessage = field(default_factory=_no_message)
    logprobs: list[TokenLogprob] | None = None


@dataclass(slots=True)
class ChatResponse:
    """A whole answer. The top-level fields are those of choice 0.

    `content` is `""` (never None) where there is no text. `finish_reason` is one of "stop", "length", "tool_calls",
    "content_filter", "pause", "error", "other". `raw` is the provider's JSON; `message` the assistant message to
    append to the history. `rate_limit` maps header names (without their vendor prefix) to numbers, `rate_limits` has
    them in one form for all vendors. `logprobs` has an entry for each token of `content` if they were asked for
    (`chat(logprobs=...)`), else it is None.
    """

    content: str = ""
    model: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    finish_reason: FinishReason = "other"
    tool_calls: list[ToolCall] = field(default_factory=list)
    raw: JSONObject = field(default_factory=dict)
    raw_finish_reason: str | None = None
    invalid_tool_calls: list[ToolCall] = field(default_factory=list)
    reasoning: str | None = None
    refusal: str | None = None
    usage: Usage = field(default_factory=Usage)
    message: AssistantMessage = field(default_factory=_no_message)
    choices: tuple[Choice, ...] = ()
    request_id: str | None = None
    attempts: tuple[Attempt, ...] = ()
    headers: dict[str, str] = field(default_factory=dict)
    rate_limit: dict[str, float] = field(default_factory=dict)
    logprobs: list[TokenLogprob] | None = None

    @property
    def total_tokens(self) -> int:
        """The provider's own total where it said one, else `input_tokens + output_tokens`."""
        usage = self.raw.get("usage")
        total = usage.get("total_tokens") if isinstance(usage, dict) else None
        return total if is_count(total, 1) else self.input_tokens + self.output_tokens

    @property
    def rate_limits(self) -> RateLimits:
        """What the head says about rate limits: `{("tokens", "minute"): RateLimitState(limit, remaining, reset)}`.

        The window is "" where the server does not name it; `reset` is in seconds from the reply. Read from `headers`
        at each look.
        """
        from ..http.rate_limits import rate_limits

        return rate_limits(self.headers.items())

    @property
    def has_tool_calls(self) -> bool:
        """Whether there is a runnable tool call."""
        return bool(self.tool_calls)

    def json(self) -> JSON:
        """The answer's text parsed as JSON (with `response_format`). Raises `LLMProtocolError` if it is not JSON, which
        says so where the answer was cut.
        """
        try:
            return jsontext.loads(self.content)
        except jsontext.JSONTextError as error:
            why = _CUT.get(self.finish_reason, "")
            if self.finish_reason == "other" and self.raw_finish_reason is None:
                why = "it was cut: it ended without a finish reason"
            message = f"the answer is not JSON: {why or error}{f' ({error})' if why else ''}"
            raise LLMProtocolError(message, code="answer_not_json", model=self.model, partial=self) from error


#: Why a text may not be whole.
_CUT: Final[dict[FinishReason, str]] = {
    "length": "it was cut at the limit of tokens; increase max_tokens",
    "content_filter": "it was cut by a content filter",
    "pause": "it was cut by a pause; send it back to let the model go on",
    "error": "it was cut by an error of the server",
}


def parse_arguments(raw: JSON, limits: Limits = DEFAULT_LIMITS) -> tuple[JSONObject, str | None]:
    """The arguments of a call as a fresh object, and None; or `{}` and what is wrong with them.

    `raw` is the JSON text of an object, or the object itself. None, `""`, white space and the text `null` mean `{}`.
    """
    if raw is None:
        return {}, None
    if not isinstance(raw, str):
        try:
            raw = jsontext.dumps(jsontext.well_formed_tree(raw)).decode()
        except (JSONTextError, RecursionError) as fault:
            return {}, f"the arguments are not JSON: {fault}"
    if not raw or raw == "{}":
        return {}, None
    try:
        value = jsontext.loads(raw, limits=limits, unique_keys=True)
    except JSONTextError as fault:
        return ({}, f"the arguments are not valid JSON: {fault}") if raw.strip(" \t\r\n") else ({}, None)
    if value is None:
        return {}, None
    if not isinstance(value, dict):
        return {}, f"the arguments are not a JSON object but {_KINDS.get(type(value), 'something else')}"
    return value, None


_KINDS = {list: "an array", str: "a string", int: "a number", float: "a number", bool: "a boolean"}


def _tool_call(label: JSON, name: JSON, arguments: JSON) -> ToolCall:
    parsed, problem = parse_arguments(arguments)
    if isinstance(arguments, str):
        raw = jsontext.well_formed(arguments)
    elif arguments is None or problem is not None:
        raw = ""
    else:
        raw = jsontext.dumps(parsed).decode()
    return ToolCall(as_label(label), as_label(name), parsed, raw, problem)


def as_label(value: JSON) -> str:
    """An id or name as text; `""` (which never overwrites) for null, and for what is neither text nor a number."""
    if isinstance(value, str):
        return jsontext.well_formed(value)
    return str(value) if type(value) is int and -(2**63) <= value < 2**63 else ""


def _field(obj: JSON, name: str) -> JSON:
    """A key of a dict or an attribute of an SDK's object; None where there is none."""
    return obj.get(name) if isinstance(obj, dict) else getattr(obj, name, None)


class _Deferred(partial[object]):
    """What stands in a field of `_DEFERRED` until somebody looks: then it is called."""

    __slots__ = ()


def deferred(make: Callable[[_Of], _T], of: _Of) -> _T:
    """`make(of)`, made when somebody looks, for a field of `_DEFERRED`; to type checkers it is the value itself.

    Most callers never look at what the head of a reply says, so that it need not be taken apart: a plain call costs
    some 100 k instructions less.
    """
    return cast("_T", _Deferred(make, of))


def _looked_at(slot: MemberDescriptorType) -> property:
    """In place of a slot: everything that reads it, `==`, repr and pickle included, reads what it comes to."""

    def read(data: object) -> object:
        value = slot.__get__(data)
        if type(value) is _Deferred:
            value = value()
            slot.__set__(data, value)
        return value

    return property(read, slot.__set__, doc="See the class.")


_DEFERRED: Final = (
    (ChatResponse, "headers"),
    (ChatResponse, "rate_limit"),
    (ChatResponse, "request_id"),
    (Attempt, "request_id"),
)
for _class, _name in _DEFERRED:
    setattr(_class, _name, _looked_at(_class.__dict__[_name]))
