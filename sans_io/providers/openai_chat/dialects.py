"""The servers that speak OpenAI's wire, as data: what each says or wants differently.

Rules of this file:
- A dialect is a frozen row; no code asks for a dialect's name. A new vendor is a new row.
- A field is set only where the vendor's documentation or its SDK says so; the defaults are what OpenAI's wire was
  before 2024 (`max_tokens`), which every other server understands.
- Unknown hosts are `generic`: nothing about them is assumed but the wire itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from ...records import dataclass, field
from ..failures import FailureRules

if TYPE_CHECKING:
    from ...http.urls import BaseURL

Auth: TypeAlias = Literal["bearer", "api-key", "none"]


@dataclass(frozen=True, slots=True)
class Dialect:
    """One vendor's or server's way of speaking OpenAI's wire.

    `name`: what `provider` says in errors and responses. `base_url`: where it lives, None where there is no one
    place. `key_variables`: environment variables that may hold the key, in order; `needs_key`: without a key no
    request can succeed. `auth`: the header that carries the key ("bearer" is `Authorization: Bearer`).
    `max_tokens_field`, `seed_field`: names in the body. `required`: how `tool_choice="required"` is spelled.
    `usage_in_stream`: `stream_options.include_usage` is known and needed. `many_choices`: `n` above 1 is served.
    `needs_model`: a request without a model cannot be served. `strict_schemas`: `strict` in a JSON schema has effect.
    `keeps_thinking`: thinking parts inside `content` are sent back. `azure`: paths name deployments.
    `rules`: its words in errors.
    """

    name: str
    base_url: str | None = None
    key_variables: tuple[str, ...] = ()
    needs_key: bool = False
    auth: Auth = "bearer"
    max_tokens_field: str = "max_tokens"
    seed_field: str = "seed"
    required: str = "required"
    usage_in_stream: bool = True
    many_choices: bool = True
    needs_model: bool = True
    strict_schemas: bool = False
    keeps_thinking: bool = False
    azure: bool = False
    rules: FailureRules = field(default_factory=FailureRules)


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
_OPENAI_RULES: Final = FailureRules(retired=_OPENAI_RETIRED)

_ROWS: Final = (
    Dialect(
        "openai",
        base_url="https://api.openai.com/v1",
        key_variables=("OPENAI_API_KEY",),
        needs_key=True,
        max_tokens_field="max_completion_tokens",
        strict_schemas=True,
        rules=_OPENAI_RULES,
    ),
    Dialect(
        "azure",
        key_variables=("AZURE_OPENAI_API_KEY",),
        needs_key=True,
        auth="api-key",
        max_tokens_field="max_completion_tokens",
        strict_schemas=True,
        azure=True,
        rules=FailureRules(not_found="a deployment of the name {model} must exist in this Azure resource"),
    ),
    Dialect(
        "groq",
        base_url="https://api.groq.com/openai/v1",
        key_variables=("GROQ_API_KEY",),
        needs_key=True,
        max_tokens_field="max_completion_tokens",
        usage_in_stream=False,  # It comes unasked, in x_groq.usage.
        many_choices=False,
    ),
    Dialect(
        "mistral",
        base_url="https://api.mistral.ai/v1",
        key_variables=("MISTRAL_API_KEY",),
        needs_key=True,
        seed_field="random_seed",
        required="any",
        usage_in_stream=False,  # It comes unasked, in the last chunk; unknown fields are refused.
        keeps_thinking=True,
    ),
    Dialect(
        "deepseek",
        base_url="https://api.deepseek.com",
        key_variables=("DEEPSEEK_API_KEY",),
        needs_key=True,
    ),
    Dialect(
        "openrouter",
        base_url="https://openrouter.ai/api/v1",
        key_variables=("OPENROUTER_API_KEY",),
        needs_key=True,
        strict_schemas=True,
    ),
    Dialect(
        "gemini",
        base_url="https://generativelanguage.googleapis.com/v1beta/openai",
        key_variables=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        needs_key=True,
    ),
    Dialect(
        "together",
        base_url="https://api.together.xyz/v1",
        key_variables=("TOGETHER_API_KEY",),
        needs_key=True,
        usage_in_stream=False,  # It comes unasked, in the last chunk.
    ),
    Dialect("xai", base_url="https://api.x.ai/v1", key_variables=("XAI_API_KEY",), needs_key=True),
    Dialect(
        "cerebras",
        base_url="https://api.cerebras.ai/v1",
        key_variables=("CEREBRAS_API_KEY",),
        needs_key=True,
        max_tokens_field="max_completion_tokens",
        rules=FailureRules(empty_is_overflow=True),
    ),
    Dialect(
        "perplexity",
        base_url="https://api.perplexity.ai",
        key_variables=("PERPLEXITY_API_KEY",),
        needs_key=True,
        usage_in_stream=False,
    ),
    Dialect(
        "fireworks",
        base_url="https://api.fireworks.ai/inference/v1",
        key_variables=("FIREWORKS_API_KEY",),
        needs_key=True,
    ),
    Dialect("vllm", base_url="http://127.0.0.1:8000/v1"),
    Dialect("llamacpp", base_url="http://127.0.0.1:8080/v1", needs_model=False),
    Dialect(
        "ollama",
        base_url="http://127.0.0.1:11434/v1",
        many_choices=False,
        rules=FailureRules(not_found="{model} may have to be pulled first: ollama pull {model}"),
    ),
    Dialect("generic"),
)

DIALECTS: Final[Mapping[str, Dialect]] = MappingProxyType({row.name: row for row in _ROWS})

#: Hosts, and parent domains that begin with a dot.
_HOSTS: Final = MappingProxyType(
    {
        "api.openai.com": "openai",
        ".api.openai.com": "openai",  # regional: eu.api.openai.com
        ".openai.azure.com": "azure",
        ".services.ai.azure.com": "azure",
        ".cognitiveservices.azure.com": "azure",
        ".openai.azure.us": "azure",
        "api.groq.com": "groq",
        "api.mistral.ai": "mistral",
        ".api.mistral.ai": "mistral",
        "api.deepseek.com": "deepseek",
        "openrouter.ai": "openrouter",
        "generativelanguage.googleapis.com": "gemini",
        "api.together.xyz": "together",
        "api.together.ai": "together",
        "api.x.ai": "xai",
        "api.cerebras.ai": "cerebras",
        "api.perplexity.ai": "perplexity",
        "api.fireworks.ai": "fireworks",
    }
)
#: Default ports of servers that people run themselves; looked at on loopback only.
_PORTS: Final = MappingProxyType({11434: "ollama", 8080: "llamacpp", 8000: "vllm"})


def dialect_for(base_url: BaseURL) -> Dialect:
    """The dialect of the server at `base_url`, by its host (on loopback by its port); `generic` where unknown."""
    origin = base_url.origin
    if origin.is_loopback:
        return DIALECTS[_PORTS.get(origin.port, "generic")]
    host = origin.host
    name = _HOSTS.get(host)
    dot = host.find(".")
    while name is None and dot >= 0:
        name = _HOSTS.get(host[dot:])
        dot = host.find(".", dot + 1)
    return DIALECTS[name or "generic"]
