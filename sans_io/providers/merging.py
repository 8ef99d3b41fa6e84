"""Merging the pieces of a value that a stream sends in deltas, once, when somebody asks for the whole.

Rules of this file:
- Nothing is merged while the stream runs: pieces are collected in a list, so that a long stream stays linear.
- Texts are joined; names (`id`, `type`, ...) are not, the last one counts; lists grow, their entries meet by `index`.
- Nothing that was handed in is changed, nothing handed out is shared with it.
"""

from __future__ import annotations

from typing import Final

from ..decode import jsontext
from ..decode.jsontext import JSON, JSONObject

#: Texts that name something: repeated in every piece they are still one name.
_NAMES: Final = frozenset({"id", "type", "name", "role", "format", "object", "model", "signature", "index"})


def merged_pieces(pieces: list[JSON], key: str = "") -> JSON:
    """The whole value of which `pieces` are the deltas, in order. `key` is the name it has in its object."""
    pieces = [piece for piece in pieces if piece is not None]
    if not pieces:
        return None
    last = pieces[-1]
    if isinstance(last, str):
        texts = [piece for piece in pieces if isinstance(piece, str)]
        if key in _NAMES:
            return jsontext.well_formed(next((text for text in reversed(texts) if text), ""))
        return jsontext.well_formed("".join(texts))
    if isinstance(last, dict):
        return _merged_objects([piece for piece in pieces if isinstance(piece, dict)])
    if isinstance(last, list):
        return _merged_lists([piece for piece in pieces if isinstance(piece, list)])
    return last


def copied(value: JSON) -> JSON:
    """A copy that shares no dict or list with the original, its texts fit for UTF-8."""
    if isinstance(value, str):
        return jsontext.well_formed(value)
    if isinstance(value, dict):
        return {jsontext.well_formed(key): copied(item) for key, item in value.items()}
    if isinstance(value, list):
        return [copied(item) for item in value]
    return value


def _merged_objects(objects: list[JSONObject]) -> JSONObject:
    if len(objects) == 1:
        return copied(objects[0])  # type: ignore[no-any-return]
    pieces: dict[str, list[JSON]] = {}
    for one in objects:
        for key, value in one.items():
            pieces.setdefault(key, []).append(value)
    return {jsontext.well_formed(key): merged_pieces(values, key) for key, values in pieces.items()}


def _merged_lists(lists: list[list[JSON]]) -> list[JSON]:
    """Entries with the same index, type and id in different pieces are deltas of one entry; others stand alone."""
    groups: list[list[JSON]] = []
    by_index: dict[tuple[str, ...], tuple[int, list[JSON]]] = {}
    for number, entries in enumerate(lists):
        for entry in entries:
            place = _place(entry)
            known = by_index.get(place) if place else None
            if known is None or known[0] == number:
                group = [entry]
                groups.append(group)
            else:
                group = known[1]
                group.append(entry)
            if place:
                by_index[place] = (number, group)
    return [merged_pieces(group) for group in groups]


def _place(entry: JSON) -> tuple[str, ...]:
    if not isinstance(entry, dict) or type(entry.get("index")) is not int:
        return ()
    return (str(entry["index"]), str(entry.get("type")), str(entry.get("id") or ""))
