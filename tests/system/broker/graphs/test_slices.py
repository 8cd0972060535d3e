"""What has to be left to steps comes out as if it had been done at once, however little a call may do."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from executor_worker.broker import Consumer, Link
from executor_worker.broker.connection.script import LuaText
from executor_worker.broker.graphs import Request, Steps, drive, runs, scripts
from executor_worker.broker.graphs.duties import work_off
from executor_worker.broker.graphs.records import ENDED, NodeField
from executor_worker.broker.graphs.source import LIBRARY, RUNS
from executor_worker.broker.names import looks_key, run_key, steps_stream, timers_key
from executor_worker.broker.queue.document import DOCUMENTS
from executor_worker.broker.queue.source import Sources
from executor_worker.graph.definition import Graph
from tests.system.broker.graphs.play import Client, Made, Play, nothing

FEW = LuaText("few", "runs.most_ops = 3")
AT = LIBRARY.index("runs/module") + 1
SLICED = Sources(replace(RUNS, lua=(*LIBRARY[:AT], FEW, *LIBRARY[AT:], "kinds/run")), DOCUMENTS)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call may touch three things."""
    at = scripts._LIBRARY.index("runs/module") + 1
    monkeypatch.setattr(scripts, "_LIBRARY", (*scripts._LIBRARY[:at], FEW, *scripts._LIBRARY[at:]))


@settings(
    max_examples=25, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.integers(0, 2**40))
@pytest.mark.usefixtures("few")
def test_each_node_ends_as_its_edges_say(db: Client, link: Link, consumer: Callable[..., Consumer], seed: int) -> None:
    """Three workers take, settle and do steps in any order; sometimes the run is cancelled."""
    db.flushall()
    chance = random.Random(seed)
    made = Made.by(chance)
    workers = [consumer(f"w.{at}", sources=SLICED) for at in range(3)]
    play = Play(made, db, link, workers, window=chance.choice([1, 2, 500]), follows=False)
    cancels, turns = chance.random() < 0.3, 0
    while play.hands or not drive(link, runs.require(play.id)).ended:
        turns += 1
        worker = chance.choice(workers)
        if (cancels and chance.random() < 0.05) or turns == 300:  # graphs made up may have circles that nothing enters
            play.cancel()
        elif worker in play.hands:
            play.settle(worker)
        else:
            play.take(worker)
    _assert_ended_rightly(play, db)


@settings(
    max_examples=20, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.integers(0, 2**40))
@pytest.mark.usefixtures("few")
def test_run_that_lost_all_that_was_on_its_way(
    db: Client, link: Link, consumer: Callable[..., Consumer], seed: int
) -> None:
    """Whenever that is: what had ended stays, the rest is decided anew, also where a router has to be judged."""
    db.flushall()
    chance = random.Random(seed)
    workers = [consumer(f"w.{at}", sources=SLICED) for at in range(2)]
    play = Play(Made.by(chance), db, link, workers, window=chance.choice([1, 500]), follows=False)
    ended: dict[bytes, bytes] = {}
    for turn in range(300):
        if drive(link, runs.require(play.id)).ended and not play.hands:
            break
        if not play.hands and chance.random() < 0.2:
            db.delete("executor.work", steps_stream(), f"{run_key(play.id)}:open")
        worker = chance.choice(workers)
        if worker in play.hands:
            play.settle(worker)
        else:
            play.take(worker)
        if turn % 10 == 9:
            db.zadd(looks_key(), {play.id: 1}, xx=True)
            stops = [member for member in db.zrange(timers_key(), 0, -1) if b"\tstop\t" in member]
            if stops:  # what a run that stops has lost ends with its time
                db.zadd(timers_key(), dict.fromkeys(stops, 1))
            drive(link, work_off())
        now = db.hgetall(f"{run_key(play.id)}:nodes")
        assert all(now[name] == field for name, field in ended.items())
        ended = {name: field for name, field in now.items() if NodeField.parse(field).status in ENDED}
    for _ in range(db.xlen(steps_stream())):  # its end was quicker than these: there is nothing left of them to do
        play.take(workers[0])
    _assert_ended_rightly(play, db)


def test_large_run_is_begun_anew_in_pages(db: Client, link: Link, consumer: Callable[..., Consumer]) -> None:
    """No script looks at more than some pages; what ends meanwhile counts once, and a router is decided."""
    ended = [f"e{at}" for at in range(1000)]
    names = ("a", *ended, "left", "right", "x", "c", "join")
    nodes: dict[str, Any] = {name: {"type": "tool", "config": {"tool_name": "x"}} for name in names}
    nodes["choice"] = {"type": "router", "config": {"rules": [{"condition": "true", "target": "left"}]}}
    pairs = [("a", name) for name in ("c", *ended, "choice")] + [("choice", "left"), ("choice", "right")]
    pairs += [("c", "join"), ("x", "join")]
    document = {"nodes": nodes, "edges": [{"from": source, "to": target} for source, target in pairs]}
    worker = consumer("w.1", sources=Sources(RUNS, DOCUMENTS))
    play = Play(Made(1, document, {name: set() for name in nodes}), db, link, [worker], window=500, follows=False)
    base = run_key(play.id)
    db.hset(f"{base}:nodes", mapping=dict.fromkeys(("a", *ended), NodeField("completed", 1, 1, 1, 1, 1, 1, "*").text()))
    db.delete("executor.work", f"{base}:open")
    db.zadd(looks_key(), {play.id: 1})
    assert drive(link, work_off()).mended == 1
    db.delete(steps_stream())  # it is done here, call by call
    done: list[str] = []
    calls, steps, replies = 0, runs.step(play.id, nothing), None
    with suppress(StopIteration):
        while requests := steps.send(replies):  # type: ignore[arg-type]
            replies = [drive(link, _once(request)) for request in requests]
            calls += 1
            if db.xlen("executor.work") and "c" not in done:
                play.take(worker)
                done.append(play.hands[worker].node.node)
                play.settle(worker)
    assert calls > 2 * len(nodes) / 400, "both rounds over all nodes, a few hundred a script"
    views = {view.id: view.status for view in drive(link, runs.nodes(play.id)) or [] if view.id not in ended}
    assert views == {
        "a": "completed", "c": "completed", "x": "queued", "join": "pending",
        "choice": "completed", "left": "queued", "right": "skipped",
    }  # fmt: skip
    assert drive(link, runs.require(play.id)).left == 3
    db.hdel(f"{base}:open", "")
    db.zadd(looks_key(), {play.id: 1})
    assert drive(link, work_off()).mended == 0


def _once(request: Request) -> Steps[Any]:
    """One exchange."""
    (reply,) = yield [request]
    return reply


def _assert_ended_rightly(play: Play, db: Client) -> None:
    head = drive(play.link, runs.require(play.id))
    base = run_key(play.id)
    nodes = {name.decode(): NodeField.parse(raw) for name, raw in db.hgetall(f"{base}:nodes").items()}
    assert head.ended and head.left == head.running == head.queued == 0
    for part in ("joins", "open", "ready", "todo", "document", "sinks"):
        assert not db.exists(f"{base}:{part}"), part
    for stream in ("executor.work", steps_stream()):
        assert not db.xlen(stream), stream
    kinds = [record.decode().split("\t")[::2][:2] for record in db.lrange(f"{base}:log", 0, -1)]
    ends = Counter(node for kind, node in kinds if node and kind.split(".")[1] in ("completed", "failed", "skipped"))
    assert not ends or max(ends.values()) == 1
    roots = set(play.plan.roots)
    if head.status == "completed" or (head.status == "failed" and play.made.document["failure"] == "finish"):
        for name, place in play.plan.places.items():
            if name not in roots:
                assert nodes[name].status in _ways(play, nodes, name, place.need), name
    elif roots:
        assert set(nodes) == set(play.plan.places)


def _ways(play: Play, nodes: dict[str, NodeField], name: str, need: int) -> tuple[str, ...]:
    """How a node may have ended, as the nodes before it have."""
    marks = [
        nodes[source].took if nodes[source].took in "*-x" else nodes[source].took[at]
        for source, place in play.plan.places.items()
        for at, (target, _, _) in enumerate(place.out)
        if target == name
    ]
    taken = sum(mark in "*1" for mark in marks)
    runs_it = taken >= need if need else taken > 0 and "x" not in marks
    return ("completed", "failed") if runs_it else ("skipped",)


def test_all_items_of_a_wide_run_are_looked_at(db: Client, link: Link) -> None:
    """A look takes some of what is open, the next one goes on there; what was lost is queued again."""
    nodes = {f"n{at}": {"type": "tool", "config": {"tool_name": "x"}} for at in range(600)}
    graph = Graph.read({"nodes": nodes, "max_parallel": 600})
    run = drive(link, runs.submit(runs.Submission(graph, {}, runs.new_graph_id()), nothing)).graph_id
    drive(link, runs.step(run, nothing))
    assert db.xlen("executor.work") == 600
    db.delete("executor.work")
    db.zadd(looks_key(), {run: 1})
    looks = [drive(link, work_off()).mended for _ in range(6)]
    assert sum(looks) == 600 and looks[-1] == 0 and db.xlen("executor.work") == 600
