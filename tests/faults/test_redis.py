"""Scenarios 27-29: Redis fails in every way it can, and lines to it are cut."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import redis

from tests.faults.stage import COMPLETED, GROUP, WORK, Stage, cpu_seconds
from tests.kit import Pool, Proxy, RedisServer, holds_for, wait_until
from tests.kit.sentinels import Sentinels

MakeStage = Callable[[RedisServer], Stage]
SHARE = 0.05  # of a core that the whole tree may use while Redis is away
ASKED_EVERY_S, ANSWERING_S = 0.5, 0.02
TRIES = 3


def outage_costs_little(pool: Pool, seconds: float = 2.0) -> None:
    """Watch the pool for a while: health answers, nothing spins."""

    def answers() -> bool:
        away = pool.health()["redis"] == "disconnected" and pool.get("/ready").status_code == 503
        return away and pool.get("/live").status_code == 200

    def watch() -> None:
        holds_for(answers, seconds, "it says that Redis is away", every=ASKED_EVERY_S)

    # What our own questions cost is in it: a few milliseconds each.
    assert_uses_little(pool, watch, SHARE + ANSWERING_S / ASKED_EVERY_S)


def assert_uses_little(pool: Pool, meanwhile: Callable[[], None], share: float) -> None:
    """
    Check that the whole tree uses less than *share* of a core.

    In one of three tries: what spins does so in each, and cold caches make everything dear for a moment.
    """
    found: list[float] = []
    while len(found) < TRIES:
        pids = pool.process.relatives()
        before, began = cpu_seconds(pids), time.monotonic()
        meanwhile()
        found.append((cpu_seconds(pids) - before) / (time.monotonic() - began))
        if found[-1] < share:
            return
    raise AssertionError(f"{found} of a core, in each of {TRIES} tries")


def missed(pool: Pool) -> int:
    """
    Wait until the pool misses a server that is gone for certain; return how often one had come back before.

    With an fsync for each write a slow disk makes a server silent for longer than LEASE allows, and that is told too.
    """
    before = len(pool.seen("redis.back"))
    pool.wait_event("redis.lost", 8, count=before + 1)
    return before


def said_once(pool: Pool, before: int) -> None:
    """One line tells when it went away, one when it came back; a slow disk may have it go again."""
    pool.wait_event("redis.back", count=before + 1)
    told = [event["event"] for event in list(pool.events) if event.get("event") in ("redis.lost", "redis.back")]
    assert told == ["redis.lost", "redis.back"] * (len(told) // 2) + ["redis.lost"] * (len(told) % 2), pool.said()


@pytest.mark.parametrize("fault", ["killed", "stopped", "frozen"])
def test_27_restart_and_freeze(start_server: Callable[..., RedisServer], make_stage: MakeStage, fault: str) -> None:
    """It waits, resumes by itself, says what it sees; what was in hand is settled, once."""
    server = start_server("redis", aof=True)
    stage = make_stage(server)
    pool = stage.pool(workers=3, LEASE="2")
    stage.push("hold")
    stage.push("nap", "ended_meanwhile", seconds=1.0)
    stage.started(), stage.started("ended_meanwhile")
    {"killed": server.kill, "stopped": server.stop, "frozen": server.freeze}[fault]()
    before = missed(pool)
    outage_costs_little(pool)
    server.thaw() if fault == "frozen" else server.start()
    stage.journal.let_go("g")
    stage.push("nap", "after")
    stage.assert_settled_once(["g", "ended_meanwhile", "after"])
    assert len(stage.journal.starts()) == 3, "none was run twice"
    said_once(pool, before)
    wait_until(pool.ready, 5)


@pytest.mark.parametrize("loss", ["flush", "group", "stream"])
def test_27_group_lost(stage: Stage, loss: str) -> None:
    """Created again within 5 s with an error in the log; what comes after flows, what was in hand is settled."""
    pool = stage.pool(workers=2)
    stage.push("hold")
    stage.started()
    wait_until(lambda: stage.pending(), 5)
    if loss == "flush":
        stage.db.flushall()
    elif loss == "group":
        stage.db.xgroup_destroy(WORK, GROUP)
    else:
        stage.db.delete(WORK)
    pool.wait_event("group.lost", 6, stream=WORK)
    stage.journal.let_go("g")
    stage.result()
    stage.push("nap", "after")
    stage.result("after")
    stage.wait_nothing_left()
    assert len(stage.results("g")) == 1
    said = pool.wait_event("group.lost")
    assert (said["level"], said["created_again_at"], said["advice"]) == ("error", "0-0", "entries may be seen again")
    assert not pool.seen("slot.dead")
    health = pool.health()
    assert health["status"] == "healthy" and "lost and made anew" in health["problems"][0]


def test_27_far_away_with_much_to_trim(stage: Stage, proxy: Callable[..., Proxy]) -> None:
    """The keeper trims in small parts: leases and its beat don't wait for the last of them."""
    results = stage.db.pipeline(transaction=False)
    for _ in range(60_000):
        results.xadd(COMPLETED, {"data": "{}"})
    results.execute()
    line = proxy(stage.server.port)
    line.delay = 0.02
    pool = stage.pool(workers=1, REDIS_ADDR=line.addr, LEASE="3", RESULTS_MAXLEN="1000")
    before = stage.db.xlen(COMPLETED)
    wait_until(lambda: stage.db.xlen(COMPLETED) < before - 3000, 10, "it trims")
    holds_for(lambda: not pool.seen("keeper.overdue"), 2.0, "it is not taken for silent")


def test_27_memory_full(stage: Stage) -> None:
    """`maxmemory` reached: nothing is half written, it waits and settles once there is room."""
    pool = stage.pool(workers=2)
    stage.push("hold")
    stage.started()
    stage.db.config_set("maxmemory", "1mb")
    stage.journal.let_go("g")
    wait_until(lambda: stage.journal.facts("g", "end"), 5)

    def watch() -> None:
        holds_for(lambda: not stage.results() and not stage.state() and stage.pending(), 2.0, every=0.25)

    assert_uses_little(pool, watch, 0.1)
    assert any("OOM" in str(event) or "maxmemory" in str(event) for event in pool.events), pool.said()
    stage.db.config_set("maxmemory", "0")
    stage.assert_settled_once(["g"])
    assert len(stage.journal.starts()) == 1 and not pool.seen("slot.dead")


def test_27_read_only_replica(stage: Stage) -> None:
    """A primary that was demoted: waits until it may write again."""
    pool = stage.pool(workers=2)
    stage.push("hold")
    stage.started()
    stage.db.replicaof("127.0.0.1", "1")
    stage.journal.let_go("g")
    wait_until(lambda: stage.journal.facts("g", "end"), 5)
    pool.wait_event("redis.lost", 10)
    stage.db.replicaof("NO", "ONE")
    stage.assert_settled_once(["g"])
    pool.wait_event("redis.back")
    assert len(stage.journal.starts()) == 1 and not pool.seen("slot.dead")


def test_27_loading(start_server: Callable[..., RedisServer], make_stage: MakeStage) -> None:
    """LOADING is waited for like any other absence."""
    slowly = ["--key-load-delay", "100", "--loading-process-events-interval-bytes", "1024"]
    server = start_server("redis", aof=True, extra=slowly)
    stage = make_stage(server)
    stage.db.mset({f"k{number}": "x" * 50 for number in range(10_000)})
    pool = stage.pool(workers=2)
    stage.push("hold")
    stage.started()
    server.kill()
    before = missed(pool)
    server.start()  # waits until it has loaded
    stage.journal.let_go("g")
    stage.assert_settled_once(["g"])
    said_once(pool, before)
    assert not pool.seen("slot.dead")


def test_27_scripts_forgotten(stage: Stage) -> None:
    """NOSCRIPT is nobody's business."""
    pool = stage.pool(workers=2)
    graphs = [f"g{number}" for number in range(50)]
    for graph in graphs:
        stage.push("nap", graph, seconds=0.01)
        stage.db.script_flush()
    stage.assert_settled_once(graphs)
    assert len(stage.journal.starts()) == 50 and not pool.seen("redis.lost") and not pool.seen("slot.dead")


def test_28_sentinel_failover(
    place: Callable[[str], Path], start_server: Callable[..., RedisServer], make_stage: MakeStage
) -> None:
    """A frozen primary that still accepts TCP is failed over; the pool finds the new one and settles there."""
    sentinels = Sentinels(place, start_server)
    try:
        stage = make_stage(sentinels.replica)
        pool = stage.pool(workers=2, REDIS_ADDR=sentinels.url, LEASE="3", PYTHONPROFILEIMPORTTIME="1")
        with sentinels.primary.client() as primary:
            primary.xadd(WORK, {"data": HOLD_ITEM})
            stage.started()
            assert primary.wait(1, 20_000) == 1, "the replica has it all"
        sentinels.primary.freeze()
        pool.wait_event("redis.lost", 10)
        wait_until(lambda: role(stage.db) == "master", 20, "the replica is promoted")
        stage.journal.let_go("g")
        assert stage.result(seconds=20)["type"] == "node.completed"
        stage.push("nap", "after")
        stage.assert_settled_once(["g", "after"])
        assert len(stage.journal.starts("g")) == 1 and pool.ready()
        imports = [event for event in pool.events if str(event.get("text")).endswith("redis.sentinel")]
        assert len(imports) == 1, "it takes long: once for all, not for each worker that replaces another"
    finally:
        sentinels.primary.thaw()
        sentinels.close()


HOLD_ITEM = (
    '{"graph_id":"g","node_id":"n","node_type":"tool","inputs":{},'
    '"config":{"tool_name":"hold","tool_params":{"mark":"g"}}}'
)


def role(db: redis.Redis) -> str:
    with suppress(redis.RedisError):
        return str(db.info("replication")["role"])
    return ""


@pytest.mark.parametrize("lost", ["settle", "read", "claim"])
def test_29_reply_lost(stage: Stage, proxy: Callable[..., Proxy], lost: str) -> None:
    """After settle, after read, after claim: nothing twice, nothing stuck."""
    line = proxy(stage.server.port)
    # The cut may take the news of the stale entry with it: then a sweep finds it.
    pool = stage.pool(workers=1, REDIS_ADDR=line.addr, LEASE="6" if lost == "claim" else "30")
    stage.push("say_pid", "warm")
    stage.result("warm")
    cuts: list[str] = []

    def on_request(chunk: bytes) -> None:
        if lost == "settle" and not cuts and b"node.completed" in chunk:
            cuts.append(lost)
            line.lose_replies = True

    def on_reply(chunk: bytes) -> None:
        if lost != "settle" and not cuts and b'"tool_name"' in chunk:
            cuts.append(lost)
            line.cut()
        elif line.lose_replies:
            line.lose_replies = False
            line.cut()

    line.on_request, line.on_reply = on_request, on_reply
    if lost == "claim":
        leave_stale(stage, pool)
    else:
        stage.push("say_pid")
    stage.push("say_pid", "next")
    stage.assert_settled_once(["warm", "g", "next"])
    assert cuts and len(stage.journal.starts()) == 3, "each was run once"
    assert not pool.seen("slot.dead") and stage.results("g")[0]["data"]["attempt"] <= 2


def leave_stale(stage: Stage, pool: Pool) -> None:
    """Add an item that a vanished worker has held: to be claimed."""
    pool.send(signal.SIGTSTP)
    pool.wait_event("pool.paused")
    wait_until(lambda: not stage.db.info("clients")["blocked_clients"], 5, "nobody waits for an item any more")
    entry = stage.push("say_pid")
    assert stage.db.xreadgroup(GROUP, "gone.1", {WORK: ">"}, count=1)
    stage.db.xclaim(WORK, GROUP, "gone.1", 0, [entry], idle=10**9, justid=True)
    pool.send(signal.SIGCONT)
    pool.wait_event("pool.resumed")
    stage.db.publish("dago:executor:released", f"{WORK} {entry}")


@pytest.mark.parametrize("how", ["cut", "half_close", "client_kill", "black_hole"])
def test_29_lines_cut_again_and_again_under_load(stage: Stage, proxy: Callable[..., Proxy], how: str) -> None:
    """Every item settled once, however often all connections go at once."""
    line = proxy(stage.server.port)
    pool = stage.pool(workers=3, REDIS_ADDR=line.addr, LEASE="6")
    graphs = [f"g{number}" for number in range(120)]
    for graph in graphs:
        stage.push("nap", graph, seconds=0.01)
    rounds = 2 if how == "black_hole" else 6
    for round_ in range(1, rounds + 1):
        stage.wait_results(round_ * 10)
        if how == "client_kill":
            stage.db.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        elif how == "black_hole":
            line.black_hole = True
            pool.wait_event("redis.lost", 10, count=round_)
            line.black_hole = False
            line.cut()
            pool.wait_event("redis.back", 10, count=round_)
        else:
            getattr(line, how)()
    stage.assert_settled_once(graphs)
    assert len(stage.journal.starts()) <= len(graphs) + 3 * rounds
    assert not pool.seen("slot.dead")
