"""Recorded bytes to a response: the whole core without a transport.

What a stream came to, from its chunks as they were read:

    decode("openai", 200, {"content-type": "text/event-stream"}, chunks, stream=True) -> ChatResponse
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, TypeAlias

from ..chat.messages import ChatRequest
from ..chat.response import ChatResponse
from ..errors import LLMBadRequestError, LLMStreamError
from ..http.heads import ResponseHead, media_type
from ..http.urls import parse_base_url
from ..limits import DEFAULT_LIMITS, Limits
from ..providers.base import Headers, Operation
from ..records import replace
from .exchange import Exchange

ProviderName: TypeAlias = Literal["openai", "anthropic", "ollama"]


def decode(
    provider: ProviderName,
    status: int,
    headers: Mapping[str, str] | Iterable[tuple[str, str]],
    chunks: Iterable[bytes],
    *,
    stream: bool,
    limits: Limits = DEFAULT_LIMITS,
) -> ChatResponse:
    """What a client would return for this reply; raises the `LLMError` that a client would raise.

    `headers` are those of the response (names in any case), `chunks` its body bytes after transfer decoding, cut
    anywhere. `stream` says what was asked for.
    """
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    fields: Headers = tuple((name.lower(), value) for name, value in pairs)
    operation = _operation(provider, limits, stream=stream)
    exchange = Exchange(operation, limits)
    exchange.begin(ResponseHead(status, fields), media_type(fields))
    for chunk in chunks:
        if chunk:
            exchange.receive_body(bytes(chunk))
        if exchange.done:
            break
    exchange.end_body()
    error = exchange.error
    response = exchange.response()
    if error is not None or response is None:
        error = error or LLMStreamError("there was no reply to decode", code="truncated")
        error.provider = error.provider or operation.provider
        error.status_code = error.status_code or status
        error.request_id = error.request_id or operation.request_id(fields)
        if stream and error.partial is None:
            error.partial = response
        raise error
    return response


def _operation(provider: str, limits: Limits, *, stream: bool) -> Operation:
    """The codec is imported on demand: who replays one wire need not load the others."""
    chat = ChatRequest(messages=({"role": "user", "content": "-"},), model="-", stream=stream)
    base_url = parse_base_url("http://localhost/v1")
    if provider == "openai":
        from ..providers.openai_chat.codec import OpenAICodec
        from ..providers.openai_chat.dialects import DIALECTS

        dialect = replace(DIALECTS["generic"], name=provider)  # else it would be named after the host
        return OpenAICodec(base_url, dialect, limits=limits).operation(chat)
    if provider == "anthropic":
        from ..providers.anthropic.codec import AnthropicCodec

        return AnthropicCodec(base_url, limits=limits).operation(chat)
    if provider == "ollama":
        from ..providers.ollama.codec import OllamaCodec

        return OllamaCodec(base_url, limits=limits).operation(chat)
    raise LLMBadRequestError(f"unknown provider {provider!r}; known: openai, anthropic, ollama")
