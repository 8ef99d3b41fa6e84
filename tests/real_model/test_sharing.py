"""A hundred tenants, one server: connections are shared, keys are not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import trio

from cloud import close_all_cloud_clients_sync
from cloud.llm import AsyncOpenAICompatClient, ChatResponse, LLMAuthError, OpenAICompatClient
from cloud.llm.embedded import EmbeddedServer
from tests.real_model.conftest import KEYS
from tests.real_model.relay import Relay

AT_ONCE = 4
ASK: dict[str, Any] = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1, "temperature": 0}


def by_threads(base_url: str) -> list[ChatResponse]:
    clients = [OpenAICompatClient(api_key=key, base_url=base_url) for key in KEYS]
    with ThreadPoolExecutor(AT_ONCE) as threads:
        return list(threads.map(lambda client: client.chat(**ASK), clients))


async def one_after_the_other(clients: list[AsyncOpenAICompatClient], found: list[ChatResponse]) -> None:
    while clients:
        found.append(await clients.pop().chat(**ASK))


def by_asyncio(base_url: str) -> list[ChatResponse]:
    async def main() -> list[ChatResponse]:
        clients = [AsyncOpenAICompatClient(api_key=key, base_url=base_url) for key in KEYS]
        found: list[ChatResponse] = []
        async with asyncio.TaskGroup() as tasks:
            for _ in range(AT_ONCE):
                tasks.create_task(one_after_the_other(clients, found))
        return found

    return asyncio.run(main())


def by_trio(base_url: str) -> list[ChatResponse]:
    async def main() -> list[ChatResponse]:
        clients = [AsyncOpenAICompatClient(api_key=key, base_url=base_url) for key in KEYS]
        found: list[ChatResponse] = []
        async with trio.open_nursery() as nursery:
            for _ in range(AT_ONCE):
                nursery.start_soon(one_after_the_other, clients, found)
        return found

    return trio.run(main)


@pytest.mark.parametrize("by", [by_threads, by_asyncio, by_trio], ids=lambda by: by.__name__)
def test_a_hundred_keys_share_as_many_connections_as_there_are_calls_at_once(
    server: EmbeddedServer, by: Callable[[str], list[ChatResponse]]
) -> None:
    with Relay(server.origin) as relay:
        responses = by(f"{relay.origin}/v1")
        close_all_cloud_clients_sync()
        assert len(responses) == len(KEYS)
        assert relay.accepted <= AT_ONCE
        assert sum(response.attempts[-1].connection == "reused" for response in responses) >= len(KEYS) - AT_ONCE


def test_the_second_of_two_calls_reuses_the_connection_of_another_key(server: EmbeddedServer) -> None:
    async def in_a_task() -> tuple[ChatResponse, ChatResponse]:
        first = AsyncOpenAICompatClient(api_key=KEYS[1], base_url=server.base_url)
        second = AsyncOpenAICompatClient(api_key=KEYS[2], base_url=server.base_url)
        return await first.chat(**ASK), await second.chat(**ASK)

    for first, second in (asyncio.run(in_a_task()), trio.run(in_a_task)):
        assert first.attempts[-1].connection == "new"
        assert second.attempts[-1].connection == "reused"


def test_a_wrong_key_on_a_shared_connection_stays_wrong_and_harms_nobody(server: EmbeddedServer) -> None:
    right = OpenAICompatClient(api_key=KEYS[3], base_url=server.base_url)
    wrong = OpenAICompatClient(api_key="wrong", base_url=server.base_url)
    for _ in range(3):
        assert right.chat(**ASK).output_tokens == 1
        with pytest.raises(LLMAuthError):
            wrong.chat(**ASK)
