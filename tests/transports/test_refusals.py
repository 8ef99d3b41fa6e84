"""On real sockets, in every mode: a refusal is what its status says, however its body comes, and it comes soon."""

from __future__ import annotations

import gzip
import zlib
from time import monotonic

import pytest

from cloud.llm import LLMAuthError, LLMError, LLMNotFoundError, LLMRateLimitError, LLMServerError
from tests import wire_server as w
from tests.callers import BUSY, HELLO, IN_THREADS, MODES, THREADS, Mode, chat, drain

KINDS: dict[str, type[LLMError]] = {
    "429 Too Many Requests": LLMRateLimitError,
    "401 Unauthorized": LLMAuthError,
    "403 Forbidden": LLMAuthError,
    "404 Not Found": LLMNotFoundError,
    "503 Service Unavailable": LLMServerError,
}
CODED = {
    "gzip": gzip.compress(b'{"error": {}}'),
    "br": b"\x0b\x02\x80",
    "deflate": zlib.compress(b"{}"),
    "zstd": b"(\xb5/\xfd",
}
SAID = b'{"error": {"message": "no"}}'


def script(how: str, status: str) -> w.Script:
    """One refusal, however it comes. It says that one should come back in 90 seconds, which nobody waits for."""
    hints = ("Retry-After: 90", "X-Request-Id: r-1")
    if how in CODED:
        return (w.send(w.reply("", *hints, f"Content-Encoding: {how}", status=status, content=CODED[how])),)
    if how == "chunked gzip":
        head = w.head(status, *hints, "Transfer-Encoding: chunked", "Content-Encoding: gzip")
        return (w.send(head + w.chunk(CODED["gzip"])),)
    if how == "gzip without end":
        return (w.send(w.head(status, *hints, "Content-Encoding: gzip") + CODED["gzip"]),)
    if how == "garbled chunks":
        return (w.send(w.head(status, *hints, "Transfer-Encoding: chunked") + w.chunk(SAID) + b"zz\r\n"),)
    if how == "stalled chunks":
        return (w.send(w.head(status, *hints, "Transfer-Encoding: chunked") + w.chunk(SAID)),)
    if how == "too long":
        head = w.head(status, *hints, "Content-Length: 3000000")
        return (w.send(head + SAID + b" " * 2_000_000), w.hold())
    head = w.head(status, *hints, "Content-Length: 500")
    if how == "stalled at once":
        return (w.send(head),)
    return {
        "stalled": (w.send(head + SAID),),
        "cut": (w.send(head + SAID), w.fin()),
        "reset": (w.send(head + SAID), w.pause(0.05), w.reset()),
    }[how]


HOW = [*CODED, "chunked gzip", "gzip without end", "garbled chunks", "stalled chunks", "too long", "stalled at once",
       "stalled", "cut", "reset"]  # fmt: skip


@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize("status", KINDS)
@pytest.mark.parametrize("how", HOW)
def test_a_refusal_keeps_its_meaning(mode: Mode, status: str, how: str) -> None:
    callers = THREADS if mode is IN_THREADS else 1
    with w.WireServer((w.read(), w.gather(), *script(how, status))) as server:
        server.expected = callers
        client = mode.client(server.url + "/v1", timeout=30.0)

        async def main() -> tuple[LLMError, float]:
            began = monotonic()
            with pytest.raises(LLMError) as caught:
                if how in ("stalled", "gzip"):
                    await drain(client.chat_stream(HELLO))
                else:
                    await chat(client)
            return caught.value, monotonic() - began

        outcomes = mode.run(main)
        assert server.requests == callers
        assert client.pool_stats().idle == 0
        client._transport.close_idle()
        assert server.closed_by_client()
    allowed = {"stalled": 1.0, "stalled chunks": 1.0, "stalled at once": 1.0}.get(how, 0.0)
    for error, seconds in outcomes:
        assert type(error) is KINDS[status]
        assert (error.status_code, error.retry_after, error.request_id) == (int(status[:3]), 90.0, "r-1")
        assert not error.may_be_billed
        assert seconds < allowed + 1.0 + BUSY


@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize("how", ["gzip", "stalled", "cut", "garbled chunks"])
def test_a_401_is_sent_once_more_with_a_fresh_key_and_no_further(mode: Mode, how: str) -> None:
    callers = THREADS if mode is IN_THREADS else 1
    with w.WireServer((w.read(), *script(how, "401 Unauthorized"))) as server:
        client = mode.client(server.url + "/v1", timeout=30.0, api_key=lambda: "sk-fresh-key")

        async def main() -> LLMError:
            with pytest.raises(LLMAuthError) as caught:
                await chat(client)
            return caught.value

        errors = mode.run(main)
        assert server.requests == 2 * callers
    assert [len(error.attempts) for error in errors] == [2] * callers
