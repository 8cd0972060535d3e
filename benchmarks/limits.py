"""Cost of limits to a worker: takes of unlimited jobs while 16 limits are full and 10 000 jobs wait for them."""

from __future__ import annotations

import tempfile
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure
from benchmarks.plan import Plan
from benchmarks.stage import cpu_s
from executor_worker.broker.connection.endpoint import Endpoint
from executor_worker.broker.connection.link import Link
from executor_worker.broker.queue.consumer import Consumer
from executor_worker.broker.queue.source import PlaceLimits, Sources
from executor_worker.broker.roles.source import JobCommit, RoleQueue, role_source
from tests.kit import RedisServer

LIMITS, WAITING = 16, 10_000
FREE, UNDER = "jobs:free", "jobs:under"
ROUNDS_A_RUN = 10  # short ones in turns: what a neighbour does meets both
ITEMS_SHARE = 20
LEASE_S = 600.0
RECORD = b'{"entry_id":"1-1","status":"completed"}'


def measure(plan: Plan) -> list[Figure]:
    """Let one consumer without limits and one with full ones work off as many jobs, in turns."""
    count, ratios, server_ratios, under = plan.items // ITEMS_SHARE, [], [], []
    with ExitStack() as stack:
        free, full = (Side(stack, limited=limited) for limited in (False, True))
        full.fill()
        for side in (free, full):
            side.work_off(FREE, count)
        for _ in range(plan.rounds * ROUNDS_A_RUN):
            alone, with_limits = free.work_off(FREE, count), full.work_off(FREE, count)
            held = full.work_off(UNDER, count)
            ratios.append(with_limits[0] / alone[0])
            server_ratios.append(with_limits[1] / alone[1])
            under.append(held[0] / alone[0])
    return [
        Figure.of("limits: 16 full and 10 000 waiting, an unlimited job", ratios, at_most=1.2, scale="ratio"),
        Figure.of("limits: the same, Redis' CPU", server_ratios, scale="ratio"),
        Figure.of("limits: a job under a limit with room beside them", under, scale="ratio"),
    ]


class Side:
    """A Redis and one consumer of it, of as many streams with limits as without."""

    def __init__(self, stack: ExitStack, *, limited: bool) -> None:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="ex-"))
        self._server = stack.enter_context(closing(RedisServer(Path(folder))))
        self._db: Any = self._server.client()
        self._names = [f"l{number}" for number in range(LIMITS)]
        most = {**dict.fromkeys(self._names, 1), "room": 10**6}
        queues = [RoleQueue("free", FREE), RoleQueue("under", UNDER, ("room",))]
        queues += [RoleQueue(name, f"jobs:{name}", (name,)) for name in self._names]
        limits = PlaceLimits(most if limited else {}, LEASE_S)
        self._sources = Sources(role_source(queues, ttl_s=600, start="0"), limits=limits)
        self._consumer = self._connect("measured.1")

    def fill(self) -> None:
        """Let 10 000 jobs wait for limits whose places others hold."""
        other = self._connect("holder.1")
        pipe = self._db.pipeline(transaction=False)
        for number in range(WAITING + len(self._names)):
            name = self._names[number % len(self._names)]
            pipe.xadd(f"jobs:{name}", {"jobId": f"{name}-{number}", "task": "wait"})
        pipe.execute()
        while self._waiting() < WAITING:
            other.take()

    def work_off(self, stream: str, count: int) -> tuple[float, float]:
        """Take and settle *count* jobs; returns the seconds, and those of Redis' CPU."""
        pipe = self._db.pipeline(transaction=False)
        for number in range(count):
            pipe.xadd(stream, {"jobId": f"j{number}", "task": "go"})
        pipe.execute()
        server = [self._server.process.pid]
        before, began = cpu_s(server), time.perf_counter()
        claim, done = self._consumer.take(), 0
        while claim is not None:
            commit = JobCommit("dago:job:x", RECORD, "dago:executor:cancelled:x", 600, {"MessageId": "x"})
            claim, done = claim.settle(commit, take_next=True).next, done + 1
        assert done == count, f"{done} of {count} were taken"
        took = time.perf_counter() - began, cpu_s(server) - before
        self._db.delete("signalr:updates")
        return took

    def _connect(self, name: str) -> Consumer:
        link = Link(Endpoint.parse(self._server.unix_url, None, None, 0), name=name, timeout_s=5)
        return Consumer(link, name, lease_s=LEASE_S, sources=self._sources)

    def _waiting(self) -> int:
        return sum(int(number) for number in self._db.hvals("dago:executor:parked:counts"))
