"""Transports that record: every exchange of the connections below, its bytes and their times, without credentials.

    recording = RecordingTransport(SyncTransport())
    OpenAICompatClient(api_key=key, model="m", transport=recording).chat(messages)
    recording.cassette.save("hello.json")

Rules of this file:
- The calls, pool, pump, sockets and TLS are those of the transport below; only bytes that pass are noted, in plaintext.
- A credential is never written down. Header values are kept by a list of names that hold none; the values of all other
  fields are cut out, and cut out of bodies and replies too, however they are spelled or cut there (`masking`).
- CONNECT to a proxy is not part of a conversation with a server and is not recorded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from ...faults import Fault
from ...pump import BlockingPump, Pump
from .cassette import Cassette
from .entries import End, RecordedExchange, RecordedFault
from .masking import starred
from .requests import credentials_in, recorded_request

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from sans_io.calls.call import Call
    from sans_io.chat.response import Attempt
    from sans_io.policy.pool import PoolStats, Route

    from ...anyio_async import AsyncioTransport
    from ...httpcore_sync import SyncTransport
    from ...interface import Authorizer, Connection, PoolRunner, Runtime, Wakeup
    from ...resolver import Addresses
    from ...trio_async import TrioTransport
    from ..servers.scripted import AsyncScriptedTransport, ScriptedTransport


class Recorder:
    """What the recording connections of a transport share. `secrets`: texts to cut out that are in no header."""

    def __init__(self, now: Callable[[], float], secrets: Iterable[str] = ()) -> None:
        self.now = now
        self.dials = 0
        self._secrets = frozenset(secrets)
        self._entries: list[Tape | RecordedFault] = []

    @property
    def cassette(self) -> Cassette:
        """What was recorded so far."""
        known = set(self._secrets)
        for entry in self._entries:
            if isinstance(entry, Tape):
                known |= credentials_in(bytes(entry.request))
        shown = [entry.exchange(known) if isinstance(entry, Tape) else entry for entry in self._entries]
        return Cassette([entry for entry in shown if entry is not None])

    def begin(self, connection: int) -> Tape:
        tape = Tape(connection, self.now())
        self._entries.append(tape)
        return tape

    def dial_failed(self, fault: Fault) -> None:
        self._entries.append(RecordedFault(fault.kind))

    def dialled(self) -> Track:
        self.dials += 1
        return Track(self, self.dials - 1)


class Tape:
    """One exchange while it is being recorded. Its repr shows nothing of it."""

    __slots__ = ("answered", "connection", "end", "end_after", "last", "reads", "request")

    def __init__(self, connection: int, now: float) -> None:
        self.connection = connection
        self.request = bytearray()
        self.reads: list[tuple[float, bytes]] = []
        self.end: End = "open"
        self.end_after = 0.0
        self.last = now
        self.answered = False

    def exchange(self, known: set[str]) -> RecordedExchange | None:
        """Without credentials; None for what is no exchange with a server."""
        request = recorded_request(bytes(self.request), known)
        if request is None or request.method == "CONNECT":
            return None
        reads = _masked(self.reads, known)
        return RecordedExchange(request, reads, self.end, self.end_after, self.connection)


class Track:
    """One connection: notes what passes, and where an exchange ends and the next one begins."""

    def __init__(self, recorder: Recorder, number: int) -> None:
        self._recorder = recorder
        self._number = number
        self._tape: Tape | None = None

    def sent(self, data: bytes) -> None:
        if self._tape is None or self._tape.answered:
            self._tape = self._recorder.begin(self._number)
        self._tape.request += data

    def received(self, data: bytes) -> None:
        tape, now = self._tape, self._recorder.now()
        if tape is None:
            return
        tape.answered = True
        if data:
            tape.reads.append((max(0.0, now - tape.last), data))
        else:
            tape.end, tape.end_after = "fin", max(0.0, now - tape.last)
        tape.last = now

    def failed(self, fault: Fault) -> None:
        tape, now = self._tape, self._recorder.now()
        if tape is not None and fault.kind == "reset":
            tape.answered = True
            tape.end, tape.end_after = "rst", max(0.0, now - tape.last)


def _masked(reads: Iterable[tuple[float, bytes]], secrets: Iterable[str]) -> tuple[tuple[float, bytes], ...]:
    """The reads with stars for credentials, which may lie across two of them."""
    kept = list(reads)
    data = starred(b"".join(part for _, part in kept), secrets)
    masked, place = [], 0
    for delay, part in kept:
        masked.append((delay, data[place : place + len(part)]))
        place += len(part)
    return tuple(masked)


# -- transports --------------------------------------------------------------------------------------------------------


_Inner = TypeVar(
    "_Inner", bound="SyncTransport | ScriptedTransport | AsyncioTransport | TrioTransport | AsyncScriptedTransport"
)


class _Recording(Generic[_Inner]):
    """What both transports are: the one below, and what is written down of it."""

    def __init__(self, inner: _Inner, *, secrets: Iterable[str] = ()) -> None:
        self._inner = inner
        self.now = inner.now
        self.recorder = Recorder(inner.now, secrets)

    @property
    def cassette(self) -> Cassette:
        """What was recorded so far."""
        return self.recorder.cassette

    def pool_stats(self) -> PoolStats:
        return self._inner.pool_stats()

    def close_idle(self) -> None:
        self._inner.close_idle()


class RecordingTransport(_Recording["SyncTransport | ScriptedTransport"]):
    """Around a blocking transport. `cassette`: what was recorded so far; `secrets`: texts to cut out besides keys."""

    def start(
        self,
        call: Call,
        *,
        authorize: Authorizer | None = None,
        on_attempt: Callable[[Attempt], object] | None = None,
    ) -> BlockingPump:
        """A pump for the call. Next: `pump.advance()`."""
        below = self._inner.start(call, authorize=authorize, on_attempt=on_attempt)
        return BlockingPump(call, _RecordedRuntime(below._runtime, self.recorder), authorize, on_attempt)


class AsyncRecordingTransport(_Recording["AsyncioTransport | TrioTransport | AsyncScriptedTransport"]):
    """Around an asynchronous transport (on asyncio or trio). Otherwise as `RecordingTransport`."""

    def start(
        self,
        call: Call,
        *,
        authorize: Authorizer | None = None,
        on_attempt: Callable[[Attempt], object] | None = None,
    ) -> Pump:
        """A pump for the call. Next: `await pump.advance()`."""
        below = self._inner.start(call, authorize=authorize, on_attempt=on_attempt)
        return Pump(call, _RecordedRuntime(below._runtime, self.recorder), authorize, on_attempt)


class _Tap:
    """A connection of which everything is written down; awaited if the connection below is."""

    def __init__(self, connection: Connection, track: Track) -> None:
        self.below = connection
        self.track = track
        self.unread, self.answered = connection.unread, connection.answered
        self.abort, self.shutdown, self.forget = connection.abort, connection.shutdown, connection.forget

    def receive(self, max_bytes: int, deadline: float) -> bytes | Awaitable[bytes]:
        try:
            data = self.below.receive(max_bytes, deadline)
        except Fault as fault:
            self.track.failed(fault)
            raise
        if not isinstance(data, bytes):
            return self._awaited(data)
        self.track.received(data)
        return data

    async def _awaited(self, coming: Awaitable[bytes]) -> bytes:
        try:
            data = await coming
        except Fault as fault:
            self.track.failed(fault)
            raise
        self.track.received(data)
        return data

    def send(self, data: memoryview, deadline: float) -> Awaitable[object] | None:
        self.track.sent(bytes(data))
        return self.below.send(data, deadline)


class _RecordedRuntime:
    def __init__(self, below: Runtime, recorder: Recorder) -> None:
        self._below = below
        self._recorder = recorder
        self.now, self.wakeup, self.nested = below.now, below.wakeup, below.nested
        self.resolve, self.tls_ready, self.within = below.resolve, below.tls_ready, below.within

    @property
    def pool_runner(self) -> PoolRunner:
        return self._below.pool_runner

    async def dial(self, addresses: Addresses, deadline: float, wakeup: Wakeup) -> Connection:
        try:
            connection = await self._below.dial(addresses, deadline, wakeup)
        except Fault as fault:
            self._recorder.dial_failed(fault)
            raise
        return _Tap(connection, self._recorder.dialled())

    async def secure(self, connection: Connection, route: Route, name: str, deadline: float) -> Connection:
        if not isinstance(connection, _Tap):
            return await self._below.secure(connection, route, name, deadline)
        return _Tap(await self._below.secure(connection.below, route, name, deadline), connection.track)
