"""What the targets of the three wires share: a reader fed whole and cut, and what must hold of both outcomes.

Nothing of the library is imported until it is used, so that the fuzzer can instrument what a target imports.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from cuts import pieces

if TYPE_CHECKING:
    from sans_io.chat.events import Event
    from sans_io.chat.response import ChatResponse
    from sans_io.providers.base import ReplyReader


#: Not instrumented here, for speed: they have targets of their own (sse, ndjson, jsontext).
ELSEWHERE = [
    "sans_io.decode.sse", "sans_io.decode.sse_json", "sans_io.decode.ndjson", "sans_io.decode.jsontext",
    "sans_io.decode.json_guards", "sans_io.errors",
]  # fmt: skip


def same_however_cut(new_reader: Callable[[], ReplyReader], body: bytes, how: int) -> None:
    """The outcome must not depend on the cut."""
    whole = outcome(new_reader(), [body])
    assert outcome(new_reader(), pieces(body, how)) == whole, "the outcome depends on where the bytes were cut"


def outcome(reader: ReplyReader, chunks: list[bytes]) -> tuple[list[Event], ChatResponse, object]:
    """Feed a reader as the exchange does: what it handed out is what its response says, after an error nothing runs."""
    from sans_io.chat.events import TextDelta
    from sans_io.errors import LLMError

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

    def text_of(index: int) -> str:
        return "".join(e.text for e in events if isinstance(e, TextDelta) and e.choice == index)

    if events:
        assert response.content == text_of(response.choices[0].index if response.choices else 0)
    for choice in response.choices if events else ():
        assert choice.content == text_of(choice.index)
        choice.content.encode()
    response.content.encode()
    if error is not None:
        assert not response.tool_calls
        assert not any(choice.tool_calls for choice in response.choices)
    return events, response, None if error is None else (type(error), error.code, error.message)
