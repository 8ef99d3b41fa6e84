"""The Call under every input in any order, at any time: each call ends once, by its deadline, with its seat back."""

from __future__ import annotations

import copy

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sans_io.calls.actions import Acquire, Action, Authorize, Connect, Deliver, Receive, Release, Send, Wait
from sans_io.calls.call import TRANSITIONS, Call
from sans_io.calls.failures import FAULT_KINDS
from sans_io.chat.events import TextDelta
from sans_io.policy.deadline import Timers
from sans_io.policy.retry import RetryBudget, RetryPolicy
from tests.calls.kit import ROUTE, operation, reply

LINES = st.lists(
    st.sampled_from(
        [
            b"t:a\n",
            b"t:bc\n",
            b"role\n",
            b":\n",
            b"usage\n",
            b"fin\n",
            b"done\n",
            b"err:soon\n",
            b"err:never\n",
            b"??\n",
        ]
    ),
    max_size=6,
).map(b"".join)
PIECES = st.one_of(
    st.builds(
        reply,
        LINES,
        status=st.sampled_from([200, 200, 200, 200, 204, 301, 401, 404, 409, 429, 500, 503]),
        headers=st.sampled_from([b"", b"Retry-After: 2\r\n", b"Retry-After: 100\r\n", b"x-should-retry: false\r\n", b"Connection: close\r\n"]),
        framing=st.sampled_from(["length", "chunked", "close"]),
    ),
    LINES,
    st.just(b"HTTP/1.1 100 Continue\r\n\r\n"),
    st.binary(max_size=8),
)  # fmt: skip
TIMERS = Timers(total=100.0, until_commit=60.0, pool=5.0, connect=5.0, write=5.0, first_token=20.0, idle=10.0)


class CallMachine(RuleBasedStateMachine):
    """Plays every answer, fault, delay and cancellation; the model is a handful of counters."""

    @initialize(stream=st.booleans(), authorizes=st.booleans(), retries=st.integers(0, 3), large=st.booleans())
    def begin(self, stream: bool, authorizes: bool, retries: int, large: bool) -> None:
        self.now = 0.0
        self.operation = operation(stream=stream, body=b"x" * (150_000 if large else 2))
        self.budget = RetryBudget()
        self.call = Call(
            None if authorizes else self.operation, ROUTE, TIMERS, now=0.0, stream=stream,
            retry=RetryPolicy(max_retries=retries), budget=self.budget,
        )  # fmt: skip
        self.retries = retries
        self.acquired = self.released = self.sends = self.sends_at_commit = 0
        self.delivered = ""
        self.seated = False
        self.last: object = None
        self.state = self.call.state

    def act(self) -> Action | None:
        action = self.call.next_action(self.now)
        assert self.call.next_action(self.now) == action
        return action

    def told(self) -> None:
        """After every input: the drawing at the top of call.py is the truth."""
        before, after = self.state, self.call.state
        self.state = after
        assert before == after or after in reachable(before), (before, after)

    @rule(data=PIECES, cut=st.integers(0, 300), early=st.booleans(), reused=st.booleans())
    @precondition(lambda self: not self.call.finished)
    def succeed(self, data: bytes, cut: int, early: bool, reused: bool) -> None:
        action, call = self.act(), self.call
        match action:
            case Authorize():
                call.on_authorized(self.operation, self.now)
            case Acquire():
                self.acquired += 1
                assert not self.seated
                self.seated = True
                call.on_acquired(reused and not action.fresh, self.now)
            case Connect():
                call.on_connected(self.now)
            case Send():
                assert not call.committed
                call.on_sent(self.now, early and action.more)
            case Receive():
                piece = data[:cut] if cut < len(data) else data
                if piece:
                    call.on_data(piece, self.now)
                else:
                    call.on_eof(self.now)
            case Deliver():
                assert action.events
                self.delivered += "".join(e.text for e in action.events if isinstance(e, TextDelta))
                call.on_delivered(self.now)
            case Release():
                self.note_release(action)
                call.on_released(self.now)
            case Wait():
                assert action.until > self.now - 1e-9 or action.until <= self.now
                self.now = max(self.now, action.until)
                call.on_waited(self.now)
        self.told()

    def note_release(self, action: Release) -> None:
        self.released += 1
        self.seated = False

    @rule(kind=st.sampled_from(FAULT_KINDS))
    @precondition(lambda self: not self.call.finished)
    def fail(self, kind: str) -> None:
        action = self.act()
        if isinstance(action, Deliver):
            return
        if isinstance(action, Acquire):
            self.acquired += 1
            self.seated = True
        if isinstance(action, Release):
            self.note_release(action)
        if kind == "timeout" and not isinstance(action, Release):
            deadline = action.until if isinstance(action, Wait) else getattr(action, "deadline", self.now)
            self.now = max(self.now, min(deadline, self.now + 1000.0))
        self.call.on_error(kind, self.now, "planted")  # type: ignore[arg-type]
        self.told()

    @rule(seconds=st.floats(0.0, 30.0))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    @precondition(lambda self: not self.call.finished)
    def cancel(self) -> None:
        if isinstance(self.act(), Acquire):
            self.acquired += 1
            self.seated = True
        self.call.cancel(self.now)
        self.call.cancel(self.now)
        while (action := self.call.next_action(self.now)) is not None:
            assert isinstance(action, Release)
            self.note_release(action)
            self.call.on_released(self.now)
        assert self.call.finished
        self.state = "DONE"

    @invariant()
    def holds(self) -> None:
        if not hasattr(self, "call"):
            return
        call = self.call
        assert self.acquired - self.released == int(self.seated)
        stale = sum(attempt.outcome == "stale" for attempt in call.attempts)
        refreshed = sum(attempt.outcome == "401" for attempt in call.attempts)
        assert len(call.attempts) <= 1 + self.retries + min(stale, 1) + min(refreshed, 1)
        if call.finished:
            assert not self.seated
            assert (call.response is None) != (call.error is None)
            assert call.next_action(self.now) is None
            outcome = (call.response, call.error, call.attempts)
            assert self.last is None or self.last == outcome
            self.last = copy.copy(outcome)
            if call.error is not None and self.delivered:
                assert call.error.partial is not None
                assert call.error.partial.content.startswith(self.delivered)
        else:
            action = call.next_action(self.now)
            deadline = action.until if isinstance(action, Wait) else getattr(action, "deadline", 0.0)
            assert deadline <= 100.0 or isinstance(action, Receive)
            assert deadline <= 100.1


def reachable(state: str) -> set[str]:
    """Inputs can pass through states that ask nothing (a Wait of no length)."""
    found: set[str] = set()
    edge = [state]
    while edge:
        for following in TRANSITIONS[edge.pop()]:  # type: ignore[index]
            if following not in found:
                found.add(following)
                if following in ("AUTHORIZE", "WAIT", "RELEASE"):
                    edge.append(following)
    return found


CallMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=50)
TestCallMachine = CallMachine.TestCase


def test_every_state_of_the_drawing_can_be_reached() -> None:
    seen = {"ACQUIRE", "AUTHORIZE"}
    edge = list(seen)
    while edge:
        for following in TRANSITIONS[edge.pop()]:
            if following not in seen:
                seen.add(following)
                edge.append(following)
    assert seen == set(TRANSITIONS)
