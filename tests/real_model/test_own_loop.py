"""`examples/own_loop.py` as a user runs it: two calls at once in one thread, and a server that is not there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from cloud.llm.embedded import EmbeddedServer
from tests.real_model.conftest import KEYS

ROOT = Path(__file__).parents[2]
PROMPTS = ("Hello!", "Write one sentence about the sea.")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", str(ROOT / "examples" / "own_loop.py"), *arguments],
        env=os.environ | {"OPENAI_API_KEY": KEYS[5], "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_two_calls_in_one_loop_give_what_the_client_gives(server: EmbeddedServer) -> None:
    done = run(server.base_url, server.model, *PROMPTS)
    assert done.stderr == ""
    assert done.returncode == 0
    answers = done.stdout.splitlines()
    assert len(answers) >= len(PROMPTS)
    assert all(answers)


def test_a_server_that_is_not_there_is_an_error_of_the_call() -> None:
    done = run("http://127.0.0.1:9/v1", "any")
    assert done.stderr == ""
    assert done.returncode == 1
    assert "127.0.0.1" in done.stdout
