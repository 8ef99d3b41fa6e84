"""What there is one of in a process (transports, their numbers, TLS contexts): the same one whatever interrupts."""

from __future__ import annotations

import gc
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cloud.llm import registry
from sans_io.http.urls import Origin
from sans_io.policy.pool import Route
from tests.interrupts.kit import Scenario, at_every_bytecode, ctrl_c_at_every_bytecode, finalisers_everywhere, watched
from transports import tls
from transports.testing import ScriptedTransport
from transports.tls import TLSProfile, tls_context


@pytest.fixture(autouse=True)
def nothing_made_yet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(registry._shared, "transports", {})
    monkeypatch.setattr(registry._shared, "given", {})
    monkeypatch.setattr(tls, "_MADE", {})
    monkeypatch.setattr(tls, "new_context", lambda _: ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    yield
    gc.collect()


def shared_transport() -> Callable[[], object]:
    registry._shared.transports.clear()
    return registry.sync_transport


def number() -> Callable[[], object]:
    transport = ScriptedTransport([])
    return lambda: registry.number_of(transport)


def profile() -> Callable[[], object]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return lambda: TLSProfile.of(context)


def context() -> Callable[[], object]:
    tls._MADE.clear()
    return lambda: tls_context(TLSProfile("/ca.pem"))


ONES = pytest.mark.parametrize("one", [shared_transport, number, profile, context])


@ONES
def test_a_handler_asks_at_any_bytecode(one: Callable[[], Callable[[], object]]) -> None:
    def make() -> Scenario:
        find, found = one(), []

        def run() -> None:
            found.append(find())

        def check() -> None:
            assert found == [find()] * 2

        return run, run, check

    assert at_every_bytecode(make) >= 5


@ONES
def test_ctrl_c_at_any_bytecode(one: Callable[[], Callable[[], object]]) -> None:
    def make() -> tuple[Callable[[], object], Callable[[], None]]:
        find, found = one(), []

        def check() -> None:
            found.append(find())
            assert found == [find()] * len(found)

        return find, check

    assert ctrl_c_at_every_bytecode(make) >= 5


@ONES
def test_finalisers_and_threads_find_the_same(one: Callable[[], Callable[[], object]]) -> None:
    for _ in range(20):
        find, found = one(), []
        ready = threading.Barrier(4)

        def caller(find: Any = find, found: Any = found, ready: Any = ready) -> None:
            ready.wait(10.0)
            leave_garbage()
            found.append(find())

        with finalisers_everywhere(lambda find=find, found=found: found.append(find())) as leave_garbage:
            threads = [threading.Thread(target=caller, daemon=True) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(20.0)
            assert not any(thread.is_alive() for thread in threads)
        assert len(found) >= 4
        assert found == [found[0]] * len(found)


def test_a_transport_that_is_gone_has_no_number() -> None:
    first = registry.number_of(transport := ScriptedTransport([]))
    del transport
    gc.collect()
    assert not registry._shared.given
    kept = ScriptedTransport([])
    assert registry.number_of(kept) != first
    assert len(registry._shared.given) == 1


def test_a_profile_outlives_its_context_and_is_nobody_elses() -> None:
    """Contexts come to lie where others lay: a pool must not give one's connections to the other."""
    origin, seen = Origin("https", "h.example", 443), {}
    for _ in range(50):
        found = TLSProfile.of(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        gc.collect()
        assert Route(origin, None, found) not in seen
        seen[Route(origin, None, found)] = found
        assert seen[Route(origin, None, found)] is found


def test_contexts_are_bounded_whoever_makes_them() -> None:
    def make_many(which: int) -> None:
        for each in range(100):
            tls_context(TLSProfile(f"/{which}-{each}.pem"))

    def together() -> None:
        threads = [threading.Thread(target=make_many, args=(which,)) for which in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    watched(together)
    assert len(tls._MADE) == tls.MAX_CONTEXTS
