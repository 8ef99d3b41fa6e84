"""Ids of tool calls in a form that a vendor takes: one table for both sides of a call.

Rules of this file:
- A valid id is left alone. Any other becomes nine letters and digits, which every vendor takes, made from that id only:
  so a longer history has the same ids again, and what a vendor has cached stays good.
- Distinct ids stay distinct. Calls of one message have distinct ids even where the server gave one twice.
- A result belongs to the latest assistant message that called its id; of several such calls to the first unanswered.
- The ids of native blocks are kept free; who sends such blocks gives them the ids of the calls that they are. The
  caller's messages are never changed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

from ..chat.shapes import NATIVE
from ..decode.jsontext import JSON, JSONObject

_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_LENGTH: Final = 9
#: The largest prime below 62 ** 9: what it leaves of a text fills nine of these letters. Not a hash of the library's,
#: since hashlib would be one more import of every call, and nothing here must be hard to guess.
_PRIME: Final = 13_537_086_546_263_543


def with_valid_ids(messages: Sequence[JSONObject], valid: str, *, unique: bool = False) -> Sequence[JSONObject]:
    """`messages` with ids that match the pattern `valid` as a whole; the same object if nothing had to change.

    `unique`: no two calls of the whole conversation may have one id. Calls and results are looked for in `tool_calls`,
    `tool_call_id`, and in parts of type tool_use and tool_result.
    """
    if all(len(message) == 2 and isinstance(message.get("content"), str) for message in messages):
        return messages
    table = _Table(re.compile(valid, re.DOTALL).fullmatch, unique, messages)
    changed = [table.message(message) for message in messages]
    return changed if any(map(_is_not, changed, messages)) else messages


class _Table:
    """Messages in order, each once."""

    def __init__(
        self, valid: Callable[[str], re.Match[str] | None], unique: bool, messages: Sequence[JSONObject]
    ) -> None:
        self._valid = valid
        self._unique = unique
        self._taken = {label for message in messages for label in _called(message) if valid(label)}
        #: (id, which of the calls that have it) -> the id that is sent.
        self._made: dict[tuple[str, int], str] = {}
        #: How often an id was called in earlier messages, and what its latest calls are sent as.
        self._count: dict[str, int] = {}
        self._open: dict[str, list[str]] = {}

    def message(self, message: JSONObject) -> JSONObject:
        role = message["role"]
        if role == "assistant":
            return self._assistant(message)
        if role == "tool":
            label = message["tool_call_id"]
            sent = self._answered(label)
            return message if sent == label else {**message, "tool_call_id": sent}
        return self._parts(message, "tool_result", "tool_use_id", self._answered)

    def _assistant(self, message: JSONObject) -> JSONObject:
        #: Those of this message, by id. A part and an entry of `tool_calls` with one id are one call.
        own: dict[str, list[str]] = {}

        def called(label: str) -> str:
            before = self._count.get(label, 0) if self._unique else 0
            sent = self._sent(label, before + len(own.get(label, ())))
            own.setdefault(label, []).append(sent)
            return sent

        changed = self._parts(message, "tool_use", "id", called)
        in_parts = set(own)
        calls = message.get("tool_calls")
        if calls:
            entries = []
            for call in calls:
                label = call["id"]
                sent = own[label][0] if label in in_parts else called(label)
                entries.append(call if sent == label else {**call, "id": sent})
            if any(map(_is_not, entries, calls)):
                changed = {**changed, "tool_calls": entries}
        for label, all_sent in own.items():
            self._count[label] = self._count.get(label, 0) + len(all_sent)
        self._open.update(own)
        return changed

    def _parts(self, message: JSONObject, kind: str, key: str, sent_as: Callable[[str], str]) -> JSONObject:
        """The message with the ids under `key` of its content parts of this kind replaced."""
        content = message.get("content")
        if not isinstance(content, list):
            return message
        parts = []
        for part in content:
            label = part.get(key) if part.get("type") == kind else None
            sent = sent_as(label) if isinstance(label, str) else label
            parts.append(part if sent == label else {**part, key: sent})
        return {**message, "content": parts} if any(map(_is_not, parts, content)) else message

    def _answered(self, label: str) -> str:
        calls = self._open.get(label)
        if not calls:
            return self._sent(label, 0)
        return calls.pop(0) if len(calls) > 1 else calls[0]

    def _sent(self, label: str, which: int) -> str:
        """What a call of this id is sent as; `which` of those that must differ."""
        if not which and self._valid(label):
            return label
        known = self._made.get((label, which))
        if known is None:
            salt = 0
            while known is None or known in self._taken:
                known = _minted(label, which, salt)
                salt += 1
            self._taken.add(known)
            self._made[label, which] = known
        return known


def _called(message: JSONObject) -> list[str]:
    """The ids that a message calls or has in its native blocks."""
    native = message.get(NATIVE)
    places = [
        message.get("tool_calls"),
        message.get("content"),
        native.get("blocks") if isinstance(native, dict) else (),
    ]
    blocks = [block for place in places if isinstance(place, list) for block in place if isinstance(block, dict)]
    return [block["id"] for block in blocks if isinstance(block.get("id"), str)]


def _minted(label: str, which: int, salt: int) -> str:
    number = int.from_bytes(f"{label}\n{which}\n{salt}".encode()) % _PRIME
    digits = []
    for _ in range(_LENGTH):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(digits)


def _is_not(one: JSON, other: JSON) -> bool:
    return one is not other
