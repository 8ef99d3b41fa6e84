"""The response head parser: equal to h11 but for its documented strictness, then each rule by name."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sans_io.http import heads as heads_module
from sans_io.http.body import ChunkedReader
from sans_io.http.http11 import HTTPExchange, ResponseHead

from .oracle import h11_verdict, outcome

TOKENS = st.sampled_from(
    ["content-type", "Server", "X-Request-ID", "x", "Date", "!#$%&'*+-.^_`|~09azAZ", "Connection", "Keep-Alive", "Via"]
) | st.text("-!#$%&'*+.^_`|~09azAZ", min_size=1, max_size=60)
VALUES = st.sampled_from(
    [
        "",
        "a",
        "text/event-stream; charset=utf-8",
        "close",
        "keep-alive",
        "timeout=5, max=100",
        "a  b",
        "\x01\x7f",
        "\xe9",
    ]
) | st.text(st.characters(codec="latin-1", exclude_characters="\r\n\x00\x0b\x0c"), max_size=30).map(
    lambda value: value.strip(" \t")
)
FRAMING = [
    "Content-Length: 3",
    "content-length: 0",
    "CONTENT-LENGTH:\t3 ",
    "Content-Length: 3, 3",
    "Content-Length: 3,4",
    "Content-Length: +3",
    "Content-Length: -1",
    "Content-Length: 0x3",
    "Content-Length: 1_0",
    "Content-Length: \xb2",
    "Content-Length: ",
    "Content-Length: " + "0" * 19 + "3",
    "Content-Length: " + "0" * 20 + "3",
    "Transfer-Encoding: chunked",
    "transfer-encoding:CHUNKED",
    "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: identity",
    "Transfer-Encoding: ",
    "Connection: close",
    "Connection: Keep-Alive, Close",
]
ODD_LINES = ["no colon", ": empty name", "sp ace: b", "name : b", "\xe9: b", "a: b\x00", "a: \x0b", "a:\x0c", "a: b\rc", "a: b\nc: d",
     " folded", "\tfolded: too", "a: b\r\n c", "a:\r\n \r\n\tb ", "", "a", "ſ: b", "K: b"]  # fmt: skip
STATUS_LINES = ["HTTP/1.1 200 OK", "HTTP/1.1 200", "HTTP/1.1 200 ", "HTTP/1.0 200 OK", "HTTP/1.1 204 No Content", "HTTP/1.1 404 \xe9\t",
     "HTTP/1.1 304 x", "HTTP/1.1 599 x", "HTTP/1.1 100 Continue", "HTTP/1.1 103 Early Hints"]  # fmt: skip
ODD_STATUS_LINES = ["HTTP/1.1  200 OK", "HTTP/1.1 20 OK", "HTTP/1.1 2000 OK", "HTTP/1.1 200OK", "HTTP/2.0 200 OK", "HTTP/1.2 200 OK",
     "HTTP/0.9 200 OK", "HTTP/11 200 OK", "http/1.1 200 OK", "ICY 200 OK", "HTTP/1.1 600 OK", "HTTP/1.1 999 OK",
     "HTTP/1.1 099 OK", "HTTP/1.1 000 OK", "HTTP/1.1 101 Switching", "HTTP/1.1 200 \x00", "HTTP/1.1 200 O\rK", "", " ",
     "HTTP/1.1 200 OK\n", "HTTP/1.1\t200 OK", "HTTP/1.1 \xb2\xb2\xb2 OK", "\x16\x03\x01", "<html>"]  # fmt: skip


FIELDS = st.builds(
    "{}:{}{}{}".format, TOKENS, st.sampled_from(["", " ", "\t", "  "]), VALUES, st.sampled_from(["", " "])
)


@st.composite
def heads(draw: st.DrawFn) -> str:
    """A valid head, one with a single oddity (where a wrong acceptance shows), or one with many."""
    oddity = draw(st.sampled_from(["none", "field", "framing", "status line", "line end", "many"]))
    many = oddity == "many"
    starts = STATUS_LINES + ODD_STATUS_LINES if many else ODD_STATUS_LINES if oddity == "status line" else STATUS_LINES
    fields = FIELDS | st.sampled_from(FRAMING + ODD_LINES) if many else FIELDS
    lines = [draw(st.sampled_from(starts)), *draw(st.lists(fields, max_size=6))]
    if oddity in ("field", "framing"):
        lines.insert(
            draw(st.integers(1, len(lines))), draw(st.sampled_from(ODD_LINES if oddity == "field" else FRAMING))
        )
    end = "\r\n"
    if many or oddity == "line end":
        end = draw(st.sampled_from(["\r\n", "\n", "\r"]))
    return end.join(lines) + end + end


def is_documented_strictness(wire: bytes) -> bool:
    """Whether `wire` holds, in one of its heads, something that h11 lets pass and we do not."""
    rest = wire
    while True:
        block, _, rest = rest.partition(b"\r\n\r\n")
        if b"\n" in block.replace(b"\r\n", b""):
            return True
        status_line = block.partition(b"\r\n")[0]
        version, status = status_line[5:8], status_line[9:12]
        if version not in (b"1.0", b"1.1") or status == b"101" or status > b"599" or status < b"100":
            return True
        if status >= b"200":
            return False


def assert_read_as_h11_reads_it(wire: bytes) -> None:
    verdict = h11_verdict(wire)
    ours = outcome([wire])
    if ours.ended and ours.error is None:
        assert verdict.ok
        assert ours.head.status == verdict.status
        assert ours.head.http_version.encode() == verdict.version
        assert ours.head.reason.encode("latin-1") == verdict.reason
        # h11 drops a Content-Length that repeats an earlier one, and lower-cases the transfer coding.
        assert [pair for pair in ours.head.headers if pair[0] not in ("content-length", "transfer-encoding")] == [
            (name.decode(), value.decode("latin-1"))
            for name, value in verdict.headers
            if name not in (b"content-length", b"transfer-encoding")
        ]
        assert (ours.body, ours.surplus, ours.informational) == (verdict.body, bool(verdict.surplus), verdict.heads)
    elif verdict.ok:
        assert is_documented_strictness(wire), ours


BODIES = [b"", b"abc", b"abcd", b"3\r\nabc\r\n0\r\n\r\n"]


@given(heads(), st.sampled_from(BODIES))
def test_heads_are_read_as_h11_reads_them(head: str, body: bytes) -> None:
    wire = head.encode("latin-1", "replace") + body
    if wire.startswith((b"HTTP/1.1 1", b"HTTP/1.0 1")):
        wire += b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    assert_read_as_h11_reads_it(wire)


@given(
    heads() | st.lists(FIELDS | st.sampled_from(FRAMING), max_size=5).map(lambda f: "\r\n".join([STATUS_LINES[0], *f]))
)
def test_the_short_way_says_what_the_law_says(head: str) -> None:
    block = head.encode("latin-1", "replace").partition(b"\r\n\r\n")[0]
    for most in (2, 128):
        law = heads_module._parse_any(block, block.decode("latin-1"), most)
        assert heads_module.parse_response_head(block, most) == law


def test_a_plain_head_goes_the_short_way_and_is_taken_apart_when_somebody_looks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(heads_module, "_parse_any", None)
    asked = []
    parse = heads_module._parse_fields
    monkeypatch.setattr(heads_module, "_parse_fields", lambda lines: asked.append(lines) or parse(lines))
    exchange = head_of("HTTP/1.1 200 OK", "Content-Type: Text/Event-Stream; a=b", "X-Id: Q ", "Content-Length: 2")
    assert exchange.head is not None
    assert (exchange.framing, exchange.media_type, asked) == ("length", "text/event-stream", [])
    again = ResponseHead(
        200, (("content-type", "Text/Event-Stream; a=b"), ("x-id", "Q"), ("content-length", "2")), reason="OK"
    )
    assert exchange.head == again
    assert hash(exchange.head) == hash(again)
    assert repr(exchange.head) == repr(again)
    assert exchange.head.first("x-id") == "Q"
    assert len(asked) == 1


@pytest.mark.parametrize("body", BODIES)
def test_each_oddity_alone_is_read_as_h11_reads_it(body: bytes) -> None:
    final = "HTTP/1.1 200 OK"
    variants = [[line] for line in STATUS_LINES + ODD_STATUS_LINES]
    for odd in FRAMING + ODD_LINES:
        variants += [[final, odd], [final, odd, "a: b"], [final, "a: b", odd], [final, "a: b", odd, "c: d"]]
    variants += [[final, *pair] for pair in itertools.product(FRAMING, FRAMING)]
    variants += [["HTTP/1.1 103 x", odd] for odd in FRAMING + ODD_LINES]
    for lines in variants:
        wire = "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")
        assert_read_as_h11_reads_it(wire + body)
        assert_read_as_h11_reads_it(wire + b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body)


def head_of(*lines: str, method: str = "POST") -> HTTPExchange:
    exchange = HTTPExchange(method)
    exchange.receive_data("\r\n".join([*lines, "", ""]).encode("latin-1"))
    return exchange


def test_a_head_is_kept_as_received_with_lower_case_names() -> None:
    exchange = head_of(
        "HTTP/1.1 200 Fine", "Content-Length: 2", "Set-Cookie:a=1", "set-cookie:\t b=2 ", "X-Caf: \xe9", "Empty:"
    )
    assert exchange.head == ResponseHead(
        200,
        (("content-length", "2"), ("set-cookie", "a=1"), ("set-cookie", "b=2"), ("x-caf", "\xe9"), ("empty", "")),
        "1.1",
        "Fine",
    )
    assert exchange.head is not None
    assert exchange.head.first("set-cookie") == "a=1"
    assert exchange.head.first("Set-Cookie") is None


def test_only_blanks_and_tabs_are_stripped_from_a_value() -> None:
    exchange = head_of("HTTP/1.1 200 OK", "a:\t \xa0\x1cb\x85 \t")
    assert exchange.head is not None
    assert exchange.head.headers == (("a", "\xa0\x1cb\x85"),)


def test_no_server_can_fill_the_memory_of_names_with_long_ones() -> None:
    before = heads_module._short_field_name.cache_info().currsize
    for length in (41, 1000, 60_000):
        assert head_of("HTTP/1.1 200 OK", "n" * length + ": a").head is not None
    assert heads_module._short_field_name.cache_info().currsize == before


@pytest.mark.parametrize("value", ["chunked", "Chunked", "CHUNKED"])
def test_the_name_of_the_transfer_coding_is_case_insensitive(value: str) -> None:
    assert head_of("HTTP/1.1 200 OK", f"Transfer-Encoding: {value}").framing == "chunked"


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        (["HTTP/2.0 200 OK"], "bad_version"),
        (["HTTP/1.2 200 OK"], "bad_version"),
        (["HTTP/0.9 200 OK"], "bad_version"),
        (["HTTP/1.1 600 OK"], "bad_status"),
        (["HTTP/1.1 999 OK"], "bad_status"),
        (["HTTP/1.1 099 OK"], "bad_status"),
        (["HTTP/1.1 101 Switching Protocols", "Upgrade: h2c"], "bad_status"),
        (["HTTP/1.1 20 OK"], "bad_head"),
        (["HTTP/1.1  200 OK"], "bad_head"),
        (["http/1.1 200 OK"], "bad_head"),
        (["ICY 200 OK"], "bad_head"),
        (["\x15\x03\x01\x00\x02\x02\x46"], "bad_head"),
        (["SSH-2.0-OpenSSH_9.9"], "bad_head"),
        (["", "HTTP/1.1 200 OK"], "bad_head"),
        (["HTTP/1.1 200 OK", "no colon"], "bad_head"),
        (["HTTP/1.1 200 OK", "nocolon"], "bad_head"),
        (["HTTP/1.1 200 OK", "sp ace: a"], "bad_head"),
        (["HTTP/1.1 200 OK", "name : a"], "bad_head"),
        (["HTTP/1.1 200 OK", ": a"], "bad_head"),
        (["HTTP/1.1 200 OK", " folded: first"], "bad_head"),
        (["HTTP/1.1 200 OK", "a: b\x00"], "bad_head"),
        (["HTTP/1.1 200 OK", "a: b\rc"], "bad_head"),
        (["HTTP/1.1 200 OK", "a: b\nc: d"], "bad_head"),
        (["HTTP/1.1 200 OK", "Content-Length: 1", "Content-Length: 2"], "bad_framing"),
        (["HTTP/1.1 200 OK", "Content-Length: 1, 2"], "bad_framing"),
        (["HTTP/1.1 200 OK", "Content-Length: 1, 01"], "bad_framing"),
        (["HTTP/1.1 200 OK", "Content-Length: +1"], "bad_framing"),
        (["HTTP/1.1 200 OK", "Content-Length: -1"], "bad_framing"),
        (["HTTP/1.1 200 OK", "Content-Length:"], "bad_framing"),
        (["HTTP/1.1 200 OK", "Content-Length: \xb2"], "bad_framing"),
        (["HTTP/1.1 200 OK", "Content-Length: " + "1" * 21], "bad_framing"),
        (["HTTP/1.1 200 OK", "Transfer-Encoding: gzip, chunked"], "bad_framing"),
        (["HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"], "bad_framing"),
        (["HTTP/1.1 200 OK", "Transfer-Encoding: identity"], "bad_framing"),
        (["HTTP/1.1 204 OK", "Content-Length: x"], "bad_framing"),
        (["HTTP/1.1 100 Continue", "Content-Length: x"], "bad_framing"),
        (["HTTP/1.1 200 OK", "Content-Encoding: gzip"], "coded_reply"),
        (["HTTP/1.1 200 OK", "Content-Encoding: identity", "content-encoding: br"], "coded_reply"),
    ],
)  # fmt: skip
def test_refused_heads(lines: list[str], code: str) -> None:
    exchange = head_of(*lines)
    assert exchange.error is not None
    assert exchange.error.code == code
    assert exchange.started
    assert (exchange.head is None) == (code != "coded_reply")
    error = exchange.error
    assert exchange.receive_data(b"HTTP/1.1 200 OK\r\n\r\n") == b""
    assert exchange.receive_eof() == b""
    assert exchange.error is error
    assert not exchange.ended
    assert not exchange.clean


def test_a_coded_reply_keeps_its_status() -> None:
    exchange = head_of("HTTP/1.1 503 Unavailable", "Content-Encoding: gzip", "Content-Length: 9")
    assert exchange.error is not None
    assert exchange.error.status_code == 503
    assert exchange.head is not None
    assert exchange.head.status == 503


@pytest.mark.parametrize("coding", ["identity", "Identity", "", "identity, identity"])
def test_identity_is_no_coding(coding: str) -> None:
    exchange = head_of("HTTP/1.1 200 OK", f"Content-Encoding: {coding}", "Content-Length: 0")
    assert exchange.error is None
    assert exchange.ended


@pytest.mark.parametrize("lines", [["a: b", " c"], ["a: b", "\t c "], ["a:", " b", "  c"], ["a: b ", "\tc"]])
def test_folded_fields_are_joined(lines: list[str]) -> None:
    exchange = head_of("HTTP/1.1 200 OK", *lines, "d: e")
    assert exchange.head is not None
    assert [name for name, _ in exchange.head.headers] == ["a", "d"]
    value = exchange.head.first("a")
    assert value is not None
    assert value.split() == ["b", "c"]


def test_a_fold_of_blanks_only_changes_nothing() -> None:
    exchange = head_of("HTTP/1.1 200 OK", "a: b", " ", "\t", "c: d")
    assert exchange.head is not None
    assert exchange.head.headers == (("a", "b"), ("c", "d"))


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("timeout=5, max=100", 5.0), ("max=3, timeout=15", 15.0), ("TIMEOUT = 7", 7.0), ('timeout="9"', 9.0), ("max=100", None),
        ("timeout=-1", None), ("timeout=x", None), ("timeout=1e9", 1.0), ("timeout=" + "9" * 30, None), ("xtimeout=5", None),
        ("", None),
    ],
)  # fmt: skip
def test_what_the_server_promises_of_its_patience(value: str, seconds: float | None) -> None:
    assert head_of("HTTP/1.1 200 OK", f"Keep-Alive: {value}").keep_alive_timeout == seconds


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
