"""Why a node is not running, where its item waits for something and no worker holds it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from executor_worker.broker import Consumer, Link
from executor_worker.broker.graphs import drive, runs
from executor_worker.broker.graphs.source import RUNS
from executor_worker.broker.names import PARKED, run_key
from executor_worker.broker.queue.document import DOCUMENTS
from executor_worker.broker.queue.source import Sources
from executor_worker.graph.definition import Graph
from tests.system.broker.graphs.play import Client

NODE = {"type": "tool", "config": {"tool_name": "x"}}


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("dago:throttle:openai:acc:gpt:4", "the throttled model openai/gpt:4 until 2027-01-15T08:00:00.000Z"),
        ("dago:breaker:server:place:mail", "the server mail, which does not answer"),
        ("dago:limit:gpu|executor.work", "the limit gpu"),
        ("dago:offer:12ab", "a pool that has its tools"),
        ("dago:version:9", "a worker of a newer version"),
        ("dago:time:due", "its next attempt"),
        ("dago:later:1", "a worker"),
    ],
)
def test_what_an_item_waits_for_is_said(db: Client, link: Link, key: str, reason: str) -> None:
    """Of the node that waits, and of no other; closely looked at too."""
    run = drive(
        link, runs.submit(runs.Submission(Graph.read({"nodes": {"a": NODE, "b": NODE}}), {}, runs.new_graph_id()))
    )
    entry = db.hget(f"{run_key(run.graph_id)}:open", "a")
    db.hset(PARKED, entry, f"{key}\t0\t")
    db.hset("dago:throttle:openai:acc:gpt:4", "not_before", 1800000000000)
    views = {view.id: view for view in drive(link, runs.nodes(run.graph_id)) or []}
    assert (views["a"].status, views["a"].waiting_for) == ("waiting", (reason,))
    assert (views["b"].status, views["b"].waiting_for) == ("queued", ("a worker",))
    detail = drive(link, runs.node(run.graph_id, "a"))
    assert detail is not None and detail.view.waiting_for == (reason,)


def test_a_node_that_was_given_back_waits_for_a_worker(link: Link, consumer: Callable[..., Consumer]) -> None:
    """A worker had begun it, and nobody has it: not while it is in hand, and not once it is taken again."""
    run = drive(link, runs.submit(runs.Submission(Graph.read({"nodes": {"a": NODE}}), {}, runs.new_graph_id())))

    def seen() -> tuple[str, tuple[str, ...]]:
        detail = drive(link, runs.node(run.graph_id, "a"))
        assert detail is not None and drive(link, runs.nodes(run.graph_id)) == [detail.view]
        return detail.view.status, detail.view.waiting_for

    worker = consumer("p.1", sources=Sources(RUNS, DOCUMENTS))
    claim = worker.take()
    assert claim is not None and seen() == ("running", ())
    assert claim.release(counted=False)
    assert seen() == ("waiting", ("a worker",))
    assert worker.take(stale=[(claim.held.stream, claim.held.entry)]) is not None and seen() == ("running", ())
