"""The shapes of messages and tools, for users who type-check; at run time these are plain dicts.

Rules of this file:
- A key is required only where every server needs it. Keys of one vendor's are allowed by the checks, not listed here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal, NotRequired, TypeAlias, TypedDict

from ..decode.jsontext import JSON

#: How an answer ended, in our words: the same on every wire.
FinishReason: TypeAlias = Literal["stop", "length", "tool_calls", "content_filter", "pause", "error", "other"]

#: The key of an assistant message under which its native form is kept: `{"wire": <name>, ...}`, for that wire alone.
#: Only our own readers set it.
NATIVE: Final = "native"
#: Keys of a message that are ours or the user's: what a server sends under them is not kept.
NOT_FROM_SERVERS: Final = frozenset({NATIVE, "cache_control"})


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
    """What the model said; `response.message` is one, with the vendor's own keys beside these.

    `native` is what its wire wants back word for word; it is used there as long as `content` and `tool_calls` still say
    the same, and nowhere else.
    """

    role: Literal["assistant"]
    content: NotRequired[str | Sequence[TextPart] | None]
    tool_calls: NotRequired[Sequence[ToolCallEntry]]
    refusal: NotRequired[str | None]
    native: NotRequired[Mapping[str, JSON]]


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
    parameters: NotRequired[Mapping[str, JSON]]
    strict: NotRequired[bool]


class NestedTool(TypedDict):
    """A tool in OpenAI's form."""

    type: Literal["function"]
    function: Tool


class InputSchemaTool(TypedDict):
    """A tool in Anthropic's form."""

    name: str
    description: NotRequired[str]
    input_schema: Mapping[str, JSON]
    strict: NotRequired[bool]


AnyTool: TypeAlias = Tool | NestedTool | InputSchemaTool


# -- what comes back --------------------------------------------------------------------------------------------------


class TopLogprob(TypedDict):
    """A token that could have stood in this place, and the natural logarithm of its probability."""

    token: str
    logprob: float
    bytes: NotRequired[list[int] | None]


class TokenLogprob(TypedDict):
    """A token of the answer with its log probability, and the most likely ones in its place, as they were sent."""

    token: str
    logprob: float
    bytes: NotRequired[list[int] | None]
    top_logprobs: NotRequired[list[TopLogprob] | None]
