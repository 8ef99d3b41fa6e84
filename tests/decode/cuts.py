"""Ways to cut a wire, what a decoder made of it, and a slow reading of the event stream standard to compare with."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from sans_io.decode import jsontext
from sans_io.decode.ndjson import NDJSONDecoder
from sans_io.decode.sse import ServerSentEvent, SSEDecoder
from sans_io.decode.sse_json import DONE, SSEJSONDecoder
from sans_io.limits import DEFAULT_LIMITS, Limits

#: What a decoder made of a wire: what it gave, the code of its error, what was left, how many keep-alives it counted.
Outcome = tuple[list[Any], str | None, Any, int]


def sse(reads: Sequence[bytes], limits: Limits = DEFAULT_LIMITS) -> Outcome:
    decoder = SSEDecoder(limits)
    events = [event for data in reads for event in decoder.receive_data(data)]
    assert decoder.receive_eof() == []
    return events, decoder.error and decoder.error.code, decoder.unfinished, decoder.comments + decoder.blanks


def sse_json(reads: Sequence[bytes], limits: Limits = DEFAULT_LIMITS) -> Outcome:
    decoder = SSEJSONDecoder(limits)
    pairs = [pair for data in reads for pair in decoder.receive_data(data)]
    assert decoder.receive_eof() == []
    return pairs, decoder.error and decoder.error.code, decoder.unfinished, decoder.keepalives


def ndjson(reads: Sequence[bytes], limits: Limits = DEFAULT_LIMITS) -> Outcome:
    decoder = NDJSONDecoder(limits)
    values = [value for data in reads for value in decoder.receive_data(data)]
    values += decoder.receive_eof()
    return values, decoder.error and decoder.error.code, None, decoder.blanks


def sse_json_by_the_law(wire: bytes, limits: Limits = DEFAULT_LIMITS) -> Outcome:
    """`SSEDecoder`, then `jsontext.decode` for each event: what the fast roads must agree with."""
    events, error, unfinished, keepalives = sse([wire], limits)
    pairs: list[Any] = []
    for event in events:
        try:
            made = pair_of(event, limits)
        except jsontext.JSONTextError:
            return pairs, "bad_json", None, keepalives
        pairs += made
        keepalives += not made
    try:
        left = pair_of(unfinished, limits) if unfinished else []
    except jsontext.JSONTextError:
        left = []
    return pairs, error, left[0] if left else None, keepalives


def pair_of(event: ServerSentEvent, limits: Limits) -> list[Any]:
    if event.data.startswith("[DONE]"):
        return [(event.event, DONE)]
    return [(event.event, jsontext.decode(event.data, limits))] if event.data.strip(" \t\r\n") else []


def sse_by_the_letter(wire: bytes) -> list[tuple[str, str, str]]:
    """The algorithm of the standard, step by step on the decoded text: (event, data, last event id)."""
    text = wire.decode("utf-8", "replace").removeprefix("\ufeff")
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")[:-1]
    dispatched: list[tuple[str, str, str]] = []
    data = name = last_id = ""
    for line in lines:
        if not line:
            if data:
                dispatched.append((name or "message", data[:-1], last_id))
            data = name = ""
            continue
        field, colon, value = line.partition(":")
        if colon and not field:
            continue
        value = value.removeprefix(" ")
        if field == "data":
            data += value + "\n"
        elif field == "event":
            name = value
        elif field == "id" and "\0" not in value:
            last_id = value
    return dispatched


def all_cuts(wire: bytes) -> Iterator[list[bytes]]:
    """Every way to cut a short wire into reads (2 ** (n - 1) of them)."""
    for marks in itertools.product((False, True), repeat=max(len(wire) - 1, 0)):
        yield cut_at(wire, [place + 1 for place, marked in enumerate(marks) if marked])


def random_cut(wire: bytes, dice: random.Random) -> list[bytes]:
    places = sorted(dice.randrange(len(wire) + 1) for _ in range(dice.choice((1, 1, 2, 3, 5, 9))))
    return cut_at(wire, places)


def cut_at(wire: bytes, places: Sequence[int]) -> list[bytes]:
    return [wire[start:stop] for start, stop in itertools.pairwise([0, *places, len(wire)])]


def bytewise(wire: bytes) -> list[bytes]:
    return [wire[place : place + 1] for place in range(len(wire))]


def assert_cuts_never_matter(
    decode: Callable[[Sequence[bytes]], Outcome], wire: bytes, dice: random.Random, rounds: int = 4
) -> Outcome:
    whole = decode([wire])
    # NaN cannot get in, so equality is equality; repr tells 1 from 1.0 and True, and -0.0 from 0.0.
    assert repr(decode(bytewise(wire))) == repr(whole)
    for _ in range(rounds):
        cut = random_cut(wire, dice)
        assert repr(decode(cut)) == repr(whole), cut
    return whole


@pytest.fixture(params=["standard library", "msgspec"])
def road(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Runs a test with and without the accelerator."""
    monkeypatch.setattr(jsontext, "_FASTER", [])
    if request.param == "msgspec":
        pytest.importorskip("msgspec")
        assert jsontext.accelerate()
    return str(request.param)
