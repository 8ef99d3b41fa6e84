"""`raw` keeps every key that a reply's chunks held, and the fast roads give exactly what the interpreter gives."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sans_io.chat.response import ChatResponse
from sans_io.providers.openai_chat.reply import OpenAIBodyReader, OpenAIStreamReader
from tests.decode.cuts import road
from tests.providers.openai.kit import body, body_reader, chunk, read, sse, stream_reader, text

__all__ = ["road"]


class Slow(OpenAIStreamReader):
    """The reader without its fast road."""

    def receive_data(self, data: bytes) -> list[Any]:
        events = []
        self._delta = None
        for i in range(len(data)):  # each event alone, so that the road is closed again before the next one
            events += super().receive_data(data[i : i + 1])
            self._delta = None
        return events


def slow(data: bytes, *, single: bool | None = False) -> ChatResponse:
    reader = Slow("test", "m", single=single)
    reader.receive_data(data)
    reader.receive_eof()
    return reader.response()


@pytest.mark.usefixtures("road")
@pytest.mark.parametrize(
    "tops",
    [
        [{"citations": ["a"]}, {"usage": {"prompt_tokens": 1}}, {"other": 1}],
        [{"citations": ["a"]}, {"search_results": [1]}],
        [{}, {"citations": ["a"]}, {"citations": None}, {}],
        [{"citations": ["a"]}, {"citations": []}, {"citations": ""}],
        [{"citations": ["a"]}, {"citations": ["a", "b"]}, {"citations": ["a", "b"]}],
        [{"x": 1}, {"y": 1}, {"x": 2}, {"z": {"deep": [1]}}],
        [{"obfuscation": "k2"}, {"obfuscation": "9x", "citations": ["a"]}, {"obfuscation": "p"}, {"obfuscation": "q"}],
        [{"id": "1"}, {"id": "2"}, {"id": "3", "citations": ["a"]}, {"id": "4"}, {"id": "5", "more": 1}],
        [{"created": 1}, {"created": 2}, {"created": 3, "system_fingerprint": "f"}],
        [{"model": ""}, {"model": "late"}, {"model": "late"}],
    ],
)
def test_no_key_is_lost(tops: list[dict]) -> None:
    chunks = [text(f"t{i}", **top) for i, top in enumerate(tops)]
    data = sse(*chunks, chunk({}, "stop"))
    raw = read(stream_reader(), [data]).response.raw
    assert raw == slow(data).raw
    first = {"id", "created", "model", "obfuscation"}
    for top in tops:
        for key in top.keys() - first:
            said = [other[key] for other in tops if other.get(key)]
            assert raw[key] == said[-1]
    assert raw["id"] == tops[0].get("id", "chatcmpl-1")
    assert raw["model"] == ("late" if "model" in tops[0] else "m")


values = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(["", "a", "\u00e9", "\ud83d\ude00"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("xyz"), inner, max_size=2),
    max_leaves=4,
)
top_keys = st.sampled_from(
    ["id", "model", "created", "object", "obfuscation", "p", "citations", "usage", "x_groq", "timings", "service_tier"]
)
tops = st.dictionaries(top_keys, values, max_size=4)
deltas = st.fixed_dictionaries(
    {},
    optional={
        "content": st.sampled_from(["", "a", "bc", "\u00e9", "\ud83d", "\ude00", None]),
        "role": st.sampled_from(["assistant", None]),
        "reasoning_content": st.sampled_from(["", None, "hm"]),
        "annotations": values.filter(lambda value: not isinstance(value, dict)),
        "tool_calls": st.sampled_from([None, []]),
    },
)
indexes = st.sampled_from([0, 0, 0, 1, 2])
choice_extras = st.dictionaries(
    st.sampled_from(["logprobs", "stop_reason", "content_filter_results", "seed", "usage", "native_finish_reason"]),
    values,
    max_size=2,
)


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """Chunks that repeat what they say beside the text, now and then with something new."""
    chunks = []
    top: dict = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    extras: dict = {}
    for _ in range(draw(st.integers(1, 8))):
        if draw(st.integers(0, 2)) == 0:
            top = {**top, **draw(tops)}
            for key in draw(st.lists(top_keys, max_size=2)):
                top.pop(key, None)
        if draw(st.integers(0, 3)) == 0:
            extras = draw(choice_extras)
        choice = {"index": draw(indexes), "delta": draw(deltas), "finish_reason": None, **extras}
        chunks.append({**top, "choices": [choice]})
    chunks.append({**top, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    return b"".join(b"data: " + json.dumps(one).encode() + b"\n\n" for one in chunks) + b"data: [DONE]\n\n"


@given(streams(), st.sampled_from([False, True, None]))
def test_the_fast_road_of_streams_gives_what_the_interpreter_gives(data: bytes, single: bool | None) -> None:
    reader = OpenAIStreamReader("test", "m", single=single)
    reader.receive_data(data)
    reader.receive_eof()
    response, expected = reader.response(), slow(data, single=single)
    assert response == expected
    assert json.dumps(response.raw) == json.dumps(expected.raw)


class SlowBody(OpenAIBodyReader):
    """The reader that asks the interpreter for every reply."""

    def read(self, value: dict) -> None:
        self._raw = value
        self._interpreter().body(value)
        if self._chunks.error is None:
            self._chunks.finish()


@given(tops, choice_extras, deltas, st.sampled_from(["stop", "length", "eos", "", None]))
def test_the_fast_road_of_whole_replies_gives_what_the_interpreter_gives(
    top: dict, extras: dict, message: dict, finish: str | None
) -> None:
    value = {**body(message, finish), **top}
    value["choices"][0].update(extras)
    data = json.dumps(value).encode()
    responses = []
    for kind in (OpenAIBodyReader, SlowBody):
        reader = kind("test", "m")
        reader.receive_data(data)
        reader.receive_eof()
        responses.append(reader.response())
    assert responses[0] == responses[1]
    assert responses[0].raw == responses[1].raw


def test_a_whole_reply_is_kept_as_it_is() -> None:
    value = body(citations=["a"], extra=None, deep={"x": [0]})
    reader = body_reader()
    reader.receive_data(json.dumps(value).encode())
    reader.receive_eof()
    assert reader.response().raw == value
