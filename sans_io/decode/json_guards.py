"""How much memory a JSON text takes once decoded, and how deep it is nested: what is too large or too deep is refused
before anything is built.

Rules of this file:
- `too_large` is judged by an upper bound on the peak of decoding, in bytes, for the objects of CPython 3.11 to 3.14
  (64 bit). Small numbers are free (CPython shares them), every key counts once.
- The C decoder calls itself for each level. Where the stack is small (a thread's, WebAssembly's) a text of 50 KB ends
  the process before Python's own limit is met, so no text with many brackets is decoded that `too_deep` has not seen.
- The text is read window by window with strings taken out, in C: it takes little memory and costs no more than
  decoding, evenly. A string longer than its window is skipped by the C decoder.
- Nothing else is judged here: text that is not JSON gets some answer, and its verdict from the decoder.
"""

from __future__ import annotations

import json
import re
from itertools import accumulate
from typing import Final

#: An empty list or dict with its collector's header; the first table of a dict (5 keys); the first block of a list.
_LIST, _DICT, _TABLE, _BLOCK = 56, 64, 120, 32
#: Per key of a table that has grown, and once more for the largest table while it grows; per item of a list.
_KEY, _GROWING, _ITEM = 44, 22, 9
#: An int or float (long ints cost less than their digits), and a string without its characters, by their width.
_NUMBER: Final = 28
_STRING: Final = {1: 51, 2: 76, 4: 80}
#: A pair in the list that checks keys for being unique: a tuple, and its place.
_PAIR: Final = 65

_WINDOW: Final = 64 * 1024
_BODY: Final = r'"[^"\\]*+(?:\\.[^"\\]*+)*+'
#: A key (group 1), a string, or one that the window cuts (group 2). Possessive: nothing is ever tried twice.
_STRINGS: Final = re.compile(rf'({_BODY}")[ \t\n\r]*+:|{_BODY}"|({_BODY}\\?)\Z', re.DOTALL)
#: In text without strings and spaces: a list without containers, and a dict of at most five keys without any.
_FLAT_LIST: Final = re.compile(r"\[[^][{}]*+\]")
_SMALL_DICT: Final = re.compile(r"\{[^][{},]*+(?:,[^][{},]*+){0,4}+\}")
_DROP_SPACE: Final = {ord(space): None for space in " \t\n\r"}
_COLON: Final = re.compile(r"[ \t\n\r]*+:")
_DECODER: Final = json.JSONDecoder(strict=False)
_NUMBERS: Final = re.compile(r"[-+.0-9eE]{2,}")


def too_large(text: str, budget: int, unique_keys: bool = False) -> bool:
    """Whether decoding might take more than `budget` bytes beside the text. With `unique_keys` pairs are kept too."""
    # Characters of strings are copied once, as wide as the text's widest; a string being unescaped grows by a quarter.
    width = (text.__sizeof__() - "".__sizeof__()) // (len(text) or 1)
    budget -= len(text) * width * 5 // 4
    string = _STRING.get(width, _STRING[1])
    pair = _PAIR if unique_keys else 0
    cost = 0
    known: set[str | None] = set()
    at = 0
    while at < len(text):
        window = text[at : at + _WINDOW]
        parts = _STRINGS.split(window)
        skeleton = "".join(parts[::3]).translate(_DROP_SPACE)
        known.update(parts[1::3])
        strings = len(parts) // 3
        keys = strings - parts[1::3].count(None)
        at += len(window)
        cut = parts[-2] if strings else None
        if cut is not None:
            try:
                _, at = _DECODER.raw_decode(text, at - len(cut))
            except ValueError:
                return False  # it never ends: no JSON
            colon = _COLON.match(text, at)
            if colon is not None:
                at = colon.end()
                keys += 1
                cost += string
        dicts, lists = skeleton.count("{"), skeleton.count("[")
        cost += (
            dicts * _DICT
            + min(dicts, keys) * _TABLE
            + lists * _LIST
            + (lists - skeleton.count("[]")) * _BLOCK
            + (skeleton.count(",") + dicts + lists) * _ITEM
            + max(0, keys - _keys_of_small_dicts(skeleton)) * (_KEY + pair)
            + (strings - keys) * string
            + len(_NUMBERS.findall(skeleton)) * _NUMBER
        )
        if cost + len(known) * (_GROWING + string) > budget:
            return True
    return False


def _keys_of_small_dicts(skeleton: str) -> int:
    """How many keys are in dicts whose first table holds them. From the inside out, as deep as logs of tokens nest."""
    keys = -skeleton.count("{}")
    for _ in range(4):
        flat = _FLAT_LIST.sub("0", skeleton)
        skeleton, found = _SMALL_DICT.subn("0", flat)
        if not found:
            break
        keys += flat.count(",") - skeleton.count(",") + found
    return keys


#: A string, or one that the window cuts: then group 1 is what it ends with, "" or half an escape. Possessive: nothing
#: is ever tried twice.
_CUT_STRINGS: Final = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|(\\?)\Z)', re.DOTALL)
#: What a bracket adds to the depth, as a signed byte; all that is no bracket is dropped.
_STEPS: Final = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
_OTHERS: Final = bytes(set(range(256)) - set(b"[{]}"))


def too_deep(text: str, limit: int) -> bool:
    """Whether brackets outside strings are nested deeper than `limit` somewhere."""
    depth, begun = 0, ""
    for at in range(0, len(text), _WINDOW):
        parts = _CUT_STRINGS.split(begun + text[at : at + _WINDOW])
        begun = "" if len(parts) == 1 or parts[-2] is None else '"' + parts[-2]
        brackets = "".join(parts[::2]).encode("ascii", "replace").translate(_STEPS, _OTHERS)
        steps = memoryview(brackets).cast("b")
        if max(accumulate(steps, initial=depth)) > limit:
            return True
        depth += sum(steps)
    return False
