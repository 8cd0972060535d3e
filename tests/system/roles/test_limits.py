"""Limits over all hosts: never more in flight than allowed, whatever is killed, and as many as allowed."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from benchmarks.limit_storm import LimitStorm, Plan
from tests.kit import Pool, RedisServer, wait_until
from tests.system.roles.conftest import Roles
from tests.system.roles.counting_model import CountingModel


@pytest.fixture
def counting() -> Iterator[CountingModel]:
    model = CountingModel(0.25)
    yield model
    model.close()


def all_done(roles: Roles, jobs: list[str]) -> bool:
    """Whether each has ended."""
    records: Any = roles.redis.mget([f"dago:job:{job}" for job in jobs])
    return all(raw is not None and b'"status":"completed"' in raw for raw in records)


def test_limits_hold_over_two_supervisors_while_all_is_killed(redis_server: RedisServer, tmp_path: Path) -> None:
    """16 workers, something hit every half second: limits are reached, never passed, and all is answered once."""
    plan = Plan(jobs=120)
    report = LimitStorm(plan, tmp_path, redis_server).run()
    assert not report.odd, "\n".join(report.lines(plan))
    assert set(report.faults) == {"worker", "keeper", "frozen", "host"}


def test_what_waits_is_served_in_the_order_of_entry_and_held_by_nobody(
    roles: Roles, serve: Callable[..., Pool], counting: CountingModel, cli: Callable[..., Any]
) -> None:
    """One at a time: first come, first served, first attempt each; `status` shows who waits."""
    jobs = [roles.add("manager", task=str(number)) for number in range(20)]
    pool = serve(WORKERS="3", LLM_ENDPOINT=counting.url, MAX_MANAGER="1", QUEUES="none")
    shown, shown_here = 'dago_limit_waiting{limit="role:manager"}', {"ROLES": "manager", "MAX_MANAGER": "1"}
    wait_until(lambda: pool.metrics().get(shown, 0) > 0, 20, "some wait")
    shown_limits = json.loads(cli("status", "--json", **shown_here).stdout)["limits"]
    assert [(one["name"], one["used"] <= one["max"], one["max"]) for one in shown_limits] == [("role:manager", True, 1)]
    assert {"dago_limit_used", "dago_limit_max"} <= {name.partition("{")[0] for name in pool.metrics()}
    assert 'dago_queue_depth{queue="jobs:manager"}' in pool.metrics()
    shown_table = [line.split() for line in cli("status", **shown_here).stdout.splitlines()]
    assert {line[0] for line in shown_table if line} >= {"jobs:manager", "role:manager"}
    wait_until(lambda: all_done(roles, jobs), 30, "all are done")
    records = [roles.record(job) or {} for job in jobs]
    began = [record["started_at"] for record in records]
    assert began == sorted(began)
    assert {record["attempt"] for record in records} == {1}
    assert counting.most == 1
    left: Any = [roles.redis.exists(f"dago:executor:{name}") for name in ("limited", "places")]
    assert left == [0, 0], "nothing is left behind"


def test_no_worker_asks_for_what_waits_while_no_place_is_free(roles: Roles, serve: Callable[..., Pool]) -> None:
    """Its keeper looks at the limit once a second; a place whose worker dies stays the job's own."""
    with closing(CountingModel(170)) as slow:
        pool = serve(WORKERS="4", MAX_MANAGER="1", QUEUES="none", LLM_ENDPOINT=slow.url)
        jobs = [roles.add("manager", task="x") for _ in range(20)]
        wait_until(lambda: pool.metrics().get('dago_limit_waiting{limit="role:manager"}') == 19, 20, "19 wait")
        pool.wait_workers(lambda rows: [row["state"] for row in rows].count("idle") == 3)
        clients: Any = roles.redis.client_list()
        names = {one["addr"]: one["name"] for one in clients}
        looks, asked = 0, list[str]()
        with roles.redis.monitor() as monitor:  # type: ignore[no-untyped-call]
            while looks < 3:
                seen: Any = monitor.next_command()
                name = names.get(f"{seen['client_address']}:{seen['client_port']}", "")
                looks += name.endswith(".keeper") and "dago:executor:limits 30000" in seen["command"]
                asked += [name] if name and not name.endswith(".keeper") else []
        # One may end its wait meanwhile, and begin another; asking at each look would be six commands.
        assert all(count <= 3 for count in Counter(asked).values()), asked
        os.kill(next(row["pid"] for row in pool.workers() if row["state"] == "busy"), signal.SIGKILL)
        [running] = [job for job in jobs if roles.record(job) is not None]
        wait_until(lambda: (roles.record(running) or {}).get("attempt") == 2, 20, "its successor has the place")
        assert [job for job in jobs if roles.record(job) is not None] == [running]


def test_nodes_that_name_a_limit_share_its_places(
    roles: Roles, serve: Callable[..., Pool], counting: CountingModel
) -> None:
    """From the item's config, or the graph's document; an unknown name is the author's mistake."""
    pool = serve(WORKERS="4", ROLES="", LLM_ENDPOINT=counting.url, LIMITS="slow=2", LLM_MODEL="m")
    config = {"llm_config": {"prompt": "hi"}, "limit": ["slow"]}
    for number in range(8):
        item: dict[str, Any] = {"graph_id": f"g{number}", "node_id": "n", "inputs": {}, "config": config}
        if number % 2:
            document = {"graph_id": f"g{number}", "graph": {"nodes": {"n": {"config": config}}}, "inputs": {}}
            roles.redis.set(f"dago:state:g{number}", json.dumps({**document, "status": "running", "node_states": {}}))
            item = {"graph_id": f"g{number}", "node_id": "n"}
        roles.redis.xadd("executor.work", {"data": json.dumps(item)})
    wait_until(lambda: counting.answered == 8, 30, "all are answered")
    assert counting.most == 2
    unknown = {"graph_id": "u", "node_id": "n", "inputs": {}, "config": {**config, "limit": "other"}}
    roles.redis.xadd("executor.work", {"data": json.dumps(unknown)})
    failed: Any = wait_until(lambda: roles.redis.xrange("dago:events:node.failed"), 20, "it fails")
    assert json.loads(failed[0][1][b"data"])["data"]["error_code"] == "invalid_node"
    wait_until(lambda: pool.metrics().get('dago_limit_used{limit="slow"}') == 0, 10, "no place is left taken")


def test_nodes_of_runs_are_under_their_limits_too(
    roles: Roles, serve: Callable[..., Pool], counting: CountingModel, cli: Callable[..., Any]
) -> None:
    """Two runs of four nodes each, and a job of a role beside them: one of the limit's nodes at once."""
    serve(WORKERS="6", ROLES="agent", LLM_ENDPOINT=counting.url, LIMITS="slow=1,wide=9")
    node = {"type": "llm", "config": {"llm_config": {"prompt": "hi", "model": "m"}, "limit": ["wide", "slow"]}}
    graph = json.dumps({"nodes": dict.fromkeys("abcd", node), "edges": []})
    runs = [json.loads(cli("graph", "submit", "-", stdin=graph).stdout)["graph_id"] for _ in range(2)]
    job = roles.add("agent", task="beside them")

    def ended() -> bool:
        heads: Any = [roles.redis.hget(f"dago:{{executor.work}}:run:{run}", "status") for run in runs]
        return bool(heads == [b"completed"] * 2)

    wait_until(ended, 30, "both have completed")
    assert roles.wait(job)["status"] == "completed"
    assert (counting.by_model["m"], counting.answered) == (1, 9)
