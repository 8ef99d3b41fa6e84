"""The clients that are compared: ours on every wire and transport, and their peers where they are installed.

A client has `kind` ("sync", "asyncio", "trio"), `__init__(base)`, `chat(model) -> (text, tokens)` and
`stream(model, emit) -> tokens`; coroutine functions for the async kinds. Imports are in `__init__`, so that a missing
peer leaves out its own row only.
"""

from __future__ import annotations

import json
from typing import Any

from floors import MESSAGES, Emit, FloorAsyncio, FloorDeadline, FloorSync, FloorTrio

CHAT = "/v1/chat/completions"
KEY = "sk-benchmark-0000"


class _Ours:
    path = "/v1"
    name = "OpenAICompatClient"

    def __init__(self, base: str) -> None:
        import cloud.llm

        client = getattr(cloud.llm, self.name)
        options = {} if "Ollama" in self.name else {"api_key": KEY}
        self.client: Any = client(model="chat", base_url=base + self.path, **options)


class OursSync(_Ours):
    kind = "sync"

    def chat(self, model: str) -> tuple[str, int]:
        response = self.client.chat(MESSAGES, model=model)
        return response.content, response.total_tokens

    def stream(self, model: str, emit: Emit) -> int:
        stream = self.client.chat_stream(MESSAGES, model=model)
        for text in stream:
            emit(text)
        return stream.response.total_tokens  # type: ignore[no-any-return]


class OursAsyncio(_Ours):
    kind = "asyncio"
    name = "AsyncOpenAICompatClient"

    async def chat(self, model: str) -> tuple[str, int]:
        response = await self.client.chat(MESSAGES, model=model)
        return response.content, response.total_tokens

    async def stream(self, model: str, emit: Emit) -> int:
        stream = self.client.chat_stream(MESSAGES, model=model)
        async for text in stream:
            emit(text)
        return stream.response.total_tokens  # type: ignore[no-any-return]


class OursTrio(OursAsyncio):
    kind = "trio"


class OursAnthropic(OursSync):
    path, name = "", "AnthropicClient"


class OursOllama(OursSync):
    path, name = "", "OllamaClient"


class OpenAISync:
    kind = "sync"

    def __init__(self, base: str) -> None:
        import openai

        self.client = openai.OpenAI(api_key=KEY, base_url=base + "/v1", max_retries=0)

    def chat(self, model: str) -> tuple[str, int]:
        reply: Any = self.client.chat.completions.create(model=model, messages=MESSAGES)  # type: ignore[call-overload]
        return reply.choices[0].message.content, reply.usage.total_tokens

    def stream(self, model: str, emit: Emit) -> int:
        tokens = 0
        options = {"include_usage": True}
        chunks: Any = self.client.chat.completions.create(
            model=model, messages=MESSAGES, stream=True, stream_options=options  # type: ignore[call-overload]
        )  # fmt: skip
        for chunk in chunks:
            if chunk.choices and chunk.choices[0].delta.content:
                emit(chunk.choices[0].delta.content)
            if chunk.usage:
                tokens = chunk.usage.total_tokens
        return tokens


class OpenAIAsyncio:
    kind = "asyncio"

    def __init__(self, base: str) -> None:
        import openai

        # Its default gives up a connect after 5 s, which it needs for 2,000 at once.
        self.client: Any = openai.AsyncOpenAI(api_key=KEY, base_url=base + "/v1", max_retries=0, timeout=600.0)

    async def chat(self, model: str) -> tuple[str, int]:
        reply = await self.client.chat.completions.create(model=model, messages=MESSAGES)
        return reply.choices[0].message.content, reply.usage.total_tokens

    async def stream(self, model: str, emit: Emit) -> int:
        tokens = 0
        options = {"include_usage": True}
        chunks = await self.client.chat.completions.create(
            model=model, messages=MESSAGES, stream=True, stream_options=options
        )
        async for chunk in chunks:
            if chunk.choices and chunk.choices[0].delta.content:
                emit(chunk.choices[0].delta.content)
            if chunk.usage:
                tokens = chunk.usage.total_tokens
        return tokens


class AnthropicSync:
    kind = "sync"

    def __init__(self, base: str) -> None:
        import anthropic

        self.client: Any = anthropic.Anthropic(api_key=KEY, base_url=base, max_retries=0)

    def chat(self, model: str) -> tuple[str, int]:
        reply = self.client.messages.create(model=model, messages=MESSAGES, max_tokens=8192)
        return reply.content[0].text, reply.usage.input_tokens + reply.usage.output_tokens

    def stream(self, model: str, emit: Emit) -> int:
        tokens = 0
        for event in self.client.messages.create(model=model, messages=MESSAGES, max_tokens=8192, stream=True):
            if event.type == "content_block_delta":
                emit(event.delta.text)
            elif event.type == "message_start":
                tokens = event.message.usage.input_tokens
            elif event.type == "message_delta":
                tokens += event.usage.output_tokens
        return tokens


class AnthropicHelper(AnthropicSync):
    def stream(self, model: str, emit: Emit) -> int:
        with self.client.messages.stream(model=model, messages=MESSAGES, max_tokens=8192) as stream:
            for text in stream.text_stream:
                emit(text)
            usage = stream.get_final_message().usage
        return usage.input_tokens + usage.output_tokens  # type: ignore[no-any-return]


class OllamaSync:
    kind = "sync"

    def __init__(self, base: str) -> None:
        import ollama

        self.client: Any = ollama.Client(host=base)

    def chat(self, model: str) -> tuple[str, int]:
        reply = self.client.chat(model=model, messages=MESSAGES)
        return reply.message.content, reply.prompt_eval_count + reply.eval_count

    def stream(self, model: str, emit: Emit) -> int:
        tokens = 0
        for part in self.client.chat(model=model, messages=MESSAGES, stream=True):
            if part.message.content:
                emit(part.message.content)
            if part.done:
                tokens = part.prompt_eval_count + part.eval_count
        return tokens


def _request(model: str) -> dict[str, Any]:
    body = json.dumps({"model": model, "messages": MESSAGES}).encode()
    headers = {"Host": "127.0.0.1", "Authorization": "Bearer k", "Content-Type": "application/json",
               "Content-Length": str(len(body))}  # fmt: skip
    return {"headers": headers, "content": body}


def _read(reply: Any) -> tuple[str, int]:
    data = json.loads(reply.content)
    return data["choices"][0]["message"]["content"], data["usage"]["total_tokens"]


class HttpcoreSync:
    """httpcore's own HTTP layer: the pool and h11, nothing of an LLM."""

    kind = "sync"

    def __init__(self, base: str) -> None:
        import httpcore

        self.base = base
        self.pool = httpcore.ConnectionPool()

    def chat(self, model: str) -> tuple[str, int]:
        return _read(self.pool.request("POST", self.base + CHAT, **_request(model)))


class HttpcoreAsyncio:
    """The same on asyncio."""

    kind = "asyncio"

    def __init__(self, base: str) -> None:
        import httpcore

        self.base = base
        self.pool = httpcore.AsyncConnectionPool(max_connections=2000, max_keepalive_connections=2000)

    async def chat(self, model: str) -> tuple[str, int]:
        return _read(await self.pool.request("POST", self.base + CHAT, **_request(model)))


CLIENTS: dict[str, type[Any]] = {
    "floor": FloorSync, "floor-deadline": FloorDeadline, "floor-asyncio": FloorAsyncio, "floor-trio": FloorTrio,
    "ours": OursSync,
    "ours-asyncio": OursAsyncio, "ours-trio": OursTrio, "ours-anthropic": OursAnthropic, "ours-ollama": OursOllama,
    "openai": OpenAISync, "openai-asyncio": OpenAIAsyncio, "anthropic": AnthropicSync,
    "anthropic-helper": AnthropicHelper, "ollama": OllamaSync, "httpcore": HttpcoreSync,
    "httpcore-asyncio": HttpcoreAsyncio,
}  # fmt: skip
