"""Composition: what a user configures. The clients are in `cloud.llm`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .llm.registry import close_all_cloud_clients, close_all_cloud_clients_sync

__all__ = ["close_all_cloud_clients", "close_all_cloud_clients_sync"]


def __getattr__(name: str) -> object:
    if name in __all__:
        from .llm import registry

        return getattr(registry, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
