"""Every code line of the user document, on asyncio and trio, and its blocking form on the three blocking clients."""

from __future__ import annotations

import ast
import asyncio
import inspect
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

import cloud.llm
from cloud import close_all_cloud_clients
from cloud.llm import AsyncAnthropicClient, AsyncOllamaClient, AsyncOpenAICompatClient, ChatResponse, ToolCall
from tests.docs import blocks
from transports.testing import FakeLLMServer, ScriptedError, ScriptedReply, ToolUse
from transports.testing.servers.loopback import LoopbackServer

LOOPS = ("asyncio", "trio")
#: Everybody who has `chat`: name -> (the blocking class, its twin, constructor arguments).
CLIENTS: dict[str, dict[str, Any]] = {
    "OpenAICompat": {"api_key": "sk-..."},
    "Anthropic": {"api_key": "sk-ant-..."},
    "Ollama": {"model": "qwen2.5:3b"},
}
KINDS = ("blocking", *LOOPS)


def execute(kind: str, code: str, names: dict[str, Any]) -> dict[str, Any]:
    """Run a block: as it stands on a loop, or in its blocking form without one."""
    if kind == "blocking":
        exec(compile(blocks.blocking(code), "user document", "exec"), names)
        return names

    async def main() -> None:
        compiled = compile(code, "user document", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        result = eval(compiled, names)
        if inspect.iscoroutine(result):
            await result

    if kind == "asyncio":
        asyncio.run(main())
    else:
        trio.run(main)
    return names


def make(kind: str, name: str, **more: Any) -> Any:
    prefix = "" if kind == "blocking" else "Async"
    return getattr(cloud.llm, f"{prefix}{name}Client")(**{**CLIENTS[name], **more})


@pytest.mark.parametrize("loop", LOOPS)
def test_openai(loop: str, server: FakeLLMServer, names: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    execute(loop, blocks.OPENAI, names)
    assert capsys.readouterr().out == "You said: Hello!\nYou said: Hello!"
    assert [ask.model for ask in server.asks] == ["gpt-4o", "gpt-5.4-mini", "gpt-5.4-mini"]
    assert [request.header("authorization") for request in server.requests] == ["Bearer sk-..."] * 3
    assert {request.header("host") for request in server.requests} == {"api.openai.com"}


@pytest.mark.parametrize("loop", LOOPS)
def test_anthropic(loop: str, server: FakeLLMServer, names: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    execute(loop, blocks.ANTHROPIC, names)
    assert names["response"].content == capsys.readouterr().out == "You said: Hello!"
    assert [ask.messages[0] for ask in server.asks] == [("system", "You are helpful."), ("system", "Be concise.")]
    assert {request.header("host") for request in server.requests} == {"api.anthropic.com"}


@pytest.mark.parametrize("loop", LOOPS)
def test_groq(loop: str, server: FakeLLMServer, names: dict[str, Any]) -> None:
    execute(loop, blocks.GROQ, names)
    assert names["response"].content == "You said: Hello!"
    request = server.requests[0]
    assert (request.header("host"), request.target) == ("api.groq.com", "/openai/v1/chat/completions")
    assert names["client"].dialect == "groq"


@pytest.mark.parametrize("loop", LOOPS)
def test_ollama(loop: str, server: FakeLLMServer, names: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    execute(loop, blocks.OLLAMA, names)
    assert capsys.readouterr().out == "You said: Hello!\nYou said: Hello!"
    assert {"llama3.2:latest", "qwen2.5:3b"} <= set(names["models"])
    assert sum(request.path == "/api/pull" for request in server.requests) == 1
    assert {request.header("host") for request in server.requests} == {"127.0.0.1:11434"}


@pytest.mark.parametrize("name", CLIENTS)
@pytest.mark.parametrize("kind", KINDS)
def test_tool_calling(
    kind: str, name: str, server: FakeLLMServer, names: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    calls = [ToolUse("get_weather", {"location": "Rome"}), ToolUse("get_weather", {"location": "Oslo"})]
    server.script(ScriptedReply(tool_calls=calls))
    names["client"] = make(kind, name)
    execute(kind, blocks.TOOLS, names)
    printed = "Call: get_weather({'location': 'Rome'})\nCall: get_weather({'location': 'Oslo'})\n"
    assert capsys.readouterr().out == printed
    for call in names["response"].tool_calls:
        for field, kind_of in blocks.TOOL_CALL_PROPERTIES.items():
            assert type(getattr(call, field)) is kind_of
    assert names["response"].finish_reason == "tool_calls"


@pytest.mark.parametrize("name", CLIENTS)
@pytest.mark.parametrize("kind", KINDS)
def test_response_object(kind: str, name: str, server: FakeLLMServer, names: dict[str, Any]) -> None:
    names["client"] = make(kind, name)
    execute(kind, blocks.RESPONSE, names)
    response = names["response"]
    assert isinstance(response, ChatResponse)
    for field, kind_of in blocks.RESPONSE_PROPERTIES.items():
        assert type(getattr(response, field)) is kind_of, field
    assert response.total_tokens == response.input_tokens + response.output_tokens > 0
    assert response.finish_reason == "stop"


SAID = [
    (ScriptedReply(error=ScriptedError("slow down", 429), retry_after=90), "Rate limited, retry after 90.0s"),
    (ScriptedReply(error=ScriptedError("bad key", 401)), "Invalid API key"),
    (ScriptedReply(head_delay=500.0), "Request timed out"),
    (ScriptedReply(error=ScriptedError("no such thing", 422)), "API error: no such thing (status: 422)"),
]


@pytest.mark.parametrize("name", CLIENTS)
@pytest.mark.parametrize("kind", KINDS)
def test_error_handling(
    kind: str, name: str, server: FakeLLMServer, names: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    names["client"] = make(kind, name)
    for reply, said in SAID:
        server.script(reply)
        execute(kind, blocks.ERRORS, names)
        assert capsys.readouterr().out == f"{said}\n"
    if name == "Ollama":
        return  # a native Ollama server cuts a long prompt instead of refusing it
    server.context_window = 3
    names["messages"] = [{"role": "user", "content": "far too many words for this model"}]
    execute(kind, blocks.ERRORS, names)
    assert capsys.readouterr().out.startswith("Context too long: ")


@pytest.mark.parametrize("loop", LOOPS)
def test_configuration(loop: str, server: FakeLLMServer, names: dict[str, Any]) -> None:
    execute(loop, blocks.CONFIGURATION, {"AsyncAnthropicClient": AsyncAnthropicClient, **names})
    namespace: dict[str, Any] = {"AsyncAnthropicClient": AsyncAnthropicClient}
    client = execute(loop, blocks.CONFIGURATION, namespace)["client"]
    assert (client.timeout, client.max_retries, client.model) == (120.0, 3, "claude-sonnet-4-20250514")
    default = AsyncAnthropicClient(api_key="...")
    assert (default.timeout, default.max_retries) == (120.0, 3)


@pytest.mark.parametrize("loop", LOOPS)
def test_connection_pooling(loop: str, server: FakeLLMServer, names: dict[str, Any]) -> None:
    names["AsyncOpenAICompatClient"] = AsyncOpenAICompatClient
    execute(loop, blocks.POOLING, names)

    async def main() -> None:
        for key in ("client1", "client2"):
            await names[key].chat(names["messages"])
        stats = names["client1"].pool_stats()
        assert (stats.dialled, stats.reused) == (1, 1)
        await close_all_cloud_clients()
        assert names["client2"].pool_stats().open == 0

    if loop == "asyncio":
        asyncio.run(main())
    else:
        trio.run(main)
    keys = [request.header("authorization") for request in server.requests]
    assert keys == ["Bearer user1-key", "Bearer user2-key"]


@pytest.mark.parametrize("loop", LOOPS)
def test_integration_with_ai_agents(loop: str, server: FakeLLMServer, names: dict[str, Any]) -> None:
    execute(loop, blocks.PROVIDERS, names)
    assert names["response"].content == "You said: Hello!"
    get_provider = names["get_provider"]
    expected = {
        "anthropic": (AsyncAnthropicClient, "https://api.anthropic.com"),
        "openai": (AsyncOpenAICompatClient, "https://api.openai.com/v1"),
        "groq": (AsyncOpenAICompatClient, "https://api.groq.com/openai/v1"),
        "ollama": (AsyncOllamaClient, "http://127.0.0.1:11434"),
    }

    async def main() -> None:
        for name, (cls, place) in expected.items():
            model = "llama3.2" if name == "ollama" else "some-model"
            key = None if name == "ollama" else "k"
            provider = get_provider(name, api_key=key, model=model, timeout=9.0)
            assert type(provider.client) is cls
            assert (provider.client.base_url, provider.client.model, provider.client.timeout) == (place, model, 9.0)
            response = await provider.run(names["messages"], system="Be brief.", temperature=0.5)
            assert response.content == "You said: Hello!"
            assert server.asks[-1].messages[0] == ("system", "Be brief.")
            tools = [{"name": "f", "parameters": {"type": "object"}}]
            server.script(ScriptedReply(tool_calls=[ToolUse("f")]))
            assert (await provider.run(names["messages"], tools)).tool_calls[0].name == "f"
            assert "".join([text async for text in provider.stream(names["messages"])]) == "You said: Hello!"

    if loop == "asyncio":
        asyncio.run(main())
    else:
        trio.run(main)


def test_providers_by_name() -> None:
    import ai.ai_agents.providers as one
    from cloud.llm import providers as other

    assert one.get_provider is other.get_provider is cloud.llm.get_provider
    assert one.register_provider is other.register_provider
    with pytest.raises(ValueError, match="known: anthropic, .*groq, .*ollama, .*openai"):
        one.get_provider("chatgpt", api_key="k")
    for wrong in ("", "  ", None, 5):
        with pytest.raises(ValueError, match="unknown provider"):
            one.get_provider(wrong)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="non-empty"):
            one.register_provider(wrong, AsyncOpenAICompatClient)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="not callable"):
        one.register_provider("mine", "AsyncOpenAICompatClient")  # type: ignore[arg-type]
    one.register_provider(
        "Mine", lambda *, api_key, model, **options: AsyncOpenAICompatClient(api_key, model, **options)
    )
    try:
        provider = one.get_provider("mine", api_key="k", model="m", timeout=3.0)
        assert (provider.name, provider.client.timeout) == ("mine", 3.0)
        own = one.Provider("own", provider.client)
        one.register_provider("mine", lambda **_: own)
        assert one.get_provider("MINE") is own
        assert repr(own) == f"Provider('own', {provider.client!r})"
    finally:
        del other._factories["mine"]
    assert not hasattr(__import__("ai"), "__file__") or __import__("ai").__file__ is None


# -- its API reference ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CLIENTS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("by_keyword", [False, True])
def test_every_method_of_the_tables(kind: str, name: str, by_keyword: bool, server: FakeLLMServer) -> None:
    client = make(kind, name)
    tool = {"name": "f", "description": "d", "parameters": {"type": "object", "properties": {}}}
    values: dict[str, Any] = {
        "messages": [{"role": "user", "content": "Hello!"}], "model": "llama3.2" if name == "Ollama" else "m",
        "system": "Be brief.", "temperature": 0.5, "max_tokens": 50, "tools": [tool], "tool_choice": "auto",
        "model_name": "llama3.2",
    }  # fmt: skip

    async def main() -> None:
        for method, (arguments, returns) in blocks.CHAT_METHODS[name].items():
            for count in range(min(1, len(arguments)), len(arguments) + 1):
                given = {key: values[key] for key in arguments[:count]}
                made = getattr(client, method)
                result = made(**given) if by_keyword else made(*given.values())
                if returns == "AsyncIterator[str]":
                    pieces = list(result) if kind == "blocking" else [text async for text in result]
                    assert all(type(piece) is str for piece in pieces)
                    assert pieces
                    continue
                if inspect.iscoroutine(result):
                    result = await result
                shown = {"ChatResponse": ChatResponse, "None": type(None), "bool": bool, "List[str]": list}
                assert type(result) is shown[returns], method

    if kind == "trio":
        trio.run(main)
    else:
        asyncio.run(main())


def test_tool_calls_from_other_shapes() -> None:
    one = ToolCall.from_openai({"id": "1", "function": {"name": "f", "arguments": '{"a": 1}'}})
    two = ToolCall.from_anthropic({"type": "tool_use", "id": "1", "name": "f", "input": {"a": 1}})
    assert (one.id, one.name, one.arguments) == (two.id, two.name, two.arguments) == ("1", "f", {"a": 1})


# -- on real sockets, in an application's lifespan --------------------------------------------------------------------


class App:
    """As much of a web application as the lifespan protocol needs."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self.client: Any = None


@asynccontextmanager
async def lifespan(app: App) -> AsyncIterator[None]:
    app.client = AsyncOpenAICompatClient(api_key="k", model="m", base_url=app.base_url)
    yield
    await close_all_cloud_clients()


@pytest.mark.parametrize("loop", LOOPS)
def test_shutdown_in_a_lifespan(loop: str) -> None:
    async def main(server: LoopbackServer) -> None:
        for _ in range(2):
            app = App(server.base_url("openai"))
            async with lifespan(app):
                assert (await app.client.chat([{"role": "user", "content": "Hello!"}])).content
                assert server.open_connections == 1
            assert server.wait_until(lambda: server.open_connections == 0)

    with LoopbackServer() as server:
        if loop == "asyncio":
            asyncio.run(main(server))
        else:
            trio.run(main, server)


def test_shutdown_in_a_fastapi_lifespan() -> None:
    fastapi = pytest.importorskip("fastapi")
    testclient = pytest.importorskip("fastapi.testclient")
    with LoopbackServer() as server:

        @asynccontextmanager
        async def inside(app: Any) -> AsyncIterator[None]:
            app.state.client = AsyncOpenAICompatClient(api_key="k", model="m", base_url=server.base_url("openai"))
            yield
            await close_all_cloud_clients()

        app = fastapi.FastAPI(lifespan=inside)

        @app.get("/ask")
        async def ask() -> dict[str, str]:
            response = await app.state.client.chat([{"role": "user", "content": "Hello!"}])
            return {"said": response.content}

        with testclient.TestClient(app) as browser:
            assert browser.get("/ask").json() == {"said": "You said: Hello!"}
        assert server.wait_until(lambda: server.open_connections == 0)


@pytest.mark.parametrize("kind", KINDS)
def test_the_quick_starts_on_real_sockets(
    kind: str, names: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same lines with the servers' addresses from the environment."""
    with LoopbackServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url("openai"))
        monkeypatch.setenv("ANTHROPIC_BASE_URL", server.base_url("anthropic"))
        monkeypatch.setenv("OLLAMA_HOST", server.base_url("ollama"))
        for code in (blocks.OPENAI, blocks.ANTHROPIC, blocks.OLLAMA):
            execute(kind, code, names)
        assert capsys.readouterr().out.count("You said: Hello!") == 5
        assert names["response"].content == "You said: Hello!"
        from cloud import close_all_cloud_clients_sync

        close_all_cloud_clients_sync()
