"""Clients for Anthropic's Messages API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from sans_io.errors import LLMBadRequestError
from sans_io.http.secret import Secret
from transports.loading import need

from . import config
from .chatting import ChatClient
from .credentials import checked_key, forgetful, missing_key
from .sync_async import AsyncClient, SyncClient

if TYPE_CHECKING:
    import os
    import ssl
    from collections.abc import Callable, Mapping, Sequence

    from sans_io.chat.response import Attempt, ChatResponse
    from sans_io.http.http11 import HTTPRequest
    from sans_io.http.proxies import Proxy
    from sans_io.limits import Limits
    from sans_io.policy.retry import RetryPolicy
    from sans_io.providers.anthropic.codec import AnthropicCodec

    from .chatting import Choosing, Messages, Tools
    from .config import Timeouts
    from .credentials import AsyncKey, Key
    from .streams import AsyncChatStream, ChatStream

BASE_URL = "https://api.anthropic.com"


class _Anthropic(ChatClient["AnthropicCodec"]):
    provider: ClassVar[str] = "anthropic"

    @forgetful
    def __init__(
        self,
        api_key: AsyncKey = None,
        model: str | None = None,
        *,
        base_url: str | None = None,
        timeout: float | Timeouts | None = config.DEFAULT_TIMEOUT,
        max_retries: int = config.DEFAULT_MAX_RETRIES,
        api_version: str | None = None,
        auth_token: AsyncKey = None,
        betas: Sequence[str] = (),
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
        """`api_key` (or ANTHROPIC_API_KEY) is sent as `x-api-key`, `auth_token` (or ANTHROPIC_AUTH_TOKEN) as a bearer
        token; both may be callables. `api_version` pins the `anthropic-version` field, which is otherwise chosen for
        each request. `betas` go into `anthropic-beta`. The other arguments are those of every client.
        """
        found, what = config.place(base_url, "base_url", "ANTHROPIC_BASE_URL")
        place = config.parsed_base_url(BASE_URL if found is None else found, what)
        config.check_place(api_version, "api_version")
        key, variable, self._is_token = _credential(api_key, auth_token)
        if key is None and place.origin.host.endswith("anthropic.com"):
            raise missing_key("anthropic", ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"), "api_key= or auth_token=")
        self._api_version = api_version
        self._betas = (betas,) if isinstance(betas, str) else tuple(betas)
        self._configure(
            base_url=place,
            key=key,
            key_variable=variable,
            model=model,
            default_model=config.DEFAULT_ANTHROPIC_MODEL,
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

    def _new_codec(self, key: Secret | None, limits: Limits) -> AnthropicCodec:
        need("sans_io.providers.anthropic.codec")
        from sans_io.providers.anthropic.codec import AnthropicCodec

        return AnthropicCodec(
            self._base_url,
            credential=None if self._is_token else key,
            auth_token=key if self._is_token else None,
            api_version=self._api_version,
            betas=self._betas,
            headers=self._headers,
            limits=limits,
        )

    def _arguments(self) -> dict[str, Any]:
        arguments: dict[str, Any] = {"api_version": self._api_version, "betas": self._betas}
        if self._is_token:
            arguments |= {"api_key": None, "auth_token": self._key}
        return arguments


def _credential(api_key: AsyncKey, auth_token: AsyncKey) -> tuple[Key, str | None, bool]:
    """The credential, the variable it came from, and whether it is a bearer token. What is given wins."""
    if api_key and auth_token:
        raise LLMBadRequestError("give api_key or auth_token, not both", code="invalid_argument")
    if auth_token:
        return (*checked_key(auth_token, ()), True)
    key, variable = checked_key(api_key, ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"))
    return key, variable, variable == "ANTHROPIC_AUTH_TOKEN"


class AnthropicClient(_Anthropic, SyncClient["AnthropicCodec"]):
    """Blocking client for Anthropic. `AnthropicClient(api_key="sk-ant-...").chat(messages, system="Be brief.")`.

    Requests always carry `max_tokens`: 8,192 unless given.
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


class AsyncAnthropicClient(_Anthropic, AsyncClient["AnthropicCodec"]):
    """`AnthropicClient` for asyncio and trio: the same methods, to be awaited."""

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
