"""Another program writes into the keys of a run: it ends as failed, told once, and holds no other up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from executor_worker.broker.graphs import drive, runs
from executor_worker.broker.names import listing_key, looks_key, run_key
from tests.kit import Pool, RedisServer, wait_until
from tests.system.broker.graphs.play import Client
from tests.system.graphs.conftest import TOOLS, Kernel, calc, tool

# What of the run, and what stands there then: another kind of key, nothing, or nonsense in each of its fields.
WAYS = [
    *(("", "text"), ("", "list"), (":nodes", "text"), (":edges", "list"), (":edges", "nonsense"), (":edges", "gone")),
    *((":joins", "text"), (":outputs", "list"), (":open", "text"), (":log", "text"), (":ready", "nonsense")),
    *((":journals", "text"), (":plan", "text"), (":plan", "nonsense"), (":plan", "gone")),
]
UNTOLD = {"": "nothing is there to be looked at", ":log": "its length is the run's seq"}


def spoil(db: Client, key: str, how: str) -> None:
    """Put something else there."""
    if how == "nonsense" and db.type(key) == b"list":
        for at in range(db.llen(key)):
            db.lset(key, at, "x")
    elif how == "nonsense":
        db.hset(key, mapping=dict.fromkeys(db.hkeys(key), "x\t\t"))
    else:
        db.delete(key)
        if how == "text":
            db.set(key, "x")
        elif how == "list":
            db.rpush(key, "x")


def test_item_of_a_damaged_run_ends_its_run_and_its_worker_goes_on(
    redis_server: RedisServer, executor: Callable[..., Pool], kernel: Kernel, folder: Path
) -> None:
    """It is in the only worker's hand when it comes; nothing is left of it, nothing is tried again."""
    pool = executor(redis_server, workers=1, **TOOLS)
    db = redis_server.client()
    for at, (part, how) in enumerate(WAYS):
        gate, note = folder / f"gate{at}", folder / f"note{at}"
        nodes = {"a": tool("waits_for", file=str(gate), note=str(note)), "z": calc("1"), "b": calc("2 + {{z}}")}
        edges = [{"from": source, "to": "b"} for source in "az"]
        run = kernel.submit({"nodes": nodes, "edges": edges, "max_parallel": 1})
        wait_until(note.exists)
        spoil(db, run_key(run) + part, how)
        gate.touch()
        pool.wait_event("run.given_up", graph=run)
        if part in UNTOLD:
            continue
        head = kernel.head(run)
        assert head.ended and head.status == "failed", (part, how, head)
        assert head.error is not None and head.error["error_code"] == "state_invalid", head
        assert [event["type"] for event in kernel.events(run)][-2:] == ["node.failed", "graph.failed"]
    other = kernel.submit({"nodes": {"a": calc("7")}})
    assert kernel.wait(other)["output"] == 7
    assert len(pool.seen("run.given_up")) == len(WAYS)
    assert not pool.seen("settle.refused") and not pool.seen("redis.refused") and not pool.seen("slot.dead"), (
        pool.said()
    )
    assert not db.xlen("executor.work") and not db.zcard(looks_key()) and not db.zcard(listing_key("running"))


def test_item_in_hand_of_a_run_that_was_given_up_is_late(
    redis_server: RedisServer, executor: Callable[..., Pool], kernel: Kernel, folder: Path
) -> None:
    """What its worker says then changes nothing."""
    pool = executor(redis_server, workers=2, **TOOLS)
    db = redis_server.client()
    nodes = {name: tool("waits_for", file=str(folder / name), note=str(folder / f"{name}.note")) for name in "ab"}
    run = kernel.submit({"nodes": {**nodes, "c": calc("1")}, "edges": [{"from": "a", "to": "c"}]})
    wait_until(lambda: all((folder / f"{name}.note").exists() for name in "ab"))
    spoil(db, f"{run_key(run)}:plan", "nonsense")
    (folder / "a").touch()
    pool.wait_event("run.given_up", graph=run)
    told = kernel.events(run)
    (folder / "b").touch()
    pool.wait_event("item.late", graph=run)
    assert kernel.events(run) == told and told[-1]["type"] == "graph.failed"


def test_run_whose_head_is_nonsense_is_shown(kernel: Kernel, redis_server: RedisServer) -> None:
    """Figures that are none count as 0; a list of runs shows the others."""
    run = kernel.submit({"nodes": {"a": calc("1")}})
    spoil(redis_server.client(), run_key(run), "nonsense")
    assert kernel.head(run).total == 0
    drive(kernel.link, runs.listing(runs.Filter()))


def test_damaged_runs_that_nobody_holds_end_by_who_looks(
    kernel: Kernel, redis_server: RedisServer, executor: Callable[..., Pool]
) -> None:
    """Each is told once; the timers and looks of others go on in the same call."""
    db = redis_server.client()
    ways = [*((part, "text") for part in ("", ":nodes", ":open", ":log")), ("", "nonsense"), (":edges", "gone")]
    damaged = [kernel.submit({"nodes": {"a": calc("1")}}) for _ in ways]
    deleted, mended, other = (kernel.submit({"nodes": {"a": calc("1")}}) for _ in range(3))
    for run, (part, how) in zip(damaged, ways, strict=True):
        spoil(db, run_key(run) + part, how)
    spoil(db, run_key(deleted), "gone")
    spoil(db, f"{run_key(mended)}:open", "nonsense")
    db.xtrim("executor.work", 0)
    db.zadd(looks_key(), {run: at for at, run in enumerate((*damaged, deleted, mended, other))})
    pool = executor(redis_server, workers=1)
    for run in damaged:
        pool.wait_event("run.given_up", graph=run)
    assert kernel.wait(mended)["output"] == kernel.wait(other)["output"] == 1
    assert not db.zcard(looks_key()) and not db.zcard(listing_key("running"))
    assert len(pool.seen("run.given_up")) == len(ways) and not pool.seen("redis.refused"), pool.said()
