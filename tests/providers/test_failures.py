"""Error replies of every known shape become typed errors; nothing a server sends makes the mapping raise."""

from __future__ import annotations

import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sans_io.errors import (
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
)
from sans_io.policy.retry import FATAL, THROTTLED, TRANSIENT
from sans_io.providers.failures import FailureRules, decode_failure, failure_from_event, not_json
from sans_io.providers.openai_chat.codec import RETRY_TABLE

HEADERS = (("content-type", "application/json"), ("x-request-id", "req_1"))


def failed(status: int, body: object = b"", headers: tuple = HEADERS, **options: object) -> LLMError:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    options = {"provider": "test", "model": "m", **options}
    error = decode_failure(status=status, headers=headers, body=data, **options)
    assert error.status_code == status or 200 <= status < 300
    assert error.request_id is not None
    assert (error.provider, error.model) == ("test", "m")
    assert len(error.message) <= 1100
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), copy.message, copy.code) == (type(error), error.message, error.code)
    return error


# -- laws --

JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
    | st.sampled_from(["insufficient_quota", "429", '{"error": "x"}', "prompt is too long: 5 tokens > 4 maximum"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["error", "message", "code", "type", "detail", "details", "metadata", "raw", "status", "msg",
                         "loc", "innererror", "errors", "request_id", "retryDelay", "n_ctx", "retry_after"]),
        inner, max_size=4,
    ),
    max_leaves=8,
)  # fmt: skip
STATUSES = st.sampled_from(
    [200, 301, 307, 400, 401, 402, 403, 404, 408, 409, 413, 418, 422, 429, 498, 500, 502, 503, 529, 599]
)


@given(STATUSES, JSONS.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=40), st.text(max_size=20))
def test_no_body_makes_it_raise(status: int, body: bytes, header: str) -> None:
    headers = (("retry-after", header), ("x-request-id", header), ("location", header), ("date", header))
    error = decode_failure(provider="p", status=status, headers=headers, body=body, model=None)
    assert isinstance(error, LLMError)
    assert error.message
    assert error.message.isprintable()
    pickle.dumps(error)


@given(JSONS)
def test_no_event_makes_it_raise(value: object) -> None:
    error = failure_from_event("p", value)
    assert error.message.isprintable()
    assert error.message


@given(st.binary(max_size=80))
def test_no_body_of_a_2xx_makes_it_raise(body: bytes) -> None:
    assert not_json("p", 200, (), body).message.isprintable()


# -- the shapes --


@pytest.mark.parametrize(
    ("status", "body", "kind", "code", "message"),
    [
        # OpenAI, with nullable fields
        (400, {"error": {"message": "m", "type": "invalid_request_error", "param": None, "code": None}}, LLMBadRequestError, None, "m"),
        (401, {"error": {"message": "m", "type": "invalid_request_error", "code": "invalid_api_key"}}, LLMAuthError, "invalid_api_key", "m"),
        # Azure: inner errors, numbers as text
        (400, {"error": {"message": "m", "type": None, "param": "prompt", "code": "content_filter", "status": 400,
                         "innererror": {"code": "ResponsibleAIPolicyViolation"}}}, LLMContentFilterError, "content_filter", "m"),
        (401, {"error": {"code": "401", "message": "Access denied"}}, LLMAuthError, "401", "Access denied"),
        (401, {"statusCode": 401, "message": "Unauthorized."}, LLMAuthError, "401", "Unauthorized."),
        (404, {"error": {"code": "DeploymentNotFound", "message": "m"}}, LLMNotFoundError, "DeploymentNotFound", "m"),
        # Anthropic
        (529, {"type": "error", "error": {"type": "overloaded_error", "message": "m"}}, LLMServerError, "overloaded", "m"),
        (404, {"type": "error", "error": {"type": "not_found_error", "message": "m"}, "request_id": "r"}, LLMNotFoundError, None, "m"),
        # Groq, vLLM, llama.cpp, OpenRouter
        (400, {"error": {"message": "m", "type": "invalid_request_error", "code": "tool_use_failed", "failed_generation": "x"}},
         LLMBadRequestError, "tool_use_failed", "m"),
        (400, {"error": {"message": "m", "type": "BadRequestError", "param": None, "code": 400}}, LLMBadRequestError, "400", "m"),
        (400, {"object": "error", "message": "m", "type": "BadRequestError", "param": None, "code": 400}, LLMBadRequestError, "400", "m"),
        (501, {"error": {"code": 501, "message": "m", "type": "not_supported_error"}}, LLMServerError, "501", "m"),
        (503, {"error": {"code": 503, "message": "m", "metadata": {}}}, LLMServerError, "503", "m"),
        # Mistral, FastAPI
        (400, {"object": "error", "message": "m", "type": "invalid_model", "code": "1500"}, LLMBadRequestError, "1500", "m"),
        (422, {"object": "error", "message": {"detail": [{"loc": ["body", "n"], "msg": "bad", "type": "t"}]}}, LLMBadRequestError, None, "body.n: bad"),
        (422, {"detail": [{"loc": ["body", "messages", 0], "msg": "field required", "type": "missing"}]},
         LLMBadRequestError, None, "body.messages.0: field required"),
        (500, {"detail": "m"}, LLMServerError, None, "m"),
        (401, {"message": "Unauthorized", "request_id": "x"}, LLMAuthError, None, "Unauthorized"),
        # Ollama
        (404, {"error": "model 'm' not found"}, LLMNotFoundError, None, "model 'm' not found"),
        (401, {"error": "unauthorized", "signin_url": "https://ollama.com"}, LLMAuthError, None, "unauthorized"),
        # Gemini: an array
        (400, [{"error": {"code": 400, "message": "m", "status": "INVALID_ARGUMENT"}}], LLMBadRequestError, "400", "m"),
        # JSON inside text
        (400, {"detail": json.dumps({"error": {"message": "inner", "code": "abc"}})}, LLMBadRequestError, "abc", "inner"),
        (400, {"error": {"message": json.dumps({"error": {"message": "inner"}})}}, LLMBadRequestError, None, "inner"),
        # others
        (500, {"timestamp": 1, "status": 500, "error": "Internal Server Error", "message": "m"}, LLMServerError, None, "m"),
        (400, {"errors": [{"message": "m", "code": 5}]}, LLMBadRequestError, "5", "m"),
        (400, {"error_code": 336003, "error_msg": "m"}, LLMBadRequestError, "336003", "m"),
        (418, b"I am a teapot", LLMBadRequestError, None, "I am a teapot"),
    ],
)  # fmt: skip
def test_each_shape_of_body(status: int, body: object, kind: type, code: str | None, message: str) -> None:
    error = failed(status, body, rules=FailureRules())
    assert type(error) is kind
    assert (error.code, error.message) == (code, message)
    assert error.body == (body if not isinstance(body, bytes) else body.decode())


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, LLMBadRequestError), (401, LLMAuthError), (402, LLMQuotaError), (403, LLMAuthError), (404, LLMNotFoundError),
        (405, LLMBadRequestError), (408, LLMServerError), (409, LLMServerError), (422, LLMBadRequestError),
        (424, LLMBadRequestError), (429, LLMRateLimitError), (431, LLMBadRequestError), (498, LLMServerError),
        (499, LLMBadRequestError), (500, LLMServerError), (502, LLMServerError), (503, LLMServerError),
        (504, LLMServerError), (520, LLMServerError), (529, LLMServerError), (599, LLMServerError),
    ],
)  # fmt: skip
def test_the_status_alone(status: int, kind: type) -> None:
    assert type(failed(status, {"error": {"message": "m"}})) is kind
    empty = failed(status)
    assert type(empty) is kind
    assert f"HTTP {status}" in empty.message
    assert "empty body" in empty.message


def test_web_pages() -> None:
    page = b"<!DOCTYPE html>\n<html><head><title>404 Not Found</title><style>p {}</style><script>x()</script></head>\n<body><h1>nginx\x1b[31m\xe2\x80\xae</h1></body></html>"
    error = failed(404, page)
    assert error.message == (
        "test answered HTTP 404 with a web page instead of JSON: 404 Not Found nginx\\x1b[31m\\u202e"
        " (is /v1 missing from base_url?)"
    )
    assert "base_url" not in failed(502, b"<html><body>Bad Gateway</body></html>").message
    assert "Bad Gateway" in failed(502, b"<html><body>Bad Gateway</body></html>").message
    assert len(failed(404, b"<html>" + b"x" * 60_000).message) < 400
    assert failed(500, b"<html>" + b"<" * 60_000).message, "and not in quadratic time"


def test_text_that_is_not_json() -> None:
    assert failed(500, b"upstream connect error").message == "upstream connect error"
    assert "not JSON" in failed(500, b"x" * 5000).message
    assert failed(500, b'{"error": {"message": "cut of').message == '{"error": {"message": "cut of'
    assert "HTTP 500" in failed(500, {"a": 1}).message


def test_server_text_is_bounded_and_cannot_steer_a_terminal() -> None:
    error = failed(400, {"error": {"message": "a\x1b[2Jb\r\nc\u202ed" + "x" * 9000}})
    assert error.message.startswith("a\\x1b[2Jb c\\u202ed")
    assert len(error.message) == 500


def test_redirects_name_the_target_without_its_query() -> None:
    error = failed(307, headers=(*HEADERS, ("location", "https://u:p@evil.example/v1?key=secret#f")))
    assert type(error) is LLMProtocolError
    assert error.code == "redirect"
    assert "evil.example/v1" in error.message
    assert "secret" not in error.message
    assert "u:p" not in error.message
    assert "redirect" in failed(304).message


# -- quota against rate limit --


@pytest.mark.parametrize(
    ("status", "inner"),
    [
        (429, {"type": "insufficient_quota", "code": "insufficient_quota"}),
        (429, {"type": "insufficient_quota", "code": "credit_balance_exhausted"}),
        (429, {"type": "insufficient_quota", "code": "project_spend_limit_exceeded"}),
        (429, {"code": "team_spend_limit_exceeded"}),
        (429, {"type": "rate_limit_error", "details": {"error_code": "enforced_spend_limit_reached"}}),
        (
            400,
            {"type": "invalid_request_error", "message": "Your credit balance is too low to access the Anthropic API."},
        ),
        (400, {"type": "invalid_request_error", "message": "You have reached your specified API usage limits."}),
        (402, {"type": "billing_error", "message": "m"}),
        (402, {"message": "Insufficient Balance", "type": "unknown_error", "code": "invalid_request_error"}),
        (403, {"code": "Arrearage", "message": "m"}),
    ],
)
def test_quota_is_never_retried(status: int, inner: dict) -> None:
    error = failed(status, {"error": {"message": "m", **inner}})
    assert type(error) is LLMQuotaError
    assert not isinstance(error, LLMRateLimitError)
    assert RETRY_TABLE.of_reply(error.status_code, error.code, error.error_type) == FATAL


@pytest.mark.parametrize(
    ("status", "inner"),
    [
        (429, {"code": "rate_limit_exceeded", "type": "tokens"}), (429, {"type": "rate_limit_error"}), (429, {"code": "slow_down"}),
        (429, {"type": "rate_limit_error", "details": {"error_code": "ramp_limit_exceeded"}}),
        (429, {"message": "You exceeded your current quota, please check your plan.", "status": "RESOURCE_EXHAUSTED"}),
        (429, {"code": "RateLimitReached"}), (429, {"message": "prompt is too long: 5 tokens > 4 maximum"}),
    ],
)  # fmt: skip
def test_rate_limits_are_waited_for(status: int, inner: dict) -> None:
    error = failed(status, {"error": {"message": "m", **inner}})
    assert type(error) is LLMRateLimitError
    assert RETRY_TABLE.of_reply(error.status_code, error.code, error.error_type) == THROTTLED


def test_groqs_413_and_bedrocks_400_are_about_rates() -> None:
    groq = {"message": "Request too large for model `x` on tokens per minute (TPM): Limit 6000, Requested 7000, please reduce"
                       " the length of the messages or completion.", "type": "tokens", "code": "rate_limit_exceeded"}  # fmt: skip
    assert type(failed(413, {"error": groq})) is LLMRateLimitError
    assert type(failed(413, {"error": groq | {"code": None}})) is LLMRateLimitError
    assert type(failed(400, {"message": "ThrottlingException: Too many tokens, please wait"})) is LLMRateLimitError


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ((("retry-after", "7"),), 7.0), ((("retry-after-ms", "1500"), ("retry-after", "2")), 1.5),
        ((("retry-after", "-1"),), None), ((("retry-after", "soon"),), None), ((), None),
        ((("date", "Sun, 22 Nov 2026 10:00:00 GMT"), ("retry-after", "Sun, 22 Nov 2026 10:00:09 GMT")), 9.0),
    ],
)  # fmt: skip
def test_retry_after(headers: tuple, expected: float | None) -> None:
    assert failed(429, {"error": {"message": "m"}}, (*HEADERS, *headers)).retry_after == expected


def test_retry_after_inside_the_body() -> None:
    details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.5s"}]
    body = [{"error": {"code": 429, "message": "m", "status": "RESOURCE_EXHAUSTED", "details": details}}]
    assert failed(429, body).retry_after == 34.5
    assert failed(429, body, (*HEADERS, ("retry-after", "2"))).retry_after == 2.0
    assert failed(429, {"error": {"message": "m", "retry_after": 5}}).retry_after == 5.0
    assert failed(429, {"error": {"message": "m", "retry_after": -5}}).retry_after is None


# -- overloaded --


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (503, {"error": {"message": "m", "code": "server_is_overloaded"}}), (503, {"error": {"message": "m", "status": "UNAVAILABLE"}}),
        (503, {"error": "server busy, please try again.  maximum pending requests exceeded"}), (498, {"error": {"message": "m"}}),
        (503, {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}), (529, b""),
        (500, {"type": "error", "error": {"type": "api_error", "message": "Overloaded"}}),
    ],
)  # fmt: skip
def test_overloaded(status: int, body: object) -> None:
    error = failed(status, body)
    assert type(error) is LLMServerError
    assert error.code == "overloaded"
    assert RETRY_TABLE.of_reply(error.status_code, error.code, error.error_type) == THROTTLED


def test_other_server_errors_are_transient() -> None:
    error = failed(503, b"<html>Service Temporarily Unavailable</html>")
    assert error.code is None
    assert RETRY_TABLE.of_reply(error.status_code, error.code, error.error_type) == TRANSIENT


# -- prompts that do not fit --


@pytest.mark.parametrize(
    ("message", "limit", "requested"),
    [
        ("This model's maximum context length is 8192 tokens. However, your messages resulted in 10000 tokens.", 8192, 10000),
        ("This endpoint's maximum context length is 200000 tokens. However, you requested about 2500021 tokens (2500021 of text input).", 200000, 2500021),
        ("This model's maximum context length is 4,096 tokens. However, you requested 5,000 tokens (4,900 in the messages, 100 in the completion).", 4096, 5000),
        ("Your input exceeds the context window of this model.", None, None),
        ("'max_tokens' or 'max_completion_tokens' is too large: 8000. This model's maximum context length is 4096 tokens and your request has 2778 input tokens (8000 > 4096 - 2778).", 4096, 10778),
        ("You passed 5000 input tokens and requested 100 output tokens. However, the model's context length is only 4096 tokens.", 4096, 5000),
        ("prompt is too long: 210000 tokens > 200000 maximum", 200000, 210000),
        ("input length and `max_tokens` exceed context limit: 199000 + 8192 > 200000, decrease input length", 200000, 207192),
        ("Input is too long for requested model.", None, None),
        ("The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).", 1048576, 1200000),
        ("Please reduce the length of the messages or completion.", None, None),
        ("Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length", 32768, 40000),
        ("This model's maximum prompt length is 131072 but the request contains 140000 tokens.", 131072, 140000),
        ("request (2050 tokens) exceeds the available context size (2048 tokens), try increasing it", 2048, 2050),
        ("the request exceeds the available context size. try increasing the context size", None, None),
        ("Trying to keep the first 5000 tokens when context the overflows. However, the model is loaded with context length of only 4096 tokens, which is not enough.", 4096, 5000),
        ("The number of tokens to keep from the initial prompt is greater than the context length", None, None),
        ("The decoder prompt (length 5000) is longer than the maximum model length of 4096. Make sure that `max_model_len` is no smaller", 4096, 5000),
        ("The prompt (total length 5000) is too long to fit into the model (context length 4096).", 4096, 5000),
        ("The input (5000 tokens) is longer than the model's context length (4096 tokens).", 4096, 5000),
        ("Requested token count exceeds the model's maximum context length of 4096 tokens. You requested a total of 5000 tokens: 4000 tokens from the input messages", 4096, 5000),
        ("Input validation error: `inputs` must have less than 4095 tokens. Given: 5000", 4095, 5000),
        ("Input validation error: `inputs` tokens + `max_new_tokens` must be <= 8193. Given: 9000 `inputs` tokens and 20 `max_new_tokens`", 8193, 9020),
        ("Please reduce the length of the messages or completion. Current length is 9000 while limit is 8192", 8192, 9000),
        ("The prompt is too long: 137906, model maximum context length: 131071", 131071, 137906),
        ("the input length exceeds the context length", None, None),
        ("the prompt is longer than the context length currently available to the model", None, None),
        ("prompt too long; exceeded max context length by 12 tokens", None, None),
        ("The input is longer than the model's context length", None, None),
        ("context window exceeds limit (2013)", None, None),
        ("Your request exceeded model token limit: 8192 (requested: 9000)", 8192, 9000),
        ("Range of input length should be [1, 30720]", 30720, None),
    ],
)  # fmt: skip
@pytest.mark.parametrize("status", [400, 413, 422, 500])
def test_overflow_is_recognised_with_its_numbers(
    status: int, message: str, limit: int | None, requested: int | None
) -> None:
    error = failed(status, {"error": {"message": message, "type": "invalid_request_error", "code": 400}})
    assert isinstance(error, LLMContextLengthError)
    assert (error.limit, error.requested) == (limit, requested)
    assert error.code == "context_length_exceeded"
    assert RETRY_TABLE.of_reply(error.status_code, error.code, error.error_type) == FATAL
    again = pickle.loads(pickle.dumps(error))
    assert (again.limit, again.requested) == (limit, requested)


def test_overflow_by_code_and_by_llama_cpps_numbers() -> None:
    for code in ("context_length_exceeded", "string_above_max_length", "token_limit_exceeded", "tokens_limit_reached"):
        error = failed(400, {"error": {"message": "m", "code": code}})
        assert isinstance(error, LLMContextLengthError)
        assert error.code == code
    body = {
        "error": {"code": 400, "message": "m", "type": "exceed_context_size_error", "n_prompt_tokens": 9, "n_ctx": 8}
    }
    error = failed(400, body)
    assert isinstance(error, LLMContextLengthError)
    assert (error.limit, error.requested) == (8, 9)
    assert isinstance(failed(413), LLMContextLengthError)
    assert isinstance(failed(400, rules=FailureRules(empty_is_overflow=True)), LLMContextLengthError)
    assert not isinstance(failed(400), LLMContextLengthError)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, "max_tokens: 65536 > 32768, which is the maximum allowed number of output tokens"),
        (400, "tools[0].function.name: tool name exceeds maximum length of 64"),
        (400, "Invalid 'metadata': string too long. Expected a string with maximum length 512."),
        (404, "maximum context length is 5 tokens"), (401, "prompt is too long"), (503, "prompt is too long"),
    ],
)  # fmt: skip
def test_what_only_sounds_like_overflow(status: int, message: str) -> None:
    assert not isinstance(failed(status, {"error": {"message": message}}), LLMContextLengthError)


# -- hints and details --


def test_moderation_is_a_content_filter() -> None:
    body = {"error": {"code": 403, "message": "m", "metadata": {"reasons": ["violence"], "flagged_input": "x"}}}
    assert type(failed(403, body)) is LLMContentFilterError
    assert type(failed(400, {"error": {"message": "m", "code": "content_policy_violation"}})) is LLMContentFilterError


def test_openrouter_quotes_its_upstream() -> None:
    raw = json.dumps({"error": {"message": "upstream said no", "code": "context_length_exceeded"}})
    error = failed(400, {"error": {"code": 400, "message": "Provider returned error", "metadata": {"raw": raw}}})
    assert isinstance(error, LLMContextLengthError)
    assert error.message == "Provider returned error (upstream said no)"


def test_gpt_5_6_takes_no_reasoning_effort_with_tools() -> None:
    message = "Function tools with reasoning_effort are not supported for gpt-5.6 in /v1/chat/completions."
    error = failed(400, {"error": {"message": message, "type": "invalid_request_error"}})
    assert error.message.startswith(message)
    assert "set it to 'none'" in error.message


def test_models_that_are_gone_or_missing() -> None:
    rules = FailureRules(not_found="pull {model} first", retired={"m": "2026-10-23"})
    assert failed(404, {"error": "no"}, rules=rules).message == "no (m was switched off on 2026-10-23)"
    assert (
        failed(404, {"error": "no"}, rules=FailureRules(not_found="pull {model} first")).message == "no (pull m first)"
    )
    gone = failed(400, {"error": {"message": "no", "code": "model_decommissioned"}})
    assert type(gone) is LLMBadRequestError
    assert "retired" in gone.message


def test_a_providers_own_words() -> None:
    rules = FailureRules(kinds={"weird_word": "quota"})
    assert type(failed(400, {"error": {"message": "m", "code": "Weird_Word"}}, rules=rules)) is LLMQuotaError


# -- inside a 2xx --


@pytest.mark.parametrize(
    ("value", "kind", "status"),
    [
        ({"type": "error", "error": {"type": "overloaded_error", "message": "m"}}, LLMServerError, None),
        ({"error": {"type": "rate_limit_error", "message": "m"}}, LLMRateLimitError, None),
        ({"error": {"type": "invalid_request_error", "message": "m"}}, LLMBadRequestError, None),
        ({"error": {"type": "authentication_error", "message": "m"}}, LLMAuthError, None),
        ({"error": {"type": "not_found_error", "message": "m"}}, LLMNotFoundError, None),
        ({"error": {"type": "billing_error", "message": "m"}}, LLMQuotaError, None),
        ({"error": {"message": "m", "code": 429}}, LLMRateLimitError, 429),
        ({"error": {"message": "m", "code": "503"}}, LLMServerError, 503),
        ({"error": {"message": "m", "code": 1}}, LLMServerError, None),
        ({"error": {"message": "prompt is too long: 5 tokens > 4 maximum"}}, LLMContextLengthError, None),
        ("m", LLMServerError, None), ({}, LLMServerError, None), (None, LLMServerError, None), (5, LLMServerError, None),
    ],
)  # fmt: skip
def test_errors_inside_a_2xx_are_typed_by_their_words(value: object, kind: type, status: int | None) -> None:
    error = failure_from_event("test", value)
    assert type(error) is kind
    assert error.status_code == status
    assert type(decode_failure(provider="test", status=200, headers=(), body=json.dumps(value).encode())) is kind


def test_the_request_id_may_be_in_the_body() -> None:
    error = failure_from_event(
        "test", {"type": "error", "error": {"type": "api_error", "message": "m"}, "request_id": "r9"}
    )
    assert error.request_id == "r9"


@pytest.mark.parametrize(
    ("page", "shown"),
    [
        (b"<html><script>x", ""),
        (b"<html>a<script>x</script>b<STYLE>y</STYLE>c", "a b c"),
        ("<html>İ<script>x</script>".encode(), "İ x"),
        (b"<html>a < b", "a < b"),
        (b"<html><style>w</style>a<style>y</style><script>z</script>b", "a b"),
        (b"<html><script>a</script>b<script>c", "b"),
    ],
)
def test_the_words_of_a_page(page: bytes, shown: str) -> None:
    assert failed(500, page).message == f"test answered HTTP 500 with a web page instead of JSON: {shown}".strip()


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"error": {"error": {"error": {"error": {"error": {"error": {"error": {"message": "m"}}}}}}}}},
        {"error": {"message": '{"a": 1}'}},
        {"error": {"message": "[1, 2"}},
        {"error": {"message": "m", "metadata": {"raw": ""}, "details": {"error_code": 5}}},
        {"error": {"message": "m", "metadata": {"raw": "no json"}, "details": ["x", {"reason": "R", "retryDelay": 5}]}},
        {"errors": [5, None, "m"]},
        {"detail": [{"loc": [], "msg": 5}, {"loc": "x", "msg": "m"}]},
        {"error": ["", {"message": "m"}]},
        {"message": " ", "code": "x" * 300, "request_id": ""},
        {"error": {"message": {"a": {}}, "status": 503, "innererror": {"code": 5}}},
    ],
)
def test_odd_bodies(body: object) -> None:
    error = failed(400, body)
    assert type(error) is LLMBadRequestError
    assert error.message


def test_a_reported_error_may_be_given_a_status() -> None:
    assert failure_from_event("p", {"error": "m"}, status=429).status_code == 429


def test_a_code_that_is_overlong_is_cut() -> None:
    error = failed(400, {"error": {"message": "m", "code": "x" * 300}})
    assert error.code == "x" * 200


def test_a_quote_that_is_in_the_message_already_is_not_repeated() -> None:
    raw = json.dumps({"error": {"message": "no"}})
    assert failed(400, {"error": {"message": "upstream: no", "metadata": {"raw": raw}}}).message == "upstream: no"


@pytest.mark.parametrize(
    ("code", "kind"),
    [("invalid_api_key", LLMAuthError), ("model_not_found", LLMNotFoundError), ("invalid_prompt", LLMBadRequestError)],
)
def test_inside_a_2xx_the_more_precise_of_two_words_decides(code: str, kind: type) -> None:
    """Whatever the order in which words are looked at: sets have none that lasts."""
    for general in ("invalid_request_error", "internal_error"):
        error = failure_from_event("p", {"error": {"message": "m", "type": general, "code": code}})
        assert type(error) is kind
