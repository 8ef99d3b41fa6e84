"""URLs: one host for connect, Host and SNI, or a refusal; a name is one path segment; then the table."""

from __future__ import annotations

import socket
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sans_io.errors import LLMBadRequestError
from sans_io.http.http11 import RequestHead
from sans_io.http.urls import BaseURL, Origin, parse_base_url, path_segment


def parsed(text: str) -> BaseURL | None:
    """The URL, or None where it is refused with our error, without a word of it in the error."""
    try:
        return parse_base_url(text)
    except LLMBadRequestError as error:
        message = str(error)
    assert message.startswith("base_url")
    return None


# ---- laws ----------------------------------------------------------------------------------------------------------

URL_PIECES = st.sampled_from(
    ["http", "https", "HTTP", "ftp", "://", ":", "/", "//", "a", "A.example", "example.com", "127.0.0.1", "127.1", "0x7f.1",
     "0177.0.0.1", "2130706433", "[::1]", "[::ffff:127.0.0.1]", "[fe80::1%25eth0]", "[", "]", "@", "user:pw@", "?", "#", "\\",
     "%2e", "%2F", "..", ".", ":80", ":0", ":65536", "\t", "\n", " ", "。", "℀", "ß", "xn--a", "_", "-", "\ud800", "１"]
)  # fmt: skip
URLS = st.builds(
    "{}{}".format,
    st.sampled_from(["http://", "https://", ""]),
    st.lists(URL_PIECES | st.characters(), max_size=6).map("".join),
)


@given(URLS | st.builds("http://{}/v1".format, st.text(max_size=8)))
@example("http://a\tb")
@example("http://ａ.example")
@example("http://a/b\\c")
def test_a_url_is_refused_or_host_sni_and_connect_agree(text: str) -> None:
    url = parsed(text)
    if url is None:
        return
    origin = url.origin
    # Another parser, fed with the text and with what we send, sees the same host and port.
    for seen in (urlsplit(text), urlsplit(str(url)), urlsplit(f"{origin.scheme}://{origin.authority}")):
        assert (seen.port or {"http": 80, "https": 443}[seen.scheme]) == origin.port
        assert seen.scheme == origin.scheme
        host = seen.hostname or ""
        assert host == origin.host or socket.inet_pton(socket.AF_INET6, host) == socket.inet_pton(
            socket.AF_INET6, origin.host
        )
    assert origin.host.isascii()
    assert origin.host == origin.host.lower()
    assert not any(char in origin.host for char in "/\\@?#%[] \t\r\n")
    # Nothing that is a name to us is an address to the resolver.
    try:
        packed = socket.inet_aton(origin.host)
    except OSError:
        pass
    else:
        assert socket.inet_ntoa(packed) == origin.host
    assert parse_base_url(str(url)) == url
    wire = bytes(RequestHead("GET", origin, url.target("chat/completions")).render())
    assert wire.startswith(f"GET {url.target('chat/completions')} HTTP/1.1\r\nHost: {origin.authority}\r\n".encode())


@given(
    st.integers(0, 0x10FFFF).map(chr),
    st.sampled_from(["http://{}", "http://a{}b/v1", "http://a/{}", "http://a/v1?x={}", "{}http://a", "http://a:8{}"]),
)
def test_every_code_point_in_every_place(char: str, pattern: str) -> None:
    text = pattern.format(char)
    url = parsed(text)
    if url is not None:
        assert char.isascii()
        assert char.isprintable()
        assert char not in ' #\\"<>^`{|}'
        assert char != "@" or pattern.endswith(("a/{}", "x={}"))


@given(
    st.text(max_size=12) | st.sampled_from(["gpt-4o", "llama3:8b", "a/b", "..", ".", "", "%2e%2e", "a?b", "a#b", "ü"])
)
def test_a_name_is_always_exactly_one_segment(text: str) -> None:
    base = parse_base_url("https://a/openai/deployments")
    try:
        segment = path_segment(text, "model")
    except LLMBadRequestError as error:
        assert str(error).startswith("model")  # noqa: PT017 - the law has two arms
        assert text in ("", ".", "..") or not (text.isascii() and text.isprintable())
        return
    target = base.target(f"{segment}/chat/completions")
    assert target.count("/") == 5
    parts = target.split("/")
    assert unquote(parts[3]) == text
    assert parts[:3] + parts[4:] == ["", "openai", "deployments", "chat", "completions"]
    RequestHead("POST", base.origin, target)


# ---- the table -----------------------------------------------------------------------------------------------------

ACCEPTED = [
    ("http://a", ("http", "a", 80), "", "", "a"),
    ("https://a", ("https", "a", 443), "", "", "a"),
    ("https://a/", ("https", "a", 443), "", "", "a"),
    ("HTTPS://API.OpenAI.com/v1", ("https", "api.openai.com", 443), "/v1", "", "api.openai.com"),
    ("https://api.openai.com/v1/", ("https", "api.openai.com", 443), "/v1", "", "api.openai.com"),
    ("https://api.openai.com/v1///", ("https", "api.openai.com", 443), "/v1", "", "api.openai.com"),
    ("https://a/V1/Sub", ("https", "a", 443), "/V1/Sub", "", "a"),
    ("http://a:80", ("http", "a", 80), "", "", "a"),
    ("http://a:443", ("http", "a", 443), "", "", "a:443"),
    ("https://a:443", ("https", "a", 443), "", "", "a"),
    ("https://a:80", ("https", "a", 80), "", "", "a:80"),
    ("http://a:1", ("http", "a", 1), "", "", "a:1"),
    ("http://a:65535", ("http", "a", 65535), "", "", "a:65535"),
    ("http://a:00080", ("http", "a", 80), "", "", "a"),
    ("http://localhost:11434", ("http", "localhost", 11434), "", "", "localhost:11434"),
    ("http://127.0.0.1:8080/v1", ("http", "127.0.0.1", 8080), "/v1", "", "127.0.0.1:8080"),
    ("http://0.0.0.0:1", ("http", "0.0.0.0", 1), "", "", "0.0.0.0:1"),
    ("http://255.255.255.255", ("http", "255.255.255.255", 80), "", "", "255.255.255.255"),
    ("http://[::1]", ("http", "::1", 80), "", "", "[::1]"),
    ("http://[::1]:8080/v1", ("http", "::1", 8080), "/v1", "", "[::1]:8080"),
    ("http://[0:0:0:0:0:0:0:1]", ("http", "::1", 80), "", "", "[::1]"),
    ("http://[2001:DB8::A]", ("http", "2001:db8::a", 80), "", "", "[2001:db8::a]"),
    ("http://[::ffff:1.2.3.4]", ("http", "::ffff:102:304", 80), "", "", "[::ffff:102:304]"),
    ("http://a_b.internal", ("http", "a_b.internal", 80), "", "", "a_b.internal"),
    ("http://a-b.c-d", ("http", "a-b.c-d", 80), "", "", "a-b.c-d"),
    ("http://xn--bcher-kva.example", ("http", "xn--bcher-kva.example", 80), "", "", "xn--bcher-kva.example"),
    ("http://1a.com", ("http", "1a.com", 80), "", "", "1a.com"),
    ("http://1.2.3.4.com", ("http", "1.2.3.4.com", 80), "", "", "1.2.3.4.com"),
    ("http://0x7f.com", ("http", "0x7f.com", 80), "", "", "0x7f.com"),
    ("http://" + "a" * 63 + ".b", ("http", "a" * 63 + ".b", 80), "", "", "a" * 63 + ".b"),
    ("http://a/v1?api-version=2026-10-21", ("http", "a", 80), "/v1", "api-version=2026-10-21", "a"),
    ("http://a?x=/?", ("http", "a", 80), "", "x=/?", "a"),
    ("http://a/v1?", ("http", "a", 80), "/v1", "", "a"),
    ("http://a/%7Euser/b%20c", ("http", "a", 80), "/%7Euser/b%20c", "", "a"),
    ("http://a/a@b:c;d=e,f!$&'()*+", ("http", "a", 80), "/a@b:c;d=e,f!$&'()*+", "", "a"),
    ("http://a/.well-known/...", ("http", "a", 80), "/.well-known/...", "", "a"),
    ("http://a/x?u=b@c", ("http", "a", 80), "/x", "u=b@c", "a"),
]
REFUSED = [
    "", "a", "a:80", "//a", "/v1", "localhost:8080/v1", "ftp://a", "ws://a", "file:///etc/passwd", "javascript:alert(1)",
    "http:", "http:/", "http://", "http:///v1", "http:a", "http:/a", "http://?x", "http://:80", " http://a", "http://a ",
    "http://a b", "http://a\tb", "http://a\nb", "http://a\r\nX: y", "http://a/\0", "http://a/\x7f", "http://a/ b",
    "http://user@a", "http://user:pass@a", "http://@a", "http://a@b@c", "http://a%40b", "http://a#f", "http://a/v1#", "http://a\\b",
    "http:\\\\a", "http://a/b\\c", "http://a:", "http://a:0", "http://a:65536", "http://a:-1", "http://a:+80", "http://a:8o",
    "http://a:80:80", "http://a:8_0", "http://a:000080", "http://a: 80", "http://127.1", "http://127.0.1", "http://2130706433",
    "http://0x7f000001", "http://0x7f.0.0.1", "http://0177.0.0.1", "http://127.0.0.01", "http://127.0.0.256", "http://1.2.3.4.5",
    "http://127.0.0.1.", "http://a.1", "http://a.0x1", "http://[::1", "http://::1", "http://[::1]a", "http://[::1]]", "http://[]",
    "http://[127.0.0.1]", "http://[::1%25lo]", "http://[fe80::1%eth0]", "http://[v1.a]", "http://[:::1]", "http://a.", "http://.a",
    "http://a..b", "http://-a", "http://a-", "http://a.-b", "http://" + "a" * 64, "http://" + "a." * 127 + "a", "http://a!b",
    "http://a,b", "http://a%2eb", "http://*.a", "http://b\u00fccher.example", "http://fa\u00df.de", "http://\uff41", "http://a\u3002b",
    "http://\u2100", "http://a/\u00fc", "http://a/..", "http://a/../b", "http://a/b/./c", "http://a/.", "http://a/%2e%2e/b",
    "http://a/.%2E", "http://a//b", "http://a/b//c", "http://a/%zz", "http://a/%", "http://a/a[b]", 'http://a/"', "http://a/<b>",
    "http://a/{b}", "http://a/a|b", "http://a/^", "http://a/`", "http://a/v1?x=%zz", "http://a/v1?x=[1]", "http://a/v1?x y",
]  # fmt: skip


@pytest.mark.parametrize(("text", "origin", "path", "query", "authority"), ACCEPTED, ids=[row[0] for row in ACCEPTED])
def test_accepted(text: str, origin: tuple[str, str, int], path: str, query: str, authority: str) -> None:
    url = parse_base_url(text)
    assert url == BaseURL(Origin(*origin), path, query)
    assert url.origin.authority == authority


@pytest.mark.parametrize("text", REFUSED)
def test_refused(text: str) -> None:
    assert parsed(text) is None


def test_the_table_is_long_enough() -> None:
    rows = [row[0] for row in ACCEPTED] + REFUSED
    assert len(rows) == len(set(rows)) >= 80


@pytest.mark.parametrize("value", [None, b"http://a", 1])
def test_other_types_are_refused(value: object) -> None:
    with pytest.raises(LLMBadRequestError, match="base_url must be a string"):
        parse_base_url(value)  # type: ignore[arg-type]
    with pytest.raises(LLMBadRequestError, match="model must be a string"):
        path_segment(value, "model")  # type: ignore[arg-type]


def test_the_refusal_names_the_argument_and_never_shows_the_value() -> None:
    with pytest.raises(LLMBadRequestError) as caught:
        parse_base_url("http://user:sk-canary@host", "OPENAI_BASE_URL")
    assert str(caught.value).startswith("OPENAI_BASE_URL")
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("base", "path", "target"),
    [
        ("http://a", "", "/"), ("http://a/", "v1", "/v1"), ("http://a", "/v1", "/v1"), ("http://a/v1", "", "/v1"),
        ("http://a/v1", "chat/completions", "/v1/chat/completions"), ("http://a/v1/", "/chat/completions", "/v1/chat/completions"),
        ("http://a/v1", "models?limit=5", "/v1/models?limit=5"), ("http://a/v1?k=v", "models", "/v1/models?k=v"),
        ("http://a/v1?k=v", "models?limit=5", "/v1/models?k=v&limit=5"), ("http://a?k=v", "", "/?k=v"),
    ],
)  # fmt: skip
def test_joining(base: str, path: str, target: str) -> None:
    assert parse_base_url(base).target(path) == target


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("localhost", True), ("a.localhost", True), ("127.0.0.1", True), ("127.255.0.9", True), ("0.0.0.0", True), ("::1", True),
        ("::", True), ("::ffff:7f00:1", True), ("localhost.com", False), ("notlocalhost", False), ("128.0.0.1", False),
        ("::2", False), ("fe80::1", False), ("127.0.0.1.example.com", False), ("10.0.0.1", False), ("::ffff:a00:1", False),
    ],
)  # fmt: skip
def test_loopback(host: str, here: bool) -> None:
    assert Origin("http", host, 80).is_loopback == here


def test_an_origin_reads_well_and_is_a_key() -> None:
    assert str(Origin("https", "::1", 8443)) == "https://[::1]:8443"
    assert len({Origin("http", "a", 80), Origin("http", "a", 80), Origin("https", "a", 80)}) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "base_url is empty"), ("http://a\\b", "base_url contains white space, a control character or a backslash"),
        ("http://a/b\\c", "base_url contains white space, a control character or a backslash"),
        ("http://a b", "base_url contains white space, a control character or a backslash"),
        ("http://a\x00", "base_url contains white space, a control character or a backslash"),
        ("http://a/é", "base_url contains a non-ASCII character: write the host in its xn-- form and percent-encode the path"),
        ("http://a/#b", "base_url must not have a fragment (#)"), ("ftp://a", "base_url must begin with http:// or https://"),
        ("xhttp://a", "base_url must begin with http:// or https://"), ("http://", "base_url has no host"),
        ("http://u@a", "base_url must not contain credentials (user:password@); pass them separately"),
        ("http://[::1", "base_url is not a URL: its host is malformed"), ("http://[::1%25eth0]", "base_url has a malformed IPv6 address"), ("http://a..b", "base_url has a malformed host name"),
        ("http://127.1", "base_url has a malformed IPv4 address: write it as four decimal numbers"),
        ("http://a:0", "base_url has a malformed port: it must be a number from 1 to 65535"),
        ("http://a:65536", "base_url has a malformed port: it must be a number from 1 to 65535"),
        ("http://a/../b", 'base_url must not have "." or ".." in its path'), ("http://a/%2e", 'base_url must not have "." or ".." in its path'),
        ("http://a/b//c", "base_url has an empty segment or a character in its path that must be percent-encoded"),
        ("http://a/b|c", "base_url has an empty segment or a character in its path that must be percent-encoded"),
        ("http://a/?b|c", "base_url has a character in its query that must be percent-encoded"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_url_is_said(text: str, message: str) -> None:
    with pytest.raises(LLMBadRequestError) as caught:
        parse_base_url(text)
    assert caught.value.message == message


@pytest.mark.parametrize(("length", "taken"), [(253, True), (254, False)])
def test_the_longest_host_name(length: int, taken: bool) -> None:
    host = "a." * 130
    host = host[: length - 1] + "b" if host[length - 2] == "." else host[: length - 2] + "bb"
    assert len(host) == length
    assert (parsed(f"http://{host}") is not None) == taken


def test_a_segment_of_something_that_is_no_text_or_no_segment() -> None:
    for value, message in (
        (5, "model must be a string, not int"), ("..", 'model must not be empty, "." or ".."'),
        ("a\n", "model contains a control or non-ASCII character; it is not shown here"),
        ("é", "model contains a control or non-ASCII character; it is not shown here"),
    ):  # fmt: skip
        with pytest.raises(LLMBadRequestError) as caught:
            path_segment(value, "model")  # type: ignore[arg-type]
        assert caught.value.message == message


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("localhost", True), ("a.localhost", True), ("xlocalhost", False), ("127.0.0.1", True), ("127.8.9.1", True), ("0.0.0.0", True),
     ("128.0.0.1", False), ("[::1]", True), ("[::]", True), ("[::2]", False), ("[::ffff:127.0.0.1]", True), ("[::ffff:10.0.0.1]", False)],
)  # fmt: skip
def test_what_is_this_machine(host: str, loopback: bool) -> None:
    assert parse_base_url(f"http://{host}").origin.is_loopback == loopback


@pytest.mark.parametrize(("path", "kept"), [("/v1X", "/v1X"), ("/X/", "/X"), ("/a///", "/a"), ("/", ""), ("", "")])
def test_slashes_at_the_end_of_a_path_go_and_nothing_else(path: str, kept: str) -> None:
    assert parse_base_url(f"https://a{path}").path == kept
