"""How the transports of event loops start a call: one text for asyncio and trio."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from sans_io.calls.call import Call
from sans_io.chat.response import Attempt

from .interface import Authorizer, Runtime
from .loading import FIRST, accelerate, need
from .pools import PoolSettings
from .pump import Pump


class LoopTransport(ABC):
    """Base of the asynchronous transports, each of which keeps a `Runtime` for every loop."""

    def __init__(self, max_connections: int | None = None, *, settings: PoolSettings | None = None) -> None:
        self._settings = settings or PoolSettings(max_connections)
        self._loaded = False

    @abstractmethod
    def _runtime(self) -> Runtime:
        """That of the running loop."""

    def start(
        self,
        call: Call,
        *,
        authorize: Authorizer | None = None,
        on_attempt: Callable[[Attempt], object] | None = None,
    ) -> Pump:
        """A pump for the call, in the running loop. Next: `await pump.advance()`."""
        if not self._loaded:
            need(*FIRST)
            self._loaded = True
        if call.stream:
            accelerate()  # an import: here rather than while bytes are waiting
        return Pump(call, self._runtime(), authorize, on_attempt)
