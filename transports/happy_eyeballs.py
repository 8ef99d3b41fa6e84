"""Several addresses, one connection (RFC 8305), for any library with task groups, events and timeouts.

Rules of this file:
- The next address is tried when the one before has failed, or after `DELAY`, whichever is first.
- Exactly one wire comes out; every other one made on the way is closed, also when the caller is cancelled.
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


WireT = TypeVar("WireT", bound=Closable)


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
    connect: Callable[[Address], Awaitable[WireT]],
    open_group: Callable[[], AbstractAsyncContextManager[Group]],
    new_flag: Callable[[], Flag],
    move_on_after: Callable[[float], AbstractContextManager[object]],
) -> WireT:
    """The first wire that `connect` gives. Raises the most telling `Fault` when all have failed."""
    if len(addresses) == 1:
        return await connect(addresses[0])
    wires: list[WireT] = []
    faults: dict[int, Fault] = {}
    winner: WireT | None = None
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
                    wires.append(await connect(addresses[index]))
                except Fault as fault:
                    faults[index] = fault
                    failed.set()
                else:
                    group.cancel_scope.cancel()

            group.start_soon(attempt, 0, None)
        if not wires:
            raise worst(list(faults.values()))
        winner = wires[0]
        return winner
    finally:
        for wire in wires:
            if wire is not winner:
                wire.abort()


async def raced(race: Awaitable[WireT], deadline: float, now: Callable[[], float]) -> WireT:
    """The result of a race in which everybody keeps the deadline. When it has passed, nothing else tells more."""
    try:
        return await race
    except Fault:
        if now() >= deadline:
            raise Fault("timeout") from None
        raise


def worst(faults: list[Fault]) -> Fault:
    """The most telling of the failures of all addresses: not the one that says this machine has no IPv6."""
    telling = [fault for fault in faults if fault.kind != "unreachable"]
    return (telling or faults)[0]
