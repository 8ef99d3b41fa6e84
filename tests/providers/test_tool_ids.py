"""Ids of tool calls: what a vendor takes, the same on both sides of a call, the same in a longer history."""

from __future__ import annotations

import json
import re
from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sans_io.chat.messages import chat_request
from sans_io.http.urls import parse_base_url
from sans_io.providers.anthropic.codec import AnthropicCodec
from sans_io.providers.ollama.codec import OllamaCodec
from sans_io.providers.openai_chat.codec import OpenAICodec
from sans_io.providers.registry import DIALECTS
from sans_io.providers.tool_ids import with_valid_ids

NINE = r"[a-zA-Z0-9]{9}"
ANTHROPIC = r"[A-Za-z0-9_-]+"
SHORT = r".{1,40}"
LABELS = st.sampled_from(
    ["functions.get:0", "functions_get_0", "call_1", "call.1", "call:1", "D681PevKs", "toolu_01A", "x" * 41, "x" * 64,
     "call_" + "é" * 9, "a b", "0", "123456789", "call_1__thought__" + "Q" * 300]
)  # fmt: skip


def call(label: str, name: str = "f") -> dict:
    return {"id": label, "type": "function", "function": {"name": name, "arguments": "{}"}}


def turn(*labels: str) -> list[dict]:
    """An assistant message with these calls, and their results."""
    results = [{"role": "tool", "tool_call_id": label, "content": str(i)} for i, label in enumerate(labels)]
    return [{"role": "assistant", "content": None, "tool_calls": [call(label) for label in labels]}, *results]


def ids(messages: list[dict]) -> list[tuple[list[str], list[str]]]:
    """(called, answered) of each turn."""
    turns: list[tuple[list[str], list[str]]] = []
    for message in messages:
        if message["role"] == "assistant":
            turns.append(([each["id"] for each in message.get("tool_calls") or ()], []))
        elif message["role"] == "tool":
            turns[-1][1].append(message["tool_call_id"])
    return turns


@st.composite
def histories(draw: st.DrawFn) -> list[dict]:
    messages: list[dict] = [{"role": "user", "content": "Hi"}]
    for labels in draw(st.lists(st.lists(LABELS, min_size=1, max_size=3), min_size=1, max_size=4)):
        assistant, *results = turn(*labels)
        messages += [assistant, *results]
    return messages


@pytest.mark.parametrize("unique", [False, True])
@pytest.mark.parametrize("valid", [NINE, ANTHROPIC, SHORT, ".+"])
@given(messages=histories(), cut=st.integers(0, 20))
def test_laws(valid: str, unique: bool, messages: list[dict], cut: int) -> None:
    before = deepcopy(messages)
    out = list(with_valid_ids(messages, valid, unique=unique))
    assert messages == before, "the caller's messages were changed"
    seen: list[str] = []
    for (called, answered), (given_ids, _) in zip(ids(out), ids(messages), strict=True):
        assert all(re.fullmatch(valid, label, re.DOTALL) for label in called + answered)
        assert sorted(called) == sorted(answered), "both sides of a call have one id"
        assert len(set(called)) == len(called), "calls of one message differ"
        for sent, label in zip(called, given_ids, strict=True):
            if re.fullmatch(valid, label, re.DOTALL) and given_ids.count(label) == 1 and label not in seen:
                assert sent == label, "a valid id is left alone"
        seen += given_ids
    everything = [label for called, _ in ids(out) for label in called]
    if unique:
        assert len(set(everything)) == len(everything)
    # Stable over turns: the beginning of the history says the same by itself.
    users = [i for i, message in enumerate(messages) if message["role"] == "assistant"] + [len(messages)]
    end = users[cut % len(users)]
    assert list(with_valid_ids(messages[:end], valid, unique=unique)) == out[:end]


@given(st.lists(LABELS, min_size=2, max_size=8, unique=True))
def test_distinct_ids_stay_distinct(labels: list[str]) -> None:
    for valid in (NINE, ANTHROPIC, SHORT):
        sent = [
            called for (called,), _ in ids(list(with_valid_ids([m for label in labels for m in turn(label)], valid)))
        ]
        assert len(set(sent)) == len(labels)


def test_what_needs_no_change_is_the_same_object() -> None:
    plain = ({"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"})
    assert with_valid_ids(plain, NINE) is plain
    valid = [{"role": "user", "content": "Hi"}, *turn("D681PevKs")]
    assert with_valid_ids(valid, NINE) is valid


def test_an_id_that_a_later_call_has_is_not_made_up() -> None:
    """The one case in which an earlier id changes: somebody has called just what was made up for it."""
    made = ids(list(with_valid_ids(turn("a.b"), NINE)))[0][0][0]
    both = ids(list(with_valid_ids([*turn("a.b"), *turn(made)], NINE)))
    assert both[1] == ([made], [made])
    assert both[0][0] == both[0][1] != [made]


def test_a_result_belongs_to_the_latest_message_that_called_it() -> None:
    """Servers that count from call_0 in each reply."""
    out = list(with_valid_ids([*turn("call_0", "call_1"), *turn("call_0"), *turn("call_0")], ANTHROPIC, unique=True))
    turns = ids(out)
    assert turns[0] == (["call_0", "call_1"], ["call_0", "call_1"])
    assert turns[1][0] == turns[1][1] != ["call_0"]
    assert turns[2][0] == turns[2][1] not in (["call_0"], turns[1][0])


def test_parts_of_anthropic_s_form_are_both_sides_too() -> None:
    messages = [
        {"role": "assistant", "content": [{"type": "tool_use", "id": "a:b", "name": "f", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a:b", "content": "1"}]},
    ]
    use, result = with_valid_ids(messages, ANTHROPIC)
    assert use["content"][0]["id"] == result["content"][0]["tool_use_id"] != "a:b"


def bodies(messages: list[dict]) -> dict[str, list[dict]]:
    """The messages on each wire."""
    chat = chat_request([{"role": "user", "content": "Hi"}, *messages], "m")
    url = parse_base_url("https://llm.example/v1")
    made = {name: OpenAICodec(url, DIALECTS[name]) for name in ("mistral", "openai", "azure", "generic", "groq")}
    made |= {"anthropic": AnthropicCodec(url), "ollama": OllamaCodec(url)}
    return {name: json.loads(codec.build(chat).body)["messages"] for name, codec in made.items()}


@pytest.mark.parametrize("label", ["functions.get:0", "call_abcdefghijklmnop", "y" * 41, "toolu:1", "chatcmpl-tool-1"])
def test_every_wire_sends_one_id_for_both_sides(label: str) -> None:
    sent = bodies(turn(label))
    for name in ("mistral", "openai", "azure", "generic", "groq", "ollama"):
        called = sent[name][1]["tool_calls"][0]["id"]
        assert sent[name][2]["tool_call_id"] == called
        assert (called == label) == (name not in ("mistral",) and (len(label) <= 40 or name not in ("openai", "azure")))
    use, result = sent["anthropic"][1]["content"][0], sent["anthropic"][2]["content"][0]
    assert use["id"] == result["tool_use_id"]
    assert len(sent["mistral"][1]["tool_calls"][0]["id"]) == 9
