"""URLs: the one parser for connect, Host and SNI; joining paths to a base URL; one name as one path segment.

Rules of this file:
- Anything doubtful is refused with an `LLMBadRequestError` naming the argument; a URL is never shown in an error, since
  it may hold credentials.
- A URL is never repaired: what is accepted is sent as written, except for the case of scheme and host, the form of an
  IPv6 address, and slashes at the end of the base path.
- ASCII only (a host in another script is written in its `xn--` form, RFC 5890): two parsers that map characters
  differently would connect to one host and verify another.
"""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final, NamedTuple
from urllib.parse import quote, urlsplit

from ..errors import LLMBadRequestError

DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class Origin(NamedTuple):
    """Scheme, host and port. `host` is a lower-case ASCII name or an IP address without brackets.

    The same `host` is dialled, verified against the certificate and sent in `Host`.
    """

    scheme: str
    host: str
    port: int

    @property
    def authority(self) -> str:
        """`host[:port]` as in a Host field (RFC 9110 section 7.2): IPv6 bracketed, the default port left out."""
        if self.port == DEFAULT_PORTS.get(self.scheme):
            return self.bracketed_host
        return f"{self.bracketed_host}:{self.port}"

    @property
    def bracketed_host(self) -> str:
        """`host`, an IPv6 address in brackets."""
        return f"[{self.host}]" if ":" in self.host else self.host

    @property
    def is_loopback(self) -> bool:
        """Whether the host is this machine: localhost (RFC 6761), 127.0.0.0/8, ::1, or the unspecified address."""
        return is_loopback_host(self.host)

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}"


class BaseURL(NamedTuple):
    """A checked base URL: `path` is "" or begins with "/" and does not end with one; `query` has no "?"."""

    origin: Origin
    path: str
    query: str

    def target(self, path: str) -> str:
        """The origin-form request target for `path` below this URL.

        "chat/completions" and "/chat/completions" mean the same. A query on `path` follows the base URL's own. Names
        inside `path` must have gone through `path_segment()`.
        """
        path, _, query = path.partition("?")
        joined = f"{self.path}/{path.lstrip('/')}" if path else self.path or "/"
        both = "&".join(part for part in (self.query, query) if part)
        return f"{joined}?{both}" if both else joined

    def parameter(self, name: str) -> str | None:
        """The value of a parameter of the query, as written; None if there is none of that name."""
        for pair in self.query.split("&"):
            key, _, value = pair.partition("=")
            if key == name:
                return value
        return None

    @property
    def shown(self) -> str:
        """The URL for a repr: some servers take the key in the query."""
        return f"{self.origin}{self.path}" + ("?***" if self.query else "")

    def __repr__(self) -> str:
        return f"BaseURL({self.shown})"

    def __str__(self) -> str:
        return f"{self.origin}{self.path}" + (f"?{self.query}" if self.query else "")


def parse_base_url(text: str, what: str = "base_url") -> BaseURL:
    """Check and take apart an absolute http(s) URL. Raises `LLMBadRequestError` naming `what`.

    Refused: other schemes, user information, fragments, backslashes, white space, control and non-ASCII characters,
    ports outside 1-65535, IPv4 addresses in any but the dotted-decimal form, IPv6 zones, "." and ".." and empty path
    segments, characters that RFC 3986 wants percent-encoded, and the address of an endpoint (".../chat/completions").
    """
    if not isinstance(text, str):
        raise LLMBadRequestError(f"{what} must be a string, not {type(text).__name__}")
    if not text:
        raise LLMBadRequestError(f"{what} is empty")
    if not text.isascii():
        raise LLMBadRequestError(
            f"{what} contains a non-ASCII character: write the host in its xn-- form and percent-encode the path"
        )
    if not text.isprintable() or " " in text or "\\" in text:
        raise LLMBadRequestError(f"{what} contains white space, a control character or a backslash")
    if "#" in text:
        raise LLMBadRequestError(f"{what} must not have a fragment (#)")
    if not _SCHEME.match(text):
        raise LLMBadRequestError(f"{what} must begin with http:// or https://")
    try:
        parts = urlsplit(text)
    except ValueError:
        raise LLMBadRequestError(f"{what} is not a URL: its host is malformed") from None
    if "@" in parts.netloc:
        raise LLMBadRequestError(f"{what} must not contain credentials (user:password@); pass them separately")
    host, port = _host_and_port(parts.netloc, DEFAULT_PORTS[parts.scheme], what)
    path = _checked_path(parts.path, what)
    for ending in _ENDPOINTS:
        if path.endswith(ending):
            raise LLMBadRequestError(
                f"{what} ends in {ending}, which the client adds by itself: leave it out", code="invalid_argument"
            )
    return BaseURL(Origin(parts.scheme, host, port), path, _checked_query(parts.query, what))


def path_segment(text: str, what: str) -> str:
    """`text` percent-encoded so that it is exactly one path segment, whatever it contains.

    Raises `LLMBadRequestError` naming `what` for "", ".", "..", control and non-ASCII characters.
    """
    if not isinstance(text, str):
        raise LLMBadRequestError(f"{what} must be a string, not {type(text).__name__}")
    if text in ("", ".", ".."):
        raise LLMBadRequestError(f'{what} must not be empty, "." or ".."')
    if not text.isascii() or not text.isprintable():
        raise LLMBadRequestError(f"{what} contains a control or non-ASCII character; it is not shown here")
    return quote(text, safe="")


def parse_host(text: str, what: str) -> str:
    """A host as written in a URL (IPv6 in brackets) in its one form, brackets removed.

    Raises `LLMBadRequestError` naming `what` if it is neither a DNS name nor an IP address.
    """
    if text.startswith("["):
        try:
            # A zone (fe80::1%eth0) means something on one machine only and has no place in Host or SNI (RFC 6874).
            if not text.endswith("]") or "%" in text:
                raise AddressValueError
            return _written(IPv6Address(text[1:-1]))
        except AddressValueError:
            raise LLMBadRequestError(f"{what} has a malformed IPv6 address") from None
    host = text.lower()
    if not host:
        raise LLMBadRequestError(f"{what} has no host")
    if len(host) > 253 or not _HOST.fullmatch(host):
        raise LLMBadRequestError(f"{what} has a malformed host name")
    if _NUMBER.fullmatch(host.rpartition(".")[2]):
        # The system's resolver reads 127.1, 0x7f.1 and 2130706433 as addresses, a certificate check does not.
        try:
            return str(IPv4Address(host))
        except AddressValueError:
            raise LLMBadRequestError(f"{what} has a malformed IPv4 address: write it as four decimal numbers") from None
    return host


def parse_port(text: str, what: str) -> int:
    """A port, 1-65535, from ASCII digits. Raises `LLMBadRequestError` naming `what`."""
    if _PORT.fullmatch(text) and 1 <= int(text) <= 65535:
        return int(text)
    raise LLMBadRequestError(f"{what} has a malformed port: it must be a number from 1 to 65535")


def is_loopback_host(host: str) -> bool:
    """Whether `host` (as in `Origin.host`) is this machine."""
    if ":" in host:
        six = IPv6Address(host)
        address: IPv4Address | IPv6Address = six.ipv4_mapped or six
        return address.is_loopback or address.is_unspecified
    if _NUMBER.fullmatch(host.rpartition(".")[2]):
        four = IPv4Address(host)
        return four.is_loopback or four.is_unspecified
    return host == "localhost" or host.endswith(".localhost")


def _written(address: IPv6Address) -> str:
    """As browsers write it (WHATWG URL). CPython from 3.13 on writes the last part of ::ffff:1.2.3.4 with dots."""
    four = address.ipv4_mapped
    return f"::ffff:{int(four) >> 16:x}:{int(four) & 0xFFFF:x}" if four else str(address)


#: Endpoints that people paste together with where the API begins.
_ENDPOINTS: Final = (
    "/chat/completions", "/completions", "/responses", "/embeddings", "/v1/messages", "/v1/models", "/api/chat",
    "/api/generate",
)  # fmt: skip
_SCHEME = re.compile(r"https?://", re.IGNORECASE)
#: LDH labels (RFC 1123 section 2.1), with the underscore that container networks use; 63 characters each.
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
#: A last label that makes a resolver take the whole host for an IPv4 address (WHATWG URL, "ends in a number").
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_PORT = re.compile(r"[0-9]{1,5}")
_PCHAR = r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@]|%[0-9A-Fa-f]{2})"
_PATH = re.compile(rf"(?:/{_PCHAR}+)*")
_QUERY = re.compile(rf"(?:{_PCHAR}|[/?])*")
_DOTS = re.compile(r"/(?:\.|%2[eE]){1,2}(?=/|$)")


def _host_and_port(netloc: str, default_port: int, what: str) -> tuple[str, int]:
    if netloc.startswith("["):
        host, bracket, rest = netloc.partition("]")
        host += bracket
    else:
        host, colon, rest = netloc.partition(":")
        rest = colon + rest
    if not rest:
        return parse_host(host, what), default_port
    if not rest.startswith(":"):
        raise LLMBadRequestError(f"{what} has a malformed host name")
    return parse_host(host, what), parse_port(rest[1:], what)


def _checked_path(path: str, what: str) -> str:
    path = path.rstrip("/")
    if _DOTS.search(path):
        raise LLMBadRequestError(f'{what} must not have "." or ".." in its path')
    if not _PATH.fullmatch(path):
        raise LLMBadRequestError(f"{what} has an empty segment or a character in its path that must be percent-encoded")
    return path


def _checked_query(query: str, what: str) -> str:
    if not _QUERY.fullmatch(query):
        raise LLMBadRequestError(f"{what} has a character in its query that must be percent-encoded")
    return query
