"""
Run the same jobs on other queues and on ours, print a table, keep it: docs/peers.json, docs/peers.svg, docs/PEERS.md.

What needs a machine of its own (speed, a killed worker's job that runs again at once) is measured first, one system
after the other, each beside a bare loop. What only takes time or counts (memory, slow recovery, the storm) is
measured at once.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from benchmarks.peers import plot, report
from benchmarks.peers.measures import AT_ONCE_S, Found, Plan, memory, speed, storm, tree_recovery, worker_recovery
from benchmarks.peers.program import Program
from benchmarks.peers.systems import ROOT, SYSTEMS, System

AT_A_TIME = 20
FULL = Plan(rounds=7, memory_workers=32, kills=15, limit_s=300.0)
JSON, SVG, PAGE = ROOT / "docs" / "peers.json", ROOT / "docs" / "peers.svg", ROOT / "docs" / "PEERS.md"


class Run:
    """All measurements of one run."""

    def __init__(self, systems: Sequence[System], plan: Plan, folder: Path) -> None:
        self.systems, self.plan, self.folder = systems, plan, folder
        self.found = {system.name: Found() for system in systems}
        self.began = time.monotonic()

    def everything(self) -> None:
        """First what needs the machine for itself, then the rest at once."""
        for system in self.systems:
            self.attempt("speed", self.alone, system)
        with ThreadPoolExecutor(AT_A_TIME) as threads:
            threads.submit(self.weigh)
            for system in self.systems:
                threads.submit(self.attempt, "all killed", self.tree_killed, system)
            for system in self.systems:
                threads.submit(self.attempt, "storm", self.stormy, system)
            for system in self.systems:
                if not self.found[system.name].worker_s:
                    threads.submit(self.attempt, "worker killed", self.worker_killed, system)

    def weigh(self) -> None:
        """One after the other: eight imports of the SDK are enough for a machine."""
        for system in self.systems:
            self.attempt("memory", self.weighed, system)

    def attempt(self, name: str, measure: Callable[[System], None], system: System) -> None:
        """Measure; what can't be measured of one system doesn't stop the others."""
        self.say(f"{system.title}: {name}")
        try:
            measure(system)
        except Exception as error:  # noqa: BLE001
            self.found[system.name].troubles.append(f"{name}: {type(error).__name__}: {error}")
            self.say(f"{system.title}: {name}: {error}")

    def say(self, text: str) -> None:
        sys.stderr.write(f"{time.monotonic() - self.began:5.0f} s  {text}\n")

    def program(self, system: System, name: str) -> Program:
        return Program(system, self.folder / f"{system.name}-{name}", self.plan.workers)

    def alone(self, system: System) -> None:
        with closing(self.program(system, "speed")) as program:
            found = self.found[system.name]
            speed(found, program, self.plan)
            for _ in range(self.plan.kills):
                seconds = worker_recovery(program, AT_ONCE_S)
                if seconds is None:
                    break
                found.worker_s.append(seconds)

    def worker_killed(self, system: System) -> None:
        with closing(self.program(system, "worker")) as program:
            seconds = worker_recovery(program, self.plan.limit_s)
            self.found[system.name].worker_s = [] if seconds is None else [seconds]

    def tree_killed(self, system: System) -> None:
        with closing(self.program(system, "tree")) as program:
            self.found[system.name].tree_s = tree_recovery(program, self.plan.limit_s)

    def stormy(self, system: System) -> None:
        with closing(self.program(system, "storm")) as program:
            storm(self.found[system.name], program, self.plan)

    def weighed(self, system: System) -> None:
        self.found[system.name].pss_mib = memory(system, self.folder / f"{system.name}-memory", self.plan)


def main() -> int:
    """Install, measure, print; with all systems and no trouble also write the documents."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    options.add_argument("--full", action="store_true", help="more rounds, 32 workers for memory, 300 s for recovery")
    options.add_argument("--limit", type=float, help="seconds that a killed job is waited for")
    options.add_argument("--only", nargs="+", choices=[system.name for system in SYSTEMS], help="writes no documents")
    options.add_argument("--json", type=Path, help="write the data here too")
    given = options.parse_args()
    plan = FULL if given.full else Plan()
    plan.limit_s = given.limit or plan.limit_s
    systems = [system for system in SYSTEMS if given.only is None or system.name in given.only]
    with ThreadPoolExecutor() as threads:
        list(threads.map(System.install, systems))
    with tempfile.TemporaryDirectory(prefix="peers-") as folder:
        run = Run(systems, plan, Path(folder))
        run.everything()
    data = report.as_data(systems, run.found, plan)
    sys.stdout.write(report.text(data))
    if given.json:
        given.json.write_text(json.dumps(data, indent=1) + "\n")
    troubles = [f"{name}: {trouble}" for name, found in run.found.items() for trouble in found.troubles]
    if not troubles and given.only is None:
        write(data)
    sys.stderr.writelines(f"{trouble}\n" for trouble in troubles)
    return 1 if troubles else 0


def write(data: report.Data) -> None:
    """Keep a whole run: the data, the plot, and the table of docs/PEERS.md."""
    JSON.write_text(json.dumps(data, indent=1) + "\n")
    SVG.write_text(plot.svg(data))
    PAGE.write_text(report.between_marks(PAGE.read_text(), report.markdown(data)))


if __name__ == "__main__":
    sys.exit(main())
