"""What the laws of vendors' rules share: a codec for each vendor, what a request says, replies of any vendor."""

from __future__ import annotations

import json
from typing import NamedTuple

from hypothesis import strategies as st

from sans_io.chat.messages import ChatRequest, chat_request
from sans_io.errors import LLMBadRequestError
from sans_io.http.urls import parse_base_url
from sans_io.providers.base import Codec
from sans_io.providers.openai_chat.codec import OpenAICodec
from sans_io.providers.registry import DIALECTS, WIRES
from sans_io.providers.rules import VENDORS, Violation, rules_of, violations
from tests.providers.conversations import ARGUMENTS, NAMES, TEXTS
from tests.providers.reading import read


def _codec(vendor: str) -> Codec:
    row = DIALECTS[vendor]
    place = parse_base_url(row.base_url or "https://x.openai.azure.com/openai/v1")
    return OpenAICodec(place, row) if row.wires[0] == "openai" else WIRES[row.wires[0]].new_codec(place)


CODECS = {vendor: _codec(vendor) for vendor in VENDORS}
#: A model of each vendor's that refuses nothing by itself.
MODELS = {
    "openai": "gpt-4.1",
    "azure": "gpt-4.1",
    "groq": "llama-3.3-70b-versatile",
    "mistral": "mistral-small-latest",
    "deepseek": "deepseek-v4-flash",
    "xai": "m",
    "cerebras": "gpt-oss-120b",
    "openrouter": "openai/gpt-4.1",
    "gemini": "gemini-3-flash-preview",
    "anthropic": "claude-haiku-4-5",
    "ollama": "llama3.2",
}
HELLO = {"role": "user", "content": "Hello"}


def request(vendor: str, messages: list[dict], **options: object) -> tuple[dict, str | None]:
    """The body that the client of this vendor sends, and the version of the API it says. Raises what a caller sees."""
    chat: ChatRequest = chat_request(messages, options.pop("model", MODELS[vendor]), **options)
    built = CODECS[vendor].build(chat)
    headers = {name.lower(): value for name, value in built.head.headers}
    return json.loads(built.body), headers.get("anthropic-version")


def broken(vendor: str, messages: list[dict], **options: object) -> list[Violation]:
    """What the vendor would refuse of this request of ours."""
    body, version = request(vendor, messages, **options)
    return violations(vendor, body, version)


def refusal(vendor: str, messages: list[dict], **options: object) -> LLMBadRequestError | None:
    try:
        request(vendor, messages, **options)
    except LLMBadRequestError as error:
        return error
    return None


def about(vendor: str, found: Violation) -> str:
    """What the broken rule is about: "form", "value" or "model"."""
    return next(rule.about for rule in rules_of(vendor) if rule.name == found.rule)


# -- what a request says ----------------------------------------------------------------------------------------------


class Said(NamedTuple):
    """The texts and the calls of a request's assistant, the results of its tools; each in order."""

    texts: list[str]
    calls: list[tuple[str, dict]]
    results: list[str]


def said(vendor: str, body: dict) -> Said:
    """What a request of this vendor says, whatever its wire. Blank texts are left out."""
    heard = Said([], [], [])
    for message in body["messages"]:
        content = message.get("content")
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content or []
        for block in blocks:
            if block["type"] == "text" and message["role"] == "assistant":
                heard.texts.append(block["text"])
            elif block["type"] == "tool_use":
                heard.calls.append((block["name"], block["input"]))
            elif block["type"] == "tool_result":
                heard.results.append(_text(block["content"]))
        if message["role"] == "tool":
            heard.results.append(_text(content))
        for call in message.get("tool_calls") or ():
            function = call["function"]
            arguments = function["arguments"] if vendor == "ollama" else json.loads(function["arguments"])
            heard.calls.append((function["name"], arguments))
    text = "".join(heard.texts)
    return heard._replace(texts=[text] if text.strip() else [])


def _text(content: object) -> str:
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content or ())


# -- replies ----------------------------------------------------------------------------------------------------------


def decoded(vendor: str, reply: dict, *, stream: bool) -> dict:
    """The `response.message` that a client of this vendor gets for a reply in its wire's whole form."""
    operation = CODECS[vendor].operation(chat_request([HELLO], "m", stream=stream))
    wire = DIALECTS[vendor].wires[0]
    data = _STREAMED[wire](reply) if stream else json.dumps(reply).encode()
    reading = read(operation.new_reader(), [data])
    assert reading.error is None, reading.error
    return json.loads(json.dumps(reading.response.message))


def _sse(*events: dict, named: bool = False) -> bytes:
    lines = (f"event: {event['type']}\n" if named else "" for event in events)
    return b"".join(f"{line}data: {json.dumps(event)}\n\n".encode() for line, event in zip(lines, events, strict=True))


def _openai_stream(reply: dict) -> bytes:
    choice = reply["choices"][0]
    base = {**reply, "object": "chat.completion.chunk"}
    delta = {"index": 0, "delta": choice["message"], "finish_reason": None}
    end = {"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}
    return _sse({**base, "choices": [delta]}, {**base, "choices": [end]}) + b"data: [DONE]\n\n"


def _anthropic_stream(reply: dict) -> bytes:
    events: list[dict] = [{"type": "message_start", "message": {**reply, "content": [], "stop_reason": None}}]
    for index, block in enumerate(reply["content"]):
        begun, deltas = dict(block), []
        if block["type"] == "text":
            begun["text"] = ""
            deltas.append({"type": "text_delta", "text": block["text"]})
        elif block["type"] == "thinking":
            begun |= {"thinking": "", "signature": ""}
            deltas.append({"type": "thinking_delta", "thinking": block["thinking"]})
            deltas.append({"type": "signature_delta", "signature": block["signature"]})
        elif block["type"] in ("tool_use", "server_tool_use"):
            begun["input"] = {}
            deltas.append({"type": "input_json_delta", "partial_json": json.dumps(block["input"])})
        events.append({"type": "content_block_start", "index": index, "content_block": begun})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    ending = {"stop_reason": reply["stop_reason"], "stop_sequence": None}
    events.append({"type": "message_delta", "delta": ending, "usage": {"output_tokens": 2}})
    return _sse(*events, {"type": "message_stop"}, named=True)


def _ollama_stream(reply: dict) -> bytes:
    done = {**reply, "message": {"role": "assistant", "content": ""}}
    return b"".join(json.dumps(line).encode() + b"\n" for line in ({**reply, "done": False}, done))


_STREAMED = {"openai": _openai_stream, "anthropic": _anthropic_stream, "ollama": _ollama_stream}

IDS = st.sampled_from(
    ["call_{}", "functions.get:{}", "toolu_01{}", "{}", "call_0123456789012345678901234567890123456789_{}", "ABCDEFGH{}",
     "chatcmpl-tool-{}", "fc_{}/x y", "ünï{}"]
)  # fmt: skip
SIGNED = {"google": {"thought_signature": "c2lnbmF0dXJl"}}
BLANK = st.sampled_from(["", " ", "\n", "\n\n"])
REASONINGS = TEXTS | BLANK | st.none()


@st.composite
def _calls(draw: st.DrawFn, most: int = 3) -> list[tuple[str, str, dict]]:
    """(id, name, arguments) of calls; some have one id."""
    same = draw(st.integers(0, 9)) == 0
    form = draw(IDS)
    return [
        (form.format(0 if same else number), draw(NAMES), draw(ARGUMENTS))
        for number in range(draw(st.integers(0, most)))
    ]


#: Keys that servers put beside what they say.
BESIDE = {
    "refusal": st.none() | TEXTS,
    "annotations": st.sampled_from([[], [{"type": "url_citation", "url_citation": {"url": "https://x"}}]]),
    "function_call": st.sampled_from([None, {"name": "", "arguments": ""}, {"name": None, "arguments": None}]),
    "audio": st.sampled_from([None, {"id": ""}, {"id": "audio_1", "data": "UklGRg==", "transcript": "Hm"}]),
    "reasoning": REASONINGS,
    "reasoning_content": REASONINGS,
    "reasoning_details": st.sampled_from(
        [[], [{"type": "reasoning.text", "text": "hm", "signature": "c2ln", "index": 0}]]
    ),
    "images": st.sampled_from(
        [[], [{"type": "image_url", "index": 0, "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}]]
    ),
    "index": st.just(0),
    "prefix": st.just(False),
    "name": st.just("somebody"),
    "thinking": TEXTS,
    "thinking_blocks": st.just([{"type": "thinking", "thinking": "hm", "signature": "c2ln"}]),
    "cache_control": st.just({"type": "ephemeral"}),
    "provider_specific_fields": st.just({"citations": None}),
    "native": st.just({"wire": "anthropic", "blocks": [{"type": "text", "text": "4"}]}),
    "anthropic_blocks": st.just([{"type": "text", "text": "4"}]),
    "extra_content": st.just(SIGNED),
    "context": st.just(None),
}


@st.composite
def _mistral_parts(draw: st.DrawFn) -> list[dict]:
    thought = {"type": "thinking", "thinking": [{"type": "text", "text": draw(TEXTS)}]}
    if draw(st.booleans()):
        thought |= {"signature": "c2ln", "closed": True}
    if draw(st.booleans()):
        thought["thinking"].append({"type": "reference", "reference_ids": [1, "a"]})
    parts = [thought, {"type": "text", "text": draw(TEXTS)}]
    if draw(st.booleans()):
        parts.append({"type": "reference", "reference_ids": [1]})
    return draw(st.permutations(parts))


@st.composite
def _openai_replies(draw: st.DrawFn, vendor: str) -> dict:
    calls = draw(_calls())
    message: dict = {"role": "assistant", "content": draw(TEXTS | BLANK | st.none() if calls else TEXTS | BLANK)}
    if vendor == "mistral" and draw(st.booleans()):
        message["content"] = draw(_mistral_parts())
    message |= draw(st.fixed_dictionaries({}, optional=BESIDE))
    if calls or draw(st.booleans()):
        message["tool_calls"] = []
    for number, (call_id, name, arguments) in enumerate(calls):
        function = {"name": name, "arguments": json.dumps(arguments)}
        call = {"id": call_id, "type": "function", "function": function}
        if draw(st.booleans()):
            call["index"] = number
        if vendor == "gemini" or draw(st.integers(0, 4)) == 0:
            call["extra_content"] = SIGNED
        message["tool_calls"].append(call)
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if calls else "stop"}
    return {"id": "x", "object": "chat.completion", "model": "m", "choices": [choice]}


@st.composite
def _anthropic_replies(draw: st.DrawFn) -> dict:
    content: list[dict] = []
    if draw(st.booleans()):
        content.append({"type": "thinking", "thinking": draw(TEXTS | st.just("")), "signature": "c2ln"})
    if draw(st.booleans()):
        content.append({"type": "redacted_thinking", "data": "abc"})
    if draw(st.booleans()):
        content.append({"type": "text", "text": draw(TEXTS | BLANK)})
    if draw(st.integers(0, 3)) == 0:
        content += [
            {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}},
            {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []},
            {"type": "text", "text": draw(TEXTS | BLANK)},
        ]
    seen = set()
    for number, (_, name, arguments) in enumerate(draw(_calls())):
        label = f"toolu_{number}"
        seen.add(label)
        content.append({"type": "tool_use", "id": label, "name": name, "input": arguments})
    if not content:
        content.append({"type": "text", "text": draw(TEXTS)})
    return {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": content,
        "stop_reason": "tool_use" if seen else "end_turn", "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 2},
    }  # fmt: skip


@st.composite
def _ollama_replies(draw: st.DrawFn) -> dict:
    message: dict = {"role": "assistant", "content": draw(TEXTS | BLANK)}
    if draw(st.booleans()):
        message["thinking"] = draw(TEXTS)
    calls = []
    for number, (call_id, name, arguments) in enumerate(draw(_calls())):
        call = {"function": {"index": number, "name": name, "arguments": arguments}}
        calls.append({"id": call_id, **call} if draw(st.booleans()) else call)
    if calls:
        message["tool_calls"] = calls
    return {"model": "m", "created_at": "t", "message": message, "done": True, "done_reason": "stop"}


def replies(vendor: str) -> st.SearchStrategy[dict]:
    """Replies of this vendor, in the whole form of its wire."""
    own = {"anthropic": _anthropic_replies, "ollama": _ollama_replies}
    return own[vendor]() if vendor in own else _openai_replies(vendor)


MESSAGES = {vendor: st.builds(decoded, st.just(vendor), replies(vendor), stream=st.booleans()) for vendor in VENDORS}


def answered(message: dict) -> list[dict]:
    """`[message, results of its calls]`."""
    results = [
        {"role": "tool", "tool_call_id": call["id"], "name": call["function"]["name"], "content": f"result {i}"}
        for i, call in enumerate(message.get("tool_calls") or ())
    ]
    return [message, *results]
