"""White space before a reply is a keep-alive, however much there is and wherever it is cut: nothing is lost or sent
twice. Routers send it while the model thinks, before whole replies and before streams.
"""

from __future__ import annotations

import json
from dataclasses import replace
from random import Random

import pytest

from sans_io.calls.exchange import Exchange
from sans_io.calls.replay import decode
from sans_io.chat.response import ChatResponse
from sans_io.errors import LLMError
from sans_io.limits import DEFAULT_LIMITS
from tests.callers import HELLO, MODES, Mode, chat, drain, settled
from tests.calls.test_exchange import failed, openai, reply
from tests.providers.openai.kit import body, chunk, sse, text
from tests.wire_server import Step, WireServer, read, send

MESSAGE = {"type": "message", "role": "assistant", "model": "m", "content": [{"type": "text", "text": "Hi"}]}
ANSWER = {"model": "m", "created_at": "t", "message": {"role": "assistant", "content": "Hi"}, "done": True}


def events(*values: dict) -> bytes:
    return b"".join(f"event: {value['type']}\ndata: {json.dumps(value)}\n\n".encode() for value in values)


#: (wire, streamed) -> a reply that says "Hi".
REPLIES = {
    ("openai", False): json.dumps(body()).encode(),
    ("openai", True): sse(text("Hi"), chunk({}, "stop")),
    ("anthropic", False): json.dumps({**MESSAGE, "stop_reason": "end_turn"}).encode(),
    ("anthropic", True): events(
        {"type": "message_start", "message": {**MESSAGE, "content": []}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "Hi"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}},
        {"type": "message_stop"},
    ),
    ("ollama", False): json.dumps(ANSWER).encode(),
    ("ollama", True): json.dumps(ANSWER).encode() + b"\n",
}
TYPES = {False: "application/json", True: "text/event-stream"}
BLANKS = {
    "one line": b"\n",
    "63 blanks": b" " * 63,
    "64 blanks": b" " * 64,
    "OpenRouter's": b"\n         " * 40,
    "CRLF": b"\r\n" * 600,
    "4095": b" " * 4095,
    "tabs": b"\t \n" * 3000,
    "a BOM": b"\xef\xbb\xbf\n",
    "a BOM behind": b"\n" * 100 + b"\xef\xbb\xbf",
    "a megabyte": b"     \n" * 180_000,
}
EACH = pytest.mark.parametrize(("wire", "stream"), REPLIES)


def outcome(wire: str, chunks: list[bytes], *, stream: bool, media: str | None) -> ChatResponse:
    headers = {} if media is None else {"content-type": media}
    return decode(wire, 200, headers, chunks, stream=stream)


def cut(data: bytes, dice: Random) -> list[bytes]:
    edges = sorted(dice.sample(range(len(data)), min(len(data), 9)))
    return [data[a:b] for a, b in zip([0, *edges], [*edges, len(data)], strict=True)]


@EACH
@pytest.mark.parametrize("blank", BLANKS)
@pytest.mark.parametrize("typed", [True, False])
def test_any_amount_cut_anywhere(wire: str, stream: bool, blank: str, typed: bool) -> None:
    media = TYPES[stream] if typed else None
    bare = REPLIES[wire, stream]
    expected = outcome(wire, [bare], stream=stream, media=media)
    assert expected.content == "Hi"
    data = BLANKS[blank] + bare
    dice = Random(blank)
    ways = [[data], [BLANKS[blank], bare], *(cut(data, dice) for _ in range(5))]
    if len(data) < 10_000:
        ways.append([data[i : i + 1] for i in range(len(data))])
    for chunks in ways:
        assert outcome(wire, chunks, stream=stream, media=media) == expected


@pytest.mark.parametrize("mode", MODES, ids=str)
@EACH
def test_a_client_asks_once(mode: Mode, wire: str, stream: bool) -> None:
    """A first read of blanks alone, and one in which the reply begins behind them."""
    for blank in (b" " * 64, b"\n          " * 30):
        data = blank + REPLIES[wire, stream]
        head = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n"
        head %= TYPES[stream].encode(), len(data)
        script: tuple[Step, ...] = (read(), send(head + data[:50]), send(data[50:]))
        with WireServer(script) as server:
            base = server.url + ("/v1" if wire == "openai" else "")

            async def main(base: str = base) -> str:
                client = mode.client(base, wire)
                if stream:
                    return "".join(await drain(await settled(client.chat_stream(HELLO))))
                return (await chat(client)).content

            answers = mode.run(main)
            assert answers == ["Hi"] * len(answers)
            assert server.requests == len(answers), "nothing was asked twice"


@pytest.mark.parametrize("stream", [False, True])
def test_each_read_of_it_is_a_keepalive(stream: bool) -> None:
    made = reply(TYPES[stream], stream=stream)
    for count in range(1, 6):
        assert made.receive_body(b"\n   ") == []
        assert (made.keepalives, made.content_events, made.done) == (count, 0, False)
    assert made.response() is None, "nobody knows yet what this is"
    made.receive_body(REPLIES["openai", stream])
    made.end_body()
    assert (made.keepalives >= 5, made.error) == (True, None)


@pytest.mark.parametrize(("stream", "name"), [(False, "max_json"), (True, "max_stream")])
def test_it_is_capped_as_the_reply_is(stream: bool, name: str) -> None:
    limits = replace(DEFAULT_LIMITS, **{name: 1000})
    made = reply(TYPES[stream], stream=stream, limits=limits)
    made.receive_body(b" " * 999)
    made.receive_body(b"\n")
    assert not made.done
    made.receive_body(b"\n")
    assert (failed(made).code, made.condition) == ("too_large", "oversize")
    assert name in failed(made).message


def test_it_is_not_kept() -> None:
    made = Exchange(openai(), DEFAULT_LIMITS)
    made.begin(reply().head, "text/event-stream")  # type: ignore[arg-type]
    for _ in range(1000):
        made.receive_body(b" " * 65536)
    assert made._kept == b""


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("start", [b"<html>", b"<!doctype html><p>Sorry"])
def test_a_page_behind_it_is_a_page(stream: bool, start: bytes) -> None:
    made = reply(TYPES[stream], stream=stream)
    made.receive_body(b"\n" * 5000)
    made.receive_body(start)
    made.end_body()
    assert (failed(made).code, made.condition) == ("wrong_content_type", "wrong_type")


def test_an_error_behind_it_is_the_servers_error() -> None:
    made = reply()
    made.receive_body(b"\n" * 100 + b'{"error": {"message": "model is busy", "type": "overloaded_error"}}')
    made.end_body()
    assert "model is busy" in failed(made).message


@EACH
@pytest.mark.parametrize("blank", [b" ", b"\n" * 100, b"\xef", b"\xef\xbb", b" " * 10_000])
def test_it_alone_is_no_reply(wire: str, stream: bool, blank: bytes) -> None:
    with pytest.raises(LLMError) as raised:
        outcome(wire, [blank], stream=stream, media=TYPES[stream])
    assert raised.value.code in ("empty_body", "truncated", "not_json")
