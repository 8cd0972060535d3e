"""Single duties against a real Redis, with a scoreboard but no processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from executor_worker.duties import Circumstances, Duties
from executor_worker.duties.leases import Leases
from executor_worker.duties.reclaim import Reclaim
from executor_worker.stream import GROUP, WORK_STREAMS, Consumer, Endpoint, Held, Link
from executor_worker.stream.command import Word
from executor_worker.stream.identity import Identity
from executor_worker.stream.releases import Releases
from executor_worker.stream.script import Script
from supervisor.scoreboard import Scoreboard
from tests.kit import RedisServer

WORK = WORK_STREAMS[0]


class SlowLink(Link):
    """One on which something happens just before some commands arrive."""

    before: Callable[[], None] = staticmethod(lambda: None)
    before_run: Callable[[], None] = staticmethod(lambda: None)

    def batch(self, commands: Sequence[Sequence[Word]]) -> list[Any]:
        if commands and commands[0][0] == "XPENDING":
            self.before()
        return super().batch(commands)

    def run(self, script: Script, keys: Sequence[Word], args: Sequence[Word]) -> Any:
        self.before_run()
        return super().run(script, keys, args)


class Scene:
    """A slot of a pool, and its consumer."""

    def __init__(self, server: RedisServer) -> None:
        endpoint = Endpoint.parse(server.unix_url)
        self.db: Any = server.client()
        self.link = SlowLink(endpoint)
        self.links = [self.link, Link(endpoint), Link(endpoint)]
        self.board = Scoreboard(1)
        self.row = self.board.place(1)
        self.condemned: list[tuple[Held, str]] = []
        self.consumer = Consumer(self.links[1], "w.1", lease_s=30)
        around = Circumstances(
            self.board,
            self.link,
            Identity("w"),
            version="0",
            lease_s=30,
            delete_settled=True,
            results_maxlen=1000,
            health_port=None,
            beside=False,
            report_group=lambda _: None,
            condemn=lambda held, verdict: self.condemned.append((held, verdict)),
        )
        self.around = around
        self.reclaim = Reclaim(around, Releases(self.links[2]))

    def take_and_die(self) -> Held:
        """A worker takes an item and dies; its slot backs off."""
        self.db.xadd(WORK, {"data": "{}"})
        held = self.take()
        self.row.state, self.row.pid, self.row.since_ns = "dead", 0, 1
        return held

    def take(self) -> Held:
        taken = self.consumer.take()
        assert taken is not None
        self.row.begin(str(taken.held), "", "running")
        self.row.pid = 1
        return taken.held

    def idle_ms(self) -> int:
        (row,) = self.db.xpending_range(WORK, GROUP, "-", "+", 2)
        return int(row["time_since_delivered"])

    def close(self) -> None:
        for link in self.links:
            link.close()
        self.db.close()
        self.board.close()


@pytest.fixture
def scene(redis_server: RedisServer) -> Iterator[Scene]:
    made = Scene(redis_server)
    yield made
    made.close()


def test_what_a_dead_worker_had_is_given_back(scene: Scene) -> None:
    """Its slot backs off: anybody may take it."""
    scene.take_and_die()
    scene.reclaim.run()
    assert scene.idle_ms() > 1e9 and scene.row.released == scene.row.held


def test_what_a_successor_takes_meanwhile_stays_its_own(scene: Scene) -> None:
    """The slot is filled again between our look at it and our question to Redis."""
    scene.take_and_die()
    scene.consumer.unsure = True

    def succeed() -> None:
        scene.row.reset()
        assert scene.take().count == 2

    scene.link.before = succeed
    scene.reclaim.run()
    assert scene.idle_ms() < 1e6


def test_what_a_worker_was_ended_for_is_answered_first(scene: Scene) -> None:
    """There is no successor to do so: given back, it would be run again."""
    held = scene.take_and_die()
    scene.row.condemn("node_timeout", str(held))
    scene.reclaim.run()
    assert scene.condemned == [(held, "node_timeout")]


def test_a_new_keepers_notices_are_new_to_all(scene: Scene) -> None:
    """A worker passes over the number of a notice that it has tried: those of the keeper before must not come again."""
    scene.take_and_die()
    scene.reclaim.run()
    tried = scene.board.head.noticed
    assert tried
    scene.row.generation += 1
    Reclaim(scene.around, Releases(scene.links[2])).run()
    assert scene.board.head.noticed not in (0, tried)


@pytest.mark.parametrize(("lease_s", "at_most_s"), [(1.5, 0.25), (30.0, 1.0)])
def test_redis_is_looked_for_several_times_within_a_lease(scene: Scene, lease_s: float, at_most_s: float) -> None:
    """Nothing is renewed until it is found back: one lost line must not cost what is in hand."""
    duties = Duties(replace(scene.around, lease_s=lease_s)).all
    (pulse,) = (duty for duty in duties if duty.name == "pulse")
    assert pulse.every_seconds <= at_most_s


def test_a_renewal_is_for_what_was_in_hand_when_it_was_asked_for(scene: Scene) -> None:
    """The worker has gone on to its next item meanwhile: that one's lease is not longer for it."""
    scene.db.xadd(WORK, {"data": "{}"})
    first = scene.take()
    scene.row.lease_until_ns = 1

    def go_on() -> None:
        scene.row.begin(str(replace(first, count=2)), "", "running")

    scene.link.before_run = go_on
    Leases(scene.around).run()
    assert scene.row.lease_until_ns == 1 and not scene.row.lost
