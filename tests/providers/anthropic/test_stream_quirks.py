"""One hand-written sample for each thing that Anthropic's streams do, or that gateways in front of them do."""

from __future__ import annotations

import json

import pytest

from sans_io.chat.events import (
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    ToolCallCompleted,
    ToolCallDelta,
    ToolCallStarted,
    UsageReported,
)
from sans_io.chat.tool_calls import LOST
from sans_io.errors import LLMContextLengthError, LLMQuotaError, LLMRateLimitError, LLMServerError, LLMStreamError
from sans_io.limits import Limits
from sans_io.policy.retry import AMBIGUOUS, FATAL, THROTTLED, TRANSIENT
from sans_io.providers.anthropic.codec import RETRY_TABLE
from sans_io.providers.anthropic.reply import MessageStreamReader, WholeMessageReader
from tests.providers.anthropic.kit import (
    PING,
    STOP,
    block_start,
    block_stop,
    delta,
    event,
    message_delta,
    start,
    stream,
    text_block,
    tool_block,
    whole,
)
from tests.providers.reading import read


def test_a_plain_stream() -> None:
    reading = stream(start(), text_block(0, "Hel", "", "lo"), message_delta(), STOP)
    assert reading.events[:2] == [TextDelta("Hel"), TextDelta("lo")]
    response = reading.response
    assert (response.content, response.model, response.finish_reason, response.raw_finish_reason) == (
        "Hello",
        "claude-x",
        "stop",
        "end_turn",
    )
    assert (response.input_tokens, response.output_tokens) == (10, 7)
    assert response.message == {"role": "assistant", "content": "Hello"}
    assert response.raw["content"] == [{"type": "text", "text": "Hello"}]
    assert response.raw["usage"] == {"input_tokens": 10, "output_tokens": 7}


def test_message_start_and_pings_yield_no_events() -> None:
    reader = MessageStreamReader()
    assert reader.receive_data(PING + start() + PING + b": a comment\n\n") == []
    assert reader.keepalives == 4
    assert reader.content_events == 0
    assert not reader.finishing
    reader.receive_data(text_block(0, "a", "ö"))
    assert (reader.content_events, reader.keepalives) == (2, 6)


def test_ping_anywhere() -> None:
    parts = [start(), text_block(0, "a", "b"), message_delta(), STOP]
    assert stream(PING, *[piece for part in parts for piece in (part, PING)][:-1]).text == "ab"


def test_events_without_event_lines() -> None:
    parts = b"".join([start(), text_block(0, "Hi"), message_delta(), STOP])
    bare = b"".join(line + b"\n" for line in parts.split(b"\n") if not line.startswith(b"event:"))
    assert stream(bare).response.content == "Hi"


def test_the_event_line_serves_where_the_data_has_no_type() -> None:
    assert stream(start(), text_block(0, "Hi"), message_delta(), b"event: message_stop\ndata: {}\n\n").ended
    assert stream(start(), b'event: error\ndata: {"error": {"type": "overloaded_error", "message": "m"}}\n\n').error


def test_unknown_events_blocks_and_deltas_are_passed_over() -> None:
    reading = stream(
        start(),
        event("brand_new", x=1),
        block_start(0, type="hologram", shape={"points": [1]}),
        delta(0, "hologram_delta", points=2),
        block_stop(0),
        text_block(1, "Hi"),
        delta(1, "sparkle_delta", sparkle="*"),
        delta(1, "text_delta"),
        message_delta("a_new_reason"),
        STOP,
    )
    assert reading.text == "Hi"
    assert reading.response.finish_reason == "other"
    assert reading.response.raw_finish_reason == "a_new_reason"
    assert reading.response.raw["content"][0] == {"type": "hologram", "shape": {"points": [1]}}
    # It goes back as it came: the next turn's server may need it.
    assert reading.response.message["native"]["blocks"][0] == {"type": "hologram", "shape": {"points": [1]}}


def test_usage_is_overwritten_and_what_is_left_out_is_kept() -> None:
    first = {
        "input_tokens": 5,
        "cache_read_input_tokens": 3,
        "cache_creation_input_tokens": 2,
        "output_tokens": 1,
        "service_tier": "standard",
    }
    reading = stream(
        start(usage=first),
        text_block(0, "x"),
        message_delta(None, usage={"output_tokens": 4, "input_tokens": 50}),
        message_delta(
            "end_turn",
            usage={
                "output_tokens": 9,
                "cache_read_input_tokens": None,
                "output_tokens_details": {"thinking_tokens": 6},
            },
        ),
        STOP,
    )
    assert reading.response.raw["usage"] == {
        **first,
        "input_tokens": 50,
        "output_tokens": 9,
        "output_tokens_details": {"thinking_tokens": 6},
    }
    usage = reading.response.usage
    assert (
        usage.input_tokens,
        usage.output_tokens,
        usage.cached_tokens,
        usage.cache_write_tokens,
        usage.reasoning_tokens,
    ) == (55, 9, 3, 2, 6)
    assert [e.usage.output_tokens for e in reading.events if isinstance(e, UsageReported)] == [4, 9]


@pytest.mark.parametrize("bad", [-1, 1.5, "7", True, 2**63, None, {}, []])
def test_counts_that_are_none_are_left_out(bad: object) -> None:
    reading = stream(
        start(usage={"input_tokens": bad}), text_block(0, "x"), message_delta(usage={"output_tokens": bad}), STOP
    )
    assert (reading.response.input_tokens, reading.response.output_tokens) == (0, 0)
    assert reading.response.usage.output_tokens is None


@pytest.mark.parametrize("usage", [None, [], "x", 0])
def test_usage_that_is_no_object(usage: object) -> None:
    broken = event("message_delta", delta={"stop_reason": "end_turn"}, usage=usage)
    assert stream(start(usage=usage), text_block(0, "x"), broken, STOP).text == "x"


def test_a_tool_call_in_pieces() -> None:
    reading = stream(
        start(), text_block(0, "Look."), tool_block(1, "look", "", '{"ci', 'ty": "P"}'), message_delta("tool_use"), STOP
    )
    assert reading.events[1:4] == [
        ToolCallStarted(0, "toolu_1", "look"),
        ToolCallDelta(0, '{"ci'),
        ToolCallDelta(0, 'ty": "P"}'),
    ]
    (call,) = reading.response.tool_calls
    assert (call.id, call.name, call.arguments) == ("toolu_1", "look", {"city": "P"})
    assert reading.response.finish_reason == "tool_calls"
    assert reading.response.message["tool_calls"][0]["function"] == {"name": "look", "arguments": '{"city":"P"}'}
    assert "native" not in reading.response.message
    assert reading.response.raw["content"][1]["input"] == {"city": "P"}


def test_several_tool_calls_in_one_turn() -> None:
    reading = stream(
        start(),
        tool_block(0, "a", '{"x": 1}', id="t1"),
        tool_block(1, "b", '{"y": 2}', id="t2"),
        message_delta("tool_use"),
        STOP,
    )
    assert [(c.id, c.arguments) for c in reading.response.tool_calls] == [("t1", {"x": 1}), ("t2", {"y": 2})]
    assert [e.index for e in reading.events if isinstance(e, ToolCallCompleted)] == [0, 1]


def test_tool_calls_beyond_the_index_cap_of_blocks() -> None:
    """Blocks of server tools count as blocks: a call's number is not its block's."""
    searches = b"".join(
        block_start(i, type="web_search_tool_result", tool_use_id="s", content=[]) + block_stop(i) for i in range(300)
    )
    reading = stream(start(), searches, tool_block(300, "f", "{}"), message_delta("tool_use"), STOP)
    assert [call.name for call in reading.response.tool_calls] == ["f"]


@pytest.mark.parametrize("pieces", [(), ("",), ("", "{}"), ("null",), (" ",)])
def test_a_tool_without_arguments(pieces: tuple[str, ...]) -> None:
    (call,) = stream(start(), tool_block(0, "now", *pieces), message_delta("tool_use"), STOP).response.tool_calls
    assert call.arguments == {}


def test_a_tool_block_without_input_key() -> None:
    begun = block_start(0, type="tool_use", id="t", name="f")
    reading = stream(
        start(),
        begun,
        delta(0, "input_json_delta", partial_json='{"a":1}'),
        block_stop(0),
        message_delta("tool_use"),
        STOP,
    )
    assert reading.response.raw["content"][0]["input"] == {"a": 1}


def test_full_input_in_the_block_start() -> None:
    reading = stream(start(), tool_block(0, "f", input={"a": 1}), message_delta("tool_use"), STOP)
    assert reading.response.tool_calls[0].arguments == {"a": 1}
    assert [e.arguments for e in reading.events if isinstance(e, ToolCallDelta)] == ['{"a":1}']


def test_full_input_as_text_in_the_block_start() -> None:
    reading = stream(start(), tool_block(0, "f", input='{"a": 1}'), message_delta("tool_use"), STOP)
    assert reading.response.tool_calls[0].arguments == {"a": 1}


def test_pieces_win_over_the_input_in_the_block_start() -> None:
    reading = stream(start(), tool_block(0, "f", '{"a":', " 2}", input={"a": 1}), message_delta("tool_use"), STOP)
    assert reading.response.tool_calls[0].arguments == {"a": 2}


def test_full_input_where_the_block_never_stops() -> None:
    reading = stream(
        start(), block_start(0, type="tool_use", id="t", name="f", input={"a": 1}), message_delta("tool_use"), STOP
    )
    assert reading.response.tool_calls[0].arguments == {"a": 1}


@pytest.mark.parametrize("reason", ["max_tokens", "model_context_window_exceeded"])
def test_a_call_that_the_token_limit_cut_is_not_run(reason: str) -> None:
    reading = stream(start(), tool_block(0, "write", '{"path": "a", "con'), message_delta(reason), STOP)
    assert reading.response.tool_calls == []
    (call,) = reading.response.invalid_tool_calls
    assert call.raw_arguments == '{"path": "a", "con'
    assert call.arguments_error
    assert reading.response.finish_reason == "length"
    assert reading.response.message == {"role": "assistant", "content": ""}


def test_a_cut_call_stays_in_raw() -> None:
    reading = stream(start(), tool_block(0, "write", '{"path": ', '"a"}'), message_delta("max_tokens"), STOP)
    assert reading.response.tool_calls == []
    assert reading.response.raw["content"][0]["input"] == {"path": "a"}


def test_a_cut_call_in_a_whole_reply_looks_like_one_with_fewer_arguments() -> None:
    block = {"type": "tool_use", "id": "t", "name": "write", "input": {"path": "a"}}
    reply = {"type": "message", "content": [block], "stop_reason": "max_tokens", "usage": {}}
    assert whole(reply).response.tool_calls == []
    assert whole({**reply, "stop_reason": "tool_use"}).response.tool_calls[0].arguments == {"path": "a"}
    followed = {**reply, "content": [block, {"type": "text", "text": "and so"}]}
    assert whole(followed).response.tool_calls[0].arguments == {"path": "a"}


def test_arguments_that_are_not_json() -> None:
    reading = stream(
        start(),
        tool_block(0, "f", "{oops}"),
        tool_block(1, "g", "[1]", id="t2"),
        tool_block(2, "h", "{}", id="t3"),
        message_delta("tool_use"),
        STOP,
    )
    assert [c.name for c in reading.response.tool_calls] == ["h"]
    assert [c.raw_arguments for c in reading.response.invalid_tool_calls] == ["{oops}", "[1]"]
    # Nobody will answer the invalid ones, so they are not sent back either.
    assert [call["id"] for call in reading.response.message["tool_calls"]] == ["t3"]


@pytest.mark.parametrize("kind", ["server_tool_use", "mcp_tool_use"])
def test_server_tools_are_not_client_tool_calls(kind: str) -> None:
    begun = block_start(0, type=kind, id="srvtoolu_1", name="web_search", input={})
    pieces = delta(0, "input_json_delta", partial_json='{"query":') + delta(0, "input_json_delta", partial_json='"x"}')
    result = {
        "type": "web_search_tool_result",
        "tool_use_id": "srvtoolu_1",
        "content": [{"type": "web_search_result", "url": "u", "encrypted_content": "e"}],
    }
    reading = stream(
        start(),
        begun,
        pieces,
        block_stop(0),
        block_start(1, **result),
        block_stop(1),
        text_block(2, "Found."),
        message_delta(),
        STOP,
    )
    assert not reading.response.has_tool_calls
    assert reading.response.invalid_tool_calls == []
    assert not any(isinstance(e, ToolCallStarted) for e in reading.events)
    assert reading.response.raw["content"][:2] == [
        {"type": kind, "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}},
        result,
    ]
    assert reading.response.message["native"]["blocks"] == reading.response.raw["content"]


def test_pause_turn_keeps_everything_needed_to_go_on() -> None:
    begun = block_start(
        0, type="server_tool_use", id="s", name="web_search", input={"query": "x"}, caller={"type": "direct"}
    )
    reading = stream(start(), begun, block_stop(0), message_delta("pause_turn"), STOP)
    assert reading.response.finish_reason == "pause"
    assert reading.response.invalid_tool_calls == reading.response.tool_calls == []
    assert reading.response.message["native"]["blocks"] == reading.response.raw["content"]


def test_thinking_with_its_signature() -> None:
    thinking = (
        block_start(0, type="thinking", thinking="", signature="")
        + delta(0, "thinking_delta", thinking="Hm")
        + delta(0, "thinking_delta", thinking="m.")
    )
    reading = stream(
        start(),
        thinking,
        delta(0, "signature_delta", signature="c2ln+/="),
        block_stop(0),
        text_block(1, "4"),
        message_delta(),
        STOP,
    )
    assert [e for e in reading.events if isinstance(e, ReasoningDelta)] == [ReasoningDelta("Hm"), ReasoningDelta("m.")]
    assert reading.response.reasoning == "Hmm."
    message = reading.response.message
    assert message["native"]["blocks"][0] == {"type": "thinking", "thinking": "Hmm.", "signature": "c2ln+/="}
    assert message["native"]["version"] == "2026-10-21"


def test_empty_thinking_with_a_signature_and_redacted_thinking() -> None:
    reading = stream(
        start(),
        block_start(0, type="thinking", thinking="", signature=""),
        delta(0, "signature_delta", signature="first"),
        delta(0, "signature_delta", signature="second"),
        block_stop(0),
        block_start(1, type="redacted_thinking", data="b64=="),
        block_stop(1),
        text_block(2, "4"),
        message_delta(),
        STOP,
    )
    assert reading.response.reasoning is None
    assert reading.response.message["native"]["blocks"][:2] == [
        {"type": "thinking", "thinking": "", "signature": "second"},
        {"type": "redacted_thinking", "data": "b64=="},
    ]


def test_citations_are_appended() -> None:
    cites = [{"type": "char_location", "cited_text": "x", "start_char_index": n} for n in (0, 5)]
    reading = stream(
        start(),
        block_start(0, type="text", text="", citations=[]),
        delta(0, "citations_delta", citation=cites[0]),
        delta(0, "text_delta", text="Cited."),
        delta(0, "citations_delta", citation=cites[1]),
        block_stop(0),
        message_delta(),
        STOP,
    )
    assert reading.response.message["native"]["blocks"] == [{"type": "text", "text": "Cited.", "citations": cites}]


def test_several_text_blocks_are_joined() -> None:
    reading = stream(start(), text_block(0, "One. "), text_block(1, "Two."), message_delta(), STOP)
    assert reading.response.content == "One. Two."
    assert [block["text"] for block in reading.response.message["native"]["blocks"]] == ["One. ", "Two."]


def test_content_in_message_start() -> None:
    reading = stream(
        start(content=[{"type": "text", "text": "Hel"}]), delta(0, "text_delta", text="lo"), message_delta(), STOP
    )
    assert reading.text == "Hello"
    assert reading.response.raw["content"] == [{"type": "text", "text": "Hello"}]


def test_a_tool_call_in_message_start() -> None:
    block = {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}
    reading = stream(start(content=[block, None]), message_delta("tool_use"), STOP)
    assert reading.response.tool_calls[0].arguments == {"a": 1}


def test_text_in_the_block_start() -> None:
    reading = stream(
        start(),
        block_start(0, type="text", text="Hel"),
        delta(0, "text_delta", text="lo"),
        block_stop(0),
        message_delta(),
        STOP,
    )
    assert reading.text == reading.response.content == "Hello"


def test_a_second_message_start_fills_gaps_only() -> None:
    again = start(
        id="msg_2",
        model="claude-y",
        content=[{"type": "text", "text": "again"}],
        usage={"input_tokens": 99, "cache_read_input_tokens": 4},
    )
    reading = stream(start(model=""), text_block(0, "a"), again, text_block(1, "b"), message_delta(), STOP)
    assert reading.response.content == "ab"
    assert reading.response.raw["id"] == "msg_1"
    assert reading.response.model == "claude-y"
    assert reading.response.raw["usage"] == {"input_tokens": 10, "output_tokens": 7, "cache_read_input_tokens": 4}
    assert stream(start(), start(usage=None), text_block(0, "a"), message_delta(), STOP).response.input_tokens == 10


def test_no_message_start_at_all() -> None:
    reading = stream(text_block(0, "Hi"), message_delta(), STOP)
    assert (reading.response.content, reading.response.model) == ("Hi", "")
    assert stream(b'data: {"type":"message_start"}\n\n', text_block(0, "Hi"), message_delta(), STOP).text == "Hi"


def test_several_message_deltas() -> None:
    reading = stream(start(), text_block(0, "x"), message_delta("end_turn"), message_delta(None), STOP)
    assert reading.response.raw_finish_reason == "end_turn"
    assert len(reading.finishes) == 1


def test_blocks_without_deltas() -> None:
    reading = stream(start(), block_start(0, type="text", text=""), block_stop(0), message_delta(), STOP)
    assert reading.response.content == ""
    assert stream(start(), message_delta(), STOP).response.raw["content"] == []


def test_deltas_without_their_block() -> None:
    reading = stream(
        start(),
        delta(0, "thinking_delta", thinking="Hm"),
        delta(1, "text_delta", text="Hi"),
        delta(2, "input_json_delta", partial_json="{}"),
        message_delta(),
        STOP,
    )
    assert (reading.response.reasoning, reading.response.content) == ("Hm", "Hi")
    no_index = b'data: {"type":"content_block_delta","delta":{"type":"text_delta","text":"Hi"}}\n\n'
    assert (
        stream(start(), no_index, no_index, b'data: {"type":"content_block_stop"}\n\n', message_delta(), STOP).text
        == "HiHi"
    )


def test_a_delta_of_another_kind_than_its_block() -> None:
    reading = stream(
        start(),
        block_start(0, type="thinking", thinking=""),
        delta(0, "text_delta", text="Hi"),
        delta(0, "text_delta", text="!"),
        block_stop(0),
        message_delta(),
        STOP,
    )
    assert reading.text == "Hi!"
    assert [block["type"] for block in reading.response.raw["content"]] == ["thinking", "text"]


@pytest.mark.parametrize("odd", [[], {}, None, 7, True, ""])
def test_types_that_are_no_words(odd: object) -> None:
    reading = stream(
        start(),
        block_start(0, type=odd, text="x"),
        delta(0, odd, text="x"),
        delta(0, "input_json_delta", partial_json="{}"),
        event("content_block_delta", index=odd, delta=odd),
        b'data: {"type": %b}\n\n' % json.dumps(odd).encode(),
        text_block(1, "Hi"),
        message_delta(odd, stop_details=odd),
        message_delta(),
        STOP,
    )
    assert reading.text == "Hi"
    assert whole(
        {"type": "message", "content": [{"type": odd}, odd], "stop_reason": odd, "usage": odd, "model": odd}
    ).ended
    assert whole({"type": "message", "content": odd}).ended


def test_thinking_before_calls_goes_back_with_the_calls_that_can_be_run() -> None:
    thinking = block_start(0, type="thinking", thinking="Hm", signature="c2ln") + block_stop(0)
    calls = tool_block(1, "f", '{"x": 1}', id="t1", caller={"type": "direct"}) + tool_block(2, "g", "{oops", id="t2")
    reading = stream(start(), thinking, calls, message_delta("tool_use"), STOP)
    assert reading.response.message["native"]["blocks"] == [
        {"type": "thinking", "thinking": "Hm", "signature": "c2ln"},
        {"type": "tool_use", "id": "t1", "name": "f", "input": {"x": 1}, "caller": {"type": "direct"}},
    ]
    assert [call["id"] for call in reading.response.message["tool_calls"]] == ["t1"]


def test_deltas_that_do_not_fit_their_block() -> None:
    reading = stream(
        start(),
        block_start(0, type="text", text="", citations=None),
        delta(0, "input_json_delta", partial_json='{"x": 1}'),
        delta(0, "signature_delta", signature="c2ln"),
        delta(0, "compaction_delta", content="c"),
        delta(0, "citations_delta"),
        delta(0, "citations_delta", citation={"n": 1}),
        delta(0, "text_delta", text="x"),
        block_stop(0),
        block_start(1, type="thinking", thinking="", signature="c2ln"),
        delta(1, "signature_delta", signature=7),
        delta(1, "citations_delta", citation={}),
        block_stop(1),
        block_start(2, type="tool_use", id="t", name="f"),
        delta(2, "input_json_delta", partial_json=7),
        delta(2, "input_json_delta"),
        block_stop(2),
        block_start(3, type="compaction", content=None),
        delta(3, "other_delta", content="c"),
        block_stop(3),
        block_start(4, type="text", text=7),
        block_stop(4),
        message_delta("tool_use"),
        STOP,
    )
    assert reading.response.raw["content"] == [
        {"type": "text", "text": "x", "citations": [{"n": 1}]},
        {"type": "thinking", "thinking": "", "signature": "c2ln"},
        {"type": "tool_use", "id": "t", "name": "f"},
        {"type": "compaction", "content": None},
        {"type": "text", "text": ""},
    ]
    assert reading.response.tool_calls == []
    assert reading.response.invalid_tool_calls[0].arguments_error == LOST


def test_keys_that_come_late() -> None:
    late = event(
        "message_delta",
        delta={"stop_reason": "end_turn", "stop_sequence": None},
        usage={},
        context_management={"applied_edits": []},
    )
    reading = stream(text_block(0, "x"), late, message_delta(None, usage={}), STOP)
    assert reading.response.raw == {
        "content": [{"type": "text", "text": "x"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "context_management": {"applied_edits": []},
    }
    assert not any(isinstance(e, UsageReported) for e in reading.events)


def test_a_compaction_block() -> None:
    reading = stream(
        start(),
        block_start(0, type="compaction", content=None),
        delta(0, "compaction_delta", content="Summary."),
        block_stop(0),
        message_delta("compaction"),
        STOP,
    )
    assert reading.response.raw["content"] == [{"type": "compaction", "content": "Summary."}]
    assert reading.response.finish_reason == "other"


def test_halves_of_a_character_in_two_deltas() -> None:
    def piece(escape: str) -> bytes:
        return (
            b'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"%b"}}\n\n'
            % escape.encode()
        )

    begun = start() + block_start(0, type="text", text="")
    ending = block_stop(0) + message_delta() + STOP
    assert stream(begun, piece("a\\ud83d"), piece("\\ude00b"), ending).text == "a😀b"
    assert stream(begun, piece("\\ud83d"), piece("b"), ending).text == "\ufffdb"
    assert stream(begun, piece("a\\ud83d"), ending).text == "a\ufffd"
    other = block_start(1, type="text", text="") + delta(1, "text_delta", text="c")
    assert (
        stream(begun, other, piece("\\ud83d"), delta(1, "text_delta", text="d"), piece("\\ude00"), ending).text
        == "c\ufffdd\ufffd"
    )
    assert (
        stream(begun, piece("a\\ud83d"), delta(1, "thinking_delta", thinking="hm"), piece("b"), ending).text
        == "a\ufffdb"
    )


def test_refusal() -> None:
    details = {"type": "refusal", "category": "cyber", "explanation": "Not this."}
    reading = stream(
        start(),
        block_start(0, type="text", text=""),
        block_stop(0),
        message_delta("refusal", stop_details=details),
        STOP,
    )
    assert reading.response.finish_reason == "content_filter"
    assert reading.response.refusal == "Not this."
    assert RefusalDelta("Not this.") in reading.events
    twice = stream(
        start(), message_delta("refusal", stop_details=details), message_delta(None, stop_details=details), STOP
    )
    assert twice.response.refusal == "Not this."
    assert reading.response.raw["stop_details"] == details


def test_stop_sequence_and_container() -> None:
    reading = stream(
        start(), text_block(0, "x"), message_delta("stop_sequence", stop_sequence="END", container={"id": "c1"}), STOP
    )
    assert reading.response.finish_reason == "stop"
    assert (reading.response.raw["stop_sequence"], reading.response.raw["container"]) == ("END", {"id": "c1"})


def test_a_gateway_that_ends_with_done() -> None:
    done = b"data: [DONE]\n\n"
    assert stream(start(), text_block(0, "x"), message_delta(), STOP, done).ended
    assert stream(start(), text_block(0, "x"), message_delta(), done).ended
    cut = stream(start(), text_block(0, "x"), done)
    assert isinstance(cut.error, LLMStreamError)
    assert cut.error.code == "truncated"


def test_the_last_event_without_its_blank_line() -> None:
    whole = b"".join([start(), text_block(0, "x"), message_delta(None), STOP])
    assert stream(whole[:-1]).ended
    # Not a whole line: it might be the beginning of another one.
    assert stream(whole[:-2]).error is not None
    text = b"".join([start(), block_start(0, type="text", text=""), delta(0, "text_delta", text="never")])[:-1]
    assert stream(text).text == ""


def test_a_stop_reason_completes_a_stream_without_message_stop() -> None:
    reading = stream(start(), text_block(0, "x"), message_delta())
    assert reading.ended
    assert reading.response.finish_reason == "stop"
    reader = MessageStreamReader()
    reader.receive_data(start() + text_block(0, "x") + message_delta())
    assert reader.finishing
    assert reader.complete
    assert not reader.ended


def test_a_stop_reason_in_message_start_ends_nothing() -> None:
    assert stream(start(stop_reason="end_turn"), text_block(0, "x")).error is not None


@pytest.mark.parametrize(
    "body", [b"", b"\n\n", b": only a comment\n\n", b"data: {}\n\n", b"data: []\n\ndata: 7\n\n", b"data: null\n\n"]
)
def test_a_stream_without_anything(body: bytes) -> None:
    reading = stream(body)
    assert isinstance(reading.error, LLMStreamError)
    assert reading.error.code == "truncated"


@pytest.mark.parametrize(
    ("kind", "message", "cls", "code", "retry"),
    [
        ("overloaded_error", "Overloaded", LLMServerError, "overloaded", THROTTLED),
        ("api_error", "Overloaded", LLMServerError, "overloaded", THROTTLED),
        ("api_error", "Internal server error", LLMServerError, None, TRANSIENT),
        ("timeout_error", "Request timed out", LLMServerError, None, AMBIGUOUS),
        ("rate_limit_error", "Too many", LLMRateLimitError, None, THROTTLED),
        ("billing_error", "No credit", LLMQuotaError, "insufficient_quota", FATAL),
        (
            "invalid_request_error",
            "prompt is too long: 200001 tokens > 200000 maximum",
            LLMContextLengthError,
            "context_length_exceeded",
            FATAL,
        ),
    ],
)
def test_an_error_event_has_a_type(kind: str, message: str, cls: type, code: str | None, retry: str) -> None:
    said = event("error", error={"type": kind, "message": message, "details": None}, request_id="req_1")
    for parts in (
        [said],
        [start(), said],
        [
            start(),
            block_start(0, type="text", text=""),
            delta(0, "text_delta", text="so far"),
            said,
            text_block(1, "never"),
        ],
    ):
        reading = stream(*parts)
        error = reading.error
        assert type(error) is cls
        assert (error.error_type, error.code, error.request_id, error.provider, error.model) == (
            kind,
            code,
            "req_1",
            "anthropic",
            "claude-x",
        )
        assert error.partial is not None
        assert error.partial.content == reading.text
        assert RETRY_TABLE.of_reply(None, error.code, error.error_type) == retry


def test_an_error_without_type_or_event_line() -> None:
    reading = stream(start(), b'data: {"error": {"message": "upstream broke"}}\n\n')
    assert isinstance(reading.error, LLMServerError)
    assert "upstream broke" in reading.error.message


def test_an_event_named_error_is_one_whatever_its_type() -> None:
    reading = stream(start(), b'event: error\ndata: {"type": "overloaded_error", "message": "Overloaded"}\n\n')
    assert isinstance(reading.error, LLMServerError)
    assert reading.error.code == "overloaded"


def test_an_error_without_its_blank_line() -> None:
    said = event("error", error={"type": "overloaded_error", "message": "Overloaded"})
    assert isinstance(stream(start(), said[:-1]).error, LLMServerError)


def test_a_block_start_without_its_block() -> None:
    bare = event("content_block_start", index=0)
    assert stream(start(), bare, delta(0, "text_delta", text="x"), block_stop(0), message_delta(), STOP).text == "x"


def test_data_that_is_not_json() -> None:
    reading = stream(start(), text_block(0, "so far"), b'event: ping\ndata: {"type"\n\n', text_block(1, "never"))
    assert reading.error is not None
    assert reading.error.code == "bad_json"
    assert reading.error.partial is not None
    assert reading.error.partial.content == reading.text == "so far"


def test_too_many_and_too_long_tool_calls() -> None:
    limits = Limits(max_tool_index=1, max_tool_arguments=10)
    many = b"".join(tool_block(i, "f", "{}", id=f"t{i}") for i in range(3))
    assert read(MessageStreamReader(limits=limits), [start() + many]).error.code == "too_many_tool_calls"
    assert (
        read(MessageStreamReader(limits=limits), [start() + tool_block(0, "f", '{"a": "' + 9 * "x")]).error.code
        == "tool_arguments_too_large"
    )


def test_caps_hold_for_whole_input_too() -> None:
    limits = Limits(max_tool_arguments=10)
    big = {"type": "tool_use", "id": "t", "name": "f", "input": {"a": "x" * 20}}
    unstopped = read(
        MessageStreamReader(limits=limits), [start() + block_start(0, **big) + message_delta("tool_use") + STOP]
    )
    assert unstopped.error.code == "tool_arguments_too_large"
    entire = json.dumps({"type": "message", "content": [big]}).encode()
    assert read(WholeMessageReader(limits=limits), [entire]).error.code == "tool_arguments_too_large"


def test_stops_without_a_block() -> None:
    assert stream(start(), block_stop(3), text_block(0, "x"), block_stop(0), message_delta(), STOP).text == "x"


def test_white_space_before_a_whole_reply_keeps_the_line_open() -> None:
    reader = WholeMessageReader()
    assert reader.receive_data(b"\n") == reader.receive_data(b"  ") == []
    reader.receive_data(b'{"type":"message","content":[]}')
    assert (reader.keepalives, reader.content_events, reader.complete, reader.finishing) == (2, 1, False, False)
    reader.receive_eof()
    assert reader.complete


def test_nothing_after_the_end_is_read() -> None:
    assert (
        stream(start(), text_block(0, "x"), message_delta(), STOP, text_block(1, "more"), event("error", error={})).text
        == "x"
    )


# -- whole replies ----------------------------------------------------------------------------------------------------


def test_a_whole_reply() -> None:
    reply = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-x",
        "content": [{"type": "text", "text": "Hi"}],
    }
    reply |= {"stop_reason": "end_turn", "usage": {"input_tokens": 1, "cache_read_input_tokens": 5, "output_tokens": 2}}
    reading = whole(reply)
    assert reading.events == []
    assert reading.response.raw == reply
    assert (reading.response.content, reading.response.input_tokens, reading.response.usage.cached_tokens) == (
        "Hi",
        6,
        5,
    )


def test_whole_replies_that_are_odd() -> None:
    assert whole({"type": "message", "content": []}).response.content == ""
    assert whole({"type": "message", "content": None, "stop_reason": None}).response.finish_reason == "other"
    assert whole({"content": "plain text", "stop_reason": "end_turn"}).response.content == "plain text"
    assert (
        whole({"content": [None, 7, {"type": "text", "text": None}, {"type": "text", "text": "x"}]}).response.content
        == "x"
    )
    assert whole(b'  \n{"type":"message","content":[{"type":"text","text":"\\ud83d"}]}').response.content == "\ufffd"
    call = whole(
        {"type": "message", "content": [{"type": "tool_use", "name": "f", "input": None}], "stop_reason": "tool_use"}
    ).response
    assert call.tool_calls[0].arguments == {}
    assert call.tool_calls[0].id


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "empty_body"),
        (b"   ", "empty_body"),
        (b"<html><body>Bad gateway</body></html>", "html_body"),
        (b"upstream timed out", "not_json"),
        (b'{"type":"message","content":[', "bad_json"),
        (b"null", "unexpected_reply"),
        (b"[]", "unexpected_reply"),
        (b'{"choices":[]}', "unexpected_reply"),
        (b'"text"', "unexpected_reply"),
        (b"\xff\xfe", "not_json"),
    ],
)
def test_bodies_that_are_no_reply(body: bytes, code: str) -> None:
    error = whole(body).error
    assert error is not None
    assert error.code == code


def test_an_error_object_in_a_200() -> None:
    for body in (
        {"type": "error", "error": {"type": "overloaded_error", "message": "m"}},
        {"error": {"type": "overloaded_error", "message": "m"}},
        [{"error": {"type": "overloaded_error", "message": "m"}}],
    ):
        error = whole(body).error
        assert isinstance(error, LLMServerError)
        assert error.code == "overloaded"


def test_a_reply_larger_than_its_cap() -> None:
    body = b'{"type":"message","content":[]}'
    assert read(WholeMessageReader(limits=Limits(max_json=len(body))), [body]).ended
    over = read(WholeMessageReader(limits=Limits(max_json=len(body) - 1)), [body[:5], body[5:]])
    assert over.error is not None
    assert over.error.code == "too_large"


# -- at the edges -----------------------------------------------------------------------------------------------------


def test_a_call_without_an_id_gets_one_and_goes_back_with_it() -> None:
    reading = stream(
        start(),
        text_block(0, "a"),
        text_block(1, "b"),
        tool_block(2, "f", "{}", id=None),
        message_delta("tool_use"),
        STOP,
    )
    (call,) = reading.response.tool_calls
    assert call.id
    assert reading.response.message["native"]["blocks"][2] == {
        "type": "tool_use",
        "id": call.id,
        "name": "f",
        "input": {},
    }


def test_a_plain_delta_is_read_like_any_other_whatever_it_lacks() -> None:
    deltas = [
        {"type": "text_delta"}, {"type": "text_delta", "text": None}, {"type": "text_delta", "text": ""},
        {"type": "thinking_delta", "thinking": 5}, {"type": "text"}, {}, None, {"type": 5, "text": "no"},
    ]  # fmt: skip
    odd = [event("content_block_delta", index=0, delta=each) for each in deltas]
    begun = [start(), block_start(0, type="text", text=""), delta(0, "text_delta", text="a")]
    reading = stream(*begun, *odd, delta(0, "text_delta", text="b"), block_stop(0), message_delta(), STOP)
    assert reading.text == "ab"
    assert reading.reasoning == ""


@pytest.mark.parametrize("index", [None, "0", 0.0, True])
def test_an_index_that_is_no_number_means_the_latest_block(index: object) -> None:
    piece = event("content_block_delta", index=index, delta={"type": "input_json_delta", "partial_json": '{"a": 1}'})
    stop = event("content_block_stop", index=index)
    begun = [start(), text_block(0, "x"), block_start(1, type="tool_use", id="t", name="f", input={})]
    reading = stream(*begun, piece, stop, message_delta("tool_use"), STOP)
    assert [call.arguments for call in reading.response.tool_calls] == [{"a": 1}]


def test_deltas_of_two_blocks_in_turn_go_each_to_its_own() -> None:
    begun = [start(), block_start(0, type="text", text="a"), block_start(1, type="thinking", thinking="h")]
    deltas = [
        delta(0, "text_delta", text="b"),
        delta(1, "thinking_delta", thinking="m"),
        delta(0, "text_delta", text="c"),
    ]
    reading = stream(*begun, *deltas, block_stop(0), block_stop(1), message_delta(), STOP)
    assert (reading.text, reading.reasoning) == ("abc", "hm")
    assert [block.get("text") or block.get("thinking") for block in reading.response.raw["content"]] == ["abc", "hm"]


def test_an_explanation_is_told_once_and_raw_keeps_the_last_word() -> None:
    details = {"type": "refusal", "explanation": "Because."}
    wire = [
        start(),
        text_block(0, "a"),
        message_delta("refusal", stop_details=details),
        message_delta("refusal", stop_details=details),
        STOP,
    ]
    reading = stream(*wire)
    assert [each for each in reading.events if isinstance(each, RefusalDelta)] == [RefusalDelta("Because.")]
    assert reading.response.refusal == "Because."
    assert (reading.response.raw["stop_reason"], reading.response.raw["stop_details"]) == ("refusal", details)
    assert reading.response.raw["usage"] == {"input_tokens": 10, "output_tokens": 7}


def test_what_was_cut_is_told_with_its_provider_and_model() -> None:
    error = stream(start(), block_start(0, type="text", text=""), delta(0, "text_delta", text="Hel")).error
    assert error is not None
    assert error.message == "the stream was cut: it ended without stop_reason and message_stop"
    assert (error.provider, error.model, error.code) == ("anthropic", "claude-x", "truncated")
    assert error.partial is not None
    assert error.partial.content == "Hel"


def test_a_version_is_noted_only_beside_thinking() -> None:
    cited = block_start(0, type="text", text="a", citations=[{"type": "x"}]) + block_stop(0)
    plain = stream(start(), cited, message_delta(), STOP).response.message
    assert plain["native"]["blocks"]
    assert "version" not in plain["native"]
    thought = block_start(0, type="thinking", thinking="hm") + block_stop(0)
    noted = stream(start(), thought, text_block(1, "a"), message_delta(), STOP).response.message
    assert noted["native"]["version"] == "2026-10-21"


@pytest.mark.parametrize("kind", ["message_stop", "error"])
def test_what_may_end_a_stream_without_its_blank_line(kind: str) -> None:
    last = event(kind, error={"type": "api_error", "message": "m"})[:-1] if kind == "error" else STOP[:-1]
    reading = stream(start(), text_block(0, "a"), message_delta(), last)
    assert reading.text == "a"
    assert (reading.error is None) == (kind == "message_stop")
    said = stream(start(), text_block(0, "a"), message_delta()[:-1])
    assert said.error is None
    assert said.response.finish_reason == "stop"
    unsaid = stream(start(), text_block(0, "a"), delta(0, "text_delta", text="b")[:-1])
    assert unsaid.error is not None
    assert unsaid.text == "a"


def test_an_error_in_a_whole_reply_by_its_type_or_its_key() -> None:
    for value in ({"type": "error", "error": {"type": "api_error", "message": "m"}}, {"error": {"message": "m"}}):
        error = whole(value).error
        assert error is not None
        assert error.message == "m"
    odd = whole({"type": "error", "content": []}).error
    assert odd is not None, "whatever else it holds"
