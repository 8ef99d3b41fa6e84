"""What is sent to Ollama: bodies, heads, hosts, and what is refused before sending."""

from __future__ import annotations

import json

import pytest

from sans_io.chat.messages import chat_request
from sans_io.errors import LLMAuthError, LLMBadRequestError, LLMError, LLMNotFoundError, LLMServerError
from sans_io.http.secret import Secret
from sans_io.http.urls import parse_base_url
from sans_io.policy.retry import FATAL, THROTTLED, TRANSIENT
from sans_io.providers.ollama.codec import OllamaCodec, parse_ollama_host
from sans_io.providers.ollama.messages import build_body
from sans_io.providers.ollama.names import full_model_name, name_key
from sans_io.providers.ollama.reply import ChatStreamReader, PullReader
from tests.providers.ollama.kit import CODEC, call, last, line
from tests.providers.reading import read

HELLO = [{"role": "user", "content": "Hello"}]
PNG = "data:image/png;base64,iVBORw0KGgo="


def body(messages: list[dict] = HELLO, model: str | None = "qwen2.5:3b", **options: object) -> dict:
    return json.loads(CODEC.build(chat_request(messages, model, **options)).body)


def refused(path: str, messages: list[dict] = HELLO, **options: object) -> str:
    with pytest.raises(LLMBadRequestError) as caught:
        body(messages, **options)
    assert caught.value.message.startswith(path), caught.value.message
    return caught.value.message


def sent(*messages: dict, **options: object) -> list[dict]:
    return body(list(messages), **options)["messages"]


def openai_call(label: str, name: str = "f", arguments: object = "{}") -> dict:
    return {"id": label, "type": "function", "function": {"name": name, "arguments": arguments}}


def test_the_least_that_is_sent() -> None:
    # The server's own default is to stream, so it is always said.
    assert body() == {"model": "qwen2.5:3b", "messages": HELLO, "stream": False}
    assert body(stream=True)["stream"] is True


def test_options() -> None:
    got = body(temperature=0.0, top_p=0.9, seed=7, stop="END", max_tokens=5, n=1)
    assert got["options"] == {"temperature": 0.0, "top_p": 0.9, "seed": 7, "num_predict": 5, "stop": ["END"]}
    merged = body(
        temperature=0.5,
        extra_body={"options": {"num_ctx": 8192, "temperature": 0.1}, "keep_alive": "5m", "truncate": False},
    )
    assert merged["options"] == {"temperature": 0.1, "num_ctx": 8192}
    assert (merged["keep_alive"], merged["truncate"]) == ("5m", False)


def test_format() -> None:
    schema = {"type": "object", "properties": {}}
    assert body(response_format="json")["format"] == "json"
    assert body(response_format=schema)["format"] == schema
    assert (
        body(response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": schema}})["format"]
        == schema
    )
    assert body(response_format={"type": "json_schema", "json_schema": {"name": "n"}})["format"] == "json"
    assert "format" not in body(response_format="text")


@pytest.mark.parametrize(
    ("effort", "think"), [("none", False), ("low", "low"), ("medium", "medium"), ("high", "high"), ("max", "max")]
)
def test_think(effort: str, think: object) -> None:
    assert body(reasoning_effort=effort)["think"] is think or body(reasoning_effort=effort)["think"] == think
    assert body(reasoning_effort=effort, extra_body={"think": True})["think"] is True


def test_what_the_wire_cannot_say() -> None:
    refused("n ", n=2)
    refused("parallel_tool_calls ", parallel_tool_calls=False, tools=[{"name": "f"}])
    assert body(parallel_tool_calls=False) == body()
    assert body(parallel_tool_calls=True) == body()
    refused("reasoning_effort ", reasoning_effort="xhigh")
    for choice in ("required", "f", {"type": "function", "function": {"name": "f"}}):
        refused("tool_choice ", tools=[{"name": "f"}], tool_choice=choice)
    refused("tools[1] ", tools=[{"name": "f"}, {"type": "web_search_20260318", "name": "web_search"}])
    refused("model", model=None)


def test_tools() -> None:
    tool = {"name": "f", "description": "d", "parameters": {"type": "object", "$defs": {}}}
    assert body(tools=[tool])["tools"] == [{"type": "function", "function": tool}]
    assert body(tools=[tool], tool_choice="auto")["tools"] == [{"type": "function", "function": tool}]
    assert "tools" not in body(tools=[tool], tool_choice="none")
    assert body(tools=[{"name": "f", "input_schema": {}, "cache_control": {}}])["tools"] == [
        {"type": "function", "function": {"name": "f", "parameters": {}}}
    ]


def test_roles() -> None:
    got = sent(
        {"role": "developer", "content": "D"},
        *HELLO,
        {"role": "system", "content": "later"},
        {"role": "assistant", "content": None, "refusal": "No."},
        system="S",
    )
    assert got == [
        {"role": "system", "content": "S"},
        {"role": "system", "content": "D"},
        *HELLO,
        {"role": "system", "content": "later"},
        {"role": "assistant", "content": "No."},
    ]


def test_parts_and_images() -> None:
    parts = [
        {"type": "text", "text": "What"},
        {"type": "image_url", "image_url": PNG},
        {"type": "text", "text": "is this?"},
    ]
    assert sent({"role": "user", "content": parts}) == [
        {"role": "user", "content": "What\nis this?", "images": ["iVBORw0KGgo="]}
    ]
    assert sent({"role": "user", "content": "x", "images": ["AAAA"]})[0]["images"] == ["AAAA"]
    url_safe = {"type": "image_url", "image_url": "data:image/png;base64,-_8= "}
    assert sent({"role": "user", "content": [url_safe]})[0]["images"] == ["+/8="]
    assert sent({"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}) == [
        {"role": "assistant", "content": "No."}
    ]


@pytest.mark.parametrize(
    ("part", "path"),
    [
        ({"type": "image_url", "image_url": "https://x.example/a.png"}, "messages[0].content[0].image_url"),
        ({"type": "image_url", "image_url": "data:text/plain;base64,AAAA"}, "messages[0].content[0].image_url"),
        ({"type": "image_url", "image_url": "data:image/png;base64,###"}, "messages[0].content[0].image_url"),
        ({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}, "messages[0].content[0]"),
        ({"type": "file", "file": {"file_id": "f"}}, "messages[0].content[0]"),
        ({"type": "thinking", "thinking": "x"}, "messages[0].content[0]"),
    ],
)
def test_parts_that_the_wire_cannot_say(part: dict, path: str) -> None:
    refused(path, [{"role": "user", "content": [part]}])


def test_a_tool_turn() -> None:
    got = sent(
        *HELLO,
        {
            "role": "assistant",
            "content": "",
            "thinking": "Hm",
            "tool_calls": [openai_call("a", arguments='{"x": 1}'), openai_call("b", "g")],
        },
        {"role": "tool", "tool_call_id": "a", "content": "1", "name": "given"},
        {
            "role": "tool",
            "tool_call_id": "b",
            "content": [{"type": "text", "text": "2"}, {"type": "image_url", "image_url": PNG}],
            "is_error": True,
        },
    )
    assert got[1:] == [
        {
            "role": "assistant",
            "content": "",
            "thinking": "Hm",
            "tool_calls": [
                {"id": "a", "function": {"name": "f", "arguments": {"x": 1}}},
                {"id": "b", "function": {"name": "g", "arguments": {}}},
            ],
        },
        {"role": "tool", "content": "1", "tool_name": "given", "tool_call_id": "a"},
        {"role": "tool", "content": "2", "tool_name": "g", "tool_call_id": "b", "images": ["iVBORw0KGgo="]},
    ]


def test_arguments_may_be_objects() -> None:
    got = sent(*HELLO, {"role": "assistant", "content": None, "tool_calls": [openai_call("a", arguments={"x": 1})]})
    assert got[1]["tool_calls"][0]["function"]["arguments"] == {"x": 1}


def test_calls_that_are_no_functions() -> None:
    other = {"id": "c", "type": "other", "other": {"name": "f"}}
    refused("messages[1].tool_calls[0]", [*HELLO, {"role": "assistant", "content": None, "tool_calls": [other]}])
    custom = {"id": "c", "type": "custom", "custom": {"name": "f", "input": "x"}}
    said = sent(*HELLO, {"role": "assistant", "content": None, "tool_calls": [custom]})[1]
    assert said["tool_calls"] == [{"id": "c", "function": {"name": "f", "arguments": {"input": "x"}}}]
    for entry in ({"id": "c", "type": "mcp", "server": "x"}, {"id": "c", "type": "custom", "custom": {"input": "x"}}):
        refused("messages[1].tool_calls[0]", [*HELLO, {"role": "assistant", "content": None, "tool_calls": [entry]}])


def test_calls_in_anthropic_s_form() -> None:
    use = {"type": "tool_use", "id": "t", "name": "f", "input": {"x": 1}}
    thinking = {"type": "thinking", "thinking": "hm", "signature": "c2ln"}
    said = {"role": "assistant", "content": [thinking, {"type": "text", "text": "Look."}, use]}
    assert sent(*HELLO, said, {"role": "tool", "tool_call_id": "t", "content": "1"})[1:] == [
        {"role": "assistant", "content": "Look.", "tool_calls": [{"id": "t", "function": {"name": "f", "arguments": {"x": 1}}}]},
        {"role": "tool", "content": "1", "tool_name": "f", "tool_call_id": "t"},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("message", "path"),
    [
        ({"role": "user", "content": "x", "name": "bob"}, "messages[1].name"),
        ({"role": "user", "content": "x", "audio": {"id": "a"}}, "messages[1].audio"),
        ({"role": "user", "content": "x", "thinking": "hm"}, "messages[1].thinking"),
        ({"role": "system", "content": "x", "name": "bob"}, "messages[1].name"),
        ({"role": "user", "content": [{"type": "video_url", "video_url": {}}]}, "messages[1].content[0]"),
        ({"role": "user", "content": [{"type": "document", "source": {}}]}, "messages[1].content[0]"),
        ({"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}}, "messages[1].function_call"),
    ],
)  # fmt: skip
def test_what_a_user_wrote_and_cannot_go_is_refused_by_name(message: dict, path: str) -> None:
    refused(f"{path} is not supported by the Ollama API", [*HELLO, message])


def test_what_other_vendors_models_said_goes_along_as_far_as_it_can() -> None:
    text = {"type": "text", "text": "4"}
    for part in (
        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
        {"type": "redacted_thinking", "data": "x"},
        {"type": "reference", "reference_ids": [1]},
        {"type": "image_url", "image_url": "https://x.example/a.png"},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
    ):
        assert sent(*HELLO, {"role": "assistant", "content": [part, text, part, text]})[1] == {
            "role": "assistant", "content": "44",
        }  # fmt: skip
    spoken = {"role": "assistant", "content": None, "audio": {"id": "a", "transcript": "Four."}, "name": "bob"}
    assert sent(*HELLO, spoken)[1] == {"role": "assistant", "content": "Four."}
    painted = {"role": "assistant", "content": "", "images": [{"type": "image_url", "image_url": {"url": PNG}}]}
    assert sent(*HELLO, painted)[1] == {"role": "assistant", "content": "", "images": ["iVBORw0KGgo="]}
    marked = {"role": "user", "content": "x", "cache_control": {"type": "ephemeral"}, "name": ""}
    assert sent(marked) == [{"role": "user", "content": "x"}]


def test_keys_of_other_wires_are_left_out() -> None:
    message = {
        "role": "assistant",
        "content": "4",
        "native": {"wire": "anthropic", "version": "x", "blocks": [{"type": "text", "text": "4", "citations": []}]},
        "reasoning_content": "r",
    }
    assert sent(*HELLO, message)[1] == {"role": "assistant", "content": "4"}


def test_a_tool_conversation_of_several_turns() -> None:
    """What a reply gives goes back, with ids that stay apart though the server has none."""
    messages: list[dict] = list(HELLO)
    for turn in range(3):
        operation = CODEC.operation(chat_request(messages, "m", stream=True))
        reading = read(
            operation.new_reader(),
            [line(message_thinking="hm"), line(message_tool_calls=[call("f", {"turn": turn}), call("f", {})]), last()],
        )
        messages.append(reading.response.message)
        messages += [tool_call.result({"ok": True}) for tool_call in reading.response.tool_calls]
    ids = [entry["id"] for message in messages for entry in message.get("tool_calls", ())]
    assert len(set(ids)) == 6
    wire = sent(*messages)
    assert wire[1] == {
        "role": "assistant",
        "content": "",
        "thinking": "hm",
        "tool_calls": [
            {"id": ids[0], "function": {"name": "f", "arguments": {"turn": 0}}},
            {"id": ids[1], "function": {"name": "f", "arguments": {}}},
        ],
    }
    assert wire[2] == {"role": "tool", "content": '{"ok":true}', "tool_name": "f", "tool_call_id": ids[0]}


# -- heads and operations ---------------------------------------------------------------------------------------------


def test_heads() -> None:
    codec = OllamaCodec(parse_base_url("https://ollama.com/x"), credential=Secret("key"), headers={"User-Agent": "t/1"})
    request = codec.build(chat_request(HELLO, "m", extra_headers={"X-One": "1"}))
    assert (request.method, request.target) == ("POST", "/x/api/chat")
    wire = bytes(request.wire()).decode().lower()
    for field in (
        "authorization: bearer key",
        "user-agent: t/1",
        "x-one: 1",
        "content-type: application/json",
        "accept: application/json",
    ):
        assert f"\r\n{field}\r\n" in wire
    assert "key" not in repr(request)
    assert (
        "bearer new"
        in bytes(codec.with_credential(Secret("new")).build(chat_request(HELLO, "m")).wire()).decode().lower()
    )
    assert "authorization" not in bytes(CODEC.build(chat_request(HELLO, "m")).wire()).decode().lower()
    assert CODEC.build(chat_request(HELLO, "m")).head is CODEC.build(chat_request(HELLO, "m")).head


def test_what_cannot_be_a_header_is_refused_at_construction() -> None:
    with pytest.raises(LLMBadRequestError, match="X-One"):
        OllamaCodec(parse_base_url("http://127.0.0.1:11434"), headers={"X-One": "a\nb"})


def test_operations() -> None:
    chat = CODEC.operation(chat_request(HELLO, "m", stream=True))
    assert (chat.form, chat.provider, chat.model) == ("ndjson", "ollama", "m")
    assert isinstance(chat.new_reader(), ChatStreamReader)
    assert CODEC.operation(chat_request(HELLO, "m")).form == "json"
    assert (CODEC.models_operation().request.method, CODEC.models_operation().request.target) == ("GET", "/api/tags")
    assert (CODEC.version_operation().request.method, CODEC.version_operation().request.target) == (
        "GET",
        "/api/version",
    )
    pull = CODEC.pull_operation("llama3.2")
    assert (pull.request.method, pull.request.target, pull.form, pull.model) == (
        "POST",
        "/api/pull",
        "ndjson",
        "llama3.2",
    )
    assert json.loads(pull.request.body) == {"model": "llama3.2", "stream": True}
    assert isinstance(pull.new_reader(), PullReader)


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "a\x00"])
def test_model_names_that_cannot_be_pulled(name: str) -> None:
    with pytest.raises(LLMBadRequestError, match=r"^model_name"):
        CODEC.pull_operation(name)


@pytest.mark.parametrize(
    ("status", "said", "cls", "retry"),
    [
        (404, {"error": 'model "nope" not found, try pulling it first'}, LLMNotFoundError, FATAL),
        (400, {"error": '"qwen" does not support thinking'}, LLMBadRequestError, FATAL),
        (401, {"error": "unauthorized", "signin_url": "https://ollama.com/connect"}, LLMAuthError, FATAL),
        (
            503,
            {"error": "server busy, please try again.  maximum pending requests exceeded"},
            LLMServerError,
            THROTTLED,
        ),
        (500, {"error": "llama runner process has terminated"}, LLMServerError, TRANSIENT),
    ],
)
def test_error_replies(status: int, said: dict, cls: type[LLMError], retry: str) -> None:
    operation = CODEC.operation(chat_request(HELLO, "nope"))
    error = operation.decode_error(status, (), json.dumps(said).encode())
    assert type(error) is cls
    assert (error.status_code, error.provider, error.model, error.body) == (status, "ollama", "nope", said)
    assert operation.retry_table.of_reply(status, error.code, error.error_type) == retry
    if status == 404:
        assert "ollama pull nope" in error.message


# -- names and hosts --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("llama3.2", "llama3.2:latest"),
        ("llama3.2:latest", "llama3.2:latest"),
        ("qwen2.5:3b", "qwen2.5:3b"),
        ("user/model", "user/model:latest"),
        ("registry:5000/user/model", "registry:5000/user/model:latest"),
        ("hf.co/user/model:Q4_K_M", "hf.co/user/model:Q4_K_M"),
    ],
)
def test_full_model_names(name: str, full: str) -> None:
    assert full_model_name(name) == full


#: What the real server takes for one model; `tests/real_ollama` asks it.
ONE_MODEL = [
    ("smol", "SMOL"),
    ("smol", "smol:latest"),
    ("smol", "Smol:LATEST"),
    ("smol", "library/smol"),
    ("smol", "LIBRARY/smol:latest"),
    ("smol", "registry.ollama.ai/library/smol"),
    ("smol", "Registry.Ollama.AI/library/smol:latest"),
    ("smol", "https://registry.ollama.ai/library/smol:latest"),
    ("smol", "http://registry.ollama.ai/library/smol:latest"),
    ("SMOL:V1", "smol:v1"),
    ("user/model", "User/Model:latest"),
    ("user/model", "registry.ollama.ai/user/model"),
    ("hf.co/User/Model-GGUF:Q4_K_M", "hf.co/user/model-gguf:q4_k_m"),
    ("hf.co/user/model", "https://hf.co/user/model:latest"),
    ("127.0.0.1:5000/library/smol", "http://127.0.0.1:5000/library/smol:latest"),
    ("[::1]:5000/library/smol", "http://[::1]:5000/library/smol"),
]
#: And what it does not.
OTHER_MODELS = [
    ("smol", "smol2"),
    ("smol", "smol:v1"),
    ("smol", "user/smol"),
    ("smol", "hf.co/library/smol"),
    ("hf.co/user/model", "huggingface.co/user/model"),
    ("127.0.0.1:5000/library/smol", "127.0.0.1:5001/library/smol"),
    ("registry:5000/user/model", "registry/user/model"),
    ("smol", "smol:"),  # these are no names
    ("smol", ":latest"),
    ("smol", "/smol"),
    ("smol", "//smol"),
    ("smol", "https://smol"),
    ("smol", "smol@sha256:" + 64 * "0"),
    ("k", "\N{KELVIN SIGN}"),
]


@pytest.mark.parametrize(("name", "other"), ONE_MODEL)
def test_names_of_one_model(name: str, other: str) -> None:
    assert name_key(name) == name_key(other)


@pytest.mark.parametrize(("name", "other"), OTHER_MODELS)
def test_names_of_two_models(name: str, other: str) -> None:
    assert name_key(name) != name_key(other)


@pytest.mark.parametrize(
    ("host", "base_url"),
    [
        # What the Python client documents.
        ("", "http://127.0.0.1:11434"),
        ("1.2.3.4", "http://1.2.3.4:11434"),
        (":56789", "http://127.0.0.1:56789"),
        ("1.2.3.4:56789", "http://1.2.3.4:56789"),
        ("http://1.2.3.4", "http://1.2.3.4:80"),
        ("https://1.2.3.4", "https://1.2.3.4:443"),
        ("https://1.2.3.4:56789", "https://1.2.3.4:56789"),
        ("example.com", "http://example.com:11434"),
        ("example.com:56789", "http://example.com:56789"),
        ("http://example.com", "http://example.com:80"),
        ("https://example.com", "https://example.com:443"),
        ("https://example.com:56789", "https://example.com:56789"),
        ("example.com/", "http://example.com:11434"),
        ("example.com:56789/", "http://example.com:56789"),
        ("example.com/path", "http://example.com:11434/path"),
        ("example.com:56789/path", "http://example.com:56789/path"),
        ("https://example.com:56789/path", "https://example.com:56789/path"),
        ("example.com:56789/path/", "http://example.com:56789/path"),
        ("[0001:002:003:0004::1]", "http://[0001:002:003:0004::1]:11434"),
        ("[0001:002:003:0004::1]:56789", "http://[0001:002:003:0004::1]:56789"),
        ("http://[0001:002:003:0004::1]", "http://[0001:002:003:0004::1]:80"),
        ("https://[0001:002:003:0004::1]", "https://[0001:002:003:0004::1]:443"),
        ("https://[0001:002:003:0004::1]:56789", "https://[0001:002:003:0004::1]:56789"),
        ("[0001:002:003:0004::1]/", "http://[0001:002:003:0004::1]:11434"),
        ("[0001:002:003:0004::1]:56789/", "http://[0001:002:003:0004::1]:56789"),
        ("[0001:002:003:0004::1]/path", "http://[0001:002:003:0004::1]:11434/path"),
        ("[0001:002:003:0004::1]:56789/path", "http://[0001:002:003:0004::1]:56789/path"),
        ("https://[0001:002:003:0004::1]:56789/path", "https://[0001:002:003:0004::1]:56789/path"),
        ("[0001:002:003:0004::1]:56789/path/", "http://[0001:002:003:0004::1]:56789/path"),
        # What the Go client adds.
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:8080", "http://127.0.0.1:8080"),
        ("http://0.0.0.0", "http://127.0.0.1:80"),
        ("::", "http://[::1]:11434"),
        ("[::]", "http://[::1]:11434"),
        ("[::]:8080", "http://[::1]:8080"),
        ("[0:0:0:0:0:0:0:0]:1", "http://[::1]:1"),
        ("::1", "http://[::1]:11434"),
        ("[::1]:1337", "http://[::1]:1337"),
        ("ollama.com", "https://ollama.com:443"),
        ("ollama.com:11434", "http://ollama.com:11434"),
        ("https://ollama.com", "https://ollama.com:443"),
        (" 1.2.3.4 ", "http://1.2.3.4:11434"),
        ('"1.2.3.4"', "http://1.2.3.4:11434"),
        (" ' 1.2.3.4 ' ", "http://1.2.3.4:11434"),
        (":66000", "http://127.0.0.1:11434"),
        (":-1", "http://127.0.0.1:11434"),
        ("example.com:port", "http://example.com:11434"),
        ("https://example.com:port", "https://example.com:443"),
        ("example.com:", "http://example.com:11434"),
        ("HTTP://Example.com", "http://Example.com:80"),
        ("https://example.com/ollama", "https://example.com:443/ollama"),
    ],
)
def test_ollama_host(host: str, base_url: str) -> None:
    assert parse_ollama_host(host) == base_url
    origin = parse_base_url(base_url).origin
    assert parse_ollama_host(str(origin)) in (f"{origin.scheme}://{origin.bracketed_host}:{origin.port}", str(origin))


@pytest.mark.parametrize(
    "host",
    [
        "user:secret@example.com",
        "http://user:secret@example.com:80/x",
        "a b",
        "ex#ample:1",
        "ftp://example.com",
        "a:b:c",
        ":0",
        "::1%eth0",
    ],
)
def test_hosts_that_are_none(host: str) -> None:
    with pytest.raises(LLMBadRequestError) as caught:
        parse_base_url(parse_ollama_host(host), "host")
    assert caught.value.message.startswith("host")
    assert "secret" not in caught.value.message


def test_names_of_results_come_from_the_message_then_from_the_call() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    asked = {"role": "assistant", "content": None, "tool_calls": [call]}
    for named, told in (
        ({}, "f"),
        ({"tool_name": "g"}, "g"),
        ({"name": "h", "tool_name": "g"}, "h"),
        ({"name": 5}, None),
    ):
        (_, result) = sent(asked, {"role": "tool", "tool_call_id": "c1", "content": "x", **named})
        assert result == {
            "role": "tool",
            "content": "x",
            "tool_call_id": "c1",
            **({} if told is None else {"tool_name": told}),
        }


def test_images_beside_and_among_the_parts_are_sent_in_order() -> None:
    part = {"type": "image_url", "image_url": {"url": "data:image/png;base64,_-8 =\n"}}
    (message,) = sent(
        {
            "role": "user",
            "images": ["QQ=="],
            "content": [{"type": "text", "text": "a"}, part, {"type": "text", "text": "b"}],
        }
    )
    assert message == {"role": "user", "content": "a\nb", "images": ["QQ==", "/+8="]}


def test_an_answer_keeps_its_thinking_and_its_refusal() -> None:
    said = sent(
        {"role": "assistant", "content": "", "refusal": "No.", "thinking": "hm"},
        {"role": "assistant", "content": "Yes.", "refusal": "No.", "thinking": ""},
        {"role": "assistant", "content": None, "refusal": 5, "thinking": 5},
    )
    assert said == [
        {"role": "assistant", "content": "No.", "thinking": "hm"}, {"role": "assistant", "content": "Yes."},
        {"role": "assistant", "content": ""},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("quoted", "host"),
    [
        ('"a.example"', "a.example"),
        ("'a.example'", "a.example"),
        ("\"'a.example'\"", "a.example"),
        ('" a.example "', "a.example"),
    ],
)
def test_quotes_around_a_host_are_no_part_of_it(quoted: str, host: str) -> None:
    assert parse_ollama_host(quoted) == f"http://{host}:11434"


@pytest.mark.parametrize(
    ("port", "used"), [("65535", "65535"), ("65536", "11434"), ("٨٠", "11434"), ("", "11434"), ("0080", "0080")]
)
def test_ports_of_a_host(port: str, used: str) -> None:
    assert parse_ollama_host(f"a.example:{port}") == f"http://a.example:{used}"


@pytest.mark.parametrize("text", ["a.example?x=1", "u:p@a.example", "a#b"])
def test_what_is_no_host_is_left_for_the_url_parser(text: str) -> None:
    assert parse_ollama_host(text) == f"http://{text}"


def test_a_pull_is_a_post_with_a_body() -> None:
    wire = bytes(CODEC.pull_operation("llama3.2").request.wire())
    assert wire.startswith(b"POST /api/pull HTTP/1.1\r\n")
    assert b"Content-Type: application/json\r\n" in wire
    for operation in (CODEC.models_operation(), CODEC.version_operation()):
        assert b"Content-Type" not in bytes(operation.request.wire())
        assert (operation.form, operation.model, operation.provider) == ("json", None, "ollama")


@pytest.mark.parametrize(("schema", "sent"), [(True, {}), ({}, {}), ({"type": "string"}, {"type": "string"})])
def test_a_property_that_takes_any_value_is_sent_as_an_object(schema: object, sent: dict) -> None:
    tool = {"name": "f", "parameters": {"type": "object", "properties": {"a": schema}}}
    body = build_body(chat_request([{"role": "user", "content": "x"}], "m", tools=[tool]))
    assert body["tools"][0]["function"]["parameters"]["properties"] == {"a": sent}


@pytest.mark.parametrize("schema", [False, None, 5, "string", []])
def test_a_property_that_is_no_schema_is_refused_by_its_path(schema: object) -> None:
    tool = {"name": "f", "parameters": {"type": "object", "properties": {"a": schema}}}
    with pytest.raises(LLMBadRequestError, match=r"tools\[0\]\.parameters\.properties\.a must be a JSON Schema"):
        build_body(chat_request([{"role": "user", "content": "x"}], "m", tools=[tool]))
