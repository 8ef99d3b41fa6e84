"""Checks of `tools`, `tool_choice` and `response_format`: several forms in, one form out.

Rules of this file:
- A client tool leaves as `{"type": "function", "function": {...}}`; a provider's own server tool as it came.
- Keys we do not know are kept where the wires have them: beside `function` (cache_control and the like).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from ..decode.jsontext import JSON, JSONObject
from .message_checks import bad, check_json

_CHOICES: Final = ("auto", "none", "required")
#: Keys that belong inside `function`; whatever else a flat tool has stays beside it.
_NOT_IN_NAME: Final = re.compile(r"[^a-zA-Z0-9_-]")
_FUNCTION_KEYS: Final = ("name", "description", "parameters", "strict")


def checked_tools(tools: JSON) -> tuple[JSONObject, ...]:
    """Tools in the short, the OpenAI-nested or the Anthropic form, as OpenAI-nested ones. Names are unique."""
    if not isinstance(tools, (list, tuple)):
        hint = ": put the tool into a list" if isinstance(tools, Mapping) else ""
        raise bad("tools", f"must be a list of tools, not {type(tools).__name__}{hint}")
    checked = []
    seen: dict[str, int] = {}
    for i, tool in enumerate(tools):
        entry = _checked_tool(tool, f"tools[{i}]")
        name = tool_name(entry)
        if name is not None:
            if name in seen:
                raise bad(f"tools[{i}]", f"has the name {name!r:.80}, which tools[{seen[name]}] has already")
            seen[name] = i
        checked.append(entry)
    return tuple(checked)


def tool_name(tool: JSONObject) -> str | None:
    """The name of a normalised tool; None for a server tool without one."""
    inner = tool.get(tool["type"]) if isinstance(tool.get("type"), str) else None
    name = inner.get("name") if isinstance(inner, dict) else tool.get("name")
    return name if isinstance(name, str) else None


def _checked_tool(tool: JSON, path: str) -> JSONObject:
    if not isinstance(tool, Mapping):
        what = 'must be a dict like {"name": "...", "description": "...", "parameters": {...}}'
        raise bad(path, f"{what}, not {type(tool).__name__}")
    entry: JSONObject = dict(tool)
    check_json(entry, path)
    return _normal_tool(entry, path)


def _normal_tool(tool: JSONObject, path: str) -> JSONObject:
    kind = tool.get("type")
    function = tool.get("function")
    if function is not None and kind in (None, "function"):
        if not isinstance(function, dict):
            raise bad(f"{path}.function", "must be a dict with a name")
        _check_function(function, f"{path}.function", "parameters")
        return {**tool, "type": "function", "function": _without_none(function)}
    if kind in (None, "function") or (kind == "custom" and "input_schema" in tool):
        schema_key = "input_schema" if "input_schema" in tool else "parameters"
        _check_function(tool, path, schema_key)
        inner = {"name": tool["name"]}
        if tool.get("description") is not None:
            inner["description"] = tool["description"]
        if tool.get(schema_key) is not None:
            inner["parameters"] = tool[schema_key]
        if tool.get("strict") is not None:
            inner["strict"] = tool["strict"]
        beside = {k: v for k, v in tool.items() if k not in _FUNCTION_KEYS and k not in ("type", "input_schema")}
        return {"type": "function", "function": inner, **beside}
    if not isinstance(kind, str) or not kind:
        raise bad(f"{path}.type", "must be a non-empty string")
    return tool


def _check_function(function: JSONObject, path: str, schema_key: str) -> None:
    name = function.get("name")
    if name is None:
        raise bad(f"{path}.name", "is missing")
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        raise bad(f"{path}.name", "must be a non-empty printable string")
    if not isinstance(function.get("description", ""), (str, type(None))):
        raise bad(f"{path}.description", "must be a string")
    if not isinstance(function.get(schema_key, {}), (dict, type(None))):
        raise bad(f"{path}.{schema_key}", "must be a JSON Schema (a dict)")


def _without_none(function: JSONObject) -> JSONObject:
    return {k: v for k, v in function.items() if v is not None or k not in _FUNCTION_KEYS}


def checked_tool_choice(choice: JSON, tools: tuple[JSONObject, ...], *, elsewhere: bool) -> JSON:
    """ "auto", "none", "required" (also "any"), a tool's name, OpenAI's or Anthropic's dict.

    `elsewhere`: tools are given in `extra_body`, so the names are not known here.
    """
    if isinstance(choice, Mapping):
        choice = dict(choice)
        check_json(choice, "tool_choice")
        name, choice = _from_dict(choice)
    elif isinstance(choice, str):
        choice = "required" if choice == "any" else choice
        name = None if choice in _CHOICES else choice
        if name is not None:
            choice = {"type": "function", "function": {"name": name}}
    else:
        raise bad("tool_choice", f"must be a string or a dict, not {type(choice).__name__}")
    if elsewhere:
        return choice
    if not tools:
        if choice in ("auto", "none"):
            return None  # There is nothing to choose from, which is what both say; servers refuse the field then.
        raise bad("tool_choice", "needs tools")
    names = [tool_name(tool) for tool in tools]
    if name is not None and name not in names:
        raise bad("tool_choice", f"names {name!r:.80}, which is not among the tools ({', '.join(filter(None, names))})")
    return choice


def _from_dict(choice: JSONObject) -> tuple[str | None, JSON]:
    """(name of the tool or None, normal form). A dict that says more than the normal form can is kept."""
    kind = choice.get("type")
    if not isinstance(kind, str) or not kind:
        raise bad("tool_choice.type", "is missing" if kind is None else "must be a non-empty string")
    if kind == "function":
        function = choice.get("function")
        name = function.get("name") if isinstance(function, dict) else choice.get("name")
        if not isinstance(name, str) or not name:
            raise bad("tool_choice.function.name", "must be a non-empty string")
        return name, {"type": "function", "function": {"name": name}}
    if kind == "tool":
        name = choice.get("name")
        if not isinstance(name, str) or not name:
            raise bad("tool_choice.name", "must be a non-empty string")
        bare = choice.keys() == {"type", "name"}
        return name, {"type": "function", "function": {"name": name}} if bare else choice
    if choice.keys() == {"type"} and kind in ("auto", "none", "any", "required"):
        return None, "required" if kind == "any" else kind
    return None, choice


def checked_response_format(value: JSON) -> JSONObject:
    """A JSON schema, "json", or OpenAI's own form; Anthropic's `{"type": "json_schema", "schema"}` too."""
    if isinstance(value, str):
        if value in ("json", "json_object"):
            return {"type": "json_object"}
        if value == "text":
            return {"type": "text"}
        raise bad("response_format", f'is {value!r:.60}; it must be "json", a JSON schema or OpenAI\'s own form')
    if not isinstance(value, Mapping):
        hint = " (for a pydantic model pass Model.model_json_schema())" if isinstance(value, type) else ""
        raise bad("response_format", f'must be "json" or a dict, not {type(value).__name__}{hint}')
    given: JSONObject = dict(value)
    check_json(given, "response_format")
    return _normal_format(given)


def _normal_format(value: JSONObject) -> JSONObject:
    kind = value.get("type")
    if kind in ("text", "json_object"):
        return value
    if kind == "json_schema":
        inner = value.get("json_schema")
        if inner is None and isinstance(value.get("schema"), dict):
            return _schema_format(value["schema"])
        if not isinstance(inner, dict) or not isinstance(inner.get("schema"), (dict, type(None))):
            raise bad("response_format.json_schema", "must be a dict with name and schema")
        said = {key: item for key, item in inner.items() if item is not None}
        name = said.get("name", "answer")
        if not isinstance(name, str) or not name:
            raise bad("response_format.json_schema.name", "must be a non-empty string")
        said["name"] = _as_name(name)
        return value if said == inner else {**value, "json_schema": said}
    return _schema_format(value)


def _schema_format(schema: JSONObject) -> JSONObject:
    title = schema.get("title")
    name = _as_name(title) if isinstance(title, str) else ""
    return {"type": "json_schema", "json_schema": {"name": name or "answer", "schema": schema}}


def _as_name(text: str) -> str:
    """OpenAI takes names of [a-zA-Z0-9_-], at most 64 characters."""
    return _NOT_IN_NAME.sub("_", text[:64])
