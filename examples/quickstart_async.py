"""Asynchronous code, the same on asyncio and trio: a chat and a stream at the same time.

python examples/quickstart_async.py [asyncio|trio]
"""

import asyncio
import sys

import anyio

from cloud.llm import AsyncOpenAICompatClient


async def chat(client: AsyncOpenAICompatClient) -> None:
    response = await client.chat([{"role": "user", "content": "Hello!"}])
    print(f"[chat] {response.content}")


async def stream(client: AsyncOpenAICompatClient) -> None:
    pieces = client.chat_stream([{"role": "user", "content": "Write one sentence about the sea."}])
    async for piece in pieces:
        print(f"[stream] {piece!r}")
    print(f"[stream] {pieces.response.finish_reason}")


async def main() -> None:
    async with AsyncOpenAICompatClient() as client, anyio.create_task_group() as tasks:
        tasks.start_soon(chat, client)
        tasks.start_soon(stream, client)


if __name__ == "__main__":
    if sys.argv[1:] == ["trio"]:
        import trio

        trio.run(main)
    else:
        asyncio.run(main())
