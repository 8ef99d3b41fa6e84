"""Random conversations arrive on Anthropic's wire with everything that was said, and are what its SDK would send."""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sans_io.chat.messages import chat_request
from sans_io.providers.anthropic.codec import api_version, build_body
from tests.providers.anthropic.kit import CODEC, MESSAGES, whole
from tests.providers.conversations import TOOLS, conversations, plain_text

#: Assistant messages as they come out of a reply of this wire, thinking and server tools included.
NATIVE = MESSAGES.map(lambda message: copy.deepcopy(whole({**message, "stop_reason": "end_turn"}).response.message))
CONVERSATIONS = conversations(native=NATIVE).map(lambda messages: [*messages, {"role": "user", "content": "Go on."}])


def body_of(messages: list[dict], **options: object) -> dict:
    before = copy.deepcopy(messages)
    chat = chat_request(messages, "claude-x", **options)
    body = json.loads(CODEC.build(chat).body)
    assert messages == before, "the caller's messages were changed"
    return body


def black(text: str) -> str:
    """Text without its white space: what is nothing else is left out."""
    return "".join(text.split())


def said(messages: list[dict]) -> Iterator[tuple[str, object]]:
    """What a conversation says, in order, without the form it has: the results of one turn in any order."""
    results: list[tuple[str, object]] = []
    for message in messages:
        role = message["role"]
        if role == "tool":
            results.append(("result", (plain_text(message["content"]), bool(message.get("is_error")))))
            continue
        yield from results
        results = []
        if role == "user":
            content = message["content"]
            for part in [{"type": "text", "text": content}] if isinstance(content, str) else content:
                yield ("user", part["text"] if part["type"] == "text" else part["image_url"]["url"])
        elif role == "assistant":
            if message.get("content"):
                yield ("assistant", message["content"])
            for call in message.get("tool_calls") or ():
                yield ("call", (call["function"]["name"], json.loads(call["function"]["arguments"])))
    yield from results


def said_on_the_wire(turns: list[dict]) -> Iterator[tuple[str, object]]:
    for turn in turns:
        content = turn["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        if turn["role"] == "assistant":
            text = "".join(block["text"] for block in blocks if block["type"] == "text")
            if text:
                yield ("assistant", text)
        for block in blocks:
            if block["type"] == "tool_use":
                yield ("call", (block["name"], block["input"]))
            elif block["type"] == "tool_result":
                yield ("result", (plain_text(block.get("content")), block.get("is_error", False)))
            elif block["type"] == "image":
                yield ("user", f"data:{block['source']['media_type']};base64,{block['source']['data']}")
            elif block["type"] == "text" and turn["role"] == "user":
                yield ("user", block["text"])


def text_joined(items: Iterator[tuple[str, object]]) -> list[tuple[str, object]]:
    """Text of one speaker without the places where it was divided, and without white space."""
    joined: list[tuple[str, object]] = []
    for kind, value in items:
        if kind == "result":
            value = (black(value[0]), value[1])
        elif isinstance(value, str):
            value = black(value)
            if not value:
                continue
        if joined and joined[-1][0] == kind and isinstance(value, str) and isinstance(joined[-1][1], str):
            joined[-1] = (kind, joined[-1][1] + value)
        else:
            joined.append((kind, value))
    return joined


@given(CONVERSATIONS)
def test_everything_that_was_said_arrives(messages: list[dict]) -> None:
    body = body_of(messages)
    assert text_joined(said_on_the_wire(body["messages"])) == text_joined(said(messages))
    system = [m["content"] for m in messages if m["role"] in ("system", "developer")]
    assert black(body.get("system", "")) == black("".join(system))


@given(CONVERSATIONS)
def test_the_wires_own_rules_hold(messages: list[dict]) -> None:
    turns = body_of(messages)["messages"]
    called: list[str] = []
    for turn in turns:
        assert turn["role"] in ("user", "assistant")
        assert turn["content"], "the wire refuses empty turns"
        blocks = turn["content"] if isinstance(turn["content"], list) else []
        kinds = [block["type"] for block in blocks]
        if turn["role"] == "user":
            results = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
            assert kinds[: len(results)] == ["tool_result"] * len(results), "tool results come first"
            if called:
                assert sorted(results) == sorted(called), "each call is answered in the next turn"
            assert set(results) <= set(called)
        called = [block["id"] for block in blocks if block["type"] == "tool_use"]
        assert len(set(called)) == len(called)
        assert all(
            label and not set(label) - set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
            for label in called
        )
        assert all(black(block["text"]) for block in blocks if block["type"] == "text"), "the wire refuses blank text"


@given(CONVERSATIONS)
def test_native_blocks_go_back_as_they_came(messages: list[dict]) -> None:
    chat = chat_request(messages, "claude-x")
    turns = build_body(chat, api_version(chat, None))["messages"]
    sent = []
    for turn in turns:
        content = turn["content"]
        sent += content if isinstance(content, list) else [{"type": "text", "text": content}]  # its short form
    for message in messages:
        blocks = [b for b in message.get("native", {}).get("blocks", ()) if b["type"] != "text" or black(b["text"])]
        while blocks and blocks[-1]["type"] in ("thinking", "redacted_thinking"):
            blocks.pop()  # The wire refuses it at the end of a turn.
        for block in blocks:
            assert any(_is_same(block, one) for one in sent)


def _is_same(block: dict, sent: dict) -> bool:
    """Calls of earlier replies may have had the same id; then it is another one on the wire."""
    return block == (sent | {"id": block["id"]} if block["type"] == sent["type"] == "tool_use" else sent)


@functools.cache
def sdk_types() -> object:
    """Kept for the whole run: it must outlive the lazy iterators that it makes."""
    pydantic = pytest.importorskip("pydantic")
    params = pytest.importorskip("anthropic.types.message_create_params")
    return pydantic.TypeAdapter(params.MessageCreateParams)


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=50)
@given(
    CONVERSATIONS,
    st.booleans(),
    st.sampled_from([None, "auto", "required", "none", "search"]),
    st.sampled_from([None, False, True]),
)
def test_bodies_are_what_the_sdk_types_allow(
    messages: list[dict], stream: bool, choice: str | None, parallel: bool | None
) -> None:
    types = sdk_types()
    body = body_of(
        messages,
        tools=TOOLS,
        stream=stream,
        tool_choice=choice,
        parallel_tool_calls=parallel,
        stop=["END"],
        max_tokens=5,
        response_format={"type": "object", "properties": {"x": {"type": "string"}}},
        reasoning_effort="high",
    )
    blocks = [b for t in body["messages"] if isinstance(t["content"], list) for b in t["content"]]
    for block in blocks:
        # The generated ones are looser than the vendor's; what passes through is not ours to check.
        if block["type"] in ("web_search_tool_result", "server_tool_use"):
            block.clear()
            block.update(type="text", text="-")
        if block["type"] == "text":
            block.pop("citations", None)
    assert _consumed(types.validate_python(body)) == body, "keys that the types do not know are left out by validation"


def _consumed(value: object) -> object:
    """The types say Iterable, which pydantic validates while it is read."""
    if isinstance(value, dict):
        return {key: _consumed(item) for key, item in value.items()}
    if isinstance(value, (str, bytes, int, float, type(None))):
        return value
    return [_consumed(item) for item in value]
