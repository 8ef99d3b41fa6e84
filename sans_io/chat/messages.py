"""What a user says: the request in its provider-neutral form, checked before anything is sent.

Rules of this file:
- Pure checking and normalising; no wire is known here. A codec refuses what its wire cannot express.
- Every refusal is an `LLMBadRequestError` that begins with the bad value's path: `messages[2].content[0].image_url`.
- The user's objects are never changed; what needs no change is used as it is, what does is copied on the way.
- Unknown keys are kept: vendors require theirs back (reasoning, signatures). Ranges are left to the server.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal, NotRequired, TypeAlias, TypedDict

from ..decode import jsontext
from ..decode.jsontext import JSON, JSONObject
from ..errors import LLMBadRequestError
from ..records import dataclass, field
from .message_checks import bad, check_json, checked_message, checked_parts
from .tool_checks import checked_response_format, checked_tool_choice, checked_tools

# -- the shapes, for users who type-check ---------------------------------------------------------------------------


class TextPart(TypedDict):
    """A piece of text in a list of content parts."""

    type: Literal["text"]
    text: str


class ImageURL(TypedDict):
    """Where an image is: an http(s) URL or a `data:image/...;base64,...` URL."""

    url: str
    detail: NotRequired[str]


class ImagePart(TypedDict):
    """An image in a list of content parts."""

    type: Literal["image_url"]
    image_url: ImageURL


class InputAudio(TypedDict):
    """Audio as base64; `format` is "wav" or "mp3"."""

    data: str
    format: str


class AudioPart(TypedDict):
    """A recording in a list of content parts."""

    type: Literal["input_audio"]
    input_audio: InputAudio


class FileData(TypedDict, total=False):
    """A file by `file_id`, or by `file_data` (a data URL) with its `filename`."""

    file_id: str
    file_data: str
    filename: str


class FilePart(TypedDict):
    """A document in a list of content parts."""

    type: Literal["file"]
    file: FileData


ContentPart: TypeAlias = TextPart | ImagePart | AudioPart | FilePart


class SystemMessage(TypedDict):
    """Instructions; "developer" is OpenAI's newer word for the same."""

    role: Literal["system", "developer"]
    content: str | Sequence[TextPart]


class UserMessage(TypedDict):
    """What the user says."""

    role: Literal["user"]
    content: str | Sequence[ContentPart]
    name: NotRequired[str]


class FunctionCall(TypedDict):
    """Name and arguments of a call; the arguments are JSON text (a dict is accepted too)."""

    name: str
    arguments: str


class ToolCallEntry(TypedDict):
    """One entry of `tool_calls` in an assistant message."""

    id: str
    type: Literal["function"]
    function: FunctionCall


class AssistantMessage(TypedDict):
    """What the model said; `response.message` is one, with the vendor's own keys beside these."""

    role: Literal["assistant"]
    content: NotRequired[str | Sequence[TextPart] | None]
    tool_calls: NotRequired[Sequence[ToolCallEntry]]


class ToolMessage(TypedDict):
    """The result of a tool call; `ToolCall.result()` makes one."""

    role: Literal["tool"]
    tool_call_id: str
    content: str | Sequence[ContentPart]
    name: NotRequired[str]
    is_error: NotRequired[bool]


Message: TypeAlias = SystemMessage | UserMessage | AssistantMessage | ToolMessage


class Tool(TypedDict):
    """A tool in its short form; `parameters` is a JSON Schema of type object."""

    name: str
    description: NotRequired[str]
    parameters: NotRequired[Mapping[str, object]]


class NestedTool(TypedDict):
    """A tool in OpenAI's form."""

    type: Literal["function"]
    function: Tool


class InputSchemaTool(TypedDict):
    """A tool in Anthropic's form."""

    name: str
    description: NotRequired[str]
    input_schema: Mapping[str, object]


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
    `response_format`: None, `{"type": "text"}`, `{"type": "json_object"}`, or `{"type": "json_schema", "json_schema":
    {"name", "schema", ...}}`, or a dict with another `type` as given.
    """

    messages: tuple[JSONObject, ...]
    model: str | None = None
    system: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    tools: tuple[JSONObject, ...] = ()
    tool_choice: JSON = None
    stream: bool = False
    top_p: float | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    response_format: JSON = None
    reasoning_effort: str | None = None
    parallel_tool_calls: bool | None = None
    n: int | None = None
    extra_body: JSONObject = field(default_factory=dict)
    extra_headers: tuple[tuple[str, str], ...] = ()


_PLAIN_ROLES: Final = frozenset({"user", "assistant", "system", "developer"})


def chat_request(
    messages: JSON,
    model: str | None = None,
    *,
    system: JSON = None,
    temperature: float | None = None,
    max_tokens: int | None = None,
    tools: JSON = None,
    tool_choice: JSON = None,
    stream: bool = False,
    top_p: float | None = None,
    stop: JSON = None,
    seed: int | None = None,
    response_format: JSON = None,
    reasoning_effort: str | None = None,
    parallel_tool_calls: bool | None = None,
    n: int | None = None,
    extra_body: Mapping[str, JSON] | None = None,
    extra_headers: Mapping[str, str] | None = None,
) -> ChatRequest:
    """Check and normalise what a user passed to `chat()`; give the result to a codec's `build()` or `operation()`.

    `system` is a string, or a list of text parts (which becomes a leading system message). `stop` is a string or a
    list of strings. Raises `LLMBadRequestError` naming the path of the first bad value.
    """
    checked = _checked_messages(messages)
    if system is not None and not isinstance(system, str):
        checked.insert(0, {"role": "system", "content": checked_parts(system, "system")})
        system = None
    checked_tool_list = checked_tools(tools) if tools is not None else ()
    extra_body = _checked_extra_body(extra_body)
    return ChatRequest(
        messages=tuple(checked),
        model=None if model is None else _text(model, "model"),
        system=system or None,
        temperature=None if temperature is None else _number(temperature, "temperature"),
        max_tokens=None if max_tokens is None else _integer(max_tokens, "max_tokens", 0),
        tools=checked_tool_list,
        tool_choice=None
        if tool_choice is None
        else checked_tool_choice(tool_choice, checked_tool_list, elsewhere="tools" in extra_body),
        stream=stream,
        top_p=None if top_p is None else _number(top_p, "top_p"),
        stop=() if stop is None else _stop(stop),
        seed=None if seed is None else _integer(seed, "seed", None),
        response_format=None if response_format is None else checked_response_format(response_format),
        reasoning_effort=None if reasoning_effort is None else _text(reasoning_effort, "reasoning_effort"),
        parallel_tool_calls=None
        if parallel_tool_calls is None
        else _boolean(parallel_tool_calls, "parallel_tool_calls"),
        n=None if n is None else _integer(n, "n", 1),
        extra_body=extra_body,
        extra_headers=() if extra_headers is None else checked_headers(extra_headers, "extra_headers"),
    )


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
        hint = ' (a list like [{"role": "user", "content": "Hello"}])' if isinstance(messages, (str, dict)) else ""
        raise bad("messages", f"must be a list of messages, not {type(messages).__name__}{hint}")
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


def _text(value: JSON, path: str) -> str:
    if not isinstance(value, str):
        raise bad(path, f"must be a string, not {type(value).__name__}")
    if not value.strip():
        raise bad(path, "is empty")
    if not value.isprintable():
        raise bad(path, "contains a control character or a lone surrogate")
    return value


def _number(value: JSON, path: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise bad(path, f"must be a number, not {type(value).__name__}")
    if not -1e300 < value < 1e300:
        raise bad(path, "must be a finite number")
    return value


def _integer(value: JSON, path: str, least: int | None) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise bad(path, f"must be an integer, not {type(value).__name__}")
    if least is not None and value < least:
        raise bad(path, f"must be at least {least}, not {value}")
    if not -(2**63) <= value < 2**63:
        raise bad(path, "does not fit in 64 bits")
    return value


def _boolean(value: JSON, path: str) -> bool:
    if not isinstance(value, bool):
        raise bad(path, f"must be True or False, not {type(value).__name__}")
    return value


def _stop(value: JSON) -> tuple[str, ...]:
    if isinstance(value, str):
        value = (value,)
    if not isinstance(value, (list, tuple)):
        raise bad("stop", f"must be a string or a list of strings, not {type(value).__name__}")
    for i, text in enumerate(value):
        if not isinstance(text, str) or not text:
            raise bad(f"stop[{i}]", "must be a string that is not empty")
        check_json(text, f"stop[{i}]")
    return tuple(value)


def _checked_extra_body(value: JSON) -> JSONObject:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise bad("extra_body", f"must be a dict, not {type(value).__name__}")
    if "stream" in value:
        raise bad("extra_body.stream", "is decided by calling chat() or chat_stream()")
    body = dict(value)
    check_json(body, "extra_body")
    return body


#: Header fields that frame the message or name the connection: ours alone (RFC 9110 section 7.6.1, RFC 9112).
_OWN_HEADERS: Final = frozenset({
    "host", "content-length", "transfer-encoding", "connection", "keep-alive", "te", "trailer", "upgrade", "expect",
    "accept-encoding", "proxy-authorization", "proxy-connection",
})  # fmt: skip
_TOKEN: Final = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


def checked_headers(value: JSON, what: str) -> tuple[tuple[str, str], ...]:
    """Header fields a user adds, as pairs. `what` names the argument. Values are never echoed: they may be keys."""
    if isinstance(value, Mapping):
        pairs: Iterable[JSON] = value.items()
    elif isinstance(value, (list, tuple)):
        pairs = value
    else:
        raise bad(what, f"must be a dict of strings, not {type(value).__name__}")
    checked = []
    for pair in pairs:
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            raise bad(what, "must be a dict of strings or pairs of strings")
        name, text = pair
        if not isinstance(name, str) or not name or not _TOKEN.issuperset(name):
            raise bad(what, "has a field name that is not an HTTP token")
        path = f"{what}[{name!r}]"
        if name.lower() in _OWN_HEADERS:
            raise bad(path, "is set by the client itself")
        if not isinstance(text, str):
            raise bad(path, f"must be a string, not {type(text).__name__}")
        if not text.isascii() or not text.isprintable() or text != text.strip():
            raise bad(path, "contains a control or non-ASCII character, or white space at an end; it is not shown")
        checked.append((name, text))
    return tuple(checked)
