"""Every question a call asks has a deadline: its own timer's, or that of the whole call where this is earlier. And what
a user reads when one passes: which it was, in which phase, and how long it was.
"""

from __future__ import annotations

import pytest

from sans_io.calls.actions import Acquire, Authorize, Connect, Receive, Release, Send, Wait
from sans_io.calls.call import TRANSITIONS, Call
from sans_io.errors import LLMAuthError, LLMConnectionError, LLMTimeoutError
from sans_io.policy.deadline import NEVER, Timers
from sans_io.policy.retry import RetryPolicy
from tests.calls.kit import ROUTE, operation, reply
from tests.calls.test_call import finish, make, text_of, to_receive

NOW = 100.0
OWN = {"acquire": 3.0, "connect": 4.0, "send": 5.0, "receive": 6.0}
ONCE = RetryPolicy(max_retries=0)


def asked(step: str, timers: Timers, *, wanted: float) -> None:
    """Go to `step`, each answer half a second after the question, and compare the deadline."""
    call = Call(operation(), ROUTE, timers, now=NOW, stream=True)
    now = NOW
    for name, kind, answer in (
        ("acquire", Acquire, lambda at: call.on_acquired(False, at)),
        ("connect", Connect, lambda at: call.on_connected(at)),
        ("send", Send, lambda at: call.on_sent(at)),
        ("receive", Receive, None),
    ):
        action = call.next_action(now)
        assert isinstance(action, kind)
        if name == step:
            assert action.deadline == wanted
            return
        assert answer is not None
        now += 0.5
        answer(now)


@pytest.mark.parametrize(
    ("step", "begun"), [("acquire", 100.0), ("connect", 100.5), ("send", 101.0), ("receive", 101.5)]
)
def test_the_deadline_of_a_question(step: str, begun: float) -> None:
    own = {"pool": 3.0, "connect": 4.0, "write": 5.0, "first_token": 6.0}
    asked(step, Timers(total=None, **own), wanted=begun + OWN[step])
    asked(step, Timers(total=1.75, **own), wanted=101.75)
    asked(step, Timers(total=50.0, until_commit=1.75, **own), wanted=101.75)
    asked(step, Timers(total=1.75, until_commit=50.0, **own), wanted=101.75)
    asked(step, Timers(**dict.fromkeys(("total", "pool", "connect", "write", "first_token", "idle"))), wanted=NEVER)


def test_the_first_text_lifts_the_deadline_of_the_commit_and_not_the_call_s() -> None:
    for total, wanted in ((None, 21.0), (12.0, 12.0)):
        call = make(timers=Timers(total=total, until_commit=5.0, idle=20.0))
        to_receive(call)
        call.on_data(reply(b"t:Hi\n", framing="close"), 1.0)
        text_of(call, 1.0)
        action = call.next_action(1.0)
        assert isinstance(action, Receive)
        assert action.deadline == wanted


def test_before_the_first_text_the_deadline_of_the_commit_stands() -> None:
    call = make(timers=Timers(total=None, until_commit=5.0, idle=20.0, first_token=9.0))
    to_receive(call)
    call.on_data(reply(b"role\n", framing="close"), 1.0)
    action = call.next_action(1.0)
    assert isinstance(action, Receive)
    assert action.deadline == 5.0


def test_a_finish_reason_is_never_waited_on_longer_than_an_idle_stream() -> None:
    call = make(timers=Timers(total=None, idle=2.0))
    to_receive(call)
    call.on_data(reply(b"t:Hi\nfin\n", framing="close"), 1.0)
    text_of(call, 1.0)
    call.on_data(b"usage\n", 2.5)
    text_of(call, 2.5)
    action = call.next_action(2.5)
    assert isinstance(action, Receive)
    assert action.deadline == 3.0  # one time for all that may follow: what comes does not restart it


# ---- what is read when one passes ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "own_code", "outcome", "setting"),
    [
        ("acquire", "pool_timeout", "pool_timeout", "Timeouts(pool="),
        ("connect", "connect_timeout", "connect_timeout", "Timeouts(connect="),
        ("write", "write_timeout", "write_timeout", "Timeouts(write="),
        ("head", "first_token_timeout", "first_token", "Timeouts(first_token="),
        ("stream", "idle_timeout", "idle", "Timeouts(idle="),
    ],
)
@pytest.mark.parametrize("whole", [False, True], ids=["its own timer", "the call's"])
def test_a_timeout_names_its_timer_or_the_call_s_and_the_phase(
    step: str, own_code: str, outcome: str, setting: str, whole: bool
) -> None:
    own = {"pool": 3.0, "connect": 3.0, "write": 3.0, "first_token": 3.0, "idle": 3.0}
    call = make(timers=Timers(total=2.0 if whole else 50.0, **own), retry=ONCE)
    if step == "connect":
        call.on_acquired(False, 0.0)
    elif step == "write":
        call.on_acquired(True, 0.0)
    elif step == "head":
        to_receive(call)
    elif step == "stream":
        to_receive(call)
        call.on_data(reply(b"t:Hi\n", framing="close"), 0.0)
        text_of(call)
    cause = TimeoutError("theirs")
    at = 2.0 if whole else 3.0
    call.on_error("timeout", at, "", cause)
    if step == "write":  # an early answer is looked for first, as long as there is time
        action = call.next_action(at)
        assert isinstance(action, Release if whole else Receive)
        if isinstance(action, Receive):
            call.on_error("timeout", action.deadline)
            at = action.deadline
    finish(call, at)
    error = call.error
    assert error is not None
    assert error.phase == step
    if whole:
        assert type(error) is LLMTimeoutError
        assert error.code == "timeout"
        assert "timed out after 2 s" in error.message
    else:
        assert error.code == own_code
        assert setting in error.message
        assert "3 s" in error.message
    assert [attempt.error for attempt in call.attempts] == [type(error).__name__]
    assert [attempt.outcome for attempt in call.attempts] == ["deadline" if whole else outcome]


@pytest.mark.parametrize("kind", ["pool_closed", "local"])
def test_a_seat_that_cannot_be_given_says_why(kind: str) -> None:
    call = make(retry=ONCE)
    cause = OSError("theirs")
    call.on_error(kind, 0.0, "at exit", cause)  # type: ignore[arg-type]
    finish(call)
    assert isinstance(call.error, LLMConnectionError)
    assert call.error.code == kind
    assert call.error.message.endswith(": at exit")
    assert call.error.__cause__ is cause
    assert [attempt.outcome for attempt in call.attempts] == [kind]


def test_a_credential_that_cannot_be_had_ends_the_call_without_a_seat() -> None:
    call = Call(None, ROUTE, Timers(total=9.0), now=0.0)
    action = call.next_action(0.0)
    assert isinstance(action, Authorize)
    assert action.deadline == 9.0
    call.on_error("auth_callable", 1.0, "vault is sealed")
    assert call.next_action(1.0) is None
    assert isinstance(call.error, LLMAuthError)
    assert call.error.message == "the api_key callable failed: vault is sealed"


def test_a_sleep_that_the_call_does_not_outlive() -> None:
    call = make(timers=Timers(total=30.0))
    to_receive(call)
    call.on_data(reply(b"{}", status=500), 1.0)
    call.on_released(1.0)
    assert isinstance(call.next_action(1.0), Wait)
    call.on_error("timeout", 30.0)
    assert call.next_action(30.0) is None
    assert isinstance(call.error, LLMTimeoutError)
    assert call.error.phase == "backoff"


# ---- the ledger ----------------------------------------------------------------------------------------------------


def test_the_ledger_tells_each_attempt_from_its_beginning_to_its_decision() -> None:
    call = make(timers=Timers(total=100.0))
    to_receive(call, 1.0)
    call.on_data(reply(b"{}", status=503, headers=b"X-Request-Id: r-1\r\nRetry-After: 4\r\n"), 2.0)
    call.on_released(2.0)
    wait = call.next_action(2.0)
    assert isinstance(wait, Wait)
    call.on_waited(wait.until)
    to_receive(call, wait.until, reused=True)
    call.on_data(reply(b"t:Hi\ndone\n", headers=b"X-Request-Id: r-2\r\n"), 20.0)
    text_of(call, 20.0)
    finish(call, 20.0)
    first, second = call.attempts
    assert (first.number, second.number) == (1, 2)
    assert (first.started_at, first.ended_at, second.started_at, second.ended_at) == (0.0, 2.0, wait.until, 20.0)
    assert (first.connection, second.connection) == ("new", "reused")
    assert (first.status, second.status) == (503, 200)
    assert (first.error, second.error) == ("LLMServerError", None)
    assert (first.request_id, second.request_id) == ("r-1", "r-2")
    assert (first.reason, second.outcome) == ("first", "ok")
    assert (first.delay, first.delay_reason) == (wait.until - 2.0, "server")
    assert (second.delay, second.delay_reason) == (None, None)


@pytest.mark.parametrize(
    ("sent", "answer", "billed"),
    [(False, None, False), (True, None, True), (True, 200, True), (True, 300, False), (True, 500, False)],
)
def test_a_request_may_be_billed_once_it_is_out_unless_it_was_refused(
    sent: bool, answer: int | None, billed: bool
) -> None:
    call = make(retry=ONCE)
    call.on_acquired(False, 0.0)
    call.on_connected(0.0)
    if sent:
        call.on_sent(0.0)
        if answer is not None:
            call.on_data(reply(b"t:Hi\n", status=answer, framing="close"), 0.0)
            if answer == 200:
                text_of(call)
    else:
        call.on_error("reset", 1.0)
    if isinstance(call.next_action(1.0), Receive):  # a redirect is refused at its head
        call.on_eof(1.0)
    finish(call, 1.0)
    assert call.error is not None
    assert call.error.may_be_billed is billed


def test_the_drawing_of_the_states() -> None:
    """From each state the ones that may follow: a documented promise, since transports switch over it."""
    assert TRANSITIONS == {
        "AUTHORIZE": ("ACQUIRE", "DONE"),
        "ACQUIRE": ("CONNECT", "SEND", "RELEASE"),
        "CONNECT": ("SEND", "RELEASE"),
        "SEND": ("SEND", "RECEIVE", "RELEASE"),
        "RECEIVE": ("RECEIVE", "DELIVER", "DRAIN", "RELEASE"),
        "DELIVER": ("RECEIVE", "DELIVER", "DRAIN", "RELEASE"),
        "DRAIN": ("DRAIN", "RELEASE"),
        "RELEASE": ("WAIT", "ACQUIRE", "AUTHORIZE", "DONE"),
        "WAIT": ("ACQUIRE", "AUTHORIZE", "DONE"),
        "DONE": (),
    }


def test_a_dial_that_was_reset_is_not_taken_for_a_broken_answer() -> None:
    call = make()
    call.on_acquired(False, 0.0)
    call.on_error("reset", 0.5)
    assert call.next_action(0.5) == Release(False)
    call.on_released(0.5)
    assert [attempt.outcome for attempt in call.attempts] == ["connect_reset"]
