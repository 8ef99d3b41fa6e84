"""httpcore's blocking network backend without the rest of httpcore.

`import httpcore` also loads its HTTP layer, anyio and, where it is installed, trio: 60 ms of CPU before a first call,
130 with trio, of which two functions are used. The backend itself needs four small modules. They are loaded under a
name of our own, so nothing changes for whoever imports httpcore, before or after.
"""

from __future__ import annotations

import importlib
import sys
from functools import cache
from importlib.util import find_spec
from types import ModuleType
from typing import Any, Final

from .loading import do, out_of_descriptors

_OURS: Final = "transports.httpcore_parts"


@cache
def backend() -> Any:
    """A module with `SyncBackend`, `ConnectError` and `ConnectTimeout`. Raises `LLMConnectionError`."""
    found: list[ModuleType] = []
    do("httpcore", lambda: found.append(_load()))
    return found[0]


def _load() -> ModuleType:
    found = find_spec("httpcore")
    if found is not None and found.submodule_search_locations is not None:
        package = ModuleType(_OURS)
        package.__path__ = list(found.submodule_search_locations)
        sys.modules.setdefault(_OURS, package)  # another thread may be loading them too
        try:
            return importlib.import_module(f"{_OURS}._backends.sync")
        except ImportError as error:
            if out_of_descriptors(error):
                raise
            sys.modules.pop(_OURS, None)  # a release that is built in another way: then all of it
    return importlib.import_module("httpcore")
