"""What a message quotes never decides what kind of error it is, on any wire, whole or in a stream."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sans_io.calls.replay import decode
from sans_io.errors import (
    LLMAuthError,
    LLMBadRequestError,
    LLMContextLengthError,
    LLMError,
    LLMNotFoundError,
    LLMQuotaError,
    LLMRateLimitError,
    LLMServerError,
)
from sans_io.providers.error_words import kinds, prose, wait
from sans_io.providers.failures import decode_failure, failure_from_event

#: Words that mean something where a server says them itself, and names that only look like them.
SPOKEN = (
    "rate limit", "Rate limit reached", "too many requests", "5000 tokens per minute", "throttled", "insufficient funds",
    "insufficient balance", "Your credit balance is too low", "usage limit reached", "overloaded", "server busy",
    "prompt is too long", "prompt is too long: 5 tokens > 4 maximum", "This model's maximum context length is 4096 tokens",
    "input is too long for requested model", "reduce the length of the messages or completion",
    "Invalid model name passed in model=x",
)  # fmt: skip
NAMES = (
    "get_rate_limit", "rate_limit", "rate-limit-checker", "throttle_engine", "insufficient_quota", "insufficient_funds",
    "context_length_exceeded", "maximum_context_length", "overloaded_error", "get_tpm", "billing_error", "rpm_of_engine",
)  # fmt: skip
QUOTES = (
    "'{}'", '"{}"', "`{}`", "\u201c{}\u201d", "\u2018{}\u2019", "\u00ab{}\u00bb", "\u201e{}\u201c", "raw={}", "raw='{}'",
    '{{"reason": "{}"}}', "{{'error': {{'message': '{}'}}}}", '"a \\"{}\\" b"', "'it's {}'", 'name="{}"', "input_value='{}'",
    '["{}"]',
)  # fmt: skip
#: A quotation that the server has cut off.
CUT = ('"cut off: {}', "`cut off: {}", "'cut off: {}", "raw='{}", '{{"cut off": "{}')
AROUND = (
    "Invalid schema for function {}: the root must be an object.",
    "The server could not use {}",
    "error parsing tool call: {}, err=invalid character",
    "property {} is not allowed; the model's answer was {}",
)
GENERAL = {
    400: LLMBadRequestError, 401: LLMAuthError, 403: LLMAuthError, 404: LLMNotFoundError, 413: LLMBadRequestError,
    422: LLMBadRequestError, 429: LLMRateLimitError, 500: LLMServerError, 502: LLMServerError, 503: LLMServerError,
}  # fmt: skip
TYPED = {
    "invalid_request_error": LLMBadRequestError, "authentication_error": LLMAuthError, "not_found_error": LLMNotFoundError,
    "api_error": LLMServerError, "server_error": LLMServerError, "something_else": LLMServerError,
}  # fmt: skip

messages = st.builds(
    lambda around, quote, words: around.replace("{}", quote.format(words)),
    st.sampled_from(AROUND),
    st.sampled_from(QUOTES),
    st.sampled_from(SPOKEN + NAMES),
) | st.builds(
    "The server could not use {}".format, st.builds(str.format, st.sampled_from(CUT), st.sampled_from(SPOKEN))
)


def of(status: int, body: object) -> LLMError:
    return decode_failure(provider="p", status=status, headers=(), body=json.dumps(body).encode())


# -- laws --


@given(messages, st.sampled_from(sorted(GENERAL)))
def test_a_quotation_never_decides(message: str, status: int) -> None:
    for body in ({"error": {"message": message}}, {"error": message}, {"detail": message}, {"message": message}):
        error = of(status, body)
        assert type(error) is GENERAL[status], message
        assert error.code is None


@given(messages, st.sampled_from(sorted(TYPED)))
def test_a_quotation_never_decides_inside_a_2xx(message: str, kind: str) -> None:
    error = failure_from_event("p", {"error": {"type": kind, "message": message}})
    assert type(error) is TYPED[kind], message
    assert error.code is None


@given(st.sampled_from(NAMES), st.sampled_from(sorted(GENERAL)), st.sampled_from(AROUND))
def test_the_name_of_a_thing_never_decides(name: str, status: int, around: str) -> None:
    assert type(of(status, {"error": {"message": around.format(name, name)}})) is GENERAL[status]
    fields = {"detail": [{"loc": ["body", name], "msg": "Extra inputs are not permitted", "type": "extra_forbidden"}]}
    assert type(of(status, fields)) is GENERAL[status]


@given(st.text(alphabet="ab '\"`\\{}[]=:\u201c\u201d\u2018\u2019\u00ab\u00bb\u201e\n", max_size=60))
def test_no_text_breaks_the_reading(text: str) -> None:
    kinds(prose(text))
    wait(prose(text))


def test_the_reading_takes_linear_time() -> None:
    for piece in ("'", '"', "`", "{", "'a ", "\\", "raw", "parse ", "try again in 1 ", "model=", "\u2018a\u2019b"):
        kinds(prose(piece * 10_000))


# -- and what does --


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (400, "Your credit balance is too low to access the 'claude' API.", LLMQuotaError),
        (403, "Insufficient balance for model `m`", LLMQuotaError),
        (403, "Your newly created team doesn't have any credits or licenses yet.", LLMQuotaError),
        (429, "Your team has either used all available credits or reached its monthly spending limit.", LLMQuotaError),
        (400, "This model's maximum context length is 4096 tokens, and the users' input has 5000.", LLMContextLengthError),
        (400, "'max_tokens' or 'max_completion_tokens' is too large: 8000. This model's maximum context length is 4096 tokens"
              " and your request has 2778 input tokens (8000 > 4096 - 2778).", LLMContextLengthError),
        (413, "Request too large for model `x` on tokens per minute (TPM): Limit 6000", LLMRateLimitError),
        (500, "prompt is too long for 'm'", LLMContextLengthError),
        (404, "rate limit", LLMNotFoundError), (401, "insufficient funds", LLMAuthError), (400, "rate limit", LLMBadRequestError),
        (403, "rate limit", LLMAuthError), (500, "insufficient funds", LLMServerError), (500, "rate limit", LLMServerError),
        (502, "prompt is too long", LLMServerError), (429, "prompt is too long", LLMRateLimitError),
    ],
)  # fmt: skip
def test_words_decide_where_the_status_does_not_contradict(status: int, message: str, kind: type) -> None:
    assert type(of(status, {"error": {"message": message}})) is kind


@pytest.mark.parametrize(
    ("kind", "message", "expected"),
    [
        ("invalid_request_error", "rate limit", LLMBadRequestError), ("authentication_error", "insufficient funds", LLMAuthError),
        ("api_error", "insufficient funds", LLMServerError), ("not_found_error", "too many requests", LLMNotFoundError),
        ("invalid_request_error", "prompt is too long", LLMContextLengthError),
        ("invalid_request_error", "Your credit balance is too low", LLMQuotaError),
        ("something_else", "rate limit", LLMRateLimitError), ("something_else", "insufficient funds", LLMQuotaError),
    ],
)  # fmt: skip
def test_inside_a_2xx_a_type_contradicts_as_its_status_would(kind: str, message: str, expected: type) -> None:
    assert type(failure_from_event("p", {"error": {"type": kind, "message": message}})) is expected


def test_codes_are_heard_before_a_status_and_a_status_before_words() -> None:
    assert type(of(500, {"error": {"message": "prompt is too long", "code": "insufficient_quota"}})) is LLMQuotaError
    assert (
        type(of(400, {"error": {"message": "prompt is too long", "code": "rate_limit_exceeded"}})) is LLMRateLimitError
    )
    assert type(of(400, {"error": {"message": "no", "code": "invalid_api_key"}})) is LLMAuthError
    assert type(of(400, {"error": {"message": "no", "code": "model_not_found"}})) is LLMNotFoundError
    reason = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}]
    gemini = {"code": 400, "message": "API key not valid.", "status": "INVALID_ARGUMENT", "details": reason}
    assert type(of(400, [{"error": gemini}])) is LLMAuthError


# -- on the wires --

WIRES = (
    "openai",
    "azure",
    "groq",
    "mistral",
    "openrouter",
    "gemini",
    "anthropic",
    "ollama",
    "ollama-openai",
    "generic",
)


@pytest.mark.parametrize("provider", WIRES)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (400, "Invalid schema for function 'get_rate_limit': schema must be of type object", LLMBadRequestError),
        (500, "error parsing tool call: raw='{\"reason\": \"insufficient funds\"}', err=invalid character", LLMServerError),
        (400, 'Unknown content part: "the maximum context length is 4096 tokens"', LLMBadRequestError),
        (403, "Access to `rate limit` is denied", LLMAuthError),
        (422, "body.context_length_exceeded: Extra inputs are not permitted", LLMBadRequestError),
        (400, "Invalid property \u201cinsufficient_quota\u201d in the schema", LLMBadRequestError),
    ],
)  # fmt: skip
def test_whole_replies(provider: str, stream: bool, status: int, message: str, kind: type) -> None:
    body = {"error": message} if provider == "ollama" else {"type": "error", "error": {"message": message}}
    with pytest.raises(LLMError) as caught:
        decode(provider, status, {"content-type": "application/json"}, [json.dumps(body).encode()], stream=stream)
    assert type(caught.value) is kind


@pytest.mark.parametrize(
    ("provider", "media", "made"),
    [
        ("openai", "text/event-stream", "data: {}\n\n"),
        ("azure", "text/event-stream", "data: {}\n\n"),
        ("anthropic", "text/event-stream", "event: error\ndata: {}\n\n"),
        ("ollama", "application/x-ndjson", "{}\n"),
    ],
)
@pytest.mark.parametrize(
    "message",
    [
        'error parsing tool call: raw=\'{"reason": "insufficient funds"}\', err=invalid character',
        "the tool `get_rate_limit` answered nothing",
        'could not go on after "rate limit exceeded"',
        "bad token in {'message': 'prompt is too long'}",
        "unknown property \u201cinsufficient balance\u201d",
    ],
)
def test_events_of_streams(provider: str, media: str, made: str, message: str) -> None:
    inner = message if provider == "ollama" else {"type": "api_error", "message": message}
    event = made.replace("{}", json.dumps({"type": "error", "error": inner}))
    with pytest.raises(LLMError) as caught:
        decode(provider, 200, {"content-type": media}, [event.encode()], stream=True)
    assert type(caught.value) is LLMServerError
