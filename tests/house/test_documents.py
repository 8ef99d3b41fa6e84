"""The documents stay true in what a machine can check: links, commands, code blocks, imports."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
BLOCKS = [
    (path, number, block)
    for path in DOCUMENTS
    for number, block in enumerate(
        re.findall(r"^```python\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    )
]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (path.parent / target).exists(), f"{path.name} links to {target}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_make_targets_exist(path: Path) -> None:
    known = set(re.findall(r"^([a-z]+(?: [a-z]+)*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    targets = {target for line in known for target in line.split()}
    for target in re.findall(r"\bmake ((?:[a-z]+ )*[a-z]+)`", path.read_text(encoding="utf-8")):
        assert set(target.split()) <= targets, f"{path.name} names make {target}"


@pytest.mark.parametrize("path", [*DOCUMENTS, ROOT / "tests/README.md"], ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_directories_that_are_named_exist(path: Path) -> None:
    """A path is written from the root, from `tests/` or from a package of ours; `::` names a test in it."""
    text = path.read_text(encoding="utf-8")
    for name, test in re.findall(r"`([a-z][\w/]*(?:/|\.py))(?:::(\w+))?`", text):
        found = [place / name for place in (ROOT, *(ROOT / room for room in _ROOMS)) if (place / name).exists()]
        assert found or "/" not in name, f"{path.name} names {name}"
        if test and found:
            assert f"def {test}(" in found[0].read_text(encoding="utf-8"), f"{path.name} names {name}::{test}"


@pytest.mark.parametrize(
    ("path", "number", "block"), BLOCKS, ids=[f"{path.name}-{number}" for path, number, _ in BLOCKS]
)
def test_code_blocks_are_python_and_import_what_exists(path: Path, number: int, block: str) -> None:
    tree = compile(block, f"{path.name}[{number}]", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in _OURS:
            module = importlib.import_module(node.module)
            assert all(hasattr(module, alias.name) for alias in node.names), ast.unparse(node)


_ROOMS = (
    "tests",
    "sans_io",
    "transports",
    "transports/testing",
    "cloud/llm",
    "tests/promises",
    "tests/proof",
    "tests/providers",
)
_OURS = {"sans_io", "transports", "cloud", "ai"}
