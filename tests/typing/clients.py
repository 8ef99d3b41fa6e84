"""Building clients, changing them, asking for requests without sending them."""

from __future__ import annotations

from typing import Unpack

import cloud.llm
from cloud import close_all_cloud_clients, close_all_cloud_clients_sync
from cloud.llm import (
    AnthropicClient,
    AsyncOllamaClient,
    AsyncOpenAICompatClient,
    Attempt,
    CallOptions,
    ChatResponse,
    ClientOptions,
    HTTPRequest,
    Limits,
    Message,
    OllamaClient,
    OpenAICompatClient,
    PullProgress,
    RetryPolicy,
    Timeouts,
)

HELLO: list[Message] = [{"role": "user", "content": "Hello!"}]


def on_attempt(attempt: Attempt) -> None:
    print(attempt.number, attempt.status, attempt.outcome)


def build() -> OpenAICompatClient:
    client = OpenAICompatClient(
        "sk-...", "gpt-5.4-mini", base_url="https://eu.api.openai.com/v1", timeout=Timeouts(total=60, connect=3),
        max_retries=2, headers={"X-Team": "a"}, retry=RetryPolicy(max_retries=5), on_attempt=on_attempt, trust_env=False,
        limits=Limits(), organization="org", dialect="openai",
    )  # fmt: skip
    quick: OpenAICompatClient = client.with_options(timeout=5.0, model="gpt-6-luna", max_retries=0)
    quick.chat(HELLO, timeout=Timeouts(first_token=2), max_retries=1)
    print(client.model, client.base_url, client.timeout, client.max_retries, client.pool_stats())
    return quick.with_options(api_key=lambda: "sk-other", organization=None)


def shared() -> list[AnthropicClient | OllamaClient]:
    common: ClientOptions = {"timeout": None, "proxy": "http://127.0.0.1:3128"}
    return [
        AnthropicClient(**common, betas=["context-1m-2025-08-07"]).with_options(
            auth_token="t", api_version="2023-06-01"
        ),
        OllamaClient(**common, host="localhost").with_options(host="other:11434"),
    ]


def wrapped(client: OpenAICompatClient, question: str, **options: Unpack[CallOptions]) -> ChatResponse:
    """A wrapper passes options on and keeps their types."""
    return client.chat([{"role": "user", "content": question}], **options)


def use_the_wrapper(client: OpenAICompatClient) -> ChatResponse:
    return wrapped(
        client, "Hello!", top_p=0.5, frequency_penalty=1, presence_penalty=0.5, stop=["\n"], seed=1, n=2, logprobs=3,
        response_format="json", reasoning_effort="low", verbosity="low", service_tier="flex", user="u-1",
        metadata={"run": "7"}, extra_body={"store": True}, extra_headers={"X-A": "b"}, timeout=None, max_retries=0,
    )  # fmt: skip


def look(client: OpenAICompatClient) -> HTTPRequest:
    request = client.build_request(HELLO, stream=True, system="Be brief.", temperature=0)
    print(request.method, request.target, request.body.decode(), cloud.llm.__version__)
    return request


async def rotating() -> str:
    return "sk-..."


async def asynchronous() -> None:
    def show(step: PullProgress) -> None:
        print(step.status, step.completed)

    async with AsyncOpenAICompatClient(api_key=rotating) as client:
        print((await client.chat(HELLO, system="Be brief.")).content, await client.list_models())
    ollama = AsyncOllamaClient(model="llama3.2")
    if await ollama.is_available() and not await ollama.has_model("llama3.2"):
        await ollama.ensure_model("llama3.2", on_progress=show)
    await ollama.aclose()
    await close_all_cloud_clients()


def blocking() -> None:
    with OllamaClient() as client:
        print(client.chat(HELLO, "qwen2.5:3b", "Be brief.", thinking=False).reasoning)
    close_all_cloud_clients_sync()
