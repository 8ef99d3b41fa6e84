"""What a response offers beyond its text: its JSON, and tool results that report a failure."""

from __future__ import annotations

import pytest

from sans_io.errors import LLMProtocolError
from sans_io.jsontext import JSONTextError
from sans_io.response import ChatResponse, ToolCall


def test_an_answer_that_is_json_is_read() -> None:
    assert ChatResponse(content='{"a": [1, null]}').json() == {"a": [1, None]}


@pytest.mark.parametrize("content", ["", "Sure! {}", "{'a': 1}", '{"a": NaN}', "[" * 100_000])
def test_an_answer_that_is_not_json_is_one_error_with_the_answer(content: str) -> None:
    response = ChatResponse(content=content, model="m")
    with pytest.raises(LLMProtocolError, match="the answer is not JSON") as caught:
        response.json()
    assert (caught.value.code, caught.value.model) == ("answer_not_json", "m")
    assert caught.value.partial is response
    assert isinstance(caught.value.__cause__, JSONTextError)


def test_a_tool_result_says_when_the_tool_failed() -> None:
    call = ToolCall.from_openai({"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}})
    assert call.result({"left": 2}) == {
        "role": "tool", "tool_call_id": "c1", "name": "f", "content": '{"left":2}',
    }  # fmt: skip
    assert call.result("no such file", is_error=True) == {
        "role": "tool", "tool_call_id": "c1", "name": "f", "content": "no such file", "is_error": True,
    }  # fmt: skip
