"""The dialects cell by cell: what each vendor's documentation says, written out once more, so that a changed cell fails
under its vendor's name. What is not in a row is as in OpenAI's wire before 2024, which every other server understands.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from sans_io.http.urls import parse_base_url
from sans_io.providers.openai_chat.dialects import DIALECTS, Dialect, dialect_for

PLAIN: dict[str, Any] = {
    "base_url": None, "key_variables": (), "needs_key": False, "auth": "bearer", "max_tokens_field": "max_tokens",
    "seed_field": "seed", "required": "required", "usage_in_stream": True, "many_choices": True, "needs_model": True,
    "strict_schemas": False, "keeps_thinking": False, "azure": False,
}  # fmt: skip
NEW_CAP = {"max_tokens_field": "max_completion_tokens"}


def keyed(variable: str, base_url: str | None, **more: Any) -> dict[str, Any]:
    return {"base_url": base_url, "key_variables": (variable,), "needs_key": True, **more}


ROWS: dict[str, dict[str, Any]] = {
    "openai": keyed("OPENAI_API_KEY", "https://api.openai.com/v1", strict_schemas=True, **NEW_CAP),
    "azure": keyed("AZURE_OPENAI_API_KEY", None, auth="api-key", strict_schemas=True, azure=True, **NEW_CAP),
    "groq": keyed(
        "GROQ_API_KEY", "https://api.groq.com/openai/v1", usage_in_stream=False, many_choices=False, **NEW_CAP
    ),
    "mistral": keyed(
        "MISTRAL_API_KEY",
        "https://api.mistral.ai/v1",
        seed_field="random_seed",
        required="any",
        usage_in_stream=False,
        keeps_thinking=True,
    ),
    "deepseek": keyed("DEEPSEEK_API_KEY", "https://api.deepseek.com"),
    "openrouter": keyed("OPENROUTER_API_KEY", "https://openrouter.ai/api/v1", strict_schemas=True),
    "gemini": {
        "base_url": "https://generativelanguage.googleapis.com/v1beta/openai",
        "key_variables": ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        "needs_key": True,
    },
    "together": keyed("TOGETHER_API_KEY", "https://api.together.xyz/v1", usage_in_stream=False),
    "xai": keyed("XAI_API_KEY", "https://api.x.ai/v1"),
    "cerebras": keyed("CEREBRAS_API_KEY", "https://api.cerebras.ai/v1", **NEW_CAP),
    "perplexity": keyed("PERPLEXITY_API_KEY", "https://api.perplexity.ai", usage_in_stream=False),
    "fireworks": keyed("FIREWORKS_API_KEY", "https://api.fireworks.ai/inference/v1"),
    "vllm": {"base_url": "http://127.0.0.1:8000/v1"},
    "llamacpp": {"base_url": "http://127.0.0.1:8080/v1", "needs_model": False},
    "ollama": {"base_url": "http://127.0.0.1:11434/v1", "many_choices": False},
    "generic": {},
}
RETIRED = {
    **dict.fromkeys(
        ("o1", "o1-mini", "o1-preview", "o3-mini", "o4-mini", "gpt-4.1-nano", "gpt-4", "gpt-4-turbo", "gpt-3.5-turbo"),
        "2026-10-23",
    ),
    "chatgpt-4o-latest": "2026-02-17",
}
HOSTS = {
    "api.openai.com": "openai", "eu.api.openai.com": "openai", "mine.openai.azure.com": "azure",
    "mine.services.ai.azure.com": "azure", "mine.cognitiveservices.azure.com": "azure", "mine.openai.azure.us": "azure",
    "api.groq.com": "groq", "api.mistral.ai": "mistral", "eu.api.mistral.ai": "mistral", "api.deepseek.com": "deepseek",
    "openrouter.ai": "openrouter", "generativelanguage.googleapis.com": "gemini", "api.together.xyz": "together",
    "api.together.ai": "together", "api.x.ai": "xai", "api.cerebras.ai": "cerebras", "api.perplexity.ai": "perplexity",
    "api.fireworks.ai": "fireworks", "localhost:11434": "ollama", "127.0.0.1:8080": "llamacpp", "[::1]:8000": "vllm",
    "localhost:9999": "generic", "llm.example:11434": "generic", "llm.example": "generic",
    "api.groq.com.evil.example": "generic", "notapi.openai.com": "generic", "openai.azure.com": "generic",
}  # fmt: skip


def cells(row: Dialect) -> dict[str, Any]:
    return {each.name: getattr(row, each.name) for each in fields(row) if each.name != "rules"}


@pytest.mark.parametrize("name", ROWS)
def test_a_row(name: str) -> None:
    assert cells(DIALECTS[name]) == {**PLAIN, "name": name, **ROWS[name]}


def test_no_row_beyond_those_written_here() -> None:
    assert list(DIALECTS) == list(ROWS)


def test_a_row_of_ones_own_begins_with_the_plain_wire() -> None:
    assert cells(Dialect("mine")) == {**PLAIN, "name": "mine"}


@pytest.mark.parametrize("name", ROWS)
def test_the_words_of_a_row_in_errors(name: str) -> None:
    rules = DIALECTS[name].rules
    hints = {
        "azure": "a deployment of the name {model} must exist in this Azure resource",
        "ollama": "{model} may have to be pulled first: ollama pull {model}",
    }
    assert rules.not_found == hints.get(name, "")
    assert dict(rules.retired) == (RETIRED if name == "openai" else {})
    assert rules.empty_is_overflow is (name == "cerebras")
    assert dict(rules.kinds) == {}


@pytest.mark.parametrize("host", HOSTS)
def test_a_host_is_known_by_its_name_and_on_loopback_by_its_port(host: str) -> None:
    assert dialect_for(parse_base_url(f"http://{host}/v1")).name == HOSTS[host]


@pytest.mark.parametrize(
    ("base_url", "name"),
    [
        ("https://api.openai.com/v1", "openai"), ("https://eu.api.openai.com/v1", "openai"),
        ("https://a.b.openai.azure.com", "azure"), ("https://codestral.api.mistral.ai/v1", "mistral"),
        ("https://xapi.mistral.ai/v1", "generic"), ("https://mistral.ai/v1", "generic"), ("https://host/v1", "generic"),
        ("http://127.0.0.1:11434", "ollama"), ("http://localhost:8080", "llamacpp"), ("http://[::1]:8000", "vllm"),
        ("http://127.0.0.1:8001", "generic"), ("http://10.0.0.1:11434", "generic"), ("https://azure.com", "generic"),
    ],
)  # fmt: skip
def test_a_dialect_is_known_by_the_host_or_a_domain_above_it(base_url: str, name: str) -> None:
    assert dialect_for(parse_base_url(base_url)).name == name
