"""Every rule of every vendor is broken by something, and a body that keeps them all breaks none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sans_io.providers.registry import DIALECTS
from sans_io.providers.rules import VENDORS, rules_of, violations
from tests.providers.rules.kit import MODELS
from tests.providers.rules.table import document

JSON = Any
HI = {"role": "user", "content": "Hi"}
OBJECT = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}


def _tool(name: str = "f", **more: JSON) -> JSON:
    return {"type": "function", "function": {"name": name, "parameters": OBJECT, **more}}


def _call(label: str = "abcdefghi", **function: JSON) -> JSON:
    return {"id": label, "type": "function", "function": {"name": "f", "arguments": "{}", **function}}


def _calling(*calls: JSON, **message: JSON) -> JSON:
    return {"role": "assistant", "content": "", "reasoning_content": "", "tool_calls": list(calls), **message}


def _result(label: str = "abcdefghi", **more: JSON) -> JSON:
    return {"role": "tool", "tool_call_id": label, "content": "x", **more}


def _parts(*parts: JSON, role: str = "user") -> JSON:
    return {"messages": [{"role": role, "content": list(parts)}]}


def _wanted(schema: JSON, name: JSON = "x", strict: bool = True) -> JSON:
    return {
        "response_format": {"type": "json_schema", "json_schema": {"name": name, "schema": schema, "strict": strict}}
    }


def _nested(levels: int) -> JSON:
    schema: JSON = {"type": "string"}
    for _ in range(levels):
        schema = {"type": "object", "properties": {"x": schema}, "required": ["x"], "additionalProperties": False}
    return schema


def _of(**properties: JSON) -> JSON:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


#: Bodies of chat completions, each beside a model and a message.
CHAT: list[JSON] = [
    {"messages": []}, {"messages": ["Hi"]}, {"model": ""}, {"unheard_of": 1},
    {"messages": [{"role": "robot", "content": "x"}]}, {"messages": [{"role": "user", "content": 5}]},
    {"messages": [{"role": "user", "content": []}]}, {"messages": [{**HI, "timestamp": 1}]},
    {"messages": [{**HI, "is_error": True}]}, {"messages": [{**HI, "name": "a b"}]},
    {"messages": [HI, {"role": "assistant", "content": None}, HI]},
    {"messages": [HI, {"role": "assistant", "content": ""}, HI]}, {"messages": [HI, {"role": "assistant", "content": "A"}]},
    {"messages": [HI, {"role": "assistant", "content": "A", "tool_calls": []}, HI]},
    {"messages": [HI, {"role": "assistant", "content": "A", "function_call": {"name": ""}}, HI]},
    _parts({"type": "oracle"}), _parts({"type": "image_url", "image_url": {"url": "ftp://x"}}),
    _parts({"type": "image_url", "image_url": {}}), _parts({"type": "input_audio", "input_audio": {"data": 5}}),
    _parts({"type": "file", "file": {}}), _parts({"type": "text", "text": "x", "cache_control": {}}),
    {"messages": [HI, _calling({**_call(), "type": "magic"}), _result()]}, {"messages": [HI, _calling(_call("")), _result("")]},
    {"messages": [HI, _calling({**_call(), "index": 0, "hint": 1}), _result()]},
    {"messages": [HI, _calling(_call(arguments=5)), _result()]}, {"messages": [HI, _calling(_call(name="a b")), _result()]},
    {"messages": [HI, _calling(_call(), _call()), _result(), _result()]}, {"messages": [HI, _calling(_call())]},
    {"messages": [HI, _result()]}, {"messages": [HI, _calling(_call("c" * 41)), _result("c" * 41)]},
    {"messages": [HI, {"role": "assistant", "tool_calls": [_call()]}, _result()], "model": "gemini-3-pro"},
    {"tools": []}, {"tools": [{"type": "magic"}]}, {"tools": [_tool("a b")]}, {"tools": [_tool(), _tool()]},
    {"tools": [_tool(f"f{i}") for i in range(129)]}, {"tools": [{"type": "function", "function": {"name": "f"}}]},
    {"tools": [_tool(parameters={"properties": {}})]}, {"tools": [_tool(hint=1)]},
    {"tool_choice": "required"}, {"tools": [_tool()], "tool_choice": "sometimes"},
    {"tools": [_tool()], "tool_choice": {"type": "function", "function": {"name": "g"}}},
    {"tools": [_tool()], "tool_choice": "required", "thinking": {"type": "enabled"}},
    {"parallel_tool_calls": True}, {"stream_options": {"include_usage": True}}, {"max_tokens": 0},
    {"max_tokens": 5, "max_completion_tokens": 5}, {"temperature": 3}, {"top_p": 2}, {"frequency_penalty": 3},
    {"presence_penalty": 3}, {"n": 200}, {"stop": ["a", "b", "c", "d", "e"]}, {"metadata": {"k": "v" * 513}},
    {"logprobs": True, "top_logprobs": 21}, {"top_logprobs": 2}, {"reasoning_effort": "immense"}, {"verbosity": "loud"},
    {"response_format": {"type": "xml"}}, {"response_format": {"type": "json_object"}}, _wanted({}, name="a b"),
    _wanted({"anyOf": [_of()]}), _wanted({"type": "object", "properties": {}, "required": []}),
    _wanted({**_of(a={"type": "string"}), "required": []}), _wanted({**OBJECT, "required": ["x"]}),
    _wanted({**OBJECT, "minProperties": 1}), _wanted(_of(a={"type": "string", "default": "x"})),
    _wanted({**_of(a={"$ref": "#/$defs/A", "description": "x"}), "$defs": {"A": _of()}}), _wanted(_of(a={"$ref": "#/$defs/B"})),
    _wanted(_of(a={"enum": ["x"]})), _wanted(_of(a={"type": "array"})), _wanted(_of(a={"type": "string", "format": "uri"})),
    _wanted(_of(a={"type": "string", "pattern": "(?=x)"})), _wanted(_nested(11)),
    _wanted(_of(**{f"p{i}": {"type": "string"} for i in range(5001)})),
    _wanted(_of(a={"type": "string", "enum": [str(i) for i in range(1001)]})),
    _wanted(_of(a={"type": "string", "enum": ["x" * 60_001, "y" * 60_000]})),
    _wanted(_of(a={"anyOf": [_of(k={"type": "string"}), _of(k={"type": "null"})]})),
    {"model": "o3", "max_tokens": 5}, {"model": "gpt-5", "temperature": 0.2}, {"model": "o3", "stop": ["x"]},
    {"model": "gpt-5.6-sol", "tools": [_tool()]}, {"model": "gpt-5.4", "tools": [_tool()], "reasoning_effort": "low"},
    {"model": "grok-4.5", "presence_penalty": 0.5}, {"top_k": 4}, {"logprobs": True},
]  # fmt: skip


def _blocks(*blocks: JSON, role: str = "user") -> JSON:
    behind = [HI] if role == "assistant" else []
    return {"messages": [HI, {"role": role, "content": list(blocks)}, *behind]}


def _use(label: str = "t1", **more: JSON) -> JSON:
    return {"type": "tool_use", "id": label, "name": "f", "input": {}, **more}


def _answer(label: str = "t1") -> JSON:
    return {"type": "tool_result", "tool_use_id": label, "content": "x"}


def _used(*uses: JSON) -> JSON:
    results = [_answer(use["id"]) for use in uses]
    return {"messages": [HI, {"role": "assistant", "content": list(uses)}, {"role": "user", "content": results}]}


def _output(schema: JSON, **more: JSON) -> JSON:
    return {"output_config": {"format": {"type": "json_schema", "schema": schema, **more}}}


_MARKED = {"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}
_TOOL = {"name": "f", "input_schema": OBJECT}
ANTHROPIC: list[JSON] = [
    {"model": None}, {"max_tokens": None}, {"unheard_of": 1}, {"messages": []}, {"messages": [{"role": "tool", "content": "x"}]},
    {"messages": [{**HI, "name": "x"}]}, {"messages": [{"role": "user", "content": 5}]}, {"messages": [{"role": "user", "content": " "}]},
    _blocks({"type": "text", "text": ""}, {"type": "text", "text": "x"}), _blocks({"type": "thinking", "thinking": "x", "signature": "s"}),
    _blocks({"type": "text", "text": "x", "index": 0}), _blocks({"type": "image", "source": {"type": "x"}}),
    _blocks({"type": "document", "source": {"type": "base64", "media_type": "image/tiff"}}),
    _blocks(*[_MARKED] * 5), _blocks({**_MARKED, "cache_control": {"type": "forever"}}),
    _blocks({"type": "thinking", "thinking": "x"}, {"type": "text", "text": "x"}, role="assistant"),
    _blocks({"type": "text", "text": "x"}, {"type": "thinking", "thinking": "x", "signature": "s"}, role="assistant"),
    _blocks({"type": "document", "source": {"type": "url", "url": "https://x"}}, role="assistant"),
    {"thinking": {"type": "enabled", "budget_tokens": 100}},
    {**_used(_use()), "thinking": {"type": "enabled", "budget_tokens": 1024}},
    {"messages": [HI, {"role": "assistant", "content": "A "}]},
    {"tools": [_TOOL], "tool_choice": {"type": "any"}, "thinking": {"type": "adaptive"}},
    _used(_use(input="{}")), _used(_use("a:b")), _used(_use(), _use()), _used(_use(name="a b")), _blocks(_answer()),
    _blocks(_use(), role="assistant"), {"tools": [{"name": "f"}]}, {"tools": [{"name": "a b", "input_schema": OBJECT}]},
    {"tools": [_TOOL, _TOOL]}, {"tool_choice": {"type": "any"}},
    {"tools": [{"name": f"f{i}", "input_schema": OBJECT, "strict": True} for i in range(21)]},
    _output(OBJECT, name="x"), _output({"type": "object"}), _output({**OBJECT, "minProperties": 1}), _output(_of(a={})),
    _output(_of(a={"type": "string", "format": "regex"})), _output(_of(a={"type": "array", "items": {"type": "string"}, "minItems": 2})),
    _output(_of(a={"enum": [{}]})), _output(_of(a={"$ref": "#/$defs/A"})), _output({**_of(a={"$ref": "#"})}),
    _output({**_of(**{f"p{i}": {"type": "string"} for i in range(25)}), "required": []}),
    _output(_of(**{f"p{i}": {"type": ["string", "null"]} for i in range(17)})), {"stop_sequences": [" "]},
    {"metadata": {"run": "x"}}, {"service_tier": "flex"}, {"output_config": {"effort": "immense"}},
    {"model": "claude-opus-5-5", "tools": [_TOOL], "tool_choice": {"type": "any"}},
    {"model": "claude-sonnet-5-5", "messages": [HI, {"role": "assistant", "content": "A"}]},
    {"model": "claude-fable-5-1", "thinking": {"type": "disabled"}}, {"temperature": 0.5}, {"temperature": 2},
]  # fmt: skip
OLLAMA: list[JSON] = [
    {"model": ""}, {"messages": [{"role": "user", "content": []}]}, {"messages": [{"role": "developer", "content": "x"}]},
    {"messages": [{**HI, "images": ["data:"]}]}, {"messages": [HI, {"role": "assistant", "content": "", "tool_calls": [_call()]}]},
    {"messages": [HI, {"role": "tool", "content": "x"}]}, {"tools": [{"type": "function", "function": {}}]}, {"format": "xml"},
    {"think": "immense"}, {"top_logprobs": 21}, {"options": {"num_ctx": "many"}},
]  # fmt: skip
BODIES = {"openai": CHAT, "anthropic": ANTHROPIC, "ollama": OLLAMA}


def _whole(vendor: str, more: JSON) -> JSON:
    return {"model": MODELS[vendor], "max_tokens": 4096, "messages": [HI], **more}


@pytest.mark.parametrize("vendor", VENDORS)
def test_every_rule_is_broken_by_something(vendor: str) -> None:
    versions = (None, "2023-06-01") if vendor == "anthropic" else (None,)
    for version in versions:
        found: set[str] = set()
        for more in BODIES[DIALECTS[vendor].wires[0]]:
            broken = violations(vendor, _whole(vendor, more), version)
            found |= {one.rule for one in broken}
        assert {rule.name for rule in rules_of(vendor, version)} - found == set()


@pytest.mark.parametrize("vendor", VENDORS)
def test_each_body_that_breaks_a_rule_is_the_only_reason(vendor: str) -> None:
    """The body without it breaks none, and every path that is reported stands in the body or is missing from it."""
    assert violations(vendor, _whole(vendor, {})) == []
    for more in BODIES[DIALECTS[vendor].wires[0]]:
        for one in violations(vendor, _whole(vendor, more)):
            top = one.path.partition(".")[0].partition("[")[0]
            assert top in {**more, "messages": 1, "model": 1, "max_tokens": 1, "tool_choice": 1, "response_format": 1}


def test_the_table_in_the_documents_is_that_of_the_rules() -> None:
    shown = (Path(__file__).parents[3] / "docs/vendors.md").read_text(encoding="utf-8")
    assert shown == document(), "write it anew: python -m tests.providers.rules.table > docs/vendors.md"
