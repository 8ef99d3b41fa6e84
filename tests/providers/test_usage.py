"""Token counts of OpenAI's wire: what vendors count apart is counted, zeros take no count's place, totals hold."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sans_io.calls.replay import decode
from sans_io.chat.response import ChatResponse, Usage
from tests.providers.openai.kit import body, chunk, sse, text, usage_chunk


def both(usage: dict, provider: str = "openai") -> ChatResponse:
    """Whole and streamed, at its end and beside text: always the same."""
    whole = decode(provider, 200, {}, [json.dumps(body(usage=usage)).encode()], stream=False)
    for data in (
        sse(text("Hi"), chunk({}, "stop"), usage_chunk(**usage)),
        sse(text("Hi"), chunk({}, "stop", usage=usage)),
        sse(text("H", usage=usage), text("i", usage=usage), chunk({}, "stop", usage=usage)),
    ):
        streamed = decode(provider, 200, {}, [data], stream=True)
        assert (streamed.usage, streamed.total_tokens) == (whole.usage, whole.total_tokens)
    total = usage.get("total_tokens")
    assert whole.total_tokens == (total or whole.input_tokens + whole.output_tokens)
    return whole


def counted(prompt: int, completion: int, total: int, reasoning: int | None = None, **more: Any) -> dict:
    usage: dict[str, Any] = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total, **more}
    if reasoning is not None:
        usage["completion_tokens_details"] = {"reasoning_tokens": reasoning}
    return usage


@pytest.mark.parametrize("provider", ["xai", "openai", "openrouter", "generic"])
@pytest.mark.parametrize(
    ("usage", "output"),
    [
        (counted(307, 26, 588, 255), 281),
        (counted(390, 26, 513, 97), 123),
        (counted(10, 0, 110, 100), 100),
        (counted(10, 300, 310, 255), 300),  # OpenAI: included already
        (counted(10, 300, 310, 300), 300),
        (counted(10, 5, 15, 0), 5),
        ({**counted(10, 5, 115), "reasoning_tokens": 100}, 105),
        (counted(10, 5, 15, 100), 5),  # more than the whole: theirs does not add up
    ],
)
def test_reasoning_that_is_counted_apart(usage: dict, output: int, provider: str) -> None:
    response = both(usage, provider)
    assert (response.input_tokens, response.output_tokens) == (usage["prompt_tokens"], output)


@pytest.mark.parametrize(
    ("usage", "output"),
    [
        (counted(8, 9, 217), 209),
        (counted(8, 9, 217, 200), 209),
        (counted(8, 9, 17), 9),
        (counted(8, 0, 17), 9),
        (counted(8, 9, 10), 9),
    ],
)
def test_thinking_that_only_the_total_counts(usage: dict, output: int) -> None:
    """Gemini's endpoint. Of other vendors nobody knows what the rest is."""
    assert both(usage, "gemini").usage.output_tokens == output
    assert both(counted(8, 9, 217), "groq").usage == Usage(8, 9)
    assert both({"prompt_tokens": 8, "total_tokens": 217}, "gemini").usage == Usage(8, 209), "zeros are left out"
    assert both({"prompt_tokens": 8, "total_tokens": 217}, "groq").usage == Usage(8, None)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"prompt_audio_seconds": 203}, 2629),
        ({"prompt_audio_seconds": 0.5}, 2629),
        ({"prompt_tokens_details": {"audio_tokens": 2625}}, 2629),
        ({"prompt_tokens_details": {"audio_tokens": 2625, "cached_tokens": 0}, "prompt_audio_seconds": 203}, 2629),
        ({"audio_prompt_tokens": 2625}, 2629),
        ({"prompt_audio_seconds": None}, 4),
        ({"prompt_audio_seconds": {}}, 4),
        ({"prompt_tokens_details": {"audio_tokens": 3}}, 7),
    ],
)
def test_a_recording_that_is_counted_apart(more: dict, expected: int) -> None:
    response = both(counted(4, 635, 3264, **more), "mistral")
    assert (response.usage.input_tokens, response.usage.output_tokens) == (expected, 635)


@pytest.mark.parametrize("total", [None, 0, -1, "15", 15.0, True, 2**70])
def test_a_total_that_is_none(total: Any) -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": total}
    response = decode("gemini", 200, {}, [json.dumps(body(usage=usage)).encode()], stream=False)
    assert (response.usage, response.total_tokens) == (Usage(3, 2), 5)


ZEROS = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}


@pytest.mark.parametrize(
    "later",
    [
        ZEROS,
        {**ZEROS, "prompt_tokens_details": {"cached_tokens": 0}, "completion_tokens_details": {"reasoning_tokens": 0}},
        {},
        {"prompt_tokens": None, "completion_tokens": None},
        {"total_tokens": 0},
    ],
)
def test_later_zeros_take_no_counts_place(later: dict) -> None:
    usage = {
        **counted(9, 7, 16, 3),
        "prompt_tokens_details": {"cached_tokens": 4},
    }
    expected = Usage(9, 7, 4, None, 3)
    for chunks in (
        [text("Hi", usage=usage), chunk({}, "stop", usage=later)],
        [text("Hi"), chunk({}, "stop", usage=usage), usage_chunk(**later)],
        [text("H", usage=usage), text("i", usage=later), text("!", usage=later), chunk({}, "stop")],
        [chunk({}, "stop", usage=later), usage_chunk(**usage), usage_chunk(**later)],
    ):
        response = decode("openai", 200, {}, [sse(*chunks)], stream=True)
        assert (response.usage, response.total_tokens) == (expected, 16)
        assert response.raw["usage"] == usage


def test_what_stands_beside_later_zeros_is_kept() -> None:
    chunks = [text("Hi", usage=counted(9, 7, 16)), chunk({}, "stop"), usage_chunk(**ZEROS, cost=0.1)]
    response = decode("openrouter", 200, {}, [sse(*chunks)], stream=True)
    assert response.raw["usage"] == {**counted(9, 7, 16), "cost": 0.1}


def test_growing_counts_and_zeros_that_are_all_there_is() -> None:
    growing = [text("x", usage=counted(9, n, 9 + n)) for n in (0, 1, 2)]
    response = decode("openai", 200, {}, [sse(*growing, chunk({}, "stop"))], stream=True)
    assert (response.usage, response.total_tokens) == (Usage(9, 2), 11)
    response = decode("openai", 200, {}, [sse(text("x"), chunk({}, "stop", usage=ZEROS))], stream=True)
    assert (response.usage, response.raw["usage"]) == (Usage(0, 0), ZEROS)


def anthropic(*usages: dict) -> ChatResponse:
    start = {"type": "message", "role": "assistant", "model": "m", "content": [], "usage": usages[0]}
    events: list[dict] = [{"type": "message_start", "message": start}]
    events += [{"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage} for usage in usages[1:]]
    data = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in [*events, {"type": "message_stop"}])
    return decode("anthropic", 200, {}, [data], stream=True)


@pytest.mark.parametrize(
    "later",
    [
        {"input_tokens": 0},
        {"input_tokens": 0, "output_tokens": 7, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0},
        {"output_tokens_details": {"thinking_tokens": 0}, "output_tokens": 7},
        {"input_tokens": None},
    ],
)
def test_zeros_on_anthropics_wire(later: dict) -> None:
    first = {"input_tokens": 9, "output_tokens": 7, "cache_read_input_tokens": 4, "cache_creation_input_tokens": 2}
    first["output_tokens_details"] = {"thinking_tokens": 3}  # type: ignore[assignment]
    response = anthropic(first, later)
    assert response.usage == Usage(15, 7, 4, 2, 3)
    assert response.raw["usage"] == first


def test_the_last_count_still_holds_on_anthropics_wire() -> None:
    assert anthropic({"input_tokens": 9, "output_tokens": 1}, {"output_tokens": 7, "input_tokens": 8}).usage == Usage(
        8, 7
    )
    assert anthropic({"input_tokens": 9, "output_tokens": 1}, {"output_tokens": 0}).usage == Usage(9, 0), "nothing said"
    later = [{"output_tokens": 7}, {"input_tokens": 0, "output_tokens": 0}]
    assert anthropic({"input_tokens": 9, "output_tokens": 1}, *later).usage == Usage(9, 7), "said before the zeros"
