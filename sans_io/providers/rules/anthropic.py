"""The rules of Anthropic's Messages API.

    ROWS              vendor -> its rules under the current version of the API
    under(version)    the rules under another version

Rules of this file:
- A rule is a small function that gives the paths of what breaks it.
- A vendor has a rule only where its documents, its SDK or a bug report with its error say so.
- The version of the API is a header, so that the rules of a body depend on it; the sampling parameters do.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from .base import Paths, Report, Rule, inner, is_blank, is_count, is_number, messages, objects, report_all, unknown_keys
from .schemas import anthropic_rules

if TYPE_CHECKING:
    from ...decode.jsontext import JSON, JSONObject

_API: Final = "Anthropic, API reference: messages"
_SDK: Final = "anthropic-sdk-python 2.14.0, types"
_CURRENT: Final = "2026-10-21"
_BEFORE: Final = "2023-06-01"

# -- the body ---------------------------------------------------------------------------------------------------------

_FIELDS: Final = frozenset({
    "model", "max_tokens", "messages", "cache_control", "container", "diagnostics", "inference_geo", "metadata",
    "output_config", "service_tier", "speed", "stop_sequences", "stream", "system", "thinking", "tool_choice", "tools",
    "temperature", "top_p", "top_k",
    # Of betas, which a header switches on.
    "mcp_servers", "context_management", "fallbacks", "betas", "output_format",
})  # fmt: skip


def _fields(body: JSONObject, report: Report) -> None:
    unknown_keys("", body, _FIELDS, report)


def _model(body: JSONObject, report: Report) -> None:
    if not isinstance(body.get("model"), str) or not body["model"]:
        report("model")


def _max_tokens(body: JSONObject, report: Report) -> None:
    if not is_count(body.get("max_tokens")) or body["max_tokens"] < 0:
        report("max_tokens")


def _sampling(body: JSONObject, report: Report) -> None:
    for name in ("temperature", "top_p", "top_k"):
        if name in body:
            report(name)


def _sampling_ranges(body: JSONObject, report: Report) -> None:
    for name in ("temperature", "top_p"):
        value = body.get(name)
        if value is not None and not (is_number(value) and 0 <= value <= 1):
            report(name)


def _stop_sequences(body: JSONObject, report: Report) -> None:
    listed = body.get("stop_sequences")
    if listed is not None and not isinstance(listed, list):
        report("stop_sequences")
    for i, one in enumerate(listed if isinstance(listed, list) else ()):
        if not isinstance(one, str) or not one.strip():
            report(f"stop_sequences[{i}]")


def _labels(body: JSONObject, report: Report) -> None:
    unknown_keys("metadata", inner(body, "metadata"), frozenset({"user_id"}), report)


def _tier(body: JSONObject, report: Report) -> None:
    if body.get("service_tier") not in (None, "auto", "standard_only"):
        report("service_tier")


def _efforts(body: JSONObject, report: Report) -> None:
    if inner(body, "output_config").get("effort") not in (None, "low", "medium", "high", "xhigh", "max"):
        report("output_config.effort")


def _format_form(body: JSONObject, report: Report) -> None:
    config = inner(body, "output_config")
    unknown_keys("output_config", config, frozenset({"effort", "format"}), report)
    if config.get("format") is not None:
        wanted = inner(config, "format")
        if wanted.get("type") != "json_schema":
            report("output_config.format.type")
        elif not isinstance(wanted.get("schema"), dict):
            report("output_config.format.schema")
        unknown_keys("output_config.format", wanted, frozenset({"type", "schema"}), report)


# -- turns ------------------------------------------------------------------------------------------------------------


def _turns(body: JSONObject, report: Report) -> None:
    listed = body.get("messages")
    if not isinstance(listed, list) or not listed:
        report("messages")
        return
    for i, message in enumerate(listed):
        if not isinstance(message, dict):
            report(f"messages[{i}]")
        else:
            unknown_keys(f"messages[{i}]", message, frozenset({"role", "content"}), report)


def _roles_of(*known: str) -> Rule:
    def check(body: JSONObject, report: Report) -> None:
        for path, message in messages(body):
            if message.get("role") not in known:
                report(f"{path}.role")

    return Rule(f"roles are {', '.join(known[:-1])} and {known[-1]}", _SDK, check)


def _contents(body: JSONObject, report: Report) -> None:
    for path, message in messages(body):
        content = message.get("content")
        if not isinstance(content, (str, list)):
            report(f"{path}.content")
        elif isinstance(content, list):
            for i, block in enumerate(content):
                if not isinstance(block, dict):
                    report(f"{path}.content[{i}]")


def _empty_turns(body: JSONObject, report: Report) -> None:
    """Every turn says something; only an assistant's last one may be empty, to be begun from nothing."""
    listed = body.get("messages")
    last = len(listed) - 1 if isinstance(listed, list) else -1
    for path, message in messages(body):
        content = message.get("content")
        begun = message.get("role") == "assistant" and path == f"messages[{last}]"
        silent = is_blank(content) or (isinstance(content, list) and all(map(_is_silent, content)))
        if silent and not begun:
            report(f"{path}.content")


def _is_silent(block: JSON) -> bool:
    return isinstance(block, dict) and block.get("type") == "text" and is_blank(block.get("text"))


def _blocks(body: JSONObject, *roles: str) -> Paths:
    turns = messages(body, *roles)
    return [found for path, message in turns for found in objects(message.get("content"), f"{path}.content")]


def _all_blocks(body: JSONObject) -> Paths:
    """Every block of the body: those of the system, of the turns, and of results."""
    found = objects(body.get("system"), "system")
    for path, block in _blocks(body):
        found.append((path, block))
        if block.get("type") == "tool_result":
            found += objects(block.get("content"), f"{path}.content")
    return found


def _blank_text(body: JSONObject, report: Report) -> None:
    """A text block says something; between the others of an assistant's turn white space is text enough."""
    assistants = {path for path, _ in _blocks(body, "assistant")}
    for path, block in _all_blocks(body):
        text = block.get("text")
        silent = text == "" if path in assistants else is_blank(text)
        if block.get("type") == "text" and (silent or not isinstance(text, str)):
            report(f"{path}.text")


_KINDS: Final = {
    "user": frozenset({"text", "image", "document", "search_result", "tool_result", "container_upload",
                       "mid_conversation_system"}),
    "system": frozenset({"text"}),
}  # fmt: skip
_ASSISTANT_ONLY: Final = ("tool_use", "thinking", "redacted_thinking", "server_tool_use")
_KEYS: Final = {
    "text": frozenset({"type", "text", "cache_control", "citations"}),
    "image": frozenset({"type", "source", "cache_control", "transformations"}),
    "document": frozenset({"type", "source", "cache_control", "citations", "context", "title"}),
    "tool_use": frozenset({"type", "id", "name", "input", "cache_control", "caller", "toolset_name"}),
    "tool_result": frozenset({"type", "tool_use_id", "content", "is_error", "cache_control", "toolset_name"}),
    "thinking": frozenset({"type", "thinking", "signature"}),
    "redacted_thinking": frozenset({"type", "data"}),
    "server_tool_use": frozenset({"type", "id", "name", "input", "cache_control", "caller"}),
    "search_result": frozenset({"type", "content", "source", "title", "cache_control", "citations"}),
    "container_upload": frozenset({"type", "file_id", "cache_control"}),
}
#: Types of OpenAI's parts.
_OPENAI_PARTS: Final = ("image_url", "input_audio", "file", "refusal", "output_text", "input_text")


def _kinds(body: JSONObject, report: Report) -> None:
    for path, message in messages(body):
        role = message.get("role")
        for where, block in objects(message.get("content"), f"{path}.content"):
            kind = block.get("type")
            if not isinstance(kind, str) or kind in _OPENAI_PARTS:
                report(f"{where}.type")
            elif role == "system" and kind not in _KINDS["system"]:
                report(f"{where}.type")
            elif role == "user" and kind in _ASSISTANT_ONLY:
                report(f"{where}.type")
            elif role == "assistant" and kind in ("image", "tool_result"):
                report(f"{where}.type")
            if kind == "tool_result":
                for inside, part in objects(block.get("content"), f"{where}.content"):
                    if part.get("type") not in ("text", "image", "document", "search_result", "tool_reference",
                                                "browser_state"):  # fmt: skip
                        report(f"{inside}.type")
    for where, block in objects(body.get("system"), "system"):
        if block.get("type") != "text":
            report(f"{where}.type")


def _block_keys(body: JSONObject, report: Report) -> None:
    for path, block in _all_blocks(body):
        kind = block.get("type")
        known = _KEYS.get(kind) if isinstance(kind, str) else None
        if known is not None:
            unknown_keys(path, block, known, report)


def _images(body: JSONObject, report: Report) -> None:
    for path, block in _all_blocks(body):
        if block.get("type") == "image":
            source = inner(block, "source")
            kind = source.get("type")
            if kind == "base64":
                known = ("image/jpeg", "image/png", "image/gif", "image/webp")
                if source.get("media_type") not in known or not isinstance(source.get("data"), str):
                    report(f"{path}.source")
            elif kind not in ("url", "file"):
                report(f"{path}.source.type")


def _documents(body: JSONObject, report: Report) -> None:
    for path, block in _all_blocks(body):
        if block.get("type") == "document":
            source = inner(block, "source")
            fits = {
                "base64": source.get("media_type") == "application/pdf",
                "text": source.get("media_type") == "text/plain" and isinstance(source.get("data"), str),
                "url": isinstance(source.get("url"), str),
                "file": isinstance(source.get("file_id"), str),
                "content": isinstance(source.get("content"), (str, list)),
            }
            kind = source.get("type")
            if not isinstance(kind, str) or not fits.get(kind, False):
                report(f"{path}.source")


def _said_by_the_assistant(body: JSONObject, report: Report) -> None:
    for path, block in _blocks(body, "assistant"):
        if block.get("type") == "document":
            report(f"{path}.type")
    for path, block in _blocks(body, "user"):
        if block.get("type") == "text" and block.get("citations"):
            report(f"{path}.citations")


def _markers(body: JSONObject, report: Report) -> None:
    found = [f"{path}.cache_control" for path, block in _all_blocks(body) if block.get("cache_control") is not None]
    found += [f"{path}.cache_control" for path, tool in objects(body.get("tools"), "tools")
              if tool.get("cache_control") is not None]  # fmt: skip
    if body.get("cache_control") is not None:
        found.append("cache_control")
    report_all(found[4:], report)


def _marker_forms(body: JSONObject, report: Report) -> None:
    marked = [*_all_blocks(body), *objects(body.get("tools"), "tools"), ("", body)]
    for path, value in marked:
        marker = value.get("cache_control")
        if marker is not None and (
            inner(marker).get("type") != "ephemeral" or inner(marker).get("ttl") not in (None, "5m", "1h")
        ):
            report(f"{path}.cache_control".lstrip("."))


# -- thinking ---------------------------------------------------------------------------------------------------------


def _thinking_blocks(body: JSONObject, report: Report) -> None:
    for path, block in _blocks(body, "assistant"):
        kind = block.get("type")
        if kind == "thinking":
            if not isinstance(block.get("thinking"), str):
                report(f"{path}.thinking")
            if not isinstance(block.get("signature"), str) or not block["signature"]:
                report(f"{path}.signature")
        elif kind == "redacted_thinking" and (not isinstance(block.get("data"), str) or not block["data"]):
            report(f"{path}.data")


def _ends_thinking(body: JSONObject, report: Report) -> None:
    for path, message in messages(body, "assistant"):
        blocks = objects(message.get("content"), f"{path}.content")
        if blocks and blocks[-1][1].get("type") in ("thinking", "redacted_thinking"):
            report(blocks[-1][0])


def _begins_thinking(body: JSONObject, report: Report) -> None:
    """While it thinks within a budget, the turn whose tools were used last begins with its thinking."""
    if inner(body, "thinking").get("type") != "enabled":
        return
    turns = messages(body)
    for i in range(len(turns) - 1, 0, -1):
        path, message = turns[i]
        results = objects(message.get("content"), path)
        if message.get("role") != "user" or not any(block.get("type") == "tool_result" for _, block in results):
            return
        path, message = turns[i - 1]
        blocks = objects(message.get("content"), f"{path}.content")
        if not blocks or blocks[0][1].get("type") not in ("thinking", "redacted_thinking"):
            report(f"{path}.content[0].type")
        return


def _trailing_space(body: JSONObject, report: Report) -> None:
    for path, message in messages(body)[-1:]:
        content = message.get("content")
        blocks = objects(content, f"{path}.content")
        text = content if isinstance(content, str) else blocks[-1][1].get("text") if blocks else None
        if message.get("role") == "assistant" and isinstance(text, str) and text != text.rstrip():
            report(f"{path}.content")


def _thinking_config(body: JSONObject, report: Report) -> None:
    thinking = body.get("thinking")
    if thinking is None:
        return
    kind = inner(thinking).get("type")
    if kind not in ("adaptive", "enabled", "disabled", "between_tools"):
        report("thinking.type")
    elif kind == "enabled":
        budget: JSON = inner(thinking).get("budget_tokens")
        most: JSON = body.get("max_tokens")
        if not is_count(budget) or budget < 1024 or (is_count(most) and budget >= most):
            report("thinking.budget_tokens")


def _thinking_and_force(body: JSONObject, report: Report) -> None:
    thinks = inner(body, "thinking").get("type") in ("enabled", "adaptive")
    if thinks and inner(body, "tool_choice").get("type") in ("any", "tool"):
        report("tool_choice")


# -- tools ------------------------------------------------------------------------------------------------------------

_ID: Final = re.compile(r"[a-zA-Z0-9_-]+")
_TOOL_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,128}")


def _uses(body: JSONObject, report: Report) -> None:
    for path, block in _blocks(body, "assistant"):
        if block.get("type") == "tool_use":
            name = block.get("name")
            if not isinstance(block.get("input"), dict):
                report(f"{path}.input")
            if not isinstance(name, str) or not name:
                report(f"{path}.name")


def _use_names(body: JSONObject, report: Report) -> None:
    for path, block in _blocks(body, "assistant"):
        name = block.get("name")
        if block.get("type") == "tool_use" and isinstance(name, str) and name and not _TOOL_NAME.fullmatch(name):
            report(f"{path}.name")


def _ids(body: JSONObject, report: Report) -> None:
    for path, block in _blocks(body):
        key = {"tool_use": "id", "tool_result": "tool_use_id"}.get(str(block.get("type")))
        if key is not None and not (isinstance(block.get(key), str) and _ID.fullmatch(block[key])):
            report(f"{path}.{key}")


def _unique_ids(body: JSONObject, report: Report) -> None:
    seen: set[str] = set()
    for path, block in _blocks(body, "assistant"):
        if block.get("type") == "tool_use" and isinstance(block.get("id"), str):
            if block["id"] in seen:
                report(f"{path}.id")
            seen.add(block["id"])


def _joined(body: JSONObject) -> list[tuple[str, list[tuple[str, JSONObject]]]]:
    """(role, blocks) of each turn as the API reads it: turns of one role that stand together are one."""
    turns: list[tuple[str, list[tuple[str, JSONObject]]]] = []
    for path, message in messages(body):
        role = str(message.get("role"))
        blocks = list(objects(message.get("content"), f"{path}.content"))
        if isinstance(message.get("content"), str):
            blocks = [(f"{path}.content", {"type": "text"})]
        if turns and turns[-1][0] == role:
            turns[-1][1].extend(blocks)
        else:
            turns.append((role, blocks))
    return turns


def _unpaired(body: JSONObject) -> tuple[list[str], list[str]]:
    """The results that answer no use of the turn before, and the uses that the turn behind does not answer."""
    results: list[str] = []
    uses: list[str] = []
    waiting: dict[str, str] = {}
    for role, blocks in [*_joined(body), ("", [])]:
        for path, block in blocks if role == "user" else ():
            if block.get("type") == "tool_result":
                use = block.get("tool_use_id")
                if not isinstance(use, str) or waiting.pop(use, None) is None:
                    results.append(f"{path}.tool_use_id")
        uses += waiting.values()
        waiting = {}
        for path, block in blocks if role == "assistant" else ():
            if block.get("type") == "tool_use" and isinstance(block.get("id"), str):
                waiting[block["id"]] = f"{path}.id"
    return results, uses


def _results_follow(body: JSONObject, report: Report) -> None:
    report_all(_unpaired(body)[0], report)


def _uses_are_answered(body: JSONObject, report: Report) -> None:
    report_all(_unpaired(body)[1], report)


def _tools(body: JSONObject) -> Paths:
    """The caller's own tools; the server's are named by a dated type."""
    return [(path, tool) for path, tool in objects(body.get("tools"), "tools") if tool.get("type") in (None, "custom")]


_TOOL_KEYS: Final = frozenset({
    "name", "description", "input_schema", "type", "strict", "cache_control", "input_examples", "defer_loading",
    "eager_input_streaming", "allowed_callers",
})  # fmt: skip


def _tool_forms(body: JSONObject, report: Report) -> None:
    for path, tool in _tools(body):
        if not isinstance(tool.get("name"), str):
            report(f"{path}.name")
        schema = tool.get("input_schema")
        if not isinstance(schema, dict) or schema.get("type") != "object":
            report(f"{path}.input_schema")
        unknown_keys(path, tool, _TOOL_KEYS, report)


def _tool_names(body: JSONObject, report: Report) -> None:
    for path, tool in _tools(body):
        if isinstance(tool.get("name"), str) and not _TOOL_NAME.fullmatch(tool["name"]):
            report(f"{path}.name")


def _unique_names(body: JSONObject, report: Report) -> None:
    seen: set[str] = set()
    for path, tool in objects(body.get("tools"), "tools"):
        name = tool.get("name")
        if isinstance(name, str):
            if name in seen:
                report(f"{path}.name")
            seen.add(name)


def _choices(body: JSONObject, report: Report) -> None:
    choice = body.get("tool_choice")
    if choice is None:
        return
    kind = inner(choice).get("type")
    if not body.get("tools"):
        report("tool_choice")
    elif kind not in ("auto", "any", "tool", "none"):
        report("tool_choice.type")
    elif kind == "tool" and inner(choice).get("name") not in [t.get("name") for _, t in objects(body["tools"], "")]:
        report("tool_choice.name")
    elif kind == "none" and "disable_parallel_tool_use" in inner(choice):
        report("tool_choice.disable_parallel_tool_use")


def _strict_tools(body: JSONObject, report: Report) -> None:
    strict = [path for path, tool in _tools(body) if tool.get("strict") is True]
    report_all(strict[20:], report)


def _schemas(body: JSONObject) -> Paths:
    found = [(f"{path}.input_schema", tool["input_schema"]) for path, tool in _tools(body)
             if tool.get("strict") is True and "input_schema" in tool]  # fmt: skip
    wanted = inner(body, "output_config", "format")
    return [("output_config.format.schema", wanted["schema"]), *found] if "schema" in wanted else found


# -- what a named model refuses ---------------------------------------------------------------------------------------


def _is(body: JSONObject, *names: str) -> bool:
    model = body.get("model")
    return isinstance(model, str) and any(name in model for name in names)


def _forced(body: JSONObject, report: Report) -> None:
    newest = _is(body, "opus-5-5", "fable-5-1", "sonnet-5-5")
    if newest and inner(body, "tool_choice").get("type") in ("any", "tool"):
        report("tool_choice.type")


def _prefill(body: JSONObject, report: Report) -> None:
    for path, message in list(messages(body))[-1:]:
        if message.get("role") == "assistant" and _is(body, "opus-5-5", "fable-5-1", "sonnet-5-5"):
            report(f"{path}.role")


def _always_thinks(body: JSONObject, report: Report) -> None:
    kind = inner(body, "thinking").get("type")
    always = _is(body, "opus-5-5", "fable-5-1") and kind in ("disabled", "enabled")
    between = _is(body, "sonnet-5-5") and kind == "disabled"
    manual = _is(body, "sonnet-5") and kind == "enabled"
    if always or between or manual:
        report("thinking.type")


# -- the rows ---------------------------------------------------------------------------------------------------------

_VERSION: Final = "Anthropic, migration to API version 2026-10-21"
_MODELS: Final = "Anthropic, models: what is new in Claude 5.5"
_EVERY_VERSION: Final = (
    Rule("max_tokens is an integer", _API, _max_tokens),
    Rule("a request has only fields that the API knows", _SDK, _fields),
    Rule("messages are a non-empty list of turns with role and content", _API, _turns),
    Rule("content is a text or a list of blocks", _API, _contents),
    Rule("every turn says something", "Anthropic: messages must have non-empty content", _empty_turns),
    Rule("a text block has more than white space", "Anthropic: text content blocks must contain non-whitespace text",
         _blank_text),
    Rule("blocks are of a type that their turn may have", _SDK, _kinds),
    Rule("a block has only keys that the API knows", "claude-code#4378: tool_use.text: Extra inputs are not permitted",
         _block_keys),
    Rule("an image is base64 of JPEG, PNG, GIF or WebP, a url or a file", _SDK, _images),
    Rule("a document is a PDF, plain text, a url, a file or content", _SDK, _documents),
    Rule("there are at most 4 cache markers", "continue#6937: A maximum of 4 blocks with cache_control", _markers),
    Rule("a cache marker is ephemeral, for 5m or 1h", _SDK, _marker_forms),
    Rule("a thinking block has its signature, a redacted one its data", _SDK, _thinking_blocks),
    Rule("an assistant's turn does not end with thinking",
         "forgecode#2107: The final block in an assistant message cannot be `thinking`", _ends_thinking),
    Rule("with thinking enabled, the turn that used tools last begins with its thinking",
         "n8n#22550, claude-code#11978: a final assistant message must start with a thinking block", _begins_thinking,
         "value"),
    Rule("an assistant's turn that is to be continued does not end with white space",
         "langchain#35071: final assistant content cannot end with trailing whitespace", _trailing_space, "value"),
    Rule("thinking is adaptive, enabled with 1024 tokens or more below max_tokens, disabled or between_tools", _SDK,
         _thinking_config),
    Rule("thinking does not go with forced tools", "Anthropic, guide on extended thinking: tool use",
         _thinking_and_force, "value"),
    Rule("a tool_use has a name and an object as input", _SDK, _uses),
    Rule("ids of tool uses have letters, digits, _ and - only", "Anthropic: should match pattern '^[a-zA-Z0-9_-]+$'",
         _ids),
    Rule("ids of tool uses differ", "Anthropic: tool_use ids must be unique", _unique_ids),
    Rule("a tool_result answers a tool_use of the turn before it, each once",
         "Anthropic: unexpected `tool_use_id` found in `tool_result` blocks", _results_follow),
    Rule("a tool_use has its tool_result in the turn behind it",
         "Anthropic: `tool_use` ids were found without `tool_result` blocks immediately after", _uses_are_answered),
    Rule("a tool has a name and a schema of type object", _SDK, _tool_forms),
    Rule("names of tools have 1 to 128 letters, digits, _ and -", _API, _tool_names, "value"),
    Rule("names of used tools have 1 to 128 letters, digits, _ and -", _API, _use_names, "value"),
    Rule("tools have different names", "Anthropic: tools: Tool names must be unique", _unique_names, "value"),
    Rule("tool_choice is auto, any, none or one of the tools", _SDK, _choices),
    Rule("there are at most 20 strict tools", "pydantic-ai, _anthropic_schema_limits", _strict_tools),
    Rule("output_config.format is a json_schema with a schema", _SDK, _format_form),
    *anthropic_rules(_schemas),
    Rule("a stop sequence has more than white space", "Anthropic: each stop sequence must contain non-whitespace",
         _stop_sequences, "value"),
    Rule("metadata has user_id only", _SDK, _labels),
    Rule("service_tier is auto or standard_only", _SDK, _tier),
    Rule("effort is low, medium, high, xhigh or max", _SDK, _efforts),
    Rule("model is named", _API, _model),
    Rule("Claude 5.5 cannot be forced to use tools", _MODELS, _forced, "model"),
    Rule("Claude 5.5 does not continue an assistant's turn", _MODELS, _prefill, "model"),
    Rule("Claude 5 and 5.5 think as their model does", _MODELS, _always_thinks, "model"),
)  # fmt: skip
_NEW: Final = (
    _roles_of("user", "assistant", "system"),
    Rule("there are no sampling parameters", _VERSION, _sampling),
    Rule("an assistant has no documents, a user's text no citations", _VERSION, _said_by_the_assistant),
    *_EVERY_VERSION,
)
_OLD: Final = (
    _roles_of("user", "assistant"),
    *_EVERY_VERSION,
    Rule("temperature and top_p are between 0 and 1", _API, _sampling_ranges, "value"),
)


ROWS: Final[Mapping[str, tuple[Rule, ...]]] = MappingProxyType({"anthropic": _NEW})


def under(version: str) -> tuple[Rule, ...]:
    """The rules under this version of the API."""
    return _NEW if version >= _CURRENT else _OLD
