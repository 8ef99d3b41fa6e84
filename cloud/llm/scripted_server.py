"""A server without a model, for machines on which the embedded one does not run: fixed answers on the real wire.

It speaks OpenAI's chat completions over HTTP/1.1 on a free port of 127.0.0.1, so everything but the model is real: the
demo dials it, streams from it and reuses its connections.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from types import TracebackType

MODEL_NAME: Final = "scripted"
_TEXT: Final = "Hello! No model is behind this answer: it was written down beforehand and is sent word by word."


class ScriptedServer:
    """Use it as a context manager; `base_url` is what a client takes."""

    def __init__(self) -> None:
        self.model = MODEL_NAME
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def base_url(self) -> str:
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 5

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class's name)
        """Nothing is logged: the demo has the terminal."""

    def do_GET(self) -> None:
        self._send_json(200, {"object": "list", "data": [{"id": MODEL_NAME, "object": "model"}]})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers.get("content-length") or 0)))
        message, finish_reason = _answer(asked)
        words = _TEXT.split(" ")
        usage = {"prompt_tokens": 10, "completion_tokens": len(words), "total_tokens": 10 + len(words)}
        if asked.get("stream"):
            self._send_events([*_chunks(message, finish_reason), {"choices": [], "usage": usage}])
        else:
            choice = {"index": 0, "message": message, "finish_reason": finish_reason}
            self._send_json(200, _frame() | {"object": "chat.completion", "choices": [choice], "usage": usage})

    def _send_json(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _send_events(self, events: list[dict[str, Any]]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for data in (*(json.dumps(_frame() | event).encode() for event in events), b"[DONE]"):
            line = b"data: " + data + b"\n\n"
            self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
        self.wfile.write(b"0\r\n\r\n")


def _answer(asked: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """The message and its finish reason: a call if tools are offered, JSON if it is asked for, else the text."""
    if asked.get("tools"):
        city = str(asked["messages"][-1].get("content", "")).rstrip("?").rsplit(" ", 1)[-1]
        function = {"name": asked["tools"][0]["function"]["name"], "arguments": json.dumps({"city": city})}
        call = {"id": "call_0", "type": "function", "function": function}
        return {"role": "assistant", "content": None, "tool_calls": [call]}, "tool_calls"
    if asked.get("response_format"):
        return {"role": "assistant", "content": json.dumps({"name": "Ana", "age": 30})}, "stop"
    return {"role": "assistant", "content": _TEXT}, "stop"


def _chunks(message: dict[str, Any], finish_reason: str) -> list[dict[str, Any]]:
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": word + " "} for word in (message["content"] or "").split(" ")[:-1]]
    deltas += [{"content": (message["content"] or "").rsplit(" ", 1)[-1]}]
    if message.get("tool_calls"):
        deltas += [{"tool_calls": [{"index": index} | call for index, call in enumerate(message["tool_calls"])]}]
    chunks = [{"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    return [*chunks, {"choices": [{"index": 0, "delta": {}, "finish_reason": finish_reason}]}]


def _frame() -> dict[str, Any]:
    return {"id": "chatcmpl-scripted", "object": "chat.completion.chunk", "created": 0, "model": MODEL_NAME}
