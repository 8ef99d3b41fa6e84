"""Something happens before a chosen bytecode: what Ctrl-C, the garbage collector and signal handlers do to a program.

Rules of this file:
- `sys.settrace` counts the bytecodes, only in code that is asked for, and only while a task runs that has its event
  ahead of it. Whoever gives a task an event sees to it that nobody else traces.
- No event happens in the middle of another. An exception out of a trace function ends the tracing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine
from dis import opmap
from types import CodeType, FrameType, ModuleType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import sans_io
from sans_io.policy import pool, slots

from ... import exclusion, interface, pump
from .loop import Cancelled, SimWakeup, Task, VirtualLoop

if TYPE_CHECKING:
    from .scene import SimCall

Counts: TypeAlias = Callable[[CodeType], bool]


def _files(*modules: ModuleType) -> frozenset[str]:
    return frozenset(str(module.__file__) for module in modules)


_POOL: Final = _files(pool, slots, interface, exclusion)
_PUMP: Final = _POOL | _files(pump)
_CORE: Final = str(sans_io.__file__).removesuffix("__init__.py")


def in_pool(code: CodeType) -> bool:
    """The pool and its runner."""
    return code.co_filename in _POOL


def in_pump(code: CodeType) -> bool:
    """The pump, the pool and its runner."""
    return code.co_filename in _PUMP


def anywhere(code: CodeType) -> bool:
    """These and the core, but for `records`, which compiles a constructor for the first object of a class."""
    file = code.co_filename
    return file in _PUMP or (file.startswith(_CORE) and not file.endswith("records.py"))


def in_repair(code: CodeType) -> bool:
    """The repair of a pool that was left half changed."""
    return code is pool.Pool.repair.__code__


class Interrupted(Cancelled):
    """Ctrl-C, at any bytecode."""


class Event:
    """Calls `happen(during, place)` before the bytecode number `left` of those executed in code that `counts`.

    Where that is a NOP, before the next one: CPython looks for signals in calls and jumps, and the tables of `try`
    leave NOPs out.
    """

    __slots__ = ("_counts", "_happen", "_left", "during", "over")

    def __init__(self, counts: Counts, left: int, happen: Callable[[SimCall, str], None]) -> None:
        self._counts = counts
        self._left = left
        self._happen = happen
        #: The call whose task runs; None between two steps.
        self.during: SimCall | None = None
        self.over = False

    def enter(self, frame: FrameType, _: str, __: object) -> Any:
        """To be set as the trace function."""
        if not self._counts(frame.f_code):
            return None
        frame.f_trace = self._step  # CPython 3.13 looks at it when opcodes are asked for
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        return self._step

    def _step(self, frame: FrameType, what: str, _: object) -> Any:
        if what == "opcode" and not self.over:
            self._left -= 1
            if self._left <= 0 and frame.f_code.co_code[frame.f_lasti] != _NOP:
                self.over = True
                sys.settrace(None)
                assert self.during is not None
                place = f"{frame.f_code.co_qualname}, line {frame.f_lineno}, bytecode {frame.f_lasti}"
                self._happen(self.during, place)
        return self._step


_NOP: Final = opmap["NOP"]

# CPython 3.12 looks, when it begins to trace, whether anybody ever asked for opcodes.
sys._getframe().f_trace_opcodes = True


class StruckTask(Task):
    """A task that may have an event ahead of it. It keeps no frames: what they know would not be collected."""

    __slots__ = ("event", "sim")

    def __init__(self, loop: VirtualLoop, coro: Coroutine[SimWakeup, None, None], sim: SimCall) -> None:
        super().__init__(loop, coro, sim.nonce)
        self.sim = sim
        self.event: Event | None = None

    def step(self) -> None:
        event = self.event
        if event is None or event.over or self.done:
            super().step()
        else:
            event.during = self.sim
            sys.settrace(event.enter)
            try:
                super().step()
            finally:
                sys.settrace(None)
                event.during = None
        if self.error is not None:
            self.error.__traceback__ = self.error.__context__ = None

    @property
    def suspended(self) -> bool:
        return not self.done and self._wakeup is not None and self._wakeup._task is self

    def collect(self) -> None:
        """Nobody has it any more, while it is suspended: its coroutine is closed."""
        if self._wakeup is not None:
            self._wakeup._task = None
        self._coro.close()
        self._end(None)
