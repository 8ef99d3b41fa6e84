"""An `Exchange`'s content: from the first byte of a body to what it is taken for, without a call around it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from sans_io.calls.actions import Deliver, Release
from sans_io.calls.call import Call
from sans_io.calls.exchange import Exchange
from sans_io.chat.events import Finished, TextDelta, ToolCallCompleted
from sans_io.chat.messages import ChatRequest
from sans_io.errors import LLMError, LLMProtocolError
from sans_io.http.heads import ResponseHead, media_type
from sans_io.http.urls import parse_base_url
from sans_io.limits import DEFAULT_LIMITS, Limits
from sans_io.policy.deadline import Timers
from sans_io.providers.base import Headers, Operation
from sans_io.providers.openai_chat.codec import OpenAICodec
from sans_io.providers.registry import DIALECTS
from tests.calls.kit import ROUTE, operation
from tests.calls.kit import reply as as_reply
from tests.calls.test_call import finish, text_of, to_receive
from tests.providers.openai.kit import DONE, body, chunk, sse, text

JSON, SSE, NDJSON = "application/json", "text/event-stream", "application/x-ndjson"


def openai(base_url: str = "http://localhost/v1", *, stream: bool = True) -> Operation:
    chat = ChatRequest(messages=({"role": "user", "content": "-"},), model="m", stream=stream)
    return OpenAICodec(parse_base_url(base_url), DIALECTS["generic"]).operation(chat)


def reply(
    content_type: str | None = SSE, status: int = 200, *, stream: bool = True, limits: Limits = DEFAULT_LIMITS
) -> Exchange:
    headers = () if content_type is None else (("server", "x"), ("content-type", content_type))
    return reply_to(openai(stream=stream), status, headers, limits)


def reply_to(asked: Operation, status: int, headers: Headers, limits: Limits = DEFAULT_LIMITS) -> Exchange:
    made = Exchange(asked, limits)
    made.begin(ResponseHead(status, headers), media_type(headers))
    return made


def failed(made: Exchange) -> LLMError:
    assert made.done
    assert not made.complete
    assert not made.finishing
    assert made.error is not None
    assert (made.receive_body(b"more"), made.end_body()) == ([], []), "errors are sticky"
    return made.error


STREAM = sse(text("Hi"), chunk({}, "stop"))
WHOLE = json.dumps(body()).encode()


# ---- what a body is taken for ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [b"", b"\xef\xbb\xbf", b" \t\r\n", b"\n" * 5000])
@pytest.mark.parametrize(
    "content_type",
    [None, "", SSE, "Text/Event-Stream ; charset=utf-8", NDJSON, "application/ndjson", "application/jsonl", JSON,
     "text/plain", "application/octet-stream", "application/stream+json"],
)  # fmt: skip
def test_a_stream_is_one_by_its_bytes_under_any_of_these_types(content_type: str | None, before: bytes) -> None:
    made = reply(content_type)
    events = [event for place in before for event in made.receive_body(bytes([place]))]
    events += made.receive_body(STREAM)
    assert events[0] == TextDelta("Hi")
    assert made.done
    assert made.complete
    assert made.error is None
    response = made.response()
    assert response is not None
    assert response.content == "Hi"


@pytest.mark.parametrize(
    "content_type", [None, JSON, "text/plain", "application/octet-stream", "text/json", "application/problem+json; a=b"]
)
def test_a_whole_reply_is_one_under_any_of_these_types(content_type: str | None) -> None:
    made = reply(content_type, stream=False)
    made.receive_body(WHOLE)
    assert not made.done, "only the end of the body tells"
    assert made.end_body() == []
    assert made.done
    assert made.complete
    response = made.response()
    assert response is not None
    assert response.content == "Hi"


@pytest.mark.parametrize("start", [b"<", b" \n<html>"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_page_is_no_reply_whatever_it_is_called(start: bytes, stream: bool) -> None:
    made = reply(SSE if stream else JSON, stream=stream)
    made.receive_body(start)
    made.receive_body(b"Sorry")
    assert not made.done, "the rest says what it is"
    assert made.response() is None
    made.end_body()
    error = failed(made)
    assert made.condition == "wrong_type"
    assert error.code == "wrong_content_type"


@pytest.mark.parametrize("data", [b'{"a": 1}', b'[{"a": 1}]', b'\n{"a": 1}', b"[]"])
def test_json_where_a_stream_was_asked_for_is_no_stream(data: bytes) -> None:
    made = reply()
    made.receive_body(data)
    made.end_body()
    assert failed(made).code == "wrong_content_type"


# ---- what is said of another type ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "words"),
    [("json", "expected JSON,"), ("sse", "expected an event stream,"), ("ndjson", "expected NDJSON,")],
)
def test_what_was_expected_and_what_came_instead(form: str, words: str) -> None:
    made = reply_to(replace(operation(), form=form), 201, (("content-type", "image/png; q=1"),))  # type: ignore[arg-type]
    made.receive_body(b"\x89PNG" + b"x" * 300)
    made.end_body()
    error = failed(made)
    assert error.message.startswith(words)
    assert "got 'image/png': '\ufffdPNGxxx" in error.message
    assert error.message.endswith("x…'.")
    assert len(error.message) < 260
    assert error.status_code == 201
    assert isinstance(error, LLMProtocolError)


@pytest.mark.parametrize(
    ("content_type", "data", "hinted"),
    [
        ("text/html", b"Sorry", True),
        (None, b"<p>Sorry", True),
        ("image/png", b" \n<svg>", True),
        ("image/png", b"x", False),
    ],
)
def test_a_page_makes_one_think_of_the_address(content_type: str | None, data: bytes, hinted: bool) -> None:
    headers = () if content_type is None else (("content-type", content_type),)
    for base_url, hint in (
        ("http://localhost", " Is `/v1` missing from base_url, or is a proxy in between?"),
        ("http://localhost/v1", " Is a proxy in between?"),
    ):
        made = reply_to(openai(base_url, stream=False), 200, headers)
        made.receive_body(data)
        made.end_body()
        message = failed(made).message
        assert message.endswith(hint) == hinted
        assert ("got 'no content type'" in message) == (content_type is None)


@pytest.mark.parametrize(
    "data",
    [b'{"error": {"message": "m"}}', b'{"detail": "m"}', b'{"object": "error", "message": "m"}', b'[{"error": "m"}]'],
)
@pytest.mark.parametrize("content_type", [SSE, "image/png"])
def test_an_error_is_one_whatever_its_type_says(content_type: str, data: bytes) -> None:
    made = reply(content_type)
    made.receive_body(data[:5])
    made.receive_body(data[5:])
    made.end_body()
    assert failed(made).message == "m"
    assert made.condition == "event"


@pytest.mark.parametrize(
    "data", [b"[]", b"{}", b'"error"', b'{"error": null}', b'{"object": "list"}', b'["error"]', b"{"]
)
def test_what_is_no_error_is_only_of_another_type(data: bytes) -> None:
    made = reply("image/png")
    made.receive_body(data)
    made.end_body()
    failed(made)
    assert made.condition == "wrong_type"


# ---- failures --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [199, 400, 404, 599])
def test_a_failure_is_read_to_its_end(status: int) -> None:
    made = reply(JSON, status)
    made.receive_body(b'{"error": {"mess')
    assert not made.done
    made.receive_body(b'age": "m"}}')
    assert made.end_body() == []
    error = failed(made)
    assert (error.message, error.status_code, made.condition) == ("m", status, "status")
    assert made.response() is None


@pytest.mark.parametrize(("excess", "done"), [(-1, False), (0, False), (1, True)])
def test_a_failure_that_is_too_long_is_decoded_as_far_as_it_is_kept(excess: int, done: bool) -> None:
    limits = replace(DEFAULT_LIMITS, max_error_body=100)
    made = reply("text/plain", 500, limits=limits)
    made.receive_body(b"x" * 60)
    made.receive_body(b"x" * (40 + excess))
    assert made.done == done
    made.end_body()
    dropped = " (the rest of its body was dropped; see Limits.max_error_body)"
    assert failed(made).message == "x" * (99 if excess < 0 else 100) + (dropped if excess > 0 else "")


@pytest.mark.parametrize(("status", "redirect"), [(300, True), (308, True), (399, True), (299, False), (400, False)])
def test_a_redirect_is_one_before_its_body(status: int, redirect: bool) -> None:
    made = reply(SSE, status)
    assert made.done == redirect
    if redirect:
        assert failed(made).code == "redirect"
        assert made.condition == "redirect"
        assert f"the server answered {status}, a redirect;" in failed(made).message


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("https://u:p@h.example/v1?k=s#f", "'https://h.example/v1'"),
        ("https://h.example#f?k", "'https://h.example'"),
        ("https://u:p@h.example", "'https://h.example'"),
        ("/v2@x?k=s", "'/v2@x'"),
    ],
)
def test_where_a_redirect_leads_is_said_without_secrets(location: str, shown: str) -> None:
    error = failed(reply_to(openai(), 307, (("x", "y"), ("location", location), ("location", "https://other"))))
    assert f"a redirect to {shown};" in error.message
    assert error.status_code == 307


# ---- conditions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "condition"),
    [
        (b'data: {"error": {"message": "m"}}\n\n', "event"),
        (b"data: {broken\n\n", "garbled"),
        (b'data: {"choices": 5}\n\n', "garbled"),
        (sse(text("Hi"), done=False), "truncated"),
        (b"", "truncated"),
        (b"data: " + b"x" * DEFAULT_LIMITS.max_sse_line, "oversize"),
        (sse(chunk({"tool_calls": [{"index": 999, "id": "c", "function": {"name": "f"}}]})), "oversize"),
    ],
)
def test_how_a_stream_failed_is_named_for_the_retry_table(data: bytes, condition: str) -> None:
    made = reply()
    made.receive_body(data)
    made.end_body()
    failed(made)
    assert made.condition == condition


@pytest.mark.parametrize(("data", "condition"), [(b"[1", "garbled"), (b"", "garbled"), (b'{"error": "m"}', "event")])
def test_how_a_whole_reply_failed(data: bytes, condition: str) -> None:
    made = reply(JSON, stream=False)
    made.receive_body(data)
    made.end_body()
    failed(made)
    assert made.condition == condition


@pytest.mark.parametrize("first", [0, 1, 50])
def test_a_stream_has_a_largest_size_whatever_the_pieces(first: int) -> None:
    data = sse(*[text("Hi")] * 9, done=False)
    for size, oversize in ((len(data), False), (len(data) - 1, True)):
        made = reply(limits=replace(DEFAULT_LIMITS, max_stream=size))
        events = made.receive_body(data[:first]) + made.receive_body(data[first:])
        assert (made.condition == "oversize") == oversize
        assert len(events) == (0 if oversize and first < 50 else len(events))
        if oversize:
            assert failed(made).message == f"the reply is larger than Limits.max_stream ({size} bytes)"
            assert failed(made).code == "too_large"


def test_a_reply_that_says_how_it_ends_is_finishing_then_done() -> None:
    made = reply()
    assert not made.finishing
    made.receive_body(sse(text("Hi"), done=False))
    assert (made.finishing, made.complete, made.done) == (False, False, False)
    made.receive_body(sse(chunk({}, "stop"), done=False))
    assert (made.finishing, made.complete, made.done) == (True, True, False)
    made.receive_body(DONE)
    assert (made.complete, made.done) == (True, True)
    assert made.end_body() == []
    assert made.error is None


def test_what_a_finish_reason_promised_is_delivered_when_nothing_more_comes() -> None:
    """Through a call: the server said how the answer ends, then neither `[DONE]` nor the end of the body."""
    call = Call(openai(), ROUTE, Timers(total=None), now=0.0, stream=True)
    to_receive(call)
    fragment = {"index": 0, "id": "c1", "function": {"name": "f", "arguments": "{}"}}
    wire = sse(text("Hi"), chunk({"tool_calls": [fragment]}), chunk({}, "tool_calls"), done=False)
    call.on_data(as_reply(wire, framing="close"), 1.0)
    assert text_of(call, 1.0) == "Hi"
    call.on_error("timeout", 6.0)
    action = call.next_action(6.0)
    assert isinstance(action, Deliver)
    assert [type(event) for event in action.events] == [ToolCallCompleted, Finished]
    call.on_delivered(6.0)
    assert finish(call, 6.0) == Release(False)
    assert call.response is not None
    assert [made.name for made in call.response.tool_calls] == ["f"]
