"""The six clients: arguments in, responses out, the same on blocking code, asyncio and trio."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from cloud.llm import (
    CallOptions,
    ChatResponse,
    ClientOptions,
    HTTPRequest,
    LLMAuthError,
    LLMBadRequestError,
    LLMError,
    LLMNotFoundError,
    LLMQuotaError,
    LLMRateLimitError,
    LLMServerError,
    OpenAICompatClient,
    RetryPolicy,
)
from cloud.llm.options import CALL_OPTIONS, CLIENT_OPTIONS
from sans_io.chat.options import OPTIONS, ChatOptions
from tests.cloud.kit import AWAITED, BLOCKING, HELLO, MODELS, MODES, WIRES, perform, scripted
from transports.testing import ScriptedError, ScriptedReply, ToolUse

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = {"name": "get_weather", "description": "Weather", "parameters": SCHEMA}


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("mode", MODES)
def test_chat_and_a_drained_stream_agree(mode: str, wire: str) -> None:
    transport = scripted(mode)

    async def scenario(client: Any) -> None:
        whole = await client.chat(HELLO)
        stream = client.chat_stream(HELLO)
        pieces = [piece async for piece in stream]
        assert "".join(pieces) == whole.content == stream.response.content == "You said: Hello!"
        assert len(pieces) > 1
        for name in ("model", "finish_reason", "raw_finish_reason", "usage", "total_tokens", "message", "choices"):
            assert getattr(whole, name) == getattr(stream.response, name), name
        assert whole.attempts[0].status == stream.response.attempts[0].status == 200
        assert isinstance(whole, ChatResponse)

    perform(mode, scenario, wire, transport=transport)


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("mode", MODES)
def test_positional_order_is_that_of_the_user_document(mode: str, wire: str) -> None:
    transport = scripted(mode)
    before = [] if wire == "openai" else ["Be brief."]
    choice = [None] if wire == "ollama" else ["auto"]

    async def scenario(client: Any) -> None:
        await client.chat(HELLO, MODELS[wire], *before, 0.5, 77, [TOOL], *choice)
        stream = client.chat_stream(HELLO, MODELS[wire], *before, 0.5, 77)
        await stream.until_done()

    perform(mode, scenario, wire, transport=transport)
    whole, streamed = (request.json() for request in transport.requests)
    for body in (whole, streamed):
        options = body["options"] if wire == "ollama" else body
        limit = {"openai": "max_tokens", "anthropic": "max_tokens", "ollama": "num_predict"}[wire]
        assert body["model"] == MODELS[wire]
        assert options["temperature"] == 0.5
        assert options[limit] == 77
        assert ("Be brief." in str(body)) is bool(before)
    assert "get_weather" in str(whole["tools"])


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("mode", MODES)
def test_every_keyword_argument_reaches_the_wire_or_is_refused_by_name(mode: str, wire: str) -> None:
    transport = scripted(mode)
    arguments: dict[str, Any] = {
        "model": MODELS[wire], "system": "Be brief.", "top_p": 0.9, "stop": ["END"], "seed": 7,
        "response_format": SCHEMA, "reasoning_effort": "low", "parallel_tool_calls": False, "n": 2,
        "extra_body": {"made_up": True}, "extra_headers": {"X-Made-Up": "yes"}, "tools": [TOOL], "temperature": 0.1,
        "max_tokens": 5, "tool_choice": "auto", "timeout": 30.0, "max_retries": 0,
    }  # fmt: skip
    expected = {"openai": set(), "anthropic": {"seed", "n"}, "ollama": {"n", "parallel_tool_calls"}}[wire]

    async def scenario(client: Any) -> None:
        for name, value in arguments.items():
            more = {"tools": [TOOL]} if name in ("tool_choice", "parallel_tool_calls") else {}
            if name in expected:
                with pytest.raises(LLMBadRequestError, match=name):
                    client.build_request(HELLO, **{name: value, **more})
            else:
                request = client.build_request(HELLO, **{name: value, **more})
                assert isinstance(request, HTTPRequest)

    perform(mode, scenario, wire, transport=transport)
    assert not transport.requests


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("mode", MODES)
def test_a_tool_conversation_is_the_same_code_on_every_wire(mode: str, wire: str) -> None:
    transport = scripted(mode, ScriptedReply(tool_calls=[ToolUse("get_weather", {"city": "Rome"})]))

    async def scenario(client: Any) -> None:
        messages: list[Any] = list(HELLO)
        response = await client.chat(messages, tools=[TOOL])
        assert response.has_tool_calls
        assert response.finish_reason == "tool_calls"
        messages.append(response.message)
        for call in response.tool_calls:
            assert (call.name, call.arguments) == ("get_weather", {"city": "Rome"})
            messages.append(call.result({"temp_c": 20}))
        assert (await client.chat(messages, tools=[TOOL])).content

    perform(mode, scenario, wire, transport=transport)
    assert "temp_c" in transport.requests[1].body.decode()


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("mode", MODES)
def test_list_models(mode: str, wire: str) -> None:
    async def scenario(client: Any) -> None:
        names = await client.list_models()
        assert MODELS[wire] in names
        assert all(type(name) is str for name in names)

    perform(mode, scenario, wire, transport=scripted(mode))


ERRORS = [
    (401, LLMAuthError, 1), (403, LLMAuthError, 1), (404, LLMNotFoundError, 1), (429, LLMRateLimitError, 3),
    (402, LLMQuotaError, 1), (400, LLMBadRequestError, 1), (500, LLMServerError, 3),
]  # fmt: skip


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("status", "kind", "attempts"), ERRORS)
def test_errors_are_typed_and_retried_by_the_table(
    mode: str, wire: str, status: int, kind: type[LLMError], attempts: int
) -> None:
    replies = [ScriptedReply(error=ScriptedError("no", status))] * 3
    transport = scripted(mode, *replies)
    seen: list[Any] = []

    async def scenario(client: Any) -> None:
        with pytest.raises(kind) as caught:
            await client.chat(HELLO)
        error = caught.value
        assert error.status_code == status
        assert len(error.attempts) == attempts == len(transport.requests)
        assert tuple(seen) == error.attempts
        assert error.model == MODELS[wire]

    perform(mode, scenario, wire, transport=transport, max_retries=2, on_attempt=seen.append, model=MODELS[wire])


@pytest.mark.parametrize("mode", MODES)
def test_retry_after_is_a_number_on_the_error_and_waited_for(mode: str) -> None:
    refusal = ScriptedReply(error=ScriptedError("slow down", 429), retry_after=7)
    transport = scripted(mode, refusal, ScriptedReply(text="now"), refusal)

    async def scenario(client: Any) -> None:
        started = transport.now()
        assert (await client.chat(HELLO)).content == "now"
        assert transport.now() - started >= 7
        with pytest.raises(LLMRateLimitError) as caught:
            await client.chat(HELLO, max_retries=0)
        assert caught.value.retry_after == 7.0

    perform(mode, scenario, transport=transport)


@pytest.mark.parametrize("mode", MODES)
def test_wrong_arguments_are_refused_before_a_byte_is_sent(mode: str) -> None:
    transport = scripted(mode)
    wrong: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
        ("messages", ("hello",), {}),
        ("messages", ([],), {}),
        ("messages[0].role", ([{"role": "robot", "content": "x"}],), {}),
        ("messages[0]", (["hello"],), {}),
        ("model", (HELLO, ""), {}),
        ("tools[0]", (HELLO,), {"tools": [{"description": "no name"}]}),
        ("temperature", (HELLO,), {"temperature": "hot"}),
        ("timeout", (HELLO,), {"timeout": 0}),
        ("max_retries", (HELLO,), {"max_retries": -1}),
        ("extra_headers", (HELLO,), {"extra_headers": {"X": "a\r\nb"}}),
    ]

    async def scenario(client: Any) -> None:
        for name, args, kwargs in wrong:
            with pytest.raises(LLMBadRequestError) as caught:
                await client.chat(*args, **kwargs)
            assert name in caught.value.message
            with pytest.raises(LLMBadRequestError):
                client.chat_stream(*args, **kwargs)

    perform(mode, scenario, transport=transport)
    assert not transport.requests
    assert not transport.dials


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("mode", MODES)
def test_closing_is_harmless_and_clients_stay_usable(mode: str, wire: str) -> None:
    async def scenario(client: Any) -> None:
        async with client as same:
            await same.chat(HELLO)
        await client.close()
        await client.aclose()
        assert (await client.chat(HELLO)).content
        stats = client.pool_stats()
        assert (stats.dialled, stats.idle, stats.reused) == (1, 1, 1)

    perform(mode, scenario, wire, transport=scripted(mode))


def test_a_request_is_shown_without_its_key() -> None:
    client = BLOCKING["openai"]("sk-canary-123456", base_url="http://127.0.0.1:9/v1")
    request = client.build_request(HELLO, temperature=0.5)
    assert request.method == "POST"
    assert request.target == "/v1/chat/completions"
    assert "canary" not in repr(request)
    assert b'"temperature":0.5' in request.body
    assert client.build_request(HELLO, stream=True).body != request.body


# -- twins ------------------------------------------------------------------------------------------------------------


def public(cls: type) -> set[str]:
    return {name for name in dir(cls) if not name.startswith("_")}


@pytest.mark.parametrize("wire", WIRES)
def test_twins_have_the_same_methods_with_the_same_signatures(wire: str) -> None:
    blocking, awaited = BLOCKING[wire], AWAITED[wire]
    assert public(awaited) - public(blocking) == {"aclose"}
    assert public(blocking) <= public(awaited)
    for name in {*public(blocking), "__init__"}:
        one, other = getattr(blocking, name), getattr(awaited, name)
        if callable(one):
            first, second = inspect.signature(one), inspect.signature(other)
            assert first.parameters == second.parameters, name


@pytest.mark.parametrize("wire", WIRES)
def test_what_is_awaited_is_a_coroutine_function(wire: str) -> None:
    awaited = AWAITED[wire]
    for name in ("chat", "list_models", "close", "aclose"):
        assert inspect.iscoroutinefunction(getattr(awaited, name)), name
    for name in ("chat_stream", "build_request", "with_options", "pool_stats"):
        assert not inspect.iscoroutinefunction(getattr(awaited, name)), name


KEYWORDS = {
    "top_p", "stop", "seed", "response_format", "reasoning_effort", "parallel_tool_calls", "n", "extra_body",
    "extra_headers", "timeout", "max_retries",
}  # fmt: skip
SETTINGS = {
    "timeout", "max_retries", "headers", "transport", "ssl_context", "ca_file", "proxy", "trust_env", "retry",
    "isolate_credentials", "on_attempt", "limits",
}  # fmt: skip


@pytest.mark.parametrize("wire", WIRES)
def test_the_order_of_arguments_is_the_contract(wire: str) -> None:
    middle = ["temperature", "max_tokens", "tools", "tool_choice"]
    positional = ["messages", "model", *([] if wire == "openai" else ["system"]), *middle]
    for cls in (BLOCKING[wire], AWAITED[wire]):
        for name in ("chat", "chat_stream", "build_request"):
            parameters = list(inspect.signature(getattr(cls, name)).parameters.values())[1:]
            assert [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD] == positional
            keywords = {p.name for p in parameters if p.kind is p.KEYWORD_ONLY}
            assert keywords >= {"system" if wire == "openai" else "tools"} - {*positional}
            assert [p.annotation for p in parameters if p.kind is p.VAR_KEYWORD] == ["Unpack[CallOptions]"]
            assert not any(p.kind is p.VAR_POSITIONAL for p in parameters)
        constructor = list(inspect.signature(cls).parameters.values())
        by_position = [] if wire == "ollama" else ["api_key", "model"]
        assert [p.name for p in constructor if p.kind is p.POSITIONAL_OR_KEYWORD] == by_position
        assert [p.annotation for p in constructor if p.kind is p.VAR_KEYWORD] == ["Unpack[ClientOptions]"]
        assert cls(api_key="k", base_url="http://127.0.0.1:9").timeout == 120.0
        assert cls(api_key="k", base_url="http://127.0.0.1:9").max_retries == 3


def test_options_are_defined_once() -> None:
    """The keys that a type checker sees are those that are taken, and each has its row."""
    assert {*OPTIONS} == ChatOptions.__optional_keys__ >= KEYWORDS - {"timeout", "max_retries"}
    assert {*CALL_OPTIONS} == CallOptions.__optional_keys__ == {*OPTIONS, "timeout", "max_retries"}
    assert {*CLIENT_OPTIONS} == ClientOptions.__optional_keys__ >= SETTINGS
    page = inspect.getdoc(CallOptions)
    assert all(f"\n{word}: " in page or f"\n    {word}: " in page for word in CALL_OPTIONS)
    assert not any(ChatOptions.__required_keys__ | CallOptions.__required_keys__ | ClientOptions.__required_keys__)


@pytest.mark.parametrize("wire", WIRES)
def test_help_is_a_page_to_work_from(wire: str) -> None:
    for cls in (BLOCKING[wire], AWAITED[wire]):
        for name in ("chat", "chat_stream", "build_request"):
            page = inspect.getdoc(getattr(cls, name))
            arguments = [
                word for word in inspect.signature(getattr(cls, name)).parameters if word not in ("self", "options")
            ]
            taken = [word for word, row in OPTIONS.items() if row.taken_by(wire)]
            for word in (*arguments, *taken, "timeout", "max_retries"):
                assert f"\n    {word}: " in page, (name, word)
            refused = page.partition("Not supported by the ")[2].partition(".")[0].partition(" API: ")[2].split(", ")
            assert refused == [word for word in OPTIONS if word not in taken]
            assert "Returns a" in page
            assert "Raises an `LLMError`" in page
        page = inspect.getdoc(cls.__init__)
        assert all(f"\n    {word}: " in page for word in SETTINGS)
        assert "        " not in page.replace("\n        ", "\n"), "one level of indentation"
        for name in public(cls):
            if callable(getattr(cls, name)):
                assert len(inspect.getdoc(getattr(cls, name))) > 40, name


def test_with_options_keeps_everything_else() -> None:
    policy = RetryPolicy(max_retries=5, base_transient=0.1)
    client = BLOCKING["openai"](
        "sk-x", "gpt-6-luna", base_url="http://127.0.0.1:9/v1", retry=policy, headers={"X-A": "1"}, timeout=9.0
    )
    other = client.with_options(timeout=3.0)
    assert type(other) is type(client)
    assert (other.timeout, other.model, other.base_url, other.max_retries) == (3.0, "gpt-6-luna", client.base_url, 5)
    assert other.build_request(HELLO) == client.build_request(HELLO)
    assert client.with_options(max_retries=1).max_retries == 1
    assert client.with_options(max_retries=1)._retry.base_transient == 0.1
    assert client.with_options(api_key="sk-y").build_request(HELLO) != client.build_request(HELLO)
    assert client.with_options(model="m2").model == "m2"
    with pytest.raises(TypeError):
        client.with_options(tiemout=3.0)
    for wire in WIRES:
        base = BLOCKING[wire](api_key="sk-x", base_url="http://127.0.0.1:9")
        assert base.with_options().build_request(HELLO) == base.build_request(HELLO)


def test_a_subclass_of_a_user_s_takes_no_option_that_does_not_exist() -> None:
    """Whatever the subclass's own constructor takes, what it hands on is checked."""

    class Tenant(OpenAICompatClient):
        def __init__(self, tenant: str, **options: Any) -> None:
            super().__init__(tenant=tenant, **options)

    class Anything(OpenAICompatClient):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)

    with pytest.raises(TypeError, match=r"Tenant\(\) has no option 'tenant'$"):
        Tenant("a", api_key="k")
    with pytest.raises(TypeError, match=r"Anything\(\) has no option 'kwargs'$"):
        Anything(api_key="k", kwargs={})
    with pytest.raises(TypeError, match=r"Anything\(\) has no option 'base_ulr'; did you mean base_url\?$"):
        Anything(api_key="k", base_ulr="http://127.0.0.1:9")
    with pytest.raises(TypeError, match=r"with_options\(\) has no option 'kwargs'$"):
        Anything(api_key="k").with_options(kwargs={})
    assert Anything(api_key="k").with_options(model="m").model == "m"


def test_a_property_of_a_user_s_that_fails_says_why() -> None:
    class Tagged(OpenAICompatClient):
        @property
        def tag(self) -> str:
            return self._tag

    class Unbuilt(OpenAICompatClient):
        def __init__(self) -> None:
            """Forgets the base class."""

    with pytest.raises(AttributeError, match="'Tagged' object has no attribute '_tag'"):
        Tagged("k").tag  # noqa: B018
    with pytest.raises(AttributeError, match="'Unbuilt' object has no attribute '_base_url'"):
        Unbuilt().base_url  # noqa: B018
