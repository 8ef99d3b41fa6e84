"""A JSON Schema as Anthropic's structured output can say it.

    closed_schema(schema)   every object closed, what the format does not know in descriptions

Rules of this file:
- Total: any JSON value has an answer. A schema is never changed; what comes out shares nothing with it but leaves.
- A value that is valid under the closed schema is valid under the given one, but for the keywords moved into
  descriptions. So objects may be closed, and a map, which would become an object that is always empty, is refused.
- Written from Anthropic's rules, not from a validator: a keyword that nobody names here is one it does not know.
"""

from __future__ import annotations

from typing import Final

from ...chat.message_checks import MAX_DEPTH
from ...chat.options import unsupported
from ...decode import jsontext
from ...decode.jsontext import JSON, JSONObject
from ..schemas import FORMATS, OF_TYPE, TYPES, is_of, name_in_definitions

_API: Final = "Anthropic"
_CLOSED_FORMATS: Final = FORMATS | {"uri"}
#: Keywords that say nothing of a value, or nothing that closing does not say.
_SAYS_NOTHING: Final = frozenset({"$schema", "$id", "$comment", "$anchor"})
#: Keywords that the format does not have and no description can stand for, and what to write instead.
_CANNOT: Final = {
    "patternProperties": "it has no maps: use a list of objects with a key and a value",
    "prefixItems": "it has no tuples: use an object with named properties",
    "$dynamicRef": "references are #/$defs/... only",
    "$recursiveRef": "references are #/$defs/... only",
}
_MAP: Final = "it has no maps: name the properties, or use a list of objects with a key and a value"
_MAX_OPTIONAL: Final = 24
_MAX_UNIONS: Final = 16
#: Nodes of a schema after what it refers to was copied into place.
_MAX_NODES: Final = 20_000


def closed_schema(schema: JSON, path: str = "schema") -> JSONObject:
    """The schema as Anthropic's structured output takes it. Doing it twice changes nothing.

    Every object is closed, `oneOf` becomes `anyOf`, lists of types become `anyOf`, `allOf` becomes one schema; keywords
    the format does not have go into the description. Raises `LLMBadRequestError` naming the path of what it cannot say.
    """
    return _Closing(schema, path).root(path)


def check_closed(schemas: list[JSONObject], path: str) -> None:
    """Raise `LLMBadRequestError` if the closed schemas of one request are more than the API takes together."""
    nodes = [node for schema in schemas for node in _nodes(schema)]
    optional = sum(len(node.get("properties", {}).keys() - set(node.get("required", ()))) for node in nodes)
    unions = sum("anyOf" in node for node in nodes)
    for count, most, what in ((optional, _MAX_OPTIONAL, "optional properties"), (unions, _MAX_UNIONS, "unions")):
        if count > most:
            raise unsupported(path, _API, f"structured output has at most {most} {what}, and this has {count}")


def _nodes(node: JSONObject) -> list[JSONObject]:
    """Every part of a closed schema."""
    nested = [*node.get("properties", {}).values(), *node.get("$defs", {}).values(), *node.get("anyOf", ())]
    if "items" in node:
        nested.append(node["items"])
    return [node, *(inner for one in nested for inner in _nodes(one))]


class _Closing:
    """One schema in the making. Definitions are closed as they are met; one that meets itself is recursive."""

    def __init__(self, schema: JSON, path: str) -> None:
        self._schema = schema
        self._definitions: JSONObject = {}
        self._paths: dict[str, str] = {}
        for place in ("definitions", "$defs"):
            known = schema.get(place) if isinstance(schema, dict) else None
            for name, definition in known.items() if isinstance(known, dict) else ():
                self._definitions[name] = definition
                self._paths[name] = f"{path}.{place}.{name}"
        self._closed: JSONObject = {}
        self._open: set[str] = set()
        self._nodes = 0

    def root(self, path: str) -> JSONObject:
        closed = self._node(self._schema, path, 0)
        if self._closed:
            closed["$defs"] = self._closed
        return closed

    def _node(self, node: JSON, path: str, depth: int) -> JSONObject:
        self._nodes += 1
        if depth > MAX_DEPTH or self._nodes > _MAX_NODES:
            raise unsupported(path[:200], _API, "the schema is too large or too deep")
        if node is True:
            node = {}
        if not isinstance(node, dict):
            raise unsupported(path, _API, f"a schema is an object, not {_shown(node):.60}")
        for keyword, instead in _CANNOT.items():
            if keyword in node:
                raise unsupported(f"{path}.{keyword}", _API, f"in structured output {instead}")
        node = {key: value for key, value in node.items() if key not in _SAYS_NOTHING and key not in _PLACES}
        if "$ref" in node:
            return self._reference(node, path, depth)
        if "allOf" in node:
            return self._node(self._all_of(node, path, depth), path, depth + 1)
        kind = node.get("type")
        if isinstance(kind, list):
            return self._node(_by_type(node, path), path, depth + 1)
        for keyword in ("anyOf", "oneOf"):
            if keyword in node:
                return self._union(node, keyword, path, depth)
        if kind is None:
            kind = "object" if "properties" in node else "array" if "items" in node else None
        if kind is None and "enum" not in node and "const" not in node:
            raise unsupported(path, _API, "structured output has no schema for any value: give it a type")
        if kind is not None and kind not in TYPES:
            raise unsupported(f"{path}.type", _API, f"there is no type {kind!r:.40}")
        closed: JSONObject = {} if kind is None else {"type": kind}
        used = {"type", *_take_values(node, closed, kind, path)}
        if kind == "object":
            used |= self._object(node, closed, path, depth)
        elif kind == "array":
            if isinstance(node.get("items"), list):
                raise unsupported(f"{path}.items", _API, f"in structured output {_CANNOT['prefixItems']}")
            if "items" in node:
                closed["items"] = self._node(node["items"], f"{path}.items", depth + 1)
                used.add("items")
            if node.get("minItems") in (0, 1):
                closed["minItems"] = node["minItems"]
                used.add("minItems")
        elif kind == "string" and node.get("format") in tuple(_CLOSED_FORMATS):
            closed["format"] = node["format"]
            used.add("format")
        return _described(closed, node, used)

    def _object(self, node: JSONObject, closed: JSONObject, path: str, depth: int) -> set[str]:
        properties, required = node.get("properties", {}), node.get("required", [])
        more = node.get("additionalProperties", True)
        if not isinstance(properties, dict):
            raise unsupported(f"{path}.properties", _API, f"it must be an object, not {_shown(properties):.60}")
        if isinstance(more, dict) and more:
            raise unsupported(f"{path}.additionalProperties", _API, f"in structured output {_MAP}")
        # `"properties": {}` with no word of more is how a class without fields is written.
        if not properties and more is not False and ("properties" not in node or "additionalProperties" in node):
            raise unsupported(path, _API, f"an object without properties is a map, and in structured output {_MAP}")
        if not isinstance(required, list):
            raise unsupported(f"{path}.required", _API, "it must be the list of the properties that are required")
        for name in required:
            if name not in tuple(properties):
                raise unsupported(f"{path}.required", _API, f"it names {name!r:.60}, which is not among the properties")
        unevaluated = node.get("unevaluatedProperties")
        if isinstance(unevaluated, dict) and unevaluated:
            raise unsupported(f"{path}.unevaluatedProperties", _API, f"in structured output {_MAP}")
        closed["properties"] = {
            name: self._node(value, f"{path}.properties.{name}", depth + 1) for name, value in properties.items()
        }
        closed["additionalProperties"] = False
        if "required" in node:
            closed["required"] = list(dict.fromkeys(required))
        return {"properties", "required", "additionalProperties", "unevaluatedProperties"}

    def _union(self, node: JSONObject, keyword: str, path: str, depth: int) -> JSONObject:
        branches = node[keyword]
        if not isinstance(branches, list) or not branches:
            raise unsupported(f"{path}.{keyword}", _API, "it must be a list of schemas")
        rest = {key: value for key, value in node.items() if key != keyword}
        beside = {key: rest.pop(key) for key in tuple(rest) if key in _SHAPES}
        closed: JSONObject = {"anyOf": []}
        for i, branch in enumerate(branches):
            where = f"{path}.{keyword}[{i}]"
            # What stands beside the union holds for each of its branches.
            one = self._merged([beside, branch], where, depth) if beside else branch
            closed["anyOf"].append(self._node(one, where, depth + 1))
        if keyword == "oneOf" and len(branches) > 1:
            rest["oneOf"] = "exactly one of these"
        return _described(closed, rest, set())

    def _reference(self, node: JSONObject, path: str, depth: int) -> JSONObject:
        name = name_in_definitions(node["$ref"], self._definitions, *(f"#/{place}/" for place in _PLACES))
        if name is None:
            why = _RECURSIVE if node["$ref"] == "#" else f"{node['$ref']!r:.80} is not one of #/$defs/"
            raise unsupported(f"{path}.$ref", _API, why)
        if name in self._open or len(self._open) > MAX_DEPTH:
            raise unsupported(f"{path}.$ref", _API, f"{name!r:.60} {_RECURSIVE}")
        self._open.add(name)
        if len(node) > 1:
            # The format takes a reference alone, so what it refers to is copied in.
            rest = {key: value for key, value in node.items() if key != "$ref"}
            closed = self._node(self._merged([self._definitions[name], rest], path, depth), path, depth + 1)
        else:
            if name not in self._closed:
                self._closed[name] = self._node(self._definitions[name], self._paths[name], depth + 1)
            closed = {"$ref": "#/$defs/" + name.replace("~", "~0").replace("/", "~1")}
        self._open.discard(name)
        return closed

    def _all_of(self, node: JSONObject, path: str, depth: int) -> JSONObject:
        members = node["allOf"]
        if not isinstance(members, list) or not members:
            raise unsupported(f"{path}.allOf", _API, "it must be a list of schemas")
        rest = {key: value for key, value in node.items() if key != "allOf"}
        return self._merged([*members, rest], f"{path}.allOf", depth)

    def _merged(self, members: list[JSON], path: str, depth: int) -> JSONObject:
        """One schema that says all that these say; refused where that takes more than putting them together."""
        whole: JSONObject = {}
        for member in members:
            one = self._resolved(member, path, depth)
            for closed, other in ((whole, one), (one, whole)):
                if closed.get("additionalProperties") is False and not _names(other) <= _names(closed):
                    raise unsupported(path, _API, "one of its members is closed to what another has")
            for key, value in one.items():
                if key not in whole:
                    whole[key] = value
                elif key == "required" and isinstance(value, list) and isinstance(whole[key], list):
                    whole[key] = [*whole[key], *(name for name in value if name not in whole[key])]
                elif key == "properties" and isinstance(value, dict) and isinstance(whole[key], dict):
                    for name, schema in value.items():
                        if whole[key].get(name, schema) != schema:
                            raise unsupported(path, _API, f"it says two things of the property {name!r:.60}")
                    whole[key] = {**whole[key], **value}
                elif key == "description" and isinstance(value, str) and isinstance(whole[key], str):
                    whole[key] = whole[key] if value in whole[key] else f"{value}\n\n{whole[key]}"
                elif key == "title":
                    whole[key] = value
                elif key == "additionalProperties" and isinstance(value, bool) and isinstance(whole[key], bool):
                    whole[key] = value and whole[key]
                elif value != whole[key]:
                    raise unsupported(path, _API, f"it says two things by {key!r:.40}: write it as one schema")
        return whole

    def _resolved(self, member: JSON, path: str, depth: int) -> JSONObject:
        """A member of `allOf` without a reference or another `allOf` at its root."""
        self._nodes += 1
        if depth > MAX_DEPTH or self._nodes > _MAX_NODES:
            raise unsupported(path[:200], _API, "the schema is too large or too deep")
        if member is True:
            member = {}
        if not isinstance(member, dict):
            raise unsupported(path, _API, f"a schema is an object, not {_shown(member):.60}")
        member = {key: value for key, value in member.items() if key not in _SAYS_NOTHING and key not in _PLACES}
        if "$ref" in member:
            name = name_in_definitions(member["$ref"], self._definitions, *(f"#/{place}/" for place in _PLACES))
            if name is None:
                raise unsupported(path, _API, f"{member['$ref']!r:.80} is not one of #/$defs/")
            if name in self._open:
                raise unsupported(path, _API, f"{name!r:.60} {_RECURSIVE}")
            self._open.add(name)
            rest = {key: value for key, value in member.items() if key != "$ref"}
            merged = self._merged([self._definitions[name], rest], path, depth + 1)
            self._open.discard(name)
            return merged
        if "allOf" in member:
            return self._all_of(member, path, depth + 1)
        kept: JSONObject = member
        return kept


def _names(schema: JSONObject) -> set[str]:
    properties = schema.get("properties")
    return set(properties) if isinstance(properties, dict) else set()


_RECURSIVE: Final = "is recursive, which structured output does not have: nest a fixed number of levels"
_PLACES: Final = ("$defs", "definitions")
#: Keywords that say what a value is made of, and so hold for every branch of a union beside them.
_SHAPES: Final = (
    "type", "properties", "required", "additionalProperties", "items", "enum", "const", "minItems", "format",
    "anyOf", "oneOf",
)  # fmt: skip


def _take_values(node: JSONObject, closed: JSONObject, kind: str | None, path: str) -> set[str]:
    """The values that are listed, as far as they are of the type."""
    used: set[str] = set()
    for keyword in ("enum", "const"):
        if keyword in node:
            values = node[keyword] if keyword == "enum" else [node[keyword]]
            if not isinstance(values, list) or any(isinstance(value, (list, dict)) for value in values):
                raise unsupported(f"{path}.{keyword}", _API, "values are strings, numbers, booleans and null")
            values = [value for value in values if kind is None or is_of(value, kind)]
            if not values:
                raise unsupported(f"{path}.{keyword}", _API, "it has no value of this type")
            closed[keyword] = values if keyword == "enum" else values[0]
            used.add(keyword)
    return used


def _by_type(node: JSONObject, path: str) -> JSONObject:
    """A schema with a list of types as a union of schemas with one type each."""
    types = list(dict.fromkeys(kind for kind in node["type"] if isinstance(kind, str)))
    rest = {key: value for key, value in node.items() if key != "type"}
    if len(types) == 1:
        return {**rest, "type": types[0]}
    if not types or "anyOf" in rest or "oneOf" in rest:
        raise unsupported(f"{path}.type", _API, "it must be the name of a type here")
    values = rest.get("enum", [rest["const"]] if "const" in rest else None)
    if isinstance(values, list):
        # Listed values need no type; those of another type could not be meant.
        if "enum" not in rest:
            del rest["const"]
        return {**rest, "enum": [value for value in values if any(is_of(value, kind) for kind in types)]}
    branches = []
    taken: set[str] = set()
    for kind in types:
        own = {key: rest[key] for key in OF_TYPE.get("number" if kind == "integer" else kind, ()) if key in rest}
        taken |= own.keys()
        branches.append({"type": kind, **own})
    return {**{key: value for key, value in rest.items() if key not in taken}, "anyOf": branches}


def _described(closed: JSONObject, node: JSONObject, used: set[str]) -> JSONObject:
    """`closed` with title and description, and in it every keyword of `node` that was not used."""
    if isinstance(node.get("title"), str):
        closed["title"] = node["title"]
    said = node.get("description")
    texts = [said] if isinstance(said, str) and said else []
    moved = [f"{key}: {_shown(value)}" for key, value in node.items() if key not in used and key not in _LABELS]
    if moved:
        texts.append(f"{{{', '.join(moved)}}}")
    if texts:
        closed["description"] = "\n\n".join(texts)
    return closed


_LABELS: Final = ("title", "description")


def _shown(value: JSON) -> str:
    return value if isinstance(value, str) else jsontext.dumps(value).decode()
