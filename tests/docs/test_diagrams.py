"""The drawings in the docs are the code's own tables, and no state of them is an island or a trap."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from sans_io.calls import call
from sans_io.policy import pool

ROOT = Path(__file__).resolve().parents[2]
_SPEC = importlib.util.spec_from_file_location("diagrams", ROOT / "docs" / "diagrams.py")
assert _SPEC is not None
assert _SPEC.loader is not None
diagrams = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(diagrams)


def test_the_page_is_what_the_tables_say() -> None:
    assert (ROOT / "docs" / "state-machines.md").read_text() == diagrams.page(), "run: python docs/diagrams.py"


@pytest.mark.parametrize(
    ("edges", "start", "states", "final"),
    [
        (diagrams.call_edges(), ["ACQUIRE", "AUTHORIZE"], set(call.TRANSITIONS), {"DONE"}),
        (diagrams.pool_edges(pool.TRANSITIONS), ["free"], {"free", "connecting", "leased", "idle"}, set()),
        (diagrams.pool_edges(pool.TICKET_TRANSITIONS), ["new"], {"new", "waiting", "granted", "done"}, {"done"}),
    ],
    ids=["call", "slot", "ticket"],
)
def test_every_state_can_be_reached_and_left(edges, start, states, final) -> None:
    assert diagrams.reachable(edges, start) == states
    assert {origin for origin, _, _ in edges} | final == states
