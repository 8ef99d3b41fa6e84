"""The size guard of `json_guards`: its estimate is held against what decoding takes, by shape, windows and spaces."""

from __future__ import annotations

import gc
import json
import tracemalloc

import pytest

from sans_io.decode import json_guards
from sans_io.decode.jsontext import loads
from sans_io.limits import DEFAULT_LIMITS


def estimate(text: str, unique_keys: bool = False) -> int:
    """The smallest budget that is not exceeded, in bytes."""
    low, high = -1, 1
    while json_guards.too_large(text, high, unique_keys):
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if json_guards.too_large(text, middle, unique_keys) else (low, middle)
    return high


def taken(text: str, unique_keys: bool) -> int:
    """Bytes that the standard library had in use at most while it decoded `text`, beside the text."""
    decode = json.JSONDecoder(strict=False, object_pairs_hook=dict if unique_keys else None).decode
    gc.collect()
    # These empty the interpreter's free lists, out of which earlier tests would lend us memory.
    held = [(number, [], {}, float(number), (number, number)) for number in range(3000)]
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        decode(text)
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
        del held


def many(unit: str, count: int = 300) -> str:
    return f"[{','.join([unit] * count)}]"


def keys(count: int) -> str:
    return "{" + ",".join(f'"{number:x}":1' for number in range(count)) + "}"


SHAPES = {
    "lists": many("[]"),
    "dicts": many("{}"),
    "one key": many('{"a":0}'),
    "one item": many("[0]"),
    "two items": many("[0,1]"),
    "lists in lists": many("[[0],[0]]"),
    "short strings": many('"ab"'),
    "strings with quotes": many('"\\"[{,"'),
    "wide strings": many('"\u0101"'),
    "emoji": many('"\U0001f600"'),
    "small numbers": many("7", 900),
    "numbers": many("300"),
    "negative numbers": many("-1.5e-7"),
    "five keys": many(keys(5)),
    "log probabilities": many('{"token":"ab","logprob":-0.123456,"bytes":[97,98],"top_logprobs":[]}'),
    "dicts in dicts": many('{"a":{"b":{"c":{"d":1}}}}'),
    "keys": keys(300),
    "long strings": many(f'"{"x" * 200}"'),
    "strings longer than a window": many(f'"{"x" * 70_000}"', 2),
    "keys longer than a window": many(f'{{"{"k" * 70_000}":1}}', 2),
    "a wide string longer than a window": f'["{"x" * 70_000}\U0001f600\\n"]',
    "spaces": many('{ "a"\n:\t0 }').replace(",", " \r,\n "),
}


@pytest.mark.parametrize("unique_keys", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_estimate_is_no_less_than_decoding_takes_and_not_much_more(shape: str, unique_keys: bool) -> None:
    text = SHAPES[shape]
    bound, real = estimate(text, unique_keys), taken(text, unique_keys)
    assert real * 0.98 <= bound <= real * 1.75


@pytest.mark.parametrize(("unique_keys", "times"), [(False, 2.5), (True, 4.5)])
def test_dicts_of_six_keys_are_rated_higher_than_they_are_by_so_much(unique_keys: bool, times: float) -> None:
    text = many(keys(6))
    real = taken(text, unique_keys)
    assert real <= estimate(text, unique_keys) <= real * times


@pytest.mark.parametrize("unit", ['{"key" : "value"}', '"te\\"xt"', '{"a":{"b":[1,[2]]}}', '"\u0101\\\\"'])
def test_where_a_window_ends_changes_nothing(unit: str) -> None:
    text = many(unit, 70_000 // (len(unit) + 1))
    assert len(text) > 65_536
    whole = estimate(text)
    for before in range(1, len(unit) + 2):
        shifted = " " * before + text
        assert json_guards.too_large(shifted, whole - whole // 1000)
        assert not json_guards.too_large(shifted, whole + whole // 1000)


@pytest.mark.parametrize("colon", [":", " \n\t\r: "])
def test_a_key_longer_than_a_window_is_a_key(colon: str) -> None:
    key, value = f'"{"k" * 70_000}"', "[[],[]]"
    pair, items = estimate(f"[{{{key}{colon}{value}}}]"), estimate(f"[{{}},{key},{value}]")
    assert pair != items
    assert abs(pair - items) < 400


def test_the_same_key_is_held_once() -> None:
    same = estimate(many('{"1234":0}', 300))
    different = estimate("[" + ",".join(f'{{"{number}":0}}' for number in range(1000, 1300)) + "]")
    assert 40 * 299 < different - same < 90 * 299


def test_it_refuses_before_it_has_read_all() -> None:
    text = "[" + "[]," * 50_000 + '"never ends'
    assert json_guards.too_large(text, 300_000), "its first window says so"
    assert not json_guards.too_large(text, 50_000_000)


def test_what_is_refused_is_not_built() -> None:
    body = json.dumps([{}] * 400_000)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="many times its size"):
            loads(body, limits=DEFAULT_LIMITS)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < len(body) * 2
