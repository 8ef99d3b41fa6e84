"""What all clients of a process share: one transport of each kind, and the retry budgets.

Rules of this file:
- A transport is imported and made at the first call that needs it: building a client costs no import.
- Nothing of a tenant is kept: a budget is known by its origin and a fingerprint of the credential.
- The one lock is held around arithmetic only, and is renewed in a forked child.
"""

from __future__ import annotations

import os
from _thread import allocate_lock
from itertools import count
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias
from weakref import WeakKeyDictionary, WeakValueDictionary

from sans_io.policy.retry import RetryBudget
from transports.loading import need

from .loops import running_loop

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from sans_io.call import Call
    from sans_io.policy.pool import PoolStats
    from sans_io.providers.base import Operation
    from sans_io.response import Attempt
    from sans_io.urls import Origin

    from .stream_state import AsyncPump, SyncPump


class Transport(Protocol):
    """What a client needs of every transport besides `start`."""

    def now(self) -> float: ...
    def pool_stats(self) -> PoolStats: ...
    def close_idle(self) -> None: ...


class SyncTransport(Transport, Protocol):
    """A transport for blocking clients."""

    def start(
        self,
        call: Call,
        *,
        authorize: Callable[[bool], Operation] | None = None,
        on_attempt: Callable[[Attempt], object] | None = None,
    ) -> SyncPump: ...


class AsyncTransport(Transport, Protocol):
    """A transport for asynchronous clients."""

    def start(
        self,
        call: Call,
        *,
        authorize: Callable[[bool], Awaitable[Operation]] | None = None,
        on_attempt: Callable[[Attempt], object] | None = None,
    ) -> AsyncPump: ...


class _Shared:
    """What there is one of in a process."""

    def __init__(self) -> None:
        self.lock = allocate_lock()
        self.sync: SyncTransport | None = None
        self.asyncio: AsyncTransport | None = None
        self.trio: AsyncTransport | None = None
        #: Transports that users made and gave to a client, numbered: closing all means theirs too, and each has
        #: budgets of its own, since its clock may be a fake one and its server a script.
        self.given: WeakKeyDictionary[Transport, int] = WeakKeyDictionary()
        self.numbers = count(1)
        self.seeds: Iterator[int] = _new_seeds()

    def after_fork_in_child(self) -> None:
        # The parent's lock may have been held by a thread that does not exist here.
        self.lock = allocate_lock()
        self.seeds = _new_seeds()


def _new_seeds() -> Iterator[int]:
    """Seeds that no other process has. Of neighbouring ones the dice know nothing of each other (`policy.dice`), so
    the system is asked for randomness once, not at every call.
    """
    return count(int.from_bytes(os.urandom(8), "big"))


_shared: Final = _Shared()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_shared.after_fork_in_child)


def new_seed(now: float) -> int:
    """The seed of one call's jitter. Any thread.

    `now` (seconds) tells processes apart that went on from one snapshot, or forked without Python's knowing of it.
    """
    return next(_shared.seeds) + int(now * 1e9)


def sync_transport() -> SyncTransport:
    """The process's blocking transport, safe for any number of threads."""
    transport = _shared.sync
    if transport is None:
        need("transports.httpcore_sync")
        from transports.httpcore_sync import SyncTransport as Made

        made = Made()
        with _shared.lock:
            transport = _shared.sync = _shared.sync or made
    return transport


def async_transport() -> AsyncTransport:
    """The transport for the loop that is running; each keeps one pool per loop. `RuntimeError` outside a loop."""
    kind = running_loop()
    if kind == "trio":
        transport = _shared.trio
        if transport is None:
            need("transports.trio_async")
            from transports.trio_async import TrioTransport

            made: AsyncTransport = TrioTransport()
            with _shared.lock:
                transport = _shared.trio = _shared.trio or made
        return transport
    if kind == "asyncio":
        transport = _shared.asyncio
        if transport is None:
            need("transports.anyio_async")
            from transports.anyio_async import AsyncioTransport

            made = AsyncioTransport()
            with _shared.lock:
                transport = _shared.asyncio = _shared.asyncio or made
        return transport
    raise RuntimeError("no asyncio or trio loop is running here; use the blocking client, or asyncio.run()")


def async_pool_stats(transport: AsyncTransport | None) -> PoolStats:
    """Of this transport, else of the one for the running loop; outside of a loop nothing has to be made for it."""
    if transport is None:
        transport = _shared.asyncio if running_loop() is None else async_transport()
    if transport is not None:
        return transport.pool_stats()
    need("sans_io.policy.pool")
    from sans_io.policy.pool import PoolStats

    return PoolStats(open=0, idle=0, leased=0, connecting=0, waiting=0, dialled=0, reused=0, destroyed={})


def number_of(transport: Transport) -> int:
    """The number of a user's own transport, which from now on takes part in `close_all_cloud_clients()`."""
    with _shared.lock:
        number = _shared.given.get(transport)
        if number is None:
            number = _shared.given[transport] = next(_shared.numbers)
    return number


async def close_all_cloud_clients() -> None:
    """Close the idle connections of all clients; those in use are closed when their call ends.

    Connections of other loops and threads are closed at their next operation. Clients stay usable and dial anew.
    Harmless twice.
    """
    close_all_cloud_clients_sync()


def close_all_cloud_clients_sync() -> None:
    """`close_all_cloud_clients()` for blocking code."""
    with _shared.lock:
        transports = [t for t in (_shared.sync, _shared.asyncio, _shared.trio, *_shared.given) if t is not None]
    for transport in transports:
        transport.close_idle()


# -- retry budgets ----------------------------------------------------------------------------------------------------

#: The number of a user's own transport (0: the shared ones), the origin, the credential's fingerprint.
BudgetKey: TypeAlias = "tuple[int, Origin, str | None]"

#: Budgets kept although no client holds them any more: those that are not full.
MAX_BUDGETS: Final = 4096
_budgets: WeakValueDictionary[BudgetKey, SharedBudget] = WeakValueDictionary()
#: In order of their last use. A plain dict: an OrderedDict takes a hundred bytes more for each of them.
_spent: dict[BudgetKey, SharedBudget] = {}


class SharedBudget(RetryBudget):
    """A `RetryBudget` that threads and loops share. While anything is taken from it, it outlives its clients."""

    __slots__ = ("__weakref__", "_key")

    def __init__(self, key: BudgetKey) -> None:
        super().__init__()
        self._key = key

    def take(self, cost: int, now: float) -> int | None:
        with _shared.lock:
            taken = super().take(cost, now)
            _spent.pop(self._key, None)
            _spent[self._key] = self
            if len(_spent) > MAX_BUDGETS:
                del _spent[next(iter(_spent))]
        return taken

    def refund(self, cost: int) -> None:
        with _shared.lock:
            super().refund(cost)
            self._forget_if_whole()

    def on_success(self) -> None:
        if self.tokens == self.max_tokens:
            return
        with _shared.lock:
            super().on_success()
            self._forget_if_whole()

    def _forget_if_whole(self) -> None:
        if self.untouched:
            _spent.pop(self._key, None)


def retry_budget(transport: Transport | None, origin: Origin, credential_print: str | None) -> SharedBudget:
    """The budget of one (origin, credential), shared by all clients over the shared transports, or over this one."""
    key = (0 if transport is None else number_of(transport), origin, credential_print)
    budget = _budgets.get(key)
    if budget is None:
        made = SharedBudget(key)
        with _shared.lock:
            budget = _budgets.setdefault(key, made)
    return budget
