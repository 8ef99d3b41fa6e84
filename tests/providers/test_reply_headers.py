"""Request ids and rate-limit numbers in reply headers."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sans_io.providers.failures import rate_limit, request_id
from sans_io.providers.reply_headers import go_duration, rfc3339

DATE = ("date", "Sun, 22 Nov 2026 10:00:00 GMT")


@given(st.lists(st.tuples(st.sampled_from(["x-ratelimit-reset-tokens", "anthropic-ratelimit-tokens-reset", "date",
                                           "x-ratelimit-limit-requests", "x-request-id"]), st.text(max_size=20))))  # fmt: skip
def test_no_header_makes_it_raise(headers: list[tuple[str, str]]) -> None:
    for number in rate_limit(tuple(headers)).values():
        assert 0 <= number < 2**63
    found = request_id(tuple(headers))
    assert found is None or found.isprintable()


def test_openai_and_groq() -> None:
    headers = (
        ("x-ratelimit-limit-requests", "10000"), ("x-ratelimit-remaining-tokens", "149984"),
        ("x-ratelimit-reset-requests", "6m0s"), ("x-ratelimit-reset-tokens", "120ms"), ("content-type", "x"),
    )  # fmt: skip
    assert rate_limit(headers) == {
        "limit-requests": 10000, "remaining-tokens": 149984, "reset-requests": 360, "reset-tokens": 0.12,
    }  # fmt: skip


def test_anthropic_counts_from_the_date_of_the_reply() -> None:
    headers = (
        DATE, ("anthropic-ratelimit-requests-limit", "50"), ("anthropic-ratelimit-input-tokens-remaining", "9"),
        ("anthropic-ratelimit-requests-reset", "2026-11-22T10:00:30Z"), ("anthropic-ratelimit-tokens-reset", "2026-11-22T09:00:00Z"),
    )  # fmt: skip
    assert rate_limit(headers) == {
        "requests-limit": 50, "input-tokens-remaining": 9, "requests-reset": 30, "tokens-reset": 0,
    }  # fmt: skip
    assert "requests-reset" not in rate_limit(headers[1:]), "there is no clock here"


def test_unix_times_and_plain_seconds() -> None:
    assert rate_limit((("x-ratelimit-reset", "30"),)) == {"reset": 30}
    now = 1795341600
    assert rate_limit((DATE, ("x-ratelimit-reset", str(now + 5)))) == {"reset": 5}
    assert rate_limit((DATE, ("x-ratelimit-reset", f"{now + 5}000"))) == {"reset": 5}
    assert rate_limit((("x-ratelimit-reset", str(now)),)) == {}


@pytest.mark.parametrize("value", ["", "-1", "1e3", "NaN", "inf", "١", "0x10", "1 2", "9" * 40, "lots"])
def test_what_is_no_number_is_left_out(value: str) -> None:
    assert rate_limit((("x-ratelimit-limit-requests", value), ("x-ratelimit-reset-requests", value))) == {}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1s", 1), ("6m0s", 360), ("120ms", 0.12), ("1h2m3.5s", 3723.5), ("5us", 5e-6), ("5µs", 5e-6), ("7ns", 7e-9), ("1d", 86400),
     ("0s", 0), ("", None), ("5", None), ("-1s", None), ("1s ", None), ("s", None), ("1x", None), ("1.s", 1), ("1s" * 40, None)],
)  # fmt: skip
def test_go_durations(text: str, seconds: float | None) -> None:
    found = go_duration(text)
    assert found == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:00:00Z", 0), ("2026-11-22T10:00:00Z", 1795341600), ("2000-02-29t12:00:00.5z", 951825600.5),
        ("2026-11-22T12:00:00+02:00", 1795341600), ("2026-11-22T08:30:00-01:30", 1795341600), ("2026-11-22 10:00:00Z", 1795341600),
        ("2026-11-22T10:00:00", None), ("2026-13-01T00:00:00Z", None), ("2026-11-22T25:00:00Z", None), ("soon", None),
        ("2026-11-22T10:00:00Z\n", None),
    ],
)  # fmt: skip
def test_rfc_3339(text: str, seconds: float | None) -> None:
    assert rfc3339(text) == seconds


@given(st.datetimes(min_value=datetime.fromisoformat("1970-01-01")))
def test_rfc_3339_agrees_with_the_standard_library(moment: datetime) -> None:

    moment = moment.replace(microsecond=0, tzinfo=UTC)
    assert rfc3339(moment.isoformat()) == moment.timestamp()


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ((("x-request-id", "a"), ("request-id", "b")), "a"), ((("request-id", "b"),), "b"), ((("apim-request-id", "c"),), "c"),
        ((("x-generation-id", "gen-1"),), "gen-1"), ((("apim-request-id", "c"), ("x-request-id", "a")), "a"), ((), None),
        ((("x-request-id", ""), ("request-id", "b")), "b"), ((("x-request-id", "a\x1b[0m"),), "a\\x1b[0m"),
    ],
)  # fmt: skip
def test_request_ids(headers: tuple, expected: str | None) -> None:
    assert request_id(headers) == expected


def test_headers_that_only_sound_like_rate_limits() -> None:
    headers = (("x-my-ratelimit", "5"), ("x-ratelimit-policy", "5"), ("x-ratelimit-reset", "1s" * 40))
    assert rate_limit(headers) == {}


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("x-ratelimit-limit-requests", "1" * 18, 1e18 / 9),
        ("x-ratelimit-limit-requests", "9223372036854774784", 9223372036854774784),
        ("x-ratelimit-limit-requests", "9223372036854775808", None),
        ("x-ratelimit-limit-requests", "0." + "1" * 30, 1 / 9),
        ("x-ratelimit-limit-requests", "00." + "1" * 30, None),
        ("x-ratelimit-limit-requests", " 5 ", 5),
        ("x-ratelimit-reset-requests", "999999999", 999999999),
        ("x-ratelimit-reset-requests", "1000000000", None),
        ("x-ratelimit-reset-requests", " 6m0s ", 360),
        ("x-ratelimit-reset-requests", "1h" * 31 + "1h", 32 * 3600),
        ("x-ratelimit-reset-requests", "1h" * 32 + "1", None),
        ("x-ratelimit-reset-requests", "0s" * 32 + "0s", None),
        ("ratelimit-remaining", "7", 7),
    ],
)  # fmt: skip
def test_numbers_at_their_edges(name: str, value: str, expected: float | None) -> None:
    numbers = rate_limit(((name, value),))
    assert list(numbers.values()) == ([] if expected is None else [pytest.approx(expected)])


@pytest.mark.parametrize(("number", "wait"), [("1795341605", 5), ("1795341605000", 5), ("100000000000", 98204658400)])
def test_a_unix_time_is_in_milliseconds_from_eleven_zeros_on(number: str, wait: float) -> None:
    assert rate_limit((DATE, ("x-ratelimit-reset", number))) == {"reset": wait}


def test_a_time_counts_from_a_date_that_can_be_read() -> None:
    reset = ("anthropic-ratelimit-tokens-reset", "2026-11-22T10:00:30Z")
    assert rate_limit((("content-type", "x"), DATE, reset)) == {"tokens-reset": 30}
    assert rate_limit((("date", "yesterday"), DATE, reset)) == {}


def test_the_first_of_repeated_numbers_counts_and_odd_names_do_not_hide_it() -> None:
    headers = (("my-ratelimit", "1"), ("x-ratelimit-limit", "5"), ("x-ratelimit-limit", "9"), ("ratelimit-limit", "8"))
    assert rate_limit(headers) == {"limit": 5}


def test_a_duration_is_less_than_two_to_the_63rd() -> None:
    assert go_duration("9223372036854774784s") is None, "19 digits are no count of anything"
    assert go_duration("999999999999999999s") == 1e18
    assert go_duration("999999999999999999d") is None
    assert go_duration("2562047788015215h30m8s") is None


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("2026-01-01T00:00:00Z", True), ("2026-00-01T00:00:00Z", False), ("2026-12-31T23:59:60Z", True),
        ("2026-12-31T23:59:61Z", False), ("2026-12-31T23:60:00Z", False), ("2026-12-31T24:00:00Z", False),
        ("2026-12-00T00:00:00Z", False), ("2026-12-32T00:00:00Z", False),
    ],
)  # fmt: skip
def test_rfc_3339_at_its_edges(text: str, valid: bool) -> None:
    assert (rfc3339(text) is not None) == valid


def test_a_request_id_is_cut_to_200_characters() -> None:
    assert request_id((("x-request-id", "a" * 200),)) == "a" * 200
    assert request_id((("x-request-id", "a" * 201),)) == "a" * 199 + "…"


@pytest.mark.parametrize(
    "name", ["x-request-id", "request-id", "apim-request-id", "x-ms-request-id", "x-generation-id", "x-amzn-requestid"]
)
def test_each_field_that_may_hold_a_request_id(name: str) -> None:
    assert request_id((("content-type", "x"), (name, "r-1"), ("x-trace", "t"))) == "r-1"
