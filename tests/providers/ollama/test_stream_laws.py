"""Laws of Ollama's streams: any reply, cut anywhere, damaged anyhow."""

from __future__ import annotations

import copy
import json

from hypothesis import given
from hypothesis import strategies as st

from sans_io.providers.ollama.reply import ChatStreamReader, PullReader, WholeChatReader
from tests.providers.ollama.kit import REPLIES, call, last, line, streamed, whole
from tests.providers.reading import check_every_cut_of_the_stream, cut, places, read

LONG = b"".join(
    [
        line(message_thinking="Let me see. Ünï"),
        line("Hello"),
        line(" wörld "),
        b"\n",
        line("😀"),
        line(message_tool_calls=[call("look", {"city": "Zürich"})]),
        last("."),
    ]
)


def new_reader() -> ChatStreamReader:
    return ChatStreamReader("qwen2.5:3b")


@given(st.data())
def test_a_drained_stream_says_what_the_whole_reply_says(data: st.DataObject) -> None:
    reply = data.draw(REPLIES)
    wire = data.draw(streamed(reply))
    drained = read(new_reader(), cut(wire, data.draw(places(wire))))
    entire = whole(reply)
    assert drained.error is None
    assert entire.error is None
    assert drained.response.raw == reply
    assert drained.response == entire.response


@given(st.data())
def test_where_the_bytes_are_cut_does_not_matter(data: st.DataObject) -> None:
    wire = data.draw(streamed(data.draw(REPLIES)))
    expected = read(new_reader(), [wire]).outcome()
    assert read(new_reader(), cut(wire, data.draw(places(wire)))).outcome() == expected


def test_a_stream_byte_by_byte() -> None:
    assert read(new_reader(), [bytes([byte]) for byte in LONG]).outcome() == read(new_reader(), [LONG]).outcome()


@given(st.data())
def test_damaged_bytes_never_raise_and_mean_the_same_however_cut(data: st.DataObject) -> None:
    wire = bytearray(data.draw(st.just(LONG) | REPLIES.flatmap(streamed)))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(wire) - 1))
        damage = data.draw(st.binary(max_size=3) | st.sampled_from([b"null", b"[]", b'""', b"\n", b"{", b"1e999"]))
        wire[at : at + data.draw(st.integers(0, 8))] = damage
    pieces = cut(bytes(wire), data.draw(places(bytes(wire))))
    assert read(new_reader(), pieces).outcome() == read(new_reader(), [bytes(wire)]).outcome()
    PullReader("m").receive_data(bytes(wire))


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.data())
def test_values_of_the_wrong_type_never_raise(data: st.DataObject) -> None:
    reply = data.draw(REPLIES)
    wire = data.draw(streamed(reply))
    lines = [json.loads(each) for each in wire.decode().split("\n") if each.strip()]
    _replace_somewhere(lines, data)
    reading = read(new_reader(), [b"".join(json.dumps(each).encode() + b"\n" for each in lines)])
    json.dumps(reading.response.raw, ensure_ascii=False).encode()
    reply = copy.deepcopy(reply)
    _replace_somewhere([reply], data)
    read(WholeChatReader("m"), [json.dumps(reply).encode()])


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
    # The last line counts without its newline, if it is whole JSON.
    check_every_cut_of_the_stream(LONG, new_reader, exempt=1)


@given(REPLIES.flatmap(streamed))
def test_any_stream_cut_at_every_line(wire: bytes) -> None:
    expected = read(new_reader(), [wire]).text
    end = len(wire.rstrip(b"\r\n"))
    for length in [i for i, byte in enumerate(wire) if byte in b"\r\n"]:
        reading = read(new_reader(), [wire[:length]])
        assert expected.startswith(reading.text)
        assert (reading.error is None) == (length >= end)
