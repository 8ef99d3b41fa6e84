"""https through a proxy's tunnel, on real sockets."""

from __future__ import annotations

import socket
import threading

import pytest

from sans_io.errors import LLMConnectionError
from sans_io.http.proxies import parse_proxy
from tests.transports.modes import MODES, Ask, Mode, answer
from transports.testing import (
    LoopbackServer,
)

URL = "http://scripted.example"
BODY = (
    b'{"id":"m","type":"message","role":"assistant","model":"claude-test","content":[{"type":"text","text":"hi"}],'
    b'"stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":1}}'
)
OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(BODY), BODY)


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
        (b"", "without answering"),
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
