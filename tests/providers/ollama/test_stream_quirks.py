"""One hand-written sample for each thing that Ollama's servers do, old and new."""

from __future__ import annotations

import json

import pytest

from sans_io.chat.events import PullProgress, ReasoningDelta, TextDelta, ToolCallStarted, UsageReported
from sans_io.chat.response import Usage
from sans_io.errors import LLMBadRequestError, LLMNotFoundError, LLMServerError, LLMStreamError
from sans_io.limits import Limits
from sans_io.policy.retry import FATAL, THROTTLED, TRANSIENT
from sans_io.providers.ollama.codec import RETRY_TABLE
from sans_io.providers.ollama.reply import (
    ChatStreamReader,
    OllamaModelsReader,
    PullReader,
    VersionReader,
    WholeChatReader,
)
from tests.providers.ollama.kit import END, TIME, call, last, line, stream, whole
from tests.providers.reading import read


def test_a_plain_stream() -> None:
    reading = stream(line("Hel"), line("lo"), line(""), last())
    assert reading.events[:2] == [TextDelta("Hel"), TextDelta("lo")]
    response = reading.response
    assert (response.content, response.model, response.finish_reason, response.raw_finish_reason) == (
        "Hello",
        "qwen2.5:3b",
        "stop",
        "stop",
    )
    assert (response.input_tokens, response.output_tokens) == (11, 7)
    assert response.message == {"role": "assistant", "content": "Hello"}
    assert response.raw == {
        "model": "qwen2.5:3b",
        "created_at": TIME,
        "message": {"role": "assistant", "content": "Hello"},
        "done": True,
        "done_reason": "stop",
        **END,
    }


def test_every_line_is_content_or_a_keepalive() -> None:
    reader = ChatStreamReader("m")
    reader.receive_data(line("a") + line("b") + b"\n" + line(""))
    assert (reader.content_events, reader.keepalives, reader.finishing, reader.complete) == (2, 2, False, False)
    reader.receive_data(last())
    assert reader.complete


def test_blank_lines_are_skipped() -> None:
    assert stream(b"\n", line("a"), b"\n\r\n", line("b"), last(), b"\n").text == "ab"


def test_content_in_the_done_line() -> None:
    assert stream(line("a"), last("b")).response.content == "ab"
    assert stream(last("only")).response.content == "only"


def test_the_done_line_without_its_newline() -> None:
    assert stream(line("a"), last()[:-1]).ended
    assert stream(line("a"), last()[:-2]).error is not None


def test_thinking_with_empty_content() -> None:
    reading = stream(line(message_thinking="Hm"), line(message_thinking="m."), line("4"), last())
    assert reading.events[:3] == [ReasoningDelta("Hm"), ReasoningDelta("m."), TextDelta("4")]
    assert (reading.response.reasoning, reading.response.content) == ("Hmm.", "4")
    assert reading.response.raw["message"] == {"role": "assistant", "content": "4", "thinking": "Hmm."}
    assert reading.response.message == {"role": "assistant", "content": "4", "thinking": "Hmm."}


def test_thinking_and_content_in_one_line() -> None:
    reading = stream(line("4", message_thinking="Hm"), last())
    assert reading.events[:2] == [ReasoningDelta("Hm"), TextDelta("4")]


def test_tool_calls_before_the_done_line_over_several_lines() -> None:
    reading = stream(
        line(message_tool_calls=[call("a", {"x": 1})]), line("and"), line(message_tool_calls=[call("b", {})]), last()
    )
    assert [(c.id, c.name, c.arguments) for c in reading.response.tool_calls] == [
        ("call_0", "a", {"x": 1}),
        ("call_1", "b", {}),
    ]
    # The wire says "stop" after tool calls too.
    assert (reading.response.finish_reason, reading.response.raw_finish_reason) == ("tool_calls", "stop")
    assert [e.id for e in reading.events if isinstance(e, ToolCallStarted)] == ["call_0", "call_1"]
    assert reading.response.raw["message"]["tool_calls"] == [call("a", {"x": 1}), call("b", {})]


def test_tool_calls_in_the_done_line() -> None:
    assert stream(last(message_tool_calls=[call("a", {"x": 1})])).response.tool_calls[0].arguments == {"x": 1}


def test_ids_of_newer_servers_are_kept() -> None:
    reading = stream(
        line(
            message_tool_calls=[
                call("a", {}, id="call_2k7r"),
                {"id": "call_9", "function": {"index": 1, "name": "b", "arguments": {}}},
            ]
        ),
        last(),
    )
    assert [c.id for c in reading.response.tool_calls] == ["call_2k7r", "call_9"]


def test_made_up_ids_are_new_in_the_conversation() -> None:
    taken = frozenset({"call_0", "call_2", "call_2k7r"})
    reading = stream(line(message_tool_calls=[call("a", {}), call("b", {})]), last(), taken=taken)
    ids = [c.id for c in reading.response.tool_calls]
    assert len(set(ids)) == 2
    assert taken.isdisjoint(ids)


def test_an_id_given_twice_is_given_once() -> None:
    reading = stream(
        line(message_tool_calls=[call("a", {"x": 1}, id="call_1"), call("a", {"x": 2}, id="call_1")]), last()
    )
    assert [c.arguments for c in reading.response.tool_calls] == [{"x": 1}, {"x": 2}]
    assert len({c.id for c in reading.response.tool_calls}) == 2


@pytest.mark.parametrize(
    ("arguments", "parsed"),
    [({}, {}), (None, {}), ("", {}), ('{"x": 1}', {"x": 1}), ({"x": {"y": [1]}}, {"x": {"y": [1]}})],
)
def test_arguments_in_their_forms(arguments: object, parsed: dict) -> None:
    assert stream(line(message_tool_calls=[call("a", arguments)]), last()).response.tool_calls[0].arguments == parsed


def test_arguments_that_are_no_object() -> None:
    response = stream(
        line(message_tool_calls=[call("a", [1]), call("b", "{oops"), {"function": None}, None]), last()
    ).response
    assert response.tool_calls == []
    assert len(response.invalid_tool_calls) == 3
    assert response.finish_reason == "stop"


@pytest.mark.parametrize(
    ("reason", "normal", "raw"),
    [
        ("stop", "stop", "stop"),
        ("length", "length", "length"),
        ("load", "other", "load"),
        ("unload", "other", "unload"),
        ("", "stop", None),
        ("new", "other", "new"),
    ],
)
def test_done_reasons(reason: str, normal: str, raw: str | None) -> None:
    response = stream(line("x"), last(reason=reason)).response
    assert (response.finish_reason, response.raw_finish_reason) == (normal, raw)


def test_no_done_reason_at_all() -> None:
    response = stream(line("x", done=True)).response
    assert (response.finish_reason, response.raw_finish_reason) == ("stop", None)
    assert response.usage.input_tokens is None
    assert (response.input_tokens, response.output_tokens) == (0, 0)


def test_counters_that_are_missing_or_odd() -> None:
    assert stream(last(prompt_eval_count=-1, eval_count=3)).response.usage.output_tokens == 3
    assert stream(last(prompt_eval_count=-1, eval_count=3)).response.usage.input_tokens is None
    assert not any(isinstance(e, UsageReported) for e in stream(line("x", done=True)).events)


def test_log_probabilities_are_gathered() -> None:
    first, second = {"token": "a", "logprob": -0.1}, {"token": "b", "logprob": -0.2}
    assert stream(line("a", logprobs=[first]), line("b", logprobs=[second]), last()).response.raw["logprobs"] == [
        first,
        second,
    ]


def test_lines_that_are_no_objects_are_passed_over() -> None:
    assert stream(b"null\n", b"[1]\n", line("a"), b"7\n", last()).text == "a"


def test_a_line_without_a_message() -> None:
    assert stream(line("a"), b'{"model":"m","created_at":"t","message":null,"done":false}\n', last()).text == "a"


def test_the_generate_endpoint() -> None:
    reading = stream(
        b'{"model":"m","created_at":"t","response":"Hel","done":false}\n',
        b'{"model":"m","thinking":"hm","response":"lo","done":true,"done_reason":"stop","context":[1]}\n',
    )
    assert (reading.response.content, reading.response.reasoning) == ("Hello", "hm")
    assert reading.response.raw == {
        "model": "m",
        "created_at": "t",
        "response": "Hello",
        "thinking": "hm",
        "done": True,
        "done_reason": "stop",
        "context": [1],
    }
    assert whole({"model": "m", "response": "Hi", "done": True}).response.content == "Hi"
    assert "thinking" not in stream(b'{"model":"m","response":"Hi","done":true}\n').response.raw


def test_halves_of_a_character_in_two_lines() -> None:
    def half(escape: str, key: str = "content") -> bytes:
        return b'{"model":"m","created_at":"t","message":{"role":"assistant","%b":"%b"},"done":false}\n' % (
            key.encode(),
            escape.encode(),
        )

    assert stream(half("a\\ud83d"), half("\\ude00b"), last()).text == "a😀b"
    assert stream(half("\\ud83d"), last()).text == "\ufffd"
    assert stream(half("\\ud83d", "thinking"), half("\\ude00", "thinking"), last()).response.reasoning == "😀"


# -- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "cls", "code", "retry"),
    [
        ("an error was encountered while running the model: CUDA error", LLMServerError, "server_error", TRANSIENT),
        ("server busy, please try again.  maximum pending requests exceeded", LLMServerError, "overloaded", THROTTLED),
        ('model "nope" not found, try pulling it first', LLMNotFoundError, "model_not_found", FATAL),
        ({"message": "broke", "type": "server_error"}, LLMServerError, "server_error", TRANSIENT),
    ],
)
def test_an_error_line_has_a_type(said: object, cls: type, code: str, retry: str) -> None:
    for before in ([], [line("so far")], [line("so far"), line("!")]):
        reading = stream(*before, json.dumps({"error": said}).encode() + b"\n", line("never"), last())
        error = reading.error
        assert type(error) is cls
        assert (error.code, error.provider, error.model) == (code, "ollama", "qwen2.5:3b")
        assert error.partial is not None
        assert error.partial.content == reading.text
        assert RETRY_TABLE.of_reply(None, error.code, error.error_type) == retry


def test_an_error_in_a_line_that_looks_plain() -> None:
    assert (
        stream(
            line("a"), b'{"model":"m","message":{"role":"assistant","content":"x"},"done":false,"error":"broke"}\n'
        ).error
        is not None
    )


def test_an_end_without_done_is_a_cut() -> None:
    for parts in ([], [line("so far")], [b"\n"], [line("so far"), b'{"model":']):
        error = stream(*parts).error
        assert isinstance(error, LLMStreamError)
        assert error.code == "truncated"


def test_a_line_that_is_not_json() -> None:
    reading = stream(line("so far"), b"<html>\n", line("never"))
    assert reading.error is not None
    assert reading.error.code == "bad_json"
    assert reading.error.partial is not None
    assert reading.error.partial.content == "so far"


def test_too_many_tool_calls() -> None:
    limits = Limits(max_tool_index=1)
    calls = line(message_tool_calls=[call("f", {})] * 3)
    assert read(ChatStreamReader("m", limits=limits), [calls, last()]).error.code == "too_many_tool_calls"
    entire = last(message_tool_calls=[call("f", {})] * 3)
    assert read(WholeChatReader("m", limits=limits), [entire]).error.code == "too_many_tool_calls"


def test_nothing_after_done_is_read() -> None:
    assert stream(last("x"), line("more"), b'{"error":"late"}\n').text == "x"


# -- whole replies ----------------------------------------------------------------------------------------------------


def test_a_whole_reply() -> None:
    reply = json.loads(last("Hi"))
    reading = whole(reply)
    assert reading.events == []
    assert reading.response.raw == reply
    assert (reading.response.content, reading.response.input_tokens) == ("Hi", 11)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "empty_body"),
        (b"404 page not found", "not_json"),
        (b'{"model":"m","mess', "bad_json"),
        (b"{}", "unexpected_reply"),
        (b"[]", "unexpected_reply"),
        (b'{"error":"an error was encountered"}', "server_error"),
        (b'{"error":"file does not exist"}', "model_not_found"),
    ],
)
def test_bodies_that_are_no_reply(body: bytes, code: str) -> None:
    error = whole(body).error
    assert error is not None
    assert error.code == code


# -- downloads, lists, versions ---------------------------------------------------------------------------------------

PULL = [
    {"status": "pulling manifest"},
    {"status": "pulling dde5aa3fc5ff", "digest": "sha256:dde5", "total": 2019377376},
    {"status": "pulling dde5aa3fc5ff", "digest": "sha256:dde5", "total": 2019377376, "completed": 241970},
    {"status": "verifying sha256 digest"},
    {"status": "writing manifest"},
    {"status": "success"},
]


def pull(*lines: object) -> PullReader:
    reader = PullReader("llama3.2")
    reader.events = reader.receive_data(b"".join(json.dumps(each).encode() + b"\n" for each in lines))
    reader.events += reader.receive_eof()
    return reader


def test_a_download() -> None:
    reader = pull(*PULL)
    assert reader.events == [
        PullProgress("pulling manifest"),
        PullProgress("pulling dde5aa3fc5ff", "sha256:dde5", 2019377376, None),
        PullProgress("pulling dde5aa3fc5ff", "sha256:dde5", 2019377376, 241970),
        PullProgress("verifying sha256 digest"),
        PullProgress("writing manifest"),
        PullProgress("success"),
    ]
    assert (reader.ended, reader.complete, reader.error, reader.content_events) == (True, True, None, 6)
    assert reader.response().raw == {"status": "success"}


def test_a_download_succeeds_only_with_success() -> None:
    for lines in ([], PULL[:-1], PULL[:1]):
        error = pull(*lines).error
        assert isinstance(error, LLMStreamError)
        assert error.code == "truncated"
    assert "writing manifest" in pull(*PULL[:-1]).error.message


@pytest.mark.parametrize(
    ("said", "cls"),
    [
        ("pull model manifest: file does not exist", LLMNotFoundError),
        ("pull model manifest: 404: manifest unknown", LLMNotFoundError),
        ("max retries exceeded: EOF", LLMServerError),
        ("invalid model name", LLMServerError),
    ],
)
def test_a_download_that_fails(said: str, cls: type) -> None:
    reader = pull(PULL[0], {"error": said}, PULL[-1])
    assert type(reader.error) is cls
    assert said in reader.error.message
    assert reader.events == [PullProgress("pulling manifest")]
    assert not reader.ended


def test_progress_of_the_wrong_type() -> None:
    reader = pull({"status": 7}, {"x": 1}, None, {"status": "a", "digest": 7, "total": "9", "completed": -1}, PULL[-1])
    assert reader.events == [PullProgress("a"), PullProgress("success")]


def test_listing_models() -> None:
    reader = OllamaModelsReader("ollama")
    raw = {
        "models": [
            {"name": "llama3.2:latest", "model": "llama3.2:latest", "size": 1},
            {"model": "qwen2.5:3b"},
            {"name": ""},
            None,
        ]
    }
    read(reader, [json.dumps(raw).encode()])
    assert reader.models == ["llama3.2:latest", "qwen2.5:3b"]
    assert reader.response().raw == raw
    empty = OllamaModelsReader("ollama")
    read(empty, [b'{"models":null}'])
    assert empty.models == []
    assert read(OllamaModelsReader("ollama"), [b'{"data":[]}']).error.code == "unexpected_reply"
    assert isinstance(read(OllamaModelsReader("ollama"), [b'{"error":"x"}']).error, LLMServerError)


def test_the_version() -> None:
    reader = VersionReader("ollama")
    read(reader, [b'{"version":"0.13.5"}'])
    assert (reader.version, reader.response().raw) == ("0.13.5", {"version": "0.13.5"})
    assert read(VersionReader("ollama"), [b'{"models":[]}']).error.code == "unexpected_reply"
    assert not isinstance(read(VersionReader("ollama"), [b'{"error":"x"}']).error, LLMBadRequestError)


# -- at the edges -----------------------------------------------------------------------------------------------------


def test_a_plain_line_after_the_first_is_read_like_any_other() -> None:
    """Whatever is missing from it, or is of another type: the short way and the long way say the same."""
    plain = json.loads(line("b"))
    odd = [
        {**plain, "model": None}, {**plain, "created_at": None}, {**plain, "message": {"role": "assistant", "content": None}},
        {**plain, "message": {"content": "b", "thinking": "hm"}}, {**plain, "message": {"content": "b", "images": []}},
        {"model": "m", "x": 1, "message": plain["message"], "done": False}, {"message": plain["message"], "done": False},
    ]  # fmt: skip
    for value in odd:
        wire = json.dumps(value).encode() + b"\n"
        after, alone = stream(line("a"), wire, last()), stream(wire, last())
        assert after.text == "a" + alone.text
        assert after.reasoning == alone.reasoning


def test_raw_of_a_stream_is_the_whole_reply() -> None:
    reading = stream(line("He", message_thinking="h"), line("llo", message_images=None), last("!", load_duration=3))
    assert reading.response.raw == {
        "model": "qwen2.5:3b", "created_at": TIME, "done": True, "done_reason": "stop", "load_duration": 3, **END,
        "message": {"role": "assistant", "content": "Hello!", "thinking": "h", "images": None},
    }  # fmt: skip


def test_what_came_before_a_cut_is_in_the_error() -> None:
    error = stream(line("Hel"), line("lo")).error
    assert error is not None
    assert error.partial is not None
    assert error.partial.content == "Hello"
    assert (error.provider, error.model, error.code) == ("ollama", "qwen2.5:3b", "truncated")
    assert error.message == "the stream was cut: it ended without a line that says it is done"


def test_an_error_beside_other_keys_and_one_that_is_empty() -> None:
    assert stream(line("a"), b'{"error": "", "done": false}\n', last()).text == "a"
    failed = stream(line("a"), b'{"error": "boom", "done": false}\n', line("b"), last())
    assert failed.error is not None
    assert (failed.error.message, failed.text) == ("boom", "a")


def test_a_reply_of_the_older_endpoint_has_its_own_shape() -> None:
    lines = [
        b'{"model": "m", "response": "a", "thinking": "h", "done": false}\n',
        b'{"model": "m", "response": "b", "done": true, "done_reason": "stop"}\n',
    ]
    assert stream(*lines).response.raw == {
        "model": "m", "response": "ab", "thinking": "h", "done": True, "done_reason": "stop",
    }  # fmt: skip


def test_a_download_that_stops_says_where() -> None:
    error = pull({"status": "x" * 200}).error
    assert error is not None
    assert error.message == f"the download ended without success (last status: {'x' * 100!r})"
    nothing = pull().error
    assert nothing is not None
    assert nothing.message == "the download ended without success (last status: 'none')"
    assert (nothing.provider, nothing.model) == ("ollama", "llama3.2")
    assert pull({"status": "a"}).response().model == "llama3.2"


def test_lists_and_versions_of_the_wrong_type() -> None:
    for reader in (OllamaModelsReader("ollama"), VersionReader("ollama")):
        error = read(reader, [b'{"models": "x", "version": 5, "error": ""}']).error
        assert error is not None
        assert (error.code, error.provider) == ("unexpected_reply", "ollama")
    for other in (OllamaModelsReader("ollama"), VersionReader("ollama")):
        told = read(other, [b'{"error": "model is required"}']).error
        assert told is not None
        assert told.message == "model is required"
    names = OllamaModelsReader("ollama")
    read(
        names,
        [b'{"models": [{"name": 5, "model": "a"}, {"name": "b", "model": "c"}, {"name": "", "model": "d"}, "e"]}'],
    )
    assert names.models == ["b", "d"]


@pytest.mark.parametrize("calls", [{"function": {}}, "x", [5, None, call("f", {})]])
def test_calls_of_the_wrong_type_are_passed_over(calls: object) -> None:
    reading = stream(line(message_tool_calls=calls), last())
    assert [made.name for made in reading.response.tool_calls] == (["f"] if isinstance(calls, list) else [])


def test_made_up_ids_count_on() -> None:
    reading = stream(
        line(message_tool_calls=[call("f", {}), call("g", {}, id=5), call("h", {}, id="")]),
        last(),
        taken=frozenset({"call_1"}),
    )
    assert [made.id for made in reading.response.tool_calls] == ["call_2", "call_3", "call_4"]


@pytest.mark.parametrize(
    ("counts", "reported"), [({"eval_count": 7}, True), ({"prompt_eval_count": 0}, True), ({}, False)]
)
def test_counts_are_reported_if_there_are_any(counts: dict, reported: bool) -> None:
    reading = stream(line("a"), line("b", done=True, done_reason="stop", **counts))
    usage = [event.usage for event in reading.events if isinstance(event, UsageReported)]
    assert usage == ([Usage(counts.get("prompt_eval_count"), counts.get("eval_count"))] if reported else [])
    assert (reading.response.usage.output_tokens, reading.response.usage.input_tokens) == (
        counts.get("eval_count"), counts.get("prompt_eval_count"),
    )  # fmt: skip


def test_the_first_line_says_which_model_answers() -> None:
    reader = ChatStreamReader("asked")
    reader.receive_data(line("a", model="answers"))
    assert (reader.response().model, reader.response().raw["model"]) == ("answers", "answers")
    assert reader.response().content == "a"
