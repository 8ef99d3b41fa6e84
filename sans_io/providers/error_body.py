"""Reading an error body of any known shape into one record.

The shapes: `{"error": {...}}` (OpenAI, Azure, Groq, vLLM, llama.cpp, OpenRouter) · `{"error": "text"}` (Ollama) ·
`{"type": "error", "error": {...}}` (Anthropic) · flat `{"object": "error", "message"}` (Mistral, older vLLM) ·
`{"detail": text or list}` (FastAPI) · `{"message"}`, `{"statusCode", "message"}` (gateways) · `[{"error": {...}}]`
(Gemini) · JSON inside a string inside any of these · plain text, web pages, nothing.

Rules of this file:
- Every value may be of any type; what is not what it should be is passed over.
- The innermost message, code and type win: outer layers are gateways quoting.
- A body that is not JSON is made printable; of a web page only the text is kept.
- "The prompt does not fit the model" is recognised by data: one pattern per wording, with the two numbers where they
  are given. Only what says prompt, input, messages or context counts: a limit of output tokens is something else.
  Patterns are applied to at most `MAX_TEXT` characters and have no nested repetition.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Final

from ..decode import jsontext
from ..decode.jsontext import JSON, JSONObject
from ..errors import printable
from ..records import dataclass, field
from .reply_headers import go_duration

_MAX_NESTING: Final = 6
_MESSAGE_KEYS: Final = ("message", "msg", "error_msg", "status_msg", "detail", "error_description", "title")
_CODE_KEYS: Final = ("code", "error_code", "errorCode", "statusCode", "status_code")
#: Patterns, for any case of letters.
_THROTTLED: Final = (
    r"rate.?limit|throttl|too many requests|tokens? per (?:minute|day)|requests? per (?:minute|day)|\bTPM\b|\bRPM\b"
)
_OVERLOADED: Final = (
    r"\boverloaded\b|server (?:is )?busy|maximum pending requests|(?:at|over) capacity|\bloading model\b"
)
_OUT_OF_CREDIT: Final = (
    r"credit balance is too low|insufficient (?:account )?(?:balance|credits?|funds)|not enough credits"
    r"|(?:billing|spend(?:ing)?|usage) (?:hard )?limits? (?:has been |have been |was )?(?:reached|exceeded)"
    r"|reached your specified (?:workspace )?(?:api )?(?:usage|spend)"
)


@dataclass(slots=True)
class Said:
    """What an error body says. `words` are all codes, types and statuses in it, in lower case."""

    body: JSON = None
    parsed: bool = False
    message: str = ""
    code: str | None = None
    error_type: str | None = None
    words: set[str] = field(default_factory=set)
    status: int | None = None
    request_id: str | None = None
    retry_after: float | None = None
    overflow: Numbers | None = None
    throttled: bool = False
    overloaded: bool = False
    out_of_credit: bool = False
    flagged: bool = False
    hints: list[str] = field(default_factory=list)


def read_error(value: JSON) -> Said:
    """The record of an error body: text as received, or a parsed value. Never raises."""
    said = Said()
    if isinstance(value, str):
        said.body = value
        try:
            value = jsontext.loads(value)
        except jsontext.JSONTextError:
            said.body = printable(value, 2000) or None
            if len(value) <= 2000 and value.strip() and not looks_like_html(value):
                said.message = value
        else:
            said.body, said.parsed = value, True
            _read(value, said, 0)
    else:
        said.body, said.parsed = value, True
        _read(value, said, 0)
    text = said.message[:4000]
    said.throttled = any_case(_THROTTLED).search(text) is not None
    said.overloaded = any_case(_OVERLOADED).search(text) is not None
    said.out_of_credit = any_case(_OUT_OF_CREDIT).search(text) is not None
    found = overflow(text)
    if found is not None:
        limit, requested = said.overflow or (None, None)
        said.overflow = (found[0] or limit, found[1] or requested)
    return said


def _read(value: JSON, said: Said, depth: int) -> None:
    if depth > _MAX_NESTING:
        return
    if isinstance(value, str):
        _read_text(value, said, depth)
    elif isinstance(value, list):
        _read_list(value, said, depth)
    elif isinstance(value, dict):
        _read_object(value, said, depth)


def _read_text(text: str, said: Said, depth: int) -> None:
    if text[:1] in ("{", "["):
        try:
            inner = jsontext.loads(text)
        except jsontext.JSONTextError:
            inner = None
        if isinstance(inner, (dict, list)):
            before = said.message
            _read(inner, said, depth + 1)
            if said.message != before:
                return
    if text.strip():
        said.message = text


def _read_list(items: list[JSON], said: Said, depth: int) -> None:
    complaints = [_complaint(item) for item in items[:10]]
    if any(complaints):  # FastAPI's validation errors (422).
        said.message = "; ".join(filter(None, complaints))
        return
    for item in items[:10]:
        if isinstance(item, (dict, str)) and item:
            _read(item, said, depth + 1)
            return


def _complaint(item: JSON) -> str:
    if not isinstance(item, dict) or not isinstance(item.get("msg"), str) or not isinstance(item.get("loc"), list):
        return ""
    return f"{'.'.join(str(step) for step in item['loc'][:10] if isinstance(step, (str, int)))}: {item['msg']}"


def _read_object(value: JSONObject, said: Said, depth: int) -> None:
    kind = value.get("type")
    if isinstance(kind, str) and kind and kind != "error":
        said.error_type = kind
        said.words.add(kind.lower())
    for key in _CODE_KEYS:
        _read_code(value.get(key), said)
    status = value.get("status")  # Gemini: "RESOURCE_EXHAUSTED"; Azure: a number.
    if isinstance(status, str) and status:
        said.words.add(status.lower())
        said.error_type = said.error_type or status
    else:
        _read_status(status, said)
    for key in ("request_id", "requestId"):
        if isinstance(value.get(key), str) and value[key]:
            said.request_id = printable(value[key], 200)
    for key in ("retry_after", "retry_after_seconds"):
        wait = value.get(key)
        if isinstance(wait, (int, float)) and not isinstance(wait, bool) and 0 <= wait < 1e9:
            said.retry_after = float(wait)
    _read_token_counts(value, said)
    for key in reversed(_MESSAGE_KEYS):
        if value.get(key):
            _read(value[key], said, depth + 1)
    _read_details(value, said, depth)
    inner = value.get("error")
    if isinstance(inner, str):
        # Spring and Ollama: a text; beside a message it is only its title.
        if inner and not (said.message and isinstance(value.get("message"), str)):
            _read_text(inner, said, depth + 1)
        said.words.add(inner[:100].lower())
    elif inner:
        _read(inner, said, depth + 1)
    elif not said.message and isinstance(value.get("errors"), list):
        _read(value["errors"], said, depth + 1)


def _read_code(code: JSON, said: Said) -> None:
    if isinstance(code, str) and code:
        said.code = code[:200]
        said.words.add(code.lower())
        if code.isascii() and code.isdigit() and len(code) == 3:
            _read_status(int(code), said)
    elif isinstance(code, int) and not isinstance(code, bool) and abs(code) < 2**63:
        said.code = str(code)
        _read_status(code, said)


def _read_status(number: JSON, said: Said) -> None:
    if isinstance(number, int) and not isinstance(number, bool) and 400 <= number < 600:
        said.status = number


def _read_token_counts(value: JSONObject, said: Said) -> None:
    """llama.cpp gives both numbers beside its message."""
    limit, requested = _count(value.get("n_ctx")), _count(value.get("n_prompt_tokens"))
    if limit is not None or requested is not None:
        said.overflow = (limit, requested)


def _count(number: JSON) -> int | None:
    return number if isinstance(number, int) and not isinstance(number, bool) and 0 <= number < 2**63 else None


def _read_details(value: JSONObject, said: Said, depth: int) -> None:
    inner = value.get("innererror")  # Azure
    if isinstance(inner, dict) and isinstance(inner.get("code"), str):
        said.words.add(inner["code"].lower())
    metadata = value.get("metadata")  # OpenRouter quotes its upstream there, and says why it was moderated.
    if isinstance(metadata, dict):
        said.flagged = said.flagged or bool(metadata.get("flagged_input") or metadata.get("reasons"))
        raw = metadata.get("raw")
        if isinstance(raw, str) and raw and depth < _MAX_NESTING:
            quoted = Said()
            _read_text(raw, quoted, depth + 1)
            said.words |= quoted.words
            if quoted.message and isinstance(value.get("message"), str) and quoted.message not in value["message"]:
                said.hints.append(printable(quoted.message, 300))
    details = value.get("details")
    if isinstance(details, dict):  # Anthropic
        if isinstance(details.get("error_code"), str) and details["error_code"]:
            said.code = details["error_code"][:200]
            said.words.add(details["error_code"].lower())
    elif isinstance(details, list):  # Gemini: google.rpc.RetryInfo, google.rpc.ErrorInfo
        for detail in details[:20]:
            if not isinstance(detail, dict):
                continue
            if isinstance(detail.get("retryDelay"), str):
                said.retry_after = go_duration(detail["retryDelay"])
            if isinstance(detail.get("reason"), str):
                said.words.add(detail["reason"].lower())


#: Of a page that is not JSON, this much is looked at; a title and a heading come early.
_MAX_PAGE: Final = 4096
_TAGS: Final = re.compile(r"<[^<>]*>")


@cache
def any_case(pattern: str) -> re.Pattern[str]:
    """The pattern for any case of letters, compiled when it is first asked for: no import pays for errors to come."""
    return re.compile(pattern, re.IGNORECASE)


def looks_like_html(text: str) -> bool:
    """Whether a body is a web page (some servers label it as JSON)."""
    start = text[:512].lstrip("\ufeff \t\r\n").lower()
    return start.startswith(("<!doctype", "<html", "<head", "<body", "<?xml", "<!--", "<center", "<h1", "<title"))


def page_text(text: str, limit: int = 200) -> str:
    """The readable words of a web page, for an error message."""
    text = text[:_MAX_PAGE]
    for element in ("script", "style"):
        text = _without(text, element)
    return printable(_TAGS.sub(" ", text), limit)


def _without(text: str, element: str) -> str:
    """Without the element and what is in it. Searched by `find`, so that a hostile page costs linear time."""
    lower, kept, position = text.lower(), [], 0
    if len(lower) != len(text):
        return text  # A character changed its length in lower case, so positions do not fit; the tags go anyway.
    while (start := lower.find(f"<{element}", position)) >= 0:
        kept.append(text[position:start])
        end = lower.find(f"</{element}", start)
        if end < 0:
            return "".join(kept)
        position = end
    kept.append(text[position:])
    return "".join(kept)


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
