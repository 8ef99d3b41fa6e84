"""What is read from where in the body of a failure, and what is shown of one that is no JSON."""

from __future__ import annotations

import json

import pytest

from sans_io.errors import (
    LLMAuthError,
    LLMContentFilterError,
    LLMContextLengthError,
    LLMNotFoundError,
    LLMRateLimitError,
)
from sans_io.providers.failures import FailureRules, decode_failure, failure_from_event, not_json
from tests.providers.test_failures import HEADERS, failed


def test_complaints_about_several_fields_are_all_told() -> None:
    detail = [{"loc": ["body", "n"], "msg": "too large"}, {"loc": ["body", "stop"], "msg": "no list"}, "x"]
    assert failed(422, {"detail": detail}).message == "body.n: too large; body.stop: no list"


def test_of_a_long_list_of_complaints_the_first_ten_are_told() -> None:
    detail = [{"loc": list(range(20)), "msg": f"m{number}"} for number in range(30)]
    message = failed(422, {"detail": detail}).message
    assert message.count(";") == 9
    assert message.startswith("0.1.2.3.4.5.6.7.8.9: m0; ")


@pytest.mark.parametrize(
    ("value", "code"),
    [(2**63 - 1, str(2**63 - 1)), (2**63, None), (-(2**63), None), (0, "0"), (True, None), (1.5, None), ("", None)],
)
def test_a_code_may_be_a_number_of_64_bits(value: object, code: str | None) -> None:
    assert failed(400, {"error": {"message": "m", "code": value}}).code == code


@pytest.mark.parametrize("value", [503, "503"])
@pytest.mark.parametrize("key", ["code", "status"])
def test_inside_a_2xx_a_status_may_stand_in_the_error(key: str, value: object) -> None:
    expected = None if (key, value) == ("status", "503") else 503
    assert failure_from_event("p", {"error": {"message": "m", key: value}}).status_code == expected


@pytest.mark.parametrize("code", [399, 600, "0503", "50", True, "٥٠٣"])
def test_what_is_no_status_of_a_failure_is_none(code: object) -> None:
    assert failure_from_event("p", {"error": {"message": "m", "code": code}}).status_code is None


@pytest.mark.parametrize(("status", "known"), [(400, True), (599, True), (399, False), (600, False)])
def test_statuses_of_failures_are_400_to_599(status: int, known: bool) -> None:
    assert failure_from_event("p", {"error": {"message": "m", "code": status}}).status_code == (
        status if known else None
    )


@pytest.mark.parametrize(
    ("sent", "limit", "requested"),
    [
        ({"n_ctx": 8, "n_prompt_tokens": 9}, 8, 9),
        ({"n_ctx": 8}, 8, None),
        ({"n_prompt_tokens": 9}, None, 9),
        ({"n_ctx": 0, "n_prompt_tokens": 2**63 - 1}, 0, 2**63 - 1),
        ({"n_ctx": -1, "n_prompt_tokens": 2**63}, None, None),
    ],
)
def test_llama_cpp_gives_either_number_or_both(sent: dict, limit: int | None, requested: int | None) -> None:
    error = failed(400, {"error": {"message": "m", "type": "exceed_context_size_error", **sent}})
    assert isinstance(error, LLMContextLengthError)
    assert (error.limit, error.requested) == (limit, requested)


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "m", "innererror": {"code": "ResponsibleAIPolicyViolation"}}},
        {"error": {"message": "m", "details": [5, {"reason": "CONTENT_FILTER"}]}},
        {"error": {"message": "m", "details": {"error_code": "content_filter"}}},
        {"error": {"message": "m", "metadata": {"flagged_input": "x"}}},
        {"error": {"message": "m", "metadata": {"reasons": ["violence"]}}},
        {"error": {"message": "m", "metadata": {"raw": '{"code": "Content_Filter", "message": "m"}'}}},
        {"error": "content_filter", "message": "m"},
        {"status": "content_filter", "message": "m"},
        {"type": "content_filter", "message": "m"},
        {"error": {"error": {"message": "m", "type": "content_filter"}}},
    ],
)
def test_a_refusal_of_the_filter_is_found_wherever_it_is_said(body: dict) -> None:
    error = failed(400, body)
    assert type(error) is LLMContentFilterError
    assert error.code == "content_filter"
    assert error.message == "m"


def test_the_innermost_of_two_messages_wins_and_a_title_does_not() -> None:
    assert failed(400, {"message": "outer", "error": {"message": "inner"}}).message == "inner"
    assert failed(400, {"message": "what happened", "error": "Bad Request"}).message == "what happened"
    assert failed(400, {"detail": "d", "title": "t"}).message == "d"
    assert failed(400, {"title": "t"}).message == "t"
    assert failed(400, {"message": "m", "errors": [{"message": "not asked"}]}).message == "m"
    assert failed(400, {"errors": ["a", "b"]}).message == "a"


@pytest.mark.parametrize(("depth", "shown"), [(6, "deep"), (7, None)])
def test_six_layers_are_opened(depth: int, shown: str | None) -> None:
    body: dict = {"message": "deep"}
    for _ in range(depth - 1):
        body = {"error": body}
    assert (failed(400, body).message == "deep") == (shown is not None)


@pytest.mark.parametrize(
    ("wait", "expected"), [(0, 0.0), (999_999_999, 999_999_999.0), (1e9, None), (True, None), ("5", None)]
)
@pytest.mark.parametrize("key", ["retry_after", "retry_after_seconds"])
def test_a_wait_in_the_body_is_a_number_of_seconds(key: str, wait: object, expected: float | None) -> None:
    assert failed(429, {"error": {"message": "m", key: wait}}).retry_after == expected


@pytest.mark.parametrize("key", ["request_id", "requestId"])
def test_a_request_id_in_the_body_serves_where_no_field_has_one(key: str) -> None:
    assert (
        decode_failure(
            provider="p", status=400, headers=(), body=json.dumps({key: "r", "message": "m"}).encode()
        ).request_id
        == "r"
    )


@pytest.mark.parametrize("code", ["model_decommissioned", "model_deprecated", "model_retired"])
def test_a_model_that_was_retired_is_said_to_be(code: str) -> None:
    assert (
        failed(400, {"error": {"message": "no", "code": code}}).message == "no (this model was retired: choose another)"
    )


@pytest.mark.parametrize(("size", "shown"), [(2000, True), (2001, False)])
def test_a_body_of_plain_text_is_the_message_if_it_is_short(size: int, shown: bool) -> None:
    error = failed(500, b"x" * size)
    assert error.message.startswith("xxx" if shown else "test answered HTTP 500 with text that is not JSON: xxx")
    assert error.body == ("x" * size if shown else "x" * 1999 + "…")


def test_a_redirect_shows_the_target_up_to_its_query_or_fragment() -> None:
    for target in ("https://h.example/v1?a?b#c", "https://h.example/v1#a?b#c", "https://h.example/v1"):
        error = failed(307, headers=(*HEADERS, ("location", target)))
        assert error.message == (
            "test answered with a redirect to https://h.example/v1; redirects are not followed (correct base_url)"
        )
        assert (error.status_code, error.code) == (307, "redirect")


@pytest.mark.parametrize(
    "start", ["<!DOCTYPE html>", "<html>", "<head>", "<body>", "<?xml ?>", "<!-- -->", "<center>", "<h1>", "<title>"]
)
@pytest.mark.parametrize("before", ["", "\ufeff", "\r\n\t "])
def test_what_a_web_page_begins_with(before: str, start: str) -> None:
    for beginning in (start, start.upper()):
        error = not_json("p", 200, (), f"{before}{beginning}Sorry".encode())
        assert error.code == "html_body"
        assert error.message.startswith(
            "p answered 200 with a web page instead of JSON (is /v1 missing from base_url?): "
        )
        assert error.message.endswith("Sorry")


def test_what_is_no_page_and_no_json() -> None:
    error = not_json("p", 200, (("x-request-id", "r"),), b"<3 you", model="m", wanted="NDJSON")
    assert error.message == "p answered 200 with text that is not NDJSON: <3 you"
    assert (error.code, error.status_code, error.request_id, error.provider, error.model, error.body) == (
        "not_json", 200, "r", "p", "m", "<3 you",
    )  # fmt: skip
    empty = not_json("p", 204, (), b" \n")
    assert (empty.message, empty.code, empty.body) == (
        "p answered 204 with an empty body instead of JSON",
        "empty_body",
        None,
    )


def test_a_retired_model_is_named_with_its_date_whatever_the_status_says() -> None:
    rules = FailureRules(retired={"m": "2026-10-23"})
    for status in (400, 404):
        assert failed(status, {"error": "no"}, rules=rules).message == "no (m was switched off on 2026-10-23)"
    assert failed(500, {"error": "no"}, rules=rules).message == "no"
    assert failed(404, {"error": "no"}, rules=rules, model="m").message.startswith("no (m was")


def test_json_that_says_nothing_is_told_from_text() -> None:
    assert failed(500, {"a": 1}).message == 'test answered HTTP 500: {"a": 1}'
    assert failed(500, b"{" * 3000).message.startswith("test answered HTTP 500 with text that is not JSON: {{{")


@pytest.mark.parametrize(
    ("inner", "message"),
    [
        ('["a"]', "a"),
        ('{"message": "a"}', "a"),
        ("[1]", "[1]"),
        ("{}", "{}"),
        (' {"message": "a"}', ' {"message": "a"}'.strip()),
        ('"a"', '"a"'),
    ],
)
def test_json_inside_a_message_is_read(inner: str, message: str) -> None:
    assert failed(400, {"error": {"message": inner}}).message == message


@pytest.mark.parametrize(("texts", "opened"), [(1, True), (3, True), (4, False)])
def test_json_in_text_in_json_is_opened_three_times(texts: int, opened: bool) -> None:
    """A gateway quotes a gateway that quotes a server; what goes on for longer is shown as it came."""
    text = "deep"
    for _ in range(texts):
        text = json.dumps({"error": text})
    assert (failed(400, {"message": text}).message == "deep") == opened


@pytest.mark.parametrize(
    ("status", "kind"), [(400, LLMRateLimitError), (403, LLMRateLimitError), (404, LLMNotFoundError)]
)
def test_a_rate_limit_in_words_counts_where_the_status_may_mean_anything(status: int, kind: type) -> None:
    assert type(failed(status, {"error": {"message": "m", "code": "rate_limit_exceeded"}})) is kind


def test_a_prompt_that_is_too_long_is_never_forbidden() -> None:
    body = {"error": {"message": "m", "code": "context_length_exceeded"}}
    assert type(failed(400, body)) is LLMContextLengthError
    assert type(failed(403, body)) is LLMAuthError


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        ("content_policy_violation", "content_policy_violation"),
        ("Moderation_Blocked", "Moderation_Blocked"),
        ("5", "content_filter"),
    ],
)
def test_a_provider_s_own_code_is_kept_where_it_says_the_same(code: str, shown: str) -> None:
    body = {"error": {"message": "m", "code": code, "metadata": {"flagged_input": "x"}}}
    assert failed(400, body).code == shown


def test_the_type_of_an_error_goes_before_its_status() -> None:
    assert failed(400, {"error": {"message": "m", "type": "t", "status": "S"}}).error_type == "t"
    assert failed(400, {"error": {"message": "m", "status": "S"}}).error_type == "S"
    assert failed(400, {"error": {"message": "m", "type": "error"}}).error_type is None
    assert failed(400, {"type": "t", "error": {"message": "m"}}).error_type == "t"


def test_of_several_errors_the_first_that_says_something_is_read() -> None:
    assert failed(400, {"errors": [None, 5, {}, "", {"message": "a"}, {"message": "b"}]}).message == "a"
    assert failed(400, {"errors": [None] * 9 + ["ten"]}).message == "ten"
    assert failed(400, {"errors": [None] * 10 + ["eleven"]}).message != "eleven"
