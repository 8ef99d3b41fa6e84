"""One world: callers, their calls, the network and the servers, all from one seed, on virtual time.

    World(seed).run() -> Outcome          safety: any fault at any time
    World(seed, liveness=True).run()      the faults stop; every call must end by its deadline

The shipped machines run in it unchanged: `Pump`, `PoolRunner`, `Call`, `Pool`, `RetryState`, the codecs. Only the
connections, the clock and the resolver are simulated.

Rules of this file:
- It follows `Scene`: every choice comes from the dice of the seed, and what does not hold is written down.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from sans_io.calls.call import SEND_PIECE, Call
from sans_io.chat.events import Event, TextDelta
from sans_io.chat.messages import ChatRequest
from sans_io.http.http11 import HTTPRequest
from sans_io.http.secret import Secret
from sans_io.http.urls import Origin, parse_base_url
from sans_io.policy.deadline import Timers

from ...pump import Pump
from .faults import draw_caller
from .judge import Judge
from .loop import Task
from .runtime import SimRuntime
from .scene import MOST_CALLERS, Scene, SimCall
from .servers import SimServer
from .wires import WireName

if TYPE_CHECKING:
    from sans_io.providers.base import Operation

T = TypeVar("T")


@dataclass(slots=True)
class Outcome:
    """What a world came to. `violations` is empty in a good one; `digest` is the hash of its trace."""

    seed: int
    digest: str
    violations: list[str]
    calls: int
    histogram: Counter[str]
    trace: list[str]


class World(Scene):
    """See the module's text. `calls` per world are made by `callers` tasks that share one pool."""

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
        super().__init__(seed, liveness=liveness, wire=wire, without=without)
        self._keep_trace = keep_trace
        self._planned = calls
        self.server = SimServer(self)
        self.runtime = self._new_runtime()
        self._operations = operations(self.wire, self.origin)
        self._judge = Judge(self, self.server, self.runtime)

    # -- a run -----------------------------------------------------------------------------------------------------

    def run(self) -> Outcome:
        """To the end of all calls, then of the pool."""
        per_caller = -(-self._planned // self.callers)
        tasks = [
            self.loop.spawn(self._caller(number, per_caller), f"caller {number}") for number in range(self.callers)
        ]
        try:
            self.loop.run(200_000)
        except RuntimeError as error:
            self.violated("I7", str(error))
        for task in tasks:
            if not task.done:
                self.violated("I7", f"{task.name} never ends")
            elif task.error is not None:
                self.violated("I7", f"{task.name} died of {task.error!r}")
        self._judge.pool()
        lines = self.lines() if self._keep_trace else []
        return Outcome(self.seed, self.digest(), self.violations, len(self.calls), Counter(self.counted), lines)

    async def _caller(self, number: int, calls: int) -> None:
        for index in range(calls):
            await self.runtime.pause(self.roll() * 6.0)
            await self._one_call(number, index)

    async def _one_call(self, number: int, index: int) -> None:
        sim, loop = self._new_call(number, f"n{number}x{index}"), self.loop
        fault = self.draw(draw_caller, 0.2)
        if fault is not None:
            sim.faults += 1
            sim.slow = fault == "slow_consumer"
        task = self._start(sim, fault)
        if fault == "cancel":
            how = self.pick("pump", "task", "task")
            loop.call_later(self.roll() ** 2 * 8.0, lambda: self._cancel(sim, task, how))
        elif fault == "clock_jump":
            loop.call_later(self.roll() * 5.0, self._jump)
        await task.gone.wait(float("inf"))
        self._leave(sim)
        sim.finished_at = sim.finished_at or loop.now
        self._judge.call(sim, task)

    def _new_runtime(self) -> SimRuntime:
        return SimRuntime(self, self.server)

    def _new_call(self, number: int, nonce: str) -> SimCall:
        loop = self.loop
        stream = self.roll() < 0.75
        large = self.roll() < 0.03
        timers = _TIMERS[int(self.roll() * len(_TIMERS))]
        deadline = float("inf") if timers.total is None else loop.now + timers.total
        sim = self.calls[nonce] = SimCall(nonce, str(number), self.wire, stream, loop.now, deadline)
        sim.call = call = Call(
            self._operations.make(number, nonce, stream=stream, large=large), self.route, timers, now=loop.now,
            retry=self.policy, budget=self.budgets[number], seed=int(self.roll() * 2**32), stream=stream,
        )  # fmt: skip
        sim.pump = Pump(call, self.runtime)
        return sim

    def _start(self, sim: SimCall, fault: str | None) -> Task:
        """The task that reads the reply."""
        assert sim.pump is not None
        return self.loop.spawn(self._consume(sim, sim.pump, fault), sim.nonce)

    def _leave(self, sim: SimCall) -> None:
        """The task has ended, perhaps before it began."""
        assert sim.pump is not None
        sim.pump.close()

    def _jump(self) -> None:
        self.loop.now += self.roll() * 200.0
        self.jumped_to = self.loop.now

    def _cancel(self, sim: SimCall, task: Task, how: str) -> None:
        if task.done or sim.ended or sim.pump is None:
            return
        sim.cancelled = True
        self.trace("cancel", sim.nonce, how)
        if how == "pump":
            sim.pump.cancel()
        else:
            task.cancel()

    async def _consume(self, sim: SimCall, pump: Pump, fault: str | None) -> None:
        try:
            while True:
                events = await pump.advance()
                if events is None:
                    break
                self._deliver(sim, events)
                if fault == "slow_consumer" and self.roll() < 0.3:
                    await self.runtime.pause(self.roll() * 10.0)
        finally:
            pump.close()
            sim.ended += 1
            sim.finished_at = self.loop.now

    def _deliver(self, sim: SimCall, events: list[Event]) -> None:
        sim.committed = True
        if not sim.stream:
            self.violated("I9", f"{sim.nonce} is no stream and was handed events")
        for event in events:
            if type(event) is TextDelta:
                sim.delivered.append(event.text)


_TIMERS: Final = (
    Timers(total=60.0, idle=20.0, first_token=60.0),
    Timers(total=20.0, idle=20.0, first_token=20.0),
    Timers(total=None, until_commit=60.0, idle=15.0, first_token=60.0),
    Timers(total=90.0, until_commit=40.0, idle=10.0, first_token=10.0),
    Timers(total=5.0),
)


class _Codec(Protocol):
    def operation(self, chat: ChatRequest) -> Operation: ...


class Operations:
    """The requests of all callers, each made once by the codec with the caller's key.

    Codecs and operations are immutable: all worlds with this server share them.
    """

    def __init__(self, wire: WireName, origin: Origin) -> None:
        self._made: dict[tuple[int, str, bool], Operation] = {}
        base = parse_base_url(f"{origin.scheme}://{origin.host}/v1")
        secrets = [Secret(f"key-{number}") for number in range(MOST_CALLERS)]
        if wire == "openai":
            from sans_io.providers.openai_chat.codec import OpenAICodec
            from sans_io.providers.registry import DIALECTS

            self._codecs: list[_Codec] = [
                OpenAICodec(base, DIALECTS["generic"], credential=secret) for secret in secrets
            ]
        elif wire == "anthropic":
            from sans_io.providers.anthropic.codec import AnthropicCodec

            self._codecs = [AnthropicCodec(base, credential=secret) for secret in secrets]
        else:
            from sans_io.providers.ollama.codec import OllamaCodec

            self._codecs = [OllamaCodec(base, credential=secret) for secret in secrets]

    def make(self, number: int, nonce: str, *, stream: bool, large: bool) -> Operation:
        operation = self._made.get((number, nonce, stream))
        if operation is None:
            message = {"role": "user", "content": f"nonce:{nonce};"}
            chat = ChatRequest(messages=(message,), model="sim", stream=stream)
            operation = self._made[number, nonce, stream] = self._codecs[number].operation(chat)
        if large:
            request = operation.request
            operation = replace(operation, request=HTTPRequest(request.head, request.body + _BLANKS))
        return operation


@lru_cache(maxsize=64)
def operations(wire: WireName, origin: Origin) -> Operations:
    """Made once for each server: the first request of a codec goes through h11, all later ones do not."""
    return Operations(wire, origin)


#: Makes a request so large that it is sent in three pieces.
_BLANKS: Final = b" " * (2 * SEND_PIECE)
