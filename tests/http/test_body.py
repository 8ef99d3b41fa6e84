"""Body readers: state laws first (cuts, the oracle, time), then caps and examples."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sans_io.http.body import BodyReader, ChunkedReader, CloseReader, LengthReader
from sans_io.limits import DEFAULT_LIMITS, Limits
from tests.http.oracle import all_cuts, h11_verdict, random_cut
from tests.linear import assert_linear

CHUNKED_HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


def read(reader: BodyReader, reads: list[bytes]) -> tuple[bytes, bool, str | None, bool]:
    """(body, ended, error code, surplus) after these reads."""
    body = b"".join([reader.receive_data(piece) for piece in reads])
    assert reader.stopped == (reader.ended or reader.error is not None)
    assert not (reader.ended and reader.error is not None)
    return body, reader.ended, None if reader.error is None else reader.error.code, bool(reader.surplus)


def stop_position(wire: bytes, limits: Limits) -> int | None:
    """The number of bytes after which a reader fed one byte at a time has stopped; None if it never does."""
    reader = ChunkedReader(limits)
    for position in range(len(wire)):
        reader.receive_data(wire[position : position + 1])
        if reader.stopped:
            return position + 1
    return None


def assert_cut_never_matters(wire: bytes, reads: list[bytes], limits: Limits = DEFAULT_LIMITS) -> None:
    bytewise = read(ChunkedReader(limits), [wire[place : place + 1] for place in range(len(wire))])
    assert read(ChunkedReader(limits), reads) == bytewise
    position = stop_position(wire, limits)
    reader = ChunkedReader(limits)
    fed = 0
    for piece in reads:
        reader.receive_data(piece)
        fed += len(piece)
        assert reader.stopped == (position is not None and fed >= position)


# ---- generators ----------------------------------------------------------------------------------------------------


@st.composite
def chunked_wires(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """(wire, body): a valid chunked body in one of its many spellings."""
    pieces = draw(st.lists(st.binary(min_size=1, max_size=40), max_size=6))
    wire = b""
    for piece in pieces:
        size = draw(st.sampled_from([b"%x", b"%X", b"0%x", b"00000%X"])) % len(piece)
        wire += size + draw(st.sampled_from([b"", b"", b"", b" ", b"\t ", b";a", b';a="b c\xff"', b";"])) + b"\r\n"
        wire += piece + b"\r\n"
    wire += draw(st.sampled_from([b"0", b"000", b"0;last"])) + b"\r\n"
    wire += b"".join(
        draw(st.lists(st.sampled_from([b"a: b\r\n", b"x-y:\r\n", b"Z: \xe9\r\n", b"q: 1\r\n  folded\r\n"]), max_size=3))
    )
    return wire + b"\r\n", b"".join(pieces)


NASTY = [
    b"\r",
    b"\n",
    b"\r\n",
    b"0",
    b"f",
    b"x",
    b"_",
    b"+",
    b"-",
    b" ",
    b"\t",
    b";",
    b":",
    b"\0",
    b"\v",
    b"\xff",
    b"0x",
]


@st.composite
def damaged_wires(draw: st.DrawFn) -> bytes:
    """A chunked body with one to three small damages, or a soup of framing tokens."""
    if draw(st.booleans()):
        return b"".join(
            draw(st.lists(st.sampled_from([*NASTY, b"1", b"a", b"0\r\n\r\n", b"2\r\nab\r\n"]), max_size=14))
        )
    wire, _ = draw(chunked_wires())
    for _ in range(draw(st.integers(1, 3))):
        breaks = [place for place in range(len(wire)) if wire.startswith(b"\r\n", place)]
        if breaks and draw(st.booleans()):
            place, removed = draw(st.sampled_from(breaks)), 2
            put = draw(st.sampled_from([b"", b"\n", b"\r", b"\n\r", b"\r\r\n", b"\r\n\r\n", b"\n\n", b" \r\n"]))
        else:
            place, removed = draw(st.integers(0, len(wire))), draw(st.integers(0, 2))
            put = draw(st.sampled_from([b"", *NASTY]))
        wire = wire[:place] + put + wire[place + removed :]
    return wire


# ---- laws ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wire",
    [
        b"1\r\na\r\n0\r\n\r\n",
        b"2\r\nab\r\n0\r\n\r\nX",
        b"1;x\r\na\r\n0\r\n\r",
        b"0\r\na: b\r\n\r\n",
        b"0\r\na:\r\n b\r\n\r\n",
        b"1\r\na\rb0\r\n\r\n",
        b"1\r\nab\r\n0\r\n",
        b"1\na\r\n0\r\n\r\n",
        b"g\r\na\r\n",
        b"0\r\n\r\r\n",
        b"0\r\n\n0\r\n",
        b"\r\n0\r\n\r\n",
    ],
)
def test_every_cut_of_a_short_wire_means_the_same(wire: bytes) -> None:
    for reads in all_cuts(wire):
        assert_cut_never_matters(wire, reads)


def test_every_cut_of_sixteen_bytes_means_the_same() -> None:
    wire = b"1\r\na\r\n1\r\nb\r\n0\r\n\r\n"[:16]
    expected = read(ChunkedReader(), [wire])
    for reads in all_cuts(wire):
        assert read(ChunkedReader(), reads) == expected


@given(chunked_wires(), st.binary(max_size=5), st.randoms(use_true_random=False))
def test_a_valid_body_is_read_whole_however_it_is_cut(
    made: tuple[bytes, bytes], surplus: bytes, dice: random.Random
) -> None:
    wire, body = made
    assert read(ChunkedReader(), [wire + surplus]) == (body, True, None, bool(surplus))
    assert_cut_never_matters(wire + surplus, random_cut(wire + surplus, dice))


@given(damaged_wires(), st.randoms(use_true_random=False))
def test_a_damaged_body_means_the_same_however_it_is_cut(wire: bytes, dice: random.Random) -> None:
    assert_cut_never_matters(wire, random_cut(wire, dice) if wire else [])


@given(damaged_wires() | chunked_wires().map(lambda made: made[0]))
def test_what_h11_refuses_is_refused(wire: bytes) -> None:
    reader = ChunkedReader()
    body = reader.receive_data(wire)
    reader.receive_eof()
    verdict = h11_verdict(CHUNKED_HEAD + wire)
    if reader.ended:
        assert verdict.ok
        assert (body, reader.surplus) == (verdict.body, verdict.surplus)


@given(chunked_wires(), st.binary(max_size=3))
def test_what_is_valid_h11_reads_alike(made: tuple[bytes, bytes], surplus: bytes) -> None:
    wire, body = made
    verdict = h11_verdict(CHUNKED_HEAD + wire + surplus)
    assert (verdict.ok, verdict.body, verdict.surplus) == (True, body, surplus)


@given(st.binary(max_size=60), st.integers(0, 40), st.randoms(use_true_random=False))
def test_a_length_reader_gives_exactly_its_length(wire: bytes, length: int, dice: random.Random) -> None:
    reads = random_cut(wire, dice) if wire else []
    body, ended, error, surplus = read(LengthReader(length), reads)
    assert body == wire[:length]
    assert ended == (len(wire) >= length)
    assert error is None
    assert surplus == (len(wire) > length)


@given(st.lists(st.binary(max_size=20)))
def test_a_close_delimited_body_is_everything(reads: list[bytes]) -> None:
    reader = CloseReader()
    assert read(reader, reads) == (b"".join(reads), False, None, False)
    reader.receive_eof()
    assert reader.ended
    assert reader.error is None
    assert reader.receive_data(b"late") == b""


@pytest.mark.parametrize(
    "wire", [b"", b"1", b"1\r", b"1\r\n", b"1\r\na", b"1\r\na\r", b"1\r\na\r\n", b"0\r\n", b"0\r\na: b\r\n"]
)
def test_a_chunked_body_that_stops_early_is_truncated(wire: bytes) -> None:
    reader = ChunkedReader()
    reader.receive_data(wire)
    assert reader.error is None
    reader.receive_eof()
    assert reader.error is not None
    assert reader.error.code == "truncated_body"
    assert not reader.ended


def test_a_body_shorter_than_its_length_is_truncated() -> None:
    reader = LengthReader(3)
    assert reader.receive_data(b"ab") == b"ab"
    reader.receive_eof()
    assert reader.error is not None
    assert reader.error.code == "truncated_body"
    assert "1 bytes before" in reader.error.message
    reader.receive_eof()
    assert reader.receive_data(b"c") == b""


def test_bytes_after_the_end_are_surplus_and_never_body() -> None:
    for reader in (LengthReader(0), ChunkedReader()):
        reader.receive_data(b"0\r\n\r\n" if isinstance(reader, ChunkedReader) else b"")
        assert reader.ended
        assert reader.surplus == b""
        assert reader.receive_data(b"HTTP/1.1 200 OK\r\n") == b""
        assert reader.surplus == b"HTTP/1.1 200 OK\r\n"
        reader.receive_data(b"more")
        reader.receive_eof()
        assert reader.surplus == b"HTTP/1.1 200 OK\r\n"
        assert reader.error is None


# ---- refused, each by its rule -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wire", "code", "body"),
    [
        (b"1\na\n0\n\n", "bad_chunk", b""),
        (b"\n", "bad_chunk", b""),
        (b"\r\n", "bad_chunk", b""),
        (b" 1\r\na\r\n", "bad_chunk", b""),
        (b"-1\r\na\r\n", "bad_chunk", b""),
        (b"+1\r\na\r\n", "bad_chunk", b""),
        (b"0x1\r\na\r\n", "bad_chunk", b""),
        (b"1_0\r\na\r\n", "bad_chunk", b""),
        (b"\xb2\r\na\r\n", "bad_chunk", b""),
        (b"g\r\n", "bad_chunk", b""),
        (b"1 ;a\r\n", "bad_chunk", b""),
        (b"1;a\rb\r\n", "bad_chunk", b""),
        (b"1;a\0\r\n", "bad_chunk", b""),
        (b"1" * 21 + b"\r\n", "bad_chunk", b""),
        (b"1\r\nabc", "bad_chunk", b"a"),
        (b"1\r\na\n0\r\n", "bad_chunk", b"a"),
        (b"1\r\na\r\r\n", "bad_chunk", b"a"),
        (b"1\r\na\n\r0\r\n\r\n", "bad_chunk", b"a"),
        (b"1\r\na\r\n1\r\nb\r\nz\r\n", "bad_chunk", b"ab"),
        (b"0\r\n\n", "bad_chunk", b""),
        (b"0\r\n a: b\r\n", "bad_chunk", b""),
        (b"0\r\na\r\n", "bad_chunk", b""),
        (b"0\r\na : b\r\n", "bad_chunk", b""),
        (b"0\r\n: b\r\n", "bad_chunk", b""),
        (b"0\r\na: \0\r\n", "bad_chunk", b""),
        (b"0\r\nContent-Length: 5\r\n", "bad_chunk", b""),
        (b"0\r\ntransfer-encoding: chunked\r\n", "bad_chunk", b""),
    ],
)
def test_broken_framing_is_an_error_after_what_was_body(wire: bytes, code: str, body: bytes) -> None:
    reader = ChunkedReader()
    assert read(reader, [wire]) == (body, False, code, False)
    error = reader.error
    assert reader.receive_data(b"0\r\n\r\n") == b""
    reader.receive_eof()
    assert reader.error is error
    assert reader.surplus == b""


# ---- caps: L is accepted, L + 1 is refused -------------------------------------------------------------------------


@pytest.mark.parametrize("cap", [8, 20, 21, 4096])
@pytest.mark.parametrize("bytewise", [False, True])
def test_the_cap_of_a_chunk_size_line(cap: int, bytewise: bool) -> None:
    limits = replace(DEFAULT_LIMITS, max_chunk_line=cap)
    for length, code in ((cap - 1, None), (cap, None), (cap + 1, "chunk_line_too_long")):
        line = b"1;" + b"x" * (length - 2)
        wire = line + b"\r\na\r\n0\r\n\r\n"
        reads = [wire[place : place + 1] for place in range(len(wire))] if bytewise else [wire]
        body, ended, error, _ = read(ChunkedReader(limits), reads)
        assert (ended, error) == (code is None, code)
        assert body == (b"a" if code is None else b"")


def test_the_cap_holds_for_digits_as_well() -> None:
    limits = replace(DEFAULT_LIMITS, max_chunk_line=8)
    assert read(ChunkedReader(limits), [b"00000001\r\na\r\n0\r\n\r\n"]) == (b"a", True, None, False)
    assert read(ChunkedReader(limits), [b"000000001\r\na\r\n"]) == (b"", False, "chunk_line_too_long", False)


def test_a_size_line_without_end_is_refused_before_its_end() -> None:
    reader = ChunkedReader()
    for _ in range(DEFAULT_LIMITS.max_chunk_line + 2):
        reader.receive_data(b"1")
    assert reader.error is not None
    assert reader.error.code == "chunk_line_too_long"


def test_the_caps_of_the_trailer_section() -> None:
    limits = replace(DEFAULT_LIMITS, max_headers=3, max_head=40, max_chunk_line=30)
    assert read(ChunkedReader(limits), [b"0\r\n" + b"a: b\r\n" * 3 + b"\r\n"])[1:3] == (True, None)
    assert read(ChunkedReader(limits), [b"0\r\n" + b"a: b\r\n" * 4 + b"\r\n"])[1:3] == (False, "too_many_headers")
    at_cap = b"0\r\n" + b"a: " + b"b" * 25 + b"\r\nc: " + b"d" * 5 + b"\r\n"
    assert len(at_cap) - 3 == 40
    assert read(ChunkedReader(limits), [at_cap + b"\r\n"])[1:3] == (True, None)
    assert read(ChunkedReader(limits), [at_cap.replace(b"d", b"dd", 1) + b"\r\n"])[1:3] == (False, "head_too_large")
    assert read(ChunkedReader(limits), [b"0\r\na: " + b"b" * 28 + b"\r\n\r\n"])[1:3] == (False, "chunk_line_too_long")


def test_a_huge_size_is_no_promise_to_allocate() -> None:
    reader = ChunkedReader()
    assert reader.receive_data(b"F" * 20 + b"\r\nabc") == b"abc"
    assert not reader.stopped


# ---- time ----------------------------------------------------------------------------------------------------------


@pytest.mark.serial
@pytest.mark.parametrize(
    ("piece", "read_size"),
    [
        (b"1\r\na\r\n", 65536),
        (b"12c\r\n" + b"x" * 300 + b"\r\n", 65536),
        (b"1;" + b"x" * 4000 + b"\r\na\r\n", 64),
        (b"%x\r\n" % (1 << 30) + b"x" * 100_000, 100),
    ],
    ids=["tiny chunks", "events", "long extensions in small reads", "one chunk in small reads"],
)
def test_reading_takes_linear_time(piece: bytes, read_size: int) -> None:
    def feed(wire: bytes) -> None:
        reader = ChunkedReader()
        for place in range(0, len(wire), read_size):
            reader.receive_data(wire[place : place + read_size])
        assert reader.error is None

    assert_linear(lambda size: piece * (size // len(piece)), feed, 4 << 20)
