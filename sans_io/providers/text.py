"""Bodies that are not JSON, made fit for an error message.

Rules of this file:
- Whatever a server sends, what leaves here is printable and encodes to UTF-8.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Final

from ..printable import printable

#: Of a page that is not JSON, this much is looked at; a title and a heading come early.
_MAX_PAGE: Final = 4096
_TAGS: Final = re.compile(r"<[^<>]*>")


@cache
def any_case(pattern: str) -> re.Pattern[str]:
    """The pattern for any case of letters, compiled when it is first asked for: no import pays for errors to come."""
    return re.compile(pattern, re.IGNORECASE)


def looks_like_html(text: str) -> bool:
    """Whether a body is a web page (some servers label it as JSON)."""
    start = text[:512].lstrip("\ufeff \t\r\n").lower()
    return start.startswith(("<!doctype", "<html", "<head", "<body", "<?xml", "<!--", "<center", "<h1", "<title"))


def page_text(text: str, limit: int = 200) -> str:
    """The readable words of a web page, for an error message."""
    text = text[:_MAX_PAGE]
    for element in ("script", "style"):
        text = _without(text, element)
    return printable(_TAGS.sub(" ", text), limit)


def _without(text: str, element: str) -> str:
    """Without the element and what is in it. Searched by `find`, so that a hostile page costs linear time."""
    lower, kept, position = text.lower(), [], 0
    if len(lower) != len(text):
        return text  # A character changed its length in lower case, so positions do not fit; the tags go anyway.
    while (start := lower.find(f"<{element}", position)) >= 0:
        kept.append(text[position:start])
        end = lower.find(f"</{element}", start)
        if end < 0:
            return "".join(kept)
        position = end
    kept.append(text[position:])
    return "".join(kept)
