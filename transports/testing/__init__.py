"""The public test kit: servers of the three wires, transports on virtual time, and the table every transport passes."""

from __future__ import annotations

from .clock import FakeClock
from .conformance import check_transport
from .connection import Piece
from .loopback import LoopbackServer
from .script import Ask, ReceivedRequest, ScriptedError, ScriptedReply, ToolUse
from .scripted import AsyncScriptedTransport, ScriptedTransport
from .servers import FakeLLMServer

__all__ = [
    "Ask",
    "AsyncScriptedTransport",
    "FakeClock",
    "FakeLLMServer",
    "LoopbackServer",
    "Piece",
    "ReceivedRequest",
    "ScriptedError",
    "ScriptedReply",
    "ScriptedTransport",
    "ToolUse",
    "check_transport",
]
