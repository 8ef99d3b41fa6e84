"""The recorded exchanges, for the tests that ask laws of them."""

from __future__ import annotations

import json
from base64 import b64decode
from functools import cache
from pathlib import Path
from typing import NamedTuple

from sans_io.providers.rules import VENDORS

_FOLDER = Path(__file__).parents[4] / "shared" / "recordings"
MISSING = not (_FOLDER / "exchanges.jsonl").exists()


class Exchange(NamedTuple):
    """One recorded request and its reply. `vendor` is None where no rules of the server are known."""

    id: str
    wire: str
    vendor: str | None
    streamed: bool
    request: dict | None
    status: int
    reply: bytes


@cache
def exchanges() -> list[Exchange]:
    found = []
    with (_FOLDER / "exchanges.jsonl").open(encoding="utf-8") as lines:
        for line in lines:
            said = json.loads(line)
            wire, vendor = said["family"], said["provider"]
            # Ollama's rules are those of its own API.
            known = vendor in VENDORS and (wire == vendor if wire != "openai" else vendor != "ollama")
            request, response = said.get("request") or {}, said["response"]
            body = request.get("body")
            found.append(
                Exchange(
                    said["id"],
                    wire,
                    vendor if known else None,
                    said["stream"],
                    body if isinstance(body, dict) and "messages" in body else None,
                    response["status"],
                    b64decode(response["body_b64"]),
                )
            )
    return found
