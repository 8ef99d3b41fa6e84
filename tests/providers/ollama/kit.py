"""Ollama's wire written by hand: the server's side of it, for tests."""

from __future__ import annotations

import json
from collections.abc import Iterator

from hypothesis import strategies as st

from sans_io.http.urls import parse_base_url
from sans_io.providers.ollama.codec import OllamaCodec
from sans_io.providers.ollama.reply import ChatStreamReader, WholeChatReader
from tests.providers.reading import Reading, read

CODEC = OllamaCodec(parse_base_url("http://127.0.0.1:11434"))
TIME = "2026-11-22T10:00:00.123456789Z"
END = {"total_duration": 5, "prompt_eval_count": 11, "eval_count": 7}


def line(content: str = "", *, done: bool = False, model: str = "qwen2.5:3b", **fields: object) -> bytes:
    """A line of a chat stream. `message_...` fields go into the message."""
    message = {"role": "assistant", "content": content}
    message |= {key.removeprefix("message_"): value for key, value in fields.items() if key.startswith("message_")}
    rest = {key: value for key, value in fields.items() if not key.startswith("message_")}
    return json.dumps({"model": model, "created_at": TIME, "message": message, "done": done, **rest}).encode() + b"\n"


def last(content: str = "", reason: str = "stop", **fields: object) -> bytes:
    return line(content, done=True, done_reason=reason, **{**END, **fields})


def call(name: str, arguments: object, **fields: object) -> dict:
    return {**fields, "function": {"name": name, "arguments": arguments}}


def stream(*parts: bytes, taken: frozenset[str] = frozenset()) -> Reading:
    """Read a stream given whole."""
    return read(ChatStreamReader("qwen2.5:3b", taken), [b"".join(parts)])


def whole(reply: object) -> Reading:
    """Read a reply given whole."""
    body = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
    return read(WholeChatReader("qwen2.5:3b"), [body])


TEXTS = st.text(st.characters(codec="utf-8"), max_size=12) | st.sampled_from(
    ["\n\n", "😀", "\u2028", "\r", '{"error":1}']
)
NAMES = st.text("abcdefgh_", min_size=1, max_size=8)
ARGUMENTS = st.dictionaries(TEXTS, st.none() | st.booleans() | st.integers(-9, 9) | TEXTS, max_size=3)
CALLS = st.fixed_dictionaries(
    {"function": st.fixed_dictionaries({"name": NAMES, "arguments": ARGUMENTS})},
    optional={"id": st.uuids().map(lambda u: f"call_{u.hex[:8]}")},
)
COUNTS = st.integers(1, 2**31)
REPLIES = st.fixed_dictionaries(
    {
        "model": NAMES,
        "created_at": st.just(TIME),
        "message": st.fixed_dictionaries(
            {"role": st.just("assistant"), "content": TEXTS},
            optional={"thinking": TEXTS.filter(bool), "tool_calls": st.lists(CALLS, min_size=1, max_size=3)},
        ),
        "done": st.just(True),
        "done_reason": st.sampled_from(["stop", "length", "load", "unload", "brand_new"]),
    },
    optional={"prompt_eval_count": COUNTS, "eval_count": COUNTS, "total_duration": COUNTS},
)


@st.composite
def streamed(draw: st.DrawFn, reply: dict) -> bytes:
    """A stream that says `reply`: pieces, escapes, blank lines and places of the calls as the server likes."""
    ascii_only = draw(st.booleans())
    message = reply["message"]
    begun = {key: reply[key] for key in ("model", "created_at")}
    role = {"role": "assistant"}

    def pieces(text: str) -> list[str]:
        units = text.encode("utf-16-le")
        step = draw(st.integers(1, 4)) * 2 if ascii_only else len(units) or 2
        return [units[i : i + step].decode("utf-16-le", "surrogatepass") for i in range(0, len(units), step)]

    def lines() -> Iterator[dict]:
        for piece in pieces(message.get("thinking", "")):
            yield {**begun, "message": {**role, "content": "", "thinking": piece}, "done": False}
        calls = list(message.get("tool_calls", ()))
        texts = pieces(message["content"])
        in_last = draw(st.booleans())
        for piece in texts[:-1] if in_last else texts:
            yield {**begun, "message": {**role, "content": piece}, "done": False}
            if calls and draw(st.booleans()):
                yield {**begun, "message": {**role, "content": "", "tool_calls": [calls.pop(0)]}, "done": False}
        if calls:
            yield {**begun, "message": {**role, "content": "", "tool_calls": calls}, "done": False}
        final = texts[-1] if in_last and texts else ""
        yield {**reply, "message": {**role, "content": final}}

    def written(each: dict) -> str:
        text = json.dumps(each, ensure_ascii=True)
        if not ascii_only:
            plain = json.dumps(each, ensure_ascii=False)
            text = plain if max(plain) < "\ud800" or max(plain) > "\udfff" else text
        return text + draw(st.sampled_from(["\n", "\r\n", "\n\n"]))

    return "".join(written(each) for each in lines()).encode()
