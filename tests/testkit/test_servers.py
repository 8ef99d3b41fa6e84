"""The test server says the same on every wire, whole and piecewise, and refuses what vendors refuse."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sans_io.chat.response import Usage
from sans_io.providers.registry import WIRES
from transports.testing.servers.answers import instance_of, tokens
from transports.testing.servers.in_memory import FakeLLMServer
from transports.testing.servers.script import Ask, ReceivedRequest, ReplyPlan, ScriptedError, ScriptedReply, ToolUse
from transports.testing.servers.served import EPOCH

WEATHER = {"type": "object", "properties": {"location": {"type": "string"}}, "required": ["location"]}
#: The wires whose replies this file knows by sight.
PATHS = {name: WIRES[name].path for name in ("openai", "anthropic", "ollama")}
WIRE_NAMES = sorted(PATHS)


def post(server: FakeLLMServer, path: str, body: Any, *headers: tuple[str, str]) -> ReplyPlan:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return server.handle(ReceivedRequest("POST", path, headers, data))


def chat(
    server: FakeLLMServer,
    wire: str,
    text: str = "Hello there!",
    *,
    stream: bool = False,
    tools: bool = False,
    **more: Any,
) -> ReplyPlan:
    body: dict[str, Any] = {"model": "llama3.2", "messages": [{"role": "user", "content": text}], "stream": stream}
    headers: tuple[tuple[str, str], ...] = ()
    function = {"name": "get_weather", "parameters": WEATHER}
    if wire == "anthropic":
        body["max_tokens"] = 1000
        headers = (("anthropic-version", "2026-10-21"),)
        if tools:
            body["tools"] = [{"name": "get_weather", "input_schema": WEATHER}]
    elif tools:
        body["tools"] = [{"type": "function", "function": function}]
    if wire == "openai" and stream:
        body["stream_options"] = {"include_usage": True}
    return post(server, PATHS[wire], {**body, **more}, *headers)


# A reading of the wires that knows nothing of the clients' codecs.


def read(wire: str, plan: ReplyPlan, *, stream: bool) -> dict[str, Any]:
    """Text, reasoning, calls, raw finish reason, (input, output) tokens and whether the end was marked."""
    said: dict[str, Any] = {
        "text": "",
        "reasoning": "",
        "calls": [],
        "finish": None,
        "usage": None,
        "ended": not stream,
    }
    if not stream:
        read_whole(wire, json.loads(plan.body), said)
        return said
    calls: dict[int, list[str]] = {}
    for _, piece in plan.pieces:
        if wire == "ollama":
            assert piece.endswith(b"\n")
            read_ollama(json.loads(piece), said)
            continue
        assert piece.endswith(b"\n\n")
        lines = piece.decode().strip("\n").split("\n")
        data = lines[-1].removeprefix("data: ")
        if wire == "openai":
            read_openai_chunk(data, said, calls)
        else:
            event = json.loads(data)
            assert lines[0] == f"event: {event['type']}"
            read_anthropic_event(event, said, calls)
    said["calls"] += [(name, json.loads(text or "{}")) for name, text in calls.values()]
    return said


def read_whole(wire: str, body: dict[str, Any], said: dict[str, Any]) -> None:
    if wire == "ollama":
        read_ollama(body, said)
    elif wire == "anthropic":
        for block in body["content"]:
            if block["type"] == "tool_use":
                said["calls"].append((block["name"], block["input"]))
            elif block["type"] == "thinking":
                said["reasoning"] += block["thinking"]
            else:
                said["text"] += block["text"]
        said["finish"] = body["stop_reason"]
        said["usage"] = (body["usage"]["input_tokens"], body["usage"]["output_tokens"])
    else:
        message = body["choices"][0]["message"]
        said["text"], said["reasoning"] = message["content"] or "", message.get("reasoning_content", "")
        for call in message.get("tool_calls", []):
            said["calls"].append((call["function"]["name"], json.loads(call["function"]["arguments"])))
        said["finish"] = body["choices"][0]["finish_reason"]
        said["usage"] = (body["usage"]["prompt_tokens"], body["usage"]["completion_tokens"])


def read_ollama(line: dict[str, Any], said: dict[str, Any]) -> None:
    said["text"] += line["message"]["content"]
    said["reasoning"] += line["message"].get("thinking", "")
    for call in line["message"].get("tool_calls", []):
        said["calls"].append((call["function"]["name"], call["function"]["arguments"]))
    if line["done"]:
        said["ended"] = True
        said["finish"] = line["done_reason"]
        said["usage"] = (line.get("prompt_eval_count", 0), line.get("eval_count", 0))


def read_openai_chunk(data: str, said: dict[str, Any], calls: dict[int, list[str]]) -> None:
    if data == "[DONE]":
        said["ended"] = True
        return
    chunk = json.loads(data)
    if chunk.get("usage"):
        said["usage"] = (chunk["usage"]["prompt_tokens"], chunk["usage"]["completion_tokens"])
    for choice in chunk["choices"]:
        delta = choice["delta"]
        said["text"] += delta.get("content") or ""
        said["reasoning"] += delta.get("reasoning_content", "")
        said["finish"] = choice["finish_reason"] or said["finish"]
        for call in delta.get("tool_calls", []):
            known = calls.setdefault(call["index"], ["", ""])
            known[0] += call["function"].get("name", "")
            known[1] += call["function"].get("arguments", "")


def read_anthropic_event(event: dict[str, Any], said: dict[str, Any], calls: dict[int, list[str]]) -> None:
    if event["type"] == "content_block_start" and event["content_block"]["type"] == "tool_use":
        calls[event["index"]] = [event["content_block"]["name"], ""]
    elif event["type"] == "content_block_delta":
        delta = event["delta"]
        said["text"] += delta.get("text", "")
        said["reasoning"] += delta.get("thinking", "")
        if "partial_json" in delta:
            calls[event["index"]][1] += delta["partial_json"]
    elif event["type"] == "message_delta":
        said["finish"] = event["delta"]["stop_reason"]
        said["usage"] = (event["usage"]["input_tokens"], event["usage"]["output_tokens"])
    elif event["type"] == "message_stop":
        said["ended"] = True


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
PIECES = st.lists(TEXT.filter(bool), max_size=4)
CALLS = st.lists(
    st.builds(
        ToolUse, st.sampled_from(["get_weather", "add"]), st.dictionaries(TEXT, st.integers() | TEXT, max_size=3)
    ),
    max_size=3,
)
REPLIES = st.builds(
    ScriptedReply,
    text=PIECES,
    reasoning=PIECES,
    tool_calls=CALLS,
    finish_reason=st.sampled_from([None, "stop", "length", "tool_calls"]),
    usage=st.none() | st.builds(Usage, st.integers(1, 10**6), st.integers(1, 10**6)),
    pings=st.integers(0, 2),
)


@given(reply=REPLIES, wire=st.sampled_from(WIRE_NAMES))
def test_whole_and_piecewise_say_the_same(reply: ScriptedReply, wire: str) -> None:
    reply = reply.with_(pings=0)
    server = FakeLLMServer()
    server.script(reply, reply)
    whole = read(wire, chat(server, wire), stream=False)
    pieces = read(wire, chat(server, wire, stream=True), stream=True)
    assert whole == pieces
    assert whole["text"] == "".join(reply.text)
    assert whole["reasoning"] == "".join(reply.reasoning)
    assert whole["calls"] == [(call.name, dict(call.arguments)) for call in reply.tool_calls]
    if reply.usage is not None:
        assert whole["usage"] == (reply.usage.input_tokens, reply.usage.output_tokens)


@given(reply=REPLIES, wire=st.sampled_from(WIRE_NAMES), stream=st.booleans())
def test_the_same_requests_get_the_same_bytes(reply: ScriptedReply, wire: str, stream: bool) -> None:
    plans = []
    for _ in range(2):
        server = FakeLLMServer()
        server.script(reply)
        plans.append([chat(server, wire, stream=stream), chat(server, wire, stream=stream)])
    assert plans[0] == plans[1]


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["role", "content", "type", "function", "name", "id"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(
    wire=st.sampled_from(WIRE_NAMES),
    body=st.binary(max_size=20)
    | st.dictionaries(
        st.sampled_from(
            ["model", "messages", "tools", "tool_choice", "stop", "stream", "max_tokens", "response_format"]
        ),
        JUNK,
    ).map(lambda made: json.dumps(made).encode()),
)
def test_no_request_body_breaks_the_server(wire: str, body: bytes) -> None:
    plan = post(
        FakeLLMServer(), PATHS[wire], body, *([("anthropic-version", "2023-06-01")] if wire == "anthropic" else [])
    )
    assert plan.status in {200, 400, 404}


@pytest.mark.parametrize("wire", WIRE_NAMES)
@pytest.mark.parametrize("stream", [False, True])
def test_the_default_answer_quotes_the_question(wire: str, stream: bool) -> None:
    server = FakeLLMServer()
    said = read(wire, chat(server, wire, stream=stream), stream=stream)
    assert said["text"] == "You said: Hello there!"
    assert said["usage"] == (6, 6)
    assert server.asks[0].last_user_text == "Hello there!"


@pytest.mark.parametrize("wire", WIRE_NAMES)
@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_is_called_when_the_message_is_about_it(wire: str, stream: bool) -> None:
    server = FakeLLMServer()
    said = read(wire, chat(server, wire, "The weather in Paris and Rome?", stream=stream, tools=True), stream=stream)
    assert said["calls"] == [("get_weather", {"location": "Paris"}), ("get_weather", {"location": "Rome"})]
    said = read(wire, chat(server, wire, "Good morning", stream=stream, tools=True), stream=stream)
    assert said["calls"] == []


def test_tool_choice() -> None:
    server = FakeLLMServer()

    def calls(**more: Any) -> int:
        return len(read("openai", chat(server, "openai", "Good morning", tools=True, **more), stream=False)["calls"])

    assert calls(tool_choice="required") == 1
    assert calls(tool_choice={"type": "function", "function": {"name": "get_weather"}}) == 1
    assert calls(tool_choice="none") == 0
    both = "weather in Paris and Rome"
    one = chat(server, "openai", both, tools=True, parallel_tool_calls=False)
    assert len(read("openai", one, stream=False)["calls"]) == 1
    assert (
        len(
            read("anthropic", chat(server, "anthropic", "x", tools=True, tool_choice={"type": "any"}), stream=False)[
                "calls"
            ]
        )
        == 1
    )
    named = {"type": "tool", "name": "get_weather", "disable_parallel_tool_use": True}
    assert (
        len(read("anthropic", chat(server, "anthropic", both, tools=True, tool_choice=named), stream=False)["calls"])
        == 1
    )


def test_a_whole_tool_conversation_on_each_wire() -> None:
    server = FakeLLMServer()
    call = {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": '{"location":"Oslo"}'}}
    history: list[Any] = [
        {"role": "user", "content": "weather in Oslo?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "rain"},
    ]
    assert read("openai", chat(server, "openai", messages=history), stream=False)["text"] == "The tool says: rain"
    block = {"type": "tool_use", "id": "t1", "name": "get_weather", "input": {"location": "Oslo"}}
    history = [
        {"role": "user", "content": "weather in Oslo?"},
        {"role": "assistant", "content": [block]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "rain"}]},
    ]
    assert read("anthropic", chat(server, "anthropic", messages=history), stream=False)["text"] == "The tool says: rain"
    ollama_call = {"function": {"name": "get_weather", "arguments": {"location": "Oslo"}}}
    history = [
        {"role": "user", "content": "weather in Oslo?"},
        {"role": "assistant", "content": "", "tool_calls": [ollama_call]},
        {"role": "tool", "content": "rain", "tool_name": "get_weather"},
    ]
    assert read("ollama", chat(server, "ollama", messages=history), stream=False)["text"] == "The tool says: rain"


def test_a_changed_thinking_block_is_found_out() -> None:
    server = FakeLLMServer()
    plan = chat(server, "anthropic", thinking={"type": "adaptive"})
    content = json.loads(plan.body)["content"]
    assert content[0]["type"] == "thinking"

    def again(blocks: list[Any]) -> int:
        messages = [
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": blocks},
            {"role": "user", "content": "b"},
        ]
        return chat(server, "anthropic", messages=messages).status

    assert again(content) == 200
    assert again([{**content[0], "thinking": "something else"}, *content[1:]]) == 400


@pytest.mark.parametrize(
    ("more", "finish", "text"),
    [({"max_completion_tokens": 2}, "length", "You said"), ({"stop": ["Hello"]}, "stop", "You said: ")],
)
def test_the_default_answer_is_cut_as_asked(more: dict[str, Any], finish: str, text: str) -> None:
    said = read("openai", chat(FakeLLMServer(), "openai", **more), stream=False)
    assert (said["finish"], said["text"]) == (finish, text)


def test_what_ends_an_answer_on_the_other_wires() -> None:
    server = FakeLLMServer()
    said = json.loads(chat(server, "anthropic", stop_sequences=["Hello"]).body)
    assert (said["stop_reason"], said["stop_sequence"]) == ("stop_sequence", "Hello")
    assert json.loads(chat(server, "anthropic", max_tokens=1).body)["stop_reason"] == "max_tokens"
    assert json.loads(chat(server, "ollama", options={"num_predict": 1}).body)["done_reason"] == "length"
    assert json.loads(chat(server, "ollama", options={"num_predict": -1}).body)["done_reason"] == "stop"


def test_arguments_cut_by_max_tokens_stay_cut_where_the_wire_has_text() -> None:
    plan = chat(FakeLLMServer(), "openai", "weather in Oslo?", tools=True, max_tokens=3)
    choice = json.loads(plan.body)["choices"][0]
    assert choice["finish_reason"] == "length"
    with pytest.raises(ValueError, match="Unterminated"):
        read("openai", plan, stream=False)


def test_several_answers() -> None:
    plan = chat(FakeLLMServer(), "openai", n=3)
    texts = [choice["message"]["content"] for choice in json.loads(plan.body)["choices"]]
    assert texts == ["You said: Hello there!", "You said: Hello there! (answer 2)", "You said: Hello there! (answer 3)"]


SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string"}, "age": {"type": "integer", "minimum": 18}, "tags": {"type": "array", "items": {"type": "string"}},
        "kind": {"enum": ["a", "b"]}, "ratio": {"type": "number"}, "ok": {"type": "boolean"}, "none": {"type": "null"},
        "either": {"anyOf": [{"type": "integer"}, {"type": "null"}]}, "fixed": {"const": 7}, "many": {"type": ["string", "null"]},
    },
    "additionalProperties": False,
}  # fmt: skip


def test_a_schema_is_answered_with_an_instance_of_it() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.validate(instance_of(SCHEMA, "I am Ana, 30 years old"), SCHEMA)
    server = FakeLLMServer()
    # Anthropic's API knows no limits of numbers.
    without_limits = {**SCHEMA, "properties": {**SCHEMA["properties"], "age": {"type": "integer"}}}
    plans = {
        "openai": chat(
            server, "openai", response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}
        ),
        "anthropic": chat(
            server, "anthropic", output_config={"format": {"type": "json_schema", "schema": without_limits}}
        ),
        "ollama": chat(server, "ollama", format=SCHEMA),
    }
    for wire, plan in plans.items():
        wanted = without_limits if wire == "anthropic" else SCHEMA
        jsonschema.validate(json.loads(read(wire, plan, stream=False)["text"]), wanted)
    for wire, more in (("openai", {"response_format": {"type": "json_object"}}), ("ollama", {"format": "json"})):
        assert isinstance(
            json.loads(read(wire, chat(server, wire, "In JSON, please", **more), stream=False)["text"]), dict
        )
    assert instance_of({}) == {"answer": "some answer"}


# Refusals.

USER = {"role": "user", "content": "x"}


@pytest.mark.parametrize(
    ("wire", "body", "says"),
    [
        ("openai", b"{", "parse the JSON"),
        ("openai", {"model": "m"}, "'messages'"),
        ("openai", {"messages": [{"role": "robot", "content": "x"}]}, "'robot'"),
        ("openai", {"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ("openai", {"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "'image'"),
        ("openai", {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}, "image_url"),
        ("openai", {"messages": [USER, {"role": "tool", "tool_call_id": "a", "content": "x"}]}, "role 'tool'"),
        ("openai", {"messages": [{"role": "assistant", "tool_calls": [{"id": "a", "type": "function",
                                                                  "function": {"name": "f", "arguments": {}}}]}]},
         "arguments"),
        ("openai", {"messages": [{"role": "assistant", "tool_calls": [{"id": "a", "type": "function",
                                                                  "function": {"name": "f", "arguments": ""}}]},
                                 USER]}, "must be followed"),
        ("openai", {"messages": [USER], "tools": [{"name": "f"}]}, "tools[0].function"),
        ("openai", {"messages": [USER], "stream_options": {}}, "stream_options"),
        ("openai", {"messages": [USER], "parallel_tool_calls": True}, "parallel_tool_calls"),
        ("anthropic", {"messages": [USER]}, "max_tokens: Field required"),
        ("anthropic", {"messages": [], "max_tokens": 5}, "at least one message"),
        ("anthropic", {"messages": [USER], "max_tokens": 5, "temperature": 1.0}, "temperature: Extra inputs"),
        ("anthropic", {"messages": [{"role": "tool", "content": "x"}], "max_tokens": 5}, "messages.0.role"),
        ("anthropic", {"messages": [{"role": "user", "content": 5}], "max_tokens": 5}, "messages.0.content"),
        ("anthropic", {"messages": [{"role": "user", "content": ""}], "max_tokens": 5}, "non-empty"),
        ("anthropic", {"messages": [USER], "max_tokens": 5, "tools": [{"name": "f"}]}, "input_schema"),
        ("anthropic", {"messages": [{"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f", "input": "{}"}]}],
                       "max_tokens": 5}, "tool_use.input"),
        ("anthropic", {"messages": [{"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f", "input": {}}]},
                                    USER], "max_tokens": 5}, "without `tool_result`"),
        ("anthropic", {"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "z"}]}],
                       "max_tokens": 5}, "unexpected `tool_use_id`"),
        ("anthropic", {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "x"}}]}], "max_tokens": 5},
         "image.source"),
        ("ollama", {"messages": [USER]}, "model is required"),
        ("ollama", {"model": "llama3.2", "messages": [{"role": "user", "content": []}]}, "cannot unmarshal array"),
        ("ollama", {"model": "llama3.2", "messages": [{"role": "user", "content": "", "images": ["data:"]}]}, "base64"),
        ("ollama", {"model": "llama3.2", "messages": [{"role": "assistant", "tool_calls": [{"function": {"arguments": "{}"}}]}]},
         "cannot unmarshal string"),
        ("openai", [], "JSON object"),
    ],
)  # fmt: skip
def test_refused_as_the_vendor_does(wire: str, body: Any, says: str) -> None:
    headers = [("anthropic-version", "2026-10-21")] if wire == "anthropic" else []
    plan = post(FakeLLMServer(), PATHS[wire], body, *headers)
    assert plan.status == 400
    error = json.loads(plan.body)["error"]
    assert says in (error if isinstance(error, str) else error["message"])


def test_sampling_is_accepted_under_the_old_version_only() -> None:
    body = {"model": "m", "messages": [USER], "max_tokens": 5, "temperature": 1.0}
    assert post(FakeLLMServer(), PATHS["anthropic"], body, ("anthropic-version", "2023-06-01")).status == 200
    assert post(FakeLLMServer("anthropic"), PATHS["anthropic"], body).status == 400


def test_keys() -> None:
    server = FakeLLMServer(api_keys=["good"])
    assert chat(server, "openai").status == 401
    body = {"model": "m", "messages": [USER], "max_tokens": 5}
    for header in (("authorization", "Bearer good"), ("x-api-key", "good"), ("api-key", "good")):
        assert post(server, PATHS["openai"], body, header).status == 200
    assert json.loads(chat(server, "anthropic").body)["error"]["type"] == "authentication_error"
    assert "good" not in repr(server.requests)
    assert server.requests[1].header("authorization") == "Bearer good"


def test_unknown_models() -> None:
    server = FakeLLMServer(strict_models=True, models=["one"])
    assert chat(server, "openai", model="one").status == 200
    assert json.loads(chat(server, "openai", model="two").body)["error"]["code"] == "model_not_found"
    assert json.loads(chat(server, "anthropic", model="two").body)["error"]["type"] == "not_found_error"
    assert json.loads(chat(server, "ollama", model="two").body) == {"error": "model 'two' not found"}


def test_a_prompt_longer_than_the_window() -> None:
    server = FakeLLMServer(context_window=5)
    assert json.loads(chat(server, "openai").body)["error"]["code"] == "context_length_exceeded"
    assert json.loads(chat(server, "anthropic").body)["error"]["message"] == "prompt is too long: 6 tokens > 5 maximum"
    assert chat(server, "ollama").status == 200


def test_too_large_is_answered_from_the_head() -> None:
    server = FakeLLMServer(max_body=10)
    small = ReceivedRequest("POST", "/v1/messages", (("content-length", "10"),))
    large = ReceivedRequest("POST", "/v1/messages", (("content-length", "11"),))
    assert server.early(small) is None
    plan = server.early(large)
    assert plan is not None
    assert (plan.status, plan.close) == (413, True)
    assert json.loads(plan.body)["error"]["type"] == "request_too_large"


# What a script can say beyond an answer.


@pytest.mark.parametrize(
    ("wire", "status", "expected"),
    [
        ("openai", 429, {"type": "requests", "code": "rate_limit_exceeded"}),
        ("openai", 503, {"type": "server_error", "code": None}),
        ("anthropic", 529, {"type": "overloaded_error"}),
        ("anthropic", 418, {"type": "invalid_request_error"}),
        ("anthropic", 599, {"type": "api_error"}),
    ],
)
def test_scripted_errors(wire: str, status: int, expected: dict[str, Any]) -> None:
    server = FakeLLMServer()
    server.script(ScriptedReply(error=ScriptedError("no", status), retry_after=1.5, headers=[("x-extra", "1")]))
    plan = chat(server, wire, stream=True)
    assert plan.status == status
    assert plan.framing == "length"
    error = json.loads(plan.body)["error"]
    assert error["message"] == "no"
    assert expected.items() <= error.items()
    assert ("retry-after", "1.5") in plan.headers
    assert ("x-extra", "1") in plan.headers


def test_scripted_error_details() -> None:
    server = FakeLLMServer()
    error = ScriptedError(
        "no credit", 429, type="insufficient_quota", code="credit_balance_exhausted", extra={"param": "x"}
    )
    server.script(ScriptedReply(error=error), ScriptedReply(error=error))
    assert json.loads(chat(server, "openai").body)["error"] == {
        "message": "no credit", "type": "insufficient_quota", "code": "credit_balance_exhausted", "param": "x",
    }  # fmt: skip
    assert json.loads(chat(server, "anthropic").body)["error"]["details"] == {"error_code": "credit_balance_exhausted"}


@pytest.mark.parametrize("wire", WIRE_NAMES)
def test_an_error_in_mid_stream_ends_the_stream(wire: str) -> None:
    server = FakeLLMServer()
    reply = ScriptedReply(text=["a", "b"], stream_error=ScriptedError("overloaded", 529))
    server.script(reply, reply)
    pieces = [piece for _, piece in chat(server, wire, stream=True).pieces]
    assert b"overloaded" in pieces[-1]
    assert not any(b"overloaded" in piece for piece in pieces[:-1])
    assert chat(server, wire).status == 529


@pytest.mark.parametrize("wire", WIRE_NAMES)
def test_a_stream_without_its_terminal_event(wire: str) -> None:
    server = FakeLLMServer()
    server.script(ScriptedReply(text=["a", "b"], terminal=False))
    said = read(wire, chat(server, wire, stream=True), stream=True)
    assert (said["text"], said["ended"], said["finish"]) == ("ab", False, None)


@pytest.mark.parametrize(("wire", "count"), [("openai", 2), ("anthropic", 2), ("ollama", 0)])
def test_pings(wire: str, count: int) -> None:
    server = FakeLLMServer()
    server.script(ScriptedReply(text="a"), ScriptedReply(text="a", pings=2))
    plain, pinged = chat(server, wire, stream=True), chat(server, wire, stream=True)
    assert len(pinged.pieces) == len(plain.pieces) * (1 + count)


def test_rate_limit_headers() -> None:
    server = FakeLLMServer()
    openai = {"limit-requests": 60, "remaining-tokens": 1e6, "reset-requests": 0.12, "reset-tokens": 361.5}
    server.script(ScriptedReply(rate_limit=openai))
    headers = dict(chat(server, "openai").headers)
    assert headers["x-ratelimit-limit-requests"] == "60"
    assert headers["x-ratelimit-reset-requests"] == "120ms"
    assert headers["x-ratelimit-reset-tokens"] == "6m1.5s"
    server.script(
        ScriptedReply(rate_limit={"requests-limit": 50, "requests-reset": 60, "tokens-reset": 3600 * 24 * 40})
    )
    headers = dict(chat(server, "anthropic").headers)
    assert headers["anthropic-ratelimit-requests-limit"] == "50"
    assert headers["anthropic-ratelimit-requests-reset"] == "2026-11-22T12:01:00Z"
    assert headers["anthropic-ratelimit-tokens-reset"] == "2027-01-01T12:00:00Z"
    assert EPOCH == 1_795_348_800
    server.script(ScriptedReply(rate_limit={"reset-requests": 3601}))
    assert dict(chat(server, "openai").headers)["x-ratelimit-reset-requests"] == "1h0m1s"


def test_cached_tokens_are_left_out_of_the_input_on_one_wire() -> None:
    server = FakeLLMServer()
    reply = ScriptedReply(text="x", usage=Usage(100, 5, cached_tokens=30, cache_write_tokens=10, reasoning_tokens=2))
    server.script(reply, reply)
    usage = json.loads(chat(server, "anthropic").body)["usage"]
    assert (usage["input_tokens"], usage["cache_read_input_tokens"], usage["cache_creation_input_tokens"]) == (
        60,
        30,
        10,
    )
    usage = json.loads(chat(server, "openai").body)["usage"]
    assert usage["prompt_tokens"] == 100
    assert usage["completion_tokens_details"] == {"reasoning_tokens": 2}


def test_verbatim_bodies_and_replies_by_a_function() -> None:
    server = FakeLLMServer(reply=lambda ask: ScriptedReply(text="chosen") if "choose" in ask.last_user_text else None)
    server.script(ScriptedReply(body=b"<html>", status=502, headers=[("Content-Type", "text/html")]))
    plan = chat(server, "openai", stream=True)
    assert (plan.status, plan.body, plan.headers[-1]) == (502, b"<html>", ("Content-Type", "text/html"))
    assert server.unused == 0
    assert read("openai", chat(server, "openai", "choose"), stream=False)["text"] == "chosen"
    assert read("openai", chat(server, "openai", "else"), stream=False)["text"] == "You said: else"


def test_refusals_models_and_ids_as_scripted() -> None:
    server = FakeLLMServer()
    reply = ScriptedReply(refusal="I will not", model="other", tool_calls=[ToolUse("f", "{bad", "my-id", ["{b", "ad"])])
    server.script(reply, reply, reply, ScriptedReply(tool_calls=[ToolUse("f", "[1]")]))
    message = json.loads(chat(server, "openai").body)
    assert message["model"] == "other"
    assert message["choices"][0]["message"]["refusal"] == "I will not"
    assert message["choices"][0]["message"]["tool_calls"][0]["id"] == "my-id"
    stream = chat(server, "openai", stream=True).body
    assert b'"refusal":"I will not"' in stream
    assert b'"arguments":"ad"' in stream
    for expected in ({}, {}):  # what is no object is lost on a wire that has objects
        assert json.loads(chat(server, "anthropic").body)["content"][-1]["input"] == expected


# Paths.


def get(server: FakeLLMServer, path: str, *headers: tuple[str, str], method: str = "GET") -> ReplyPlan:
    return server.handle(ReceivedRequest(method, path, headers))


def test_model_lists() -> None:
    server = FakeLLMServer()
    assert [each["id"] for each in json.loads(get(server, "/openai/v1/models").body)["data"]] == [
        "gpt-5.4-mini", "gpt-6-luna", "llama-3.3-70b-versatile",
    ]  # fmt: skip
    body = json.loads(get(server, "/v1/models?limit=1000", ("anthropic-version", "2026-10-21")).body)
    assert (body["first_id"], body["last_id"], body["has_more"]) == ("claude-sonnet-5-5", "claude-haiku-5-5", False)
    assert json.loads(get(FakeLLMServer("anthropic", models=[]), "/v1/models").body)["first_id"] is None


def test_azure_deployments_are_named_by_the_path() -> None:
    server = FakeLLMServer()
    post(server, "/openai/deployments/mine/chat/completions?api-version=2024-10-21", {"messages": [USER]})
    assert server.asks[-1].model == "mine"


def test_other_paths() -> None:
    server = FakeLLMServer()
    assert json.loads(get(server, "/v1/nope").body)["error"]["code"] == "unknown_url"
    assert get(server, "/api/nope").body == b"404 page not found"
    assert get(server, "/health").status == 200
    assert get(server, "/").body == b"Ollama is running"
    assert json.loads(get(server, "/v1/nope", ("anthropic-version", "x")).body)["error"]["type"] == "not_found_error"
    counted = post(
        server, "/v1/messages/count_tokens", {"model": "m", "messages": [USER]}, ("anthropic-version", "2026-10-21")
    )
    assert json.loads(counted.body) == {"input_tokens": 4}
    only = FakeLLMServer("ollama", api_keys=["k"])
    assert only.handle(ReceivedRequest("POST", "/v1/chat/completions", (("api-key", "k"),), b"{}")).status == 404
    assert get(only, "/").status == 200
    with pytest.raises(ValueError, match="wire must be"):
        FakeLLMServer("gopher")  # type: ignore[arg-type]


def test_an_ollama_library() -> None:
    server = FakeLLMServer(unpullable=["nothing"])

    def names() -> list[str]:
        return [each["name"] for each in json.loads(get(server, "/api/tags").body)["models"]]

    assert names() == ["llama3.2:latest", "llama3.2:3b", "qwen2.5:3b"]
    assert get(server, "/api/version", method="HEAD").status == 200
    assert json.loads(get(server, "/api/ps").body) == {"models": []}
    plan = post(server, "/api/pull", {"model": "codellama:7b"})
    lines = [json.loads(piece) for _, piece in plan.pieces]
    assert lines[0] == {"status": "pulling manifest"}
    assert "completed" not in lines[1]
    assert lines[5]["completed"] == lines[5]["total"]
    assert lines[-1] == {"status": "success"}
    assert names()[-1] == "codellama:7b"
    assert json.loads(post(server, "/api/pull", {"name": "fresh", "stream": False}).body) == {"status": "success"}
    assert names()[-1] == "fresh:latest"
    plan = post(server, "/api/pull", {"model": "nothing"})
    assert plan.status == 200
    assert json.loads(plan.pieces[-1][1]) == {"error": "pull model manifest: file does not exist"}
    assert post(server, "/api/pull", {"model": "nothing", "stream": False}).status == 500
    assert post(server, "/api/pull", {}).status == 400
    assert "tools" in json.loads(post(server, "/api/show", {"model": "llama3.2"}).body)["capabilities"]
    assert post(server, "/api/show", {"model": "nope"}).status == 404
    deleted = server.handle(ReceivedRequest("DELETE", "/api/delete", (), b'{"model": "fresh"}'))
    assert deleted.status == 200
    assert "fresh:latest" not in names()
    assert chat(server, "ollama", model="host:5000/team/llama3.2").status == 404


@given(st.text())
def test_tokens_are_pieces_of_the_text(text: str) -> None:
    assert "".join(tokens(text)) == text


def test_an_ask_without_messages() -> None:
    ask = Ask("openai", "m", ())
    assert (ask.last, ask.last_user_text) == (("user", ""), "")


def test_shapes_that_real_clients_send() -> None:
    server = FakeLLMServer()
    search = {"type": "web_search_20260318", "name": "web_search"}
    body = {
        "model": "m",
        "max_tokens": 9,
        "messages": [USER],
        "system": [{"type": "text", "text": "Be brief."}],
        "tools": [search],
    }
    plan = post(server, PATHS["anthropic"], body, ("anthropic-version", "2026-10-21"))
    assert plan.status == 200
    assert server.asks[-1].messages[0] == ("system", "Be brief.")
    assert server.asks[-1].tools == ()
    content = [{"type": "image", "source": {"type": "url", "url": "http://x/y.png"}}, {"type": "text", "text": "What?"}]
    assert chat(server, "anthropic", messages=[{"role": "user", "content": content}]).status == 200
    content = [{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": "http://x/y.png"}}]
    assert chat(server, "openai", messages=[{"role": "user", "content": content}]).status == 200
    assert server.asks[-1].last_user_text == "What?"
    assert chat(server, "openai", tools=True, tool_choice="required", text="Good morning").status == 200
    assert instance_of({"type": "object", "properties": {"any": True}}) == {"any": "any"}
