"""Code of the same thread, at any bytecode of a call: a signal handler or the garbage collector. Nothing waits for it."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from cloud.llm import OpenAICompatClient
from sans_io.chat.events import Finished
from sans_io.http.urls import Origin
from sans_io.policy.pool import Pool, Route, Ticket
from tests.callers import BUSY, HELLO, MODES, Mode
from tests.interrupting import ROOT, Tracer, at
from tests.interrupts.kit import Scenario, at_every_bytecode
from tests.interrupts.scene import STRIDE, Scene, dies_rather_than_hangs
from transports.httpcore_sync import BlockingWakeup
from transports.interface import Connection, PoolRunner
from transports.testing import LoopbackServer

ROUTE = Route(Origin("http", "host", 80))


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with LoopbackServer() as server:
        yield server.base_url("openai")


def stats(scene: Scene) -> Callable[[], None]:
    """Always a state that the pool was in: of one open connection there is one, whatever is being done with it."""

    def act() -> None:
        seen = scene.transport.pool_stats()
        assert (seen.open, seen.connecting, seen.waiting, seen.dialled) == (1, 0, 0, 1)
        assert seen.open == seen.idle + seen.leased

    return act


def cancel(scene: Scene) -> Callable[[], None]:
    stream = scene.client.chat_stream(HELLO)
    next(stream)
    return stream.cancel


def close(scene: Scene) -> Callable[[], None]:
    stream = scene.client.chat_stream(HELLO)
    next(stream)
    return stream.close


def close_when_whole(scene: Scene) -> Callable[[], None]:
    """Closing a whole reply would read its last bytes, for up to 0.1 s."""
    stream = scene.client.chat_stream(HELLO)
    for event in stream.events():
        if type(event) is Finished:
            break
    return stream.close


def read_on(scene: Scene) -> Callable[[], None]:
    stream = scene.client.chat_stream(HELLO)
    next(stream)
    return lambda: stream.until_done() and None


def chat(scene: Scene) -> Callable[[], None]:
    return scene.chat


def close_idle(scene: Scene) -> Callable[[], None]:
    return scene.transport.close_idle


class Cycle:
    me: Cycle
    held: object


def collect(scene: Scene) -> Callable[[], None]:
    """A half-read generator in a cycle, closed by the collector in the middle of the call."""
    reading = scene.forgetful()
    next(reading)
    cycle = Cycle()
    cycle.me, cycle.held = cycle, reading
    return lambda: gc.collect(0) and None


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("prepare", "max_connections"),
    [
        (stats, 1), (stats, None), (chat, 1), (chat, None), (cancel, None), (close, None), (close_when_whole, None),
        (read_on, None), (close_idle, None), (collect, None),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)  # fmt: skip
def test_at_any_bytecode_of_a_call(
    url: str, prepare: Callable[[Scene], Callable[[], None]], max_connections: int | None
) -> None:
    step = 1
    with dies_rather_than_hangs(800):
        while True:
            scene = Scene(url, warm=True, max_connections=max_connections)
            act = prepare(scene)
            began = time.monotonic()
            _, reached = at(step, act, scene.chat)
            if not reached:
                break
            assert time.monotonic() - began < 2.0 + BUSY, f"somebody waited at bytecode {step}"
            del act
            counts = scene.transport.pool_stats()
            assert (counts.leased, counts.connecting, counts.waiting) == (0, 0, 0), (step, counts)
            assert counts.dialled == counts.open + sum(counts.destroyed.values()), (step, counts)
            scene.chat()
            scene.transport.close_idle()
            assert not scene.transport._runtime.pool_runner.connections, step
            step += STRIDE
    assert step > 2000


def test_a_handler_that_needs_the_only_seat_of_the_call_it_interrupts(url: str) -> None:
    """It would wait for the very call that waits for it: so it dials outside the pool."""
    scene = Scene(url, warm=True)
    with scene.client.chat_stream(HELLO) as stream:
        next(stream)  # the seat is taken, by somebody who is not below us on the stack
        waiting = threading.Thread(target=scene.chat)
        waiting.start()
        while scene.transport.pool_stats().waiting != 1:
            time.sleep(0.001)
        stream.until_done()
        waiting.join()
    before = scene.transport.pool_stats().dialled
    answers = []
    _, reached = at(900, lambda: answers.append(scene.client.chat(HELLO)), scene.chat)
    assert reached
    assert answers[0].content
    scene.check_counts()
    assert scene.transport.pool_stats().dialled == before


def test_what_a_handler_gives_back_while_a_seat_is_taken_is_back_when_it_is_taken() -> None:
    """Left during the locked part, the last moment of it included: nobody waits for the next operation of the pool."""

    def make() -> Scenario:
        runner = PoolRunner(Pool, BlockingWakeup)
        leaving, coming = Ticket[Connection](ROUTE), Ticket[Connection](ROUTE)
        runner.seat(leaving, 0.0)

        def check() -> None:
            assert not runner._left
            assert coming.granted
            assert leaving.state == "done"
            assert runner.stats().connecting == 1

        return (lambda: runner.seat(coming, 1.0)), (lambda: runner.cancel(leaving, 1.0)), check

    assert at_every_bytecode(make) > 100


def test_a_callable_key_that_makes_a_call_waits_for_the_only_seat_like_everybody(url: str) -> None:
    """Whoever is asked for a credential is asked before the seat is: the bound on connections holds."""
    scene = Scene(url, warm=True)
    order: list[str] = []

    def key() -> str:
        scene.chat()
        order.append("key")
        return "sk-key"

    outer = OpenAICompatClient(key, "m", base_url=url, transport=scene.transport)
    with scene.client.chat_stream(HELLO) as stream:
        next(stream)
        waiting = threading.Thread(target=outer.chat, args=(HELLO,))
        waiting.start()
        while scene.transport.pool_stats().waiting != 1 and not order:
            time.sleep(0.001)
        order.append("stream")
        stream.until_done()
    waiting.join()
    assert order == ["stream", "key"]


@pytest.mark.serial
@pytest.mark.parametrize("threshold", [1, 700])
def test_generators_dropped_in_cycles_while_threads_call(url: str, threshold: int) -> None:
    """Stuck within two seconds, before: closed by the collector inside the pool's lock, a thread waited for itself."""
    done = subprocess.run(
        [sys.executable, "-c", _DROPPERS, url, str(threshold)], capture_output=True, text=True, timeout=100, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout == "0 leased\n"


_DROPPERS = """
import faulthandler, gc, sys, threading, time
from tests.interrupts.scene import Scene
faulthandler.dump_traceback_later(60, exit=True)
gc.set_threshold(int(sys.argv[2]))
scene = Scene(sys.argv[1], warm=True, max_connections=None)
until = time.monotonic() + 3.0

class Cycle:
    pass

def work():
    while time.monotonic() < until:
        reading = scene.forgetful()
        next(reading)
        cycle = Cycle()
        cycle.me, cycle.held = cycle, reading
        del cycle, reading
        scene.chat()

threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
gc.collect()
scene.chat()
stats = scene.transport.pool_stats()
print(stats.leased + stats.connecting + stats.waiting, "leased")
"""


@pytest.mark.serial
@pytest.mark.parametrize("act", ["cancel", "pool_stats", "chat"])
def test_a_real_signal_handler_while_calls_run(url: str, act: str) -> None:
    scene = Scene(url, warm=True, max_connections=2)
    streams = []

    def handler(*_: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        try:
            handle()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0.0007)

    def handle() -> None:
        if act == "cancel":
            for stream in streams:
                stream.cancel()
        elif act == "pool_stats":
            stats = scene.transport.pool_stats()
            assert stats.open == stats.idle + stats.leased
        else:
            scene.chat()

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.001)
    try:
        with dies_rather_than_hangs(60):
            until = time.monotonic() + 2.0
            while time.monotonic() < until:
                streams[:] = [scene.client.chat_stream(HELLO)]
                for _ in streams[0].events() if act != "cancel" else ():
                    pass
                streams[0].close()
                scene.chat()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    stats = scene.transport.pool_stats()
    assert (stats.leased, stats.connecting, stats.waiting) == (0, 0, 0)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("act", ["pool_stats", "cancel", "chat"])
@pytest.mark.parametrize("mode", [mode for mode in MODES if mode.is_async], ids=str)
def test_at_any_bytecode_of_an_asynchronous_call(url: str, mode: Mode, act: str) -> None:
    """A handler of `signal.signal` interrupts the loop's thread in the middle of anything, too."""
    transport, blocking = mode.transport(2), Scene(url, warm=True)
    client = mode.client(url, transport=transport, timeout=10.0, max_retries=0)
    steps: list[int] = []

    async def main() -> None:
        await client.chat(HELLO)
        step = 1
        while True:
            stream = client.chat_stream(HELLO)
            await anext(stream)
            seen: list[object] = []
            handle = {"pool_stats": client.pool_stats, "cancel": stream.cancel, "chat": blocking.chat}[act]
            tracer = Tracer(step, lambda handle=handle, seen=seen: seen.append(handle()))
            sys.settrace(tracer)
            try:
                await client.chat(HELLO)
            finally:
                sys.settrace(None)
            await stream.aclose()
            stats = client.pool_stats()
            assert (stats.leased, stats.connecting, stats.waiting) == (0, 0, 0), (step, stats)
            if not seen:
                break
            steps.append(step)
            step += STRIDE

    with dies_rather_than_hangs(800):
        mode.run(main)
    assert steps[-1] > 1500
