"""`ReplyAssembler`: what a codec writes into the slots is what the response says, fresh every time."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sans_io.chat.assembly import ChoiceAssembler, ReplyAssembler
from sans_io.chat.events import Finished, ToolCallCompleted
from sans_io.chat.response import ChatResponse, Choice, Usage
from sans_io.chat.tool_calls import INCOMPLETE
from sans_io.limits import DEFAULT_LIMITS


def assembled(**slots: Any) -> ReplyAssembler:
    reply = ReplyAssembler()
    choice = reply.choice(0)
    assert choice is not None
    for name, value in slots.items():
        setattr(choice, name, value)
    return reply


def call_of(choice: ChoiceAssembler | None, arguments: Any, name: str = "f", label: str = "a") -> None:
    assert choice is not None
    choice.tools.fragment(index=0, id=label, name=name, arguments=arguments)


def mutable_parts(value: Any) -> dict[int, Any]:
    """Every list and dict reachable from a response, by identity."""
    found: dict[int, Any] = {}
    if isinstance(value, (list, dict)):
        found[id(value)] = value
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    if hasattr(value, "__dataclass_fields__"):
        inner = [getattr(value, name) for name in value.__dataclass_fields__ if name != "raw"]
    for item in inner:
        found |= mutable_parts(item)
    return found


def test_a_plain_answer() -> None:
    reply = assembled(text=["Hel", "lo"], finish_reason="stop", raw_finish_reason="end_turn")
    reply.model = "m"
    reply.usage = Usage(3, 2, 1)
    assert reply.finish() == [Finished("stop", "end_turn", 0)]
    assert reply.finish() == []
    message = {"role": "assistant", "content": "Hello"}
    raw = {"id": "x"}
    response = reply.response(raw)
    assert response == ChatResponse(
        content="Hello",
        model="m",
        input_tokens=3,
        output_tokens=2,
        finish_reason="stop",
        raw={"id": "x"},
        raw_finish_reason="end_turn",
        usage=Usage(3, 2, 1),
        message=message,
        choices=(Choice(0, "Hello", "stop", "end_turn", message=message),),
    )
    assert response.raw is raw


def test_nothing_has_arrived() -> None:
    assert ReplyAssembler().response({}) == ChatResponse()
    assert assembled().response({}).choices == (Choice(message={"role": "assistant", "content": ""}),)
    assert ReplyAssembler().finish() == []


def test_reasoning_refusal_and_extras() -> None:
    reply = assembled(
        reasoning=["a", "b"], refusal=["no"], extras={"reasoning_content": "ab", "blocks": [{"t": "\ud800"}]}
    )
    response = reply.response({})
    assert (response.reasoning, response.refusal, response.content) == ("ab", "no", "")
    assert response.message == {
        "role": "assistant",
        "content": "",
        "reasoning_content": "ab",
        "blocks": [{"t": "\ufffd"}],
    }
    assert assembled(reasoning=[""]).response({}).reasoning is None


def test_tool_calls_become_runnable_at_the_end_only() -> None:
    reply = assembled(finish_reason="stop")
    call_of(reply.choice(0), '{"x": 1}')
    before = reply.response({})
    assert (before.tool_calls, before.finish_reason, before.has_tool_calls) == ([], "stop", False)
    assert [call.arguments_error for call in before.invalid_tool_calls] == [INCOMPLETE]
    assert "tool_calls" not in before.message
    events = reply.finish()
    assert [type(event) for event in events] == [ToolCallCompleted, Finished]
    assert events[1] == Finished("tool_calls", None, 0), "a stop with calls to run means tool_calls"
    after = reply.response({})
    assert [(call.id, call.arguments) for call in after.tool_calls] == [("a", {"x": 1})]
    assert after.finish_reason == "tool_calls"
    assert after.message == {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}],
    }


@pytest.mark.parametrize("arguments", ['{"x"', "[]", '{"x":1,"x":2}'])
def test_a_call_that_cannot_be_run_is_not_sent_back(arguments: str) -> None:
    reply = assembled(text=["t"], finish_reason="length")
    call_of(reply.choice(0), arguments)
    assert reply.finish()[-1] == Finished("length", None, 0)
    response = reply.response({})
    assert response.tool_calls == []
    assert response.invalid_tool_calls[0].raw_arguments == arguments
    assert response.message == {"role": "assistant", "content": "t"}


@pytest.mark.parametrize("arguments", ["", "null", None, {}])
def test_calls_without_arguments_are_sent_back_as_an_empty_object(arguments: Any) -> None:
    reply = assembled(finish_reason="tool_calls")
    call_of(reply.choice(0), arguments)
    reply.finish()
    assert reply.response({}).message["tool_calls"][0]["function"]["arguments"] == "{}"


@pytest.mark.parametrize(
    ("extras", "expected"),
    [
        (
            {"signature": "s"},
            {"signature": "s", "id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}},
        ),
        (
            {"function": {"strict": True, "name": "x"}},
            {"id": "a", "type": "function", "function": {"strict": True, "name": "f", "arguments": "{}"}},
        ),
        ({"function": None}, {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}),
        ({"type": "custom", "custom": {"input": "t"}}, {"id": "a", "type": "custom", "custom": {"input": "t"}}),
    ],
)
def test_keys_of_a_call_are_sent_back(extras: dict[str, Any], expected: dict[str, Any]) -> None:
    reply = assembled(finish_reason="stop")
    choice = reply.choice(0)
    assert choice is not None
    choice.tools.fragment(index=0, id="a", name="f", arguments="{", extras=extras)
    choice.tools.fragment(index=0, arguments="}")
    reply.finish()
    assert reply.response({}).message["tool_calls"] == [expected]


@pytest.mark.parametrize("reason", [None, "", "stop", "length", "content_filter", "pause", "error", "other"])
def test_finish_reasons(reason: str | None) -> None:
    reply = assembled(finish_reason=reason)
    assert reply.finish() == [Finished(reason or "other", None, 0)]
    assert reply.response({}).finish_reason == (reason or "other")


def test_several_choices() -> None:
    reply = ReplyAssembler()
    for index in (2, 0, 1):
        choice = reply.choice(index)
        assert choice is not None
        assert reply.choice(index) is choice
        choice.text.append(f"answer {index}")
        choice.finish_reason = "stop"
    call_of(reply.choice(1), "{}")
    assert [event.choice for event in reply.finish()] == [0, 1, 1, 2]
    response = reply.response({})
    assert response.content == "answer 0"
    assert [(one.index, one.content, one.finish_reason) for one in response.choices] == [
        (0, "answer 0", "stop"),
        (1, "answer 1", "tool_calls"),
        (2, "answer 2", "stop"),
    ]
    assert (response.tool_calls, response.finish_reason) == ([], "stop")


def test_without_choice_0_the_lowest_one_is_on_top() -> None:
    reply = ReplyAssembler()
    for index in (4, 3):
        choice = reply.choice(index)
        assert choice is not None
        choice.text.append(str(index))
    assert reply.response({}).content == "3"


@pytest.mark.parametrize("index", [-1, 256, 10**30, None, "0", 0.0, True])
def test_what_is_no_index(index: Any) -> None:
    reply = ReplyAssembler()
    assert reply.choice(index) is None
    assert reply.choices == {}
    assert reply.choice(255) is not None
    assert ReplyAssembler(replace(DEFAULT_LIMITS, max_tool_index=3)).choice(4) is None


def test_the_error_of_a_choice_is_the_error_of_the_reply() -> None:
    reply = ReplyAssembler()
    first, second = reply.choice(0), reply.choice(1)
    assert first is not None
    assert second is not None
    assert not second.has_tools
    assert reply.error is None
    second.tools.fragment(index=256, id="a", name="f")
    assert not second.has_tools
    assert reply.error is second.error is not None
    assert reply.error.code == "too_many_tool_calls"


json_values = st.recursive(
    st.none() | st.integers() | st.text(st.characters(exclude_categories=()), max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
any_text = st.lists(st.text(st.characters(exclude_categories=()), max_size=4), max_size=4)


@given(
    any_text,
    any_text,
    any_text,
    st.dictionaries(st.text(max_size=3), json_values, max_size=3),
    st.booleans(),
    json_values,
)
def test_responses_share_nothing_and_always_encode(
    text: list[str], reasoning: list[str], refusal: list[str], extras: dict[str, Any], ended: bool, arguments: Any
) -> None:
    reply = assembled(text=text, reasoning=reasoning, refusal=refusal, extras=extras, finish_reason="stop")
    call_of(reply.choice(0), arguments)
    if ended:
        reply.finish()
    first, second = reply.response({}), reply.response({})
    assert first == second
    assert not mutable_parts(first).keys() & mutable_parts(second).keys()
    assert not mutable_parts(first).keys() & mutable_parts(extras).keys()
    shown = [first.content, first.reasoning, first.refusal, first.message, first.choices[0].message]
    shown += [[call.arguments, call.raw_arguments] for call in first.tool_calls + first.invalid_tool_calls]
    json.dumps(shown, ensure_ascii=False).encode()
    before = json.dumps(shown)
    for part in mutable_parts(second).values():
        part.clear()
    assert json.dumps(shown) == before
    assert reply.response({}) == first
