"""The demo as a user sees it: against a server of one's choice, without a model, and interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cloud.llm.embedded import EmbeddedServer
from tests.real_model.conftest import KEYS

ROOT = Path(__file__).parents[2]
WITHOUT_MODEL = (
    "import sys, cloud.llm.embedded as e; e._MODEL_PACKAGE = 'no-such-package';"
    "from cloud.llm.__main__ import main; sys.exit(main(['demo']))"
)


def start(*command: str, **env: str) -> subprocess.Popen[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")}
    return subprocess.Popen(
        [sys.executable, "-u", "-W", "error", *command],
        env=clean | {"PYTHONPATH": str(ROOT), "COLUMNS": "80", "TERM": "dumb"} | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_scenes_against_a_server_of_ones_choice(server: EmbeddedServer) -> None:
    process = start(
        "-m", "cloud.llm", "demo", "--base-url", server.base_url, "-m", server.model, OPENAI_API_KEY=KEYS[7]
    )
    out, err = process.communicate(timeout=300)
    assert (process.returncode, err) == (0, "")
    assert f"Server: {server.base_url}" in out
    assert out.count("get_weather(city='Paris')") == 3
    assert out.count('{"name": "Ana", "age": 30}') == 3


def test_without_a_model_the_demo_says_so() -> None:
    process = start("-c", WITHOUT_MODEL)
    out, err = process.communicate(timeout=100)
    assert (process.returncode, err) == (0, "")
    assert "SCRIPTED" in out
    assert "Equal answers on all of them: yes" in out


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
@pytest.mark.parametrize("scene", ["blocking", "asyncio", "trio"])
def test_ctrl_c_leaves_one_line(scene: str) -> None:
    process = start("-c", WITHOUT_MODEL)
    assert process.stdout is not None
    # Past the scene's title: asyncio takes Ctrl-C over only once its loop runs.
    for wanted in (scene, "stream"):
        while not process.stdout.readline().startswith(wanted):
            assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "\nStopped.\n")
