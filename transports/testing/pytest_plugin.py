"""Fixtures for tests of programs that use a model. In your conftest.py:

    pytest_plugins = ["transports.testing.pytest_plugin"]

`llm_server`      a test server of the three wires on a real socket: `llm_server.base_url("openai")`
`llm_clock`       time that passes only when somebody waits
`llm_transport`   the same server without sockets, on `llm_clock`: `transport=llm_transport.sync` or `.asynchronous`
`llm_cassette`    a recorded conversation: `llm_cassette("hello").sync`; LLM_CASSETTE=record records it again

Needs pytest and nothing that the library does not need. There is no entry point: a plugin that loads itself would load
in every test run of everybody who has this library installed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .cassettes.cassette import Cassette
from .cassettes.entries import CassetteError
from .cassettes.recording import AsyncRecordingTransport, RecordingTransport
from .cassettes.replaying import AsyncReplayTransport, ReplayTransport
from .clock import FakeClock
from .servers.in_memory import FakeLLMServer
from .servers.loopback import LoopbackServer
from .servers.script import Ask, ReceivedRequest, ScriptedReply
from .servers.scripted import AsyncScriptedTransport, ScriptedTransport

#: The environment variable that makes `llm_cassette` record when its value is "record".
SWITCH = "LLM_CASSETTE"


class MemoryServer:
    """A test server without sockets: `sync` and `asynchronous` are transports to it, with one `clock`."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.server = FakeLLMServer()
        self.sync = ScriptedTransport(self.server, clock)
        self.asynchronous = AsyncScriptedTransport(self.server, clock)

    def script(self, *replies: ScriptedReply) -> None:
        """The next chat requests get these, one each, whatever their wire."""
        self.server.script(*replies)

    @property
    def requests(self) -> list[ReceivedRequest]:
        """What was sent, oldest first."""
        return list(self.server.requests)

    @property
    def asks(self) -> list[Ask]:
        """The chat requests in neutral words, oldest first."""
        return list(self.server.asks)


class CassetteInUse:
    """One cassette in one test, replayed or recorded. `sync`: for blocking clients; `asyncio`, `trio`: for the others.

    While replaying, `asyncio` and `trio` are the same transport, which runs on either.
    """

    def __init__(self, path: Path, *, recording: bool) -> None:
        self.path = path
        self.recording = recording
        self._cassette = Cassette() if recording else Cassette.load(path)
        self._recorders: list[RecordingTransport | AsyncRecordingTransport] = []
        self._players: dict[str, ReplayTransport] = {}
        self._async_players: dict[str, AsyncReplayTransport] = {}

    @property
    def sync(self) -> RecordingTransport | ReplayTransport:
        if not self.recording:
            return self._players.setdefault("sync", self._cassette.transport())
        from ..httpcore_sync import SyncTransport

        return self._kept(RecordingTransport(SyncTransport()))

    @property
    def asyncio(self) -> AsyncRecordingTransport | AsyncReplayTransport:
        if not self.recording:
            return self._async_player()
        from ..anyio_async import AsyncioTransport

        return self._kept_async(AsyncRecordingTransport(AsyncioTransport()))

    @property
    def trio(self) -> AsyncRecordingTransport | AsyncReplayTransport:
        if not self.recording:
            return self._async_player()
        from ..trio_async import TrioTransport

        return self._kept_async(AsyncRecordingTransport(TrioTransport()))

    def finish(self) -> None:
        """Write what was recorded, if anything was."""
        if self.recording:
            self._cassette.entries = [entry for each in self._recorders for entry in each.cassette.entries]
            self._cassette.save(self.path)

    def _async_player(self) -> AsyncReplayTransport:
        return self._async_players.setdefault("async", self._cassette.async_transport())

    def _kept(self, recorder: RecordingTransport) -> RecordingTransport:
        self._recorders.append(recorder)
        return recorder

    def _kept_async(self, recorder: AsyncRecordingTransport) -> AsyncRecordingTransport:
        self._recorders.append(recorder)
        return recorder


@pytest.fixture
def llm_clock() -> FakeClock:
    """Seconds that pass only when somebody waits; `llm_transport` runs on it."""
    return FakeClock()


@pytest.fixture
def llm_server() -> Iterator[LoopbackServer]:
    """A `LoopbackServer`: real sockets of 127.0.0.1, one for each test."""
    with LoopbackServer() as server:
        yield server


@pytest.fixture
def llm_transport(llm_clock: FakeClock) -> MemoryServer:
    """A `MemoryServer`: no sockets, no waiting."""
    return MemoryServer(llm_clock)


@pytest.fixture
def llm_cassette(request: pytest.FixtureRequest) -> Iterator[Callable[[str], CassetteInUse]]:
    """`llm_cassette("name")`: the cassette `cassettes/name.json` beside the test's file."""
    recording = os.environ.get(SWITCH) == "record"
    opened: list[CassetteInUse] = []

    def cassette(name: str) -> CassetteInUse:
        path = request.path.parent / "cassettes" / f"{name}.json"
        try:
            opened.append(CassetteInUse(path, recording=recording))
        except FileNotFoundError:
            pytest.fail(f"there is no cassette {path}; record it with {SWITCH}=record", pytrace=False)
        except CassetteError as error:
            pytest.fail(str(error), pytrace=False)
        return opened[-1]

    yield cassette
    for each in opened:
        each.finish()
