"""The rules of Ollama's own API.

Rules of this file:
- The server reads a body into Go's types: what is wrong is a field of another type, and unknown ones are skipped.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from .base import Report, Rule, inner, is_count, messages, objects

if TYPE_CHECKING:
    from ...decode.jsontext import JSONObject

_TYPES: Final = "ollama, api/types.go"
_ROUTES: Final = "ollama, server/routes.go"


def _model(body: JSONObject, report: Report) -> None:
    if not isinstance(body.get("model"), str) or not body["model"]:
        report("model")


def _message_types(body: JSONObject, report: Report) -> None:
    listed = body.get("messages")
    if listed is not None and not isinstance(listed, list):
        report("messages")
    for i, message in enumerate(listed if isinstance(listed, list) else ()):
        if not isinstance(message, dict):
            report(f"messages[{i}]")
    for path, message in messages(body):
        for key in ("role", "content", "thinking", "tool_name", "tool_call_id"):
            if message.get(key) is not None and not isinstance(message[key], str):
                report(f"{path}.{key}")


def _roles(body: JSONObject, report: Report) -> None:
    for path, message in messages(body):
        if message.get("role") not in ("system", "user", "assistant", "tool"):
            report(f"{path}.role")


_BASE64: Final = re.compile(r"[A-Za-z0-9+/]*={0,2}")


def _images(body: JSONObject, report: Report) -> None:
    for path, message in messages(body):
        listed = message.get("images")
        if listed is not None and not isinstance(listed, list):
            report(f"{path}.images")
        for i, image in enumerate(listed if isinstance(listed, list) else ()):
            if not isinstance(image, str) or not _is_base64(image):
                report(f"{path}.images[{i}]")


def _is_base64(text: str) -> bool:
    if not _BASE64.fullmatch(text):
        return False
    try:
        b64decode(text, validate=True)
    except ValueError:
        return False
    return True


def _calls(body: JSONObject, report: Report) -> None:
    for path, message in messages(body):
        for where, call in objects(message.get("tool_calls"), f"{path}.tool_calls"):
            function = inner(call, "function")
            if not isinstance(function.get("arguments"), dict):
                report(f"{where}.function.arguments")
            if not isinstance(function.get("name"), str) or not function["name"]:
                report(f"{where}.function.name")
            if call.get("id") is not None and not isinstance(call["id"], str):
                report(f"{where}.id")


def _results(body: JSONObject, report: Report) -> None:
    for path, message in messages(body, "tool"):
        if not isinstance(message.get("tool_name"), str) and not isinstance(message.get("tool_call_id"), str):
            report(f"{path}.tool_name")


def _tools(body: JSONObject, report: Report) -> None:
    listed = body.get("tools")
    if listed is not None and not isinstance(listed, list):
        report("tools")
    for path, tool in objects(listed, "tools"):
        function = inner(tool, "function")
        if not isinstance(function.get("name"), str) or not function["name"]:
            report(f"{path}.function.name")
        properties = inner(function, "parameters").get("properties")
        for name, schema in properties.items() if isinstance(properties, dict) else ():
            if not isinstance(schema, dict):
                report(f"{path}.function.parameters.properties.{name}")


def _format(body: JSONObject, report: Report) -> None:
    wanted = body.get("format")
    if wanted is not None and not isinstance(wanted, dict) and wanted not in ("", "json"):
        report("format")


def _think(body: JSONObject, report: Report) -> None:
    think = body.get("think")
    if think is not None and not isinstance(think, bool) and think not in ("low", "medium", "high", "max"):
        report("think")


def _logprobs(body: JSONObject, report: Report) -> None:
    count = body.get("top_logprobs")
    if count is not None and not (is_count(count) and 0 <= count <= 20):
        report("top_logprobs")


def _options(body: JSONObject, report: Report) -> None:
    options = body.get("options")
    if options is None:
        return
    if not isinstance(options, dict):
        report("options")
        return
    for name in ("num_predict", "num_ctx", "top_k", "seed"):
        if options.get(name) is not None and not is_count(options[name]):
            report(f"options.{name}")
    stop = options.get("stop")
    if stop is not None and not (isinstance(stop, list) and all(isinstance(one, str) for one in stop)):
        report("options.stop")


ROWS: Final[Mapping[str, tuple[Rule, ...]]] = MappingProxyType(
    {
        "ollama": (
            Rule("model is named", _ROUTES, _model),
            Rule("messages are objects whose content is a text", _TYPES, _message_types),
            Rule("roles are system, user, assistant and tool", _TYPES, _roles),
            Rule("images are base64 of the standard alphabet", _TYPES, _images),
            Rule("calls have a name and an object as arguments", _TYPES, _calls),
            Rule("a result names its tool or its call", _TYPES, _results),
            Rule("tools are functions with a name and properties that are objects", _TYPES, _tools),
            Rule("format is json or a schema", _ROUTES, _format),
            Rule("think is true, false, low, medium, high or max", _TYPES, _think),
            Rule("top_logprobs is between 0 and 20", _ROUTES, _logprobs),
            Rule("options are of their types", _TYPES, _options),
        )
    }
)
