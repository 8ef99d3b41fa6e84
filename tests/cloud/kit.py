"""One scenario, written once, performed by blocking clients, on asyncio and on trio, over memory or real sockets.

async def scenario(client):                 # `client` is awaited in every mode
    response = await client.chat(...)

perform(mode, scenario, "openai", transport=...)
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Self

import trio

import cloud.llm
from sans_io.http.urls import parse_base_url
from sans_io.providers import registry
from transports.testing import AsyncScriptedTransport, FakeClock, FakeLLMServer, ScriptedReply, ScriptedTransport
from transports.testing.servers.served import served

MODES = ("blocking", "asyncio", "trio")
WIRES = tuple(registry.WIRES)
BLOCKING: dict[str, Any] = {wire.name: getattr(cloud.llm, wire.clients[0]) for wire in registry.WIRES.values()}
AWAITED: dict[str, Any] = {wire.name: getattr(cloud.llm, wire.clients[1]) for wire in registry.WIRES.values()}
HELLO = [{"role": "user", "content": "Hello!"}]
#: Where scripted transports pretend to be, and a model every scripted server has.
PLACES = {
    wire: f"http://127.0.0.1:9{parse_base_url(registry.DIALECTS[wire].base_url or '').path}" for wire in registry.WIRES
}
MODELS = {wire: served(wire).models[-1 if wire == "ollama" else 0] for wire in WIRES}


class Awaited:
    """A blocking client or stream behind the interface of its asynchronous twin."""

    def __init__(self, blocking: Any) -> None:
        self.blocking = blocking

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.blocking, name)
        if name in {"chat_stream", "events", "with_options"}:
            return lambda *args, **kwargs: Awaited(value(*args, **kwargs))
        if name in {
            "chat", "list_models", "until_done", "is_available", "has_model", "pull_model", "ensure_model",
            "show_model", "running_models", "load_model", "unload_model", "copy_model", "delete_model", "create_model",
            "create_blob",
        }:  # fmt: skip
            return lambda *args, **kwargs: _later(value, *args, **kwargs)
        return value

    async def close(self) -> None:
        self.blocking.close()

    aclose = close

    async def __aenter__(self) -> Self:
        return type(self)(self.blocking.__enter__())

    async def __aexit__(self, *exc: object) -> None:
        self.blocking.__exit__(*exc)

    def __aiter__(self) -> Awaited:
        return self

    async def __anext__(self) -> Any:
        try:
            return next(self.blocking)
        except StopIteration:
            raise StopAsyncIteration from None


async def _later(value: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return value(*args, **kwargs)


def run(mode: str, function: Callable[..., Awaitable[Any]], *args: Any) -> Any:
    """Run an async function: on a loop, or, where nothing really waits, without one."""
    if mode == "asyncio":
        return asyncio.run(function(*args))  # type: ignore[arg-type]
    if mode == "trio":
        return trio.run(function, *args)
    coroutine: Any = function(*args)
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("a blocking scenario waited")


def make(mode: str, wire: str, **options: Any) -> Any:
    """A client for this mode that can be awaited in it."""
    if mode == "blocking":
        return Awaited(BLOCKING[wire](**options))
    return AWAITED[wire](**options)


def scripted(mode: str, *replies: ScriptedReply, clock: FakeClock | None = None, **options: Any) -> Any:
    """A transport in memory whose server answers with these, then by itself."""
    server = FakeLLMServer(**options)
    server.script(*replies)
    return (ScriptedTransport if mode == "blocking" else AsyncScriptedTransport)(server, clock)


def perform(mode: str, scenario: Callable[[Any], Awaitable[Any]], wire: str = "openai", **options: Any) -> Any:
    """Make the client inside the run, and let the scenario use it."""

    async def inside() -> Any:
        options.setdefault("api_key", "sk-test-key")
        options.setdefault("base_url", PLACES[wire])
        return await scenario(make(mode, wire, **options))

    return run(mode, inside)
