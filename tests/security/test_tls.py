"""TLS through the public clients: who is refused and what the refusal says, whose certificates count, what it costs.

The layer below, with its records, tickets and contexts, is tested in tests/transports/test_tls.py.
"""

from __future__ import annotations

import datetime as dt
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic, process_time

import pytest
import trustme

from cloud.llm import LLMBadRequestError, LLMConnectionError, LLMError, LLMServerError, Timeouts
from tests import wire_server as w
from tests.callers import BUSY, HELLO, MODES, SYNC, Mode, chat, drain
from tests.transports.test_tls import self_signed
from transports import tls, trust

CA, OTHER_CA = trustme.CA(), trustme.CA()
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def ca_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    CA.cert_pem.write_to_path(str(path))
    return str(path)


def context(*names: str, ca: trustme.CA = CA, **options: object) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(*(names or ("127.0.0.1", "localhost")), **options).configure_cert(made)
    return made


def old() -> ssl.SSLContext:
    made = context()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        made.minimum_version = ssl.TLSVersion.TLSv1
        made.maximum_version = ssl.TLSVersion.TLSv1_1
    made.set_ciphers("ALL:@SECLEVEL=0")
    return made


def served(make: Callable[[], ssl.SSLContext]) -> w.Script:
    return (w.tls(make()), *w.forever(w.read(), w.answer()))


DAY = dt.timedelta(days=1)
REFUSED: dict[str, tuple[Callable[[], w.Script], str, str]] = {
    "wrong name": (lambda: served(lambda: context("elsewhere.example")), "localhost", "check the host in base_url"),
    "wrong address": (lambda: served(lambda: context("elsewhere.example")), "127.0.0.1", "use the server's name in base_url"),
    "expired": (lambda: served(lambda: context(not_after=dt.datetime.now(dt.UTC) - DAY)), "localhost", "the server must renew it"),
    "self-signed": (lambda: served(self_signed), "localhost", "pass its CA certificate with ca_file="),
    "unknown CA": (lambda: served(lambda: context(ca=OTHER_CA)), "localhost", "pass its CA certificate with ca_file="),
    "TLS 1.1": (lambda: served(old), "localhost", "does not support TLS 1.2 or later; the server must be updated"),
    "plain HTTP": (lambda: (w.read_some(), w.send(w.reply(status="400 Bad")), w.fin()), "localhost", "use http://"),
    "closes": (lambda: (w.read_some(), w.close()), "localhost", "during the TLS handshake"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_refused_with_words_that_say_what_to_do(mode: Mode, what: str, ca_file: str) -> None:
    script, host, words = REFUSED[what]
    with w.WireServer(script()) as server:
        client = mode.client(
            f"https://{host}:{server.port}/v1", ca_file=ca_file, max_retries=0, api_key="sk-never-sent"
        )

        async def main() -> None:
            with pytest.raises(LLMConnectionError) as caught:
                await chat(client)
            assert words in str(caught.value), str(caught.value)
            assert f"https://{host}:{server.port}" in str(caught.value)

        mode.run(main)
        for peer in server.accepted:
            assert not peer.requests, "a request went to a server that was refused"
            assert b"sk-never-sent" not in peer.buffer


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_https_to_a_plain_port_and_http_to_a_tls_port(mode: Mode, ca_file: str) -> None:
    with w.WireServer((w.tls(context()),)) as server:
        client = mode.client(f"http://127.0.0.1:{server.port}/v1", max_retries=0)

        async def main() -> None:
            with pytest.raises(LLMError) as caught:
                await chat(client)
            assert str(caught.value).isprintable()

        mode.run(main)


@pytest.mark.parametrize("calls_before", [0, 1], ids=["new", "kept"])
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_refusal_ends_an_upload_that_the_server_reads_no_more_of(mode: Mode, calls_before: int, ca_file: str) -> None:
    """Session tickets come unasked and are no answer; a 413 is one, through TLS too."""
    before = [step for _ in range(calls_before) for step in (w.read(), w.answer())]
    script = (
        w.tls(context()),
        *before,
        w.read_some(50_000),
        w.pause(0.3),
        w.send(w.refusal("413 Too Large")),
        w.deaf(),
    )
    with w.WireServer(script) as server:
        client = mode.client(f"https://localhost:{server.port}/v1", ca_file=ca_file, max_retries=0)
        large = [{"role": "user", "content": "x" * 16_000_000}]

        async def main() -> None:
            for _ in range(calls_before):
                assert (await chat(client)).content == "fine"
            began = monotonic()
            with pytest.raises(LLMBadRequestError) as caught:
                await chat(client, large, timeout=30.0)
            assert caught.value.status_code == 413
            assert monotonic() - began < 10.0

        mode.run(main)


@pytest.mark.parametrize("how", ["ca_file", "ssl_context", "SSL_CERT_FILE"])
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_good_chain(mode: Mode, how: str, ca_file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, object] = {}
    if how == "ca_file":
        options["ca_file"] = Path(ca_file)
    elif how == "ssl_context":
        own = ssl.create_default_context()
        CA.configure_trust(own)
        options["ssl_context"] = own
    else:
        monkeypatch.setattr(tls, "_MADE", {})
        monkeypatch.setenv("SSL_CERT_FILE", ca_file)
    with w.WireServer(served(context)) as server:
        client = mode.client(f"https://localhost:{server.port}/v1", **options)

        async def main() -> None:
            for _ in range(2):
                assert (await chat(client)).content == "fine"
            assert await drain(client.chat_stream(HELLO)) == ["fine"]

        mode.run(main)
        assert server.tls_versions
        assert set(server.tls_versions) <= {"TLSv1.2", "TLSv1.3"}


def test_a_context_and_a_file_exclude_each_other(ca_file: str) -> None:
    with pytest.raises(LLMError, match="not both"):
        SYNC.client("https://h.example/v1", ca_file=ca_file, ssl_context=ssl.create_default_context())


@pytest.fixture
def bare_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without /etc/ssl: no path that a system keeps certificates at exists."""
    nowhere = tmp_path / "etc" / "ssl"
    known = ssl.get_default_verify_paths()._replace(
        openssl_cafile=str(nowhere / "cert.pem"), openssl_capath=str(nowhere / "certs")
    )
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: known)
    monkeypatch.setattr(trust, "_BUNDLES", (str(nowhere / "certs" / "ca-certificates.crt"),))
    for variable in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(tls, "_MADE", {})
    return nowhere


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_it_works_where_there_is_no_etc_ssl(
    mode: Mode, bare_machine: Path, monkeypatch: pytest.MonkeyPatch, ca_file: str
) -> None:
    with w.WireServer(served(context)) as server:
        url = f"https://localhost:{server.port}/v1"
        bundled, given = mode.client(url, max_retries=0), mode.client(url, ca_file=ca_file)

        async def main() -> None:
            # The bundle of certifi is found and does not know our CA.
            with pytest.raises(LLMConnectionError, match="unknown CA|not trusted here"):
                await chat(bundled)
            assert (await chat(given)).content == "fine"

        mode.run(main)


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_without_any_certificates_the_error_says_where_they_were_looked_for(
    mode: Mode, bare_machine: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import certifi

    monkeypatch.setattr(certifi, "where", lambda: str(tmp_path / "no-certifi.pem"))
    with w.WireServer(served(context)) as server:
        client = mode.client(f"https://localhost:{server.port}/v1", max_retries=3)

        async def main() -> None:
            with pytest.raises(LLMConnectionError) as caught:
                await chat(client)
            message = str(caught.value)
            for path in (bare_machine / "cert.pem", bare_machine / "certs", tmp_path / "no-certifi.pem"):
                assert str(path) in message
            assert "ca_file=" in message
            assert len(caught.value.attempts) == 1, "certificates do not appear by asking again"

        mode.run(main)


@pytest.mark.serial
def test_seven_threads_do_not_wait_for_the_eighth(ca_file: str) -> None:
    """One is at a peer that never answers its handshake; each of the others keeps its own deadline."""
    with socket.create_server(("127.0.0.1", 0)) as silent, w.WireServer(served(context)) as server:
        transport, took, failed = SYNC.transport(), [], []
        stuck = threading.Barrier(8)

        def wait() -> None:
            url = f"https://127.0.0.1:{silent.getsockname()[1]}/v1"
            client = SYNC.client(
                url, ca_file=ca_file, transport=transport, timeout=Timeouts(total=6.0, connect=3.0), max_retries=0
            )
            stuck.wait()
            began = monotonic()
            with pytest.raises(LLMError):
                client.chat(HELLO)
            failed.append(monotonic() - began)

        def call() -> None:
            url = f"https://127.0.0.1:{server.port}/v1"
            client = SYNC.client(url, ca_file=ca_file, transport=transport, timeout=2.5, max_retries=0)
            stuck.wait()
            threading.Event().wait(0.05)
            began = monotonic()
            assert client.chat(HELLO).content == "fine"
            took.append(monotonic() - began)

        threads = [threading.Thread(target=wait), *(threading.Thread(target=call) for _ in range(7))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(took) == 7
        assert max(took) < 2.5
        assert 3.0 <= failed[0] < 3.0 + BUSY
        transport.close_idle()


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_profile_is_made_once(mode: Mode, ca_file: str, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """Certificates are read for the first connection of a profile and never again, whatever the client."""
    made: list[tuple[str | None, float]] = []
    new_context = trust.new_context

    def counted(ca: str | None) -> ssl.SSLContext:
        began = process_time()
        result = new_context(ca)
        made.append((ca, process_time() - began))
        return result

    monkeypatch.setattr(tls, "_MADE", {})
    monkeypatch.setattr(tls, "new_context", counted)
    with w.WireServer(served(context)) as server:

        async def main() -> None:
            for _ in range(4):
                client = mode.client(f"https://localhost:{server.port}/v1", ca_file=ca_file)
                assert (await chat(client)).content == "fine"

        mode.run(main)
        assert len(server.accepted) >= 4, "the connections were not new ones"
    assert [ca for ca, _ in made] == [ca_file]
    began = process_time()
    for _ in range(1000):
        tls.tls_context(tls.TLSProfile(ca_file))
    each = (process_time() - began) / 1000
    with capsys.disabled():
        print(
            f"\n[{mode}] context: first {made[0][1] * 1e3:.2f} ms CPU, each further connection {each * 1e6:.2f} us CPU"
        )
    assert each < 0.001


# -- behind nginx ------------------------------------------------------------------------------------------------------

NGINX = shutil.which("nginx") or (
    shutil.which("nginx", path="/usr/sbin:/usr/local/sbin") if sys.platform != "win32" else None
)
CONFIGURATION = """
daemon off; pid {home}/nginx.pid; error_log {home}/error.log; worker_processes 1; {user}
events {{ worker_connections 64; }}
http {{
  access_log off; client_body_temp_path {home}/body; proxy_temp_path {home}/proxy; fastcgi_temp_path {home}/fastcgi;
  uwsgi_temp_path {home}/uwsgi; scgi_temp_path {home}/scgi;
  server {{
    listen 127.0.0.1:{port} ssl; server_name localhost; ssl_certificate {home}/chain.pem; ssl_certificate_key {home}/key.pem;
    location / {{ proxy_pass http://127.0.0.1:{upstream}; proxy_buffering off; proxy_http_version 1.1; proxy_connect_timeout 1s; }}
  }}
}}
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()[1]


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[Callable[[int], int]]:
    """`nginx(upstream)` -> the port of an nginx that speaks TLS and passes requests on to `upstream`."""
    if NGINX is None:
        pytest.skip("nginx is not installed (apt install nginx-light)")
    running: list[subprocess.Popen[bytes]] = []

    def start(upstream: int) -> int:
        certificate = CA.issue_cert("localhost", "127.0.0.1")
        (tmp_path / "chain.pem").write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
        certificate.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
        port = free_port()
        user = "user root;" if hasattr(os, "geteuid") and os.geteuid() == 0 else ""
        (tmp_path / "nginx.conf").write_text(
            CONFIGURATION.format(home=tmp_path, port=port, upstream=upstream, user=user)
        )
        command = [NGINX, "-c", str(tmp_path / "nginx.conf"), "-p", str(tmp_path), "-e", str(tmp_path / "start.log")]
        running.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        until = monotonic() + 10.0
        while monotonic() < until:
            try:
                socket.create_connection(("127.0.0.1", port), 1.0).close()
            except OSError:
                assert running[-1].poll() is None, (tmp_path / "start.log").read_text()
                threading.Event().wait(0.02)
            else:
                return port
        raise AssertionError("nginx did not start")

    yield start
    for process in running:
        process.terminate()
        process.wait(10.0)


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_behind_nginx(mode: Mode, nginx: Callable[[int], int], ca_file: str) -> None:
    with w.WireServer(w.forever(w.read(), w.answer("through nginx"))) as server:
        client = mode.client(f"https://localhost:{nginx(server.port)}/v1", ca_file=ca_file)

        async def main() -> None:
            for _ in range(2):
                assert (await chat(client)).content == "through nginx"
            assert await drain(client.chat_stream(HELLO)) == ["through nginx"]

        mode.run(main)


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_nginx_without_its_upstream_is_tried_again_and_then_a_typed_error(
    mode: Mode, nginx: Callable[[int], int], ca_file: str
) -> None:
    client = mode.client(f"https://localhost:{nginx(free_port())}/v1", ca_file=ca_file, max_retries=2)

    async def main() -> None:
        with pytest.raises(LLMServerError) as caught:
            await chat(client)
        assert caught.value.status_code == 502
        assert [attempt.status for attempt in caught.value.attempts] == [502, 502, 502]
        assert "502 Bad Gateway" in str(caught.value)
        assert "<html>" not in str(caught.value)

    mode.run(main)


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_502_of_nginx_is_got_over_when_the_upstream_comes_back(
    mode: Mode, nginx: Callable[[int], int], ca_file: str
) -> None:
    with w.WireServer((w.read(), w.close())) as server:
        client = mode.client(f"https://localhost:{nginx(server.port)}/v1", ca_file=ca_file, max_retries=4)

        async def main() -> None:
            threading.Timer(0.2, server.heal).start()
            response = await chat(client)
            assert response.content == "fine"
            assert {attempt.status for attempt in response.attempts} <= {502, 200}

        mode.run(main)
        assert server.requests >= 2
