"""How a transport makes its pools, and how it adds them up."""

from __future__ import annotations

import os
from collections import Counter
from typing import TypeVar

from sans_io.policy.pool import Pool, PoolStats
from sans_io.records import dataclass

WireT = TypeVar("WireT")


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """`max_connections` per route (None: no bound), `max_idle` of all routes; `max_age`, `idle_timeout` in seconds."""

    max_connections: int | None = None
    max_idle: int = 1000
    max_age: float = 300.0
    idle_timeout: float = 15.0

    def new_pool(self) -> Pool[WireT]:
        """An empty pool whose jitter nobody else has: not another loop's, not a forked parent's."""
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
