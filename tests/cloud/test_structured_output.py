"""A schema asked of every provider: it is sent as that vendor takes it, and the answer is data."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

from sans_io.errors import LLMBadRequestError
from sans_io.providers.rules import violations
from tests.cloud.kit import HELLO, MODELS, MODES, PLACES, WIRES, make, perform, run
from transports.testing import AsyncScriptedTransport, FakeLLMServer, ScriptedTransport

EXAMPLE = runpy.run_path(str(Path(__file__).parents[2] / "examples" / "structured_output.py"))
#: Schemas as people have them.
SCHEMAS: dict[str, dict[str, Any]] = {
    "the example": EXAMPLE["PERSON"],
    "open": {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
    "with limits": {
        "type": "object",
        "properties": {
            "rating": {"type": "integer", "minimum": 1, "maximum": 5, "default": 3},
            "site": {"type": "string", "format": "uri", "maxLength": 100},
        },
        "required": ["rating", "site"],
    },
    "with definitions": {
        "type": "object",
        "properties": {
            "head": {"$ref": "#/$defs/Part", "description": "The first one."},
            "parts": {"type": "array", "items": {"$ref": "#/$defs/Part"}},
        },
        "required": ["head", "parts"],
        "$defs": {"Part": {"type": "object", "properties": {"kind": {"enum": ["a", "b"]}}, "required": ["kind"]}},
    },
}


def transport(mode: str, server: FakeLLMServer) -> Any:
    return (ScriptedTransport if mode == "blocking" else AsyncScriptedTransport)(server)


def asked(wire: str, server: FakeLLMServer) -> dict[str, Any]:
    """The body of the last request, which breaks no rule of its vendor."""
    request = server.requests[-1]
    body: dict[str, Any] = json.loads(request.body)
    assert violations(wire, body) == []
    return body


@pytest.mark.parametrize("name", SCHEMAS)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("wire", WIRES)
def test_a_schema_is_sent_as_its_vendor_takes_it(wire: str, mode: str, stream: bool, name: str) -> None:
    server = FakeLLMServer()
    schema = SCHEMAS[name]

    async def scenario(client: Any) -> Any:
        if not stream:
            return (await client.chat(HELLO, response_format=schema)).json()
        async with client.chat_stream(HELLO, response_format=schema) as chunks:
            async for _ in chunks:
                pass
            return chunks.response.json()

    options = {"dialect": "openai"} if wire == "openai" else {}
    answer = perform(mode, scenario, wire, model=MODELS[wire], transport=transport(mode, server), **options)
    assert answer.keys() == schema["properties"].keys()
    body = asked(wire, server)
    if wire == "openai":
        assert body["response_format"]["json_schema"].get("strict") == (True if name == "the example" else None)
    elif wire == "ollama":
        assert body["format"] == schema


@pytest.mark.parametrize("wire", WIRES)
def test_the_example_runs_on_every_wire(wire: str, capsys: pytest.CaptureFixture[str]) -> None:
    server = FakeLLMServer()

    async def inside() -> None:
        options = {"dialect": "openai"} if wire == "openai" else {}
        client = make(
            "blocking", wire, api_key="sk-x", base_url=PLACES[wire], model=MODELS[wire],
            transport=ScriptedTransport(server), **options,
        )  # fmt: skip
        EXAMPLE["main"]("Ana is thirty.", client.blocking)

    run("blocking", inside)
    assert capsys.readouterr().out.strip().endswith("languages")
    asked(wire, server)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("mode", MODES)
def test_what_anthropic_cannot_say_is_refused_before_anything_is_sent(mode: str, stream: bool) -> None:
    server = FakeLLMServer()

    async def scenario(client: Any) -> list[str]:
        found = []
        for wanted in ("json", {"type": "object", "properties": {"tags": {"type": "object"}}}):
            with pytest.raises(LLMBadRequestError) as caught:
                if stream:
                    async with client.chat_stream(HELLO, response_format=wanted) as chunks:
                        async for _ in chunks:
                            pass
                else:
                    await client.chat(HELLO, response_format=wanted)
            found.append(caught.value.message)
        return found

    no_schema, a_map = perform(mode, scenario, "anthropic", model="claude-x", transport=transport(mode, server))
    assert no_schema.startswith("response_format is not supported by the Anthropic API: ")
    assert a_map.startswith("response_format.properties.tags is not supported by the Anthropic API: ")
    assert not server.requests
