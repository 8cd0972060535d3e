"""Measures taken of each system."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.peers import job
from benchmarks.peers.program import Program, not_done_and_twice
from benchmarks.peers.systems import System
from benchmarks.yardstick import cpu_per_1000

AT_ONCE_S = 5.0  # a killed worker's job that runs again within this is measured several times
WARM_UP_JOBS = 100
ROUND_AT_MOST_S = 120.0
STORM_JOBS, NAP_S, KILL_EVERY_S, STORM_S = 200, 0.2, 0.5, 15.0


@dataclass
class Plan:
    """The amount of each; `--full` is the long form."""

    workers: int = 4
    rounds: int = 3
    items: int = 3000
    round_s: float = 4.0  # a slow system is given fewer items, about so many as it runs in this time
    bare_items: int = 2000
    memory_workers: int = 8
    kills: int = 5
    limit_s: float = 130.0


@dataclass
class Found:
    """
    The figures of one system.

    Attributes:
        jobs_per_s: Of no-op jobs, one figure a round.
        cpu_s: CPU seconds of all its processes for 1000 of them.
        ratio: The same, to that of the bare loops before and after.
        pss_mib: Memory of all processes by the number of workers, all busy, after 50 jobs each, anthropic imported.
        worker_s: From the kill of a busy worker to its job running again; empty: not within the limit.
        tree_s: The same for all its processes; None: not within the limit.
        kills: Workers killed in the storm.
        not_done: Of the storm's jobs, those that had not ended at the limit.
        twice: Those that ended more than once.
        troubles: What could not be measured, and why.
    """

    jobs_per_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    ratio: list[float] = field(default_factory=list)
    pss_mib: float = 0.0
    worker_s: list[float] = field(default_factory=list)
    tree_s: float | None = None
    kills: int = 0
    not_done: int = 0
    twice: int = 0
    troubles: list[str] = field(default_factory=list)


def speed(found: Found, program: Program, plan: Plan) -> None:
    """Run no-ops that wait in the queue, all workers up and warm; between two runs of the bare loops each time."""
    _, per_s = one_round(program, plan, WARM_UP_JOBS)
    items = max(WARM_UP_JOBS, min(plan.items, int(per_s * plan.round_s)))
    bare = cpu_per_1000(program.server, plan.bare_items)
    for _ in range(plan.rounds):
        cpu_s, per_s = one_round(program, plan, items)
        bare_before, bare = bare, cpu_per_1000(program.server, plan.bare_items)
        found.jobs_per_s.append(per_s)
        found.cpu_s.append(1000 * cpu_s)
        found.ratio.append(1000 * cpu_s / ((bare_before + bare) / 2))


def one_round(program: Program, plan: Plan, items: int) -> tuple[float, float]:
    """Run *items* no-ops; CPU seconds of one, and jobs per second."""
    program.occupy(plan.workers)
    program.put("noop", items)
    before = program.noted()

    def ran() -> int:
        return sum(what == job.RAN for what, *_ in program.records(before))

    began, cpu_s = time.monotonic(), program.cpu_seconds()
    program.release()
    program.wait(lambda: ran() >= items, ROUND_AT_MOST_S)
    took, cpu_s, done = time.monotonic() - began, program.cpu_seconds() - cpu_s, ran()
    if done < items:
        raise TimeoutError(
            f"{program.system.name}: {done} of {items} jobs within {ROUND_AT_MOST_S:g} s\n{program.said()}"
        )
    return cpu_s / done, done / took


def memory(system: System, folder: Path, plan: Plan) -> float:
    """MiB a worker: all processes, each warm by 50 jobs and busy with one, with the model's SDK imported."""
    with closing(Program(system, folder, plan.memory_workers, imports="anthropic")) as program:
        program.occupy(plan.memory_workers)
        program.release()
        before = program.noted()
        program.put("noop", 50 * plan.memory_workers)
        program.wait(lambda: program.noted() >= before + 50 * plan.memory_workers, 60)
        program.occupy(plan.memory_workers)
        return program.pss_mib() / plan.memory_workers


def worker_recovery(program: Program, limit_s: float) -> float | None:
    """Kill the process in which a job runs, the other workers being idle; seconds until the job runs again."""
    program.occupy(1)
    number, pid = next(iter(program.in_flight().items()))
    return again_after(program, number, limit_s, lambda: os.kill(pid, signal.SIGKILL))


def tree_recovery(program: Program, limit_s: float) -> float | None:
    """Kill all processes while a job runs, start it all again; seconds until that job runs again."""
    program.occupy(1)
    number = next(iter(program.in_flight()))
    return again_after(program, number, limit_s, program.kill_tree)


def again_after(program: Program, number: int, limit_s: float, kill: Callable[[], None]) -> float | None:
    """Do *kill*; seconds until job *number* has begun once more, by the clock of the job itself."""
    before, killed = program.noted(), time.monotonic()
    kill()
    again: list[float] = []

    def began() -> bool:
        again.extend(at for what, run, _, at in program.records(before) if what == job.BEGAN and run == number)
        return bool(again)

    return again[0] - killed if program.wait(began, limit_s) else None


def storm(found: Found, program: Program, plan: Plan) -> None:
    """Kill a busy worker every half second while short jobs run, then wait for the rest of them."""
    program.occupy(plan.workers)
    program.vacate()
    program.gate.unlink()
    before = program.noted()
    jobs = program.put("nap", STORM_JOBS, NAP_S)
    end = time.monotonic() + STORM_S
    chance = random.Random(7)
    while time.monotonic() < end and not_done_and_twice(program.records(before), jobs)[0]:
        program.wait(lambda: False, KILL_EVERY_S)
        busy = list(program.in_flight().values())
        if busy:
            with suppress(ProcessLookupError):
                os.kill(chance.choice(busy), signal.SIGKILL)
                found.kills += 1
    program.wait(lambda: not not_done_and_twice(program.records(before), jobs)[0], plan.limit_s)
    program.wait(lambda: False, 1.0)  # for what runs a second time
    found.not_done, found.twice = not_done_and_twice(program.records(before), jobs)
