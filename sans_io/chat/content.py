"""What counts as content: one definition for every wire, the idle timer, the commit point and `idle_keepalive_only`.

Content is what adds to the answer: text, reasoning, a refusal, a citation, a signature, a tool's name or arguments, an
image or sound, the first finish reason of a choice; in a download, a step that says something new. Everything else is a
keep-alive, before the first text and after it: comments, pings, 1xx responses, blank lines, empty or repeated deltas,
starts of messages and blocks, usage, status lines, events and keys nobody here knows.

Rules of this file:
- An event of ours other than `UsageReported` is content: codecs make none for what is empty or said again.
- What has no event of ours is noted in the reply's `Tally` by whoever takes it in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .events import UsageReported

if TYPE_CHECKING:
    from ..decode.jsontext import JSON
    from .events import Event

#: Keys whose text names something and says nothing.
_NAMING: Final = frozenset({"id", "type", "index", "role", "format", "object", "status", "tool_use_id"})


class Tally:
    """What one reply took in without an event of ours.

    `content` counts what adds to the answer (signatures, media, a finish reason, arguments of a call that has no name
    yet); `beside` what is collected and is no part of it (log probabilities, keys nobody here knows).
    """

    __slots__ = ("beside", "content")

    def __init__(self) -> None:
        self.content = 0
        self.beside = 0

    def take(self, value: JSON) -> None:
        """Something was collected; it is content if it carries any."""
        if carries(value):
            self.content += 1
        else:
            self.beside += 1


def has_content(events: list[Event]) -> bool:
    """Whether any of these is content; usage alone is not."""
    for event in events:  # noqa: SIM110  a generator that `any` leaves early swallows Ctrl-C while it is closed
        if type(event) is not UsageReported:
            return True
    return False


def carries(value: JSON) -> bool:
    """Whether a value as received holds any text besides names."""
    if isinstance(value, dict):
        for key, item in value.items():  # noqa: SIM110  as above
            if key not in _NAMING and carries(item):
                return True
        return False
    if isinstance(value, list):
        return any(map(carries, value))
    return isinstance(value, str) and value != ""
