"""One client in a process of its own, told what to do by JSON lines; measures its own CPU time.

{"op": "stream", "model": "stream-2000"}  ->  {"cpu": seconds, "units": 2000, ...}
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import statistics
import sys
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from clients import CLIENTS  # noqa: E402

Reply = dict[str, object]


def cpu_of(work: Callable[[], int]) -> Reply:
    """CPU of this process, user and system, all threads."""
    gc.collect()
    began, wall = time.process_time(), time.perf_counter()
    units = work()
    return {"cpu": time.process_time() - began, "wall": time.perf_counter() - wall, "units": units}


async def cpu_of_async(work: Awaitable[int]) -> Reply:
    gc.collect()
    began, wall = time.process_time(), time.perf_counter()
    units = await work
    return {"cpu": time.process_time() - began, "wall": time.perf_counter() - wall, "units": units}


def checked(parts: list[str], tokens: int, model: str) -> int:
    """A client that loses text or usage fails instead of looking fast."""
    n = int(model.rpartition("-")[2])
    if len(parts) != n or tokens != n + 12:
        raise RuntimeError(f"{model}: {len(parts)} pieces of text and {tokens} tokens")
    return n


def sync_op(client: Any, order: dict[str, Any]) -> Reply:
    model, count = order["model"], order.get("count", 1)

    def calls() -> int:
        for _ in range(count):
            client.chat(model)
        return count

    def streams() -> int:
        total = 0
        for _ in range(count):
            parts: list[str] = []
            total += checked(parts, client.stream(model, parts.append), model)
        return total

    if order["op"] == "first":
        return first_text(client, model, count)
    return cpu_of(calls if order["op"] == "chat" else streams)


def stamp(seen: list[int]) -> Callable[[str], object]:
    """Takes the texts of a stamped stream; notes how many nanoseconds old the first is on arrival."""
    return lambda text: seen or seen.append(time.monotonic_ns() - int(text))


def first_text(client: Any, model: str, count: int) -> Reply:
    """Median seconds from the server's first write to the first text."""
    ages: list[int] = []
    for _ in range(count):
        seen: list[int] = []
        client.stream(model, stamp(seen))
        ages += seen
    return {"cpu": statistics.median(ages) / 1e9, "units": 1}


async def first_text_async(client: Any, model: str, count: int) -> Reply:
    ages: list[int] = []
    for _ in range(count):
        seen: list[int] = []
        await client.stream(model, stamp(seen))
        ages += seen
    return {"cpu": statistics.median(ages) / 1e9, "units": 1}


async def async_op(client: Any, order: dict[str, Any]) -> Reply:
    model, count, at_once = order["model"], order.get("count", 1), order.get("at_once", 1)

    async def one(total: list[int]) -> None:
        for _ in range(count):
            if order["op"] == "chat":
                await client.chat(model)
                total[0] += 1
            else:
                parts: list[str] = []
                tokens = await client.stream(model, parts.append)
                total[0] += checked(parts, tokens, model)

    async def all_at_once() -> int:
        total = [0]
        if client.kind == "trio":
            import trio

            async with trio.open_nursery() as nursery:
                for _ in range(at_once):
                    nursery.start_soon(one, total)
        else:
            await asyncio.gather(*(one(total) for _ in range(at_once)))
        return total[0]

    if order["op"] == "first":
        return await first_text_async(client, model, count)
    if order["op"] == "cancelled":
        return await cancelled_op(client, model, count)
    before = peak_rss()
    reply = await cpu_of_async(all_at_once())
    reply["bytes"] = (peak_rss() - before) / at_once
    return reply


def peak_rss() -> int:
    """The most memory this process ever had resident, in bytes; 0 where the system does not tell."""
    try:
        import resource
    except ImportError:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


async def cancelled_op(client: Any, model: str, count: int) -> Reply:
    """Bytes, tasks and descriptors that the second half of many streams leaves behind, each cancelled in the middle."""

    async def cancel_one() -> None:
        parts: list[str] = []
        task = asyncio.ensure_future(client.stream(model, parts.append))
        while len(parts) < 3:
            await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if not task.cancelled():
            raise RuntimeError(f"the stream was over before it was cancelled: {task!r}")

    async def half() -> None:
        for _ in range(count // 2):
            await cancel_one()
        gc.collect()

    await half()
    descriptors, tasks = len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks())
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    await half()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    more = len(os.listdir("/proc/self/fd")) - descriptors
    return {"grown": grown, "units": count // 2, "descriptors": more, "tasks": len(asyncio.all_tasks()) - tasks}


def memory_op(client: Any, order: dict[str, Any]) -> Reply:
    """Bytes that the second half of many calls leaves behind."""
    half = order["count"] // 2
    for _ in range(half):
        client.chat("chat")
    gc.collect()
    descriptors = len(os.listdir("/proc/self/fd"))
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(half):
        client.chat("chat")
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return {"grown": grown, "units": half, "descriptors": len(os.listdir("/proc/self/fd")) - descriptors}


def construct_op(name: str, base: str, count: int) -> Reply:
    CLIENTS[name](base)
    reply = cpu_of(lambda: [CLIENTS[name](base) for _ in range(count)].__len__())
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    kept = [CLIENTS[name](base) for _ in range(count)]
    reply["bytes"] = (tracemalloc.get_traced_memory()[0] - before) / len(kept)
    tracemalloc.stop()
    return reply


async def serve(name: str, base: str) -> None:
    client = CLIENTS[name](base)
    for line in sys.stdin:
        order = json.loads(line)
        print(json.dumps(await async_op(client, order)), flush=True)


def main() -> None:
    name, base = sys.argv[1:3]
    try:
        import resource

        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (ImportError, ValueError, OSError) as error:
        print(f"descriptor limit stays as it is: {error}", file=sys.stderr)
    kind = CLIENTS[name].kind
    if kind == "asyncio":
        asyncio.run(serve(name, base))
    elif kind == "trio":
        import trio

        trio.run(serve, name, base)
    else:
        client = CLIENTS[name](base)
        for line in sys.stdin:
            order = json.loads(line)
            if order["op"] == "memory":
                reply = memory_op(client, order)
            elif order["op"] == "construct":
                reply = construct_op(name, base, order["count"])
            else:
                reply = sync_op(client, order)
            print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    main()
