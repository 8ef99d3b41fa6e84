"""Blocking code: a chat and a stream, from OpenAI or whatever OPENAI_BASE_URL names.

OPENAI_API_KEY=sk-... python examples/quickstart.py
OPENAI_BASE_URL=http://127.0.0.1:8080/v1 python examples/quickstart.py
"""

from cloud.llm import LLMError, LLMRateLimitError, OpenAICompatClient

client = OpenAICompatClient()
messages = [{"role": "user", "content": "Hello!"}]

try:
    response = client.chat(messages)
    print(response.content)
    print(f"({response.total_tokens} tokens, {response.finish_reason})")

    for chunk in client.chat_stream(messages):
        print(chunk, end="", flush=True)
    print()
except LLMRateLimitError as error:
    print(f"Too many requests; the server says to wait {error.retry_after} s")
except LLMError as error:
    print(f"{type(error).__name__}: {error}")
