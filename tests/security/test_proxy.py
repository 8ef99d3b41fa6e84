"""Through a proxy that records every byte: what it may see, and what it may not."""

from __future__ import annotations

import base64
import socket
import ssl
import threading
import warnings
from typing import Self
from urllib.parse import quote

import pytest
import trustme

from cloud.llm import LLMBadRequestError, LLMConnectionError, LLMError
from tests import wire_server as w
from tests.callers import HELLO, MODES, SYNC, Mode, chat, drain

KEY = "sk-the-key-of-the-user"
USER, PASSWORD = "proxy-user", "p:ss wörd%"
PROXY_CREDENTIALS = base64.b64encode(f"{USER}:{PASSWORD}".encode())
NAME = "api.example"

CA = trustme.CA()
VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(scope="module")
def ca_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    CA.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture(scope="module")
def context() -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    CA.issue_cert("127.0.0.1", NAME).configure_cert(made)
    return made


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch


class RecordingProxy:
    """Answers CONNECT by joining the caller with `upstream`, whatever name was asked for, and forwards plain requests
    there. `heard` is what callers have sent, `told` what came back."""

    def __init__(self, upstream: int) -> None:
        self.upstream = upstream
        self.heard: list[bytearray] = []
        self.told = bytearray()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self._open: list[socket.socket] = []

    def url(self, credentials: bool = True) -> str:
        userinfo = f"{USER}:{quote(PASSWORD, safe='')}@" if credentials else ""
        return f"http://{userinfo}127.0.0.1:{self.port}"

    @property
    def first_lines(self) -> list[bytes]:
        return [bytes(heard).partition(b"\r\n")[0] for heard in self.heard]

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for sock in self._open:
            sock.close()

    def _accept(self) -> None:
        while True:
            try:
                caller, _ = self.listener.accept()
            except OSError:
                return
            self._open.append(caller)
            threading.Thread(target=self._serve, args=(caller,), daemon=True).start()

    def _serve(self, caller: socket.socket) -> None:
        heard = bytearray()
        self.heard.append(heard)
        while b"\r\n\r\n" not in heard:
            try:
                data = caller.recv(65536)
            except OSError:
                return
            if not data:
                return
            heard += data
        server = socket.create_connection(("127.0.0.1", self.upstream))
        self._open.append(server)
        if heard.startswith(b"CONNECT "):
            caller.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            server.sendall(bytes(heard))
        threading.Thread(target=self._pipe, args=(server, caller, self.told), daemon=True).start()
        self._pipe(caller, server, heard)

    @staticmethod
    def _pipe(source: socket.socket, sink: socket.socket, record: bytearray) -> None:
        try:
            while data := source.recv(65536):
                record += data
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_https_goes_through_a_tunnel_and_the_key_is_never_seen(
    mode: Mode, ca_file: str, context: ssl.SSLContext
) -> None:
    script = (w.tls(context), *w.forever(w.read(), w.answer("through the tunnel")))
    with w.WireServer(script) as server, RecordingProxy(server.port) as proxy:
        client = mode.client(f"https://{NAME}/v1", api_key=KEY, ca_file=ca_file, proxy=proxy.url())

        async def main() -> None:
            for _ in range(2):
                assert (await chat(client)).content == "through the tunnel"
            assert await drain(client.chat_stream(HELLO)) == ["through the tunnel"]

        mode.run(main)
        for heard in proxy.heard:
            clear, _, cipher = bytes(heard).partition(b"\r\n\r\n")
            assert clear.split(b"\r\n")[0] == f"CONNECT {NAME}:443 HTTP/1.1".encode()
            assert b"\r\nHost: api.example:443" in clear
            assert b"\r\nProxy-Authorization: Basic " + PROXY_CREDENTIALS in clear
            assert cipher.startswith(b"\x16\x03"), "the first byte through the tunnel is not of TLS"
        everything = b"".join(map(bytes, proxy.heard)) + bytes(proxy.told)
        for secret in (
            KEY.encode(),
            base64.b64encode(KEY.encode())[:-4],
            b"Authorization: Bearer",
            b"chat/completions",
        ):
            assert secret not in everything
        heads = [head for peer in server.accepted for head in peer.heads]
        assert len(heads) == 3 * len(mode.run(_nothing))
        for head in heads:
            assert f"Authorization: Bearer {KEY}".encode() in head
            assert b"proxy" not in head.lower(), "what is meant for the proxy reached the server"
            assert PROXY_CREDENTIALS not in head
            assert f"Host: {NAME}\r\n".encode() in head + b"\r\n"


async def _nothing() -> None:
    return None


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_plain_http_is_forwarded_with_the_proxys_credentials(mode: Mode) -> None:
    with w.WireServer(w.forever(w.read(), w.answer("forwarded"))) as server, RecordingProxy(server.port) as proxy:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            client = mode.client(f"http://{NAME}:8080/v1", api_key=KEY, proxy=proxy.url())

        async def main() -> None:
            assert (await chat(client)).content == "forwarded"

        mode.run(main)
        for head in [head for peer in server.accepted for head in peer.heads]:
            assert head.startswith(b"POST http://api.example:8080/v1/chat/completions HTTP/1.1\r\n")
            assert b"Host: api.example:8080\r\n" in head
            assert b"Proxy-Authorization: Basic " + PROXY_CREDENTIALS in head


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_without_a_proxy_no_server_sees_its_credentials(mode: Mode, clean_environment: pytest.MonkeyPatch) -> None:
    """NO_PROXY sends one of two hosts past the proxy: what was meant for the proxy does not go there."""
    with w.WireServer(w.forever(w.read(), w.answer())) as server, RecordingProxy(server.port) as proxy:
        clean_environment.setenv("HTTP_PROXY", proxy.url())
        clean_environment.setenv("NO_PROXY", "127.0.0.1")
        client = mode.client(server.url + "/v1", api_key=KEY)

        async def main() -> None:
            await chat(client)

        mode.run(main)
        assert not proxy.heard
        assert all(b"proxy" not in head.lower() for peer in server.accepted for head in peer.heads)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_this_machine_is_not_reached_through_the_environments_proxy(
    mode: Mode, host: str, clean_environment: pytest.MonkeyPatch
) -> None:
    with w.WireServer(w.forever(w.read(), w.answer())) as server, RecordingProxy(server.port) as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
            clean_environment.setenv(name, proxy.url())

        async def main(client: object) -> None:
            await chat(client)

        mode.run(lambda: main(mode.client(f"http://{host}:{server.port}/v1")))
        assert not proxy.heard
        asked = mode.client(f"http://{host}:{server.port}/v1", proxy=proxy.url())
        mode.run(lambda: main(asked))
        assert proxy.heard, "asked for in so many words, it is used for this machine too"


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_the_environments_proxy_is_used_unless_it_is_not_trusted(
    mode: Mode, clean_environment: pytest.MonkeyPatch, ca_file: str, context: ssl.SSLContext
) -> None:
    script = (w.tls(context), *w.forever(w.read(), w.answer()))
    with w.WireServer(script) as server, RecordingProxy(server.port) as proxy:
        clean_environment.setenv("https_proxy", proxy.url())
        through = mode.client(f"https://{NAME}/v1", ca_file=ca_file)
        past = mode.client(f"https://127.0.0.1:{server.port}/v1", ca_file=ca_file, trust_env=False)

        async def main() -> None:
            await chat(through)

        async def directly() -> None:
            await chat(past)

        mode.run(main)
        seen = len(proxy.heard)
        assert seen
        mode.run(directly)
        assert len(proxy.heard) == seen
        assert mode.client(f"https://{NAME}/v1", trust_env=False)._proxy is None


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_proxy_that_wants_credentials(mode: Mode) -> None:
    refusing = w.forever(w.read(), w.send(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"))
    with w.WireServer(refusing) as proxy:
        client = mode.client(f"https://{NAME}/v1", api_key=KEY, proxy=proxy.url, max_retries=0)

        async def main() -> None:
            with pytest.raises(LLMConnectionError, match=r"407.*put its user name and password into the proxy URL"):
                await chat(client)

        mode.run(main)
        for peer in proxy.accepted:
            for head in peer.heads:
                assert KEY.encode() not in head
                assert b"uthorization" not in head


@pytest.mark.parametrize(
    "url", ["socks5://127.0.0.1:1080", "socks5h://u:p@h:1", "socks4://h", "https://proxy.example:443"]
)
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_proxies_of_other_kinds_are_refused_when_given(mode: Mode, url: str) -> None:
    with pytest.raises(LLMBadRequestError, match="are not supported, only http://") as caught:
        mode.client(f"https://{NAME}/v1", proxy=url)
    assert "u:p" not in str(caught.value)


def test_proxies_of_other_kinds_are_one_warning_when_in_the_environment(clean_environment: pytest.MonkeyPatch) -> None:
    clean_environment.setenv("HTTPS_PROXY", "socks5://user:hunter2@one.example:1080")
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        for _ in range(5):
            client = SYNC.client(f"https://{NAME}/v1")
            assert client._proxy is None
    ours = [warning for warning in warned if "proxy" in str(warning.message)]
    assert len(ours) == 1
    assert "hunter2" not in str(ours[0].message)
    assert "HTTPS_PROXY" in str(ours[0].message)
    assert ours[0].filename == SYNC.client.__code__.co_filename, "the warning does not point at its user"


def test_netrc_is_never_read(clean_environment: pytest.MonkeyPatch, tmp_path) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login somebody password hunter2\n")
    clean_environment.setenv("HOME", str(tmp_path))
    clean_environment.setenv("NETRC", str(tmp_path / ".netrc"))
    with w.WireServer(w.forever(w.read(), w.answer())) as server:
        client = SYNC.client(server.url, "ollama", model="m")
        with pytest.raises(LLMError):  # an answer of another wire; what was sent is what counts
            client.chat(HELLO)
        assert b"authorization" not in server.accepted[0].heads[0].lower()
