"""The same bytes through Anthropic's own SDK and through ours: content, tool calls, finish reason and usage agree.

Known differences: the SDK drops streams without `event:` lines (none are generated), does not join the halves of a
character that came in two deltas, and warns about blocks that its types do not describe.
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
from tests.providers.anthropic.kit import (
    MESSAGES,
    PING,
    STOP,
    block_start,
    block_stop,
    delta,
    message_delta,
    start,
    streamed,
    text_block,
    tool_block,
)
from tests.providers.mock_sdk import JSON, SSE, answer, http_client

anthropic = pytest.importorskip("anthropic")

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@functools.cache
def _client() -> Any:
    return anthropic.Anthropic(api_key="k", max_retries=0, http_client=http_client())


def theirs(body: bytes, *, stream: bool) -> Any:
    answer(body, stream=stream)
    asked = {"model": "claude-x", "max_tokens": 5, "messages": [{"role": "user", "content": "-"}]}
    if not stream:
        return _client().messages.create(**asked)
    with _client().messages.stream(**asked) as events:
        return events.get_final_message()


def agree(body: bytes, *, stream: bool) -> None:
    message = theirs(body, stream=stream)
    ours = decode("anthropic", 200, SSE if stream else JSON, [body], stream=stream)
    assert ours.content == well_formed("".join(block.text for block in message.content if block.type == "text"))
    thinking = "".join(block.thinking for block in message.content if block.type == "thinking")
    assert (ours.reasoning or "") == well_formed(thinking)
    calls = [(block.id, block.name, block.input) for block in message.content if block.type == "tool_use"]
    invalid = {call.id for call in ours.invalid_tool_calls}
    assert [(call.id, call.name, call.arguments) for call in ours.tool_calls] == [
        call for call in calls if call[0] not in invalid
    ]
    assert ours.raw_finish_reason == message.stop_reason
    assert ours.model == message.model
    wire = ours.raw["usage"]
    assert (wire["input_tokens"], wire["output_tokens"]) == (message.usage.input_tokens, message.usage.output_tokens)
    assert wire.get("cache_read_input_tokens") == message.usage.cache_read_input_tokens
    assert wire.get("cache_creation_input_tokens") == message.usage.cache_creation_input_tokens


def _suits_the_sdk(wire: bytes) -> bool:
    """It goes by the events' names, and a key with NUL in it makes it raise a bare ValueError."""
    return wire.startswith(b"event:") and b"\\u0000" not in wire


@settings(max_examples=60)
@given(st.data())
def test_any_stream(data: st.DataObject) -> None:
    agree(data.draw(MESSAGES.flatmap(streamed).filter(_suits_the_sdk)), stream=True)


@settings(max_examples=60)
@given(MESSAGES)
def test_any_whole_reply(message: dict) -> None:
    agree(json.dumps(message).encode(), stream=False)


@pytest.mark.parametrize(
    "parts",
    [
        [start(), PING, text_block(0, "Hello"), message_delta(), STOP],
        [start(), tool_block(0, "f", "", '{"a"', ": 1}"), message_delta("tool_use"), STOP],
        [start(), tool_block(0, "f", input={"a": 1}), message_delta("tool_use"), STOP],
        [start(), tool_block(0, "f", '{"a": 2}', input={"a": 1}), message_delta("tool_use"), STOP],
        [start(content=[{"type": "text", "text": "Hel"}]), delta(0, "text_delta", text="lo"), message_delta(), STOP],
        [start(), start(id="msg_2", usage={"input_tokens": 99}), text_block(0, "x"), message_delta(), STOP],
        [start(), text_block(0, "x"), message_delta(usage={"output_tokens": 3, "input_tokens": 77}), STOP],
        [start(), block_start(0, type="thinking", thinking="", signature=""), delta(0, "signature_delta", signature="s"), block_stop(0), message_delta("pause_turn"), STOP],
    ],
)  # fmt: skip
def test_quirks(parts: list[bytes]) -> None:
    agree(b"".join(parts), stream=True)
