"""What a rule is, and how the rules of all wires walk through a body.

Rules of this file:
- A body may be any JSON value: what has not the shape a walk expects is passed over, and is another rule's business.
- Paths are written as our errors write them: `messages[2].tool_calls[0].id`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from ...decode.jsontext import JSON, JSONObject

#: What a rule is about. "form": how a request is built, which is a codec's business. "value": a choice of the caller's
#: that no model of the vendor takes. "model": whether one is named, and what it refuses.
About: TypeAlias = Literal["form", "value", "model"]
#: Takes the path of what breaks a rule.
Report: TypeAlias = Callable[[str], None]
#: Reports what breaks a rule in a body.
Check: TypeAlias = Callable[["JSONObject", Report], None]
#: Objects with their paths.
Paths: TypeAlias = list[tuple[str, "JSONObject"]]


class Violation(NamedTuple):
    """What the vendor would refuse: where, the rule it breaks, and who says so."""

    path: str
    rule: str
    source: str


class Rule(NamedTuple):
    """A rule of a vendor's: the sentence that holds, who says so, and how to find what breaks it."""

    name: str
    source: str
    check: Check
    about: About = "form"


def objects(value: JSON, path: str) -> Paths:
    """The objects of a list, with their paths."""
    listed = value if isinstance(value, list) else ()
    return [(f"{path}[{i}]", item) for i, item in enumerate(listed) if isinstance(item, dict)]


def messages(body: JSONObject, *roles: str) -> Paths:
    """The messages of these roles (of all, if none is named)."""
    found = objects(body.get("messages"), "messages")
    return [(path, message) for path, message in found if not roles or message.get("role") in roles]


def inner(value: JSON, *keys: str) -> JSONObject:
    """The object at the end of these keys; an empty one where there is none."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def is_blank(value: JSON) -> bool:
    """Whether this is a text without anything to read in it."""
    return isinstance(value, str) and not value.strip()


def is_count(value: JSON) -> bool:
    """Whether this is an integer (True and False are none)."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: JSON) -> bool:
    """Whether this is a number (True and False are none)."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def unknown_keys(path: str, value: JSONObject, known: frozenset[str], report: Report) -> None:
    """Report the keys of an object that its vendor does not know."""
    report_all((f"{path}.{key}" if path else key for key in value if key not in known), report)


def report_all(paths: Iterable[str], report: Report) -> None:
    """Report each of these paths."""
    for path in paths:
        report(path)
