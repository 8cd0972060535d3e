"""A run that is deleted takes its dead letters along."""

from __future__ import annotations

import json

import pytest

from executor_worker.broker import Link
from executor_worker.broker.graphs import RunNotEnded, drive, runs
from executor_worker.broker.graphs.letters import PAGE
from executor_worker.broker.names import QUEUES
from executor_worker.graph.definition import Graph
from tests.system.broker.graphs.play import Client

DEAD = ("executor.work:dead", "executor.work:gpu:dead")


def test_a_deleted_run_takes_its_letters_along(db: Client, link: Link) -> None:
    """Those in queues' streams too, behind many of others; those of others stay, and of a run that goes on all do."""
    work = {"type": "tool", "config": {"tool_name": "x"}}
    ended, going_on = (
        drive(link, runs.submit(runs.Submission(Graph.read({"nodes": {"a": node}}), {}, runs.new_graph_id()))).graph_id
        for node in ({"type": "start"}, work)
    )
    db.sadd(QUEUES, "gpu")
    for stream in DEAD:
        with db.pipeline() as pipe:
            for _ in range(PAGE + 1):
                pipe.xadd(stream, {"data": '{"graph_id":"other"}', "reason": "poisoned"})
            for graph_id in (ended, going_on):
                data = json.dumps({"graph_id": graph_id, "node_id": "a"}, separators=(",", ":"))
                pipe.xadd(stream, {"data": data, "reason": "poisoned"})
            pipe.execute()
    with pytest.raises(RunNotEnded):
        drive(link, runs.delete(going_on))
    drive(link, runs.delete(ended))
    for stream in DEAD:
        left = [fields[b"data"] for _, fields in db.xrange(stream)]
        assert len(left) == PAGE + 2 and not [data for data in left if ended.encode() in data]
        assert going_on.encode() in left[-1]
