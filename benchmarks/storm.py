"""
A storm: thousands of items over several supervisors, while everything they stand on fails at random.

Workers, keepers and supervisors are killed and stopped, lines to Redis are cut, swallow replies or go silent, clients
are thrown out, Redis is killed, restarted (AOF, so that it keeps what it has acknowledged) and frozen; with --sentinel
it is a pair that fails over, as planned and by the loss of its primary. Then everything is read back: each item must
have one result, each node of each shared graph its entry and all else its very bytes, each run more than one its
reason, and nothing may be left over. The exit status is 1 if that is not so. With --graphs it is runs of graphs that
are submitted: each must end as it must, once, and nothing may have to be mended.

*seed* decides which faults come when and for how long; whom they meet depends on the machine as well.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.storm_failover import DOWN_AFTER_MS, ONE_REPLICA, WatchedRedis
from benchmarks.storm_faults import Faults
from benchmarks.storm_graphs import GraphStorm
from benchmarks.storm_redis import SingleRedis
from benchmarks.storm_report import GROUP, RESULT_STREAMS, WORK_STREAMS, Report, Work, judge
from tests.faults.journal import Journal
from tests.kit import RedisServer
from tests.kit.sentinels import Sentinels

NODES = 25  # of a shared graph
FAULT_EVERY_S = 0.35  # unless told otherwise
PATIENCE_S = 60.0  # for the next result, once the storm is over
PUT_AT_ONCE = 50
KEPT_PACE = 0.5  # of the items that were to be settled when a fault comes
TURN_S = 0.01
SHOW_EVERY_S = 0.5
# Numbers, spacing and names that careless rewriting would change.
DOCUMENT = r"""{"graph_id": "GRAPH", "graph": {"nodes": NODES, "empty": [], "none": null, "nothing": {}},
 "status": "running", "inputs": {"big": 123456789012345678901234567890, "float": 1.0, "exact": 1.10, "e": 1E5},
 "unknown": {"z": 1, "a": [2, {"b": []}], "text": "\u00e9\ud83d\ude00"},
 "node_states": {"other": {"status": "completed", "output": [1.50, {}], "more": 99999999999999999999}},
 "submitted_at": "2026-01-01T00:00:00Z", "last": -0.0}"""


@dataclass(frozen=True, slots=True)
class Plan:
    """
    Attributes:
        workers: Of each supervisor.
        seconds: How long faults come and items arrive; the rest is worked off after it.
    """

    items: int
    faults: int
    seed: int
    supervisors: int = 3
    workers: int = 3
    lease_s: float = 3.0
    seconds: float = 0.0

    @property
    def duration_s(self) -> float:
        return self.seconds or max(self.faults * FAULT_EVERY_S, self.items / 40)


class Storm:
    """One storm, from its first item to the report."""

    def __init__(self, plan: Plan, folder: Path, server: RedisServer | Sentinels) -> None:
        self._plan = plan
        chance = random.Random(plan.seed)
        self._works, self._documents = make_items(plan.items, chance)
        weights = (SingleRedis if isinstance(server, RedisServer) else WatchedRedis).weights
        kinds = chance.choices(list(weights), weights=list(weights.values()), k=plan.faults)
        times = sorted(chance.uniform(0.0, plan.duration_s) for _ in kinds)
        self._coming = deque(zip(times, kinds, strict=True))
        around = (folder, plan.supervisors, plan.workers, plan.lease_s, chance)
        self._faults: Faults = (
            SingleRedis(server, *around) if isinstance(server, RedisServer) else WatchedRedis(server, *around)
        )
        self._put = 0
        self._shown_at = 0.0

    def run(self) -> Report:
        began = time.monotonic()
        with closing(self._faults):
            for one in self._faults.supervisors:
                one.pool.wait_ready(60)
            self._rage()
            self._calm_down()
            self._faults.drain()
        report = self.judge()
        report.seconds = round(time.monotonic() - began, 1)
        return report

    @property
    def journal(self) -> Journal:
        """Read what the tools say they did."""
        return self._faults.journal

    def judge(self) -> Report:
        """Read everything back."""
        return judge(self._faults.db, self._works, self._documents, self.journal.facts(), self._faults.seen)

    def _rage(self) -> None:
        began, clock = time.monotonic(), self._faults.clock
        while clock.work_off() or self._coming or self._put < len(self._works):
            passed = time.monotonic() - began
            while self._coming and self._comes(self._coming[0][0], passed):
                self._faults.happen(self._coming.popleft()[1])
            if self._faults.redis_up:
                self._feed(min(passed / self._plan.duration_s, 1.0))
                self._show()
            self._faults.look_after()
            time.sleep(TURN_S)

    def _comes(self, at: float, passed: float) -> bool:
        """Tell whether a fault's time has come; on a busy machine faults wait until there is something to disturb."""
        if at > passed or not self._faults.redis_up:
            return at <= passed
        share = KEPT_PACE * at / self._plan.duration_s
        return self._settled() >= share * len(self._works) or passed > at + PATIENCE_S

    def _feed(self, share: float) -> None:
        """Put in the items whose time has come."""
        due = self._works[self._put : min(int(share * len(self._works)), self._put + PUT_AT_ONCE)]
        if not due:
            return
        pipe = self._faults.db.pipeline(transaction=False)
        for work in due:
            if work.graph in self._documents:
                pipe.set(f"dago:state:{work.graph}", self._documents[work.graph], nx=True)
            pipe.xadd(work.stream, {"data": work.data})
        pipe.execute()
        self._faults.secure()
        self._put += len(due)

    def _calm_down(self) -> None:
        """Wait until nothing is left to be done, or nothing happens any more."""
        settled, last_at = -1, time.monotonic()
        while self._left() and time.monotonic() < last_at + PATIENCE_S:
            now = self._settled()
            if now != settled:
                settled, last_at = now, time.monotonic()
            self._faults.look_after()
            self._show()
            time.sleep(10 * TURN_S)

    def _left(self) -> int:
        db = self._faults.db
        pending = sum(db.xpending(stream, GROUP)["pending"] for stream in WORK_STREAMS)
        return int(pending + sum(db.xlen(stream) for stream in WORK_STREAMS))

    def _settled(self) -> int:
        return sum(self._faults.db.xlen(stream) for stream in RESULT_STREAMS)

    def _show(self) -> None:
        if not sys.stderr.isatty() or time.monotonic() < self._shown_at + SHOW_EVERY_S:
            return
        self._shown_at = time.monotonic()
        done = self._faults.seen.faults.total()
        sys.stderr.write(
            f"\r{self._put} of {len(self._works)} items in, {self._settled()} settled, "
            f"{done} of {self._plan.faults} faults "
        )
        sys.stderr.flush()


def make_items(count: int, chance: random.Random) -> tuple[list[Work], dict[str, bytes]]:
    """Half of the items alone, half in graphs whose nodes come at about the same time; and the graphs' documents."""
    works: list[Work] = []
    documents: dict[str, bytes] = {}
    while len(works) < count:
        graph = f"shared{len(works)}"
        configs = {f"n{number}": config(f"{graph}/n{number}", chance) for number in range(NODES)}
        nodes = json.dumps({node: {"config": settings} for node, settings in configs.items()})
        text = DOCUMENT.replace("GRAPH", graph).replace("NODES", nodes)
        documents[graph] = text.encode()
        some = [shared_item(graph, node, configs[node], chance) for node in configs]
        some += [single_item(f"single{len(works) + number}", chance) for number in range(NODES)]
        chance.shuffle(some)
        works += some
    works = works[:count]
    left = {work.graph for work in works}
    return works, {graph: document for graph, document in documents.items() if graph in left}


def config(mark: str, chance: random.Random) -> dict[str, Any]:
    """A node that does nothing, sleeps for 5 to 200 ms, or for some seconds."""
    seconds = chance.choices([0.0, chance.uniform(0.005, 0.2), chance.uniform(1.0, 4.0)], [30, 67, 3])[0]
    return {"tool_name": "nap", "tool_params": {"mark": mark, "seconds": round(seconds, 4)}}


def single_item(graph: str, chance: random.Random) -> Work:
    item = {"graph_id": graph, "node_id": "n", "config": config(f"{graph}/n", chance), "inputs": {}}
    return Work(graph, "n", chance.choice(WORK_STREAMS), json.dumps(item).encode())


def shared_item(graph: str, node: str, settings: dict[str, Any], chance: random.Random) -> Work:
    """A node of a graph, in one of the two forms: with its config, or with an envelope and the config in the state."""
    names = {"graph_id": graph, "node_id": node, "node_type": "tool"}
    if chance.random() < 0.5:
        return Work(graph, node, WORK_STREAMS[0], json.dumps({**names, "config": settings}).encode())
    envelope = {"id": f"{graph}-{node}", "type": "node.work", "execution_id": graph, "data": names}
    return Work(graph, node, WORK_STREAMS[1], json.dumps(envelope).encode())


def rage(plan: Plan, *, sentinel: bool = False) -> Report:
    """Start everything, let the storm pass, end everything, report."""
    with tempfile.TemporaryDirectory(prefix="ex-") as name, ExitStack() as ending:
        folder = Path(name)

        def place(name: str) -> Path:
            return Path(tempfile.mkdtemp(prefix=name, dir=folder))

        def start(*_: str, **options: Any) -> RedisServer:
            return ending.enter_context(closing(RedisServer(place("redis"), **options)))

        if not sentinel:
            return Storm(plan, folder, start(aof=True)).run()
        return Storm(
            plan, folder, ending.enter_context(closing(Sentinels(place, start, ONE_REPLICA, DOWN_AFTER_MS)))
        ).run()


def lines(report: Report, plan: Plan) -> Iterator[str]:
    yield f"{plan.supervisors} supervisors of {plan.workers} workers, seed {plan.seed}, LEASE {plan.lease_s:g} s"
    yield from report.lines()


def _graphs(given: argparse.Namespace) -> int:
    seconds = given.seconds or max(given.faults * FAULT_EVERY_S, given.graphs / 10)
    with tempfile.TemporaryDirectory(prefix="ex-") as name:
        storm, redis = Path(name) / "storm", Path(name) / "redis"
        storm.mkdir()
        redis.mkdir()
        with closing(RedisServer(redis, aof=True)) as server:
            size = (given.supervisors, given.workers, given.lease)
            report = GraphStorm(given.graphs, given.faults, given.seed, seconds, storm, server, *size).run()
    text = json.dumps(report.as_json(), indent=1) if given.json else "\n".join(report.lines())
    sys.stdout.write(f"{text}\n")
    return 0 if report.fine else 1


def main() -> int:
    options = argparse.ArgumentParser(
        prog="python -m benchmarks.storm", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--items", type=int, default=1000)
    options.add_argument("--faults", type=int, default=100)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--supervisors", type=int, default=3)
    options.add_argument("--workers", type=int, default=3, help="of each supervisor")
    options.add_argument("--lease", type=float, default=3.0, help="LEASE in seconds")
    options.add_argument("--seconds", type=float, default=0.0, help="how long faults come; default: by their number")
    options.add_argument("--sentinel", action="store_true", help="failovers instead of bad lines and restarts")
    options.add_argument("--graphs", type=int, default=0, metavar="N", help="runs of N mixed graphs instead of items")
    options.add_argument("--json", action="store_true")
    given = options.parse_args()
    if given.graphs:
        return _graphs(given)
    plan = Plan(given.items, given.faults, given.seed, given.supervisors, given.workers, given.lease, given.seconds)
    report = rage(plan, sentinel=given.sentinel)
    text = json.dumps(report.as_json(), indent=1) if given.json else "\n".join(lines(report, plan))
    sys.stdout.write(f"{text}\n")
    return 0 if report.fine else 1


if __name__ == "__main__":
    sys.exit(main())
