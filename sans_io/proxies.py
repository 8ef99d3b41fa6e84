from __future__ import annotations
from dataclasses import dataclass
from .secret import Secret


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy. `authorization` is the whole value of Proxy-Authorization, or None."""

    host: str
    port: int
    authorization: Secret | None = None
