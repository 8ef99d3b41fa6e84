"""Fuzz JSON text: the guarded reader against the standard library's, and there and back again.

    python fuzz/fuzz_jsontext.py .fuzz/corpus/jsontext -max_total_time=60

The first byte chooses the caps and whether keys must be unique. `JSONTextError` is the only exception allowed. What is
accepted is what the standard library reads (broken surrogates repaired) and survives `dumps`; what is refused for its
syntax, the standard library refuses too.
"""

from __future__ import annotations

import functools
import json
import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from faster import accelerated

REASONS = frozenset({"syntax", "depth", "containers", "digits", "number", "utf8", "duplicate_key", "type", "too_large"})


@functools.cache
def core() -> Any:
    """Imported on demand, so that the fuzzer can instrument what is imported."""
    from sans_io.decode import jsontext
    from sans_io.limits import DEFAULT_LIMITS

    small = replace(DEFAULT_LIMITS, max_json_depth=4)
    return SimpleNamespace(jsontext=jsontext, limits=(DEFAULT_LIMITS, small))


def one_input(data: bytes) -> None:
    """One run of the target."""
    if not data:
        return
    jsontext = core().jsontext
    limits, unique, text = core().limits[data[0] & 1], bool(data[0] & 2), data[1:]
    try:
        value = jsontext.loads(text, limits=limits, unique_keys=unique)
    except jsontext.JSONTextError as error:
        refused(error, text)
        return
    theirs = json.loads(text.decode("utf-8").removeprefix("\ufeff"))
    assert repr(jsontext.well_formed_tree(theirs)) == repr(value), "the standard library reads another value"
    written = jsontext.dumps(value)
    assert repr(jsontext.loads(written)) == repr(value), "it does not survive being written"
    if not unique:
        compare_with_the_accelerator(text, value, limits)


def compare_with_the_accelerator(text: bytes, value: Any, limits: Any) -> None:
    """It says the same, or that it is not sure."""
    jsontext = core().jsontext
    with accelerated(jsontext, True) as faster:
        if faster:
            quick = jsontext.accelerator(limits)(text)
            assert quick is jsontext.UNSURE or repr(quick) == repr(value), "the faster reader reads another value"


def refused(error: Any, text: bytes) -> None:
    assert error.reason in REASONS
    assert error.__context__ is None or error.__suppress_context__, "an error keeps what caused it"
    if error.reason == "utf8":
        assert not is_utf8(text)
    elif error.reason == "syntax":
        assert not standard_reads(text), "the standard library reads it"


def is_utf8(text: bytes) -> bool:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def standard_reads(text: bytes) -> bool:
    try:
        json.loads(text.decode("utf-8").removeprefix("\ufeff"))
    except (ValueError, RecursionError):
        return False
    return True


def main() -> None:
    import atheris  # type: ignore[import-untyped,import-not-found,unused-ignore]

    with atheris.instrument_imports(include=["sans_io"]):
        core()
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
