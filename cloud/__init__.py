"""Composition: what a user configures. The clients are in `cloud.llm`."""

from __future__ import annotations

import sys
from importlib.machinery import PathFinder
from os import sep
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .llm.registry import close_all_cloud_clients, close_all_cloud_clients_sync

__all__ = ["close_all_cloud_clients", "close_all_cloud_clients_sync"]


def _refuse_hidden_packages() -> None:
    """A user's own `transports.py` would be imported instead of our package, which fails with an obscure error.

    Raises `ImportError` naming the file. Nothing is imported here.
    """
    home = __file__.rpartition(sep)[0].rpartition(sep)[0]
    for name in ("sans_io", "transports"):
        known = sys.modules.get(name)
        spec = PathFinder.find_spec(name) if known is None else known.__spec__
        file = getattr(known, "__file__", None) or (spec.origin if spec is not None else None)
        if file is not None and file.rpartition(sep)[0] != f"{home}{sep}{name}":
            raise ImportError(
                f"{file} hides the package {name!r} that cloud.llm needs: rename it, or take it off sys.path",
                name=name,
                path=file,
            )


_refuse_hidden_packages()


def __getattr__(name: str) -> object:
    if name in __all__:
        from .llm import registry

        return getattr(registry, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
