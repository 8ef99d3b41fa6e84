"""What the official SDKs talk to when they judge the same bytes as we do: a transport that answers what it is told."""

from __future__ import annotations

from typing import Any

import pytest

httpx = pytest.importorskip("httpx2")

SSE = {"content-type": "text/event-stream"}
JSON = {"content-type": "application/json"}
_answer: dict[str, Any] = {}


def answer(body: bytes, *, stream: bool) -> None:
    """What every request is answered with from now on."""
    _answer.update(headers=SSE if stream else JSON, content=body)


def http_client() -> Any:
    return httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(200, **_answer)))
