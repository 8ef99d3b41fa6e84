"""The seeds of calls' jitter: no two alike, in this process or in its children."""

from __future__ import annotations

import os
from itertools import count

import pytest

from cloud.llm import registry


def test_no_two_calls_roll_the_same_dice() -> None:
    seeds = [registry.new_seed(5.0) for _ in range(100)]
    assert len(set(seeds)) == 100


def test_two_processes_from_one_snapshot_roll_dice_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def restored_at(now: float) -> list[int]:
        monkeypatch.setattr(registry._shared, "seeds", count(7))
        return [registry.new_seed(now + call) for call in range(100)]

    assert not set(restored_at(5.0)) & set(restored_at(5.000_001))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
def test_a_forked_child_rolls_dice_of_its_own() -> None:
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, str(registry.new_seed(5.0)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    theirs = int(os.read(read, 100))
    os.close(read)
    os.close(write)
    assert abs(theirs - registry.new_seed(5.0)) > 1000
