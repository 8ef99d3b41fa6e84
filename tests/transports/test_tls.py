"""TLS in every mode: whom we trust, what a refusal says, and that no layer hides bytes."""

from __future__ import annotations

import datetime as dt
import socket
import ssl
import threading
import warnings
from pathlib import Path
from time import monotonic
from typing import Self

import pytest
import trustme
from cryptography import x509

from sans_io.errors import LLMConnectionError, LLMTimeoutError
from sans_io.http.urls import Origin
from sans_io.policy.deadline import Timers
from sans_io.policy.pool import Route
from tests.callers import BUSY
from tests.transports.modes import MODES, SYNC, Ask, Mode, answer
from transports import tls, trust
from transports.faults import Fault
from transports.testing import FakeLLMServer, LoopbackServer, ScriptedReply
from transports.tls import TLSLayer, TLSProfile, tls_context, tls_ready

CA = trustme.CA()
OTHER_CA = trustme.CA()


@pytest.fixture(scope="module")
def ca_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    CA.cert_pem.write_to_path(str(path))
    return str(path)


def server_context(*names: str, ca: trustme.CA = CA, **options) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(*(names or ("127.0.0.1", "localhost")), **options).configure_cert(context)
    return context


def self_signed() -> ssl.SSLContext:
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with trustme.Blob(pem).tempfile() as path:
        context.load_cert_chain(path)
    return context


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_good_chain_and_reuse(mode: Mode, ca_file: str) -> None:
    with LoopbackServer(ssl_context=server_context()) as server:
        transport = mode.transport()

        async def main() -> None:
            for number in range(3):
                text = await answer(transport, server.url, f"{number}", profile=TLSProfile(ca_file), stream=number == 1)
                assert text == f"You said: {number}"
            transport.close_idle()

        mode.run(main)
        assert server.accepted == 1


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_callers_own_context(mode: Mode) -> None:
    context = ssl.create_default_context()
    CA.configure_trust(context)
    profile = TLSProfile.of(context)
    assert profile == TLSProfile.of(context)
    with LoopbackServer(ssl_context=server_context()) as server:
        transport = mode.transport()

        async def main() -> None:
            assert await answer(transport, server.url, profile=profile) == "You said: hello"
            transport.close_idle()

        mode.run(main)


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_large_both_ways(mode: Mode, ca_file: str) -> None:
    text = "x" * 2_000_000
    with LoopbackServer(ssl_context=server_context()) as server:
        transport = mode.transport()

        async def main() -> None:
            assert await answer(transport, server.url, text, profile=TLSProfile(ca_file)) == f"You said: {text}"
            transport.close_idle()

        mode.run(main)


REFUSALS = {
    "wrong host": (lambda: server_context("elsewhere.example"), "127.0.0.1", "for another address"),
    "wrong name": (lambda: server_context("elsewhere.example"), "localhost", "for another host"),
    "expired": (
        lambda: server_context(not_after=dt.datetime.now(dt.UTC) - dt.timedelta(days=1)),
        "127.0.0.1",
        "has expired",
    ),
    "unknown CA": (lambda: server_context(ca=OTHER_CA), "127.0.0.1", "ca_file="),
    "self-signed": (self_signed, "localhost", "self-signed; if you trust it, pass its CA certificate with ca_file="),
}


@pytest.mark.parametrize("what", REFUSALS)
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_refused_with_words_that_help(mode: Mode, what: str, ca_file: str) -> None:
    make, host, words = REFUSALS[what]
    with LoopbackServer(ssl_context=make()) as server:
        transport = mode.transport()

        async def main() -> None:
            ask = Ask(transport, f"https://{host}:{server.port}", profile=TLSProfile(ca_file), retries=2)
            call = await ask.end()
            assert isinstance(call.error, LLMConnectionError)
            assert words in str(call.error)
            assert isinstance(call.error.__cause__, ssl.SSLCertVerificationError)
            assert len(call.attempts) == 1, "a certificate does not get better by asking again"
            assert transport.pool_stats().connecting == 0

        mode.run(main)
        assert not server.requests


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_old_tls_is_refused(mode: Mode, ca_file: str) -> None:
    context = server_context()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.maximum_version = ssl.TLSVersion.TLSv1_1
        context.minimum_version = ssl.TLSVersion.TLSv1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with LoopbackServer(ssl_context=context) as server:
        transport = mode.transport()

        async def main() -> None:
            call = await Ask(transport, server.url, profile=TLSProfile(ca_file)).end()
            assert isinstance(call.error, LLMConnectionError)
            assert "1.2" in str(call.error)

        mode.run(main)


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_plain_server_behind_https(mode: Mode, ca_file: str) -> None:
    with LoopbackServer() as server:
        transport = mode.transport()

        async def main() -> None:
            url = server.url.replace("http://", "https://")
            call = await Ask(transport, url, profile=TLSProfile(ca_file)).end()
            assert isinstance(call.error, LLMConnectionError)
            assert "http://" in str(call.error)

        mode.run(main)


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_silent_peer_holds_up_nobody_else(mode: Mode, ca_file: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, LoopbackServer(ssl_context=server_context()) as server:
        transport = mode.transport()
        profile = TLSProfile(ca_file)

        async def stuck() -> None:
            began = monotonic()
            url = f"https://127.0.0.1:{silent.getsockname()[1]}"
            call = await Ask(transport, url, profile=profile, timers=Timers(total=9.0, connect=2.0)).end()
            assert isinstance(call.error, (LLMTimeoutError, LLMConnectionError))
            assert 2.0 <= monotonic() - began < 2.0 + BUSY

        async def fine() -> None:
            began = monotonic()
            assert await answer(transport, server.url, profile=profile) == "You said: hello"
            assert monotonic() - began < 2.0

        async def main() -> None:
            await mode.together(stuck, *[fine] * 7)
            transport.close_idle()

        mode.run(main)


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_cancel_during_the_handshake(mode: Mode, ca_file: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        transport = mode.transport()

        async def main() -> None:
            ask = Ask(transport, f"https://127.0.0.1:{silent.getsockname()[1]}", profile=TLSProfile(ca_file))
            timer = threading.Timer(0.1, ask.pump.cancel)
            timer.start()
            began = monotonic()
            call = await ask.end()
            timer.join()
            assert call.error is not None
            assert call.error.code == "cancelled"
            assert monotonic() - began < 0.1 + 0.1 + BUSY

        mode.run(main)


STRANGER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"


@pytest.mark.parametrize("where", ["same segment", "next record", "while idle"])
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_surplus_is_seen_through_tls(mode: Mode, where: str, ca_file: str) -> None:
    with LoopbackServer(FakeLLMServer("anthropic"), ssl_context=server_context()) as server:
        transport, profile = mode.transport(), TLSProfile(ca_file)
        if where != "while idle":
            delay = None if where == "same segment" else 0.02
            server.server.script(ScriptedReply(text="mine", surplus=STRANGER, surplus_delay=delay))

        async def main() -> None:
            assert await answer(transport, server.url, profile=profile) in ("mine", "You said: hello")
            if where == "while idle":
                server.push(STRANGER)
            server.wait_until(lambda: False, 0.06)
            assert await answer(transport, server.url, "two", profile=profile) == "You said: two"
            transport.close_idle()

        mode.run(main)
        assert server.accepted == 2


# -- the layer itself, without a network ------------------------------------------------------------------------------


class Peer:
    """A TLS server in memory."""

    def __init__(self) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = server_context().wrap_bio(self.incoming, self.outgoing, server_side=True)

    def shake_hands(self, layer: TLSLayer) -> None:
        shaken = False
        while not (layer.handshake() and shaken):
            self.incoming.write(layer.outgoing())
            try:
                self.tls.do_handshake()
                shaken = True
            except ssl.SSLWantReadError:
                pass
            layer.feed(self.outgoing.read())
        self.incoming.write(layer.outgoing())

    def say(self, text: bytes) -> bytes:
        self.tls.write(text)
        return self.outgoing.read()


class CutPeer:
    """A TLS server on a socket whose ciphertext is cut by hand."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.peer = Peer()

    def accept(self) -> None:
        self.sock, _ = self.listener.accept()
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            try:
                self.peer.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self.sock.sendall(self.peer.outgoing.read())
                self.peer.incoming.write(self.sock.recv(65536))
        # With TLS 1.3 this is where session tickets go out.
        self.sock.sendall(self.peer.outgoing.read())

    def __enter__(self) -> Self:
        self.thread = threading.Thread(target=self.accept)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.thread.join()
        self.sock.close()
        self.listener.close()


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_tickets_are_no_answer_and_parts_of_records_are_unread(mode: Mode, ca_file: str) -> None:
    profile = TLSProfile(ca_file)
    tls_context(profile)

    async def main() -> None:
        transport = mode.transport()
        with CutPeer() as cut:
            runtime = transport._runtime
            runtime = runtime if mode is SYNC else runtime()
            addresses = ((socket.AF_INET, cut.listener.getsockname()),)
            connection = await now_or_later(runtime.dial(addresses, monotonic() + 5.0, runtime.wakeup()))
            route = Route(Origin("https", "localhost", 443), None, profile)
            connection = await now_or_later(runtime.secure(connection, route, "localhost", monotonic() + 5.0))
            try:
                cut.thread.join()
                await mode.sleep(0.02)
                assert not connection.answered(), "session tickets were taken for an answer"
                assert not connection.unread(), "session tickets were taken for surplus"
                record = cut.peer.say(b"answer")
                for size in (1, 4, 5, 6, len(record) - 1):
                    cut.sock.sendall(record[:size])
                    await mode.sleep(0.02)
                    assert not connection.answered()
                    assert connection.unread(), f"{size} bytes of a record were not seen"
                    cut.sock.sendall(record[size:])
                    await mode.sleep(0.02)
                    assert connection.answered()
                    assert connection.unread()
                    assert await now_or_later(connection.receive(65536, monotonic() + 1.0)) == b"answer"
                    assert not connection.answered()
                    record = cut.peer.say(b"answer")
                # A whole record in the same read as a part of the next.
                cut.sock.sendall(record + cut.peer.say(b"more")[:7])
                await mode.sleep(0.02)
                assert await now_or_later(connection.receive(65536, monotonic() + 1.0)) == b"answer"
                assert connection.unread()
                cut.sock.shutdown(socket.SHUT_WR)
                await mode.sleep(0.02)
                assert connection.unread()
            finally:
                connection.abort()

    mode.run(main)


async def now_or_later(result):
    return await result if hasattr(result, "__await__") else result


@pytest.fixture
def connected(ca_file: str) -> tuple[TLSLayer, Peer]:
    layer, peer = TLSLayer(tls_context(TLSProfile(ca_file)), "localhost"), Peer()
    peer.shake_hands(layer)
    assert layer.version() == "TLSv1.3"
    return layer, peer


def test_every_part_of_a_record_counts_as_unread(connected: tuple[TLSLayer, Peer]) -> None:
    layer, peer = connected
    for text in (b"", b"first"):
        record = peer.say(text + b"x")
        for cut in range(1, len(record)):
            layer.feed(record[:cut])
            assert layer.read() is None
            assert layer.unread(), f"{cut} bytes of a record were not seen"
            layer.feed(record[cut:])
            assert layer.read() == text + b"x"
            assert not layer.unread()
            record = peer.say(text + b"x")
        layer.feed(record)
        layer.read()


def test_all_plaintext_of_one_read_comes_at_once(connected: tuple[TLSLayer, Peer]) -> None:
    layer, peer = connected
    layer.feed(b"".join(peer.say(b"%d" % number) for number in range(5)))
    assert layer.unread()
    assert layer.read() == b"01234"
    assert layer.read() is None
    assert not layer.unread()


@pytest.mark.parametrize("goodbye", [True, False])
def test_the_end_comes_after_the_last_bytes(connected: tuple[TLSLayer, Peer], goodbye: bool) -> None:
    layer, peer = connected
    last = peer.say(b"last")
    if goodbye:
        with pytest.raises(ssl.SSLWantReadError):
            peer.tls.unwrap()
        last += peer.outgoing.read()
    layer.feed(last)
    layer.feed(b"")
    assert layer.read() == b"last"
    assert layer.read() == b""
    assert layer.read() == b""


def test_a_broken_record_is_an_error(connected: tuple[TLSLayer, Peer]) -> None:
    layer, peer = connected
    record = bytearray(peer.say(b"hello"))
    record[-1] ^= 1
    layer.feed(bytes(record))
    with pytest.raises(ssl.SSLError):
        layer.read()


# -- contexts ---------------------------------------------------------------------------------------------------------


def test_a_profile_has_one_context(ca_file: str) -> None:
    first = tls_context(TLSProfile(ca_file))
    assert tls_context(TLSProfile(ca_file)) is first
    assert first.verify_mode == ssl.CERT_REQUIRED
    assert first.check_hostname
    assert first.minimum_version == ssl.TLSVersion.TLSv1_2


class Waiter:
    def __init__(self) -> None:
        self.event = threading.Event()
        self.wake = self.event.set


def test_the_default_context_is_made_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    made_in: list[int] = []
    monkeypatch.setattr(tls, "_MADE", {})
    monkeypatch.setattr(tls, "new_context", lambda ca_file: made_in.append(threading.get_ident()))
    wakeup = Waiter()
    job = tls_ready(None, wakeup)
    assert wakeup.event.wait(2.0)
    assert job.value()
    job.unwatch(wakeup)
    assert len(made_in) == 1
    assert made_in != [threading.get_ident()]


def test_no_certificates_anywhere(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    """The error names what was looked at and what to do."""
    monkeypatch.setattr(trust, "_trust_paths", lambda: iter([tmp_path / "a.pem", tmp_path]))
    with pytest.raises(Fault) as caught:
        trust.new_context(None)
    assert str(tmp_path / "a.pem") in caught.value.detail
    assert "ca_file=" in caught.value.detail


def test_the_environment_comes_first_and_the_bundled_file_last(monkeypatch: pytest.MonkeyPatch, ca_file: str) -> None:
    import certifi

    monkeypatch.setenv("SSL_CERT_FILE", ca_file)
    paths = [str(path) for path in trust._trust_paths()]
    assert paths[0] == ca_file
    assert paths[-1] == certifi.where()
    context = trust.new_context(None)
    assert context.cert_store_stats()["x509_ca"] == 1


def test_without_system_certificates_the_bundled_ones_serve(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    import certifi

    monkeypatch.setattr(trust, "_trust_paths", lambda: iter([tmp_path / "none", Path(certifi.where())]))
    assert trust.new_context(None).cert_store_stats()["x509_ca"] > 50


@pytest.mark.parametrize("content", [None, b"", b"not a certificate"])
def test_a_ca_file_without_certificates(tmp_path, content: bytes | None) -> None:
    path = tmp_path / "bad.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(Fault) as caught:
        tls_context(TLSProfile(str(path)))
    assert caught.value.kind == "tls_verify"
    assert "bad.pem" in caught.value.detail


def test_a_context_that_is_gone() -> None:
    profile = TLSProfile.of(ssl.create_default_context())
    with pytest.raises(Fault, match="no longer exists"):
        tls_context(profile)


def test_contexts_kept_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls, "_MADE", {})
    monkeypatch.setattr(tls, "new_context", lambda ca_file: object())
    for number in range(tls.MAX_CONTEXTS + 10):
        tls_context(TLSProfile(str(number)))
    assert len(tls._MADE) == tls.MAX_CONTEXTS


def test_the_blocking_transport_needs_its_own_connections() -> None:
    with pytest.raises(TypeError):
        SYNC.transport()._runtime.secure(object(), None, "x", 0.0).send(None)
