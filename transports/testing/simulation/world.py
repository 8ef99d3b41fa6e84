"""One world: callers, their calls, the network and the servers, all from one seed, on virtual time.

    World(seed).run() -> Outcome          safety: any fault at any time
    World(seed, liveness=True).run()      the faults stop; every call must end by its deadline

The shipped machines run in it unchanged: `Pump`, `Hands`, `Call`, `Pool`, `RetryState`, the codecs. Only the wires, the
clock and the resolver are simulated.

Rules of this file:
- Every choice comes from the dice of the seed, in an order that depends on nothing else.
- An invariant that does not hold is written down with the time and the call, never raised in the middle.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar

from sans_io.call import Call
from sans_io.errors import LLMError
from sans_io.events import Event, TextDelta
from sans_io.messages import ChatRequest
from sans_io.policy.deadline import Timers
from sans_io.policy.dice import Dice
from sans_io.policy.pool import Pool, Route
from sans_io.policy.retry import COSTS, HINTED_COST, RetryBudget, RetryPolicy
from sans_io.secret import Secret
from sans_io.urls import Origin, parse_base_url

from ...faults import Fault
from ...interface import AsyncBell, AsyncWire, Hands
from ...pump import Pump
from ...resolver import Addresses, Job
from .faults import Draw, draw_caller, draw_dial
from .loop import Cancelled, Mailbox, Task, VirtualLoop
from .network import SimWire
from .servers import SimServer
from .wires import WireName

if TYPE_CHECKING:
    from sans_io.providers.base import Operation

T = TypeVar("T")

#: Faults stop here in a liveness world, in seconds of virtual time.
FAULTS_STOP_AT: Final = 60.0


class SimBell:
    """A bell on virtual time. That a wait ran out is forgotten, that it was rung is not."""

    __slots__ = ("_loop", "_mailbox", "_rung")

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._mailbox: Mailbox | None = None
        self._rung = False

    def ring(self) -> None:
        self._rung = True
        if self._mailbox is not None:
            self._mailbox.put()

    async def wait(self, until: float) -> None:
        if self._rung:
            return
        self._mailbox = Mailbox(self._loop)
        try:
            await self._mailbox.take(until)
        except Fault:
            return
        finally:
            self._mailbox = None


class SimRuntime:
    """`transports.interface.AsyncRuntime` over simulated wires; it can carry any client's calls."""

    def __init__(self, world: World, max_connections: int | None) -> None:
        self._world = world
        self._loop = world.loop
        self._dialled = 0
        self._fault: str | None = None
        self.wires: list[SimWire] = []
        self.hands: Hands[AsyncWire, AsyncBell] = Hands(
            lambda: Pool(max_connections=max_connections, seed=world.seed), self.bell
        )

    def now(self) -> float:
        return self._loop.now

    def bell(self) -> SimBell:
        return SimBell(self._loop)

    def resolve(self, host: str, port: int, bell: AsyncBell) -> Job[Addresses]:
        world = self._world
        self._fault = world.draw(draw_dial, 0.3)
        job: Job[Addresses] = Job(None, f"resolving {host}", lambda: _resolved(self._named(host)))
        if self._fault == "dns_slow":
            job.bells.append(bell)
            self._loop.call_later(world.roll() * 8, lambda: _done(job))
        else:
            _done(job)
        return job

    def tls_ready(self, route: Route, bell: AsyncBell) -> Job[bool]:
        return Job.of(True)

    async def dial(self, addresses: Addresses, deadline: float, bell: AsyncBell) -> AsyncWire:
        world, fault = self._world, self._fault
        await self.pause(world.roll() * 0.1, deadline, bell)
        match fault:
            case "refused" | "unreachable" | "too_many_files":
                raise Fault(fault, "simulated")
            case "dial_reset":
                raise Fault("reset", "simulated")
            case "dial_silence":
                await self.pause(1e9, deadline, bell)
        self._dialled += 1
        wire = SimWire(self._loop, world.server, world.route, self._dialled)
        self.wires.append(wire)
        world.trace("dial", wire.number)
        return wire

    async def secure(self, wire: AsyncWire, route: Route, name: str, deadline: float) -> AsyncWire:
        await self.pause(self._world.roll() * 0.1, deadline, self.bell())
        if self._fault in ("tls_failed", "tls_verify"):
            raise Fault(self._fault, "simulated")  # type: ignore[arg-type]
        return wire

    async def within(self, result: Awaitable[T], deadline: float, bell: AsyncBell) -> T:
        return await result

    async def pause(self, seconds: float, deadline: float = float("inf"), bell: AsyncBell | None = None) -> None:
        """Let virtual time pass; ends early when the bell rings."""
        await (bell or self.bell()).wait(min(deadline, self.now() + seconds))
        if self.now() >= deadline:
            raise Fault("timeout", "")

    def _named(self, host: str) -> str:
        if self._fault == "dns_temporary" or self._fault == "dns_failed":
            raise Fault(self._fault, f"{host}: simulated")
        return host


def _done(job: Job[Addresses]) -> None:
    job.run()
    job.done = True
    for bell in job.bells:
        bell.ring()


def _resolved(host: str) -> Addresses:
    return ()


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


@dataclass(slots=True)
class Outcome:
    """What a world came to. `violations` is empty in a good one; `digest` is the hash of its trace."""

    seed: int
    digest: str
    violations: list[str]
    calls: int
    histogram: Counter[str]
    trace: list[str]


class World:
    """See the module's text. `calls` per world are made by `callers` tasks that share one pool."""

    def __init__(
        self, seed: int, *, liveness: bool = False, calls: int = 24, keep_trace: bool = False, wire: WireName | None = None,
        without: frozenset[str] = frozenset(),
    ) -> None:
        self.seed = seed
        self.liveness = liveness
        self.without = without
        self._dice = Dice(seed)
        self.roll = self._dice.roll
        self.loop = VirtualLoop()
        self.calls: dict[str, SimCall] = {}
        self.server = SimServer(self)
        self.violations: list[str] = []
        self.histogram: Counter[str] = Counter()
        self._lines: list[str] = []
        self._hash = hashlib.blake2b(digest_size=16)
        self._keep_trace = keep_trace
        self._planned = calls
        secure = self.roll() < 0.5
        self.origin = Origin("https" if secure else "http", "sim.test", 443 if secure else 80)
        self.route = Route(self.origin)
        self.max_connections = (None, 1, 2, 4)[int(self.roll() * 4)]
        self.runtime = SimRuntime(self, self.max_connections)
        self.callers = 4 + int(self.roll() * 4)
        drawn: WireName = ("openai", "anthropic", "ollama")[int(self.roll() * 3)]
        self.wire = wire or drawn
        self.policy = RetryPolicy(max_retries=int(self.roll() * 5))
        scarce = self.roll() < 0.3
        self.budgets = [
            RetryBudget(28, floor=0) if scarce else RetryBudget() for _ in range(self.callers)
        ]
        self._operations = Operations(self.wire, self.origin, self.callers)
        self._kept: list[object] = []

    # -- dice and notes --------------------------------------------------------------------------------------------

    def faulty(self) -> bool:
        """Whether faults may still happen."""
        return not self.liveness or self.loop.now < FAULTS_STOP_AT

    def pick(self, *words: str) -> str:
        return words[int(self.roll() * len(words))]

    def meets(self, name: str) -> bool:
        """Whether this fault happens: it was drawn and is not one of those that shrinking left out."""
        if name in self.without:
            return False
        self.histogram["fault:" + name] += 1
        self.trace("fault", name)
        return True

    def draw(self, row: Draw, probability: float) -> str | None:
        """A fault of this row of the catalogue, or None."""
        if not self.faulty() or self.roll() >= probability:
            return None
        name = row(self.roll())
        return name if self.meets(name) else None

    def trace(self, *words: object) -> None:
        line = f"{self.loop.now:.6f} {words!r}"
        self._hash.update(line.encode())
        if self._keep_trace:
            self._lines.append(line)

    def violated(self, invariant: str, text: str) -> None:
        line = f"{invariant} at {self.loop.now:.3f} s: {text}"
        self.violations.append(line)
        if self._keep_trace:
            self._lines.append("VIOLATION " + line)

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
        self._settle()
        return Outcome(
            self.seed, self._hash.hexdigest(), self.violations, len(self.calls), self.histogram, self._lines
        )

    async def _caller(self, number: int, calls: int) -> None:
        for index in range(calls):
            await self.runtime.pause(self.roll() * 6.0)
            await self._one_call(number, index)

    async def _one_call(self, number: int, index: int) -> None:
        nonce, loop = f"n{number}x{index}", self.loop
        stream = self.roll() < 0.75
        large = self.roll() < 0.03
        timers = _TIMERS[int(self.roll() * len(_TIMERS))]
        deadline = float("inf") if timers.total is None else loop.now + timers.total
        sim = self.calls[nonce] = SimCall(nonce, str(number), self.wire, stream, loop.now, deadline)
        sim.call = call = Call(
            self._operations.make(number, nonce, stream=stream, large=large), self.route, timers, now=loop.now,
            retry=self.policy, budget=self.budgets[number], seed=int(self.roll() * 2**32), stream=stream,
        )  # fmt: skip
        pump = Pump(call, self.runtime)
        fault = self.draw(draw_caller, 0.2)
        if fault is not None:
            sim.faults += 1
            sim.slow = fault == "slow_consumer"
        task = loop.spawn(self._consume(sim, pump, fault), nonce)
        if fault == "cancel":
            how = self.pick("pump", "task", "task")
            loop.call_later(self.roll() ** 2 * 8.0, lambda: self._cancel(sim, pump, task, how))
        elif fault == "clock_jump":
            loop.call_later(self.roll() * 5.0, self._jump)
        await task.gone.take(float("inf"))
        pump.close()
        sim.finished_at = sim.finished_at or loop.now
        self._judge(sim, task)

    def _jump(self) -> None:
        self.loop.now += self.roll() * 200.0
        self._jumped_to = self.loop.now

    _jumped_to = 0.0

    def _cancel(self, sim: SimCall, pump: Pump, task: Task, how: str) -> None:
        if task.done or sim.ended:
            return
        sim.cancelled = True
        self.trace("cancel", sim.nonce, how)
        if how == "pump":
            pump.cancel()
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

    # -- judgement -------------------------------------------------------------------------------------------------

    def _judge(self, sim: SimCall, task: Task) -> None:
        call, nonce = sim.call, sim.nonce
        if call is None:
            return
        error, response = call.error, call.response
        word = "completed" if error is None else "cancelled" if error.code == "cancelled" else type(error).__name__
        self.histogram["end:" + word] += 1
        self.histogram["calls"] += 1
        if sim.stream:
            self.histogram["streams"] += 1
        if sim.faults or (error is not None) or any(a.outcome != "ok" for a in call.attempts):
            self.histogram["met a fault"] += 1
        for attempt in call.attempts:
            self.histogram["outcome:" + attempt.outcome] += 1
        if error is not None and error.phase is not None:
            self.histogram["phase:" + error.phase] += 1
        self.trace("end", nonce, word, len(call.attempts), "".join(sim.delivered))
        if not call.finished or (error is None) == (response is None):
            self.violated("I7", f"{nonce} did not end in exactly one way: {response!r} {error!r}")
            return
        if task.error is not None and not isinstance(task.error, Cancelled):
            self.violated("I7", f"{nonce} raised {task.error!r}")
        if not sim.slow and sim.finished_at > max(sim.deadline, self._jumped_to) + 0.11:
            self.violated("I7", f"{nonce} ended {sim.finished_at - sim.deadline:.3f} s after its deadline")
        retries = sum(a.delay_reason in ("backoff", "server") for a in call.attempts)
        stale = sum(a.delay_reason == "immediate" for a in call.attempts)
        if retries > self.policy.max_retries or stale > 1:
            self.violated("I8", f"{nonce} was tried {len(call.attempts)} times ({retries} retries, {stale} stale)")
        for attempt, following in zip(call.attempts, call.attempts[1:], strict=False):
            if attempt.delay_reason == "immediate" and following.connection == "reused":
                self.violated("I8", f"{nonce} went from a stale connection to another idle one")
        stats = self.runtime.hands.stats()
        room = self.max_connections is None or stats.open + stats.connecting < self.max_connections
        if stats.waiting and (room or stats.idle):
            self.violated("I10", f"somebody waits although there is room: {stats}")
        self._judge_text(sim, error)

    def _judge_text(self, sim: SimCall, error: LLMError | None) -> None:
        call, nonce = sim.call, sim.nonce
        truth = self.server.last.get(nonce)
        delivered = "".join(sim.delivered)
        if call is None or (truth is None and not delivered and error is not None):
            return
        if truth is None:
            self.violated("I1", f"{nonce} has an answer that nobody gave")
            return
        if truth.exact and not truth.text.startswith(delivered):
            self.violated("I9", f"{nonce} was handed {delivered!r}, which is no prefix of {truth.text!r}")
        if error is not None:
            idle = call.timers.idle
            kept_alive = truth.fault == "keepalives_after_content" and sim.committed and idle is not None
            if kept_alive and not sim.slow and not self._jumped_to and sim.finished_at > truth.sent_at + (idle or 0) + 0.5:
                self.violated("I7", f"{nonce} was kept alive by keep-alives for {sim.finished_at - truth.sent_at:.3f} s")
            partial = error.partial
            if delivered and (partial is None or not partial.content.startswith(delivered)):
                self.violated("I9", f"{nonce}: the partial {partial!r} does not hold what was delivered")
            if partial is not None and partial.tool_calls and not truth.ended:
                self.violated("I9", f"{nonce}: a runnable tool call in a reply that did not end")
            if truth.whole and truth.fault is None and not sim.cancelled and error.code not in _EXCUSED:
                if call.attempts and call.attempts[-1].outcome not in ("stale",) and call.attempts[-1].status == 200:
                    self.violated("I9", f"{nonce} failed with {error!r} although its reply was whole")
            return
        response = call.response
        if response is None:
            return
        self._kept += [response.raw, response.message, response.tool_calls]
        prompt = truth.fault not in _LATE and not sim.slow and not sim.cancelled and not self._jumped_to
        if prompt and sim.finished_at > truth.sent_at + 1.0:
            self.violated("I7", f"{nonce} ended {sim.finished_at - truth.sent_at:.3f} s after the end of its reply")
        if not truth.ended:
            self.violated("I9", f"{nonce} is called complete although {truth.fault} cut it")
        if not truth.exact:
            return
        if response.content != truth.text:
            self.violated("I1", f"{nonce} has {response.content!r}, sent was {truth.text!r}")
        if sim.stream and delivered != response.content and not sim.cancelled:
            self.violated("I9", f"{nonce} was handed {delivered!r} of {response.content!r}")
        arguments = [tool.arguments for tool in response.tool_calls]
        if arguments != ([{"nonce": nonce}] if truth.tool else []):
            self.violated("I1", f"{nonce} has the tool calls {response.tool_calls!r}")

    def _settle(self) -> None:
        """Everybody has left: all slots are back, all connections can be closed."""
        stats = self.runtime.hands.stats()
        if stats.leased or stats.connecting or stats.waiting or stats.idle != stats.open:
            self.violated("I10", f"after the last call the pool has {stats}")
        if self.max_connections is not None and stats.open > self.max_connections:
            self.violated("I10", f"more connections than {self.max_connections}: {stats}")
        self.runtime.hands.close_all(self.loop.now)
        for wire in self.runtime.wires:
            if not wire.closed:
                self.violated("I10", f"{wire} was never closed")
        if len({id(thing) for thing in self._kept}) != len(self._kept):
            self.violated("I6", "two responses share an object")
        for number, budget in enumerate(self.budgets):
            self._audit(number, budget)

    def _audit(self, number: int, budget: RetryBudget) -> None:
        """I8: what failed retries cost is covered by the budget's start and by the calls that succeeded at once."""
        spent = successes = 0
        for sim in self.calls.values():
            if sim.key != str(number) or sim.call is None:
                continue
            attempts = sim.call.attempts
            charged = [_cost(sim.call, a.outcome, a.status, a.delay_reason) for a in attempts if a.delay is not None]
            if sim.call.error is None:
                # The last retry that cost anything is refunded by the success.
                charged = [cost for cost in charged if cost][:-1]
                successes += len(attempts) == 1
            spent += sum(charged)
        floor = (budget._floor.maxlen or 0) * COSTS["B"] * (1 + self.loop.now / 60.0)
        if spent > budget.max_tokens + successes + floor:
            self.violated("I8", f"retries of caller {number} cost {spent}, the budget allows {budget.max_tokens}+{successes}")


#: After these a client waits for what may still come.
_LATE: Final = frozenset({"finish_then_eof", "finish_then_silence", "bit_flip", "length_too_short"})
_EXCUSED: Final = frozenset({"timeout", "cancelled", "idle_timeout", "first_token_timeout", "idle_keepalive_only"})


def _cost(call: Call, outcome: str, status: int | None, reason: str | None) -> int:
    if reason == "immediate" or outcome in ("refused", "unreachable", "connect_reset", "connect_timeout", "dns_temporary", "tls_failed", "stale"):
        return 0
    return HINTED_COST if reason == "server" else COSTS["B"]


_TIMERS: Final = (
    Timers(total=60.0, idle=20.0, first_token=60.0),
    Timers(total=20.0, idle=20.0, first_token=20.0),
    Timers(total=None, until_commit=60.0, idle=15.0, first_token=60.0),
    Timers(total=90.0, until_commit=40.0, idle=10.0, first_token=10.0),
    Timers(total=5.0),
)


class Operations:
    """The codec of one wire with the keys of all callers."""

    def __init__(self, wire: WireName, origin: Origin, callers: int) -> None:
        base = parse_base_url(f"{origin.scheme}://{origin.host}/v1")
        secrets = [Secret(f"key-{number}") for number in range(callers)]
        if wire == "openai":
            from sans_io.providers.dialects import DIALECTS
            from sans_io.providers.openai import OpenAICodec

            self._codecs = [OpenAICodec(base, DIALECTS["generic"], credential=secret) for secret in secrets]
        elif wire == "anthropic":
            from sans_io.providers.anthropic import AnthropicCodec

            self._codecs = [AnthropicCodec(base, credential=secret) for secret in secrets]
        else:
            from sans_io.providers.ollama import OllamaCodec

            self._codecs = [OllamaCodec(base, credential=secret) for secret in secrets]

    def make(self, number: int, nonce: str, *, stream: bool, large: bool) -> Operation:
        text = f"nonce:{nonce};" + (_LARGE if large else "")
        chat = ChatRequest(messages=({"role": "user", "content": text},), model="sim", stream=stream)
        return self._codecs[number].operation(chat)


_LARGE: Final = "x" * 150_000
