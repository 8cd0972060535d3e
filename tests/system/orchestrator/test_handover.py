"""The API goes on while what is around it changes: a successor takes its ports over, Redis fails over."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from executor_worker.client import DagoClient
from tests.contract.conftest import WITH_TOOLS
from tests.kit import Pool, RedisServer, alive, wait_until
from tests.kit.sentinels import Sentinels
from tests.system.orchestrator.graphs import chain, doubling, waiting

V1 = "/api/v1"


@pytest.fixture
def heirs() -> Iterator[list[int]]:
    """Pids of successors; ended with the test."""
    started: list[int] = []
    yield started
    for pid in started:
        if alive(pid):
            os.kill(pid, signal.SIGTERM)
        wait_until(lambda: not alive(pid), 10, "the successor to end")  # noqa: B023


@pytest.mark.cold
def test_a_successor_takes_the_ports_over(api: Callable[..., Pool], heirs: list[int], tmp_path: Path) -> None:
    """By SIGUSR2: no request is refused meanwhile, a reader goes on behind its last event."""
    pool, gate = api(workers=1, **WITH_TOOLS), tmp_path / "gate"
    with DagoClient(pool.api_url) as client:
        run = client.submit_graph(waiting(str(gate)))
        events = client.events(run)
        first = [next(events)]
        pool.send(signal.SIGUSR2)
        heirs.append(int(pool.wait_event("upgrade.started")["pid"]))
        statuses: list[int] = []

        def over() -> bool:
            # Each on a line of its own, while the old processes leave and the new ones come.
            answer = httpx2.post(
                f"{pool.api_url}{V1}/graphs", json={"graph": doubling(), "inputs": {"x": 1}}, timeout=60
            )
            statuses.append(answer.status_code)
            return not alive(pool.process.pid)

        wait_until(lambda: pool.seen("upgrade.ready"), 30, "the successor is ready")
        gate.touch()
        wait_until(over, 30, "the old program has gone")
        assert set(statuses) == {201}
        seen = [*first, *events]
        assert [event["seq"] for event in seen] == list(range(1, len(seen) + 1))
        assert seen[-1]["type"] == "graph.completed"
        assert client.wait(client.submit_graph(doubling(), {"x": 2}), 20)["output"] == 4


def test_it_follows_a_failover(
    place: Callable[[str], Path], start_server: Callable[..., RedisServer], executor: Callable[..., Pool]
) -> None:
    """Of Redis, by Sentinel: readers go on, and what is asked afterwards is answered by the new primary."""
    sentinels = Sentinels(place, start_server)
    try:
        pool = executor(sentinels.primary, command=("run", "--api"), workers=1, REDIS_ADDR=sentinels.url)
        with DagoClient(pool.api_url) as client:
            before = client.wait(client.submit_graph(doubling(), {"x": 1}), 20)
            assert before["output"] == 2
            old, new = sentinels.now()
            assert old.client().wait(1, 20_000) == 1
            wait_until(sentinels.hand_over, 20, "the sentinels hand over")
            wait_until(lambda: sentinels.named() is new, 30, "the new primary is named")
            wait_until(
                lambda: httpx2.get(f"{pool.api_url}/ready", timeout=60).status_code == 200, 30, "it is ready again"
            )
            made: list[Any] = []

            def accepted() -> bool:
                answer = httpx2.post(f"{pool.api_url}{V1}/graphs", json={"graph": chain(2)}, timeout=60)
                made.append(answer.json())
                return answer.status_code == 201

            wait_until(accepted, 30, "a graph is accepted")
            assert client.wait(made[-1]["graph_id"], 30)["status"] == "completed"
            events = list(client.events(made[-1]["graph_id"]))
            assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
            assert client.get_status(before["graph_id"])["status"] == "completed"
    finally:
        sentinels.close()
