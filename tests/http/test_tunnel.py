"""CONNECT as an exchange: cuts never matter, caps, and what the proxy may not do."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sans_io.http.proxies import parse_proxy
from sans_io.http.tunnel import Tunnel
from sans_io.http.urls import Origin
from sans_io.limits import DEFAULT_LIMITS
from tests.http.oracle import all_cuts, random_cut

ORIGIN = Origin("https", "api.example.com", 443)
PROXY = parse_proxy("http://user:sk-canary@proxy:3128")


def after(reads: list[bytes], *, eof: bool = False) -> Tunnel:
    tunnel = Tunnel(ORIGIN, PROXY)
    for read in reads:
        tunnel.receive_data(read)
    if eof:
        tunnel.receive_eof()
    return tunnel


CASES = [
    # answer, done, words of the error, surplus
    (b"HTTP/1.1 200 Connection established\r\n\r\n", True, None, False),
    (b"HTTP/1.0 200 Connection established\r\n\r\n", True, None, False),
    (b"HTTP/1.1 200\r\nProxy-Agent: x\r\n\r\n", True, None, False),
    (b"HTTP/1.1 299 x\r\n\r\n", True, None, False),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", True, None, False),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", True, None, False),
    (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", True, None, False),
    (b"HTTP/1.1 200 OK\r\n\r\nX", False, "before it was used", True),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nX", False, "before it was used", True),
    (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", False, "407 Proxy Authentication Required (check the user", False),
    (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 9\r\n\r\n", False, "403 Forbidden", False),
    (b"HTTP/1.1 302 Found\r\nLocation: http://evil/\r\n\r\n", False, "302 Found", False),
    (b"HTTP/1.1 502 \x1b[31mred\x07\r\n\r\n", False, "502 [31mred", False),
    (b"HTTP/1.1 502 " + b"y" * 200 + b"\r\n\r\n", False, "502 " + "y" * 80, False),
    (b"HTTP/1.1 502\r\nContent-Encoding: gzip\r\n\r\n", False, "502", False),
    (b"HTTP/2.0 200 OK\r\n\r\n", False, "neither 1.1 nor 1.0", False),
    (b"SSH-2.0-x\r\n", False, "does not begin with HTTP/", False),
    (b"HTTP/1.1 101 Switching\r\n\r\n", False, "101", False),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "done", "words", "surplus"), CASES)
def test_what_the_proxy_answers(answer: bytes, done: bool, words: str | None, surplus: bool) -> None:
    for reads in ([answer], [answer[place : place + 1] for place in range(len(answer))]):
        tunnel = after(reads)
        assert (tunnel.done, tunnel.surplus) == (done, surplus)
        assert tunnel.error is None if words is None else words in (tunnel.error or "")
        if tunnel.error is not None:
            assert tunnel.error.isprintable()
            assert len(tunnel.error) < 200


@given(st.sampled_from(CASES).map(lambda case: case[0]), st.booleans(), st.randoms(use_true_random=False))
def test_a_cut_never_matters(answer: bytes, eof: bool, dice: random.Random) -> None:
    whole, cut = after([answer], eof=eof), after(random_cut(answer, dice), eof=eof)
    assert (whole.done, whole.error, whole.surplus) == (cut.done, cut.error, cut.surplus)


def test_every_cut_of_the_end_of_a_head() -> None:
    answer = b"HTTP/1.1 200 OK\r\n\r\nXY"
    for tail in all_cuts(answer[-11:]):
        tunnel = after([answer[:-11], *tail])
        assert (tunnel.done, tunnel.surplus) == (False, True)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\nA: b\r\n"])
def test_a_proxy_that_closes_is_an_error(answer: bytes) -> None:
    tunnel = after([answer], eof=True)
    assert not tunnel.done
    assert tunnel.error is not None
    assert "closed" in tunnel.error


def test_a_close_after_the_answer_changes_nothing_here() -> None:
    tunnel = after([b"HTTP/1.1 200 OK\r\n\r\n"], eof=True)
    assert tunnel.done
    assert tunnel.error is None


def test_the_cap_of_the_answer_is_its_own() -> None:
    cap = DEFAULT_LIMITS.max_tunnel_head
    for size, done in ((cap - 1, True), (cap, True), (cap + 1, False)):
        answer = b"HTTP/1.1 200 OK\r\na: " + b"x" * (size - 24) + b"\r\n\r\n"
        assert len(answer) == size
        tunnel = after([answer[place : place + 1000] for place in range(0, size, 1000)])
        assert tunnel.done == done
        assert done or "larger than" in (tunnel.error or "")


def test_the_cap_of_informational_answers() -> None:
    for count, done in ((8, True), (9, False)):
        tunnel = after([b"HTTP/1.1 102 Processing\r\n\r\n" * count + b"HTTP/1.1 200 OK\r\n\r\n"])
        assert tunnel.done == done


def test_the_error_is_sticky() -> None:
    tunnel = after([b"HTTP/1.1 403 Forbidden\r\n\r\n"])
    first = tunnel.error
    tunnel.receive_data(b"HTTP/1.1 200 OK\r\n\r\n")
    tunnel.receive_eof()
    assert tunnel.error == first
    assert not tunnel.done


def test_the_request_carries_the_credentials_and_nothing_else_shows_them() -> None:
    tunnel = Tunnel(ORIGIN, PROXY)
    assert b"Proxy-Authorization: Basic dXNlcjpzay1jYW5hcnk=\r\n" in bytes(tunnel.request())
    for shown in (repr(tunnel), repr(tunnel.request()), repr(PROXY)):
        assert "canary" not in shown
        assert "dXNlcj" not in shown


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\nX", "the proxy sent data through the tunnel before it was used"),
        (b"HTTP/1.1 300 \r\n\r\n", "the proxy refused the tunnel: 300"),
        (
            b"HTTP/1.1 502 bad sk-canary dXNlcjpzay1jYW5hcnk=\r\n\r\n",
            "the proxy refused the tunnel: 502 bad sk-canary ***",
        ),
        (
            b"HTTP/1.1 407 No\r\n\r\n",
            "the proxy refused the tunnel: 407 No (check the user name and password in the proxy URL)",
        ),
        (
            b"HTTP/1.1 401 No\r\n\r\n",
            "the proxy refused the tunnel: 401 No (check the user name and password in the proxy URL)",
        ),
        (
            b"SSH\r\n",
            "the proxy gave no valid HTTP reply: invalid response head: it does not begin with HTTP/",
        ),
    ],
)
def test_why_there_is_no_tunnel_is_said(answer: bytes, message: str) -> None:
    assert after([answer]).error == message


@pytest.mark.parametrize("status", [401, 407])
def test_a_password_that_is_missing_is_asked_for(status: int) -> None:
    tunnel = Tunnel(ORIGIN, parse_proxy("http://proxy:3128"))
    tunnel.receive_data(b"HTTP/1.1 %d No\r\n\r\n" % status)
    hint = "put its user name and password into the proxy URL"
    assert tunnel.error == f"the proxy refused the tunnel: {status} No ({hint})"


@pytest.mark.parametrize("status", [302, 400, 401, 403, 404, 407, 429, 500, 502, 503, 504, 505])
def test_a_gateway_s_status_says_that_the_server_was_not_reached(status: int) -> None:
    assert after([b"HTTP/1.1 %d x\r\n\r\n" % status]).unreached == (status in (502, 503, 504))
