"""A request that may have run is sent again only where the policy allows it: with `retry_ambiguous=False` or
`max_retries=0` the server sees it once.
"""

from __future__ import annotations

import pytest

from sans_io.calls.actions import Acquire, Receive, Wait
from sans_io.calls.call import Call
from sans_io.calls.failures import ROUND_TRIP
from sans_io.policy.deadline import Timers
from sans_io.policy.retry import RetryBudget, RetryPolicy
from tests.calls.kit import reply
from tests.calls.test_call import finish, make, to_receive

STRICT = {
    "retry_ambiguous=False": RetryPolicy(retry_ambiguous=False),
    "max_retries=0": RetryPolicy(max_retries=0),
}
strict = pytest.mark.parametrize("policy", STRICT.values(), ids=STRICT)
ends = pytest.mark.parametrize("end", ["EOF", "RST"])


def die(call: Call, end: str, now: float) -> None:
    if end == "EOF":
        call.on_eof(now)
    else:
        call.on_error("reset", now, "RST")


# ---- a reused connection that dies -----------------------------------------------------------------------------------


@strict
@ends
@pytest.mark.parametrize("after", [0.0, ROUND_TRIP / 2, ROUND_TRIP])
def test_a_reused_connection_that_dies_within_a_round_trip_is_replaced(
    policy: RetryPolicy, end: str, after: float
) -> None:
    """The server closed it before it could see the request: what it said of it was on its way."""
    budget = RetryBudget()
    call = make(retry=policy, budget=budget)
    to_receive(call, 100.0, reused=True)
    die(call, end, 100.0 + after)
    call.on_released(100.0 + after)
    action = call.next_action(100.0 + after)
    assert isinstance(action, Acquire)
    assert action.fresh
    assert [attempt.outcome for attempt in call.attempts] == ["stale"]
    assert budget.tokens == 500
    call.on_acquired(False, 200.0)
    call.on_error("dns_failed", 200.0)
    finish(call, 200.0)
    assert call.error is not None
    assert not call.error.may_be_billed


@strict
@ends
@pytest.mark.parametrize("after", [ROUND_TRIP + 0.001, 1.0, 60.0])
@pytest.mark.parametrize("stream", [False, True], ids=["chat", "stream"])
def test_a_reused_connection_that_dies_later_may_have_served_the_request(
    policy: RetryPolicy, end: str, after: float, stream: bool
) -> None:
    call = make(retry=policy, stream=stream, timers=Timers(total=None, first_token=None))
    to_receive(call, 100.0, reused=True)
    die(call, end, 100.0 + after)
    finish(call, 100.0 + after)
    assert [attempt.outcome for attempt in call.attempts] == ["no_reply"]
    assert call.error is not None
    assert call.error.may_be_billed


@ends
def test_where_the_policy_allows_it_such_a_retry_waits_and_is_charged(end: str) -> None:
    budget = RetryBudget()
    call = make(budget=budget)
    to_receive(call, 100.0, reused=True)
    die(call, end, 101.0)
    call.on_released(101.0)
    assert isinstance(call.next_action(101.0), Wait)
    assert budget.tokens == 486


@strict
def test_a_request_that_could_not_be_written_is_sent_again_however_late(policy: RetryPolicy) -> None:
    """What the server has of it is no request."""
    call = make(retry=policy, body=b"x" * 200_000)
    call.on_acquired(True, 100.0)
    call.on_sent(105.0)
    call.on_error("reset", 110.0, "EPIPE")
    assert isinstance(call.next_action(110.0), Receive)
    call.on_eof(110.9)
    call.on_released(110.9)
    assert isinstance(call.next_action(110.9), Acquire)
    assert [attempt.outcome for attempt in call.attempts] == ["stale"]


@strict
def test_the_round_trip_begins_with_the_last_byte_of_the_request(policy: RetryPolicy) -> None:
    call = make(retry=policy, body=b"x" * 200_000)
    call.on_acquired(True, 100.0)
    for now in (105.0, 110.0, 115.0, 120.0):
        call.on_sent(now)
    call.on_eof(120.1)
    call.on_released(120.1)
    assert isinstance(call.next_action(120.1), Acquire)


@strict
@ends
def test_one_byte_of_a_reply_shows_that_the_request_was_seen(policy: RetryPolicy, end: str) -> None:
    call = make(retry=policy)
    to_receive(call, 100.0, reused=True)
    call.on_data(b"H", 100.01)
    die(call, end, 100.02)
    finish(call, 100.02)
    assert [attempt.outcome for attempt in call.attempts] == ["truncated"]
    assert call.error is not None
    assert call.error.may_be_billed


# ---- an answer that came and is of no use ----------------------------------------------------------------------------

OK = b"HTTP/1.1 200 OK\r\n"
JSON = OK + b"Content-Type: application/json\r\n"
#: condition: how the reply is read, its bytes, and what then happens to the connection.
SPOILT: dict[str, tuple[bool, bytes, str]] = {
    "cut in its head": (False, OK, "EOF"),
    "reset in its head": (False, OK, "RST"),
    "cut": (False, reply(b"t:Hi\n")[:-2], "EOF"),
    "reset": (False, reply(b"t:Hi\n")[:-2], "RST"),
    "cut chunk": (False, reply(b"t:Hi\n", framing="chunked")[:-9], "EOF"),
    "103, then cut": (False, b"HTTP/1.1 103 Hints\r\n\r\n", "EOF"),
    "garbled head": (False, b"HTTP/1.1 banana\r\n\r\n", ""),
    "no HTTP": (False, b"\x00\x01\x02", ""),
    "garbled chunk": (False, JSON + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", ""),
    "two lengths": (False, JSON + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", ""),
    "garbled content": (False, reply(b"nonsense\n"), ""),
    "coded": (False, reply(b"t:Hi\ndone\n", headers=b"Content-Encoding: gzip\r\n"), ""),
    "coded stream": (True, reply(b"t:Hi\ndone\n", headers=b"Content-Encoding: br\r\n", framing="chunked"), ""),
    "oversize head": (False, OK + b"X: " + b"x" * 70_000, ""),
    "page": (False, reply(b"<html>").replace(b"application/json", b"text/html"), ""),
    "stream cut before its first text": (True, reply(b"role\n", framing="chunked")[:-5], "EOF"),
    "stream reset before its first text": (True, reply(b"role\n", framing="chunked")[:-5], "RST"),
    "stream that ends before its first text": (True, reply(b"role\n", framing="chunked"), ""),
    "stream cut after usage": (True, reply(b"usage\n", framing="close"), "EOF"),
    "garbled stream": (True, reply(b"role\nnonsense\n", framing="close"), ""),
    "empty": (False, reply(b""), ""),
}


@pytest.mark.parametrize("what", SPOILT)
@pytest.mark.parametrize("again", [False, True], ids=["retry_ambiguous=False", "default"])
@pytest.mark.parametrize("reused", [False, True], ids=["new", "reused"])
def test_a_spoilt_answer_was_an_answer(what: str, again: bool, reused: bool) -> None:
    stream, data, end = SPOILT[what]
    call = make(retry=RetryPolicy(retry_ambiguous=again), stream=stream)
    for last in (not again, True):
        to_receive(call, reused=reused)
        call.on_data(data, 1.0)
        if end:
            die(call, end, 1.0)
        call.on_released(1.0)
        if last:
            break
        wait = call.next_action(1.0)
        assert isinstance(wait, Wait), "once more, then no more"
        call.on_waited(wait.until)
    assert call.finished
    assert call.error is not None
    assert call.error.may_be_billed
    assert call.error.retry_suppressed is None
    assert len(call.attempts) == 1 + again


# ---- gateways --------------------------------------------------------------------------------------------------------

MAY_HAVE_RUN = (502, 504, 524)
DID_NOT = (408, 500, 503, 520, 521, 522, 523, 530)


@pytest.mark.parametrize("status", [*MAY_HAVE_RUN, *DID_NOT])
@pytest.mark.parametrize("again", [False, True], ids=["retry_ambiguous=False", "default"])
@pytest.mark.parametrize("code", [None, "server_error", "api_error", "timeout_error"])
def test_a_gateway_that_lost_the_answer_has_passed_the_request_on(status: int, again: bool, code: str | None) -> None:
    said = b"" if code is None else b"X-Code: %b\r\n" % code.encode()
    call = make(retry=RetryPolicy(retry_ambiguous=again, max_retries=1))
    attempts = 0
    while not call.finished:
        to_receive(call)
        attempts += 1
        call.on_data(reply(b"{}", status=status, headers=said), 1.0)
        call.on_released(1.0)
        wait = call.next_action(1.0)
        if isinstance(wait, Wait):
            call.on_waited(wait.until)
    may_have_run = status in MAY_HAVE_RUN
    assert attempts == (1 if may_have_run and not again else 2)
    assert call.error is not None
    assert call.error.status_code == status
    assert call.error.may_be_billed is may_have_run


@pytest.mark.parametrize("told", [b"true", b"false"])
def test_what_a_server_says_of_retries_does_not_say_that_it_did_not_run(told: bytes) -> None:
    call = make(retry=RetryPolicy(retry_ambiguous=False))
    to_receive(call)
    call.on_data(reply(b"{}", status=504, headers=b"x-should-retry: %b\r\n" % told), 1.0)
    finish(call)
    assert call.error is not None
    assert call.error.may_be_billed


def test_a_gateway_that_answers_before_it_has_the_request_has_passed_nothing_on() -> None:
    call = make(body=b"x" * 200_000, retry=RetryPolicy(max_retries=0))
    call.on_acquired(True, 0.0)
    call.on_sent(0.0, early=True)
    call.on_data(reply(b"{}", status=502), 0.5)
    finish(call)
    assert call.error is not None
    assert not call.error.may_be_billed


@pytest.mark.parametrize(("code", "sent"), [("timeout_error", 1), ("soon", 2), ("api_error", 2), ("overloaded", 2)])
def test_an_error_event_is_the_server_s_word_that_it_failed(code: str, sent: int) -> None:
    """Unless it says that it ran out of time."""
    call = make(retry=RetryPolicy(retry_ambiguous=False, max_retries=1))
    attempts = 0
    while not call.finished:
        to_receive(call)
        attempts += 1
        call.on_data(reply(b"role\nerr:%b\n" % code.encode(), framing="close"), 1.0)
        call.on_released(1.0)
        wait = call.next_action(1.0)
        if isinstance(wait, Wait):
            call.on_waited(wait.until)
    assert attempts == sent
