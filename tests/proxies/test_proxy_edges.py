"""A refused proxy is never quoted: what stands where a scheme belongs may be a secret."""

from __future__ import annotations

from base64 import b64encode

import pytest

from sans_io.errors import LLMBadRequestError
from sans_io.http.proxies import environment_proxies, parse_proxy
from sans_io.http.secret import Secret


@pytest.mark.parametrize("scheme", ["https", "SOCKS5", "socks4a"])
def test_a_scheme_that_proxies_have_is_named(scheme: str) -> None:
    with pytest.raises(
        LLMBadRequestError, match=f"a proxy by {scheme.lower()}:// is not supported, only http://"
    ) as caught:
        parse_proxy(f"{scheme}://a.test:1")
    assert caught.value.code == "unsupported_proxy"


@pytest.mark.parametrize("url", ["example.coms://", "hunter2://proxy.test", "sk-abcdefghijkl://"])
def test_any_other_word_is_not(url: str) -> None:
    """Found by the fuzzing target `headers`: up to sixteen characters of a misplaced password were shown."""
    word = url.partition(":")[0]
    with pytest.raises(LLMBadRequestError, match="a proxy by that scheme is not supported") as caught:
        parse_proxy(url, "https_proxy")
    assert word not in str(caught.value)
    assert word not in str(environment_proxies({"https_proxy": url}).ignored)


CHARACTERS = "proxy contains white space, a backslash, a control or a non-ASCII character"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://a\\b", CHARACTERS), ("http://a b", CHARACTERS), ("http://a\t", CHARACTERS), ("http://ä", CHARACTERS),
        ("http://a/b", "proxy must not have a path, a query or a fragment"), ("http://a//", "proxy must not have a path, a query or a fragment"),
        ("http://a?b", "proxy must not have a path, a query or a fragment"), ("http://a#b", "proxy must not have a path, a query or a fragment"),
        ("http://", "proxy has a malformed host"), ("http://:80", "proxy has a malformed host"), ("", "proxy has a malformed host"),
        ("http://[::1]x", "proxy has a malformed host"), ("http://a:", "proxy has a malformed port: it must be a number from 1 to 65535"),
        ("http://a%3Ab:c@h", "proxy has a colon in its user name, which cannot be sent"),
        ("http://a%1F@h", "proxy has a control character in its user name or password"),
        ("http://a:b%7F@h", "proxy has a control character in its user name or password"),
        ("http://a:b%00@h", "proxy has a control character in its user name or password"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_proxy_is_said(url: str, message: str) -> None:
    with pytest.raises(LLMBadRequestError) as caught:
        parse_proxy(url)
    assert caught.value.message == message


@pytest.mark.parametrize(
    ("url", "host", "port", "basic"),
    [
        ("HTTP://P.test/", "p.test", 80, None), ("p.test", "p.test", 80, None), (" p.test:8 ", "p.test", 8, None),
        ("http://[::1]", "::1", 80, None), ("http://[::1]:3128", "::1", 3128, None),
        ("http://u@p.test", "p.test", 80, b"u:"), ("http://u:@p.test", "p.test", 80, b"u:"), ("http://u:a:b@p.test", "p.test", 80, b"u:a:b"),
        ("http://u:p%20%C3%A9@p.test", "p.test", 80, "u:p é".encode()), ("http://@p.test", "p.test", 80, b":"),
        ("http://u:p@x@p.test", "p.test", 80, b"u:p@x"),
    ],
)  # fmt: skip
def test_the_parts_of_a_proxy(url: str, host: str, port: int, basic: bytes | None) -> None:
    proxy = parse_proxy(url)
    assert (proxy.host, proxy.port) == (host, port)
    expected = None if basic is None else Secret("Basic " + b64encode(basic).decode())
    assert proxy.authorization == expected


def test_only_text_is_a_proxy_and_a_bad_variable_is_named_once() -> None:
    with pytest.raises(LLMBadRequestError, match="^proxy must be a string, not int$"):
        parse_proxy(5)  # type: ignore[arg-type]
    chosen = environment_proxies({"ALL_PROXY": "http://a b", "NO_PROXY": "x"})
    assert chosen.ignored == (CHARACTERS.replace("proxy", "ALL_PROXY"),)
    both = environment_proxies({"HTTP_PROXY": "http://a b", "HTTPS_PROXY": "http://a b"})
    assert both.ignored == (CHARACTERS.replace("proxy", "HTTP_PROXY"), CHARACTERS.replace("proxy", "HTTPS_PROXY"))
