"""Importing the library, and building clients, touches nothing: no socket, thread, file, or environment variable.

Each part runs in an interpreter of its own under an audit hook (PEP 578). The environment is watched by putting a
recording mapping in its place: reading it at construction is allowed, for the names that are documented.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

WATCH = """
import json, os, sys, threading
import importlib.util
acts, reads = [], []
watching = False

def hook(event, args):
    if not watching:
        return
    if event == "open":
        path, mode = str(args[0]), args[1]
        # A module, its cache, or the directory listing of a package.
        code = path.endswith((".py", ".pyc", ".so", ".pyd", ".dll")) or "__pycache__" in path
        if not (code and (mode is None or set(mode) <= set("rb"))):
            acts.append(f"open {path} {mode}")
    elif event.startswith(("socket.", "subprocess.", "os.system", "os.exec", "os.fork", "os.posix_spawn", "_thread.start",
                           "shutil.", "tempfile.", "urllib.", "ftplib.", "smtplib.", "sqlite3.", "os.putenv", "os.unsetenv",
                           "signal.", "webbrowser.", "time.sleep", "pty.", "http.client")):
        acts.append(f"{event} {args!r}"[:200])

class Watched(dict):
    # os.environ as a mapping that remembers who asked for what.
    def _saw(self, key):
        if watching:
            frame, names = sys._getframe(2), []
            while frame is not None:
                names.append(frame.f_code.co_filename)
                frame = frame.f_back
            reads.append([str(key), any(os.sep + room + os.sep in name for name in names for room in ("cloud", "transports", "sans_io"))])
    def __getitem__(self, key): self._saw(key); return super().__getitem__(key)
    def get(self, key, default=None): self._saw(key); return super().get(key, default)
    def __contains__(self, key): self._saw(key); return super().__contains__(key)
    def __iter__(self): self._saw("*"); return super().__iter__()
    def keys(self): self._saw("*"); return super().keys()
    def items(self): self._saw("*"); return super().items()
    def copy(self): self._saw("*"); return dict(self)

def counted(start):
    def started(*args, **options):  # there is no audit event for it before Python 3.12
        if watching:
            acts.append("a thread was started")
        return start(*args, **options)
    return started

for module, name in ((threading, "_start_new_thread"), (threading, "_start_joinable_thread")):
    if hasattr(module, name):
        setattr(module, name, counted(getattr(module, name)))
os.environ = Watched(os.environ)
os.getenv = os.environ.get
sys.addaudithook(hook)
"""

REPORT = """
watching = False
print(json.dumps({"acts": acts, "reads": reads, "threads": threading.active_count(), "modules": sorted(sys.modules)}))
"""


def observed(code: str, before: str = "") -> dict:
    program = f"{WATCH}\n{before}\nwatching = True\n{code}\n{REPORT}"
    # Who measures coverage imports and reads much at the start of every process, and would be seen.
    alone = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, timeout=60, env=alone
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def names(report: dict) -> set[str]:
    return {name for name, ours in report["reads"] if ours}


MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for room in ("sans_io", "transports", "cloud", "ai")
    for path in (ROOT / room).rglob("*.py")
    if path.name != "__main__.py" and "testing" not in path.parts
)


def test_importing_the_package_touches_nothing() -> None:
    report = observed("import cloud.llm")
    assert report["acts"] == []
    assert names(report) == set()
    assert report["threads"] == 1
    heavy = {"ssl", "socket", "asyncio", "trio", "httpcore", "h11", "certifi", "logging", "msgspec"} & set(
        report["modules"]
    )
    assert not heavy, "imported before anybody asked for it"


def test_importing_every_module_touches_nothing() -> None:
    """Also what is imported late in use: every module of ours, and with them all that they import."""
    optional = {"cloud.llm.cli", "cloud.llm.demo"}
    lines = "\n".join(f"import {name}" for name in MODULES if name not in optional)
    # What the libraries below read of their own accord is theirs: only what one of our files asks for counts.
    outside = "import asyncio, ssl, socket, logging, h11, httpcore, anyio, trio, certifi, importlib.resources\n"
    report = observed(lines, outside + "try:\n    import msgspec\nexcept ImportError:\n    pass")
    assert report["acts"] == []
    assert names(report) == set()
    assert report["threads"] == 1


DOCUMENTED = {
    "OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN",
    "ANTHROPIC_BASE_URL", "OLLAMA_HOST", "OLLAMA_API_KEY", "AZURE_OPENAI_API_KEY", "AZURE_OPENAI_AD_TOKEN",
    "AZURE_OPENAI_ENDPOINT", "OPENAI_API_VERSION", "GROQ_API_KEY",
    *(name.upper() for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy")),
    "http_proxy", "https_proxy", "all_proxy", "no_proxy", "REQUEST_METHOD",
}  # fmt: skip

BUILD = """
OpenAICompatClient("k", "m", base_url="https://h.example/v1")
AsyncOpenAICompatClient("k")
OpenAICompatClient("k", "m", dialect="groq")
OpenAICompatClient("k", "m", base_url="https://h.example/", dialect="azure", api_version="2026-10-01")
AnthropicClient("k")
AsyncAnthropicClient("k", "m", base_url="https://h.example", ca_file="/nowhere/ca.pem")
OllamaClient()
AsyncOllamaClient(model="m", host="http://h.example:11434")
OpenAICompatClient("k", "m", base_url="https://h.example/v1", timeout=3.0, headers={"X-A": "b"})
OpenAICompatClient("k", "m", base_url="https://h.example/v1", proxy="http://proxy.example:3128")
"""
NAMES = "OpenAICompatClient, AsyncOpenAICompatClient, AnthropicClient, AsyncAnthropicClient, OllamaClient, AsyncOllamaClient"


def test_building_clients_opens_nothing_and_reads_what_is_documented() -> None:
    report = observed(BUILD, f"from cloud.llm import {NAMES}")
    assert report["acts"] == []
    assert report["threads"] == 1
    assert names(report) <= DOCUMENTED
    assert "OPENAI_ORG_ID" in names(report), "the watch is blind: a variable that is read at construction was not seen"


def test_building_a_request_touches_nothing_but_modules() -> None:
    """They are imported in a thread, which has ended."""
    build = 'OpenAICompatClient("k", "m", base_url="https://h.example/v1").build_request([{"role": "user", "content": "x"}])'
    report = observed(build, f"from cloud.llm import {NAMES}")
    assert [act for act in report["acts"] if not act.startswith("_thread.start")] == []
    assert report["threads"] == 1
    assert names(report) <= DOCUMENTED


def test_a_variable_set_after_the_import_counts() -> None:
    code = """
watching = False
os.environ["OPENAI_API_KEY"] = "sk-late"
client = OpenAICompatClient(model="m", base_url="https://h.example/v1")
assert client.build_request([{"role": "user", "content": "x"}]).wire().tobytes().count(b"Bearer sk-late") == 1
"""
    observed(code, "from cloud.llm import OpenAICompatClient")


@pytest.mark.parametrize(
    "act", ["open('/etc/hostname')", "__import__('socket').socket()", "threading.Thread(target=int).start()"]
)
def test_the_watch_sees_what_it_is_for(act: str) -> None:
    assert observed(act)["acts"]
