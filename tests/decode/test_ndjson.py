"""`NDJSONDecoder`: lines cut anywhere, both roads, then caps and examples."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sans_io.decode import jsontext
from sans_io.decode.ndjson import NDJSONDecoder
from sans_io.errors import LLMStreamError
from sans_io.limits import DEFAULT_LIMITS, Limits
from tests.decode.cuts import Outcome, assert_cuts_never_matter, bytewise, ndjson, random_cut, road

__all__ = ["road"]
LINES = [
    b'{"a":1}\n',
    b'{"a":{"b":[1,2.5,null]}}\n',
    '{"text":"\u20ac \U0001f600 \u2028"}\n'.encode(),
    b'{"a":1}\r\n',
    b"\n",
    b" \t\r\n",
    b'\xef\xbb\xbf{"a":2}\n',
    b' {"a":3} \n',
    b'{"a":1}{}\n',
    b'{"a":\n',
    b"[\n]\n",
    b"null\n",
    b"[]\n",
    b'{"a":NaN}\n',
    b'{"a":1e999}\n',
    b'{"a":"\\ud83d"}\n',
    b'{"a":"\xff"}\n',
    b'{"a":-0.0,"b":-0,"c":18446744073709551616}\n',
    b"[" * 128 + b"]" * 128 + b"\n",
    b"[" * 129 + b"]" * 129 + b"\n",
    b'{"z":' + b"9" * 4300 + b"}\n",
    b'{"z":' + b"9" * 4301 + b"}\n",
    b'{"z":"' + b"9" * 4400 + b'"}\n',
    b'{"a":1}',
    b"<html>",
    b"",
]
wires = st.lists(st.sampled_from(LINES), max_size=7).map(b"".join)
both_roads = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


def by_the_law(wire: bytes, limits: Limits = DEFAULT_LIMITS) -> Outcome:
    values: list[Any] = []
    blanks = 0
    over = len(wire) > limits.max_stream
    *lines, last = wire[: limits.max_stream].split(b"\n")
    for line in lines:
        if len(line) > limits.max_ndjson_line:
            return values, "ndjson_line_too_long", None, blanks
        try:
            text = jsontext.decode_utf8(line)
            if text.strip(" \t\r"):
                values.append(jsontext.decode(text, limits))
            else:
                blanks += 1
        except jsontext.JSONTextError:
            return values, "bad_json", None, blanks
    if len(last) > limits.max_ndjson_line:
        return values, "ndjson_line_too_long", None, blanks
    if over:
        return values, "stream_too_long", None, blanks
    try:
        text = jsontext.decode_utf8(last)
        values += [jsontext.decode(text, limits)] if text.strip(" \t\r") else []
    except jsontext.JSONTextError as fault:
        return values, "truncated" if fault.reason in ("syntax", "utf8") else "bad_json", None, blanks
    return values, None, None, blanks


@both_roads
@given(wires, st.randoms(use_true_random=False))
def test_the_roads_and_the_law_agree_for_every_cut(road: str, wire: bytes, dice: random.Random) -> None:
    law = repr(by_the_law(wire))
    for reads in ([wire], bytewise(wire), random_cut(wire, dice), random_cut(wire, dice)):
        assert repr(ndjson(reads)) == law, reads


@both_roads
@given(wires, st.randoms(use_true_random=False), st.integers(0, 30), st.integers(0, 90), st.integers(0, 3))
def test_they_agree_at_the_caps(
    road: str, wire: bytes, dice: random.Random, line: int, stream: int, depth: int
) -> None:
    limits = replace(DEFAULT_LIMITS, max_ndjson_line=line, max_stream=stream, max_json_depth=depth, max_json_digits=1)
    law = repr(by_the_law(wire, limits))
    for reads in ([wire], bytewise(wire), random_cut(wire, dice)):
        assert repr(ndjson(reads, limits)) == law, reads


@pytest.mark.parametrize(
    "limits", [DEFAULT_LIMITS, replace(DEFAULT_LIMITS, max_json_depth=2), replace(DEFAULT_LIMITS, max_json_digits=1)]
)
@pytest.mark.parametrize("line", [*LINES, b'{"a":10}\n', b'{"a":[[]],"b":"0"}\n'])
def test_every_kind_of_line_after_a_plain_one(road: str, line: bytes, limits: Limits) -> None:
    plain = b'{"a":1}\n'
    law = repr(by_the_law(plain + line + plain, limits))
    for reads in ([plain, line, plain], [plain + line, plain], [plain + line + plain]):
        assert repr(ndjson(reads, limits)) == law, reads


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@both_roads
@given(st.lists(values, max_size=6), st.booleans(), st.booleans(), st.randoms(use_true_random=False))
def test_what_was_sent_arrives(road: str, sent: list[Any], ascii_only: bool, ended: bool, dice: random.Random) -> None:
    lines = [json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass") for value in sent]
    wire = b"\n".join(lines) + (b"\n" if ended else b"")
    blanks = int(ended and not sent)
    assert repr(assert_cuts_never_matter(ndjson, wire, dice, rounds=2)) == repr((sent, None, None, blanks))


@pytest.mark.parametrize("over", [-1, 0, 1])
@pytest.mark.parametrize("cut", [1, 5, 10**9])
def test_the_cap_on_a_line(road: str, over: int, cut: int) -> None:
    limits = replace(DEFAULT_LIMITS, max_ndjson_line=30)
    wire = b'{"a":1}\n"' + b"x" * (28 + over) + b'"\n{}\n'
    values, error, _, _ = ndjson([wire[at : at + cut] for at in range(0, len(wire), cut)], limits)
    assert len(values) == (1 if over == 1 else 3)
    assert error == ("ndjson_line_too_long" if over == 1 else None)


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_the_cap_on_a_stream(road: str, over: int) -> None:
    wire = b'{"a":1}\n{"a":2}\n'
    values, error, _, _ = ndjson([wire], replace(DEFAULT_LIMITS, max_stream=len(wire) - over))
    assert values == [{"a": 1}, {"a": 2}][: 2 - (over == 1)]
    assert error == ("stream_too_long" if over == 1 else None)


def test_a_value_is_given_as_soon_as_its_line_ends(road: str) -> None:
    decoder = NDJSONDecoder()
    for _ in range(3):
        assert decoder.receive_data(b'{"a"') == []
        assert decoder.receive_data(b":1}") == []
        assert decoder.receive_data(b'\n{"b"') == [{"a": 1}]
        assert decoder.receive_data(b":2}\n") == [{"b": 2}]


def test_the_last_line_counts_only_if_it_is_whole(road: str) -> None:
    assert ndjson([b'{"a":1}\n{"done":true}'])[:2] == ([{"a": 1}, {"done": True}], None)
    assert ndjson([b'{"a":1}\n  '])[:2] == ([{"a": 1}], None)


@pytest.mark.parametrize("half", [b'{"done":tr', b"{", b'{"a":"\xe2\x82', b'{"a":1', b'{"a":1}}', b'"', b"x", b"\xff"])
def test_half_a_last_line_is_reported(road: str, half: bytes) -> None:
    for reads in ([b'{"a":1}\n' + half], bytewise(b'{"a":1}\n' + half)):
        assert ndjson(reads)[:2] == ([{"a": 1}], "truncated")
    decoder = NDJSONDecoder()
    decoder.receive_data(half)
    assert decoder.receive_eof() == []
    assert isinstance(decoder.error, LLMStreamError)
    assert "in the middle of a line" in str(decoder.error)


def test_a_last_line_that_a_guard_refuses_is_no_cut(road: str) -> None:
    assert ndjson([b'{"a":' + b"9" * 5000 + b"}"])[1] == "bad_json"


def test_an_error_is_sticky(road: str) -> None:
    decoder = NDJSONDecoder()
    assert decoder.receive_data(b'{"a":1}\nx\n{"a":2}\n') == [{"a": 1}]
    error = decoder.error
    assert error is not None
    assert error.code == "bad_json"
    assert decoder.receive_data(b'{"a":3}\n') == []
    assert decoder.receive_eof() == []
    assert decoder.error is error
