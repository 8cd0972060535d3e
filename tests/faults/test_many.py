"""Scenarios 30-32: many entries, many restarts, many writers."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest

from tests.faults.stage import FULL_SIZE, GROUP, WORK, Stage, pids_of
from tests.kit import Stopwatch, wait_until

PENDING = 50_000


def test_30_one_idle_entry_behind_fifty_thousand_live_ones(stage: Stage) -> None:
    """Found within one sweep."""
    lease_s = 12.0
    pool = stage.pool(workers=2, LEASE=f"{lease_s:g}")
    pool.send(signal.SIGTSTP)
    pool.wait_event("pool.paused")
    wait_until(lambda: not stage.db.info("clients")["blocked_clients"], 5, "nobody takes what is not meant for it")
    pipe = stage.db.pipeline(transaction=False)
    for _ in range(PENDING):
        pipe.xadd(WORK, {"data": "{}"})
    pipe.execute()
    stage.push("nap")
    stage.db.xreadgroup(GROUP, "live.1", {WORK: ">"}, count=PENDING + 1)
    ((last, _),) = stage.db.xrevrange(WORK, count=1)
    stage.db.xclaim(WORK, GROUP, "dead.1", 0, [last], idle=int(lease_s * 2000), justid=True)
    pool.send(signal.SIGCONT)
    began, taken = time.monotonic(), Stopwatch()
    assert stage.started(seconds=10).at - began < min(lease_s / 3, 10) + 1.5 + taken.others_s(), "one sweep"
    assert stage.result()["data"]["attempt"] == 2
    assert stage.db.xpending(WORK, GROUP)["pending"] == PENDING, "the live ones are left alone"
    assert stage.db.xlen(WORK) == PENDING


RESTARTS = 1000 if FULL_SIZE else 200


@pytest.mark.timeout(360)
def test_31_many_worker_restarts(stage: Stage) -> None:
    """The number of consumers stays bounded, no entry is dropped."""
    pool = stage.pool(workers=4, MAX_ITEMS_PER_WORKER="1", MAX_DELIVERIES="50")
    graphs = [f"g{number}" for number in range(RESTARTS)]
    for graph in graphs:
        stage.push("crash", graph, how="SIGKILL")
    stage.assert_settled_once(graphs, 300)
    assert {event["data"]["attempt"] for event in stage.results()} == {2}
    restarts = {why: pool.metrics()[f'dago_worker_restarts_total{{reason="{why}"}}'] for why in ("crashed", "replaced")}
    assert sum(restarts.values()) >= RESTARTS and restarts["crashed"] >= RESTARTS / 2, restarts
    assert len(stage.consumers()) <= 4


def test_31_pools_that_come_and_go(stage: Stage) -> None:
    """A consumer is deleted with its pool, but never with what it has pending."""
    for number in range(3):
        pool = stage.pool(workers=4, LEASE="30")
        stage.push("hold", f"g{number}")
        stage.started(f"g{number}")
        stage.wait_running(number + 1)
        pool.send(signal.SIGQUIT)
        assert pool.wait() == 0
        assert len(stage.pending()) == number + 1
    assert {owner for owner, _, _ in stage.pending().values()} <= stage.consumers()
    assert len(stage.consumers()) <= 1 + 2 + 3, "those that had to leave an entry"
    for number in range(3):
        stage.journal.let_go(f"g{number}")
    stage.pool(workers=3, LEASE="30")
    stage.assert_settled_once(f"g{number}" for number in range(3))
    assert {event["data"]["attempt"] for event in stage.results()} == {1}


NODES = 20
DOCUMENT = r"""{"graph_id": "g", "graph": {"nodes": {}, "empty": [], "none": null, "nothing": {}},
 "status": "running", "inputs": {"big": 123456789012345678901234567890, "float": 1.0, "exact": 1.10, "e": 1E5},
 "unknown": {"z": 1, "a": [2, {"b": []}], "text": "\u00e9\ud83d\ude00"},
 "node_states": {"other": {"status": "completed", "output": [1.50, {}], "more": 99999999999999999999}},
 "submitted_at": "2026-01-01T00:00:00Z", "last": -0.0}"""


@pytest.mark.parametrize("killed", [False, True])
def test_32_nodes_of_one_graph_finished_at_once(stage: Stage, killed: bool) -> None:
    """20 by 8 workers: every node's state is kept, and every other byte of the document."""
    pool = stage.pool(workers=8, MAX_DELIVERIES="50")
    stage.db.set("dago:state:g", DOCUMENT)
    names = [f"n{number}" for number in range(NODES)]
    for node in names:
        stage.push("hold", node=node)
    wait_until(lambda: len(stage.journal.starts()) >= 8, 10, "8 of them run")
    if killed:
        for pid in pids_of(pool)[::2]:
            os.kill(pid, signal.SIGKILL)
    stage.journal.let_go("g")
    stage.wait_nothing_left()
    state = stage.state()
    assert {state["node_states"][node]["status"] for node in names} == {"completed"}
    assert sorted(event["node_id"] for event in stage.results()) == sorted(names), "each has one result"
    raw = stage.db.get("dago:state:g")
    assert isinstance(raw, bytes)
    # Byte for byte: what stands before and after the entries that were added.
    head, tail = DOCUMENT.split('"more": 99999999999999999999}')
    assert raw.decode().startswith(head + '"more": 99999999999999999999}') and raw.decode().endswith(tail[1:])
    ours = state | {"node_states": {"other": state["node_states"]["other"]}}
    assert json.dumps(ours) == json.dumps(json.loads(DOCUMENT))
    assert stage.db.ttl("dago:state:g") > 80_000
