"""What the server's side of every wire has: requests read and checked, a `ScriptedReply` as JSON or as a stream.

Rules of this file and of those beside it that are named like a wire's package (`openai_chat`, `anthropic`, `ollama`):
- The inverse of the clients' codecs, written from the vendors' documents and not from those codecs: they import none.
- A request is held to its vendor's rules first (`hold_to_rules`); what reads it then relies on its shape.
- Nothing is read from another wire's vocabulary: a codec that sends the wrong field must not get away with it.
- One piece is one event, as servers that flush every event send them. Nothing here knows HTTP framing.
- No clock and no dice: ids and times come from the number of the reply.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from datetime import UTC, datetime
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol

from sans_io.chat.response import Usage
from sans_io.providers.registry import WIRES

from .answers import tokens
from .script import Ask, ReceivedRequest, RefusedError, ReplyPlan, ScriptedError, ScriptedReply, ToolUse

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sans_io.decode.jsontext import JSON, JSONObject

#: 2026-11-22T12:00:00Z: what this server believes the time to be.
EPOCH: Final = 1_795_348_800


class Settings(Protocol):
    """What a wire looks up of the server that speaks it."""

    strict_models: bool
    check_signatures: bool
    #: A `ModelLibrary`; its file needs this one.
    library: Any

    def listed(self, wire: ServedWire) -> Sequence[str]: ...

    def hold_to_rules(self, wire: ServedWire, body: JSONObject, version: str | None = None) -> None:
        """Raise `RefusedError` for what the vendor of this server would refuse in a chat request."""


class ServedWire(ABC):
    """The server's side of one wire. `number` counts the replies of a server; `models` are listed by default."""

    name: ClassVar[str]
    models: ClassVar[tuple[str, ...]]
    content_type: ClassVar[str]
    ping: ClassVar[bytes] = b""

    # -- requests -----------------------------------------------------------------------------------------------------

    def claims(self, request: ReceivedRequest) -> bool:  # noqa: ARG002
        """Whether a server of all wires takes this request for one of this wire. OpenAI's has what is left."""
        return False

    def needs_key(self, request: ReceivedRequest) -> bool:  # noqa: ARG002
        return True

    @abstractmethod
    def ask(self, request: ReceivedRequest, server: Settings) -> Ask | None:
        """The chat that is asked for, or None if this is another request. Raises `RefusedError`."""

    def other(self, request: ReceivedRequest, server: Settings) -> ReplyPlan | JSONObject | None:  # noqa: ARG002
        """The answer to a request that is no chat; None if nothing is at this path."""
        return None

    def unknown(self, request: ReceivedRequest) -> ReplyPlan:
        """The answer where nothing is. Raises `RefusedError`."""
        raise RefusedError(ScriptedError(f"Unknown request URL: {request.method} {request.path}.", 404))

    def require(self, model: str, server: Settings) -> None:
        """Refuse a model that is not there."""
        if server.strict_models and model not in server.listed(self):
            raise RefusedError(
                ScriptedError(f"The model `{model}` does not exist or you do not have access to it.", 404)
            )

    @abstractmethod
    def overflow(self, count: int, window: int) -> ScriptedError | None:
        """The refusal of a prompt of `count` tokens, or None where the vendor drops what does not fit, silently."""

    # -- replies ------------------------------------------------------------------------------------------------------

    @abstractmethod
    def plain(self, reply: ScriptedReply, ask: Ask, number: int) -> JSONObject: ...
    @abstractmethod
    def stream(self, reply: ScriptedReply, ask: Ask, number: int) -> Iterator[bytes]: ...
    @abstractmethod
    def error(self, error: ScriptedError, number: int) -> JSONObject: ...

    def headers(self, number: int) -> list[tuple[str, str]]:  # noqa: ARG002
        return []

    def rate_limit(self, numbers: Mapping[str, float]) -> list[tuple[str, str]]:  # noqa: ARG002
        return []


@cache
def served(name: str) -> ServedWire:
    """The server's side of a wire of the registry, from the file here that is named like the wire's package."""
    wire: ServedWire = import_module(f".{WIRES[name].package}", __package__).SERVED
    return wire


# -- requests ---------------------------------------------------------------------------------------------------------


def parse_body(data: bytes) -> JSON:
    """A request body as JSON, or the refusal that vendors give."""
    try:
        return json.loads(data)
    except ValueError:
        raise bad("We could not parse the JSON body of your request.") from None


def json_object(body: JSON) -> JSONObject:
    if not isinstance(body, dict):
        raise bad("Invalid body: expected a JSON object.")
    return body


def bad(message: str, code: str | None = None, *, param: str | None = None) -> RefusedError:
    extra = {} if param is None else {"param": param}
    return RefusedError(ScriptedError(message, 400, code=code, extra=extra))


def count_tokens(ask: Ask) -> int:
    """What this server counts as the prompt: a piece for each word or sign, and three for each message."""
    return sum(len(tokens(text)) + 3 for _, text in ask.messages)


# -- replies ----------------------------------------------------------------------------------------------------------


def to_json(value: JSON) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def usage_of(reply: ScriptedReply, ask: Ask) -> Usage:
    if reply.usage is not None:
        return reply.usage
    out = 0
    for said in (reply, *reply.more_choices):
        out += sum(len(tokens(piece)) for piece in (*said.text_pieces, *said.reasoning_pieces))
        out += sum(len(tokens(call.text)) for call in said.tool_calls)
    return Usage(count_tokens(ask), out)


def log_probabilities(pieces: Sequence[str], ask: Ask) -> list[JSONObject] | None:
    """An entry for each piece, each as likely as the next, with as many alternatives as were asked for; else None."""
    if not ask.body.get("logprobs"):
        return None
    count = ask.body.get("top_logprobs") or 0

    def entry(token: str, logprob: float) -> JSONObject:
        return {"token": token, "logprob": logprob, "bytes": list(token.encode())}

    return [
        entry(piece, -0.5)
        | {"top_logprobs": [entry(piece if rank == 0 else f"other{rank}", -0.5 - rank) for rank in range(count)]}
        for piece in pieces
    ]


def model_of(reply: ScriptedReply, ask: Ask) -> str:
    return ask.model if reply.model is None else reply.model


def named(reply: ScriptedReply, prefix: str, number: int) -> Iterator[tuple[str, ToolUse]]:
    for position, call in enumerate(reply.tool_calls):
        yield (f"{prefix}_{number:06x}{position:02x}" if call.id is None else call.id), call


def as_object(call: ToolUse) -> JSONObject:
    """Arguments for a wire that has objects: what cannot be one is lost there, as it is on real servers."""
    try:
        value = json.loads(call.text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
