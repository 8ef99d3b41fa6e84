"""How a transport creates its pools and adds up their statistics."""

from __future__ import annotations

import os
from collections import Counter
from typing import TypeVar

from sans_io.limits import is_count, is_seconds, shown
from sans_io.policy.pool import Pool, PoolStats
from sans_io.records import dataclass

ConnectionT = TypeVar("ConnectionT")


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """`max_connections` per route (None: unlimited), `max_idle` of all routes; `max_age`, `idle_timeout` in seconds."""

    max_connections: int | None = None
    max_idle: int = 1000
    max_age: float = 300.0
    idle_timeout: float = 15.0

    def __post_init__(self) -> None:
        if self.max_connections is not None and not is_count(self.max_connections, 1):
            raise ValueError(f"max_connections must be at least 1 or None, not {shown(self.max_connections)}")
        if not is_count(self.max_idle):
            raise ValueError(f"max_idle must be an integer of at least 0, not {shown(self.max_idle)}")
        for name in ("max_age", "idle_timeout"):
            value = getattr(self, name)
            if not is_seconds(value) or value == 0:
                raise ValueError(f"{name} must be a positive number of seconds, not {shown(value)}")

    def new_pool(self) -> Pool[ConnectionT]:
        """An empty pool with jitter of its own: unlike that of other loops or of a forked parent."""
        seed = int.from_bytes(os.urandom(8), "big")
        return Pool(self.max_connections, self.max_idle, self.max_age, self.idle_timeout, seed)


def summed(parts: list[PoolStats]) -> PoolStats:
    """The statistics of several pools as one."""
    destroyed: Counter[str] = Counter()
    for part in parts:
        destroyed.update(part.destroyed)
    return PoolStats(
        open=sum(part.open for part in parts),
        idle=sum(part.idle for part in parts),
        leased=sum(part.leased for part in parts),
        connecting=sum(part.connecting for part in parts),
        waiting=sum(part.waiting for part in parts),
        dialled=sum(part.dialled for part in parts),
        reused=sum(part.reused for part in parts),
        destroyed=dict(destroyed),
    )
