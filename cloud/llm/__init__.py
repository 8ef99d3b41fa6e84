"""LLM clients: one interface for OpenAI-compatible, Anthropic and Ollama servers.

    from cloud.llm import OpenAICompatClient

    client = OpenAICompatClient(api_key="sk-...", model="gpt-5.4-mini")
    print(client.chat([{"role": "user", "content": "Hello!"}]).content)

Everything named here is imported on first use, so that `import cloud.llm` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sans_io.chat.events import (
        Event,
        Finished,
        PullProgress,
        ReasoningDelta,
        RefusalDelta,
        TextDelta,
        ToolCallCompleted,
        ToolCallDelta,
        ToolCallStarted,
        UsageReported,
    )
    from sans_io.chat.response import Attempt, ChatResponse, Choice, ToolCall, Usage
    from sans_io.chat.shapes import (
        AssistantMessage,
        ContentPart,
        FinishReason,
        InputSchemaTool,
        Message,
        NestedTool,
        SystemMessage,
        TokenLogprob,
        Tool,
        ToolMessage,
        UserMessage,
    )
    from sans_io.errors import (
        LLMAuthError,
        LLMBadRequestError,
        LLMConnectionError,
        LLMContentFilterError,
        LLMContextLengthError,
        LLMError,
        LLMNotFoundError,
        LLMProtocolError,
        LLMQuotaError,
        LLMRateLimitError,
        LLMServerError,
        LLMStreamError,
        LLMTimeoutError,
    )
    from sans_io.http.http11 import HTTPRequest
    from sans_io.http.rate_limits import RateLimitState
    from sans_io.limits import Limits
    from sans_io.policy.retry import RetryPolicy

    from .anthropic import AnthropicClient, AsyncAnthropicClient
    from .config import InsecureTransportWarning, Timeouts
    from .ollama import AsyncOllamaClient, CreateOptions, OllamaClient
    from .ollama_models import ModelDetails, ModelInfo, RunningModel
    from .openai import AsyncOpenAICompatClient, OpenAICompatClient
    from .options import CallOptions, ClientOptions
    from .providers import get_provider, register_provider
    from .registry import close_all_cloud_clients, close_all_cloud_clients_sync
    from .streams import AsyncChatStream, ChatStream

    #: The version of the distribution that is installed.
    __version__: str

#: Where each public name lives.
_HOMES = {
    "OpenAICompatClient": "cloud.llm.openai",
    "AsyncOpenAICompatClient": "cloud.llm.openai",
    "AnthropicClient": "cloud.llm.anthropic",
    "AsyncAnthropicClient": "cloud.llm.anthropic",
    "OllamaClient": "cloud.llm.ollama",
    "AsyncOllamaClient": "cloud.llm.ollama",
    "CreateOptions": "cloud.llm.ollama",
    **dict.fromkeys(("ModelDetails", "ModelInfo", "RunningModel"), "cloud.llm.ollama_models"),
    "ChatStream": "cloud.llm.streams",
    "AsyncChatStream": "cloud.llm.streams",
    "Timeouts": "cloud.llm.config",
    "InsecureTransportWarning": "cloud.llm.config",
    "CallOptions": "cloud.llm.options",
    "ClientOptions": "cloud.llm.options",
    "get_provider": "cloud.llm.providers",
    "register_provider": "cloud.llm.providers",
    "close_all_cloud_clients": "cloud.llm.registry",
    "close_all_cloud_clients_sync": "cloud.llm.registry",
    "RetryPolicy": "sans_io.policy.retry",
    "Limits": "sans_io.limits",
    "HTTPRequest": "sans_io.http.http11",
    "RateLimitState": "sans_io.http.rate_limits",
    **dict.fromkeys(("Attempt", "ChatResponse", "Choice", "ToolCall", "Usage"), "sans_io.chat.response"),
    **dict.fromkeys(
        (
            "LLMAuthError", "LLMBadRequestError", "LLMConnectionError", "LLMContentFilterError",
            "LLMContextLengthError", "LLMError", "LLMNotFoundError", "LLMProtocolError", "LLMQuotaError",
            "LLMRateLimitError", "LLMServerError", "LLMStreamError", "LLMTimeoutError",
        ),
        "sans_io.errors",
    ),
    **dict.fromkeys(
        (
            "Event", "Finished", "PullProgress", "ReasoningDelta", "RefusalDelta", "TextDelta", "ToolCallCompleted",
            "ToolCallDelta", "ToolCallStarted", "UsageReported",
        ),
        "sans_io.chat.events",
    ),
    **dict.fromkeys(
        (
            "AssistantMessage", "ContentPart", "FinishReason", "InputSchemaTool", "Message", "NestedTool",
            "SystemMessage", "TokenLogprob", "Tool", "ToolMessage", "UserMessage",
        ),
        "sans_io.chat.shapes",
    ),
}  # fmt: skip

__all__ = [
    "AnthropicClient",
    "AssistantMessage",
    "AsyncAnthropicClient",
    "AsyncChatStream",
    "AsyncOllamaClient",
    "AsyncOpenAICompatClient",
    "Attempt",
    "CallOptions",
    "ChatResponse",
    "ChatStream",
    "Choice",
    "ClientOptions",
    "ContentPart",
    "CreateOptions",
    "Event",
    "FinishReason",
    "Finished",
    "HTTPRequest",
    "InputSchemaTool",
    "InsecureTransportWarning",
    "LLMAuthError",
    "LLMBadRequestError",
    "LLMConnectionError",
    "LLMContentFilterError",
    "LLMContextLengthError",
    "LLMError",
    "LLMNotFoundError",
    "LLMProtocolError",
    "LLMQuotaError",
    "LLMRateLimitError",
    "LLMServerError",
    "LLMStreamError",
    "LLMTimeoutError",
    "Limits",
    "Message",
    "ModelDetails",
    "ModelInfo",
    "NestedTool",
    "OllamaClient",
    "OpenAICompatClient",
    "PullProgress",
    "RateLimitState",
    "ReasoningDelta",
    "RefusalDelta",
    "RetryPolicy",
    "RunningModel",
    "SystemMessage",
    "TextDelta",
    "Timeouts",
    "TokenLogprob",
    "Tool",
    "ToolCall",
    "ToolCallCompleted",
    "ToolCallDelta",
    "ToolCallStarted",
    "ToolMessage",
    "Usage",
    "UsageReported",
    "UserMessage",
    "close_all_cloud_clients",
    "close_all_cloud_clients_sync",
    "get_provider",
    "register_provider",
]


def __getattr__(name: str) -> object:
    if name == "__version__":
        return _version()
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(home), name)
    return value


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("cloud-llm")
    except PackageNotFoundError:  # a checkout on sys.path that nobody installed
        return "unknown"


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
