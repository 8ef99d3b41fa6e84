"""A tool call whose arguments were lost, or may have been, is never offered to be run with `{}`: on every wire, whole
and streamed. What can be put together is; the rest is in `invalid_tool_calls`, with the reason.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from sans_io.calls.replay import decode
from sans_io.chat.response import ChatResponse
from sans_io.chat.tool_calls import INCOMPLETE, LOST
from sans_io.errors import LLMProtocolError
from tests.providers.openai.kit import body, chunk, sse

NAMELESS = "the call has no name"
Calls = list[tuple[str, Any]]


def calls_of(response: ChatResponse) -> tuple[Calls, Calls]:
    """(name, arguments) of each that may be run, (name, reason) of each that may not."""
    runnable = [(call.name, call.arguments) for call in response.tool_calls]
    return runnable, [(call.name, call.arguments_error) for call in response.invalid_tool_calls]


def streamed(wire: str, data: bytes) -> tuple[Calls, Calls]:
    """What came of it, the same however it is cut."""
    whole = decode(wire, 200, {}, [data], stream=True)
    assert decode(wire, 200, {}, [data[i : i + 1] for i in range(len(data))], stream=True) == whole
    kept = whole.message.get("tool_calls", [])
    assert [entry["function"]["name"] for entry in kept] == [call.name for call in whole.tool_calls]
    return calls_of(whole)


# ---- OpenAI's wire --------------------------------------------------------------------------------------------------


def delta(index: int | None = 0, id: str | None = None, name: str | None = None, text: Any = None, **more: Any) -> dict:  # noqa: A002
    function = {key: value for key, value in (("name", name), ("arguments", text)) if value is not None}
    entry = {"index": index, "id": id, "function": function, **more}
    return {"tool_calls": [{key: value for key, value in entry.items() if value is not None}]}


def openai(*deltas: dict, finish: str | None = "tool_calls") -> tuple[Calls, Calls]:
    return streamed("openai", sse(*map(chunk, deltas), chunk({}, finish)))


X = {"x": 1}
PUT_TOGETHER = {
    "the id changes": [delta(0, "a", "f"), delta(0, "b", None, '{"x":1}')],
    "the id changes with every piece": [delta(0, "a", "f", ""), delta(0, "b", None, '{"x"'), delta(0, "c", None, ":1}")],
    "the id changes, pieces without text": [delta(0, "a", "f"), delta(0, "b", None, ""), delta(0, "c", None, '{"x":1}')],
    "the id changes, no index": [delta(None, "a", "f"), delta(None, "b", None, '{"x":1}')],
    "the id changes, null name": [delta(0, "a", "f"), {"tool_calls": [
        {"index": 0, "id": "b", "type": "function", "function": {"name": None, "arguments": '{"x":1}'}}]}],
    "an empty name again": [delta(0, "a", "f", ""), delta(0, None, "", '{"x":1}')],
    "beside function": [delta(0, "a", "f", arguments='{"x":1}')],
    "beside function, an object": [delta(0, "a", "f", arguments={"x": 1})],
    "beside function, in pieces": [delta(0, "a", "f", arguments='{"x"'), delta(0, arguments=":1}")],
    "beside an empty text": [delta(0, "a", "f", "", arguments='{"x":1}')],
    "no function": [{"tool_calls": [{"index": 0, "id": "a", "name": "f", "arguments": '{"x":1}'}]}],
    "parameters": [{"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f", "parameters": {"x": 1}}}]}],
    "parameters in text": [{"tool_calls": [{"index": 0, "function": {"name": "f", "parameters": '{"x":1}'}}]}],
    "input": [{"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f", "input": {"x": 1}}}]}],
    "args": [{"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f", "args": {"x": 1}}}]}],
    "input beside function": [delta(0, "a", "f", input={"x": 1})],
    "parameters, no function": [{"tool_calls": [{"index": 0, "id": "a", "name": "f", "parameters": {"x": 1}}]}],
    "parameters beside empty arguments": [
        {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f", "arguments": {}, "parameters": {"x": 1}}}]}],
    "an object after an empty one in text": [delta(0, "a", "f", "{}"), delta(0, None, None, {"x": 1})],
    "text after an empty object in text": [delta(0, "a", "f", "{}"), delta(0, text='{"x"'), delta(0, text=":1}")],
    "an empty entry at another index": [delta(0, "a", "f", '{"x":1}'), delta(1, "", "", "")],
    "beside an empty object in text": [delta(0, "a", "f", "{}", arguments='{"x":1}')],
    "under two names, empty objects in text": [
        {"tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "{}", "args": "{}", "input": {"x": 1}}}]}],
    "name beside function": [{"tool_calls": [{"index": 0, "name": "f", "function": {"arguments": '{"x":1}'}}]}],
}  # fmt: skip


@pytest.mark.parametrize("case", PUT_TOGETHER)
@pytest.mark.parametrize("finish", ["tool_calls", "stop"])
def test_what_belongs_together(case: str, finish: str) -> None:
    assert openai(*PUT_TOGETHER[case], finish=finish) == ([("f", X)], [])


@pytest.mark.parametrize(
    "deltas",
    [
        [delta(0, "a", "get_"), delta(0, None, "weather", '{"x":1}')],
        [delta(0, "a", "get_", ""), delta(0, None, "weather", ""), delta(0, None, None, '{"x":1}')],
        [delta(0, "a", "get_"), delta(0, "a", "weather"), delta(0, "a", None, '{"x":1}')],
        [delta(0, None, "get_"), delta(0, None, "weather"), delta(0, None, None, '{"x":1}')],
        [delta(0, "a", "g"), delta(0, None, "et_"), delta(0, None, "weather"), delta(0, None, None, '{"x":1}')],
        [delta(0, "a", "get_"), delta(0, "a", "get_weather"), delta(0, None, None, '{"x":1}')],
        [delta(None, "a", "get_"), delta(None, None, "weather", '{"x":1}')],
    ],
)
def test_a_name_in_pieces(deltas: list[dict]) -> None:
    assert openai(*deltas) == ([("get_weather", X)], [])


HOMELESS = {
    "a new index": ([delta(0, "a", "f"), delta(1, None, None, '{"x":1}')], [("f", LOST), ("", NAMELESS)]),
    "a new index and id": ([delta(0, "a", "f"), delta(1, "b", None, '{"x":1}')], [("f", LOST), ("", NAMELESS)]),
    "an index far away": ([delta(0, "a", "f", ""), delta(7, None, None, "{}")], [("f", LOST), ("", NAMELESS)]),
    "before it": ([delta(3, None, None, '{"x":1}'), delta(0, "a", "f")], [("", NAMELESS), ("f", LOST)]),
    "a nameless call without text": ([delta(0, "a", "f"), delta(1, "b")], [("f", LOST), ("", NAMELESS)]),
    "white space is no text": ([delta(0, "a", "f", " \n"), delta(1, None, None, "{}")], [("f", LOST), ("", NAMELESS)]),
}


@pytest.mark.parametrize("case", HOMELESS)
def test_arguments_without_a_home(case: str) -> None:
    deltas, invalid = HOMELESS[case]
    runnable, found = openai(*deltas)
    assert runnable == []
    assert [(name, LOST if reason == LOST else NAMELESS) for name, reason in found] == invalid


def test_a_call_with_its_arguments_is_run_beside_a_nameless_one() -> None:
    runnable, invalid = openai(delta(0, "a", "f", '{"x":1}'), delta(1, "b", "g"), delta(2, None, None, '{"y":2}'))
    assert runnable == [("f", X)]
    assert [name for name, _ in invalid] == ["g", ""]


OTHER_ENDS = ["length", "content_filter", "max_tokens", "safety", "error", "some_new_word"]


@pytest.mark.parametrize("finish", OTHER_ENDS)
@pytest.mark.parametrize("text", [None, "", " "])
def test_a_name_and_then_another_end(finish: str, text: str | None) -> None:
    assert openai(delta(0, "a", "f", text), finish=finish) == ([], [("f", INCOMPLETE)])
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": text}}
    reply = json.dumps(body({"role": "assistant", "content": None, "tool_calls": [call]}, finish)).encode()
    assert calls_of(decode("openai", 200, {}, [reply], stream=False)) == ([], [("f", INCOMPLETE)])


def test_a_name_and_then_a_refusal() -> None:
    assert openai(delta(0, "a", "f"), {"refusal": "I will not."}, finish="stop") == ([], [("f", INCOMPLETE)])
    assert openai(delta(0, "a", "f"), finish="refusal") == ([], [("f", INCOMPLETE)])


def test_a_name_and_then_done_without_a_word() -> None:
    data = sse(chunk(delta(0, "a", "f")))
    assert streamed("openai", data) == ([], [("f", INCOMPLETE)])


@pytest.mark.parametrize("finish", ["stop", "tool_calls", "function_call", "eos", "end_turn", "tool_use"])
@pytest.mark.parametrize("text", [None, "", "{}", "null"])
def test_a_tool_without_arguments_is_run(finish: str, text: str | None) -> None:
    assert openai(delta(1, "", "", ""), delta(0, "a", "f", text), finish=finish) == ([("f", {})], [])
    assert openai(delta(0, "a", "f", text), finish=finish) == ([("f", {})], [])
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": text}}
    reply = json.dumps(body({"role": "assistant", "content": None, "tool_calls": [call]}, finish)).encode()
    assert calls_of(decode("openai", 200, {}, [reply], stream=False)) == ([("f", {})], [])


@pytest.mark.parametrize(
    "entry",
    [
        {"function": {"name": "f"}, "arguments": '{"x":1}'},
        {"function": {"name": "f", "parameters": {"x": 1}}},
        {"function": {"name": "f", "arguments": "", "input": '{"x":1}'}},
        {"name": "f", "arguments": {"x": 1}},
        {"name": "f", "parameters": '{"x":1}'},
        {"function": {"name": "f", "arguments": "{}"}, "arguments": {"x": 1}},
        {"function": {"name": "f", "arguments": {}, "parameters": '{"x":1}'}},
        {"name": "f", "function": {"arguments": '{"x":1}'}},
    ],
)
def test_a_whole_reply_with_arguments_in_other_places(entry: dict) -> None:
    reply = json.dumps(body({"role": "assistant", "tool_calls": [{"id": "a", "type": "function", **entry}]}))
    response = decode("openai", 200, {}, [reply.encode()], stream=False)
    assert calls_of(response) == ([("f", X)], [])
    entry = response.message["tool_calls"][0]
    assert entry.keys() == {"id", "type", "function"}
    assert entry["function"].keys() == {"name", "arguments"}


def test_an_empty_entry_of_a_whole_reply_is_no_call() -> None:
    for empty in ({}, {"id": "", "type": "function", "function": {"name": "", "arguments": ""}}, {"function": {}}):
        calls = [{"id": "a", "function": {"name": "f"}}, empty]
        reply = json.dumps(body({"role": "assistant", "tool_calls": calls}, "tool_calls")).encode()
        assert calls_of(decode("openai", 200, {}, [reply], stream=False)) == ([("f", {})], [])


def test_a_whole_reply_with_a_nameless_call() -> None:
    calls = [{"id": "a", "function": {"name": "f"}}, {"id": "b", "function": {"arguments": '{"x":1}'}}]
    reply = json.dumps(body({"role": "assistant", "tool_calls": calls})).encode()
    runnable, invalid = calls_of(decode("openai", 200, {}, [reply], stream=False))
    assert (runnable, [name for name, _ in invalid]) == ([], ["f", ""])


def test_a_function_call_that_comes_again_as_a_tool_call() -> None:
    function = {"name": "f", "arguments": '{"x":1}'}
    old, new = {"function_call": function}, delta(0, "a", "f", '{"x":1}')
    assert openai(old, new) == ([("f", X)], [("f", INCOMPLETE)])
    in_turns = [{"function_call": {"name": "f"}}, delta(0, "a", "f"), {"function_call": {"arguments": '{"x":1}'}}]
    assert openai(*in_turns, delta(0, text='{"x":1}')) == ([("f", X)], [("f", INCOMPLETE)])
    for deltas in ([new, old], [{**old, **new}], [{**old, "tool_calls": []}, {"tool_calls": [{"index": 0, "id": ""}]}]):
        assert openai(*deltas) == ([("f", X)], [])


def test_two_calls_without_id_and_index_in_one_chunk() -> None:
    both = {"tool_calls": [{"function": {"name": name, "arguments": ""}} for name in "fg"]}
    assert openai(both) == ([("f", {}), ("g", {})], [])


# ---- Anthropic's wire -----------------------------------------------------------------------------------------------


def event(kind: str, **fields: Any) -> dict:
    return {"type": kind, **fields}


def start(index: int, kind: str = "tool_use", **more: Any) -> dict:
    native = {"type": kind, "id": f"t{index}", "name": "f", "input": {}} if kind == "tool_use" else {"type": kind}
    return event("content_block_start", index=index, content_block={**native, **more})


def piece(index: int | None, text: str) -> dict:
    return event("content_block_delta", index=index, delta={"type": "input_json_delta", "partial_json": text})


def stop(index: int) -> dict:
    return event("content_block_stop", index=index)


def anthropic(*events: dict, reason: str = "tool_use") -> tuple[Calls, Calls]:
    message = {"type": "message", "role": "assistant", "model": "m", "content": []}
    ending = event("message_delta", delta={"stop_reason": reason}), event("message_stop")
    every = [event("message_start", message=message), *events, *ending]
    return streamed("anthropic", b"".join(b"data: " + json.dumps(one).encode() + b"\n\n" for one in every))


TEXT = [start(0, "text", text="Let me look."), stop(0)]
SCATTERED = {
    "an index nobody has": [*TEXT, start(1), piece(5, '{"x":1}'), stop(1)],
    "the index of a text block": [*TEXT, start(1), piece(0, '{"x":1}'), stop(1)],
    "the index of an open text block": [start(0, "text", text=""), start(1), piece(0, '{"x":1}'), stop(1), stop(0)],
    "after the block was closed": [*TEXT, start(1), stop(1), piece(1, '{"x":1}')],
    "without an index, after it was closed": [*TEXT, start(1), stop(1), piece(None, '{"x":1}')],
    "in a thinking block": [start(0, "thinking", thinking="Hm"), piece(0, '{"x":1}'), stop(0), start(1), stop(1)],
    "before any block": [piece(0, '{"x":1}'), *TEXT, start(1), stop(1)],
}


@pytest.mark.parametrize("case", SCATTERED)
def test_input_of_another_block(case: str) -> None:
    assert anthropic(*SCATTERED[case]) == ([], [("f", LOST)])


def test_a_nameless_block_with_the_id_of_another() -> None:
    runnable, invalid = anthropic(
        start(0), piece(0, '{"x":1}'), stop(0), start(1, id="t0", name=""), start(2, name="g")
    )
    assert runnable == [("f", X)]
    assert invalid == [("", NAMELESS), ("g", INCOMPLETE)]


def test_more_open_blocks_than_the_cap_allows() -> None:
    message = {"type": "message_start", "message": {"type": "message", "content": []}}
    events = [message, *map(start, range(300)), {"type": "message_stop"}]
    with pytest.raises(LLMProtocolError, match="tool call"):
        decode(
            "anthropic",
            200,
            {},
            [b"".join(b"data: " + json.dumps(one).encode() + b"\n\n" for one in events)],
            stream=True,
        )


def test_pieces_of_odd_types() -> None:
    def odd(delta: dict) -> dict:
        return event("content_block_delta", index=0, delta=delta)

    whole, untyped = {"type": "input_json_delta", "partial_json": {"x": 1}}, {"partial_json": '{"x":1}'}
    for delta in (whole, untyped):
        assert anthropic(start(0), odd(delta), stop(0)) == ([("f", X)], [])
    for lost in (7, [1], True):
        pieces = odd({"type": "input_json_delta", "partial_json": lost})
        assert anthropic(start(0), pieces, stop(0)) == ([], [("f", LOST)])


@pytest.mark.parametrize("key", ["input_json", "text", "arguments", "input"])
@pytest.mark.parametrize("value", ['{"x":1}', {"x": 1}])
def test_pieces_under_another_name(key: str, value: Any) -> None:
    delta = {"type": "input_json_delta", key: value}
    pieces = event("content_block_delta", index=0, delta=delta)
    assert anthropic(start(0), pieces, stop(0)) == ([], [("f", LOST)])
    pieces["delta"] = {"type": "input_json_delta", key: "", "partial_json": None}
    assert anthropic(start(0), pieces, stop(0)) == ([("f", {})], []), "nothing said"


@pytest.mark.parametrize("text", ["", "{}"])
@pytest.mark.parametrize("given", [{"x": 1}, '{"x":1}'])
def test_whole_input_and_an_empty_piece(text: str, given: Any) -> None:
    assert anthropic(start(0, input=given), piece(0, text), stop(0)) == ([("f", X)], [])
    assert anthropic(start(0, input=given), piece(0, text)) == ([("f", X)], []), "never closed"


def test_input_for_a_call_that_is_closed_already() -> None:
    both = anthropic(start(0), piece(0, '{"x":1}'), stop(0), start(1, name="g"), piece(0, '{"y":2}'), stop(1))
    assert both == ([("f", X)], [("g", LOST)])


def test_a_block_that_was_never_closed() -> None:
    assert anthropic(*TEXT, start(1)) == ([], [("f", INCOMPLETE)])
    assert anthropic(*TEXT, start(1), piece(1, '{"x":1}')) == ([("f", X)], []), "its arguments are whole"


@pytest.mark.parametrize("reason", ["max_tokens", "refusal", "pause_turn", "model_context_window_exceeded", "new"])
@pytest.mark.parametrize("text", [None, "", "{}"])
def test_a_block_without_input_and_another_end(reason: str, text: str | None) -> None:
    """Not even where another block follows; and the same as in a whole reply, where lost input is `{}`."""
    pieces = [] if text is None else [piece(0, text)]
    after = [start(1, "text", text="So"), stop(1)]
    for more in ([], after):
        assert anthropic(start(0), *pieces, stop(0), *more, reason=reason) == ([], [("f", INCOMPLETE)])
        content = [one["content_block"] for one in (start(0), *more) if one["type"] == "content_block_start"]
        reply = {"type": "message", "role": "assistant", "model": "m", "content": content, "stop_reason": reason}
        whole = decode("anthropic", 200, {}, [json.dumps(reply).encode()], stream=False)
        assert calls_of(whole) == ([], [("f", INCOMPLETE)])


@pytest.mark.parametrize("key", ["arguments", "parameters", "input", "args"])
@pytest.mark.parametrize("value", [{"x": 1}, '{"x":1}'])
def test_input_under_another_name(key: str, value: Any) -> None:
    native = {"type": "tool_use", "id": "t", "name": "f", key: value}
    block = event("content_block_start", index=0, content_block=native)
    assert anthropic(block, stop(0)) == ([("f", X)], [])
    reply = {"type": "message", "content": [native], "stop_reason": "tool_use"}
    whole = decode("anthropic", 200, {}, [json.dumps(reply).encode()], stream=False)
    assert calls_of(whole) == ([("f", X)], [])


@pytest.mark.parametrize("reason", ["tool_use", "end_turn", "stop_sequence"])
def test_a_block_without_input_is_run(reason: str) -> None:
    assert anthropic(*TEXT, start(1), piece(1, ""), stop(1), reason=reason) == ([("f", {})], [])


# ---- Ollama's wire --------------------------------------------------------------------------------------------------


def ollama(*entries: dict, reason: str | None = "stop") -> list[tuple[Calls, Calls]]:
    """Whole, in one line, and a line for each call."""
    last = {"model": "m", "created_at": "t", "done": True, "done_reason": reason}
    every = {**last, "message": {"role": "assistant", "content": "", "tool_calls": list(entries)}}
    line = {"model": "m", "created_at": "t", "done": False}
    lines = [{**line, "message": {"role": "assistant", "content": "", "tool_calls": [entry]}} for entry in entries]
    apart = [*lines, {**last, "message": {"role": "assistant", "content": ""}}]
    in_one = [{**every, "done": False}, apart[-1]]
    whole = decode("ollama", 200, {}, [json.dumps(every).encode()], stream=False)
    as_lines = [b"".join(json.dumps(one).encode() + b"\n" for one in form) for form in (apart, in_one)]
    return [calls_of(whole), *(streamed("ollama", data) for data in as_lines)]


@pytest.mark.parametrize(
    "entry",
    [
        {"function": {"name": "f", "arguments": {"x": 1}}},
        {"function": {"name": "f", "parameters": {"x": 1}}},
        {"function": {"name": "f"}, "arguments": '{"x":1}'},
        {"name": "f", "arguments": {"x": 1}},
        {"function": {"name": "f", "arguments": {}}, "input": {"x": 1}},
        {"function": {"name": "f", "arguments": "{}"}, "parameters": {"x": 1}},
    ],
)
def test_ollama_arguments_in_other_places(entry: dict) -> None:
    assert ollama(entry) == [([("f", X)], [])] * 3


@pytest.mark.parametrize("reason", ["length", "load", "new"])
@pytest.mark.parametrize("more", [{}, {"arguments": None}, {"arguments": ""}])
def test_ollama_another_end(reason: str, more: dict) -> None:
    assert ollama({"function": {"name": "f", **more}}, reason=reason) == [([], [("f", INCOMPLETE)])] * 3


def test_ollama_a_nameless_call() -> None:
    for runnable, invalid in ollama({"function": {"name": "f"}}, {"function": {"arguments": {"x": 1}}}):
        assert (runnable, [name for name, _ in invalid]) == ([], ["f", ""])
        assert invalid[0][1] == LOST


@pytest.mark.parametrize("reason", ["stop", "", None])
@pytest.mark.parametrize("more", [{}, {"arguments": None}, {"arguments": {}}])
def test_ollama_a_tool_without_arguments_is_run(reason: str | None, more: dict) -> None:
    assert ollama({"function": {"name": "f", **more}}, reason=reason) == [([("f", {})], [])] * 3
