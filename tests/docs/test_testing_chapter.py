"""Every example of docs/testing.md, run as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "testing.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"(?ms)^```python\n(.*?)^```$", PAGE)
CONFTEST = 'pytest_plugins = ["transports.testing.pytest_plugin"]'


def heading(block: str) -> str:
    return re.findall(r"(?m)^## (.*)$", PAGE[: PAGE.index(block)])[-1]


def test_the_page_has_the_examples_it_promises() -> None:
    assert len(BLOCKS) == 7
    assert sum(CONFTEST in block for block in BLOCKS) == 1


@pytest.mark.parametrize(
    "block", [block for block in BLOCKS if "def test_a_tool" not in block and CONFTEST not in block], ids=heading
)
def test_an_example_runs(block: str, recwarn: pytest.WarningsRecorder, tmp_path: Path) -> None:
    file = tmp_path / "example.py"  # Hypothesis reads the source of a test
    file.write_text(block, encoding="utf-8")
    exec(compile(block, str(file), "exec"), {"__name__": "example"})


def test_the_fixtures_work_in_a_project_of_their_own(pytester: pytest.Pytester) -> None:
    """A conftest with the one line, the tests as they stand: nothing of this project's own configuration."""
    [tests] = [block for block in BLOCKS if "def test_a_tool" in block]
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(test_from_the_docs=tests)
    result = pytester.runpytest_subprocess("-q", "-p", "no:cacheprovider", "-W", "error")
    result.assert_outcomes(passed=2)


def test_a_cassette_is_recorded_and_replayed_by_the_fixture(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(
        test_hello="""
        import os
        from cloud.llm import OpenAICompatClient
        from transports.testing import LoopbackServer

        def ask(base_url, transport, key):
            client = OpenAICompatClient(api_key=key, base_url=base_url, model="m", transport=transport)
            return client.chat([{"role": "user", "content": "Hello"}]).content

        def test_hello(llm_cassette):
            if os.environ.get("LLM_CASSETTE") == "record":
                with LoopbackServer() as server:
                    assert ask(server.base_url("openai"), llm_cassette("hello").sync, "sk-of-the-recorder")
            else:
                assert ask("https://elsewhere.test/v1", llm_cassette("hello").sync, "k") == "You said: Hello"
        """
    )
    missing = pytester.runpytest_subprocess("-q", "-p", "no:cacheprovider")
    missing.assert_outcomes(failed=1)
    missing.stdout.fnmatch_lines(["*there is no cassette*record it with LLM_CASSETTE=record*"])
    monkeypatch.setenv("LLM_CASSETTE", "record")
    pytester.runpytest_subprocess("-q", "-p", "no:cacheprovider").assert_outcomes(passed=1)
    assert "sk-of" not in (pytester.path / "cassettes" / "hello.json").read_text()
    monkeypatch.delenv("LLM_CASSETTE")
    pytester.runpytest_subprocess("-q", "-p", "no:cacheprovider").assert_outcomes(passed=1)
