"""What the test server says when nothing is scripted: a function of the request alone.

Rules of this file:
- The same request gets the same answer, and the answer quotes the request, so that one that reaches the wrong caller
  is seen at once.
- A tool is called when `tool_choice` says so, or when the user's last message has a word of the tool's name
  ("weather" for `get_weather`); arguments are made from the schema and the words of the message.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from .script import Ask, ScriptedReply, ToolUse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sans_io.decode.jsontext import JSON, JSONObject

_TOKEN = re.compile(r"\s*(?:\w+|[^\w\s]+)|\s+")
#: Words of tool names that say nothing about what they are for.
_EMPTY_WORDS = frozenset(
    {"get", "set", "the", "of", "for", "a", "an", "do", "make", "find", "fetch", "tool", "function"}
)


def answer(ask: Ask) -> ScriptedReply:
    """The default answer, cut by `max_tokens` and stop sequences as a model's would be."""
    reasoning = ("The user ", "wants ", "an answer.") if ask.reasoning else ()
    calls = _calls(ask)
    if calls:
        return _cut_calls(ScriptedReply(reasoning=reasoning, tool_calls=calls), ask.max_tokens)
    if ask.schema is not None:
        text = json.dumps(instance_of(ask.schema, ask.last_user_text), ensure_ascii=False)
    elif ask.last[0] == "tool":
        text = f"The tool says: {ask.last[1]}"
    else:
        text = f"You said: {ask.last_user_text}"
    more = tuple(_cut_text(ScriptedReply(text=f"{text} (answer {number})"), ask) for number in range(2, ask.n + 1))
    return _cut_text(ScriptedReply(text=text, reasoning=reasoning, more_choices=more), ask)


def tokens(text: str) -> list[str]:
    """`text` in pieces of about a word each; joined they are `text`."""
    return _TOKEN.findall(text)


def instance_of(schema: JSONObject, hint: str = "") -> JSON:
    """A value that a JSON schema of the kind people give to models accepts; strings and numbers come from `hint`."""
    return _value(schema, "answer", _names(hint), [float(found) for found in re.findall(r"-?\d+(?:\.\d+)?", hint)])


def _calls(ask: Ask) -> Sequence[ToolUse]:
    if not ask.tools or ask.tool_choice == "none" or ask.last[0] == "tool":
        return ()
    schemas = dict(ask.tools)
    if ask.tool_choice in schemas:
        chosen = [ask.tool_choice]
    else:
        said = set(re.findall(r"[a-z]{2,}", ask.last_user_text.lower()))
        chosen = [name for name in schemas if said & (set(re.findall(r"[a-z]+", name.lower())) - _EMPTY_WORDS)]
        if not chosen and ask.tool_choice == "required":
            chosen = [ask.tools[0][0]]
    calls = [ToolUse(name, arguments) for name in chosen for arguments in _argument_sets(schemas[name], ask)]
    return calls if ask.parallel else calls[:1]


def _argument_sets(schema: JSONObject, ask: Ask) -> list[JSONObject]:
    """One call for each proper name in the message ("Paris and Rome": two), one in all if there is none."""
    text = ask.last_user_text
    numbers = [float(found) for found in re.findall(r"-?\d+(?:\.\d+)?", text)]
    object_schema = {**schema, "type": "object"}
    names = _names(text)
    strings = [each for each in schema.get("properties", {}).values() if each.get("type") == "string"]
    if len(strings) == 1 and len(names) > 1:
        return [_value(object_schema, "", [name], numbers) for name in names]
    return [_value(object_schema, "", names, numbers)]


def _names(text: str) -> list[str]:
    """Capitalised words that do not begin a sentence."""
    return re.findall(r"(?<=[^.!?\s]\s)[A-Z][\w-]+", text)


def _value(schema: JSON, name: str, names: list[str], numbers: list[float]) -> JSON:
    if not isinstance(schema, dict):
        return name
    for fixed in ("const", "default"):
        if fixed in schema:
            return schema[fixed]
    if schema.get("enum"):
        return schema["enum"][0]
    for combined in ("anyOf", "oneOf", "allOf"):
        if schema.get(combined):
            return _value(schema[combined][0], name, names, numbers)
    kind = schema.get("type", "object" if "properties" in schema or not schema else "string")
    if isinstance(kind, list):
        kind = kind[0]
    if kind == "object":
        properties = schema.get("properties") or ({} if schema else {"answer": {"type": "string"}})
        wanted = schema.get("required") or list(properties)
        return {key: _value(properties.get(key, {"type": "string"}), key, names, numbers) for key in wanted}
    if kind == "array":
        return [_value(schema.get("items") or {"type": "string"}, name, names, numbers)] * max(
            1, schema.get("minItems", 1)
        )
    if kind == "integer":
        return max(int(schema.get("minimum", 0)), int(numbers[0]) if numbers else 1)
    if kind == "number":
        return max(schema.get("minimum", 0.0), numbers[0] if numbers else 1.5)
    if kind == "boolean":
        return True
    return names[0] if kind == "string" and names else (None if kind == "null" else f"some {name}")


def _cut_text(reply: ScriptedReply, ask: Ask) -> ScriptedReply:
    text = "".join(reply.text_pieces)
    found = [(text.index(stop), stop) for stop in ask.stop if stop in text]
    if found:
        end, stop = min(found)
        reply = reply.with_(stop_sequence=stop)
        text = text[:end]
    pieces = tokens(text)
    if ask.max_tokens is not None and 0 <= ask.max_tokens < len(pieces):
        return reply.with_(text=pieces[: ask.max_tokens], finish_reason="length", stop_sequence=None)
    return reply.with_(text=pieces)


def _cut_calls(reply: ScriptedReply, max_tokens: int | None) -> ScriptedReply:
    if max_tokens is None or max_tokens < 0:
        return reply
    left, kept = max_tokens, []
    for call in reply.tool_calls:
        pieces = tokens(call.text)
        if len(pieces) > left:
            kept.append(ToolUse(call.name, "".join(pieces[:left]), call.id))
            return reply.with_(tool_calls=kept, finish_reason="length")
        left -= len(pieces)
        kept.append(call)
    return reply
