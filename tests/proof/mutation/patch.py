"""A mutant put into a process: into live functions and tables, or in the place of a module that is yet to be imported."""

from __future__ import annotations

import ast
import functools
import gc
import sys
from collections import defaultdict
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from types import CodeType, FrameType, FunctionType, MappingProxyType, ModuleType

Key = tuple[str, int]


class Unsuited(Exception):
    """This change cannot be put in after the import."""


def into_live_functions(path: str, source: str, tree: ast.Module) -> int:
    """Gives every function of the module at `path` the code it has in `tree`; returns how many changed.

    Whatever holds the function (a class, another module, a bound method, a table) calls the new code, for the function
    object stays the same. Raises Unsuited where a closure has other free variables than the original.
    """
    old = original_codes(path, source)
    new = _codes(compile(tree, path, "exec"))
    changed = 0
    for function in live_functions():
        code = function.__code__
        if code.co_filename != path:
            continue
        key = (code.co_qualname, code.co_firstlineno)
        # Two lambdas in one line have the same key; the place among them tells them apart.
        at = old[key].index(code) if code in old[key] else -1
        if 0 <= at < len(new[key]) and new[key][at] != code:
            if new[key][at].co_freevars != code.co_freevars:
                raise Unsuited
            function.__code__ = new[key][at]
            changed += 1
    return changed


@functools.cache
def live_functions() -> list[FunctionType]:
    """Those of the core, as they are when this is called first."""
    return [
        each for each in gc.get_objects() if isinstance(each, FunctionType) and "/sans_io/" in each.__code__.co_filename
    ]


@functools.cache
def original_codes(path: str, source: str) -> dict[Key, list[CodeType]]:
    return _codes(compile(source, path, "exec"))


def _codes(module: CodeType) -> dict[Key, list[CodeType]]:
    found: defaultdict[Key, list[CodeType]] = defaultdict(list)

    def walk(code: CodeType) -> None:
        found[code.co_qualname, code.co_firstlineno].append(code)
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                walk(constant)

    walk(module)
    return found


def into_a_live_table(module: ModuleType, tree: ast.Module, line: int) -> None:
    """Gives the constant of `module`, or the default of a dataclass, that is set on `line` the value it has in `tree`.

    What else was made of it during the import stays as it was, so only a failing test says something: a change that
    survives is judged once more by a fresh import. Raises Unsuited for enums, `field()` and the like, and whatever the
    changed value itself raises.
    """
    for statement in tree.body:
        if isinstance(statement, ast.ClassDef):
            for inner in statement.body:
                if isinstance(inner, ast.AnnAssign) and inner.lineno == line and isinstance(inner.target, ast.Name):
                    _set_default(getattr(module, statement.name), inner.target.id, _value(module, inner))
                    return
        elif isinstance(statement, (ast.Assign, ast.AnnAssign)) and statement.lineno == line:
            target = statement.targets[0] if isinstance(statement, ast.Assign) else statement.target
            if isinstance(target, ast.Name):
                _replace(getattr(module, target.id), target.id, _value(module, statement))
                return
    raise Unsuited


def _value(module: ModuleType, statement: ast.Assign | ast.AnnAssign) -> object:
    if statement.value is None:
        raise Unsuited
    return eval(compile(ast.Expression(statement.value), module.__file__ or "", "eval"), module.__dict__)


def _replace(old: object, name: str, new: object) -> None:
    if isinstance(old, dict) and isinstance(new, dict):
        old.clear()
        old.update(new)
        return
    for module in list(sys.modules.values()):
        if module.__name__.partition(".")[0] in {"sans_io", "tests"}:
            for key, value in list(vars(module).items()):
                if value is old and (key == name or isinstance(old, (tuple, frozenset, MappingProxyType))):
                    setattr(module, key, new)


def _set_default(kind: type, name: str, new: object) -> None:
    from sans_io.records import Factory  # not earlier: it may be the module that is changed

    made = kind.__init__  # type: ignore[misc]
    code, defaults = getattr(made, "__code__", None), getattr(made, "__defaults__", None) or ()
    if code is None or isinstance(new, Factory):
        raise Unsuited
    if name in (made.__kwdefaults__ or {}):
        made.__kwdefaults__[name] = new
        return
    names = code.co_varnames[: code.co_argcount]
    at = names.index(name) - (len(names) - len(defaults)) if name in names else -1
    if at < 0:
        raise Unsuited
    made.__defaults__ = (*defaults[:at], new, *defaults[at + 1 :])


def called_during_import(load: Callable[[], object]) -> set[tuple[str, int]]:
    """(path, first line) of the functions that `load` calls: a change of them works before any test runs."""
    called: set[tuple[str, int]] = set()

    def note(frame: FrameType, event: str, argument: object) -> None:
        if event == "call":
            called.add((frame.f_code.co_filename, frame.f_code.co_firstlineno))

    sys.setprofile(note)
    try:
        load()
    finally:
        sys.setprofile(None)
    return called


def into_the_import(path: str, tree: ast.Module) -> None:
    """The next import of the file at `path` runs `tree` instead."""
    code = compile(tree, path, "exec")
    original = SourceFileLoader.get_code

    def get_code(loader: SourceFileLoader, name: str) -> CodeType | None:
        return code if loader.path == path else original(loader, name)

    SourceFileLoader.get_code = get_code  # type: ignore[method-assign]


def forget_what_was_cached() -> None:
    """Empties every `lru_cache` of the core: a cached answer hides the function from the next test."""
    for cache in _caches():
        cache.cache_clear()


@functools.cache
def _caches() -> list[functools._lru_cache_wrapper[object]]:
    kind = functools._lru_cache_wrapper
    return [each for each in gc.get_objects() if isinstance(each, kind) and str(each.__module__).startswith("sans_io.")]
