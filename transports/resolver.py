"""Name lookups in daemon threads, which nobody has to wait for.

`getaddrinfo` cannot be interrupted. In an event loop's executor a hanging lookup delays the end of `asyncio.run`
until the resolver gives up; here the caller leaves at its deadline and the thread ends when the lookup does.

Rules of this file:
- One lookup per name at a time: callers that ask for the same name meanwhile share the answer. Nothing is cached.
- At most `MAX_THREADS` lookups run, `MAX_PER_HOST` of one host (one, once half of the threads are at work): names that
  hang must not block the others. The rest wait in line until their callers leave. A lookup that all its callers have
  left keeps its thread until the system's resolver gives up.
- One thread per job, and no idle threads. Where no thread can be started (the interpreter is ending, or a limit was
  reached), the caller does the job itself and waits as long as it takes.
- Threads are started by `_thread`: `Thread.start()` takes locks of Python code, for which a signal handler that
  interrupts it would wait in vain.
- `DaemonThreads` change under their `Exclusion`. A job that comes from inside it, or from a finaliser in one of the
  threads, gets a thread of its own and is not shared: it must not wait for what it interrupts.
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

from .exclusion import FOREVER, Busy, Exclusion
from .faults import Fault, dial_fault
from .loading import descriptors_left, has_thread, out_of_descriptors

T = TypeVar("T")

#: What `socket.socket(family)` and `connect(address)` need.
Address: TypeAlias = tuple[socket.AddressFamily, tuple[str, int] | tuple[str, int, int, int]]
Addresses: TypeAlias = tuple[Address, ...]

MAX_THREADS: Final = 16
MAX_PER_HOST: Final = 2


class Waker(Protocol):
    """What tells a caller that waits."""

    def wake(self) -> None: ...


class ThreadJob(Generic[T]):
    """A job for a thread: pass it to `start` or `DaemonThreads.join`, wait on the wakeup until `done`, take `value()`.

    With `discard`, the value is for one caller, and `discard` is called with one that nobody took. Of each `group`, at
    most `MAX_PER_HOST` jobs run at once; None is no group.
    """

    __slots__ = ("_discard", "_fault", "_found", "_work", "done", "group", "key", "threads", "wakeups", "what")

    def __init__(
        self,
        key: Hashable,
        what: str,
        work: Callable[[], T],
        discard: Callable[[T], None] | None = None,
        group: Hashable = None,
    ) -> None:
        self.key = key
        self.what = what
        self.group = group
        self.done = False
        #: One for each caller that waits. Callers remove theirs at any time, in one operation of C.
        self.wakeups: list[Waker] = []
        self.threads: DaemonThreads | None = None
        self._work = work
        self._discard = discard
        #: The value. Popping it is one operation of C, so exactly one of `value` and `drop` gets it.
        self._found: list[T] = []
        self._fault: Fault | None = None

    @classmethod
    def of(cls, value: T) -> ThreadJob[T]:
        """A job that is done."""
        job = cls(None, "", lambda: value)
        job.run()
        job.done = True
        return job

    def value(self) -> T:
        """The result of the work. Raises its `Fault` if it failed."""
        if self._fault is not None:
            raise self._fault
        return self._found[0] if self._discard is None else self._found.pop()

    def unwatch(self, wakeup: Waker) -> None:
        """The caller no longer waits, whether it took the value or not. Idempotent."""
        with suppress(ValueError):
            self.wakeups.remove(wakeup)
        if not self.wakeups:
            if self.done:
                self.drop()
            elif self.threads is not None:
                self.threads.forget(self)

    def run(self) -> None:
        try:
            self._found.append(self._work())
        except Fault as fault:
            self._fault = fault
        except Exception as error:  # noqa: BLE001  no one else would see it in a thread
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        self._fault = Fault("too_many_files" if out_of_descriptors(error) else "local", f"{self.what}: {error}", error)

    def tell(self) -> None:
        """It is done: wake those who wait. One that leaves meanwhile sees `done`, or is seen to have left."""
        self.done = True
        for wakeup in tuple(self.wakeups):
            wakeup.wake()
        if not self.wakeups:
            self.drop()

    def drop(self) -> None:
        """Nobody will take the value: let go of it."""
        if self._discard is not None:
            try:
                value = self._found.pop()
            except IndexError:
                return
            self._discard(value)


def start(job: ThreadJob[T], wakeup: Waker) -> ThreadJob[T]:
    """Run a job in a thread of its own; the wakeup is woken when it is done. Next: wait until `done`, take `value()`,
    and `unwatch` in any case. Where no thread can be started, it is done on return.
    """
    job.wakeups.append(wakeup)
    if not has_thread(_daemon_thread, _any(job), None):
        _here(job)
    return job


class DaemonThreads:
    """Threads for jobs that callers share by key; at most `size` threads at once, None: as many as there are jobs."""

    def __init__(self, size: int | None) -> None:
        self.size = size
        self.begin()

    def begin(self) -> None:
        """Begin without jobs. Also called in a forked child, which has none of the threads."""
        self._inside = Exclusion()
        #: The jobs that can be shared, wait in line, and run. Each single change leaves all three consistent.
        self._wanted: dict[Hashable, ThreadJob[object]] = {}
        self._queue: dict[ThreadJob[object], None] = {}
        self._working: set[ThreadJob[object]] = set()

    def join(self, job: ThreadJob[T], wakeup: Waker) -> ThreadJob[T]:
        """Run the job, or share one with the same key that others wait for. See `start`."""
        inside, work = self._inside, _any(job)
        if inside.held() or get_ident() in _DAEMON_THREADS:
            return start(job, wakeup)
        shared = work
        try:
            shared = inside.do(partial(self._enter, work, wakeup))
        except Busy:
            return start(job, wakeup)
        except BaseException:
            for each in (work, self._wanted.get(job.key)):
                if each is not None:
                    each.unwatch(wakeup)
            raise
        if shared.threads is None:
            _here(shared)
        return shared  # type: ignore[return-value]  # equal keys are jobs of one kind

    def forget(self, job: ThreadJob[T]) -> None:
        """All callers have left: it is no longer to be shared, nor to be begun."""
        self._inside.give(partial(self._forget, _any(job)))

    # -- under the lock ----------------------------------------------------------------------------------------------

    def _enter(self, job: ThreadJob[object], wakeup: Waker) -> ThreadJob[object]:
        """The job to wait for. If its `threads` is None, there is no thread for it."""
        known = self._wanted.get(job.key)
        if known is not None and known.wakeups:
            known.wakeups.append(wakeup)
            return known
        job.wakeups.append(wakeup)
        if self._room(job):
            try:
                self._working.add(job)
                if not has_thread(_daemon_thread, job, self):
                    self._working.discard(job)
                    return job
            except BaseException:
                self._working.discard(job)  # a thread that was started nevertheless adds it again
                raise
        else:
            job.what += f", queued behind {len(self._working) + len(self._queue)} others,"
            self._queue[job] = None
        job.threads = self
        self._wanted[job.key] = job
        return job

    def _room(self, job: ThreadJob[object]) -> bool:
        if self.size is None:
            return True
        at_work = len(self._working)
        if job.group is not None and at_work:
            same = sum(other.group == job.group for other in self._working)
            if same >= (MAX_PER_HOST if at_work < self.size // 2 else 1):
                return False
        return at_work < self.size

    def _forget(self, job: ThreadJob[object]) -> None:
        if not job.wakeups:
            self._queue.pop(job, None)
            if self._wanted.get(job.key) is job:
                del self._wanted[job.key]

    def _ended(self, job: ThreadJob[object]) -> ThreadJob[object] | None:
        """The next job for its thread. One place became free, so at most one of those in line can be begun."""
        job.done = True
        self._working.discard(job)
        if self._wanted.get(job.key) is job:
            del self._wanted[job.key]
        for following in tuple(self._queue):
            if not following.wakeups:
                self._forget(following)  # its last caller was interrupted
            elif self._room(following):
                self._working.add(following)
                del self._queue[following]
                return following
        return None

    # -- in the thread -----------------------------------------------------------------------------------------------

    def run(self, job: ThreadJob[object]) -> None:
        self._inside.give(partial(self._working.add, job))
        following: ThreadJob[object] | None = job
        while following is not None:
            job, following = following, None
            _run_job(job)
            job.tell()
            following = self._inside.do(partial(self._ended, job), FOREVER)


def _any(job: ThreadJob[T]) -> ThreadJob[object]:
    return job  # type: ignore[return-value]  # those who keep jobs look at no value


def _here(job: ThreadJob[T]) -> None:
    """Run it in the caller's thread. Nobody shares it, so an interruption leaves nobody waiting."""
    job.run()
    job.done = True


def _daemon_thread(job: ThreadJob[object], threads: DaemonThreads | None) -> None:
    """What a thread runs. Debuggers and coverage see it as they see a `threading.Thread`."""
    _DAEMON_THREADS.add(get_ident())
    try:
        if (trace := threading.gettrace()) is not None:
            sys.settrace(trace)
        if (profile := threading.getprofile()) is not None:
            sys.setprofile(profile)
        if threads is None:
            _run_job(job)
            job.tell()
        else:
            threads.run(job)
    finally:
        _DAEMON_THREADS.discard(get_ident())


def _run_job(job: ThreadJob[object]) -> None:
    try:
        job.run()
    except BaseException as error:  # noqa: BLE001  SystemExit and the like: those who wait must learn of it
        job.fail(error)


#: The identifiers of all threads of `DaemonThreads`.
_DAEMON_THREADS: Final[set[int]] = set()
_RESOLVERS: Final = DaemonThreads(MAX_THREADS)
#: For work that ends by itself and that many may need at once: TLS contexts.
OTHERS: Final = DaemonThreads(None)


def resolve(host: str, port: int, wakeup: Waker) -> ThreadJob[Addresses]:
    """The addresses of a host, families alternating. An IP address is its own answer and needs no thread."""
    literal = _literal(host, port)
    if literal is not None:
        return ThreadJob.of((literal,))
    return _RESOLVERS.join(
        ThreadJob((host, port), f"lookup of {host}", partial(_look_up, host, port), group=host), wakeup
    )


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
        if not descriptors_left(2):  # the resolver then claims that there is no such name
            raise Fault("too_many_files", f"lookup of {host}", error) from None
        raise _lookup_fault(host, error) from None
    except OSError as error:
        raise dial_fault(error, f"lookup of {host}") from None
    except UnicodeError as error:
        raise Fault("dns_failed", f"{host}: not a host name ({error})", error) from None
    if not found:
        raise Fault("dns_failed", f"{host}: the resolver returned no address")
    # Only TCP over IPv4 and IPv6 was asked for: their addresses have no bytes in them.
    return alternating([(family, address) for family, _, _, _, address in found])  # type: ignore[misc]


def _lookup_fault(host: str, error: socket.gaierror) -> Fault:
    try:
        socket.socket().close()
    except OSError as lack:  # a resolver that cannot open a socket claims that there is no such name
        return dial_fault(lack, f"lookup of {host}")
    temporary = error.errno == socket.EAI_AGAIN
    return Fault("dns_temporary" if temporary else "dns_failed", f"{host}: {error.strerror or error}", error)


def alternating(addresses: list[Address]) -> Addresses:
    """The resolver's order, families alternating (RFC 8305 section 4), so that a dead family costs one attempt."""
    first = [address for address in addresses if address[0] == addresses[0][0]]
    second = [address for address in addresses if address[0] != addresses[0][0]]
    mixed: list[Address] = []
    for position in range(max(len(first), len(second))):
        mixed += first[position : position + 1] + second[position : position + 1]
    return tuple(dict.fromkeys(mixed))


def _begin_again() -> None:
    _DAEMON_THREADS.clear()
    _RESOLVERS.begin()
    OTHERS.begin()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_again)
