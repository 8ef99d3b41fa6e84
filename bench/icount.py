"""Instructions per event and per call under cachegrind: what a noisy machine does not change. The regression gate.

    python bench/icount.py                 all rows, with their gates; exit code 1 if one is exceeded
    python bench/icount.py --only chat     rows whose name has the word
    python bench/icount.py --peers         openai and httpcore beside them

Each row is run twice, with little and with much work; the difference over the difference in work is the cost of one.
Needs valgrind; without it a line says so and nothing is measured (exit code 0).
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

from running import environment, instructions, load_server

HERE = Path(__file__).resolve().parent

#: (operation, client) -> the most instructions that one event or call may cost; None: shown for comparison.
GATES: dict[tuple[str, str], int | None] = {
    ("stream", "floor"): None,
    ("stream", "ours"): 75_000,
    ("stream", "ours-asyncio"): 75_000,
    ("stream", "ours-trio"): 75_000,
    ("chat", "floor"): None,
    ("chat", "ours"): 480_000,
    ("chat", "ours-asyncio"): 570_000,
    ("chat", "ours-trio"): 630_000,
}
#: Shown beside ours with --peers; minutes under cachegrind.
PEERS = [("stream", "openai"), ("chat", "httpcore"), ("chat", "openai")]
WORK = {"stream": (400, 2400), "chat": (100, 500)}


def count(client: str, operation: str, base: str, work: int) -> int:
    """All instructions of one process that does this much work."""
    return instructions([__file__, "--child", client, operation, base, str(work)], environment(writes_bytecode=False))


def child(name: str, operation: str, base: str, work: int) -> None:
    """The measured process."""
    sys.path.insert(0, str(HERE))
    from clients import CLIENTS

    kind = CLIENTS[name].kind

    def sync() -> None:
        client = CLIENTS[name](base)
        if operation == "chat":
            for _ in range(work):
                client.chat("chat")
        else:
            client.stream(f"stream-{work}", lambda _: None)

    async def asynchronous() -> None:
        client = CLIENTS[name](base)
        if operation == "chat":
            for _ in range(work):
                await client.chat("chat")
        else:
            await client.stream(f"stream-{work}", lambda _: None)

    if kind == "sync":
        sync()
    elif kind == "asyncio":
        import asyncio

        asyncio.run(asynchronous())
    else:
        import trio

        trio.run(asynchronous)
    os._exit(0)  # what an interpreter does at its end is not counted


def main() -> int:
    if sys.argv[1:2] == ["--child"]:
        child(*sys.argv[2:5], int(sys.argv[5]))  # type: ignore[call-arg]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="")
    parser.add_argument("--peers", action="store_true", help="openai and httpcore too, where they are installed")
    chosen = parser.parse_args()
    if shutil.which("valgrind") is None:
        print("valgrind is not installed: no instructions were counted")
        return 0
    exceeded = False
    print("| what | client | instructions each | gate |\n|---|---|---:|---:|")
    with load_server() as base:
        for (operation, client), gate in (GATES | (dict.fromkeys(PEERS) if chosen.peers else {})).items():
            if chosen.only not in f"{operation} {client}":
                continue
            little, much = WORK[operation]
            cost = (count(client, operation, base, much) - count(client, operation, base, little)) / (much - little)
            over = gate is not None and cost > gate
            exceeded = exceeded or over
            print(
                f"| {operation} | {client} | {cost:,.0f} | {'' if gate is None else f'{gate:,}'}{' EXCEEDED' if over else ''} |",
                flush=True,
            )
    return int(exceeded)


if __name__ == "__main__":
    sys.exit(main())
