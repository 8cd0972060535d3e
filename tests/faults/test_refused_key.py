"""A key that a provider refuses does not empty the queue: items wait, and go on when it is taken again."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.faults.stage import Stage
from tests.kit import Pool, holds_for, own_name, wait_until
from tests.kit.paths import ROOT
from tests.unit.executor_worker.providers.dialects import Dialect
from tests.unit.executor_worker.providers.fault_server import FaultServer, Handler, failure, stream

MESSAGES = Dialect("anthropic")
ANSWER = stream(MESSAGES.begin(), MESSAGES.text("here"), MESSAGES.end())
GOOD, OTHER = "good-key-1", "good-key-2"


class Provider:
    """
    A model server that takes some keys.

    Attributes:
        taken: Those.
        refuse: What the others hear.
    """

    def __init__(self) -> None:
        self.server = FaultServer()
        self.server.will(self._reply)
        self.taken = {GOOD, OTHER}
        self.refuse = failure(401, "authentication_error", "invalid x-api-key")
        self.refused: list[float] = []

    def _reply(self, handler: Handler) -> None:
        if handler.headers["authorization"].removeprefix("Bearer ") in self.taken:
            ANSWER(handler)
        else:
            self.refused.append(time.monotonic())
            self.refuse(handler)


@pytest.fixture
def provider() -> Iterator[Provider]:
    made = Provider()
    yield made
    made.server.close()


@pytest.fixture
def start(stage: Stage, provider: Provider) -> Callable[..., Pool]:
    """Start a pool that uses the provider, with a key."""

    def make(name: str, key: str = GOOD, **settings: str) -> Pool:
        env = {"LLM_PROVIDER": "anthropic", "LLM_BASE_URL": provider.server.url, "LLM_API_KEY": key, **settings}
        return stage.pool(workers=3, WORKER_ID=own_name(name), LEASE="5", **env).wait_ready(60)

    return make


def push_llm(stage: Stage, graph: str, **more: Any) -> None:
    config = {"llm_config": {"prompt": "q"}, **more}
    item = {"graph_id": graph, "node_id": "n", "node_type": "llm", "config": config, "inputs": {}}
    stage.push_raw(json.dumps(item).encode())


def failed(stage: Stage) -> list[Any]:
    return [result for result in stage.results() if result["type"] == "node.failed"]


def cli(stage: Stage, *arguments: str) -> str:
    """What a command prints."""
    command = [sys.executable, "-m", "executor_worker", *arguments]
    env = {"REDIS_ADDR": stage.server.addr, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, env=env).stdout


def waiting(pool: Pool) -> int:
    return int(pool.metrics()["dago_items_parked"])


def test_a_revoked_key_does_not_empty_the_queue(stage: Stage, provider: Provider, start: Callable[..., Pool]) -> None:
    """
    Items wait, also those whose runs have little time; health says why; a pool with another key goes on.

    When the key is taken again and the throttle cleared, all are run, each once, and none has lost an attempt.
    """
    pool = start("one", LLM_MAX_RETRIES="0")
    push_llm(stage, "before")
    assert stage.result("before", 20)["type"] == "node.completed"
    provider.taken = {OTHER}
    graphs = [f"g{number}" for number in range(30)]
    for graph in graphs:
        push_llm(stage, graph, timeout=20)
    wait_until(lambda: waiting(pool) == len(graphs), 30, lambda: f"all wait; {stage.where()}")
    calls = len(provider.refused)
    assert 1 <= calls <= 3, "each worker found out by itself at most"
    holds_for(lambda: len(provider.refused) == calls and not failed(stage), 1.5, "nothing is called, nothing fails")
    health = pool.health()
    assert health["status"] == "degraded"
    (problem,) = [said for said in health["problems"] if "refused" in said]
    assert "HTTP 401 authentication_error" in problem and "30 items" in problem and GOOD not in problem
    assert pool.metrics()["dago_llm_key_refused"] == 1
    said = pool.wait_event("model.refused", 5, level="error")
    assert said["reason"] == "HTTP 401 authentication_error"
    (held,) = json.loads(cli(stage, "throttle", "list", "--json"))
    assert held["refused"] and held["waiting"] == 30 and held["why"] == "HTTP 401 authentication_error"
    assert 0 < held["opens_s"] <= 60

    second = start("two", OTHER)
    push_llm(stage, "new")
    assert stage.result("new", 20)["type"] == "node.completed"
    wait_until(lambda: waiting(second) == 0, 30, "the pool with another key takes what waits")
    stage.assert_settled_once([*graphs, "before", "new"], 30)
    assert {result["data"]["attempt"] for result in stage.results()} == {1}
    assert second.health()["status"] == "healthy"
    assert pool.health()["status"] == "degraded"

    second.drain()
    provider.taken = {GOOD}
    push_llm(stage, "after")
    wait_until(lambda: waiting(pool) == 1, 20, "it waits for the next try")
    assert "no longer held back; 1 items waited" in cli(stage, "throttle", "clear", held["name"])
    assert stage.result("after", 20)["type"] == "node.completed"
    wait_until(lambda: pool.health()["status"] == "healthy", 10, "it is well again")
    assert pool.metrics()["dago_llm_key_refused"] == 0


def test_a_key_that_never_worked_fails_its_items(stage: Stage, provider: Provider, start: Callable[..., Pool]) -> None:
    """At once, with a code of its own; the pool is healthy, as it is the settings that are wrong."""
    provider.taken = set()
    start("one")
    push_llm(stage, "g")
    failed = stage.result("g", 20)
    assert (failed["type"], failed["data"]["error_code"]) == ("node.failed", "llm_refused")
    assert "HTTP 401" in failed["data"]["error"]


def test_an_empty_account_is_tried_by_one_call(stage: Stage, provider: Provider, start: Callable[..., Pool]) -> None:
    """When its minute is over; an answer lets all the others go on."""
    pool = start("one")
    push_llm(stage, "before")
    assert stage.result("before", 20)["type"] == "node.completed"
    provider.taken = set()
    provider.refuse = failure(400, "invalid_request_error", "Your credit balance is too low to access the API")
    graphs = [f"g{number}" for number in range(8)]
    for graph in graphs:
        push_llm(stage, graph)
    wait_until(lambda: waiting(pool) == len(graphs), 30, lambda: f"all wait; {stage.where()}")
    calls = len(provider.refused)
    (throttle,) = stage.db.smembers("dago:executor:awaited")
    stage.db.hset(throttle, "not_before", 0)
    wait_until(lambda: len(provider.refused) == calls + 1, 20, "one call tries")
    holds_for(lambda: len(provider.refused) == calls + 1, 1.5, "and no other, for a minute")
    assert not failed(stage)
    provider.taken = {GOOD}
    stage.db.hset(throttle, "not_before", 0)
    stage.assert_settled_once([*graphs, "before"], 30)
    assert {result["type"] for result in stage.results()} == {"node.completed"}
