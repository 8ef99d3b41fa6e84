"""Fuzz the readers of OpenAI's wire: event streams, whole replies, lists of models, and error replies.

    python fuzz/fuzz_openai.py .fuzz/corpus/openai -max_total_time=60

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
    from sans_io.providers.openai_chat.reply import OpenAIBodyReader, OpenAIModelsReader, OpenAIStreamReader

    return (
        functools.partial(OpenAIStreamReader, "fuzz"),
        functools.partial(OpenAIBodyReader, "fuzz"),
        functools.partial(OpenAIModelsReader, "fuzz"),
    )


def one_input(data: bytes) -> None:
    """One run of the target."""
    if len(data) < 2:
        return
    if data[0] % 4 == 3:
        failure(200 + 7 * (data[1] % 64 + 1) % 400, data[2:])
    else:
        same_however_cut(readers()[data[0] % 4], data[2:], data[1])


def failure(status: int, body: bytes) -> None:
    from sans_io.errors import LLMError
    from sans_io.providers.failures import decode_failure

    error = decode_failure(provider="fuzz", status=status, headers=(), body=body)
    assert isinstance(error, LLMError)
    assert error.message.isprintable()
    error.message.encode()


def main() -> None:
    import atheris  # type: ignore[import-untyped,import-not-found,unused-ignore]

    with atheris.instrument_imports(include=["sans_io"], exclude=ELSEWHERE):
        readers()
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
