"""Laws of Anthropic's streams: any message, cut anywhere, damaged anyhow."""

from __future__ import annotations

import copy
import json

from hypothesis import given
from hypothesis import strategies as st

from sans_io.providers.anthropic.reply import MessageStreamReader, WholeMessageReader
from tests.providers.anthropic.kit import (
    MESSAGES,
    PING,
    STOP,
    block_start,
    block_stop,
    delta,
    message_delta,
    start,
    streamed,
    text_block,
    tool_block,
    whole,
)
from tests.providers.reading import check_every_cut_of_the_stream, cut, places, read

LONG = b"".join(
    [
        start(),
        block_start(0, type="thinking", thinking="", signature=""),
        delta(0, "thinking_delta", thinking="Let me see. Ünï"),
        delta(0, "signature_delta", signature="c2ln"),
        block_stop(0),
        PING,
        text_block(1, "Hello", " wörld ", "😀"),
        tool_block(2, "look", "", '{"city": ', '"Zürich"}'),
        message_delta("tool_use"),
        STOP,
    ]
)


def new_reader() -> MessageStreamReader:
    return MessageStreamReader("claude-x", "2026-10-21")


@given(st.data())
def test_a_drained_stream_says_what_the_whole_reply_says(data: st.DataObject) -> None:
    message = data.draw(MESSAGES)
    wire = data.draw(streamed(message))
    drained = read(new_reader(), cut(wire, data.draw(places(wire))))
    entire = whole(message)
    assert drained.error is None
    assert entire.error is None
    assert drained.response.raw == message
    drained.response.raw = entire.response.raw
    assert drained.response == entire.response


@given(st.data())
def test_where_the_bytes_are_cut_does_not_matter(data: st.DataObject) -> None:
    wire = data.draw(streamed(data.draw(MESSAGES)))
    expected = read(new_reader(), [wire]).outcome()
    assert read(new_reader(), cut(wire, data.draw(places(wire)))).outcome() == expected


def test_a_stream_byte_by_byte() -> None:
    assert read(new_reader(), [bytes([byte]) for byte in LONG]).outcome() == read(new_reader(), [LONG]).outcome()


@given(st.data())
def test_damaged_bytes_never_raise_and_mean_the_same_however_cut(data: st.DataObject) -> None:
    wire = bytearray(data.draw(st.just(LONG) | MESSAGES.flatmap(streamed)))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(wire) - 1))
        damage = data.draw(st.binary(max_size=3) | st.sampled_from([b"null", b"[]", b'""', b"\n\n", b"{", b"1e999"]))
        wire[at : at + data.draw(st.integers(0, 8))] = damage
    whole_outcome = read(new_reader(), [bytes(wire)]).outcome()
    assert read(new_reader(), cut(bytes(wire), data.draw(places(bytes(wire))))).outcome() == whole_outcome


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.data())
def test_values_of_the_wrong_type_never_raise(data: st.DataObject) -> None:
    """Any value anywhere in the events of a stream, or in a whole reply, is replaced by any other."""
    message = data.draw(MESSAGES)
    wire = data.draw(streamed(message)).decode().replace("\r\n", "\n").replace("\r", "\n")
    events = [json.loads(line[6:]) for line in wire.split("\n") if line.startswith("data: {")]
    _replace_somewhere(events, data)
    encoded = b"".join(b"data: " + json.dumps(each).encode() + b"\n\n" for each in events)
    reading = read(new_reader(), [encoded])
    json.dumps(reading.response.raw, ensure_ascii=False).encode()
    message = copy.deepcopy(message)
    _replace_somewhere([message], data)
    read(WholeMessageReader("m", None), [json.dumps(message).encode()])


def _replace_somewhere(value: list | dict, data: st.DataObject) -> None:
    while True:
        keys = list(range(len(value))) if isinstance(value, list) else list(value)
        key = data.draw(st.sampled_from(keys))
        if isinstance(value[key], (list, dict)) and value[key] and data.draw(st.integers(0, 3)):
            value = value[key]
            continue
        value[key] = copy.deepcopy(data.draw(JSON_VALUES))
        return


def test_a_stream_cut_at_every_byte() -> None:
    # Without message_stop a stream is whole once its stop reason was read, so the last event may be cut.
    ending = len(STOP) + 1
    check_every_cut_of_the_stream(LONG, new_reader, exempt=ending)


@given(MESSAGES.flatmap(streamed))
def test_any_stream_cut_at_every_line(wire: bytes) -> None:
    expected = read(new_reader(), [wire]).text
    for length in [i for i, byte in enumerate(wire) if byte in b"\r\n"]:
        reading = read(new_reader(), [wire[:length]])
        assert expected.startswith(reading.text)
        if reading.error is None:
            assert reading.response.raw_finish_reason
        else:
            assert reading.error.code == "truncated"
