"""README.md: every block of Python runs as it is written, against servers in memory at the addresses it names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from transports.testing import FakeLLMServer, ScriptedReply, ToolUse

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
#: This one needs the embedded model; tests/real_model runs it.
NEEDS_MODEL = "EmbeddedServer"
RUN = [block for block in BLOCKS if NEEDS_MODEL not in block]
WEATHER = ToolUse("get_weather", {"location": "Oslo"})


def test_there_is_something_to_run() -> None:
    assert len(RUN) >= 8
    assert len(BLOCKS) == len(RUN) + 1


@pytest.mark.parametrize("block", RUN, ids=[str(number) for number in range(len(RUN))])
def test_a_block_runs_as_written(block: str, server: FakeLLMServer, capsys: pytest.CaptureFixture[str]) -> None:
    if "tools" in block:
        server.script(ScriptedReply(tool_calls=(WEATHER,)), ScriptedReply(text=["It is", " mild."]))
    if "response_format" in block:
        server.script(*[ScriptedReply('{"name": "Ana", "age": 30}')] * 3)
    exec(compile(block, "README.md", "exec"), {"__name__": "__main__"})
    shown = capsys.readouterr().out
    assert shown.strip()
    assert "status" not in shown, "an error was shown instead of an answer"
    assert server.requests
    if "tools" in block:
        assert "get_weather({'location': 'Oslo'})" in shown
        assert "It is mild." in shown
    if "response_format" in block:
        assert shown.split() == ["Ana"] * 3
