"""The rules of OpenAI's chat completions wire, for each vendor that speaks it.

    ROWS    vendor -> its rules

Rules of this file:
- A rule is a small function that gives the paths of what breaks it. What differs between vendors is its argument.
- A vendor has a rule only where its documents, its SDK or a bug report with its error say so.
- What is not known to be refused is not refused: an unknown key is one only where the vendor refuses unknown keys.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from .base import Check, Paths, Report, Rule, inner, is_count, is_number, messages, objects, report_all, unknown_keys
from .schemas import strict_rules

if TYPE_CHECKING:
    from ...decode.jsontext import JSONObject

_API: Final = "OpenAI, API reference: create chat completion"

# -- messages ---------------------------------------------------------------------------------------------------------


def _some_messages(body: JSONObject, report: Report) -> None:
    listed = body.get("messages")
    if not isinstance(listed, list) or not listed:
        report("messages")
        return
    for i, message in enumerate(listed):
        if not isinstance(message, dict):
            report(f"messages[{i}]")


def _roles(*known: str) -> Check:
    def check(body: JSONObject, report: Report) -> None:
        for path, message in messages(body):
            if message.get("role") not in known:
                report(f"{path}.role")

    return check


def _message_keys(**known: str) -> Check:
    """The keys of each role's messages, as words of a text; roles that are not named are another rule's business."""
    rows = {role: frozenset(keys.split()) | {"role", "content"} for role, keys in known.items()}

    def check(body: JSONObject, report: Report) -> None:
        for path, message in messages(body):
            role = message.get("role")
            if isinstance(role, str) and role in rows:
                unknown_keys(path, message, rows[role], report)

    return check


def _without(*keys: str) -> Check:
    """Keys that no message has."""

    def check(body: JSONObject, report: Report) -> None:
        for path, message in messages(body):
            for key in keys:
                if key in message:
                    report(f"{path}.{key}")

    return check


def _contents(body: JSONObject, report: Report) -> None:
    """What is said is a text or a list of parts; only an assistant may leave it out."""
    for path, message in messages(body):
        content = message.get("content")
        if message.get("role") == "assistant" and content is None:
            continue
        if message.get("role") == "function" and content is None and "content" in message:
            continue
        is_silent = content == [] and not message.get("tool_calls")
        if not isinstance(content, (str, list)) or is_silent:
            report(f"{path}.content")
        elif isinstance(content, list):
            for i, part in enumerate(content):
                if not isinstance(part, dict):
                    report(f"{path}.content[{i}]")


def _says_something(*instead: str) -> Check:
    """An assistant's message has content, or one of `instead`."""

    def check(body: JSONObject, report: Report) -> None:
        for path, message in messages(body, "assistant"):
            if message.get("content") is None and not any(message.get(key) for key in instead):
                report(f"{path}.content")

    return check


def _not_empty(body: JSONObject, report: Report) -> None:
    """Mistral's: an assistant's message has text or calls, and its text is not the empty one."""
    for path, message in messages(body, "assistant"):
        if not message.get("content") and not message.get("tool_calls"):
            report(f"{path}.content")


def _part_forms(**known: tuple[str, ...]) -> Check:
    """The types of parts that each role's content may have."""

    def check(body: JSONObject, report: Report) -> None:
        for path, message in messages(body):
            role = message.get("role")
            allowed = known.get(role) if isinstance(role, str) else None
            for where, part in objects(message.get("content"), f"{path}.content"):
                kind = part.get("type")
                if allowed is not None and kind not in allowed:
                    report(f"{where}.type")
                elif kind == "text" and not isinstance(part.get("text"), str):
                    report(f"{where}.text")

    return check


def _parts(body: JSONObject, kind: str) -> Paths:
    return [
        (where, part)
        for path, message in messages(body)
        for where, part in objects(message.get("content"), f"{path}.content")
        if part.get("type") == kind
    ]


def _images(body: JSONObject, report: Report) -> None:
    for path, part in _parts(body, "image_url"):
        url = inner(part, "image_url").get("url")
        if not isinstance(url, str) or not url.lower().startswith(("http://", "https://", "data:image/")):
            report(f"{path}.image_url")


def _audio(body: JSONObject, report: Report) -> None:
    for path, part in _parts(body, "input_audio"):
        audio = inner(part, "input_audio")
        if not isinstance(audio.get("data"), str) or audio.get("format") not in ("wav", "mp3"):
            report(f"{path}.input_audio")


def _files(body: JSONObject, report: Report) -> None:
    for path, part in _parts(body, "file"):
        file = inner(part, "file")
        if not isinstance(file.get("file_id"), str) and not isinstance(file.get("file_data"), str):
            report(f"{path}.file")


def _mistral_forms(body: JSONObject, report: Report) -> None:
    """Mistral's own forms: audio is base64 beside the type, a file its id beside the type."""
    for path, part in _parts(body, "image_url"):
        image = part.get("image_url")
        if not isinstance(image, str) and not isinstance(inner(image).get("url"), str):
            report(f"{path}.image_url")
    for path, part in _parts(body, "input_audio"):
        if not isinstance(part.get("input_audio"), str):
            report(f"{path}.input_audio")
    for path, part in _parts(body, "file"):
        if not isinstance(part.get("file_id"), str):
            report(f"{path}.file_id")


_MISTRAL_PARTS: Final = {
    "text": frozenset({"type", "text"}),
    "image_url": frozenset({"type", "image_url"}),
    "input_audio": frozenset({"type", "input_audio"}),
    "file": frozenset({"type", "file_id"}),
    "document_url": frozenset({"type", "document_url", "document_name"}),
    "reference": frozenset({"type", "reference_ids"}),
    "thinking": frozenset({"type", "thinking", "signature", "closed"}),
}


def _mistral_part_keys(body: JSONObject, report: Report) -> None:
    for path, message in messages(body):
        for where, part in objects(message.get("content"), f"{path}.content"):
            kind = part.get("type")
            known = _MISTRAL_PARTS.get(kind) if isinstance(kind, str) else None
            if known is not None:
                unknown_keys(where, part, known, report)


def _shells(body: JSONObject, report: Report) -> None:
    """A function call without a name, audio without an id: what some replies hold as placeholders."""
    for path, message in messages(body, "assistant"):
        if message.get("function_call") is not None and not inner(message, "function_call").get("name"):
            report(f"{path}.function_call")
        if message.get("audio") is not None and not inner(message, "audio").get("id"):
            report(f"{path}.audio")


_NAME: Final = re.compile(r"[^\s<|\\/>]+")


def _names(body: JSONObject, report: Report) -> None:
    for path, message in messages(body):
        name = message.get("name")
        if "name" in message and not (isinstance(name, str) and _NAME.fullmatch(name)):
            report(f"{path}.name")


# -- calls of tools and their results ---------------------------------------------------------------------------------


def _calls(body: JSONObject) -> Paths:
    asking = messages(body, "assistant")
    return [found for path, message in asking for found in objects(message.get("tool_calls"), f"{path}.tool_calls")]


def _call_forms(*kinds: str, types_are_named: bool = True, objects_too: bool = False) -> Check:
    """Calls have an id, a type, and a function with a name and arguments as text."""

    def check(body: JSONObject, report: Report) -> None:
        for path, message in messages(body, "assistant"):
            listed = message.get("tool_calls")
            if listed is not None and not isinstance(listed, list):
                report(f"{path}.tool_calls")
            for i, call in enumerate(listed if isinstance(listed, list) else ()):
                if not isinstance(call, dict):
                    report(f"{path}.tool_calls[{i}]")
        for path, call in _calls(body):
            kind = call.get("type")
            if not isinstance(call.get("id"), str) or not call["id"]:
                report(f"{path}.id")
            if kind not in kinds and (types_are_named or kind is not None):
                report(f"{path}.type")
            elif kind == "custom":
                if not isinstance(inner(call, "custom").get("input"), str):
                    report(f"{path}.custom.input")
            else:
                function = inner(call, "function")
                if not isinstance(function.get("name"), str) or not function["name"]:
                    report(f"{path}.function.name")
                arguments = function.get("arguments")
                if not isinstance(arguments, str) and not (objects_too and isinstance(arguments, dict)):
                    report(f"{path}.function.arguments")

    return check


_TOOL_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def _call_names(body: JSONObject, report: Report) -> None:
    for path, call in _calls(body):
        name = inner(call, "function").get("name")
        if isinstance(name, str) and name and not _TOOL_NAME.fullmatch(name):
            report(f"{path}.function.name")


def _call_keys(*known: str) -> Check:
    outer, within = frozenset(known), frozenset({"name", "arguments"})

    def check(body: JSONObject, report: Report) -> None:
        for path, call in _calls(body):
            unknown_keys(path, call, outer, report)
            unknown_keys(f"{path}.function", inner(call, "function"), within, report)

    return check


def _no_empty_calls(body: JSONObject, report: Report) -> None:
    for path, message in messages(body, "assistant"):
        if message.get("tool_calls") == []:
            report(f"{path}.tool_calls")


def _unique_ids(body: JSONObject, report: Report) -> None:
    for path, message in messages(body, "assistant"):
        seen: set[str] = set()
        for where, call in objects(message.get("tool_calls"), f"{path}.tool_calls"):
            call_id = call.get("id")
            if isinstance(call_id, str):
                if call_id in seen:
                    report(f"{where}.id")
                seen.add(call_id)


def _unpaired(body: JSONObject) -> tuple[list[str], list[str]]:
    """The results that answer no call of the assistant's message before, and the calls that have none behind them."""
    results: list[str] = []
    calls: list[str] = []
    waiting: dict[str, str] = {}
    for path, message in [*messages(body), ("", {})]:
        if message.get("role") == "tool":
            call_id = message.get("tool_call_id")
            if not isinstance(call_id, str) or waiting.pop(call_id, None) is None:
                results.append(f"{path}.tool_call_id")
            continue
        calls += waiting.values()
        waiting = {}
        if message.get("role") == "assistant":
            for where, call in objects(message.get("tool_calls"), f"{path}.tool_calls"):
                if isinstance(call.get("id"), str):
                    waiting[call["id"]] = f"{where}.id"
    return results, calls


def _results_follow(body: JSONObject, report: Report) -> None:
    report_all(_unpaired(body)[0], report)


def _calls_are_answered(body: JSONObject, report: Report) -> None:
    report_all(_unpaired(body)[1], report)


def _ids(fits: re.Pattern[str]) -> Check:
    """The form of ids, at calls and at results."""

    def check(body: JSONObject, report: Report) -> None:
        for path, call in _calls(body):
            if isinstance(call.get("id"), str) and not fits.fullmatch(call["id"]):
                report(f"{path}.id")
        for path, message in messages(body, "tool"):
            call_id = message.get("tool_call_id")
            if isinstance(call_id, str) and not fits.fullmatch(call_id):
                report(f"{path}.tool_call_id")

    return check


def _last_role(body: JSONObject, report: Report) -> None:
    for path, message in list(messages(body))[-1:]:
        if message.get("role") == "assistant" and message.get("prefix") is not True:
            report(f"{path}.role")
        elif message.get("role") == "system":
            report(f"{path}.role")


def _reasoning_comes_back(body: JSONObject, report: Report) -> None:
    """DeepSeek's: while it thinks, which is its default, a message with calls has the reasoning they came from."""
    if inner(body, "thinking").get("type") == "disabled":
        return
    for path, message in messages(body, "assistant"):
        if message.get("tool_calls") and not isinstance(message.get("reasoning_content"), str):
            report(f"{path}.reasoning_content")


def _forced_while_thinking(body: JSONObject, report: Report) -> None:
    if inner(body, "thinking").get("type") == "enabled" and body.get("tool_choice") not in (None, "auto", "none"):
        report("tool_choice")


def _signed_calls(body: JSONObject, report: Report) -> None:
    """Gemini 3's: the first call of a message carries the signature of the thought it came from."""
    model = body.get("model")
    if not isinstance(model, str) or "gemini-3" not in model:
        return
    for path, message in messages(body, "assistant"):
        for where, call in objects(message.get("tool_calls"), f"{path}.tool_calls"):
            if not isinstance(inner(call, "extra_content", "google").get("thought_signature"), str):
                report(f"{where}.extra_content.google.thought_signature")
            break


# -- tools ------------------------------------------------------------------------------------------------------------


def _functions(body: JSONObject) -> Paths:
    tools = objects(body.get("tools"), "tools")
    return [(f"{path}.function", tool["function"]) for path, tool in tools if isinstance(tool.get("function"), dict)]


def _tool_forms(*kinds: str, types_are_named: bool = True) -> Check:
    def check(body: JSONObject, report: Report) -> None:
        listed = body.get("tools")
        if listed is not None and (not isinstance(listed, list) or not listed):
            report("tools")
        for i, tool in enumerate(listed if isinstance(listed, list) else ()):
            kind = tool.get("type", None if types_are_named else "function") if isinstance(tool, dict) else None
            if kind not in kinds:
                report(f"tools[{i}].type")
            elif kind in ("function", "custom"):
                if not isinstance(tool.get(kind), dict):
                    report(f"tools[{i}].{kind}")
                elif not isinstance(tool[kind].get("name"), str):
                    report(f"tools[{i}].{kind}.name")

    return check


def _tool_names(body: JSONObject, report: Report) -> None:
    for path, tool in objects(body.get("tools"), "tools"):
        for kind in ("function", "custom"):
            name = inner(tool, kind).get("name")
            if isinstance(name, str) and not _TOOL_NAME.fullmatch(name):
                report(f"{path}.{kind}.name")


def _unique_names(body: JSONObject, report: Report) -> None:
    seen: set[str] = set()
    for path, function in _functions(body):
        name = function.get("name")
        if isinstance(name, str):
            if name in seen:
                report(f"{path}.name")
            seen.add(name)


def _at_most_128(body: JSONObject, report: Report) -> None:
    if isinstance(body.get("tools"), list) and len(body["tools"]) > 128:
        report("tools")


def _parameters(body: JSONObject, report: Report) -> None:
    for path, function in _functions(body):
        said = function.get("parameters")
        if said is not None and not (isinstance(said, dict) and said.get("type") == "object"):
            report(f"{path}.parameters")


def _parameters_required(body: JSONObject, report: Report) -> None:
    for path, function in _functions(body):
        if not isinstance(function.get("parameters"), dict):
            report(f"{path}.parameters")


def _function_keys(body: JSONObject, report: Report) -> None:
    known = frozenset({"name", "description", "parameters", "strict"})
    for path, tool in objects(body.get("tools"), "tools"):
        if "function" in tool:
            unknown_keys(path, tool, frozenset({"type", "function"}), report)
            unknown_keys(f"{path}.function", inner(tool, "function"), known, report)


def _choices(*words: str, without_tools: tuple[str, ...] = ()) -> Check:
    """`tool_choice` is one of these words or names one of the tools, and there are tools to choose from."""

    def check(body: JSONObject, report: Report) -> None:
        choice = body.get("tool_choice")
        if choice is None or (isinstance(choice, str) and choice in without_tools):
            return
        if not body.get("tools") or (isinstance(choice, str) and choice not in words):
            report("tool_choice")
        elif isinstance(choice, dict):
            kind = choice.get("type")
            named = inner(choice, kind).get("name") if kind in ("function", "custom") else None
            if kind in ("function", "custom"):
                names = [inner(tool, kind).get("name") for _, tool in objects(body["tools"], "tools")]
                if named not in names:
                    report(f"tool_choice.{kind}.name")
            elif kind != "allowed_tools":
                report("tool_choice.type")

    return check


def _only_with(field: str, other: str) -> Check:
    """A field that has a place only beside another."""

    def check(body: JSONObject, report: Report) -> None:
        if body.get(field) is not None and not body.get(other):
            report(field)

    return check


def _strict_schemas(body: JSONObject) -> Paths:
    found = [(f"{path}.parameters", function.get("parameters", {})) for path, function in _functions(body)
             if function.get("strict") is True]  # fmt: skip
    wanted = inner(body, "response_format", "json_schema")
    if wanted.get("strict") is True and "schema" in wanted:
        found.insert(0, ("response_format.json_schema.schema", wanted["schema"]))
    return found


# -- what is asked for ------------------------------------------------------------------------------------------------


def _model(body: JSONObject, report: Report) -> None:
    if not isinstance(body.get("model"), str) or not body["model"]:
        report("model")


def _known_fields(text: str) -> Check:
    known = frozenset(text.split())

    def check(body: JSONObject, report: Report) -> None:
        unknown_keys("", body, known, report)

    return check


def _no_fields(*names: str) -> Check:
    def check(body: JSONObject, report: Report) -> None:
        for name in names:
            if body.get(name) is not None:
                report(name)

    return check


def _one_length(body: JSONObject, report: Report) -> None:
    if body.get("max_tokens") is not None and body.get("max_completion_tokens") is not None:
        report("max_tokens")


def _lengths(body: JSONObject, report: Report) -> None:
    for name in ("max_tokens", "max_completion_tokens"):
        if body.get(name) is not None and not (is_count(body[name]) and body[name] >= 1):
            report(name)


def _within(field: str, least: float, most: float, *, whole: bool = False) -> Check:
    def check(body: JSONObject, report: Report) -> None:
        value = body.get(field)
        if value is not None and not ((is_count if whole else is_number)(value) and least <= value <= most):
            report(field)

    return check


def _one_of(field: str, *words: str) -> Check:
    def check(body: JSONObject, report: Report) -> None:
        if body.get(field) is not None and body[field] not in words:
            report(field)

    return check


def _stops(body: JSONObject, report: Report) -> None:
    stop = body.get("stop")
    if isinstance(stop, list):
        if len(stop) > 4:
            report("stop")
        for i, one in enumerate(stop):
            if not isinstance(one, str):
                report(f"stop[{i}]")
    elif stop is not None and not isinstance(stop, str):
        report("stop")


def _labels(body: JSONObject, report: Report) -> None:
    labels = body.get("metadata")
    if not isinstance(labels, dict):
        if labels is not None:
            report("metadata")
        return
    if len(labels) > 16:
        report("metadata")
    for key, value in labels.items():
        if len(key) > 64 or not isinstance(value, str) or len(value) > 512:
            report(f"metadata.{key}")


def _formats(*kinds: str) -> Check:
    def check(body: JSONObject, report: Report) -> None:
        wanted = body.get("response_format")
        if wanted is None:
            return
        kind = inner(wanted).get("type")
        if kind not in kinds:
            report("response_format.type")
        elif kind == "json_schema":
            named = inner(wanted, "json_schema")
            if not isinstance(named.get("name"), str) or not _TOOL_NAME.fullmatch(named["name"]):
                report("response_format.json_schema.name")
            if "schema" in named and not isinstance(named["schema"], dict):
                report("response_format.json_schema.schema")

    return check


def _says_json(body: JSONObject, report: Report) -> None:
    if inner(body, "response_format").get("type") != "json_object":
        return
    for _, message in messages(body):
        content = message.get("content")
        texts = [content] if isinstance(content, str) else [part.get("text") for _, part in objects(content, "")]
        if any(isinstance(text, str) and "json" in text.lower() for text in texts):
            return
    report("response_format")


def _top_logprobs(body: JSONObject, report: Report) -> None:
    if body.get("top_logprobs") is not None and body.get("logprobs") is not True:
        report("top_logprobs")


# -- what a named model refuses ---------------------------------------------------------------------------------------

_GPT: Final = re.compile(r"gpt-(\d+)(?:\.(\d+))?")
_O_SERIES: Final = re.compile(r"o\d")


def _version(body: JSONObject) -> tuple[int, int] | None:
    """The version of a GPT model, by its name; None for any other model."""
    model = body.get("model")
    found = _GPT.match(model) if isinstance(model, str) else None
    return None if found is None else (int(found[1]), int(found[2] or 0))


def _reasons(body: JSONObject) -> bool:
    """Whether the model is one that reasons: the o-series, and GPT from 5 on (its -chat models do not)."""
    model, version = body.get("model"), _version(body)
    if not isinstance(model, str) or "-chat" in model:
        return False
    return bool(_O_SERIES.match(model)) or (version is not None and version >= (5, 0))


def _refused_by_reasoning(*fields: str) -> Check:
    """Fields that models which reason refuse; a sampling parameter may stand at its default."""
    defaults = {"temperature": 1, "top_p": 1, "frequency_penalty": 0, "presence_penalty": 0}

    def check(body: JSONObject, report: Report) -> None:
        if _reasons(body):
            for field in fields:
                if body.get(field) not in (None, [], defaults.get(field)):
                    report(field)

    return check


def _tools_need_responses(body: JSONObject, report: Report) -> None:
    version, effort = _version(body), body.get("reasoning_effort")
    has_functions = any(tool.get("type") == "function" for _, tool in objects(body.get("tools"), "tools"))
    if version is None or not has_functions or effort == "none" or not _reasons(body):
        return
    if version >= (5, 6) or (version >= (5, 4) and effort is not None):
        report("tools")


def _grok_refuses(*fields: str) -> Check:
    def check(body: JSONObject, report: Report) -> None:
        model = body.get("model")
        if isinstance(model, str) and "grok" in model:
            _no_fields(*fields)(body, report)

    return check


# -- who has which ----------------------------------------------------------------------------------------------------

_OPENAI_ROLES: Final = ("developer", "system", "user", "assistant", "tool", "function")
_OPENAI_PARTS: Final = {
    "user": ("text", "image_url", "input_audio", "file"),
    "assistant": ("text", "refusal"),
    "system": ("text",),
    "developer": ("text",),
    "tool": ("text",),
}
#: Keys that our histories hold for other wires, and that mean nothing on this one.
_OTHER_WIRES: Final = (
    "native", "anthropic_blocks", "anthropic_version", "thinking", "is_error", "tool_name", "images",
)  # fmt: skip

#: What every vendor of this wire asks.
_COMMON: Final = (
    Rule("messages are a non-empty list of objects", _API, _some_messages),
    Rule("content is a text or a non-empty list of parts", _API, _contents),
    Rule("ids of calls differ within a message", _API, _unique_ids),
    Rule("tool_calls is not an empty list", "OpenAI: [] is too short - 'messages.1.tool_calls'", _no_empty_calls),
    Rule("a message has no keys of another wire", _API, _without(*_OTHER_WIRES)),
    Rule("a function_call has a name, audio has an id", _API, _shells),
    Rule("names of tools have 1 to 64 letters, digits, _ and -", _API, _tool_names, "value"),
    Rule("names of called tools have 1 to 64 letters, digits, _ and -", _API, _call_names, "value"),
    Rule("parallel_tool_calls goes with tools", _API, _only_with("parallel_tool_calls", "tools")),
    Rule("stream_options goes with stream", _API, _only_with("stream_options", "stream")),
    Rule("max_tokens is an integer of at least 1", _API, _lengths, "value"),
    Rule("top_p is between 0 and 1", _API, _within("top_p", 0, 1), "value"),
)
_PAIRS: Final = (
    Rule(
        "a result answers a call of the message before it, each once",
        "OpenAI: messages with role 'tool' must be a response to a preceeding message with 'tool_calls'",
        _results_follow,
    ),
    Rule(
        "a call has its result in the messages behind it",
        "OpenAI: 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'",
        _calls_are_answered,
    ),
)
_NAMED_MODEL: Final = Rule("model is named", _API, _model, "model")
_CALLS: Final = (
    Rule("calls have id, type, name and arguments as text", _API, _call_forms("function")),
    *_PAIRS,
)
_FUNCTIONS_ONLY: Final = (*_CALLS, Rule("tools are functions with a name", _API, _tool_forms("function")))
_OPENAI_CONTENT: Final = (
    Rule("parts are those of their role", _API, _part_forms(**_OPENAI_PARTS)),
    Rule("an image is an http(s) or a data URL", _API, _images),
    Rule("audio has data and a format, wav or mp3", _API, _audio),
    Rule("a file has file_id or file_data", _API, _files),
)
_WORDS: Final = Rule("tool_choice is none, auto, required or one of the tools", _API,
                     _choices("none", "auto", "required"))  # fmt: skip
_SCHEMA_OR_OBJECT: Final = Rule("response_format is text, json_object or a named json_schema", _API,
                                _formats("text", "json_object", "json_schema"))  # fmt: skip
_RANGES: Final = (
    Rule("temperature is between 0 and 2", _API, _within("temperature", 0, 2), "value"),
    Rule("frequency_penalty is between -2 and 2", _API, _within("frequency_penalty", -2, 2), "value"),
    Rule("presence_penalty is between -2 and 2", _API, _within("presence_penalty", -2, 2), "value"),
    Rule("top_logprobs is between 0 and 20", _API, _within("top_logprobs", 0, 20, whole=True), "value"),
    Rule("top_logprobs goes with logprobs", _API, _top_logprobs),
)

_OPENAI: Final = (
    *_COMMON,
    *_OPENAI_CONTENT,
    *_RANGES,
    Rule("roles are developer, system, user, assistant, tool and function", _API, _roles(*_OPENAI_ROLES)),
    Rule("an assistant says something, calls something or refuses", _API,
         _says_something("tool_calls", "function_call", "refusal", "audio")),
    Rule("calls have id, type, name and arguments as text", _API, _call_forms("function", "custom")),
    *_PAIRS,
    Rule("ids of calls have at most 40 characters", "vercel/ai#5171, agno#5382: expected a maximum length of 40",
         _ids(re.compile(r".{1,40}", re.DOTALL))),
    Rule("a name has no white space, <, |, \\, / and >", "OpenAI: string does not match '^[^\\s<|\\\\/>]+$'", _names,
         "value"),
    Rule("tools are functions or custom, with a name", _API, _tool_forms("function", "custom")),
    Rule("there are at most 128 tools", _API, _at_most_128, "value"),
    Rule("parameters of a function are a schema of type object",
         "OpenAI: schema must be a JSON Schema of 'type: \"object\"'", _parameters),
    _WORDS,
    _SCHEMA_OR_OBJECT,
    Rule("json_object needs the word json in a message", _API, _says_json),
    Rule("max_tokens and max_completion_tokens do not go together", _API, _one_length, "value"),
    Rule("n is between 1 and 128", _API, _within("n", 1, 128, whole=True), "value"),
    Rule("there are at most 4 stop sequences", _API, _stops, "value"),
    Rule("metadata has at most 16 texts, keys of 64 and values of 512 characters", _API, _labels, "value"),
    Rule("reasoning_effort is a word of the API's", _API,
         _one_of("reasoning_effort", "none", "minimal", "low", "medium", "high", "xhigh", "max"), "value"),
    Rule("verbosity is low, medium or high", _API, _one_of("verbosity", "low", "medium", "high"), "value"),
    *strict_rules(_strict_schemas),
    Rule("models that reason take max_completion_tokens, not max_tokens", _API, _refused_by_reasoning("max_tokens"),
         "model"),
    Rule("models that reason have no sampling parameters but the defaults", _API,
         _refused_by_reasoning("temperature", "top_p", "frequency_penalty", "presence_penalty"), "model"),
    Rule("models that reason have no stop sequences", _API, _refused_by_reasoning("stop"), "model"),
    Rule("gpt-5.6 and later take functions with reasoning_effort none only (5.4 and 5.5: or without it)",
         "litellm#34569, LibreChat#14355, openai-openapi#541", _tools_need_responses, "model"),
)  # fmt: skip

_GROQ_SDK: Final = "groq-python 1.7.0, types/chat/completion_create_params.py"
_GROQ: Final = (
    *_COMMON,
    *_FUNCTIONS_ONLY,
    *_OPENAI_CONTENT[1:2],
    _NAMED_MODEL,
    _WORDS,
    _SCHEMA_OR_OBJECT,
    Rule("roles are system, developer, user, assistant, tool and function", _GROQ_SDK, _roles(*_OPENAI_ROLES)),
    Rule("a message has only keys that the API knows",
         "hermes-agent#11089, llama_index#14701: property 'reasoning_content' is unsupported",
         _message_keys(system="name", developer="name", user="name", function="name", tool="tool_call_id",
                       assistant="name tool_calls function_call reasoning")),
    Rule("a call has only keys that the API knows", _GROQ_SDK, _call_keys("id", "type", "function")),
    Rule("there are at most 128 tools", _GROQ_SDK, _at_most_128, "value"),
    Rule("n is 1", _GROQ_SDK, _within("n", 1, 1, whole=True)),
    Rule("logprobs, logit_bias and penalties are not supported", _GROQ_SDK,
         _no_fields("logprobs", "top_logprobs", "logit_bias", "frequency_penalty", "presence_penalty")),
    Rule("temperature is between 0 and 2", _GROQ_SDK, _within("temperature", 0, 2), "value"),
    Rule("there are at most 4 stop sequences", _GROQ_SDK, _stops, "value"),
)  # fmt: skip

_MISTRAL_SDK: Final = "mistralai 3.7.0, client/models"
_EXTRA: Final = "picoclaw#1502, zeroclaw#3572: Extra inputs are not permitted"
_MISTRAL: Final = (
    *_COMMON,
    _NAMED_MODEL,
    _SCHEMA_OR_OBJECT,
    Rule("roles are system, user, assistant and tool", _MISTRAL_SDK, _roles("system", "user", "assistant", "tool")),
    Rule("a message has only keys that the API knows", _EXTRA,
         _message_keys(system="", user="", tool="tool_call_id name", assistant="tool_calls prefix")),
    Rule("a call has only keys that the API knows", _EXTRA, _call_keys("id", "type", "function")),
    Rule("a request has only fields that the API knows", "php-mistral#76, eca#231: Extra inputs are not permitted",
         _known_fields("model messages temperature top_p max_tokens stream stop random_seed metadata response_format "
                       "tools tool_choice presence_penalty frequency_penalty min_tokens repetition_penalty top_k "
                       "logprobs top_logprobs prompt_logprobs top_prompt_logprobs n prediction parallel_tool_calls "
                       "reasoning_effort prompt_mode guardrails prompt_cache_key service_tier safe_prompt")),
    Rule("parts are texts, images, audio, files, documents, references and thinking", _MISTRAL_SDK,
         _part_forms(system=("text", "thinking"), user=tuple(_MISTRAL_PARTS), assistant=tuple(_MISTRAL_PARTS),
                     tool=tuple(_MISTRAL_PARTS))),
    Rule("audio is base64 beside its type, a file is file_id beside its type", _MISTRAL_SDK, _mistral_forms),
    Rule("a part has only keys that the API knows", _EXTRA, _mistral_part_keys),
    Rule("an assistant has text or calls",
         "OpenHands#8685: Assistant message must have either content or tool_calls", _not_empty),
    Rule("calls have id, name and arguments", _MISTRAL_SDK,
         _call_forms("function", types_are_named=False, objects_too=True)),
    *_PAIRS,
    Rule("ids of calls have nine letters or digits",
         "langchain#24668: must be a-z, A-Z, 0-9, with a length of 9", _ids(re.compile(r"[a-zA-Z0-9]{9}"))),
    Rule("the last message is the user's, a result, or an assistant's with prefix",
         "AiNiee#641: Expected last role User or Tool (or Assistant with prefix True)", _last_role, "value"),
    Rule("tools are functions with a name", _MISTRAL_SDK, _tool_forms(
        "function", "web_search", "web_search_premium", "code_interpreter", "image_generation", "document_library",
        types_are_named=False)),
    Rule("a function has parameters", _MISTRAL_SDK, _parameters_required),
    Rule("a tool has only keys that the API knows", _EXTRA, _function_keys),
    Rule("tool_choice is none, auto, any, required or one of the tools", _MISTRAL_SDK,
         _choices("none", "auto", "any", "required", without_tools=("none", "auto"))),
)  # fmt: skip

_DEEPSEEK_DOCS: Final = "DeepSeek, API reference: create chat completion"
_DEEPSEEK: Final = (
    *_COMMON,
    *_FUNCTIONS_ONLY,
    _NAMED_MODEL,
    _WORDS,
    Rule("roles are system, user, assistant and tool", "pi#1048: unknown variant `developer`",
         _roles("system", "user", "assistant", "tool")),
    Rule("an assistant says something or calls something", _DEEPSEEK_DOCS, _says_something("tool_calls")),
    Rule("response_format is text or json_object", "llm-exe#662, inspect_ai#4916: This response_format type is "
         "unavailable now", _formats("text", "json_object")),
    Rule("json_object needs the word json in a message", "stagehand#1204: Prompt must contain the word 'json'",
         _says_json),
    Rule("a message with calls has its reasoning_content", "langchain#39370, pi#3636: must be passed back to the API",
         _reasoning_comes_back),
    Rule("thinking does not go with forced tools", "rig, recorded: Thinking mode does not support this tool_choice",
         _forced_while_thinking, "value"),
    Rule("temperature is between 0 and 2", _DEEPSEEK_DOCS, _within("temperature", 0, 2), "value"),
    Rule("there are at most 128 tools", _DEEPSEEK_DOCS, _at_most_128, "value"),
)  # fmt: skip

_XAI: Final = (
    *_COMMON,
    *_FUNCTIONS_ONLY,
    _NAMED_MODEL,
    _WORDS,
    _SCHEMA_OR_OBJECT,
    Rule(
        "Grok has no penalties",
        "open-webui#21266, NativeTavern#83: does not support parameter presencePenalty",
        _grok_refuses("presence_penalty", "frequency_penalty"),
        "model",
    ),
)

_CEREBRAS_SDK: Final = "cerebras-cloud-sdk 1.91.0, types/chat/completion_create_params.py"
_CEREBRAS: Final = (
    *_COMMON,
    *_FUNCTIONS_ONLY,
    _NAMED_MODEL,
    _WORDS,
    _SCHEMA_OR_OBJECT,
    Rule("roles are system, developer, user, assistant and tool", _CEREBRAS_SDK,
         _roles("system", "developer", "user", "assistant", "tool")),
    Rule("a message has only keys that the API knows",
         "kilocode#10375: property 'messages.2.assistant.reasoning_content' is unsupported",
         _message_keys(system="name", developer="name", user="name", tool="tool_call_id name",
                       assistant="name tool_calls reasoning")),
    Rule("a call has only keys that the API knows", _CEREBRAS_SDK, _call_keys("id", "type", "function", "index")),
    Rule("reasoning_effort is none, low, medium or high", _CEREBRAS_SDK,
         _one_of("reasoning_effort", "none", "low", "medium", "high"), "value"),
)  # fmt: skip

#: Its own tools, named by their type, stand beside functions.
_OPENROUTER: Final = (*_COMMON, *_CALLS)

_GEMINI: Final = (
    *_COMMON,
    *_FUNCTIONS_ONLY,
    _NAMED_MODEL,
    _WORDS,
    _SCHEMA_OR_OBJECT,
    Rule("there are no fields that the endpoint does not know",
         "page-assist#418, SkyrimNet#77, openhanako#394: Unknown name: Cannot find field",
         _no_fields("frequency_penalty", "presence_penalty", "logit_bias", "store", "web_search_options", "top_k")),
    Rule("tools have different names", "Gemini: Duplicate function declaration found", _unique_names, "value"),
    Rule("the first call of a message to Gemini 3 has its thought_signature",
         "securo#884: Function call is missing a thought_signature", _signed_calls),
)  # fmt: skip

ROWS: Final[Mapping[str, tuple[Rule, ...]]] = MappingProxyType(
    {
        "openai": (*_OPENAI, _NAMED_MODEL),
        # Azure's deployment may be named in the path.
        "azure": _OPENAI,
        "groq": _GROQ,
        "mistral": _MISTRAL,
        "deepseek": _DEEPSEEK,
        "xai": _XAI,
        "cerebras": _CEREBRAS,
        "openrouter": _OPENROUTER,
        "gemini": _GEMINI,
    }
)
