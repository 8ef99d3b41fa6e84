"""One real server for the whole run: llama.cpp with SmolLM2, one thread of computation, four requests at once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cloud.llm.embedded import EmbeddedServer, EmbeddedServerError

#: Any of these is accepted, so that a hundred tenants can be told apart.
KEYS = tuple(f"tenant-{number:03d}" for number in range(100))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/real_model/" in item.path.as_posix():
            item.add_marker(pytest.mark.real_model)
            item.add_marker(pytest.mark.timeout(400))  # one thread of computation, perhaps on a busy machine


@pytest.fixture(scope="session")
def server() -> Iterator[EmbeddedServer]:
    """Where the model's packages do not fit the machine, the tests that need it say so and are skipped."""
    running = EmbeddedServer(api_keys=KEYS, n_parallel=4, progress=None, start_timeout=90)
    try:
        running.start()
    except EmbeddedServerError as error:
        pytest.skip(f"no embedded model here: {error}")
    with running:
        yield running
