"""Who may import whom, what loads when, and what the package promises to packaging tools."""

from __future__ import annotations

import ast
import importlib
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.house.test_purity import imports_of

ROOT = Path(__file__).parents[2]
PACKAGES = ("sans_io", "transports", "cloud", "ai")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SHIPPED = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
LINT_IMPORTS = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]

#: Who may import an I/O library: its transport and that transport's connection, so that replacing it stays a small change.
DOORS = {
    # For its types; `transports/httpcore_backend.py` loads it by name.
    "httpcore": {"transports/blocking_connection.py"},
    # An event that works on both loops, for the single flight of model downloads.
    "anyio": {"transports/anyio_async.py", "transports/asyncio_connection.py", "cloud/llm/single_flight.py"},
    # The demo runs a loop, as a user does.
    "trio": {"transports/trio_async.py", "transports/trio_connection.py", "cloud/llm/demo.py"},
}


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    command = [*LINT_IMPORTS, "--no-cache", "--config", "pyproject.toml"]
    env = os.environ | {"PYTHONPATH": str(root)}
    return subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, check=False)


def test_the_import_contracts_hold() -> None:
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("sans_io/http/urls.py", "import socket"),
        ("sans_io/decode/sse.py", "import cloud"),
        ("transports/tls.py", "import cloud"),
        ("transports/httpcore_sync.py", "import transports.trio_async"),
        ("transports/pump.py", "import sans_io.providers.openai_chat.codec"),
        ("sans_io/http/http11.py", "import sans_io.calls.call"),
    ],
)
def test_the_import_contracts_bite(file: str, line: str, tmp_path: Path) -> None:
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with (tmp_path / file).open("a", encoding="utf-8") as target:
        target.write(f"\n\ndef planted() -> None:\n    {line}\n")
    done = lint_imports(tmp_path)
    assert done.returncode == 1, done.stdout[-2000:] + done.stderr[-2000:]
    assert "BROKEN" in done.stdout


@pytest.mark.parametrize("library", DOORS)
def test_an_io_library_has_one_door(library: str) -> None:
    users = {
        path.relative_to(ROOT).as_posix()
        for path in SHIPPED
        if any(name.partition(".")[0] == library for name in imports_of(ast.parse(path.read_text(encoding="utf-8"))))
    }
    users = {name for name in users if not name.startswith("transports/testing/")}
    assert users <= DOORS[library]


def test_importing_and_building_a_sync_client_loads_no_io_library() -> None:
    probe = (
        "import sys\n"
        "from cloud.llm import OpenAICompatClient\n"
        "client = OpenAICompatClient(api_key='sk-test', base_url='https://api.example.com/v1', model='m')\n"
        "client.build_request([{'role': 'user', 'content': 'hi'}])\n"
        "print(*sorted({'httpcore', 'ssl', 'anyio', 'trio', 'asyncio', 'rich', 'typer', 'xllamacpp'} & set(sys.modules)))\n"
    )
    env = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI", "PYTHON", "COVERAGE"))}
    done = subprocess.run(
        [sys.executable, "-P", "-W", "error", "-c", probe],
        env=env | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_every_package_is_typed() -> None:
    for package in ("sans_io", "transports", "cloud", "ai/ai_agents/providers"):
        assert (ROOT / package / "py.typed").is_file(), f"{package} has no py.typed"


def test_ai_is_a_namespace_beside_a_users_own() -> None:
    assert not (ROOT / "ai" / "__init__.py").exists()
    assert not (ROOT / "ai" / "ai_agents" / "__init__.py").exists()


def test_the_console_script_can_be_called() -> None:
    module, _, name = PROJECT["project"]["scripts"]["cloud-llm"].partition(":")
    assert callable(getattr(importlib.import_module(module), name))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_loose_ends_ship(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for loose in ("TODO", "FIXME", "raise NotImplementedError", "pragma: no cover", "pytest"):
        if loose != "pytest" or "transports/testing/" not in path.as_posix():
            assert loose not in text, f"{path.name} contains {loose}"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ExceptHandler):
            broad = node.type is None or (isinstance(node.type, ast.Name) and node.type.id.endswith("Exception"))
            silent = all(isinstance(line, ast.Pass) for line in node.body)
            assert not (broad and silent), f"{path.name}:{node.lineno} swallows everything"


def test_type_checking_is_left_out_ten_times_at_most_and_each_says_of_what() -> None:
    lines = [
        line for path in SHIPPED for line in path.read_text(encoding="utf-8").splitlines() if "type: ignore" in line
    ]
    assert len(lines) <= 10, "\n".join(lines)
    assert [line for line in lines if "type: ignore[" not in line] == []


def test_a_key_is_revealed_in_one_file_only() -> None:
    users = {
        path.relative_to(ROOT).as_posix()
        for path in SHIPPED
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr == "reveal"
    }
    assert users <= {"sans_io/http/http11.py"}


# -- public paths -------------------------------------------------------------------------------------------------------

#: Where the public names live, by the path that users import them from (api.md of the design names these paths).
PUBLIC = {
    "sans_io.sse": ("sans_io.decode.sse", {"SSEDecoder", "ServerSentEvent"}),
    "sans_io.ndjson": ("sans_io.decode.ndjson", {"NDJSONDecoder"}),
    "sans_io.http11": ("sans_io.http.http11", {"HTTPExchange", "HTTPRequest", "RequestHead"}),
    "sans_io.call": ("sans_io.calls.call", {"Call"}),
    "sans_io.replay": ("sans_io.calls.replay", {"decode"}),
    "sans_io.policy.limits": ("sans_io.limits", {"DEFAULT_LIMITS", "Limits"}),
    "sans_io.events": ("sans_io.chat.events", {"Event", "TextDelta", "Finished", "UsageReported"}),
    "sans_io.providers.openai": ("sans_io.providers.openai_chat.codec", {"OpenAICodec"}),
    "sans_io.providers.anthropic": ("sans_io.providers.anthropic.codec", {"AnthropicCodec"}),
    "sans_io.providers.ollama": ("sans_io.providers.ollama.codec", {"OllamaCodec"}),
}


@pytest.mark.parametrize("path", PUBLIC)
def test_a_public_path_leads_to_where_its_names_live(path: str) -> None:
    home, names = PUBLIC[path]
    public, living = importlib.import_module(path), importlib.import_module(home)
    assert names <= set(public.__all__)
    for name in public.__all__:
        assert getattr(public, name) is getattr(living, name)


def test_the_core_hands_out_its_public_names() -> None:
    import sans_io

    for name in sans_io.__all__:
        assert getattr(sans_io, name).__name__ == name
        assert name in dir(sans_io)
    with pytest.raises(AttributeError, match="no attribute 'Codec'"):
        sans_io.Codec  # noqa: B018


def test_asking_for_a_public_name_loads_nothing_else() -> None:
    code = "import sys, sans_io; assert not [m for m in sys.modules if m.startswith('sans_io.')]; sans_io.SSEDecoder; "
    code += "print(*sorted(m for m in sys.modules if m.startswith('sans_io.')))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "sans_io.decode.sse" in done.stdout
    assert not {"sans_io.calls", "sans_io.providers", "sans_io.chat"} & set(done.stdout.split())


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_project_itself_uses_the_rooms_and_not_the_public_paths(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    package = ".".join(path.relative_to(ROOT).parent.parts)
    named = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            up = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*up, *([node.module] if node.module else [])])
            named |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    assert not named & {path for path, (home, _) in PUBLIC.items() if not home.startswith(path + ".")}
