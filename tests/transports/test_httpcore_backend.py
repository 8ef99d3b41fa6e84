"""httpcore's backend is loaded alone, and httpcore itself is none the wiser."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpcore
import pytest

from sans_io.errors import LLMConnectionError
from transports import httpcore_backend

ROOT = Path(__file__).parents[2]


def run(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_first_blocking_call_imports_neither_httpcore_whole_nor_another_loop() -> None:
    out = run(
        "import sys\n"
        "from cloud.llm import OpenAICompatClient\n"
        "from transports.testing import FakeLLMServer, LoopbackServer, ScriptedReply\n"
        "known = set(sys.modules)\n"
        "server = FakeLLMServer('openai', reply=lambda ask: ScriptedReply(text='fine'))\n"
        "with LoopbackServer(server) as loopback:\n"
        "    client = OpenAICompatClient(base_url=loopback.base_url('openai'), api_key='k', model='m')\n"
        "    print(client.chat([{'role': 'user', 'content': 'hi'}]).content)\n"
        "new = set(sys.modules) - known\n"
        "print(sorted(new & {'httpcore', 'httpcore._sync', 'trio', 'anyio', 'asyncio', 'msgspec'}))\n"
    )
    assert out == "fine\n[]\n"


def test_httpcore_itself_is_untouched() -> None:
    out = run(
        "from transports.httpcore_backend import backend\n"
        "ours = backend()\n"
        "import httpcore\n"
        "from httpcore._backends.sync import SyncBackend\n"
        "print(httpcore.SyncBackend is SyncBackend, ours.SyncBackend is SyncBackend, backend() is ours)\n"
    )
    assert out == "True False True\n"


def test_it_has_what_the_transport_uses() -> None:
    ours = httpcore_backend.backend()
    for name in ("SyncBackend", "ConnectError", "ConnectTimeout"):
        assert getattr(ours, name).__name__ == getattr(httpcore, name).__name__
    assert issubclass(ours.ConnectTimeout, Exception)


def test_a_release_that_is_built_in_another_way_is_imported_whole(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "httpcore").mkdir()
    (tmp_path / "httpcore" / "__init__.py").write_text("class SyncBackend: ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [name for name in sys.modules if name.split(".")[0] == "httpcore" or "httpcore_parts" in name]:
        monkeypatch.delitem(sys.modules, name)
    found = httpcore_backend.backend.__wrapped__()
    assert found.__name__ == "httpcore"
    assert found.__file__ == str(tmp_path / "httpcore" / "__init__.py")
    assert not [name for name in sys.modules if "httpcore_parts" in name]
    monkeypatch.delitem(sys.modules, "httpcore")


def test_without_httpcore_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(httpcore_backend, "find_spec", lambda _: None)
    monkeypatch.setitem(sys.modules, "httpcore", None)
    with pytest.raises(LLMConnectionError, match="httpcore could not be loaded") as caught:
        httpcore_backend.backend.__wrapped__()
    assert caught.value.code == "import_failed"
    assert isinstance(caught.value.__cause__, ImportError)
