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
from ..decode.jsontext import JSON, JSONObject
from ..errors import LLMProtocolError
from ..records import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Callable

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
        """From `{"id", "function": {"name", "arguments": str}}`, or the OpenAI SDK's object of that shape."""
        from .tool_calls import tool_call_from_openai

        return tool_call_from_openai(tc)

    @classmethod
    def from_anthropic(cls, block: JSON) -> ToolCall:
        """From a `{"type": "tool_use", "id", "name", "input": {...}}` block, or the Anthropic SDK's object."""
        from .tool_calls import tool_call_from_anthropic

        return tool_call_from_anthropic(block)

    @classmethod
    def from_ollama(cls, tc: JSON) -> ToolCall:
        """From `{"id"?, "function": {"name", "arguments": {...}}}`, or the Ollama SDK's object."""
        from .tool_calls import tool_call_from_ollama

        return tool_call_from_ollama(tc)

    def result(self, content: JSON, is_error: bool = False) -> JSONObject:
        """The tool message to append to the history; anything that is not a string or list is encoded as JSON."""
        if not isinstance(content, (str, list)):
            content = jsontext.dumps(content).decode()
        message: JSONObject = {"role": "tool", "tool_call_id": self.id, "name": self.name, "content": content}
        if is_error:
            message["is_error"] = True
        return message


@dataclass(slots=True)
class Choice:
    """One of the answers asked for with `n`; its fields mean what those of `ChatResponse` mean."""

    index: int = 0
    content: str = ""
    finish_reason: str = "other"
    raw_finish_reason: str | None = None
    tool_calls: list[ToolCall] = field(default_factory=list)
    invalid_tool_calls: list[ToolCall] = field(default_factory=list)
    reasoning: str | None = None
    refusal: str | None = None
    message: JSONObject = field(default_factory=dict)


@dataclass(slots=True)
class ChatResponse:
    """A whole answer. The top-level fields are those of choice 0.

    `content` is `""` (never None) where there is no text. `finish_reason` is one of "stop", "length", "tool_calls",
    "content_filter", "pause", "error", "other". `raw` is the provider's JSON; `message` the assistant message to
    append to the history. `rate_limit` maps header names (without their vendor prefix) to numbers.
    """

    content: str = ""
    model: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    finish_reason: str = "other"
    tool_calls: list[ToolCall] = field(default_factory=list)
    raw: JSONObject = field(default_factory=dict)
    raw_finish_reason: str | None = None
    invalid_tool_calls: list[ToolCall] = field(default_factory=list)
    reasoning: str | None = None
    refusal: str | None = None
    usage: Usage = field(default_factory=Usage)
    message: JSONObject = field(default_factory=dict)
    choices: tuple[Choice, ...] = ()
    request_id: str | None = None
    attempts: tuple[Attempt, ...] = ()
    headers: dict[str, str] = field(default_factory=dict)
    rate_limit: dict[str, float] = field(default_factory=dict)

    @property
    def total_tokens(self) -> int:
        """`input_tokens + output_tokens`."""
        return self.input_tokens + self.output_tokens

    @property
    def has_tool_calls(self) -> bool:
        """Whether there is a runnable tool call."""
        return bool(self.tool_calls)

    def json(self) -> JSON:
        """The answer's text parsed as JSON (with `response_format`). Raises `LLMProtocolError` if it is not JSON."""
        try:
            return jsontext.loads(self.content)
        except jsontext.JSONTextError as error:
            raise LLMProtocolError(
                f"the answer is not JSON: {error}", code="answer_not_json", model=self.model, partial=self
            ) from error


class _Late(partial[object]):
    """What stands in a field of `_LATE` until somebody looks: then it is called."""

    __slots__ = ()


def late(make: Callable[[_Of], _T], of: _Of) -> _T:
    """`make(of)`, made when somebody looks, for a field of `_LATE`; to type checkers it is the value itself.

    Most callers never look at what the head of a reply says, so that it need not be taken apart: a plain call costs
    some 100 k instructions less.
    """
    return cast("_T", _Late(make, of))


def _looked_at(slot: MemberDescriptorType) -> property:
    """In place of a slot: everything that reads it, `==`, repr and pickle included, reads what it comes to."""

    def read(data: object) -> object:
        value = slot.__get__(data)
        if type(value) is _Late:
            value = value()
            slot.__set__(data, value)
        return value

    return property(read, slot.__set__, doc="See the class.")


_LATE: Final = (
    (ChatResponse, "headers"),
    (ChatResponse, "rate_limit"),
    (ChatResponse, "request_id"),
    (Attempt, "request_id"),
)
for _class, _name in _LATE:
    setattr(_class, _name, _looked_at(_class.__dict__[_name]))
