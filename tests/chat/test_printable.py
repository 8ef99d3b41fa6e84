"""Text of a server in one line: what is escaped, what is folded, what is cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sans_io.errors import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a b", "a b"),
        (" a \t\n b ", "a b"),
        ("\x1b[31m", "\\x1b[31m"),
        ("\x7f\x80\x9f\xff", "\\x7f\\x80\\x9fÿ"),
        ("\xad", "\\xad"),
        ("a\u200bb", "a\\u200bb"),
        ("\u202e", "\\u202e"),
        ("\uffff", "\\uffff"),
        ("\U00010000\U000e0041", "\U00010000\\U000e0041"),
        ("\U0001fffe", "\\U0001fffe"),
        ("\ud83d", "\\ud83d"),
        ("é€😀", "é€😀"),
        ("", ""),
    ],
)
def test_each_character_as_it_is_shown(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize(("length", "shown"), [(9, "x" * 9), (10, "x" * 10), (11, "x" * 9 + "…")])
def test_where_it_is_cut(length: int, shown: str) -> None:
    assert printable("x" * length, 10) == shown


def test_space_that_is_folded_hides_nothing_that_comes_soon() -> None:
    assert printable(" " * 30 + "x" * 10, 10) == "x" * 10
    assert printable(" " * 40 + "x", 10) == "", "a text of spaces costs no more than a text"
    assert printable(" " * 39 + "x", 10) == "x"


@given(st.text(), st.integers(1, 50))
def test_it_is_one_line_that_can_be_shown_and_is_no_longer(text: str, limit: int) -> None:
    shown = printable(text, limit)
    assert len(shown) <= limit
    assert shown.isprintable()
    assert printable(shown, limit) == shown
    shown.encode()
