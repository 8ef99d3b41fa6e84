"""Mutual exclusion for pure state, in which nothing re-entrant ever waits.

A thread that holds a lock can be interrupted, between any two bytecodes, by code that runs in the same thread: the
garbage collector closes a generator that holds a stream, a signal handler calls `cancel()`, `pool_stats()` or `chat()`,
Ctrl-C raises. Code that then waits for the lock waits for itself, and so do all other threads. A re-entrant lock alone
does not help: the interrupted thread is in the middle of a change, which a second change would corrupt. And the code
that interrupts may work for seconds (a handler's `chat()`), while the interrupted thread keeps the lock.

Rules of this file, and of everybody who uses it:
- An RLock records its owner in C code, so there is no moment between taking the lock and being known as its holder.
- Something is given back (cancel, release, close): nobody waits. What cannot be done at once, because this thread or
  another one is inside, is left. The holder does it before it lets go, and checks once more afterwards, for what was
  left between the two.
- A result is needed, and this thread is inside or another one stays inside for longer than `PATIENCE`: go another way
  (a separate pool, a separate thread, the last published snapshot). Each user of this file says which.
- The locked part is short and pure: no I/O, no other lock of ours, no code of the user's, nothing that waits.
- An exception can leave a locked part at any bytecode, that of its own `with` included: `let_go` in an `except
  BaseException` around all of it releases what is still held. Repairing a half-done change is up to the caller.
- Work that was left is done again if it was interrupted, so doing it twice must be harmless.
"""

from __future__ import annotations

from _thread import RLock
from collections import deque
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")

#: Seconds to wait for the holder where a result is needed. A locked part takes microseconds, and a thread that the
#: system put aside comes back within this time: one that stays longer is in a handler or a finaliser.
PATIENCE: Final = 0.25
#: For threads of ours that nobody waits for.
FOREVER: Final = -1.0


class Busy(Exception):  # noqa: N818  not an error, but a way to say "go another way"
    """This thread is inside, or another one stays there."""


class Exclusion:
    """A lock, and the work left for its holder. A forked child makes a new one."""

    __slots__ = ("held", "left", "lock")

    def __init__(self) -> None:
        self.lock: Final = RLock()
        #: Whether the calling thread is inside. `threading.Condition` relies on the same method of RLock.
        self.held: Final[Callable[[], bool]] = self.lock._is_owned  # type: ignore[attr-defined]
        #: Appending is one operation of C: it needs no lock and cannot be interrupted.
        self.left: Final[deque[Callable[[], object]]] = deque()

    def give(self, work: Callable[[], object]) -> None:
        """Have `work` done under the lock: now, or by the holder if this thread is inside already."""
        self.left.append(work)
        self.settle()

    def enter(self, patience: float = PATIENCE) -> bool:
        """Take the lock, once `held` has said no. False if a thread keeps it for longer than `patience` (seconds).

            try:
                if lock.enter():
                    with lock.lock:
                        lock.lock.release()
                        ...
            except BaseException:
                lock.let_go()
                raise

        The `with` holds the lock from the release on, and lets go first, however often it is interrupted.
        """
        lock = self.lock
        return lock.acquire(False) or (patience != 0.0 and lock.acquire(True, patience))

    def do(self, part: Callable[[], T], patience: float = PATIENCE) -> T:
        """The result of `part`, done under the lock after what was left. Raises `Busy` where it cannot be."""
        if self.held():
            raise Busy
        try:
            if not self.enter(patience):
                raise Busy
            with self.lock:
                self.lock.release()
                self.do_left()
                result = part()
                self.do_left()
            self.settle()
        except BaseException:
            self.let_go()
            raise
        return result

    def settle(self) -> None:
        """Do what was left. Does nothing if a thread is inside: that one will do it."""
        while self.left and not self.held():
            try:
                if not self.enter(0.0):
                    return
                with self.lock:
                    self.lock.release()
                    self.do_left()
            except BaseException:
                self.let_go()
                raise

    def do_left(self) -> None:
        """For the holder, before it lets go. Interrupted work stays, and the next holder does it again."""
        left = self.left
        while left:
            try:
                left[0]()
            except Exception:
                left.popleft()
                raise
            left.popleft()

    def let_go(self) -> None:
        """After an exception out of a locked part: release the lock, wherever the exception came."""
        while self.held():
            self.lock.release()
