"""`health`: read off the pool's own table, so it needs neither a port nor Redis."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from executor_worker.cli.health import KEEPER_SILENCE_S, describe
from executor_worker.keeper.pool_health import PoolHealth
from supervisor.scoreboard.scoreboard import Scoreboard
from tests.kit import PROGRAM, Pool, RedisServer, wait_until
from tests.system.cli.conftest import Run

NOW_NS = 10**12


@pytest.fixture
def board() -> Iterator[Scoreboard]:
    """A pool of one, idle."""
    made = Scoreboard(2)
    made.place(1).state = "idle"
    head = made.head
    head.mode, head.configured = "running", 1
    head.redis_up = head.gate = True
    head.supervisor_beat_ns = head.keeper_beat_ns = NOW_NS
    yield made
    made.close()


def report(board: Scoreboard, later_s: float = 0.0) -> tuple[str, list[str]]:
    said = describe(7, board, clock=lambda: NOW_NS / 1e9 + later_s)
    return said["status"], said["problems"]


def test_a_pool_is_found_by_its_table(executor: Callable[..., Pool], redis_server: RedisServer, run: Run) -> None:
    """Without HEALTH_PORT, and with whatever settings the asker has."""
    pool = executor(redis_server, HEALTH_PORT="", wait=False)
    pool.wait_event("pool.ready")

    def seen() -> dict[str, object]:
        reports = [json.loads(line) for line in run("health", WORKERS="nonsense").out.splitlines()]
        return next((report for report in reports if report["pid"] == pool.process.pid), {})

    wait_until(lambda: seen().get("status") == "healthy", 20, "it is healthy")
    redis_server.stop()
    wait_until(lambda: (seen().get("status"), seen()["redis"]) == ("unhealthy", "disconnected"), 20, "it is unhealthy")


@pytest.mark.needs("unshare")
def test_without_a_pool_it_fails() -> None:
    """In a place of its own, where no other pool runs: said in a line, status 1."""
    alone = ["unshare", "--pid", "--fork", "--mount-proc", str(PROGRAM), "health"]
    done = subprocess.run(alone, capture_output=True, text=True, check=False, env={"PATH": os.environ["PATH"]})
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "executor-worker: no pool of this user runs here.\n"


def test_a_silent_main_loop_or_keeper_is_an_illness(board: Scoreboard) -> None:
    """What the table says holds only while both who write it go on writing."""
    assert report(board) == ("healthy", [])
    assert report(board, 6) == ("unhealthy", ["the main loop has been silent for 6 s"])
    status, problems = report(board, KEEPER_SILENCE_S + 1)
    assert status == "unhealthy" and problems[1] == "the keeper has been silent for 31 s"


def test_draining_and_degraded_are_no_illness(board: Scoreboard) -> None:
    """As on /health: only `unhealthy` fails."""
    board.head.configured = 2
    assert report(board)[0] == "degraded"
    board.head.mode = "draining"
    assert report(board)[0] == "draining"


def test_a_table_is_shown_whole_and_read_only(board: Scoreboard) -> None:
    """Another process sees what is written; one of another version is refused."""
    board.row(1).begin("held", "g/n", "running")
    own = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd") if leads_to(fd, board)]
    fd = os.open(own[0], os.O_RDONLY)
    shown = Scoreboard.shown(fd)
    assert shown.row(1).item == "g/n" and shown.head.configured == 1
    with pytest.raises(TypeError):
        shown.head.configured = 3
    board.head.capacity = 3
    with pytest.raises(ValueError, match="another version"):
        Scoreboard.shown(fd)
    board.head.capacity = 2
    shown.close()
    os.close(fd)


def leads_to(fd: str, board: Scoreboard) -> bool:
    """Whether it is this board's memory: other tests may have left theirs."""
    try:
        same = os.path.sameopenfile(int(fd), board.tables[0])
        return same and "executor-scoreboard" in str(Path(f"/proc/self/fd/{fd}").readlink())
    except OSError:
        return False


def test_what_is_not_well_is_always_said(board: Scoreboard) -> None:
    """In every state there is; a pool that is well has nothing to say."""
    head, row = board.head, board.row(1)

    def sick(**changes: object) -> list[str]:
        before = {name: getattr(head, name) for name in changes}
        for name, value in changes.items():
            setattr(head, name, value)
        status, problems = report(board)
        for name, value in before.items():
            setattr(head, name, value)
        assert status != "healthy" and problems
        return problems

    assert sick(redis_up=False, away="WRONGPASS") == ["Redis is away: WRONGPASS"]
    assert "its own" in sick(gate=False)[0]
    assert sick(mode="draining") == ["the pool is draining: what is in hand is finished, nothing more is taken"]
    assert "resume" in sick(paused=True)[0]
    assert sick(configured=3) == ["the pool is degraded"]
    for state in ("starting", "dead"):
        row.state = state
        assert sick()[0].startswith("1 of 1 slots is ")
    row.state = "idle"
    row.stopped = True
    assert "no worker makes progress" in sick()[0]
    row.stopped = False
    assert report(board) == ("healthy", [])


@pytest.mark.parametrize(("later_s", "said"), [(0, True), (3599, True), (3601, False)])
def test_a_lost_stream_is_a_problem_for_an_hour(board: Scoreboard, later_s: int, said: bool) -> None:
    """The pool itself is well again."""
    board.head.lost_wall_ns = time.time_ns()
    pool_health = PoolHealth(board, lambda: board.head.lost_wall_ns / 1e9 + later_s, lambda: NOW_NS / 1e9)
    assert pool_health.status() == "healthy"
    assert ["lost and made anew" in problem for problem in pool_health.facts()["problems"]] == [True] * said


def test_what_ends_meanwhile_is_still_told(board: Scoreboard) -> None:
    """A report says why the pool is what the report says it is, though that was over a moment later."""
    board.head.paused = True

    def resumed() -> float:
        board.head.paused = False
        return NOW_NS / 1e9

    facts = PoolHealth(board, resumed, lambda: NOW_NS / 1e9).facts()
    assert (facts["status"], facts["problems"]) == ("degraded", ["the pool is degraded"])
