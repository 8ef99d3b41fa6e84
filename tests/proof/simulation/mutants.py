"""Mistakes that clients of this kind really make, as patches to a copy of the shipped source.

No mutant ships: `plant` copies the packages to a directory and changes the copy. mutant_seeds.json has the first seed that
finds each; the test runs that seed on the mutant (it must break) and on the unpatched tree (it must not). Where the
simulation rolls its dice differently the seeds move: `python -m tests.proof.simulation.mutants [part of a name ...]` finds them
again and writes them. Those of `REENTRANT` also move with the interpreter.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True, slots=True)
class Mutant:
    """One planted mistake: in `file`, `old` (which must be there exactly once) becomes `new`."""

    name: str
    file: str
    old: str
    new: str
    #: To be found in the worlds of `reentry`.
    reentrant: bool = False


MUTANTS = (
    Mutant(
        "surplus bytes kept", "sans_io/http/http11.py",
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
        "retry after commit", "sans_io/calls/call.py",
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
        "terminal event ignored", "sans_io/calls/exchange.py",
        "        elif reader.ended:\n            self.done = True\n", "",
    ),
    Mutant(
        "truncated stream completed", "sans_io/providers/openai_chat/reply.py",
        "            self._fail(self._truncated())\n", "            pass\n",
    ),
    Mutant(
        "partial lost", "sans_io/calls/attempt.py",
        "            if stream and error.partial is None:\n                error.partial = exchange.response()\n",
        "",
    ),
    Mutant(
        "response delivered to the wrong call", "sans_io/policy/pool.py",
        "            self._unpark(slot)\n                self._move(slot, \"lease\")\n                return slot",
        "            self._move(slot, \"lease\")\n                return slot",
    ),
    Mutant(
        "cancelled connection reused", "sans_io/calls/call.py",
        'self._cancellation(), "cancelled", self._operation, self.route, stream=self.stream)\n            self._release(reusable=False)',
        'self._cancellation(), "cancelled", self._operation, self.route, stream=self.stream)\n            self._release(reusable=True)',
    ),
    Mutant(
        "keep-alives count as content", "sans_io/calls/call.py",
        "exchange.content_events == attempt.content_seen and not whole", "False",
    ),
    Mutant(
        "one retry too many", "sans_io/policy/retry.py",
        "if self.retries >= self.policy.max_retries:", "if self.retries > self.policy.max_retries:",
    ),
    Mutant(
        "an answer before the request was sent counts as clean", "sans_io/calls/exchange.py",
        "return self.sent_all and not self.early and self.http.clean", "return self.http.clean",
    ),
    Mutant(
        "an answer before the question taken", "transports/pump.py",
        "            await _expect_silence(connection, deadline)\n", "",
    ),
    Mutant(
        "a stale connection's neighbour instead of a fresh one", "sans_io/calls/call.py",
        'self._fresh = attempt.condition == "stale"', "self._fresh = False",
    ),
    Mutant(
        "a connection that died late is stale", "sans_io/calls/failures.py",
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
        "a coded refusal is a garbled answer", "sans_io/calls/exchange.py",
        "            elif self._head.status >= 300:\n                self.end_body(COMPRESSED)\n", "",
    ),
    Mutant(
        "a refusal is waited for to its end", "sans_io/calls/call.py",
        "idle_at = min(attempt.finish_at, now + EXPLAINING) if explaining else attempt.finish_at",
        "idle_at = attempt.finish_at",
    ),
)  # fmt: skip

REENTRANT = tuple(
    Mutant(*words, reentrant=True) for words in (
    (
        "a change in the middle of a change", "transports/interface.py",
        "        if self._exclusion.held():\n            return self._leave(change, args, more, patience)\n",
        "",
    ),
    (
        "a seat asked for in the middle of a change", "transports/interface.py",
        "        if self._exclusion.held():\n            return False\n", "",
    ),
    (
        "statistics of half a change", "transports/interface.py",
        "return stats_of(self._published)", "return stats_of(self._pool.counts)",
    ),
    (
        "a torn pool is used on", "transports/interface.py",
        "        self._torn = True\n        self._exclusion.let_go()", "        self._exclusion.let_go()",
    ),
    (
        "a lock kept by Ctrl-C", "transports/interface.py",
        "        self._torn = True\n        self._exclusion.let_go()", "        self._torn = True",
    ),
    (
        "a seat of nobody's until the pool has given it", "transports/pump.py",
        "        ticket = self._ticket = Ticket(action.route, action.fresh)\n        if not runner.seat(ticket, now):\n            return self._sit_down(runner.apart(), action, now)\n",
        "        ticket: Ticket[Connection] = Ticket(action.route, action.fresh)\n        if not runner.seat(ticket, now):\n            return self._sit_down(runner.apart(), action, now)\n        self._ticket = ticket\n",
    ),
    (
        "a seat given up before the pool has it back", "transports/pump.py",
        "        if ticket is not None:\n            cancelled = self._cancelled",
        "        self._ticket = None\n        if ticket is not None:\n            cancelled = self._cancelled",
    ),
    (
        "a forgotten seat is not given back", "transports/interface.py",
        "        self._left.append(partial(self._pool.cancel, ticket))\n", "        pass\n",
    ),
    (
        "nobody sweeps while he waits", "transports/pump.py",
        "            runner.sweep(now)\n", "",
    ),
    (
        "what was left is taken off before it is done", "transports/interface.py",
        "            commands += self._left[0](now)\n            self._left.popleft()\n",
        "            commands += self._left.popleft()(now)\n",
    ),
    (
        "the repair forgets who waits", "sans_io/policy/pool.py",
        "                    waiting.append(ticket)\n", "                    pass\n",
    ),
    (
        "the repair forgets connections of nobody", "sans_io/policy/pool.py",
        '        commands += [Close(conn, "cancelled") for conn in conns if conn not in owned]\n', "",
    ),
    (
        "the repair does not count what it closes", "sans_io/policy/pool.py",
        '        counts["cancelled"] += max(0, counts["dialled"] - known)\n', "",
    ),
    (
        "the repair takes the tickets out first", "sans_io/policy/pool.py",
        "        for ticket in self._tickets:\n            held = ticket.slot\n",
        "        tickets, self._tickets = self._tickets, {}\n        for ticket in tickets:\n            self._tickets[ticket] = None\n            held = ticket.slot\n",
    ),
))  # fmt: skip


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


def violations(directory: Path, first: int, last: int, *, reentrant: bool = False) -> list[tuple[int, str]]:
    """(seed, violation) of each world of the copy that broke an invariant, stopping at the first."""
    program = (
        "import sys; from transports.testing.simulation.search import run_seed\n"
        f"for seed in range({first}, {last}):\n"
        f"    broken = run_seed(seed, reentrant={reentrant}).violations\n"
        "    if broken:\n"
        "        print(seed, broken[0]); break\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=directory, env={"PYTHONPATH": str(directory), "PYTHONHASHSEED": "0"},
        capture_output=True, text=True, timeout=600, check=True,
    )  # fmt: skip
    return [(int(line.split()[0]), line.split(maxsplit=1)[1]) for line in done.stdout.splitlines()]


def found_by(mutant: Mutant, planted: Path) -> int | None:
    """The seed that finds it: the known one, else the first of all, since a change may have moved the dice."""
    known = json.loads(SEEDS.read_text())[mutant.name]
    found = violations(planted, known, known + 1, reentrant=mutant.reentrant) if known is not None else []
    found = found or violations(planted, 0, MOST, reentrant=mutant.reentrant)
    return found[0][0] if found else None


#: Every mutant is found in fewer worlds.
MOST = 2000
SEEDS = Path(__file__).with_name("mutant_seeds.json")


def main(names: list[str]) -> None:
    """Find the first seed below 2,000 for each mutant with one of these in its name (none: for all), print and write it."""
    seeds: dict[str, int | None] = json.loads(SEEDS.read_text())
    for mutant in MUTANTS + REENTRANT:
        if names and not any(name in mutant.name for name in names):
            continue
        with tempfile.TemporaryDirectory() as directory:
            found = violations(plant(mutant, Path(directory)), 0, MOST, reentrant=mutant.reentrant)
        seeds[mutant.name] = found[0][0] if found else None
        print(f"{mutant.name}: {found[0] if found else 'NOT FOUND'}", flush=True)
    SEEDS.write_text(json.dumps(seeds, indent=2) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
