"""What a test server is to say, and what it has been asked: plain data, the same for all wires.

Rules of this file:
- Provider-neutral words only; `wires` translates them, as the codecs of the clients do in the other direction.
- Sequences are pieces: each element goes out as an event of its own in a stream, and all are joined in a plain reply.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

from sans_io.chat.response import Usage

if TYPE_CHECKING:
    from sans_io.decode.jsontext import JSON, JSONObject

#: The name of a wire in `sans_io.providers.registry`.
WireName: TypeAlias = str
#: What becomes of a connection after `cut_after` bytes: closed in order, reset, or left open without another byte.
AfterCut: TypeAlias = Literal["fin", "rst", "silence"]
Framing: TypeAlias = Literal["auto", "length", "chunked", "close"]

SECRET_HEADERS = frozenset({"authorization", "x-api-key", "api-key", "proxy-authorization", "cookie"})


@dataclass(frozen=True, slots=True)
class ToolUse:
    """A tool call to make. `arguments`: an object, or the raw text of one (cut or invalid, if that is the point).

    `pieces`: how its text is cut in a stream (None: every eight characters). `id` None: the server makes one.
    """

    name: str
    arguments: Mapping[str, JSON] | str = field(default_factory=dict)
    id: str | None = None
    pieces: Sequence[str] | None = None

    @property
    def text(self) -> str:
        if isinstance(self.arguments, str):
            return self.arguments
        return json.dumps(dict(self.arguments), ensure_ascii=False, separators=(",", ":"))

    @property
    def fragments(self) -> Sequence[str]:
        if self.pieces is not None:
            return self.pieces
        text = self.text
        return [text[start : start + 8] for start in range(0, len(text), 8)]


@dataclass(frozen=True, slots=True)
class ScriptedError:
    """A refusal. `type` and `code` default to what the wire's vendor says for this status; `extra` joins the body."""

    message: str
    status: int = 500
    type: str | None = None
    code: str | int | None = None
    extra: Mapping[str, JSON] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ScriptedReply:
    """One answer: what is said, how it ends, and what goes wrong on the way. Times are seconds.

    What is said: `text`, `reasoning`, `refusal`, `tool_calls`, `finish_reason` (normalised word; None: "stop", or
    "tool_calls" when there are any) or `raw_finish_reason`, `stop_sequence`, `usage` (None: counted), `model` (None:
    the one asked for), `more_choices` (each needs only what is said).
    Refusals: `error` instead of an answer; `stream_error` in mid-stream, after everything that is said.
    Head: `status`, `headers` (added), `rate_limit` (`{"limit-requests": 60, "remaining-requests": 59,
    "reset-requests": 1.5}`, named as the wire names them), `retry_after`.
    Body: `body` (verbatim, instead of everything), `framing`, `pings` (keep-alives before every piece), `terminal`
    (False: the stream lacks its last event), `surplus` (bytes after the complete response; `surplus_delay` None: in
    the same segment), `cut_after` (bytes of the body, then `after_cut`), `close` (Connection: close).
    Pace: `head_delay`, `first_delay` (head to first piece), `delay` (between pieces), `informational` (1xx first).
    """

    text: str | Sequence[str] = ""
    reasoning: str | Sequence[str] = ""
    refusal: str | None = None
    tool_calls: Sequence[ToolUse] = ()
    finish_reason: str | None = None
    raw_finish_reason: str | None = None
    stop_sequence: str | None = None
    usage: Usage | None = None
    model: str | None = None
    more_choices: Sequence[ScriptedReply] = ()
    error: ScriptedError | None = None
    stream_error: ScriptedError | None = None
    status: int = 200
    headers: Sequence[tuple[str, str]] = ()
    rate_limit: Mapping[str, float] = field(default_factory=dict)
    retry_after: float | None = None
    body: bytes | None = None
    framing: Framing = "auto"
    pings: int = 0
    terminal: bool = True
    surplus: bytes = b""
    surplus_delay: float | None = None
    cut_after: int | None = None
    after_cut: AfterCut = "fin"
    close: bool = False
    head_delay: float = 0.0
    first_delay: float = 0.0
    delay: float = 0.0
    informational: int = 0

    @property
    def text_pieces(self) -> Sequence[str]:
        return _pieces(self.text)

    @property
    def reasoning_pieces(self) -> Sequence[str]:
        return _pieces(self.reasoning)

    @property
    def finish(self) -> str:
        return self.finish_reason or ("tool_calls" if self.tool_calls else "stop")

    def with_(self, **changes: JSON) -> ScriptedReply:
        """A copy with these fields changed."""
        return replace(self, **changes)


@dataclass(frozen=True, slots=True)
class ReceivedRequest:
    """A request as it came in; header names are lower-case. Its repr shows no credentials."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    #: The number of the connection it came on, counted by the server that accepted it; None in process.
    connection: int | None = None

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    def header(self, name: str) -> str | None:
        """The first field of this (lower-case) name."""
        return next((value for key, value in self.headers if key == name), None)

    def json(self) -> JSON:
        """The body parsed; `ValueError` if it is not JSON."""
        return json.loads(self.body)

    def __repr__(self) -> str:
        shown = {name: "***" if name in SECRET_HEADERS else value for name, value in self.headers}
        return f"ReceivedRequest({self.method} {self.target} {shown} {len(self.body)} bytes)"


@dataclass(frozen=True, slots=True)
class Ask:
    """A chat request in neutral words, read from whichever wire it came on.

    `messages` are (role, text) pairs, tool results with the role "tool"; `tools` are (name, JSON schema) pairs;
    `tool_choice` is "auto", "none", "required" or a tool's name; `schema` is what `response_format` asks for (`{}`:
    any JSON). `body` is the request as it came.
    """

    wire: WireName
    model: str
    messages: tuple[tuple[str, str], ...]
    tools: tuple[tuple[str, JSONObject], ...] = ()
    tool_choice: str = "auto"
    parallel: bool = True
    stream: bool = False
    include_usage: bool = False
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    n: int = 1
    schema: JSONObject | None = None
    reasoning: bool = False
    body: JSONObject = field(default_factory=dict)

    @property
    def last(self) -> tuple[str, str]:
        return self.messages[-1] if self.messages else ("user", "")

    @property
    def last_user_text(self) -> str:
        return next((text for role, text in reversed(self.messages) if role == "user"), "")


@dataclass(frozen=True, slots=True)
class ReplyPlan:
    """A whole response before HTTP framing: `pieces` are (delay in seconds, body bytes), sent one write each."""

    status: int
    headers: tuple[tuple[str, str], ...]
    pieces: tuple[tuple[float, bytes], ...] = ()
    framing: Framing = "auto"
    head_delay: float = 0.0
    informational: int = 0
    surplus: bytes = b""
    surplus_delay: float | None = None
    cut_after: int | None = None
    after_cut: AfterCut = "fin"
    close: bool = False

    @property
    def body(self) -> bytes:
        return b"".join(data for _, data in self.pieces)


class RefusedError(Exception):
    """Raised while a request is read: the answer is this error."""

    def __init__(self, error: ScriptedError) -> None:
        super().__init__(error.message)
        self.error = error


def _pieces(text: str | Sequence[str]) -> Sequence[str]:
    if isinstance(text, str):
        return (text,) if text else ()
    return text
