"""One connection to one of several addresses (RFC 8305), for any library with task groups, events and timeouts.

Rules of this file:
- The next address is tried when the previous one has failed, or after `DELAY`, whichever is first.
- Exactly one connection is returned; any other that was made is closed, also when the caller is cancelled.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Final, Protocol, TypeVar

from .faults import Fault
from .resolver import Address, Addresses

#: Seconds of a head start (RFC 8305 section 5: 250 ms is recommended).
DELAY: Final = 0.25


class Closable(Protocol):
    def abort(self) -> None: ...


ConnectionT = TypeVar("ConnectionT", bound=Closable)


class Scope(Protocol):
    def cancel(self) -> None: ...


class Group(Protocol):
    @property
    def cancel_scope(self) -> Scope: ...
    @property
    def start_soon(self) -> Callable[..., object]: ...


class Flag(Protocol):
    def set(self) -> object: ...
    async def wait(self) -> object: ...


async def first_to_connect(
    addresses: Addresses,
    connect: Callable[[Address], Awaitable[ConnectionT]],
    open_group: Callable[[], AbstractAsyncContextManager[Group]],
    new_flag: Callable[[], Flag],
    move_on_after: Callable[[float], AbstractContextManager[object]],
) -> ConnectionT:
    """The first connection that is made. If all attempts fail, raises the most informative `Fault`."""
    if len(addresses) == 1:
        return await connect(addresses[0])
    connections: list[ConnectionT] = []
    faults: dict[int, Fault] = {}
    winner: ConnectionT | None = None
    try:
        async with open_group() as group:

            async def attempt(index: int, before_failed: Flag | None) -> None:
                if before_failed is not None:
                    with move_on_after(DELAY):
                        await before_failed.wait()
                failed = new_flag()
                if index + 1 < len(addresses):
                    group.start_soon(attempt, index + 1, failed)
                try:
                    connections.append(await connect(addresses[index]))
                except Fault as fault:
                    faults[index] = fault
                    failed.set()
                else:
                    group.cancel_scope.cancel()

            group.start_soon(attempt, 0, None)
        if not connections:
            raise worst(list(faults.values()))
        winner = connections[0]
        return winner
    finally:
        for connection in connections:
            if connection is not winner:
                connection.abort()


async def raced(race: Awaitable[ConnectionT], deadline: float, now: Callable[[], float]) -> ConnectionT:
    """The result of a race in which every attempt keeps the deadline. After the deadline any failure is a timeout."""
    try:
        return await race
    except Fault:
        if now() >= deadline:
            raise Fault("timeout") from None
        raise


def worst(faults: list[Fault]) -> Fault:
    """The most informative failure of all addresses: preferably not that this machine has no IPv6."""
    informative = [fault for fault in faults if fault.kind != "unreachable"]
    return (informative or faults)[0]
