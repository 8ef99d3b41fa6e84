"""Heads and framing at their edges: blanks that are none, forbidden characters, a reply cut inside its chunks."""

from __future__ import annotations

import pytest

from sans_io.http.body import ChunkedReader
from tests.http11.test_heads import head_of


@pytest.mark.parametrize("character", ["\0", "\x0b", "\x0c", "\r", "\n"])
def test_a_character_that_no_value_may_hold(character: str) -> None:
    exchange = head_of("HTTP/1.1 200 OK", f"x: a{character}b")
    assert exchange.head is None
    assert exchange.error is not None
    assert exchange.error.code == "bad_head"


def test_folding_strips_blanks_and_nothing_else() -> None:
    exchange = head_of("HTTP/1.1 200 OK", "x: a", " \tXray")
    assert exchange.head is not None
    assert dict(exchange.head.headers)["x"] == "a Xray"


@pytest.mark.parametrize("value", ["X5, 5", "5, 5X", "5, XX5"])
def test_a_repeated_length_is_of_digits_only(value: str) -> None:
    exchange = head_of("HTTP/1.1 200 OK", f"Content-Length: {value}")
    assert exchange.error is not None
    assert exchange.error.code == "bad_framing"


@pytest.mark.parametrize("wire", [b"", b"5\r\nhel", b"5\r\nhello\r\n", b"0\r\n"])
def test_chunks_that_end_early_are_an_error_and_no_end(wire: bytes) -> None:
    reader = ChunkedReader()
    reader.receive_data(wire)
    assert not reader.stopped
    reader.receive_eof()
    assert reader.stopped
    assert not reader.ended
    error = reader.error
    assert error is not None
    assert error.code == "truncated_body"
    reader.receive_eof()
    assert reader.error is error


@pytest.mark.parametrize(("status", "has_body"), [(200, False), (299, False), (300, True), (407, True)])
def test_only_a_granted_tunnel_has_no_body(status: int, has_body: bool) -> None:
    exchange = head_of(f"HTTP/1.1 {status} X", "Content-Length: 3", method="CONNECT")
    assert exchange.ended is not has_body
    if has_body:
        assert exchange.receive_data(b"abc") == b"abc"
        assert exchange.ended


def test_a_reply_that_was_cut_in_its_chunks_is_said_to_be() -> None:
    reader = ChunkedReader()
    reader.receive_data(b"5\r\nhel")
    reader.receive_eof()
    assert reader.error is not None
    assert reader.error.message == "the server closed the connection before the end of its chunked reply"
