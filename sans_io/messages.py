"""What a user says: the request in its provider-neutral form."""

from __future__ import annotations

from dataclasses import dataclass, field

from .jsontext import JSON, JSONObject


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A chat in OpenAI-shaped terms, checked and normalised by `chat_request()`; every codec translates it.

    None means "not said": nothing is sent for it.
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
