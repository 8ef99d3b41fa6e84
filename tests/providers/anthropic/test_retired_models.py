"""A model that was switched off is named with its date, from the vendor's list of deprecations."""

from __future__ import annotations

import json

import pytest

from sans_io.chat.messages import chat_request
from tests.providers.anthropic.test_requests import CODEC, HELLO

RETIRED = {
    "claude-2.0": "2025-07-21",
    "claude-2.1": "2025-07-21",
    "claude-3-sonnet-20240229": "2025-07-21",
    "claude-3-opus-20240229": "2026-01-05",
    "claude-3-opus-latest": "2026-01-05",
    "claude-3-5-haiku-20241022": "2026-02-19",
    "claude-3-5-haiku-latest": "2026-02-19",
    "claude-3-7-sonnet-20250219": "2026-02-19",
    "claude-3-7-sonnet-latest": "2026-02-19",
    "claude-opus-4-0": "2026-06-15",
    "claude-opus-4-20250514": "2026-06-15",
    "claude-sonnet-4-0": "2026-06-15",
    "claude-sonnet-4-20250514": "2026-06-15",
    "claude-mythos-preview": "2026-06-30",
}


def said_of(model: str) -> str:
    body = json.dumps({"type": "error", "error": {"type": "not_found_error", "message": f"model: {model}"}}).encode()
    return CODEC.operation(chat_request(HELLO, model)).decode_error(404, (), body).message


@pytest.mark.parametrize("model", RETIRED)
def test_a_model_that_was_switched_off(model: str) -> None:
    assert RETIRED[model] in said_of(model)


def test_a_model_that_never_was() -> None:
    assert not any(date in said_of("claude-of-tomorrow") for date in RETIRED.values())
