"""Every cap: one below it and exactly it are accepted, one above it is a typed error, on every transport.

The caps are set to small values through the one `Limits` object that a client takes, so that each is reached alone and
the same table shows that each can be set. Then the bombs, under the caps as they ship where that is bearable, with the
peak of memory measured while a server sends without end.
"""

from __future__ import annotations

import dataclasses
import gzip
import json
import ssl
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from cloud.llm import Limits, LLMConnectionError, LLMError, LLMProtocolError, LLMServerError
from tests import wire_server as w
from tests.callers import HELLO, MODES, SYNC, Mode, chat, drain, settled

MIB = 1024 * 1024
CA = trustme.CA()
CALL = b'"id":"c1","object":"chat.completion","model":"m"'
CHOICES = b'"choices":[{"index":0,"message":{"role":"assistant","content":"fine"},"finish_reason":"stop"}]'


def whole(extra: bytes) -> bytes:
    return w.reply(content=b"{%s,%s%s}" % (CALL, CHOICES, extra))


def head(n: int) -> bytes:
    """A reply whose head is n bytes long with its blank line."""
    body = w.body()
    lines = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\nX-Pad: "
    return (lines + "p" * (n - len(lines) - 4)).encode() + b"\r\n\r\n" + body


def headers(n: int) -> bytes:
    return w.reply("fine", *[f"X-{number}: v" for number in range(n - 2)])


def chunk_line(n: int) -> bytes:
    body = w.body()
    size = b"%x;pad=" % len(body)
    return w.head("200 OK", "Transfer-Encoding: chunked") + size.ljust(n, b"p") + b"\r\n" + body + b"\r\n0\r\n\r\n"


def json_bytes(n: int) -> bytes:
    start = b'{%s,%s,"pad":"' % (CALL, CHOICES)
    return w.reply(content=start.ljust(n - 2, b"p") + b'"}')


def event(n: int) -> bytes:
    start = b'{"id":"c1","object":"chat.completion.chunk","model":"m","choices":[{"index":0,"delta":{"content":"'
    end = b'"},"finish_reason":null}]}'
    return start.ljust(n - len(end), b"p") + end


def stream_of(*parts: bytes) -> bytes:
    return w.STREAM_HEAD + b"".join(map(w.chunk, parts)) + w.FINISH + w.DONE + w.LAST


def stream_bytes(n: int) -> bytes:
    rest = sum(len(part) for part in (w.event(finish="stop"), b"data: [DONE]\n\n"))
    return stream_of((b":").ljust(n - rest - 2, b"c") + b"\n\n") if n > rest + 4 else b""


def tool_calls(*deltas: dict[str, Any]) -> bytes:
    return stream_of(
        *(
            b"data: %s\n\n"
            % json.dumps({"id": "c", "choices": [{"index": 0, "delta": {"tool_calls": [delta]}}]}).encode()
            for delta in deltas
        )
    )


def called(index: int, arguments: str, id_: str | None = "a", name: str | None = "f") -> dict[str, Any]:
    return {"index": index, "id": id_, "type": "function", "function": {"name": name, "arguments": arguments}}


def ndjson_line(n: int) -> bytes:
    line = b'{"model":"m","message":{"role":"assistant","content":"'
    end = b'"},"done":false}'
    lines = (
        line.ljust(n - len(end), b"p")
        + end
        + b"\n"
        + b'{"model":"m","message":{"content":""},"done":true,"done_reason":"stop"}\n'
    )
    return w.head("200 OK", f"Content-Length: {len(lines)}", type_="application/x-ndjson") + lines


@dataclasses.dataclass(frozen=True)
class Cap:
    limit: int
    reply: Callable[[int], bytes]
    code: str
    stream: bool = False
    wire: str = "openai"


CAPS: dict[str, Cap] = {
    "max_head": Cap(512, head, "head_too_large"),
    "max_headers": Cap(12, headers, "too_many_headers"),
    "max_informational": Cap(3, lambda n: b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * n + w.reply(), "too_many_informational"),
    "max_chunk_line": Cap(64, chunk_line, "chunk_line_too_long"),
    "max_json": Cap(1000, json_bytes, "too_large"),
    "max_sse_line": Cap(400, lambda n: stream_of(b"data: " + event(n - 6) + b"\n\n"), "sse_line_too_long", stream=True),
    "max_sse_event": Cap(400, lambda n: stream_of(b"data: " + event(n) + b"\n\n"), "sse_event_too_large", stream=True),
    "max_stream": Cap(2000, stream_bytes, "too_large", stream=True),
    "max_ndjson_line": Cap(400, ndjson_line, "ndjson_line_too_long", stream=True, wire="ollama"),
    "max_json_depth": Cap(10, lambda n: whole(b',"x":' + b"[" * (n - 1) + b"]" * (n - 1) + b',"y":[' + b"{}," * 200 + b"0]"), "bad_json"),
    "max_json_containers": Cap(50, lambda n: whole(b',"x":[' + b"[]," * (n - 5) + b"0]"), "bad_json"),
    "max_json_digits": Cap(40, lambda n: whole(b',"x":' + b"7" * n), "bad_json"),
    "max_tool_index": Cap(3, lambda n: tool_calls(called(n, "{}")), "too_many_tool_calls", stream=True),
    "max_tool_arguments": Cap(
        100,
        lambda n: tool_calls(called(0, '{"a":"'), called(0, "p" * (n - 8) + '"}', None, None)),
        "tool_arguments_too_large",
        stream=True,
    ),
}  # fmt: skip
#: These two are shown below: one is no refusal, the other is a proxy's.
ELSEWHERE = {"max_error_body", "max_tunnel_head"}


def test_every_cap_has_its_row_and_none_is_unlimited() -> None:
    assert set(CAPS) | ELSEWHERE == {field.name for field in dataclasses.fields(Limits)}
    assert all(0 < getattr(Limits(), field.name) <= 256 * MIB for field in dataclasses.fields(Limits))


async def ask(client: Any, stream: bool) -> Any:
    if not stream:
        return await chat(client)
    opened = client.chat_stream(HELLO)
    await drain(opened)
    return opened.response


@pytest.mark.parametrize("over", [-1, 0, 1], ids=["L-1", "L", "L+1"])
@pytest.mark.parametrize("name", CAPS)
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_cap(mode: Mode, name: str, over: int) -> None:
    cap = CAPS[name]
    with w.WireServer(w.forever(w.read(), w.send(cap.reply(cap.limit + over)))) as server:
        url = server.url if cap.wire == "ollama" else server.url + "/v1"
        client = mode.client(url, cap.wire, limits=Limits(**{name: cap.limit}), max_retries=0)
        generous = client.with_options(limits=Limits())

        async def main() -> None:
            if over > 0:
                with pytest.raises(LLMProtocolError) as caught:
                    await ask(client, cap.stream)
                assert caught.value.code == cap.code, repr(caught.value)
                await ask(generous, cap.stream)
            else:
                assert (await ask(client, cap.stream)).finish_reason in ("stop", "tool_calls")

        mode.run(main)


@pytest.mark.parametrize("over", [-1, 0, 1], ids=["L-1", "L", "L+1"])
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_of_an_error_body_the_beginning_is_kept(mode: Mode, over: int) -> None:
    limit = 200
    with w.WireServer((w.read(), w.send(w.reply(content=b"x" * (limit + over), status="500 Oops")))) as server:
        client = mode.client(server.url + "/v1", limits=Limits(max_error_body=limit), max_retries=0)

        async def main() -> None:
            with pytest.raises(LLMServerError) as caught:
                await chat(client)
            assert caught.value.body == "x" * min(limit, limit + over)
            assert ("dropped" in caught.value.message) == (over > 0)

        if mode.name != "threads":
            mode.run(main)


@pytest.mark.parametrize("over", [-1, 0, 1], ids=["L-1", "L", "L+1"])
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_the_head_of_a_proxys_answer(mode: Mode, over: int, tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    CA.issue_cert("api.example").configure_cert(context)
    CA.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    limit = 300
    start = b"HTTP/1.1 200 Connection established\r\nVia: "
    answer = start.ljust(limit + over - 4, b"p") + b"\r\n\r\n"
    with w.WireServer((w.read(), w.send(answer), w.tls(context), *w.forever(w.read(), w.answer()))) as proxy:
        client = mode.client(
            "https://api.example/v1",
            limits=Limits(max_tunnel_head=limit),
            proxy=proxy.url,
            ca_file=tmp_path / "ca.pem",
            max_retries=0,
        )

        async def main() -> None:
            if over > 0:
                with pytest.raises(LLMConnectionError, match="larger than 300 bytes"):
                    await chat(client)
            else:
                assert (await chat(client)).content == "fine"

        mode.run(main)


# -- bombs ------------------------------------------------------------------------------------------------------------


def endless(first: bytes, piece: bytes) -> w.Script:
    """`first`, then `piece` until the client has had enough."""
    block = piece * max(1, 65536 // len(piece))

    def flood(peer: w.Peer) -> None:
        while True:
            peer.send(block)

    return (w.read(), w.send(first), flood)


CHUNKED = w.head("200 OK", "Transfer-Encoding: chunked")
#: A body delimited by the end of the connection: the server may go on for ever.
OPEN = w.head()
OPEN_STREAM = w.head(type_="text/event-stream")
DEFAULT = Limits()
#: Smaller where the shipped cap would take long to reach under tracemalloc.
SMALLER = Limits(max_stream=MIB // 4, max_json=MIB // 4)


@dataclasses.dataclass(frozen=True)
class Bomb:
    script: w.Script
    codes: set[str | None]
    stream: bool = False
    limits: Limits = DEFAULT
    wire: str = "openai"
    #: Peak memory allowed, in MiB: 12 times what a cap allows to be kept, and 8 for everything else.
    peak: float = 8
    error: type[LLMError] = LLMProtocolError


def body_of(content: bytes, *fields: str) -> w.Script:
    return (w.read(), w.send(w.reply("", *fields, content=content)))


BOMBS: dict[str, Bomb] = {
    "a head without end": Bomb(endless(b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n"), {"head_too_large", "too_many_headers"}),
    "a field without end": Bomb(endless(b"HTTP/1.1 200 OK\r\nX-A: ", b"b"), {"head_too_large"}),
    "a status line without end": Bomb(endless(b"HTTP/1.1 200 ", b"O"), {"head_too_large"}),
    "informational responses without end": Bomb(endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), {"too_many_informational"}),
    "a chunk size without end": Bomb(endless(CHUNKED, b"0"), {"chunk_line_too_long", "bad_chunk"}),
    "a chunk extension without end": Bomb(endless(CHUNKED + b"5;", b"e"), {"chunk_line_too_long"}),
    "trailers without end": Bomb(endless(CHUNKED + b"0\r\n", b"X-T: v\r\n"), {"head_too_large", "too_many_headers", "bad_chunk"}),
    "one-byte chunks without end": Bomb(endless(CHUNKED, b"1\r\n \r\n"), {"too_large"}, limits=SMALLER, peak=16),
    "JSON without end": Bomb(endless(OPEN, b"[1,"), {"too_large"}, peak=16 * 2 + 8),
    "white space without end": Bomb(endless(OPEN, b" "), {"too_large"}, limits=SMALLER, peak=16),
    "an event line without end": Bomb(endless(OPEN_STREAM + b"data: ", b"x"), {"sse_line_too_long"}, stream=True, peak=16 + 8),
    "data lines without end": Bomb(endless(OPEN_STREAM, b"data: xxxxxxxxxxxxxxxx\n"), {"sse_event_too_large"}, stream=True, limits=Limits(max_sse_event=MIB), peak=12),
    "comments without end": Bomb(endless(OPEN_STREAM, b": ping\n\n"), {"too_large"}, stream=True, limits=SMALLER),
    "empty lines without end": Bomb(endless(OPEN_STREAM, b"\n"), {"too_large"}, stream=True, limits=SMALLER),
    "an NDJSON line without end": Bomb(
        endless(w.head(type_="application/x-ndjson"), b"x"), {"ndjson_line_too_long"}, stream=True, wire="ollama", peak=8 * 3 + 8
    ),
    "tool arguments without end": Bomb(
        endless(OPEN_STREAM + b'data: {"choices":[{"index":0,"delta":{"tool_calls":[%s]}}]}\n\n' % json.dumps(called(0, "")).encode(),
                b'data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"%s"}}]}}]}\n\n' % (b"x" * 4000)),
        {"tool_arguments_too_large"}, stream=True, limits=Limits(max_tool_arguments=MIB), peak=12 + 8,
    ),
    "tool calls without end": Bomb(
        (w.read(), w.send(tool_calls(*(called(0, "{}", f"id{number}") for number in range(300))))), {"too_many_tool_calls"}, stream=True
    ),
    "a million levels": Bomb(body_of(b"[" * MIB), {"bad_json"}, peak=12 + 8),
    "a million levels, closed": Bomb(body_of(b'{"choices":' + b"[" * MIB + b"]" * MIB + b"}"), {"bad_json"}, peak=24 + 8),
    "levels of objects": Bomb(body_of(b'{"a":' * MIB), {"bad_json"}, peak=60 + 8),
    "a million digits": Bomb(body_of(b'{"choices":' + b"9" * MIB + b"}"), {"bad_json"}, peak=12 + 8),
    "five thousand digits": Bomb(body_of(b'{"choices":[],"x":' + b"9" * 5000 + b"}"), {"bad_json"}),
    "digits in an event": Bomb((w.read(), w.send(stream_of(b'data: {"x":' + b"9" * 5000 + b"}\n\n"))), {"bad_json"}, stream=True),
    "levels in an event": Bomb((w.read(), w.send(stream_of(b'data: {"x":' + b"[" * 200_000 + b"\n\n"))), {"bad_json"}, stream=True),
    "containers": Bomb(body_of(b'{"choices":[' + b"[]," * 600_000 + b"[]]}"), {"bad_json"}, peak=24 + 8),
    "an exponent": Bomb(body_of(b'{"choices":[],"x":1e999999999}'), {"bad_json"}),
    "not a number": Bomb(body_of(b'{"choices":[],"x":NaN}'), {"bad_json"}),
    "bytes that are no UTF-8": Bomb(body_of(b'{"choices":"\xff\xfe"}'), {"bad_json"}),
}  # fmt: skip
ZEROS = gzip.compress(bytes(200 * MIB // 50))
for _coding, _content in {"gzip": ZEROS, "GZIP": ZEROS, "x-gzip": ZEROS, "deflate": zlib.compress(bytes(MIB)), "br": b"\x0b\x02\x80",
                          "zstd": b"(\xb5/\xfd", "identity, gzip": ZEROS, "unheard-of": b"{}"}.items():  # fmt: skip
    BOMBS[f"coded {_coding}"] = Bomb(body_of(_content, f"Content-Encoding: {_coding}"), {"coded_reply"}, peak=2)
BOMBS["a coded error"] = Bomb(
    (w.read(), w.send(w.reply("", "Content-Encoding: gzip", status="500 No", content=ZEROS))), {None}, peak=2,
    error=LLMServerError,
)  # fmt: skip
_REFUSED = {
    "letters": b"x" * (20 * MIB),
    "containers": b'{"error":[' + b"[]," * 340_000 + b"[]]}",
    "levels": b'{"error":' + b"[" * 500_000,
    "digits": b'{"error":' + b"9" * (MIB - 20) + b"}",
    "a message": b'{"error":{"message":"' + b"\\u0041" * 170_000 + b'"}}',
    "strings in strings": b'{"error":"' + b'{\\"error\\":\\"' * 80_000 + b'"}',
    "blanks": b" " * (20 * MIB),
}
for _what, _content in _REFUSED.items():
    BOMBS[f"an error of {_what}"] = Bomb(
        (w.read(), w.send(w.reply(status="500 No", content=_content))), {None}, peak=12 + 8, error=LLMServerError
    )
BOMBS["a coded stream"] = Bomb(
    (w.read(), w.send(w.head("200 OK", "Transfer-Encoding: chunked", "Content-Encoding: gzip", type_="text/event-stream") + w.chunk(ZEROS))),
    {"coded_reply"}, stream=True, peak=2,
)  # fmt: skip


async def bang(client: Any, bomb: Bomb) -> None:
    with pytest.raises(LLMError) as caught:
        await ask(client, bomb.stream)
    assert isinstance(caught.value, bomb.error), repr(caught.value)
    assert caught.value.code in bomb.codes, repr(caught.value)
    assert caught.value.__cause__ is None or isinstance(caught.value.__cause__, LLMError)


def client_for(mode: Mode, server: w.WireServer, bomb: Bomb) -> Any:
    url = server.url if bomb.wire == "ollama" else server.url + "/v1"
    return mode.client(url, bomb.wire, limits=bomb.limits, max_retries=0, timeout=60.0)


@pytest.mark.parametrize("what", BOMBS)
@pytest.mark.parametrize("mode", [mode for mode in MODES if mode.name != "threads"], ids=str)
def test_a_bomb_ends_in_a_typed_error(mode: Mode, what: str) -> None:
    bomb = BOMBS[what]
    with w.WireServer(bomb.script) as server:
        client = client_for(mode, server, bomb)

        async def main() -> None:
            await bang(client, bomb)

        mode.run(main)
        if bomb.script[-1].__name__ == "flood":
            assert server.closed_by_client(), "the connection was left to the flood"


@pytest.mark.serial
@pytest.mark.parametrize("what", BOMBS)
def test_the_peak_of_memory_is_bounded(what: str) -> None:
    bomb = BOMBS[what]
    with w.WireServer(bomb.script) as server:
        client = client_for(SYNC, server, bomb)
        with pytest.raises(LLMError):
            client.with_options(base_url="http://127.0.0.1:9/v1").chat(
                HELLO
            )  # imports and first use are not the bomb's

        async def main() -> None:
            await bang(client, bomb)

        tracemalloc.start(1)
        try:
            SYNC.run(main)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak <= bomb.peak * MIB, f"{peak / MIB:.1f} MiB"


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_the_same_limits_serve_every_client(mode: Mode) -> None:
    """One object for all wires; a copy made by with_options keeps it."""
    limits = Limits(max_json=64)
    with w.WireServer(w.forever(w.read(), w.send(w.reply("x" * 500)))) as server:
        for wire in ("openai", "anthropic", "ollama"):
            client = mode.client(server.url, wire, limits=limits, max_retries=0).with_options(timeout=5.0)

            async def main(client: Any = client) -> None:
                for call in (lambda: client.chat(HELLO), client.list_models):
                    with pytest.raises(LLMProtocolError, match="max_json"):
                        await settled(call())

            mode.run(main)
