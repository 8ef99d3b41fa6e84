"""Where a text spells a credential: as it is, quoted, escaped or in base64, whole or cut.

    text ──undo escapes──> plain ──undo escapes──> ...      each is searched for each spelling; what is found is mapped
                                                            back to where it stands in the text

Rules of this file:
- It only says where; the caller does the rest. No regular expression is made of a credential: the standard library
  would cache it.
- Linear in the length of the text, whatever it contains.
"""

from __future__ import annotations

import re
from binascii import b2a_base64
from bisect import bisect_right
from typing import Final, TypeAlias
from urllib.parse import quote

#: How many levels of escapes are undone: JSON in a string of JSON, quoted in a URL.
_LEVELS: Final = 3
#: A shorter credential in base64 is sought by itself only: a part of it might stand in any word.
_LONG: Final = 8
#: One character as JSON, Python, a URL or HTML may write it.
_ESCAPE: Final = re.compile(
    r"\\u([0-9A-Fa-f]{4})|\\x([0-9A-Fa-f]{2})|\\([\\/\"'])|%([0-9A-Fa-f]{2})|&#[xX]([0-9A-Fa-f]{1,6});|&#([0-9]{1,7});"
    r"|&(amp|quot|apos|lt|gt);"
)
_ENTITIES: Final = {"amp": "&", "quot": '"', "apos": "'", "lt": "<", "gt": ">"}

Place: TypeAlias = tuple[int, int]


def places(text: str, credential: str, shortest: int) -> list[Place]:
    """Start and end of each spelling of the credential, or of a beginning of one with `shortest` characters or more.

    In order; they may touch, and never overlap.
    """
    words = spellings(credential)
    found: list[Place] = []
    plain = text
    levels: list[_Undone] = []
    while True:
        for word in words:
            for start, end in _starts(plain, word, min(shortest, len(word))):
                for level in reversed(levels):
                    start, end = level.place(start), level.place(end)  # noqa: PLW2901
                found.append((start, end))
        if len(levels) == _LEVELS or _ESCAPE.search(plain) is None:
            break
        levels.append(_Undone(plain))
        plain = levels[-1].plain
        words |= {_Undone(word).plain for word in words}  # what looks like an escape may be a part of it
    merged: list[Place] = []
    for start, end in sorted(found):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def spellings(credential: str) -> set[str]:
    """As it is, quoted for a URL, and in base64: by itself and as a part of something longer."""
    raw = credential.encode("latin-1", "replace")
    found = {credential, quote(credential, safe=""), quote(credential), b2a_base64(raw, newline=False).decode()}
    if len(raw) >= _LONG:
        for before in range(3):
            encoded = b2a_base64(b"\0" * before + raw, newline=False).decode()
            # The characters at the ends are made of its neighbours too.
            inner = encoded[before and before + 1 : (before + len(raw)) * 8 // 6]
            found |= {inner, inner.replace("+", "-").replace("/", "_")}
    return found


def _starts(text: str, word: str, shortest: int) -> list[Place]:
    """Where the word stands, or begins with so many characters. They may overlap."""
    found: list[Place] = []
    head = word[:shortest]
    at = text.find(head)
    while at >= 0:
        if text.startswith(word, at):
            end = after = at + len(word)
        else:
            fits, fails = shortest, len(word)
            while fails - fits > 1:
                middle = (fits + fails) // 2
                fits, fails = (middle, fails) if text.startswith(word[:middle], at) else (fits, middle)
            end, after = at + fits, at + 1
        found.append((at, end))
        at = text.find(head, after)
    return found


class _Undone:
    """A text with its escapes undone once. `plain` is what they stand for."""

    __slots__ = ("_from", "_to", "plain")

    def __init__(self, text: str) -> None:
        pieces: list[str] = []
        #: Behind each escape: the place in `plain`, and in the text.
        self._from, self._to = [0], [0]
        size = last = 0
        for escape in _ESCAPE.finditer(text):
            pieces += [text[last : escape.start()], _character(escape)]
            size += escape.start() - last + 1
            last = escape.end()
            self._from.append(size)
            self._to.append(last)
        pieces.append(text[last:])
        self.plain = "".join(pieces)

    def place(self, at: int) -> int:
        """Where in the text that is which stands in `plain` at this place."""
        mark = bisect_right(self._from, at) - 1
        return self._to[mark] + at - self._from[mark]


def _character(escape: re.Match[str]) -> str:
    wide, byte, plain, percent, sixteen, ten, name = escape.groups()
    if plain:
        return plain
    if name:
        return _ENTITIES[name]
    number = int(ten) if ten else int(wide or byte or percent or sixteen, 16)
    return chr(number) if number < 0x110000 else "\ufffd"
