"""The load server of the benchmarks: three wires, bytes rendered before the clock runs, one process of its own.

    python bench/server.py            prints "PORT n", serves until its standard input closes

The model's name in a request is its program: `chat` a plain reply, `stream-N` N events one write each, `paced-N` N events
1 ms apart, `burst-N` N events 64 to a write; `stamped-N` waits 5 ms and then sends all in one write whose first text is
the time of that write (the monotonic clock in nanoseconds, which the processes of a machine share). The wire is found by
the path.

It is asyncio and the standard library: what it costs is in another process, so a ratio of clients does not see it.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import re
import sys
import time

WORDS = [
    "The",
    "sky",
    "is",
    "blue",
    "because",
    "the",
    "air",
    "scatters",
    "short",
    "waves",
    "of",
    "light",
    "more",
    "than",
    "long",
    "ones",
    "",
]
#: As long as a time in nanoseconds, so that the sizes of chunks stay right.
STAMP = b"=====the time======"
LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)\r\n")
MODEL = re.compile(rb'"model": ?"([a-z]+)-?(\d*)"')


def wire_of(path: bytes) -> str:
    return "anthropic" if b"/messages" in path else "ollama" if b"/api/" in path else "openai"


def word(i: int) -> str:
    return WORDS[i % len(WORDS)] + " "


def events(wire: str, n: int) -> list[bytes]:
    """The events of a stream of n text pieces, each as it goes into one chunk."""
    if wire == "openai":
        base = {"id": "chatcmpl-Bench0123456789abcdef", "object": "chat.completion.chunk", "created": 1_790_000_000,
                "model": "bench", "service_tier": "default", "system_fingerprint": "fp_0123456789"}  # fmt: skip

        def chunk(delta: dict[str, str], reason: str | None = None) -> bytes:
            choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
            return b"data: %b\n\n" % dumps({**base, "choices": [choice], "usage": None})

        usage = {"prompt_tokens": 12, "completion_tokens": n, "total_tokens": n + 12}
        return [
            chunk({"role": "assistant", "content": ""}),
            *(chunk({"content": word(i)}) for i in range(n)),
            chunk({}, "stop"),
            b"data: %b\n\n" % dumps({**base, "choices": [], "usage": usage}),
            b"data: [DONE]\n\n",
        ]
    if wire == "anthropic":

        def event(kind: str, **rest: object) -> bytes:
            return b"event: %b\ndata: %b\n\n" % (kind.encode(), dumps({"type": kind, **rest}))

        message = {"id": "msg_bench", "type": "message", "role": "assistant", "model": "bench", "content": [],
                   "stop_reason": None, "stop_sequence": None, "usage": {"input_tokens": 12, "output_tokens": 1}}  # fmt: skip
        return [
            event("message_start", message=message),
            event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
            *(event("content_block_delta", index=0, delta={"type": "text_delta", "text": word(i)}) for i in range(n)),
            event("content_block_stop", index=0),
            event(
                "message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None}, usage={"output_tokens": n}
            ),
            event("message_stop"),
        ]
    base = {"model": "bench", "created_at": "2026-11-22T10:00:00.000000Z"}
    line = [{**base, "message": {"role": "assistant", "content": word(i)}, "done": False} for i in range(n)]
    end = {**base, "message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop",
           "prompt_eval_count": 12, "eval_count": n, "total_duration": 5}  # fmt: skip
    return [dumps(item) + b"\n" for item in [*line, end]]


def whole(wire: str) -> bytes:
    text = "".join(word(i) for i in range(40))
    if wire == "openai":
        return dumps({
            "id": "chatcmpl-Bench", "object": "chat.completion", "created": 1_790_000_000, "model": "bench",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": text, "refusal": None},
                         "logprobs": None, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 12, "completion_tokens": 40, "total_tokens": 52},
        })  # fmt: skip
    if wire == "anthropic":
        return dumps({
            "id": "msg_bench", "type": "message", "role": "assistant", "model": "bench", "stop_reason": "end_turn",
            "content": [{"type": "text", "text": text}], "usage": {"input_tokens": 12, "output_tokens": 40},
        })  # fmt: skip
    return dumps({"model": "bench", "message": {"role": "assistant", "content": text}, "done": True,
                  "done_reason": "stop", "prompt_eval_count": 12, "eval_count": 40})  # fmt: skip


def dumps(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


HEAD = (
    b"HTTP/1.1 200 OK\r\nDate: Sun, 22 Nov 2026 10:00:00 GMT\r\nContent-Type: %b\r\nServer: bench\r\n"
    b"x-request-id: req_0123456789abcdef\r\nopenai-processing-ms: 12\r\nx-ratelimit-limit-requests: 10000\r\n"
    b"x-ratelimit-remaining-requests: 9999\r\nx-ratelimit-reset-requests: 6ms\r\n"
)


@functools.cache
def rendered(wire: str, kind: str, n: int) -> list[bytes]:
    """The writes of a reply."""
    if kind == "chat":
        body = whole(wire)
        return [HEAD % b"application/json" + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)]
    media = b"application/x-ndjson" if wire == "ollama" else b"text/event-stream; charset=utf-8"
    said = events(wire, n)
    if kind == "stamped":
        said[1] = said[1].replace(word(0).encode(), STAMP)
    chunks = [b"%x\r\n%b\r\n" % (len(event), event) for event in said] + [b"0\r\n\r\n"]
    if kind == "burst":
        chunks = [b"".join(chunks[i : i + 64]) for i in range(0, len(chunks), 64)]
    return [HEAD % media + b"Transfer-Encoding: chunked\r\n\r\n", *chunks]


class Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self.buffer = b""
        self.tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self.writable = asyncio.Event()
        self.writable.set()

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def connection_lost(self, error: Exception | None) -> None:
        self.writable.set()
        for task in self.tasks:
            task.cancel()

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        length = LENGTH.search(self.buffer, 0, end + 2)
        total = end + 4 + (int(length[1]) if length else 0)
        if len(self.buffer) < total:
            return
        head, body, self.buffer = self.buffer[:end], self.buffer[end + 4 : total], self.buffer[total:]
        found = MODEL.search(body)
        kind, n = (found[1].decode(), int(found[2] or 0)) if found else ("chat", 0)
        writes = rendered(wire_of(head.split(b" ", 2)[1]), kind, n)
        if len(writes) == 1:
            self.transport.write(writes[0])
            return
        play = self.stamp(writes) if kind == "stamped" else self.play(writes, 0.001 if kind == "paced" else 0.0)
        task = asyncio.get_running_loop().create_task(play)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def stamp(self, writes: list[bytes]) -> None:
        await asyncio.sleep(0.005)
        self.transport.write(b"".join(writes).replace(STAMP, b"%019d" % time.monotonic_ns(), 1))

    async def play(self, writes: list[bytes], pause: float) -> None:
        for index, data in enumerate(writes):
            await self.writable.wait()
            self.transport.write(data)
            if pause:
                await asyncio.sleep(pause)
            elif index % 16 == 15:
                await asyncio.sleep(0)


async def main() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, "127.0.0.1", 0, backlog=4096)
    print("PORT", server.sockets[0].getsockname()[1], flush=True)
    with contextlib.suppress(asyncio.CancelledError):
        await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    try:
        import resource

        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (ImportError, ValueError, OSError) as error:
        print(f"descriptor limit stays as it is: {error}", file=sys.stderr)
    asyncio.run(main())
