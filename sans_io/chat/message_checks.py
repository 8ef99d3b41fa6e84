"""Checks of one message: role, content parts, tool calls, tool results, and of any JSON value by path.

Rules of this file:
- Each check returns the value to use (the same object, or a normalised copy) or raises `bad(path, what)`.
- Paths are built only where a message is not the plain kind, so that the plain kind costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Final

from ..decode import jsontext
from ..decode.jsontext import JSON, JSONObject
from ..errors import LLMBadRequestError
from .response import ChatResponse, ToolCall
from .shapes import NATIVE

ROLES: Final = ("system", "developer", "user", "assistant", "tool")
#: What others call them.
_OTHER_ROLES: Final = {
    "human": "user", "ai": "assistant", "model": "assistant", "bot": "assistant", "function": "tool",
    "tool_result": "tool", "instructions": "system",
}  # fmt: skip
#: A message, for errors.
EXAMPLE: Final = '{"role": "user", "content": "Hello"}'
#: How deep a value may nest before it is taken for a cycle or a mistake; the decoder's own cap is the same.
MAX_DEPTH: Final = 128


def bad(path: str, what: str) -> LLMBadRequestError:
    """The error for the argument at `path`; `what` continues the sentence ("must be ...", "is ...")."""
    return LLMBadRequestError(f"{path} {what}", code="invalid_argument")


def check_json(value: JSON, path: str, depth: int = 0) -> None:
    """Raise unless `value` can be written as JSON in UTF-8; the error names the path of what cannot."""
    if value is None or isinstance(value, (bool, int)):
        return
    if isinstance(value, str):
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                raise bad(path, "contains a lone surrogate, which UTF-8 cannot hold") from None
    elif isinstance(value, float):
        if not isfinite(value):
            raise bad(path, f"is {value}, which JSON cannot hold")
    elif depth >= MAX_DEPTH:
        raise bad(path[:200], f"is nested deeper than {MAX_DEPTH} levels (or contains itself)")
    elif isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            if type(item) is not str or not item.isascii():
                check_json(item, f"{path}[{i}]", depth + 1)
    elif isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise bad(path, f"has a key that is not a string ({type(key).__name__})")
            if not key.isascii():
                check_json(key, f"{path} (a key)", depth + 1)
            if type(item) is not str or not item.isascii():
                check_json(item, f"{path}.{key}", depth + 1)
    else:
        raise bad(path, f"is not a JSON value ({type(value).__name__})")


def checked_message(message: JSON, path: str, called: set[str]) -> JSONObject:
    """One message, normalised. `called` holds the ids of the tool calls so far; an assistant message adds its own."""
    if not isinstance(message, dict):
        if isinstance(message, ChatResponse):
            raise bad(path, "is a ChatResponse; append response.message instead")
        if not isinstance(message, Mapping):
            dumps = " (its model_dump(exclude_none=True) may be one)" if hasattr(message, "model_dump") else ""
            raise bad(path, f"must be a dict like {EXAMPLE}, not {type(message).__name__}{dumps}")
        message = dict(message)
    role = message.get("role")
    if not isinstance(role, str) or role not in ROLES:
        said = "is missing" if role is None else f"is {role!r:.60}"
        meant = _OTHER_ROLES.get(role) if isinstance(role, str) else None
        hint = "" if meant is None else f" (did you mean {meant!r}?)"
        raise bad(f"{path}.role", f"{said}; it must be one of {', '.join(ROLES)}{hint}")
    changed: JSONObject = {}
    content = message.get("content")
    if isinstance(content, (list, tuple)):
        parts = checked_parts(content, f"{path}.content")
        if parts is not content:
            changed["content"] = parts
    elif not isinstance(content, str):
        _check_no_content(message, role, content, path)
    if role == "assistant":
        calls = message.get("tool_calls")
        if calls is not None:
            changed["tool_calls"] = _checked_tool_calls(calls, f"{path}.tool_calls", called)
        _note_native_calls(content, called)
        if message.get(NATIVE) is not None:
            _check_native(message[NATIVE], f"{path}.{NATIVE}")
    elif role == "tool":
        _check_tool_result(message, path, called)
    for key, value in message.items():
        if key not in ("role", "content", "tool_calls"):
            if not isinstance(key, str):
                raise bad(path, f"has a key that is not a string ({type(key).__name__})")
            check_json(value, f"{path}.{key}")
    return {**message, **changed} if changed else message


def _check_no_content(message: JSONObject, role: str, content: JSON, path: str) -> None:
    if content is not None:
        hint = ": put the part into a list" if isinstance(content, Mapping) else ""
        raise bad(f"{path}.content", f"must be a string or a list of parts, not {type(content).__name__}{hint}")
    # A model may say nothing but call tools, refuse, or think; then there is another key beside the role.
    if role != "assistant" or not (message.keys() - {"role", "content"} or "content" in message):
        elsewhere = next((key for key in ("text", "parts", "message", "prompt") if key in message), None)
        hint = "" if elsewhere is None else f": what is in {elsewhere!r} belongs there"
        raise bad(f"{path}.content", f"is missing{hint}")


def checked_parts(content: JSON, path: str) -> list[JSONObject]:
    """A list of content parts; the same list if nothing had to be normalised."""
    if not isinstance(content, (list, tuple)):
        raise bad(path, f"must be a string or a list of parts, not {type(content).__name__}")
    parts = [_checked_part(part, f"{path}[{i}]") for i, part in enumerate(content)]
    if isinstance(content, list) and all(map(_is, parts, content)):
        return content
    return parts


def is_part(part: JSONObject) -> bool:
    """Whether this could stand in the content of a message."""
    try:
        checked_parts([part], "")
    except LLMBadRequestError:
        return False
    return True


def _is(one: JSON, other: JSON) -> bool:
    return one is other


def _checked_part(part: JSON, path: str) -> JSONObject:
    if isinstance(part, str):
        check_json(part, path)
        return {"type": "text", "text": part}
    if not isinstance(part, dict):
        raise bad(path, f"must be a dict with a type, not {type(part).__name__}")
    return _checked_part_dict(part, path)


def _checked_part_dict(part: JSONObject, path: str) -> JSONObject:
    kind = part.get("type")
    if not isinstance(kind, str) or not kind:
        raise bad(f"{path}.type", "is missing" if kind is None else "must be a non-empty string")
    check = _PARTS.get(kind)
    if check is not None:
        part = check(part, path)
    check_json(part, path)
    return part


def _text_part(part: JSONObject, path: str) -> JSONObject:
    if not isinstance(part.get("text"), str):
        raise bad(f"{path}.text", "must be a string")
    return part


def _refusal_part(part: JSONObject, path: str) -> JSONObject:
    if not isinstance(part.get("refusal"), str):
        raise bad(f"{path}.refusal", "must be a string")
    return part


def _image_part(part: JSONObject, path: str) -> JSONObject:
    image = part.get("image_url")
    if isinstance(image, str):
        image = {"url": image}
        part = {**part, "image_url": image}
    url = image.get("url") if isinstance(image, dict) else None
    if not isinstance(url, str) or not _is_image_url(url):
        raise bad(f"{path}.image_url", "must hold an http(s) URL or a data URL (data:image/png;base64,...)")
    return part


def _is_image_url(url: str) -> bool:
    start = url[:64].lower()
    if start.startswith(("http://", "https://")):
        return len(url) > len("https://") and " " not in url and url.isprintable()
    if not start.startswith("data:"):
        return False
    head, comma, data = url.partition(",")
    return bool(comma and data) and "/" in head


def _audio_part(part: JSONObject, path: str) -> JSONObject:
    audio = part.get("input_audio")
    # Mistral's form of the same part is the bare base64 text.
    if isinstance(audio, str) and audio:
        return part
    if not isinstance(audio, dict) or not all(isinstance(audio.get(k), str) and audio[k] for k in ("data", "format")):
        raise bad(f"{path}.input_audio", "must hold data (base64) and format")
    return part


def _file_part(part: JSONObject, path: str) -> JSONObject:
    file = part.get("file")
    # Mistral's form names the file beside the type.
    if file is None and isinstance(part.get("file_id"), str):
        return part
    known = ("file_id", "file_data")
    if not isinstance(file, dict) or not any(isinstance(file.get(k), str) and file[k] for k in known):
        raise bad(f"{path}.file", "must hold file_id, or file_data with filename")
    return part


def _tool_use_part(part: JSONObject, path: str) -> JSONObject:
    """A call in Anthropic's form."""
    for key, kind in (("id", str), ("name", str), ("input", dict)):
        if not isinstance(part.get(key), kind) or (kind is str and not part[key]):
            raise bad(f"{path}.{key}", "must be an object" if kind is dict else "must be a non-empty string")
    return part


_PARTS: Final = {
    "text": _text_part,
    "image_url": _image_part,
    "input_audio": _audio_part,
    "file": _file_part,
    "refusal": _refusal_part,
    "tool_use": _tool_use_part,
}


def _checked_tool_calls(calls: JSON, path: str, called: set[str]) -> list[JSONObject]:
    if not isinstance(calls, (list, tuple)):
        raise bad(path, f"must be a list, not {type(calls).__name__}")
    checked = []
    for i, call in enumerate(calls):
        entry = _checked_tool_call(call, f"{path}[{i}]")
        called.add(entry["id"])
        checked.append(entry)
    return checked


def _checked_tool_call(call: JSON, path: str) -> JSONObject:
    if isinstance(call, ToolCall):
        if call.arguments_error is not None:
            raise bad(path, f"cannot be sent back: {call.arguments_error}")
        call = {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
    if not isinstance(call, dict):
        raise bad(path, f"must be a dict with id and function, not {type(call).__name__}")
    if not isinstance(call.get("id"), str) or not call["id"]:
        raise bad(f"{path}.id", "must be a non-empty string")
    check_json(call, path)
    kind = call.get("type")
    if kind not in (None, "function") and not isinstance(call.get("function"), dict):
        if not isinstance(kind, str):
            raise bad(f"{path}.type", "must be a string")
        if kind == "custom":
            _check_custom(call.get("custom"), f"{path}.custom")
        return call
    entry: JSONObject = call
    function = entry.get("function")
    if not isinstance(function, dict):
        raise bad(f"{path}.function", "must be a dict with name and arguments")
    if not isinstance(function.get("name"), str) or not function["name"]:
        raise bad(f"{path}.function.name", "must be a non-empty string")
    arguments = _argument_text(function.get("arguments"), f"{path}.function.arguments")
    if entry.get("type") == "function" and arguments is function.get("arguments"):
        return entry
    return {**entry, "type": "function", "function": {**function, "arguments": arguments}}


def _check_custom(custom: JSON, path: str) -> None:
    name, said = (custom.get("name"), custom.get("input")) if isinstance(custom, dict) else (None, None)
    if not isinstance(name, str) or not name or not isinstance(said, str):
        raise bad(path, "must be a dict with name and input, both text")


def _argument_text(arguments: JSON, path: str) -> str:
    if arguments is None or arguments == "":
        return "{}"
    if isinstance(arguments, dict):
        return jsontext.dumps(arguments).decode()
    if not isinstance(arguments, str):
        raise bad(path, f"must be JSON text or a dict, not {type(arguments).__name__}")
    try:
        value = jsontext.loads(arguments)
    except jsontext.JSONTextError as error:
        raise bad(path, f"is not JSON: {error}") from error
    if value is None:
        return "{}"
    if not isinstance(value, dict):
        raise bad(path, "must be the JSON text of an object")
    return arguments


def _check_native(native: JSON, path: str) -> None:
    if not isinstance(native, dict) or not isinstance(native.get("wire"), str) or not native["wire"]:
        raise bad(path, 'must be as response.message has it ({"wire": ..., ...}); leave it out in messages of your own')


def _note_native_calls(blocks: JSON, called: set[str]) -> None:
    if isinstance(blocks, (list, tuple)):
        for block in blocks:
            if isinstance(block, dict) and block.get("type") == "tool_use" and isinstance(block.get("id"), str):
                called.add(block["id"])


def _check_tool_result(message: JSONObject, path: str, called: set[str]) -> None:
    call_id = message.get("tool_call_id")
    if not isinstance(call_id, str) or not call_id:
        raise bad(f"{path}.tool_call_id", "is missing" if call_id is None else "must be a non-empty string")
    if call_id not in called:
        raise bad(f"{path}.tool_call_id", f"is {call_id!r:.80}, which no earlier assistant message called")
    if not isinstance(message.get("is_error", False), bool):
        raise bad(f"{path}.is_error", "must be True or False")
