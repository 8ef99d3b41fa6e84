"""`Secret`: a credential that only the header encoder can read.

Rules of this file:
- repr, str, format, hash-based prints and pickling never show the value; pickling drops it.
- `reveal()` is called by the header encoder in `http11` (and by a codec that must place a key elsewhere) and nowhere
  else; a test searches the tree for it.
"""

from __future__ import annotations

from binascii import a2b_base64
from typing import Final, NoReturn

from ..errors import LLMBadRequestError


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
        """Whether `hide` does anything. Values of fewer than 12 characters are placeholders ("EMPTY", "ollama")."""
        return bool(self._words())

    def hide(self, text: str) -> str:
        """`text` with `***` for this credential: raw, quoted, escaped or in base64, whole or cut after 8 characters; of
        Basic authentication also the password by itself.

        Does nothing if it is not `hidable`.
        """
        from .hiding import places

        for word in self._words():
            shown = 0
            pieces: list[str] = []
            for start, end in places(text, word, _SHOWN):
                pieces += [text[shown:start], "***"]
                shown = end
            if pieces:
                text = "".join(pieces) + text[shown:]
        return text

    def _words(self) -> list[str]:
        """What must not be shown: the value without its scheme, and its parts."""
        scheme, _, core = self._value.rpartition(" ")
        words = [core]
        if scheme.lower() == "basic":
            try:
                pair = a2b_base64(core).decode("utf-8", "replace")
            except ValueError:
                pair = ""
            words += [pair, pair.partition(":")[2]]
        return [word for word in words if len(word) >= _HIDABLE]

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
        raise TypeError("a Secret cannot be pickled; pass the key again where it is needed")


_HIDABLE: Final = 12
_SHOWN: Final = 8
