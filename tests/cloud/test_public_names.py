"""What users see of names: in tracebacks, in pickles, in `cloud.llm` itself."""

from __future__ import annotations

import pickle
import subprocess
import sys
import traceback
from importlib.metadata import version

import pytest

import cloud.llm
from sans_io import errors

ERRORS = [name for name in cloud.llm.__all__ if name.startswith("LLM")]


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_is_called_what_users_import(name: str) -> None:
    kind = getattr(cloud.llm, name)
    assert kind is getattr(errors, name)
    assert traceback.format_exception_only(kind("gone")) == [f"cloud.llm.{name}: gone\n"]


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_is_pickled_by_that_name(name: str) -> None:
    made = getattr(cloud.llm, name)("gone", status_code=429, retry_after=2.0)
    data = pickle.dumps(made)
    assert b"cloud.llm" in data
    assert b"sans_io" not in data
    copy = pickle.loads(data)
    assert (type(copy), copy.message, copy.status_code, copy.retry_after) == (type(made), "gone", 429, 2.0)
    program = "import pickle, sys; print(pickle.loads(sys.stdin.buffer.read()).retry_after)"
    done = subprocess.run([sys.executable, "-c", program], input=data, capture_output=True, check=True)
    assert done.stdout.split() == [b"2.0"]


def test_a_pickle_with_the_old_name_is_still_read() -> None:
    old = b"csans_io.errors\nLLMRateLimitError\n(Vgone\ntR."
    assert type(pickle.loads(old)) is cloud.llm.LLMRateLimitError


def test_every_error_of_the_tree_is_exported() -> None:
    def family(kind: type) -> set[str]:
        return {kind.__name__}.union(*map(family, kind.__subclasses__()))

    ours = {name for name in family(errors.LLMError) if name in vars(errors)}
    assert ours == set(ERRORS)


def test_the_version_is_that_of_the_distribution_and_read_when_asked_for() -> None:
    assert cloud.llm.__version__ == version("cloud-llm")
    program = "import sys, cloud.llm; assert 'importlib.metadata' not in sys.modules; print(cloud.llm.__version__)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == version("cloud-llm")


def test_a_checkout_that_is_not_installed_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib import metadata

    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    assert cloud.llm.__version__ == "unknown"
