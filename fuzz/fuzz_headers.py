"""Fuzz what is read from short texts: URLs, header fields to send, proxies, NO_PROXY, Retry-After, path segments.

    python fuzz/fuzz_headers.py .fuzz/corpus/headers -max_total_time=60

The first byte chooses the reader; the rest is text (UTF-8, and the surrogates that broken bytes become). The only
exception allowed is LLMBadRequestError, and it never shows the text. What is accepted is sent exactly.
"""

from __future__ import annotations

import email.utils
import functools
import math
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote, urlsplit

import h11

HOSTS = ("example.com", "a.example.com", "10.0.0.1", "2001:db8::1", "::ffff:10.0.0.1", "localhost")


@functools.cache
def core() -> Any:
    """Imported on demand, so that the fuzzer can instrument what is imported."""
    from sans_io import errors
    from sans_io.http import http11, proxies, secret, server_hints, urls

    plain = urls.Origin("http", "a", 80)
    return SimpleNamespace(
        Refusal=errors.LLMBadRequestError, http11=http11, proxies=proxies, Secret=secret.Secret, hints=server_hints,
        urls=urls, plain=plain, head=http11.RequestHead("POST", plain, "/"), base=urls.parse_base_url("http://a/b"),
        origins=tuple(urls.Origin("https", host, 443) for host in HOSTS),
    )  # fmt: skip


def one_input(data: bytes) -> None:
    """One run of the target."""
    if data:
        text = data[1:].decode("utf-8", "surrogateescape")
        READERS[data[0] % len(READERS)](text)


def read_url(text: str) -> None:
    parse_base_url = core().urls.parse_base_url
    url = or_refusal(parse_base_url, text)
    if isinstance(url, core().Refusal):
        assert len(text) < 12 or text not in str(url)
        return
    seen = urlsplit(text)
    assert seen.scheme == url.origin.scheme
    assert (seen.port or {"http": 80, "https": 443}[seen.scheme]) == url.origin.port
    assert seen.hostname == url.origin.host or ":" in url.origin.host
    assert url.origin.host.isascii()
    assert parse_base_url(str(url)) == url
    request = parsed(core().http11.RequestHead("POST", url.origin, url.target("v1/chat")))
    assert request.target == url.target("v1/chat").encode()
    assert (b"host", url.origin.authority.encode()) in list(request.headers)


def read_segment(text: str) -> None:
    try:
        segment = core().urls.path_segment(text, "model")
    except core().Refusal:
        return
    target = core().base.target(f"{segment}/c")
    assert target.count("/") == 3
    assert unquote(target.split("/")[2]) == text
    assert parsed(core().http11.RequestHead("POST", core().plain, target)).target == target.encode()


def read_header(text: str) -> None:
    name, _, value = text.partition(":")
    try:
        merged = core().http11.merge_headers((), {name: value})
    except core().Refusal:
        return
    sent = merged[0][1]
    assert (sent.reveal() if isinstance(sent, core().Secret) else sent) == value
    request = parsed(core().http11.RequestHead("POST", core().plain, "/", merged))
    assert (name.encode(), value.encode()) in request.headers.raw_items()
    assert len(request.headers) == 4


def read_proxy(text: str) -> None:
    proxy = or_refusal(core().proxies.parse_proxy, text)
    if isinstance(proxy, core().Refusal):
        assert len(text) < 12 or text not in str(proxy)
        assert len(core().proxies.environment_proxies({"ALL_PROXY": text}).ignored) <= 1
        return
    assert proxy.host.isascii()
    assert 1 <= proxy.port <= 65535
    head = core().head
    fields = dict(parsed(head, head.render(b"", proxy)).headers)
    assert (b"proxy-authorization" in fields) == (proxy.authorization is not None)


def read_no_proxy(text: str) -> None:
    matches = core().proxies.no_proxy_matches
    entries = text.split(",")
    origin = core().origins[len(text) % len(HOSTS)]
    found = matches(origin, text)
    assert found == any(matches(origin, entry) for entry in entries)
    environment = core().proxies.environment_proxies({"https_proxy": "p", "no_proxy": text.strip()})
    assert environment.proxy_for(origin) is None or not found


def read_retry_after(text: str) -> None:
    name = ("retry-after", "retry-after", "retry-after-ms", "x-ms-retry-after-ms")[len(text) % 4]
    for wall_now in (None, 1.8e9):
        seconds = core().hints.retry_after(((name, text),), wall_now)
        assert seconds is None or (seconds >= 0 and math.isfinite(seconds))
    then = core().hints.http_date(text)
    assert then is None or math.isfinite(then)
    if then is not None and text.endswith(" GMT") and text[3:5] == ", ":
        theirs = email.utils.parsedate_tz(text)
        if theirs is not None and theirs[9] == 0 and 1 <= theirs[2] <= 28:
            assert email.utils.mktime_tz(theirs) == then, "the standard library reads another date"


READERS: tuple[Callable[[str], None], ...] = (
    read_url, read_segment, read_header, read_proxy, read_no_proxy, read_retry_after,
)  # fmt: skip


def or_refusal(parse: Callable[[str], Any], text: str) -> Any:
    """What `parse` makes of `text`, or its refusal."""
    try:
        return parse(text)
    except core().Refusal as error:
        return error


def parsed(head: Any, wire: memoryview | None = None) -> h11.Request:
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

    with atheris.instrument_imports(include=["sans_io"]):
        core()
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
