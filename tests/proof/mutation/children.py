"""Tasks in forked children: a few at once, each with a limit, each telling how far it came."""

from __future__ import annotations

import mmap
import os
import signal
import struct
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Say = Callable[[int], None]
Task = TypeVar("Task")
#: Exit codes. A child that a signal ended counts as FAILED: it used too much time or crashed.
PASSED, FAILED, BROKEN = 0, 1, 3


def in_children(
    tasks: Iterable[Task], act: Callable[[Task, Say], int], *, jobs: int, limit: float, quiet: bool = True
) -> Iterator[tuple[Task, int, int]]:
    """(task, exit code, the number said last), in the order in which they end. `limit` in seconds for each child.

    On a machine that is busy (a load above two for each core) one at a time.
    """
    running: dict[int, tuple[Task, mmap.mmap, float]] = {}
    waiting = iter(tasks)
    exhausted = False
    while running or not exhausted:
        while not exhausted and len(running) < (jobs if os.getloadavg()[0] <= 2 * (os.cpu_count() or 1) else 1):
            try:
                task = next(waiting)
            except StopIteration:
                exhausted = True
                break
            board = mmap.mmap(-1, 4)
            running[_started(task, act, board, quiet)] = task, board, time.monotonic() + limit
        yield from _ended(running)


def _ended(running: dict[int, tuple[Task, mmap.mmap, float]]) -> Iterator[tuple[Task, int, int]]:
    for process, (task, board, give_up) in list(running.items()):
        done, status = os.waitpid(process, os.WNOHANG)
        if not done and time.monotonic() > give_up:
            os.kill(process, signal.SIGKILL)
            done, status = os.waitpid(process, 0)
        if done:
            del running[process]
            code = os.waitstatus_to_exitcode(status)
            yield task, FAILED if code < 0 else code, struct.unpack("i", board[:4])[0]
    time.sleep(0.004)


def _started(task: Task, act: Callable[[Task, Say], int], board: mmap.mmap, quiet: bool) -> int:
    sys.stdout.flush()
    process = os.fork()
    if process:
        return process
    code = BROKEN
    try:
        errors = os.dup(2)
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2) if quiet else ():
            os.dup2(nothing, descriptor)
        try:
            code = act(task, lambda number: struct.pack_into("i", board, 0, number))
        except BaseException:
            os.write(errors, traceback.format_exc().encode())
    finally:
        os._exit(code)
