"""`SSEJSONDecoder`: both fast roads give what the plain decoders give, whatever the cut; then caps and examples."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sans_io.decode import jsontext
from sans_io.decode.sse_json import DONE, SSEJSONDecoder
from sans_io.limits import DEFAULT_LIMITS, Limits
from tests.decode.cuts import (
    assert_cuts_never_matter,
    bytewise,
    cut_at,
    random_cut,
    road,
    sse_json,
    sse_json_by_the_law,
)

__all__ = ["road"]
BLOCKS = [
    b'data: {"a":1}\n\n',
    b'data: {"a":{"b":[1,2.5,null,"\\u20ac"]}}\n\n',
    'data: {"text":"\u20ac \U0001f600 \u2028"}\n\n'.encode(),
    b'event: x\ndata: {"b":[]}\n\n',
    b'event: y\ndata: {"b":2}\n\n',
    b'event: \ndata: {"b":3}\n\n',
    b'event:z\ndata:{"c":2}\n\n',
    b'event: x\n: c\ndata: {"b":4}\n\n',
    b"data: [DONE]\n\n",
    b"data: [DONE] \n",
    b": keep-alive\n\n",
    b": keep-alive\n",
    b"\n",
    b"\r\n",
    b"\r",
    b'data: {"a":\ndata: 1}\n\n',
    b'data: {"a":\n\n',
    b'data: {"a":\r1}\n\n',
    b'data: {"a":1,\r"b":2}\n\n',
    b'data: {"a":1,\n"b":2}\n\n',
    b'data: {"a":1\n}\n\n',
    b'event: x\ndata: {"a":1\n\n}\n\n',
    b'data: {"a":1}\r\n\r\n',
    b'data: {"a":1} \n\n',
    b'data:  {"a":1}\n\n',
    b'data: {"a":1}{}\n\n',
    b'data: {"a":NaN}\n\n',
    b'data: {"a":1e999}\n\n',
    b'data: {"a":1,"a":2}\n\n',
    b'data: {"a":"\\ud83d"}\n\n',
    b'data: {"a":"\xff"}\n\n',
    b'data: {"a":"\xed\xa0\xbd"}\n\n',
    b'data: {"a":"\0"}\n\n',
    b'data: {"a":18446744073709551616,"b":-0,"c":-0.0,"d":1E5,"e":1e-999}\n\n',
    b'data: {"z":' + b"[" * 127 + b"]" * 127 + b"}\n\n",
    b'data: {"z":' + b"[" * 128 + b"]" * 128 + b"}\n\n",
    b'data: {"z":[' + b"[]," * 140 + b"[]]}\n\n",
    b'data: {"z":' + b"9" * 4300 + b"}\n\n",
    b'data: {"z":' + b"9" * 4301 + b"}\n\n",
    b'data: {"z":"' + b"9" * 4400 + b'"}\n\n',
    b"data: 1\n\n",
    b"data: null\n\n",
    b'data: ["a"]\n\n',
    b"data: {}\n\n",
    b"data: \n\n",
    b"data\n\n",
    b"data",
    b"event: data: {",
    b"\xef\xbb\xbf",
    b"id: 1\n",
    b"id: 1\n\n",
    b"retry: 5\n",
    b"<html>\n\n",
]
wires = st.lists(st.sampled_from(BLOCKS), max_size=8).map(b"".join)
law_and_roads = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@law_and_roads
@given(wires, st.randoms(use_true_random=False))
def test_the_fast_roads_and_the_law_agree_for_every_cut(road: str, wire: bytes, dice: random.Random) -> None:
    law = sse_json_by_the_law(wire)
    # A fault hides the keep-alives behind it, and how many those are depends on the cut.
    compared = 4 if law[1] is None else 3
    for reads in ([wire], *(random_cut(wire, dice) for _ in range(3))):
        assert repr(sse_json(reads)[:compared]) == repr(law[:compared]), reads


@law_and_roads
@given(
    st.lists(st.sampled_from(BLOCKS[:14]), max_size=6).map(b"".join),
    st.randoms(use_true_random=False),
    st.integers(5, 40),
    st.integers(5, 40),
    st.integers(0, 200),
    st.integers(0, 3),
)
def test_they_agree_at_the_caps(
    road: str, wire: bytes, dice: random.Random, line: int, event: int, stream: int, depth: int
) -> None:
    limits = replace(
        DEFAULT_LIMITS,
        max_sse_line=line,
        max_sse_event=event,
        max_stream=stream,
        max_json_depth=depth,
        max_json_digits=1,
    )
    law = repr(sse_json_by_the_law(wire, limits)[:3])
    for reads in ([wire], bytewise(wire), random_cut(wire, dice)):
        assert repr(sse_json(reads, limits)[:3]) == law, reads


@pytest.mark.parametrize(
    "limits", [DEFAULT_LIMITS, replace(DEFAULT_LIMITS, max_json_depth=2), replace(DEFAULT_LIMITS, max_json_digits=1)]
)
@pytest.mark.parametrize("block", [*BLOCKS, b'data: {"a":10}\n\n', b'data: {"a":[[]],"b":"0"}\n\n'])
def test_every_kind_of_block_after_a_plain_one(road: str, block: bytes, limits: Limits) -> None:
    """In a read of its own and together with others: then it meets the fast road."""
    plain = b'data: {"a":1}\n\n'
    law = repr(sse_json_by_the_law(plain + block + plain, limits)[:3])
    for reads in ([plain, block, plain], [plain, block + plain], [plain + block + plain]):
        assert repr(sse_json(reads, limits)[:3]) == law, reads


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@law_and_roads
@given(
    st.lists(
        st.tuples(st.sampled_from([None, "message_start", "x"]), st.dictionaries(st.text(), json_values)), max_size=5
    ),
    st.booleans(),
    st.randoms(use_true_random=False),
)
def test_what_was_sent_arrives(
    road: str, sent: list[tuple[str | None, Any]], ascii_only: bool, dice: random.Random
) -> None:
    wire = b""
    for name, value in sent:
        text = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
        wire += (f"event: {name}\n".encode() if name else b"") + b"data: " + text + b"\n\n"
    expected = [(name or "message", value) for name, value in sent]
    pairs, error, unfinished, _ = assert_cuts_never_matter(sse_json, wire, dice, rounds=2)
    assert (repr(pairs), error, unfinished) == (repr(expected), None, None)


def test_every_cut_of_one_stream(road: str) -> None:
    wire = b'event: a\ndata: {"b":1}\n\n: c\n\ndata: {"d":"\xe2\x82\xac"}\n\n\ndata: [DONE]\n'
    whole = sse_json([wire])
    assert whole[0] == [("a", {"b": 1}), ("message", {"d": "\u20ac"})]
    assert whole[2] == ("message", DONE)
    for first in range(len(wire) + 1):
        for second in range(first, len(wire) + 1):
            assert sse_json(cut_at(wire, [first, second])) == whole


def test_the_fast_road_is_taken(road: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else holds, plain blocks must not pass through the slow decoder."""
    decoder = SSEJSONDecoder()
    assert decoder.receive_data(b'data: {"a":1}\n\n') == [("message", {"a": 1})]
    slow: list[bytes] = []
    monkeypatch.setattr(SSEJSONDecoder, "_decode", lambda self, data, pairs: slow.append(data) or True)
    for block in (b'data: {"a":1}\n\n', b'event: x\ndata: {"a":2}\n\n', b'data: {"a":[' + b"[]," * 90 + b"1]}\n\n"):
        assert len(decoder.receive_data(block * 3)) == 3
        assert len(decoder.receive_data(block + block[:9])) == 1
        assert len(decoder.receive_data(block[9:])) == 1
    assert slow == []


@pytest.mark.parametrize(
    ("wire", "code", "pairs"),
    [
        (b'data: {"a":1}\n\ndata: {"a"\n\ndata: {"a":2}\n\n', "bad_json", 1),
        (b"data: <html>\n\n", "bad_json", 0),
        (b'data: {"a":' + b"[" * 128 + b"]" * 128 + b"}\n\n", "bad_json", 0),
        (b'data: {"a":' + b"[" * 100_000 + b"\n\n", "bad_json", 0),
        (b"data: " + b"1" * 4301 + b"\n\n", "bad_json", 0),
        (b'data: {"a":1}\n\ndata: "' + b"x" * DEFAULT_LIMITS.max_sse_line + b'"\n\n', "sse_line_too_long", 1),
        (b'data: "\n\n', "bad_json", 0),
        (b'data: {"a": 1e400}\n\n', "bad_json", 0),
    ],
)
def test_a_fault_comes_after_the_pairs_before_it(road: str, wire: bytes, code: str, pairs: int) -> None:
    given, error, unfinished, _ = sse_json([wire])
    assert (len(given), error, unfinished) == (pairs, code, None)
    assert sse_json([wire[at : at + 1000] for at in range(0, len(wire), 1000)])[:2] == (given, code)


@pytest.mark.parametrize("line_end", [b"\n", b"\r", b"\r\n", b"\n\n"])
@pytest.mark.parametrize("prefix", [b"", b'data: {"a":1}\n\n'])
def test_a_line_end_within_a_value_is_a_line_end(road: str, prefix: bytes, line_end: bytes) -> None:
    """JSON would allow it between tokens."""
    wire = prefix + b'data: {"a":1' + line_end + b"}\n\n"
    assert sse_json([wire])[:2] == ([("message", {"a": 1})] * bool(prefix), "bad_json")
    assert sse_json([prefix, wire[len(prefix) :]])[:2] == ([("message", {"a": 1})] * bool(prefix), "bad_json")


def test_an_error_is_sticky(road: str) -> None:
    decoder = SSEJSONDecoder()
    decoder.receive_data(b"data: x\n\n")
    error = decoder.error
    assert error is not None
    assert decoder.receive_data(b'data: {"a":1}\n\n') == []
    assert decoder.receive_eof() == []
    assert decoder.error is error
    assert decoder.unfinished is None


@pytest.mark.parametrize(
    ("wire", "unfinished"),
    [
        (b'data: {"a":1}\n', ("message", {"a": 1})),
        (b'event: x\r\ndata: {"a":1}\r\n', ("x", {"a": 1})),
        (b'data: {"a":1}', None),
        (b'data: {"a"\n', None),
        (b"data:\n", None),
        (b'data: {"a":1}\n\n', None),
    ],
)
def test_what_only_lacks_its_blank_line(road: str, wire: bytes, unfinished: Any) -> None:
    for before in (b"", b"data: {}\n\n"):
        decoder = SSEJSONDecoder()
        decoder.receive_data(before + wire)
        assert decoder.unfinished == unfinished
        assert decoder.receive_eof() == []
        assert decoder.unfinished == unfinished
        assert decoder.error is None


def test_keepalives_are_counted_at_once(road: str) -> None:
    decoder = SSEJSONDecoder()
    decoder.receive_data(b'data: {"a":1}\n\n')
    for count, wire in enumerate(
        [b": ping\n", b": ping\n", b"\n", b"\n", b"event: ping\n\n", b"data:\n\n", b": ping\n"]
    ):
        assert decoder.receive_data(wire) == []
        assert decoder.keepalives == count + 1 - (count >= 2), "the blank line after a comment is a part of it"
    assert decoder.receive_data(b'data: {"a":1}\n\n') == [("message", {"a": 1})]


@pytest.mark.parametrize(
    "wire",
    [
        b'data: {"a":1}\r\n\r\n',
        b'data: {"a":1}\r\r',
        b'data: {"a":1}\n\n',
        b'data:{"a":1}\n\n',
        b'id:1\ndata: {"a":1}\n\n',
    ],
)
def test_an_event_is_given_as_soon_as_it_is_whole(road: str, wire: bytes) -> None:
    decoder = SSEJSONDecoder()
    for _ in range(3):
        assert decoder.receive_data(wire[:8]) == []
        assert decoder.receive_data(wire[8:]) == [("message", {"a": 1})]


def test_halves_of_a_character_are_kept_for_the_joiner(road: str) -> None:
    pairs = sse_json([b'data: {"t":"\\ud83d"}\n\ndata: {"t":"\\ude00"}\n\n'])[0]
    joiner = jsontext.SurrogateJoiner()
    assert "".join(joiner.join(value["t"]) for _, value in pairs) == "\U0001f600"
