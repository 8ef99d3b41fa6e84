"""Tool calls by example: the deviations seen on real servers, the caps, and calls made from dicts and SDK objects."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from sans_io.chat.events import ToolCallCompleted, ToolCallDelta, ToolCallStarted
from sans_io.chat.response import ToolCall, parse_arguments
from sans_io.chat.tool_calls import INCOMPLETE, ToolCallAssembler
from sans_io.limits import DEFAULT_LIMITS


def made_of(*fragments: dict[str, Any], compact: bool = False) -> list[tuple[str, str, str, str | None]]:
    """(id, name, raw arguments, error) of each call, runnable ones first."""
    assembler = ToolCallAssembler(compact=compact)
    for fragment in fragments:
        assembler.fragment(**fragment)
    assembler.finish()
    runnable, invalid = assembler.tool_calls()
    return [(call.id, call.name, call.raw_arguments, call.arguments_error) for call in runnable + invalid]


@pytest.mark.parametrize(
    ("fragments", "expected"),
    [
        (  # two whole calls, both index 0
            [
                {"index": 0, "id": "a", "name": "f", "arguments": "{}"},
                {"index": 0, "id": "b", "name": "g", "arguments": "{}"},
            ],
            [("a", "f", "{}"), ("b", "g", "{}")],
        ),
        (  # both index 0, no ids, the same tool twice
            [{"index": 0, "name": "f", "arguments": '{"a":1}'}, {"index": 0, "name": "f", "arguments": '{"a":2}'}],
            [("call_0", "f", '{"a":1}'), ("call_1", "f", '{"a":2}')],
        ),
        (  # id and name in every delta
            [{"index": 0, "id": "a", "name": "f", "arguments": piece} for piece in ('{"x', '":', "1}")],
            [("a", "f", '{"x":1}')],
        ),
        (  # the same without the id: a piece that is no whole call is continued
            [
                {"index": 0, "id": "a", "name": "f", "arguments": '{"x":'},
                {"index": 0, "name": "f", "arguments": '{"y":1}}'},
            ],
            [("a", "f", '{"x":{"y":1}}')],
        ),
        (  # one delta, several fragments of one call; first index 1
            [{"index": 1, "id": "a", "name": "f"}, {"index": 1, "arguments": "{"}, {"index": 1, "arguments": "}"}],
            [("a", "f", "{}")],
        ),
        (  # id only in a later delta
            [{"index": 0, "name": "f", "arguments": "{"}, {"index": 0, "id": "late", "arguments": "}"}],
            [("late", "f", "{}")],
        ),
        (  # an id that is a number, one that is empty
            [{"index": 0, "id": 7, "name": "f"}, {"index": 1, "id": "", "name": "g"}],
            [("7", "f", ""), ("call_1", "g", "")],
        ),
        (  # a made-up id never takes one that is in use
            [{"index": 0, "id": "call_1", "name": "f"}, {"index": 1, "name": "g"}],
            [("call_1", "f", ""), ("call_3", "g", "")],
        ),
        (  # one id for two calls: a new index with a name of its own tells them apart
            [
                {"index": 0, "id": "a", "name": "f", "arguments": "{}"},
                {"index": 1, "id": "a", "name": "g", "arguments": "{}"},
            ],
            [("a", "f", "{}"), ("call_1", "g", "{}")],
        ),
        (  # the same without an index, and with text for the second under its index
            [
                {"id": "a", "name": "f", "arguments": "{}"},
                {"id": "a", "name": "g", "arguments": '{"x":1}'},
            ],
            [("a", "f", "{}"), ("call_1", "g", '{"x":1}')],
        ),
        (
            [
                {"index": 0, "id": "a", "name": "f", "arguments": "{}"},
                {"index": 1, "id": "a", "name": "g", "arguments": ""},
                {"index": 1, "id": "a", "arguments": '{"x":1}'},
            ],
            [("a", "f", "{}"), ("call_1", "g", '{"x":1}')],
        ),
        (  # one id for two calls of one tool; the same call twice is one
            [{"id": "a", "name": "f", "arguments": text} for text in ('{"x":1}', '{"x":2}')],
            [("a", "f", '{"x":1}'), ("call_1", "f", '{"x":2}')],
        ),
        ([{"id": "a", "name": "f", "arguments": '{"x":1}'}] * 2, [("a", "f", '{"x":1}')]),
        (  # an object first, then the same call in text: the text counts
            [{"index": 0, "id": "a", "name": "f", "arguments": {}}, {"index": 0, "arguments": '{"x": 1}'}],
            [("a", "f", '{"x": 1}')],
        ),
        ([{"id": "a", "name": "f", "arguments": {"x": "\u20ac"}}] * 2, [("a", "f", '{"x":"\u20ac"}')]),
        ([{"id": "a", "name": "f", "arguments": {}}], [("a", "f", "{}")]),
        # a name in pieces: with the id again, without it, as much as there is so far, before the arguments
        ([{"id": "a", "name": "get_"}, {"id": "a", "name": "time"}], [("a", "get_time", "")]),
        ([{"id": "a", "name": "get_"}, {"name": "time", "arguments": "{}"}], [("a", "get_time", "{}")]),
        (
            [{"index": 0, "name": "get"}, {"index": 0, "name": "_"}, {"index": 0, "name": "x"}],
            [("call_0", "get_x", "")],
        ),
        (
            [
                {"index": 0, "name": "get_"},
                {"index": 0, "name": "get_x", "arguments": "{"},
                {"index": 0, "arguments": "}"},
            ],
            [("call_0", "get_x", "{}")],
        ),
        (
            [
                {"index": 0, "id": "a", "name": "f", "arguments": '{"x"'},
                {"index": 0, "id": "a", "name": "g"},
                {"index": 0, "arguments": ":1}"},
            ],
            [("a", "f", '{"x":1}')],
        ),
        # an id that changes within a call
        ([{"index": 0, "id": "a", "name": "f"}, {"index": 0, "id": "b", "arguments": "{}"}], [("a", "f", "{}")]),
        (
            [
                {"index": 0, "id": "a", "name": "f", "arguments": ""},
                {"index": 0, "id": "b", "arguments": ""},
                {"index": 0, "id": "c", "arguments": '{"x'},
                {"index": 0, "id": "d", "arguments": '":1}'},
            ],
            [("a", "f", '{"x":1}')],
        ),
        (
            [{"id": "a", "name": "f"}, {"id": "b", "arguments": "{}"}, {"id": "c", "name": "g", "arguments": "{}"}],
            [("a", "f", "{}"), ("c", "g", "{}")],
        ),
    ],
)
def test_deviations(fragments: list[dict[str, Any]], expected: list[tuple[str, str, str]]) -> None:
    assert made_of(*fragments) == [(*call, None) for call in expected]


def test_events_in_order() -> None:
    assembler = ToolCallAssembler(choice=2)
    assert assembler.fragment(index=0, id="a", arguments='{"x"') == [], "a call without a name cannot be shown"
    assert assembler.fragment(index=0, name="f") == [ToolCallStarted(0, "a", "f", 2), ToolCallDelta(0, '{"x"', 2)]
    assert assembler.fragment(index=0, arguments="") == []
    assert assembler.fragment(index=0, arguments=":1}") == [ToolCallDelta(0, ":1}", 2)]
    assert assembler.fragment(index=1, arguments="{}") == []
    call = ToolCall("a", "f", {"x": 1}, '{"x":1}')
    nameless = ToolCall("call_1", "", {}, "{}", "the call has no name")
    assert assembler.finish() == [
        ToolCallCompleted(0, call, 2),
        ToolCallStarted(1, "call_1", "", 2),
        ToolCallDelta(1, "{}", 2),
        ToolCallCompleted(1, nameless, 2),
    ]
    assert assembler.tool_calls() == ([call], [nameless])
    assert assembler.fragment(index=0, arguments="x") == [], "after the end nothing is taken"


def test_before_the_end_every_call_is_incomplete() -> None:
    assembler = ToolCallAssembler()
    assert not assembler
    assembler.fragment(index=0, id="a", name="f", arguments="{}")
    assert assembler
    assert assembler.tool_calls() == ([], [ToolCall("a", "f", {}, "{}", INCOMPLETE)])


def test_half_a_character_at_the_end_of_the_arguments() -> None:
    assembler = ToolCallAssembler()
    events = [
        event
        for piece in ('{"a":"\ud83d', '\ude00"}', "\ud83d")
        for event in assembler.fragment(name="f", arguments=piece)
    ]
    events += assembler.finish()
    text = "".join(event.arguments for event in events if isinstance(event, ToolCallDelta))
    assert text == '{"a":"\U0001f600"}\ufffd'
    assert assembler.tool_calls()[1][0].raw_arguments == text


def test_compact_makes_both_forms_of_a_reply_equal() -> None:
    in_text = made_of({"id": "a", "name": "f", "arguments": '{"b": [1, 2]}'}, compact=True)
    as_object = made_of({"id": "a", "name": "f", "arguments": {"b": [1, 2]}}, compact=True)
    assert in_text == as_object == [("a", "f", '{"b":[1,2]}', None)]
    assert made_of({"id": "a", "name": "f", "arguments": '{"b": '}, compact=True)[0][2] == '{"b": '


def test_a_call_in_which_the_reply_was_cut_stays_invalid() -> None:
    assembler = ToolCallAssembler()
    assembler.cut_last()
    for number, label in enumerate("ab"):
        assembler.fragment(index=number, id=label, name="f", arguments={"x": 1})
    assembler.cut_last()
    assembler.finish()
    runnable, invalid = assembler.tool_calls()
    assert [call.id for call in runnable] == ["a"]
    assert invalid == [ToolCall("b", "f", {}, '{"x":1}', INCOMPLETE)]


def test_extras_stay_with_their_call() -> None:
    assembler = ToolCallAssembler()
    assembler.fragment(index=0, id="a", name="f", extras={"signature": "s"})
    assembler.fragment(index=1, id="b", name="g", arguments="[")
    assembler.fragment(index=0, arguments="{}", extras={"signature": "t", "more": 1})
    assembler.finish()
    assert assembler.tool_calls_and_extras()[2] == [{"signature": "t", "more": 1}], "the last word counts"


@pytest.mark.parametrize(
    ("fragments", "raw"),
    [
        ([{"name": "f", "arguments": {"x": 1}}, {"name": "f", "arguments": '{"y":2}'}], ['{"x":1}', '{"y":2}']),
        ([{"name": "f", "arguments": "{}}"}, {"name": "f", "arguments": "{}"}], ["{}}{}"]),
        ([{"name": "f", "arguments": '{"x":'}, {"name": "f", "arguments": " 1}"}], ['{"x": 1}']),
        ([{"name": "f", "arguments": float("nan")}], ["not JSON"]),
        ([{"name": "f", "arguments": [1]}], ["[1]"]),
    ],
)
def test_repeated_names_and_odd_arguments(fragments: list[dict[str, Any]], raw: list[str]) -> None:
    assert sorted(call[2] for call in made_of(*fragments)) == sorted(raw)


# ---- caps ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("index", "refused"), [(254, False), (255, False), (256, True), (10**30, True)])
def test_the_cap_on_the_index(index: int, refused: bool) -> None:
    assembler = ToolCallAssembler()
    assembler.fragment(index=index, id="a", name="f")
    assert (assembler.error and assembler.error.code) == ("too_many_tool_calls" if refused else None)
    assert assembler.fragment(index=0, id="b", name="g") == [] or not refused


@pytest.mark.parametrize("labels", [{"id": 1}, {"name": 1}, {"index": 0, "id": 1}])
def test_the_cap_on_calls_without_an_index(labels: dict[str, int]) -> None:
    assembler = ToolCallAssembler(0, replace(DEFAULT_LIMITS, max_tool_index=3))
    for number in range(4):
        assembler.fragment(**{"name": "f", **{key: number if key == "index" else f"n{number}" for key in labels}})
        assert assembler.error is None
        if "index" in labels:
            labels["index"] = number + 1
    assembler.fragment(id="more", name="more")
    assert assembler.error is not None
    assert assembler.error.code == "too_many_tool_calls"
    assert len(assembler.tool_calls()[1]) == 4


@pytest.mark.parametrize("over", [-1, 0, 1])
@pytest.mark.parametrize("as_object", [False, True])
def test_the_cap_on_arguments(over: int, as_object: bool) -> None:
    assembler = ToolCallAssembler(0, replace(DEFAULT_LIMITS, max_tool_arguments=20))
    text = '{"a":"' + "x" * (12 + over) + '"}'
    pieces: list[Any] = [{"a": "x" * (12 + over)}] if as_object else [text[:9], text[9:]]
    for piece in pieces:
        assembler.fragment(index=0, id="a", name="f", arguments=piece)
    assert (assembler.error and assembler.error.code) == ("tool_arguments_too_large" if over == 1 else None)
    assert assembler.fragment(index=0, arguments="") == []


# ---- arguments -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("raw", [None, "", " \n", "null", " null ", "{}", " {} ", {}])
def test_no_arguments(raw: Any) -> None:
    assert parse_arguments(raw) == ({}, None)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ('{"a":1', "not valid JSON"),
        ('{"a":1}}', "not valid JSON"),
        ('{"a":1}{"b":2}', "not valid JSON"),
        ('{"a":NaN}', "NaN"),
        ('{"a":1e999}', "too large"),
        ('{"a":1,"a":2}', "duplicate key"),
        ('{"a":{"b":1,"b":1}}', "duplicate key"),
        ('{"a":' + "[" * 128 + "]" * 128 + "}", "nested deeper"),
        ('{"a":' + "[" * 100_000, "nested deeper than 128"),
        ('{"a":' + "1" * 4301 + "}", "digits"),
        ("[]", "an array"),
        ("[1]", "an array"),
        ('"x"', "a string"),
        ("1", "a number"),
        ("1.5", "a number"),
        ("true", "a boolean"),
        ("x", "not valid JSON"),
        ([], "an array"),
        (0, "a number"),
        (False, "a boolean"),
        ({"a": object()}, "not JSON"),
        ({"a": float("nan")}, "not JSON"),
    ],
)
def test_arguments_that_cannot_be_run(raw: Any, words: str) -> None:
    arguments, error = parse_arguments(raw)
    assert arguments == {}
    assert error is not None
    assert words in error


def test_arguments_always_encode_and_are_fresh() -> None:
    given = {"a\ud800": ["\ude00", {"b": "\ud83d\ude00"}]}
    parsed, error = parse_arguments(given)
    assert error is None
    assert parsed == {"a\ufffd": ["\ufffd", {"b": "\U0001f600"}]}
    assert parse_arguments('{"a":"\\ud800"}') == ({"a": "\ufffd"}, None)
    shared = {"a": [1]}
    assert parse_arguments(shared)[0]["a"] is not shared["a"]


# ---- from dicts and SDK objects ------------------------------------------------------------------------------------


def as_objects(value: Any) -> Any:
    """An SDK's object for a dict: attributes, with the arguments left as they are."""
    return SimpleNamespace(**{k: as_objects(v) if k in {"function", "custom"} else v for k, v in value.items()})


@pytest.mark.parametrize("sdk", [False, True])
def test_from_openai(sdk: bool) -> None:
    wire: Any = {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}
    assert ToolCall.from_openai(as_objects(wire) if sdk else wire) == ToolCall("a", "f", {"x": 1}, '{"x": 1}')
    wire["function"]["arguments"] = '{"x"'
    call = ToolCall.from_openai(as_objects(wire) if sdk else wire)
    assert (call.arguments, call.raw_arguments) == ({}, '{"x"')
    assert call.arguments_error
    custom = {"id": "c", "type": "custom", "custom": {"name": "grep", "input": "a b"}}
    assert ToolCall.from_openai(as_objects(custom) if sdk else custom) == ToolCall("c", "grep", {"input": "a b"}, "a b")


@pytest.mark.parametrize("sdk", [False, True])
def test_from_anthropic(sdk: bool) -> None:
    block = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"x": [1]}}
    call = ToolCall.from_anthropic(as_objects(block) if sdk else block)
    assert call == ToolCall("toolu_1", "f", {"x": [1]}, '{"x":[1]}')
    assert call.arguments is not block["input"]


@pytest.mark.parametrize("sdk", [False, True])
def test_from_ollama(sdk: bool) -> None:
    wire: Any = {"function": {"name": "f", "arguments": {"x": 1}}}
    assert ToolCall.from_ollama(as_objects(wire) if sdk else wire) == ToolCall("call_f", "f", {"x": 1}, '{"x":1}')
    wire["function"]["index"] = 2
    assert ToolCall.from_ollama(as_objects(wire) if sdk else wire).id == "call_2"
    wire["id"] = "call_xyz"
    assert ToolCall.from_ollama(as_objects(wire) if sdk else wire).id == "call_xyz"


@pytest.mark.parametrize(
    "obj", [{}, {"function": None}, {"function": 3}, SimpleNamespace(), None, {"id": 5, "function": {}}]
)
def test_from_something_else(obj: Any) -> None:
    for make in (ToolCall.from_openai, ToolCall.from_anthropic, ToolCall.from_ollama):
        assert isinstance(make(obj), ToolCall)


def test_arguments_that_are_too_large_are_told_with_their_limit() -> None:
    assembler = ToolCallAssembler(limits=replace(DEFAULT_LIMITS, max_tool_arguments=10))
    assembler.fragment(index=0, id="c", name="f", arguments='{"a":12345')
    assert assembler.error is None
    assembler.fragment(index=0, arguments="6")
    assert assembler.error is not None
    assert assembler.error.message == "a tool call has more than 10 characters"
    assert assembler.error.code == "tool_arguments_too_large"


@pytest.mark.parametrize("arguments", [["x" * 20], {"a": "x" * 20}, "x" * 20, 10**20])
def test_arguments_of_any_type_have_a_largest_size(arguments: object) -> None:
    assembler = ToolCallAssembler(limits=replace(DEFAULT_LIMITS, max_tool_arguments=10))
    assembler.fragment(index=0, id="c", name="f", arguments=arguments)
    assert assembler.error is not None
    assert assembler.error.code == "tool_arguments_too_large"
