"""What a blocking read brings may have lain on the line for long: a frozen host, a slow network."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

import pytest

from tests.faults.stage import Stage
from tests.kit import Proxy, wait_until


@pytest.mark.parametrize("more", [0, 5])
def test_delivery_that_arrives_after_its_lease(stage: Stage, proxy: Callable[..., Proxy], more: int) -> None:
    """Somebody else has run and settled it, and *more* after it: it is not run again, and not settled again."""
    stage.lease_s = 1.0
    line, let_through = proxy(stage.server.port), threading.Event()
    late = stage.pool(workers=1, REDIS_ADDR=line.addr)
    wait_until(lambda: stage.db.info("clients")["blocked_clients"], 5, "its worker waits")

    def hold_up(chunk: bytes) -> None:
        if b'"graph_id"' in chunk:
            let_through.wait(170)

    line.on_reply = hold_up
    stage.push("nap")
    wait_until(stage.pending, 5, "it is on its way")
    stage.pool(workers=1)
    try:
        stage.result()
        graphs = ["g", *(f"m{number}" for number in range(more))]
        for graph in graphs[1:]:
            stage.push("nap", graph)
            stage.result(graph)
    finally:
        let_through.set()
    stage.assert_settled_once(graphs)
    wait_until(late.ready, 15)
    wait_until(lambda: stage.db.info("clients")["blocked_clients"] == 2, 15, "both wait for more")
    stage.assert_settled_once(graphs)
    assert len(stage.journal.starts("g")) == 1, "it ran once"


def test_item_that_came_with_a_settlements_reply_which_was_read_late(stage: Stage, proxy: Callable[..., Proxy]) -> None:
    """Its worker stood still for longer than the lease, and somebody else has run it: it is not run again."""
    stage.lease_s = 1.0
    line = proxy(stage.server.port)
    late = stage.pool(workers=1, REDIS_ADDR=line.addr)
    stage.push("hold")
    worker = stage.started().pid

    def stand_still(chunk: bytes) -> None:
        if b'"graph_id": "next"' in chunk:
            os.kill(worker, signal.SIGSTOP)

    line.on_reply = stand_still
    entry = stage.push("nap", "next")
    stage.journal.let_go("g")
    late.wait_event("slot.stopped")
    stage.pool(workers=1)
    stage.result("next", seconds=20)
    os.kill(worker, signal.SIGCONT)
    late.wait_event("item.lost", entry=entry)  # its worker sees that the lease is over, or its keeper that it is lost
    stage.assert_settled_once(["g", "next"])
    assert len(stage.journal.starts("next")) == 1, "it ran once"
