"""Transports without sockets: the peer is a script or a test server in memory, and time is a `FakeClock`.

    transport = ScriptedTransport([b"HTTP/1.1 200 OK\\r\\n...", [Piece(b"HTTP/1.1 2"), Piece(b"", 3.0, "rst")]])
    client = OpenAICompatClient(api_key="k", model="m", transport=transport)
    transport.requests[0].json()["messages"]

Rules of this file:
- The pumps and the pool are the shipped ones; only the connection and the waiting are replaced.
- Nothing ever really waits: whoever would moves the clock to what happens next, be it bytes or his own deadline.
- One call at a time is the intended use. Calls at once work and share the one clock, as in a single-threaded world.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from inspect import isawaitable
from socket import AddressFamily
from typing import Any, Protocol, TypeAlias

from sans_io.calls.call import Call
from sans_io.chat.response import Attempt
from sans_io.policy.pool import PoolStats, Route

from ...faults import Fault
from ...interface import Authorizer, Connection, PoolRunner, Wakeup
from ...pools import PoolSettings
from ...pump import BlockingPump, Pump
from ...resolver import Addresses, ThreadJob, Waker
from ..clock import FakeClock
from .connection import Piece, ServerConnection
from .in_memory import FakeLLMServer
from .script import ReceivedRequest

#: What answers the next thing the client does: bytes or pieces a request, a `Fault` a dial (or breaks a request).
Answer: TypeAlias = bytes | Sequence[Piece] | Fault


class Peer(Protocol):
    """The far side of one connection."""

    def receive_data(self, data: bytes) -> list[Piece]: ...


class Scripted(ABC):
    """What both transports below are: a script, a clock and what was asked."""

    def __init__(
        self,
        script: Iterable[Answer] | FakeLLMServer,
        clock: FakeClock | None = None,
        *,
        max_connections: int | None = None,
    ) -> None:
        self.now = clock or FakeClock()
        self.settings = PoolSettings(max_connections)
        self.dials: list[tuple[str, int]] = []
        self._server = script if isinstance(script, FakeLLMServer) else None
        self._answers: deque[Answer] = deque() if isinstance(script, FakeLLMServer) else deque(script)
        self._requests: list[ReceivedRequest] = []
        self._runtime = self._new_runtime()

    @abstractmethod
    def _new_runtime(self) -> _Runtime:
        """Blocking, or for event loops."""

    def pool_stats(self) -> PoolStats:
        return self._runtime.pool_runner.stats()

    def close_idle(self) -> None:
        self._runtime.pool_runner.close_idle(self.now())

    @property
    def requests(self) -> list[ReceivedRequest]:
        """What was sent, in order. Their repr shows no credentials."""
        return list(self._requests if self._server is None else self._server.requests)

    @property
    def unused(self) -> int:
        """How many answers of the script nobody has asked for yet."""
        return len(self._answers) if self._server is None else self._server.unused

    def add(self, *answers: Answer) -> None:
        """More of the script."""
        self._answers.extend(answers)

    def connect(
        self, addresses: Addresses, new_connection: type[ScriptedConnection] | None = None
    ) -> ScriptedConnection:
        """One dial. Raises the `Fault` that the script has next, if it has one."""
        host, port = addresses[0][1][:2]
        self.dials.append((host, port))
        if self._answers and isinstance(self._answers[0], Fault):
            fault = self._answers[0]
            self._answers.popleft()
            raise fault
        number = len(self.dials) - 1
        peer = _ScriptPeer(self, number) if self._server is None else ServerConnection(self._server, number)
        return (new_connection or ScriptedConnection)(self.now, peer)

    def answer(self, request: ReceivedRequest) -> list[Piece]:
        """What the script says to this request; a request too many is an error of the test."""
        self._requests.append(request)
        if not self._answers:
            raise AssertionError(f"the script has no answer left for request {len(self._requests)}: {request!r}")
        answer = self._answers.popleft()
        if isinstance(answer, Fault):
            return [Piece(b"", 0.0, "rst")]
        return [Piece(answer)] if isinstance(answer, bytes) else list(answer)


class ScriptedTransport(Scripted):
    """For blocking clients. `script`: answers in order, or a `FakeLLMServer`, which speaks the wires itself.

    `now` is the clock, `requests` what was sent, `dials` the hosts and ports dialled.
    """

    def _new_runtime(self) -> _Runtime:
        return _Runtime(self, _ScriptedWakeup, ScriptedConnection)

    def start(
        self,
        call: Call,
        *,
        authorize: Authorizer | None = None,
        on_attempt: Callable[[Attempt], object] | None = None,
    ) -> BlockingPump:
        """A pump for the call. Next: `pump.advance()`."""
        return BlockingPump(call, self._runtime, authorize, on_attempt)


class AsyncScriptedTransport(Scripted):
    """The same for asynchronous clients, under any event loop."""

    def _new_runtime(self) -> _Runtime:
        return _Runtime(self, _AsyncScriptedWakeup, _AsyncScriptedConnection)

    def start(
        self,
        call: Call,
        *,
        authorize: Authorizer | None = None,
        on_attempt: Callable[[Attempt], object] | None = None,
    ) -> Pump:
        """A pump for the call. Next: `await pump.advance()`."""
        return Pump(call, self._runtime, authorize, on_attempt)


class ScriptedConnection:
    """One connection to a peer in memory: bytes with the time of their arrival."""

    def __init__(self, clock: FakeClock, peer: Peer) -> None:
        self.closed = False
        self._clock = clock
        self._peer = peer
        self._coming: deque[tuple[float, bytes | Fault]] = deque()
        self._last_at = clock()

    def receive(self, max_bytes: int, deadline: float) -> bytes:
        if self.closed:
            raise Fault("reset", "the connection was closed")
        if not self._coming or self._coming[0][0] > max(deadline, self._clock()):
            self._clock.advance_to(deadline)
            raise Fault("timeout")
        when, what = self._coming[0]
        self._clock.advance_to(when)
        if isinstance(what, Fault):
            raise what
        if not what:
            return b""  # it stays at its end
        self._coming.popleft()
        if len(what) > max_bytes:
            self._coming.appendleft((when, what[max_bytes:]))
        return what[:max_bytes]

    def send(self, data: memoryview, deadline: float) -> None:  # noqa: ARG002  memory is never full
        if self.closed:
            raise Fault("reset", "the connection was closed")
        if self._coming and isinstance(self._coming[-1][1], Fault) and self._coming[-1][0] <= self._clock():
            raise self._coming[-1][1]
        self._last_at = max(self._last_at, self._clock())
        for piece in self._peer.receive_data(bytes(data)):
            self._last_at += piece.delay
            if piece.data:
                self._coming.append((self._last_at, piece.data))
            if piece.hang_up == "fin":
                self._coming.append((self._last_at, b""))
            elif piece.hang_up == "rst":
                self._coming.append((self._last_at, Fault("reset", "Connection reset by peer")))

    def unread(self) -> bool:
        return self.closed or bool(self._coming and self._coming[0][0] <= self._clock())

    answered = unread

    def abort(self) -> None:
        self.closed = True

    shutdown = forget = abort


class _AsyncScriptedConnection(ScriptedConnection):
    """The same, awaited."""

    async def receive(self, max_bytes: int, deadline: float) -> bytes:  # type: ignore[override]
        if not self.closed:
            when = min(self._coming[0][0], deadline) if self._coming else deadline
            await self._clock.wait_until(when, lambda: self.closed)
        return super().receive(max_bytes, deadline)


class _ScriptPeer:
    """Gathers whole requests and lets the script answer them."""

    def __init__(self, script: Scripted, number: int) -> None:
        self._script = script
        self._number = number
        self._data = b""

    def receive_data(self, data: bytes) -> list[Piece]:
        self._data += data
        head, blank, rest = self._data.partition(b"\r\n\r\n")
        if not blank:
            return []
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ", 2)
        fields = tuple((name.strip().lower(), value.strip()) for name, _, value in (x.partition(":") for x in lines))
        length = int(dict(fields).get("content-length", "0"))
        if len(rest) < length:
            return []
        self._data = rest[length:]
        return self._script.answer(ReceivedRequest(method, target, fields, rest[:length], self._number))


class _ScriptedWakeup:
    """Time passes while one waits, unless somebody has woken it."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.woken = False

    def wake(self) -> None:
        self.woken = True

    def wait(self, until: float) -> Awaitable[object] | None:
        if not self.woken:
            self._clock.advance_to(until)
        return None


class _AsyncScriptedWakeup(_ScriptedWakeup):
    """The same, while other tasks run."""

    async def wait(self, until: float) -> None:
        if not self.woken:
            await self._clock.wait_until(until, lambda: self.woken)


class _Runtime:
    """What both kinds of pump are given."""

    def __init__(
        self, script: Scripted, new_wakeup: Callable[[FakeClock], Wakeup], new_connection: type[ScriptedConnection]
    ) -> None:
        self._script = script
        self._new_wakeup = new_wakeup
        self._new_connection = new_connection
        self.now = script.now
        self.pool_runner = PoolRunner(script.settings.new_pool, self.wakeup)

    def nested(self) -> bool:
        return False

    def wakeup(self) -> Wakeup:
        return self._new_wakeup(self.now)

    def resolve(self, host: str, port: int, wakeup: Waker) -> ThreadJob[Addresses]:  # noqa: ARG002
        return ThreadJob.of(_nowhere(host, port))

    def tls_ready(self, route: Route, wakeup: Waker) -> ThreadJob[bool]:  # noqa: ARG002
        return ThreadJob.of(True)

    async def dial(self, addresses: Addresses, deadline: float, wakeup: Wakeup) -> Connection:  # noqa: ARG002
        return self._script.connect(addresses, self._new_connection)

    async def secure(self, connection: Connection, route: Route, name: str, deadline: float) -> Connection:  # noqa: ARG002
        return connection

    async def within(self, result: Any, deadline: float, wakeup: Wakeup) -> Any:  # noqa: ARG002
        return await result if isawaitable(result) else result


def _nowhere(host: str, port: int) -> Addresses:
    """The name itself: there is nothing to resolve it to."""
    return ((AddressFamily.AF_INET, (host, port)),)
