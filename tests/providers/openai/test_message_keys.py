"""What a reply's message holds for the way back: the deprecated `function_call` as a tool call, pictures once each, and
no empty shells, repeated ids or stray indexes.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from sans_io.calls.replay import decode
from sans_io.chat.response import ChatResponse
from tests.providers.openai.kit import body, chunk, sse


def whole(message: dict, finish: str = "stop") -> ChatResponse:
    reply = json.dumps(body({"role": "assistant", "content": None, **message}, finish)).encode()
    return decode("openai", 200, {}, [reply], stream=False)


def streamed(*deltas: dict, finish: str = "stop") -> ChatResponse:
    data = sse(*map(chunk, deltas), chunk({}, finish))
    response = decode("openai", 200, {}, [data], stream=True)
    assert decode("openai", 200, {}, [data[i : i + 1] for i in range(len(data))], stream=True) == response
    return response


# ---- function_call --------------------------------------------------------------------------------------------------

CALL = {"name": "f", "arguments": '{"x":1}'}
ENTRY = {"id": "call_0", "type": "function", "function": CALL}


@pytest.mark.parametrize("finish", ["function_call", "stop", "tool_calls"])
@pytest.mark.parametrize(
    "deltas",
    [
        [{"function_call": CALL}],
        [{"role": "assistant", "content": None, "function_call": {"name": "f"}}, {"function_call": {"arguments": '{"x":1}'}}],
        [{"function_call": {"name": "f", "arguments": ""}}, {"function_call": {"arguments": '{"x"'}},
         {"function_call": {"arguments": ":1}"}}],
        [{"function_call": {"name": "f", "arguments": '{"x"'}}, {"function_call": {"name": "f", "arguments": ":1}"}}],
        [{"function_call": {"name": "f", "arguments": {"x": 1}}}],
        [{"function_call": CALL, "tool_calls": []}, {"function_call": {"name": "", "arguments": ""}}],
    ],
)  # fmt: skip
def test_a_function_call_is_a_tool_call(deltas: list[dict], finish: str) -> None:
    for response in (streamed(*deltas, finish=finish), whole({"function_call": CALL}, finish)):
        assert [(call.id, call.name, call.arguments) for call in response.tool_calls] == [("call_0", "f", {"x": 1})]
        assert response.finish_reason == "tool_calls"
        assert response.message == {"role": "assistant", "content": None, "tool_calls": [ENTRY]}
        assert response.tool_calls[0].result("done")["tool_call_id"] == "call_0"


def test_beside_tool_calls_it_says_the_same_again() -> None:
    entry = {"index": 0, "id": "a", "type": "function", "function": CALL}
    for response in (
        whole({"function_call": CALL, "tool_calls": [entry]}),
        streamed({"function_call": CALL, "tool_calls": [entry]}),
        streamed({"tool_calls": [entry]}, {"function_call": CALL}),
    ):
        assert [(call.id, call.arguments) for call in response.tool_calls] == [("a", {"x": 1})]


@pytest.mark.parametrize("finish", ["length", "content_filter"])
def test_a_function_call_that_lost_its_arguments(finish: str) -> None:
    for response in (
        streamed({"function_call": {"name": "f"}}, finish=finish),
        whole({"function_call": {"name": "f"}}, finish),
    ):
        assert (response.tool_calls, len(response.invalid_tool_calls)) == ([], 1)
        assert "function_call" not in response.message


# ---- shells ---------------------------------------------------------------------------------------------------------

SHELLS = [
    {"function_call": {"name": ""}},
    {"function_call": {"name": "", "arguments": ""}},
    {"function_call": {"name": None, "arguments": None}},
    {"audio": {"id": ""}},
    {"audio": {"id": "", "data": "", "expires_at": 0, "transcript": ""}},
    {"audio": {}},
    {"images": [{"type": "", "image_url": {"url": ""}}]},
    {"reasoning_details": [{}]},
    {"tool_calls": [], "annotations": [], "refusal": ""},
]


@pytest.mark.parametrize("shell", SHELLS)
def test_empty_shells_are_not_kept(shell: dict) -> None:
    plain = {"role": "assistant", "content": "Hi"}
    assert whole({**shell, "content": "Hi"}).message == plain
    assert streamed({**shell, "content": "H"}, {**shell, "content": "i"}).message == plain


def test_audio_is_kept() -> None:
    audio = {"id": "audio_1", "data": "AAAA", "expires_at": 0, "transcript": ""}
    assert whole({"audio": audio}).message["audio"] == audio
    response = streamed(
        {"audio": {"id": "audio_1", "data": "AA"}}, {"audio": {"id": "", "data": "AA"}}, {"audio": {"id": ""}}
    )
    assert response.message["audio"] == {"id": "audio_1", "data": "AAAA"}


def test_what_is_false_or_a_number_is_no_shell() -> None:
    assert whole({"flags": {"cached": False}}).message["flags"] == {"cached": False}


# ---- pictures -------------------------------------------------------------------------------------------------------


def picture(text: str, index: int | None = 0) -> dict[str, Any]:
    place = {} if index is None else {"index": index}
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{text}"}, **place}


@pytest.mark.parametrize("index", [0, None])
def test_pictures_are_kept_once_each(index: int | None) -> None:
    one, two = picture("AAAA", index), picture("BBBB", index)
    both = [one, two]
    assert whole({"images": both}).message["images"] == both
    for deltas in (
        [{"images": both}],
        [{"images": [one]}, {"images": [two]}],
        [{"images": [one]}, {"images": [one]}, {"images": both}],
        [{"images": [one]}, {"images": []}, {"content": "x"}, {"images": [two]}, {"images": [two]}],
    ):
        assert streamed(*deltas).message["images"] == both


def test_a_large_picture_passes_in_both_forms() -> None:
    image = picture("A" * 3_000_000)
    assert whole({"images": [image]}).message["images"] == [image]
    data = sse(chunk({"images": [image]}), chunk({}, "stop"))
    pieces = [data[i : i + 65536] for i in range(0, len(data), 65536)]
    assert decode("openai", 200, {}, pieces, stream=True).message["images"] == [image]


# ---- ids and indexes ------------------------------------------------------------------------------------------------


def entries(*labels: Any) -> list[dict]:
    """Calls with these ids."""
    return [
        {"index": i, "id": label, "type": "function", "function": {"name": "f", "arguments": f'{{"x":{i}}}'}}
        for i, label in enumerate(labels)
    ]


@pytest.mark.parametrize(
    "labels",
    [
        ("a", "a"),
        ("", ""),
        (None, None),
        ("a", ""),
        ("call_1", ""),
        ("", "call_0"),
        ("a", "a", "a", ""),
        ("call_1", "call_1"),
    ],
)
def test_ids_are_unique_within_a_reply(labels: tuple[Any, ...]) -> None:
    calls = entries(*labels)
    forms = [
        whole({"tool_calls": calls}),
        streamed({"tool_calls": calls}),
        streamed(*({"tool_calls": [call]} for call in calls)),
    ]
    for response in forms:
        ids = [call.id for call in response.tool_calls]
        assert len(set(ids)) == len(labels)
        assert "" not in ids
        assert [call.arguments for call in response.tool_calls] == [{"x": i} for i in range(len(labels))]
        assert [entry["id"] for entry in response.message["tool_calls"]] == ids
    assert len({tuple(call.id for call in response.tool_calls) for response in forms}) == 1


PARTS = [
    {}, {"type": "text"}, {"type": 5}, {"type": ""}, {"type": "image_url", "image_url": {"url": "file:///x"}},
    {"type": "image_url"}, {"type": "input_audio", "input_audio": {}}, {"type": "file"}, {"type": "refusal"},
]  # fmt: skip


@pytest.mark.parametrize("part", PARTS)
def test_a_part_that_is_none_is_not_kept(part: dict) -> None:
    text, picture = {"type": "text", "text": "x"}, {"type": "image_url", "image_url": {"url": "https://a.example/x"}}
    for response in (whole({"content": [part, text]}), streamed({"content": [part]}, {"content": "x"})):
        assert response.message["content"] == [text]
        assert response.raw["choices"][0]["message"]["content"] == [part, text]
    assert whole({"content": [part, text, picture]}).message["content"] == [text, picture]
    assert not whole({"content": [part]}).message["content"]


@pytest.mark.parametrize("where", ["call", "function"])
def test_a_stray_index_is_not_kept(where: str) -> None:
    call = {"id": "a1B2c3D4e", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    (call if where == "call" else call["function"])["index"] = 0  # type: ignore[index]
    plain = {"id": "a1B2c3D4e", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    assert whole({"tool_calls": [call]}).message["tool_calls"] == [plain]
    assert streamed({"tool_calls": [call]}).message["tool_calls"] == [plain]


def test_what_a_vendor_wants_back_is_kept() -> None:
    extra = {"google": {"thought_signature": "c2ln"}}
    call = {**entries("a")[0], "extra_content": extra}
    for response in (whole({"tool_calls": [call]}), streamed({"tool_calls": [call]})):
        assert response.message["tool_calls"][0]["extra_content"] == extra
