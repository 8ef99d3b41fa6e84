"""The same bytes through Ollama's own Python client and through ours: content, thinking, tool calls and counters agree.

Known differences: the client stops on blank lines and takes U+2028 in a string for the end of a line (neither is
generated), does not join the halves of a character that came in two lines, and has no tool call ids.
"""

from __future__ import annotations

import functools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sans_io.calls.replay import decode
from sans_io.decode.jsontext import well_formed
from tests.providers.ollama.kit import REPLIES, streamed

ollama = pytest.importorskip("ollama")
httpx = pytest.importorskip("httpx")

_answer: dict[str, Any] = {}


@functools.cache
def _client() -> Any:
    return ollama.Client(transport=httpx.MockTransport(lambda _: httpx.Response(200, **_answer)))


def theirs(body: bytes, *, stream: bool) -> list[Any]:
    """The replies: one for each line of a stream."""
    _answer.update(content=body)
    asked = {"model": "m", "messages": [{"role": "user", "content": "-"}]}
    return list(_client().chat(**asked, stream=True)) if stream else [_client().chat(**asked)]


def agree(body: bytes, *, stream: bool) -> None:
    parts = theirs(body, stream=stream)
    ours = decode("ollama", 200, {}, [body], stream=stream)
    assert ours.content == well_formed("".join(part.message.content or "" for part in parts))
    assert (ours.reasoning or "") == well_formed("".join(part.message.thinking or "" for part in parts))
    calls = [call.function for part in parts for call in part.message.tool_calls or ()]
    assert [(call.name, call.arguments) for call in ours.tool_calls] == [(call.name, call.arguments) for call in calls]
    last = parts[-1]
    assert (ours.model, ours.raw_finish_reason) == (last.model, last.done_reason)
    assert (ours.usage.input_tokens, ours.usage.output_tokens) == (last.prompt_eval_count, last.eval_count)


def _plain_lines(wire: bytes) -> bytes:
    return b"".join(json.dumps(json.loads(line)).encode() + b"\n" for line in wire.split(b"\n") if line.strip())


@settings(max_examples=60)
@given(st.data())
def test_any_stream(data: st.DataObject) -> None:
    agree(_plain_lines(data.draw(REPLIES.flatmap(streamed))), stream=True)


@settings(max_examples=60)
@given(REPLIES)
def test_any_whole_reply(reply: dict) -> None:
    agree(json.dumps(reply).encode(), stream=False)
