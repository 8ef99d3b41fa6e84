"""What all clients of a process share: one transport of each kind. Retry budgets are in `budgets`.

Rules of this file:
- A transport is imported and made at the first call that needs it: building a client costs no import.
- No lock: everything shared is changed by single operations of a dict, which nothing can interrupt.
"""

from __future__ import annotations

import os
from itertools import count
from typing import TYPE_CHECKING, Any, Final, Protocol
from weakref import ref

from transports.loading import need

from .loops import Loop, running_loop

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from sans_io.calls.call import Call
    from sans_io.chat.response import Attempt
    from sans_io.policy.pool import PoolStats
    from sans_io.providers.base import Operation

    from .stream_state import AsyncPump, SyncPump


class TransportInterface(Protocol):
    """What a client needs from any transport besides `start`."""

    def now(self) -> float: ...
    def pool_stats(self) -> PoolStats: ...
    def close_idle(self) -> None: ...


class SyncTransportInterface(TransportInterface, Protocol):
    """A transport for blocking clients."""

    def start(
        self,
        call: Call,
        *,
        authorize: Callable[[bool], Operation] | None = None,
        on_attempt: Callable[[Attempt], object] | None = None,
    ) -> SyncPump: ...


class AsyncTransportInterface(TransportInterface, Protocol):
    """A transport for asynchronous clients."""

    def start(
        self,
        call: Call,
        *,
        authorize: Callable[[bool], Awaitable[Operation]] | None = None,
        on_attempt: Callable[[Attempt], object] | None = None,
    ) -> AsyncPump: ...


class _Shared:
    """What exists once in a process."""

    def __init__(self) -> None:
        #: By kind: "sync", "asyncio", "trio".
        self.transports: dict[str, Any] = {}
        #: Transports that users passed to a client, numbered: closing all includes them, and each has budgets of its
        #: own, since its clock may be fake and its server a script.
        self.given: dict[ref[TransportInterface], int] = {}
        self.numbers = count(1)
        self.seeds: Iterator[int] = _new_seeds()

    def after_fork_in_child(self) -> None:
        self.seeds = _new_seeds()


def _new_seeds() -> Iterator[int]:
    """Seeds that no other process has. Neighbouring seeds give unrelated dice (`policy.dice`), so the system is asked
    for randomness once, not at every call.
    """
    return count(int.from_bytes(os.urandom(8), "big"))


_shared: Final = _Shared()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_shared.after_fork_in_child)


def new_seed(now: float) -> int:
    """The seed of one call's jitter. Any thread.

    `now` (seconds) tells apart processes that were resumed from one snapshot, or forked without Python's knowledge.
    """
    return next(_shared.seeds) + int(now * 1e9)


def sync_transport() -> SyncTransportInterface:
    """The process's blocking transport, safe for any number of threads."""
    transport: SyncTransportInterface | None = _shared.transports.get("sync")
    if transport is None:
        need("transports.httpcore_sync")
        from transports.httpcore_sync import SyncTransport as Made

        transport = _shared.transports.setdefault("sync", Made())
    return transport


def async_transport() -> AsyncTransportInterface:
    """The transport for the loop that is running; each keeps one pool per loop. `RuntimeError` outside a loop."""
    kind = running_loop()
    if kind is None:
        raise RuntimeError("no asyncio or trio loop is running here; use the blocking client, or asyncio.run()")
    transport: AsyncTransportInterface | None = _shared.transports.get(kind)
    if transport is None:
        transport = _shared.transports.setdefault(kind, _new_transport(kind))
    return transport


def _new_transport(kind: Loop) -> AsyncTransportInterface:
    if kind == "trio":
        need("transports.trio_async")
        from transports.trio_async import TrioTransport

        return TrioTransport()
    need("transports.anyio_async")
    from transports.anyio_async import AsyncioTransport

    return AsyncioTransport()


def async_pool_stats(transport: AsyncTransportInterface | None) -> PoolStats:
    """Of this transport, else of the one for the running loop; outside a loop none is created for it."""
    if transport is None:
        transport = _shared.transports.get("asyncio") if running_loop() is None else async_transport()
    if transport is not None:
        return transport.pool_stats()
    need("sans_io.policy.pool")
    from sans_io.policy.pool import PoolStats

    return PoolStats(open=0, idle=0, leased=0, connecting=0, waiting=0, dialled=0, reused=0, destroyed={})


def number_of(transport: TransportInterface) -> int:
    """The number of a user's own transport, which `close_all_cloud_clients()` includes from now on."""
    given = _shared.given
    number = given.get(ref(transport))
    if number is None:
        number = given.setdefault(ref(transport, given.pop), next(_shared.numbers))
    return number


async def close_all_cloud_clients() -> None:
    """Close the idle connections of all clients; those in use are closed when their call ends.

    Connections of other loops and threads are closed at their next operation. Clients stay usable and dial again.
    Harmless twice.
    """
    close_all_cloud_clients_sync()


def close_all_cloud_clients_sync() -> None:
    """`close_all_cloud_clients()` for blocking code."""
    given = [reference() for reference in list(_shared.given)]
    for transport in (*list(_shared.transports.values()), *given):
        if transport is not None:
            transport.close_idle()
