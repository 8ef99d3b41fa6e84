"""Ids of tool calls as servers send them: text, numbers, nothing; and calls whose arguments come twice or not at all."""

from __future__ import annotations

from typing import Any

import pytest

from sans_io.chat.events import ToolCallDelta
from sans_io.chat.response import ToolCall
from sans_io.chat.tool_calls import ToolCallAssembler


def assembled(*fragments: dict[str, Any]) -> ToolCallAssembler:
    tools = ToolCallAssembler()
    for fragment in fragments:
        tools.fragment(**{"index": None, "id": None, "name": None, "arguments": None, **fragment})
    tools.finish()
    return tools


@pytest.mark.parametrize("number", [0, 7, 126, 1000, 2**63 - 1, -(2**63)])
def test_a_number_is_an_id_as_text(number: int) -> None:
    ((call,), _) = assembled({"id": number, "name": "f", "arguments": "{}"}).tool_calls()
    assert call.id == str(number)


@pytest.mark.parametrize("label", [2**63, -(2**63) - 1, 1.5, True, None, [], {}])
def test_what_is_no_id_gets_one(label: Any) -> None:
    ((call,), _) = assembled({"id": label, "name": "f", "arguments": "{}"}).tool_calls()
    assert call.id == "call_0"


def test_ids_that_were_made_up_avoid_those_that_were_given() -> None:
    calls, _ = assembled(
        {"index": 0, "id": "call_1", "name": "f", "arguments": "{}"}, {"index": 1, "name": "g", "arguments": "{}"}
    ).tool_calls()
    assert len({call.id for call in calls}) == 2


def test_made_up_ids_avoid_one_another_too() -> None:
    given = [{"index": 0, "id": "call_1", "name": "f", "arguments": "{}"}]
    given += [{"index": place, "name": "f", "arguments": "{}"} for place in (1, 2, 3)]
    calls, _ = assembled(*given).tool_calls()
    assert len({call.id for call in calls}) == 4


def test_an_empty_object_is_no_text_as_long_as_text_may_follow() -> None:
    tools = ToolCallAssembler()
    assert len(tools.fragment(index=0, id="a", name="f")) == 1
    assert tools.fragment(index=0, arguments={}) == []
    assert [type(event) for event in tools.fragment(index=0, arguments='{"a":1}')] == [ToolCallDelta]
    tools.finish()
    ((call,), _) = tools.tool_calls()
    assert call.arguments == {"a": 1}


def test_two_whole_calls_of_one_tool_without_ids_are_two() -> None:
    calls, _ = assembled({"name": "f", "arguments": {"a": 1}}, {"name": "f", "arguments": {"a": 2}}).tool_calls()
    assert [call.arguments for call in calls] == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize("arguments", [None, "", 5])
def test_a_call_whose_arguments_are_no_object_has_no_text_of_our_own_for_them(arguments: Any) -> None:
    call = ToolCall.from_openai({"id": "a", "function": {"name": "f", "arguments": arguments}})
    assert call.raw_arguments == ""
    assert call.arguments == {}


def test_arguments_given_as_an_object_are_written_as_json() -> None:
    call = ToolCall.from_openai({"id": "a", "function": {"name": "f", "arguments": {"a": [1]}}})
    assert (call.arguments, call.raw_arguments, call.arguments_error) == ({"a": [1]}, '{"a":[1]}', None)
