"""Providers by name: a thin `run()` over the asynchronous clients.

    provider = get_provider("anthropic", api_key="...", model="...")
    response = await provider.run(messages)

`ai.ai_agents.providers` gives out the same objects.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, cast

from transports.loading import need_here

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sans_io.chat.response import ChatResponse
    from sans_io.decode.jsontext import JSON

    from .streams import AsyncChatStream

__all__ = ["Provider", "get_provider", "register_provider"]


class ProviderClient(Protocol):
    """What a provider needs of the client it wraps."""

    async def chat(self, messages: JSON, **arguments: JSON) -> ChatResponse: ...
    def chat_stream(self, messages: JSON, **arguments: JSON) -> AsyncChatStream: ...


class ProviderFactory(Protocol):
    """Makes a client, or anything with a `run()` of its own, from what `get_provider` was given."""

    def __call__(self, *, api_key: JSON, model: str | None, **options: JSON) -> object: ...


class Provider:
    """One model of one vendor. `client` is the asynchronous client underneath."""

    def __init__(self, name: str, client: ProviderClient) -> None:
        self.name = name
        self.client = client

    async def run(
        self, messages: JSON, tools: Sequence[JSON] | None = None, system: str | None = None, **chat_arguments: JSON
    ) -> ChatResponse:
        """One chat; `chat_arguments` are those of the client's `chat()`. Raises `LLMError`."""
        return await self.client.chat(messages, tools=tools, system=system, **chat_arguments)

    def stream(
        self, messages: JSON, tools: Sequence[JSON] | None = None, system: str | None = None, **chat_arguments: JSON
    ) -> AsyncChatStream:
        """The same, piece by piece: `async for text in provider.stream(messages)`."""
        return self.client.chat_stream(messages, tools=tools, system=system, **chat_arguments)

    def __repr__(self) -> str:
        return f"Provider({self.name!r}, {self.client!r})"


def get_provider(name: str, *, api_key: JSON = None, model: str | None = None, **options: JSON) -> Provider:
    """The provider of this name: "anthropic", "openai", "groq", "ollama" or a registered one.

    `options` are keyword arguments of the client's constructor. Raises `ValueError` for an unknown name, listing the
    known ones, and what the client raises (`LLMAuthError` for a missing key).
    """
    known = _known_as(name)
    factory = _factories.get(known)
    if factory is None:
        raise ValueError(f"unknown provider {name!r}; known: {', '.join(sorted(_factories))}")
    made = factory(api_key=api_key, model=model, **options)
    if isinstance(made, Provider) or hasattr(made, "run"):
        return cast("Provider", made)
    return Provider(known, cast("ProviderClient", made))


def register_provider(name: str, factory: ProviderFactory) -> None:
    """Make `get_provider(name, ...)` call `factory(api_key=..., model=..., **options)`.

    The factory returns an asynchronous client, which is wrapped, or an object with its own `run()`. A name that
    exists is replaced.
    """
    known = _known_as(name)
    if not known:
        raise ValueError("a provider's name is a string that is not empty")
    if not callable(factory):
        raise TypeError(f"the factory of provider {name!r} is not callable")
    _factories[known] = factory


def _known_as(name: object) -> str:
    return name.strip().lower() if isinstance(name, str) else ""


def _anthropic(*, api_key: JSON, model: str | None, **options: Any) -> object:
    need_here("cloud.llm.anthropic")
    from .anthropic import AsyncAnthropicClient

    return AsyncAnthropicClient(api_key, model, **options)


def _openai(*, api_key: JSON, model: str | None, **options: Any) -> object:
    need_here("cloud.llm.openai")
    from .openai import AsyncOpenAICompatClient

    return AsyncOpenAICompatClient(api_key, model, **options)


def _groq(*, api_key: JSON, model: str | None, **options: Any) -> object:
    need_here("cloud.llm.openai")
    from .openai import AsyncOpenAICompatClient

    return AsyncOpenAICompatClient(api_key, model, **{"dialect": "groq", **options})


def _ollama(*, api_key: JSON, model: str | None, **options: Any) -> object:
    need_here("cloud.llm.ollama")
    from .ollama import AsyncOllamaClient

    return AsyncOllamaClient(api_key, model, **options)


_factories: dict[str, ProviderFactory] = {
    "anthropic": _anthropic,
    "openai": _openai,
    "groq": _groq,
    "ollama": _ollama,
}
