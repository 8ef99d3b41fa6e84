"""The fuzzing corpora of the HTTP and header targets, replayed and damaged a little more."""

from __future__ import annotations

import importlib.util
import random
from collections.abc import Callable
from pathlib import Path

import pytest

FUZZ = Path(__file__).parents[2] / "fuzz"
TOKENS = [
    b"\r\n", b"\n", b"\r", b"0", b"1", b"chunked", b"Content-Length: ", b":", b" ", b"\t", b"\0", b"\xff", b";", b"/", b"@", b"[",
    b"]", b".", b"%", b"\xc3\xbc", b"-", b"+", b"_", b",", b"*", b"\x0b", b"\x1c", b"\x85", b"",
]  # fmt: skip


def target(name: str) -> Callable[[bytes], None]:
    spec = importlib.util.spec_from_file_location(f"fuzz_{name}", FUZZ / f"fuzz_{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.one_input


SEEDS = [(name, seed) for name in ("http11", "headers") for seed in sorted((FUZZ / "corpus" / name).glob("*"))]


@pytest.mark.parametrize(("name", "seed"), SEEDS, ids=lambda value: value if isinstance(value, str) else value.name)
def test_a_seed(name: str, seed: Path) -> None:
    one_input = target(name)
    data = seed.read_bytes()
    one_input(data)
    dice = random.Random(seed.name)
    for _ in range(60):
        damaged = data
        for _ in range(dice.randint(1, 4)):
            place = dice.randint(1, len(damaged))
            damaged = damaged[:place] + dice.choice(TOKENS) + damaged[place + dice.randint(0, 4) :]
        one_input(damaged)


def test_there_are_seeds() -> None:
    assert {name for name, _ in SEEDS} == {"http11", "headers"}
