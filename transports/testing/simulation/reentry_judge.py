"""The judge of a re-entrant world: what holds for all calls holds for those that met an event, and nothing is lost.

Rules of this file:
- Whoever left a stream to the collector gets no end of it; what he was handed must still be right.
- What was left is done within `SWEEP_EVERY`: from then on nobody waits while there is room. Who has a seat is asked of
  the pumps, not of the pool.
"""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

from ...pump import SWEEP_EVERY
from .judge import Judge
from .loop import SimWakeup, Task

if TYPE_CHECKING:
    from weakref import ref

    from sans_io.chat.response import ChatResponse
    from sans_io.errors import LLMError
    from sans_io.policy.pool import PoolStats

    from ...pump import Pump
    from .runtime import SimRuntime
    from .scene import Scene, SimCall
    from .servers import SimServer


class ReentrantJudge(Judge):
    """See the module's text."""

    def __init__(self, world: Scene, server: SimServer, runtime: SimRuntime, pumps: list[ref[Pump]]) -> None:
        super().__init__(world, server, runtime)
        self._pumps = pumps
        self._judged = 0
        #: Until when somebody may wait although there is room: what was left is done within this time.
        self.settled_at = 0.0

    def call(self, sim: SimCall, task: Task) -> None:
        self._judged += 1
        if not sim.dropped:
            super().call(sim, task)
            return
        delivered = "".join(sim.delivered)
        self.world.count("calls")
        self.world.count("end:dropped")
        self.world.trace("end", sim.nonce, "dropped", delivered)
        truth = self.server.last.get(sim.nonce)
        if delivered and (truth is None or (truth.exact and not truth.text.startswith(delivered))):
            self.world.violated("I9", f"{sim.nonce} was handed {delivered!r} of {truth!r}")

    def finished(self, sim: SimCall) -> None:
        """I7, of a call that a handler closed."""
        call = sim.call
        if call is None or not call.finished or (call.error is None) == (call.response is None):
            self.world.violated("I7", f"{sim.nonce} was closed and did not end in exactly one way")

    def stats(self, stats: PoolStats, when: str) -> None:
        """I10: a state that the pool was in, whatever is being done with it."""
        most = self.world.max_connections
        numbers = (stats.idle, stats.leased, stats.connecting, stats.waiting, stats.dialled, *stats.destroyed.values())
        if (
            min(numbers) < 0
            or stats.open != stats.idle + stats.leased
            or stats.dialled != stats.open + sum(stats.destroyed.values())
            or (most is not None and stats.open + stats.connecting > most)
        ):
            self.world.violated("I10", f"{when} saw {stats}")

    def served(self) -> None:
        """I10: nobody waits while there is room."""
        world, holders, waiting = self.world, 0, 0
        if world.loop.now < max(self.settled_at, world.jumped_to + SWEEP_EVERY):
            return
        for pump in (found() for found in self._pumps):
            ticket = None if pump is None else pump._ticket
            if pump is None or ticket is None or pump._pool_runner is not self.runtime.pool_runner:
                continue
            wakeup = ticket.waker
            holders += ticket.granted
            waiting += not ticket.granted and isinstance(wakeup, SimWakeup) and wakeup._task is not None
        most = world.max_connections
        if waiting and (most is None or holders < most):
            world.violated("I10", f"{waiting} wait although only {holders} have a seat")

    def pool(self) -> None:
        world, runner = self.world, self.runtime.pool_runner
        if self._judged != len(world.calls):
            world.violated("I7", f"{len(world.calls) - self._judged} calls never ended")
        runner.sweep(world.loop.now)
        stats = runner.stats()
        self.stats(stats, "the end")
        if self._open() > stats.open:
            gc.collect()
        if self._open() != stats.open:
            world.violated("I10", f"{self._open()} connections are open at the end, and the pool has {stats}")
        runner.close_idle(world.loop.now)
        if runner.connections:
            world.violated("I10", f"the pool cannot close {sorted(runner.connections, key=repr)}")
        super().pool()

    def _fair(self) -> None:
        self.served()

    def _partial(self, sim: SimCall, error: LLMError) -> ChatResponse | None:
        """Ctrl-C is not told what had arrived; its stream can be asked."""
        return sim.call.partial if sim.interrupted and sim.call is not None else error.partial

    def _open(self) -> int:
        return sum(not connection.closed for connection in self.runtime.connections)
