"""The seeds of calls' jitter: no two alike, in this process or in its children."""

from __future__ import annotations

import os

import pytest

from cloud.llm import registry


def test_no_two_calls_roll_the_same_dice() -> None:
    seeds = [registry.new_seed() for _ in range(100)]
    assert len(set(seeds)) == 100


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
def test_a_forked_child_rolls_dice_of_its_own() -> None:
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, str(registry.new_seed()).encode())
        os._exit(0)
    os.waitpid(child, 0)
    theirs = int(os.read(read, 100))
    os.close(read)
    os.close(write)
    assert abs(theirs - registry.new_seed()) > 1000
