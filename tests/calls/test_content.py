"""What keeps a stream alive: content and nothing else, the same before and after the first text, on every wire.

Each kind of thing a server can send is a row. A keep-alive arrives every second and the timer still fires, with the
code that says so; content restarts it. Real codecs, virtual time, with and without the accelerator.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from sans_io.calls.actions import Deliver, Receive, Release, Send
from sans_io.calls.call import Call
from sans_io.chat.messages import chat_request
from sans_io.errors import LLMError, LLMTimeoutError
from sans_io.http.urls import parse_base_url
from sans_io.policy.deadline import AT_ONCE, Timers
from sans_io.policy.pool import Route
from sans_io.policy.retry import RetryPolicy
from sans_io.providers.anthropic.codec import AnthropicCodec
from sans_io.providers.base import Operation
from sans_io.providers.ollama.codec import OllamaCodec
from sans_io.providers.openai_chat.codec import OpenAICodec
from sans_io.providers.registry import DIALECTS
from tests.decode.cuts import road

__all__ = ["road"]
BASE = parse_base_url("http://api.test/v1")
IDLE = 10.0


def chat(**options: object) -> object:
    return chat_request([{"role": "user", "content": "hello"}], "m", stream=True, **options)


@dataclass(frozen=True)
class Wire:
    """One kind of stream: what is asked, its content type, what begins it and a piece of text."""

    operation: Callable[[], Operation]
    media: bytes
    start: bytes
    text: bytes


def sse(value: object, name: str = "") -> bytes:
    named = f"event: {name}\n" if name else ""
    return f"{named}data: {json.dumps(value)}\n\n".encode()


def chunk(delta: object = None, finish: object = None, index: int = 0, **choice: object) -> bytes:
    """One chunk of OpenAI's wire."""
    said = {"index": index, "delta": {} if delta is None else delta, "finish_reason": finish, **choice}
    return sse({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [said]})


def event(kind: str, **fields: object) -> bytes:
    """One event of Anthropic's wire."""
    return sse({"type": kind, **fields}, kind)


def block(index: int, **native: object) -> bytes:
    return event("content_block_start", index=index, content_block=native)


def delta(index: int, kind: str, **fields: object) -> bytes:
    return event("content_block_delta", index=index, delta={"type": kind, **fields})


def line(message: object = None, **fields: object) -> bytes:
    """One line of Ollama's wire."""
    said = {"role": "assistant", "content": ""} if message is None else message
    return json.dumps({"model": "m", "created_at": "t", "message": said, "done": False, **fields}).encode() + b"\n"


def step(status: object, **fields: object) -> bytes:
    return json.dumps({"status": status, **fields}).encode() + b"\n"


def fragment(**call: object) -> bytes:
    return chunk({"tool_calls": [call]})


MESSAGE = {"id": "m", "type": "message", "role": "assistant", "model": "m", "content": [], "usage": {"input_tokens": 1}}
TOOL = {"type": "tool_use", "id": "t1", "name": "f", "input": {}}
WIRES = {
    "openai": Wire(
        lambda: OpenAICodec(BASE, DIALECTS["generic"]).operation(chat(n=2)),
        b"text/event-stream",
        chunk({"role": "assistant", "content": ""}),
        chunk({"content": "Hi"}),
    ),
    "anthropic": Wire(
        lambda: AnthropicCodec(BASE).operation(chat()),
        b"text/event-stream",
        event("message_start", message=MESSAGE) + block(0, type="text", text=""),
        delta(0, "text_delta", text="Hi"),
    ),
    "ollama": Wire(
        lambda: OllamaCodec(BASE).operation(chat()), b"application/x-ndjson", b"", line({"role": "a", "content": "Hi"})
    ),
    "pull": Wire(lambda: OllamaCodec(BASE).pull_operation("m"), b"application/x-ndjson", b"", step("pulling manifest")),
}

#: Wire, name of the kind -> what the server sends again and again.
KEEPALIVES: dict[tuple[str, str], bytes] = {
    ("openai", "a comment"): b": OPENROUTER PROCESSING\n\n",
    ("openai", "a comment without a blank line"): b":\n",
    ("openai", "a blank line"): b"\n",
    ("openai", "an event without data"): b"event: ping\n\n",
    ("openai", "an event with empty data"): b"data:\n\n",
    ("openai", "a named event with data"): b"event: ping\ndata: {}\n\n",
    ("openai", "an unknown event"): sse({"type": "response.in_progress", "sequence_number": 4}, "response.in_progress"),
    ("openai", "an empty object"): b"data: {}\n\n",
    ("openai", "CR LF line ends"): b"data: {}\r\n\r\n",
    ("openai", "no choices"): sse({"id": "c", "choices": []}),
    ("openai", "null choices"): sse({"id": "c", "choices": None}),
    ("openai", "a null choice"): sse({"choices": [None]}),
    ("openai", "a choice without a delta"): sse({"choices": [{"index": 0, "finish_reason": None}]}),
    ("openai", "a filter's verdict"): sse({"choices": [{"index": 0, "content_filter_results": {"hate": "safe"}}]}),
    ("openai", "an empty delta"): chunk(),
    ("openai", "a null delta"): sse({"choices": [{"index": 0, "delta": None, "finish_reason": None}]}),
    ("openai", "empty content"): chunk({"content": ""}),
    ("openai", "null content"): chunk({"content": None}),
    ("openai", "an empty list of parts"): chunk({"content": []}),
    ("openai", "an empty part"): chunk({"content": [{"type": "text", "text": ""}]}),
    ("openai", "a role"): chunk({"role": "assistant"}),
    ("openai", "a role with empty content"): chunk({"role": "assistant", "content": ""}),
    ("openai", "empty reasoning"): chunk({"reasoning_content": "", "content": None}),
    ("openai", "empty reasoning details"): chunk({"reasoning_details": [{"type": "reasoning.text", "text": ""}]}),
    ("openai", "an empty refusal"): chunk({"refusal": ""}),
    ("openai", "no tool calls"): chunk({"tool_calls": []}),
    ("openai", "an empty tool fragment"): fragment(index=0, function={"arguments": ""}),
    ("openai", "an empty audio delta"): chunk({"audio": {"id": "audio_1"}}),
    ("openai", "log probabilities"): chunk({"content": ""}, logprobs={"content": [{"token": "a", "logprob": -1.0}]}),
    ("openai", "an unknown key"): chunk({"content": "", "provider": "x"}),
    ("openai", "an empty finish reason"): chunk({}, ""),
    ("openai", "usage"): sse({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 1}}),
    ("openai", "usage in every chunk"): chunk({"content": ""}, usage={"completion_tokens": 1}),
    ("openai", "groq's id"): sse({"choices": [], "x_groq": {"id": "req"}}),
    ("openai", "padding"): sse({"choices": [], "obfuscation": "xxxx"}),
    ("anthropic", "a comment"): b": keep-alive\n\n",
    ("anthropic", "a ping"): event("ping"),
    ("anthropic", "a ping by name only"): b"event: ping\ndata: {}\n\n",
    ("anthropic", "a ping by type only"): sse({"type": "ping"}),
    ("anthropic", "an event without data"): b"event: ping\n\n",
    ("anthropic", "an empty object"): b"data: {}\n\n",
    ("anthropic", "null"): b"data: null\n\n",
    ("anthropic", "an array"): b"data: []\n\n",
    ("anthropic", "an unknown event"): event("vendor_progress", percent=50),
    ("anthropic", "the start of the message"): event("message_start", message=MESSAGE),
    ("anthropic", "the start of a block"): block(0, type="text", text=""),
    ("anthropic", "the start of a thinking block"): block(1, type="thinking", thinking="", signature=""),
    ("anthropic", "the end of a block"): event("content_block_stop", index=0),
    ("anthropic", "an empty text delta"): delta(0, "text_delta", text=""),
    ("anthropic", "an empty thinking delta"): delta(0, "thinking_delta", thinking=""),
    ("anthropic", "an empty signature"): delta(0, "signature_delta", signature=""),
    ("anthropic", "an empty fragment of input"): delta(0, "input_json_delta", partial_json=""),
    ("anthropic", "an unknown delta"): delta(0, "vendor_delta", progress="x"),
    ("anthropic", "usage"): event("message_delta", delta={"stop_reason": None}, usage={"output_tokens": 5}),
    ("ollama", "a blank line"): b"\n",
    ("ollama", "a blank line with CR"): b"\r\n",
    ("ollama", "an empty object"): b"{}\n",
    ("ollama", "null"): b"null\n",
    ("ollama", "an array"): b"[]\n",
    ("ollama", "an empty message"): line({}),
    ("ollama", "empty content"): line(),
    ("ollama", "null content"): line({"role": "assistant", "content": None}),
    ("ollama", "empty thinking"): line({"role": "assistant", "content": "", "thinking": ""}),
    ("ollama", "no tool calls"): line({"role": "assistant", "content": "", "tool_calls": []}),
    ("ollama", "an empty tool call"): line({"role": "assistant", "content": "", "tool_calls": [{}]}),
    ("ollama", "no images"): line({"role": "assistant", "content": "", "images": []}),
    ("ollama", "an unknown key"): line(progress="x"),
    ("ollama", "an empty response"): json.dumps({"response": "", "done": False}).encode() + b"\n",
    ("pull", "a blank line"): b"\n",
    ("pull", "an empty object"): b"{}\n",
    ("pull", "a line without a status"): step(None),
    ("pull", "an unknown key"): json.dumps({"progress": 1}).encode() + b"\n",
}
#: Counts that change, as servers send them that report usage all the time: the call number makes them different.
GROWING: dict[str, Callable[[int], bytes]] = {
    "openai": lambda n: sse({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": n}}),
    "anthropic": lambda n: event("message_delta", delta={"stop_reason": None}, usage={"output_tokens": n}),
    "ollama": lambda n: line(eval_count=n),
}
#: The same for what is content once, and a keep-alive when it is said again.
REPETITIONS: dict[tuple[str, str], bytes] = {
    ("openai", "a tool's name"): fragment(index=0, id="t1", function={"name": "f", "arguments": ""}),
    ("openai", "a tool's name without an id"): fragment(index=0, function={"name": "f"}),
    ("openai", "a thought signature"): fragment(
        index=0, id="t1", function={"name": "f"}, extra_content={"google": {"thought_signature": "c2ln"}}
    ),
    ("openai", "a signature beside the call"): chunk({"extra_content": {"google": {"thought_signature": "c2ln"}}}),
    ("openai", "a finish reason of one choice"): chunk({}, "stop"),
    ("openai", "an image"): chunk(
        {"images": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}]}
    ),
    ("anthropic", "the start of a tool call"): block(1, **TOOL),
    ("anthropic", "the start of a server's tool call"): block(1, **{**TOOL, "type": "server_tool_use"}),
    ("anthropic", "redacted thinking"): block(1, type="redacted_thinking", data="x"),
    ("anthropic", "a server's tool call that ends"): block(1, **{**TOOL, "type": "server_tool_use"})
    + event("content_block_stop", index=1),
    ("anthropic", "redacted thinking that ends"): block(1, type="redacted_thinking", data="x")
    + event("content_block_stop", index=1),
    ("ollama", "an image"): line({"role": "assistant", "content": "", "images": ["AA"]}),
    ("pull", "a status"): step("verifying sha256 digest"),
    ("pull", "progress of a layer"): step("pulling a", digest="sha256:a", total=10, completed=5),
    ("pull", "two layers that stand still"): step("pulling a", digest="sha256:a", total=10, completed=5)
    + step("pulling b", digest="sha256:b", total=10, completed=7),
}
#: What is content every time.
CONTENT: dict[tuple[str, str], bytes] = {
    ("openai", "text"): chunk({"content": "a"}),
    ("openai", "text that is not ASCII"): chunk({"content": "é"}),
    ("openai", "text of another choice"): chunk({"content": "a"}, index=1),
    ("openai", "text in a part"): chunk({"content": [{"type": "text", "text": "a"}]}),
    ("openai", "text with usage"): chunk({"content": "a"}, usage={"completion_tokens": 1}),
    ("openai", "reasoning"): chunk({"reasoning": "a"}),
    ("openai", "reasoning_content"): chunk({"reasoning_content": "a"}),
    ("openai", "reasoning details"): chunk({"reasoning_details": [{"type": "reasoning.text", "text": "a"}]}),
    ("openai", "encrypted reasoning"): chunk({"reasoning_details": [{"type": "reasoning.encrypted", "data": "a"}]}),
    ("openai", "the signature of reasoning"): chunk(
        {"reasoning_details": [{"type": "reasoning.text", "text": "", "signature": "a"}]}
    ),
    ("openai", "a thinking part"): chunk(
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "a"}]}]}
    ),
    ("openai", "a refusal"): chunk({"refusal": "a"}),
    ("openai", "a tool call"): fragment(index=0, id="t1", function={"name": "f", "arguments": "{"}),
    ("openai", "arguments"): fragment(index=0, function={"arguments": "1"}),
    ("openai", "the input of a custom tool"): fragment(index=0, custom={"input": "a"}),
    ("openai", "audio"): chunk({"audio": {"id": "audio_1", "data": "AAAA"}}),
    ("openai", "a transcript"): chunk({"audio": {"transcript": "a"}}),
    ("openai", "an image part"): chunk(
        {"content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,A"}}]}
    ),
    ("anthropic", "text"): delta(0, "text_delta", text="a"),
    ("anthropic", "text that is not ASCII"): delta(0, "text_delta", text="é"),
    ("anthropic", "thinking"): delta(5, "thinking_delta", thinking="a"),
    ("anthropic", "a tool call"): block(1, **TOOL) + delta(1, "input_json_delta", partial_json="1"),
    ("anthropic", "input of a server's tool"): block(1, **{**TOOL, "type": "server_tool_use"})
    + delta(1, "input_json_delta", partial_json="1"),
    ("ollama", "text"): line({"role": "assistant", "content": "a"}),
    ("ollama", "text that is not ASCII"): line({"role": "assistant", "content": "é"}),
    ("ollama", "text of /api/generate"): json.dumps({"response": "a", "done": False}).encode() + b"\n",
    ("ollama", "thinking"): line({"role": "assistant", "content": "", "thinking": "a"}),
    ("ollama", "a tool call"): line({"message": 1, "tool_calls": [{"function": {"name": "f", "arguments": {}}}]}),
}
#: What is content when it comes for the first time (and has no second time worth a row).
ONCE: dict[tuple[str, str], bytes] = {
    ("openai", "text in a whole message"): sse({"choices": [{"index": 1, "message": {"content": "a"}}]}),
    ("openai", "an annotation"): chunk({"annotations": [{"type": "url_citation", "url": "https://a.example"}]}),
    ("anthropic", "a signature"): block(1, type="thinking", thinking="") + delta(1, "signature_delta", signature="a"),
    ("anthropic", "a citation"): delta(0, "citations_delta", citation={"cited_text": "a"}),
    ("anthropic", "a server's result"): block(1, type="web_search_tool_result", content=[{"url": "https://a.example"}]),
    ("anthropic", "text in the start of a block"): block(1, type="text", text="a"),
    ("anthropic", "a summary of the conversation"): block(1, type="compaction")
    + delta(1, "compaction_delta", content="a"),
    ("anthropic", "what explains a refusal"): event(
        "message_delta", delta={"stop_details": {"type": "refusal", "explanation": "a"}}
    ),
}


class Line:
    """A call that has sent its request at 0.0 and drives itself to its next read."""

    def __init__(self, wire: str, timers: Timers) -> None:
        self.wire = WIRES[wire]
        self.call = Call(
            self.wire.operation(), Route(BASE.origin), timers, now=0.0, stream=True, retry=RetryPolicy(max_retries=0)
        )
        self.call.on_acquired(True, 0.0)
        while isinstance(self.call.next_action(0.0), Send):
            self.call.on_sent(0.0)
        self.hear(b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\n\r\n%b" % (self.wire.media, self.wire.start), 0.0)

    def hear(self, data: bytes, now: float) -> bool:
        """One read, taken at once; whether anything was handed over."""
        self.call.on_data(data, now)
        delivered = False
        while isinstance(self.call.next_action(now), Deliver):
            delivered = True
            self.call.on_delivered(now)
        return delivered

    @property
    def deadline(self) -> float | None:
        """Until when it reads on; None if it does not."""
        action = self.call.next_action(0.0)
        return action.deadline if isinstance(action, Receive) else None

    def error(self, now: float) -> LLMError:
        if self.deadline == AT_ONCE:  # it looks once more whether anything has arrived
            self.call.on_error("timeout", now)
        assert isinstance(self.call.next_action(now), Release), f"it still waits: {self.call.next_action(now)}"
        self.call.on_released(now)
        assert self.call.error is not None
        return self.call.error


def begun(wire: str, *, committed: bool) -> Line:
    """Silent for 10 s is too long; the first text came at 0.0 if `committed`."""
    made = Line(wire, Timers(total=None, until_commit=1000.0, first_token=IDLE, idle=IDLE))
    if committed:
        assert made.hear(made.wire.text, 0.0)
        assert made.call.committed
    assert made.deadline == IDLE
    return made


def rows(*tables: dict[tuple[str, str], bytes]) -> list[object]:
    return [
        pytest.param(wire, data, id=f"{wire}-{kind}".replace(" ", "_"))
        for table in tables
        for (wire, kind), data in table.items()
    ]


WHEN = pytest.mark.parametrize("committed", [False, True], ids=["before", "after"])


@WHEN
@pytest.mark.parametrize(("wire", "data"), rows(KEEPALIVES))
def test_keepalives_do_not_restart_the_timer(road: str, wire: str, data: bytes, committed: bool) -> None:
    line = begun(wire, committed=committed)
    for second in range(1, 10):
        line.hear(data, float(second))
        assert line.deadline == IDLE, f"after {second} s"
        assert line.call.committed == committed
    line.hear(data, IDLE)
    error = line.error(IDLE)
    assert isinstance(error, LLMTimeoutError)
    assert error.code == "idle_keepalive_only"
    assert "10 s" in error.message


@WHEN
@pytest.mark.parametrize("wire", GROWING)
def test_growing_usage_does_not_restart_the_timer(road: str, wire: str, committed: bool) -> None:
    line = begun(wire, committed=committed)
    for second in range(1, 10):
        line.hear(GROWING[wire](second), float(second))
        assert line.deadline == IDLE, f"after {second} s"
    line.hear(GROWING[wire](10), IDLE)
    assert line.error(IDLE).code == "idle_keepalive_only"


def test_what_the_user_did_with_usage_was_no_silence() -> None:
    line = begun("anthropic", committed=True)
    line.call.on_data(GROWING["anthropic"](1), 4.0)
    assert isinstance(line.call.next_action(4.0), Deliver)
    line.call.on_delivered(104.0)
    assert line.deadline == 110.0
    line.hear(b": keep-alive\n\n", 109.0)
    line.hear(line.wire.text, 109.5)
    assert line.deadline == 119.5


def test_the_error_counts_from_the_last_content_and_names_the_timer() -> None:
    line = begun("openai", committed=True)
    line.hear(line.wire.text, 9.0)
    line.hear(b": ping\n\n", 19.0)
    assert line.error(19.0).message == (
        "only keep-alives were received for 10 s; increase Timeouts(idle=…) for models that reason without output"
    )
    line = begun("openai", committed=False)
    line.hear(b": ping\n\n", 10.0)
    assert "Timeouts(first_token=…)" in line.error(10.0).message


@pytest.mark.parametrize("wire", WIRES)
def test_silence_is_not_called_keepalives(wire: str) -> None:
    line = begun(wire, committed=True)
    line.call.on_error("timeout", IDLE)
    assert line.error(IDLE).code == "idle_timeout"


def test_white_space_before_a_whole_reply_is_a_keepalive() -> None:
    operation = OpenAICodec(BASE, DIALECTS["generic"]).operation(chat_request([{"role": "user", "content": "a"}], "m"))
    timers = Timers(total=None, idle=IDLE)
    call = Call(operation, Route(BASE.origin), timers, now=0.0, retry=RetryPolicy(max_retries=0))
    call.on_acquired(True, 0.0)
    call.on_sent(0.0)
    call.on_data(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n", 0.0)
    for second in range(1, 11):
        call.on_data(b"\n", float(second))
    call.on_error("timeout", 10.0)  # it has looked once more whether anything has arrived
    call.on_released(10.0)
    assert call.error is not None
    assert call.error.code == "idle_keepalive_only"


@WHEN
@pytest.mark.parametrize(("wire", "data"), rows(REPETITIONS))
def test_what_is_said_again_is_a_keepalive(road: str, wire: str, data: bytes, committed: bool) -> None:
    line = begun(wire, committed=committed)
    line.hear(data, 5.0)
    deadline = line.deadline
    assert deadline == 15.0, "the first time it is content"
    for second in range(6, 15):
        line.hear(data, float(second))
        assert line.deadline == deadline, f"after {second} s"


@WHEN
@pytest.mark.parametrize(("wire", "data"), rows(CONTENT))
def test_content_restarts_the_timer(road: str, wire: str, data: bytes, committed: bool) -> None:
    line = begun(wire, committed=committed)
    for now in (9.0, 18.0, 27.0):
        line.hear(data, now)
        assert line.deadline == now + IDLE


@WHEN
@pytest.mark.parametrize(("wire", "data"), rows(ONCE, REPETITIONS))
def test_what_is_new_restarts_the_timer(road: str, wire: str, data: bytes, committed: bool) -> None:
    line = begun(wire, committed=committed)
    line.hear(data, 9.0)
    assert line.deadline == 19.0
