"""Recorded traffic of the Anthropic and Ollama wires decodes to what the vendors' own parsers make of it.

The recordings are not part of the project. They are looked for in the directory that WIRE_RECORDINGS names, else in
`shared/recordings` beside the checkout; without them these tests are skipped, unless the variable is set.
"""

from __future__ import annotations

import base64
import functools
import json
import os
import random
from pathlib import Path

import pytest

from sans_io.calls.replay import decode
from sans_io.chat.response import ChatResponse
from sans_io.errors import LLMError

_NAMED = os.environ.get("WIRE_RECORDINGS")
FOLDER = Path(_NAMED) if _NAMED else Path(__file__).resolve().parents[3] / "shared" / "recordings"
FAMILIES = ("anthropic", "ollama")


@functools.cache
def recordings() -> dict[str, tuple[dict, dict]]:
    """id -> (exchange, expected row)."""
    if not (FOLDER / "exchanges.jsonl").is_file():
        return {}
    rows = {}
    for line in (FOLDER / "expected.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        rows[row["id"]] = row["expected"]
    exchanges = (json.loads(line) for line in (FOLDER / "exchanges.jsonl").read_text(encoding="utf-8").splitlines())
    return {each["id"]: (each, rows[each["id"]]) for each in exchanges if each["family"] in FAMILIES}


IDS = sorted(recordings()) or ["none"]


@pytest.fixture
def recording(request: pytest.FixtureRequest) -> tuple[dict, dict]:
    if request.param not in recordings():
        assert _NAMED is None, f"no recordings in {FOLDER}"
        pytest.skip("no recordings here (set WIRE_RECORDINGS)")
    return recordings()[request.param]


def outcome(exchange: dict, chunks: list[bytes]) -> ChatResponse | LLMError:
    response = exchange["response"]
    try:
        return decode(exchange["family"], response["status"], response["headers"], chunks, stream=exchange["stream"])
    except LLMError as error:
        return error


def check(exchange: dict, expected: dict, got: ChatResponse | LLMError) -> None:
    if expected["error"] is not None:
        assert isinstance(got, LLMError)
        assert (got.message, got.status_code, got.error_type) == (
            expected["error"]["message"],
            expected["error"]["status"],
            expected["error"]["type"],
        )
        return
    if isinstance(got, LLMError):
        raise got
    # The row has the wire's own field, which on Anthropic's leaves out cached tokens.
    tokens = got.raw["usage"]["input_tokens"] if exchange["family"] == "anthropic" else got.input_tokens
    assert got.content == expected["content"]
    assert got.raw_finish_reason == expected["finish_reason"]
    assert got.model == expected["model"]
    assert (got.reasoning or "") == expected["reasoning"]
    assert (tokens, got.output_tokens) == (expected["input_tokens"] or 0, expected["output_tokens"] or 0)
    calls = [(call.name, call.arguments) for call in got.tool_calls + got.invalid_tool_calls]
    assert calls == [(call["name"], call["arguments"]) for call in expected["tool_calls"]]
    for call, wanted in zip(got.tool_calls + got.invalid_tool_calls, expected["tool_calls"], strict=True):
        assert call.id == wanted["id"] or not wanted["id"] or exchange["family"] == "ollama"


def same(one: ChatResponse | LLMError, other: ChatResponse | LLMError) -> bool:
    if isinstance(one, LLMError) or isinstance(other, LLMError):
        return type(one) is type(other) and repr(one) == repr(other)
    return one == other


@pytest.mark.parametrize("recording", IDS, indirect=True)
def test_whole(recording: tuple[dict, dict]) -> None:
    exchange, expected = recording
    check(exchange, expected, outcome(exchange, [base64.b64decode(exchange["response"]["body_b64"])]))


@pytest.mark.parametrize("recording", IDS, indirect=True)
def test_in_pieces(recording: tuple[dict, dict]) -> None:
    """Byte by byte, cut in characters and line ends, and at random places: always the same."""
    exchange, expected = recording
    body = base64.b64decode(exchange["response"]["body_b64"])
    entire = outcome(exchange, [body])
    dice = random.Random(exchange["id"])
    cuts = []
    if len(body) <= 20_000:
        cuts.append([bytes([byte]) for byte in body])
    if exchange["family"] == "anthropic" and exchange["stream"]:
        crlf = body.replace(b"\n", b"\r\n")
        cuts += [[crlf], [crlf[i : i + 3] for i in range(0, len(crlf), 3)]]
    inside = [i for i, byte in enumerate(body) if byte & 0xC0 == 0x80 or byte in b"\r\n"]
    cuts.append([body[a:b] for a, b in zip([0, *inside], [*inside, len(body)], strict=True)])
    for _ in range(10):
        edges = sorted(dice.sample(range(len(body) + 1), min(len(body), 8)))
        cuts.append([body[a:b] for a, b in zip([0, *edges], [*edges, len(body)], strict=True)])
    for chunks in cuts:
        got = outcome(exchange, chunks)
        check(exchange, expected, got)
        assert same(got, entire)


@pytest.mark.parametrize("recording", [i for i in IDS if i == "none" or recordings()[i][0]["stream"]], indirect=True)
def test_a_stream_that_stops_anywhere(recording: tuple[dict, dict]) -> None:
    """The text so far is a prefix, the error carries it, and nothing is reported complete before its stop reason."""
    exchange, expected = recording
    body = base64.b64decode(exchange["response"]["body_b64"])
    sign = b'"stop_reason":' if exchange["family"] == "anthropic" else b'"done":true'
    earliest = body.rindex(sign)
    dice = random.Random(exchange["id"])
    near_lines = [i + shift for i, byte in enumerate(body) if byte == 10 for shift in (-2, -1, 0, 1, 2)]
    places = set(range(min(len(body), 4096))) | set(near_lines) | {dice.randrange(len(body)) for _ in range(200)}
    for length in sorted(place for place in places if 0 <= place < len(body)):
        got = outcome(exchange, [body[:length]])
        if isinstance(got, LLMError):
            assert got.code == "truncated"
            content = got.partial.content if got.partial is not None else ""
        else:
            assert length > earliest
            content = got.content
            assert content == expected["content"]
        assert expected["content"].startswith(content)
