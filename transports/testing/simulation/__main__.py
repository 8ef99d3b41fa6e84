"""`python -m transports.testing.simulation search 0 4200 --jobs 2` and `... replay SEED`."""

from __future__ import annotations

import argparse
import os
import sys
import time

from .search import Findings, run_seed, search, shrink


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m transports.testing.simulation")
    commands = parser.add_subparsers(dest="command", required=True)
    looking = commands.add_parser("search", help="run the worlds of a range of seeds")
    looking.add_argument("first", type=int)
    looking.add_argument("last", type=int)
    looking.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    replaying = commands.add_parser("replay", help="run one world and print its trace")
    replaying.add_argument("seed", type=int)
    replaying.add_argument("--calls", type=int, default=24)
    replaying.add_argument("--without", default="", help="faults to leave out, separated by commas")
    for command in (looking, replaying):
        command.add_argument("--reentrant", action="store_true", help="with Ctrl-C, finalisers and handlers anywhere")
    chosen = parser.parse_args(arguments)
    if chosen.command == "search":
        return _search(chosen.first, chosen.last, chosen.jobs, chosen.reentrant)
    return _replay(chosen.seed, chosen.calls, frozenset(filter(None, chosen.without.split(","))), chosen.reentrant)


def _search(first: int, last: int, jobs: int, reentrant: bool) -> int:
    began, cpu = time.monotonic(), os.times()
    findings = search(first, last, jobs=jobs, reentrant=reentrant)
    after = os.times()
    spent = after.user + after.children_user - cpu.user - cpu.children_user
    spent += after.system + after.children_system - cpu.system - cpu.children_system
    print(table(findings))
    print(f"{findings.worlds} worlds, {findings.calls} calls, digest {findings.digest}")
    pace = findings.calls / max(spent, 1e-9)
    print(f"{time.monotonic() - began:.1f} s, {spent:.1f} CPU seconds, {pace:.0f} calls per CPU second")
    for seed, violation in findings.failures[:5]:
        print(f"\nseed {seed}: {violation}\n  shrunk: {shrink(seed, reentrant=reentrant).command}", file=sys.stderr)
    if findings.failures:
        print(f"\n{len(findings.failures)} worlds broke an invariant", file=sys.stderr)
    return bool(findings.failures)


def _replay(seed: int, calls: int, without: frozenset[str], reentrant: bool) -> int:
    outcome = run_seed(seed, calls=calls, without=without, keep_trace=True, reentrant=reentrant)
    print("\n".join(outcome.trace))
    print(f"digest {outcome.digest}, {len(outcome.violations)} violations")
    return bool(outcome.violations)


def table(findings: Findings) -> str:
    """The histogram, a line per kind."""
    lines: dict[str, list[str]] = {}
    for key, count in sorted(findings.histogram.items()):
        kind, separator, name = key.partition(":")
        lines.setdefault(kind if separator else "all", []).append(f"{name or kind} {count}")
    return "\n".join(f"{kind:8} {' · '.join(names)}" for kind, names in lines.items())


if __name__ == "__main__":
    sys.exit(main())
