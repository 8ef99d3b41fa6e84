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

_OURS: Final = "transports.httpcore_parts"


@cache
def backend() -> Any:
    """A module with `SyncBackend`, `ConnectError` and `ConnectTimeout`. Raises ImportError without httpcore."""
    found = find_spec("httpcore")
    if found is not None and found.submodule_search_locations is not None:
        package = ModuleType(_OURS)
        package.__path__ = list(found.submodule_search_locations)
        sys.modules[_OURS] = package
        try:
            return importlib.import_module(f"{_OURS}._backends.sync")
        except ImportError:
            del sys.modules[_OURS]  # a release that is built in another way: then all of it
    return importlib.import_module("httpcore")
