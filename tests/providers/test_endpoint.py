"""An endpoint is where and as whom; whatever wire is spoken there, its paths are the codec's."""

from __future__ import annotations

from typing import Any

import pytest

from sans_io.chat.messages import chat_request
from sans_io.http.secret import Secret
from sans_io.http.urls import parse_base_url
from sans_io.providers.anthropic.codec import AnthropicCodec
from sans_io.providers.endpoint import Endpoint
from sans_io.providers.ollama.codec import OllamaCodec
from sans_io.providers.openai_chat.codec import OpenAICodec
from sans_io.providers.registry import CARRIERS, WIRES

CODECS: dict[str, Any] = {"openai": OpenAICodec, "anthropic": AnthropicCodec, "ollama": OllamaCodec}
CHAT = chat_request([{"role": "user", "content": "Hi"}], model="m")


def test_all_wires_are_here() -> None:
    assert set(CODECS) == set(WIRES)


@pytest.mark.parametrize("place", ["https://h.example", "https://h.example/v1", "https://h.example/a/v1?key=b"])
@pytest.mark.parametrize("wire", CODECS)
def test_a_codec_asks_the_same_of_an_endpoint_as_of_its_address(wire: str, place: str) -> None:
    base_url = parse_base_url(place)
    plain, given = CODECS[wire](base_url), CODECS[wire](Endpoint(base_url))
    for ask in (lambda codec: codec.build(CHAT), lambda codec: codec.models_operation().request):
        assert ask(given).head == ask(plain).head


def test_one_endpoint_serves_several_wires() -> None:
    endpoint = Endpoint(parse_base_url("https://h.example/v1"), credential=Secret("k-1"))
    targets = {wire: codec(endpoint).build(CHAT).target for wire, codec in CODECS.items()}
    assert targets == {"openai": "/v1/chat/completions", "anthropic": "/v1/messages", "ollama": "/v1/api/chat"}


@pytest.mark.parametrize(
    ("path", "target"), [("models", "/v1/models?key=b"), ("models?limit=9", "/v1/models?key=b&limit=9")]
)
def test_a_query_follows_that_of_the_address(path: str, target: str) -> None:
    endpoint = Endpoint(parse_base_url("https://h.example/v1?key=b"))
    assert endpoint.head("GET", path).target == target


@pytest.mark.parametrize("version", [None, "2026-01-01"])
def test_azure_s_paths_are_the_same_over_an_endpoint(version: str | None) -> None:
    base_url = parse_base_url("https://r.openai.azure.com")
    given = OpenAICodec(Endpoint(base_url), api_version=version)
    plain = OpenAICodec(base_url, api_version=version)
    assert given.build(CHAT).target == plain.build(CHAT).target
    assert plain.build(CHAT).target.startswith("/openai/")


@pytest.mark.parametrize("name", ["Authorization", "api-key", "X-API-Key"])
@pytest.mark.parametrize("auth", ["bearer", "api-key", "x-api-key"])
def test_a_credential_of_the_caller_s_travels_alone(auth: str, name: str) -> None:
    endpoint = Endpoint(
        parse_base_url("https://h.example"), credential=Secret("k-1"), auth=auth, headers={name: "theirs"}
    )
    carriers = [field for field, _ in endpoint.head("GET", "x").headers if field.lower() in CARRIERS]
    assert carriers == [name]
