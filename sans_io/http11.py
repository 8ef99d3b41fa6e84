"""HTTP/1.1, client side: request bytes out, response head and body bytes in (RFC 9110, RFC 9112).

Rules of this file:
- It knows one request and one response; whether a connection is kept is the pool's decision, made from `clean`.
- h11 builds and validates the request head, once per head and proxy; no other file imports it, and it is imported
  when the first head is rendered. The response head has a parser of its own, at a third of the cost, held equal to
  h11 by a differential test: what h11 refuses is refused here.
- Received garbage never raises: body bytes before the fault are returned, then `error` is set and stays (R5, R6).
- The outcome depends on the bytes alone, never on how they were cut (R9).
- `Secret.reveal()` is called here and nowhere else, in a frame that cannot raise with the value in its locals.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

from .body import BodyReader, ChunkedReader, CloseReader, LengthReader
from .errors import LLMBadRequestError, LLMProtocolError, LLMStreamError, LocalProtocolError
from .policy.limits import DEFAULT_LIMITS, Limits
from .secret import Secret

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .proxies import Proxy
    from .urls import Origin

#: Header fields to send: names as written, values in clear or secret.
RequestHeaders: TypeAlias = "tuple[tuple[str, str | Secret], ...]"
#: Header fields received: lower-case names, values decoded as latin-1, in order.
ResponseHeaders: TypeAlias = tuple[tuple[str, str], ...]
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
            raise LLMBadRequestError("the request target holds a character that must be percent-encoded")
        for name, value in headers:
            _check_header(name, value)
        self.method = method
        self.origin = origin
        self.target = target
        self.headers = headers
        self._rendered: dict[Proxy | None, memoryview] = {}

    def render(self, body: bytes = b"", proxy: Proxy | None = None) -> memoryview:
        """The whole request. With `proxy`, in the form for a forwarding proxy (plain http only)."""
        stem = self._rendered.get(proxy)
        if stem is None:
            stem = self._rendered[proxy] = self._stem(proxy)
        if not body and self.method in _BODYLESS:
            return memoryview(b"%b\r\n" % stem)
        return memoryview(b"%bContent-Length: %d\r\n\r\n%b" % (stem, len(body), body))

    def _stem(self, proxy: Proxy | None) -> memoryview:
        """The head up to Content-Length, through h11."""
        if proxy is not None and self.origin.scheme != "http":
            raise LocalProtocolError("https goes through a proxy in a tunnel, it is never forwarded")
        stem = _render_through_h11(self, proxy)
        if stem is None:
            raise LLMBadRequestError("the request head is not valid HTTP/1.1; its fields are not shown here")
        return stem

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RequestHead) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        return f"RequestHead({self.method} {self.origin}{self.target}, headers={self.headers!r})"

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
        return (
            f"HTTPRequest({self.method} {self.origin}{self.target}, headers={self.headers!r}, "
            f"body=<{len(self.body)} bytes>)"
        )


def merge_headers(
    base: RequestHeaders, extra: Mapping[str, str | Secret] | Iterable[tuple[str, str | Secret]]
) -> RequestHeaders:
    """`base` with the fields of `extra` added or put in place of those with the same name, case-insensitively.

    Of equal names in `extra` the last counts. A value whose name speaks of a credential becomes a `Secret`. Raises
    `LLMBadRequestError` naming the header; values are never echoed.
    """
    pairs = extra.items() if hasattr(extra, "items") else extra
    merged: dict[str, tuple[str, str | Secret]] = {name.lower(): (name, value) for name, value in base}
    for name, value in pairs:
        _check_header(name, value)
        if isinstance(value, str) and value and _CREDENTIAL.search(name):
            value = Secret(value, name)
        merged[name.lower()] = (name, value)
    return tuple(merged.values())


class ResponseHead(NamedTuple):
    """Status line and header fields of a final response. `http_version` is "1.1" or "1.0"."""

    status: int
    headers: ResponseHeaders
    http_version: str = "1.1"
    reason: str = ""

    def first(self, name: str) -> str | None:
        """The first value of the field with this lower-case name, or None."""
        for known, value in self.headers:
            if known == name:
                return value
        return None


class HTTPExchange:
    """The response to one request. Feed it with `receive_data` and `receive_eof`; look at the attributes afterwards.

    `head` is set once the final response's head is whole; `informational` counts the 1xx responses before it.
    `ended`: the body ended in order. `error`: what was wrong, sticky; its `code` is one of "bad_head",
    "head_too_large", "too_many_headers", "too_many_informational", "bad_version", "bad_status", "bad_framing",
    "coded_reply", "bad_chunk", "chunk_line_too_long", "truncated_head", "truncated_body". `surplus`: something came
    after the end. `started`: any byte was seen. `keep_alive_timeout`: seconds, as the server promised them.
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
            and (self.framing == "length" or self.framing == "chunked")
        )

    def receive_data(self, data: bytes) -> bytes:
        """Bytes from the wire, cut anywhere; returns the body bytes among them, joined.

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
        """The peer closed its side. Sets `ended` or `error`; there is never body left to return."""
        if self.ended or self.error is not None:
            return b""
        if self._reader is None:
            self.error = LLMProtocolError(
                "the server closed the connection inside its response head"
                if self.started
                else "the server closed the connection without an answer",
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
        if self._buffer:
            if isinstance(self._buffer, bytes):
                self._buffer = bytearray(self._buffer)
            self._buffer += data
        else:
            self._buffer = data
        while self.head is None:
            end = self._end_of_head()
            if end is None:
                return b""
            block = bytes(self._buffer[:end])
            self._buffer = self._buffer[end + 4 :]
            self._searched = 0
            fault = self._read_head(block)
            if fault is not None:
                self._fail(*fault)
                return b""
            if self.head is None and not self._buffer:
                return b""
        rest = bytes(self._buffer)
        self._buffer = b""
        if self.error is not None:
            return b""
        reader = self._reader
        assert reader is not None
        body = reader.receive_data(rest) if rest else b""
        if reader.stopped:
            self._body_stopped(reader)
        return body

    def _end_of_head(self) -> int | None:
        """Where the blank line of a whole head begins; None if it is incomplete (kept) or refused."""
        buffer = self._buffer
        if not buffer.startswith(_OPENING) and not _OPENING.startswith(buffer):
            self._fail("it does not begin with HTTP/", "bad_head")
            return None
        limit = self._limits.max_head
        searched = self._searched
        end = buffer.find(b"\r\n\r\n", max(searched - 3, 0), limit)
        # A bare LF would let a server that means it as a line end keep us waiting for a CR LF.
        stop = end if end >= 0 else min(len(buffer), limit)
        if buffer.count(b"\n", searched, stop) != buffer.count(b"\r\n", max(searched - 1, 0), stop):
            self._fail("a line ends in a bare LF", "bad_head")
            return None
        if end >= 0:
            return end
        if len(buffer) > limit:
            self._fail(f"it is larger than {limit} bytes", "head_too_large")
        self._searched = stop
        return None

    def _read_head(self, block: bytes) -> tuple[str, str] | None:
        """Take a head without its blank line; returns (message, code) of what is wrong with it."""
        status_line, _, fields = block.partition(b"\r\n")
        match = _STATUS_LINE.fullmatch(status_line)
        if match is None:
            return "its status line is malformed", "bad_head"
        version, status = match[1].decode(), int(match[2])
        if version not in ("1.1", "1.0"):
            return f"HTTP version {version} is neither 1.1 nor 1.0", "bad_version"
        if not 100 <= status <= 599 or status == 101:
            return f"status {status} is not the answer to this request", "bad_status"
        headers = _parse_fields(fields)
        if headers is None:
            return "a header field is malformed", "bad_head"
        if len(headers) > self._limits.max_headers:
            return f"it has more than {self._limits.max_headers} header fields", "too_many_headers"
        lengths: set[str] = set()
        codings: list[str] = []
        connection = ""
        content_coding = ""
        keep_alive = ""
        for name, value in headers:
            if name not in _HOP_FIELDS:
                continue
            if name == "content-length":
                lengths.update(part.strip(" \t") for part in value.split(","))
            elif name == "transfer-encoding":
                codings.append(value)
            elif name == "connection":
                connection = f"{connection},{value}"
            elif name == "content-encoding":
                content_coding = f"{content_coding},{value}"
            else:
                keep_alive = f"{keep_alive},{value}"
        if len(lengths) > 1 or not all(_LENGTH.fullmatch(length) for length in lengths):
            return "its Content-Length is malformed or contradicts itself", "bad_framing"
        if len(codings) > 1 or (codings and codings[0].lower() != "chunked"):
            return "its Transfer-Encoding is not plain chunked", "bad_framing"
        if status < 200:
            self.informational += 1
            if self.informational > self._limits.max_informational:
                return f"there were more than {self._limits.max_informational} before it", "too_many_informational"
            return None
        self.head = ResponseHead(status, headers, version, match[3].decode("latin-1") if match[3] else "")
        if status in (204, 304) or self._method == "HEAD" or (self._method == "CONNECT" and status < 300):
            self._reader = LengthReader(0)
        elif codings:
            self.framing = "chunked"
            self._reader = ChunkedReader(self._limits)
        elif lengths:
            self.framing = "length"
            self._reader = LengthReader(int(lengths.pop()))
        else:
            self.framing = "close"
            self._reader = CloseReader()
        # Both lengths at once is how requests are smuggled (RFC 9112 section 6.3): read it, never reuse the connection.
        self.keep_alive = version == "1.1" and "close" not in _tokens(connection) and not (codings and len(lengths) > 0)
        if keep_alive and (promised := _KEEP_ALIVE_TIMEOUT.search(keep_alive)):
            self.keep_alive_timeout = float(promised[1])
        if self.framing != "none" and _tokens(content_coding) - {"identity"}:
            self.error = LLMProtocolError(
                "the server sent a compressed reply though identity was asked for", code="coded_reply"
            )
        return None

    def _fail(self, message: str, code: str) -> None:
        self._buffer = b""
        self.error = LLMProtocolError(f"the response head is refused: {message}", code=code)


_TCHAR: Final = "-!#$%&'*+.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
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
_STATUS_LINE = re.compile(rb"HTTP/([0-9]\.[0-9]) ([0-9]{3})(?: ([^\x00\n\r\x0b\x0c]*))?")
_HOP_FIELDS: Final = frozenset(("connection", "content-encoding", "content-length", "keep-alive", "transfer-encoding"))
#: As many digits as h11 takes.
_LENGTH = re.compile(r"[0-9]{1,20}")
_KEEP_ALIVE_TIMEOUT = re.compile(r"(?:^|[,;])[ \t]*timeout[ \t]*=[ \t]*\"?([0-9]{1,9})(?![0-9])", re.IGNORECASE)
_FOLD = re.compile(rb"\r\n[ \t]+")


def _check_header(name: str, value: str | Secret) -> None:
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


def _render_through_h11(head: RequestHead, proxy: Proxy | None) -> memoryview | None:
    """The head up to Content-Length, or None if h11 refuses it: its error would carry the values in its frames."""
    import h11

    target = head.target if proxy is None else f"http://{head.origin.authority}{head.target}"
    fields: list[tuple[str, str]] = [("Host", head.origin.authority)]
    fields += [(name, value if isinstance(value, str) else value.reveal()) for name, value in head.headers]
    if proxy is not None and proxy.authorization is not None:
        fields.append(("Proxy-Authorization", proxy.authorization.reveal()))
    fields += [("Accept-Encoding", "identity"), ("Content-Length", "0")]
    try:
        request = h11.Request(method=head.method, target=target, headers=fields)
        wire = h11.Connection(h11.CLIENT).send(request)
    except h11.LocalProtocolError:
        return None
    return memoryview(wire.removesuffix(b"Content-Length: 0\r\n\r\n"))


def _parse_fields(block: bytes) -> ResponseHeaders | None:
    """Header fields (RFC 9112 section 5) without the blank line; None if any is malformed."""
    if not block:
        return ()
    if b"\r\n " in block or b"\r\n\t" in block:
        # obs-fold, which a user agent must replace by a space (RFC 9112 section 5.2).
        block = _FOLD.sub(b" ", block)
    lines = block.decode("latin-1").split("\r\n")
    if (
        block.count(b"\r") != len(lines) - 1
        or block.count(b"\n") != len(lines) - 1
        or b"\0" in block
        or b"\v" in block
        or b"\f" in block
    ):
        return None
    fields = []
    for line in lines:
        name, colon, value = line.partition(":")
        # Stripping every token character leaves nothing of a token; a fold before the first field fails here.
        if not colon or not name or name.strip(_TCHAR):
            return None
        fields.append((name.lower(), value.strip(" \t")))
    return tuple(fields)


def _tokens(value: str) -> set[str]:
    """The members of a comma-separated list, lower-case."""
    return {part for piece in value.lower().split(",") if (part := piece.strip(" \t"))} if value else set()
