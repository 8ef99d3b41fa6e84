"""The public clients in four modes, as one: blocking, blocking in threads, asyncio, trio.

outcomes = mode.run(main)            `main` is an async function; in the mode "threads" three threads run it at once
await chat(client, ...)              the same line for both kinds of client
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from inspect import isawaitable
from time import sleep
from typing import Any, TypeVar

import trio

import cloud.llm
from sans_io.providers.registry import WIRES
from transports.anyio_async import AsyncioTransport
from transports.httpcore_sync import SyncTransport
from transports.testing.conformance.bench import run_blocking
from transports.trio_async import TrioTransport

T = TypeVar("T")
Main = Callable[[], Awaitable[T]]

#: How many threads call at once in the mode "threads".
THREADS = 3
#: Seconds that a busy machine may take from any of us at any time: what is asserted as "soon" has this much to spare.
BUSY = 1.0
HELLO = [{"role": "user", "content": "hello"}]


@dataclass(frozen=True)
class Mode:
    name: str
    is_async: bool
    transport: Callable[..., Any]
    run: Callable[[Main], list]
    sleep: Callable[[float], Awaitable[None]]

    def __str__(self) -> str:
        return self.name

    def client(self, base_url: str, wire: str = "openai", **options: Any) -> Any:
        """A client with a transport of its own, so that its pool is nobody else's."""
        options.setdefault("transport", self.transport())
        options.setdefault("model", "m")
        if wire != "ollama":
            options.setdefault("api_key", "sk-test-key")
        return getattr(cloud.llm, WIRES[wire].clients[self.is_async])(base_url=base_url, **options)


def _once(main: Main) -> list:
    found: list = []

    async def kept() -> None:
        found.append(await main())

    run_blocking(kept)
    return found


def _in_threads(main: Main) -> list:
    found: list = []
    failures: list[BaseException] = []

    def work() -> None:
        try:
            found.extend(_once(main))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return found


async def _sleep(seconds: float) -> None:
    sleep(seconds)


SYNC = Mode("sync", False, SyncTransport, _once, _sleep)
IN_THREADS = Mode("threads", False, SyncTransport, _in_threads, _sleep)
ASYNCIO = Mode("asyncio", True, AsyncioTransport, lambda main: [asyncio.run(main())], asyncio.sleep)
TRIO = Mode("trio", True, TrioTransport, lambda main: [trio.run(main)], trio.sleep)
MODES = [SYNC, IN_THREADS, ASYNCIO, TRIO]
ASYNC_MODES = [ASYNCIO, TRIO]


async def settled(value: Any) -> Any:
    """The value, awaited where there is something to await."""
    return await value if isawaitable(value) else value


async def chat(client: Any, messages: list = HELLO, **arguments: Any) -> Any:
    return await settled(client.chat(messages, **arguments))


async def pull(stream: Any) -> str | None:
    """The next text of a stream, None at its end."""
    try:
        return await stream.__anext__() if hasattr(stream, "__anext__") else next(stream)
    except (StopIteration, StopAsyncIteration):
        return None


async def drain(stream: Any, into: list[str] | None = None) -> list[str]:
    """All texts; those before a failure are in `into`."""
    texts = [] if into is None else into
    while (text := await pull(stream)) is not None:
        texts.append(text)
    return texts


async def close(stream: Any) -> None:
    await settled(stream.close())
