"""What a cell of the fault matrix is, and how it is run: one client, one server, one fault, in one of the four modes.

Every run of a cell is on its own: its own server, transport, event loop. Runs go on at once in a few worker threads,
since nearly all of their time is waiting.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import trustme

from cloud.llm import LLMError, Timeouts
from sans_io.limits import DEFAULT_LIMITS, Limits
from sans_io.policy.retry import RetryPolicy
from tests.callers import HELLO, IN_THREADS, THREADS, Mode, chat, drain
from tests.transports.test_pool_in_use import SlowDial
from tests.wire_server import Script, WireServer, answer, forever, read, send, tls

#: Every timer of a cell, in seconds; the ones over the whole call are far away, so that each cell meets its own timer.
T = 0.4
#: What a busy scheduler may add to a deadline; early is never allowed.
ALLOWANCE = 1.0
#: How soon a cancellation shows, and the end of `asyncio.run` and `trio.run` after its last line, before the allowance.
PROMPT = 0.1

AUTHORITY = trustme.CA()
SERVER_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
AUTHORITY.issue_cert("127.0.0.1", "origin.test", "localhost").configure_cert(SERVER_TLS)
CLIENT_TLS = ssl.create_default_context()
AUTHORITY.configure_trust(CLIENT_TLS)
NOBODY_TRUSTS = ssl.create_default_context()


@dataclass(frozen=True)
class Cell:
    """One fault in one phase, and what a caller sees of it.

    `error`: the type's name, None: the call succeeds. `code`: its code, "" for any. `attempts`: of the call. `text`:
    what had been delivered, or the answer. `connection`: "closed", "kept", "none" (there never was one) or "any" (it
    depends on who is faster). `after`: seconds that must have passed. `within`: seconds on top of it before the
    allowance. `impossible`: the reason.
    """

    phase: str
    fault: str
    what: str
    script: Script = ()
    error: str | None = None
    code: str | tuple[str, ...] = ""
    attempts: int = 1
    text: str = ""
    connection: str = "closed"
    after: float = 0.0
    within: float = PROMPT
    stream: bool = True
    layer: str = "http"
    big: bool = False
    limits: Limits = DEFAULT_LIMITS
    options: dict[str, Any] = field(default_factory=dict)
    cancel: bool = False
    billed: bool | None = None
    #: What happens between a first call, which is well, and a second one, which is looked at.
    idle: bool = False
    dead: bool = False
    shut: bool = False
    again: bool = True
    impossible: str | None = None

    def __str__(self) -> str:
        return f"{self.phase} / {self.fault}"


@dataclass
class Seen:
    """What one run of a cell came to."""

    error: str | None = None
    code: str | None = None
    attempts: int = 0
    text: str = ""
    partial: str | None = None
    billed: bool = False
    elapsed: float = 0.0
    cancelled_after: float | None = None
    kept: bool = False
    connections: int = 0
    problem: BaseException | None = None


@dataclass
class Run:
    cell: Cell
    mode: Mode
    seen: list[Seen] = field(default_factory=list)
    left_open: int = 0
    end: float = 0.0
    closed: bool = True
    problem: BaseException | None = None

    def complaints(self) -> list[str]:
        """Everything in which the run was not what the cell says."""
        if self.problem is not None:
            return [f"{type(self.problem).__name__}: {self.problem}"]
        found = []
        if len(self.seen) != (THREADS if self.mode is IN_THREADS else 1):
            found.append(f"{len(self.seen)} outcomes")
        for seen in self.seen:
            found += _compare(self.cell, seen)
        if self.end > PROMPT + ALLOWANCE:
            found.append(f"the run ended {self.end:.2f} s after its last line")
        if self.left_open:
            found.append(f"{self.left_open} connections leased or dialling after the calls")
        if not self.closed:
            found.append("a connection was still open after the end")
        return found


def _compare(cell: Cell, seen: Seen) -> Iterator[str]:
    if seen.error != cell.error:
        yield f"error {seen.error} ({seen.code}) instead of {cell.error}"
    codes = (cell.code,) if isinstance(cell.code, str) else cell.code
    if cell.error is not None and "" not in codes and seen.code not in codes:
        yield f"code {seen.code!r} instead of {cell.code!r}"
    if seen.attempts != cell.attempts:
        yield f"{seen.attempts} attempts instead of {cell.attempts}"
    if seen.text != cell.text:
        yield f"text {seen.text!r} instead of {cell.text!r}"
    if seen.partial is not None and seen.partial != seen.text:
        yield f"partial {seen.partial!r}, delivered {seen.text!r}"
    if cell.billed is not None and seen.billed != cell.billed:
        yield f"may_be_billed {seen.billed}"
    if seen.elapsed < cell.after:
        yield f"after {seen.elapsed:.3f} s, earlier than {cell.after}"
    late = seen.cancelled_after if seen.cancelled_after is not None else seen.elapsed - cell.after
    if late > cell.within + ALLOWANCE:
        yield f"{late:.2f} s late"
    if cell.connection != "any" and seen.kept != (cell.connection == "kept"):
        yield "the connection was kept" if seen.kept else "the connection was not kept"
    if cell.connection != "any" and (seen.connections == 0) != (cell.connection == "none"):
        yield f"{seen.connections} connections were made"
    if seen.problem is not None:
        yield f"the plain call afterwards: {type(seen.problem).__name__}: {seen.problem}"


#: Megabytes through one interpreter are work, not waiting: the cells that send them go two at a time.
_FEW = threading.Semaphore(2)


def perform(cell: Cell, mode: Mode) -> Run:
    """Run the cell and look at what is left."""
    run = Run(cell, mode)
    try:
        with _FEW if cell.big else contextlib.nullcontext(), _server(cell) as server:
            if cell.shut:
                server.stop_listening()
            _perform(run, server)
    except BaseException as problem:  # a worker thread must not die of it: the test shows it
        run.problem = problem
    return run


def _server(cell: Cell) -> Any:
    if cell.dead:
        return SlowDial()
    healthy = {
        "http": forever(read(), answer("well")),
        "dns": forever(read(), answer("well")),
        "tls": (tls(SERVER_TLS), *forever(read(), answer("well"))),
        "proxy": (read(), send(b"HTTP/1.1 200 OK\r\n\r\n"), tls(SERVER_TLS), *forever(read(), answer("well"))),
    }[cell.layer]
    return WireServer(cell.script, healthy=healthy, receive_buffer=1 << 16 if cell.big else None)


def _client(cell: Cell, mode: Mode, server: Any, name: str) -> Any:
    port = server.port
    urls = {
        "http": f"http://127.0.0.1:{port}/v1",
        "dns": f"http://{name}:{port}/v1",
        "tls": f"https://127.0.0.1:{port}/v1",
        "proxy": "https://origin.test/v1",
    }
    options: dict[str, Any] = {
        "timeout": Timeouts(total=12.0, pool=T, connect=T, write=T, first_token=12.0 if cell.big else T, idle=T),
        "retry": RetryPolicy(max_retries=1, base_transient=0.01, base_throttled=0.01),
        "limits": cell.limits,
    }
    if cell.layer in ("tls", "proxy"):
        options["ssl_context"] = CLIENT_TLS
    if cell.layer == "proxy":
        options["proxy"] = f"http://127.0.0.1:{port}"
    if cell.layer == "dns":
        options |= {"api_key": None, "dialect": "vllm"}
    return mode.client(urls[cell.layer], **{**options, **cell.options})


def _perform(run: Run, server: Any) -> None:
    cell, mode = run.cell, run.mode
    callers = THREADS if mode is IN_THREADS else 1
    server.expected = callers
    name = f"{cell.fault.replace(' ', '-')}-{mode}-{server.port}.test"
    client = _client(cell, mode, server, name)
    if cell.layer == "dns":
        FAULTY_NAMES[name] = cell.fault
    messages = [{"role": "user", "content": "x" * 5_000_000}] if cell.big else HELLO
    all_are_here = threading.Barrier(callers)
    calls_are_done = threading.Barrier(callers)
    last_line = 0.0

    async def main() -> Seen:
        nonlocal last_line
        seen = Seen()
        if cell.idle:
            await chat(client)
        # Together, so that nobody comes so late that another's connection or address is there for the taking.
        if all_are_here.wait(5.0) == 0 and cell.idle:
            server.heal()
            if cell.what.startswith("closed, and nobody listens"):
                server.stop_listening()
        if cell.idle:
            server.go.set()
            server.reached.acquire(timeout=5.0)
            await mode.sleep(0.05)
        await _one(cell, mode, client, server, messages, seen)
        stats = client.pool_stats()
        seen.connections = stats.dialled
        if calls_are_done.wait(15.0) == 0:
            run.left_open = client.pool_stats().leased + client.pool_stats().connecting
            FAULTY_NAMES.pop(name, None)
            # A host whose name hangs gets two threads; the calls afterwards need a resolver that comes back.
            LOOKUPS.setdefault(name, threading.Event()).set()
            if not cell.dead:
                server.heal()
        seen.kept = client.pool_stats().idle > 0
        calls_are_done.wait(15.0)
        if cell.again and not cell.dead and not cell.shut:
            try:
                plain = await chat(client, timeout=5.0)
                assert plain.content in ("well", "fine", "a", "ab"), plain.content
            except BaseException as problem:
                seen.problem = problem
        last_line = monotonic()
        return seen

    run.seen = mode.run(main)
    run.end = monotonic() - last_line
    client._transport.close_idle()
    LOOKUPS.pop(name, threading.Event()).set()
    if not cell.dead:
        server.go.set()
        run.closed = server.closed_by_client()


async def _one(cell: Cell, mode: Mode, client: Any, server: Any, messages: list, seen: Seen) -> None:
    texts: list[str] = []
    began = monotonic()
    cancelled_at: list[float] = []
    canceller = None
    error: LLMError | None = None
    try:
        if not cell.stream:
            whole = await chat(client, messages)
            texts, attempts = [whole.content], whole.attempts
        else:
            stream = client.chat_stream(messages)
            if cell.cancel:
                canceller = threading.Thread(target=_cancel, args=(cell, server, stream, cancelled_at))
                canceller.start()
            await drain(stream, texts)
            attempts = stream.response.attempts
            assert stream.response.content == "".join(texts)
    except LLMError as caught:
        error, attempts = caught, caught.attempts
    ended = monotonic()
    seen.elapsed = ended - began
    seen.text = "".join(texts)
    seen.attempts = len(attempts)
    if error is not None:
        seen.error, seen.code, seen.billed = type(error).__name__, error.code, error.may_be_billed
        seen.partial = None if error.partial is None else error.partial.content
    if canceller is not None:
        while canceller.is_alive():
            await mode.sleep(0.001)
        seen.cancelled_after = ended - cancelled_at[0]


def _cancel(cell: Cell, server: Any, stream: Any, at: list[float]) -> None:
    if not cell.dead and cell.layer != "dns":
        server.reached.acquire(timeout=5.0)
    threading.Event().wait(0.08)
    at.append(monotonic())
    stream.cancel()


# -- names -------------------------------------------------------------------------------------------------------------

#: Names under `.test` and how looking them up fails; those that are not here are this machine.
FAULTY_NAMES: dict[str, str] = {}
LOOKUPS: dict[str, threading.Event] = {}


@contextlib.contextmanager
def faulty_names() -> Iterator[None]:
    """A resolver that fails for some names, as the system's does."""
    real = socket.getaddrinfo

    def look_up(host: Any, port: Any, *args: Any, **options: Any) -> Any:
        if not isinstance(host, str) or not host.endswith(".test"):
            return real(host, port, *args, **options)
        fault = FAULTY_NAMES.get(host)
        if fault == "refuse":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        if fault == "reset":
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        if fault == "garbage":
            raise socket.gaierror(socket.EAI_FAIL, "Non-recoverable failure in name resolution")
        if fault in ("silence", "cancel"):
            LOOKUPS.setdefault(host, threading.Event()).wait(15.0)
        if fault == "drip":
            threading.Event().wait(T / 2)
        return real("127.0.0.1", port, *args, **options)

    socket.getaddrinfo = look_up  # type: ignore[assignment]
    try:
        yield
    finally:
        socket.getaddrinfo = real
