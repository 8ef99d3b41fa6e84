"""HTTP on the server's side: chunking never matters, and everything well-formed is what h11 reads back."""

from __future__ import annotations

import itertools
import json

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transports.testing.servers.connection import Piece, ServerConnection
from transports.testing.servers.in_memory import FakeLLMServer
from transports.testing.servers.script import ReceivedRequest, ScriptedReply

BODY = json.dumps({"model": "m", "messages": [{"role": "user", "content": "Hello there!"}]}).encode()
STREAM = json.dumps({"model": "m", "messages": [{"role": "user", "content": "Hi"}], "stream": True}).encode()


def request(
    body: bytes = BODY, *extra: bytes, target: bytes = b"/v1/chat/completions", method: bytes = b"POST"
) -> bytes:
    lines = [method + b" " + target + b" HTTP/1.1", b"host: x", b"content-length: %d" % len(body), *extra, b"", b""]
    return b"\r\n".join(lines) + body


def joined(pieces: list[Piece]) -> bytes:
    return b"".join(piece.data for piece in pieces)


def h11_reads(data: bytes, *, method: str = "POST", ended: bool = False) -> tuple[h11.Response, bytes, bytes]:
    """The response, its body and what follows it."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target="/", headers=[("host", "x"), ("content-length", "0")]))
    client.send(h11.EndOfMessage())
    client.receive_data(data)
    if ended:
        client.receive_data(b"")
    response, body = None, b""
    while True:
        event = client.next_event()
        if isinstance(event, h11.Response):
            response = event
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            assert response is not None
            return response, body, client.trailing_data[0]
        elif event is h11.NEED_DATA:
            raise AssertionError("not complete")


@given(cuts=st.lists(st.integers(0, 400), max_size=6), body=st.sampled_from([BODY, STREAM]))
def test_chunking_never_matters(cuts: list[int], body: bytes) -> None:
    wire = request(body) + request(STREAM) + request(body)
    whole = ServerConnection(FakeLLMServer()).receive_data(wire)
    connection = ServerConnection(FakeLLMServer())
    pieces: list[Piece] = []
    edges = [0, *sorted(cuts), len(wire)]
    for start, end in itertools.pairwise(edges):
        pieces += connection.receive_data(wire[start:end])
    assert pieces == whole
    assert connection.requests == 3


@given(
    st.builds(
        ScriptedReply,
        text=st.lists(st.text("ab", min_size=1), max_size=3),
        framing=st.sampled_from(["auto", "length", "chunked", "close"]),
        informational=st.integers(0, 3),
        close=st.booleans(),
        surplus=st.sampled_from([b"", b"HTTP/1.1 200 OK\r\n\r\n"]),
        surplus_delay=st.sampled_from([None, 0.5]),
        delay=st.sampled_from([0.0, 1.0]),
    ),
    st.booleans(),
)
def test_h11_reads_what_was_said(reply: ScriptedReply, stream: bool) -> None:
    server = FakeLLMServer()
    server.script(reply.with_(surplus=b"") if reply.framing == "close" else reply)
    connection = ServerConnection(server)
    pieces = connection.receive_data(request(STREAM if stream else BODY))
    other = FakeLLMServer()
    other.script(reply)
    plan_body = b"".join(data for _, data in other.handle(received(STREAM if stream else BODY)).pieces)
    response, body, rest = h11_reads(joined(pieces), ended=connection.closed)
    assert body == plan_body
    assert rest == (b"" if reply.framing == "close" else reply.surplus)
    assert connection.closed == (reply.close or reply.framing == "close")
    assert (pieces[-1].hang_up == "fin") == connection.closed
    assert response.reason == b"OK"


def received(body: bytes) -> ReceivedRequest:
    return ReceivedRequest("POST", "/v1/chat/completions", (), body)


def test_a_plain_reply_is_one_write_and_a_stream_one_for_each_event() -> None:
    connection = ServerConnection(FakeLLMServer())
    assert len(connection.receive_data(request())) == 1
    pieces = connection.receive_data(request(STREAM))
    assert pieces[0].data.startswith(b"HTTP/1.1 200 OK\r\n")
    assert pieces[0].data.endswith(b"\r\n\r\n")
    assert pieces[1].data.count(b"data: ") == 1


def test_pace() -> None:
    server = FakeLLMServer()
    server.script(ScriptedReply(text=["a", "b"], head_delay=1.0, first_delay=2.0, delay=3.0))
    delays = [piece.delay for piece in ServerConnection(server).receive_data(request(STREAM))]
    assert delays[:4] == [1.0, 2.0, 3.0, 3.0]
    assert delays[-1] == 0.0  # what ends the body follows at once
    server.script(ScriptedReply(text="a", head_delay=1.0, first_delay=2.0))
    assert [piece.delay for piece in ServerConnection(server).receive_data(request())] == [1.0, 2.0]


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
@pytest.mark.parametrize("after_cut", ["fin", "rst", "silence"])
@pytest.mark.parametrize("stream", [False, True])
def test_cut(framing: str, after_cut: str, stream: bool) -> None:
    server = FakeLLMServer()
    body = STREAM if stream else BODY
    server.script(ScriptedReply(text="abc", framing=framing))  # type: ignore[arg-type]
    whole = server.handle(received(body)).body
    for cut in (0, 1, len(whole) // 2, len(whole)):
        server = FakeLLMServer()
        server.script(ScriptedReply(text="abc", framing=framing, cut_after=cut, after_cut=after_cut))  # type: ignore[arg-type]
        connection = ServerConnection(server)
        pieces = connection.receive_data(request(body))
        assert connection.closed
        assert pieces[-1].hang_up == ("" if after_cut == "silence" else after_cut)
        data = joined(pieces)
        head_end = data.index(b"\r\n\r\n") + 4
        if framing != "chunked":
            assert data[head_end:] == whole[:cut]
        else:
            assert not data.endswith(b"0\r\n\r\n")
        assert connection.receive_data(request()) == []
        assert connection.receive_eof() == []


def test_surplus_in_the_same_write_or_later() -> None:
    server = FakeLLMServer()
    server.script(ScriptedReply(surplus=b"XX"), ScriptedReply(surplus=b"YY", surplus_delay=0.1))
    connection = ServerConnection(server)
    (piece,) = connection.receive_data(request())
    assert piece.data.endswith(b"XX")
    pieces = connection.receive_data(request())
    assert pieces[-1] == Piece(b"YY", 0.1)


def test_expect_continue() -> None:
    connection = ServerConnection(FakeLLMServer())
    head, body = request(BODY, b"expect: 100-continue").split(b"\r\n\r\n", 1)
    (piece,) = connection.receive_data(head + b"\r\n\r\n")
    assert piece.data.startswith(b"HTTP/1.1 100 ")
    (piece,) = connection.receive_data(body)
    assert piece.data.startswith(b"HTTP/1.1 200 ")


def test_a_body_too_large_is_refused_before_it_has_come() -> None:
    connection = ServerConnection(FakeLLMServer(max_body=5))
    pieces = connection.receive_data(request()[:100])
    assert joined(pieces).startswith(b"HTTP/1.1 413 ")
    assert pieces[-1].hang_up == "fin"
    assert connection.receive_data(b"more") == []


def test_no_http() -> None:
    (piece,) = ServerConnection(FakeLLMServer()).receive_data(b"\x16\x03\x01 this is TLS\r\n\r\n")
    assert piece.data.startswith(b"HTTP/1.1 400 ")
    assert piece.hang_up == "fin"
    connection = ServerConnection(FakeLLMServer())
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nnonsense\r\n"
    assert connection.receive_data(head)[-1].hang_up == "fin"


def test_head_and_connection_close() -> None:
    connection = ServerConnection(FakeLLMServer(), 7)
    pieces = connection.receive_data(b"HEAD /api/version HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    response, body, _ = h11_reads(joined(pieces), method="HEAD")
    assert (response.status_code, body) == (200, b"")
    assert int(dict(response.headers)[b"content-length"]) > 0
    assert pieces[-1].hang_up == "fin"
    assert connection.server.requests[0].connection == 7


def test_the_client_closes() -> None:
    connection = ServerConnection(FakeLLMServer())
    assert connection.receive_data(b"") == []
    assert connection.receive_eof() == [Piece(b"", 0.0, "fin")]
    connection = ServerConnection(FakeLLMServer())
    connection.receive_data(request()[:-5])
    assert connection.receive_eof()[-1].hang_up == "fin"
