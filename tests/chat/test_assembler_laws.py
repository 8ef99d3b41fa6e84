"""`ToolCallAssembler`: whatever legal deviation a server has, the same calls come out; then hostile fragments."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from typing import Any

from hypothesis import assume, example, given
from hypothesis import strategies as st

from sans_io.chat.events import ToolCallCompleted, ToolCallDelta, ToolCallStarted
from sans_io.chat.response import ToolCall
from sans_io.chat.tool_calls import INCOMPLETE, ToolCallAssembler


@dataclass
class Sent:
    """A call as a server means it."""

    id: str
    name: str
    arguments: dict[str, Any]
    text: str


Fragment = dict[str, Any]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def calls(draw: st.DrawFn) -> list[Sent]:
    ids = draw(st.lists(st.text("abc_0129", min_size=1, max_size=4), unique=True, min_size=1, max_size=4))
    made = []
    for label in ids:
        arguments = draw(st.dictionaries(st.text(max_size=4), json_values, max_size=3))
        text = json.dumps(arguments, ensure_ascii=draw(st.booleans()))
        made.append(Sent(label, draw(st.sampled_from(["f", "g", "get_weather"])), arguments, text))
    return made


def pieces_of(text: str, dice: random.Random) -> list[str]:
    """Cut anywhere, also between the two halves of a character, as servers do that count UTF-16."""
    units = text.encode("utf-16-le")
    places = sorted(dice.randrange(len(units) // 2 + 1) for _ in range(dice.randrange(4)))
    ends = [*places, len(units) // 2]
    return [units[2 * a : 2 * b].decode("utf-16-le", "surrogatepass") for a, b in zip([0, *places], ends, strict=True)]


#: How a server labels the fragments of a call: `first` goes with the first one, `rest` with each later one.
LABELS: dict[str, Any] = {
    "by the book": lambda n, c: ({"index": n, "id": c.id, "name": c.name}, {"index": n}),
    "nulls": lambda n, c: ({"index": n, "id": c.id, "name": c.name}, {"index": n, "id": None, "name": None}),
    "empty strings": lambda n, c: ({"index": n, "id": c.id, "name": c.name}, {"index": n, "id": "", "name": ""}),
    "all repeated": lambda n, c: ({"index": n, "id": c.id, "name": c.name},) * 2,
    "name repeated": lambda n, c: ({"index": n, "id": c.id, "name": c.name}, {"index": n, "name": c.name}),
    "from one": lambda n, c: ({"index": n + 1, "id": c.id, "name": c.name}, {"index": n + 1}),
    "no index": lambda n, c: ({"id": c.id, "name": c.name}, {"id": c.id}),
    "index always 0": lambda n, c: ({"index": 0, "id": c.id, "name": c.name}, {"index": 0, "id": c.id}),
    "late name": lambda n, c: ({"index": n, "id": c.id}, {"index": n, "name": c.name}),
    "index odd": lambda n, c: ({"index": "x", "id": c.id, "name": c.name}, {"index": -1, "id": c.id, "name": c.name}),
}
#: Ways that only tell calls apart when each is finished before the next one begins.
IN_ORDER: dict[str, Any] = {
    "nothing but the first id": lambda n, c: ({"id": c.id, "name": c.name}, {}),
    "one index, new ids": lambda n, c: ({"index": 0, "id": c.id, "name": c.name}, {"index": 0}),
    "null index afterwards": lambda n, c: ({"index": n, "id": c.id, "name": c.name}, {"index": None}),
}


def assemble(fragments: list[Fragment]) -> tuple[list[ToolCall], list[ToolCall], list[Any]]:
    assembler = ToolCallAssembler(choice=3)
    events: list[Any] = []
    for fragment in fragments:
        events += assembler.fragment(**fragment)
        assert assembler.tool_calls()[0] == [], "nothing is runnable before the end"
    assert all(call.arguments_error == INCOMPLETE for call in assembler.tool_calls()[1])
    events += assembler.finish()
    assert assembler.finish() == []
    assert assembler.error is None
    runnable, invalid = assembler.tool_calls()
    assert_events_tell_the_same(events, runnable + invalid)
    again = assembler.tool_calls()
    assert again == (runnable, invalid)
    assert not {id(call.arguments) for call in runnable} & {id(call.arguments) for call in again[0]}
    return runnable, invalid, events


def assert_events_tell_the_same(events: list[Any], calls: list[ToolCall]) -> None:
    started = [event for event in events if isinstance(event, ToolCallStarted)]
    completed = [event for event in events if isinstance(event, ToolCallCompleted)]
    assert all(event.choice == 3 for event in events)
    assert sorted(event.index for event in started) == [event.index for event in completed] == list(range(len(calls)))
    for done in completed:
        begin = next(event for event in started if event.index == done.index)
        text = "".join(e.arguments for e in events if isinstance(e, ToolCallDelta) and e.index == done.index)
        assert begin.name == done.tool_call.name
        assert text == done.tool_call.raw_arguments or (text, done.tool_call.raw_arguments) == ("", "{}")
        assert done.tool_call in calls
        assert events.index(begin) <= min([n for n, e in enumerate(events) if e.index == done.index])
    "".join(event.arguments for event in events if isinstance(event, ToolCallDelta)).encode()


def assert_same_calls(runnable: list[ToolCall], invalid: list[ToolCall], sent: list[Sent]) -> None:
    assert invalid == []
    by_id = {call.id: call for call in runnable}
    assert len(runnable) == len(sent) == len(by_id)
    for call in sent:
        got = by_id[call.id]
        assert (got.name, repr(got.arguments), got.raw_arguments) == (call.name, repr(call.arguments), call.text)


def fragments_of(sent: list[Sent], labels: Any, dice: random.Random) -> list[list[Fragment]]:
    streams = []
    for number, call in enumerate(sent):
        first, rest = labels(number, call)
        pieces = pieces_of(call.text, dice)
        if dice.random() < 0.5:
            pieces.insert(0, "")
        if "name" not in first:
            pieces.append("")
        streams.append([{**(rest if place else first), "arguments": piece} for place, piece in enumerate(pieces)])
        if "name" in rest and "name" not in first and len(streams[-1]) == 1:
            streams[-1].append(dict(rest))
    return streams


@given(calls(), st.sampled_from(sorted(LABELS)), st.randoms(use_true_random=False))
def test_any_interleaving_gives_the_same_calls(sent: list[Sent], way: str, dice: random.Random) -> None:
    streams = fragments_of(sent, LABELS[way], dice)
    merged = []
    while any(streams):
        merged.append(dice.choice([stream for stream in streams if stream]).pop(0))
    runnable, invalid, _ = assemble(merged)
    assert_same_calls(runnable, invalid, sent)


@given(calls(), st.sampled_from(sorted({**LABELS, **IN_ORDER})), st.randoms(use_true_random=False))
def test_one_after_the_other_in_any_way(sent: list[Sent], way: str, dice: random.Random) -> None:
    streams = fragments_of(sent, {**LABELS, **IN_ORDER}[way], dice)
    runnable, invalid, events = assemble([fragment for stream in streams for fragment in stream])
    assert_same_calls(runnable, invalid, sent)
    assert [call.id for call in runnable] == [call.id for call in sent]
    assert [event.id for event in events if isinstance(event, ToolCallStarted)] == [call.id for call in sent]


@given(calls(), st.booleans(), st.booleans(), st.booleans())
def test_whole_calls_without_ids(sent: list[Sent], as_objects: bool, index: bool, split: bool) -> None:
    """Ollama and its kin: each call whole, no id, often no index, every index 0 or the real one."""
    fragments: list[Fragment] = []
    for number, call in enumerate(sent):
        fragment: Fragment = {"name": call.name, "arguments": call.arguments if as_objects else call.text}
        if index:
            fragment["index"] = number if split else 0
        fragments.append(fragment)
    runnable, invalid, _ = assemble(fragments)
    assert invalid == []
    assert [(call.name, repr(call.arguments)) for call in runnable] == [(c.name, repr(c.arguments)) for c in sent]
    assert [call.id for call in runnable] == [f"call_{number}" for number in range(len(sent))]


@given(calls(), st.integers(0, 60), st.randoms(use_true_random=False))
def test_a_cut_call_is_never_runnable(sent: list[Sent], kept: int, dice: random.Random) -> None:
    cut = sent[-1].text[:kept]
    assume(kept < len(sent[-1].text) and cut)
    fragments = [fragment for stream in fragments_of(sent[:-1], LABELS["by the book"], dice) for fragment in stream]
    fragments.append({"index": len(sent) - 1, "id": sent[-1].id, "name": sent[-1].name, "arguments": cut})
    runnable, invalid, _ = assemble(fragments)
    assert [call.id for call in runnable] == [call.id for call in sent[:-1]]
    assert [(call.id, call.raw_arguments, call.arguments) for call in invalid] == [(sent[-1].id, cut, {})]
    assert invalid[0].arguments_error


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 300)
    | st.just(2**70)
    | st.floats(allow_nan=False)
    | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=4,
)


@given(
    st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "index": anything,
                "id": anything | st.sampled_from(["a", "b", "\ud800"]),
                "name": anything | st.sampled_from(["f", "g"]),
                "arguments": anything
                | st.sampled_from(["{", "}", '{"a":1}', "null", "\ud83d", "\ude00", '{"a":1,"a":2}']),
            },
        ),
        max_size=12,
    )
)
@example([{"name": "f", "arguments": "{}"}] * 300)
@example([{"id": str(number)} for number in range(300)])
def test_no_fragment_raises_and_all_text_encodes(fragments: list[Fragment]) -> None:
    assembler = ToolCallAssembler()
    events: list[Any] = []
    for fragment in fragments:
        events += assembler.fragment(**fragment)
    events += assembler.finish()
    runnable, invalid = assembler.tool_calls()
    assert len(runnable) + len(invalid) <= 256
    for call in runnable:
        assert call.name
        assert call.arguments_error is None
    for call in invalid:
        assert call.arguments == {}
        assert call.arguments_error
    for call in runnable + invalid:
        assert call.id
        json.dumps([call.id, call.name, call.arguments, call.raw_arguments], ensure_ascii=False).encode()
    for event in events:
        assert not isinstance(event, ToolCallDelta) or event.arguments
        str(event).encode()
