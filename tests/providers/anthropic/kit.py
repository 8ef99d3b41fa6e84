"""Anthropic's wire written by hand: the server's side of it, for tests."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from hypothesis import strategies as st

from sans_io.http.urls import parse_base_url
from sans_io.providers.anthropic.codec import AnthropicCodec
from sans_io.providers.anthropic.reply import MessageStreamReader, WholeMessageReader
from tests.providers.reading import Reading, read

BASE_URL = parse_base_url("https://api.anthropic.com")
CODEC = AnthropicCodec(BASE_URL)


def event(kind: str, named: bool = True, **fields: object) -> bytes:
    """One event as the server sends it."""
    line = f"event: {kind}\n" if named else ""
    return f"{line}data: {json.dumps({'type': kind, **fields})}\n\n".encode()


def start(**message: object) -> bytes:
    fields = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x", "content": []}
    fields |= {"stop_reason": None, "stop_sequence": None, "usage": {"input_tokens": 10, "output_tokens": 1}}
    return event("message_start", message={**fields, **message})


def block_start(index: int, **block: object) -> bytes:
    return event("content_block_start", index=index, content_block=block)


def delta(index: int, kind: str, **fields: object) -> bytes:
    return event("content_block_delta", index=index, delta={"type": kind, **fields})


def block_stop(index: int) -> bytes:
    return event("content_block_stop", index=index)


def message_delta(stop_reason: str | None = "end_turn", usage: object = None, **delta: object) -> bytes:
    usage = {"output_tokens": 7} if usage is None else usage
    return event("message_delta", delta={"stop_reason": stop_reason, "stop_sequence": None, **delta}, usage=usage)


PING = event("ping")
STOP = event("message_stop")


def text_block(index: int, *pieces: str) -> bytes:
    deltas = b"".join(delta(index, "text_delta", text=piece) for piece in pieces)
    return block_start(index, type="text", text="") + deltas + block_stop(index)


def tool_block(index: int, name: str, *pieces: str, id: str = "toolu_1", **block: object) -> bytes:
    begun = block_start(index, type="tool_use", id=id, name=name, **{"input": {}, **block})
    return begun + b"".join(delta(index, "input_json_delta", partial_json=p) for p in pieces) + block_stop(index)


def stream(*parts: bytes) -> Reading:
    """Read a stream given whole."""
    return read(MessageStreamReader("claude-x", "2026-10-21"), [b"".join(parts)])


def whole(message: object) -> Reading:
    """Read a reply given whole."""
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    return read(WholeMessageReader("claude-x", "2026-10-21"), [body])


# -- any message, and its stream --------------------------------------------------------------------------------------

#: Text with everything that has ever broken a decoder.
TEXTS = st.text(st.characters(codec="utf-8"), max_size=12) | st.sampled_from(
    ["\n\n", "data: {}", "😀", "\u2028", "\r", "[DONE]"]
)
NAMES = st.text("abcdefgh_", min_size=1, max_size=8)
INPUTS = st.dictionaries(
    TEXTS, st.none() | st.booleans() | st.integers(-9, 9) | TEXTS | st.lists(TEXTS, max_size=2), max_size=3
)
IDS = st.uuids().map(lambda u: f"toolu_{u.hex[:8]}")
BLOCKS = st.one_of(
    st.fixed_dictionaries({"type": st.just("text"), "text": TEXTS}),
    st.fixed_dictionaries({"type": st.just("text"), "text": TEXTS, "citations": st.lists(st.fixed_dictionaries({"type": st.just("char_location"), "cited_text": TEXTS}), min_size=1, max_size=2)}),
    st.fixed_dictionaries({"type": st.just("thinking"), "thinking": TEXTS, "signature": NAMES}),
    st.fixed_dictionaries({"type": st.just("redacted_thinking"), "data": NAMES}),
    st.fixed_dictionaries({"type": st.just("tool_use"), "id": IDS, "name": NAMES, "input": INPUTS}),
    st.fixed_dictionaries({"type": st.just("server_tool_use"), "id": IDS, "name": NAMES, "input": INPUTS}),
    st.fixed_dictionaries({"type": st.just("web_search_tool_result"), "tool_use_id": IDS, "content": st.lists(INPUTS, max_size=2)}),
)  # fmt: skip
COUNTS = st.integers(0, 2**31)
MESSAGES = st.fixed_dictionaries(
    {
        "id": NAMES,
        "type": st.just("message"),
        "role": st.just("assistant"),
        "model": NAMES,
        "content": st.lists(BLOCKS, max_size=5),
        "stop_reason": st.sampled_from(["end_turn", "max_tokens", "stop_sequence", "tool_use", "pause_turn", "refusal", "model_context_window_exceeded", "brand_new"]),
        "stop_sequence": st.none() | TEXTS,
        "usage": st.fixed_dictionaries({"input_tokens": COUNTS, "output_tokens": COUNTS}, optional={"cache_read_input_tokens": COUNTS, "cache_creation_input_tokens": COUNTS}),
    }
)  # fmt: skip


@st.composite
def streamed(draw: st.DrawFn, message: dict) -> bytes:
    """A stream that says `message`: pieces, pings, names, escapes and line ends as the server likes."""
    named, ascii_only = draw(st.booleans()), draw(st.booleans())
    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))

    def pieces(text: str) -> list[str]:
        # Cut between UTF-16 units, as servers that count in them do.
        units = text.encode("utf-16-le")
        step = draw(st.integers(1, 4)) * 2 if ascii_only else len(units) or 2
        return [units[i : i + step].decode("utf-16-le", "surrogatepass") for i in range(0, len(units), step)]

    def lines() -> Iterator[dict]:
        first = {
            **message,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {**message["usage"], "output_tokens": 1},
        }
        yield {"type": "message_start", "message": first}
        for i, block in enumerate(message["content"]):
            yield from block_events(i, block)
            if draw(st.integers(0, 4)) == 0:
                yield {"type": "ping"}
        ending = {"stop_reason": message["stop_reason"], "stop_sequence": message["stop_sequence"]}
        yield {"type": "message_delta", "delta": ending, "usage": {"output_tokens": message["usage"]["output_tokens"]}}
        yield {"type": "message_stop"}

    def block_events(i: int, block: dict) -> Iterator[dict]:
        deltas: Iterable[dict] = ()
        begun = dict(block)
        kind = block["type"]
        if kind == "text":
            begun = {"type": kind, "text": ""}
            deltas = [{"type": "text_delta", "text": piece} for piece in pieces(block["text"])]
            deltas += [{"type": "citations_delta", "citation": c} for c in block.get("citations", ())]
        elif kind == "thinking":
            begun = {"type": kind, "thinking": "", "signature": ""}
            deltas = [{"type": "thinking_delta", "thinking": piece} for piece in pieces(block["thinking"])]
            deltas += [{"type": "signature_delta", "signature": block["signature"]}]
        elif "input" in block and draw(st.booleans()):
            begun["input"] = {}
            text = json.dumps(block["input"], ensure_ascii=ascii_only)
            deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in ["", *pieces(text)]]
        yield {"type": "content_block_start", "index": i, "content_block": begun}
        for each in deltas:
            yield {"type": "content_block_delta", "index": i, "delta": each}
        yield {"type": "content_block_stop", "index": i}

    def written(line: dict) -> str:
        text = json.dumps(line, ensure_ascii=True)
        if not ascii_only:
            plain = json.dumps(line, ensure_ascii=False)
            text = plain if _encodes(plain) else text
        return (f"event: {line['type']}{end}" if named else "") + f"data: {text}{end}{end}"

    return "".join(written(line) for line in lines()).encode()


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
