"""What a server does of what others do: a handful of small requests, and what came of each.

    for found in probe(client): print(found.name, found.works, found.told)

Rules of this file:
- Each question is asked once, without retries; one that fails does not stop the others.
- A refused request is held against the rules of the vendor whose dialect the client speaks: a broken rule says why.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sans_io.errors import LLMBadRequestError, LLMError
from sans_io.providers.rules import VENDORS, violations

if TYPE_CHECKING:
    from .anthropic import AnthropicClient
    from .ollama import OllamaClient
    from .openai import OpenAICompatClient

    AnyClient = OpenAICompatClient | AnthropicClient | OllamaClient


class Found(NamedTuple):
    """What came of one question: its name, whether it works, and what was answered or went wrong."""

    name: str
    works: bool
    told: str


_TOOL: Final = {
    "name": "get_weather",
    "description": "Get the weather in a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
_SCHEMA: Final = {
    "title": "person",
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
_TEXT: Final = [{"role": "user", "content": "Say hello in one word."}]
_WEATHER: Final = [{"role": "user", "content": "What is the weather in Paris? Use the tool."}]
_ANA: Final = [{"role": "user", "content": "Ana is 30 years old. Give her name and age as JSON."}]
#: An earlier round of a tool, as another vendor's client would have kept it.
_EARLIER: Final = [
    {"role": "user", "content": "What is the weather in Rome?"},
    {
        "role": "assistant",
        "content": "",
        "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Rome"}'}}
        ],
    },
    {"role": "tool", "tool_call_id": "call_1", "name": "get_weather", "content": "sunny"},
]


def probe(client: AnyClient) -> Iterator[Found]:
    """Ask each question and say what came of it."""
    questions: tuple[tuple[str, list[Any], dict[str, Any], Callable[[Any], str | None]], ...] = (
        ("chat", _TEXT, {}, lambda response: response.content),
        ("stream", _TEXT, {"stream": True}, lambda response: response.content),
        ("two turns", [*_EARLIER], {"tools": [_TOOL]}, lambda response: response.content or "a tool call"),
        ("tool call", _WEATHER, {"tools": [_TOOL]}, _call),
        ("JSON schema", _ANA, {"response_format": _SCHEMA}, _person),
    )
    for name, messages, wish, read in questions:
        yield _asked(client, name, messages, wish, read)


def _asked(
    client: AnyClient, name: str, messages: list[Any], wish: dict[str, Any], read: Callable[[Any], str | None]
) -> Found:
    options = dict(wish)
    streamed = options.pop("stream", False)
    options |= {"max_tokens": 500, "max_retries": 0}
    try:
        if streamed:
            with client.chat_stream(messages, **options) as stream:
                response = stream.until_done()
        else:
            response = client.chat(messages, **options)
    except LLMError as error:
        return Found(name, False, f"{error.message}{_broken(client, error, messages, options)}")
    answer = read(response)
    return Found(name, answer is not None, answer or f"answered {response.content!r:.80} instead")


def _broken(client: AnyClient, error: LLMError, messages: list[Any], options: dict[str, Any]) -> str:
    """The rules of its vendor that a refused request breaks."""
    vendor = getattr(client, "dialect", client.provider)
    if error.status_code is None or not isinstance(error, LLMBadRequestError) or vendor not in VENDORS:
        return ""
    options = {key: value for key, value in options.items() if key != "max_retries"}
    body = json.loads(client.build_request(messages, **options).body)
    found = violations(vendor, body)
    return "".join(f"\n  {one.path}: {one.rule} ({one.source})" for one in found)


def _call(response: Any) -> str | None:
    calls = [f"{call.name}({json.dumps(call.arguments)})" for call in response.tool_calls]
    return ", ".join(calls) or None


def _person(response: Any) -> str | None:
    try:
        answer = response.json()
    except LLMError:
        return None
    return json.dumps(answer) if isinstance(answer, dict) and answer.keys() >= {"name", "age"} else None
