"""Many seeds: run them on all cores, add up what happened, shrink what fails to a command that shows it.

Rules of this file:
- A result is a function of the range of seeds alone: cores only share the work.
- Shrinking drops faults first, then calls, and keeps only what still breaks the same invariant.
"""

from __future__ import annotations

import gc
import hashlib
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from .reentry import ReentrantWorld
from .world import Outcome, World

#: Every fourth world is one in which the faults stop.
LIVENESS_EVERY: Final = 4
_SHARE: Final = 10


@dataclass(slots=True)
class Findings:
    """What a search came to. `digest` is the hash of the digests of all worlds in order of their seeds."""

    worlds: int = 0
    histogram: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[int, str]] = field(default_factory=list)
    digest: str = ""

    @property
    def calls(self) -> int:
        return self.histogram["calls"]


@dataclass(frozen=True, slots=True)
class Shrunk:
    """The smallest world found that breaks the same invariant."""

    seed: int
    calls: int
    without: frozenset[str]
    violation: str
    reentrant: bool = False

    @property
    def command(self) -> str:
        """What replays it with a readable trace."""
        left_out = f" --without {','.join(sorted(self.without))}" if self.without else ""
        kind = " --reentrant" if self.reentrant else ""
        return f"python -m transports.testing.simulation replay {self.seed}{kind} --calls {self.calls}{left_out}"


def run_seed(
    seed: int,
    *,
    calls: int = 24,
    without: frozenset[str] = frozenset(),
    keep_trace: bool = False,
    reentrant: bool = False,
) -> Outcome:
    """One world as the search runs it. `reentrant`: see `reentry`."""
    kind = ReentrantWorld if reentrant else World
    world = kind(seed, calls=calls, without=without, keep_trace=keep_trace, liveness=seed % LIVENESS_EVERY == 0)
    outcome = world.run()
    if not outcome.violations:
        # Everything in a world knows the world, and no task is left: cut here, most of it needs no collector.
        vars(world).clear()
    return outcome


def search(first: int, last: int, *, jobs: int = 1, stop_after: int | None = None, reentrant: bool = False) -> Findings:
    """The worlds of the seeds first <= seed < last. `stop_after`: failures after which to stop looking."""
    findings = Findings()
    total = hashlib.blake2b(digest_size=16)
    shares = [(start, min(start + _SHARE, last), reentrant) for start in range(first, last, _SHARE)]
    if jobs == 1:
        results = map(_run_share, shares)
        for result in results:
            _add(findings, total, result)
            if stop_after is not None and len(findings.failures) >= stop_after:
                break
    else:
        with ProcessPoolExecutor(jobs) as pool:
            for result in pool.map(_run_share, shares):
                _add(findings, total, result)
    findings.digest = total.hexdigest()
    return findings


def shrink(seed: int, *, calls: int = 24, reentrant: bool = False) -> Shrunk:
    """The smallest failing world of this seed. Raises ValueError if it does not fail."""
    outcome = run_seed(seed, calls=calls, reentrant=reentrant)
    if not outcome.violations:
        raise ValueError(f"seed {seed} breaks nothing")
    invariant = outcome.violations[0].split()[0]
    without: frozenset[str] = frozenset()
    for name in sorted(key[6:] for key in outcome.histogram if key.startswith("fault:")):
        if _breaks(seed, calls, without | {name}, invariant, reentrant):
            without |= {name}
    for fewer in range(1, calls):
        if _breaks(seed, fewer, without, invariant, reentrant):
            calls = fewer
            break
    violations = run_seed(seed, calls=calls, without=without, reentrant=reentrant).violations
    return Shrunk(seed, calls, without, next(line for line in violations if line.startswith(invariant)), reentrant)


def _breaks(seed: int, calls: int, without: frozenset[str], invariant: str, reentrant: bool) -> bool:
    outcome = run_seed(seed, calls=calls, without=without, reentrant=reentrant)
    return any(line.startswith(invariant) for line in outcome.violations)


@dataclass(slots=True)
class _Share:
    """What some worlds in a row came to."""

    worlds: int
    digests: str
    histogram: Counter[str]
    failures: list[tuple[int, str]]


def _run_share(share: tuple[int, int, bool]) -> _Share:
    """A world is one knot of garbage: the collector rests while it runs and sweeps it out whole, with nothing else."""
    first, last, reentrant = share
    digests: list[str] = []
    histogram: Counter[str] = Counter()
    failures: list[tuple[int, str]] = []
    collects = gc.isenabled()
    gc.disable()
    try:
        for seed in range(first, last):
            outcome = run_seed(seed, reentrant=reentrant)
            gc.collect(0)
            digests.append(outcome.digest)
            histogram.update(outcome.histogram)
            failures += [(seed, violation) for violation in outcome.violations[:1]]
    finally:
        if collects:
            gc.enable()
    return _Share(last - first, "".join(digests), histogram, failures)


def _add(findings: Findings, total: hashlib.blake2b, share: _Share) -> None:
    findings.worlds += share.worlds
    findings.histogram.update(share.histogram)
    findings.failures += share.failures
    total.update(share.digests.encode())
