"""What a user hands over is refused by our error or sent exactly: nothing is mended, cut, or let out of its place.

Ten thousand generated values in four fields, over all code points and with an eye for what breaks out of a field. A
request is taken apart again by h11's server side, which shares no code with what wrote it.
"""

# ruff: noqa: B023 - the functions made in loops are called at once

from __future__ import annotations

import random
from typing import Any
from urllib.parse import unquote, urlsplit

import h11
import pytest

from cloud.llm import AnthropicClient, LLMError, OllamaClient, OpenAICompatClient
from tests.callers import HELLO

EACH = 2500
#: What matters more often than its share of all code points.
SHARP = [
    "\r", "\n", "\r\n", "\0", "\t", " ", "\x7f", "\x85", "\xa0", "é", "ß", "İ", "ſ", "K", "．", "。", "／", "＠", "℀",
    "\u2028", "\u202e", "\ud800", "\udfff", "\U0001f600", "/", "\\", "?", "#", "@", ":", "%", "%2f", "%2e%2e", "%0d%0a", "%00",
    ".", "..", "../", "//", ";", "&", "=", "+", "[", "]", "<", ">", '"', "'", "{", "}", "|", "^", "`", "~", "*", ",",
    "Host: evil.example", "HTTP/1.1", "xn--", "127.0.0.1", "[::1]", "[fe80::1%25eth0]", "0x7f.1", ":80", ":99999", "user:pass@",
]  # fmt: skip


def text(dice: random.Random) -> str:
    parts: list[str] = []
    for _ in range(dice.choice((0, 1, 1, 2, 3, 5, 9))):
        match dice.randrange(4):
            case 0:
                parts.append(dice.choice(SHARP))
            case 1:
                parts.append(chr(dice.randrange(0x110000)))
            case 2:
                parts.append(chr(dice.randrange(0x100)))
            case _:
                parts.append("".join(dice.choices("abcXYZ0189-_.", k=dice.randrange(1, 12))))
    return "".join(parts)


def on_the_wire(request: Any) -> tuple[h11.Request, bytes]:
    """The request as a server reads it; exactly one, with nothing before or after it."""
    server = h11.Connection(h11.SERVER)
    server.receive_data(bytes(request.wire()))
    head = server.next_event()
    assert isinstance(head, h11.Request), head
    body = b""
    while not isinstance(event := server.next_event(), h11.EndOfMessage):
        assert isinstance(event, h11.Data), event
        body += event.data
    assert server.trailing_data == (b"", False)
    return head, body


def fields(head: h11.Request, name: bytes) -> list[bytes]:
    return [value for field, value in head.headers if field == name]


def segments(head: h11.Request) -> list[str]:
    return [unquote(part) for part in urlsplit(head.target.decode("ascii")).path.split("/")]


def made(build: Any) -> Any:
    """What it builds, or None where it is refused by our error. Anything else that is raised fails the test."""
    try:
        return build()
    except LLMError as error:
        refused = error
    assert str(refused).isprintable(), "the refusal itself could steer a terminal"
    return None


def count(sent: int) -> None:
    assert 0 < sent < EACH, "one side of the law was never tried"


def test_keys() -> None:
    dice, sent = random.Random(1), 0
    for number in range(EACH):
        key = text(dice)
        kind = number % 3
        if kind == 0:
            request = made(lambda: OpenAICompatClient(key, "m", base_url="https://h.example/v1").build_request(HELLO))
        elif kind == 1:
            request = made(lambda: AnthropicClient(key, "m", base_url="https://h.example").build_request(HELLO))
        else:
            request = made(
                lambda: OllamaClient(api_key=key, model="m", base_url="https://h.example").build_request(HELLO)
            )
        if request is None:
            continue
        head, _ = on_the_wire(request)
        if key == "":
            assert not fields(head, b"authorization") + fields(head, b"x-api-key")
            continue
        sent += 1
        assert key.isascii() and key.isprintable() and key == key.strip()
        expected = key.encode() if kind == 1 else b"Bearer " + key.encode()
        assert fields(head, b"x-api-key" if kind == 1 else b"authorization") == [expected]
        assert fields(head, b"host") == [b"h.example"]
        assert len(fields(head, b"content-length")) == 1
    count(sent)


def test_headers() -> None:
    dice, sent = random.Random(2), 0
    for _ in range(EACH):
        name, value = text(dice) if dice.random() < 0.3 else "X-Field", text(dice)
        request = made(
            lambda: OpenAICompatClient("k", "m", base_url="https://h.example/v1", headers={name: value}).build_request(
                HELLO
            )
        )
        per_call = made(
            lambda: OpenAICompatClient("k", "m", base_url="https://h.example/v1").build_request(
                HELLO, extra_headers={name: value}
            )
        )
        assert (request is None) == (per_call is None), "one field, two laws"
        if request is None:
            continue
        sent += 1
        for one in (request, per_call):
            head, _ = on_the_wire(one)
            assert fields(head, name.lower().encode()) == [value.encode("ascii")]
            assert fields(head, b"host") == [b"h.example"]
            assert fields(head, b"accept-encoding") == [b"identity"]
            assert len(fields(head, b"content-length")) == 1
            assert not fields(head, b"transfer-encoding")
    count(sent)


def test_models_as_paths_and_as_text() -> None:
    """In a path: one segment, whatever it is. In a body: that text, and valid UTF-8."""
    import json

    dice, sent = random.Random(3), 0
    for _ in range(EACH):
        model = text(dice)
        azure = made(
            lambda: OpenAICompatClient(
                "k", model, base_url="https://h.example/openai", dialect="azure", api_version="2026-10-01"
            ).build_request(HELLO)
        )
        if azure is not None:
            sent += 1
            head, _ = on_the_wire(azure)
            parts = segments(head)
            assert parts == ["", "openai", "deployments", model, "chat", "completions"]
            assert urlsplit(head.target.decode()).query == "api-version=2026-10-01"
            assert model not in ("", ".", "..")
        for client in (
            lambda: OpenAICompatClient("k", model, base_url="https://h.example/v1"),
            lambda: AnthropicClient("k", model, base_url="https://h.example"),
            lambda: OllamaClient(model=model, base_url="https://h.example"),
        ):
            request = made(lambda: client().build_request(HELLO))
            if request is not None:
                head, body = on_the_wire(request)
                assert json.loads(body.decode("utf-8"))["model"] == model
                assert len(segments(head)) <= 4
                assert model == "m" or model not in head.target.decode() or len(model) < 12
    count(sent)


@pytest.mark.filterwarnings("ignore::cloud.llm.InsecureTransportWarning")
def test_base_urls() -> None:
    dice, sent = random.Random(4), 0
    for _ in range(EACH):
        rest = text(dice)
        url = (
            dice.choice(("", "https://", "http://", "https://h.example", "https://h.example/", "https://h.example/v1?"))
            + rest
        )
        if not url:
            continue  # not given
        request = made(lambda: OpenAICompatClient("k", "m", base_url=url).build_request(HELLO))
        if request is None:
            continue
        sent += 1
        head, _ = on_the_wire(request)
        parts = urlsplit(url)
        assert url.isascii() and url.isprintable() and "\\" not in url and "#" not in url and "@" not in parts.netloc
        path = parts.path.rstrip("/")
        assert head.target.decode().partition("?")[0] == f"{path}/chat/completions"
        assert head.target.decode().partition("?")[2] == parts.query
        assert len(segments(head)) == path.count("/") + 3
        assert not {".", "..", ""} & set(segments(head)[1:])
        (host,) = fields(head, b"host")
        assert host.decode() == request.origin.authority
        assert host.decode().strip("[]").partition(":")[0] in url.lower() or ":" in request.origin.host
    count(sent)


@pytest.mark.parametrize("value", [None, 1, b"bytes", ["a"], object()], ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("field", ["api_key", "model", "base_url", "headers", "proxy"])
def test_other_types_are_refused_by_our_error(field: str, value: object) -> None:
    """Never an AttributeError from deep inside; None is "not given"."""
    options = {"api_key": "k", "model": "m", "base_url": "https://h.example/v1", field: value}
    if field == "headers" and value is not None:
        options["headers"] = {"X-Field": value}
    if value is None and field in ("api_key", "base_url"):
        return
    try:
        request = OpenAICompatClient(**options).build_request(HELLO)
    except LLMError:
        assert value is not None or field == "model"
    else:
        assert value is None
        on_the_wire(request)
