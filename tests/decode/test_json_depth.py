"""Nesting is judged before the C decoder, which calls itself for each level, gets to see it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sans_io.decode import json_guards, jsontext
from sans_io.limits import DEFAULT_LIMITS

WASM = sys.platform == "emscripten"
values = st.recursive(
    st.none() | st.integers() | st.text('[]{}"\\,x\u20ac\U0001f600', max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('[{"\\', max_size=4), inner, max_size=3),
    max_leaves=20,
)

#: Replies that end any process whose decoder follows them: in a thread with a small stack, as some systems and servers
#: give to all of theirs.
IN_A_SMALL_THREAD = """
import sys, threading
from sans_io.decode import jsontext
from sans_io.decode.ndjson import NDJSONDecoder
from sans_io.decode.sse_json import SSEJSONDecoder

deep = b'{"a":[' * 10_000

def whole():
    try:
        jsontext.loads(deep)
    except jsontext.JSONTextError as error:
        print(error)

def stream(machine, *reads):
    for read in reads:
        machine.receive_data(read)
    print(machine.error)

ways = {
    "whole": whole,
    "events": lambda: stream(SSEJSONDecoder(), b'data: {}\\n\\n', b'data: ' + deep + b'\\n\\n'),
    "lines": lambda: stream(NDJSONDecoder(), b'{}\\n' + deep + b'\\n'),
    "over events": lambda: stream(SSEJSONDecoder(), b'data: {}\\n\\n', b'data: {"a":\\n\\n' + deep + b'\\n\\n'),
    "over lines": lambda: stream(NDJSONDecoder(), b'{"a":\\n' + deep + b'\\n'),
}
if sys.argv[2] == "accelerated":
    jsontext.accelerate()
threading.stack_size(128 * 1024)
thread = threading.Thread(target=ways[sys.argv[1]])
thread.start()
thread.join()
"""


def depth(value: Any) -> int:
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


@given(values, st.integers(1, 9), st.booleans())
@example(["a" * 7 + '\\"[['], 1, False)
def test_it_is_the_depth_of_the_value(value: Any, window: int, ascii_only: bool) -> None:
    """Wherever the window cuts: in a string, in an escape, between brackets."""
    text = json.dumps(value, ensure_ascii=ascii_only)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_guards, "_WINDOW", window)
        assert not json_guards.too_deep(text, depth(value))
        assert depth(value) == 0 or json_guards.too_deep(text, depth(value) - 1)


@pytest.mark.parametrize("window", [1, 2, 3, 7, 64 * 1024])
@pytest.mark.parametrize("text", ['["[[[[', '["\\"[[[', '["\\\\\\"[[[', '["\\', '["]]]', "[\ud800", "]]]][", ""])
def test_brackets_of_a_string_without_an_end_do_not_count(
    text: str, window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_guards, "_WINDOW", window)
    assert not json_guards.too_deep(text, 1)


def test_what_follows_too_deep_a_place_does_not_excuse_it() -> None:
    assert json_guards.too_deep("[" * 4 + "]" * 4 + "[]" * 100_000, 3)
    assert json_guards.too_deep("[]" * 100_000 + "[" * 4, 3)


@pytest.mark.skipif(WASM, reason="no threads here; the whole stack is as small as this one's")
@pytest.mark.parametrize("decoder", ["plain", "accelerated"])
@pytest.mark.parametrize(
    ("way", "verdict"),
    [
        ("whole", "nested deeper than 128"),
        ("events", "the data of an event is not JSON: nested deeper than 128"),
        ("lines", "a line of the stream is not JSON: nested deeper than 128"),
        # A decoder that read on where the line has ended would be led into the next one.
        ("over events", "the data of an event is not JSON: "),
        ("over lines", "a line of the stream is not JSON: "),
    ],
)
def test_a_small_stack_survives_what_a_server_sends(way: str, verdict: str, decoder: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", IN_A_SMALL_THREAD, way, decoder], cwd=Path(jsontext.__file__).parents[1],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout[: len(verdict)]) == (0, verdict), done.stderr


def test_the_accelerator_sees_no_more_openers_than_may_be_nested(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even in a text so short that, were it whole, it could not be nested too deeply."""
    seen: list[bytes] = []
    monkeypatch.setattr(jsontext, "_FASTER", [(seen.append, ())])
    fast = jsontext.accelerator(replace(DEFAULT_LIMITS, max_json_depth=10))
    assert fast is not None
    assert fast(b"[" * 11) is jsontext.UNSURE
    assert seen == []
    fast(b"[" * 10)
    assert seen == [b"[" * 10]


@pytest.mark.skipif(WASM, reason="whoever allows such a depth needs the stack for it")
def test_where_more_is_allowed_the_interpreters_own_limit_holds() -> None:
    with pytest.raises(jsontext.JSONTextError) as caught:
        jsontext.loads(b"[" * 50_000, limits=replace(DEFAULT_LIMITS, max_json_depth=100_000))
    assert caught.value.reason == "depth"
    assert caught.value.__context__ is None
