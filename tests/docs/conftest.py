"""Every server of the user document in one, in memory: its default addresses are used as they are, https included."""

from __future__ import annotations

from typing import Any

import pytest

from cloud.llm import registry
from transports.testing import AsyncScriptedTransport, FakeLLMServer, ScriptedTransport


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> FakeLLMServer:
    """The shared transports of all clients lead to this server."""
    for name in ("OPENAI_BASE_URL", "ANTHROPIC_BASE_URL", "OLLAMA_HOST", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.delenv(name, raising=False)
    fake = FakeLLMServer()
    awaited = AsyncScriptedTransport(fake)
    monkeypatch.setitem(registry._shared.transports, "sync", ScriptedTransport(fake))
    monkeypatch.setitem(registry._shared.transports, "asyncio", awaited)
    monkeypatch.setitem(registry._shared.transports, "trio", awaited)
    return fake


@pytest.fixture
def names() -> dict[str, Any]:
    """What the document's blocks take for granted."""
    return {"messages": [{"role": "user", "content": "Hello!"}]}
