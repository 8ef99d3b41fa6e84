"""An answer that lies in the socket when a deadline has passed is not thrown away: after SIGSTOP and SIGCONT, after a
loop that was blocked, for plain and TLS connections. Nor does anything else outlive a deadline for that.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from time import monotonic, sleep

import pytest
import trio

from cloud.llm import LLMTimeoutError
from sans_io.policy.deadline import AT_ONCE, NEVER
from tests import wire_server as w
from tests.callers import ASYNC_MODES, BUSY, HELLO, MODES, Mode, chat, drain
from tests.security.test_tls import CA, context
from tests.transports import modes
from tests.transports.test_connections import connected, later, listener
from transports import happy_eyeballs, sockets
from transports.faults import Fault

assert listener  # a fixture
ROOT = Path(__file__).parents[2]
TIMEOUT = 3.0
WIRES = {"plain": (), "tls": (w.tls(context()),)}

# -- a process that was stopped ---------------------------------------------------------------------------------------

CHILD = """
import json, sys, threading
mode, url, ca_file, timeout = sys.argv[1:5]
import cloud.llm
made = cloud.llm.AsyncOpenAICompatClient if mode in ("asyncio", "trio") else cloud.llm.OpenAICompatClient
client = made("k", "m", base_url=url, ca_file=ca_file or None, max_retries=0, timeout=float(timeout))
found = {}

def ask(what):
    return [{"role": "user", "content": what}]

async def one(what):
    texts = []
    try:
        if what.startswith("stream"):
            stream = client.chat_stream(ask(what))
            if mode in ("asyncio", "trio"):
                async for text in stream:
                    texts.append(text)
            else:
                for text in stream:
                    texts.append(text)
        elif mode in ("asyncio", "trio"):
            texts.append((await client.chat(ask(what))).content)
        else:
            texts.append(client.chat(ask(what)).content)
    except cloud.llm.LLMTimeoutError:
        texts.append("timeout")
    found[what] = texts

def blocking(what):
    try:
        one(what).send(None)
    except StopIteration:
        pass

whats = ["chat whole", "chat large", "chat half", "stream whole", "stream large", "stream half"]
print("ready", flush=True)
sys.stdin.readline()
if mode == "sync":
    whats = whats[:1]
    blocking(whats[0])
elif mode == "threads":
    threads = [threading.Thread(target=blocking, args=(what,)) for what in whats]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
elif mode == "asyncio":
    import asyncio
    async def main():
        await asyncio.gather(*map(one, whats))
    asyncio.run(main())
else:
    import trio
    async def main():
        async with trio.open_nursery() as nursery:
            for what in whats:
                nursery.start_soon(one, what)
    trio.run(main)
print(json.dumps(found), flush=True)
"""
LARGE = 200


def asked_for(peer: w.Peer) -> None:
    """What the prompt names."""
    prompt = json.loads(peer.requests[-1])["messages"][0]["content"]
    kind, size = prompt.split()
    texts = [f"{i:1000d}" for i in range(LARGE)] if size == "large" else ["fine"]
    if kind == "stream":
        data = w.streamed(*texts) if size != "half" else w.STREAM_HEAD + w.ROLE + w.said("fi")
    else:
        data = w.reply("".join(texts))
        data = data[: len(data) // 2] if size == "half" else data
    peer.send(data)


@pytest.mark.slow
@pytest.mark.serial
@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="no SIGSTOP on this platform")
@pytest.mark.parametrize("secure", WIRES)
def test_a_process_stopped_past_its_deadline(secure: str, tmp_path: Path) -> None:
    CA.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    calls = {"sync": 1, "threads": 6, "asyncio": 6, "trio": 6}
    script = (*WIRES[secure], *w.forever(w.read(), w.mark(), w.wait_go(), asked_for))
    with w.WireServer(script) as server:
        url = f"{'https' if secure == 'tls' else 'http'}://127.0.0.1:{server.port}/v1"
        ca_file = str(tmp_path / "ca.pem") if secure == "tls" else ""
        children = {
            mode: subprocess.Popen(
                [sys.executable, "-c", CHILD, mode, url, ca_file, str(TIMEOUT)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
            for mode in calls
        }  # fmt: skip
        try:
            for child in children.values():
                assert child.stdout is not None and child.stdout.readline() == b"ready\n"
            began = monotonic()
            for child in children.values():
                assert child.stdin is not None
                child.stdin.write(b"\n")
                child.stdin.flush()
            for _ in range(sum(calls.values())):
                assert server.reached.acquire(timeout=w.PATIENCE)
            sleep(0.2)  # until all of them wait
            assert monotonic() - began < TIMEOUT, "this machine is too busy for the test"
            for child in children.values():
                os.kill(child.pid, signal.SIGSTOP)
            server.go.set()
            sleep(TIMEOUT + 0.2)
            for child in children.values():
                os.kill(child.pid, signal.SIGCONT)
            found = {mode: json.loads(child.communicate(timeout=w.PATIENCE)[0]) for mode, child in children.items()}
        finally:
            for child in children.values():
                child.kill()
                child.wait()
    for mode, count in calls.items():
        texts = found[mode]
        assert len(texts) == count
        assert texts["chat whole"] == ["fine"], mode
        if count > 1:
            assert texts["stream whole"] == ["fine"], mode
            assert texts["chat half"] == ["timeout"], mode
            assert texts["stream half"] == ["fi", "timeout"], mode
            for what in ("chat large", "stream large"):
                assert "".join(texts[what]) == "".join(f"{i:1000d}" for i in range(LARGE)), (mode, what)


# -- a loop that was blocked ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("secure", WIRES)
@pytest.mark.parametrize("size", ["whole", "large", "half"])
@pytest.mark.parametrize("kind", ["chat", "stream"])
@pytest.mark.parametrize("mode", ASYNC_MODES, ids=str)
def test_a_loop_blocked_past_the_deadline(mode: Mode, kind: str, size: str, secure: str, tmp_path: Path) -> None:
    CA.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    timeout = 1.0
    with w.WireServer((*WIRES[secure], *w.forever(w.read(), w.mark(), w.wait_go(), asked_for))) as server:
        url = f"{'https' if secure == 'tls' else 'http'}://127.0.0.1:{server.port}/v1"
        client = mode.client(url, ca_file=str(tmp_path / "ca.pem"), max_retries=0, timeout=timeout)
        found: list[str] = []

        async def call() -> None:
            messages = [{"role": "user", "content": f"{kind} {size}"}]
            try:
                if kind == "chat":
                    found.append((await chat(client, messages)).content)
                else:
                    await drain(client.chat_stream(messages), found)
            except LLMTimeoutError:
                found.append("timeout")

        async def block() -> None:
            while not server.reached.acquire(blocking=False):
                await mode.sleep(0.005)
            await mode.sleep(0.05)
            server.go.set()
            sleep(timeout + 0.3)

        async def main() -> None:
            if mode.name == "trio":
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(call)
                    nursery.start_soon(block)
            else:
                await asyncio.gather(call(), block())

        mode.run(main)
    texts = {
        "whole": ["fine"],
        "large": ["".join(f"{i:1000d}" for i in range(LARGE))],
        "half": ["timeout"] if kind == "chat" else ["fi", "timeout"],
    }[size]
    assert found == texts or (size == "large" and "".join(found) == texts[0])


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_server_that_never_stops_does_not_outlive_a_total(mode: Mode) -> None:
    """The reader is slower than the server, so there is always something to read."""
    from cloud.llm import Timeouts

    with w.WireServer(
        (w.read(), w.send(w.STREAM_HEAD + w.ROLE), *w.forever(w.send(w.said("x" * 4000) * 20)))
    ) as server:

        async def main() -> float:
            client = mode.client(server.url + "/v1", timeout=Timeouts(total=0.6), max_retries=0)
            began = monotonic()
            with pytest.raises(LLMTimeoutError):
                await drain(client.chat_stream(HELLO))
            return monotonic() - began

        for took in mode.run(main):
            assert 0.6 <= took < 0.6 + 4 * BUSY  # one look at a megabyte of events, by three threads


# -- one connection ---------------------------------------------------------------------------------------------------


async def blind(*_: object) -> None:
    """A wait that sees nothing, as one that is resumed after its deadline does."""
    await trio.sleep_forever()


def unseeing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is seen of a socket but by looking at it."""
    monkeypatch.setattr(trio.lowlevel, "wait_readable", blind)
    monkeypatch.setattr(trio.lowlevel, "wait_writable", blind)
    for name in ("add_reader", "add_writer"):
        monkeypatch.setattr(asyncio.SelectorEventLoop, name, lambda *_: None)
    for name in ("remove_reader", "remove_writer"):
        monkeypatch.setattr(asyncio.SelectorEventLoop, name, lambda *_: True)


@pytest.mark.parametrize("deadline", ["passes", "has passed", "at once"])
@pytest.mark.parametrize("mode", modes.MODES, ids=str)
def test_bytes_that_nobody_saw_are_read_when_the_deadline_has_passed(
    mode: modes.Mode, deadline: str, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        connection, peer = await connected(mode, listener)
        unseeing(monkeypatch)

        def until() -> float:
            return {"passes": monotonic() + 0.05, "has passed": monotonic() - 1.0, "at once": AT_ONCE}[deadline]

        with peer:
            with pytest.raises(Fault, match="timeout"):
                await later(connection.receive(65536, until()))
            peer.sendall(b"x" * 100_000)
            assert modes.passes_within(5.0, lambda: sockets.readable(connection._sock))
            got = b""
            while len(got) < 100_000:
                got += await later(connection.receive(65536, until()))
            assert got == b"x" * 100_000
            peer.sendall(b"last")
            peer.shutdown(socket.SHUT_WR)
            assert modes.passes_within(5.0, connection.answered)
            sleep(0.05)
            assert await later(connection.receive(65536, until())) == b"last"
            assert await later(connection.receive(65536, until())) == b""
        connection.abort()
        monkeypatch.undo()

    mode.run(main)


@pytest.mark.parametrize("mode", modes.MODES, ids=str)
def test_a_connection_that_broke_unseen_is_broken(
    mode: modes.Mode, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        connection, peer = await connected(mode, listener)
        unseeing(monkeypatch)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        peer.close()
        assert modes.passes_within(5.0, connection.answered)
        for deadline in (monotonic() + 0.02, monotonic() - 1.0, AT_ONCE):
            with pytest.raises(Fault) as caught:
                assert await later(connection.receive(65536, deadline)) == b"", "seen as reset once"
                raise Fault("reset")
            assert caught.value.kind == "reset"
        connection.abort()
        monkeypatch.undo()

    mode.run(main)


@pytest.mark.parametrize("mode", modes.MODES, ids=str)
def test_room_that_nobody_saw_is_used_when_the_deadline_has_passed(
    mode: modes.Mode, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        connection, peer = await connected(mode, listener)
        with peer:
            with pytest.raises(Fault, match="timeout"):
                while True:
                    await later(connection.send(memoryview(b"x" * 500_000), monotonic() + 0.1))
            reader = threading.Thread(target=_read_for, args=(peer, 1.0))
            reader.start()
            assert modes.passes_within(5.0, lambda: sockets.takes_more(connection._sock))
            unseeing(monkeypatch)
            await later(connection.send(memoryview(b"y" * 1000), monotonic() - 1.0))
            reader.join()
        connection.abort()
        monkeypatch.undo()

    mode.run(main)


def _read_for(peer: socket.socket, seconds: float) -> None:
    peer.settimeout(0.05)
    until = monotonic() + seconds
    while monotonic() < until:
        try:
            peer.recv(1 << 20)
        except TimeoutError:
            continue


@pytest.mark.parametrize("mode", modes.ASYNC_MODES, ids=str)
@pytest.mark.parametrize("several", [False, True])
def test_a_connect_that_nobody_saw_is_found_when_the_deadline_has_passed(
    mode: modes.Mode, several: bool, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = (socket.AF_INET, listener.getsockname())

    async def main() -> None:
        runtime = mode.transport()._runtime()
        unseeing(monkeypatch)
        connection = await runtime.dial(
            (address, address) if several else (address,), monotonic() + 0.1, runtime.wakeup()
        )
        monkeypatch.undo()
        assert connection._sock.getpeername() == listener.getsockname()
        connection.abort()

    mode.run(main)


@pytest.mark.parametrize("mode", modes.ASYNC_MODES, ids=str)
@pytest.mark.parametrize("several", [False, True])
def test_a_connect_that_is_not_there_ends_at_its_deadline(
    mode: modes.Mode, several: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backlog that is full: the kernel answers nothing."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = (socket.AF_INET, full.getsockname())
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
            fillers.append(filler)
        sleep(0.05)

        async def main() -> None:
            runtime = mode.transport()._runtime()
            began = monotonic()
            with pytest.raises(Fault) as caught:
                await runtime.dial((address, address) if several else (address,), began + 0.3, runtime.wakeup())
            assert caught.value.kind == "timeout"
            assert 0.3 <= monotonic() - began < 0.3 + BUSY
            with pytest.raises(Fault, match="timeout"):
                await runtime.dial((address, address) if several else (address,), monotonic() - 1.0, runtime.wakeup())

        mode.run(main)
        for filler in fillers:
            filler.close()


def test_what_one_look_reads_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def endless(size: int) -> bytes:
        asked.append(size)
        return b"x" * size

    data = sockets.arrived(endless)
    assert data is not None and len(data) == sockets.MAX_LATE
    assert set(asked) == {sockets.READ_SIZE}


def test_a_closed_socket_takes_more_for_whoever_writes_finds_out() -> None:
    made = socket.socket()
    made.close()
    assert sockets.takes_more(made)


def test_a_race_that_ends_before_its_deadline_says_why() -> None:
    async def refused() -> socket.socket:
        raise Fault("refused")

    for deadline, kind in ((NEVER, "refused"), (0.0, "timeout")):
        with pytest.raises(Fault) as caught:
            asyncio.run(happy_eyeballs.raced(refused(), deadline, monotonic))  # type: ignore[type-var]
        assert caught.value.kind == kind
