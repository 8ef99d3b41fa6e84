"""Three laws of what the clients send, for conversations made up and recorded, for every vendor whose rules are known.

(i)   What is sent breaks no rule of its vendor, or was refused by name before.
(ii)  An answer goes back to the vendor it came from without breaking a rule and without losing what is wanted back.
(iii) It goes to every other vendor without breaking a rule; what cannot go along is left out, and nothing is refused.
"""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sans_io.calls.replay import decode
from sans_io.errors import LLMError
from sans_io.providers.rules import VENDORS
from tests.providers.conversations import TOOLS, conversations
from tests.providers.rules.kit import HELLO, MESSAGES, Said, about, answered, broken, refusal, request, said
from tests.providers.rules.recorded import MISSING, Exchange, exchanges

#: For laws that ask every vendor of each example.
fewer = settings(max_examples=max(settings.default.max_examples // 5, 1))
needs_recordings = pytest.mark.skipif(MISSING, reason="the recordings are not here")

# -- (i) --------------------------------------------------------------------------------------------------------------

OPTIONS = {
    "temperature": st.sampled_from([0, 0.5, 1]),
    "max_tokens": st.sampled_from([16, 4096]),
    "top_p": st.sampled_from([0.1, 1]),
    "top_k": st.just(40),
    "frequency_penalty": st.sampled_from([-1, 0.5]),
    "presence_penalty": st.sampled_from([-1, 0.5]),
    "stop": st.sampled_from(["END", ["a", "b"]]),
    "seed": st.just(7),
    "n": st.sampled_from([1, 2]),
    "logprobs": st.sampled_from([0, 3]),
    "response_format": st.sampled_from(
        [
            "json",
            "text",
            {"title": "A person", "type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
            {"type": "object", "properties": {"age": {"type": "integer", "minimum": 0, "default": 3}}},
            {"type": "object", "properties": {"when": {"type": "string", "format": "uri"}, "tags": {"type": "array"}}},
            {"type": "object", "properties": {"map": {"type": "object", "additionalProperties": {"type": "string"}}}},
            {"anyOf": [{"type": "object", "properties": {}}, {"type": "null"}]},
            {"$ref": "#/$defs/N", "$defs": {"N": {"type": "object", "properties": {"n": {"$ref": "#/$defs/N"}}}}},
        ]
    ),
    "reasoning_effort": st.sampled_from(["none", "low", "high"]),
    "thinking": st.sampled_from([False, 2048]),
    "verbosity": st.just("low"),
    "parallel_tool_calls": st.booleans(),
    "service_tier": st.just("auto"),
    "user": st.just("u1"),
    "metadata": st.just({"run": "7"}),
    "tools": st.sampled_from(
        [
            TOOLS,
            [{"name": "now"}],
            [{"name": "now", "description": "The time.", "parameters": {"properties": {}}}],
            [{"name": "f", "strict": True, "parameters": {"type": "object", "properties": {"x": {"type": "string"}}}}],
            [{"type": "function", "function": {"name": "g", "parameters": {"type": "object"}}}],
        ]
    ),
    "tool_choice": st.sampled_from(["auto", "none", "required", "get_weather"]),
    "stream": st.booleans(),
}
CONVERSATIONS = conversations(native=st.sampled_from(list(VENDORS)).flatmap(MESSAGES.__getitem__))


@pytest.mark.parametrize("vendor", VENDORS)
@fewer
@given(messages=CONVERSATIONS, options=st.fixed_dictionaries({}, optional=OPTIONS))
def test_what_is_sent_breaks_no_rule_or_is_refused_by_name(vendor: str, messages: list, options: dict) -> None:
    error = refusal(vendor, messages, **options)
    if error is not None:
        names = ("messages", "tools", *OPTIONS)
        assert error.message.startswith(names), error.message
        return
    found = broken(vendor, messages, **options)
    # What a model refuses, and a value that a vendor refuses, is the server's business: the caller asked for it.
    assert [one for one in found if about(vendor, one) == "form"] == []


@pytest.mark.parametrize("vendor", VENDORS)
@given(option=st.sampled_from(sorted(OPTIONS)).flatmap(lambda name: st.tuples(st.just(name), OPTIONS[name])))
def test_each_option_alone_breaks_no_rule_or_is_refused_by_its_name(vendor: str, option: tuple) -> None:
    name, value = option
    error = refusal(vendor, [HELLO], **{name: value})
    if error is None:
        assert broken(vendor, [HELLO], **{name: value}) == []
    else:
        assert error.message.startswith(name), error.message


SCHEMA_NAMES = st.sampled_from(["a", "b", "c", "$ref"])
LEAVES = st.sampled_from(
    [
        {"type": "string"}, {"type": "string", "format": "date"}, {"type": "string", "format": "uri"},
        {"type": "string", "minLength": 1, "description": "x"}, {"type": "string", "pattern": "^(?!x)"},
        {"type": "integer", "minimum": 0, "default": 3}, {"type": ["string", "null"]}, {"enum": ["x", "y"]},
        {"enum": [{"x": 1}]}, {"const": 7}, {"type": "array"}, {"type": "object"}, {}, True, {"$ref": "#"},
        {"$ref": "#/$defs/D"}, {"$ref": "#/$defs/D", "description": "x"}, {"$ref": "#/$defs/E"},
        {"type": "object", "additionalProperties": {"type": "integer"}}, {"not": {"type": "null"}},
        {"type": "string", "title": "A title", "examples": ["x"]},
    ]
)  # fmt: skip


@st.composite
def _objects(draw: st.DrawFn, inside: st.SearchStrategy) -> dict:
    properties = draw(st.dictionaries(SCHEMA_NAMES, inside, max_size=3))
    schema = {"type": "object", "properties": properties}
    if draw(st.booleans()):
        schema["required"] = draw(st.sampled_from([list(properties), list(properties)[:1], ["z"]]))
    if draw(st.booleans()):
        schema["additionalProperties"] = draw(st.sampled_from([False, False, True]))
    return schema


SCHEMAS = st.recursive(
    LEAVES,
    lambda inside: (
        _objects(inside)
        | st.builds(lambda one: {"type": "array", "items": one, "maxItems": 3}, inside)
        | st.builds(lambda some: {"anyOf": some}, st.lists(inside, min_size=1, max_size=3))
        | st.builds(lambda some: {"oneOf": some, "discriminator": {"propertyName": "a"}}, st.lists(inside, min_size=1))
        | st.builds(lambda some: {"allOf": some}, st.lists(inside, min_size=1, max_size=2))
    ),
    max_leaves=6,
)


@given(root=_objects(SCHEMAS) | SCHEMAS.filter(lambda one: isinstance(one, dict) and bool(one)), definition=LEAVES,
       strict=st.sampled_from([None, True]))  # fmt: skip
def test_any_schema_is_sent_as_its_vendor_takes_it_or_is_refused_by_name(
    root: dict, definition: object, strict: bool | None
) -> None:
    schema = {**root, "$defs": {"D": definition}} if "#/$defs/D" in json.dumps(root) else root
    inner = {"name": "x", "schema": schema} | ({} if strict is None else {"strict": strict})
    tool = {"name": "f", "parameters": schema} | ({} if strict is None else {"strict": strict})
    wishes: list[dict] = [{"response_format": {"type": "json_schema", "json_schema": inner}}, {"tools": [tool]}]
    for vendor in VENDORS:
        for wish in wishes:
            error = refusal(vendor, [HELLO], **wish)
            if error is None:
                assert [one for one in broken(vendor, [HELLO], **wish) if about(vendor, one) == "form"] == [], vendor
            else:
                assert error.message.startswith(("response_format", "tools[0]")), error.message


# -- (ii) and (iii) ---------------------------------------------------------------------------------------------------


def expected(message: dict) -> Said:
    """What a request must say of this answer."""
    content = message.get("content")
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content or []
    text = "".join(part["text"] for part in parts if part["type"] == "text")
    calls = message.get("tool_calls") or ()
    said_calls = [(call["function"]["name"], json.loads(call["function"]["arguments"])) for call in calls]
    return Said([text] if text.strip() else [], said_calls, [f"result {i}" for i in range(len(calls))])


def check_goes_on(vendor: str, message: dict, **options: object) -> dict:
    """The request that goes on after `message` breaks no rule and says all of it; the message in that request."""
    history = [HELLO, *answered(message), {"role": "user", "content": "Go on"}]
    error = refusal(vendor, history, **options)
    assert error is None, error
    assert broken(vendor, history, **options) == []
    body, _ = request(vendor, history, **options)
    heard = said(vendor, body)
    wanted = expected(message)
    assert heard.calls == wanted.calls
    assert heard.results == wanted.results
    # A refusal may be said beside it.
    if wanted.texts:
        shown = _shown if vendor == "anthropic" else str  # Blank blocks are left out there.
        either = {shown(wanted.texts[0] + more) for more in ("", message.get("refusal") or "")}
        assert shown("".join(heard.texts)) in either
    # The same without the last word: what a loop of tools sends.
    assert broken(vendor, [HELLO, *answered(message)], **options) == [] or not message.get("tool_calls")
    return next((one for one in body["messages"] if one["role"] == "assistant"), {})


def _shown(text: str) -> str:
    return "".join(text.split())


#: Keys that a vendor wants back with its own answer.
WANTED_BACK = {
    "openai": ("refusal",),
    "azure": ("refusal",),
    "groq": ("reasoning",),
    "cerebras": ("reasoning",),
    "deepseek": ("reasoning_content",),
    "openrouter": ("reasoning", "reasoning_details"),
    "mistral": (),
    "xai": (),
    "gemini": (),
}


def check_comes_back(vendor: str, message: dict, sent: dict) -> None:
    """Nothing is missing that this vendor wants back with an answer of its own."""
    for key in WANTED_BACK.get(vendor, ()):
        if message.get(key):
            assert sent.get(key) == message[key]
    if vendor == "mistral" and isinstance(message.get("content"), list):
        assert sent["content"] == message["content"]
    if vendor == "gemini":
        signs = [call["extra_content"] for call in message.get("tool_calls") or () if call.get("extra_content")]
        sent_signs = [call["extra_content"] for call in sent.get("tool_calls") or () if "extra_content" in call]
        assert sent_signs == signs or not signs
    if vendor == "anthropic" and isinstance(message.get("native"), dict):
        blocks = message["native"]["blocks"]
        kept = [block for block in blocks if block["type"] != "text" or block["text"].strip()]
        if all(block["type"] in ("thinking", "redacted_thinking") for block in kept):
            return  # A turn cannot end with thinking, so that one of nothing else is left out.
        content = sent["content"]
        content = [{"type": "text", "text": content}] if isinstance(content, str) else content
        assert [block for block in content if block["type"] != "text" or block["text"].strip()] == kept
    if vendor == "ollama" and message.get("thinking"):
        assert sent["thinking"] == message["thinking"]


@pytest.mark.parametrize("vendor", VENDORS)
@given(data=st.data())
def test_an_answer_goes_back_to_its_vendor(vendor: str, data: st.DataObject) -> None:
    message = data.draw(MESSAGES[vendor])
    sent = check_goes_on(vendor, message)
    check_comes_back(vendor, message, sent)


@pytest.mark.parametrize("vendor", VENDORS)
@fewer
@given(data=st.data())
def test_an_answer_goes_to_every_other_vendor(vendor: str, data: st.DataObject) -> None:
    message = data.draw(MESSAGES[vendor])
    for other in VENDORS:
        if other != vendor:
            check_goes_on(other, message)


@fewer
@given(data=st.data())
def test_answers_of_several_vendors_go_to_one(data: st.DataObject) -> None:
    history = [HELLO]
    for vendor in data.draw(st.lists(st.sampled_from(list(VENDORS)), min_size=2, max_size=4)):
        history += answered(data.draw(MESSAGES[vendor]))
        history.append({"role": "user", "content": "Go on"})
    for vendor in VENDORS:
        error = refusal(vendor, history)
        assert error is None, error
        assert broken(vendor, history) == []


# -- the same of recorded answers -------------------------------------------------------------------------------------


def message_of(exchange: Exchange) -> dict | None:
    """The answer of a recorded exchange, None where it holds an error."""
    provider = exchange.vendor or exchange.wire
    headers = {"content-type": "text/event-stream" if exchange.streamed else "application/json"}
    try:
        response = decode(provider, exchange.status, headers, [exchange.reply], stream=exchange.streamed)
    except LLMError as error:
        response = error.partial
    return None if response is None else json.loads(json.dumps(response.message))


RECORDED = [(exchange.id, exchange) for exchange in ([] if MISSING else exchanges()) if exchange.status == 200]


@needs_recordings
@pytest.mark.parametrize("exchange", [pytest.param(one, id=key) for key, one in RECORDED])
def test_a_recorded_answer_goes_on(exchange: Exchange) -> None:
    message = message_of(exchange)
    if message is None:
        return
    for vendor in VENDORS:
        sent = check_goes_on(vendor, message)
        if vendor == exchange.vendor:
            check_comes_back(vendor, message, sent)


@needs_recordings
def test_recorded_conversations_go_to_every_vendor() -> None:
    """What others sent, as the callers of our clients would say it."""
    told = 0
    for exchange in exchanges():
        if exchange.wire != "openai" or exchange.request is None or exchange.status != 200:
            continue
        messages = [one for one in exchange.request["messages"] if one.get("role") != "function"]
        for vendor in VENDORS:
            if refusal(vendor, messages) is None:
                told += 1
                found = broken(vendor, messages)
                assert [one for one in found if about(vendor, one) == "form"] == [], exchange.id
    assert told > 1000
