"""The words of all providers, one by one: the code or type of an error decides what the user catches.

Each word stands here under the kind it means. Those of the first list decide under a 400 too, which says nothing; those of
the second are asked only where there is no status, in an error inside a 2xx reply.
"""

from __future__ import annotations

import json

import pytest

from sans_io.errors import (
    LLMAuthError,
    LLMBadRequestError,
    LLMContentFilterError,
    LLMContextLengthError,
    LLMError,
    LLMNotFoundError,
    LLMQuotaError,
    LLMRateLimitError,
    LLMServerError,
)
from sans_io.providers.failures import QUOTA_CODES, decode_failure, failure_from_event

ANYWHERE: dict[type[LLMError], tuple[str, ...]] = {
    LLMQuotaError: (
        "insufficient_quota", "quota_exceeded", "credit_balance_exhausted", "organization_spend_limit_exceeded",
        "project_spend_limit_exceeded", "organization_usage_limit_exceeded", "billing_hard_limit_reached",
        "billing_not_active", "billing_error", "enforced_spend_limit_reached", "contract_spend_limit_reached",
        "insufficient_balance", "insufficient_credits", "payment_required", "arrearage", "insufficientquota",
        "account_deactivated_for_nonpayment", "exceeded_current_quota_error", "credits_exhausted",
    ),
    LLMContentFilterError: (
        "content_filter", "content_policy_violation", "responsibleaipolicyviolation", "content_filter_error",
        "data_inspection_failed", "datainspectionfailed", "moderation_blocked", "sensitive_content",
    ),
    LLMContextLengthError: (
        "context_length_exceeded", "string_above_max_length", "exceed_context_size_error", "token_limit_exceeded",
        "string_too_long", "request_too_large", "context_window_exceeded", "model_max_prompt_tokens_exceeded",
    ),
    LLMRateLimitError: (
        "rate_limit_error", "rate_limit_exceeded", "ratelimitreached", "ratelimiterror", "rate_limited", "slow_down",
        "ramp_limit_exceeded", "resource_exhausted", "too_many_requests", "throttlingexception", "throttling",
    ),
}  # fmt: skip
OVERLOADED = (
    "overloaded", "overloaded_error", "server_is_overloaded", "server_overloaded", "engine_overloaded",
    "engine_overloaded_error", "model_overloaded", "capacity_exceeded", "unavailable", "unavailable_error",
)  # fmt: skip
WITHOUT_A_STATUS: dict[type[LLMError], tuple[str, ...]] = {
    LLMBadRequestError: (
        "invalid_request_error", "invalid_request", "invalid_argument", "invalid_prompt", "badrequesterror",
        "failed_precondition", "unprocessableentityerror", "unsupported_parameter", "unsupported_value",
        "tool_use_failed", "json_validate_failed",
    ),
    LLMAuthError: (
        "authentication_error", "authenticationerror", "unauthenticated", "unauthorized", "invalid_api_key",
        "permission_error", "permission_denied", "permissiondeniederror", "forbidden",
    ),
    LLMNotFoundError: ("not_found_error", "notfounderror", "not_found", "model_not_found", "deploymentnotfound"),
    LLMServerError: (
        "api_error", "server_error", "internal_server_error", "internal_error", "internalservererror", "internal",
        "timeout_error", "deadline_exceeded",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "word"), [(kind, word) for kind, words in ANYWHERE.items() for word in words])
@pytest.mark.parametrize("field", ["code", "type"])
def test_a_word_that_decides_whatever_the_status(kind: type[LLMError], word: str, field: str) -> None:
    body = json.dumps({"error": {"message": "no", field: word}}).encode()
    assert type(decode_failure(provider="p", status=400, headers=(), body=body)) is kind
    assert type(failure_from_event("p", {"message": "no", field: word.upper()})) is kind


@pytest.mark.parametrize(("kind", "word"), [(kind, word) for kind, words in WITHOUT_A_STATUS.items() for word in words])
def test_a_word_that_decides_where_there_is_no_status(kind: type[LLMError], word: str) -> None:
    assert type(failure_from_event("p", {"message": "no", "type": word})) is kind


@pytest.mark.parametrize("word", OVERLOADED)
def test_a_word_that_says_overloaded_is_told_from_a_fault_of_the_server(word: str) -> None:
    body = json.dumps({"error": {"message": "no", "type": word}}).encode()
    for error in (
        decode_failure(provider="p", status=500, headers=(), body=body),
        failure_from_event("p", {"message": "no", "type": word}),
    ):
        assert type(error) is LLMServerError
        assert error.code == "overloaded"


def test_billing_is_never_waited_for() -> None:
    assert dict(QUOTA_CODES) == dict.fromkeys(ANYWHERE[LLMQuotaError], "D")
