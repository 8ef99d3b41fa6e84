"""The engine for your own program: your coroutine, our client, a hostile network, from a seed.

    async def app(transport): ...           # builds a client with transport=transport and uses it
    for seed in range(200):
        run = simulate(app, seed)
        assert run.result ... run.said ...  # what your program made of what the servers said

Rules of this file:
- The program runs on the virtual loop: it may await the client's calls and `run.sleep`, and nothing of asyncio or trio.
- What the servers said is known, so a test can compare: `said` has one row for each request, in order.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sans_io.calls.call import Call
from sans_io.chat.response import Attempt
from sans_io.policy.pool import PoolStats

from ...interface import Authorizer
from ...pump import Pump
from .loop import SimWakeup
from .scene import SimCall, SimExchange
from .wires import Request, WireName
from .world import World

T = TypeVar("T")


class SimulatedTransport:
    """A transport for any async client: `AsyncOpenAICompatClient(transport=transport, base_url="https://sim.test/v1")`."""

    def __init__(self, world: _AppWorld) -> None:
        self._world = world

    def start(
        self,
        call: Call,
        *,
        authorize: Authorizer | None = None,
        on_attempt: Callable[[Attempt], object] | None = None,
    ) -> Pump:
        self._world.route = call.route
        call.reseed(int(self._world.roll() * 2**32))
        return Pump(call, self._world.runtime, authorize, on_attempt)

    def now(self) -> float:
        """Virtual time, in seconds."""
        return self._world.loop.now

    async def sleep(self, seconds: float) -> None:
        """Let virtual time pass."""
        await self._world.runtime.pause(seconds)

    def pool_stats(self) -> PoolStats:
        return self._world.runtime.pool_runner.stats()

    def close_idle(self) -> None:
        self._world.runtime.pool_runner.close_idle(self._world.loop.now)


@dataclass(slots=True)
class Run(Generic[T]):
    """What came of the program. `error` is what it raised (then `result` is None); `said` what servers answered."""

    seed: int
    result: T | None
    error: BaseException | None
    said: list[SimExchange]
    seconds: float
    digest: str


def simulate(
    app: Callable[[SimulatedTransport], Coroutine[Any, Any, T]],
    seed: int,
    *,
    wire: WireName = "openai",
    without: frozenset[str] = frozenset(),
) -> Run[T]:
    """Run the program once in the world of this seed. `without` names faults that do not happen (see `faults`).

    Raises RuntimeError if the program never ends.
    """
    world = _AppWorld(seed, wire=wire, without=without)
    results: list[T] = []

    async def main() -> None:
        results.append(await app(SimulatedTransport(world)))

    task = world.loop.spawn(_as_task(main()), "app")
    world.loop.run()
    if not task.done:
        raise RuntimeError(f"the program waits forever in the world of seed {seed}")
    result = results[0] if results else None
    return Run(seed, result, task.error, world.said, world.loop.now, world.digest())


async def _as_task(coroutine: Coroutine[SimWakeup, None, None]) -> None:
    await coroutine


class _AppWorld(World):
    """A world without callers of its own: every request is somebody's, and gets a reply that is written down."""

    def __init__(self, seed: int, *, wire: WireName, without: frozenset[str]) -> None:
        super().__init__(seed, wire=wire, without=without)
        self.said: list[SimExchange] = []

    def caller_of(self, request: Request) -> SimCall | None:
        request.nonce = f"r{len(self.calls)}"
        sim = SimCall(request.nonce, request.key, self.wire, request.stream, self.loop.now, float("inf"))
        self.calls[request.nonce] = sim
        return sim

    def answered(self, exchange: SimExchange) -> None:
        self.said.append(exchange)
