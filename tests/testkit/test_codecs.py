"""The clients' codecs and the test server were written apart: what one says, the other must understand."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sans_io import errors
from sans_io.calls.replay import decode
from sans_io.chat.messages import chat_request
from sans_io.chat.response import ChatResponse, Usage
from sans_io.http.http11 import HTTPExchange
from sans_io.http.urls import parse_base_url
from sans_io.providers.anthropic.codec import AnthropicCodec
from sans_io.providers.ollama.codec import OllamaCodec
from sans_io.providers.openai_chat.codec import OpenAICodec
from sans_io.providers.registry import DIALECTS
from transports.testing.servers.connection import ServerConnection
from transports.testing.servers.in_memory import FakeLLMServer
from transports.testing.servers.script import ScriptedError, ScriptedReply, ToolUse

CODECS = {
    "openai": OpenAICodec(parse_base_url("http://127.0.0.1:1/v1"), DIALECTS["generic"]),
    "anthropic": AnthropicCodec(parse_base_url("http://127.0.0.1:1")),
    "ollama": OllamaCodec(parse_base_url("http://127.0.0.1:1")),
}
WIRES = sorted(CODECS)
HELLO = [{"role": "user", "content": "Hello there!"}]
WEATHER = {
    "name": "get_weather",
    "description": "The weather of a place.",
    "parameters": {"type": "object", "properties": {"location": {"type": "string"}}, "required": ["location"]},
}


def call(
    server: FakeLLMServer,
    wire: str,
    messages: list[Any] = HELLO,
    *,
    cuts: tuple[int, ...] = (),
    stream: bool = False,
    model: str = "llama3.2",
    **more: Any,
) -> ChatResponse:
    """One call with everything but a transport: request bytes to the server, its bytes back in pieces."""
    request = CODECS[wire].build(chat_request(messages, model, stream=stream, **more))
    pieces = ServerConnection(server).receive_data(bytes(request.wire()))
    exchange = HTTPExchange("POST")
    body = [exchange.receive_data(piece.data) for piece in pieces]
    assert exchange.clean
    assert exchange.head is not None
    whole = b"".join(body)
    edges = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    chunks = [whole[start:end] for start, end in itertools.pairwise(edges)]
    return decode(wire, exchange.head.status, exchange.head.headers, chunks, stream=stream)  # type: ignore[arg-type]


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
PIECES = st.lists(TEXT.filter(bool), max_size=4)
REPLIES = st.builds(
    ScriptedReply,
    text=PIECES,
    reasoning=PIECES,
    tool_calls=st.lists(
        st.builds(
            ToolUse,
            st.sampled_from(["f", "g"]),
            st.dictionaries(TEXT, TEXT | st.integers(-5, 5) | st.none(), max_size=3),
        ),
        max_size=3,
    ),
    finish_reason=st.sampled_from([None, None, "length"]),
    usage=st.none() | st.builds(Usage, st.integers(1, 10**6), st.integers(1, 10**6)),
    pings=st.integers(0, 2),
    framing=st.sampled_from(["auto", "length", "chunked"]),
    informational=st.integers(0, 2),
)


@given(
    reply=REPLIES,
    wire=st.sampled_from(WIRES),
    stream=st.booleans(),
    cuts=st.lists(st.integers(0, 3000), max_size=8).map(tuple),
)
def test_what_the_server_says_is_what_the_codec_hears(
    reply: ScriptedReply, wire: str, stream: bool, cuts: tuple[int, ...]
) -> None:
    if reply.tool_calls:  # whether a call may be run after "length" is the codec's own judgement
        reply = reply.with_(finish_reason=None)
    server = FakeLLMServer()
    server.script(reply)
    heard = call(server, wire, stream=stream, cuts=cuts)
    assert heard.content == "".join(reply.text)
    assert (heard.reasoning or "") == "".join(reply.reasoning)
    assert [(tc.name, tc.arguments) for tc in heard.tool_calls] == [(tu.name, tu.arguments) for tu in reply.tool_calls]
    assert heard.invalid_tool_calls == []
    assert heard.finish_reason == reply.finish
    assert heard.model == "llama3.2"
    if reply.usage is not None:
        assert (heard.input_tokens, heard.output_tokens) == (reply.usage.input_tokens, reply.usage.output_tokens)


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("stream", [False, True])
def test_one_tool_conversation_runs_on_every_wire(wire: str, stream: bool) -> None:
    """The same code on all three; the server refuses a thinking block that comes back changed."""
    server = FakeLLMServer()
    server.script(
        ScriptedReply(
            reasoning=["Two ", "places."],
            text="Let me see.",
            tool_calls=[ToolUse("get_weather", {"location": "Paris"}), ToolUse("get_weather", {"location": "Rome"})],
        )
    )
    messages: list[Any] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is the weather in Paris and Rome?"},
    ]
    response = call(server, wire, messages, stream=stream, tools=[WEATHER])
    assert response.finish_reason == "tool_calls"
    messages.append(response.message)
    messages += [tc.result(f"rain in {tc.arguments['location']}") for tc in response.tool_calls]
    response = call(server, wire, messages, stream=stream, tools=[WEATHER])
    assert response.content == "The tool says: rain in Rome"
    heard = server.asks[-1].messages
    assert heard[0] == ("system", "Be brief.")
    assert heard[-2:] == (("tool", "rain in Paris"), ("tool", "rain in Rome"))


@pytest.mark.parametrize("wire", WIRES)
def test_parameters_arrive_where_the_wire_has_them(wire: str) -> None:
    server = FakeLLMServer()
    schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    response = call(server, wire, max_tokens=50, stop=["END"], response_format=schema, system="Be brief.")
    ask = server.asks[-1]
    assert (ask.max_tokens, ask.stop, ask.messages[0]) == (50, ("END",), ("system", "Be brief."))
    assert ask.schema is not None
    assert list(response.json()) == ["name"]


@pytest.mark.parametrize("wire", ["openai", "anthropic"])
@pytest.mark.parametrize("choice", ["auto", "none", "required", "get_weather"])
def test_tool_choice_arrives(wire: str, choice: str) -> None:
    server = FakeLLMServer()
    response = call(server, wire, tools=[WEATHER], tool_choice=choice)
    assert server.asks[-1].tool_choice == choice
    assert response.has_tool_calls == (choice in {"required", "get_weather"})


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, errors.LLMBadRequestError),
        (401, errors.LLMAuthError),
        (402, errors.LLMQuotaError),
        (403, errors.LLMAuthError),
        (404, errors.LLMNotFoundError),
        (413, errors.LLMBadRequestError),
        (422, errors.LLMBadRequestError),
        (429, errors.LLMRateLimitError),
        (500, errors.LLMServerError),
        (503, errors.LLMServerError),
        (529, errors.LLMServerError),
    ],
)
def test_refusals_are_typed(wire: str, stream: bool, status: int, expected: type[errors.LLMError]) -> None:
    server = FakeLLMServer()
    server.script(ScriptedReply(error=ScriptedError("not this time", status), retry_after=7))
    with pytest.raises(expected) as caught:
        call(server, wire, stream=stream)
    assert caught.value.status_code == status
    assert caught.value.retry_after == 7.0
    assert "not this time" in caught.value.message


@pytest.mark.parametrize("wire", WIRES)
def test_a_stream_that_fails_keeps_what_had_come(wire: str) -> None:
    server = FakeLLMServer()
    server.script(ScriptedReply(text=["half ", "an answer"], stream_error=ScriptedError("overloaded", 529)))
    with pytest.raises(errors.LLMServerError) as caught:
        call(server, wire, stream=True)
    assert caught.value.partial is not None
    assert caught.value.partial.content == "half an answer"
    server.script(ScriptedReply(text=["half ", "an answer"], terminal=False))
    with pytest.raises(errors.LLMStreamError) as caught_too:
        call(server, wire, stream=True)
    assert caught_too.value.partial is not None
    assert caught_too.value.partial.content == "half an answer"


@pytest.mark.parametrize("wire", ["openai", "anthropic"])
def test_the_servers_words_for_a_prompt_too_long_are_understood(wire: str) -> None:
    with pytest.raises(errors.LLMContextLengthError) as caught:
        call(FakeLLMServer(context_window=5), wire)
    assert (caught.value.limit, caught.value.requested) == (5, 6)


@pytest.mark.parametrize("wire", WIRES)
def test_a_wrong_key_and_an_unknown_model(wire: str) -> None:
    with pytest.raises(errors.LLMAuthError):
        call(FakeLLMServer(api_keys=["right"]), wire)
    with pytest.raises(errors.LLMNotFoundError):
        call(FakeLLMServer(strict_models=True), wire, model="nobody-has-this")


@pytest.mark.parametrize("wire", WIRES)
def test_cut_arguments_are_never_runnable(wire: str) -> None:
    server = FakeLLMServer()
    server.script(ScriptedReply(tool_calls=[ToolUse("f", '{"a": "unfin')], finish_reason="length"))
    response = call(server, wire, stream=True)
    if wire == "ollama":  # arguments are objects there; a cut one cannot be written down
        return
    assert response.tool_calls == []
    assert response.invalid_tool_calls[0].raw_arguments == '{"a": "unfin'


def test_model_lists_are_read() -> None:
    for wire, codec in CODECS.items():
        operation = codec.models_operation()
        server = FakeLLMServer()
        (piece,) = ServerConnection(server).receive_data(bytes(operation.request.wire()))
        exchange = HTTPExchange("GET")
        reader = operation.new_reader()
        reader.receive_data(exchange.receive_data(piece.data))
        reader.receive_eof()
        assert reader.error is None
        assert {"openai": "gpt-6-luna", "anthropic": "claude-haiku-5-5", "ollama": "qwen2.5:3b"}[wire] in reader.models


@pytest.mark.parametrize("wire", WIRES)
def test_images_and_parts_are_taken(wire: str) -> None:
    server = FakeLLMServer()
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    parts = [{"type": "text", "text": "What is "}, image, {"type": "text", "text": "this?"}]
    assert call(server, wire, [{"role": "user", "content": parts}]).content.startswith("You said: ")
    said = "".join(text for _, text in server.asks[-1].messages)
    assert said.replace("\n", "") == "What is this?"  # one string on Ollama, joined by line ends


@pytest.mark.parametrize("wire", WIRES)
def test_a_status_of_the_vendors_own(wire: str) -> None:
    server = FakeLLMServer()
    server.script(ScriptedReply(error=ScriptedError("overloaded", 529)))
    with pytest.raises(errors.LLMServerError) as caught:
        call(server, wire)
    assert caught.value.code == "overloaded"


@pytest.mark.parametrize("wire", ["openai", "ollama"])
@pytest.mark.parametrize("stream", [False, True])
def test_log_probabilities_that_were_asked_for_come_back(wire: str, stream: bool) -> None:
    from cloud.llm import OllamaClient, OpenAICompatClient
    from transports.testing import ScriptedTransport

    server = FakeLLMServer()
    server.script(ScriptedReply(text=["Hel", "lo"]), ScriptedReply(text=["Hel", "lo"]))
    kinds = {"openai": OpenAICompatClient, "ollama": OllamaClient}
    client = kinds[wire](api_key="k", model="qwen2.5:3b", transport=ScriptedTransport(server))
    ask = [{"role": "user", "content": "Hi"}]
    for logprobs, tokens in ((2, ["Hel", "lo"]), (None, None)):
        if stream:
            response = client.chat_stream(ask, logprobs=logprobs).until_done()
        else:
            response = client.chat(ask, logprobs=logprobs)
        said = response.logprobs
        assert (None if said is None else [each["token"] for each in said]) == tokens
        assert said is None or all(len(each["top_logprobs"]) == logprobs for each in said)
