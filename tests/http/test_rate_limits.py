"""Rate limits in one form for all vendors, beside the numbers as they are named."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sans_io.calls.replay import decode
from sans_io.chat.response import ChatResponse
from sans_io.errors import LLMError
from sans_io.http.rate_limits import RateLimitState, rate_limit, rate_limits

DATE = ("date", "Sun, 22 Nov 2026 10:00:00 GMT")
NOW = 1795341600


def state(limit: float | None = None, remaining: float | None = None, reset: float | None = None) -> RateLimitState:
    return RateLimitState(limit, remaining, reset)


NAMES = st.sampled_from(
    ["x-ratelimit-limit-requests", "x-ratelimit-reset-tokens", "x-rate-limit-reset-tokens", "ratelimit", "ratelimit-policy",
     "anthropic-ratelimit-tokens-reset", "anthropic-fast-tokens-limit", "x-tokenlimit-limit", "x-ratelimit-over-limit", "date",
     "ratelimit-", "x-ratelimit-", "ratelimit-remaining", "x-ratelimit-limit-limit-day", "x-ratelimitx"]
)  # fmt: skip
VALUES = st.text(max_size=20) | st.sampled_from(
    [
        "1",
        "0",
        "6m0s",
        "2026-11-22T10:00:30Z",
        '"a";r=1;t=2',
        '"a";q=5;w=60;qu="tokens"',
        "limit=1, reset=2",
        "100;w=60",
        DATE[1],
    ]
)


@given(st.lists(st.tuples(NAMES, VALUES)))
def test_no_header_makes_it_raise(headers: list[tuple[str, str]]) -> None:
    for (dimension, window), found in rate_limits(headers).items():
        assert dimension
        assert isinstance(window, str)
        assert any(number is not None for number in found)
        assert all(number is None or 0 <= number < 2**63 for number in found)
    for name, number in rate_limit(headers).items():
        assert name
        assert 0 <= number < 2**63


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([("x-ratelimit-limit-requests", "10000"), ("x-ratelimit-remaining-requests", "9999"), ("x-ratelimit-reset-requests", "6m0s"),
          ("x-ratelimit-remaining-tokens", "5"), ("x-ratelimit-reset-tokens", "120ms")],
         {("requests", ""): state(10000, 9999, 360), ("tokens", ""): state(None, 5, 0.12)}),
        ([DATE, ("anthropic-ratelimit-input-tokens-limit", "50"), ("anthropic-ratelimit-input-tokens-remaining", "9"),
          ("anthropic-ratelimit-input-tokens-reset", "2026-11-22T10:00:30Z"), ("anthropic-ratelimit-requests-remaining", "1")],
         {("input-tokens", ""): state(50, 9, 30), ("requests", ""): state(None, 1)}),
        ([DATE, ("anthropic-priority-input-tokens-limit", "10"), ("anthropic-priority-output-tokens-reset", "2026-11-22T10:00:05Z"),
          ("anthropic-fast-input-tokens-remaining", "3"), ("anthropic-ratelimit-input-tokens-limit", "7")],
         {("priority-input-tokens", ""): state(10), ("priority-output-tokens", ""): state(None, None, 5),
          ("fast-input-tokens", ""): state(None, 3), ("input-tokens", ""): state(7)}),
        ([("x-rate-limit-reset-tokens", "12"), ("x-rate-limit-remaining-requests", "0")],
         {("tokens", ""): state(None, None, 12), ("requests", ""): state(None, 0)}),
        ([("x-ratelimit-limit-req-minute", "60"), ("x-ratelimit-remaining-req-minute", "59"), ("x-ratelimit-limit-tokens-minute", "500"),
          ("x-ratelimit-remaining-tokens-month", "7"), ("x-ratelimit-tokens-query-cost", "12")],
         {("requests", "minute"): state(60, 59), ("tokens", "minute"): state(500), ("tokens", "month"): state(None, 7)}),
        ([("x-ratelimit-limit-requests-day", "14400"), ("x-ratelimit-reset-requests-day", "33011.382867"),
          ("x-ratelimit-remaining-tokens-minute", "4")],
         {("requests", "day"): state(14400, None, 33011.382867), ("tokens", "minute"): state(None, 4)}),
        ([("x-ratelimit-limit", "5"), ("x-ratelimit-reset", "1"), ("x-tokenlimit-limit", "900"), ("x-tokenlimit-remaining", "800")],
         {("requests", ""): state(5, None, 1), ("tokens", ""): state(900, 800)}),
        ([("x-ratelimit-limit-tokens-prompt", "60"), ("x-ratelimit-remaining-tokens-generated", "6"), ("x-ratelimit-over-limit", "yes")],
         {("input-tokens", ""): state(60), ("output-tokens", ""): state(None, 6)}),
        ([DATE, ("x-ratelimit-limit", "20"), ("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", f"{NOW + 9}000")],
         {("requests", ""): state(20, 0, 9)}),
        ([("ratelimit", '"default";r=50;t=30'), ("ratelimit-policy", '"default";q=100;w=60')], {("requests", "minute"): state(100, 50, 30)}),
        ([("ratelimit-policy", '"burst";q=10;w=1, "daily";q=1000;w=86400, "t";q=9;w=90;qu="tokens"'), ("ratelimit", '"daily";r=7;t=3600')],
         {("requests", "second"): state(10), ("requests", "day"): state(1000, 7, 3600), ("tokens", "90s"): state(9)}),
        ([("ratelimit", "limit=100, remaining=50, reset=5"), ("ratelimit-policy", "100;w=60")], {("requests", "minute"): state(100, 50, 5)}),
        ([("ratelimit-limit", "100"), ("ratelimit-remaining", "50"), ("ratelimit-reset", "5")], {("requests", ""): state(100, 50, 5)}),
        ([("x-ratelimit-limit-req-10-second", "60"), ("x-ratelimit-remaining-req-10-second", "48"), ("x-ratelimit-limit-tokens-60-second", "9")],
         {("requests", "10s"): state(60, 48), ("tokens", "minute"): state(9)}),
        ([("x-ratelimit-limit-requests", "120"), ("x-ratelimit-remaining-requests", "119"), ("x-ratelimit-reset-requests", "500"),
          ("x-ratelimit-renewalperiod-requests", "60"), ("x-ratelimit-reset-tokens", "7"), ("x-ratelimit-renewalperiod-tokens", "10")],
         {("requests", "minute"): state(120, 119, 0.5), ("tokens", "10s"): state(None, None, 0.007)}),
        ([("x-ratelimit-reset-requests", "500"), ("x-ratelimit-renewalperiod-requests", "odd")], {("requests", ""): state(None, None, 500)}),
        ([("x-ratelimit-reset-requests", "2m"), ("x-ratelimit-renewalperiod-requests", "60")], {("requests", "minute"): state(None, None, 120)}),
        ([("ratelimit", 'input-tokens;r=4;t=2')], {("input-tokens", ""): state(None, 4, 2)}),
        ([DATE, ("content-type", "x")], {}), ([], {}), ([("x-ratelimit-limit-requests", "lots")], {}),
        ([("anthropic-ratelimit-requests-reset", "2026-11-22T10:00:30Z")], {}),
    ],
)  # fmt: skip
def test_each_vendor_s_headers(headers: list, expected: dict) -> None:
    assert rate_limits(headers) == expected


def test_the_raw_numbers_have_what_was_left_out_before() -> None:
    assert rate_limit((("x-ratelimit-tokens-query-cost", "12"), ("x-ratelimit-over-limit", "yes"))) == {
        "tokens-query-cost": 12, "over-limit": 1,
    }  # fmt: skip
    assert rate_limit((("anthropic-priority-input-tokens-limit", "10"), ("anthropic-fast-output-tokens-remaining", "3"))) == {
        "priority-input-tokens-limit": 10, "fast-output-tokens-remaining": 3,
    }  # fmt: skip
    assert rate_limit((("x-rate-limit-reset-tokens", "12"), ("x-tokenlimit-remaining", "3"))) == {
        "reset-tokens": 12,
        "tokens-remaining": 3,
    }
    assert rate_limit((("ratelimit", '"default";r=50;t=30'), ("ratelimit-policy", '"default";q=100;w=60'))) == {
        "default-limit": 100, "default-remaining": 50, "default-reset": 30,
    }  # fmt: skip


HEADERS = {
    "content-type": "application/json",
    "x-ratelimit-limit-tokens-minute": "60",
    "x-ratelimit-remaining-tokens-minute": "0",
}
EXPECTED = {("tokens", "minute"): state(60, 0)}


@pytest.mark.parametrize("provider", ["openai", "anthropic", "ollama"])
def test_responses_and_errors_have_them(provider: str) -> None:
    whole = {
        "openai": b'{"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]}',
        "anthropic": b'{"type": "message", "role": "assistant", "content": [{"type": "text", "text": "hi"}], "stop_reason": "end_turn"}',
        "ollama": b'{"message": {"role": "assistant", "content": "hi"}, "done": true}',
    }[provider]
    response = decode(provider, 200, HEADERS, [whole], stream=False)
    assert response.content == "hi"
    assert response.rate_limits == EXPECTED
    assert pickle.loads(pickle.dumps(response)).rate_limits == EXPECTED
    with pytest.raises(LLMError) as caught:
        decode(provider, 429, HEADERS, [b'{"error": "no"}'], stream=False)
    assert caught.value.rate_limits == EXPECTED
    assert pickle.loads(pickle.dumps(caught.value)).rate_limits == EXPECTED
    with pytest.raises(LLMError) as caught:
        decode(provider, 200, HEADERS, [b'{"error": "no"}'], stream=True)
    assert caught.value.rate_limits == EXPECTED
    assert ChatResponse().rate_limits == {}
    assert LLMError("m").rate_limits == {}
