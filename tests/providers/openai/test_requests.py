"""Requests of OpenAI's wire: paths, headers and bodies in each dialect, and what is refused before sending."""

from __future__ import annotations

import json
import os
import pickle
from base64 import b64encode
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sans_io.chat.messages import chat_request
from sans_io.errors import LLMBadRequestError
from sans_io.http.http11 import HTTPRequest
from sans_io.http.secret import Secret
from sans_io.http.urls import parse_base_url
from sans_io.providers.openai_chat.codec import OpenAICodec
from sans_io.providers.registry import DIALECTS, Dialect, dialect_for
from tests.providers.conversations import TOOLS, conversations
from tests.providers.openai.kit import chunk, read_stream

HI = [{"role": "user", "content": "Hi"}]
CANARY = "sk-canary-0123456789"
#: What Google documents for calls that another model made.
UNSIGNED = {"google": {"thought_signature": b64encode(b"skip_thought_signature_validator").decode()}}


def codec(dialect: str = "openai", base_url: str | None = None, **options: object) -> OpenAICodec:
    row = DIALECTS[dialect]
    url = parse_base_url(base_url or row.base_url or "https://api.example.com/v1")
    return OpenAICodec(url, row, credential=Secret(CANARY), **options)


def built(
    made: OpenAICodec | str = "openai", messages: object = HI, model: str | None = "m", **arguments: object
) -> HTTPRequest:
    return (codec(made) if isinstance(made, str) else made).build(chat_request(messages, model, **arguments))


def sent(
    made: OpenAICodec | str = "openai", messages: object = HI, model: str | None = "m", **arguments: object
) -> dict:
    return json.loads(built(made, messages, model, **arguments).body)


def header(request: HTTPRequest, name: str) -> object:
    return {key.lower(): value for key, value in request.headers}.get(name)


# -- bodies --


def test_nothing_is_sent_that_nobody_said() -> None:
    assert sent() == {"model": "m", "messages": HI}
    assert sent(stream=True) == {
        "model": "m", "messages": HI, "stream": True, "stream_options": {"include_usage": True},
    }  # fmt: skip


def test_everything_that_can_be_said() -> None:
    body = sent(
        temperature=0, top_p=0.5, max_tokens=9, stop="x", seed=1, n=2, reasoning_effort="low", parallel_tool_calls=False,
        tools=[TOOLS[0]], tool_choice="required", response_format="json", system="Write JSON.",
        extra_body={"verbosity": "low", "stream_options": None}, frequency_penalty=1, presence_penalty=-1, logprobs=3,
        service_tier="flex", user="u", metadata={"k": "v"}, verbosity="high",
    )  # fmt: skip
    assert body == {
        "model": "m", "messages": [{"role": "system", "content": "Write JSON."}, *HI], "max_completion_tokens": 9,
        "temperature": 0, "top_p": 0.5, "stop": ["x"], "seed": 1, "n": 2, "reasoning_effort": "low",
        "response_format": {"type": "json_object"}, "tools": [{"type": "function", "function": TOOLS[0]}],
        "tool_choice": "required", "parallel_tool_calls": False, "verbosity": "low", "stream_options": None,
        "frequency_penalty": 1, "presence_penalty": -1, "logprobs": True, "top_logprobs": 3, "service_tier": "flex",
        "safety_identifier": "u", "metadata": {"k": "v"},
    }  # fmt: skip


@pytest.mark.parametrize("name", DIALECTS)
def test_each_dialect_has_its_words(name: str) -> None:
    row = DIALECTS[name]
    body = sent(name, max_tokens=5, seed=3, tools=[TOOLS[0]], tool_choice="required", stream=True)
    assert body[row.max_tokens_field] == 5
    assert body[row.seed_field] == 3
    assert body["tool_choice"] == row.required
    assert ("stream_options" in body) is row.usage_in_stream


def test_the_words_of_some_dialects() -> None:
    assert "max_completion_tokens" in sent("groq", max_tokens=5)
    assert "max_tokens" in sent("generic", max_tokens=5)
    mistral = sent("mistral", seed=3, tools=[TOOLS[0]], tool_choice="required")
    assert (mistral["random_seed"], mistral["tool_choice"]) == (3, "any")


@pytest.mark.parametrize("name", ["groq", "ollama"])
def test_several_choices_are_refused_where_one_is_all_there_is(name: str) -> None:
    assert sent(name, n=1)["n"] == 1
    with pytest.raises(LLMBadRequestError, match=r"^n is not supported"):
        sent(name, n=2)


def test_extra_body_is_merged_into_objects() -> None:
    body = sent(stream=True, extra_body={"stream_options": {"include_obfuscation": False}})
    assert body["stream_options"] == {"include_usage": True, "include_obfuscation": False}


def test_the_callers_objects_are_not_changed() -> None:
    messages = [
        {"role": "user", "content": ["Hi", {"type": "image_url", "image_url": "https://a.example/x.png"}]},
        {"role": "assistant", "content": "a", "native": {"wire": "anthropic", "blocks": []}, "thinking": "t"},
    ]
    before = json.dumps(messages)
    body = sent(messages=messages, system="s", tools=[TOOLS[0]], extra_body={"a": {"b": 1}})
    assert json.dumps(messages) == before
    assert body["messages"][1]["content"][1]["image_url"] == {"url": "https://a.example/x.png"}
    assert body["messages"][2] == {"role": "assistant", "content": "a"}


def test_a_schema_is_strict_only_if_it_can_be() -> None:
    closed = {
        "type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False,
        "title": "My answer!",
    }  # fmt: skip
    inner = sent(response_format=closed)["response_format"]["json_schema"]
    assert inner == {"name": "My_answer_", "schema": closed, "strict": True}
    for schema in ({**closed, "required": []}, {**closed, "default": {}}, {"type": "object"}, {}, {"anyOf": [closed]}):
        assert "strict" not in sent(response_format=schema)["response_format"]["json_schema"]
    either = {**closed, "properties": {"a": {"anyOf": [{"type": "string"}, closed]}}}
    assert sent(response_format=either)["response_format"]["json_schema"]["strict"] is True
    nested = {**closed, "properties": {"a": {"type": "array", "items": {"type": "object", "properties": {}}}}}
    assert "strict" not in sent(response_format=nested)["response_format"]["json_schema"]
    given_form = {"type": "json_schema", "json_schema": {"name": "x", "schema": closed, "strict": False}}
    assert sent(response_format=given_form)["response_format"] == given_form
    assert "strict" not in sent("vllm", response_format=closed)["response_format"]["json_schema"]


# -- messages --


def test_what_belongs_to_other_wires_is_left_out() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        *HI,
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [call],
            "native": {"wire": "anthropic", "blocks": []},
            "thinking": "t",
        },
        {"role": "tool", "tool_call_id": "c1", "content": "x", "is_error": True, "tool_name": "f"},
        {"role": "assistant", "content": "a", "tool_calls": [], "refusal": None, "audio": {"id": "a1", "data": "..."}},
        {"role": "assistant", "tool_calls": None, "reasoning_content": "r"},
    ]
    assert sent("generic", messages)["messages"] == [
        *HI,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "x"},
        {"role": "assistant", "content": "a", "audio": {"id": "a1"}},
        {"role": "assistant", "content": "", "reasoning_content": "r"},
    ]


def test_mistrals_thinking_goes_back_to_mistral_only() -> None:
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "t"}]}
    messages = [*HI, {"role": "assistant", "content": [thinking, {"type": "text", "text": "a"}]}, *HI]
    assert sent("mistral", messages)["messages"][1] == messages[1]
    assert sent("openai", messages)["messages"][1]["content"] == [{"type": "text", "text": "a"}]


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        ({"messages": [{"role": "user", "content": [{"type": "image", "source": {}}]}]}, "messages[0].content[0]"),
        ({"messages": [*HI, {"role": "user", "content": "x", "images": ["aGk="]}]}, "messages[1].images[0]"),
        ({"tools": [{"type": "web_search_20260318", "name": "web_search"}]}, "tools[0]"),
        ({"tools": [TOOLS[0]], "tool_choice": {"type": "auto", "disable_parallel_tool_use": True}}, "tool_choice"),
        ({"model": None}, "model"),
    ],
)
def test_what_this_wire_cannot_say_is_refused(arguments: dict, path: str) -> None:
    with pytest.raises(LLMBadRequestError) as caught:
        sent(**arguments)
    assert str(caught.value).startswith(path)


@given(conversations())
def test_conversations_reach_a_server_that_nobody_knows_whole(messages: list[dict]) -> None:
    out = sent("generic", messages, tools=list(TOOLS))["messages"]
    assert len(out) == len(messages)
    for ours, theirs in zip(out, messages, strict=True):
        expected = {key: value for key, value in theirs.items() if key != "is_error"}
        if expected["role"] == "developer":
            expected["role"] = "system"
        assert ours == expected


@given(conversations(), st.booleans())
def test_an_answer_goes_back_as_it_came(messages: list[dict], signed: bool) -> None:
    """What a reply's message holds is what the next request sends."""
    kept = {"extra_content": {"google": {"thought_signature": "c2ln"}}} if signed else {}
    calls = [{"index": 0, "id": "x1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}, **kept}]
    answer = read_stream(chunk({"extra_content": {"x": 1}}), chunk({"tool_calls": calls}, "tool_calls")).response
    result = answer.tool_calls[0].result({"ok": True})
    out = sent("gemini", [*messages, answer.message, result])["messages"]
    call = out[-2]["tool_calls"][0]
    assert call.pop("extra_content") == kept.get("extra_content", UNSIGNED)
    expected = {**answer.message, "tool_calls": [{**answer.message["tool_calls"][0]}]}
    expected["tool_calls"][0].pop("extra_content", None)
    assert out[-2] == expected
    assert out[-1] == {"role": "tool", "tool_call_id": "x1", "name": "f", "content": '{"ok":true}'}


# -- the published schema --

_HERE = Path(__file__).parents[3]
_SCHEMA = Path(os.environ.get("OPENAPI_CHAT_COMPLETIONS") or _HERE.parent / "shared/openapi/chat-completions.json")
_TEXT_PARTS = st.text("ab é", min_size=1, max_size=5)
ARGUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "temperature": st.floats(0, 2),
        "top_p": st.floats(0, 1),
        "max_tokens": st.integers(1, 1000),
        "stop": _TEXT_PARTS | st.lists(_TEXT_PARTS, min_size=1, max_size=4),
        "seed": st.integers(-(2**63), 2**63 - 1),
        "n": st.integers(1, 5),
        "reasoning_effort": st.sampled_from(["none", "minimal", "low", "medium", "high"]),
        "response_format": st.sampled_from(["text", {"type": "object"}]),
        "tools": st.just(list(TOOLS)),
        "parallel_tool_calls": st.booleans(),
        "frequency_penalty": st.floats(-2, 2),
        "presence_penalty": st.integers(-2, 2),
        "logprobs": st.integers(0, 20),
        "verbosity": st.sampled_from(["low", "medium", "high"]),
        "service_tier": st.sampled_from(["auto", "default", "flex", "priority"]),
        "user": st.just("u-1"),
        "metadata": st.dictionaries(st.sampled_from(["a", "b"]), st.sampled_from(["", "x"])),
        "system": _TEXT_PARTS,
        "stream": st.booleans(),
    },
)


@pytest.mark.skipif(not _SCHEMA.exists(), reason="the published OpenAPI file is not here")
@given(conversations(), ARGUMENTS, st.sampled_from([None, "auto", "none", "required", "search"]))
def test_bodies_are_valid_by_the_published_schema(messages: list[dict], arguments: dict, choice: str | None) -> None:
    if choice is not None and "tools" in arguments:
        arguments = arguments | {"tool_choice": choice}
    _validator().validate(sent(messages=messages, **arguments))


_VALIDATORS: list[object] = []


def _validator() -> object:
    import jsonschema

    if not _VALIDATORS:
        document = json.loads(_SCHEMA.read_text(encoding="utf-8"))
        schema = {"$ref": "#/components/schemas/CreateChatCompletionRequest", "components": document["components"]}
        _VALIDATORS.append(jsonschema.Draft202012Validator(schema))
    return _VALIDATORS[0]


# -- paths and headers --


@pytest.mark.parametrize(
    ("base_url", "target"),
    [
        ("https://api.openai.com/v1", "/v1/chat/completions"),
        ("https://api.openai.com/v1/", "/v1/chat/completions"),
        ("https://host.example/a/b?x=1", "/a/b/chat/completions?x=1"),
        ("http://127.0.0.1:8080", "/chat/completions"),
    ],
)
def test_where_a_chat_is_posted(base_url: str, target: str) -> None:
    request = built(codec("generic", base_url))
    assert (request.method, request.target) == ("POST", target)


@pytest.mark.parametrize(
    "base_url",
    ["https://r.openai.azure.com/openai/deployments/d", "https://r.openai.azure.com/openai/deployments/d/",
     "https://r.services.ai.azure.com/models", "https://r.openai.azure.com/openai/deployments/d?a=b"],
)  # fmt: skip
def test_azure_s_older_addresses_need_a_version(base_url: str) -> None:
    with pytest.raises(LLMBadRequestError, match=r"^api_version is missing: .*/openai/v1 needs none"):
        codec("azure", base_url)


@pytest.mark.parametrize(
    ("base_url", "version", "target"),
    [
        (
            "https://r.openai.azure.com",
            "2024-10-21",
            "/openai/deployments/my%20gpt/chat/completions?api-version=2024-10-21",
        ),
        ("https://r.openai.azure.com/openai", "v", "/openai/deployments/my%20gpt/chat/completions?api-version=v"),
        (
            "https://r.openai.azure.com/openai/deployments/d",
            "v",
            "/openai/deployments/d/chat/completions?api-version=v",
        ),
        ("https://r.openai.azure.com", None, "/openai/v1/chat/completions"),
        ("https://r.openai.azure.com/openai/v1", None, "/openai/v1/chat/completions"),
        ("https://r.services.ai.azure.com/openai/v1", None, "/openai/v1/chat/completions"),
        ("https://r.openai.azure.com/openai", None, "/openai/v1/chat/completions"),
        ("https://r.openai.azure.com/openai/", None, "/openai/v1/chat/completions"),
        ("https://r.services.ai.azure.com/models", "v", "/models/chat/completions?api-version=v"),
        ("https://r.services.ai.azure.com/models?api-version=v", None, "/models/chat/completions?api-version=v"),
    ],
)
def test_azure_in_both_styles(base_url: str, version: str | None, target: str) -> None:
    made = codec("azure", base_url, api_version=version)
    request = built(made, model="my gpt")
    assert request.target == target
    assert json.loads(request.body)["model"] == "my gpt"
    assert header(request, "api-key") == Secret(CANARY)
    assert header(request, "authorization") is None
    assert made.models_operation().request.method == "GET"


def test_azure_with_an_entra_token() -> None:
    request = built(codec("azure", "https://r.openai.azure.com", api_version="v", auth="bearer"))
    assert header(request, "authorization") == Secret(CANARY).bearer()
    assert header(request, "api-key") is None


@pytest.mark.parametrize("model", ["", ".", "..", "a\nb", None])
def test_a_deployment_is_one_path_segment(model: str | None) -> None:
    made = codec("azure", "https://r.openai.azure.com", api_version="v")
    with pytest.raises(LLMBadRequestError, match=r"^model"):
        built(made, model=model)
    assert "a%2Fb%3Fc" in built(made, model="a/b?c").target


def test_headers_and_how_they_are_shown() -> None:
    made = codec(organization="org", project="proj", headers=(("X-Mine", "1"), ("User-Agent", "mine")))
    request = built(made, extra_headers={"X-Once": "2", "x-mine": "3"})
    assert header(request, "authorization") == Secret(CANARY).bearer()
    assert (header(request, "openai-organization"), header(request, "openai-project")) == ("org", "proj")
    assert (header(request, "x-once"), header(request, "x-mine"), header(request, "user-agent")) == ("2", "3", "mine")
    assert CANARY not in repr(request) + repr(made) + str(request.headers)
    assert f"Authorization: Bearer {CANARY}".encode() in bytes(request.wire())
    assert b"x-mine" not in bytes(built(made).wire()), "extra headers are for one request"


def test_a_header_of_the_callers_wins_over_the_key() -> None:
    made = codec(headers=(("Authorization", "Bearer mine"),))
    assert CANARY.encode() not in bytes(built(made).wire())


def test_without_a_key_no_auth_header_is_sent() -> None:
    made = OpenAICodec(parse_base_url("http://127.0.0.1:8080/v1"), DIALECTS["llamacpp"])
    request = made.build(chat_request(HI))
    assert header(request, "authorization") is None
    assert "model" not in json.loads(request.body)


def test_the_head_is_made_once_and_the_credential_can_change() -> None:
    made = codec()
    assert built(made).head is built(made).head
    other = made.with_credential(Secret("other"))
    assert header(built(other), "authorization") == Secret("other").bearer()
    assert header(built(made), "authorization") == Secret(CANARY).bearer()
    assert header(built(made.with_credential(None)), "authorization") is None


def test_heads_are_bounded() -> None:
    made = codec("azure", "https://r.openai.azure.com", api_version="v")
    for i in range(300):
        built(made, model=f"m{i}")
    assert len(made.endpoint._heads) <= 64


@pytest.mark.parametrize(
    ("base_url", "name"),
    [
        ("https://api.openai.com/v1", "openai"), ("https://eu.api.openai.com/v1", "openai"),
        ("https://API.Groq.com/openai/v1", "groq"), ("https://x.openai.azure.com", "azure"),
        ("https://x.services.ai.azure.com/openai/v1", "azure"), ("https://openrouter.ai/api/v1", "openrouter"),
        ("https://generativelanguage.googleapis.com/v1beta/openai", "gemini"), ("https://api.mistral.ai/v1", "mistral"),
        ("https://api.deepseek.com", "deepseek"), ("https://api.together.xyz/v1", "together"),
        ("http://localhost:11434/v1", "ollama"), ("http://127.0.0.1:8080/v1", "llamacpp"), ("http://[::1]:8000/v1", "vllm"),
        ("http://127.0.0.1:5000/v1", "generic"), ("https://api.openai.com.evil.example/v1", "generic"),
        ("https://notopenai.azure.com", "generic"), ("https://example.com:11434/v1", "generic"),
    ],
)  # fmt: skip
def test_the_dialect_is_chosen_from_the_host(base_url: str, name: str) -> None:
    assert dialect_for(parse_base_url(base_url)).name == name


def test_an_operation_serves_every_attempt() -> None:
    made = codec()
    operation = made.operation(chat_request(HI, "m", stream=True, n=2))
    assert (operation.form, operation.provider, operation.model) == ("sse", "openai", "m")
    assert operation.new_reader() is not operation.new_reader()
    assert made.operation(chat_request(HI, "m")).form == "json"
    error = operation.decode_error(
        404, (("x-request-id", "r1"),), b'{"error": {"message": "no", "code": "model_not_found"}}'
    )
    assert (error.provider, error.model, error.request_id, error.code) == ("openai", "m", "r1", "model_not_found")
    assert CANARY not in repr(pickle.dumps(error))


def test_a_404_without_v1_in_the_base_url_says_so() -> None:
    operation = codec("generic", "https://host.example").operation(chat_request(HI, "m"))
    assert "is /v1 missing from base_url?" in operation.decode_error(404, (), b'{"detail": "Not Found"}').message
    assert operation.provider == "host.example"


def test_a_deployment_needs_a_name_wherever_the_model_stands() -> None:
    made = codec("azure", "https://r.openai.azure.com", api_version="v")
    with pytest.raises(LLMBadRequestError, match=r"^model must name"):
        built(made, model=None, extra_body={"model": "x"})
    named = codec("azure", "https://r.openai.azure.com/openai/deployments/d", api_version="v")
    assert "model" not in json.loads(built(named, model=None).body)


def test_definitions_must_be_strict_too() -> None:
    inner = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
    schema = {**inner, "$defs": {"x": inner}}
    assert sent(response_format=schema)["response_format"]["json_schema"]["strict"] is True
    for other in ({**inner, "$defs": {"x": {"type": "object"}}}, {**inner, "definitions": {"x": inner}}):
        assert "strict" not in sent(response_format=other)["response_format"]["json_schema"]


# -- at the edges --


def test_what_goes_on_the_wire_says_what_it_is() -> None:
    post, get = bytes(built().wire()), bytes(codec().models_operation().request.wire())
    assert post.startswith(b"POST /v1/chat/completions HTTP/1.1\r\n")
    assert get.startswith(b"GET /v1/models HTTP/1.1\r\n")
    assert b"\r\nContent-Type: application/json\r\n" in post
    assert b"content-type" not in get.lower()
    for wire in (post, get):
        assert b"\r\nAccept: application/json\r\n" in wire or b"\r\nAccept: " in wire
        assert f"\r\nAuthorization: Bearer {CANARY}\r\n".encode() in wire


@pytest.mark.parametrize(
    ("auth", "field", "value"),
    [
        ("bearer", "authorization", Secret(CANARY).bearer()),
        ("api-key", "api-key", Secret(CANARY)),
        ("none", None, None),
    ],
)
def test_how_a_key_is_sent(auth: str, field: str | None, value: object) -> None:
    request = built(codec(auth=auth))
    fields = {name: header(request, name) for name in ("authorization", "api-key")}
    assert {name: said for name, said in fields.items() if said is not None} == (
        {} if field is None else {field: value}
    )
    assert (CANARY.encode() in bytes(request.wire())) == (field is not None)


@pytest.mark.parametrize("name", ["Authorization", "API-Key"])
def test_either_header_of_the_callers_wins_over_the_key(name: str) -> None:
    for auth in ("bearer", "api-key"):
        assert CANARY.encode() not in bytes(built(codec(headers=((name, "mine"),), auth=auth)).wire())


def test_as_many_heads_are_kept_as_are_used() -> None:
    made = codec("azure", "https://r.openai.azure.com", api_version="v")
    heads = [built(made, model=f"m{i}").head for i in range(64)]
    assert [built(made, model=f"m{i}").head for i in range(64)] == heads
    assert all(built(made, model=f"m{i}").head is head for i, head in enumerate(heads))
    built(made, model="one more")
    assert built(made, model="m0").head is not heads[0]


CLOSED = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}


@pytest.mark.parametrize(
    ("schema", "strict"),
    [
        (CLOSED, True), ({**CLOSED, "additionalProperties": True}, False), ({**CLOSED, "additionalProperties": {}}, False),
        ({**CLOSED, "properties": []}, False), ({**CLOSED, "required": "a"}, False), ({**CLOSED, "required": None}, False),
        ({**CLOSED, "properties": {"a": {}}}, False), ({**CLOSED, "properties": {"a": {}}, "required": ["a"]}, False),
        ({**CLOSED, "properties": {"a": {}}, "required": ["a", "b"]}, False),
        ({**CLOSED, "properties": {"a": {"properties": {}}}, "required": ["a"]}, False),
        ({**CLOSED, "properties": {"a": {"format": "date", "oneOf": []}}, "required": ["a"]}, False),
        ({**CLOSED, "properties": {"a": {"items": [CLOSED, {"type": "object"}]}}, "required": ["a"]}, False),
        ({**CLOSED, "properties": {"a": {"items": [CLOSED, True]}}, "required": ["a"]}, False),
        ({**CLOSED, "properties": {"a": True}, "required": ["a"]}, False),
        ({**CLOSED, "$defs": {"x": {"allOf": []}}}, False), ({**CLOSED, "$defs": 5}, False),
        ({**CLOSED, "properties": {"a": CLOSED}, "required": ["a"]}, True),
    ],
)  # fmt: skip
def test_every_object_of_a_strict_schema_is_closed_and_all_its_keys_required(schema: dict, strict: bool) -> None:
    made = sent(response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": schema}})
    assert ("strict" in made["response_format"]["json_schema"]) == strict


def test_messages_lose_what_is_null_or_of_another_wire_and_nothing_else() -> None:
    calls = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    messages = [
        *HI,
        {
            "role": "assistant",
            "content": None,
            "tool_calls": calls,
            "refusal": None,
            "annotations": [],
            "audio": {"id": "a", "data": "x"},
        },
        {"role": "tool", "tool_call_id": "c", "content": "1", "name": "f", "is_error": True, "tool_name": "f"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [],
            "thinking": "hm",
            "native": {"wire": "anthropic", "blocks": []},
        },
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "x"}], "audio": None},
        {"role": "user", "content": "x", "images": []},
    ]
    assert sent("generic", messages)["messages"] == [
        *HI,
        {"role": "assistant", "content": None, "tool_calls": calls, "audio": {"id": "a"}},
        {"role": "tool", "tool_call_id": "c", "content": "1", "name": "f"},
        {"role": "assistant", "content": ""},
        {"role": "assistant", "content": ""},
        {"role": "user", "content": "x"},
    ]


@pytest.mark.parametrize(("n", "refused"), [(1, False), (2, True)])
def test_a_server_with_one_choice_gives_one(n: int, refused: bool) -> None:
    if refused:
        with pytest.raises(
            LLMBadRequestError, match=r"^n is not supported by the groq API: it answers with one choice only"
        ):
            sent("groq", n=n)
    else:
        assert sent("groq", n=n)["n"] == n


def test_a_hint_about_v1_is_given_only_where_it_may_be_missing() -> None:
    for base_url, hinted in (
        ("https://a.example", True),
        ("https://a.example/api", True),
        ("https://a.example/v1", False),
    ):
        operation = codec("generic", base_url).operation(chat_request(HI, "m"))
        error = operation.decode_error(404, (), b'{"detail": "Not Found"}')
        assert ("is /v1 missing from base_url?" in error.message) == hinted
        assert (error.provider, error.model) == ("a.example", "m")


@pytest.mark.parametrize("row", [row for row in DIALECTS.values() if row.place("openai")], ids=lambda row: row.name)
def test_nothing_is_missing_from_a_dialect_s_own_place(row: Dialect) -> None:
    operation = codec(row.name, row.place("openai")).operation(chat_request(HI, "m"))
    assert "/v1" not in operation.decode_error(404, (), b'{"detail": "Not Found"}').message


@pytest.mark.parametrize(
    "instead",
    [{"refusal": "No."}, {"audio": {"id": "a"}}, {"function_call": {"name": "f", "arguments": "{}"}}],
)
def test_content_stays_null_beside_what_is_said_instead(instead: dict) -> None:
    """An answer goes back as it came; with nothing instead of it null would be refused."""
    said = {"role": "assistant", "content": None, **instead}
    assert sent(messages=[*HI, said])["messages"][1] == said
    assert (
        sent(messages=[*HI, {"role": "assistant", "content": None, "thinking": "hm"}])["messages"][1]["content"] == ""
    )


@pytest.mark.parametrize(
    ("choice", "dialect", "said"),
    [
        ("auto", "openai", "auto"), ("none", "openai", "none"), ("any", "openai", "required"), ("required", "mistral", "any"),
        ("search", "openai", {"type": "function", "function": {"name": "search"}}), ({"type": "none"}, "openai", "none"),
        ({"type": "allowed_tools", "allowed_tools": {}}, "openai", {"type": "allowed_tools", "allowed_tools": {}}),
    ],
)  # fmt: skip
def test_a_tool_choice_in_each_dialect_s_words(choice: object, dialect: str, said: object) -> None:
    assert sent(dialect, tools=TOOLS, tool_choice=choice)["tool_choice"] == said


@pytest.mark.parametrize("kind", ["tool", "any", "auto", "none"])
def test_a_choice_that_says_more_in_anthropic_s_words_has_no_place(kind: str) -> None:
    choice = {"type": kind, "name": "search", "disable_parallel_tool_use": True}
    with pytest.raises(
        LLMBadRequestError, match="^tool_choice is not supported by the chat completions API: it is Anthropic's form"
    ):
        sent(tools=TOOLS, tool_choice=choice)
