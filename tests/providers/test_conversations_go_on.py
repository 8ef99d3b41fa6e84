"""What a vendor answered goes on there, and at every other vendor: nothing that is sent breaks the rules of the one who
gets it, and nothing that a vendor wants back is lost. A mistake of the user's may be refused, by name.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sans_io.chat.messages import chat_request
from sans_io.errors import LLMBadRequestError
from sans_io.http.urls import parse_base_url
from sans_io.providers.anthropic.codec import AnthropicCodec
from sans_io.providers.ollama.codec import OllamaCodec
from sans_io.providers.openai_chat.codec import OpenAICodec
from sans_io.providers.registry import DIALECTS, Dialect
from sans_io.providers.rules import VENDORS, rules_of, violations
from sans_io.records import replace
from tests.providers.conversations import TOOLS, USER_CONTENTS, conversations
from tests.providers.openai.kit import body as reply_body
from tests.providers.openai.kit import read_body
from tests.providers.reading import read
from tests.providers.rules.recorded import MISSING, Exchange, exchanges

URL = parse_base_url("https://llm.example/v1")
CODECS: dict[str, Any] = {name: OpenAICodec(URL, row) for name, row in DIALECTS.items() if row.wires[0] == "openai"} | {
    "anthropic": AnthropicCodec(URL),
    "ollama": OllamaCodec(URL),
}
#: A call in its form of 2023 has no result that could go with it: whoever keeps such a history is told what to write.
OF_OLD = "function_call is not supported"
HI = {"role": "user", "content": "Hi"}
#: Rules about what a caller chose, and those of named models.
CHOSEN = {(name, rule.name) for name in VENDORS for rule in rules_of(name) if rule.about != "form"}


def sent(vendor: str, messages: list[dict], **arguments: Any) -> dict:
    before = json.dumps(messages)
    model = {"gemini": "gemini-3-pro", "anthropic": "claude-x"}.get(vendor, "m")
    body: dict = json.loads(CODECS[vendor].build(chat_request(messages, model, **arguments)).body)
    assert json.dumps(messages) == before, "the caller's messages were changed"
    return body


def broken(vendor: str, body: dict) -> list[tuple[str, str]]:
    if vendor not in VENDORS:
        return []
    return [(v.path, v.rule) for v in violations(vendor, body) if (vendor, v.rule) not in CHOSEN]


def call(label: str, **more: object) -> dict:
    return {"id": label, "type": "function", "function": {"name": "search", "arguments": '{"x": "1"}'}, **more}


SIGNED = {"extra_content": {"google": {"thought_signature": "c2ln"}}}
PNG = "data:image/png;base64,iVBORw0KGgo="
#: Messages of replies, by what vendors send.
REPLIES: dict[str, dict] = {
    "openai": {"content": "A", "refusal": None, "annotations": []},
    "openai refused": {"content": None, "refusal": "No.", "annotations": []},
    "openai called": {"content": None, "tool_calls": [call("call_abc"), call("call_def")], "refusal": None},
    "openai spoke": {"content": None, "audio": {"id": "a1", "data": "UklG", "expires_at": 1, "transcript": "Ah"}},
    "openai cited": {"content": "A", "annotations": [{"type": "url_citation", "url_citation": {"url": "u"}}]},
    "openai's custom tool": {"content": None, "tool_calls": [
        {"id": "call_c", "type": "custom", "custom": {"name": "run", "input": "1 + 1"}}]},
    "old openai": {"content": None, "function_call": {"name": "search", "arguments": "{}"}},
    "shells": {"content": "A", "function_call": {"name": "", "arguments": ""}, "audio": {"id": ""}, "tool_calls": []},
    "deepseek": {"content": "A", "reasoning_content": "hm"},
    "deepseek called": {"content": "", "reasoning_content": "hm", "tool_calls": [call("call_00_x", index=0)]},
    "deepseek called at once": {"content": "", "reasoning_content": "", "tool_calls": [call("call_00_x", index=0)]},
    "groq": {"content": "A", "reasoning": "hm"},
    "groq called": {"reasoning": "hm", "tool_calls": [call("mh1pga0tw")]},
    "kimi": {"content": None, "reasoning_content": "hm", "tool_calls": [call("functions.search:0", index=0)]},
    "openrouter": {"content": "A", "refusal": None, "reasoning": "hm",
                   "reasoning_details": [{"type": "reasoning.text", "text": "hm", "signature": "s", "index": 0}]},
    "openrouter called": {"content": "", "reasoning": "hm", "tool_calls": [call("tool_0_search_" + "x" * 40, index=0)],
                          "reasoning_details": [{"type": "reasoning.encrypted", "data": "x", "id": "tool_0"}]},
    "openrouter painted": {"content": "", "images": [{"type": "image_url", "index": 0, "image_url": {"url": PNG}}]},
    "openrouter painted and said": {"content": "A", "images": [{"type": "image_url", "image_url": {"url": PNG}}]},
    "mistral": {"content": "A", "prefix": False, "tool_calls": None},
    "mistral called": {"content": "", "tool_calls": [call("D681PevKs", index=0), call("E681PevKs", index=1)]},
    "mistral thought": {"content": [
        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}, {"type": "reference", "reference_ids": [1]}],
         "signature": "s", "closed": True}, {"type": "text", "text": "A"}]},
    "mistral only thought": {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]},
    "mistral cited": {"content": [{"type": "text", "text": "A"}, {"type": "reference", "reference_ids": [1, 2]}]},
    "gemini called": {"tool_calls": [call("function-call-1", **SIGNED), call("function-call-2")]},
    "gemini": {"content": "A", "extra_content": {"google": {"thought_signature": "c2ln"}}},
    "litellm": {"content": "A", "provider_specific_fields": {"x": 1}, "thinking_blocks": [{"type": "thinking"}],
                "reasoning_content": "hm", "images": []},
    "litellm called": {"content": None, "provider_specific_fields": None,
                       "tool_calls": [call("call_1__thought__" + "Q" * 99, provider_specific_fields={"a": 1})]},
    "venice": {"content": "A", "annotations": None, "audio": None, "function_call": None, "name": None,
               "reasoning_content": "hm"},
    "copilot": {"content": "A", "padding": "xyz", "copilot_annotations": {}},
    "empty": {"content": ""},
    "null": {"content": None},
    "a server that lies": {"content": "A", "native": {"wire": "anthropic", "blocks": [{"type": "text", "text": "B"}]},
                           "anthropic_blocks": [], "thinking": "hm", "is_error": True},
}  # fmt: skip


def answered(message: dict, *, finish: str = "stop") -> list[dict]:
    """The message that our reader makes of this, and the results of its calls."""
    finish = "tool_calls" if message.get("tool_calls") else finish
    response = read_body(reply_body({"role": "assistant", **message}, finish)).response
    return [response.message, *(each.result("42") for each in response.tool_calls)]


@pytest.mark.parametrize("last", ["user", "results"])
@pytest.mark.parametrize("name", REPLIES)
def test_every_reply_goes_on_at_every_vendor(name: str, last: str) -> None:
    messages = [HI, *answered(REPLIES[name])]
    if last == "user" or messages[-1]["role"] == "assistant":
        messages.append({"role": "user", "content": "And?"})
    for vendor in CODECS:
        assert broken(vendor, sent(vendor, messages, tools=list(TOOLS))) == [], vendor


@pytest.mark.parametrize("name", REPLIES)
def test_every_message_goes_on_as_it_came_over_the_wire(name: str) -> None:
    """What somebody kept as JSON, or took from another library, without our reader between."""
    message = {"role": "assistant", **REPLIES[name]}
    results = [
        {"role": "tool", "tool_call_id": each["id"], "content": "42"} for each in message.get("tool_calls") or ()
    ]
    for key in ("native", "anthropic_blocks", "is_error"):
        message.pop(key, None)
    for vendor in CODECS:
        try:
            body = sent(vendor, [HI, message, *results, {"role": "user", "content": "And?"}])
        except LLMBadRequestError as error:
            assert OF_OLD in str(error), vendor  # noqa: PT017
        else:
            assert broken(vendor, body) == [], vendor


MESSAGES = st.sampled_from(sorted(REPLIES)).map(lambda name: {"role": "assistant", **REPLIES[name]})
EXTRAS = st.fixed_dictionaries(
    {},
    optional={
        "parallel_tool_calls": st.booleans(),
        "tool_choice": st.sampled_from(["auto", "none", "required", "search"]),
        "system": st.just("Be brief, in JSON."),
        "response_format": st.sampled_from(["json", "text"]),
        "stream": st.booleans(),
        "max_tokens": st.just(2000),
        "seed": st.just(1),
    },
)


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None)
@given(data=st.data(), vendor=st.sampled_from(sorted(CODECS)), tools=st.booleans(), extras=EXTRAS)
def test_generated_conversations_break_no_rule(data: st.DataObject, vendor: str, tools: bool, extras: dict) -> None:
    messages = data.draw(conversations())
    for _ in range(data.draw(st.integers(0, 3))):
        messages += answered(data.draw(MESSAGES))
        if data.draw(st.booleans()):
            messages.append({"role": "user", "content": data.draw(USER_CONTENTS)})
        if data.draw(st.integers(0, 5)) == 0:
            messages.append({"role": data.draw(st.sampled_from(["system", "developer"])), "content": "Be kind."})
    if messages[-1]["role"] == "assistant":
        messages.append(HI)
    if not tools:
        extras.pop("tool_choice", None)
    else:
        extras = extras | {"tools": list(TOOLS)}
    try:
        body = sent(vendor, messages, **extras)
    except LLMBadRequestError as error:
        named = str(error)
        about_pictures = "image_url" in named and vendor in ("deepseek", "ollama")
        about_options = any(named.startswith(name) for name in extras)
        assert about_pictures or about_options, named
        return
    assert broken(vendor, body) == []


#: What comes back to the vendor that said it, whole.
COMES_BACK = {
    ("deepseek called", "deepseek"): {"reasoning_content": "hm"},
    ("deepseek called at once", "deepseek"): {"reasoning_content": ""},
    ("kimi", "moonshot"): {"reasoning_content": "hm"},
    ("deepseek called at once", "moonshot"): {"reasoning_content": " "},
    ("groq called", "groq"): {"reasoning": "hm"},
    ("groq", "cerebras"): {"reasoning": "hm"},
    ("openrouter", "openrouter"): {"reasoning_details": REPLIES["openrouter"]["reasoning_details"], "reasoning": "hm"},
    ("openrouter painted", "openrouter"): {"content": [{"type": "image_url", "image_url": {"url": PNG}}]},
    ("openrouter painted and said", "generic"): {
        "content": [{"type": "text", "text": "A"}, {"type": "image_url", "image_url": {"url": PNG}}]
    },
    ("mistral thought", "mistral"): {"content": REPLIES["mistral thought"]["content"]},
    ("mistral cited", "mistral"): {"content": REPLIES["mistral cited"]["content"]},
    ("mistral called", "mistral"): {"tool_calls": [call("D681PevKs"), call("E681PevKs")]},
    ("gemini", "gemini"): {"extra_content": SIGNED["extra_content"]},
    ("openai refused", "openai"): {"content": "", "refusal": "No."},
    ("openai refused", "groq"): {"content": "No."},
    ("openai spoke", "openai"): {"audio": {"id": "a1"}},
    ("openai spoke", "mistral"): {"content": "Ah"},
    ("litellm", "generic"): {"reasoning_content": "hm", "provider_specific_fields": {"x": 1}},
    ("mistral thought", "openai"): {"content": [{"type": "text", "text": "A"}]},
    ("mistral thought", "deepseek"): {"content": "A"},
}


@pytest.mark.parametrize(("name", "vendor"), COMES_BACK)
def test_what_a_vendor_wants_back_comes_back(name: str, vendor: str) -> None:
    message, *results = answered(REPLIES[name])
    body = sent(vendor, [HI, message, *results, {"role": "user", "content": "And?"}])
    said = body["messages"][1]
    expected = COMES_BACK[name, vendor]
    got = {key: said.get(key) for key in expected}
    for each in got.get("tool_calls") or ():
        each["function"]["arguments"] = each["function"]["arguments"].replace('":"', '": "')
    assert got == expected


@pytest.mark.parametrize("signature", [5, True, [], None, ""])
def test_gemini_s_signature_is_text(signature: object) -> None:
    signed = call("a", extra_content={"google": {"thought_signature": signature}})
    result = {"role": "tool", "tool_call_id": "a", "content": "r"}
    assert broken("gemini", sent("gemini", [HI, {"role": "assistant", "tool_calls": [signed]}, result])) == []


def test_gemini_s_calls_keep_their_signatures_and_those_of_others_get_the_documented_one() -> None:
    calls = sent("gemini", [HI, *answered(REPLIES["gemini called"])])["messages"][1]["tool_calls"]
    assert [each.get("extra_content") for each in calls] == [SIGNED["extra_content"], None]
    for name in ("openai called", "deepseek called", "mistral called"):
        calls = sent("gemini", [HI, *answered(REPLIES[name])])["messages"][1]["tool_calls"]
        assert (
            calls[0]["extra_content"]["google"]["thought_signature"] == "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I="
        )
        assert all("extra_content" not in each for each in calls[1:])
    for vendor in (
        set(CODECS) - {"gemini", "openrouter"} - {name for name, row in DIALECTS.items() if not row.messages.keys}
    ):
        assert "c2ln" not in json.dumps(sent(vendor, [HI, *answered(REPLIES["gemini called"])])), vendor


# -- planted ----------------------------------------------------------------------------------------------------------

#: A cell of a vendor's row that is wrong: in what it takes of messages, or in the row itself.
PLANTED: list[tuple[str, dict[str, Any]]] = [
    ("groq", {"keys": None}), ("cerebras", {"keys": None}), ("mistral", {"keys": None}), ("mistral", {"ids": ".+"}), ("mistral", {"silent": True}),
    ("mistral", {"ids": r".{9}"}), ("mistral", {"developer": True, "keys": None}),
    ("openai", {"ids": ".+"}),
    ("openai", {"images": True, "parts": {}}), ("azure", {"ids": ".+"}), ("deepseek", {"reasoning": None}),
    ("deepseek", {"developer": True, "keys": None}), ("gemini", {"signed": False}), ("mistral", {"needs_parameters": False}),
    ("openai", {"says_json": False}), ("deepseek", {"schemas": True}), ("groq", {"tools": ()}),
    ("deepseek", {"required": "any"}), ("mistral", {"seed_field": "seed"}), ("mistral", {"lacks": ()}),
    ("gemini", {"lacks": ()}), ("groq", {"lacks": ()}), ("mistral", {"max_tokens_field": "max_completion_tokens"}),
]  # fmt: skip
#: What is asked for beside each reply; refused by a right row, or sent in its words.
ASKED: list[dict[str, Any]] = [
    {"tools": list(TOOLS), "tool_choice": "required"}, {"tools": [{"name": "f"}]}, {"response_format": "json"},
    {"response_format": {"type": "object", "properties": {}}}, {"tools": [{"type": "custom", "custom": {"name": "c"}}]},
    {"seed": 1, "max_tokens": 9}, {"user": "u"}, {"frequency_penalty": 1},
]  # fmt: skip


def all_broken(vendor: str, row: Dialect) -> set[str]:
    """The rules that are broken by what this row makes of every reply and every wish."""
    codec, found = OpenAICodec(URL, row), set()
    replies = [answered(message) for message in REPLIES.values()]
    for i, history in enumerate([*replies, *([] for _ in ASKED)]):
        wish = ASKED[i - len(replies)] if i >= len(replies) else {}
        messages = [HI, *history, {"role": "developer", "content": "Be kind."}, HI]
        try:
            request = codec.build(chat_request(messages, "gemini-3-pro", **wish))
        except LLMBadRequestError:
            continue
        found |= {rule for _, rule in broken(vendor, json.loads(request.body))}
    return found


@pytest.mark.parametrize(
    ("vendor", "cells"), PLANTED, ids=lambda value: value if isinstance(value, str) else str(value)[:50]
)
def test_a_wrong_cell_is_found(vendor: str, cells: dict[str, Any]) -> None:
    row = DIALECTS[vendor]
    of_messages = {name: value for name, value in cells.items() if hasattr(row.messages, name)}
    others = {name: value for name, value in cells.items() if name not in of_messages}
    assert all_broken(vendor, row) == set()
    assert all_broken(vendor, replace(row, messages=replace(row.messages, **of_messages), **others)) != set()


# -- recorded ---------------------------------------------------------------------------------------------------------


def recorded_replies() -> list[Exchange]:
    return [] if MISSING else [each for each in exchanges() if each.status == 200 and each.request is not None]


@pytest.mark.skipif(MISSING, reason="the recordings are not here")
@pytest.mark.parametrize("vendor", CODECS)
def test_every_recorded_reply_goes_on_at_every_vendor(vendor: str) -> None:
    went_on = 0
    for exchange in recorded_replies():
        codec = CODECS[{"anthropic": "anthropic", "ollama": "ollama"}.get(exchange.wire, "generic")]
        reader = codec.operation(chat_request([HI], "m", stream=exchange.streamed)).new_reader()
        reading = read(reader, [exchange.reply])
        if reading.error is not None or reading.response.invalid_tool_calls:
            continue
        response = reading.response
        messages = [HI, response.message, *(each.result("42") for each in response.tool_calls)]
        if not response.tool_calls:
            messages.append({"role": "user", "content": "And?"})
        assert broken(vendor, sent(vendor, messages)) == [], exchange.id
        went_on += 1
    assert went_on > 200
