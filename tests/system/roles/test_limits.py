"""Limits over all hosts: never more in flight than allowed, whatever is killed, and as many as allowed."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from tests.kit import Pool, wait_until
from tests.system.roles.conftest import Roles
from tests.system.roles.counting_model import CountingModel


@pytest.fixture
def counting() -> Iterator[CountingModel]:
    model = CountingModel(0.15)
    yield model
    model.close()


def all_done(roles: Roles, jobs: list[str]) -> bool:
    """Whether each has ended."""
    records: Any = roles.redis.mget([f"dago:job:{job}" for job in jobs])
    return all(raw is not None and b'"status":"completed"' in raw for raw in records)


def test_limits_hold_over_two_supervisors_while_workers_are_killed(
    roles: Roles, serve: Callable[..., Pool], counting: CountingModel
) -> None:
    """16 workers, a kill every half second: limits are reached, never passed, and every job is answered."""
    limits = {"MAX_MANAGER": "3", "MAX_TOTAL": "5", "MAX_DELIVERIES": "1000", "LEASE": "2s"}
    pools = [serve(WORKERS="8", LLM_ENDPOINT=counting.url, **limits) for _ in range(2)]
    jobs = [roles.add("manager", task=f"m {number}") for number in range(60)]
    jobs += [roles.add("inspector", task=f"i {number}") for number in range(30)]
    jobs += [roles.add("agent", task=f"a {number}") for number in range(30)]
    killed = 0

    def done_or_kill() -> bool:
        nonlocal killed
        if all_done(roles, jobs):
            return True
        busy = [row for row in random.choice(pools).workers() if row["pid"] and row["state"] == "busy"]
        if busy and time.monotonic() > due[0]:
            due[0] = time.monotonic() + 0.5
            with suppress(ProcessLookupError):
                os.kill(random.choice(busy)["pid"], signal.SIGKILL)
                killed += 1
        return False

    due = [time.monotonic() + 0.5]
    wait_until(done_or_kill, 90, lambda: f"all are done: {counting.answered} answers, {killed} killed")
    assert killed >= 3
    assert counting.by_model["trt-llm-manager"] == 3
    assert counting.most == 5
    assert all(len(roles.updates(job)) == 1 for job in jobs)


def test_what_waits_is_served_in_the_order_of_entry_and_held_by_nobody(
    roles: Roles, serve: Callable[..., Pool], counting: CountingModel, cli: Callable[..., Any]
) -> None:
    """One at a time: first come, first served, first attempt each; `status` shows who waits."""
    jobs = [roles.add("manager", task=str(number)) for number in range(20)]
    pool = serve(WORKERS="3", LLM_ENDPOINT=counting.url, MAX_MANAGER="1", QUEUES="none")
    shown = 'dago_limit_waiting{limit="role:manager"}'
    wait_until(lambda: pool.metrics().get(shown, 0) > 0, 20, "some wait")
    shown_limits = json.loads(cli("status", "--json").stdout)["limits"]
    assert [(one["name"], one["used"] <= one["max"], one["max"]) for one in shown_limits] == [("role:manager", True, 1)]
    wait_until(lambda: all_done(roles, jobs), 30, "all are done")
    records = [roles.record(job) or {} for job in jobs]
    began = [record["started_at"] for record in records]
    assert began == sorted(began)
    assert {record["attempt"] for record in records} == {1}
    assert counting.most == 1
    left: Any = [roles.redis.exists(f"dago:executor:{name}") for name in ("limited", "places")]
    assert left == [0, 0], "nothing is left behind"


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
