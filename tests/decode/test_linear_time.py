"""Decoding takes time in proportion to the bytes, whatever the chunking.

The laws of time are told apart, not measured: of 16 times the bytes, a linear decoder makes 16 times the work and one
that goes over its bytes again makes up to 256 times, so neither a busy machine nor a cold cache decides. How close to 2
the ratio of a doubling comes is printed by `python bench/linear.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from sans_io.chat.tool_calls import ToolCallAssembler
from sans_io.decode import jsontext
from sans_io.decode.ndjson import NDJSONDecoder
from sans_io.decode.sse import SSEDecoder
from sans_io.decode.sse_json import SSEJSONDecoder
from sans_io.limits import DEFAULT_LIMITS
from tests.linear import assert_linear

pytestmark = [pytest.mark.serial, pytest.mark.timeout(300)]
MIB = 1024 * 1024
HUGE = 64 * MIB
#: Caps out of the way: what is tested is the time that the caps bound, not the caps.
LIMITS = replace(
    DEFAULT_LIMITS, max_sse_line=HUGE, max_sse_event=HUGE, max_ndjson_line=HUGE, max_json=HUGE, max_tool_arguments=HUGE
)


def feeder(decoder: type[SSEDecoder | NDJSONDecoder | SSEJSONDecoder], step: int) -> Callable[[bytes], object]:
    def feed(wire: bytes) -> None:
        machine = decoder(LIMITS)
        for at in range(0, len(wire), step):
            machine.receive_data(wire[at : at + step])
        machine.receive_eof()
        assert machine.error is None or machine.error.code == "truncated"

    return feed


SHAPES: dict[str, Callable[[int], bytes]] = {
    "events": lambda size: b'data: {"choices":[{"delta":{"content":" hello"}}]}\n\n' * (size // 51),
    "one line": lambda size: b'data: {"a":"' + b"x" * size + b'"}\n\n',
    "data lines": lambda size: b"data: 1\n" * (size // 8),
    "empty data lines": lambda size: b"data\n" * (size // 5),
    "comments": lambda size: b": ping\n" * (size // 7),
    "comment blocks": lambda size: b":\n\n" * (size // 3),
    "carriage returns": lambda size: b'data: {"a":1}\r\n\r\n' * (size // 17),
    "line ends": lambda size: b"\n" * size,
    "never a line end": lambda size: b"d" * size,
    "events without blank lines": lambda size: b"event: x\n" * (size // 9),
    "openers": lambda size: b'data: {"a":[\n\n' * 1 + b": x\n\n" * (size // 5),
    "spaces": lambda size: b'data: {"a":1' + b" " * size + b"}\n\n",
}
NOT_JSON = {"data lines", "openers"}


@pytest.mark.parametrize(("step", "size"), [(1024, 4 * MIB), (HUGE, 8 * MIB)])
@pytest.mark.parametrize("shape", SHAPES)
def test_event_streams(shape: str, step: int, size: int) -> None:
    assert_linear(SHAPES[shape], feeder(SSEDecoder, step), size)


@pytest.mark.parametrize(("step", "size"), [(1024, 4 * MIB), (HUGE, 8 * MIB)])
@pytest.mark.parametrize("shape", sorted(set(SHAPES) - NOT_JSON))
def test_event_streams_of_json(shape: str, step: int, size: int) -> None:
    assert_linear(SHAPES[shape], feeder(SSEJSONDecoder, step), size)


@pytest.mark.parametrize(("step", "size"), [(1024, 4 * MIB), (HUGE, 8 * MIB)])
@pytest.mark.parametrize(
    "make",
    [
        lambda size: b'{"message":{"content":" hello"},"done":false}\n' * (size // 46),
        lambda size: b'{"a":"' + b"x" * size + b'"}\n',
        lambda size: b"\n" * size,
        lambda size: b" " * size,
        lambda size: b'"' + b"x" * size,
    ],
    ids=["lines", "one line", "line ends", "spaces", "never a line end"],
)
def test_ndjson(make: Callable[[int], bytes], step: int, size: int) -> None:
    assert_linear(make, feeder(NDJSONDecoder, step), size)


@pytest.mark.parametrize("decoder", [SSEDecoder, SSEJSONDecoder, NDJSONDecoder])
def test_byte_by_byte(decoder: type[SSEDecoder | NDJSONDecoder | SSEJSONDecoder]) -> None:
    line = b'data: {"a":"' if decoder is not NDJSONDecoder else b'{"a":"'
    assert_linear(lambda size: line + b"x" * size + b'"}\n\n', feeder(decoder, 1), MIB // 2)


def documents() -> dict[str, Callable[[int], str]]:
    return {
        "text": lambda size: '{"a":"' + "x" * size + '"}',
        "escapes": lambda size: '{"a":"' + '\\"' * (size // 2) + '"}',
        "backslashes": lambda size: '{"a":"' + "\\\\" * (size // 2) + '"}',
        "never ends": lambda size: '{"a":"' + '\\"' * (size // 2),
        "quotes": lambda size: '"' * size,
        "numbers": lambda size: "[" + "1.5," * (size // 4) + "1]",
        "digits": lambda size: "[" + ("1" * 4299 + ",") * (size // 4300) + "1]",
        "digits in text": lambda size: '["' + "1" * size + '"]',
        "a fraction": lambda size: "[0." + "1" * size + "]",
        "spaces": lambda size: "[" + " " * size + "]",
        "objects": lambda size: "[" + '{"token":" the","logprob":-0.25},' * (size // 34) + "1]",
        "keys": lambda size: "{" + ",".join(f'"{n:06x}{"x" * 240}":1' for n in range(size // 252)) + "}",
    }


@pytest.mark.parametrize("shape", documents())
@pytest.mark.parametrize("unique_keys", [False, True])
def test_documents(shape: str, unique_keys: bool) -> None:
    limits = replace(LIMITS, max_json_containers=HUGE)

    def feed(body: bytes) -> None:
        try:
            jsontext.loads(body, limits=limits, unique_keys=unique_keys)
        except jsontext.JSONTextError:
            if shape not in {"never ends", "quotes"}:
                raise

    assert_linear(lambda size: documents()[shape](size).encode(), feed, 4 * MIB)


@pytest.mark.parametrize("step", [3, 1024, HUGE])
@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("body", ['"x"', "{}", "\\u00e9"])
def test_tool_arguments(body: str, named: bool, step: int) -> None:
    """Also where every fragment repeats the name without an id, and looks like a whole call of its own."""

    def feed(wire: bytes) -> None:
        text = wire.decode()
        tools = ToolCallAssembler(0, LIMITS)
        tools.fragment(index=0, id="a", name="f")
        for at in range(0, len(text), step):
            tools.fragment(name="f" if named else None, arguments=text[at : at + step])
        tools.finish()
        assert tools.error is None

    assert_linear(
        lambda size: ('{"a":[' + "1," * (size // 2) + body + "]}").encode(), feed, MIB // 2 if step == 3 else 4 * MIB
    )
