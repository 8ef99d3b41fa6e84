"""Where one answer was asked for, every choice is that one: some servers count its index up with each chunk."""

from __future__ import annotations

import json

import pytest

from sans_io.calls.replay import decode
from sans_io.chat.messages import chat_request
from sans_io.chat.response import ChatResponse
from sans_io.http.urls import parse_base_url
from sans_io.providers.openai_chat.codec import OpenAICodec
from sans_io.providers.registry import DIALECTS
from tests.providers.openai.kit import body, chunk, sse

ROLE = {"role": "assistant", "content": ""}


def answer(data: bytes, *, stream: bool = True, **options: object) -> ChatResponse:
    """What a client makes of it, byte by byte too."""
    chat = chat_request([{"role": "user", "content": "hello"}], "m", stream=stream, **options)
    operation = OpenAICodec(parse_base_url("http://localhost/v1"), DIALECTS["generic"]).operation(chat)
    reader = operation.new_reader()
    reader.receive_data(data)
    reader.receive_eof()
    assert reader.error is None
    bytewise = operation.new_reader()
    for i in range(len(data)):
        bytewise.receive_data(data[i : i + 1])
    bytewise.receive_eof()
    assert bytewise.response() == reader.response()
    assert bytewise.response().raw == reader.response().raw
    return reader.response()


def say(index: object, text: str) -> dict:
    return chunk({"content": text}, None, index)


STREAMS = {
    "counts up": [chunk(ROLE, None, 0), say(1, "Hel"), say(2, "lo"), chunk({}, "stop", 3)],
    "counts up with the text": [say(0, "He"), say(1, "ll"), say(2, "o"), chunk({}, "stop", 3)],
    "the role each time": [chunk({"role": "assistant", "content": x}, None, i) for i, x in enumerate(("He", "l", "lo"))]
    + [chunk({}, "stop", 3)],
    "the end has index 0": [say(0, "He"), say(1, "ll"), say(2, "o"), chunk({}, "stop", 0)],
    "the end is with the text": [say(0, "He"), say(1, "ll"), chunk({"content": "o"}, "stop", 2)],
    "beyond every cap": [say(i, "x") for i in range(300)] + [chunk({}, "stop", 300)],
}
#: Only who asked can know that these are one answer.
ODD = {
    "from 1": [say(1, "He"), say(2, "llo"), chunk({}, "stop", 3)],
    "negative": [say(-1, "He"), say(-1, "llo"), chunk({}, "stop", -1)],
    "at random": [say(7, "He"), say(3, "llo"), chunk({}, "stop", 12)],
    "no number": [say("a", "He"), say(None, "llo"), chunk({}, "stop", 1)],
}


@pytest.mark.parametrize("case", [*STREAMS, *ODD])
def test_a_stream(case: str) -> None:
    data = sse(*({**STREAMS, **ODD})[case])
    response = answer(data)
    text = "x" * 300 if case == "beyond every cap" else "Hello"
    assert (response.content, response.finish_reason, len(response.choices)) == (text, "stop", 1)
    assert response.message == {"role": "assistant", "content": text}
    assert [choice["index"] for choice in response.raw["choices"]] == [0]
    assert answer(data, n=1) == response


@pytest.mark.parametrize("case", STREAMS)
def test_recorded_bytes_of_an_unknown_request(case: str) -> None:
    response = decode("openai", 200, {}, [sse(*STREAMS[case])], stream=True)
    assert (response.content, len(response.choices)) == ("x" * 300 if case == "beyond every cap" else "Hello", 1)


def test_a_tool_call_whose_chunks_count_up() -> None:
    def call(index: int, **function: str) -> dict:
        return chunk({"tool_calls": [{"index": 0, "id": "a", "function": function}]}, None, index)

    data = sse(call(0, name="f"), call(1, arguments='{"x"'), call(2, arguments=":1}"), chunk({}, "tool_calls", 3))
    assert [call.arguments for call in answer(data).tool_calls] == [{"x": 1}]


@pytest.mark.parametrize(
    "indexes", [(0, 1, 0, 1, 0, 1), (1, 0, 1, 0, 1, 0), (0, 0, 0, 1, 1, 1), (1, 1, 1, 0, 0, 0), (0, 1, 1, 1, 0, 0)]
)
def test_two_answers_stay_two(indexes: tuple[int, ...]) -> None:
    left = {i: [chunk(ROLE, None, i), say(i, f"answer {i}"), chunk({}, "stop", i)] for i in (0, 1)}
    data = sse(*(left[i].pop(0) for i in indexes))
    for response in (answer(data, n=2), decode("openai", 200, {}, [data], stream=True)):
        assert [choice.content for choice in response.choices] == ["answer 0", "answer 1"]
        assert response.content == "answer 0"


@pytest.mark.parametrize("answers", [2, 3])
def test_answers_that_take_turns_from_their_first_word_on(answers: int) -> None:
    said = [say(i, f"{word}{i} ") for word in ("a", "b", "c") for i in range(answers)]
    ends = [chunk({}, "stop", i) for i in range(answers)]
    response = decode("openai", 200, {}, [sse(*said, *ends)], stream=True)
    assert [choice.content for choice in response.choices] == [f"a{i} b{i} c{i} " for i in range(answers)]


def test_two_answers_of_an_unknown_request_one_after_the_other() -> None:
    """Where the second chunk has index 0 again, nothing counts up."""
    data = sse(say(0, "a"), say(0, "b"), say(1, "c"), say(1, "d"), chunk({}, "stop", 0), chunk({}, "stop", 1))
    response = decode("openai", 200, {}, [data], stream=True)
    assert [choice.content for choice in response.choices] == ["ab", "cd"]


@pytest.mark.parametrize("options", [{"n": 2}, {"extra_body": {"n": 2}}])
def test_two_were_asked_for(options: dict) -> None:
    value = body()
    value["choices"].append({**value["choices"][0], "index": 1})
    data = json.dumps(value).encode()
    assert len(answer(data, stream=False, **options).choices) == 2
    assert len(decode("openai", 200, {}, [data], stream=False).choices) == 2


def test_a_whole_reply_in_two_choices() -> None:
    """Copilot sends text and calls of one answer so, with one index or two."""
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}}
    other = {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}}
    for index in (0, 1):
        value = body({"role": "assistant", "content": "Let me look."}, "tool_calls")
        for entry in (call, other):
            choice = {"index": index, "message": {"role": "assistant", "tool_calls": [entry]}}
            value["choices"].append({**choice, "finish_reason": "tool_calls"})
        response = answer(json.dumps(value).encode(), stream=False)
        assert response.content == "Let me look."
        assert [(one.id, one.name, one.arguments) for one in response.tool_calls] == [
            ("a", "f", {"x": 1}),
            ("b", "g", {}),
        ]
        assert len(response.choices) == 1
