"""Scenarios 25 and 26: what tools leave behind, what they leak, and a machine that has nothing left to give."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx2
import pytest

from tests.faults.journal import VARIABLE
from tests.faults.stage import FULL_SIZE, ROOT, Stage, pids_of
from tests.kit import PROGRAM, Pool, Process, descendants, free_port, state_of, wait_until

pytestmark = pytest.mark.cold


@pytest.mark.parametrize("how", ["child", "setsid", "daemon", "fork"])
def test_25_what_a_tool_leaves_behind(stage: Stage, how: str) -> None:
    """Gone after its worker is killed, whatever session it has put itself in."""
    pool = stage.pool(workers=2)
    before = set(pool.process.relatives())
    stage.push("leave_child", how=how)
    worker = stage.started().pid
    left = wait_until(lambda: set(pool.process.relatives()) - before, 5, "what it has started bears our mark")
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: not left & set(pool.process.relatives()), 1.0, "what the killed worker had started is gone")
    stage.started(count=2)
    stage.journal.let_go("g")
    stage.assert_settled_once(["g"])


def test_25_what_a_tool_leaves_behind_a_drain(stage: Stage) -> None:
    """A worker that leaves by itself leaves nobody either: `drain` checks."""
    pool = stage.pool(workers=2)
    for how in ("setsid", "daemon"):
        stage.push("leave_child", how, how=how)
        stage.journal.let_go(how)
    stage.assert_settled_once(["setsid", "daemon"])
    wait_until(lambda: len(pool.process.relatives()) == 4 + 2, 5, lambda: f"they are {pool.process.relatives()}")
    assert pool.drain() == 0


PROCESSES = 10_000 if FULL_SIZE else 2_000


@pytest.mark.timeout(360)
@pytest.mark.parametrize("orphans", [False, True])
def test_25_many_short_processes(stage: Stage, orphans: bool) -> None:
    """Thousands of short tools leave no zombie, whether their starter waits for them or not."""
    pool = stage.pool(workers=2)
    graphs = [f"g{number}" for number in range(20)]
    for graph in graphs:
        stage.push("spawn", graph, count=PROCESSES // len(graphs), orphans=orphans)
    stage.assert_settled_once(graphs, 300)
    wait_until(lambda: not zombies(pool), 10, lambda: f"no zombie is left: {zombies(pool)}")
    assert not pool.seen("slot.dead")


def zombies(pool: Pool) -> list[int]:
    """Dead processes below the pool that nobody has reaped."""
    return [pid for pid in descendants(pool.process.pid) if state_of(pid) == "Z"]


def test_26_memory_leak(stage: Stage) -> None:
    """A worker beyond MAX_RSS_MB is replaced between items, one at a time, and no item notices."""
    pool = stage.pool(workers=3, MAX_RSS_MB="150")
    first = set(pids_of(pool))
    graphs = [f"g{number}" for number in range(12)]
    for graph in graphs:
        stage.push("leak_memory", graph, mib=60)
    replaced(stage, pool, graphs, first)


def test_26_descriptor_leak(stage: Stage) -> None:
    """The same before a worker has no descriptor left to work with."""
    pool = stage.pool(workers=2)
    for pid in pids_of(pool):
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (400, 4096))
    first = set(pids_of(pool))
    graphs = [f"g{number}" for number in range(60)]
    for graph in graphs:
        stage.push("leak_descriptors", graph, count=15)
    replaced(stage, pool, graphs, first)


def replaced(stage: Stage, pool: Pool, graphs: list[str], first: set[int]) -> None:
    """Check that the workers were replaced in turn while every item was run once."""
    workers = len(first)
    fewest = workers
    while not stage.nothing_left():
        fewest = min(fewest, sum(row["state"] in ("idle", "busy") for row in pool.workers()))
    stage.assert_settled_once(graphs)
    assert fewest >= workers - 1, "staggered"
    assert not [event for event in stage.results() if event["type"] != "node.completed"]
    assert {event["data"]["attempt"] for event in stage.results()} == {1}
    wait_until(lambda: first - set(pids_of(pool)), 10, "those that leaked are replaced")
    assert pool.metrics()['dago_worker_restarts_total{reason="replaced"}'] >= 1
    pool.wait_event("slot.left")
    assert {row["cause"] for row in pool.seen("slot.left")} == {"exit:0"} and not pool.seen("slot.dead")


def test_26_fork_fails(stage: Stage) -> None:
    """Backed off and said; the rest works on, and the slot is filled once there is room again."""
    pool = stage.pool(workers=2)
    supervisor = pool.process.pid
    before = resource.prlimit(supervisor, resource.RLIMIT_NOFILE)
    # Not even for the first worker's pidfd: the second one's, and where that shows its stacks, were opened after it.
    at_rest = min(len(os.listdir(f"/proc/{supervisor}/fd")) for _ in range(20))  # it may just be looking at something
    resource.prlimit(supervisor, resource.RLIMIT_NOFILE, (at_rest - 4, before[1]))
    os.kill(pool.worker_pid(), signal.SIGKILL)
    failed = pool.wait_event("slot.fork_failed", count=3)
    assert failed["slot"] == 1 and failed["error"]
    assert pool.wait_event("slot.backing_off", slot=1)["delay_s"] > 0
    stage.push("nap")
    assert stage.result()["type"] == "node.completed"
    resource.prlimit(supervisor, resource.RLIMIT_NOFILE, before)
    pool.wait_workers(lambda rows: all(row["state"] == "idle" for row in rows))
    wait_until(lambda: pool.health()["status"] == "healthy", 5, "it is well again")


@pytest.fixture
def bare_pool(stage: Stage, place: Callable[[str], Path]) -> Iterator[Callable[..., tuple[Process, httpx2.Client]]]:
    """Start a pool whose output goes where the test says."""
    with ExitStack() as started:

        def start(**output: int) -> tuple[Process, httpx2.Client]:
            env = {
                **stage.server.env,
                "LLM_PROVIDER": "scripted",
                "WORKERS": "2",
                "TOOL_MODULES": "tests.faults.tools",
                "PYTHONPATH": str(ROOT),
                "HEALTH_HOST": "127.0.0.1",
                "HEALTH_PORT": str(free_port()),
                "LOG_LEVEL": "debug",
                VARIABLE: str(stage.journal.folder),
            }
            process = Process([PROGRAM, "run"], env=env, cwd=place("bare"), warm=False, **output)
            started.callback(process.kill)
            http = started.enter_context(httpx2.Client(base_url=f"http://127.0.0.1:{env['HEALTH_PORT']}", timeout=30))
            wait_until(lambda: process.running() and ready(http), 60, "the pool is ready")
            return process, http

        yield start


def ready(http: httpx2.Client) -> bool:
    try:
        return http.get("/ready").status_code == 200
    except httpx2.TransportError:
        return False


@pytest.mark.parametrize("output", ["full", "closed"])
def test_26_output_that_takes_nothing(
    stage: Stage, bare_pool: Callable[..., tuple[Process, httpx2.Client]], output: str
) -> None:
    """Logs that can't be written are lost, nothing else is: work, crashes and drain go on."""
    if output == "full":
        there = os.open("/dev/full", os.O_WRONLY)
    else:
        reader, there = os.pipe()
        os.close(reader)
    process, http = bare_pool(stdout=there, stderr=there)
    os.close(there)
    stage.push("crash", how="SIGKILL")
    stage.push("fail", "fails", how="sys_exit")
    stage.assert_settled_once(["g", "fails"])
    assert http.get("/health").json()["status"] in ("healthy", "degraded")
    process.send(signal.SIGTERM)
    assert process.wait(60) == 0
    process.assert_nobody_left()
