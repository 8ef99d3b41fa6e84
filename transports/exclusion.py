"""Mutual exclusion for pure state, such that nothing re-entrant ever waits.

A thread that holds a lock can be interrupted, between any two bytecodes, by code that runs in the same thread: the
garbage collector closes a generator that holds a stream, a signal handler calls `cancel()`, `pool_stats()` or `chat()`,
Ctrl-C raises. Code that then waits for the lock waits for itself, and every other thread waits with it. A re-entrant
lock alone is no cure: the interrupted thread is in the middle of a change, and a second change on top would corrupt it.

Rules of this file, and of everybody who uses it:
- Before taking the lock, ask `held()`. Only C code records the owner (an RLock does), so there is no moment between
  taking the lock and being known as its holder.
- Inside already, and something is given back (cancel, release, close): leave it with `give`. The holder does it before
  it lets go, and looks once more afterwards, for what came between the two.
- Inside already, and an answer is needed: go another way (a pool of one's own, a thread of one's own, the last
  published snapshot). Each user of this file says which.
- The locked part is short and pure: no I/O, no other lock of ours, no code of the user's, nothing that waits.
- A locked part can be left by an exception at any bytecode, its own `with` included: `let_go` in an `except
  BaseException` around all of it releases what is still held. What was half changed is the user's to repair.
- Work that was left is done again if it was interrupted, so it must be harmless twice.
"""

from __future__ import annotations

from _thread import RLock
from collections import deque
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")


class Exclusion:
    """A lock, and what was left to do for whoever holds it. Made again in the child of a fork."""

    __slots__ = ("held", "left", "lock")

    def __init__(self) -> None:
        self.lock: Final = RLock()
        #: Whether the calling thread is inside. `threading.Condition` relies on the same method of an RLock.
        self.held: Final[Callable[[], bool]] = self.lock._is_owned  # type: ignore[attr-defined]
        #: Appending is one operation of C: it needs no lock and cannot be interrupted.
        self.left: Final[deque[Callable[[], object]]] = deque()

    def give(self, work: Callable[[], object]) -> None:
        """Do `work` under the lock: now, or by the holder if this thread is inside already. Never raises for itself."""
        self.left.append(work)
        self.settle()

    def do(self, part: Callable[[], T]) -> T:
        """What `part` gives, done under the lock and before what was left. For whoever is not inside: ask `held`."""
        try:
            with self.lock:
                result = part()
                self.do_left()
            self.settle()
        except BaseException:
            self.let_go()
            raise
        return result

    def settle(self) -> None:
        """Do what was left. Nothing if this thread is inside: then its interrupted part does it."""
        while self.left and not self.held():
            try:
                with self.lock:
                    self.do_left()
            except BaseException:
                self.let_go()
                raise

    def do_left(self) -> None:
        """The holder, before it lets go. What is interrupted stays and is done again by the next holder."""
        left = self.left
        while left:
            try:
                left[0]()
            except Exception:
                left.popleft()
                raise
            left.popleft()

    def let_go(self) -> None:
        """After an exception out of a locked part: the lock is free, wherever the exception came."""
        while self.held():
            self.lock.release()
