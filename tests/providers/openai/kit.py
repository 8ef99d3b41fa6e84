"""What the tests of OpenAI's wire share: chunks and bodies by hand, random replies in both forms, reading them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from random import Random

from hypothesis import strategies as st

from sans_io.chat.content import has_content
from sans_io.chat.events import Event, Finished, ReasoningDelta, RefusalDelta, TextDelta, ToolCallCompleted
from sans_io.chat.response import ChatResponse
from sans_io.errors import LLMError
from sans_io.limits import DEFAULT_LIMITS, Limits
from sans_io.providers.base import ReplyReader
from sans_io.providers.failures import DEFAULT_RULES
from sans_io.providers.openai_chat.reply import OpenAIBodyReader, OpenAIStreamReader

JSON = object
DONE = b"data: [DONE]\n\n"


def sse(*values: JSON, done: bool = True) -> bytes:
    """Events as an event stream; a string is sent as it is."""
    data = (value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for value in values)
    return b"".join(f"data: {text}\n\n".encode() for text in data) + (DONE if done else b"")


def chunk(delta: JSON = None, finish: JSON = None, index: JSON = 0, **top: JSON) -> dict:
    """One chunk with one choice, as OpenAI sends it."""
    choice = {"index": index, "delta": {} if delta is None else delta, "logprobs": None, "finish_reason": finish}
    base = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return {**base, **top}


def text(piece: str, **top: JSON) -> dict:
    return chunk({"content": piece}, **top)


def usage_chunk(**usage: JSON) -> dict:
    return {**chunk(), "choices": [], "usage": usage}


def body(message: JSON = None, finish: JSON = "stop", **top: JSON) -> dict:
    """A whole reply with one choice."""
    choice = {"index": 0, "message": message or {"role": "assistant", "content": "Hi"}, "finish_reason": finish}
    return {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], **top}


@dataclass
class Reading:
    """What came out of one reader."""

    events: list[Event]
    response: ChatResponse
    error: LLMError | None
    ended: bool

    def text(self, choice: int = 0) -> str:
        return "".join(e.text for e in self.events if isinstance(e, TextDelta) and e.choice == choice)

    def outcome(self) -> tuple[object, ...]:
        error = self.error and (type(self.error), self.error.message, self.error.code, self.error.error_type)
        return (self.events, self.response, error, self.ended)


def stream_reader(expected: int = 1, limits: Limits = DEFAULT_LIMITS) -> OpenAIStreamReader:
    return OpenAIStreamReader("test", "m", DEFAULT_RULES, limits, expected)


def body_reader(limits: Limits = DEFAULT_LIMITS) -> OpenAIBodyReader:
    return OpenAIBodyReader("test", "m", DEFAULT_RULES, limits)


def read(reader: ReplyReader, pieces: Iterable[bytes]) -> Reading:
    """Feed a reader as the exchange does; check the laws that hold for every reply."""
    events: list[Event] = []
    for piece in pieces:
        if reader.ended or reader.error is not None:
            break
        before = reader.content_events
        said = reader.receive_data(piece)
        assert reader.content_events > before or reader.ended or not has_content(said), "it is content"
        events += said
    if not reader.ended and reader.error is None:
        events += reader.receive_eof()
    assert reader.ended != (reader.error is not None), "the end is either a whole reply or an error"
    reading = Reading(events, reader.response(), reader.error, reader.ended)
    assert reader.receive_data(sse(text("more"))) == []
    assert reader.receive_eof() == []
    assert (reader.error, reader.ended) == (reading.error, reading.ended)
    _check(reading, streamed=isinstance(reader, OpenAIStreamReader))
    again = reader.response()
    assert again == reading.response
    assert again.message is not reading.response.message
    assert again.usage is not reading.response.usage
    return reading


def _check(reading: Reading, *, streamed: bool) -> None:
    response = reading.response
    json.dumps(response.raw)
    for choice in response.choices:
        choice.content.encode()
        if streamed:
            assert reading.text(choice.index) == choice.content
            pieces = [e for e in reading.events if getattr(e, "choice", None) == choice.index]
            assert "".join(e.text for e in pieces if isinstance(e, ReasoningDelta)) == (choice.reasoning or "")
            assert "".join(e.text for e in pieces if isinstance(e, RefusalDelta)) == (choice.refusal or "")
    if reading.error is not None:
        assert not any(isinstance(e, (Finished, ToolCallCompleted)) for e in reading.events)
        assert not any(choice.tool_calls for choice in response.choices), "a call of a cut reply must not be run"
        assert str(reading.error).isprintable()
        return
    if streamed:
        assert [e.choice for e in reading.events if isinstance(e, Finished)] == [c.index for c in response.choices]
        for choice in response.choices:
            ends = [e for e in reading.events if isinstance(e, ToolCallCompleted) and e.choice == choice.index]
            assert [e.tool_call for e in ends if e.tool_call.arguments_error is None] == choice.tool_calls
            assert [e.tool_call for e in ends if e.tool_call.arguments_error is not None] == choice.invalid_tool_calls


def read_stream(*values: JSON, done: bool = True, expected: int = 1) -> Reading:
    return read(stream_reader(expected), [sse(*values, done=done)])


def read_body(value: JSON) -> Reading:
    return read(body_reader(), [value if isinstance(value, bytes) else json.dumps(value).encode()])


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted({place for place in places if 0 < place < len(data)}), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


def places(data: bytes) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(0, len(data)), max_size=12)


# -- random replies in both forms -----------------------------------------------------------------------------------

TEXTS = st.text('ab"\\\n é\u2028😀', max_size=6)
JSONS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS
    | st.sampled_from(["stop", "error"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXTS, inner, max_size=2),
    max_leaves=4,
)
ARGUMENTS = st.dictionaries(TEXTS, st.integers(-5, 5) | TEXTS, max_size=2).map(json.dumps)
COUNTS = st.none() | st.integers(0, 9)

#: One choice in neutral terms.
ANSWERS = st.fixed_dictionaries(
    {
        "text": TEXTS,
        "reasoning": st.just("") | TEXTS,
        "reasoning_key": st.sampled_from(["reasoning", "reasoning_content", "both", "details"]),
        "refusal": st.just("") | TEXTS,
        "calls": st.lists(st.tuples(st.sampled_from(["look", "run"]), ARGUMENTS), max_size=2),
        "signature": st.none() | st.just({"google": {"thought_signature": "c2ln"}}),
        "annotations": st.just([]) | st.just([{"type": "url_citation", "url": "https://a.example"}]),
        "finish": st.sampled_from(["stop", "length", "tool_calls", "content_filter", "eos", "", "new_word"]),
    }
)
#: A reply: its choices, and its counts.
REPLIES = st.fixed_dictionaries(
    {
        "choices": st.lists(ANSWERS, min_size=1, max_size=2),
        "usage": st.none() | st.fixed_dictionaries({"prompt_tokens": COUNTS, "completion_tokens": COUNTS}),
    }
)


def _reasoning(answer: dict, piece: str) -> dict:
    key = answer["reasoning_key"]
    details = [{"type": "reasoning.text", "index": 0, "format": "unknown", "text": piece}]
    if not piece:
        return {}
    if key == "both":
        return {"reasoning": piece, "reasoning_details": details}
    return {"reasoning_details": details} if key == "details" else {key: piece}


def whole(reply: dict) -> bytes:
    """The reply as `chat.completion`."""
    choices = []
    for index, answer in enumerate(reply["choices"]):
        message = {"role": "assistant", "content": answer["text"], **_reasoning(answer, answer["reasoning"])}
        message["refusal"] = answer["refusal"] or None
        message["annotations"] = answer["annotations"]
        if answer["calls"]:
            message["tool_calls"] = _calls(answer)
        choices.append({"index": index, "message": message, "logprobs": None, "finish_reason": answer["finish"]})
    value = {"id": "r", "object": "chat.completion", "created": 1, "model": "m", "choices": choices}
    return json.dumps(value | {"usage": reply["usage"]}).encode()


def _calls(answer: dict) -> list[dict]:
    kept = {"extra_content": answer["signature"]} if answer["signature"] else {}
    return [
        {"id": f"call_{i}", "type": "function", "function": {"name": name, "arguments": arguments}, **kept}
        for i, (name, arguments) in enumerate(answer["calls"])
    ]


def streamed(reply: dict) -> st.SearchStrategy[list[dict]]:
    """The same reply as chunks: pieces of random size, choices in random turn."""
    return st.integers(0, 2**32).map(lambda seed: _streamed(reply, Random(seed)))


def _streamed(reply: dict, dice: Random) -> list[dict]:
    queues = [_deltas(index, answer, dice) for index, answer in enumerate(reply["choices"])]
    chunks = []
    while any(queues):
        chunks.append(dice.choice([queue for queue in queues if queue]).pop(0))
    if reply["usage"] is not None:
        if dice.random() < 0.5:
            chunks[-1] = chunks[-1] | {"usage": reply["usage"]}
        else:
            chunks.append(usage_chunk(**reply["usage"]))
    return chunks


def _deltas(index: int, answer: dict, dice: Random) -> list[dict]:
    top = dice.choice([{}, {"usage": None}, {"usage": None, "obfuscation": "xyz"}])
    role = dice.choice([{}, {"role": "assistant"}, {"tool_calls": None}])

    def one(delta: dict, finish: str | None = None) -> dict:
        made = chunk(delta, finish, index, **top)
        if dice.random() < 0.2:
            del made["choices"][0]["logprobs"]
        return made

    def pieces(value: str) -> list[str]:
        edges = [0, *sorted(dice.randrange(len(value) + 1) for _ in range(dice.randrange(3))), len(value)]
        return [value[a:b] for a, b in itertools.pairwise(edges) if a < b]

    made = [one({"role": "assistant", "content": ""})]
    made += [one({"content": None} | role | _reasoning(answer, piece)) for piece in pieces(answer["reasoning"])]
    made += [one({"content": piece} | role) for piece in pieces(answer["text"])]
    made += [one({"refusal": piece}) for piece in pieces(answer["refusal"])]
    if answer["annotations"]:
        made.append(one({"annotations": answer["annotations"]}))
    for number, entry in enumerate(_calls(answer)):
        function = entry["function"]
        first, *rest = pieces(function["arguments"])
        made.append(one({"tool_calls": [entry | {"index": number, "function": function | {"arguments": first}}]}))
        made += [one({"tool_calls": [{"index": number, "function": {"arguments": piece}}]}) for piece in rest]
    made.append(one({}, answer["finish"]))
    return made


def without_raw(response: ChatResponse) -> ChatResponse:
    return replace(response, raw={})
