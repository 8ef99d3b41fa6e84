"""What a server says about coming back, at its edges: dates, seconds, milliseconds, and which of several counts."""

from __future__ import annotations

import pytest

from sans_io.http.server_hints import http_date, retry_after, should_retry


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Sun, 06 Nov 1994 08:49:37 GMT", 784111777), ("Sunday, 06-Nov-94 08:49:37 GMT", 784111777),
        ("Sun Nov  6 08:49:37 1994", 784111777), ("Sun, 06 nov 1994 08:49:37 utc", 784111777),
        ("Thursday, 01-Jan-70 00:00:00 GMT", 0), ("Friday, 31-Dec-69 00:00:00 GMT", 3155673600),
        ("Sat, 31 Dec 2016 23:59:60 GMT", 1483228800), ("Sat, 31 Dec 2016 23:59:61 GMT", None),
        ("Sun, 00 Nov 1994 08:49:37 GMT", None), ("Sun, 31 Dec 9999 23:59:59 GMT", 253402300799),
        ("Sun,06 Nov 1994 08:49:37 GMT", 784111777), ("Sun, 06 Nov 1994 08:49:00037 GMT", None),
        ("Sun, 06 Nov 1994 08:49:0037 GMT", 784111777), ("Sun, 06 Nov 1994 +8:49:37 GMT", None),
        ("Sun, ٠٦ Nov 1994 08:49:37 GMT", None), ("Sun, 06 Nov 1994 08:49:37:00 GMT", None),
        ("Sun, 06 Nov 1994 08:49:37 GMT now", None),
    ],
)  # fmt: skip
def test_dates_in_every_form_and_at_their_edges(text: str, expected: float | None) -> None:
    assert http_date(text) == expected


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1" * 32, float("1" * 32)), ("1" * 33, None), ("1.5", 1.5), (" 2 ", 2.0), ("1.", None), (".5", None), ("1.5.1", None),
     ("٢", None), ("²", None), ("1e1", None), ("+1", None), ("0", 0.0)],
)  # fmt: skip
def test_seconds_are_plain_digits(text: str, seconds: float | None) -> None:
    assert retry_after((("retry-after", text),)) == seconds
    assert retry_after((("retry-after-ms", text),)) == (None if seconds is None else seconds / 1000)


def test_milliseconds_go_before_seconds_and_what_says_nothing_goes_before_nothing() -> None:
    assert retry_after((("x-ms-retry-after-ms", "7"), ("retry-after", "9"))) == 0.007
    assert retry_after((("x-ms-retry-after-ms", "7"), ("retry-after-ms", "5"))) == 0.005
    assert retry_after((("retry-after-ms", "soon"), ("x-ms-retry-after-ms", "7"))) == 0.007
    assert retry_after((("retry-after-ms", "soon"), ("retry-after", "9"))) == 9.0
    assert retry_after((("retry-after-ms", "soon"), ("content-type", "9"))) is None
    assert retry_after((("content-type", "9"),)) is None


def test_a_date_that_cannot_be_read_leaves_our_clock() -> None:
    later = ("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")
    assert retry_after((later, ("date", "whenever")), 784111770.0) == 7.0
    assert retry_after((later, ("date", "whenever"))) is None
    assert retry_after((later,), 784111777.0) == 0.0
    assert retry_after((later,), 784111777.5) is None


def test_the_first_x_should_retry_counts() -> None:
    assert should_retry((("x-other", "true"), ("x-should-retry", "false"), ("x-should-retry", "true"))) is False
    assert should_retry((("x-should-retry", "perhaps"), ("x-should-retry", "true"))) is None
    assert should_retry((("x-other", "true"),)) is None
