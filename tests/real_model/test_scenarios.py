"""Every scenario on every mode against the real server: the same facts, the expected facts."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from cloud.llm.embedded import EmbeddedServer
from tests.real_model.modes import MODES
from tests.real_model.scenarios import SCENARIOS, Scenario

_BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}


@cache
def facts(name: str, mode: str, origin: str) -> dict[str, Any]:
    return MODES[mode](_BY_NAME[name], origin)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_a_scenario_gives_the_same_facts_on_every_mode(server: EmbeddedServer, scenario: Scenario, mode: str) -> None:
    found = facts(scenario.name, mode, server.origin)
    assert {name: found.get(name) for name in scenario.expected} == dict(scenario.expected), found
    assert found == facts(scenario.name, "blocking", server.origin)


@pytest.mark.parametrize(
    "name",
    [
        "stream",
        "stream-cut",
        "stream-tool",
        "stream-tools-parallel",
        "stream-n",
        "stream-messages",
        "stream-messages-tool",
    ],
)
def test_a_drained_stream_equals_the_whole_reply(server: EmbeddedServer, name: str) -> None:
    whole = {"stream": "plain"}.get(name, name.removeprefix("stream-"))
    assert facts(name, "blocking", server.origin) == facts(whole, "blocking", server.origin)
