"""Many tenants over one transport: no byte and no credential of one ever reaches another, and none leaves a trace.

The server answers a request with the nonce in it only if the key that came with it is that tenant's.
"""

from __future__ import annotations

import asyncio
import gc
import random
import threading
from collections import Counter
from pathlib import Path

import pytest
import trio

from cloud.llm import LLMError, Timeouts
from cloud.llm.budgets import MAX_BUDGETS, _budgets, _spent, retry_budget
from sans_io.http.urls import parse_base_url
from sans_io.policy.retry import RetryPolicy
from tests.callers import ASYNCIO, IN_THREADS, MODES, SYNC, TRIO, Mode, chat, close, pull, settled
from tests.chaos import FAULTS, chaos_server
from tests.wire_server import reply
from transports.testing import ScriptedTransport

KEYS = 50
CALLERS = 25


@pytest.mark.serial
@pytest.mark.slow
@pytest.mark.parametrize(("mode", "calls"), [(IN_THREADS, 4000), (ASYNCIO, 3000), (TRIO, 3000)], ids=str)
def test_ten_thousand_interleaved_calls_of_fifty_keys(mode: Mode, calls: int) -> None:
    outcomes: Counter[str] = Counter()
    crossed: list[str] = []
    with chaos_server() as url:
        transport = mode.transport(max_connections=CALLERS)
        clients = [
            mode.client(
                url, api_key=f"sk-{tenant}", transport=transport, timeout=Timeouts(total=20.0, first_token=0.5, idle=0.5),
                retry=RetryPolicy(max_retries=1, base_transient=0.001, base_throttled=0.001),
            )
            for tenant in range(KEYS)
        ]  # fmt: skip

        async def one(dice: random.Random, number: int) -> None:
            tenant = dice.randrange(KEYS)
            nonce = f"{tenant}-{number}"
            fault = dice.choice(FAULTS[:-1]) if dice.random() < 0.3 else "silence" if dice.random() < 0.002 else "ok"
            messages = [{"role": "user", "content": f"{nonce}|{fault}"}]
            try:
                if dice.random() < 0.5:
                    got = (await chat(clients[tenant], messages)).content
                else:
                    stream = clients[tenant].chat_stream(messages)
                    got, leave = "", dice.random() < 0.2
                    while (text := await pull(stream)) is not None:
                        got += text
                        if leave:
                            await close(stream)
                            outcomes["left"] += 1
                            if not nonce.startswith(got):
                                crossed.append(f"{nonce}: {got!r}")
                            return
            except LLMError as error:
                outcomes[type(error).__name__] += 1
                got = nonce if error.partial is None else error.partial.content
                if not nonce.startswith(got):
                    crossed.append(f"{nonce}: {got!r}")
                return
            outcomes["answers"] += 1
            if got != nonce:
                crossed.append(f"{nonce}: {got!r}")

        async def caller(who: int) -> None:
            dice = random.Random(f"{mode}{who}")
            for number in range(calls // CALLERS):
                await one(dice, who * 100_000 + number)

        _all_at_once(mode, caller)
        stats = transport.pool_stats()
        assert (stats.leased, stats.connecting, stats.waiting) == (0, 0, 0)
        transport.close_idle()
    assert crossed == []
    assert sum(outcomes.values()) == calls
    assert outcomes["answers"] > calls / 2
    assert outcomes["LLMConnectionError"] + outcomes["LLMStreamError"] > calls / 100
    assert outcomes["left"] > calls / 50


def _all_at_once(mode: Mode, caller) -> None:
    async def gathered() -> None:
        await asyncio.gather(*(caller(who) for who in range(CALLERS)))

    async def nursed() -> None:
        async with trio.open_nursery() as nursery:
            for who in range(CALLERS):
                nursery.start_soon(caller, who)

    if mode is ASYNCIO:
        asyncio.run(gathered())
    elif mode is TRIO:
        trio.run(nursed)
    else:
        threads = [threading.Thread(target=SYNC.run, args=(lambda who=who: caller(who),)) for who in range(CALLERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


@pytest.mark.serial
@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="resident memory is read from /proc")
def test_a_hundred_thousand_keys_used_once_leave_nothing() -> None:
    """A client for each, which takes from its retry budget; every tenth builds its request, every fiftieth makes its call."""
    transport = ScriptedTransport([])
    messages = [{"role": "user", "content": "x"}]
    origin = parse_base_url("http://127.0.0.1:9/v1").origin

    def use(first: int, count: int) -> None:
        for number in range(first, first + count):
            client = SYNC.client("http://127.0.0.1:9/v1", api_key=f"sk-once-{number}", transport=transport)
            assert retry_budget(transport, origin, f"{number:016x}").take(14, 0.0)
            if number % 10 == 0:
                client.build_request(messages)
            if number % 50 == 0:
                transport.add(reply("yes"))
                assert client.chat(messages).content == "yes"
                transport._requests.clear()

    use(0, 20)
    before = _resident()
    use(20, 100_000)
    assert _resident() - before <= 2 << 20
    assert len(_budgets) <= MAX_BUDGETS
    assert len(_spent) <= MAX_BUDGETS
    _spent.clear()


def _resident() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_one_pool_serves_all_keys_unless_they_are_to_be_apart(mode: Mode) -> None:
    with chaos_server() as url:
        for isolate, connections in ((False, 1), (True, 4)):
            transport = mode.transport()

            async def main(isolate: bool = isolate, transport=transport) -> int:
                for number in range(8):
                    client = mode.client(
                        url, api_key=f"sk-{number % 4}", transport=transport, isolate_credentials=isolate
                    )
                    text = f"{number % 4}-{number}"
                    assert (await chat(client, [{"role": "user", "content": text}])).content == text
                    await settled(client.close())
                return transport.pool_stats().dialled

            if mode is not IN_THREADS:
                assert mode.run(main) == [connections]
            transport.close_idle()
