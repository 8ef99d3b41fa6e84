"""Streams: text, events, and what is left when they end; blocking, asyncio and trio."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from cloud.llm import (
    AnthropicClient,
    AsyncAnthropicClient,
    AsyncChatStream,
    ChatResponse,
    ChatStream,
    Event,
    Finished,
    Message,
    ReasoningDelta,
    TextDelta,
    ToolCallCompleted,
    UsageReported,
)

HELLO: list[Message] = [{"role": "user", "content": "Hello!"}]


def text(client: AnthropicClient) -> Iterator[str]:
    with client.chat_stream(HELLO, system="Be concise.", max_tokens=100, thinking=False) as stream:
        yield from stream
        response: ChatResponse = stream.response
        print(response.usage, stream.partial)


def events(client: AnthropicClient) -> int | None:
    stream: ChatStream = client.chat_stream(HELLO)
    tokens: int | None = None
    for event in stream.events():
        tokens = seen(event) or tokens
    stream.close()
    return tokens


def seen(event: Event) -> int | None:
    match event:
        case TextDelta(text=piece) | ReasoningDelta(text=piece):
            print(piece, event.choice)
        case ToolCallCompleted(tool_call=call):
            print(call.name, call.arguments)
        case UsageReported(usage=usage):
            return usage.output_tokens
        case Finished(finish_reason="length"):
            print("cut")
        case _:
            print(event)
    return None


async def text_later(client: AsyncAnthropicClient) -> AsyncIterator[str]:
    async with client.chat_stream(HELLO, top_k=40) as stream:
        async for piece in stream:
            yield piece.upper()
    print(stream.response.content)


async def events_later(client: AsyncAnthropicClient) -> ChatResponse:
    stream: AsyncChatStream = client.chat_stream(HELLO)
    async for event in stream.events():
        seen(event)
        break
    stream.cancel()
    await stream.aclose()
    return await client.chat_stream(HELLO).until_done()
