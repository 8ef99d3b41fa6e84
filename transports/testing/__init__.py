"""The public test kit: servers of the three wires without a network, and on a real socket of this machine."""

from __future__ import annotations

from .loopback import LoopbackServer
from .script import Ask, ReceivedRequest, ScriptedError, ScriptedReply, ToolUse
from .servers import FakeLLMServer

__all__ = [
    "Ask",
    "FakeLLMServer",
    "LoopbackServer",
    "ReceivedRequest",
    "ScriptedError",
    "ScriptedReply",
    "ToolUse",
]
