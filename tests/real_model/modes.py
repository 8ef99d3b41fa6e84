"""How a scenario is performed: on the calling thread, in eight threads at once, on asyncio, on trio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import trio

from cloud.llm import AnthropicClient, AsyncAnthropicClient, AsyncOpenAICompatClient, LLMError, OpenAICompatClient
from tests.real_model.scenarios import Scenario, facts_of, facts_of_error

Facts = dict[str, Any]
THREADS = 8
BLOCKING = {"openai": OpenAICompatClient, "anthropic": AnthropicClient}
AWAITED = {"openai": AsyncOpenAICompatClient, "anthropic": AsyncAnthropicClient}


def blocking(scenario: Scenario, origin: str) -> Facts:
    client: Any = BLOCKING[scenario.wire](**scenario.client_arguments(origin))
    try:
        if not scenario.stream:
            return facts_of(client.chat(**scenario.call_arguments()))
        stream = client.chat_stream(**scenario.call_arguments())
        pieces = []
        for piece in stream:
            pieces.append(piece)
            if len(pieces) == scenario.cancel_after:
                stream.cancel()
        return stream_facts(scenario, pieces, stream)
    except LLMError as error:
        return facts_of_error(error)


async def in_a_task(scenario: Scenario, origin: str) -> Facts:
    client: Any = AWAITED[scenario.wire](**scenario.client_arguments(origin))
    try:
        if not scenario.stream:
            return facts_of(await client.chat(**scenario.call_arguments()))
        stream = client.chat_stream(**scenario.call_arguments())
        pieces = []
        async for piece in stream:
            pieces.append(piece)
            if len(pieces) == scenario.cancel_after:
                stream.cancel()
        return stream_facts(scenario, pieces, stream)
    except LLMError as error:
        return facts_of_error(error)


def stream_facts(scenario: Scenario, pieces: list[str], stream: Any) -> Facts:
    if scenario.cancel_after is not None:
        assert stream.partial.content == "".join(pieces)
        return {"pieces": len(pieces), "content": "".join(pieces)}
    assert stream.response.content == "".join(pieces)
    return facts_of(stream.response)


def in_threads(scenario: Scenario, origin: str) -> Facts:
    with ThreadPoolExecutor(THREADS) as threads:
        results = list(threads.map(lambda _: blocking(scenario, origin), range(THREADS)))
    assert all(result == results[0] for result in results), results
    return results[0]


MODES: dict[str, Callable[[Scenario, str], Facts]] = {
    "blocking": blocking,
    "threads": in_threads,
    "asyncio": lambda scenario, origin: asyncio.run(in_a_task(scenario, origin)),
    "trio": lambda scenario, origin: trio.run(in_a_task, scenario, origin),
}
