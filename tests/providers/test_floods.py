"""Floods: bytes that only repeat what changes nothing are passed over, and nobody can tell but by the work.

The law is the reader that gets its bytes in short reads, which are never passed over. Work is counted in lines of the
core that are executed, so no busy machine decides.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from dataclasses import replace
from types import FrameType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sans_io.http.body import ChunkedReader
from sans_io.limits import DEFAULT_LIMITS, Limits
from sans_io.providers.anthropic.reply import MessageStreamReader
from sans_io.providers.ollama.reply import ChatStreamReader, PullReader
from sans_io.providers.openai_chat.reply import OpenAIStreamReader
from sans_io.providers.stream_readers import LONG, StreamReader
from tests.calls.test_content import CONTENT, KEEPALIVES, ONCE, REPETITIONS, WIRES, begun, event, fragment, sse, step
from tests.decode.cuts import road

__all__ = ["road"]
READERS: dict[str, Callable[[Limits], StreamReader]] = {
    "openai": lambda limits: OpenAIStreamReader("test", "m", limits=limits, expected=2),
    "anthropic": lambda limits: MessageStreamReader("m", limits=limits),
    "ollama": lambda limits: ChatStreamReader("m", limits=limits),
    "pull": lambda limits: PullReader("m", limits),
}
#: What is no whole event, or one that grows, ends or breaks something when it comes again.
ODD: dict[str, list[bytes]] = {
    "openai": [
        b'data: {"choices":\n', b"data: {}\n", b"event: x\n", b"id: 1\n\n", b"retry: 1\n\n", b"\r", b"x", b"data: [DONE]\n\n",
        b"data: null\n\n", b"data: {\n\n", b"data: {}\r\r", fragment(index=0), fragment(id="t9"), fragment(custom={"input": ""}),
        b'data: {"choices":[{"index":0,"delta":{"content":"\\ud83d"}}]}\n\n', b"\xef\xbb\xbf", sse({"error": {"message": "e"}}),
        sse({"choices": [{"index": 0, "delta": {"vendor": "x"}}]}), sse({"choices": [{"index": 1, "delta": {}}], "k": 1}),
    ],
    "anthropic": [
        b"data: {}\n", b"event: x\n", b"data: {}\r\n\r\n", b"data: 1\n\n", event("content_block_stop", index=1),
        event("content_block_start", index=2, content_block={"type": "text", "text": ""}),
        event("content_block_start", content_block={"type": "tool_use", "name": "f"}), event("error", error={"message": "e"}),
        event("content_block_delta", index=7, delta={"type": "text_delta", "text": ""}), event("message_stop"),
        event("content_block_delta", index=0, delta={"type": "citations_delta", "citation": {}}),
    ],
    "ollama": [b"{", b"1\n", b'{"message":{"tool_calls":[{"id":"a"}]}}\n', b'{"logprobs":[1]}\n', b'{"error":"e"}\n', b" "],
    "pull": [b"{", b"1\n", step("pulling"), step("success"), b'{"error":"e"}\n'],
}  # fmt: skip
PLAIN = {
    "openai": lambda n: (
        b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,'
        b'"delta":{"content":" word%d"},"logprobs":null,"finish_reason":null}],"usage":null}\n\n' % n
    ),
    "anthropic": lambda n: event("content_block_delta", index=0, delta={"type": "text_delta", "text": f" word{n}"}),
    "ollama": lambda n: (
        b'{"model":"m","created_at":"2026-11-22T10:00:00.123456789Z","message":{"role":"assistant","content":" word%d"},'
        b'"done":false}\n' % n
    ),
    "pull": lambda n: step("pulling dde5aa3fc5ff", digest="sha256:" + "dde5aa3f" * 8, total=2019377376, completed=n),
}


def blocks(wire: str) -> list[bytes]:
    rows = [
        data for table in (KEEPALIVES, REPETITIONS, CONTENT, ONCE) for (name, _), data in table.items() if name == wire
    ]
    return [*rows, *ODD[wire]]


def outcome(reader: StreamReader, reads: list[bytes]) -> tuple[Any, ...]:
    events = [event for data in reads for event in reader.receive_data(data)]
    counts = (reader.content_events, reader.keepalives)
    over = reader._stopped()  # then what came behind is not counted
    events += reader.receive_eof()  # type: ignore[attr-defined]
    error = reader.error and (type(reader.error), reader.error.message, reader.error.code)
    response = reader.response()  # type: ignore[attr-defined]
    return events, None if over else counts, error, response, reader.ended  # type: ignore[attr-defined]


def short(wire: bytes) -> list[bytes]:
    return [wire[at : at + LONG] for at in range(0, len(wire), LONG)]


@st.composite
def floods(draw: st.DrawFn, wire: str) -> bytes:
    """Blocks, of which many come again and again, alone or in turn."""
    pieces = [WIRES[wire].start]
    for _ in range(draw(st.integers(1, 4))):
        unit = b"".join(draw(st.lists(st.sampled_from(blocks(wire)), min_size=1, max_size=3)))
        pieces.append(unit * draw(st.sampled_from([1, 2, 9, 40, 150])))
    return b"".join(pieces)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@pytest.mark.parametrize("wire", READERS)
@given(st.data())
def test_a_long_read_says_what_short_reads_say(road: str, wire: str, data: st.DataObject) -> None:
    flood = data.draw(floods(wire))
    limits = replace(DEFAULT_LIMITS, max_stream=data.draw(st.sampled_from([DEFAULT_LIMITS.max_stream, 5_000, 9_999])))
    law = outcome(READERS[wire](limits), short(flood))
    cut = data.draw(st.integers(0, len(flood)))
    for reads in ([flood], [flood[:cut], flood[cut:]]):
        assert outcome(READERS[wire](limits), reads) == law


@pytest.mark.parametrize("wire", READERS)
def test_each_kind_again_and_again(road: str, wire: str) -> None:
    dice = random.Random(1)
    for unit in blocks(wire):
        flood = WIRES[wire].start + unit * 200 + WIRES[wire].text + unit * 200
        law = outcome(READERS[wire](DEFAULT_LIMITS), short(flood))
        cut = dice.randrange(len(flood))
        for reads in ([flood], [flood[:cut], flood[cut:]]):
            assert outcome(READERS[wire](DEFAULT_LIMITS), reads) == law, unit


def lines_executed(work: Callable[[], object]) -> int:
    """How many lines of the core run."""
    count = 0

    def local(frame: FrameType, what: str, argument: object) -> object:
        nonlocal count
        count += what == "line"
        return local

    def call(frame: FrameType, what: str, argument: object) -> object:
        return local if "sans_io" in frame.f_code.co_filename else None

    before = sys.gettrace()
    sys.settrace(call)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def feed(wire: str, stream: bytes, read: int) -> Callable[[], object]:
    line = begun(wire, committed=True)

    def work() -> None:
        for at in range(0, len(stream), read):
            line.hear(stream[at : at + read], 1.0)
        assert line.deadline is not None

    return work


SIZE = 128 * 1024
FLOODS = {
    "openai": [
        b"data: {}\n\n", b"data:{}\n\n", b"data: {}\r\n\r\n", b'data: {"choices":[]}\n\n', b'data: {"choices":[{"delta":{}}]}\n\n',
        b": ping\n\n", b":\n\n", b":\n", b"\n", b"\r\n", b"data: \n\n", b"data\n\n", b"event: x\n\n", b"event: x\ndata: {}\n\n",
        b"id: 1\n\n", b'data: {}\n\ndata: {"a":1}\n\n', b": ping\n\ndata: {}\n\n",
    ],
    "anthropic": [
        b"data: {}\n\n", b"data: []\n\n", b"data: null\n\n", b"event: ping\ndata: {}\n\n", b'data: {"type":"ping"}\n\n',
        b": ping\n\n", b"\n", b"event: x\ndata: {}\n\n", event("message_delta", usage={"output_tokens": 1}),
    ],
    "ollama": [b"{}\n", b"[]\n", b"null\n", b"\n", b"\r\n", b" \n", b'{"message":{}}\n', b'{"a":1}\n{}\n'],
    "pull": [b"{}\n", b"\n", b'{"status":"verifying"}\n', b'{"status":"a"}\n{"status":"b"}\n'],
}  # fmt: skip


@pytest.mark.parametrize(("read", "most"), [(1460, 2.0), (4096, 1.0), (64 * 1024, 1.0)])
@pytest.mark.parametrize("wire", READERS)
def test_a_flood_is_no_more_work_for_each_byte_than_text(road: str, wire: str, read: int, most: float) -> None:
    """In reads as short as one packet, where each read costs far more outside of the core, it may be twice as much."""
    text = b"".join(PLAIN[wire](n) for n in range(SIZE // len(PLAIN[wire](0))))
    ordinary = lines_executed(feed(wire, text, read)) / len(text)
    for unit in FLOODS[wire]:
        flood = unit * (SIZE // len(unit))
        assert lines_executed(feed(wire, flood, read)) / len(flood) <= most * ordinary, unit


@pytest.mark.parametrize("chunk", [b"\n", b"data: {}\n\n", b'data: {"choices":[]}\n\n', b"{}\n"])
def test_a_flood_of_small_chunks_is_no_more_work_than_text(chunk: bytes) -> None:
    def work(data: bytes, count: int) -> float:
        wire = b"%x\r\n%b\r\n" % (len(data), data) * count
        reader = ChunkedReader()
        body: list[bytes] = []
        lines = lines_executed(
            lambda: body.extend(reader.receive_data(wire[at : at + 1460]) for at in range(0, len(wire), 1460))
        )
        assert b"".join(body) == data * count
        return lines / len(wire)

    assert work(chunk, 20_000) <= work(PLAIN["openai"](0), 500)


@given(
    st.lists(st.tuples(st.sampled_from([b"a", b"bb", b"\r\n", b"x" * 70]), st.integers(1, 40)), max_size=5), st.data()
)
def test_equal_chunks_are_the_chunks_that_they_are(runs: list[tuple[bytes, int]], data: st.DataObject) -> None:
    wire = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) * times for chunk, times in runs) + b"0\r\n\r\nrest"
    cut = data.draw(st.integers(0, len(wire)))
    reader = ChunkedReader()
    body = reader.receive_data(wire[:cut])
    body += reader.receive_data(wire[cut:])
    assert body == b"".join(chunk * times for chunk, times in runs)
    assert reader.ended
    assert b"rest".startswith(reader.surplus)
