"""The scenario table: what is asked of the real server, and what every mode must report about it.

A scenario is plain data; `modes.py` performs it on blocking sockets, in eight threads, on asyncio and on trio.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cloud.llm import ChatResponse, LLMError
from cloud.llm.demo import JSON, SCHEMA, WEATHER, user, weather_so_far
from tests.real_model.conftest import KEYS

#: Temperature 0 repeats itself, also with the server's prompt cache, without which a tool prompt takes seconds to read.
REPEATABLE: Mapping[str, Any] = {"temperature": 0}


@dataclass(frozen=True)
class Scenario:
    """`client`: constructor arguments over the standard ones (`{origin}` is put in). `expected`: facts that must hold.

    `wire`: which client. `stream`: by `chat_stream()` instead of `chat()`. `cancel_after`: cancel once so many pieces have come.
    """

    name: str
    messages: Sequence[dict[str, Any]]
    options: Mapping[str, Any] = field(default_factory=dict)
    client: Mapping[str, Any] = field(default_factory=dict)
    wire: str = "openai"
    stream: bool = False
    cancel_after: int | None = None
    expected: Mapping[str, Any] = field(default_factory=dict)

    def client_arguments(self, origin: str) -> dict[str, Any]:
        place = "{origin}/v1" if self.wire == "openai" else "{origin}"
        arguments: dict[str, Any] = {"api_key": KEYS[0], "base_url": place, "timeout": 300.0, "max_retries": 0}
        arguments |= self.client
        return arguments | {"base_url": arguments["base_url"].format(origin=origin)}

    def call_arguments(self) -> dict[str, Any]:
        return {"messages": list(self.messages), **REPEATABLE, **self.options}


def facts_of(response: ChatResponse) -> dict[str, Any]:
    """What must be equal on every mode. Ids are the server's own for each call, so they are no fact."""
    return {
        "content": response.content,
        "finish_reason": response.finish_reason,
        "model": response.model,
        "input_tokens": response.input_tokens,
        "output_tokens": response.output_tokens,
        "tools": [(call.name, call.arguments) for call in response.tool_calls],
        "invalid_tools": [(call.name, call.raw_arguments) for call in response.invalid_tool_calls],
        "choices": [(choice.index, choice.content, choice.finish_reason) for choice in response.choices],
    }


def facts_of_error(error: LLMError) -> dict[str, Any]:
    return {
        "error": type(error).__name__,
        "status_code": error.status_code,
        "code": error.code,
        "phase": error.phase,
        "attempts": len(error.attempts),
        "limit": getattr(error, "limit", None),
        "requested": getattr(error, "requested", None),
        "partial": error.partial.content if error.partial else None,
    }


HELLO = [user("Hello! Who are you?")]
PARALLEL = [
    *weather_so_far(),
    user("Weather in Madrid and Lima?"),
    {
        "role": "assistant",
        "content": "",
        "tool_calls": [
            {
                "id": f"both_{n}",
                "type": "function",
                "function": {"name": "get_weather", "arguments": f'{{"city": "{c}"}}'},
            }
            for n, c in enumerate(("Madrid", "Lima"))
        ],
    },
    {"role": "tool", "tool_call_id": "both_0", "content": '{"temp_c": 20}'},
    {"role": "tool", "tool_call_id": "both_1", "content": '{"temp_c": 20}'},
    {"role": "assistant", "content": "It is 20 C in both."},
    user("Weather in Quito and Paris?"),
]
PARIS = [*weather_so_far(), user("Weather in Paris?")]
TOOLS = {"tools": [WEATHER], "max_tokens": 80}
ONE_CALL = {"finish_reason": "tool_calls", "tools": [("get_weather", {"city": "Paris"})], "invalid_tools": []}
TWO_CALLS = {"finish_reason": "tool_calls", "tools": [("get_weather", {"city": c}) for c in ("Quito", "Paris")]}
CUT_CALL = {"finish_reason": "length", "tools": [], "invalid_tools": [("get_weather", '{"city": "Paris')]}

SCENARIOS = [
    Scenario("plain", HELLO, {"max_tokens": 48}, expected={"finish_reason": "stop"}),
    Scenario("stream", HELLO, {"max_tokens": 48}, stream=True, expected={"finish_reason": "stop"}),
    Scenario("cut", HELLO, {"max_tokens": 5}, expected={"finish_reason": "length", "output_tokens": 5}),
    Scenario(
        "stream-cut", HELLO, {"max_tokens": 5}, stream=True, expected={"finish_reason": "length", "output_tokens": 5}
    ),
    Scenario("json", [user(JSON)], {"response_format": SCHEMA, "max_tokens": 48}, expected={"finish_reason": "stop"}),
    Scenario("tool", PARIS, TOOLS, expected=ONE_CALL),
    Scenario("tool-required", PARIS, TOOLS | {"tool_choice": "required"}, expected=ONE_CALL),
    Scenario("stream-tool", PARIS, TOOLS, stream=True, expected=ONE_CALL),
    Scenario("tools-parallel", PARALLEL, TOOLS | {"parallel_tool_calls": True}, expected=TWO_CALLS),
    Scenario("stream-tools-parallel", PARALLEL, TOOLS | {"parallel_tool_calls": True}, stream=True, expected=TWO_CALLS),
    Scenario("tool-cut", PARIS, TOOLS | {"max_tokens": 22}, expected=CUT_CALL),
    Scenario("stream-tool-cut", PARIS, TOOLS | {"max_tokens": 22}, stream=True, expected=CUT_CALL),
    Scenario("n", HELLO, {"n": 2, "max_tokens": 8}, expected={"finish_reason": "length"}),
    Scenario("stream-n", HELLO, {"n": 2, "max_tokens": 8}, stream=True, expected={"finish_reason": "length"}),
    Scenario("wrong-key", HELLO, client={"api_key": "wrong"}, expected={"error": "LLMAuthError", "status_code": 401}),
    Scenario(
        "stream-wrong-key",
        HELLO,
        client={"api_key": "wrong"},
        stream=True,
        expected={"error": "LLMAuthError", "status_code": 401},
    ),
    Scenario(
        "overflow",
        [user("word " * 3000)],
        expected={"error": "LLMContextLengthError", "status_code": 400, "limit": 2048},
    ),
    Scenario(
        "unknown-path",
        HELLO,
        client={"base_url": "{origin}/v7"},
        expected={"error": "LLMNotFoundError", "status_code": 404},
    ),
    Scenario(
        "nobody-there",
        HELLO,
        client={"base_url": "http://127.0.0.1:9/v1"},
        expected={"error": "LLMConnectionError", "status_code": None, "phase": "connect"},
    ),
    Scenario("cancelled", HELLO, {"max_tokens": 300}, stream=True, cancel_after=3, expected={"pieces": 3}),
    # llama.cpp's server speaks Anthropic's wire too, with errors in OpenAI's form.
    Scenario("messages", HELLO, {"max_tokens": 48}, wire="anthropic", expected={"finish_reason": "stop"}),
    Scenario(
        "stream-messages", HELLO, {"max_tokens": 48}, wire="anthropic", stream=True, expected={"finish_reason": "stop"}
    ),
    Scenario("messages-cut", HELLO, {"max_tokens": 5}, wire="anthropic", expected={"finish_reason": "length"}),
    Scenario("messages-tool", PARIS, TOOLS, wire="anthropic", expected=ONE_CALL),
    Scenario("stream-messages-tool", PARIS, TOOLS, wire="anthropic", stream=True, expected=ONE_CALL),
    Scenario(
        "messages-wrong-key",
        HELLO,
        client={"api_key": "wrong"},
        wire="anthropic",
        expected={"error": "LLMAuthError", "status_code": 401},
    ),
    Scenario(
        "messages-overflow",
        [user("word " * 3000)],
        wire="anthropic",
        expected={"error": "LLMContextLengthError", "status_code": 400, "limit": 2048},
    ),
]
