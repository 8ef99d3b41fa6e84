"""How a finished call reaches its caller: the response, or exactly the call's error.

Rules of this file:
- No frame that an error passes through keeps the call: its traceback would keep the request and connection alive.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from sans_io.chat.events import ReasoningDelta, TextDelta
from sans_io.chat.response import ChatResponse, Choice
from sans_io.errors import LLMStreamError
from sans_io.records import replace

from .logs import log_response

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sans_io.chat.events import Event
    from sans_io.chat.shapes import AssistantMessage
    from sans_io.errors import LLMError


def settle(response: ChatResponse | None, error: LLMError | None) -> ChatResponse:
    """Return the response or raise the error. The caller must have dropped its reference to the call."""
    if response is None:
        raise_error(error or LLMStreamError("the call was cancelled", code="cancelled"))
    log_response(response)
    return response


def raise_error(error: LLMError) -> NoReturn:
    """Raise it without leaving a reference cycle of error, traceback and this frame."""
    try:
        raise error
    finally:
        del error


def without(partial: ChatResponse, undelivered: Iterable[Event]) -> ChatResponse:
    """What has arrived without the text that was not handed over, so that `content` is what the caller has seen."""
    text: dict[int, int] = {}
    reasoning: dict[int, int] = {}
    for event in undelivered:
        if type(event) is TextDelta:
            text[event.choice] = text.get(event.choice, 0) + len(event.text)
        elif type(event) is ReasoningDelta:
            reasoning[event.choice] = reasoning.get(event.choice, 0) + len(event.text)
    if not text and not reasoning:
        return partial
    return replace(
        partial,
        content=_cut(partial.content, text.get(0, 0)),
        reasoning=_cut_reasoning(partial.reasoning, reasoning.get(0, 0)),
        message=_cut_message(partial.message, text.get(0, 0)),
        choices=tuple(_cut_choice(c, text.get(c.index, 0), reasoning.get(c.index, 0)) for c in partial.choices),
    )


def _cut_choice(choice: Choice, text: int, reasoning: int) -> Choice:
    return replace(
        choice,
        content=_cut(choice.content, text),
        reasoning=_cut_reasoning(choice.reasoning, reasoning),
        message=_cut_message(choice.message, text),
    )


def _cut_message(message: AssistantMessage, characters: int) -> AssistantMessage:
    content = message.get("content")
    return {**message, "content": _cut(content, characters)} if characters and isinstance(content, str) else message


def _cut_reasoning(reasoning: str | None, characters: int) -> str | None:
    return None if reasoning is None else _cut(reasoning, characters) or None


def _cut(text: str, characters: int) -> str:
    return text[: len(text) - characters] if characters else text
