"""On real sockets, in every mode: what a server has read in full it is not sent a second time unless that is allowed."""

from __future__ import annotations

import gzip
from time import monotonic

import pytest

from cloud.llm import LLMConnectionError, LLMError
from sans_io.calls.failures import ROUND_TRIP
from sans_io.policy.retry import RetryPolicy
from tests import wire_server as w
from tests.callers import IN_THREADS, MODES, THREADS, Mode, chat, drain

STRICT = {
    "retry_ambiguous=False": RetryPolicy(retry_ambiguous=False),
    "max_retries=0": RetryPolicy(max_retries=0),
}
strict = pytest.mark.parametrize("policy", STRICT.values(), ids=STRICT)
modes = pytest.mark.parametrize("mode", MODES, ids=str)


async def ask(client, stream: bool) -> LLMError:
    with pytest.raises(LLMError) as caught:
        if stream:
            await drain(client.chat_stream([{"role": "user", "content": "hello"}]))
        else:
            await chat(client)
    return caught.value


@modes
@strict
@pytest.mark.parametrize("stream", [False, True], ids=["chat", "stream"])
@pytest.mark.parametrize("end", [w.fin(), w.reset()], ids=["FIN", "RST"])
@pytest.mark.parametrize("after", [ROUND_TRIP + 0.1, 1.0])
def test_a_reused_connection_that_dies_after_the_request_was_read(
    mode: Mode, policy: RetryPolicy, stream: bool, end: w.Step, after: float
) -> None:
    """The pause begins when the request is there, so the client cannot see it shorter."""
    callers = THREADS if mode is IN_THREADS else 1
    script = (w.read(), w.gather(), w.answer(), w.read(), w.pause(after), end)
    with w.WireServer(script) as server:
        server.expected = callers
        client = mode.client(server.url + "/v1", retry=policy)

        async def main() -> LLMError:
            await chat(client)
            return await ask(client, stream)

        errors = mode.run(main)
        assert server.requests == 2 * callers
    assert len(errors) == callers
    for error in errors:
        assert type(error) is LLMConnectionError
        assert error.may_be_billed
        assert [(a.connection, a.outcome) for a in error.attempts] == [("reused", "no_reply")]


@modes
@strict
def test_a_reused_connection_that_is_closed_as_the_request_comes_is_replaced(mode: Mode, policy: RetryPolicy) -> None:
    """Told by the clock of a machine that may be busy: where the end is seen late, it is rather not sent again."""
    with w.WireServer((w.read(), w.answer(), w.read_some(), w.reset())) as server:
        client = mode.client(server.url + "/v1", retry=policy)

        async def main() -> tuple[bool, list[tuple[str | None, str]]]:
            await chat(client)
            server.heal()
            began = monotonic()
            try:
                attempts = (await chat(client)).attempts
            except LLMError as error:
                attempts = error.attempts
            return monotonic() - began < ROUND_TRIP, [(a.connection, a.outcome) for a in attempts]

        if mode is not IN_THREADS:
            ((soon, attempts),) = mode.run(main)
            assert attempts[0] in [("reused", "stale"), ("reused", "no_reply")]
            if soon:
                assert attempts == [("reused", "stale"), ("new", "ok")]


ZIPPED = gzip.compress(w.body())
JSON = w.head("200 OK", "Content-Length: 500")
#: What a server does with a request: every one of these may have run.
SPOILT: dict[str, tuple[bool, w.Script]] = {
    "no reply": (False, (w.fin(),)),
    "reset": (False, (w.reset(),)),
    "cut head": (False, (w.send(b"HTTP/1.1 200 O"), w.fin())),
    "cut": (False, (w.send(JSON + w.body()), w.fin())),
    "reset in the body": (False, (w.send(JSON + w.body()), w.pause(0.05), w.reset())),
    "garbled": (False, (w.send(w.reply(content=b"{nonsense")),)),
    "garbled head": (False, (w.send(b"HTTP/1.1 banana\r\n\r\n"),)),
    "gzip": (False, (w.send(w.reply("", "Content-Encoding: gzip", content=ZIPPED)),)),
    "oversize": (False, (w.send(w.head("200 OK", "X: " + "x" * 70_000)),)),
    "web page": (False, (w.send(w.reply(content=b"<html>").replace(b"application/json", b"text/html")),)),
    "stream cut before its text": (True, (w.send(w.STREAM_HEAD + w.ROLE), w.fin())),
    "stream reset before its text": (True, (w.send(w.STREAM_HEAD + w.ROLE), w.pause(0.05), w.reset())),
    "stream that ends before its text": (True, (w.send(w.STREAM_HEAD + w.ROLE + w.LAST),)),
    "page for a stream": (True, (w.send(w.reply(content=b"<html>").replace(b"application/json", b"text/html")),)),
    "502": (False, (w.send(w.refusal("502 Bad Gateway")),)),
    "504": (True, (w.send(w.refusal("504 Gateway Timeout", type="timeout_error")),)),
    "524": (False, (w.send(w.reply(status="524 Timeout", content=b"<html>")),)),
}


@modes
@pytest.mark.parametrize("what", SPOILT)
def test_with_retry_ambiguous_off_an_answer_of_no_use_is_the_only_one(mode: Mode, what: str) -> None:
    stream, script = SPOILT[what]
    callers = THREADS if mode is IN_THREADS else 1
    with w.WireServer((w.read(), w.gather(), *script)) as server:
        server.expected = callers
        client = mode.client(server.url + "/v1", retry=RetryPolicy(retry_ambiguous=False), timeout=20.0)

        async def main() -> LLMError:
            return await ask(client, stream)

        errors = mode.run(main)
        assert server.requests == callers
    for error in errors:
        assert error.may_be_billed
        assert len(error.attempts) == 1


@modes
@pytest.mark.parametrize("status", ["408 Timeout", "500 Oops", "503 Busy", "520 X", "521 X", "522 X", "523 X", "530 X"])
def test_with_retry_ambiguous_off_a_server_that_says_it_failed_is_asked_again(mode: Mode, status: str) -> None:
    callers = THREADS if mode is IN_THREADS else 1
    with w.WireServer(w.forever(w.read(), w.send(w.refusal(status)))) as server:
        client = mode.client(
            server.url + "/v1", retry=RetryPolicy(max_retries=1, base_transient=0.01, retry_ambiguous=False)
        )

        async def main() -> LLMError:
            return await ask(client, False)

        errors = mode.run(main)
        assert server.requests == 2 * callers
    assert not any(error.may_be_billed for error in errors)
