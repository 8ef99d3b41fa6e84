"""From a `ChatRequest` to the body and the version of Anthropic's `POST /v1/messages`.

Rules of this file:
- Nothing is dropped silently: what the wire cannot say is an `LLMBadRequestError` naming it, before sending.
- Nothing is sent that nobody asked for, except `max_tokens`, which the wire requires.
- What a model refuses (forced tools, effort, prefill) is left to its server: models differ, and change.
"""

from __future__ import annotations

from typing import Final

from ...chat.messages import ChatRequest
from ...decode.jsontext import JSONObject
from ...errors import LLMBadRequestError
from ..translate import cannot_say, merged
from .messages import API_VERSION, SAMPLING_VERSION, WIRE, text_or_blocks, translated, version_of_thinking

#: `max_tokens` where the caller names none.
DEFAULT_MAX_TOKENS: Final = 8192

_EFFORTS: Final = frozenset({"low", "medium", "high", "xhigh", "max"})
_SAMPLING: Final = ("temperature", "top_p", "top_k")


def api_version(chat: ChatRequest, chosen: str | None) -> str:
    """The value of the `anthropic-version` field for this request.

    `chosen` is the caller's, which wins. Else the version under which the history's thinking was made; else the
    sampling version if the request samples, and the current one otherwise. Raises `LLMBadRequestError` naming the
    sampling parameter that the version does not have.
    """
    sampling = next((name for name in _SAMPLING if _is_set(chat, name)), None)
    held = None if chosen else version_of_thinking(chat.messages)
    version = chosen or held or (SAMPLING_VERSION if sampling else API_VERSION)
    if sampling and version == API_VERSION:
        why = "the conversation holds thinking made under it; leave the parameter out" if held else "choose 2023-06-01"
        raise cannot_say(sampling, WIRE, f"API version {API_VERSION} has no sampling parameters ({why})")
    return version


def build_body(chat: ChatRequest, version: str) -> JSONObject:
    """The body for `chat` under API `version`. Raises `LLMBadRequestError` naming what the wire cannot express."""
    if chat.n is not None and chat.n != 1:
        raise cannot_say("n", WIRE, "it gives one answer for each request")
    if chat.seed is not None:
        raise cannot_say("seed", WIRE)
    system, messages = translated(chat, version)
    max_tokens = DEFAULT_MAX_TOKENS if chat.max_tokens is None else chat.max_tokens
    body: JSONObject = {"model": chat.model, "max_tokens": max_tokens, "messages": messages}
    if system:
        body["system"] = text_or_blocks(system)
    if chat.tools:
        body["tools"] = [_tool(tool, f"tools[{i}]") for i, tool in enumerate(chat.tools)]
    choice = _tool_choice(chat)
    if choice is not None:
        body["tool_choice"] = choice
    if chat.temperature is not None:
        body["temperature"] = chat.temperature
    if chat.top_p is not None:
        body["top_p"] = chat.top_p
    if chat.stop:
        body["stop_sequences"] = list(chat.stop)
    output = _output_config(chat)
    if output:
        body["output_config"] = output
    if chat.reasoning_effort == "none":
        body["thinking"] = {"type": "disabled"}
    if chat.stream:
        body["stream"] = True
    body = merged(body, chat.extra_body)
    if not body["model"]:
        raise LLMBadRequestError("model is missing", code="invalid_argument")
    return body


def _is_set(chat: ChatRequest, name: str) -> bool:
    return getattr(chat, name, None) is not None or chat.extra_body.get(name) is not None


# -- tools and parameters -------------------------------------------------------------------------------------------


def _tool(tool: JSONObject, path: str) -> JSONObject:
    if tool["type"] != "function":
        if isinstance(tool.get(tool["type"]), dict):
            raise cannot_say(path, WIRE, f"it has no tools of type {tool['type']!r:.60}")
        return tool
    function = dict(tool["function"])
    schema = function.pop("parameters", None) or {"properties": {}}
    entry: JSONObject = {"name": function.pop("name")}
    description = function.pop("description", None)
    if description is not None:
        entry["description"] = description
    entry["input_schema"] = schema if "type" in schema else {"type": "object", **schema}
    entry.update(function)
    entry.update((key, value) for key, value in tool.items() if key not in ("type", "function"))
    return entry


def _tool_choice(chat: ChatRequest) -> JSONObject | None:
    choice = chat.tool_choice
    if choice is None:
        translated: JSONObject | None = None
    elif choice == "required":
        translated = {"type": "any"}
    elif isinstance(choice, str):
        translated = {"type": choice}
    elif choice["type"] == "function":
        translated = {"type": "tool", "name": choice["function"]["name"]}
    elif choice["type"] in ("auto", "any", "none", "tool"):
        translated = choice
    else:
        raise cannot_say("tool_choice", WIRE, f"it has no choice of type {choice['type']!r:.60}")
    if chat.parallel_tool_calls is False and (chat.tools or translated is not None):
        translated = {"type": "auto"} if translated is None else translated
        if translated["type"] != "none":
            translated = {**translated, "disable_parallel_tool_use": True}
    return translated


def _output_config(chat: ChatRequest) -> JSONObject:
    config: JSONObject = {}
    effort = chat.reasoning_effort
    if effort in _EFFORTS:
        config["effort"] = effort
    elif effort is not None and effort != "none":
        known = "it knows none, low, medium, high, xhigh and max"
        raise cannot_say("reasoning_effort", WIRE, f"{known}, not {effort!r:.60}")
    wanted = chat.response_format
    if wanted is None or wanted["type"] == "text":
        return config
    # The wire has schemas only; "some JSON object" is the schema that says no more than that.
    schema = {"type": "object"}
    if wanted["type"] == "json_schema":
        schema = wanted["json_schema"].get("schema") or schema
    config["format"] = {"type": "json_schema", "schema": schema}
    return config
