"""Requests as a cassette shows them: read from the bytes that were sent, without their credentials."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from .entries import RecordedRequest
from .masking import HIDDEN, SHORTEST, without

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Request fields whose values say nothing about who asks.
_KEPT: Final = frozenset(
    {
        "host", "content-type", "content-length", "accept", "accept-encoding", "user-agent", "connection", "expect",
        "transfer-encoding", "anthropic-version", "anthropic-beta",
    }
)  # fmt: skip
#: Names of query parameters and response fields that carry credentials.
_TELLING: Final = re.compile(r"(?i)key|token|secret|password|sig|auth|cookie|credential")
_KEPT_QUERY: Final = frozenset({"api-version", "alt", "beta", "limit", "after_id", "before_id"})


def recorded_request(sent: bytes, known: Iterable[str] = ()) -> RecordedRequest | None:
    """The request in these bytes without its credentials; None if there is no whole head."""
    head, blank, body = sent.partition(b"\r\n\r\n")
    if not blank:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ", 2)
    pairs = [(name.strip().lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    secrets = {*known, *credentials_in(sent)}
    headers = tuple((name, without(value, secrets) if name in _KEPT else HIDDEN) for name, value in pairs)
    shown = without(body.decode("latin-1"), secrets).encode("latin-1")
    return RecordedRequest(method, without(_without_keys(target), secrets), headers, shown)


def credentials_in(sent: bytes) -> set[str]:
    """Every value of a request's head that may be a credential, without its scheme (`Bearer`)."""
    head = sent.partition(b"\r\n\r\n")[0].decode("latin-1")
    first, *lines = head.split("\r\n")
    found: set[str] = set()
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip().lower() not in _KEPT:
            found |= {value.strip(), value.strip().rpartition(" ")[2]}
    for name, value in _parameters(first.split(" ")[1] if " " in first else ""):
        if name not in _KEPT_QUERY and _TELLING.search(name):
            found.add(value)
    return {value for value in found if len(value) >= SHORTEST}


def _parameters(target: str) -> list[tuple[str, str]]:
    query = target.partition("?")[2]
    return [(name, value) for name, _, value in (part.partition("=") for part in query.split("&"))]


def _without_keys(target: str) -> str:
    path, mark, _ = target.partition("?")
    shown = [
        f"{name}={HIDDEN if name not in _KEPT_QUERY and _TELLING.search(name) else value}"
        for name, value in _parameters(target)
    ]
    return f"{path}?{'&'.join(shown)}" if mark else path
