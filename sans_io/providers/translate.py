"""What the codecs share in translating requests: refusals that name a path, data URLs, `extra_body`.

Rules of this file:
- No wire is known here.
- The caller's objects are never changed.
"""

from __future__ import annotations

import re
from base64 import b64encode
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

from ..chat.options import unsupported
from ..decode.jsontext import JSON, JSONObject, dumps
from ..errors import LLMBadRequestError

#: What the Responses API calls a text.
RESPONSES_TEXTS: Final = ("input_text", "output_text")


class DataURL(NamedTuple):
    """A data URL taken apart: `media_type` lower-case without parameters, `data` in base64."""

    media_type: str
    data: str


def parse_data_url(url: str, path: str) -> DataURL | None:
    """A data URL's type and data (RFC 2397), or None for any other URL.

    Data that is percent-encoded is turned into base64. Raises `LLMBadRequestError` naming `path` for base64 that
    holds anything else.
    """
    if url[:5].lower() != "data:":
        return None
    head, comma, data = url[5:].partition(",")
    media_type, *parameters = (part.strip().lower() for part in head.split(";"))
    if not comma or not data:
        raise LLMBadRequestError(f"{path} is a data URL without data", code="invalid_argument")
    if "base64" not in parameters:
        return DataURL(media_type or "text/plain", b64encode(unquote_to_bytes(data)).decode())
    if "%" in data:
        data = unquote_to_bytes(data).decode("latin-1")
    if not _BASE64.fullmatch(data):
        raise LLMBadRequestError(f"{path} is a data URL whose data is not base64", code="invalid_argument")
    return DataURL(media_type or "text/plain", data)


#: How base64 of a picture begins, by media type.
_PICTURES: Final = (
    ("iVBORw0KGgo", "image/png"), ("/9j/", "image/jpeg"), ("R0lGOD", "image/gif"), ("UklGR", "image/webp"),
)  # fmt: skip


def images_as_parts(images: JSON, path: str, *, only: bool = False) -> list[JSONObject]:
    """What a message has under `images` as image_url parts: such parts, URLs, or bare base64 as Ollama has it.

    Raises `LLMBadRequestError` naming `path` for anything else; with `only`, that is left out.
    """
    parts = []
    for i, image in enumerate(images if isinstance(images, list) else [images]):
        said = image.get("image_url") if isinstance(image, dict) else image
        said = said.get("url") if isinstance(said, dict) else said
        url = _picture_url(said) if isinstance(said, str) else None
        if url is None and only:
            continue
        if url is None:
            raise LLMBadRequestError(
                f"{path}[{i}] must be a picture: base64 of a PNG, JPEG, GIF or WebP, a URL, or an image_url part",
                code="invalid_argument",
            )
        parts.append({"type": "image_url", "image_url": {"url": url}})
    return parts


def _picture_url(text: str) -> str | None:
    if is_web_url(text) or text[:11].lower() == "data:image/":
        return text
    kind = next((kind for start, kind in _PICTURES if text.startswith(start)), None)
    return None if kind is None else f"data:{kind};base64,{text}"


def refuse_keys(message: JSONObject, path: str, known: frozenset[str], api: str) -> None:
    """Raise `LLMBadRequestError` for a key of a message that a user wrote, which says something and is not `known`."""
    if message.keys() <= known:
        return
    for key, value in message.items():
        if key not in known and value not in (None, "", [], {}):
            raise unsupported(f"{path}.{key}", api, _INSTEAD.get(key, ""))


_INSTEAD: Final = {"name": "say who speaks in the content", "images": "use image_url parts in content"}


def said_elsewhere(message: JSONObject, path: str, api: str) -> str:
    """What an assistant said in other keys, for a message whose `content` has no text: what was spoken, or a refusal. A
    call in the form of 2023 has no result that could go with it, so it is refused.
    """
    called = message.get("function_call")
    name = called.get("name") if isinstance(called, dict) else None
    if isinstance(name, str) and name and not message.get("tool_calls"):
        raise unsupported(f"{path}.function_call", api, "give the call as tool_calls, and its result as a tool message")
    audio = message.get("audio")
    spoken = audio.get("transcript") if isinstance(audio, dict) else None
    return next((said for said in (spoken, message.get("refusal")) if isinstance(said, str) and said), "")


def is_web_url(url: str) -> bool:
    """Whether `url` is an http or https URL."""
    return url[:8].lower().startswith(("http://", "https://"))


def merged(body: JSONObject, extra: JSONObject) -> JSONObject:
    """`body` with `extra` over it. Objects on both sides are merged, anything else of `extra` replaces."""
    if not extra:
        return body
    result = dict(body)
    for key, value in extra.items():
        known = result.get(key)
        result[key] = merged(known, value) if isinstance(known, dict) and isinstance(value, dict) else value
    return result


def function_of(call: JSONObject) -> JSONObject | None:
    """The name and arguments of a call, where functions are all there is: the free text of a custom tool is what it is
    in a `ToolCall` too, `{"input": text}`. None for a call of any other type.
    """
    function = call.get("function")
    if isinstance(function, dict):
        return function
    custom = call.get("custom")
    if not isinstance(custom, dict) or not isinstance(custom.get("name"), str) or not custom["name"]:
        return None
    return {"name": custom["name"], "arguments": dumps({"input": custom.get("input", "")}).decode()}


def text_of(content: JSON) -> str:
    """The text of a message's content (a string, parts, or None), pieces joined without anything between them."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "".join(part["text"] for part in content if part.get("type") == "text" and isinstance(part.get("text"), str))


#: The alphabets of RFC 4648 sections 4 and 5, white space between, padding at the end.
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_\-\s]*+={0,2}+\s*+")
