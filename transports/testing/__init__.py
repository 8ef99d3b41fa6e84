"""The public test kit: servers of the three wires, transports on virtual time, and the table every transport passes."""

from __future__ import annotations

from .cassettes import Cassette, CassetteError
from .clock import FakeClock
from .conformance import check_transport
from .connection import Piece
from .loopback import LoopbackServer
from .recording import AsyncRecordingTransport, RecordingTransport
from .replaying import AsyncReplayTransport, ReplayTransport
from .script import Ask, ReceivedRequest, ScriptedError, ScriptedReply, ToolUse
from .scripted import AsyncScriptedTransport, ScriptedTransport
from .servers import FakeLLMServer

__all__ = [
    "Ask",
    "AsyncRecordingTransport",
    "AsyncReplayTransport",
    "AsyncScriptedTransport",
    "Cassette",
    "CassetteError",
    "FakeClock",
    "FakeLLMServer",
    "LoopbackServer",
    "Piece",
    "ReceivedRequest",
    "RecordingTransport",
    "ReplayTransport",
    "ScriptedError",
    "ScriptedReply",
    "ScriptedTransport",
    "ToolUse",
    "check_transport",
]
