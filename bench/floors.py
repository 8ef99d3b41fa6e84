"""The floors: what a client costs that does only what must be done, by hand, for one server that never fails.

No deadline (but for one of them), no guard, no error. They say how much of a client's cost is the language and the kernel.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from urllib.parse import urlsplit

MESSAGES = [{"role": "user", "content": "Why is the sky blue? Answer at length."}]
Emit = Callable[[str], object]


def request(host: str, port: int, model: str, *, stream: bool) -> bytes:
    body: dict[str, object] = {"model": model, "messages": MESSAGES}
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    payload = json.dumps(body, separators=(",", ":")).encode()
    return (
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: %b:%d\r\nAuthorization: Bearer k\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (host.encode(), port, len(payload), payload)
    )


class Parser:
    """Head by `find`, chunks by hand, events by `split`, JSON by `json.loads`."""

    def __init__(self, emit: Emit | None) -> None:
        self.emit = emit
        self.head = b""
        self.length: int | None = None
        self.in_body = self.done = False
        self.raw = self.text = b""
        self.tokens = 0
        self.answer = ""

    def feed(self, data: bytes) -> None:
        if not self.in_body:
            self.head += data
            end = self.head.find(b"\r\n\r\n")
            if end < 0:
                return
            data, self.in_body = self.head[end + 4 :], True
            at = self.head.find(b"Content-Length: ", 0, end)
            if at >= 0:
                self.length = int(self.head[at + 16 : self.head.find(b"\r\n", at)])
        if self.length is not None:
            self.raw += data
            if len(self.raw) >= self.length:
                reply = json.loads(self.raw)
                self.answer = reply["choices"][0]["message"]["content"]
                self.tokens = reply["usage"]["total_tokens"]
                self.done = True
            return
        raw = self.raw + data
        at = 0
        while True:
            line = raw.find(b"\r\n", at)
            if line < 0:
                break
            size = int(raw[at:line], 16)
            if size == 0:
                self.done = True
                break
            if len(raw) < line + size + 4:
                break
            self.text += raw[line + 2 : line + 2 + size]
            at = line + size + 4
        self.raw = raw[at:]
        *blocks, self.text = self.text.split(b"\n\n")
        for block in blocks:
            if block == b"data: [DONE]":
                continue
            chunk = json.loads(block[6:])
            for choice in chunk["choices"]:
                text = choice["delta"].get("content")
                if text and self.emit is not None:
                    self.emit(text)
            if chunk["usage"]:
                self.tokens = chunk["usage"]["total_tokens"]


class FloorSync:
    """A blocking socket."""

    kind = "sync"

    def __init__(self, base: str) -> None:
        url = urlsplit(base)
        self.host, self.port = str(url.hostname), int(url.port or 80)
        self.sock = socket.create_connection((self.host, self.port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def run(self, model: str, emit: Emit | None) -> Parser:
        self.sock.sendall(request(self.host, self.port, model, stream=emit is not None))
        parser = Parser(emit)
        while not parser.done:
            parser.feed(self.sock.recv(65536))
        return parser

    def chat(self, model: str) -> tuple[str, int]:
        parser = self.run(model, None)
        return parser.answer, parser.tokens

    def stream(self, model: str, emit: Emit) -> int:
        return self.run(model, emit).tokens


class FloorDeadline(FloorSync):
    """The same with a timeout on the socket: CPython then asks the kernel to poll before each read and write."""

    def __init__(self, base: str) -> None:
        super().__init__(base)
        self.sock.settimeout(60.0)


class _Wire(asyncio.Protocol):
    def __init__(self) -> None:
        self.queue = b""
        self.waiter: asyncio.Future[None] | None = None

    def data_received(self, data: bytes) -> None:
        self.queue += data
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    async def read(self) -> bytes:
        if not self.queue:
            self.waiter = asyncio.get_running_loop().create_future()
            await self.waiter
        data, self.queue = self.queue, b""
        return data


class FloorAsyncio:
    """An asyncio.Protocol; one connection for each stream at once."""

    kind = "asyncio"

    def __init__(self, base: str) -> None:
        url = urlsplit(base)
        self.host, self.port = str(url.hostname), int(url.port or 80)
        self.idle: list[tuple[asyncio.Transport, _Wire]] = []

    async def run(self, model: str, emit: Emit | None) -> Parser:
        if self.idle:
            transport, wire = self.idle.pop()
        else:
            loop = asyncio.get_running_loop()
            transport, wire = await loop.create_connection(_Wire, self.host, self.port)  # type: ignore[assignment]
        transport.write(request(self.host, self.port, model, stream=emit is not None))
        parser = Parser(emit)
        while not parser.done:
            parser.feed(await wire.read())
        self.idle.append((transport, wire))
        return parser

    async def chat(self, model: str) -> tuple[str, int]:
        parser = await self.run(model, None)
        return parser.answer, parser.tokens

    async def stream(self, model: str, emit: Emit) -> int:
        return (await self.run(model, emit)).tokens


class FloorTrio:
    """A trio socket stream."""

    kind = "trio"

    def __init__(self, base: str) -> None:
        url = urlsplit(base)
        self.host, self.port = str(url.hostname), int(url.port or 80)
        self.idle: list[object] = []

    async def run(self, model: str, emit: Emit | None) -> Parser:
        import trio

        stream = self.idle.pop() if self.idle else await trio.open_tcp_stream(self.host, self.port)
        await stream.send_all(request(self.host, self.port, model, stream=emit is not None))  # type: ignore[attr-defined]
        parser = Parser(emit)
        while not parser.done:
            parser.feed(await stream.receive_some(65536))  # type: ignore[attr-defined]
        self.idle.append(stream)
        return parser

    async def chat(self, model: str) -> tuple[str, int]:
        parser = await self.run(model, None)
        return parser.answer, parser.tokens

    async def stream(self, model: str, emit: Emit) -> int:
        return (await self.run(model, emit)).tokens
