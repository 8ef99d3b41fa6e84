"""Transports that play a cassette: the shipped pumps and pool over connections that answer as the server once did.

Rules of this file:
- A request gets the answer to the first recorded request like it that has not been played: the same method, target and
  body. Headers may differ, since keys and versions do. A request that was never recorded is an error of the test.
- A dial that was recorded as failed fails when its turn comes: when everything recorded before it was played.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ..clock import FakeClock, RealClock
from ..servers.script import ReceivedRequest
from ..servers.scripted import Answer, AsyncScriptedTransport, Scripted, ScriptedTransport
from .entries import CassetteError, Entries, RecordedExchange, RecordedFault, RecordedRequest, Speed
from .requests import recorded_request

if TYPE_CHECKING:
    from sans_io.decode.jsontext import JSON

    from ..servers.connection import Piece


class _Replay(Scripted):
    """What both transports are: a cassette instead of a script."""

    def __init__(self, cassette: Entries, speed: Speed = "zero", *, rechunk: int | None = None) -> None:
        self._reel = _Reel(cassette, speed, rechunk)
        super().__init__(self._reel.faults_due(), RealClock() if speed == "real" else FakeClock())

    @property
    def unused(self) -> int:
        """How many recorded answers nobody has asked for yet."""
        return self._reel.unused

    def answer(self, request: ReceivedRequest) -> list[Piece]:
        self._requests.append(request)
        pieces = self._reel.answer(request)
        self.add(*self._reel.faults_due())
        return pieces


class ReplayTransport(_Replay, ScriptedTransport):
    """For blocking clients; `Cassette.transport()` makes one. `unused` counts what nobody has asked for yet."""


class AsyncReplayTransport(_Replay, AsyncScriptedTransport):
    """For asynchronous clients on any loop; `Cassette.async_transport()` makes one. Otherwise as `ReplayTransport`."""


class _Reel:
    """What of a cassette has not been played."""

    def __init__(self, cassette: Entries, speed: Speed, rechunk: int | None) -> None:
        self._entries = list(cassette.entries)
        self._speed: Speed = speed
        self._rechunk = rechunk
        self._played = 0

    @property
    def unused(self) -> int:
        return len(self._entries)

    def faults_due(self) -> list[Answer]:
        """The failed dials that come next."""
        from ...faults import Fault

        due: list[Answer] = []
        while self._entries and isinstance(self._entries[0], RecordedFault):
            due.append(Fault(self._entries[0].kind, "as recorded"))
            del self._entries[0]
        return due

    def answer(self, request: ReceivedRequest) -> list[Piece]:
        asked = _request(request)
        for place, entry in enumerate(self._entries):
            if isinstance(entry, RecordedExchange) and _alike(entry.request, asked):
                del self._entries[place]
                self._played += 1
                # Another seed for each, or equal replies would always be cut alike.
                return entry.pieces(self._speed, None if self._rechunk is None else self._rechunk * 7919 + self._played)
        raise CassetteError(_nothing_like(asked, [e for e in self._entries if isinstance(e, RecordedExchange)]))


def _request(request: ReceivedRequest) -> RecordedRequest:
    """As it would have been recorded: without the key of today."""
    lines = [f"{request.method} {request.target} HTTP/1.1", *(f"{name}: {value}" for name, value in request.headers)]
    shown = recorded_request("\r\n".join([*lines, "", ""]).encode("latin-1") + request.body)
    if shown is None:
        raise CassetteError("a request without a head")
    return shown


def _alike(recorded: RecordedRequest, asked: RecordedRequest) -> bool:
    if (recorded.method, recorded.target) != (asked.method, asked.target):
        return False
    return recorded.body == asked.body or _parsed(recorded.body) == _parsed(asked.body) != None  # noqa: E711


def _parsed(body: bytes) -> JSON:
    try:
        return json.loads(body)
    except ValueError:
        return None


def _nothing_like(asked: RecordedRequest, left: list[RecordedExchange]) -> str:
    if not left:
        return f"the cassette has been played to its end; it has no answer to {asked.method} {asked.target}"
    nearest = next((e.request for e in left if e.request.target == asked.target), left[0].request)
    said = f"the cassette has no answer to {asked.method} {asked.target}"
    if (nearest.method, nearest.target) != (asked.method, asked.target):
        return f"{said}; the next one recorded is {nearest.method} {nearest.target}"
    ours, theirs = _parsed(asked.body), _parsed(nearest.body)
    if isinstance(ours, dict) and isinstance(theirs, dict):
        differing = sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
        return f"{said}: the body differs from the one recorded in {', '.join(differing)}"
    return f"{said}: the body differs from the one recorded"
