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
from transports.httpcore_sync import Bell
from transports.resolver import Crew, Job, start

SIZE = 2


def ask(join: Callable[[Job[str], Any], Job[str]], key: object, value: str = "answer") -> None:
    """What a whole call does: put to work or share, wait, take, leave."""
    bell = Bell()
    job = join(Job(key, "job", lambda: value), bell)
    try:
        if not job.done:
            bell.wait(monotonic() + 10.0)
        assert job.value() == value
    finally:
        job.unwatch(bell)


def all_places_are_free(crew: Crew) -> None:
    """Nothing is kept of what is over, and as many jobs run at once as ever."""
    assert not crew._inside.held()
    assert passes_within(5.0, lambda: not crew._working)
    gate = threading.Event()
    begun = threading.Barrier(SIZE + 1)

    def work() -> str:
        begun.wait(10.0)
        gate.wait(10.0)
        return "full"

    bells = [Bell() for _ in range(SIZE)]
    jobs = [crew.join(Job(object(), "full", work), bell) for bell in bells]
    begun.wait(10.0)
    assert len(crew._working) == SIZE
    late = Bell()
    waiting = crew.join(Job("late", "late", lambda: "late"), late)
    gate.set()
    for job, bell in zip([*jobs, waiting], [*bells, late], strict=True):
        bell.wait(monotonic() + 10.0)
        assert job.value()
        job.unwatch(bell)
    assert passes_within(5.0, lambda: not crew._working)
    assert not crew._queue
    assert not crew._wanted


# -- handlers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("other", ["the same name", "another name", "in a thread of its own"])
def test_a_handler_asks_at_any_bytecode_of_another_question(other: str) -> None:
    def make() -> Scenario:
        crew = Crew(SIZE)
        act = {
            "the same name": lambda: ask(crew.join, "name"),
            "another name": lambda: ask(crew.join, "other"),
            "in a thread of its own": lambda: ask(start, "name"),
        }[other]
        return (lambda: ask(crew.join, "name")), act, lambda: all_places_are_free(crew)

    assert at_every_bytecode(make) > 100


def test_a_handler_asks_while_the_thread_starts_a_thread() -> None:
    """Those of the standard library included: `Thread.start()` gets stuck in its own."""

    def make() -> Scenario:
        crew = Crew(SIZE)
        bell = Bell()
        job = Job("name", "job", lambda: "answer")
        return (lambda: crew.join(job, bell)), (lambda: ask(crew.join, "name")), lambda: ask(crew.join, "other")

    assert at_every_bytecode(make, everywhere=True) > 100


def test_a_handler_leaves_at_any_bytecode_of_a_question_or_of_leaving() -> None:
    """In line behind two that hang, so that leaving changes what is shared."""

    def make(leave: bool) -> Scenario:
        crew, gate = Crew(SIZE), threading.Event()
        hanging = [(Job(n, "hanging", lambda: gate.wait(10.0)), Bell()) for n in range(SIZE)]
        for job, bell in hanging:
            crew.join(job, bell)
        mine, theirs, ours = Bell(), Bell(), Job("name", "job", lambda: True)
        shared = crew.join(ours, theirs)
        if leave:
            crew.join(Job("name", "job", lambda: True), mine)

        def run() -> None:
            if leave:
                shared.unwatch(mine)
            else:
                crew.join(Job("name", "job", lambda: True), mine).unwatch(mine)

        def check() -> None:
            assert not crew._queue
            assert "name" not in crew._wanted
            for job, bell in hanging:
                job.unwatch(bell)
            gate.set()
            all_places_are_free(crew)

        return run, lambda: shared.unwatch(theirs), check

    assert at_every_bytecode(lambda: make(True)) > 10
    assert at_every_bytecode(lambda: make(False)) > 50


@pytest.mark.parametrize("name", ["first", "second", "other"])
def test_a_finaliser_asks_at_any_bytecode_of_a_thread_at_work(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread, two jobs: a finaliser that runs in it must not wait for either."""

    def finalise(crew: Crew) -> None:
        # Before the thread is known as one of ours, the first line of its life, a finaliser would wait for its deadline.
        if threading.get_ident() in resolver._LABOURERS:
            ask(crew.join, name)

    def make() -> Scenario:
        begun: list[Any] = []
        crew, bells = Crew(1), [Bell(), Bell()]
        with monkeypatch.context() as patched:
            patched.setattr(loading, "start_new_thread", lambda *call: begun.append(call))
            jobs = [
                crew.join(Job(key, "job", lambda key=key: key), bell) for key, bell in zip(names, bells, strict=True)
            ]
        ((labour, arguments),) = begun

        def check() -> None:
            for job, bell, key in zip(jobs, bells, names, strict=True):
                bell.wait(monotonic() + 10.0)
                assert job.value() == key
                job.unwatch(bell)
            assert not crew._working
            assert not crew._queue
            assert not crew._wanted
            ask(crew.join, "first")

        return (lambda: labour(*arguments)), (lambda: finalise(crew)), check

    names = ("first", "second")
    assert at_every_bytecode(make) > 100


def test_finalisers_ask_while_eight_threads_ask() -> None:
    crew = Crew(SIZE)
    rounds = [0]

    def caller(number: int) -> None:
        for turn in range(40):
            leave_garbage()
            ask(crew.join, (number + turn) % 5)
            rounds[0] += 1

    with finalisers_everywhere(lambda: ask(crew.join, "finaliser")) as leave_garbage:
        threads = [threading.Thread(target=caller, args=(number,), daemon=True) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60.0)
        assert not any(thread.is_alive() for thread in threads)
    assert rounds[0] == 8 * 40
    watched(lambda: all_places_are_free(crew))


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this platform has no interval timers")
def test_signals_ask_while_the_main_thread_asks() -> None:
    crew, asked = Crew(SIZE), [0]

    def handler(*_: object) -> None:
        asked[0] += 1
        ask(crew.join, "name")

    before = signal.signal(signal.SIGALRM, handler)
    try:
        until = monotonic() + 50.0
        while asked[0] < 500:
            assert monotonic() < until, f"only {asked[0]} signals came"
            signal.setitimer(signal.ITIMER_REAL, 0.0003)
            ask(crew.join, "name")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
    all_places_are_free(crew)


# -- Ctrl-C -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("busy", [False, True], ids=["a place is free", "in line"])
def test_ctrl_c_at_any_bytecode_of_a_question_loses_no_place(busy: bool) -> None:
    def make() -> tuple[Callable[[], object], Callable[[], None]]:
        crew, gate = Crew(SIZE), threading.Event()
        others = [(Job(n, "other", lambda: gate.wait(10.0)), Bell()) for n in range(SIZE if busy else 0)]
        for job, bell in others:
            crew.join(job, bell)

        def run() -> None:
            if busy:
                mine = Bell()
                crew.join(Job("name", "job", lambda: True), mine).unwatch(mine)
            else:
                ask(crew.join, "name")

        def check() -> None:
            gate.set()
            assert passes_within(5.0, lambda: all(job.done for job, _ in others))
            for job, bell in others:
                job.unwatch(bell)
            ask(crew.join, "name")
            all_places_are_free(crew)

        return run, check

    assert ctrl_c_at_every_bytecode(make) > 100


def test_ctrl_c_at_any_bytecode_where_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    def make() -> tuple[Callable[[], object], Callable[[], None]]:
        crew = Crew(SIZE)
        monkeypatch.setattr(loading, "start_new_thread", refuse)

        def check() -> None:
            ask(crew.join, "name")
            assert not crew._working
            assert not crew._queue
            assert not crew._wanted

        return (lambda: ask(crew.join, "name")), check

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
            bell = Bell()
            job = Job(None, "job", work, left.append)
            try:
                start(job, bell)
                bell.wait(monotonic() + 10.0)
                taken.append(job.value())
            finally:
                job.unwatch(bell)

        def is_accounted_for(connection: Connection | None) -> bool:
            return connection is None or (connection in taken) + (connection in left) == 1

        def check() -> None:
            assert passes_within(5.0, lambda: all(is_accounted_for(each()) for each in made))

        return run, check

    assert ctrl_c_at_every_bytecode(make) > 50
