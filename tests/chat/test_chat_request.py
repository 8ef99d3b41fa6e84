"""What users pass to `chat()`: taken in its several forms, or refused with the path of the mistake."""

from __future__ import annotations

import json
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sans_io.chat.message_checks import MAX_DEPTH
from sans_io.chat.messages import ChatRequest, chat_request, checked_headers, encode_body
from sans_io.chat.options import OPTIONS
from sans_io.chat.response import ChatResponse, ToolCall
from sans_io.errors import LLMBadRequestError
from tests.providers.conversations import TOOLS, conversations

HI = [{"role": "user", "content": "Hi"}]
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
CALLED = [*HI, {"role": "assistant", "content": None, "tool_calls": [CALL]}]


def refused(messages: object = HI, **arguments: object) -> str:
    """The message of the refusal."""
    with pytest.raises(LLMBadRequestError) as caught:
        chat_request(messages, **arguments)
    assert caught.value.code == "invalid_argument"
    assert caught.value.message.isprintable()
    return caught.value.message


def user(*parts: object) -> list[dict]:
    return [*HI, {"role": "user", "content": list(parts)}]


# -- laws --


@given(conversations())
def test_good_conversations_are_taken_as_they_are(messages: list[dict]) -> None:
    before = json.dumps(messages)
    chat = chat_request(messages, tools=TOOLS)
    assert list(chat.messages) == messages
    assert json.dumps(messages) == before


@given(conversations())
def test_normalising_twice_changes_nothing(messages: list[dict]) -> None:
    once = chat_request(messages, tools=TOOLS, tool_choice="search", response_format={"type": "object"})
    twice = chat_request(
        once.messages, tools=once.tools, tool_choice=once.tool_choice, response_format=once.options["response_format"]
    )
    assert once == twice


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=2) | st.just(object()),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["role", "content", "type", "text", "function", "name", "id", "tool_calls"]) | st.text(), inner, max_size=3)
    | st.tuples(inner),
    max_leaves=8,
)  # fmt: skip
ARGUMENTS = ["system", "temperature", "max_tokens", "tools", "tool_choice", "model", *OPTIONS]


@given(st.dictionaries(st.sampled_from(ARGUMENTS), ANY, max_size=3), ANY | st.lists(ANY, max_size=2) | st.just(HI))
def test_anything_is_either_taken_or_refused(arguments: dict, messages: object) -> None:
    """No other exception, and what was taken can be written as JSON."""
    try:
        chat = chat_request(messages, **arguments)
        for value in (list(chat.messages), list(chat.tools), chat.tool_choice, chat.options, chat.extra_body):
            encode_body({"value": value})
    except LLMBadRequestError:
        return
    assert isinstance(chat, ChatRequest)


# -- messages --


def test_the_commonest_message_is_not_even_copied() -> None:
    assert chat_request(HI).messages[0] is HI[0]


@pytest.mark.parametrize(
    ("messages", "path"),
    [
        ("Hi", "messages must be a list"), (None, "messages must be a list"), (HI[0], "messages must be a list"),
        ([], "messages is empty"), (["Hi"], "messages[0] must be a dict"), ([None], "messages[0] must"),
        ([{}], "messages[0].role is missing"), ([{"content": "x"}], "messages[0].role is missing"),
        ([{"role": "robot", "content": "x"}], "messages[0].role is 'robot'; it must be one of system, developer"),
        ([{"role": 1, "content": "x"}], "messages[0].role is 1"), ([{"role": "function", "content": "x"}], "messages[0].role"),
        ([{"role": "user"}], "messages[0].content is missing"), ([{"role": "user", "content": None}], "messages[0].content"),
        ([{"role": "user", "content": 5}], "messages[0].content must be a string or a list"),
        ([{"role": "user", "content": {"type": "text"}}], "messages[0].content must"),
        ([{"role": "assistant"}], "messages[0].content is missing"),
        ([*HI, {"role": "system", "content": b"x"}], "messages[1].content must"),
        (user(5), "messages[1].content[0] must be a dict"), (user({}), "messages[1].content[0].type is missing"),
        (user({"type": ""}), "messages[1].content[0].type must"), (user({"type": 1}), "messages[1].content[0].type must"),
        (user({"type": "text"}), "messages[1].content[0].text must"),
        (user({"type": "text", "text": "x"}, {"type": "text", "text": None}), "messages[1].content[1].text must"),
        (user({"type": "image_url"}), "messages[1].content[0].image_url must hold an http(s) URL or a data URL"),
        (user({"type": "image_url", "image_url": {"url": "cat.png"}}), "messages[1].content[0].image_url must"),
        (user({"type": "image_url", "image_url": {"url": "file:///x"}}), "messages[1].content[0].image_url must"),
        (user({"type": "image_url", "image_url": {"url": "data:image/png;base64,"}}), "messages[1].content[0].image_url"),
        (user({"type": "image_url", "image_url": "https://"}), "messages[1].content[0].image_url must"),
        (user({"type": "image_url", "image_url": {"url": "https://a b"}}), "messages[1].content[0].image_url must"),
        (user({"type": "input_audio", "input_audio": {"data": "aGk="}}), "messages[1].content[0].input_audio must"),
        (user({"type": "input_audio"}), "messages[1].content[0].input_audio must"),
        (user({"type": "file", "file": {"filename": "x"}}), "messages[1].content[0].file must"),
        (user({"type": "file"}), "messages[1].content[0].file must"),
        (user({"type": "refusal"}), "messages[1].content[0].refusal must"),
        ([{"role": "user", "content": "x", "name": float("nan")}], "messages[0].name is nan"),
        ([{"role": "user", "content": "x", "meta": {"a": [object()]}}], "messages[0].meta.a[0] is not a JSON value (object)"),
        ([{"role": "user", "content": "x", "meta": {1: 2}}], "messages[0].meta has a key that is not a string"),
        ([{"role": "user", "content": "x", 5: 2}], "messages[0] has a key that is not a string"),
        ([{"role": "user", "content": "x", "m": "\ud800"}], "messages[0].m contains a lone surrogate"),
        (user({"type": "text", "text": "\ud800"}), "messages[1].content[0].text contains a lone surrogate"),
        (user({"type": "video_url", "video_url": {"url": {1}}}), "messages[1].content[0].video_url.url is not a JSON value"),
        ([ChatResponse()], "messages[0] is a ChatResponse; append response.message instead"),
    ],
)  # fmt: skip
def test_bad_messages_are_named_by_path(messages: object, path: str) -> None:
    assert refused(messages).startswith(path)


def test_a_value_that_contains_itself_is_refused() -> None:
    loop: dict = {}
    loop["loop"] = loop
    assert "nested deeper" in refused([{"role": "user", "content": "x", "meta": loop}])
    assert refused(extra_body={"a": loop}).startswith("extra_body.a.loop")


@pytest.mark.parametrize(
    "part",
    [
        {"type": "text", "text": ""}, {"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}},
        {"type": "image_url", "image_url": {"url": "https://a.example/x.png", "detail": "low"}},
        {"type": "image_url", "image_url": {"url": "HTTP://a.example/x.png"}},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}},
        {"type": "input_audio", "input_audio": {"data": "aGk=", "format": "wav"}},
        {"type": "input_audio", "input_audio": "aGk="},
        {"type": "file", "file": {"file_id": "f"}}, {"type": "file", "file_id": "f"},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,aGk=", "filename": "x.pdf"}},
        {"type": "image", "source": {"type": "base64", "data": "aGk="}}, {"type": "video_url", "video_url": {"url": "x"}},
    ],
)  # fmt: skip
def test_parts_that_are_taken_as_they_are(part: dict) -> None:
    messages = user(part)
    assert chat_request(messages).messages[1] is messages[1]


def test_short_forms_of_parts() -> None:
    chat = chat_request(user("Hi", {"type": "image_url", "image_url": "https://a.example/x.png"}))
    assert chat.messages[1]["content"] == [
        {"type": "text", "text": "Hi"},
        {"type": "image_url", "image_url": {"url": "https://a.example/x.png"}},
    ]


def test_mappings_and_tuples_are_as_good_as_dicts_and_lists() -> None:
    chat = chat_request((MappingProxyType({"role": "user", "content": ({"type": "text", "text": "x"},)}),))
    assert chat.messages == ({"role": "user", "content": [{"type": "text", "text": "x"}]},)


def test_system_as_text_as_parts_and_empty() -> None:
    assert chat_request(HI, system="s").system == "s"
    assert chat_request(HI, system="").system is None
    part = {"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}
    chat = chat_request(HI, system=[part])
    assert chat.system is None
    assert chat.messages == ({"role": "system", "content": [part]}, *HI)
    assert refused(system=5).startswith("system must")


# -- tool calls and results in messages --


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"tool_calls": "x"}, "messages[1].tool_calls must be a list"), ({"tool_calls": [5]}, "messages[1].tool_calls[0] must"),
        ({"tool_calls": [{}]}, "messages[1].tool_calls[0].id must"),
        ({"tool_calls": [CALL | {"id": ""}]}, "messages[1].tool_calls[0].id must"),
        ({"tool_calls": [{"id": "c1"}]}, "messages[1].tool_calls[0].function must"),
        ({"tool_calls": [CALL, {"id": "c2", "function": {}}]}, "messages[1].tool_calls[1].function.name must"),
        ({"tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{broken"}}]},
         "messages[1].tool_calls[0].function.arguments is not JSON"),
        ({"tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "[1]"}}]},
         "messages[1].tool_calls[0].function.arguments must be the JSON text of an object"),
        ({"tool_calls": [{"id": "c", "function": {"name": "f", "arguments": 5}}]},
         "messages[1].tool_calls[0].function.arguments must be JSON text or a dict"),
        ({"tool_calls": [{"id": "c", "function": {"name": "f", "arguments": {"a": float("inf")}}}]},
         "messages[1].tool_calls[0].function.arguments.a is inf"),
        ({"tool_calls": [ToolCall("c", "f", {}, "{bro", "cut")]}, "messages[1].tool_calls[0] cannot be sent back: cut"),
    ],
)  # fmt: skip
def test_bad_tool_calls_are_named_by_path(change: dict, path: str) -> None:
    assert refused([*HI, {"role": "assistant", "content": None, **change}]).startswith(path)


@pytest.mark.parametrize("arguments", ["", None, "{}", "null", {}])
def test_no_arguments_are_an_empty_object(arguments: object) -> None:
    call = {"id": "c", "function": {"name": "f", "arguments": arguments}}
    chat = chat_request([*HI, {"role": "assistant", "tool_calls": [call]}])
    assert chat.messages[1]["tool_calls"] == [
        {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    ]


def test_tool_calls_of_a_response_may_stand_in_a_message() -> None:
    call = ToolCall("c1", "f", {"a": 1}, '{"a": 1}')
    chat = chat_request([*HI, {"role": "assistant", "content": "", "tool_calls": [call]}, call.result("ok")])
    assert json.loads(chat.messages[1]["tool_calls"][0]["function"]["arguments"]) == {"a": 1}


def test_calls_of_other_kinds_pass() -> None:
    custom = {"id": "c1", "type": "custom", "custom": {"name": "sql", "input": "SELECT 1"}}
    messages = [
        *HI,
        {"role": "assistant", "tool_calls": [custom]},
        {"role": "tool", "tool_call_id": "c1", "content": "1"},
    ]
    assert list(chat_request(messages).messages) == messages


@pytest.mark.parametrize(
    ("call", "path"),
    [
        ({"type": []}, "type must be a string"), ({"type": {}}, "type must be a string"),
        ({"type": 5}, "type must be a string"), ({"type": None}, "function must be a dict with name and arguments"),
        ({"type": "custom"}, "custom must be a dict with name and input"),
        ({"type": "custom", "custom": None}, "custom must be a dict with name and input"),
        ({"type": "custom", "custom": {"name": "sql"}}, "custom must be a dict with name and input"),
        ({"type": "custom", "custom": {"name": "", "input": "x"}}, "custom must be a dict with name and input"),
        ({"type": "custom", "custom": {"name": "sql", "input": {}}}, "custom must be a dict with name and input"),
    ],
)  # fmt: skip
def test_a_call_of_another_kind_is_whole(call: dict, path: str) -> None:
    assert refused([*HI, {"role": "assistant", "tool_calls": [{"id": "c", **call}]}]).startswith(
        f"messages[1].tool_calls[0].{path}"
    )


@pytest.mark.parametrize(
    ("result", "path"),
    [
        ({"content": "x"}, "messages[2].tool_call_id is missing"),
        ({"content": "x", "tool_call_id": ""}, "messages[2].tool_call_id must"),
        ({"content": "x", "tool_call_id": 1}, "messages[2].tool_call_id must"),
        (
            {"content": "x", "tool_call_id": "c2"},
            "messages[2].tool_call_id is 'c2', which no earlier assistant message called",
        ),
        ({"content": {"a": 1}, "tool_call_id": "c1"}, "messages[2].content must"),
        ({"tool_call_id": "c1"}, "messages[2].content is missing"),
        ({"content": "x", "tool_call_id": "c1", "is_error": "yes"}, "messages[2].is_error must"),
    ],
)
def test_bad_tool_results_are_named_by_path(result: dict, path: str) -> None:
    assert refused([*CALLED, {"role": "tool", **result}]).startswith(path)


def test_a_result_before_its_call_is_an_orphan() -> None:
    result = {"role": "tool", "tool_call_id": "c1", "content": "x"}
    assert refused([result, *CALLED]).startswith("messages[0].tool_call_id")
    chat_request([*CALLED, result, result])


def test_results_may_answer_calls_in_a_providers_own_blocks() -> None:
    block = {"type": "tool_use", "id": "t1", "name": "f", "input": {}}
    result = {"role": "tool", "tool_call_id": "t1", "content": "x"}
    chat_request([*HI, {"role": "assistant", "content": [block]}, result])


# -- tools --

SCHEMA = {"type": "object", "properties": {}}
NORMAL = {"type": "function", "function": {"name": "f", "description": "d", "parameters": SCHEMA}}


@pytest.mark.parametrize(
    "tool",
    [
        {"name": "f", "description": "d", "parameters": SCHEMA},
        {"type": "function", "name": "f", "description": "d", "parameters": SCHEMA},
        {"name": "f", "description": "d", "input_schema": SCHEMA},
        {"type": "custom", "name": "f", "description": "d", "input_schema": SCHEMA},
        {"function": {"name": "f", "description": "d", "parameters": SCHEMA}},
        {"type": "function", "function": {"name": "f", "description": "d", "parameters": SCHEMA, "strict": None}},
        MappingProxyType(NORMAL),
        NORMAL,
    ],
)
def test_tools_in_three_forms_are_one(tool: object) -> None:
    assert chat_request(HI, tools=[tool]).tools == (NORMAL,)


def test_what_else_a_tool_says_is_kept() -> None:
    tool = {"name": "f", "input_schema": SCHEMA, "strict": True, "cache_control": {"type": "ephemeral"}}
    assert chat_request(HI, tools=[tool]).tools == (
        {"type": "function", "function": {"name": "f", "parameters": SCHEMA, "strict": True},
         "cache_control": {"type": "ephemeral"}},
    )  # fmt: skip
    assert chat_request(HI, tools=[{"name": "f"}]).tools == ({"type": "function", "function": {"name": "f"}},)
    server = {"type": "web_search_20260318", "name": "web_search", "max_uses": 3}
    custom = {"type": "custom", "custom": {"name": "sql"}}
    assert chat_request(HI, tools=[server, custom, {"type": "web_search"}]).tools == (
        server,
        custom,
        {"type": "web_search"},
    )


@pytest.mark.parametrize(
    ("tools", "path"),
    [
        ("f", "tools must be a list"), ({"name": "f"}, "tools must be a list"), ([5], "tools[0] must be a dict"),
        ([{}], "tools[0].name is missing"), ([{"name": ""}], "tools[0].name must"), ([{"name": 5}], "tools[0].name must"),
        ([{"name": "a\nb"}], "tools[0].name must"), ([{"function": 5}], "tools[0].function must"),
        ([{"type": "function", "function": {}}], "tools[0].function.name is missing"),
        ([{"name": "f"}, {"type": "function", "function": {"name": "f"}}], "tools[1] has the name 'f', which tools[0] has"),
        ([{"name": "f", "description": 5}], "tools[0].description must"),
        ([{"name": "f", "parameters": "x"}], "tools[0].parameters must be a JSON Schema"),
        ([{"name": "f", "input_schema": []}], "tools[0].input_schema must be a JSON Schema"),
        ([{"name": "f", "parameters": {"a": {1, 2}}}], "tools[0].parameters.a is not a JSON value (set)"),
        ([{"name": "f", "parameters": {"a": float("nan")}}], "tools[0].parameters.a is nan"),
        ([{"type": "", "name": "f"}], "tools[0].type must"), ([{"type": 5, "name": "f"}], "tools[0].type must"),
    ],
)  # fmt: skip
def test_bad_tools_are_named_by_path(tools: object, path: str) -> None:
    assert refused(tools=tools).startswith(path)


CHOSEN = {"type": "function", "function": {"name": "f"}}


@pytest.mark.parametrize(
    ("choice", "normal"),
    [
        ("auto", "auto"), ("none", "none"), ("required", "required"), ("any", "required"), ("f", CHOSEN), (CHOSEN, CHOSEN),
        ({"type": "function", "name": "f"}, CHOSEN), ({"type": "tool", "name": "f"}, CHOSEN), ({"type": "any"}, "required"),
        ({"type": "auto"}, "auto"), ({"type": "none"}, "none"),
        ({"type": "auto", "disable_parallel_tool_use": True}, {"type": "auto", "disable_parallel_tool_use": True}),
        ({"type": "allowed_tools", "allowed_tools": {}}, {"type": "allowed_tools", "allowed_tools": {}}),
    ],
)  # fmt: skip
def test_tool_choices(choice: object, normal: object) -> None:
    assert chat_request(HI, tools=[NORMAL], tool_choice=choice).tool_choice == normal


@pytest.mark.parametrize(
    ("choice", "path"),
    [
        ("g", "tool_choice names 'g', which is not among the tools (f)"), (5, "tool_choice must"), ({}, "tool_choice.type"),
        ({"type": "function"}, "tool_choice.function.name"), ({"type": "tool"}, "tool_choice.name"),
        ({"type": "tool", "name": "g"}, "tool_choice names 'g'"), ({"type": 5}, "tool_choice.type must"), (True, "tool_choice"),
    ],
)  # fmt: skip
def test_bad_tool_choices_are_named(choice: object, path: str) -> None:
    assert refused(tools=[NORMAL], tool_choice=choice).startswith(path)


def test_a_tool_choice_without_tools() -> None:
    assert chat_request(HI, tool_choice="auto").tool_choice is None
    assert chat_request(HI, tools=[], tool_choice="none").tool_choice is None
    assert refused(tool_choice="required") == "tool_choice needs tools"
    assert refused(tool_choice="f") == "tool_choice needs tools"
    elsewhere = chat_request(HI, tool_choice="f", extra_body={"tools": [NORMAL]})
    assert elsewhere.tool_choice == CHOSEN


# -- response_format --


@pytest.mark.parametrize(
    ("value", "normal"),
    [
        ("json", {"type": "json_object"}), ("json_object", {"type": "json_object"}), ("text", {"type": "text"}),
        ({"type": "json_object"}, {"type": "json_object"}),
        (SCHEMA, {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}}),
        ({"title": "Ünï code", **SCHEMA},
         {"type": "json_schema", "json_schema": {"name": "_n__code", "schema": {"title": "Ünï code", **SCHEMA}}}),
        ({"type": "json_schema", "schema": SCHEMA},
         {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}}),
        ({"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA, "strict": True}},
         {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA, "strict": True}}),
        ({"type": "json_schema", "json_schema": {"schema": SCHEMA}},
         {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}}),
        ({"type": "json_schema", "json_schema": {"name": None, "schema": SCHEMA, "strict": None, "description": None}},
         {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}}),
        ({"type": "json_schema", "json_schema": {"name": "Page[User item]", "schema": None}},
         {"type": "json_schema", "json_schema": {"name": "Page_User_item_"}}),
        ({"type": "json_schema", "json_schema": {"name": "x" * 70, "schema": SCHEMA}},
         {"type": "json_schema", "json_schema": {"name": "x" * 64, "schema": SCHEMA}}),
    ],
)  # fmt: skip
def test_response_formats(value: object, normal: dict) -> None:
    assert chat_request(HI, response_format=value).options["response_format"] == normal


@pytest.mark.parametrize(
    "value",
    ["yaml", 5, int, ["a"], {"a": object()}, {"type": "json_schema"}, {"type": "json_schema", "json_schema": {"schema": 5}},
     {"type": "json_schema", "json_schema": {"name": 5, "schema": {}}}],
)  # fmt: skip
def test_bad_response_formats_are_named(value: object) -> None:
    assert refused(response_format=value).startswith("response_format")


# -- the other arguments --


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", "1"), ("temperature", float("nan")), ("temperature", float("inf")), ("temperature", True),
        ("top_p", [1]), ("max_tokens", 1.5), ("max_tokens", True), ("max_tokens", -1), ("max_tokens", "5"),
        ("max_tokens", 2**70), ("seed", 1.5), ("n", 0), ("n", "2"), ("model", ""), ("model", "  "), ("model", 5),
        ("model", "a\nb"), ("model", "\ud800"), ("reasoning_effort", 5), ("reasoning_effort", ""),
        ("parallel_tool_calls", 1), ("stop", 5), ("stop", [5]), ("stop", [""]), ("stop", ["\ud800"]),
        ("extra_body", [1]), ("extra_body", {"stream": True}), ("extra_body", {"a": {1}}), ("extra_body", {5: 1}),
        ("extra_headers", "x"), ("extra_headers", {"a b": "x"}), ("extra_headers", {"a": 5}),
        ("extra_headers", {"a": "x\r\ny"}), ("extra_headers", {"a": "é"}), ("extra_headers", {"Host": "x"}),
        ("extra_headers", {"a": " x"}), ("extra_headers", {"Content-Length": "5"}), ("extra_headers", [("a",)]),
    ],
)  # fmt: skip
def test_bad_arguments_are_named(name: str, value: object) -> None:
    message = refused(**{name: value})
    assert message.startswith(name)


def test_good_arguments() -> None:
    chat = chat_request(
        HI, "m", temperature=0, top_p=1, max_tokens=0, stop="x", seed=-1, n=1, reasoning_effort="low",
        parallel_tool_calls=True, extra_body={"a": [1]}, extra_headers={"X-A": "b"}, stream=True,
    )  # fmt: skip
    assert (chat.temperature, chat.extra_body, chat.extra_headers, chat.stream) == (
        0,
        {"a": [1]},
        (("X-A", "b"),),
        True,
    )
    assert chat.options == {
        "top_p": 1,
        "stop": ["x"],
        "seed": -1,
        "n": 1,
        "reasoning_effort": "low",
        "parallel_tool_calls": True,
    }
    assert chat_request(HI, stop=("a", "b")).options["stop"] == ["a", "b"]


def test_header_values_are_never_echoed() -> None:
    with pytest.raises(LLMBadRequestError) as caught:
        checked_headers({"Authorization": "sk-canary\n"}, "headers")
    assert "canary" not in str(caught.value)
    assert checked_headers([("A", "b")], "headers") == (("A", "b"),)


def test_text_that_utf8_cannot_hold_is_named_when_the_body_is_written() -> None:
    chat = chat_request([*HI, {"role": "user", "content": "a\ud800"}])
    with pytest.raises(LLMBadRequestError, match=r"^messages\[1\].content contains a lone surrogate"):
        encode_body({"model": "m", "messages": list(chat.messages)})


def test_numbers_and_odd_keys_in_what_is_passed_on() -> None:
    body = {"a": 1.5, "ключ": ["é", None, True, 2**70], "t": (1, 2)}
    assert chat_request(HI, extra_body=body).extra_body == body
    assert refused(extra_body={"\ud800": 1}).startswith("extra_body (a key) contains a lone surrogate")
    part = {"type": "refusal", "refusal": "no"}
    assert chat_request([{"role": "assistant", "content": [part]}]).messages[0]["content"] == [part]


def test_a_body_that_json_cannot_hold_is_named_when_it_is_written() -> None:
    with pytest.raises(LLMBadRequestError, match=r"^a\[0\] is not a JSON value"):
        encode_body({"a": [object()]})


def test_a_body_whose_own_keys_utf8_cannot_hold_cannot_be_written() -> None:
    with pytest.raises(LLMBadRequestError, match=r"^the request cannot be written as JSON"):
        encode_body({"\ud800": 1})


# -- at the edges --


@pytest.mark.parametrize("deep", [lambda inner: [inner], lambda inner: {"a": inner}, lambda inner: (inner,)])
def test_values_may_be_as_deep_as_json_may(deep: object) -> None:
    value: object = 1
    for _ in range(MAX_DEPTH):
        value = deep(value)
    chat_request([{"role": "user", "content": "x", "meta": value}])
    message = refused([{"role": "user", "content": "x", "meta": deep(value)}])
    assert f"is nested deeper than {MAX_DEPTH} levels" in message
    loop: list = []
    loop.append(loop)
    assert "is nested deeper than" in refused([{"role": "user", "content": "x", "meta": loop}])


@pytest.mark.parametrize("value", [{"a": "\ud800"}, {"\ud800": 1}, ["\ud800"], ("é", "\ud800")])
def test_half_a_character_is_found_wherever_it_is(value: object) -> None:
    assert "contains a lone surrogate, which UTF-8 cannot hold" in refused(
        [{"role": "user", "content": "x", "m": value}]
    )
    chat_request([{"role": "user", "content": "x", "m": {"é": ["é"]}}])


@pytest.mark.parametrize("name", [5, "", None, ["f"]])
def test_the_name_of_a_chosen_tool_is_text(name: object) -> None:
    words = "must be a non-empty string"
    choices = [{"type": "function", "function": {"name": name}}, {"type": "function", "name": name}]
    for choice in choices:
        assert refused(tools=[NORMAL], tool_choice=choice) == f"tool_choice.function.name {words}"
    assert refused(tools=[NORMAL], tool_choice={"type": "tool", "name": name}) == f"tool_choice.name {words}"


def test_a_choice_that_says_more_is_kept_and_holds_json() -> None:
    more = {"type": "tool", "name": "f", "disable_parallel_tool_use": True}
    assert chat_request(HI, tools=[NORMAL], tool_choice=more).tool_choice == more
    assert refused(tools=[NORMAL], tool_choice={"type": "auto", "x": {1}}).startswith(
        "tool_choice.x is not a JSON value"
    )
    assert refused(tools=[NORMAL, {"name": "g"}], tool_choice="h") == (
        "tool_choice names 'h', which is not among the tools (f, g)"
    )


def test_server_tools_have_names_too() -> None:
    server = {"type": "web_search_20260318", "name": "search"}
    assert refused(tools=[server, {"name": "search"}]) == "tools[1] has the name 'search', which tools[0] has already"
    assert refused(tools=[{"type": "custom", "custom": {"name": "f"}}, NORMAL]).startswith("tools[1] has the name 'f'")
    chosen = chat_request(HI, tools=[server], tool_choice="search").tool_choice
    assert chosen == {"type": "function", "function": {"name": "search"}}


@pytest.mark.parametrize(
    ("url", "taken"),
    [("http://a", True), ("https://", False), ("https://a", True), ("http://ab", True), ("HTTPS://a", True), ("data:image/png,x", True), ("data:image/png,", False),
     ("data:imagepng,x", False), ("data:image/png", False), ("DATA:image/png;base64,eA==", True), ("https://a\n", False), ("ftp://a.example/x", False)],
)  # fmt: skip
def test_urls_of_images(url: str, taken: bool) -> None:
    messages = user({"type": "image_url", "image_url": {"url": url}})
    if taken and len(url) > len("https://"):
        chat_request(messages)
    else:
        assert refused(messages).startswith("messages[1].content[0].image_url must hold")


@pytest.mark.parametrize(
    "audio", [{"data": "x", "format": ""}, {"data": "", "format": "wav"}, {"data": 5, "format": "wav"}, "", 5]
)
def test_audio_has_data_and_a_format(audio: object) -> None:
    assert refused(user({"type": "input_audio", "input_audio": audio})).startswith(
        "messages[1].content[0].input_audio must hold"
    )


@pytest.mark.parametrize("file", [{"file_id": ""}, {"file_data": 5}, {"file_id": 5, "file_data": ""}, 5, []])
def test_a_file_has_an_id_or_data(file: object) -> None:
    assert refused(user({"type": "file", "file": file})).startswith("messages[1].content[0].file must hold")


def test_a_call_of_our_own_function_is_normalised_and_others_are_not() -> None:
    call = {"id": "c", "type": "custom", "function": {"name": "f", "arguments": {"a": 1}}}
    chat = chat_request([*HI, {"role": "assistant", "tool_calls": [call]}])
    assert chat.messages[1]["tool_calls"] == [
        {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
    ]
    (kept,) = chat_request(CALLED).messages[2:] or (None,)
    assert kept is None
    assert chat_request(CALLED).messages[1]["tool_calls"][0] is CALL


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("yaml", "response_format is 'yaml'; it must be \"json\", a JSON schema or OpenAI's own form"),
        (
            dict,
            'response_format must be "json" or a dict, not type (for a pydantic model pass Model.model_json_schema())',
        ),
        (5, 'response_format must be "json" or a dict, not int'),
        ({"type": "json_schema"}, "response_format.json_schema must be a dict with name and schema"),
        (
            {"type": "json_schema", "json_schema": {"schema": 5}},
            "response_format.json_schema must be a dict with name and schema",
        ),
        (
            {"type": "json_schema", "json_schema": {"name": ""}},
            "response_format.json_schema.name must be a non-empty string",
        ),
        (
            {"type": "json_schema", "json_schema": {"name": 5}},
            "response_format.json_schema.name must be a non-empty string",
        ),
        ({"a": {1}}, "response_format.a is not a JSON value (set)"),
    ],
)
def test_bad_formats_are_named(value: object, message: str) -> None:
    assert refused(response_format=value) == message


@pytest.mark.parametrize(
    ("value", "normal"),
    [
        ("json_object", {"type": "json_object"}), ("text", {"type": "text"}), ({"type": "text"}, {"type": "text"}),
        ({"type": "json_schema", "schema": {"title": "a b"}}, {"type": "json_schema", "json_schema": {"name": "a_b", "schema": {"title": "a b"}}}),
        ({"title": "x" * 70}, {"type": "json_schema", "json_schema": {"name": "x" * 64, "schema": {"title": "x" * 70}}}),
        ({"title": 5}, {"type": "json_schema", "json_schema": {"name": "answer", "schema": {"title": 5}}}),
        ({"type": "json_schema", "json_schema": {"schema": {}}}, {"type": "json_schema", "json_schema": {"name": "answer", "schema": {}}}),
        ({"type": "json_schema", "json_schema": {"name": "n"}}, {"type": "json_schema", "json_schema": {"name": "n"}}),
    ],
)  # fmt: skip
def test_formats_in_their_forms(value: object, normal: dict) -> None:
    assert chat_request(HI, response_format=value).options["response_format"] == normal
