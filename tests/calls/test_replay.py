"""`decode` where there is nothing to decode, or nobody to do it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from sans_io.calls.replay import decode
from sans_io.errors import LLMBadRequestError, LLMNotFoundError, LLMProtocolError, LLMServerError, LLMStreamError
from sans_io.limits import DEFAULT_LIMITS
from sans_io.providers.registry import DIALECTS
from tests.providers.openai.kit import body, chunk, sse, text


def test_an_unknown_provider_is_named_with_those_that_are_known() -> None:
    with pytest.raises(LLMBadRequestError, match="unknown provider 'openia'; known: openai, anthropic, .*ollama"):
        decode("openia", 200, {}, [b"{}"], stream=False)  # type: ignore[arg-type]


@pytest.mark.parametrize("provider", ["openai", "anthropic", "ollama"])
@pytest.mark.parametrize(("stream", "error"), [(True, LLMStreamError), (False, LLMProtocolError)])
def test_an_empty_reply_is_an_error_with_its_status(provider: str, stream: bool, error: type[Exception]) -> None:
    with pytest.raises((LLMStreamError, LLMProtocolError)) as caught:
        decode(provider, 200, {}, [], stream=stream)
    assert isinstance(caught.value, error)
    assert caught.value.status_code == 200
    assert caught.value.provider == provider


@pytest.mark.parametrize("provider", DIALECTS)
def test_a_refusal_is_that_of_the_provider_that_was_asked_for(provider: str) -> None:
    with pytest.raises(LLMNotFoundError) as caught:
        decode(provider, 404, {}, [b'{"error": {"message": "no such model"}}'], stream=False)
    assert caught.value.provider == provider


def test_nothing_is_read_once_the_reply_is_whole() -> None:
    """The chunks may come from something that waits."""

    def chunks() -> Iterator[bytes]:
        yield sse(text("Hi"), chunk({}, "stop"))
        raise AssertionError("read on")

    assert decode("openai", 200, {}, chunks(), stream=True).content == "Hi"


def test_an_error_says_who_what_and_which_and_holds_what_had_come() -> None:
    wire = b'{"message": {"content": "Hi"}, "done": false}\n{"error": "m"}\n'
    with pytest.raises(LLMServerError) as caught:
        decode("ollama", 200, [("X-Request-Id", "r-1")], [wire[:9], b"", bytearray(wire[9:])], stream=True)
    error = caught.value
    assert (error.message, error.provider, error.status_code, error.request_id) == ("m", "ollama", 200, "r-1")
    assert error.partial is not None
    assert error.partial.content == "Hi"


def test_an_error_keeps_its_own_status_and_request_id() -> None:
    wire = sse({"error": {"message": "m", "code": 502, "request_id": "r-body"}})
    with pytest.raises(LLMServerError) as caught:
        decode("openai", 200, {"x-request-id": "r-head"}, [wire], stream=True)
    assert caught.value.status_code == 502
    with pytest.raises(LLMServerError) as caught:
        decode("openai", 503, {}, [b'{"message": "m", "request_id": "r-body"}'], stream=False)
    assert (caught.value.status_code, caught.value.request_id) == (503, "r-body")


def test_a_cut_stream_that_gave_nothing_has_an_empty_part_and_a_whole_reply_none() -> None:
    with pytest.raises(LLMStreamError) as cut:
        decode("anthropic", 200, {}, [b": ping\n\n"], stream=True)
    assert cut.value.code == "truncated"
    assert cut.value.partial is not None
    with pytest.raises(LLMProtocolError) as empty:
        decode("anthropic", 200, {}, [], stream=False)
    assert empty.value.partial is None


def test_a_page_is_an_error_before_anything_is_decoded() -> None:
    with pytest.raises(LLMProtocolError) as caught:
        decode("ollama", 200, {"Content-Type": "text/html"}, [b"<html>"], stream=True)
    assert (caught.value.code, caught.value.status_code, caught.value.partial) == ("wrong_content_type", 200, None)


def test_what_the_head_says_is_in_the_response() -> None:
    fields = [("X-Request-Id", "r-1"), ("X-RateLimit-Limit-Requests", "5")]
    response = decode("openai", 200, fields, [json.dumps(body()).encode()], stream=False)
    assert response.headers == {"x-request-id": "r-1", "x-ratelimit-limit-requests": "5"}
    assert (response.request_id, response.rate_limit) == ("r-1", {"limit-requests": 5})


def test_limits_hold_here_too() -> None:
    with pytest.raises(LLMProtocolError, match=r"larger than Limits.max_json \(10 bytes\)"):
        decode("openai", 200, {}, [b'{"a": "bcd"}'], stream=False, limits=replace(DEFAULT_LIMITS, max_json=10))


@pytest.mark.parametrize("provider", ["openai", "anthropic", "ollama"])
def test_every_wire_keeps_to_the_limits(provider: str) -> None:
    limits = replace(DEFAULT_LIMITS, max_sse_line=10, max_ndjson_line=10)
    with pytest.raises(LLMProtocolError, match="more than 10 bytes"):
        decode(
            provider,
            200,
            {},
            [b'{"a": "bcdef"}\n' if provider == "ollama" else b"data: 12345"],
            stream=True,
            limits=limits,
        )
