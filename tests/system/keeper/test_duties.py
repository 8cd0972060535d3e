"""Single duties against a real Redis, with a scoreboard but no processes."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest

from executor_worker.broker import GROUP, WORK_STREAMS, Consumer, Endpoint, Held, Link
from executor_worker.broker.connection.command import Word
from executor_worker.broker.connection.script import Script
from executor_worker.broker.fleet.cancelled import LARGEST
from executor_worker.broker.fleet.identity import Identity
from executor_worker.broker.names import RELEASED_CHANNEL, SWEEPER_PREFIX
from executor_worker.broker.queue.releases import Releases
from executor_worker.keeper import housekeeping
from executor_worker.keeper.cancellation import Cancel
from executor_worker.keeper.duties import Duties, PoolContext
from executor_worker.keeper.housekeeping import Memory
from executor_worker.keeper.leases import Leases
from executor_worker.keeper.rates import Rates
from executor_worker.keeper.reclaim import Reclaim
from executor_worker.keeper.redis_monitor import RedisMonitor
from executor_worker.keeper.registration import RegistrationDuty
from supervisor.scoreboard.scoreboard import Row, Scoreboard
from tests.kit import RedisServer, wait_until

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
        self.board = Scoreboard(4)
        self.row = self.board.place(1)
        self.condemned: list[tuple[Held, str]] = []
        self.consumer = Consumer(self.links[1], "w.1", lease_s=30)
        around = PoolContext(
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
            settle_condemned=lambda held, failure_code, _: self.condemned.append((held, failure_code)),
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


def test_only_the_first_sweep_does_not_wait_for_its_turn(scene: Scene) -> None:
    """A pool that has just started looks though another one has the stream; later it waits until that lets go."""
    scene.consumer.take()  # makes the group
    turn = SWEEPER_PREFIX + WORK
    scene.db.set(turn, "other")

    def left_lying() -> str:
        entry = str(scene.db.xadd(WORK, {"data": "{}"}).decode())
        scene.db.xreadgroup(GROUP, "gone.1", {WORK: ">"}, count=1)
        scene.db.xclaim(WORK, GROUP, "gone.1", 0, [entry], idle=60_000, justid=True)
        return entry

    def offered() -> str:
        scene.reclaim._next_sweep = 0.0
        scene.reclaim.run()
        return scene.board.head.notice

    first = left_lying()
    assert first in offered()
    scene.db.xack(WORK, GROUP, first)
    second = left_lying()
    assert second not in offered()
    scene.db.delete(turn)
    assert second in offered()


def test_what_a_successor_takes_meanwhile_stays_its_own(scene: Scene) -> None:
    """The slot is filled again between our look at it and our question to Redis."""
    scene.take_and_die()
    scene.consumer.may_have_unseen = True

    def succeed() -> None:
        scene.row.reset()
        assert scene.take().count == 2

    scene.link.before = succeed
    scene.reclaim.run()
    assert scene.idle_ms() < 1e6


def test_what_a_worker_was_ended_for_is_answered_first(scene: Scene) -> None:
    """There is no successor to do so: given back, it would be run again."""
    held = scene.take_and_die()
    scene.row.record_kill("node_timeout", str(held))
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
    (redis_monitor,) = (duty for duty in duties if duty.name == "redis_monitor")
    assert redis_monitor.every_seconds <= at_most_s


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


def test_what_a_drain_has_cut_short_is_not_held_against_the_item(scene: Scene) -> None:
    """Also where the keeper comes to it late: it had died as well, and another one took its place."""
    held = scene.take_and_die()
    scene.board.head.mode = "draining"
    scene.row.cut_short = True
    scene.reclaim.run()
    taken = scene.consumer.take(stale=[(held.stream, held.entry)])
    assert taken is not None and (taken.held.count, taken.held.attempt) == (2, 1)


def test_workers_that_are_stopped_are_not_woken_for_others(scene: Scene) -> None:
    """Few are woken for what nobody works on: those must be able to come."""
    held = scene.take_and_die()
    rows = [scene.board.place(slot) for slot in (2, 3, 4)]
    for row in rows:
        row.state = "idle"
        row.stopped = row.slot < 4
    scene.reclaim.run()
    assert [row.clear_wake() for row in rows] == [False, False, True], held


def test_every_idle_worker_is_woken_in_its_turn(scene: Scene) -> None:
    """One that can't come, for whatever reason, must not be the only one that is asked."""
    rows = [scene.board.place(slot) for slot in (2, 3, 4)]
    for row in rows:
        row.state = "idle"
    woken: set[int] = set()

    def wake() -> bool:
        scene.db.publish(RELEASED_CHANNEL, f"{WORK} 1-1")
        scene.reclaim.run()
        woken.update(row.slot for row in rows if row.clear_wake())
        return woken == {2, 3, 4}

    wait_until(wake, 5, "all of them were woken")


def test_a_keeper_that_takes_much_over_shows_that_it_lives(scene: Scene) -> None:
    """A predecessor may have had hundreds of slots, and Redis may be far away."""
    scene.db.xgroup_create(WORK, GROUP, "0", mkstream=True)
    for number in range(10, 13):
        scene.db.xgroup_createconsumer(WORK, GROUP, f"w.{number}")
    beats: list[int] = []
    scene.link.before_run = lambda: beats.append(scene.board.head.keeper_beat_ns)
    RedisMonitor(scene.around, on_back=lambda: None, every_s=1.0).run()
    assert scene.board.head.gate and len(set(beats) - {0}) == 3


def test_a_slot_that_went_together_with_its_keeper_leaves_the_registry(scene: Scene) -> None:
    """A reload replaces the keeper, and may close slots: the next one strikes them off all the same."""
    scene.board.place(2)
    RegistrationDuty(scene.around, Rates(scene.board)).run()
    assert scene.db.exists("dago:workers:w.1", "dago:workers:w.2") == 2
    scene.board.remove(2)
    RegistrationDuty(scene.around, Rates(scene.board)).run()
    assert scene.db.exists("dago:workers:w.1") == 1
    assert scene.db.exists("dago:workers:w.2") == 0


def test_a_name_that_was_taken_meanwhile_is_left_to_who_has_it(scene: Scene) -> None:
    """Nothing is taken any more, and the pool ends with the reason: both would mistake the other's items for theirs."""
    redis_monitor = RedisMonitor(scene.around, on_back=lambda: None, every_s=1.0)
    redis_monitor.run()
    scene.db.hset(scene.around.identity.key, "token", "somebody else")
    redis_monitor = RedisMonitor(scene.around, on_back=lambda: None, every_s=1.0)
    with pytest.raises(SystemExit) as ended:
        redis_monitor.run()
    assert ended.value.code == 78 and not scene.board.head.gate
    assert "'w' was taken by another supervisor" in scene.board.head.reason


@pytest.mark.parametrize(("at_once", "soon"), [(16, [True, True, False]), (1, [True, False, False])])
def test_new_workers_are_measured_before_those_that_are_known(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, at_once: int, soon: list[bool]
) -> None:
    """Some of them at once; then they take turns."""
    monkeypatch.setattr(housekeeping, "FIRST", at_once)
    with ExitStack() as ended:
        for slot in (1, 2, 3):
            child = ended.enter_context(subprocess.Popen(["sleep", "60"]))
            ended.callback(child.kill)
            scene.board.place(slot).pid = child.pid
        memory, rows = Memory(scene.around), scene.board.rows()
        assert [memory.run() < 0.1 for _ in rows] == soon
        assert all(row.pss_bytes for row in rows)
        for row in rows:
            row.pss_bytes = 0
        turns = []
        for _ in rows:
            assert memory.run() >= 1
            turns.append([row.slot for row in rows if row.pss_bytes])
        assert [len(slots) for slots in turns] == [1, 2, 3]


def refused_later(scene: Scene, *, on_trial: bool) -> RedisMonitor:
    """The pulse of a keeper that comes when Redis has begun to refuse its pool."""
    RedisMonitor(scene.around, on_back=lambda: None, every_s=1.0).run()
    scene.board.head.on_trial = on_trial
    scene.link.close()
    scene.db.config_set("requirepass", "new")
    return RedisMonitor(scene.around, on_back=lambda: None, every_s=1.0)


def test_a_keeper_that_redis_begins_to_refuse_waits(scene: Scene) -> None:
    """A password that is changed there must not end a pool that runs, whichever of its keepers finds out."""
    refused_later(scene, on_trial=False).run()
    assert scene.board.head.gate and not scene.board.head.redis_up


def test_a_keeper_with_new_settings_that_redis_refuses_says_so(scene: Scene) -> None:
    """So that the old ones come back; one that was let in before waits."""
    redis_monitor = refused_later(scene, on_trial=True)
    with pytest.raises(SystemExit) as ended:
        redis_monitor.run()
    assert ended.value.code == 78 and scene.board.head.reason.startswith("REDIS_PASS: ")
    scene.db.config_set("requirepass", "")
    redis_monitor.run()
    scene.link.close()
    scene.db.config_set("requirepass", "new")
    scene.board.head.redis_up = False  # else it would not ask so soon
    redis_monitor.run()
    assert scene.board.head.gate and not scene.board.head.redis_up


class Running:
    """A graph's node that the slot's worker runs, and a keeper that looks after it."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.row = scene.row
        self.calls = 0
        self.pressed = 0
        scene.row.begin("held", "g/n", "running")
        self.run = self.begin()
        scene.link.before_run = self._count
        self.duty = Cancel(replace(scene.around, interrupt=self._press))

    def begin(self, key: str = "dago:state:g") -> int:
        """Begin a run that has lasted for a while."""
        self.row.begin_run("g/n", "running", 0, key)
        self.row.run -= 10**9
        return self.row.run

    def is_over(self) -> bool:
        return over(self.row)

    def store(self, status: str, **more: Any) -> None:
        self.scene.db.set("dago:state:g", json.dumps({"status": status, **more}))

    def follow(self) -> None:
        """Another run begins."""
        self.row.begin_run("g/n", "running", 0, "dago:state:other")

    def _count(self) -> None:
        self.calls += 1

    def _press(self) -> None:
        self.pressed += 1


def over(row: Row) -> bool:
    return row.run_is_over


@pytest.fixture
def running(scene: Scene) -> Running:
    return Running(scene)


def test_cancelled_graph_ends_its_run(running: Running) -> None:
    """The supervisor is woken; one that goes on all the same is seen to be over."""
    running.store("running")
    running.duty.run()
    assert not running.is_over() and not running.scene.board.event_fd.clear()
    running.store("cancelled")
    running.duty.run()
    assert running.is_over() and running.scene.board.event_fd.clear() and running.pressed == 0
    running.duty.run()
    assert running.pressed == 1
    running.row.end_run()
    running.duty.run()
    assert running.pressed == 1 and not running.is_over()


def test_run_that_follows_is_another(running: Running) -> None:
    """It began while we asked: what is said of the one before does not hit it."""
    running.store("cancelled")
    running.scene.link.before_run = running.follow
    running.duty.run()
    assert running.row.stop_run == running.run and not running.is_over()


def test_nothing_is_asked_while_nothing_lasts(running: Running) -> None:
    """Neither by an idle pool nor for items that are done in a moment."""
    running.row.begin_run("g/n", "running", 0, "dago:state:g")
    running.duty.run()
    running.row.end_run()
    running.duty.run()
    running.begin("x" * 1000)
    running.duty.run()
    assert running.calls == 0


def test_word_in_a_document_is_read_once(running: Running) -> None:
    """It does not say that the graph was cancelled; when it changes, it is read again."""
    running.store("running", note="cancelled")
    for _ in range(3):
        running.duty.run()
        assert not running.is_over() and running.calls > 0
    running.store("cancelled", note="cancelled")
    running.duty.run()
    assert running.is_over()


def test_large_document_is_left_to_the_worker(running: Running) -> None:
    """It asks by itself, at its next step."""
    running.store("cancelled", text="x" * LARGEST)
    running.duty.run()
    assert not running.is_over() and running.row.unwatched_run == running.run


def test_lost_lease_is_told_of_the_run_it_was_for(scene: Scene) -> None:
    """Interrupted is what ran then; what follows is not."""
    scene.db.xadd(WORK, {"data": "{}"})
    scene.take()
    (row,) = scene.db.xpending_range(WORK, GROUP, "-", "+", 2)
    scene.db.xclaim(WORK, GROUP, "elsewhere.1", 0, [row["message_id"]])
    run = scene.row.begin_run("g/n", "running", 0, "dago:state:g")
    Leases(scene.around).run()
    assert scene.row.lost and scene.row.lost_run == run and over(scene.row)
    scene.row.begin_run("g/n", "running", 0, "dago:state:g")
    assert not over(scene.row)
