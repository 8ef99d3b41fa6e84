"""Public path of the dialects, which live in `sans_io.providers.registry`."""

from .registry import DIALECTS, Dialect, dialect_for

__all__ = ["DIALECTS", "Dialect", "dialect_for"]
