"""Fuzz the response side of HTTP/1.1: heads, bodies, framing, reuse.

    python fuzz/fuzz_http11.py .fuzz/corpus/http11 -max_total_time=60

The first byte chooses the method, the caps, whether the peer closes and whether http.client is asked as well, the
second how the rest is cut. No exception is allowed at all: what is wrong with the bytes is the exchange's `error`, with
one of the documented codes. The outcome must not depend on the cut. What h11 refuses must be refused, and what h11 or
http.client accept as well must have been read alike.
"""

from __future__ import annotations

import functools
import http.client
import io
import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import h11
from cuts import pieces

CODES = frozenset(
    {
        "bad_head", "head_too_large", "too_many_headers", "too_many_informational", "bad_version", "bad_status",
        "bad_framing", "coded_reply", "bad_chunk", "chunk_line_too_long", "truncated_head", "truncated_body",
    }
)  # fmt: skip
REQUESTS = {
    method: h11.Request(method=method, target="/", headers=[("host", "a"), ("content-length", "0")])
    for method in ("HEAD", "POST")
}
#: (body, head, informational, ended, error, surplus, framing, clean)
Outcome = tuple[bytes, Any, int, bool, object, bool, str, bool]


@functools.cache
def core() -> Any:
    """Imported on demand, so that the fuzzer can instrument what is imported."""
    from sans_io.errors import LLMProtocolError, LLMStreamError
    from sans_io.http.http11 import HTTPExchange
    from sans_io.limits import DEFAULT_LIMITS

    small = replace(DEFAULT_LIMITS, max_head=96, max_headers=3, max_informational=1, max_chunk_line=16)
    return SimpleNamespace(
        HTTPExchange=HTTPExchange, errors=(LLMProtocolError, LLMStreamError), limits=(DEFAULT_LIMITS, small)
    )


def one_input(data: bytes) -> None:
    """One run of the target."""
    if len(data) < 2:
        return
    method = "HEAD" if data[0] & 1 else "POST"
    limits = core().limits[bool(data[0] & 2)]
    eof = bool(data[0] & 4)
    wire = data[2:]
    whole = outcome([wire], method, limits, eof)
    assert outcome(pieces(wire, data[1]), method, limits, eof) == whole, "depends on where the bytes were cut"
    closed = whole if eof else outcome([wire], method, limits, True)
    body, head, informational, ended, error, surplus, framing, clean = closed
    assert ended == (error is None), "a closed exchange has either ended or failed"
    assert not (clean and surplus)
    if ended:
        assert h11_reading(wire, method) == (head.status, body, surplus), "h11 refuses it or reads it otherwise"
        # http.client takes every informational response but 100 for the final one.
        if not data[0] & 8 and not informational:
            theirs = http_client_reading(wire, method, framing)
            assert theirs is None or theirs == (head.status, body), "http.client reads it otherwise"


def outcome(reads: list[bytes], method: str, limits: Any, eof: bool) -> Outcome:
    exchange = core().HTTPExchange(method, limits)
    body = b"".join([exchange.receive_data(read) for read in reads])
    if eof:
        assert exchange.receive_eof() == b""
    error = exchange.error
    assert error is None or isinstance(error, core().errors)
    assert error is None or (error.code in CODES and error.message.isprintable())
    assert exchange.head is None or 200 <= exchange.head.status <= 599
    return (
        body,
        exchange.head,
        exchange.informational,
        exchange.ended,
        None if error is None else (type(error), error.code, error.message),
        exchange.surplus,
        exchange.framing,
        exchange.clean,
    )


def h11_reading(wire: bytes, method: str) -> tuple[int, bytes, bool] | None:
    """(status, body, surplus) as h11 sees them; None where it refuses."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 24)
    connection.send(REQUESTS[method])
    connection.send(h11.EndOfMessage())
    connection.receive_data(wire)
    status, body, closed = 0, b"", False
    try:
        while not isinstance(event := connection.next_event(), h11.EndOfMessage):
            if isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif event is h11.NEED_DATA:
                assert not closed
                closed = True
                connection.receive_data(b"")
    except h11.RemoteProtocolError:
        return None
    return status, body, bool(connection.trailing_data[0])


class _Socket:
    """What http.client needs of a socket."""

    def __init__(self, wire: bytes) -> None:
        self._wire = wire

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._wire)


def http_client_reading(wire: bytes, method: str, framing: str) -> tuple[int, bytes] | None:
    """(status, body) as the standard library sees them; None where it refuses, or takes odd framing for none."""
    try:
        response = http.client.HTTPResponse(_Socket(wire), method=method)  # type: ignore[arg-type]
        response.begin()
        if (framing == "chunked") != response.chunked or (framing == "length" and response.length is None):
            return None
        return response.status, response.read()
    except (http.client.HTTPException, ValueError):
        return None


def main() -> None:
    import atheris  # type: ignore[import-untyped,import-not-found,unused-ignore]

    with atheris.instrument_imports(include=["sans_io"]):
        core()
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
