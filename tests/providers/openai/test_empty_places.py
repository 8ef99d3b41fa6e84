"""Places of a chunk that hold nothing."""

from __future__ import annotations

import json

import pytest

from sans_io.calls.replay import decode
from sans_io.errors import LLMProtocolError, LLMServerError
from tests.providers.openai.kit import body, chunk, read, read_body, read_stream, sse, stream_reader, text


def test_a_choice_that_is_null_says_nothing() -> None:
    """It keeps a place and no more: the others are read."""
    whole = text("a")
    whole["choices"] = [None, *whole["choices"], None]
    response = decode("openai", 200, {}, [sse(whole, chunk({}, "stop"))], stream=True)
    assert response.content == "a"
    assert len(response.choices) == 1
    nothing = {**text("b"), "choices": [None]}
    assert decode("openai", 200, {}, [sse(text("a"), nothing, chunk({}, "stop"))], stream=True).content == "a"


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (5, "an event that is not a JSON object"),
        ({"choices": "x"}, "choices that are not a list"),
        ({"choices": [5]}, "a choice that is not an object"),
        (chunk({"content": "x"}, index=-1), "a choice whose index is negative or too large"),
        (chunk("x"), "a message that is not an object"),
        (chunk({"content": 5}), "content that is neither text nor a list of parts"),
        (chunk({"content": [5]}), "a content part that is not an object"),
        (chunk({"tool_calls": "x"}), "tool_calls that are not a list"),
        (chunk({"tool_calls": [5]}), "a tool call that is not an object"),
    ],
)
def test_what_is_no_chunk_is_told_in_words(event: object, words: str) -> None:
    error = read_stream(text("a"), event).error
    assert isinstance(error, LLMProtocolError)
    assert (error.message, error.code) == (f"test sent {words}", "bad_event")
    assert (error.provider, error.model) == ("test", "m")


def test_a_body_without_choices_is_told_in_words() -> None:
    error = read_body({"id": "x"}).error
    assert error is not None
    assert (error.message, error.code) == ("test sent JSON without choices", "no_choices")


def test_an_error_event_that_says_nothing() -> None:
    wire = sse(text("a"), done=False) + b"event: error\ndata: {}\n\n"
    error = read(stream_reader(), [wire]).error
    assert error is not None
    assert error.message == "the server sent an error event without saying what it was"
    told = read(stream_reader(), [b'event: error\ndata: {"reason": "x"}\n\n']).error
    assert told is not None
    assert told.message != error.message
    whole = sse(text("a"), done=False) + b"event: error\n" + sse(text("b"), chunk({}, "stop"))
    assert read(stream_reader(), [whole]).response.content == "ab", "what has choices is an answer, whatever its name"


@pytest.mark.parametrize(
    ("wire", "lacks"),
    [(b"", "a single event"), (sse(text("a"), done=False), "[DONE] and a finish_reason on every choice")],
)
def test_a_cut_stream_is_told_from_one_that_never_began(wire: bytes, lacks: str) -> None:
    error = read(stream_reader(), [wire]).error
    assert error is not None
    assert (error.message, error.code) == (f"test ended the stream without {lacks}", "truncated")


# ---- an event that lacks its blank line --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("last", "whole"),
    [
        (chunk({}, "stop"), True),
        (chunk({"role": "assistant"}, "stop"), True),
        (chunk({"role": "assistant", "content": ""}, "stop"), True),
        (chunk({"content": "b"}, "stop"), False),
        (chunk({"tool_calls": [{"id": "c", "function": {"name": "f"}}]}, "stop"), False),
        ({"choices": [{"message": {"content": "b"}, "finish_reason": "stop"}]}, False),
        ({"choices": [None, chunk({}, "stop")["choices"][0]]}, True),
        ({"choices": [5, chunk({}, "stop")["choices"][0]]}, False),
        ({"choices": [{"delta": "b", "finish_reason": "stop"}]}, False),
    ],
)
def test_what_may_end_a_stream_without_its_blank_line(last: dict, whole: bool) -> None:
    wire = sse(text("a"), done=False) + b"data: " + json.dumps(last).encode() + b"\n"
    reading = read(stream_reader(), [wire])
    assert reading.text() == "a"
    assert reading.ended == whole
    assert (reading.error is None) == whole


# ---- keys that are kept ------------------------------------------------------------------------------------------------


def test_raw_of_a_whole_reply_is_what_came() -> None:
    value = body(obfuscation="x", p="y", service_tier=None, usage={"odd": []}, system_fingerprint="")
    value["choices"][0] |= {"logprobs": None, "message": {"role": "assistant", "content": "Hi", "refusal": None}}
    assert read_body(value).response.raw == value


def test_raw_of_a_stream_is_a_whole_reply() -> None:
    chunks = [
        chunk({"role": "assistant", "content": ""}, obfuscation="x", service_tier="a", system_fingerprint=None),
        {**text("Hi"), "id": "other", "model": "other", "created": 2},
        chunk({"tool_calls": [{"index": 0, "id": "c1", "function": {"name": "f", "arguments": "{broken"}}]}),
        chunk({}, "tool_calls", usage={"prompt_tokens": 1, "odd": 2}),
    ]
    chunks[1]["choices"][0]["content_filter_results"] = {"hate": {"filtered": False}}
    assert read_stream(*chunks).response.raw == {
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m", "service_tier": "a",
        "system_fingerprint": None, "usage": {"prompt_tokens": 1, "odd": 2},
        "choices": [{
            "index": 0, "content_filter_results": {"hate": {"filtered": False}}, "finish_reason": "tool_calls",
            "message": {"role": "assistant", "content": "Hi", "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{broken"}},
            ]},
        }],
    }  # fmt: skip


def test_what_came_so_far_is_told_again_and_again() -> None:
    reader = stream_reader()
    reader.receive_data(sse(text("a"), done=False))
    first = reader.response()
    reader.receive_data(sse(text("b"), done=False))
    second = reader.response()
    assert (first.content, second.content) == ("a", "ab")
    assert first.raw["choices"][0]["message"]["content"] == "a"


def test_custom_calls_by_their_place_in_a_whole_reply() -> None:
    calls = [{"id": f"c{n}", "type": "custom", "custom": {"name": f"t{n}", "input": f"text {n}"}} for n in range(2)]
    response = read_body(body({"role": "assistant", "content": None, "tool_calls": calls}, "tool_calls")).response
    assert [(c.id, c.name, c.arguments) for c in response.tool_calls] == [
        ("c0", "t0", {"input": "text 0"}), ("c1", "t1", {"input": "text 1"}),
    ]  # fmt: skip
    assert response.message["tool_calls"] == calls


def test_custom_calls_in_pieces_with_the_name_when_it_comes() -> None:
    def piece(index: int, **custom: str) -> dict:
        return chunk({"tool_calls": [{"index": index, "type": "custom", "custom": custom}]})

    response = read_stream(
        piece(0, input="x "),
        piece(1, name="g", input="z"),
        piece(0, name="f"),
        piece(0, input="y"),
        chunk({}, "stop"),
    ).response
    assert [(c.name, c.arguments) for c in response.tool_calls] == [("f", {"input": "x y"}), ("g", {"input": "z"})]


@pytest.mark.parametrize(
    ("event", "told"),
    [
        ({"detail": "d"}, "d"), ({"errors": ["e"]}, "e"), ({"message": "m"}, "m"), ({"object": "error", "code": 5}, None),
        ({"type": "error", "code": 5}, None), ({"x_groq": {"error": "g"}}, "g"), ({"base_resp": {"status_code": 1, "status_msg": "b"}}, "b"),
    ],
)  # fmt: skip
def test_every_way_to_report_an_error_in_a_stream(event: dict, told: str | None) -> None:
    error = read_stream(text("a"), event).error
    assert isinstance(error, LLMServerError)
    assert told is None or error.message == told


@pytest.mark.parametrize(
    "event",
    [{"message": {}}, {"message": ""}, {"detail": None}, {"errors": []}, {"object": "list"}, {"type": "ping"}, {"x_groq": {}},
     {"base_resp": {"status_code": 0, "status_msg": ""}}, {"base_resp": "ok"}, {"x_groq": {"error": ""}}],
)  # fmt: skip
def test_what_reports_no_error(event: dict) -> None:
    assert read_stream(text("a"), event, chunk({}, "stop")).error is None


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_details_beside_reasoning_that_came_under_a_name_are_not_told_again(name: str) -> None:
    details = [{"type": "reasoning.text", "text": "hm"}]
    streamed = read_stream(chunk({name: "hm"}), chunk({"reasoning_details": details}), chunk({}, "stop"))
    assert streamed.response.reasoning == "hm"


@pytest.mark.parametrize(
    ("usage", "counts"),
    [
        ({"prompt_tokens": 3, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 1, "cache_write_tokens": 4},
          "completion_tokens_details": {"reasoning_tokens": 5}}, (3, 2, 1, 4, 5)),
        ({"input_tokens": 3, "output_tokens": 2, "cached_tokens": 1, "cache_write_tokens": 4, "reasoning_tokens": 5}, (3, 2, 1, 4, 5)),
        ({"prompt_cache_hit_tokens": 7, "cached_tokens": 1}, (None, None, 7, None, None)),
        ({"prompt_tokens": -1, "input_tokens": 3, "completion_tokens": 2**63, "output_tokens": 2**63 - 1}, (3, 2**63 - 1, None, None, None)),
        ({"prompt_tokens": 3.0, "completion_tokens": True, "prompt_tokens_details": 5, "completion_tokens_details": "x"}, (None,) * 5),
    ],
)  # fmt: skip
def test_counts_under_all_their_names(usage: dict, counts: tuple) -> None:
    for reading in (read_body(body(usage=usage)), read_stream(text("a"), chunk({}, "stop", usage=usage))):
        found = reading.response.usage
        assert (
            found.input_tokens,
            found.output_tokens,
            found.cached_tokens,
            found.cache_write_tokens,
            found.reasoning_tokens,
        ) == counts


@pytest.mark.parametrize(
    ("call", "made"),
    [
        ({"id": "c", "name": "f", "arguments": "{}"}, ["f"]), ({"id": "c", "name": "f"}, ["f"]), ({"id": "c", "arguments": "{}"}, []),
        ({"id": "c", "function": {"name": "f"}}, ["f"]), ({"id": "c"}, []), (None, []),
    ],
)  # fmt: skip
def test_calls_without_a_function_around_them(call: object, made: list[str]) -> None:
    reading = read_stream(chunk({"tool_calls": [call]}), chunk({}, "stop"))
    assert [each.name for each in reading.response.tool_calls] == made
    alone = read_stream(chunk({"tool_calls": call}), chunk({}, "stop"))
    assert [each.name for each in alone.response.tool_calls] == made


def test_raw_has_what_the_last_chunk_said_however_many_were_alike() -> None:
    chunks = [text(piece, service_tier=tier) for piece, tier in zip("abc", "xyz", strict=True)]
    assert read_stream(*chunks, chunk({}, "stop", service_tier="last")).response.raw["service_tier"] == "last"


@pytest.mark.parametrize("kind", ["text", "output_text", None])
def test_parts_of_text_under_their_names(kind: str | None) -> None:
    parts = [{"type": kind, "text": "a"}, "b", {"type": "reference", "ids": [1]}, None, {"text": "c"}]
    response = read_stream(chunk({"content": parts}), chunk({}, "stop")).response
    assert response.content == "abc"
    assert response.message["content"] == [
        {"type": "text", "text": "ab"}, {"type": "reference", "ids": [1]}, {"type": "text", "text": "c"},
    ]  # fmt: skip
    ended = read_stream(chunk({"content": [{"type": "reference", "ids": [1]}]}), chunk({}, "stop")).response
    assert ended.message["content"] == [{"type": "reference", "ids": [1]}]


def test_a_runnable_and_a_broken_call_are_both_in_raw() -> None:
    calls = [
        {"index": 0, "id": "c1", "function": {"name": "f", "arguments": "{}"}},
        {"index": 1, "id": "c2", "function": {"name": "g", "arguments": "{"}},
    ]
    response = read_stream(chunk({"tool_calls": calls}), chunk({}, "tool_calls")).response
    assert [each["id"] for each in response.raw["choices"][0]["message"]["tool_calls"]] == ["c1", "c2"]
