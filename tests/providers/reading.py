"""What the tests of the wires share: feeding a reader, cutting bytes, and the laws that hold for every reply.

Laws: the events do not depend on where the bytes were cut (R9); nothing raises (R5); errors and ends are sticky (R6);
the text handed out is the text of the response.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from hypothesis import strategies as st

from sans_io.chat.content import has_content
from sans_io.chat.events import Event, Finished, ReasoningDelta, TextDelta, ToolCallCompleted
from sans_io.chat.response import ChatResponse
from sans_io.errors import LLMError
from sans_io.providers.base import ReplyReader


@dataclass
class Reading:
    """What came out of one reader."""

    events: list[Event]
    response: ChatResponse
    error: LLMError | None
    ended: bool

    @property
    def text(self) -> str:
        return "".join(event.text for event in self.events if isinstance(event, TextDelta))

    @property
    def reasoning(self) -> str:
        return "".join(event.text for event in self.events if isinstance(event, ReasoningDelta))

    @property
    def finishes(self) -> list[Finished]:
        return [event for event in self.events if isinstance(event, Finished)]

    def outcome(self) -> tuple[object, ...]:
        """All that must not depend on the cutting."""
        error = self.error and (type(self.error), self.error.message, self.error.code, self.error.error_type)
        return (self.events, self.response, error, self.ended)


def read(reader: ReplyReader, chunks: Iterable[bytes]) -> Reading:
    """Feed a reader as the exchange does, and check that its end or its error is sticky."""
    events: list[Event] = []
    for chunk in chunks:
        if reader.ended or reader.error is not None:
            break
        before = reader.content_events
        said = reader.receive_data(chunk)
        assert reader.content_events > before or reader.ended or not has_content(said), "it is content"
        events += said
    if not reader.ended and reader.error is None:
        events += reader.receive_eof()
    assert reader.ended != (reader.error is not None), "an ended body is a whole reply or an error"
    ended, error, response = reader.ended, reader.error, reader.response()
    assert reader.receive_data(b'data: {"type":"ping"}\n\n{"done":false}\n') == []
    assert reader.receive_eof() == []
    assert (reader.ended, reader.error) == (ended, error)
    reading = Reading(events, response, error, ended)
    check_reading(reading)
    return reading


def check_reading(reading: Reading) -> None:
    """The laws every reading obeys."""
    response = reading.response if reading.error is None else reading.error.partial or reading.response
    if reading.events:
        assert reading.text == response.content
        assert reading.reasoning == (response.reasoning or "")
    assert all(event.text for event in reading.events if isinstance(event, (TextDelta, ReasoningDelta)))
    reading.text.encode()
    reading.reasoning.encode()
    if reading.error is not None:
        assert not reading.finishes
        assert response.tool_calls == [], "a call of a cut reply must not be run"
    elif reading.events:
        assert len(reading.finishes) == 1
        assert reading.events[-1] == reading.finishes[0]
        assert reading.finishes[0].finish_reason == response.finish_reason
        completed = [event.tool_call for event in reading.events if isinstance(event, ToolCallCompleted)]
        assert [call for call in completed if call.arguments_error is None] == response.tool_calls
        assert [call for call in completed if call.arguments_error is not None] == response.invalid_tool_calls


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    """`data` in pieces."""
    edges = [0, *sorted({place for place in places if 0 < place < len(data)}), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


def places(data: bytes) -> st.SearchStrategy[list[int]]:
    """Where to cut, anywhere."""
    return st.lists(st.integers(0, max(len(data), 1)), max_size=12)


def check_every_cut_of_the_stream(data: bytes, new_reader: Callable[[], ReplyReader], *, exempt: int = 0) -> None:
    """A stream that stops anywhere: a prefix of the text, never complete, an error that carries it.

    `exempt`: how many of the last bytes may be missing from a whole reply.
    """
    whole = read(new_reader(), [data])
    assert whole.error is None
    for length in _cut_places(data):
        cut_short = read(new_reader(), [data[:length]])
        assert whole.text.startswith(cut_short.text)
        if length < len(data) - exempt:
            assert cut_short.error is not None, f"{length} of {len(data)} bytes counted as a whole stream"
            assert cut_short.error.code == "truncated"
            assert cut_short.error.partial is not None
            assert cut_short.error.partial.content == cut_short.text
        elif cut_short.error is None:
            assert cut_short.text == whole.text


def _cut_places(data: bytes) -> list[int]:
    if len(data) <= 4096:
        return list(range(len(data)))
    edges = {i + shift for i, byte in enumerate(data) if byte == 10 for shift in (-2, -1, 0, 1, 2)}
    return sorted({place for place in edges if 0 <= place < len(data)} | set(range(0, len(data), len(data) // 200)))
