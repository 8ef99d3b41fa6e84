"""What has arrived by a deadline counts, however late the machine or the loop looks at it; nothing else extends one."""

from __future__ import annotations

import pytest

from sans_io.calls.actions import Acquire, Connect, Deliver, Receive, Release, Send
from sans_io.calls.call import READ_SIZE, SEND_PIECE, Call
from sans_io.errors import LLMConnectionError, LLMError, LLMServerError, LLMStreamError, LLMTimeoutError
from sans_io.policy.deadline import AT_ONCE, Timers
from sans_io.policy.retry import RetryPolicy
from tests.calls.kit import ROUTE, operation, reply
from tests.calls.test_call import finish, make, text_of, to_receive

LOOK = Receive(READ_SIZE, AT_ONCE)
TOTAL = Timers(total=10.0)
ONCE = RetryPolicy(max_retries=0)
BODY = b'{"a":1}'
LATE = 60.0


def chat(**options: object) -> Call:
    """A call that waits for a whole reply until second 10."""
    call = make(stream=False, timers=TOTAL, retry=ONCE, **options)
    to_receive(call)
    return call


def streaming(timers: Timers = TOTAL) -> Call:
    call = make(timers=timers, retry=ONCE)
    to_receive(call)
    return call


def ended(call: Call, now: float = LATE) -> LLMError | None:
    finish(call, now)
    return call.error


# -- a whole reply ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_whole_reply_that_is_looked_at_too_late_is_the_answer(framing: str) -> None:
    call = chat()
    call.on_data(reply(b"t:Hi\ndone\n", framing=framing), LATE)
    assert ended(call) is None
    assert call.response is not None and call.response.content == "Hi"


@pytest.mark.parametrize("cut", [1, 20, -1], ids=["first byte", "in the head", "all but the last byte"])
def test_a_reply_in_two_reads_is_the_answer(cut: int) -> None:
    whole = reply(b"t:Hi\ndone\n")
    call = chat()
    call.on_data(whole[:cut], LATE)
    assert call.next_action(LATE) == LOOK
    call.on_data(whole[cut:], LATE)
    assert ended(call) is None


def test_the_end_of_the_stream_is_looked_for_too() -> None:
    call = chat()
    call.on_data(reply(b"t:Hi\ndone\n", framing="close")[:-1], LATE)
    assert call.next_action(LATE) == LOOK
    call.on_data(b"\n", LATE)
    assert ended(call) is None


def test_nothing_more_there_is_a_timeout() -> None:
    call = chat()
    call.on_data(reply(b"t:Hi\ndone\n")[:-1], LATE)
    call.on_error("timeout", LATE)
    error = ended(call)
    assert isinstance(error, LLMTimeoutError)
    assert error.message == "timed out after 10 s before the reply was complete"


def test_a_server_that_drips_gets_one_look_and_no_more() -> None:
    whole = reply(b"t:Hi\ndone\n")
    call = chat()
    for at in range(9):
        call.on_data(whole[at : at + 1], float(at))
        action = call.next_action(float(at))
        assert isinstance(action, Receive) and action.deadline == 10.0
    call.on_data(whole[9:10], 10.0)
    assert call.next_action(10.0) == LOOK
    call.on_data(whole[10:11], 10.0)
    assert isinstance(ended(call, 10.0), LLMTimeoutError)


def test_a_refusal_that_is_looked_at_too_late_is_that_refusal() -> None:
    call = chat()
    call.on_data(reply(b"{}", status=503), LATE)
    error = ended(call)
    assert isinstance(error, LLMServerError)
    assert error.status_code == 503


def test_a_connection_that_broke_meanwhile_is_said_to_have_broken() -> None:
    call = chat()
    call.on_eof(LATE)
    assert isinstance(ended(call), LLMConnectionError)


# -- streams ----------------------------------------------------------------------------------------------------------


def test_a_whole_stream_that_is_looked_at_too_late_is_delivered() -> None:
    call = streaming()
    call.on_data(reply(b"t:Hi\nt: you\ndone\n"), LATE)
    assert text_of(call, LATE) == "Hi you"
    assert ended(call) is None


def test_what_has_come_of_a_stream_is_delivered_before_it_times_out() -> None:
    call = streaming()
    call.on_data(reply(b"t:Hi\n", framing="close"), LATE)
    assert text_of(call, LATE) == "Hi"
    assert call.next_action(LATE) == LOOK
    call.on_error("timeout", LATE)
    error = ended(call)
    assert isinstance(error, LLMTimeoutError)
    assert error.partial is not None and error.partial.content == "Hi"


def test_the_rest_of_a_stream_whose_reader_was_slow_is_delivered_once() -> None:
    """A server that never stops does not outlive the total: after one look that gave text there is no other."""
    call = streaming()
    call.on_data(reply(b"t:a\n", framing="close"), 1.0)
    assert isinstance(call.next_action(1.0), Deliver)
    call.on_delivered(LATE)
    assert call.next_action(LATE) == LOOK
    call.on_data(b"t:b\n", LATE)
    assert text_of(call, LATE) == "b"
    error = ended(call)
    assert isinstance(error, LLMTimeoutError)
    assert error.message == "timed out after 10 s in the middle of the stream"
    assert error.partial is not None and error.partial.content == "ab"


def test_an_idle_stream_gets_a_look_at_each_of_its_deadlines() -> None:
    call = streaming(Timers(total=None, idle=5.0))
    call.on_data(reply(b"t:a\n", framing="close"), 1.0)
    text_of(call, 1.0)
    for again in (20.0, 40.0):
        call.on_data(b":\n", again)
        assert call.next_action(again) == LOOK
        call.on_data(b"t:b\n", again)
        assert text_of(call, again) == "b"
        action = call.next_action(again)
        assert isinstance(action, Receive) and action.deadline == again + 5.0
    call.on_data(b":\n", 60.0)
    call.on_data(b":\n", 60.0)
    assert isinstance(ended(call), LLMTimeoutError)


def test_after_a_finish_reason_the_stream_is_whole_however_late() -> None:
    call = streaming()
    call.on_data(reply(b"t:a\nfin\n", framing="close"), 1.0)
    assert isinstance(call.next_action(1.0), Deliver)
    call.on_delivered(LATE)
    assert call.next_action(LATE) == LOOK
    call.on_data(b"t:b\n", LATE)
    assert text_of(call, LATE) == "b"
    assert ended(call) is None
    assert call.response is not None and call.response.content == "ab"


def test_a_stream_cut_meanwhile_is_cut() -> None:
    call = streaming()
    call.on_data(reply(b"t:a\n", framing="close"), 1.0)
    assert isinstance(call.next_action(1.0), Deliver)
    call.on_delivered(LATE)
    call.on_eof(LATE)
    assert isinstance(ended(call), LLMStreamError)


# -- before the reply -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reused", [True, False])
def test_nothing_is_sent_after_the_deadline_of_the_call(reused: bool) -> None:
    call = Call(operation(stream=False), ROUTE, Timers(total=10.0, connect=3.0), now=0.0, retry=ONCE)
    assert isinstance(call.next_action(0.0), Acquire)
    call.on_acquired(reused, 10.0 if reused else 0.0)
    if not reused:
        assert isinstance(call.next_action(0.0), Connect)
        call.on_connected(10.0)
    assert isinstance(call.next_action(10.0), Release)
    error = ended(call, 10.0)
    where = "while waiting for a free connection" if reused else "while connecting"
    assert isinstance(error, LLMTimeoutError)
    assert error.message == f"timed out after 10 s {where}"
    assert not error.may_be_billed


def test_a_connection_that_came_late_is_used_while_the_call_has_time() -> None:
    call = Call(operation(), ROUTE, Timers(total=100.0, connect=3.0), now=0.0, stream=True)
    call.on_acquired(False, 0.0)
    call.on_connected(50.0)
    assert isinstance(call.next_action(50.0), Send)


def test_the_rest_of_a_request_is_not_sent_after_the_deadline_of_the_call() -> None:
    call = Call(operation(body=b"x" * (2 * SEND_PIECE)), ROUTE, Timers(total=10.0), now=0.0, retry=ONCE)
    call.on_acquired(True, 0.0)
    call.on_sent(1.0)
    assert isinstance(call.next_action(1.0), Send)
    call.on_sent(10.0)
    error = ended(call, 10.0)
    assert isinstance(error, LLMTimeoutError)
    assert error.message == "timed out after 10 s while sending the request"
    assert not error.may_be_billed


def test_an_early_answer_that_is_there_at_the_deadline_is_read() -> None:
    call = Call(operation(body=b"x" * (2 * SEND_PIECE)), ROUTE, Timers(total=10.0), now=0.0, retry=ONCE)
    call.on_acquired(True, 0.0)
    call.on_error("reset", 10.0, "the server answered and took no more of the request")
    action = call.next_action(10.0)
    assert isinstance(action, Receive) and action.deadline == 10.0
    call.on_data(reply(b"{}", status=413), 10.0)
    error = ended(call, 10.0)
    assert error is not None and error.status_code == 413
