"""Clients for OpenAI's chat completions wire, whoever speaks it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final, Self, Unpack

from sans_io.errors import LLMBadRequestError
from sans_io.providers.registry import DIALECTS, Dialect, dialect_for
from sans_io.records import replace
from transports.loading import need

from . import config
from .chatting import ChatClient
from .credentials import brings_credential, checked_key, forgetful, missing_key
from .options import ClientOptions, documented, documented_constructor
from .sync_async import AsyncClient, SyncClient

if TYPE_CHECKING:
    from sans_io.chat.response import ChatResponse
    from sans_io.http.http11 import HTTPRequest
    from sans_io.http.secret import Secret
    from sans_io.http.urls import BaseURL
    from sans_io.limits import Limits
    from sans_io.providers.openai_chat.codec import OpenAICodec

    from .chatting import Choosing, Messages, System, Tools
    from .credentials import AsyncKey
    from .options import CallOptions
    from .streams import AsyncChatStream, ChatStream

#: The variable for servers that have none of their own: what people set for a gateway or a local server.
_COMMON_KEY: Final = ("OPENAI_API_KEY",)
#: A token from Microsoft Entra, which is sent as a bearer token and wins over a key (as in OpenAI's own SDK).
_AZURE_TOKEN: Final = "AZURE_OPENAI_AD_TOKEN"  # noqa: S105 - the name of a variable

#: Whatever listens on this machine is most likely llama.cpp with its one model, on a port of the user's choice.
_LOCAL: Final = replace(DIALECTS["generic"], needs_model=False)


class OpenAIOptions(ClientOptions, total=False):
    """The arguments of the constructor, as `with_options()` takes them."""

    api_key: AsyncKey
    model: str | None
    base_url: str | None
    organization: str | None
    project: str | None
    api_version: str | None
    dialect: str | Dialect | None


class _OpenAI(ChatClient["OpenAICodec"]):
    provider: ClassVar[str] = "openai"

    @forgetful
    @documented_constructor
    def __init__(
        self,
        api_key: AsyncKey = None,
        model: str | None = None,
        *,
        base_url: str | None = None,
        organization: str | None = None,
        project: str | None = None,
        api_version: str | None = None,
        dialect: str | Dialect | None = None,
        **options: Unpack[ClientOptions],
    ) -> None:
        """`api_key` (or the variable of the dialect: OPENAI_API_KEY, GROQ_API_KEY, AZURE_OPENAI_API_KEY, ...) is a
        string, or a callable that is asked before each request and once more after a 401. `model` is the default of
        each call. Without `base_url` (where the API begins, as in "https://host/v1") requests go to OPENAI_BASE_URL,
        else to the dialect's own place. `dialect` is the name of a server's way to speak this wire ("openai", "azure",
        "groq", "vllm", ...), chosen from the host when omitted. `api_version` chooses Azure's deployment style, where
        `model` names the deployment; below a URL that ends in /v1 it is only sent along. `organization` and `project`
        (OPENAI_ORG_ID, OPENAI_PROJECT_ID) are headers of OpenAI's.
        """
        settings = self._settings(options)
        chosen = _named(dialect)
        config.check_place(api_version, "api_version")
        if chosen is None and api_version is not None:
            chosen = DIALECTS["azure"]
        place = _place(base_url, chosen)
        if api_version is not None and place.parameter("api-version") not in (None, api_version):
            raise LLMBadRequestError(
                "api_version and the api-version in base_url differ: leave one of them out", code="invalid_argument"
            )
        self._dialect = chosen = chosen or _spoken_at(place)
        if chosen.azure and not callable(api_key) and not api_key and config.from_environment(_AZURE_TOKEN):
            key, variable = checked_key(None, (_AZURE_TOKEN,))
        else:
            key, variable = checked_key(api_key, chosen.key_variables or _COMMON_KEY)
        self._is_token = chosen.azure and (variable == _AZURE_TOKEN or callable(key))
        if (
            key is None
            and chosen.needs_key
            and not place.origin.is_loopback
            and not brings_credential(settings["headers"])
        ):
            raise missing_key(chosen.name, chosen.key_variables)
        self._dialect_given = dialect
        self._organization, self._project, self._api_version = organization, project, api_version
        if chosen.name == "openai":
            self._organization = organization or config.from_environment("OPENAI_ORG_ID")
            self._project = project or config.from_environment("OPENAI_PROJECT_ID")
        elif chosen.azure and api_version is None and not _says_version(place):
            self._api_version = config.from_environment("OPENAI_API_VERSION")
        self._configure(
            settings,
            base_url=place,
            key=key,
            key_variable=variable,
            model=model,
            default_model=config.DEFAULT_OPENAI_MODEL if chosen.name == "openai" else None,
        )

    @property
    def dialect(self) -> str:
        """The name of the dialect that is spoken."""
        return self._dialect.name

    @forgetful
    def with_options(self, **changes: Unpack[OpenAIOptions]) -> Self:
        """A client of the same class with these constructor arguments changed; it shares pool and retry budget.

        Everything else stays as it is, the key included; one that was read from the environment is read again where the
        change leads to another vendor. Raises what the constructor raises.
        """
        return self._with_options(changes)

    @documented("openai")
    def build_request(
        self,
        messages: Messages,
        model: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        tools: Tools | None = None,
        tool_choice: Choosing | None = None,
        *,
        stream: bool = False,
        system: System | None = None,
        **options: Unpack[CallOptions],
    ) -> HTTPRequest:
        """The request that `chat()` would send (with `stream`: `chat_stream()`); its repr shows no key."""
        job = self._chat(
            "build_request", stream, messages, model, system, temperature, max_tokens, tools, tool_choice, options
        )
        return self._request_of(job)

    def _new_codec(self, key: Secret | None, limits: Limits) -> OpenAICodec:
        need("sans_io.providers.openai_chat.codec")
        from sans_io.providers.openai_chat.codec import OpenAICodec

        return OpenAICodec(
            self._base_url,
            self._dialect,
            credential=key,
            headers=self._headers,
            organization=self._organization,
            project=self._project,
            api_version=self._api_version,
            auth="bearer" if self._is_token else None,
            limits=limits,
        )

    def _keep_key(self, other: Self) -> None:
        super()._keep_key(other)
        self._is_token = self._is_token or other._is_token

    def _arguments(self) -> dict[str, Any]:
        return {
            "organization": self._organization,
            "project": self._project,
            "api_version": self._api_version,
            "dialect": self._dialect_given,
        }


def _named(dialect: object) -> Dialect | None:
    if dialect is None or isinstance(dialect, Dialect):
        return dialect
    known = DIALECTS.get(dialect.strip().lower()) if isinstance(dialect, str) else None
    if known is None:
        raise LLMBadRequestError(
            f"unknown dialect {dialect!r}; known: {', '.join(sorted(DIALECTS))}", code="invalid_argument"
        )
    return known


def _spoken_at(place: BaseURL) -> Dialect:
    found = dialect_for(place)
    return _LOCAL if found.name == "generic" and place.origin.is_loopback else found


def _says_version(place: BaseURL) -> bool:
    """Whether Azure's URL says by itself which API it is."""
    return place.path.endswith("/v1") or place.parameter("api-version") is not None


def _place(base_url: str | None, dialect: Dialect | None) -> BaseURL:
    """Where requests go: what is given, else what the environment says for this dialect, else the dialect's place."""
    variable: str | None = "OPENAI_BASE_URL"
    if dialect is not None and dialect.name != "openai":
        variable = "AZURE_OPENAI_ENDPOINT" if dialect.azure else None
    found, what = config.place(base_url, "base_url", variable)
    if found is not None:
        return config.parsed_base_url(found, what)
    default = (dialect or DIALECTS["openai"]).place("openai")
    if default is None:
        name = dialect.name if dialect is not None else ""
        hint = " (or AZURE_OPENAI_ENDPOINT)" if variable == "AZURE_OPENAI_ENDPOINT" else ""
        raise LLMBadRequestError(
            f"base_url{hint} is missing: {name} has no address of its own", code="invalid_argument"
        )
    return config.parsed_base_url(default)


class OpenAICompatClient(_OpenAI, SyncClient["OpenAICodec"]):
    """Blocking client for OpenAI and every server that speaks its wire (Azure, Groq, vLLM, llama.cpp and others).

    `OpenAICompatClient(api_key="sk-...").chat(messages)`; elsewhere with `base_url` and `model`.
    """

    @documented("openai")
    def chat(
        self,
        messages: Messages,
        model: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        tools: Tools | None = None,
        tool_choice: Choosing | None = None,
        *,
        system: System | None = None,
        **options: Unpack[CallOptions],
    ) -> ChatResponse:
        """Send the conversation and return the whole answer."""
        job = self._chat("chat", False, messages, model, system, temperature, max_tokens, tools, tool_choice, options)
        return self._run(job)

    @documented("openai")
    def chat_stream(
        self,
        messages: Messages,
        model: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        tools: Tools | None = None,
        tool_choice: Choosing | None = None,
        *,
        system: System | None = None,
        **options: Unpack[CallOptions],
    ) -> ChatStream:
        """Send the conversation and return its answer as a stream: `for text in ...`. Nothing is sent before that."""
        job = self._chat(
            "chat_stream", True, messages, model, system, temperature, max_tokens, tools, tool_choice, options
        )
        return self._open(job)


class AsyncOpenAICompatClient(_OpenAI, AsyncClient["OpenAICodec"]):
    """`OpenAICompatClient` for asyncio and trio: the same methods, to be awaited."""

    @documented("openai")
    async def chat(
        self,
        messages: Messages,
        model: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        tools: Tools | None = None,
        tool_choice: Choosing | None = None,
        *,
        system: System | None = None,
        **options: Unpack[CallOptions],
    ) -> ChatResponse:
        """Send the conversation and return the whole answer."""
        job = self._chat("chat", False, messages, model, system, temperature, max_tokens, tools, tool_choice, options)
        return await self._run(job)

    @documented("openai")
    def chat_stream(
        self,
        messages: Messages,
        model: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        tools: Tools | None = None,
        tool_choice: Choosing | None = None,
        *,
        system: System | None = None,
        **options: Unpack[CallOptions],
    ) -> AsyncChatStream:
        """Send the conversation and return its answer as a stream: `for text in ...`. Nothing is sent before that."""
        job = self._chat(
            "chat_stream", True, messages, model, system, temperature, max_tokens, tools, tool_choice, options
        )
        return self._open(job)
