"""What comes back piecewise. One slotted class per event; `choice` is the index of the answer it belongs to.

Hot events are built for every received chunk, so they are plain slotted classes: a frozen dataclass costs twice as
much to build. They are handed to one consumer and never shared.
"""

from __future__ import annotations

from typing import TypeAlias

from ..records import dataclass
from .response import ToolCall, Usage
from .shapes import FinishReason


@dataclass(slots=True)
class TextDelta:
    """A piece of the answer's text; never empty."""

    text: str
    choice: int = 0


@dataclass(slots=True)
class ReasoningDelta:
    """A piece of the model's reasoning (thinking) text; never empty."""

    text: str
    choice: int = 0


@dataclass(slots=True)
class RefusalDelta:
    """A piece of a refusal text (OpenAI `delta.refusal`); never empty."""

    text: str
    choice: int = 0


@dataclass(slots=True)
class ToolCallStarted:
    """A tool call began. `index` numbers the calls of one choice from 0 in order of appearance."""

    index: int
    id: str
    name: str
    choice: int = 0


@dataclass(slots=True)
class ToolCallDelta:
    """A piece of the JSON text of a call's arguments; never empty."""

    index: int
    arguments: str
    choice: int = 0


@dataclass(slots=True)
class ToolCallCompleted:
    """A call is whole (after the terminal event of its stream). Check `tool_call.arguments_error` before running it."""

    index: int
    tool_call: ToolCall
    choice: int = 0


@dataclass(slots=True)
class UsageReported:
    """Token counts known so far; a later one replaces an earlier one."""

    usage: Usage
    choice: int = 0


@dataclass(slots=True)
class Finished:
    """A choice ended. `finish_reason` is normalised, `raw_finish_reason` is the provider's word."""

    finish_reason: FinishReason
    raw_finish_reason: str | None = None
    choice: int = 0


@dataclass(slots=True)
class PullProgress:
    """A step of a model download (Ollama), when it says something new. Never part of a chat.

    `status` is the server's word ("pulling manifest", "verifying sha256 digest", "success" ...). While a layer is
    fetched `digest` names it, and `completed` of `total` bytes are there; None where the server did not say.
    """

    status: str
    digest: str | None = None
    total: int | None = None
    completed: int | None = None


Event: TypeAlias = (
    TextDelta
    | ReasoningDelta
    | RefusalDelta
    | ToolCallStarted
    | ToolCallDelta
    | ToolCallCompleted
    | UsageReported
    | Finished
    | PullProgress
)
