"""The fuzzing corpora of the readers of the three wires, replayed, and damaged a little more."""

from __future__ import annotations

import importlib.util
import random
from collections.abc import Callable
from pathlib import Path

import pytest

FUZZ = Path(__file__).parents[2] / "fuzz"


def target(name: str) -> Callable[[bytes], None]:
    spec = importlib.util.spec_from_file_location(f"fuzz_{name}", FUZZ / f"fuzz_{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.one_input


SEEDS = [
    (name, seed) for name in ("anthropic", "ollama", "openai") for seed in sorted((FUZZ / "corpus" / name).glob("*"))
]


@pytest.mark.parametrize(("name", "seed"), SEEDS, ids=lambda value: value if isinstance(value, str) else value.name)
def test_a_seed(name: str, seed: Path) -> None:
    one_input = target(name)
    data = seed.read_bytes()
    one_input(data)
    dice = random.Random(seed.name)
    for _ in range(200):
        damaged = bytearray(data)
        for _ in range(dice.randint(1, 5)):
            damaged[dice.randrange(len(damaged))] = dice.choice(b'{}[]":,\\ue\n\r \xff0aD')
        one_input(bytes(damaged[: dice.randrange(len(damaged)) + 1]))
