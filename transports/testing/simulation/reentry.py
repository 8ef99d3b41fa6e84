"""Worlds in which something happens in the middle of anything: Ctrl-C, the garbage collector, a signal handler.

    ReentrantWorld(seed).run()

A third of the calls have an event ahead of them: before one of the bytecodes that the shipped code executes for them,
an exception comes out of nowhere, or other code of the same thread runs. Some callers forget their stream half-read, or
the task that reads it; the collector finds it in the middle of somebody else's call, or between two.

Rules of this file:
- An event's place is a number of bytecodes, so such a world is a function of its seed, of the interpreter, and of
  whether msgspec is installed. What a process does only once is done, or undone, before a world begins.
- Where a debugger or a coverage tool traces, no event happens, and the histogram says so ("event:not traced").
- The dice of the events are their own.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from itertools import accumulate
from random import Random
from typing import TYPE_CHECKING, Any, Final, NoReturn
from warnings import catch_warnings, simplefilter
from weakref import ref

from sans_io.http import heads
from sans_io.records import replace

from ...pump import SWEEP_EVERY, Pump
from .events import Counts, Event, Interrupted, StruckTask, anywhere, in_pool, in_pump, in_repair
from .loop import Task
from .reentry_judge import ReentrantJudge
from .runtime import SimRuntime
from .scene import Scene, SimCall
from .wires import WireName
from .world import Operations, Outcome, World

if TYPE_CHECKING:
    from .network import SimConnection, SimPeer

#: What can happen, and how often in comparison.
EVENTS: Final[Mapping[str, int]] = {
    "ctrl_c": 7, "collected": 16, "handler_stats": 1, "handler_cancel": 2, "handler_close": 6, "handler_call": 3,
    "handler_close_idle": 2,
}  # fmt: skip
#: Of a hundred callers so many do not read to the end: they leave, or forget the stream, or the task that reads it.
MANNERS: Final[Mapping[str, int]] = {"left": 8, "forgotten": 14, "lost": 8}
#: How many of a hundred calls have an event ahead of them.
STRUCK: Final = 33
#: Of a hundred events so many happen in this code, before one of so many bytecodes there: about what a call takes.
PLACES: Final[tuple[tuple[int, Counts, int], ...]] = ((50, in_pool, 1600), (20, in_pump, 4000), (30, anywhere, 14_000))
#: How often Ctrl-C in the middle of a change is pressed again, to meet the repair of what the first one broke; and the
#: bytecodes that a repair takes, about.
AGAIN: Final = 0.6
REPAIR: Final = 500
#: Seconds until the collector finds a forgotten stream by itself, at the latest.
FORGOTTEN_FOR: Final = 8.0


class Remembered:
    """All connections that were dialled and are not collected. A lost socket closes itself, so it is no leak."""

    def __init__(self) -> None:
        self._refs: list[ref[SimConnection]] = []

    def append(self, connection: SimConnection) -> None:
        self._refs.append(ref(connection))

    def __iter__(self) -> Iterator[SimConnection]:
        return (conn for conn in (found() for found in self._refs) if conn is not None)


class ReentrantRuntime(SimRuntime):
    """Says whether a handler's call is being begun, and has Ctrl-C pressed again while the first one is cleaned up."""

    def __init__(self, world: Scene, server: SimPeer) -> None:
        super().__init__(world, server)
        self.connections = Remembered()
        self.inner = False
        #: What has happened in this step of a task, and what is to happen after it.
        self.again: tuple[Event, Event] | None = None

    def nested(self) -> bool:
        return self.inner

    def now(self) -> float:
        """Whoever cleans up asks for the time first."""
        if self.again is not None:
            first, second = self.again
            self.again = None
            if first.during is not None:
                second.during = first.during
                sys.settrace(second.enter)
        return super().now()


class ReentrantWorld(World):
    """See the module's text."""

    def __init__(
        self,
        seed: int,
        *,
        liveness: bool = False,
        calls: int = 24,
        keep_trace: bool = False,
        wire: WireName | None = None,
        without: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__(seed, liveness=liveness, calls=calls, keep_trace=keep_trace, wire=wire, without=without)
        self._odds: Callable[[], float] = Random(f"re-entrant {seed}").random  # noqa: S311  no secret depends on it
        if self._odds() < 0.5:
            self.policy = replace(self.policy, retry_ambiguous=False)
        self._operations = Operations(self.wire, self.origin)
        #: Half-read streams that nobody closes, waiting for the collector.
        self.forgotten: list[SimCall] = []
        self._lost: list[StruckTask] = []
        self._reading: dict[str, StruckTask] = {}
        self._pumps: list[ref[Pump]] = []
        self._judge = self.judge = ReentrantJudge(self, self.server, self.runtime, self._pumps)
        self._handlers = 0

    def _new_runtime(self) -> ReentrantRuntime:
        self.reentrant = ReentrantRuntime(self, self.server)
        return self.reentrant

    def run(self) -> Outcome:
        _warm_up()
        heads._short_field_name.cache_clear()
        heads._short_status_line.cache_clear()
        collects = gc.isenabled()
        gc.disable()  # what other worlds left would be finalised in the middle of this one
        try:
            with catch_warnings():
                # Ctrl-C between the making of a coroutine and its await.
                simplefilter("ignore", RuntimeWarning)
                return super().run()
        finally:
            if collects:
                gc.enable()

    # -- callers ---------------------------------------------------------------------------------------------------

    def _start(self, sim: SimCall, fault: str | None) -> Task:
        task = self._task(sim, fault)
        manner = self._odds() * 100
        for name, share in MANNERS.items():
            if 0 <= manner < share:
                sim.manner = name
            manner -= share
        if sim.manner == "lost":
            self._lost.append(task)
        if self._odds() * 100 < STRUCK:
            self._strike(task)
        self.loop.ready.append(task)
        return task

    def _task(self, sim: SimCall, fault: str | None) -> StruckTask:
        assert sim.pump is not None
        self._pumps.append(ref(sim.pump))
        task = self._reading[sim.nonce] = StruckTask(self.loop, self._consume(sim, sim.pump, fault), sim)
        return task

    def _strike(self, task: StruckTask) -> None:
        if sys.gettrace() is not None:
            self.count("event:not traced")
            return
        self.count("event:ahead")
        where = self._odds() * 100
        for share, counts, most in PLACES:
            if 0 <= where < share:
                task.event = Event(counts, 1 + int(self._odds() * most), self._happen)
            where -= share

    async def _consume(self, sim: SimCall, pump: Pump, fault: str | None) -> None:
        sim.began = True
        try:
            while (events := await pump.advance()) is not None:
                self._deliver(sim, events)
                if sim.manner in ("forgotten", "left") and self.meets(sim.manner):
                    sim.dropped = sim.manner == "forgotten"
                    return
                if fault == "slow_consumer" and self.roll() < 0.3:
                    await self.runtime.pause(self.roll() * 10.0)
        finally:
            try:
                if not sim.dropped:
                    pump.close()
                    sim.closed = True
            finally:
                sim.ended += 1
                sim.finished_at = self.loop.now
                del self._reading[sim.nonce]

    def _leave(self, sim: SimCall) -> None:
        if sim.dropped:
            self.forgotten.append(sim)
            self.loop.call_later(self._odds() * FORGOTTEN_FOR, lambda: self._find(sim))
            return
        assert sim.pump is not None
        if not sim.began:
            del self._reading[sim.nonce]
            sim.pump.close()
        elif not sim.closed:
            # Ctrl-C in the middle of closing. Some close again; of others the collector finds what they had.
            self.settle()
            if self._odds() < 0.5:
                sim.pump.close()
            else:
                sim.dropped = True
        self._drop(sim)

    def _find(self, sim: SimCall) -> None:
        """The collector finds a forgotten stream."""
        if sim in self.forgotten:
            self.forgotten.remove(sim)
            self.trace("collected", sim.nonce)
            self.settle()
            self._drop(sim)

    def _drop(self, sim: SimCall) -> None:
        """The last reference goes. If that is not enough (an error's traceback knows its frames), a collector comes."""
        assert sim.pump is not None
        last = ref(sim.pump)
        sim.pump = None
        pump = last()
        if pump is not None:
            pump.__del__()

    def silence(self) -> float:
        return 1.0 + self._odds() * 4.0 if self._odds() < 0.3 else 0.0

    # -- events ----------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """From now on, what was left has this long until somebody does it."""
        self.judge.settled_at = self.loop.now + SWEEP_EVERY
        self.loop.call_at(self.judge.settled_at + 0.01, self.judge.served)

    def _happen(self, sim: SimCall, place: str) -> None:
        """Before a bytecode of this call."""
        kind = self._which()
        if not self.meets(kind):
            return
        if kind == "ctrl_c":
            first = self._reading[sim.nonce].event
            if first is not None and self.runtime.pool_runner.inside() and self._odds() < AGAIN:
                self.reentrant.again = first, Event(in_repair, 1 + int(self._odds() * REPAIR), self._interrupt)
            self._interrupt(sim, place)
        self.trace("event", sim.nonce, place)
        self.settle()
        try:
            self._handle(kind)
            self.runtime.pool_runner.sweep(self.loop.now)
            self.judge.stats(self.runtime.pool_runner.stats(), kind)
        except Exception as error:  # noqa: BLE001  it would come out of the call that it interrupts
            self.violated("I7", f"{kind} in {place} raised {error!r}")

    def _interrupt(self, sim: SimCall, place: str) -> NoReturn:
        self.count("event:ctrl_c")
        self.trace("interrupted", sim.nonce, place)
        self.settle()
        sim.cancelled = sim.interrupted = True
        raise Interrupted

    def _which(self) -> str:
        events = dict(EVENTS)
        if not self.forgotten:
            del events["handler_close"]
            if not any(task.suspended for task in self._lost):
                del events["collected"]
        left = self._odds() * sum(events.values())
        return next(kind for kind, upto in zip(events, accumulate(events.values()), strict=True) if left < upto)

    def _handle(self, kind: str) -> None:
        if kind == "collected":
            chosen = self._one_of([*self.forgotten, *(task for task in self._lost if task.suspended)])
            if isinstance(chosen, StruckTask):
                self.meets("lost")
                self.trace("collected", chosen.name)
                chosen.sim.cancelled = True
                chosen.collect()
            else:
                self._find(chosen)
        elif kind == "handler_cancel":
            sim = self._one_of(list(self._reading.values())).sim
            self.trace("cancel", sim.nonce, "handler")
            sim.cancelled = True
            sim.pump.cancel()
        elif kind == "handler_close":
            sim = self._one_of(self.forgotten)
            self.forgotten.remove(sim)
            self.trace("close", sim.nonce)
            sim.pump.close()
            self.judge.finished(sim)
            self._drop(sim)
        elif kind == "handler_call":
            self._call_at_once()
        elif kind == "handler_close_idle":
            self.runtime.pool_runner.close_idle(self.loop.now)

    def _call_at_once(self) -> None:
        """A handler makes a call of its own. It goes on later, since time cannot pass in here."""
        self._handlers += 1
        sim = self._new_call(int(self._odds() * self.callers), f"h{self._handlers}")
        task = self._task(sim, None)
        self.reentrant.inner = True
        try:
            task.step()
        finally:
            self.reentrant.inner = False
        self.loop.spawn(self._see_off(sim, task))

    async def _see_off(self, sim: SimCall, task: Task) -> None:
        await task.gone.wait(float("inf"))
        self._leave(sim)
        self._judge.call(sim, task)

    def _one_of(self, things: list[Any]) -> Any:
        return things[int(self._odds() * len(things))]


@lru_cache(maxsize=1)
def _warm_up() -> None:
    """Modules imported at first use, patterns compiled at first use: done once, before bytecodes count."""
    for wire in _WIRES:
        for seed in range(4):
            World(seed, wire=wire).run()


_WIRES: Final[tuple[WireName, ...]] = ("openai", "anthropic", "ollama")
