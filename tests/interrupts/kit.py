"""What the tests of re-entrance share: a watchdog, and every bytecode of a piece of code as a place to interrupt it."""

from __future__ import annotations

import gc
import sys
import threading
import traceback
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from tests.interrupting import OURS, Tracer, at, ctrl_c

T = TypeVar("T")

#: Seconds after which something hangs: what is watched takes milliseconds.
PATIENCE = 20.0

Scenario = tuple[Callable[[], object], Callable[[], object], Callable[[], None]]


def watched(run: Callable[[], T], patience: float = PATIENCE) -> T:
    """What `run()` gives, in a thread of its own. Fails with that thread's stack instead of hanging."""
    outcome: list[Any] = []

    def work() -> None:
        try:
            outcome.extend((run(), None))
        except BaseException as error:
            outcome.extend((None, error))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(patience)
    if not outcome:
        frame = sys._current_frames().get(thread.ident or 0)
        stack = "".join(traceback.format_stack(frame)) if frame is not None else "(no frame)"
        raise AssertionError(f"stuck after {patience} s:\n{stack}")
    if outcome[1] is not None:
        raise outcome[1]
    return outcome[0]


def at_every_bytecode(make: Callable[[], Scenario], *, everywhere: bool = False) -> int:
    """For every bytecode of `run`, with fresh state: `act` is called before it, as a handler or a finaliser would be.
    `make` gives `run`, `act`, and `check`, which is called afterwards. How many bytecodes there were.
    """
    step, reached = 0, True
    while reached:
        step += 1
        run, act, check = make()

        def once(step: int = step, run: Any = run, act: Any = act, check: Any = check) -> bool:
            _, fired = at(step, act, run, everywhere=everywhere)
            if not fired:
                act()
            check()
            return fired

        try:
            reached = watched(once)
        except BaseException as error:
            error.add_note(f"interrupted before bytecode {step}")
            raise
    return step - 1


def ctrl_c_at_every_bytecode(
    make: Callable[[], tuple[Callable[[], object], Callable[[], None]]], interruption: Callable[[], object] = ctrl_c
) -> int:
    """For every bytecode of `run`, with fresh state: Ctrl-C comes there, and `check` is called afterwards, in the same
    thread and in another one.
    """
    step, reached = 0, True
    while reached:
        step += 1
        run, check = make()

        def once(step: int = step, run: Any = run, check: Any = check) -> bool:
            try:
                _, fired = at(step, interruption, run)
            except (KeyboardInterrupt, SystemExit):
                fired = True
            check()
            return fired

        try:
            reached = watched(once)
            watched(check)
        except BaseException as error:
            error.add_note(f"interrupted before bytecode {step}")
            raise
    return step - 1


class Stepped:
    """An awaitable that awaits `coroutine`, and calls `act` before the `step`-th bytecode that it executes itself."""

    def __init__(self, coroutine: Coroutine[Any, Any, T], step: int, act: Callable[[], object]) -> None:
        self._coroutine = coroutine
        self._tracer = Tracer(step, act, False, OURS)

    @property
    def fired(self) -> bool:
        return self._tracer.fired

    def __await__(self) -> Iterator[Any]:
        send, value = self._coroutine.send, None
        while True:
            sys.settrace(None if self._tracer.fired else self._tracer)
            try:
                found = send(value)
            except StopIteration as end:
                return end.value
            finally:
                sys.settrace(None)
            try:
                value, send = (yield found), self._coroutine.send
            except BaseException as error:
                value, send = error, self._coroutine.throw


@contextmanager
def finalisers_everywhere(act: Callable[[], object]) -> Iterator[Callable[[], None]]:
    """The collector runs as often as it can, and `act` in what it finds. Call what is given to leave something."""

    class Finalised:
        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            act()

    before = gc.get_threshold()
    gc.set_threshold(1)
    try:
        yield lambda: (Finalised(), None)[1]
    finally:
        gc.set_threshold(*before)
        gc.collect()
