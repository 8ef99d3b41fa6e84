"""A call at its edges: what stands before the first text, what a leaver finds, what a broken answer is called."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sans_io.calls.actions import Acquire, Authorize, Connect, Deliver, Receive, Release, Send, Wait, forwarding_proxy
from sans_io.calls.call import Call
from sans_io.calls.failures import FaultKind
from sans_io.chat.events import TextDelta, UsageReported
from sans_io.errors import (
    LLMConnectionError,
    LLMError,
    LLMServerError,
    LLMStreamError,
    LLMTimeoutError,
    LocalProtocolError,
)
from sans_io.http.http11 import HTTPRequest, RequestHead
from sans_io.http.proxies import parse_proxy
from sans_io.http.secret import Secret
from sans_io.http.urls import Origin
from sans_io.policy.deadline import Timers
from sans_io.policy.pool import Route
from sans_io.policy.retry import RetryBudget, RetryPolicy

from .kit import ORIGIN, ROUTE, operation, reply
from .test_call import draining, finish, make, text_of, to_receive

ONCE = RetryPolicy(max_retries=0)


def test_a_call_streams_only_when_asked_to() -> None:
    call = Call(operation(stream=False), ROUTE, Timers(total=None), now=0.0)
    to_receive(call)
    call.on_data(reply(b"t:Hi\ndone\n"), 1.0)
    finish(call, 1.0)
    assert call.response is not None


def test_a_date_of_the_server_is_read_by_our_clock_where_the_reply_has_none() -> None:
    """784111777 is the date below in seconds since 1970; our clock shows 7 seconds less."""
    call = make(epoch_offset=784_111_770.0)
    to_receive(call)
    call.on_data(reply(b"{}", status=429, headers=b"Retry-After: Sun, 06 Nov 1994 08:49:37 GMT\r\n"), 0.0)
    call.on_released(0.0)
    wait = call.next_action(0.0)
    assert isinstance(wait, Wait)
    assert 7.0 <= wait.until <= 7.7


def test_usage_that_came_before_the_text_is_delivered_with_it_and_first() -> None:
    call = make()
    to_receive(call)
    call.on_data(reply(b"usage\n", framing="close"), 1.0)
    assert isinstance(call.next_action(1.0), Receive)
    call.on_data(b"t:Hi\n", 2.0)
    action = call.next_action(2.0)
    assert isinstance(action, Deliver)
    assert [type(event) for event in action.events] == [UsageReported, TextDelta]
    call.on_delivered(2.0)
    call.on_data(b"t: you\n", 3.0)
    action = call.next_action(3.0)
    assert isinstance(action, Deliver)
    assert [type(event) for event in action.events] == [TextDelta]


def test_a_reply_is_whole_from_its_last_event_on() -> None:
    call = make()
    to_receive(call)
    call.on_data(reply(b"t:Hi\n", framing="close"), 1.0)
    assert call.whole is False
    text_of(call, 1.0)
    call.on_data(b"done\n", 2.0)
    assert call.whole is True
    call.on_delivered(2.0)
    finish(call, 2.0)
    assert call.whole is True


def test_a_reply_that_failed_is_never_whole() -> None:
    call = make(retry=ONCE)
    to_receive(call)
    call.on_eof(1.0)
    finish(call, 1.0)
    assert call.whole is False


def test_the_end_of_the_connection_while_draining_gives_the_seat_back_unusable() -> None:
    call = make()
    to_receive(call)
    call.on_data(reply(b"t:Hi\ndone\n", framing="chunked")[:-5], 1.0)
    text_of(call, 1.0)
    assert call.state == "DRAIN"
    call.on_eof(1.05)
    assert finish(call, 1.05) == Release(False)
    assert call.error is None


def test_whoever_leaves_finds_it_in_the_ledger() -> None:
    call = make()
    to_receive(call)
    call.cancel(1.0)
    assert finish(call, 1.0) == Release(False)
    assert call.error is not None
    assert call.error.code == "cancelled"
    assert [attempt.outcome for attempt in call.attempts] == ["cancelled"]


def test_a_retry_that_succeeds_gets_its_tokens_back() -> None:
    budget = RetryBudget()
    call = make(budget=budget)
    to_receive(call)
    call.on_data(reply(b"{}", status=500), 1.0)
    call.on_released(1.0)
    wait = call.next_action(1.0)
    assert isinstance(wait, Wait)
    assert budget.tokens == 486
    call.on_waited(wait.until)
    to_receive(call, wait.until, reused=True)
    call.on_data(reply(b"t:Hi\ndone\n"), 5.0)
    text_of(call, 5.0)
    finish(call, 5.0)
    assert budget.tokens == 500


def test_a_whole_reply_idles_from_its_head_on_and_a_stream_from_its_first_content() -> None:
    timers = Timers(total=None, first_token=10.0, idle=30.0)
    for stream, wanted in ((False, 31.0), (True, 10.0)):
        call = make(stream=stream, timers=timers)
        to_receive(call)
        call.on_data(reply(b"role\n", framing="close"), 1.0)
        action = call.next_action(1.0)
        assert isinstance(action, Receive)
        assert action.deadline == wanted
        call.on_error("timeout", wanted)
        call.on_released(wanted)
        (attempt,) = call.attempts
        assert attempt.outcome == ("first_token" if stream else "idle")


@pytest.mark.parametrize(("keepalives", "code"), [(0, "first_token_timeout"), (1, "idle_keepalive_only")])
def test_one_keepalive_is_enough_to_say_that_the_server_lives(keepalives: int, code: str) -> None:
    call = make(timers=Timers(total=None, first_token=10.0), retry=ONCE)
    to_receive(call, 5.0)
    call.on_data(reply(b":\n" * keepalives, framing="close"), 6.0)
    call.on_error("timeout", 15.0)
    finish(call, 15.0)
    assert isinstance(call.error, LLMTimeoutError)
    assert call.error.code == code
    assert "10 s" in call.error.message


# ---- broken ----------------------------------------------------------------------------------------------------------

CUT = pytest.mark.parametrize(
    ("data", "phase"), [(b"HTTP/1.1 200 OK\r\nContent-", "head"), (reply(b"t:Hi\nmore")[:-2], "body")]
)


@CUT
def test_an_answer_that_breaks_off_says_where(data: bytes, phase: str) -> None:
    call = make(stream=False, retry=ONCE)
    to_receive(call)
    call.on_data(data, 1.0)
    cause = ConnectionResetError("theirs")
    call.on_error("reset", 1.0, "RST", cause)
    finish(call, 1.0)
    assert type(call.error) is LLMConnectionError
    assert (call.error.code, call.error.phase) == ("truncated", phase)
    assert call.error.__cause__ is cause
    assert [attempt.outcome for attempt in call.attempts] == ["truncated"]


@CUT
def test_an_answer_that_ends_too_early_is_a_broken_connection(data: bytes, phase: str) -> None:
    call = make(stream=False, retry=ONCE)
    to_receive(call)
    call.on_data(data, 1.0)
    call.on_eof(1.0)
    assert finish(call, 1.0) == Release(False)
    assert type(call.error) is LLMConnectionError
    assert (call.error.code, call.error.phase) == ("truncated", phase)
    assert isinstance(call.error.__cause__, LLMError)


def test_a_request_that_was_not_sent_in_full_is_a_failed_write() -> None:
    call = make(body=b"x" * 200_000, retry=ONCE)
    call.on_acquired(False, 0.0)
    call.on_connected(0.0)
    call.on_error("reset", 0.0, "EPIPE")
    call.on_error("reset", 0.5, "later")
    finish(call, 0.5)
    assert [attempt.outcome for attempt in call.attempts] == ["write_failed"]
    assert call.error is not None
    assert call.error.message.endswith(": EPIPE")


def test_an_error_in_the_stream_carries_what_the_head_said() -> None:
    call = make(retry=ONCE)
    to_receive(call)
    call.on_data(reply(b"t:Hi\nerr:soon\n", headers=b"X-Request-Id: r-7\r\n", framing="close"), 1.0)
    text_of(call, 1.0)
    finish(call, 1.0)
    assert call.error is not None
    assert (call.error.status_code, call.error.request_id, call.error.phase) == (200, "r-7", "stream")
    assert [attempt.request_id for attempt in call.attempts] == ["r-7"]


def test_an_error_of_a_whole_reply_has_no_part_of_it() -> None:
    call = make(stream=False, retry=ONCE)
    to_receive(call)
    call.on_data(reply(b"t:Hi\nerr:never\n"), 1.0)
    finish(call, 1.0)
    assert call.error is not None
    assert call.error.partial is None


def test_a_stream_that_was_reset_is_a_truncated_one() -> None:
    call = make()
    to_receive(call)
    call.on_data(reply(b"t:Hi\n", framing="close"), 1.0)
    text_of(call, 1.0)
    call.on_error("reset", 2.0, "RST")
    finish(call, 2.0)
    assert [attempt.outcome for attempt in call.attempts] == ["truncated"]


def refusing(error: LLMError) -> Call:
    """A call, refused with this error, whose request carries a key and whose reply carries a request id."""
    head = RequestHead("POST", ORIGIN, "/x", (("authorization", Secret("sk-canary-canary")),))
    plain = operation()
    asked = replace(plain, request=HTTPRequest(head, b"{}"), decode_error=lambda status, headers, body: error)
    call = Call(asked, ROUTE, Timers(total=None), now=0.0, stream=True, retry=ONCE)
    to_receive(call)
    call.on_data(reply(b"{}", status=400, headers=b"X-Request-Id: r-head\r\n"), 1.0)
    finish(call, 1.0)
    assert call.error is error
    return call


@pytest.mark.parametrize(("own", "shown"), [("r-body", "r-body"), (None, "r-head")])
def test_a_request_id_in_the_error_itself_wins_over_the_head_s(own: str | None, shown: str) -> None:
    call = refusing(LLMServerError("no", request_id=own))
    assert call.error is not None
    assert call.error.request_id == shown
    assert [attempt.request_id for attempt in call.attempts] == [shown]


def test_a_key_that_the_server_repeats_is_hidden_also_in_the_cause() -> None:
    error = LLMServerError("bad key sk-canary-canary", code="sk-canary-canary")
    error.__cause__ = LLMServerError("theirs: sk-canary-canary")
    refusing(error)
    assert "canary" not in f"{error} {error.message} {error.code} {error.__cause__}"


# ---- the proxy -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("scheme", "forwarded"), [("http", True), ("https", False)])
def test_a_proxy_sees_whole_requests_of_plain_http_only(scheme: str, forwarded: bool) -> None:
    proxy = parse_proxy("http://proxy.example:3128")
    origin = Origin(scheme, "llm.example", 8000)
    assert forwarding_proxy(Route(origin, proxy)) == (proxy if forwarded else None)
    assert forwarding_proxy(Route(origin)) is None


@pytest.mark.parametrize(
    ("data", "outcome"),
    [
        (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 129 + b"\r\n", "oversize"),
        (b"HTTP/1.1 200 OK\r\nA: " + b"b" * 70_000, "oversize"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"x" * 5_000, "oversize"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nX\r\n", "garbled"),
        (b"SSH-2.0\r\n\r\n", "garbled"),
    ],
)
def test_what_is_too_large_is_told_from_what_is_broken(data: bytes, outcome: str) -> None:
    call = make(retry=ONCE)
    to_receive(call)
    call.on_data(data, 1.0)
    finish(call, 1.0)
    assert [attempt.outcome for attempt in call.attempts] == [outcome]


# ---- how a connection is given back ------------------------------------------------------------------------------------


def test_the_server_s_keep_alive_goes_with_a_connection_that_is_given_back() -> None:
    for headers, hint in ((b"Keep-Alive: timeout=7\r\n", 7), (b"", None)):
        call = make()
        to_receive(call)
        call.on_data(reply(b"t:Hi\ndone\n", headers=headers), 1.0)
        text_of(call, 1.0)
        assert finish(call, 1.0) == Release(True, hint)


@pytest.mark.parametrize("status", [400, 500])
def test_a_refusal_that_breaks_off_is_still_a_refusal(status: int) -> None:
    call = make(retry=ONCE)
    to_receive(call)
    call.on_data(reply(b"{}" * 50, status=status)[:-9], 1.0)
    call.on_error("reset", 2.0, "RST")
    finish(call, 2.0)
    assert call.error is not None
    assert call.error.status_code == status


def test_draining_has_one_deadline_however_the_rest_trickles() -> None:
    call, rest = draining()
    for at in range(4):
        call.on_data(rest[at : at + 1], 1.0 + at / 50)
        action = call.next_action(1.0)
        assert isinstance(action, Receive)
        assert action.deadline == pytest.approx(1.1)
    call.on_data(rest[-1:], 1.2)
    assert finish(call, 1.2) == Release(True)


def test_what_does_not_end_in_time_is_not_waited_for() -> None:
    call, rest = draining()
    call.on_data(rest[:1], 1.2)
    assert finish(call, 1.2) == Release(False)
    assert call.error is None
    assert call.response is not None


def test_whoever_was_called_is_named_in_the_error() -> None:
    call = make(retry=ONCE)
    to_receive(call)
    call.on_error("reset", 1.0, "RST")
    finish(call, 1.0)
    assert call.error is not None
    assert (call.error.provider, call.error.model) == ("test", "m")
    assert call.error.attempts == call.attempts
    theirs = refusing(LLMServerError("no", provider="upstream", model="n")).error
    assert theirs is not None
    assert (theirs.provider, theirs.model) == ("upstream", "n")


# ---- leaving -----------------------------------------------------------------------------------------------------------


def at(step: str) -> Call:
    """A call that has come as far as this step."""
    if step == "authorize":
        return Call(None, ROUTE, Timers(total=None), now=0.0)
    call = make(body=b"x" * 300_000)
    if step == "acquire":
        return call
    call.on_acquired(False, 0.0)
    if step == "connect":
        return call
    call.on_connected(0.0)
    if step == "write":
        return call
    while isinstance(action := call.next_action(0.0), Send):
        assert action.data
        call.on_sent(0.0)
    if step == "backoff":
        call.on_data(reply(b"{}", status=500), 1.0)
        call.on_released(1.0)
    elif step != "head":
        call.on_data(reply(b"t:Hi\n" if step == "stream" else b"role\n", framing="close"), 1.0)
    return call


@pytest.mark.parametrize("step", ["authorize", "acquire", "connect", "write", "head", "body", "stream", "backoff"])
def test_whoever_leaves_is_told_where_the_call_was(step: str) -> None:
    call = at(step)
    call.cancel(1.0)
    if isinstance(call.next_action(1.0), Release):
        assert finish(call, 1.0) == Release(False)
    assert call.finished
    assert call.error is not None
    assert (call.error.code, call.error.phase) == ("cancelled", step)
    assert call.error.message == "the call was cancelled"


def test_whoever_leaves_a_whole_reply_keeps_it() -> None:
    for drained in (False, True):
        call = make()
        to_receive(call)
        data = reply(b"t:Hi\ndone\n", framing="chunked")
        call.on_data(data[:-5], 1.0)
        if drained:
            text_of(call, 1.0)
            assert call.state == "DRAIN"
        call.cancel(1.0)
        assert finish(call, 1.0) == Release(False)
        assert call.error is None
        assert call.response is not None
        assert call.response.content == "Hi"


# ---- which clock runs --------------------------------------------------------------------------------------------------


def test_a_finish_reason_before_any_text_is_waited_on_once() -> None:
    call = make(timers=Timers(total=None))
    to_receive(call)
    call.on_data(reply(b"role\nfin\n", framing="close"), 1.0)
    for now in (1.0, 3.0):
        action = call.next_action(now)
        assert isinstance(action, Receive)
        assert action.deadline == 6.0
        call.on_data(b"role\n", now + 1.0)


@pytest.mark.parametrize(("committed", "seconds"), [(False, 2.0), (True, 9.0)])
def test_the_deadline_that_passed_is_the_one_that_stood(committed: bool, seconds: float) -> None:
    timers = Timers(total=9.0, until_commit=2.0, idle=None, first_token=None)
    call = make(timers=timers, retry=ONCE)
    to_receive(call)
    call.on_data(reply(b"t:Hi\n" if committed else b"role\n", framing="close"), 1.0)
    if committed:
        text_of(call, 1.0)
    action = call.next_action(1.0)
    assert isinstance(action, Receive)
    assert action.deadline == seconds
    call.on_error("timeout", seconds)
    finish(call, seconds)
    assert isinstance(call.error, LLMTimeoutError)
    assert f"{seconds:g} s" in call.error.message


def test_a_renewed_credential_is_tried_at_once_and_the_ledger_says_so() -> None:
    call = Call(None, ROUTE, Timers(total=None), now=0.0, stream=True)
    call.on_authorized(operation(), 0.0)
    to_receive(call)
    call.on_data(reply(b"{}", status=401), 1.0)
    call.on_released(1.0)
    assert isinstance(call.next_action(1.0), Authorize)
    call.on_authorized(operation(), 2.0)
    to_receive(call, 2.0, reused=True)
    call.on_data(reply(b"t:Hi\ndone\n"), 3.0)
    text_of(call, 3.0)
    finish(call, 3.0)
    first, second = call.attempts
    assert (first.outcome, first.delay, first.delay_reason) == ("401", 0.0, "immediate")
    assert (second.reason, second.outcome, second.delay, second.delay_reason) == ("401", "ok", None, None)


def test_the_last_piece_of_a_request_is_marked() -> None:
    call = make(body=b"x" * 300_000)
    call.on_acquired(True, 0.0)
    marks = []
    while isinstance(action := call.next_action(0.0), Send):
        marks.append(action.more)
        call.on_sent(0.0)
    assert len(marks) > 1
    assert marks == [True] * (len(marks) - 1) + [False]


def receiving(*, stream: bool = True, max_retries: int = 0, total: float | None = None) -> Call:
    """A call whose request is sent."""
    call = Call(
        operation(stream=stream), ROUTE, Timers(total=total), now=0.0, stream=stream, retry=RetryPolicy(max_retries)
    )
    assert isinstance(call.next_action(0.0), Acquire)
    call.on_acquired(False, 0.0)
    assert isinstance(call.next_action(0.0), Connect)
    call.on_connected(0.0)
    assert isinstance(call.next_action(0.0), Send)
    call.on_sent(0.0)
    assert isinstance(call.next_action(0.0), Receive)
    return call


def test_usage_alone_is_handed_out_at_the_end_of_a_whole_reply() -> None:
    """It does not commit while a failure may follow; once the reply is whole nobody has to do without it."""
    call = receiving()
    call.on_data(reply(b"usage\nfin\n"), 0.0)
    action = call.next_action(0.0)
    assert isinstance(action, Deliver)
    assert [type(event) for event in action.events] == [UsageReported]
    assert call.committed
    call.on_delivered(0.0)
    assert call.next_action(0.0) == Release(reusable=True, idle_hint=None)
    call.on_released(0.0)
    assert call.response is not None
    assert call.error is None


@pytest.mark.parametrize("kind", ["reset", "local"])
def test_a_refusal_that_breaks_off_still_says_what_it_said(kind: FaultKind) -> None:
    call = receiving()
    call.on_data(
        b"HTTP/1.1 503 X\r\nContent-Type: application/json\r\nx-code: never\r\nContent-Length: 9\r\n\r\n{", 0.0
    )
    assert isinstance(call.next_action(0.0), Receive), "nine bytes were promised, one came"
    call.on_error(kind, 1.0)
    assert call.next_action(1.0) == Release(reusable=False, idle_hint=None)
    call.on_released(1.0)
    assert isinstance(call.error, LLMServerError)
    assert (call.error.status_code, call.error.code) == (503, "never")


def test_what_has_come_is_told_at_any_time() -> None:
    call = receiving()
    assert (call.whole, call.partial) == (False, None)
    call.on_data(reply(b"t:a\n" * 2, framing="close"), 0.0)
    assert not call.whole
    assert call.partial is not None
    assert call.partial.content == "aa"
    call.on_delivered(0.0)
    call.on_data(b"done\n", 0.0)
    assert call.whole
    call.on_delivered(0.0)
    call.on_released(0.0)
    assert call.whole
    assert call.partial is call.response
    assert call.response is not None
    assert call.response.content == "aa"


def test_after_a_failure_what_has_come_is_the_partial_of_its_error() -> None:
    call = receiving()
    call.on_data(reply(b"t:a\n", framing="close"), 0.0)
    call.on_delivered(0.0)
    call.on_error("reset", 1.0)
    call.on_released(1.0)
    assert isinstance(call.error, LLMStreamError)
    assert not call.whole
    assert call.partial is call.error.partial
    assert call.partial is not None
    assert call.partial.content == "a"


def test_a_delivery_cannot_fail_and_a_finished_call_asks_for_nothing() -> None:
    call = receiving()
    call.on_data(reply(b"t:a\ndone\n"), 0.0)
    assert isinstance(call.next_action(0.0), Deliver)
    with pytest.raises(LocalProtocolError, match=r"on_error\('reset'\) while Deliver"):
        call.on_error("reset", 0.0)
    call.on_delivered(0.0)
    call.on_released(0.0)
    assert call.finished
    for answer in (lambda: call.on_error("reset", 0.0), lambda: call.on_sent(0.0), lambda: call.on_data(b"x", 0.0)):
        with pytest.raises(LocalProtocolError, match="while None is outstanding"):
            answer()


def test_a_field_that_came_twice_is_joined_with_a_comma() -> None:
    """RFC 9110 section 5.3, in the order of the fields."""
    call = receiving(stream=False)
    call.on_data(reply(b"t:a\ndone\n", headers=b"x-a: 1\r\nx-b: 2\r\nX-A: 3\r\n"), 0.0)
    call.on_released(0.0)
    assert call.response is not None
    assert call.response.headers["x-a"] == "1, 3"
    assert call.response.headers["x-b"] == "2"


@pytest.mark.parametrize(("delivered_at", "drains_until"), [(9.0, 9.1), (9.95, 10.0)])
def test_a_connection_is_drained_within_the_calls_own_time(delivered_at: float, drains_until: float) -> None:
    call = receiving(total=10.0)
    call.on_data(reply(b"t:a\ndone\n", framing="chunked")[:-5], 0.0)
    call.on_delivered(delivered_at)
    action = call.next_action(delivered_at)
    assert isinstance(action, Receive)
    assert action.deadline == pytest.approx(drains_until)


def test_a_slow_taker_of_the_last_piece_gets_it_whole_and_nobody_waits_for_the_rest_of_the_framing() -> None:
    """Found by the fuzzing target `call`: the drain began long after the call's deadline."""
    call = receiving(total=10.0)
    call.on_data(reply(b"t:a\ndone\n", framing="chunked")[:-5], 0.0)
    call.on_delivered(11.0)
    assert call.next_action(11.0) == Release(reusable=False, idle_hint=None)
    call.on_released(11.0)
    assert call.response is not None
    assert call.response.content == "a"
