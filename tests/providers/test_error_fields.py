"""A field `error: ...` of an event stream, or a bare line of JSON: its words reach the error, wherever it stands, though
the standard drops them.
"""

from __future__ import annotations

import json

import pytest

from sans_io.calls.replay import decode
from sans_io.decode.sse import SSEDecoder
from sans_io.errors import LLMError, LLMRateLimitError, LLMServerError, LLMStreamError
from tests.decode.cuts import bytewise, road
from tests.providers.openai.kit import chunk, sse, text

__all__ = ["road"]
pytestmark = pytest.mark.usefixtures("road")

BEGUN = {
    "openai": sse(text("Hel"), done=False),
    "anthropic": b"".join(
        b"data: " + json.dumps(value).encode() + b"\n\n"
        for value in (
            {"type": "message_start", "message": {"type": "message", "role": "assistant", "content": []}},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "Hel"}},
        )
    ),
}


def failure(wire: str, data: bytes) -> LLMError:
    found = []
    for reads in ([data], bytewise(data), [data[:-1], data[-1:]]):
        with pytest.raises(LLMError) as raised:
            decode(wire, 200, {"content-type": "text/event-stream"}, reads, stream=True)
        found.append((type(raised.value), raised.value.message, raised.value.code, raised.value.partial))
    assert found == [found[0]] * 3
    return raised.value


@pytest.mark.parametrize("wire", BEGUN)
@pytest.mark.parametrize("begun", [True, False])
@pytest.mark.parametrize("end", ["\n\n", "\n", "", "\r\n\r\n", "\n\ndata: [DONE]\n\n"])
@pytest.mark.parametrize(
    ("field", "words"),
    [
        ('error: {"error": {"message": "the GPU is on fire", "type": "server_error"}}', "the GPU is on fire"),
        ('error: {"message": "the GPU is on fire", "code": 500}', "the GPU is on fire"),
        ('error:{"error": "the GPU is on fire"}', "the GPU is on fire"),
        ("error: the GPU is on fire", "the GPU is on fire"),
        ('error: "the GPU is on fire"', "the GPU is on fire"),
        ('event: error\ndata: the GPU is on fire', "the GPU is on fire"),
        ('{"error": {"message": "the GPU is on fire", "code": 500}}', "the GPU is on fire"),
        ('{ "error" : "the GPU is on fire" }', "the GPU is on fire"),
        (': comment\nerror: {"detail": "the GPU is on fire"}', "the GPU is on fire"),
    ],
)  # fmt: skip
def test_its_words_reach_the_error(wire: str, begun: bool, field: str, words: str, end: str) -> None:
    if field.startswith("event:") and end == "":
        pytest.skip("half a line of data is no event")
    if field.startswith("{") and not begun:
        pytest.skip("a whole reply of another type")
    error = failure(wire, (BEGUN[wire] if begun else b"") + (field + end).encode())
    assert words in error.message
    assert not isinstance(error, LLMStreamError)
    assert error.partial is not None
    assert error.partial.content == ("Hel" if begun else "")


def test_it_is_classed_by_its_code() -> None:
    limited = (
        b'error: {"error": {"message": "slow down", "type": "rate_limit_error", "code": "rate_limit_exceeded"}}\n\n'
    )
    assert isinstance(failure("openai", BEGUN["openai"] + limited), LLMRateLimitError)
    overloaded = b'error: {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}\n\n'
    assert isinstance(failure("anthropic", BEGUN["anthropic"] + overloaded), LLMServerError)


def test_beside_data_both_count() -> None:
    chunk_and_error = b"data: " + json.dumps(text("lo")).encode() + b"\nerror: broken\n\n"
    error = failure("openai", BEGUN["openai"] + chunk_and_error)
    assert error.partial is not None
    assert (error.partial.content, "broken" in error.message) == ("Hello", True)


def test_after_the_last_event_it_is_not_read() -> None:
    data = sse(text("Hello"), chunk({}, "stop")) + b"error: too late\n\n"
    assert decode("openai", 200, {}, [data], stream=True).content == "Hello"


def test_an_empty_one_is_an_error_too() -> None:
    for value in (b"{}", b"null"):
        assert isinstance(failure("openai", BEGUN["openai"] + b"error: " + value + b"\n\n"), LLMError)


def test_the_decoder_of_the_standard_drops_it() -> None:
    decoder = SSEDecoder()
    assert decoder.receive_data(b"error: x\n\nerror: y") == []
    assert decoder.unfinished is None
