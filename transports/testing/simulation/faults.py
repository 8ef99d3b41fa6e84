"""What can go wrong, as a catalogue: name -> (phase, weight, who plays it).

Rules of this file:
- A fault of the dial is drawn when somebody dials, a fault of the server when a whole request has come, a fault of an
  idle connection when its reply was sent, a fault of the caller when its call begins.
- Rare branches are forced: every fault of a phase is about as likely as every other.
- A weight of 0: the network draws it by itself, while the request is on its way.
- `spoils` says that the connection must not serve again, whatever the client thinks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Phase: TypeAlias = Literal["dial", "write", "head", "status", "body", "stream", "idle", "caller"]


@dataclass(frozen=True, slots=True)
class FaultSpec:
    """One row of the catalogue."""

    name: str
    phase: Phase
    weight: int = 10
    spoils: bool = True


CATALOGUE: Final[tuple[FaultSpec, ...]] = (
    # Before there is a connection.
    FaultSpec("dns_temporary", "dial"),
    FaultSpec("dns_failed", "dial", 3),
    FaultSpec("dns_slow", "dial"),
    FaultSpec("refused", "dial"),
    FaultSpec("unreachable", "dial", 5),
    FaultSpec("dial_silence", "dial"),
    FaultSpec("dial_reset", "dial"),
    FaultSpec("tls_failed", "dial", 5),
    FaultSpec("tls_verify", "dial", 3),
    FaultSpec("too_many_files", "dial", 3),
    FaultSpec("speaks_first", "dial", 5),
    # While the request is written, or right after.
    FaultSpec("write_reset", "write", 0),
    FaultSpec("write_stall", "write", 0),
    FaultSpec("write_cut", "write", 0),
    FaultSpec("early_reply", "write", 6),
    FaultSpec("keepalive_race", "write", 12),
    FaultSpec("no_reply_fin", "write"),
    FaultSpec("no_reply_reset", "write"),
    FaultSpec("no_reply_silence", "write", 5),
    # The head.
    FaultSpec("informational", "head", 6, spoils=False),
    FaultSpec("endless_informational", "head", 5),
    FaultSpec("garbled_head", "head", 6),
    FaultSpec("oversize_head", "head", 4),
    FaultSpec("head_cut", "head", 6),
    FaultSpec("head_reset", "head", 6),
    FaultSpec("connection_close", "head", 6),
    FaultSpec("http_1_0", "head", 4),
    FaultSpec("wrong_type", "head", 6, spoils=False),
    FaultSpec("coded_reply", "head", 4),
    FaultSpec("redirect", "head", 4, spoils=False),
    # Errors of the provider.
    FaultSpec("throttled_seconds", "status", 10, spoils=False),
    FaultSpec("throttled_ms", "status", 8, spoils=False),
    FaultSpec("throttled_date", "status", 8, spoils=False),
    FaultSpec("throttled_long", "status", 5, spoils=False),
    FaultSpec("throttled_bare", "status", 6, spoils=False),
    FaultSpec("throttled_nonsense", "status", 6, spoils=False),
    FaultSpec("quota", "status", 4, spoils=False),
    FaultSpec("server_error", "status", 10, spoils=False),
    FaultSpec("overloaded", "status", 8, spoils=False),
    FaultSpec("gateway_html", "status", 6, spoils=False),
    FaultSpec("bad_request", "status", 4, spoils=False),
    FaultSpec("unauthorized", "status", 4, spoils=False),
    FaultSpec("lying_limits", "status", 6, spoils=False),
    FaultSpec("should_retry", "status", 5, spoils=False),
    FaultSpec("gateway_timeout", "status", 5, spoils=False),
    FaultSpec("coded_refusal", "status", 5),
    FaultSpec("stalled_refusal", "status", 5),
    FaultSpec("cut_refusal", "status", 5),
    # A body before anything was handed over.
    FaultSpec("silent_after_head", "body", 5),
    FaultSpec("error_first", "body", 8, spoils=False),
    FaultSpec("json_error_200", "body", 6, spoils=False),
    FaultSpec("empty_body", "body", 5, spoils=False),
    FaultSpec("cut_before_content", "body", 8),
    FaultSpec("length_too_long", "body", 8),
    FaultSpec("length_too_short", "body", 8),
    FaultSpec("both_framings", "body", 4),
    FaultSpec("keepalives_only", "body", 5),
    # After the first event.
    FaultSpec("cut_after_content", "stream", 10),
    FaultSpec("reset_after_content", "stream", 10),
    FaultSpec("silence_after_content", "stream", 6),
    FaultSpec("keepalives_after_content", "stream", 5),
    FaultSpec("error_after_content", "stream", 8, spoils=False),
    FaultSpec("no_terminal", "stream", 8, spoils=False),
    FaultSpec("finish_then_eof", "stream", 8),
    FaultSpec("finish_then_silence", "stream", 6),
    FaultSpec("no_last_chunk", "stream", 6),
    FaultSpec("bit_flip", "stream", 8, spoils=False),
    FaultSpec("broken_chunk", "stream", 6),
    FaultSpec("cut_utf8", "stream", 6),
    FaultSpec("close_framed", "stream", 6),
    FaultSpec("drip", "stream", 6, spoils=False),
    # Around a reply that is right in itself.
    FaultSpec("surplus_same_read", "idle", 8),
    FaultSpec("surplus_later", "idle", 10),
    FaultSpec("unsolicited_reply", "idle", 10),
    FaultSpec("idle_fin", "idle", 10),
    FaultSpec("idle_reset", "idle", 8),
    # The caller.
    FaultSpec("cancel", "caller", 30),
    FaultSpec("slow_consumer", "caller", 8, spoils=False),
    FaultSpec("clock_jump", "caller", 5, spoils=False),
)

BY_NAME: Final = {spec.name: spec for spec in CATALOGUE}
DIAL: Final = tuple(spec for spec in CATALOGUE if spec.phase == "dial")
SERVER: Final = tuple(spec for spec in CATALOGUE if spec.phase in ("write", "head", "status", "body", "stream"))
IDLE: Final = tuple(spec for spec in CATALOGUE if spec.phase == "idle")
CALLER: Final = tuple(spec for spec in CATALOGUE if spec.phase == "caller")


class Draw:
    """Weighted choice from a row of the catalogue, without building lists each time."""

    __slots__ = ("_names", "_total")

    def __init__(self, specs: tuple[FaultSpec, ...]) -> None:
        self._names = [spec.name for spec in specs for _ in range(spec.weight)]
        self._total = len(self._names)

    def __call__(self, roll: float) -> str:
        return self._names[int(roll * self._total)]


draw_dial: Final = Draw(DIAL)
draw_server: Final = Draw(SERVER)
draw_idle: Final = Draw(IDLE)
draw_caller: Final = Draw(CALLER)
