"""The server's side of Anthropic's Messages API."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Final

from .script import Ask, ReceivedRequest, ReplyPlan, ScriptedError, ScriptedReply
from .served import (
    EPOCH,
    ServedWire,
    as_object,
    bad,
    count_tokens,
    json_object,
    model_of,
    named,
    parse_body,
    rfc3339,
    to_json,
    usage_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sans_io.decode.jsontext import JSON, JSONObject

    from .served import Settings


class ServedAnthropic(ServedWire):
    """`/v1/messages`: named events from `message_start` to `message_stop`; usage is cumulative."""

    name = "anthropic"
    models = ("claude-sonnet-5-5", "claude-haiku-5-5")
    content_type = "text/event-stream; charset=utf-8"
    ping = b'event: ping\ndata: {"type": "ping"}\n\n'

    def claims(self, request: ReceivedRequest) -> bool:
        return request.header("anthropic-version") is not None or request.path.startswith("/v1/messages")

    def ask(self, request: ReceivedRequest, server: Settings) -> Ask | None:
        if request.method != "POST" or request.path != "/v1/messages":
            return None
        return self._read(parse_body(request.body), request, server)

    def other(self, request: ReceivedRequest, server: Settings) -> ReplyPlan | JSONObject | None:
        if request.method == "POST" and request.path == "/v1/messages/count_tokens":
            body = parse_body(request.body) or {}
            return {"input_tokens": count_tokens(self._read({"max_tokens": 1, **body}, request, server))}
        if request.method == "GET" and request.path == "/v1/models":
            names = server.listed(self)
            data = [{"type": "model", "id": name, "display_name": name} for name in names]
            first, last = (names[0], names[-1]) if names else (None, None)
            return {"data": data, "has_more": False, "first_id": first, "last_id": last}
        return None

    def overflow(self, count: int, window: int) -> ScriptedError | None:
        return ScriptedError(f"prompt is too long: {count} tokens > {window} maximum", 400)

    def _read(self, body: JSON, request: ReceivedRequest, server: Settings) -> Ask:
        version = request.header("anthropic-version")
        if version is None:
            raise bad("anthropic-version: header is required")
        body = json_object(body)
        server.hold_to_rules(self, body, version)
        return anthropic_ask(body, check_signatures=server.check_signatures)

    def plain(self, reply: ScriptedReply, ask: Ask, number: int) -> JSONObject:
        content: list[JSONObject] = []
        if reply.reasoning:
            thinking = "".join(reply.reasoning_pieces)
            content.append({"type": "thinking", "thinking": thinking, "signature": signature(thinking)})
        if reply.text_pieces:
            content.append({"type": "text", "text": "".join(reply.text_pieces)})
        content.extend(
            {"type": "tool_use", "id": call_id, "name": call.name, "input": as_object(call)}
            for call_id, call in named(reply, "toolu", number)
        )
        return {**self._message(reply, ask, number), **self._ending(reply), "content": content,
                "usage": self._usage(reply, ask)}  # fmt: skip

    def stream(self, reply: ScriptedReply, ask: Ask, number: int) -> Iterator[bytes]:
        usage = self._usage(reply, ask)
        started = {**self._message(reply, ask, number), "content": [], "stop_reason": None, "stop_sequence": None,
                   "usage": {**usage, "output_tokens": 1}}  # fmt: skip
        yield _event({"type": "message_start", "message": started})
        index = 0
        if reply.reasoning:
            yield _block_start(index, {"type": "thinking", "thinking": "", "signature": ""})
            for piece in reply.reasoning_pieces:
                yield _block_delta(index, {"type": "thinking_delta", "thinking": piece})
            sealed = signature("".join(reply.reasoning_pieces))
            yield _block_delta(index, {"type": "signature_delta", "signature": sealed})
            yield _event({"type": "content_block_stop", "index": index})
            index += 1
        if reply.text_pieces:
            yield _block_start(index, {"type": "text", "text": ""})
            for piece in reply.text_pieces:
                yield _block_delta(index, {"type": "text_delta", "text": piece})
            yield _event({"type": "content_block_stop", "index": index})
            index += 1
        for call_id, call in named(reply, "toolu", number):
            yield _block_start(index, {"type": "tool_use", "id": call_id, "name": call.name, "input": {}})
            for fragment in ("", *call.fragments):
                yield _block_delta(index, {"type": "input_json_delta", "partial_json": fragment})
            yield _event({"type": "content_block_stop", "index": index})
            index += 1
        if reply.stream_error is not None:
            yield _event(self.error(reply.stream_error, number))
            return
        if reply.terminal:
            yield _event({"type": "message_delta", "delta": self._ending(reply), "usage": usage})
            yield _event({"type": "message_stop"})

    def error(self, error: ScriptedError, number: int) -> JSONObject:
        kinds = {400: "invalid_request_error", 401: "authentication_error", 402: "billing_error",
                 403: "permission_error", 404: "not_found_error", 409: "conflict_error", 413: "request_too_large",
                 429: "rate_limit_error", 504: "timeout_error", 529: "overloaded_error"}  # fmt: skip
        kind = error.type or kinds.get(error.status, "invalid_request_error" if error.status < 500 else "api_error")
        inner: JSONObject = {"type": kind, "message": error.message}
        if error.code is not None:
            inner["details"] = {"error_code": error.code}
        return {"type": "error", "error": {**inner, **error.extra}, "request_id": f"req_{number:08x}"}

    def headers(self, number: int) -> list[tuple[str, str]]:
        return [("request-id", f"req_{number:08x}")]

    def rate_limit(self, numbers: Mapping[str, float]) -> list[tuple[str, str]]:
        made = []
        for name, value in numbers.items():
            shown = rfc3339(EPOCH + value) if "reset" in name.split("-") else f"{value:g}"
            made.append((f"anthropic-ratelimit-{name}", shown))
        return made

    def _message(self, reply: ScriptedReply, ask: Ask, number: int) -> JSONObject:
        return {"id": f"msg_{number:08x}", "type": "message", "role": "assistant", "model": model_of(reply, ask)}

    def _ending(self, reply: ScriptedReply) -> JSONObject:
        words = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal",
                 "pause": "pause_turn"}  # fmt: skip
        reason = "stop_sequence" if reply.stop_sequence else words.get(reply.finish, reply.finish)
        return {"stop_reason": reply.raw_finish_reason or reason, "stop_sequence": reply.stop_sequence}

    def _usage(self, reply: ScriptedReply, ask: Ask) -> JSONObject:
        """`input_tokens` leaves cached ones out on this wire."""
        usage = usage_of(reply, ask)
        cached, written = usage.cached_tokens or 0, usage.cache_write_tokens or 0
        return {
            "input_tokens": (usage.input_tokens or 0) - cached - written,
            "cache_creation_input_tokens": written,
            "cache_read_input_tokens": cached,
            "output_tokens": usage.output_tokens or 0,
        }


SERVED: Final = ServedAnthropic()


def anthropic_ask(body: JSONObject, *, check_signatures: bool = True) -> Ask:
    """POST /v1/messages."""
    read: list[tuple[str, str]] = []
    if body.get("system"):
        read.append(("system", _text(body["system"])))
    for index, message in enumerate(body["messages"]):
        role, content = message["role"], message["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        for position, block in enumerate(blocks):
            kind = block["type"]
            if kind == "tool_result":
                read.append(("tool", _text(block.get("content") or "")))
            elif kind == "text":
                read.append((role, block["text"]))
            elif kind == "thinking" and check_signatures and block["signature"] != signature(block["thinking"]):
                raise bad(f"messages.{index}.content.{position}: Invalid `signature` in `thinking` block")
    # The server's own tools are named by a dated type.
    own = [tool for tool in body.get("tools") or [] if tool.get("type", "custom") == "custom"]
    tools = [(tool["name"], tool["input_schema"]) for tool in own]
    choice: JSONObject = body.get("tool_choice") or {"type": "auto"}
    kind_of_choice = str(choice.get("type", "auto"))
    thinking = (body.get("thinking") or {}).get("type")
    output_format = (body.get("output_config") or {}).get("format")
    return Ask(
        wire="anthropic",
        model=body.get("model") or "",
        messages=tuple(read),
        tools=tuple(tools),
        tool_choice={"any": "required", "tool": str(choice.get("name"))}.get(kind_of_choice, kind_of_choice),
        parallel=not choice.get("disable_parallel_tool_use"),
        stream=bool(body.get("stream")),
        include_usage=True,
        max_tokens=body["max_tokens"],
        stop=tuple(body.get("stop_sequences") or ()),
        schema=None if output_format is None else output_format.get("schema", {}),
        reasoning=thinking in {"enabled", "adaptive"},
        body=body,
    )


def signature(thinking: str) -> str:
    """The signature under a thinking block that this server made: a changed block is found out."""
    return base64.b64encode(hashlib.sha256(thinking.encode()).digest()).decode()


def _text(content: JSON) -> str:
    if isinstance(content, str):
        return content
    return "".join(block.get("text", "") for block in content if block.get("type") == "text")


def _event(value: JSONObject) -> bytes:
    return b"event: " + str(value["type"]).encode() + b"\ndata: " + to_json(value) + b"\n\n"


def _block_start(index: int, block: JSONObject) -> bytes:
    return _event({"type": "content_block_start", "index": index, "content_block": block})


def _block_delta(index: int, delta: JSONObject) -> bytes:
    return _event({"type": "content_block_delta", "index": index, "delta": delta})
