"""The tests of the pure core, as far as they need no thread, process, socket or event loop, inside Pyodide."""

from __future__ import annotations

import pytest

CORE = (
    "tests/calls", "tests/decode", "tests/providers", "tests/http", "tests/chat", "tests/policy",
    "tests/providers", "tests/chat", "tests/http",
)  # fmt: skip
#: Held against the memory that objects take on 64 bits.
LEFT_OUT = ("--ignore", "tests/decode/test_json_size.py")


def main(arguments: list[str]) -> int:
    # No timer: it would need a signal or a thread.
    common = ["-q", "-p", "no:cacheprovider", "--timeout", "0", "-m", "not serial", *LEFT_OUT]
    return int(pytest.main([*common, *(arguments or CORE)]))
