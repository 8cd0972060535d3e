"""A verb's reply is lost on its way from Redis: said again it does nothing twice, and finds what it has done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from executor_worker.broker import Endpoint, Link
from executor_worker.broker.graphs import RunError, drive, runs
from executor_worker.broker.graphs.duties import work_off
from executor_worker.broker.graphs.requests import Steps
from executor_worker.errors import StreamUnavailable
from tests.kit import Pool, Proxy, RedisServer, wait_until
from tests.system.graphs.conftest import TOOLS, Kernel, calc, tool


@pytest.fixture
def line(redis_server: RedisServer, proxy: Callable[..., Proxy]) -> Proxy:
    return proxy(redis_server.port)


@pytest.fixture
def far(line: Proxy) -> Iterator[Link]:
    """A line over the proxy; its scripts are known to the server, so that each is sent by its name."""
    link = Link(Endpoint.parse(f"redis://{line.addr}"), name="far", timeout_s=2.5)
    yield link
    link.close()


def say(line: Proxy, far: Link, verb: Callable[[], Steps[Any]]) -> None:
    """Say it once: its script is done, the reply to that is swallowed."""

    def on_request(chunk: bytes) -> None:
        line.lose_replies = line.lose_replies or b"EVAL" in chunk

    line.on_request = on_request
    with pytest.raises(StreamUnavailable):
        drive(far, verb())
    line.on_request, line.lose_replies = lambda _: None, False
    line.cut()
    far.close()


def told(kernel: Kernel, run: str) -> Counter[tuple[str, str]]:
    return Counter((event["type"], event.get("node_id", "")) for event in kernel.events(run))


def test_hold_resume_cancel_and_retry_whose_replies_were_lost(
    redis_server: RedisServer, executor: Callable[..., Pool], line: Proxy, far: Link, kernel: Kernel, folder: Path
) -> None:
    """Each is said twice: the run is held once, goes on once, is cancelled once and begins one more epoch."""
    gate = folder / "gate"
    nodes = {
        "a": tool("waits_for", file=str(gate), note=str(folder / "a")),
        "b": tool("noted", file=str(folder / "b")),
        "c": tool("noted", file=str(folder / "c")),
    }
    graph = {"nodes": nodes, "edges": [{"from": "a", "to": "b"}, {"from": "b", "to": "c"}], "max_parallel": 1}
    other = kernel.submit({"nodes": {"x": calc("1")}})
    for verb in (runs.hold, runs.resume, runs.cancel, runs.retry):
        drive(far, verb(other))  # from here on the server knows the scripts
    run = kernel.submit(graph)

    say(line, far, lambda: runs.hold(run))
    assert kernel.head(run).held
    before = told(kernel, run)
    assert drive(far, runs.hold(run)).held and told(kernel, run) == before

    say(line, far, lambda: runs.resume(run))
    assert not kernel.head(run).held
    before = told(kernel, run)
    assert not drive(far, runs.resume(run)).held and told(kernel, run) == before
    executor(redis_server, workers=1, **TOOLS)
    wait_until(lambda: kernel.statuses(run)["a"] == "running")

    say(line, far, lambda: runs.cancel(run))
    with pytest.raises(RunError) as refused:
        drive(far, runs.cancel(run))
    assert "cancelled" in str(refused.value), "it is told that this is done"
    assert kernel.wait(run)["status"] == "cancelled"
    assert told(kernel, run)["graph.cancelled", ""] == 1

    gate.touch()
    say(line, far, lambda: runs.retry(run, 1))
    with pytest.raises(RunError):
        drive(far, runs.retry(run, 1))  # the epoch that it names is not the last any more
    assert kernel.wait(run)["output"] == 1
    counted = told(kernel, run)
    assert counted["graph.retried", ""] == counted["graph.completed", ""] == 1 and kernel.head(run).epoch == 2
    assert {name: len((folder / name).read_text().splitlines()) for name in nodes} == {"a": 2, "b": 1, "c": 1}
    assert drive(kernel.link, work_off()).mended == 0


def test_delete_whose_reply_was_lost(line: Proxy, far: Link, kernel: Kernel) -> None:
    """Said again it finds no such run; nothing of it is left."""
    first, run = kernel.submit({"nodes": {"a": calc("1")}}), kernel.submit({"nodes": {"a": calc("1")}})
    for one in (first, run):
        drive(kernel.link, runs.cancel(one))
    drive(far, runs.delete(first))
    say(line, far, lambda: runs.delete(run))
    with pytest.raises(RunError):
        drive(far, runs.delete(run))
    assert kernel.link.call("KEYS", f"*{run}*") == []
