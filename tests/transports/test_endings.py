"""Loops that end, interpreters that exit, collectors that run anywhere: nothing warns, nothing stays open.

Each scene runs in a process of its own under `-X dev -W error`; whatever appears on stderr is a failure.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PRELUDE = """
import asyncio, gc, logging, os, sys, threading, time
import trio
from sans_io.errors import LLMError
from tests.transports.modes import ASYNCIO, SYNC, TRIO, Ask, answer
from transports.testing import LoopbackServer, ScriptedReply

STALLS = ScriptedReply(text=["a", "b" * 10_000], cut_after=2_000, after_cut="silence")
KEPT = []
# asyncio's debug mode tells of steps longer than 100 ms, which on a busy machine any step may be.
logging.getLogger("asyncio").setLevel(logging.ERROR)

def sockets():
    gc.collect()
    count = 0
    for fd in os.listdir("/proc/self/fd"):
        try:
            count += os.readlink(f"/proc/self/fd/{fd}").startswith("socket:")
        except OSError:
            pass
    return count
"""


def run(scene: str, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", PRELUDE + scene, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
        cwd=ROOT,
        check=False,
    )
    assert done.stderr == "", done.stderr
    assert done.returncode == 0
    return done.stdout


MODE = 'MODE = {"sync": SYNC, "asyncio": ASYNCIO, "trio": TRIO}[sys.argv[1]]\n'


@pytest.mark.parametrize("mode", ["sync", "asyncio", "trio"])
def test_idle_connections_at_the_end(mode: str) -> None:
    run(
        MODE
        + """
with LoopbackServer() as server:
    before = sockets()
    transport = MODE.transport()
    async def main():
        for _ in range(3):
            assert await answer(transport, server.url) == "You said: hello"
        assert transport.pool_stats().idle == 1
    MODE.run(main)
    if MODE is not SYNC:
        assert server.wait_until(lambda: server.open_connections == 0, 2.0)
        assert sockets() == before, (sockets(), before)
        MODE.run(main)
        MODE.run(main)
        assert server.wait_until(lambda: server.open_connections == 0, 2.0)
        assert sockets() == before, (sockets(), before)
""",
        mode,
    )


@pytest.mark.parametrize("mode", ["sync", "asyncio", "trio"])
@pytest.mark.parametrize("how", ["drop", "raise", "keep", "keep in a cycle"])
def test_a_half_read_stream_at_the_end(mode: str, how: str) -> None:
    run(
        MODE
        + """
HOW = sys.argv[2]
with LoopbackServer() as server:
    transport = MODE.transport()
    async def main():
        server.server.script(STALLS)
        ask = Ask(transport, server.url, stream=True)
        assert await ask.pull()
        if HOW == "keep":
            KEPT.append(ask)
        elif HOW == "keep in a cycle":
            ask.itself = ask
        elif HOW == "raise":
            raise ZeroDivisionError
    try:
        MODE.run(main)
    except ZeroDivisionError:
        pass
    if MODE is not SYNC or HOW != "keep":
        gc.collect()
        assert server.wait_until(lambda: server.open_connections == 0, 2.0)
""",
        mode,
        how,
    )


def test_a_loop_closed_without_ceremony() -> None:
    """No shutdown_asyncgens, no shutdown of anything: the loop is closed, then collected."""
    run("""
import weakref
with LoopbackServer() as server:
    before = sockets()
    transport = ASYNCIO.transport()
    loop = asyncio.new_event_loop()
    async def main(text):
        return await answer(transport, server.url, text)
    assert loop.run_until_complete(main("1")) == "You said: 1"
    assert loop.run_until_complete(main("2")) == "You said: 2"
    assert server.accepted == 1
    loop.close()
    dead = weakref.ref(loop)
    del loop
    gc.collect()
    assert dead() is None
    assert not transport._runtimes
    assert server.wait_until(lambda: server.open_connections == 0, 2.0)
    assert sockets() == before
    assert asyncio.run(main("3")) == "You said: 3"
""")


def test_a_task_destroyed_with_its_loop() -> None:
    """A pull was under way when its loop was closed; asyncio itself may complain of the task, we of nothing."""
    run("""
import weakref
logging.disable(logging.CRITICAL)
with LoopbackServer() as server:
    before = sockets()
    transport = ASYNCIO.transport()
    loop = asyncio.new_event_loop()
    server.server.script(ScriptedReply(text="late", head_delay=5.0))
    async def stuck():
        await answer(transport, server.url)
    async def begin():
        loop.task = loop.create_task(stuck())
        await asyncio.sleep(0.1)
        assert transport.pool_stats().leased == 1
    loop.run_until_complete(begin())
    loop.close()
    dead = weakref.ref(loop)
    del loop
    async def next_loop():
        assert await answer(transport, server.url) == "You said: hello"
    asyncio.run(next_loop())
    gc.collect()
    assert dead() is None
    assert server.wait_until(lambda: server.open_connections == 0, 2.0)
    assert sockets() == before
""")


@pytest.mark.parametrize("mode", ["sync", "asyncio", "trio"])
def test_collected_in_another_thread(mode: str) -> None:
    run(
        MODE
        + """
with LoopbackServer() as server:
    transport = MODE.transport(max_connections=3)
    async def main():
        for _ in range(5):
            asks = []
            for _ in range(3):
                server.server.script(STALLS)
                ask = Ask(transport, server.url, stream=True)
                ask.itself = ask
                assert await ask.pull()
                asks.append(ask)
            del ask
            gc.disable()
            asks.clear()
            collector = threading.Thread(target=gc.collect)
            collector.start()
            collector.join()
            gc.enable()
            for _ in range(3):
                assert await answer(transport, server.url) == "You said: hello"
            stats = transport.pool_stats()
            assert (stats.leased, stats.waiting) == (0, 0), stats
        transport.close_idle()
    MODE.run(main)
    assert server.wait_until(lambda: server.open_connections == 0, 2.0)
""",
        mode,
    )


def test_loops_in_any_order_and_side_by_side() -> None:
    run("""
with LoopbackServer() as server:
    before = sockets()
    a, t, s = ASYNCIO.transport(), TRIO.transport(), SYNC.transport()
    async def with_(transport):
        assert await answer(transport, server.url) == "You said: hello"
    for _ in range(3):
        asyncio.run(with_(a))
        trio.run(with_, t)
        SYNC.run(lambda: with_(s))
    threads = [threading.Thread(target=lambda: asyncio.run(with_(a))) for _ in range(4)]
    threads += [threading.Thread(target=lambda: trio.run(with_, t)) for _ in range(4)]
    threads += [threading.Thread(target=lambda: SYNC.run(lambda: with_(s))) for _ in range(4)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    async def blocking_inside_a_loop():
        await with_(a)
        await with_(s)
        await with_(a)
    asyncio.run(blocking_inside_a_loop())
    s.close_idle()
    assert server.wait_until(lambda: server.open_connections == 0, 2.0)
    assert sockets() == before
    assert threading.active_count() == 2, threading.enumerate()
""")


def test_fork_shares_nothing() -> None:
    """The child never uses the parent's connections, and does not disturb them by closing its copies."""
    run("""
with LoopbackServer() as server:
    transport = SYNC.transport()
    def ask(text):
        out = []
        async def main():
            out.append(await answer(transport, server.url, text))
        SYNC.run(main)
        return out[0]
    assert ask("parent") == "You said: parent"
    server.server.script(ScriptedReply(text=["one", "two", "three"], delay=0.05))
    half = Ask(transport, server.url, stream=True)
    half.pump.advance()
    server.server.script()
    for round in range(5):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                assert transport.pool_stats().open == 0
                for number in range(3):
                    assert ask(f"child {number}") == f"You said: child {number}"
                assert transport.pool_stats().dialled == 1
                half.pump.advance()
                while half.pump.advance() is not None: pass
                assert half.call.error is not None
                del half
                status = 0
            finally:
                sys.stderr.flush()
                os._exit(status)
        assert ask("parent again") == "You said: parent again"
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    text = half.text
    while (events := half.pump.advance()) is not None:
        half.events += events
    assert half.call.error is None, half.call.error
    assert half.call.response.content == "onetwothree"
    transport.close_idle()
""")


def test_fork_while_others_call() -> None:
    """Forks from one thread while eight others call and a loop streams: no wrong answer, no hang, on either side."""
    out = run("""
import signal
with LoopbackServer() as server:
    transport, loops = SYNC.transport(), ASYNCIO.transport()
    stop = threading.Event()
    wrong = []
    def ask(text):
        call = Ask(transport, server.url, text, retries=3)
        while call.pump.advance() is not None: pass
        if call.call.error is not None or call.call.response.content != f"You said: {text}":
            wrong.append((text, call.call.error, call.call.response))
    def caller(name):
        number = 0
        while not stop.is_set():
            number += 1
            ask(f"{name}.{number}")
    async def streamer():
        number = 0
        while not stop.is_set():
            number += 1
            text = await answer(loops, server.url, f"s{number}", stream=True, retries=3)
            if text != f"You said: s{number}":
                wrong.append(text)
    threads = [threading.Thread(target=caller, args=(n,)) for n in range(8)]
    threads.append(threading.Thread(target=lambda: asyncio.run(streamer())))
    for thread in threads: thread.start()
    time.sleep(0.2)
    for round in range(20):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                signal.alarm(20)
                ask(f"child {round}")
                async def one():
                    assert await answer(loops, server.url, "loop") == "You said: loop"
                asyncio.run(one())
                status = len(wrong)
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, round
    stop.set()
    for thread in threads: thread.join(10)
    assert not any(thread.is_alive() for thread in threads)
    assert not wrong, wrong[:3]
    transport.close_idle()
    print(len(server.requests))
""")
    assert int(out) > 100


@pytest.mark.parametrize("module", ["httpcore_sync", "anyio_async", "trio_async"])
def test_a_transport_imports_what_it_needs_when_it_needs_it(module: str) -> None:
    code = f"import sys, transports.{module}; print(*sorted({{'httpcore', 'ssl', 'trio', 'anyio'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    expected = {"httpcore_sync": [], "anyio_async": ["anyio", "ssl"], "trio_async": ["ssl", "trio"]}
    assert done.stdout.split() == expected[module]
