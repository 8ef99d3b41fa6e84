"""A conversation with a tool: the model asks for it, we run it, the model goes on. The same code for every provider.

OPENAI_API_KEY=sk-... python examples/tool_loop.py "What is the weather in Paris?"
"""

import sys

from cloud.llm import OpenAICompatClient

TOOLS = [
    {
        "name": "get_weather",
        "description": "Get the weather in a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    }
]


def get_weather(city: str) -> dict[str, object]:
    return {"city": city, "temp_c": 20, "sky": "clear"}


def main(question: str) -> None:
    client = OpenAICompatClient()
    messages = [{"role": "user", "content": question}]
    for _ in range(5):  # a model may ask again, but not forever
        response = client.chat(messages, tools=TOOLS, max_tokens=200)
        messages.append(response.message)
        for call in response.tool_calls:  # only whole and valid ones are listed here
            print(f"-> {call.name}({call.arguments})")
            messages.append(call.result(get_weather(str(call.arguments.get("city")))))
        for call in response.invalid_tool_calls:
            messages.append(call.result(f"not run: {call.arguments_error}", is_error=True))
        if not response.has_tool_calls and not response.invalid_tool_calls:
            print(response.content)
            return


if __name__ == "__main__":
    main(" ".join(sys.argv[1:]) or "What is the weather in Paris?")
