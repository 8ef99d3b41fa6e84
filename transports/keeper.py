"""What closes a loop's connections when the loop ends: an asynchronous generator that is suspended until then.

`asyncio.run` and `trio.run` end the generators of their loop while it still lives; the generator's `finally` awaits
nothing, so it also works where it is merely collected, after a loop that was dropped without ceremony.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress

from .interface import Hands


def begin_keeper(hands: Hands, now: Callable[[], float]) -> AsyncGenerator[None, None]:
    """A suspended generator that closes all connections of `hands` in the end. Keep it as long as the hands."""
    keeper = _keep(hands, now)
    # The loop is to end the generator, but the generator is not to hold the loop: it gets no finalizer, only the
    # first-iteration hook, by which loops remember their generators weakly.
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(finalizer=None)
    try:
        with suppress(StopIteration):
            keeper.asend(None).send(None)
    finally:
        sys.set_asyncgen_hooks(*hooks)
    return keeper


async def _keep(hands: Hands, now: Callable[[], float]) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        hands.close_all(now())
