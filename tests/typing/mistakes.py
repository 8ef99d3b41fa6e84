"""What a type checker must find: each line with `# error` is reported, by mypy with the code that stands there."""

from __future__ import annotations

from cloud.llm import (
    AnthropicClient,
    AsyncOpenAICompatClient,
    ChatResponse,
    LLMError,
    Message,
    OllamaClient,
    OpenAICompatClient,
    ToolCall,
)

HELLO: list[Message] = [{"role": "user", "content": "Hello!"}]


def calls(client: OpenAICompatClient, anthropic: AnthropicClient) -> None:
    client.chat("Hello")  # error: arg-type
    client.chat(HELLO, max_completion_tokens=5)  # error: call-arg
    client.chat(HELLO, stream=True)  # error: call-arg
    client.chat(HELLO, top_p="0.5")  # error: arg-type
    client.chat(HELLO, logprobs="3")  # error: arg-type
    client.chat(HELLO, n="2")  # error: arg-type
    client.chat(HELLO, metadata={"run": 7})  # error: dict-item
    client.chat(HELLO, "gpt-5.4", "Be brief.")  # error: arg-type
    client.chat(HELLO, timeout=(3, 10))  # error: arg-type
    client.chat_stream(HELLO, tempreature=1)  # error: call-arg
    client.build_request(HELLO, seed=1.5)  # error: arg-type
    anthropic.chat(HELLO, max_tokens="5")  # error: arg-type


def constructors() -> None:
    OpenAICompatClient(default_headers={})  # error: call-arg
    OpenAICompatClient(timeout="5")  # error: arg-type
    AnthropicClient(organization="x")  # error: call-arg
    OllamaClient(max_retries=1.5)  # error: arg-type
    OpenAICompatClient().with_options(tiemout=5)  # error: call-arg
    AnthropicClient().with_options(dialect="openai")  # error: call-arg


def attributes(client: OpenAICompatClient, response: ChatResponse) -> None:
    client.messages.create(messages=HELLO)  # error: attr-defined
    client.chat.completions.create(messages=HELLO)  # error: attr-defined
    response.text  # error: attr-defined
    response.finish_reason == "tool_use"  # error: comparison-overlap
    response.message["reasoning"]  # error: typeddict-item
    response.content.get("x")  # error: attr-defined


def messages(call: ToolCall) -> None:
    history: list[Message] = [{"role": "human", "content": "Hello"}]  # error: list-item
    history.append(call.result("x")["content"])  # error: arg-type
    history.append({"role": "tool", "content": "x"})  # error: arg-type


async def asynchronous(client: AsyncOpenAICompatClient) -> None:
    client.chat(HELLO)  # error: unused-coroutine
    (await client.chat_stream(HELLO)).content  # error: misc
    for piece in client.chat_stream(HELLO):  # error: attr-defined
        print(piece)


def errors(error: LLMError) -> float:
    return error.retry_after  # error: return-value
