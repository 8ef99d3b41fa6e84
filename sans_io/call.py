"""Public path of the logical call, which lives in `sans_io.calls.call`."""

from .calls.call import Call

__all__ = ["Call"]
