"""Clients for Ollama's native API, its model management included."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self, Unpack

from sans_io.errors import LLMBadRequestError, LLMConnectionError, LLMTimeoutError
from transports.loading import need, need_here

from . import config
from .chatting import ChatClient
from .credentials import checked_key, forgetful
from .options import ClientOptions, documented, documented_constructor
from .single_flight import AsyncPulls, SyncPulls
from .sync_async import AsyncClient, SyncClient

if TYPE_CHECKING:
    from collections.abc import Callable

    from sans_io.chat.events import PullProgress
    from sans_io.chat.response import ChatResponse
    from sans_io.http.http11 import HTTPRequest
    from sans_io.http.secret import Secret
    from sans_io.http.urls import BaseURL
    from sans_io.limits import Limits
    from sans_io.providers.ollama.codec import OllamaCodec

    from .chatting import Choosing, Messages, System, Tools
    from .client import Job
    from .credentials import AsyncKey
    from .options import CallOptions
    from .streams import AsyncChatStream, ChatStream

    OnProgress = Callable[[PullProgress], object]


class OllamaOptions(ClientOptions, total=False):
    """The arguments of the constructor, as `with_options()` takes them."""

    api_key: AsyncKey
    model: str | None
    base_url: str | None
    host: str | None


class _Ollama(ChatClient["OllamaCodec"]):
    provider: ClassVar[str] = "ollama"

    @forgetful
    @documented_constructor
    def __init__(
        self,
        api_key: AsyncKey = None,
        model: str | None = None,
        *,
        host: str | None = None,
        base_url: str | None = None,
        **options: Unpack[ClientOptions],
    ) -> None:
        """`host` (or `base_url`, or OLLAMA_HOST) is written as Ollama's own client takes it: "host", "host:port", a
        URL; without any it is port 11434 of this machine. A key (or OLLAMA_API_KEY) is for ollama.com and proxies
        only. `model` is the default of each call.
        """
        settings = self._settings(options)
        config.check_place(host, "host")
        if host is not None and base_url is not None:
            raise LLMBadRequestError("give host or base_url, not both: they mean the same", code="invalid_argument")
        given, what = (base_url, "base_url") if host is None else (host, "host")
        found, what = config.place(given, what, "OLLAMA_HOST")
        place = _place(found or "", what)
        key, variable = checked_key(api_key, ("OLLAMA_API_KEY",))
        self._configure(
            settings,
            base_url=place,
            key=key,
            key_variable=variable,
            model=model,
            default_model=config.DEFAULT_OLLAMA_MODEL,
        )

    @forgetful
    def with_options(self, **changes: Unpack[OllamaOptions]) -> Self:
        """A client of the same class with these constructor arguments changed; it shares pool and retry budget.

        Everything else stays as it is, the key included; one that was read from the environment is read again where the
        change leads to another vendor. Raises what the constructor raises.
        """
        if "host" in changes and "base_url" not in changes:
            changes["base_url"] = changes.pop("host")
        return self._with_options(changes)

    @documented("ollama")
    def build_request(
        self,
        messages: Messages,
        model: str | None = None,
        system: System | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        tools: Tools | None = None,
        tool_choice: Choosing | None = None,
        *,
        stream: bool = False,
        **options: Unpack[CallOptions],
    ) -> HTTPRequest:
        """The request that `chat()` would send (with `stream`: `chat_stream()`); its repr shows no key."""
        job = self._chat(
            "build_request", stream, messages, model, system, temperature, max_tokens, tools, tool_choice, options
        )
        return self._request_of(job)

    def _new_codec(self, key: Secret | None, limits: Limits) -> OllamaCodec:
        need("sans_io.providers.ollama.codec")
        from sans_io.providers.ollama.codec import OllamaCodec

        return OllamaCodec(self._base_url, credential=key, headers=self._headers, limits=limits)

    def _arguments(self) -> dict[str, Any]:
        return {}

    def _probe(self) -> Job[OllamaCodec]:
        return self._job(
            lambda codec: codec.version_operation(), timers=config.probe_timers(self._timeout), max_retries=0
        )

    def _pull(self, model_name: str) -> tuple[Job[OllamaCodec], tuple[str, str]]:
        """The download of a model, and what makes it the same as another client's."""
        name = _full_name(model_name)
        job = self._job(
            lambda codec: codec.pull_operation(name), stream=True, timers=config.progress_timers(self._timeout)
        )
        return job, (str(self._base_url), name)


@lru_cache(maxsize=256)
def _place(text: str, what: str) -> BaseURL:
    need_here("sans_io.providers.ollama.codec")
    from sans_io.providers.ollama.codec import parse_ollama_host

    return config.parsed_base_url(parse_ollama_host(text), what)


def _full_name(model_name: object) -> str:
    need("sans_io.providers.ollama.codec")
    from sans_io.providers.ollama.codec import full_model_name

    if not isinstance(model_name, str) or not model_name.strip():
        raise LLMBadRequestError("model_name must be a non-empty string", code="invalid_argument")
    return full_model_name(model_name.strip())


_pulls: Final = SyncPulls()
_async_pulls: Final = AsyncPulls()


class OllamaClient(_Ollama, SyncClient["OllamaCodec"]):
    """Blocking client for an Ollama server, by default the one on this machine.

    `client = OllamaClient(model="qwen2.5:3b"); client.ensure_model("qwen2.5:3b"); client.chat(messages)`
    """

    @documented("ollama")
    def chat(
        self,
        messages: Messages,
        model: str | None = None,
        system: System | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        tools: Tools | None = None,
        tool_choice: Choosing | None = None,
        **options: Unpack[CallOptions],
    ) -> ChatResponse:
        """Send the conversation and return the whole answer."""
        job = self._chat("chat", False, messages, model, system, temperature, max_tokens, tools, tool_choice, options)
        return self._run(job)

    @documented("ollama")
    def chat_stream(
        self,
        messages: Messages,
        model: str | None = None,
        system: System | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        tools: Tools | None = None,
        tool_choice: Choosing | None = None,
        **options: Unpack[CallOptions],
    ) -> ChatStream:
        """Send the conversation and return its answer as a stream: `for text in ...`. Nothing is sent before that."""
        job = self._chat(
            "chat_stream", True, messages, model, system, temperature, max_tokens, tools, tool_choice, options
        )
        return self._open(job)

    def is_available(self) -> bool:
        """Whether an Ollama server answers, asked once and within 2 seconds (or the client's timeout, if that is less).

        False for no connection and no answer; any other failure raises its `LLMError`.
        """
        try:
            self._run(self._probe())
        except (LLMConnectionError, LLMTimeoutError):
            return False
        return True

    def has_model(self, model_name: str) -> bool:
        """Whether the model is installed on the server; "llama3.2" means "llama3.2:latest". Raises `LLMError`."""
        return _full_name(model_name) in map(_full_name, self.list_models())

    def pull_model(self, model_name: str, on_progress: OnProgress | None = None) -> bool:
        """Download a model, or what is new of it. True, or an `LLMError` (`LLMNotFoundError`: no such model).

        `model_name` is like "llama3.2" or "qwen2.5:3b". `on_progress` is called with a `PullProgress` (status, digest,
        and total and completed in bytes) for each step. Whoever asks for the same model meanwhile waits for the same
        download. No limit on the whole; the `timeout` of each caller bounds its seconds between two signs of progress.
        """
        job, identity = self._pull(model_name)
        return _pulls.join(identity, job, lambda: self._begin(job), on_progress)

    def ensure_model(self, model_name: str, on_progress: OnProgress | None = None) -> bool:
        """`pull_model()` unless the model is installed. Returns True, or raises an `LLMError`."""
        return self.has_model(model_name) or self.pull_model(model_name, on_progress)


class AsyncOllamaClient(_Ollama, AsyncClient["OllamaCodec"]):
    """`OllamaClient` for asyncio and trio: the same methods, to be awaited."""

    @documented("ollama")
    async def chat(
        self,
        messages: Messages,
        model: str | None = None,
        system: System | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        tools: Tools | None = None,
        tool_choice: Choosing | None = None,
        **options: Unpack[CallOptions],
    ) -> ChatResponse:
        """Send the conversation and return the whole answer."""
        job = self._chat("chat", False, messages, model, system, temperature, max_tokens, tools, tool_choice, options)
        return await self._run(job)

    @documented("ollama")
    def chat_stream(
        self,
        messages: Messages,
        model: str | None = None,
        system: System | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        tools: Tools | None = None,
        tool_choice: Choosing | None = None,
        **options: Unpack[CallOptions],
    ) -> AsyncChatStream:
        """Send the conversation and return its answer as a stream: `for text in ...`. Nothing is sent before that."""
        job = self._chat(
            "chat_stream", True, messages, model, system, temperature, max_tokens, tools, tool_choice, options
        )
        return self._open(job)

    async def is_available(self) -> bool:
        """Whether an Ollama server answers, asked once and within 2 seconds (or the client's timeout, if that is less).

        False for no connection and no answer; any other failure raises its `LLMError`.
        """
        try:
            await self._run(self._probe())
        except (LLMConnectionError, LLMTimeoutError):
            return False
        return True

    async def has_model(self, model_name: str) -> bool:
        """Whether the model is installed on the server; "llama3.2" means "llama3.2:latest". Raises `LLMError`."""
        return _full_name(model_name) in map(_full_name, await self.list_models())

    async def pull_model(self, model_name: str, on_progress: OnProgress | None = None) -> bool:
        """Download a model, or what is new of it. True, or an `LLMError` (`LLMNotFoundError`: no such model).

        `model_name` is like "llama3.2" or "qwen2.5:3b". `on_progress` is called with a `PullProgress` (status, digest,
        and total and completed in bytes) for each step. Whoever asks for the same model meanwhile waits for the same
        download. No limit on the whole; the `timeout` of each caller bounds its seconds between two signs of progress.
        """
        job, identity = self._pull(model_name)
        return await _async_pulls.join(identity, job, lambda: self._begin(job), on_progress)

    async def ensure_model(self, model_name: str, on_progress: OnProgress | None = None) -> bool:
        """`pull_model()` unless the model is installed. Returns True, or raises an `LLMError`."""
        return await self.has_model(model_name) or await self.pull_model(model_name, on_progress)
