"""A user's module that has the name of a package of ours is an error that names the file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(program: str, *places: Path) -> subprocess.CompletedProcess[str]:
    """In a fresh interpreter that finds modules in these places, in this order, before all others."""
    code = f"import sys; sys.path[:0] = {[str(place) for place in places]!r}\n{program}"
    return subprocess.run(
        [sys.executable, "-I", "-c", code], cwd=places[0], capture_output=True, text=True, check=False
    )


def own(tmp_path: Path, name: str, *, package: bool = False) -> Path:
    """A user's module or package of this name; returns its file."""
    file = tmp_path / name / "__init__.py" if package else tmp_path / f"{name}.py"
    file.parent.mkdir(exist_ok=True)
    file.write_text("own = True\n")
    return file


@pytest.mark.parametrize("package", [False, True], ids=["module", "package"])
@pytest.mark.parametrize("name", ["transports", "sans_io"])
@pytest.mark.parametrize("imported", [False, True], ids=["not imported", "imported before"])
@pytest.mark.parametrize(
    "program",
    [
        "from cloud.llm import OpenAICompatClient",
        "from cloud.llm.providers import get_provider",
        "from cloud import close_all_cloud_clients",
        "from ai.ai_agents.providers import get_provider",
    ],
)
def test_a_module_of_ones_own_that_hides_a_package_is_named(
    tmp_path: Path, name: str, package: bool, imported: bool, program: str
) -> None:
    file = own(tmp_path, name, package=package)
    done = run(f"import {name}\n{program}" if imported else program, tmp_path, ROOT)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"ImportError: {file} hides the package {name!r} that cloud.llm needs: rename it, or take it off sys.path"
    )


@pytest.mark.parametrize("imported", [False, True], ids=["not imported", "imported before"])
def test_a_cloud_of_ones_own_is_named_where_code_of_ours_runs(tmp_path: Path, imported: bool) -> None:
    file = own(tmp_path, "cloud")
    program = "from ai.ai_agents.providers import get_provider"
    done = run(f"import cloud\n{program}" if imported else program, tmp_path, ROOT)
    assert done.returncode == 1
    assert f"ImportError: {file} hides the package 'cloud'" in done.stderr


@pytest.mark.parametrize("name", ["transports", "sans_io", "cloud"])
def test_one_that_is_found_later_hides_nothing(tmp_path: Path, name: str) -> None:
    own(tmp_path, name)
    program = "from cloud.llm import OpenAICompatClient; print(OpenAICompatClient(api_key='k', model='m').model)"
    done = run(program, ROOT, tmp_path)
    assert (done.returncode, done.stdout) == (0, "m\n"), done.stderr


def test_a_directory_without_code_hides_nothing(tmp_path: Path) -> None:
    (tmp_path / "transports").mkdir()
    done = run("from cloud.llm import OpenAICompatClient", tmp_path, ROOT)
    assert done.returncode == 0, done.stderr


def test_other_errors_stay_as_they_are(tmp_path: Path) -> None:
    program = "sys.modules['cloud.llm.providers'] = None\nfrom ai.ai_agents.providers import get_provider"
    done = run(program, ROOT, tmp_path)
    assert "ModuleNotFoundError" in done.stderr.splitlines()[-1]
