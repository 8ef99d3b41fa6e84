"""Providers by name: a thin `run()` over the asynchronous clients.

    provider = get_provider("anthropic", api_key="...", model="...")
    response = await provider.run(messages)

`ai.ai_agents.providers` gives out the same objects.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, cast

from sans_io.providers.registry import DIALECTS, spoken
from transports.loading import need_here

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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
    """The provider of this name: a registered one, or any dialect ("anthropic", "openai", "groq", "ollama", ...).

    A vendor with a wire of its own is asked on that one; "ollama-openai" asks it on OpenAI's. "groq/llama-4" names the
    model too, and ends at the first slash. `options` are keyword arguments of the client's constructor. Raises
    `ValueError` for an unknown name, listing the known ones, and what the client raises (`LLMAuthError` for a missing
    key).
    """
    known, slash, _ = _known_as(name).partition("/")
    factory = _factories.get(known) or client_of(known, awaited=True)
    if factory is None:
        from difflib import get_close_matches

        close = get_close_matches(known, _names(), 1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise ValueError(f"unknown provider {name!r}; {hint}known: {', '.join(_names())}")
    if slash:
        if model is not None:
            raise ValueError(f"model is given twice: {_model_in(name)!r} in the name, and {model!r}")
        model = _model_in(name)
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
    if not known or "/" in known:
        raise ValueError("a provider's name must be a non-empty string without a slash")
    if not callable(factory):
        raise TypeError(f"the factory of provider {name!r} is not callable")
    _factories[known] = factory


def _known_as(name: object) -> str:
    return name.strip().lower() if isinstance(name, str) else ""


def _model_in(name: str) -> str:
    return name.partition("/")[2].strip()


def _names() -> list[str]:
    return sorted({*_factories, *DIALECTS, *(f"{row.name}-{wire}" for row in DIALECTS.values() for wire in row.places)})


def client_of(name: str, *, awaited: bool) -> Callable[..., object] | None:
    """What makes the client of a dialect's own wire, or of the wire named behind a hyphen; None for an unknown name."""
    found = spoken(name)
    if found is None:
        return None
    row, wire = found

    def make(*, api_key: JSON = None, model: str | None = None, **options: Any) -> object:
        need_here(f"cloud.llm.{wire.name}")
        client = getattr(import_module(f"cloud.llm.{wire.name}"), wire.clients[awaited])
        if wire.name == "openai" and row.name != "openai":
            options.setdefault("dialect", row.name)
        return client(api_key=api_key, model=model, **options)

    return make


_factories: dict[str, ProviderFactory] = {}
