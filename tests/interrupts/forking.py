"""A child of a fork, and how it ended."""

from __future__ import annotations

import os
import signal
import threading
import traceback
import warnings
from collections.abc import Callable
from time import monotonic


def fork() -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that there are threads is the point
        return os.fork()


def be_child(work: Callable[[], int]) -> None:
    """The child ends here, whatever happens, without the parent's exit handlers."""
    code = 3
    try:
        code = work()
    except BaseException:
        os.write(2, f"child: {traceback.format_exc()}\n".encode())
    finally:
        os._exit(code)


def exit_code(child: int, patience: float = 40.0) -> int:
    """-1: it hung, and was killed."""
    until = monotonic() + patience
    while monotonic() < until:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        threading.Event().wait(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return -1
