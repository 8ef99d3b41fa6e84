"""How vendors refuse: the first rule that a request breaks, in the vendor's words, status and form.

Rules of this file:
- What is refused is said in `sans_io.providers.rules`; here are the words only. A rule without words of its own is
  refused with its path and its sentence.
- Words are those that users reported, so that the same text serves the tests of error mapping.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from sans_io.providers.rules import Rule, rules_of

from .script import RefusedError, ScriptedError

if TYPE_CHECKING:
    from sans_io.decode.jsontext import JSON, JSONObject


class Words(NamedTuple):
    """What a vendor says where a rule is broken. `{path}`, `{value}`, `{key}`, `{length}` and `{model}` are put in."""

    text: str
    code: str | None = None
    status: int = 400
    type: str = "invalid_request_error"


def refuse(vendor: str, body: JSONObject, version: str | None = None, *, models: bool = True) -> None:
    """Raise `RefusedError` for the first rule of this vendor's that `body` breaks. `models`: those of models too."""
    for rule in rules_of(vendor, version):
        if models or rule.about != "model":
            found: list[str] = []
            rule.check(body, found.append)
            if found:
                raise RefusedError(_error(vendor, rule, found[0], body))


def shaped(vendor: str, status: int, body: JSON) -> JSON:
    """An error in OpenAI's form as this vendor of its wire writes it."""
    error = body.get("error") if isinstance(body, dict) else None
    if not isinstance(error, dict):
        return body
    message, kind, code = error.get("message"), error.get("type"), error.get("code")
    if vendor == "mistral":
        details = error.get("detail")
        said = message if details is None else {"detail": details}
        return {"object": "error", "message": said, "type": kind, "param": error.get("param"), "code": code}
    if vendor == "groq":
        return {"error": {"message": message, "type": kind, **({} if code is None else {"code": code})}}
    if vendor == "cerebras":
        return {"message": message, "type": kind, "param": error.get("param"), "code": code}
    if vendor == "xai":
        return {
            "code": "Client specified an invalid argument" if status == 400 else str(code or kind),
            "error": message,
        }
    if vendor == "openrouter":
        return {"error": {"message": message, "code": status}}
    if vendor == "gemini":
        words = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND",
                 429: "RESOURCE_EXHAUSTED", 503: "UNAVAILABLE"}  # fmt: skip
        return [{"error": {"code": status, "message": message, "status": words.get(status, "INTERNAL")}}]
    return body


def _error(vendor: str, rule: Rule, path: str, body: JSONObject) -> ScriptedError:
    words = _WORDS.get(vendor, {}).get(rule.name)
    if words is None and vendor in _UNKNOWN_KEY and rule.name.endswith(("that the API knows", "does not know")):
        words = _UNKNOWN_KEY[vendor]
    if words is None:
        words = Words(
            {"anthropic": "{path}: {rule}", "ollama": "{path}: {rule}"}.get(vendor, "Invalid '{path}': {rule}.")
        )
    value = _at(body, path)
    where = _location(body, path) if vendor in ("anthropic", "cerebras", "groq") else path
    shown = value if isinstance(value, str) else json.dumps(value)
    text = words.text.format(
        path=where,
        rule=rule.name,
        value=shown,
        kind=_go_kind(value),
        length=len(shown),
        key=_camel(path) if vendor == "xai" else path.rpartition(".")[2],
        holder=where.rpartition(".")[0],
        role=_role(body, path),
        model=body.get("model"),
    )
    extra: dict[str, JSON] = {}
    if vendor not in ("anthropic", "ollama"):
        extra["param"] = path
    if vendor == "cerebras":
        extra["param"] = "validation_error"
    if vendor == "mistral" and words.status == 422:
        loc = ["body", *_parts(body, path, roles=True)]
        extra |= {"param": None, "detail": [{"type": "extra_forbidden", "loc": loc, "msg": text, "input": value}]}
    return ScriptedError(text, words.status, type=words.type, code=words.code, extra=extra)


_EXTRA: Final = Words("Extra inputs are not permitted", None, 422)
#: What vendors that refuse unknown keys say of one.
_UNKNOWN_KEY: Final = {
    "anthropic": Words("{path}: Extra inputs are not permitted"),
    "cerebras": Words("{path}: property '{path}' is unsupported", "wrong_api_format"),
    "gemini": Words('Invalid JSON payload received. Unknown name "{key}": Cannot find field.'),
    "groq": Words(
        "'{holder}' : for 'role:{role}' the following must be satisfied[('{holder}' : property '{key}' is unsupported)]"
    ),
    "mistral": _EXTRA,
}
_OPENAI: Final = {
    "messages are a non-empty list of objects": Words(
        "Missing required parameter: '{path}'.", "missing_required_parameter"
    ),
    "model is named": Words("you must provide a model parameter"),
    "content is a text or a non-empty list of parts": Words(
        "Invalid type for '{path}': expected one of a string or array of objects.", "invalid_type"
    ),
    "roles are developer, system, user, assistant, tool and function": Words(
        "Invalid value: '{value}'. Supported values are: 'system', 'assistant', 'user', 'function', 'tool', and "
        "'developer'.",
        "invalid_value",
    ),
    "parts are those of their role": Words("Invalid value: '{value}'.", "invalid_value"),
    "an image is an http(s) or a data URL": Words("Invalid type for '{path}'.", "invalid_type"),
    "a result answers a call of the message before it, each once": Words(
        "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with 'tool_calls'."
    ),
    "a call has its result in the messages behind it": Words(
        "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. "
        "The following tool_call_ids did not have response messages: {value}"
    ),
    "calls have id, type, name and arguments as text": Words(
        "Invalid type for '{path}': expected a string.", "invalid_type"
    ),
    "ids of calls have at most 40 characters": Words(
        "Invalid '{path}': string too long. Expected a string with maximum length 40, but got a string with length "
        "{length} instead.",
        "string_above_max_length",
    ),
    "tools are functions or custom, with a name": Words("Missing required parameter: '{holder}.function'."),
    "parameters of a function are a schema of type object": Words(
        "Invalid schema for function: schema must be a JSON Schema of 'type: \"object\"', got {value}.",
        "invalid_function_parameters",
    ),
    "stream_options goes with stream": Words(
        "The 'stream_options' parameter is only allowed when 'stream' is enabled."
    ),
    "parallel_tool_calls goes with tools": Words(
        "Invalid value for 'parallel_tool_calls': 'parallel_tool_calls' is only allowed when 'tools' are specified."
    ),
    "json_object needs the word json in a message": Words(
        "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'."
    ),
    "models that reason take max_completion_tokens, not max_tokens": Words(
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
        "unsupported_parameter",
    ),
    "models that reason have no sampling parameters but the defaults": Words(
        "Unsupported value: '{path}' does not support {value} with this model. Only the default (1) value is "
        "supported.",
        "unsupported_value",
    ),
    "models that reason have no stop sequences": Words(
        "Unsupported parameter: 'stop' is not supported with this model.", "unsupported_parameter"
    ),
    "gpt-5.6 and later take functions with reasoning_effort none only (5.4 and 5.5: or without it)": Words(
        "Function tools with reasoning_effort are not supported for {model} in /v1/chat/completions. Please use "
        "/v1/responses instead."
    ),
}
_WORDS: Final[dict[str, dict[str, Words]]] = {
    "openai": _OPENAI,
    "azure": _OPENAI,
    "groq": _OPENAI,
    "xai": {**_OPENAI, "Grok has no penalties": Words("Argument not supported on this model: {key}")},
    "openrouter": _OPENAI,
    "cerebras": _OPENAI,
    "gemini": {
        **_OPENAI,
        "the first call of a message to Gemini 3 has its thought_signature": Words(
            "Function call is missing a thought_signature in functionCall parts. This is required for tools to work "
            "correctly, and missing thought_signature may lead to degraded model performance."
        ),
    },
    "deepseek": {
        **_OPENAI,
        "roles are system, user, assistant and tool": Words(
            "Failed to deserialize the JSON body into the target type: {path}: unknown variant `{value}`, expected one "
            "of `system`, `user`, `assistant`, `tool` at line 1 column 58",
            "invalid_request_error",
        ),
        "response_format is text or json_object": Words(
            "This response_format type is unavailable now", "invalid_request_error"
        ),
        "a message with calls has its reasoning_content": Words(
            "The `reasoning_content` in the thinking mode must be passed back to the API.", "invalid_request_error"
        ),
        "json_object needs the word json in a message": Words(
            "Prompt must contain the word 'json' in some form to use 'response_format' of type 'json_object'.",
            "invalid_request_error",
        ),
        "thinking does not go with forced tools": Words(
            "Thinking mode does not support this tool_choice", "invalid_request_error"
        ),
    },
    "mistral": {
        "ids of calls have nine letters or digits": Words(
            "Tool call id was {value} but must be a-z, A-Z, 0-9, with a length of 9.", "3280", 400,
            "invalid_function_call",
        ),
        "an assistant has text or calls": Words(
            "Assistant message must have either content or tool_calls, but not none."
        ),
        "the last message is the user's, a result, or an assistant's with prefix": Words(
            "Expected last role User or Tool (or Assistant with prefix True) for serving but got {value}", "3230", 400,
            "invalid_request_message_order",
        ),
    },
    "anthropic": {
        "max_tokens is an integer": Words("max_tokens: Field required"),
        "model is named": Words("model: Field required"),
        "messages are a non-empty list of turns with role and content": Words(
            "messages: at least one message is required"
        ),
        "roles are user, assistant and system": Words("{path}: Input should be 'user', 'assistant' or 'system'"),
        "roles are user and assistant": Words("{path}: Input should be 'user' or 'assistant'"),
        "content is a text or a list of blocks": Words("{path}: Input should be a valid list"),
        "every turn says something": Words(
            "{holder}: all messages must have non-empty content except for the optional final assistant message"
        ),
        "a text block has more than white space": Words("{holder}: text content blocks must be non-empty"),
        "there are no sampling parameters": Words("{path}: Extra inputs are not permitted"),
        "there are at most 4 cache markers": Words("A maximum of 4 blocks with cache_control may be provided."),
        "an image is base64 of JPEG, PNG, GIF or WebP, a url or a file": Words(
            "{path}: Input tag does not match any of the expected tags"
        ),
        "a tool_use has a name and an object as input": Words("{path}: Input should be a valid dictionary"),
        "ids of tool uses have letters, digits, _ and - only": Words(
            "{path}: String should match pattern '^[a-zA-Z0-9_-]+$'"
        ),
        "ids of tool uses differ": Words("{path}: `tool_use` ids must be unique"),
        "a tool_result answers a tool_use of the turn before it, each once": Words(
            "{holder}: unexpected `tool_use_id` found in `tool_result` blocks: {value}. Each `tool_result` block must "
            "have a corresponding `tool_use` block in the previous message."
        ),
        "a tool_use has its tool_result in the turn behind it": Words(
            "{holder}: `tool_use` ids were found without `tool_result` blocks immediately after: {value}. Each "
            "`tool_use` block must have a corresponding `tool_result` block in the next message."
        ),
        "a tool has a name and a schema of type object": Words("{path}: Field required"),
        "a thinking block has its signature, a redacted one its data": Words("{path}: Field required"),
        "an assistant's turn does not end with thinking": Words(
            "{holder}: The final block in an assistant message cannot be `thinking`."
        ),
        "an assistant's turn that is to be continued does not end with white space": Words(
            "messages: final assistant content cannot end with trailing whitespace"
        ),
        "a schema closes every object: additionalProperties is false": Words(
            "{path}: For 'object' type, 'additionalProperties' must be explicitly set to false"
        ),
    },
    "ollama": {
        "model is named": Words("model is required"),
        "messages are objects whose content is a text": Words(
            "json: cannot unmarshal {kind} into Go struct field ChatRequest.{path} of type string"
        ),
        "images are base64 of the standard alphabet": Words("illegal base64 data at input byte 0"),
        "calls have a name and an object as arguments": Words(
            "json: cannot unmarshal {kind} into Go struct field ChatRequest.{path} of type "
            "api.ToolCallFunctionArguments"
        ),
    },
}  # fmt: skip


# -- places in a body -------------------------------------------------------------------------------------------------

_STEP: Final = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


def _parts(body: JSON, path: str, *, types: bool = False, roles: bool = False) -> list[str | int]:
    """A path in pieces. `types`: behind a block or a tool comes its type; `roles`: behind a message its role."""
    pieces: list[str | int] = []
    value = body
    for name, index in _STEP.findall(path):
        if pieces and isinstance(value, dict) and isinstance(pieces[-1], int):
            holder = pieces[-2] if len(pieces) > 1 else None
            if roles and holder == "messages":
                pieces.append(str(value.get("role")))
            elif types and holder != "messages":
                pieces.append(str(value.get("type", "custom")))
        pieces.append(int(index) if index else name)
        if index:
            value = value[int(index)] if isinstance(value, list) and int(index) < len(value) else None
        else:
            value = value.get(name) if isinstance(value, dict) else None
    return pieces


def _location(body: JSONObject, path: str) -> str:
    """A path as pydantic writes it: `messages.0.content.1.tool_use.input`."""
    return ".".join(map(str, _parts(body, path, types=True)))


def _at(body: JSON, path: str) -> JSON:
    """What stands at a path; None where nothing does."""
    value = body
    for name, index in _STEP.findall(path):
        if index:
            value = value[int(index)] if isinstance(value, list) and int(index) < len(value) else None
        else:
            value = value.get(name) if isinstance(value, dict) else None
    return value


def _role(body: JSONObject, path: str) -> str:
    message = _at(body, ".".join(path.split(".")[:1]))
    return str(message.get("role")) if isinstance(message, dict) else ""


def _go_kind(value: JSON) -> str:
    """What Go calls a JSON value."""
    kinds = {str: "string", bool: "bool", int: "number", float: "number", list: "array", dict: "object"}
    return kinds.get(type(value), "null")


def _camel(path: str) -> str:
    first, *others = path.split("_")
    return first + "".join(map(str.title, others))
