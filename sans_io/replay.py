"""Public path of `decode()` for recorded replies, which lives in `sans_io.calls.replay`."""

from .calls.replay import decode

__all__ = ["decode"]
