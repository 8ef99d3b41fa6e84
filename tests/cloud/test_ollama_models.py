"""Ollama's model management: one download at a time, progress for everybody, and honest failures."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from time import monotonic
from typing import Any

import anyio
import pytest
import trio

from cloud.llm import (
    AsyncOllamaClient,
    LLMAuthError,
    LLMBadRequestError,
    LLMError,
    LLMTimeoutError,
    OllamaClient,
    PullProgress,
)
from cloud.llm.ollama import _async_pulls, _pulls
from tests.callers import BUSY
from tests.cloud.kit import MODES, perform, run, scripted
from tests.transports.modes import passes_within
from transports.faults import Fault
from transports.testing import AsyncScriptedTransport, FakeLLMServer, ScriptedTransport
from transports.testing.servers.loopback import LoopbackServer

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
        for act in (client.pull_model, client.has_model, client.ensure_model):
            with pytest.raises(LLMBadRequestError, match="model_name"):
                await act(name)

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
    from transports.testing.servers.connection import Piece

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
        with pytest.raises(LLMError, match="only keep-alives were received for 10 s"):
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


class Stalling(FakeLLMServer):
    """A server whose downloads begin, go on for so many lines, and then never."""

    def __init__(self, lines: int) -> None:
        super().__init__()
        self._lines = lines

    def handle(self, request: Any) -> Any:
        plan = super().handle(request)
        if request.path != "/api/pull":
            return plan
        return replace(plan, pieces=(*((0.3, data) for _, data in plan.pieces[: self._lines]), (60.0, b"too late")))


class Leading:
    """Somebody who leads a download until the server is closed, a minute at most."""

    def __init__(self, mode: str, host: str) -> None:
        self._mode = mode
        self._client = OllamaClient if mode == "blocking" else AsyncOllamaClient
        self._options: dict[str, Any] = {"host": host, "timeout": 60.0, "max_retries": 0}

    def run(self, follow: Callable[[Any], Any], timeout: float) -> None:
        """`follow` gets a client that has so long for the same download."""
        if self._mode == "blocking":
            leader = threading.Thread(target=self._lead, daemon=True)
            leader.start()
            assert passes_within(10.0, lambda: bool(_pulls._flights))
            follow(self._client(**{**self._options, "timeout": timeout}))
        else:
            run(self._mode, self._beside, follow, timeout)

    def _lead(self) -> None:
        with suppress(LLMError):
            self._client(**self._options).pull_model("m")

    async def _beside(self, follow: Callable[[Any], Any], timeout: float) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(self._client(**self._options).pull_model, "m")
            while not _async_pulls._flights:
                await anyio.sleep(0.01)
            await follow(self._client(**{**self._options, "timeout": timeout}))
            group.cancel_scope.cancel()


@pytest.mark.parametrize("lines", [0, 2], ids=["before any progress", "after progress"])
@pytest.mark.parametrize("mode", MODES)
def test_a_follower_waits_no_longer_than_its_own_timers(mode: str, lines: int) -> None:
    """Half a second between two signs of progress, whoever makes them."""
    steps: list[PullProgress] = []

    def check(error: LLMTimeoutError, took: float) -> None:
        assert len(steps) == lines
        assert lines * 0.3 + 0.5 <= took + 0.3 < lines * 0.3 + 0.5 + 0.3 + BUSY
        assert (error.provider, error.model) == ("ollama", "m:latest")
        assert error.code == ("idle_timeout" if lines else "first_token_timeout")
        assert "0.5 s" in str(error)

    def follow(client: Any) -> None:
        began = monotonic()
        with pytest.raises(LLMTimeoutError) as caught:
            client.pull_model("m", steps.append)
        check(caught.value, monotonic() - began)

    async def follow_async(client: Any) -> None:
        began = monotonic()
        with pytest.raises(LLMTimeoutError) as caught:
            await client.pull_model("m", steps.append)
        check(caught.value, monotonic() - began)

    with LoopbackServer(Stalling(lines)) as server:
        Leading(mode, server.base_url("ollama")).run(follow if mode == "blocking" else follow_async, 0.5)
    assert passes_within(10.0, lambda: not _pulls._flights)
    assert not _async_pulls._flights


@pytest.mark.parametrize("mode", MODES)
def test_progress_goes_on_resetting_a_followers_timer(mode: str) -> None:
    """Eight lines, 0.3 s apart, are more than half a second in all."""
    steps: list[PullProgress] = []

    def follow(client: Any) -> None:
        with pytest.raises(LLMTimeoutError):
            client.pull_model("m", steps.append)

    async def follow_async(client: Any) -> None:
        with pytest.raises(LLMTimeoutError):
            await client.pull_model("m", steps.append)

    with LoopbackServer(Stalling(8)) as server:
        Leading(mode, server.base_url("ollama")).run(follow if mode == "blocking" else follow_async, 0.3 + BUSY)
        assert len(steps) > 4
    assert passes_within(10.0, lambda: not _pulls._flights)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_downloads_what_its_parent_is_downloading(mode: str, server: LoopbackServer) -> None:
    """It knows no flight of its parent's: it would wait for a leader that does not exist there."""
    host = server.base_url("ollama")
    outcomes: list[bool] = []
    begun, forked = threading.Event(), threading.Event()

    def wait(_: PullProgress) -> None:
        begun.set()
        assert forked.wait(20.0)

    def pull(on_progress: Any) -> bool:
        if mode == "blocking":
            return OllamaClient(host=host).pull_model("falcon", on_progress)
        return run(mode, AsyncOllamaClient(host=host).pull_model, "falcon", on_progress)

    leader = threading.Thread(target=lambda: outcomes.append(pull(wait)), daemon=True)
    leader.start()
    assert begun.wait(20.0)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = 0 if pull(None) else 2
        finally:
            os._exit(code)
    status: list[int] = []
    waiter = threading.Thread(target=lambda: status.append(os.waitpid(pid, 0)[1]), daemon=True)
    waiter.start()
    waiter.join(20.0)
    if not status:
        os.kill(pid, 9)
    waiter.join()
    assert os.waitstatus_to_exitcode(status[0]) == 0
    forked.set()
    leader.join(20.0)
    assert outcomes == [True]
