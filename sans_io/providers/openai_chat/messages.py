"""The messages of a conversation as one server of OpenAI's wire takes them (`registry.MessageRules`).

Rules of this file:
- What a user said and the API does not support is refused by name: keys and parts among them.
- What a model said elsewhere goes along as far as the server has a place for it, and else is left out whole: keys and
  parts of other vendors, native forms, `is_error`. It stays in the caller's history for those who want it back.
- What a server wants back goes back: reasoning, signatures, ids, in its own form.
- The caller's objects are never changed; a message that needs no change is sent as it is.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from ...chat.message_checks import bad
from ...chat.options import unsupported
from ...chat.shapes import NATIVE
from ..blocks import is_block
from ..registry import WIRES
from ..tool_ids import with_valid_ids
from ..translate import RESPONSES_TEXTS, function_of, images_as_parts, refuse_keys, said_elsewhere

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...decode.jsontext import JSON, JSONObject
    from ..registry import Dialect, MessageRules

WIRE: Final = WIRES["openai"].title

#: Keys of messages that are another wire's: native forms, Ollama's thinking and tool names, the error flag.
_FOREIGN_KEYS: Final = frozenset({NATIVE, "thinking", "is_error", "tool_name"})
#: Keys of a user's and a system message, beside a vendor's own; markers for caches are hints, and may stay behind.
_SAID_KEYS: Final = frozenset({"role", "content", "images", "cache_control"})
#: Keys of an assistant message beside which its content may be null.
_INSTEAD_OF_CONTENT: Final = frozenset({"tool_calls", "function_call", "refusal", "audio"})
#: Content parts that only Mistral has.
_MISTRAL_PARTS: Final = frozenset({"thinking", "reference", "tool_reference", "document_url"})
#: Keys of parts that are not called as their type is.
_PART_KEYS: Final = {
    "document_url": ("document_url", "document_name"),
    "file": ("file", "file_id"),
    "reference": ("reference_ids",),
    "thinking": ("thinking", "signature", "closed"),
}
#: Keys inside of them.
_INNER_KEYS: Final = {
    "image_url": ("url", "detail"),
    "input_audio": ("data", "format"),
    "file": ("file_id", "file_data", "filename"),
}
#: What the names of tools may not have.
_NOT_IN_NAME: Final = re.compile(r"[^A-Za-z0-9_-]")
#: Documented for histories of other models: base64 of "skip_thought_signature_validator".
_NO_SIGNATURE: Final = "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I="


def translated(messages: Sequence[JSONObject], dialect: Dialect, tools: Sequence[JSONObject] = ()) -> list[JSONObject]:
    """The messages for this server. Raises `LLMBadRequestError` naming the path of what has no place. `tools` are those
    of the request.
    """
    rules = dialect.messages
    declared = frozenset(tool["function"]["name"] for tool in tools if tool["type"] == "function")
    out = [
        _Message(message, f"messages[{i}]", dialect, declared).translated()
        for i, message in enumerate(with_valid_ids(messages, rules.ids))
    ]
    if rules.keys is not None:
        _check_results(messages, in_front=rules.mistral)
    if not rules.silent:
        out = [message for message in out if message["role"] != "assistant" or _says(message)]
    if rules.signed:
        out = _with_names(out)
    if rules.mistral:
        out = _in_mistrals_order(out)
    if not out:
        raise bad("messages", "say nothing: a message without content is not sent")
    return out


def _says(message: JSONObject) -> bool:
    return bool(message.get("content")) or "tool_calls" in message


def _check_results(messages: Sequence[JSONObject], *, in_front: bool) -> None:
    """The vendors want each call's result right behind the call. `in_front`: system messages do not come between."""
    waiting: dict[str, list[str]] = {}
    for i, message in enumerate(messages):
        role = message["role"]
        if role == "tool":
            label = message["tool_call_id"]
            if not waiting.get(label):
                raise bad(
                    f"messages[{i}].tool_call_id", "must be that of a call in the assistant message right before it"
                )
            waiting[label].pop()
        elif not in_front or role in ("user", "assistant"):
            _check_answered(waiting)
            waiting = {}
            for k, call in enumerate(message.get("tool_calls") or ()) if role == "assistant" else ():
                waiting.setdefault(call["id"], []).append(f"messages[{i}].tool_calls[{k}]")
    _check_answered(waiting)


def _check_answered(waiting: dict[str, list[str]]) -> None:
    for label, paths in waiting.items():
        if paths:
            raise bad(paths[-1], f"has no result: a tool message with tool_call_id {label!r:.80} must follow it")


def _with_names(messages: list[JSONObject]) -> list[JSONObject]:
    """Results with the names of their tools, which most servers know by the id."""
    names: dict[str, str] = {}
    out = []
    for message in messages:
        names.update((call["id"], call["function"]["name"]) for call in message.get("tool_calls") or ())
        if message["role"] == "tool" and "name" not in message and message["tool_call_id"] in names:
            out.append({**message, "name": names[message["tool_call_id"]]})
        else:
            out.append(message)
    return out


class _Message:
    """One message on its way."""

    __slots__ = ("_declared", "_dialect", "_message", "_path", "_role", "_rules")

    def __init__(self, message: JSONObject, path: str, dialect: Dialect, declared: frozenset[str]) -> None:
        self._message = message
        self._path = path
        self._dialect = dialect
        #: Names of the request's tools.
        self._declared = declared
        self._rules: MessageRules = dialect.messages
        self._role: str = message["role"]
        if self._role == "developer" and not self._rules.developer:
            self._role = "system"

    def translated(self) -> JSONObject:
        message, role = self._message, self._role
        keys = None if self._rules.keys is None else self._rules.keys[role]
        if keys is not None and role not in ("assistant", "tool"):
            refuse_keys(message, self._path, _SAID_KEYS | keys, self._dialect.name)
        out: JSONObject = {"role": role}
        if "content" in message:
            content = message["content"]
            out["content"] = self._content(content) if isinstance(content, list) else content
        for key, value in message.items():
            if key in ("role", "content") or value is None or key in _FOREIGN_KEYS:
                continue
            if key == "images":
                self._images(value, out)
            elif key == "tool_calls":
                if value:
                    out[key] = self._calls(value)
            elif keys is None or key in keys:
                self._keep(key, value, out)
            elif key == "function_call":
                said_elsewhere(message, self._path, self._dialect.name)  # refuses it
        if role == "assistant":
            self._complete(out)
        return message if out == message else out

    def _keep(self, key: str, value: JSON, out: JSONObject) -> None:
        """A key that has a place on this server, unless it says nothing."""
        if key == "audio":
            if isinstance(value, dict) and value.get("id"):
                out[key] = {"id": value["id"]}  # What came back with an answer holds its data too.
        elif key == "name" and self._role == "tool":
            out[key] = self._tool_name(value)
        elif key == "function_call":
            if self._is_call(value):
                out[key] = {name: value[name] for name in ("name", "arguments") if name in value}
        elif value not in ("", [], {}):
            out[key] = value

    def _complete(self, out: JSONObject) -> None:
        """What an assistant's message must have besides."""
        rules, message = self._rules, self._message
        if not out.get("content") and out.keys().isdisjoint(_INSTEAD_OF_CONTENT):
            # The wire refuses null here.
            out["content"] = said_elsewhere(message, self._path, self._dialect.name)
        if "tool_calls" not in out:
            return
        if rules.reasoning is not None:
            said = message.get("reasoning_content")
            out["reasoning_content"] = said if isinstance(said, str) and said else rules.reasoning
        if rules.signed:
            first, *others = out["tool_calls"]
            if not _signature(first):
                extra = {"google": {"thought_signature": _NO_SIGNATURE}}
                out["tool_calls"] = [{**first, "extra_content": extra}, *others]

    # -- calls --------------------------------------------------------------------------------------------------------

    def _is_call(self, call: JSON) -> bool:
        """Whether a `function_call` is one: not the empty shell of some replies, nor one that `tool_calls` has."""
        name = call.get("name") if isinstance(call, dict) else None
        return isinstance(name, str) and name != "" and not self._message.get("tool_calls")

    def _calls(self, calls: list[JSONObject]) -> list[JSONObject]:
        if self._rules.keys is None:
            return calls
        kept = []
        for i, call in enumerate(calls):
            new = _only(call, tuple(self._rules.call_keys))
            if call["type"] not in self._rules.call_keys or "function" in new:
                function = function_of(call)
                if function is None:
                    where = f"{self._path}.tool_calls[{i}]"
                    raise unsupported(where, self._dialect.name, "only function calls have a place there")
                function = _only(function, ("name", "arguments"))
                name = self._tool_name(function["name"])
                if name != function["name"]:
                    function = {**function, "name": name}
                if function is not new.get("function"):
                    new = {**new, "type": "function", "function": function}
            kept.append(new)
        return kept

    def _tool_name(self, name: JSON) -> JSON:
        """The name of a tool as every vendor takes it: models make up others. One that the caller declares is kept."""
        if self._rules.keys is None or not isinstance(name, str) or name in self._declared:
            return name
        return _NOT_IN_NAME.sub("_", name)[:64]

    # -- content ------------------------------------------------------------------------------------------------------

    def _content(self, parts: list[JSONObject]) -> JSON:
        kept = []
        for k, part in enumerate(parts):
            new = self._part(part, f"{self._path}.content[{k}]")
            if new is not None:
                kept.append(new)
        if self._rules.strings:
            return ("" if self._role == "assistant" else "\n").join(part["text"] for part in kept)
        return kept or ""

    def _part(self, part: JSONObject, path: str) -> JSONObject | None:
        """The part as this server takes it; None for what a model said and this server has no place for."""
        rules, role = self._rules, self._role
        if part["type"] in RESPONSES_TEXTS and isinstance(part.get("text"), str):
            part = {"type": "text", "text": part["text"]}
        kind, known = part["type"], rules.parts.get(role)
        if is_block(kind) and kind != "thinking" and (known is None or kind not in known):
            raise unsupported(path, WIRE, f"a part of type {kind!r} is Anthropic's")
        if kind in _MISTRAL_PARTS and not rules.mistral and role == "assistant":
            return None
        if kind == "thinking" and not isinstance(part.get("thinking"), list):
            return None  # Anthropic's
        if rules.keys is None:
            return part
        if kind == "refusal" and (known is None or kind not in known):
            part = {"type": "text", "text": part["refusal"]}
        part = _to_mistral(part, path) if rules.mistral else _from_mistral(part, path, self._dialect)
        kind = part["type"]
        if known is not None and kind not in known:
            if role == "assistant":
                return None
            elsewhere = role == "tool" and kind in rules.parts.get("user", ())
            hint = "; put it into a user message behind the results" if elsewhere else ""
            takes = ", ".join(sorted(known))
            raise unsupported(path, self._dialect.name, f"a {role} message holds {takes}, not {kind!r:.60}{hint}")
        if kind == "input_audio" and rules.audio and part["input_audio"]["format"] not in rules.audio:
            said = part["input_audio"]["format"]
            formats = f"recordings are {' or '.join(rules.audio)}, not {said!r:.60}"
            raise unsupported(f"{path}.input_audio.format", self._dialect.name, formats)
        kept = _only(part, ("type", *_PART_KEYS.get(kind, (kind,)), *rules.part_keys))
        inner = kept.get(kind)
        if kind in _INNER_KEYS and isinstance(inner, dict):
            new = _only(inner, _INNER_KEYS[kind])
            kept = kept if new is inner else {**kept, kind: new}
        return kept

    def _images(self, images: JSON, out: JSONObject) -> None:
        """Pictures in a key of their own: what a model painted (OpenRouter), or the form of Ollama's wire."""
        if not images or (self._role == "assistant" and not self._rules.images):
            return
        pictures = images_as_parts(images, f"{self._path}.images", only=self._role == "assistant")
        parts = [self._part(part, f"{self._path}.images") for part in pictures]
        if not parts:
            return
        content = out.get("content")
        said = content if isinstance(content, list) else [{"type": "text", "text": content}] if content else []
        out["content"] = [*said, *parts]


def _only(value: JSONObject, keys: tuple[str, ...]) -> JSONObject:
    return value if value.keys() <= set(keys) else {key: item for key, item in value.items() if key in keys}


def _signature(call: JSONObject) -> bool:
    """Whether Gemini signed this call."""
    extra = call.get("extra_content")
    google = extra.get("google") if isinstance(extra, dict) else None
    signature = google.get("thought_signature") if isinstance(google, dict) else None
    return isinstance(signature, str) and signature != ""


# -- Mistral's forms --------------------------------------------------------------------------------------------------


def _to_mistral(part: JSONObject, path: str) -> JSONObject:
    """Audio as bare base64, a file by its id beside the type, a document as a URL."""
    if part["type"] == "input_audio" and isinstance(part["input_audio"], dict):
        return {**part, "input_audio": part["input_audio"]["data"]}
    file = part.get("file") if part["type"] == "file" else None
    if not isinstance(file, dict):
        return part
    if file.get("file_id"):
        return {"type": "file", "file_id": file["file_id"]}
    document: JSONObject = {"type": "document_url", "document_url": file["file_data"]}
    if not file["file_data"].lower().startswith(("data:", "https://", "http://")):
        raise bad(f"{path}.file.file_data", "must be a data URL (data:application/pdf;base64,...)")
    return {**document, "document_name": file["filename"]} if file.get("filename") else document


#: How base64 of a recording begins, by format.
_AUDIO: Final = (("UklGR", "wav"), ("SUQz", "mp3"), ("//", "mp3"))


def _from_mistral(part: JSONObject, path: str, dialect: Dialect) -> JSONObject:
    """The common form of what Mistral says in another way."""
    kind = part["type"]
    if kind == "input_audio" and isinstance(part["input_audio"], str):
        data = part["input_audio"]
        form = next((form for start, form in _AUDIO if data.startswith(start)), None)
        if form is None:
            raise bad(f"{path}.input_audio", 'must hold data (base64) and format ("wav" or "mp3")')
        return {**part, "input_audio": {"data": data, "format": form}}
    if kind == "file" and "file" not in part:
        return {"type": "file", "file": {"file_id": part["file_id"]}}
    if kind == "document_url" and isinstance(part.get("document_url"), str):
        if not part["document_url"].lower().startswith("data:"):
            raise unsupported(path, dialect.name, "it fetches no documents; give a file part with file_data")
        name = part.get("document_name")
        return {"type": "file", "file": {"file_data": part["document_url"], "filename": name or "document.pdf"}}
    return part


def _in_mistrals_order(messages: list[JSONObject]) -> list[JSONObject]:
    """Instructions first (it takes none behind an assistant or a result); what the assistant says last is a prefix."""
    out = [message for message in messages if message["role"] == "system"]
    out += [message for message in messages if message["role"] != "system"]
    if out and out[-1]["role"] == "assistant" and "tool_calls" not in out[-1]:
        out[-1] = {**out[-1], "prefix": True}
    return out
