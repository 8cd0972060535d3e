"""A short storm, and the proof that what judges storms sees what is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.storm import Plan, Storm
from tests.faults.stage import COMPLETED
from tests.kit import RedisServer

Server = Callable[..., RedisServer]
Place = Callable[[str], Path]


def test_short_storm(start_server: Server, place: Place) -> None:
    """Everything that can fail fails within some seconds; nothing is lost, nothing is settled twice."""
    plan = Plan(items=500, faults=50, seed=20, supervisors=2, lease_s=1.5, seconds=10)
    report = Storm(plan, place("storm"), start_server("redis", aof=True)).run()
    # Which fault an extra run is owed to is told apart by the storm's clock; that is for the program's own verdict.
    promised = [report.failed, report.dead_letters, report.pending, report.in_streams]
    broken = [*report.lost, *report.twice, *report.spoilt, *report.troubles]
    assert not any(promised) and not broken, "\n".join(report.lines())
    assert report.results == plan.items and sum(report.faults.values()) == plan.faults
    assert report.recovery["worker killed"].runs, "items were hit in the midst of a run"


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
