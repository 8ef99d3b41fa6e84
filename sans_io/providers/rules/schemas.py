"""What vendors take of JSON Schema where an answer is held to one: OpenAI's strict mode, Anthropic's outputs.

    places(schema, path)      every schema in a schema, with its path
    strict_rules(found)       OpenAI's rules for the schemas that `found(body)` gives
    anthropic_rules(found)    Anthropic's

Rules of this file:
- A schema is walked once and by its own keywords: what stands under `enum`, `const`, `default` is data.
- `$ref` is not followed, so that a recursive schema is walked like any other.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from .base import Check, Paths, Report, Rule

if TYPE_CHECKING:
    from ...decode.jsontext import JSON, JSONObject

#: The schemas of a request that rules hold for, with their paths.
Found: TypeAlias = Callable[["JSONObject"], Paths]
#: Reports what breaks a rule in the schema at a path.
SchemaCheck: TypeAlias = Callable[[str, "JSON", Report], None]

#: How deep a walk goes; deeper nesting has broken other rules long before.
_DEEPEST: Final = 200


class Place(NamedTuple):
    """A schema inside another: its path, itself, how many objects and arrays it stands in, and the definitions."""

    path: str
    schema: JSON
    level: int


_LISTS: Final = ("anyOf", "oneOf", "allOf", "prefixItems")
_SINGLE: Final = (
    "items", "not", "if", "then", "else", "contains", "propertyNames", "additionalItems", "additionalProperties",
)  # fmt: skip
_NAMED: Final = ("properties", "$defs", "definitions", "patternProperties", "dependentSchemas")


def places(schema: JSON, path: str, level: int = 1) -> list[Place]:
    """`schema` and every schema in it. `level` counts objects: the root is the first."""
    found = [Place(path, schema, level)]
    if not isinstance(schema, dict) or level > _DEEPEST:
        return found
    for key in _NAMED:
        named = schema.get(key)
        if isinstance(named, dict):
            deeper = level + 1 if key == "properties" else level
            for name, inside in named.items():
                found += places(inside, f"{path}.{key}.{name}", deeper)
    for key in _LISTS:
        listed = schema.get(key)
        if isinstance(listed, list):
            for i, inside in enumerate(listed):
                found += places(inside, f"{path}.{key}[{i}]", level)
    for key in _SINGLE:
        if isinstance(schema.get(key), dict):
            found += places(schema[key], f"{path}.{key}", level)
    return found


def is_object(schema: JSONObject) -> bool:
    """Whether a schema describes an object."""
    kind = schema.get("type")
    return kind == "object" or (isinstance(kind, list) and "object" in kind) or "properties" in schema


def _each(found: Found, check: SchemaCheck) -> Check:
    """The check of a request whose schemas are checked place by place."""

    def checked(body: JSONObject, report: Report) -> None:
        for path, schema in found(body):
            for place in places(schema, path):
                if isinstance(place.schema, dict):
                    check(place.path, place.schema, report)

    return checked


def _whole(found: Found, check: SchemaCheck) -> Check:
    """The check of a request whose schemas are checked each as a whole."""

    def checked(body: JSONObject, report: Report) -> None:
        for path, schema in found(body):
            check(path, schema, report)

    return checked


# -- what both have ---------------------------------------------------------------------------------------------------


def _closed(path: str, schema: JSONObject, report: Report) -> None:
    if is_object(schema) and schema.get("additionalProperties") is not False:
        report(f"{path}.additionalProperties")


def _references(path: str, schema: JSON, report: Report) -> None:
    """References that lead nowhere, or out of the schema."""
    if not isinstance(schema, dict):
        return
    for place in places(schema, path):
        if isinstance(place.schema, dict) and "$ref" in place.schema and _target(schema, place.schema["$ref"]) is None:
            report(f"{place.path}.$ref")


def _target(root: JSONObject, reference: JSON) -> JSON:
    """The schema that a reference names: the root itself or a definition of it; None if there is none."""
    if not isinstance(reference, str):
        return None
    if reference == "#":
        return root
    start, _, name = reference.rpartition("/")
    definitions = root.get(start[2:]) if start in ("#/$defs", "#/definitions") else None
    name = name.replace("~1", "/").replace("~0", "~")
    found = definitions.get(name) if isinstance(definitions, dict) else None
    return found if isinstance(found, dict) else None


def _is_recursive(root: JSONObject) -> bool:
    """Whether some schema can be reached from itself."""
    reached: dict[str, set[str]] = {}

    def targets(schema: JSON) -> set[str]:
        found = (p.schema.get("$ref") for p in places(schema, "") if isinstance(p.schema, dict))
        return {reference for reference in found if isinstance(reference, str)}

    for key in ("$defs", "definitions"):
        for name, schema in (root[key] if isinstance(root.get(key), dict) else {}).items():
            reached[f"#/{key}/{name}"] = targets(schema)
    reached["#"] = targets(root)
    for start, targets_of in reached.items():
        seen: set[str] = set()
        ahead = list(targets_of)
        while ahead:
            one = ahead.pop()
            if one == start:
                return True
            if one not in seen:
                seen.add(one)
                ahead += reached.get(one, ())
    return False


# -- OpenAI's strict mode ---------------------------------------------------------------------------------------------

_STRICT: Final = "OpenAI, guide on structured outputs: supported schemas"
_STRICT_KEYWORDS: Final = frozenset({
    "type", "properties", "required", "additionalProperties", "items", "anyOf", "enum", "const", "description", "title",
    "$ref", "$defs", "definitions", "pattern", "format", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum",
    "multipleOf", "minItems", "maxItems", "$schema",
})  # fmt: skip
_STRICT_FORMATS: Final = frozenset({
    "date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid",
})  # fmt: skip
_LOOKAROUND: Final = re.compile(r"\(\?<?[=!]")


def strict_rules(found: Found) -> tuple[Rule, ...]:
    """The rules of strict mode for these schemas."""
    return (
        Rule("a strict schema is an object at its root", _STRICT, _whole(found, _root)),
        Rule(
            "a strict schema closes every object: additionalProperties is false",
            "instructor#961",
            _each(found, _closed),
        ),
        Rule("a strict schema requires every property of an object", _STRICT, _each(found, _all_required)),
        Rule("a strict schema requires only properties that it has", _STRICT, _each(found, _only_known_required)),
        Rule(
            "a strict schema has only keywords that strict mode knows",
            "instructor#1074",
            _each(found, _keywords),
        ),
        Rule(
            "a $ref of a strict schema has nothing beside it",
            "openai-python, lib/_pydantic.py: it unfolds a $ref with siblings",
            _each(found, _lone_references),
        ),
        Rule("a $ref of a strict schema leads to # or to a definition", _STRICT, _whole(found, _references)),
        Rule(
            "every part of a strict schema has a type, an anyOf or a $ref",
            "openclaw/clawpatch#60: an enum alone is refused",
            _whole(found, _typed),
        ),
        Rule("an array of a strict schema says what its items are", _STRICT, _each(found, _items)),
        Rule(
            "a string of a strict schema has a format that strict mode knows",
            "pydantic-ai, _STRICT_COMPATIBLE_STRING_FORMATS",
            _each(found, _formats),
        ),
        Rule("a pattern of a strict schema does not look ahead or behind", _STRICT, _each(found, _patterns)),
        Rule("a strict schema nests at most 10 levels of objects", _STRICT, _whole(found, _depth)),
        Rule("a strict schema has at most 5000 properties", _STRICT, _whole(found, _properties)),
        Rule(
            "a strict schema has at most 1000 values in enums, and 15000 characters in one of more than 250",
            _STRICT,
            _whole(found, _enums),
        ),
        Rule("the names, enums and consts of a strict schema have at most 120000 characters", _STRICT,
             _whole(found, _characters)),
        Rule("objects of one anyOf in a strict schema begin with different keys", _STRICT, _each(found, _first_keys)),
    )  # fmt: skip


def _root(path: str, schema: JSON, report: Report) -> None:
    if not isinstance(schema, dict) or schema.get("type") != "object":
        report(f"{path}.type")
    else:
        for key in ("anyOf", "oneOf", "allOf", "enum", "not"):
            if key in schema:
                report(f"{path}.{key}")


def _all_required(path: str, schema: JSONObject, report: Report) -> None:
    if is_object(schema):
        properties, required = schema.get("properties"), schema.get("required")
        for name in properties if isinstance(properties, dict) else ():
            if not isinstance(required, list) or name not in required:
                report(f"{path}.properties.{name}")


def _only_known_required(path: str, schema: JSONObject, report: Report) -> None:
    properties, required = schema.get("properties"), schema.get("required")
    for i, name in enumerate(required if isinstance(required, list) else ()):
        if not isinstance(name, str) or not isinstance(properties, dict) or name not in properties:
            report(f"{path}.required[{i}]")


def _keywords(path: str, schema: JSONObject, report: Report) -> None:
    for key in schema:
        if key not in _STRICT_KEYWORDS:
            report(f"{path}.{key}")


def _lone_references(path: str, schema: JSONObject, report: Report) -> None:
    # Definitions may stand beside a reference at the root, and nowhere else do they mean anything.
    if "$ref" in schema and schema.keys() - {"$ref", "$defs", "definitions"}:
        report(f"{path}.$ref")


def _typed(path: str, schema: JSON, report: Report) -> None:
    for place in places(schema, path):
        said = place.schema
        if not isinstance(said, dict) or said.keys().isdisjoint({"type", "anyOf", "$ref"}):
            report(place.path)


def _items(path: str, schema: JSONObject, report: Report) -> None:
    kind = schema.get("type")
    is_array = kind == "array" or (isinstance(kind, list) and "array" in kind)
    if is_array and not isinstance(schema.get("items"), dict):
        report(f"{path}.items")


def _formats(path: str, schema: JSONObject, report: Report) -> None:
    form = schema.get("format")
    if "format" in schema and (not isinstance(form, str) or form not in _STRICT_FORMATS):
        report(f"{path}.format")


def _patterns(path: str, schema: JSONObject, report: Report) -> None:
    pattern = schema.get("pattern")
    if isinstance(pattern, str) and _LOOKAROUND.search(pattern):
        report(f"{path}.pattern")


def _depth(path: str, schema: JSON, report: Report) -> None:
    # A property stands one level below its object, so a leaf of the tenth object is on the eleventh.
    for place in places(schema, path):
        if place.level > 10 and isinstance(place.schema, dict) and is_object(place.schema):
            report(place.path)
            return


def _properties(path: str, schema: JSON, report: Report) -> None:
    if sum(len(names) for names in _all(schema, "properties") if isinstance(names, dict)) > 5000:
        report(path)


def _enums(path: str, schema: JSON, report: Report) -> None:
    enums = [values for values in _all(schema, "enum") if isinstance(values, list)]
    long = any(len(values) > 250 and sum(map(_length, values)) > 15_000 for values in enums)
    if long or sum(map(len, enums)) > 1000:
        report(path)


def _characters(path: str, schema: JSON, report: Report) -> None:
    names = (name for key in _NAMED for named in _all(schema, key) if isinstance(named, dict) for name in named)
    values = (value for listed in _all(schema, "enum") if isinstance(listed, list) for value in listed)
    if sum(map(_length, (*names, *values, *_all(schema, "const")))) > 120_000:
        report(path)


def _all(schema: JSON, key: str) -> list[JSON]:
    """What stands under a keyword, at every place of a schema."""
    return [p.schema[key] for p in places(schema, "") if isinstance(p.schema, dict) and key in p.schema]


def _length(value: JSON) -> int:
    return len(value) if isinstance(value, str) else 0


def _first_keys(path: str, schema: JSONObject, report: Report) -> None:
    seen = set()
    for i, branch in enumerate(schema["anyOf"] if isinstance(schema.get("anyOf"), list) else ()):
        properties = branch.get("properties") if isinstance(branch, dict) else None
        first = next(iter(properties), None) if isinstance(properties, dict) else None
        if first is not None and first in seen:
            report(f"{path}.anyOf[{i}]")
        seen.add(first)


# -- Anthropic's structured outputs -----------------------------------------------------------------------------------

_SDK: Final = "anthropic-sdk-python, lib/_parse/_transform.py"
#: Keywords that the API refuses; its SDK writes them into descriptions.
_REFUSED: Final = frozenset({
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "pattern",
    "maxItems", "uniqueItems", "contains", "minContains", "maxContains", "minProperties", "maxProperties",
    "patternProperties", "propertyNames", "not", "if", "then", "else", "oneOf", "dependentRequired", "dependentSchemas",
    "unevaluatedItems", "unevaluatedProperties", "prefixItems", "discriminator",
})  # fmt: skip
_FORMATS: Final = _STRICT_FORMATS | {"uri"}
_LIMITS: Final = "pydantic-ai, _anthropic_schema_limits"


def anthropic_rules(found: Found) -> tuple[Rule, ...]:
    """The rules of structured outputs for these schemas."""
    return (
        Rule(
            "a schema closes every object: additionalProperties is false",
            "litellm#35808, ax-llm/ax#458: must be explicitly set to false",
            _each(found, _closed),
        ),
        Rule("a schema has only keywords that the API knows", _SDK, _each(found, _refused_keywords)),
        Rule("every part of a schema has a type, an enum, a const, an anyOf, an allOf or a $ref", _SDK,
             _whole(found, _said)),
        Rule("a string of a schema has a format that the API knows", _SDK, _each(found, _api_formats)),
        Rule("minItems of a schema is 0 or 1", _SDK, _each(found, _min_items)),
        Rule("the values of an enum are strings, numbers, booleans or null", _SDK, _each(found, _primitive)),
        Rule("a $ref of a schema leads to a definition", _SDK, _whole(found, _references)),
        Rule("a schema does not contain itself", _LIMITS, _whole(found, _recursive)),
        Rule("the schemas of a request have at most 24 optional properties", _LIMITS, _optional(found)),
        Rule("the schemas of a request have at most 16 unions", _LIMITS, _unions(found)),
    )  # fmt: skip


def _refused_keywords(path: str, schema: JSONObject, report: Report) -> None:
    for key in schema:
        if key in _REFUSED:
            report(f"{path}.{key}")


def _said(path: str, schema: JSON, report: Report) -> None:
    for place in places(schema, path):
        said = place.schema
        known = {"type", "enum", "const", "anyOf", "oneOf", "allOf", "$ref"}
        if not isinstance(said, dict) or said.keys().isdisjoint(known):
            report(place.path)


def _api_formats(path: str, schema: JSONObject, report: Report) -> None:
    form = schema.get("format")
    if "format" in schema and (not isinstance(form, str) or form not in _FORMATS):
        report(f"{path}.format")


def _min_items(path: str, schema: JSONObject, report: Report) -> None:
    if "minItems" in schema and schema["minItems"] not in (0, 1):
        report(f"{path}.minItems")


def _primitive(path: str, schema: JSONObject, report: Report) -> None:
    for i, value in enumerate(schema["enum"] if isinstance(schema.get("enum"), list) else ()):
        if isinstance(value, (dict, list)):
            report(f"{path}.enum[{i}]")
    if isinstance(schema.get("const"), (dict, list)):
        report(f"{path}.const")


def _recursive(path: str, schema: JSON, report: Report) -> None:
    if isinstance(schema, dict) and _is_recursive(schema):
        report(path)


def _optional(found: Found) -> Check:
    def check(body: JSONObject, report: Report) -> None:
        counted = 0
        for path, schema in found(body):
            for place in places(schema, path):
                if isinstance(place.schema, dict) and isinstance(place.schema.get("properties"), dict):
                    required = place.schema.get("required")
                    counted += len(place.schema["properties"].keys() - set(_texts(required)))
                    if counted > 24:
                        report(place.path)
                        return

    return check


def _unions(found: Found) -> Check:
    def check(body: JSONObject, report: Report) -> None:
        counted = 0
        for path, schema in found(body):
            for place in places(schema, path):
                if isinstance(place.schema, dict):
                    counted += "anyOf" in place.schema or isinstance(place.schema.get("type"), list)
                    if counted > 16:
                        report(place.path)
                        return

    return check


def _texts(value: JSON) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
