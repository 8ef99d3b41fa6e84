"""Requests of the three wires, read and checked as their vendors do: body in, `Ask` out, or `RefusedError`.

Rules of this file:
- The checks are those that real servers are known to make and that a client's codec could fall foul of; each refusal
  has the vendor's words, so that the same text serves the tests of error mapping.
- Nothing is read from another wire's vocabulary: a codec that sends the wrong field must not get away with it.
"""

from __future__ import annotations

import base64
import hashlib
import json
from typing import TYPE_CHECKING

from .script import Ask, RefusedError, ScriptedError

if TYPE_CHECKING:
    from sans_io.decode.jsontext import JSON, JSONObject

#: Anthropic API versions under which sampling parameters are refused.
_WITHOUT_SAMPLING = "2026-10-21"


def openai_ask(body: JSON, model: str | None = None) -> Ask:
    """POST /chat/completions. `model` is the deployment of an Azure path, which wins over the body's."""
    body = _object(body)
    messages = _messages(body, "openai")
    open_calls: set[str] = set()
    read: list[tuple[str, str]] = []
    for index, message in enumerate(messages):
        role = message.get("role")
        if role not in {"system", "developer", "user", "assistant", "tool", "function"}:
            raise _bad(f"Invalid value: '{role}'. Supported values are: 'system', 'assistant', 'user', 'function', "
                       f"'tool', and 'developer'.", "invalid_value", param=f"messages[{index}].role")  # fmt: skip
        if role == "tool":
            if message.get("tool_call_id") not in open_calls:
                raise _bad("Invalid parameter: messages with role 'tool' must be a response to a preceeding message "
                           "with 'tool_calls'.", param=f"messages[{index}].role")  # fmt: skip
            open_calls.discard(message["tool_call_id"])
        elif open_calls:
            raise _bad("An assistant message with 'tool_calls' must be followed by tool messages responding to each "
                       "'tool_call_id'.", param=f"messages[{index}].role")  # fmt: skip
        for position, call in enumerate(message.get("tool_calls") or []):
            function = call.get("function", {})
            if not isinstance(function.get("arguments"), str):
                path = f"messages[{index}].tool_calls[{position}].function.arguments"
                raise _bad(f"Invalid type for '{path}': expected a string.", "invalid_type", param=path)
            open_calls.add(call.get("id"))
        read.append((role, _openai_text(message.get("content"), f"messages[{index}].content")))
    tools: list[tuple[str, JSONObject]] = []
    for index, tool in enumerate(body.get("tools") or []):
        if tool.get("type") != "function" or not isinstance(tool.get("function", {}).get("name"), str):
            raise _bad(f"Missing required parameter: 'tools[{index}].function'.", param=f"tools[{index}].function")
        tools.append((tool["function"]["name"], tool["function"].get("parameters") or {}))
    if body.get("stream_options") is not None and not body.get("stream"):
        raise _bad("The 'stream_options' parameter is only allowed when 'stream' is enabled.", param="stream_options")
    if body.get("parallel_tool_calls") is not None and not tools:
        raise _bad("Invalid value for 'parallel_tool_calls': 'parallel_tool_calls' is only allowed when 'tools' are "
                   "specified.", param="parallel_tool_calls")  # fmt: skip
    stop = body.get("stop") or ()
    effort = body.get("reasoning_effort")
    return Ask(
        wire="openai",
        model=model or body.get("model") or "",
        messages=tuple(read),
        tools=tuple(tools),
        tool_choice=_openai_choice(body.get("tool_choice")),
        parallel=body.get("parallel_tool_calls") is not False,
        stream=bool(body.get("stream")),
        include_usage=bool((body.get("stream_options") or {}).get("include_usage")),
        max_tokens=body.get("max_completion_tokens") or body.get("max_tokens"),
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
        n=body.get("n") or 1,
        schema=_openai_schema(body.get("response_format")),
        reasoning=effort not in {None, "none"},
        body=body,
    )


def anthropic_ask(body: JSON, version: str | None, *, check_signatures: bool = True) -> Ask:
    """POST /v1/messages under the API version of the `anthropic-version` header."""
    body = _object(body)
    if version is None:
        raise _bad("anthropic-version: header is required")
    if not isinstance(body.get("max_tokens"), int):
        raise _bad("max_tokens: Field required")
    if version >= _WITHOUT_SAMPLING:
        for name in ("temperature", "top_p", "top_k"):
            if name in body:
                raise _bad(f"{name}: Extra inputs are not permitted")
    read: list[tuple[str, str]] = []
    if body.get("system"):
        read.append(("system", _anthropic_text(body["system"])))
    open_uses: set[str] = set()
    for index, message in enumerate(_messages(body, "anthropic")):
        role, content = message.get("role"), message.get("content")
        if role not in {"user", "assistant", "system"}:
            raise _bad(f"messages.{index}.role: Input should be 'user', 'assistant' or 'system'")
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        if not isinstance(blocks, list):
            raise _bad(f"messages.{index}.content: Input should be a valid list")
        results = {block.get("tool_use_id") for block in blocks if block.get("type") == "tool_result"}
        if role == "user" and open_uses - results:
            missing = ", ".join(sorted(open_uses - results))
            raise _bad(f"messages.{index}: `tool_use` ids were found without `tool_result` blocks immediately after: "
                       f"{missing}. Each `tool_use` block must have a corresponding `tool_result` block in the next "
                       f"message.")  # fmt: skip
        if results - open_uses:
            unknown = ", ".join(sorted(str(each) for each in results - open_uses))
            raise _bad(
                f"messages.{index}.content.0: unexpected `tool_use_id` found in `tool_result` blocks: {unknown}. "
                "Each `tool_result` block must have a corresponding `tool_use` block in the previous message."
            )
        open_uses = set()
        for position, block in enumerate(blocks):
            where = f"messages.{index}.content.{position}"
            kind = block.get("type")
            if kind == "tool_use":
                if not isinstance(block.get("input"), dict):
                    raise _bad(f"{where}.tool_use.input: Input should be a valid dictionary")
                open_uses.add(block.get("id"))
            elif kind == "tool_result":
                read.append(("tool", _anthropic_text(block.get("content") or "")))
            elif kind == "text":
                if not block.get("text"):
                    raise _bad(f"{where}: text content blocks must be non-empty")
                read.append((role, block["text"]))
            elif kind == "thinking" and check_signatures:
                if block.get("signature") != signature(block.get("thinking", "")):
                    raise _bad(f"{where}: Invalid `signature` in `thinking` block")
            elif kind == "image" and block.get("source", {}).get("type") not in {"base64", "url", "file"}:
                raise _bad(f"{where}.image.source: Input tag does not match any of the expected tags")
    tools: list[tuple[str, JSONObject]] = []
    for index, tool in enumerate(body.get("tools") or []):
        if "type" in tool and tool["type"] != "custom":
            continue  # a server tool, named by its dated type
        if not isinstance(tool.get("input_schema"), dict):
            raise _bad(f"tools.{index}.custom.input_schema: Field required")
        tools.append((tool["name"], tool["input_schema"]))
    choice: JSONObject = body.get("tool_choice") or {"type": "auto"}
    kind_of_choice = str(choice.get("type", "auto"))
    thinking = (body.get("thinking") or {}).get("type")
    output_format = (body.get("output_config") or {}).get("format")
    return Ask(
        wire="anthropic",
        model=body.get("model") or "",
        messages=tuple(read),
        tools=tuple(tools),
        tool_choice={"any": "required", "tool": str(choice.get("name"))}.get(kind_of_choice, kind_of_choice),
        parallel=not choice.get("disable_parallel_tool_use"),
        stream=bool(body.get("stream")),
        include_usage=True,
        max_tokens=body["max_tokens"],
        stop=tuple(body.get("stop_sequences") or ()),
        schema=None if output_format is None else output_format.get("schema", {}),
        reasoning=thinking in {"enabled", "adaptive"},
        body=body,
    )


def ollama_ask(body: JSON) -> Ask:
    """POST /api/chat. `stream` is true unless the request says otherwise, as on the real server."""
    body = _object(body)
    if not body.get("model"):
        raise RefusedError(ScriptedError("model is required", 400))
    read: list[tuple[str, str]] = []
    for message in body.get("messages") or []:
        if not isinstance(message, dict) or not isinstance(message.get("content", ""), str):
            raise _go("array", "ChatRequest.messages.content", "string")
        for image in message.get("images") or []:
            try:
                base64.b64decode(image, validate=True)
            except ValueError:
                raise RefusedError(ScriptedError("illegal base64 data at input byte 0", 400)) from None
        for call in message.get("tool_calls") or []:
            if not isinstance(call.get("function", {}).get("arguments"), dict):
                raise _go("string", "ChatRequest.messages.tool_calls.function.arguments", "map[string]interface {}")
        read.append((message.get("role", ""), message.get("content", "")))
    options = body.get("options") or {}
    wanted = body.get("format")
    return Ask(
        wire="ollama",
        model=body["model"],
        messages=tuple(read),
        tools=tuple((tool["function"]["name"], tool["function"].get("parameters") or {})
                    for tool in body.get("tools") or []),
        stream=body.get("stream") is not False,
        include_usage=True,
        max_tokens=options.get("num_predict"),
        stop=tuple(options.get("stop") or ()),
        schema={} if wanted == "json" else wanted,
        reasoning=body.get("think") not in {None, False},
        body=body,
    )  # fmt: skip


def signature(thinking: str) -> str:
    """The signature under a thinking block that this server made: a changed block is found out."""
    return base64.b64encode(hashlib.sha256(thinking.encode()).digest()).decode()


def parse_body(data: bytes) -> JSON:
    """A request body as JSON, or the refusal that vendors give."""
    try:
        return json.loads(data)
    except ValueError:
        raise _bad("We could not parse the JSON body of your request.") from None


def _object(body: JSON) -> JSONObject:
    if not isinstance(body, dict):
        raise _bad("Invalid body: expected a JSON object.")
    return body


def _messages(body: JSONObject, wire: str) -> list[JSONObject]:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(each, dict) for each in messages):
        if wire == "anthropic":
            raise _bad("messages: at least one message is required")
        raise _bad("Missing required parameter: 'messages'.", "missing_required_parameter", param="messages")
    return messages


def _openai_text(content: JSON, path: str) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        raise _bad(f"Invalid type for '{path}': expected one of a string or array of objects.", "invalid_type",
                   param=path)  # fmt: skip
    for index, part in enumerate(content):
        if part.get("type") not in {"text", "image_url", "input_audio", "file", "refusal"}:
            raise _bad(f"Invalid value: '{part.get('type')}'.", "invalid_value", param=f"{path}[{index}].type")
        if part["type"] == "image_url" and not isinstance(part.get("image_url", {}).get("url"), str):
            raise _bad(f"Invalid type for '{path}[{index}].image_url'.", "invalid_type", param=f"{path}[{index}]")
    return "".join(part.get("text", "") for part in content)


def _openai_choice(choice: JSON) -> str:
    if isinstance(choice, dict):
        return str(choice.get("function", {}).get("name"))
    return choice or "auto"


def _openai_schema(response_format: JSON) -> JSONObject | None:
    kind = (response_format or {}).get("type")
    if kind == "json_object":
        return {}
    if kind != "json_schema":
        return None
    schema: JSONObject = response_format["json_schema"].get("schema") or {}
    return schema


def _anthropic_text(content: JSON) -> str:
    if isinstance(content, str):
        return content
    return "".join(block.get("text", "") for block in content if block.get("type") == "text")


def _bad(message: str, code: str | None = None, *, param: str | None = None) -> RefusedError:
    extra = {} if param is None else {"param": param}
    return RefusedError(ScriptedError(message, 400, code=code, extra=extra))


def _go(found: str, place: str, wanted: str) -> RefusedError:
    return RefusedError(
        ScriptedError(f"json: cannot unmarshal {found} into Go struct field {place} of type {wanted}", 400)
    )
