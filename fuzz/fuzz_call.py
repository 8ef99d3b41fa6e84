"""Fuzz the Call: bytes become a schedule of inputs, with answers, faults, delays and cancellations in any order.

    python fuzz/fuzz_call.py .fuzz/corpus/call -max_total_time=60

The first byte chooses the kind of call, each further one an input; what it needs is read from the bytes after it. No
exception is allowed. A call ends once, by its deadline, with its seat given back, with a response or an error, and with
no more attempts than its policy allows; what was handed out is what the error's `partial` begins with.
"""

from __future__ import annotations

import copy
import functools
import sys
from types import SimpleNamespace
from typing import Any

HEADERS = (b"", b"Retry-After: 2\r\n", b"Retry-After: 100\r\n", b"x-should-retry: false\r\n", b"Connection: close\r\n")
STATUSES = (200, 200, 200, 204, 301, 401, 404, 409, 429, 500, 503)
LINES = (
    b"t:a\n",
    b"t:bc\n",
    b"role\n",
    b":\n",
    b"usage\n",
    b"fin\n",
    b"done\n",
    b"err:soon\n",
    b"err:never\n",
    b"??\n",
)


@functools.cache
def core() -> Any:
    """Imported on demand, so that the fuzzer can instrument what is imported."""
    from sans_io.calls import actions, call
    from sans_io.calls import failures as faults
    from sans_io.chat import events
    from sans_io.http import http11
    from sans_io.http.urls import Origin
    from sans_io.policy import deadline, pool, retry
    from sans_io.providers import base

    origin = Origin("http", "api.test", 80)
    timers = deadline.Timers(
        total=100.0, until_commit=60.0, pool=5.0, connect=5.0, write=5.0, first_token=20.0, idle=10.0
    )
    return SimpleNamespace(
        a=actions, Call=call.Call, TextDelta=events.TextDelta, kinds=faults.FAULT_KINDS, http11=http11, retry=retry,
        base=base, origin=origin, route=pool.Route(origin), timers=timers,
    )  # fmt: skip


class LineReader:
    """A wire of one-line events: `t:TEXT`, `fin`, `done` are content, `role`, `:`, `usage` are not; `err:CODE`."""

    def __init__(self) -> None:
        self.error: Any = None
        self.ended = self.complete = self.finishing = False
        self.content_events = self.keepalives = 0
        self.text = ""
        self._rest = b""

    def receive_data(self, data: bytes) -> list[Any]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        told: list[Any] = []
        for line in lines:
            if self.ended or self.error is not None:
                break
            self._line(line.decode("utf-8", "replace"), told)
        return told

    def _line(self, line: str, told: list[Any]) -> None:
        from sans_io.chat.events import Finished, TextDelta, UsageReported
        from sans_io.chat.response import Usage
        from sans_io.errors import LLMProtocolError, LLMServerError

        word, _, rest = line.partition(":")
        if word in ("t", "done") or (word == "fin" and not self.finishing):
            self.content_events += 1
        else:
            self.keepalives += 1
        if word == "t":
            self.text += rest
            told.append(TextDelta(rest))
        elif word == "usage":
            told.append(UsageReported(Usage(1, 1)))
        elif word == "fin":
            self.finishing = self.complete = True
        elif word == "done":
            self.ended = self.complete = True
            told.append(Finished("stop"))
        elif word == "err":
            self.error = LLMServerError("in-stream", code=rest)
        elif word not in ("", "role"):
            self.error = LLMProtocolError("no such line", code="bad_line")

    def receive_eof(self) -> list[Any]:
        from sans_io.errors import LLMStreamError

        if not self.complete and self.error is None:
            self.error = LLMStreamError("no end", code="truncated")
        return []

    def response(self) -> Any:
        from sans_io.chat.response import ChatResponse

        return ChatResponse(content=self.text)


def decode_error(status: int, headers: Any, body: bytes) -> Any:  # noqa: ARG001
    from sans_io.errors import LLMServerError

    return LLMServerError(f"status {status}", status_code=status, code=dict(headers).get("x-code"))


class Bytes:
    """What is left of the input; zeros when nothing is."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.place = 0

    def __bool__(self) -> bool:
        return self.place < len(self.data)

    def take(self, below: int = 256) -> int:
        byte = self.data[self.place] if self.place < len(self.data) else 0
        self.place += 1
        return byte % below


def one_input(data: bytes) -> None:
    """One run of the target."""
    if len(data) < 2:
        return
    source = Bytes(data[:4096])
    kind = source.take()
    stream = bool(kind & 1)
    operation = operation_of(stream=stream, large=bool(kind & 2))
    Run(operation, source, stream=stream, authorizes=bool(kind & 4), retries=kind >> 3 & 3).play()


@functools.cache
def operation_of(*, stream: bool, large: bool) -> Any:
    """An operation, which is immutable; a large one is sent in several pieces."""
    world = core()
    return world.base.Operation(
        request=world.http11.HTTPRequest(
            world.http11.RequestHead("POST", world.origin, "/x"), b"x" * (150_000 if large else 2)
        ),
        form="ndjson" if stream else "json",
        provider="test",
        model="m",
        retry_table=world.retry.retry_table(codes={"soon": "B", "never": "D"}),
        new_reader=LineReader,
        decode_error=decode_error,
        request_id=lambda headers: dict(headers).get("x-request-id"),
        rate_limit=lambda headers: {},  # noqa: ARG005
    )


class Run:
    """One call and what is known about it from outside."""

    def __init__(self, operation: Any, source: Bytes, *, stream: bool, authorizes: bool, retries: int) -> None:
        world = core()
        self.operation = operation
        self.source = source
        self.retries = retries
        self.now = 0.0
        self.seated = False
        self.delivered = ""
        self.call = world.Call(
            None if authorizes else operation, world.route, world.timers, now=0.0, stream=stream,
            retry=world.retry.RetryPolicy(max_retries=retries), budget=world.retry.RetryBudget(),
        )  # fmt: skip

    def play(self) -> None:
        while self.source and not self.call.finished:
            self.step()
            self.check()
        if not self.call.finished:
            self.cancel()
        call = self.call
        outcome = copy.copy((call.response, call.error, call.attempts))
        call.cancel(self.now)
        assert call.next_action(self.now) is None
        assert (call.response, call.error, call.attempts) == outcome, "a finished call changed"
        assert not self.seated, "the seat was not given back"
        assert (call.response is None) != (call.error is None)
        if call.error is not None and self.delivered:
            assert call.error.partial.content.startswith(self.delivered), "handed out, but not in the partial"

    def step(self) -> None:
        what = self.source.take()
        if what >= 250:
            self.cancel()
        elif what >= 232:
            self.now += self.source.take() / 8
        elif what >= 200:
            self.fail()
        else:
            self.succeed(early=bool(what & 1), reused=bool(what & 2))

    def act(self) -> Any:
        return self.call.next_action(self.now)

    def succeed(self, *, early: bool, reused: bool) -> None:
        a, call, action = core().a, self.call, self.act()
        match action:
            case a.Authorize():
                call.on_authorized(self.operation, self.now)
            case a.Acquire():
                assert not self.seated
                self.seated = True
                call.on_acquired(reused and not action.fresh, self.now)
            case a.Connect():
                call.on_connected(self.now)
            case a.Send():
                assert not call.committed, "a request is sent after something was handed out"
                call.on_sent(self.now, early and action.more)
            case a.Receive():
                piece = self.piece()
                if piece:
                    call.on_data(piece, self.now)
                else:
                    call.on_eof(self.now)
            case a.Deliver():
                assert action.events
                self.delivered += "".join(e.text for e in action.events if isinstance(e, core().TextDelta))
                call.on_delivered(self.now)
            case a.Release():
                self.seated = False
                call.on_released(self.now)
            case a.Wait():
                self.now = max(self.now, action.until)
                call.on_waited(self.now)

    def piece(self) -> bytes:
        """One read: a whole reply or a part of one, lines, an informational response, or bytes as they are."""
        form = self.source.take()
        if form == 0:
            return b""
        if form < 16:
            return bytes(self.source.take() for _ in range(form))
        body = b"".join(LINES[self.source.take(len(LINES))] for _ in range(form % 7))
        if form < 96:
            return body
        if form < 104:
            return b"HTTP/1.1 100 Continue\r\n\r\n"
        status, field = STATUSES[self.source.take(len(STATUSES))], HEADERS[self.source.take(len(HEADERS))]
        head = b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\n%b" % (status, field)
        if form % 3 == 0:
            whole = head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        elif form % 3 == 1:
            whole = head + b"\r\n" + body
        else:
            chunks = b"".join(b"%x\r\n%b\r\n" % (len(line), line) for line in body.splitlines(keepends=True))
            whole = head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
        cut = self.source.take()
        return whole[:cut] if 0 < cut < len(whole) else whole

    def fail(self) -> None:
        a, action = core().a, self.act()
        kind = core().kinds[self.source.take(len(core().kinds))]
        if isinstance(action, a.Deliver):
            return
        if isinstance(action, a.Acquire):
            self.seated = True
        if isinstance(action, a.Release):
            self.seated = False
        if kind == "timeout" and not isinstance(action, a.Release):
            deadline = action.until if isinstance(action, a.Wait) else getattr(action, "deadline", self.now)
            self.now = max(self.now, min(deadline, self.now + 1000.0))
        self.call.on_error(kind, self.now, "planted")

    def cancel(self) -> None:
        if isinstance(self.act(), core().a.Acquire):
            self.seated = True
        self.call.cancel(self.now)
        self.call.cancel(self.now)
        while (action := self.call.next_action(self.now)) is not None:
            assert isinstance(action, core().a.Release), "a cancelled call asks for more than its release"
            self.seated = False
            self.call.on_released(self.now)
        assert self.call.finished

    def check(self) -> None:
        call = self.call
        if len(call.attempts) > 1 + self.retries:
            outcomes = [attempt.outcome for attempt in call.attempts]
            free = ("stale" in outcomes) + ("401" in outcomes)
            assert len(outcomes) <= 1 + self.retries + free, "too many attempts"
        if not call.finished:
            action = self.act()
            assert self.act() == action, "asking twice gives two answers"
            a = core().a
            due = action.until if isinstance(action, a.Wait) else getattr(action, "deadline", 0.0)
            assert due <= 100.0, "a deadline beyond the call's own"


def main() -> None:
    import atheris  # type: ignore[import-untyped,import-not-found,unused-ignore]

    # What reads HTTP has a target of its own (http11); without it this one is a quarter faster.
    with atheris.instrument_imports(
        include=["sans_io"], exclude=["sans_io.http.http11", "sans_io.http.heads", "sans_io.http.body"]
    ):
        core()
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
