"""The server's side of OpenAI's chat completions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .script import Ask, ReceivedRequest, RefusedError, ReplyPlan, ScriptedError, ScriptedReply
from .served import (
    EPOCH,
    ServedWire,
    json_object,
    log_probabilities,
    model_of,
    named,
    parse_body,
    to_json,
    usage_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sans_io.decode.jsontext import JSON, JSONObject

    from .served import Settings


class ServedOpenAIChat(ServedWire):
    """`/chat/completions` under any path: one chunk per piece, usage in a chunk of its own, `[DONE]`."""

    name = "openai"
    models = ("gpt-5.4-mini", "gpt-6-luna", "llama-3.3-70b-versatile")
    content_type = "text/event-stream"
    ping = b": keep-alive\n\n"

    def ask(self, request: ReceivedRequest, server: Settings) -> Ask | None:
        if request.method != "POST" or not request.path.endswith("/chat/completions"):
            return None
        body, model = json_object(parse_body(request.body)), _deployment(request.path)
        server.hold_to_rules(self, body if model is None else {"model": model, **body})
        return openai_ask(body, model)

    def other(self, request: ReceivedRequest, server: Settings) -> ReplyPlan | JSONObject | None:
        if request.method == "GET" and request.path.endswith("/models"):
            entries = [
                {"id": name, "object": "model", "created": EPOCH, "owned_by": "test"} for name in server.listed(self)
            ]
            return {"object": "list", "data": entries}
        if request.method == "GET" and request.path == "/health":
            return {"status": "ok"}
        return None

    def unknown(self, request: ReceivedRequest) -> ReplyPlan:
        message = f"Unknown request URL: {request.method} {request.path}."
        raise RefusedError(ScriptedError(message, 404, code="unknown_url"))

    def overflow(self, count: int, window: int) -> ScriptedError | None:
        message = (
            f"This model's maximum context length is {window} tokens. However, your messages resulted in {count} "
            "tokens. Please reduce the length of the messages."
        )
        return ScriptedError(message, 400, code="context_length_exceeded", extra={"param": "messages"})

    def plain(self, reply: ScriptedReply, ask: Ask, number: int) -> JSONObject:
        choices = []
        for index, said in enumerate((reply, *reply.more_choices)):
            message: JSONObject = {"role": "assistant", "content": "".join(said.text_pieces), "refusal": said.refusal}
            if said.tool_calls:
                message["content"] = message["content"] or None
                message["tool_calls"] = [
                    {"id": call_id, "type": "function", "function": {"name": call.name, "arguments": call.text}}
                    for call_id, call in named(said, "call", number)
                ]
            if said.reasoning:
                message["reasoning_content"] = "".join(said.reasoning_pieces)
            logs = _logprobs(said.text_pieces, ask)
            choices.append({"index": index, "message": message, "logprobs": logs, "finish_reason": self._finish(said)})
        return {
            **self._head(reply, ask, number, "chat.completion"),
            "choices": choices,
            "usage": self._usage(reply, ask),
        }

    def stream(self, reply: ScriptedReply, ask: Ask, number: int) -> Iterator[bytes]:
        head = self._head(reply, ask, number, "chat.completion.chunk")
        if ask.include_usage:
            head["usage"] = None

        def chunk(
            index: int, delta: JSONObject, finish: str | None = None, logprobs: JSONObject | None = None
        ) -> bytes:
            choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
            return _data({**head, "choices": [choice]})

        for index, said in enumerate((reply, *reply.more_choices)):
            yield chunk(index, {"role": "assistant", "content": "", "refusal": None})
            for piece in said.reasoning_pieces:
                yield chunk(index, {"reasoning_content": piece})
            for piece in said.text_pieces:
                yield chunk(index, {"content": piece}, None, _logprobs([piece], ask))
            if said.refusal:
                yield chunk(index, {"refusal": said.refusal})
            for position, (call_id, call) in enumerate(named(said, "call", number)):
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
            "model": model_of(reply, ask),
            "system_fingerprint": "fp_test",
        }

    def _usage(self, reply: ScriptedReply, ask: Ask) -> JSONObject:
        usage = usage_of(reply, ask)
        return {
            "prompt_tokens": usage.input_tokens,
            "completion_tokens": usage.output_tokens,
            "total_tokens": (usage.input_tokens or 0) + (usage.output_tokens or 0),
            "prompt_tokens_details": {"cached_tokens": usage.cached_tokens or 0},
            "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens or 0},
        }

    def _finish(self, said: ScriptedReply) -> str:
        return said.raw_finish_reason or {"pause": "stop"}.get(said.finish, said.finish)


SERVED: Final = ServedOpenAIChat()


def _logprobs(pieces: Sequence[str], ask: Ask) -> JSONObject | None:
    entries = log_probabilities(pieces, ask)
    return None if entries is None else {"content": entries, "refusal": None}


def openai_ask(body: JSONObject, model: str | None = None) -> Ask:
    """POST /chat/completions. `model` is the deployment of an Azure path, which wins over the body's."""
    read = [(message["role"], _text(message.get("content"))) for message in body["messages"]]
    functions = [tool["function"] for tool in body.get("tools") or [] if "function" in tool]
    tools = [(function["name"], function.get("parameters") or {}) for function in functions]
    stop = body.get("stop") or ()
    effort = body.get("reasoning_effort")
    return Ask(
        wire="openai",
        model=model or body.get("model") or "",
        messages=tuple(read),
        tools=tuple(tools),
        tool_choice=_choice(body.get("tool_choice")),
        parallel=body.get("parallel_tool_calls") is not False,
        stream=bool(body.get("stream")),
        include_usage=bool((body.get("stream_options") or {}).get("include_usage")),
        max_tokens=body.get("max_completion_tokens") or body.get("max_tokens"),
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
        n=body.get("n") or 1,
        schema=_schema(body.get("response_format")),
        reasoning=effort not in {None, "none"},
        body=body,
    )


def _text(content: JSON) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(part.get("text", "") for part in content)


def _choice(choice: JSON) -> str:
    if isinstance(choice, dict):
        return str(choice.get("function", {}).get("name"))
    return "required" if choice == "any" else choice or "auto"


def _schema(response_format: JSON) -> JSONObject | None:
    kind = (response_format or {}).get("type")
    if kind == "json_object":
        return {}
    if kind != "json_schema":
        return None
    schema: JSONObject = response_format["json_schema"].get("schema") or {}
    return schema


def _deployment(path: str) -> str | None:
    """The deployment named in an Azure path `/openai/deployments/{name}/chat/completions`."""
    parts = path.split("/")
    return parts[parts.index("deployments") + 1] if "deployments" in parts else None


def _data(value: JSONObject) -> bytes:
    return b"data: " + to_json(value) + b"\n\n"


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
