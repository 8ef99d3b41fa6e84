"""Our clients beside their peers and the floors, interleaved in one run: `python bench/run.py [--rounds 5] [--write]`.

Machines are shared and noisy, so only ratios within a round mean anything: each round runs every client once, and a
table shows the median over the rounds of cost / cost of the reference in the same round. The absolute column is a
median too and says little. Peers (openai, anthropic, ollama) come from the `bench` extra; those missing are left out.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from import_cost import PROGRAMS
from running import environment, load_server

HERE = Path(__file__).resolve().parent
PEERS = {"openai": "openai", "openai-asyncio": "openai", "anthropic": "anthropic", "anthropic-helper": "anthropic",
         "ollama": "ollama"}  # fmt: skip


@dataclass(frozen=True)
class Measure:
    """One table: an order for every client, and the reference its ratios are taken against."""

    title: str
    order: dict[str, Any]
    clients: tuple[str, ...]
    reference: str
    goals: str
    unit: str = "µs"


MEASURES = (
    Measure("Stream, one event a write: CPU per event", {"op": "stream", "model": "stream-2000"},
            ("floor", "ours", "ours-asyncio", "ours-trio", "openai", "openai-asyncio"), "floor",
            "ours ≤ 1.5 × floor and ≤ 1/12 of openai"),
    Measure("Stream, 1 ms between events: CPU per event", {"op": "stream", "model": "paced-200"},
            ("floor", "floor-deadline", "floor-asyncio", "floor-trio", "ours", "ours-asyncio", "ours-trio", "openai",
             "openai-asyncio"),
            "floor", "sync ≤ 1.35 × floor; trio ≤ 1.4 × floor-trio; asyncio ≤ 2 × floor-asyncio and ≤ 1/2.5 of openai-asyncio"),
    Measure("Stream, 64 events a write: CPU per event", {"op": "stream", "model": "burst-2048"},
            ("floor", "ours", "ours-asyncio", "ours-trio", "openai", "openai-asyncio"), "floor", ""),
    Measure("Plain call on one kept connection: CPU per call", {"op": "chat", "model": "chat", "count": 100},
            ("floor", "ours", "ours-asyncio", "ours-trio", "httpcore", "openai", "openai-asyncio"), "floor",
            "ours ≤ 1/8 of openai and ≤ 1/2 of httpcore; asyncio and trio ≤ 1/6 of openai-asyncio"),
    Measure("Anthropic stream: CPU per event", {"op": "stream", "model": "stream-2000"},
            ("ours-anthropic", "anthropic", "anthropic-helper"), "ours-anthropic",
            "anthropic ≥ 5 ×, its helper ≥ 10 ×"),
    Measure("Ollama NDJSON: CPU per line", {"op": "stream", "model": "stream-2000"}, ("ours-ollama", "ollama"),
            "ours-ollama", "ollama ≥ 3 ×"),
    Measure("Time to first text after the server's first write", {"op": "first", "model": "stamped-3", "count": 30},
            ("floor", "floor-asyncio", "floor-trio", "ours", "ours-asyncio", "ours-trio", "openai", "openai-asyncio"),
            "floor", "ours ≤ 3 × the floor of the same loop"),
    Measure("500 streams at once: CPU per event", {"op": "stream", "model": "stream-40", "at_once": 500},
            ("floor-asyncio", "floor-trio", "ours-asyncio", "ours-trio", "openai-asyncio"), "floor-asyncio",
            "ours ≤ 2 × floor and ≤ 1/8 of openai-asyncio"),
    Measure("2,000 streams at once: CPU per event", {"op": "stream", "model": "stream-20", "at_once": 2000},
            ("ours-asyncio", "ours-trio", "openai-asyncio"), "ours-asyncio", "openai-asyncio ≥ 12 ×; ours ≤ 40 KiB each"),
    Measure("Building a client: CPU each", {"op": "construct", "count": 200}, ("ours", "openai"), "ours",
            "ours ≤ 50 µs and ≤ 4 KiB"),
)  # fmt: skip


@dataclass
class Worker:
    """A client's process."""

    name: str
    process: subprocess.Popen[str]

    @classmethod
    def start(cls, name: str, base: str) -> Worker:
        command = [sys.executable, str(HERE / "worker.py"), name, base]
        chosen = environment(writes_bytecode=False)
        return cls(
            name, subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=chosen)
        )

    def ask(self, order: dict[str, Any]) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} died on {order}")
        reply: dict[str, Any] = json.loads(line)
        return reply

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


@dataclass
class Table:
    measure: Measure
    costs: dict[str, list[float]] = field(default_factory=dict)
    extras: dict[str, float] = field(default_factory=dict)

    def ratio(self, name: str, reference: str) -> float:
        pairs = zip(self.costs[name], self.costs[reference], strict=True)
        return statistics.median(a / b for a, b in pairs)

    def markdown(self) -> str:
        measure = self.measure
        compared = ("floor-deadline", "floor-asyncio", "floor-trio", "httpcore", "openai", "openai-asyncio")
        bases = [name for name in dict.fromkeys((measure.reference, *compared)) if name in self.costs]
        lines = [f"### {measure.title}", ""]
        if measure.goals:
            lines += [f"Goal: {measure.goals}.", ""]
        lines.append("| client | median | " + " | ".join(f"× {base}" for base in bases) + " |")
        lines.append("|---|---:|" + "---:|" * len(bases))
        for name, costs in self.costs.items():
            cells = " | ".join(f"{self.ratio(name, base):.3g}" for base in bases)
            note = f" ({self.extras[name]:,.0f} bytes each)" if name in self.extras else ""
            lines.append(f"| {name} | {statistics.median(costs) * 1e6:,.1f} {measure.unit}{note} | {cells} |")
        return "\n".join(lines)

    def chart(self) -> str:
        """GitHub draws it; ratios to the reference."""
        if self.measure.reference not in self.costs:
            return ""
        names = ", ".join(f'"{name}"' for name in self.costs)
        bars = ", ".join(f"{self.ratio(name, self.measure.reference):.2f}" for name in self.costs)
        return (
            f'```mermaid\nxychart-beta\n    title "× {self.measure.reference}"\n    x-axis [{names}]\n'
            f"    bar [{bars}]\n```"
        )


def run(measure: Measure, base: str, rounds: int) -> Table:
    table = Table(measure)
    wanted = [name for name in measure.clients if installed(name)]
    workers = [Worker.start(name, base) for name in wanted]
    try:
        for worker in workers:
            # Warm: imports first, then connections and caches; the memory of many streams shows at the first time only.
            worker.ask({**measure.order, "at_once": 1})
            reply = worker.ask(measure.order)
            if measure.order.get("at_once", 0) > 1 and "bytes" in reply:
                table.extras[worker.name] = reply["bytes"]
        for _ in range(rounds):
            for worker in workers:
                reply = worker.ask(measure.order)
                table.costs.setdefault(worker.name, []).append(reply["cpu"] / reply["units"])
                if "bytes" in reply and measure.order["op"] == "construct":
                    table.extras[worker.name] = reply["bytes"]
    finally:
        for worker in workers:
            worker.stop()
    return table


def installed(name: str) -> bool:
    package = PEERS.get(name)
    return package is None or importlib.util.find_spec(package) is not None


AT_ONCE = (10, 200, 500)
POOLED = ("ours-asyncio", "ours-trio", "httpcore-asyncio", "openai-asyncio")


def pool(base: str, rounds: int) -> str:
    """CPU per plain call with many callers at once on one pool."""
    wanted = [name for name in POOLED if installed(name)]
    workers = [Worker.start(name, base) for name in wanted]
    costs: dict[tuple[str, int], list[float]] = {}
    try:
        for turn in range(rounds + 1):
            for at_once in AT_ONCE:
                for worker in workers:
                    order = {"op": "chat", "model": "chat", "at_once": at_once, "count": 2000 // at_once}
                    reply = worker.ask(order)
                    if turn:
                        costs.setdefault((worker.name, at_once), []).append(reply["cpu"] / reply["units"])
    finally:
        for worker in workers:
            worker.stop()

    def ratio(a: tuple[str, int], b: tuple[str, int]) -> float:
        return statistics.median(x / y for x, y in zip(costs[a], costs[b], strict=True))

    lines = ["### Pool: CPU per plain call with many callers", "",
             "Goal: ours at 500 ≤ 1.5 × ours at 10; at 200 ≤ 1/12 of httpcore.", "",
             "| client | " + " | ".join(f"{n} at once" for n in AT_ONCE) + " | 500 over 10 | at 200 × httpcore |",
             "|---|" + "---:|" * (len(AT_ONCE) + 2)]  # fmt: skip
    for name in wanted:
        cells = " | ".join(f"{statistics.median(costs[name, n]) * 1e6:,.0f} µs" for n in AT_ONCE)
        growth, beside = ratio((name, 500), (name, 10)), ratio((name, 200), ("httpcore-asyncio", 200))
        lines.append(f"| {name} | {cells} | {growth:.3g} | {beside:.3g} |")
    return "\n".join(lines)


def imports(base: str, rounds: int) -> str:
    """CPU and memory of a fresh interpreter, over those of an empty one."""
    costs: dict[str, list[float]] = {}
    memory: dict[str, float] = {}
    caching = environment(writes_bytecode=True)  # a user's second start is what counts
    for _ in range(rounds + 1):
        for name, program in PROGRAMS.items():
            if not installed(name.split()[0]):
                continue
            # Not ru_maxrss: what a process inherits from its parent counts there.
            code = (
                f"import time\n{program.format(base=base)}\ncost = time.process_time()\n"
                "print(cost, open('/proc/self/status').read().partition('VmRSS:')[2].split()[0])"
            )
            done = subprocess.run([sys.executable, "-c", code], env=caching, capture_output=True, text=True, check=True)
            cost, rss = done.stdout.split()
            costs.setdefault(name, []).append(float(cost))
            memory[name] = float(rss) / 1024
    empty = statistics.median(costs["empty interpreter"][1:])
    over = {
        name: statistics.median(values[1:]) - empty for name, values in costs.items() if name != "empty interpreter"
    }
    peer = over.get("openai and a client")
    lines = ["### Imports, a first client and its first call: CPU over an empty interpreter", "",
             "Goal: × openai and a client: ≤ 1/10; with the first call ≤ 1/5, asyncio ≤ 1/6, trio ≤ 1/4.", "",
             "| what | CPU | memory | × openai and a client |", "|---|---:|---:|---:|"]  # fmt: skip
    for name, cost in over.items():
        beside = "" if peer is None else f"{cost / peer:.3f}"
        more = memory[name] - memory["empty interpreter"]
        lines.append(f"| {name} | {cost * 1e3:,.0f} ms | {more:,.0f} MiB | {beside} |")
    return "\n".join(lines)


def leaks(base: str) -> str:
    orders = {
        "20,000 plain calls": ("ours", {"op": "memory", "count": 20_000, "model": "chat"}),
        "5,000 streams, cancelled in the middle": (
            "ours-asyncio",
            {"op": "cancelled", "count": 5_000, "model": "paced-50"},
        ),
    }
    lines = ["### Leaks: what the second half leaves behind", "", "Goal: ≤ 64 KiB.", "",
             "| of | client | bytes | descriptors | tasks |", "|---|---|---:|---:|---:|"]  # fmt: skip
    for title, (name, order) in orders.items():
        worker = Worker.start(name, base)
        try:
            reply = worker.ask(order)
        finally:
            worker.stop()
        lines.append(
            f"| {title} | {name} | {reply['grown']:,} | {reply['descriptors']} | {reply.get('tasks', 'none')} |"
        )
    return "\n".join(lines)


def instructions() -> str:
    """The two tables of what was counted under cachegrind."""
    parts = []
    for title, program in (
        ("Imports, by instructions", "import_cost.py"),
        ("Instructions (cachegrind), the regression gate of CI", "icount.py"),
    ):
        done = subprocess.run([sys.executable, str(HERE / program)], capture_output=True, text=True, check=False)
        parts.append(f"### {title}\n\n{done.stdout.strip()}")
    return "\n\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="a word of the titles of the tables to make")
    parser.add_argument("--write", action="store_true", help="write the tables of docs/performance.md")
    chosen = parser.parse_args()
    if chosen.only and chosen.write:
        parser.error("--write needs all tables")
    parts = []
    with load_server() as base:
        for measure in MEASURES:
            if chosen.only.lower() in measure.title.lower():
                table = run(measure, base, chosen.rounds)
                parts += [table.markdown(), table.chart()]
                print(table.markdown(), end="\n\n", flush=True)
        rest = {
            "pool": lambda: pool(base, min(chosen.rounds, 3)),  # a pool that slows down takes minutes a round
            "imports": lambda: imports(base, chosen.rounds),
            "leaks": lambda: leaks(base),
            "instructions": instructions,
        }
        for title, part in rest.items():
            if chosen.only.lower() in title:
                parts.append(part())
                print(parts[-1], end="\n\n", flush=True)
    if chosen.write:
        write(chosen.rounds, [part for part in parts if part])


PAGE = HERE.parent / "docs" / "performance.md"
MARK = "<!-- Below this line bench/run.py writes; above it people do. -->"


def write(rounds: int, parts: list[str]) -> None:
    """Replaces the tables and charts of docs/performance.md; what is said about them stays."""
    said, _, _ = PAGE.read_text().partition(MARK)
    scanner = "msgspec" if importlib.util.find_spec("msgspec") else "the standard library"
    how = (
        f"Measured on {time.strftime('%Y-%m-%d')} by `python bench/run.py --write`: {rounds} interleaved rounds, medians of "
        f"paired ratios; CPython {platform.python_version()}, {os.cpu_count()} cores, loopback, no TLS, the server in a "
        f"process of its own, JSON by {scanner}."
    )
    PAGE.write_text("\n\n".join([said + MARK, "## Tables", how, *parts]) + "\n")


if __name__ == "__main__":
    main()
