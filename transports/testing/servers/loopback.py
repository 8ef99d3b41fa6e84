"""`LoopbackServer`: the test server on a real socket of 127.0.0.1, in one thread of its own.

    with LoopbackServer() as server:
        client = OpenAICompatClient(api_key="k", base_url=server.base_url("openai"), model="any")

Rules of this file:
- Standard library only: it must run wherever the package does, and share no code with the transports it is to test.
- One thread, one selector, non-blocking sockets: a thousand open streams cost a thousand sockets and no threads.
- What is sent and when is decided by `ServerConnection`; here its pieces are written, one `send` each.
- A client that closes its side is gone: what was still to be sent to it is dropped.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import selectors
import socket
import ssl
import struct
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from sans_io.http.urls import parse_base_url
from sans_io.providers.registry import DIALECTS

from .connection import Piece, ServerConnection
from .in_memory import FakeLLMServer

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from .script import ReceivedRequest, ScriptedReply

_READ: Final = 64 * 1024
#: How long a connection that was hung up on may take to close its own side before it is closed all the same.
_LINGER: Final = 1.0
#: SO_LINGER on, zero seconds: closing sends RST instead of FIN.
_RESET: Final = struct.pack("ii", 1, 0)


@dataclass(slots=True)
class ConnectionRecord:
    """What became of one accepted connection. `requests` counts those that came whole."""

    number: int
    peer: tuple[str, int]
    open: bool = True
    requests: int = 0
    bytes_in: int = 0
    #: Why a TLS handshake failed, if it did.
    tls_error: str | None = None


class LoopbackServer:
    """`server` answers (default: a fresh `FakeLLMServer`); `ssl_context`, a server-side one, makes it https.

    Usable as a context manager or by `start()` and `close()`. All methods may be called from any thread. `accepted`,
    `open_connections` and `max_open` count connections; `connections` tells about each.
    """

    def __init__(
        self,
        server: FakeLLMServer | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self.server = FakeLLMServer() if server is None else server
        self.connections: list[ConnectionRecord] = []
        self.max_open = 0
        self._address = (host, port)
        self._ssl_context = ssl_context
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()
        self._calls: deque[Callable[[], None]] = deque()
        self._peers: set[_Peer] = set()
        self._timers: list[tuple[float, int, Callable[[float], None]]] = []
        self._order = itertools.count()
        self._stopping = False
        self._failure: BaseException | None = None

    def start(self) -> Self:
        """Listen, and serve in a thread until `close()`. Raises `OSError` if the address cannot be had."""
        family = socket.AF_INET6 if ":" in self._address[0] else socket.AF_INET
        self._listener = socket.create_server(self._address, family=family, backlog=1024)
        self._listener.setblocking(False)
        self.host, self.port = self._listener.getsockname()[:2]
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        self._stopping = False
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._selector.register(self._wake_in, selectors.EVENT_READ, self._woken)
        self._thread = threading.Thread(target=self._run, name=f"loopback server {self.port}", daemon=True)
        self._thread.start()
        return self

    def close(self) -> None:
        """Close everything and wait for the thread; harmless twice. Raises what the thread died of, if it did."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._stopping = True
            self._wake()
            thread.join()
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def url(self) -> str:
        """`http://127.0.0.1:PORT`, without a path."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'http' if self._ssl_context is None else 'https'}://{host}:{self.port}"

    def base_url(self, wire: str) -> str:
        """What a client of this wire takes as its base_url."""
        place = DIALECTS[wire].base_url
        return self.url + (parse_base_url(place).path if place else "")

    def script(self, *replies: ScriptedReply) -> None:
        """The next chat requests get these, one each, whatever their wire."""
        self.server.script(*replies)

    @property
    def requests(self) -> list[ReceivedRequest]:
        """The requests so far, oldest first."""
        return list(self.server.requests)

    @property
    def accepted(self) -> int:
        return len(self.connections)

    @property
    def open_connections(self) -> int:
        return sum(record.open for record in list(self.connections))

    def wait_until(self, condition: Callable[[], bool], timeout: float = 5.0) -> bool:
        """Wait until `condition()` holds; it is asked again whenever something happened here. False: it never did."""
        with self._changed:
            return self._changed.wait_for(condition, timeout)

    def push(self, data: bytes) -> None:
        """Send bytes nobody asked for on every open connection."""
        self._call(lambda: self._to_all(Piece(data)))

    def hang_up(self, *, reset: bool = False) -> None:
        """Close every open connection from this side, in order or by RST."""
        self._call(lambda: self._to_all(Piece(b"", 0.0, "rst" if reset else "fin")))

    # The thread.

    def _to_all(self, piece: Piece) -> None:
        for peer in list(self._peers):
            peer.add([piece])

    def _call(self, what: Callable[[], None]) -> None:
        """Do something in the server's thread and wait until it was done."""
        done = threading.Event()

        def call() -> None:
            what()
            done.set()

        if self._thread is None:
            raise RuntimeError("the loopback server is not running")
        self._calls.append(call)
        self._wake()
        if not done.wait(5.0):
            raise RuntimeError("the loopback server does not answer; close() raises the reason")

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # full: it is awake already; closed: it has ended
            self._wake_out.send(b"\0")

    def _woken(self, _mask: int) -> None:
        self._wake_in.recv(_READ)
        while self._calls:
            self._calls.popleft()()

    def _run(self) -> None:
        try:
            while not self._stopping:
                self._turn()
        except BaseException as failure:  # noqa: BLE001 - shown by close(), which runs in the caller's thread
            self._failure = failure
        finally:
            for peer in list(self._peers):
                peer.close()
            self._selector.close()
            for each in (self._listener, self._wake_in, self._wake_out):
                each.close()
            with self._changed:
                self._changed.notify_all()

    def _turn(self) -> None:
        now = time.monotonic()
        wait = max(0.0, self._timers[0][0] - now) if self._timers else None
        for key, mask in self._selector.select(wait):
            key.data(mask)
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            heapq.heappop(self._timers)[2](now)
        with self._changed:
            self._changed.notify_all()

    def at(self, when: float, call: Callable[[float], None]) -> None:
        heapq.heappush(self._timers, (when, next(self._order), call))

    def _accept(self, _mask: int) -> None:
        while True:
            try:
                sock, address = self._listener.accept()
            except OSError:  # nobody more is waiting, or the one who was has gone
                return
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            record = ConnectionRecord(len(self.connections), address[:2])
            self.connections.append(record)
            if self._ssl_context is not None:
                sock = self._ssl_context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
            self._peers.add(_Peer(self, sock, record))
            self.max_open = max(self.max_open, self.open_connections)

    def forget(self, peer: _Peer) -> None:
        self._peers.discard(peer)

    @property
    def selector(self) -> selectors.BaseSelector:
        return self._selector


class _Peer:
    """One accepted connection: reads into its `ServerConnection`, writes what that says, in order and in time."""

    def __init__(self, owner: LoopbackServer, sock: socket.socket, record: ConnectionRecord) -> None:
        self.owner = owner
        self.sock = sock
        self.record = record
        self.http = ServerConnection(owner.server, record.number)
        self.pieces: deque[Piece] = deque()
        self.unsent = memoryview(b"")
        self.due: float | None = None
        self.handshaking = isinstance(sock, ssl.SSLSocket)
        self.hung_up = False
        self.closed = False
        owner.selector.register(sock, selectors.EVENT_READ, self.ready)

    def add(self, pieces: list[Piece]) -> None:
        self.pieces.extend(pieces)
        self.advance(time.monotonic())

    def ready(self, mask: int) -> None:
        try:
            if self.handshaking:
                self._shake_hands()
                return
            if mask & selectors.EVENT_WRITE:
                self._flush()
                self.advance(time.monotonic())
            if mask & selectors.EVENT_READ and not self.closed:
                self._read()
        except OSError:  # ssl.SSLError is one: the peer has gone, or speaks something else
            self.close()

    def advance(self, now: float) -> None:
        """Write what is due, in order; come back when the next piece is."""
        if self.handshaking:
            return
        try:
            while self.pieces and not self.unsent and not self.closed:
                piece = self.pieces[0]
                if piece.delay > 0.0:
                    if self.due is None:
                        self.due = now + piece.delay
                        self.owner.at(self.due, self.advance)
                    if now < self.due:
                        return
                    self.due = None
                self.pieces.popleft()
                self.unsent = memoryview(piece.data)
                if piece.hang_up == "rst":
                    self._flush()
                    self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                    self.close()
                elif piece.hang_up == "fin":
                    self.hung_up = True
                self._flush()
        except OSError:
            self.close()

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        self.record.open = False
        self.pieces.clear()
        self.owner.selector.unregister(self.sock)
        self.owner.forget(self)
        self.sock.close()

    def _shake_hands(self) -> None:
        assert isinstance(self.sock, ssl.SSLSocket)
        try:
            self.sock.do_handshake()
        except ssl.SSLWantReadError:
            self._watch(selectors.EVENT_READ)
        except ssl.SSLWantWriteError:
            self._watch(selectors.EVENT_WRITE)
        except OSError as error:
            self.record.tls_error = str(error)
            self.close()
        else:
            self.handshaking = False
            self._watch(selectors.EVENT_READ)
            self._read()  # a TLS record may have come with the end of the handshake
            self.advance(time.monotonic())

    def _read(self) -> None:
        while not self.closed:
            try:
                data = self.sock.recv(_READ)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return
            if not data:
                self.close()
                return
            if self.hung_up:
                continue
            self.record.bytes_in += len(data)
            pieces = self.http.receive_data(data)
            self.record.requests = self.http.requests
            self.add(pieces)
            if not isinstance(self.sock, ssl.SSLSocket):
                return  # the selector says when there is more; a TLS socket may hold plaintext it does not know of

    def _flush(self) -> None:
        while self.unsent and not self.closed:
            try:
                self.unsent = self.unsent[self.sock.send(self.unsent) :]
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                self._watch(selectors.EVENT_READ | selectors.EVENT_WRITE)
                return
        if self.closed:
            return
        self._watch(selectors.EVENT_READ)
        if self.hung_up and self.record.open:
            self.record.open = False
            if isinstance(self.sock, ssl.SSLSocket):
                with contextlib.suppress(OSError):  # the peer's own goodbye is not waited for
                    self.sock.unwrap()
            with contextlib.suppress(OSError):  # a peer that reset the connection is gone already
                self.sock.shutdown(socket.SHUT_WR)
            self.owner.at(time.monotonic() + _LINGER, lambda _now: self.close())

    def _watch(self, events: int) -> None:
        self.owner.selector.modify(self.sock, events, self.ready)


def serve(
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    server: FakeLLMServer | None = None,
    on_ready: Callable[[LoopbackServer], None] | None = None,
) -> None:
    """Serve until Ctrl-C (`KeyboardInterrupt` is taken as the wish to stop). `on_ready` is told when it listens.

    Raises `OSError` if the address cannot be had.
    """
    with LoopbackServer(server, host=host, port=port) as listening:
        if on_ready is not None:
            on_ready(listening)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()
