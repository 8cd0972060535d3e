"""Runs that have ended cost nothing while they are kept."""

from __future__ import annotations

from executor_worker.broker import Link
from executor_worker.broker.graphs import drive, runs
from executor_worker.broker.graphs.duties import work_off
from executor_worker.graph.definition import Graph
from tests.system.broker.graphs.play import Client, nothing

DONE_AT_ONCE = {
    "nodes": {"begin": {"type": "start"}, "end": {"type": "end"}},
    "edges": [{"from": "begin", "to": "end"}],
}


def test_duties_ask_no_more_when_many_runs_have_ended(db: Client, link: Link) -> None:
    """Timers and repair look at what has not ended alone: the same commands with 300 ended runs as with none."""
    drive(link, work_off())
    before = commands_of_duties(db, link)
    for _ in range(300):
        graph = Graph.read(DONE_AT_ONCE)
        drive(link, runs.submit(runs.Submission(graph, {}, runs.new_graph_id()), nothing))
    assert db.zcard("dago:{executor.work}:runs:completed") == 300
    assert commands_of_duties(db, link) == before


def commands_of_duties(db: Client, link: Link) -> dict[str, int]:
    """What one turn of the duties asks of Redis, inside its script too."""
    db.config_resetstat()
    drive(link, work_off())
    stats = db.info("commandstats")
    return {name: int(about["calls"]) for name, about in stats.items() if "config" not in name and "info" not in name}
