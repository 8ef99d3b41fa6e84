"""The time of a doubled input, from 1 to 8 MiB: `python bench/linear.py [--rounds 7]`.

Per decoder the ratios time(2n) / time(n) of processor time, the sizes interleaved in each round, medians over the
rounds: 2 is linear, 4 quadratic; the goal is 2.3. Caps are out of the way: what is measured is the time they bound.
The rows "flood" repeat something that says nothing; none should take longer for a MiB than the text of its wire.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from sans_io.chat.tool_calls import ToolCallAssembler
from sans_io.decode import jsontext  # the path must be set first
from sans_io.decode.ndjson import NDJSONDecoder
from sans_io.decode.sse import SSEDecoder
from sans_io.decode.sse_json import SSEJSONDecoder
from sans_io.http.body import ChunkedReader
from sans_io.limits import DEFAULT_LIMITS
from sans_io.providers.anthropic.reply import MessageStreamReader
from sans_io.providers.ollama.reply import ChatStreamReader
from sans_io.providers.openai_chat.reply import OpenAIStreamReader
from sans_io.providers.stream_readers import StreamReader

MIB = 1 << 20
HUGE = 64 * MIB
READ = 65_536
LIMITS = replace(
    DEFAULT_LIMITS, max_sse_line=HUGE, max_sse_event=HUGE, max_ndjson_line=HUGE, max_json=HUGE,
    max_json_containers=HUGE, max_tool_arguments=HUGE,
)  # fmt: skip


def stream(decoder: type[SSEDecoder | NDJSONDecoder | SSEJSONDecoder]) -> Callable[[bytes], None]:
    def feed(wire: bytes) -> None:
        machine = decoder(LIMITS)
        for at in range(0, len(wire), READ):
            machine.receive_data(wire[at : at + READ])
        machine.receive_eof()
        assert machine.error is None

    return feed


def body(wire: bytes) -> None:
    reader = ChunkedReader(LIMITS)
    for at in range(0, len(wire), READ):
        reader.receive_data(wire[at : at + READ])
    assert reader.error is None


def document(wire: bytes) -> None:
    jsontext.loads(wire, limits=LIMITS)


def arguments(wire: bytes) -> None:
    text = wire.decode()
    tools = ToolCallAssembler(0, LIMITS)
    tools.fragment(index=0, id="a", name="f")
    for at in range(0, len(text), 1024):
        tools.fragment(arguments=text[at : at + 1024])
    tools.finish()
    assert tools.error is None


def reading(new: Callable[[], StreamReader], start: bytes) -> Callable[[bytes], None]:
    def feed(wire: bytes) -> None:
        reader = new()
        reader.receive_data(start)
        for at in range(0, len(wire), READ):
            reader.receive_data(wire[at : at + READ])
        assert reader.error is None

    return feed


def numbered(text: bytes) -> Callable[[int], bytes]:
    """Events that differ, as those of a stream do."""
    return lambda size: b"".join([text % number for number in range(size // len(text))])


def again(unit: bytes) -> Callable[[int], bytes]:
    return lambda size: unit * (size // len(unit))


EVENT = b'data: {"choices":[{"delta":{"content":" hello"}}]}\n\n'
LINE = b'{"message":{"content":" hello"},"done":false}\n'
OPENAI = (
    b'data: {"id":"chatcmpl-AbCdEfGhIjKlMnOpQrStUvWxYz012","object":"chat.completion.chunk","created":1764300000,'
    b'"model":"m","choices":[{"index":0,"delta":{"content":" word%d"},"logprobs":null,"finish_reason":null}],"usage":null}'
    b"\n\n"
)
ANTHROPIC = (
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta",'
    b'"text":" word%d"}}\n\n'
)
OLLAMA = (
    b'{"model":"m","created_at":"2026-11-22T10:00:00.123456789Z","message":{"role":"assistant","content":" word%d"},'
    b'"done":false}\n'
)
CASES: dict[str, tuple[Callable[[int], bytes], Callable[[bytes], None]]] = {
    "SSE, small events": (lambda size: EVENT * (size // len(EVENT)), stream(SSEDecoder)),
    "SSE, one event": (lambda size: b'data: {"a":"' + b"x" * size + b'"}\n\n', stream(SSEDecoder)),
    "SSE to JSON, small events": (lambda size: EVENT * (size // len(EVENT)), stream(SSEJSONDecoder)),
    "SSE to JSON, one event": (lambda size: b'data: {"a":"' + b"x" * size + b'"}\n\n', stream(SSEJSONDecoder)),
    "NDJSON, small lines": (lambda size: LINE * (size // len(LINE)), stream(NDJSONDecoder)),
    "NDJSON, one line": (lambda size: b'{"a":"' + b"x" * size + b'"}\n', stream(NDJSONDecoder)),
    "JSON, one text": (lambda size: b'{"a":"' + b"x" * size + b'"}', document),
    "JSON, escapes": (lambda size: b'{"a":"' + b'\\"' * (size // 2) + b'"}', document),
    "JSON, numbers": (lambda size: b"[" + b"1.5," * (size // 4) + b"1]", document),
    "OpenAI's text": (numbered(OPENAI), reading(lambda: OpenAIStreamReader("openai"), OPENAI % 0)),
    "flood of empty events": (again(b"data: {}\n\n"), reading(lambda: OpenAIStreamReader("openai"), OPENAI % 0)),
    "flood of comments": (again(b": ping\n\n"), reading(lambda: OpenAIStreamReader("openai"), OPENAI % 0)),
    "Anthropic's text": (numbered(ANTHROPIC), reading(MessageStreamReader, ANTHROPIC % 0)),
    "flood of pings": (again(b'event: ping\ndata: {"type":"ping"}\n\n'), reading(MessageStreamReader, ANTHROPIC % 0)),
    "Ollama's text": (numbered(OLLAMA), reading(ChatStreamReader, OLLAMA % 0)),
    "flood of empty lines": (again(b"{}\n"), reading(ChatStreamReader, OLLAMA % 0)),
    "tool arguments": (lambda size: b'{"a":[' + b"1," * (size // 2) + b"1]}", arguments),
    "chunked body, small chunks": (lambda size: b"1\r\na\r\n2\r\nbb\r\n" * (size // 13), body),
    "flood of equal chunks": (again(b"a\r\ndata: {}\n\n\r\n"), body),
    "chunked body, large chunks": (lambda size: (b"4000\r\n" + b"x" * 16384 + b"\r\n") * (size // 16392), body),
}


def seconds(feed: Callable[[bytes], None], wire: bytes) -> float:
    began = time.process_time()
    feed(wire)
    return time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    print("| decoder | 1 MiB | 2 over 1 MiB | 4 over 2 MiB | 8 over 4 MiB |\n|---|---:|---:|---:|---:|")
    gc.disable()
    for name, (make, feed) in CASES.items():
        wires = [make(MIB << power) for power in range(4)]
        seconds(feed, wires[-1])  # memory comes from the system once
        times = [[seconds(feed, wire) for wire in wires] for _ in range(rounds)]
        ratios = [statistics.median(row[at + 1] / row[at] for row in times) for at in range(3)]
        gc.collect()
        first = statistics.median(row[0] for row in times) * 1e3
        print(f"| {name} | {first:.2f} ms | " + " | ".join(f"{ratio:.2f}" for ratio in ratios) + " |", flush=True)


if __name__ == "__main__":
    main()
