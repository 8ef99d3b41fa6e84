"""Recorded traffic of some thirty vendors through the whole core: what the official SDK made of the bytes, we make.

The recordings are not part of this project. They are looked for in `WIRE_RECORDINGS`, else in `shared/recordings`
beside the checkout; without them these tests are skipped, unless `WIRE_RECORDINGS` is set: then that is a failure.
"""

from __future__ import annotations

import json
import os
import re
from base64 import b64decode
from functools import cache
from pathlib import Path
from random import Random

import pytest

from sans_io.calls.replay import decode
from sans_io.chat.response import ChatResponse
from sans_io.errors import LLMError, LLMStreamError
from sans_io.providers.openai_chat.reply import OpenAIModelsReader, OpenAIStreamReader

FAMILY = "openai"
_SET = os.environ.get("WIRE_RECORDINGS")
FOLDER = Path(_SET) if _SET else Path(__file__).parents[2].parent / "shared/recordings"

#: (id, field): why we differ. Nothing else may.
DISAGREEMENTS = {
    (
        "openai-6b28d977c591",
        "code",
    ): "the code in the body is the number 400; overflow has our code where theirs says nothing",
    (
        "openai-661133e76a1b",
        "arguments",
    ): "the SDK puts arguments that were cut into a key of its own; ours are raw text",
}


@cache
def recordings() -> dict[str, tuple[dict, dict]]:
    """id -> (exchange, expected)."""
    if not (FOLDER / "exchanges.jsonl").exists():
        return {}
    expected = _rows("expected.jsonl")
    return {
        key: (row, expected[key]["expected"])
        for key, row in _rows("exchanges.jsonl").items()
        if row["family"] == FAMILY
    }


def _rows(name: str) -> dict[str, dict]:
    with (FOLDER / name).open(encoding="utf-8") as lines:
        return {row["id"]: row for row in map(json.loads, lines)}


IDS = sorted(recordings())
needs_recordings = pytest.mark.skipif(not IDS and not _SET, reason="the recordings are not here")


def test_the_recordings_are_there_if_asked_for() -> None:
    assert IDS or not _SET, f"WIRE_RECORDINGS is set, but {FOLDER} holds no recordings of this wire"
    assert all(key in IDS for key, _ in DISAGREEMENTS) or not IDS or _SET


def body_of(exchange: dict) -> bytes:
    return b64decode(exchange["response"]["body_b64"])


def outcome(exchange: dict, pieces: list[bytes]) -> ChatResponse | LLMError:
    response = exchange["response"]
    try:
        return decode(FAMILY, response["status"], response["headers"], pieces, stream=exchange["stream"])
    except LLMError as error:
        return error


def facts(result: ChatResponse | LLMError) -> dict[str, object]:
    """All that must not depend on the cutting."""
    if isinstance(result, LLMError):
        return {"error": (type(result), result.message, result.code, result.error_type, result.status_code)}
    return {"response": result, "raw": result.raw}


@needs_recordings
@pytest.mark.parametrize("key", IDS)
def test_it_decodes_as_expected(key: str) -> None:
    exchange, expected = recordings()[key]
    if expected["kind"] == "other":
        assert models_of(exchange) == expected["models"]
        return
    result = outcome(exchange, [body_of(exchange)])
    if expected["kind"] == "error":
        check_error(key, result, expected["error"])
        return
    if isinstance(result, LLMStreamError) and expected["complete"] is False:
        assert result.partial is not None
        result = result.partial
    assert isinstance(result, ChatResponse), repr(result)
    got = {
        "content": result.content,
        "finish_reason": result.raw_finish_reason,
        "model": result.model,
        "input_tokens": result.usage.input_tokens,
        "output_tokens": made_of(result),
        "reasoning": result.reasoning or "",
    }
    assert got == {name: expected[name] for name in got}
    legacy = "legacy_function_call" in expected.get("flags", ())  # a tool call here; the SDK keeps it apart
    check_calls(key, result, result_calls(result) if legacy else expected["tool_calls"])


def made_of(result: ChatResponse) -> int | None:
    """The wire's own count of output, which may leave out reasoning that its total counts (xAI)."""
    usage = result.raw.get("usage")
    sent = usage.get("completion_tokens") if isinstance(usage, dict) else None
    if sent is None or result.usage.output_tokens == sent + (result.usage.reasoning_tokens or 0):
        assert sent is None or result.total_tokens == result.usage.input_tokens + result.usage.output_tokens
        return result.usage.output_tokens if sent is None else sent
    return result.usage.output_tokens


def result_calls(result: ChatResponse) -> list[dict]:
    calls = result.tool_calls
    assert calls
    return [{"id": call.id, "name": call.name, "arguments": call.arguments} for call in calls]


def check_error(key: str, result: ChatResponse | LLMError, expected: dict) -> None:
    assert isinstance(result, LLMError)
    # A hint of ours may follow the server's words.
    assert result.message.startswith(" ".join(expected["message"].split())[:499])
    assert (result.status_code, result.error_type) == (expected["status"], expected["type"])
    if (key, "code") not in DISAGREEMENTS:
        assert result.code == (None if expected["code"] is None else str(expected["code"]))


def check_calls(key: str, result: ChatResponse, expected: list[dict]) -> None:
    """Cut and invalid calls are listed in the recordings all the same."""
    ours = result.tool_calls + result.invalid_tool_calls
    assert sorted(call.name for call in ours) == sorted(call["name"] for call in expected)
    theirs = {call["id"]: call for call in expected if call["id"]}
    for call in ours:
        if call.id in theirs and (key, "arguments") not in DISAGREEMENTS:
            assert call.arguments == theirs[call.id]["arguments"]
    assert {call.id for call in ours} >= theirs.keys()


def models_of(exchange: dict) -> list[str]:
    reader = OpenAIModelsReader("test")
    reader.receive_data(body_of(exchange))
    reader.receive_eof()
    assert reader.error is None
    return sorted(reader.models)


@needs_recordings
@pytest.mark.parametrize("key", IDS)
def test_the_cutting_does_not_matter(key: str) -> None:
    """Byte by byte (up to 20 KB), inside characters and between CR and LF, and at random."""
    exchange, _ = recordings()[key]
    data = body_of(exchange)
    whole = facts(outcome(exchange, [data]))
    if len(data) <= 20_000:
        assert facts(outcome(exchange, [data[i : i + 1] for i in range(len(data))])) == whole
    seams = [match.start() + 1 for match in re.finditer(rb"[\x80-\xff]|\r\n", data)]
    assert facts(outcome(exchange, pieces(data, seams))) == whole
    dice = Random(key)
    for _ in range(3):
        count = dice.randrange(1, 40)
        assert facts(outcome(exchange, pieces(data, [dice.randrange(len(data) + 1) for _ in range(count)]))) == whole


def pieces(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted({place for place in places if 0 < place < len(data)}), len(data)]
    return [data[a:b] for a, b in zip(edges, edges[1:], strict=False)]  # noqa: RUF007 - as in the other wires


@needs_recordings
@pytest.mark.parametrize("key", [key for key in IDS if recordings()[key][0]["stream"]])
def test_line_ends_may_be_crlf(key: str) -> None:
    exchange, _ = recordings()[key]
    data = body_of(exchange)
    if b"\r" in data:
        pytest.skip("it has them already")
    assert facts(outcome(exchange, [data.replace(b"\n", b"\r\n")])) == facts(outcome(exchange, [data]))


@needs_recordings
@pytest.mark.parametrize("key", [key for key in IDS if recordings()[key][0]["stream"]])
def test_a_stream_cut_short_is_never_whole(key: str) -> None:
    """At every byte up to 4 KiB, at every line edge +- 2, and at 200 random places beyond."""
    data = body_of(recordings()[key][0])
    whole = decoded(data)
    assert whole.error is None
    content = whole.response().content
    edges = {at + shift for at in range(len(data)) if data[at] == 10 for shift in (-2, -1, 0, 1, 2)}
    lengths = {*range(min(4096, len(data))), *edges, *Random(key).sample(range(len(data)), min(200, len(data)))}
    for length in sorted(length for length in lengths if 0 <= length < len(data)):
        reader = decoded(data[:length])
        response = reader.response()
        if reader.error is None:
            assert response.content == content
            assert response.raw_finish_reason or length >= data.rindex(b"[DONE]"), "ended, or every choice finished"
        else:
            assert reader.error.code == "truncated"
            assert reader.error.partial == response
            assert content.startswith(response.content)
            assert response.tool_calls == []


def decoded(data: bytes) -> OpenAIStreamReader:
    reader = OpenAIStreamReader("test")
    reader.receive_data(data)
    reader.receive_eof()
    return reader
