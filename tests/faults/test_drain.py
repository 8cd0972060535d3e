"""Scenarios 21-24: leaving, reloading, changing size."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.faults.stage import GIVEN_BACK_MS, WORK, Stage, pids_of
from tests.kit import Pool, RedisServer, Stopwatch, alive, holds_for, kill_all, marked, wait_until

Signal = signal.Signals


@pytest.mark.xdist_group("quiet")
def test_21_term_when_idle(stage: Stage) -> None:
    """Gone in 1 s, whatever its blocking reads; nothing of it stays in Redis."""
    pool = stage.pool(workers=4)
    pool.wait_workers(lambda rows: all(row["state"] == "idle" for row in rows))
    wait_until(lambda: stage.db.keys("dago:workers:*"), 10, "its workers are registered")
    began = Stopwatch()
    assert pool.drain() == 0
    assert began.own_s() < 1.0
    assert not stage.db.keys("dago:workers:*") and not stage.consumers()


def test_21_term_when_busy(stage: Stage) -> None:
    """It finishes what it has, takes nothing more, exits 0."""
    pool = stage.pool(workers=2)
    stage.push("hold")
    stage.started()
    pool.send(Signal.SIGTERM)
    wait_until(lambda: pool.health()["status"] == "draining", 5, "it drains")
    assert pool.get("/ready").status_code == 503 and pool.get("/live").status_code == 200
    # One that waited for work when that was told may be given it, and gives it back.
    wait_until(lambda: len([row for row in pool.workers() if row["pid"]]) == 1, 5, "the idle one has left")
    late = stage.push("nap", "late")
    stage.journal.let_go("g")
    assert pool.wait() == 0
    assert stage.result()["data"]["attempt"] == 1
    assert [entry.decode() for entry, _ in stage.db.xrange(WORK)] == [late] and not stage.pending()


@pytest.mark.xdist_group("quiet")
@pytest.mark.parametrize("tool", ["hold", "hold_gil"])
def test_21_term_with_an_item_longer_than_drain_timeout(stage: Stage, tool: str) -> None:
    """Released at the deadline: another supervisor has it within 1 s, and the delivery is not held against it."""
    first = stage.pool(workers=1, LEASE="30", DRAIN_TIMEOUT="1")
    more: dict[str, Any] = {"seconds": 3600} if tool == "hold_gil" else {}
    stage.push(tool, **more)
    stage.started()
    stage.pool(workers=1, LEASE="30", NODE_TIMEOUT="2" if more else "60")
    began, taken = time.monotonic(), Stopwatch()
    assert first.drain() == 1, "a worker had to be killed"
    again = stage.started(count=2)
    assert again.at - began < 1.0 + 1.0 + taken.others_s()
    stage.journal.let_go("g")
    assert stage.result()["data"]["attempt"] == 1
    stage.assert_settled_once(["g"])


def test_22_term_twice(stage: Stage) -> None:
    """The second one, a second later, releases at once: exit within the 3 s that leaves."""
    pool = stage.pool(workers=2, LEASE="30")
    stage.push("hold")
    stage.push("hold_gil", "stuck", seconds=3600)
    stage.started(), stage.started("stuck")
    pool.send(Signal.SIGTERM)
    pool.wait_event("pool.draining")  # one that comes sooner than a second after the first was heard says no more
    began = Stopwatch()
    holds_for(pool.process.running, 1.1)
    pool.send(Signal.SIGTERM)
    assert pool.wait() == 1, "one had to be killed"
    assert began.own_s() < 1.1 + 3 + 1
    left = stage.pending().values()
    assert len(left) == 2 and all(idle > GIVEN_BACK_MS and count == 1 for _, idle, count in left), "both are given back"


@pytest.mark.parametrize("fault", ["killed", "frozen"])
@pytest.mark.parametrize("busy", [False, True])
def test_22_term_with_redis_away(
    start_server: Callable[..., RedisServer], make_stage: Callable[[RedisServer], Stage], fault: str, busy: bool
) -> None:
    """Idle ones leave; a busy one tries to hand in its result until DRAIN_TIMEOUT, then all leave."""
    server = start_server("redis", aof=True)
    stage = make_stage(server)
    pool = stage.pool(workers=2, DRAIN_TIMEOUT="2" if busy else "15")
    if busy:
        stage.push("hold")
        stage.started()
    server.kill() if fault == "killed" else server.freeze()
    pool.wait_event("redis.lost")
    stage.journal.let_go("g")
    began = Stopwatch()
    status = pool.drain()
    assert began.own_s() < (2 if busy else 5) + 5 and status in (0, 1)
    if not busy:
        assert status == 0
    server.start() if fault == "killed" else server.thaw()
    if busy:
        stage.pool(workers=1)
        stage.assert_settled_once(["g"])


def test_22_term_during_reload(stage: Stage) -> None:
    """The drain wins: it leaves in time, and nothing is lost."""
    pool = stage.pool(workers=3)
    for number in range(3):
        stage.push("hold", f"g{number}")
        stage.started(f"g{number}")
    pool.send(Signal.SIGHUP)
    pool.wait_event("pool.reloading")
    pool.send(Signal.SIGTERM)
    pool.wait_event("pool.draining")
    for number in range(3):
        stage.journal.let_go(f"g{number}")
    assert pool.wait(5) == 0
    stage.assert_settled_once(f"g{number}" for number in range(3))
    assert len(stage.journal.starts()) == 3


def settings_file(pool: Pool, **settings: str) -> None:
    """Write the settings file that a pool reads at SIGHUP."""
    (pool.folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in settings.items()))


def test_23_hup_under_load(stage: Stage) -> None:
    """With good and with bad settings: never fewer than N-1 ready, no item twice."""
    pool = stage.pool(workers=4)
    pids = set(pids_of(pool))
    graphs = [f"g{number}" for number in range(400)]
    for graph in graphs:
        stage.push("nap", graph, seconds=0.02)
    settings_file(pool, MAX_ITERATIONS="7")
    pool.send(Signal.SIGHUP)
    fewest = 4
    while not pool.seen("pool.reloaded"):
        with suppress(httpx2.TransportError):  # we have met the keeper that leaves
            fewest = min(fewest, sum(row["state"] in ("idle", "busy") for row in pool.workers()))
        assert pool.process.running()
    assert fewest >= 3, "N-1 are ready throughout"
    assert not pids & set(pids_of(pool))
    settings_file(pool, MAX_ITERATIONS="many")
    after = pids_of(pool)
    pool.send(Signal.SIGHUP)
    assert "MAX_ITERATIONS" in pool.wait_event("pool.reload_refused")["reason"]
    assert pids_of(pool) == after
    stage.assert_settled_once(graphs)
    assert len(stage.journal.starts()) == len(graphs)
    assert {event["data"]["attempt"] for event in stage.results()} == {1}
    wait_until(lambda: nodes_counted(pool) == len(graphs), 5, "each is counted once, whoever ran it")


def nodes_counted(pool: Pool) -> float:
    return sum(n for name, n in pool.metrics().items() if name.startswith("dago_nodes_executed_total{"))


def test_23_two_hups_at_once(stage: Stage) -> None:
    """They coalesce: at most one more reload follows the one under way; one that changes WORKERS resizes."""
    pool = stage.pool(workers=2)
    os.kill(pool.process.pid, Signal.SIGSTOP)
    pool.send(Signal.SIGHUP)
    pool.send(Signal.SIGHUP)
    os.kill(pool.process.pid, Signal.SIGCONT)
    pool.wait_event("pool.reloaded")
    for _ in range(5):
        pool.send(Signal.SIGHUP)
    pool.wait_event("pool.reloaded", count=2)
    wait_until(pool.ready, 5)
    pool.env.pop("WORKERS")
    assert len(pool.seen("pool.reloading")) <= 4
    assert len(pool.workers()) == 2


def test_23_hup_takes_what_has_changed(stage: Stage) -> None:
    """The file's WORKERS resize the pool, its LOG_LEVEL holds for workers and supervisor; what the file lost ends."""
    pool = stage.pool(WORKERS="", LOG_LEVEL="")
    assert len(pool.workers()) == 5
    settings_file(pool, WORKERS="3", LOG_LEVEL="debug")
    pool.send(Signal.SIGHUP)
    pool.wait_event("pool.reloaded")
    pool.wait_workers(lambda rows: len(rows) == 3)
    stage.push("nap")
    assert pool.wait_event("node.completed")["level"] == "debug"
    settings_file(pool, WORKERS="4")
    pool.send(Signal.SIGHUP)
    pool.wait_event("pool.reloaded", count=2)
    pool.wait_workers(lambda rows: len(rows) == 4)
    stage.push("nap", "again")
    stage.result("again")
    assert not pool.seen("node.completed", graph="again")


def test_23_hup_to_a_password_that_is_refused(stage: Stage) -> None:
    """That is a bad setting too, found out by the first that asks Redis: the old ones stay, their workers as well."""
    pool = stage.pool(workers=2)
    before = pids_of(pool)
    settings_file(pool, REDIS_PASS="nobody-asked-for-it")
    pool.send(Signal.SIGHUP)
    assert pool.wait_event("pool.reload_abandoned")["reason"].startswith("REDIS_PASS: ")
    stage.push("nap")
    stage.result()
    assert pids_of(pool) == before
    settings_file(pool, MAX_ITERATIONS="7")
    pool.send(Signal.SIGHUP)
    pool.wait_workers(lambda rows: not {row["pid"] for row in rows} & set(before))


def test_23_hup_to_another_redis(stage: Stage) -> None:
    """
    Nobody would keep the leases of what is in hand, or of what is still taken until the last worker was replaced.

    So it is refused, but for a pool that is paused and holds nothing.
    """
    pool = stage.pool(workers=2)
    stage.push("hold")
    stage.started()
    settings_file(pool, REDIS_DB="3")
    pool.send(Signal.SIGHUP)
    reason = pool.wait_event("pool.reload_refused")["reason"]
    assert reason.startswith("REDIS_ADDR: the pool works for database 0 of ") and "not for database 3 of " in reason
    pool.send(Signal.SIGTSTP)
    pool.wait_event("pool.paused")
    pool.send(Signal.SIGHUP)
    pool.wait_event("pool.reload_refused", count=2)
    stage.journal.let_go("g")
    stage.result()
    pool.wait_workers(lambda rows: all(row["state"] == "idle" for row in rows))
    stage.db = stage.server.client(db=3)
    pool.send(Signal.SIGHUP)
    pool.wait_event("pool.reloaded")
    stage.push("nap")
    pool.send(Signal.SIGCONT)
    stage.result()


def test_23_hup_while_an_item_hangs(stage: Stage) -> None:
    """Its slot is replaced when it has ended, by its time limit; the others are not kept waiting by it."""
    pool = stage.pool(workers=3, NODE_TIMEOUT="2")
    stage.push("hang", how="gil")
    hung = stage.started().pid
    pool.send(Signal.SIGHUP)
    pool.wait_workers(lambda rows: sum(row["pid"] != hung and row["state"] == "idle" for row in rows) >= 2)
    pool.wait_event("pool.reloaded")
    assert stage.result()["data"]["error_code"] == "node_timeout"
    assert not alive(hung) and len(stage.journal.starts()) == 1


@pytest.mark.cold
def test_24_usr2_to_a_good_program(stage: Stage, folder: Path) -> None:
    """The successor answers on the same port under load; the old one drains; no item is lost or run twice."""
    pool = stage.pool(workers=2)
    graphs = [f"g{number}" for number in range(200)]
    for graph in graphs:
        stage.push("nap", graph, seconds=0.02)
    try:
        pool.send(Signal.SIGUSR2)
        ready = [2]

        def left() -> bool:
            with suppress(httpx2.TransportError):  # one hands the port to the other
                ready.append(sum(row["state"] in ("idle", "busy") for row in pool.workers()))
            return not pool.process.running()

        wait_until(left, 30, "the old one has drained")
        assert pool.process.wait(0) == 0 and pool.seen("upgrade.ready")
        assert min(ready) >= 1, "N-1 are ready throughout"
        assert pool.ready(), "the successor answers"
        rows = pool.workers()
        assert [row["slot"] for row in rows] == [3, 4]
        stage.assert_settled_once(graphs)
        assert len(stage.journal.starts()) == len(graphs)
        wait_until(lambda: nodes_counted(pool) == len(graphs), 5, "no total went down")
        successor = pool.wait_event("upgrade.started")["pid"]
        os.kill(successor, Signal.SIGTERM)
        wait_until(lambda: not marked(pool.process.mark), 10, "the successor drains")
        assert not stage.consumers()
    finally:
        kill_all(marked(pool.process.mark))


@pytest.mark.cold
def test_24_usr2_to_a_broken_program(stage: Stage) -> None:
    """The old one stays, and works on."""
    pool = stage.pool(workers=2)
    pids = pids_of(pool)
    settings_file(pool, MAX_ITERATIONS="many")
    pool.send(Signal.SIGUSR2)
    pool.wait_event("upgrade.failed")
    stage.push("nap")
    stage.assert_settled_once(["g"])
    assert pids_of(pool) == pids and pool.ready()


def test_24_bursts_of_ttin_and_ttou(stage: Stage) -> None:
    """The pool ends up as wide as asked, never below 1; a busy worker finishes first."""
    pool = stage.pool(workers=2)
    stage.push("hold")
    stage.started()
    for _ in range(6):
        stop_and_send(pool, Signal.SIGTTIN)
    pool.wait_workers(lambda rows: len(rows) == 8 and sum(row["state"] == "idle" for row in rows) == 7)
    for _ in range(12):
        stop_and_send(pool, Signal.SIGTTOU)
    pool.wait_workers(lambda rows: len([row for row in rows if row["state"] in ("idle", "busy")]) <= 1)
    assert pool.health()["workers"]["configured"] == 1
    stage.journal.let_go("g")
    stage.assert_settled_once(["g"])
    pool.wait_workers(lambda rows: len(rows) == 1 and rows[0]["state"] == "idle")
    stage.push("nap", "next")
    stage.assert_settled_once(["g", "next"])
    assert len(stage.journal.starts()) == 2


def stop_and_send(pool: Pool, number: signal.Signals) -> None:
    """Send a signal and wait until it was heard: signals of one number do not queue."""
    before = len(pool.seen("pool.resized"))
    pool.send(number)
    pool.wait_event("pool.resized", count=before + 1)


def test_24_tstp_and_cont(stage: Stage) -> None:
    """No item is taken while it is paused; what is in hand is finished; then all goes on."""
    pool = stage.pool(workers=2)
    stage.push("hold")
    stage.started()
    pool.send(Signal.SIGTSTP)
    pool.wait_event("pool.paused")
    wait_until(lambda: not stage.db.info("clients")["blocked_clients"], 5, "nobody waits for an item any more")
    stage.push("nap", "later")
    stage.journal.let_go("g")
    stage.result()
    assert not stage.journal.starts("later") and not stage.pending()
    assert pool.health()["status"] == "degraded"
    pool.send(Signal.SIGCONT)
    pool.wait_event("pool.resumed")
    assert stage.result("later", 3)["data"]["attempt"] == 1
    stage.assert_settled_once(["g", "later"])


def test_24_ttou_of_a_busy_slot_whose_worker_dies(stage: Stage) -> None:
    """
    A slot on its way out gives back what it had: another one runs it.

    What its worker was ended for is answered in its name, counted and logged.
    """
    pool = stage.pool(workers=2, LEASE="30")
    stage.push("hold")
    stage.push("hold", "other")
    slots = {stage.started(graph).pid: graph for graph in ("g", "other")}
    pool.send(Signal.SIGTTOU)
    pool.wait_event("pool.resized")
    last = pool.worker_pid(2)
    graph = slots[last]
    os.kill(last, Signal.SIGKILL)
    for one in slots.values():
        stage.journal.let_go(one)
    stage.started(graph, 2)
    stage.assert_settled_once(["g", "other"])
    pool.wait_workers(lambda rows: len(rows) == 1)

    stage.push("hold", "third")
    stage.started("third")
    pool.send(Signal.SIGTTIN)
    pool.wait_workers(lambda rows: [row["state"] for row in rows] == ["busy", "idle"])
    config = {"tool_name": "hang", "tool_params": {"mark": "hangs", "how": "gil"}, "timeout": 1.5}
    stage.push_raw(json.dumps({"graph_id": "hangs", "node_id": "n", "config": config, "inputs": {}}).encode())
    stage.started("hangs")
    pool.send(Signal.SIGTTOU)
    assert stage.result("hangs")["data"]["error_code"] == "node_timeout"
    counted = 'dago_node_errors_total{code="node_timeout"}'
    wait_until(lambda: pool.metrics().get(counted) == 1, 5, "the keeper counts it")
    pool.wait_event("node.failed", graph="hangs", code="node_timeout")
    stage.journal.let_go("third")
    stage.assert_settled_once(["g", "other", "third", "hangs"])
