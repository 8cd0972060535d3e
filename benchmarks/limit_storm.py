"""
A storm over role queues with limits: is there ever one job more at the model than allowed, and are there as many?

    python -m benchmarks.limit_storm --jobs 3000 --seed 1

Two supervisors of eight workers each serve three roles. Every half second something is killed or frozen: a worker with
a job in hand, a keeper, a worker for longer than its lease, a supervisor with all its host. A model server that counts
says how many jobs were with it at once.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import psutil

from benchmarks.storm_places import Clock, Supervisor
from tests.kit import RedisServer, wait_until
from tests.system.roles.counting_model import CountingModel

ROLES = {"manager": 2, "inspector": 1, "agent": 1}  # of four jobs so many
FAULTS = ("worker", "keeper", "frozen", "host", "worker", "worker", "worker", "worker", "worker")
UPDATES = "signalr:updates"


@dataclass(frozen=True, slots=True)
class Plan:
    """
    Attributes:
        most, total: Jobs of managers, and of all roles, at once.
        every_s: Between two faults.
        model_s: The model takes so long for an answer.
    """

    jobs: int
    seed: int = 1
    supervisors: int = 2
    workers: int = 8
    most: int = 3
    total: int = 5
    lease_s: float = 2.0
    every_s: float = 0.5
    model_s: float = 0.15


@dataclass(slots=True)
class Report:
    """
    Attributes:
        most: With the model at once; *managers*: of their role.
        odd: Whatever is not as it must be.
    """

    seconds: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    asked: int = 0
    most: int = 0
    managers: int = 0
    odd: list[str] = field(default_factory=list)

    def lines(self, plan: Plan) -> Iterator[str]:
        faults = ", ".join(f"{number} × {name}" for name, number in sorted(self.faults.items()))
        yield f"{plan.jobs} jobs in {self.seconds:.1f} s, {self.asked} answers of the model; hit: {faults}"
        yield f"at once: {self.most} of {plan.total} allowed, of managers {self.managers} of {plan.most}"
        yield from self.odd


class LimitStorm:
    """One storm; all it starts ends with `run`."""

    def __init__(self, plan: Plan, folder: Path, server: RedisServer) -> None:
        self._plan = plan
        self._server = server
        self._db: Any = server.client()
        self._chance = random.Random(plan.seed)
        self._clock = Clock()
        self._report = Report()
        self._model = CountingModel(plan.model_s)
        self._folder = folder
        self._places: list[Supervisor] = []

    def run(self) -> Report:
        try:
            self._places = [self._place(number) for number in range(self._plan.supervisors)]
            for place in self._places:
                place.pool.wait_ready()
            began = time.monotonic()
            jobs = self._add_jobs()
            self._rage()
            self._report.seconds = time.monotonic() - began
            self._judge(jobs)
            return self._report
        finally:
            for place in self._places:
                place.pool.close()
            self._model.close()

    def _place(self, number: int) -> Supervisor:
        plan = self._plan
        settings = {
            **self._server.env,
            "ROLES": ",".join(ROLES),
            "QUEUES": "none",
            "LLM_PROVIDER": "",
            "LLM_ENDPOINT": self._model.url,
            "WORKERS": str(plan.workers),
            "MAX_MANAGER": str(plan.most),
            "MAX_TOTAL": str(plan.total),
            "LEASE": f"{plan.lease_s:g}s",
            "MAX_DELIVERIES": "1000",
        }
        return Supervisor(f"h{number}", self._server.env["REDIS_ADDR"], None, self._folder, settings)

    def _add_jobs(self) -> list[str]:
        shares = [role for role, share in ROLES.items() for _ in range(share)]
        pipe, jobs = self._db.pipeline(transaction=False), []
        for number in range(self._plan.jobs):
            jobs.append(f"j{number}")
            pipe.xadd(f"jobs:{shares[number % len(shares)]}", {"jobId": jobs[-1], "task": f"do {number}"})
        pipe.execute()
        return jobs

    def _rage(self) -> None:
        """Hit something every now and then until all jobs are done."""
        due, number = time.monotonic() + self._plan.every_s, 0

        def done() -> bool:
            nonlocal due, number
            self._clock.work_off()
            if time.monotonic() >= due and self._hit(FAULTS[number % len(FAULTS)]):
                due, number = time.monotonic() + self._plan.every_s, number + 1
            return not any(self._db.xlen(f"jobs:{role}") for role in ROLES)

        wait_until(done, 60 + self._plan.jobs * self._plan.model_s, lambda: f"all is done: {self._report}", every=0.02)

    def _hit(self, fault: str) -> bool:
        """Hit a place; False if there was nothing to hit."""
        place = self._chance.choice(self._places)
        with suppress(httpx2.HTTPError, psutil.NoSuchProcess, ProcessLookupError, OSError):
            if fault == "keeper":
                for keeper in place.keepers():
                    keeper.kill()
            elif fault == "host":
                place.pool.process.kill()
                place.pool.close()
                place.start(anew=True)
            else:
                busy = [row["pid"] for row in place.pool.workers() if row["state"] == "busy" and row["pid"]]
                if not busy:
                    return False
                self._hit_worker(self._chance.choice(busy), fault)
            self._report.faults[fault] += 1
            return True
        return False

    def _hit_worker(self, pid: int, fault: str) -> None:
        if fault == "worker":
            os.kill(pid, signal.SIGKILL)
            return
        os.kill(pid, signal.SIGSTOP)
        self._clock.later(self._plan.lease_s * 1.5, lambda: self._go_on(pid))

    @staticmethod
    def _go_on(pid: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    def _judge(self, jobs: list[str]) -> None:
        report, plan, model = self._report, self._plan, self._model
        report.asked, report.most = model.answered, model.most
        report.managers = model.by_model.get("trt-llm-manager", 0)
        for what, seen, most in (("jobs", report.most, plan.total), ("managers", report.managers, plan.most)):
            if seen != most:
                report.odd.append(f"{seen} {what} at once, {most} are allowed and should be reached")
        told = Counter(fields[b"MessageId"].decode() for _, fields in self._db.xrange(UPDATES))
        report.odd += [f"{job} has {told[job]} updates" for job in jobs if told[job] != 1]
        records = self._db.mget([f"dago:job:{job}" for job in jobs])
        for job, record in zip(jobs, records, strict=True):
            if json.loads(record or b"{}").get("status") != "completed":
                report.odd.append(f"{job} is not completed: {(record or b'').decode()}")
        left = [name for name in ("limited", "places") if self._db.exists(f"dago:executor:{name}")]
        report.odd += [f"dago:executor:{name} is left behind" for name in left]


def main() -> int:
    options = argparse.ArgumentParser(
        prog="python -m benchmarks.limit_storm",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    options.add_argument("--jobs", type=int, default=1000)
    options.add_argument("--seed", type=int, default=1)
    given = options.parse_args()
    plan = Plan(given.jobs, given.seed)
    with tempfile.TemporaryDirectory(prefix="ex-") as name:
        (Path(name) / "redis").mkdir()
        with closing(RedisServer(Path(name) / "redis")) as server:
            report = LimitStorm(plan, Path(name), server).run()
    sys.stdout.write("\n".join(report.lines(plan)) + "\n")
    return 1 if report.odd else 0


if __name__ == "__main__":
    sys.exit(main())
