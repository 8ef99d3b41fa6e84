"""A TCP relay that counts what the server sees: connections in all, and how many at once."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit


class Relay:
    """Listens on a free port and forwards bytes both ways. `accepted` and `most_at_once` are counts of connections."""

    def __init__(self, origin: str) -> None:
        parts = urlsplit(origin)
        self._target = (parts.hostname, parts.port)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=200)
        self.origin = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.accepted = 0
        self.most_at_once = 0
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        _shut(self._listener)
        with self._lock:
            for client in self._open:
                _shut(client)
        for thread in self._threads:
            thread.join(10)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self._open.add(client)
                self.accepted += 1
                self.most_at_once = max(self.most_at_once, len(self._open))
            thread = threading.Thread(target=self._relay, args=(client,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _relay(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._target) as server:
            back = threading.Thread(target=_copy, args=(server, client), daemon=True)
            back.start()
            _copy(client, server)
            back.join()
            with self._lock:
                self._open.discard(client)


def _copy(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
    except OSError:
        return
    finally:
        _shut(source)
        _shut(target)


def _shut(end: socket.socket) -> None:
    # A peer that reset its connection left nothing to shut down.
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
