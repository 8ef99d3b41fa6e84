"""`SSEDecoder`: the laws first (cuts, the standard's own algorithm, time), then caps and examples."""

from __future__ import annotations

import json
import os
import random
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sans_io.decode.sse import ServerSentEvent, SSEDecoder
from sans_io.limits import DEFAULT_LIMITS

from .cuts import all_cuts, assert_cuts_never_matter, bytewise, sse, sse_by_the_letter

PIECES = [
    b"data:", b"data: ", b"data", b"event: ", b"id: ", b"id:\0", b"retry: ", b":", b" ", b"\n", b"\r", b"\r\n", b"\n\n",
    b"x", b"12", b"{}", b"\xef\xbb\xbf", b"\xe2\x82\xac", b"\xe2\x82", b"\xff", b"\xe2\x80\xa8", b"\xc2\x85", b"\0", b"Data: ",
]  # fmt: skip
FIELDS = [
    b"data:a",
    b"data: b",
    b"data",
    b"data:\xe2\x82\xac",
    b"",
    b"",
    b"event: x",
    b"id: 7",
    b": comment",
    b"retry: 5",
    b"other",
]
lines = st.builds(bytes.__add__, st.sampled_from(FIELDS), st.sampled_from([b"\n", b"\r", b"\r\n"]))
wires = (
    st.lists(lines, min_size=1, max_size=12).map(b"".join)
    | st.lists(st.sampled_from(PIECES), max_size=24).map(b"".join)
    | st.binary(max_size=40)
)


@given(wires, st.randoms(use_true_random=False))
def test_cuts_never_matter(wire: bytes, dice: random.Random) -> None:
    assert_cuts_never_matter(sse, wire, dice)


@given(wires, st.randoms(use_true_random=False), st.integers(0, 12), st.integers(0, 12), st.integers(0, 40))
def test_cuts_never_matter_at_the_caps(wire: bytes, dice: random.Random, line: int, event: int, stream: int) -> None:
    limits = replace(DEFAULT_LIMITS, max_sse_line=line, max_sse_event=event, max_stream=stream)
    assert_cuts_never_matter(lambda reads: sse(reads, limits), wire, dice)


@pytest.mark.parametrize(
    "wire",
    [
        b"\xef\xbb\xbfdata:1\n\n",
        b"data:\r\n\r\ndata:\r",
        b"event:a\ndata:\n\n",
        b"data:\xe2\x82\xac\r\r",
        b":\n\r\ndata\n\n",
    ],
)
def test_all_cuts_of_short_wires(wire: bytes) -> None:
    whole = sse([wire])
    for cut in all_cuts(wire):
        assert sse(cut) == whole, cut


@given(wires)
def test_it_is_the_algorithm_of_the_standard(wire: bytes) -> None:
    events, error, _, _ = sse([wire])
    assert error is None
    assert [(event.event, event.data, event.id) for event in events] == sse_by_the_letter(wire)


@given(wires)
def test_unfinished_is_what_a_blank_line_would_dispatch(wire: bytes) -> None:
    events, _, unfinished, _ = sse([wire])
    if wire.endswith((b"\n", b"\r")):
        completed = sse([wire, b"\n" if wire.endswith(b"\n") else b"\r"])[0]
        assert completed == (events if unfinished is None else [*events, unfinished])
    else:
        assert unfinished is None


#: Where the recorded cases leave the expectation to the server's newline, this is what the tests themselves say.
NOT_LISTED = {"format-comments": ["1\n2\n3\n4"], "format-data-before-final-empty-line": ["test1"]}


def recordings() -> Path | None:
    """The recorded traffic beside the project, or where WIRE_RECORDINGS says."""
    folder = Path(os.environ.get("WIRE_RECORDINGS") or Path(__file__).parents[3] / "shared" / "recordings")
    return folder if folder.is_dir() else None


@pytest.mark.skipif(recordings() is None, reason="the recordings are not here")
def test_the_cases_of_the_web_platform_tests() -> None:
    folder = recordings()
    assert folder is not None
    checked = 0
    for case in json.loads((folder / "wpt_eventsource.json").read_bytes()):
        expected = case["expected_data"] or NOT_LISTED[case["name"]]
        fields = dict(part.split("=", 1) for part in case["query"].split("&"))
        wire = unquote_to_bytes(fields["message"]) + (b"" if fields.get("newline") == "none" else b"\n\n") + b"\n"
        for reads in ([wire], bytewise(wire)):
            assert [event.data for event in sse(reads)[0]] == expected, case["name"]
        checked += 1
    assert checked >= 13


# ---- caps: L is accepted, L + 1 is refused -------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [1, 7, 10**9])
@pytest.mark.parametrize("over", [-1, 0, 1])
def test_the_cap_on_a_line(over: int, cut: int) -> None:
    limits = replace(DEFAULT_LIMITS, max_sse_line=40)
    wire = b"data:a\n\n" + b"data:" + b"x" * (35 + over) + b"\r\n\r\n"
    events, error, _, _ = sse([wire[at : at + cut] for at in range(0, len(wire), cut)], limits)
    assert [event.data for event in events] == ["a"] + ["x" * (35 + over)] * (over < 1)
    assert error == ("sse_line_too_long" if over == 1 else None)


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_the_cap_on_the_data_of_an_event(over: int) -> None:
    limits = replace(DEFAULT_LIMITS, max_sse_event=20)
    wire = b"data:a\n\ndata:" + b"x" * 9 + b"\ndata:" + b"y" * (10 + over) + b"\n\n"
    events, error, _, _ = sse([wire], limits)
    assert len(events) == 2 - (over == 1)
    assert error == ("sse_event_too_large" if over == 1 else None)


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_the_cap_on_a_stream(over: int) -> None:
    wire = b"data:a\n\ndata:b\n\n"
    events, error, _, _ = sse([wire], replace(DEFAULT_LIMITS, max_stream=len(wire) - over))
    assert [event.data for event in events] == ["a", "b"][: 2 - (over == 1)]
    assert error == ("stream_too_long" if over == 1 else None)


def test_empty_data_lines_count_towards_the_event() -> None:
    assert sse([b"data\n" * 30], replace(DEFAULT_LIMITS, max_sse_event=20))[1] == "sse_event_too_large"


def test_an_error_is_sticky_and_says_which_limit() -> None:
    decoder = SSEDecoder(replace(DEFAULT_LIMITS, max_sse_line=8))
    assert decoder.receive_data(b"data:a\n\ndata:" + b"b" * 9) == [ServerSentEvent(data="a")]
    error = decoder.error
    assert error is not None
    assert "8 bytes" in error.message
    assert decoder.receive_data(b"\n\ndata:c\n\n") == []
    assert decoder.error is error
    assert decoder.unfinished is None


# ---- examples ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wire", "events"),
    [
        (b"data: a\n\n", [ServerSentEvent(data="a")]),
        (b"data:a\n\n", [ServerSentEvent(data="a")]),
        (b"data:  a\n\n", [ServerSentEvent(data=" a")]),
        (b"data\n\n", [ServerSentEvent(data="")]),
        (b"data: a\ndata:\ndata: b\n\n", [ServerSentEvent(data="a\n\nb")]),
        (b"data: a", []),
        (b"data: a\n", []),
        (b"\n\n\n", []),
        (b"event: x\n\ndata: a\n\n", [ServerSentEvent(data="a")]),
        (b"event: x\ndata: a\n\ndata: b\n\n", [ServerSentEvent("x", "a"), ServerSentEvent(data="b")]),
        (b"event: x\nevent:\ndata: a\n\n", [ServerSentEvent(data="a")]),
        (b"id: 7\ndata: a\n\ndata: b\n\n", [ServerSentEvent(data="a", id="7"), ServerSentEvent(data="b", id="7")]),
        (b"id: 7\nid: 8\x00\ndata: a\n\n", [ServerSentEvent(data="a", id="7")]),
        (b"id: 7\n\nid\ndata: a\n\n", [ServerSentEvent(data="a")]),
        (b"retry: 15\ndata: a\n\ndata: b\n\n", [ServerSentEvent(data="a", retry=15), ServerSentEvent(data="b")]),
        (
            b"retry: 15\nretry: -1\nretry: 1.5\nretry: \xc2\xb2\nretry:\ndata: a\n\n",
            [ServerSentEvent(data="a", retry=15)],
        ),
        (b"retry: " + b"9" * 5000 + b"\ndata: a\n\n", [ServerSentEvent(data="a")]),
        (b": OPENROUTER PROCESSING\n\ndata: a\n\n", [ServerSentEvent(data="a")]),
        (
            "data: a\u2028b\u2029c\u0085d\x0be\x0cf\n\n".encode(),
            [ServerSentEvent(data="a\u2028b\u2029c\u0085d\x0be\x0cf")],
        ),
        (b"data: \xff\xe2\x82\n\n", [ServerSentEvent(data="\ufffd\ufffd")]),
        (b"\xef\xbb\xbfdata: a\n\n\xef\xbb\xbfdata: b\n\n", [ServerSentEvent(data="a")]),
        (b"data: a\r\n\r\ndata: b\r\rdata: c\n\r\n", [ServerSentEvent(data=x) for x in "abc"]),
        (b"DATA: a\n\n data: b\n\n", []),
    ],
)
def test_a_stream(wire: bytes, events: list[ServerSentEvent]) -> None:
    assert sse([wire])[0] == events
    assert sse(bytewise(wire))[0] == events


@pytest.mark.parametrize(
    ("wire", "data"),
    [
        (b"data: [DONE]\n", "[DONE]"),
        (b"data: [DONE]\r", "[DONE]"),
        (b"data: [DONE]\r\n", "[DONE]"),
        (b"data: [DONE]", None),
        (b"data: [DONE]\n: comm", None),
        (b"data: [DONE]\n\n", None),
        (b"", None),
    ],
)
def test_unfinished(wire: bytes, data: str | None) -> None:
    unfinished = sse([wire])[2]
    assert (unfinished and unfinished.data) == data


def test_comments_are_counted() -> None:
    assert sse([b": a\n:b\n\n:\ndata: :\n\n"])[3] == 3


BOM = b"\xef\xbb\xbf"


def test_a_short_first_read_that_begins_no_bom_is_decoded_at_once() -> None:
    assert sse([b":\n"])[3] == 1


def test_nothing_is_pending_after_a_bom_alone() -> None:
    decoder = SSEDecoder()
    decoder.receive_data(BOM[:2])
    assert not decoder.between_events
    decoder.receive_data(BOM[2:])
    assert decoder.between_events


def test_the_cap_on_a_stream_counts_a_bom_that_is_not_yet_whole() -> None:
    assert sse([BOM[:2]], replace(DEFAULT_LIMITS, max_stream=1))[1] == "stream_too_long"


def test_the_first_error_stays_when_the_same_read_is_also_too_long() -> None:
    limits = replace(DEFAULT_LIMITS, max_sse_event=3, max_stream=20)
    wire = b"data:abcdef\n" + b"data:x\n" * 10
    assert [sse(reads, limits)[1] for reads in ([wire], bytewise(wire))] == ["sse_event_too_large"] * 2


def test_the_error_names_the_limit() -> None:
    decoder = SSEDecoder(replace(DEFAULT_LIMITS, max_sse_event=4))
    decoder.receive_data(b"data:a\ndata:bcdef\n")
    assert decoder.error is not None
    assert "4 bytes" in decoder.error.message


@pytest.mark.parametrize(("digits", "taken"), [(17, True), (18, True), (19, False)])
def test_a_retry_time_has_at_most_eighteen_digits(digits: int, taken: bool) -> None:
    (event,) = sse([b"retry:" + b"1" * digits + b"\ndata:\n\n"])[0]
    assert event.retry == (int("1" * digits) if taken else None)


def test_a_read_much_larger_than_a_piece_loses_nothing() -> None:
    """Large reads are cut into pieces inside; no piece's last line may be lost or doubled."""
    wire = b"".join(b"data:%d\n\n" % number for number in range(40_000))
    assert [event.data for event in sse([wire])[0]] == [str(number) for number in range(40_000)]


def test_one_read_of_any_size_is_decoded_whole() -> None:
    events = [b"data: " + b"%d" % number + b"x" * 5_000 for number in range(40)]
    wire = b"\n\n".join(events) + b"\n\n"
    assert len(wire) > 3 * 64 * 1024
    decoder = SSEDecoder()
    assert [event.data.encode() for event in decoder.receive_data(wire)] == [event[6:] for event in events]
    assert decoder.error is None
