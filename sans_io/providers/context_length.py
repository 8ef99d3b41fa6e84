"""Recognising "the prompt does not fit the model" by its words, with the two numbers where they are given.

Rules of this file:
- Data: one pattern per wording, with groups `limit`, `requested`, or what they are computed from.
- Only what says prompt, input, messages or context; a limit of output tokens or of a name's length is something else.
- Patterns are applied to at most `MAX_TEXT` characters and have no nested repetition.
"""

from __future__ import annotations

from typing import Final

from .text import any_case

MAX_TEXT: Final = 4000
_N: Final = r"([0-9][0-9,_]{0,14})"

#: (pattern, what its groups are): "l" limit, "r" requested, "+" added to requested, "x" over the limit by.
#: Compiling them here would be 5 of the 60 ms that building a first client takes.
_PATTERNS: Final = tuple(
    (pattern.replace("N#", _N), groups)
    for pattern, groups in (
        # OpenAI, vLLM, OpenRouter, Azure
        (r"_tokens' is too large: N#.{0,160}?context length is N# tokens.{0,80}?request has N#", "rl+"),
        (r"max_(?:completion_)?tokens.{0,80}too large.{0,240}\(N# > N# - N#\)", "rl+"),
        (r"maximum context length is N# tokens.{0,80}?(?:requested|resulted in)(?: about)? N# tokens", "lr"),
        (r"maximum context length is N# tokens.{0,200}?\(N# in the messages", "lr"),
        (r"passed N# input tokens.{0,200}?context length is only N#", "rl"),
        (r"(?:maximum|max) (?:model )?context length (?:is|of) (?:only )?N#", "l"),
        (r"exceeds? the (?:model'?s? )?context (?:window|length|limit)", ""),
        # Anthropic
        (r"prompt is too long: N# tokens > N# maximum", "rl"),
        (r"input length and `?max_tokens`? exceed context limit: N# \+ N# > N#", "r+l"),
        (r"prompt is too long", ""),
        # Bedrock, Gemini, Groq, Mistral, xAI
        (r"input is too long for requested model", ""),
        (r"input token count \(?N#\)? exceeds the maximum number of tokens allowed \(?N#\)?", "rl"),
        (r"input token count.{0,40}exceeds the maximum", ""),
        (r"reduce the length of the messages or completion", ""),
        (r"(?:contains|has) N# tokens.{0,120}too large for model with N# maximum context length", "rl"),
        (r"too large for model with N# maximum context length", "l"),
        (r"maximum prompt length is N# but the request contains N#", "lr"),
        # llama.cpp, LM Studio, Ollama
        (r"request \(N# tokens\) exceeds the available context size \(N# tokens\)", "rl"),
        (r"exceeds the available context size", ""),
        (r"greater than the context length", ""),
        (r"input length exceeds the (?:maximum )?context length", ""),
        (r"prompt is longer than the context length", ""),
        (r"exceeded max context length by N# tokens", "x"),
        # Together, MiniMax, Kimi, DashScope
        (r"longer than the model'?s context length", ""),
        (r"context window exceeds limit", ""),
        (r"exceeded model token limit:? N# \(requested:? N#\)", "lr"),
        (r"exceeded model token limit", ""),
        (r"range of input length should be \[N#, ?N#\]", "-l"),
        (r"range of input length should be", ""),
        (r"(?:prompt|input) (?:exceeds?|is longer than|too long for) .{0,40}context (?:length|window|size)", ""),
    )
)  # fmt: skip

Numbers = tuple[int | None, int | None]


def overflow(text: str) -> Numbers | None:
    """`(limit, requested)` in tokens, each None where not said, if `text` says the prompt is too long; else None."""
    text = text[:MAX_TEXT]
    for pattern, groups in _PATTERNS:
        match = any_case(pattern).search(text)
        if match is not None:
            limit: int | None = None
            requested: int | None = None
            for what, digits in zip(groups, match.groups(), strict=False):
                number = int(digits.replace(",", "").replace("_", ""))
                if what == "l":
                    limit = number
                elif what == "r":
                    requested = number
                elif what == "+" and requested is not None:
                    requested += number
            return limit, requested
    return None
