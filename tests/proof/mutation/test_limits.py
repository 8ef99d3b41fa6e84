"""Every cap as it is documented: a changed cell fails under its name. Whoever changes one changes it here too."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from sans_io.limits import DEFAULT_LIMITS

KIB, MIB = 1024, 1024 * 1024
EXPECTED = {
    "max_head": 64 * KIB,
    "max_headers": 128,
    "max_informational": 8,
    "max_chunk_line": 4 * KIB,
    "max_json": 16 * MIB,
    "max_error_body": 1 * MIB,
    "max_sse_line": 16 * MIB + 1024,
    "max_sse_event": 16 * MIB,
    "max_stream": 256 * MIB,
    "max_ndjson_line": 16 * MIB,
    "max_json_depth": 128,
    "max_json_containers": 500_000,
    "max_json_digits": 4_300,
    "max_tool_index": 255,
    "max_tool_arguments": 16 * MIB,
    "max_tunnel_head": 16 * KIB,
}


@pytest.mark.parametrize("name", EXPECTED)
def test_a_cap(name: str) -> None:
    assert getattr(DEFAULT_LIMITS, name) == EXPECTED[name]


def test_no_cap_is_missing_here() -> None:
    assert asdict(DEFAULT_LIMITS) == EXPECTED
