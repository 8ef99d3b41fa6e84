"""What a user says: the request in its provider-neutral form, checked before anything is sent.

Rules of this file:
- Pure checking and normalising; no wire is known here. A codec refuses what its API does not support.
- Every refusal is an `LLMBadRequestError` that begins with the bad value's path: `messages[2].content[0].image_url`.
- The user's objects are never changed; what needs no change is used as it is, what does is copied on the way.
- Unknown keys are kept: vendors require theirs back (reasoning, signatures). Ranges are left to the server.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, Unpack

from ..decode import jsontext
from ..decode.jsontext import JSON, JSONObject
from ..errors import LLMBadRequestError
from ..records import dataclass, field
from .message_checks import EXAMPLE, bad, check_json, checked_message, checked_parts
from .options import checked_headers, checked_options, integer, number, text
from .tool_checks import checked_tool_choice, checked_tools

if TYPE_CHECKING:
    from .options import ChatOptions
    from .shapes import Message

__all__ = ["ChatRequest", "chat_request", "checked_headers", "encode_body"]

# -- the request ----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class ChatRequest:
    """A chat in OpenAI-shaped terms, checked and normalised by `chat_request()`; every codec translates it.

    None means "not said": nothing is sent for it. After `chat_request()`:
    `messages`: dicts with a known role; `content` is a string, a list of part dicts, or None (assistant only); an
    `image_url` part holds `{"url": ...}`; assistant `tool_calls` of type function have an id, a name and `arguments`
    as JSON text of an object; a tool message's `tool_call_id` was called earlier.
    `tools`: `{"type": "function", "function": {"name", "description"?, "parameters"?, ...}, ...}` for every client
    tool, or a provider's own server tool as given.
    `tool_choice`: None, "auto", "none", "required", `{"type": "function", "function": {"name"}}`, or a provider's
    own dict.
    `options`: what was said of `ChatOptions`, checked. `stop` is a list, `response_format` is `{"type": "text"}`,
    `{"type": "json_object"}`, `{"type": "json_schema", "json_schema": {"name", "schema", ...}}`, or a dict with another
    `type` as given.
    """

    messages: tuple[JSONObject, ...]
    model: str | None = None
    system: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    tools: tuple[JSONObject, ...] = ()
    tool_choice: JSON = None
    stream: bool = False
    options: JSONObject = field(default_factory=dict)
    extra_body: JSONObject = field(default_factory=dict)
    extra_headers: tuple[tuple[str, str], ...] = ()


_PLAIN_ROLES: Final = frozenset({"user", "assistant", "system", "developer"})


def chat_request(
    messages: Sequence[Message | Mapping[str, JSON]],
    model: str | None = None,
    *,
    system: JSON = None,
    temperature: float | None = None,
    max_tokens: int | None = None,
    tools: JSON = None,
    tool_choice: JSON = None,
    stream: bool = False,
    **options: Unpack[ChatOptions],
) -> ChatRequest:
    """Check and normalise what a user passed to `chat()`; give the result to a codec's `build()` or `operation()`.

    `system` is a string, or a list of text parts (which becomes a leading system message). Raises `LLMBadRequestError`
    naming the path of the first bad value, `TypeError` for an option that does not exist.
    """
    checked = _checked_messages(messages)
    if system is not None and not isinstance(system, str):
        checked.insert(0, {"role": "system", "content": checked_parts(system, "system")})
        system = None
    request = ChatRequest(
        tuple(checked),
        None if model is None else text(model, "model"),
        system or None,
        None if temperature is None else number(temperature, "temperature"),
        None if max_tokens is None else integer(max_tokens, "max_tokens", 0),
        () if tools is None else checked_tools(tools),
        None,
        stream,
    )
    if options:
        said = request.options = checked_options(options, "chat_request")
        request.extra_body = said.pop("extra_body", request.extra_body)
        request.extra_headers = said.pop("extra_headers", ())
    if tool_choice is not None:
        elsewhere = "tools" in request.extra_body
        request.tool_choice = checked_tool_choice(tool_choice, request.tools, elsewhere=elsewhere)
    return request


def encode_body(body: JSONObject) -> bytes:
    """The request body as JSON. Raises `LLMBadRequestError` naming the path of what JSON or UTF-8 cannot hold."""
    try:
        return jsontext.dumps(body)
    except jsontext.JSONTextError as error:
        for key, value in body.items():
            check_json(value, key)
        raise LLMBadRequestError(f"the request cannot be written as JSON: {error}", code="invalid_argument") from error


# -- single arguments -----------------------------------------------------------------------------------------------


def _checked_messages(messages: JSON) -> list[JSONObject]:
    if not isinstance(messages, (list, tuple)):
        raise bad("messages", f"must be a list of messages like [{EXAMPLE}], not {type(messages).__name__}")
    if not messages:
        raise bad("messages", "is empty")
    checked: list[JSONObject] = []
    called: set[str] = set()
    for i, message in enumerate(messages):
        # Most messages of most calls are exactly a role and a text.
        if type(message) is dict and len(message) == 2 and type(message.get("content")) is str:
            role = message.get("role")
            if type(role) is str and role in _PLAIN_ROLES:
                checked.append(message)
                continue
        checked.append(checked_message(message, f"messages[{i}]", called))
    return checked
