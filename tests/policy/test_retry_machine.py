"""RetryState and its budget under every failure in any order: never too often, too early, or without paying."""

from __future__ import annotations

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from sans_io.policy.retry import COSTS, HINTED_COST, MAY_HAVE_RUN, RetryBudget, RetryPolicy, RetryState, Stop

CLASSES = st.sampled_from(["A", "B", "B1", "C", "D", "E", "E1"])
CONDITIONS = st.sampled_from(["stale", "refused", "truncated", "garbled", "no_reply", "429", "500", "event"])
HINTS = st.one_of(st.none(), st.floats(0, 100))


class RetryMachine(RuleBasedStateMachine):
    """Calls of one budget, one after another, with failures of every class; the model is the arithmetic of the rules."""

    @initialize(
        retries=st.integers(0, 5), tokens=st.sampled_from([0, 20, 500]), floor=st.integers(0, 6),
        ambiguous=st.booleans(), seed=st.integers(0, 2**64 - 1),
    )  # fmt: skip
    def begin(self, retries: int, tokens: int, floor: int, ambiguous: bool, seed: int) -> None:
        self.policy = RetryPolicy(max_retries=retries, retry_ambiguous=ambiguous)
        self.budget = RetryBudget(tokens, floor)
        self.floor, self.tokens = floor, tokens
        self.now, self.seed = 0.0, seed
        self.spent = self.successes = self.floored = 0
        self.new_call()

    def new_call(self) -> None:
        self.seed += 1
        self.state = RetryState(self.policy, self.budget, self.seed)
        self.again: list[tuple[str, str]] = []
        self.stopped = False
        self.open_cost = 0

    @rule(condition=CONDITIONS, retry_class=CLASSES, hint=HINTS, left=st.floats(0, 200))
    def fail(self, condition: str, retry_class: str, hint: float | None, left: float) -> None:
        if self.stopped:
            self.new_call()
        deadline = self.now + left
        before = self.budget.tokens
        decision = self.state.on_failure(condition, retry_class, hint, self.now, deadline)
        if isinstance(decision, Stop) or decision.reason != "immediate":
            # A stale connection is replaced within the same try: what that try cost is still open.
            self.spent += self.open_cost
            self.open_cost = 0
        if isinstance(decision, Stop):
            self.stopped = True
            assert self.budget.tokens == before
            return
        assert retry_class != "D"
        assert self.policy.retry_ambiguous or retry_class not in MAY_HAVE_RUN
        assert self.now <= decision.at < deadline
        assert decision.at == self.now + decision.delay
        if decision.reason == "immediate":
            assert condition == "stale"
            assert ("stale", "immediate") not in self.again
        else:
            if hint is None:
                assert 0 <= decision.delay <= self.policy.max_backoff
            else:
                assert hint <= decision.delay <= max(hint, self.policy.max_backoff) + min(1.0, hint / 10)
                assert hint <= self.policy.max_retry_after
            cost = HINTED_COST if retry_class == "C" and hint is not None else COSTS[retry_class]
            paid = before - self.budget.tokens
            assert paid in (cost, 0)
            if cost and not paid:
                assert before < cost
                self.floored += 1
            self.open_cost = paid
        if retry_class in ("B1", "E1"):
            assert (condition, "once") not in self.again
            self.again.append((condition, "once"))
        self.again.append((condition, decision.reason))
        self.now = decision.at

    @rule()
    def succeed(self) -> None:
        if self.stopped:
            self.new_call()
        tried = self.state.retries
        before = self.budget.tokens
        self.state.on_success()
        if self.open_cost:
            self.open_cost = 0
        elif not tried:
            self.successes += 1
        assert before <= self.budget.tokens <= self.tokens
        self.new_call()

    @rule(seconds=st.floats(0, 120))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def bounded(self) -> None:
        if not hasattr(self, "state"):
            return
        assert self.state.retries <= self.policy.max_retries
        assert 0 <= self.budget.tokens <= self.tokens
        assert self.spent <= self.tokens + self.successes
        assert self.budget.tokens + self.spent + self.open_cost <= self.tokens + self.successes
        assert self.floored <= self.floor * (1 + self.now / 60.0)


RetryMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40)
TestRetryMachine = RetryMachine.TestCase


def test_the_machine_finds_a_budget_that_is_not_charged(monkeypatch) -> None:
    """The bug it is meant to find, planted once."""
    monkeypatch.setattr(RetryBudget, "take", lambda self, cost, now: cost)
    quick = settings(max_examples=200, stateful_step_count=30, phases=[Phase.generate], database=None)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(RetryMachine, settings=quick)
