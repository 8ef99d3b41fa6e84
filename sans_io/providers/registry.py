"""The wires and who speaks them: one row a wire, one row a dialect. This is the only place that lists either.

    Wire       a vendor's protocol: the codec that speaks it, the clients that are made for it
    Dialect    a vendor or server: where it is, as whom it is asked, which wires it serves, what it says differently

Rules of this file:
- Rows are frozen data. A new vendor is a new row, a new wire is a package and a row. Code asks for a row's fields and
  not for its name; only `openai` (its variables and model are the defaults) and `generic` (no vendor) are known by it.
- A field is set only where the vendor's documentation or its SDK says so; the defaults are what OpenAI's wire was
  before 2024 (`max_tokens`), which every other server understands.
- Unknown hosts are `generic`: nothing about them is assumed but the wire itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from ..limits import DEFAULT_LIMITS
from ..records import dataclass, field

if TYPE_CHECKING:
    from ..http.urls import BaseURL
    from ..limits import Limits
    from .base import Codec, ReplyForm
    from .endpoint import Auth


#: What a server's error is about.
Kind: TypeAlias = Literal[
    "auth", "rate_limit", "quota", "bad_request", "context", "content_filter", "not_found", "server", "overloaded"
]


@dataclass(frozen=True, slots=True)
class FailureRules:
    """What one provider says in its own way about failures.

    `kinds`: its codes and types (lower case) that mean something the common table does not know. `not_found`: a hint
    added to a 404, may contain `{model}`. `retired`: model name -> date it was switched off. `empty_is_overflow`:
    a 400 or 413 without a body means that the prompt was too long (Cerebras). `may_lack_v1`: a web page instead of a
    reply may mean that base_url should end in /v1.
    """

    kinds: Mapping[str, Kind] = field(default_factory=lambda: MappingProxyType({}))
    not_found: str = ""
    retired: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    empty_is_overflow: bool = False
    may_lack_v1: bool = False


@dataclass(frozen=True, slots=True)
class Wire:
    """A protocol. `package` is its room in `sans_io.providers`, whose `codec` module has the class `codec`.

    `title`: what refusals and help call its API. `stream`: the form of a streamed reply. `path`: where chats go, below
    the place of a server. `clients`: the names in `cloud.llm` of the blocking and the asynchronous client.
    """

    name: str
    title: str
    package: str
    codec: str
    stream: ReplyForm
    path: str
    clients: tuple[str, str]

    def new_codec(self, base_url: BaseURL, *, limits: Limits = DEFAULT_LIMITS) -> Codec:
        """A codec without a credential for the server at `base_url`. Loads the wire's package."""
        module = import_module(f".{self.package}.codec", __package__)
        codec: Codec = getattr(module, self.codec)(base_url, limits=limits)
        return codec


#: Header fields that carry a credential, in lower case.
CARRIERS: Final = frozenset({"authorization", "api-key", "x-api-key"})

_WIRES: Final = (
    Wire("openai", "chat completions", "openai_chat", "OpenAICodec", "sse", "/v1/chat/completions",
         ("OpenAICompatClient", "AsyncOpenAICompatClient")),
    Wire("anthropic", "Anthropic", "anthropic", "AnthropicCodec", "sse", "/v1/messages",
         ("AnthropicClient", "AsyncAnthropicClient")),
    Wire("ollama", "Ollama", "ollama", "OllamaCodec", "ndjson", "/api/chat", ("OllamaClient", "AsyncOllamaClient")),
)  # fmt: skip
WIRES: Final[Mapping[str, Wire]] = MappingProxyType({row.name: row for row in _WIRES})


@dataclass(frozen=True, slots=True)
class MessageRules:
    """What one server takes in the messages of OpenAI's wire; the defaults are those of a server that passes over what
    it does not know.

    `keys`: role -> keys beside `role` and `content`, None: any but those of another wire. `call_keys`: keys of a tool
    call, `part_keys`: keys of a content part beside those of its own form, both where `keys` is given. `parts`: role ->
    types of content parts, for roles that have not all. `audio`: formats of recordings, empty for any. `strings`: text
    goes as a string, never as parts. `developer`: the role is known beside "system". `silent`: an assistant's message
    may say nothing. `images`: it may hold pictures. `ids`: a pattern of the ids of calls. `reasoning`: the
    `reasoning_content` of a message with calls that has none; None: not wanted. `signed`: the first call of a message
    must have a signature, at least the documented dummy, and its result the name of the tool. `mistral`: thinking
    parts, files and audio in Mistral's own forms, and its order of turns.
    """

    keys: Mapping[str, frozenset[str]] | None = None
    call_keys: frozenset[str] = frozenset({"id", "type", "function"})
    part_keys: frozenset[str] = frozenset()
    parts: Mapping[str, frozenset[str]] = field(default_factory=dict)
    audio: tuple[str, ...] = ()
    strings: bool = False
    developer: bool = False
    silent: bool = True
    images: bool = True
    ids: str = ".+"
    reasoning: str | None = None
    signed: bool = False
    mistral: bool = False


@dataclass(frozen=True, slots=True)
class Dialect:
    """One vendor or server: where it is, as whom it is asked, and its way of speaking the wires it serves.

    `name`: what `provider` says in errors and responses. `wires`: the names of those it serves, its own first.
    `base_url`: where the first of them begins, None where there is no one place; `places`: where others begin.
    `hosts`: host names by which it is known, and parent domains that begin with a dot; `port`: its default port, by
    which it is known on loopback. `key_variables`: environment variables that may hold the key, in order; `needs_key`:
    without a key no request can succeed. `auth`: the header that carries the key (see `endpoint.Auth`).

    Of OpenAI's wire: `max_tokens_field`, `seed_field`, `user_field`: names in the body. `lacks`: options of `chat()`
    that it does not take, though the wire does. `required`: how `tool_choice="required"` is spelled. `usage_in_stream`:
    `stream_options.include_usage` is known and needed. `many_choices`: `n` above 1 is served. `needs_model`: a request
    without a model cannot be served. `tools`: the types of tools, empty for any. `needs_parameters`: a function
    without arguments has a schema too. `schemas`: `response_format` may be a JSON schema; `strict_schemas`: `strict` in
    it has effect. `says_json`: "json" must stand in a message where it is asked for. `thinks_apart`: only its
    total_tokens counts thinking. `azure`: paths name deployments. `messages`: what it takes in messages. `rules`: its
    words in errors.
    """

    name: str
    base_url: str | None = None
    wires: tuple[str, ...] = ("openai",)
    places: Mapping[str, str] = field(default_factory=dict)
    hosts: tuple[str, ...] = ()
    port: int | None = None
    key_variables: tuple[str, ...] = ()
    needs_key: bool = False
    auth: Auth = "bearer"
    max_tokens_field: str = "max_tokens"
    seed_field: str = "seed"
    user_field: str = "user"
    lacks: tuple[str, ...] = ()
    required: str = "required"
    usage_in_stream: bool = True
    many_choices: bool = True
    needs_model: bool = True
    tools: tuple[str, ...] = ()
    needs_parameters: bool = False
    schemas: bool = True
    strict_schemas: bool = False
    says_json: bool = False
    thinks_apart: bool = False
    azure: bool = False
    messages: MessageRules = field(default_factory=MessageRules)
    rules: FailureRules = field(default_factory=FailureRules)

    def place(self, wire: str) -> str | None:
        """Where `wire` begins on this server; None where there is no one place, or it does not serve that wire."""
        return self.base_url if wire == self.wires[0] else self.places.get(wire)


#: Announced shutdowns that have passed (OpenAI's deprecations page, as of 2026-11).
_OPENAI_RETIRED: Final = MappingProxyType(
    {
        **dict.fromkeys(
            (
                "o1",
                "o1-mini",
                "o1-preview",
                "o3-mini",
                "o4-mini",
                "gpt-4.1-nano",
                "gpt-4",
                "gpt-4-turbo",
                "gpt-3.5-turbo",
            ),
            "2026-10-23",
        ),
        "chatgpt-4o-latest": "2026-02-17",
    }
)
#: Dates on which models were or will be switched off (Anthropic's list of deprecations).
_ANTHROPIC_RETIRED: Final = MappingProxyType(
    {
        "claude-2.0": "2025-07-21",
        "claude-2.1": "2025-07-21",
        "claude-3-sonnet-20240229": "2025-07-21",
        "claude-3-opus-20240229": "2026-01-05",
        "claude-3-opus-latest": "2026-01-05",
        "claude-3-5-haiku-20241022": "2026-02-19",
        "claude-3-5-haiku-latest": "2026-02-19",
        "claude-3-7-sonnet-20250219": "2026-02-19",
        "claude-3-7-sonnet-latest": "2026-02-19",
        "claude-opus-4-0": "2026-06-15",
        "claude-opus-4-20250514": "2026-06-15",
        "claude-sonnet-4-0": "2026-06-15",
        "claude-sonnet-4-20250514": "2026-06-15",
        "claude-mythos-preview": "2026-06-30",
    }
)


def _keys(**roles: str) -> Mapping[str, frozenset[str]]:
    """Sets of words, by role."""
    return MappingProxyType({role: frozenset(words.split()) for role, words in roles.items()})


_OPENAI_MESSAGES: Final = MessageRules(
    keys=_keys(
        system="name",
        developer="name",
        user="name",
        assistant="name refusal audio tool_calls function_call",
        tool="tool_call_id",
    ),
    call_keys=frozenset({"id", "type", "function", "custom"}),
    part_keys=frozenset({"prompt_cache_breakpoint"}),
    parts=_keys(system="text", developer="text", user="text image_url input_audio file", assistant="text refusal",
                tool="text"),
    audio=("wav", "mp3"),
    developer=True,
    images=False,
    ids=r".{1,40}",
)  # fmt: skip

_ROWS: Final = (
    Dialect(
        "openai",
        base_url="https://api.openai.com/v1",
        hosts=("api.openai.com", ".api.openai.com"),  # regional: eu.api.openai.com
        key_variables=("OPENAI_API_KEY",),
        needs_key=True,
        max_tokens_field="max_completion_tokens",
        user_field="safety_identifier",
        strict_schemas=True,
        rules=FailureRules(retired=_OPENAI_RETIRED),
        tools=("function", "custom"),
        says_json=True,
        messages=_OPENAI_MESSAGES,
    ),
    Dialect(
        "azure",
        hosts=(".openai.azure.com", ".services.ai.azure.com", ".cognitiveservices.azure.com", ".openai.azure.us"),
        key_variables=("AZURE_OPENAI_API_KEY",),
        needs_key=True,
        auth="api-key",
        max_tokens_field="max_completion_tokens",
        strict_schemas=True,
        azure=True,
        rules=FailureRules(not_found="a deployment of the name {model} must exist in this Azure resource"),
        tools=("function", "custom"),
        says_json=True,
        messages=_OPENAI_MESSAGES,
    ),
    Dialect(
        "anthropic",
        base_url="https://api.anthropic.com",
        wires=("anthropic",),
        hosts=("api.anthropic.com", ".anthropic.com"),
        key_variables=("ANTHROPIC_API_KEY",),
        needs_key=True,
        auth="x-api-key",
        rules=FailureRules(retired=_ANTHROPIC_RETIRED),
    ),
    Dialect(
        "groq",
        base_url="https://api.groq.com/openai/v1",
        hosts=("api.groq.com",),
        key_variables=("GROQ_API_KEY",),
        needs_key=True,
        max_tokens_field="max_completion_tokens",
        lacks=("frequency_penalty", "presence_penalty", "logprobs", "metadata", "verbosity"),
        usage_in_stream=False,  # It comes unasked, in x_groq.usage.
        many_choices=False,
        tools=("function",),
        messages=MessageRules(
            keys=_keys(
                system="name",
                developer="name",
                user="name",
                assistant="name reasoning tool_calls function_call",
                tool="tool_call_id",
            ),
            parts=_keys(
                system="text",
                developer="text",
                user="text image_url document",
                assistant="text",
                tool="text image_url document",
            ),
            developer=True,
            images=False,
        ),
    ),
    Dialect(
        "mistral",
        base_url="https://api.mistral.ai/v1",
        hosts=("api.mistral.ai", ".api.mistral.ai"),
        key_variables=("MISTRAL_API_KEY",),
        needs_key=True,
        seed_field="random_seed",
        required="any",
        usage_in_stream=False,  # It comes unasked, in the last chunk; unknown fields are refused.
        lacks=("user", "verbosity"),
        tools=(
            "function",
            "web_search",
            "web_search_premium",
            "code_interpreter",
            "image_generation",
            "document_library",
        ),
        needs_parameters=True,
        messages=MessageRules(
            keys=_keys(system="", user="", assistant="tool_calls prefix", tool="tool_call_id name"),
            parts=_keys(
                system="text thinking",
                user="text image_url input_audio file document_url reference",
                assistant="text thinking reference",
                tool="text image_url input_audio file document_url reference",
            ),
            silent=False,
            images=False,
            ids=r"[a-zA-Z0-9]{9}",
            mistral=True,
        ),
    ),
    Dialect(
        "deepseek",
        base_url="https://api.deepseek.com",
        hosts=("api.deepseek.com",),
        key_variables=("DEEPSEEK_API_KEY",),
        needs_key=True,
        tools=("function",),
        schemas=False,
        says_json=True,
        messages=MessageRules(
            keys=_keys(
                system="name", user="name", assistant="name prefix reasoning_content tool_calls", tool="tool_call_id"
            ),
            parts=_keys(system="text", user="text", assistant="text", tool="text"),
            strings=True,
            images=False,
            reasoning="",
        ),
    ),
    Dialect(
        "openrouter",
        base_url="https://openrouter.ai/api/v1",
        hosts=("openrouter.ai",),
        key_variables=("OPENROUTER_API_KEY",),
        needs_key=True,
        strict_schemas=True,
        messages=MessageRules(
            keys=_keys(
                system="name",
                developer="name",
                user="name",
                assistant="name refusal audio reasoning reasoning_content reasoning_details tool_calls",
                tool="tool_call_id name",
            ),
            call_keys=frozenset({"id", "type", "function", "index", "extra_content"}),
            part_keys=frozenset({"cache_control"}),
            developer=True,
        ),
    ),
    Dialect(
        "gemini",
        base_url="https://generativelanguage.googleapis.com/v1beta/openai",
        hosts=("generativelanguage.googleapis.com",),
        key_variables=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        needs_key=True,
        thinks_apart=True,
        lacks=("frequency_penalty", "presence_penalty"),
        tools=("function",),
        messages=MessageRules(
            keys=_keys(system="name", user="name", assistant="name tool_calls extra_content", tool="tool_call_id name"),
            call_keys=frozenset({"id", "type", "function", "extra_content"}),
            parts=_keys(system="text", assistant="text"),
            images=False,
            signed=True,
        ),
    ),
    Dialect(
        "together",
        base_url="https://api.together.xyz/v1",
        hosts=("api.together.xyz", "api.together.ai"),
        key_variables=("TOGETHER_API_KEY",),
        needs_key=True,
        usage_in_stream=False,  # It comes unasked, in the last chunk.
    ),
    Dialect(
        "xai",
        base_url="https://api.x.ai/v1",
        hosts=("api.x.ai",),
        key_variables=("XAI_API_KEY",),
        needs_key=True,
        tools=("function",),
        messages=MessageRules(
            keys=_keys(system="", user="name", assistant="refusal reasoning_content tool_calls", tool="tool_call_id"),
            parts=_keys(system="text", assistant="text refusal"),
            silent=False,
            images=False,
        ),
    ),
    Dialect(
        "moonshot",
        base_url="https://api.moonshot.ai/v1",
        hosts=("api.moonshot.ai", "api.moonshot.cn"),
        key_variables=("MOONSHOT_API_KEY",),
        needs_key=True,
        messages=MessageRules(reasoning=" "),  # An empty one counts as none.
    ),
    Dialect(
        "cerebras",
        base_url="https://api.cerebras.ai/v1",
        hosts=("api.cerebras.ai",),
        key_variables=("CEREBRAS_API_KEY",),
        needs_key=True,
        max_tokens_field="max_completion_tokens",
        rules=FailureRules(empty_is_overflow=True),
        lacks=("metadata", "verbosity"),
        tools=("function",),
        messages=MessageRules(
            keys=_keys(system="name", user="name", assistant="name reasoning tool_calls", tool="tool_call_id name"),
            parts=_keys(system="text", user="text image_url", assistant="text", tool="text"),
            images=False,
        ),
    ),
    Dialect(
        "perplexity",
        base_url="https://api.perplexity.ai",
        hosts=("api.perplexity.ai",),
        key_variables=("PERPLEXITY_API_KEY",),
        needs_key=True,
        usage_in_stream=False,
    ),
    Dialect(
        "fireworks",
        base_url="https://api.fireworks.ai/inference/v1",
        hosts=("api.fireworks.ai",),
        key_variables=("FIREWORKS_API_KEY",),
        needs_key=True,
    ),
    Dialect("vllm", base_url="http://127.0.0.1:8000/v1", port=8000),
    Dialect("llamacpp", base_url="http://127.0.0.1:8080/v1", port=8080, needs_model=False),
    Dialect(
        "ollama",
        base_url="http://127.0.0.1:11434",
        wires=("ollama", "openai"),
        places={"openai": "http://127.0.0.1:11434/v1"},
        port=11434,
        many_choices=False,
        rules=FailureRules(not_found="{model} may have to be pulled first: ollama pull {model}"),
    ),
    Dialect("generic"),
)

DIALECTS: Final[Mapping[str, Dialect]] = MappingProxyType({row.name: row for row in _ROWS})

_HOSTS: Final = MappingProxyType({host: row for row in _ROWS for host in row.hosts})
_PORTS: Final = MappingProxyType({row.port: row for row in _ROWS if row.port is not None})


def spoken(name: str) -> tuple[Dialect, Wire] | None:
    """A dialect and the wire to ask it on, by name: "ollama" on its own wire, "ollama-openai" on OpenAI's."""
    row, wire = DIALECTS.get(name), ""
    if row is None:
        name, _, wire = name.rpartition("-")
        row = DIALECTS.get(name)
        if row is None or wire not in row.places:
            return None
    return row, WIRES[wire or row.wires[0]]


def dialect_for(base_url: BaseURL, wire: str = "openai") -> Dialect:
    """Who serves `wire` at `base_url`, by the host (on loopback by the port); `generic` where that is unknown."""
    origin = base_url.origin
    found: Dialect | None
    if origin.is_loopback:
        found = _PORTS.get(origin.port)
    else:
        host = origin.host
        found = _HOSTS.get(host)
        dot = host.find(".")
        while found is None and dot >= 0:
            found = _HOSTS.get(host[dot:])
            dot = host.find(".", dot + 1)
    return found if found is not None and wire in found.wires else DIALECTS["generic"]
