"""Many mixed calls in one process, and what they leave behind.

    python -m tests.proof.soak.run 50000           prints one line of JSON: memory after each fifth, descriptors, threads, tasks

Blocking calls in threads, asyncio and trio take turns, each loop run a new one; answers, streams, faults of all kinds,
streams left in the middle, cancelled tasks.
"""

from __future__ import annotations

import asyncio
import gc
import json
import random
import sys
import threading
from collections import Counter
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import anyio
import trio

from cloud import close_all_cloud_clients, close_all_cloud_clients_sync
from cloud.llm import LLMError, Timeouts
from sans_io.policy.retry import RetryPolicy
from tests.callers import ASYNCIO, SYNC, TRIO, Mode, chat, close, pull
from tests.chaos import FAULTS, chaos_server

FIFTHS = 5
CALLERS = 10
#: Calls between two looks at memory, by each of the three kinds.
_MODES = (SYNC, ASYNCIO, TRIO)


def soak(calls: int) -> dict[str, Any]:
    """Make the calls; the numbers."""
    outcomes: Counter[str] = Counter()
    memory: list[int] = []
    with chaos_server() as url:
        clients = {mode.name: _client(mode, url) for mode in _MODES}
        _warm_up(clients, outcomes)
        before = _left_over()
        outcomes.clear()
        for fifth in range(FIFTHS):
            for part in range(4):
                for mode in _MODES:
                    share = calls // FIFTHS // 4 // len(_MODES)
                    _turn(mode, clients[mode.name], share, fifth * 4 + part, outcomes)
            memory.append(_resident())
        close_all_cloud_clients_sync()
        until = monotonic() + 3.0
        while _left_over() != before and monotonic() < until:
            sleep(0.05)
        after = _left_over()
    return {"calls": sum(outcomes.values()), "memory": memory, "before": before, "after": after, "outcomes": outcomes}


def _client(mode: Mode, url: str) -> Any:
    return mode.client(
        url, api_key="sk-t", transport=None, timeout=Timeouts(total=20.0, first_token=0.3, idle=0.3),
        retry=RetryPolicy(max_retries=1, base_transient=0.001, base_throttled=0.001),
    )  # fmt: skip


def _warm_up(clients: dict[str, Any], outcomes: Counter[str]) -> None:
    """Imports, caches and the first threads are not what a soak looks for."""
    for mode in _MODES:
        _turn(mode, clients[mode.name], 100, 0, outcomes)
    close_all_cloud_clients_sync()


def _turn(mode: Mode, client: Any, calls: int, seed: int, outcomes: Counter[str]) -> None:
    async def caller(who: int) -> None:
        dice = random.Random(f"{mode}{seed}.{who}")
        for number in range(who, calls, CALLERS):
            outcomes[await _one(mode, client, dice, f"t-{seed}n{number}")] += 1

    async def all_callers() -> None:
        tasks_before = len(asyncio.all_tasks()) if mode is ASYNCIO else 0
        async with anyio.create_task_group() as group:
            for who in range(CALLERS):
                group.start_soon(caller, who)
        await close_all_cloud_clients()
        if mode is ASYNCIO:
            assert len(asyncio.all_tasks()) == tasks_before, "tasks were left"

    if mode is ASYNCIO:
        asyncio.run(all_callers())
    elif mode is TRIO:
        trio.run(all_callers)
    else:
        threads = [threading.Thread(target=SYNC.run, args=(lambda who=who: caller(who),)) for who in range(CALLERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


async def _one(mode: Mode, client: Any, dice: random.Random, nonce: str) -> str:
    fault = dice.choice(FAULTS) if dice.random() < 0.1 else "ok"
    if fault == "silence" and dice.random() < 0.8:
        fault = "ok"
    messages = [{"role": "user", "content": f"{nonce}|{fault}"}]
    kind = dice.random()
    try:
        if kind < 0.4:
            return "answer" if (await chat(client, messages)).content == nonce else "wrong"
        if kind < 0.45 and mode.is_async:
            with anyio.move_on_after(dice.random() * 0.01):
                await chat(client, messages)
            return "cancelled"
        stream = client.chat_stream(messages)
        got = ""
        while (text := await pull(stream)) is not None:
            got += text
            if kind > 0.95:
                await close(stream)
                return "left"
        return "stream" if got == nonce else "wrong"
    except LLMError as error:
        return type(error).__name__


def _left_over() -> dict[str, int]:
    gc.collect()
    descriptors = Path("/proc/self/fd")
    return {
        "descriptors": sum(1 for _ in descriptors.iterdir()) if descriptors.is_dir() else 0,
        "threads": threading.active_count(),
    }


def _resident() -> int:
    """Bytes, of this process."""
    gc.collect()
    shown = Path("/proc/self/statm")
    return int(shown.read_text().split()[1]) * 4096 if shown.exists() else 0


if __name__ == "__main__":
    print(json.dumps(soak(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)))
