"""Faults beyond the list, each of them found by trying to break it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from tests.faults.stage import Stage, pids_of, unharmed
from tests.faults.test_hang import freeze, thaw
from tests.kit import Proxy, holds_for, wait_until

Signal = signal.Signals


def test_reload_keeps_what_busy_workers_hold(stage: Stage) -> None:
    """Only the keeper is exchanged at first: it must not give back what living workers have in hand."""
    pool = stage.pool(workers=2, LEASE="30")
    stage.push("hold")
    stage.started()
    before = stage.pending()
    pool.send(Signal.SIGHUP)
    pool.wait_event("keeper.up", count=2)
    pool.wait_workers(lambda rows: sum(row["state"] == "idle" for row in rows) == 1)
    ((consumer, idle, count),) = stage.pending().values()
    assert (consumer, count) == next(iter(before.values()))[::2] and idle < 1e6
    assert stage.db.keys("dago:executor:test-*") or stage.db.keys("dago:executor:*"), "the name is still ours"
    stage.journal.let_go("g")
    pool.wait_event("pool.reloaded")
    stage.assert_settled_once(["g"])
    assert len(stage.journal.starts()) == 1 and stage.results()[0]["data"]["attempt"] == 1


def test_idle_worker_is_not_killed_for_its_predecessors_deadline(stage: Stage) -> None:
    """A slot whose worker was killed at a deadline gets one new worker, not several in a row."""
    pool = stage.pool(workers=1, NODE_TIMEOUT="0.5")
    for number in range(3):
        stage.push("hang", f"g{number}", how="gil")
        assert stage.result(f"g{number}")["data"]["error_code"] == "node_timeout"
    pool.wait_event("slot.dead", count=3)
    assert len(pool.seen("slot.dead")) == 3 and len(pool.seen("slot.overdue")) == 3


def test_slot_that_backed_off_shows_nothing_in_hand(stage: Stage) -> None:
    """What its last worker held went to somebody else: registry and leases don't speak of it any more."""
    pool = stage.pool(workers=2, MAX_DELIVERIES="4", LEASE="1")
    stage.push("crash", how="SIGKILL", times=100)
    stage.result()
    pool.wait_workers(lambda rows: all(row["state"] == "idle" for row in rows))
    keys = [key.decode() for key in stage.db.keys("dago:workers:*")]
    assert len(keys) == 2
    wait_until(lambda: all(b'"status":"idle"' in (stage.db.get(key) or b"") for key in keys), 8, "both are idle")


def test_keeper_killed_again_and_again(stage: Stage) -> None:
    """Nothing is stolen, nothing is done twice, health comes back each time."""
    pool = stage.pool(workers=2, LEASE="3")
    stage.pool(workers=1, LEASE="3")
    stage.push("hold")
    stage.started()
    for number in range(5):
        keeper = pool.wait_event("keeper.up", count=number + 1)["pid"]
        os.kill(keeper, Signal.SIGKILL)
    pool.wait_event("keeper.up", count=6)
    holds_for(lambda: len(stage.journal.starts()) == 1, 4, "it is not stolen")
    stage.journal.let_go("g")
    stage.assert_settled_once(["g"])
    wait_until(pool.ready, 5)


def test_server_that_sleeps(stage: Stage) -> None:
    """DEBUG SLEEP longer than LEASE: a busy server is no reason to run anything twice."""
    stage.db.config_set("busy-reply-threshold", "100")
    pool = stage.pool(workers=3, LEASE="2")
    stage.pool(workers=1, LEASE="2")
    for graph in ("a", "b"):
        stage.push("hold", graph)
        stage.started(graph)
    with stage.server.client(socket_timeout=20) as client:
        client.eval("local t=redis.call('TIME')[1]+3 while redis.call('TIME')[1]+0<t do end", 0)
    for graph in ("a", "b"):
        stage.journal.let_go(graph)
    stage.assert_settled_once(["a", "b"])
    assert len(stage.journal.starts()) == 2 and not pool.seen("slot.dead")


def test_two_pools_stopped_in_turn(stage: Stage) -> None:
    """Whole pools are suspended past LEASE and go on: each item has one result, whoever ran it."""
    pools = [stage.pool(workers=2, LEASE="1") for _ in range(2)]
    graphs = [f"g{number}" for number in range(60)]
    for graph in graphs:
        stage.push("nap", graph, seconds=0.1)
    for pool in (*pools, *pools):
        freeze(pool)
        holds_for(pool.process.running, 1.3, "it is only suspended")
        thaw(pool)
    stage.assert_settled_once(graphs)
    for pool in pools:
        wait_until(pool.ready, 10)


def test_single_worker_killed(stage: Stage) -> None:
    """`work` without a supervisor: its keeper goes with it, its item is taken over after LEASE."""
    alone = stage.pool(command=("work",), wait=False, LEASE="1", HEALTH_PORT="")
    stage.push("hold")
    worker = stage.started().pid
    alone.process.kill()
    assert worker == alone.process.pid
    wait_until(lambda: not alone.process.relatives(), 2, "its keeper is gone too")
    stage.journal.let_go("g")
    again = stage.pool(command=("work",), wait=False, LEASE="1", HEALTH_PORT="")
    assert stage.result()["data"]["attempt"] == 2
    stage.assert_settled_once(["g"])
    again.send(Signal.SIGTERM)
    assert again.wait(5) == 0
    assert not stage.db.keys(f"dago:workers:{again.env['WORKER_ID']}.*")


def test_single_worker_whose_keeper_is_killed(stage: Stage) -> None:
    """It finishes what it has in hand and leaves, with a status that says so."""
    alone = stage.pool(command=("work",), wait=False, LEASE="5", HEALTH_PORT="")
    stage.push("hold")
    stage.started()
    os.kill(alone.wait_event("worker.up")["keeper"], Signal.SIGKILL)
    stage.journal.let_go("g")
    assert alone.wait(10) == 1
    stage.assert_settled_once(["g"])


def test_everybody_hangs_up_while_settling(stage: Stage, proxy: Callable[..., Proxy]) -> None:
    """The line is dead for longer than LEASE exactly when a result is to be handed in: one run, one result."""
    line = proxy(stage.server.port)
    pool = stage.pool(workers=2, REDIS_ADDR=line.addr, LEASE="2")
    stage.push("hold")
    stage.started()
    line.black_hole = True
    stage.journal.let_go("g")
    pool.wait_event("redis.lost", 10)
    holds_for(lambda: not stage.results(), 2.5)
    line.black_hole = False
    line.cut()
    stage.assert_settled_once(["g"])
    assert len(stage.journal.starts()) == 1


def test_supervisor_in_a_flood_of_signals(stage: Stage) -> None:
    """Reports, reopened logs, pauses and foreign signals in any number disturb nobody."""
    pool = stage.pool(workers=2)
    pids = pids_of(pool)
    graphs = [f"g{number}" for number in range(50)]
    for number, graph in enumerate(graphs):
        stage.push("nap", graph, seconds=0.02)
        for each in (Signal.SIGALRM, Signal.SIGUSR1, Signal.SIGCHLD, Signal.SIGTSTP, Signal.SIGCONT)[number % 2 :: 2]:
            pool.send(each)
        for pid in pids:
            os.kill(pid, (Signal.SIGUSR1, Signal.SIGALRM, Signal.SIGINT, Signal.SIGHUP)[number % 4])
    pool.send(Signal.SIGCONT)
    stage.assert_settled_once(graphs)
    assert unharmed(pool, pids) and {event["type"] for event in stage.results()} == {"node.completed"}


@pytest.mark.parametrize("number", [Signal.SIGTERM, Signal.SIGQUIT, Signal.SIGINT])
def test_worker_told_to_leave_by_somebody_else(stage: Stage, number: signal.Signals) -> None:
    """As a control group's signal does: no item is lost or counted, the slot is filled again."""
    pool = stage.pool(workers=2, LEASE="30")
    stage.push("hold")
    pid = stage.started().pid
    os.kill(pid, number)
    stage.journal.let_go("g")
    stage.assert_settled_once(["g"])
    assert stage.results()[0]["data"]["attempt"] == 1
    pool.wait_workers(lambda rows: all(row["state"] == "idle" for row in rows))
