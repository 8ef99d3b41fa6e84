"""`jsontext`: the standard library is the oracle for what JSON means, the guards are tested at L - 1, L and L + 1."""

from __future__ import annotations

import json
import pickle
import sys
import tracemalloc
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sans_io.decode import json_guards, jsontext
from sans_io.decode.jsontext import JSONTextError, SurrogateJoiner, dumps, loads, well_formed
from sans_io.limits import DEFAULT_LIMITS, Limits
from tests.decode.cuts import road

__all__ = ["road"]
both_roads = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
any_text = st.text(st.characters(exclude_categories=()))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)
TOKENS = [
    "{", "}", "[", "]", ":", ",", " ", "\n", "\r", '"', '"a"', '"a":', '"b":1', "\\", "\\u", "\\ud83d", "\\ude00", "\\n", "1",
    "-", "0", ".5", "e", "E+", "999", "1e400", "-0", "18446744073709551616", "1.7976931348623159e308", "true", "false", "null",
    "NaN", "Infinity", "-Infinity", "\u20ac", "\U0001f600", "\ud83d", "\0", "\x7f", "\ufeff", "\u2028", '"\\/"', '"\\x"', "/*", "'",
]  # fmt: skip
texts = st.lists(st.sampled_from(TOKENS), max_size=14).map("".join)


def by_the_standard_library(text: str) -> Any:
    """What `json` says, with numbers that are no JSON refused; `...` for text that is not JSON."""

    def refuse(_: str) -> None:
        raise ValueError

    try:
        value = json.loads(text, parse_constant=refuse)
        json.dumps(value, allow_nan=False)
    except (ValueError, RecursionError):
        return ...
    return value


def ours(data: bytes | str, limits: Limits = DEFAULT_LIMITS, **options: bool) -> Any:
    try:
        return loads(data, limits=limits, **options)
    except JSONTextError:
        return ...


@given(values)
def test_what_is_dumped_is_loaded(value: Any) -> None:
    assert repr(loads(dumps(value))) == repr(value)
    assert json.loads(dumps(value)) == value


@given(texts | any_text)
@example('{"a":[1,2]}')
def test_it_is_the_standard_library_with_guards(text: str) -> None:
    text = text.removeprefix("\ufeff")
    expected = by_the_standard_library(well_formed(text))
    assert repr(ours(text)) == repr(expected if expected is ... else jsontext.well_formed_tree(expected))


@both_roads
@given(texts.map(lambda text: text.encode("utf-8", "surrogatepass")) | st.binary(max_size=30) | values.map(dumps))
@example(b'{"a":1,"a":2}')
@example(b"1" * 4300)
@example(b"1" * 4301)
@example(b"0." + b"1" * 5000)
@example(b"[" * 128 + b"]" * 128)
@example(b"[" * 129 + b"]" * 129)
@example(b"[" * 5000)
@example(b'"\xed\xa0\xbd"')
@example(b"123456789012345678901234567890.5e-10")
@example(b"2.2250738585072011e-308")
@example(b"-1e-999")
def test_the_accelerator_says_the_same_or_nothing(road: str, data: bytes) -> None:
    fast = jsontext.accelerator()
    assert (fast is None) == (road == "standard library")
    value = jsontext.UNSURE if fast is None else fast(data)
    if value is not jsontext.UNSURE:
        assert repr(value) == repr(jsontext.decode(jsontext.decode_utf8(data)))


@pytest.mark.parametrize("data", [b"", b"\xef\xbb\xbf", b"  \r\n", b"\xef\xbb\xbf \n\t"])
def test_what_may_come_before_a_document(data: bytes) -> None:
    assert loads(data + b'{"a":1} \n') == {"a": 1}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "syntax"),
        (b"  ", "syntax"),
        (b"{} {}", "syntax"),
        (b"[1,]", "syntax"),
        (b'{"a":1', "syntax"),
        (b"<html>", "syntax"),
        (b"\xef\xbb\xbf\xef\xbb\xbf1", "syntax"),
        (b'"\x01"', "syntax"),
        (b"\xff", "utf8"),
        (b'"\xed\xa0\xbd"', "utf8"),
        (b'{"a":"\xe2\x82', "utf8"),
        (b"NaN", "number"),
        (b"[-Infinity]", "number"),
        (b"1e999", "number"),
        (b"-1e999", "number"),
        (b"9" * 400 + b".5", "number"),
        (b"1" * 4301, "digits"),
        (b'{"a":[-' + b"1" * 4301 + b"]}", "digits"),
        (b"1" * 1_000_000, "digits"),
        (b"[" * 129 + b"]" * 129, "depth"),
        (b'{"a":' * 129 + b"1" + b"}" * 129, "depth"),
        (b"[" * 50_000 + b"]" * 50_000, "depth"),
        (b"[" * 50_000, "depth"),
        (b"[" * 400_000, "too_large"),
        (b"[" * 500_001, "containers"),
    ],
)
def test_refused(data: bytes, reason: str) -> None:
    with pytest.raises(JSONTextError) as caught:
        loads(data)
    error = caught.value
    assert error.reason == reason
    assert error.__cause__ is None
    assert error.__context__ is None, "the standard library's error keeps the whole document"
    assert pickle.loads(pickle.dumps(error)).reason == reason


@pytest.mark.parametrize(
    ("limits", "accepted", "refused", "reason"),
    [
        (replace(DEFAULT_LIMITS, max_json_depth=3), b"[[[1]]]", b"[[[[]]]]", "depth"),
        (replace(DEFAULT_LIMITS, max_json_depth=3), b'[{"a":{}},{},[[]]]', b'[{"a":[{}]}]', "depth"),
        (replace(DEFAULT_LIMITS, max_json_containers=3), b"[[],{}]", b"[[],[],[]]", "containers"),
        (replace(DEFAULT_LIMITS, max_json_digits=3), b"[123,-456,0.12345]", b"[-1234]", "digits"),
        (replace(DEFAULT_LIMITS, max_json=5), b"[1,2]", b"[1,2] ", "too_large"),
        (replace(DEFAULT_LIMITS, max_json=5), b'"\xe2\x82\xac"', b'"\xe2\x82\xac" ', "too_large"),
    ],
)
def test_each_limit_at_its_edge(limits: Limits, accepted: bytes, refused: bytes, reason: str) -> None:
    assert loads(accepted, limits=limits) == json.loads(accepted)
    with pytest.raises(JSONTextError) as caught:
        loads(refused, limits=limits)
    assert caught.value.reason == reason


def test_the_default_limits_accept_what_they_name() -> None:
    assert loads(b"1" * 4300) == int("1" * 4300)
    assert loads(b"[" * 128 + b"]" * 128)
    assert loads(b'{"n":"' + b"1" * 10_000 + b'"}') == {"n": "1" * 10_000}, "digits in a string are text"
    assert loads(b'{"n":"' + b"1" * 10_000 + b'","m":1}') == {"n": "1" * 10_000, "m": 1}
    assert len(loads(b"[" + b" " * 14_000_000 + b"[],{}," * 249_999 + b"1]")) == 499_999


@given(st.integers(1, 40), st.integers(0, 90), st.integers(0, 90), st.text("0123456789x", max_size=60))
def test_a_long_run_of_digits_is_always_found(limit: int, before: int, after: int, middle: str) -> None:
    text = "x" * before + middle + "x" * after
    longest = max(map(len, "".join(char if char.isdigit() else " " for char in text).split(" ")))
    assert jsontext.has_digit_run(text, 0, len(text), limit) == (longest > limit)


def test_text_is_capped_in_characters() -> None:
    limits = replace(DEFAULT_LIMITS, max_json=3)
    assert jsontext.decode("[1]", limits) == [1]
    with pytest.raises(JSONTextError) as caught:
        jsontext.decode("[1] ", limits)
    assert caught.value.reason == "too_large"


def test_an_interpreter_that_allows_fewer_digits() -> None:
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(1000)
    try:
        with pytest.raises(JSONTextError) as caught:
            loads(b"1" * 1001)
    finally:
        sys.set_int_max_str_digits(before)
    assert caught.value.reason == "digits"
    assert str(caught.value) == "an integer has too many digits"


def test_duplicate_keys() -> None:
    assert loads(b'{"a":1,"a":2}') == {"a": 2}
    with pytest.raises(JSONTextError) as caught:
        loads(b'[{"b":{"a":1,"\\u0061":2}}]', unique_keys=True)
    assert caught.value.reason == "duplicate_key"
    assert loads(b'{"a":{"a":1}}', unique_keys=True) == {"a": {"a": 1}}


# ---- text that is handed out always encodes ------------------------------------------------------------------------


def encodes(value: Any) -> bool:
    json.dumps(value, ensure_ascii=False).encode()
    return True


@given(any_text)
def test_well_formed_text_encodes_and_pairs_are_joined(text: str) -> None:
    clean = well_formed(text)
    assert encodes(clean)
    assert clean == text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    assert well_formed(clean) == clean


@given(any_text, st.data())
def test_a_joiner_gives_the_whole_text_whatever_the_pieces(text: str, data: st.DataObject) -> None:
    units = text.encode("utf-16-le", "surrogatepass")
    places = sorted(data.draw(st.lists(st.integers(0, len(units) // 2), max_size=5)))
    joiner = SurrogateJoiner()
    joined = ""
    for start, stop in zip([0, *places], [*places, len(units) // 2], strict=True):
        piece = units[2 * start : 2 * stop].decode("utf-16-le", "surrogatepass")
        out = joiner.join(piece)
        assert encodes(out)
        joined += out
    tail = joiner.flush()
    assert joined + tail == well_formed(text)
    assert not joiner.waiting


@given(values, st.data())
def test_loaded_values_encode(value: Any, data: st.DataObject) -> None:
    half = data.draw(st.sampled_from(["\\ud83d", "\\ude00", "\\uDBFF", "\\ud83d\\ude00"]))
    text = json.dumps({"k": [value, {"x": 1}]}).replace("x", half, 2).replace("k", half, 1)
    assert encodes(loads(text))
    assert loads(text) == jsontext.well_formed_tree(json.loads(text))


def test_a_bare_string_is_mended_too() -> None:
    assert loads(b'"\\ud800"') == "\ufffd"


def test_order_of_keys_survives_mending() -> None:
    assert list(loads(b'{"a":1,"\\ud800":2,"b":3}')) == ["a", "\ufffd", "b"]


# ---- dumps ---------------------------------------------------------------------------------------------------------


def test_dumps_is_compact_utf8() -> None:
    assert dumps({"a": [1, 2.5, None, True, "\u20ac"]}) == '{"a":[1,2.5,null,true,"\u20ac"]}'.encode()


@pytest.mark.parametrize(
    ("value", "reason", "words"),
    [
        ({"messages": [{"content": object()}]}, "type", "messages[0].content"),
        ([1, {2, 3}], "type", "[1]"),
        ({"a": {"x": []}, "b": [[1], {"c": (2, None)}, {"d": {3}}]}, "type", "b[2].d"),
        (b"x", "type", "the value"),
        ({"a": {("t",): 1}}, "type", "a key of a"),
        ({"a": [float("nan")]}, "number", "a[0]"),
        (float("-inf"), "number", "the value"),
        ({"a": {"b": "x\ud800"}}, "utf8", "a.b"),
        ({"a\ud800": 1}, "utf8", "a key of the value"),
    ],
)
def test_dumps_names_the_path(value: Any, reason: str, words: str) -> None:
    with pytest.raises(JSONTextError) as caught:
        dumps(value)
    assert caught.value.reason == reason
    assert words in str(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.skipif(sys.platform == "emscripten", reason="what a caller hands over is as deep as the stack allows")
def test_dumps_refuses_what_contains_itself_and_what_is_too_deep() -> None:
    loop: list[Any] = []
    loop.append(loop)
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    for value in (loop, deep):
        with pytest.raises(JSONTextError) as caught:
            dumps(value)
        assert caught.value.reason == "depth"
    while deep:  # taken apart here: the interpreter would do it recursively
        deep = deep[0]


def test_what_contains_itself_is_noticed_long_before_the_stack_ends() -> None:
    """On CPython 3.13 the encoder would end a process in a thread of 1 MiB before it met Python's limit."""
    loop: dict[str, Any] = {}
    loop["again"] = [loop]
    with pytest.raises(ValueError, match="Circular"):
        jsontext._ENCODE(loop, 0)
    same = [1]
    assert dumps([same, {"a": same}, same]) == b'[[1],{"a":[1]},[1]]', "twice is not within itself"


def test_dumps_says_the_same_without_the_c_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    value = {"a": [1, -2.5, None, True, "\u20ac\n"], "b": {}, "1": {"c": (1e300, "")}, 2: [[]]}
    expected = dumps(value)
    monkeypatch.setattr(json.encoder, "c_make_encoder", None)
    slow = jsontext._encode_of(json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")))
    monkeypatch.setattr(jsontext, "_ENCODE", slow)
    assert dumps(value) == expected == json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


# ---- memory --------------------------------------------------------------------------------------------------------

DENSE = {
    "lists": "[]",
    "dicts": "{}",
    "one key": '{"a":0}',
    "one item": "[0]",
    "short strings": '"ab"',
    "wide strings": '"\u0101"',
    "emoji": '"\U0001f600"',
    "numbers": "300",
    "floats": "1.5",
    "log probabilities": '{"token":"ab","logprob":-0.123456,"bytes":[97,98],"top_logprobs":[]}',
    "nested": '{"a":{"b":{"c":{"d":{"e":{"f":1}}}}}}',
    "escapes": '"\\u0101\\ud83d\\ude00"',
    "five keys": None,
    "keys": None,
    "keys within": None,
    "JSON in a string": None,
    "a wide string": None,
}


def dense_body(name: str, size: int) -> bytes:
    count = size // 12
    if name == "keys":
        text = "{" + ",".join(f'"{number:x}":1' for number in range(count)) + "}"
    elif name == "keys within":
        big = ",".join(f'"k{number:x}":1' for number in range(count // 2))
        text = "[" + ",".join(f'{{"{number:x}":1}}' for number in range(count // 3)) + ",{" + big + "}]"
    elif name == "five keys":
        five = ("{" + ",".join(f'"{number * 5 + key:x}":1' for key in range(5)) + "}" for number in range(count // 4))
        text = "[" + ",".join(five) + "]"
    elif name == "JSON in a string":
        text = json.dumps({"arguments": json.dumps([{"x": 1, "y": [2]}] * (count // 3))})
    elif name == "a wide string":
        text = '{"a":"' + "x" * size + '\U0001f600\\n"}'
    else:
        unit = DENSE[name]
        assert unit is not None
        text = "[" + ",".join([unit] * (size // (len(unit.encode()) + 1))) + "]"
    return text.encode()


@pytest.mark.parametrize(
    ("size", "unique_keys"), [(150_000, False), (150_000, True), (900_000, False), (400_000, True)]
)
@pytest.mark.parametrize("name", DENSE)
def test_decoding_takes_at_most_twelve_times_the_body(name: str, size: int, unique_keys: bool) -> None:
    made = dense_body(name, size)
    tracemalloc.start()
    try:
        body = bytes(bytearray(made))
        value = ours(body, unique_keys=unique_keys)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= 12 * len(body) + 8 * 2**20, f"{peak / len(body):.1f} times the body"
    if size == 150_000 or name in {"log probabilities", "floats", "numbers", "a wide string"}:
        assert value is not ..., "an ordinary body must not be refused"


def test_the_estimate_leaves_the_verdict_on_broken_text_to_the_decoder() -> None:
    for tail in ('"' + "x" * 300_000, '"' + '\\"' * 100_000, '"' + "x" * 100_000 + "\\"):
        text = "[" + "[]," * 50_000 + tail
        assert not json_guards.too_large(text, 5_000_000)
        with pytest.raises(JSONTextError) as caught:
            loads(text)
        assert caught.value.reason == "syntax"


def test_the_estimate_grows_with_what_is_there_and_does_not_depend_on_white_space() -> None:
    nested = '{"a":{"b":{"c":{"d":{"e":{"f":1}}}}}}'
    dense, wide = f"[{','.join([nested] * 5000)}]", f"[{' , '.join([nested.replace(':', ' : ')] * 5000)}]"
    for text in (dense, wide):
        assert not json_guards.too_large(text, 12_500_000)
        assert json_guards.too_large(text, 5_000_000)


def test_ordinary_large_bodies_are_accepted() -> None:
    entry = {
        "token": " the",
        "logprob": -0.25,
        "bytes": [32, 116],
        "top_logprobs": [{"token": "a", "logprob": -1.5}] * 5,
    }
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"city": "Paris"}'}}
    for value in (
        {"content": [entry] * 5_000},
        {"tool_calls": [call] * 15_000},
        {"embedding": [0.0123456789] * 200_000},
    ):
        assert loads(json.dumps(value).encode()) == value


def test_without_msgspec_there_is_no_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsontext, "_FASTER", [])
    monkeypatch.setitem(sys.modules, "msgspec", None)
    assert jsontext.accelerator() is None
    assert not jsontext.accelerate()
    monkeypatch.delitem(sys.modules, "msgspec")
    assert not jsontext.accelerate(), "asked once, not at every call"
    assert jsontext.accelerator() is None


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": [object()]}, "a[0] is a value that is not JSON (object)"),
        (object(), "the value is a value that is not JSON (object)"),
        ({"a": "\ud800"}, "a is text with an unpaired surrogate (str)"),
        ({"a": {"\ud800": 1}}, "a key of a is text with an unpaired surrogate (str)"),
        ([1, float("inf")], "[1] is a number that JSON cannot represent (float)"),
        ({"a": {(1,): 1}}, "a key of a is a value that is not JSON (tuple)"),
    ],
)
def test_what_cannot_be_written_is_named_with_its_place(value: Any, message: str) -> None:
    with pytest.raises(JSONTextError) as caught:
        dumps(value)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no JSON value at character 0"),
        ('{"a": 1} x', "extra text after the JSON value at character 9"),
        ('{"a" 1}', "Expecting ':' delimiter at character 5"),
        ("1" * 4301, "an integer has more than 4300 digits"),
        ("[" * 129 + "]" * 129, "nested deeper than 128"),
        ("[" * 50_000 + "]" * 50_000, "nested deeper than 128"),
        ("[" * 500_001, "more than 500000 objects and arrays"),
    ],
)
def test_what_cannot_be_read_is_said(text: str, message: str) -> None:
    with pytest.raises(JSONTextError) as caught:
        jsontext.decode(text)
    assert message in str(caught.value)


@pytest.mark.skipif(sys.platform == "emscripten", reason="what a caller hands over is as deep as the stack allows")
def test_what_contains_itself_is_said_to() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(JSONTextError) as caught:
        dumps(loop)
    assert str(caught.value) == "nested too deeply, or a value that contains itself"
    assert caught.value.reason == "depth"


@pytest.mark.parametrize("limit", [1, 2, 5])
@pytest.mark.parametrize("around", ["", "x", "xx1", "1x"])
def test_a_run_of_digits_is_too_long_from_one_more_than_the_limit_on(limit: int, around: str) -> None:
    for before in range(3 * limit + 3):
        for digits in (limit, limit + 1):
            text = "x" * before + "7" * digits + "x" + around * 4
            assert jsontext.has_digit_run(text, 0, len(text), limit) == (digits > limit)
