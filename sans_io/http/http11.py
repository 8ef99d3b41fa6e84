"""HTTP/1.1, client side: request bytes out, response head and body bytes in (RFC 9110, RFC 9112).

Rules of this file:
- It knows one request and one response; whether a connection is kept is the pool's decision, made from `clean`.
- h11 builds and validates the request head, once per head and proxy; no other file imports it, and it is imported
  when the first head is rendered. Response heads go to `heads`, bodies to `body`; h11 is their oracle in the tests.
- Received garbage never raises: body bytes before the fault are returned, then `error` is set and stays (R5, R6).
- The outcome depends on the bytes alone, never on how they were cut (R9).
- `Secret.reveal()` is called here and nowhere else, in a frame that cannot raise with the value in its locals.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from ..errors import LLMBadRequestError, LLMProtocolError, LLMStreamError, LocalProtocolError
from ..limits import DEFAULT_LIMITS, Limits
from .body import BodyReader, ChunkedReader, CloseReader, LengthReader
from .heads import BARE_LINE_FEED, HeadFault, ParsedHead, ResponseHead, parse_response_head
from .secret import Secret

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .proxies import Proxy
    from .urls import Origin

#: Header fields to send: names as written, values in clear or secret.
RequestHeaders: TypeAlias = "tuple[tuple[str, str | Secret], ...]"
Framing: TypeAlias = Literal["length", "chunked", "close", "none"]


class RequestHead:
    """What all requests of one client to one path share; immutable, rendered once per proxy at the first use.

    `target` is in origin-form ("/v1/models?limit=5"). Raises `LLMBadRequestError` naming the header for anything that
    could break out of its place: CR, LF, NUL, other control and non-ASCII characters, white space at the ends, names
    that are no token, fields that belong to the framing. Values are never echoed.
    """

    __slots__ = ("_rendered", "headers", "method", "origin", "target")

    def __init__(self, method: str, origin: Origin, target: str, headers: RequestHeaders = ()) -> None:
        if not _TOKEN.fullmatch(method):
            raise LLMBadRequestError("the request method is not a token (RFC 9110 section 5.6.2)")
        if not _TARGET.fullmatch(target):
            raise LLMBadRequestError("the request target contains a character that must be percent-encoded")
        for name, value in headers:
            _check_header(name, value)
        self.method = method
        self.origin = origin
        self.target = target
        self.headers = tuple(headers)
        self._rendered: dict[Proxy | None, memoryview] = {}

    def render(self, body: bytes = b"", proxy: Proxy | None = None) -> memoryview:
        """The whole request. With `proxy`, in the form for a forwarding proxy (plain http only)."""
        stem = self._rendered.get(proxy)
        if stem is None:
            stem = self._rendered[proxy] = self._stem(proxy)
        if not body and self.method in _BODYLESS:
            return memoryview(b"".join((stem, b"\r\n")))
        return memoryview(b"".join((stem, b"Content-Length: %d\r\n\r\n" % len(body), body)))

    def render_head(self, length: int, proxy: Proxy | None = None) -> memoryview:
        """The request up to its body, which has `length` bytes."""
        return memoryview(b"".join((self._stem(proxy), b"Content-Length: %d\r\n\r\n" % length)))

    def _stem(self, proxy: Proxy | None) -> memoryview:
        """The head up to Content-Length, through h11."""
        if proxy is not None and self.origin.scheme != "http":
            raise LocalProtocolError("https goes through a proxy in a tunnel and is never forwarded")
        stem = _render_head(self, proxy)
        if stem is None:
            raise LLMBadRequestError("the request head is not valid HTTP/1.1; its fields are not shown here")
        return stem

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RequestHead) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        return f"RequestHead({self._shown()})"

    def _shown(self) -> str:
        # Some servers take the key in the query.
        path, mark, _ = self.target.partition("?")
        return f"{self.method} {self.origin}{path}{'?***' if mark else ''}, headers={self.headers!r}"

    def _key(self) -> tuple[str, Origin, str, RequestHeaders]:
        return (self.method, self.origin, self.target, self.headers)


class HTTPRequest:
    """One request: a shared head and its own body. `repr` shows no secret and not the body."""

    __slots__ = ("body", "head")

    def __init__(self, head: RequestHead, body: bytes = b"") -> None:
        self.head = head
        self.body = body

    @property
    def method(self) -> str:
        return self.head.method

    @property
    def origin(self) -> Origin:
        return self.head.origin

    @property
    def target(self) -> str:
        return self.head.target

    @property
    def headers(self) -> RequestHeaders:
        """As given; Host, Content-Length and Accept-Encoding are added when it is written."""
        return self.head.headers

    def wire(self, proxy: Proxy | None = None) -> memoryview:
        """The bytes to send, once for each attempt."""
        return self.head.render(self.body, proxy)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HTTPRequest) and self.head == other.head and self.body == other.body

    def __hash__(self) -> int:
        return hash((self.head, self.body))

    def __repr__(self) -> str:
        return f"HTTPRequest({self.head._shown()}, body=<{len(self.body)} bytes>)"


def merge_headers(
    base: RequestHeaders, extra: Mapping[str, str | Secret] | Iterable[tuple[str, str | Secret]]
) -> RequestHeaders:
    """`base` with the fields of `extra`, which replace those of the same name, case-insensitively.

    Of equal names in `extra` the last one counts. A value whose name suggests a credential becomes a `Secret`. Raises
    `LLMBadRequestError` naming the header; values are never echoed.
    """
    pairs = extra.items() if hasattr(extra, "items") else extra
    merged: dict[str, tuple[str, str | Secret]] = {name.lower(): (name, value) for name, value in base}
    for name, value in pairs:
        _check_header(name, value)
        is_plain_credential = isinstance(value, str) and value != "" and _CREDENTIAL.search(name)
        merged[name.lower()] = (name, Secret(str(value), name) if is_plain_credential else value)
    return tuple(merged.values())


def render_connect(origin: Origin, proxy: Proxy) -> memoryview:
    """The request that asks `proxy` for a tunnel to `origin` (RFC 9110 section 9.3.6)."""
    authority = f"{origin.bracketed_host}:{origin.port}"
    fields = [("Host", authority)]
    if proxy.authorization is not None:
        fields.append(("Proxy-Authorization", proxy.authorization.reveal()))
    wire = _through_h11("CONNECT", authority, fields, b"")
    del fields
    if wire is None:
        raise LLMBadRequestError("the request for a tunnel is not valid HTTP/1.1; its fields are not shown here")
    return wire


class HTTPExchange:
    """The response to one request. Feed it with `receive_data` and `receive_eof`; look at the attributes afterwards.

    `head` is set once the final response's head is whole; `informational` counts the 1xx responses before it.
    `ended`: the body ended in order. `error`: what was wrong, sticky; its `code` is one of "bad_head",
    "head_too_large", "too_many_headers", "too_many_informational", "bad_version", "bad_status", "bad_framing",
    "coded_reply", "bad_chunk", "chunk_line_too_long", "truncated_head", "truncated_body". `surplus`: something came
    after the end. `started`: any byte was seen. `keep_alive_timeout`: seconds, as the server promised them.
    `media_type`: of the body, lower-case, "" if the head names none.
    """

    __slots__ = (
        "_buffer",
        "_limits",
        "_method",
        "_reader",
        "_searched",
        "ended",
        "error",
        "framing",
        "head",
        "informational",
        "keep_alive",
        "keep_alive_timeout",
        "media_type",
        "started",
        "surplus",
    )

    def __init__(self, method: str = "POST", limits: Limits = DEFAULT_LIMITS) -> None:
        self._method = method
        self._limits = limits
        # The unread part of an incomplete head; a bytearray once it has come in pieces.
        self._buffer: bytes | bytearray = b""
        self._searched = 0
        self._reader: BodyReader | None = None
        self.head: ResponseHead | None = None
        self.informational = 0
        self.ended = False
        self.error: LLMProtocolError | LLMStreamError | None = None
        self.surplus = False
        self.started = False
        self.framing: Framing = "none"
        self.keep_alive = False
        self.keep_alive_timeout: float | None = None
        self.media_type = ""

    @property
    def clean(self) -> bool:
        """The response ended exactly where its framing says, and the server keeps the connection open.

        Necessary for reuse, not sufficient: the request must have been sent in full before the response began.
        """
        return (
            self.ended
            and self.keep_alive
            and not self.surplus
            and self.error is None
            and self.framing in ("length", "chunked")
        )

    def receive_data(self, data: bytes) -> bytes:
        """Bytes from the connection, cut anywhere; returns the body bytes among them, joined.

        Look at `head`, `ended` and `error` afterwards; after `ended` or `error` nothing more is returned.
        """
        reader = self._reader
        if reader is None:
            return self._receive_head(data)
        if self.ended or self.error is not None:
            if data and self.ended:
                self.surplus = True
            return b""
        body = reader.receive_data(data)
        if reader.stopped:
            self._body_stopped(reader)
        return body

    def receive_eof(self) -> bytes:
        """The peer closed its side. Sets `ended` or `error`; there are never body bytes left to return."""
        if self.ended or self.error is not None:
            return b""
        if self._reader is None:
            self.error = LLMStreamError(
                "the server closed the connection in the middle of its response head"
                if self.started
                else "the server closed the connection without answering",
                code="truncated_head",
            )
        else:
            self._reader.receive_eof()
            self._body_stopped(self._reader)
        return b""

    def _body_stopped(self, reader: BodyReader) -> None:
        self.ended = reader.ended
        self.error = reader.error
        self.surplus = bool(reader.surplus)

    def _receive_head(self, data: bytes) -> bytes:
        if self.error is not None or not data:
            return b""
        self.started = True
        buffer = self._buffer
        if buffer:
            buffer = self._buffer = buffer if isinstance(buffer, bytearray) else bytearray(buffer)
            buffer += data
        else:
            buffer = self._buffer = data
        while (end := self._end_of_head()) is not None:
            parsed = parse_response_head(bytes(buffer[:end]), self._limits.max_headers)
            if isinstance(parsed, HeadFault):
                self._fail(parsed.message, parsed.code)
                return b""
            self._searched = 0
            buffer = self._buffer = buffer[end + 4 :]
            if parsed.head.status >= 200:
                self._buffer = b""
                return self._begin_body(parsed, bytes(buffer))
            self.informational += 1
            if self.informational > self._limits.max_informational:
                self._fail("too many informational responses preceded it", "too_many_informational")
                return b""
        return b""

    def _end_of_head(self) -> int | None:
        """Where the blank line of a whole head begins; None if it is incomplete (kept) or refused."""
        buffer = self._buffer
        if not buffer.startswith(_OPENING) and not _OPENING.startswith(buffer):
            self._fail("it does not begin with HTTP/", "bad_head")
            return None
        limit = self._limits.max_head
        searched = self._searched
        end = buffer.find(b"\r\n\r\n", max(searched - 3, 0), limit)
        if end >= 0:
            return end
        stop = min(len(buffer), limit)
        # A server that means a bare LF as the line end would keep us waiting for a CR LF.
        if buffer.count(b"\n", searched, stop) != buffer.count(b"\r\n", max(searched - 1, 0), stop):
            self._fail(*BARE_LINE_FEED)
            return None
        if len(buffer) > limit:
            self._fail(f"it is larger than {limit} bytes", "head_too_large")
            return None
        self._searched = stop
        return None

    def _begin_body(self, parsed: ParsedHead, rest: bytes) -> bytes:
        """Choose the framing (RFC 9112 section 6.3) and read the body bytes that came with the head."""
        self.head = parsed.head
        status = parsed.head.status
        reader: BodyReader
        if status in (204, 304) or self._method == "HEAD" or (self._method == "CONNECT" and status < 300):
            reader = LengthReader(0)
        elif parsed.chunked:
            self.framing = "chunked"
            reader = ChunkedReader(self._limits)
        elif parsed.length is not None:
            self.framing = "length"
            reader = LengthReader(parsed.length)
        else:
            self.framing = "close"
            reader = CloseReader()
        self._reader = reader
        # Both lengths at once is how messages are smuggled: read it as chunked, never reuse the connection.
        self.keep_alive = parsed.keep_alive and not (parsed.chunked and parsed.length is not None)
        self.keep_alive_timeout = parsed.keep_alive_timeout
        self.media_type = parsed.media_type
        if parsed.coded and self.framing != "none":
            self.error = LLMProtocolError(
                "the server sent a compressed reply although no compression was requested",
                code="coded_reply",
                status_code=status,
            )
            return b""
        body = reader.receive_data(rest) if rest else b""
        if reader.stopped:
            self._body_stopped(reader)
        return body

    def _fail(self, message: str, code: str) -> None:
        self._buffer = b""
        self.error = LLMProtocolError(f"invalid response head: {message}", code=code)


_TOKEN = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+")
_TARGET = re.compile(r"/[A-Za-z0-9\-._~!$&'()*+,;=:@/?%]*")
#: Methods whose empty body needs no Content-Length (RFC 9110 section 8.6).
_BODYLESS: Final = frozenset(("GET", "HEAD", "DELETE", "OPTIONS"))
#: Ours to set: they frame the message, route it, or ask for what is not read here.
_RESERVED: Final = frozenset(
    (
        "accept-encoding", "connection", "content-length", "expect", "host", "keep-alive", "proxy-authorization",
        "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
    )
)  # fmt: skip
_CREDENTIAL = re.compile(r"auth|key|token|secret|password|credential|cookie|signature", re.IGNORECASE)

_OPENING: Final = b"HTTP/"


def _check_header(name: object, value: object) -> None:
    # A name that is no token may be a value in the wrong place, so it is not shown either.
    if not isinstance(name, str) or not _TOKEN.fullmatch(name):
        raise LLMBadRequestError("a header name is not a token (RFC 9110 section 5.6.2); it is not shown here")
    if name.lower() in _RESERVED:
        raise LLMBadRequestError(f"header {name} cannot be set: it belongs to the connection, not to the request")
    if isinstance(value, Secret):
        return
    if not isinstance(value, str):
        raise LLMBadRequestError(f"header {name} must be a string, not {type(value).__name__}")
    if not value.isascii() or not value.isprintable() or value != value.strip():
        raise LLMBadRequestError(
            f"header {name} contains a control or non-ASCII character, or white space at an end; it is not shown here"
        )


def _render_head(head: RequestHead, proxy: Proxy | None) -> memoryview | None:
    """The head up to Content-Length, or None if h11 refuses it."""
    target = head.target if proxy is None else f"http://{head.origin.authority}{head.target}"
    fields: list[tuple[str, str]] = [("Host", head.origin.authority)]
    fields += [(name, value if isinstance(value, str) else value.reveal()) for name, value in head.headers]
    if proxy is not None and proxy.authorization is not None:
        fields.append(("Proxy-Authorization", proxy.authorization.reveal()))
    fields += [("Accept-Encoding", "identity"), ("Content-Length", "0")]
    return _through_h11(head.method, target, fields, b"Content-Length: 0\r\n\r\n")


def _through_h11(method: str, target: str, fields: list[tuple[str, str]], cut: bytes) -> memoryview | None:
    """The head as h11 writes it, without `cut` at its end; None if h11 refuses it.

    h11's own error is dropped with its frames, which hold the values.
    """
    import h11

    try:
        wire = h11.Connection(h11.CLIENT).send(h11.Request(method=method, target=target, headers=fields))
    except h11.LocalProtocolError:
        return None
    return memoryview(wire.removesuffix(cut))
