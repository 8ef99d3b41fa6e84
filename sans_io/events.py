"""Public path of the events of a stream, which live in `sans_io.chat.events`."""

from .chat.events import (
    Event,
    Finished,
    PullProgress,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    ToolCallCompleted,
    ToolCallDelta,
    ToolCallStarted,
    UsageReported,
)

__all__ = [
    "Event",
    "Finished",
    "PullProgress",
    "ReasoningDelta",
    "RefusalDelta",
    "TextDelta",
    "ToolCallCompleted",
    "ToolCallDelta",
    "ToolCallStarted",
    "UsageReported",
]
