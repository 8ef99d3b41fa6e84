"""Names to addresses in threads of our own, which nobody has to wait for.

`getaddrinfo` cannot be interrupted. In an event loop's executor a hanging one holds the end of `asyncio.run` until
the resolver gives up; here the caller leaves at its deadline and the thread ends when it ends.

Rules of this file:
- One lookup per name at a time: whoever asks for the same name meanwhile shares the answer. Nothing is remembered.
- At most `MAX_THREADS` lookups run, `MAX_PER_HOST` of one host (one, once half of the threads are at work): names that
  hang must not stop the others. The rest wait in line until their callers leave. What everybody has left keeps its
  thread until the system's resolver gives up.
- A thread per job and none between jobs, so that nothing is left behind. Where no thread can be started (the
  interpreter ends, or a limit was reached), the caller does the job itself and waits as long as it takes.
- The threads are those of `_thread`: `Thread.start()` waits for locks of Python code, which a signal handler that
  interrupts it would wait for as well.
- A crew changes under its `Exclusion`. A job that comes from inside it, or from a finaliser in one of its threads, gets
  a thread of its own and is not shared: it must not wait for what it interrupts.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from _thread import get_ident
from collections.abc import Callable, Hashable
from contextlib import suppress
from functools import partial
from typing import Final, Generic, Protocol, TypeAlias, TypeVar

from .exclusion import Exclusion
from .faults import Fault, dial_fault
from .loading import descriptors_left, has_thread, out_of_descriptors

T = TypeVar("T")

#: What `socket.socket(family)` and `connect(address)` need.
Address: TypeAlias = tuple[socket.AddressFamily, tuple[str, int] | tuple[str, int, int, int]]
Addresses: TypeAlias = tuple[Address, ...]

MAX_THREADS: Final = 16
MAX_PER_HOST: Final = 2


class Ringable(Protocol):
    def ring(self) -> None: ...


class Job(Generic[T]):
    """Something that is being found out. Given to `start` or `Crew.join`; wait on the bell until `done`, then
    `value()`. With `leave`, the value is for one caller, and `leave` gets one that nobody took. Of one `group` at most
    `MAX_PER_HOST` run in a crew at once; None is of no group.
    """

    __slots__ = ("_fault", "_found", "_leave", "_work", "bells", "crew", "done", "group", "key", "what")

    def __init__(
        self,
        key: Hashable,
        what: str,
        work: Callable[[], T],
        leave: Callable[[T], None] | None = None,
        group: Hashable = None,
    ) -> None:
        self.key = key
        self.what = what
        self.group = group
        self.done = False
        #: One for each caller that waits. Callers remove theirs at any time, in one operation of C.
        self.bells: list[Ringable] = []
        self.crew: Crew | None = None
        self._work = work
        self._leave = leave
        #: The value. Popping it is one operation of C, so exactly one of `value` and `drop` gets it.
        self._found: list[T] = []
        self._fault: Fault | None = None

    @classmethod
    def of(cls, value: T) -> Job[T]:
        """A job that is done."""
        job = cls(None, "", lambda: value)
        job.run()
        job.done = True
        return job

    def value(self) -> T:
        """What was found out. Raises the `Fault` that came instead."""
        if self._fault is not None:
            raise self._fault
        return self._found[0] if self._leave is None else self._found.pop()

    def unwatch(self, bell: Ringable) -> None:
        """The caller waits no more, whether it took the value or not. Idempotent."""
        with suppress(ValueError):
            self.bells.remove(bell)
        if not self.bells:
            if self.done:
                self.drop()
            elif self.crew is not None:
                self.crew.forget(self)

    def run(self) -> None:
        try:
            self._found.append(self._work())
        except Fault as fault:
            self._fault = fault
        except Exception as error:  # noqa: BLE001  a thread has nobody else to tell
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        self._fault = Fault("too_many_files" if out_of_descriptors(error) else "local", f"{self.what}: {error}", error)

    def tell(self) -> None:
        """It is done: tell who waits. Whoever leaves meanwhile sees `done`, or is seen to have left."""
        self.done = True
        for bell in tuple(self.bells):
            bell.ring()
        if not self.bells:
            self.drop()

    def drop(self) -> None:
        """Nobody will take the value: let go of it."""
        if self._leave is not None:
            try:
                value = self._found.pop()
            except IndexError:
                return
            self._leave(value)


def start(job: Job[T], bell: Ringable) -> Job[T]:
    """Put a job to work in a thread of its own. The bell rings when it is done. Next: wait until `done`, take
    `value()`, and `unwatch` in any case. Where no thread can be started it is done already.
    """
    job.bells.append(bell)
    if not has_thread(_labour, _any(job), None):
        _here(job)
    return job


class Crew:
    """Threads for jobs that are shared by key: at most `size` at once; None: as many as there are jobs."""

    def __init__(self, size: int | None) -> None:
        self.size = size
        self.begin()

    def begin(self) -> None:
        """No jobs. Also in the child of a fork, where the threads are not."""
        self._inside = Exclusion()
        #: What can be shared, in line, and in threads. Each change of one of them leaves all in order.
        self._wanted: dict[Hashable, Job[object]] = {}
        self._queue: dict[Job[object], None] = {}
        self._working: set[Job[object]] = set()

    def join(self, job: Job[T], bell: Ringable) -> Job[T]:
        """Put the job to work, or share the one with the same key that others wait for. See `start`."""
        inside, work = self._inside, _any(job)
        if inside.held() or get_ident() in _LABOURERS:
            return start(job, bell)
        shared = work
        try:
            with inside.lock:
                shared = self._enter(work, bell)
                inside.do_left()
            inside.settle()
        except BaseException:
            inside.let_go()
            for each in (work, self._wanted.get(job.key)):
                if each is not None:
                    each.unwatch(bell)
            raise
        if shared.crew is None:
            _here(shared)
        return shared  # type: ignore[return-value]  # equal keys are jobs of one kind

    def forget(self, job: Job[T]) -> None:
        """Everybody has left: it is not to be shared any more, and not to be begun."""
        self._inside.give(partial(self._forget, _any(job)))

    # -- under the lock ----------------------------------------------------------------------------------------------

    def _enter(self, job: Job[object], bell: Ringable) -> Job[object]:
        """The job to wait for. Without a crew: there is no thread for it."""
        known = self._wanted.get(job.key)
        if known is not None and known.bells:
            known.bells.append(bell)
            return known
        job.bells.append(bell)
        if self._room(job):
            try:
                self._working.add(job)
                if not has_thread(_labour, job, self):
                    self._working.discard(job)
                    return job
            except BaseException:
                self._working.discard(job)  # a thread that was started all the same takes its place again
                raise
        else:
            job.what += f", in line behind {len(self._working) + len(self._queue)} others,"
            self._queue[job] = None
        job.crew = self
        self._wanted[job.key] = job
        return job

    def _room(self, job: Job[object]) -> bool:
        if self.size is None:
            return True
        at_work = len(self._working)
        if job.group is not None and at_work:
            same = sum(other.group == job.group for other in self._working)
            if same >= (MAX_PER_HOST if at_work < self.size // 2 else 1):
                return False
        return at_work < self.size

    def _forget(self, job: Job[object]) -> None:
        if not job.bells:
            self._queue.pop(job, None)
            if self._wanted.get(job.key) is job:
                del self._wanted[job.key]

    def _ended(self, job: Job[object]) -> Job[object] | None:
        """The next job for its thread. One place became free, so at most one of those in line can be begun."""
        job.done = True
        self._working.discard(job)
        if self._wanted.get(job.key) is job:
            del self._wanted[job.key]
        for following in tuple(self._queue):
            if not following.bells:
                self._forget(following)  # its last caller was interrupted
            elif self._room(following):
                self._working.add(following)
                del self._queue[following]
                return following
        return None

    # -- in the thread -----------------------------------------------------------------------------------------------

    def labour(self, job: Job[object]) -> None:
        self._inside.give(partial(self._working.add, job))
        following: Job[object] | None = job
        while following is not None:
            job, following = following, None
            _toil(job)
            try:
                following = self._inside.do(partial(self._ended, job))
            finally:
                job.tell()


def _any(job: Job[T]) -> Job[object]:
    return job  # type: ignore[return-value]  # who keeps jobs looks at no value


def _here(job: Job[T]) -> None:
    """In the caller's thread. Nobody shares it, so an interruption leaves nobody waiting."""
    job.run()
    job.done = True


def _labour(job: Job[object], crew: Crew | None) -> None:
    """A thread's life. Debuggers and coverage follow it as they follow a `threading.Thread`."""
    _LABOURERS.add(get_ident())
    try:
        if (trace := threading.gettrace()) is not None:
            sys.settrace(trace)
        if (profile := threading.getprofile()) is not None:
            sys.setprofile(profile)
        if crew is None:
            _toil(job)
            job.tell()
        else:
            crew.labour(job)
    finally:
        _LABOURERS.discard(get_ident())


def _toil(job: Job[object]) -> None:
    try:
        job.run()
    except BaseException as error:  # noqa: BLE001  SystemExit and its like: whoever waits is to hear of it
        job.fail(error)


#: The threads that work for crews.
_LABOURERS: Final[set[int]] = set()
_RESOLVERS: Final = Crew(MAX_THREADS)
#: Work that ends by itself, and that many may need at once: TLS contexts.
OTHERS: Final = Crew(None)


def resolve(host: str, port: int, bell: Ringable) -> Job[Addresses]:
    """The addresses of a host, families alternating. A literal is its own answer and needs no thread."""
    literal = _literal(host, port)
    if literal is not None:
        return Job.of((literal,))
    return _RESOLVERS.join(Job((host, port), f"lookup of {host}", partial(_look_up, host, port), group=host), bell)


def _literal(host: str, port: int) -> Address | None:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except (OSError, ValueError):
            continue
        return (family, (host, port)) if family == socket.AF_INET else (family, (host, port, 0, 0))
    return None


def _look_up(host: str, port: int) -> Addresses:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    except socket.gaierror as error:
        if not descriptors_left(2):  # the resolver then says that there is no such name
            raise Fault("too_many_files", f"lookup of {host}", error) from None
        raise _lookup_fault(host, error) from None
    except OSError as error:
        raise dial_fault(error, f"lookup of {host}") from None
    except UnicodeError as error:
        raise Fault("dns_failed", f"{host}: not a host name ({error})", error) from None
    if not found:
        raise Fault("dns_failed", f"{host}: the resolver gave no address")
    # Only TCP over IPv4 and IPv6 was asked for: their addresses have no bytes in them.
    return alternating([(family, address) for family, _, _, _, address in found])  # type: ignore[misc]


def _lookup_fault(host: str, error: socket.gaierror) -> Fault:
    try:
        socket.socket().close()
    except OSError as lack:  # a resolver that can open nothing says that there is no such name
        return dial_fault(lack, f"lookup of {host}")
    temporary = error.errno == socket.EAI_AGAIN
    return Fault("dns_temporary" if temporary else "dns_failed", f"{host}: {error.strerror or error}", error)


def alternating(addresses: list[Address]) -> Addresses:
    """The resolver's order, with the families taking turns (RFC 8305 section 4), so that a dead one costs one try."""
    first = [address for address in addresses if address[0] == addresses[0][0]]
    second = [address for address in addresses if address[0] != addresses[0][0]]
    mixed: list[Address] = []
    for position in range(max(len(first), len(second))):
        mixed += first[position : position + 1] + second[position : position + 1]
    return tuple(dict.fromkeys(mixed))


def _begin_anew() -> None:
    _LABOURERS.clear()
    _RESOLVERS.begin()
    OTHERS.begin()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
