"""The one redactor: every line that this library logs or prints goes through `redact()`.

Rules of this file:
- Credentials are known by their shape, since nothing here may know a key: what looks like one is cut out.
- Control characters are escaped, so that no server writes to a terminal through us.
- No pattern begins with a repetition and none repeats without a bound before its last part: what is logged may be a
  server's text, and it must not be able to keep a processor busy.
"""

from __future__ import annotations

import re
from codecs import unicode_escape_encode
from functools import cache
from typing import Final
from unicodedata import category

MASK: Final = "***"

_PATTERNS: Final = (
    # The value of an authorization header, in whatever it is written down.
    (r"(?i)(?<![A-Za-z])(bearer|basic)(\s{1,8}|%20)[^\s\"',;<>\\]+", rf"\1\2{MASK}"),
    # name=value, "name": "value", name: value, where the name says what the value is.
    (
        (
            r"(?i)((?:api[_-]?key|apikey|access[_-]?token|auth[_-]?token|id[_-]?token|refresh[_-]?token|secret"
            r"|password|passwd|authorization|cookie|signature|credential|x-goog-api-key)[\w.-]{0,64}"
            r"[\"']?(?:=|:\s{0,8})[\"']?)(?!\*\*\*)(?!(?i:bearer|basic)\s)[^\s\"',;&<>\\}]{6,}"
        ),
        rf"\1{MASK}",
    ),
    # The keys of the known vendors, wherever they stand: sk-..., sk-ant-..., gsk_..., xai-..., hf_..., AIza..., JWTs.
    (
        r"(?<![A-Za-z])(sk|pk|rk|gsk|xai|hf|pplx|nvapi|csk|tgp|fw|r8|key|whsec)[-_][A-Za-z0-9_\-]{8,}",
        rf"\1-{MASK}",
    ),
    (r"(?<![A-Za-z])AIza[A-Za-z0-9_\-]{16,}", f"AIza{MASK}"),
    (r"(?<![A-Za-z])eyJ[A-Za-z0-9_\-]{8,2048}\.[A-Za-z0-9_\-]+(?:\.[A-Za-z0-9_\-]+)?", f"eyJ{MASK}"),
    # User information in a URL.
    (r"(://)[^\s/@\"']+@", rf"\1{MASK}@"),
)


@cache
def _compiled() -> list[tuple[re.Pattern[str], str]]:
    """When the first line is written: a client that logs nothing does not pay for it."""
    return [(re.compile(pattern), replacement) for pattern, replacement in _PATTERNS]


def redact(text: str, longest: int = 10_000) -> str:
    """The text without what looks like a credential, control characters escaped, at most `longest` characters."""
    size = len(text)
    # More than can be shown, so that a credential across the border is still known by its shape.
    text = text[: 2 * longest]
    for pattern, replacement in _compiled():
        text = pattern.sub(replacement, text)
    text = for_terminal(text, keep="")
    return text if len(text) <= longest and size <= 2 * longest else f"{text[:longest]}... ({size} characters)"


def for_terminal(text: str, keep: str = "\n\t\u200c\u200d") -> str:
    """The text with everything escaped that could steer a terminal or reorder a line, except what is in `keep`.

    Piece by piece is as good as at once. The joiners kept by default belong to Persian, Hindi and compound emoji.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c in keep or category(c) not in _STEERING else _escaped(c) for c in text)


#: Control, format (bidirectional controls among them) and surrogate characters, line and paragraph separators.
_STEERING: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def _escaped(character: str) -> str:
    return unicode_escape_encode(character)[0].decode("ascii")  # `str.encode` would import the codec
