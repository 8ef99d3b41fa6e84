"""What the wires share in JSON Schemas for structured output: words, formats, types of values, references.

Rules of this file:
- No vendor's rule is here: `openai_chat.strict` says what strict mode takes, `anthropic.closed` what that format says.
- Total: any JSON value has an answer.
"""

from __future__ import annotations

from typing import Final

from ..decode.jsontext import JSON, JSONObject

TYPES: Final = ("object", "array", "string", "integer", "number", "boolean", "null")
#: Keywords that say something of values of one type only.
OF_TYPE: Final = {
    "object": ("properties", "required", "additionalProperties"),
    "array": ("items", "minItems", "maxItems"),
    "string": ("pattern", "format", "minLength", "maxLength"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
}
#: Formats of strings that both vendors know.
FORMATS: Final = frozenset({
    "date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid",
})  # fmt: skip


def types_of(node: JSONObject) -> list[str]:
    """The types that a schema names."""
    said = node.get("type")
    return [kind for kind in (said if isinstance(said, list) else [said]) if isinstance(kind, str)]


def type_of(value: JSON) -> str:
    """The type of a value; a number without a fraction is an integer."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float)):
        return "integer" if isinstance(value, int) or value.is_integer() else "number"
    return "string" if isinstance(value, str) else "array" if isinstance(value, list) else "object"


def name_in_definitions(target: JSON, definitions: JSONObject, *places: str) -> str | None:
    """The definition that a `$ref` points to, if it is one (RFC 6901 escapes undone)."""
    for place in places or ("#/$defs/",):
        if isinstance(target, str) and target.startswith(place):
            name = target[len(place) :].replace("~1", "/").replace("~0", "~")
            if name in definitions:
                return name
    return None


def is_of(value: JSON, kind: str) -> bool:
    """Whether a value is of a type. An integer is a number too."""
    found = type_of(value)
    return found == kind or (found == "integer" and kind == "number")
