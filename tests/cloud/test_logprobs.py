"""`response.logprobs`: the same from `chat()` and a drained stream, in every mode, on the wires that have them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cloud.kit import HELLO, MODELS, MODES, perform, scripted
from transports.testing import ScriptedReply

A = {"token": "A", "logprob": -0.5, "bytes": [65], "top_logprobs": [{"token": "B", "logprob": -1, "bytes": [66]}]}
B = {"token": "é", "logprob": 0, "bytes": None, "top_logprobs": []}
ODD = [None, 3, {"token": 5, "logprob": -1}, {"token": "x"}, {"token": "x", "logprob": True}]


def openai(entries: list[Any], more: list[Any]) -> tuple[bytes, bytes]:
    """(a whole reply, the same as a stream), with a second choice that has its own."""
    choices = [
        {"index": 0, "message": {"role": "assistant", "content": "Aé"}, "logprobs": {"content": entries, "refusal": None},
         "finish_reason": "stop"},
        {"index": 1, "message": {"role": "assistant", "content": "é"}, "logprobs": {"content": more}, "finish_reason": "stop"},
    ]  # fmt: skip
    whole = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": choices}
    chunks: list[Any] = [(0, {"role": "assistant", "content": ""}, None, None)]
    chunks += [
        (0, {"content": text}, {"content": [entry], "refusal": None}, None)
        for text, entry in zip("Aé", entries, strict=False)
    ]
    chunks += [(0, {}, {"content": entries[2:], "refusal": None}, None)]
    chunks += [
        (1, {"role": "assistant", "content": "é"}, {"content": more}, None),
        (0, {}, None, "stop"),
        (1, {}, None, "stop"),
    ]
    lines = [
        {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
         "choices": [{"index": index, "delta": delta, "logprobs": logs, "finish_reason": end}]}
        for index, delta, logs, end in chunks
    ]  # fmt: skip
    return json.dumps(whole).encode(), b"".join(
        b"data: %s\n\n" % json.dumps(line).encode() for line in lines
    ) + b"data: [DONE]\n\n"


def ollama(entries: list[Any]) -> tuple[bytes, bytes]:
    head = {"model": "m", "created_at": "2026-11-28T00:00:00Z"}
    end = {"done": True, "done_reason": "stop", "prompt_eval_count": 1, "eval_count": 2}
    whole = {**head, "message": {"role": "assistant", "content": "Aé"}, "logprobs": entries, **end}
    lines = [
        {**head, "message": {"role": "assistant", "content": "A"}, "done": False, "logprobs": entries[:1]},
        {**head, "message": {"role": "assistant", "content": "é"}, "done": False, "logprobs": entries[1:]},
        {**head, "message": {"role": "assistant", "content": ""}, **end},
    ]
    return json.dumps(whole).encode(), b"".join(json.dumps(line).encode() + b"\n" for line in lines)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("wire", ["openai", "ollama"])
def test_a_whole_reply_and_a_drained_stream_agree(mode: str, wire: str) -> None:
    whole, streamed = openai([A, B, *ODD], [B]) if wire == "openai" else ollama([A, B, *ODD])
    transport = scripted(mode, ScriptedReply(body=whole), ScriptedReply(body=streamed))

    async def scenario(client: Any) -> None:
        options = {"n": 2} if wire == "openai" else {}
        response = await client.chat(HELLO, logprobs=1, **options)
        drained = await client.chat_stream(HELLO, logprobs=1, **options).until_done()
        assert response.logprobs == drained.logprobs == [A, B]
        assert response.choices == drained.choices
        assert response.choices[0].logprobs == [A, B]
        if wire == "openai":
            assert response.choices[1].logprobs == [B]
        assert "".join(one["token"] for one in response.logprobs) == response.content == "Aé"

    perform(mode, scenario, wire, transport=transport, model=MODELS[wire])


@pytest.mark.parametrize("logprobs", [None, {}, {"content": None}, {"tokens": ["A"], "token_logprobs": [-1]}, [], "x"])
def test_what_is_not_a_list_of_tokens_is_none(logprobs: Any) -> None:
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": "A"},
        "logprobs": logprobs,
        "finish_reason": "stop",
    }
    transport = scripted("blocking", ScriptedReply(body=json.dumps({"model": "m", "choices": [choice]}).encode()))

    async def scenario(client: Any) -> None:
        response = await client.chat(HELLO)
        assert (response.content, response.logprobs) == ("A", None)
        assert response.raw["choices"][0]["logprobs"] == logprobs

    perform("blocking", scenario, transport=transport, model="m")


def test_nothing_is_shared_with_raw() -> None:
    whole, _ = openai([A], [B])
    transport = scripted("blocking", ScriptedReply(body=whole))

    async def scenario(client: Any) -> None:
        response = await client.chat(HELLO)
        response.logprobs[0]["top_logprobs"].clear()
        assert response.raw["choices"][0]["logprobs"]["content"] == [A]

    perform("blocking", scenario, transport=transport, model="m")
