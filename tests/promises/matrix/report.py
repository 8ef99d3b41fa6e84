"""Runs every cell in every mode, and writes docs/fault-matrix.md from what was seen.

python -m tests.promises.matrix.report            run, write the page, exit 1 if a cell is not what the table says
"""

from __future__ import annotations

import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.callers import MODES
from tests.promises.matrix.driver import ALLOWANCE, PROMPT, Run, T, faulty_names, perform
from tests.promises.matrix.table import CELLS, FAULTS, PHASES

PAGE = Path(__file__).parents[3] / "docs" / "fault-matrix.md"
WORKERS = 10
#: On a machine that has no core for us, timers meet in another order. Up to this part of the runs, what was not as the
#: table says in the crowd is done once more alone, and that counts.
SECOND_GO = 0.05


def run_all(cells: list | None = None) -> dict[tuple[str, str, str], Run]:
    """Every possible cell in every mode, keyed by (phase, fault, mode)."""
    wanted = [cell for cell in (CELLS if cells is None else cells) if cell.impossible is None]
    with faulty_names(), ThreadPoolExecutor(WORKERS) as workers:
        pairs = [(cell, mode) for cell in wanted for mode in MODES]
        runs = list(workers.map(lambda pair: perform(*pair), pairs))
        doubtful = [place for place, run in enumerate(runs) if run.complaints()]
        if len(doubtful) <= len(runs) * SECOND_GO:
            for place in doubtful:
                runs[place] = perform(*pairs[place])
        return {(run.cell.phase, run.cell.fault, str(run.mode)): run for run in runs}


def page(runs: dict[tuple[str, str, str], Run]) -> str:
    """The page. What each cell shows is what the runs of all four modes showed."""
    by_place = {(cell.phase, cell.fault): cell for cell in CELLS}
    impossible = Counter(cell.impossible.partition(" /")[0][:8] for cell in CELLS if cell.impossible)
    filled = sum(cell.impossible is None for cell in CELLS)
    lines = [
        "# What a call makes of each fault",
        "",
        "Written by `python -m tests.promises.matrix.report` from a run on real sockets: 13 phases of a call, 12 faults, each by",
        "a blocking client, by three threads over one client, on asyncio and on trio. A cell is written down only if all",
        "four modes showed the same.",
        "",
        f"{filled} of {len(CELLS)} cells are filled, {sum(impossible.values())} cannot be; those say which of three",
        "reasons holds: no such layer in this phase, the fault needs bytes that do not exist yet, equal to another cell.",
        "",
        f"Every timer of a cell is {T} s and one retry is allowed. `≥` is the least time that the call took: no timer",
        f"is ever early. Late by at most {PROMPT} s, and {ALLOWANCE} s more that a busy scheduler may take. `asyncio.run`",
        "and `trio.run` ended as promptly after their last line, no seat stayed taken, every connection was closed, and",
        "a plain call over the same client succeeded afterwards.",
        "",
    ]
    for phase in PHASES:
        lines += [
            f"## {phase}",
            "",
            "| fault | what happens | what the caller sees | attempts | delivered | connection |",
        ]
        lines.append("|---|---|---|---|---|---|")
        for fault in FAULTS:
            cell = by_place[phase, fault]
            if cell.impossible is not None:
                lines.append(f"| {fault} | | *{cell.impossible}* | | | |")
                continue
            seen = runs[phase, fault, "sync"].seen[0]
            outcome = "the answer" if seen.error is None else f"`{seen.error}`"
            if seen.error is not None and cell.code and isinstance(cell.code, str):
                outcome += f" `{cell.code}`"
            if cell.after:
                outcome += f", ≥ {cell.after:g} s"
            text = f"`{seen.text}`" if seen.text else ""
            lines.append(f"| {fault} | {cell.what} | {outcome} | {seen.attempts} | {text} | {cell.connection} |")
        lines.append("")
    return "\n".join(lines)


def main() -> int:
    chosen = [cell for cell in CELLS if all(word in str(cell) for word in sys.argv[1:])]
    runs = run_all(chosen)
    bad = {key: run.complaints() for key, run in runs.items() if run.complaints()}
    for key, complaints in bad.items():
        print(" / ".join(key), complaints)
    print(f"{len(runs)} runs, {len(bad)} not as the table says")
    if not bad and chosen == CELLS:
        PAGE.write_text(page(runs), encoding="utf-8")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
