"""Deterministic simulation: many calls through the real machines, on virtual time, from a seed."""

from .world import Outcome, World

__all__ = ["Outcome", "World"]
