"""The three wires from the server's side: a `ScriptedReply` as a JSON body or as the pieces of a stream.

Rules of this file:
- The inverse of the clients' codecs, written from the vendors' documents and not from those codecs: it imports none.
- One piece is one event, as servers that flush every event send them. Nothing here knows HTTP framing.
- No clock and no dice: ids and times come from the number of the reply.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from sans_io.chat.response import Usage

from .answers import tokens
from .asks import signature
from .script import Ask, ScriptedError, ScriptedReply, ToolUse, WireName

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sans_io.decode.jsontext import JSON, JSONObject

#: 2026-11-22T12:00:00Z: what this server believes the time to be.
EPOCH = 1_795_348_800


class Wire(Protocol):
    """How one vendor's answers look. `number` counts the replies of a server."""

    def plain(self, reply: ScriptedReply, ask: Ask, number: int) -> JSONObject: ...
    def stream(self, reply: ScriptedReply, ask: Ask, number: int) -> Iterator[bytes]: ...
    def error(self, error: ScriptedError, number: int, /) -> JSONObject: ...
    def headers(self, number: int, /) -> list[tuple[str, str]]: ...
    def rate_limit(self, numbers: Mapping[str, float], /) -> list[tuple[str, str]]: ...

    ping: bytes
    content_type: str


class OpenAIWire:
    """`/v1/chat/completions`: one chunk per piece, usage in a chunk of its own, `[DONE]`."""

    ping = b": keep-alive\n\n"
    content_type = "text/event-stream"

    def plain(self, reply: ScriptedReply, ask: Ask, number: int) -> JSONObject:
        choices = []
        for index, said in enumerate((reply, *reply.more_choices)):
            message: JSONObject = {"role": "assistant", "content": "".join(said.text_pieces), "refusal": said.refusal}
            if said.tool_calls:
                message["content"] = message["content"] or None
                message["tool_calls"] = [
                    {"id": call_id, "type": "function", "function": {"name": call.name, "arguments": call.text}}
                    for call_id, call in _named(said, "call", number)
                ]
            if said.reasoning:
                message["reasoning_content"] = "".join(said.reasoning_pieces)
            choices.append({"index": index, "message": message, "logprobs": None, "finish_reason": self._finish(said)})
        return {
            **self._head(reply, ask, number, "chat.completion"),
            "choices": choices,
            "usage": self._usage(reply, ask),
        }

    def stream(self, reply: ScriptedReply, ask: Ask, number: int) -> Iterator[bytes]:
        head = self._head(reply, ask, number, "chat.completion.chunk")
        if ask.include_usage:
            head["usage"] = None

        def chunk(index: int, delta: JSONObject, finish: str | None = None) -> bytes:
            choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
            return _data({**head, "choices": [choice]})

        for index, said in enumerate((reply, *reply.more_choices)):
            yield chunk(index, {"role": "assistant", "content": "", "refusal": None})
            for piece in said.reasoning_pieces:
                yield chunk(index, {"reasoning_content": piece})
            for piece in said.text_pieces:
                yield chunk(index, {"content": piece})
            if said.refusal:
                yield chunk(index, {"refusal": said.refusal})
            for position, (call_id, call) in enumerate(_named(said, "call", number)):
                opened = {"name": call.name, "arguments": ""}
                yield chunk(
                    index,
                    {"tool_calls": [{"index": position, "id": call_id, "type": "function", "function": opened}]},
                )
                for fragment in call.fragments:
                    yield chunk(index, {"tool_calls": [{"index": position, "function": {"arguments": fragment}}]})
        if reply.stream_error is not None:
            yield _data(self.error(reply.stream_error, number))
            return
        for index, said in enumerate((reply, *reply.more_choices)):
            if reply.terminal:
                yield chunk(index, {}, self._finish(said))
        if ask.include_usage and reply.terminal:
            yield _data({**head, "choices": [], "usage": self._usage(reply, ask)})
        if reply.terminal:
            yield b"data: [DONE]\n\n"

    def error(self, error: ScriptedError, _number: int, /) -> JSONObject:
        kinds = {429: "requests", 401: "invalid_request_error", 404: "invalid_request_error"}
        codes = {429: "rate_limit_exceeded", 401: "invalid_api_key", 404: "model_not_found"}
        kind = error.type or kinds.get(error.status, "invalid_request_error" if error.status < 500 else "server_error")
        code = error.code if error.code is not None or error.type is not None else codes.get(error.status)
        return {"error": {"message": error.message, "type": kind, "param": None, "code": code, **error.extra}}

    def headers(self, number: int) -> list[tuple[str, str]]:
        return [("x-request-id", f"req_{number:08x}"), ("openai-processing-ms", "12")]

    def rate_limit(self, numbers: Mapping[str, float]) -> list[tuple[str, str]]:
        return [
            (f"x-ratelimit-{name}", _go_duration(value) if name.startswith("reset") else f"{value:g}")
            for name, value in numbers.items()
        ]

    def _head(self, reply: ScriptedReply, ask: Ask, number: int, kind: str) -> JSONObject:
        return {
            "id": f"chatcmpl-{number:08x}",
            "object": kind,
            "created": EPOCH + number,
            "model": _model(reply, ask),
            "system_fingerprint": "fp_test",
        }

    def _usage(self, reply: ScriptedReply, ask: Ask) -> JSONObject:
        usage = _usage(reply, ask)
        return {
            "prompt_tokens": usage.input_tokens,
            "completion_tokens": usage.output_tokens,
            "total_tokens": (usage.input_tokens or 0) + (usage.output_tokens or 0),
            "prompt_tokens_details": {"cached_tokens": usage.cached_tokens or 0},
            "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens or 0},
        }

    def _finish(self, said: ScriptedReply) -> str:
        return said.raw_finish_reason or {"pause": "stop"}.get(said.finish, said.finish)


class AnthropicWire:
    """`/v1/messages`: named events from `message_start` to `message_stop`; usage is cumulative."""

    ping = b'event: ping\ndata: {"type": "ping"}\n\n'
    content_type = "text/event-stream; charset=utf-8"

    def plain(self, reply: ScriptedReply, ask: Ask, number: int) -> JSONObject:
        content: list[JSONObject] = []
        if reply.reasoning:
            thinking = "".join(reply.reasoning_pieces)
            content.append({"type": "thinking", "thinking": thinking, "signature": signature(thinking)})
        if reply.text_pieces:
            content.append({"type": "text", "text": "".join(reply.text_pieces)})
        content.extend(
            {"type": "tool_use", "id": call_id, "name": call.name, "input": _as_object(call)}
            for call_id, call in _named(reply, "toolu", number)
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
        for call_id, call in _named(reply, "toolu", number):
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
            shown = _rfc3339(EPOCH + value) if "reset" in name.split("-") else f"{value:g}"
            made.append((f"anthropic-ratelimit-{name}", shown))
        return made

    def _message(self, reply: ScriptedReply, ask: Ask, number: int) -> JSONObject:
        return {"id": f"msg_{number:08x}", "type": "message", "role": "assistant", "model": _model(reply, ask)}

    def _ending(self, reply: ScriptedReply) -> JSONObject:
        words = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal",
                 "pause": "pause_turn"}  # fmt: skip
        reason = "stop_sequence" if reply.stop_sequence else words.get(reply.finish, reply.finish)
        return {"stop_reason": reply.raw_finish_reason or reason, "stop_sequence": reply.stop_sequence}

    def _usage(self, reply: ScriptedReply, ask: Ask) -> JSONObject:
        """`input_tokens` leaves cached ones out on this wire."""
        usage = _usage(reply, ask)
        cached, written = usage.cached_tokens or 0, usage.cache_write_tokens or 0
        return {
            "input_tokens": (usage.input_tokens or 0) - cached - written,
            "cache_creation_input_tokens": written,
            "cache_read_input_tokens": cached,
            "output_tokens": usage.output_tokens or 0,
        }


class OllamaWire:
    """`/api/chat`: NDJSON lines, tool calls whole and with object arguments, counters in the done line."""

    ping = b""
    content_type = "application/x-ndjson"

    def plain(self, reply: ScriptedReply, ask: Ask, number: int) -> JSONObject:
        message: JSONObject = {"role": "assistant", "content": "".join(reply.text_pieces)}
        if reply.reasoning:
            message["thinking"] = "".join(reply.reasoning_pieces)
        if reply.tool_calls:
            message["tool_calls"] = self._calls(reply, number)
        return {**self._head(reply, ask, number), "message": message, **self._done(reply, ask)}

    def stream(self, reply: ScriptedReply, ask: Ask, number: int) -> Iterator[bytes]:
        head = self._head(reply, ask, number)

        def line(message: JSONObject) -> bytes:
            return _line({**head, "message": {"role": "assistant", "content": "", **message}, "done": False})

        for piece in reply.reasoning_pieces:
            yield line({"thinking": piece})
        for piece in reply.text_pieces:
            yield line({"content": piece})
        for call in self._calls(reply, number):
            yield line({"tool_calls": [call]})
        if reply.stream_error is not None:
            yield _line(self.error(reply.stream_error, number))
            return
        if reply.terminal:
            yield _line({**head, "message": {"role": "assistant", "content": ""}, **self._done(reply, ask)})

    def error(self, error: ScriptedError, _number: int, /) -> JSONObject:
        return {"error": error.message, **error.extra}

    def headers(self, _number: int, /) -> list[tuple[str, str]]:
        return []

    def rate_limit(self, _numbers: Mapping[str, float], /) -> list[tuple[str, str]]:
        return []

    def _head(self, reply: ScriptedReply, ask: Ask, number: int) -> JSONObject:
        return {"model": _model(reply, ask), "created_at": _rfc3339(EPOCH + number)}

    def _calls(self, reply: ScriptedReply, number: int) -> list[JSONObject]:
        return [
            {"id": call_id, "function": {"index": index, "name": call.name, "arguments": _as_object(call)}}
            for index, (call_id, call) in enumerate(_named(reply, "call", number))
        ]

    def _done(self, reply: ScriptedReply, ask: Ask) -> JSONObject:
        usage = _usage(reply, ask)
        reason = {"tool_calls": "stop", "pause": "stop"}.get(reply.finish, reply.finish)
        done: JSONObject = {"done": True, "done_reason": reply.raw_finish_reason or reason,
                            "total_duration": 5_000_000, "load_duration": 1_000_000}  # fmt: skip
        if usage.input_tokens:
            done |= {"prompt_eval_count": usage.input_tokens, "prompt_eval_duration": 1_000_000}
        if usage.output_tokens:
            done |= {"eval_count": usage.output_tokens, "eval_duration": 3_000_000}
        return done


WIRES: dict[WireName, Wire] = {"openai": OpenAIWire(), "anthropic": AnthropicWire(), "ollama": OllamaWire()}


def count_tokens(ask: Ask) -> int:
    """What this server counts as the prompt: a piece for each word or sign, and three for each message."""
    return sum(len(tokens(text)) + 3 for _, text in ask.messages)


def to_json(value: JSON) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _usage(reply: ScriptedReply, ask: Ask) -> Usage:
    if reply.usage is not None:
        return reply.usage
    out = 0
    for said in (reply, *reply.more_choices):
        out += sum(len(tokens(piece)) for piece in (*said.text_pieces, *said.reasoning_pieces))
        out += sum(len(tokens(call.text)) for call in said.tool_calls)
    return Usage(count_tokens(ask), out)


def _model(reply: ScriptedReply, ask: Ask) -> str:
    return ask.model if reply.model is None else reply.model


def _named(reply: ScriptedReply, prefix: str, number: int) -> Iterator[tuple[str, ToolUse]]:
    for position, call in enumerate(reply.tool_calls):
        yield (f"{prefix}_{number:06x}{position:02x}" if call.id is None else call.id), call


def _as_object(call: ToolUse) -> JSONObject:
    """Arguments for a wire that has objects: what cannot be one is lost there, as it is on real servers."""
    try:
        value = json.loads(call.text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _data(value: JSONObject) -> bytes:
    return b"data: " + to_json(value) + b"\n\n"


def _event(value: JSONObject) -> bytes:
    return b"event: " + str(value["type"]).encode() + b"\ndata: " + to_json(value) + b"\n\n"


def _block_start(index: int, block: JSONObject) -> bytes:
    return _event({"type": "content_block_start", "index": index, "content_block": block})


def _block_delta(index: int, delta: JSONObject) -> bytes:
    return _event({"type": "content_block_delta", "index": index, "delta": delta})


def _line(value: JSONObject) -> bytes:
    return to_json(value) + b"\n"


def _go_duration(seconds: float) -> str:
    """As Go prints a duration: 120ms, 1.5s, 6m0s, 1h0m0s."""
    if seconds < 1:
        return f"{seconds * 1000:g}ms"
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    shown = f"{rest:g}s"
    if minutes or hours:
        shown = f"{minutes}m{shown}"
    return f"{hours}h{shown}" if hours else shown


def _rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
