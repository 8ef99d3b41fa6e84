"""A key on a client is in the bytes that go to its server and in nothing else that anybody can look at.

One key, told apart from everything by its first eight characters, goes through each way of failing, in each mode;
afterwards everything that came out is searched for it: raw, base64, URL-quoted, or its first eight characters.
Its shape is that of no vendor's key, so that no redactor can recognise it.
"""

from __future__ import annotations

import base64
import copy
import io
import json
import logging
import pickle
import ssl
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import trustme

import cloud.llm as llm
from cloud.llm import LLMError, LLMProtocolError, Timeouts
from sans_io.http.secret import Secret
from tests import wire_server as w
from tests.callers import HELLO, MODES, SYNC, Mode, chat, drain

KEY = "Kanari1e/+x9=Zq~4T&Vogel%7b"
PASSWORD = "Gimpel5r/+w2=Fink~8P"
ROOT = Path(llm.__file__).parents[2]


def shapes(secret: str) -> set[bytes]:
    """What must not be found: also in base64 at any of its three alignments, and as part of a longer value."""
    raw, quoted = secret.encode(), quote(secret, safe="").encode()
    found = {raw, raw[:8], raw[-8:], quoted, quoted[-8:], quote(secret).encode()[:16]}
    found |= {"".join(form % ord(char) for char in secret[:8]).encode() for form in ("\\u%04x", "%%%02x", "&#%d;")}
    for lead in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            # The first and last characters depend on the neighbours.
            found.add(encode(b"x" * lead + raw)[4 if lead else 0 : -4][:16])
    for text in (f"Bearer {secret}", f"user:{secret}"):
        found.add(base64.b64encode(text.encode())[-16:-4])
    return found


NEEDLES = shapes(KEY) | shapes(PASSWORD)


def leaks(text: str | bytes) -> list[bytes]:
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    return [needle for needle in NEEDLES if needle in data]


def test_the_needles_are_found_where_they_are() -> None:
    for text in (
        KEY, f"x{KEY}y", quote(KEY, safe=""), base64.b64encode(KEY.encode()).decode(), f"key {KEY[:8]}...",
        base64.b64encode(f"Bearer {KEY}".encode()).decode(), base64.b64encode(f"ab{KEY}cd".encode()).decode(), repr(KEY),
        json.dumps({"key": KEY}), base64.b64encode(f"user:{PASSWORD}".encode()).decode(),
    ):  # fmt: skip
        assert leaks(text), text
    assert not leaks(Path(__file__).with_name("test_redirects.py").read_bytes())


# -- everything that can be looked at ---------------------------------------------------------------------------------


class Sinks:
    """Collects what comes out while a scenario runs, and says where the key was seen."""

    def __init__(self) -> None:
        self.found: list[tuple[str, str]] = []

    def look(self, where: str, text: str | bytes) -> None:
        filler = b"x" * 4096 if isinstance(text, bytes) else "x" * 4096
        text = text.replace(filler, filler[:0])  # the large prompt
        self.found += [(where, needle.decode()) for needle in leaks(text)]

    def error(self, error: BaseException) -> None:
        """All that an error shows, and all it was caused by."""
        seen: list[BaseException] = []
        todo = [error]
        while todo:
            link = todo.pop()
            if link in seen:
                continue
            seen.append(link)
            chained = (link.__cause__, link.__context__, *getattr(link, "exceptions", ()))
            todo += [more for more in chained if more is not None]
            name = type(link).__name__
            self.look(f"{name}: str", str(link))
            self.look(f"{name}: repr", repr(link))
            self.look(f"{name}: args", repr(link.args))
            self.look(f"{name}: vars", deep(vars(link)))
            self.look(f"{name}: notes", repr(getattr(link, "__notes__", ())))
            traced = traceback.TracebackException.from_exception(link, capture_locals=True, limit=None)
            for frame in traced.stack:
                # The frames of this test hold the key on purpose.
                if "tests" not in Path(frame.filename).parts:
                    self.look(f"{name}: locals of {Path(frame.filename).name}:{frame.name}", repr(frame.locals))
            self.look(f"{name}: traceback", "".join(traceback.format_exception(link)))
            self.frames(name, link)
            if isinstance(link, LLMError):
                self.look(f"{name}: pickle", pickle.dumps(link))
                self.look(f"{name}: copy", deep(vars(copy.copy(link))))

    def frames(self, name: str, error: BaseException) -> None:
        """What a debugger or an error tracker reads: locals, and the attributes of what they hold."""
        trace = error.__traceback__
        while trace is not None:
            code = trace.tb_frame.f_code
            if str(ROOT) in code.co_filename and "tests" not in Path(code.co_filename).parts:
                for variable, value in trace.tb_frame.f_locals.items():
                    if isinstance(value, (str, bytes, bytearray)):
                        self.look(
                            f"{name}: raw {variable} in {code.co_name}",
                            value if isinstance(value, str) else bytes(value),
                        )
                    else:
                        self.look(f"{name}: {variable} in {code.co_name}", deep(value, 2))
            trace = trace.tb_next


def deep(thing: object, levels: int = 6) -> str:
    """What it prints, and what its attributes and items print."""
    try:
        shown = [repr(thing)]
    except AttributeError:
        shown = []  # its constructor has raised
    if levels:
        if isinstance(thing, dict):
            shown += [deep(part, levels - 1) for pair in thing.items() for part in pair]
        elif isinstance(thing, (list, tuple, set, frozenset)):
            shown += [deep(part, levels - 1) for part in thing]
        elif (
            type(thing).__module__.partition(".")[0] in ("cloud", "sans_io", "transports") and type(thing) is not Secret
        ):
            shown += [deep(part, levels - 1) for part in getattr(thing, "__dict__", {}).values()]
    return "\n".join(shown)


@contextmanager
def watching() -> Iterator[Sinks]:
    """Logs of everybody at the lowest level, warnings, what is printed, and what is raised where nobody catches."""
    sinks = Sinks()
    lines = io.StringIO()
    handler = logging.StreamHandler(lines)
    handler.setFormatter(logging.Formatter("%(name)s %(message)s %(args)r"))
    root, bodies = logging.getLogger(), logging.getLogger("cloud.llm.bodies")
    before, printed = root.level, io.StringIO()
    out, err, hook = sys.stdout, sys.stderr, sys.unraisablehook
    root.addHandler(handler)
    root.setLevel(1)
    bodies.setLevel(1)
    sys.stdout = sys.stderr = printed
    sys.unraisablehook = lambda raised: sinks.look("unraisable", repr(raised))
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            yield sinks
    finally:
        sys.stdout, sys.stderr, sys.unraisablehook = out, err, hook
        root.removeHandler(handler)
        root.setLevel(before)
        bodies.setLevel(logging.NOTSET)
    sinks.look("log", lines.getvalue())
    sinks.look("printed", printed.getvalue())
    for warning in warned:
        sinks.look("warning", f"{warning.message!r} {warning.message}")
    assert "cloud.llm" in lines.getvalue(), "nothing was logged: the watch is blind"


# -- each way of failing ----------------------------------------------------------------------------------------------

ECHO = f"Incorrect API key provided: {KEY}. Find yours at https://example.com/?k={quote(KEY, safe='')}"
#: As JSON, a URL and HTML may write every character of it.
ESCAPED = "".join(f"\\u{ord(char):04x}" for char in KEY)
PERCENT = "".join(f"%{ord(char):02x}" for char in KEY)
ENTITIES = "".join(f"&#{ord(char)};" for char in KEY)


def in_two_chunks(status: str, content: bytes, at: int) -> bytes:
    parts = (content[:at], content[at:])
    return w.head(status, "Transfer-Encoding: chunked") + b"".join(map(w.chunk, parts)) + w.LAST


FAILURES: dict[str, tuple[type[LLMError], w.Script]] = {
    "LLMAuthError": (llm.LLMAuthError, (w.read(), w.send(w.refusal("401 No", "bad key")))),
    "the server repeats the key": (
        llm.LLMAuthError,
        (w.read(), w.send(w.refusal("401 No", ECHO, f"x-request-id: {KEY}", param=KEY, code=KEY, type=f"t-{KEY}"))),
    ),
    "the server repeats the key in plain text": (
        llm.LLMAuthError,
        (w.read(), w.send(w.reply(content=ECHO.encode(), status="401 No"))),
    ),
    "the server repeats the head": (
        llm.LLMBadRequestError,
        (w.read(), lambda peer: peer.send(w.reply(content=peer.heads[-1], status="400 Trace"))),
    ),
    "the server repeats the key across two chunks": (
        llm.LLMAuthError,
        (w.read(), w.send(in_two_chunks("401 No", b"your key " + KEY.encode(), 14))),
    ),
    "the server repeats the key in escapes of JSON": (
        llm.LLMAuthError,
        (w.read(), w.send(w.reply(content=b'{"error":{"message":"bad %b","code":"%b"}}' % (ESCAPED.encode(), ESCAPED[:60].encode()), status="401 No"))),
    ),
    "the server repeats the key in escapes that nobody undoes": (
        llm.LLMAuthError,
        (w.read(), w.send(w.reply(content=f"<p>{ESCAPED} {PERCENT} {ENTITIES} {KEY.replace('/', chr(92) + '/')}".encode(), status="401 No"))),
    ),
    "the server repeats the key in a string of JSON": (
        llm.LLMAuthError,
        (w.read(), w.send(w.refusal("401 No", json.dumps({"detail": json.dumps({"key": KEY}), "url": f"/?k={PERCENT}"})))),
    ),
    "the server repeats the key in base64": (
        llm.LLMAuthError,
        (w.read(), w.send(w.refusal("401 No", base64.b64encode(f"Authorization: Bearer {KEY}".encode()).decode()))),
    ),
    "the server repeats the key as its reason": (
        llm.LLMAuthError,
        (w.read(), w.send(b"HTTP/1.1 401 " + KEY.encode() + b"\r\nContent-Length: 0\r\n\r\n")),
    ),
    "LLMRateLimitError": (llm.LLMRateLimitError, (w.read(), w.send(w.refusal("429 Slow", f"slow down {KEY}")))),
    "LLMQuotaError": (llm.LLMQuotaError, (w.read(), w.send(w.refusal("402 Pay", "pay")))),
    "LLMBadRequestError": (llm.LLMBadRequestError, (w.read(), w.send(w.refusal("400 Bad", "bad")))),
    "LLMContextLengthError": (
        llm.LLMContextLengthError,
        (w.read(), w.send(w.refusal("400 Bad", "long", code="context_length_exceeded"))),
    ),
    "LLMContentFilterError": (
        llm.LLMContentFilterError,
        (w.read(), w.send(w.refusal("400 Bad", "no", code="content_filter"))),
    ),
    "LLMNotFoundError": (llm.LLMNotFoundError, (w.read(), w.send(w.refusal("404 No", "no")))),
    "LLMServerError": (llm.LLMServerError, w.forever(w.read(), w.send(w.refusal("500 Oops", f"oops {KEY}")))),
    "LLMTimeoutError": (llm.LLMTimeoutError, (w.read(), w.hold())),
    "LLMConnectionError": (llm.LLMConnectionError, (w.read(), w.reset())),
    "cut in the answer": (llm.LLMError, (w.read(), w.send(w.reply()[:-5]), w.reset())),
    "LLMStreamError": (llm.LLMError, (w.read(), w.send(w.STREAM_HEAD + w.ROLE + w.said("x")), w.reset())),
    "LLMProtocolError": (LLMProtocolError, (w.read(), w.send(b"nonsense\r\n\r\n"))),
    "a web page": (
        LLMProtocolError,
        (w.read(), lambda peer: peer.send(w.head("200 OK", "Content-Length: 60", type_="text/html") + f"<p>{KEY}".encode().ljust(60))),
    ),
    "a redirect": (
        LLMProtocolError,
        (w.read(), w.send(w.reply("", f"Location: https://{KEY}@evil.example/a?k={quote(KEY)}", status="302 Go"))),
    ),
    "a broken event": (LLMError, (w.read(), w.send(w.STREAM_HEAD + w.ROLE + w.chunk(b"data: {\n\n") + w.LAST))),
    "an error inside a stream": (
        LLMError,
        (w.read(), w.send(w.STREAM_HEAD + w.ROLE + w.chunk(b'data: {"error":{"message":%s}}\n\n' % json.dumps(ECHO).encode()) + w.LAST)),
    ),
    # The client is still writing when the connection breaks.
    "a write fails": (LLMError, (w.read_some(100), w.reset())),
    "a write stops": (llm.LLMTimeoutError, (w.read_some(100), w.deaf())),
}  # fmt: skip

#: Larger than what two socket buffers hold.
LARGE = [{"role": "user", "content": "x" * 8_000_000}]


async def fails(client: Any, sinks: Sinks, stream: bool, messages: list = HELLO) -> LLMError:
    texts: list[str] = []
    try:
        if stream:
            await drain(client.chat_stream(messages), texts)
        else:
            await chat(client, messages)
    except LLMError as error:
        sinks.error(error)
        sinks.look("attempts", repr(error.attempts))
        return error
    raise AssertionError("nothing failed")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("what", FAILURES)
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_no_failure_shows_the_key(mode: Mode, what: str, stream: bool) -> None:
    kind, script = FAILURES[what]
    script = script if what.startswith("a write") else w.forever(*script)
    with watching() as sinks, w.WireServer(script, receive_buffer=4096) as server:

        def seen(attempt: object) -> None:
            sinks.look("on_attempt", deep(attempt))

        client = mode.client(
            server.url + "/v1",
            api_key=KEY,
            headers={"X-Password": PASSWORD},
            max_retries=1 if what in ("LLMServerError", "LLMConnectionError") else 0,
            timeout=Timeouts(total=0.4 if "Timeout" in what or "stops" in what else 5.0),
            on_attempt=seen,
        )
        messages = LARGE if what.startswith("a write") else HELLO

        async def main() -> LLMError:
            return await fails(client, sinks, stream, messages)

        errors = mode.run(main)
        assert all(isinstance(error, kind) for error in errors), errors
        sinks.look("client", deep(client) + deep(vars(client)))
        sinks.look("pickled client", _pickled(client))
    assert not sinks.found


def _pickled(client: object) -> bytes:
    try:
        return pickle.dumps(client)
    except TypeError as refused:
        return str(refused).encode()


@pytest.mark.parametrize("wire", ["openai", "anthropic", "ollama"])
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_every_wire_hides_what_the_server_repeats(mode: Mode, wire: str) -> None:
    with watching() as sinks, w.WireServer(w.forever(*FAILURES["the server repeats the key"][1])) as server:
        client = mode.client(server.url, wire, api_key=KEY, max_retries=0)

        async def main() -> LLMError:
            return await fails(client, sinks, False)

        for error in mode.run(main):
            assert "Incorrect API key provided" in str(error)
        assert all(KEY.encode() in head for peer in server.accepted for head in peer.heads), "the key was not even sent"
    assert not sinks.found


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_key_from_a_callable_is_hidden_as_well(mode: Mode) -> None:
    with watching() as sinks, w.WireServer(w.forever(*FAILURES["the server repeats the key"][1])) as server:
        client = mode.client(server.url + "/v1", api_key=lambda: KEY, max_retries=0)

        async def main() -> LLMError:
            return await fails(client, sinks, False)

        mode.run(main)
        sinks.look("client", deep(vars(client)))
        refused = client.with_options(api_key=lambda: KEY + "\n")

        async def bad() -> LLMError:
            return await fails(refused, sinks, False)

        mode.run(bad)
    assert not sinks.found


@pytest.mark.parametrize("bad", ["\n", "\0", "é", " ", "\x1b"])
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_what_is_refused_at_construction_is_not_echoed(mode: Mode, bad: str) -> None:
    sinks = Sinks()
    for options in (
        {"api_key": KEY + bad},
        {"headers": {"X-Password": bad + PASSWORD}},
        {"headers": {"X-Other": PASSWORD + bad}},
        {"headers": {PASSWORD + bad: "x"}},
        {"proxy": f"http://user:{PASSWORD}{bad}@127.0.0.1:3128/x"},
        {"base_url": f"http://user:{PASSWORD}{bad}@127.0.0.1/v1"},
        {"base_url": f"http://127.0.0.1/v1{bad}{PASSWORD}"},
    ):
        with pytest.raises(LLMError) as caught:
            mode.client(**{"base_url": "http://127.0.0.1:9/v1", **options})
        sinks.error(caught.value)
    client = mode.client("http://127.0.0.1:9/v1")
    with pytest.raises(LLMError) as caught:
        client.with_options(api_key=KEY + bad)
    sinks.error(caught.value)
    assert not sinks.found


# -- TLS and proxies --------------------------------------------------------------------------------------------------

CA = trustme.CA()


@pytest.fixture(scope="module")
def ca_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    CA.cert_pem.write_to_path(str(path))
    return str(path)


def context(*names: str) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    CA.issue_cert(*(names or ("127.0.0.1",))).configure_cert(made)
    return made


TLS: dict[str, Callable[[], w.Script]] = {
    "wrong host": lambda: (w.tls(context("elsewhere.example")), w.read()),
    "reset after the request": lambda: (w.tls(context()), w.read(), w.reset()),
    "a broken record": lambda: (w.tls(context()), w.read(), w.send_below_tls(b"\x17\x03\x03\x00\x20" + b"x" * 32)),
    "a write fails": lambda: (w.tls(context()), w.read_some(100), w.reset()),
}


@pytest.mark.parametrize("what", TLS)
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_no_failure_of_tls_shows_the_key(mode: Mode, what: str, ca_file: str) -> None:
    with watching() as sinks, w.WireServer(TLS[what]()) as server:
        client = mode.client(f"https://127.0.0.1:{server.port}/v1", api_key=KEY, ca_file=ca_file, max_retries=0)
        messages = LARGE if "write" in what else HELLO

        async def main() -> LLMError:
            return await fails(client, sinks, False, messages)

        mode.run(main)
    assert not sinks.found


PROXIES: dict[str, w.Script] = {
    "refuses": (w.read(), w.send(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n")),
    "repeats the head": (w.read(), lambda peer: peer.send(w.reply(content=peer.heads[-1], status="403 No"))),
    "repeats the credentials as its reason": (
        w.read(),
        w.send(b"HTTP/1.1 403 " + base64.b64encode(f"user:{PASSWORD}".encode()) + b"\r\nContent-Length: 0\r\n\r\n"),
    ),
    "repeats the key and the password as its reason": (
        w.read(),
        w.send(f"HTTP/1.1 403 {KEY} {PASSWORD} {ESCAPED[:60]}\r\nContent-Length: 0\r\n\r\n".encode()),
    ),
    "repeats the password cut and escaped": (
        w.read(),
        w.send(f"HTTP/1.1 403 {'x' * 60} {PASSWORD} {quote(PASSWORD, safe='')}\r\nContent-Length: 0\r\n\r\n".encode()),
    ),
    "repeats the head in two chunks": (
        w.read(),
        lambda peer: peer.send(
            in_two_chunks("403 No", peer.heads[-1], peer.heads[-1].lower().find(b"authorization") + 40)
        ),
    ),
    "breaks": (w.read(), w.reset()),
    "talks nonsense": (w.read(), w.send(b"220 mail ready\r\n\r\n")),
}


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("what", PROXIES)
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_no_failure_of_a_proxy_shows_a_credential(mode: Mode, what: str, scheme: str) -> None:
    with watching() as sinks, w.WireServer(w.forever(*PROXIES[what])) as server:
        client = mode.client(
            f"{scheme}://api.example/v1",
            api_key=KEY,
            proxy=f"http://user:{quote(PASSWORD, safe='')}@127.0.0.1:{server.port}",
            max_retries=0,
        )

        async def main() -> LLMError:
            return await fails(client, sinks, False)

        mode.run(main)
        sinks.look("client", deep(vars(client)))
        sinks.look("pickled client", _pickled(client))
    assert not sinks.found


# -- things that hold it ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wire", ["openai", "anthropic", "ollama"])
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_what_holds_the_key_does_not_show_it(mode: Mode, wire: str) -> None:
    with (
        watching() as sinks,
        w.WireServer(
            (w.read(), w.send(w.reply())),
        ) as server,
    ):
        proxy = f"http://user:{quote(PASSWORD, safe='')}@127.0.0.1:9"
        client = mode.client(server.url, wire, api_key=KEY, headers={"Authorization-2": PASSWORD})
        if wire == "openai":

            async def main() -> object:
                return await chat(client)

            for response in mode.run(main):
                sinks.look("response", deep(response) + str(response))
                sinks.look("pickled response", pickle.dumps(response))
        else:
            logging.getLogger("cloud.llm").debug("this wire is not called here")
        request = client.build_request(HELLO)
        through = mode.client(server.url, wire, api_key=KEY, proxy=proxy)
        through.build_request(HELLO)
        for thing in (
            client,
            vars(client),
            request,
            request.head,
            request.headers,
            request.wire(),
            through,
            vars(through),
        ):
            sinks.look(type(thing).__name__, deep(thing) + str(thing) + f"{thing}")
        for thing in (client, through):
            sinks.look("made", deep(thing._made, 8))
            sinks.look("pickled client", _pickled(thing))
        with pytest.raises(TypeError):
            pickle.dumps(Secret(KEY))
        with pytest.raises(TypeError):
            pickle.dumps(request)
        sinks.look(
            "secret",
            repr(Secret(KEY)) + str(Secret(KEY)) + f"{Secret(KEY)!s:>40}" + f"{Secret(KEY)}" + ascii(Secret(KEY)),
        )
    assert not sinks.found


def test_the_pool_keeps_nothing_of_a_caller() -> None:
    """What stays behind after a call is a connection and its place, without request, key or answer."""
    import gc

    with watching() as sinks, w.WireServer(w.forever(w.read(), w.answer())) as server:
        transport = SYNC.transport()
        client = SYNC.client(server.url + "/v1", api_key=KEY, transport=transport)
        client.chat(HELLO)
        assert transport.pool_stats().idle == 1
        del client
        gc.collect()
        assert not [
            thing
            for thing in reachable(transport)
            if isinstance(thing, (str, bytes, bytearray))
            and leaks(bytes(thing, "utf-8") if isinstance(thing, str) else bytes(thing))
        ]
        assert not [thing for thing in gc.get_objects() if type(thing) is Secret and thing.reveal() == KEY]
    assert not sinks.found
    transport.close_idle()


def reachable(thing: object) -> list[object]:
    """All that hangs on it, without what hangs on modules and classes."""
    import gc
    from types import BuiltinFunctionType, FrameType, FunctionType, ModuleType

    seen, todo = {id(thing): thing}, [thing]
    while todo:
        for part in gc.get_referents(todo.pop()):
            if id(part) not in seen and not isinstance(
                part, (type, ModuleType, FunctionType, BuiltinFunctionType, FrameType)
            ):
                seen[id(part)] = part
                todo.append(part)
    return list(seen.values())
