"""Whole replies of OpenAI's wire as servers really send them, and lists of models."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from sans_io.chat.response import ToolCall, Usage
from sans_io.errors import LLMAuthError, LLMError, LLMNotFoundError, LLMProtocolError, LLMServerError
from sans_io.limits import DEFAULT_LIMITS
from sans_io.providers.openai_chat.reply import OpenAIModelsReader
from tests.providers.openai.kit import body, body_reader, read, read_body


def call(arguments: object = "{}", **more: object) -> dict:
    return {"id": "c1", "type": "function", "function": {"name": "look", "arguments": arguments}, **more}


def test_the_documented_body() -> None:
    value = body(usage={"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 99})
    response = read_body(value).response
    assert (response.content, response.model, response.finish_reason) == ("Hi", "m", "stop")
    assert response.usage == Usage(3, 2)
    assert response.total_tokens == 99, "it may not add up, but it is theirs"
    assert response.message == {"role": "assistant", "content": "Hi"}
    assert response.raw == value


@pytest.mark.parametrize("space", [b"\n\n\n   \n", b"\r\n", b" " * 5000, b"\xef\xbb\xbf"])
def test_white_space_before_the_body(space: bytes) -> None:
    reading = read(body_reader(), [space, json.dumps(body()).encode(), b"\n"])
    assert reading.response.content == "Hi"


def test_keep_alive_white_space_is_no_content() -> None:
    reader = body_reader()
    reader.receive_data(b"\n  \n")
    assert (reader.content_events, reader.keepalives) == (0, 1)


@pytest.mark.parametrize("message", [{}, {"content": None}, {"content": ""}, {"content": None, "tool_calls": None}])
def test_content_absent_null_or_empty(message: dict) -> None:
    response = read_body(body(message | {"role": "assistant"})).response
    assert (response.content, response.tool_calls) == ("", [])
    assert response.message == {"role": "assistant", "content": ""}


def test_a_choice_without_a_message() -> None:
    value = body()
    value["choices"] = [
        {"index": 0, "finish_reason": "content_filter", "content_filter_results": {"hate": {"filtered": True}}}
    ]
    response = read_body(value).response
    assert (response.content, response.finish_reason) == ("", "content_filter")
    value["choices"][0]["message"] = None
    assert read_body(value).response.content == ""


def test_no_choices_at_all_is_an_empty_answer_only_if_it_says_so() -> None:
    assert read_body(body() | {"choices": []}).response.content == ""
    assert isinstance(read_body(body() | {"choices": None}).error, LLMProtocolError)


@pytest.mark.parametrize("arguments", ["", None, "null", "{}", {}])
def test_no_arguments_are_an_empty_object(arguments: object) -> None:
    response = read_body(body({"role": "assistant", "content": None, "tool_calls": [call(arguments)]}, "stop")).response
    assert [(c.id, c.name, c.arguments) for c in response.tool_calls] == [("c1", "look", {})]
    assert response.finish_reason == "tool_calls"
    assert response.message["content"] is None


def test_arguments_as_text_object_and_nonsense() -> None:
    calls = [call('{"a": 1}'), call({"a": 2}, id="c2"), call('{"a": ', id="c3"), call("[1]", id="c4"), call(5, id="c5")]
    response = read_body(body({"role": "assistant", "content": None, "tool_calls": calls}, "tool_calls")).response
    assert [(c.id, c.arguments) for c in response.tool_calls] == [("c1", {"a": 1}), ("c2", {"a": 2})]
    assert [c.id for c in response.invalid_tool_calls] == ["c3", "c4", "c5"]
    assert all(c.arguments_error for c in response.invalid_tool_calls)
    assert [entry["id"] for entry in response.message["tool_calls"]] == ["c1", "c2"]


@pytest.mark.parametrize("ids", [("", ""), (None, None), ("a", "b")])
def test_calls_are_told_apart_whatever_their_ids(ids: tuple[str | None, ...]) -> None:
    calls = [call("{}", id=one, index=0) for one in ids]
    response = read_body(body({"role": "assistant", "tool_calls": calls}, "tool_calls")).response
    assert len(response.tool_calls) == 2
    assert len({c.id for c in response.tool_calls}) == 2
    assert all(c.id for c in response.tool_calls)


def test_extras_of_calls_and_messages_are_sent_back() -> None:
    signature = {"google": {"thought_signature": "c2ln"}}
    message = {
        "role": "assistant", "content": None, "refusal": None, "annotations": [], "function_call": None,
        "reasoning_content": "Hm", "vendor": {"a": [1]}, "tool_calls": [call("{}", extra_content=signature, index=0)],
    }  # fmt: skip
    response = read_body(body(message, "tool_calls")).response
    assert response.reasoning == "Hm"
    assert response.message == {
        "role": "assistant", "content": None, "reasoning_content": "Hm", "vendor": {"a": [1]},
        "tool_calls": [call("{}", extra_content=signature)],
    }  # fmt: skip


def test_mistral_content_as_parts_with_thinking() -> None:
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}], "closed": True}
    response = read_body(body({"role": "assistant", "content": [thinking, {"type": "text", "text": "Hi"}]})).response
    assert (response.reasoning, response.content) == ("Hm", "Hi")
    assert response.message["content"][1] == {"type": "text", "text": "Hi"}
    assert response.message["content"][0]["thinking"] == [{"type": "text", "text": "Hm"}]


def test_custom_tool_calls() -> None:
    entry = {"id": "c1", "type": "custom", "custom": {"name": "sql", "input": "SELECT 1"}}
    response = read_body(body({"role": "assistant", "content": None, "tool_calls": [entry]}, "tool_calls")).response
    assert [(c.name, c.arguments) for c in response.tool_calls] == [("sql", {"input": "SELECT 1"})]
    assert response.message["tool_calls"] == [entry]
    assert ToolCall.from_openai(entry).arguments == {"input": "SELECT 1"}


@pytest.mark.parametrize("indexes", [(0, 1), (1, 0), (0, 0), (None, None), (1, 1), ("a", "b")])
def test_several_choices(indexes: tuple[object, ...]) -> None:
    value = body()
    value["choices"] = [
        {"index": index, "message": {"content": letter}, "finish_reason": "stop"}
        for index, letter in zip(indexes, "ab", strict=True)
    ]
    assert sorted(choice.content for choice in read_body(value).response.choices) == ["a", "b"]


def test_where_usage_may_stand() -> None:
    groq = body(x_groq={"usage": {"prompt_tokens": 3, "completion_tokens": 2}})
    assert read_body(groq).response.usage == Usage(3, 2)
    assert read_body(body(usage=[1])).response.usage == Usage()


# -- not the reply that was asked for --


@pytest.mark.parametrize(
    ("data", "code", "hint"),
    [
        (b"", "empty_body", "empty body"),
        (b" \n", "empty_body", "empty body"),
        (
            b"<!DOCTYPE html><html><head><title>Login</title></head></html>",
            "html_body",
            "is /v1 missing from base_url?",
        ),
        (b"upstream connect error", "not_json", "upstream connect error"),
        (b'{"choices": [', "bad_json", "not valid JSON"),
        (b"null", None, ""),
        (b"[]", None, ""),
        (b'"text"', None, ""),
        (b"5", None, ""),
        (b"{}", "no_choices", "without choices"),
        (b'{"id": "x", "object": "list"}', "no_choices", "without choices"),
        (b'{"choices": {}}', "bad_event", ""),
        (b'{"choices": [1]}', "bad_event", ""),
        (b'{"choices": [{"message": "x"}]}', "bad_event", ""),
        (b"\xff\xfe", "not_json", ""),
        (b'{"choices": [], "a": "\xff"}', "bad_json", "UTF-8"),
        (b"[" * 1000 + b"]" * 1000, "bad_json", ""),
        (b'{"choices": NaN}', "bad_json", ""),
    ],
)
def test_bodies_that_are_no_reply(data: bytes, code: str | None, hint: str) -> None:
    reading = read_body(data)
    assert isinstance(reading.error, LLMProtocolError)
    assert code is None or reading.error.code == code
    assert hint in reading.error.message


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ({"error": {"message": "m", "type": "invalid_api_key"}}, LLMAuthError),
        ({"error": {"message": "m", "code": 404}}, LLMNotFoundError),
        ({"error": "m"}, LLMServerError),
        ({"object": "error", "message": "m", "code": 500}, LLMServerError),
        ({"detail": "m"}, LLMServerError),
        ([{"error": {"message": "m", "code": 401, "status": "UNAUTHENTICATED"}}], LLMAuthError),
        ({"choices": None, "base_resp": {"status_code": 1004, "status_msg": "m"}}, LLMServerError),
        (body() | {"error": {"message": "m", "code": 502}}, LLMServerError),
    ],
)
def test_errors_in_a_200(value: object, kind: type[LLMError]) -> None:
    reading = read_body(value)
    assert type(reading.error) is kind
    assert reading.error.message == "m"


def test_a_choice_that_failed_carries_what_it_had() -> None:
    """OpenRouter, not streamed."""
    value = body({"role": "assistant", "content": "Hel"}, "error")
    value["choices"][0]["error"] = {"code": 502, "message": "Upstream error"}
    error = read_body(value).error
    assert isinstance(error, LLMServerError)
    assert error.partial is not None
    assert error.partial.content == "Hel"


# -- lists of models --


@pytest.mark.parametrize(
    "value",
    [
        {"object": "list", "data": [{"id": "a", "object": "model"}, {"id": "b"}]},
        {"models": [{"name": "a"}, {"name": "b"}]},
        [{"id": "a"}, {"id": "b"}],
        {"data": ["a", None, {"id": 5}, {"id": "b"}]},
    ],
)
def test_lists_of_models(value: object) -> None:
    reader = OpenAIModelsReader("test")
    reader.receive_data(json.dumps(value).encode())
    reader.receive_eof()
    assert reader.error is None
    assert reader.ended
    assert reader.models == ["a", "b"]


@pytest.mark.parametrize("data", [b"null", b"{}", b"[1", b"", b"<html>", b'{"error": "m"}', b'{"data": {}}'])
def test_what_is_no_list_of_models(data: bytes) -> None:
    reader = OpenAIModelsReader("test")
    reader.receive_data(data)
    reader.receive_eof()
    assert isinstance(reader.error, LLMError)
    assert reader.models == []


def test_entries_of_one_list_are_never_merged() -> None:
    """Only entries of different chunks are pieces of one another."""
    details = [{"type": "reasoning.text", "index": 0, "text": letter} for letter in "ab"]
    message = {"role": "assistant", "content": "Hi", "reasoning_details": details}
    assert read_body(body(message)).response.message["reasoning_details"] == details


def models(value: object) -> OpenAIModelsReader:
    reader = OpenAIModelsReader("test")
    reader.receive_data(json.dumps(value).encode())
    reader.receive_eof()
    return reader


def test_a_list_of_models_is_kept_as_it_came() -> None:
    value = {"object": "list", "data": [{"id": "a", "owned_by": "x"}]}
    assert models(value).response().raw == value


def test_a_list_of_models_beside_an_empty_or_a_full_error() -> None:
    assert models({"error": None, "data": [{"id": "a"}]}).models == ["a"]
    assert models({"error": "busy", "data": [{"id": "a"}]}).models == ["a"], "what was asked for is there"
    failed = models({"error": "busy"})
    assert failed.error is not None
    assert (failed.error.message, failed.error.provider) == ("busy", "test")
    other = models({"data": "x"})
    assert other.error is not None
    assert other.error.code == "unexpected_reply"


@pytest.mark.parametrize(
    ("value", "shown"), [([1], "[1]"), ({"data": 5}, '{"data":5}'), ("x" * 300, '"' + "x" * 198 + "…")]
)
def test_json_that_is_something_else_is_shown(value: object, shown: str) -> None:
    reading = read_body(value) if value != {"data": 5} else None
    error = models(value).error if reading is None else reading.error
    assert isinstance(error, LLMProtocolError)
    assert error.message == f"test answered with JSON that is not the reply that was asked for: {shown}"
    assert error.body == value
    assert (error.code, error.provider, error.model) == ("unexpected_reply", "test", None if reading is None else "m")


@pytest.mark.parametrize(("excess", "refused"), [(0, False), (1, True)])
def test_the_largest_whole_reply(excess: int, refused: bool) -> None:
    data = json.dumps(body()).encode() + b" " * excess
    size = len(json.dumps(body()))
    reader = body_reader(replace(DEFAULT_LIMITS, max_json=size))
    for at in range(0, len(data), 7):
        reader.receive_data(data[at : at + 7])
    reader.receive_eof()
    assert (reader.error is not None) == refused
    if reader.error is not None:
        assert reader.error.message == f"the reply is larger than Limits.max_json ({size} bytes)"
        assert reader.error.code == "too_large"


@pytest.mark.parametrize(
    ("data", "code"),
    [(b"", "empty_body"), (b" <html>", "html_body"), (b"Sorry", "not_json"), (b"\xef\xbb\xbf {", "bad_json"), (b"[1", "bad_json"),
     (b"{}}", "bad_json"), (b'"a', "not_json")],
)  # fmt: skip
def test_a_body_that_is_no_json_is_told_from_broken_json(data: bytes, code: str) -> None:
    error = read_body(data).error
    assert isinstance(error, LLMProtocolError)
    assert (error.code, error.provider, error.model) == (code, "test", "m")
    assert code != "bad_json" or error.message.startswith("the reply is not valid JSON: ")
    assert code == "bad_json" or error.message.startswith("test answered 200 with ")


def test_an_error_wrapped_in_a_list_is_read() -> None:
    assert isinstance(read_body([{"error": {"message": "m", "code": 401}}]).error, LLMAuthError)
    assert isinstance(read_body([{"error": {"message": "m", "code": 401}}, {}]).error, LLMProtocolError)


def test_no_two_responses_share_what_they_hold() -> None:
    reader = body_reader()
    reader.receive_data(json.dumps(body({"role": "assistant", "content": "Hi", "annotations": [{"a": 1}]})).encode())
    reader.receive_eof()
    responses = [reader.response() for _ in range(3)]
    assert responses[0] == responses[1] == responses[2]
    for number, response in enumerate(responses):
        response.raw["choices"][0]["message"]["annotations"].append(number)
        response.message["annotations"].append(number)
    assert [response.raw["choices"][0]["message"]["annotations"][1:] for response in responses] == [[0], [1], [2]]
    assert [response.message["annotations"][1:] for response in responses] == [[0], [1], [2]]


def test_what_is_shown_of_other_json_may_be_cut_inside_a_character() -> None:
    for size in (1998, 1999, 2000):
        value = ["x" * size + "é" * 10]
        error = read_body(value).error
        assert error is not None
        assert error.message.endswith("x…")


def test_names_of_models_by_any_of_their_keys() -> None:
    entries = [
        {"id": "a", "name": "no"},
        {"name": "b", "model": "no"},
        {"model": "c"},
        {"id": 5, "model": "d"},
        {"id": ""},
    ]
    assert models({"data": entries}).models == ["a", "b", "c", "d"]
