"""Fuzz the event stream decoders: `SSEDecoder` and, over it, `SSEJSONDecoder` with its two fast roads.

    python fuzz/fuzz_sse.py .fuzz/corpus/sse -max_total_time=60

The first byte chooses the caps, whether msgspec helps, which decoder also reads it cut, and whether httpx-sse is asked;
the second how the rest is cut. No exception is allowed: what is wrong is the decoder's `error`. The outcome must not
depend on the cut, the fast roads must agree with the plain one, and so must httpx-sse, where it is installed, about
every event with data.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import re
import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from cuts import pieces
from faster import accelerated


@functools.cache
def core() -> Any:
    """Imported on demand, so that the fuzzer can instrument what is imported."""
    from sans_io.decode import jsontext, sse, sse_json
    from sans_io.limits import DEFAULT_LIMITS

    theirs = None
    if importlib.util.find_spec("httpx_sse") is not None and importlib.util.find_spec("httpx") is not None:
        theirs = importlib.import_module("httpx_sse._decoders").SSEDecoder
    small = replace(DEFAULT_LIMITS, max_sse_event=64, max_sse_line=48)
    return SimpleNamespace(
        SSE=sse.SSEDecoder, SSEJSON=sse_json.SSEJSONDecoder, jsontext=jsontext, DONE=sse_json.DONE, theirs=theirs,
        limits=(DEFAULT_LIMITS, small),
    )  # fmt: skip


def one_input(data: bytes) -> None:
    """One run of the target."""
    if len(data) < 2:
        return
    with accelerated(core().jsontext, bool(data[0] & 2)):
        compare(data)


def compare(data: bytes) -> None:
    limits = core().limits[data[0] & 1]
    wire = data[2:]
    cut = pieces(wire, data[1])
    events = plain([wire], limits)
    pairs = parsed([wire], limits)
    if data[0] & 4:
        assert plain(cut, limits) == events, "the events depend on where the bytes were cut"
    else:
        assert parsed(cut, limits) == pairs, "the pairs depend on where the bytes were cut"
    assert pairs == by_the_law(events), "a fast road disagrees with the plain one"
    if core().theirs is not None and not data[0] & 8 and events[1] is None and limits is core().limits[0]:
        assert [(e.event, e.data, e.id) for e in events[0] if e.data] == httpx_sse(wire), "httpx-sse reads other events"


def plain(reads: list[bytes], limits: Any) -> tuple[list[Any], str | None, Any, int]:
    decoder = core().SSE(limits)
    events = [event for data in reads for event in decoder.receive_data(data)]
    assert decoder.receive_eof() == []
    return events, decoder.error and decoder.error.code, decoder.unfinished, decoder.comments


def parsed(reads: list[bytes], limits: Any) -> tuple[str, str | None, str]:
    """As text, since 1 == 1.0 == True."""
    decoder = core().SSEJSON(limits)
    pairs = [pair for data in reads for pair in decoder.receive_data(data)]
    assert decoder.receive_eof() == []
    return repr(pairs), decoder.error and decoder.error.code, repr(decoder.unfinished)


def by_the_law(events: tuple[list[Any], str | None, Any, int]) -> tuple[str, str | None, str]:
    told, error, unfinished, _ = events
    pairs: list[Any] = []
    for event in told:
        try:
            pairs += pair_of(event)
        except core().jsontext.JSONTextError:
            return repr(pairs), "bad_json", "None"
    try:
        left = pair_of(unfinished) if unfinished else []
    except core().jsontext.JSONTextError:
        left = []
    return repr(pairs), error, repr(left[0] if left else None)


def pair_of(event: Any) -> list[Any]:
    if event.data.startswith("[DONE]"):
        return [(event.event, core().DONE)]
    return [(event.event, core().jsontext.decode(event.data))] if event.data.strip(" \t\r\n") else []


def httpx_sse(wire: bytes) -> list[tuple[str, str, str]]:
    decoder = core().theirs()
    text = wire.decode("utf-8", "replace").removeprefix("\ufeff")
    lines = re.split(r"\r\n|\r|\n", text)[:-1]  # the last one has no end
    events = [event for event in map(decoder.decode, lines) if event is not None]
    return [(event.event or "message", event.data, event.id) for event in events if event.data]


def main() -> None:
    import atheris  # type: ignore[import-untyped,import-not-found,unused-ignore]

    with atheris.instrument_imports(include=["sans_io"]):
        core()
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
