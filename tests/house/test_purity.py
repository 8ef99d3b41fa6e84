"""`sans_io` waits for nothing, opens nothing, reads no clock and rolls no dice. Proved from four sides.

The import contracts (`test_rooms.py`) see the import graph, the syntax tree sees what a graph cannot name
(`urllib.request`, `open()`), a bare interpreter sees what is really loaded, and the audit hook in `tests/conftest.py`
sees what really happens while every test runs.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import h11
import pytest

from tests import conftest

ROOT = Path(__file__).parents[2]
CORE = sorted((ROOT / "sans_io").rglob("*.py"))

FORBIDDEN = {
    "socket", "ssl", "select", "selectors", "asyncio", "threading", "time", "random", "secrets", "uuid", "subprocess",
    "logging", "os", "email", "http", "urllib.request", "httpcore", "anyio", "trio",
}  # fmt: skip
#: All the core may import besides itself. Data and text only; `datetime` is not here (it reads a clock).
ALLOWED = {
    "__future__", "abc", "base64", "binascii", "bisect", "codecs", "collections", "collections.abc", "copy",
    "dataclasses", "enum", "functools", "hashlib", "heapq", "ipaddress", "itertools", "json", "json.decoder",
    "json.encoder", "json.scanner", "math", "operator", "re", "string", "struct", "types", "typing", "unicodedata",
    "urllib.parse", "weakref",
}  # fmt: skip
#: Libraries, each with the one file that may import it.
ONE_DOOR = {
    "h11": ("http/http11.py",),
    "msgspec": ("decode/jsontext.py",),
    "importlib": ("__init__.py", "providers/registry.py"),
}
IMPURE_BUILTINS = {"open", "print", "input", "exec", "eval", "compile", "breakpoint", "__import__"}
#: The one file that may call one of these: it compiles constructors from the names of our own fields.
COMPILES = "records.py"


def imports_of(tree: ast.AST) -> set[str]:
    """Dotted names of absolute imports, `from a import b` as `a` (and `a.b` for the members of `urllib`)."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            if node.module == "urllib":
                names.update(f"urllib.{alias.name}" for alias in node.names)
            else:
                names.add(node.module)
    return names


@pytest.mark.parametrize("path", CORE, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_core_file_imports_only_data_modules(path: Path) -> None:
    for name in imports_of(ast.parse(path.read_text(encoding="utf-8"))):
        top = name.partition(".")[0]
        if top in ONE_DOOR:
            assert path.relative_to(ROOT / "sans_io").as_posix() in ONE_DOOR[top], (
                f"{top} has one door into the core, {ONE_DOOR[top]}"
            )
        elif top != "sans_io":
            assert name not in FORBIDDEN and top not in FORBIDDEN, f"{path.name} imports {name}"
            assert name in ALLOWED, f"{path.name} imports {name}: pure? then add it to ALLOWED with a thought"


@pytest.mark.parametrize("path", CORE, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_core_file_calls_no_impure_builtin(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            allowed = {"exec"} if path.name == COMPILES else set()
            assert node.func.id not in IMPURE_BUILTINS - allowed, f"{path.name}:{node.lineno} calls {node.func.id}()"
        assert not isinstance(node, (ast.Yield, ast.YieldFrom, ast.Await, ast.AsyncFunctionDef)), (
            f"{path.name}:{node.lineno}: machines are plain objects, no generators, no coroutines"
        )


def test_the_syntax_tree_test_sees_what_it_should() -> None:
    seen = imports_of(ast.parse("import os.path as p\nfrom urllib import request, parse\nfrom . import x\nimport time"))
    assert seen == {"os.path", "urllib.request", "urllib.parse", "time"}


PROBE = """
import sys
before = set(sys.modules)
sys.path[:0] = {path!r}
sys.modules["msgspec"] = None  # the optional accelerator is no part of the core: what it loads is its own business
for module in {modules!r}:
    __import__(module)
print("\\n".join(sorted(set(sys.modules) - before)))
"""


def test_importing_the_core_in_a_bare_interpreter_loads_nothing_that_waits() -> None:
    modules = [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in CORE]
    # h11 comes with the first request only; what it loads counts all the same.
    probe = PROBE.format(path=[str(ROOT), str(Path(h11.__file__).parents[1])], modules=[*modules, "h11"])
    # -I -S: no site, no environment, no user packages.
    done = subprocess.run([sys.executable, "-I", "-S", "-c", probe], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert loaded >= {*modules, "h11"}
    # The interpreter itself always has os and time: the syntax tree test covers those two.
    assert not loaded & (FORBIDDEN - {"os", "time"})


@pytest.mark.skipif(not conftest.WATCHING, reason="no audit hook under coverage, see tests/conftest.py")
def test_the_audit_hook_sees_io_by_the_core(tmp_path: Path) -> None:
    target = tmp_path / "x"
    code = compile(f"open({str(target)!r}, 'w').close()", str(ROOT / "sans_io" / "planted.py"), "exec")
    exec(code, {})
    try:
        assert len(conftest._impure_acts) == 1
        assert "planted.py:1" in conftest._impure_acts[0]
    finally:
        conftest._impure_acts.clear()
    target.write_text("")  # by a test, not by the core: none of the hook's business
    assert not conftest._impure_acts
