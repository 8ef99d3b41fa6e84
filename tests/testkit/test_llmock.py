"""llmock, a mock server written by somebody else, breaks the calls and then judges the client: no finding but one.

Its `truncated_stream_accepted` is given to every client that does not retry a stream that was cut; we raise once text
was handed over, so that verdict is answered by an assertion of our own. It runs in a process of its own: `llmock` beside
this interpreter, on the PATH, or where LLMOCK says.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep

import pytest

from cloud.llm import (
    LLMBadRequestError,
    LLMContextLengthError,
    LLMError,
    LLMProtocolError,
    LLMRateLimitError,
    LLMServerError,
    LLMStreamError,
    LLMTimeoutError,
    Timeouts,
    registry,
)
from sans_io.policy.dice import Dice
from sans_io.policy.retry import RetryPolicy
from tests.callers import ASYNCIO, HELLO, SYNC, TRIO, Mode, chat, drain

pytestmark = [pytest.mark.serial, pytest.mark.slow]

PLACES = {"openai": "/v1", "anthropic": "/anthropic"}
each = pytest.mark.parametrize("wire", PLACES)
each_mode = pytest.mark.parametrize("mode", [SYNC, ASYNCIO, TRIO], ids=str)


def _program() -> str | None:
    beside = Path(sys.executable).with_name("llmock")
    return os.environ.get("LLMOCK") or (str(beside) if beside.exists() else shutil.which("llmock"))


class Judge:
    """The running server: what is to go wrong, and what it thinks of the client."""

    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, path: str, body: object = None) -> dict:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/_llmock/{path}", data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=10.0) as answer:
            return json.load(answer)

    def prepare(self, *behaviours: dict) -> None:
        self.ask("reset", {})
        if behaviours:
            self.ask("scenario", {"behaviors": list(behaviours)})

    def findings(self) -> set[str]:
        return {finding["code"] for finding in self.ask("verdict")["findings"]}

    def client(self, mode: Mode, wire: str, **options):
        options = {"timeout": 20.0, "retry": RetryPolicy(max_retries=3, base_transient=0.15), **options}
        return mode.client(self.url + PLACES[wire], wire, **options)


@pytest.fixture(scope="module")
def running() -> Iterator[Judge]:
    program = _program()
    if program is None:
        pytest.skip("llmock is not installed")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [program, "serve", "--host", "127.0.0.1", "--port", str(port), "--context-window", "500", "--log-level", "error"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    judge = Judge(f"http://127.0.0.1:{port}")
    until = monotonic() + 30.0
    try:
        while True:
            try:
                judge.ask("verdict")
                break
            except OSError:
                if monotonic() > until:
                    raise
                sleep(0.1)
        yield judge
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def judge(running: Judge, monkeypatch: pytest.MonkeyPatch) -> Judge:
    """Dice whose rolls grow: full jitter may by chance wait ever shorter, which llmock takes for no backoff at all."""
    seed = next(s for s in range(100_000) if _grow(s))
    monkeypatch.setattr(registry, "new_seed", lambda now: seed)
    return running


def _grow(seed: int) -> bool:
    dice = Dice(seed)
    rolls = [dice.roll() for _ in range(3)]
    return 0.4 < rolls[0] < rolls[1] < rolls[2]


def run(mode: Mode, main) -> None:
    mode.run(main)


@each
@each_mode
@pytest.mark.parametrize("stream", [False, True], ids=["chat", "stream"])
@pytest.mark.parametrize("status", [429, 500, 529])
def test_it_comes_back_after_a_failure_and_with_patience(
    judge: Judge, mode: Mode, wire: str, stream: bool, status: int
) -> None:
    behaviour = {"type": "fail", "status": status, "times": 2}
    if status == 429:
        behaviour["retry_after"] = 0.4
    judge.prepare(behaviour)
    client = judge.client(mode, wire, retry=RetryPolicy(max_retries=3, base_transient=0.15, base_throttled=0.15))

    async def main() -> None:
        if stream:
            assert "".join(await drain(client.chat_stream(HELLO)))
        else:
            response = await chat(client)
            assert response.content
            assert [attempt.status for attempt in response.attempts] == [status, status, 200]
            if status == 429:
                assert all(attempt.delay >= 0.4 for attempt in response.attempts[:2])

    run(mode, main)
    assert judge.findings() == set()


@each
@each_mode
@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_it_does_not_come_back_where_that_is_no_use(judge: Judge, mode: Mode, wire: str, status: int) -> None:
    judge.prepare({"type": "fail", "status": status, "times": None})
    client = judge.client(mode, wire)

    async def main() -> None:
        with pytest.raises(LLMError) as caught:
            await chat(client)
        assert caught.value.status_code == status
        assert len(caught.value.attempts) == 1

    run(mode, main)
    assert judge.findings() == set()


@each
@each_mode
def test_an_outage_is_given_up_on(judge: Judge, mode: Mode, wire: str) -> None:
    judge.prepare({"type": "fail", "status": 503, "times": None})
    client = judge.client(mode, wire)

    async def main() -> None:
        with pytest.raises(LLMServerError) as caught:
            await chat(client)
        assert len(caught.value.attempts) == 4

    run(mode, main)
    assert judge.findings() == set()


@each
@each_mode
@pytest.mark.parametrize("kind", ["disconnect", "truncate", "malformed"])
def test_a_broken_stream_is_an_error(judge: Judge, mode: Mode, wire: str, kind: str) -> None:
    judge.prepare({"type": "stream_fault", "kind": kind, "after_chunks": 3, "times": None})
    client = judge.client(mode, wire, max_retries=1)

    async def main() -> None:
        texts: list[str] = []
        stream = client.chat_stream([{"role": "user", "content": "Tell me a long story about the sea"}])
        with pytest.raises((LLMStreamError, LLMProtocolError)) as caught:
            await drain(stream, texts)
        assert caught.value.partial is not None
        assert caught.value.partial.content == "".join(texts)
        with pytest.raises(RuntimeError):
            _ = stream.response

    run(mode, main)
    # Raised, as asserted above; the judge knows of retrying only.
    assert judge.findings() <= {"truncated_stream_accepted", "malformed_chunk_ignored", "gave_up"}


@each
@each_mode
def test_a_stalled_stream_is_not_sat_through(judge: Judge, mode: Mode, wire: str) -> None:
    judge.prepare({"type": "stream_fault", "kind": "stall", "after_chunks": 3, "stall_seconds": 5, "times": None})
    client = judge.client(mode, wire, timeout=Timeouts(idle=0.5, first_token=0.5), max_retries=0)

    async def main() -> None:
        began = monotonic()
        with pytest.raises(LLMTimeoutError):
            await drain(client.chat_stream([{"role": "user", "content": "Tell me a long story about the sea"}]))
        assert 0.5 <= monotonic() - began < 3.0

    run(mode, main)
    sleep(0.1)
    assert "no_read_timeout" not in judge.findings()


@each
@each_mode
def test_a_slow_first_token_is_waited_for(judge: Judge, mode: Mode, wire: str) -> None:
    judge.prepare({"type": "slow_first_token", "seconds": 0.6})
    client = judge.client(mode, wire)

    async def main() -> None:
        assert "".join(await drain(client.chat_stream(HELLO)))

    run(mode, main)
    assert judge.findings() == set()


@each
@each_mode
def test_a_prompt_that_does_not_fit_is_named_so(judge: Judge, mode: Mode, wire: str) -> None:
    judge.prepare()
    client = judge.client(mode, wire)

    async def main() -> None:
        with pytest.raises(LLMBadRequestError) as caught:
            await chat(client, [{"role": "user", "content": "word " * 3000}])
        assert isinstance(caught.value, LLMContextLengthError)

    run(mode, main)
    assert judge.findings() == set()


@each_mode
def test_a_hint_beyond_all_patience_is_raised_with_its_number(judge: Judge, mode: Mode) -> None:
    judge.prepare({"type": "fail", "status": 429, "retry_after": 90, "times": None})
    client = judge.client(mode, "openai")

    async def main() -> None:
        with pytest.raises(LLMRateLimitError) as caught:
            await chat(client)
        assert caught.value.retry_after == 90.0
        assert len(caught.value.attempts) == 1

    run(mode, main)
