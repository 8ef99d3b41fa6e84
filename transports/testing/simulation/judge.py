"""The judge of a simulated world: compares what callers have with what servers sent (I1 to I10).

Rules of this file:
- It looks only at the outside: responses, errors, ledgers, pool statistics, and the servers' own record.
- What no client could know (bytes that overtake a request) is not held against it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sans_io.policy.retry import COSTS, HINTED_COST

from .loop import Cancelled, Task
from .refusals import REFUSALS

if TYPE_CHECKING:
    from sans_io.chat.response import ChatResponse
    from sans_io.errors import LLMError

    from .runtime import SimRuntime
    from .scene import Scene, SimCall
    from .servers import SimServer

#: After these a client waits for what may still come.
_LATE: Final = frozenset({"finish_then_eof", "finish_then_silence", "bit_flip", "length_too_short"})
_EXCUSED: Final = frozenset({"timeout", "cancelled", "idle_timeout", "first_token_timeout", "idle_keepalive_only"})


class Judge:
    """`call` after each call, `pool` at the end of the world; what does not hold is given to `world.violated`."""

    def __init__(self, world: Scene, server: SimServer, runtime: SimRuntime) -> None:
        self.world = world
        self.server = server
        self.runtime = runtime
        self._kept: list[object] = []

    def call(self, sim: SimCall, task: Task) -> None:
        """After the end of a call: its end, its times, its attempts, its text."""
        call, nonce = sim.call, sim.nonce
        if call is None:
            return
        world, error, response, attempts = self.world, call.error, call.response, call.attempts
        word = "completed" if error is None else "cancelled" if error.code == "cancelled" else type(error).__name__
        retries, stale, met, reason = 0, 0, sim.faults > 0 or error is not None, None
        count = world.count
        count("calls")
        count("end:" + word)
        for attempt in attempts:
            count("outcome:" + attempt.outcome)
            met = met or attempt.outcome != "ok"
            if (attempt.status or 0) >= 400 and attempt.outcome not in (str(attempt.status), "cancelled"):
                world.violated("I7", f"{nonce} was refused with {attempt.status}, which became {attempt.outcome!r}")
            if reason == "immediate" and attempt.connection == "reused":
                world.violated("I8", f"{nonce} went from a stale connection to another idle one")
            reason = attempt.delay_reason
            retries += reason in ("backoff", "server")
            stale += reason == "immediate"
        if sim.stream:
            count("streams")
        if met:
            count("met a fault")
        if error is not None and error.phase is not None:
            count("phase:" + error.phase)
        world.trace("end", nonce, word, len(attempts), "".join(sim.delivered))
        if not call.finished or (error is None) == (response is None):
            world.violated("I7", f"{nonce} did not end in exactly one way: {response!r} {error!r}")
            return
        if task.error is not None and not isinstance(task.error, Cancelled):
            world.violated("I7", f"{nonce} raised {task.error!r}")
        if not sim.slow and sim.finished_at > max(sim.deadline, world.jumped_to) + 0.11:
            world.violated("I7", f"{nonce} ended {sim.finished_at - sim.deadline:.3f} s after its deadline")
        if retries > world.policy.max_retries or stale > 1:
            world.violated("I8", f"{nonce} was tried {len(attempts)} times ({retries} retries, {stale} stale)")
        if self.runtime.crowded:
            self._fair()
        self._refusal(sim)
        self._text(sim, error)

    def _refusal(self, sim: SimCall) -> None:
        """I7: a refusal that stalls is known a second after it stalled."""
        truth, attempts = self.server.last.get(sim.nonce), sim.call.attempts if sim.call is not None else ()
        if truth is None or truth.fault != "stalled_refusal" or not attempts or self.world.jumped_to:
            return
        late = attempts[-1].ended_at - truth.sent_at
        # With another status it is the early answer to a later request, which never came in full.
        if attempts[-1].status == REFUSALS["stalled_refusal"][0] and late > 1.0 + 1e-6:
            self.world.violated("I7", f"{sim.nonce} waited {late:.3f} s for the rest of a refusal")

    def _fair(self) -> None:
        """I10, once somebody had to wait for a seat: nobody waits while there is room."""
        stats, most = self.runtime.pool_runner.stats(), self.world.max_connections
        room = most is None or stats.open + stats.connecting < most
        if stats.waiting and (room or stats.idle):
            self.world.violated("I10", f"somebody waits although there is room: {stats}")

    def _text(self, sim: SimCall, error: LLMError | None) -> None:
        call, nonce = sim.call, sim.nonce
        truth = self.server.last.get(nonce)
        delivered = "".join(sim.delivered)
        if call is None or (truth is None and not delivered and error is not None):
            return
        if truth is None:
            self.world.violated("I1", f"{nonce} has an answer that nobody gave")
            return
        if truth.exact and not truth.text.startswith(delivered):
            self.world.violated("I9", f"{nonce} was handed {delivered!r}, which is no prefix of {truth.text!r}")
        if error is not None:
            idle = call.timers.idle
            kept_alive = truth.fault == "keepalives_after_content" and sim.committed and idle is not None
            if (
                kept_alive
                and not sim.slow
                and not self.world.jumped_to
                and sim.finished_at > truth.sent_at + (idle or 0) + 0.5
            ):
                self.world.violated(
                    "I7", f"{nonce} was kept alive by keep-alives for {sim.finished_at - truth.sent_at:.3f} s"
                )
            partial = self._partial(sim, error)
            if delivered and (partial is None or not partial.content.startswith(delivered)):
                self.world.violated("I9", f"{nonce}: the partial {partial!r} does not hold what was delivered")
            if partial is not None and partial.tool_calls and not truth.ended:
                self.world.violated("I9", f"{nonce}: a runnable tool call in a reply that did not end")
            unexcused = truth.whole and truth.fault is None and not sim.cancelled and error.code not in _EXCUSED
            last = call.attempts[-1] if call.attempts else None
            if unexcused and last is not None and last.outcome != "stale" and last.status == 200:
                self.world.violated("I9", f"{nonce} failed with {error!r} although its reply was whole")
            return
        response = call.response
        if response is None:
            return
        self._kept += [response.raw, response.message, response.tool_calls]
        prompt = truth.fault not in _LATE and not sim.slow and not sim.cancelled and not self.world.jumped_to
        if prompt and sim.finished_at > truth.sent_at + 1.0:
            self.world.violated(
                "I7", f"{nonce} ended {sim.finished_at - truth.sent_at:.3f} s after the end of its reply"
            )
        if not truth.ended:
            self.world.violated("I9", f"{nonce} is called complete although {truth.fault} cut it")
        if not truth.exact:
            return
        if response.content != truth.text:
            self.world.violated("I1", f"{nonce} has {response.content!r}, sent was {truth.text!r}")
        if sim.stream and delivered != response.content and not sim.cancelled:
            self.world.violated("I9", f"{nonce} was handed {delivered!r} of {response.content!r}")
        arguments = [tool.arguments for tool in response.tool_calls]
        if arguments != ([{"nonce": nonce}] if truth.tool else []):
            self.world.violated("I1", f"{nonce} has the tool calls {response.tool_calls!r}")

    def _partial(self, _: SimCall, error: LLMError) -> ChatResponse | None:
        return error.partial

    def pool(self) -> None:
        """Everybody has left: all slots are back, all connections can be closed."""
        stats = self.runtime.pool_runner.stats()
        if stats.leased or stats.connecting or stats.waiting or stats.idle != stats.open:
            self.world.violated("I10", f"after the last call the pool has {stats}")
        if self.world.max_connections is not None and stats.open > self.world.max_connections:
            self.world.violated("I10", f"more connections than {self.world.max_connections}: {stats}")
        try:
            self.runtime.pool_runner.close_all(self.world.loop.now)
        except KeyError as error:  # a pool that has lost count of its slots
            self.world.violated("I10", f"the pool cannot be closed: {error!r}")
        for connection in self.runtime.connections:
            if not connection.closed:
                self.world.violated("I10", f"{connection} was never closed")
        if len({id(thing) for thing in self._kept}) != len(self._kept):
            self.world.violated("I6", "two responses share an object")
        self._audit()

    def _audit(self) -> None:
        """I8: what failed retries cost is covered by the budget's start and by the calls that succeeded at once."""
        world = self.world
        spent, successes = [0] * len(world.budgets), [0] * len(world.budgets)
        for sim in world.calls.values():
            if sim.call is None:
                continue
            attempts, caller = sim.call.attempts, int(sim.key)
            charged = [_cost(a.delay_reason) for a in attempts if a.delay is not None]
            if sim.call.error is None:
                # The last retry that cost anything is refunded by the success.
                charged = [cost for cost in charged if cost][:-1]
                successes[caller] += len(attempts) == 1
            spent[caller] += sum(charged)
        for caller, budget in enumerate(world.budgets):
            floor = budget.floor * COSTS["B"] * (1 + world.loop.now / 60.0)
            allowed = budget.max_tokens + successes[caller]
            if spent[caller] > allowed + floor:
                world.violated("I8", f"retries of caller {caller} cost {spent[caller]}, the budget allows {allowed}")


def _cost(reason: str | None) -> int:
    """What the retry after this attempt cost at least."""
    return 0 if reason == "immediate" else HINTED_COST if reason == "server" else COSTS["B"]
