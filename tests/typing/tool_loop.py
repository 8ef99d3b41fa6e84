"""A tool loop as in the README, written by somebody who type-checks."""

from __future__ import annotations

from cloud.llm import AssistantMessage, ChatResponse, FinishReason, Message, OpenAICompatClient, Tool, ToolMessage

WEATHER: Tool = {
    "name": "get_weather",
    "description": "Get weather for a location",
    "parameters": {
        "type": "object",
        "properties": {"location": {"type": "string", "description": "City name"}},
        "required": ["location"],
        "additionalProperties": False,
    },
    "strict": True,
}


def get_weather(location: str) -> dict[str, float]:
    return {"temp_c": float(len(location))}


def answer(client: OpenAICompatClient, question: str) -> str:
    messages: list[Message] = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": question}]
    while True:
        response: ChatResponse = client.chat(messages, tools=[WEATHER], tool_choice="auto", parallel_tool_calls=False)
        messages.append(response.message)
        if not response.has_tool_calls:
            return response.content
        for call in response.tool_calls:
            location = str(call.arguments["location"])
            result: ToolMessage = call.result(get_weather(location), is_error=False)
            messages.append(result)


def untyped_literals(client: OpenAICompatClient) -> None:
    messages = [{"role": "user", "content": "Hello!"}]
    tools = [{"name": "f", "description": "d", "parameters": {"type": "object"}}]
    response = client.chat(messages, tools=tools)
    print(response.content, response.input_tokens + response.output_tokens)
    client.chat([{"role": "user", "content": [{"type": "text", "text": "What is this?"}]}], "gpt-5.4", 0.5, 100)
    client.chat([*messages, response.message])


def other_forms_of_tools(client: OpenAICompatClient) -> None:
    client.chat(
        [{"role": "user", "content": "Hello!"}],
        tools=[
            {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}},
            {"name": "g", "input_schema": {"type": "object"}},
            {"type": "web_search"},
        ],
        response_format={"type": "object", "properties": {}},
    )


def how_it_ended(response: ChatResponse) -> str:
    reason: FinishReason = response.finish_reason
    match reason:
        case "stop" | "tool_calls":
            return "whole"
        case "length":
            return "cut"
        case "content_filter" | "pause" | "error" | "other":
            return reason


def what_it_holds(response: ChatResponse) -> AssistantMessage:
    for choice in response.choices:
        print(choice.index, choice.content, choice.finish_reason, choice.message["role"])
    for token in response.logprobs or []:
        print(token["token"], token["logprob"], token.get("top_logprobs"))
    if response.usage.cached_tokens is not None:
        print(response.usage.cached_tokens + 1)
    print(response.request_id, response.headers.get("x-request-id"), response.rate_limit, response.attempts[0].status)
    return response.message
