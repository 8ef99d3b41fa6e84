"""The forms of one reply have equal caps: what passes in `chat()` passes in `chat_stream()`, on every wire."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sans_io.calls.replay import decode
from sans_io.chat.response import ChatResponse
from sans_io.limits import DEFAULT_LIMITS, KIB

MB = 1_000_000
#: (wire, what is large)
LARGE = [
    ("openai", "text"),
    ("openai", "arguments"),
    ("openai", "image"),
    ("openai", "reasoning"),
    ("anthropic", "text"),
    ("anthropic", "arguments"),
    ("anthropic", "signature"),
    ("ollama", "text"),
    ("ollama", "arguments"),
    ("ollama", "thinking"),
]


def message_of(kind: str, big: str) -> dict[str, Any]:
    """The message of a reply on OpenAI's or Ollama's wire."""
    said: dict[str, Any] = {"role": "assistant", "content": ""}
    if kind == "arguments":
        arguments = json.dumps({"x": big})
        said["tool_calls"] = [{"id": "a", "type": "function", "function": {"name": "f", "arguments": arguments}}]
    elif kind == "image":
        said["images"] = [{"type": "image_url", "image_url": {"url": big}}]
    else:
        said[{"text": "content", "reasoning": "reasoning_content"}.get(kind, kind)] = big
    return said


def openai(kind: str, big: str) -> tuple[bytes, bytes]:
    message = message_of(kind, big)
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    whole = {"id": "c", "model": "m", "choices": [choice]}
    chunk = {"id": "c", "model": "m", "choices": [{"index": 0, "delta": message, "finish_reason": "stop"}]}
    return json.dumps(whole).encode(), b"data: " + json.dumps(chunk).encode() + b"\n\ndata: [DONE]\n\n"


def anthropic(kind: str, big: str) -> tuple[bytes, bytes]:
    block: dict[str, Any] = {"type": "text", "text": big}
    begun: dict[str, Any] = {"type": "text", "text": ""}
    delta: dict[str, Any] = {"type": "text_delta", "text": big}
    if kind == "arguments":
        block = {"type": "tool_use", "id": "t", "name": "f", "input": {"x": big}}
        begun = {**block, "input": {}}
        delta = {"type": "input_json_delta", "partial_json": json.dumps({"x": big})}
    elif kind == "signature":
        block = {"type": "thinking", "thinking": "Hm", "signature": big}
        begun = {"type": "thinking", "thinking": "Hm", "signature": ""}
        delta = {"type": "signature_delta", "signature": big}
    reason = "tool_use" if kind == "arguments" else "end_turn"
    message = {"type": "message", "role": "assistant", "model": "m"}
    events = [
        {"type": "message_start", "message": {**message, "content": []}},
        {"type": "content_block_start", "index": 0, "content_block": begun},
        {"type": "content_block_delta", "index": 0, "delta": delta},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": reason}},
        {"type": "message_stop"},
    ]
    stream = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)
    return json.dumps({**message, "content": [block], "stop_reason": reason}).encode(), stream


def ollama(kind: str, big: str) -> tuple[bytes, bytes]:
    message = message_of(kind, big)
    for call in message.get("tool_calls", ()):
        call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    line = json.dumps({"model": "m", "created_at": "t", "message": message, "done": True}).encode()
    return line, line + b"\n"


FORMS = {"openai": openai, "anthropic": anthropic, "ollama": ollama}


def both(wire: str, kind: str, big: str) -> tuple[ChatResponse, ChatResponse]:
    whole, stream = FORMS[wire](kind, big)
    pieces = [stream[i : i + 65536] for i in range(0, len(stream), 65536)]
    return decode(wire, 200, {}, [whole], stream=False), decode(wire, 200, {}, pieces, stream=True)


def assert_equal(wire: str, kind: str, big: str) -> None:
    whole, streamed = both(wire, kind, big)
    assert streamed.message == whole.message
    assert streamed.tool_calls == whole.tool_calls
    assert len(json.dumps(whole.message)) > len(big)


@pytest.mark.parametrize(("wire", "kind"), LARGE)
def test_what_passes_whole_passes_streamed(wire: str, kind: str) -> None:
    """Above 1 MiB, the size of a picture."""
    assert_equal(wire, kind, "A" * (3 * MB // 2))


@pytest.mark.parametrize(("wire", "kind"), [LARGE[1], LARGE[2], LARGE[5], LARGE[8]])
def test_almost_as_much_as_a_body_may_hold(wire: str, kind: str) -> None:
    assert_equal(wire, kind, "A" * (DEFAULT_LIMITS.max_json - 2 * KIB))


def test_text_that_escaping_makes_long() -> None:
    """Six bytes a character: the arguments' text is larger than what it means."""
    assert_equal("anthropic", "arguments", "\u20ac" * (2 * MB))
    assert_equal("openai", "arguments", "\u20ac" * (2 * MB))


def test_no_cap_of_a_stream_is_below_that_of_a_body() -> None:
    limits = DEFAULT_LIMITS
    assert limits.max_sse_line > limits.max_sse_event >= limits.max_json
    assert min(limits.max_ndjson_line, limits.max_tool_arguments) >= limits.max_json
    assert limits.max_stream > limits.max_sse_line
