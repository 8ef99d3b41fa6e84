"""Mutants of one module: each is the module's text with one small change, and a name that says which.

Rules of this file:
- Texts in, texts out; running tests against them is `run`'s business.
- Tables (constants that are dictionaries, sets and tuples, defaults of dataclasses) are changed cell by cell: dropped,
  changed, swapped with the next. Everything else is changed operator by operator.
- Annotations, docstrings, `__all__`, `__repr__`, messages of errors and imports are left alone: no behaviour is in them.
"""

from __future__ import annotations

import ast
import copy
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
_OPERATIONS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.Add,
    ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr, ast.LShift: ast.RShift, ast.RShift: ast.LShift, ast.Pow: ast.Mult,
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """`tree()` gives the whole changed module, its line numbers those of the original.

    `kind` is "table" or "code". `lines` are the node's own; a test that executes one of them may notice. `statement` is
    the line of the statement around, `function` the lines of the outermost function around. `function` is None where
    the change works when the module is imported. `subject` is the table's or the field's name, "" for code.
    """

    name: str
    kind: str
    lines: range
    statement: int
    function: range | None
    subject: str
    tree: Callable[[], ast.Module]


def mutants(source: str) -> list[Mutant]:
    """All of them, in the order of the text."""
    seen: Counter[str] = Counter()
    found: list[Mutant] = []
    for mutant in _changes(ast.parse(source)):
        seen[mutant.name] += 1
        again = seen[mutant.name]
        found.append(mutant if again == 1 else replace(mutant, name=f"{mutant.name} ({again})"))
    return sorted(found, key=lambda mutant: mutant.lines.start)


def _changes(tree: ast.Module) -> Iterator[Mutant]:
    quiet = _quiet(tree)
    places = dict(_places(tree))
    subjects = {id(node): _subject(table) for table in _tables(tree) for node in ast.walk(table)}
    in_tables = {
        id(node)
        for statement in _tables(tree)
        for node in ast.walk(statement)
        if not isinstance(node, (ast.Lambda, ast.FunctionDef))
    }
    for place, node in enumerate(ast.walk(tree)):
        if id(node) in quiet:
            continue
        kind = "table" if id(node) in in_tables else "code"
        for name, new in _variants(node):
            statement, function = places[id(node)]
            yield Mutant(
                f"{node.lineno}:{node.col_offset} {name}",
                kind,
                range(node.lineno, (node.end_lineno or node.lineno) + 1),
                statement,
                function,
                subjects.get(id(node), "") if kind == "table" else "",
                _applied(tree, place, new),
            )


def _places(tree: ast.Module) -> Iterator[tuple[int, tuple[int, range | None]]]:
    """For every node: the line of its statement, and the lines of the outermost function whose body it is in."""

    def walk(node: ast.AST, statement: int, function: range | None) -> Iterator[tuple[int, tuple[int, range | None]]]:
        if isinstance(node, ast.stmt):
            statement = node.lineno
        yield id(node), (statement, function)
        body: list[ast.stmt] = node.body if isinstance(node, ast.FunctionDef) else []
        inside = function or range(node.lineno, (node.end_lineno or 0) + 1) if body else function
        for child in ast.iter_child_nodes(node):
            yield from walk(child, statement, inside if child in body else function)

    yield from walk(tree, 0, None)


def _subject(table: ast.stmt) -> str:
    target = table.targets[0] if isinstance(table, ast.Assign) else getattr(table, "target", None)
    return target.id if isinstance(target, ast.Name) else ""


def _applied(tree: ast.Module, place: int, new: Callable[[ast.AST], ast.AST]) -> Callable[[], ast.Module]:
    def changed() -> ast.Module:
        fresh = copy.deepcopy(tree)
        node = next(found for number, found in enumerate(ast.walk(fresh)) if number == place)
        replacement = new(node)
        if replacement is not node:
            _swap(fresh, node, replacement)
        return ast.fix_missing_locations(fresh)

    return changed


def _swap(tree: ast.Module, old: ast.AST, new: ast.AST) -> None:
    for parent in ast.walk(tree):
        for field, value in ast.iter_fields(parent):
            if value is old:
                setattr(parent, field, ast.copy_location(new, old))
                return
            if isinstance(value, list):
                for at, item in enumerate(value):
                    if item is old:
                        value[at] = ast.copy_location(new, old)
                        return


def _variants(node: ast.AST) -> Iterator[tuple[str, Callable[[ast.AST], ast.AST]]]:
    match node:
        case ast.Dict(keys=keys, values=values):
            for at, key in enumerate(keys):
                shown = "**" if key is None else ast.unparse(key)
                yield f"drop {shown}", _editing(lambda d, at=at: (d.keys.pop(at), d.values.pop(at)))
                if at + 1 < len(keys) and ast.dump(values[at]) != ast.dump(values[at + 1]):
                    yield f"swap {shown} with the next", _editing(lambda d, at=at: _exchange(d.values, at))
                other = next((v for v in values if ast.dump(v) != ast.dump(values[at])), None)
                if other is not None and key is not None and isinstance(values[at], (ast.Name, ast.Attribute)):
                    yield (
                        f"{shown} is {ast.unparse(other)}",
                        _editing(lambda d, at=at, other=other: d.values.__setitem__(at, other)),
                    )
        case ast.Tuple(elts=elements, ctx=ast.Load()) | ast.Set(elts=elements) if len(elements) > 1:
            for at, element in enumerate(elements):
                if isinstance(element, ast.Constant):
                    yield f"drop {ast.unparse(element)}", _editing(lambda d, at=at: d.elts.pop(at))
        case ast.Compare(ops=[operator]) if type(operator) in _COMPARISONS:
            yield (
                _COMPARISONS[type(operator)].__name__,
                _editing(lambda d: d.ops.__setitem__(0, _COMPARISONS[type(d.ops[0])]())),
            )
        case ast.BinOp(op=operation) | ast.AugAssign(op=operation) if type(operation) in _OPERATIONS:
            if not (isinstance(operation, ast.Mod) and isinstance(getattr(node, "left", None), ast.Constant)):
                yield (
                    _OPERATIONS[type(operation)].__name__,
                    _editing(lambda d: setattr(d, "op", _OPERATIONS[type(d.op)]())),
                )
        case ast.BoolOp(op=joined):
            new: ast.boolop = ast.Or() if isinstance(joined, ast.And) else ast.And()
            yield type(new).__name__, _editing(lambda d, new=new: setattr(d, "op", new))
        case ast.UnaryOp(op=ast.Not()):
            yield "without not", lambda d: d.operand  # type: ignore[attr-defined]
        case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test) if not isinstance(
            test, (ast.Compare, ast.BoolOp)
        ):
            yield "condition turned", _editing(lambda d: setattr(d, "test", ast.UnaryOp(ast.Not(), d.test)))
        case ast.Constant(value=bool() as value):
            yield f"{not value}", _editing(lambda d: setattr(d, "value", not d.value))
        case ast.Constant(value=int() | float() as number):
            yield f"{number} is {number + 1}", _editing(lambda d: setattr(d, "value", d.value + 1))
        case ast.Constant(value=str() as text) if text:
            yield f"{text[:30]!r} is another text", _editing(lambda d: setattr(d, "value", f"XX{d.value}"))
        case ast.Constant(value=bytes() as data) if data:
            yield f"{data[:30]!r} is other bytes", _editing(lambda d: setattr(d, "value", b"XX" + d.value))
        case ast.Continue():
            yield "break", lambda _: ast.Break()
        case ast.Break():
            yield "continue", lambda _: ast.Continue()
        case ast.Return(value=value) if value is not None and not _is_none(value):
            yield "return None", _editing(lambda d: setattr(d, "value", ast.Constant(None)))
        case ast.Assign(value=value) | ast.AnnAssign(value=value) if value is not None and not _is_none(value):
            if isinstance(value, (ast.Call, ast.Name, ast.Attribute)):
                yield "None assigned", _editing(lambda d: setattr(d, "value", ast.Constant(None)))
        case ast.Expr(value=ast.Call()):
            yield f"without {ast.unparse(node)[:40]}", lambda _: ast.Pass()


def _editing(edit: Callable[..., object]) -> Callable[[ast.AST], ast.AST]:
    def apply(node: ast.AST) -> ast.AST:
        edit(node)
        return node

    return apply


def _exchange(values: list[ast.expr], at: int) -> None:
    values[at], values[at + 1] = values[at + 1], values[at]


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _tables(tree: ast.Module) -> Iterator[ast.stmt]:
    """Constants of the module, and the defaults of its dataclasses."""
    for statement in tree.body:
        if isinstance(statement, (ast.Assign, ast.AnnAssign)):
            yield statement
        elif isinstance(statement, ast.ClassDef):
            yield from (each for each in statement.body if isinstance(each, ast.AnnAssign))


def _quiet(tree: ast.Module) -> set[int]:
    """What is left alone."""
    quiet: set[int] = set()

    def hush(node: ast.AST | None) -> None:
        if node is not None:
            quiet.update(id(each) for each in ast.walk(node))

    for node in ast.walk(tree):
        match node:
            case ast.AnnAssign(annotation=annotation):
                hush(annotation)
            case ast.FunctionDef(name=name) if name in {"__repr__", "__reduce__", "__str__"}:
                hush(node)
            case ast.FunctionDef(returns=returns, args=arguments):
                hush(returns)
                for argument in (*arguments.args, *arguments.kwonlyargs, *arguments.posonlyargs):
                    hush(argument.annotation)
                for decorator in node.decorator_list:
                    hush(decorator)
            case ast.ClassDef(decorator_list=decorators):
                for decorator in decorators:
                    hush(decorator)
            case ast.Expr(value=ast.Constant()):
                hush(node)
            case ast.Import() | ast.ImportFrom() | ast.Raise() | ast.Assert() | ast.JoinedStr():
                hush(node)
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                hush(node)
            case ast.Assign(targets=[ast.Name(id="__slots__" | "__all__")]):
                hush(node)
            case (
                ast.Subscript(value=ast.Name(id="Literal")) | ast.Call(func=ast.Name(id="TypeVar" | "NewType" | "cast"))
            ):
                hush(node)
            case ast.Call(func=ast.Attribute(attr="_fail") | ast.Name(id="HeadFault"), args=texts):
                for text in texts:
                    if isinstance(text, ast.Constant) and " " in str(text.value):  # a message, and no code
                        hush(text)
        if isinstance(node, ast.AnnAssign) and "TypeAlias" in ast.dump(node.annotation):
            hush(node)
    return quiet
