"""Scenarios 1-8: workers and supervisors that die."""

from __future__ import annotations

import os
import signal
import statistics
import time
from collections.abc import Callable
from itertools import pairwise

import pytest

from tests.faults.bare_fork import BareFork
from tests.faults.stage import WORK, Stage, pids_of, unharmed
from tests.kit import Pool, Proxy, Stopwatch, alive, own_name, wait_until
from tests.kit.pool import Row

KILLS = 20
STEPS = 6  # supervisor, worker and Redis, one after the other; a bare fork is one


@pytest.mark.xdist_group("quiet")
def test_01_sigkilled_worker_in_mid_item(stage: Stage, record_property: Callable[[str, object], None]) -> None:
    """
    SIGKILL a worker in mid-item: it is running again in a median under 50 ms, never over 0.5 s, and has one result.

    Where others want more than this machine has, each of the few steps waits its turn; how long that is, a bare fork
    tells at the same moments.
    """
    stage.pool(workers=2)
    seconds: list[float] = []
    bare: list[float] = []
    others: list[float] = []  # in which somebody had to wait for a core or the disk
    with BareFork() as fork:
        for number in range(KILLS):
            graph = f"g{number}"
            stage.push("hold", graph)
            pid = stage.started(graph).pid
            bare.append(fork.seconds())
            killed_at, taken = time.monotonic(), Stopwatch()
            os.kill(pid, signal.SIGKILL)
            seconds.append(stage.started(graph, 2).at - killed_at)
            others.append(taken.others_s())
            bare.append(fork.seconds())
            stage.journal.let_go(graph)
            assert stage.result(graph)["data"]["attempt"] == 2
    stage.assert_settled_once(f"g{number}" for number in range(KILLS))
    assert len(stage.journal.starts()) == 2 * KILLS
    for what, found in (("recovery", seconds), ("bare fork", bare)):
        print(f"{what}: median {statistics.median(found) * 1000:.1f} ms, longest {max(found) * 1000:.1f} ms")
    record_property("recovery_median_ms", round(statistics.median(seconds) * 1000, 1))
    own = [took - had for took, had in zip(seconds, others, strict=True)]
    assert statistics.median(own) < max(0.05, STEPS * statistics.median(bare)), (seconds, others, bare)
    assert max(own) < max(0.5, STEPS * max(bare)), (seconds, others, bare)


def test_02_worker_that_ends_itself(stage: Stage) -> None:
    """SIGSEGV, abort, os._exit(0) in an item: the same, and the cause is recorded."""
    pool = stage.pool(workers=2)
    causes = {"segfault": "signal:SIGSEGV", "abort": "signal:SIGABRT", "exit": "exit:0", "SIGBUS": "signal:SIGBUS"}
    for how, cause in causes.items():
        taken = Stopwatch()
        stage.push("crash", how, how=how)
        assert stage.result(how)["data"]["attempt"] == 2
        dead = pool.wait_event("slot.dead", cause=cause)
        assert dead["item"] == f"{how}/n" and dead["phase"] == "tool:crash"
        first, second = stage.journal.starts(how)
        assert second.at - first.at < 0.5 + taken.others_s()
    stage.assert_settled_once(causes)
    assert pool.metrics()['dago_worker_restarts_total{reason="crashed"}'] == len(causes)


@pytest.mark.parametrize("lost", ["reply", "request"])
def test_03_killed_between_settles_request_and_its_reply(stage: Stage, proxy: Callable[..., Proxy], lost: str) -> None:
    """Whether it arrived or not: exactly one result, and the next item flows."""
    line = proxy(stage.server.port)
    stage.pool(workers=1, REDIS_ADDR=line.addr, LEASE="30")
    stage.push("say_pid", "warm")  # from here on the server knows the scripts
    stage.result("warm")
    killed: list[int] = []

    def on_request(chunk: bytes) -> None:
        if b'"output":"slept"' in chunk and not killed:
            killed.append(stage.journal.starts("g")[0].pid)
            line.lose_replies, line.black_hole = lost == "reply", lost == "request"
            if lost == "request":
                os.kill(killed[0], signal.SIGKILL)

    line.on_request = on_request
    stage.push("nap")
    if lost == "reply":
        stage.result()
        os.kill(killed[0], signal.SIGKILL)
    wait_until(lambda: killed and not alive(killed[0]), 5, "the worker is dead")
    line.lose_replies = line.black_hole = False
    line.cut()
    stage.push("nap", "next")
    stage.assert_settled_once(["warm", "g", "next"])
    assert len(stage.journal.starts("g")) == (1 if lost == "reply" else 2)
    assert stage.results("g")[0]["data"]["attempt"] == (1 if lost == "reply" else 2)


def test_04_killed_between_the_reads_reply_and_the_first_write(stage: Stage, proxy: Callable[..., Proxy]) -> None:
    """What was delivered to a worker that died before it knew of it is recovered by its successor, at once."""
    line = proxy(stage.server.port)
    pool = stage.pool(workers=1, REDIS_ADDR=line.addr, LEASE="30")
    pid = pool.worker_pid()
    seen: list[float] = []

    def on_reply(chunk: bytes) -> None:
        if b'"tool_name"' in chunk and not seen:
            os.kill(pid, signal.SIGKILL)
            seen.append(time.monotonic())

    line.on_reply = on_reply
    taken = Stopwatch()
    stage.push("nap")
    result = stage.result(seconds=5)
    stage.assert_settled_once(["g"])
    (start,) = stage.journal.starts()
    assert seen and start.pid != pid and start.at - seen[0] < 0.5 + taken.others_s()
    assert "held" not in pool.wait_event("slot.dead") and result["type"] == "node.completed"


def test_05_all_workers_killed_again_and_again_under_load(stage: Stage) -> None:
    """Every item is settled once, and the pool is whole again."""
    pool = stage.pool(workers=4, MAX_DELIVERIES="50")
    graphs = [f"g{number}" for number in range(300)]
    for number, graph in enumerate(graphs):
        stage.push("nap", graph, seconds=(number % 7) / 100)
    killed: set[int] = set()
    for round_ in range(1, 6):
        stage.wait_results(round_ * 20)
        for row in pool.wait_workers(lambda rows: all(at_work(row) and row["pid"] not in killed for row in rows)):
            os.kill(row["pid"], signal.SIGKILL)
            killed.add(row["pid"])
    stage.assert_settled_once(graphs)
    assert all(event["type"] == "node.completed" for event in stage.results())
    pool.wait_workers(lambda rows: all(row["state"] == "idle" for row in rows))
    assert pool.metrics()['dago_worker_restarts_total{reason="crashed"}'] == len(killed) == 5 * 4


def at_work(row: Row) -> bool:
    return row["state"] in ("idle", "busy")


def test_05_backoff_is_respected(stage: Stage) -> None:
    """A slot whose worker dies again and again is filled later each time; its item goes to others meanwhile."""
    pool = stage.pool(workers=1, MAX_DELIVERIES="6")
    taken = Stopwatch()
    stage.push("crash", how="SIGKILL", times=100)
    assert stage.result()["data"]["error_code"] == "poisoned"
    starts = [fact.at for fact in stage.journal.starts()]
    pauses = [later - earlier for earlier, later in pairwise(starts)]
    assert len(starts) == 6 and pauses[0] < 0.5 + taken.others_s()
    assert all(pause >= least for pause, least in zip(pauses, (0, 0.1, 0.2, 0.5, 1.0), strict=True)), pauses
    pool.wait_event("slot.backing_off", count=5)
    assert len(pool.seen("slot.backing_off")) == 5


def test_06_supervisor_killed(stage: Stage) -> None:
    """Workers busy, idle and blocked in C and what their tools started are gone in 1 s; another pool takes over."""
    stage.lease_s = 1.0
    first = stage.pool(workers=4)
    stage.push("leave_child", "child", how="daemon")
    stage.push("hold", "busy")
    stage.push("hold_gil", "blocked", seconds=3600)
    for graph in ("child", "busy", "blocked"):
        stage.started(graph)
    entries = stage.pending()
    first.process.kill()
    killed_at, taken = time.monotonic(), Stopwatch()
    wait_until(lambda: not first.process.relatives(), 1.0, "all of them are gone")
    assert set(stage.pending()) == set(entries)
    stage.pool(workers=4, NODE_TIMEOUT="2")
    for graph in ("child", "busy"):
        stage.journal.let_go(graph)
    taken_over = [stage.started(graph, 2) for graph in ("child", "busy", "blocked")]
    assert max(fact.at for fact in taken_over) - killed_at < stage.lease_s + 4 + taken.others_s()
    assert stage.result("blocked")["data"]["error_code"] == "node_timeout"
    stage.assert_settled_once(["child", "busy", "blocked"])


def test_06_a_lost_hosts_item_is_claimed_by_xautoclaim_for_the_worker_that_runs_it(stage: Stage) -> None:
    """What Redis is asked, as MONITOR shows it: one entry, from that very one on, by the consumer that then runs it."""
    stage.lease_s = 1.0
    first = stage.pool(workers=1)
    entry = stage.push("hold")
    stage.started()
    with stage.db.monitor() as seen:
        first.process.kill()
        stage.journal.let_go("g")
        stage.pool(workers=2)
        runner = stage.result()["data"]["worker_id"]
        stage.db.echo("the end")
        asked = []
        while (command := seen.next_command()["command"]) != "ECHO the end":
            asked.append(command.split())
    claims = [words for words in asked if words[0].upper() == "XAUTOCLAIM"]
    assert [(words[1], words[3], words[5:8]) for words in claims] == [(WORK, runner, [entry, "COUNT", "1"])]
    renewals = [words for words in asked if words[0].upper() == "XCLAIM" and entry in words]
    assert all(words[-1] == "JUSTID" or words[3] == runner for words in renewals), "nobody else is given it"


def test_06_supervisor_and_keeper_killed_at_once(stage: Stage) -> None:
    """The workers go by themselves."""
    pool = stage.pool(workers=3)
    stage.push("hold")
    stage.push("hold_gil", "blocked", seconds=3600)
    stage.started(), stage.started("blocked")
    keeper = pool.wait_event("keeper.up")["pid"]
    os.kill(pool.process.pid, signal.SIGSTOP)
    os.kill(keeper, signal.SIGKILL)
    os.kill(pool.process.pid, signal.SIGKILL)
    wait_until(lambda: not pool.process.relatives(), 1.0, "all of them are gone")


def test_06_killed_supervisors_successor_of_the_same_name(stage: Stage) -> None:
    """It does not wait for the dead one's name, and takes what was in hand at once: nobody else can be at it."""
    name = own_name("same")
    first = stage.pool(workers=2, WORKER_ID=name, LEASE="30")
    stage.push("hold")
    stage.started()
    first.process.kill()
    stage.journal.let_go("g")
    began = Stopwatch()
    stage.pool(workers=2, WORKER_ID=name, LEASE="30")
    assert stage.result()["data"]["attempt"] == 2
    assert began.own_s() < 8
    stage.assert_settled_once(["g"])


def test_07_tool_that_raises_what_ends_processes(stage: Stage) -> None:
    """sys.exit, KeyboardInterrupt, RecursionError, MemoryError and the like are an outcome, not a death."""
    pool = stage.pool(workers=2)
    pids = pids_of(pool)
    ways = ["sys_exit", "keyboard", "generator", "recursion", "memory", "unprintable"]
    for how in ways:
        stage.push("fail", how, how=how)
    for how in ways:
        data = stage.result(how)["data"]
        assert (data["error_code"], data["attempt"]) == ("tool_failed", 1), data
    stage.assert_settled_once(ways)
    assert unharmed(pool, pids) and not pool.seen("slot.dead")


def test_08_two_supervisors_of_one_name(stage: Stage) -> None:
    """The second is refused with a clear sentence and 78; the first does not notice."""
    name = own_name("only-one")
    first = stage.pool(workers=1, WORKER_ID=name)
    stage.push("hold")
    stage.started()
    second: Pool = stage.pool(workers=1, WORKER_ID=name, wait=False)
    assert second.wait(20) == 78
    said = second.said()
    assert f"{name!r} is taken" in said and "WORKER_ID" in said, said
    stage.journal.let_go("g")
    stage.assert_settled_once(["g"])
    assert len(stage.journal.starts()) == 1 and first.ready()


def test_08_name_that_was_taken_while_its_supervisor_was_cut_off(stage: Stage, proxy: Callable[..., Proxy]) -> None:
    """Cut off for so long that its name was free again, it ends with 78 when it finds it taken; nothing is twice."""
    line = proxy(stage.server.port)
    name = own_name("only-one")
    first = stage.pool(workers=1, WORKER_ID=name, REDIS_ADDR=line.addr)
    stage.push("hold")
    stage.started()
    line.black_hole = True
    first.wait_event("redis.lost")
    assert stage.db.delete(f"dago:executor:identity:{name}"), "as its time to live would"
    second = stage.pool(workers=1, WORKER_ID=name)
    stage.started(count=2)
    line.black_hole = False
    line.cut()
    given_up = first.wait_event("pool.given_up")
    assert given_up["status"] == 78 and "WORKER_ID" in given_up["reason"]
    stage.journal.let_go("g")
    assert first.wait(20) == 78
    stage.assert_settled_once(["g"])
    assert second.ready() and len(stage.journal.starts()) == 2
