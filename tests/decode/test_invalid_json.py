"""What only looks blank is refused, and the first error stays: each decoder, on both roads."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sans_io.limits import DEFAULT_LIMITS
from tests.decode.cuts import bytewise, ndjson, road, sse_json

__all__ = ["road"]


@pytest.mark.parametrize("text", [b"X", b"XX", b" X ", b"\x0b", b"\xc2\xa0"])
@pytest.mark.usefixtures("road")
def test_only_json_s_own_blanks_are_blank(text: bytes) -> None:
    assert ndjson([text + b"\n"])[:2] == ([], "bad_json")
    assert sse_json([b"data: " + text + b"\n\n"])[:2] == ([], "bad_json")


@pytest.mark.parametrize("text", [b"", b" ", b"\t", b" \t "])
@pytest.mark.usefixtures("road")
def test_json_s_own_blanks_are_nothing(text: bytes) -> None:
    assert ndjson([text + b"\n"])[:2] == ([], None)
    assert sse_json([b"data: " + text + b"\n\n"])[:2] == ([], None)


@pytest.mark.usefixtures("road")
def test_a_bad_line_stays_the_error_though_a_long_one_follows_in_the_same_read() -> None:
    limits = replace(DEFAULT_LIMITS, max_ndjson_line=20)
    wire = b'{"a":1}\nno\n' + b"x" * 40
    for reads in ([wire], bytewise(wire)):
        assert ndjson(reads, limits)[:2] == ([{"a": 1}], "bad_json")


@pytest.mark.parametrize("over", [0, 1])
@pytest.mark.usefixtures("road")
def test_a_stream_may_be_as_long_as_its_cap_also_on_the_fast_road(over: int) -> None:
    block = b'data: {"a":1}\n\n'
    limits = replace(DEFAULT_LIMITS, max_stream=3 * len(block) - over)
    pairs, error, _, _ = sse_json([block] * 3, limits)
    assert pairs == [("message", {"a": 1})] * (3 - over)
    assert error == ("stream_too_long" if over else None)


@pytest.mark.parametrize(
    ("block", "pairs", "error"),
    [
        (b'data: {"a":1}\nid: 7\n\n', [("message", {"a": 1})], None),
        (b'data: {"a":1}\nevent: x\n\n', [("x", {"a": 1})], None),
        (b'data: {"a":1}\ndata: {"b":2}\n\n', [], "bad_json"),
        (b'data: {"a":1}\n: a comment\n\ndata: {"b":2}\n\n', [("message", {"a": 1}), ("message", {"b": 2})], None),
    ],
)
@pytest.mark.usefixtures("road")
def test_an_event_ends_at_its_blank_line_and_not_at_its_first(
    block: bytes, pairs: list[object], error: str | None
) -> None:
    plain = b'data: {"first":0}\n\n'
    given, code, _, _ = sse_json([plain, plain, block])
    assert (given[2:], code) == (pairs, error)
