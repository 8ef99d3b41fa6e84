"""Clients for Ollama's native API, its model management included."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

from sans_io.errors import LLMBadRequestError, LLMConnectionError, LLMTimeoutError
from transports.loading import need, need_here

from . import config
from .chatting import ChatClient
from .credentials import checked_key, forgetful
from .single_flight import AsyncPulls, SyncPulls
from .sync_async import AsyncClient, SyncClient

if TYPE_CHECKING:
    import os
    import ssl
    from collections.abc import Callable, Mapping, Sequence

    from sans_io.chat.events import PullProgress
    from sans_io.chat.response import Attempt, ChatResponse
    from sans_io.http.http11 import HTTPRequest
    from sans_io.http.proxies import Proxy
    from sans_io.http.secret import Secret
    from sans_io.http.urls import BaseURL
    from sans_io.limits import Limits
    from sans_io.policy.retry import RetryPolicy
    from sans_io.providers.ollama.codec import OllamaCodec

    from .chatting import Choosing, Messages, Tools
    from .client import Job
    from .config import Timeouts
    from .credentials import AsyncKey
    from .streams import AsyncChatStream, ChatStream

    OnProgress = Callable[[PullProgress], object]


class _Ollama(ChatClient["OllamaCodec"]):
    provider: ClassVar[str] = "ollama"

    @forgetful
    def __init__(
        self,
        api_key: AsyncKey = None,
        model: str | None = None,
        *,
        host: str | None = None,
        base_url: str | None = None,
        timeout: float | Timeouts | None = config.DEFAULT_TIMEOUT,
        max_retries: int = config.DEFAULT_MAX_RETRIES,
        headers: Mapping[str, str] | None = None,
        transport: Any = None,
        ssl_context: ssl.SSLContext | None = None,
        ca_file: str | os.PathLike[str] | None = None,
        proxy: str | Proxy | None = None,
        trust_env: bool = True,
        retry: RetryPolicy | None = None,
        isolate_credentials: bool = False,
        on_attempt: Callable[[Attempt], object] | None = None,
        limits: Limits | None = None,
    ) -> None:
        """`host` (or `base_url`, or OLLAMA_HOST) is written as Ollama's own client takes it: "host", "host:port", a
        URL; without any it is port 11434 of this machine. A key (or OLLAMA_API_KEY) is for ollama.com and proxies
        only. The other arguments are those of every client.
        """
        config.check_place(host, "host")
        if host is not None and base_url is not None:
            raise LLMBadRequestError("give host or base_url, not both: they mean the same", code="invalid_argument")
        given, what = (base_url, "base_url") if host is None else (host, "host")
        found, what = config.place(given, what, "OLLAMA_HOST")
        place = _place(found or "", what)
        key, variable = checked_key(api_key, ("OLLAMA_API_KEY",))
        self._configure(
            base_url=place,
            key=key,
            key_variable=variable,
            model=model,
            default_model=config.DEFAULT_OLLAMA_MODEL,
            timeout=timeout,
            max_retries=max_retries,
            headers=headers,
            transport=transport,
            ssl_context=ssl_context,
            ca_file=ca_file,
            proxy=proxy,
            trust_env=trust_env,
            retry=retry,
            isolate_credentials=isolate_credentials,
            on_attempt=on_attempt,
            limits=limits,
        )

    def with_options(self, **changes: Any) -> Self:
        """A client of the same class with these constructor arguments changed; it shares pool and retry budget."""
        if "host" in changes and "base_url" not in changes:
            changes["base_url"] = changes.pop("host")
        return super().with_options(**changes)

    def build_request(
        self,
        messages: Messages,
        model: str | None = None,
        system: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        tools: Tools | None = None,
        tool_choice: Choosing | None = None,
        *,
        stream: bool = False,
        top_p: float | None = None,
        stop: str | Sequence[str] | None = None,
        seed: int | None = None,
        response_format: Choosing | None = None,
        reasoning_effort: str | None = None,
        parallel_tool_calls: bool | None = None,
        n: int | None = None,
        extra_body: Mapping[str, Any] | None = None,
        extra_headers: Mapping[str, str] | None = None,
        timeout: float | Timeouts | None = None,
        max_retries: int | None = None,
    ) -> HTTPRequest:
        """The request that `chat()` (with `stream`: `chat_stream()`) would send; its repr shows no key."""
        job = self._chat(
            stream, messages, model, system, temperature, max_tokens, tools, tool_choice, top_p, stop, seed,
            response_format, reasoning_effort, parallel_tool_calls, n, extra_body, extra_headers, timeout, max_retries,
        )  # fmt: skip
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
        raise LLMBadRequestError("model_name must be a string that is not empty", code="invalid_argument")
    return full_model_name(model_name.strip())


_pulls: Final = SyncPulls()
_async_pulls: Final = AsyncPulls()


class OllamaClient(_Ollama, SyncClient["OllamaCodec"]):
    """Blocking client for an Ollama server, by default the one on this machine.

    `client = OllamaClient(model="qwen2.5:3b"); client.ensure_model("qwen2.5:3b"); client.chat(messages)`
    """

    def chat(
        self,
        messages: Messages,
        model: str | None = None,
        system: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        tools: Tools | None = None,
        tool_choice: Choosing | None = None,
        *,
        top_p: float | None = None,
        stop: str | Sequence[str] | None = None,
        seed: int | None = None,
        response_format: Choosing | None = None,
        reasoning_effort: str | None = None,
        parallel_tool_calls: bool | None = None,
        n: int | None = None,
        extra_body: Mapping[str, Any] | None = None,
        extra_headers: Mapping[str, str] | None = None,
        timeout: float | Timeouts | None = None,
        max_retries: int | None = None,
    ) -> ChatResponse:
        """One chat, whole. Raises `LLMError`; arguments are checked before anything is sent."""
        job = self._chat(
            False, messages, model, system, temperature, max_tokens, tools, tool_choice, top_p, stop, seed,
            response_format, reasoning_effort, parallel_tool_calls, n, extra_body, extra_headers, timeout, max_retries,
        )  # fmt: skip
        return self._run(job)

    def chat_stream(
        self,
        messages: Messages,
        model: str | None = None,
        system: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        tools: Tools | None = None,
        tool_choice: Choosing | None = None,
        *,
        top_p: float | None = None,
        stop: str | Sequence[str] | None = None,
        seed: int | None = None,
        response_format: Choosing | None = None,
        reasoning_effort: str | None = None,
        parallel_tool_calls: bool | None = None,
        n: int | None = None,
        extra_body: Mapping[str, Any] | None = None,
        extra_headers: Mapping[str, str] | None = None,
        timeout: float | Timeouts | None = None,
        max_retries: int | None = None,
    ) -> ChatStream:
        """The same, piece by piece. Nothing is sent before the first pull."""
        job = self._chat(
            True, messages, model, system, temperature, max_tokens, tools, tool_choice, top_p, stop, seed,
            response_format, reasoning_effort, parallel_tool_calls, n, extra_body, extra_headers, timeout, max_retries,
        )  # fmt: skip
        return self._open(job)

    def is_available(self) -> bool:
        """Whether an Ollama server answers, asked once and within 2 s. Errors other than no answer raise."""
        try:
            self._run(self._probe())
        except (LLMConnectionError, LLMTimeoutError):
            return False
        return True

    def has_model(self, model_name: str) -> bool:
        """Whether the model is installed; "llama3.2" means "llama3.2:latest"."""
        return _full_name(model_name) in map(_full_name, self.list_models())

    def pull_model(self, model_name: str, on_progress: OnProgress | None = None) -> bool:
        """Download a model, or what is new of it. True, or an `LLMError`.

        Whoever asks for the same model meanwhile waits for the same download. No limit on the whole; each caller's
        `timeout` bounds its time between two signs of progress.
        """
        job, identity = self._pull(model_name)
        return _pulls.join(identity, job, lambda: self._begin(job), on_progress)

    def ensure_model(self, model_name: str, on_progress: OnProgress | None = None) -> bool:
        """Download the model unless it is installed. True, or an `LLMError`."""
        return self.has_model(model_name) or self.pull_model(model_name, on_progress)


class AsyncOllamaClient(_Ollama, AsyncClient["OllamaCodec"]):
    """`OllamaClient` for asyncio and trio: the same methods, to be awaited."""

    async def chat(
        self,
        messages: Messages,
        model: str | None = None,
        system: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        tools: Tools | None = None,
        tool_choice: Choosing | None = None,
        *,
        top_p: float | None = None,
        stop: str | Sequence[str] | None = None,
        seed: int | None = None,
        response_format: Choosing | None = None,
        reasoning_effort: str | None = None,
        parallel_tool_calls: bool | None = None,
        n: int | None = None,
        extra_body: Mapping[str, Any] | None = None,
        extra_headers: Mapping[str, str] | None = None,
        timeout: float | Timeouts | None = None,
        max_retries: int | None = None,
    ) -> ChatResponse:
        """One chat, whole. Raises `LLMError`; arguments are checked before anything is sent."""
        job = self._chat(
            False, messages, model, system, temperature, max_tokens, tools, tool_choice, top_p, stop, seed,
            response_format, reasoning_effort, parallel_tool_calls, n, extra_body, extra_headers, timeout, max_retries,
        )  # fmt: skip
        return await self._run(job)

    def chat_stream(
        self,
        messages: Messages,
        model: str | None = None,
        system: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        tools: Tools | None = None,
        tool_choice: Choosing | None = None,
        *,
        top_p: float | None = None,
        stop: str | Sequence[str] | None = None,
        seed: int | None = None,
        response_format: Choosing | None = None,
        reasoning_effort: str | None = None,
        parallel_tool_calls: bool | None = None,
        n: int | None = None,
        extra_body: Mapping[str, Any] | None = None,
        extra_headers: Mapping[str, str] | None = None,
        timeout: float | Timeouts | None = None,
        max_retries: int | None = None,
    ) -> AsyncChatStream:
        """The same, piece by piece. Nothing is sent before the first pull."""
        job = self._chat(
            True, messages, model, system, temperature, max_tokens, tools, tool_choice, top_p, stop, seed,
            response_format, reasoning_effort, parallel_tool_calls, n, extra_body, extra_headers, timeout, max_retries,
        )  # fmt: skip
        return self._open(job)

    async def is_available(self) -> bool:
        """Whether an Ollama server answers, asked once and within 2 s. Errors other than no answer raise."""
        try:
            await self._run(self._probe())
        except (LLMConnectionError, LLMTimeoutError):
            return False
        return True

    async def has_model(self, model_name: str) -> bool:
        """Whether the model is installed; "llama3.2" means "llama3.2:latest"."""
        return _full_name(model_name) in map(_full_name, await self.list_models())

    async def pull_model(self, model_name: str, on_progress: OnProgress | None = None) -> bool:
        """Download a model, or what is new of it. True, or an `LLMError`.

        Whoever asks for the same model meanwhile waits for the same download. No limit on the whole; each caller's
        `timeout` bounds its time between two signs of progress.
        """
        job, identity = self._pull(model_name)
        return await _async_pulls.join(identity, job, lambda: self._begin(job), on_progress)

    async def ensure_model(self, model_name: str, on_progress: OnProgress | None = None) -> bool:
        """Download the model unless it is installed. True, or an `LLMError`."""
        return await self.has_model(model_name) or await self.pull_model(model_name, on_progress)
