"""`Secret.hide` and `scrub`: a credential is found in a server's words however it is written or cut, and words stay."""

from __future__ import annotations

from binascii import b2a_base64
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sans_io.errors import LLMServerError
from sans_io.scrub import scrub
from sans_io.secret import Secret

KEYS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=12, max_size=60)
SPELLINGS = (str, lambda key: quote(key, safe=""), quote, lambda key: b2a_base64(key.encode(), newline=False).decode())


@given(KEYS, st.sampled_from(SPELLINGS), st.text(max_size=30), st.text(max_size=30), st.integers(8, 80), st.booleans())
def test_no_spelling_and_no_beginning_of_it_stays(
    key: str, spell, before: str, after: str, cut: int, bearer: bool
) -> None:
    secret = Secret(key).bearer() if bearer else Secret(key)
    shown = secret.hide(before + spell(key)[:cut] + after)
    for each in SPELLINGS:
        assert each(key)[:8] not in shown.replace("***", "\0")


@given(KEYS, st.text(max_size=100))
def test_other_text_stays_as_it_is(key: str, text: str) -> None:
    if not any(each(key)[:8] in text for each in SPELLINGS):
        assert Secret(key).hide(text) == text


@pytest.mark.parametrize("dummy", ["EMPTY", "ollama", "not-needed", "x", "lm-studio"])
def test_words_that_stand_in_for_a_key_are_not_searched_for(dummy: str) -> None:
    assert Secret(dummy).hide(f"{dummy} is not a model") == f"{dummy} is not a model"


def test_every_part_of_an_error_is_treated() -> None:
    key = "Kanari1e/+x9=Zq"
    body = {"error": {"message": f"bad {key}", key: [key, 1, None, (key,)]}}
    error = LLMServerError(f"bad {key}", code=key, error_type=f"t-{key}", request_id=key, body=body)
    scrub(error, [Secret(key)])
    assert vars(error) | {"args": error.args} == vars(error) | {
        "args": ("bad ***",),
        "message": "bad ***",
        "code": "***",
        "error_type": "t-***",
        "request_id": "***",
        "body": {"error": {"message": "bad ***", "***": ["***", 1, None, ("***",)]}},
    }


def test_an_error_without_it_keeps_its_body() -> None:
    body = {"error": ["other"]}
    error = LLMServerError("other", body=body)
    scrub(error, [Secret("Kanari1e/+x9=Zq")])
    assert error.body is body
