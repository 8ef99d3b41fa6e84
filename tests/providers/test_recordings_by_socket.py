"""Recorded replies through a real client over a loopback socket are what `replay.decode` makes of their bytes, with and
without the accelerator. The recordings are looked for as in `test_openai_recordings`.

`RECORDINGS_SHARE=1` takes all of them; a run takes every fourth, another one on each wire.
"""

from __future__ import annotations

import base64
import json
import os
from functools import cache
from itertools import pairwise
from random import Random
from typing import Any

import pytest

from cloud.llm import AnthropicClient, OllamaClient, OpenAICompatClient
from sans_io.calls.replay import decode
from sans_io.chat.response import ChatResponse
from sans_io.decode import jsontext
from sans_io.errors import LLMError
from tests.providers.test_openai_recordings import _SET, FOLDER
from tests.wire_server import WireServer, read, send
from transports.httpcore_sync import SyncTransport

SHARE = int(os.environ.get("RECORDINGS_SHARE", "4"))
WIRES = {"openai": OpenAICompatClient, "anthropic": AnthropicClient, "ollama": OllamaClient}


@cache
def exchanges() -> dict[str, dict]:
    """Those of chats, by id."""
    if not (FOLDER / "exchanges.jsonl").is_file():
        return {}
    with (FOLDER / "expected.jsonl").open(encoding="utf-8") as lines:
        kinds = {row["id"]: row["expected"]["kind"] for row in map(json.loads, lines)}
    with (FOLDER / "exchanges.jsonl").open(encoding="utf-8") as lines:
        rows = {row["id"]: row for row in map(json.loads, lines)}
    return {key: row for key, row in rows.items() if row["family"] in WIRES and kinds[key] != "other"}


IDS = sorted(exchanges())[::SHARE] or ["none"]


@pytest.fixture(params=["standard library", "msgspec"])
def road(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A transport switches the accelerator on by itself, unless it is known not to be there."""
    monkeypatch.setattr(jsontext, "_FASTER", [None])
    if request.param == "msgspec":
        pytest.importorskip("msgspec")
        monkeypatch.setattr(jsontext, "_FASTER", [])


def fields(exchange: dict) -> dict[str, str]:
    """Header fields that a body as it was recorded may still carry."""
    response = exchange["response"]
    dropped = {"content-length", "transfer-encoding", "content-encoding", "connection", "keep-alive"}
    return {name: str(value) for name, value in response["headers"].items() if name.lower() not in dropped}


def by_client(exchange: dict) -> ChatResponse | LLMError:
    data = base64.b64decode(exchange["response"]["body_b64"])
    head = f"HTTP/1.1 {exchange['response']['status']} X\r\nContent-Length: {len(data)}\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in fields(exchange).items())
    answer = head.encode("latin-1", "replace") + b"\r\n" + data
    dice = Random(exchange["id"])
    edges = sorted({0, len(answer), *(dice.randrange(len(answer)) for _ in range(3))})
    pieces = [send(answer[a:b]) for a, b in pairwise(edges)]
    wire = exchange["family"]
    body = exchange["request"].get("body")
    asked = body.get("n") if isinstance(body, dict) else None
    options: dict[str, Any] = {"n": asked} if type(asked) is int and asked > 1 else {}
    transport = SyncTransport()
    with WireServer((read(), *pieces)) as server:
        base: dict[str, Any] = {"base_url": server.url + "/v1" * (wire == "openai"), "max_retries": 0}
        if wire != "ollama":
            base["api_key"] = "sk-test-key"
        with WIRES[wire](model="-", transport=transport, **base) as client:
            try:
                if not exchange["stream"]:
                    return client.chat([{"role": "user", "content": "-"}], **options)
                with client.chat_stream([{"role": "user", "content": "-"}], **options) as stream:
                    return stream.until_done()
            except LLMError as error:
                return error
            finally:
                assert server.requests == 1
                transport.close_idle()


def by_replay(exchange: dict) -> ChatResponse | LLMError:
    response = exchange["response"]
    data = base64.b64decode(response["body_b64"])
    provider = "generic" if exchange["family"] == "openai" else exchange["family"]
    try:
        return decode(provider, response["status"], fields(exchange), [data], stream=exchange["stream"])
    except LLMError as error:
        return error


def facts(outcome: ChatResponse | LLMError) -> object:
    if isinstance(outcome, LLMError):
        partial = None if outcome.partial is None else facts(outcome.partial)
        seen = type(outcome), outcome.message, outcome.code, outcome.error_type, outcome.status_code
        return (*seen, outcome.request_id, outcome.body, partial)
    names = [name for name in ChatResponse.__slots__ if name not in ("attempts", "headers")]
    return {name: getattr(outcome, name) for name in names}


@pytest.mark.usefixtures("road")
@pytest.mark.parametrize("key", IDS)
def test_a_client_says_what_replay_says(key: str) -> None:
    if key not in exchanges():
        assert not _SET, f"no recordings in {FOLDER}"
        pytest.skip("the recordings are not here")
    exchange = exchanges()[key]
    assert facts(by_client(exchange)) == facts(by_replay(exchange))
