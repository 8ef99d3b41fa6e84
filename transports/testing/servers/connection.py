"""`ServerConnection`: HTTP/1.1 on the server's side of one connection, without I/O.

Rules of this file:
- Bytes in, `Piece`s out: what to write, after how long, and whether to hang up then. Whoever owns the socket (or the
  simulated one) obeys them in order.
- h11 reads the requests and writes every well-formed response. What h11 would refuse to write (surplus bytes, a body
  that is cut, a close-delimited body) is written around it.
- After hanging up, or falling silent, the connection answers nothing more.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Literal, TypeAlias

import h11

from .script import ReceivedRequest, ReplyPlan

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .in_memory import FakeLLMServer

HangUp: TypeAlias = Literal["", "fin", "rst"]


@dataclass(frozen=True, slots=True)
class Piece:
    """Wait `delay` seconds, write `data` at once, then close the connection if `hang_up` says so."""

    data: bytes
    delay: float = 0.0
    hang_up: HangUp = ""


class ServerConnection:
    """One client's connection to `server`; `number` is written into the requests that it records."""

    def __init__(self, server: FakeLLMServer, number: int | None = None) -> None:
        self.server = server
        self.number = number
        self.closed = False
        self.requests = 0
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=1024 * 1024)
        self._request: h11.Request | None = None
        self._body: list[bytes] = []

    def receive_data(self, data: bytes) -> list[Piece]:
        """Bytes from the client, cut anywhere. Next: write the pieces; read on meanwhile if you like."""
        if self.closed or not data:
            return []
        return self._fed(data)

    def receive_eof(self) -> list[Piece]:
        """The client has closed its side. Next: write what is left, then close."""
        if self.closed:
            return []
        return [*self._fed(b""), self._hang_up("fin")]

    def _fed(self, data: bytes) -> list[Piece]:
        pieces: list[Piece] = []
        try:
            self._http.receive_data(data)
            while not self.closed and self._step(pieces):
                pass
        except h11.RemoteProtocolError as fault:
            pieces.append(self._refuse(fault))
        return pieces

    def _step(self, pieces: list[Piece]) -> bool:
        event = self._http.next_event()
        if isinstance(event, h11.Request):
            self._request, self._body = event, []
            early = self.server.early(self._received())
            if early is not None:
                pieces.extend(self._answer(early))
                pieces.append(self._hang_up("fin"))
                return False
            if self._http.they_are_waiting_for_100_continue:
                pieces.append(Piece(self._send(h11.InformationalResponse(status_code=100, headers=[]))))
        elif isinstance(event, h11.Data):
            self._body.append(bytes(event.data))
        elif isinstance(event, h11.EndOfMessage):
            self.requests += 1
            pieces.extend(self._answer(self.server.handle(self._received())))
            self._next_cycle(pieces)
        else:  # NEED_DATA, PAUSED, ConnectionClosed
            return False
        return True

    def _next_cycle(self, pieces: list[Piece]) -> None:
        if self.closed:
            return
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
        else:
            pieces.append(self._hang_up("fin"))

    def _received(self) -> ReceivedRequest:
        request = self._request
        if request is None:
            raise RuntimeError("no request has been read")
        headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers)
        method, target = request.method.decode("ascii"), request.target.decode("ascii")
        return ReceivedRequest(method, target, headers, b"".join(self._body), self.number)

    def _answer(self, plan: ReplyPlan) -> Iterator[Piece]:
        """The pieces of one response; sets `closed` where the plan ends the connection."""
        early_hints = b"HTTP/1.1 103 Early Hints\r\nlink: </>\r\n\r\n" * plan.informational
        head = Piece(early_hints + self._head(plan), plan.head_delay)
        if plan.framing == "length":
            # A reply of known length is written at once, as servers do; a stream is flushed event by event.
            yield from _joined([head, *self._rest(plan)])
        else:
            yield head
            yield from self._rest(plan)

    def _rest(self, plan: ReplyPlan) -> Iterator[Piece]:
        left = plan.cut_after
        for delay, data in () if self._bodiless else plan.pieces:
            if left is not None and left < len(data):
                yield self._cut(plan, data[:left], delay)
                return
            left = None if left is None else left - len(data)
            yield Piece(self._body_bytes(plan, data), delay)
        if left is not None:  # cut after the last byte: only what ends the body is missing
            yield self._cut(plan, b"", 0.0)
            return
        end = b"" if plan.framing == "close" else self._send(h11.EndOfMessage())
        if plan.surplus and plan.surplus_delay is None:
            yield Piece(end + plan.surplus)
        else:
            yield Piece(end)
            if plan.surplus:
                yield Piece(plan.surplus, plan.surplus_delay or 0.0)
        if plan.close or plan.framing == "close":
            yield self._hang_up("fin")

    @property
    def _bodiless(self) -> bool:
        return self._request is not None and self._request.method == b"HEAD"

    def _head(self, plan: ReplyPlan) -> bytes:
        headers = list(plan.headers)
        if plan.close or plan.framing == "close":
            headers.append(("connection", "close"))
        if plan.framing == "close":
            lines = [f"HTTP/1.1 {plan.status} {_reason(plan.status)}", *(f"{name}: {value}" for name, value in headers)]
            return "\r\n".join([*lines, "", ""]).encode("latin-1")
        if plan.framing == "length":
            headers.append(("content-length", str(len(plan.body))))
        else:
            headers.append(("transfer-encoding", "chunked"))
        encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        return self._send(h11.Response(status_code=plan.status, headers=encoded, reason=_reason(plan.status)))

    def _body_bytes(self, plan: ReplyPlan, data: bytes) -> bytes:
        return data if plan.framing == "close" else self._send(h11.Data(data=data))

    def _cut(self, plan: ReplyPlan, data: bytes, delay: float) -> Piece:
        self.closed = True
        hang_up: HangUp = "" if plan.after_cut == "silence" else plan.after_cut
        written = self._body_bytes(plan, data) if data else b""
        return Piece(written, delay, hang_up)

    def _hang_up(self, how: HangUp) -> Piece:
        self.closed = True
        return Piece(b"", 0.0, how)

    def _refuse(self, fault: h11.RemoteProtocolError) -> Piece:
        self.closed = True
        if self._http.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            return Piece(b"", 0.0, "fin")
        body = str(fault).encode("utf-8", "replace")
        headers = [("content-type", "text/plain"), ("content-length", str(len(body))), ("connection", "close")]
        response = h11.Response(status_code=fault.error_status_hint, headers=headers)
        written = self._send(response) + self._send(h11.Data(data=body)) + self._send(h11.EndOfMessage())
        return Piece(written, 0.0, "fin")

    def _send(self, event: h11.Event) -> bytes:
        return self._http.send(event) or b""


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:  # vendors' own, as 529
        return "Unknown"


def _joined(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """The same bytes at the same times in as few writes as possible."""
    held: Piece | None = None
    for piece in pieces:
        if held is None:
            held = piece
        elif piece.delay > 0.0:
            yield held
            held = piece
        else:
            held = Piece(held.data + piece.data, held.delay, piece.hang_up)
    if held is not None:
        yield held
