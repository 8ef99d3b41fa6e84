"""The command line: what goes to stdout, what to stderr, and with which exit code."""

from __future__ import annotations

import io
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from typing import Any, Self

import pytest

import cloud.llm.embedded
from cloud.llm.__main__ import main
from transports.testing import FakeLLMServer, ScriptedError, ScriptedReply, ToolUse
from transports.testing.servers.loopback import LoopbackServer


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def fake() -> FakeLLMServer:
    return FakeLLMServer(unpullable={"no/such:latest"})


@pytest.fixture(autouse=True)
def server(fake: FakeLLMServer, monkeypatch: pytest.MonkeyPatch) -> Any:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "ANTHROPIC_API_KEY", "GROQ_API_KEY", "OLLAMA_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "stdin", Terminal())
    with LoopbackServer(fake) as listening:
        yield listening


def at(server: LoopbackServer, wire: Any = "openai") -> list[str]:
    return ["--base-url", server.base_url(wire), "-m", "m"]


Captured = pytest.CaptureFixture[str]


def test_chat_streams_the_answer(server: LoopbackServer, capsys: Captured) -> None:
    assert main(["chat", "Hello", "there", *at(server), "-s", "Be brief.", "--max-tokens", "50"]) == 0
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("You said: Hello there\n", "")
    ask = server.server.asks[0]
    assert (ask.stream, ask.max_tokens, ask.messages[0]) == (True, 50, ("system", "Be brief."))


@pytest.mark.parametrize("wire", ["anthropic", "ollama", "vllm"])
def test_chat_with_others(wire: str, server: LoopbackServer, capsys: Captured) -> None:
    place = server.base_url(wire if wire != "vllm" else "openai")  # type: ignore[arg-type]
    model = "qwen2.5:3b" if wire == "ollama" else "m"
    assert main(["chat", "Hi", "-p", wire, "--base-url", place, "-m", model]) == 0
    assert capsys.readouterr().out == "You said: Hi\n"


def test_chat_reads_a_pipe(server: LoopbackServer, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("from a pipe\n"))
    assert main(["chat", *at(server)]) == 0
    assert capsys.readouterr().out == "You said: from a pipe\n"
    monkeypatch.setattr(sys, "stdin", io.StringIO("a text\n"))
    assert main(["chat", "Summarise:", *at(server)]) == 0
    assert server.server.asks[-1].last_user_text == "Summarise:\n\na text"


def test_nothing_to_say_is_wrong_usage(server: LoopbackServer, capsys: Captured) -> None:
    assert main(["chat", *at(server)]) == 2
    assert "nothing to say" in capsys.readouterr().err
    assert main(["chatt"]) == 2
    assert main([]) in (0, 2)
    assert not server.requests


def test_json_is_one_object(server: LoopbackServer, fake: FakeLLMServer, capsys: Captured) -> None:
    fake.script(ScriptedReply(text="é\x1b[31m", tool_calls=[ToolUse("f", {"a": 1})]))
    assert main(["chat", "Hi", "--json", *at(server)]) == 0
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert "\x1b" not in out
    shown = json.loads(out)
    assert shown["content"] == "é\x1b[31m"
    assert shown["finish_reason"] == "tool_calls"
    assert shown["tool_calls"][0]["arguments"] == {"a": 1}
    assert shown["usage"]["input_tokens"] > 0
    assert shown["request_id"]


def test_a_server_steers_no_terminal(server: LoopbackServer, fake: FakeLLMServer, capsys: Captured) -> None:
    fake.script(ScriptedReply(text=["\x1b]0;title\x07", "line\n\ttext\u202e"]))
    fake.script(ScriptedReply(error=ScriptedError("\x1b[2Jboo\x9b", 400)))
    assert main(["chat", "Hi", *at(server)]) == 0
    assert main(["chat", "Hi", *at(server)]) == 1
    captured = capsys.readouterr()
    for text in (captured.out, captured.err):
        assert all(c.isprintable() or c in "\n\t" for c in text)
    assert "line\n\ttext" in captured.out


def test_a_failure_is_one_line_and_an_exit_code(server: LoopbackServer, fake: FakeLLMServer, capsys: Captured) -> None:
    fake.api_keys = frozenset({"right"})
    assert main(["chat", "Hi", *at(server)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("cloud-llm: LLMAuthError: ")
    assert captured.err.count("\n") == 1
    assert main(["models", "--base-url", "http://127.0.0.1:1/v1"]) == 1
    assert "LLMConnectionError" in capsys.readouterr().err
    assert main(["models"]) == 1
    assert "OPENAI_API_KEY" in capsys.readouterr().err
    assert main(["models", "-p", "klingon"]) == 1
    assert "known: " in capsys.readouterr().err


@pytest.mark.parametrize("place", ["first", "last"])
def test_debug_shows_the_traceback(place: str, server: LoopbackServer, fake: FakeLLMServer) -> None:
    from cloud.llm import LLMError

    fake.script(ScriptedReply(error=ScriptedError("no", 400)))
    line = ["chat", "Hi", *at(server)]
    with pytest.raises(LLMError):
        main(["--debug", *line] if place == "first" else [*line, "--debug"])


def test_a_cut_stream_leaves_what_came_and_an_error(
    server: LoopbackServer, fake: FakeLLMServer, capsys: Captured
) -> None:
    fake.script(ScriptedReply(text=["One", " two"], terminal=False, delay=0.02))
    assert main(["chat", "Hi", *at(server)]) == 1
    captured = capsys.readouterr()
    assert captured.out == "One two\n"
    assert "LLMStreamError" in captured.err


def test_why_there_is_no_more_to_read(server: LoopbackServer, fake: FakeLLMServer, capsys: Captured) -> None:
    fake.script(ScriptedReply(text="One", finish_reason="length"), ScriptedReply(tool_calls=[ToolUse("f")]))
    assert main(["chat", "Hi", *at(server)]) == 0
    assert "largest number of tokens" in capsys.readouterr().err
    assert main(["chat", "Hi", *at(server)]) == 0
    assert "no text" in capsys.readouterr().err


def test_models(server: LoopbackServer, capsys: Captured) -> None:
    assert main(["models", "--base-url", server.base_url("openai")]) == 0
    assert "gpt-5.4-mini" in capsys.readouterr().out.splitlines()
    assert main(["models", "--json", "-p", "ollama", "--base-url", server.base_url("ollama")]) == 0
    assert "qwen2.5:3b" in json.loads(capsys.readouterr().out)


def test_ollama_models(server: LoopbackServer, capsys: Captured) -> None:
    host = ["--host", server.base_url("ollama")]
    assert main(["ollama", "list", *host]) == 0
    assert "llama3.2:latest" in capsys.readouterr().out.splitlines()
    assert main(["ollama", "list", "--json", *host]) == 0
    assert "llama3.2:latest" in json.loads(capsys.readouterr().out)
    assert main(["ollama", "pull", "codellama:7b", *host]) == 0
    captured = capsys.readouterr()
    assert captured.out == "codellama:7b is installed.\n"
    assert "pulling manifest" in captured.err
    assert "success" in captured.err
    assert main(["ollama", "ensure", "codellama:7b", *host]) == 0
    assert sum(request.path == "/api/pull" for request in server.requests) == 1
    assert main(["ollama", "pull", "no/such", *host]) == 1
    assert "manifest" in capsys.readouterr().err


def test_the_life_of_an_ollama_model(server: LoopbackServer, capsys: Captured) -> None:
    host = ["--host", server.base_url("ollama")]
    for words, shown in (
        (["show", "LLAMA3.2"], "family        test\nsize          3B\nquantization  Q4_K_M\n"
                               "context       32768 tokens\ncapabilities  completion, tools\n"),
        (["running"], ""),
        (["load", "llama3.2", "--keep-alive", "10m"], "llama3.2 is in memory.\n"),
        (["running"], "llama3.2:latest  1.9 GB  until 2026-11-22 12:05\n"),
        (["unload", "llama3.2"], "llama3.2 is unloaded.\n"),
        (["copy", "llama3.2", "mine"], "mine is llama3.2.\n"),
        (["delete", "mine"], "mine is deleted.\n"),
        (["ensure", "codellama", "--insecure"], "codellama is installed.\n"),
    ):  # fmt: skip
        assert main(["ollama", *words, *host]) == 0
        assert capsys.readouterr().out == shown
    assert json.loads(server.requests[-1].body)["insecure"] is True
    assert main(["ollama", "show", "llama3.2", "--json", *host]) == 0
    assert json.loads(capsys.readouterr().out)["capabilities"] == ["completion", "tools"]
    assert main(["ollama", "running", "--json", *host]) == 0
    assert json.loads(capsys.readouterr().out) == []
    for words in (["show"], ["delete"], ["load"], ["unload"]):
        assert main(["ollama", *words, "mine", *host]) == 1
        captured = capsys.readouterr()
        assert captured.out == ""
        assert "model 'mine' not found" in captured.err


def test_local_runs_the_embedded_model_and_stops_it(
    server: LoopbackServer, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []

    class Embedded:
        base_url = server.base_url("openai")

        def __enter__(self) -> Self:
            events.append("started")
            return self

        def __exit__(self, *exc: object) -> None:
            events.append("stopped")

    monkeypatch.setattr(cloud.llm.embedded, "EmbeddedServer", Embedded)
    assert main(["chat", "Hi", "--local"]) == 0
    assert capsys.readouterr().out == "You said: Hi\n"
    assert events == ["started", "stopped"]
    assert main(["chat", "Hi", "--local", *at(server)]) == 1
    assert "cannot be used together" in capsys.readouterr().err

    def unfit() -> None:
        raise cloud.llm.embedded.EmbeddedServerError("no wheel for this machine")

    monkeypatch.setattr(cloud.llm.embedded, "EmbeddedServer", unfit)
    assert main(["chat", "Hi", "--local"]) == 1
    assert capsys.readouterr().err == "cloud-llm: no wheel for this machine\n"


def test_demo_is_handed_its_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    import cloud.llm.demo

    given: list[Any] = []

    def shown(arguments: Any) -> int:
        given.append(arguments)
        return 130

    monkeypatch.setattr(cloud.llm.demo, "main", shown)
    assert main(["demo", "--base-url", "http://x/v1", "-m", "m"]) == 130
    assert given == [["--base-url", "http://x/v1", "--model", "m"]]


BLANK = [
    (["chat", "Hi", "--base-url", "", "-m", "m"], "base_url is blank"),
    (["chat", "Hi", "--base-url", " ", "--provider", "anthropic"], "base_url is blank"),
    (["chat", "Hi", "--base-url", "http://h.example/v1", "-m", ""], "model is blank"),
    (["models", "--base-url", ""], "base_url is blank"),
    (["demo", "--base-url", ""], "--base-url is blank"),
    (["demo", "--base-url", "http://h.example/v1", "--model", ""], "model is blank"),
    (["ollama", "list", "--host", ""], "host is blank"),
    (["serve-fake", "--host", " "], "--host is blank"),
]


@pytest.mark.parametrize(("arguments", "said"), BLANK, ids=[" ".join(arguments[:3]) for arguments, _ in BLANK])
def test_a_blank_place_is_refused(
    arguments: list[str], said: str, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An environment variable that is not set leaves it blank; a key is at hand, and must not go to the vendor's."""
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.setenv(name, "sk-test")
    assert main(arguments) == 1
    assert said in capsys.readouterr().err


def test_the_demo_goes_nowhere_with_a_blank_variable(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.setenv("OPENAI_BASE_URL", "")
    assert main(["demo"]) == 1
    assert "the environment variable OPENAI_BASE_URL is set but blank" in capsys.readouterr().err


def test_without_the_extra_one_line_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    monkeypatch.setitem(sys.modules, "typer", None)
    monkeypatch.delitem(sys.modules, "cloud.llm.cli", raising=False)
    assert main(["models"]) == 1
    assert capsys.readouterr().err == "the command line needs the extra 'cli': pip install 'cloud-llm[cli]'\n"


def test_help_names_every_command(capsys: Captured) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    for word in ("chat", "models", "demo", "ollama", "serve-fake", "--debug"):
        assert word in out


# -- as processes -----------------------------------------------------------------------------------------------------

CLI = [sys.executable, "-X", "dev", "-W", "error", "-m", "cloud.llm"]


def test_a_fake_server_serves_until_interrupted() -> None:
    process = subprocess.Popen(
        [*CLI, "serve-fake"], stderr=subprocess.PIPE, text=True, preexec_fn=_default_interrupt, env=_environment()
    )
    assert process.stderr is not None
    try:
        lines = [process.stderr.readline() for _ in range(5)]
        place = next(line.split()[1] for line in lines if line.strip().startswith("openai"))
        done = subprocess.run(
            [*CLI, "chat", "Hello", "--base-url", place, "-m", "m"], capture_output=True, text=True, check=False,
            stdin=subprocess.DEVNULL, env=_environment(),
        )  # fmt: skip
        assert (done.returncode, done.stdout, done.stderr) == (0, "You said: Hello\n", "")
    finally:
        process.send_signal(signal.SIGINT)
        rest = process.communicate(timeout=20)[1]
    assert "Traceback" not in rest


def test_ctrl_c_and_a_reader_that_leaves(server: LoopbackServer, fake: FakeLLMServer) -> None:
    fake.reply = lambda _: ScriptedReply(text=["tick\n"] * 500, delay=0.02)
    process = subprocess.Popen(
        [*CLI, "chat", "Hello", *at(server)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        stdin=subprocess.DEVNULL, preexec_fn=_default_interrupt, env=_environment(),
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "tick\n"
    process.send_signal(signal.SIGINT)
    err = process.communicate(timeout=20)[1]
    assert process.returncode == 130
    assert err == "\nStopped.\n"
    shell = f"{shlex.join([*CLI, 'chat', 'Hello', *at(server)])} </dev/null | head -n 2"
    started = time.monotonic()
    done = subprocess.run(["/bin/sh", "-c", shell], capture_output=True, text=True, check=False, env=_environment())
    assert (done.stdout, done.stderr) == ("tick\ntick\n", "")
    assert time.monotonic() - started < 8


def _default_interrupt() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _environment() -> dict[str, str]:
    return {**os.environ, "TERM": "dumb", "COLUMNS": "200"}
