"""Scenarios 9-14: what hangs, is stopped, or comes back late."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest

from tests.faults.stage import ENVELOPED, GROUP, WORK, Stage
from tests.kit import Pool, holds_for, wait_until

CAN_BE_INTERRUPTED = ("sleep", "lock")


def test_09_item_ten_times_as_long_as_the_lease(stage: Stage) -> None:
    """One execution, though another pool looks for what nobody works on."""
    stage.pool(workers=1, LEASE="2")  # a keeper that has no core for so long loses it, and rightly so
    stage.push("nap", seconds=20.0)
    stage.started()
    stage.pool(workers=1, LEASE="2")
    assert stage.result()["data"]["attempt"] == 1
    stage.assert_settled_once(["g"])
    assert len(stage.journal.starts()) == 1


def test_10_c_call_that_holds_the_gil_longer_than_the_lease(stage: Stage) -> None:
    """Not stolen: the lease is renewed from outside its interpreter."""
    stage.pool(workers=1, LEASE="2")
    stage.push("hold_gil", seconds=8.0)
    stage.started()
    other = stage.pool(workers=1, LEASE="2")
    assert stage.result()["data"]["attempt"] == 1
    stage.assert_settled_once(["g"])
    assert len(stage.journal.starts()) == 1
    assert other.metrics()["dago_items_reclaimed_total"] == 0


@pytest.mark.parametrize("how", ["sleep", "lock", "loop", "gil", "c_call", "stopped"])
def test_11_past_node_timeout(stage: Stage, how: str) -> None:
    """Stacks in the log where there are any, killed where it must be, node_timeout on the wire, others untouched."""
    pool = stage.pool(workers=2, NODE_TIMEOUT="1")
    other = "other"
    stage.push("hang", how=how)
    hung = stage.started()
    for number in range(3):
        stage.push("nap", f"{other}{number}", seconds=0.5)
    result = stage.result()
    assert result["data"]["error_code"] == "node_timeout" and result["data"]["attempt"] == 1, result
    stage.assert_settled_once(["g", *(f"{other}{number}" for number in range(3))])
    assert len(stage.journal.starts("g")) == 1
    if how in CAN_BE_INTERRUPTED:
        assert not pool.seen("slot.dead"), "it could be interrupted: its worker goes on"
    else:
        dead = pool.wait_event("slot.dead", pid=hung.pid)
        assert dead["cause"] == "signal:SIGKILL" and dead["why"] == "node_timeout"
        assert pool.metrics()['dago_worker_restarts_total{reason="deadline"}'] == 1
        pool.wait_workers(lambda rows: all(row["state"] == "idle" for row in rows))
    if how in ("loop", "gil", "c_call"):
        shown = pool.wait_event("slot.overdue_stack", pid=hung.pid)["stack"]
        assert " hang < " in shown.partition(" | ")[0], shown
        assert (" _other_thread < " in shown.partition(" | ")[2]) == (how == "c_call"), "all threads' stacks"
        assert pool.wait_event("node.failed", code="node_timeout")["where"].startswith("tests/faults/tools.py:")
    assert all(event["data"]["attempt"] == 1 for event in stage.results()), "nobody else was disturbed"


def test_11_past_node_timeout_while_draining(stage: Stage) -> None:
    """The hung worker gets no successor: the keeper says node_timeout for it, and nobody runs the item again."""
    pool = stage.pool(workers=1, NODE_TIMEOUT="2", DRAIN_TIMEOUT="20")
    stage.push("hang", how="gil")
    stage.started()
    assert pool.drain() == 0, "it was killed for its own sake, not for the drain's"
    result = stage.result()
    assert result["data"]["error_code"] == "node_timeout" and result["data"]["attempt"] == 1, result
    stage.assert_settled_once(["g"])
    assert len(stage.journal.starts("g")) == 1


@pytest.mark.parametrize("way", ["TTOU", "TERM"])
def test_11_past_node_timeout_with_no_successor_while_others_work(stage: Stage, way: str) -> None:
    """Its slot goes, the pool does not yet: the keeper says node_timeout for it, nobody runs the item again."""
    pool = stage.pool(workers=2, NODE_TIMEOUT="3", LEASE="30")
    stage.push("hang", how="gil")
    began = stage.started().at
    # The other one is at work for so long that what the first had would be given back meanwhile.
    wait_until(lambda: time.monotonic() > began + 2.2, 5, "the first is about to be killed")
    stage.push("hang", "h", how="gil")
    stage.started("h")
    pool.send(signal.Signals[f"SIG{way}"])
    if way == "TERM":
        stage.pool(workers=1, NODE_TIMEOUT="30", LEASE="30")
    for graph in ("g", "h"):
        result = stage.result(graph)
        assert result["data"]["error_code"] == "node_timeout" and result["data"]["attempt"] == 1, result
    stage.assert_settled_once(["g", "h"])
    assert [len(stage.journal.starts(graph)) for graph in ("g", "h")] == [1, 1]


@pytest.mark.xdist_group("quiet")
def test_11_verdict_is_not_for_an_item_of_the_same_id_in_the_other_stream(stage: Stage) -> None:
    """The hung one went to somebody else meanwhile; what its worker's successor takes is another item."""
    pool = stage.pool(workers=1, NODE_TIMEOUT="4", LEASE="30")
    entry = stage.push("hang", how="gil")
    stage.started()
    stage.db.xclaim(WORK, GROUP, "somebody.1", 0, [entry], justid=True)
    config = {"tool_name": "nap", "tool_params": {"mark": "other"}}
    item = {"graph_id": "other", "node_id": "n", "config": config, "inputs": {}}
    stage.db.xadd(ENVELOPED, {"data": json.dumps(item)}, id=entry)
    assert stage.result("other")["type"] == "node.completed"
    assert pool.wait_event("slot.overdue") and not stage.results("g")


def test_11_worker_that_comes_round_before_it_is_killed(stage: Stage) -> None:
    """It hands in what it has and takes nothing more: the next item is run once, by its successor."""
    pool = stage.pool(workers=1, NODE_TIMEOUT="1.5", LEASE="30")
    for number in range(9):
        stage.push("hold_gil", f"g{number}", seconds=2.02)  # condemned 0.25 to 0.5 s after its time's end, killed later
        stage.started(f"g{number}")
        stage.push("nap", f"next{number}", seconds=0.8)
        result = stage.result(f"next{number}")
        assert result["data"]["attempt"] == 1 and len(stage.journal.starts(f"next{number}")) == 1
        if pool.seen("slot.overdue"):  # else it came round before it was condemned, which shows nothing
            break
    stage.assert_settled_once([f"{name}{count}" for count in range(number + 1) for name in ("g", "next")])
    assert pool.seen("slot.overdue")


def test_12_stopped_worker_whose_item_was_taken_over(stage: Stage) -> None:
    """A whole pool is stopped, another one settles its item; when the worker goes on it is fenced, nothing written."""
    stage.lease_s = 1.0
    first = stage.pool(workers=1)
    stage.push("hold_first")
    worker = stage.started().pid
    freeze(first)
    stage.pool(workers=1)
    result = stage.result()
    assert result["data"]["attempt"] == 2
    before = stage.server_snapshot()
    stage.journal.let_go("g")
    os.kill(worker, signal.SIGCONT)
    fenced = first.wait_event("item.fenced")
    assert fenced["entry"] and fenced["level"] == "warn"
    assert stage.server_snapshot() == before, "nothing was written"
    thaw(first)
    wait_until(lambda: first.metrics()["dago_items_fenced_total"] == 1, 5, "it is counted")
    stage.push("nap", "next")
    stage.assert_settled_once(["g", "next"])


def test_12_stopped_worker_alone_stays_the_holder(stage: Stage) -> None:
    """Its keeper goes on renewing until NODE_TIMEOUT says otherwise; on SIGCONT it goes on."""
    first = stage.pool(workers=1, LEASE="3")
    stage.push("hold")
    worker = stage.started().pid
    stage.pool(workers=1, LEASE="3")
    os.kill(worker, signal.SIGSTOP)
    first.wait_event("slot.stopped", slot=1)
    holds_for(lambda: len(stage.journal.starts()) == 1, 5, "nobody else takes it")
    os.kill(worker, signal.SIGCONT)
    stage.journal.let_go("g")
    stage.assert_settled_once(["g"])
    assert len(stage.journal.starts()) == 1 and stage.results()[0]["data"]["attempt"] == 1


@pytest.mark.parametrize("who", ["keeper", "supervisor"])
def test_13_stopped_keeper_or_supervisor(stage: Stage, who: str) -> None:
    """Past LEASE and back: nothing is stolen, nothing is done twice."""
    first = stage.pool(workers=2, LEASE="3")
    stage.pool(workers=1, LEASE="3")
    keeper = first.wait_event("keeper.up")["pid"]
    for graph in ("a", "b"):
        stage.push("hold", graph)
    holders = {stage.started(graph).pid for graph in ("a", "b")}
    stopped = keeper if who == "keeper" else first.process.pid
    os.kill(stopped, signal.SIGSTOP)
    if who == "keeper":
        first.wait_event("keeper.dead", pid=keeper)
        first.wait_event("keeper.up", count=2)
    holds_for(lambda: len(stage.journal.starts()) == 2, 5, "nothing is stolen")
    if who == "supervisor":
        os.kill(stopped, signal.SIGCONT)
    holds_for(lambda: len(stage.journal.starts()) == 2, 1.0, "nothing is stolen back")
    for graph in ("a", "b"):
        stage.journal.let_go(graph)
    stage.assert_settled_once(["a", "b"])
    assert {fact.pid for fact in stage.journal.facts(what="end")} == holders
    wait_until(first.ready, 5, "it is ready")


def test_14_item_that_returns_to_the_same_consumer(stage: Stage) -> None:
    """A → B → A: the first attempt is fenced by the delivery count, the item runs again and is settled once."""
    pool = stage.pool(workers=1, LEASE="1")
    stage.push("hold_first")
    stage.started()
    ((entry, (consumer, _, count)),) = stage.pending().items()
    assert count == 1
    stage.db.xclaim(WORK, GROUP, "elsewhere.1", 0, [entry])
    stage.db.xclaim(WORK, GROUP, consumer, 0, [entry])
    assert stage.pending()[entry][::2] == (consumer, 3)
    stage.journal.let_go("g")
    result = stage.result()
    assert result["data"]["attempt"] > 3 and result["data"]["output"] == "again"
    wait_until(lambda: pool.seen("item.fenced") or pool.seen("item.lost"), 5, "it is told")
    stage.assert_settled_once(["g"])
    assert stage.node()["output"] == "again"
    wait_until(lambda: pool.metrics()["dago_items_fenced_total"] == 1, 5, "it is counted, once")


def freeze(pool: Pool) -> None:
    """Stop all of a pool's processes: what a suspended host looks like."""
    for pid in everyone_of(pool):
        os.kill(pid, signal.SIGSTOP)


def thaw(pool: Pool) -> None:
    """Let them go on, the supervisor last: none is reaped while others are still told."""
    for pid in reversed(everyone_of(pool)):
        os.kill(pid, signal.SIGCONT)


def everyone_of(pool: Pool) -> list[int]:
    """The supervisor first: it replaces a keeper that is silent."""
    return sorted(pool.process.relatives(), key=lambda pid: pid != pool.process.pid)
