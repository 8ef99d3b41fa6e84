"""The four ways of calling, as one: blocking, blocking in threads, asyncio, trio.

A test is an async function; `Mode.run(main)` runs it, and `Mode.together(*tasks)` runs async functions at once.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import monotonic, sleep

import trio

from sans_io.calls.call import Call
from sans_io.chat.events import Event, TextDelta
from sans_io.chat.messages import chat_request
from sans_io.http.urls import parse_base_url
from sans_io.policy.deadline import Timers
from sans_io.policy.pool import Route
from sans_io.policy.retry import RetryPolicy
from sans_io.providers.anthropic.codec import AnthropicCodec
from transports.anyio_async import AsyncioTransport
from transports.httpcore_sync import SyncTransport
from transports.testing.conformance.bench import run_blocking
from transports.trio_async import TrioTransport

Main = Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class Mode:
    name: str
    transport: Callable
    run: Callable[[Main], None]
    together: Callable[..., Awaitable[None]]
    sleep: Callable[[float], Awaitable[None]]

    def __str__(self) -> str:
        return self.name


async def _threads(*tasks: Main) -> None:
    failures: list[BaseException] = []

    def work(task: Main) -> None:
        try:
            run_blocking(task)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(task,)) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


async def _gather(*tasks: Main) -> None:
    await asyncio.gather(*(task() for task in tasks))


async def _nursery(*tasks: Main) -> None:
    async with trio.open_nursery() as nursery:
        for task in tasks:
            nursery.start_soon(task)


async def _sleep(seconds: float) -> None:
    sleep(seconds)


SYNC = Mode("sync", SyncTransport, run_blocking, _threads, _sleep)
ASYNCIO = Mode("asyncio", AsyncioTransport, lambda main: asyncio.run(main()), _gather, asyncio.sleep)
TRIO = Mode("trio", TrioTransport, trio.run, _nursery, trio.sleep)
MODES = [SYNC, ASYNCIO, TRIO]
ASYNC_MODES = [ASYNCIO, TRIO]


class Ask:
    """One call and its pump, awaited whether or not it blocks."""

    def __init__(
        self,
        transport,
        url: str,
        text: str = "hello",
        *,
        stream: bool = False,
        timers: Timers | None = None,
        retries: int = 0,
        profile: object = None,
        proxy: object = None,
    ) -> None:
        base = parse_base_url(url)
        operation = AnthropicCodec(base).operation(
            chat_request([{"role": "user", "content": text}], "claude-test", stream=stream)
        )
        self.call = Call(
            operation,
            Route(base.origin, proxy, profile),
            timers or Timers(total=5.0),
            now=transport.now(),
            stream=stream,
            retry=RetryPolicy(max_retries=retries, base_transient=0.01),
        )
        self.pump = transport.start(self.call)
        self.events: list[Event] = []

    @property
    def text(self) -> str:
        return "".join(event.text for event in self.events if isinstance(event, TextDelta))

    async def pull(self) -> bool:
        got = self.pump.advance()
        if got is not None and not isinstance(got, list):
            got = await got
        self.events += got or []
        return got is not None

    async def end(self) -> Call:
        while await self.pull():
            pass
        return self.call

    async def answer(self) -> str:
        call = await self.end()
        if call.error is not None:
            raise call.error
        assert call.response is not None
        return call.response.content


async def answer(transport, url: str, text: str = "hello", **options) -> str:
    return await Ask(transport, url, text, **options).answer()


def passes_within(seconds: float, condition: Callable[[], bool]) -> bool:
    until = monotonic() + seconds
    while not condition():
        if monotonic() >= until:
            return False
        sleep(0.005)
    return True
