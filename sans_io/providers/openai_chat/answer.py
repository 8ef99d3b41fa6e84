"""One choice of OpenAI's wire as it arrives, and the message that it becomes.

Rules of this file:
- Pieces are collected here and joined only when somebody asks; asking twice gives equal, separate values.
"""

from __future__ import annotations

from ...chat.assembly import ChoiceAssembler
from ...chat.response import Choice
from ...decode import jsontext
from ...decode.jsontext import JSON, JSONObject, SurrogateJoiner
from ..merging import copied, merged_pieces
from .parts import thinking_text


class Answer:
    """One choice as it arrives: the assembler's slots, halves of characters, and keys to keep."""

    __slots__ = (
        "choice",
        "custom",
        "ends_unnamed",
        "keys",
        "logs",
        "marks",
        "other",
        "reasoning_joiner",
        "refusal_joiner",
        "text_joiner",
    )

    def __init__(self, choice: ChoiceAssembler) -> None:
        self.choice = choice
        self.text_joiner = SurrogateJoiner()
        self.reasoning_joiner = SurrogateJoiner()
        self.refusal_joiner = SurrogateJoiner()
        #: Pieces of message keys nobody here knows, and of the reasoning under the name it came with.
        self.keys: dict[str, list[JSON]] = {}
        #: The choice's own keys (content_filter_results ...), and pieces of those that grow (logprobs).
        self.other: JSONObject = {}
        self.logs: dict[str, list[JSON]] = {}
        #: Content parts that are not text, each with the number of text pieces before it.
        self.marks: list[tuple[int, JSONObject]] = []
        #: A finish reason "" came: on every delta of some servers, so it counts only where nothing better comes.
        self.ends_unnamed = False
        #: Calls of custom tools, whose free text is whole only at the end: place -> (name, pieces).
        self.custom: dict[JSON, tuple[str, list[str]]] = {}


def extras_of(answer: Answer) -> JSONObject:
    """The message's keys beside role, content and tool calls, to be sent back as they came."""
    extras: JSONObject = {key: merged_pieces(pieces, key) for key, pieces in answer.keys.items()}
    if answer.choice.refusal:
        extras["refusal"] = "".join(answer.choice.refusal)
    if answer.marks:
        extras["content"] = _content_parts(answer)
    return extras


def raw_choice(answer: Answer, choice: Choice) -> JSONObject:
    """The choice in the shape of a reply that was not streamed; `choice` is what the assembler made of it."""
    message = copied(choice.message)
    if choice.invalid_tool_calls:
        message["tool_calls"] = message.get("tool_calls", []) + [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.raw_arguments}}
            for call in choice.invalid_tool_calls
        ]
    return {
        "index": choice.index,
        **copied(answer.other),
        **{key: merged_pieces(pieces, key) for key, pieces in answer.logs.items()},
        "message": message,
        "finish_reason": choice.raw_finish_reason,
    }


def _content_parts(answer: Answer) -> list[JSONObject]:
    """Content as the list of parts it came in; pieces of one thinking part become one."""
    parts: list[JSONObject] = []
    texts, at = answer.choice.text, 0
    for position, part in answer.marks:
        if position > at:
            parts.append({"type": "text", "text": jsontext.well_formed("".join(texts[at:position]))})
            at = position
        if part.get("type") != "thinking":
            parts.append(part)
            continue
        text = thinking_text(part)
        if parts and parts[-1].get("type") == "thinking":
            parts[-1]["thinking"][0]["text"].append(text)
        else:
            parts.append({"type": "thinking", "thinking": [{"type": "text", "text": [text]}]})
    if at < len(texts):
        parts.append({"type": "text", "text": jsontext.well_formed("".join(texts[at:]))})
    for part in parts:
        if part.get("type") == "thinking":
            part["thinking"][0]["text"] = jsontext.well_formed("".join(part["thinking"][0]["text"]))
    return parts
