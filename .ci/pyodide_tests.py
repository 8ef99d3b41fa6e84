"""The tests of the pure core, as far as they need no thread, process, socket or event loop, inside Pyodide."""

from __future__ import annotations

import pytest

CORE = (
    "tests/call", "tests/decoders", "tests/failures", "tests/http11", "tests/messages", "tests/policy",
    "tests/recordings", "tests/tool_calls", "tests/urls",
)  # fmt: skip
#: Held against the memory that objects take on 64 bits.
LEFT_OUT = ("--ignore", "tests/decoders/test_jsonsize.py")


def main(arguments: list[str]) -> int:
    # No timer: it would need a signal or a thread.
    common = ["-q", "-p", "no:cacheprovider", "--timeout", "0", "-m", "not serial", *LEFT_OUT]
    return int(pytest.main([*common, *(arguments or CORE)]))
