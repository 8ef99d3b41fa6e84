"""Fuzz the readers of OpenAI's wire: event streams, whole replies, lists of models, and error replies.

    python fuzz/fuzz_openai.py fuzz/corpus/openai -max_total_time=60

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
    from sans_io.providers.openai_reply import ModelsReader, OpenAIBodyReader, OpenAIStreamReader

    return (
        functools.partial(OpenAIStreamReader, "fuzz"),
        functools.partial(OpenAIBodyReader, "fuzz"),
        functools.partial(ModelsReader, "fuzz"),
    )


def one_input(data: bytes) -> None:
    """One run of the target."""
    if len(data) < 2:
        return
    step = data[1] % 64 + 1
    body = data[2:]
    if data[0] % 4 == 3:
        failure(200 + 7 * step % 400, body)
        return
    new_reader = readers()[data[0] % 4]
    whole = outcome(new_reader(), [body])
    pieces = outcome(new_reader(), [body[i : i + step] for i in range(0, len(body), step)])
    assert whole == pieces, "the outcome depends on where the bytes were cut"


def failure(status: int, body: bytes) -> None:
    from sans_io.errors import LLMError
    from sans_io.providers.failures import decode_failure

    error = decode_failure(provider="fuzz", status=status, headers=(), body=body)
    assert isinstance(error, LLMError)
    assert error.message.isprintable()
    error.message.encode()


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
    for choice in response.choices if events else ():
        text = "".join(e.text for e in events if isinstance(e, TextDelta) and e.choice == choice.index)
        assert choice.content == text
        text.encode()
    assert error is None or not any(choice.tool_calls for choice in response.choices)
    return events, response, None if error is None else (type(error), error.code, error.message)


def main() -> None:
    import atheris  # type: ignore[import-untyped,import-not-found,unused-ignore]

    with atheris.instrument_imports(include=["sans_io"]):
        readers()
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
