"""h11 as the oracle, cuts of a wire, and what an exchange says after all of them."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import h11

from sans_io.http.http11 import HTTPExchange
from sans_io.limits import DEFAULT_LIMITS, Limits


class Outcome(NamedTuple):
    """What the wire meant: equal for every way to cut it."""

    body: bytes
    head: Any
    informational: int
    ended: bool
    error: str | None
    surplus: bool
    framing: str
    clean: bool


def outcome(
    reads: Sequence[bytes], *, method: str = "POST", eof: bool = True, limits: Limits = DEFAULT_LIMITS
) -> Outcome:
    exchange = HTTPExchange(method, limits)
    body = b"".join([exchange.receive_data(read) for read in reads])
    if eof:
        assert exchange.receive_eof() == b""
    return seen(exchange, body)


def seen(exchange: HTTPExchange, body: bytes) -> Outcome:
    return Outcome(
        body,
        exchange.head,
        exchange.informational,
        exchange.ended,
        None if exchange.error is None else exchange.error.code,
        exchange.surplus,
        exchange.framing,
        exchange.clean,
    )


def all_cuts(wire: bytes) -> Iterator[list[bytes]]:
    """Every way to cut `wire`: 2 ** (len - 1) of them."""
    for mask in itertools.product((False, True), repeat=len(wire) - 1):
        points = [0, *(place for place, cut in enumerate(mask, 1) if cut), len(wire)]
        yield [wire[start:stop] for start, stop in itertools.pairwise(points)]


def random_cut(wire: bytes, dice: random.Random) -> list[bytes]:
    points = sorted({0, len(wire), *(dice.randrange(len(wire) + 1) for _ in range(dice.randrange(1, 12)))})
    return [wire[start:stop] for start, stop in itertools.pairwise(points)]


class Verdict(NamedTuple):
    """What h11 makes of a response. `ok`: read to its end without an error."""

    ok: bool
    status: int = 0
    headers: tuple[tuple[bytes, bytes], ...] = ()
    version: bytes = b""
    reason: bytes = b""
    body: bytes = b""
    surplus: bytes = b""
    heads: int = 0


def h11_verdict(wire: bytes, *, method: str = "POST", size: int = 1 << 20) -> Verdict:
    """h11's reading of one whole response, the connection closed after it."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=size)
    connection.send(h11.Request(method=method, target="/", headers=[("host", "a")]))
    connection.send(h11.EndOfMessage())
    if wire:
        connection.receive_data(wire)
    closed = False
    head = None
    heads = 0
    body = b""
    try:
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                if closed:
                    return Verdict(False)
                closed = True
                connection.receive_data(b"")
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                break
            elif isinstance(event, h11.InformationalResponse):
                heads += 1
            elif isinstance(event, h11.Response):
                head = event
            else:
                return Verdict(False)
    except h11.RemoteProtocolError:
        return Verdict(False)
    assert head is not None
    return Verdict(
        True,
        head.status_code,
        tuple((bytes(name), bytes(value)) for name, value in head.headers),
        bytes(head.http_version),
        bytes(head.reason),
        body,
        bytes(connection.trailing_data[0]),
        heads,
    )
