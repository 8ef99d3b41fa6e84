"""What another thread of the parent has in hand when a child is forked: the child ends its copy, the parent goes on.

The child finalises what only another thread knew (a threading.local, that thread's context) before any hook of a fork
has run.
"""

from __future__ import annotations

import gc
import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import pytest
import trustme

from tests.callers import ASYNCIO, HELLO, SYNC, TRIO, Mode, chat, close, drain, pull
from tests.interrupting import ROOT
from tests.interrupts.forking import be_child, exit_code, fork
from tests.wire_server import (
    DONE,
    FINISH,
    LAST,
    ROLE,
    STREAM_HEAD,
    WireServer,
    answer,
    forever,
    read,
    said,
    send,
    tls,
    wait_go,
)

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork"),
    pytest.mark.timeout(120),
]

MODES = [SYNC, ASYNCIO, TRIO]
PIECES = ["one ", "two ", "three"]
FIRST = STREAM_HEAD + ROLE + said(PIECES[0])
REST = b"".join(map(said, PIECES[1:])) + FINISH + DONE + LAST
#: The first request is answered in two halves, with the test in between; the next ones at once.
HALVES = (read(), send(FIRST), wait_go(), send(REST), *forever(read(), send(FIRST + REST)))

CA = trustme.CA()
IN_CONTEXT: ContextVar[Any] = ContextVar("IN_CONTEXT")


@pytest.fixture(scope="module")
def ca_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    CA.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture(params=["http", "https"])
def scheme(request: pytest.FixtureRequest) -> str:
    return request.param


def server_tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    CA.issue_cert("127.0.0.1").configure_cert(context)
    return context


@contextmanager
def serving(
    mode: Mode, scheme: str, ca_file: str, script: tuple[Any, ...] = HALVES
) -> Iterator[tuple[WireServer, Any]]:
    """A server and a client of it."""
    with WireServer((tls(server_tls()), *script) if scheme == "https" else script) as server:
        yield server, client_of(mode, f"{scheme}://127.0.0.1:{server.port}", ca_file)


def client_of(mode: Mode, url: str, ca_file: str) -> Any:
    options = {"ca_file": ca_file} if url.startswith("https") else {}
    return mode.client(f"{url}/v1", timeout=30.0, max_retries=0, **options)


class Holder:
    """Keeps one thing: "local" and "context" where only the thread that put it knows it, "shared" for everybody."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._local: Any = threading.local() if kind == "local" else self

    def put(self, thing: Any) -> None:
        if self._kind == "context":
            IN_CONTEXT.set(thing)
        else:
            self._local.thing = thing

    def get(self) -> Any:
        return IN_CONTEXT.get() if self._kind == "context" else self._local.thing


class Reader(threading.Thread):
    """A thread that begins a reply, stops until `go`, and reads on. It knows the stream through its holder only."""

    def __init__(self, work: Callable[[Reader], object]) -> None:
        super().__init__(daemon=True)
        self._work = work
        self.ready, self.go = threading.Event(), threading.Event()
        self.texts: list[str] = []
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self._work(self)
        except BaseException as error:
            self.error = error
            self.ready.set()


def forgetful(client: Any) -> Iterator[str]:
    with client.chat_stream(HELLO) as stream:
        yield from stream


def reading(client: Any, mode: Mode, holder: Holder, what: str = "stream") -> Reader:
    def read_blocking(reader: Reader) -> None:
        holder.put(forgetful(client) if what == "generator" else client.chat_stream(HELLO))
        reader.texts.append(next(holder.get()))
        reader.ready.set()
        reader.go.wait(20.0)
        reader.texts += holder.get()

    async def read_in_loop(reader: Reader) -> None:
        holder.put(client.chat_stream(HELLO))
        reader.texts.append(await pull(holder.get()) or "")
        reader.ready.set()
        while not reader.go.is_set():
            await mode.sleep(0.005)
        await drain(holder.get(), reader.texts)

    return Reader((lambda reader: mode.run(lambda: read_in_loop(reader))) if mode.is_async else read_blocking)


def fork_beside(reader: Reader, server: WireServer, in_child: Callable[[], int] = lambda: 0) -> None:
    """Fork in the middle of its reply; then it must come to its end as if nothing had happened."""
    child = fork()
    if child == 0:
        be_child(in_child)
    code = exit_code(child, 10.0)
    server.go.set()
    reader.go.set()
    reader.join(20.0)
    assert not reader.is_alive()
    assert (code, reader.error, reader.texts) == (0, None, PIECES)
    assert server.requests == 1


def begin(reader: Reader) -> None:
    reader.start()
    assert reader.ready.wait(20.0)
    assert reader.error is None


@pytest.mark.parametrize("what", ["stream", "generator"])
@pytest.mark.parametrize("kind", ["local", "context"])
def test_a_reply_that_only_another_thread_knew(scheme: str, ca_file: str, kind: str, what: str) -> None:
    with serving(SYNC, scheme, ca_file) as (server, client):
        reader = reading(client, SYNC, Holder(kind), what)
        begin(reader)
        fork_beside(reader, server)
        assert client.chat_stream(HELLO).until_done().content == "".join(PIECES)
        assert len(server.accepted) == 1, "the connection was reused"


@pytest.mark.parametrize("mode", [ASYNCIO, TRIO], ids=str)
def test_a_reply_in_the_loop_of_another_thread(scheme: str, ca_file: str, mode: Mode) -> None:
    with serving(mode, scheme, ca_file) as (server, client):
        reader = reading(client, mode, Holder("local"))
        begin(reader)
        fork_beside(reader, server)


def test_a_reply_that_is_whole_but_for_its_last_bytes(scheme: str, ca_file: str) -> None:
    """Closing it in order would read them, and they are the parent's."""
    whole = STREAM_HEAD + ROLE + b"".join(map(said, PIECES)) + FINISH + DONE
    script = (read(), send(whole), wait_go(), send(LAST), *forever(read(), send(whole + LAST)))
    with serving(SYNC, scheme, ca_file, script) as (server, client):
        reader = reading(client, SYNC, Holder("local"), "generator")
        begin(reader)
        server.go.set()
        threading.Event().wait(0.2)  # they arrive; nobody in the parent reads them yet
        fork_beside(reader, server)
        assert client.chat_stream(HELLO).until_done().content == "".join(PIECES)
        assert len(server.accepted) == 1, "the connection was reused"


def test_a_generator_while_a_third_thread_is_inside_the_pool(ca_file: str) -> None:
    """The child finalises the generator when the lock belongs to a thread that is not there."""
    with serving(SYNC, "http", ca_file) as (server, client):
        reader = reading(client, SYNC, Holder("local"), "generator")
        begin(reader)
        inside = threading.Event()

        def change() -> None:
            with client._transport._runtime.pool_runner._lock:
                inside.set()
                threading.Event().wait(0.3)

        threading.Thread(target=change).start()
        assert inside.wait(5.0)
        fork_beside(reader, server)


@pytest.mark.parametrize("how", ["cancel", "close", "read on", "forget"])
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_what_the_child_does_with_its_copy(scheme: str, ca_file: str, mode: Mode, how: str) -> None:
    with serving(mode, scheme, ca_file) as (server, client):
        holder = Holder("shared")
        reader = reading(client, mode, holder)
        begin(reader)

        def in_child() -> int:
            if how == "cancel":
                holder.get().cancel()
            elif how == "close":
                mode.run(lambda: close(holder.get()))
            elif how == "read on":
                with pytest.raises(Exception, match=r".+"):
                    mode.run(lambda: drain(holder.get()))
            holder.put(None)
            gc.collect()
            return 0

        fork_beside(reader, server, in_child)


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_child_that_ends_in_order(mode: Mode) -> None:
    """Its interpreter finalises everything that it has inherited."""
    done = subprocess.run(
        [sys.executable, "-c", _ENDS_IN_ORDER, mode.name], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.stdout.splitlines() == ["child ends", "child 0", "parent None ['one ', 'two ', 'three'] 1"], done.stderr


_ENDS_IN_ORDER = """
import os, sys, threading, warnings
from tests.interrupts.test_inherited import *
warnings.simplefilter("ignore")
mode = next(mode for mode in MODES if mode.name == sys.argv[1])
server = WireServer(HALVES)
server._thread.start()
client = client_of(mode, server.url, "")
reader = reading(client, mode, Holder("local"))
begin(reader)
child = fork()
if child == 0:
    print("child ends", flush=True)
    sys.exit(0)
print("child", exit_code(child, 20.0))
server.go.set()
reader.go.set()
reader.join(20.0)
print("parent", reader.error, reader.texts, server.requests)
"""


# -- a wait in progress ------------------------------------------------------------------------------------------------


def test_a_wait_for_a_seat_that_a_handler_interrupts_with_a_fork() -> None:
    """The handler returns in the child too: there nobody has a seat, and nobody is left who could pass one on."""
    done = subprocess.run(
        [sys.executable, "-c", _FORKS_IN_HANDLER], cwd=ROOT, capture_output=True, text=True, timeout=100, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.stdout.splitlines() == ["child fine soon", "parent fine 0"], done.stdout + done.stderr


_FORKS_IN_HANDLER = """
import signal, time, warnings
from tests.interrupts.test_inherited import *
warnings.simplefilter("ignore")
with WireServer(forever(read(), answer())) as server:
    client = SYNC.client(server.url + "/v1", transport=SYNC.transport(1), timeout=15.0, max_retries=0)
    holder = client.chat_stream(HELLO)
    next(holder)
    children = []
    def handler(*_):
        assert client.pool_stats().waiting == 1
        children.append(fork())
        if children[0]:
            children.append(exit_code(children[0]))
            holder.close()
    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    began = time.monotonic()
    content = client.chat(HELLO).content
    if children[0] == 0:
        print("child", content, "soon" if time.monotonic() - began < 8.0 else "late", flush=True)
        os._exit(0)
    print("parent", content, children[1])
"""


# -- a dial in progress ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_lookup_in_progress(mode: Mode, ca_file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, go, look_up = threading.Event(), threading.Event(), socket.getaddrinfo

    def slow(*arguments: Any, **options: Any) -> Any:
        asked.set()
        go.wait(20.0)
        return look_up(*arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    with WireServer(forever(read(), answer())) as server:
        client = client_of(mode, f"http://localhost:{server.port}", ca_file)
        both_are_answered(client, mode, asked, go.set, go.set)
        assert server.requests == 2


@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.skipif(sys.platform != "linux", reason="where a full backlog does not hold up a connection")
def test_a_connection_in_progress(mode: Mode, ca_file: str) -> None:
    server = WireServer(forever(read(), answer()))
    server.listener.listen(0)
    crowd = []
    for _ in range(3):
        one = socket.socket()
        one.setblocking(False)
        one.connect_ex(("127.0.0.1", server.port))
        crowd.append(one)
    client = client_of(mode, server.url, ca_file)
    dialling = threading.Event()

    def accept() -> None:
        for one in crowd:
            one.close()
        server.__enter__()

    threading.Timer(0.3, dialling.set).start()
    try:
        both_are_answered(client, mode, dialling, accept)
    finally:
        server.__exit__()


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_handshake_in_progress(mode: Mode, ca_file: str) -> None:
    shaking = threading.Event()

    def announce(_: object) -> None:
        shaking.set()

    script = (announce, wait_go(), tls(server_tls()), *forever(read(), answer()))
    with WireServer(script) as server:
        client = client_of(mode, f"https://127.0.0.1:{server.port}", ca_file)
        both_are_answered(client, mode, shaking, server.go.set)
        assert server.requests == 2


def both_are_answered(
    client: Any,
    mode: Mode,
    dialling: threading.Event,
    go_on: Callable[[], object],
    go_on_in_child: Callable[[], object] = lambda: None,
) -> None:
    """The parent's dial goes on after the fork, and the child dials for itself."""

    def ask() -> str:
        return mode.run(lambda: chat(client))[0].content

    answers: list[Any] = []

    def work() -> None:
        try:
            answers.append(ask())
        except BaseException as error:
            answers.append(error)

    calling = threading.Thread(target=work, daemon=True)
    calling.start()
    assert dialling.wait(20.0)

    def in_child() -> int:
        go_on_in_child()
        gc.collect()
        return 0 if ask() == "fine" else 1

    child = fork()
    if child == 0:
        be_child(in_child)
    go_on()
    code = exit_code(child, 30.0)
    calling.join(20.0)
    assert not calling.is_alive()
    assert (code, answers) == (0, ["fine"])
