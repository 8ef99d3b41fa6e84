"""`Secret`: a credential that only the header encoder can read.

Rules of this file:
- repr, str, format, hash-based prints and pickling never show the value; pickling drops it.
- `reveal()` is called by the header encoder in `http11` (and by a codec that must place a key elsewhere) and nowhere
  else; a test searches the tree for it.
"""

from __future__ import annotations

from binascii import b2a_base64
from typing import Final, NoReturn
from urllib.parse import quote

from .errors import LLMBadRequestError


class Secret:
    """A credential. `Secret("sk-...")`; equal secrets compare equal; usable as a dictionary key.

    Raises `LLMBadRequestError` for an empty value, CR, LF, NUL, other control characters or non-ASCII characters
    (RFC 9110 section 5.5 field values), without echoing the value. `what` names it in that error.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str, what: str = "api_key") -> None:
        if not isinstance(value, str):
            raise LLMBadRequestError(f"{what} must be a string, not {type(value).__name__}")
        if not value or value != value.strip():
            raise LLMBadRequestError(f"{what} is empty or begins or ends with white space")
        if not value.isascii() or not value.isprintable():
            raise LLMBadRequestError(f"{what} contains a control or non-ASCII character; it is not shown here")
        self._value = value

    def reveal(self) -> str:
        return self._value

    def bearer(self) -> Secret:
        """The same credential as the value of an `Authorization` field (RFC 6750 section 2.1)."""
        return Secret(f"Bearer {self._value}")

    @property
    def hidable(self) -> bool:
        """What is shorter than 12 characters is no credential that anybody would miss ("EMPTY", "ollama")."""
        return len(self._core) >= _HIDABLE

    @property
    def _core(self) -> str:
        return self._value.rpartition(" ")[2]

    def hide(self, text: str) -> str:
        """`text` with this credential replaced by `***`: raw, URL-quoted or in base64, whole or cut after 8 characters.

        Nothing happens if it is not `hidable`: words stay.
        """
        if not self.hidable:
            return text
        core = self._core
        in_base64 = b2a_base64(core.encode(), newline=False).decode()
        return _without(text, {core, quote(core, safe=""), quote(core), in_base64})

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return "Secret(***)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(("Secret", self._value))

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not pickled; give the key again where it is needed")


_HIDABLE: Final = 12
_SHOWN: Final = 8


def _without(text: str, spellings: set[str]) -> str:
    """Without the beginnings of any spelling of at least 8 characters: a message may have been cut in the middle."""
    heads = {spelling[:_SHOWN] for spelling in spellings}
    start = 0
    while found := [at for head in heads if (at := text.find(head, start)) >= 0]:
        at = min(found)
        end = at + max(_shared(text[at : at + len(spelling)], spelling) for spelling in spellings)
        text = f"{text[:at]}***{text[end:]}"
        start = at + 3
    return text


def _shared(text: str, other: str) -> int:
    """How many characters they have in common from the beginning."""
    for count, (one, two) in enumerate(zip(text, other, strict=False)):
        if one != two:
            return count
    return min(len(text), len(other))
