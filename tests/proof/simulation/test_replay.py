"""A seed is a world: the same again, with a readable trace, in another process, and on every other CPython found here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import h11
import pytest

from tests.proof.simulation.mutants import ROOT
from transports.testing.simulation import run_seed

SEEDS = range(12)
PROGRAM = f"from transports.testing.simulation import run_seed; print(*[run_seed(s).digest for s in {SEEDS!r}])"
#: More than the newest that there is; what is not installed is skipped.
VERSIONS = [f"3.{minor}" for minor in range(11, 17)]


@pytest.fixture(scope="module")
def here() -> list[str]:
    return [run_seed(seed).digest for seed in SEEDS]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All that the simulation needs besides our source and Python: nothing compiled, and nothing else of our own."""
    directory = tmp_path_factory.mktemp("library")
    shutil.copytree(Path(h11.__file__).parent, directory / "h11", ignore=shutil.ignore_patterns("__pycache__"))
    return directory


def digests(python: str, library: Path, hash_seed: str) -> list[str]:
    done = subprocess.run(
        [python, "-s", "-c", PROGRAM], cwd=library, capture_output=True, text=True, check=True, timeout=120,
        env=os.environ | {
            "PYTHONPATH": os.pathsep.join((str(ROOT), str(library))),
            "PYTHONHASHSEED": hash_seed,
            "PYTHONDONTWRITEBYTECODE": "1",
        },
    )  # fmt: skip
    return done.stdout.split()


def find_python(version: str) -> str | None:
    """An interpreter of this version other than ours; pyenv's shims are there also for versions that are not."""
    places = [shutil.which(f"python{version}"), *Path.home().glob(f".pyenv/versions/{version}.*/bin/python")]
    ask = "import sys; print(sys.implementation.name, '%d.%d' % sys.version_info[:2])"
    for place in filter(None, places):
        said = subprocess.run([place, "-c", ask], capture_output=True, text=True, check=False, timeout=60)
        if said.stdout.split() == ["cpython", version]:
            return str(place)
    return None


def test_the_same_again(here: list[str]) -> None:
    assert len(set(here)) == len(SEEDS)
    assert here == [run_seed(seed, keep_trace=True).digest for seed in SEEDS]


@pytest.mark.parametrize("hash_seed", ["0", "1"])
def test_the_same_in_another_process(here: list[str], library: Path, hash_seed: str) -> None:
    assert digests(sys.executable, library, hash_seed) == here


@pytest.mark.parametrize("version", VERSIONS)
def test_the_same_on_another_cpython(here: list[str], library: Path, version: str) -> None:
    if version == "%d.%d" % sys.version_info[:2]:
        pytest.skip("this is the one that runs the tests")
    python = find_python(version)
    if python is None:
        pytest.skip(f"no CPython {version} on this machine")
    assert digests(python, library, "random") == here
