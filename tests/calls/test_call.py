"""One logical call, example by example: what it asks for next, and what failures mean where."""

from __future__ import annotations

import pytest

from sans_io.calls.actions import Acquire, Connect, Deliver, Receive, Release, Send, Wait
from sans_io.calls.call import READ_SIZE, Call
from sans_io.chat.events import TextDelta
from sans_io.errors import (
    LLMConnectionError,
    LLMError,
    LLMProtocolError,
    LLMServerError,
    LLMStreamError,
    LLMTimeoutError,
    LocalProtocolError,
)
from sans_io.policy.deadline import AT_ONCE, Timers
from sans_io.policy.retry import RetryBudget, RetryPolicy
from tests.calls.kit import ROUTE, operation, reply


def make(*, stream: bool = True, timers: Timers | None = None, body: bytes = b"{}", **options: object) -> Call:
    return Call(
        operation(stream=stream, body=body), ROUTE, timers or Timers(total=None), now=0.0, stream=stream, **options
    )


def to_receive(call: Call, now: float = 0.0, *, reused: bool = False) -> None:
    assert isinstance(call.next_action(now), Acquire)
    call.on_acquired(reused, now)
    if not reused:
        assert isinstance(call.next_action(now), Connect)
        call.on_connected(now)
    assert isinstance(call.next_action(now), Send)
    call.on_sent(now)
    assert isinstance(call.next_action(now), Receive)


def finish(call: Call, now: float = 0.0) -> Release:
    action = call.next_action(now)
    assert isinstance(action, Release), action
    call.on_released(now)
    assert call.next_action(now) is None
    assert call.finished
    return action


def text_of(call: Call, now: float = 0.0) -> str:
    """Take what is to be delivered."""
    action = call.next_action(now)
    assert isinstance(action, Deliver), action
    call.on_delivered(now)
    return "".join(event.text for event in action.events if isinstance(event, TextDelta))


def test_a_stream_from_dial_to_reuse() -> None:
    call = make()
    to_receive(call)
    call.on_data(reply(b"role\nt:Hi\nt: you\nfin\nusage\ndone\n", framing="chunked"), 1.0)
    assert text_of(call) == "Hi you"
    assert finish(call).reusable
    assert call.response is not None
    assert call.response.content == "Hi you"
    assert [attempt.outcome for attempt in call.attempts] == ["ok"]


def test_a_plain_call_delivers_nothing() -> None:
    call = make(stream=False)
    to_receive(call, reused=True)
    call.on_data(reply(b"t:Hi\ndone\n"), 1.0)
    assert finish(call).reusable
    assert call.response is not None
    assert call.response.content == "Hi"


def test_asking_twice_gives_the_same_action() -> None:
    call = make()
    assert call.next_action(0.0) == call.next_action(5.0)


@pytest.mark.parametrize("answer", ["on_connected", "on_sent", "on_delivered", "on_released", "on_waited", "on_eof"])
def test_an_answer_out_of_turn_is_our_own_mistake(answer: str) -> None:
    call = make()
    with pytest.raises(LocalProtocolError):
        getattr(call, answer)(0.0)


def test_usage_and_roles_do_not_commit() -> None:
    call = make()
    to_receive(call)
    call.on_data(reply(b"role\nusage\nerr:soon\n", framing="chunked"), 1.0)
    assert isinstance(call.next_action(1.0), Release)
    call.on_released(1.0)
    assert isinstance(call.next_action(1.0), Wait)


def test_after_commit_nothing_is_tried_again() -> None:
    call = make()
    to_receive(call)
    call.on_data(reply(b"t:Hi\nerr:soon\n", framing="chunked"), 1.0)
    assert text_of(call) == "Hi"
    assert finish(call).reusable  # the HTTP message ended in order all the same
    assert isinstance(call.error, LLMServerError)
    assert call.error.partial is not None
    assert call.error.partial.content == "Hi"
    assert call.error.may_be_billed


def test_a_stale_connection_is_replaced_once_at_once_and_for_free() -> None:
    call = make(retry=RetryPolicy(max_retries=0))
    to_receive(call, 1.0, reused=True)
    call.on_eof(1.0)
    assert call.next_action(1.0) == Release(False)
    call.on_released(1.0)
    action = call.next_action(1.0)
    assert isinstance(action, Acquire)
    assert action.fresh
    call.on_acquired(False, 1.0)
    call.on_connected(1.0)
    call.on_sent(1.0)
    call.on_eof(1.0)
    assert not finish(call, 1.0).reusable
    assert isinstance(call.error, LLMConnectionError)
    assert [attempt.outcome for attempt in call.attempts] == ["stale", "no_reply"]


def test_an_ambiguous_failure_is_tried_again_unless_told_otherwise() -> None:
    call = make()
    to_receive(call)
    call.on_error("reset", 1.0, "RST")
    call.on_released(1.0)
    assert isinstance(call.next_action(1.0), Wait)
    call = make(retry=RetryPolicy(retry_ambiguous=False))
    to_receive(call)
    call.on_error("reset", 1.0, "RST")
    finish(call, 1.0)
    assert call.error is not None
    assert call.error.may_be_billed


def test_retry_after_is_never_shortened() -> None:
    call = make(timers=Timers(total=100.0))
    to_receive(call)
    call.on_data(reply(b"{}", status=429, headers=b"Retry-After: 20\r\n"), 1.0)
    action = call.next_action(1.0)
    assert action == Release(True, None)
    call.on_released(1.0)
    wait = call.next_action(1.0)
    assert isinstance(wait, Wait)
    assert 21.0 <= wait.until <= 22.0


@pytest.mark.parametrize(("hint", "total", "why"), [(b"90", 1000.0, "retry_after"), (b"20", 10.0, "deadline")])
def test_a_hint_that_cannot_be_honoured_is_raised_with_its_number(hint: bytes, total: float, why: str) -> None:
    call = make(timers=Timers(total=total))
    to_receive(call)
    call.on_data(reply(b"{}", status=429, headers=b"Retry-After: %b\r\n" % hint), 1.0)
    finish(call, 1.0)
    assert call.error is not None
    assert call.error.retry_after == float(hint)
    assert call.error.retry_suppressed == why


def test_an_empty_budget_raises_the_original_error() -> None:
    budget = RetryBudget(max_tokens=0, floor=0)
    call = make(budget=budget)
    to_receive(call)
    call.on_data(reply(b"{}", status=500), 1.0)
    finish(call, 1.0)
    assert isinstance(call.error, LLMServerError)
    assert call.error.retry_suppressed == "budget"


def test_keepalives_alone_do_not_keep_a_stream_alive() -> None:
    call = make(timers=Timers(total=None, idle=10.0))
    to_receive(call)
    call.on_data(reply(b"t:Hi\n", framing="close"), 1.0)
    assert text_of(call, 1.0) == "Hi"
    for second in range(2, 11):
        call.on_data(b":\n", float(second))
        assert isinstance(call.next_action(float(second)), Receive)
    call.on_data(b":\n", 11.0)
    assert call.next_action(11.0) == Receive(READ_SIZE, AT_ONCE), "content may have arrived behind it"
    call.on_data(b":\n", 11.0)
    finish(call, 11.0)
    assert isinstance(call.error, LLMTimeoutError)
    assert call.error.code == "idle_keepalive_only"


def test_content_keeps_a_stream_alive() -> None:
    call = make(timers=Timers(total=None, idle=10.0))
    to_receive(call)
    call.on_data(reply(b"t:Hi\n", framing="close"), 1.0)
    text_of(call, 1.0)
    for second in (10.0, 19.0, 28.0):
        call.on_data(b"sig\n", second)
        assert isinstance(call.next_action(second), Receive)
    action = call.next_action(28.0)
    assert isinstance(action, Receive)
    assert action.deadline == 38.0


def test_first_token_is_retried_below_the_total() -> None:
    call = make(timers=Timers(total=None, until_commit=100.0, first_token=10.0))
    to_receive(call)
    action = call.next_action(0.0)
    assert isinstance(action, Receive)
    assert action.deadline == 10.0
    call.on_error("timeout", 10.0)
    call.on_released(10.0)
    assert isinstance(call.next_action(10.0), Wait)


def test_a_finish_reason_is_waited_on_for_five_seconds_then_complete() -> None:
    call = make()
    to_receive(call)
    call.on_data(reply(b"t:Hi\nfin\n", framing="close"), 1.0)
    text_of(call, 1.0)
    action = call.next_action(1.0)
    assert isinstance(action, Receive)
    assert action.deadline == 6.0
    call.on_error("timeout", 6.0)
    assert not finish(call, 6.0).reusable
    assert call.error is None
    assert call.response is not None


@pytest.mark.parametrize("end", ["eof", "reset"])
def test_an_end_without_the_terminal_event_is_truncated(end: str) -> None:
    call = make()
    to_receive(call)
    call.on_data(reply(b"t:Hi\n", framing="close"), 1.0)
    text_of(call)
    if end == "eof":
        call.on_eof(1.0)
    else:
        call.on_error("reset", 1.0)
    finish(call, 1.0)
    assert isinstance(call.error, LLMStreamError)
    assert call.error.code == "truncated"
    assert call.error.partial is not None
    assert call.error.partial.content == "Hi"


def draining() -> tuple[Call, bytes]:
    """Since the second 1.0: all is said, and the end of the message is outstanding."""
    call = make()
    to_receive(call)
    data = reply(b"t:Hi\ndone\n", framing="chunked")
    call.on_data(data[:-5], 1.0)
    text_of(call, 1.0)
    return call, data[-5:]


def test_after_done_the_message_is_drained_for_a_tenth_of_a_second() -> None:
    call, rest = draining()
    action = call.next_action(1.0)
    assert isinstance(action, Receive)
    assert action.deadline == pytest.approx(1.1)
    call.on_data(rest, 1.05)
    assert finish(call, 1.05).reusable


def test_surplus_bytes_destroy_the_connection() -> None:
    call = make(stream=False)
    to_receive(call)
    call.on_data(reply(b"done\n") + b"HTTP/1.1 200 OK\r\n", 1.0)
    assert not finish(call).reusable
    assert call.response is not None


def test_a_large_request_goes_in_pieces_and_an_early_answer_wins() -> None:
    call = make(body=b"x" * 200_000)
    call.on_acquired(True, 0.0)
    action = call.next_action(0.0)
    assert isinstance(action, Send)
    assert len(action.data) == 64 * 1024
    assert action.more
    call.on_sent(0.0, early=True)
    call.on_data(reply(b"{}", status=413), 0.5)
    assert not finish(call).reusable
    assert call.error is not None
    assert call.error.status_code == 413
    assert not call.error.may_be_billed


def test_an_answer_after_a_failed_write_wins_over_the_broken_pipe() -> None:
    call = make(body=b"x" * 200_000)
    call.on_acquired(False, 0.0)
    call.on_connected(0.0)
    call.on_error("reset", 0.0, "EPIPE")
    action = call.next_action(0.0)
    assert isinstance(action, Receive)
    assert action.deadline == 1.0
    call.on_data(reply(b"{}", status=401), 0.5)
    assert not finish(call).reusable
    assert call.error is not None
    assert call.error.status_code == 401


def test_without_an_answer_the_write_failure_stands() -> None:
    call = make(retry=RetryPolicy(max_retries=0))
    call.on_acquired(False, 0.0)
    call.on_connected(0.0)
    call.on_error("reset", 0.0, "EPIPE")
    call.on_eof(0.2)
    finish(call, 0.2)
    assert isinstance(call.error, LLMConnectionError)
    assert "EPIPE" in call.error.message
    assert not call.error.may_be_billed


@pytest.mark.parametrize(
    ("kind", "error_type", "code"),
    [
        ("dns_failed", LLMConnectionError, "dns"),
        ("tls_verify", LLMConnectionError, "tls_verify"),
        ("too_many_files", LLMConnectionError, "too_many_open_files"),
        ("proxy_refused", LLMConnectionError, "proxy"),
    ],
)
def test_a_dial_that_cannot_succeed_is_raised_and_its_slot_given_back(
    kind: str, error_type: type[LLMError], code: str
) -> None:
    call = make()
    call.on_acquired(False, 0.0)
    call.on_error(kind, 0.1, "why")  # type: ignore[arg-type]
    assert finish(call) == Release(False)
    assert isinstance(call.error, error_type)
    assert call.error.code == code
    assert call.error.phase == "connect"


@pytest.mark.parametrize("kind", ["refused", "unreachable", "reset", "tls_failed", "dns_temporary", "timeout"])
def test_a_dial_that_failed_is_tried_again_and_charged(kind: str) -> None:
    budget = RetryBudget(max_tokens=14, floor=0)
    for suppressed in (None, "budget"):
        call = make(budget=budget, retry=RetryPolicy(max_retries=1))
        call.on_acquired(False, 0.0)
        call.on_error(kind, 0.1)  # type: ignore[arg-type]
        call.on_released(0.1)
        if suppressed is None:
            assert isinstance(call.next_action(0.1), Wait)
            assert budget.tokens == 0
        else:
            assert call.finished
            assert call.error is not None
            assert call.error.retry_suppressed == suppressed


def test_the_pool_timeout_is_its_own_error_and_releases_its_place() -> None:
    call = make(timers=Timers(total=None, pool=5.0))
    call.on_error("timeout", 5.0, "10 open, 10 leased")
    assert finish(call, 5.0) == Release(False)
    assert isinstance(call.error, LLMConnectionError)
    assert call.error.code == "pool_timeout"
    assert "10 leased" in call.error.message


@pytest.mark.parametrize("steps", range(6))
def test_cancel_anywhere_gives_the_seat_back_and_ends(steps: int) -> None:
    call = make()
    inputs = [
        lambda: call.on_acquired(False, 0.0),
        lambda: call.on_connected(0.0),
        lambda: call.on_sent(0.0),
        lambda: call.on_data(reply(b"t:Hi\n", framing="close"), 0.0),
        lambda: call.on_delivered(0.0),
    ]
    for step in inputs[:steps]:
        step()
    call.cancel(1.0)
    call.cancel(1.0)
    assert finish(call, 1.0) == Release(False)
    assert isinstance(call.error, LLMStreamError)
    assert call.error.code == "cancelled"


def test_cancel_during_backoff_needs_no_release() -> None:
    call = make()
    to_receive(call)
    call.on_data(reply(b"{}", status=500), 1.0)
    call.on_released(1.0)
    call.cancel(1.1)
    assert call.next_action(1.1) is None
    assert call.error is not None
    assert call.error.code == "cancelled"


def test_leaving_after_the_terminal_event_keeps_the_connection() -> None:
    call = make()
    to_receive(call)
    call.on_data(reply(b"t:Hi\ndone\n", framing="chunked"), 1.0)
    assert isinstance(call.next_action(1.0), Deliver)
    call.cancel(1.0)
    assert finish(call).reusable
    assert call.error is None
    assert call.response is not None


def test_a_401_asks_a_callable_credential_once_more() -> None:
    call = Call(None, ROUTE, Timers(), now=0.0, stream=False)
    for refresh in (False, True):
        action = call.next_action(0.0)
        assert getattr(action, "refresh", None) is refresh
        call.on_authorized(operation(stream=False), 0.0)
        to_receive(call)
        call.on_data(reply(b"{}", status=401), 0.0)
        call.on_released(0.0)
    assert call.finished
    assert call.error is not None
    assert call.error.status_code == 401
    assert len(call.attempts) == 2


@pytest.mark.parametrize(("told", "retried"), [(b"true", True), (b"false", False)])
def test_x_should_retry_overrides_the_table(told: bytes, retried: bool) -> None:
    call = make()
    to_receive(call)
    status = 400 if retried else 500
    call.on_data(reply(b"{}", status=status, headers=b"x-should-retry: %b\r\n" % told), 1.0)
    call.on_released(1.0)
    assert isinstance(call.next_action(1.0), Wait) is retried


def test_a_redirect_is_refused_and_named_without_its_query() -> None:
    call = make()
    to_receive(call)
    call.on_data(reply(b"", status=307, headers=b"Location: https://u:p@evil.test/v1?key=secret\r\n"), 1.0)
    finish(call)
    assert isinstance(call.error, LLMProtocolError)
    assert "evil.test" in call.error.message
    assert "secret" not in call.error.message
    assert "u:p" not in call.error.message


def test_garbled_once_then_raised() -> None:
    call = make()
    for last in (False, True):
        to_receive(call)
        call.on_data(b"HTTP/1.1 banana\r\n\r\n", 1.0)
        assert not call.next_action(1.0).reusable  # type: ignore[union-attr]
        call.on_released(1.0)
        if last:
            break
        call.on_waited(2.0)
    assert isinstance(call.error, LLMProtocolError)
    assert len(call.attempts) == 2
