"""Recording and replaying: equal events from every replay however it is cut, true times, and never a credential."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import json
import time
from dataclasses import replace
from itertools import pairwise
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


def sent(
    body: bytes, *cuts: int, status: str = "200 OK", chunked: bool = True, media: str = "text/event-stream"
) -> bytes:
    """A reply, its body in chunks that are cut there."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: {media}\r\n"
    if not chunked:
        return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    edges = [0, *sorted({cut for cut in cuts if 0 < cut < len(body)}), len(body)]
    chunks = b"".join(b"%x\r\n%b\r\n" % (b - a, body[a:b]) for a, b in pairwise(edges))
    return f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + chunks + b"0\r\n\r\n"


def deltas(*texts: str) -> bytes:
    said = [{"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]} for text in texts]
    last = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    return b"".join(f"data: {json.dumps(each)}\n\n".encode() for each in [*said, last]) + b"data: [DONE]\n\n"


def recorded_reply(reply: bytes) -> tuple[bytes, Cassette]:
    recording = RecordingTransport(ScriptedTransport([reply]))
    with contextlib.suppress(LLMError):
        list(client(recording, max_retries=0).chat_stream(USER))
    [exchange] = recording.cassette.exchanges
    assert len(exchange.reply) == len(reply), "the length is that of the reply"
    return exchange.reply, recording.cassette


ESCAPED = "".join(f"\\u{ord(char):04x}" for char in KEY)
PERCENT = "".join(f"%{ord(char):02x}" for char in KEY)
ECHOES: dict[str, bytes] = {
    "across two chunks": sent(f"bad key {KEY}".encode(), 17),
    "a chunk for each byte": sent(KEY.encode(), *range(len(KEY))),
    "across two reads of an escape": sent(f'{{"error":"{ESCAPED}"}}'.encode(), 13),
    "across two deltas": sent(deltas(f"you sent {KEY[:9]}", f"{KEY[9:]}, didn't you")),
    "a delta for each character": sent(deltas(*KEY), 40, 41),
    "in deltas of escapes": sent(deltas("x", "y").replace(b'"x"', f'"{ESCAPED[:33]}"'.encode()).replace(b'"y"', f'"{ESCAPED[33:]}"'.encode())),
    "in escapes of JSON": sent(f'{{"error":"{ESCAPED}"}}'.encode(), chunked=False, status="401 No"),
    "with escaped slashes": sent(json.dumps(KEY).replace("/", "\\/").encode()),
    "in JSON in JSON": sent(json.dumps(json.dumps({"k": KEY}).replace("/", "\\/")).encode()),
    "percent-encoded": sent(PERCENT.encode()),
    "as the reason": sent(b"{}", status=f"401 {KEY}"),
    "as the reason, escaped": sent(b"{}", status=f"401 {ESCAPED}"),
    "in a header, escaped": sent(b"{}", status=f"401 No\r\nX-Request-Id: {PERCENT}"),
    "after an informational response": b"HTTP/1.1 103 Early\r\nLink: </>\r\n\r\n" + sent(f"bad key {KEY}".encode(), 17),
    "in base64 of a header": sent(base64.b64encode(f"Authorization: Bearer {KEY}".encode())),
    "cut": sent(f"bad key {KEY[:15]}...".encode()),
}  # fmt: skip


@pytest.mark.parametrize("how", ECHOES)
def test_no_reply_keeps_a_key_however_it_is_said(how: str) -> None:
    reply, cassette = recorded_reply(ECHOES[how])
    assert reply.count(b"*") >= 15
    shown = json.dumps(cassette.to_json(), ensure_ascii=False)
    assert_without(shown)
    assert_without(shown.replace("\\", "").replace("/", "").replace("u00", ""))
    for part in (KEY[:11], KEY[11:], KEY[6:17]):
        assert "".join(f"\\u{ord(char):04x}" for char in part).encode() not in reply
        assert "".join(f"%{ord(char):02x}" for char in part).encode() not in reply


@given(st.data())
def test_wherever_a_stream_is_cut_its_text_holds_no_key(data: st.DataObject) -> None:
    said = f"{data.draw(st.text(max_size=9))}{KEY}{data.draw(st.text(max_size=9))}"
    pieces = cut_at(said, sorted(data.draw(st.sets(st.integers(1, len(said) - 1), max_size=8))))
    body = deltas(*pieces)
    wire = sent(body, *data.draw(st.lists(st.integers(0, len(body)), max_size=8)))
    replayed = recorded_reply(wire)[1].transport()
    with client(replayed).chat_stream(USER) as stream:
        told = "".join(stream)
    assert len(told) == len(said)
    assert KEY not in told
    assert told.count("*") >= len(KEY)


SQUEEZED = gzip.compress(json.dumps({"error": {"message": f"bad key {KEY}"}}).encode())


@pytest.mark.parametrize("status", ["401 No", "200 OK"])
@pytest.mark.parametrize("cuts", [None, (1,), (10, 11, 40)], ids=["whole", "two chunks", "many"])
@pytest.mark.parametrize("field", ["Content-Encoding: gzip", "content-encoding:x-gzip", "CONTENT-ENCODING:\tbr, gzip"])
def test_a_coded_body_which_nobody_reads_is_not_kept(field: str, cuts: tuple[int, ...] | None, status: str) -> None:
    plain = sent(SQUEEZED, *(cuts or ()), chunked=cuts is not None, status=status, media="application/json")
    head, blank, rest = plain.partition(b"\r\n\r\n")
    kept, cassette = recorded_reply(head + b"\r\n" + field.encode() + blank + rest)
    body = kept.partition(b"\r\n\r\n")[2]
    assert body.count(b"*") == len(SQUEEZED)
    if cuts is None:
        assert body == b"*" * len(SQUEEZED)
    else:
        assert body.endswith(b"\r\n0\r\n\r\n"), "its framing stays"
    with pytest.raises(LLMError) as caught:
        events_of(cassette.transport(), max_retries=0)
    assert caught.value.status_code == int(status[:3])


def test_a_body_that_says_it_is_not_coded_is_kept() -> None:
    reply = sent(deltas("Hello"), 50).replace(b"\r\nTransfer", b"\r\nContent-Encoding: identity\r\nTransfer", 1)
    assert recorded_reply(reply)[0] == reply


def test_what_is_no_key_stays_as_it_was() -> None:
    reply = sent(deltas("Look at https://example.com/a%20b", "sk-can is no key", "***"), 50)
    assert recorded_reply(reply)[0] == reply


def test_secrets_that_are_in_no_header_can_be_named() -> None:
    recording = RecordingTransport(ScriptedTransport(FakeLLMServer()), secrets=["hunter2"])
    client(recording).chat([{"role": "user", "content": "the password is hunter2"}])
    assert "hunter2" not in json.dumps(recording.cassette.to_json())
    recording = RecordingTransport(
        ScriptedTransport([sent("das Geheimnis: Schlüssel€ß".encode())]), secrets=["Schlüssel€ß"]
    )
    with contextlib.suppress(LLMError):
        client(recording, max_retries=0).chat([{"role": "user", "content": "Schlüssel€ß"}])
    assert "Schl" not in json.dumps(recording.cassette.to_json())


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
