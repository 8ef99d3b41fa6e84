"""Downloads that are shared: a leader that is interrupted anywhere leaves no follower waiting, and waits for no one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
import trio

from cloud.llm.single_flight import AsyncPulls, SyncPulls
from sans_io.chat.events import PullProgress
from sans_io.chat.response import ChatResponse
from sans_io.errors import LLMStreamError
from sans_io.policy.deadline import Timers
from tests.interrupts.kit import (
    Scenario,
    Stepped,
    at_every_bytecode,
    ctrl_c_at_every_bytecode,
    finalisers_everywhere,
    watched,
)
from tests.transports.modes import passes_within

NAME = ("http://h.example", "model:latest")
ASKING = SimpleNamespace(
    timers=Timers(total=None, first_token=60.0, idle=60.0), operation=SimpleNamespace(provider="ollama", model=NAME[1])
)


#: Between making a coroutine and awaiting it there are bytecodes too.
BETWEEN = pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")


class Stop(BaseException):
    """As a cancellation is: no `Exception`."""


class Download:
    """A call and its pump. `when_begun` is called when it has a leader."""

    def __init__(self, when_begun: Callable[[], object] = lambda: None) -> None:
        self.begun = 0
        self.closed = 0
        self._when_begun = when_begun

    def begin(self) -> Any:
        self.begun += 1
        self._when_begun()
        steps = iter([[PullProgress("pulling", completed=each)] for each in range(2)])
        return SimpleNamespace(response=ChatResponse(), error=None), SimpleNamespace(
            advance=lambda: next(steps, None), close=self.close
        )

    def begin_async(self) -> Any:
        call, pump = self.begin()
        advance = pump.advance

        async def advance_async() -> Any:
            await asyncio.sleep(0)
            return advance()

        pump.advance = advance_async
        return call, pump

    def close(self) -> None:
        self.closed += 1


def nothing_is_left(pulls: Any) -> None:
    assert not pulls._flights


# -- threads ----------------------------------------------------------------------------------------------------------


class Followers:
    """Threads that follow whoever leads, and what became of them."""

    def __init__(self, pulls: SyncPulls) -> None:
        self._pulls = pulls
        self._threads: list[threading.Thread] = []
        self.outcomes: list[object] = []
        self.download = Download()

    def follow(self) -> None:
        """Another one, which has got hold of the flight when this returns."""
        (flight,) = self._pulls._flights.values()
        before = len(flight.wakeups)
        thread = threading.Thread(target=self._run, daemon=True)
        self._threads.append(thread)
        thread.start()
        assert passes_within(10.0, lambda: len(flight.wakeups) > before)

    def _run(self) -> None:
        try:
            self.outcomes.append(self._pulls.join(NAME, ASKING, self.download.begin, None))
        except BaseException as error:
            self.outcomes.append(error)

    def all_have_it(self) -> None:
        for thread in self._threads:
            thread.join(10.0)
            assert not thread.is_alive(), "a follower is stuck"
        assert self.outcomes == [True] * len(self._threads)


@BETWEEN
@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit, Stop])
def test_a_leader_interrupted_at_any_bytecode_leaves_nobody_waiting(interruption: type[BaseException]) -> None:
    def interrupt() -> None:
        raise interruption

    def make() -> tuple[Callable[[], object], Callable[[], None]]:
        pulls = SyncPulls()
        followers = Followers(pulls)
        download = Download(followers.follow)

        def lead() -> None:
            try:
                pulls.join(NAME, ASKING, download.begin, lambda _: None)
            except Stop:
                raise KeyboardInterrupt from None

        def check() -> None:
            followers.all_have_it()
            nothing_is_left(pulls)
            assert pulls.join(NAME, ASKING, Download().begin, None)
            nothing_is_left(pulls)

        return lead, check

    assert ctrl_c_at_every_bytecode(make, interrupt) > 200


@BETWEEN
def test_a_follower_interrupted_at_any_bytecode_leaves_the_flight_to_the_others() -> None:
    def make() -> tuple[Callable[[], object], Callable[[], None]]:
        pulls, begun, go_on = SyncPulls(), threading.Event(), threading.Event()

        def when_begun() -> None:
            begun.set()
            assert go_on.wait(10.0)

        outcomes: list[bool] = []
        leader = threading.Thread(
            target=lambda: outcomes.append(pulls.join(NAME, ASKING, Download(when_begun).begin, None)), daemon=True
        )
        leader.start()
        assert begun.wait(10.0)

        def follow() -> None:
            # Before it sleeps only: `go_on` is set as soon as it has left its wakeup.
            (flight,) = pulls._flights.values()
            threading.Thread(
                target=lambda: (passes_within(1.0, lambda: bool(flight.wakeups)), go_on.set()), daemon=True
            ).start()
            pulls.join(NAME, ASKING, Download().begin, None)

        def check() -> None:
            go_on.set()
            leader.join(10.0)
            assert not leader.is_alive()
            assert outcomes == [True]
            nothing_is_left(pulls)

        return follow, check

    assert ctrl_c_at_every_bytecode(make) > 100


def test_a_handler_asks_for_the_same_at_any_bytecode_of_a_leader() -> None:
    """It must not follow the download that it interrupts."""

    def make() -> Scenario:
        pulls, own = SyncPulls(), Download()
        followers = Followers(pulls)

        def check() -> None:
            assert own.begun == 1
            followers.all_have_it()
            nothing_is_left(pulls)

        return (
            (lambda: pulls.join(NAME, ASKING, Download(followers.follow).begin, lambda _: None)),
            (lambda: pulls.join(NAME, ASKING, own.begin, lambda _: None)),
            check,
        )

    assert at_every_bytecode(make) > 200


def test_progress_that_asks_for_the_same_waits_for_nobody() -> None:
    pulls, inner = SyncPulls(), Download()
    outer = watched(
        lambda: pulls.join(
            NAME, ASKING, Download().begin, lambda _: inner.begun or pulls.join(NAME, ASKING, inner.begin, None)
        )
    )
    assert outer
    assert inner.begun == 1
    nothing_is_left(pulls)


def test_finalisers_and_threads_share_downloads() -> None:
    pulls, outcomes = SyncPulls(), []

    def ask() -> None:
        outcomes.append(pulls.join(NAME, ASKING, Download().begin, None))

    def caller() -> None:
        for _ in range(50):
            leave_garbage()
            ask()

    with finalisers_everywhere(ask) as leave_garbage:
        threads = [threading.Thread(target=caller, daemon=True) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60.0)
        assert not any(thread.is_alive() for thread in threads)
    assert len(outcomes) >= 8 * 50
    assert all(outcomes)
    nothing_is_left(pulls)


def test_a_failed_download_fails_for_all_at_once_and_is_over() -> None:
    pulls = SyncPulls()
    followers = Followers(pulls)
    download = Download(followers.follow)
    call, pump = Download().begin()
    call.response, call.error = None, LLMStreamError("no such manifest")

    def begin() -> Any:
        download.begin()
        return call, pump

    with pytest.raises(LLMStreamError, match="manifest"):
        pulls.join(NAME, ASKING, begin, None)
    assert passes_within(10.0, lambda: len(followers.outcomes) == 1)
    (error,) = followers.outcomes
    assert isinstance(error, LLMStreamError)
    assert error.__cause__ is call.error
    nothing_is_left(pulls)


# -- loops ------------------------------------------------------------------------------------------------------------


@BETWEEN
def test_a_leading_task_interrupted_at_any_bytecode_leaves_nobody_waiting() -> None:
    def interrupt() -> None:
        raise Stop

    async def once(step: int) -> bool:
        pulls, followers = AsyncPulls(), []

        def follow() -> None:
            followers.append(asyncio.ensure_future(pulls.join(NAME, ASKING, Download().begin_async, None)))

        lead = Stepped(pulls.join(NAME, ASKING, Download(follow).begin_async, lambda _: None), step, interrupt)
        with suppress(Stop):
            await lead
        assert await asyncio.wait_for(asyncio.gather(*followers), 10.0) == [True] * len(followers)
        nothing_is_left(pulls)
        return lead.fired

    step = 1
    while watched(lambda step=step: asyncio.run(once(step))):
        step += 1
    assert step > 200


@pytest.mark.parametrize("run", [asyncio.run, lambda main: trio.run(lambda: main)], ids=["asyncio", "trio"])
def test_a_leader_whose_coroutine_is_dropped_leaves_nobody_waiting(run: Any) -> None:
    """It is closed in another thread, as the collector may do it: whoever waits is woken through its loop."""

    async def main() -> None:
        pulls = AsyncPulls()
        leader = pulls.join(NAME, ASKING, lambda: stalled(Download()), None)

        async def begin() -> None:
            leader.send(None)  # until it waits, for what never comes

        async with anyio.create_task_group() as group:
            group.start_soon(begin)
        (flight,) = pulls._flights.values()

        def drop() -> None:
            assert passes_within(10.0, lambda: bool(flight.wakeups))
            leader.close()

        thread = threading.Thread(target=drop, daemon=True)
        thread.start()
        assert await pulls.join(NAME, ASKING, lambda: at_once(Download()), None)
        thread.join(10.0)
        nothing_is_left(pulls)

    def stalled(download: Download) -> Any:
        call, pump = download.begin()
        pump.advance = Forever
        return call, pump

    def at_once(download: Download) -> Any:
        call, pump = download.begin()
        advance = pump.advance

        async def advance_async() -> Any:
            return advance()

        pump.advance = advance_async
        return call, pump

    class Forever:
        def __await__(self) -> Any:
            yield None

    watched(lambda: run(main()))
