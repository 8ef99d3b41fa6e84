"""Which event loop runs in this thread, found out without importing one; and coroutines that need none."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

Loop: TypeAlias = Literal["asyncio", "trio"]
T = TypeVar("T")


def at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never suspends: text shared by blocking and asynchronous clients."""
    try:
        coroutine.send(None)
    except StopIteration as ended:
        result: T = ended.value
        return result
    raise RuntimeError("a blocking client was suspended")


def running_loop() -> Loop | None:
    """The loop whose task runs now. trio first: as a guest it runs inside another loop."""
    trio = sys.modules.get("trio")
    if trio is not None:
        try:
            trio.lowlevel.current_task()
        except (RuntimeError, AttributeError):  # AttributeError: another thread is still importing it
            pass
        else:
            return "trio"
    asyncio = sys.modules.get("asyncio")
    if asyncio is not None:
        try:
            asyncio.get_running_loop()
        except (RuntimeError, AttributeError):
            pass
        else:
            return "asyncio"
    return None


def running_task() -> object:
    """The task that runs now; None outside one."""
    match running_loop():
        case "trio":
            return sys.modules["trio"].lowlevel.current_task()
        case "asyncio":
            return sys.modules["asyncio"].current_task()
        case _:
            return None


def running_loop_object() -> object:
    """An object that all tasks of one loop share and other loops do not; None outside a loop."""
    match running_loop():
        case "trio":
            return sys.modules["trio"].lowlevel.current_trio_token()
        case "asyncio":
            return sys.modules["asyncio"].get_running_loop()
        case _:
            return None
