"""The scripted transports and the clock that only a test moves."""

from __future__ import annotations

from time import monotonic

import pytest

from sans_io.errors import LLMTimeoutError
from sans_io.policy.deadline import Timers
from tests.callers import BUSY
from tests.transports.modes import Ask, answer
from transports.faults import Fault
from transports.testing import (
    AsyncScriptedTransport,
    FakeClock,
    FakeLLMServer,
    Piece,
    ScriptedReply,
    ScriptedTransport,
)
from transports.testing.conformance.bench import run_blocking
from transports.testing.servers.scripted import ScriptedConnection

URL = "http://scripted.example"
BODY = (
    b'{"id":"m","type":"message","role":"assistant","model":"claude-test","content":[{"type":"text","text":"hi"}],'
    b'"stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":1}}'
)
OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(BODY), BODY)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_script_answers_in_order_on_its_own_time(asynchronous: bool) -> None:
    clock = FakeClock()
    made = AsyncScriptedTransport if asynchronous else ScriptedTransport
    transport = made([OK, [Piece(OK[:50]), Piece(OK[50:], 2.0)], Fault("reset"), OK], clock)

    async def main() -> None:
        for _ in range(2):
            assert await answer(transport, URL) == "hi"
        assert clock() == 1002.0
        assert await answer(transport, URL, retries=1) == "hi"
        transport.close_idle()

    run_blocking(main)
    assert transport.unused == 0
    assert len(transport.requests) == 4
    # A reused connection that broke without an answer is replaced.
    assert transport.dials == [("scripted.example", 80)] * 2
    assert transport.pool_stats().open == 0


def test_silence_takes_no_time_of_ours() -> None:
    transport = ScriptedTransport([[Piece(OK, 1000.0)]])

    async def main() -> None:
        call = await Ask(transport, URL, timers=Timers(total=120.0)).end()
        assert isinstance(call.error, LLMTimeoutError)

    began = monotonic()
    run_blocking(main)
    assert monotonic() - began < BUSY
    assert transport.now() == 1120.0


def test_dial_faults_are_met_at_the_dial() -> None:
    transport = ScriptedTransport([Fault("refused", "scripted"), OK])

    async def main() -> None:
        assert await answer(transport, URL, retries=2) == "hi"

    run_blocking(main)
    assert len(transport.dials) == 2


def test_a_server_in_memory_speaks_the_wire() -> None:
    transport = ScriptedTransport(FakeLLMServer("anthropic", reply=lambda ask: ScriptedReply(text="memory")))

    async def main() -> None:
        assert await answer(transport, URL, stream=True) == "memory"

    run_blocking(main)
    assert transport.requests[0].header("host") == "scripted.example"
    assert transport.unused == 0


def test_a_request_too_many_is_the_tests_mistake() -> None:
    transport = ScriptedTransport([])

    async def main() -> None:
        await answer(transport, URL)

    with pytest.raises(AssertionError, match="no answer left"):
        run_blocking(main)
    transport.add(OK)
    assert transport.unused == 1


def test_the_request_seen_shows_no_credential() -> None:
    transport = ScriptedTransport([OK])
    wire = ScriptedConnection(transport.now, _peer(transport))
    wire.send(memoryview(b"POST / HTTP/1.1\r\nx-api-key: sk-secret\r\n\r\n"), 1.0)
    assert "sk-secret" not in repr(transport.requests)
    assert transport.requests[0].header("x-api-key") == "sk-secret"


def _peer(transport: ScriptedTransport):
    from transports.testing.servers.scripted import _ScriptPeer

    return _ScriptPeer(transport, 0)


def test_a_scripted_connection_behaves_like_one() -> None:
    clock = FakeClock(0.0)
    transport = ScriptedTransport(
        [[Piece(b"abc"), Piece(b"d", 1.0), Piece(b"", 0.0, "fin")], [Piece(b"", 0.5, "rst")]], clock
    )
    wire = transport.connect((((0), ("h", 1)),))
    request = memoryview(b"GET / HTTP/1.1\r\n\r\n")
    assert not wire.unread()
    wire.send(request[:5], 9.0)
    wire.send(request[5:], 9.0)
    assert wire.unread()
    assert wire.receive(2, 9.0) == b"ab"
    assert wire.receive(2, 9.0) == b"c"
    with pytest.raises(Fault, match="timeout"):
        wire.receive(2, 0.5)
    assert clock() == 0.5
    assert wire.receive(2, 9.0) == b"d"
    assert wire.receive(2, 9.0) == wire.receive(2, 9.0) == b""
    wire.abort()
    for use in (lambda: wire.receive(1, 9.0), lambda: wire.send(request, 9.0)):
        with pytest.raises(Fault, match="closed"):
            use()
    broken = transport.connect((((0), ("h", 1)),))
    broken.send(request, 9.0)
    clock.advance(1.0)
    for use in (lambda: broken.receive(1, 9.0), lambda: broken.send(request, 9.0)):
        with pytest.raises(Fault, match="reset"):
            use()


def test_a_clock_only_goes_forward() -> None:
    clock = FakeClock(5.0)
    assert clock.advance(1.0) == 6.0
    assert clock.advance_to(3.0) == 6.0
    assert repr(clock).startswith("FakeClock(6.0")
    with pytest.raises(ValueError, match="forever"):
        clock.advance_to(float("inf"))
