"""Reading an error body of any known shape into one record.

The shapes: `{"error": {...}}` (OpenAI, Azure, Groq, vLLM, llama.cpp, OpenRouter) · `{"error": "text"}` (Ollama) ·
`{"type": "error", "error": {...}}` (Anthropic) · flat `{"object": "error", "message"}` (Mistral, older vLLM) ·
`{"detail": text or list}` (FastAPI) · `{"message"}`, `{"statusCode", "message"}` (gateways) · `[{"error": {...}}]`
(Gemini) · JSON inside a string inside any of these · plain text, web pages, nothing.

Rules of this file:
- Every value may be of any type; what is not what it should be is passed over.
- The innermost message, code and type win: outer layers are gateways quoting.
- A code in words is never replaced by a number: "rate_limit_exceeded" says more than 429.
- A body that is not JSON is made printable; of a web page only the text is kept. Of JSON that was cut, the codes and
  types before the cut count.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from ..decode import jsontext
from ..decode.jsontext import JSON, JSONObject
from ..errors import printable
from ..http.rate_limits import go_duration
from ..limits import is_count
from ..records import dataclass, field
from .error_words import Numbers, class_names, kinds, overflow, prose

if TYPE_CHECKING:
    from .base import Headers
    from .registry import Kind

_MAX_NESTING: Final = 6
_MESSAGE_KEYS: Final = ("message", "msg", "error_msg", "status_msg", "detail", "error_description", "title")
_CODE_KEYS: Final = ("code", "error_code", "errorCode", "statusCode", "status_code")
#: What is shown of a body that is no JSON; more of it is not read as a message.
_SHOWN: Final = 2000


@dataclass(slots=True)
class Said:
    """What an error body says.

    `words` are all codes, types and statuses in it, in lower case. `upstream` is the message, and `headers` are those,
    of the server behind a router. `prose` is both messages without what they quote, `kinds` what that speaks of.
    `place` is the part of the request that it complains of.
    """

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
    upstream: str = ""
    prose: str = ""
    kinds: set[Kind] = field(default_factory=set)
    place: str = ""
    flagged: bool = False
    per_day: bool = False
    headers: Headers = ()
    hints: list[str] = field(default_factory=list)


def read_error(value: JSON) -> Said:
    """The record of an error body: text as received, or a parsed value. Never raises."""
    said = Said()
    text = value if isinstance(value, str) else None
    if text is not None:
        try:
            value = jsontext.loads(text)
        except jsontext.JSONTextError:
            value = _beginning(text)
        else:
            text = None
    if text is None:
        said.body, said.parsed = value, True
    else:
        said.body = printable(text, _SHOWN) or None
    _read(value, said, 0)
    message = said.message
    if text is not None and len(text) <= _SHOWN and text.strip() and not looks_like_html(text):
        said.message = text
    said.words.update(class_names(message or said.message))
    said.prose = prose(message or said.message)
    if said.upstream:
        said.prose = f"{said.prose}\n{prose(said.upstream)}"
    said.kinds = kinds(said.prose)
    _judge_place(said)
    # Which kind it is was decided without quotations; the numbers may stand in one.
    found = overflow(said.prose) or overflow(message)
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


#: A gateway's `str({"error": "..."})`.
_PYTHON: Final = r"\{'(?:error|message|detail)': (['\"])(.*)\1\}"


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
        elif match := re.fullmatch(_PYTHON, text, re.DOTALL):
            text = match[2]
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
    if isinstance(value.get("param"), str):
        said.place = value["param"]
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
        said.words.add(code.lower())
        number = code.isascii() and code.isdigit()
        if number and len(code) == 3:
            _read_status(int(code), said)
    elif isinstance(code, int) and not isinstance(code, bool) and abs(code) < 2**63:
        _read_status(code, said)
        code, number = str(code), True
    else:
        return
    if not number or said.code is None or said.code.lstrip("-").isdigit():
        said.code = code[:200]


def _read_status(number: JSON, said: Said) -> None:
    if isinstance(number, int) and not isinstance(number, bool) and 400 <= number < 600:
        said.status = number


def _read_token_counts(value: JSONObject, said: Said) -> None:
    """llama.cpp gives both numbers beside its message."""
    limit, requested = value.get("n_ctx"), value.get("n_prompt_tokens")
    if is_count(limit) or is_count(requested):
        said.overflow = (limit if is_count(limit) else None, requested if is_count(requested) else None)


def _read_details(value: JSONObject, said: Said, depth: int) -> None:
    inner = value.get("innererror")  # Azure
    if isinstance(inner, dict) and isinstance(inner.get("code"), str):
        said.words.add(inner["code"].lower())
    metadata = value.get("metadata")  # OpenRouter quotes its upstream there, and says why it was moderated.
    if isinstance(metadata, dict):
        said.flagged = said.flagged or bool(metadata.get("flagged_input") or metadata.get("reasons"))
        fields = metadata.get("headers")
        if isinstance(fields, dict):
            pairs = list(fields.items())[:50]
            said.headers = tuple((name.lower(), value) for name, value in pairs if isinstance(value, str))
        raw = metadata.get("raw")
        if raw:
            quoted = Said()
            _read(raw, quoted, depth + 1)
            said.words |= quoted.words
            if quoted.message and isinstance(value.get("message"), str) and quoted.message not in value["message"]:
                said.upstream = quoted.message
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
            delay = go_duration(detail["retryDelay"]) if isinstance(detail.get("retryDelay"), str) else None
            said.retry_after = said.retry_after if delay is None else delay
            if isinstance(detail.get("reason"), str):
                said.words.add(detail["reason"].lower())
            said.per_day = said.per_day or _is_per_day(detail)


def _is_per_day(detail: JSONObject) -> bool:
    """Whether it is google.rpc.QuotaFailure or ErrorInfo of a limit per day: none will be free before tomorrow."""
    violations, metadata = detail.get("violations"), detail.get("metadata")
    limits: list[JSON] = []
    if isinstance(violations, list):
        limits += [one.get("quotaId") for one in violations[:20] if isinstance(one, dict)]
    if isinstance(metadata, dict):
        limits += [metadata.get("quota_limit"), metadata.get("quota_id")]
    return any(isinstance(limit, str) and "PerDay" in limit for limit in limits)


#: Codes of a text that is too long; it may be any text of the request.
_TOO_LONG: Final = frozenset({"string_above_max_length", "string_too_long"})
#: Where the texts of the prompt are: "messages[1].content", "messages.[0].content[2].text"
_PROMPT: Final = r"(?:messages|input)(?:\.?\[[0-9]+\])?(?:\.content(?:\.?\[[0-9]+\])?(?:\.text)?)?|prompt"


def _judge_place(said: Said) -> None:
    """A text that is too long is an overflow of the prompt only if it is one of the prompt's texts."""
    if said.words & _TOO_LONG:
        named = re.match("Invalid ['\"`]([^'\"`]{1,200})['\"`]", said.message)
        place = said.place or (named[1] if named is not None else "")
        if place and re.fullmatch(_PROMPT, place) is None:
            said.words -= _TOO_LONG


_MARKS: Final = r'"(?:[^"\\]|\\.)*("?)|[{}\[\],]'
#: The beginning of a body is read up to so many brackets, commas and strings; what explains a failure has a dozen.
_MAX_MARKS: Final = 10_000


def _beginning(text: str) -> JSON:
    """What stands before the cut in JSON that was cut; None if that is nothing."""
    if text.lstrip()[:1] not in ("{", "["):
        return None
    text = text.rstrip("\\")
    open_: list[str] = []
    #: Where the last place is that the text may end at, and what was closed since.
    end, closed, within = 0, list[str](), ""
    for number, token in enumerate(re.finditer(_MARKS, text, re.DOTALL)):
        mark = token[0]
        if number == _MAX_MARKS:
            break
        if mark in ("{", "["):
            open_.append("}" if mark == "{" else "]")
        elif mark in ("}", "]") and open_:
            closed.append(open_.pop())
        elif mark[0] == '"':
            within = "" if token[1] else '"'
            continue
        if mark in ("{", "[", ","):
            end, closed = token.end() - (mark == ","), []
    rest = "".join(reversed(open_))
    for whole in (text + within + rest, text[:end] + "".join(closed) + rest):
        try:
            return jsontext.loads(whole)
        except jsontext.JSONTextError:
            continue
    return None


#: Of a page that is not JSON, this much is looked at; a title and a heading come early.
_MAX_PAGE: Final = 4096
_TAGS: Final = re.compile(r"<[^<>]*>")


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
