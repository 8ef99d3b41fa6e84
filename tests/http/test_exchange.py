"""HTTPExchange: cuts never matter, when a connection may serve again, caps, and recorded traffic."""

from __future__ import annotations

import random
import tracemalloc
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sans_io.http.http11 import HTTPExchange
from sans_io.limits import DEFAULT_LIMITS, Limits
from tests.http.oracle import outcome, random_cut, seen

OK = b"HTTP/1.1 200 OK\r\n"
SMALL = replace(DEFAULT_LIMITS, max_head=64, max_headers=2, max_informational=2, max_chunk_line=12)

PIECES = st.sampled_from(
    [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 200 OK\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 x\r\na: b\r\n\r\n",
     b"HTTP/1.1 204 x\r\n", b"HTTP/1.1 101 x\r\n\r\n", b"HTTP/2.0 200 OK\r\n", b"Content-Length: 3\r\n", b"Content-Length: 4\r\n",
     b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n", b"Content-Encoding: gzip\r\n", b"a: b\r\n", b" fold\r\n",
     b"bad\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b"abc", b"d", b"3\r\nabc\r\n", b"3;ext\r\nabc\r\n", b"0\r\n\r\n", b"0\r\nt: u\r\n\r\n",
     b"x" * 70, b"1" * 13, b"H", b"\0"]
)  # fmt: skip


@st.composite
def wires(draw: st.DrawFn) -> bytes:
    """Responses from mostly right to soup."""
    start = draw(
        st.sampled_from(
            [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n",
             b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"HTTP/1.1 100 x\r\n\r\nHTTP/1.1 200 OK\r\n"]
        )
    )  # fmt: skip
    return start + b"".join(draw(st.lists(PIECES, max_size=8)))


def bytewise(wire: bytes) -> list[bytes]:
    return [wire[place : place + 1] for place in range(len(wire))]


@given(
    wires(),
    st.sampled_from(["POST", "HEAD", "CONNECT"]),
    st.sampled_from([DEFAULT_LIMITS, SMALL]),
    st.booleans(),
    st.randoms(use_true_random=False),
)
def test_a_cut_never_matters(wire: bytes, method: str, limits: Limits, eof: bool, dice: random.Random) -> None:
    whole = outcome([wire], method=method, eof=eof, limits=limits)
    assert outcome(bytewise(wire), method=method, eof=eof, limits=limits) == whole
    assert outcome(random_cut(wire, dice) if wire else [], method=method, eof=eof, limits=limits) == whole


@given(wires(), st.sampled_from([DEFAULT_LIMITS, SMALL]), st.randoms(use_true_random=False))
def test_a_fault_or_end_is_seen_at_the_same_byte(wire: bytes, limits: Limits, dice: random.Random) -> None:
    def stopped(exchange: HTTPExchange) -> bool:
        return exchange.ended or exchange.error is not None

    reference = HTTPExchange(limits=limits)
    position = None
    for count, byte in enumerate(bytewise(wire), 1):
        reference.receive_data(byte)
        if stopped(reference):
            position = count
            break
    exchange = HTTPExchange(limits=limits)
    fed = 0
    for piece in random_cut(wire, dice) if wire else []:
        exchange.receive_data(piece)
        fed += len(piece)
        assert stopped(exchange) == (position is not None and fed >= position)


@given(wires(), st.binary(min_size=1, max_size=9))
def test_the_end_is_for_ever(wire: bytes, more: bytes) -> None:
    exchange = HTTPExchange()
    body = exchange.receive_data(wire)
    exchange.receive_eof()
    before = seen(exchange, body)
    assert exchange.error is not None or exchange.ended
    assert exchange.receive_data(more) == b""
    assert exchange.receive_eof() == b""
    after = seen(exchange, body)
    assert after._replace(surplus=before.surplus, clean=before.clean) == before
    if before.ended:
        assert (after.surplus, after.clean) == (True, False)


def test_a_short_head_after_a_long_informational_one() -> None:
    long, short = b"HTTP/1.1 103 x\r\nLink: </a/rather/long/one>\r\n\r\n", OK + b"Content-Length: 1\r\n\r\na"
    found = outcome([*bytewise(long[:-1]), long[-1:] + short])
    assert (found.body, found.ended, found.informational) == (b"a", True, 1)


# ---- may the connection serve again? -------------------------------------------------------------------------------

CASES = [
    # name, wire, method, eof afterwards, framing, body, ended, surplus, clean
    ("length", OK + b"Content-Length: 3\r\n\r\nabc", "POST", False, "length", b"abc", True, False, True),
    ("length, closed after it", OK + b"Content-Length: 3\r\n\r\nabc", "POST", True, "length", b"abc", True, False, True),
    ("length 0", OK + b"Content-Length: 0\r\n\r\n", "POST", False, "length", b"", True, False, True),
    ("length, not there yet", OK + b"Content-Length: 3\r\n\r\nab", "POST", False, "length", b"ab", False, False, False),
    ("length, cut", OK + b"Content-Length: 3\r\n\r\nab", "POST", True, "length", b"ab", False, False, False),
    ("length, surplus", OK + b"Content-Length: 3\r\n\r\nabcd", "POST", False, "length", b"abc", True, True, False),
    ("length twice alike", OK + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", "POST", False, "length", b"abc", True, False, True),
    ("chunked", OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", "POST", False, "chunked", b"abc", True, False, True),
    ("chunked, trailers", OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\na: b\r\n\r\n", "POST", False, "chunked", b"", True, False, True),
    ("chunked, no last CR LF", OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n", "POST", False, "chunked", b"abc", False, False, False),
    ("chunked, surplus", OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nH", "POST", False, "chunked", b"", True, True, False),
    ("both lengths", OK + b"Content-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", "POST", False, "chunked", b"abc", True, False, False),
    ("Connection: close", OK + b"Connection: close\r\nContent-Length: 3\r\n\r\nabc", "POST", False, "length", b"abc", True, False, False),
    ("close among others", OK + b"Connection: foo , CLOSE\r\nContent-Length: 0\r\n\r\n", "POST", False, "length", b"", True, False, False),
    ("close in a second field", OK + b"Connection: keep-alive\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", "POST", False, "length", b"", True, False, False),
    ("not close", OK + b"Connection: closed\r\nContent-Length: 0\r\n\r\n", "POST", False, "length", b"", True, False, True),
    ("1.0", b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc", "POST", False, "length", b"abc", True, False, False),
    ("1.0 keep-alive", b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabc", "POST", False, "length", b"abc", True, False, False),
    ("1.0 chunked", b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "POST", False, "chunked", b"", True, False, False),
    ("until close", OK + b"\r\nabc", "POST", True, "close", b"abc", True, False, False),
    ("until close, open", OK + b"\r\nabc", "POST", False, "close", b"abc", False, False, False),
    ("204", b"HTTP/1.1 204 No Content\r\n\r\n", "POST", False, "none", b"", True, False, False),
    ("204 with a length", b"HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\nabc", "POST", False, "none", b"", True, True, False),
    ("304", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n", "POST", False, "none", b"", True, False, False),
    ("HEAD", OK + b"Content-Length: 3\r\n\r\n", "HEAD", False, "none", b"", True, False, False),
    ("HEAD, coded", OK + b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\n", "HEAD", False, "none", b"", True, False, False),
    ("CONNECT", OK + b"Content-Length: 3\r\n\r\n", "CONNECT", False, "none", b"", True, False, False),
    ("CONNECT refused", b"HTTP/1.1 407 No\r\nContent-Length: 3\r\n\r\nabc", "CONNECT", False, "length", b"abc", True, False, True),
    ("after 1xx", b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 3\r\n\r\nabc", "POST", False, "length", b"abc", True, False, True),
    ("status 500", b"HTTP/1.1 500 x\r\nContent-Length: 3\r\n\r\nabc", "POST", False, "length", b"abc", True, False, True),
]  # fmt: skip


@pytest.mark.parametrize(
    ("wire", "method", "eof", "framing", "body", "ended", "surplus", "clean"),
    [case[1:] for case in CASES],
    ids=[case[0] for case in CASES],
)
def test_whether_a_connection_may_serve_again(
    wire: bytes, method: str, eof: bool, framing: str, body: bytes, ended: bool, surplus: bool, clean: bool
) -> None:
    for reads in ([wire], bytewise(wire)):
        found = outcome(reads, method=method, eof=eof)
        assert found.framing == framing
        assert found.body == body
        assert (found.ended, found.surplus, found.clean) == (ended, surplus, clean)
        assert (found.error is None) == (ended or not eof)


def test_surplus_in_a_later_read_is_seen() -> None:
    exchange = HTTPExchange()
    assert exchange.receive_data(OK + b"Content-Length: 3\r\n\r\nabc") == b"abc"
    assert exchange.clean
    assert exchange.receive_data(b"") == b""
    assert exchange.clean
    assert exchange.receive_data(b"HTTP/1.1 200 OK\r\n\r\n") == b""
    assert exchange.surplus
    assert not exchange.clean


def test_no_byte_and_some_bytes_before_the_close_are_told_apart() -> None:
    silent = HTTPExchange()
    silent.receive_eof()
    assert silent.error is not None
    assert (silent.started, silent.error.code) == (False, "truncated_head")
    assert "without answering" in silent.error.message
    begun = HTTPExchange()
    begun.receive_data(b"HTTP/1.1 2")
    begun.receive_eof()
    assert begun.error is not None
    assert (begun.started, begun.error.code) == (True, "truncated_head")


# ---- caps: L is accepted, L + 1 is refused -------------------------------------------------------------------------


@pytest.mark.parametrize("cap", [200, DEFAULT_LIMITS.max_head])
@pytest.mark.parametrize("cut", [1, 4096, 1 << 20])
def test_the_cap_of_a_head(cap: int, cut: int) -> None:
    limits = replace(DEFAULT_LIMITS, max_head=cap)
    for size, code in ((cap - 1, None), (cap, None), (cap + 1, "head_too_large")):
        start, end = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\na: ", b"\r\n\r\n"
        wire = start + b"x" * (size - len(start) - len(end)) + end
        found = outcome([wire[place : place + cut] for place in range(0, len(wire), cut)], limits=limits)
        assert (found.error, found.ended) == (code, code is None)


def test_an_endless_head_is_refused_without_keeping_it() -> None:
    exchange = HTTPExchange()
    exchange.receive_data(b"HTTP/1.1 200 OK\r\n")
    tracemalloc.start()
    try:
        for _ in range(1000):
            exchange.receive_data(b"x: " + b"y" * 4091 + b"\r\n")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert exchange.error is not None
    assert exchange.error.code == "head_too_large"
    assert peak < 4 * DEFAULT_LIMITS.max_head


def test_the_cap_of_the_number_of_fields() -> None:
    for count, code in ((127, None), (128, None), (129, "too_many_headers")):
        wire = OK + b"Content-Length: 0\r\n" + b"a: b\r\n" * (count - 1) + b"\r\n"
        assert outcome([wire]).error == code
        assert outcome(bytewise(wire)).error == code


def test_the_cap_of_informational_responses() -> None:
    for count, code in ((7, None), (8, None), (9, "too_many_informational")):
        wire = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * count + OK + b"Content-Length: 0\r\n\r\n"
        for reads in ([wire], bytewise(wire)):
            found = outcome(reads)
            assert found.error == code
            assert found.informational == count


def test_a_bare_line_feed_head_is_refused_at_once() -> None:
    exchange = HTTPExchange()
    exchange.receive_data(b"HTTP/1.1 200 OK\nContent-Type: text/plain\n\nhello")
    assert exchange.error is not None
    assert exchange.error.code == "bad_head"


def test_the_first_wrong_byte_is_enough() -> None:
    exchange = HTTPExchange()
    exchange.receive_data(b"HT")
    assert exchange.error is None
    exchange.receive_data(b"\x16")
    assert exchange.error is not None
    assert exchange.error.code == "bad_head"
