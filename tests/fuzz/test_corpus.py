"""Every fuzzing target runs on its corpus, and on the corpus damaged a little, without the fuzzer."""

from __future__ import annotations

import importlib.util
import random
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from sans_io.sse import SSEDecoder

FUZZ = Path(__file__).parents[2] / "fuzz"
TARGETS = sorted(path.stem.removeprefix("fuzz_") for path in FUZZ.glob("fuzz_*.py"))
#: http11, headers and the three wires are replayed, and damaged in their own ways, where their code is tested.
SEEDS = [(target, seed) for target in TARGETS for seed in sorted((FUZZ / "corpus" / target).glob("*"))]
MORE = ("call", "jsontext", "ndjson", "sse")


@cache
def one_input(target: str) -> Callable[[bytes], None]:
    spec = importlib.util.spec_from_file_location(f"fuzz_{target}", FUZZ / f"fuzz_{target}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.one_input


@pytest.mark.parametrize("target", TARGETS)
def test_every_seed(target: str) -> None:
    for seed in sorted((FUZZ / "corpus" / target).glob("*")):
        try:
            one_input(target)(seed.read_bytes())
        except Exception as error:
            error.add_note(f"the seed is fuzz/corpus/{target}/{seed.name}")
            raise


@pytest.mark.parametrize("target", MORE)
def test_damaged_seeds(target: str) -> None:
    seeds = sorted((FUZZ / "corpus" / target).glob("*"))
    dice = random.Random(target)
    for _ in range(300):
        damaged = bytearray(dice.choice(seeds).read_bytes() or b"\0")
        for _ in range(dice.randint(1, 4)):
            damaged[dice.randrange(len(damaged))] = dice.choice(b'{}[]":,\\ue\n\r \xff\xc30aD\0\xc8\xfa')
        one_input(target)(bytes(damaged[: dice.randrange(len(damaged)) + 1]))


def test_every_target_has_a_corpus_of_moderate_size() -> None:
    assert TARGETS == ["anthropic", "call", "headers", "http11", "jsontext", "ndjson", "ollama", "openai", "sse"]
    assert {target for target, _ in SEEDS} == set(TARGETS)
    assert sum(seed.stat().st_size for _, seed in SEEDS) < 2 * 2**20


def test_a_target_finds_a_planted_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second byte of a short read is lost: only the cut shows it."""
    original = SSEDecoder.receive_data
    monkeypatch.setattr(
        SSEDecoder, "receive_data", lambda self, data: original(self, data[:1] if len(data) == 2 else data)
    )
    with pytest.raises(AssertionError, match="where the bytes were cut"):
        for target, seed in SEEDS:
            if target == "sse":
                one_input(target)(seed.read_bytes())
