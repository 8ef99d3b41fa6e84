"""Proxies from the environment and from code."""

from __future__ import annotations

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sans_io.errors import LLMBadRequestError
from sans_io.http.proxies import EnvironmentProxies, Proxy, environment_proxies, parse_proxy, proxy_for
from sans_io.http.secret import Secret
from sans_io.http.urls import Origin, parse_base_url

HTTP, HTTPS = Origin("http", "example.com", 80), Origin("https", "example.com", 443)

TABLE = [
    # variables, host and port of the proxy for http://example.com, for https://example.com
    ({}, None, None),
    ({"HTTP_PROXY": "http://p:1"}, ("p", 1), None),
    ({"HTTPS_PROXY": "http://p:1"}, None, ("p", 1)),
    ({"http_proxy": "http://p:1", "https_proxy": "http://q:2"}, ("p", 1), ("q", 2)),
    ({"ALL_PROXY": "http://p:1"}, ("p", 1), ("p", 1)),
    ({"ALL_PROXY": "http://p:1", "HTTPS_PROXY": "http://q:2"}, ("p", 1), ("q", 2)),
    ({"all_proxy": "http://p:1", "ALL_PROXY": "http://q:2"}, ("p", 1), ("p", 1)),
    ({"http_proxy": "http://p:1", "HTTP_PROXY": "http://q:2"}, ("p", 1), None),
    ({"http_proxy": "", "HTTP_PROXY": "http://q:2"}, None, None),
    ({"http_proxy": "", "ALL_PROXY": "http://q:2"}, ("q", 2), ("q", 2)),
    ({"HTTP_PROXY": " http://p:1 "}, ("p", 1), None),
    ({"HTTP_PROXY": "p:1"}, ("p", 1), None),
    ({"HTTP_PROXY": "p"}, ("p", 80), None),
    ({"Http_Proxy": "http://p:1"}, None, None),
    ({"HTTP_PROXY": "http://p:1", "REQUEST_METHOD": "GET"}, None, None),
    ({"http_proxy": "http://p:1", "REQUEST_METHOD": "GET"}, ("p", 1), None),
    ({"HTTPS_PROXY": "http://p:1", "REQUEST_METHOD": "GET"}, None, ("p", 1)),
    ({"HTTP_PROXY": "http://p:1", "NO_PROXY": "example.com"}, None, None),
    ({"HTTP_PROXY": "http://p:1", "no_proxy": "", "NO_PROXY": "example.com"}, ("p", 1), None),
    ({"HTTP_PROXY": "http://p:1", "no_proxy": "other.org", "NO_PROXY": "*"}, ("p", 1), None),
    ({"ALL_PROXY": "http://p:1", "NO_PROXY": "example.com:443"}, ("p", 1), None),
]


@pytest.mark.parametrize(("environ", "http", "https"), TABLE)
def test_the_environment(environ: dict[str, str], http: tuple[str, int] | None, https: tuple[str, int] | None) -> None:
    for origin, expected in ((HTTP, http), (HTTPS, https)):
        proxy = proxy_for(origin, environ)
        assert (None if proxy is None else (proxy.host, proxy.port)) == expected
    assert environment_proxies(environ).ignored == ()


@pytest.mark.parametrize(
    "url", ["http://localhost:8080", "http://127.0.0.1", "http://[::1]:1", "https://a.localhost", "http://0.0.0.0"]
)
def test_this_machine_is_never_reached_through_the_environments_proxy(url: str) -> None:
    origin = parse_base_url(url).origin
    assert proxy_for(origin, {"ALL_PROXY": "http://p:1"}) is None
    assert proxy_for(HTTP, {"ALL_PROXY": "http://p:1"}) == Proxy("p", 1)


@pytest.mark.parametrize(
    "value",
    [
        "socks5://p:1",
        "socks5h://p",
        "https://p:1",
        "http://",
        "http://p:0",
        "http://p/path",
        "ht tp://p",
        "http://\u00fc",
    ],
)
def test_what_cannot_be_used_is_ignored_with_one_sentence(value: str) -> None:
    found = environment_proxies({"all_proxy": value})
    assert (found.http, found.https) == (None, None)
    assert len(found.ignored) == 1
    assert found.ignored[0].startswith("all_proxy")
    both = environment_proxies({"HTTP_PROXY": value, "HTTPS_PROXY": value})
    assert [line.partition(" ")[0].rstrip(":") for line in both.ignored] == ["HTTP_PROXY", "HTTPS_PROXY"]
    with pytest.raises(LLMBadRequestError):
        parse_proxy(value)


def test_a_proxy_of_another_scheme_names_it() -> None:
    with pytest.raises(LLMBadRequestError, match="socks5://") as caught:
        parse_proxy("SOCKS5://user:sk-canary@p:1")
    assert caught.value.code == "unsupported_proxy"
    assert "canary" not in str(caught.value)


@given(
    st.dictionaries(
        st.sampled_from(["http_proxy", "HTTPS_PROXY", "ALL_PROXY", "no_proxy", "NO_PROXY"]), st.text(max_size=20)
    )
)
def test_no_environment_raises(environ: dict[str, str]) -> None:
    found = environment_proxies(environ)
    assert isinstance(found, EnvironmentProxies)
    for origin in (HTTP, HTTPS):
        found.proxy_for(origin)


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("http://p", Proxy("p", 80)),
        ("http://p/", Proxy("p", 80)),
        ("HTTP://P.example:3128", Proxy("p.example", 3128)),
        ("p.example:3128", Proxy("p.example", 3128)),
        ("http://[::1]:3128", Proxy("::1", 3128)),
        ("[2001:DB8::1]", Proxy("2001:db8::1", 80)),
        ("http://10.0.0.1:8080", Proxy("10.0.0.1", 8080)),
        ("http://user:pass@p:1", Proxy("p", 1, Secret("Basic dXNlcjpwYXNz"))),
        ("user:pass@p:1", Proxy("p", 1, Secret("Basic dXNlcjpwYXNz"))),
        ("http://user@p", Proxy("p", 80, Secret("Basic dXNlcjo="))),
        ("http://:pass@p", Proxy("p", 80, Secret("Basic OnBhc3M="))),
        ("http://us%40er:p%3Aw%2F@p", Proxy("p", 80, Secret("Basic dXNAZXI6cDp3Lw=="))),
        ("http://u:p@ss@p", Proxy("p", 80, Secret("Basic dTpwQHNz"))),
        ("http://%C3%BC:x@p", Proxy("p", 80, Secret("Basic w7w6eA=="))),
    ],
)
def test_a_proxy_given_in_code(url: str, proxy: Proxy) -> None:
    assert parse_proxy(url) == proxy
    assert hash(parse_proxy(url)) == hash(proxy)
    assert "***" in repr(parse_proxy(url)) or proxy.authorization is None


@pytest.mark.parametrize(
    "url",
    ["", "http://", "http:p", "http://p:", "http://p:0", "http://p:65536", "http://p:x", "http://p/a", "http://p?a", "http://p#a", "http://a b",
     "http://p\\a", "http://p\n", "http://[::1", "http://[::1]x", "http://[::1]:x", "http://127.1", "http://a..b", "http://u%3Ax:p@p",
     "http://u%0d%0aX-A:p@p", "http://u:%00@p", "https://p", "socks4://p", "file:///p", "://p", "http://\u00fc:p@p", "http://u:p@", "@"],
)  # fmt: skip
def test_a_proxy_that_is_refused(url: str) -> None:
    with pytest.raises(LLMBadRequestError, match=r"^given\b"):
        parse_proxy(url, "given")


def test_a_proxy_of_another_type_is_refused() -> None:
    with pytest.raises(LLMBadRequestError, match="proxy must be a string"):
        parse_proxy(8080)  # type: ignore[arg-type]


@pytest.mark.parametrize("scheme", ["https", "SOCKS5", "socks4a"])
def test_a_scheme_that_proxies_have_is_named(scheme: str) -> None:
    with pytest.raises(
        LLMBadRequestError, match=f"{scheme.lower()}:// proxies are not supported, only http://"
    ) as caught:
        parse_proxy(f"{scheme}://a.test:1")
    assert caught.value.code == "unsupported_proxy"


@pytest.mark.parametrize("url", ["example.coms://", "hunter2://proxy.test", "sk-abcdefghijkl://"])
def test_any_other_word_is_not(url: str) -> None:
    """Found by the fuzzing target `headers`: up to sixteen characters of a misplaced password were shown."""
    word = url.partition(":")[0]
    with pytest.raises(LLMBadRequestError, match="proxies of that scheme are not supported") as caught:
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
