"""Streams of OpenAI's wire as servers really send them: one hand-written sample for each quirk."""

from __future__ import annotations

import json

import pytest

from sans_io.chat.events import (
    Finished,
    ReasoningDelta,
    TextDelta,
    ToolCallCompleted,
    ToolCallDelta,
    ToolCallStarted,
    UsageReported,
)
from sans_io.chat.response import ToolCall, Usage
from sans_io.errors import (
    LLMBadRequestError,
    LLMContextLengthError,
    LLMProtocolError,
    LLMRateLimitError,
    LLMServerError,
    LLMStreamError,
)
from tests.providers.openai.kit import DONE, chunk, read, read_stream, sse, stream_reader, text, usage_chunk

STOP = chunk({}, "stop")


def fragment(**call: object) -> dict:
    """A delta with one tool-call fragment; name and arguments go into `function`."""
    function = {key: call.pop(key) for key in ("name", "arguments") if key in call}
    return chunk({"tool_calls": [call | ({"function": function} if function else {})]})


# -- the ordinary stream --


def test_the_documented_stream() -> None:
    reading = read_stream(
        chunk({"role": "assistant", "content": ""}), text("Hel"), text("lo"), STOP,
        usage_chunk(prompt_tokens=3, completion_tokens=2, total_tokens=5),
    )  # fmt: skip
    assert reading.events == [
        TextDelta("Hel"),
        TextDelta("lo"),
        UsageReported(Usage(3, 2)),
        Finished("stop", "stop"),
    ]
    assert reading.response.content == "Hello"
    assert (reading.response.input_tokens, reading.response.output_tokens) == (3, 2)
    assert reading.response.message == {"role": "assistant", "content": "Hello"}
    assert reading.response.raw == {
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m",
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"},
        ],
    }  # fmt: skip


def test_role_only_deltas_and_comments_deliver_nothing_but_are_counted() -> None:
    reader = stream_reader()
    assert reader.receive_data(b": OPENROUTER PROCESSING\n\n: OPENROUTER PROCESSING\n\n") == []
    assert (reader.content_events, reader.keepalives) == (0, 2)
    assert reader.receive_data(sse(chunk({"role": "assistant", "content": ""}), done=False)) == []
    assert (reader.content_events, reader.keepalives) == (0, 3)
    assert not reader.finishing
    reader.receive_data(sse(STOP, done=False))
    assert reader.finishing
    assert reader.complete
    assert not reader.ended
    reader.receive_data(DONE)
    assert reader.ended


def test_a_stream_is_finishing_when_all_choices_asked_for_are() -> None:
    reader = stream_reader(expected=2)
    reader.receive_data(sse(text("a"), STOP, done=False))
    assert reader.complete
    assert not reader.finishing
    reader.receive_data(sse(chunk({"content": "b"}, "stop", index=1), done=False))
    assert reader.finishing


# -- where usage stands --


@pytest.mark.parametrize(
    "chunks",
    [
        [text("a"), STOP, usage_chunk(prompt_tokens=7, completion_tokens=2)],
        [text("a"), chunk({}, "stop", usage={"prompt_tokens": 7, "completion_tokens": 2})],
        [text("a", usage={"prompt_tokens": 7, "completion_tokens": 2}), STOP],
        [text("a", usage={"prompt_tokens": 7, "completion_tokens": 1}), STOP, usage_chunk(completion_tokens=2)],
        [text("a"), chunk({}, "stop", x_groq={"id": "req", "usage": {"prompt_tokens": 7, "completion_tokens": 2}})],
        [
            text("a"),
            {**STOP, "choices": [STOP["choices"][0] | {"usage": {"prompt_tokens": 7, "completion_tokens": 2}}]},
        ],
        [text("a", usage=None), STOP, usage_chunk(prompt_tokens=7, completion_tokens=2), text("", usage=None)],
    ],
)
def test_usage_may_stand_anywhere_and_the_last_counts(chunks: list[dict]) -> None:
    assert read_stream(*chunks).response.usage == Usage(7, 2)


def test_details_of_usage() -> None:
    usage = {
        "prompt_tokens": 20, "completion_tokens": 9, "prompt_tokens_details": {"cached_tokens": 5, "cache_write_tokens": 1},
        "completion_tokens_details": {"reasoning_tokens": 4},
    }  # fmt: skip
    assert read_stream(STOP, usage_chunk(**usage)).response.usage == Usage(20, 9, 5, 1, 4)
    deepseek = {
        "prompt_tokens": 20,
        "completion_tokens": 9,
        "prompt_cache_hit_tokens": 16,
        "prompt_cache_miss_tokens": 4,
    }
    assert read_stream(STOP, usage_chunk(**deepseek)).response.usage == Usage(20, 9, 16)


@pytest.mark.parametrize("count", [-1, 1.0, "1", True, None, [1], 2**63, 10**30])
def test_what_is_no_count_is_left_out(count: object) -> None:
    usage = usage_chunk(prompt_tokens=count, completion_tokens=count, completion_tokens_details=count)
    reading = read_stream(text("a"), STOP, usage)
    assert reading.response.usage == Usage()
    assert reading.response.total_tokens == 0


# -- empty and missing things --


def test_azure_begins_without_choices_id_and_model() -> None:
    first = {
        "choices": [],
        "created": 0,
        "id": "",
        "model": "",
        "object": "",
        "prompt_filter_results": [{"prompt_index": 0}],
    }
    reading = read_stream(first, text("Hi", model="gpt-x", id="real"), STOP)
    assert reading.response.model == "gpt-x"
    assert reading.response.raw["id"] == "real"
    assert reading.response.raw["prompt_filter_results"] == [{"prompt_index": 0}]


def test_the_model_may_come_with_a_chunk_of_text() -> None:
    reading = read_stream(chunk({"role": "assistant"}, model=""), text("a", model=""), text("b", model="late"), STOP)
    assert reading.response.model == "late"
    assert reading.response.content == "ab"


def test_azure_filters_in_choices_without_a_delta() -> None:
    late = {
        "choices": [{"index": 0, "content_filter_offsets": {"check_offset": 1}, "finish_reason": None}],
        "model": "",
    }
    reading = read_stream(late, text("Hi"), late, STOP, late)
    assert reading.response.content == "Hi"
    only_filter = {"choices": [{"index": 1, "content_filter_results": {}, "finish_reason": None}]}
    assert len(read_stream(text("Hi"), only_filter, STOP, done=False).response.choices) == 1


@pytest.mark.parametrize("delta", [None, {}, {"content": None}, {"content": ""}, {"role": "assistant"}])
def test_deltas_with_nothing_in_them(delta: object) -> None:
    value = chunk({}, None)
    value["choices"][0]["delta"] = delta
    reading = read_stream(value, text("a"), value, STOP)
    assert reading.response.content == "a"
    without = {"choices": [{"index": 0, "finish_reason": "stop"}]}
    assert read_stream(text("a"), without, done=False).response.content == "a"


def test_role_in_every_delta_and_null_beside_text() -> None:
    delta = {"role": "assistant", "content": "a", "tool_calls": None, "reasoning_content": None, "refusal": None}
    assert read_stream(chunk(delta), chunk(delta), STOP).events[:2] == [TextDelta("a"), TextDelta("a")]
    assert read_stream(chunk(delta | {"tool_calls": []}), STOP).response.content == "a"


def test_a_stream_with_nothing_in_it_is_an_empty_answer() -> None:
    reading = read_stream()
    assert reading.error is None
    assert reading.response.content == ""
    assert reading.response.finish_reason == "other"


# -- how a stream ends --


def test_without_done_a_finish_reason_is_enough() -> None:
    assert read_stream(text("a"), STOP, done=False).error is None
    reading = read_stream(text("a"), chunk({"content": "b"}, "stop", index=1), done=False)
    assert isinstance(reading.error, LLMStreamError)
    assert (reading.error.code, reading.error.partial and reading.error.partial.content) == ("truncated", "a")


@pytest.mark.parametrize("data", [b"", b"\n\n", b": ping\n\n", sse(text("a"), done=False), b'data: {"cho'])
def test_without_its_end_a_stream_is_truncated(data: bytes) -> None:
    reading = read(stream_reader(), [data])
    assert isinstance(reading.error, LLMStreamError)
    assert reading.error.code == "truncated"


def test_done_may_lack_its_blank_line() -> None:
    wire = sse(text("a"), done=False)
    assert read(stream_reader(), [wire + b"data: [DONE]\n"]).error is None
    assert read(stream_reader(), [wire + b"data: [DONE]"]).error is not None, "the line itself may be cut"


def test_an_event_without_its_blank_line_may_complete_but_adds_no_text() -> None:
    wire = sse(text("a"), done=False)
    finish = b"data: " + json.dumps(chunk({}, "stop", usage={"prompt_tokens": 1})).encode() + b"\n"
    reading = read(stream_reader(), [wire + finish])
    assert reading.error is None
    assert reading.response.input_tokens == 1
    more = b"data: " + json.dumps(chunk({"content": "b"}, "stop")).encode() + b"\n"
    reading = read(stream_reader(), [wire + more])
    assert reading.error is not None
    assert reading.text() == "a"


def test_finish_reasons_may_come_twice_with_text_between() -> None:
    reading = read_stream(text("a"), STOP, text("b"), chunk({}, "length"), done=False)
    assert reading.response.content == "ab"
    assert (reading.response.finish_reason, reading.response.raw_finish_reason) == ("length", "length")
    assert [event for event in reading.events if isinstance(event, Finished)] == [Finished("length", "length")]


@pytest.mark.parametrize(
    ("raw", "normal"),
    [
        ("stop", "stop"), ("eos", "stop"), ("end_turn", "stop"), ("", "stop"), ("STOP", "stop"), ("length", "length"),
        ("model_length", "length"), ("max_tokens", "length"), ("MAX_TOKENS", "length"), ("function_call", "tool_calls"),
        ("tool_use", "tool_calls"), ("tool_calls", "tool_calls"), ("content_filter", "content_filter"),
        ("SAFETY", "content_filter"), ("error", "error"), ("insufficient_system_resource", "other"), ("load", "other"),
    ],
)  # fmt: skip
def test_finish_reasons_are_normalised_and_kept(raw: str, normal: str) -> None:
    response = read_stream(text("a"), chunk({}, raw)).response
    assert (response.finish_reason, response.raw_finish_reason) == (normal, raw)


def test_an_empty_finish_reason_on_every_delta_is_no_end() -> None:
    deltas = [chunk({"content": "a"}, ""), chunk({"content": "b"}, "")]
    assert read_stream(*deltas, chunk({}, "length")).response.raw_finish_reason == "length"
    assert read_stream(*deltas).response.raw_finish_reason == ""
    assert isinstance(read_stream(*deltas, done=False).error, LLMStreamError)


def test_done_without_any_finish_reason() -> None:
    response = read_stream(text("a")).response
    assert (response.finish_reason, response.raw_finish_reason) == ("other", None)


# -- framing --


def test_perplexity_crlf_message_beside_delta_and_no_done() -> None:
    def one(piece: str, so_far: str, finish: str | None = None) -> dict:
        value = chunk({"role": "assistant", "content": piece}, finish, citations=["https://a.example"])
        value["choices"][0]["message"] = {"role": "assistant", "content": so_far}
        return value

    wire = sse(one("Hel", "Hel"), one("lo", "Hello"), one("", "Hello", "stop"), done=False).replace(b"\n", b"\r\n")
    reading = read(stream_reader(), [wire])
    assert reading.response.content == "Hello"
    assert reading.response.raw["citations"] == ["https://a.example"]


def test_a_whole_message_in_a_stream() -> None:
    value = chunk({}, "stop")
    value["choices"][0] = {"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}
    assert read_stream(value).response.content == "Hi"


@pytest.mark.parametrize(
    "start", [b"\n\n", b"\r\n", b"\xef\xbb\xbf", b": hi\n", b"retry: 10\n", b"id: 1\n\n", b"data:\n\n"]
)
def test_what_may_stand_before_the_first_event(start: bytes) -> None:
    assert read(stream_reader(), [start + sse(text("a"), STOP)]).response.content == "a"


def test_no_space_after_the_colon_and_data_over_several_lines() -> None:
    wire = b'data:{"choices":[{"index":0,\ndata: "delta":{"content":"a"},"finish_reason":"stop"}]}\n\ndata:[DONE]\n\n'
    assert read(stream_reader(), [wire]).response.content == "a"


def test_line_separators_in_text_end_no_line() -> None:
    assert read_stream(text("a\u2028b\u2029c\x85d"), STOP).response.content == "a\u2028b\u2029c\x85d"


# -- tool calls --

LOOK = [ToolCall("c1", "look", {"a": 1}, '{"a": 1}')]


@pytest.mark.parametrize(
    "deltas",
    [
        [fragment(index=0, id="c1", type="function", name="look", arguments=""), fragment(index=0, arguments='{"a": 1}')],
        [fragment(index=1, id="c1", name="look", arguments='{"a"'), fragment(index=1, arguments=": 1}")],
        [fragment(id="c1", name="look", arguments='{"a": 1}')],
        [fragment(index=0, id="c1", name="look", arguments='{"a"'), fragment(index=None, arguments=": 1}")],
        [fragment(index=0, id="c1", name="look", arguments='{"a"'), fragment(index=0, id="", name="", arguments=": 1}")],
        [
            fragment(index=0, id="c1", name="look", arguments='{"a"'),
            fragment(index=0, id="c1", name="look", arguments=": 1}"),
        ],
        [fragment(index=0, id="c1", name="look", arguments=None), fragment(index=0, name=None, arguments='{"a": 1}')],
        [fragment(index=0, id="c1", name="look"), fragment(index=0, arguments='{"a": 1}')],
        [chunk({"tool_calls": {"index": 0, "id": "c1", "function": {"name": "look", "arguments": '{"a": 1}'}}})],
        [chunk({"tool_calls": [None, {"index": 0, "id": "c1", "name": "look", "arguments": '{"a": 1}'}]})],
        [
            chunk({"tool_calls": [
                {"index": 0, "id": "c1", "function": {"name": "look", "arguments": '{"a"'}},
                {"index": 0, "function": {"arguments": ": 1}"}},
            ]}),
        ],
    ],
)  # fmt: skip
def test_one_call_in_many_spellings(deltas: list[dict]) -> None:
    reading = read_stream(*deltas, chunk({}, "tool_calls"))
    assert reading.response.tool_calls == LOOK
    assert reading.response.finish_reason == "tool_calls"
    assert [event for event in reading.events if isinstance(event, ToolCallStarted)] == [
        ToolCallStarted(0, "c1", "look")
    ]
    assert "".join(e.arguments for e in reading.events if isinstance(e, ToolCallDelta)) == '{"a": 1}'
    assert [event.tool_call for event in reading.events if isinstance(event, ToolCallCompleted)] == LOOK


@pytest.mark.parametrize("arguments", ["", None, "null", "{}", {}, " "])
def test_no_arguments_are_an_empty_object(arguments: object) -> None:
    reading = read_stream(fragment(index=0, id="c1", name="look", arguments=arguments), chunk({}, "tool_calls"))
    assert [(call.name, call.arguments) for call in reading.response.tool_calls] == [("look", {})]
    entry = reading.response.message["tool_calls"][0]
    assert entry == {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}


def test_arguments_as_an_object_in_the_chunk_that_finishes() -> None:
    calls = [{"id": "a", "function": {"name": "look", "arguments": {"a": 1}}}, {"id": "b", "function": {"name": "run"}}]
    response = read_stream(text("ok"), chunk({"tool_calls": calls}, "tool_calls")).response
    assert [(call.id, call.name, call.arguments) for call in response.tool_calls] == [
        ("a", "look", {"a": 1}),
        ("b", "run", {}),
    ]


def test_two_calls_that_share_index_0() -> None:
    response = read_stream(
        fragment(index=0, id="a", name="f", arguments="{}"), fragment(index=0, id="b", name="g", arguments="{}"), STOP
    ).response
    assert [(call.id, call.name) for call in response.tool_calls] == [("a", "f"), ("b", "g")]
    assert (response.finish_reason, response.raw_finish_reason) == ("tool_calls", "stop")


def test_calls_without_an_id_get_one() -> None:
    for missing in ({}, {"id": ""}, {"id": None}):
        response = read_stream(fragment(index=0, name="f", arguments="{}", **missing), STOP).response
        assert response.tool_calls[0].id
        assert response.message["tool_calls"][0]["id"] == response.tool_calls[0].id


def test_arguments_cut_by_length_are_never_run() -> None:
    reading = read_stream(fragment(index=0, id="c1", name="f", arguments='{"city": "Pa'), chunk({}, "length"))
    assert reading.response.tool_calls == []
    assert [call.raw_arguments for call in reading.response.invalid_tool_calls] == ['{"city": "Pa']
    assert "tool_calls" not in reading.response.message
    assert reading.response.raw["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"] == '{"city": "Pa'


def test_gemini_thought_signatures_come_back_with_their_call() -> None:
    call = {"index": 0, "id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"a": 1}'}}
    kept = {"extra_content": {"google": {"thought_signature": "c2ln"}}}
    response = read_stream(chunk({"tool_calls": [call | kept]}), STOP).response
    assert response.message["tool_calls"] == [
        {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"a": 1}'}, **kept}
    ]


def test_custom_tools_take_free_text() -> None:
    def one(**custom: str) -> dict:
        return chunk({"tool_calls": [{"index": 0, "custom": custom}]})

    first = chunk({"tool_calls": [{"index": 0, "id": "c1", "type": "custom", "custom": {"name": "sql", "input": ""}}]})
    response = read_stream(first, one(input="SELECT"), one(input=" 1"), chunk({}, "tool_calls")).response
    assert [(c.id, c.name, c.arguments) for c in response.tool_calls] == [("c1", "sql", {"input": "SELECT 1"})]
    assert response.message["tool_calls"] == [
        {"id": "c1", "type": "custom", "custom": {"name": "sql", "input": "SELECT 1"}}
    ]


def test_the_legacy_function_call_is_a_tool_call() -> None:
    deltas = [{"name": "f", "arguments": ""}, {"arguments": '{"a"'}, {"arguments": ": 1}"}]
    response = read_stream(*[chunk({"function_call": d}) for d in deltas], chunk({}, "function_call")).response
    assert [(call.name, call.arguments) for call in response.tool_calls] == [("f", {"a": 1})]
    assert "function_call" not in response.message


# -- reasoning, refusals, parts --


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning"])
def test_reasoning_under_its_names_is_sent_back_as_it_came(key: str) -> None:
    reading = read_stream(
        chunk({key: "I "}), chunk({"content": "", key: "think"}), chunk({"content": "Hi", key: None}), STOP
    )
    assert reading.events[:3] == [ReasoningDelta("I "), ReasoningDelta("think"), TextDelta("Hi")]
    assert reading.response.reasoning == "I think"
    assert reading.response.message == {"role": "assistant", "content": "Hi", key: "I think"}


def test_openrouter_reasoning_details_are_merged_and_not_told_twice() -> None:
    def one(piece: str, **more: object) -> dict:
        return {"type": "reasoning.text", "text": piece, "format": "unknown", "index": 0, **more}

    encrypted = {"type": "reasoning.encrypted", "data": "abc", "index": 0}
    reading = read_stream(
        chunk({"reasoning": "I ", "reasoning_details": [one("I ")]}),
        chunk({"reasoning": "think", "reasoning_details": [one("think", signature="s")]}),
        chunk({"reasoning_details": [encrypted]}),
        text("Hi"),
        STOP,
    )
    assert reading.response.reasoning == "I think"
    assert reading.response.message["reasoning_details"] == [one("I think", signature="s"), encrypted]
    alone = read_stream(chunk({"reasoning_details": [one("Hm")]}), text("Hi"), STOP).response
    assert alone.reasoning == "Hm"
    summary = {"type": "reasoning.summary", "summary": "Hm", "index": 0}
    assert read_stream(chunk({"reasoning_details": [summary]}), STOP).response.reasoning == "Hm"


def test_a_server_in_transition_sends_its_reasoning_under_both_names() -> None:
    both = chunk({"reasoning": "a", "reasoning_content": "a"})
    assert read_stream(both, both, STOP).response.reasoning == "aa"


def test_mistral_thinking_parts_with_text_in_the_chunk_that_closes_them() -> None:
    def thinking(piece: str, **more: object) -> dict:
        return {"type": "thinking", "thinking": [{"type": "text", "text": piece}], **more}

    reading = read_stream(
        chunk({"content": [thinking("I ")]}),
        chunk({"content": [thinking("think", closed=True), {"type": "text", "text": "H"}]}),
        text("i"),
        STOP,
    )
    assert reading.response.reasoning == "I think"
    assert reading.response.content == "Hi"
    assert reading.response.message["content"] == [thinking("I think", closed=True), {"type": "text", "text": "Hi"}]


def test_content_as_a_list_of_text_parts_is_text() -> None:
    response = read_stream(chunk({"content": [{"type": "text", "text": "H"}, "i", None]}), STOP).response
    assert response.message == {"role": "assistant", "content": "Hi"}


def test_references_stay_in_the_message() -> None:
    reference = {"type": "reference", "reference_ids": [1]}
    response = read_stream(chunk({"content": [{"type": "text", "text": "Hi"}, reference]}), text("!"), STOP).response
    assert response.content == "Hi!"
    assert response.message["content"] == [{"type": "text", "text": "Hi"}, reference, {"type": "text", "text": "!"}]


def test_refusals() -> None:
    reading = read_stream(chunk({"refusal": "I "}), chunk({"refusal": "won't"}), STOP)
    assert (reading.response.refusal, reading.response.content) == ("I won't", "")
    assert reading.response.message == {"role": "assistant", "content": "", "refusal": "I won't"}


def test_unknown_keys_of_a_message_are_sent_back() -> None:
    response = read_stream(chunk({"vendor": {"a": 1}}), chunk({"vendor": {"b": "x"}}), text("Hi"), STOP).response
    assert response.message["vendor"] == {"a": 1, "b": "x"}


# -- several choices --


def test_choices_interleaved_and_out_of_order() -> None:
    def one(index: int, piece: str, finish: str | None = None) -> dict:
        return chunk({"content": piece}, finish, index)

    reading = read_stream(one(1, "B"), one(0, "A"), one(1, "b", "stop"), one(0, "a", "length"), expected=2)
    assert [choice.content for choice in reading.response.choices] == ["Aa", "Bb"]
    assert [choice.raw_finish_reason for choice in reading.response.choices] == ["length", "stop"]
    assert reading.response.content == "Aa"
    assert [e.choice for e in reading.events if isinstance(e, TextDelta)] == [1, 0, 1, 0]


def test_several_choices_in_one_chunk() -> None:
    both = chunk({"content": "a"})
    both["choices"].append({"index": 1, "delta": {"content": "b"}, "finish_reason": None})
    reading = read_stream(both, both, STOP, chunk({}, "stop", 1), done=False)
    assert [choice.content for choice in reading.response.choices] == ["aa", "bb"]


def test_logprobs_grow() -> None:
    def one(piece: str) -> dict:
        value = text(piece)
        value["choices"][0]["logprobs"] = {"content": [{"token": piece, "logprob": -0.1}], "refusal": None}
        return value

    raw = read_stream(one("a"), one("b"), STOP).response.raw
    assert [entry["token"] for entry in raw["choices"][0]["logprobs"]["content"]] == ["a", "b"]


# -- errors inside a 200 --


@pytest.mark.parametrize(
    ("event", "kind", "code", "message"),
    [
        ({"error": {"message": "m", "type": "server_error", "code": None}}, LLMServerError, None, "m"),
        ({"error": "boom"}, LLMServerError, None, "boom"),
        ({"error": {"message": "m", "type": "BadRequestError", "code": 400}}, LLMBadRequestError, "400", "m"),
        ({"error": {"message": "m", "code": 502, "metadata": {}}}, LLMServerError, "502", "m"),
        ({"error": {"message": "Rate limit", "code": "rate_limit_exceeded"}}, LLMRateLimitError, "rate_limit_exceeded", "Rate limit"),
        ({"error": {"message": "m", "type": "overloaded_error"}}, LLMServerError, "overloaded", "m"),
        ({"error": {"message": "m", "code": "context_length_exceeded"}}, LLMContextLengthError, "context_length_exceeded", "m"),
        ({"object": "error", "message": "m", "type": "invalid_request_error", "code": None}, LLMBadRequestError, None, "m"),
        ({"type": "error", "error": {"type": "api_error", "message": "Overloaded"}}, LLMServerError, "overloaded", "Overloaded"),
        ({"detail": "m"}, LLMServerError, None, "m"),
        ({"message": "m"}, LLMServerError, None, "m"),
        ({"id": "1", "choices": [], "x_groq": {"error": "over capacity"}}, LLMServerError, "overloaded", "over capacity"),
        ([{"error": {"code": 429, "message": "m", "status": "RESOURCE_EXHAUSTED"}}], LLMRateLimitError, "429", "m"),
        ({"base_resp": {"status_code": 1004, "status_msg": "m"}}, LLMServerError, "1004", "m"),
    ],
)  # fmt: skip
def test_errors_in_a_stream(event: object, kind: type, code: str | None, message: str) -> None:
    reading = read_stream(text("Hi"), event, done=True)
    assert type(reading.error) is kind
    assert (reading.error.code, reading.error.message) == (code, message)
    assert reading.error.partial is not None
    assert reading.error.partial.content == "Hi"
    assert reading.error.provider == "test"
    assert reading.events == [TextDelta("Hi")]


def test_an_error_beside_choices_comes_after_their_text() -> None:
    """OpenRouter: the upstream failed in mid-stream."""
    value = chunk({"content": "lo"}, "error", error={"code": 502, "message": "Upstream error"})
    reading = read_stream(text("Hel"), value)
    assert reading.text() == "Hello"
    assert isinstance(reading.error, LLMServerError)
    assert reading.error.status_code == 502
    inside = chunk({"content": ""}, "error")
    inside["choices"][0]["error"] = {"code": 502, "message": "Upstream error"}
    assert isinstance(read_stream(inside).error, LLMServerError)


def test_groq_event_error() -> None:
    wire = sse(text("a"), done=False) + b'event: error\ndata: {"error":{"message":"m","type":"api_error"}}\n\n'
    assert isinstance(read(stream_reader(), [wire]).error, LLMServerError)
    bare = sse(text("a"), done=False) + b"event: error\ndata: {}\n\n"
    assert isinstance(read(stream_reader(), [bare]).error, LLMServerError)


@pytest.mark.parametrize("error", [None, {}, "", []])
def test_an_error_that_is_empty_is_none(error: object) -> None:
    assert read_stream(text("a", error=error), STOP).error is None


@pytest.mark.parametrize(
    "event",
    [1, "text", [], [1], {"choices": {}}, {"choices": "x"}, {"choices": [1]}, chunk("x"), chunk([1]),
     chunk({"content": 1}), chunk({"content": {"text": "x"}}), chunk({"content": [1]}), chunk({"tool_calls": "x"}),
     chunk({"tool_calls": [1]}), chunk({"tool_calls": [{"function": "x"}]})],
)  # fmt: skip
def test_what_is_no_chunk_is_a_protocol_error(event: object) -> None:
    reading = read(stream_reader(), [sse(text("Hi"), json.dumps(event))])
    assert isinstance(reading.error, LLMProtocolError)
    assert reading.error.partial is not None
    assert reading.error.partial.content == "Hi"


def test_data_that_is_not_json() -> None:
    reading = read_stream(text("Hi"), "{broken", text("more"))
    assert isinstance(reading.error, LLMProtocolError)
    assert reading.error.code == "bad_json"
    assert reading.text() == "Hi"


def test_chunks_that_say_nothing_are_passed_over() -> None:
    reading = read_stream({"type": "ping"}, {"id": "x", "choices": None}, {}, text("a"), {"moderation": {}}, STOP)
    assert reading.response.content == "a"


def test_a_refusal_among_the_parts_of_content() -> None:
    part = {"type": "refusal", "refusal": "No."}
    response = read_stream(chunk({"content": [part]}), STOP).response
    assert (response.refusal, response.message) == ("No.", {"role": "assistant", "content": "", "refusal": "No."})


@pytest.mark.parametrize("thinking", ["Hm", [{"type": "text", "text": "Hm"}, 5, {"text": None}], 5])
def test_thinking_in_odd_forms(thinking: object) -> None:
    reading = read_stream(chunk({"content": [{"type": "thinking", "thinking": thinking}]}), STOP)
    assert reading.response.reasoning == (None if thinking == 5 else "Hm")


def test_details_that_are_no_objects_are_passed_over() -> None:
    assert read_stream(chunk({"reasoning_details": ["x", {"text": 5}]}), STOP).response.reasoning is None


def test_what_a_function_says_beside_name_and_arguments_is_sent_back() -> None:
    function = {"name": "f", "arguments": "{}", "vendor": 1}
    call = {"index": 0, "id": "c1", "type": "function", "function": function, "a": 1, "b": None}
    response = read_stream(chunk({"tool_calls": [call]}), STOP).response
    assert response.message["tool_calls"] == [{"id": "c1", "type": "function", "function": function, "a": 1}]


def test_too_many_tool_calls() -> None:
    reading = read_stream(text("a"), fragment(index=256, id="c", name="f", arguments="{}"))
    assert isinstance(reading.error, LLMProtocolError)
    assert reading.error.code == "too_many_tool_calls"
    assert reading.error.provider == "test"


def test_an_error_may_lack_its_blank_line() -> None:
    reading = read(stream_reader(), [sse(text("a"), done=False) + b'data: {"error": {"message": "m"}}\n'])
    assert isinstance(reading.error, LLMServerError)
    for odd in (b"5", b'{"choices": [5]}', b'{"choices": [{"message": {"content": "b"}, "finish_reason": "stop"}]}'):
        reading = read(stream_reader(), [sse(text("a"), done=False) + b"data: " + odd + b"\n"])
        assert reading.error is not None
        assert (reading.error.code, reading.text()) == ("truncated", "a")


def test_the_servers_own_error_says_more_than_a_broken_chunk() -> None:
    reading = read_stream({"choices": {}, "error": {"message": "m", "type": "server_error"}})
    assert isinstance(reading.error, LLMServerError)
    broken_too = read_stream({"choices": [5], "error": {"message": "m", "type": "server_error"}})
    assert isinstance(broken_too.error, LLMProtocolError)


def test_halves_of_a_character_in_refusals_and_reasoning() -> None:
    for key in ("refusal", "reasoning"):
        halves = [f'{{"choices": [{{"delta": {{"{key}": "{half}"}}}}]}}' for half in (r"\ud83d", r"\ude00!", r"\ud83d")]
        response = read_stream(*halves, STOP).response
        assert (response.refusal or response.reasoning) == "😀!\ufffd"
        assert response.message[key] == "😀!\ufffd"


def test_raw_holds_the_last_word_on_each_key_whatever_came_between() -> None:
    def one(tier: str | None, **more: object) -> dict:
        return chunk({"role": "assistant", "content": None, "refusal": "x"}, service_tier=tier, **more)

    raw = read_stream(one("a"), one("b"), one(None, citations=["c"]), chunk({}, "stop")).response.raw
    assert (raw["service_tier"], raw["citations"]) == ("b", ["c"])
