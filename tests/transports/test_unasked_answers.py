"""Bytes that come on a new connection before anything was written to it are nobody's answer, whatever they say.

Between the dial and the request there is nothing to wait for, so a test waits there: until the bytes can be read.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from time import monotonic, sleep
from typing import Any

import anyio
import pytest
import trustme

from cloud.llm import LLMBadRequestError, LLMConnectionError, LLMError
from tests import wire_server as w
from tests.callers import HELLO, MODES, Mode, chat, drain
from transports import anyio_async, httpcore_sync, trio_async

each_mode = pytest.mark.parametrize("mode", MODES, ids=str)
each_layer = pytest.mark.parametrize("scheme", ["http", "https"])
each_form = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
CA = trustme.CA()
Until = Callable[[Any], bool]


@pytest.fixture(scope="module")
def ca_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    CA.cert_pem.write_to_path(str(path))
    return str(path)


def context() -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    CA.issue_cert("127.0.0.1").configure_cert(made)
    return made


def layers(scheme: str) -> w.Script:
    return (w.tls(context()),) if scheme == "https" else ()


def wait_after_dialling(monkeypatch: pytest.MonkeyPatch, scheme: str, until: Until, longest: float = 5.0) -> None:
    """Every new connection is handed over when it is ready and `until(connection)`, or after so many seconds."""
    step = "secure" if scheme == "https" else "dial"
    blocking = getattr(httpcore_sync.BlockingRuntime, step)

    async def slow(*arguments: Any) -> Any:
        connection, end = await blocking(*arguments), monotonic() + longest
        while not until(connection) and monotonic() < end:
            sleep(0.002)
        return connection

    monkeypatch.setattr(httpcore_sync.BlockingRuntime, step, slow)
    for runtime in (anyio_async.AsyncioRuntime, trio_async.TrioRuntime):
        awaited = getattr(runtime, step)

        async def slow_too(*arguments: Any, awaited: Any = awaited) -> Any:
            connection, end = await awaited(*arguments), monotonic() + longest
            while not until(connection) and monotonic() < end:
                await anyio.sleep(0.002)
            return connection

        monkeypatch.setattr(runtime, step, slow_too)


def client(mode: Mode, scheme: str, server: w.WireServer, ca_file: str, **options: Any) -> Any:
    if scheme == "https":
        options["ca_file"] = ca_file
    return mode.client(f"{scheme}://127.0.0.1:{server.port}/v1", **{"timeout": 5.0, "max_retries": 0, **options})


def outcomes(mode: Mode, client: Any, stream: bool) -> list[Any]:
    async def main() -> Any:
        try:
            return "".join(await drain(client.chat_stream(HELLO))) if stream else (await chat(client)).content
        except LLMError as error:
            return error

    try:
        return mode.run(main)
    finally:
        client._transport.close_idle()


UNASKED = {
    "a whole reply": w.send(w.reply("nobody's")),
    "a stream": w.send(w.streamed("nobody's")),
    "a refusal": w.send(w.refusal("429 Slow", "nobody's", "Retry-After: 60")),
    "an informational response": w.send(b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    "one byte": w.send(b"H"),
    "another protocol": w.send(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "its end": w.fin(),
}


@each_mode
@each_layer
@each_form
@pytest.mark.parametrize("what", UNASKED)
def test_what_comes_before_the_question_is_no_answer(
    mode: Mode, scheme: str, stream: bool, what: str, ca_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_after_dialling(monkeypatch, scheme, lambda connection: connection.answered())
    with w.WireServer((*layers(scheme), UNASKED[what])) as server:
        asked = client(mode, scheme, server, ca_file)
        for error in outcomes(mode, asked, stream):
            assert type(error) is LLMConnectionError, error
            assert error.code == "reset"
            assert "before the request" in error.message
            assert not error.may_be_billed
        assert server.closed_by_client(), "such a connection is destroyed"
        assert server.requests == 0, "nothing was written to it"
        stats = asked._transport.pool_stats() if not mode.is_async else None
        assert stats is None or (stats.open, stats.leased, stats.connecting) == (0, 0, 0)


@each_mode
@each_layer
@each_form
def test_another_connection_is_asked(
    mode: Mode, scheme: str, stream: bool, ca_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request was seen by nobody, so it is sent again."""
    wait_after_dialling(monkeypatch, scheme, lambda connection: connection.answered(), longest=1.0)
    with w.WireServer((*layers(scheme), w.send(w.reply("nobody's")), lambda peer: peer.server.heal())) as server:
        server.healthy = layers(scheme) + w.forever(w.read(), w.answer())
        told = outcomes(mode, client(mode, scheme, server, ca_file, max_retries=2), stream)
        assert set(told) == {"fine"}


@each_mode
@each_form
def test_session_tickets_are_no_answer(mode: Mode, stream: bool, ca_file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They come unasked after the handshake of TLS 1.3."""
    began = monotonic()
    wait_after_dialling(monkeypatch, "https", lambda connection: monotonic() - began > 0.3 or connection.answered())
    with w.WireServer((*layers("https"), *w.forever(w.read(), w.answer()))) as server:
        assert set(outcomes(mode, client(mode, "https", server, ca_file), stream)) == {"fine"}
        assert set(server.tls_versions) == {"TLSv1.3"}
        assert all(len(peer.requests) == 1 for peer in server.accepted)


@each_mode
@each_layer
def test_a_refusal_of_what_is_still_being_sent_counts(mode: Mode, scheme: str, ca_file: str) -> None:
    script = (*layers(scheme), w.read_some(1000), w.pause(0.2), w.send(w.refusal("413 Too Large")), w.deaf())
    with w.WireServer(script, receive_buffer=4096) as server:
        asked = client(mode, scheme, server, ca_file)

        async def main() -> LLMError:
            with pytest.raises(LLMBadRequestError) as caught:
                await chat(asked, [{"role": "user", "content": "x" * 8_000_000}])
            return caught.value

        assert {error.status_code for error in mode.run(main)} == {413}


def test_the_error_says_what_was_said_and_what_to_look_at(monkeypatch: pytest.MonkeyPatch) -> None:
    mode = MODES[0]
    wait_after_dialling(monkeypatch, "http", lambda connection: connection.answered())
    with w.WireServer((w.send(b"SSH-2.0-Open\x1b[31m\r\n"),)) as server:
        [error] = outcomes(mode, client(mode, "http", server, ""), False)
    assert "data came before the request ('SSH-2.0-Open\\\\x1b[31m'); is base_url" in error.message
