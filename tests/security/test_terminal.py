"""What a server says is shown, never obeyed: no byte of it steers a terminal or reorders a line.

Whatever a server puts into errors, pages, reasons, names and answers, the messages of errors, log lines and everything
the command line writes hold printable characters only (and the line breaks and tabs of an answer).
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import sys
from collections.abc import Callable
from time import process_time

import pytest

import cloud.llm as llm
from cloud.llm import LLMError
from cloud.llm.__main__ import main as command
from cloud.llm.redact import redact
from tests import wire_server as w
from tests.callers import HELLO, MODES, SYNC, Mode, chat, drain

#: Title, colour, clear, cursor report, hyperlink, clipboard; C1 forms; backspace, bell, carriage return; overrides,
#: isolates, marks, separators, invisible tags, zero width; half a pair.
HOSTILE = (
    "\x1b]0;owned\x07\x1b[31m\x1b[2J\x1b[6n\x1b]8;;http://evil.example\x1b\\link\x1b]52;c;cm0gLXJm\x07"
    "\x9b31m\x9d0;x\x9c\x08\x08\x7f\r\x0b\x0c\x00\x05\u202egnp.exe\u202c\u2066\u2069\u200f\u061c\u2028\u2029"
    "\U000e0041\ufeff\u200b\ud83d"
)
#: An answer may have these: line breaks and tabs are text, and the joiners belong to scripts and emoji.
ALLOWED = frozenset("\n\t\u200c\u200d")


def steers(text: str, allowed: frozenset[str] = frozenset()) -> list[str]:
    return [character for character in text if not character.isprintable() and character not in allowed]


ESCAPED = json.dumps(HOSTILE)
RAW = HOSTILE.encode("utf-8", "surrogatepass")
IN_HEADER = bytes(byte for byte in RAW if byte not in b"\r\n\0\x0b\x0c")

REPLIES: dict[str, bytes] = {
    "message": w.refusal("400 Bad", HOSTILE, code=HOSTILE, type=HOSTILE, param=HOSTILE),
    "raw message": w.reply(content=b'{"error":{"message":"' + IN_HEADER + b'"}}', status="400 Bad"),
    "plain text": w.reply(content=RAW, status="500 Oops"),
    "a page": w.reply(content=b"<html><title>" + RAW + b"</title><h1>" + RAW, status="502 Bad Gateway"),
    "a page with 200": w.reply(content=b"<html><script>alert(1)</script>" + RAW, status="200 OK"),
    "JSON of another shape": w.reply(content=f'{{"x":{ESCAPED}}}'.encode(), status="404 No"),
    "an array": w.reply(content=f"[{ESCAPED}]".encode()),
    "a detail": w.reply(content=f'{{"detail":[{{"loc":[{ESCAPED}],"msg":{ESCAPED}}}]}}'.encode(), status="422 No"),
    "reason phrase": b"HTTP/1.1 500 " + IN_HEADER + b"\r\nContent-Length: 0\r\n\r\n",
    "request id": b"HTTP/1.1 500 No\r\nx-request-id: " + IN_HEADER + b"\r\nContent-Length: 0\r\n\r\n",
    "location": b"HTTP/1.1 302 Go\r\nLocation: http://evil.example/" + IN_HEADER + b"\r\nContent-Length: 0\r\n\r\n",
    "content type": b"HTTP/1.1 200 OK\r\nContent-Type: text/" + IN_HEADER + b"\r\nContent-Length: 1\r\n\r\nx",
    "retry-after": b"HTTP/1.1 429 No\r\nRetry-After: " + IN_HEADER + b"\r\nContent-Length: 0\r\n\r\n",
    "no HTTP": RAW + b"\r\n\r\n",
    "bad chunk": w.head("200 OK", "Transfer-Encoding: chunked") + RAW + b"\r\n",
    "an event": w.STREAM_HEAD + w.ROLE + w.chunk(f'data: {{"error":{{"message":{ESCAPED},"type":{ESCAPED}}}}}\n\n'.encode()) + w.LAST,
    "bad JSON in an event": w.STREAM_HEAD + w.ROLE + w.chunk(b"data: {" + IN_HEADER + b"\n\n") + w.LAST,
    "finish reason": w.STREAM_HEAD + w.ROLE + w.chunk(w.event(finish=HOSTILE)) + w.LAST,
}  # fmt: skip


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("what", REPLIES)
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_errors_and_logs_are_printable(mode: Mode, what: str, stream: bool, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "cloud.llm")
    caplog.set_level(logging.DEBUG, "cloud.llm.bodies")
    with w.WireServer((w.read(), w.send(REPLIES[what]), w.close())) as server:
        client = mode.client(server.url + "/v1", max_retries=0, timeout=5.0)

        async def main() -> None:
            try:
                await (drain(client.chat_stream(HELLO)) if stream else chat(client))
            except LLMError as error:
                for text in (str(error), repr(error), repr(error.attempts)):
                    assert not steers(text), text
                for field in (error.code, error.error_type, error.request_id, error.provider, error.model):
                    assert field is None or not steers(field), field
                assert len(str(error)) <= 1000
                link = error.__cause__
                while link is not None:
                    assert not steers(str(link)), link
                    link = link.__cause__
            else:
                assert what == "finish reason"

        mode.run(main)
    assert caplog.records
    for record in caplog.records:
        assert not steers(record.getMessage()), record.getMessage()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@contextlib.contextmanager
def terminal():
    """Standard streams that say they are a terminal."""
    before = sys.stdin, sys.stdout, sys.stderr
    sys.stdin, sys.stdout, sys.stderr = Terminal(), Terminal(), Terminal()
    try:
        yield sys.stdout, sys.stderr
    finally:
        sys.stdin, sys.stdout, sys.stderr = before


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands have no option for it, and what is tried again only takes time here."""
    monkeypatch.setattr("cloud.llm.config.DEFAULT_MAX_RETRIES", 0)
    for client in (llm.OpenAICompatClient, llm.AnthropicClient, llm.OllamaClient):
        monkeypatch.setitem(client.__init__.__wrapped__.__kwdefaults__, "max_retries", 0)


def ask(url: str, *arguments: str) -> Callable[[], int]:
    return lambda: command(["chat", "--base-url", f"{url}/v1", "-m", "m", *arguments, "hello"])


def wrote(run: Callable[[], int]) -> tuple[int, str, str]:
    pytest.importorskip("typer")
    with terminal() as (out, err):
        code = run()
        return code, out.getvalue(), err.getvalue()


@pytest.mark.parametrize("what", REPLIES)
def test_the_command_line_prints_failures_safely(what: str) -> None:
    with w.WireServer((w.read(), w.send(REPLIES[what]), w.close())) as server:
        code, out, err = wrote(ask(server.url))
    assert not steers(out, ALLOWED), out
    assert not steers(err, frozenset("\n")), err
    if what != "finish reason":
        assert code == 1
        assert err.count("\n") == 1, "one line for a failure"


@pytest.mark.parametrize("arguments", [(), ("--json",)], ids=["text", "json"])
def test_the_command_line_prints_answers_safely(arguments: tuple[str, ...]) -> None:
    text = f"before\t{HOSTILE}\nafter \u0646\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"
    with w.WireServer(w.forever(w.read(), w.answer(text))) as server:
        code, out, err = wrote(ask(server.url, *arguments))
    assert code == 0, err
    assert not steers(out, ALLOWED), out
    if arguments:
        assert json.loads(out)["content"].startswith("before\t\x1b]0;")
    else:
        assert out.startswith("before\t\\x1b]0;owned")
        assert out.endswith("\nafter \u0646\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645\n"), (
            "text in other scripts was spoilt"
        )


def test_pieces_of_a_sequence_in_two_deltas_are_no_sequence() -> None:
    stream = (
        w.STREAM_HEAD + w.ROLE + b"".join(w.said(character) for character in "\x1b[31mred") + w.FINISH + w.DONE + w.LAST
    )
    with w.WireServer((w.read(), w.send(stream))) as server:
        code, out, _ = wrote(ask(server.url))
    assert (code, out) == (0, "\\x1b[31mred\n")


@pytest.mark.parametrize("path", ["openai", "ollama"])
def test_names_of_models_are_printed_safely(path: str) -> None:
    body = {"data": [{"id": HOSTILE}], "models": [{"name": HOSTILE, "model": HOSTILE}]}
    reply = w.reply(content=json.dumps(body).encode())
    with w.WireServer((w.read(), w.send(reply))) as server:
        arguments = (
            ["models", "--base-url", f"{server.url}/v1"]
            if path == "openai"
            else ["ollama", "list", "--host", server.url]
        )
        code, out, err = wrote(lambda: command(arguments))
    assert code == 0, err
    assert not steers(out, frozenset("\n")), out
    assert out.count("\n") == 1


def test_progress_of_a_download_is_printed_safely() -> None:
    lines = [
        {"status": HOSTILE + "[bold]"},
        {"status": HOSTILE, "digest": HOSTILE, "total": 10, "completed": 5},
        {"status": "success"},
    ]
    content = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    reply = w.head("200 OK", f"Content-Length: {len(content)}", type_="application/x-ndjson") + content
    with w.WireServer((w.read(), w.send(reply))) as server:
        code, out, err = wrote(lambda: command(["ollama", "pull", "m", "--host", server.url]))
    assert code == 0, err
    for hostile in ("\x1b]", "\x1b[31m", "\x1b[6n", "\x9b", "\x07", "\x08", "\u202e", "\u2028", "\U000e0041"):
        assert hostile not in out + err, ascii(hostile)  # the bars themselves move the cursor


def test_a_model_or_url_of_the_users_own_is_echoed_safely() -> None:
    code, out, err = wrote(
        lambda: command(["chat", "--base-url", f"http://127.0.0.1:9/{HOSTILE[:40]}", "-m", HOSTILE[:40], "hello"])
    )
    assert code in (1, 2)
    assert not steers(out + err, frozenset("\n"))
    client = SYNC.client("http://127.0.0.1:9/v1", model=HOSTILE)
    assert not steers(repr(client))


RUNS = [
    "x",
    "a.",
    "eyJaaaaaaaa-",
    "sk-",
    "secret",
    "api_key",
    "basic ",
    "bearer ",
    "key: ",
    "://",
    "a://b",
    "@",
    '"',
    "\x1b",
    "%20",
    "-_",
    "é",
]


@pytest.mark.parametrize("piece", RUNS, ids=ascii)
def test_logging_takes_linear_time(piece: str) -> None:
    """A run of anything, ten times what is shown of it: no pattern tries every beginning of it."""
    text = piece * (100_000 // len(piece))
    began = process_time()
    for shown in (redact(text), redact(f"bearer {text}"), redact(f"api_key={text}"), redact(f"https://{text}")):
        assert len(shown) < 10_100
    assert process_time() - began < 2.0
