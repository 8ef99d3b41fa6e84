"""Clients for Anthropic's Messages API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final, Self, Unpack

from sans_io.errors import LLMBadRequestError
from sans_io.http.secret import Secret
from sans_io.providers.registry import DIALECTS, dialect_for
from transports.loading import need

from . import config
from .chatting import ChatClient
from .credentials import brings_credential, checked_key, forgetful, missing_key
from .options import ClientOptions, documented, documented_constructor
from .sync_async import AsyncClient, SyncClient

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sans_io.chat.response import ChatResponse
    from sans_io.http.http11 import HTTPRequest
    from sans_io.limits import Limits
    from sans_io.providers.anthropic.codec import AnthropicCodec

    from .chatting import Choosing, Messages, System, Tools
    from .credentials import AsyncKey, Key
    from .options import CallOptions
    from .streams import AsyncChatStream, ChatStream

_ROW: Final = DIALECTS["anthropic"]


class AnthropicOptions(ClientOptions, total=False):
    """The arguments of the constructor, as `with_options()` takes them."""

    api_key: AsyncKey
    model: str | None
    base_url: str | None
    api_version: str | None
    auth_token: AsyncKey
    betas: Sequence[str]


class _Anthropic(ChatClient["AnthropicCodec"]):
    provider: ClassVar[str] = "anthropic"

    @forgetful
    @documented_constructor
    def __init__(
        self,
        api_key: AsyncKey = None,
        model: str | None = None,
        *,
        base_url: str | None = None,
        api_version: str | None = None,
        auth_token: AsyncKey = None,
        betas: Sequence[str] = (),
        **options: Unpack[ClientOptions],
    ) -> None:
        """`api_key` (or ANTHROPIC_API_KEY) is sent as `x-api-key`, `auth_token` (or ANTHROPIC_AUTH_TOKEN) as a bearer
        token; both may be callables. `api_version` pins the `anthropic-version` field, which is otherwise chosen for
        each request. `betas` go into `anthropic-beta`. `model` is the default of each call. Without `base_url` requests
        go to ANTHROPIC_BASE_URL, else to api.anthropic.com.
        """
        settings = self._settings(options)
        found, what = config.place(base_url, "base_url", "ANTHROPIC_BASE_URL")
        place = config.parsed_base_url(_ROW.base_url or "" if found is None else found, what)
        config.check_place(api_version, "api_version")
        key, variable, self._is_token = _credential(api_key, auth_token)
        if key is None and dialect_for(place, "anthropic").needs_key and not brings_credential(settings["headers"]):
            raise missing_key("anthropic", ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"), "api_key= or auth_token=")
        self._api_version = api_version
        self._betas = (betas,) if isinstance(betas, str) else tuple(betas)
        self._configure(
            settings,
            base_url=place,
            key=key,
            key_variable=variable,
            model=model,
            default_model=config.DEFAULT_ANTHROPIC_MODEL,
        )

    @forgetful
    def with_options(self, **changes: Unpack[AnthropicOptions]) -> Self:
        """A client of the same class with these constructor arguments changed; it shares pool and retry budget.

        Everything else stays as it is, the key included; one that was read from the environment is read again where the
        change leads to another vendor. Raises what the constructor raises.
        """
        return self._with_options(changes)

    @documented("anthropic")
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

    @documented("anthropic")
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

    @documented("anthropic")
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


class AsyncAnthropicClient(_Anthropic, AsyncClient["AnthropicCodec"]):
    """`AnthropicClient` for asyncio and trio: the same methods, to be awaited."""

    @documented("anthropic")
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

    @documented("anthropic")
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
