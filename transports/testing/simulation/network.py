"""Simulated connections: two ends, virtual time, and everything that a network does to bytes.

Rules of this file:
- The client's end is a `transports.interface.Connection`, driven by the shipped pump; the server's end is a script.
- Bytes of one direction never overtake each other; a reset discards what was not read, a FIN does not.
- A connection knows the truth that the client has to guess: `tainted` is set once a reuse would be wrong.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol

from ...faults import Fault
from .loop import SimWakeup, VirtualLoop
from .wires import Request, RequestReader

if TYPE_CHECKING:
    from sans_io.policy.pool import Route


class SimPeer(Protocol):
    """What a simulated server is told."""

    def on_request(self, conn: SimConnection, request: Request) -> None: ...
    def on_first_bytes(self, conn: SimConnection) -> None: ...
    def on_partial(self, conn: SimConnection) -> None: ...
    def on_closed(self, conn: SimConnection) -> None: ...


class SimConnection:
    """One connection; the client's methods first, the server's below."""

    __slots__ = (
        "__weakref__", "_buffer", "_eof", "_loop", "_peer", "_reader", "_reset", "_wakeup", "busy", "closed",
        "ended_at", "exchanges", "number", "route", "stalled", "tainted",
    )  # fmt: skip

    def __init__(self, loop: VirtualLoop, peer: SimPeer, route: Route, number: int) -> None:
        self._loop = loop
        self._peer = peer
        self._buffer: deque[bytes] = deque()
        self._eof = False
        self._reset: str | None = None
        self._wakeup = SimWakeup(loop)
        self._reader = RequestReader()
        self.route = route
        self.number = number
        self.busy = False
        self.closed = False
        self.exchanges = 0
        self.stalled = False
        self.tainted: str | None = None
        #: When the server ended it.
        self.ended_at = float("inf")

    def __repr__(self) -> str:
        return f"conn#{self.number}"

    def __hash__(self) -> int:
        """So that a set of connections has the same order in every process."""
        return self.number

    # -- the client's end --------------------------------------------------------------------------------------------

    async def receive(self, max_bytes: int, deadline: float) -> bytes:
        while True:
            if self.closed:
                raise Fault("reset", "closed by us")
            if self._buffer:
                return self._take(max_bytes)
            if self._reset is not None:
                raise Fault("reset", self._reset)
            if self._eof:
                return b""
            self._wakeup.woken = False
            if not await self._wakeup.wait(deadline):
                raise Fault("timeout")

    async def send(self, data: memoryview, deadline: float) -> None:
        self._check()
        if not self._reader.pending:
            self.busy = True
            self._peer.on_first_bytes(self)
        while self.stalled:
            self._wakeup.woken = False
            if not await self._wakeup.wait(deadline):
                raise Fault("timeout")
            self._check()
        for request in self._reader.receive_data(data):
            self.exchanges += 1
            self._peer.on_request(self, request)
        if self._reader.pending:
            self._peer.on_partial(self)

    def unread(self) -> bool:
        return bool(self._buffer) or self._eof or self._reset is not None

    answered = unread

    def abort(self) -> None:
        self.shutdown()

    def shutdown(self) -> None:
        if not self.closed:
            self.closed = True
            self._wakeup.wake()
            self._peer.on_closed(self)

    def forget(self) -> None:
        self.closed = True

    # -- the server's end --------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Bytes arrive at the client now."""
        if not self.closed and data and not self._eof and self._reset is None:
            self._buffer.append(data)
            self._wakeup.wake()

    def finish(self) -> None:
        """FIN: what was written can still be read."""
        self._eof = True
        self.ended_at = min(self.ended_at, self._loop.now)
        self._wakeup.wake()

    def reset(self, detail: str = "connection reset by peer") -> None:
        """RST: what was not read is lost."""
        self._reset = detail
        self.ended_at = min(self.ended_at, self._loop.now)
        self._buffer.clear()
        self._wakeup.wake()

    def resume(self) -> None:
        """Take bytes again after `stalled`."""
        self.stalled = False
        self._wakeup.wake()

    def drop_request(self) -> None:
        """Read no more of the request that is coming: what is sent from now on is another one."""
        self._reader = RequestReader()

    def _check(self) -> None:
        if self._reset is not None or self.closed:
            raise Fault("reset", self._reset or "closed by us")

    def _take(self, max_bytes: int) -> bytes:
        """All that has arrived, as a socket gives it."""
        buffer = self._buffer
        data = buffer.popleft() if len(buffer) == 1 else b"".join(buffer)
        buffer.clear()
        if len(data) > max_bytes:
            buffer.append(data[max_bytes:])
            data = data[:max_bytes]
        return data
