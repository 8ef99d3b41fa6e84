"""Runs tests in forks of a process that has pytest loaded and nothing of this project: starting costs most of a run.

One line of JSON in (pytest's arguments), one out (its exit code; 1 also for a run beyond the limit).
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time


def main() -> None:
    import _pytest.assertion.rewrite
    import h11
    import hypothesis.stateful
    import pytest
    import trio

    assert all((h11, hypothesis, trio, _pytest))
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            nothing = os.open(os.devnull, os.O_RDWR)
            for descriptor in (0, 1, 2):
                os.dup2(nothing, descriptor)
            os._exit(int(pytest.main(request["arguments"])))
        print(json.dumps(_waited_for(child, request["limit"])), flush=True)


def _waited_for(child: int, limit: float) -> int:
    give_up = time.monotonic() + limit
    while time.monotonic() < give_up:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return 1


if __name__ == "__main__":
    main()
