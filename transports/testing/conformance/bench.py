"""What a scenario of the conformance kit works with: a transport, a server, and calls between them.

Blocking and asynchronous pumps look alike here, so that a scenario is one text: a blocking one is awaited through a
thin coat.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Awaitable, Callable, Coroutine
from time import monotonic
from typing import Any, Protocol, TypeAlias, TypeVar

from sans_io.calls.call import Call
from sans_io.chat.events import Event, TextDelta
from sans_io.chat.messages import chat_request
from sans_io.chat.response import Attempt, ChatResponse
from sans_io.errors import LLMError
from sans_io.http.urls import parse_base_url
from sans_io.policy.deadline import Timers
from sans_io.policy.pool import PoolStats, Route
from sans_io.policy.retry import RetryPolicy
from sans_io.providers.anthropic.codec import AnthropicCodec
from sans_io.providers.base import Operation

from ..servers.loopback import LoopbackServer

T = TypeVar("T")
Main: TypeAlias = Callable[[], Coroutine[Any, Any, None]]


class TransportUnderTest(Protocol):
    """What is under test."""

    def start(self, call: Call, *, authorize: Any = None, on_attempt: Any = None) -> Any: ...
    def now(self) -> float: ...
    def pool_stats(self) -> PoolStats: ...
    def close_idle(self) -> None: ...


class TransportFactory(Protocol):
    def __call__(self, max_connections: int | None = None) -> TransportUnderTest: ...


def run_blocking(main: Main) -> None:
    """A coroutine in which nothing ever waits for a loop runs to its end at once."""
    try:
        main().send(None)
    except StopIteration:
        return
    raise TypeError("an asynchronous transport needs run=")


class Bench:
    """A transport, a server, and calls between them."""

    def __init__(self, factory: TransportFactory, server: LoopbackServer) -> None:
        self.factory = factory
        self.server = server
        self.transport = factory()

    def limit(self, max_connections: int) -> None:
        """From now on, a transport with so many connections."""
        self.transport = self.factory(max_connections=max_connections)

    def operation(self, text: str = "hello", *, stream: bool = True, url: str = "") -> Operation:
        codec = AnthropicCodec(parse_base_url(url or self.server.url))
        return codec.operation(chat_request([{"role": "user", "content": text}], "claude-test", stream=stream))

    def start(
        self,
        text: str = "hello",
        *,
        stream: bool = True,
        url: str = "",
        timers: Timers | None = None,
        retries: int = 0,
        operation: Operation | None = None,
        authorize: Callable[[bool], Operation] | None = None,
        on_attempt: Callable[[Attempt], object] | None = None,
    ) -> Line:
        """A call of its own, not begun."""
        if operation is None and authorize is None:
            operation = self.operation(text, stream=stream, url=url)
        call = Call(
            operation,
            Route(parse_base_url(url or self.server.url).origin),
            timers or Timers(total=5.0),
            now=self.transport.now(),
            stream=stream,
            retry=RetryPolicy(max_retries=retries),
            seed=1,
        )
        return Line(self.transport, call, authorize, on_attempt)

    async def answer(self, text: str = "hello", *, stream: bool = False) -> str:
        """A whole call that must succeed: its text."""
        line = self.start(text, stream=stream)
        response = await line.finish()
        return response.content

    async def later(self, seconds: float, what: Callable[[], object], wait_for: Awaitable[T]) -> tuple[T, float]:
        """Await something during which another thread does `what`; also the seconds from then to the end."""
        done_at: list[float] = []

        def act() -> None:
            done_at.append(monotonic())
            what()

        timer = threading.Timer(seconds, act)
        timer.start()
        result = await wait_for
        ended = monotonic()
        timer.join()
        assert done_at, "it ended before"
        return result, ended - done_at[0]


class Line:
    """A call and its pump, awaited whether or not it blocks."""

    def __init__(
        self,
        transport: TransportUnderTest,
        call: Call,
        authorize: Callable[[bool], Operation] | None,
        on_attempt: Callable[[Attempt], object] | None,
    ) -> None:
        self.call = call
        self.events: list[Event] = []

        async def authorize_later(refresh: bool) -> Operation:
            assert authorize is not None
            return authorize(refresh)

        self.pump = transport.start(call, on_attempt=on_attempt)
        self._awaits = inspect.iscoroutinefunction(self.pump.advance)
        if authorize is not None:
            self.pump = transport.start(
                call, authorize=authorize_later if self._awaits else authorize, on_attempt=on_attempt
            )

    @property
    def text(self) -> str:
        return "".join(event.text for event in self.events if isinstance(event, TextDelta))

    async def pull(self) -> bool:
        """One advance; False at the end."""
        got: list[Event] | None = await self.pump.advance() if self._awaits else self.pump.advance()
        self.events += got or []
        return got is not None

    async def finish(self) -> ChatResponse:
        """To the end, which must be a good one."""
        while await self.pull():
            pass
        assert self.call.error is None, f"failed: {self.call.error!r}"
        assert self.call.response is not None
        return self.call.response

    async def fail(self) -> LLMError:
        """To the end, which must be an error."""
        while await self.pull():
            pass
        assert self.call.error is not None, "it succeeded"
        return self.call.error
