"""Deterministic simulation: many calls through the real machines, on virtual time, from a seed.

`simulate(app, seed)` runs your own program in such a world; `World` and `search` run ours.
"""

from .app import Run, SimulatedTransport, simulate
from .search import Findings, Shrunk, run_seed, search, shrink
from .world import Outcome, World

__all__ = [
    "Findings",
    "Outcome",
    "Run",
    "Shrunk",
    "SimulatedTransport",
    "World",
    "run_seed",
    "search",
    "shrink",
    "simulate",
]
