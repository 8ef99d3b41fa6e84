"""The server's side of Ollama's API; its models are kept by `library`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from .library import refuse_bad_options
from .script import Ask, ReceivedRequest, RefusedError, ReplyPlan, ScriptedError, ScriptedReply
from .served import (
    EPOCH,
    ServedWire,
    as_object,
    json_object,
    log_probabilities,
    model_of,
    named,
    parse_body,
    rfc3339,
    to_json,
    usage_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sans_io.decode.jsontext import JSONObject

    from .served import Settings


class ServedOllama(ServedWire):
    """`/api/chat`: NDJSON lines, tool calls whole and with object arguments, counters in the done line."""

    name = "ollama"
    models = ("llama3.2:latest", "llama3.2:3b", "qwen2.5:3b")
    content_type = "application/x-ndjson"

    def claims(self, request: ReceivedRequest) -> bool:
        return request.path.startswith("/api/") or request.path == "/"

    def needs_key(self, request: ReceivedRequest) -> bool:
        return request.path != "/"

    def ask(self, request: ReceivedRequest, server: Settings) -> Ask | None:
        if request.method != "POST" or request.path != "/api/chat":
            return None
        body = json_object(parse_body(request.body))
        server.hold_to_rules(self, body)
        return ollama_ask(body)

    def other(self, request: ReceivedRequest, server: Settings) -> ReplyPlan | JSONObject | None:
        plan: ReplyPlan | None = server.library.handle(request)
        return plan

    def unknown(self, request: ReceivedRequest) -> ReplyPlan:  # noqa: ARG002
        return ReplyPlan(404, (("content-type", "text/plain"),), ((0.0, b"404 page not found"),), "length")

    def require(self, model: str, server: Settings) -> None:
        server.library.require(model)

    def overflow(self, count: int, window: int) -> ScriptedError | None:  # noqa: ARG002
        return None

    def plain(self, reply: ScriptedReply, ask: Ask, number: int) -> JSONObject:
        message: JSONObject = {"role": "assistant", "content": "".join(reply.text_pieces)}
        if reply.reasoning:
            message["thinking"] = "".join(reply.reasoning_pieces)
        if reply.tool_calls:
            message["tool_calls"] = self._calls(reply, number)
        logs = _logprobs(reply.text_pieces, ask)
        return {**self._head(reply, ask, number), "message": message, **logs, **self._done(reply, ask)}

    def stream(self, reply: ScriptedReply, ask: Ask, number: int) -> Iterator[bytes]:
        head = self._head(reply, ask, number)

        def line(message: JSONObject, logprobs: JSONObject | None = None) -> bytes:
            said = {"role": "assistant", "content": "", **message}
            return _line({**head, "message": said, "done": False, **(logprobs or {})})

        for piece in reply.reasoning_pieces:
            yield line({"thinking": piece})
        for piece in reply.text_pieces:
            yield line({"content": piece}, _logprobs([piece], ask))
        for call in self._calls(reply, number):
            yield line({"tool_calls": [call]})
        if reply.stream_error is not None:
            yield _line(self.error(reply.stream_error, number))
            return
        if reply.terminal:
            yield _line({**head, "message": {"role": "assistant", "content": ""}, **self._done(reply, ask)})

    def error(self, error: ScriptedError, _number: int, /) -> JSONObject:
        return {"error": error.message, **error.extra}

    def _head(self, reply: ScriptedReply, ask: Ask, number: int) -> JSONObject:
        return {"model": model_of(reply, ask), "created_at": rfc3339(EPOCH + number)}

    def _calls(self, reply: ScriptedReply, number: int) -> list[JSONObject]:
        return [
            {"id": call_id, "function": {"index": index, "name": call.name, "arguments": as_object(call)}}
            for index, (call_id, call) in enumerate(named(reply, "call", number))
        ]

    def _done(self, reply: ScriptedReply, ask: Ask) -> JSONObject:
        usage = usage_of(reply, ask)
        reason = {"tool_calls": "stop", "pause": "stop"}.get(reply.finish, reply.finish)
        done: JSONObject = {"done": True, "done_reason": reply.raw_finish_reason or reason,
                            "total_duration": 5_000_000, "load_duration": 1_000_000}  # fmt: skip
        if usage.input_tokens:
            done |= {"prompt_eval_count": usage.input_tokens, "prompt_eval_duration": 1_000_000}
        if usage.output_tokens:
            done |= {"eval_count": usage.output_tokens, "eval_duration": 3_000_000}
        return done


SERVED: Final = ServedOllama()


def _logprobs(pieces: Sequence[str], ask: Ask) -> JSONObject:
    entries = log_probabilities(pieces, ask)
    return {} if entries is None else {"logprobs": entries}


def ollama_ask(body: JSONObject) -> Ask:
    """POST /api/chat. `stream` is true unless the request says otherwise, as on the real server."""
    read = [(message.get("role", ""), message.get("content") or "") for message in body.get("messages") or []]
    options = body.get("options") or {}
    wanted = body.get("format")
    refuse_bad_options(options)
    if wanted not in (None, "", "json") and not isinstance(wanted, dict):
        shown = json.dumps(json.dumps(wanted))
        raise RefusedError(
            ScriptedError(f'invalid format: {shown}; expected "json" or a valid JSON Schema object', 500)
        )
    return Ask(
        wire="ollama",
        model=body["model"],
        messages=tuple(read),
        tools=tuple((tool["function"]["name"], tool["function"].get("parameters") or {})
                    for tool in body.get("tools") or []),
        stream=body.get("stream") is not False,
        include_usage=True,
        max_tokens=options.get("num_predict"),
        stop=tuple(options.get("stop") or ()),
        schema={} if wanted == "json" else wanted,
        reasoning=body.get("think") not in {None, False},
        body=body,
    )  # fmt: skip


def _line(value: JSONObject) -> bytes:
    return to_json(value) + b"\n"
