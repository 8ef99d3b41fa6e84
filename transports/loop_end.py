"""What closes a loop's connections when the loop ends: an asynchronous generator suspended until then.

`asyncio.run` and `trio.run` close the generators of their loop while it still runs. The generator's `finally` awaits
nothing, so it also works if it is merely collected, after a loop that was dropped without being closed.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress

from .interface import PoolRunner


def at_loop_end(runner: PoolRunner, now: Callable[[], float]) -> AsyncGenerator[None, None]:
    """A suspended generator that closes the connections of `runner` when the loop ends. Keep it as long as `runner`."""
    generator = _until_end(runner, now)
    # The loop must end the generator, but the generator must not hold the loop: it gets no finalizer, only the
    # first-iteration hook, by which loops remember their generators weakly.
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(finalizer=None)
    try:
        with suppress(StopIteration):
            generator.asend(None).send(None)
    finally:
        sys.set_asyncgen_hooks(*hooks)
    return generator


async def _until_end(runner: PoolRunner, now: Callable[[], float]) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        runner.close_all(now())
