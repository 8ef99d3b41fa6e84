"""Mistakes that clients of this kind really make, as patches to a copy of the shipped source.

No mutant ships: `plant` copies the packages to a directory and changes the copy. mutant_seeds.json has the first seed that
finds each; the test runs that seed on the mutant (it must break) and on the unpatched tree (it must not). Where the
simulation rolls its dice differently the seeds move: `python -m tests.simulation.mutants` finds them anew and writes them.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Mutant:
    """One planted mistake: in `file`, `old` (which must be there exactly once) becomes `new`."""

    name: str
    file: str
    old: str
    new: str


MUTANTS = (
    Mutant(
        "surplus bytes kept", "sans_io/http11.py",
        "            and not self.surplus\n", "",
    ),
    Mutant(
        "readable idle connection reused", "transports/pump.py",
        "while ticket.conn is not None and ticket.conn.unread():", "while False:",
    ),
    Mutant(
        "slot lost on cancelled dial", "sans_io/policy/pool.py",
        "            self._end(ticket)\n            connecting = slot.conn is None\n",
        "            self._end(ticket)\n            connecting = slot.conn is None\n            if connecting:\n                return commands\n",
    ),
    Mutant(
        "waiter starved", "sans_io/policy/pool.py",
        "        heir = self._next_waiter(slot.record)\n        if heir is not None:\n            self._move(slot, \"hand_over\")",
        "        heir = None\n        if heir is not None:\n            self._move(slot, \"hand_over\")",
    ),
    Mutant(
        "retry after commit", "sans_io/call.py",
        "        if not self.committed:\n            decision", "        if True:\n            decision",
    ),
    Mutant(
        "Retry-After shortened", "sans_io/policy/retry.py",
        "return max(hint, backoff) + self._dice.roll() * min(1.0, hint / 10)", "return min(hint, backoff)",
    ),
    Mutant(
        "deadline not applied to backoff", "sans_io/policy/retry.py",
        "        if now + delay >= deadline:\n            return Stop(\"deadline\")\n", "",
    ),
    Mutant(
        "stale connection retried twice", "sans_io/policy/retry.py",
        'if condition == "stale" and "stale" not in self._seen:', 'if condition == "stale":',
    ),
    Mutant(
        "budget not charged", "sans_io/policy/retry.py",
        "taken = self.budget.take(cost, now)", "taken = 0",
    ),
    Mutant(
        "terminal event ignored", "sans_io/reply.py",
        "return self.error is not None or self._eof or (self.reader is not None and self.reader.ended)",
        "return self.error is not None or self._eof",
    ),
    Mutant(
        "truncated stream completed", "sans_io/providers/openai_reply.py",
        "            self._fail(self._truncated())\n", "            pass\n",
    ),
    Mutant(
        "partial lost", "sans_io/attempt.py",
        "            if stream and error.partial is None:\n                error.partial = exchange.response()\n",
        "",
    ),
    Mutant(
        "response delivered to the wrong call", "sans_io/policy/pool.py",
        "            self._unpark(slot)\n                self._move(slot, \"lease\")\n                return slot",
        "            self._move(slot, \"lease\")\n                return slot",
    ),
    Mutant(
        "cancelled connection reused", "sans_io/call.py",
        'self._cancellation(), "cancelled", self._operation, self.route, stream=self.stream)\n            self._release(reusable=False)',
        'self._cancellation(), "cancelled", self._operation, self.route, stream=self.stream)\n            self._release(reusable=True)',
    ),
    Mutant(
        "keep-alives count as content", "sans_io/call.py",
        "exchange.content_events == attempt.content_seen and not whole", "False",
    ),
    Mutant(
        "one retry too many", "sans_io/policy/retry.py",
        "if self.retries >= self.policy.max_retries:", "if self.retries > self.policy.max_retries:",
    ),
    Mutant(
        "an answer before the request was sent counts as clean", "sans_io/exchange.py",
        "return self.sent_all and not self.early and self.http.clean", "return self.http.clean",
    ),
    Mutant(
        "an answer before the question taken", "transports/pump.py",
        "            await _expect_silence(wire, deadline)\n", "",
    ),
    Mutant(
        "a stale connection's neighbour instead of a fresh one", "sans_io/call.py",
        'self._fresh = attempt.condition == "stale"', "self._fresh = False",
    ),
    Mutant(
        "a connection that died late is stale", "sans_io/verdict.py",
        "now - attempt.sent_at <= ROUND_TRIP", "not exchange.http.started",
    ),
    Mutant(
        "an answer of no use is sent for again", "sans_io/policy/retry.py",
        "MAY_HAVE_RUN: Final[frozenset[RetryClass]] = frozenset((AMBIGUOUS, AMBIGUOUS_ONCE))",
        "MAY_HAVE_RUN: Final[frozenset[RetryClass]] = frozenset((AMBIGUOUS,))",
    ),
    Mutant(
        "a gateway that lost the answer is asked again", "sans_io/policy/retry.py",
        "504: AMBIGUOUS", "504: TRANSIENT",
    ),
    Mutant(
        "a dial that failed is free", "sans_io/policy/retry.py",
        '{"A": 14,', '{"A": 0,',
    ),
    Mutant(
        "a coded refusal is a garbled answer", "sans_io/exchange.py",
        "        elif reply.status >= 300:\n            reply.receive_eof(COMPRESSED)\n", "",
    ),
    Mutant(
        "a refusal is waited for to its end", "sans_io/call.py",
        "idle_at = min(attempt.finish_at, now + EXPLAINING) if explaining else attempt.finish_at",
        "idle_at = attempt.finish_at",
    ),
)  # fmt: skip


def plant(mutant: Mutant | None, directory: Path) -> Path:
    """A copy of the packages with the mistake in it; None: a faithful copy."""
    for package in ("sans_io", "transports"):
        shutil.copytree(ROOT / package, directory / package, ignore=shutil.ignore_patterns("__pycache__"))
    if mutant is not None:
        path = directory / mutant.file
        source = path.read_text()
        if source.count(mutant.old) != 1:
            raise AssertionError(f"{mutant.name}: the text to change is there {source.count(mutant.old)} times")
        path.write_text(source.replace(mutant.old, mutant.new))
    return directory


def violations(directory: Path, first: int, last: int) -> list[tuple[int, str]]:
    """(seed, violation) of each world of the copy that broke an invariant, stopping at the first."""
    program = (
        "import sys; from transports.testing.simulation.search import run_seed\n"
        f"for seed in range({first}, {last}):\n"
        "    broken = run_seed(seed).violations\n"
        "    if broken:\n"
        "        print(seed, broken[0]); break\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=directory, env={"PYTHONPATH": str(directory), "PYTHONHASHSEED": "0"},
        capture_output=True, text=True, timeout=600, check=True,
    )  # fmt: skip
    return [(int(line.split()[0]), line.split(maxsplit=1)[1]) for line in done.stdout.splitlines()]


SEEDS = Path(__file__).with_name("mutant_seeds.json")


def main() -> None:
    """Find the first seed below 2,000 for each mutant, print and write them."""
    seeds: dict[str, int | None] = {}
    for mutant in MUTANTS:
        with tempfile.TemporaryDirectory() as directory:
            found = violations(plant(mutant, Path(directory)), 0, 2000)
        seeds[mutant.name] = found[0][0] if found else None
        print(f"{mutant.name}: {found[0] if found else 'NOT FOUND'}", flush=True)
    SEEDS.write_text(json.dumps(seeds, indent=2) + "\n")


if __name__ == "__main__":
    main()
