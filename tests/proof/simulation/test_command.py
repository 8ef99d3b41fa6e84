"""`python -m transports.testing.simulation`: what it prints, and its exit status, on a sound core and on a broken one."""

from __future__ import annotations

import re

import pytest

from sans_io.calls.exchange import Exchange
from transports.testing.simulation.__main__ import main
from transports.testing.simulation.search import run_seed, search, shrink


def test_a_search_that_finds_nothing_says_what_it_ran(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", "0", "3", "--jobs", "1"]) == 0
    told = capsys.readouterr()
    findings = search(0, 3)
    assert f"3 worlds, {findings.calls} calls, digest {findings.digest}" in told.out
    assert re.search(r"^end  .* completed \d+", told.out, re.MULTILINE)
    assert told.err == ""


def test_a_replay_prints_the_world_that_the_search_ran(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", "3", "--calls", "2"]) == 0
    told = capsys.readouterr().out
    outcome = run_seed(3, calls=2, keep_trace=True)
    assert told.splitlines()[:-1] == "\n".join(outcome.trace).splitlines()
    assert told.splitlines()[-1] == f"digest {outcome.digest}, 0 violations"


def test_re_entrant_worlds_are_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", "3", "4", "--jobs", "1", "--reentrant"]) == 0
    outcome = run_seed(3, reentrant=True)
    assert f"1 worlds, {outcome.calls} calls" in capsys.readouterr().out
    assert main(["replay", "3", "--reentrant"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"digest {outcome.digest}, 0 violations"


def test_what_is_left_out_does_not_happen() -> None:
    faults = {key for key in run_seed(3).histogram if key.startswith("fault:")}
    name = min(faults).removeprefix("fault:")
    assert f"fault:{name}" not in run_seed(3, without=frozenset({name})).histogram


def test_a_sound_world_cannot_be_shrunk() -> None:
    with pytest.raises(ValueError, match="seed 3 breaks nothing"):
        shrink(3)


@pytest.mark.parametrize("kind", [[], ["--reentrant"]], ids=["plain", "re-entrant"])
def test_a_finding_is_named_with_the_command_that_replays_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, kind: list[str]
) -> None:
    """Planted: every connection counts as clean."""
    monkeypatch.setattr(Exchange, "clean", property(lambda self: True))
    assert main(["search", "0", "4", "--jobs", "1", *kind]) == 1
    told = capsys.readouterr().err
    assert re.search(r"\d+ worlds broke an invariant", told)
    found = re.search(r"seed (\d+): (I\d) .*\n  shrunk: python -m transports\.testing\.simulation (replay .*)", told)
    assert found is not None
    assert kind == [word for word in found[3].split() if word == "--reentrant"]
    assert main(found[3].split()) == 1, "the printed command shows it again"
    assert not re.search(r", 0 violations$", capsys.readouterr().out.strip())

    assert search(0, 1000, stop_after=1, reentrant=bool(kind)).worlds < 1000
