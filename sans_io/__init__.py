"""The protocol core: arithmetic on bytes and numbers.

Nothing here waits, opens, reads a clock, rolls dice or looks at the environment. Machines are plain objects:
inputs are methods, outputs are return values, time is an argument. See ARCHITECTURE.md.

The names that an embedder starts from can be imported from here. Each is loaded when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .calls.call import Call as Call
    from .chat.tool_calls import ToolCallAssembler as ToolCallAssembler
    from .decode.ndjson import NDJSONDecoder as NDJSONDecoder
    from .decode.sse import SSEDecoder as SSEDecoder
    from .http.http11 import HTTPExchange as HTTPExchange
    from .http.http11 import HTTPRequest as HTTPRequest
    from .policy.pool import Pool as Pool
    from .policy.retry import RetryPolicy as RetryPolicy
    from .policy.retry import RetryState as RetryState
    from .providers.anthropic.codec import AnthropicCodec as AnthropicCodec
    from .providers.ollama.codec import OllamaCodec as OllamaCodec
    from .providers.openai_chat.codec import OpenAICodec as OpenAICodec

_HOMES = {
    "AnthropicCodec": "providers.anthropic.codec",
    "Call": "calls.call",
    "HTTPExchange": "http.http11",
    "HTTPRequest": "http.http11",
    "NDJSONDecoder": "decode.ndjson",
    "OllamaCodec": "providers.ollama.codec",
    "OpenAICodec": "providers.openai_chat.codec",
    "Pool": "policy.pool",
    "RetryPolicy": "policy.retry",
    "RetryState": "policy.retry",
    "SSEDecoder": "decode.sse",
    "ToolCallAssembler": "chat.tool_calls",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'sans_io' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module("." + home, __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
