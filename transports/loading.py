"""Modules that are imported at first use: completely or not at all.

An import can fail half-way: no descriptor is left for the next file, or Ctrl-C arrives. What it leaves behind can make
every later attempt fail too: importlib's locks stay held, a package lacks what was loaded the first time, an extension
module refuses to be initialised again, `datetime` has fallen back to its slow Python version.

Rules of this file:
- Code that imports at first use calls `need` first; the import statement that follows finds everything loaded.
- An import runs in a thread of its own. Ctrl-C and signal handlers interrupt the main thread only, so nothing cuts it
  short, and a handler that makes a call of its own meets no module that is half loaded. Constructors start no thread.
- It does not begin unless a few descriptors are free, and what a failed one leaves behind is removed: the next call
  begins from nothing.
- No lock of ours is held meanwhile, and nothing waits forever for an import that waits for one of the caller's own.
- A fork waits for those that have begun: in the child importlib's locks would belong to threads that are not there, and
  whoever needed the module would never get it.
"""

from __future__ import annotations

import os
import sys
from _thread import LockType, allocate_lock, get_ident, start_new_thread
from collections.abc import Callable
from contextlib import suppress
from errno import EMFILE, ENFILE
from functools import partial
from importlib import import_module
from typing import Final, NoReturn

from sans_io.decode import jsontext
from sans_io.errors import LLMConnectionError

#: Descriptors that must be free: one for the file being read, the others for what is opened meanwhile.
SPARE: Final = 4
#: What every first call needs, on whatever loop: request heads, and names in lookups and TLS.
FIRST: Final = ("h11", "encodings.idna")
#: Seconds to wait for the thread. A module whose own import makes a call would otherwise wait for itself.
PATIENCE: Final = 60.0
#: Seconds that a fork waits for imports that have begun: they take milliseconds, unless one waits for whoever forks.
FORK_PATIENCE: Final = 5.0

_loaded: Final[set[str]] = set()
#: The imports that have begun: a lock that is held until the end, and the thread. Each change is one operation of C.
_begun: Final[dict[LockType, int]] = {}


def need(*names: str) -> None:
    """Import these modules. Raises `LLMConnectionError` and leaves nothing half imported: the next call tries again."""
    if not _loaded.issuperset(names):
        for name in names:
            do(name, partial(import_module, name))
        _loaded.update(names)


def need_anyio(loop: str) -> None:
    """anyio, with the part of it for "asyncio" or "trio", which anyio itself imports within its first wait there."""
    part = f"anyio._backends._{loop}"
    if part not in _loaded:

        def load() -> None:
            import_module("anyio")
            with suppress(ModuleNotFoundError):  # a release that keeps it elsewhere
                import_module(part)

        do("anyio", load)
        _loaded.add(part)


def accelerate() -> None:
    """`jsontext.accelerate`. Streams do without msgspec where it cannot be loaded.

    Begun, its import is not repeated: an extension module that fails in the middle of its initialisation may keep
    pointers to what is then freed, and of msgspec's the second attempt crashes CPython 3.12.
    """
    if "msgspec" not in _loaded:
        begun = []

        def load() -> None:
            begun.append(True)
            jsontext.accelerate()

        try:
            do("msgspec", load)
        except LLMConnectionError:
            if not begun:  # no descriptor was left to begin with: the next stream tries again
                return
        _loaded.add("msgspec")


def need_here(*names: str) -> None:
    """`need` without a thread, for constructors."""
    if not _loaded.issuperset(names):
        for name in names:
            error = _attempt(partial(import_module, name))
            if error is not None:
                _raise(name, error)
        _loaded.update(names)


def do(what: str, work: Callable[[], object]) -> None:
    """Call `work`, which imports, in a thread of its own. `what` names it in the `LLMConnectionError` of a failure."""
    over = allocate_lock()
    over.acquire()
    errors: list[BaseException | None] = []

    def in_thread() -> None:
        errors.append(_attempt(work))
        over.release()

    if not has_thread(in_thread):
        error = _attempt(work)
    elif over.acquire(timeout=PATIENCE):
        error = errors.pop()
    else:
        raise LLMConnectionError(f"{what} could not be loaded: its import has not finished", code="import_failed")
    if error is not None:
        _raise(what, error)


def has_thread(work: Callable[..., object], *args: object) -> bool:
    """Call `work` in a thread of its own. False where none can be started, or where the interpreter ends: CPython 3.11
    would start one, and end it before it has done anything.
    """
    if sys.is_finalizing():
        return False
    try:
        start_new_thread(work, args)
    except RuntimeError:
        return False
    return True


def out_of_descriptors(error: BaseException | None) -> bool:
    """Whether it says that no descriptor was left. The dynamic linker says so in words only."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (EMFILE, ENFILE):
            return True
        if isinstance(error, ImportError) and os.strerror(EMFILE) in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def descriptors_left(count: int) -> bool:
    """Whether so many (an even number) can be had."""
    pipes: list[tuple[int, int]] = []
    try:
        while 2 * len(pipes) < count:
            pipes.append(os.pipe())
    except OSError as error:
        return not out_of_descriptors(error)
    finally:
        for ends in pipes:
            for end in ends:
                os.close(end)
    return True


def _attempt(work: Callable[[], object]) -> BaseException | None:
    """What kept it from being done: Ctrl-C only where no thread was started for it."""
    before = frozenset(sys.modules)
    begun = allocate_lock()
    begun.acquire()
    try:
        _begun[begun] = get_ident()
        if not descriptors_left(SPARE):
            raise OSError(EMFILE, os.strerror(EMFILE))
        work()
    except BaseException as error:  # noqa: BLE001  the caller raises it
        _remove_orphans(before)
        return error
    finally:
        _begun.pop(begun, None)
        begun.release()
    return None


def _remove_orphans(before: frozenset[str]) -> None:
    """Modules whose package has failed and is gone. The package would take them for granted when it is retried."""
    for name in sorted(sys.modules.keys() - before):  # a package comes before what is in it
        package = name.rpartition(".")[0]
        if package and package not in sys.modules:
            sys.modules.pop(name, None)


def _raise(what: str, error: BaseException) -> NoReturn:
    if not isinstance(error, Exception):
        raise error
    if out_of_descriptors(error):
        text = f"no file descriptor is left to load {what}: close some, or increase the limit (ulimit -n)"
        raise LLMConnectionError(text, code="too_many_open_files") from error
    said = (error.strerror if isinstance(error, OSError) else None) or str(error)
    why = type(error).__name__ if not said or os.sep in said else f"{type(error).__name__}: {said}"
    raise LLMConnectionError(f"{what} could not be loaded ({why})", code="import_failed") from error


def _let_them_end() -> None:
    """Before a fork. An import that forks, or that takes too long, is not waited for."""
    me = get_ident()
    while others := [begun for begun, thread in list(_begun.items()) if thread != me]:
        for begun in others:
            if not begun.acquire(timeout=FORK_PATIENCE):
                return
            begun.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_let_them_end, after_in_child=_begun.clear)
