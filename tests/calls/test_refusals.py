"""A status that is an error decides, whatever its body is: coded, cut, stalled, garbled, too long."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from sans_io.calls.actions import Authorize, Receive, Release, Wait
from sans_io.calls.call import EXPLAINING, FINISHING, Call
from sans_io.chat.messages import ChatRequest
from sans_io.errors import LLMError, LLMProtocolError
from sans_io.http.urls import parse_base_url
from sans_io.limits import DEFAULT_LIMITS
from sans_io.policy.deadline import Timers
from sans_io.policy.retry import RetryPolicy
from sans_io.providers.registry import WIRES
from tests.calls.kit import ROUTE, operation, reply
from tests.calls.test_call import make, to_receive

#: status: whether it is tried again.
STATUSES = {400: False, 401: False, 403: False, 404: False, 413: False, 422: False, 429: True, 500: True, 503: True, 504: True}  # fmt: skip
BODY = b'{"error": {"message": "no", "x": "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"}}'
FIELDS = b"Retry-After: 7\r\nX-Request-Id: r-1\r\n"


def refusal(status: int, *fields: bytes, framing: str = "length") -> bytes:
    return reply(BODY + b"\n", status=status, headers=FIELDS + b"".join(fields), framing=framing)


def spoil(call: Call, how: str, status: int, now: float) -> float:
    """Give the call a refusal whose body is no good; when that was known."""
    if how.startswith("coded"):
        _, coding, framing = how.split()
        data = refusal(status, b"Content-Encoding: %b\r\n" % coding.encode(), framing=framing)
        call.on_data(data[: data.index(b"\r\n\r\n") + 4] if framing == "close" else data, now)
        return now
    framing = "chunked" if "chunked" in how else "length"
    data = refusal(status, framing=framing)
    head = data.index(b"\r\n\r\n") + 4
    call.on_data(data[: head if "all" in how else head + 40], now)
    if how.startswith("stalled"):
        action = call.next_action(now)
        assert isinstance(action, Receive)
        assert action.deadline <= now + 1.0
        now = action.deadline
        call.on_error("timeout", now)
    elif how.startswith("cut"):
        call.on_eof(now)
    elif how.startswith("reset"):
        call.on_error("reset", now, "RST")
    else:
        call.on_data(b"zz\r\n" if framing == "chunked" else BODY * 2, now)
    return now


HOW = [
    "coded gzip length", "coded br chunked", "coded deflate close", "coded identity,gzip length", "coded GZIP length",
    "stalled", "stalled chunked", "stalled at all", "stalled chunked at all", "cut", "cut chunked", "cut at all",
    "reset", "reset chunked", "reset at all", "garbled chunked at all", "surplus",
]  # fmt: skip


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("stream", [False, True], ids=["chat", "stream"])
def test_the_status_decides(how: str, status: int, stream: bool) -> None:
    call = make(stream=stream, retry=RetryPolicy(max_retries=1), timers=Timers(total=500.0))
    now, sent = 0.0, 0
    while not call.finished:
        to_receive(call, now)
        sent += 1
        now = spoil(call, how, status, now)
        assert call.next_action(now) == Release(False)
        call.on_released(now)
        wait = call.next_action(now)
        if isinstance(wait, Wait):
            assert wait.until >= now + 7.0
            now = wait.until
            call.on_waited(now)
    assert sent == (2 if STATUSES[status] else 1)
    error = call.error
    assert error is not None
    assert type(error) is not LLMProtocolError
    assert (error.status_code, error.retry_after, error.request_id) == (status, 7.0, "r-1")
    assert error.may_be_billed is (status == 504)
    assert {attempt.outcome for attempt in call.attempts} == {str(status)}


def test_a_refusal_is_waited_for_a_second_after_each_byte_and_five_in_all() -> None:
    call = make(timers=Timers(total=None, first_token=60.0))
    to_receive(call)
    data = refusal(429)
    head = data.index(b"\r\n\r\n") + 4
    call.on_data(data[:head], 10.0)
    deadlines = []
    for number in range(7):
        action = call.next_action(10.0)
        assert isinstance(action, Receive)
        deadlines.append(action.deadline)
        now = 10.8 + number * 0.8
        if now >= action.deadline:
            call.on_error("timeout", action.deadline)
            break
        call.on_data(data[head + number : head + number + 1], now)
    assert deadlines == pytest.approx([11.0, 11.8, 12.6, 13.4, 14.2, 15.0, 15.0])
    assert call.next_action(15.0) == Release(False)
    call.on_released(15.0)
    assert [attempt.outcome for attempt in call.attempts] == ["429"]
    assert (EXPLAINING, FINISHING) == (1.0, 5.0)


@pytest.mark.parametrize(
    ("timers", "at"),
    [(Timers(total=10.4), 10.4), (Timers(total=None, first_token=10.4), 10.4), (Timers(total=None, until_commit=10.4), 10.4),
     (Timers(total=None, first_token=None), 11.0)],
)  # fmt: skip
def test_a_stalled_refusal_is_no_timeout_whichever_timer_ends_first(timers: Timers, at: float) -> None:
    call = make(timers=timers, retry=RetryPolicy(max_retries=0))
    to_receive(call)
    call.on_data(refusal(429)[:-5], 10.0)
    action = call.next_action(10.0)
    assert isinstance(action, Receive)
    assert action.deadline == at
    call.on_error("timeout", at)
    call.on_released(at)
    assert call.error is not None
    assert (call.error.status_code, call.error.retry_after) == (429, 7.0)


def test_a_refusal_that_came_at_its_deadline_is_no_timeout() -> None:
    call = make(timers=Timers(total=10.0), retry=RetryPolicy(max_retries=0))
    to_receive(call)
    call.on_data(refusal(429)[:-5], 10.0)
    call.on_error("timeout", 10.0)  # it has looked once more whether the rest has arrived
    assert call.next_action(10.0) == Release(False)
    call.on_released(10.0)
    assert call.error is not None
    assert call.error.status_code == 429


def test_after_a_failed_write_there_is_one_second_for_all_of_an_early_refusal() -> None:
    call = make(body=b"x" * 200_000)
    call.on_acquired(False, 0.0)
    call.on_connected(0.0)
    call.on_error("reset", 0.0, "EPIPE")
    call.on_data(refusal(413)[:-5], 0.7)
    action = call.next_action(0.7)
    assert isinstance(action, Receive)
    assert action.deadline == 1.0
    call.on_error("timeout", 1.0)
    call.on_released(1.0)
    assert call.error is not None
    assert call.error.status_code == 413


@pytest.mark.parametrize("end", ["stall", "EOF", "RST"])
def test_a_page_that_stalls_is_a_page(end: str) -> None:
    """A 200 of the wrong type is as decided as a refusal: more of it would only explain."""
    call = make(stream=False, retry=RetryPolicy(max_retries=0), timers=Timers(total=100.0))
    to_receive(call)
    page = reply(b"<html>Sorry", headers=b"").replace(b"application/json", b"text/html")
    call.on_data(page[:-4], 1.0)
    action = call.next_action(1.0)
    assert isinstance(action, Receive)
    assert action.deadline == 2.0
    if end == "stall":
        call.on_error("timeout", 2.0)
    elif end == "EOF":
        call.on_eof(2.0)
    else:
        call.on_error("reset", 2.0)
    assert call.next_action(2.0) == Release(False)
    call.on_released(2.0)
    assert call.error is not None
    assert call.error.code == "wrong_content_type"


@pytest.mark.parametrize("coding", ["gzip", "br"])
def test_a_401_is_sent_once_and_once_more_with_a_fresh_credential(coding: str) -> None:
    call = Call(None, ROUTE, Timers(), now=0.0, stream=False)
    for refresh in (False, True):
        action = call.next_action(0.0)
        assert isinstance(action, Authorize)
        assert action.refresh is refresh
        call.on_authorized(operation(stream=False), 0.0)
        to_receive(call)
        call.on_data(refusal(401, b"Content-Encoding: %b\r\n" % coding.encode()), 0.0)
        call.on_released(0.0)
    assert call.finished
    assert call.error is not None
    assert call.error.status_code == 401


@pytest.mark.parametrize("code", ["server_error", "api_error", "timeout_error"])
@pytest.mark.parametrize(("status", "sent"), [(400, 1), (401, 1), (403, 1), (404, 1), (429, 2), (500, 2)])
def test_a_body_that_says_it_failed_says_no_more_than_the_status(code: str, status: int, sent: int) -> None:
    call = make(retry=RetryPolicy(max_retries=1))
    attempts = 0
    while not call.finished:
        to_receive(call)
        attempts += 1
        call.on_data(reply(b"{}", status=status, headers=b"X-Code: %b\r\n" % code.encode()), 1.0)
        call.on_released(1.0)
        wait = call.next_action(1.0)
        if isinstance(wait, Wait):
            call.on_waited(wait.until)
    assert attempts == sent


def failure_of(data: bytes, end: str = "", **limits: int) -> LLMError:
    """Through a codec that puts the body's words into its message."""
    from tests.calls.test_exchange import openai

    call = Call(
        openai(stream=False), ROUTE, Timers(total=None), now=0.0, retry=RetryPolicy(max_retries=0),
        limits=replace(DEFAULT_LIMITS, **limits),
    )  # fmt: skip
    to_receive(call)
    call.on_data(data, 1.0)
    if end == "EOF":
        call.on_eof(1.0)
    elif end == "stall":
        call.on_error("timeout", 2.0)
    call.on_released(2.0)
    assert call.error is not None
    return call.error


def test_of_a_coded_body_the_message_says_that_it_was_not_read() -> None:
    error = failure_of(refusal(429, b"Content-Encoding: gzip\r\n"))
    assert str(error) == "HTTP 429; its body is compressed although no compression was requested, and was not read"
    assert error.body is None
    assert error.code is None


@pytest.mark.parametrize("status", [400, 413])
def test_a_body_that_was_not_read_is_not_taken_for_an_empty_one(status: int) -> None:
    """Servers say with an empty one that a prompt is too long."""
    error = failure_of(refusal(status, b"Content-Encoding: gzip\r\n"))
    assert error.code is None
    assert "compressed" in error.message


@pytest.mark.parametrize("end", ["EOF", "stall"])
def test_of_a_body_that_broke_off_the_message_says_so(end: str) -> None:
    whole = reply(b"You have sent too many requests", status=429)
    assert str(failure_of(whole)) == "You have sent too many requests"
    assert str(failure_of(whole[:-9], end)) == "You have sent too many (its body was cut short)"
    empty = failure_of(whole[: whole.index(b"\r\n\r\n") + 4], end)
    assert str(empty) == "HTTP 429; its body was cut short"
    assert empty.body is None


def test_of_a_body_that_is_too_long_the_beginning_explains() -> None:
    assert DEFAULT_LIMITS.max_error_body == 1024 * 1024
    whole = reply(b"x" * 50, status=429)
    assert str(failure_of(whole, max_error_body=50)) == "x" * 50
    error = failure_of(whole, max_error_body=49)
    assert str(error) == "x" * 49 + " (the rest of its body was dropped; see Limits.max_error_body)"
    assert error.args == (error.message,)


@pytest.mark.parametrize(
    ("status", "code", "attempts"),
    [
        (400, "overloaded", 1), (401, "rate_limit_exceeded", 1), (403, "overloaded_error", 1), (404, "slow_down", 1),
        (422, "overloaded", 1), (413, "rate_limit_exceeded", 1), (500, "content_filter_error", 1), (402, "slow_down", 1),
        (400, "rate_limit_exceeded", 3), (403, "rate_limit_exceeded", 3), (500, "rate_limit_exceeded", 3), (503, "overloaded", 3),
        (403, "RateLimitReached", 3), (400, "ThrottlingException", 3),
    ],
)  # fmt: skip
@pytest.mark.parametrize("stream", [False, True], ids=["chat", "stream"])
@pytest.mark.parametrize("wire", ["openai", "anthropic", "ollama"])
def test_no_code_makes_a_final_error_tried_again(
    wire: str, stream: bool, status: int, code: str, attempts: int
) -> None:
    body = json.dumps({"error": {"message": "no", "code": code, "type": code}}).encode()
    assert attempts_of(wire, stream, reply(body, status=status)) == attempts


@pytest.mark.parametrize(
    ("error", "attempts"),
    [
        ({"code": 429}, 3), ({"code": 502}, 3), ({"code": 503}, 3), ({"code": "503"}, 3), ({"code": 400}, 1), ({"code": 402}, 1),
        ({"code": 401}, 1), ({"code": 413}, 1), ({"type": "overloaded_error"}, 3), ({"type": "invalid_request_error"}, 1),
        ({"code": 401, "type": "overloaded_error"}, 1), ({"code": 5}, 1), ({"code": "Throttling"}, 3), ({"code": "RateLimitReached"}, 3),
        ({"message": "Rate limit exceeded, try again in 1s"}, 3), ({"message": "Insufficient credits"}, 1),
    ],
)  # fmt: skip
@pytest.mark.parametrize("stream", [False, True], ids=["chat", "stream"])
def test_a_status_inside_a_2xx_is_heard_like_one(stream: bool, error: dict[str, object], attempts: int) -> None:
    """OpenRouter reports so what its upstream answered."""
    body = json.dumps({"error": {"message": "Provider returned error", **error}}).encode()
    answer = reply(body)
    if stream:
        answer = reply(b"data: " + body + b"\n\n").replace(b"application/json", b"text/event-stream")
    assert attempts_of("openai", stream, answer) == attempts


def attempts_of(wire: str, stream: bool, answer: bytes) -> int:
    """How often a call asks that is always answered so."""
    chat = ChatRequest(messages=({"role": "user", "content": "-"},), model="m", stream=stream)
    asked = WIRES[wire].new_codec(parse_base_url("http://api.test")).operation(chat)
    call = Call(asked, ROUTE, Timers(total=None), now=0.0, stream=stream, retry=RetryPolicy(max_retries=2))
    now = 0.0
    while not call.finished:
        to_receive(call, now)
        call.on_data(answer, now)
        assert isinstance(call.next_action(now), Release)
        call.on_released(now)
        wait = call.next_action(now)
        if isinstance(wait, Wait):
            now = wait.until
            call.on_waited(now)
    return len(call.attempts)
