"""The strict parser of response heads (RFC 9112 section 4 and 5), a pure function from one whole head to its meaning.

Rules of this file:
- What h11 refuses is refused here, and what both accept they read alike: a differential test holds this.
- Stricter than h11: HTTP/1.0 and 1.1 only, status 100 to 599, no switching of protocols, CR LF only.
- It decides nothing about reuse beyond what the head itself says (`keep_alive`).
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple, TypeAlias

#: Header fields received: lower-case names, values decoded as latin-1, in order.
ResponseHeaders: TypeAlias = tuple[tuple[str, str], ...]


class ResponseHead(NamedTuple):
    """Status line and header fields of a response. `http_version` is "1.1" or "1.0"."""

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


class ParsedHead(NamedTuple):
    """A head and what it says of the message: `length` is None without Content-Length, `coding` the content codings
    other than identity ("" for none), `keep_alive_timeout` what the server promised, in seconds."""

    head: ResponseHead
    chunked: bool
    length: int | None
    coding: str
    keep_alive: bool
    keep_alive_timeout: float | None


class HeadFault(NamedTuple):
    """Why a head is refused: a clause for people and the error's code."""

    message: str
    code: str


def parse_response_head(block: bytes, max_headers: int) -> ParsedHead | HeadFault:
    """`block` is one head up to its blank line, without the CR LF CR LF, holding no bare LF."""
    status_line, _, fields = block.partition(b"\r\n")
    match = _STATUS_LINE.fullmatch(status_line)
    if match is None:
        return HeadFault("its status line is malformed", "bad_head")
    version, status = match[1].decode(), int(match[2])
    if version not in ("1.1", "1.0"):
        return HeadFault(f"HTTP version {version} is neither 1.1 nor 1.0", "bad_version")
    if not 100 <= status <= 599 or status == 101:
        return HeadFault(f"status {status} is no answer to this request", "bad_status")
    headers = _parse_fields(fields)
    if headers is None:
        return HeadFault("a header field is malformed", "bad_head")
    if len(headers) > max_headers:
        return HeadFault(f"it has more than {max_headers} header fields", "too_many_headers")
    lengths: set[str] = set()
    codings: list[str] = []
    connection = content_coding = keep_alive = ""
    for name, value in headers:
        if name not in _CONNECTION_FIELDS:
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
        return HeadFault("its Content-Length is malformed or contradicts itself", "bad_framing")
    if len(codings) > 1 or (codings and codings[0].lower() != "chunked"):
        return HeadFault("its Transfer-Encoding is not plain chunked", "bad_framing")
    promised = _KEEP_ALIVE_TIMEOUT.search(keep_alive) if keep_alive else None
    return ParsedHead(
        ResponseHead(status, headers, version, match[3].decode("latin-1") if match[3] else ""),
        bool(codings),
        int(lengths.pop()) if lengths else None,
        ", ".join(sorted(_members(content_coding) - {"identity"})),
        version == "1.1" and "close" not in _members(connection),
        float(promised[1]) if promised else None,
    )


_STATUS_LINE = re.compile(rb"HTTP/([0-9]\.[0-9]) ([0-9]{3})(?: ([^\x00\n\r\x0b\x0c]*))?")
_FOLD = re.compile(rb"\r\n[ \t]+")
_TCHAR: Final = "-!#$%&'*+.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_CONNECTION_FIELDS: Final = frozenset(
    ("connection", "content-encoding", "content-length", "keep-alive", "transfer-encoding")
)
#: As many digits as h11 takes.
_LENGTH = re.compile(r"[0-9]{1,20}")
_KEEP_ALIVE_TIMEOUT = re.compile(r"(?:^|[,;])[ \t]*timeout[ \t]*=[ \t]*\"?([0-9]{1,9})(?![0-9])", re.IGNORECASE)


def _parse_fields(block: bytes) -> ResponseHeaders | None:
    """The header fields; None if any is malformed."""
    if not block:
        return ()
    if b"\r\n " in block or b"\r\n\t" in block:
        # obs-fold, which a user agent must replace by a space (RFC 9112 section 5.2).
        block = _FOLD.sub(b" ", block)
    lines = block.decode("latin-1").split("\r\n")
    if block.count(b"\r") != len(lines) - 1 or b"\0" in block or b"\v" in block or b"\f" in block:
        return None
    fields = []
    for line in lines:
        name, colon, value = line.partition(":")
        # Stripping every token character leaves nothing of a token; a fold before the first field fails here.
        if not colon or not name or name.strip(_TCHAR):
            return None
        fields.append((name.lower(), value.strip(" \t")))
    return tuple(fields)


def _members(value: str) -> set[str]:
    """The members of a comma-separated list, lower-case."""
    return {member for part in value.lower().split(",") if (member := part.strip(" \t"))} if value else set()
