"""`cloud-llm probe`: what works, and which rule of its vendor a refused request broke."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cloud.llm import OpenAICompatClient
from cloud.llm.__main__ import main
from cloud.llm.probe import probe
from sans_io.providers.registry import DIALECTS
from sans_io.providers.rules import VENDORS
from tests.providers.rules.kit import MODELS
from transports.testing import FakeLLMServer, ScriptedError, ScriptedReply
from transports.testing.servers.loopback import LoopbackServer

NAMES = ["chat", "stream", "two turns", "tool call", "JSON schema"]


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for vendor in VENDORS:
        for name in DIALECTS[vendor].key_variables:
            monkeypatch.setenv(name, "k")


def asked(server: FakeLLMServer, vendor: str, capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, str]:
    wire = DIALECTS[vendor].wires[0]
    with LoopbackServer(server) as listening:
        model = () if "-m" in more else ("-m", MODELS[vendor])
        code = main(["probe", "-p", vendor, "--base-url", listening.base_url(wire), *model, *more])
    return code, capsys.readouterr().out


@pytest.mark.parametrize("vendor", VENDORS)
def test_all_of_it_works_with_a_server_of_that_vendor(vendor: str, capsys: pytest.CaptureFixture[str]) -> None:
    server = FakeLLMServer(vendor=vendor, models=[f"{MODELS[vendor]}:latest"])
    code, out = asked(server, vendor, capsys, "--json")
    found = {row["name"]: row for row in json.loads(out)}
    assert list(found) == NAMES
    fails = [name for name, row in found.items() if not row["works"]]
    assert fails == (["JSON schema"] if vendor == "deepseek" else []), found
    assert code == (1 if fails else 0)
    assert found["tool call"]["told"] == 'get_weather({"city": "Paris"})'


def test_a_refused_request_names_the_rule_it_broke() -> None:
    with (
        LoopbackServer(FakeLLMServer(vendor="openai")) as server,
        OpenAICompatClient("k", "gpt-5.6-sol", base_url=server.base_url("openai"), dialect="openai") as client,
    ):
        found = {one.name: one for one in probe(client)}
    assert [name for name, one in found.items() if not one.works] == ["two turns", "tool call"]
    assert found["chat"].told == "You said: Say hello in one word."
    assert "tools: gpt-5.6 and later take functions with reasoning_effort none only" in found["tool call"].told


def test_other_failures_are_told_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    server = FakeLLMServer()
    replies: list[Any] = [ScriptedReply(error=ScriptedError("no key", 401)), ScriptedReply(text="x", terminal=False),
                          ScriptedReply(text="sunny"), ScriptedReply(text="It is sunny"), ScriptedReply(text="Ana")]  # fmt: skip
    server.script(*replies)
    code, out = asked(server, "openai", capsys)
    assert code == 1
    assert "no key" in out
    assert "answered 'It is sunny' instead" in out
    assert "answered 'Ana' instead" in out
