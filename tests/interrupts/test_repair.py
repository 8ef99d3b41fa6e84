"""Ctrl-C at any bytecode of any change of the pool, and again in the middle of its repair: nobody else loses by it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import sans_io.policy
from sans_io.http.urls import Origin
from sans_io.policy.pool import Close, Command, Pool, Route, Ticket
from tests.interrupting import at, ctrl_c
from tests.interrupts.scene import STRIDE as COARSE

FILES = (str(Path(sans_io.policy.__file__).parent),)
FULL, ROOMY = (Route(Origin("http", name, 80)) for name in ("full", "roomy"))
MOST = 3
#: A change of the pool by itself is short and quick: more of its bytecodes are tried than of a whole call's.
STRIDE = max(1, COARSE // 3)


class Scene:
    """One route is full: two leases, somebody who dials, and who waits behind. The other has a lease and an idle one."""

    def __init__(self, crowd: int) -> None:
        self.pool: Pool[str] = Pool(MOST)
        self.open: list[str] = []
        self.leased, self.other, self.dialling = (self.come(FULL) for _ in range(3))
        self.reused, idle = self.come(ROOMY), self.come(ROOMY)
        for name in ("leased", "other", "reused"):
            self.connect(getattr(self, name), name)
        self.connect(idle, "idle")
        for ticket in (idle, self.reused):
            self.obey(self.pool.release(ticket, True, 1.0))
        self.reused = self.come(ROOMY)
        assert self.reused.reused
        self.crowd = [self.come(FULL) for _ in range(crowd)]

    def come(self, route: Route) -> Ticket[str]:
        ticket, commands = self.pool.acquire(route, 1.0)
        self.obey(commands)
        return ticket

    def connect(self, ticket: Ticket[str], name: str) -> None:
        self.open.append(name)
        self.obey(self.pool.on_connected(ticket, name, 1.0))

    def obey(self, commands: list[Command[str]]) -> None:
        for command in commands:
            if isinstance(command, Close):
                self.open.remove(command.conn)

    def repair(self) -> None:
        self.obey(self.pool.repair(self.open, 2.0))

    @property
    def everybody(self) -> list[Ticket[str]]:
        return [self.leased, self.other, self.dialling, self.reused, *self.crowd]


#: A change, and whose owner makes it: the one that is interrupted.
CHANGES: dict[str, tuple[str, Callable[[Scene, Ticket[str]], None]]] = {
    "release": ("leased", lambda scene, ticket: scene.obey(scene.pool.release(ticket, True, 1.0))),
    "release unusable": ("leased", lambda scene, ticket: scene.obey(scene.pool.release(ticket, False, 1.0))),
    "cancel a dial": ("dialling", lambda scene, ticket: scene.obey(scene.pool.cancel(ticket, 1.0))),
    "connected": ("dialling", lambda scene, ticket: scene.connect(ticket, "dialling")),
    "stale": ("reused", lambda scene, ticket: scene.obey(scene.pool.on_stale(ticket, 1.0))),
    "park": ("reused", lambda scene, ticket: scene.obey(scene.pool.release(ticket, True, 1.0))),
    "close": ("reused", lambda scene, ticket: scene.obey(scene.pool.close(1.0))),
    "expire": ("reused", lambda scene, ticket: scene.obey(scene.pool.expire(100.0))),
    "a seat at once": ("new", lambda scene, ticket: scene.obey(scene.pool.acquire(ROOMY, 1.0, ticket=ticket)[1])),
    "a place in the queue": ("new", lambda scene, ticket: scene.obey(scene.pool.acquire(FULL, 1.0, ticket=ticket)[1])),
}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("crowd", [0, 2])
@pytest.mark.parametrize("name", CHANGES)
def test_no_bytecode_of_a_change_or_of_its_repair_loses_anything(name: str, crowd: int) -> None:
    whose, change = CHANGES[name]
    first, second, tried = 1, 0, 0
    while True:
        scene = Scene(crowd)
        own: Ticket[str] = getattr(scene, whose, None) or Ticket(FULL if name == "a place in the queue" else ROOMY)
        if not interrupted(first, lambda scene=scene, own=own: change(scene, own)):
            break
        if second and not interrupted(second, scene.repair):
            first, second = first + STRIDE, 0
            continue
        try:
            check(scene, own)
        except Exception as error:
            error.add_note(f"interrupted before bytecode {first}, and the repair before {second or 'none'}")
            raise
        tried += 1
        second += 5 * STRIDE
    assert tried > 100


def interrupted(step: int, run: Callable[[], object]) -> bool:
    try:
        return at(step, ctrl_c, run, files=FILES)[1]
    except KeyboardInterrupt:
        return True


def check(scene: Scene, own: Ticket[str]) -> None:
    pool = scene.pool
    others = [ticket for ticket in scene.everybody if ticket is not own]
    scene.repair()
    add_up(scene, others)
    scene.obey(pool.cancel(own, 3.0))
    # They have what they had, and who waits has moved up.
    assert all(ticket.state in ("granted", "waiting") for ticket in others), others
    for name in ("leased", "other", "reused"):
        ticket = getattr(scene, name)
        assert ticket is own or (ticket.granted and ticket.conn == name), name
    assert scene.dialling is own or (scene.dialling.granted and scene.dialling.conn is None)
    served = [ticket.granted for ticket in scene.crowd]
    assert served == [own.route is FULL and own in scene.everybody, False][: len(served)]
    add_up(scene, others)
    for ticket in others:
        scene.obey(pool.cancel(ticket, 4.0))
    scene.obey(pool.close(5.0))
    add_up(scene, others)
    assert scene.open == []
    assert pool._routes == {}


def add_up(scene: Scene, others: list[Ticket[str]]) -> None:
    stats = scene.pool.stats()
    assert min(stats.idle, stats.leased, stats.connecting, stats.waiting) >= 0, stats
    assert stats.open == len(scene.open), (stats, scene.open)
    assert stats.dialled == stats.open + sum(stats.destroyed.values()), stats
    assert stats.leased + stats.connecting >= sum(ticket.granted for ticket in others)
    assert stats.waiting >= sum(ticket.state == "waiting" for ticket in others)
