"""A provider that asks for fewer calls is heeded by the whole fleet, and nothing else waits for it."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from threading import Lock
from typing import Any

import pytest

from tests.faults.stage import GIVEN_BACK_MS, WORK, Stage
from tests.kit import Pool, holds_for, own_name, wait_until
from tests.unit.executor_worker.providers.dialects import Dialect, event
from tests.unit.executor_worker.providers.fault_server import FaultServer, Handler, Reply, failure, hang, stream

MESSAGES = Dialect("anthropic")
ANSWER = stream(MESSAGES.begin(), MESSAGES.text("here"), MESSAGES.end())


def calls_tool(name: str, **arguments: Any) -> Reply:
    """Answer by calling a tool."""
    block = {"type": "tool_use", "id": "toolu_1", "name": name, "input": {}}
    delta = {"type": "input_json_delta", "partial_json": json.dumps(arguments)}
    return stream(
        MESSAGES.begin(),
        event("content_block_start", index=0, content_block=block),
        event("content_block_delta", index=0, delta=delta),
        event("content_block_stop", index=0),
        event("message_delta", delta={"stop_reason": "tool_use"}, usage={"output_tokens": 5}),
        event("message_stop"),
    )


class Provider:
    """
    A model server that refuses while it is told to, and that takes no more than so many calls at once.

    Attributes:
        refusing_s: What it asks callers to wait; 0: it answers.
        at_once: Calls it takes at the same time; those beyond are refused for a moment.
        most: Calls there were at the same time.
        served_s: How long an answer takes.
    """

    def __init__(self) -> None:
        self.server = FaultServer()
        self.server.will(self._reply)
        self.refusing_s = 0.0
        self.at_once = 1000
        self.most = 0
        self.served_s = 0.0
        self.refused: list[float] = []
        self.answered: list[float] = []
        self._flying = 0
        self._lock = Lock()

    def _reply(self, handler: Handler) -> None:
        with self._lock:
            self._flying += 1
            self.most = max(self.most, self._flying)
            refuse_s = self.refusing_s or (0.2 if self._flying > self.at_once else 0.0)
            (self.refused if refuse_s else self.answered).append(time.monotonic())
        try:
            if refuse_s:
                failure(429, "rate_limit_error", retry_after_ms=str(int(refuse_s * 1000)))(handler)
            else:
                self.server.released.wait(self.served_s)
                ANSWER(handler)
        finally:
            with self._lock:
                self._flying -= 1

    @property
    def calls(self) -> int:
        return len(self.refused) + len(self.answered)

    @property
    def env(self) -> dict[str, str]:
        return {"LLM_PROVIDER": "anthropic", "LLM_BASE_URL": self.server.url, "LLM_API_KEY": "test-key"}


@pytest.fixture
def provider() -> Iterator[Provider]:
    made = Provider()
    yield made
    made.server.close()


@pytest.fixture
def start(stage: Stage, provider: Provider) -> Callable[..., Pool]:
    """Start a supervisor that uses the provider."""

    def make(name: str, **settings: str) -> Pool:
        return stage.pool(workers=3, WORKER_ID=own_name(name), LEASE="5", wait=False, **provider.env, **settings)

    return make


def push_llm(stage: Stage, graph: str, **more: Any) -> None:
    config = {"llm_config": {"prompt": "q", **more}}
    item = {"graph_id": graph, "node_id": "n", "node_type": "llm", "config": config, "inputs": {}}
    stage.push_raw(json.dumps(item).encode())


def throttled(pool: Pool) -> bool:
    return pool.metrics()["dago_llm_throttled"] > 0


def lie(pool: Pool) -> tuple[float, float]:
    """Items that wait for a throttle, and items in hand."""
    metrics = pool.metrics()
    return metrics["dago_items_parked"], metrics["dago_items_pending"]


def held(stage: Stage) -> list[str]:
    return [entry for entry, (_, idle_ms, _) in stage.pending().items() if idle_ms < GIVEN_BACK_MS]


def test_34_one_429_quiets_the_fleet_and_nothing_else(
    stage: Stage, provider: Provider, start: Callable[..., Pool]
) -> None:
    """
    No call before the time asked for, no lease held, tools go on; then every item is run, once.

    Afterwards the fleet finds out how much at once its provider takes: few are refused, none is lost.
    """
    pools = [start(name, LLM_MAX_RETRIES="12") for name in ("one", "two")]
    for pool in pools:
        pool.wait_ready(60)
    provider.refusing_s = 600.0
    push_llm(stage, "g0")
    wait_until(lambda: provider.refused, 20, "a call was refused")
    wait_until(lambda: all(throttled(pool) for pool in pools), 10, "both supervisors know")
    provider.refusing_s = 0.0
    graphs = [f"g{number}" for number in range(12)]
    for graph in graphs[1:]:
        push_llm(stage, graph)
    stage.push("nap", "tool", seconds=0)
    assert stage.result("tool", 20)["type"] == "node.completed"
    wait_until(
        lambda: len(stage.pending()) == len(graphs) and not held(stage), 20, lambda: f"all wait; {stage.where()}"
    )
    holds_for(lambda: quiet(stage, provider), 1.2, "nothing is called, no lease is held")
    wait_until(lambda: [lie(pool) for pool in pools] == [(len(graphs), 0)] * 2, 10, "they are counted as parked")
    opens = time.monotonic() + 1.0
    let_call(stage, 1.0)
    stage.assert_settled_once([*graphs, "tool"], 40)
    assert (len(provider.refused), len(provider.answered)) == (1, len(graphs))
    assert min(provider.answered) >= opens - 0.1
    assert {result["data"]["attempt"] for result in stage.results()} == {1}
    assert not stage.db.exists(f"{WORK}:forgiven")

    provider.at_once, provider.served_s = 2, 0.1
    more = [f"h{number}" for number in range(40)]
    for graph in more:
        push_llm(stage, graph)
    stage.assert_settled_once([*graphs, *more, "tool"], 60)
    assert {result["type"] for result in stage.results()} == {"node.completed"}
    assert len(provider.answered) == len(graphs) + len(more)
    assert len(provider.refused) < len(more)


def test_34_a_model_that_refuses(stage: Stage, provider: Provider, start: Callable[..., Pool]) -> None:
    """
    LLM_MAX_RETRIES holds over all the runs of an item: it is not given back for ever.

    Where a node names another model, that one is asked for what must wait for longer than it may, and the result
    says which answered and why. An agent goes on from where it was refused. The place of a caller that is killed is
    its successor's.
    """
    pool = start("one", LLM_MAX_RETRIES="1", NODE_TIMEOUT="60").wait_ready(60)
    provider.refusing_s = 1.2
    push_llm(stage, "never", model="never")
    failed = stage.result("never", 20)
    assert (failed["type"], failed["data"]["error_code"]) == ("node.failed", "llm_rate_limited")
    assert failed["data"]["attempt"] == 1 and provider.calls == 2

    refuse, server = failure(429, "rate_limit_error", retry_after="900"), provider.server
    server.will(lambda handler: (refuse if server.requests[-1]["model"] == "big" else ANSWER)(handler))
    for graph in ("first", "second"):
        push_llm(stage, graph, model="big", fallbacks=["small"])
        data = stage.result(graph)["data"]
        assert data["output"]["content"] == "here" and data["output"]["model"] == data["model"] == "small"
        assert data["fallback"]["from"] == "anthropic/big" and data["fallback"]["reason"] == "llm_rate_limited"
    asked = [body["model"] for body in server.requests[2:]]
    assert asked == ["big", "small", "small"], "who knows does not ask"

    refused = failure(429, "rate_limit_error", retry_after="5")
    server.will(calls_tool("nap", mark="agent", seconds=0), refused, ANSWER)
    before = len(server.requests)
    config = {"llm_config": {"model": "agent"}, "task": "q", "tools": ["nap"]}
    item = {"graph_id": "agent", "node_id": "n", "config": config, "inputs": {}}
    entry = stage.push_raw(json.dumps(item).encode())
    wait_until(lambda: entry in stage.pending() and not held(stage), 10, "an agent in mid-run is given back as well")
    output = stage.result("agent")["data"]["output"]
    assert (output["result"], output["iterations"], len(output["tool_calls"])) == ("here", 2, 1)
    assert len(server.requests) == before + 3 and len(stage.journal.starts("agent")) == 1, "nothing is done again"

    calls = len(server.requests)
    server.will(failure(529, "overloaded_error"), hang(), ANSWER)
    push_llm(stage, "killed", model="busy")
    wait_until(lambda: len(server.requests) == calls + 2, 10, "it is called again")
    (pid,) = [row["pid"] for row in pool.workers() if row["phase"] == "llm"]
    os.kill(pid, signal.SIGKILL)
    push_llm(stage, "after", model="busy")
    assert {stage.result(graph)["type"] for graph in ("killed", "after")} == {"node.completed"}


def let_call(stage: Stage, in_s: float) -> None:
    """Make the wait end sooner, which is no longer than five minutes of the ten that the provider asked for."""
    (throttle,) = stage.db.smembers("dago:executor:awaited")
    assert 200 < (int(stage.db.hget(throttle, "not_before")) / 1000 - time.time()) <= 300
    stage.db.hset(throttle, "not_before", int((time.time() + in_s) * 1000))


def quiet(stage: Stage, provider: Provider) -> bool:
    return provider.calls == 1 and not held(stage)
