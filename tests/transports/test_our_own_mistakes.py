"""A call out of turn, an `on_attempt` that raises, and an interrupt in the middle."""

from __future__ import annotations

import pytest

from sans_io.calls.call import Call
from sans_io.errors import LLMStreamError, LocalProtocolError
from tests.transports.modes import SYNC, Ask
from transports.testing import (
    LoopbackServer,
)

URL = "http://scripted.example"
BODY = (
    b'{"id":"m","type":"message","role":"assistant","model":"claude-test","content":[{"type":"text","text":"hi"}],'
    b'"stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":1}}'
)
OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(BODY), BODY)


class Asks:
    """A Call that wants one thing."""

    attempts = ()
    finished = False
    stream = False

    def __init__(self, action: object) -> None:
        self.action = action

    def next_action(self, now: float) -> object:
        return self.action

    def cancel(self, now: float) -> None:
        self.action = None

    def break_off(self) -> None:
        self.finished = True


def test_a_call_that_asks_out_of_turn_is_our_own_mistake() -> None:
    from sans_io.calls.actions import Authorize, Connect, Receive, Send

    transport = SYNC.transport()
    for action in (Receive(1, 1.0), Send(memoryview(b"x"), 1.0), Connect((), 1.0), Authorize(False, 1.0), object()):
        call: Call = Asks(action)  # type: ignore[assignment]
        with pytest.raises(LocalProtocolError):
            transport.start(call).advance()


def test_an_on_attempt_that_raises_leaves_nothing_behind() -> None:
    with LoopbackServer() as server:
        transport = SYNC.transport()
        ask = Ask(transport, server.url)

        def complain(attempt: object) -> None:
            raise ZeroDivisionError

        pump = transport.start(ask.call, on_attempt=complain)
        with pytest.raises(ZeroDivisionError):
            pump.advance()
        assert transport.pool_stats().leased == 0
        pump.close()
        transport.close_idle()


def test_interrupted_in_the_middle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in a blocking read: it comes out, the connection is gone, the seat is back."""
    with LoopbackServer() as server:
        transport = SYNC.transport()
        ask = Ask(transport, server.url)

        def interrupt(*_: object) -> bytes:
            raise KeyboardInterrupt

        monkeypatch.setattr("transports.blocking_connection.BlockingConnection.receive", interrupt)
        with pytest.raises(KeyboardInterrupt):
            ask.pump.advance()
        assert (transport.pool_stats().open, transport.pool_stats().leased) == (0, 0)
        assert ask.pump.advance() is None
        assert isinstance(ask.call.error, LLMStreamError)
