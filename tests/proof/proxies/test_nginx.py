"""Our clients through nginx as companies put it before their servers: TLS, kept connections, buffering, its own errors."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from cloud.llm import LLMBadRequestError, LLMError, LLMServerError, LLMStreamError
from tests.callers import MODES, Mode, chat, drain, pull
from tests.proof.proxies.programs import free_port, nginx
from tests.transports.test_tls import CA
from transports.testing import LoopbackServer, ScriptedReply

WIRES = ("openai", "anthropic", "ollama")
MODEL = {"openai": "m", "anthropic": "m", "ollama": "llama3.2"}
PATH = {"openai": "/v1", "anthropic": "", "ollama": ""}


@pytest.fixture
def server() -> Iterator[LoopbackServer]:
    with LoopbackServer() as listening:
        yield listening


@pytest.fixture
def tls(tmp_path: Path) -> tuple[str, dict[str, Any]]:
    """nginx's half of a TLS connection, and the client's options."""
    leaf = CA.issue_cert("127.0.0.1")
    leaf.cert_chain_pems[0].write_to_path(str(tmp_path / "leaf.pem"))
    leaf.private_key_pem.write_to_path(str(tmp_path / "leaf.key"))
    CA.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    lines = f"listen 127.0.0.1:PORT ssl; ssl_certificate {tmp_path}/leaf.pem; ssl_certificate_key {tmp_path}/leaf.key;"
    return lines, {"ca_file": str(tmp_path / "ca.pem")}


def passing(server: LoopbackServer, more: str = "") -> str:
    """A location that passes everything on, over kept connections."""
    return f"location / {{ proxy_pass {server.url}; proxy_http_version 1.1; proxy_set_header Connection ''; {more} }}"


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_answers_through_tls_on_one_connection(
    mode: Mode, wire: str, server: LoopbackServer, tls: tuple[str, dict[str, Any]], tmp_path: Path
) -> None:
    lines, trusting = tls
    with nginx(tmp_path, f"{lines} {passing(server)} gzip on; gzip_types *; gzip_min_length 1;") as port:

        async def main() -> None:
            client = mode.client(f"https://127.0.0.1:{port}{PATH[wire]}", wire, **trusting)
            for _ in range(3):
                assert (await chat(client, model=MODEL[wire])).content
                stream = client.chat_stream([{"role": "user", "content": "Hi"}], model=MODEL[wire])
                assert "".join(await drain(stream))
            assert client.pool_stats().dialled == 1

        mode.run(main)


@pytest.mark.parametrize("buffering", ["on", "off"])
@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_stream_is_the_same_buffered_and_not(
    mode: Mode, wire: str, buffering: str, server: LoopbackServer, tmp_path: Path
) -> None:
    pieces = ["Paris ", "is ", "in ", "France", "."]
    server.server.reply = lambda _: ScriptedReply(pieces, delay=0.1)
    with nginx(tmp_path, f"listen 127.0.0.1:PORT; {passing(server, f'proxy_buffering {buffering};')}") as port:

        async def main() -> tuple[list[str], float]:
            client = mode.client(f"http://127.0.0.1:{port}{PATH[wire]}", wire)
            stream = client.chat_stream([{"role": "user", "content": "Hi"}], model=MODEL[wire])
            first = await pull(stream)
            assert first is not None
            began = monotonic()
            return [first, *await drain(stream)], monotonic() - began

        for texts, took in mode.run(main):
            assert "".join(texts) == "Paris is in France."
            if buffering == "off":
                assert texts == pieces
                assert took > 0.2  # it came as it was written


@pytest.mark.parametrize(
    ("status", "more"),
    [(502, ""), (504, "proxy_read_timeout 1s;"), (503, "return 503;"), (429, "return 429;"), (413, "return 413;")],
)
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_its_own_error_pages(mode: Mode, status: int, more: str, server: LoopbackServer, tmp_path: Path) -> None:
    """A page is an error of that status: tried again if such a status is, and no talk of a wrong base_url."""
    server.server.reply = lambda _: ScriptedReply("late", head_delay=30.0)
    location = passing(server, more)
    if status == 502:
        location = location.replace(server.url, f"http://127.0.0.1:{free_port()}")
    with nginx(tmp_path, f"listen 127.0.0.1:PORT; {location}") as port:

        async def main() -> LLMError:
            client = mode.client(f"http://127.0.0.1:{port}/v1", max_retries=1)
            with pytest.raises(LLMError) as caught:
                await chat(client)
            return caught.value

        for error in mode.run(main):
            assert error.status_code == status
            assert isinstance(error, LLMServerError) == (status >= 500), repr(error)
            assert len(error.attempts) == (1 if status == 413 else 2)
            assert "is /v1 missing" not in str(error)
            assert "<html>" not in str(error)


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_server_that_dies_in_the_middle_of_a_stream(
    mode: Mode, wire: str, server: LoopbackServer, tmp_path: Path
) -> None:
    server.server.reply = lambda _: ScriptedReply(["one ", "two ", "three"], delay=0.05, cut_after=300, after_cut="rst")
    with nginx(tmp_path, f"listen 127.0.0.1:PORT; {passing(server, 'proxy_buffering off;')}") as port:

        async def main() -> LLMError:
            client = mode.client(f"http://127.0.0.1:{port}{PATH[wire]}", wire, max_retries=0)
            with pytest.raises(LLMError) as caught:
                await drain(client.chat_stream([{"role": "user", "content": "Hi"}], model=MODEL[wire]))
            return caught.value

        for error in mode.run(main):
            assert isinstance(error, LLMStreamError), repr(error)
            assert error.partial is not None


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_connections_that_serve_two_requests_each(mode: Mode, server: LoopbackServer, tmp_path: Path) -> None:
    with nginx(tmp_path, f"listen 127.0.0.1:PORT; keepalive_requests 2; {passing(server)}") as port:

        async def main() -> int:
            client = mode.client(f"http://127.0.0.1:{port}/v1", max_retries=0)
            for _ in range(6):
                assert (await chat(client)).content
            dialled: int = client.pool_stats().dialled
            return dialled

        assert mode.run(main) == [3] * len(mode.run(main))


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_connections_that_are_closed_while_nobody_uses_them(mode: Mode, server: LoopbackServer, tmp_path: Path) -> None:
    with nginx(tmp_path, f"listen 127.0.0.1:PORT; keepalive_timeout 1s; {passing(server)}") as port:

        async def main() -> None:
            client = mode.client(f"http://127.0.0.1:{port}/v1", max_retries=0)
            for _ in range(3):
                assert (await chat(client)).content
                await mode.sleep(1.2)

        mode.run(main)


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_port_of_the_other_scheme(
    mode: Mode, server: LoopbackServer, tls: tuple[str, dict[str, Any]], tmp_path: Path
) -> None:
    """http to the https port: nginx's page says so, and no hint of ours says otherwise."""
    lines, _ = tls
    with nginx(tmp_path, f"{lines} {passing(server)}") as port:

        async def main() -> LLMError:
            with pytest.raises(LLMBadRequestError) as caught:
                await chat(mode.client(f"http://127.0.0.1:{port}/v1"))
            return caught.value

        for error in mode.run(main):
            assert "The plain HTTP request was sent to HTTPS port" in str(error)
            assert "is /v1 missing" not in str(error)
            assert len(error.attempts) == 1


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_certificate_that_the_client_does_not_have(
    mode: Mode, server: LoopbackServer, tls: tuple[str, dict[str, Any]], tmp_path: Path
) -> None:
    lines, trusting = tls
    verify = f"ssl_client_certificate {tmp_path}/ca.pem; ssl_verify_client on;"
    with nginx(tmp_path, f"{lines} {verify} {passing(server)}") as port:

        async def main() -> LLMError:
            with pytest.raises(LLMError) as caught:
                await chat(mode.client(f"https://127.0.0.1:{port}/v1", **trusting))
            return caught.value

        for error in mode.run(main):
            assert "No required SSL certificate was sent" in str(error)
            assert "is /v1 missing" not in str(error)
            assert len(error.attempts) == 1


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_page_where_v1_is_missing(mode: Mode, server: LoopbackServer, tmp_path: Path) -> None:
    """Here the hint is right: a 404 page, at a base_url without /v1."""
    with nginx(tmp_path, "listen 127.0.0.1:PORT; location / { return 404; }") as port:

        async def main() -> LLMError:
            with pytest.raises(LLMError) as caught:
                await chat(mode.client(f"http://127.0.0.1:{port}"))
            return caught.value

        for error in mode.run(main):
            assert error.status_code == 404
            assert "is /v1 missing" in str(error)


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_reload_while_streams_are_read(mode: Mode, server: LoopbackServer, tmp_path: Path) -> None:
    """Old workers finish what they have begun, then close: no stream is cut, and the next call dials."""
    server.server.reply = lambda _: ScriptedReply(["a"] * 10, delay=0.1)
    with nginx(tmp_path, f"listen 127.0.0.1:PORT; {passing(server, 'proxy_buffering off;')}") as port:
        pid = int((tmp_path / "nginx.pid").read_text())

        async def main() -> None:
            client = mode.client(f"http://127.0.0.1:{port}/v1", max_retries=0)
            for _ in range(3):
                stream = client.chat_stream([{"role": "user", "content": "Hi"}])
                assert await pull(stream) == "a"
                os.kill(pid, signal.SIGHUP)
                assert await drain(stream) == ["a"] * 9

        mode.run(main)
