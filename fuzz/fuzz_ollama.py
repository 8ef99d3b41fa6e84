"""Fuzz the readers of Ollama's replies: NDJSON streams, whole replies, downloads and lists.

    python fuzz/fuzz_ollama.py .fuzz/corpus/ollama -max_total_time=60

The first byte chooses the reader, the second how the rest is cut. No exception is allowed at all: what is wrong with
the bytes is the reader's `error`. The outcome must not depend on the cut, and what was handed out is what the response
says.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from wire_readers import ELSEWHERE, same_however_cut

if TYPE_CHECKING:
    from sans_io.providers.base import ReplyReader


@functools.cache
def readers() -> tuple[Callable[[], ReplyReader], ...]:
    """Imported on demand, so that the fuzzer can instrument what is imported."""
    from sans_io.providers.ollama.reply import (
        ChatStreamReader,
        OllamaModelsReader,
        PullReader,
        VersionReader,
        WholeChatReader,
    )

    return (
        ChatStreamReader,
        WholeChatReader,
        lambda: PullReader("m"),
        lambda: OllamaModelsReader("ollama"),
        lambda: VersionReader("ollama"),
    )


def one_input(data: bytes) -> None:
    """One run of the target."""
    if len(data) < 2:
        return
    new_reader = readers()[data[0] % len(readers())]
    same_however_cut(new_reader, data[2:], data[1])


def main() -> None:
    import atheris  # type: ignore[import-untyped,import-not-found,unused-ignore]

    with atheris.instrument_imports(include=["sans_io"], exclude=ELSEWHERE):
        readers()
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
