"""Ctrl-C at any bytecode of a call: no seat is lost, no count is wrong, no connection stays open, the next call works."""

from __future__ import annotations

import gc
import logging
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cloud.llm import AsyncOpenAICompatClient
from tests.callers import BUSY, HELLO, Mode, chat
from tests.callers import MODES as ALL_MODES
from tests.interrupting import at, ctrl_c
from tests.interrupts.scene import STRIDE, Scene
from transports.testing import LoopbackServer

ASYNC_MODES = [mode for mode in ALL_MODES if mode.is_async]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with LoopbackServer() as server:
        yield server.base_url("openai")


@pytest.fixture
def unheard(monkeypatch: pytest.MonkeyPatch) -> None:
    """What interrupted finalisers, and loops whose end was interrupted, have to say: it is the interrupt's doing. The
    loggers would also keep the tracebacks, and the connections in them.
    """
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
    for name in ("asyncio", "trio.async_generator_errors"):
        monkeypatch.setattr(logging.getLogger(name), "disabled", True)


@pytest.mark.timeout(900)
@pytest.mark.usefixtures("unheard")
@pytest.mark.parametrize("what", ["chat", "stream", "leave"])
@pytest.mark.parametrize("warm", [False, True], ids=["dials", "reuses"])
def test_no_bytecode_of_a_blocking_call_loses_the_only_seat(url: str, what: str, warm: bool) -> None:
    step = 1
    while True:
        scene = Scene(url, warm=warm)
        run: Callable[[], None] = getattr(scene, what)
        try:
            _, reached = at(step, ctrl_c, run)
        except KeyboardInterrupt:
            reached = True
        if not reached:
            break
        try:
            scene.check()
        except AssertionError as error:
            error.add_note(f"interrupted before bytecode {step}")
            raise
        step += STRIDE
    assert step > 2000


@pytest.mark.timeout(900)
@pytest.mark.usefixtures("unheard")
@pytest.mark.parametrize("mode", ASYNC_MODES, ids=str)
def test_no_bytecode_of_an_asynchronous_call_keeps_a_connection_or_a_client_from_working(url: str, mode: Mode) -> None:
    """The loop is ended by it; the next loop has a pool of its own, so what can be lost is descriptors."""
    transport = mode.transport(1)
    client = AsyncOpenAICompatClient(api_key="k", model="m", base_url=url, transport=transport, timeout=10.0)

    async def once() -> None:
        await client.chat(HELLO)

    mode.run(once)
    gc.collect()
    before = _descriptors()
    step = 1
    while True:
        try:
            _, reached = at(step, ctrl_c, lambda: mode.run(once))
        except KeyboardInterrupt:
            reached = True
        if not reached:
            break
        mode.run(once)
        step += STRIDE
    gc.collect()
    until = time.monotonic() + 2.0 + BUSY
    while _descriptors() > before and time.monotonic() < until:  # the server closes its ends a moment later
        time.sleep(0.01)
    assert _descriptors() <= before
    assert step > 2000


@pytest.mark.serial
@pytest.mark.usefixtures("unheard")
def test_real_signals_lose_no_seat(url: str) -> None:
    """As it happens: SIGINT at random times, while calls follow each other on one seat."""
    signals = int(os.environ.get("REENTRY_SIGNALS", "300"))
    scene = Scene(url, warm=True)
    roll = random.Random(1).random
    sent, stop = 0, threading.Event()
    main = threading.main_thread().ident
    assert main is not None

    def interrupt() -> None:
        nonlocal sent
        while sent < signals and not stop.is_set():
            time.sleep(roll() * 0.003)
            sent += 1
            signal.pthread_kill(main, signal.SIGINT)
        stop.set()

    thread = threading.Thread(target=interrupt)
    thread.start()
    caught = 0
    while not stop.is_set():
        try:
            scene.chat() if roll() < 0.6 else scene.leave()
        except KeyboardInterrupt:
            caught += 1
    while thread.is_alive():
        try:
            thread.join()
        except KeyboardInterrupt:
            caught += 1
    assert caught > signals // 2
    scene.check()


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("mode", ALL_MODES, ids=str)
def test_an_interrupted_callback_leaves_the_client_working(url: str, mode: Mode) -> None:
    """`on_attempt` runs when the seat is given back; what it raises must not keep it."""

    def raises(_: object) -> None:
        raise KeyboardInterrupt

    async def main() -> None:
        transport = mode.transport(1)
        client = mode.client(url, transport=transport, on_attempt=raises)
        with pytest.raises(KeyboardInterrupt):
            await chat(client, HELLO)
        await chat(client.with_options(on_attempt=None), HELLO)
        assert client.pool_stats().leased == 0

    if mode.name != "threads":
        mode.run(main)
