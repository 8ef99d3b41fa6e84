"""The rarer turns of a call: ends that hand out what was held back, refusals that break off, answers out of turn."""

from __future__ import annotations

import pytest

from sans_io.calls.actions import Acquire, Connect, Deliver, Receive, Release, Send
from sans_io.calls.call import Call
from sans_io.calls.failures import FaultKind
from sans_io.chat.events import UsageReported
from sans_io.errors import LLMServerError, LLMStreamError, LocalProtocolError
from sans_io.policy.deadline import Timers
from sans_io.policy.retry import RetryPolicy
from tests.call.kit import ROUTE, operation, reply


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
