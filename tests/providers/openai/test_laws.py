"""Laws of the readers: any reply, cut anywhere, damaged anyhow."""

from __future__ import annotations

import cProfile
import json
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sans_io.chat.events import Finished, TextDelta
from sans_io.decode import jsontext
from sans_io.errors import LLMError
from sans_io.limits import DEFAULT_LIMITS
from sans_io.providers.openai_chat import reply as openai_reply
from sans_io.providers.openai_chat.chunks import ChunkInterpreter
from tests.providers.openai.kit import (
    COUNTS,
    DONE,
    JSONS,
    REPLIES,
    body,
    body_reader,
    chunk,
    cut,
    places,
    read,
    read_body,
    sse,
    stream_reader,
    streamed,
    text,
    usage_chunk,
    whole,
    without_raw,
)

LONG = sse(
    chunk({"role": "assistant", "content": ""}),
    chunk({"content": None, "reasoning_content": "Let me see. Ünï"}),
    text("Hello"),
    text(" wörld 😀"),
    chunk(
        {"tool_calls": [{"index": 0, "id": "c1", "type": "function", "function": {"name": "look", "arguments": ""}}]}
    ),
    chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"city": "Zü'}}]}),
    chunk({"tool_calls": [{"index": 0, "function": {"arguments": 'rich"}'}}]}),
    chunk({}, "tool_calls"),
    usage_chunk(prompt_tokens=3, completion_tokens=4),
)


@given(st.data())
def test_a_drained_stream_says_what_the_whole_reply_says(data: st.DataObject) -> None:
    reply = data.draw(REPLIES)
    wire = sse(*data.draw(streamed(reply)))
    drained = read(stream_reader(len(reply["choices"])), cut(wire, data.draw(places(wire))))
    entire = read(body_reader(), [whole(reply)])
    assert drained.error is None
    assert entire.error is None
    assert without_raw(drained.response) == without_raw(entire.response)
    for ours, theirs in zip(drained.response.raw["choices"], entire.response.raw["choices"], strict=True):
        assert ours["finish_reason"] == theirs["finish_reason"]
        for key in ("reasoning", "reasoning_content", "reasoning_details", "tool_calls"):
            assert ours["message"].get(key) == theirs["message"].get(key)


@given(st.data())
def test_where_the_bytes_are_cut_does_not_matter(data: st.DataObject) -> None:
    wire = sse(*data.draw(REPLIES.flatmap(streamed)), done=data.draw(st.booleans()))
    expected = read(stream_reader(3), [wire]).outcome()
    assert read(stream_reader(3), cut(wire, data.draw(places(wire)))).outcome() == expected


@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\r"])
def test_a_stream_byte_by_byte(ending: bytes) -> None:
    wire = LONG.replace(b"\n", ending)
    assert read(stream_reader(), [bytes([b]) for b in wire]).outcome() == read(stream_reader(), [LONG]).outcome()


def test_a_stream_that_stops_anywhere_is_never_whole() -> None:
    entire = read(stream_reader(), [LONG])
    finish = LONG.index(b'"finish_reason": "tool_calls"')
    whole_from = LONG.index(b"\n", finish) + 1
    for length in range(len(LONG)):
        reading = read(stream_reader(), [LONG[:length]])
        assert entire.text().startswith(reading.text())
        if length < whole_from:
            assert reading.error is not None
            assert reading.error.code == "truncated"
            assert reading.error.partial is not None
            assert reading.error.partial.content == reading.text()
            assert reading.error.partial.tool_calls == []
        else:
            assert reading.error is None
            assert reading.response.tool_calls == entire.response.tool_calls


@given(REPLIES.flatmap(streamed), st.data())
def test_the_fast_path_says_what_the_interpreter_says(chunks: list[dict], data: st.DataObject) -> None:
    """The interpreter alone, chunk by chunk, is the law."""
    chunks = json.loads(json.dumps(chunks))
    for _ in range(data.draw(st.integers(0, 2))):
        _damage(chunks, data)
    reader = stream_reader(3)
    slow = ChunkInterpreter("test", "m")
    expected = []
    for value in json.loads(json.dumps(chunks)):
        expected += slow.chunk("message", value)
        if slow.error is not None:
            break
    # Encoded here: `sse` sends a string as it is, and damage may have made a chunk a string.
    got = reader.receive_data(sse(*map(json.dumps, chunks), done=False))
    assert got == expected
    assert (reader.error and reader.error.message) == (slow.error and slow.error.message)
    assert without_raw(reader.response()) == without_raw(slow.response())


#: What stands beside the text of a whole reply in one place or another, and mostly means nothing.
BESIDE = st.sampled_from([None, []]) | st.sampled_from([None, [], "", {}, False, 0, 1, "x", [None], [{}], {"a": 1}])
PLAIN = st.fixed_dictionaries(
    {
        "choices": st.fixed_dictionaries(
            {
                "message": st.fixed_dictionaries(
                    {"content": st.sampled_from(["", "Hi", "\ud83d", "\ud83d\ude00 é"])},
                    optional=dict.fromkeys(
                        ("role", "refusal", "annotations", "tool_calls", "function_call", "reasoning", "audio"), BESIDE
                    ),
                ),
                "finish_reason": st.sampled_from(["stop", "LENGTH", "tool_calls", "content_filter", "news", "", None]),
            },
            optional={"index": st.sampled_from([0, 0, 1, 0.0, False, "0", None]), "error": BESIDE, "usage": BESIDE},
        ).map(lambda choice: [choice]),
    },
    optional={
        "model": st.sampled_from(["m", ""]) | BESIDE,
        "usage": st.fixed_dictionaries(
            {"prompt_tokens": COUNTS | BESIDE}, optional={"completion_tokens": COUNTS, "input_tokens": COUNTS}
        )
        | BESIDE,
        "error": BESIDE,
        "x_groq": BESIDE,
    },
)


@given(PLAIN | REPLIES.map(whole).map(json.loads), st.data())
@example(body({"content": "Hi", "tool_calls": {}}), None)
@example(body(x_groq={"usage": {"prompt_tokens": 3}}), None)
@example(body(error={"message": "overloaded"}), None)
@example({"choices": [{"message": {"content": "Hi"}, "finish_reason": "stop", "usage": {"prompt_tokens": 3}}]}, None)
@example({"choices": [{"message": {"content": "Hi"}, "finish_reason": "stop", "error": "upstream"}]}, None)
@example({"choices": [{"message": {"content": "Hi"}, "finish_reason": "stop", "index": 1}]}, None)
def test_a_plain_reply_says_what_the_interpreter_says(reply: dict, data: st.DataObject | None) -> None:
    values = [json.loads(json.dumps(reply))]
    if data is not None:
        for _ in range(data.draw(st.integers(0, 2))):
            _damage(values, data)
    wire = json.dumps(values[0] if values else None).encode()
    got = read(body_reader(), [wire])
    if not got.response.raw:
        return  # no JSON, or no object
    slow = ChunkInterpreter("test", "m")
    slow.body(jsontext.loads(wire))
    if slow.error is None:
        slow.finish()
    assert (got.error and got.error.message) == (slow.error and slow.error.message)
    assert got.response == slow.response(jsontext.loads(wire))


def test_a_plain_reply_needs_no_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the interpreter was asked")

    monkeypatch.setattr(openai_reply, "ChunkInterpreter", refuse)
    message = {"role": "assistant", "content": "Hi", "refusal": None, "annotations": []}
    reading = read_body(body(message, "length", usage={"prompt_tokens": 3, "completion_tokens": 4}))
    assert (reading.response.content, reading.response.finish_reason) == ("Hi", "length")
    assert reading.response.total_tokens == 7


@given(REPLIES.flatmap(streamed), st.data())
def test_any_value_in_any_place_never_raises(chunks: list[dict], data: st.DataObject) -> None:
    chunks = json.loads(json.dumps(chunks))
    for _ in range(data.draw(st.integers(1, 3))):
        _damage(chunks, data)
    wire = sse(*chunks)
    reading = read(stream_reader(3), [wire])
    assert read(stream_reader(3), cut(wire, data.draw(places(wire)))).outcome() == reading.outcome()


@given(REPLIES.map(whole), st.data())
def test_any_value_in_any_place_of_a_whole_reply_never_raises(reply: bytes, data: st.DataObject) -> None:
    value = [json.loads(reply)]
    for _ in range(data.draw(st.integers(1, 3))):
        _damage(value, data)
    read(body_reader(), [json.dumps(value[0] if value else None).encode()])


@given(st.lists(JSONS, max_size=5))
@example([[{"error": {"message": "m"}}]])
@example([{"choices": [{"delta": {"tool_calls": [{"index": 0, "custom": {"name": {}, "input": []}}]}}]}])
def test_any_json_is_taken(values: list[object]) -> None:
    read(stream_reader(), [sse(*values)])
    for value in values:
        read(body_reader(), [json.dumps(value).encode()])


@given(st.binary(max_size=60) | st.binary(max_size=60).map(lambda data: b"data: " + data + b"\n\n"))
def test_any_bytes_are_taken(data: bytes) -> None:
    read(stream_reader(), [data])
    read(body_reader(), [data])


def test_halves_of_a_character_in_two_deltas_are_joined() -> None:
    halves = [r'{"content": "a\ud83d"}', r'{"content": "\ude00b"}', r'{"content": "\ud83d"}']
    wire = [f'{{"choices": [{{"index": 0, "delta": {half}, "finish_reason": null}}]}}' for half in halves]
    reading = read(stream_reader(), [sse(text("x"), *wire, chunk({}, "stop"))])
    assert reading.response.content == "xa😀b\ufffd"
    assert [e.text for e in reading.events if isinstance(e, TextDelta)] == ["x", "a", "😀b", "\ufffd"]
    assert isinstance(reading.events[-1], Finished)


def test_a_plain_letter_after_half_a_character_waits_for_nothing() -> None:
    wire = r'{"choices": [{"index": 0, "delta": {"content": "\ud83d"}, "finish_reason": null}]}'
    reading = read(stream_reader(), [sse(text("x"), wire, text("y"), text("z"), chunk({}, "stop"))])
    assert reading.response.content == "x\ufffdyz"


def test_a_long_stream_costs_linear_time() -> None:
    """Pieces are not joined while the stream runs: twice the stream is about twice the work, counted in calls."""

    def calls(n: int) -> int:
        wire = sse(*[chunk({"content": None, "reasoning_content": "a", "other": "b"})] * n, chunk({}, "stop"))
        profile = cProfile.Profile()
        profile.runcall(lambda: read(stream_reader(), [wire]))
        return sum(entry.callcount for entry in profile.getstats())

    assert calls(400) / calls(200) < 2.2


@pytest.mark.parametrize("index", [-1, 256, 10**9])
def test_a_choice_out_of_range_is_refused(index: int) -> None:
    reading = read(stream_reader(), [sse(chunk({"content": "a"}, index=index))])
    assert reading.error is not None
    assert reading.error.code == "bad_event"


def test_a_body_has_a_cap() -> None:
    limits = replace(DEFAULT_LIMITS, max_json=100)
    small = b'{"choices": [{"message": {"content": "a"}, "finish_reason": "stop"}]}'
    assert read(body_reader(limits), [small.ljust(100)]).error is None
    too_large = read(body_reader(limits), [small.ljust(101)])
    assert isinstance(too_large.error, LLMError)
    assert too_large.error.code == "too_large"


def test_nothing_after_done_is_read() -> None:
    reading = read(stream_reader(), [sse(text("a"), chunk({}, "stop")) + sse(text("b"), {"error": "late"})])
    assert reading.error is None
    assert reading.response.content == "a"
    assert LONG.endswith(DONE)


def _damage(value: object, data: st.DataObject) -> None:
    """Replace, remove or add one value anywhere inside."""
    spots: list[tuple[object, object]] = []

    def collect(node: object) -> None:
        if isinstance(node, dict):
            spots.extend((node, key) for key in node)
            for item in node.values():
                collect(item)
        elif isinstance(node, list):
            spots.extend((node, i) for i in range(len(node)))
            for item in node:
                collect(item)

    collect(value)
    if not spots:
        return
    container, key = data.draw(st.sampled_from(spots))
    if data.draw(st.integers(0, 4)) == 0:
        del container[key]
    else:
        container[key] = data.draw(JSONS)
