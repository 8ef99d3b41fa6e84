"""A blocking client on a pool of its own, what it can be doing when it is interrupted, and what must hold afterwards."""

from __future__ import annotations

import faulthandler
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from cloud.llm import OpenAICompatClient
from tests.callers import BUSY, HELLO
from transports.httpcore_sync import SyncTransport

#: Every how many bytecodes something happens. All of them (1) in `make proof`; in between, a different part each time
#: would be a different test each time, so it is the same part.
STRIDE = int(os.environ.get("REENTRY_STRIDE", "29"))


class Scene:
    """A client with a fresh pool. `warm`: with a connection in it."""

    def __init__(self, base_url: str, *, warm: bool, max_connections: int | None = 1) -> None:
        self.transport = SyncTransport(max_connections)
        self.client = OpenAICompatClient(
            api_key="k", model="m", base_url=base_url, transport=self.transport, timeout=10.0, max_retries=0
        )
        if warm:
            self.client.chat(HELLO)

    def chat(self) -> None:
        self.client.chat(HELLO)

    def stream(self) -> None:
        with self.client.chat_stream(HELLO) as stream:
            for _ in stream:
                pass

    def leave(self) -> None:
        """Read one piece of a stream and go away."""
        with self.client.chat_stream(HELLO) as stream:
            next(stream)

    def forgetful(self) -> Iterator[str]:
        """What people write: dropped half-read, it is closed by the collector."""
        with self.client.chat_stream(HELLO) as stream:
            yield from stream

    def check(self) -> None:
        """Nobody has a seat, the counts add up, and another thread is served at once."""
        self.check_counts()
        served: list[BaseException | None] = []
        thread = threading.Thread(target=lambda: served.append(_outcome(self.chat)), daemon=True)
        thread.start()
        thread.join(2.0 + BUSY)
        assert served == [None], served or "the next call of another thread hangs"
        self.check_counts()
        self.transport.close_idle()
        assert not self.transport._runtime.pool_runner.connections

    def check_counts(self) -> None:
        stats = self.transport.pool_stats()
        assert (stats.leased, stats.connecting, stats.waiting) == (0, 0, 0), stats
        assert 0 <= stats.idle <= 1, stats
        assert stats.open == stats.idle, stats
        assert stats.dialled == stats.open + sum(stats.destroyed.values()), stats


def _outcome(run: Callable[[], Any]) -> BaseException | None:
    try:
        run()
    except BaseException as error:
        return error
    return None


@contextmanager
def dies_rather_than_hangs(seconds: float) -> Iterator[None]:
    """A thread that waits for itself cannot be interrupted by pytest's timeout in every case: print where, and end."""
    faulthandler.dump_traceback_later(seconds, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
