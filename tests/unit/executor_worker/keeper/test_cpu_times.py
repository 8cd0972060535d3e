"""CPU time by role: it never falls, whoever ends."""

from __future__ import annotations

import os

from executor_worker.keeper.cpu_times import METRIC, CpuTimes, processes_of
from supervisor.scoreboard.scoreboard import Scoreboard


class Host:
    """Processes, and what each has used."""

    def __init__(self) -> None:
        self.used: dict[tuple[str, int], float] = {("keeper", 2): 1.0, ("worker", 3): 2.0, ("worker", 4): 0.5}
        self.times = CpuTimes(lambda: list(self.used), self.of)

    def of(self, pid: int) -> float | None:
        return next((used for (_, number), used in self.used.items() if number == pid and used >= 0), None)

    def seen(self) -> dict[str, float]:
        return {role: used for (_, role), used in self.times.totals().items()}


def test_workers_are_summed_up() -> None:
    """And grow."""
    host = Host()
    assert host.seen() == {"keeper": 1.0, "worker": 2.5}
    host.used["worker", 4] = 1.0
    assert host.seen() == {"keeper": 1.0, "worker": 3.0}


def test_what_has_ended_counts_on() -> None:
    """A worker that is gone, one that has its pid, and one that is gone between being listed and being looked at."""
    host = Host()
    host.seen()
    del host.used["worker", 3]
    assert host.seen()["worker"] == 2.5
    host.used["worker", 4] = 0.1  # another process
    assert host.seen()["worker"] == 2.6
    host.used["worker", 5] = 1.0
    assert host.seen()["worker"] == 3.6
    host.used["worker", 5] = -1.0
    assert host.seen()["worker"] == 3.6
    del host.used["worker", 5]
    assert host.seen()["worker"] == 3.6


def test_real_processes_have_used_something() -> None:
    """By their roles; `work`'s worker is the keeper's parent, and is no supervisor."""
    board, services = Scoreboard(2), Scoreboard(2, hidden=True)
    board.place(1).pid = os.getpid()
    services.place(1).pid = os.getppid()
    seen = CpuTimes(lambda: processes_of(board, services, os.getppid())).totals()
    assert {role for _, role in seen} == {"supervisor", "keeper", "worker", "api"}
    assert all(name == METRIC for name, _ in seen) and seen[METRIC, "worker"] > 0
    assert "supervisor" not in {role for role, _ in processes_of(board, None, os.getpid())}
    board.close()
    services.close()
