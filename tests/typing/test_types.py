"""Programs that a user would write pass mypy --strict and pyright; mistakes are found where they are."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PROGRAMS = sorted(path for path in HERE.glob("*.py") if path.name not in ("mistakes.py", "test_types.py"))
MISTAKES = HERE / "mistakes.py"
MARK = re.compile(r"# error: ([a-z-]+)$")
#: Either is pyright; basedpyright brings its own Node.
PYRIGHT = next((name for name in ("basedpyright", "pyright") if importlib.util.find_spec(name) is not None), None)

needs_mypy = pytest.mark.skipif(importlib.util.find_spec("mypy") is None, reason="mypy is in the extra lint")
needs_pyright = pytest.mark.skipif(PYRIGHT is None, reason="basedpyright is in the extra lint")


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mypy")


def mypy(cache: Path, *files: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--cache-dir", str(cache)]
    command += ["--enable-error-code=unused-coroutine", *map(str, files)]
    env = os.environ | {"MYPYPATH": str(ROOT)}
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=300)


def marks(path: Path) -> dict[int, str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return {number: found[1] for number, line in enumerate(lines, 1) if (found := MARK.search(line))}


@needs_mypy
@pytest.mark.timeout(300)
def test_programs_pass_mypy_strict(cache: Path) -> None:
    done = mypy(cache, *PROGRAMS)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


@needs_mypy
@pytest.mark.timeout(300)
def test_mypy_finds_each_mistake_where_it_is(cache: Path) -> None:
    done = mypy(cache, MISTAKES)
    found = {(int(line), code) for line, code in re.findall(r"mistakes\.py:(\d+): error: .*\[([a-z-]+)\]", done.stdout)}
    expected = marks(MISTAKES)
    assert {line for line, _ in found} == expected.keys(), done.stdout + done.stderr
    assert found >= set(expected.items())
    assert len(expected) >= 25


def pyright(*arguments: str) -> dict:
    command = [sys.executable, "-m", str(PYRIGHT), "--pythonpath", sys.executable, "--outputjson", *arguments]
    env = os.environ | {"PYTHONPATH": str(ROOT)}  # --verifytypes looks where Python itself would
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=300)
    return json.loads(done.stdout)


@needs_pyright
@pytest.mark.timeout(300)
def test_programs_pass_pyright_strict() -> None:
    report = pyright("--project", str(HERE / "pyrightconfig.json"))
    assert report["generalDiagnostics"] == []
    assert report["summary"]["filesAnalyzed"] >= len(PROGRAMS)


@needs_pyright
@pytest.mark.timeout(300)
def test_pyright_finds_each_mistake_where_it_is(tmp_path: Path) -> None:
    config = json.loads((HERE / "pyrightconfig.json").read_text(encoding="utf-8"))
    config |= {"include": [str(MISTAKES)], "exclude": [], "extraPaths": [str(ROOT)]}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(config), encoding="utf-8")
    report = pyright("--project", str(tmp_path / "pyrightconfig.json"))
    found = {one["range"]["start"]["line"] + 1 for one in report["generalDiagnostics"] if one["severity"] == "error"}
    assert marks(MISTAKES).keys() <= found


@needs_pyright
@pytest.mark.timeout(300)
def test_all_that_cloud_llm_exports_has_a_type() -> None:
    report = pyright("--verifytypes", "cloud.llm", "--ignoreexternal")["typeCompleteness"]
    symbols = report["exportedSymbolCounts"]
    assert symbols["withKnownType"] > 100, "the package was not found"
    assert symbols["withUnknownType"] == 0
    assert report["completenessScore"] >= 0.98


def test_the_marker_files_are_there() -> None:
    for package in ("cloud", "sans_io", "transports"):
        assert (ROOT / package / "py.typed").exists(), package
