"""From an error reply, or an error inside a stream, to the typed `LLMError`. Shared by all codecs.

    body ──read_error()──> Said (message, code, type, words, numbers) ──_kind_of()──> kind ──> LLMError

Rules of this file:
- Never raises, whatever the bytes are; the parsed body goes along as `error.body`.
- Codes and types are asked first; a message only where providers have nothing else (context overflow, credit).
- The server's own message stands first in ours; a hint follows it.
- Billing is distinguished from rate limits before anything else: no wait would ever end it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

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
from ..http.server_hints import retry_after
from ..policy.retry import FATAL, RetryClass
from .base import Operation
from .error_body import Said, looks_like_html, page_text, read_error
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


DEFAULT_RULES: Final = FailureRules()


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
    return Operation(request, form, provider, model, retry_table, new_reader, decode_error, request_id, rate_limit)


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
        said.message, hint = _wordless(provider, status, text, said)
        if hint:
            said.hints.append(hint)
        if status in (400, 413) and not text.strip() and (status == 413 or rules.empty_is_overflow):
            kind = "context"
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
    provider: str, status: int, headers: Headers, body: bytes, *, model: str | None = None, wanted: str = "JSON"
) -> LLMProtocolError:
    """The error of a 2xx reply whose body is something else: a web page, plain text, or nothing."""
    text = body.decode("utf-8", "replace")
    if not text.strip():
        message, code = f"{provider} answered {status} with an empty body instead of {wanted}", "empty_body"
    elif looks_like_html(text):
        message = f"{provider} answered {status} with a web page instead of {wanted} (is /v1 missing from base_url?)"
        message, code = f"{message}: {page_text(text)}", "html_body"
    else:
        message = f"{provider} answered {status} with text that is not {wanted}: {printable(text, 200)}"
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
        # prompts that do not fit
        "context_length_exceeded": "context",
        "string_above_max_length": "context",
        "exceed_context_size_error": "context",
        "token_limit_exceeded": "context",
        "string_too_long": "context",
        "request_too_large": "context",
        "context_window_exceeded": "context",
        "model_max_prompt_tokens_exceeded": "context",
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
    }
)

#: Asked only where there is no HTTP status to go by: errors inside a 2xx reply.
_TYPES: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        "invalid_request_error": "bad_request",
        "invalid_request": "bad_request",
        "invalid_argument": "bad_request",
        "invalid_prompt": "bad_request",
        "badrequesterror": "bad_request",
        "failed_precondition": "bad_request",
        "unprocessableentityerror": "bad_request",
        "unsupported_parameter": "bad_request",
        "unsupported_value": "bad_request",
        "tool_use_failed": "bad_request",
        "json_validate_failed": "bad_request",
        "authentication_error": "auth",
        "authenticationerror": "auth",
        "unauthenticated": "auth",
        "unauthorized": "auth",
        "invalid_api_key": "auth",
        "permission_error": "auth",
        "permission_denied": "auth",
        "permissiondeniederror": "auth",
        "forbidden": "auth",
        "not_found_error": "not_found",
        "notfounderror": "not_found",
        "not_found": "not_found",
        "model_not_found": "not_found",
        "deploymentnotfound": "not_found",
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


def _kind_of(status: int | None, said: Said, rules: FailureRules) -> Kind:
    named: set[Kind] = set()
    for word in said.words:
        kind = rules.kinds.get(word) or _KINDS.get(word)
        if kind is None and word.endswith(("_spend_limit_exceeded", "_spend_limit_reached")):
            kind = "quota"
        if kind is not None:
            named.add(kind)
    if "quota" in named or status == 402 or said.out_of_credit:
        return "quota"
    if said.flagged:
        return "content_filter"
    if status == 429:
        return "rate_limit"
    if status in (498, 529):
        return "overloaded"
    if status is None or status < 400 or status in (400, 403, 413, 422, 500):
        # A rate limit in words beats the length: Groq's 413 counts tokens per minute.
        for kind in ("content_filter", "rate_limit"):
            if kind in named:
                return kind
        if said.throttled:
            return "rate_limit"
        if status != 403 and ("context" in named or said.overflow is not None):
            return "context"
    if status is None or status < 400:
        typed = set() if named else {_TYPES[word] for word in said.words if word in _TYPES}
        for kind in _PRECISE_FIRST:
            if kind in typed:
                return "overloaded" if said.overloaded and kind == "server" else kind
        if "overloaded" in named or said.overloaded:
            return "overloaded"
        return "server"
    if status >= 500:
        return "overloaded" if "overloaded" in named or said.overloaded else "server"
    return _BY_STATUS.get(status, "bad_request")


_BY_STATUS: Final[Mapping[int, Kind]] = MappingProxyType({
    401: "auth", 403: "auth", 404: "not_found", 408: "server", 409: "server",
})  # fmt: skip


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
    hints = said.hints + _hints(kind, status, said, model, rules)
    message = printable(said.message)
    if hints:
        message = f"{message} ({'; '.join(hints)})"
    fields = {
        "status_code": status,
        "code": _shown(_code(kind, said)),
        "error_type": _shown(said.error_type),
        "request_id": request_id(headers) or _shown(said.request_id),
        "retry_after": _hinted_wait(headers, said),
        "provider": provider,
        "model": model,
        "body": said.body,
    }
    if kind == "context":
        limit, requested = said.overflow or (None, None)
        return LLMContextLengthError(message, limit=limit, requested=requested, **fields)
    return _CLASSES[kind](message, **fields)


def _shown(word: str | None) -> str | None:
    """A word of the server's that people print and log."""
    return None if word is None else printable(word, 200)


def _code(kind: Kind, said: Said) -> str | None:
    if kind == "overloaded":
        return "overloaded"
    code = said.code
    if kind == "quota":
        return code if code is not None and code.lower() in QUOTA_CODES else "insufficient_quota"
    if kind == "context" and (code is None or _KINDS.get(code.lower()) != "context"):
        return "context_length_exceeded"
    if kind == "content_filter" and (code is None or _KINDS.get(code.lower()) != "content_filter"):
        return "content_filter"
    return code


def _hinted_wait(headers: Headers, said: Said) -> float | None:
    wait = retry_after(headers) if headers else None
    return said.retry_after if wait is None else wait


def _hints(kind: Kind, status: int | None, said: Said, model: str | None, rules: FailureRules) -> list[str]:
    hints = []
    text = said.message
    if kind in ("not_found", "bad_request") and model is not None and model in rules.retired:
        hints.append(f"{printable(model, 100)} was switched off on {rules.retired[model]}")
    elif kind == "not_found" and status == 404 and rules.not_found:
        hints.append(rules.not_found.replace("{model}", printable(model or "the model", 100)))
    elif said.words & {"model_decommissioned", "model_deprecated", "model_retired"}:
        hints.append("this model was retired: choose another")
    if kind == "bad_request" and "reasoning_effort" in text and "tool" in text:
        # gpt-5.6 and later on /chat/completions.
        hints.append("this model takes no reasoning_effort together with tools here: leave it out or set it to 'none'")
    return hints


def _wordless(provider: str, status: int, text: str, said: Said) -> tuple[str, str]:
    """(message, hint) for a body without an error message in it."""
    if not text.strip():
        return f"{provider} answered HTTP {status} with an empty body", ""
    if looks_like_html(text):
        message = f"{provider} answered HTTP {status} with a web page instead of JSON: {page_text(text)}"
        return message, "" if status >= 500 else "is /v1 missing from base_url?"
    if said.parsed:
        return f"{provider} answered HTTP {status}: {printable(text, 200)}", ""
    return f"{provider} answered HTTP {status} with text that is not JSON: {printable(text, 200)}", ""


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
