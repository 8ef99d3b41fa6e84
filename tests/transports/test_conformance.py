"""The conformance kit over the three transports."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
import trio

from transports.anyio_async import AsyncioTransport
from transports.httpcore_sync import SyncTransport
from transports.testing.conformance.checks import SCENARIOS, check_transport
from transports.trio_async import TrioTransport


def run_asyncio(main: Callable) -> None:
    asyncio.run(main())


@pytest.mark.parametrize("name", SCENARIOS)
@pytest.mark.parametrize(
    ("factory", "run"),
    [(SyncTransport, None), (AsyncioTransport, run_asyncio), (TrioTransport, trio.run)],
    ids=["sync", "asyncio", "trio"],
)
def test_conformance(factory: Callable, run: Callable | None, name: str) -> None:
    assert check_transport(factory, run, only=[name]) == [name]


def test_an_asynchronous_transport_without_a_loop_is_refused() -> None:
    with pytest.raises((TypeError, RuntimeError)):
        check_transport(AsyncioTransport, only=["plain"])
