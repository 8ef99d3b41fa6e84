"""The threads for lookups and certificates: interrupted anywhere, nothing waits for itself and no place is lost."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from time import monotonic
from typing import Any
from weakref import ref

import pytest

from tests.interrupts.kit import (
    Scenario,
    at_every_bytecode,
    ctrl_c_at_every_bytecode,
    finalisers_everywhere,
    watched,
)
from tests.transports.modes import passes_within
from transports import loading, resolver
from transports.httpcore_sync import BlockingWakeup
from transports.resolver import DaemonThreads, ThreadJob, start

SIZE = 2


def ask(join: Callable[[ThreadJob[str], Any], ThreadJob[str]], key: object, value: str = "answer") -> None:
    """What a whole call does: put to work or share, wait, take, leave."""
    wakeup = BlockingWakeup()
    job = join(ThreadJob(key, "job", lambda: value), wakeup)
    try:
        if not job.done:
            wakeup.wait(monotonic() + 10.0)
        assert job.value() == value
    finally:
        job.unwatch(wakeup)


def all_places_are_free(lookups: DaemonThreads) -> None:
    """Nothing is kept of what is over, and as many jobs run at once as ever."""
    assert not lookups._inside.held()
    assert passes_within(5.0, lambda: not lookups._working)
    gate = threading.Event()
    begun = threading.Barrier(SIZE + 1)

    def work() -> str:
        begun.wait(10.0)
        gate.wait(10.0)
        return "full"

    wakeups = [BlockingWakeup() for _ in range(SIZE)]
    jobs = [lookups.join(ThreadJob(object(), "full", work), wakeup) for wakeup in wakeups]
    begun.wait(10.0)
    assert len(lookups._working) == SIZE
    late = BlockingWakeup()
    waiting = lookups.join(ThreadJob("late", "late", lambda: "late"), late)
    gate.set()
    for job, wakeup in zip([*jobs, waiting], [*wakeups, late], strict=True):
        wakeup.wait(monotonic() + 10.0)
        assert job.value()
        job.unwatch(wakeup)
    assert passes_within(5.0, lambda: not lookups._working)
    assert not lookups._queue
    assert not lookups._wanted


# -- handlers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("other", ["the same name", "another name", "in a thread of its own"])
def test_a_handler_asks_at_any_bytecode_of_another_question(other: str) -> None:
    def make() -> Scenario:
        lookups = DaemonThreads(SIZE)
        act = {
            "the same name": lambda: ask(lookups.join, "name"),
            "another name": lambda: ask(lookups.join, "other"),
            "in a thread of its own": lambda: ask(start, "name"),
        }[other]
        return (lambda: ask(lookups.join, "name")), act, lambda: all_places_are_free(lookups)

    assert at_every_bytecode(make) > 100


def test_a_handler_asks_while_the_thread_starts_a_thread() -> None:
    """Those of the standard library included: `Thread.start()` gets stuck in its own."""

    def make() -> Scenario:
        lookups = DaemonThreads(SIZE)
        wakeup = BlockingWakeup()
        job = ThreadJob("name", "job", lambda: "answer")
        return (
            (lambda: lookups.join(job, wakeup)),
            (lambda: ask(lookups.join, "name")),
            lambda: ask(lookups.join, "other"),
        )

    assert at_every_bytecode(make, everywhere=True) > 100


def test_a_handler_leaves_at_any_bytecode_of_a_question_or_of_leaving() -> None:
    """In line behind two that hang, so that leaving changes what is shared."""

    def make(leave: bool) -> Scenario:
        lookups, gate = DaemonThreads(SIZE), threading.Event()
        hanging = [(ThreadJob(n, "hanging", lambda: gate.wait(10.0)), BlockingWakeup()) for n in range(SIZE)]
        for job, wakeup in hanging:
            lookups.join(job, wakeup)
        mine, theirs, ours = BlockingWakeup(), BlockingWakeup(), ThreadJob("name", "job", lambda: True)
        shared = lookups.join(ours, theirs)
        if leave:
            lookups.join(ThreadJob("name", "job", lambda: True), mine)

        def run() -> None:
            if leave:
                shared.unwatch(mine)
            else:
                lookups.join(ThreadJob("name", "job", lambda: True), mine).unwatch(mine)

        def check() -> None:
            assert not lookups._queue
            assert "name" not in lookups._wanted
            for job, wakeup in hanging:
                job.unwatch(wakeup)
            gate.set()
            all_places_are_free(lookups)

        return run, lambda: shared.unwatch(theirs), check

    assert at_every_bytecode(lambda: make(True)) > 10
    assert at_every_bytecode(lambda: make(False)) > 50


@pytest.mark.parametrize("name", ["first", "second", "other"])
def test_a_finaliser_asks_at_any_bytecode_of_a_thread_at_work(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread, two jobs: a finaliser that runs in it must not wait for either."""

    def finalise(lookups: DaemonThreads) -> None:
        # Before the thread is known as one of ours, the first line of its life, a finaliser would wait for its deadline.
        if threading.get_ident() in resolver._DAEMON_THREADS:
            ask(lookups.join, name)

    def make() -> Scenario:
        begun: list[Any] = []
        lookups, wakeups = DaemonThreads(1), [BlockingWakeup(), BlockingWakeup()]
        with monkeypatch.context() as patched:
            patched.setattr(loading, "start_new_thread", lambda *call: begun.append(call))
            jobs = [
                lookups.join(ThreadJob(key, "job", lambda key=key: key), wakeup)
                for key, wakeup in zip(names, wakeups, strict=True)
            ]
        ((run, arguments),) = begun

        def check() -> None:
            for job, wakeup, key in zip(jobs, wakeups, names, strict=True):
                wakeup.wait(monotonic() + 10.0)
                assert job.value() == key
                job.unwatch(wakeup)
            assert not lookups._working
            assert not lookups._queue
            assert not lookups._wanted
            ask(lookups.join, "first")

        return (lambda: run(*arguments)), (lambda: finalise(lookups)), check

    names = ("first", "second")
    assert at_every_bytecode(make) > 100


def test_finalisers_ask_while_eight_threads_ask() -> None:
    lookups = DaemonThreads(SIZE)
    rounds = [0]

    def caller(number: int) -> None:
        for turn in range(40):
            leave_garbage()
            ask(lookups.join, (number + turn) % 5)
            rounds[0] += 1

    with finalisers_everywhere(lambda: ask(lookups.join, "finaliser")) as leave_garbage:
        threads = [threading.Thread(target=caller, args=(number,), daemon=True) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60.0)
        assert not any(thread.is_alive() for thread in threads)
    assert rounds[0] == 8 * 40
    watched(lambda: all_places_are_free(lookups))


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this platform has no interval timers")
def test_signals_ask_while_the_main_thread_asks() -> None:
    lookups, asked = DaemonThreads(SIZE), [0]

    def handler(*_: object) -> None:
        asked[0] += 1
        ask(lookups.join, "name")

    before = signal.signal(signal.SIGALRM, handler)
    try:
        until = monotonic() + 50.0
        while asked[0] < 500:
            assert monotonic() < until, f"only {asked[0]} signals came"
            signal.setitimer(signal.ITIMER_REAL, 0.0003)
            ask(lookups.join, "name")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
    all_places_are_free(lookups)


# -- Ctrl-C -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("busy", [False, True], ids=["a place is free", "in line"])
def test_ctrl_c_at_any_bytecode_of_a_question_loses_no_place(busy: bool) -> None:
    def make() -> tuple[Callable[[], object], Callable[[], None]]:
        lookups, gate = DaemonThreads(SIZE), threading.Event()
        others = [
            (ThreadJob(n, "other", lambda: gate.wait(10.0)), BlockingWakeup()) for n in range(SIZE if busy else 0)
        ]
        for job, wakeup in others:
            lookups.join(job, wakeup)

        def run() -> None:
            if busy:
                mine = BlockingWakeup()
                lookups.join(ThreadJob("name", "job", lambda: True), mine).unwatch(mine)
            else:
                ask(lookups.join, "name")

        def check() -> None:
            gate.set()
            assert passes_within(5.0, lambda: all(job.done for job, _ in others))
            for job, wakeup in others:
                job.unwatch(wakeup)
            ask(lookups.join, "name")
            all_places_are_free(lookups)

        return run, check

    assert ctrl_c_at_every_bytecode(make) > 100


def test_ctrl_c_at_any_bytecode_where_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    def make() -> tuple[Callable[[], object], Callable[[], None]]:
        lookups = DaemonThreads(SIZE)
        monkeypatch.setattr(loading, "start_new_thread", refuse)

        def check() -> None:
            ask(lookups.join, "name")
            assert not lookups._working
            assert not lookups._queue
            assert not lookups._wanted

        return (lambda: ask(lookups.join, "name")), check

    assert ctrl_c_at_every_bytecode(make) > 100


def test_a_connection_that_an_interrupted_caller_leaves_is_let_go_of() -> None:
    """Whatever the bytecode: it is taken, or given to `leave`, or nobody has it."""

    class Connection:
        pass

    def make() -> tuple[Callable[[], object], Callable[[], None]]:
        taken: list[Connection] = []
        left: list[Connection] = []
        made: list[ref[Connection]] = []

        def work() -> Connection:
            connection = Connection()
            made.append(ref(connection))
            return connection

        def run() -> None:
            wakeup = BlockingWakeup()
            job = ThreadJob(None, "job", work, left.append)
            try:
                start(job, wakeup)
                wakeup.wait(monotonic() + 10.0)
                taken.append(job.value())
            finally:
                job.unwatch(wakeup)

        def is_accounted_for(connection: Connection | None) -> bool:
            return connection is None or (connection in taken) + (connection in left) == 1

        def check() -> None:
            assert passes_within(5.0, lambda: all(is_accounted_for(each()) for each in made))

        return run, check

    assert ctrl_c_at_every_bytecode(make) > 50
