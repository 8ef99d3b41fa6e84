"""Names to addresses in daemon threads of our own, which nobody has to wait for.

`getaddrinfo` cannot be interrupted. In an event loop's executor a hanging one holds the end of `asyncio.run` until
the resolver gives up; here the caller leaves at its deadline and the thread ends when it ends.

Rules of this file:
- One lookup per name at a time: whoever asks for the same name meanwhile shares the answer. Nothing is remembered.
- At most `MAX_THREADS` at work; further jobs wait in line. A job that everybody left while it ran is stuck; when as
  many are stuck as there are threads, new ones fail at once.
- A thread per job and none between jobs, so that nothing is left behind. Threads are not a queue's: a stuck one is one.
"""

from __future__ import annotations

import os
import socket
import threading
from collections import deque
from collections.abc import Callable, Hashable
from functools import partial
from typing import Final, Generic, Protocol, TypeAlias, TypeVar

from .faults import Fault
from .loading import descriptors_left, out_of_descriptors

T = TypeVar("T")

#: What `socket.socket(family)` and `connect(address)` need.
Address: TypeAlias = tuple[socket.AddressFamily, tuple[str, int] | tuple[str, int, int, int]]
Addresses: TypeAlias = tuple[Address, ...]

MAX_THREADS: Final = 16


class Ringable(Protocol):
    def ring(self) -> None: ...


class Job(Generic[T]):
    """Something that is being found out. Given to `Crew.join`; wait on the bell until `done`, then `value()`."""

    __slots__ = ("_fault", "_leave", "_value", "_work", "bells", "crew", "done", "key", "orphan", "taken", "what")

    def __init__(
        self, key: Hashable, what: str, work: Callable[[], T], leave: Callable[[T], None] | None = None
    ) -> None:
        self.key = key
        self.what = what
        self.done = False
        self.taken = False
        #: Everybody has left while it ran.
        self.orphan = False
        self.bells: list[Ringable] = []
        self.crew: Crew | None = None
        self._work = work
        self._leave = leave
        self._value: T | None = None
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
        self.taken = True
        if self._fault is not None:
            raise self._fault
        return self._value  # type: ignore[return-value]  # done and no fault: there is one, possibly None itself

    def unwatch(self, bell: Ringable) -> None:
        """The caller waits no more, whether it took the value or not. Idempotent."""
        if self.crew is not None:
            self.crew.leave(self, bell)

    def run(self) -> None:
        """In the thread."""
        try:
            self._value = self._work()
        except Fault as fault:
            self._fault = fault
        except Exception as error:  # noqa: BLE001  the thread has nobody else to tell
            self.fail(error)

    def fail(self, error: Exception) -> None:
        self._fault = Fault("too_many_files" if out_of_descriptors(error) else "local", f"{self.what}: {error}", error)

    def drop(self) -> None:
        """Nobody will take the value: let go of it."""
        leave, value = self._leave, self._value
        if leave is not None and value is not None and not self.taken:
            self._leave = self._value = None
            leave(value)


class Crew:
    """Daemon threads for jobs: at most `size` at once; None: as many as there are jobs, each ending by itself."""

    def __init__(self, size: int | None) -> None:
        self.size = size
        self.begin()

    def begin(self) -> None:
        """No jobs. Also in the child of a fork, where the threads are not."""
        self._lock = threading.Lock()
        self._wanted: dict[Hashable, Job[object]] = {}
        self._queue: deque[Job[object]] = deque()
        self._running = 0
        self._stuck = 0

    def join(self, job: Job[T], bell: Ringable) -> Job[T]:
        """Put the job to work, or share the one with the same key that others wait for. The bell rings when it is
        done. Next: wait until `done`, take `value()`, and `unwatch` in any case.
        """
        work: Job[object] = job  # type: ignore[assignment]  # a crew looks at no value
        with self._lock:
            known = self._wanted.get(job.key)
            if known is not None:
                known.bells.append(bell)
                return known  # type: ignore[return-value]  # equal keys are jobs of one kind
            if self.size is not None and self._stuck >= self.size:
                raise Fault("dns_temporary", f"{self._stuck} earlier lookups still hang in the system's resolver")
            job.crew = self
            job.bells.append(bell)
            self._wanted[job.key] = work
            if self.size is not None and self._running >= self.size:
                self._queue.append(work)
                return job
            self._running += 1
        self._start(work)
        return job

    def leave(self, job: Job[T], bell: Ringable) -> None:
        work: Job[object] = job  # type: ignore[assignment]
        with self._lock:
            if bell in job.bells:
                job.bells.remove(bell)
            if job.bells or job.orphan:
                return
            if not job.done:
                if self._wanted.get(job.key) is work:
                    del self._wanted[job.key]
                if work in self._queue:
                    self._queue.remove(work)
                else:
                    job.orphan = True
                    self._stuck += 1
                return
        job.drop()

    def _start(self, job: Job[object]) -> None:
        thread = threading.Thread(target=self._labour, args=(job,), name=f"cloud-llm {job.what}", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # no thread to be had
            job.fail(error)
            self._finish(job)

    def _labour(self, first: Job[object]) -> None:
        job: Job[object] | None = first
        while job is not None:
            job.run()
            job = self._finish(job)

    def _finish(self, job: Job[object]) -> Job[object] | None:
        """Tell who waits; the next job, if one is in line."""
        with self._lock:
            job.done = True
            bells = tuple(job.bells)
            if self._wanted.get(job.key) is job:
                del self._wanted[job.key]
            self._stuck -= job.orphan
            following = self._queue.popleft() if self._queue else None
            self._running -= following is None
        for bell in bells:
            bell.ring()
        if not bells:
            job.drop()
        return following


_RESOLVERS: Final = Crew(MAX_THREADS)
#: Work that ends by itself: TLS contexts, blocking dials.
OTHERS: Final = Crew(None)


def resolve(host: str, port: int, bell: Ringable) -> Job[Addresses]:
    """The addresses of a host, families alternating. A literal is its own answer and needs no thread."""
    literal = _literal(host, port)
    if literal is not None:
        return Job.of((literal,))
    return _RESOLVERS.join(Job((host, port), f"lookup of {host}", partial(_look_up, host, port)), bell)


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
        temporary = error.errno == socket.EAI_AGAIN
        raise Fault(
            "dns_temporary" if temporary else "dns_failed", f"{host}: {error.strerror or error}", error
        ) from None
    except UnicodeError as error:
        raise Fault("dns_failed", f"{host}: not a host name ({error})", error) from None
    # Only TCP over IPv4 and IPv6 was asked for: their addresses have no bytes in them.
    return alternating([(family, address) for family, _, _, _, address in found])  # type: ignore[misc]


def alternating(addresses: list[Address]) -> Addresses:
    """The resolver's order, with the families taking turns (RFC 8305 section 4), so that a dead one costs one try."""
    first = [address for address in addresses if address[0] == addresses[0][0]]
    second = [address for address in addresses if address[0] != addresses[0][0]]
    mixed: list[Address] = []
    for position in range(max(len(first), len(second))):
        mixed += first[position : position + 1] + second[position : position + 1]
    return tuple(dict.fromkeys(mixed))


def _begin_anew() -> None:
    _RESOLVERS.begin()
    OTHERS.begin()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
