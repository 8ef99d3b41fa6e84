"""Fuzz the readers of Anthropic's replies: event streams and whole messages.

    python fuzz/fuzz_anthropic.py fuzz/corpus/anthropic -max_total_time=60

The first byte chooses the reader, the second how the rest is cut. No exception is allowed at all: what is wrong with
the bytes is the reader's `error`. The outcome must not depend on the cut, and what was handed out is what the response
says.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sans_io.events import Event
    from sans_io.providers.base import ReplyReader
    from sans_io.response import ChatResponse


@functools.cache
def readers() -> tuple[Callable[[], ReplyReader], ...]:
    """Imported on demand, so that the fuzzer can instrument what is imported."""
    from sans_io.providers.anthropic_reply import MessageStreamReader, WholeMessageReader

    return (MessageStreamReader, WholeMessageReader)


def one_input(data: bytes) -> None:
    """One run of the target."""
    if len(data) < 2:
        return
    new_reader = readers()[data[0] % len(readers())]
    step = data[1] % 64 + 1
    body = data[2:]
    whole = outcome(new_reader(), [body])
    pieces = outcome(new_reader(), [body[i : i + step] for i in range(0, len(body), step)])
    assert whole == pieces, "the outcome depends on where the bytes were cut"


def outcome(reader: ReplyReader, chunks: list[bytes]) -> tuple[list[Event], ChatResponse, object]:
    from sans_io.errors import LLMError
    from sans_io.events import TextDelta

    events: list[Event] = []
    for chunk in chunks:
        if reader.ended or reader.error is not None:
            break
        events += reader.receive_data(chunk)
    if not reader.ended and reader.error is None:
        events += reader.receive_eof()
    error = reader.error
    assert reader.ended != (error is not None)
    assert error is None or isinstance(error, LLMError)
    response = reader.response()
    text = "".join(event.text for event in events if isinstance(event, TextDelta))
    if events:
        assert response.content == text
    text.encode()
    assert error is None or not response.tool_calls
    return events, response, None if error is None else (type(error), error.code, error.message)


def main() -> None:
    import atheris  # type: ignore[import-untyped,import-not-found,unused-ignore]

    with atheris.instrument_imports(include=["sans_io"]):
        readers()
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
