"""Figures of the house: `python tests/house/measure.py [ROOT]` prints them for a checkout, so that two can be compared.

What each counts:
- rooms and arrows: packages of `sans_io` and imports from one to another, imports for types included. Modules that lie
  beside the packages and define something are rooms too; those that only hand on a name (public paths) are not.
- in circles: arrows that are part of a circle, of imports that are made; and with those that only type checkers make
  (an error names the response that it carries).
- written twice: lines of functions whose bodies are equal once `await`, `async` and Sync/Async in names are folded, and
  have four lines or more without their docstrings; every copy counts, as it stands in its file.
- names with two meanings: classes of one name in two modules.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

PACKAGES = ("sans_io", "transports", "cloud", "ai")


class House:
    """The shipped modules of a checkout, parsed."""

    def __init__(self, root: Path) -> None:
        self.modules: dict[str, tuple[Path, ast.Module]] = {}
        for package in PACKAGES:
            for path in sorted((root / package).rglob("*.py")):
                name = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
                self.modules[name] = (path, ast.parse(path.read_text(encoding="utf-8")))

    def lines(self) -> int:
        return sum(len(path.read_text(encoding="utf-8").splitlines()) for path, _ in self.modules.values())

    def packages(self) -> set[str]:
        """The rooms of `sans_io` that are packages."""
        return {_room(name) for name, (path, _) in self.modules.items() if path.name == "__init__.py"} - {""}

    def functions(self) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
        for name, (_, tree) in self.modules.items():
            for node in ast.walk(tree):
                if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                    yield name, node

    # -- rooms ---------------------------------------------------------------------------------------------------------

    def arrows(self, *, types: bool = True) -> dict[tuple[str, str], int]:
        """How many imports lead from one room of `sans_io` to another; without `types`, those that are made."""
        arrows: Counter[tuple[str, str]] = Counter()
        for name, target in self.imports(types=types):
            here, there = _room(name), _room(target)
            if here and there and here != there and not _only_hands_on(self.modules[name][1]):
                arrows[here, there] += 1
        return dict(arrows)

    def imports(self, *, types: bool = True) -> Iterator[tuple[str, str]]:
        """`(module, imported module)` for each name that one shipped module imports from another."""
        for name, (path, tree) in self.modules.items():
            package = name if path.name == "__init__.py" else name.rpartition(".")[0]
            for node in ast.walk(tree) if types else _made(tree):
                if not isinstance(node, ast.ImportFrom):
                    continue
                base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
                module = ".".join([*base, *([node.module] if node.module else [])])
                for alias in node.names:
                    target = f"{module}.{alias.name}" if f"{module}.{alias.name}" in self.modules else module
                    if target in self.modules and target != name:
                        yield name, target

    # -- repetition ----------------------------------------------------------------------------------------------------

    def written_twice(self) -> list[tuple[int, str, str]]:
        """`(lines, here, there)` for functions that are one text, once for `await` and once without: lines of all copies."""
        copies: dict[str, list[tuple[int, str]]] = defaultdict(list)
        for name, node in self.functions():
            text = _folded(node)
            if len(text.splitlines()) >= 4:
                copies[text].append((_length(node), f"{name}.{node.name}"))
        return sorted(
            (
                (sum(size for size, _ in places), places[0][1], places[-1][1])
                for places in copies.values()
                if places[1:]
            ),
            reverse=True,
        )

    def names_with_two_meanings(self) -> dict[str, list[str]]:
        homes: dict[str, list[str]] = defaultdict(list)
        for name, (_, tree) in self.modules.items():
            for node in tree.body:
                if isinstance(node, ast.ClassDef):
                    homes[node.name].append(name)
        return {name: places for name, places in homes.items() if len(places) > 1}


def _made(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node but those under `if TYPE_CHECKING:`."""
    for node in ast.iter_child_nodes(tree):
        if not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)):
            yield node
            yield from _made(node)


def _length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def _only_hands_on(tree: ast.Module) -> bool:
    """A public path: a docstring, imports and `__all__`."""
    return all(
        isinstance(node, (ast.Expr, ast.Import, ast.ImportFrom))
        or (isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__")
        for node in tree.body
    )


def _room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if parts[0] == "sans_io" and len(parts) > 1 else ""


def _folded(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """The body's text without what tells blocking code from asynchronous code."""
    body = node.body
    if isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
        body = body[1:]
    text = "\n".join(ast.unparse(statement) for statement in body)
    text = re.sub(r"\b(await|async) ", "", text)
    text = re.sub(r"_?(Async|Sync|async_|sync_|_async|_sync)", "", text)
    return re.sub(r"__a(enter|exit|iter|next)__|\ba(close|next|iter)\b", lambda m: f"__{m[1] or m[2]}__", text)


def count_arguments(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    spec = node.args
    return len([*spec.posonlyargs, *spec.args, *spec.kwonlyargs])


def circles(arrows: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """The arrows that are part of a circle."""
    onward: dict[str, set[str]] = defaultdict(set)
    for here, there in arrows:
        onward[here].add(there)

    def reaches(here: str, goal: str) -> bool:
        seen, todo = set(), [here]
        while todo:
            room = todo.pop()
            if room == goal:
                return True
            if room not in seen:
                seen.add(room)
                todo += onward[room]
        return False

    return [(here, there) for here, there in arrows if reaches(there, here)]


def main() -> None:
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[2]
    house = House(root)
    arrows = house.arrows()
    rooms = {room for arrow in arrows for room in arrow}
    packages = rooms & house.packages()
    longest = max(house.functions(), key=lambda found: _length(found[1]))
    many = [f"{name}.{node.name}" for name, node in house.functions() if count_arguments(node) >= 12]
    twice, names = house.written_twice(), house.names_with_two_meanings()
    print(f"rooms of sans_io          {len(rooms)}, {len(packages)} of them packages")
    made = circles(house.arrows(types=False))
    print(f"arrows between them       {len(arrows)}, in circles {len(made)} (for types: {len(circles(arrows))})")
    print(f"files, lines              {len(house.modules)}, {house.lines()}")
    print(f"longest function          {_length(longest[1])} lines, {longest[0]}.{longest[1].name}")
    print(f"functions of >= 12 args   {len(many)}")
    print(f"lines written twice       {sum(size for size, *_ in twice)}")
    print(f"names with two meanings   {len(names)}")
    if "-v" in sys.argv:
        print(*(f"  arrow {here} -> {there} {count}" for (here, there), count in sorted(arrows.items())), sep="\n")
        print(*(f"  circle {here} -> {there}" for here, there in circles(arrows)), sep="\n")
        print(*(f"  twice {size:3} {here} {there}" for size, here, there in twice), sep="\n")
        print(*(f"  >= 12 {place}" for place in many), sep="\n")
        print(*(f"  name {name} {places}" for name, places in names.items()), sep="\n")


if __name__ == "__main__":
    main()
