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
    messages_of,
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

#: API versions from this one on refuse sampling parameters.
_WITHOUT_SAMPLING: Final = "2026-10-21"


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
        return anthropic_ask(body, request.header("anthropic-version"), check_signatures=server.check_signatures)

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


def anthropic_ask(body: JSON, version: str | None, *, check_signatures: bool = True) -> Ask:
    """POST /v1/messages under the API version of the `anthropic-version` header."""
    body = json_object(body)
    if version is None:
        raise bad("anthropic-version: header is required")
    if not isinstance(body.get("max_tokens"), int):
        raise bad("max_tokens: Field required")
    if version >= _WITHOUT_SAMPLING:
        for name in ("temperature", "top_p", "top_k"):
            if name in body:
                raise bad(f"{name}: Extra inputs are not permitted")
    read: list[tuple[str, str]] = []
    if body.get("system"):
        read.append(("system", _text(body["system"])))
    open_uses: set[str] = set()
    for index, message in enumerate(messages_of(body, bad("messages: at least one message is required"))):
        role, content = message.get("role"), message.get("content")
        if role not in {"user", "assistant", "system"}:
            raise bad(f"messages.{index}.role: Input should be 'user', 'assistant' or 'system'")
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        if not isinstance(blocks, list):
            raise bad(f"messages.{index}.content: Input should be a valid list")
        results = {block.get("tool_use_id") for block in blocks if block.get("type") == "tool_result"}
        if role == "user" and open_uses - results:
            missing = ", ".join(sorted(open_uses - results))
            raise bad(f"messages.{index}: `tool_use` ids were found without `tool_result` blocks immediately after: "
                       f"{missing}. Each `tool_use` block must have a corresponding `tool_result` block in the next "
                       f"message.")  # fmt: skip
        if results - open_uses:
            unknown = ", ".join(sorted(str(each) for each in results - open_uses))
            raise bad(
                f"messages.{index}.content.0: unexpected `tool_use_id` found in `tool_result` blocks: {unknown}. "
                "Each `tool_result` block must have a corresponding `tool_use` block in the previous message."
            )
        open_uses = set()
        for position, block in enumerate(blocks):
            where = f"messages.{index}.content.{position}"
            kind = block.get("type")
            if kind == "tool_use":
                if not isinstance(block.get("input"), dict):
                    raise bad(f"{where}.tool_use.input: Input should be a valid dictionary")
                open_uses.add(block.get("id"))
            elif kind == "tool_result":
                read.append(("tool", _text(block.get("content") or "")))
            elif kind == "text":
                if not block.get("text"):
                    raise bad(f"{where}: text content blocks must be non-empty")
                read.append((role, block["text"]))
            elif kind == "thinking" and check_signatures:
                if block.get("signature") != signature(block.get("thinking", "")):
                    raise bad(f"{where}: Invalid `signature` in `thinking` block")
            elif kind == "image" and block.get("source", {}).get("type") not in {"base64", "url", "file"}:
                raise bad(f"{where}.image.source: Input tag does not match any of the expected tags")
    tools: list[tuple[str, JSONObject]] = []
    for index, tool in enumerate(body.get("tools") or []):
        if "type" in tool and tool["type"] != "custom":
            continue  # a server tool, named by its dated type
        if not isinstance(tool.get("input_schema"), dict):
            raise bad(f"tools.{index}.custom.input_schema: Field required")
        tools.append((tool["name"], tool["input_schema"]))
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
