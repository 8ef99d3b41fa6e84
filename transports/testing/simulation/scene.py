"""What everything in a simulated world shares: its dice, clock, route, calls and notes.

    Scene <── SimServer, SimRuntime, Judge <── World

Rules of this file:
- Every choice comes from the dice of the seed, in an order that depends on nothing else.
- An invariant that does not hold is written down with the time and the call, never raised in the middle.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Final

from sans_io.calls.call import Call
from sans_io.http.urls import Origin
from sans_io.policy.pool import Route
from sans_io.policy.retry import RetryBudget, RetryPolicy

from ...pump import Pump
from .faults import Draw
from .loop import VirtualLoop
from .wires import Request, WireName

#: Faults stop here in a liveness world, in seconds of virtual time.
FAULTS_STOP_AT: Final = 60.0
#: Callers that share the pool of a world.
FEWEST_CALLERS: Final = 4
MOST_CALLERS: Final = 7


@dataclass(slots=True)
class SimCall:
    """One call and what became of it."""

    nonce: str
    key: str
    wire: WireName
    stream: bool
    started: float
    deadline: float
    call: Call | None = None
    delivered: list[str] = field(default_factory=list)
    committed: bool = False
    requests: int = 0
    faults: int = 0
    ended: int = 0
    cancelled: bool = False
    finished_at: float = 0.0
    #: The caller itself took its time, so the end of the call may come after its deadline.
    slow: bool = False
    #: The only reference to it, besides the task's.
    pump: Pump | None = None
    #: In a re-entrant world: how its caller leaves it; whether it began, met Ctrl-C, was closed, is the collector's.
    manner: str = ""
    began: bool = False
    interrupted: bool = False
    closed: bool = False
    dropped: bool = False


@dataclass(slots=True)
class SimExchange:
    """What one request was answered with: the truth that the invariants compare with."""

    nonce: str
    fault: str | None
    text: str
    tool: str
    #: A patient client gets all of it.
    whole: bool
    #: The bytes were not changed on the way.
    exact: bool = True
    #: The end was sent, so that a client may take it for complete.
    ended: bool = True
    #: When its last byte arrived, in seconds.
    sent_at: float = float("inf")


class Scene:
    """What the seed decides before anything happens, and what is written down as it does."""

    def __init__(
        self,
        seed: int,
        *,
        liveness: bool = False,
        wire: WireName | None = None,
        without: frozenset[str] = frozenset(),
    ) -> None:
        self.seed = seed
        self.liveness = liveness
        self.without = without
        # Python promises the same numbers for a seed in every version, and they cost a tenth of `Dice`.
        self.roll: Callable[[], float] = Random(seed).random  # noqa: S311  no secret depends on it
        self.loop = VirtualLoop()
        self.calls: dict[str, SimCall] = {}
        self.violations: list[str] = []
        self.counted: list[str] = []
        #: Write down that something of this name happened, for the histogram.
        self.count: Callable[[str], None] = self.counted.append
        self._times: list[float] = []
        self._words: list[tuple[object, ...]] = []
        #: When the clock last jumped forward, in seconds of virtual time; 0: never.
        self.jumped_to = 0.0
        secure = self.roll() < 0.5
        self.origin = Origin("https" if secure else "http", "sim.test", 443 if secure else 80)
        self.route = Route(self.origin)
        self.max_connections = (None, None, 1, 2, 4)[int(self.roll() * 5)]
        self.callers = FEWEST_CALLERS + int(self.roll() * (MOST_CALLERS - FEWEST_CALLERS + 1))
        drawn: WireName = ("openai", "anthropic", "ollama")[int(self.roll() * 3)]
        self.wire = wire or drawn
        self.policy = RetryPolicy(max_retries=int(self.roll() * 5), retry_ambiguous=self.roll() < 0.7)
        scarce = self.roll() < 0.3
        self.budgets = [RetryBudget(28, floor=0) if scarce else RetryBudget() for _ in range(self.callers)]

    def faulty(self) -> bool:
        """Whether faults may still happen."""
        return not self.liveness or self.loop.now < FAULTS_STOP_AT

    def pick(self, *words: str) -> str:
        return words[int(self.roll() * len(words))]

    def meets(self, name: str) -> bool:
        """Whether this fault happens: it was drawn and is not one of those that shrinking left out."""
        if name in self.without:
            return False
        self.count("fault:" + name)
        self.trace("fault", name)
        return True

    def draw(self, row: Draw, probability: float) -> str | None:
        """A fault of this row of the catalogue, or None."""
        if not self.faulty() or self.roll() >= probability:
            return None
        name = row(self.roll())
        return name if self.meets(name) else None

    def trace(self, *words: object) -> None:
        """Write down what happens. `words` are of the simple kinds, which do not change afterwards."""
        self._times.append(self.loop.now)
        self._words.append(words)

    def violated(self, invariant: str, text: str) -> None:
        line = f"{invariant} at {self.loop.now:.3f} s: {text}"
        self.violations.append(line)
        self.trace("VIOLATION", line)

    def caller_of(self, request: Request) -> SimCall | None:
        """Whose request this is, by its nonce."""
        return self.calls.get(request.nonce)

    def answered(self, exchange: SimExchange) -> None:
        """A server has decided what it says to a request."""

    def silence(self) -> float:
        """Seconds that a server says nothing before it ends the connection without an answer."""
        return 0.0

    def lines(self) -> list[str]:
        """The trace so far."""
        return [f"{now:.6f} {words!r}" for now, words in zip(self._times, self._words, strict=True)]

    def digest(self) -> str:
        """The hash of the trace so far."""
        times = struct.pack(f"<{len(self._times)}d", *self._times)
        return hashlib.blake2b(times + repr(self._words).encode(), digest_size=16).hexdigest()
