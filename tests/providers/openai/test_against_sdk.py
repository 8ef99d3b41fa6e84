"""The same bytes through OpenAI's own SDK and through ours: content, tool calls, finish reason and usage agree.

Known defects of the SDK, so no case holds them: a stream without its end passes for a whole one; a body that is HTML, or
an error with status 200, comes back as text or as an object of Nones; an event before a byte order mark is lost; two whole
calls with one index are merged; a name repeated on each delta is concatenated; a delta without `index` is a TypeError.
"""

from __future__ import annotations

import functools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sans_io.calls.replay import decode
from tests.providers.mock_sdk import JSON, SSE, answer, http_client

openai = pytest.importorskip("openai")


@functools.cache
def _client() -> Any:
    return openai.OpenAI(api_key="k", max_retries=0, http_client=http_client())


def theirs(body: bytes, *, stream: bool) -> dict[str, Any]:
    """What a program makes of the SDK's objects: deltas joined by index."""
    answer(body, stream=stream)
    asked = {"model": "m", "messages": [{"role": "user", "content": "-"}]}
    if not stream:
        reply = _client().chat.completions.create(**asked)
        choice = reply.choices[0]
        calls = [(call.id, call.function.name, call.function.arguments) for call in choice.message.tool_calls or []]
        text, reason, usage = choice.message.content or "", choice.finish_reason, reply.usage
    else:
        text, reason, usage, joined = "", None, None, {}
        for chunk in _client().chat.completions.create(**asked, stream=True):
            usage = chunk.usage or usage
            for choice in chunk.choices:
                text += choice.delta.content or ""
                reason = choice.finish_reason or reason
                for part in choice.delta.tool_calls or []:
                    call = joined.setdefault(part.index, ["", "", ""])
                    call[0] = part.id or call[0]
                    call[1] = (part.function.name if part.function else None) or call[1]
                    call[2] += (part.function.arguments if part.function else None) or ""
        calls = [tuple(call) for _, call in sorted(joined.items())]
    return {
        "text": text,
        "reason": reason,
        "calls": [(name, json.loads(arguments or "{}"), id) for id, name, arguments in calls],
        "usage": (usage.prompt_tokens, usage.completion_tokens) if usage else (None, None),
    }


def ours(body: bytes, *, stream: bool) -> dict[str, Any]:
    reply = decode("openai", 200, SSE if stream else JSON, [body], stream=stream)
    return {
        "text": reply.content,
        "reason": reply.raw_finish_reason,
        "calls": [(call.name, call.arguments, call.id) for call in reply.tool_calls],
        "usage": (reply.usage.input_tokens, reply.usage.output_tokens),
    }


TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
ARGUMENTS = st.dictionaries(st.text("abc", min_size=1, max_size=3), st.integers() | TEXT | st.booleans(), max_size=3)
CALLS = st.lists(st.tuples(st.sampled_from(["f", "look_up"]), ARGUMENTS), max_size=3)


def chunk(delta: dict[str, Any], reason: str | None = None, **rest: Any) -> bytes:
    choices = [{"index": 0, "delta": delta, "finish_reason": reason}]
    body = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices, **rest}
    return b"data: " + json.dumps(body).encode() + b"\n\n"


@settings(max_examples=60)
@given(st.lists(TEXT, max_size=6), CALLS, st.integers(0, 9), st.booleans(), st.data())
def test_streams(
    pieces: list[str], calls: list[tuple[str, dict[str, Any]]], tokens: int, usage: bool, data: Any
) -> None:
    wire = [chunk({"role": "assistant", "content": ""}), *(chunk({"content": piece}) for piece in pieces)]
    for index, (name, arguments) in enumerate(calls):
        written = json.dumps(arguments)
        cut = data.draw(st.integers(0, len(written)))
        first = {"index": index, "id": f"call_{index}", "type": "function", "function": {"name": name, "arguments": ""}}
        wire.append(chunk({"tool_calls": [first]}))
        wire += [
            chunk({"tool_calls": [{"index": index, "function": {"arguments": part}}]})
            for part in (written[:cut], written[cut:])
        ]
    wire.append(chunk({}, "tool_calls" if calls else "stop"))
    if usage:
        counts = {"prompt_tokens": tokens, "completion_tokens": 3, "total_tokens": tokens + 3}
        wire.append(chunk({}, None, choices=[], usage=counts))
    wire.append(b"data: [DONE]\n\n")
    body = b"".join(wire)
    assert ours(body, stream=True) == theirs(body, stream=True)


@settings(max_examples=60)
@given(TEXT, CALLS, st.integers(0, 9))
def test_whole_replies(text: str, calls: list[tuple[str, dict[str, Any]]], tokens: int) -> None:
    message: dict[str, Any] = {"role": "assistant", "content": text or None}
    if calls:
        message["tool_calls"] = [
            {"id": f"call_{i}", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
            for i, (name, arguments) in enumerate(calls)
        ]
    body = json.dumps({
        "id": "c", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls" if calls else "stop"}],
        "usage": {"prompt_tokens": tokens, "completion_tokens": 2, "total_tokens": tokens + 2},
    }).encode()  # fmt: skip
    assert ours(body, stream=False) == theirs(body, stream=False)
