"""The code of the user document, block by block, word for word. `test_blocks` runs it."""

# ruff: noqa: W293 - white space as in the document
from __future__ import annotations

OPENAI = """
from cloud.llm import OpenAICompatClient, AsyncOpenAICompatClient

# Sync
client = OpenAICompatClient(api_key="sk-...", model="gpt-4o")
response = client.chat([{"role": "user", "content": "Hello!"}])
print(response.content)

# Async
async with AsyncOpenAICompatClient(api_key="sk-...") as client:
    response = await client.chat([{"role": "user", "content": "Hello!"}])
    
    # Streaming
    async for chunk in client.chat_stream(messages):
        print(chunk, end="", flush=True)
"""

ANTHROPIC = """
from cloud.llm import AnthropicClient, AsyncAnthropicClient

# Sync
client = AnthropicClient(api_key="sk-ant-...")
response = client.chat(
    messages=[{"role": "user", "content": "Hello!"}],
    system="You are helpful.",
)

# Async with streaming
async with AsyncAnthropicClient(api_key="...") as client:
    async for chunk in client.chat_stream(messages, system="Be concise."):
        print(chunk, end="")
"""

GROQ = """
from cloud.llm import AsyncOpenAICompatClient

client = AsyncOpenAICompatClient(
    api_key="gsk-...",
    base_url="https://api.groq.com/openai/v1",
    model="llama-3.3-70b-versatile"
)

response = await client.chat(messages)
"""

OLLAMA = """
from cloud.llm import OllamaClient, AsyncOllamaClient

# Check availability and models
client = OllamaClient()
if client.is_available():
    models = client.list_models()  # ["llama3.2:latest", "qwen2.5:3b", ...]

# Sync
client = OllamaClient(model="qwen2.5:3b")  # Best quality/size ratio
response = client.chat([{"role": "user", "content": "Hello!"}])
print(response.content)

# Async with streaming
async with AsyncOllamaClient(model="llama3.2") as client:
    async for chunk in client.chat_stream(messages):
        print(chunk, end="", flush=True)

# Model management
client = AsyncOllamaClient()
await client.ensure_model("llama3.2")  # Pull if not present
await client.pull_model("codellama:7b")  # Force pull
"""

TOOLS = """
tools = [
    {
        "name": "get_weather",
        "description": "Get weather for a location",
        "parameters": {
            "type": "object",
            "properties": {
                "location": {"type": "string", "description": "City name"}
            },
            "required": ["location"]
        }
    }
]

response = await client.chat(messages, tools=tools)

if response.has_tool_calls:
    for tc in response.tool_calls:
        print(f"Call: {tc.name}({tc.arguments})")
"""

RESPONSE = """
response = await client.chat(messages)

response.content        # str - Generated text
response.model          # str - Model used
response.input_tokens   # int - Prompt tokens
response.output_tokens  # int - Completion tokens
response.total_tokens   # int - Total tokens
response.finish_reason  # str - "stop", "tool_calls", etc.
response.tool_calls     # List[ToolCall] - Tool calls if any
response.has_tool_calls # bool - Quick check
response.raw            # dict - Raw API response
"""

ERRORS = """
from cloud.llm import (
    LLMError,
    LLMRateLimitError,
    LLMAuthError,
    LLMContextLengthError,
    LLMTimeoutError,
    LLMConnectionError,
)

try:
    response = await client.chat(messages)
except LLMRateLimitError as e:
    print(f"Rate limited, retry after {e.retry_after}s")
except LLMAuthError:
    print("Invalid API key")
except LLMContextLengthError as e:
    print(f"Context too long: {e.message}")
except LLMTimeoutError:
    print("Request timed out")
except LLMError as e:
    print(f"API error: {e.message} (status: {e.status_code})")
"""

CONFIGURATION = """
# Custom timeout and retries
client = AsyncAnthropicClient(
    api_key="...",
    model="claude-sonnet-4-20250514",
    timeout=120.0,      # Default: 120s (LLM calls can be slow)
    max_retries=3,      # Default: 3
)
"""

POOLING = """
# These share the same TCP connection pool
client1 = AsyncOpenAICompatClient(api_key="user1-key")
client2 = AsyncOpenAICompatClient(api_key="user2-key")

# Shutdown (in FastAPI lifespan)
from cloud import close_all_cloud_clients
await close_all_cloud_clients()
"""

PROVIDERS = """
from ai.ai_agents.providers import get_provider

# Uses cloud.llm.AsyncAnthropicClient internally
provider = get_provider("anthropic", api_key="...", model="claude-sonnet-4-20250514")
response = await provider.run(messages)

# Available providers:
# - anthropic → AsyncAnthropicClient
# - openai → AsyncOpenAICompatClient
# - groq → AsyncOpenAICompatClient (Groq URL)
# - ollama → AsyncOllamaClient (local server)
"""

#: The tables of its API reference: method -> (arguments, what it returns).
CHAT_METHODS = {
    "OpenAICompat": {
        "chat": (["messages", "model", "temperature", "max_tokens", "tools", "tool_choice"], "ChatResponse"),
        "chat_stream": (["messages", "model", "temperature", "max_tokens"], "AsyncIterator[str]"),
        "close": ([], "None"),
    },
    "Anthropic": {
        "chat": (["messages", "model", "system", "temperature", "max_tokens", "tools", "tool_choice"], "ChatResponse"),
        "chat_stream": (["messages", "model", "system", "temperature", "max_tokens"], "AsyncIterator[str]"),
        "close": ([], "None"),
    },
    "Ollama": {
        "chat": (["messages", "model", "system", "temperature", "max_tokens", "tools"], "ChatResponse"),
        "chat_stream": (["messages", "model", "system", "temperature", "max_tokens"], "AsyncIterator[str]"),
        "is_available": ([], "bool"),
        "list_models": ([], "List[str]"),
        "has_model": (["model_name"], "bool"),
        "pull_model": (["model_name"], "bool"),
        "ensure_model": (["model_name"], "bool"),
    },
}

RESPONSE_PROPERTIES = {
    "content": str, "model": str, "input_tokens": int, "output_tokens": int, "total_tokens": int, "finish_reason": str,
    "tool_calls": list, "has_tool_calls": bool, "raw": dict,
}  # fmt: skip
TOOL_CALL_PROPERTIES = {"id": str, "name": str, "arguments": dict}


def blocking(code: str) -> str:
    """The same lines for a blocking client."""
    return code.replace("await ", "").replace("async for", "for").replace("async with", "with").replace(" Async", " ")
