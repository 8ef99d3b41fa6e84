"""`check_transport()`: what every transport must do, as a table of scenarios over real loopback connections.

    check_transport(SyncTransport)
    check_transport(AsyncioTransport, run=lambda main: asyncio.run(main()))
    check_transport(TrioTransport, run=trio.run)

Rules of this file:
- A scenario is one text for blocking and asynchronous transports.
- Each has a fresh transport and a fresh server, says what it expects in asserts, and takes below two seconds.
- Nothing may end early; how late it may end is `SLACK`, for a busy scheduler.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine
from typing import Any, Final, TypeAlias

from sans_io.chat.response import Attempt
from sans_io.errors import (
    LLMBadRequestError,
    LLMConnectionError,
    LLMServerError,
    LLMStreamError,
    LLMTimeoutError,
)
from sans_io.policy.deadline import Timers
from sans_io.providers.base import Operation

from ..servers.in_memory import FakeLLMServer
from ..servers.loopback import LoopbackServer
from ..servers.script import AfterCut, ScriptedError, ScriptedReply
from .bench import Bench, Main, TransportFactory, run_blocking

#: Seconds that something may be late on a busy machine.
SLACK: Final = 1.0
#: How soon `cancel()` from another thread must show, without that allowance.
CANCEL_WITHIN: Final = 0.1

Scenario: TypeAlias = Callable[[Bench], Coroutine[Any, Any, None]]


def check_transport(
    factory: TransportFactory, run: Callable[[Main], None] | None = None, *, only: Collection[str] = ()
) -> list[str]:
    """Run the scenarios (all, or those named in `only`); the names of those that ran.

    `factory(max_connections=None)` makes a transport. `run(main)` runs an async function to its end on the
    transport's event loop; None: the transport blocks. Raises `AssertionError` that names the scenario.
    """
    ran: list[str] = []
    for name, scenario in SCENARIOS.items():
        if only and name not in only:
            continue
        ran.append(name)
        with LoopbackServer(FakeLLMServer("anthropic", max_body=4 * 1024 * 1024)) as server:
            try:
                _run_one(scenario, factory, run, server)
            except AssertionError as failed:
                raise AssertionError(f"{name}: {failed}") from failed
    return ran


def _run_one(
    scenario: Scenario, factory: TransportFactory, run: Callable[[Main], None] | None, server: LoopbackServer
) -> None:
    benches: list[Bench] = []

    async def main() -> None:
        benches.append(Bench(factory, server))
        await scenario(benches[0])
        if run is None:
            benches[0].transport.close_idle()

    if run is None:
        run_blocking(main)
    else:
        run(main)
    # When a loop has ended nothing of it is open; blocking code has just closed what was idle.
    assert server.wait_until(lambda: server.open_connections == 0, 2.0), "a connection stayed open at the end"


# -- the table --------------------------------------------------------------------------------------------------------


async def plain(bench: Bench) -> None:
    assert await bench.answer("one") == "You said: one"
    stats = bench.transport.pool_stats()
    assert (stats.open, stats.idle, stats.dialled) == (1, 1, 1), stats


async def reuse(bench: Bench) -> None:
    for number in range(5):
        assert await bench.answer(str(number), stream=number % 2 == 1) == f"You said: {number}"
    assert bench.server.accepted == 1, f"{bench.server.accepted} connections for calls one after another"


async def stream(bench: Bench) -> None:
    bench.server.server.script(ScriptedReply(text=["Hel", "lo ", "you"], delay=0.02))
    line = bench.start()
    seen: list[str] = []
    while await line.pull():
        seen.append(line.text)
    assert len(set(seen)) >= 3, f"the pieces came together: {seen}"
    assert line.call.response is not None
    assert line.call.response.content == line.text == "Hello you"


async def finished_stays_finished(bench: Bench) -> None:
    line = bench.start()
    await line.finish()
    assert not await line.pull()
    line.pump.close()
    line.pump.close()
    line.pump.cancel()
    assert not await line.pull()
    assert bench.transport.pool_stats().idle == 1, "closing a finished call must not close its connection"


async def large_both_ways(bench: Bench) -> None:
    text = "x" * 3_000_000
    bench.server.server.script(ScriptedReply(text=text))
    assert await bench.answer(text) == text
    assert len(bench.server.requests[0].body) > len(text)


async def surplus_in_the_same_segment(bench: Bench) -> None:
    bench.server.server.script(ScriptedReply(text="mine", surplus=_STRANGER))
    assert await bench.answer() == "mine"
    assert await bench.answer("two") == "You said: two"
    assert bench.server.accepted == 2, "a connection with bytes left over was used again"


async def surplus_in_the_next_segment(bench: Bench) -> None:
    bench.server.server.script(ScriptedReply(text="mine", surplus=_STRANGER, surplus_delay=0.03))
    assert await bench.answer() == "mine"
    bench.server.wait_until(lambda: False, 0.15)
    assert await bench.answer("two") == "You said: two"
    assert bench.server.accepted == 2, "a connection with bytes left over was used again"
    assert bench.transport.pool_stats().destroyed.get("stale") == 1


async def unsolicited_reply_while_idle(bench: Bench) -> None:
    await bench.answer()
    bench.server.push(_STRANGER)
    assert await bench.answer("two") == "You said: two"
    assert bench.server.accepted == 2


async def closed_while_idle(bench: Bench) -> None:
    for reset in (False, True):
        await bench.answer()
        before = bench.server.accepted
        bench.server.hang_up(reset=reset)
        line = bench.start("next", stream=False)
        assert (await line.finish()).content == "You said: next"
        assert len(line.call.attempts) == 1, "a connection seen dead at checkout is no attempt"
        assert bench.server.accepted == before + 1


async def silence(bench: Bench) -> None:
    bench.server.server.script(ScriptedReply(text="late", head_delay=3.0))
    line = bench.start(timers=Timers(total=5.0, first_token=0.3))
    began = bench.transport.now()
    error = await line.fail()
    took = bench.transport.now() - began
    assert isinstance(error, LLMTimeoutError), repr(error)
    assert 0.3 <= took <= 0.3 + SLACK, f"a deadline of 0.3 s came after {took:.3f} s"
    assert bench.transport.pool_stats().open == 0, "the connection with a reply still to come was kept"


async def silence_within_a_stream(bench: Bench) -> None:
    bench.server.server.script(_STALLS)
    line = bench.start(timers=Timers(total=5.0, idle=0.3))
    began = bench.transport.now()
    error = await line.fail()
    assert isinstance(error, LLMTimeoutError), repr(error)
    assert 0.3 <= bench.transport.now() - began <= 0.3 + SLACK
    assert error.partial is not None
    assert error.partial.content == line.text == "a"


async def cut_stream(bench: Bench) -> None:
    endings: tuple[AfterCut, ...] = ("fin", "rst")
    for how in endings:
        bench.server.server.script(_STALLS.with_(after_cut=how))
        line = bench.start()
        assert await line.pull()
        error = await line.fail()
        assert isinstance(error, LLMStreamError), repr(error)
        assert error.partial is not None
        assert error.partial.content == line.text == "a"
    assert bench.transport.pool_stats().open == 0


async def refused(bench: Bench) -> None:
    url = bench.server.url
    bench.server.close()
    error = await bench.start(url=url).fail()
    assert isinstance(error, LLMConnectionError), repr(error)
    assert bench.transport.pool_stats().connecting == 0, "a failed dial kept its slot"


async def name_that_does_not_exist(bench: Bench) -> None:
    error = await bench.start(url="http://no-such-host.invalid").fail()
    assert isinstance(error, LLMConnectionError), repr(error)


async def early_refusal_of_a_large_request(bench: Bench) -> None:
    error = await bench.start("x" * 6_000_000).fail()
    assert isinstance(error, LLMBadRequestError), repr(error)
    assert error.status_code == 413, "the broken pipe hid the server's answer"


async def pool_timeout(bench: Bench) -> None:
    bench.limit(1)
    bench.server.server.script(_STALLS)
    first = bench.start()
    assert await first.pull()
    error = await bench.start(timers=Timers(total=5.0, pool=0.2)).fail()
    assert isinstance(error, LLMConnectionError), repr(error)
    assert error.code == "pool_timeout", repr(error)
    first.pump.close()
    assert await bench.answer("after") == "You said: after"


async def seat_of_an_abandoned_call(bench: Bench) -> None:
    bench.limit(1)
    bench.server.server.script(_STALLS)
    first = bench.start()
    assert await first.pull()
    second = bench.start("second", stream=False)
    response, took = await bench.later(0.1, first.pump.abandon, second.finish())
    assert response.content == "You said: second"
    assert took <= 0.25 + SLACK, f"the waiter was served {took:.3f} s after the seat was abandoned"


async def cancel_while_reading(bench: Bench) -> None:
    bench.server.server.script(ScriptedReply(text="late", head_delay=3.0))
    line = bench.start()
    error, took = await bench.later(0.1, line.pump.cancel, line.fail())
    assert error.code == "cancelled", repr(error)
    assert took <= CANCEL_WITHIN + SLACK, f"cancel() showed after {took:.3f} s"
    assert bench.transport.pool_stats().open == 0
    assert await bench.answer("after") == "You said: after"


async def cancel_while_waiting_to_retry(bench: Bench) -> None:
    bench.server.server.script(ScriptedReply(error=ScriptedError("busy", 503), retry_after=3.0))
    line = bench.start(retries=2)
    error, took = await bench.later(0.2, line.pump.cancel, line.fail())
    assert error.code == "cancelled", repr(error)
    assert took <= CANCEL_WITHIN + SLACK


async def cancel_while_waiting_for_a_seat(bench: Bench) -> None:
    bench.limit(1)
    bench.server.server.script(_STALLS)
    first = bench.start()
    assert await first.pull()
    second = bench.start()
    error, took = await bench.later(0.1, second.pump.cancel, second.fail())
    assert error.code == "cancelled", repr(error)
    assert took <= CANCEL_WITHIN + SLACK
    assert bench.transport.pool_stats().waiting == 0
    first.pump.close()


async def cancel_between_pulls(bench: Bench) -> None:
    bench.server.server.script(_STALLS)
    line = bench.start()
    assert await line.pull()
    line.pump.cancel()
    error = await line.fail()
    assert error.code == "cancelled", repr(error)
    assert error.partial is not None
    assert error.partial.content == "a"


async def close_within_a_stream(bench: Bench) -> None:
    bench.server.server.script(ScriptedReply(text=["a"] * 100, delay=0.1))
    line = bench.start()
    assert await line.pull()
    line.pump.close()
    assert bench.server.wait_until(lambda: bench.server.open_connections == 0, 1.0), "closing left the connection"
    stats = bench.transport.pool_stats()
    assert (stats.open, stats.leased) == (0, 0), stats


async def abandoned(bench: Bench) -> None:
    bench.server.server.script(ScriptedReply(text=["a"] * 100, delay=0.1))
    line = bench.start()
    assert await line.pull()
    del line
    assert bench.server.wait_until(lambda: bench.server.open_connections == 0, 1.0), "a dropped call goes on"
    assert await bench.answer("after") == "You said: after"
    assert bench.transport.pool_stats().leased == 0, "a dropped call kept its seat"


async def close_idle(bench: Bench) -> None:
    await bench.answer()
    bench.transport.close_idle()
    bench.transport.close_idle()
    assert bench.transport.pool_stats().open == 0
    assert await bench.answer("after") == "You said: after"


async def attempts_are_told(bench: Bench) -> None:
    told: list[Attempt] = []
    bench.server.server.script(ScriptedReply(error=ScriptedError("no", 500)))
    line = bench.start(on_attempt=told.append)
    error = await line.fail()
    assert isinstance(error, LLMServerError), repr(error)
    assert tuple(told) == line.call.attempts
    assert [attempt.status for attempt in told] == [500]


async def credential_by_callable(bench: Bench) -> None:
    asked: list[bool] = []

    def authorize(refresh: bool) -> Operation:
        asked.append(refresh)
        if len(asked) == 2:
            raise RuntimeError("the vault is closed")
        return bench.operation()

    await bench.start(authorize=authorize).finish()
    error = await bench.start(authorize=authorize).fail()
    assert asked == [False, False]
    assert isinstance(error.__cause__, RuntimeError), repr(error)
    assert bench.transport.pool_stats().leased == 0


#: A stream that says "a" and then falls silent in the middle of its next event.
_STALLS: Final = ScriptedReply(text=["a", "b" * 10_000], cut_after=2_000, after_cut="silence")
#: A whole reply that nobody asked for: somebody else's answer, if it were ever taken for one.
_STRANGER: Final = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 108\r\n\r\n"
    b'{"type":"message","role":"assistant","content":[{"type":"text","text":"NOT YOURS"}],"stop_reason":"end_turn"}'
)[:-1] + b"}"

SCENARIOS: Final[dict[str, Scenario]] = {
    scenario.__name__: scenario
    for scenario in (
        plain,
        reuse,
        stream,
        finished_stays_finished,
        large_both_ways,
        surplus_in_the_same_segment,
        surplus_in_the_next_segment,
        unsolicited_reply_while_idle,
        closed_while_idle,
        silence,
        silence_within_a_stream,
        cut_stream,
        refused,
        name_that_does_not_exist,
        early_refusal_of_a_large_request,
        pool_timeout,
        seat_of_an_abandoned_call,
        cancel_while_reading,
        cancel_while_waiting_to_retry,
        cancel_while_waiting_for_a_seat,
        cancel_between_pulls,
        close_within_a_stream,
        abandoned,
        close_idle,
        attempts_are_told,
        credential_by_callable,
    )
}
