"""What a response offers beyond its text: its JSON, and tool results that report a failure."""

from __future__ import annotations

import pytest

from sans_io.chat.messages import chat_request
from sans_io.chat.response import Attempt, ChatResponse, ToolCall, deferred
from sans_io.chat.shapes import FinishReason
from sans_io.decode.jsontext import JSONTextError
from sans_io.errors import LLMBadRequestError, LLMError, LLMProtocolError


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


@pytest.mark.parametrize(
    ("finish", "raw", "words"),
    [
        ("length", "length", "cut at the limit of tokens; increase max_tokens"),
        ("content_filter", "content_filter", "cut by a content filter"),
        ("pause", "pause_turn", "cut by a pause"),
        ("error", "error", "cut by an error of the server"),
        ("other", None, "cut: it ended without a finish reason"),
        ("other", "some_new_word", ""),
        ("stop", "stop", ""),
        ("tool_calls", "tool_calls", ""),
    ],
)
@pytest.mark.parametrize("content", ['{"a": [1,', '{"a": "b', '{"a"', "[1, 2", ""])
def test_an_answer_that_was_cut_says_so(finish: FinishReason, raw: str | None, words: str, content: str) -> None:
    response = ChatResponse(content=content, finish_reason=finish, raw_finish_reason=raw)
    with pytest.raises(LLMProtocolError) as caught:
        response.json()
    assert caught.value.message.startswith("the answer is not JSON: ")
    assert ("it was cut" in caught.value.message) == bool(words)
    assert words in caught.value.message
    assert "at character" in caught.value.message
    assert "at at" not in caught.value.message


def test_a_tool_result_says_when_the_tool_failed() -> None:
    call = ToolCall.from_openai({"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}})
    assert call.result({"left": 2}) == {
        "role": "tool", "tool_call_id": "c1", "name": "f", "content": '{"left":2}',
    }  # fmt: skip
    assert call.result("no such file", is_error=True) == {
        "role": "tool", "tool_call_id": "c1", "name": "f", "content": "no such file", "is_error": True,
    }  # fmt: skip


def test_an_error_made_of_nothing_says_nothing() -> None:
    error = LLMError()
    assert vars(error) == {
        "message": "", "status_code": None, "code": None, "error_type": None, "request_id": None, "retry_after": None,
        "provider": None, "model": None, "attempts": (), "partial": None, "may_be_billed": False, "body": None,
        "phase": None, "retry_suppressed": None,
    }  # fmt: skip
    said = LLMError("m", attempts=(Attempt(1, 0.0, 1.0),), retry_suppressed="budget", may_be_billed=True, phase="body")
    assert (said.attempts, said.retry_suppressed, said.may_be_billed, said.phase) == (
        (Attempt(1, 0.0, 1.0),), "budget", True, "body",
    )  # fmt: skip


def test_what_is_made_late_is_made_once() -> None:
    made: list[object] = []

    def note(value: object) -> object:
        made.append(value)
        return value

    headers, limits = {"a": "b"}, {"limit": 5.0}
    response = ChatResponse()
    response.headers = deferred(note, headers)
    response.rate_limit = deferred(note, limits)
    response.request_id = deferred(note, "r-1")
    assert made == []
    for _ in range(2):
        assert response.headers is headers
        assert response.rate_limit is limits
        assert response.request_id == "r-1"
    assert made == [headers, limits, "r-1"]
    response.headers = {}
    assert response.headers == {}


@pytest.mark.parametrize(
    ("value", "fits"), [(2**63 - 1, True), (2**63, False), (-(2**63), True), (-(2**63) - 1, False)]
)
def test_a_seed_fits_in_64_bits(value: int, fits: bool) -> None:
    messages = [{"role": "user", "content": "Hi"}]
    if fits:
        assert chat_request(messages, seed=value).options["seed"] == value
    else:
        with pytest.raises(LLMBadRequestError, match="^seed does not fit in 64 bits$"):
            chat_request(messages, seed=value)
