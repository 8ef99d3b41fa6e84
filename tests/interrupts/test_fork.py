"""Fifty forks while eight threads call and an event loop streams: nobody reads another's answer, nobody hangs."""

from __future__ import annotations

import asyncio
import os
import threading

import pytest

from tests.callers import ASYNCIO, SYNC
from tests.chaos import chaos_server
from tests.interrupts.forking import be_child, exit_code, fork

pytestmark = [
    pytest.mark.serial,
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork"),
]

FORKS, THREADS, AT_ONCE = 50, 8, 4


def test_forks_in_the_middle_of_everything() -> None:
    with chaos_server() as url:
        transports = [SYNC.transport(), ASYNCIO.transport()]
        blocking = SYNC.client(url, api_key="sk-t", timeout=20.0, max_retries=2, transport=transports[0])
        streaming = ASYNCIO.client(url, api_key="sk-t", timeout=20.0, max_retries=2, transport=transports[1])
        over = threading.Event()
        wrong: list[str] = []
        calls = [0]

        def ask(nonce: str) -> None:
            got = blocking.chat([{"role": "user", "content": nonce}]).content
            if got != nonce:
                wrong.append(f"{nonce}: {got}")

        def call(who: int) -> None:
            while not over.is_set():
                calls[0] += 1
                try:
                    ask(f"t-thread{who}n{calls[0]}")
                except Exception as error:
                    wrong.append(repr(error))

        async def stream(nonce: str) -> None:
            texts = [text async for text in streaming.chat_stream([{"role": "user", "content": nonce}])]
            if "".join(texts) != nonce:
                wrong.append(f"{nonce}: {texts}")

        async def stream_on() -> None:
            number = 0
            while not over.is_set():
                number += 1
                try:
                    await asyncio.gather(*(stream(f"t-loop{number}n{each}") for each in range(4)))
                except Exception as error:
                    wrong.append(repr(error))

        async def in_child(number: int) -> None:
            await asyncio.gather(*(stream(f"t-child{number}s{each}") for each in range(3)))

        threads = [threading.Thread(target=call, args=(who,)) for who in range(THREADS)]
        threads.append(threading.Thread(target=lambda: asyncio.run(stream_on())))
        for thread in threads:
            thread.start()
        children: list[int] = []
        codes: list[int] = []
        try:
            for number in range(FORKS):
                child = fork()
                if child == 0:
                    be_child(lambda number=number: _child(number, ask, in_child, wrong))
                children.append(child)
                if len(children) >= AT_ONCE:
                    codes.append(exit_code(children.pop(0)))
            codes += [exit_code(child) for child in children]
        finally:
            over.set()
            for thread in threads:
                thread.join(30.0)
        assert not any(thread.is_alive() for thread in threads)
        transports[0].close_idle()
        assert codes == [0] * FORKS
        assert wrong == []
        assert calls[0] > FORKS


def _child(number: int, ask, in_child, wrong: list[str]) -> int:
    wrong.clear()
    for each in range(3):
        ask(f"t-child{number}n{each}")
    asyncio.run(in_child(number))
    ask(f"t-child{number}last")
    return 1 if wrong else 0
