"""Simulated servers: from a whole request to timed bytes, with at most one fault in the way.

Rules of this file:
- A reply is planned when the request has come, from the world's dice, and played by timers.
- What is true is written down as it happens: what the caller may have at most (`SimExchange.text`), whether the
  connection may serve again (`conn.tainted`), when a caller may come back (`not_before`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import cycle, pairwise
from typing import TYPE_CHECKING, Final

from .faults import BY_NAME, draw_idle, draw_server
from .refusals import MAY_HAVE_RUN, REFUSALS
from .scene import Scene, SimExchange
from .wires import KEEPALIVES, Script, WireName, error_body, error_event, in_chunks, script

if TYPE_CHECKING:
    from .network import SimConnection
    from .wires import Request

_SAME_READ: Final = "surplus bytes came with its last reply"
#: The latest that the end of a connection can have crossed a request on its way, in seconds after it came.
_CROSSED: Final = 0.25
#: The server's word that there will be no answer, inside a 200 or with a status.
_SAID_SO: Final = frozenset({"error_first", "json_error_200", "http_1_0"} | (REFUSALS.keys() - MAY_HAVE_RUN))


class SimServer:
    """All servers of one world; one wire (provider) per world's route."""

    def __init__(self, world: Scene) -> None:
        self.world = world
        self.not_before: dict[str, tuple[float, int]] = {}
        self.last: dict[str, SimExchange] = {}
        #: By nonce: the connection of the last request, whether it had served before, and when the request came.
        self._asked: dict[str, tuple[SimConnection, bool, float]] = {}

    # -- what the network tells ----------------------------------------------------------------------------------------

    def on_first_bytes(self, conn: SimConnection) -> None:
        """The first bytes of a request, perhaps before the whole of it."""
        world = self.world
        if conn.tainted is not None:
            world.violated("I2", f"{conn} serves again although {conn.tainted}")
        if conn.closed:
            world.violated("I2", f"{conn} serves again although it was closed")
        if conn.unread():
            world.violated("I3", f"{conn} serves again with unread bytes on it")
        roll = world.roll() if world.faulty() else 1.0
        if roll < 0.02 and world.meets("write_reset"):
            conn.tainted = "it was reset"
            conn.reset("connection reset while writing")
        elif 0.02 <= roll < 0.03 and world.meets("write_stall"):
            conn.stalled = True
            if world.liveness or world.roll() < 0.5:
                world.loop.call_later(world.roll() * 40, conn.resume)

    def on_partial(self, conn: SimConnection) -> None:
        """A piece of a large request has come, not all of it."""
        if not self.world.faulty() or conn.tainted is not None:
            return
        roll = self.world.roll()
        if roll > 0.6:
            return
        if roll < 0.2:
            if self.world.meets("write_cut"):
                conn.tainted = "it was reset in the middle of a request"
                conn.reset("broken pipe")
            return
        if not self.world.meets("early_reply"):
            return
        conn.tainted = "it answered before the request was sent"
        conn.drop_request()
        body = error_body("openai", "invalid_request_error", "too large")
        conn.write(
            b"HTTP/1.1 413 Too Large\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )
        if self.world.roll() < 0.5:
            conn.finish()

    def on_closed(self, conn: SimConnection) -> None:
        """The client closed its end."""

    def on_request(self, conn: SimConnection, request: Request) -> None:
        world = self.world
        call = world.caller_of(request)
        if call is None:
            world.violated("I1", f"a request with the unknown nonce {request.nonce!r}")
            return
        if request.key != call.key:
            world.violated("I5", f"the request of {request.nonce} carries the key of {request.key}")
        earliest, status = self.not_before.get(request.nonce, (0.0, 0))
        # Only a hint that was read binds: its attempt has the status in the ledger.
        attempts = call.call.attempts if call.call is not None else ()
        if attempts and attempts[-1].status == status and world.loop.now < earliest - 1e-6:
            world.violated("I8", f"{request.nonce} came back before its Retry-After")
        if call.committed:
            world.violated("I9", f"{request.nonce} was sent again after its first event")
        self._sent_again(request.nonce)
        self._asked[request.nonce] = (conn, conn.exchanges > 1, world.loop.now)
        call.requests += 1
        fault = world.draw(draw_server, 0.62)
        if fault is not None:
            call.faults += 1
            if BY_NAME[fault].spoils:
                conn.tainted = f"its reply met {fault}"
        world.trace("request", conn.number, request.nonce, fault)
        Reply(self, conn, request, call.wire, fault).play()

    def _sent_again(self, nonce: str) -> None:
        """I8: a request that may have run, to a caller who forbids that."""
        policy, before = self.world.policy, self.last.get(nonce)
        if before is None or (policy.retry_ambiguous and policy.max_retries):
            return
        conn, reused, asked_at = self._asked[nonce]
        crossed = reused and conn.ended_at <= asked_at + _CROSSED
        if not crossed and not (policy.max_retries and before.fault in _SAID_SO):
            self.world.violated("I8", f"{nonce} was sent again although it may have run (it met {before.fault})")


class Reply:
    """One reply being played."""

    __slots__ = ("conn", "fault", "pieces", "request", "server", "text", "wire", "world")

    def __init__(
        self, server: SimServer, conn: SimConnection, request: Request, wire: WireName, fault: str | None
    ) -> None:
        self.server = server
        self.world = server.world
        self.conn = conn
        self.request = request
        self.wire = wire
        self.fault = fault

    def play(self) -> None:
        world, fault, nonce = self.world, self.fault, self.request.nonce
        events = 8 + int(world.roll() * 5) if self.request.stream else 3
        said = script(self.wire, nonce, stream=self.request.stream, events=events, tool=world.roll() < 0.2)
        self.server.last[nonce] = SimExchange(nonce, fault, said.text, said.tool, whole=fault is None)
        world.answered(self.server.last[nonce])
        if fault is None:
            self._whole(said)
            return
        self.server.last[nonce].whole = self.server.last[nonce].ended = False
        phase = BY_NAME[fault].phase
        if phase == "status":
            self._refuse(fault)
        elif fault in _SIMPLE:
            _SIMPLE[fault](self)
        else:
            self._spoilt(fault, said)

    # -- right replies -------------------------------------------------------------------------------------------------

    def _whole(self, said: Script, *, idle: bool = True) -> None:
        world = self.world
        segments = [self._head(200, said.content_type, chunked=self.request.stream, length=said.length)]
        segments += said.chunks if self.request.stream else said.pieces
        surplus = world.draw(draw_idle, 0.12) if idle else None
        if surplus == "surplus_same_read":
            self.conn.tainted = _SAME_READ
            segments[-1] += b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
        self._send(segments, None if surplus in (None, "surplus_same_read") else surplus)

    def _head(self, status: int, content_type: str, *, chunked: bool, length: int, extra: bytes = b"") -> bytes:
        framing = b"Transfer-Encoding: chunked\r\n" if chunked else b"Content-Length: %d\r\n" % length
        return b"HTTP/1.1 %d OK\r\nContent-Type: %b\r\n%b%b\r\n" % (status, content_type.encode(), framing, extra)

    def _send(self, segments: list[bytes], afterwards: str | None = None, end: str | None = None) -> float:
        """Write the segments as the dice cut them; then the end ("fin", "reset"), or an idle fault. Seconds taken."""
        world = self.world
        how = 1.0 if len(segments) == 1 or self.conn.tainted == _SAME_READ else world.roll()
        if how < 0.5:
            segments = [b"".join(segments)]
        elif how < 0.8:
            segments = _recut(b"".join(segments), world)
        loop = world.loop
        at = loop.now + world.roll() * 0.2
        pause = world.roll() * 0.05
        last = len(segments) - 1
        for index, segment in enumerate(segments):
            loop.call_at(at, partial(self._arrive, segment, index == last, afterwards, end))
            at += pause
        return at - loop.now

    def _arrive(self, data: bytes, final: bool, afterwards: str | None, end: str | None) -> None:
        conn, world = self.conn, self.world
        conn.write(data)
        if not final:
            return
        conn.busy = False
        self.server.last[self.request.nonce].sent_at = world.loop.now
        if end == "fin":
            conn.finish()
        elif end == "reset":
            conn.reset()
        elif afterwards is not None and not conn.closed:
            exchanges = conn.exchanges
            world.loop.call_later(world.roll() * 20.0, lambda: self._idle_fault(afterwards, exchanges))

    def _idle_fault(self, fault: str, exchanges: int) -> None:
        """Only while nobody uses the connection: bytes that overtake a request are beyond any client's knowledge."""
        conn = self.conn
        if conn.closed or conn.busy or conn.exchanges != exchanges:
            return
        conn.tainted = f"{fault} happened while it was idle"
        if fault == "surplus_later":
            conn.write(b"\r\n0\r\n")
        elif fault == "unsolicited_reply":
            body = error_body(self.wire, "unsolicited", "not for you")
            conn.write(self._head(200, "application/json", chunked=False, length=len(body)) + body)
        elif fault == "idle_fin":
            conn.finish()
        else:
            # A reset takes from the reader what he has not read yet.
            self.server.last[self.request.nonce].whole = False
            conn.reset()

    # -- errors of the provider ----------------------------------------------------------------------------------------

    def _refuse(self, fault: str) -> None:
        world, nonce = self.world, self.request.nonce
        status, code, extra, hint = REFUSALS[fault]
        if fault == "gateway_html":
            body, kind = b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>", "text/html"
        else:
            body, kind = error_body(self.wire, code, f"{fault} {nonce}"), "application/json"
        head = self._head(status, kind, chunked=False, length=len(body), extra=extra)
        if fault in ("stalled_refusal", "cut_refusal"):
            body = body[: int(world.roll() * len(body))]
        self._send(
            [head + body] if fault == "stalled_refusal" else [head, body], end="fin" if fault == "cut_refusal" else None
        )
        self.server.not_before[nonce] = (world.loop.now + hint if hint else 0.0, status)

    # -- broken replies ------------------------------------------------------------------------------------------------

    def _no_reply(self, end: str | None, within: float = 1.0, after: float = 0.0) -> None:
        if end is None:
            return
        seconds = after + self.world.roll() * within
        self.world.loop.call_later(seconds, self.conn.finish if end == "fin" else self.conn.reset)

    def _raw(self, data: bytes, end: str | None = "fin") -> None:
        self._send([data], end=end)

    def _spoilt(self, fault: str, said: Script) -> None:
        """A reply that begins right. `pieces` are cut, changed or followed by something."""
        world, stream = self.world, self.request.stream
        exchange = self.server.last[self.request.nonce]
        pieces = list(said.pieces)
        extra, chunked, end, kind = b"", stream, None, said.content_type
        length = said.length
        head_first = b""
        tail = b""
        n = len(pieces)
        before, after = min(said.first_content, n), min(said.first_content + 1 + int(world.roll() * 5), n)
        match fault:
            case "informational":
                head_first = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * (1 + int(world.roll() * 4))
                exchange.whole = True
            case "connection_close":
                extra, end, exchange.whole = b"Connection: close\r\n", "fin", True
            case "wrong_type":
                kind = "text/html"
            case "coded_reply":
                extra = b"Content-Encoding: gzip\r\n"
            case "silent_after_head":
                pieces = []
            case "error_first":
                pieces = [error_event(self.wire, _stream_code(self.wire, world.roll()), "failed early")]
            case "json_error_200":
                pieces, kind, chunked = (
                    [error_body(self.wire, "api_error", "failed with 200")],
                    "application/json",
                    False,
                )
                length = len(pieces[0])
            case "empty_body":
                pieces, length = [], 0
            case "cut_before_content":
                pieces, end = pieces[:before], world.pick("fin", "reset")
                length += 0 if stream else 5
            case "length_too_long":
                chunked, length, end = False, length + 7, "fin"
            case "length_too_short":
                chunked, length = False, max(1, length - 9)
            case "both_framings":
                extra, chunked = b"Content-Length: %d\r\n" % length, True
                exchange.whole = True
            case "keepalives_only" | "keepalives_after_content":
                self._keepalives(said, 0 if fault == "keepalives_only" else after)
                return
            case "cut_after_content" | "reset_after_content":
                pieces, end = pieces[:after], "fin" if fault == "cut_after_content" else "reset"
                length += 0 if stream else 5
            case "silence_after_content":
                pieces, length = pieces[:after], length + 5
            case "error_after_content":
                pieces = [*pieces[:after], error_event(self.wire, _stream_code(self.wire, world.roll()), "failed late")]
                length = sum(map(len, pieces))
            case "no_terminal":
                pieces = pieces[: said.finish]
                length = sum(map(len, pieces))
                exchange.ended = False
            case "finish_then_eof" | "finish_then_silence":
                pieces = pieces[: said.finish + 1]
                end = "fin" if fault == "finish_then_eof" else None
                length = sum(map(len, pieces)) + 5
                exchange.whole = self.wire == "openai" or said.finish == said.terminal
                if not stream:
                    exchange.whole = False
            case "no_last_chunk":
                exchange.whole = True
                length += 0 if stream else 3
            case "bit_flip":
                pieces = [_flipped(piece, world) if i == n // 2 else piece for i, piece in enumerate(pieces)]
                exchange.exact = False
            case "broken_chunk":
                tail = b"zz\r\nnot a chunk\r\n"
                pieces = pieces[:after]
                if not stream:
                    chunked = True
            case "cut_utf8":
                pieces = [*pieces[:before], b"\xf0\x9f\x98"]
                length = sum(map(len, pieces))
                end = "fin"
            case "close_framed":
                chunked, length, end, exchange.whole = False, -1, "fin", True
            case "drip":
                exchange.whole = True
        head = self._head(200, kind, chunked=chunked, length=length, extra=extra)
        if length < 0:
            head = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\n\r\n" % kind.encode()
        segments = [head_first + head]
        finished = fault not in (
            "silent_after_head", "cut_before_content", "cut_after_content", "reset_after_content", "finish_then_eof",
            "silence_after_content", "finish_then_silence", "no_last_chunk", "broken_chunk", "cut_utf8",
        )  # fmt: skip
        segments += in_chunks(pieces, finished=finished) if chunked else pieces
        exchange.ended = exchange.whole or fault in _MAY_END or (fault == "length_too_long" and stream)
        if tail:
            segments.append(tail)
        if fault == "length_too_short":
            # In one piece: surplus bytes that come after the next request are beyond any client's knowledge.
            segments = [b"".join(segments)]
        if fault == "drip":
            segments = _recut(b"".join(segments), world)
        self._send(segments, end=end)

    def _keepalives(self, said: Script, after: int) -> None:
        """The server is alive and says nothing, for longer than anybody waits."""
        world, stream = self.world, self.request.stream
        head = self._head(200, said.content_type, chunked=stream, length=said.length + 10_000)
        first = said.pieces[:after]
        self._send([head, *(in_chunks(first, finished=False) if stream else first)])
        beats = cycle(in_chunks(KEEPALIVES[self.wire], finished=False) if stream else [b" "])
        until = world.loop.now + 200.0

        def again() -> None:
            if not self.conn.closed and world.loop.now < until:
                self.conn.write(next(beats))
                world.loop.call_later(1.0 + world.roll() * 4, again)

        world.loop.call_later(1.0, again)


_MAY_END: Final = frozenset({"finish_then_eof", "finish_then_silence", "length_too_short", "bit_flip"})


def _garbled(reply: Reply) -> None:
    choice = reply.world.roll()
    reply._raw(
        b"HTTP/9.9 banana\r\n\r\n"
        if choice < 0.3
        else b"\x00\x01\x02nonsense\r\n\r\n"
        if choice < 0.6
        else b"220 ftp\r\n"
    )


def _keepalive_race(reply: Reply) -> None:
    """The server closed an idle connection at the moment when the request was on its way."""
    reply._no_reply("fin" if reply.world.roll() < 0.5 else "reset", _CROSSED)


def _early(reply: Reply) -> None:
    body = error_body(reply.wire, "invalid_request_error", "too large")
    reply._raw(
        reply._head(413, "application/json", chunked=False, length=len(body), extra=b"Connection: close\r\n") + body
    )


_SIMPLE: Final[dict[str, Callable[[Reply], None]]] = {
    "keepalive_race": _keepalive_race,
    "no_reply_fin": lambda reply: reply._no_reply("fin", after=reply.world.silence()),
    "no_reply_reset": lambda reply: reply._no_reply("reset", after=reply.world.silence()),
    "no_reply_silence": lambda reply: reply._no_reply(None),
    "early_reply": _early,
    "endless_informational": lambda reply: reply._raw(b"HTTP/1.1 100 Continue\r\n\r\n" * 12, end=None),
    "garbled_head": _garbled,
    "oversize_head": lambda reply: reply._raw(b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 200, end=None),
    "head_cut": lambda reply: reply._raw(b"HTTP/1.1 200 OK\r\nContent-Ty"),
    "head_reset": lambda reply: reply._raw(b"HTTP/1.1 200 O", end="reset"),
    "http_1_0": lambda reply: reply._raw(b"HTTP/1.0 503 Busy\r\nContent-Length: 0\r\n\r\n"),
    "redirect": lambda reply: reply._raw(
        b"HTTP/1.1 307 Elsewhere\r\nLocation: https://elsewhere.test/v1\r\nContent-Length: 0\r\n\r\n", end=None
    ),
}


def _stream_code(wire: WireName, roll: float) -> str:
    return "overloaded_error" if roll < 0.5 else "api_error" if wire != "openai" else "server_error"


def _recut(data: bytes, world: Scene) -> list[bytes]:
    """Up to 8 pieces, cut anywhere."""
    cuts = sorted({int(world.roll() * len(data)) for _ in range(1 + int(world.roll() * 7))})
    edges = [0, *cuts, len(data)]
    return [data[a:b] for a, b in pairwise(edges) if b > a]


def _flipped(piece: bytes, world: Scene) -> bytes:
    at = int(world.roll() * len(piece) * 8)
    changed = bytearray(piece)
    if changed:
        changed[at // 8] ^= 1 << (at % 8)
    return bytes(changed)
