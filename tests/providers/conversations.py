"""Random conversations in the common form, for the tests that carry them over a wire and back."""

from __future__ import annotations

import json
from base64 import b64encode

from hypothesis import strategies as st

TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=10)
NAMES = st.sampled_from(["get_weather", "search", "run_code"])
ARGUMENTS = st.dictionaries(TEXTS, TEXTS | st.integers(-9, 9) | st.booleans() | st.none(), max_size=3)
IMAGES = st.binary(min_size=1, max_size=6).map(lambda data: f"data:image/png;base64,{b64encode(data).decode()}")
TOOLS = tuple(
    {
        "name": name,
        "description": f"Does {name}.",
        "parameters": {"type": "object", "properties": {"x": {"type": "string"}}},
    }
    for name in ("get_weather", "search", "run_code")
)


def text_part(text: str) -> dict:
    return {"type": "text", "text": text}


def image_part(url: str) -> dict:
    return {"type": "image_url", "image_url": {"url": url}}


USER_CONTENTS = TEXTS | st.lists(TEXTS.map(text_part) | IMAGES.map(image_part), min_size=1, max_size=3)


@st.composite
def conversations(draw: st.DrawFn, *, native: st.SearchStrategy[dict] | None = None) -> list[dict]:
    """Turns of text, images, parallel tool calls and their results.

    `native`: assistant messages as a wire's reader made them, to be found among the turns.
    """
    messages: list[dict] = []
    if draw(st.booleans()):
        messages.append({"role": draw(st.sampled_from(["system", "developer"])), "content": draw(TEXTS)})
    messages.append({"role": "user", "content": draw(USER_CONTENTS)})
    number = 0
    for _ in range(draw(st.integers(0, 4))):
        kind = draw(st.sampled_from(["text", "tools", "user", *(["native"] * 2 if native is not None else [])]))
        if kind == "user":
            messages.append({"role": "user", "content": draw(USER_CONTENTS)})
            continue
        if kind == "text":
            messages.append({"role": "assistant", "content": draw(TEXTS)})
            continue
        if kind == "tools":
            calls = []
            for _ in range(draw(st.integers(1, 3))):
                number += 1
                label = draw(st.sampled_from(["call_{}", "toolu_{}", "functions.f:{}"])).format(number)
                function = {"name": draw(NAMES), "arguments": json.dumps(draw(ARGUMENTS))}
                calls.append({"id": label, "type": "function", "function": function})
            message = {"role": "assistant", "content": draw(st.none() | TEXTS), "tool_calls": calls}
        else:
            message = draw(native)
            number += 1
            calls = []
            for i, call in enumerate(message.get("tool_calls") or ()):
                # Ids of different replies differ.
                fresh = f"{call['id']}_{number}_{i}"
                for block in message.get("native", {}).get("blocks", ()):
                    if block.get("id") == call["id"]:
                        block["id"] = fresh
                call["id"] = fresh
                calls.append(call)
        messages.append(message)
        for call in draw(st.permutations(calls)):
            content = draw(TEXTS | st.lists(TEXTS.map(text_part), min_size=1, max_size=2))
            result = {"role": "tool", "tool_call_id": call["id"], "content": content}
            if draw(st.booleans()):
                result["is_error"] = draw(st.booleans())
            messages.append(result)
        if calls and draw(st.booleans()):
            messages.append({"role": "user", "content": draw(USER_CONTENTS)})
    return messages


def plain_text(content: object) -> str:
    """All text of a content, in order."""
    if isinstance(content, str):
        return content
    return "".join(part["text"] for part in content or () if part.get("type") == "text")
