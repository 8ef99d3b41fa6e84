"""Does a test fail when the code is changed? Every mutant of `sans_io`, or a sample of them.

    python -m tests.proof.mutation.run [--only sse.py] [--kind table] [--sample 60] [--seed 1] [--parts 3,4/16] [--jobs 2]
                                 [--examples 15] [--budget 10] [--again out.json] [--json out.json]

A mutant's part of so many depends on its module, its line's text and the change alone, so that other lines may move
between two measurements and two different parts still have no mutant in common: what one shows says nothing of the other.

Two roads, both in forks of this process (docs/mutation.md says why this judges fairly):
- a changed function or table is put into a fork of a process that has imported the core and collected all tests;
- what an import does, and each table that survived the first road, is changed in a fork that has yet to import the core.

Both run only tests that executed the changed line (of a table: that read it), the best finders first, then the fastest.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import json
import os
import random
import re
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import h11
import hypothesis.stateful
import pytest
import trio

from tests.proof.mutation import patch, suite
from tests.proof.mutation.children import FAILED, PASSED, Say, in_children
from tests.proof.mutation.mutate import Mutant, mutants

assert all((h11, hypothesis, trio))  # loaded here, so that no child has to
ROOT = suite.ROOT
#: Seconds for one child, whatever it does.
LIMIT = 240.0
UNSUITED = 4


@dataclass(frozen=True)
class Item:
    module: str
    mutant: Mutant

    @property
    def name(self) -> str:
        return f"{self.module}:{self.mutant.name}"


class Judge:
    """What is known of the tests, and what they found so far."""

    def __init__(self, chosen: argparse.Namespace, results: Path) -> None:
        self._chosen = chosen
        self._results = results
        self._began = time.monotonic()
        self._finds: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._sources = {str(path.relative_to(ROOT)): path.read_text() for path in (ROOT / "sans_io").rglob("*.py")}
        self.learned: suite.Learned = {}
        self.found: dict[str, str] = {}
        self.survived: dict[str, str] = {}
        self._at_import: set[tuple[str, int]] = set()

    # ---- the warm road ---------------------------------------------------------------------------------------------

    def warm(self, work: list[Item]) -> None:
        """In a child, for its process imports the core and this one must not."""

        def act(_: None, say: Say) -> int:
            self._at_import = patch.called_during_import(_load_the_core)
            return int(pytest.main([*suite.ARGUMENTS, *suite.PLACES], plugins=[Warm(self, work)]))

        for _ in in_children([None], act, jobs=1, limit=1e9, quiet=False):
            pass
        kept = json.loads(self._results.read_text())
        self.learned, self.found, self.survived = kept["learned"], kept["found"], kept["survived"]
        self._at_import = {(path, line) for path, line in kept["at_import"]}
        for name, test in self.found.items():
            self._finds[name.partition(":")[0]][test] += 1

    def judge_warm(self, work: list[Item], items: list[pytest.Item]) -> None:
        suite.with_few_examples(items, self._chosen.examples)
        self.learned = suite.learn(items, self._chosen.examples)
        by_name = {item.nodeid: item for item in items}

        def tasks() -> Iterator[tuple[Item, list[str]]]:
            for each in work:
                if self._in_time():
                    patch.original_codes(str(ROOT / each.module), self._sources[each.module])  # for all children
                    yield each, self.tests_for(each, self._chosen.budget)

        def act(task: tuple[Item, list[str]], say: Say) -> int:
            each, tests = task
            try:
                self._put_in(each)
            except patch.Unsuited:
                return UNSUITED
            except Exception:  # an import would have raised it
                return FAILED
            return suite.judge([by_name[test] for test in tests], [self.learned[test][0] for test in tests], say)

        self._collect(in_children(tasks(), act, jobs=self._chosen.jobs, limit=LIMIT), "warm")
        self._results.write_text(json.dumps({
            "learned": self.learned, "found": self.found, "survived": self.survived, "at_import": sorted(self._at_import)
        }))  # fmt: skip

    def _put_in(self, each: Item) -> None:
        if each.mutant.function is None:
            module = importlib.import_module(_dotted(each.module))
            patch.into_a_live_table(module, each.mutant.tree(), each.mutant.statement)
        else:
            path = str(ROOT / each.module)
            patch.into_live_functions(path, self._sources[each.module], each.mutant.tree())

    # ---- the slow road ---------------------------------------------------------------------------------------------

    def fresh(self, work: list[Item]) -> None:
        """In two rounds: the most promising test file, which costs little to import, then all."""
        rounds = ((1.0, 1), (self._chosen.budget, 40))
        for seconds, files in rounds:

            def tasks(seconds: float = seconds, files: int = files) -> Iterator[tuple[Item, list[str]]]:
                for each in work:
                    if each.name not in self.found and self._in_time():
                        yield each, _of_few_files(self.tests_for(each, seconds), files)

            self._collect(in_children(tasks(), self._act_fresh, jobs=self._chosen.jobs, limit=LIMIT), "fresh")

    def works_at_import(self, each: Item) -> bool:
        """Whether the change is outside functions, in one that an import calls, or could not be put in otherwise."""
        function, path = each.mutant.function, str(ROOT / each.module)
        called = function is not None and any(name == path and line in function for name, line in self._at_import)
        return function is None or called or each.name not in self.survived

    def _act_fresh(self, task: tuple[Item, list[str]], say: Say) -> int:
        each, tests = task
        if not tests:
            return PASSED
        try:
            patch.into_the_import(str(ROOT / each.module), each.mutant.tree())
        except (SyntaxError, ValueError):  # the change makes no program
            return FAILED
        files = list(dict.fromkeys(test.partition("::")[0] for test in tests))
        plugin = Fresh(tests, [self.learned[test][0] for test in tests], self._chosen.examples, say)
        code = int(pytest.main([*suite.ARGUMENTS, *files], plugins=[plugin]))
        return code if plugin.ran else FAILED  # not even imported

    def _in_time(self) -> bool:
        return self._chosen.minutes is None or time.monotonic() < self._began + 60 * self._chosen.minutes

    # ---- both ------------------------------------------------------------------------------------------------------

    def _collect(self, ended: Iterator[tuple[tuple[Item, list[str]], int, int]], road: str) -> None:
        for (each, tests), code, number in ended:
            if code == FAILED:
                test = tests[number] if tests else "import"
                self.found[each.name] = test
                self._finds[each.module][test] += 1
                self.survived.pop(each.name, None)
            elif code == PASSED:
                self.survived[each.name] = f"{len(tests)} tests"
                print(f"[{road}] not found: {each.name} ({len(tests)} tests)", flush=True)
            if (len(self.found) + len(self.survived)) % 50 == 0 or code not in {FAILED, PASSED, UNSUITED}:
                print(f"[{road}] {len(self.found)} found, {len(self.survived)} not; {each.name} {code}", flush=True)

    def tests_for(self, each: Item, budget: float) -> list[str]:
        """Tests that may notice, the best finders first; all together take at most `budget` seconds."""
        finds = self._finds[each.module]
        near = self._near(each)
        order = sorted(near, key=lambda test: (-near[test], -finds[test], self.learned[test][0]))
        chosen, seconds = [], 0.0
        for test in order:
            seconds += self.learned[test][0] + 0.001
            if seconds > budget and chosen:
                break
            chosen.append(test)
        return chosen

    def _near(self, each: Item) -> dict[str, int]:
        """Test -> how near it is to the change."""
        mutant = each.mutant
        if mutant.function is None:
            return self._readers(each)
        for lines in (mutant.lines, range(mutant.statement, mutant.statement + 1), mutant.function):
            wanted = set(lines)
            near = {
                test: _directness(test, f".{Path(each.module).stem} import")
                for test, (_, ran) in self.learned.items()
                if not wanted.isdisjoint(ran.get(each.module, ()))
            }
            if near:
                return near
        return {}

    def _readers(self, each: Item) -> dict[str, int]:
        """Tests that execute a line where the table's name stands, or have it in their own text."""
        lines: dict[str, set[int]] = {}
        subject = each.mutant.subject
        for module, source in self._sources.items():
            if subject and subject in source:
                name = re.compile(rf"\b{re.escape(subject)}\b")
                lines[module] = {number for number, line in enumerate(source.splitlines(), 1) if name.search(line)}
        stem = Path(each.module).stem
        near: dict[str, int] = {}
        for test, (_, ran) in self.learned.items():
            if any(numbers & set(ran.get(module, ())) for module, numbers in lines.items()):
                near[test] = 1
            elif each.module in ran:
                near[test] = 0
            if subject and _mentions(test, subject):
                near[test] = 3
            elif _mentions(test, f".{stem} import"):
                near[test] = near.get(test, 0) + 1
        return near


def _mentions(test: str, words: str) -> bool:
    return _file_mentions(test.partition("::")[0], words)


def _directness(test: str, words: str) -> int:
    return _directness_of_file(test.partition("::")[0], words)


@functools.cache
def _directness_of_file(file: str, words: str) -> int:
    """2 where the test's own file has these words, 1 where another of its directory has them."""
    beside = sorted(str(path.relative_to(ROOT)) for path in (ROOT / file).parent.glob("*.py"))
    return 2 if _file_mentions(file, words) else int(any(_file_mentions(each, words) for each in beside))


@functools.cache
def _file_mentions(file: str, words: str) -> bool:
    name = words.isidentifier()  # then not as part of a longer one
    pattern = rf"\b{words}\b" if name else re.escape(words)
    return re.search(pattern, (ROOT / file).read_text()) is not None


def _of_few_files(tests: list[str], many: int) -> list[str]:
    files = list(dict.fromkeys(test.partition("::")[0] for test in tests))[:many]
    return [test for test in tests if test.partition("::")[0] in files]


def _load_the_core() -> None:
    for path in sorted((ROOT / "sans_io").rglob("*.py")):
        importlib.import_module(_dotted(str(path.relative_to(ROOT))))


def _dotted(module: str) -> str:
    return module.removesuffix(".py").replace("/", ".").removesuffix(".__init__")


class Warm:
    """A plugin: once the tests are collected, mutants are judged instead of running them."""

    def __init__(self, judge: Judge, work: list[Item]) -> None:
        self._judge, self._work = judge, work

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self._judge.judge_warm(self._work, session.items)
        return True


class Fresh:
    """A plugin: runs the given tests, in the given order."""

    def __init__(self, tests: list[str], seconds: list[float], examples: int, say: Say) -> None:
        self._tests, self._seconds, self._examples, self._say = tests, seconds, examples, say
        self.ran = False

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        by_name = {item.nodeid: item for item in session.items}
        suite.with_few_examples(session.items, self._examples)
        self.ran = True
        if any(test not in by_name for test in self._tests):  # a parameter of a test is made of the table
            os._exit(FAILED)
        os._exit(suite.judge([by_name[test] for test in self._tests], self._seconds, self._say))


def main() -> int:
    os.environ["HYPOTHESIS_PROFILE"] = "ci"  # derandomised: the same mutant meets the same examples
    chosen = _arguments()
    work = _work(chosen)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        judge = Judge(chosen, Path(scratch) / "results.json")
        judge.warm([each for each in work if each.mutant.function is not None or each.mutant.subject])
        print(f"without an import: {len(judge.found)} found in {time.monotonic() - began:.0f} s", flush=True)
        judge.fresh([each for each in work if each.name not in judge.found and judge.works_at_import(each)])
    _report(work, judge, time.monotonic() - began, chosen.json)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", action="append", default=[], help="part of a module's path")
    parser.add_argument("--skip", action="append", default=[], help="part of a module's path")
    parser.add_argument("--kind", choices=["table", "code"])
    parser.add_argument("--sample", type=int, help="at most so many mutants of each module and kind")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--parts", type=_parts, help="such as 3,4/16: the third and fourth of sixteen")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--examples", type=int, default=15, help="of each Hypothesis test")
    parser.add_argument("--budget", type=float, default=10.0, help="seconds of tests for one mutant")
    parser.add_argument("--minutes", type=float, help="stop then; the order is random, so a sample has been judged")
    parser.add_argument("--again", type=Path, help="only the survivors listed in this result")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def _parts(text: str) -> tuple[set[int], int]:
    numbers, _, many = text.partition("/")
    return {int(number) for number in numbers.split(",")}, int(many)


def _part(each: Item, lines: list[str], many: int) -> int:
    """From 1 to `many`. `lines` are those of the module."""
    change = each.mutant.name.partition(":")[2]
    text = f"{each.module}\n{lines[each.mutant.lines.start - 1].strip()}\n{change}"
    return int.from_bytes(sha256(text.encode()).digest()[:8], "big") % many + 1


def _work(chosen: argparse.Namespace) -> list[Item]:
    work: list[Item] = []
    again = set(json.loads(chosen.again.read_text())["survivors"]) if chosen.again else None
    for path in sorted((ROOT / "sans_io").rglob("*.py")):
        module = str(path.relative_to(ROOT))
        if chosen.only and not any(part in module for part in chosen.only):
            continue
        if any(part in module for part in chosen.skip):
            continue
        for kind in ("table", "code"):
            found = [Item(module, each) for each in mutants(path.read_text()) if each.kind == kind]
            found = [each for each in found if again is None or each.name in again]
            if chosen.parts is not None:
                numbers, many = chosen.parts
                found = [each for each in found if _part(each, path.read_text().splitlines(), many) in numbers]
            if chosen.sample is not None and len(found) > chosen.sample:
                found = random.Random(chosen.seed).sample(found, chosen.sample)
            work += found if chosen.kind in {None, kind} else []
    random.Random(chosen.seed).shuffle(work)
    return work


def _report(work: list[Item], judge: Judge, seconds: float, path: Path | None) -> None:
    judged = judge.found.keys() | judge.survived.keys()
    work = sorted(
        (each for each in work if each.name in judged), key=lambda each: (each.module, each.mutant.lines.start)
    )
    made, found = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for each in work:
        made[each.module, each.mutant.kind] += 1
        found[each.module, each.mutant.kind] += each.name in judge.found
    for each in work:
        if each.name not in judge.found:
            print(f"SURVIVED {each.name} ({judge.survived[each.name]})")
    for (module, kind), count in made.items():
        print(f"{module:42} {kind:6} {found[module, kind]:4} of {count:4}  {100 * found[module, kind] / count:5.1f} %")
    print(f"{sum(found.values())} of {sum(made.values())} found in {seconds:.0f} s")
    if path is not None:
        report: dict[str, Any] = {
            "seconds": round(seconds),
            "rows": {f"{module} {kind}": [found[module, kind], count] for (module, kind), count in made.items()},
            "survivors": [each.name for each in work if each.name not in judge.found],
            "found": {each.name: judge.found[each.name] for each in work if each.name in judge.found},
        }
        path.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
