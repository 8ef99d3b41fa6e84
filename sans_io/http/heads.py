"""The strict parser of response heads (RFC 9112 section 4 and 5), a pure function from one whole head to its meaning.

Rules of this file:
- What h11 refuses is refused here, and both read alike what both accept: a differential test ensures this.
- Stricter than h11: HTTP/1.0 and 1.1 only, status 100 to 599, no switching of protocols, CR LF only.
- It decides nothing about reuse beyond what the head itself says (`keep_alive`).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")

#: Header fields received: lower-case names, values decoded as latin-1, in order.
ResponseHeaders: TypeAlias = tuple[tuple[str, str], ...]


class ResponseHead:
    """Status line and header fields of a response. `http_version` is "1.1" or "1.0".

    Fields may be given as the text of their lines: they are taken apart when they are first looked at, which most
    callers never do, and that saves 35 k instructions of a plain call.
    """

    __slots__ = ("_fields", "http_version", "reason", "status")

    def __init__(
        self, status: int, headers: ResponseHeaders | str, http_version: str = "1.1", reason: str = ""
    ) -> None:
        self.status = status
        self._fields = headers
        self.http_version = http_version
        self.reason = reason

    @property
    def headers(self) -> ResponseHeaders:
        fields = self._fields
        if isinstance(fields, str):
            fields = self._fields = _parse_fields(fields.split("\r\n")) or ()
        return fields

    def first(self, name: str) -> str | None:
        """The first value of the field with this lower-case name, or None."""
        for known, value in self.headers:
            if known == name:
                return value
        return None

    def read(self, find: Callable[[ResponseHeaders], T]) -> T:
        """What `find` reads from the fields."""
        return find(self.headers)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ResponseHead) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        return f"ResponseHead({self.status}, {self.headers!r}, {self.http_version!r}, {self.reason!r})"

    def _key(self) -> tuple[object, ...]:
        return (self.status, self.headers, self.http_version, self.reason)


class ParsedHead(NamedTuple):
    """A head and what it says of the message.

    `length` is None without Content-Length; `coded`: a content coding other than identity; `keep_alive_timeout`: what
    the server promised, in seconds; `media_type`: lower-case, without parameters, "" if none is named.
    """

    head: ResponseHead
    chunked: bool
    length: int | None
    coded: bool
    keep_alive: bool
    keep_alive_timeout: float | None
    media_type: str


class HeadFault(NamedTuple):
    """Why a head is refused: a clause for people, and the code of the error."""

    message: str
    code: str


def parse_response_head(block: bytes, max_headers: int) -> ParsedHead | HeadFault:
    """`block` is one head up to its blank line, without the CR LF CR LF."""
    text = block.decode("latin-1")
    end = text.find("\r\n")
    if _PLAIN_FIELDS.fullmatch(text, end) and text.count("\n") <= max_headers:
        line = text[:end]
        status_line = _short_status_line(line) if end <= _MAX_SHORT else _status_line(line)
        if not isinstance(status_line, HeadFault):
            version, status, reason = status_line
            return _meaning(ResponseHead(status, text, version, reason), _TELLING_FIELDS.findall(text.lower(), end))
    return _parse_any(block, text, max_headers)


def _parse_any(block: bytes, text: str, max_headers: int) -> ParsedHead | HeadFault:
    """The reference, with which the shortcut above must agree (a differential test ensures this)."""
    lines = text.split("\r\n")
    if block.count(b"\n") != len(lines) - 1:
        return BARE_LINE_FEED
    status_line = _short_status_line(lines[0]) if len(lines[0]) <= _MAX_SHORT else _status_line(lines[0])
    if isinstance(status_line, HeadFault):
        return status_line
    version, status, reason = status_line
    # Of CR, LF, NUL, VT and FF a field value may hold none (h11; RFC 9110 section 5.5 names the first three).
    if block.count(b"\r") != len(lines) - 1 or "\0" in text or "\v" in text or "\f" in text:
        return _MALFORMED
    headers = _parse_fields(lines)
    if headers is None:
        return _MALFORMED
    if len(headers) > max_headers:
        return HeadFault(f"it has more than {max_headers} header fields", "too_many_headers")
    return _meaning(ResponseHead(status, headers, version, reason), headers)


def _meaning(head: ResponseHead, fields: Sequence[tuple[str, str]]) -> ParsedHead | HeadFault:
    """`fields` are those of the head, at least all that tell of the message."""
    found: dict[str, str] = {}
    for name, value in fields:
        if name in _CONNECTION_FIELDS:
            bare = value.strip(" \t")
            found[name] = f"{found[name]},{bare}" if name in found else bare
    length = _content_length(found["content-length"]) if "content-length" in found else None
    if length == _CONTRADICTION:
        return HeadFault("its Content-Length is malformed or contradicts itself", "bad_framing")
    chunked = "transfer-encoding" in found
    if chunked and found["transfer-encoding"].lower() != "chunked":
        return HeadFault("its Transfer-Encoding is not plain chunked", "bad_framing")
    coding = found.get("content-encoding", "")
    promised = _KEEP_ALIVE_TIMEOUT.search(found["keep-alive"]) if "keep-alive" in found else None
    return ParsedHead(
        head,
        chunked,
        length,
        coding != "" and not _members(coding) <= {"identity"},
        head.http_version == "1.1" and not ("connection" in found and "close" in _members(found["connection"])),
        float(promised[1]) if promised else None,
        media_type(fields),
    )


def media_type(fields: Sequence[tuple[str, str]]) -> str:
    """What `Content-Type` says, lower-case and without parameters; "" without one."""
    for name, value in fields:
        if name == "content-type":
            return value.partition(";")[0].strip().lower()
    return ""


#: A bare LF as a line end is allowed to be accepted (RFC 9112 section 2.2) and refused here: whoever disagrees about
#: the end of a line disagrees about the end of the head.
BARE_LINE_FEED: Final = HeadFault("a line ends in a bare LF", "bad_head")
_MALFORMED: Final = HeadFault("a header field is malformed", "bad_head")
_STATUS_LINE = re.compile(r"HTTP/([0-9]\.[0-9]) ([0-9]{3})(?: ([^\x00\n\r\x0b\x0c]*))?")
_TCHAR: Final = "-!#$%&'*+.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_CONNECTION_FIELDS: Final = frozenset(
    ("connection", "content-encoding", "content-length", "keep-alive", "transfer-encoding")
)
#: The fields of a plain head, which nearly all are: whole lines, no folding, no control characters (not even a tab).
_PLAIN_FIELDS = re.compile(r"(?:\r\n[-!#$%&'*+.^_`|~0-9A-Za-z]++:[ -\xff]*+)*+")
_TELLING_FIELDS = re.compile(
    r"\n(connection|content-encoding|content-length|content-type|keep-alive|transfer-encoding):([^\r]*)"
)
_CONTRADICTION: Final = -1
#: As many digits as h11 takes.
_MAX_LENGTH_DIGITS: Final = 20
_KEEP_ALIVE_TIMEOUT = re.compile(r"(?:^|[,;])[ \t]*timeout[ \t]*=[ \t]*\"?([0-9]{1,9})(?![0-9])", re.IGNORECASE)


def _status_line(line: str) -> tuple[str, int, str] | HeadFault:
    """(version, status, reason)."""
    match = _STATUS_LINE.fullmatch(line)
    if match is None:
        return HeadFault("its status line is malformed", "bad_head")
    version, status = match[1], int(match[2])
    if version not in ("1.1", "1.0"):
        return HeadFault(f"HTTP version {version} is neither 1.1 nor 1.0", "bad_version")
    if not 100 <= status <= 599 or status == 101:
        return HeadFault(f"status {status} is not a valid reply to this request", "bad_status")
    return version, status, match[3] or ""


def _parse_fields(lines: list[str]) -> ResponseHeaders | None:
    """The fields in `lines` after the first one; None if any is malformed."""
    fields: list[tuple[str, str]] = []
    for line in lines[1:]:
        name, _, value = line.partition(":")
        # Without a colon the name is the whole line; keep the two apart.
        lower = _short_field_name(name) if len(name) <= _MAX_SHORT else _field_name(name)
        if lower is None or len(name) == len(line):
            if line[:1] in (" ", "\t") and fields:
                return _parse_fields(_unfolded(lines))
            return None
        fields.append((lower, value.strip(" \t")))
    return tuple(fields)


def _unfolded(lines: list[str]) -> list[str]:
    """obs-fold, which a user agent must replace by a space (RFC 9112 section 5.2)."""
    whole: list[list[str]] = []
    for line in lines:
        if line[:1] in (" ", "\t"):
            whole[-1].append(line.lstrip(" \t"))
        else:
            whole.append([line])
    return [" ".join(parts) for parts in whole]


def _field_name(name: str) -> str | None:
    """`name` in lower case; None if it is no token (RFC 9110 section 5.6.2)."""
    return None if not name or name.strip(_TCHAR) else name.lower()


#: A server's status lines and field names are a few dozen, and checking them costs more than all else in a head.
#: Bounded: texts of at most 40 characters, 512 names and 64 lines.
_MAX_SHORT: Final = 40
_short_field_name = lru_cache(maxsize=512)(_field_name)
_short_status_line = lru_cache(maxsize=64)(_status_line)


def _content_length(value: str) -> int:
    """The length, given once or repeated alike (RFC 9110 section 8.6); else _CONTRADICTION."""
    if "," in value:
        lengths = {part.strip(" \t") for part in value.split(",")}
        value = lengths.pop()
        if lengths:
            return _CONTRADICTION
    return int(value) if value.isascii() and value.isdigit() and len(value) <= _MAX_LENGTH_DIGITS else _CONTRADICTION


def _members(value: str) -> set[str]:
    """The members of a comma-separated list, lower-case."""
    return {member for part in value.lower().split(",") if (member := part.strip(" \t"))}
