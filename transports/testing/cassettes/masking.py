"""Taking credentials out of what was recorded, however they are spelled there and wherever they are cut.

    bytes of a reply ──> as they are
                     ├─> the body without its chunked framing
                     └─> the texts of one JSON key, event after event

Each is searched, and what is found there is starred in the bytes.

Rules of this file:
- Of what was sent, whole credentials become `***`. Of what came back also halves of them become stars, one for each
  byte, or its Content-Length would be a lie.
- Bytes are read as latin-1: one character for each, whatever they mean.
- A coded body (gzip) hides what it repeats, and no client reads it: all of it becomes stars.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import TYPE_CHECKING, Final

from sans_io.http.hiding import places

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

HIDDEN: Final = "***"
#: What is shorter is no credential but would be found in every other word ("1", "yes").
SHORTEST: Final = 4
#: A text in JSON under its key. Its pieces in the events of a stream are one text.
_TEXT: Final = re.compile(r'"([A-Za-z_]\w*+)"[ \t\r\n]*+:[ \t\r\n]*+"((?:[^"\\]|\\.)*+)"?', re.DOTALL)
_REPLY_FIELD: Final = re.compile(
    r"(?im)^((?:set-cookie2?|authorization|proxy-authorization|www-authenticate|x-api-key|api-key)[ \t]*:)([^\r\n]*)"
)

_CODED: Final = re.compile(r"(?im)^content-encoding[ \t]*:[ \t]*(?!identity[ \t]*\r?$)[^ \t\r\n]")

#: Where a stretch of characters begins and ends.
Span = tuple[int, int]


def without(text: str, secrets: Iterable[str]) -> str:
    """`text` with `***` for each credential."""
    for secret in sorted(_as_read(secrets), key=len, reverse=True):
        pieces: list[str] = []
        shown = 0
        for start, end in places(text, secret, len(secret)):
            pieces += [text[shown:start], HIDDEN]
            shown = end
        text = "".join(pieces) + text[shown:]
    return text


def starred(data: bytes, secrets: Iterable[str]) -> bytes:
    """The bytes of one reply, head included, with stars for credentials and for the values of telling fields."""
    text = data.decode("latin-1")
    body = _body_at(text)
    found = [field.span(2) for field in _REPLY_FIELD.finditer(text, 0, body)]
    if _CODED.search(text, 0, body):
        found += _chunks(text, body)[:-1] if _is_chunked(text, body) else [(body, len(text))]
    sought = _as_read(secrets)
    for view in _views(text, body):
        for secret in sought:
            half = max(8, (len(secret) + 1) // 2)
            for place in places(view.text, secret, min(half, len(secret))):
                found += view.spans(place)
    shown = bytearray(data)
    for start, end in found:
        shown[start:end] = b"*" * (end - start)
    return bytes(shown)


def _as_read(secrets: Iterable[str]) -> set[str]:
    """As they are, and as their UTF-8 reads here."""
    long = [secret for secret in secrets if len(secret) >= SHORTEST]
    return {*long, *(secret.encode("utf-8", "surrogatepass").decode("latin-1") for secret in long)}


class _View:
    """A text made of stretches of another one, and where they stand there."""

    __slots__ = ("_at", "_stretches", "text")

    def __init__(self, source: str, stretches: list[Span]) -> None:
        self.text = "".join(source[start:end] for start, end in stretches)
        self._stretches = stretches
        #: Where each stretch begins in `text`.
        self._at = [0]
        for start, end in stretches:
            self._at.append(self._at[-1] + end - start)

    def spans(self, place: Span) -> list[Span]:
        """The stretches of the other text that this stretch of ours is made of."""
        start, end = place
        found: list[Span] = []
        number = bisect_right(self._at, start) - 1
        while start < end:
            stop = min(end, self._at[number + 1])
            shift = self._stretches[number][0] - self._at[number]
            if start < stop:
                found.append((start + shift, stop + shift))
                start = stop
            number += 1
        return found


def _views(text: str, body: int) -> Iterator[_View]:
    yield _View(text, [(0, len(text))])
    content = _View(text, _chunks(text, body) if _is_chunked(text, body) else [(body, len(text))])
    yield content
    texts: dict[str, list[Span]] = {}
    for match in _TEXT.finditer(content.text):
        texts.setdefault(match[1], []).extend(content.spans(match.span(2)))
    for stretches in texts.values():
        if len(stretches) > 1:
            yield _View(text, stretches)


def _is_chunked(text: str, body: int) -> bool:
    return "chunked" in text[:body].lower()


def _body_at(text: str) -> int:
    """Where the body of a reply begins, after its informational responses."""
    at = 0
    while True:
        end = text.find("\r\n\r\n", at)
        if end < 0:
            return len(text)
        informational = text.startswith("1", at + len("HTTP/1.1 "))
        at = end + 4
        if not informational:
            return at


def _chunks(text: str, at: int) -> list[Span]:
    """The chunks of a chunked body, as far as it is one; then what is left."""
    found: list[Span] = []
    while True:
        line = text.find("\r\n", at)
        size = re.match(r"[0-9A-Fa-f]{1,16}", text[at:line]) if line >= 0 else None
        if size is None or int(size[0], 16) == 0:
            return [*found, (at, len(text))]
        end = min(line + 2 + int(size[0], 16), len(text))
        found.append((line + 2, end))
        at = min(end + 2, len(text))
