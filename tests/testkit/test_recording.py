"""Recording and replaying: equal events from every replay however it is cut, true times, and never a credential."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.llm import AsyncOpenAICompatClient, LLMConnectionError, LLMError, OllamaClient, OpenAICompatClient
from transports.anyio_async import AsyncioTransport
from transports.faults import Fault
from transports.httpcore_sync import SyncTransport
from transports.testing import (
    AsyncRecordingTransport,
    AsyncScriptedTransport,
    Cassette,
    CassetteError,
    FakeLLMServer,
    LoopbackServer,
    RecordingTransport,
    ScriptedReply,
    ScriptedTransport,
    ToolUse,
)  # fmt: skip
from transports.testing.strategies import chunkings, cut_at, faults, messages, replies, tools
from transports.trio_async import TrioTransport

KEY = "sk-canary+7fK2/qLmZ8=="
USER = [{"role": "user", "content": "Hello!"}]
SAID = ScriptedReply(
    text=["Grü", "ße, ", "Welt"], tool_calls=[ToolUse("look", {"city": "Köln"})], first_delay=0.5, delay=0.25
)


def client(transport, **options):
    return OpenAICompatClient(
        api_key=KEY, base_url="https://recorded.test/v1", model="m", transport=transport, **options
    )


def events_of(transport, **options):
    with client(transport, **options).chat_stream(USER) as stream:
        return list(stream.events()), without_times(stream.response)


def without_times(response):
    return replace(response, attempts=tuple((attempt.number, attempt.outcome) for attempt in response.attempts))


def recorded(*said: ScriptedReply, **server) -> tuple[Cassette, list]:
    scripted = FakeLLMServer(**server)
    scripted.script(*said)
    recording = RecordingTransport(ScriptedTransport(scripted))
    return recording, [events_of(recording) for _ in said]


def spellings(secret: str) -> list[str]:
    return [secret, quote(secret, safe=""), base64.b64encode(secret.encode()).decode()]


def assert_without(text: str, secret: str = KEY) -> None:
    for spelling in spellings(secret):
        assert spelling not in text
        assert spelling[: max(8, len(spelling) // 2)] not in text


async def async_events_of(transport):
    asked = AsyncOpenAICompatClient(
        api_key="another", base_url="https://recorded.test/v1", model="m", transport=transport
    )
    async with asked.chat_stream(USER) as stream:
        return [event async for event in stream.events()], without_times(stream.response)


@settings(max_examples=50)
@given(seed=st.integers(0, 10**6))
def test_every_cut_of_a_cassette_replays_to_equal_events(seed: int) -> None:
    recording, [told] = recorded(SAID)
    replayed = recording.cassette.transport(rechunk=seed)
    assert events_of(replayed) == told
    assert replayed.unused == 0


@settings(max_examples=100)
@given(reply=replies())
def test_whatever_a_server_does_replays_alike(reply: ScriptedReply) -> None:
    server = FakeLLMServer()
    server.script(reply)
    recording = RecordingTransport(ScriptedTransport(server))
    told = outcome(recording)
    replayed = Cassette.from_json(json.loads(json.dumps(recording.cassette.to_json()))).transport("recorded")
    assert outcome(replayed) == told


def outcome(transport):
    try:
        return events_of(transport, max_retries=0)
    except LLMError as error:
        return type(error), error.code, error.partial and without_times(error.partial)


def test_a_replay_runs_on_every_loop_and_with_any_key(tmp_path: Path) -> None:
    recording, [told] = recorded(SAID)
    recording.cassette.save(tmp_path / "deep" / "er" / "hello.json")
    cassette = Cassette.load(tmp_path / "deep" / "er" / "hello.json")
    assert asyncio.run(async_events_of(cassette.async_transport(rechunk=3))) == told
    assert trio.run(async_events_of, cassette.async_transport(rechunk=4)) == told


def test_times_are_those_of_the_recording() -> None:
    recording, [told] = recorded(SAID)
    zero, kept = recording.cassette.transport(), recording.cassette.transport("recorded")
    began, spent = kept.now(), zero.now()
    assert events_of(zero) == events_of(kept) == told
    assert zero.now() == spent
    assert kept.now() - began == pytest.approx(sum(delay for delay, _ in recording.cassette.exchanges[0].reads))
    assert kept.now() - began > 1.0


@pytest.mark.serial
def test_real_speed_takes_its_time_and_lets_other_tasks_go_on() -> None:
    recording, [told] = recorded(ScriptedReply(text=["a", "b", "c"], first_delay=0.2, delay=0.1))
    began = time.monotonic()
    assert events_of(recording.cassette.transport("real")) == told
    assert 0.3 < time.monotonic() - began < 3.0

    async def both():
        ticks = 0

        async def tick():
            nonlocal ticks
            while True:
                await asyncio.sleep(0.02)
                ticks += 1

        ticking = asyncio.create_task(tick())
        found = await async_events_of(recording.cassette.async_transport("real"))
        ticking.cancel()
        return found, ticks

    found, ticks = asyncio.run(both())
    assert found == told
    assert ticks > 4


def test_two_conversations_on_one_connection_are_two_exchanges() -> None:
    recording, told = recorded(SAID, ScriptedReply(text="again"))
    first, second = recording.cassette.exchanges
    assert (first.connection, second.connection) == (0, 0)
    replayed = recording.cassette.transport()
    assert [events_of(replayed), events_of(replayed)] == told
    assert replayed.pool_stats().dialled == 1


@pytest.mark.parametrize("mode", ["sync", "asyncio", "trio"])
def test_real_sockets_are_recorded_without_the_key(mode: str) -> None:
    echoing = ScriptedReply(
        text=[f"you sent {KEY[:9]}", f"{KEY[9:]}, didn't you"], headers=[("set-cookie", "session=abcdef; Path=/")]
    )
    with LoopbackServer() as server:
        server.script(echoing)
        if mode == "sync":
            recording = RecordingTransport(SyncTransport())
            with OpenAICompatClient(
                api_key=KEY, base_url=server.base_url("openai"), model="m", transport=recording
            ).chat_stream(USER) as stream:
                told = list(stream.events())
        else:

            async def ask(transport):
                asked = AsyncOpenAICompatClient(
                    api_key=KEY, base_url=server.base_url("openai"), model="m", transport=transport
                )
                async with asked.chat_stream(USER) as stream:
                    return [event async for event in stream.events()]

            recording = AsyncRecordingTransport(AsyncioTransport() if mode == "asyncio" else TrioTransport())
            told = asyncio.run(ask(recording)) if mode == "asyncio" else trio.run(ask, recording)
    text = json.dumps(recording.cassette.to_json(), ensure_ascii=False)
    assert_without(text)
    assert "abcdef" not in text
    assert "Bearer" not in text
    again, _ = events_of(recording.cassette.transport())
    assert len(again) == len(told)


@pytest.mark.parametrize("where", ["x-api-key", "api-key", "x-tenant-token", "Cookie"])
def test_a_key_is_hidden_wherever_a_client_puts_it(where: str) -> None:
    recording = RecordingTransport(ScriptedTransport(FakeLLMServer()))
    quoting = [{"role": "user", "content": f"my key is {KEY}, or {quote(KEY, safe='')}"}]
    client(recording, headers={where: KEY}).chat(quoting)
    OllamaClient(host="https://recorded.test", model="llama3.2", headers={where: KEY}, transport=recording).chat(
        quoting
    )
    assert_without(json.dumps(recording.cassette.to_json(), ensure_ascii=False))


def test_secrets_that_are_in_no_header_can_be_named() -> None:
    recording = RecordingTransport(ScriptedTransport(FakeLLMServer()), secrets=["hunter2"])
    client(recording).chat([{"role": "user", "content": "the password is hunter2"}])
    assert "hunter2" not in json.dumps(recording.cassette.to_json())


def test_failed_dials_and_resets_replay_as_they_were() -> None:
    server = FakeLLMServer()
    script = [Fault("refused", "nobody"), Fault("reset")]
    recording = RecordingTransport(ScriptedTransport([*script, *script]))
    for _ in range(2):
        with pytest.raises(LLMConnectionError):
            client(recording, max_retries=1).chat(USER)
    replayed = recording.cassette.transport()
    for _ in range(2):
        with pytest.raises(LLMConnectionError):
            client(replayed, max_retries=1).chat(USER)
    assert replayed.unused == 0
    assert server.unused == 0


def test_an_unknown_request_is_told_by_what_differs() -> None:
    recording, _ = recorded(SAID)
    with pytest.raises(CassetteError, match="the body differs from the one recorded in messages"):
        list(client(recording.cassette.transport()).chat_stream([{"role": "user", "content": "Good-bye"}]))
    with pytest.raises(CassetteError, match=r"no answer to GET /v1/models; the next one recorded is POST"):
        client(recording.cassette.transport()).list_models()
    used = recording.cassette.transport()
    events_of(used)
    with pytest.raises(CassetteError, match="played to its end"):
        events_of(used)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "not a cassette"),
        ("{", "Expecting"),
        ('{"format": "cloud-llm cassette", "version": 2}', "version 2"),
        ('{"format": "cloud-llm cassette", "version": 1, "entries": [], "more": 1}', "unknown field 'more'"),
        ('{"format": "cloud-llm cassette", "version": 1, "entries": [{"dial": "bored"}]}', "unknown fault"),
        ('{"format": "cloud-llm cassette", "version": 1, "entries": [{"connection": 0}]}', "broken: KeyError"),
    ],
)
def test_what_is_no_cassette_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(CassetteError, match=said):
        Cassette.load(tmp_path / "c.json")


@given(st.data())
def test_chunkings_cut_without_loss(data: st.DataObject) -> None:
    text = data.draw(st.binary(min_size=1, max_size=100))
    pieces = cut_at(text, data.draw(chunkings(len(text))))
    assert b"".join(pieces) == text
    assert all(pieces)


@settings(max_examples=60)
@given(said=messages(), offered=tools(), fault=faults())
def test_drawn_conversations_are_accepted_by_clients_and_servers(said, offered, fault) -> None:
    transport = ScriptedTransport(FakeLLMServer())
    response = client(transport).chat(said, tools=offered or None)
    assert response.content or response.tool_calls or said
    assert len(transport.requests) == 1
    broken = ScriptedTransport([fault])
    with pytest.raises(LLMError):
        client(broken, max_retries=0).chat(said)


def test_scripted_transports_are_recorded_too() -> None:
    server = FakeLLMServer()
    server.script(SAID)
    recording = AsyncRecordingTransport(AsyncScriptedTransport(server))
    told = asyncio.run(async_events_of(recording))
    assert asyncio.run(async_events_of(recording.cassette.async_transport())) == told
