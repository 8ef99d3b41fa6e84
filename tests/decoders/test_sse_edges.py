"""`SSEDecoder` at its edges: bytes held back for a BOM, which error comes first, how long a retry time may be."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sans_io.decode.sse import SSEDecoder
from sans_io.limits import DEFAULT_LIMITS
from tests.decoders.cuts import bytewise, sse

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
