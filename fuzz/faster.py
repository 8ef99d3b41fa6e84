"""The accelerator switched on or off for one execution."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def accelerated(jsontext: Any, on: bool) -> Iterator[bool]:
    """Decoders made inside use msgspec, or not. Gives whether they do: it may not be installed."""
    before = list(jsontext._FASTER)
    jsontext._FASTER.clear()
    try:
        yield on and jsontext.accelerate()
    finally:
        jsontext._FASTER[:] = before
