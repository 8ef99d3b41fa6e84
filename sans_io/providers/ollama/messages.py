"""From OpenAI-shaped messages to the body of Ollama's `POST /api/chat`.

Rules of this file:
- What a user wrote and the API does not support is an `LLMBadRequestError` naming the path, before sending: keys and
  parts among them. What another vendor's model said goes along as far as the API has a place for it (text, calls, a
  refusal, what was spoken, images as data); the rest is left out, and so are cache markers.
- The wire has no image URLs: the server fetches nothing, so images come as data.
- Arguments of tool calls are objects in both directions; ids are sent along, servers that do not know them skip them.
"""

from __future__ import annotations

from typing import Final

from ...chat.message_checks import bad
from ...chat.messages import ChatRequest
from ...chat.options import refuse_foreign, unsupported
from ...decode.jsontext import JSON, JSONObject, loads
from ...errors import LLMBadRequestError
from ..registry import WIRES
from ..tool_ids import with_valid_ids
from ..translate import (
    RESPONSES_TEXTS,
    function_of,
    images_as_parts,
    merged,
    parse_data_url,
    refuse_keys,
    said_elsewhere,
)

_WIRE: Final = WIRES["ollama"].title
#: What goes into the body's `options`, under the same names and as it is.
_SAMPLING: Final = ("top_p", "top_k", "frequency_penalty", "presence_penalty", "seed", "stop")
_EFFORTS: Final = frozenset({"low", "medium", "high", "max"})


def build_body(chat: ChatRequest) -> JSONObject:
    """The body for `chat`. Raises `LLMBadRequestError` naming what the API does not support."""
    said = chat.options
    refuse_foreign(said, "ollama", _WIRE)
    if said.get("n", 1) != 1:
        raise unsupported("n", _WIRE, "it gives one answer for each request")
    if said.get("parallel_tool_calls") is False and chat.tools:
        raise unsupported("parallel_tool_calls", _WIRE, "the model decides how many tools it calls")
    # The server's own default is to stream.
    body: JSONObject = {"model": chat.model, "messages": _messages(chat), "stream": chat.stream}
    tools = _tools(chat)
    if tools:
        body["tools"] = tools
    wanted = _format(said.get("response_format"))
    if wanted is not None:
        body["format"] = wanted
    think = _think(said)
    if think is not None:
        body["think"] = think
    if "logprobs" in said:
        body |= {"logprobs": True, "top_logprobs": said["logprobs"]}
    options = _options(chat)
    if options:
        body["options"] = options
    body = merged(body, chat.extra_body)
    if not body["model"]:
        raise LLMBadRequestError("model is missing", code="invalid_argument")
    return body


def _think(said: JSONObject) -> JSON:
    effort, budget = said.get("reasoning_effort"), said.get("thinking")
    if budget:
        raise unsupported("thinking", _WIRE, "it has no budgets: use reasoning_effort, or thinking=False")
    if effort is None:
        return budget
    if effort == "none":
        return False
    if effort not in _EFFORTS:
        raise unsupported("reasoning_effort", _WIRE, f"it knows none, low, medium, high and max, not {effort!r:.60}")
    if budget is False:
        raise bad("thinking", f"is False, and reasoning_effort={effort!r} says to think: leave one of them out")
    return effort


def _messages(chat: ChatRequest) -> list[JSONObject]:
    messages: list[JSONObject] = []
    if chat.system:
        messages.append({"role": "system", "content": chat.system})
    #: Tool call id -> tool name: results are matched by name on older servers.
    names: dict[str, str] = {}
    for i, message in enumerate(with_valid_ids(chat.messages, ".+")):
        messages.append(_message(message, f"messages[{i}]", names))
    return messages


#: Keys of messages that users write. Any other that says something is refused; in an assistant message it may be a
#: vendor's own, and is left out. So are cache markers, which are hints.
_SAID_KEYS: Final = frozenset({"role", "content", "images", "cache_control"})
_TOOL_KEYS: Final = _SAID_KEYS | {"tool_call_id", "tool_name", "name", "is_error"}


def _message(message: JSONObject, path: str, names: dict[str, str]) -> JSONObject:
    role = message["role"]
    if role != "assistant":
        refuse_keys(message, path, _TOOL_KEYS if role == "tool" else _SAID_KEYS, _WIRE)
    text, images = _content(message.get("content"), f"{path}.content", role)
    pictures = message.get("images")
    if isinstance(pictures, list):
        images = [*_pictures(pictures, f"{path}.images", role), *images]
    entry: JSONObject = {"role": "system" if role == "developer" else role, "content": text}
    if role == "assistant":
        elsewhere = said_elsewhere(message, path, _WIRE)
        entry["content"] = text or elsewhere
        thinking = message.get("thinking")
        if isinstance(thinking, str) and thinking:
            entry["thinking"] = thinking
        calls = _calls(message, path)
        if calls:
            entry["tool_calls"] = calls
            names.update((call["id"], call["function"]["name"]) for call in calls)
    elif role == "tool":
        name = message.get("name") or message.get("tool_name") or names.get(message["tool_call_id"])
        if isinstance(name, str):
            entry["tool_name"] = name
        entry["tool_call_id"] = message["tool_call_id"]
    if images:
        entry["images"] = images
    return entry


def _pictures(pictures: list[JSON], path: str, role: str) -> list[str]:
    """Raw base64, as this wire has it; or what other vendors put under the same key."""
    found: list[str | None] = []
    for i, picture in enumerate(pictures):
        if isinstance(picture, str) and not picture.startswith(("data:", "http")):
            found.append(picture)
        else:
            parts = images_as_parts([picture], path, only=role == "assistant")
            found += [_picture(part, f"{path}[{i}]", role) for part in parts]
    return [data for data in found if data is not None]


def _content(content: JSON, path: str, role: str) -> tuple[str, list[str]]:
    """(text, images as raw base64). Text parts become paragraphs: the wire has one text for each message. What a model
    of another vendor said in parts that this wire has not is left out.
    """
    if isinstance(content, str):
        return content, []
    texts: list[str] = []
    images: list[str] = []
    for i, part in enumerate(content or ()):
        kind = part["type"]
        where = f"{path}[{i}]"
        if kind == "text" or (kind in RESPONSES_TEXTS and isinstance(part.get("text"), str)):
            texts.append(part["text"])
        elif kind == "refusal":
            texts.append(part["refusal"])
        elif kind == "image_url":
            data = _picture(part, where, role)
            if data is not None:
                images.append(data)
        elif role != "assistant":
            raise unsupported(where, _WIRE, f"messages hold text and images, not {kind!r:.60}")
    return ("" if role == "assistant" else "\n").join(texts), images


def _picture(part: JSONObject, path: str, role: str) -> str | None:
    """Raw base64; None for what a model said and this wire has no place for."""
    data_url = parse_data_url(part["image_url"]["url"], f"{path}.image_url")
    if data_url is not None and data_url.media_type.startswith("image/"):
        return data_url.data.translate(_STANDARD_ALPHABET)
    if role == "assistant":
        return None
    if data_url is None:
        raise unsupported(f"{path}.image_url", _WIRE, "the server fetches nothing; give a data URL")
    raise unsupported(f"{path}.image_url", _WIRE, f"{data_url.media_type:.60} is not an image")


def _calls(message: JSONObject, path: str) -> list[JSONObject]:
    """The calls of an assistant message, in this wire's form or in Anthropic's."""
    found = {}
    content = message.get("content")
    for part in content if isinstance(content, list) else ():
        if part["type"] == "tool_use":
            found[part["id"]] = (part["name"], part["input"])
    for i, call in enumerate(message.get("tool_calls") or ()):
        function = function_of(call)
        if function is None:
            raise unsupported(
                f"{path}.tool_calls[{i}]", _WIRE, "only calls of functions and custom tools have a place there"
            )
        found[call["id"]] = (function["name"], loads(function["arguments"]))
    return [{"id": key, "function": {"name": name, "arguments": said}} for key, (name, said) in found.items()]


def _tools(chat: ChatRequest) -> list[JSONObject]:
    choice = chat.tool_choice
    if choice == "none":
        return []
    if choice is not None and choice != "auto":
        raise unsupported("tool_choice", _WIRE, 'it has "auto" and "none" only')
    for i, tool in enumerate(chat.tools):
        if tool["type"] != "function":
            raise unsupported(f"tools[{i}]", _WIRE, f"it has no tools of type {tool['type']!r:.60}")
    return [
        {"type": "function", "function": _with_schemas(tool["function"], f"tools[{i}].parameters.properties")}
        for i, tool in enumerate(chat.tools)
    ]


def _with_schemas(function: JSONObject, path: str) -> JSONObject:
    """The server reads each property into a struct, so that `true`, which is any value, is written as `{}`."""
    properties = (function.get("parameters") or {}).get("properties")
    if not isinstance(properties, dict) or all(isinstance(schema, dict) for schema in properties.values()):
        return function
    for name, schema in properties.items():
        if schema is not True and not isinstance(schema, dict):
            raise bad(f"{path}.{name}", "must be a JSON Schema (a dict)")
    schemas = {name: {} if schema is True else schema for name, schema in properties.items()}
    return {**function, "parameters": {**function["parameters"], "properties": schemas}}


def _format(wanted: JSON) -> JSON:
    if wanted is None or wanted["type"] == "text":
        return None
    if wanted["type"] == "json_schema":
        schema = wanted["json_schema"].get("schema")
        return "json" if schema is None else schema
    return "json"


def _options(chat: ChatRequest) -> JSONObject:
    options: JSONObject = {name: chat.options[name] for name in _SAMPLING if name in chat.options}
    if chat.temperature is not None:
        options["temperature"] = chat.temperature
    if chat.max_tokens is not None:
        options["num_predict"] = chat.max_tokens
    return options


#: Go decodes the alphabet of RFC 4648 section 4 only, without white space.
_STANDARD_ALPHABET: Final = {ord("-"): "+", ord("_"): "/", **dict.fromkeys(map(ord, " \t\r\n\f\v"))}
