"""From an error reply, or an error inside a stream, to the typed `LLMError`. Shared by all codecs.

    body ──read_error()──> Said (message, code, type, words, numbers) ──_kind_of()──> kind ──> LLMError

Rules of this file:
- Never raises, whatever the bytes are; the parsed body goes along as `error.body`.
- Evidence is heard in one order. First a code: a word that means one thing. Then the status, or where there is none the
  type: each leaves some kinds open (`_STATUSES`) and contradicts all others. Last the message, less what it quotes,
  and only for a kind that was left open.
- The server's own message stands first in ours; a hint follows it.
- Billing is distinguished from rate limits before anything else: no wait would ever end it.
- What the body asks to wait counts where no header does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from ..errors import (
    LLMAuthError,
    LLMBadRequestError,
    LLMContentFilterError,
    LLMContextLengthError,
    LLMError,
    LLMNotFoundError,
    LLMProtocolError,
    LLMQuotaError,
    LLMRateLimitError,
    LLMServerError,
    printable,
)
from ..http.rate_limits import exhausted_for, rate_limits
from ..http.server_hints import retry_after
from ..policy.retry import FATAL, RetryClass
from .base import Operation
from .error_body import Said, looks_like_html, page_text, read_error
from .error_words import names_model, refuses, wait
from .registry import FailureRules, Kind
from .reply_headers import rate_limit, request_id

if TYPE_CHECKING:
    from ..decode.jsontext import JSON
    from ..http.http11 import HTTPRequest
    from ..policy.retry import RetryTable
    from .base import Headers, ReplyForm, ReplyReader

__all__ = [
    "DEFAULT_RULES", "QUOTA_CODES", "FailureRules", "decode_failure", "failure_from_event", "new_operation", "not_json",
    "printable", "rate_limit", "request_id",
]  # fmt: skip

_CLASSES: Final[Mapping[Kind, type[LLMError]]] = MappingProxyType(
    {
        "auth": LLMAuthError,
        "rate_limit": LLMRateLimitError,
        "quota": LLMQuotaError,
        "bad_request": LLMBadRequestError,
        "content_filter": LLMContentFilterError,
        "not_found": LLMNotFoundError,
        "server": LLMServerError,
        "overloaded": LLMServerError,
    }
)


#: Of a server about which nothing is known.
DEFAULT_RULES: Final = FailureRules(may_lack_v1=True)


def new_operation(
    request: HTTPRequest,
    form: ReplyForm,
    new_reader: Callable[[], ReplyReader],
    *,
    provider: str,
    model: str | None,
    retry_table: RetryTable,
    rules: FailureRules,
) -> Operation:
    """An operation whose error replies are read here, by the provider's `rules`."""
    decode_error = partial(_decode_error, provider, model, rules)
    return Operation(
        request, form, provider, model, retry_table, new_reader, decode_error, request_id, rate_limit,
        rules.may_lack_v1,
    )  # fmt: skip


def _decode_error(
    provider: str, model: str | None, rules: FailureRules, status: int, headers: Headers, body: bytes
) -> LLMError:
    return decode_failure(provider=provider, status=status, headers=headers, body=body, model=model, rules=rules)


def decode_failure(
    *,
    provider: str,
    status: int,
    headers: Headers,
    body: bytes,
    model: str | None = None,
    rules: FailureRules = DEFAULT_RULES,
) -> LLMError:
    """The typed error of a reply that is not 2xx. `body` may be cut; any shape of wire error is taken. Never raises.

    For a 2xx (an error object where an answer was due) it is `failure_from_event` of the body.
    """
    if 200 <= status < 300:
        return failure_from_event(provider, body.decode("utf-8", "replace"), headers=headers, model=model, rules=rules)
    text = body.decode("utf-8", "replace")
    said = read_error(text)
    if 300 <= status < 400:
        return _redirect(provider, status, headers, said, model)
    kind = _kind_of(status, said, rules)
    if not said.message:
        said.message = _wordless(provider, status, text, said)
        if status in (400, 413) and not text.strip() and (status == 413 or rules.empty_is_overflow):
            kind = "context"
    if rules.may_lack_v1 and status in (404, 405) and not _of_model(said):
        # A server that knows nothing of the path, or of POST there. Any other status is about something else.
        said.hints.append("is /v1 missing from base_url?")
    return _build(kind, said, provider, status, headers, model, rules)


def failure_from_event(
    provider: str,
    error: JSON,
    *,
    status: int | None = None,
    headers: Headers = (),
    model: str | None = None,
    rules: FailureRules = DEFAULT_RULES,
) -> LLMError:
    """The typed error of an error inside a 2xx reply: an event of a stream, or a whole body with `error` in it.

    `error` is the event's payload or its `error` value, in any shape. `status_code` becomes the number given as its
    code, else None: the reply itself had a 2xx. Never raises.
    """
    said = read_error(error)
    if status is None:
        status = said.status
    kind = _kind_of(status, said, rules)
    if not said.message:
        said.message = f"{provider} reported an error inside a 2xx reply without saying what it was"
    return _build(kind, said, provider, status, headers, model, rules)


def not_json(
    provider: str,
    status: int,
    headers: Headers,
    body: bytes,
    *,
    model: str | None = None,
    wanted: str = "JSON",
    may_lack_v1: bool = True,
) -> LLMProtocolError:
    """The error of a 2xx reply whose body is something else: a web page, plain text, or nothing.

    `may_lack_v1`: see `FailureRules`.
    """
    text = body.decode("utf-8", "replace")
    answered = f"{provider} answered {status}"
    if not text.strip():
        message, code = f"{answered} with an empty body instead of {wanted}", "empty_body"
    elif looks_like_html(text):
        hint = " (is /v1 missing from base_url?)" if may_lack_v1 else ""
        message, code = f"{answered} with a web page instead of {wanted}{hint}: {page_text(text)}", "html_body"
    else:
        message = f"{answered} with text that is not {wanted}: {printable(text, 200)}"
        code = "not_json"
    return LLMProtocolError(
        message,
        status_code=status,
        code=code,
        provider=provider,
        model=model,
        request_id=request_id(headers),
        body=printable(text) or None,
    )


# -- which kind -----------------------------------------------------------------------------------------------------

#: Billing and spending limits (OpenAI type insufficient_quota and its codes, Anthropic, OpenRouter, DashScope ...).
QUOTA_CODES: Final[Mapping[str, RetryClass]] = MappingProxyType(dict.fromkeys(
    (
        "insufficient_quota", "quota_exceeded", "credit_balance_exhausted", "organization_spend_limit_exceeded",
        "project_spend_limit_exceeded", "organization_usage_limit_exceeded", "billing_hard_limit_reached",
        "billing_not_active", "billing_error", "enforced_spend_limit_reached", "contract_spend_limit_reached",
        "insufficient_balance", "insufficient_credits", "payment_required", "arrearage", "insufficientquota",
        "account_deactivated_for_nonpayment", "exceeded_current_quota_error", "credits_exhausted",
    ),
    FATAL,
))  # fmt: skip

_KINDS: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        **dict.fromkeys(QUOTA_CODES, "quota"),
        # content filters
        "content_filter": "content_filter",
        "content_policy_violation": "content_filter",
        "responsibleaipolicyviolation": "content_filter",
        "content_filter_error": "content_filter",
        "data_inspection_failed": "content_filter",
        "datainspectionfailed": "content_filter",
        "moderation_blocked": "content_filter",
        "sensitive_content": "content_filter",
        "contentpolicyviolationerror": "content_filter",
        # prompts that do not fit
        "context_length_exceeded": "context",
        "string_above_max_length": "context",
        "exceed_context_size_error": "context",
        "token_limit_exceeded": "context",
        "string_too_long": "context",
        "request_too_large": "context",
        "context_window_exceeded": "context",
        "contextwindowexceedederror": "context",
        "too_many_prompt_tokens": "context",
        "model_max_prompt_tokens_exceeded": "context",
        "tokens_limit_reached": "context",
        # load
        "overloaded": "overloaded",
        "overloaded_error": "overloaded",
        "server_is_overloaded": "overloaded",
        "server_overloaded": "overloaded",
        "engine_overloaded": "overloaded",
        "engine_overloaded_error": "overloaded",
        "model_overloaded": "overloaded",
        "capacity_exceeded": "overloaded",
        "unavailable": "overloaded",
        "unavailable_error": "overloaded",
        # rate limits
        "rate_limit_error": "rate_limit",
        "rate_limit_exceeded": "rate_limit",
        "ratelimitreached": "rate_limit",
        "ratelimiterror": "rate_limit",
        "rate_limited": "rate_limit",
        "slow_down": "rate_limit",
        "ramp_limit_exceeded": "rate_limit",
        "resource_exhausted": "rate_limit",
        "too_many_requests": "rate_limit",
        "throttlingexception": "rate_limit",
        "throttling": "rate_limit",
        # what a 400 is about, whatever its words are: these quote the user or the model
        "invalid_prompt": "bad_request",
        "unsupported_parameter": "bad_request",
        "unsupported_value": "bad_request",
        "invalid_function_parameters": "bad_request",
        "tool_use_failed": "bad_request",
        "json_validate_failed": "bad_request",
        # what a 400 may be about as well
        "invalid_api_key": "auth",
        "api_key_invalid": "auth",
        "model_not_found": "not_found",
        "deploymentnotfound": "not_found",
        # a gateway's own budgets: no entry of QUOTA_CODES, since their code is a number
        "budget_exceeded": "quota",
        "budgetexceedederror": "quota",
    }
)

#: Asked only where there is no HTTP status to go by: errors inside a 2xx reply.
_TYPES: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        "invalid_request_error": "bad_request",
        "invalid_request": "bad_request",
        "invalid_argument": "bad_request",
        "badrequesterror": "bad_request",
        "failed_precondition": "bad_request",
        "unprocessableentityerror": "bad_request",
        "authentication_error": "auth",
        "authenticationerror": "auth",
        "unauthenticated": "auth",
        "unauthorized": "auth",
        "permission_error": "auth",
        "permission_denied": "auth",
        "permissiondeniederror": "auth",
        "forbidden": "auth",
        "not_found_error": "not_found",
        "notfounderror": "not_found",
        "not_found": "not_found",
        "api_error": "server",
        "server_error": "server",
        "internal_server_error": "server",
        "internal_error": "server",
        "internalservererror": "server",
        "internal": "server",
        "timeout_error": "server",
        "deadline_exceeded": "server",
    }
)
#: "invalid_request_error" is also the type of a wrong key and of a model that does not exist.
_PRECISE_FIRST: Final[tuple[Kind, ...]] = ("auth", "not_found", "bad_request", "server")


class _Open(NamedTuple):
    """What a status says in general, and what a code or the message may say more precisely, in order of precedence."""

    kind: Kind
    to_codes: tuple[Kind, ...] = ()
    to_words: tuple[Kind, ...] = ()


_BAD_REQUEST: Final = _Open(
    "bad_request",
    ("content_filter", "rate_limit", "context", "auth", "not_found", "bad_request"),
    ("quota", "context", "not_found"),
)
_SERVER: Final = _Open("server", ("overloaded",), ("overloaded",))
_UNKNOWN: Final = _Open(
    "server",
    ("content_filter", "rate_limit", "context", "auth", "not_found", "bad_request", "overloaded"),
    ("quota", "rate_limit", "context", "overloaded"),
)
#: By status. A rate limit goes before the length: Groq's 413 counts tokens per minute.
_STATUSES: Final[Mapping[int, _Open]] = MappingProxyType(
    {
        400: _BAD_REQUEST,
        401: _Open("auth"),
        403: _Open("auth", ("content_filter", "rate_limit"), ("quota",)),
        404: _Open("not_found"),
        408: _Open("server"),
        409: _Open("server"),
        413: _Open("bad_request", ("content_filter", "rate_limit", "context"), ("rate_limit", "context")),
        422: _BAD_REQUEST,
        429: _Open("rate_limit", (), ("quota",)),
        498: _Open("overloaded"),
        # Ollama and llama.cpp answer so to much that is the caller's doing.
        500: _Open("server", ("content_filter", "rate_limit", "context", "overloaded"), ("context", "overloaded")),
        529: _Open("overloaded"),
    }
)
#: By what a type says, where there is no status.
_TYPED: Final[Mapping[Kind, _Open]] = MappingProxyType(
    {"auth": _STATUSES[401], "not_found": _STATUSES[404], "bad_request": _BAD_REQUEST, "server": _STATUSES[500]}
)


def _kind_of(status: int | None, said: Said, rules: FailureRules) -> Kind:
    named = {kind for word in said.words if (kind := _meaning(word, rules)) is not None}
    if "quota" in named or said.per_day or status == 402:
        return "quota"
    if said.flagged:
        return "content_filter"
    if status in (None, 500) and refuses(said.message):
        return "bad_request"
    left = _left_open(status, said, named)
    for kind in left.to_codes:
        if kind in named:
            return kind
    for kind in left.to_words:
        if kind in said.kinds:
            return kind
    return left.kind


def _meaning(word: str, rules: FailureRules) -> Kind | None:
    if word.endswith(("_spend_limit_exceeded", "_spend_limit_reached")):
        return "quota"
    return rules.kinds.get(word) or _KINDS.get(word)


def _left_open(status: int | None, said: Said, named: set[Kind]) -> _Open:
    if status is not None and status >= 400:
        return _STATUSES.get(status) or (_SERVER if status >= 500 else _Open("bad_request"))
    if not named.isdisjoint(_UNKNOWN.to_codes):
        return _UNKNOWN
    typed = {_TYPES[word] for word in said.words if word in _TYPES}
    for kind in _PRECISE_FIRST:
        if kind in typed:
            return _TYPED[kind]
    return _UNKNOWN


# -- the error itself -----------------------------------------------------------------------------------------------


def _build(
    kind: Kind,
    said: Said,
    provider: str,
    status: int | None,
    headers: Headers,
    model: str | None,
    rules: FailureRules,
) -> LLMError:
    fields = (*headers, *said.headers)
    hints = said.hints + _hints(kind, status, said, model, rules)
    message = printable(said.message)
    if hints:
        message = f"{message} ({'; '.join(hints)})"
    told = {
        "status_code": status,
        "code": _shown(_code(kind, status, said)),
        "error_type": _shown(said.error_type),
        "request_id": request_id(headers) or _shown(said.request_id),
        "retry_after": _hinted_wait(kind, fields, said),
        "provider": provider,
        "model": model,
        "body": said.body,
    }
    if kind == "context":
        limit, requested = said.overflow or (None, None)
        error: LLMError = LLMContextLengthError(message, limit=limit, requested=requested, **told)
    else:
        error = _CLASSES[kind](message, **told)
    if limits := rate_limits(fields):
        error.rate_limits = limits
    return error


def _shown(word: str | None) -> str | None:
    """A word of the server's that people print and log."""
    return None if word is None else printable(word, 200)


def _code(kind: Kind, status: int | None, said: Said) -> str | None:
    if kind == "overloaded":
        return "overloaded"
    code = said.code
    if kind == "quota":
        return code if code is not None and code.lower() in QUOTA_CODES else "insufficient_quota"
    if kind == "context" and (code is None or _KINDS.get(code.lower()) != "context"):
        return "context_length_exceeded"
    if kind == "not_found" and status == 400 and (code is None or code == "400"):
        return "model_not_found"
    if kind == "content_filter" and (code is None or _KINDS.get(code.lower()) != "content_filter"):
        return "content_filter"
    return code


def _hinted_wait(kind: Kind, headers: Headers, said: Said) -> float | None:
    """A header for it, a field of the body, the message's own words, or when what is used up comes back."""
    seconds = retry_after(headers) if headers else None
    if seconds is None:
        seconds = said.retry_after
    if seconds is None and kind in ("rate_limit", "quota", "overloaded", "server"):
        seconds = wait(said.prose)
    if seconds is None and kind == "rate_limit":
        seconds = exhausted_for(rate_limits(headers))
    return seconds


def _hints(kind: Kind, status: int | None, said: Said, model: str | None, rules: FailureRules) -> list[str]:
    hints = []
    text = said.message
    if kind in ("not_found", "bad_request") and model is not None and model in rules.retired:
        hints.append(f"{printable(model, 100)} was switched off on {rules.retired[model]}")
    elif status == 404 and said.parsed and rules.not_found and (_of_model(said) or not rules.may_lack_v1):
        hints.append(rules.not_found.replace("{model}", printable(model or "the model", 100)))
    elif said.words & {"model_decommissioned", "model_deprecated", "model_retired"}:
        hints.append("this model was retired: choose another")
    if kind == "bad_request" and "tool" in text and ("reasoning_effort" in text or "/v1/responses" in text):
        # gpt-5.6 and later reason by default, and refuse function tools on /chat/completions unless they do not.
        hints.append(
            "on chat completions this model takes function tools only without reasoning; leaving reasoning_effort out"
            " is not enough: set it to 'none'. With reasoning, tools need the Responses wire"
        )
    return hints


def _of_model(said: Said) -> bool:
    """Whether a 404 is about the model: then the path was right."""
    named = any(_KINDS.get(word) == "not_found" for word in said.words)
    return named or said.place == "model" or names_model(said.message)


def _wordless(provider: str, status: int, text: str, said: Said) -> str:
    """The message for a body without one in it."""
    if not text.strip():
        return f"{provider} answered HTTP {status} with an empty body"
    if looks_like_html(text):
        return f"{provider} answered HTTP {status} with a web page instead of JSON: {page_text(text)}"
    if said.parsed:
        return f"{provider} answered HTTP {status}: {printable(text, 200)}"
    return f"{provider} answered HTTP {status} with text that is not JSON: {printable(text, 200)}"


def _redirect(provider: str, status: int, headers: Headers, said: Said, model: str | None) -> LLMProtocolError:
    target = next((value for name, value in headers if name == "location"), "")
    # The query and any userinfo of the target may hold secrets; the host is what helps.
    shown = printable(target.split("?", 1)[0].split("#", 1)[0], 200)
    if "@" in shown:
        shown = shown.rpartition("@")[2]
    where = f" to {shown}" if shown else ""
    return LLMProtocolError(
        f"{provider} answered with a redirect{where}; redirects are not followed (correct base_url)",
        status_code=status,
        code="redirect",
        provider=provider,
        model=model,
        request_id=request_id(headers),
        body=said.body,
    )
