"""The test server on a real socket: what was scripted is what arrives, in time, and nothing is left open."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator

import pytest
import trustme

from transports.testing import FakeLLMServer, LoopbackServer, ScriptedReply
from transports.testing.servers.loopback import serve

BODY = json.dumps({"model": "m", "messages": [{"role": "user", "content": "Hello there!"}]}).encode()
STREAM = json.dumps({"model": "m", "messages": [{"role": "user", "content": "Hi"}], "stream": True}).encode()


def request(body: bytes = BODY) -> bytes:
    return b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body


def read_until(sock: socket.socket, end: bytes) -> bytes:
    data = b""
    while not data.endswith(end):
        more = sock.recv(65536)
        if not more:
            break
        data += more
    return data


@pytest.fixture
def server() -> Iterator[LoopbackServer]:
    with LoopbackServer() as listening:
        yield listening


@pytest.fixture
def sock(server: LoopbackServer) -> Iterator[socket.socket]:
    with socket.create_connection((server.host, server.port), timeout=5.0) as connected:
        yield connected


def test_two_requests_on_one_connection(server: LoopbackServer, sock: socket.socket) -> None:
    for _ in range(2):
        sock.sendall(request())
        assert b"You said: Hello there!" in read_until(sock, b"}}")
    assert (server.accepted, server.open_connections, server.max_open) == (1, 1, 1)
    assert server.connections[0].requests == 2
    assert [each.connection for each in server.requests] == [0, 0]
    sock.close()
    assert server.wait_until(lambda: server.open_connections == 0)


def test_addresses(server: LoopbackServer) -> None:
    assert server.url == f"http://127.0.0.1:{server.port}"
    assert server.base_url("openai") == server.url + "/v1"
    assert server.base_url("anthropic") == server.base_url("ollama") == server.url
    with LoopbackServer(host="::1") as six:
        assert six.url == f"http://[::1]:{six.port}"


def test_a_stream_arrives_event_by_event_at_its_pace(server: LoopbackServer, sock: socket.socket) -> None:
    server.server.script(ScriptedReply(text=["a", "b"], first_delay=0.05, delay=0.05))
    sock.sendall(request(STREAM))
    started = time.monotonic()
    reads = []
    while not (reads and reads[-1].endswith(b"0\r\n\r\n")):
        reads.append(sock.recv(65536))
    assert len(reads) >= 6
    assert time.monotonic() - started >= 0.25


@pytest.mark.parametrize("how", ["fin", "rst"])
def test_a_cut_reply(server: LoopbackServer, sock: socket.socket, how: str) -> None:
    server.server.script(ScriptedReply(text="abc", cut_after=10, after_cut=how))  # type: ignore[arg-type]
    sock.sendall(request())
    head, _, body = read_until(sock, b'{"id":"cha').partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK")
    assert body == b'{"id":"cha'
    if how == "fin":
        assert sock.recv(1) == b""
    else:
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
    assert server.wait_until(lambda: server.open_connections == 0)


def test_silence(server: LoopbackServer, sock: socket.socket) -> None:
    server.server.script(ScriptedReply(text="abc", cut_after=10, after_cut="silence"))
    sock.sendall(request())
    read_until(sock, b'{"id":"cha')
    sock.settimeout(0.1)
    with pytest.raises(TimeoutError):
        sock.recv(1)
    assert server.open_connections == 1


def test_unasked_for_bytes_and_hanging_up(server: LoopbackServer, sock: socket.socket) -> None:
    assert server.wait_until(lambda: server.accepted == 1)
    server.push(b"HTTP/1.1 200 OK\r\n\r\n")
    assert sock.recv(100) == b"HTTP/1.1 200 OK\r\n\r\n"
    server.hang_up()
    assert sock.recv(1) == b""
    assert server.open_connections == 0
    with socket.create_connection((server.host, server.port), timeout=5.0) as other:
        assert server.wait_until(lambda: server.accepted == 2)
        server.hang_up(reset=True)
        with pytest.raises(ConnectionResetError):
            other.recv(1)


def test_a_client_that_does_not_read_gets_everything_later(server: LoopbackServer, sock: socket.socket) -> None:
    big = "x" * 8_000_000
    server.server.script(ScriptedReply(text=big))
    sock.sendall(request())
    time.sleep(0.05)
    with socket.create_connection((server.host, server.port), timeout=5.0) as other:  # nobody else waits for it
        other.sendall(request())
        read_until(other, b"}}")
    assert big.encode() in read_until(sock, b"}}")


def test_many_clients_at_once(server: LoopbackServer) -> None:
    server.server.script(*[ScriptedReply(text=["a"] * 3, delay=0.02) for _ in range(100)])
    socks = [socket.create_connection((server.host, server.port), timeout=10.0) for _ in range(100)]
    for each in socks:
        each.sendall(request(STREAM))
    for each in socks:
        assert b"[DONE]" in read_until(each, b"0\r\n\r\n")
        each.close()
    assert server.max_open == 100
    assert server.wait_until(lambda: server.open_connections == 0)


def test_https() -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    with LoopbackServer(ssl_context=context) as server:
        assert server.url.startswith("https://")
        with (
            socket.create_connection((server.host, server.port), timeout=5.0) as raw,
            trusting.wrap_socket(raw, server_hostname="127.0.0.1") as tls,
        ):
            for body in (BODY, STREAM):
                tls.sendall(request(body))
                read_until(tls, b"}}" if body is BODY else b"0\r\n\r\n")
            big = json.dumps({"model": "m", "messages": [{"role": "user", "content": "x" * 3_000_000}]}).encode()
            tls.sendall(request(big))
            assert len(read_until(tls, b"}}")) > 3_000_000
            server.push(b"surplus")
            assert tls.recv(100) == b"surplus"
            server.hang_up()
            assert tls.recv(1) == b""
        with (
            socket.create_connection((server.host, server.port), timeout=5.0) as raw,
            pytest.raises(ssl.SSLError),
            ssl.create_default_context().wrap_socket(raw, server_hostname="127.0.0.1"),
        ):
            pass
        assert server.wait_until(lambda: server.connections[1].tls_error is not None)
        with socket.create_connection((server.host, server.port), timeout=5.0) as raw:
            raw.sendall(request())
            with contextlib.suppress(ConnectionResetError):
                assert b"HTTP" not in raw.recv(100)  # an alert, or nothing
        assert server.wait_until(lambda: server.open_connections == 0)


def test_keys_are_in_no_repr() -> None:
    with LoopbackServer(FakeLLMServer(api_keys=["sk-canary"])) as server:
        with socket.create_connection((server.host, server.port), timeout=5.0) as sock:
            sock.sendall(request().replace(b"host: x", b"host: x\r\nauthorization: Bearer sk-canary"))
            assert read_until(sock, b"}}").startswith(b"HTTP/1.1 200")
        assert "sk-canary" not in repr(server.requests)
        assert "***" in repr(server.requests)


def test_the_port_is_free_afterwards_and_close_is_harmless_twice() -> None:
    server = LoopbackServer().start()
    port = server.port
    sock = socket.create_connection((server.host, port), timeout=5.0)
    assert server.wait_until(lambda: server.accepted == 1)
    server.close()
    server.close()
    assert sock.recv(1) == b""
    sock.close()
    with LoopbackServer(port=port):
        pass
    with pytest.raises(RuntimeError, match="not running"):
        server.push(b"")


def test_an_address_that_is_taken(server: LoopbackServer) -> None:
    with pytest.raises(OSError, match=r"[Aa]ddress"):
        LoopbackServer(port=server.port).start()


def test_a_broken_reply_function_is_reported_by_close() -> None:
    def reply(ask: object) -> ScriptedReply:
        raise ZeroDivisionError("a bug of the test's own")

    server = LoopbackServer(FakeLLMServer(reply=reply)).start()
    with socket.create_connection((server.host, server.port), timeout=5.0) as sock:
        sock.sendall(request())
        assert sock.recv(1) == b""
    with pytest.raises(ZeroDivisionError):
        server.close()


def test_wait_until_gives_up(server: LoopbackServer) -> None:
    assert not server.wait_until(lambda: False, timeout=0.01)


def test_serve_until_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[LoopbackServer] = []

    class Interrupted(threading.Event):
        """The event that `serve` waits for, as Ctrl-C would end it."""

        def wait(self, timeout: float | None = None) -> bool:
            if timeout is None and threading.current_thread() is threading.main_thread():
                raise KeyboardInterrupt
            return super().wait(timeout)

    def ready(server: LoopbackServer) -> None:
        seen.append(server)
        monkeypatch.setattr(threading, "Event", Interrupted)

    serve(port=0, on_ready=ready)
    monkeypatch.undo()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((seen[0].host, seen[0].port), timeout=5.0)
