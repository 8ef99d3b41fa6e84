"""A TCP server that does to each connection exactly what a script says, byte for byte and in time.

    with WireServer((read(), send(b"HTTP/1.1 200 O"), reset())) as server:
        client = OpenAICompatClient(api_key="k", base_url=server.url + "/v1", ...)

Every connection runs the same script until `heal()`; connections accepted afterwards get a whole answer to every
request. A script that has ended leaves the connection open and silent until the client closes it. One thread per
connection, so that a step may simply block.
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from time import monotonic
from typing import Self

Step = Callable[["Peer"], None]
Script = tuple[Step, ...]

#: The longest that any step waits: a test that hangs here has failed long ago.
PATIENCE = 20.0


class Gone(Exception):
    """The client closed the connection, or the server is being closed."""


class Peer:
    """One accepted connection. `requests` are the bodies read so far; `ended` is set once the client has closed it."""

    def __init__(self, server: WireServer, sock: socket.socket, number: int) -> None:
        self.server = server
        self.sock = sock
        self.number = number
        self.requests: list[bytes] = []
        self.heads: list[bytes] = []
        self.ended = threading.Event()
        self.buffer = b""

    def run(self, script: Script) -> None:
        try:
            for step in script:
                step(self)
            hold()(self)
        except (Gone, OSError, ValueError):
            pass
        finally:
            with contextlib.suppress(OSError):
                self.sock.close()
            self.ended.set()
            self.server.peers.discard(self)

    def more(self) -> None:
        data = self.sock.recv(65536)
        if not data:
            raise Gone
        self.buffer += data

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)


class WireServer:
    """Listens on 127.0.0.1. `reached` is set by the step `mark()`, `go` lets the step `wait_go()` pass."""

    def __init__(self, script: Script, *, healthy: Script | None = None, receive_buffer: int | None = None) -> None:
        self.script = script
        self.healthy = healthy or forever(read(), answer())
        self.accepted: list[Peer] = []
        self.peers: set[Peer] = set()
        #: Of each handshake that succeeded: a closed socket no longer says.
        self.tls_versions: list[str | None] = []
        self.reached = threading.Semaphore(0)
        #: How many connections the step `gather()` waits for.
        self.expected = 1
        self._gathered = threading.Semaphore(0)
        self._here = 0
        self._lock = threading.Lock()
        self.go = threading.Event()
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if receive_buffer is not None:
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(256)
        self.port: int = self.listener.getsockname()[1]
        self._closed = self._shut = False
        self._thread = threading.Thread(target=self._accept, daemon=True, name=f"wire server {self.port}")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def requests(self) -> int:
        return sum(len(peer.requests) for peer in self.accepted)

    def heal(self) -> None:
        """From now on new connections are served well."""
        self.script = self.healthy

    def stop_listening(self) -> None:
        self._shut = True
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def closed_by_client(self, timeout: float = 2.0) -> bool:
        """Whether every connection accepted so far comes to its end within the time."""
        until = monotonic() + timeout
        return all(peer.ended.wait(max(0.0, until - monotonic())) for peer in list(self.accepted))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed = True
        self.go.set()
        self.stop_listening()
        self._thread.join(5.0)
        for peer in tuple(self.peers):
            with contextlib.suppress(OSError):
                socket.socket.shutdown(peer.sock, socket.SHUT_RDWR)

    def _accept(self) -> None:
        while not self._closed:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                if self.listener.fileno() < 0 or self._shut:
                    return
                threading.Event().wait(0.01)  # no descriptor left
                continue
            sock.settimeout(PATIENCE)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            peer = Peer(self, sock, len(self.accepted))
            self.accepted.append(peer)
            self.peers.add(peer)
            threading.Thread(target=peer.run, args=(self.script,), daemon=True, name="wire peer").start()


# -- steps ------------------------------------------------------------------------------------------------------------


def read() -> Step:
    """One whole request."""

    def step(peer: Peer) -> None:
        while b"\r\n\r\n" not in peer.buffer:
            peer.more()
        head, _, rest = peer.buffer.partition(b"\r\n\r\n")
        length = next(
            (
                int(line.partition(b":")[2])
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"content-length:")
            ),
            0,
        )
        peer.buffer = b""
        chunks = [rest]
        have = len(rest)
        while have < length:
            data = peer.sock.recv(1 << 18)
            if not data:
                raise Gone
            chunks.append(data)
            have += len(data)
        peer.heads.append(head)
        peer.requests.append(b"".join(chunks))

    return step


def read_some(size: int = 1) -> Step:
    """Only the beginning of what the client sends."""

    def step(peer: Peer) -> None:
        while len(peer.buffer) < size:
            peer.more()

    return step


def sip(size: int, every: float) -> Step:
    """The rest of a request, slowly; of its body only the beginning is kept."""

    def step(peer: Peer) -> None:
        while b"\r\n\r\n" not in peer.buffer:
            peer.more()
        head, _, rest = peer.buffer.partition(b"\r\n\r\n")
        peer.buffer = b""
        left = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]) - len(rest)
        while left > 0:
            pause(every)(peer)
            data = peer.sock.recv(size)
            if not data:
                raise Gone
            left -= len(data)
        peer.heads.append(head)
        peer.requests.append(rest)

    return step


def send(data: bytes) -> Step:
    return lambda peer: peer.send(data)


def answer(text: str = "fine") -> Step:
    """What the request asks for, a stream or a whole reply."""
    return lambda peer: peer.send(streamed(text) if b'"stream":true' in peer.requests[-1] else reply(text))


def send_below_tls(data: bytes) -> Step:
    """Bytes on the TCP connection under the TLS one."""
    return lambda peer: void(socket.socket.send(peer.sock, data))


def cork(on: bool) -> Step:
    """Whether what is sent is kept back, so that several sends leave in one segment."""
    option = getattr(socket, "TCP_CORK", None)
    return lambda peer: None if option is None else peer.sock.setsockopt(socket.IPPROTO_TCP, option, int(on))


def drip(data: bytes, every: float = 0.03, size: int = 1) -> Step:
    """Piece after piece, each after a pause."""

    def step(peer: Peer) -> None:
        for start in range(0, len(data), size):
            pause(every)(peer)
            peer.send(data[start : start + size])

    return step


def pause(seconds: float) -> Step:
    def step(peer: Peer) -> None:
        if peer.server._closed:
            raise Gone
        threading.Event().wait(seconds)

    return step


def reset() -> Step:
    """RST."""

    def step(peer: Peer) -> None:
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # Through the base class: TLS would say goodbye first.
        peer.sock.close()
        raise Gone

    return step


def fin() -> Step:
    """Our side ends in order; the client's is read to its end."""

    def step(peer: Peer) -> None:
        socket.socket.shutdown(peer.sock, socket.SHUT_WR)

    return step


def close() -> Step:
    def step(peer: Peer) -> None:
        raise Gone

    return step


def hold() -> Step:
    """Silence until the client has closed its side."""

    def step(peer: Peer) -> None:
        while socket.socket.recv(peer.sock, 65536):
            pass
        raise Gone

    return step


def deaf() -> Step:
    """Silence, and nothing is read either, until the server is closed."""
    return lambda peer: void(peer.server.go.wait(PATIENCE))


def mark() -> Step:
    """Tell the test that the script has come this far."""
    return lambda peer: peer.server.reached.release()


def gather() -> Step:
    """Wait until as many connections as are expected have come to this step, so that nobody gets another's."""

    def step(peer: Peer) -> None:
        server = peer.server
        with server._lock:
            server._here += 1
            if server._here == server.expected:
                server._gathered.release(server.expected)
        server._gathered.acquire(timeout=PATIENCE)

    return step


def wait_go() -> Step:
    """Wait for the test."""
    return lambda peer: void(peer.server.go.wait(PATIENCE))


def tls(context: ssl.SSLContext) -> Step:
    def step(peer: Peer) -> None:
        peer.sock = context.wrap_socket(peer.sock, server_side=True)
        peer.server.tls_versions.append(peer.sock.version())

    return step


def forever(*steps: Step) -> Script:
    def step(peer: Peer) -> None:
        while True:
            for each in steps:
                each(peer)

    return (step,)


def void(_: object) -> None:
    return None


# -- bytes of the OpenAI wire -------------------------------------------------------------------------------------------


def body(text: str = "fine", **changes: object) -> bytes:
    """A whole chat completion."""
    return json.dumps(
        {
            "id": "c1", "object": "chat.completion", "model": "m",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
            **changes,
        }
    ).encode()  # fmt: skip


def head(status: str = "200 OK", *fields: str, type_: str | None = "application/json") -> bytes:
    lines = [f"HTTP/1.1 {status}", *([f"Content-Type: {type_}"] if type_ else []), *fields]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def reply(text: str = "fine", *fields: str, status: str = "200 OK", content: bytes | None = None) -> bytes:
    """A whole response with a Content-Length."""
    content = body(text) if content is None else content
    return head(status, f"Content-Length: {len(content)}", *fields) + content


def refusal(status: str, message: str = "no", *fields: str, **error: object) -> bytes:
    return reply("", *fields, status=status, content=json.dumps({"error": {"message": message, **error}}).encode())


STREAM_HEAD = head("200 OK", "Transfer-Encoding: chunked", type_="text/event-stream")


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def event(text: str | None = None, *, finish: str | None = None, role: bool = False) -> bytes:
    """One server-sent event of a stream."""
    delta: dict[str, object] = {"role": "assistant", "content": ""} if role else {}
    if text is not None:
        delta["content"] = text
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return (
        b"data: %s\n\n"
        % json.dumps({"id": "c1", "object": "chat.completion.chunk", "model": "m", "choices": [choice]}).encode()
    )


ROLE = chunk(event(role=True))
DONE = chunk(b"data: [DONE]\n\n")
LAST = b"0\r\n\r\n"


def said(text: str) -> bytes:
    return chunk(event(text))


FINISH = chunk(event(finish="stop"))


def streamed(*texts: str) -> bytes:
    """A whole streamed response."""
    return STREAM_HEAD + ROLE + b"".join(map(said, texts)) + FINISH + DONE + LAST
