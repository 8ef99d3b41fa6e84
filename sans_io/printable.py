"""Text from a server, made safe to show: no control characters, no terminal escapes, no reordering, bounded."""

from __future__ import annotations

from typing import Final

from .errors import MAX_SERVER_TEXT

#: Characters that `str.isprintable` lets through or that change how the rest of the line is read (Unicode TR 36):
#: bidirectional controls and line separators.
_DANGEROUS: Final = frozenset("\u2028\u2029\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def printable(text: str, limit: int = MAX_SERVER_TEXT) -> str:
    """At most `limit` characters of `text`, white space folded, everything that could steer a terminal escaped."""
    folded = " ".join(text[: 4 * limit].split())
    shown = folded if folded.isprintable() and folded.isascii() else "".join(map(_escaped, folded))
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def _escaped(character: str) -> str:
    if character.isprintable() and character not in _DANGEROUS:
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
