"""The registry: laws that hold of every row, so that a new host or wire is a row and no test; and what the vendors'
documentation says of the known ones, so that a changed cell fails under its vendor's name.
"""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import pytest

import cloud.llm
from cloud.llm import get_provider
from sans_io.chat.messages import chat_request
from sans_io.errors import LLMBadRequestError
from sans_io.http.secret import Secret
from sans_io.http.urls import parse_base_url
from sans_io.providers.endpoint import Endpoint
from sans_io.providers.openai_chat.codec import OpenAICodec
from sans_io.providers.registry import DIALECTS, WIRES, Dialect, Wire, dialect_for

PLAIN: dict[str, Any] = {
    "base_url": None, "key_variables": (), "needs_key": False, "auth": "bearer", "max_tokens_field": "max_tokens",
    "seed_field": "seed", "user_field": "user", "lacks": (), "required": "required", "usage_in_stream": True, "many_choices": True, "needs_model": True,
    "tools": (), "needs_parameters": False, "schemas": True, "strict_schemas": False, "says_json": False, "thinks_apart": False,
    "azure": False,
}  # fmt: skip
FUNCTIONS = ("function",)
NEW_CAP = {"max_tokens_field": "max_completion_tokens"}


def keyed(variable: str, base_url: str | None, **more: Any) -> dict[str, Any]:
    return {"base_url": base_url, "key_variables": (variable,), "needs_key": True, **more}


ROWS: dict[str, dict[str, Any]] = {
    "openai": keyed(
        "OPENAI_API_KEY",
        "https://api.openai.com/v1",
        strict_schemas=True,
        says_json=True,
        tools=("function", "custom"),
        user_field="safety_identifier",
        **NEW_CAP,
    ),
    "azure": keyed(
        "AZURE_OPENAI_API_KEY",
        None,
        auth="api-key",
        strict_schemas=True,
        says_json=True,
        azure=True,
        tools=("function", "custom"),
        **NEW_CAP,
    ),
    "groq": keyed(
        "GROQ_API_KEY",
        "https://api.groq.com/openai/v1",
        usage_in_stream=False,
        many_choices=False,
        lacks=("frequency_penalty", "presence_penalty", "logprobs", "metadata", "verbosity"),
        tools=FUNCTIONS,
        **NEW_CAP,
    ),
    "mistral": keyed(
        "MISTRAL_API_KEY",
        "https://api.mistral.ai/v1",
        seed_field="random_seed",
        required="any",
        usage_in_stream=False,
        lacks=("user", "verbosity"),
        needs_parameters=True,
        tools=(
            "function",
            "web_search",
            "web_search_premium",
            "code_interpreter",
            "image_generation",
            "document_library",
        ),
    ),
    "deepseek": keyed("DEEPSEEK_API_KEY", "https://api.deepseek.com", tools=FUNCTIONS, schemas=False, says_json=True),
    "openrouter": keyed("OPENROUTER_API_KEY", "https://openrouter.ai/api/v1", strict_schemas=True),
    "gemini": {
        "base_url": "https://generativelanguage.googleapis.com/v1beta/openai",
        "key_variables": ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        "needs_key": True,
        "lacks": ("frequency_penalty", "presence_penalty"),
        "thinks_apart": True,
        "tools": FUNCTIONS,
    },
    "together": keyed("TOGETHER_API_KEY", "https://api.together.xyz/v1", usage_in_stream=False),
    "xai": keyed("XAI_API_KEY", "https://api.x.ai/v1", tools=FUNCTIONS),
    "moonshot": keyed("MOONSHOT_API_KEY", "https://api.moonshot.ai/v1"),
    "cerebras": keyed(
        "CEREBRAS_API_KEY",
        "https://api.cerebras.ai/v1",
        lacks=("metadata", "verbosity"),
        tools=FUNCTIONS,
        **NEW_CAP,
    ),
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
    """Of OpenAI's wire; hosts and ports are looked up below."""
    kept = {each.name: getattr(row, each.name) for each in fields(row)} | {"base_url": row.place("openai")}
    return {name: kept[name] for name in kept if name not in ("rules", "messages", "wires", "places", "hosts", "port")}


@pytest.mark.parametrize("name", ROWS)
def test_a_row(name: str) -> None:
    assert cells(DIALECTS[name]) == {**PLAIN, "name": name, **ROWS[name]}


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


# -- laws of every row ----------------------------------------------------------------------------------------------------

SERVED = [(row, wire) for row in DIALECTS.values() for wire in row.wires]
OF_OPENAI = [row for row in DIALECTS.values() if "openai" in row.wires]
ASKED: dict[str, Any] = {"messages": [{"role": "user", "content": "Hi"}], "model": "m"}
TOOL: dict[str, Any] = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


def named(row: Dialect) -> str:
    return row.name


def body_of(row: Dialect, **asked: Any) -> dict[str, Any]:
    codec = OpenAICodec(parse_base_url(row.place("openai") or "https://llm.example/v1"), row)
    body: dict[str, Any] = json.loads(codec.build(chat_request(**{**ASKED, **asked})).body)
    return body


def head_of(row: Dialect, wire: str) -> dict[str, str]:
    endpoint = Endpoint(
        parse_base_url(row.place(wire) or "https://llm.example"), credential=Secret("k-123"), auth=row.auth
    )
    return {name.lower(): str(value) for name, value in endpoint.head("POST", "x").headers}


@pytest.mark.parametrize("row", DIALECTS.values(), ids=named)
def test_a_row_is_data(row: Dialect) -> None:
    assert DIALECTS[row.name] is row
    assert row.name == row.name.lower().strip()
    assert row.wires
    assert set(row.wires) <= set(WIRES)
    assert set(row.places) == set(row.wires[1:])
    assert row.needs_key is bool(row.key_variables)
    assert all(variable == variable.upper() for variable in row.key_variables)
    with pytest.raises(AttributeError):
        row.name = "x"  # type: ignore[misc]


@pytest.mark.parametrize(("row", "wire"), SERVED, ids=lambda value: value if isinstance(value, str) else value.name)
def test_a_place_is_known_by_its_host_or_its_port(row: Dialect, wire: str) -> None:
    place = row.place(wire)
    if place is None:
        return
    base_url = parse_base_url(place)
    assert base_url.origin.scheme == "https" or base_url.origin.is_loopback, "a key must not travel in plain text"
    assert dialect_for(base_url, wire) is row
    lookalike = parse_base_url(f"https://{base_url.origin.host.strip('[]')}.evil.example/v1")
    assert dialect_for(lookalike, wire).name == "generic"
    for host in row.hosts:
        served = f"mine{host}" if host.startswith(".") else host
        assert dialect_for(parse_base_url(f"https://{served}/v1"), wire) is row


@pytest.mark.parametrize(("row", "wire"), SERVED, ids=lambda value: value if isinstance(value, str) else value.name)
def test_the_key_travels_in_the_one_header_of_its_row(row: Dialect, wire: str) -> None:
    carriers = {"bearer": "authorization", "api-key": "api-key", "x-api-key": "x-api-key"}
    found = {name for name in head_of(row, wire) if name in carriers.values()}
    assert found == {carriers[row.auth]} if row.auth != "none" else not found


@pytest.mark.parametrize("row", OF_OPENAI, ids=named)
def test_a_body_is_spelled_as_its_row_says(row: Dialect) -> None:
    user = {} if "user" in row.lacks else {"user": "u-1"}
    body = body_of(row, max_tokens=7, seed=3, tools=[TOOL], tool_choice="required", stream=True, **user)
    assert body[row.max_tokens_field] == 7
    assert body[row.seed_field] == 3
    assert not user or body[row.user_field] == "u-1"
    assert body["tool_choice"] == row.required
    assert ("stream_options" in body) is row.usage_in_stream
    other = {"max_tokens", "max_completion_tokens", "seed", "random_seed"} - {row.max_tokens_field, row.seed_field}
    assert not other & set(body)


@pytest.mark.parametrize("row", OF_OPENAI, ids=named)
def test_what_a_row_does_not_serve_is_refused_by_name(row: Dialect) -> None:
    if row.many_choices:
        assert body_of(row, n=2)["n"] == 2
    else:
        with pytest.raises(LLMBadRequestError, match=r"\bn\b"):
            body_of(row, n=2)
    for name in row.lacks:
        with pytest.raises(LLMBadRequestError, match=f"^{name} is not supported by the {row.name} API"):
            body_of(row, **{name: {"user": "u", "verbosity": "low", "metadata": {}}.get(name, 1)})
    if row.needs_model:
        with pytest.raises(LLMBadRequestError, match="model"):
            body_of(row, model=None)
    else:
        assert "model" not in body_of(row, model=None)


# -- wires ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wire", WIRES.values(), ids=lambda wire: wire.name)
def test_a_wire_is_a_package_with_a_codec_and_clients(wire: Wire) -> None:
    codec = wire.new_codec(parse_base_url("https://llm.example"))
    request = codec.build(chat_request(**ASKED, max_tokens=5))
    assert request.head.target.endswith(wire.path.removeprefix("/v1"))
    assert codec.operation(chat_request(**ASKED, stream=True)).form == wire.stream
    for name in wire.clients:
        assert name in cloud.llm.__all__
        assert getattr(cloud.llm, name).provider == wire.name


@pytest.mark.parametrize("name", DIALECTS)
def test_every_dialect_is_a_provider(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("OPENAI_BASE_URL", "ANTHROPIC_BASE_URL", "OLLAMA_HOST", "AZURE_OPENAI_ENDPOINT"):
        monkeypatch.delenv(variable, raising=False)
    row = DIALECTS[name]
    more = {} if row.base_url else {"base_url": "https://llm.example/v1"}
    provider = get_provider(name.upper(), api_key="k", model="m", **more)
    assert provider.name == name
    assert type(provider.client).__name__ == WIRES[row.wires[0]].clients[1]
    for wire in row.wires[1:]:
        other = get_provider(f"{name}-{wire}", api_key="k", model="m", **more)
        assert type(other.client).__name__ == WIRES[wire].clients[1]
        assert other.name == f"{name}-{wire}"


def test_a_provider_s_name_may_bring_the_model() -> None:
    assert get_provider("groq/openai/gpt-oss-20b", api_key="k").client.model == "openai/gpt-oss-20b"
    with pytest.raises(ValueError, match="model is given twice: 'a' in the name, and 'b'"):
        get_provider("groq/a", api_key="k", model="b")


@pytest.mark.parametrize(
    "name", ["openai-", "-openai", "-", "ollama-", "ollama-ollama", "groq-openai", "ollama-openai-"]
)
def test_a_hyphen_stands_before_a_wire_that_is_served_beside_the_first(name: str) -> None:
    with pytest.raises(ValueError, match=f"unknown provider '{name}'"):
        get_provider(name, api_key="k", model="m")
