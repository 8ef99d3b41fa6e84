"""Bytes to values: event streams, NDJSON, JSON with its guards."""
