"""Fuzz the decoder of JSON lines.

    python fuzz/fuzz_ndjson.py .fuzz/corpus/ndjson -max_total_time=60

The first byte chooses the caps and whether msgspec helps, the second how the rest is cut. No exception is allowed:
what is wrong is the decoder's `error`. The outcome must not depend on the cut, and is that of reading line after line.
"""

from __future__ import annotations

import functools
import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from cuts import pieces
from faster import accelerated


@functools.cache
def core() -> Any:
    """Imported on demand, so that the fuzzer can instrument what is imported."""
    from sans_io.decode import jsontext, ndjson
    from sans_io.limits import DEFAULT_LIMITS

    small = replace(DEFAULT_LIMITS, max_ndjson_line=64)
    return SimpleNamespace(NDJSON=ndjson.NDJSONDecoder, jsontext=jsontext, limits=(DEFAULT_LIMITS, small))


def one_input(data: bytes) -> None:
    """One run of the target."""
    if len(data) < 2:
        return
    with accelerated(core().jsontext, bool(data[0] & 2)):
        compare(data)


def compare(data: bytes) -> None:
    limits = core().limits[data[0] & 1]
    wire = data[2:]
    whole = outcome([wire], limits)
    assert outcome(pieces(wire, data[1]), limits) == whole, "depends on the cut"
    if limits is core().limits[0]:
        values, error = whole
        assert (values, error is None) == line_after_line(wire), "not what reading line after line gives"


def outcome(reads: list[bytes], limits: Any) -> tuple[str, str | None]:
    """As text, since 1 == 1.0 == True."""
    decoder = core().NDJSON(limits)
    values = [value for data in reads for value in decoder.receive_data(data)]
    values += decoder.receive_eof()
    return repr(values), decoder.error and decoder.error.code


def line_after_line(wire: bytes) -> tuple[str, bool]:
    """The values, and whether all was well. A last line without an end counts if it is whole."""
    values: list[Any] = []
    *lines, last = wire.split(b"\n")
    jsontext = core().jsontext
    for line in lines:
        try:
            text = jsontext.decode_utf8(line)
            values += [jsontext.decode(text)] if text.strip(" \t\r") else []
        except jsontext.JSONTextError:
            return repr(values), False
    try:
        text = jsontext.decode_utf8(last)
        values += [jsontext.decode(text)] if text.strip(" \t\r") else []
    except jsontext.JSONTextError:
        return repr(values), False  # it was cut
    return repr(values), True


def main() -> None:
    import atheris  # type: ignore[import-untyped,import-not-found,unused-ignore]

    with atheris.instrument_imports(include=["sans_io"]):
        core()
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
