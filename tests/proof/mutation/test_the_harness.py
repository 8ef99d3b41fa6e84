"""The judge of the tests is tested: what is unchanged passes, what is broken fails, wherever it was broken."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path

import pytest

from sans_io.calls import failures
from sans_io.decode.ndjson import NDJSONDecoder
from sans_io.policy import deadline, pool, retry
from sans_io.policy.dice import Dice
from tests.proof.mutation import patch
from tests.proof.mutation.children import BROKEN, FAILED, PASSED, in_children
from tests.proof.mutation.mutate import Mutant, mutants

#: pytest-xdist has a thread of its own in each worker; the fork touches nothing of it.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
ROOT = Path(__file__).resolve().parents[3]


def in_a_fork(act: Callable[[], bool], limit: float = 30.0) -> int:
    """The exit code of a child in which `act` says whether all is well."""
    ((_, code, _),) = in_children([None], lambda _, say: PASSED if act() else FAILED, jobs=1, limit=limit)
    return code


def changed(module: str, name: str) -> Mutant:
    """The mutant of that name, its place left out."""
    (found,) = [each for each in mutants((ROOT / module).read_text()) if each.name.partition(" ")[2] == name]
    return found


def put_in(module: str, tree: ast.Module) -> int:
    path = ROOT / module
    return patch.into_live_functions(str(path), path.read_text(), tree)


def test_an_unchanged_module_changes_nothing() -> None:
    source = (ROOT / "sans_io/decode/ndjson.py").read_text()

    def act() -> bool:
        nothing = put_in("sans_io/decode/ndjson.py", ast.parse(source)) == 0
        return nothing and NDJSONDecoder().receive_data(b"1\n2\n") == [1, 2]

    assert in_a_fork(act) == PASSED


def test_a_changed_method_is_seen_by_objects_and_bound_methods_made_before() -> None:
    expected = Dice(1).roll()
    bound = Dice(1).roll

    def act() -> bool:
        put_in("sans_io/policy/dice.py", changed("sans_io/policy/dice.py", "11 is 12").tree())
        return bound() == expected

    assert in_a_fork(act) == FAILED
    assert Dice(1).roll() == expected  # the change stayed in the fork


@pytest.mark.parametrize("name", ["connect", "until_commit", "idle"])
def test_a_changed_default_is_seen(name: str) -> None:
    source = (ROOT / "sans_io/policy/deadline.py").read_text()
    line = next(number for number, text in enumerate(source.splitlines(), 1) if text.startswith(f"    {name}:"))
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.AnnAssign) and node.lineno == line:
            node.value = ast.copy_location(ast.Constant(7.5), node)

    def act() -> bool:
        patch.into_a_live_table(deadline, tree, line)
        return getattr(deadline.Timers(), name) != 7.5

    assert in_a_fork(act) == FAILED


def test_a_changed_table_is_seen_by_whoever_imported_it() -> None:
    mutant = next(
        each
        for each in mutants((ROOT / "sans_io/policy/pool.py").read_text())
        if each.name.endswith("drop ('idle', 'lease')")
    )
    held = pool.TRANSITIONS

    def act() -> bool:
        patch.into_a_live_table(pool, mutant.tree(), mutant.statement)
        return ("idle", "lease") in held

    assert mutant.kind == "table"
    assert mutant.subject == "TRANSITIONS"
    assert in_a_fork(act) == FAILED


def test_what_cannot_be_put_in_later_is_left_to_a_fresh_import() -> None:
    with pytest.raises(patch.Unsuited):
        patch.into_a_live_table(retry, ast.parse("class RetryState:\n    _seen: set = field(default_factory=set)\n"), 2)


def test_an_endless_change_ends() -> None:
    def act() -> bool:
        while True:
            pass

    assert in_a_fork(act, limit=0.3) == FAILED


def test_a_judge_that_breaks_is_no_verdict() -> None:
    def act() -> bool:
        raise RuntimeError("planted by a test of the judge")

    assert in_a_fork(act) == BROKEN


def test_messages_and_annotations_are_left_alone() -> None:
    source = 'def f(x: "int" = 1) -> "str":\n    self._fail("two words", "code")\n    raise ValueError("no")\n'
    assert [each.name.partition(" ")[2] for each in mutants(source)] == [
        "1 is 2",
        "without self._fail('two words', 'code')",
        "'code' is another text",
    ]


def test_every_mutant_of_a_module_differs_from_it_and_compiles() -> None:
    source = (ROOT / "sans_io/calls/failures.py").read_text()
    original = ast.unparse(ast.parse(source))
    made = mutants(source)
    assert len(made) > 100
    assert len({each.name for each in made}) == len(made)
    for each in made:
        tree = each.tree()
        assert ast.unparse(tree) != original
        compile(tree, failures.__file__, "exec")
