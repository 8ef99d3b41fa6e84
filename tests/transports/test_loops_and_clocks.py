"""Loops without readiness callbacks, and trio runs with a clock of their own."""

from __future__ import annotations

import asyncio
from time import monotonic

import trio
import trio.testing

from sans_io.errors import LLMTimeoutError
from sans_io.policy.deadline import Timers
from tests.callers import BUSY
from tests.transports.modes import ASYNCIO, TRIO, Ask, answer
from transports.testing import (
    LoopbackServer,
    ScriptedReply,
)

URL = "http://scripted.example"
BODY = (
    b'{"id":"m","type":"message","role":"assistant","model":"claude-test","content":[{"type":"text","text":"hi"}],'
    b'"stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":1}}'
)
OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(BODY), BODY)


def test_a_run_with_a_clock_of_its_own_has_its_own_seconds() -> None:
    with LoopbackServer() as server:
        server.server.script(ScriptedReply(text="late", head_delay=30.0))

        async def main() -> None:
            transport = TRIO.transport()
            call = await Ask(transport, server.url, timers=Timers(total=3600.0, first_token=3000.0)).end()
            assert isinstance(call.error, LLMTimeoutError)

        began = monotonic()
        trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0.1))
        assert monotonic() - began < 5.0


class Proactorish(asyncio.SelectorEventLoop):
    """As Windows' default loop: no readiness callbacks. anyio has a road of its own to them, which ends here."""

    def add_reader(self, fd, callback, *arguments):
        raise NotImplementedError

    def add_writer(self, fd, callback, *arguments):
        raise NotImplementedError


def test_a_loop_without_readiness_callbacks() -> None:
    with LoopbackServer() as server:
        transport = ASYNCIO.transport()

        async def main() -> None:
            assert await answer(transport, server.url, "x" * 3_000_000) == f"You said: {'x' * 3_000_000}"
            server.server.script(ScriptedReply(text="late", head_delay=2.0))
            ask = Ask(transport, server.url, timers=Timers(total=5.0, first_token=0.2))
            began = monotonic()
            call = await ask.end()
            assert isinstance(call.error, LLMTimeoutError)
            assert 0.2 <= monotonic() - began < 0.2 + BUSY
            transport.close_idle()

        with asyncio.Runner(loop_factory=Proactorish) as runner:
            runner.run(main())
