"""Public path of the SSE decoder, which lives in `sans_io.decode.sse`."""

from .decode.sse import ServerSentEvent, SSEDecoder

__all__ = ["SSEDecoder", "ServerSentEvent"]
