"""What a client costs before its first call: imports, time, memory; and that closing and forking leave nothing."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
import tracemalloc
from typing import Any

import pytest
import trio

import cloud.llm
from cloud import close_all_cloud_clients, close_all_cloud_clients_sync
from cloud.llm import budgets
from tests.cloud.kit import AWAITED, BLOCKING, HELLO, MODELS, WIRES
from transports.testing.servers.loopback import LoopbackServer

HEAVY = {"ssl", "socket", "httpcore", "asyncio", "trio", "anyio", "h11", "logging", "msgspec", "random"}
#: What sees to it that the others are loaded whole has to be there before them.
LIGHT_TRANSPORTS = ["transports", "transports.loading"]


@pytest.mark.parametrize("wire", WIRES)
def test_building_a_blocking_client_imports_nothing_heavy(wire: str) -> None:
    name = BLOCKING[wire].__name__
    program = f"""
import sys
before = set(sys.modules)
import cloud.llm
light = {{name.partition(".")[0] for name in set(sys.modules) - before}}
assert not any(name.startswith("sans_io") for name in sys.modules), "import cloud.llm alone loads no core"
from cloud.llm import {name}
{name}(api_key="k")
print(sorted({{name.partition(".")[0] for name in set(sys.modules) - before}} & {HEAVY!r}))
print(sorted(name for name in sys.modules if name.startswith("transports")))
"""
    done = subprocess.run([sys.executable, "-X", "dev", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", str(LIGHT_TRANSPORTS)]
    assert not done.stderr


def test_every_public_name_is_there_and_listed() -> None:
    for name in cloud.llm.__all__:
        assert getattr(cloud.llm, name) is not None
    # The version is not among them: `import *` would overwrite the user's own.
    assert set(cloud.llm.__all__) == set(cloud.llm._HOMES)
    assert {*cloud.llm.__all__, "__version__"} <= set(dir(cloud.llm))
    with pytest.raises(AttributeError, match="no attribute"):
        _ = cloud.llm.NoSuchThing
    with pytest.raises(AttributeError, match="no attribute"):
        _ = cloud.no_such_thing


@pytest.mark.serial
@pytest.mark.parametrize("wire", WIRES)
def test_a_client_is_small(wire: str) -> None:
    for cls in (BLOCKING[wire], AWAITED[wire]):
        cls(api_key="warm")
        gc.collect()
        tracemalloc.start()
        kept = [cls(api_key=f"key-{i}") for i in range(500)]
        size = tracemalloc.get_traced_memory()[0] / len(kept)
        tracemalloc.stop()
        assert size < 1024


def test_closing_all_clients_closes_idle_connections_and_is_harmless_twice() -> None:
    async def main(server: LoopbackServer) -> None:
        client = AWAITED["openai"]("k", MODELS["openai"], base_url=server.base_url("openai"))
        await client.chat(HELLO)
        assert client.pool_stats().idle == 1
        await close_all_cloud_clients()
        await close_all_cloud_clients()
        assert client.pool_stats().idle == 0
        assert (await client.chat(HELLO)).content

    assert asyncio.iscoroutinefunction(close_all_cloud_clients)
    for run in (asyncio.run, lambda main: trio.run(lambda: main)):
        with LoopbackServer() as server:
            run(main(server))
            assert server.wait_until(lambda server=server: server.open_connections == 0)
    with LoopbackServer() as server:
        client = BLOCKING["openai"]("k", MODELS["openai"], base_url=server.base_url("openai"))
        client.chat(HELLO)
        close_all_cloud_clients_sync()
        close_all_cloud_clients_sync()
        assert server.wait_until(lambda: server.open_connections == 0)
        assert client.chat(HELLO).content
        close_all_cloud_clients_sync()


def test_one_client_serves_several_runs_of_both_loops() -> None:
    with LoopbackServer() as server:
        client = AWAITED["openai"]("k", MODELS["openai"], base_url=server.base_url("openai"))

        async def main() -> str:
            content: str = (await client.chat(HELLO)).content
            return content

        for _ in range(2):
            assert asyncio.run(main()) == trio.run(main) == "You said: Hello!"
        assert server.wait_until(lambda: server.open_connections == 0)


def test_an_asynchronous_client_outside_a_loop_says_so() -> None:
    client = AWAITED["openai"]("k")
    coroutine = client.chat(HELLO)
    with pytest.raises(RuntimeError, match="blocking client"):
        coroutine.send(None)
    assert client.pool_stats().open == 0


def test_threads_share_the_blocking_pool() -> None:
    with LoopbackServer() as server:
        clients = [
            BLOCKING["openai"](f"key-{i}", MODELS["openai"], base_url=server.base_url("openai")) for i in range(8)
        ]
        answers: list[str] = []

        def ask(client: Any, i: int) -> None:
            for k in range(5):
                said = f"thread {i} call {k}"
                content = client.chat([{"role": "user", "content": said}]).content
                assert content == f"You said: {said}"
                answers.append(content)

        threads = [threading.Thread(target=ask, args=(client, i)) for i, client in enumerate(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(answers) == 40
        assert server.max_open <= 8
        close_all_cloud_clients_sync()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_a_forked_child_has_locks_of_its_own() -> None:
    budget = budgets.retry_budget(None, ("https", "fork.example", 443), None)  # type: ignore[arg-type]
    with budgets._inside.lock:
        pid = os.fork()
        if pid == 0:
            try:
                budget.take(14, 0.0)
                BLOCKING["openai"]("k")
                os._exit(0)
            finally:
                os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
