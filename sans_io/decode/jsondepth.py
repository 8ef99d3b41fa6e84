"""How deep a JSON text is nested, so that too deep a one can be refused before anything is built.

Rules of this file:
- The C decoder calls itself for each level. Where the stack is small (a thread's, WebAssembly's) a text of 50 KB ends
  the process before Python's own limit is met, so nobody decodes a text with many brackets that was not looked at here.
- The text is read window by window with strings taken out, in C, so that it takes little memory and less than decoding.
- It judges nothing else: of text that is not JSON the brackets are counted as they come.
"""

from __future__ import annotations

import re
from itertools import accumulate
from typing import Final

_WINDOW: Final = 64 * 1024
#: A string, or one that the window cuts: then group 1 is what it ends with, "" or half an escape. Possessive: nothing
#: is ever tried twice.
_STRINGS: Final = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|(\\?)\Z)', re.DOTALL)
#: What a bracket adds to the depth, as a signed byte; all that is no bracket is dropped.
_STEPS: Final = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
_OTHERS: Final = bytes(set(range(256)) - set(b"[{]}"))


def exceeds(text: str, limit: int) -> bool:
    """Whether brackets outside strings are nested deeper than `limit` somewhere."""
    depth, begun = 0, ""
    for at in range(0, len(text), _WINDOW):
        parts = _STRINGS.split(begun + text[at : at + _WINDOW])
        begun = "" if len(parts) == 1 or parts[-2] is None else '"' + parts[-2]
        brackets = "".join(parts[::2]).encode("ascii", "replace").translate(_STEPS, _OTHERS)
        steps = memoryview(brackets).cast("b")
        if max(accumulate(steps, initial=depth)) > limit:
            return True
        depth += sum(steps)
    return False
