"""A short storm, and the proof that what judges storms sees what is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.storm import Plan, Storm
from benchmarks.storm_graphs import GraphStorm
from benchmarks.storm_record import Disturbance, Hit, Seen
from benchmarks.storm_report import Report, check_runs
from tests.faults.journal import Fact
from tests.faults.stage import COMPLETED
from tests.kit import RedisServer

Server = Callable[..., RedisServer]
Place = Callable[[str], Path]


def test_short_storm(start_server: Server, place: Place) -> None:
    """Everything that can fail fails within some seconds; nothing is lost, nothing is settled twice."""
    plan = Plan(items=500, faults=50, seed=20, supervisors=2, lease_s=1.5, seconds=10)
    report = Storm(plan, place("storm"), start_server("redis", aof=True)).run()
    assert report.fine, "\n".join(report.lines())
    assert report.results == plan.items and sum(report.faults.values()) == plan.faults
    assert report.recovery["worker killed"].runs, "items were hit in the midst of a run"


def test_short_storm_over_runs_of_graphs(start_server: Server, place: Place) -> None:
    """Each ends as it must, and once; Redis is killed too; nothing has to be mended."""
    report = GraphStorm(40, 12, 7, 5.0, place("storm"), start_server("redis", aof=True)).run()
    assert report.fine, "\n".join(report.lines())
    assert report.statuses.total() == 40 and sum(report.faults.values()) == 12


@pytest.mark.parametrize(("seconds", "where", "explained"), [(1.4, "s0", True), (0.5, "s0", False), (1.4, "s1", False)])
def test_extra_run_that_no_fault_explains(seconds: float, where: str, explained: bool) -> None:
    """Its worker met none: then it must have lost its lease by one that held up its own pool, for all of a lease."""
    seen = Seen(1.5, disturbances=[Disturbance(where, 100.0, 103.0)], places={1: "s0", 2: "s1"})
    facts = [Fact("g/n", "start", 1, 100.1), Fact("g/n", "start", 2, 100.1 + seconds)]
    report = Report(1)
    check_runs(report, {"g/n"}, facts, seen)
    assert (report.extra_runs, bool(report.unexplained)) == (1, not explained)


def test_extra_run_after_a_stop() -> None:
    """A worker that was stopped is not blamed for what it does before it goes on, and is for what it begins after."""
    seen = Seen(1.5, hits=[Hit("stop_worker", 1, 100.0, 104.0, "s0")])
    for at, unexplained in ((99.9, 0), (104.1, 1)):
        report = Report(1)
        check_runs(report, {"g/n"}, [Fact("g/n", "start", 2, 102.0), Fact("g/n", "start", 1, at)], seen)
        assert len(report.unexplained) == unexplained


def test_judge_sees_what_is_wrong(start_server: Server, place: Place) -> None:
    """A result too few or too many, a state that was touched, a run that nothing explains."""
    server = start_server("redis", aof=True)
    storm = Storm(Plan(items=50, faults=0, seed=1, supervisors=1, seconds=1), place("storm"), server)
    assert storm.run().fine, "a calm day"
    db: Any = server.client()  # its own types leave open whether it answers with bytes

    (first, _), (_, second), *_ = db.xrange(COMPLETED)
    db.xdel(COMPLETED, first)
    db.xadd(COMPLETED, second)
    document = db.get("dago:state:shared0")
    db.set("dago:state:shared0", document.replace(b"1.10", b"1.1"))
    event = json.loads(second[b"data"])
    storm.journal.write(f"{event['graph_id']}/{event['node_id']}", "start")
    db.xadd("executor.work", {"data": "{}"})

    report = storm.judge()
    wrong = report.lost, report.twice, report.unexplained
    assert [len(found) for found in wrong] == [1, 1, 1]
    assert report.unexplained[0].startswith(f"{report.twice[0]} ran ")
    assert "shared0: what is not ours has changed" in report.spoilt
    assert report.in_streams == 1 and not report.fine
