"""Take a step away from a builder, and the laws find it: each planted fault breaks a rule of the vendor named."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from sans_io.errors import LLMBadRequestError
from sans_io.providers.anthropic import closed
from sans_io.providers.anthropic import messages as anthropic_messages
from sans_io.providers.ollama import messages as ollama_messages
from sans_io.providers.openai_chat import codec as openai_codec
from sans_io.providers.openai_chat import messages as openai_messages
from tests.providers.rules.kit import HELLO, SIGNED, broken, decoded

SCHEMA = {"type": "object", "properties": {"age": {"type": "integer", "minimum": 0}}}


def _call(label: str, **more: Any) -> dict[str, Any]:
    return {"id": label, "type": "function", "function": {"name": "f", "arguments": "{}"}, **more}


def _openai(**message: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "stop"}
    return {"id": "x", "model": "m", "choices": [choice]}


def _anthropic(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"id": "m", "type": "message", "role": "assistant", "model": "m", "content": list(blocks),
            "stop_reason": "end_turn", "usage": {"input_tokens": 1, "output_tokens": 1}}  # fmt: skip


#: Conversations with what one vendor's reply brings to another.
LONG = decoded("openrouter", _openai(content="", tool_calls=[_call("functions.f:0" + "x" * 40, index=0)]), stream=False)
THOUGHT = decoded("deepseek", _openai(content="A", reasoning_content="hm"), stream=True)
SIGNED_CALL = decoded("gemini", _openai(content="", tool_calls=[_call("call_1", extra_content=SIGNED)]), stream=False)
BLANK = decoded("ollama", {"model": "m", "message": {"role": "assistant", "content": " "}, "done": True}, stream=False)
CUT = decoded("anthropic", _anthropic({"type": "text", "text": "A"}, {"type": "thinking", "thinking": "h", "signature": "s"}),
              stream=False)  # fmt: skip


def _go_on(message: dict[str, Any]) -> list[dict[str, Any]]:
    results = [{"role": "tool", "tool_call_id": c["id"], "content": "x"} for c in message.get("tool_calls") or ()]
    return [HELLO, message, *results, {"role": "developer", "content": "Be kind."}, HELLO]


#: (where, name, what stands there instead, vendor, conversation, options, the rule that is found broken)
PLANTED: list[tuple[Any, str, Any, str, list[dict[str, Any]], dict[str, Any], str]] = [
    (openai_messages, "with_valid_ids", lambda messages, *_: messages, "openai", _go_on(LONG), {}, "at most 40"),
    (openai_messages, "with_valid_ids", lambda messages, *_: messages, "mistral", _go_on(LONG), {}, "nine letters"),
    (anthropic_messages, "with_valid_ids", lambda messages, *_, **__: messages, "anthropic", _go_on(LONG), {},
     "letters, digits, _ and - only"),
    (openai_messages._Message, "translated", lambda self: self._message, "groq", _go_on(THOUGHT), {},
     "a message has only keys"),
    (openai_messages._Message, "translated", lambda self: self._message, "cerebras", _go_on(THOUGHT), {},
     "a message has only keys"),
    (openai_messages._Message, "translated", lambda self: self._message, "mistral", _go_on(THOUGHT), {}, "roles are"),
    (openai_messages._Message, "_complete", lambda self, out: None, "deepseek", _go_on(LONG), {}, "reasoning_content"),
    (openai_messages._Message, "_complete", lambda self, out: None, "gemini", _go_on(LONG), {}, "thought_signature"),
    (openai_messages._Message, "_calls", lambda self, calls: calls, "mistral", _go_on(SIGNED_CALL), {},
     "a call has only keys"),
    (openai_messages._Message, "_calls", lambda self, calls: calls, "groq", _go_on(SIGNED_CALL), {},
     "a call has only keys"),
    (openai_messages, "_says", lambda message: True, "mistral",
     [HELLO, {"role": "assistant", "content": ""}, HELLO], {}, "an assistant has text or calls"),
    (openai_messages, "_in_mistrals_order", lambda messages: messages, "mistral",
     [HELLO, {"role": "assistant", "content": "A"}], {}, "the last message is"),
    (anthropic_messages, "is_blank", lambda text: False, "anthropic", _go_on(BLANK), {}, "every turn says"),
    (anthropic_messages, "_THINKING", (), "anthropic", _go_on(CUT), {}, "does not end with thinking"),
    (closed, "closed_schema", lambda schema, path: dict(schema), "anthropic", [HELLO], {"response_format": SCHEMA}, "a schema closes"),
    (openai_codec, "_strict_problems", lambda *_, **__: [], "openai", [HELLO], {"response_format": SCHEMA}, "requires every property"),
    (ollama_messages, "_calls", lambda message, path: message.get("tool_calls") or [], "ollama", _go_on(LONG), {}, "calls have a name and an object"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("place", "name", "instead", "vendor", "messages", "options", "rule"),
    PLANTED,
    ids=[f"{vendor}-{name}" for _, name, _, vendor, *_ in PLANTED],
)
def test_a_planted_fault_is_found(
    place: Any, name: str, instead: Any, vendor: str, messages: Sequence[Any], options: dict[str, Any], rule: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    before = json.dumps(messages)
    assert broken(vendor, list(messages), **options) == []
    monkeypatch.setattr(place, name, instead)
    try:
        found = broken(vendor, list(messages), **options)
    except LLMBadRequestError as error:  # a fault that another check meets first is no plant
        pytest.fail(f"refused: {error}")
    assert [one for one in found if rule in one.rule], found
    assert json.dumps(messages) == before
