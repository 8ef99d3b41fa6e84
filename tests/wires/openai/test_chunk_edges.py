"""Places of a chunk that hold nothing."""

from __future__ import annotations

from sans_io.replay import decode
from tests.wires.openai.kit import chunk, sse, text


def test_a_choice_that_is_null_says_nothing() -> None:
    """It keeps a place and no more: the others are read."""
    whole = text("a")
    whole["choices"] = [None, *whole["choices"], None]
    response = decode("openai", 200, {}, [sse(whole, chunk({}, "stop"))], stream=True)
    assert response.content == "a"
    assert len(response.choices) == 1
    nothing = {**text("b"), "choices": [None]}
    assert decode("openai", 200, {}, [sse(text("a"), nothing, chunk({}, "stop"))], stream=True).content == "a"
