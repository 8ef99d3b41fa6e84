"""Fuzz what is read from short texts: URLs, header fields to send, proxies, NO_PROXY, Retry-After, path segments.

    python fuzz/fuzz_headers.py fuzz/corpus/headers -max_total_time=60

The first byte chooses the reader; the rest is text (UTF-8, and the surrogates that broken bytes become). The only
exception allowed is LLMBadRequestError, and it never shows the text. What is accepted is sent exactly.
"""

from __future__ import annotations

import email.utils
import math
import sys
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import unquote, urlsplit

import h11

from sans_io.errors import LLMBadRequestError
from sans_io.http11 import RequestHead, merge_headers
from sans_io.proxies import environment_proxies, no_proxy_matches, parse_proxy
from sans_io.secret import Secret
from sans_io.server_hints import http_date, retry_after
from sans_io.urls import Origin, parse_base_url, path_segment

T = TypeVar("T")
HOSTS = ("example.com", "a.example.com", "10.0.0.1", "2001:db8::1", "::ffff:10.0.0.1", "localhost")


def one_input(data: bytes) -> None:
    """One run of the target."""
    if data:
        text = data[1:].decode("utf-8", "surrogateescape")
        READERS[data[0] % len(READERS)](text)


def read_url(text: str) -> None:
    url = or_refusal(parse_base_url, text)
    if isinstance(url, LLMBadRequestError):
        assert len(text) < 12 or text not in str(url)
        return
    seen = urlsplit(text)
    assert seen.scheme == url.origin.scheme
    assert (seen.port or {"http": 80, "https": 443}[seen.scheme]) == url.origin.port
    assert seen.hostname == url.origin.host or ":" in url.origin.host
    assert url.origin.host.isascii()
    assert parse_base_url(str(url)) == url
    request = parsed(RequestHead("POST", url.origin, url.target("v1/chat")))
    assert request.target == url.target("v1/chat").encode()
    assert (b"host", url.origin.authority.encode()) in list(request.headers)


def read_segment(text: str) -> None:
    try:
        segment = path_segment(text, "model")
    except LLMBadRequestError:
        return
    target = parse_base_url("http://a/b").target(f"{segment}/c")
    assert target.count("/") == 3
    assert unquote(target.split("/")[2]) == text
    assert parsed(RequestHead("POST", Origin("http", "a", 80), target)).target == target.encode()


def read_header(text: str) -> None:
    name, _, value = text.partition(":")
    try:
        merged = merge_headers((), {name: value})
    except LLMBadRequestError:
        return
    sent = merged[0][1]
    assert (sent.reveal() if isinstance(sent, Secret) else sent) == value
    request = parsed(RequestHead("POST", Origin("http", "a", 80), "/", merged))
    assert (name.encode(), value.encode()) in request.headers.raw_items()
    assert len(request.headers) == 4


def read_proxy(text: str) -> None:
    proxy = or_refusal(parse_proxy, text)
    if isinstance(proxy, LLMBadRequestError):
        assert len(text) < 12 or text not in str(proxy)
        assert len(environment_proxies({"ALL_PROXY": text}).ignored) <= 1
        return
    assert proxy.host.isascii()
    assert 1 <= proxy.port <= 65535
    head = RequestHead("POST", Origin("http", "a", 80), "/")
    fields = dict(parsed(head, head.render(b"", proxy)).headers)
    assert (b"proxy-authorization" in fields) == (proxy.authorization is not None)


def read_no_proxy(text: str) -> None:
    for host in HOSTS:
        origin = Origin("https", host, 443)
        found = no_proxy_matches(origin, text)
        assert found == any(no_proxy_matches(origin, entry) for entry in text.split(","))
        assert (
            environment_proxies({"https_proxy": "p", "no_proxy": text.strip()}).proxy_for(origin) is None or not found
        )


def read_retry_after(text: str) -> None:
    for name in ("retry-after", "retry-after-ms", "x-ms-retry-after-ms"):
        for wall_now in (None, 0.0, 1.8e9):
            seconds = retry_after(((name, text),), wall_now)
            assert seconds is None or (seconds >= 0 and math.isfinite(seconds))
    then = http_date(text)
    assert then is None or math.isfinite(then)
    if then is not None and text.endswith(" GMT") and text[3:5] == ", ":
        theirs = email.utils.parsedate_tz(text)
        if theirs is not None and theirs[9] == 0 and 1 <= theirs[2] <= 28:
            assert email.utils.mktime_tz(theirs) == then, "the standard library reads another date"


READERS: tuple[Callable[[str], None], ...] = (
    read_url, read_segment, read_header, read_proxy, read_no_proxy, read_retry_after,
)  # fmt: skip


def or_refusal(parse: Callable[[str], T], text: str) -> T | LLMBadRequestError:
    """What `parse` makes of `text`, or its refusal."""
    try:
        return parse(text)
    except LLMBadRequestError as error:
        return error


def parsed(head: RequestHead, wire: memoryview | None = None) -> h11.Request:
    """The request as a server reads it; nothing follows it."""
    server = h11.Connection(h11.SERVER)
    server.receive_data(bytes(head.render() if wire is None else wire))
    request = server.next_event()
    assert isinstance(request, h11.Request)
    assert isinstance(server.next_event(), h11.EndOfMessage)
    assert server.trailing_data[0] == b""
    return request


def main() -> None:
    import atheris  # type: ignore[import-untyped,import-not-found,unused-ignore]

    atheris.instrument_all()
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
