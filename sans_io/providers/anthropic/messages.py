"""From OpenAI-shaped messages to Anthropic's system blocks and turns.

Rules of this file:
- What a user wrote and the API does not support is an `LLMBadRequestError` naming the path, before sending: keys and
  parts among them. What another vendor's model said goes along as far as the API has a place for it (text, calls, a
  refusal, what was spoken); the rest is left out: reasoning, media, names, keys and parts of that vendor's own.
- Hints of other vendors are left out: `detail` of images, cache keys. Blank text is left out, and a turn with nothing
  else: the API refuses both.
- Results stand first in the user turn right behind the calls, one for each call.
- An assistant message that came from Anthropic carries its blocks in `native` (`shapes.NATIVE`). They are sent again as
  long as they say what `content` and `tool_calls` say; if those were edited, the edit wins and only thinking is kept.
  Thinking goes back word for word, or not at all: it may not end a turn.
- One version of the API for one conversation once it holds thinking: `version` beside the blocks says which.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable
from typing import Final

from ...chat.message_checks import bad
from ...chat.messages import ChatRequest
from ...chat.options import unsupported
from ...chat.shapes import NATIVE
from ...decode.jsontext import JSON, JSONObject, loads
from ...errors import LLMBadRequestError
from ..blocks import is_block, is_thinking
from ..registry import WIRES
from ..tool_ids import with_valid_ids
from ..translate import (
    RESPONSES_TEXTS,
    function_of,
    images_as_parts,
    is_web_url,
    parse_data_url,
    refuse_keys,
    said_elsewhere,
    text_of,
)

#: The current version of the API; it has no sampling parameters, and knows system messages inside the conversation.
API_VERSION: Final = "2026-10-21"
#: The version before, which has temperature, top_p and top_k.
SAMPLING_VERSION: Final = "2023-06-01"

_NAME: Final = "anthropic"
WIRE: Final = WIRES[_NAME].title
#: A tuple, since what is looked up in it may be any JSON value.
_THINKING: Final = ("thinking", "redacted_thinking")
_IMAGE_TYPES: Final = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
#: Ids of calls; two of one conversation must differ.
_IDS: Final = r"[A-Za-z0-9_-]+"
_CALLS: Final = "only calls of functions and custom tools have a place there"
_NOT_IN_NAME: Final = re.compile(r"[^A-Za-z0-9_-]")


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
            if native is not None and any(map(is_thinking, native["blocks"])):
                version: str | None = native.get("version")
                if version:
                    return version
    return None


def _native(message: JSONObject, path: str) -> JSONObject | None:
    """The native form of a message if it is of this wire. Raises `LLMBadRequestError` if it is not what it was."""
    native: JSONObject | None = message.get(NATIVE)
    if native is None or native["wire"] != _NAME:
        return None
    blocks, version = native.get("blocks"), native.get("version")
    if not isinstance(blocks, list) or not all(isinstance(b, dict) and isinstance(b.get("type"), str) for b in blocks):
        raise bad(f"{path}.{NATIVE}.blocks", "must be the list of blocks that response.message had")
    if not isinstance(version, (str, type(None))):
        raise bad(f"{path}.{NATIVE}.version", f"must be a string, not {type(version).__name__}")
    return native


# -- the conversation -----------------------------------------------------------------------------------------------


class _Asked:
    """The calls of one assistant turn. `waiting`: id -> (path of the message, name) of those without a result;
    `results`: the user turn right behind, once there is one, which begins with `answered` results.
    """

    __slots__ = ("answered", "results", "turn", "waiting")

    def __init__(self, turn: JSONObject) -> None:
        self.turn = turn
        self.waiting: dict[str, tuple[str, str]] = {}
        self.results: JSONObject | None = None
        self.answered = 0


class _Conversation:
    """Turns are built in order; `turns()` is called once."""

    def __init__(self, chat: ChatRequest, version: str) -> None:
        self._chat = chat
        self._old = version == SAMPLING_VERSION
        self._system: list[JSONObject] = []
        self._turns: list[JSONObject] = []
        self._asked: dict[str, _Asked] = {}
        #: The last turn that holds results.
        self._results: JSONObject | None = None

    def turns(self) -> tuple[list[JSONObject], list[JSONObject]]:
        """(system blocks, turns)."""
        if self._chat.system and not is_blank(self._chat.system):
            self._system.append({"type": "text", "text": self._chat.system})
        for i, message in enumerate(with_valid_ids(self._chat.messages, _IDS, unique=True)):
            _TURNS[message["role"]](self, message, i)
        for asked in self._asked.values():
            for path, name in asked.waiting.values():
                raise bad(path, f"calls {name!r}, and no tool message after it has the result")
        if not self._turns and "messages" not in self._chat.extra_body:
            raise bad("messages", "say nothing but instructions and white space; the API wants a user's message")
        last = self._turns[-1] if self._turns else {}
        if last.get("role") == "assistant":
            last["content"] = _trimmed(last["content"])
        return self._system, self._turns

    def system(self, message: JSONObject, i: int) -> None:
        """Leading ones go to the top-level field. The sampling version knows no others, so there all are gathered."""
        path = f"messages[{i}]"
        refuse_keys(message, path, _SYSTEM_KEYS, WIRE)
        blocks = _with_cache_control(_system_blocks(message.get("content"), f"{path}.content"), message)
        if self._old or not self._turns:
            self._system += blocks
        elif blocks:
            self._turns.append({"role": "system", "content": text_or_blocks(blocks)})

    def user(self, message: JSONObject, i: int) -> None:
        """What is said behind tool results joins them in their turn, where they come first."""
        content = message.get("content")
        joins = bool(self._turns) and self._turns[-1] is self._results
        if len(message) == 2 and isinstance(content, str):
            if is_blank(content):
                return
            said: str | list[JSONObject] = [{"type": "text", "text": content}] if joins else content
        else:
            said = self._user_blocks(message, i)
            joins = bool(self._turns) and self._turns[-1] is self._results
            if not said:
                return
            if isinstance(content, str) and not joins:
                said = text_or_blocks(said)
        if joins:
            self._turns[-1]["content"] += said
        else:
            self._turns.append({"role": "user", "content": said})

    def assistant(self, message: JSONObject, i: int) -> None:
        """A turn that says nothing is left out: the wire refuses it, and joins the user turns around it."""
        path = f"messages[{i}]"
        blocks = self._assistant_blocks(message, i, path)
        # Thinking that ends a turn was cut: the wire refuses it there.
        while blocks and blocks[-1]["type"] in _THINKING:
            blocks.pop()
        if not blocks:
            return
        turn = {"role": "assistant", "content": text_or_blocks(_with_cache_control(blocks, message))}
        self._turns.append(turn)
        asked: _Asked | None = None
        for block in blocks:
            if block["type"] == "tool_use":
                asked = asked or _Asked(turn)
                asked.waiting[block["id"]] = path, block["name"]
                self._asked[block["id"]] = asked

    def tool(self, message: JSONObject, i: int) -> None:
        path = f"messages[{i}]"
        refuse_keys(message, path, _TOOL_KEYS, WIRE)
        block: JSONObject = {"type": "tool_result", "tool_use_id": message["tool_call_id"]}
        content = message.get("content")
        if isinstance(content, list) or message.get("images"):
            content = list(filter(_says_something, self._parts(message, path, _result_block)))
        if content and not (isinstance(content, str) and is_blank(content)):
            block["content"] = content
        for key in ("is_error", "cache_control"):
            if message.get(key):
                block[key] = message[key]
        self._answer(block, f"{path}.tool_call_id", self._chat.messages[i]["tool_call_id"])

    def _answer(self, block: JSONObject, path: str, said: JSON) -> None:
        """A result goes behind the turn that asked for it, whatever stands between. `said` is the id before it was
        made one of this wire.
        """
        label = block.get("tool_use_id")
        if not isinstance(label, str):
            raise bad(path, "is missing" if label is None else "must be a string")
        asked = self._asked.get(label)
        if asked is None or asked.waiting.pop(label, None) is None:
            why = "which no assistant message before it called" if asked is None else "which has its result already"
            raise bad(path, f"is {said!r:.80}, {why}")
        if asked.results is None:
            asked.results = self._results = {"role": "user", "content": []}
            at = len(self._turns)
            while self._turns[at - 1] is not asked.turn:
                at -= 1
            self._turns.insert(at, asked.results)
        asked.results["content"].insert(asked.answered, block)
        asked.answered += 1

    # -- what a user says ---------------------------------------------------------------------------------------------

    def _user_blocks(self, message: JSONObject, i: int) -> list[JSONObject]:
        """The blocks of a user turn; results among them go where results belong."""
        path = f"messages[{i}]"
        refuse_keys(message, path, _USER_KEYS, WIRE)
        said = []
        for k, block in enumerate(self._parts(message, path, self._user_block)):
            if block["type"] == "tool_result":
                label = self._chat.messages[i]["content"][k].get("tool_use_id")
                self._answer(_without_blanks(block), f"{path}.content[{k}].tool_use_id", label)
            elif _says_something(block):
                said.append(block)
        return _with_cache_control(said, message)

    def _parts(
        self, message: JSONObject, path: str, to_block: Callable[[JSONObject, str], JSONObject]
    ) -> list[JSONObject]:
        """The blocks of a message's content and images."""
        content = message.get("content")
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content or ()
        blocks = [to_block(part, f"{path}.content[{k}]") for k, part in enumerate(parts)]
        if message.get("images"):
            images = images_as_parts(message["images"], f"{path}.images")
            blocks += [to_block(part, f"{path}.images[{k}]") for k, part in enumerate(images)]
        return blocks

    def _user_block(self, part: JSONObject, path: str) -> JSONObject:
        kind = part["type"]
        if kind == "text" and part.get("citations") and not self._old:
            raise unsupported(f"{path}.citations", WIRE, "they belong to what the assistant said")
        if kind in _ASSISTANTS_BLOCKS:
            raise unsupported(path, WIRE, f"a {kind} block belongs to an assistant message")
        return _block(part, path)

    # -- what the assistant said --------------------------------------------------------------------------------------

    def _assistant_blocks(self, message: JSONObject, i: int, path: str) -> list[JSONObject]:
        said = self._chat.messages[i]
        native = _native(said, path) if NATIVE in said else None
        blocks: list[JSONObject] = [] if native is None else native["blocks"]
        if native is not None and _says_the_same(blocks, said):
            # Ids may have been made ones of this wire.
            calls = iter(message.get("tool_calls") or ())
            blocks = [{**b, "id": next(calls)["id"]} if b["type"] == "tool_use" else b for b in blocks]
        else:
            blocks = [block for block in blocks if is_thinking(block)] + self._rebuilt(message, path)
        return [_known(b) for b in blocks if _says_something(b) and (b["type"] not in _THINKING or is_thinking(b))]

    def _rebuilt(self, message: JSONObject, path: str) -> list[JSONObject]:
        content = message.get("content")
        if isinstance(content, list):
            made = (self._assistant_block(part, f"{path}.content[{k}]") for k, part in enumerate(content))
            blocks = [block for block in made if block is not None and _says_something(block)]
        else:
            blocks = _text_blocks(content or "")
        elsewhere = said_elsewhere(message, path, WIRE)
        if not any(block["type"] == "text" for block in blocks):
            blocks += _text_blocks(elsewhere)
        present = {block["id"] for block in blocks if block["type"] == "tool_use"}
        for k, call in enumerate(message.get("tool_calls") or ()):
            if call["id"] not in present:
                function = function_of(call)
                if function is None:
                    raise unsupported(f"{path}.tool_calls[{k}]", WIRE, _CALLS)
                name = _NOT_IN_NAME.sub("_", function["name"])[:128]
                blocks.append(
                    {"type": "tool_use", "id": call["id"], "name": name, "input": loads(function["arguments"])}
                )
        return blocks

    def _assistant_block(self, part: JSONObject, path: str) -> JSONObject | None:
        """The block of a part; None for what other vendors' models said and this wire has no place for."""
        kind = part["type"]
        if kind in _THINKING:
            return part if is_thinking(part) else None
        if kind in ("image", "tool_result") or (kind == "document" and not self._old):
            raise unsupported(path, WIRE, f"an assistant message holds no {kind}")
        if kind in ("text", "refusal", *RESPONSES_TEXTS) or is_block(kind):
            return _block(part, path)
        return None


_TURNS: Final = {
    "system": _Conversation.system,
    "developer": _Conversation.system,
    "user": _Conversation.user,
    "assistant": _Conversation.assistant,
    "tool": _Conversation.tool,
}

#: Keys of messages that users write. Any other that says something is refused; in an assistant message it may be a
#: vendor's own, and is left out.
_SYSTEM_KEYS: Final = frozenset({"role", "content", "cache_control"})
_USER_KEYS: Final = _SYSTEM_KEYS | {"images"}
_TOOL_KEYS: Final = _USER_KEYS | {"tool_call_id", "is_error", "name", "tool_name"}


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

#: Blocks that only an assistant says.
_ASSISTANTS_BLOCKS: Final = frozenset({"thinking", "redacted_thinking", "tool_use", "server_tool_use"})
_RESULT_BLOCKS: Final = frozenset({"text", "image", "document", "search_result", "tool_reference", "browser_state"})
#: The keys that the API takes in blocks which replies and gateways give more.
_BLOCK_KEYS: Final = {
    "text": frozenset({"type", "text", "cache_control", "citations"}),
    "thinking": frozenset({"type", "thinking", "signature"}),
    "redacted_thinking": frozenset({"type", "data"}),
    "tool_use": frozenset({"type", "id", "name", "input", "cache_control", "caller", "toolset_name"}),
    "server_tool_use": frozenset({"type", "id", "name", "input", "cache_control", "caller"}),
}


def is_blank(text: str) -> bool:
    """Whether there is nothing in it but white space."""
    return not text or text.isspace()


def _says_something(block: JSONObject) -> bool:
    text = block.get("text")
    return block["type"] != "text" or (isinstance(text, str) and not is_blank(text))


def _without_blanks(result: JSONObject) -> JSONObject:
    """A tool_result without blank text, as one that is made of a tool message."""
    content = result.get("content")
    if isinstance(content, list):
        content = [one for one in content if not isinstance(one, dict) or "type" not in one or _says_something(one)]
    elif isinstance(content, str) and is_blank(content):
        content = None
    if content:
        return {**result, "content": content}
    return {key: value for key, value in result.items() if key != "content"}


def _known(block: JSONObject) -> JSONObject:
    """The block with the keys that the API takes."""
    keys = _BLOCK_KEYS.get(block["type"])
    if keys is None or block.keys() <= keys:
        return block
    return {key: value for key, value in block.items() if key in keys}


def _block(part: JSONObject, path: str) -> JSONObject:
    """The block of a part in the common form; one of this wire passes through."""
    kind = part["type"]
    if kind == "text":
        return _known(part)
    if kind in RESPONSES_TEXTS and isinstance(part.get("text"), str):
        return {"type": "text", "text": part["text"]}
    if kind == "image_url":
        return _beside(part, {"type": "image", "source": _image_source(part["image_url"]["url"], f"{path}.image_url")})
    if kind == "file":
        return _beside(part, _document(part, f"{path}.file"))
    if kind == "document_url" and isinstance(part.get("document_url"), str):
        # Mistral's form of a file.
        file = {"file_data": part["document_url"], "filename": part.get("document_name")}
        return _beside(part, _document(file, f"{path}.document_url"))
    if kind == "refusal":
        return {"type": "text", "text": part["refusal"]}
    if kind == "input_audio":
        raise unsupported(path, WIRE, "it has no audio")
    if not is_block(kind):
        raise unsupported(path, WIRE, f"it has no parts of type {kind!r:.60}")
    return part


def _result_block(part: JSONObject, path: str) -> JSONObject:
    block = part if part["type"] in _RESULT_BLOCKS else _block(part, path)
    if block["type"] not in _RESULT_BLOCKS:
        raise unsupported(path, WIRE, f"a result holds text, images and documents, not {block['type']!r:.60}")
    return _known(block)


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
    return [_known(part) for part in content if not is_blank(part["text"])]


def _text_blocks(text: str) -> list[JSONObject]:
    return [] if is_blank(text) else [{"type": "text", "text": text}]


def text_or_blocks(blocks: list[JSONObject]) -> str | list[JSONObject]:
    """The short form where it says the same: some servers of this wire take nothing else."""
    if all(block.keys() == {"type", "text"} and block["type"] == "text" for block in blocks) and len(blocks) == 1:
        text: str = blocks[0]["text"]
        return text
    return blocks


def _trimmed(content: str | list[JSONObject]) -> str | list[JSONObject]:
    """A turn that the model is to continue, without the white space at its end, which the wire refuses."""
    if isinstance(content, str):
        return content.rstrip()
    last = content[-1]
    return content if last["type"] != "text" else [*content[:-1], {**last, "text": last["text"].rstrip()}]


def _with_cache_control(blocks: list[JSONObject], message: JSONObject) -> list[JSONObject]:
    """A breakpoint set on a message belongs to its last block."""
    if message.get("cache_control") is None or not blocks or "cache_control" in blocks[-1]:
        return blocks
    return [*blocks[:-1], {**blocks[-1], "cache_control": message["cache_control"]}]
