"""One system at work: its processes, the Redis it works on, and what its jobs have noted."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from subprocess import PIPE

from benchmarks.peers import job
from benchmarks.peers.systems import ROOT, System
from tests.kit import Process, RedisServer, alive, kill_all
from tests.kit.processes import read_proc

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
GLANCE_S = 0.005
START_S = 180.0  # for all processes to be up, on a busy machine
PATIENCE_S = 60.0
CALM_S = 2.0  # what has not begun after this is taken for fetched ahead


class Program:
    """
    A system with N processes of one job at a time each, on a Redis server of its own.

    A program of it that ends is started again at once, as a service manager would do.
    """

    def __init__(self, system: System, folder: Path, workers: int, imports: str = "") -> None:
        self.system, self.folder, self.workers = system, folder, workers
        (folder / "redis").mkdir(parents=True)
        self.server = RedisServer(folder / "redis")
        self.gate = folder / "gate"
        self.notes = folder / "notes"
        self.notes.touch()
        self.env = {
            "PYTHONPATH": str(ROOT),
            "PEERS_REDIS": f"{self.server.url}/0",
            "PEERS_NOTES": str(self.notes),
            "PEERS_GATE": str(self.gate),
            "PEERS_IMPORTS": imports,
        }
        self._next = 1
        self._long: set[int] = set()  # jobs that end when the gate is open
        self._log = (folder / "log").open("ab")
        programs, each = (workers, 1) if system.program_a_worker else (1, workers)
        self._commands = [[*self._adapter, "work", str(each)]] * programs
        self._processes: list[Process] = []
        self._putter: Process | None = None
        try:
            self._processes = [self._start(command) for command in self._commands]
        except BaseException:
            self.close()
            raise

    @property
    def _adapter(self) -> list[str]:
        return [str(self.system.python), "-m", f"benchmarks.peers.on_{self.system.name}"]

    def _start(self, command: list[str]) -> Process:
        return Process(command, env=self.env, cwd=self.folder, stdout=self._log, stderr=self._log)

    def tend(self) -> None:
        """Start again what has ended."""
        for place, process in enumerate(self._processes):
            if not process.running():
                kill_all(process.relatives())  # a service manager ends a unit's last processes too
                self._processes[place] = self._start(self._commands[place])

    def close(self) -> None:
        """End it and all it has started."""
        for process in [*self._processes, *([self._putter] if self._putter else [])]:
            process.kill()
        kill_all(self.pids())
        self.server.close()
        self._log.close()

    # Its processes

    def pids(self) -> list[int]:
        """All living processes of it."""
        return [pid for process in self._processes for pid in process.relatives()]

    def cpu_seconds(self) -> float:
        """CPU time so far, of those that have ended and were waited for too."""
        return sum(map(cpu_seconds, self.pids()))

    def pss_mib(self) -> float:
        """Memory of the whole tree; what processes share is counted once."""
        return sum(map(pss_kib, self.pids())) / 1024

    def kill_tree(self) -> None:
        """Kill all of it at once."""
        kill_all(self.pids())

    # Its jobs

    def put(self, kind: str, count: int, seconds: float = 0.0) -> range:
        """
        Enqueue jobs, from a process of the system's own environment; return their numbers.

        Raises:
            OSError: It could not; says the end of the log.
        """
        first, self._next = self._next, self._next + count
        if self._putter is None:
            command = [*self._adapter, "put"]
            env = {**self.env, "PEERS_IMPORTS": ""}
            self._putter = Process(command, env=env, cwd=self.folder, stdin=PIPE, stdout=PIPE, stderr=self._log)
        lines, answers = self._putter.popen.stdin, self._putter.popen.stdout
        assert lines is not None
        assert answers is not None
        lines.write(f"{kind} {first} {count} {seconds}\n".encode())
        lines.flush()
        while (answer := answers.readline().decode()).strip() != job.DONE:
            if not answer:
                raise OSError(f"{self.system.name}: could not enqueue\n{self.said()}")
        return range(first, first + count)

    def noted(self) -> int:
        """Count the records."""
        return self.notes.stat().st_size // job.RECORD.size

    def records(self, since: int = 0) -> list[tuple[bytes, int, int, float]]:
        """Read what the jobs have noted, from that record on."""
        with self.notes.open("rb") as file:
            file.seek(since * job.RECORD.size)
            return list(job.read(file.read()))

    def in_flight(self) -> dict[int, int]:
        """Jobs that have begun and not ended, in a process that lives: number to pid."""
        found = in_flight(self.records())
        return {number: pid for number, pid in found.items() if alive(pid)}

    def wait(self, condition: Callable[[], object], seconds: float) -> bool:
        """Wait until *condition* is true, keeping the system running; False when it was not in time."""
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                return False
            self.tend()
            time.sleep(GLANCE_S)
        return True

    def occupy(self, jobs: int) -> None:
        """
        Put long jobs until *jobs* of them are in flight; those of before have ended.

        What is fetched ahead by a busy process does not begin: then more are put.

        Raises:
            TimeoutError: They never were, or the ones before did not end.
        """
        self.vacate()
        self.gate.unlink(missing_ok=True)
        end = time.monotonic() + START_S
        self._long |= set(self.put("nap", jobs, 3600))
        while (busy := len(self.in_flight())) < jobs:
            if time.monotonic() > end:
                raise self._late(f"{busy} of {jobs} busy")
            if not self.wait(lambda before=busy: len(self.in_flight()) > before, CALM_S) and busy:  # type: ignore[misc]
                self._long |= set(self.put("nap", jobs - busy, 3600))

    def release(self) -> None:
        """Open the gate: all long jobs end at once, and those to come."""
        self.gate.touch()

    def vacate(self) -> None:
        """
        Open the gate, and wait until all long jobs have ended, also those that had not begun.

        Raises:
            TimeoutError: Some did not.
        """
        self.release()
        if not self.wait(lambda: not self._long - self._ended(), PATIENCE_S):
            raise self._late(f"{len(self._long - self._ended())} long jobs have not ended")

    def _ended(self) -> set[int]:
        return {number for what, number, _, _ in self.records() if what == job.ENDED}

    def _late(self, what: str) -> TimeoutError:
        return TimeoutError(f"{self.system.name}: {what}\n{self.said()}")

    def said(self) -> str:
        """The end of its log, for messages."""
        return (self.folder / "log").read_text(errors="replace")[-1500:]


def in_flight(records: list[tuple[bytes, int, int, float]]) -> dict[int, int]:
    """Jobs that have begun and whose last run has not ended: number to pid."""
    found: dict[int, int] = {}
    for what, number, pid, _ in records:
        if what == job.BEGAN:
            found[number] = pid
        elif what == job.ENDED:
            found.pop(number, None)
    return found


def not_done_and_twice(records: list[tuple[bytes, int, int, float]], jobs: range) -> tuple[int, int]:
    """Count how many of *jobs* have never ended, and how many ended more than once."""
    ended = Counter(number for what, number, _, _ in records if what == job.ENDED and number in jobs)
    return len(jobs) - len(ended), sum(times > 1 for times in ended.values())


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, and of its children that it has waited for."""
    fields = read_proc(pid, "stat").rpartition(b")")[2].split()
    return sum(map(int, fields[11:15])) / TICKS_PER_SECOND if fields else 0.0


def pss_kib(pid: int) -> int:
    """A process's proportional share of memory; 0 if it has gone."""
    with suppress(StopIteration):
        lines = read_proc(pid, "smaps_rollup").splitlines()
        return int(next(line for line in lines if line.startswith(b"Pss:")).split()[1])
    return 0
