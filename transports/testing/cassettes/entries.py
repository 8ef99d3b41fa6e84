"""What a cassette holds: requests, the reads that answered them, and dials that failed. Plain data.

    Cassette ──> replaying ──> entries <── requests
    recording ──> Cassette

Rules of this file:
- No credential is ever in it; `requests` and `recording` see to that.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from ..servers.connection import Piece

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sans_io.calls.failures import FaultKind

#: "open": nobody waited for more, or nothing more came · "fin", "rst": how the server closed the connection.
End: TypeAlias = Literal["open", "fin", "rst"]
#: "zero": as fast as it is read · "recorded": at the recorded times of a clock that moves when somebody waits
#: · "real": at the recorded times, truly waiting.
Speed: TypeAlias = Literal["zero", "recorded", "real"]


class CassetteError(Exception):
    """A file that is no cassette, or a request that the cassette has no answer to."""


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """One request without its credentials: header values that might be one, and key-like query values, are `***`."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class RecordedExchange:
    """A request and the reads that answered it: (seconds since the one before, bytes). `connection` counts dials."""

    request: RecordedRequest
    reads: tuple[tuple[float, bytes], ...] = ()
    end: End = "open"
    end_after: float = 0.0
    connection: int = 0

    def pieces(self, speed: Speed = "zero", rechunk: int | None = None) -> list[Piece]:
        """What to write and when. `rechunk`: a seed; the same bytes are cut elsewhere, each at its last byte's time."""
        reads = list(self.reads) if rechunk is None else _cut_elsewhere(self.reads, rechunk)
        pieces = [Piece(data, 0.0 if speed == "zero" else delay) for delay, data in reads]
        if self.end != "open":
            pieces.append(Piece(b"", 0.0 if speed == "zero" else self.end_after, self.end))
        return pieces

    @property
    def reply(self) -> bytes:
        """All bytes that came back, head included."""
        return b"".join(data for _, data in self.reads)


@dataclass(frozen=True, slots=True)
class RecordedFault:
    """A dial that failed; `kind` as in `sans_io.calls.failures`."""

    kind: FaultKind


class Entries(Protocol):
    """A `Cassette`, as far as playing it is concerned."""

    @property
    def entries(self) -> list[RecordedExchange | RecordedFault]: ...


def _cut_elsewhere(reads: Sequence[tuple[float, bytes]], seed: int) -> list[tuple[float, bytes]]:
    """The same bytes in other pieces; a piece comes when the last of its bytes came."""
    dice = random.Random(seed)  # noqa: S311  repeatable on purpose
    data = b"".join(part for _, part in reads)
    times: list[tuple[int, float]] = []  # (offset of the read's end, time of it)
    now, end = 0.0, 0
    for delay, part in reads:
        now, end = now + delay, end + len(part)
        times.append((end, now))
    longest = dice.choice((1, 3, 17, 200, 4096))
    cut: list[tuple[float, bytes]] = []
    place, before, at = 0, 0.0, 0
    while place < len(data):
        stop = min(len(data), place + dice.randint(1, longest))
        while times[at][0] < stop:
            at += 1
        cut.append((times[at][1] - before, data[place:stop]))
        place, before = stop, times[at][1]
    return cut
