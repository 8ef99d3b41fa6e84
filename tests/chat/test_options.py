"""The table of options: one meaning on each wire that takes it, refused by name on the others."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sans_io.chat.messages import chat_request
from sans_io.chat.options import OPTIONS
from sans_io.errors import LLMBadRequestError
from sans_io.http.urls import parse_base_url
from sans_io.providers.anthropic import AnthropicCodec
from sans_io.providers.ollama import OllamaCodec
from sans_io.providers.openai_chat.codec import OpenAICodec
from sans_io.providers.registry import DIALECTS, WIRES

HI = [{"role": "user", "content": "Hello"}]
BASE = parse_base_url("http://127.0.0.1:9")
CODECS: dict[str, Any] = {
    "openai": OpenAICodec(BASE, DIALECTS["generic"]),
    "anthropic": AnthropicCodec(BASE),
    "ollama": OllamaCodec(BASE),
}
SCHEMA = {"type": "object", "properties": {"x": {"type": "string"}}}
#: A value of each option, and where it stands in the body of each wire that takes it; None: it changes nothing there.
SAID: dict[str, tuple[Any, dict[str, Any]]] = {
    "top_p": (0.5, {
        "openai": {"top_p": 0.5}, "anthropic": {"top_p": 0.5}, "ollama": {"options": {"top_p": 0.5}},
    }),
    "top_k": (40, {"anthropic": {"top_k": 40}, "ollama": {"options": {"top_k": 40}}}),
    "frequency_penalty": (0.5, {
        "openai": {"frequency_penalty": 0.5}, "ollama": {"options": {"frequency_penalty": 0.5}},
    }),
    "presence_penalty": (-2, {"openai": {"presence_penalty": -2}, "ollama": {"options": {"presence_penalty": -2}}}),
    "stop": (["a", "b"], {
        "openai": {"stop": ["a", "b"]}, "anthropic": {"stop_sequences": ["a", "b"]},
        "ollama": {"options": {"stop": ["a", "b"]}},
    }),
    "seed": (7, {"openai": {"seed": 7}, "ollama": {"options": {"seed": 7}}}),
    "n": (1, {"openai": {"n": 1}, "anthropic": {}, "ollama": {}}),
    "logprobs": (2, {
        "openai": {"logprobs": True, "top_logprobs": 2}, "ollama": {"logprobs": True, "top_logprobs": 2},
    }),
    "response_format": (SCHEMA, {
        "openai": {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}}},
        "anthropic": {"output_config": {"format": {
            "type": "json_schema", "schema": {**SCHEMA, "additionalProperties": False}}}},
        "ollama": {"format": SCHEMA},
    }),
    "reasoning_effort": ("high", {
        "openai": {"reasoning_effort": "high"}, "anthropic": {"output_config": {"effort": "high"}},
        "ollama": {"think": "high"},
    }),
    "thinking": (False, {"anthropic": {"thinking": {"type": "disabled"}}, "ollama": {"think": False}}),
    "verbosity": ("low", {"openai": {"verbosity": "low"}}),
    "parallel_tool_calls": (True, {"openai": {}, "anthropic": {}, "ollama": {}}),  # it goes with tools
    "service_tier": ("auto", {"openai": {"service_tier": "auto"}, "anthropic": {"service_tier": "auto"}}),
    "user": ("u-1", {"openai": {"user": "u-1"}, "anthropic": {"metadata": {"user_id": "u-1"}}}),
    "metadata": ({"run": "7"}, {"openai": {"metadata": {"run": "7"}}}),
    "extra_body": ({"x": 1}, {"openai": {"x": 1}, "anthropic": {"x": 1}, "ollama": {"x": 1}}),
    "extra_headers": ({"X-A": "b"}, {"openai": {}, "anthropic": {}, "ollama": {}}),
}  # fmt: skip
CELLS = [(name, wire) for name in OPTIONS for wire in CODECS]


def sent(wire: str, **options: Any) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(CODECS[wire].build(chat_request(HI, "m", **options)).body)
    return body


def refused(wire: str, **options: Any) -> str:
    with pytest.raises(LLMBadRequestError) as caught:
        CODECS[wire].build(chat_request(HI, "m", **options))
    return str(caught.value)


def test_each_option_is_tried_here() -> None:
    assert SAID.keys() == OPTIONS.keys()
    assert all(set(SAID[name][1]) == {wire for wire in CODECS if row.taken_by(wire)} for name, row in OPTIONS.items())


@pytest.mark.parametrize(("name", "wire"), CELLS)
@pytest.mark.parametrize("stream", [False, True])
def test_a_wire_says_an_option_in_its_words_or_refuses_it_by_name(name: str, wire: str, stream: bool) -> None:
    value, words = SAID[name]
    if wire in words:
        assert sent(wire, stream=stream, **{name: value}) == sent(wire, stream=stream) | words[wire]
    else:
        message = refused(wire, stream=stream, **{name: value})
        assert message.startswith(f"{name} is not supported by the {WIRES[wire].title} API")
        assert message.removesuffix(OPTIONS[name].instead).endswith(("API", "API: "))


@pytest.mark.parametrize(("name", "wire"), CELLS)
def test_none_says_nothing(name: str, wire: str) -> None:
    assert CODECS[wire].build(chat_request(HI, "m", **{name: None})) == CODECS[wire].build(chat_request(HI, "m"))


@pytest.mark.parametrize("wire", CODECS)
def test_an_empty_list_of_stops_says_nothing(wire: str) -> None:
    assert sent(wire, stop=[]) == sent(wire)


def test_an_option_that_does_not_exist_is_no_bad_request() -> None:
    with pytest.raises(TypeError, match=r"^chat_request\(\) has no option 'top_q'; it takes top_p, top_k, "):
        chat_request(HI, top_q=1)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("top_k", 1.5, "top_k must be an integer, not float"),
        ("top_k", 2**64, "top_k does not fit in 64 bits"),
        ("frequency_penalty", "1", "frequency_penalty must be a number, not str"),
        ("presence_penalty", float("nan"), "presence_penalty must be a finite number"),
        ("logprobs", -1, "logprobs must be at least 0, not -1"),
        ("logprobs", 21, "logprobs must be at most 20, not 21"),
        ("thinking", 0, "thinking must be at least 1, not 0"),
        ("thinking", "low", "thinking must be a budget in tokens, or False, not str"),
        ("verbosity", 1, "verbosity must be a string, not int"),
        ("service_tier", "", "service_tier is empty"),
        ("user", "a\nb", "user contains a control character or a lone surrogate"),
        ("metadata", ["a"], "metadata must be a dict of strings, not list"),
        ("metadata", {"a": 1}, "metadata must be a dict of strings: 'a' has a value of type int"),
        ("metadata", {1: "a"}, "metadata must be a dict of strings: 1 has a value of type str"),
        ("metadata", {"a": "\ud800"}, "metadata.a contains a lone surrogate, which UTF-8 cannot hold"),
    ],
)
def test_what_no_wire_takes_is_refused_before_one_is_chosen(name: str, value: Any, words: str) -> None:
    with pytest.raises(LLMBadRequestError) as caught:
        chat_request(HI, "m", **{name: value})  # type: ignore[arg-type]
    assert str(caught.value) == words


def test_limits_of_chat_completions() -> None:
    assert sent("openai", frequency_penalty=-2, presence_penalty=2)["presence_penalty"] == 2
    for name in ("frequency_penalty", "presence_penalty"):
        assert refused("openai", **{name: 2.1}) == f"{name} must be between -2 and 2, not 2.1"
        assert sent("ollama", **{name: 2.1})["options"] == {name: 2.1}
    pairs = {str(i): "x" for i in range(17)}
    assert refused("openai", metadata=pairs) == "metadata has 17 entries; the API takes 16"
    assert len(sent("openai", metadata=dict(list(pairs.items())[:16]))["metadata"]) == 16
    assert refused("openai", metadata={"k" * 65: "v"}).startswith("metadata has a key of 65 characters")
    assert refused("openai", metadata={"k": "v" * 513}) == "metadata.k has 513 characters; the API takes 512"
    assert sent("openai", logprobs=0) == sent("openai") | {"logprobs": True, "top_logprobs": 0}


def test_thinking_on_anthropic() -> None:
    assert sent("anthropic", thinking=1024)["thinking"] == {"type": "enabled", "budget_tokens": 1024}
    assert refused("anthropic", thinking=1023) == "thinking must be at least 1024 tokens on the Anthropic API, not 1023"
    over = "thinking must be below max_tokens, which includes it (2000 of 2000): increase max_tokens"
    assert refused("anthropic", thinking=2000, max_tokens=2000) == over
    assert sent("anthropic", thinking=2000, max_tokens=2001)["max_tokens"] == 2001
    assert sent("anthropic", thinking=9000, extra_body={"max_tokens": 9001})["thinking"]["budget_tokens"] == 9000
    assert refused("anthropic", thinking=8192).endswith("(8192 of 8192): increase max_tokens"), "the default counts too"
    both = sent("anthropic", thinking=2000, reasoning_effort="low")
    assert (both["thinking"]["budget_tokens"], both["output_config"]) == (2000, {"effort": "low"})
    assert "leave one of them out" in refused("anthropic", thinking=2000, reasoning_effort="none")
    assert sent("anthropic", thinking=False, reasoning_effort="none")["thinking"] == {"type": "disabled"}


def test_thinking_on_ollama() -> None:
    assert sent("ollama", thinking=False, reasoning_effort="none")["think"] is False
    assert "leave one of them out" in refused("ollama", thinking=False, reasoning_effort="low")
    assert refused("ollama", thinking=1024).startswith("thinking is not supported by the Ollama API")


def test_service_tiers_of_anthropic() -> None:
    assert sent("anthropic", service_tier="standard_only")["service_tier"] == "standard_only"
    words = "service_tier is not supported by the Anthropic API: it knows auto and standard_only, not 'flex'"
    assert refused("anthropic", service_tier="flex") == words
    assert sent("openai", service_tier="flex")["service_tier"] == "flex"


def test_top_k_goes_under_the_version_that_has_it() -> None:
    def version(**options: Any) -> str:
        return dict(CODECS["anthropic"].build(chat_request(HI, "m", **options)).headers)["anthropic-version"]

    assert (version(), version(top_k=1), version(top_p=1)) == ("2026-10-21", "2023-06-01", "2023-06-01")
