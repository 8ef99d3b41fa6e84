"""Requests: what is sent, what is refused, and that no secret shows anywhere but on the wire."""

from __future__ import annotations

import subprocess
import sys
import traceback

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sans_io.errors import LLMBadRequestError, LocalProtocolError
from sans_io.http.http11 import HTTPRequest, RequestHead, merge_headers, render_connect
from sans_io.http.proxies import parse_proxy
from sans_io.http.secret import Secret
from sans_io.http.urls import Origin

HTTPS = Origin("https", "api.example.com", 443)
HTTP = Origin("http", "::1", 8080)
KEY = "sk-canary-0123456789"


def parsed(wire: bytes) -> tuple[h11.Request, bytes]:
    """The request as a server reads it, and its body."""
    server = h11.Connection(h11.SERVER)
    server.receive_data(wire)
    request = server.next_event()
    assert isinstance(request, h11.Request)
    body = b""
    while not isinstance(event := server.next_event(), h11.EndOfMessage):
        assert isinstance(event, h11.Data)
        body += bytes(event.data)
    assert server.trailing_data[0] == b""
    return request, body


# ---- laws ----------------------------------------------------------------------------------------------------------


def head_or_refusal(name: str, value: str) -> RequestHead | LLMBadRequestError:
    try:
        return RequestHead("POST", HTTPS, "/v1", ((name, value),))
    except LLMBadRequestError as error:
        return error


@given(st.text(max_size=30), st.text(max_size=30))
def test_a_header_is_sent_exactly_or_refused(name: str, value: str) -> None:
    head = head_or_refusal(name, value)
    if isinstance(head, LLMBadRequestError):
        return
    request, _ = parsed(bytes(head.render(b"{}")))
    assert [pair for pair in request.headers.raw_items() if pair[0] == name.encode()] == [
        (name.encode(), value.encode())
    ]
    assert len(request.headers) == 4


@given(st.characters() | st.sampled_from("\r\n\0\x0b\x0c\x7f\x80\x85\xa0\u2028\ud800"))
def test_every_code_point_in_a_value_is_sent_or_refused(char: str) -> None:
    value = f"a{char}b"
    head = head_or_refusal("X-A", value)
    assert isinstance(head, LLMBadRequestError) != (char.isascii() and char.isprintable())
    if isinstance(head, LLMBadRequestError):
        assert "X-A" in str(head)
        assert value not in str(head)
    else:
        assert b"X-A: " + value.encode() + b"\r\n" in bytes(head.render())


@given(st.text(max_size=20))
def test_a_target_is_sent_exactly_or_refused(text: str) -> None:
    try:
        head = RequestHead("GET", HTTPS, f"/{text}")
    except LLMBadRequestError:
        return
    request, _ = parsed(bytes(head.render()))
    assert request.target == b"/" + text.encode()


HEADER_DICTS = st.dictionaries(
    st.sampled_from(["Accept", "accept", "X-A", "x-a", "X-B", "Authorization"]), st.sampled_from(["1", "2"])
)


@given(HEADER_DICTS, HEADER_DICTS)
def test_merging_lets_the_later_win_whatever_its_case(base: dict[str, str], extra: dict[str, str]) -> None:
    merged = merge_headers(merge_headers((), base), extra)
    names = [name.lower() for name, _ in merged]
    assert len(names) == len(set(names))
    expected = {name.lower(): value for name, value in [*base.items(), *extra.items()]}
    shown = {name.lower(): value.reveal() if isinstance(value, Secret) else value for name, value in merged}
    assert shown == expected


# ---- what is sent --------------------------------------------------------------------------------------------------


def test_the_bytes_of_a_request() -> None:
    head = RequestHead(
        "POST",
        HTTPS,
        "/v1/chat?x=1",
        (("Authorization", Secret(f"Bearer {KEY}")), ("content-type", "application/json")),
    )
    expected = (
        b"POST /v1/chat?x=1 HTTP/1.1\r\nHost: api.example.com\r\nAuthorization: Bearer " + KEY.encode() + b"\r\n"
        b"content-type: application/json\r\nAccept-Encoding: identity\r\nContent-Length: 2\r\n\r\n{}"
    )
    assert bytes(HTTPRequest(head, b"{}").wire()) == expected
    assert bytes(HTTPRequest(head, b"{}").wire()) == expected
    assert isinstance(HTTPRequest(head).wire(), memoryview)


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_a_request_without_body_says_nothing_of_its_length(method: str) -> None:
    wire = bytes(RequestHead(method, HTTP, "/").render())
    assert wire == method.encode() + b" / HTTP/1.1\r\nHost: [::1]:8080\r\nAccept-Encoding: identity\r\n\r\n"
    assert parsed(wire)[1] == b""


def test_an_empty_post_says_that_it_is_empty() -> None:
    assert b"Content-Length: 0\r\n" in bytes(RequestHead("POST", HTTP, "/").render())
    assert parsed(bytes(RequestHead("DELETE", HTTP, "/").render(b"{}")))[1] == b"{}"


def test_forwarding_uses_the_absolute_form_and_the_proxy_credentials() -> None:
    head = RequestHead("POST", HTTP, "/v1?a=b")
    proxy = parse_proxy("http://user:pass@proxy:3128")
    wire = bytes(HTTPRequest(head, b"x").wire(proxy))
    assert wire.startswith(b"POST http://[::1]:8080/v1?a=b HTTP/1.1\r\nHost: [::1]:8080\r\n")
    assert b"\r\nProxy-Authorization: Basic dXNlcjpwYXNz\r\n" in wire
    direct = bytes(HTTPRequest(head, b"x").wire())
    assert b"Proxy-Authorization" not in direct
    assert b"Proxy-Authorization" not in bytes(HTTPRequest(head, b"x").wire(parse_proxy("http://proxy:3128")))


def test_https_is_never_forwarded() -> None:
    with pytest.raises(LocalProtocolError):
        RequestHead("POST", HTTPS, "/").render(b"", parse_proxy("http://proxy"))


def test_connect() -> None:
    proxy = parse_proxy("http://user:pass@proxy:3128")
    assert bytes(render_connect(HTTPS, proxy)) == (
        b"CONNECT api.example.com:443 HTTP/1.1\r\nHost: api.example.com:443\r\n"
        b"Proxy-Authorization: Basic dXNlcjpwYXNz\r\n\r\n"
    )
    assert bytes(render_connect(Origin("https", "::1", 443), parse_proxy("proxy"))) == (
        b"CONNECT [::1]:443 HTTP/1.1\r\nHost: [::1]:443\r\n\r\n"
    )


# ---- what is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["Host", "content-length", "Transfer-Encoding", "connection", "TE", "Upgrade", "Expect", "Keep-Alive", "Trailer",
     "Proxy-Authorization", "Proxy-Connection", "Accept-Encoding"],
)  # fmt: skip
def test_fields_of_the_connection_are_refused(name: str) -> None:
    for make in (lambda: RequestHead("GET", HTTP, "/", ((name, "a"),)), lambda: merge_headers((), {name: "a"})):
        with pytest.raises(LLMBadRequestError, match=name):
            make()


@pytest.mark.parametrize(
    "value", ["a\r\nb: c", "a\nb", "a\rb", "a\0b", "a\tb", "\x7f", "é", "\ud800", " a", "a ", "\u2028"]
)
def test_values_that_break_out_are_refused_and_not_shown(value: str) -> None:
    for make in (
        lambda: RequestHead("GET", HTTP, "/", (("X-Canary", value),)),
        lambda: merge_headers((), {"X-Canary": value}),
    ):
        with pytest.raises(LLMBadRequestError, match="X-Canary") as caught:
            make()
        assert value.strip(" ") == "a" or value not in str(caught.value)


@pytest.mark.parametrize("name", ["", "a b", "a:", "a\r\n", "é", "a\0", f"Bearer {KEY}"])
def test_names_that_are_no_token_are_refused_and_not_shown(name: str) -> None:
    with pytest.raises(LLMBadRequestError) as caught:
        merge_headers((), {name: "a"})
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("value", [None, 1, b"a", ["a"]])
def test_values_of_another_type_are_refused(value: object) -> None:
    with pytest.raises(LLMBadRequestError, match="X-A must be a string"):
        merge_headers((), {"X-A": value})  # type: ignore[dict-item]


def test_methods_and_targets_that_break_out_are_refused() -> None:
    for method in ("", "GET ", "G\r\nT", "GET /x HTTP/1.1\r\nA: b\r\n\r\nGET"):
        with pytest.raises(LLMBadRequestError):
            RequestHead(method, HTTP, "/")
    for target in ("", "v1", "http://b/", "*", "/a b", "/a\r\nb", "/a#b", "/é", "/a\\b", "/\x00", '/"'):
        with pytest.raises(LLMBadRequestError):
            RequestHead("GET", HTTP, target)


# ---- secrets -------------------------------------------------------------------------------------------------------


def test_credentials_become_secrets_by_the_name_of_their_header() -> None:
    for name in ("Authorization", "X-API-Key", "api-key", "Cookie", "X-Auth-Token", "Ocp-Apim-Subscription-Key"):
        merged = merge_headers((), {name: KEY})
        assert isinstance(merged[0][1], Secret)
    assert merge_headers((), {"X-Title": "a"}) == (("X-Title", "a"),)
    assert merge_headers((), {"Authorization": ""}) == (("Authorization", ""),)
    assert merge_headers((), [("Authorization", Secret(KEY))]) == (("Authorization", Secret(KEY)),)


def test_a_secret_shows_on_the_wire_only() -> None:
    head = RequestHead("POST", HTTPS, f"/v1?key={KEY}", merge_headers((), {"Authorization": f"Bearer {KEY}"}))
    request = HTTPRequest(head, b"{}")
    wire = request.wire()
    for shown in (repr(request), str(request), f"{request}", repr(head), repr(wire), repr(head.headers)):
        assert KEY not in shown
        assert KEY[:8] not in shown
    assert KEY.encode() in bytes(wire)
    assert "(***)" in repr(request)
    assert "?***" in repr(request)


def test_what_h11_refuses_does_not_carry_the_secret_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**fields: object) -> None:
        raise h11.LocalProtocolError("refused")

    monkeypatch.setattr(h11, "Request", refuse)
    head = RequestHead("POST", HTTP, "/", (("Authorization", Secret(KEY)),))
    proxy = parse_proxy(f"http://user:{KEY}@proxy")
    for make in (lambda: head.render(b""), lambda: render_connect(HTTPS, proxy)):
        with pytest.raises(LLMBadRequestError) as caught:
            make()
        text = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
        assert KEY not in text
        assert caught.value.__context__ is None


def test_requests_are_values() -> None:
    first, second = (HTTPRequest(RequestHead("POST", HTTPS, "/", (("A", Secret("b")),)), b"x") for _ in range(2))
    assert first == second
    assert hash(first) == hash(second)
    assert first != HTTPRequest(first.head, b"y")
    assert first.head != RequestHead("GET", HTTPS, "/")
    assert (first.method, first.target, first.origin, first.headers) == ("POST", "/", HTTPS, (("A", Secret("b")),))


@pytest.mark.skipif(sys.platform == "emscripten", reason="needs a process of its own")
def test_h11_is_imported_at_the_first_rendering() -> None:
    program = (
        "import sys, sans_io.http.http11 as http, sans_io.http.urls as urls\n"
        "head = http.RequestHead('GET', urls.Origin('http', 'a', 80), '/')\n"
        "http.HTTPExchange().receive_data(b'HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n')\n"
        "assert 'h11' not in sys.modules\n"
        "head.render()\n"
        "assert 'h11' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
