"""The fault matrix as a table: 13 phases of a call, 12 faults, what a caller sees of each.

A retried cell meets the same fault again: with one retry allowed it fails after its second attempt. Reasons of cells
that cannot be: `LAYER` (no such layer in this phase), `NO_BYTES` (the fault needs bytes that do not exist yet),
"equal to <phase> / <fault>".
"""

from __future__ import annotations

from typing import Any

from cloud.llm import Timeouts
from sans_io.limits import Limits
from tests.promises.matrix.driver import NOBODY_TRUSTS, PROMPT, SERVER_TLS, Cell, T
from tests.wire_server import (
    DONE,
    FINISH,
    LAST,
    ROLE,
    STREAM_HEAD,
    Script,
    answer,
    body,
    chunk,
    cork,
    deaf,
    drip,
    event,
    fin,
    forever,
    gather,
    head,
    hold,
    mark,
    pause,
    read,
    read_some,
    refusal,
    reply,
    reset,
    said,
    send,
    send_below_tls,
    sip,
    tls,
    wait_go,
)

PHASES = (
    "dns", "tcp", "tls", "proxy-connect", "write", "await head", "informational", "head", "body before commit",
    "after commit", "between events", "trailers", "idle in the pool",
)  # fmt: skip
FAULTS = (
    "refuse", "reset", "FIN", "silence", "drip", "surplus bytes", "unsolicited reply", "wrong length", "garbage",
    "wrong content type", "oversize", "cancel",
)  # fmt: skip

LAYER = "no such layer in this phase"
NO_BYTES = "needs bytes that do not exist yet"
MANY = 1000

CELLS: list[Cell] = []


def cell(phase: str, fault: str, what: str, *script: Any, **expected: Any) -> None:
    CELLS.append(Cell(phase, fault, what, tuple(script), **expected))


def impossible(phase: str, reason: str, *faults: str) -> None:
    CELLS.extend(Cell(phase, fault, "", impossible=reason) for fault in faults)


def cancelled(phase: str, what: str, *script: Any, **expected: Any) -> None:
    options = {"error": "LLMStreamError", "code": "cancelled", "cancel": True, **expected}
    CELLS.append(Cell(phase, "cancel", what, tuple(script), **options))


def expect(error: str | None, code: str | tuple[str, ...] = "", attempts: int = 1, **more: Any) -> dict[str, Any]:
    return {"error": error, "code": code, "attempts": attempts, **more}


PROTOCOL, CONNECTION, TIMEOUT, STREAM = "LLMProtocolError", "LLMConnectionError", "LLMTimeoutError", "LLMStreamError"
SERVER = "LLMServerError"

# -- dns ---------------------------------------------------------------------------------------------------------------
NAMES: dict[str, Any] = {"layer": "dns", "connection": "none"}
PLAIN: Script = forever(read(), answer("ab"))
cell("dns", "refuse", "the name does not exist", **NAMES, **expect(CONNECTION, "dns"))
cell("dns", "reset", "EAI_AGAIN", **NAMES, **expect(CONNECTION, "dns", 2))
cell("dns", "silence", "the resolver hangs", **NAMES, **expect(TIMEOUT, "connect_timeout", 2, after=2 * T))
cell("dns", "drip", "the resolver is slow", read(), gather(), answer("ab"), *PLAIN, layer="dns", after=T / 2, text="ab",
     connection="kept")  # fmt: skip
cell("dns", "garbage", "EAI_FAIL", **NAMES, **expect(CONNECTION, "dns"))
cancelled("dns", "while the resolver hangs", **NAMES)
impossible("dns", LAYER, "FIN", "surplus bytes", "unsolicited reply", "wrong length", "wrong content type", "oversize")

# -- tcp ---------------------------------------------------------------------------------------------------------------
DEAD: dict[str, Any] = {"dead": True, "connection": "none"}
cell("tcp", "refuse", "nobody listens", shut=True, connection="none", **expect(CONNECTION, "refused", 2))
cell("tcp", "silence", "SYN is not answered", **DEAD, **expect(TIMEOUT, "connect_timeout", 2, after=2 * T))
cancelled("tcp", "while SYN is not answered", **DEAD)
cell("tcp", "reset", "RST as soon as it is accepted", reset(), **expect(CONNECTION, "reset", 2, connection="any"))
cell("tcp", "FIN", "FIN as soon as it is accepted", fin(), **expect(CONNECTION, "reset", 2, connection="any"))
impossible("tcp", "equal to tcp / silence", "drip")
impossible("tcp", "equal to write / unsolicited reply", "unsolicited reply")
impossible("tcp", LAYER, "wrong length", "garbage", "wrong content type", "oversize", "surplus bytes")

# -- tls ---------------------------------------------------------------------------------------------------------------
HELLO_RECORD = b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76\x03\x03" + bytes(111)
IN_TLS: dict[str, Any] = {"layer": "tls", "connection": "none"}
OVER_TLS: dict[str, Any] = {"layer": "tls", "text": "fine", "stream": False}
cell(
    "tls", "refuse", "a certificate that nobody trusts", tls(SERVER_TLS), **IN_TLS,
    **expect(CONNECTION, "tls_verify"), options={"ssl_context": NOBODY_TRUSTS}, again=False,
)  # fmt: skip
cell("tls", "reset", "RST after ClientHello", read_some(), reset(), **IN_TLS, **expect(CONNECTION, "reset", 2))
cell("tls", "FIN", "FIN after ClientHello", read_some(), fin(), **IN_TLS, **expect(CONNECTION, "tls", 2))
cell("tls", "silence", "no ServerHello", read_some(), **IN_TLS, **expect(TIMEOUT, "connect_timeout", 2, after=2 * T))
cell(
    "tls", "drip", "ServerHello byte by byte", read_some(), drip(HELLO_RECORD), **IN_TLS,
    **expect(TIMEOUT, "connect_timeout", 2, after=2 * T),
)  # fmt: skip
cell(
    "tls", "surplus bytes", "clear text after the reply", tls(SERVER_TLS), read(), cork(True), send(reply()),
    send_below_tls(b"HTTP/1.1 200 OK\r\n\r\n"), cork(False), hold(), **OVER_TLS,
)  # fmt: skip
cell(
    "tls", "unsolicited reply", "two replies in one record", tls(SERVER_TLS), read(), send(reply() + reply("other")),
    **OVER_TLS,
)  # fmt: skip
cell(
    "tls", "wrong length", "an empty handshake record", read_some(), send(b"\x16\x03\x03\x00\x00" * 40), **IN_TLS,
    **expect(CONNECTION, "tls", 2),
)  # fmt: skip
cell(
    "tls", "garbage", "HTTP instead of TLS", read_some(), send(b"HTTP/1.1 400 Bad Request\r\n\r\n"), **IN_TLS,
    **expect(CONNECTION, "tls", 2),
)  # fmt: skip
cell(
    "tls", "wrong content type", "a record of an unknown type", read_some(), send(b"\x63\x03\x03\x00\x05aaaaa"),
    **IN_TLS, **expect(CONNECTION, "tls", 2),
)  # fmt: skip
cell(
    "tls", "oversize", "a record of 64 KiB", read_some(), send(b"\x16\x03\x03\xff\xff" + bytes(65535)), **IN_TLS,
    **expect(CONNECTION, "tls", 2),
)  # fmt: skip
cancelled("tls", "while ServerHello is awaited", read_some(), mark(), **IN_TLS)

# -- proxy-connect -------------------------------------------------------------------------------------------------------
PROXY: dict[str, Any] = {"layer": "proxy", "connection": "none"}
TUNNEL: tuple[Any, ...] = (tls(SERVER_TLS), read(), gather(), send(reply()))
NO_TUNNEL: dict[str, Any] = {**PROXY, **expect(CONNECTION, "proxy")}
cell("proxy-connect", "refuse", "403", read(), send(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n"), **NO_TUNNEL)
cell("proxy-connect", "reset", "RST instead of an answer", read(), reset(), **PROXY, **expect(CONNECTION, "reset", 2))
cell("proxy-connect", "FIN", "FIN instead of an answer", read(), fin(), **NO_TUNNEL)
cell("proxy-connect", "silence", "no answer", read(), **PROXY, **expect(TIMEOUT, "connect_timeout", 2, after=2 * T))
cell(
    "proxy-connect", "drip", "its head byte by byte", read(), drip(b"HTTP/1.1 200 Connection established\r\n\r\n"),
    **PROXY, **expect(TIMEOUT, "connect_timeout", 2, after=2 * T),
)  # fmt: skip
cell("proxy-connect", "surplus bytes", "bytes into the tunnel", read(), send(b"HTTP/1.1 200 OK\r\n\r\nxx"), **NO_TUNNEL)
impossible("proxy-connect", "equal to proxy-connect / surplus bytes", "unsolicited reply")
cell(
    "proxy-connect", "wrong length", "200 with a length, which CONNECT ignores", read(),
    send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"), *TUNNEL, layer="proxy", text="fine", stream=False,
    connection="kept", again=False,
)  # fmt: skip
cell("proxy-connect", "garbage", "no HTTP", read(), send(b"SSH-2.0-OpenSSH_9.9\r\n"), **NO_TUNNEL)
impossible("proxy-connect", LAYER, "wrong content type")
cell(
    "proxy-connect", "oversize", "a head without end", read(), send(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 30_000),
    **NO_TUNNEL,
)  # fmt: skip
cancelled("proxy-connect", "while its answer is awaited", read(), mark(), **PROXY)

# -- write: 6 MB are being sent -------------------------------------------------------------------------------------------
PLAIN_AGAIN: Script = forever(read(), answer())
# A write that is stuck looks now and then for an early answer, and ends at its own timer without one.
BIG: dict[str, Any] = {"big": True, "stream": False, "within": 2 * T + 1.0}
EARLY = (read_some(50_000), pause(0.25))
cell("write", "refuse", "413 before the end of the request", *EARLY, send(refusal("413 Too Large")), deaf(), **BIG,
     **expect("LLMBadRequestError"))  # fmt: skip
cell("write", "reset", "RST in the middle", *EARLY, reset(), **BIG, **expect(CONNECTION, "reset", 2))
cell("write", "FIN", "FIN in the middle", *EARLY, fin(), deaf(), **BIG, **expect(CONNECTION, "reset", 2))
cell(
    "write", "silence", "the server reads no more", *EARLY, deaf(), **BIG,
    **expect(TIMEOUT, "write_timeout", 2, after=2 * T + 2 * 1.0),
)  # fmt: skip
cell(
    "write", "drip", "the server reads slowly: progress", sip(200_000, 0.02), answer(), *PLAIN_AGAIN,
    **{**BIG, "within": 8.0}, text="fine", connection="kept", after=0.5,
    options={"timeout": Timeouts(total=20.0, write=1.5, first_token=15.0)},
)  # fmt: skip
cell("write", "surplus bytes", "an early answer and more", *EARLY, send(reply() + b"xx"), deaf(), **BIG, text="fine")
cell("write", "unsolicited reply", "an answer before the request is there", *EARLY, send(reply()), deaf(), **BIG,
     text="fine")  # fmt: skip
cell(
    "write", "wrong length", "an early 413 that is cut", *EARLY,
    send(refusal("413 Too Large").replace(b"Content-Length: ", b"Content-Length: 9")), fin(), deaf(), **BIG,
    **expect("LLMBadRequestError"),
)  # fmt: skip
cell(
    "write", "garbage", "no HTTP", *EARLY, send(b"220 smtp ready\r\n"), deaf(), **BIG, **expect(PROTOCOL, "bad_head", 2)
)
cell(
    "write", "wrong content type", "an early page", *EARLY,
    send(head("200 OK", "Content-Length: 4", type_="text/html") + b"<p/>"), deaf(), **BIG,
    **expect(PROTOCOL, "wrong_content_type", 2),
)  # fmt: skip
cell("write", "oversize", "a head without end", *EARLY, send(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000), deaf(), **BIG,
     **expect(PROTOCOL, "head_too_large", 2))  # fmt: skip
cancelled("write", "while the server reads no more", read_some(50_000), mark(), deaf(), big=True, within=0.2)

# -- await head ------------------------------------------------------------------------------------------------------------
cell("await head", "refuse", "503", *forever(read(), send(refusal("503 Busy"))), connection="kept",
     **expect(SERVER, attempts=2), again=False)  # fmt: skip
cell("await head", "reset", "RST", read(), reset(), **expect(CONNECTION, "reset", 2, billed=True))
cell("await head", "FIN", "FIN", read(), fin(), **expect(CONNECTION, "reset", 2, billed=True))
cell("await head", "silence", "no byte", read(), **expect(TIMEOUT, "first_token_timeout", 2, after=2 * T, billed=True))
impossible("await head", "equal to head / drip", "drip")
impossible("await head", "equal to write / unsolicited reply", "unsolicited reply")
impossible("await head", "equal to head / oversize", "oversize")
impossible("await head", NO_BYTES, "surplus bytes", "wrong length", "wrong content type")
cell("await head", "garbage", "no HTTP", read(), send(b"\x00\x01\x02\x03 nonsense"), **expect(PROTOCOL, "bad_head", 2))
cancelled("await head", "while the head is awaited", read(), mark())

# -- informational ----------------------------------------------------------------------------------------------------------
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
cell("informational", "refuse", "503 after 103", *forever(read(), send(HINTS + refusal("503 Busy"))),
     connection="kept", **expect(SERVER, attempts=2), again=False)  # fmt: skip
cell(
    "informational",
    "reset",
    "RST after 103",
    read(),
    send(HINTS),
    pause(0.05),
    reset(),
    **expect(CONNECTION, "truncated", 2),
)
cell("informational", "FIN", "FIN after 103", read(), send(HINTS), fin(), **expect(CONNECTION, "truncated", 2))
cell(
    "informational", "silence", "silence after 103", read(), send(HINTS),
    **expect(TIMEOUT, "idle_keepalive_only", 2, after=2 * T),
)  # fmt: skip
cell(
    "informational", "drip", "one 103 after the other", read(), drip(HINTS * 7, 0.1, len(HINTS)),
    **expect(TIMEOUT, "idle_keepalive_only", 2, after=2 * T),
)  # fmt: skip
cell(
    "informational",
    "surplus bytes",
    "a body after 103",
    read(),
    send(HINTS + b"surplus" + reply()),
    **expect(PROTOCOL, "bad_head", 2),
)
cell(
    "informational", "unsolicited reply", "101 Switching Protocols", read(),
    send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"), **expect(PROTOCOL, "", 2),
)  # fmt: skip
cell(
    "informational", "wrong length", "103 with a length, which means nothing",
    *forever(read(), send(HINTS.replace(b"Link: </x>", b"Content-Length: 9")), answer("a")), text="a", connection="kept",
)  # fmt: skip
cell(
    "informational",
    "garbage",
    "nonsense after 103",
    read(),
    send(HINTS + b"\x00\xff\x00"),
    **expect(PROTOCOL, "bad_head", 2),
)
cell(
    "informational", "wrong content type", "103 that says text/html",
    *forever(read(), send(HINTS.replace(b"Link: </x>", b"Content-Type: text/html")), answer("a")), text="a",
    connection="kept",
)  # fmt: skip
cell(
    "informational",
    "oversize",
    "nine of them",
    read(),
    send(HINTS * 9),
    **expect(PROTOCOL, "too_many_informational", 2),
)
cancelled("informational", "after 103", read(), send(HINTS), mark())

# -- head ---------------------------------------------------------------------------------------------------------------------
HALF = STREAM_HEAD[:30]
cell("head", "refuse", "401", *forever(read(), send(refusal("401 Unauthorized"))), connection="kept",
     **expect("LLMAuthError"), again=False)  # fmt: skip
cell("head", "reset", "RST inside it", read(), send(HALF), pause(0.05), reset(), **expect(CONNECTION, "truncated", 2))
cell("head", "FIN", "FIN inside it", read(), send(HALF), fin(), **expect(CONNECTION, "truncated", 2))
cell(
    "head", "silence", "silence inside it", read(), send(HALF), **expect(TIMEOUT, "first_token_timeout", 2, after=2 * T)
)
cell(
    "head", "drip", "byte by byte", read(), drip(STREAM_HEAD), **expect(TIMEOUT, "first_token_timeout", 2, after=2 * T)
)
cell("head", "surplus bytes", "bytes after a body of no length", read(), send(head("200 OK", "Content-Length: 0") + b"xx"),
     stream=False, **expect(PROTOCOL, "", 2))  # fmt: skip
impossible("head", "equal to body before commit / unsolicited reply", "unsolicited reply")
cell("head", "wrong length", "two lengths", read(), send(head("200 OK", "Content-Length: 5", "Content-Length: 6") + b"12345"),
     **expect(PROTOCOL, "", 2))  # fmt: skip
cell(
    "head",
    "garbage",
    "a line without a colon",
    read(),
    send(b"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n"),
    **expect(PROTOCOL, "bad_head", 2),
)
cell(
    "head", "wrong content type", "a page", *forever(read(), send(head("200 OK", "Content-Length: 4", type_="text/html") + b"<p/>")),
    connection="kept", **expect(PROTOCOL, "wrong_content_type", 2), again=False,
)  # fmt: skip
cell(
    "head",
    "oversize",
    "more than 64 KiB",
    read(),
    send(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000),
    **expect(PROTOCOL, "head_too_large", 2),
)
cancelled("head", "inside it", read(), send(HALF), mark())

# -- body before commit ----------------------------------------------------------------------------------------------------------
OPENED = (read(), send(STREAM_HEAD + ROLE))
FAILING = chunk(b'data: {"error": {"message": "it broke", "type": "server_error"}}\n\n')
cell("body before commit", "refuse", "an error event", *OPENED, send(FAILING), **expect(SERVER, attempts=2))
cell("body before commit", "reset", "RST", *OPENED, pause(0.05), reset(), **expect(CONNECTION, "truncated", 2))
cell("body before commit", "FIN", "FIN", *OPENED, fin(), **expect(STREAM, "truncated_body", 2))
# The role alone is no content: the server has shown that it lives, and said nothing.
cell("body before commit", "silence", "silence", *OPENED, **expect(TIMEOUT, "idle_keepalive_only", 2, after=2 * T))
cell(
    "body before commit", "drip", "comments only", *OPENED, drip(chunk(b": ping\n\n") * MANY, 0.02, 13),
    **expect(TIMEOUT, "idle_keepalive_only", 2, after=2 * T),
)  # fmt: skip
cell(
    "body before commit",
    "surplus bytes",
    "bytes after it, in the same read",
    read(),
    send(reply() + b"xx"),
    stream=False,
    text="fine",
)
cell("body before commit", "unsolicited reply", "two replies in one read", read(), send(reply() + reply("other")), stream=False,
     text="fine")  # fmt: skip
cell("body before commit", "wrong length", "shorter than it says", read(), send(head("200 OK", "Content-Length: 900") + body()), fin(),
     stream=False, **expect(CONNECTION, "truncated", 2))  # fmt: skip
cell(
    "body before commit",
    "garbage",
    "a chunk without a size",
    *OPENED,
    send(b"nonsense\r\n"),
    **expect(PROTOCOL, "bad_chunk", 2),
)
cell(
    "body before commit", "wrong content type", "JSON instead of a stream",
    *forever(read(), send(reply())), connection="kept", **expect(PROTOCOL, "wrong_content_type", 2), again=False,
)  # fmt: skip
cell("body before commit", "oversize", "more than max_json", *forever(read(), send(reply("x" * 3000))), stream=False,
     limits=Limits(max_json=2000), connection="any", **expect(PROTOCOL, "", 2), again=False)  # fmt: skip
cancelled("body before commit", "before the first text", *OPENED, mark())

# -- after commit -------------------------------------------------------------------------------------------------------------------
BEGUN = (read(), send(STREAM_HEAD + ROLE + said("a")))
cell("after commit", "refuse", "an error event", *BEGUN, send(FAILING), **expect(SERVER, text="a"))
cell("after commit", "reset", "RST", *BEGUN, pause(0.1), reset(), **expect(STREAM, "truncated", text="a"))
cell("after commit", "FIN", "FIN", *BEGUN, fin(), **expect(STREAM, ("truncated", "truncated_body"), text="a"))
cell("after commit", "silence", "silence", *BEGUN, **expect(TIMEOUT, "idle_timeout", text="a", after=T))
cell("after commit", "drip", "comments only", *BEGUN, drip(chunk(b": ping\n\n") * MANY, 0.02, 13),
     **expect(TIMEOUT, "idle_keepalive_only", text="a", after=T))  # fmt: skip
cell("after commit", "surplus bytes", "bytes after the end", *BEGUN, send(FINISH + DONE + LAST + b"xx"), text="a")
cell(
    "after commit",
    "unsolicited reply",
    "another reply after the end",
    *BEGUN,
    send(FINISH + DONE + LAST + reply("other")),
    text="a",
)
cell("after commit", "wrong length", "the end comes before the length", read(),
     send(head("200 OK", "Content-Length: 9000", type_="text/event-stream") + event("a")), fin(),
     **expect(STREAM, ("truncated", "truncated_body"), text="a"))  # fmt: skip
cell(
    "after commit",
    "garbage",
    "a chunk without a size",
    *BEGUN,
    send(b"nonsense\r\n"),
    **expect(PROTOCOL, "bad_chunk", text="a"),
)
impossible("after commit", "equal to head / wrong content type", "wrong content type")
cell("after commit", "oversize", "a line of more than max_sse_line", *BEGUN, send(said("x" * 3000)), limits=Limits(max_sse_line=2000),
     **expect(PROTOCOL, "", text="a"))  # fmt: skip
cancelled("after commit", "after the first text", *BEGUN, mark(), text="a")

# -- between events: a part of the second event is there --------------------------------------------------------------------------------
PART = event("b")[:-20]
CUT = (*BEGUN, send(chunk(PART)))
impossible("between events", "equal to after commit / refuse", "refuse")
impossible("between events", "equal to after commit / surplus bytes", "surplus bytes")
impossible("between events", "equal to after commit / unsolicited reply", "unsolicited reply")
impossible("between events", "equal to head / wrong content type", "wrong content type")
cell(
    "between events", "reset", "RST inside an event", *CUT, pause(0.1), reset(), **expect(STREAM, "truncated", text="a")
)
cell(
    "between events",
    "FIN",
    "an orderly end inside an event",
    *CUT,
    gather(),
    send(LAST),
    *forever(read(), answer()),
    **expect(STREAM, "truncated", text="a", connection="kept"),
)
cell("between events", "silence", "silence inside an event", *CUT, **expect(TIMEOUT, "idle_timeout", text="a", after=T))
cell("between events", "drip", "an event byte by byte", *BEGUN, drip(b"".join(chunk(bytes([b])) for b in event("b" * MANY)), 0.02, 6),
     **expect(TIMEOUT, "idle_timeout", text="a", after=T))  # fmt: skip
cell("between events", "wrong length", "a chunk shorter than it says", *BEGUN, send(chunk(event("b")[:-9]).replace(b"\r\n", b"f\r\n", 1) * 3), fin(),
     **expect(STREAM, ("truncated", "truncated_body"), text="a"))  # fmt: skip
cell(
    "between events",
    "garbage",
    "an event that is not JSON",
    *BEGUN,
    send(chunk(b"data: {nonsense\n\n")),
    **expect(PROTOCOL, "bad_json", text="a"),
)
cell("between events", "oversize", "an event of more than max_sse_event", *BEGUN, send(chunk(b"data: xxxxxxxxxx\n") * 300),
     limits=Limits(max_sse_event=2000), **expect(PROTOCOL, "", text="a"))  # fmt: skip
cancelled("between events", "inside an event", *CUT, mark(), text="a")

# -- trailers: everything was said, the end of the message is missing ----------------------------------------------------------------------
WHOLE = (*BEGUN, send(FINISH + DONE + b"0\r\n"))
OK_A: dict[str, Any] = {"text": "a", "within": 0.1 + PROMPT}
impossible("trailers", LAYER, "refuse")
cell("trailers", "reset", "RST", *WHOLE, reset(), **OK_A)
cell("trailers", "FIN", "FIN", *WHOLE, fin(), **OK_A)
cell("trailers", "silence", "silence", *WHOLE, **OK_A)
cell("trailers", "drip", "byte by byte", *WHOLE, drip(b"X-Time: 12\r\n" * MANY), **OK_A)
cell("trailers", "surplus bytes", "bytes after them", *WHOLE, send(b"X-Time: 12\r\n\r\nxx"), **OK_A)
cell("trailers", "unsolicited reply", "another reply after them", *WHOLE, send(b"\r\n" + reply("other")), **OK_A)
cell(
    "trailers", "wrong length", "a length, which is forbidden there", *WHOLE, send(b"Content-Length: 5\r\n\r\n"), **OK_A
)
cell("trailers", "garbage", "a line without a colon", *WHOLE, send(b"nonsense\r\n\r\n"), **OK_A)
cell("trailers", "wrong content type", "a type, which means nothing there", *WHOLE, send(b"Content-Type: text/html\r\n\r\n"),
     *forever(read(), answer("a")), **{**OK_A, "connection": "kept"})  # fmt: skip
cell("trailers", "oversize", "more than 64 KiB", *WHOLE, send(b"X: " + b"x" * 70_000), **OK_A)
cancelled("trailers", "while they are awaited", *BEGUN, send(FINISH), mark(), pause(T), text="a")

# -- idle in the pool ---------------------------------------------------------------------------------------------------------------------------
FIRST = (read(), gather(), send(reply()), wait_go())
IDLE: dict[str, Any] = {"idle": True, "stream": False, "text": "well", "connection": "kept"}
cell("idle in the pool", "refuse", "closed, and nobody listens any more", *FIRST, fin(), mark(), idle=True, stream=False, again=False,
     **expect(CONNECTION, "refused", 2))  # fmt: skip
cell("idle in the pool", "reset", "RST", *FIRST, mark(), reset(), **IDLE)
cell("idle in the pool", "FIN", "FIN", *FIRST, fin(), mark(), **IDLE)
cell("idle in the pool", "silence", "the other side is gone without a word", *FIRST, mark(), hold(),
     **{**IDLE, "attempts": 2, "after": T})  # fmt: skip
cell("idle in the pool", "drip", "byte by byte", *FIRST, mark(), drip(reply("other")), **IDLE)
cell("idle in the pool", "surplus bytes", "bytes after the reply, late", *FIRST, send(b"xx"), mark(), **IDLE)
cell("idle in the pool", "unsolicited reply", "a reply nobody asked for", *FIRST, send(reply("other")), mark(), **IDLE)
impossible("idle in the pool", "equal to idle in the pool / surplus bytes", "wrong length")
cell("idle in the pool", "garbage", "nonsense", *FIRST, send(b"\x00\xff\x00"), mark(), **IDLE)
impossible("idle in the pool", "equal to idle in the pool / unsolicited reply", "wrong content type")
cell("idle in the pool", "oversize", "a megabyte", *FIRST, mark(), send(b"x" * 1_000_000), **IDLE)
cancelled("idle in the pool", "the second call is silent", *FIRST, mark(), read(), mark(), idle=True)
