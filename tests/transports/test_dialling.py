"""Names, addresses, and what a dial that fails says."""

from __future__ import annotations

import errno
import os
import resource
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep

import pytest

from sans_io.errors import LLMConnectionError, LLMTimeoutError
from sans_io.policy.deadline import Timers
from tests.callers import BUSY
from tests.transports.modes import ASYNC_MODES, MODES, SYNC, Ask, Mode, answer, passes_within
from transports import loading, resolver
from transports.faults import Fault, connection_fault, dial_fault
from transports.happy_eyeballs import worst
from transports.resolver import MAX_PER_HOST, MAX_THREADS, DaemonThreads, ThreadJob, alternating, start
from transports.testing import LoopbackServer

V4, V6 = socket.AF_INET, socket.AF_INET6


class Waiter:
    def __init__(self) -> None:
        self.event = threading.Event()
        self.wake = self.event.set


# -- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_name_is_resolved_and_dialled(mode: Mode) -> None:
    with LoopbackServer() as server:
        transport = mode.transport()

        async def main() -> None:
            assert await answer(transport, f"http://localhost:{server.port}") == "You said: hello"
            transport.close_idle()

        mode.run(main)


@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize(
    ("number", "attempts"), [(socket.EAI_NONAME, 1), (socket.EAI_AGAIN, 3)], ids=["no such name", "try again"]
)
def test_a_name_that_cannot_be_resolved(
    mode: Mode, number: int, attempts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> list:
        raise socket.gaierror(number, "a word of the system")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    transport = mode.transport()

    async def main() -> None:
        call = await Ask(transport, "http://some-host.example", retries=2).end()
        assert isinstance(call.error, LLMConnectionError)
        assert "some-host.example" in str(call.error)
        assert len(call.attempts) == attempts
        assert transport.pool_stats().connecting == 0

    mode.run(main)


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_hanging_resolver_holds_nobody_past_the_deadline(mode: Mode, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the call nor the end of the loop waits for it."""
    release = threading.Event()

    def hang(*_: object, **__: object) -> list:
        release.wait(10.0)
        return [(V4, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 1))]

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    monkeypatch.setattr(resolver, "_RESOLVERS", DaemonThreads(MAX_THREADS))
    transport = mode.transport()

    async def main() -> None:
        call = await Ask(transport, "http://slow.example", timers=Timers(total=5.0, connect=0.3)).end()
        assert isinstance(call.error, (LLMConnectionError, LLMTimeoutError))
        assert "slow.example" in str(call.error)

    began = monotonic()
    mode.run(main)
    assert 0.3 <= monotonic() - began < 0.3 + BUSY
    release.set()
    assert passes_within(2.0, lambda: not resolver._RESOLVERS._working)


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_cancel_while_a_name_is_looked_up(mode: Mode, monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: release.wait(10.0))
    monkeypatch.setattr(resolver, "_RESOLVERS", DaemonThreads(MAX_THREADS))
    transport = mode.transport()

    async def main() -> None:
        ask = Ask(transport, "http://slow.example")
        timer = threading.Timer(0.1, ask.pump.cancel)
        timer.start()
        began = monotonic()
        call = await ask.end()
        assert call.error is not None
        assert call.error.code == "cancelled"
        assert monotonic() - began < 0.1 + 0.1 + BUSY

    mode.run(main)
    release.set()


def test_one_lookup_for_all_who_ask_meanwhile() -> None:
    threads, gate, done = DaemonThreads(4), threading.Event(), []

    def work() -> int:
        gate.wait(5.0)
        done.append(1)
        return 7

    wakeups = [Waiter() for _ in range(50)]
    jobs = [threads.join(ThreadJob("name", "name", work), wakeup) for wakeup in wakeups]
    assert len(set(map(id, jobs))) == 1
    gate.set()
    assert all(wakeup.event.wait(2.0) for wakeup in wakeups)
    assert {job.value() for job in jobs} == {7}
    assert done == [1]
    assert threads.join(ThreadJob("name", "name", lambda: 8), Waiter()) is not jobs[0], "answers are not remembered"


def test_more_names_than_threads_wait_in_line() -> None:
    threads, working, most = DaemonThreads(3), [0], [0]
    lock = threading.Lock()

    def work() -> bool:
        with lock:
            working[0] += 1
            most[0] = max(most)
            most.append(working[0])
        sleep(0.005)
        with lock:
            working[0] -= 1
        return True

    pairs = [(Waiter(), number) for number in range(30)]
    jobs = [threads.join(ThreadJob(number, "work", work), wakeup) for wakeup, number in pairs]
    assert all(wakeup.event.wait(5.0) for wakeup, _ in pairs)
    assert all(job.value() for job in jobs)
    assert max(most) <= 3


def test_when_all_threads_are_stuck_new_lookups_wait_in_line_until_one_comes_back() -> None:
    threads, gates = DaemonThreads(MAX_THREADS), [threading.Event() for _ in range(MAX_THREADS)]
    for number, gate in enumerate(gates):
        wakeup = Waiter()
        threads.join(ThreadJob(number, "stuck", lambda gate=gate: gate.wait(10.0), group=number), wakeup).unwatch(
            wakeup
        )
    wakeup = Waiter()
    job = threads.join(ThreadJob("new", "new", lambda: True), wakeup)
    assert "queued behind 16 others" in job.what
    assert not wakeup.event.wait(0.1)
    gates[7].set()
    assert wakeup.event.wait(2.0)
    assert job.value()
    for gate in gates:
        gate.set()


def test_no_more_than_two_lookups_of_one_host_run_at_once() -> None:
    """A third one waits in line, and holds up nobody else's."""
    threads, gates = DaemonThreads(MAX_THREADS), [threading.Event() for _ in range(2)]
    stuck = [Waiter() for _ in gates]
    for gate, wakeup in zip(gates, stuck, strict=True):
        threads.join(ThreadJob("name", "stuck", lambda gate=gate: gate.wait(10.0), group="host"), wakeup).unwatch(
            wakeup
        )
    third, other_port, other = Waiter(), Waiter(), Waiter()
    waiting = threads.join(ThreadJob("name", "third", lambda: 3, group="host"), third)
    also = threads.join(ThreadJob("name at another port", "fourth", lambda: 4, group="host"), other_port)
    assert threads.join(ThreadJob("name", "third", lambda: 3, group="host"), Waiter()) is waiting
    threads.join(ThreadJob("other", "other", lambda: True, group="other"), other)
    assert other.event.wait(2.0)
    assert not waiting.done
    assert not also.done
    gates[0].set()
    assert third.event.wait(2.0)
    assert other_port.event.wait(2.0)
    assert (waiting.value(), also.value()) == (3, 4)
    gates[1].set()
    assert passes_within(2.0, lambda: not threads._working)


class Hanging:
    """A system's resolver that hangs for some names. `names` counts its threads by name."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names: Counter[str] = Counter()
        self.release = threading.Event()
        self._real = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self._answer)
        monkeypatch.setattr(resolver, "_RESOLVERS", DaemonThreads(MAX_THREADS))

    def _answer(self, host: str, *args: object, **options: object) -> list:
        if not host.startswith("hangs"):
            return self._real(host, *args, **options)
        self.names[host] += 1
        self.release.wait(30.0)
        self.names[host] -= 1
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    def over(self) -> None:
        self.release.set()
        assert passes_within(5.0, lambda: not resolver._RESOLVERS._working)


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_sixteen_lookups_of_a_hanging_name_do_not_stop_those_of_others(
    mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging = Hanging(monkeypatch)
    timers = Timers(total=10.0, connect=0.15)
    with LoopbackServer() as server:
        transport = mode.transport()

        async def main() -> None:
            for _ in range(16):
                call = await Ask(transport, "http://hangs.example", timers=timers).end()
                assert isinstance(call.error, LLMTimeoutError)
                assert "lookup of hangs.example" in str(call.error)
            assert hanging.names["hangs.example"] == MAX_PER_HOST
            assert await answer(transport, f"http://localhost:{server.port}") == "You said: hello"
            transport.close_idle()

        mode.run(main)
    hanging.over()


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_fifteen_hanging_names_that_are_tried_again_do_not_stop_others(
    mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name gets a second thread only while half of them are free."""
    hanging = Hanging(monkeypatch)
    with LoopbackServer() as server:
        transport = mode.transport()

        async def main() -> None:
            for _ in range(3):
                for number in range(15):
                    timers = Timers(total=10.0, connect=0.05)
                    await Ask(transport, f"http://hangs{number}.example", timers=timers).end()
            assert set(hanging.names.values()) == {1}
            assert await answer(transport, f"http://localhost:{server.port}") == "You said: hello"
            transport.close_idle()

        mode.run(main)
    hanging.over()


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_where_all_threads_hang_others_wait_until_their_own_deadline(
    mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forty names hang: sixteen threads, and who comes after them is served when they come back, or leaves in time."""
    hanging = Hanging(monkeypatch)
    timers = Timers(total=10.0, connect=0.05)
    with LoopbackServer() as server:
        transport = mode.transport()
        name = f"http://localhost:{server.port}"

        async def main() -> None:
            for number in range(40):
                await Ask(transport, f"http://hangs{number}.example", timers=timers).end()
            assert sum(hanging.names.values()) == MAX_THREADS
            began = monotonic()
            call = await Ask(transport, name, timers=Timers(total=10.0, connect=0.3)).end()
            assert isinstance(call.error, LLMTimeoutError)
            assert "queued behind 16 others" in str(call.error)
            assert 0.3 <= monotonic() - began < 0.3 + BUSY
            threading.Timer(0.2, hanging.release.set).start()
            assert await answer(transport, name) == "You said: hello"
            transport.close_idle()

        mode.run(main)
    hanging.over()


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_resolver_without_an_answer_is_a_failed_lookup(mode: Mode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [])
    transport = mode.transport()

    async def main() -> None:
        call = await Ask(transport, "http://some-host.example", retries=2).end()
        assert isinstance(call.error, LLMConnectionError)
        assert call.error.code == "dns"
        assert "some-host.example" in str(call.error)
        assert len(call.attempts) == 1
        assert transport.pool_stats().connecting == 0

    mode.run(main)


@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize(
    "number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM], ids=lambda number: errno.errorcode[number]
)
def test_a_resolver_that_fails_in_the_systems_own_way(mode: Mode, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> list:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    transport = mode.transport()

    async def main() -> None:
        call = await Ask(transport, "http://some-host.example").end()
        assert isinstance(call.error, LLMConnectionError)
        assert call.error.code == ("local" if number == errno.ENOMEM else "too_many_open_files")
        assert os.strerror(number) in str(call.error)

    mode.run(main)


def test_a_job_left_in_the_queue_is_not_begun() -> None:
    threads, gate, begun = DaemonThreads(1), threading.Event(), []
    first, second = Waiter(), Waiter()
    threads.join(ThreadJob("a", "a", lambda: gate.wait(5.0)), first)
    threads.join(ThreadJob("b", "b", lambda: begun.append(1)), second).unwatch(second)
    gate.set()
    assert first.event.wait(2.0)
    sleep(0.05)
    assert not begun


def test_a_value_that_comes_too_late_is_let_go_of() -> None:
    gate, dropped = threading.Event(), []

    def work() -> str:
        gate.wait(5.0)
        return "late"

    wakeup = Waiter()
    job = start(ThreadJob(object(), "work", work, dropped.append), wakeup)
    job.unwatch(wakeup)
    job.unwatch(wakeup)
    gate.set()
    assert passes_within(2.0, lambda: dropped == ["late"])


def test_a_value_that_nobody_took_is_let_go_of() -> None:
    dropped: list[str] = []
    wakeup = Waiter()
    job = start(ThreadJob(object(), "work", lambda: "value", dropped.append), wakeup)
    assert wakeup.event.wait(2.0)
    job.unwatch(wakeup)
    assert dropped == ["value"]


def test_a_job_that_breaks_says_so() -> None:
    wakeup = Waiter()
    job = DaemonThreads(None).join(ThreadJob(object(), "the work", lambda: 1 // 0), wakeup)
    assert wakeup.event.wait(2.0)
    with pytest.raises(Fault, match="the work") as caught:
        job.value()
    assert caught.value.kind == "local"


def test_where_no_thread_is_to_be_had_the_caller_does_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(loading, "start_new_thread", refuse)
    threads, dropped = DaemonThreads(2), []
    for job in (
        threads.join(ThreadJob("x", "work", threading.get_ident), Waiter()),
        start(ThreadJob("x", "w", threading.get_ident), Waiter()),
    ):
        assert job.done
        assert job.value() == threading.get_ident()
    with pytest.raises(Fault, match="by zero"):
        _ = threads.join(ThreadJob("x", "work", lambda: 1 // 0), Waiter()).value()
    wakeup = Waiter()
    start(ThreadJob("x", "work", lambda: "value", dropped.append), wakeup).unwatch(wakeup)
    assert dropped == ["value"]
    assert not threads._working
    assert not threads._wanted


def test_threads_are_seen_by_debuggers_and_leave_nothing() -> None:
    """They are not of `threading`, whose hooks they follow all the same."""
    seen: list[str] = []
    before = threading.gettrace()
    threading.settrace(lambda frame, event, _: seen.append(frame.f_code.co_name))  # type: ignore[func-returns-value]
    try:
        wakeup = Waiter()
        job = start(ThreadJob("x", "work", lambda: _found_by_debuggers()), wakeup)
        assert wakeup.event.wait(2.0)
    finally:
        threading.settrace(before)  # type: ignore[arg-type]
    assert job.value() == 1
    assert "_found_by_debuggers" in seen


def _found_by_debuggers() -> int:
    return 1


@pytest.mark.parametrize("end", [SystemExit, KeyboardInterrupt, MemoryError])
def test_whatever_ends_a_job_its_callers_hear_of_it(end: type[BaseException]) -> None:
    def work() -> None:
        raise end("enough")

    threads = DaemonThreads(1)
    for put in (threads.join, start):
        wakeup = Waiter()
        job = put(ThreadJob("x", "the work", work), wakeup)
        assert wakeup.event.wait(2.0)
        with pytest.raises(Fault, match="the work: enough"):
            job.value()
    assert passes_within(2.0, lambda: not threads._working)


def test_families_take_turns() -> None:
    six = [(V6, (f"::{n}", 1, 0, 0)) for n in range(3)]
    four = [(V4, (f"127.0.0.{n}", 1)) for n in range(1, 3)]
    assert alternating(six + four) == (six[0], four[0], six[1], four[1], six[2])
    assert alternating(four + four) == tuple(four)
    assert alternating([]) == ()


@pytest.mark.parametrize(
    ("host", "family"), [("127.0.0.1", V4), ("::1", V6), ("fe80::1", V6)], ids=["ipv4", "ipv6", "link-local"]
)
def test_literals_need_no_resolver(host: str, family: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", None)
    job = resolver.resolve(host, 80, Waiter())
    assert job.done
    ((found, address),) = job.value()
    assert (found, address[0]) == (family, host)


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "a..example"])
def test_names_that_are_none(host: str) -> None:
    wakeup = Waiter()
    job = resolver.resolve(host, 80, wakeup)
    assert wakeup.event.wait(5.0)
    with pytest.raises(Fault) as caught:
        job.value()
    assert caught.value.kind in ("dns_failed", "dns_temporary")


# -- addresses --------------------------------------------------------------------------------------------------------


@pytest.fixture
def refusing() -> Iterator[tuple]:
    """An address at which nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield (V4, sock.getsockname())


@pytest.fixture
def silent() -> Iterator[tuple]:
    """An address that neither accepts nor refuses."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(sock.getsockname())
        yield (V4, sock.getsockname())
        for filler in fillers:
            filler.close()


async def dial(mode: Mode, addresses: tuple, seconds: float) -> tuple:
    """A connection or a fault, and how long it took."""
    runtime = mode.transport()._runtime
    runtime = runtime if mode is SYNC else runtime()
    began = monotonic()
    try:
        connection = runtime.dial(addresses, runtime.now() + seconds, runtime.wakeup())
        connection = await connection if hasattr(connection, "__await__") else connection
    except Fault as fault:
        return fault, monotonic() - began
    connection.abort()
    return connection, monotonic() - began


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_the_next_address_serves_when_the_first_refuses(mode: Mode, refusing: tuple) -> None:
    with LoopbackServer() as server:

        async def main() -> None:
            connection, took = await dial(mode, (refusing, refusing, (V4, ("127.0.0.1", server.port))), 5.0)
            assert not isinstance(connection, Fault)
            assert took < BUSY

        mode.run(main)
        assert server.wait_until(lambda: server.open_connections == 0)


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_silent_address_costs_a_head_start_only(mode: Mode, silent: tuple) -> None:
    with LoopbackServer() as server:

        async def main() -> None:
            connection, took = await dial(mode, (silent, (V4, ("127.0.0.1", server.port))), 5.0)
            assert not isinstance(connection, Fault)
            # 250 ms beside each other on the loops (RFC 8305), 1 s one after the other where it blocks.
            expected = 1.0 if mode is SYNC else 0.25
            assert expected <= took < expected + BUSY

        mode.run(main)
        assert server.wait_until(lambda: server.open_connections == 0)


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_all_addresses_together_have_one_deadline(mode: Mode, silent: tuple) -> None:
    async def main() -> None:
        for addresses in ((silent,), (silent,) * 4):
            fault, took = await dial(mode, addresses, 0.4)
            assert isinstance(fault, Fault)
            assert fault.kind == "timeout"
            assert 0.4 <= took < 0.4 + BUSY

    mode.run(main)


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_all_addresses_refuse(mode: Mode, refusing: tuple) -> None:
    async def main() -> None:
        for addresses in ((refusing,), (refusing, refusing)):
            fault, took = await dial(mode, addresses, 5.0)
            assert isinstance(fault, Fault)
            assert fault.kind == "refused"
            assert "127.0.0.1" in fault.detail
            assert took < BUSY

    mode.run(main)


@pytest.mark.parametrize("mode", ASYNC_MODES, ids=str)
def test_only_one_of_two_connections_made_at_once_is_kept(mode: Mode) -> None:
    """Both addresses answer: whatever the order, one connection comes out and the other is closed."""
    with LoopbackServer() as server:
        address = (V4, ("127.0.0.1", server.port))

        async def main() -> None:
            for _ in range(20):
                connection, _ = await dial(mode, (address, address, address), 5.0)
                assert not isinstance(connection, Fault)

        mode.run(main)
        assert server.wait_until(lambda: server.open_connections == 0)


def test_the_most_telling_fault_is_told() -> None:
    no_v6, refused = Fault("unreachable"), Fault("refused")
    assert worst([no_v6, refused]) is refused
    assert worst([no_v6]) is no_v6


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ECONNREFUSED, "refused"),
        (errno.ENETUNREACH, "unreachable"),
        (errno.ETIMEDOUT, "unreachable"),
        (errno.EMFILE, "too_many_files"),
        (errno.ENFILE, "too_many_files"),
        (errno.ECONNRESET, "reset"),
        (errno.ENOMEM, "local"),
    ],
)
def test_what_the_system_says_has_a_word(number: int, kind: str) -> None:
    fault = dial_fault(OSError(number, os.strerror(number)), "127.0.0.1:1")
    assert fault.kind == kind
    assert fault.detail == f"127.0.0.1:1: {os.strerror(number)}"
    assert connection_fault(OSError(number, os.strerror(number))).kind == "reset"


DESCRIPTORS = """
import resource, socket, sys
from tests.transports.modes import ASYNCIO, SYNC, TRIO, Ask, answer
from transports.testing import LoopbackServer
from sans_io.errors import LLMConnectionError
mode = {"sync": SYNC, "asyncio": ASYNCIO, "trio": TRIO}[sys.argv[1]]
with LoopbackServer() as server:
    transport = mode.transport(max_connections=2)
    async def main():
        assert await answer(transport, server.url) == "You said: hello"
        transport.close_idle()
        assert server.wait_until(lambda: server.open_connections == 0)
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))
        hoard = []
        try:
            while True:
                hoard.append(socket.socket())
        except OSError:
            pass
        for url in (server.url, f"http://localhost:{server.port}"):  # a name: the resolver opens files
            call = await Ask(transport, url, retries=3).end()
            assert isinstance(call.error, LLMConnectionError), call.error
            assert call.error.code == "too_many_open_files", call.error
            assert len(call.attempts) == 1
        assert transport.pool_stats().connecting == 0
        for each in hoard:
            each.close()
        assert await answer(transport, server.url) == "You said: hello"
        transport.close_idle()
    mode.run(main)
"""


@pytest.mark.parametrize("mode", ["sync", "asyncio", "trio"])
def test_no_descriptor_left(mode: str) -> None:
    """Not retried, said by name, and the slot is back."""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", DESCRIPTORS, mode],
        capture_output=True, text=True, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 200
