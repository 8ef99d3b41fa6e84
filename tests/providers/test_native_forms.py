"""A message's native form is its own wire's: no server can put one there, no other wire sends it."""

from __future__ import annotations

import json

import pytest

from sans_io.chat.messages import chat_request
from sans_io.errors import LLMBadRequestError
from sans_io.http.urls import parse_base_url
from sans_io.providers.anthropic.codec import AnthropicCodec
from sans_io.providers.ollama.codec import OllamaCodec
from sans_io.providers.openai_chat.codec import OpenAICodec
from sans_io.providers.registry import DIALECTS
from tests.providers.reading import read

HELLO = {"role": "user", "content": "Hello"}
ANTHROPIC = AnthropicCodec(parse_base_url("https://api.anthropic.com"))
OLLAMA = OllamaCodec(parse_base_url("http://127.0.0.1:11434"))
#: Every vendor of OpenAI's wire.
VENDORS = {
    name: OpenAICodec(parse_base_url(row.base_url or "https://x.openai.azure.com/openai/v1"), row)
    for name, row in DIALECTS.items()
    if "openai" in row.wires and name != "ollama"
}
THINKING = {"type": "thinking", "thinking": "hm", "signature": "c2ln"}
SERVER_TOOL = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}}
FOUND = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []}
NATIVE = {
    "wire": "anthropic",
    "version": "2023-06-01",
    "blocks": [THINKING, SERVER_TOOL, {"type": "text", "text": "4"}],
}

#: What a server may say beside (or in) its text to have it sent to Anthropic.
TRICKS = {
    "native": {"native": NATIVE},
    "native-twice": {"native": {**NATIVE, "native": NATIVE}},
    "old-keys": {"anthropic_blocks": NATIVE["blocks"], "anthropic_version": "2023-06-01"},
    "thinking": {"thinking": "hm", "signature": "c2ln"},
    "thinking-blocks": {"thinking_blocks": [THINKING], "reasoning": "hm"},
    "a-marker": {"cache_control": {"type": "ephemeral"}},
    "parts": {"content": [THINKING, SERVER_TOOL, FOUND, {"type": "text", "text": "4"}]},
    "parts-of-the-next-year": {"content": [{"type": "oracle_tool_use", "id": "x"}, {"type": "text", "text": "4"}]},
    "redacted": {"content": [{"type": "redacted_thinking", "data": "abc"}, {"type": "text", "text": "4"}]},
    "a-call-as-a-part": {
        "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {}}, {"type": "text", "text": "4"}]
    },
    "a-document": {"content": [{"type": "document", "source": {}}, {"type": "text", "text": "4"}]},
    "a-marked-text": {
        "content": [{"type": "text", "text": "4", "cache_control": {"type": "ephemeral"}, "citations": [{"type": "x"}]}]
    },
}


def openai_reply(message: dict, stream: bool) -> bytes:
    base = {"id": "x", "model": "m", "object": "chat.completion"}
    if not stream:
        return json.dumps({**base, "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}).encode()
    chunks = [
        {**base, "choices": [{"index": 0, "delta": message, "finish_reason": None}]},
        {**base, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
    ]
    return b"".join(f"data: {json.dumps(chunk)}\n\n".encode() for chunk in chunks) + b"data: [DONE]\n\n"


def ollama_reply(message: dict, stream: bool) -> bytes:
    lines = [{"model": "m", "created_at": "t", "message": message, "done": False}] if stream else []
    said = {"role": "assistant", "content": ""} if stream else message
    lines.append({"model": "m", "created_at": "t", "message": said, "done": True, "done_reason": "stop"})
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def reply_of(codec: object, body: bytes, stream: bool) -> dict:
    operation = codec.operation(chat_request([HELLO], "m", stream=stream))
    reading = read(operation.new_reader(), [body])
    assert reading.error is None
    return json.loads(json.dumps(reading.response.message))


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("trick", TRICKS)
@pytest.mark.parametrize("wire", ["openai", "mistral", "generic", "ollama"])
def test_no_other_server_makes_the_anthropic_client_send_its_blocks(wire: str, trick: str, stream: bool) -> None:
    said = {"role": "assistant", "content": "4", **TRICKS[trick]}
    if wire == "ollama":
        if isinstance(said["content"], list):
            pytest.skip("content is a string on this wire")
        message = reply_of(OLLAMA, ollama_reply(said, stream), stream)
    else:
        message = reply_of(VENDORS[wire], openai_reply(said, stream), stream)
    assert "native" not in message
    request = ANTHROPIC.build(chat_request([HELLO, message, HELLO], "claude-x"))
    assert dict(request.headers)["anthropic-version"] == "2026-10-21"
    assert json.loads(request.body)["messages"] == [HELLO, {"role": "assistant", "content": "4"}, HELLO]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_raw_has_what_the_server_sent_all_the_same(stream: bool) -> None:
    parts = [SERVER_TOOL, {"type": "text", "text": "4"}]
    said = {"role": "assistant", "content": parts, "native": NATIVE}
    operation = VENDORS["openai"].operation(chat_request([HELLO], "m", stream=stream))
    raw = read(operation.new_reader(), [openai_reply(said, stream)]).response.raw
    assert raw["choices"][0]["message"]["content"] == parts
    assert raw["choices"][0]["message"]["native"] == NATIVE


@pytest.mark.parametrize("vendor", VENDORS)
def test_no_other_wire_sends_a_native_form(vendor: str) -> None:
    message = {"role": "assistant", "content": "4", "native": NATIVE}
    for codec in (VENDORS[vendor], OLLAMA):
        assert b"signature" not in codec.build(chat_request([HELLO, message, HELLO], "m")).body


@pytest.mark.parametrize(
    ("native", "path"),
    [
        (5, "messages[1].native"),
        ([THINKING], "messages[1].native"),
        ({}, "messages[1].native"),
        ({"wire": 5}, "messages[1].native"),
        ({"wire": "", "blocks": []}, "messages[1].native"),
        ({"wire": "anthropic"}, "messages[1].native.blocks"),
        ({"wire": "anthropic", "blocks": THINKING}, "messages[1].native.blocks"),
        ({"wire": "anthropic", "blocks": [None, THINKING]}, "messages[1].native.blocks"),
        ({"wire": "anthropic", "blocks": [{"text": "no type"}]}, "messages[1].native.blocks"),
        ({"wire": "anthropic", "blocks": [THINKING], "version": 5}, "messages[1].native.version"),
    ],
)
def test_a_native_form_that_is_none_is_refused_by_its_path(native: object, path: str) -> None:
    with pytest.raises(LLMBadRequestError) as caught:
        ANTHROPIC.build(chat_request([HELLO, {"role": "assistant", "content": "4", "native": native}, HELLO], "m"))
    assert caught.value.message.startswith(f"{path} must be ")


def test_a_form_of_another_wire_is_not_looked_at() -> None:
    for form in ({"wire": "gemini", "parts": [5]}, {"wire": "nobody", "blocks": [THINKING]}):
        request = ANTHROPIC.build(chat_request([HELLO, {"role": "assistant", "content": "4", "native": form}], "m"))
        assert json.loads(request.body)["messages"][1] == {"role": "assistant", "content": "4"}
