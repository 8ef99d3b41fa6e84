"""The public test kit: servers of the three wires, transports on virtual time, and checks for any transport."""

from __future__ import annotations

from .cassettes.cassette import Cassette
from .cassettes.entries import CassetteError
from .cassettes.recording import AsyncRecordingTransport, RecordingTransport
from .cassettes.replaying import AsyncReplayTransport, ReplayTransport
from .clock import FakeClock
from .conformance.checks import check_transport
from .servers.connection import Piece
from .servers.in_memory import FakeLLMServer
from .servers.loopback import LoopbackServer
from .servers.script import Ask, ReceivedRequest, ScriptedError, ScriptedReply, ToolUse
from .servers.scripted import AsyncScriptedTransport, ScriptedTransport

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
