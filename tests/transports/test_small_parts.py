"""The scripted transports, Hands, the pool settings, the proactor's road, tunnels, and what is rare."""

from __future__ import annotations

import asyncio
import socket
import threading
from time import monotonic

import pytest
import trio
import trio.testing

from sans_io.calls.call import Call
from sans_io.errors import LLMConnectionError, LLMStreamError, LLMTimeoutError, LocalProtocolError
from sans_io.http.proxies import parse_proxy
from sans_io.http.urls import Origin
from sans_io.policy.deadline import Timers
from sans_io.policy.pool import PoolStats, Route, Ticket
from tests.callers import BUSY
from tests.transports.modes import ASYNCIO, MODES, SYNC, TRIO, Ask, Mode, answer
from transports.faults import Fault
from transports.interface import Hands
from transports.pools import PoolSettings, summed
from transports.testing import (
    AsyncScriptedTransport,
    FakeClock,
    FakeLLMServer,
    LoopbackServer,
    Piece,
    ScriptedReply,
    ScriptedTransport,
)
from transports.testing.conformance.bench import run_blocking
from transports.testing.servers.scripted import ScriptedWire

URL = "http://scripted.example"
BODY = (
    b'{"id":"m","type":"message","role":"assistant","model":"claude-test","content":[{"type":"text","text":"hi"}],'
    b'"stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":1}}'
)
OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(BODY), BODY)


# -- scripted transports ----------------------------------------------------------------------------------------------


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
    wire = ScriptedWire(transport.now, _peer(transport))
    wire.send(memoryview(b"POST / HTTP/1.1\r\nx-api-key: sk-secret\r\n\r\n"), 1.0)
    assert "sk-secret" not in repr(transport.requests)
    assert transport.requests[0].header("x-api-key") == "sk-secret"


def _peer(transport: ScriptedTransport):
    from transports.testing.servers.scripted import _ScriptPeer

    return _ScriptPeer(transport, 0)


def test_a_scripted_wire_behaves_like_one() -> None:
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
    with pytest.raises(ValueError, match="for ever"):
        clock.advance_to(float("inf"))


# -- pool settings and Hands ------------------------------------------------------------------------------------------


def test_statistics_add_up() -> None:
    one = PoolStats(3, 1, 2, 1, 4, 5, 6, {"stale": 1, "closed": 1})
    assert summed([one, one]) == PoolStats(6, 2, 4, 2, 8, 10, 12, {"stale": 2, "closed": 2})
    assert summed([]) == PoolStats(0, 0, 0, 0, 0, 0, 0, {})


def test_every_pool_has_a_jitter_of_its_own() -> None:
    pools = [PoolSettings(3).new_pool() for _ in range(2)]
    assert pools[0].max_connections == 3
    assert pools[0]._dice.bits() != pools[1]._dice.bits()


class Wire:
    def __init__(self) -> None:
        self.ends: list[str] = []

    def unread(self) -> bool:
        return False

    answered = unread

    def abort(self) -> None:
        self.ends.append("abort")

    def shutdown(self) -> None:
        self.ends.append("shutdown")

    def forget(self) -> None:
        self.ends.append("forget")


ROUTE = Route(Origin("http", "h", 80))


def seated(hands: Hands) -> Ticket:
    ticket: Ticket = Ticket(ROUTE)
    hands.seat(ticket, 0.0)
    return ticket


def test_a_ticket_of_a_forgotten_pool_changes_nothing() -> None:
    """After a fork a pump of the parent may still give back what it thinks it has."""
    hands: Hands = Hands(PoolSettings().new_pool, threading.Event)
    ticket, wire = seated(hands), Wire()
    hands.connected(ticket, wire, 0.0)
    hands.forget()
    assert wire.ends == ["forget"]
    before, late = hands.stats(), Wire()
    hands.connected(ticket, late, 0.0)
    assert late.ends == ["abort"]
    hands.stale(ticket, 0.0)
    hands.release(ticket, True, 0.0)
    hands.cancel(ticket, 0.0)
    assert hands.stats() == before


def test_another_process_is_noticed_without_the_hook(monkeypatch: pytest.MonkeyPatch) -> None:
    hands: Hands = Hands(PoolSettings().new_pool, threading.Event)
    ticket, wire = seated(hands), Wire()
    hands.connected(ticket, wire, 0.0)
    hands.release(ticket, True, 0.0)
    hands._pid -= 1
    assert seated(hands).conn is None
    assert wire.ends == ["forget"]


def test_what_finalisers_leave_is_done_at_the_next_operation() -> None:
    hands: Hands = Hands(PoolSettings(1).new_pool, lambda: Bell(rung))
    rung: list[int] = []
    first, wire = seated(hands), Wire()
    hands.connected(first, wire, 0.0)
    second = seated(hands)
    assert not second.granted
    hands.abandon(first)
    hands.abandon(first)
    assert wire.ends == []
    hands.sweep(0.0)
    assert wire.ends == ["abort"]
    assert second.granted
    assert rung == [1]
    hands.sweep(0.0)


class Bell:
    def __init__(self, rung: list[int]) -> None:
        self.ring = lambda: rung.append(1)


def test_closing_from_elsewhere_is_done_at_the_next_operation() -> None:
    hands: Hands = Hands(PoolSettings().new_pool, threading.Event)
    ticket, wire = seated(hands), Wire()
    hands.connected(ticket, wire, 0.0)
    hands.release(ticket, True, 0.0)
    hands.close_idle_later()
    assert wire.ends == []
    assert seated(hands).conn is None
    assert wire.ends == ["abort"]


def test_the_end_closes_what_is_leased_too() -> None:
    hands: Hands = Hands(PoolSettings().new_pool, threading.Event)
    wires = [Wire(), Wire()]
    tickets = [seated(hands) for _ in wires]
    for ticket, wire in zip(tickets, wires, strict=True):
        hands.connected(ticket, wire, 0.0)
    hands.release(tickets[0], True, 0.0)
    hands.close_all(0.0)
    assert [wire.ends for wire in wires] == [["abort"], ["abort"]]


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_idle_connections_of_other_loops_are_closed_at_their_next_operation(mode: Mode) -> None:
    with LoopbackServer() as server:
        transport = mode.transport()

        async def main() -> None:
            await answer(transport, server.url)
            if mode is ASYNCIO:
                other = threading.Thread(target=transport.close_idle)
                other.start()
                other.join()
                assert transport.pool_stats().idle == 1
                await answer(transport, server.url)
                assert server.accepted == 2
            transport.close_idle()
            assert transport.pool_stats().idle == 0

        mode.run(main)
    transport.close_idle()
    assert transport.pool_stats().open == 0


# -- trio's clock -----------------------------------------------------------------------------------------------------


def test_a_run_with_a_clock_of_its_own_has_its_own_seconds() -> None:
    with LoopbackServer() as server:
        server.server.script(ScriptedReply(text="late", head_delay=30.0))

        async def main() -> None:
            transport = TRIO.transport()
            call = await Ask(transport, server.url, timers=Timers(total=3600.0, first_token=3000.0)).end()
            assert isinstance(call.error, LLMTimeoutError)

        began = monotonic()
        trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0.1))
        assert monotonic() - began < 5.0


# -- loops without readiness callbacks --------------------------------------------------------------------------------


class Proactorish(asyncio.SelectorEventLoop):
    """As Windows' default loop: no readiness callbacks. anyio has a road of its own to them, which ends here."""

    def add_reader(self, fd, callback, *arguments):
        raise NotImplementedError

    def add_writer(self, fd, callback, *arguments):
        raise NotImplementedError


def test_a_loop_without_readiness_callbacks() -> None:
    with LoopbackServer() as server:
        transport = ASYNCIO.transport()

        async def main() -> None:
            assert await answer(transport, server.url, "x" * 3_000_000) == f"You said: {'x' * 3_000_000}"
            server.server.script(ScriptedReply(text="late", head_delay=2.0))
            ask = Ask(transport, server.url, timers=Timers(total=5.0, first_token=0.2))
            began = monotonic()
            call = await ask.end()
            assert isinstance(call.error, LLMTimeoutError)
            assert 0.2 <= monotonic() - began < 0.2 + BUSY
            transport.close_idle()

        with asyncio.Runner(loop_factory=Proactorish) as runner:
            runner.run(main())


# -- tunnels ----------------------------------------------------------------------------------------------------------


class ConnectProxy:
    """Answers one CONNECT with `reply`; with a `target`, joins the two sides afterwards."""

    def __init__(self, reply: bytes, target: tuple[str, int] | None = None) -> None:
        self.reply, self.target = reply, target
        self.seen = b""
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()
        self.url = f"http://user:hunter22@127.0.0.1:{self.listener.getsockname()[1]}"

    def _serve(self) -> None:
        try:
            client, _ = self.listener.accept()
        except OSError:
            return
        with client:
            while b"\r\n\r\n" not in self.seen:
                data = client.recv(65536)
                if not data:
                    return
                self.seen += data
            client.sendall(self.reply)
            if self.target is None:
                return
            with socket.create_connection(self.target) as server:
                back = threading.Thread(target=self._copy, args=(server, client), daemon=True)
                back.start()
                self._copy(client, server)
                back.join()

    @staticmethod
    def _copy(source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def __enter__(self):
        return self

    def __exit__(self, *_: object) -> None:
        self.listener.close()
        self.thread.join(5.0)


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_https_through_a_tunnel(mode: Mode, tmp_path) -> None:
    from tests.transports.test_tls import CA, server_context
    from transports.tls import TLSProfile

    ca_file = str(tmp_path / "ca.pem")
    CA.cert_pem.write_to_path(ca_file)
    with LoopbackServer(ssl_context=server_context()) as server:
        target = ("127.0.0.1", server.port)
        with ConnectProxy(b"HTTP/1.1 200 Connection established\r\n\r\n", target) as proxy:
            transport = mode.transport()

            async def main() -> None:
                options = {"proxy": parse_proxy(proxy.url), "profile": TLSProfile(ca_file)}
                for _ in range(2):
                    assert await answer(transport, server.url, **options) == "You said: hello"
                transport.close_idle()

            mode.run(main)
            assert proxy.seen.startswith(b"CONNECT 127.0.0.1:")
            assert b"proxy-authorization: basic" in proxy.seen.lower()
        assert server.accepted == 1
        assert server.requests[0].header("proxy-authorization") is None


@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "407"),
        (b"HTTP/1.1 200 OK\r\n\r\nextra", "before it was used"),
        (b"", "without an answer"),
        (b"garbage\r\n\r\n", "proxy"),
    ],
)
def test_a_proxy_that_refuses(mode: Mode, reply: bytes, words: str) -> None:
    with ConnectProxy(reply) as proxy:
        transport = mode.transport()

        async def main() -> None:
            call = await Ask(transport, "https://far.example", proxy=parse_proxy(proxy.url)).end()
            assert isinstance(call.error, LLMConnectionError)
            assert words in str(call.error)
            assert "hunter22" not in str(call.error)
            assert transport.pool_stats().connecting == 0

        mode.run(main)


# -- our own mistakes -------------------------------------------------------------------------------------------------


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

        monkeypatch.setattr("transports.blocking_wire.SocketWire.receive", interrupt)
        with pytest.raises(KeyboardInterrupt):
            ask.pump.advance()
        assert (transport.pool_stats().open, transport.pool_stats().leased) == (0, 0)
        assert ask.pump.advance() is None
        assert isinstance(ask.call.error, LLMStreamError)
