"""Ollama's model management: one download at a time, progress for everybody, and honest failures."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Any

import pytest
import trio

from cloud.llm import (
    AsyncOllamaClient,
    LLMAuthError,
    LLMBadRequestError,
    LLMError,
    OllamaClient,
    PullProgress,
)
from tests.cloud.kit import MODES, perform, scripted
from transports.faults import Fault
from transports.testing import AsyncScriptedTransport, FakeLLMServer, ScriptedTransport
from transports.testing.loopback import LoopbackServer

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"


def pulls(transport_or_server: Any) -> int:
    return sum(request.path == "/api/pull" for request in transport_or_server.requests)


@pytest.mark.parametrize("mode", MODES)
def test_the_models_of_a_server(mode: str) -> None:
    transport = scripted(mode)
    steps: list[PullProgress] = []

    async def scenario(client: Any) -> None:
        assert await client.is_available() is True
        assert "qwen2.5:3b" in await client.list_models()
        assert await client.has_model("llama3.2") is True
        assert await client.has_model("llama3.2:latest") is True
        assert await client.has_model("codellama:7b") is False
        assert await client.ensure_model("llama3.2", on_progress=steps.append) is True
        assert pulls(transport) == 0
        assert not steps
        assert await client.ensure_model("codellama:7b", steps.append) is True
        assert pulls(transport) == 1
        assert steps[0].status == "pulling manifest"
        assert steps[-1].status == "success"
        layers = [step for step in steps if step.digest]
        assert layers
        assert all(step.total and (step.completed or 0) <= step.total for step in layers)
        assert await client.has_model("codellama:7b") is True
        assert await client.pull_model("codellama:7b") is True
        assert pulls(transport) == 2

    perform(mode, scenario, "ollama", transport=transport, api_key=None)


@pytest.mark.parametrize("mode", MODES)
def test_availability_is_one_attempt_and_only_no_answer_is_no(mode: str) -> None:
    def transport(*answers: Any) -> Any:
        return (ScriptedTransport if mode == "blocking" else AsyncScriptedTransport)(answers)

    async def scenario(client: Any) -> None:
        for answer in (Fault("refused"), Fault("dns_failed"), Fault("reset")):
            # A fault that came from the script stands for every dial: one attempt must do.
            assert await client.with_options(transport=transport(answer)).is_available() is False
        silent = transport([])
        started = silent.now()
        assert await client.with_options(transport=silent).is_available() is False
        assert silent.now() - started <= 2.0
        refusing = transport(b"HTTP/1.1 401 No\r\nContent-Length: 2\r\n\r\n{}")
        with pytest.raises(LLMAuthError):
            await client.with_options(transport=refusing).is_available()

    perform(mode, scenario, "ollama", transport=transport())


def test_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        assert OllamaClient(host=f"127.0.0.1:{taken.getsockname()[1]}").is_available() is False


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["", "  ", None, 5, "a\nb"])
def test_a_wrong_name_is_refused_before_sending(mode: str, name: Any) -> None:
    transport = scripted(mode)

    async def scenario(client: Any) -> None:
        with pytest.raises(LLMBadRequestError, match="model_name"):
            await client.pull_model(name)

    perform(mode, scenario, "ollama", transport=transport)
    assert not transport.requests


@pytest.mark.parametrize("mode", MODES)
def test_a_failed_pull_raises(mode: str) -> None:
    transport = scripted(mode, unpullable={"no/such:latest"})

    async def scenario(client: Any) -> None:
        with pytest.raises(LLMError, match="manifest") as caught:
            await client.pull_model("no/such")
        assert caught.value.provider == "ollama"
        with pytest.raises(LLMError):
            await client.ensure_model("no/such")

    perform(mode, scenario, "ollama", transport=transport, max_retries=0)


@pytest.mark.parametrize("mode", MODES)
def test_a_download_has_no_total_but_must_go_on(mode: str) -> None:
    from transports.testing.connection import Piece

    def line(status: str, completed: int = 0) -> bytes:
        text = b'{"status":"%s","total":100,"completed":%d}\n' % (status.encode(), completed)
        return b"%x\r\n%b\r\n" % (len(text), text)

    slow = [
        Piece(HEAD),
        *[Piece(line("pulling", number), 9.0) for number in range(100)],
        Piece(line("success"), 9.0),
        Piece(b"0\r\n\r\n"),
    ]
    stuck = [Piece(HEAD), Piece(line("pulling")), Piece(line("success"), 11.0)]
    standing = [Piece(HEAD), *[Piece(line("pulling", 50), 3.0) for _ in range(10)], Piece(line("success"))]
    cut = [Piece(HEAD), Piece(line("pulling"), 1.0), Piece(b"0\r\n\r\n")]
    kind = ScriptedTransport if mode == "blocking" else AsyncScriptedTransport
    transport = kind([slow, stuck, standing, cut])

    async def scenario(client: Any) -> None:
        assert await client.pull_model("m") is True
        with pytest.raises(LLMError):
            await client.pull_model("m")
        with pytest.raises(LLMError, match="only keep-alives for 10 s"):
            await client.pull_model("m")
        with pytest.raises(LLMError, match="without success"):
            await client.pull_model("m")

    perform(mode, scenario, "ollama", transport=transport, timeout=10.0, max_retries=0)


# -- at once ----------------------------------------------------------------------------------------------------------


class SlowLibrary(FakeLLMServer):
    """A server whose downloads take a while."""

    def handle(self, request: Any) -> Any:
        plan = super().handle(request)
        if request.path != "/api/pull":
            return plan
        from dataclasses import replace

        return replace(plan, pieces=tuple((0.05, data) for _, data in plan.pieces))


@pytest.fixture
def server() -> Any:
    with LoopbackServer(SlowLibrary(unpullable={"bad:latest"})) as listening:
        yield listening


def test_threads_share_one_download(server: LoopbackServer) -> None:
    outcomes: list[Any] = []
    steps: list[list[PullProgress]] = [[] for _ in range(6)]

    def ask(i: int, name: str) -> None:
        client = OllamaClient(host=server.base_url("ollama"))
        try:
            outcomes.append(client.pull_model(name, steps[i].append))
        except LLMError as error:
            outcomes.append(error)

    for name, wanted in (("mistral", bool), ("bad", LLMError)):
        outcomes.clear()
        threads = [threading.Thread(target=ask, args=(i, name)) for i in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(outcomes) == 6
        assert all(isinstance(outcome, wanted) for outcome in outcomes)
        if name == "mistral":
            assert pulls(server) == 1
            assert all(step[-1].status == "success" for step in steps)
        else:
            assert len({id(error) for error in outcomes}) == 6


def test_tasks_share_one_download_and_outlive_its_leader(server: LoopbackServer) -> None:
    async def main() -> None:
        client = AsyncOllamaClient(host=server.base_url("ollama"))
        leader = asyncio.create_task(client.pull_model("phi"))
        await asyncio.sleep(0.02)
        followers = [asyncio.create_task(client.pull_model("phi")) for _ in range(3)]
        await asyncio.sleep(0.08)
        leader.cancel()
        assert await asyncio.gather(*followers) == [True, True, True]
        assert leader.cancelled()
        assert pulls(server) == 2

    asyncio.run(main())


def test_tasks_share_one_download_on_trio(server: LoopbackServer) -> None:
    done: list[bool] = []

    async def main() -> None:
        client = AsyncOllamaClient(host=server.base_url("ollama"))

        async def ask() -> None:
            done.append(await client.pull_model("gemma"))

        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(ask)

    trio.run(main)
    assert done == [True] * 4
    assert pulls(server) == 1


def test_a_progress_function_that_raises_ends_its_own_wait_only(server: LoopbackServer) -> None:
    async def main() -> None:
        client = AsyncOllamaClient(host=server.base_url("ollama"))

        def stop(step: PullProgress) -> None:
            raise ZeroDivisionError

        leader = asyncio.create_task(client.pull_model("orca"))
        await asyncio.sleep(0.02)
        with pytest.raises(ZeroDivisionError):
            await client.pull_model("orca", stop)
        assert await leader is True
        assert pulls(server) == 1

    asyncio.run(main())
