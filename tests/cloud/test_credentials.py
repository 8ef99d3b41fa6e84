"""Keys from callables, and keys that must not be seen."""

from __future__ import annotations

import base64
import copy
import json
import logging
import pickle
import sys
import traceback
import urllib.parse
from types import ModuleType
from typing import Any

import pytest

from cloud.llm import (
    AnthropicClient,
    LLMAuthError,
    LLMBadRequestError,
    LLMError,
    OllamaClient,
    OpenAICompatClient,
    logs,
)
from sans_io.chat.messages import chat_request
from sans_io.http.secret import Secret
from tests.cloud.kit import BLOCKING, HELLO, MODELS, MODES, PLACES, WIRES, make, perform, run, scripted
from transports.faults import Fault
from transports.testing import FakeLLMServer, ScriptedError, ScriptedReply, ScriptedTransport

UNAUTHORIZED = ScriptedReply(error=ScriptedError("expired", 401))


def sent_keys(transport: Any) -> list[str | None]:
    return [r.header("authorization") or r.header("x-api-key") for r in transport.requests]


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("mode", MODES)
def test_a_callable_is_asked_before_each_request_and_once_more_after_a_401(mode: str, wire: str) -> None:
    transport = scripted(
        mode, ScriptedReply(text="a"), UNAUTHORIZED, ScriptedReply(text="b"), UNAUTHORIZED, UNAUTHORIZED
    )
    keys = iter(f"key-{i}" for i in range(1, 10))

    async def scenario(client: Any) -> None:
        assert (await client.chat(HELLO)).content == "a"
        response = await client.chat_stream(HELLO).until_done()
        assert response.content == "b"
        assert [attempt.status for attempt in response.attempts] == [401, 200]
        with pytest.raises(LLMAuthError) as caught:
            await client.chat(HELLO)
        assert len(caught.value.attempts) == 2

    perform(mode, scenario, wire, transport=transport, api_key=lambda: next(keys))
    assert [str(key)[-5:] for key in sent_keys(transport)] == ["key-1", "key-2", "key-3", "key-4", "key-5"]


@pytest.mark.parametrize("mode", ["asyncio", "trio"])
def test_an_asynchronous_callable_is_awaited(mode: str) -> None:
    transport = scripted(mode)

    async def key() -> str:
        if mode == "asyncio":
            import asyncio

            await asyncio.sleep(0)
        else:
            import trio

            await trio.sleep(0)
        return "sk-async"

    async def scenario(client: Any) -> None:
        await client.chat(HELLO)
        assert client.build_request(HELLO).headers  # cannot wait for the key, so it is left out

    perform(mode, scenario, transport=transport, api_key=key)
    assert sent_keys(transport) == ["Bearer sk-async"]


def test_a_blocking_client_refuses_an_asynchronous_callable() -> None:
    async def key() -> str:
        return "sk-async"

    client = OpenAICompatClient(key, "m", base_url=PLACES["openai"], transport=scripted("blocking"))
    with pytest.raises(LLMError, match="asynchronous"):
        client.chat(HELLO)


@pytest.mark.parametrize("mode", MODES)
def test_what_a_callable_raises_is_the_cause(mode: str) -> None:
    def key() -> str:
        raise OSError("vault is sealed")

    def broken() -> str:
        return "two\nlines"

    async def scenario(client: Any) -> None:
        for _ in range(2):
            with pytest.raises(LLMError) as caught:
                await client.chat(HELLO)
            assert isinstance(caught.value.__cause__, OSError)
        with pytest.raises(LLMError) as caught:
            await client.with_options(api_key=broken).chat(HELLO)
        assert "two" not in "".join(traceback.format_exception(caught.value))

    transport = scripted(mode)
    perform(mode, scenario, transport=transport, api_key=key)
    assert not transport.requests


@pytest.mark.parametrize("mode", MODES)
def test_arguments_are_checked_before_the_callable_is_asked(mode: str) -> None:
    asked: list[int] = []

    def key() -> str:
        asked.append(1)
        return "k"

    async def scenario(client: Any) -> None:
        with pytest.raises(LLMBadRequestError):
            await client.chat("hello")

    perform(mode, scenario, transport=scripted(mode), api_key=key)
    assert not asked


@pytest.mark.parametrize("mode", MODES)
def test_connections_are_shared_unless_credentials_are_isolated(mode: str) -> None:
    for isolate, connections in ((False, 1), (True, 2)):
        transport = scripted(mode)

        async def inside(isolate: bool = isolate, transport: Any = transport) -> None:
            for key in ("tenant-1", "tenant-2", "tenant-1"):
                client = make(
                    mode, "openai", api_key=key, model="m", base_url=PLACES["openai"], transport=transport,
                    isolate_credentials=isolate,
                )  # fmt: skip
                await client.chat(HELLO)

        run(mode, inside)
        assert len(transport.dials) == connections
        assert sent_keys(transport) == ["Bearer tenant-1", "Bearer tenant-2", "Bearer tenant-1"]


def test_a_key_is_never_lent_to_another_thread() -> None:
    """One client, a callable that knows its tenant, and another thread's key put in place at the worst moment."""
    client = OpenAICompatClient(lambda: "-", "m", base_url=PLACES["openai"])
    client.build_request(HELLO)
    made = client._made
    one, other = Secret("tenant-1"), Secret("tenant-2")

    class Meddled:
        def __getattr__(self, name: str) -> Any:
            return getattr(made, name)

        def __setattr__(self, name: str, value: Any) -> None:
            setattr(made, name, value)
            if value[0] == one:
                setattr(made, name, (other, client._new_codec(other, made.limits)))

    client._made = Meddled()  # type: ignore[assignment]
    for key in (one, other, one, other):
        codec = client._codec_with(key)
        assert key.bearer() in dict(codec.build(chat_request(HELLO, "m")).headers).values()


# -- the canary -------------------------------------------------------------------------------------------------------

CANARY = "sk-CANARY7f3a9c55d1e2b4"


def shapes(secret: str) -> list[str]:
    return [
        secret[:11],
        secret,
        base64.b64encode(secret.encode()).decode()[:12],
        urllib.parse.quote(secret)[:11],
        secret[-8:],
    ]


def assert_clean(text: str) -> None:
    for shape in shapes(CANARY):
        assert shape not in text


@pytest.mark.parametrize("wire", WIRES)
def test_nothing_about_a_client_shows_its_key(wire: str) -> None:
    client = BLOCKING[wire](api_key=CANARY, base_url=PLACES[wire], headers={"X-Auth": CANARY}, model="m")
    client.build_request(HELLO)
    for text in (repr(client), str(client), repr(vars(client)), repr(client.__dict__), f"{client}"):
        assert_clean(text)
    assert_clean(repr(client._made.codec.__class__) + repr(client.build_request(HELLO)))
    assert_clean(repr(client._made.route) + repr(client._made.budget) + repr(client._fingerprint()))


@pytest.mark.parametrize("wire", WIRES)
def test_a_pickled_client_has_lost_its_key_and_says_so(wire: str) -> None:
    transport = scripted("blocking")
    client = BLOCKING[wire](api_key=CANARY, base_url=PLACES[wire], model=MODELS[wire])
    data = pickle.dumps(client)
    assert_clean(data.decode("latin-1"))
    other = pickle.loads(data).with_options(transport=transport)
    assert (other.model, other.base_url) == (client.model, client.base_url)
    with pytest.raises(LLMError, match="pickled"):
        other.chat(HELLO)
    assert other.with_options(api_key="new").chat(HELLO).content
    with pytest.raises(TypeError, match="credentials"):
        pickle.dumps(BLOCKING[wire](base_url=PLACES[wire], headers={"Authorization": CANARY}))
    assert copy.copy(client).build_request(HELLO) == client.build_request(HELLO)
    assert copy.deepcopy(client).build_request(HELLO) == client.build_request(HELLO)


NO_JSON = b"HTTP/1.1 500 Oops\r\nContent-Length: 2\r\n\r\n{}"
FAILURES: list[Any] = [
    [Fault("refused", "no")] * 9,
    [Fault("reset")] * 9,
    [NO_JSON] * 9,
    [b"HTTP/1.1 401 No\r\nContent-Length: 2\r\n\r\n{}"] * 9,
    [b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 3\r\n\r\n<p>"] * 9,
    [b"nonsense\r\n\r\n"] * 9,
    [b"HTTP/1.1 302 Go\r\nLocation: https://evil.example/?k=1\r\nContent-Length: 0\r\n\r\n"] * 9,
]


@pytest.mark.parametrize("failure", range(len(FAILURES)))
@pytest.mark.parametrize("stream", [False, True])
def test_no_failure_shows_the_key(failure: int, stream: bool, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("cloud.llm.bodies").setLevel(logging.DEBUG)
    try:
        client = OpenAICompatClient(
            CANARY, "m", base_url=PLACES["openai"], transport=ScriptedTransport(FAILURES[failure]), max_retries=1
        )
        with pytest.raises(LLMError) as caught:
            if stream:
                client.chat_stream(HELLO).until_done()
            else:
                client.chat(HELLO)
    finally:
        logging.getLogger("cloud.llm.bodies").setLevel(logging.NOTSET)
    error = caught.value
    seen: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in seen:
        seen.append(link)
        captured = traceback.TracebackException.from_exception(link, capture_locals=True)
        # Our own test's frame is not the library's to clean.
        for summary in captured.stack:
            if not summary.filename.endswith("test_credentials.py"):
                assert_clean(repr(summary.locals))
        assert_clean(str(link) + repr(link) + repr(vars(link)))
        link = link.__cause__ or link.__context__
    assert_clean(pickle.dumps(error).decode("latin-1"))
    assert_clean(caplog.text)
    assert caplog.records
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.message, again.attempts) == (type(error), error.message, error.attempts)


def test_the_raised_error_lets_go_of_the_call() -> None:
    import gc

    from sans_io.calls.call import Call

    def calls() -> int:
        gc.collect()
        return sum(isinstance(thing, Call) for thing in gc.get_objects())

    client = OpenAICompatClient("k", "m", base_url=PLACES["openai"], transport=ScriptedTransport([NO_JSON] * 9))
    before = calls()
    kept = []
    for _ in range(3):
        try:
            client.chat(HELLO, max_retries=0)
        except LLMError as error:
            kept.append(error)
    assert calls() == before
    assert len(kept) == 3


# -- logs -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_each_attempt_is_one_line(mode: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "cloud.llm")
    transport = scripted(mode, ScriptedReply(error=ScriptedError("busy", 503)))

    async def scenario(client: Any) -> None:
        await client.chat(HELLO)

    perform(mode, scenario, transport=transport, api_key=CANARY)
    lines = [record.getMessage() for record in caplog.records if record.name == "cloud.llm"]
    assert len(lines) == 2
    assert "POST /v1/chat/completions, attempt 1 (first), status 503" in lines[0]
    assert "again in" in lines[0]
    assert "attempt 2 (503), status 200" in lines[1]
    assert "request id req_" in lines[1]
    assert "Hello!" not in caplog.text
    assert_clean(caplog.text)


def test_bodies_are_logged_when_asked_for_by_name(caplog: pytest.LogCaptureFixture) -> None:
    client = OpenAICompatClient(CANARY, "m", base_url=PLACES["openai"], transport=scripted("blocking"))
    client.chat(HELLO)
    assert "Hello!" not in caplog.text
    caplog.set_level(logging.DEBUG, "cloud.llm.bodies")
    client.chat([{"role": "user", "content": f"my key is {CANARY}\x1b[31m"}])
    client.chat_stream(HELLO).until_done()
    assert caplog.text.count("> POST /v1/chat/completions") == 2
    assert caplog.text.count("< req_") == 2
    assert "You said" in caplog.text
    assert "\x1b" not in caplog.text
    assert_clean(caplog.text)


def test_a_call_while_another_thread_imports_logging(monkeypatch: pytest.MonkeyPatch) -> None:
    """The module is there before its functions are."""
    client = OpenAICompatClient(CANARY, "m", base_url=PLACES["openai"], transport=scripted("blocking"))
    monkeypatch.setattr(logs, "_loggers", {})
    with monkeypatch.context() as importing:
        importing.setitem(sys.modules, "logging", ModuleType("logging"))
        assert client.chat(HELLO).content
    assert not logs._loggers
    assert client.chat(HELLO).content
    assert logs._loggers


@pytest.mark.parametrize("mode", MODES)
def test_a_hook_that_raises_is_reported_and_changes_nothing(mode: str, caplog: pytest.LogCaptureFixture) -> None:
    def hook(attempt: Any) -> None:
        raise ZeroDivisionError(f"with {CANARY}")

    async def scenario(client: Any) -> None:
        assert (await client.chat(HELLO)).content

    perform(mode, scenario, transport=scripted(mode), on_attempt=hook)
    assert "on_attempt raised ZeroDivisionError" in caplog.text
    assert_clean(caplog.text)


@pytest.mark.parametrize(
    "line",
    [
        f"Authorization: Bearer {CANARY}", f'{{"api_key": "{CANARY}"}}', f"api-key={CANARY}&x=1", f"key {CANARY}",
        f"https://user:{CANARY}@proxy:1/", f"x-api-key: {CANARY}", f"{{'Authorization': 'Bearer {CANARY}'}}",
        f"OPENAI_API_KEY={CANARY}", f"Incorrect API key provided: {CANARY}.", f"token%20Bearer%20{CANARY}",
    ],
)  # fmt: skip
def test_the_redactor_knows_keys_by_their_shape(line: str) -> None:
    from cloud.llm.redact import redact

    assert_clean(redact(line))
    assert "***" in redact(line)


@pytest.mark.parametrize(
    "line",
    [
        "no API key for openai: give api_key= or set OPENAI_API_KEY",
        "max_tokens: 5, tokens: 7",
        "the monkey-patched key",
    ],
)
def test_the_redactor_leaves_prose_alone(line: str) -> None:
    from cloud.llm.redact import redact

    assert redact(line) == line


def test_json_bodies_stay_readable() -> None:
    from cloud.llm.redact import redact

    body = json.dumps({"model": "m", "messages": HELLO, "max_tokens": 5})
    assert redact(body) == body


def test_servers_steer_no_terminal() -> None:
    from cloud.llm.redact import for_terminal

    hostile = "\x1b[2Jred\x07\x9b\u202e\u2066\u2028\r"
    shown = for_terminal(hostile)
    assert shown.isprintable()
    assert for_terminal("line\nnext\tcol é 漢 👨\u200d👩 \u00a0") == "line\nnext\tcol é 漢 👨\u200d👩 \u00a0"


def test_fake_servers_refuse_wrong_keys_over_each_wire() -> None:
    for wire in WIRES:
        server = FakeLLMServer(api_keys={"right"})
        client = BLOCKING[wire](api_key="wrong", base_url=PLACES[wire], transport=ScriptedTransport(server), model="m")
        with pytest.raises(LLMAuthError):
            client.chat(HELLO)


@pytest.mark.parametrize("word", ["Bearer", "bearer", "BEARER"])
@pytest.mark.parametrize("kind", [OpenAICompatClient, AnthropicClient, OllamaClient])
def test_a_key_is_given_without_its_scheme(kind: Any, word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LLMBadRequestError, match="begins with the word Bearer") as caught:
        kind(api_key=f"{word} {CANARY}", model="m")
    assert_clean(str(caught.value))
    variable = {
        OpenAICompatClient: "OPENAI_API_KEY",
        AnthropicClient: "ANTHROPIC_API_KEY",
        OllamaClient: "OLLAMA_API_KEY",
    }
    monkeypatch.setenv(variable[kind], f"{word} {CANARY}")
    with pytest.raises(LLMBadRequestError, match=f"^{variable[kind]} begins with the word Bearer"):
        kind(model="m")
    late = kind(api_key=lambda: f"{word} {CANARY}", model="m")
    with pytest.raises(LLMBadRequestError, match="api_key callable returned begins with the word Bearer"):
        late.build_request(HELLO)


@pytest.mark.parametrize("name", ["api-key", "Authorization", "X-API-Key", "AUTHORIZATION"])
@pytest.mark.parametrize("kind", [OpenAICompatClient, AnthropicClient])
def test_a_credential_for_one_request_travels_alone(kind: Any, name: str) -> None:
    client = kind(api_key=CANARY, model="m")
    once = client.build_request(HELLO, extra_headers={name: "Bearer another-0123456789"})
    carriers = [field for field, _ in once.headers if field.lower() in ("authorization", "api-key", "x-api-key")]
    assert carriers == [name]
    assert CANARY.encode() not in bytes(once.wire())
    assert CANARY.encode() in bytes(client.build_request(HELLO).wire())
