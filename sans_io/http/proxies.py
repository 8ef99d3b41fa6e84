"""Which proxy serves an origin: `*_PROXY` and `NO_PROXY` as pure functions over a given mapping.

Rules of this file:
- Nothing here reads the environment; the caller hands over a mapping and decides whether to trust it.
- Lower-case variables take precedence over upper-case ones, even if empty (as in urllib and curl); `HTTP_PROXY` is
  ignored where `REQUEST_METHOD` is set, since a web server makes it from the client's `Proxy:` field (CGI).
- This machine is never reached through a proxy from the environment; a proxy given explicitly is always used.
- A value that cannot be used is an error if it was passed in code, and is collected in `ignored` if it comes from the
  environment: a stray variable must not stop a program. Values are never shown, since they may hold a password.
"""

from __future__ import annotations

import re
from binascii import b2a_base64
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TypeAlias
from urllib.parse import unquote_to_bytes

from ..errors import LLMBadRequestError
from ..records import dataclass
from .secret import Secret
from .urls import Origin, parse_host, parse_port


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy. `authorization` is the whole value of its Proxy-Authorization field, or None."""

    host: str
    port: int
    authorization: Secret | None = None


@dataclass(frozen=True, slots=True)
class EnvironmentProxies:
    """What a mapping of variables says about proxies. `ignored`: one sentence for each variable that cannot be used."""

    http: Proxy | None
    https: Proxy | None
    no_proxy: str
    ignored: tuple[str, ...]

    def proxy_for(self, origin: Origin) -> Proxy | None:
        """The proxy for `origin`, None for a direct connection."""
        proxy = self.https if origin.scheme == "https" else self.http
        if proxy is None or origin.is_loopback or no_proxy_matches(origin, self.no_proxy):
            return None
        return proxy


def environment_proxies(environ: Mapping[str, str]) -> EnvironmentProxies:
    """Read `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy` (and upper case). Warn once about `ignored`."""
    ignored: list[str] = []
    proxies: list[Proxy | None] = []
    for scheme in ("http", "https"):
        name, value = _variable(environ, f"{scheme}_proxy")
        if not value:
            name, value = _variable(environ, "all_proxy")
        proxy = None
        if value:
            try:
                proxy = parse_proxy(value, name)
            except LLMBadRequestError as error:
                if error.message not in ignored:
                    ignored.append(error.message)
        proxies.append(proxy)
    return EnvironmentProxies(proxies[0], proxies[1], _variable(environ, "no_proxy")[1], tuple(ignored))


def proxy_for(origin: Origin, environ: Mapping[str, str]) -> Proxy | None:
    """The proxy that the variables in `environ` choose for `origin`, or None."""
    return environment_proxies(environ).proxy_for(origin)


def parse_proxy(url: str, what: str = "proxy") -> Proxy:
    """A proxy from `http://[user[:password]@]host[:port]`; the scheme may be left out, the port is 80 then as well.

    Raises `LLMBadRequestError` naming `what` for other schemes (https, socks), a path, query or fragment, and
    anything malformed. Percent-encoding in user and password is undone (RFC 3986 section 3.2.1).
    """
    if not isinstance(url, str):
        raise LLMBadRequestError(f"{what} must be a string, not {type(url).__name__}")
    url = url.strip(" ")
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise LLMBadRequestError(f"{what} contains white space, a backslash, a control or a non-ASCII character")
    scheme, separator, rest = url.partition("://")
    if not separator:
        scheme, rest = "http", url
    if scheme.lower() != "http":
        named = f"{scheme.lower()}:// proxies" if scheme.lower() in _OTHER_SCHEMES else "proxies of that scheme"
        raise LLMBadRequestError(
            f"{what}: {named} are not supported, only http:// ones (through which https:// servers are reached too)",
            code="unsupported_proxy",
        )
    rest = rest.removesuffix("/")
    if any(mark in rest for mark in "/?#"):
        raise LLMBadRequestError(f"{what} must not have a path, a query or a fragment")
    user, at, address = rest.rpartition("@")
    host, port = _host_and_port(address)
    if host is None:
        raise LLMBadRequestError(f"{what} has a malformed host")
    authorization = _basic(user, what) if at else None
    return Proxy(parse_host(host, what), parse_port(port, what) if port is not None else 80, authorization)


def no_proxy_matches(origin: Origin, no_proxy: str) -> bool:
    """Whether `no_proxy` (entries separated by commas or blanks) says to reach `origin` directly.

    An entry is `*` (everything), a name (that host and all below it; a leading "." or "*." changes nothing), an IP
    address, both with `:port` if meant for one port only, or a CIDR block. Blocks match addresses, never names:
    nothing is resolved here. Malformed entries match nothing.
    """
    address = _address(origin.host)
    return any(_entry_matches(entry, origin, address) for entry in _SEPARATORS.split(no_proxy) if entry)


_Address: TypeAlias = IPv4Address | IPv6Address
#: Named in an error; any other word before `://` may be a misplaced secret.
_OTHER_SCHEMES = frozenset({"https", "socks", "socks4", "socks4a", "socks5", "socks5h"})
_SEPARATORS = re.compile(r"[,\s]+")


def _variable(environ: Mapping[str, str], name: str) -> tuple[str, str]:
    """The variable's name as found and its value, "" for none."""
    if name in environ:
        return name, environ[name].strip()
    upper = name.upper()
    if upper == "HTTP_PROXY" and "REQUEST_METHOD" in environ:
        return upper, ""
    return upper, environ.get(upper, "").strip()


def _basic(userinfo: str, what: str) -> Secret:
    """The credentials of Basic authentication (RFC 7617)."""
    user, _, password = userinfo.partition(":")
    name, word = unquote_to_bytes(user), unquote_to_bytes(password)
    if b":" in name:
        raise LLMBadRequestError(f"{what} has a colon in its user name, which cannot be sent")
    if any(byte < 0x20 or byte == 0x7F for byte in name + word):
        raise LLMBadRequestError(f"{what} has a control character in its user name or password")
    return Secret("Basic " + b2a_base64(name + b":" + word, newline=False).decode(), what)


def _host_and_port(text: str) -> tuple[str | None, str | None]:
    """(host, port): the host as in a URL, None if malformed; the port None if there is none."""
    host, colon, port = text.partition(":")
    if text.startswith("["):
        host, bracket, rest = text.partition("]")
        host += bracket
        if rest and not rest.startswith(":"):
            return None, None
        colon, port = rest[:1], rest[1:]
    return host or None, port if colon else None


def _entry_matches(entry: str, origin: Origin, address: _Address | None) -> bool:
    if entry == "*":
        return True
    entry = entry.lower()
    if "/" in entry:
        return address is not None and _in_block(origin.host, entry)
    whole = _address(entry)
    if whole is not None:
        return whole == address
    host, port = _host_and_port(entry)
    if host is None or (port is not None and port != str(origin.port)):
        return False
    listed = _address(host[1:-1] if host.startswith("[") else host)
    if listed is not None or address is not None:
        return listed == address
    name = host.removeprefix("*").lstrip(".").rstrip(".")
    return bool(name) and (origin.host == name or origin.host.endswith(f".{name}"))


def _address(text: str) -> _Address | None:
    """The address that `text` is, IPv4-mapped ones as IPv4; None if it is a name."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address


def _in_block(host: str, entry: str) -> bool:
    """Whether an address is in a CIDR block, itself or as the IPv4 address it maps. IPv6 may stand in brackets."""
    network, slash, length = entry.partition("/")
    if network[:1] == "[" and network[-1:] == "]" and ":" in network:
        network = network[1:-1]
    elif network[:1] == "[" and length[-1:] == "]" and ":" in network:
        network, length = network[1:], length[:-1]
    try:
        block = ip_network(network + slash + length, strict=False)
    except ValueError:
        return False
    mapped = _address(host)
    return ip_address(host) in block or (mapped is not None and mapped in block)
