"""What runs must survive: killed workers and keepers, a Redis that dies, items that are lost, poison."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from executor_worker.broker.graphs import drive, runs
from tests.kit import Pool, RedisServer, Stopwatch, wait_until
from tests.kit.commands import run_program
from tests.system.graphs.conftest import TOOLS, Kernel, calc, tool


def test_node_whose_worker_is_killed_runs_again(
    redis_server: RedisServer, executor: Callable[..., Pool], kernel: Kernel, folder: Path
) -> None:
    """A delivery is counted, an attempt is not; what comes after is queued once."""
    executor(redis_server, **TOOLS)
    nodes = {"a": tool("dies", file=str(folder / "a")), "b": tool("noted", file=str(folder / "b"))}
    run = kernel.submit({"nodes": nodes, "edges": [{"from": "a", "to": "b"}]})
    result = kernel.wait(run)
    assert result["output"] == 1 and result["result"]["a"]["output"] == "lived"
    metadata = result["result"]["a"]["metadata"]
    assert (metadata["attempt"], metadata["delivery"]) == (1, 2)
    deliveries = [
        event["data"]["delivery"]
        for event in kernel.events(run)
        if event["type"] == "node.started" and event["node_id"] == "a"
    ]
    assert deliveries == [1, 2]


def test_poisoned_node_fails_its_run_and_is_kept(
    redis_server: RedisServer, executor: Callable[..., Pool], kernel: Kernel, folder: Path
) -> None:
    """An error like others: a failure edge may be for it; the item stands in the dead letters."""
    executor(redis_server, MAX_DELIVERIES="2", **TOOLS)
    nodes = {"a": tool("kills"), "b": calc("1")}
    run = kernel.submit({"nodes": nodes, "edges": [{"from": "a", "to": "b", "on": "failure"}]})
    result = kernel.wait(run)
    assert result["status"] == "completed" and result["output"] == 1
    assert result["result"]["a"]["metadata"]["error_code"] == "poisoned"
    letters: Any = redis_server.client().xrange("executor.work:dead")
    assert [letter[1][b"reason"] for letter in letters] == [b"poisoned"]


def test_dead_letter_of_a_node_is_put_back_by_retrying_its_run(
    redis_server: RedisServer, executor: Callable[..., Pool], kernel: Kernel, folder: Path
) -> None:
    """`dead requeue` begins a new epoch, and the letter is gone."""
    pool = executor(redis_server, MAX_DELIVERIES="1", **TOOLS)
    run = kernel.submit({"nodes": {"a": tool("dies", file=str(folder / "a"))}})
    assert kernel.wait(run)["status"] == "failed"
    done = run_program("dead", "requeue", "--all", env=pool.env)
    assert done.returncode == 0 and run in done.stdout, done
    assert kernel.wait(run)["output"] == "lived"
    assert not redis_server.client().xlen("executor.work:dead")


def test_failed_nodes_of_runs_are_retried_with_their_runs(
    redis_server: RedisServer, executor: Callable[..., Pool], kernel: Kernel, folder: Path
) -> None:
    """`failed retry`, of a node by its name or of all that failed so: a new epoch, in which completed nodes stay."""
    pool = executor(redis_server, workers=2, **TOOLS)
    failing = [
        {
            "nodes": {
                "once": tool("noted", file=str(folder / f"once{at}")),
                "a": tool("fails_until", file=str(folder / f"a{at}"), times=1),
                "b": calc("{{a}} + {{once}}"),
            },
            "edges": [{"from": "once", "to": "a"}, {"from": "a", "to": "b"}],
        }
        for at in range(3)
    ]
    first, *others = [kernel.submit(graph) for graph in failing]
    for run in (first, *others):
        assert kernel.wait(run)["status"] == "failed"

    def retried(*words: str) -> str:
        done = run_program("failed", "retry", *words, env=pool.env)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    assert retried(first, "a") == f"{first} runs again: epoch 2, 2 nodes\n"
    assert kernel.wait(first)["status"] == "completed"
    told = retried("--all", "--code", "tool_failed")
    assert sorted(told.splitlines()) == sorted(f"{run} runs again: epoch 2, 2 nodes" for run in others)
    for run in (first, *others):
        assert kernel.wait(run)["output"] == 3
        kinds = [event["type"] for event in kernel.events(run) if event["type"].startswith("graph.")]
        assert kinds == ["graph.submitted", "graph.started", "graph.failed", "graph.retried", "graph.completed"]


def test_two_hundred_siblings_of_a_join_queue_it_once(
    redis_server: RedisServer, executor: Callable[..., Pool], kernel: Kernel, folder: Path
) -> None:
    """Two pools end them at the same time."""
    nodes = {f"n{at}": tool("passes", value=at) for at in range(200)}
    edges = [{"from": name, "to": "join"} for name in nodes]
    run = kernel.submit({"nodes": {**nodes, "join": tool("noted", file=str(folder / "join"))}, "edges": edges})
    for _ in range(2):
        executor(redis_server, workers=3, wait=False, **TOOLS)
    assert kernel.wait(run, 60)["output"] == 1
    queued = [event["node_id"] for event in kernel.events(run) if event["type"] == "node.queued"]
    assert sorted(queued) == sorted([*nodes, "join"])


def test_lost_item_is_found_and_queued_again(
    redis_server: RedisServer, executor: Callable[..., Pool], kernel: Kernel
) -> None:
    """Somebody has deleted the entries: within ten seconds they are queued again, and the log tells."""
    run = kernel.submit({"nodes": {"a": calc("1"), "b": calc("2")}})
    db = redis_server.client()
    db.delete("executor.work")
    pool = executor(redis_server)
    began = Stopwatch()
    assert kernel.wait(run, 20)["status"] == "completed"
    assert began.own_s() < 15
    assert [event["data"] for event in kernel.events(run) if event["type"] == "run.mended"] == [{"items": 2}]
    pool.wait_event("run.mended", items=2)


def test_runs_go_on_when_redis_was_killed(
    start_server: Callable[..., RedisServer], executor: Callable[..., Pool], on: Callable[[RedisServer], Kernel]
) -> None:
    """With AOF nothing is lost: all runs end rightly, none had to be mended."""
    server = start_server("redis", aof=True)
    kernel = on(server)
    pool = executor(server, workers=3, **TOOLS)
    nodes = {f"n{at}": tool("sleeps", seconds=0.02) for at in range(20)}
    edges = [{"from": f"n{at}", "to": f"n{at + 1}"} for at in range(19)]
    submitted = [kernel.submit({"nodes": nodes, "edges": edges}) for _ in range(6)]
    for _ in range(2):
        wait_until(lambda: sum(kernel.head(run).completed for run in submitted) % 40 > 5)
        server.restart(crash=True)
        kernel.link.close()
    for run in submitted:
        assert kernel.wait(run, 60)["status"] == "completed"
        kinds = [event["type"] for event in kernel.events(run)]
        assert kinds.count("node.completed") == 20 and "run.mended" not in kinds
        assert kinds[-1] == "graph.completed" and kinds.count("graph.completed") == 1
    assert not pool.seen("run.mended")


def test_timers_that_were_due_while_no_keeper_lived_are_done_once(
    redis_server: RedisServer, executor: Callable[..., Pool], kernel: Kernel
) -> None:
    """The keeper is frozen while a repetition falls due; the next one catches up."""
    pool = executor(redis_server, workers=1)
    node = {**calc("1 / 0"), "retry": {"max_attempts": 2, "delay": 60}, "on_failure": "continue"}
    run = kernel.submit({"nodes": {"a": node}})
    wait_until(lambda: kernel.statuses(run)["a"] == "waiting")
    pool.process.kill()
    db, timers = redis_server.client(), "dago:{executor.work}:timers"
    found = db.zrange(timers, 0, -1)
    repetition = next(member for member in found if isinstance(member, bytes) and b"\tretry\t" in member)
    db.zadd(timers, {repetition: db.time()[0] * 1000})
    assert kernel.statuses(run)["a"] == "waiting"
    executor(redis_server, workers=1)
    result = kernel.wait(run)
    assert result["status"] == "completed" and result["result"]["a"]["metadata"]["attempt"] == 2
    assert [event["type"] for event in kernel.events(run)].count("node.retrying") == 1


def test_frozen_worker_can_not_keep_a_cancelled_run_from_its_end(
    redis_server: RedisServer, executor: Callable[..., Pool], kernel: Kernel, folder: Path
) -> None:
    """At +2 s the run ends without it; what it says afterwards changes nothing."""
    gate = folder / "gate"
    pool = executor(redis_server, workers=1, **TOOLS)
    nodes = {"a": tool("waits_for", file=str(gate)), "b": calc("1")}
    run = kernel.submit({"nodes": nodes, "edges": [{"from": "a", "to": "b"}]})
    wait_until(lambda: kernel.statuses(run)["a"] == "running")
    workers = [pool.worker_pid()]
    pool.process.send(signal.SIGSTOP)  # the supervisor, so that it can't replace the worker
    for pid in workers:
        signal_to(pid, signal.SIGSTOP)
    began = Stopwatch()
    drive(kernel.link, runs.cancel(run))
    kernel.wait(run, 10)
    assert began.own_s() < 4
    before = kernel.events(run)
    gate.touch()
    for pid in workers:
        signal_to(pid, signal.SIGCONT)
    pool.process.send(signal.SIGCONT)
    other = kernel.submit({"nodes": {"c": calc("1")}})
    assert kernel.wait(other)["status"] == "completed"
    assert kernel.events(run) == before and kernel.statuses(run) == {"a": "cancelled", "b": "cancelled"}


def signal_to(pid: int, number: signal.Signals) -> None:
    """Send one process a signal."""
    os.kill(pid, number)
