"""Draws the state machines of the core from their own tables: `python docs/diagrams.py` writes docs/state-machines.md.

A test regenerates it and compares, and checks that every state can be reached and that every state but the last can
be left.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from sans_io.calls import call  # noqa: E402
from sans_io.policy import pool  # noqa: E402

Edge = tuple[str, str, str]


def call_edges() -> list[Edge]:
    """(from, to, label) of the Call."""
    return [(state, following, "") for state, after in call.TRANSITIONS.items() for following in after]


def pool_edges(table: Mapping[tuple[str, str], str]) -> list[Edge]:
    """(from, to, label) of a slot or a ticket of the Pool."""
    return [(state, following, event) for (state, event), following in table.items()]


def reachable(edges: Iterable[Edge], start: Iterable[str]) -> set[str]:
    """The states that can be reached from the start."""
    found = set(start)
    edge = list(found)
    while edge:
        state = edge.pop()
        for origin, following, _ in edges:
            if origin == state and following not in found:
                found.add(following)
                edge.append(following)
    return found


def mermaid(edges: Iterable[Edge], start: str, end: str | None) -> str:
    """A state diagram that GitHub draws."""
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {start}"]
    lines += [f"    {a} --> {b}" + (f" : {label}" if label else "") for a, b, label in edges]
    if end is not None:
        lines.append(f"    {end} --> [*]")
    return "\n".join([*lines, "```"])


def page() -> str:
    slots, tickets = pool_edges(pool.TRANSITIONS), pool_edges(pool.TICKET_TRANSITIONS)
    return f"""# The state machines of the core

Drawn from the tables in the code by `python docs/diagrams.py`; do not edit this page.

## Call

One logical call (`sans_io/calls/call.py`, `TRANSITIONS`). It begins in ACQUIRE, or in AUTHORIZE where the credential
is a callable. Every ACQUIRE is followed by exactly one RELEASE. A DELIVER commits: from then on RELEASE leads to DONE
only.

{mermaid(call_edges(), "ACQUIRE", "DONE")}

## Pool: a slot

The right to have one connection (`sans_io/policy/pool.py`, `TRANSITIONS`). "free" is no slot at all.

{mermaid(slots, "free", None)}

## Pool: a ticket

One caller's place (`TICKET_TRANSITIONS`).

{mermaid(tickets, "new", "done")}
"""


if __name__ == "__main__":
    (HERE / "state-machines.md").write_text(page())
