"""Streams: how they are read, cancelled, closed, shared by mistake and left behind."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from typing import Any

import pytest
import trio

from cloud.llm import (
    AsyncOpenAICompatClient,
    Finished,
    LLMAuthError,
    LLMStreamError,
    LLMTimeoutError,
    OpenAICompatClient,
    ReasoningDelta,
    TextDelta,
    Timeouts,
    UsageReported,
)
from tests.callers import BUSY
from tests.cloud.kit import HELLO, MODES, WIRES, perform, scripted
from transports.testing import FakeLLMServer, ScriptedError, ScriptedReply, ToolUse
from transports.testing.servers.loopback import LoopbackServer

#: Each piece in a read of its own.
SLOW = ScriptedReply(text=["One", " two", " three", " four"], delay=0.05)


@pytest.mark.parametrize("mode", MODES)
def test_nothing_happens_before_the_first_pull(mode: str) -> None:
    transport = scripted(mode)

    async def scenario(client: Any) -> None:
        stream = client.chat_stream(HELLO)
        assert stream.partial.content == ""
        assert not transport.dials
        transport.now.advance_to(transport.now() + 1_000)
        assert (await stream.until_done()).content

    perform(mode, scenario, transport=transport)


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("mode", MODES)
def test_events_are_typed_and_end_with_the_finish(mode: str, wire: str) -> None:
    reply = ScriptedReply(text="Hi there", reasoning="hm", tool_calls=[ToolUse("f", {"a": 1})])

    async def scenario(client: Any) -> None:
        stream = client.chat_stream(HELLO, tools=[{"name": "f"}])
        events = [event async for event in stream.events()]
        assert "".join(e.text for e in events if isinstance(e, TextDelta)) == "Hi there"
        assert sum(isinstance(e, Finished) for e in events) == 1
        assert any(isinstance(e, UsageReported) for e in events)
        assert {type(e).__name__ for e in events} >= {"ToolCallStarted", "ToolCallCompleted", "ReasoningDelta"}
        assert all(e.choice == 0 for e in events)
        assert stream.response.tool_calls[0].arguments == {"a": 1}
        assert stream.response.reasoning == "hm"

    perform(mode, scenario, wire, transport=scripted(mode, reply))


@pytest.mark.parametrize("mode", MODES)
def test_iteration_gives_the_text_of_the_first_choice_only(mode: str) -> None:
    reply = ScriptedReply(text="first", more_choices=[ScriptedReply(text="second")])

    async def scenario(client: Any) -> None:
        stream = client.chat_stream(HELLO, n=2)
        assert "".join([piece async for piece in stream]) == "first"
        assert [choice.content for choice in stream.response.choices] == ["first", "second"]

    perform(mode, scenario, transport=scripted(mode, reply))


@pytest.mark.parametrize("mode", MODES)
def test_text_and_events_read_on_from_where_the_stream_stands(mode: str) -> None:
    async def scenario(client: Any) -> None:
        stream = client.chat_stream(HELLO)
        first = await stream.__anext__()
        rest = [e.text async for e in stream.events() if isinstance(e, TextDelta)]
        assert first + "".join(rest) == "One two three four"
        with pytest.raises(StopAsyncIteration):
            await stream.__anext__()

    perform(mode, scenario, transport=scripted(mode, SLOW))


@pytest.mark.parametrize("mode", MODES)
def test_the_response_is_there_after_the_end_only(mode: str) -> None:
    async def scenario(client: Any) -> None:
        stream = client.chat_stream(HELLO)
        with pytest.raises(RuntimeError, match="until_done"):
            _ = stream.response
        await stream.__anext__()
        with pytest.raises(RuntimeError, match="until_done"):
            _ = stream.response
        assert await stream.until_done() is stream.response
        assert await stream.until_done() is stream.response

    perform(mode, scenario, transport=scripted(mode, SLOW))


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("mode", MODES)
def test_whoever_cancels_sees_nothing_raised(mode: str, wire: str) -> None:
    transport = scripted(mode, SLOW)

    async def scenario(client: Any) -> None:
        stream = client.chat_stream(HELLO)
        pieces = []
        async for piece in stream:
            pieces.append(piece)
            if len(pieces) == 2:
                stream.cancel()
                stream.cancel()
        assert pieces == ["One", " two"]
        assert stream.partial.content == "One two"
        with pytest.raises(RuntimeError, match="did not complete"):
            _ = stream.response
        stats = client.pool_stats()
        assert (stats.open, stats.leased) == (0, 0)
        assert (await client.chat(HELLO)).content

    perform(mode, scenario, wire, transport=transport)


@pytest.mark.parametrize("mode", MODES)
def test_partial_is_what_was_handed_over_even_when_one_read_brought_more(mode: str) -> None:
    reply = ScriptedReply(text=["One", " two", " three"], more_choices=[ScriptedReply(text=["x", "y"])])

    async def scenario(client: Any) -> None:
        stream = client.chat_stream(HELLO, n=2)
        assert stream.partial.content == ""
        text = ""
        while len(text) < len("One two"):
            text += await stream.__anext__()
            assert stream.partial.content == text
            assert stream.partial.choices[0].content == text
            assert stream.partial.message["content"] == text
        stream.cancel()
        assert stream.partial.content == text

    perform(mode, scenario, transport=scripted(mode, reply))


@pytest.mark.parametrize("mode", MODES)
def test_partial_reasoning_is_what_was_handed_over_too(mode: str) -> None:
    reply = ScriptedReply(reasoning=["Let", " me"], text=["One"])

    async def scenario(client: Any) -> None:
        stream = client.chat_stream(HELLO)
        events = stream.events()
        seen = ""
        while True:
            event = await anext(events)
            if isinstance(event, ReasoningDelta):
                seen += event.text
                assert stream.partial.reasoning == seen
            elif isinstance(event, TextDelta):
                break
        stream.cancel()
        assert (stream.partial.reasoning, stream.partial.content) == ("Let me", "One")

    perform(mode, scenario, "anthropic", transport=scripted(mode, reply))


@pytest.mark.parametrize("mode", MODES)
def test_cancelled_before_the_first_pull_nothing_is_ever_sent(mode: str) -> None:
    transport = scripted(mode)

    async def scenario(client: Any) -> None:
        stream = client.chat_stream(HELLO)
        stream.cancel()
        assert [piece async for piece in stream] == []
        with pytest.raises(LLMStreamError):
            await stream.until_done()

    perform(mode, scenario, transport=transport)
    assert not transport.dials


@pytest.mark.parametrize("mode", MODES)
def test_closing_before_the_end_cancels_and_after_it_keeps_the_connection(mode: str) -> None:
    transport = scripted(mode, SLOW)

    async def scenario(client: Any) -> None:
        async with client.chat_stream(HELLO) as stream:
            await stream.__anext__()
        assert client.pool_stats().open == 0
        await stream.aclose()
        async with client.chat_stream(HELLO) as stream:
            async for _ in stream:
                pass
        assert client.pool_stats().idle == 1
        assert stream.response.content
        # The last event was handed over, and nobody pulled again: what is left is the connection's business.
        async with client.chat_stream(HELLO) as stream:
            async for event in stream.events():
                if isinstance(event, Finished):
                    break
        assert client.pool_stats().idle == 1
        assert client.pool_stats().dialled == 2

    perform(mode, scenario, transport=transport)


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("mode", MODES)
def test_a_cut_stream_is_an_error_with_what_had_arrived(mode: str, wire: str) -> None:
    reply = ScriptedReply(text=["One", " two"], delay=0.05, terminal=False)

    async def scenario(client: Any) -> None:
        stream = client.chat_stream(HELLO)
        pieces: list[str] = []
        with pytest.raises(LLMStreamError) as caught:
            while True:
                pieces.append(await anext(stream))
        error = caught.value
        assert error.code == "truncated"
        assert error.partial is not None
        assert error.partial.content == stream.partial.content == "".join(pieces) == "One two"
        assert error.may_be_billed
        assert error.attempts
        with pytest.raises(LLMStreamError):
            await stream.until_done()
        with pytest.raises(StopAsyncIteration):
            await stream.__anext__()

    perform(mode, scenario, wire, transport=scripted(mode, reply), max_retries=0)


@pytest.mark.parametrize("mode", MODES)
def test_an_error_before_the_first_event_is_retried_and_one_after_it_is_not(mode: str) -> None:
    refused = ScriptedReply(error=ScriptedError("busy", 503))
    broken = ScriptedReply(text=["One"], stream_error=ScriptedError("overloaded", 529), delay=0.05)
    transport = scripted(mode, refused, SLOW, broken)

    async def scenario(client: Any) -> None:
        stream = client.chat_stream(HELLO)
        assert (await stream.until_done()).content == "One two three four"
        assert [attempt.status for attempt in stream.response.attempts] == [503, 200]
        stream = client.chat_stream(HELLO)
        assert await stream.__anext__() == "One"
        with pytest.raises(Exception, match="overloaded") as caught:
            await stream.until_done()
        assert caught.value.partial.content == "One"
        assert len(caught.value.attempts) == 1

    perform(mode, scenario, "anthropic", transport=transport)


@pytest.mark.parametrize("mode", MODES)
def test_a_plain_timeout_bounds_the_first_event_and_every_gap(mode: str) -> None:
    patient = ScriptedReply(text=["a", "b", "c", "d"], delay=0.9)
    silent = ScriptedReply(text=["a"], first_delay=5.0)
    gap = ScriptedReply(text=["a", "b"], delay=1.5)
    transport = scripted(mode, patient, silent, gap)

    async def scenario(client: Any) -> None:
        assert (await client.chat_stream(HELLO).until_done()).content == "abcd"
        for wanted in ("", "a"):
            started = transport.now()
            stream = client.chat_stream(HELLO)
            with pytest.raises(LLMTimeoutError) as caught:
                await stream.until_done()
            assert stream.partial.content == wanted
            assert len(caught.value.attempts) == 1
            assert 1.0 <= transport.now() - started <= 3.0

    perform(mode, scenario, "ollama", transport=transport, timeout=1.0)


@pytest.mark.parametrize("mode", MODES)
def test_a_first_token_timeout_below_the_total_makes_a_silent_server_retried(mode: str) -> None:
    silent = ScriptedReply(text=["a"], head_delay=50.0)
    transport = scripted(mode, silent, SLOW)

    async def scenario(client: Any) -> None:
        response = await client.chat_stream(HELLO).until_done()
        assert response.content == "One two three four"
        assert [attempt.reason for attempt in response.attempts] == ["first", "first_token"]

    perform(mode, scenario, transport=transport, timeout=Timeouts(first_token=2.0))


def test_the_key_is_wrong_before_anything_is_streamed() -> None:
    transport = scripted("blocking", api_keys={"right"})

    async def scenario(client: Any) -> None:
        with pytest.raises(LLMAuthError):
            async for _ in client.chat_stream(HELLO):
                pass

    perform("blocking", scenario, transport=transport)


# -- on real sockets: others read, cancel and let go ------------------------------------------------------------------

ENDLESS = ScriptedReply(text=["tick "] * 400, delay=0.02)


@pytest.fixture
def server() -> Any:
    fake = FakeLLMServer()
    fake.reply = lambda _: ENDLESS
    with LoopbackServer(fake) as listening:
        yield listening


def options(server: LoopbackServer) -> dict[str, Any]:
    return {"api_key": "k", "model": "m", "base_url": server.base_url("openai")}


def test_another_thread_cancels_and_the_reader_is_told(server: LoopbackServer) -> None:
    stream = OpenAICompatClient(**options(server)).chat_stream(HELLO)
    assert next(stream) == "tick "
    stopped_at = []

    def stop() -> None:
        time.sleep(0.1)
        stopped_at.append(time.monotonic())
        stream.cancel()

    thread = threading.Thread(target=stop)
    thread.start()
    with pytest.raises(LLMStreamError) as caught:
        for _ in stream:
            pass
    assert time.monotonic() - stopped_at[0] < 0.1 + BUSY
    thread.join()
    assert caught.value.code == "cancelled"
    assert caught.value.partial is not None
    assert caught.value.partial.content.startswith("tick ")
    assert next(stream, None) is None


def test_another_thread_cancels_between_two_pulls(server: LoopbackServer) -> None:
    client = OpenAICompatClient(**options(server))
    stream = client.chat_stream(HELLO)
    next(stream)
    thread = threading.Thread(target=stream.cancel)
    thread.start()
    thread.join()
    with pytest.raises(LLMStreamError, match="cancelled by another"):
        next(stream)
    assert server.wait_until(lambda: server.open_connections == 0)


@pytest.mark.parametrize("ending", ["cancel", "close"])
def test_a_pull_while_another_thread_ends_the_stream_is_no_second_consumer(server: LoopbackServer, ending: str) -> None:
    """`cancel` and `close` have the turn while they close the connection."""
    stream = OpenAICompatClient(**options(server)).chat_stream(HELLO)
    next(stream)
    pump: Any = stream._pump
    closing, pulled = threading.Event(), threading.Event()

    class Slow:
        def __getattr__(self, name: str) -> Any:
            return getattr(pump, name)

        def close(self) -> None:
            closing.set()
            pulled.wait(5)
            pump.close()

    stream._pump = Slow()
    thread = threading.Thread(target=getattr(stream, ending))
    thread.start()
    assert closing.wait(5)
    if ending == "cancel":
        with pytest.raises(LLMStreamError, match="cancelled by another") as caught:
            stream.until_done()
        assert caught.value.code == "cancelled"
    assert list(stream) == []
    pulled.set()
    thread.join()
    assert list(stream) == []


def test_another_thread_closes_while_one_reads(server: LoopbackServer) -> None:
    stream = OpenAICompatClient(**options(server)).chat_stream(HELLO)
    next(stream)
    thread = threading.Timer(0.1, stream.close)
    thread.start()
    with pytest.raises(LLMStreamError):
        stream.until_done()
    thread.join()
    assert next(stream, None) is None
    assert iter(stream.events()) is not stream
    assert server.wait_until(lambda: server.open_connections == 0)


def test_cancelled_while_it_opens(server: LoopbackServer) -> None:
    """Between the first pull and its pump there is nothing to be told yet; the pull itself must notice."""
    client = OpenAICompatClient(**options(server))
    stream = client.chat_stream(HELLO)
    begin = stream._begin

    def slowly() -> Any:
        thread = threading.Thread(target=stream.cancel)
        thread.start()
        thread.join()
        return begin()

    stream._begin = slowly
    with pytest.raises(LLMStreamError, match="cancelled"):
        next(stream)
    assert not server.requests


def test_two_threads_cannot_read_at_once(server: LoopbackServer) -> None:
    stream = OpenAICompatClient(**options(server)).chat_stream(HELLO)
    next(stream)
    outcomes: list[object] = []
    reading = threading.Event()

    def read() -> None:
        reading.set()
        for _ in range(40):
            next(stream)
        outcomes.append("read")

    thread = threading.Thread(target=read)
    thread.start()
    reading.wait()
    with pytest.raises(RuntimeError, match="another task or thread"):
        for _ in range(40):
            next(stream)
    thread.join()
    assert outcomes == ["read"]
    stream.close()


def test_tasks_asyncio(server: LoopbackServer) -> None:
    async def main() -> None:
        stream = AsyncOpenAICompatClient(**options(server)).chat_stream(HELLO)
        await anext(stream)
        reader = asyncio.create_task(stream.until_done())
        await asyncio.sleep(0.05)
        with pytest.raises(RuntimeError, match="another task or thread"):
            await anext(stream)
        stream.cancel()
        with pytest.raises(LLMStreamError) as caught:
            await reader
        assert caught.value.code == "cancelled"
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
        # A task that is cancelled itself sees its own cancellation; who reads on is told that the reply is cut.
        stream = AsyncOpenAICompatClient(**options(server)).chat_stream(HELLO)
        await anext(stream)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(stream.until_done(), 0.1)
        with pytest.raises(LLMStreamError, match="interrupted"):
            await anext(stream)
        assert stream.partial.content.startswith("tick ")
        # A task that closes what another one reads.
        stream = AsyncOpenAICompatClient(**options(server)).chat_stream(HELLO)
        await anext(stream)
        reader = asyncio.create_task(stream.until_done())
        await asyncio.sleep(0.05)
        await stream.aclose()
        with pytest.raises(LLMStreamError):
            await reader
        # From a callback of the loop, which is no task: whoever reads is somebody else.
        stream = AsyncOpenAICompatClient(**options(server)).chat_stream(HELLO)
        asyncio.get_running_loop().call_later(0.1, stream.cancel)
        with pytest.raises(LLMStreamError):
            await stream.until_done()
        # From another thread, where no loop runs.
        stream = AsyncOpenAICompatClient(**options(server)).chat_stream(HELLO)
        await anext(stream)
        asyncio.get_running_loop().run_in_executor(None, lambda: (time.sleep(0.05), stream.cancel()))
        with pytest.raises(LLMStreamError):
            await stream.until_done()

    asyncio.run(main())
    assert server.wait_until(lambda: server.open_connections == 0)


def test_tasks_trio(server: LoopbackServer) -> None:
    async def main() -> None:
        stream = AsyncOpenAICompatClient(**options(server)).chat_stream(HELLO)
        await anext(stream)
        errors: list[LLMStreamError] = []

        async def read() -> None:
            try:
                await stream.until_done()
            except LLMStreamError as error:
                errors.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await trio.sleep(0.05)
            with pytest.raises(RuntimeError, match="another task or thread"):
                await anext(stream)
            stream.cancel()
        assert errors[0].code == "cancelled"
        stream = AsyncOpenAICompatClient(**options(server)).chat_stream(HELLO)
        await anext(stream)
        with trio.move_on_after(0.1):
            await stream.until_done()
        with pytest.raises(LLMStreamError, match="interrupted"):
            await anext(stream)

    trio.run(main)
    assert server.wait_until(lambda: server.open_connections == 0)


def test_a_stream_that_is_dropped_frees_its_connection(server: LoopbackServer) -> None:
    stream = OpenAICompatClient(**options(server)).chat_stream(HELLO)
    next(stream)
    del stream
    gc.collect()
    assert server.wait_until(lambda: server.open_connections == 0)

    async def main() -> None:
        stream = AsyncOpenAICompatClient(**options(server)).chat_stream(HELLO)
        await anext(stream)
        del stream
        gc.collect()
        await asyncio.sleep(0)

    asyncio.run(main())
    assert server.wait_until(lambda: server.open_connections == 0)


def test_a_blocking_stream_works_inside_a_running_loop(server: LoopbackServer) -> None:
    async def main() -> str:
        with OpenAICompatClient(**options(server)).chat_stream(HELLO) as stream:
            return next(stream)

    assert asyncio.run(main()) == "tick "
