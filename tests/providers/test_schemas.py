"""Schemas for structured output: when OpenAI's strict mode takes one, and what Anthropic's format makes of one."""

from __future__ import annotations

import copy
import json
import re

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sans_io.chat.messages import chat_request
from sans_io.errors import LLMBadRequestError
from sans_io.http.urls import parse_base_url
from sans_io.providers.anthropic.closed import check_closed, closed_schema
from sans_io.providers.anthropic.codec import AnthropicCodec
from sans_io.providers.ollama.codec import OllamaCodec
from sans_io.providers.openai_chat.codec import OpenAICodec
from sans_io.providers.openai_chat.strict import strict_problems
from sans_io.providers.registry import DIALECTS

HELLO = [{"role": "user", "content": "Hello"}]
TEXT = {"type": "string"}


def closed(properties: dict | None = None, **more: object) -> dict:
    """An object as strict mode wants it."""
    properties = {"a": TEXT} if properties is None else properties
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
        **more,
    }


def nested(levels: int, kind: str = "object") -> dict:
    schema: dict = closed()
    for _ in range(levels - 1):
        schema = closed({"a": schema if kind == "object" else {"type": "array", "items": schema}})
    return schema


def paths(schema: object, **options: bool) -> list[str]:
    return [problem.path for problem in strict_problems(schema, "s", **options)]


# -- OpenAI's strict mode ---------------------------------------------------------------------------------------------

NODE = closed({"value": {"type": "integer"}, "next": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]}})
STRICT = {
    "plain": closed(),
    "no properties": closed({}),
    "described": closed(title="T", description="D"),
    "nullable": closed({"a": {"type": ["string", "null"]}}),
    "enum": closed({"a": {"type": "string", "enum": ["x", "y"]}, "b": {"type": "integer", "const": 1}}),
    "number enum": closed({"a": {"type": "number", "enum": [1, 2.5]}}),
    "union": closed({"a": {"anyOf": [TEXT, closed({"b": TEXT}), closed({"c": TEXT})], "description": "D"}}),
    "list": closed({"a": {"type": "array", "items": closed(), "minItems": 1, "maxItems": 3}}),
    "formats": closed({name: {"type": "string", "format": name} for name in ("date-time", "date", "uuid", "email")}),
    "pattern": closed({"a": {"type": "string", "pattern": "^[a-z]+(?:x)?$"}}),
    "range": closed({"a": {"type": "integer", "minimum": 1, "exclusiveMaximum": 9, "multipleOf": 2}}),
    "reference": {**closed({"a": {"$ref": "#/$defs/X"}}), "$defs": {"X": closed()}},
    "escaped reference": {**closed({"a": {"$ref": "#/$defs/x~1y~0z"}}), "$defs": {"x/y~z": TEXT}},
    "recursion": {**closed({"head": {"$ref": "#/$defs/Node"}}), "$defs": {"Node": NODE}},
    "recursion by the root": closed({"a": TEXT, "more": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}),
    "ten levels": nested(10),
    "properties named as keywords": closed({"default": TEXT, "oneOf": TEXT, "$ref": TEXT}),
}
NOT_STRICT = {
    "reference with a description": (
        {**closed({"a": {"$ref": "#/$defs/X", "description": "D"}}), "$defs": {"X": TEXT}},
        "s.properties.a.$ref",
    ),
    "reference with a default": (
        {**closed({"a": {"$ref": "#/$defs/X", "default": "x"}}), "$defs": {"X": TEXT}},
        "s.properties.a.default",
    ),
    "reference to nothing": (closed({"a": {"$ref": "#/$defs/X"}}), "s.properties.a.$ref"),
    "reference into properties": (closed({"a": TEXT, "b": {"$ref": "#/properties/a"}}), "s.properties.b.$ref"),
    "reference elsewhere": (closed({"a": {"$ref": "https://x.example/s.json"}}), "s.properties.a.$ref"),
    "reference that is no text": (closed({"a": {"$ref": 5}}), "s.properties.a.$ref"),
    "uri": (closed({"a": {"type": "string", "format": "uri"}}), "s.properties.a.format"),
    "binary": (closed({"a": {"type": "string", "format": "binary"}}), "s.properties.a.format"),
    "format that is no text": (closed({"a": {"type": "string", "format": ["uri"]}}), "s.properties.a.format"),
    "no type": (closed({"a": {}}), "s.properties.a"),
    "no type but a description": (closed({"a": {"description": "anything"}}), "s.properties.a"),
    "no type but values": (closed({"a": {"enum": ["x"]}}), "s.properties.a"),
    "unknown type": (closed({"a": {"type": "text"}}), "s.properties.a.type"),
    "no name of a type": (closed({"a": {"type": []}}), "s.properties.a.type"),
    "any value": (closed({"a": True}), "s.properties.a"),
    "untyped array": (closed({"a": {"type": "array"}}), "s.properties.a"),
    "array of anything": (closed({"a": {"type": "array", "items": {}}}), "s.properties.a.items"),
    "tuple": (
        closed({"a": {"type": "array", "prefixItems": [TEXT], "items": TEXT}}),
        "s.properties.a.prefixItems",
    ),
    "union at the root": ({"anyOf": [closed()]}, "s"),
    "object and union at the root": (closed(anyOf=[closed()]), "s.anyOf"),
    "reference at the root": ({"$ref": "#/$defs/X", "$defs": {"X": closed()}}, "s"),
    "list at the root": ({"type": "array", "items": closed()}, "s"),
    "nullable root": (closed() | {"type": ["object", "null"]}, "s"),
    "unknown required": (closed() | {"required": ["a", "b"]}, "s.required"),
    "required that is no text": (closed() | {"required": ["a", 5]}, "s.required"),
    "optional": (closed({"a": TEXT, "b": TEXT}) | {"required": ["a"]}, "s.required"),
    "no required": ({k: v for k, v in closed().items() if k != "required"}, "s.required"),
    "open": ({k: v for k, v in closed().items() if k != "additionalProperties"}, "s.additionalProperties"),
    "said to be open": (closed() | {"additionalProperties": True}, "s.additionalProperties"),
    "map": (closed({"a": {"type": "object", "additionalProperties": TEXT}}), "s.properties.a.additionalProperties"),
    "open inside a list": (
        closed({"a": {"type": "array", "items": {"type": "object", "properties": {}, "required": []}}}),
        "s.properties.a.items.additionalProperties",
    ),
    "open inside a union": (
        closed({"a": {"anyOf": [{"type": "null"}, closed() | {"additionalProperties": True}]}}),
        "s.properties.a.anyOf[1].additionalProperties",
    ),
    "open inside a definition": (
        {**closed({"a": {"$ref": "#/$defs/X"}}), "$defs": {"X": {"type": "object", "properties": {}}}},
        "s.$defs.X.additionalProperties",
    ),
    "open behind a nullable type": (
        closed({"a": {"type": ["object", "null"], "properties": {}, "required": []}}),
        "s.properties.a.additionalProperties",
    ),
    "eleven levels": (nested(11), "s" + ".properties.a" * 10),
    "levels of lists": (nested(7, "array"), "s" + ".properties.a.items" * 5),
    "default": (closed({"a": {"type": "string", "default": "x"}}), "s.properties.a.default"),
    "oneOf": (closed({"a": {"oneOf": [TEXT]}}), "s.properties.a.oneOf"),
    "allOf": (closed({"a": {"type": "string", "allOf": [TEXT]}}), "s.properties.a.allOf"),
    "not": (closed({"a": {"type": "string", "not": {"const": "x"}}}), "s.properties.a.not"),
    "patternProperties": (closed(patternProperties={"^x": TEXT}), "s.patternProperties"),
    "minLength": (closed({"a": {"type": "string", "minLength": 1}}), "s.properties.a.minLength"),
    "lookaround": (closed({"a": {"type": "string", "pattern": "(?=x)y"}}), "s.properties.a.pattern"),
    "look behind": (closed({"a": {"type": "string", "pattern": "(?<!x)y"}}), "s.properties.a.pattern"),
    "a vendor's keyword": (closed({"a": {"type": "string", "x-order": 1}}), "s.properties.a.x-order"),
    "too many values": (closed({"a": {"type": "integer", "enum": list(range(1001))}}), "s"),
    "too much text in values": (
        closed({"a": {"type": "string", "enum": [f"{i:060}" for i in range(251)]}}),
        "s.properties.a.enum",
    ),
    "no values": (closed({"a": {"type": "string", "enum": []}}), "s.properties.a.enum"),
    "a value of another type": (closed({"a": {"type": "string", "enum": ["x", 1]}}), "s.properties.a"),
    "too many properties": (closed({f"p{i}": TEXT for i in range(5001)}), "s"),
    "too long names": (closed({f"{i:0>2000}": TEXT for i in range(61)}), "s"),
    "the same first key": (
        closed({"a": {"anyOf": [closed({"kind": TEXT, "x": TEXT}), closed({"kind": TEXT, "y": TEXT})]}}),
        "s.properties.a.anyOf[1]",
    ),
    "the same first key behind a reference": (
        {
            **closed({"a": {"anyOf": [{"$ref": "#/$defs/X"}, closed({"kind": TEXT, "y": TEXT})]}}),
            "$defs": {"X": closed({"kind": TEXT})},
        },
        "s.properties.a.anyOf[1]",
    ),
    "empty union": (closed({"a": {"anyOf": []}}), "s.properties.a.anyOf"),
    "a range of a text": (closed({"a": {"type": "string", "minimum": 1}}), "s.properties.a.minimum"),
    "no schema": (5, "s"),
    "nothing": ({}, "s"),
}  # fmt: skip


@pytest.mark.parametrize("name", STRICT)
def test_what_strict_mode_takes(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(STRICT[name])
    assert strict_problems(STRICT[name]) == []


@pytest.mark.parametrize("name", NOT_STRICT)
def test_what_strict_mode_refuses_and_where(name: str) -> None:
    schema, path = NOT_STRICT[name]
    assert path in paths(schema)


def test_what_only_some_models_refuse_is_not_certain() -> None:
    assert paths(closed({"a": {"type": "string", "minLength": 1, "maxLength": 2}}), certain=True) == []
    assert paths(nested(7, "array"), certain=True) == []
    assert paths(closed({"a": {"type": "string", "default": "x"}}), certain=True) == ["s.properties.a.default"]


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(["object", "string", "#", "#/$defs/A", "", "x"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from([
            "type", "properties", "required", "items", "anyOf", "oneOf", "allOf", "$ref", "$defs", "enum", "const",
            "additionalProperties", "A", "format", "description", "minItems", "prefixItems", "not",
        ]),
        inner, max_size=5,
    ),
    max_leaves=30,
)  # fmt: skip


@given(JSON_VALUES)
def test_any_json_has_an_answer(value: object) -> None:
    before = copy.deepcopy(value)
    strict_problems(value)
    strict_problems(value, certain=True)
    try:
        made = closed_schema(value)
    except LLMBadRequestError as error:
        assert error.message.startswith("schema")
    else:
        check_shape(made, made.get("$defs", {}))
        assert closed_schema(made) == made
    assert value == before


def codec(vendor: str) -> OpenAICodec:
    row = DIALECTS[vendor]
    return OpenAICodec(parse_base_url(row.base_url or "https://x.openai.azure.com/openai/v1"), row)


def sent(vendor: str, **options: object) -> dict:
    return json.loads(codec(vendor).build(chat_request(HELLO, "m", **options)).body)


@pytest.mark.parametrize("vendor", ["openai", "azure", "openrouter"])
def test_strict_is_sent_where_it_holds_and_only_there(vendor: str) -> None:
    for schema in STRICT.values():
        inner = sent(vendor, response_format=schema)["response_format"]["json_schema"]
        assert inner == {"name": inner["name"], "schema": schema, "strict": True}
    for schema, _ in NOT_STRICT.values():
        if isinstance(schema, dict):
            given_form = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
            assert sent(vendor, response_format=given_form)["response_format"] == given_form


@pytest.mark.parametrize("name", ["reference with a description", "uri", "open inside a union", "no type", "optional"])
def test_strict_that_was_asked_for_is_refused_where_it_cannot_be(name: str) -> None:
    schema, path = NOT_STRICT[name]
    for options, prefix in (
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "n", "strict": True, "schema": schema}}},
         "response_format"),
        ({"tools": [{"name": "f", "parameters": schema, "strict": True}]}, "tools[0].parameters"),
        ({"tools": [{"type": "function", "function": {"name": "f", "parameters": schema, "strict": True}}]},
         "tools[0].parameters"),
    ):  # fmt: skip
        with pytest.raises(LLMBadRequestError) as caught:
            sent("openai", **options)
        assert caught.value.message.startswith(prefix + path.removeprefix("s"))
        assert "strict" in caught.value.message
        assert "strict" in json.dumps(sent("groq", **options)), "its rules are not known"


def test_strict_that_was_asked_for_goes_where_some_models_take_it() -> None:
    schema = closed({"a": {"type": "string", "minLength": 1}})
    asked = {"type": "json_schema", "json_schema": {"name": "n", "strict": True, "schema": schema}}
    assert sent("openai", response_format=asked)["response_format"] == asked
    assert sent("openai", tools=[{"name": "f", "strict": True}])["tools"][0]["function"] == {
        "name": "f",
        "strict": True,
        "parameters": closed({}),
    }


# -- Anthropic's format -----------------------------------------------------------------------------------------------

FORMATS = {"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"}


def check_shape(node: object, definitions: dict) -> None:
    """The vendor's rules for a schema, written apart from the code that obeys them."""
    assert isinstance(node, dict)
    keys = node.keys() - {"title", "description", "$defs"}
    if "$ref" in node:
        assert node.keys() <= {"$ref", "$defs"}
        assert node["$ref"].removeprefix("#/$defs/").replace("~1", "/").replace("~0", "~") in definitions
    elif "anyOf" in node:
        assert keys == {"anyOf"}
        assert node["anyOf"]
        for branch in node["anyOf"]:
            check_shape(branch, definitions)
    elif node.get("type") == "object":
        assert node["additionalProperties"] is False
        assert keys <= {"type", "properties", "required", "additionalProperties", "enum", "const"}
        assert set(node.get("required", ())) <= node["properties"].keys()
        for value in node["properties"].values():
            check_shape(value, definitions)
    elif node.get("type") == "array":
        assert keys <= {"type", "items", "minItems", "enum", "const"}
        assert node.get("minItems", 0) in (0, 1)
        if "items" in node:
            check_shape(node["items"], definitions)
    else:
        assert keys <= {"type", "format", "enum", "const"}
        assert keys & {"type", "enum", "const"}
        assert node.get("format", "uri") in FORMATS
    assert all(not isinstance(value, (list, dict)) for value in node.get("enum", ()))
    for definition in node.get("$defs", {}).values():
        check_shape(definition, definitions)


SAID = {
    "closed": (closed(), closed()),
    "open": ({"type": "object", "properties": {"a": TEXT}},
             {"type": "object", "properties": {"a": TEXT}, "additionalProperties": False}),
    "said to be open": ({"type": "object", "properties": {"a": TEXT}, "additionalProperties": True},
                        {"type": "object", "properties": {"a": TEXT}, "additionalProperties": False}),
    "no type": ({"properties": {"a": TEXT}}, {"type": "object", "properties": {"a": TEXT}, "additionalProperties": False}),
    "empty by intention": ({"type": "object", "additionalProperties": False},
                           {"type": "object", "properties": {}, "additionalProperties": False}),
    "range": ({"type": "integer", "minimum": 1, "maximum": 5, "description": "Stars."},
              {"type": "integer", "description": "Stars.\n\n{minimum: 1, maximum: 5}"}),
    "text": ({"type": "string", "minLength": 1, "pattern": "^a"},
             {"type": "string", "description": "{minLength: 1, pattern: ^a}"}),
    "format it has": ({"type": "string", "format": "uri"}, {"type": "string", "format": "uri"}),
    "format it has not": ({"type": "string", "format": "binary"}, {"type": "string", "description": "{format: binary}"}),
    "some": ({"type": "array", "items": TEXT, "minItems": 1}, {"type": "array", "items": TEXT, "minItems": 1}),
    "several": ({"type": "array", "items": TEXT, "minItems": 2, "uniqueItems": True},
                {"type": "array", "items": TEXT, "description": "{minItems: 2, uniqueItems: true}"}),
    "default": ({"type": "string", "default": "lo"}, {"type": "string", "description": "{default: lo}"}),
    "values": ({"enum": ["a", 1, None]}, {"enum": ["a", 1, None]}),
    "values of one type": ({"type": "string", "enum": ["a", 1]}, {"type": "string", "enum": ["a"]}),
    "nullable": ({"type": ["string", "null"], "format": "date", "title": "When"},
                 {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}], "title": "When"}),
    "nullable values": ({"type": ["string", "null"], "enum": ["a", None, 5]}, {"enum": ["a", None]}),
    "nullable object": ({"type": ["object", "null"], "properties": {"a": TEXT}},
                        {"anyOf": [{"type": "object", "properties": {"a": TEXT}, "additionalProperties": False},
                                   {"type": "null"}]}),
    "list with one type": ({"type": ["string"]}, TEXT),
    "one of": ({"oneOf": [TEXT, {"type": "null"}]},
               {"anyOf": [TEXT, {"type": "null"}], "description": "{oneOf: exactly one of these}"}),
    "union with what holds for all": (
        {"type": "object", "properties": {"a": TEXT, "b": TEXT}, "anyOf": [{"required": ["a"]}, {"required": ["b"]}]},
        {"anyOf": [{"type": "object", "properties": {"a": TEXT, "b": TEXT}, "additionalProperties": False, "required": [n]}
                   for n in "ab"]}),
    "type and union": (
        {"type": "object", "additionalProperties": True, "anyOf": [closed(), closed({"b": TEXT})]},
        {"anyOf": [closed(), closed({"b": TEXT})]}),
    "all of what is closed to what it has": (
        {"allOf": [closed({"a": TEXT, "b": TEXT}), {"type": "object", "properties": {"b": TEXT}}]},
        closed({"a": TEXT, "b": TEXT})),
    "all of one": ({"allOf": [{"$ref": "#/$defs/X"}], "description": "D", "$defs": {"X": {"type": "string", "title": "X"}}},
                   {"type": "string", "title": "X", "description": "D"}),
    "all of several": (
        {"allOf": [{"type": "object", "properties": {"a": TEXT}, "required": ["a"]},
                   {"type": "object", "properties": {"b": TEXT}, "required": ["b"]}]},
        {"type": "object", "properties": {"a": TEXT, "b": TEXT}, "additionalProperties": False, "required": ["a", "b"]}),
    "reference": ({"$ref": "#/$defs/X", "$defs": {"X": {"type": "object", "properties": {"a": TEXT}}}},
                  {"$ref": "#/$defs/X", "$defs": {"X": {"type": "object", "properties": {"a": TEXT}, "additionalProperties": False}}}),
    "old place of definitions": (
        {"type": "object", "properties": {"a": {"$ref": "#/definitions/X"}}, "definitions": {"X": TEXT}},
        {"type": "object", "properties": {"a": {"$ref": "#/$defs/X"}}, "additionalProperties": False, "$defs": {"X": TEXT}}),
    "described reference": (
        {"type": "object", "properties": {"a": {"$ref": "#/$defs/X", "description": "D", "default": "x"}},
         "$defs": {"X": {"type": "string", "enum": ["x"], "description": "An X."}}},
        {"type": "object", "properties": {"a": {"type": "string", "enum": ["x"], "description": "D\n\nAn X.\n\n{default: x}"}},
         "additionalProperties": False}),
    "what says nothing": ({"type": "string", "$schema": "s", "$comment": "c", "$id": "i"}, TEXT),
}  # fmt: skip


@pytest.mark.parametrize("name", SAID)
def test_what_becomes_of_a_schema(name: str) -> None:
    schema, expected = SAID[name]
    before = copy.deepcopy(schema)
    made = closed_schema(schema)
    assert made == expected
    assert closed_schema(made) == made
    assert schema == before
    check_shape(made, made.get("$defs", {}))


A_MAP = {"type": "object", "additionalProperties": TEXT}
NOT_SAID = {
    "map": (A_MAP, "s.additionalProperties"),
    "map beside properties": (A_MAP | {"properties": {"a": TEXT}}, "s.additionalProperties"),
    "map in a property": ({"type": "object", "properties": {"extra": A_MAP}}, "s.properties.extra.additionalProperties"),
    "map in a list": ({"type": "array", "items": A_MAP}, "s.items.additionalProperties"),
    "map in a union": ({"anyOf": [{"type": "null"}, A_MAP]}, "s.anyOf[1].additionalProperties"),
    "map in a definition": (
        {"$ref": "#/$defs/X", "$defs": {"X": A_MAP}},
        "s.$defs.X.additionalProperties",
    ),
    "map behind a nullable type": ({"type": ["object", "null"], "additionalProperties": TEXT},
                                   "s.anyOf[0].additionalProperties"),
    "open map": ({"type": "object"}, "s"),
    "open map with no properties": ({"type": "object", "properties": {}, "additionalProperties": True}, "s"),
    "open map said to be one": ({"type": "object", "additionalProperties": True}, "s"),
    "map by patterns": ({"type": "object", "properties": {"a": TEXT}, "patternProperties": {"^x": TEXT}},
                        "s.patternProperties"),
    "map by what is left": ({"type": "object", "properties": {"a": TEXT}, "unevaluatedProperties": TEXT},
                            "s.unevaluatedProperties"),
    "recursion": ({"$ref": "#/$defs/Node", "$defs": {"Node": NODE}}, "s.$defs.Node.properties.next.anyOf[0].$ref"),
    "recursion of two": (
        {"$ref": "#/$defs/A", "$defs": {"A": {"type": "array", "items": {"$ref": "#/$defs/B"}},
                                        "B": {"type": "array", "items": {"$ref": "#/$defs/A"}}}},
        "s.$defs.B.items.$ref"),
    "recursion by the root": (closed({"a": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}), "s.properties.a.anyOf[0].$ref"),
    "recursion of a described reference": (
        {"$ref": "#/$defs/A", "$defs": {"A": {"type": "array", "items": {"$ref": "#/$defs/A", "description": "D"}}}},
        "s.$defs.A.items.$ref"),
    "recursion of all of": ({"$ref": "#/$defs/A", "$defs": {"A": {"allOf": [{"$ref": "#/$defs/A"}]}}}, "s.$defs.A.allOf"),
    "reference to nothing": ({"$ref": "#/$defs/X"}, "s.$ref"),
    "reference elsewhere": (closed({"a": {"$ref": "other.json"}}), "s.properties.a.$ref"),
    "any value": ({}, "s"),
    "any value in a list": ({"type": "array", "items": True}, "s.items"),
    "no value": (closed({"a": False}), "s.properties.a"),
    "tuple": ({"type": "array", "prefixItems": [TEXT]}, "s.prefixItems"),
    "tuple of old": ({"type": "array", "items": [TEXT]}, "s.items"),
    "unknown type": ({"type": "text"}, "s.type"),
    "unknown required": (closed() | {"required": ["a", "b"]}, "s.required"),
    "values that are objects": ({"enum": [{"a": 1}]}, "s.enum"),
    "a value that is a list": ({"const": [1]}, "s.const"),
    "no value of its type": ({"type": "integer", "enum": ["a"]}, "s.enum"),
    "all of what differs": ({"allOf": [{"type": "string", "minLength": 1}, {"type": "string", "minLength": 2}]}, "s.allOf"),
    "all of what is closed": ({"allOf": [closed(), {"type": "object", "properties": {"b": TEXT}}]}, "s.allOf"),
}  # fmt: skip


@pytest.mark.parametrize("name", NOT_SAID)
def test_what_cannot_be_said_is_refused_by_its_path(name: str) -> None:
    schema, path = NOT_SAID[name]
    with pytest.raises(LLMBadRequestError) as caught:
        closed_schema(schema, "s")
    assert caught.value.message.startswith(f"{path} is not supported by the Anthropic API: ")


def test_a_class_without_fields_is_an_empty_object() -> None:
    closed_class = {"type": "object", "properties": {}, "additionalProperties": False}
    assert closed_schema({"type": "object", "properties": {}}) == closed_class


def test_limits_of_one_request() -> None:
    def optional(count: int) -> dict:
        return closed_schema({"type": "object", "properties": {f"p{i}": TEXT for i in range(count)}})

    def unions(count: int) -> dict:
        return closed_schema(closed({f"p{i}": {"type": ["string", "null"]} for i in range(count)}))

    for fitting in ([optional(24)], [optional(12), optional(12)], [unions(16)], [optional(24), unions(16)]):
        check_closed(fitting, "response_format")
    for too_many, count in (([optional(25)], 25), ([optional(20), optional(5)], 25), ([unions(17)], 17)):
        with pytest.raises(LLMBadRequestError, match=rf"^response_format is not .*, and this has {count}$"):
            check_closed(too_many, "response_format")
    in_lists = closed({f"p{i}": {"type": "array", "items": {"type": ["string", "null"]}} for i in range(17)})
    with pytest.raises(LLMBadRequestError, match="and this has 17"):
        check_closed([closed_schema(in_lists)], "s")


def test_a_schema_that_grows_without_end_is_refused() -> None:
    definitions: dict = {"D0": TEXT}
    for i in range(1, 40):
        both = {"$ref": f"#/$defs/D{i - 1}", "description": "D"}
        definitions[f"D{i}"] = {"type": "object", "properties": {"a": both, "b": both}}
    with pytest.raises(LLMBadRequestError, match="too large"):
        closed_schema({"$ref": "#/$defs/D39", "$defs": definitions})
    definitions = {"D0": TEXT}
    for i in range(1, 40):
        definitions[f"D{i}"] = {"allOf": [{"$ref": f"#/$defs/D{i - 1}"}] * 2}
    with pytest.raises(LLMBadRequestError, match="too large"):
        closed_schema({"$ref": "#/$defs/D39", "$defs": definitions})


# -- laws of the closed schema ----------------------------------------------------------------------------------------

NAMES = st.sampled_from("abc")
LEAVES = st.one_of(
    st.sampled_from([
        {"type": "string"}, {"type": "integer"}, {"type": "number"}, {"type": "boolean"}, {"type": "null"},
        {"type": ["string", "null"]}, {"type": ["integer", "string"]}, {"enum": ["x", 1, None]}, {"const": "x"},
        {"type": "string", "enum": ["x", "y"]}, {"type": ["string", "null"], "enum": ["x", None, 2]},
        {"type": "integer", "minimum": 2}, {"type": "string", "maxLength": 1}, {"type": ["number", "null"], "maximum": 1},
        {"$ref": "#/$defs/A"}, {"$ref": "#/$defs/A", "description": "D"}, {"type": "string", "format": "x", "default": "y"},
        {"type": "object", "additionalProperties": {"type": "string"}}, {"type": "object"}, {},
    ])
)  # fmt: skip


def _containers(inner: st.SearchStrategy[dict]) -> st.SearchStrategy[dict]:
    @st.composite
    def an_object(draw: st.DrawFn) -> dict:
        properties = draw(st.dictionaries(NAMES, inner, min_size=1, max_size=3))
        schema: dict = {"type": "object", "properties": properties}
        if draw(st.booleans()):
            schema["required"] = draw(st.lists(st.sampled_from(sorted(properties)), unique=True))
        if draw(st.booleans()):
            schema["additionalProperties"] = draw(st.booleans())
        if draw(st.integers(0, 3)) == 0:
            schema["anyOf"] = [{"required": [name]} for name in properties]
        if draw(st.integers(0, 3)) == 0:
            schema["minProperties"] = 1
        return schema

    branches = st.lists(inner, min_size=1, max_size=3)
    return st.one_of(
        an_object(),
        st.fixed_dictionaries({"type": st.just("array"), "items": inner}, optional={"minItems": st.integers(0, 2)}),
        st.fixed_dictionaries({"anyOf": branches}, optional={"description": st.just("D")}),
        st.fixed_dictionaries({"oneOf": branches}),
        st.fixed_dictionaries({"allOf": branches}),
    )


SCHEMAS = st.builds(
    lambda root, definition: {**root, "$defs": {"A": definition}},
    st.recursive(LEAVES, _containers, max_leaves=8),
    st.recursive(LEAVES, _containers, max_leaves=3),
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 3) | st.sampled_from([0.5, "x", "y", "xy", ""]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES | st.just("z"), inner, max_size=3),
    max_leaves=8,
)
#: What the format does not have, and goes into descriptions.
MOVED = ("minimum", "maximum", "maxLength", "format", "minProperties", "default")


def without_moved(node: object) -> object:
    """A schema without the keywords that are moved; one of several may then match more than once."""
    if isinstance(node, list):
        return [without_moved(one) for one in node]
    if not isinstance(node, dict):
        return node
    kept = {key: without_moved(value) for key, value in node.items() if key not in MOVED}
    if kept.get("minItems", 0) not in (0, 1):
        del kept["minItems"]
    if "oneOf" in kept:
        kept["anyOf"] = kept.pop("oneOf")
    return kept


@given(SCHEMAS, st.lists(VALUES, max_size=8), st.data())
def test_what_is_valid_closed_is_valid_as_given(schema: dict, values: list, data: st.DataObject) -> None:
    before = copy.deepcopy(schema)
    try:
        made = closed_schema(schema)
    except LLMBadRequestError:
        assert schema == before
        return
    assert schema == before
    assert closed_schema(made) == made
    check_shape(made, made.get("$defs", {}))
    original = jsonschema.Draft202012Validator(without_moved(schema))
    result = jsonschema.Draft202012Validator(made)
    for value in [*values, data.draw(instances(made, made.get("$defs", {})))]:
        if result.is_valid(value):
            assert original.is_valid(value)


@st.composite
def instances(draw: st.DrawFn, node: dict, definitions: dict) -> object:
    """A value that a closed schema allows."""
    if "$ref" in node:
        node = definitions[node["$ref"].removeprefix("#/$defs/")]
    if "anyOf" in node:
        return draw(instances(draw(st.sampled_from(node["anyOf"])), definitions))
    if "const" in node:
        return node["const"]
    if "enum" in node:
        return draw(st.sampled_from(node["enum"]))
    kind = node["type"]
    if kind == "object":
        names = [n for n in node["properties"] if n in node.get("required", ()) or draw(st.booleans())]
        return {name: draw(instances(node["properties"][name], definitions)) for name in names}
    if kind == "array":
        return [
            draw(instances(node["items"], definitions)) for _ in range(draw(st.integers(node.get("minItems", 0), 2)))
        ]
    return draw({
        "string": st.sampled_from(["", "x", "xy"]), "integer": st.integers(-2, 3), "number": st.sampled_from([0.5, 2]),
        "boolean": st.booleans(), "null": st.none(),
    }[kind])  # fmt: skip


@given(SCHEMAS)
def test_nothing_is_lost_without_a_word(schema: dict) -> None:
    try:
        made = json.dumps(closed_schema(schema))
    except LLMBadRequestError:
        return
    reachable = json.dumps({key: value for key, value in schema.items() if key != "$defs" or '"$ref"' in made})
    for keyword in MOVED:
        if f'"{keyword}"' in reachable and "#/$defs/A" not in json.dumps(schema):
            assert re.search(rf"[{{ ]{keyword}: ", made) or f'"{keyword}"' in made


# -- on the wires -----------------------------------------------------------------------------------------------------

ANTHROPIC = AnthropicCodec(parse_base_url("https://api.anthropic.com"))
OLLAMA = OllamaCodec(parse_base_url("http://127.0.0.1:11434"))


def body(codec: object, **options: object) -> dict:
    return json.loads(codec.build(chat_request(HELLO, "m", **options)).body)


def test_anthropic_gets_closed_schemas() -> None:
    person = {
        "type": "object",
        "title": "person",
        "properties": {"name": TEXT, "age": {"type": "integer", "minimum": 0}},
    }
    made = closed_schema(person)
    for form in (
        person,
        {"type": "json_schema", "schema": person},
        {"type": "json_schema", "json_schema": {"name": "n", "schema": person, "strict": False}},
    ):
        assert body(ANTHROPIC, response_format=form)["output_config"] == {
            "format": {"type": "json_schema", "schema": made}
        }
    described = {"type": "json_schema", "json_schema": {"name": "n", "description": "Somebody.", "schema": person}}
    assert body(ANTHROPIC, response_format=described)["output_config"]["format"]["schema"]["description"] == "Somebody."


@pytest.mark.parametrize(
    "wanted", ["json", {"type": "json_object"}, {"type": "json_schema", "json_schema": {"name": "n"}}]
)
def test_json_without_a_schema_is_refused_on_anthropic(wanted: object) -> None:
    with pytest.raises(LLMBadRequestError, match=r"^response_format is not supported by the Anthropic API: .*schema"):
        body(ANTHROPIC, response_format=wanted)


def test_a_map_is_refused_by_name_on_anthropic_and_goes_to_the_others() -> None:
    schema = {"type": "object", "properties": {"extra": A_MAP}}
    with pytest.raises(LLMBadRequestError, match=r"^response_format\.properties\.extra\.additionalProperties is not"):
        body(ANTHROPIC, response_format=schema)
    assert body(OLLAMA, response_format=schema)["format"] == schema
    assert sent("openai", response_format=schema)["response_format"]["json_schema"] == {
        "name": "answer",
        "schema": schema,
    }


def test_strict_tools_are_closed_on_anthropic() -> None:
    parameters = {"type": "object", "properties": {"x": {"type": "integer", "minimum": 1}}}
    open_tool, strict_tool = ({"name": name, "parameters": parameters} for name in "fg")
    no_arguments = (
        {"name": "h", "strict": True},
        {"name": "i", "strict": True, "parameters": {"type": "object", "properties": {}}},
    )
    tools = body(ANTHROPIC, tools=[open_tool, {**strict_tool, "strict": True}, *no_arguments])["tools"]
    assert tools[0]["input_schema"] == parameters
    assert tools[1]["input_schema"] == closed_schema(parameters)
    for tool in tools[2:]:
        assert tool["input_schema"] == {"type": "object", "properties": {}, "additionalProperties": False}
    with pytest.raises(LLMBadRequestError, match=r"^tools\[0\]\.parameters\.additionalProperties is not"):
        body(ANTHROPIC, tools=[{"name": "f", "strict": True, "parameters": A_MAP}])
    either = {
        "type": "object",
        "properties": {"a": TEXT, "b": TEXT},
        "anyOf": [{"required": ["a"]}, {"required": ["b"]}],
    }
    with pytest.raises(LLMBadRequestError, match=r"^tools\[0\]\.parameters is not .* no union"):
        body(ANTHROPIC, tools=[{"name": "f", "strict": True, "parameters": either}])
    with pytest.raises(LLMBadRequestError, match=r"^tools is not .* 20 strict tools, and these are 21"):
        body(ANTHROPIC, tools=[{"name": f"f{i}", "strict": True} for i in range(21)])


def test_the_limits_count_tools_and_format_together() -> None:
    wide = {"type": "object", "properties": {f"p{i}": TEXT for i in range(13)}}
    tool = {"name": "f", "strict": True, "parameters": wide}
    body(ANTHROPIC, response_format=wide)
    body(ANTHROPIC, tools=[tool])
    with pytest.raises(LLMBadRequestError, match=r"^response_format with strict tools .* and this has 26"):
        body(ANTHROPIC, tools=[tool], response_format=wide)
