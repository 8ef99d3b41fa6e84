"""Codes of errors in all their places, waits in words, and bodies whose end is missing."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sans_io.calls.exchange import Exchange
from sans_io.calls.replay import decode
from sans_io.errors import (
    LLMAuthError,
    LLMBadRequestError,
    LLMContextLengthError,
    LLMError,
    LLMNotFoundError,
    LLMProtocolError,
    LLMQuotaError,
    LLMRateLimitError,
    LLMServerError,
)
from sans_io.http.heads import ResponseHead
from sans_io.http.rate_limits import RateLimitState
from sans_io.http.urls import parse_base_url
from sans_io.limits import Limits
from sans_io.providers.failures import decode_failure, failure_from_event
from sans_io.providers.ollama.codec import OllamaCodec
from sans_io.providers.openai_chat.codec import OpenAICodec
from sans_io.providers.registry import DIALECTS
from tests.calls.test_exchange import openai
from tests.linear import assert_linear


def of(status: int, body: object, headers: tuple[tuple[str, str], ...] = ()) -> LLMError:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return decode_failure(provider="p", status=status, headers=headers, body=data, model="m")


# -- texts that are too long --


@pytest.mark.parametrize("code", ["string_above_max_length", "string_too_long"])
@pytest.mark.parametrize(
    ("place", "overflows"),
    [
        ("messages[0].content", True), ("messages.[12].content", True), ("messages[1].content[0].text", True), ("input", True),
        ("messages", True), ("prompt", True), ("user", False), ("metadata.key", False), ("tools[0].function.description", False),
        ("messages[0].name", False), ("messages[2].tool_calls[0].id", False), ("messages[0].content[0].image_url.url", False),
        ("stop", False), ("prompt_cache_key", False), ("tools[0].function.parameters.messages[0].content", False),
    ],
)  # fmt: skip
def test_a_text_that_is_too_long_is_an_overflow_only_where_the_prompt_is(
    code: str, place: str, overflows: bool
) -> None:
    wanted = LLMContextLengthError if overflows else LLMBadRequestError
    said = {"message": "string too long", "type": "invalid_request_error", "code": code}
    named = (
        f"Invalid '{place}': string too long. Expected a string with maximum length 64, but got one with length 100."
    )
    for error in (
        of(400, {"error": {**said, "param": place}}),
        of(400, {"error": {**said, "message": named, "param": None}}),
    ):
        assert type(error) is wanted
        assert error.code == code
    assert type(failure_from_event("p", {"error": {**said, "param": place}})) is wanted


@pytest.mark.parametrize(
    ("body", "limit", "requested"),
    [
        ({"error": {"message": "The total length of all messages is too long.", "type": "too_many_prompt_tokens", "code": 400}},
         None, None),
        ({"error": {"message": "User input tokens exceeds 127072 tokens", "type": "too_many_prompt_tokens", "code": 400}}, 127072, None),
        ({"error": {"message": "litellm.ContextWindowExceededError: litellm.BadRequestError: ContextWindowExceededError: "
                    'Hosted_vllmException - {"error":{"message":"This model\'s maximum context length is 131072 tokens. However, '
                    'your request has 199948 input tokens. Please reduce"}}', "type": None, "param": None, "code": "400"}},
         131072, 199948),
        ({"error": {"message": "ContextWindowExceededError: too long", "code": "400"}}, None, None),
        ({"error": {"message": "no", "type": "ContextWindowExceededError", "code": "400"}}, None, None),
        ({"error": "litellm.ContextWindowExceededError: no"}, None, None),
        ({"detail": "litellm.BadRequestError: ContextWindowExceededError: OpenAIException - no"}, None, None),
    ],
)  # fmt: skip
def test_overflows_of_perplexity_and_of_gateways(body: dict, limit: int | None, requested: int | None) -> None:
    for error in (of(400, body), failure_from_event("p", body)):
        assert isinstance(error, LLMContextLengthError)
        assert (error.limit, error.requested) == (limit, requested)


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (429, "litellm.RateLimitError: RateLimitError: OpenAIException - no", LLMRateLimitError),
        (400, "litellm.RateLimitError: no", LLMRateLimitError),
        (400, "ThrottlingException: Too many tokens, please wait", LLMRateLimitError),
        (400, "An error occurred (ThrottlingException) when calling the Converse operation: no", LLMRateLimitError),
        (400, "Budget has been exceeded! BudgetExceededError", LLMBadRequestError),
        (400, "the tool raised RateLimitError: no", LLMBadRequestError),
        (400, "'litellm.RateLimitError: no'", LLMBadRequestError),
    ],
)
def test_a_gateway_begins_with_the_name_of_its_exception(status: int, message: str, kind: type) -> None:
    assert type(of(status, {"error": {"message": message}})) is kind


@pytest.mark.parametrize("code", ["400", "429", 429])
def test_a_gateway_s_budget_is_a_quota(code: object) -> None:
    body = {
        "error": {
            "message": "Budget has been exceeded! Current cost: 2, Max budget: 1",
            "type": "budget_exceeded",
            "code": code,
        }
    }
    for status in (400, 429):
        error = of(status, body)
        assert type(error) is LLMQuotaError
        assert error.code == "insufficient_quota"


@pytest.mark.parametrize("name", ["gpt-9", "openai/gpt-9", "a b", ""])
@pytest.mark.parametrize("provider", ["generic", "openai", "anthropic"])
def test_a_gateway_s_invalid_model_name_is_not_found(name: str, provider: str) -> None:
    said = f"/chat/completions: Invalid model name passed in model={name}. Call `/v1/models` to view available models for your key."
    for body in ({"error": said}, {"error": {"message": said, "type": "invalid_request_error", "param": "model", "code": "400"}},
                 {"detail": {"error": said}}, {"error": {"message": str({"error": said}), "type": "None", "code": "400"}},
                 {"error": {"message": str({"error": said + " It's so."}), "param": "None", "code": 400}}):  # fmt: skip
        with pytest.raises(LLMNotFoundError) as caught:
            decode(provider, 400, {"content-type": "application/json", "x-litellm-call-id": "c1"}, [json.dumps(body).encode()],
                   stream=False)  # fmt: skip
        assert (caught.value.code, caught.value.request_id) == ("model_not_found", "c1")


# -- numbers and words --

CODES = ("rate_limit_exceeded", "model_decommissioned", "1500x")
NUMBERS = (400, "400", 0, -5, "1234567")


@given(st.sampled_from(CODES), st.sampled_from(NUMBERS))
def test_a_number_never_replaces_a_code_in_words(code: str, number: object) -> None:
    for body in (
        {"error": {"message": "m", "code": code, "statusCode": number}},
        {"error": {"message": "m", "code": number, "error_code": code}},
        {"code": code, "error": {"message": "m", "code": number}},
        {"code": number, "error": {"message": "m", "code": code}},
        {"error": {"message": json.dumps({"error": {"message": "m", "code": number}}), "code": code}},
        {"error": {"message": "m", "code": number, "details": {"error_code": code}}},
    ):
        assert of(418, body).code == code
    assert of(418, {"code": 5, "error": {"message": "m", "code": 6}}).code == "6"


# -- long bodies --


@pytest.mark.parametrize("size", [70_000, 300_000, 1_000_000, 3_000_000])
@pytest.mark.parametrize("provider", ["openai", "anthropic", "ollama"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_long_body_is_read_from_its_beginning(size: int, provider: str, stream: bool) -> None:
    body = {"type": "error", "error": {"code": "context_length_exceeded", "type": "invalid_request_error", "param": "messages",
                                       "message": "Too long: " + "x" * size}}  # fmt: skip
    data = json.dumps(body).encode()
    with pytest.raises(LLMContextLengthError) as caught:
        decode(provider, 400, {"content-type": "application/json"}, [data[at : at + 65_536] for at in range(0, size, 65_536)],
               stream=stream)  # fmt: skip
    assert (caught.value.code, caught.value.error_type) == ("context_length_exceeded", "invalid_request_error")
    assert caught.value.message.startswith("Too long: xxx")
    assert len(caught.value.message) < 700


BODY = json.dumps(
    {"error": {"type": "t", "code": "insufficient_quota", "message": 'a "b\\u00e9" {c} ' * 300, "x": [1, {"a": []}]}}
)


@given(st.integers(60, len(BODY)))
def test_what_stands_before_a_cut_counts(cut: int) -> None:
    error = of(429, BODY[:cut].encode())
    assert type(error) is LLMQuotaError
    assert error.error_type == "t"


@given(st.text(alphabet='{}[]",:\\ab1 ', max_size=80))
def test_no_beginning_makes_it_raise(text: str) -> None:
    assert of(400, text.encode()).message


@pytest.mark.parametrize("piece", ["[", "{", '{"error":', '[1,"', '{"a":[', '","'])
def test_a_beginning_is_read_in_linear_time(piece: str) -> None:
    """Of nested lists each bracket once cost a copy of all before it: seconds for the largest body."""
    assert_linear(lambda size: b"[" + (piece * size).encode(), lambda data: of(400, data), 16_000)


def test_a_body_larger_than_the_limit_is_still_told_by_its_code() -> None:
    limits = Limits(max_error_body=200)
    made = Exchange(openai(), limits)
    made.begin(ResponseHead(429, ()), "application/json")
    made.receive_body(json.dumps({"error": {"code": "insufficient_quota", "message": "x" * 5000}}).encode())
    assert isinstance(made.error, LLMQuotaError)
    assert made.error.message.endswith("(the rest of its body was dropped; see Limits.max_error_body)")


# -- how long to wait --


@pytest.mark.parametrize(
    ("words", "seconds"),
    [
        ("Please try again in 1m7.66s. Visit https://x", 67.66), ("Please try again in 350ms.", 0.35),
        ("Please retry after 2 seconds.", 2.0), ("Please retry in 48.939935699s.", 48.939935699), ("Try again in 20s", 20.0),
        ("please wait 5 seconds before sending another request", 5.0), ("Retry after 1 second", 1.0),
        ("try again in 2 minutes", 120.0), ("Try again in 1 minute and 5 seconds.", 65.0), ("try again in 1h2m3s", 3723.0),
        ("try again in 6m0s", 360.0), ("Please wait for 30 seconds", 30.0), ("retry your request after 12 seconds", 12.0),
        ("retry your requests after 12 seconds", 12.0),
        ("Try again in about 3 hours", 10800.0), ("RETRY AFTER 4 SECS", 4.0), ("try again in 24h", 86400.0),
        ("Try again in 1,500 ms", 1.5), ("Rate limit resets in 45s", 45.0), ("It will be available in 5s", 5.0),
        ("try again in 2 attempts", None), ("Please try again later.", None), ("try again in 5", None), ("retried 5 seconds ago", None),
        ("'try again in 5s'", None), ("raw=try again in 5s", None), ("", None),
    ],
)  # fmt: skip
def test_a_wait_in_words(words: str, seconds: float | None) -> None:
    body = {"error": {"message": words or "no", "code": "rate_limit_exceeded"}}
    assert of(429, body).retry_after == seconds
    assert failure_from_event("p", body).retry_after == seconds
    assert of(503, {"error": {"message": words or "no"}}).retry_after == seconds
    assert of(400, {"error": {"message": words or "no"}}).retry_after is None


def test_a_header_goes_before_the_body_and_a_field_before_words() -> None:
    details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "3.25s"}]
    body = {"error": {"message": "Please retry in 9s", "details": details}}
    assert of(429, body).retry_after == 3.25
    assert of(429, body, (("retry-after", "2"),)).retry_after == 2.0
    assert of(429, body, (("retry-after", "soon"),)).retry_after == 3.25
    assert (
        of(429, {"error": {"message": "Please retry in 9s"}}, (("x-ratelimit-reset-tokens", "5"),)).retry_after == 9.0
    )


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ((("x-rate-limit-reset-tokens", "12"),), 12.0),
        ((("x-ratelimit-remaining-tokens", "0"), ("x-ratelimit-reset-tokens", "1m0s"), ("x-ratelimit-remaining-requests", "5"),
          ("x-ratelimit-reset-requests", "9m")), 60.0),
        ((("date", "Sun, 22 Nov 2026 10:00:00 GMT"), ("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1795341607000")), 7.0),
        ((("x-ratelimit-remaining-tokens", "5"), ("x-ratelimit-reset-tokens", "1m0s")), None),
        ((("ratelimit", '"default";r=0;t=4'),), 4.0),
    ],
)  # fmt: skip
def test_without_any_word_the_limit_that_is_used_up_tells(headers: tuple, seconds: float | None) -> None:
    assert of(429, {"error": {"message": "m"}}, headers).retry_after == seconds
    assert of(503, {"error": {"message": "m"}}, headers).retry_after is None


@pytest.mark.parametrize(
    ("details", "quota"),
    [
        ([{"violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]}], True),
        (
            [
                {
                    "violations": [
                        {"quotaId": "GenerateRequestsPerMinutePerProject"},
                        {"quotaId": "TokensPerDayPerProject"},
                    ]
                }
            ],
            True,
        ),
        (
            [{"reason": "RATE_LIMIT_EXCEEDED", "metadata": {"quota_limit": "GenerateContentRequestsPerDayPerProject"}}],
            True,
        ),
        ([{"violations": [{"quotaId": "GenerateContentPaidTierInputTokensPerModelPerMinute"}]}], False),
        ([{"violations": "PerDay"}, {"metadata": ["PerDay"]}, {"violations": [5, {"quotaId": 5}]}, 5], False),
    ],
)
@pytest.mark.parametrize("array", [False, True])
def test_a_limit_per_day_is_a_quota(details: list, quota: bool, array: bool) -> None:
    details = [*details, {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "3.257s"}]
    body: object = {"error": {"code": 429, "message": "You exceeded your current quota", "status": "RESOURCE_EXHAUSTED",
                              "details": details}}  # fmt: skip
    error = of(429, [body] if array else body)
    assert type(error) is (LLMQuotaError if quota else LLMRateLimitError)
    assert error.retry_after == 3.257
    assert type(failure_from_event("gemini", body)) is type(error)


# -- hints --


@pytest.mark.parametrize(
    ("message", "hinted"),
    [
        ("Function tools with reasoning_effort are not supported for gpt-5.6 in /v1/chat/completions. Please use /v1/responses instead.", True),
        ("Function tools are not supported with this model here; use /v1/responses.", True),
        ("tools cannot be used with reasoning_effort other than 'none'", True),
        ("reasoning_effort must be one of low, high", False),
        ("Unknown tool type", False),
    ],
)  # fmt: skip
def test_function_tools_of_gpt_5_6(message: str, hinted: bool) -> None:
    error = of(400, {"error": {"message": message, "type": "invalid_request_error"}})
    assert type(error) is LLMBadRequestError
    assert ("set it to 'none'" in error.message and "Responses wire" in error.message) == hinted


PAGE = b"<html><head><title>Not here</title></head></html>"


@pytest.mark.parametrize(
    ("dialect", "base_url", "status", "hinted"),
    [
        ("generic", "https://host.example", 404, True), ("generic", "https://host.example", 405, True),
        ("generic", "https://host.example/api", 404, True), ("vllm", "http://10.0.0.5:8000", 404, True),
        ("generic", "https://host.example/v1", 404, False), ("generic", "https://host.example/openai/v1", 404, False),
        ("generic", "https://host.example", 413, False), ("generic", "https://host.example", 400, False),
        ("generic", "https://host.example", 403, False), ("generic", "https://host.example", 502, False),
        ("openai", "https://api.openai.com/v1", 404, False), ("azure", "https://r.openai.azure.com", 404, False),
        ("gemini", "https://generativelanguage.googleapis.com/v1beta/openai", 404, False),
        ("deepseek", "https://api.deepseek.com", 404, False),
    ],
)  # fmt: skip
def test_v1_is_said_to_be_missing_only_where_it_may_be(dialect: str, base_url: str, status: int, hinted: bool) -> None:
    from sans_io.chat.messages import ChatRequest

    chat = ChatRequest(messages=({"role": "user", "content": "-"},), model="m", stream=False)
    operation = OpenAICodec(parse_base_url(base_url), DIALECTS[dialect]).operation(chat)
    assert ("/v1 missing" in operation.decode_error(status, (), PAGE).message) == hinted


@pytest.mark.parametrize("provider", ["ollama", "anthropic"])
@pytest.mark.parametrize(("status", "stream"), [(404, False), (200, False), (200, True)])
def test_v1_cannot_be_missing_on_wires_whose_paths_have_it(provider: str, status: int, stream: bool) -> None:
    with pytest.raises(LLMError) as caught:
        decode(provider, status, {"content-type": "text/html"}, [PAGE], stream=stream)
    assert "v1" not in caught.value.message
    assert "Not here" in caught.value.message


@pytest.mark.parametrize("provider", ["openai", "anthropic", "ollama"])
@pytest.mark.parametrize(("status", "data"), [(200, b""), (201, b""), (204, b""), (202, b"Accepted"), (203, b" \n")])
def test_the_status_that_is_told_is_the_one_that_came(provider: str, status: int, data: bytes) -> None:
    with pytest.raises(LLMProtocolError) as caught:
        decode(provider, status, {"content-type": "application/json"}, [data] if data else [], stream=False)
    assert f"answered {status} with" in caught.value.message
    assert caught.value.status_code == status


def test_what_is_left_open_to_codes_is_the_same_in_an_event() -> None:
    for status, kind in ((401, LLMAuthError), (404, LLMNotFoundError), (500, LLMServerError)):
        assert type(failure_from_event("p", {"error": {"message": "insufficient funds", "code": status}})) is kind


@pytest.mark.parametrize("code", ["invalid_prompt", "unsupported_value", "tool_use_failed", "json_validate_failed"])
@pytest.mark.parametrize("words", ["prompt is too long", "insufficient funds", "Invalid model name passed in model=m"])
def test_a_code_that_says_what_was_wrong_leaves_words_no_say(code: str, words: str) -> None:
    for body in ({"error": {"message": words, "code": code}}, {"error": {"message": words, "type": code}}):
        for error in (of(400, body), of(422, body), failure_from_event("p", body)):
            assert type(error) is LLMBadRequestError


def test_where_the_model_is_not_found_the_path_was_right() -> None:
    from sans_io.chat.messages import ChatRequest

    chat = ChatRequest(messages=({"role": "user", "content": "-"},), model="m", stream=False)
    operation = OpenAICodec(parse_base_url("https://host.example"), DIALECTS["generic"]).operation(chat)
    for error in (
        {"message": "no", "code": "model_not_found"},
        {"message": "no", "param": "model", "type": "NotFoundError"},
        {"message": "model 'm' not found"},
        {"message": "The model `m` does not exist."},
    ):
        assert operation.decode_error(404, (), json.dumps({"error": error}).encode()).message == error["message"]
    for body in (b'{"detail": "Not Found"}', PAGE, b"404 page not found", b"", b'{"error": "no /v1/models here"}'):
        assert operation.decode_error(404, (), body).message.count("is /v1 missing") == 1


@pytest.mark.parametrize("body", [PAGE, b"404 page not found", b""])
def test_a_path_that_is_not_found_is_no_model_to_be_pulled(body: bytes) -> None:
    from sans_io.chat.messages import ChatRequest

    chat = ChatRequest(messages=({"role": "user", "content": "-"},), model="m", stream=False)
    for place, lacks_v1 in (("http://gpu:11434", True), ("http://gpu:11434/v1", False)):
        message = (
            OpenAICodec(parse_base_url(place), DIALECTS["ollama"]).operation(chat).decode_error(404, (), body).message
        )
        assert ("pull" in message, "/v1 missing" in message) == (False, lacks_v1)
    assert (
        "pull"
        not in OllamaCodec(parse_base_url("http://gpu:11434")).operation(chat).decode_error(404, (), body).message
    )


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("model 'llama9' not found, try pulling it first", LLMNotFoundError),
        ("pull model manifest: file does not exist", LLMNotFoundError),
        ("the tool said 'model x not found'", LLMServerError),
        ('error parsing tool call: raw=\'{"a": "file does not exist"}\'', LLMServerError),
        ('bad answer "manifest unknown"', LLMServerError),
    ],
)
def test_what_ollama_does_not_have(message: str, kind: type) -> None:
    with pytest.raises(LLMError) as caught:
        decode(
            "ollama",
            200,
            {"content-type": "application/x-ndjson"},
            [json.dumps({"error": message}).encode() + b"\n"],
            stream=True,
        )
    assert type(caught.value) is kind


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (400, "prompt is too long: 5 tokens > 4 maximum", LLMContextLengthError), (400, "Your credit balance is too low", LLMQuotaError),
        (500, "prompt is too long: 5 tokens > 4 maximum", LLMContextLengthError), (500, "insufficient funds", LLMServerError),
        (400, "tool 'prompt is too long' has no name", LLMBadRequestError), (429, "prompt is too long", LLMRateLimitError),
        (429, "try again in 7s", LLMRateLimitError), (413, "rate limit reached; prompt is too long", LLMRateLimitError),
    ],
)  # fmt: skip
@pytest.mark.parametrize("how", ["text", "JSON", "Anthropic's JSON", "object"])
def test_a_router_s_upstream_is_heard_like_the_router(status: int, message: str, kind: type, how: str) -> None:
    raw: object = {"error": {"message": message}}
    if how == "Anthropic's JSON":
        raw = {"type": "error", "error": {"type": "invalid_request_error", "message": message}}
    raw = message if how == "text" else raw if how == "object" else json.dumps(raw)
    body = {"error": {"message": "Provider returned error", "code": status, "metadata": {"raw": raw}}}
    for error in (of(status, body), failure_from_event("openrouter", body)):
        assert type(error) is kind
        assert str(error) == f"Provider returned error ({message})"
        assert error.retry_after == (7 if "7s" in message else None)
        if isinstance(error, LLMContextLengthError):
            assert (error.limit, error.requested) == (4, 5)


def test_the_headers_that_a_router_repeats_in_its_body() -> None:
    fields = {"X-RateLimit-Limit": "20", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1795341607000", "Other": 5}
    body = {
        "error": {"message": "Rate limit exceeded: free-models-per-min", "code": 429, "metadata": {"headers": fields}}
    }
    error = of(429, body, (("date", "Sun, 22 Nov 2026 10:00:00 GMT"),))
    assert error.rate_limits == {("requests", ""): RateLimitState(20, 0, 7)}
    assert error.retry_after == 7
    assert of(429, body, (("retry-after", "1"),)).retry_after == 1
    inside = failure_from_event("openrouter", body)
    assert (type(inside), inside.status_code, inside.retry_after) == (LLMRateLimitError, 429, None), "there is no date"
    assert inside.rate_limits == {("requests", ""): RateLimitState(20, 0)}
    body["error"]["metadata"]["headers"]["Retry-After"] = "3"  # type: ignore[index]
    assert failure_from_event("openrouter", body).retry_after == 3
