"""Nodes of runs that name a limit: a place is worth as much as the item it was taken with, however that ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from executor_worker.broker import Consumer, Link
from executor_worker.broker.connection.script import Script
from executor_worker.broker.fleet.limits import look_at_limits
from executor_worker.broker.graphs import drive, runs
from executor_worker.broker.graphs.source import RUNS
from executor_worker.broker.names import GROUP, PLACES
from executor_worker.broker.queue.document import DOCUMENTS
from executor_worker.broker.queue.source import PlaceLimits, Sources
from executor_worker.graph.definition import Graph
from tests.system.broker.graphs.play import Client

LEASE_S = 30.0
LIMITS = PlaceLimits({"slow": 1, "wide": 9}, LEASE_S, of_nodes=True)
GRAPH = Graph.read({"nodes": {"a": {"type": "tool", "config": {"tool_name": "x", "limit": ["wide", "slow"]}}}})


@pytest.fixture
def workers(consumer: Callable[..., Consumer]) -> list[Consumer]:
    """Three of a pool that keeps to the limits."""
    return [consumer(f"p.{slot}", sources=Sources(RUNS, DOCUMENTS, limits=LIMITS), lease_s=LEASE_S) for slot in "123"]


def submit(link: Link) -> str:
    return drive(link, runs.submit(runs.Submission(GRAPH, {}, runs.new_graph_id()))).graph_id


def used(link: Link) -> dict[str, int]:
    return {view.name: view.used for view in look_at_limits(link, LIMITS.most, lease_s=LEASE_S)}


def test_what_comes_late_gives_back_its_place_at_once(db: Client, link: Link, workers: list[Consumer]) -> None:
    """Its run is over, its worker dead: who takes it over drops it, and has the next that waits in the same step."""
    first, second, third = workers
    cancelled = submit(link)
    lost = first.take()
    assert lost is not None
    waits = submit(link)
    assert second.take() is None and used(link) == {"slow": 1, "wide": 1}
    drive(link, runs.cancel(cancelled))
    held = lost.held
    db.xclaim(held.stream, GROUP, held.consumer, 0, [held.entry], idle=int(LEASE_S * 1000) + 1000, justid=True)
    claim = third.take(stale=[(held.stream, held.entry)])
    assert claim is not None and claim.delivery.brought[1].decode() == waits
    assert used(link) == {"slow": 1, "wide": 1}
    assert db.hlen(PLACES) == 1


@pytest.mark.parametrize("ended", [False, True])
def test_what_is_gone_before_it_is_opened_takes_no_place(
    db: Client, link: Link, workers: list[Consumer], event_fd: int, monkeypatch: pytest.MonkeyPatch, ended: bool
) -> None:
    """A blocking read has brought it; until it is opened its run is cancelled, or its row is lost."""
    worker = workers[0]
    assert worker.take() is None, "the group is made"
    run, graph = worker._link.run, submit(link)

    def run_late(script: Script, *words: Any) -> Any:
        if script.name == "confirm":
            if ended:
                drive(link, runs.cancel(graph))
            else:
                [(entry, _)] = db.xrange("executor.work")
                db.xack("executor.work", GROUP, entry)
                db.xdel("executor.work", entry)
        return run(script, *words)

    monkeypatch.setattr(worker._link, "run", run_late)
    worker.may_have_unseen = False
    assert worker.wait(event_fd, 5) is None
    assert used(link) == {"slow": 0, "wide": 0}
    assert not db.exists(PLACES)
