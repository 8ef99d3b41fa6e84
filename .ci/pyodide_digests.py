"""What .ci/pyodide compares: the same replies and the same simulated worlds, on two interpreters, as digests.

Every line but the first must be the same on both. Texts of errors are left out: the standard library's words for bad
JSON differ between versions of Python.
"""

from __future__ import annotations

import hashlib
import importlib
import itertools
import json
import pkgutil
import platform
import random
import sys
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path

import sans_io
from sans_io.calls.replay import decode
from sans_io.chat.response import ChatResponse
from sans_io.decode.ndjson import NDJSONDecoder
from sans_io.decode.sse import SSEDecoder
from sans_io.decode.sse_json import DONE, SSEJSONDecoder
from sans_io.errors import LLMError
from transports.testing.simulation import search

HERE = Path(__file__).parents[1].resolve()
sys.path.append(str(HERE / "fuzz"))
from seeds import CORPUS, seeds  # noqa: E402

TARGETS = sorted(path.stem for path in CORPUS.glob("*.zip"))
WIRES = ("anthropic", "ollama", "openai")
SEEDS = (0, 300)


def main(_: object = None) -> int:
    assert Path(sans_io.__file__).resolve().parents[1] != HERE, "the library must be that of the wheel"
    print(f"CPython {platform.python_version()} on {sys.platform}")
    print(f"modules of the core imported: {len(modules())}")
    inputs = [data[2:] for target in TARGETS for data in seeds(target).values()]
    say("decoders", [outcome for data in inputs for outcome in decoded(data)])
    say("replies of the corpus", [outcome for exchange in corpus() for outcome in replied(*exchange)])
    say("recorded replies", [outcome for exchange in recordings() for outcome in replied(*exchange)])
    found = search(*SEEDS)
    worlds = f"simulation, seeds {SEEDS[0]} to {SEEDS[1]}"
    print(f"{worlds}: {found.calls} calls, {len(found.failures)} violations, {found.digest}")
    return len(found.failures)


def modules() -> list[str]:
    names = [module.name for module in pkgutil.walk_packages(sans_io.__path__, "sans_io.")]
    for name in names:
        importlib.import_module(name)
    return names


def say(what: str, outcomes: list[str]) -> None:
    digest = hashlib.blake2b("\n".join(outcomes).encode(), digest_size=16).hexdigest()
    print(f"{what}: {len(outcomes)} outcomes, {digest}")


# ---- one wire, cut in several ways ---------------------------------------------------------------------------------


def cuts(data: bytes) -> Iterator[list[bytes]]:
    """Whole, in single bytes (the first kilobytes), in sevens, and at random."""
    yield [data]
    yield [data[at : at + 1] for at in range(min(len(data), 4096))] + [data[4096:]]
    yield [data[at : at + 7] for at in range(0, len(data), 7)]
    dice = random.Random(len(data))
    edges = [0, *sorted(dice.randrange(len(data) + 1) for _ in range(9)), len(data)]
    yield [data[start:stop] for start, stop in itertools.pairwise(edges)]


def decoded(data: bytes) -> Iterator[str]:
    for decoder in (SSEDecoder, SSEJSONDecoder, NDJSONDecoder):
        outcomes = {drained(decoder(), pieces) for pieces in cuts(data)}
        assert len(outcomes) == 1, f"{decoder.__name__} depends on the cut of {data!r:.200}"
        yield outcomes.pop()


def drained(decoder: SSEDecoder | SSEJSONDecoder | NDJSONDecoder, pieces: list[bytes]) -> str:
    told = [item for piece in pieces if piece for item in decoder.receive_data(piece)]
    told += decoder.receive_eof()
    return ascii((told, decoder.error and decoder.error.code)).replace(repr(DONE), "DONE")


# ---- whole replies -------------------------------------------------------------------------------------------------

Exchange = tuple[str, int, dict[str, str], bytes, bool]


def corpus() -> Iterator[Exchange]:
    for wire in WIRES:
        for data in seeds(wire).values():
            for stream in (True, False):
                yield wire, 200, {}, data[2:], stream
            yield wire, 429, {"retry-after": "3"}, data[2:], False


def recordings() -> Iterator[Exchange]:
    path = HERE.parent / "shared/recordings/exchanges.jsonl"
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        exchange = json.loads(line)
        reply = exchange["response"]
        if exchange["family"] in WIRES:
            body = b64decode(reply["body_b64"])
            yield exchange["family"], reply["status"], reply["headers"], body, exchange["stream"]


def replied(wire: str, status: int, headers: dict[str, str], body: bytes, stream: bool) -> Iterator[str]:
    outcomes = set()
    for pieces in cuts(body):
        try:
            outcomes.add(ascii(facts(decode(wire, status, headers, pieces, stream=stream))))
        except LLMError as error:
            partial = error.partial and facts(error.partial)
            outcomes.add(ascii((type(error).__name__, error.code, error.retry_after, partial)))
    assert len(outcomes) == 1, f"the outcome depends on the cut of {body!r:.200}"
    yield outcomes.pop()


def facts(response: ChatResponse) -> tuple[object, ...]:
    calls = [(call.id, call.name, call.arguments) for call in response.tool_calls]
    broken = [(call.id, call.name) for call in response.invalid_tool_calls]
    told = (response.content, response.reasoning, response.finish_reason, response.usage, len(response.choices))
    return *told, calls, broken


if __name__ == "__main__":
    sys.exit(main())
