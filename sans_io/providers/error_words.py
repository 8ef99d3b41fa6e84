"""What the prose of an error message says: of which kind the failure is, with which numbers, and how long to wait.

    message ──prose()──> without what it quotes ──kinds()──> {"quota", "context", ...}
                                                └─wait()───> seconds

Rules of this file:
- What a message quotes is somebody else's text: a tool's name, a user's words, a model's answer, another error's body.
  It says nothing about the failure, so it is taken out before anything is looked for.
- The name of a thing is no prose either: words joined by "_" or "-" to others are never recognised.
- "The prompt does not fit the model" is recognised by data: one pattern per wording, with the two numbers where they
  are given. Only what says prompt, input, messages or context counts: a limit of output tokens is something else.
- Patterns are applied to at most `MAX_TEXT` characters and have no nested repetition.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Final

from ..http.rate_limits import go_duration

if TYPE_CHECKING:
    from .registry import Kind

MAX_TEXT: Final = 4000
Numbers = tuple[int | None, int | None]


@cache
def any_case(pattern: str) -> re.Pattern[str]:
    """The pattern for any case of letters, compiled when it is first asked for: no import pays for errors to come."""
    return re.compile(pattern, re.IGNORECASE | re.DOTALL)


# -- what is no prose -------------------------------------------------------------------------------------------------

#: From here on a message shows what could not be read: `raw='...'`, "failed to parse tool call: ...".
_SHOWN: Final = (
    r"\braw\s*=.*|\b(?:pars(?:e|ing)|unmarshal(?:l?ing)?|deserializ(?:e|ing)|decod(?:e|ing))\b[^:\n]{0,80}:.*"
)
#: A quotation in any of these marks, to its end or to the end of the text. An apostrophe between letters is none.
_QUOTED: Final = (
    r'"(?:[^"\\]|\\.)*(?:"|\\?$)|(?<!\w)\'(?=\S)(?:[^\'\\]|\\.|\'(?=\w))*(?:\'(?!\w)|\\?$)|`[^`]*(?:`|$)'
    "|\u201c[^\u201d]*(?:\u201d|$)|\u2018(?:[^\u2019]|\u2019(?=\\w))*(?:\u2019|$)|\u00ab[^\u00bb]*(?:\u00bb|$)"
    "|\u201e[^\u201c\u201d]*(?:[\u201c\u201d]|$)"
)
#: `model=gpt-5.4`, `input_value=...`
_ASSIGNED: Final = r"(?<=\w)=\S+"
#: "litellm.ContextWindowExceededError: ...", "An error occurred (ThrottlingException) when ..."
_CLASS: Final = r"\s*(?:litellm\.)?([A-Za-z]{1,60}(?:Error|Exception))(?::|\s-)\s*|An error occurred \((\w{1,60})\)"


def prose(message: str) -> str:
    """The message without what it quotes; `''` stands where a quotation was."""
    text = any_case(_SHOWN).sub("", message[:MAX_TEXT])
    text = any_case(_QUOTED).sub("''", text)
    kept, depth = [], 0
    for piece in re.split("([{}])", text):  # JSON or Python's dict, or the beginning of one
        if piece == "{":
            depth += 1
        elif piece == "}":
            depth = max(0, depth - 1)
        elif not depth:
            kept.append(piece)
    return any_case(_ASSIGNED).sub("=", "".join(kept))


def class_names(message: str) -> list[str]:
    """The names of exceptions that a message begins with, in lower case: a gateway's way of saying the code."""
    names: list[str] = []
    position = 0
    while len(names) < 6 and (match := any_case(_CLASS).match(message, position)):
        names.append((match[1] or match[2]).lower())
        position = match.end()
    return names


# -- of which kind ----------------------------------------------------------------------------------------------------

_KINDS: Final[dict[Kind, str]] = {
    "rate_limit": (
        r"(?<![\w-])(?:rate[ -]?limit(?:s|ed|ing)?|throttl(?:e|ed|ing)|too many requests"
        r"|(?:tokens?|requests?) per (?:minute|day)|TPM|RPM)(?![\w-])"
    ),
    "overloaded": (
        r"(?<![\w-])(?:overloaded|server (?:is )?busy|maximum pending requests|(?:at|over) capacity|loading model)"
        r"(?![\w-])"
    ),
    "quota": (
        r"credit balance is too low|(?<![\w-])balance is insufficient"
        r"|(?<![\w-])insufficient (?:account )?(?:balance|credits?|funds)(?![\w-])"
        r"|not enough credits|(?:used all available|n[o']t have any) credits"
        r"|(?:billing|spend(?:ing)?|usage) (?:hard )?limits? (?:has been |have been |was )?(?:reached|exceeded)"
        r"|reached your specified (?:workspace )?(?:api )?(?:usage|spend)"
    ),
    "not_found": r"(?<![\w-])invalid model name passed in model=",
}


def kinds(text: str) -> set[Kind]:
    """What kinds of failure the prose speaks of. A prompt may be too long for a rate; then it is no overflow."""
    found: set[Kind] = {kind for kind, pattern in _KINDS.items() if any_case(pattern).search(text)}
    if "rate_limit" not in found and overflow(text) is not None:
        found.add("context")
    return found


# -- how long to wait -------------------------------------------------------------------------------------------------

_WAIT: Final = (
    r"(?<![\w-])(?:try(?:ing)? (?:it |this )?again|retry(?:ing)?|wait(?:ing)?|resets?|available(?: again)?)"
    r"(?: (?:your|the|this) requests?)?"
    r"(?: in| after| for| at least| about| approximately| another){0,3} ((?:[0-9.,]+ ?[a-z\xb5]+(?:,? and |,? )?){1,4})"
)
_PART: Final = r"([0-9]{1,9}(?:\.[0-9]{1,12})?) ?([a-z\xb5]+)"
_UNITS: Final = {
    **dict.fromkeys(("millisecond", "milliseconds", "msec", "msecs"), "ms"),
    **dict.fromkeys(("sec", "secs", "second", "seconds"), "s"),
    **dict.fromkeys(("min", "mins", "minute", "minutes"), "m"),
    **dict.fromkeys(("hr", "hrs", "hour", "hours"), "h"),
    **dict.fromkeys(("day", "days"), "d"),
}


def wait(text: str) -> float | None:
    """The seconds that the prose asks to wait: "try again in 1m7.66s", "retry after 2 seconds"; None if it does not."""
    match = any_case(_WAIT).search(text)
    if match is None:
        return None
    seconds, found = 0.0, False
    for number, unit in any_case(_PART).findall(match[1].lower().replace(",", "")):
        part = go_duration(number + _UNITS.get(unit, unit))
        if part is None:
            break  # "in 5 seconds or contact us", "in 2 attempts"
        seconds, found = seconds + part, True
    return seconds if found else None


# -- prompts that do not fit ------------------------------------------------------------------------------------------

_N: Final = r"([0-9][0-9,_]{0,14})"

#: (pattern, what its groups are): "l" limit, "r" requested, "+" added to requested, "x" over the limit by. `''` is a
#: quotation. Compiling them here would be 5 of the 60 ms that building a first client takes.
_PATTERNS: Final = tuple(
    (pattern.replace("N#", _N), groups)
    for pattern, groups in (
        # OpenAI, vLLM, OpenRouter, Azure
        (r"too large: N#.{0,160}?context length is N# tokens.{0,80}?request has N#", "rl+"),
        (r"too large.{0,240}\(N# > N# - N#\)", "rl+"),
        (r"context length is N# tokens.{0,80}?(?:requested|resulted in|has)(?: about)? N# (?:input )?tokens", "lr"),
        (r"maximum context length is N# tokens.{0,200}?\(N# in the messages", "lr"),
        (r"passed N# input tokens.{0,200}?context length is only N#", "rl"),
        (r"context length of N# tokens.{0,40}?requested a total of N# tokens", "lr"),
        (r"(?:maximum|max) (?:model )?context length (?:is|of) (?:only )?N#", "l"),
        (r"exceeds? the (?:model'?s? )?context (?:window|length|limit)", ""),
        # Anthropic
        (r"prompt is too long: N# tokens > N# maximum", "rl"),
        (r"input length and (?:max_tokens|'') exceed context limit: N# \+ N# > N#", "r+l"),
        (r"prompt is too long: N#, model maximum context length: N#", "rl"),
        (r"prompt is too long", ""),
        # Bedrock, Gemini, Groq, Mistral, xAI, Perplexity
        (r"input is too long for requested model", ""),
        (r"input token count \(?N#\)? exceeds the maximum number of tokens allowed \(?N#\)?", "rl"),
        (r"input token count.{0,40}exceeds the maximum", ""),
        (r"reduce the length of the messages or completion\. Current length is N# while limit is N#", "rl"),
        (r"reduce the length of the messages or completion", ""),
        (r"(?:contains|has) N# tokens.{0,120}too large for model with N# maximum context length", "rl"),
        (r"too large for model with N# maximum context length", "l"),
        (r"maximum prompt length is N# but the request contains N#", "lr"),
        (r"user input tokens exceeds N# tokens", "l"),
        # llama.cpp, LM Studio, Ollama
        (r"request \(N# tokens\) exceeds the available context size \(N# tokens\)", "rl"),
        (r"exceeds the available context size", ""),
        (r"greater than the context length", ""),
        (r"input length exceeds the (?:maximum )?context length", ""),
        (r"prompt is longer than the context length", ""),
        (r"exceeded max context length by N# tokens", "x"),
        (r"keep the first N# tokens when context the overflows.{0,80}?context length of (?:only )?N#", "rl"),
        # vLLM, SGLang, Text Generation Inference
        (r"prompt \((?:total )?length N#\) is longer than the maximum model length of N#", "rl"),
        (r"prompt \((?:total )?length N#\) is too long to fit into the model \(context length N#", "rl"),
        (r"input \(N# tokens\) is longer than the model'?s context length \(N# tokens\)", "rl"),
        (r"'' must have less than N# tokens\. Given: N#", "lr"),
        (r"'' tokens \+ '' must be <= N#\. Given: N# '' tokens and N#", "lr+"),
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


def refuses(message: str) -> bool:
    """Whether it says, on a 500, that the request is wrong: it would fail again. Only whole messages count, as Ollama
    0.17 writes them of options, formats, names and files, and llama.cpp of pictures and sound.
    """
    return len(message) <= MAX_TEXT and any_case(_REFUSED).fullmatch(message) is not None


_REFUSED: Final = (
    r'option "[^"]{1,80}" must be of (?:type \w{1,20}|an array of strings)'
    r'|invalid format: ".*"; expected "json" or a valid JSON Schema object|invalid JSON schema in format'
    r"|quantization is only supported for .*|unsupported quantization type .*|json: cannot unmarshal .*"
    r"|invalid digest format|open \S*blobs/sha256-\w+: no such file or directory"
    r"|unqualified name: .*|(?:image|audio|video) input is not supported - hint: .*"
)


def names_model(message: str) -> bool:
    """Whether it speaks of the model."""
    return any_case(r"(?<![\w/-])model(?![\w/-])").search(message, 0, MAX_TEXT) is not None


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
