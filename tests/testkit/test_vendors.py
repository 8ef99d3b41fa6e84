"""A test server of a vendor's refuses what that vendor refuses, as it does, and serves what it serves."""

from __future__ import annotations

import json
from typing import Any

import pytest

import cloud.llm
from cloud.llm import LLMBadRequestError
from sans_io.providers.registry import DIALECTS, WIRES
from sans_io.providers.rules import VENDORS
from tests.cloud.kit import MODES, perform
from tests.providers.rules.kit import MODELS
from transports.testing import FakeLLMServer, LoopbackServer, ScriptedError, ScriptedReply
from transports.testing.servers.script import ReceivedRequest

WIRE_OF = {vendor: WIRES[DIALECTS[vendor].wires[0]] for vendor in VENDORS}
HELLO = {"role": "user", "content": "Hello"}
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
WEATHER = {
    "name": "get_weather",
    "description": "The weather of a place.",
    "parameters": {"type": "object", "properties": {"location": {"type": "string"}}, "required": ["location"]},
}


def post(vendor: str, **more: Any) -> tuple[int, Any]:
    """The status and the body of the answer to a raw request."""
    body = {"model": MODELS[vendor], "messages": [HELLO], **more}
    if vendor == "anthropic":
        body.setdefault("max_tokens", 5)
    headers = (("anthropic-version", "2026-10-21"),) if vendor == "anthropic" else ()
    request = ReceivedRequest("POST", WIRE_OF[vendor].path, headers, json.dumps(body).encode())
    plan = FakeLLMServer(vendor=vendor).handle(request)
    return plan.status, json.loads(plan.body)


def test_each_vendor_refuses_in_its_own_form() -> None:
    turns = [HELLO, {"role": "assistant", "content": "A", "reasoning_content": "hm"}, HELLO]
    answered = [
        HELLO,
        {"role": "assistant", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call_1", "content": "x"},
    ]
    wanted = "'messages[1].tool_calls[0].id': string too long. Expected a string with maximum length 40"
    assert post("openai", messages=json.loads(json.dumps(answered).replace("call_1", "c" * 41)))[1]["error"] == {
        "message": f"Invalid {wanted}, but got a string with length 41 instead.",
        "type": "invalid_request_error", "param": "messages[1].tool_calls[0].id", "code": "string_above_max_length",
    }  # fmt: skip
    assert post("groq", messages=turns) == (400, {"error": {
        "message": "'messages.1' : for 'role:assistant' the following must be satisfied[('messages.1' : property "
                   "'reasoning_content' is unsupported)]", "type": "invalid_request_error"}})  # fmt: skip
    assert post("cerebras", messages=turns) == (400, {
        "message": "messages.1.reasoning_content: property 'messages.1.reasoning_content' is unsupported",
        "type": "invalid_request_error", "param": "validation_error", "code": "wrong_api_format"})  # fmt: skip
    status, body = post("mistral", messages=turns)
    assert status == 422
    assert body["message"]["detail"][0]["loc"] == ["body", "messages", 1, "assistant", "reasoning_content"]
    assert post("mistral", messages=answered) == (400, {
        "object": "error", "message": "Tool call id was call_1 but must be a-z, A-Z, 0-9, with a length of 9.",
        "type": "invalid_function_call", "param": "messages[1].tool_calls[0].id", "code": "3280"})  # fmt: skip
    schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}
    assert post("deepseek", response_format=schema)[1]["error"]["message"] == (
        "This response_format type is unavailable now"
    )
    assert post("xai", model="grok-4.5", presence_penalty=0.5) == (400, {
        "code": "Client specified an invalid argument",
        "error": "Argument not supported on this model: presencePenalty"})  # fmt: skip
    assert post("openrouter", messages=[]) == (
        400, {"error": {"message": "Missing required parameter: 'messages'.", "code": 400}}
    )  # fmt: skip
    assert post("gemini", top_k=4) == (400, [{"error": {
        "code": 400, "message": 'Invalid JSON payload received. Unknown name "top_k": Cannot find field.',
        "status": "INVALID_ARGUMENT"}}])  # fmt: skip
    status, body = post("anthropic", top_k=4)
    assert (status, body["type"]) == (400, "error")
    assert body["error"] == {"type": "invalid_request_error", "message": "top_k: Extra inputs are not permitted"}
    assert post("ollama", messages=[{"role": "user", "content": ["x"]}]) == (400, {
        "error": "json: cannot unmarshal array into Go struct field ChatRequest.messages[0].content of type string"})  # fmt: skip


@pytest.mark.parametrize("vendor", [vendor for vendor in VENDORS if WIRE_OF[vendor].name == "openai"])
@pytest.mark.parametrize("status", [401, 429, 503])
def test_a_scripted_error_has_the_vendor_s_form(vendor: str, status: int) -> None:
    server = FakeLLMServer("openai", vendor=vendor)
    server.script(ScriptedReply(error=ScriptedError("no such luck", status)))
    body = json.dumps({"model": "m", "messages": [HELLO]}).encode()
    plan = server.handle(ReceivedRequest("POST", "/v1/chat/completions", (), body))
    assert plan.status == status
    assert "no such luck" in json.dumps(json.loads(plan.body))


def test_named_models_are_refused_what_they_refuse_where_the_vendor_is_named() -> None:
    asked = {"model": "o3", "max_tokens": 5}
    assert post("openai", **asked)[1]["error"]["code"] == "unsupported_parameter"
    body = json.dumps({"messages": [HELLO], **asked}).encode()
    assert FakeLLMServer().handle(ReceivedRequest("POST", "/v1/chat/completions", (), body)).status == 200


def test_a_vendor_that_is_not_known_or_speaks_another_wire() -> None:
    with pytest.raises(ValueError, match="vendor must be one of openai, azure"):
        FakeLLMServer(vendor="nobody")
    with pytest.raises(ValueError, match="that speaks 'anthropic', not 'mistral'"):
        FakeLLMServer("anthropic", vendor="mistral")


def client_options(vendor: str) -> tuple[str, dict[str, Any]]:
    """The wire of a vendor's client, and what it is made with to speak to a test server as it would to the vendor."""
    wire = WIRE_OF[vendor].name
    options: dict[str, Any] = {"model": MODELS[vendor]} | ({} if wire == "ollama" else {"api_key": "k"})
    return wire, options | ({"dialect": vendor} if wire == "openai" else {})


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("mode", MODES)
def test_a_loop_of_tools_with_its_vendor(vendor: str, mode: str) -> None:
    """Whole and streamed, on real sockets: the client speaks as the dialect says, the server refuses as the vendor."""
    wire, options = client_options(vendor)

    async def scenario(client: Any) -> None:
        messages: list[Any] = [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Weather in Rome?"},
        ]
        response = await client.chat(messages, tools=[WEATHER], max_tokens=2000)
        assert [call.name for call in response.tool_calls] == ["get_weather"]
        messages += [response.message, *(call.result("rain") for call in response.tool_calls)]
        stream = client.chat_stream(messages, tools=[WEATHER], max_tokens=2000)
        again = await stream.until_done()
        assert again.content == "The tool says: rain"
        messages += [again.message, {"role": "user", "content": "Thanks"}]
        assert (await client.chat(messages)).content.startswith("You said: Thanks")

    with LoopbackServer(FakeLLMServer(wire, vendor=vendor, models=[f"{MODELS[vendor]}:latest"])) as server:
        perform(mode, scenario, wire, base_url=server.base_url(wire), **options)


@pytest.mark.parametrize("vendor", VENDORS)
def test_structured_output_with_its_vendor(vendor: str) -> None:
    wire, options = client_options(vendor)
    schema = {"title": "Person", "type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
              "required": ["name", "age"]}  # fmt: skip
    new_client = getattr(cloud.llm, WIRES[wire].clients[0])
    ana = [{"role": "user", "content": "Say it in JSON: Ana is 30"}]
    with (
        LoopbackServer(FakeLLMServer(wire, vendor=vendor, models=[f"{MODELS[vendor]}:latest"])) as server,
        new_client(base_url=server.base_url(wire), **options) as client,
    ):
        if vendor != "deepseek":
            assert client.chat(ana, response_format=schema).json().keys() == {"name", "age"}
            return
        with pytest.raises(LLMBadRequestError, match="response_format"):
            client.chat(ana, response_format=schema)
        assert isinstance(client.chat(ana, response_format="json").json(), dict)
