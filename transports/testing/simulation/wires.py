"""The servers' side of the three wires, as cheap as a million calls need: request bytes in, body pieces out.

The nonce of a request comes back in every piece of its reply, so that a byte which reaches the wrong caller is seen.
`transports.testing.servers.in_memory` is the complete server; this one knows only what the simulation says to it.

Rules of this file:
- One piece is one provider event: where it is cut on the network is the network's business.
- `Script.text` is what a correct client has at the end; a prefix of it is what it may have before.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, Literal, TypeAlias

WireName: TypeAlias = Literal["openai", "anthropic", "ollama"]

_LENGTH: Final = re.compile(rb"(?i)\r\ncontent-length: *(\d+)\r\n")
_KEY: Final = re.compile(rb"key-(\w+)")
_NONCE: Final = re.compile(rb"nonce:(\w+);")


@dataclass(slots=True)
class Request:
    """One whole request as the server saw it."""

    nonce: str
    key: str
    stream: bool
    size: int


class RequestReader:
    """Bytes in, whole requests out; `pending` is True while one is incomplete."""

    __slots__ = ("_buffer", "_need", "pending")

    def __init__(self) -> None:
        self._buffer = b""
        self._need = 0
        self.pending = False

    def receive_data(self, data: bytes | memoryview) -> list[Request]:
        buffer = self._buffer + data
        found: list[Request] = []
        while len(buffer) >= self._need:
            end = buffer.find(b"\r\n\r\n") + 4
            if end < 4:
                break
            length = _LENGTH.search(buffer, 0, end - 2)
            self._need = end + (int(length[1]) if length else 0)
            if len(buffer) < self._need:
                break
            nonce, key = _NONCE.search(buffer, end, self._need), _KEY.search(buffer, 0, end)
            found.append(
                Request(
                    nonce[1].decode() if nonce else "",
                    key[1].decode() if key else "",
                    buffer.find(b'"stream":true', end, self._need) >= 0,
                    self._need - end,
                )
            )
            buffer = buffer[self._need :]
            self._need = 0
        self._buffer = buffer
        self.pending = buffer != b""
        return found


@dataclass(slots=True)
class Script:
    """What a server has to say: the body in pieces, and what it amounts to. Shared: nobody changes it.

    `first_content` is the index of the first piece that commits, `terminal` of the one that ends the read (equal to
    `len(pieces)` for a plain reply), `finish` of the one with the finish reason.
    """

    content_type: str
    pieces: tuple[bytes, ...]
    text: str
    tool: str
    first_content: int
    finish: int
    terminal: int
    #: Of all pieces together, in bytes.
    length: int = field(init=False)
    #: The pieces in chunked framing, with its end.
    chunks: tuple[bytes, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.length = sum(map(len, self.pieces))
        self.chunks = tuple(in_chunks(self.pieces))


@lru_cache(maxsize=4096)
def script(wire: WireName, nonce: str, *, stream: bool, events: int, tool: bool) -> Script:
    """A whole and correct reply of `events` text pieces, then perhaps one tool call."""
    words = [f"{nonce}.{i} " for i in range(events)]
    text = "".join(words)
    arguments = f'{{\\"nonce\\":\\"{nonce}\\"}}' if tool else ""
    if wire == "openai":
        return (_openai_stream if stream else _openai_whole)(nonce, words, text, arguments)
    if wire == "anthropic":
        return (_anthropic_stream if stream else _anthropic_whole)(nonce, words, text, arguments)
    return (_ollama_stream if stream else _ollama_whole)(nonce, words, text, arguments)


def in_chunks(pieces: Iterable[bytes], *, finished: bool = True) -> list[bytes]:
    """A chunk for each piece that is not empty; then the last chunk, if it is to be `finished`."""
    chunks = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces if piece]
    return [*chunks, b"0\r\n\r\n"] if finished else chunks


def error_body(wire: WireName, code: str, message: str) -> bytes:
    """A provider's error body with a status other than 200."""
    if wire == "openai":
        return b'{"error":{"message":"%b","type":"%b","param":null,"code":"%b"}}' % (_b(message), _b(code), _b(code))
    if wire == "anthropic":
        return b'{"type":"error","error":{"type":"%b","message":"%b"},"request_id":"req_sim"}' % (_b(code), _b(message))
    return b'{"error":"%b"}' % _b(message)


def error_event(wire: WireName, code: str, message: str) -> bytes:
    """The same as an event inside a 200 stream."""
    body = error_body(wire, code, message)
    if wire == "openai":
        return b"data: %b\n\n" % body
    if wire == "anthropic":
        return b"event: error\ndata: %b\n\n" % body
    return body + b"\n"


#: What servers send while they have nothing to say.
KEEPALIVES: Final[dict[WireName, tuple[bytes, ...]]] = {
    "openai": (
        b": keep-alive\n\n", b"data: {}\n\n", b'data: {"choices":[]}\n\n', b"event: ping\ndata: {}\n\n",
        b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}\n\n',
        b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":1,"total_tokens":4}}\n\n',
    ),
    "anthropic": (
        b'event: ping\ndata: {"type":"ping"}\n\n', b": keep-alive\n\n", b'data: {"type":"vendor_progress"}\n\n',
        b'data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}\n\n',
        b'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":""}}\n\n',
        b'data: {"type":"message_delta","delta":{},"usage":{"output_tokens":1}}\n\n',
    ),
    "ollama": (b"\n", b"{}\n", b'{"message":{"role":"assistant","content":""},"done":false}\n'),
}  # fmt: skip


def _b(text: str) -> bytes:
    return text.encode()


def _openai_stream(nonce: str, words: list[str], text: str, arguments: str) -> Script:
    head = (
        f'data: {{"id":"c-{nonce}","object":"chat.completion.chunk","created":1,"model":"sim","choices":[{{"index":0,'
    )
    pieces = [_b(head + '"delta":{"role":"assistant","content":""},"finish_reason":null}]}\n\n')]
    pieces += [_b(f'{head}"delta":{{"content":"{word}"}},"finish_reason":null}}]}}\n\n') for word in words]
    if arguments:
        call = f'"delta":{{"tool_calls":[{{"index":0,"id":"t-{nonce}","type":"function","function":'
        pieces.append(_b(f'{head}{call}{{"name":"f","arguments":"{arguments}"}}}}]}},"finish_reason":null}}]}}\n\n'))
    reason = "tool_calls" if arguments else "stop"
    pieces.append(_b(f'{head}"delta":{{}},"finish_reason":"{reason}"}}]}}\n\n'))
    pieces.append(
        _b(f'data: {{"id":"c-{nonce}","object":"chat.completion.chunk","created":1,"model":"sim","choices":[],'
           f'"usage":{{"prompt_tokens":3,"completion_tokens":{len(words)},"total_tokens":{len(words) + 3}}}}}\n\n')
    )  # fmt: skip
    pieces.append(b"data: [DONE]\n\n")
    n = len(pieces)
    return Script("text/event-stream", tuple(pieces), text, _plain(arguments), 1, n - 3, n - 1)


def _openai_whole(nonce: str, words: list[str], text: str, arguments: str) -> Script:
    calls = (
        f',"tool_calls":[{{"id":"t-{nonce}","type":"function","function":{{"name":"f","arguments":"{arguments}"}}}}]'
        if arguments
        else ""
    )
    reason = "tool_calls" if arguments else "stop"
    body = _b(
        f'{{"id":"c-{nonce}","object":"chat.completion","created":1,"model":"sim","choices":[{{"index":0,"message":'
        f'{{"role":"assistant","content":"{text}"{calls}}},"finish_reason":"{reason}"}}],'
        f'"usage":{{"prompt_tokens":3,"completion_tokens":{len(words)},"total_tokens":{len(words) + 3}}}}}'
    )
    return Script("application/json", (body,), text, _plain(arguments), 0, 0, 1)


def _anthropic_stream(nonce: str, words: list[str], text: str, arguments: str) -> Script:
    def event(name: str, rest: str) -> bytes:
        return _b(f'event: {name}\ndata: {{"type":"{name}"{rest}}}\n\n')

    pieces = [
        event(
            "message_start",
            f',"message":{{"id":"m-{nonce}","type":"message","role":"assistant","model":"sim","content":[],'
            '"stop_reason":null,"usage":{"input_tokens":3,"output_tokens":1}}',
        ),
        event("content_block_start", ',"index":0,"content_block":{"type":"text","text":""}'),
    ]
    pieces += [
        event("content_block_delta", f',"index":0,"delta":{{"type":"text_delta","text":"{word}"}}') for word in words
    ]
    pieces.append(event("content_block_stop", ',"index":0'))
    if arguments:
        block = f'{{"type":"tool_use","id":"t-{nonce}","name":"f","input":{{}}}}'
        pieces.append(event("content_block_start", f',"index":1,"content_block":{block}'))
        delta = f'{{"type":"input_json_delta","partial_json":"{arguments}"}}'
        pieces.append(event("content_block_delta", f',"index":1,"delta":{delta}'))
        pieces.append(event("content_block_stop", ',"index":1'))
    reason = "tool_use" if arguments else "end_turn"
    pieces.append(
        event("message_delta", f',"delta":{{"stop_reason":"{reason}"}},"usage":{{"output_tokens":{len(words)}}}')
    )
    pieces.append(event("message_stop", ""))
    n = len(pieces)
    return Script("text/event-stream", tuple(pieces), text, _plain(arguments), 2, n - 2, n - 1)


def _anthropic_whole(nonce: str, words: list[str], text: str, arguments: str) -> Script:
    block = f',{{"type":"tool_use","id":"t-{nonce}","name":"f","input":{_plain(arguments)}}}' if arguments else ""
    reason = "tool_use" if arguments else "end_turn"
    body = _b(
        f'{{"id":"m-{nonce}","type":"message","role":"assistant","model":"sim","content":[{{"type":"text","text":"{text}"}}'
        f'{block}],"stop_reason":"{reason}","usage":{{"input_tokens":3,"output_tokens":{len(words)}}}}}'
    )
    return Script("application/json", (body,), text, _plain(arguments), 0, 0, 1)


def _ollama_stream(nonce: str, words: list[str], text: str, arguments: str) -> Script:
    head = f'{{"model":"sim","created_at":"{nonce}","message":{{"role":"assistant","content":'
    pieces = [_b(f'{head}"{word}"}},"done":false}}\n') for word in words]
    if arguments:
        call = f'{{"function":{{"name":"f","arguments":{_plain(arguments)}}}}}'
        pieces.append(_b(f'{head}"","tool_calls":[{call}]}},"done":false}}\n'))
    counts = f'"prompt_eval_count":3,"eval_count":{len(words)}'
    pieces.append(_b(f'{head}""}},"done":true,"done_reason":"stop",{counts}}}\n'))
    n = len(pieces)
    return Script("application/x-ndjson", tuple(pieces), text, _plain(arguments), 0, n - 1, n - 1)


def _ollama_whole(nonce: str, words: list[str], text: str, arguments: str) -> Script:
    calls = f',"tool_calls":[{{"function":{{"name":"f","arguments":{_plain(arguments)}}}}}]' if arguments else ""
    body = _b(
        f'{{"model":"sim","created_at":"{nonce}","message":{{"role":"assistant","content":"{text}"{calls}}},"done":true,'
        f'"done_reason":"stop","prompt_eval_count":3,"eval_count":{len(words)}}}'
    )
    return Script("application/json", (body,), text, _plain(arguments), 0, 0, 1)


def _plain(arguments: str) -> str:
    return arguments.replace("\\", "")
