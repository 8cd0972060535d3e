"""A run is begun anew page by page: whoever does a page is killed, Redis is killed between them; it ends rightly."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from executor_worker.broker.graphs import drive, runs
from executor_worker.broker.graphs.records import NodeField
from executor_worker.broker.graphs.requests import Request, ScriptCall, Steps, words_of
from executor_worker.broker.graphs.scripts import step_script
from executor_worker.broker.names import listing_key, looks_key, run_key, timers_key
from tests.kit import Pool, Proxy, RedisServer, descendants, wait_until
from tests.kit.processes import command_line, kill_all
from tests.system.graphs.conftest import TOOLS, Kernel, tool

WIDE = 900  # nodes that have ended: the edges of each are decided again, once
MOST_KILLS = 5
AT = 1_800_000_000_000
COMPLETED = NodeField("completed", 1, 1, 1, AT, AT, AT, "*").text()
CANCELLED = NodeField("cancelled", 1, 1, 1, AT, AT, AT, "-").text()


def begun_anew(kernel: Kernel, server: RedisServer, file: Path) -> str:
    """A run of which nothing is on its way, though the last of its nodes is left: it is found by the next look."""
    ended = ["a", *(f"e{at}" for at in range(WIDE))]
    nodes = {**{name: tool("passes") for name in ended}, "join": tool("noted", file=str(file))}
    edges = [{"from": "a", "to": name} for name in ended[1:]] + [{"from": name, "to": "join"} for name in ended[1:]]
    run = kernel.submit({"nodes": nodes, "edges": edges})
    db, base = server.client(), run_key(run)
    db.hset(f"{base}:nodes", mapping=dict.fromkeys(ended, COMPLETED))
    db.delete("executor.work", f"{base}:open")
    return run


def look_at(server: RedisServer, run: str) -> None:
    """Let the next look be due, and tell keepers."""
    server.client().zadd(looks_key(), {run: 1})
    server.client().publish(timers_key(), "0")


def assert_ended_rightly(kernel: Kernel, run: str, file: Path) -> None:
    assert kernel.wait(run, 60)["status"] == "completed", kernel.head(run).error
    assert file.read_text().count("\n") == 1, "the join has run once"
    head = kernel.head(run)
    assert (head.completed, head.left, head.running, head.queued) == (WIDE + 2, 0, 0, 0)
    told = Counter((event["type"], event.get("node_id")) for event in kernel.events(run))
    assert told["node.queued", "join"] == told["node.completed", "join"] == told["graph.completed", None] == 1
    assert told["run.mended", None] == 1, "what it was begun anew for, and nothing more"


def test_workers_killed_at_each_page_begin_a_run_anew_all_the_same(
    redis_server: RedisServer,
    executor: Callable[..., Pool],
    kernel: Kernel,
    proxy: Callable[..., Proxy],
    folder: Path,
) -> None:
    """Each dies when its page is written and before it hears of it; the next one goes on behind that."""
    run = begun_anew(kernel, redis_server, folder / "join")
    line, killed = proxy(redis_server.port), list[int]()
    pool = executor(redis_server, workers=3, REDIS_ADDR=f"redis://{line.addr}", LEASE="2", **TOOLS)
    sha = step_script().sha

    def on_request(chunk: bytes) -> None:
        if sha in chunk and len(killed) < MOST_KILLS:
            slot = re.search(rb"test-\w+\.(\d+)\r", chunk)
            assert slot is not None, "the step's holder"
            title = f": worker {slot[1].decode()}"
            workers = [pid for pid in descendants(pool.process.pid) if command_line(pid).endswith(title)]
            killed.extend(workers)
            kill_all(workers)

    line.on_request = on_request
    look_at(redis_server, run)
    assert_ended_rightly(kernel, run, folder / "join")
    assert len(killed) == len(set(killed)) == MOST_KILLS


def test_redis_killed_between_pages_has_a_run_begin_anew_all_the_same(
    start_server: Callable[..., RedisServer],
    executor: Callable[..., Pool],
    on: Callable[[RedisServer], Kernel],
    proxy: Callable[..., Proxy],
    folder: Path,
) -> None:
    """Twice, with its append-only file: the page it had done is not done again."""
    server = start_server("redis", aof=True)
    kernel, line = on(server), proxy(server.port)
    run = begun_anew(kernel, server, folder / "join")
    pages = [0]

    def on_request(chunk: bytes) -> None:
        pages[0] += step_script().sha in chunk
        line.lose_replies = pages[0] in (2, 4)

    line.on_request = on_request
    executor(server, workers=2, REDIS_ADDR=f"redis://{line.addr}", LEASE="2", **TOOLS)
    look_at(server, run)
    for reached in (2, 4):
        wait_until(lambda: line.lose_replies, 30, f"page {reached}")
        server.kill()
        pages[0], line.lose_replies = reached + 1, False
        server.start()
        kernel.link.close()
    assert_ended_rightly(kernel, run, folder / "join")


def exchanges_of(kernel: Kernel, steps: Steps[Any], most: int) -> Iterator[Request]:
    """Send so many requests of a verb, as a process that is killed then; answers each."""
    requests = next(steps)
    while True:
        replies = []
        for request in requests:
            if most == 0:
                return
            most -= 1
            replies += kernel.link.batch([request.in_full() if isinstance(request, ScriptCall) else request])
            yield request
        try:
            requests = steps.send(replies)
        except StopIteration:
            return


@pytest.mark.parametrize("verb", ["retry", "submit"])
def test_who_is_killed_while_it_prepares_leaves_nothing_for_ever(
    kernel: Kernel, redis_server: RedisServer, verb: str
) -> None:
    """Whichever of its requests is the last: what is there then expires; said again it is done."""
    db = redis_server.client()
    nodes = {f"n{at}": tool("passes") for at in range(1_200)}
    document = {"nodes": nodes}
    run = kernel.submit(document)
    drive(kernel.link, runs.cancel(run))
    drive(kernel.link, runs.step(run, lambda *_: (None, {})))
    db.hset(f"{run_key(run)}:nodes", mapping=dict.fromkeys(nodes, COMPLETED))
    db.hset(f"{run_key(run)}:nodes", "n7", CANCELLED)
    there: set[Any] = set(db.keys())
    most = 0
    while True:
        steps = runs.retry(run) if verb == "retry" else kernel.submitting(document)
        sent = list(exchanges_of(kernel, steps, most))
        done = kernel.head(run).epoch == 2 if verb == "retry" else db.zcard(listing_key()) == 2
        if len(sent) < most or done:
            break
        left: set[Any] = set(db.keys()) - there
        begun = set(map(str, words_of(sent[-1])[1:2])) if sent else set()  # its EXPIRE goes with it
        assert not [key for key in left if db.ttl(key) < 0 and key.decode() not in begun], f"after {most} requests"
        if left:
            db.delete(*left)
        most += 1
    assert most > 6 and done
