"""Interrupt a piece of code at its k-th bytecode: by an exception (Ctrl-C) or by code of the same thread (a handler).

    steps = count(run)                          how many bytecodes `run()` executes in this project's own files
    at(k, act, run)                             `act()` is called before the k-th of them; what it raises comes out there.
                                                Where that is a NOP, which nothing can interrupt, before the next one.

The tracer counts the bytecodes of frames whose file belongs to the project; `everywhere=True` counts all of them.
"""

from __future__ import annotations

import dis
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

T = TypeVar("T")

ROOT = Path(__file__).resolve().parent.parent
#: The compiler leaves these out of the tables of `try` and `with`, since nothing can be raised there: CPython looks for
#: signals in calls and jumps.
NOP = dis.opmap["NOP"]
OURS = tuple(str(ROOT / name) for name in ("sans_io", "transports", "cloud", "ai"))


# CPython 3.12 looks, when it begins to trace, whether anybody ever asked for opcodes.
sys._getframe().f_trace_opcodes = True


class Tracer:
    """For `sys.settrace`: calls `act` before bytecode number `at`, for code that `at()` below cannot run by itself."""

    def __init__(
        self, at: int, act: Callable[[], object], everywhere: bool = False, files: tuple[str, ...] = OURS
    ) -> None:
        self.seen = 0
        self.fired = False
        self._at = at
        self._act = act
        self._everywhere = everywhere
        self._files = files

    def __call__(self, frame: FrameType, event: str, _: object) -> Any:
        if self.fired or not (self._everywhere or frame.f_code.co_filename.startswith(self._files)):
            return None
        frame.f_trace = self.step  # CPython 3.13 looks at it when opcodes are asked for
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        return self.step

    def step(self, frame: FrameType, event: str, _: object) -> Any:
        if event == "opcode" and not self.fired:
            self.seen += 1
            if self.seen >= self._at > 0 and frame.f_code.co_code[frame.f_lasti] != NOP:
                self.fired = True
                sys.settrace(None)
                self._act()
        return self.step


def count(run: Callable[[], object], *, everywhere: bool = False, files: tuple[str, ...] = OURS) -> int:
    """How many bytecodes `run()` executes."""
    tracer = Tracer(0, lambda: None, everywhere, files)
    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        run()
    finally:
        sys.settrace(before)
    return tracer.seen


def at(
    step: int,
    act: Callable[[], object],
    run: Callable[[], T],
    *,
    everywhere: bool = False,
    files: tuple[str, ...] = OURS,
) -> tuple[T | None, bool]:
    """What `run()` returned, and whether step number `step` (from 1) was reached, before which `act()` was called."""
    tracer = Tracer(step, act, everywhere, files)
    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        result = run()
    finally:
        sys.settrace(before)
    return result, tracer.fired


def ctrl_c() -> None:
    """To be given as `act`: what Ctrl-C does to the main thread."""
    raise KeyboardInterrupt
