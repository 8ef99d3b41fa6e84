"""Every fuzzing target runs on its corpus, and on the corpus damaged a little, without the fuzzer."""

from __future__ import annotations

import importlib.util
import random
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from seeds import seeds

from sans_io.decode.sse import SSEDecoder
from sans_io.providers.registry import WIRES

FUZZ = Path(__file__).parents[3] / "fuzz"
TARGETS = sorted(path.stem.removeprefix("fuzz_") for path in FUZZ.glob("fuzz_*.py"))
SEEDS = {(target, name): data for target in TARGETS for name, data in seeds(target).items()}
#: What the bytes of a seed are overwritten with, by target: the tokens of HTTP heads, else those of JSON and its frames.
HTTP = [
    b"\r\n", b"\n", b"\r", b"0", b"1", b"chunked", b"Content-Length: ", b":", b" ", b"\t", b"\0", b"\xff", b";", b"/", b"@", b"[",
    b"]", b".", b"%", b"\xc3\xbc", b"-", b"+", b"_", b",", b"*", b"\x0b", b"\x1c", b"\x85", b"",
]  # fmt: skip
JSON = [bytes([byte]) for byte in b'{}[]":,\\ue\n\r \xff\xc30aD\0\xc8\xfa']
TOKENS = {"http11": HTTP, "headers": HTTP}


@cache
def one_input(target: str) -> Callable[[bytes], None]:
    spec = importlib.util.spec_from_file_location(f"fuzz_{target}", FUZZ / f"fuzz_{target}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.one_input


@pytest.mark.parametrize(("target", "name"), SEEDS)
def test_a_seed(target: str, name: str) -> None:
    """As it is, and with a few places overwritten, a hundred times."""
    data = SEEDS[target, name]
    one_input(target)(data)
    dice = random.Random(name)
    for _ in range(100):
        damaged = data
        for _ in range(dice.randint(1, 4)):
            place = dice.randint(1, len(damaged) or 1)
            token = dice.choice(TOKENS.get(target, JSON))
            damaged = damaged[:place] + token + damaged[place + dice.randint(0, 4) :]
        one_input(target)(damaged[: dice.choice((len(damaged), dice.randint(1, len(damaged))))])


def test_every_target_has_a_corpus_of_moderate_size() -> None:
    assert {*WIRES, "call", "headers", "http11", "jsontext", "ndjson", "sse"} <= set(TARGETS), "each wire has a target"
    assert {target for target, _ in SEEDS} == set(TARGETS)
    assert sum(map(len, SEEDS.values())) < 2 * 2**20


def test_a_target_finds_a_planted_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second byte of a short read is lost: only the cut shows it."""
    original = SSEDecoder.receive_data
    monkeypatch.setattr(
        SSEDecoder, "receive_data", lambda self, data: original(self, data[:1] if len(data) == 2 else data)
    )
    with pytest.raises(AssertionError, match="where the bytes were cut"):
        for seed in seeds("sse").values():
            one_input("sse")(seed)
