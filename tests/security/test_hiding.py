"""`Secret.hide` and `scrub`: a credential is found in a server's words however it is written or cut, and words stay."""

from __future__ import annotations

import copy
import html
import json
import pickle
from base64 import b64encode, urlsafe_b64encode
from binascii import b2a_base64
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sans_io.calls.scrub import credentials, scrub
from sans_io.chat.response import ChatResponse
from sans_io.errors import LLMBadRequestError, LLMServerError
from sans_io.http.http11 import HTTPRequest, RequestHead
from sans_io.http.proxies import parse_proxy
from sans_io.http.secret import Secret
from sans_io.http.urls import Origin
from sans_io.policy.pool import Route
from tests.calls.kit import operation
from tests.linear import assert_linear

KEYS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=12, max_size=60)
SPELLINGS = (str, lambda key: quote(key, safe=""), quote, lambda key: b2a_base64(key.encode(), newline=False).decode())


def each_character(form: str) -> Callable[[str], str]:
    return lambda key: "".join(form % ord(char) for char in key)


def every_other(form: str) -> Callable[[str], str]:
    """What begins an escape is always escaped, or nobody could undo it."""
    return lambda key: "".join(
        form % ord(char) if place % 2 or char in "\\%&" else char for place, char in enumerate(key)
    )


#: Ways to escape what a text holds; each of them may be applied to another's outcome.
ESCAPES: dict[str, Callable[[str], str]] = {
    "JSON": each_character("\\u%04x"),
    "JSON, capitals": each_character("\\u%04X"),
    "JSON, every other character": every_other("\\u%04x"),
    "escaped slashes": lambda key: json.dumps(key)[1:-1].replace("/", "\\/"),
    "Python": each_character("\\x%02x"),
    "percent": each_character("%%%02X"),
    "percent, lower case": each_character("%%%02x"),
    "percent, every other character": every_other("%%%02x"),
    "percent, where it must be": lambda key: quote(key, safe=""),
    "HTML": each_character("&#%d;"),
    "HTML, sixteen": each_character("&#x%x;"),
    "HTML, where it must be": lambda key: html.escape(key),
}


@given(KEYS, st.sampled_from(SPELLINGS), st.text(max_size=30), st.text(max_size=30), st.integers(8, 80), st.booleans())
def test_no_spelling_and_no_beginning_of_it_stays(
    key: str, spell, before: str, after: str, cut: int, bearer: bool
) -> None:
    secret = Secret(key).bearer() if bearer else Secret(key)
    shown = secret.hide(before + spell(key)[:cut] + after)
    for each in SPELLINGS:
        assert each(key)[:8] not in shown.replace("***", "\0")


#: With every character that some escape treats.
KEY = "Kanari1e/+x9=Zq~4T&Vogel%7b\\u0041\"<'"


@pytest.mark.parametrize("second", [None, *ESCAPES])
@pytest.mark.parametrize("first", ESCAPES)
def test_no_escape_hides_a_credential_from_us(first: str, second: str | None) -> None:
    told = ESCAPES[first](KEY)
    if second is not None:
        told = ESCAPES[second](told)
    assert Secret(KEY).bearer().hide(f"<{told}> and {told}.") == "<***> and ***."


@given(KEYS, st.lists(st.sampled_from(sorted(ESCAPES)), max_size=3), st.text(max_size=20))
def test_no_escapes_of_escapes_either(key: str, escapes: list[str], around: str) -> None:
    told = key
    for name in escapes:
        told = ESCAPES[name](told)
    assert Secret(key).hide(f"{around} {told} {around}").find(told) < 0


@pytest.mark.parametrize("encode", [b64encode, urlsafe_b64encode])
@pytest.mark.parametrize("before", range(7))
def test_base64_of_something_longer_holds_no_credential(encode: Callable[[bytes], bytes], before: int) -> None:
    told = encode(b"k=Bearer"[:before] + b"Kanari1e/+x9=Zq~4T" + b"&more").decode()
    shown = Secret("Kanari1e/+x9=Zq~4T").hide(f"<{told}>")
    start, stars, end = shown.partition("***")
    assert stars
    assert len(start) <= 2 + (before + 2) * 4 / 3
    assert len(end) <= 12


def test_a_password_of_basic_authentication_is_hidden_by_itself() -> None:
    secret = Secret("Basic " + b64encode(b"bob:Gimpel5r/+w2=Fink~8P").decode())
    assert secret.hide("bob:Gimpel5r/+w2=Fink~8P") == "***"
    assert secret.hide("bob may not use Gimpel5r/+w2=Fink~8P") == "bob may not use ***"
    assert secret.hide(f"{b64encode(b'bob:Gimpel5r/+w2=Fink~8P').decode()}!") == "***!"
    assert Secret("Basic not=base64!at-all").hide("not=base64!at-all") == "***"


def test_a_credential_that_begins_again_within_itself_is_found() -> None:
    key = "ab" * 10 + "and-the-rest"
    assert Secret(key).hide(f"ab{key}.") == "***."


@pytest.mark.serial
@pytest.mark.parametrize("unit", ["%41", "\\u0041", "\\\\", KEY, KEY[:8] + " ", "&#65;", "K", "=="])
def test_hiding_takes_linear_time(unit: str) -> None:
    assert_linear(
        lambda size: unit.encode() * (size // len(unit)), lambda text: Secret(KEY).hide(text.decode()), 1 << 20
    )


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


def test_nothing_that_shows_a_secret_shows_it() -> None:
    secret = Secret("sk-canary-canary")
    assert {repr(secret), str(secret), f"{secret}", f"{secret:>40}", "%s" % secret, f"{[secret]}"} == {  # noqa: UP031
        "Secret(***)", "[Secret(***)]",
    }  # fmt: skip
    with pytest.raises(TypeError, match="a Secret cannot be pickled"):
        pickle.dumps(secret)
    with pytest.raises(TypeError, match="a Secret cannot be pickled"):
        copy.copy(secret)


def test_equal_secrets_are_one_key_and_others_are_others() -> None:
    one, same, other = Secret("sk-1"), Secret("sk-1"), Secret("sk-2")
    assert one == same
    assert hash(one) == hash(same)
    assert one != other
    assert hash(one) != hash(other)
    assert one != "sk-1"
    assert {one: 1}[same] == 1
    assert hash(one) != hash("sk-1"), "nobody finds it by its value"


@pytest.mark.parametrize(("length", "hidden"), [(11, False), (12, True)])
@pytest.mark.parametrize("bearer", [False, True])
def test_a_credential_is_hidden_from_twelve_characters_on(length: int, hidden: bool, bearer: bool) -> None:
    key = "0123456789abcdef"[:length]
    secret = Secret(key).bearer() if bearer else Secret(key)
    assert secret.hidable == hidden
    assert secret.hide(f"<{key}>") == ("<***>" if hidden else f"<{key}>")


@pytest.mark.parametrize(("cut", "hidden"), [(7, False), (8, True), (9, True)])
def test_a_beginning_of_eight_characters_is_hidden_and_no_more_than_it(cut: int, hidden: bool) -> None:
    key = "Kanari1e/+x9=Zq7"
    for spell in SPELLINGS:
        told = spell(key)[:cut]
        assert Secret(key).hide(f"a {told} b {told}") == ("a *** b ***" if hidden else f"a {told} b {told}")
        assert Secret(key).hide(f"{spell(key)}{spell(key)}!") == "******!"


@pytest.mark.parametrize("value", ["", " ", "sk-1 ", "\tsk-1", "sk\n1", "sk\x001", "sk\x7f1", "sché"])
def test_what_can_be_no_field_value_is_refused_without_being_shown(value: str) -> None:
    with pytest.raises(LLMBadRequestError, match="^the_key ") as caught:
        Secret(value, "the_key")
    assert not value.strip() or value.strip() not in str(caught.value)


def test_only_text_is_a_secret() -> None:
    with pytest.raises(LLMBadRequestError, match="^api_key must be a string, not bytes$"):
        Secret(b"sk-1")  # type: ignore[arg-type]


def test_what_had_come_is_the_models_but_what_stood_around_it_is_treated() -> None:
    key = "Kanari1e/+x9=Zq"
    partial = ChatResponse(content=key, raw={"id": key}, headers={"x": key}, request_id=key)
    error = LLMServerError("m", partial=partial)
    scrub(error, [Secret("short"), Secret(key)])
    assert error.partial is partial
    assert (partial.content, partial.raw, partial.headers, partial.request_id) == (
        key,
        {"id": "***"},
        {"x": "***"},
        "***",
    )


def test_the_proxy_s_credential_is_one_of_the_route() -> None:
    origin = Origin("https", "h.example", 443)
    proxy = parse_proxy("http://user:password@proxy.example")
    head = RequestHead("GET", origin, "/", (("Accept", "x"), ("Authorization", Secret("Bearer sk-1"))))
    asked = replace(operation(), request=HTTPRequest(head))
    assert credentials(asked, Route(origin)) == (Secret("Bearer sk-1"),)
    assert credentials(asked, Route(origin, proxy)) == (Secret("Bearer sk-1"), proxy.authorization)
    assert credentials(None, Route(origin, proxy)) == (proxy.authorization,)
    assert credentials(None, Route(origin)) == ()
