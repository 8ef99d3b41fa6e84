"""Random conversations arrive on Ollama's wire with everything that was said, and are what its SDK would send."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sans_io.chat.messages import chat_request
from tests.providers.conversations import TOOLS, conversations
from tests.providers.ollama.kit import CODEC, REPLIES, whole

#: Assistant messages as they come out of a reply of this wire, thinking included.
NATIVE = REPLIES.map(lambda reply: copy.deepcopy(whole({**reply, "done_reason": "stop"}).response.message))
CONVERSATIONS = conversations(native=NATIVE)


def body_of(messages: list[dict], **options: object) -> dict:
    before = copy.deepcopy(messages)
    body = json.loads(CODEC.build(chat_request(messages, "qwen2.5:3b", **options)).body)
    assert messages == before, "the caller's messages were changed"
    return body


def said(messages: list[dict]) -> Iterator[tuple[object, ...]]:
    for message in messages:
        content = message.get("content") or ""
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        text = "\n".join(part["text"] for part in parts if part["type"] == "text")
        images = [part["image_url"]["url"].partition(",")[2] for part in parts if part["type"] == "image_url"]
        calls = [
            (call["id"], call["function"]["name"], json.loads(call["function"]["arguments"]))
            for call in message.get("tool_calls") or ()
        ]
        role = message["role"]
        yield (
            "system" if role == "developer" else role,
            text,
            images,
            calls,
            message.get("tool_call_id"),
            message.get("thinking"),
        )


def said_on_the_wire(messages: list[dict]) -> Iterator[tuple[object, ...]]:
    for message in messages:
        calls = [
            (call["id"], call["function"]["name"], call["function"]["arguments"])
            for call in message.get("tool_calls", ())
        ]
        yield (
            message["role"],
            message["content"],
            message.get("images", []),
            calls,
            message.get("tool_call_id"),
            message.get("thinking"),
        )


@given(CONVERSATIONS)
def test_everything_that_was_said_arrives(messages: list[dict]) -> None:
    assert list(said_on_the_wire(body_of(messages)["messages"])) == list(said(messages))


@given(CONVERSATIONS)
def test_results_name_their_tool(messages: list[dict]) -> None:
    names: dict[str, str] = {}
    for message in body_of(messages)["messages"]:
        names.update((call["id"], call["function"]["name"]) for call in message.get("tool_calls", ()))
        if message["role"] == "tool":
            assert message["tool_name"] == names[message["tool_call_id"]]


@settings(max_examples=50)
@given(CONVERSATIONS, st.booleans(), st.sampled_from([None, "auto", "none"]))
def test_bodies_are_what_the_sdk_types_allow(messages: list[dict], stream: bool, choice: str | None) -> None:
    types = pytest.importorskip("ollama._types")
    body = body_of(
        messages,
        tools=TOOLS,
        tool_choice=choice,
        stream=stream,
        temperature=0.5,
        seed=1,
        stop=["END"],
        max_tokens=5,
        response_format={"type": "object"},
        reasoning_effort="high",
        extra_body={"keep_alive": "5m", "options": {"num_ctx": 4096}},
    )
    assert set(body) <= set(types.ChatRequest.model_fields)
    assert set(body["options"]) <= set(types.Options.model_fields)
    # The images are base64 already: the SDK would take them for paths.
    request = types.ChatRequest.model_validate(
        {**body, "messages": [{k: v for k, v in m.items() if k != "images"} for m in body["messages"]]}
    )
    for message, checked in zip(body["messages"], request.messages, strict=True):
        model = types.Message.model_validate({key: value for key, value in checked.items() if key != "images"})
        # The released type does not know ids yet; newer servers do.
        assert set(message) <= set(types.Message.model_fields) | {"tool_call_id"}
        assert (model.role, model.content) == (message["role"], message["content"])
