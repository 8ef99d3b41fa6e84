"""Public path of `Limits`, which lives in `sans_io.limits`: whatever reads bytes knows it, policies among others."""

from ..limits import DEFAULT_LIMITS, Limits

__all__ = ["DEFAULT_LIMITS", "Limits"]
