"""A storm over runs of graphs: each must end, as it must, and once; and nothing may ever have to be mended."""

from __future__ import annotations

import random
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.storm_api import Api
from benchmarks.storm_faults import ODD
from benchmarks.storm_redis import SingleRedis
from executor_worker.broker import Endpoint, Link
from executor_worker.broker.graphs import drive, runs
from executor_worker.broker.names import listing_key, steps_stream
from executor_worker.errors import StreamUnavailable
from executor_worker.graph.advance import Answer, Run
from executor_worker.graph.definition import Graph
from executor_worker.graph.plan import compile_graph
from executor_worker.graph.validation import check
from executor_worker.worker.output import rendered
from tests.kit import RedisServer

TERMINAL = ("graph.completed", "graph.failed", "graph.cancelled")
ENDS = ("node.completed", "node.failed", "node.skipped", "node.cancelled")
PATIENCE_S = 60.0  # for the next node to end, once the storm is over
TURN_S = 0.01
SHOWN = 10  # of what went wrong
LOOK_EVERY_S = 0.5
OTHERWISE = 0.1  # of the kills of API processes come while nothing is being submitted


class GraphRedis(SingleRedis):
    """Nodes fail here, since they are made so; that something was mended is odd."""

    weights = SingleRedis.weights | {"restart_redis": 8, "kill_keeper": 10, "kill_supervisor": 10, "kill_api": 20}
    odd = (*(name for name in ODD if name != "node.failed"), "run.mended")

    api: Api

    def kill_api(self) -> bool:
        """Mostly in the midst of a submission: some are on their way all the time."""
        processes = self.api.processes()
        if processes and (self.api.behind or self._chance.random() < OTHERWISE):
            self._chance.choice(processes).kill()
            return True
        return False


@dataclass(frozen=True, slots=True)
class Mixed:
    """
    A graph made up.

    Attributes:
        statuses: Of its nodes in the end; None if that depends on who is first.
    """

    document: dict[str, Any]
    statuses: dict[str, str] | None


@dataclass(slots=True)
class Report:
    """
    Attributes:
        lost: Runs that have not ended.
        wrong: Runs that have not ended as they must, and why.
        mended: Items that had to be queued again.
        submitted_again: Submissions that were not answered, and were sent again with their keys.
        doubles: Runs that nobody was told of.
    """

    graphs: int
    nodes: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    mended: int = 0
    left: int = 0
    submitted_again: int = 0
    doubles: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    troubles: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def fine(self) -> bool:
        return not (self.lost or self.wrong or self.mended or self.left or self.doubles or self.troubles)

    def lines(self) -> Iterator[str]:
        yield f"{self.graphs} graphs of {self.nodes} nodes in {self.seconds:g} s: {dict(self.statuses)}"
        yield f"faults: {self.faults}"
        yield f"not ended {len(self.lost)}, ended wrongly {len(self.wrong)}, mended {self.mended}, left {self.left}"
        yield f"submitted again {self.submitted_again}, runs too many {self.doubles}"
        for text in (*self.lost[:SHOWN], *self.wrong[:SHOWN], *self.troubles[:SHOWN]):
            yield f"  {text}"

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"fine": self.fine}


class GraphStorm:
    """
    One storm, from the first graph to the report.

    Args:
        faults, seconds: How many come, over how long; graphs are submitted meanwhile.
    """

    def __init__(
        self, count: int, faults: int, seed: int, seconds: float, folder: Path, server: RedisServer,
        supervisors: int = 2, workers: int = 3, lease_s: float = 2.0,
    ) -> None:  # fmt: skip
        chance = random.Random(seed)
        self._graphs = {runs.new_graph_id(): made_up(chance) for _ in range(count)}
        self._seconds = seconds
        self._over_api = set(list(self._graphs)[::2])
        self._due = deque((at * seconds / count, name) for at, name in enumerate(self._graphs))
        kinds = chance.choices(list(GraphRedis.weights), weights=list(GraphRedis.weights.values()), k=faults)
        self._coming = deque(sorted((chance.uniform(0.0, seconds), kind) for kind in kinds))
        self._faults = GraphRedis(server, folder, supervisors, workers, lease_s, chance)
        self._link = Link(Endpoint.parse(server.unix_url), name="storm")
        self._api = self._faults.api = Api(server, folder)

    def run(self) -> Report:
        began = time.monotonic()
        with closing(self._faults), closing(self._link), closing(self._api):
            for one in self._faults.supervisors:
                one.pool.wait_ready(60)
            self._api.begin()
            self._rage()
            self._calm_down()
            report = self._judged()
            self._faults.drain()
        report.faults = dict(self._faults.seen.faults)
        report.troubles += self._faults.seen.troubles
        report.seconds = round(time.monotonic() - began, 1)
        return report

    def _rage(self) -> None:
        began, clock = time.monotonic(), self._faults.clock
        passed = 0.0
        while (
            clock.work_off() or self._coming or self._due or (self._api.behind and passed < self._seconds + PATIENCE_S)
        ):
            passed = time.monotonic() - began
            while self._coming and self._coming[0][0] <= passed:
                self._faults.happen(self._coming.popleft()[1])
            while self._faults.redis_up and self._due and self._due[0][0] <= passed:
                self._submit(self._due.popleft())
            self._faults.look_after()
            time.sleep(TURN_S)

    def _submit(self, due: tuple[float, str]) -> None:
        """Submit a graph, every other one over the API; one whose reply is lost again, with the same id or key."""
        _, name = due
        if name in self._over_api:
            return self._api.submit(name, self._graphs[name].document)
        run = runs.Submission(Graph.read(self._graphs[name].document), {}, name)
        try:
            drive(self._link, runs.submit(run, rendered))
        except StreamUnavailable:
            self._due.appendleft(due)
        return None

    def _id_of(self, name: str) -> str:
        """Say what the run of a graph is called: over the API the graph's own name is the key only."""
        return self._api.made.get(name, name)

    def _calm_down(self) -> None:
        """Wait until all have ended, or nothing happens any more."""
        self._link.close()  # Redis may have been restarted since it was used last
        before, last_at = -1, time.monotonic()
        while time.monotonic() < last_at + PATIENCE_S:
            heads = self._heads()
            left = sum(head.left for head in heads)
            if all(head.ended for head in heads):
                return
            if left != before:
                before, last_at = left, time.monotonic()
            self._faults.clock.work_off()
            self._faults.look_after()
            time.sleep(LOOK_EVERY_S)

    def _heads(self) -> list[runs.Head]:
        found = [drive(self._link, runs.head(self._id_of(name))) for name in self._graphs]
        return [head for head in found if head is not None]

    def _judged(self) -> Report:
        report = Report(len(self._graphs))
        heads = {head.graph_id: head for head in self._heads()}
        report.troubles += self._api.odd
        report.submitted_again = self._api.repeated
        report.doubles = int(self._faults.db.zcard(listing_key())) - len(self._graphs)
        for key, graph in self._graphs.items():
            name = self._id_of(key)
            head = heads.get(name)
            report.nodes += len(graph.document["nodes"])
            if head is None or not head.ended:
                report.lost.append(f"{name}: {head}")
                continue
            report.statuses[head.status] += 1
            events = drive(self._link, runs.events(name, limit=100_000)).events
            report.mended += sum(event["type"] == "run.mended" for event in events)
            views = drive(self._link, runs.nodes(name)) or []
            statuses = {view.id: view.status for view in views}
            report.wrong += (f"{name}: {text}" for text in _wrong(events, statuses, graph))
        report.left = sum(int(self._faults.db.xlen(stream)) for stream in ("executor.work", steps_stream()))
        return report


def _wrong(events: list[dict[str, Any]], statuses: dict[str, str], graph: Mixed) -> Iterator[str]:
    """Say what is not as it must be of an ended run."""
    kinds = [event["type"] for event in events]
    if [event["seq"] for event in events] != list(range(1, len(events) + 1)):
        yield "its log has gaps"
    if [kind in TERMINAL for kind in kinds] != [False] * (len(kinds) - 1) + [True]:
        yield f"its last event is not the only one that ends it: {kinds}"
    ends = Counter(event["node_id"] for event in events if event["type"] in ENDS)
    if ends != dict.fromkeys(statuses, 1):
        yield f"not each node has ended once: {ends}"
    if graph.statuses is not None and statuses != graph.statuses:
        yield f"{statuses} instead of {graph.statuses}"


def made_up(chance: random.Random) -> Mixed:
    """A graph that can be submitted, and how its nodes end where that is certain."""
    while True:
        document, fails, simple = _drawn(chance)
        if check(document).valid:
            return Mixed(document, _expected(document, fails) if simple and document["failure"] == "finish" else None)


def _drawn(chance: random.Random) -> tuple[dict[str, Any], set[str], bool]:
    """Up to a dozen nodes: tools that take their time or fail, routers, joins of all kinds, failure edges, retries."""
    count = chance.randint(2, 12)
    nodes: dict[str, dict[str, Any]] = {}
    edges: list[dict[str, Any]] = []
    fails: set[str] = set()
    simple = chance.random() < 0.6  # joins of all: then there is one result only
    for at in range(count):
        name = f"n{at}"
        sources = chance.sample(sorted(nodes), min(at, chance.choice([0, 1, 1, 2, 3])))
        seconds = round(chance.choice([0.0, 0.0, chance.uniform(0.005, 0.15)]), 4)
        napping = {"mark": f"{chance.getrandbits(40)}/{name}", "seconds": seconds}
        nodes[name] = {"type": "tool", "tool_name": "nap", "tool_params": napping}
        if chance.random() < 0.15:
            fails.add(name)
            nodes[name] = {"type": "tool", "tool_name": "calculate", "tool_params": {"expression": "1 / 0"}}
            nodes[name] |= {"on_failure": chance.choice(["continue", "fail"])}
            if chance.random() < 0.5:
                nodes[name]["retry"] = {"max_attempts": 2, "delay": chance.choice([0, 0.1])}
        if not simple:
            nodes[name]["join"] = chance.choice(["all", "any", "all"])
        edges += [{"from": source, "to": name, "on": chance.choice(["success", "always"])} for source in sources]
    for name in [name for name in nodes if name not in fails and chance.random() < 0.2]:
        targets = [edge["to"] for edge in edges if edge["from"] == name]
        if targets and any(edge["to"] == name for edge in edges):
            rules = [{"condition": "true", "target": chance.choice(targets)}]
            nodes[name] = {"type": "router", "config": {"rules": rules}, "join": nodes[name].get("join", "all")}
    failure = chance.choice(["fail_fast", "finish", "finish"])
    document = {"nodes": nodes, "edges": edges, "failure": failure, "max_parallel": chance.choice([2, 500])}
    return document, fails, simple


def _expected(document: dict[str, Any], fails: set[str]) -> dict[str, str]:
    """Play it by the model, which nothing disturbs."""
    plan = compile_graph(Graph.read(document))
    model = Run(plan.places, failure="finish")

    def took(name: str) -> str:
        rules = plan.nodes[name].config.get("rules")
        wanted = ("failure", "always") if name in fails else ("success", "always")
        marks = [way.on in wanted and (not rules or way.target == rules[0]["target"]) for way in plan.nodes[name].out]
        return "".join("01"[mark] for mark in marks) or "*"

    def judge(_run: Run, name: str) -> Answer:
        return Answer("completed", took(name))

    model.submit(plan.roots, judge)
    while queued := [name for name, node in model.nodes.items() if node.status == "queued"]:
        name = queued[0]
        model.start(name)
        handled = name not in fails or plan.places[name].handled
        model.end(name, "failed" if name in fails else "completed", took(name) if handled else "-", judge)
    return {name: node.status for name, node in model.nodes.items()}
