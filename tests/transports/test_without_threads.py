"""Where no thread can be started, at the end of the interpreter or under a limit, calls dial and resolve themselves.

Since CPython 3.12 nobody can start a thread once the main thread has ended, although other threads, executors and
exit handlers go on. Before, a thread could be started at the very end, and was ended before it did anything.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.transports.test_tls import CA, server_context
from transports.testing import LoopbackServer

ROOT = Path(__file__).parents[2]

PROGRAM = """
import asyncio, atexit, concurrent.futures.thread, json, os, sys, threading, time

import trio

from cloud.llm import AsyncOpenAICompatClient, OpenAICompatClient

situation, mode, ca_file, *urls = sys.argv[1:]


clients = {}


def ask(url):
    options = dict(model="m", base_url=url, ca_file=ca_file if url.startswith("https") else None, timeout=10.0)
    messages = [{"role": "user", "content": "hello"}]
    if mode == "sync":
        if url not in clients:
            clients[url] = OpenAICompatClient("k", **options)
        return clients[url].chat(messages).content

    async def main():
        return (await AsyncOpenAICompatClient("k", **options).chat(messages)).content

    return {"asyncio": asyncio.run, "trio": lambda main: trio.run(lambda: main)}[mode](main())


def work():
    for url in urls:
        try:
            outcome = ask(url)
        except BaseException as error:
            outcome = repr(error)
        print(json.dumps([url, outcome]), flush=True)


def after_main():
    threading.main_thread().join()
    time.sleep(0.1)
    work()


def after_shutdown():
    while not concurrent.futures.thread._shutdown:
        time.sleep(0.01)
    work()


if situation == "a worker outlives the main thread":
    threading.Thread(target=after_main).start()
elif situation == "an executor's work":
    executor = concurrent.futures.ThreadPoolExecutor(1)
    executor.submit(after_shutdown)
elif situation == "an exit handler":
    atexit.register(work)
elif situation == "a thread's exit handler":
    threading._register_atexit(work)
elif situation == "a finaliser at the very end":
    urls = [url for url in urls if url.startswith("http:")]
    for url in urls:
        ask(url)  # nothing can be imported then, not even what has been before: no TLS
    from cloud import close_all_cloud_clients_sync

    close_all_cloud_clients_sync()

    class Last:
        def __init__(self):
            self.itself = self

        def __del__(self):
            work()

    last = Last()
elif situation == "a limit of processes":
    import resource

    ask(urls[-1])  # what the first calls import, this user may not be allowed to read
    if os.geteuid() == 0:
        os.setgid(65534)
        os.setuid(65534)
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    try:
        threading.Thread(target=int).start()
    except RuntimeError:
        from cloud import close_all_cloud_clients_sync

        close_all_cloud_clients_sync()
        work()
"""

SITUATIONS = [
    "a worker outlives the main thread",
    "an executor's work",
    "an exit handler",
    "a thread's exit handler",
    "a finaliser at the very end",
    "a limit of processes",
]


LATE_FIRST_USE = """
import sys
import time

from cloud.llm import LLMConnectionError, OpenAICompatClient

messages = [{"role": "user", "content": "hello"}]
client = OpenAICompatClient("k", model="m", base_url=sys.argv[2], timeout=5.0)
if sys.argv[1] == "a first stream":
    client.chat(messages)


class Last:
    def __init__(self):
        self.itself = self

    def __del__(self):
        begun = time.monotonic()
        try:
            said = "".join(client.chat_stream(messages))
        except LLMConnectionError as error:
            said = error.code
        print(said, time.monotonic() - begun < 5.0, flush=True)


last = Last()
"""


@pytest.fixture(scope="module")
def ca_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    path.parent.chmod(0o755)
    CA.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.mark.parametrize("mode", ["sync", "asyncio", "trio"])
@pytest.mark.parametrize("situation", SITUATIONS)
def test_calls_go_on_where_no_thread_can_be_started(situation: str, mode: str, ca_file: str) -> None:
    if situation == "a finaliser at the very end" and mode != "sync":
        pytest.skip("no event loop can be begun then")
    with LoopbackServer() as plain, LoopbackServer(ssl_context=server_context()) as tls:
        urls = [
            f"{scheme}://{host}:{server.port}/v1"
            for scheme, server in (("http", plain), ("https", tls))
            for host in ("127.0.0.1", "localhost")
        ]
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, situation, mode, ca_file, *urls],
            capture_output=True, text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=60,
            check=False,
        )  # fmt: skip
    outcomes = [json.loads(line) for line in done.stdout.splitlines()]
    if situation == "a finaliser at the very end":
        urls = urls[:2]
    assert outcomes[-len(urls) :] == [[url, "You said: hello"] for url in urls], done.stderr
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("what", "said"), [("a first stream", "You said: hello"), ("a first call", "import_failed")])
def test_a_first_use_in_the_last_finalisers_waits_for_no_thread(what: str, said: str) -> None:
    """A thread that is begun there is ended before it does anything."""
    with LoopbackServer() as server:
        done = subprocess.run(
            [sys.executable, "-c", LATE_FIRST_USE, what, server.base_url("openai")],
            capture_output=True, text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=60,
            check=False,
        )  # fmt: skip
    assert done.stdout == f"{said} True\n", done.stderr
