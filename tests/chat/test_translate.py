"""What the codecs share in translating: data URLs, web URLs, merging of `extra_body`, the text of a content."""

from __future__ import annotations

import pytest

from sans_io.chat.options import unsupported
from sans_io.errors import LLMBadRequestError
from sans_io.providers.translate import DataURL, is_web_url, merged, parse_data_url, text_of


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("data:image/png;base64,eA==", DataURL("image/png", "eA==")),
        ("DATA:Image/PNG; charset=x ;BASE64,eA==", DataURL("image/png", "eA==")),
        ("data:;base64,eA", DataURL("text/plain", "eA")),
        ("data:image/png;base64,eA%3D%3D", DataURL("image/png", "eA==")),
        ("data:image/png;base64,e A\n==", DataURL("image/png", "e A\n==")),
        ("data:image/png;base64,_-8=", DataURL("image/png", "_-8=")),
        ("data:,a%20b,c", DataURL("text/plain", "YSBiLGM=")),
        ("data:text/html,%FF", DataURL("text/html", "/w==")),
        ("https://a.example/x.png", None),
        ("data", None),
    ],
)
def test_a_data_url_in_its_forms(url: str, expected: DataURL | None) -> None:
    assert parse_data_url(url, "messages[0]") == expected


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("data:image/png;base64,", "x is a data URL without data"),
        ("data:image/png", "x is a data URL without data"),
        ("data:image/png;base64,e*==", "x is a data URL whose data is not base64"),
        ("data:image/png;base64,eA===", "x is a data URL whose data is not base64"),
        ("data:image/png;base64,eA==%2A", "x is a data URL whose data is not base64"),
    ],
)
def test_a_data_url_that_is_none(url: str, message: str) -> None:
    with pytest.raises(LLMBadRequestError) as caught:
        parse_data_url(url, "x")
    assert (caught.value.message, caught.value.code) == (message, "invalid_argument")


@pytest.mark.parametrize(
    ("url", "web"),
    [
        ("http://a", True),
        ("https://a", True),
        ("HTTPS://a", True),
        ("http:/a", False),
        ("ftp://a", False),
        ("xhttp://a", False),
    ],
)
def test_what_is_a_web_url(url: str, web: bool) -> None:
    assert is_web_url(url) == web


def test_objects_are_merged_all_the_way_down_and_anything_else_is_replaced() -> None:
    body = {"a": {"b": {"c": 1}, "d": [1]}, "e": {"f": 1}, "g": 1}
    extra = {"a": {"b": {"x": 2}, "d": [2]}, "e": 5, "g": {"h": 1}, "new": {"i": 1}}
    before = repr((body, extra))
    assert merged(body, extra) == {
        "a": {"b": {"c": 1, "x": 2}, "d": [2]}, "e": 5, "g": {"h": 1}, "new": {"i": 1},
    }  # fmt: skip
    assert repr((body, extra)) == before
    assert merged(body, {}) == body


@pytest.mark.parametrize(
    ("content", "text"),
    [("a", "a"), (None, ""), ([], ""), (5, ""),
     ([{"type": "text", "text": "a"}, {"type": "image", "text": "no"}, {"type": "text", "text": 5}, {"type": "text", "text": "b"}], "ab")],
)  # fmt: skip
def test_the_text_of_a_content(content: object, text: str) -> None:
    assert text_of(content) == text


def test_what_a_wire_cannot_say_is_told_with_or_without_a_hint() -> None:
    error = unsupported("n", "Wire", "it has one answer")
    assert (error.message, error.code) == (
        "n is not supported by the Wire API: it has one answer",
        "not_expressible",
    )
    assert unsupported("n", "Wire").message == "n is not supported by the Wire API"
