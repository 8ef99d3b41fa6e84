"""Recorded bytes to a response: the whole core without a transport.

What a stream came to, from its chunks as they were read:

    decode("openai", 200, {"content-type": "text/event-stream"}, chunks, stream=True) -> ChatResponse
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain

from ..chat.messages import ChatRequest
from ..chat.response import ChatResponse
from ..errors import LLMBadRequestError, LLMStreamError
from ..http.heads import ResponseHead, media_type
from ..http.rate_limits import rate_limits
from ..http.urls import parse_base_url
from ..limits import DEFAULT_LIMITS, Limits
from ..providers.base import Headers, Operation
from ..providers.registry import DIALECTS, WIRES, spoken
from .exchange import Exchange


def decode(
    provider: str,
    status: int,
    headers: Mapping[str, str] | Iterable[tuple[str, str]],
    chunks: Iterable[bytes],
    *,
    stream: bool,
    limits: Limits = DEFAULT_LIMITS,
) -> ChatResponse:
    """What a client would return for this reply; raises the `LLMError` that a client would raise.

    `provider` is the name of a dialect: "openai", "anthropic", "ollama", "groq" and so on. Its codec is loaded now.
    `headers` are those of the response (names in any case), `chunks` its body bytes after transfer decoding, cut
    anywhere. `stream` says what was asked for.
    """
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    fields: Headers = tuple((name.lower(), value) for name, value in pairs)
    coming = iter(chunks)
    # Nobody knows how many answers were asked for. An index that counts up with each chunk says: one.
    operation = _operation(provider, limits, stream=stream, n=None)
    exchange, read = _read(operation, status, fields, coming, limits)
    if getattr(exchange.reader, "counts_up", False):
        operation = _operation(provider, limits, stream=stream, n=1)
        exchange, _ = _read(operation, status, fields, chain(read, coming), limits)
    error = exchange.error
    response = exchange.response()
    if error is not None or response is None:
        error = error or LLMStreamError("there was no reply to decode", code="truncated")
        error.provider = error.provider or operation.provider
        error.status_code = error.status_code or status
        error.request_id = error.request_id or operation.request_id(fields)
        error.rate_limits = error.rate_limits or rate_limits(fields)
        if stream and error.partial is None:
            error.partial = response
        raise error
    return response


def _read(
    operation: Operation, status: int, fields: Headers, chunks: Iterable[bytes], limits: Limits
) -> tuple[Exchange, list[bytes]]:
    """The exchange at its end, and the chunks that it took."""
    exchange = Exchange(operation, limits)
    exchange.begin(ResponseHead(status, fields), media_type(fields))
    read: list[bytes] = []
    for chunk in chunks:
        if chunk:
            read.append(bytes(chunk))
            exchange.receive_body(read[-1])
        if exchange.done:
            break
    exchange.end_body()
    return exchange, read


def _operation(provider: str, limits: Limits, *, stream: bool, n: int | None) -> Operation:
    found = spoken(provider)
    if found is None:
        known = ", ".join(dict.fromkeys((*WIRES, *DIALECTS)))
        raise LLMBadRequestError(f"unknown provider {provider!r}; known: {known}", code="invalid_argument")
    dialect, wire = found
    chat = ChatRequest(messages=({"role": "user", "content": "-"},), model="-", stream=stream, extra_body={"n": n})
    # The codec knows the dialect by its place; one that has none (azure) by a host.
    host = next(iter(dialect.hosts), dialect.name)
    place = dialect.place(wire.name) or f"https://{'resource' if host.startswith('.') else ''}{host}/v1"
    return wire.new_codec(parse_base_url(place), limits=limits).operation(chat)
