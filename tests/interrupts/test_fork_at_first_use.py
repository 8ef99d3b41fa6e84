"""A fork while another thread loads a module at first use: the child can load it too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")

ROOT = Path(__file__).resolve().parents[2]

#: The import takes as long as it takes; the fork comes in the middle. `how`: by the caller's thread, or the kit's.
PROGRAM = """
import faulthandler, os, sys, threading, time
faulthandler.dump_traceback_later(20, exit=True)
from transports import loading
sys.path.insert(0, sys.argv[1])
load = loading.need if sys.argv[2] == "in a thread" else loading.need_here
thread = threading.Thread(target=load, args=("slow_to_load",))
thread.start()
while "slow_to_load" not in sys.modules:
    time.sleep(0.001)
child = os.fork()
if child == 0:
    load("slow_to_load")
    import slow_to_load
    os._exit(0 if slow_to_load.WHOLE else 1)
thread.join()
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), sys.modules["slow_to_load"].WHOLE, loading._begun)
"""


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("how", ["in a thread", "here"])
def test_the_child_of_a_fork_loads_what_the_parent_was_loading(tmp_path: Path, how: str) -> None:
    (tmp_path / "slow_to_load.py").write_text("import time\ntime.sleep(0.5)\nWHOLE = True\n")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path), how], capture_output=True, text=True, timeout=60, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "0 True {}\n"), done.stderr[-2000:]


def test_an_import_that_forks_does_not_wait_for_itself(tmp_path: Path) -> None:
    (tmp_path / "forks.py").write_text(
        "import os\nchild = os.fork()\nif child == 0:\n    os._exit(0)\nos.waitpid(child, 0)\nWHOLE = True\n"
    )
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\nfrom transports.loading import need_here\nneed_here('forks')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, timeout=60, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
