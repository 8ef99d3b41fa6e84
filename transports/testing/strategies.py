"""Hypothesis strategies for tests of programs that use a model: conversations, tools, answers, cuts and faults.

    @given(reply=replies(), cut=chunkings(4000))
    def test_my_program(reply, cut): ...

Hypothesis is imported here and nowhere else in the kit.
"""

from __future__ import annotations

import json
import string
from typing import TYPE_CHECKING

from hypothesis import strategies as st

from sans_io.calls.failures import FAULT_KINDS

from ..faults import Fault
from .servers.script import ScriptedError, ScriptedReply, ToolUse

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

    from sans_io.decode.jsontext import JSON, JSONObject

_NAMES = st.text(string.ascii_lowercase + "_", min_size=1, max_size=12).filter(lambda name: name.strip("_") != "")
_TEXT = st.text(st.characters(codec="utf-8"), max_size=60)
_SAID = st.text(st.characters(codec="utf-8"), min_size=1, max_size=60).filter(lambda text: text.strip() != "")


def json_values(max_leaves: int = 6) -> SearchStrategy[JSON]:
    """What survives JSON: no NaN, no lone surrogate, no integer that a double cannot hold."""
    plain = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-1e9, 1e9) | _TEXT
    return st.recursive(
        plain,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=3),
        max_leaves=max_leaves,
    )


def tools(max_size: int = 3) -> SearchStrategy[list[JSONObject]]:
    """Definitions of tools, of distinct names, as `chat(tools=...)` takes them."""
    kinds = st.sampled_from(["string", "integer", "number", "boolean"]).map(lambda kind: {"type": kind})

    def definition(name: str, properties: JSONObject, described: str) -> JSONObject:
        schema = {"type": "object", "properties": properties, "required": sorted(properties)[:2]}
        return {"type": "function", "function": {"name": name, "description": described, "parameters": schema}}

    return st.lists(
        st.builds(definition, _NAMES, st.dictionaries(_NAMES, kinds, max_size=3), _SAID),
        max_size=max_size,
        unique_by=lambda tool: tool["function"]["name"],
    )


def tool_uses() -> SearchStrategy[ToolUse]:
    """Calls a model could make, their text cut at any place in a stream; ids are the server's to make."""

    def cut(name: str, arguments: JSONObject, size: int) -> ToolUse:
        text = json.dumps(arguments, ensure_ascii=False)
        return ToolUse(name, text, None, [text[at : at + size] for at in range(0, len(text), size)])

    return st.builds(cut, _NAMES, st.dictionaries(_NAMES, json_values(3), max_size=3), st.integers(1, 40))


@st.composite
def messages(draw: st.DrawFn, max_turns: int = 3) -> list[JSONObject]:
    """A conversation that every vendor accepts: it ends with the user, and every tool call has its result."""
    said: list[JSONObject] = []
    if draw(st.booleans()):
        said.append({"role": "system", "content": draw(_SAID)})
    for turn in range(draw(st.integers(0, max_turns - 1))):
        said.append({"role": "user", "content": draw(_SAID)})
        uses = draw(st.lists(tool_uses(), max_size=2))
        if uses:
            calls = [
                {"id": f"call_{turn}_{at}", "type": "function", "function": {"name": use.name, "arguments": use.text}}
                for at, use in enumerate(uses)
            ]
            said.append({"role": "assistant", "content": draw(st.none() | _SAID), "tool_calls": calls})
            said += [{"role": "tool", "tool_call_id": call["id"], "content": draw(_SAID)} for call in calls]
        said.append({"role": "assistant", "content": draw(_SAID)})
    said.append({"role": "user", "content": draw(_SAID)})
    return said


def errors() -> SearchStrategy[ScriptedError]:
    """Refusals by status, in the vendor's words."""
    return st.builds(
        ScriptedError, _SAID, st.sampled_from([400, 401, 403, 404, 408, 409, 413, 429, 500, 502, 503, 529])
    )


def replies(*, sound: bool = False) -> SearchStrategy[ScriptedReply]:
    """Answers of a test server. `sound`: whole answers only; else refusals, cut and unended streams are among them."""
    whole = st.builds(
        ScriptedReply,
        text=st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=20), max_size=6),
        reasoning=st.lists(_SAID, max_size=2),
        tool_calls=st.lists(tool_uses(), max_size=2),
        pings=st.integers(0, 2),
        framing=st.sampled_from(["auto", "chunked", "close"]),
        informational=st.integers(0, 2),
        delay=st.sampled_from([0.0, 0.01, 1.0]),
    )
    if sound:
        return whole
    ends = st.sampled_from(["fin", "rst", "silence"])
    return st.one_of(
        whole,
        st.builds(ScriptedReply, error=errors(), retry_after=st.none() | st.floats(0, 5)),
        st.builds(lambda reply: reply.with_(terminal=False), whole),
        st.builds(lambda reply, error: reply.with_(stream_error=error), whole, errors()),
        st.builds(lambda reply, at, how: reply.with_(cut_after=at, after_cut=how), whole, st.integers(0, 2000), ends),
    )


def chunkings(length: int, max_cuts: int = 20) -> SearchStrategy[list[int]]:
    """Places to cut `length` bytes at, ascending and distinct; `cut_at(data, places)` cuts."""
    places = st.sets(st.integers(1, max(1, length - 1)), max_size=max_cuts if length > 1 else 0)
    return places.map(sorted)


def cut_at(data: bytes, places: list[int]) -> list[bytes]:
    """The data in pieces; joined they are the data, and none is empty."""
    inside = [place for place in places if 0 < place < len(data)]
    return [data[start:end] for start, end in zip([0, *inside], [*inside, len(data)], strict=True) if start < end]


def faults() -> SearchStrategy[Fault]:
    """Why something could not be done; as an answer in the script of a `ScriptedTransport`: of a dial, or of a request.

    "timeout" and what concerns the caller's own machine or callable are left out: no peer does those.
    """
    own = {"timeout", "pool_closed", "auth_callable", "local"}
    return st.sampled_from([kind for kind in FAULT_KINDS if kind not in own]).map(Fault)
