"""Five hundred callers of one server and one key, on virtual time: what a server in trouble gets of them."""

from __future__ import annotations

import heapq
from collections.abc import Callable

import pytest

from sans_io.calls.actions import Acquire, Connect, Receive, Release, Send, Wait
from sans_io.calls.call import Call
from sans_io.policy.deadline import Timers
from sans_io.policy.retry import RetryBudget, RetryPolicy
from tests.calls.kit import ROUTE, operation, reply

CALLERS = 500
FOREVER = Timers(**dict.fromkeys(("total", "pool", "connect", "write", "first_token", "idle")))


def storm(
    meet: Callable[[Call, float], bool], policy: RetryPolicy, timers: Timers, minutes: float
) -> tuple[list[Call], list[float]]:
    """All calls begin at once and are driven until none is left or the time is over; `meet` is what each dial or request
    comes to, and says whether it counts. The calls, and when what counts happened.
    """
    budget = RetryBudget()
    calls = [
        Call(operation(stream=False), ROUTE, timers, now=0.0, retry=policy, budget=budget, seed=seed)
        for seed in range(CALLERS)
    ]
    met: list[float] = []
    due = [(0.0, number) for number in range(CALLERS)]
    while due and due[0][0] <= 60.0 * minutes:
        now, number = heapq.heappop(due)
        call = calls[number]
        while (action := call.next_action(now)) is not None:
            if isinstance(action, Wait):
                if action.until > now:
                    heapq.heappush(due, (action.until, number))
                    break
                call.on_waited(now)
            elif isinstance(action, Acquire):
                call.on_acquired(False, now)
            elif isinstance(action, Release):
                call.on_released(now)
            elif meet(call, now):
                met.append(now)
    return calls, met


def failed_dial(kind: str) -> Callable[[Call, float], bool]:
    def meet(call: Call, now: float) -> bool:
        call.on_error(kind, now)  # type: ignore[arg-type]
        return True

    return meet


def answered(data: bytes) -> Callable[[Call, float], bool]:
    def meet(call: Call, now: float) -> bool:
        action = call.next_action(now)
        if isinstance(action, Connect):
            call.on_connected(now)
        elif isinstance(action, Send):
            call.on_sent(now)
        else:
            assert isinstance(action, Receive)
            call.on_data(data, now)
            return True
        return False

    return meet


FAILURES = {
    "refused": failed_dial("refused"),
    "reset while connecting or in the TLS handshake": failed_dial("reset"),
    "TLS": failed_dial("tls_failed"),
    "unreachable": failed_dial("unreachable"),
    "no connection in time": failed_dial("timeout"),
    "DNS": failed_dial("dns_temporary"),
    "500": answered(reply(b"{}", status=500)),
    "502": answered(reply(b"{}", status=502)),
    "503 and a hint": answered(reply(b"{}", status=503, headers=b"Retry-After: 1\r\n")),
    "429 without a hint": answered(reply(b"{}", status=429)),
}


@pytest.mark.parametrize("what", FAILURES)
@pytest.mark.parametrize(
    ("policy", "timers"),
    [(RetryPolicy(), Timers()), (RetryPolicy(max_retries=1_000_000), FOREVER)],
    ids=["default", "without bounds"],
)
def test_a_server_that_is_down_gets_each_call_once_and_the_budget(
    what: str, policy: RetryPolicy, timers: Timers
) -> None:
    calls, met = storm(FAILURES[what], policy, timers, minutes=10.0)
    in_the_first_minute = sum(at < 60.0 for at in met)
    assert CALLERS + 500 // 14 <= in_the_first_minute <= CALLERS + 500 // 14 + 6
    assert len(met) <= CALLERS + 500 // 14 + 6 * 11
    suppressed = [call.error.retry_suppressed for call in calls if call.error is not None]
    assert suppressed.count("budget") >= CALLERS - 6 * 11


@pytest.mark.parametrize(
    "hint",
    [b"Retry-After: 0", b"retry-after-ms: 0", b"x-ms-retry-after-ms: 0", b"Retry-After: 0.0",
     b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nRetry-After: Sun, 06 Nov 1994 08:49:37 GMT"],
)  # fmt: skip
def test_a_hint_of_nothing_does_not_bring_everybody_back_at_once(hint: bytes) -> None:
    """Full jitter over 2, 4 and 8 s: of 1,500 retries no tenth of a second sees more than 60."""
    data = reply(b"{}", status=429, headers=hint + b"\r\n")
    calls, met = storm(answered(data), RetryPolicy(), Timers(), minutes=10.0)
    assert len(met) == 4 * CALLERS, "a schedule costs nothing"
    for call in calls:
        delays = [attempt.delay for attempt in call.attempts[:-1]]
        assert [0.0 < delay <= bound for delay, bound in zip(delays, (2.0, 4.0, 8.0), strict=True)] == [True] * 3
        assert call.error is not None
        assert call.error.retry_after == 0.0
    retries = [at for at in met if at > 0.0]
    busiest = max(sum(start <= at < start + 0.1 for at in retries) for start in retries)
    assert busiest <= 60


def test_a_schedule_costs_nothing_and_is_kept() -> None:
    budget = RetryBudget()
    data = reply(b"{}", status=429, headers=b"Retry-After: 3\r\n")
    call = Call(operation(stream=False), ROUTE, Timers(), now=0.0, budget=budget)
    now = 0.0
    while not call.finished:
        for answer in (lambda: call.on_acquired(False, now), lambda: call.on_connected(now), lambda: call.on_sent(now),
                       lambda: call.on_data(data, now), lambda: call.on_released(now)):  # fmt: skip
            answer()
        wait = call.next_action(now)
        if isinstance(wait, Wait):
            assert wait.until >= now + 3.0
            now = wait.until
            call.on_waited(now)
    assert budget.tokens == 500
    assert len(call.attempts) == 4
