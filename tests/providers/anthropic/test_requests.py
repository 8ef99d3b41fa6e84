"""What is sent to Anthropic: bodies, versions, headers, and what is refused before sending."""

from __future__ import annotations

import json
import re
from base64 import b64encode

import pytest

from sans_io.chat.messages import chat_request
from sans_io.errors import (
    LLMAuthError,
    LLMBadRequestError,
    LLMContextLengthError,
    LLMNotFoundError,
    LLMQuotaError,
    LLMRateLimitError,
    LLMServerError,
)
from sans_io.http.secret import Secret
from sans_io.http.urls import parse_base_url
from sans_io.policy.retry import AMBIGUOUS, FATAL, THROTTLED, TRANSIENT
from sans_io.providers.anthropic.codec import RETRY_TABLE, AnthropicCodec
from tests.providers.anthropic.kit import BASE_URL, CODEC, whole
from tests.providers.reading import read

HELLO = [{"role": "user", "content": "Hello"}]
PNG = "data:image/png;base64,iVBORw0KGgo="
THINKING = [{"type": "thinking", "thinking": "hm", "signature": "c2ln"}, {"type": "text", "text": "4"}]


def body(messages: list[dict] = HELLO, model: str | None = "claude-x", **options: object) -> dict:
    return json.loads(CODEC.build(chat_request(messages, model, **options)).body)


def native(blocks: list[dict], **keys: object) -> dict:
    """What a message of this wire has under its reserved key."""
    return {"wire": "anthropic", "blocks": blocks, **keys}


def headers(codec: AnthropicCodec = CODEC, **options: object) -> dict[str, object]:
    request = codec.build(chat_request(HELLO, "claude-x", **options))
    return {name.lower(): value for name, value in request.headers}


def refused(path: str, messages: list[dict] = HELLO, **options: object) -> str:
    with pytest.raises(LLMBadRequestError) as caught:
        body(messages, **options)
    assert caught.value.message.startswith(path), caught.value.message
    return caught.value.message


def turns(*messages: dict, **options: object) -> list[dict]:
    return body(list(messages), **options)["messages"]


def content(*parts: dict) -> list[dict]:
    (turn,) = turns({"role": "user", "content": list(parts)})
    return turn["content"]


# -- the least, and each parameter ------------------------------------------------------------------------------------


def test_the_least_that_is_sent() -> None:
    assert body() == {"model": "claude-x", "max_tokens": 8192, "messages": [{"role": "user", "content": "Hello"}]}


def test_parameters() -> None:
    sent = body(system="Be brief.", max_tokens=0, stop=["a", "b"], stream=True, temperature=0.0, top_p=0.5)
    assert sent["system"] == "Be brief."
    assert (sent["max_tokens"], sent["stop_sequences"], sent["stream"], sent["temperature"], sent["top_p"]) == (
        0,
        ["a", "b"],
        True,
        0.0,
        0.5,
    )


def test_the_model_is_required() -> None:
    refused("model", model=None)
    assert body(model=None, extra_body={"model": "claude-y"})["model"] == "claude-y"


def test_what_the_wire_cannot_say() -> None:
    refused("n ", n=2)
    assert "n" not in body(n=1)
    refused("seed ", seed=7)
    refused("reasoning_effort ", reasoning_effort="minimal")
    refused("tool_choice ", tools=[{"name": "f"}], tool_choice={"type": "allowed_tools", "allowed_tools": {}})
    refused("tools[0] ", tools=[{"type": "custom", "custom": {"name": "f"}}])


def test_reasoning_effort() -> None:
    for effort in ("low", "medium", "high", "xhigh", "max"):
        assert body(reasoning_effort=effort)["output_config"] == {"effort": effort}
    assert body(reasoning_effort="none")["thinking"] == {"type": "disabled"}


def test_response_format() -> None:
    schema = {"type": "object", "properties": {"x": {"type": "integer"}}}
    expected = {"format": {"type": "json_schema", "schema": {**schema, "additionalProperties": False}}}
    assert body(response_format=schema)["output_config"] == expected
    assert body(response_format=schema, reasoning_effort="low")["output_config"] == {"effort": "low", **expected}
    assert "output_config" not in body(response_format="text")


def test_extra_body_is_merged() -> None:
    schema = {"type": "object", "properties": {"x": {"type": "integer"}}, "additionalProperties": False}
    extra = {"thinking": {"type": "adaptive"}, "output_config": {"effort": "max", "x": 1}, "metadata": {"user_id": "u"}}
    sent = body(response_format=schema, extra_body=extra)
    assert sent["thinking"] == {"type": "adaptive"}
    assert sent["output_config"] == {"effort": "max", "x": 1, "format": {"type": "json_schema", "schema": schema}}
    assert extra["output_config"] == {"effort": "max", "x": 1}


# -- versions ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options", [{"temperature": 0.0}, {"top_p": 1}, {"extra_body": {"top_k": 5}}, {"extra_body": {"temperature": 1}}]
)
def test_sampling_goes_under_the_version_that_has_it(options: dict) -> None:
    assert headers(**options)["anthropic-version"] == "2023-06-01"
    assert headers()["anthropic-version"] == "2026-10-21"
    pinned = AnthropicCodec(BASE_URL, api_version="2026-10-21")
    with pytest.raises(LLMBadRequestError, match=rf"^{next(iter(options.get('extra_body', options)))} .*2026-10-21"):
        headers(pinned, **options)


def test_a_pinned_version_is_sent() -> None:
    assert headers(AnthropicCodec(BASE_URL, api_version="2023-06-01"))["anthropic-version"] == "2023-06-01"
    assert (
        headers(AnthropicCodec(BASE_URL, api_version="2027-01-01"), temperature=1)["anthropic-version"] == "2027-01-01"
    )


@pytest.mark.parametrize("version", ["2023-06-01", "2026-10-21"])
def test_a_history_with_thinking_keeps_its_version(version: str) -> None:
    """The reply notes the version it was made under, so that a codec without memory can keep to it."""
    options = {"temperature": 0.5} if version == "2023-06-01" else {}
    operation = CODEC.operation(chat_request(HELLO, "claude-x", **options))
    reply = {"type": "message", "content": THINKING, "stop_reason": "end_turn"}
    answer = read(operation.new_reader(), [json.dumps(reply).encode()]).response.message
    assert answer["native"]["version"] == version
    history = [*HELLO, answer, {"role": "user", "content": "And?"}]
    request = CODEC.build(chat_request(history, "claude-x"))
    assert dict(request.headers)["anthropic-version"] == version
    assert json.loads(request.body)["messages"][1]["content"] == THINKING
    if version == "2026-10-21":
        assert "holds thinking" in refused("temperature", history, temperature=0.5)
    else:
        assert (
            dict(CODEC.build(chat_request(history, "claude-x", temperature=1)).headers)["anthropic-version"] == version
        )


def test_a_history_without_thinking_is_free() -> None:
    bare = {
        "role": "assistant",
        "content": "4",
        "native": native([{"type": "text", "text": "4"}], version="2023-06-01"),
    }
    assert (
        dict(CODEC.build(chat_request([*HELLO, bare, *HELLO], "claude-x")).headers)["anthropic-version"] == "2026-10-21"
    )
    answer = whole(
        {"type": "message", "content": [{"type": "text", "text": "4"}], "stop_reason": "end_turn"}
    ).response.message
    assert answer == {"role": "assistant", "content": "4"}
    assert (
        dict(CODEC.build(chat_request([*HELLO, answer, *HELLO], "claude-x", temperature=1)).headers)[
            "anthropic-version"
        ]
        == "2023-06-01"
    )


# -- system messages --------------------------------------------------------------------------------------------------


def test_leading_system_messages_go_to_the_top() -> None:
    sent = body([{"role": "system", "content": "A"}, {"role": "developer", "content": "B"}, *HELLO], system="S")
    assert sent["system"] == [{"type": "text", "text": text} for text in "SAB"]
    assert sent["messages"] == HELLO
    assert body([{"role": "system", "content": "A"}, *HELLO])["system"] == "A"
    assert "system" not in body([{"role": "system", "content": ""}, *HELLO])


def test_system_blocks_keep_their_cache_control() -> None:
    part = {"type": "text", "text": "A", "cache_control": {"type": "ephemeral"}}
    assert body(system=[part])["system"] == [part]
    assert body([{"role": "system", "content": "A", "cache_control": {"type": "ephemeral"}}, *HELLO])["system"] == [
        part
    ]


def test_later_system_messages_stay_where_they_are() -> None:
    later = [*HELLO, {"role": "system", "content": "Now in French."}, {"role": "user", "content": "Go"}]
    assert body(later)["messages"][1] == {"role": "system", "content": "Now in French."}
    # The older version has no such role: they are gathered at the top.
    old = body(later, temperature=1)
    assert old["system"] == "Now in French."
    assert [turn["role"] for turn in old["messages"]] == ["user", "user"]
    assert body([*HELLO, {"role": "system", "content": ""}])["messages"] == HELLO


def test_a_system_message_holds_text_only() -> None:
    refused(
        "messages[0].content[1]",
        [{"role": "system", "content": [{"type": "text", "text": "x"}, {"type": "image_url", "image_url": PNG}]}],
    )


# -- content ----------------------------------------------------------------------------------------------------------


def test_images() -> None:
    assert content({"type": "image_url", "image_url": {"url": PNG, "detail": "low"}}) == [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
    ]
    assert content(
        {"type": "image_url", "image_url": "https://x.example/a.png", "cache_control": {"type": "ephemeral"}}
    ) == [
        {
            "type": "image",
            "source": {"type": "url", "url": "https://x.example/a.png"},
            "cache_control": {"type": "ephemeral"},
        }
    ]
    assert content({"type": "image_url", "image_url": "data:image/JPG,%FF%D8"})[0]["source"] == {
        "type": "base64",
        "media_type": "image/jpeg",
        "data": "/9g=",
    }


@pytest.mark.parametrize(
    ("part", "path"),
    [
        ({"type": "image_url", "image_url": "data:image/tiff;base64,AAAA"}, "messages[0].content[0].image_url"),
        ({"type": "image_url", "image_url": "data:image/png;base64,%%%"}, "messages[0].content[0].image_url"),
        ({"type": "image_url", "image_url": "ftp://x/a.png"}, "messages[0].content[0].image_url"),
        ({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}, "messages[0].content[0]"),
        ({"type": "file", "file": {"file_data": "data:application/zip;base64,AAAA"}}, "messages[0].content[0].file"),
        ({"type": "file", "file": {"file_data": "data:text/plain;base64,/w=="}}, "messages[0].content[0].file"),
        ({"type": "file", "file": {"file_data": "AAAA"}}, "messages[0].content[0].file"),
        ({"type": "file", "file": {"file_data": "data:application/pdf;base64,"}}, "messages[0].content[0].file"),
    ],
)
def test_parts_that_the_wire_cannot_say(part: dict, path: str) -> None:
    refused(path, [{"role": "user", "content": [part]}])


def test_documents() -> None:
    pdf = b64encode(b"%PDF-1.7").decode()
    source = {"type": "base64", "media_type": "application/pdf", "data": pdf}
    assert content(
        {"type": "file", "file": {"file_data": f"data:application/pdf;base64,{pdf}", "filename": "a.pdf"}}
    ) == [{"type": "document", "source": source, "title": "a.pdf"}]
    assert content({"type": "file", "file": {"file_data": pdf}})[0]["source"] == source
    assert content({"type": "file", "file": {"file_id": "file_1"}}) == [
        {"type": "document", "source": {"type": "file", "file_id": "file_1"}}
    ]
    assert content({"type": "file", "file_id": "file_1"}) == [
        {"type": "document", "source": {"type": "file", "file_id": "file_1"}}
    ]
    assert content({"type": "file", "file": {"file_data": "https://x.example/a.pdf"}})[0]["source"] == {
        "type": "url",
        "url": "https://x.example/a.pdf",
    }
    text = {"type": "text", "media_type": "text/plain", "data": "Grüße"}
    assert (
        content({"type": "file", "file": {"file_data": "data:text/markdown," + "Gr%C3%BC%C3%9Fe"}})[0]["source"] == text
    )
    assert content({"type": "file", "file": {"file_data": PNG}})[0]["type"] == "image"


def test_native_blocks_pass_through() -> None:
    blocks = [
        {
            "type": "document",
            "source": {"type": "text", "media_type": "text/plain", "data": "x"},
            "citations": {"enabled": True},
        },
        {"type": "search_result", "source": "s", "title": "t", "content": []},
        {"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
    ]
    assert content(*blocks) == blocks


def test_empty_text_is_left_out_and_a_message_breakpoint_goes_to_its_last_block() -> None:
    assert content({"type": "text", "text": ""}, {"type": "text", "text": "x"}) == [{"type": "text", "text": "x"}]
    (turn,) = turns({"role": "user", "content": "Hello", "cache_control": {"type": "ephemeral"}})
    assert turn["content"] == [{"type": "text", "text": "Hello", "cache_control": {"type": "ephemeral"}}]


# -- tools ------------------------------------------------------------------------------------------------------------


def test_tools() -> None:
    schema = {"type": "object", "properties": {"x": {"type": "string"}}, "additionalProperties": False}
    sent = body(
        tools=[
            {
                "name": "f",
                "description": "d",
                "parameters": schema,
                "strict": True,
                "cache_control": {"type": "ephemeral"},
            },
            {"type": "function", "function": {"name": "g"}},
            {"name": "h", "input_schema": {"properties": {"x": {}}}, "defer_loading": True},
            {"type": "web_search_20260318", "name": "web_search", "max_uses": 3},
        ]
    )["tools"]
    assert sent == [
        {
            "name": "f",
            "description": "d",
            "input_schema": schema,
            "strict": True,
            "cache_control": {"type": "ephemeral"},
        },
        {"name": "g", "input_schema": {"type": "object", "properties": {}}},
        {"name": "h", "input_schema": {"type": "object", "properties": {"x": {}}}, "defer_loading": True},
        {"type": "web_search_20260318", "name": "web_search", "max_uses": 3},
    ]


@pytest.mark.parametrize(
    ("choice", "parallel", "sent"),
    [
        (None, None, None),
        (None, True, None),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
        ("auto", None, {"type": "auto"}),
        ("none", None, {"type": "none"}),
        ("none", False, {"type": "none"}),
        ("required", None, {"type": "any"}),
        ("any", False, {"type": "any", "disable_parallel_tool_use": True}),
        ("f", None, {"type": "tool", "name": "f"}),
        ({"type": "function", "function": {"name": "f"}}, None, {"type": "tool", "name": "f"}),
        ({"type": "tool", "name": "f"}, None, {"type": "tool", "name": "f"}),
        ({"type": "any", "disable_parallel_tool_use": True}, None, {"type": "any", "disable_parallel_tool_use": True}),
    ],
)
def test_tool_choice(choice: object, parallel: bool | None, sent: dict | None) -> None:
    assert body(tools=[{"name": "f"}], tool_choice=choice, parallel_tool_calls=parallel).get("tool_choice") == sent


def test_without_tools_there_is_nothing_to_choose() -> None:
    assert "tool_choice" not in body(parallel_tool_calls=False, tool_choice="auto")


def call(label: str, name: str = "f", arguments: str = "{}") -> dict:
    return {"id": label, "type": "function", "function": {"name": name, "arguments": arguments}}


def test_a_tool_turn() -> None:
    sent = turns(
        *HELLO,
        {"role": "assistant", "content": "Look.", "tool_calls": [call("a", arguments='{"x": 1}'), call("b")]},
        {"role": "tool", "tool_call_id": "a", "content": "1"},
        {
            "role": "tool",
            "tool_call_id": "b",
            "content": [{"type": "text", "text": "2"}, {"type": "image_url", "image_url": PNG}],
            "is_error": True,
        },
        {"role": "user", "content": "And?"},
        {"role": "user", "content": [{"type": "text", "text": "So?"}]},
    )
    assert sent[1:] == [
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "Look."},
                {"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}},
                {"type": "tool_use", "id": "b", "name": "f", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "a", "content": "1"},
                {
                    "type": "tool_result",
                    "tool_use_id": "b",
                    "content": [
                        {"type": "text", "text": "2"},
                        {
                            "type": "image",
                            "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="},
                        },
                    ],
                    "is_error": True,
                },
                {"type": "text", "text": "And?"},
                {"type": "text", "text": "So?"},
            ],
        },
    ]


def test_tool_results_come_first_whatever_stands_between() -> None:
    sent = turns(
        *HELLO,
        {"role": "assistant", "content": None, "tool_calls": [call("a"), call("b")]},
        {"role": "tool", "tool_call_id": "a", "content": "1", "cache_control": {"type": "ephemeral"}},
        {"role": "user", "content": "wait"},
        {"role": "system", "content": "Hurry."},
        {"role": "tool", "tool_call_id": "b", "content": "2"},
    )
    assert sent[2]["content"] == [
        {"type": "tool_result", "tool_use_id": "a", "content": "1", "cache_control": {"type": "ephemeral"}},
        {"type": "tool_result", "tool_use_id": "b", "content": "2"},
        {"type": "text", "text": "wait"},
    ]
    assert sent[3] == {"role": "system", "content": "Hurry."}


def test_a_system_message_between_a_call_and_its_result() -> None:
    sent = turns(
        *HELLO,
        {"role": "assistant", "tool_calls": [call("a")]},
        {"role": "system", "content": "S"},
        {"role": "tool", "tool_call_id": "a", "content": "1"},
    )
    assert [turn["role"] for turn in sent] == ["user", "assistant", "user", "system"]


def test_ids_of_other_vendors_are_rewritten() -> None:
    sent = turns(
        *HELLO,
        {"role": "assistant", "tool_calls": [call("functions.f:0"), call("functions_f_0"), call("functions.f.0")]},
        *(
            {"role": "tool", "tool_call_id": label, "content": label}
            for label in ("functions.f.0", "functions.f:0", "functions_f_0")
        ),
    )
    ids = [block["id"] for block in sent[1]["content"]]
    assert ids[1] == "functions_f_0"
    assert all(re.fullmatch("[A-Za-z0-9]{9}", label) for label in (ids[0], ids[2]))
    assert len(set(ids)) == 3
    answers = {block["tool_use_id"]: block["content"] for block in sent[2]["content"]}
    assert [answers[label] for label in ids] == ["functions.f:0", "functions_f_0", "functions.f.0"]


def test_calls_that_are_no_functions() -> None:
    custom = {"id": "c", "type": "custom", "custom": {"name": "f", "input": "x"}}
    use = {"type": "tool_use", "id": "c", "name": "f", "input": {"input": "x"}}
    assert assistant({"content": None, "tool_calls": [custom]}) == [use], "as ToolCall.arguments has it"
    assert assistant({"content": "4", "tool_calls": [custom], "native": native(THINKING)}) == [*THINKING, use]
    for entry in ({"id": "c", "type": "mcp", "server": "x"}, {"id": "c", "type": "custom", "custom": {"input": "x"}}):
        refused("messages[1].tool_calls[0]", [*HELLO, {"role": "assistant", "content": None, "tool_calls": [entry]}])


# -- assistant messages -----------------------------------------------------------------------------------------------


def assistant(message: dict) -> object:
    called = [entry["id"] for entry in message.get("tool_calls") or ()]
    results = [{"role": "tool", "tool_call_id": label, "content": "1"} for label in called]
    return turns(*HELLO, {"role": "assistant", **message}, *results, {"role": "user", "content": "Go on"})[1]["content"]


NATIVE = [
    *THINKING,
    {"type": "tool_use", "id": "t", "name": "f", "input": {"x": 1}, "caller": {"type": "direct"}},
    {"type": "text", "text": ""},
]


def test_native_blocks_are_used_while_they_say_the_same() -> None:
    message = {"content": "4", "tool_calls": [call("t", arguments='{"x":1}')], "native": native(NATIVE)}
    assert assistant(message) == NATIVE[:3]


@pytest.mark.parametrize(
    "edit",
    [
        {"content": "5"},
        {"content": None},
        {"tool_calls": []},
        {"tool_calls": [call("t", arguments='{"x":2}')]},
        {"tool_calls": [call("u", arguments='{"x":1}')]},
        {"tool_calls": [call("t", "g", '{"x":1}')]},
    ],
)
def test_an_edit_wins_over_native_blocks_and_thinking_stays_first(edit: dict) -> None:
    message = {"content": "4", "tool_calls": [call("t", arguments='{"x":1}')], "native": native(NATIVE), **edit}
    rebuilt = [{"type": "text", "text": message["content"]}] if message["content"] else []
    for entry in message["tool_calls"]:
        arguments = json.loads(entry["function"]["arguments"])
        rebuilt += [{"type": "tool_use", "id": entry["id"], "name": entry["function"]["name"], "input": arguments}]
    assert assistant(message) == [THINKING[0], *rebuilt]


def test_assistant_content_in_its_forms() -> None:
    assert assistant({"content": "4"}) == "4"
    assert assistant({"content": [{"type": "text", "text": "4"}]}) == "4"
    assert assistant({"content": [{"type": "refusal", "refusal": "No."}]}) == "No."
    assert assistant({"content": None, "refusal": "No."}) == "No."
    assert assistant({"content": THINKING}) == THINKING
    assert assistant(
        {"content": "x", "reasoning_content": "of another vendor", "cache_control": {"type": "ephemeral"}}
    ) == [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}]
    native_call = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
    assert assistant({"content": [native_call], "tool_calls": [call("t")]}) == [native_call]


MEDIA = [
    {"type": "image_url", "image_url": PNG},
    {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
    {"type": "file", "file": {"file_id": "file-1"}},
    {"type": "reference", "reference_ids": [1]},
    {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}], "closed": True, "signature": "x"},
    {"type": "thinking", "thinking": "unsigned"},
    {"type": "redacted_thinking", "data": ""},
    {"type": "something_new"},
]


def test_what_other_vendors_models_said_goes_along_as_far_as_it_can() -> None:
    text = {"type": "text", "text": "4"}
    for part in MEDIA:
        assert assistant({"content": [part, text]}) == "4"
        assert turns(*HELLO, {"role": "assistant", "content": [part]}) == HELLO
    keys = {
        "reasoning_content": "r", "reasoning": "r", "reasoning_details": [{}], "annotations": [{}], "name": "bob",
        "images": [{"type": "image_url", "image_url": {"url": PNG}}], "audio": {"id": "a", "data": "x"}, "refusal": None,
        "function_call": {"name": ""}, "thinking": "hm", "prefix": True, "context": {}, "extra_content": {"google": {}},
    }  # fmt: skip
    assert assistant({"content": "4", **keys}) == "4"
    assert assistant({"content": None, "audio": {"id": "a", "data": "x", "transcript": "Four."}}) == "Four."
    assert assistant({"content": "4", "audio": {"id": "a", "transcript": "Four."}}) == "4"
    assert assistant({"content": [{"type": "text", "text": "4", "annotations": [], "logprobs": None}]}) == "4"


def test_a_call_in_its_old_form_is_refused_by_name() -> None:
    called = {"name": "f", "arguments": "{}"}
    assert "tool_calls" in refused(
        "messages[1].function_call is not", [*HELLO, {"role": "assistant", "content": None, "function_call": called}]
    )
    both = {"content": None, "function_call": called, "tool_calls": [call("c")]}
    assert assistant(both) == [{"type": "tool_use", "id": "c", "name": "f", "input": {}}]


@pytest.mark.parametrize(
    ("message", "path"),
    [
        ({"role": "user", "content": "x", "name": "bob"}, "messages[1].name"),
        ({"role": "user", "content": "x", "audio": {"id": "a"}}, "messages[1].audio"),
        ({"role": "user", "content": "x", "prefix": True}, "messages[1].prefix"),
        ({"role": "user", "content": "x", "images": ["???"]}, "messages[1].images[0]"),
        ({"role": "user", "content": "x", "images": ["AAAA", 5]}, "messages[1].images[0]"),
        ({"role": "system", "content": "x", "name": "example_user"}, "messages[1].name"),
        ({"role": "user", "content": [{"type": "video_url", "video_url": {"url": "x"}}]}, "messages[1].content[0]"),
        ({"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}, "messages[1].content[0]"),
        ({"role": "user", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {}}]}, "messages[1].content[0]"),
        ({"role": "user", "content": [THINKING[0]]}, "messages[1].content[0]"),
        ({"role": "user", "content": [{"type": "text", "text": "x", "citations": [{}]}]}, "messages[1].content[0].citations"),
        ({"role": "assistant", "content": [{"type": "document", "source": {}}]}, "messages[1].content[0]"),
        ({"role": "assistant", "content": [{"type": "image", "source": {}}]}, "messages[1].content[0]"),
        ({"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f"}]}, "messages[1].content[0].input"),
    ],
)  # fmt: skip
def test_what_a_user_wrote_and_cannot_go_is_refused_by_name(message: dict, path: str) -> None:
    refused(f"{path} ", [*HELLO, message])


def test_what_the_older_version_takes_passes_under_it() -> None:
    cited = {"type": "text", "text": "x", "citations": [{"type": "char_location"}]}
    document = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}}
    sent = turns({"role": "user", "content": [cited]}, {"role": "assistant", "content": [document]}, temperature=1)
    assert [turn["content"] for turn in sent] == [[cited], [document]]


def test_images_in_a_key_of_their_own() -> None:
    data = PNG.partition(",")[2]
    block = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}
    for image in (data, PNG, {"type": "image_url", "image_url": {"url": PNG}}):
        (turn,) = turns({"role": "user", "content": "What is it?", "images": [image]})
        assert turn["content"] == [{"type": "text", "text": "What is it?"}, block]
    (turn,) = turns({"role": "user", "content": "", "images": [data, "https://x.example/a.png"]})
    assert turn["content"] == [block, {"type": "image", "source": {"type": "url", "url": "https://x.example/a.png"}}]
    assert turns({"role": "user", "content": "x", "images": []}) == [{"role": "user", "content": "x"}]
    for start, media_type in (("/9j/AAAA", "image/jpeg"), ("R0lGODdh", "image/gif"), ("UklGRAAA", "image/webp")):
        (turn,) = turns({"role": "user", "content": "x", "images": [start]})
        assert turn["content"][1]["source"] == {"type": "base64", "media_type": media_type, "data": start}


BLANK = ["", " ", "\n\n", "\t \r\n", "\u3000"]


@pytest.mark.parametrize("blank", BLANK)
def test_blank_text_is_left_out_everywhere(blank: str) -> None:
    x = {"type": "text", "text": "x"}
    nothing = {"type": "text", "text": blank}
    assert content(nothing, x, nothing) == [x]
    assert turns({"role": "user", "content": blank}, *HELLO, {"role": "user", "content": [nothing]}) == HELLO
    assert assistant({"content": [nothing, x]}) == "x"
    assert turns(*HELLO, {"role": "assistant", "content": blank}, {"role": "assistant", "content": [nothing]}) == HELLO
    use = {"type": "tool_use", "id": "c", "name": "f", "input": {}}
    assert assistant({"content": blank, "tool_calls": [call("c")]}) == [use]
    thought = {"content": blank, "tool_calls": [call("c")], "native": native([THINKING[0], nothing, use])}
    assert assistant(thought) == [THINKING[0], use]
    for said in (blank, [nothing]):
        answered = turns(
            *HELLO,
            {"role": "assistant", "tool_calls": [call("c")]},
            {"role": "tool", "tool_call_id": "c", "content": said},
        )
        bare = {"type": "tool_result", "tool_use_id": "c"}
        assert answered[2]["content"] == [bare]
        in_its_form = turns(
            *HELLO, {"role": "assistant", "content": [use]}, {"role": "user", "content": [{**bare, "content": said}]}
        )
        assert in_its_form[2]["content"] == [bare]
    assert "system" not in body([{"role": "system", "content": blank}, *HELLO], system=blank)
    assert body([{"role": "system", "content": [nothing, x]}, *HELLO])["system"] == "x"
    assert turns(*HELLO, {"role": "system", "content": blank}) == HELLO
    refused("messages say nothing", [{"role": "system", "content": "S"}, {"role": "user", "content": blank}])


def test_hints_of_other_vendors_are_left_out() -> None:
    part = {"type": "text", "text": "x", "prompt_cache_breakpoint": {"mode": "explicit"}, "annotations": []}
    assert content(part) == [{"type": "text", "text": "x"}]
    assert body([{"role": "system", "content": [part]}, *HELLO])["system"] == "x"
    image = {"type": "image_url", "image_url": {"url": PNG, "detail": "high"}, "prompt_cache_breakpoint": {}}
    assert content(image)[0].keys() == {"type", "source"}
    document = {"type": "document_url", "document_url": "https://x.example/a.pdf", "document_name": "a"}
    source = {"type": "url", "url": "https://x.example/a.pdf"}
    assert content(document) == [{"type": "document", "source": source, "title": "a"}]


# -- calls and results ------------------------------------------------------------------------------------------------


def test_a_call_without_a_result_is_refused() -> None:
    asked = {"role": "assistant", "content": None, "tool_calls": [call("a"), call("b", "g")]}
    answered = {"role": "tool", "tool_call_id": "a", "content": "1"}
    for messages in ([*HELLO, asked, answered], [*HELLO, asked, answered, *HELLO]):
        assert "calls 'g'" in refused("messages[1] ", messages)
    refused("messages[3].tool_call_id is 'a', which has its result already", [*HELLO, asked, answered, answered])


def test_results_go_behind_their_calls_whatever_stands_between() -> None:
    def kinds(*messages: dict) -> list[list[str]]:
        sent = turns(*HELLO, *messages)[1:]
        return [[t["role"]] if isinstance(t["content"], str) else [b["type"] for b in t["content"]] for t in sent]

    first, second = ({"role": "assistant", "content": None, "tool_calls": [call(label)]} for label in "ab")
    one, two = ({"role": "tool", "tool_call_id": label, "content": label} for label in "ab")
    use, result = ["tool_use"], ["tool_result"]
    says = {"role": "assistant", "content": "Wait."}
    wait = {"role": "user", "content": "Wait."}
    assert kinds(first, says, one) == [use, result, ["assistant"]]
    assert kinds(first, second, one, two) == [use, result, use, result]
    assert kinds(first, second, two, one) == [use, result, use, result]
    assert kinds(first, wait, one) == [use, result, ["user"]]
    assert kinds(first, one, wait, second, two, wait) == [use, [*result, "text"], use, [*result, "text"]]


def test_results_in_the_form_of_this_wire_are_results() -> None:
    use = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "t", "content": "1"}
    text = {"type": "text", "text": "And?"}
    sent = turns(*HELLO, {"role": "assistant", "content": [use]}, {"role": "user", "content": [text, result]})
    assert sent[1:] == [{"role": "assistant", "content": [use]}, {"role": "user", "content": [result, text]}]
    blank = {"type": "text", "text": " "}
    for wrong in (
        {**result, "tool_use_id": "u"},
        {**result, "tool_use_id": 5},
        {"type": "tool_result", "content": "1"},
    ):
        refused("messages[1].content[1].tool_use_id ", [*HELLO, {"role": "user", "content": [blank, wrong]}])
    refused(
        "messages[2].content[1].tool_use_id is 't'",
        [*HELLO, {"role": "assistant", "content": [use]}, {"role": "user", "content": [result, result]}],
    )


@pytest.mark.parametrize("label", ["functions.get:0", "call:1", "a b", "é", "x/y"])
def test_native_calls_and_their_results_have_one_id(label: str) -> None:
    """Servers of this wire other than Anthropic's give ids that Anthropic's does not take."""
    said = [
        THINKING[0],
        {"type": "tool_use", "id": label, "name": "f", "input": {"x": 1}},
        {"type": "text", "text": "4"},
    ]
    reply = {"type": "message", "content": said, "stop_reason": "tool_use"}
    message = whole(reply).response.message
    history = []
    for _ in range(2):
        history += [message, {"role": "tool", "tool_call_id": label, "content": "1"}]
    sent = turns(*HELLO, *history)
    ids = []
    for at in (1, 3):
        assert [block["type"] for block in sent[at]["content"]] == ["thinking", "tool_use", "text"]
        ids.append(sent[at]["content"][1]["id"])
        assert sent[at + 1]["content"] == [{"type": "tool_result", "tool_use_id": ids[-1], "content": "1"}]
    assert len(set(ids)) == 2
    assert all(re.fullmatch("[A-Za-z0-9_-]+", each) for each in ids)


def test_names_of_other_vendors_calls_are_rewritten_and_those_of_tools_refused() -> None:
    for name in ("browser.open", "a b", "é", "x" * 200, "functions::f"):
        (use,) = assistant({"content": None, "tool_calls": [call("c", name)]})
        assert re.fullmatch("[A-Za-z0-9_-]{1,128}", use["name"])
        refused("tools[1].name ", tools=[{"name": "f"}, {"name": name}])


# -- what every model refuses -----------------------------------------------------------------------------------------


def test_at_most_four_markers() -> None:
    marker = {"type": "ephemeral"}
    marked = [{"type": "text", "text": str(i), "cache_control": marker} for i in range(5)]
    body([{"role": "user", "content": marked[:4]}])
    tool = {"name": "f", "cache_control": marker}
    for options in (
        {"messages": [{"role": "user", "content": marked}]},
        {"messages": [{"role": "user", "content": marked[:4]}], "tools": [tool]},
        {"messages": [{"role": "user", "content": marked[:3]}], "tools": [tool], "system": marked[:1]},
        {"messages": [{"role": "user", "content": marked[:4]}], "extra_body": {"cache_control": marker}},
        {"messages": [{"role": "user", "content": str(i), "cache_control": marker} for i in range(5)]},
    ):
        assert "cache_control is set 5 times; the Anthropic API takes 4" in refused("cache_control ", **options)
    asked = {"role": "assistant", "content": None, "tool_calls": [call("c")]}
    result = {"role": "tool", "tool_call_id": "c", "content": marked[:3], "cache_control": marker}
    body([*HELLO, asked, result])
    refused(
        "cache_control is set 5 times",
        [*HELLO, asked, result, {"role": "user", "content": "x", "cache_control": marker}],
    )


def test_a_marker_of_another_form_is_refused() -> None:
    for marker in (True, {}, {"type": "persistent"}, {"type": "ephemeral", "ttl": "2h"}, "5m"):
        said = refused("cache_control must be ", [{"role": "user", "content": "x", "cache_control": marker}])
        assert said.endswith(f"not {marker!r}")
        refused("cache_control must be ", tools=[{"name": "f", "cache_control": marker}])
    hour = {"type": "ephemeral", "ttl": "1h"}
    assert body(tools=[{"name": "f", "cache_control": hour}])["tools"][0]["cache_control"] == hour


def test_thinking_does_not_go_with_a_forced_tool() -> None:
    tools = [{"name": "f"}]
    for choice in ("required", "f", {"type": "any", "disable_parallel_tool_use": True}):
        refused("tool_choice ", tools=tools, tool_choice=choice, thinking=1024)
        refused("tool_choice ", tools=tools, tool_choice=choice, extra_body={"thinking": {"type": "adaptive"}})
        body(tools=tools, tool_choice=choice, thinking=False)
    body(tools=tools, tool_choice="auto", thinking=1024)


def test_a_budget_does_not_go_with_a_round_that_was_not_thought_about() -> None:
    """A model may not begin to think in the middle of a round of tools."""
    asked = {"role": "assistant", "content": "Look.", "tool_calls": [call("c")]}
    result = {"role": "tool", "tool_call_id": "c", "content": "1"}
    refused("thinking ", [*HELLO, asked, result], thinking=1024)
    refused(
        "thinking ",
        [*HELLO, asked, result, *HELLO],
        extra_body={"thinking": {"type": "enabled", "budget_tokens": 1024}},
    )
    body([*HELLO, asked, result], extra_body={"thinking": {"type": "adaptive"}})
    body([*HELLO, asked, result, {"role": "assistant", "content": "Ah."}, *HELLO], thinking=1024)
    use = {"type": "tool_use", "id": "c", "name": "f", "input": {}}
    thought = {"content": "", "native": native([THINKING[0], use])}
    body([*HELLO, {**asked, **thought}, result], thinking=1024)


def test_a_turn_that_is_to_be_continued_does_not_end_with_white_space() -> None:
    assert turns(*HELLO, {"role": "assistant", "content": "One, \n"})[1]["content"] == "One,"
    cited = {"type": "text", "text": "One, ", "citations": []}
    said = {"role": "assistant", "content": "One, ", "native": native([cited])}
    assert turns(*HELLO, said)[1]["content"] == [{**cited, "text": "One,"}]
    assert turns(*HELLO, said, *HELLO)[1]["content"] == [cited]
    assert said["native"]["blocks"] == [cited]


def test_a_tool_takes_an_object() -> None:
    for schema in ({"type": "string"}, {"type": "array", "items": {}}, {"type": ["object", "null"]}):
        refused("tools[0].parameters.type ", tools=[{"name": "f", "parameters": schema}])


def test_a_stop_text_is_not_blank() -> None:
    for stop in (" ", ["END", "\n\n"]):
        refused("stop", stop=stop)
    assert body(stop="END")["stop_sequences"] == ["END"]


def test_an_empty_assistant_turn_is_left_out() -> None:
    assert turns(*HELLO, {"role": "assistant", "content": ""}, {"role": "user", "content": "Hello?"}) == [
        *HELLO,
        {"role": "user", "content": "Hello?"},
    ]


def test_prefill_passes() -> None:
    assert turns(*HELLO, {"role": "assistant", "content": "{"})[-1] == {"role": "assistant", "content": "{"}


# -- heads ------------------------------------------------------------------------------------------------------------


def test_the_request_line_and_headers() -> None:
    codec = AnthropicCodec(BASE_URL, credential=Secret("sk-ant-1"), betas=["a-1", "b-2"], headers={"User-Agent": "x/1"})
    request = codec.build(chat_request(HELLO, "claude-x", extra_headers={"X-One": "1", "Accept": "text/plain"}))
    assert (request.method, request.target, str(request.origin)) == (
        "POST",
        "/v1/messages",
        "https://api.anthropic.com",
    )
    wire = bytes(request.wire()).decode().lower()
    for line in (
        "x-api-key: sk-ant-1",
        "anthropic-version: 2026-10-21",
        "anthropic-beta: a-1,b-2",
        "user-agent: x/1",
        "x-one: 1",
        "content-type: application/json",
        "accept: text/plain",
    ):
        assert f"\r\n{line}\r\n" in wire
    assert "authorization" not in wire
    assert "sk-ant-1" not in repr(request) + repr(codec.__dict__)


def test_a_token_is_a_bearer() -> None:
    codec = AnthropicCodec(BASE_URL, auth_token=Secret("tok"))
    wire = bytes(codec.build(chat_request(HELLO, "m")).wire()).decode()
    assert "authorization: bearer tok\r\n" in wire.lower()
    assert "x-api-key" not in wire.lower()
    other = codec.with_credential(Secret("new"))
    assert "bearer new\r\n" in bytes(other.build(chat_request(HELLO, "m")).wire()).decode().lower()
    keyed = AnthropicCodec(BASE_URL, credential=Secret("k"), api_version="2023-06-01", betas="b").with_credential(
        Secret("k2")
    )
    wire = bytes(keyed.build(chat_request(HELLO, "m")).wire()).decode().lower()
    assert "x-api-key: k2\r\n" in wire
    assert "anthropic-version: 2023-06-01\r\n" in wire
    assert "anthropic-beta: b\r\n" in wire


@pytest.mark.parametrize(
    "option",
    [{"betas": ["a\nb"]}, {"api_version": "2026\r\nx: y"}, {"headers": {"X-One": "ä"}}, {"headers": {"Host": "x"}}],
)
def test_what_cannot_be_a_header_is_refused_at_construction(option: dict) -> None:
    with pytest.raises(LLMBadRequestError) as caught:
        AnthropicCodec(BASE_URL, **option)
    assert "x: y" not in caught.value.message


def test_without_a_credential_none_is_sent() -> None:
    assert {"x-api-key", "authorization"}.isdisjoint(headers())


@pytest.mark.parametrize(
    ("base_url", "target"),
    [
        ("https://api.anthropic.com", "/v1/messages"),
        ("https://api.anthropic.com/v1", "/v1/messages"),
        ("https://gw.example/anthropic/", "/anthropic/v1/messages"),
        ("https://gw.example/a?k=v", "/a/v1/messages?k=v"),
    ],
)
def test_base_urls(base_url: str, target: str) -> None:
    assert AnthropicCodec(parse_base_url(base_url)).build(chat_request(HELLO, "m")).target == target


def test_heads_are_built_once() -> None:
    one, two = (CODEC.build(chat_request(HELLO, "m")) for _ in range(2))
    assert one.head is two.head


def test_listing_models() -> None:
    operation = CODEC.models_operation()
    assert (operation.request.method, operation.request.target, operation.form) == (
        "GET",
        "/v1/models?limit=1000",
        "json",
    )
    reader = operation.new_reader()
    raw = {"data": [{"id": "claude-b"}, {"id": "claude-a"}, {"x": 1}, None], "has_more": False}
    reading = read(reader, [json.dumps(raw).encode()])
    assert reader.models == ["claude-b", "claude-a"]
    assert reading.response.raw == raw
    assert (
        read(operation.new_reader(), [b'{"type":"error","error":{"type":"api_error","message":"m"}}']).error.error_type
        == "api_error"
    )
    assert read(operation.new_reader(), [b'{"models":[]}']).error.code == "unexpected_reply"


# -- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind", "message", "cls", "retry"),
    [
        (400, "invalid_request_error", "temperature: Extra inputs are not permitted", LLMBadRequestError, FATAL),
        (
            400,
            "invalid_request_error",
            "prompt is too long: 210000 tokens > 200000 maximum",
            LLMContextLengthError,
            FATAL,
        ),
        (401, "authentication_error", "invalid x-api-key", LLMAuthError, FATAL),
        (402, "billing_error", "no", LLMQuotaError, FATAL),
        (403, "permission_error", "no", LLMAuthError, FATAL),
        (404, "not_found_error", "model: claude-0", LLMNotFoundError, FATAL),
        (409, "conflict_error", "busy", LLMServerError, FATAL),
        (413, "request_too_large", "Request exceeds the maximum size", LLMContextLengthError, FATAL),
        (429, "rate_limit_error", "slow down", LLMRateLimitError, THROTTLED),
        (500, "api_error", "Internal server error", LLMServerError, TRANSIENT),
        (504, "timeout_error", "timed out", LLMServerError, AMBIGUOUS),
        (529, "overloaded_error", "Overloaded", LLMServerError, THROTTLED),
    ],
)
def test_error_replies(status: int, kind: str, message: str, cls: type, retry: str) -> None:
    operation = CODEC.operation(chat_request(HELLO, "claude-x"))
    said = json.dumps({"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_body"}).encode()
    error = operation.decode_error(status, (("request-id", "req_1"), ("retry-after", "7")), said)
    assert type(error) is cls
    assert (error.status_code, error.error_type, error.provider, error.model, error.request_id, error.retry_after) == (
        status,
        kind,
        "anthropic",
        "claude-x",
        "req_1",
        7.0,
    )
    assert operation.retry_table.of_reply(status, error.code, error.error_type) == retry


def test_spending_limits_are_no_rate_limits() -> None:
    operation = CODEC.operation(chat_request(HELLO, "claude-x"))
    said = {
        "type": "error",
        "error": {
            "type": "rate_limit_error",
            "message": "limit",
            "details": {"error_code": "enforced_spend_limit_reached"},
        },
    }
    error = operation.decode_error(429, (), json.dumps(said).encode())
    assert type(error) is LLMQuotaError
    assert operation.retry_table.of_reply(429, error.code, error.error_type) == FATAL


def test_a_retired_model_is_named() -> None:
    operation = CODEC.operation(chat_request(HELLO, "claude-3-opus-20240229"))
    said = b'{"type":"error","error":{"type":"not_found_error","message":"model: claude-3-opus-20240229"}}'
    assert "2026-01-05" in operation.decode_error(404, (), said).message


def test_rate_limit_headers_and_request_id() -> None:
    operation = CODEC.operation(chat_request(HELLO, "claude-x"))
    fields = (
        ("request-id", "req_1"),
        ("anthropic-ratelimit-requests-remaining", "49"),
        ("anthropic-ratelimit-tokens-reset", "2026-01-05T16:04:30Z"),
        ("date", "Mon, 05 Jan 2026 16:04:00 GMT"),
    )
    assert operation.request_id(fields) == "req_1"
    assert operation.rate_limit(fields) == {"requests-remaining": 49.0, "tokens-reset": 30.0}


def test_an_operation_says_how_its_reply_is_read() -> None:
    assert CODEC.operation(chat_request(HELLO, "m")).form == "json"
    streaming = CODEC.operation(chat_request(HELLO, "m", stream=True))
    assert (streaming.form, streaming.provider, streaming.model) == ("sse", "anthropic", "m")
    assert streaming.new_reader() is not streaming.new_reader()
    assert RETRY_TABLE is streaming.retry_table


# -- at the edges -----------------------------------------------------------------------------------------------------


def test_a_version_that_is_no_text_is_no_version() -> None:
    for version in ("", None):
        said = {"role": "assistant", "content": "4", "native": native(THINKING, version=version)}
        assert headers_of(*HELLO, said, *HELLO)["anthropic-version"] == "2026-10-21"
    said = {"role": "assistant", "content": "4", "native": native(THINKING[1:], version="2023-06-01")}
    assert headers_of(*HELLO, said, *HELLO)["anthropic-version"] == "2026-10-21", "there is no thinking in it"


def headers_of(*messages: dict) -> dict[str, object]:
    request = CODEC.build(chat_request(list(messages), "claude-x"))
    return {name.lower(): value for name, value in request.headers}


def test_what_was_said_goes_before_a_refusal() -> None:
    both = {"role": "assistant", "content": "Yes.", "refusal": "No."}
    assert turns(*HELLO, both)[1] == {"role": "assistant", "content": "Yes."}
    assert turns(*HELLO, {**both, "content": ""})[1] == {"role": "assistant", "content": "No."}
    assert len(turns(*HELLO, {**both, "content": "", "refusal": 5}, *HELLO)) == 2


def test_empty_text_among_native_blocks_is_left_out() -> None:
    blocks = [THINKING[0], {"type": "text", "text": ""}, {"type": "text", "text": "4"}]
    said = {"role": "assistant", "content": "4", "native": native(blocks)}
    assert turns(*HELLO, said)[1]["content"] == [blocks[0], blocks[2]]


def test_a_choice_in_the_wire_s_own_words_is_sent_as_it_is() -> None:
    tools = [{"name": "f"}]
    for choice in ({"type": "auto", "disable_parallel_tool_use": True}, {"type": "tool", "name": "f", "x": 1}, {"type": "any", "x": 1},
                   {"type": "none", "x": 1}):  # fmt: skip
        assert body(tools=tools, tool_choice=choice)["tool_choice"] == choice
    refused("tool_choice is not supported by the Anthropic API: it has no choice of type 'allowed_tools'", tools=tools,
            tool_choice={"type": "allowed_tools", "allowed_tools": {}})  # fmt: skip


def test_ids_that_are_rewritten_stay_apart() -> None:
    def call(id: str) -> dict:
        return {"id": id, "type": "function", "function": {"name": "f", "arguments": "{}"}}

    ids = ["a.b", "a_b", "a:b", "a_b_1", "é"]
    asked = {"role": "assistant", "content": None, "tool_calls": [call(each) for each in ids]}
    results = [{"role": "tool", "tool_call_id": each, "content": each} for each in ids]
    sent = turns(*HELLO, asked, *results)
    uses = [block["id"] for block in sent[1]["content"]]
    assert (uses[1], uses[3], len(set(uses))) == ("a_b", "a_b_1", 5)
    assert [block["tool_use_id"] for block in sent[2]["content"]] == uses
    assert [block["content"] for block in sent[2]["content"]] == ids


def test_a_breakpoint_is_not_put_on_thinking_nor_over_another() -> None:
    cache = {"type": "ephemeral"}
    said = {"role": "assistant", "content": "", "native": native(THINKING[:1]), "cache_control": cache}
    assert turns(*HELLO, said) == HELLO, "thinking alone is no turn"
    own = {"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    assert content(own) == [own]
    (turn,) = turns({"role": "user", "content": [own], "cache_control": cache})
    assert turn["content"] == [own]
    (turn,) = turns(
        {
            "role": "user",
            "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
            "cache_control": cache,
        }
    )
    assert turn["content"] == [{"type": "text", "text": "a"}, {"type": "text", "text": "b", "cache_control": cache}]


@pytest.mark.parametrize(
    ("file", "block"),
    [
        ({"file_id": "f"}, {"type": "document", "source": {"type": "file", "file_id": "f"}}),
        ({"file_data": "https://a.example/x.pdf", "filename": "x.pdf"},
         {"type": "document", "source": {"type": "url", "url": "https://a.example/x.pdf"}, "title": "x.pdf"}),
        ({"file_data": "JVBERi0x", "filename": ""},
         {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0x"}}),
        ({"file_data": PNG, "filename": "x.png"}, {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}),
    ],
)  # fmt: skip
def test_a_file_in_its_forms(file: dict, block: dict) -> None:
    assert content({"type": "file", "file": file}) == [block]
    cached = content({"type": "file", "file": file, "cache_control": {"type": "ephemeral"}})
    assert cached == [{**block, "cache_control": {"type": "ephemeral"}}]


def test_a_file_that_is_neither_is_said_to_be() -> None:
    assert refused(
        "messages[0].content[0].file", [{"role": "user", "content": [{"type": "file", "file": {"file_data": "x"}}]}]
    ) == ("messages[0].content[0].file.file_data must be a data URL, an http(s) URL or a PDF in base64")


def test_head_and_body_of_a_request() -> None:
    post = bytes(CODEC.build(chat_request(HELLO, "claude-x")).wire())
    get = bytes(CODEC.models_operation().request.wire())
    assert post.startswith(b"POST /v1/messages HTTP/1.1\r\n")
    assert b"\r\nContent-Type: application/json\r\n" in post
    assert get.startswith(b"GET /v1/models")
    assert b"content-type" not in get.lower()
    for wire in (post, get):
        assert b"\r\nAccept: application/json\r\n" in wire
        assert b"\r\nanthropic-version: 2026-10-21\r\n" in wire
