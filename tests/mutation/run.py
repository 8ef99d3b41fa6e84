"""Does a test fail when the code is changed? Every mutant of the modules below, or a sample of them.

    python -m tests.mutation.run [--only call] [--kind table] [--sample 60] [--seed 1] [--jobs 2] [--json out.json]

The checkout is copied once; each mutant is written over its module in the copy and the tests named here for that
module run until one fails. Test modules are given in order of how much they find. A run longer than the limit counts
as found: the mutant made something endless.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue

from tests.mutation.mutate import Mutant, mutants

ROOT = Path(__file__).resolve().parents[2]
#: Module -> the tests that are to notice. "tests/wires" and "tests/promises" see every module, and are slow.
TARGETS: dict[str, list[str]] = {
    "sans_io/call.py": ["tests/call/test_call.py", "tests/call/test_call_machine.py", "tests/promises"],
    "sans_io/attempt.py": ["tests/call/test_call.py", "tests/call/test_call_machine.py", "tests/promises"],
    "sans_io/verdict.py": ["tests/call/test_call.py", "tests/call/test_call_machine.py", "tests/promises"],
    "sans_io/server_hints.py": ["tests/policy/test_retry_tables.py"],
    "sans_io/policy/retry.py": ["tests/policy/test_retry_tables.py", "tests/policy/test_retry_machine.py", "tests/call"],
    "sans_io/policy/pool.py": ["tests/policy/test_pool.py"],
    "sans_io/policy/slots.py": ["tests/policy/test_pool.py"],
    "sans_io/policy/dice.py": ["tests/policy/test_dice.py", "tests/policy/test_retry_machine.py"],
    "sans_io/policy/deadline.py": ["tests/call/test_call.py", "tests/cloud/test_config.py"],
    "sans_io/policy/limits.py": ["tests/mutation/test_limits.py"],
    "sans_io/sse.py": ["tests/decoders/test_sse.py", "tests/decoders/test_sse_json.py", "tests/fuzz"],
    "sans_io/ndjson.py": ["tests/decoders/test_ndjson.py", "tests/fuzz"],
    "sans_io/tool_calls.py": ["tests/tool_calls", "tests/wires/openai", "tests/wires/anthropic", "tests/wires/ollama"],
    "sans_io/http11.py": ["tests/http11", "tests/urls", "tests/fuzz"],
    "sans_io/body.py": ["tests/http11", "tests/fuzz"],
    "sans_io/heads.py": ["tests/http11", "tests/fuzz"],
    "sans_io/providers/failures.py": ["tests/failures", "tests/wires/openai", "tests/wires/anthropic"],
    "sans_io/providers/dialects.py": ["tests/wires/openai", "tests/cloud/test_config.py", "tests/cloud/test_credentials.py"],
}  # fmt: skip
LIMIT = 180.0


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", help="part of a module's path")
    parser.add_argument("--kind", choices=["table", "code"])
    parser.add_argument("--sample", type=int, help="at most so many mutants of each module")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    work: list[tuple[str, Mutant]] = []
    for module in TARGETS:
        if chosen.only is not None and chosen.only not in module:
            continue
        found = [each for each in mutants((ROOT / module).read_text()) if chosen.kind in {None, each.kind}]
        if chosen.sample is not None and len(found) > chosen.sample:
            found = random.Random(chosen.seed).sample(found, chosen.sample)
        work += [(module, each) for each in found]
    began = time.monotonic()
    trees: Queue[Tree] = Queue()
    with tempfile.TemporaryDirectory() as scratch:
        for number in range(chosen.jobs):
            trees.put(Tree(Path(scratch) / str(number)))
        for module in dict.fromkeys(module for module, _ in work):
            for tests in TARGETS[module]:
                if trees.queue[0].fails(tests):
                    print(f"{tests} fails without any mutant: what it finds counts for nothing", flush=True)

        def judge(item: tuple[str, Mutant]) -> bool:
            tree = trees.get()
            try:
                return tree.finds(*item)
            finally:
                trees.put(tree)

        with ThreadPoolExecutor(chosen.jobs) as threads:
            results = []
            for item, killed in zip(work, threads.map(judge, work), strict=True):
                results.append((*item, killed))
                if not killed:
                    print(f"SURVIVED {item[0]}:{item[1].name}", flush=True)
        while not trees.empty():
            trees.get().close()
    return _report(results, time.monotonic() - began, chosen.json)


class Tree:
    """A copy of the checkout, and a process that runs tests in it."""

    def __init__(self, path: Path) -> None:
        ignored = shutil.ignore_patterns(".git", ".venv", "__pycache__", ".hypothesis", ".fuzz", "*_cache", "dist")
        self.path = shutil.copytree(ROOT, path, ignore=ignored)
        # By hash and not by time: a mutant may have its original's size and second.
        compile_all = [sys.executable, "-m", "compileall", "-q", "--invalidation-mode", "checked-hash", "."]
        subprocess.run(compile_all, cwd=path, check=False, stdout=subprocess.DEVNULL)
        environment = {**os.environ, "HYPOTHESIS_PROFILE": "ci", "PYTHONDONTWRITEBYTECODE": "1"}
        worker = [sys.executable, "tests/mutation/worker.py"]
        self._worker = subprocess.Popen(
            worker, cwd=path, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def finds(self, module: str, mutant: Mutant) -> bool:
        """Whether one of the module's tests fails."""
        path = self.path / module
        original = path.read_text()
        path.write_text(mutant.text())
        try:
            return any(self.fails(tests) for tests in TARGETS[module])
        finally:
            path.write_text(original)

    def fails(self, tests: str) -> bool:
        arguments = [
            "-q",
            "-x",
            "-p",
            "no:cacheprovider",
            "-W",
            "ignore::pytest.PytestAssertRewriteWarning",
            "-m",
            "not serial and not real_model",
            "--tb=no",
            tests,
        ]
        assert self._worker.stdin is not None
        assert self._worker.stdout is not None
        self._worker.stdin.write(json.dumps({"arguments": arguments, "limit": LIMIT}) + "\n")
        self._worker.stdin.flush()
        return json.loads(self._worker.stdout.readline()) not in {0, 5}

    def close(self) -> None:
        self._worker.communicate()


def _report(results: list[tuple[str, Mutant, bool]], seconds: float, path: Path | None) -> int:
    found, made = Counter(), Counter()
    for module, mutant, killed in results:
        made[module, mutant.kind] += 1
        found[module, mutant.kind] += killed
    for (module, kind), count in made.items():
        print(f"{module:36} {kind:6} {found[module, kind]:4} of {count:4}  {100 * found[module, kind] / count:5.1f} %")
    print(f"{sum(found.values())} of {sum(made.values())} found in {seconds:.0f} s")
    if path is not None:
        survivors = [f"{module}:{mutant.name}" for module, mutant, killed in results if not killed]
        rows = {f"{module} {kind}": [found[module, kind], count] for (module, kind), count in made.items()}
        path.write_text(json.dumps({"seconds": round(seconds), "rows": rows, "survivors": survivors}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
