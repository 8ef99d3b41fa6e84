"""A cassette of the real server replays to equal events on blocking sockets, asyncio and trio, and holds no key."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from cloud.llm import AsyncOpenAICompatClient, OpenAICompatClient
from cloud.llm.demo import WEATHER
from cloud.llm.embedded import EmbeddedServer
from tests.real_model.conftest import KEYS
from transports.anyio_async import AsyncioTransport
from transports.httpcore_sync import SyncTransport
from transports.testing import AsyncRecordingTransport, Cassette, RecordingTransport
from transports.trio_async import TrioTransport

PLAIN = {"messages": [{"role": "user", "content": "Say hello."}], "temperature": 0, "max_tokens": 12}
TOOL = {
    "messages": [{"role": "user", "content": "What is the weather in Paris?"}],
    "temperature": 0,
    "max_tokens": 40,
    "tools": [WEATHER],
    "tool_choice": "required",
}
ASKED = {"plain": PLAIN, "tool": TOOL}


def without_times(response):
    return replace(response, attempts=(), request_id=None)


def arguments(base_url: str, transport, key: str) -> dict:
    return {
        "api_key": key,
        "base_url": base_url,
        "model": "local",
        "timeout": 300.0,
        "max_retries": 0,
        "transport": transport,
    }


def perform(base_url: str, transport, asked: dict, key: str = KEYS[7]):
    client = OpenAICompatClient(**arguments(base_url, transport, key))
    with client.chat_stream(**asked) as stream:
        return list(stream.events()), without_times(stream.response)


async def aperform(base_url: str, transport, asked: dict, key: str = KEYS[7]):
    client = AsyncOpenAICompatClient(**arguments(base_url, transport, key))
    async with client.chat_stream(**asked) as stream:
        return [event async for event in stream.events()], without_times(stream.response)


RECORDERS = {
    "blocking": lambda url, asked: _recorded(RecordingTransport(SyncTransport()), lambda on: perform(url, on, asked)),
    "asyncio": lambda url, asked: _recorded(
        AsyncRecordingTransport(AsyncioTransport()), lambda on: asyncio.run(aperform(url, on, asked))
    ),
    "trio": lambda url, asked: _recorded(
        AsyncRecordingTransport(TrioTransport()), lambda on: trio.run(aperform, url, on, asked)
    ),
}


def _recorded(recording, run):
    told = run(recording)
    return recording.cassette, told


@pytest.mark.parametrize("name", ASKED)
@pytest.mark.parametrize("recorder", RECORDERS)
def test_a_recording_replays_to_equal_events_everywhere(
    server: EmbeddedServer, recorder: str, name: str, tmp_path: Path
) -> None:
    asked = ASKED[name]
    cassette, told = RECORDERS[recorder](f"{server.origin}/v1", asked)
    events, response = told
    assert len(events) > 3
    assert response.content or response.tool_calls
    cassette.save(tmp_path / "c.json")
    text = (tmp_path / "c.json").read_text()
    assert KEYS[7] not in text
    assert "Bearer" not in text
    assert dict(json.loads(text)["entries"][0]["request"]["headers"])["authorization"] == "***"
    loaded = Cassette.load(tmp_path / "c.json")
    elsewhere = "https://recorded.test/v1"
    for seed in (None, 1, 2):
        on = loaded.async_transport
        assert perform(elsewhere, loaded.transport(rechunk=seed), asked, "k") == told
        assert asyncio.run(aperform(elsewhere, on(rechunk=seed), asked, "k")) == told
        assert trio.run(aperform, elsewhere, on(rechunk=seed), asked, "k") == told
