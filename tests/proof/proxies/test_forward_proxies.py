"""Our clients through squid and tinyproxy: tunnels, plain http, passwords, and what is dead on the far side."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from cloud.llm import LLMAuthError, LLMConnectionError, LLMError, LLMServerError
from tests.callers import MODES, Mode, chat, drain
from tests.proof.proxies.programs import free_port, squid, tinyproxy
from tests.transports.test_tls import CA, server_context
from transports.testing import LoopbackServer

Starter = Callable[..., AbstractContextManager[int]]
PROXIES: dict[str, Starter] = {"squid": squid, "tinyproxy": tinyproxy}
WIRES = ("openai", "anthropic", "ollama")
#: Of the fake servers' model.
MODEL = {"openai": "m", "anthropic": "m", "ollama": "llama3.2"}


@pytest.fixture(params=PROXIES)
def proxy(request: pytest.FixtureRequest) -> Starter:
    return PROXIES[request.param]


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[tuple[LoopbackServer, dict[str, Any]]]:
    """A server of https, and what a client needs to trust it."""
    ca_file = tmp_path / "ca.pem"
    CA.cert_pem.write_to_path(str(ca_file))
    with LoopbackServer(ssl_context=server_context()) as server:
        yield server, {"ca_file": str(ca_file)}


@pytest.fixture
def plain() -> Iterator[LoopbackServer]:
    with LoopbackServer() as server:
        yield server


async def converse(client: Any, wire: str) -> None:
    """A few answers, whole and streamed."""
    for _ in range(3):
        assert (await chat(client, model=MODEL[wire])).content
        assert "".join(await drain(client.chat_stream([{"role": "user", "content": "Hi"}], model=MODEL[wire])))


async def failure(client: Any) -> LLMError:
    with pytest.raises(LLMError) as caught:
        await chat(client)
    return caught.value


def one(found: list[Any]) -> Any:
    assert len({type(each) for each in found}) == 1
    return found[0]


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_answers_through_a_tunnel(
    mode: Mode, wire: str, proxy: Starter, secure: tuple[LoopbackServer, dict[str, Any]], tmp_path: Path
) -> None:
    server, trusting = secure
    with proxy(tmp_path, password="s3cret") as port:

        async def main() -> None:
            client = mode.client(server.base_url(wire), wire, proxy=f"http://ana:s3cret@127.0.0.1:{port}", **trusting)
            await converse(client, wire)
            assert client.pool_stats().dialled == 1  # a tunnel is kept as any connection is

        mode.run(main)
    assert not any("proxy" in name for request in server.requests for name, _ in request.headers)


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_answers_over_plain_http(mode: Mode, wire: str, proxy: Starter, plain: LoopbackServer, tmp_path: Path) -> None:
    with proxy(tmp_path, password="s3cret") as port:

        async def main() -> None:
            client = mode.client(plain.base_url(wire), wire, proxy=f"http://ana:s3cret@127.0.0.1:{port}")
            await converse(client, wire)

        mode.run(main)
    assert all(request.header("via") for request in plain.requests)
    assert not any(request.header("proxy-authorization") for request in plain.requests)


@pytest.mark.parametrize("user", ["", "ana:wrong@", "bob:s3cret@"], ids=["nobody", "wrong password", "wrong user"])
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_wrong_password_is_the_proxys_error_and_final(
    mode: Mode, user: str, proxy: Starter, secure: tuple[LoopbackServer, dict[str, Any]], tmp_path: Path
) -> None:
    """In a tunnel and on plain http: it names the proxy, says where its password goes, and is asked once."""
    server, trusting = secure
    with proxy(tmp_path, password="s3cret") as port, LoopbackServer() as plain:
        for place, options in ((server, trusting), (plain, {})):

            async def main(place: LoopbackServer = place, options: dict[str, Any] = options) -> LLMError:
                client = mode.client(place.base_url("openai"), proxy=f"http://{user}127.0.0.1:{port}", **options)
                return await failure(client)

            error = one(mode.run(main))
            assert len(error.attempts) == 1
            assert "proxy" in str(error)
            if error.status_code == 401:  # tinyproxy's, of a wrong password on plain http: as a server's would be
                assert isinstance(error, LLMAuthError)
            else:
                assert isinstance(error, LLMConnectionError), repr(error)
                assert "password" in str(error)
            assert "is /v1 missing" not in str(error)
            assert "s3cret" not in str(error)
            assert "wrong" not in str(error)
        assert not plain.requests
    assert not server.requests


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_tunnel_to_where_nobody_listens_is_tried_again(mode: Mode, proxy: Starter, tmp_path: Path) -> None:
    """As the same refusal is without a proxy. tinyproxy calls it a 500, which says nothing of the server."""
    with proxy(tmp_path) as port:

        async def main() -> tuple[LLMError, LLMError]:
            place = f"https://127.0.0.1:{free_port()}/v1"
            through = mode.client(place, proxy=f"http://127.0.0.1:{port}", max_retries=2, timeout=60)
            return await failure(through), await failure(mode.client(place, max_retries=2, timeout=60))

        through, direct = mode.run(main)[0]
    assert isinstance(through, LLMConnectionError), repr(through)
    assert len(direct.attempts) == 3
    assert len(through.attempts) == (3 if proxy is squid else 1)
    assert "the proxy" in str(through)


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_plain_http_to_where_nobody_listens(mode: Mode, proxy: Starter, tmp_path: Path) -> None:
    """The proxy answers for the server, with a page: an error of the server's side, tried again, with no wrong hint."""
    with proxy(tmp_path) as port:

        async def main() -> LLMError:
            place = f"http://127.0.0.1:{free_port()}/v1"
            return await failure(mode.client(place, proxy=f"http://127.0.0.1:{port}", max_retries=2, timeout=60))

        error = one(mode.run(main))
    assert isinstance(error, LLMServerError), repr(error)
    assert len(error.attempts) == 3
    assert "is /v1 missing" not in str(error)


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_proxy_that_is_not_there_is_named(mode: Mode, plain: LoopbackServer) -> None:
    gone = free_port()
    for place in (plain.base_url("openai"), f"https://127.0.0.1:{plain.port}/v1"):

        async def main(place: str = place) -> LLMError:
            return await failure(mode.client(place, proxy=f"http://ana:s3cret@127.0.0.1:{gone}", max_retries=1))

        error = one(mode.run(main))
        assert isinstance(error, LLMConnectionError)
        assert len(error.attempts) == 2
        assert "proxy" in str(error)
        assert f"127.0.0.1:{gone}" in str(error)
        assert "s3cret" not in str(error)


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_tunnel_that_is_forbidden_is_final(
    mode: Mode, proxy: Starter, secure: tuple[LoopbackServer, dict[str, Any]], tmp_path: Path
) -> None:
    server, trusting = secure
    rules = "http_access deny CONNECT\n" if proxy is squid else "ConnectPort 443\n"
    with proxy(tmp_path, rules=rules) as port:

        async def main() -> LLMError:
            return await failure(mode.client(server.base_url("openai"), proxy=f"http://127.0.0.1:{port}", **trusting))

        error = one(mode.run(main))
    assert isinstance(error, LLMConnectionError), repr(error)
    assert len(error.attempts) == 1
    assert "the proxy refused the tunnel: 403" in str(error)


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_proxy_that_is_restarted_between_two_calls(
    mode: Mode, secure: tuple[LoopbackServer, dict[str, Any]], tmp_path: Path
) -> None:
    """The tunnel that was kept is dead; the call that finds it so dials again."""
    server, trusting = secure

    async def main() -> None:
        with squid(tmp_path) as port:
            client = mode.client(server.base_url("openai"), proxy=f"http://127.0.0.1:{port}", **trusting)
            assert (await chat(client)).content
        with pytest.raises(LLMConnectionError, match="proxy"):
            await chat(client, max_retries=0)

    if mode.name != "threads":  # which would start three at one place
        mode.run(main)
