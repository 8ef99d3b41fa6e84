"""From OpenAI-shaped messages to Anthropic's system blocks and turns.

Rules of this file:
- Nothing is dropped silently: what the API does not support is an `LLMBadRequestError` naming the path, before sending.
- Native blocks pass through as they are: Anthropic checks thinking blocks against their signatures.
- An assistant message that came from Anthropic carries its blocks in `native` (`shapes.NATIVE`). They are sent again as
  long as they say what `content` and `tool_calls` say; if those were edited, the edit wins and only thinking is kept.
- One version of the API for one conversation once it holds thinking: `version` beside the blocks says which.
"""

from __future__ import annotations

import re
from base64 import b64decode
from typing import Final

from ...chat.message_checks import bad
from ...chat.messages import ChatRequest
from ...chat.options import unsupported
from ...chat.shapes import NATIVE
from ...decode.jsontext import JSON, JSONObject, loads
from ...errors import LLMBadRequestError
from ..blocks import is_thinking
from ..registry import WIRES
from ..translate import is_web_url, parse_data_url, text_of

#: The current version of the API; it has no sampling parameters, and knows system messages inside the conversation.
API_VERSION: Final = "2026-10-21"
#: The version before, which has temperature, top_p and top_k.
SAMPLING_VERSION: Final = "2023-06-01"

_NAME: Final = "anthropic"
WIRE: Final = WIRES[_NAME].title
#: A tuple, since what is looked up in it may be any JSON value.
_THINKING: Final = ("thinking", "redacted_thinking")
_IMAGE_TYPES: Final = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
_TOOL_ID: Final = re.compile(r"[A-Za-z0-9_-]+")


def translated(chat: ChatRequest, version: str) -> tuple[list[JSONObject], list[JSONObject]]:
    """(system blocks, turns) of `chat` under API `version`. Raises `LLMBadRequestError` naming the path."""
    return _Conversation(chat, version).turns()


def native_form(blocks: list[JSONObject], version: str | None) -> JSONObject | None:
    """What an assistant message made of `blocks` must carry besides `content` and `tool_calls`; often nothing."""
    if _is_plain(blocks):
        return None
    form: JSONObject = {"wire": _NAME, "blocks": blocks}
    if version is not None and any(block.get("type") in _THINKING for block in blocks):
        form["version"] = version
    return form


def _is_plain(blocks: list[JSONObject]) -> bool:
    """Whether `content` and `tool_calls` alone give these blocks again: one text first, then bare calls."""
    for i, block in enumerate(blocks):
        if block.get("type") == "text":
            if i or block.keys() != {"type", "text"}:
                return False
        elif block.get("type") != "tool_use" or block.keys() != {"type", "id", "name", "input"}:
            return False
    return True


def version_of_thinking(messages: tuple[JSONObject, ...]) -> str | None:
    """The version noted at the first thinking of the conversation; None if there is none, or none with a note."""
    for i, message in enumerate(messages):
        if NATIVE in message:
            native = _native(message, f"messages[{i}]")
            if native is not None and any(block["type"] in _THINKING for block in native["blocks"]):
                version: str | None = native.get("version")
                if version:
                    return version
    return None


def _native(message: JSONObject, path: str) -> JSONObject | None:
    """The native form of a message if it is of this wire. Raises `LLMBadRequestError` if it is not what it was."""
    native = message.get(NATIVE)
    if native is None or native["wire"] != _NAME:
        return None
    blocks, version = native.get("blocks"), native.get("version")
    if not isinstance(blocks, list) or not all(isinstance(b, dict) and isinstance(b.get("type"), str) for b in blocks):
        raise bad(f"{path}.{NATIVE}.blocks", "must be the list of blocks that response.message had")
    if not isinstance(version, (str, type(None))):
        raise bad(f"{path}.{NATIVE}.version", f"must be a string, not {type(version).__name__}")
    return native  # type: ignore[no-any-return]


# -- the conversation -----------------------------------------------------------------------------------------------


class _Conversation:
    """Turns are built in order; `turns()` is called once."""

    def __init__(self, chat: ChatRequest, version: str) -> None:
        self._chat = chat
        self._hoists = version == SAMPLING_VERSION
        self._system: list[JSONObject] = []
        self._turns: list[JSONObject] = []
        #: The turn that holds the tool results of the last assistant turn, and how many they are.
        self._results: JSONObject | None = None
        self._ids: dict[str, str] = {}
        self._taken: set[str] = set()

    def turns(self) -> tuple[list[JSONObject], list[JSONObject]]:
        """(system blocks, turns)."""
        if self._chat.system:
            self._system.append({"type": "text", "text": self._chat.system})
        for i, message in enumerate(self._chat.messages):
            _TURNS[message["role"]](self, message, f"messages[{i}]")
        return self._system, self._turns

    def system(self, message: JSONObject, path: str) -> None:
        """Leading ones go to the top-level field. The sampling version knows no others, so there all are gathered."""
        blocks = _with_cache_control(_system_blocks(message.get("content"), f"{path}.content"), message)
        if self._hoists or not self._turns:
            self._system += blocks
        elif blocks:
            self._turns.append({"role": "system", "content": text_or_blocks(blocks)})

    def user(self, message: JSONObject, path: str) -> None:
        content = message.get("content")
        turn = self._turns[-1] if self._turns else None
        if turn is not None and turn is self._results:
            # Tool results must come first in the user turn that follows the calls, so what is said joins them there.
            blocks = _text_blocks(content) if isinstance(content, str) else _blocks(content, f"{path}.content")
            turn["content"] += _with_cache_control(blocks, message)
        elif isinstance(content, str) and message.get("cache_control") is None:
            self._turns.append({"role": "user", "content": content})
        else:
            blocks = _text_blocks(content) if isinstance(content, str) else _blocks(content, f"{path}.content")
            self._turns.append({"role": "user", "content": _with_cache_control(blocks, message)})

    def assistant(self, message: JSONObject, path: str) -> None:
        blocks = self._assistant_blocks(message, path)
        if blocks and blocks[-1].get("type") not in _THINKING:
            blocks = _with_cache_control(blocks, message)
        # The wire refuses an empty turn; the user turns around it are joined by the server.
        if blocks:
            self._turns.append({"role": "assistant", "content": text_or_blocks(blocks)})

    def tool(self, message: JSONObject, path: str) -> None:
        content = message.get("content")
        block: JSONObject = {"type": "tool_result", "tool_use_id": self._wire_id(message["tool_call_id"])}
        block["content"] = content if isinstance(content, str) else _blocks(content, f"{path}.content")
        if message.get("is_error"):
            block["is_error"] = True
        if message.get("cache_control") is not None:
            block["cache_control"] = message["cache_control"]
        turns = self._turns
        at = len(turns)
        while at and turns[at - 1]["role"] == "system":
            at -= 1
        if at and turns[at - 1] is self._results:
            blocks = turns[at - 1]["content"]
            first_other = next((i for i, b in enumerate(blocks) if b["type"] != "tool_result"), len(blocks))
            blocks.insert(first_other, block)
        else:
            self._results = {"role": "user", "content": [block]}
            turns.insert(at, self._results)

    def _assistant_blocks(self, message: JSONObject, path: str) -> list[JSONObject]:
        native = _native(message, path)
        if native is None:
            return self._rebuilt(message, path)
        blocks: list[JSONObject] = native["blocks"]
        if not _says_the_same(blocks, message):
            blocks = [block for block in blocks if block.get("type") in _THINKING] + self._rebuilt(message, path)
        return [block for block in blocks if block.get("type") != "text" or block.get("text")]

    def _rebuilt(self, message: JSONObject, path: str) -> list[JSONObject]:
        content = message.get("content")
        if isinstance(content, list):
            blocks = [_assistant_block(part, f"{path}.content[{i}]") for i, part in enumerate(content)]
            # Thinking of other vendors has no signature of Anthropic's.
            blocks = [block for block in blocks if block.get("type") not in _THINKING or is_thinking(block)]
            blocks = [block for block in blocks if block.get("type") != "text" or block.get("text")]
        else:
            blocks = _text_blocks(content or "")
        refusal = message.get("refusal")
        if not blocks and isinstance(refusal, str):
            blocks = _text_blocks(refusal)
        present = {block.get("id") for block in blocks if block.get("type") == "tool_use"}
        for i, call in enumerate(message.get("tool_calls") or ()):
            function = call.get("function")
            if not isinstance(function, dict):
                raise unsupported(f"{path}.tool_calls[{i}]", WIRE, "only function calls have a place there")
            if call["id"] not in present:
                block = {"type": "tool_use", "id": self._wire_id(call["id"]), "name": function["name"]}
                blocks.append({**block, "input": loads(function["arguments"])})
        return blocks

    def _wire_id(self, call_id: str) -> str:
        """The wire takes letters, digits, "_" and "-" only; other vendors' ids are rewritten, the same each time."""
        if _TOOL_ID.fullmatch(call_id):
            return call_id
        known = self._ids.get(call_id)
        if known is None:
            if not self._ids:
                calls = (call for message in self._chat.messages for call in message.get("tool_calls") or ())
                self._taken = {call["id"] for call in calls}
            stem = known = "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "_" for c in call_id)
            number = 0
            while known in self._taken:
                number += 1
                known = f"{stem}_{number}"
            self._ids[call_id] = known
            self._taken.add(known)
        return known


_TURNS: Final = {
    "system": _Conversation.system,
    "developer": _Conversation.system,
    "user": _Conversation.user,
    "assistant": _Conversation.assistant,
    "tool": _Conversation.tool,
}


def _says_the_same(blocks: list[JSONObject], message: JSONObject) -> bool:
    """Whether the native blocks still say what `content` and `tool_calls` say, which a user may have edited."""
    if text_of(blocks) != text_of(message.get("content")):
        return False
    calls = []
    for call in message.get("tool_calls") or ():
        function = call.get("function")
        if not isinstance(function, dict):
            return False
        calls.append((call["id"], function["name"], loads(function["arguments"])))
    native = [(b.get("id"), b.get("name"), b.get("input") or {}) for b in blocks if b.get("type") == "tool_use"]
    return native == calls


# -- blocks ---------------------------------------------------------------------------------------------------------


def _blocks(content: JSON, path: str) -> list[JSONObject]:
    """The blocks of a user turn or a tool result; empty text, which the wire refuses, is left out."""
    blocks = [_block(part, f"{path}[{i}]") for i, part in enumerate(content or ())]
    return [block for block in blocks if block.get("type") != "text" or block.get("text")]


def _block(part: JSONObject, path: str) -> JSONObject:
    kind = part["type"]
    if kind == "image_url":
        return _beside(part, {"type": "image", "source": _image_source(part["image_url"]["url"], f"{path}.image_url")})
    if kind == "file":
        return _beside(part, _document(part, f"{path}.file"))
    if kind == "refusal":
        return {"type": "text", "text": part["refusal"]}
    if kind == "input_audio":
        raise unsupported(path, WIRE, "it has no audio")
    return part


def _assistant_block(part: JSONObject, path: str) -> JSONObject:
    if part["type"] in ("image_url", "file", "input_audio"):
        raise unsupported(path, WIRE, "an assistant message holds text, thinking and tool calls")
    return _block(part, path)


def _beside(part: JSONObject, block: JSONObject) -> JSONObject:
    if part.get("cache_control") is not None:
        block["cache_control"] = part["cache_control"]
    return block


def _image_source(url: str, path: str) -> JSONObject:
    data_url = parse_data_url(url, path)
    if data_url is None:
        return {"type": "url", "url": url}
    media_type = "image/jpeg" if data_url.media_type == "image/jpg" else data_url.media_type
    if media_type not in _IMAGE_TYPES:
        raise unsupported(path, WIRE, f"images are JPEG, PNG, GIF or WebP, not {media_type:.60}")
    return {"type": "base64", "media_type": media_type, "data": data_url.data}


def _document(part: JSONObject, path: str) -> JSONObject:
    file = part["file"] if isinstance(part.get("file"), dict) else part
    data = file.get("file_data")
    if not isinstance(data, str) or not data:
        return {"type": "document", "source": {"type": "file", "file_id": file["file_id"]}}
    block: JSONObject = {"type": "document", "source": _document_source(data, path)}
    if block["source"].get("media_type") in _IMAGE_TYPES:
        return {"type": "image", "source": block["source"]}
    filename = file.get("filename")
    if isinstance(filename, str) and filename:
        block["title"] = filename
    return block


def _document_source(data: str, path: str) -> JSONObject:
    if is_web_url(data):
        return {"type": "url", "url": data}
    # Bare base64 is what several vendors take for a PDF, whose first bytes ("%PDF-") say what it is.
    data_url = parse_data_url(f"data:application/pdf;base64,{data}" if data.startswith("JVBERi0") else data, path)
    if data_url is None:
        what = f"{path}.file_data must be a data URL, an http(s) URL or a PDF in base64"
        raise LLMBadRequestError(what, code="invalid_argument")
    if data_url.media_type == "application/pdf" or data_url.media_type in _IMAGE_TYPES:
        return {"type": "base64", "media_type": data_url.media_type, "data": data_url.data}
    if data_url.media_type.startswith("text/"):
        return {"type": "text", "media_type": "text/plain", "data": _decoded(data_url.data, path)}
    raise unsupported(path, WIRE, f"documents are PDF or text, not {data_url.media_type:.60}")


def _decoded(data: str, path: str) -> str:
    try:
        return b64decode(data).decode()
    except ValueError:
        raise LLMBadRequestError(
            f"{path} is a text file that is not base64 of UTF-8", code="invalid_argument"
        ) from None


def _system_blocks(content: JSON, path: str) -> list[JSONObject]:
    if isinstance(content, str):
        return _text_blocks(content)
    for i, part in enumerate(content):
        if part["type"] != "text":
            raise unsupported(f"{path}[{i}]", WIRE, "a system message holds text only")
    return [part for part in content if part["text"]]


def _text_blocks(text: str) -> list[JSONObject]:
    return [{"type": "text", "text": text}] if text else []


def text_or_blocks(blocks: list[JSONObject]) -> str | list[JSONObject]:
    """The short form where it says the same: some servers of this wire take nothing else."""
    if all(block.keys() == {"type", "text"} and block["type"] == "text" for block in blocks) and len(blocks) == 1:
        text: str = blocks[0]["text"]
        return text
    return blocks


def _with_cache_control(blocks: list[JSONObject], message: JSONObject) -> list[JSONObject]:
    """A breakpoint set on a message belongs to its last block."""
    if message.get("cache_control") is None or not blocks or "cache_control" in blocks[-1]:
        return blocks
    return [*blocks[:-1], {**blocks[-1], "cache_control": message["cache_control"]}]
