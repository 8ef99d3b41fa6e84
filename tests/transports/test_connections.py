"""One connection at a time: what the pump never sees on a good day."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Iterator
from time import monotonic

import pytest

from sans_io.errors import LocalProtocolError
from tests.callers import BUSY
from tests.transports.modes import ASYNCIO, MODES, SYNC, TRIO, Ask, Mode
from tests.transports.test_tls import CA, Peer
from transports import sockets
from transports.faults import Fault
from transports.resolver import ThreadJob
from transports.testing import LoopbackServer, ScriptedReply
from transports.tls import TLSConnection, TLSLayer, TLSProfile, tls_context, tls_fault


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


async def connected(mode: Mode, listener: socket.socket) -> tuple:
    """A connection of this mode and the socket at its other end."""
    runtime = mode.transport()._runtime
    runtime = runtime if mode is SYNC else runtime()
    address = ((socket.AF_INET, listener.getsockname()),)
    connection = await later(runtime.dial(address, monotonic() + 5.0, runtime.wakeup()))
    return connection, listener.accept()[0]


async def later(result):
    return await result if hasattr(result, "__await__") else result


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_write_nobody_reads_ends_at_its_deadline(mode: Mode, listener: socket.socket) -> None:
    async def main() -> None:
        connection, peer = await connected(mode, listener)
        with peer:
            began = monotonic()
            with pytest.raises(Fault, match="timeout"):
                while True:
                    await later(connection.send(memoryview(b"x" * 500_000), began + 0.3))
            assert 0.3 <= monotonic() - began < 0.3 + BUSY
            connection.abort()

    mode.run(main)


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_write_in_many_parts_arrives_whole(mode: Mode, listener: socket.socket) -> None:
    data = bytes(range(256)) * 20_000

    async def main() -> None:
        connection, peer = await connected(mode, listener)
        got = bytearray()

        def read() -> None:
            while len(got) < len(data):
                got.extend(peer.recv(10_000))

        reader = threading.Thread(target=read)
        reader.start()
        await later(connection.send(memoryview(data), monotonic() + 5.0))
        reader.join(5.0)
        assert got == data
        connection.abort()
        peer.close()

    mode.run(main)


@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize("end", ["forget", "abort"])
def test_a_closed_connection_fails_in_order(mode: Mode, end: str, listener: socket.socket) -> None:
    async def main() -> None:
        connection, peer = await connected(mode, listener)
        with peer:
            getattr(connection, end)()
            for use in (
                lambda: connection.receive(10, monotonic() + 1.0),
                lambda: connection.send(memoryview(b"x"), monotonic() + 1.0),
            ):
                with pytest.raises(Fault, match="reset"):
                    await later(use())
            assert connection.unread()
            assert connection.answered()
            connection.shutdown()
            connection.abort()

    mode.run(main)


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_reset_is_a_fault_for_reader_and_writer(mode: Mode, listener: socket.socket) -> None:
    async def main() -> None:
        connection, peer = await connected(mode, listener)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        peer.close()
        with pytest.raises(Fault, match="reset"):
            await later(connection.receive(10, monotonic() + 1.0))
        with pytest.raises(Fault, match="reset"):
            await later(connection.send(memoryview(b"x"), monotonic() + 1.0))
        connection.abort()

    mode.run(main)


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_bytes_that_came_before_a_failed_write_can_be_read(mode: Mode, listener: socket.socket) -> None:
    """A server that refuses early, then closes on what we still send: its answer must not be lost."""

    async def main() -> None:
        connection, peer = await connected(mode, listener)
        peer.sendall(b"HTTP/1.1 413 Too Large\r\n\r\n")
        peer.close()
        with pytest.raises(Fault, match="reset"):
            while True:
                await later(connection.send(memoryview(b"x" * 65536), monotonic() + 1.0))
        assert (await later(connection.receive(65536, monotonic() + 1.0))).startswith(b"HTTP/1.1 413")
        connection.abort()

    mode.run(main)


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_an_answer_ends_a_write_that_the_peer_takes_no_more_of(mode: Mode, listener: socket.socket) -> None:
    """A server that refuses early and reads no more, on a connection that was read from before: nothing is lost."""

    async def main() -> None:
        connection, peer = await connected(mode, listener)
        peer.sendall(b"before")
        assert await later(connection.receive(65536, monotonic() + 1.0)) == b"before"
        threading.Timer(0.1, peer.sendall, [b"HTTP/1.1 413 Too Large\r\n\r\n"]).start()
        began = monotonic()
        with pytest.raises(Fault, match="the server answered"):
            await later(connection.send(memoryview(bytes(32_000_000)), began + 30.0))
        assert monotonic() - began < 5.0
        assert (await later(connection.receive(65536, monotonic() + 1.0))).startswith(b"HTTP/1.1 413")
        connection.abort()
        peer.close()

    mode.run(main)


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_deadlines_move_both_ways_and_none_fires_early(mode: Mode, listener: socket.socket) -> None:
    async def main() -> None:
        connection, peer = await connected(mode, listener)
        with peer:
            for wait in (0.15, 0.05, 0.2, 0.01):
                began = monotonic()
                peer.send(b"x")
                assert await later(connection.receive(10, began + 60.0)) == b"x"
                with pytest.raises(Fault, match="timeout"):
                    await later(connection.receive(10, began + wait))
                assert wait <= monotonic() - began < wait + BUSY
            with pytest.raises(Fault, match="timeout"):
                await later(connection.receive(10, monotonic() - 1.0))
            connection.abort()

    mode.run(main)


def test_a_pooled_connection_keeps_no_timer_and_no_bytes(listener: socket.socket) -> None:
    async def main() -> None:
        connection, peer = await connected(ASYNCIO, listener)
        with peer:
            peer.send(b"secret")
            assert await connection.receive(10, monotonic() + 60.0) == b"secret"
            assert not connection.unread()
            assert connection._timer is None
            assert connection._future is None
            # Bytes that nobody asked for stay in the kernel.
            peer.send(b"unasked")
            await asyncio.sleep(0.05)
            assert not connection._reading
            assert connection.unread()
            assert await connection.receive(10, monotonic() + 1.0) == b"unasked"
            connection.abort()

    asyncio.run(main())


def test_a_connection_closed_after_its_loop(listener: socket.socket) -> None:
    kept = []

    async def main() -> None:
        connection, peer = await connected(ASYNCIO, listener)
        kept.append(connection)
        peer.close()
        assert await connection.receive(10, monotonic() + 1.0) == b""

    asyncio.run(main())
    kept[0].abort()

    async def other_loop() -> None:
        with pytest.raises(Fault, match="another event loop"):
            await kept[0].receive(1, monotonic() + 1.0)

    asyncio.run(other_loop())


@pytest.mark.parametrize("failing", ["socket", "setsockopt"])
def test_a_socket_that_cannot_be_made(failing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    if failing == "socket":
        monkeypatch.setattr(sockets, "QuietSocket", refuse)
    else:
        monkeypatch.setattr(sockets.QuietSocket, "setsockopt", refuse)
    with pytest.raises(Fault, match="Cannot allocate memory"):
        sockets.new_socket((socket.AF_INET, ("127.0.0.1", 1)))


def test_a_job_that_is_done_is_done() -> None:
    job = ThreadJob.of(3)
    assert job.done
    assert job.value() == 3
    job.unwatch(threading.Event())


# -- TLS over a connection --------------------------------------------------------------------------------------------


class Below:
    """A connection under TLS, by hand."""

    def __init__(self) -> None:
        self.incoming: list[bytes] = []
        self.sent = b""
        self.ends: list[str] = []

    async def receive(self, max_bytes: int, deadline: float) -> bytes:
        return self.incoming.pop(0)

    async def send(self, data: memoryview, deadline: float) -> None:
        self.sent += bytes(data)

    def take(self) -> bytes | None:
        return self.incoming.pop(0) if self.incoming else None

    def unread(self) -> bool:
        return bool(self.incoming)

    answered = unread

    def abort(self) -> None:
        self.ends.append("abort")

    def shutdown(self) -> None:
        self.ends.append("shutdown")

    def forget(self) -> None:
        self.ends.append("forget")


@pytest.fixture
def tls(tmp_path) -> tuple[TLSConnection, Below, Peer]:
    path = tmp_path / "ca.pem"
    CA.cert_pem.write_to_path(str(path))
    layer, peer, below = TLSLayer(tls_context(TLSProfile(str(path))), "localhost"), Peer(), Below()
    peer.shake_hands(layer)
    return TLSConnection(below, layer), below, peer


def test_the_ends_of_a_tls_connection_are_those_of_the_connection_below(tls: tuple[TLSConnection, Below, Peer]) -> None:
    connection, below, _ = tls
    connection.shutdown()
    connection.forget()
    connection.abort()
    assert below.ends == ["shutdown", "forget", "abort"]


def test_a_broken_record_is_a_fault_after_what_came_before_it(tls: tuple[TLSConnection, Below, Peer]) -> None:
    connection, below, peer = tls
    good, bad = peer.say(b"good"), bytearray(peer.say(b"bad"))
    bad[-1] ^= 1
    below.incoming = [good + bytes(bad)]

    async def main() -> None:
        assert await connection.receive(65536, 1.0) == b"good"
        assert connection.unread()
        for _ in range(2):
            with pytest.raises(Fault, match="TLS"):
                await connection.receive(65536, 1.0)

    asyncio.run(main())


def test_a_broken_record_while_idle_is_unread(tls: tuple[TLSConnection, Below, Peer]) -> None:
    connection, below, peer = tls
    bad = bytearray(peer.say(b"bad"))
    bad[-1] ^= 1
    below.incoming = [bytes(bad)]
    assert connection.answered()
    assert connection.unread()


def test_a_peer_that_talks_without_saying_anything_is_unread(tls: tuple[TLSConnection, Below, Peer]) -> None:
    connection, below, peer = tls
    record = peer.say(b"x")
    below.incoming = [bytes([byte]) for byte in record[:20]]
    assert connection.answered()


def test_the_end_while_idle_is_unread(tls: tuple[TLSConnection, Below, Peer]) -> None:
    connection, below, _ = tls
    below.incoming = [b""]
    assert connection.answered()
    assert asyncio.run(connection.receive(65536, 1.0)) == b""


def test_writing_after_the_goodbye_is_a_fault(tls: tuple[TLSConnection, Below, Peer]) -> None:
    connection, _, _ = tls
    connection._layer._object = Unwritable()
    with pytest.raises(Fault, match="PROTOCOL_IS_SHUTDOWN"):
        asyncio.run(connection.send(memoryview(b"x"), 1.0))


class Unwritable:
    def write(self, data: memoryview) -> None:
        raise ssl.SSLZeroReturnError(6, "[SSL: PROTOCOL_IS_SHUTDOWN] protocol is shutdown")


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (ssl.SSLEOFError(8, "EOF"), "tls_failed", "closed the connection"),
        (ssl.SSLError(1, "something"), "tls_failed", "TLS with host failed"),
        (ConnectionResetError(104, "reset by peer"), "reset", "did not complete"),
        (ValueError("server_hostname cannot be an empty string"), "reset", "did not complete"),
    ],
)
def test_what_went_wrong_in_a_handshake_has_words(error: Exception, kind: str, words: str) -> None:
    fault = tls_fault(error, "host")
    assert fault.kind == kind
    assert words in fault.detail


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_peer_that_hangs_up_in_the_handshake(mode: Mode, listener: socket.socket) -> None:
    def hang_up() -> None:
        for _ in range(1):
            client, _ = listener.accept()
            client.recv(10)
            client.shutdown(socket.SHUT_WR)
            client.recv(65536)
            client.close()

    thread = threading.Thread(target=hang_up)
    thread.start()

    async def main() -> None:
        transport = mode.transport()
        call = await Ask(transport, f"https://127.0.0.1:{listener.getsockname()[1]}").end()
        assert call.error is not None
        assert "TLS" in str(call.error)

    mode.run(main)
    thread.join()


@pytest.mark.parametrize("mode", [ASYNCIO, TRIO], ids=str)
def test_tls_is_laid_over_own_connections_only(mode: Mode) -> None:
    async def main() -> None:
        runtime = mode.transport()._runtime()
        with pytest.raises(TypeError):
            await runtime.secure(object(), None, "name", 1.0)

    mode.run(main)


def test_steps_out_of_order_are_our_own_mistake() -> None:
    from sans_io.calls.actions import Connect, StartTLS
    from tests.transports.test_our_own_mistakes import Asks
    from tests.transports.test_pool_runner import seated

    transport = SYNC.transport()
    with LoopbackServer() as server:
        server.server.script(ScriptedReply(text="x"))
        pump = transport.start(Asks(Connect((StartTLS("x"),), monotonic() + 1.0)))
        pump._ticket = seated(transport._runtime.pool_runner)
        with pytest.raises(LocalProtocolError, match="before Tcp"):
            pump.advance()
        pump = transport.start(Asks(Connect((), monotonic() + 1.0)))
        pump._ticket = seated(transport._runtime.pool_runner)
        with pytest.raises(LocalProtocolError, match="without steps"):
            pump.advance()
