"""Messages and tools in the forms that each vendor of OpenAI's wire takes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sans_io.errors import LLMBadRequestError
from sans_io.providers.registry import DIALECTS
from tests.providers.openai.kit import body, chunk, read_body, read_stream
from tests.providers.openai.test_requests import HI, sent

OF_OPENAI = [name for name, row in DIALECTS.items() if "openai" in row.wires and row.wires[0] == "openai"]
PNG = "iVBORw0KGgo="
WAV, MP3 = "UklGRiQAAABXQVZF", "SUQzBAAAAAAA"
DOCUMENT = "data:application/pdf;base64,JVBERi0="


def user(*parts: dict) -> list[dict]:
    return [{"role": "user", "content": list(parts)}]


def content(name: str, *parts: dict) -> Any:
    return sent(name, user(*parts))["messages"][0]["content"]


@pytest.mark.parametrize(
    "message", [{"content": "x"}, {"content": "x", "name": "n"}, {"content": [{"type": "text", "text": "x"}]}]
)
@pytest.mark.parametrize("name", OF_OPENAI)
def test_developer_is_system_where_it_is_not_known(name: str, message: dict) -> None:
    if "name" in message and name in ("mistral", "xai"):
        with pytest.raises(LLMBadRequestError, match=r"^messages\[0\]\.name is not supported by the (mistral|xai) API"):
            sent(name, [{"role": "developer", **message}, *HI])
        return
    said = sent(name, [{"role": "developer", **message}, *HI])["messages"][0]
    assert said["role"] == ("developer" if name in ("openai", "azure", "groq", "openrouter") else "system")


@pytest.mark.parametrize("key", ["name", "metadata", "id", "timestamp", "reasoning_content"])
@pytest.mark.parametrize("name", ["mistral", "groq", "openai", "cerebras"])
def test_a_user_s_own_key_is_refused_where_the_vendor_does_not_know_it(name: str, key: str) -> None:
    message = {"role": "user", "content": "x", key: "y", "cache_control": {"type": "ephemeral"}}
    if key == "name" and name != "mistral":
        assert sent(name, [message])["messages"][0] == {"role": "user", "content": "x", "name": "y"}
    else:
        with pytest.raises(LLMBadRequestError, match=rf"^messages\[0\]\.{key} is not supported by the {name} API"):
            sent(name, [message])
    assert sent("generic", [message])["messages"][0] == message


@pytest.mark.parametrize(
    ("part", "at_mistral", "elsewhere"),
    [
        ({"type": "input_audio", "input_audio": {"data": WAV, "format": "wav"}},
         {"type": "input_audio", "input_audio": WAV}, None),
        ({"type": "input_audio", "input_audio": MP3}, None,
         {"type": "input_audio", "input_audio": {"data": MP3, "format": "mp3"}}),
        ({"type": "input_audio", "input_audio": WAV}, None,
         {"type": "input_audio", "input_audio": {"data": WAV, "format": "wav"}}),
        ({"type": "file", "file": {"file_id": "f1"}}, {"type": "file", "file_id": "f1"}, None),
        ({"type": "file", "file_id": "f1"}, None, {"type": "file", "file": {"file_id": "f1"}}),
        ({"type": "file", "file": {"file_data": DOCUMENT, "filename": "a.pdf"}},
         {"type": "document_url", "document_url": DOCUMENT, "document_name": "a.pdf"}, None),
        ({"type": "document_url", "document_url": DOCUMENT}, None,
         {"type": "file", "file": {"file_data": DOCUMENT, "filename": "document.pdf"}}),
        ({"type": "image_url", "image_url": {"url": "https://a.example/x.png"}, "cache_control": {"type": "ephemeral"}},
         {"type": "image_url", "image_url": {"url": "https://a.example/x.png"}},
         {"type": "image_url", "image_url": {"url": "https://a.example/x.png"}}),
    ],
)  # fmt: skip
def test_parts_in_mistral_s_forms_and_in_the_common_ones(
    part: dict, at_mistral: dict | None, elsewhere: dict | None
) -> None:
    assert content("mistral", part) == [at_mistral or part]
    for name in ("openai", "azure", "gemini", "xai"):
        assert content(name, part) == [elsewhere or part]
    assert content("generic", part) == [part], "an unknown server gets what was said"


@pytest.mark.parametrize(
    ("name", "part", "words"),
    [
        ("openai", {"type": "document_url", "document_url": "https://a.example/x.pdf"}, "fetches no documents"),
        ("openai", {"type": "input_audio", "input_audio": "AAAA"}, "data (base64) and format"),
        ("mistral", {"type": "file", "file": {"file_data": "JVBERi0", "filename": "a.pdf"}}, "must be a data URL"),
        ("deepseek", {"type": "image_url", "image_url": {"url": "https://a.example/x.png"}}, "holds text, not 'image_url'"),
        ("cerebras", {"type": "input_audio", "input_audio": {"data": WAV, "format": "wav"}}, "not 'input_audio'"),
        ("groq", {"type": "file", "file": {"file_id": "x"}}, "not 'file'"),
        ("openai", {"type": "video_url", "video_url": {"url": "https://a.example/x.mp4"}}, "not 'video_url'"),
        ("openai", {"type": "image", "source": {}}, "is Anthropic's"),
    ],
)  # fmt: skip
def test_a_part_that_a_vendor_does_not_take_is_refused_by_its_place(name: str, part: dict, words: str) -> None:
    with pytest.raises(LLMBadRequestError) as caught:
        content(name, {"type": "text", "text": "x"}, part)
    assert str(caught.value).startswith("messages[0].content[1]")
    assert words in str(caught.value)


CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


@pytest.mark.parametrize("name", ["openai", "azure"])
def test_a_picture_as_a_result_is_told_where_to_go(name: str) -> None:
    result = {
        "role": "tool",
        "tool_call_id": "call_1",
        "content": [{"type": "image_url", "image_url": "https://a.b/c.png"}],
    }
    with pytest.raises(LLMBadRequestError, match=r"^messages\[2\]\.content\[0\].*put it into a user message"):
        sent(name, [*HI, {"role": "assistant", "tool_calls": [CALL]}, result])


@pytest.mark.parametrize("name", OF_OPENAI)
@pytest.mark.parametrize("form", ["wav", "mp3", "flac", "webm", "WAV"])
def test_recordings_are_of_the_formats_that_the_vendor_takes(name: str, form: str) -> None:
    part = {"type": "input_audio", "input_audio": {"data": WAV, "format": form}}
    if name in ("openai", "azure") and form not in ("wav", "mp3"):
        with pytest.raises(LLMBadRequestError, match=r"input_audio\.format is not supported .*wav or mp3, not"):
            sent(name, user(part))
    elif name not in ("groq", "deepseek", "cerebras"):
        assert content(name, part) == [{**part, "input_audio": WAV} if name == "mistral" else part]


def test_deepseek_gets_texts_and_no_parts() -> None:
    text = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    result = {"role": "tool", "tool_call_id": "call_1", "content": text}
    messages = [
        {"role": "system", "content": text},
        *user(*text),
        {"role": "assistant", "content": text, "tool_calls": [CALL]},
    ]
    said = [message["content"] for message in sent("deepseek", [*messages, result])["messages"]]
    assert said == ["a\nb", "a\nb", "ab", "a\nb"]


@pytest.mark.parametrize(
    ("picture", "url"),
    [
        (PNG, f"data:image/png;base64,{PNG}"), ("/9j/4AAQ", "data:image/jpeg;base64,/9j/4AAQ"),
        ("R0lGODlh", "data:image/gif;base64,R0lGODlh"), ("UklGRiQA", "data:image/webp;base64,UklGRiQA"),
        ("https://a.example/x.png", "https://a.example/x.png"), (f"data:image/png;base64,{PNG}", f"data:image/png;base64,{PNG}"),
        ({"type": "image_url", "image_url": {"url": "https://a.example/x.png"}}, "https://a.example/x.png"),
        ({"image_url": "https://a.example/x.png"}, "https://a.example/x.png"),
    ],
)  # fmt: skip
def test_pictures_beside_the_content_become_parts(picture: object, url: str) -> None:
    part = {"type": "image_url", "image_url": {"url": url}}
    said = sent("openai", [{"role": "user", "content": "x", "images": [picture]}])["messages"][0]
    assert said == {"role": "user", "content": [{"type": "text", "text": "x"}, part]}
    painted = [*HI, {"role": "assistant", "content": "", "images": [picture]}, *HI]
    for name in ("openrouter", "generic", "vllm"):
        assert sent(name, painted)["messages"][1] == {"role": "assistant", "content": [part]}
    for name in ("openai", "groq", "deepseek", "gemini"):
        assert sent(name, painted)["messages"][1] == {"role": "assistant", "content": ""}
    assert [message["role"] for message in sent("mistral", painted)["messages"]] == ["user", "user"]


@pytest.mark.parametrize("pictures", [["?"], [5], "?", [{"image_url": {}}], [None]])
def test_what_is_no_picture_is_refused_by_its_place(pictures: object) -> None:
    with pytest.raises(LLMBadRequestError, match=r"^messages\[0\]\.images\[0\] must be a picture"):
        sent("openai", [{"role": "user", "content": "x", "images": pictures}])


@pytest.mark.parametrize("picture", ["?", 5, None, {"b64_json": PNG}, {"image_url": {}}, {"type": "text"}])
@pytest.mark.parametrize("name", ["openrouter", "generic", "openai", "mistral"])
def test_what_a_model_painted_in_another_form_is_left_out(name: str, picture: object) -> None:
    painted = {**SAY, "images": [picture, {"image_url": {"url": "https://a.example/x.png"}}]}
    said = sent(name, [*HI, painted, *HI])["messages"][1]
    part = {"type": "image_url", "image_url": {"url": "https://a.example/x.png"}}
    kept = name in ("openrouter", "generic")
    assert said["content"] == ([{"type": "text", "text": "a"}, part] if kept else "a")


# -- Mistral's order --------------------------------------------------------------------------------------------------

SAY, EMPTY = {"role": "assistant", "content": "a"}, {"role": "assistant", "content": ""}
SYSTEM = {"role": "system", "content": "s"}
CALLS, RESULT = {"role": "assistant", "tool_calls": [CALL]}, {"role": "tool", "tool_call_id": "call_1", "content": "r"}


@pytest.mark.parametrize(
    ("messages", "roles"),
    [
        ([*HI, EMPTY, *HI], "user user"),
        ([*HI, {"role": "assistant", "content": None}, *HI], "user user"),
        ([*HI, {"role": "assistant", "content": []}, *HI], "user user"),
        ([*HI, SAY, SYSTEM, *HI], "system user assistant user"),
        ([SYSTEM, *HI, SAY, {"role": "developer", "content": "s"}, *HI], "system system user assistant user"),
        ([*HI, CALLS, RESULT], "user assistant tool"),
        ([*HI, CALLS, RESULT, *HI], "user assistant tool user"),
        ([*HI, CALLS, RESULT, EMPTY, *HI], "user assistant tool user"),
        ([*HI, CALLS, RESULT, SYSTEM, *HI], "system user assistant tool user"),
        ([*HI, CALLS, RESULT, SAY, *HI], "user assistant tool assistant user"),
        ([*HI, SAY], "user assistant"),
        ([*HI, EMPTY], "user"),
    ],
)
def test_mistral_s_order_of_turns(messages: list[dict], roles: str) -> None:
    said = sent("mistral", messages)["messages"]
    assert " ".join(message["role"] for message in said) == roles
    assert all(message.get("content") or message.get("tool_calls") for message in said)
    assert (said[-1].get("prefix") is True) == (said[-1]["role"] == "assistant")


def test_a_system_argument_stays_in_front() -> None:
    said = sent("mistral", [*HI, SAY, SYSTEM, *HI], system="first")["messages"]
    assert [message["content"] for message in said[:2]] == ["first", "s"]


# -- Mistral's thinking -----------------------------------------------------------------------------------------------


def thinking(*pieces: Any, **more: object) -> dict:
    inner = [{"type": "text", "text": piece} if isinstance(piece, str) else piece for piece in pieces]
    return {"type": "thinking", "thinking": inner, **more}


REFERENCE = {"type": "reference", "reference_ids": [1, "a"]}
TEXT = {"type": "text", "text": "A"}


@pytest.mark.parametrize(
    "parts",
    [
        [thinking("hm", signature="s", closed=True), TEXT],
        [thinking("hm", closed=False), TEXT],
        [thinking("a", REFERENCE, "b", signature="s"), TEXT],
        [thinking(REFERENCE, "b"), TEXT],
        [thinking("a", REFERENCE, {"type": "tool_reference", "tool": "web_search", "title": "t"}), TEXT],
        [thinking("a", signature="s"), thinking("b", signature="t"), TEXT],
        [TEXT, thinking("a"), {"type": "text", "text": "B"}, REFERENCE],
        [thinking("only")],
        [thinking("", signature="s")],
        [thinking("a", budget=5), TEXT],
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_mistral_s_thinking_goes_back_whole_and_in_order(parts: list[dict], streamed: bool) -> None:
    if streamed:
        pieces = [chunk({"content": [part]}) for part in parts]
        message = read_stream(*pieces, chunk({}, "stop")).response.message
    else:
        message = read_body(body({"role": "assistant", "content": parts})).response.message
    assert message["content"] == parts
    known = [{k: v for k, v in part.items() if k != "budget"} for part in parts]
    assert sent("mistral", [*HI, message, *HI])["messages"][1]["content"] == known
    for name in ("openai", "groq", "cerebras", "generic"):
        texts = [part for part in parts if part["type"] == "text"]
        assert sent(name, [*HI, message, *HI])["messages"][1]["content"] == (texts or "")


def test_pieces_of_one_thinking_part_become_one() -> None:
    pieces = [
        thinking("I "),
        thinking("th"),
        thinking(REFERENCE),
        thinking("ink"),
        thinking("", signature="s", closed=True),
    ]
    reading = read_stream(
        *(chunk({"content": [piece]}) for piece in pieces), chunk({"content": "A"}), chunk({}, "stop")
    )
    assert reading.response.message["content"] == [thinking("I th", REFERENCE, "ink", signature="s", closed=True), TEXT]
    assert reading.response.reasoning == "I think"


# -- tools and formats ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tool", [{"name": "f"}, {"name": "f", "parameters": {}}, {"name": "f", "input_schema": {}},
                                  {"type": "function", "function": {"name": "f", "parameters": None}}])  # fmt: skip
def test_a_tool_without_arguments_has_parameters_at_mistral(tool: dict) -> None:
    function = sent("mistral", tools=[tool])["tools"][0]["function"]
    assert function == {"name": "f", "parameters": {"type": "object", "properties": {}}}


@pytest.mark.parametrize("parameters", [{}, {"parameters": {}}, {"parameters": None}, {"input_schema": {}}])
@pytest.mark.parametrize("name", OF_OPENAI)
def test_a_strict_tool_without_arguments_is_closed(name: str, parameters: dict) -> None:
    function = sent(name, tools=[{"name": "f", "strict": True, **parameters}])["tools"][0]["function"]
    closed = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
    assert function.get("parameters", closed) == closed
    assert "parameters" in function or not DIALECTS[name].strict_schemas


def test_a_strict_tool_is_judged_by_what_is_sent() -> None:
    schema = {"properties": {"x": {"type": "string"}}, "required": ["x"], "additionalProperties": False}
    function = sent("openai", tools=[{"name": "f", "strict": True, "parameters": schema}])["tools"][0]["function"]
    assert function == {"name": "f", "strict": True, "parameters": {"type": "object", **schema}}


@pytest.mark.parametrize("name", OF_OPENAI)
def test_parameters_are_of_type_object(name: str) -> None:
    tool = {
        "name": "f",
        "parameters": {"properties": {"x": {"type": "string"}}},
        "cache_control": {"type": "ephemeral"},
    }
    said = sent(name, tools=[tool])["tools"][0]
    assert said["function"]["parameters"] == {"type": "object", "properties": {"x": {"type": "string"}}}
    assert ("cache_control" in said) == (DIALECTS[name].messages.keys is None)


@pytest.mark.parametrize("more", [{}, {"name": "c"}, {"custom": None}, {"custom": {}}, {"custom": {"name": ""}}])
@pytest.mark.parametrize("name", ["openai", "azure", "openrouter", "generic"])
def test_a_custom_tool_has_a_name(name: str, more: dict) -> None:
    with pytest.raises(LLMBadRequestError, match=r"^tools\[0\]\.custom must be a dict with the name of the tool"):
        sent(name, tools=[{"type": "custom", **more}])


@pytest.mark.parametrize("tool", [{"type": "custom", "custom": {"name": "c"}}, {"type": "web_search"}])
@pytest.mark.parametrize("name", OF_OPENAI)
def test_other_tools_than_functions_are_refused_where_there_are_none(name: str, tool: dict) -> None:
    known = DIALECTS[name].tools
    if not known or tool["type"] in known:
        assert sent(name, tools=[tool])["tools"] == [tool]
    else:
        with pytest.raises(
            LLMBadRequestError, match=rf"^tools\[0\] is not supported by the {name} API: its tools are of"
        ):
            sent(name, tools=[tool])
    if not known or "custom" in known:
        return
    with pytest.raises(LLMBadRequestError, match="^tool_choice is not supported"):
        sent(name, tools=[{"name": "f"}], tool_choice={"type": "allowed_tools", "allowed_tools": {}})


@pytest.mark.parametrize("parallel", [True, False])
@pytest.mark.parametrize("name", OF_OPENAI)
def test_parallel_tool_calls_goes_with_tools_only(name: str, parallel: bool) -> None:
    assert "parallel_tool_calls" not in sent(name, parallel_tool_calls=parallel)
    assert sent(name, tools=[{"name": "f"}], parallel_tool_calls=parallel)["parallel_tool_calls"] is parallel
    elsewhere = sent(name, extra_body={"tools": [{"type": "function"}]}, parallel_tool_calls=parallel)
    assert elsewhere["parallel_tool_calls"] is parallel


@pytest.mark.parametrize(
    "wanted",
    [{"type": "object"}, {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}}, {"title": "T", "type": "object"},
     {"type": "json_schema", "schema": {"type": "object"}}, {"anyOf": []}],
)  # fmt: skip
def test_deepseek_is_told_that_it_has_no_schemas(wanted: dict) -> None:
    with pytest.raises(
        LLMBadRequestError, match='^response_format is not supported by the deepseek API: it knows "json" only'
    ):
        sent("deepseek", response_format=wanted, system="JSON")
    assert sent("deepseek", response_format="json", system="In JSON.")["response_format"] == {"type": "json_object"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, False), ({"system": "Answer in JSON."}, True), ({"messages": [{"role": "user", "content": "Give me Json"}]}, True),
        ({"messages": user({"type": "text", "text": "as json"})}, True), ({"system": "Answer in XML."}, False),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["openai", "azure", "deepseek"])
def test_json_is_asked_for_in_words_too(name: str, arguments: dict, said: bool) -> None:
    if said:
        assert sent(name, response_format="json", **arguments)["response_format"] == {"type": "json_object"}
    else:
        with pytest.raises(LLMBadRequestError, match="^response_format is .*no message has the word"):
            sent(name, response_format="json", **arguments)
    assert sent("vllm", response_format="json", **arguments)["response_format"] == {"type": "json_object"}


# -- shells and the rest ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "shell",
    [{"function_call": {"name": ""}}, {"function_call": {}}, {"audio": {"id": ""}}, {"audio": {}}, {"tool_calls": []},
     {"annotations": []}, {"reasoning_content": ""}, {"refusal": ""}, {"images": []}, {"function_call": None},
     {"function_call": {"name": None, "arguments": ""}}, {"function_call": True}, {"function_call": "auto"},
     {"function_call": {"name": 5}}, {"audio": True}, {"audio": "x"}],
)  # fmt: skip
@pytest.mark.parametrize("name", OF_OPENAI)
def test_shells_stay_behind(name: str, shell: dict) -> None:
    assert sent(name, [*HI, {**SAY, **shell}, *HI])["messages"][1] == SAY


@pytest.mark.parametrize("name", ["mistral", "deepseek", "gemini", "xai", "cerebras", "openrouter"])
def test_a_call_of_2023_is_told_its_new_form(name: str) -> None:
    old = {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}}
    with pytest.raises(LLMBadRequestError, match=r"^messages\[1\]\.function_call .*give the call as tool_calls"):
        sent(name, [*HI, old, *HI])
    assert sent("openai", [*HI, old, *HI])["messages"][1] == old
    assert "function_call" not in sent(name, [*HI, {**old, "tool_calls": [CALL]}, RESULT])["messages"][1]


def test_plain_messages_are_sent_as_they_are() -> None:
    plain = [SYSTEM, *HI, SAY, *HI]
    for name in OF_OPENAI:
        assert sent(name, plain)["messages"] == plain


@pytest.mark.parametrize("name", ["mistral", "xai"])
def test_a_conversation_of_nothing_is_refused(name: str) -> None:
    with pytest.raises(LLMBadRequestError, match="^messages say nothing"):
        sent(name, [EMPTY])


# -- calls and results ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("messages", "path"),
    [
        ([*HI, CALLS], "messages[1].tool_calls[0] has no result"),
        ([*HI, CALLS, *HI, RESULT], "messages[1].tool_calls[0] has no result"),
        ([*HI, CALLS, SAY, RESULT], "messages[1].tool_calls[0] has no result"),
        ([*HI, CALLS, RESULT, RESULT], "messages[3].tool_call_id must be that of a call"),
        ([*HI, CALLS, RESULT, SAY, RESULT], "messages[4].tool_call_id must be that of a call"),
        (
            [*HI, {**CALLS, "tool_calls": [CALL, {**CALL, "id": "b"}]}, RESULT],
            "messages[1].tool_calls[1] has no result",
        ),
        ([*HI, {**CALLS, "tool_calls": [CALL, CALL]}, RESULT], "messages[1].tool_calls[0] has no result"),
    ],
)
@pytest.mark.parametrize("name", [name for name in OF_OPENAI if DIALECTS[name].messages.keys])
def test_every_call_has_its_result_right_behind_it(name: str, messages: list[dict], path: str) -> None:
    with pytest.raises(LLMBadRequestError) as caught:
        sent(name, messages)
    assert str(caught.value).startswith(path)
    sent("generic", messages)


def test_a_system_message_between_call_and_result_goes_to_the_front_at_mistral() -> None:
    roles = [message["role"] for message in sent("mistral", [*HI, CALLS, SYSTEM, RESULT])["messages"]]
    assert roles == ["system", "user", "assistant", "tool"]
    with pytest.raises(LLMBadRequestError, match=r"^messages\[1\]\.tool_calls\[0\] has no result"):
        sent("openai", [*HI, CALLS, SYSTEM, RESULT])


@pytest.mark.parametrize("result", [RESULT, {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a"}]}])
def test_a_call_in_anthropic_s_form_is_what_is_refused(result: dict) -> None:
    part = {"type": "tool_use", "id": RESULT["tool_call_id"], "name": "f", "input": {}}
    with pytest.raises(LLMBadRequestError, match=r"^messages\[1\]\.content\[0\] .*'tool_use' is Anthropic's"):
        sent("openai", [*HI, {"role": "assistant", "content": [part]}, result])


def test_gemini_gets_the_name_of_a_result() -> None:
    assert sent("gemini", [*HI, CALLS, RESULT])["messages"][2]["name"] == "f"
    assert sent("gemini", [*HI, CALLS, {**RESULT, "name": "g"}])["messages"][2]["name"] == "g"


@pytest.mark.parametrize(
    "entry",
    [{**CALL, "index": 0}, {**CALL, "extra_content": {}}, {**CALL, "provider_specific_fields": None},
     {**CALL, "function": {**CALL["function"], "parsed_arguments": {}}}, {**CALL, "x": {"y": 1}}],
)  # fmt: skip
@pytest.mark.parametrize("name", ["openai", "azure", "groq", "mistral", "deepseek", "xai", "cerebras"])
def test_a_call_has_only_the_keys_that_the_vendor_knows(name: str, entry: dict) -> None:
    said = sent(name, [*HI, {"role": "assistant", "tool_calls": [entry]}, RESULT])["messages"][1]["tool_calls"][0]
    assert {**said, "id": "call_1"} == CALL


@pytest.mark.parametrize(
    ("said", "written"),
    [("functions.get", "functions_get"), ("get<|channel|>commentary", "get__channel__commentary"),
     ("get weather", "get_weather"), ("größe", "gr__e"), ("f" * 70, "f" * 64), ("a-b_C9", "a-b_C9")],
)  # fmt: skip
@pytest.mark.parametrize("name", [name for name in OF_OPENAI if DIALECTS[name].messages.keys])
def test_a_tool_that_a_model_made_up_has_a_name_that_every_vendor_takes(name: str, said: str, written: str) -> None:
    call = {**CALL, "function": {"name": said, "arguments": "{}"}}
    history = [*HI, {"role": "assistant", "tool_calls": [call]}, {**RESULT, "name": said}]
    messages = sent(name, history)["messages"]
    assert messages[1]["tool_calls"][0]["function"]["name"] == written
    assert messages[2].get("name", written) == written
    # What the caller calls a tool is the caller's business, and the server's.
    declared = sent(name, history, tools=[{"name": said}])["messages"]
    assert declared[1]["tool_calls"][0]["function"]["name"] == said
    assert sent("generic", history)["messages"] == history


@pytest.mark.parametrize("text", ["1 + 1", "", "ü\n"])
def test_a_custom_tool_s_call_is_a_function_s_elsewhere(text: str) -> None:
    custom = {"id": "call_1", "type": "custom", "custom": {"name": "run", "input": text}}
    history = [*HI, {"role": "assistant", "tool_calls": [custom]}, RESULT]
    assert sent("openai", history)["messages"][1]["tool_calls"] == [custom]
    function = sent("groq", history)["messages"][1]["tool_calls"][0]["function"]
    assert (function["name"], json.loads(function["arguments"])) == ("run", {"input": text})
