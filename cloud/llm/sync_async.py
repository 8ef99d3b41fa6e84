"""The two kinds of every client: one that blocks, one that is awaited.

Rules of this file:
- The two classes differ in `await` only; every decision is made in `client` and `streams`.
- A pump is closed synchronously in a `finally`, so that no cancellation leaves a seat in the pool taken.
"""

from __future__ import annotations

from inspect import isawaitable
from typing import TYPE_CHECKING, Self, cast

from sans_io.errors import LLMAuthError
from sans_io.records import replace

from . import registry
from .client import Client, CodecT, Job, close_awaitable
from .credentials import called_key
from .outcome import settle
from .streams import AsyncChatStream, ChatStream

if TYPE_CHECKING:
    from types import TracebackType

    from sans_io.calls.call import Call
    from sans_io.chat.response import ChatResponse
    from sans_io.policy.pool import PoolStats
    from sans_io.providers.base import Codec, Operation, ReplyReader
    from sans_io.providers.json_replies import ModelsReader

    from .stream_state import AsyncPump, SyncPump


class ModelListing:
    """Asks for the models, and keeps the reader of the reply."""

    def __init__(self) -> None:
        self._reader: ModelsReader | None = None

    @property
    def names(self) -> list[str]:
        return [] if self._reader is None else list(self._reader.models)

    def operation(self, codec: Codec) -> Operation:
        operation = codec.models_operation()

        def new_reader() -> ReplyReader:
            reader = operation.new_reader()
            self._reader = cast("ModelsReader", reader)
            return reader

        return replace(operation, new_reader=new_reader)


class SyncClient(Client[CodecT]):
    """The client that blocks. Safe for any number of threads; it works inside a running event loop, and blocks it."""

    def list_models(self) -> list[str]:
        """The names of the models that the server offers to this key. Raises `LLMError`."""
        listing = ModelListing()
        self._run(self._job(listing.operation))
        return listing.names

    def pool_stats(self) -> PoolStats:
        """A snapshot of the pool that this client shares."""
        return (self._transport or registry.sync_transport()).pool_stats()

    def close(self) -> None:
        """Nothing is closed: the pool is shared (see `close_all_cloud_clients`). Harmless twice."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, job: Job[CodecT]) -> ChatResponse:
        call, pump = self._begin(job)
        try:
            while pump.advance() is not None:
                pass
        finally:
            pump.close()
        response, error = call.response, call.error
        del call, pump, job
        return settle(response, error)

    def _open(self, job: Job[CodecT]) -> ChatStream:
        return ChatStream(lambda: self._begin(job))

    def _begin(self, job: Job[CodecT]) -> tuple[Call, SyncPump]:
        transport: registry.SyncTransportInterface = self._transport or registry.sync_transport()
        call = self._call(job, transport.now())

        def authorize(_refresh: bool) -> Operation:
            value = self._ask_for_key()
            if isawaitable(value):
                close_awaitable(value)
                raise LLMAuthError("the api_key callable is asynchronous: use the asynchronous client", code="api_key")
            return job.build(self._codec_with(value))

        return call, transport.start(call, authorize=authorize, on_attempt=self._observer(job))


class AsyncClient(Client[CodecT]):
    """The client that is awaited, on asyncio or trio: each call checks which, so runs may follow runs."""

    async def list_models(self) -> list[str]:
        """The names of the models that the server offers to this key. Raises `LLMError`."""
        listing = ModelListing()
        await self._run(self._job(listing.operation))
        return listing.names

    def pool_stats(self) -> PoolStats:
        """A snapshot of the pool that this client shares in the running loop; outside of one, of all asyncio loops."""
        return registry.async_pool_stats(self._transport)

    async def close(self) -> None:
        """Nothing is closed: the pool is shared (see `close_all_cloud_clients`). Harmless twice."""

    aclose = close

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def _run(self, job: Job[CodecT]) -> ChatResponse:
        call, pump = self._begin(job)
        try:
            while await pump.advance() is not None:
                pass
        finally:
            pump.close()
        response, error = call.response, call.error
        del call, pump, job
        return settle(response, error)

    def _open(self, job: Job[CodecT]) -> AsyncChatStream:
        return AsyncChatStream(lambda: self._begin(job))

    def _begin(self, job: Job[CodecT]) -> tuple[Call, AsyncPump]:
        transport: registry.AsyncTransportInterface = self._transport or registry.async_transport()
        call = self._call(job, transport.now())

        async def authorize(_refresh: bool) -> Operation:
            value = self._ask_for_key()
            if isawaitable(value):
                value = called_key(await value)
            return job.build(self._codec_with(value))

        return call, transport.start(call, authorize=authorize, on_attempt=self._observer(job))
