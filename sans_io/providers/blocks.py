"""The content blocks that only Anthropic's wire has, by their `type`.

Rules of this file:
- Two use it: that wire sends no other block in an assistant message, and no other wire's reader keeps one of these. So
  no server can make the Anthropic client send what only Anthropic's own server may have said.
- `text` is everybody's. `thinking` is Mistral's as well, whose `thinking` is a list of parts, never a string.
"""

from __future__ import annotations

from typing import Final

from ..decode.jsontext import JSON

#: What follows "server tool use" carries the name of its tool: web_search_tool_result, mcp_tool_use.
_TOOL_ENDINGS: Final = ("_tool_result", "_tool_use", "_tool_listing")
_BLOCKS: Final = frozenset({
    "image", "document", "search_result", "thinking", "redacted_thinking", "tool_use", "tool_result",
    "container_upload", "compaction", "fallback", "tool_addition", "tool_removal",
})  # fmt: skip


def is_block(kind: JSON) -> bool:
    """Whether this is the `type` of a block of Anthropic's other than text."""
    return isinstance(kind, str) and (kind in _BLOCKS or kind.endswith(_TOOL_ENDINGS))


def is_thinking(block: JSON) -> bool:
    """Whether this is thinking that Anthropic's server takes back: in clear with its signature, or redacted."""
    if not isinstance(block, dict):
        return False
    if block.get("type") == "thinking":
        return isinstance(block.get("thinking"), str) and _text(block.get("signature"))
    return block.get("type") == "redacted_thinking" and _text(block.get("data"))


def _text(value: JSON) -> bool:
    return isinstance(value, str) and value != ""
