"""What strict mode of OpenAI's structured output takes of a JSON Schema.

    strict_problems(schema)   why strict mode would refuse it; [] where it holds

Rules of this file:
- Total: any JSON value has an answer, and a schema is never changed.
- Written from OpenAI's rules, not from a validator: a keyword that nobody names here is one it refuses.
- What some models take and others do not is a problem only where `strict` is our own idea.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from ...chat.message_checks import MAX_DEPTH
from ...decode.jsontext import JSON, JSONObject
from ..schemas import FORMATS, OF_TYPE, TYPES, is_of, name_in_definitions, types_of


class Problem(NamedTuple):
    """What stands in the way, and at which path of the schema."""

    path: str
    why: str


_STRICT_KEYWORDS: Final = frozenset({
    "type", "properties", "required", "additionalProperties", "items", "anyOf", "enum", "const", "description", "title",
    "$ref", "$defs", "pattern", "format", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf",
    "minItems", "maxItems", "$schema",
})  # fmt: skip
#: Keywords that some models take, and their newest all.
_BY_MODEL: Final = frozenset({"minLength", "maxLength"})
_BESIDE_ANY_OF: Final = frozenset({"anyOf", "description", "title", "$defs", "$schema"})
_LOOKAROUND: Final = re.compile(r"\(\?(?:[=!]|<[=!])")
_MAX_LEVELS: Final = 10
_MAX_PROPERTIES: Final = 5000
_MAX_ENUM_VALUES: Final = 1000
#: Characters of the values of one enum that has more than 250 of them.
_MAX_ENUM_TEXT: Final = 15_000
_MAX_NAMES_TEXT: Final = 120_000


def strict_problems(schema: JSON, path: str = "schema", *, certain: bool = False) -> list[Problem]:
    """Why OpenAI's strict mode refuses this schema, each with its path; empty where it takes it.

    With `certain`, only what every model refuses: for a `strict` that the caller asked for. Without, whatever might be
    refused: for a `strict` that we would add.
    """
    check = _Strict(schema, certain=certain)
    check.root(path)
    return check.problems


class _Strict:
    """One schema on its way through the rules; counts are of the whole schema."""

    def __init__(self, schema: JSON, *, certain: bool) -> None:
        self.problems: list[Problem] = []
        self._schema = schema
        self._certain = certain
        definitions = schema.get("$defs") if isinstance(schema, dict) else None
        self._definitions: JSONObject = definitions if isinstance(definitions, dict) else {}
        self._properties = 0
        self._enum_values = 0
        self._text = 0

    def root(self, path: str) -> None:
        schema = self._schema
        if not isinstance(schema, dict) or schema.get("type") != "object":
            self._no(path, 'must have the type "object" at its root')
        if isinstance(schema, dict):
            for keyword in ("anyOf", "enum", "const"):
                if keyword in schema:
                    self._no(f"{path}.{keyword}", "may not stand at the root")
            if "$defs" in schema and not isinstance(schema["$defs"], dict):
                self._no(f"{path}.$defs", "must be an object")
            for name, definition in self._definitions.items():
                self._text += len(name)
                self._node(definition, f"{path}.$defs.{name}", 0, 0)
        self._node(schema, path, 0, 0, root=True)
        for count, most, what in (
            (self._properties, _MAX_PROPERTIES, "properties"),
            (self._enum_values, _MAX_ENUM_VALUES, "values of enum"),
            (self._text, _MAX_NAMES_TEXT, "characters of names and values"),
        ):
            if count > most:
                self._no(path, f"has {count} {what}; at most {most} are taken")

    def _no(self, path: str, why: str) -> None:
        self.problems.append(Problem(path, why))

    def _maybe(self, path: str, why: str) -> None:
        if not self._certain:
            self._no(path, why)

    def _node(self, node: JSON, path: str, level: int, depth: int, *, root: bool = False) -> None:
        """`level` counts the objects (and, in doubt, the arrays) around this node, `depth` the nodes."""
        if not isinstance(node, dict):
            self._no(path, "must be a schema (an object)")
            return
        if depth > MAX_DEPTH:
            self._no(path[:200], f"is nested deeper than {MAX_DEPTH} levels")
            return
        self._keywords(node, path, root=root)
        if "$ref" in node:
            self._reference(node, path)
            return
        if "anyOf" in node:
            self._any_of(node, path, level, depth)
        elif "type" not in node:
            self._no(path, "has no type")
        self._values(node, path)
        types = types_of(node)
        for kind in types:
            if kind not in TYPES:
                self._no(f"{path}.type", f"has no type {kind!r:.40}")
        if "type" in node and not types:
            self._no(f"{path}.type", "must be the name of a type, or a list of them")
        is_object = "object" in types or "properties" in node
        level += is_object or ("array" in types and not self._certain)
        if level > _MAX_LEVELS:
            self._no(path[:200], f"is nested deeper than {_MAX_LEVELS} levels")
            return
        if is_object:
            self._object(node, path, level, depth)
        if "array" in types or "items" in node:
            if "items" in node:
                self._node(node["items"], f"{path}.items", level, depth + 1)
            else:
                self._no(path, "is an array without items: say what it holds")

    def _keywords(self, node: JSONObject, path: str, *, root: bool) -> None:
        types = types_of(node)
        for keyword, value in node.items():
            where = f"{path}.{keyword}"
            if keyword in _BY_MODEL:
                self._maybe(where, "is not taken by every model")
            elif keyword == "allOf" and isinstance(value, list) and len(value) == 1:
                self._maybe(where, "is not taken by every model")
            elif keyword not in _STRICT_KEYWORDS:
                self._no(where, "is not permitted")
            elif keyword == "$defs" and not root:
                self._maybe(where, "belongs at the root")
            elif keyword in ("description", "title") and not isinstance(value, str):
                self._no(where, "must be a string")
            elif keyword == "format" and value not in tuple(FORMATS):
                self._no(where, f"{value!r:.40} is not one of {', '.join(sorted(FORMATS))}")
            elif keyword == "pattern" and (not isinstance(value, str) or _LOOKAROUND.search(value)):
                self._no(where, "must be a regular expression without lookaround")
            elif not all(kind in types or (kind == "number" and "integer" in types) for kind in _owners(keyword)):
                self._maybe(where, "says nothing of this type")

    def _reference(self, node: JSONObject, path: str) -> None:
        target = node["$ref"]
        if target != "#" and name_in_definitions(target, self._definitions) is None:
            self._no(f"{path}.$ref", f"{target!r:.80} is neither # nor one of #/$defs/")
        beside = [key for key in node if key not in ("$ref", "$defs")]
        if beside:
            self._no(f"{path}.$ref", f"may have nothing beside it, and has {', '.join(beside)[:80]}")

    def _any_of(self, node: JSONObject, path: str, level: int, depth: int) -> None:
        branches = node["anyOf"]
        if not isinstance(branches, list) or not branches:
            self._no(f"{path}.anyOf", "must be a list of schemas")
            return
        beside = [key for key in node if key not in _BESIDE_ANY_OF]
        if beside:
            self._maybe(f"{path}.anyOf", f"should have only a description beside it, and has {', '.join(beside)[:80]}")
        first: dict[str, int] = {}
        for i, branch in enumerate(branches):
            self._node(branch, f"{path}.anyOf[{i}]", level, depth + 1)
            key = self._first_key(branch)
            if key is None:
                continue
            if key in first:
                why = f"begins with the property {key!r:.60} as anyOf[{first[key]}] does: the first ones must differ"
                self._no(f"{path}.anyOf[{i}]", why)
            first.setdefault(key, i)

    def _first_key(self, branch: JSON) -> str | None:
        seen: set[str] = set()
        while isinstance(branch, dict) and "$ref" in branch:
            name = name_in_definitions(branch["$ref"], self._definitions)
            if name is None or name in seen:
                return None
            seen.add(name)
            branch = self._definitions[name]
        properties = branch.get("properties") if isinstance(branch, dict) else None
        return next(iter(properties), None) if isinstance(properties, dict) else None

    def _values(self, node: JSONObject, path: str) -> None:
        types = types_of(node)
        values: list[JSON] = []
        if "enum" in node:
            if not isinstance(node["enum"], list) or not node["enum"]:
                self._no(f"{path}.enum", "must be a list of values")
            else:
                values += node["enum"]
                self._enum_values += len(values)
                size = sum(len(value) for value in values if isinstance(value, str))
                if len(values) > 250 and size > _MAX_ENUM_TEXT:
                    self._no(f"{path}.enum", f"has {size} characters; at most {_MAX_ENUM_TEXT} are taken")
        if "const" in node:
            values.append(node["const"])
        for value in values:
            self._text += len(value) if isinstance(value, str) else 1
            if types and not any(is_of(value, one) for one in types):
                self._no(path, f"has the value {value!r:.40}, which is not of its type")

    def _object(self, node: JSONObject, path: str, level: int, depth: int) -> None:
        properties, required = node.get("properties"), node.get("required")
        if node.get("additionalProperties") is not False:
            self._no(f"{path}.additionalProperties", "must be false")
        if not isinstance(properties, dict):
            self._no(f"{path}.properties", "must be there, as an object")
            properties = {}
        if not isinstance(required, list):
            self._no(f"{path}.required", "must be the list of all properties")
            required = list(properties)
        for name in required:
            if not isinstance(name, str) or name not in properties:
                self._no(f"{path}.required", f"names {name!r:.60}, which is not among the properties")
        for name, value in properties.items():
            self._properties += 1
            self._text += len(name)
            if name not in required:
                self._no(f"{path}.required", f"must name {name!r:.60}: all properties are required")
            self._node(value, f"{path}.properties.{name}", level, depth + 1)


def _owners(keyword: str) -> tuple[str, ...]:
    return tuple(kind for kind, keywords in OF_TYPE.items() if keyword in keywords)
