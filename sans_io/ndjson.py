"""Public path of the NDJSON decoder, which lives in `sans_io.decode.ndjson`."""

from .decode.ndjson import NDJSONDecoder

__all__ = ["NDJSONDecoder"]
