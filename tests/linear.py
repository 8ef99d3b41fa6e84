"""Whether the time of a function is in proportion to its input: what the tests of linear time share."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

import pytest

#: 16 times the input: a linear function takes 16 times as long, a quadratic one 256 times. The bound leaves a factor of
#: three to caches, the allocator and other users of the machine, and still finds a quadratic part that is a sixth of
#: the time for the small input.
GROWTH = 16
BOUND = 3 * GROWTH
#: Seconds. The smallest time that counts as one: under it the ratio is that of fixed costs.
LEAST = 0.002


def assert_linear(make: Callable[[int], bytes], feed: Callable[[bytes], object], size: int) -> None:
    """`feed(make(size))` against `feed(make(size // 16))`, the best processor time of several runs of each."""
    small, large = make(size // GROWTH), make(size)
    short = long = float("inf")
    gc.collect()
    gc.disable()  # its full collections depend on everything else that lives in this process
    try:
        for _ in range(5):
            short = min(short, _seconds(feed, small))
            long = min(long, _seconds(feed, large))
            if long <= BOUND * max(short, LEAST):
                return
    finally:
        gc.enable()
    pytest.fail(f"{len(small)} bytes took {short:.4f} s, {len(large)} took {long / short:.1f} times as long")


def _seconds(feed: Callable[[bytes], object], wire: bytes) -> float:
    started = time.process_time()
    feed(wire)
    return time.process_time() - started
