"""The targets' cuts: nothing is lost, no execution costs more than sixteen reads, and no place is spared."""

from __future__ import annotations

from itertools import accumulate

import pytest
from cuts import pieces


@pytest.mark.parametrize("length", [0, 1, 2, 3, 15, 16, 17, 31, 64, 257, 1000, 1024])
def test_between_all_cuts_every_place_is_cut(length: int) -> None:
    wire = bytes(at % 256 for at in range(length))
    places: set[int] = set()
    for how in range(256):
        cut = pieces(wire, how)
        assert b"".join(cut) == wire
        assert all(cut), "an empty read is the end of a stream"
        assert len(cut) <= 16
        places.update(accumulate(map(len, cut)))
    assert places == set(range(1, length + 1))
