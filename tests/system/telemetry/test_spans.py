"""What a pool tells a collector: one trace an item, over the real protocol."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from executor_worker.broker import GROUP
from tests.kit import Pool, RedisServer, Stopwatch, wait_until
from tests.kit.collector import TRACES, Collector
from tests.kit.paths import ROOT

ODD = ROOT / "tests/kit/servers/odd.py"
TRACE, SENDER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = {"traceparent": f"00-{TRACE}-{SENDER}-01", "tracestate": "vendor=1"}
PLANTED = "planted-secret"


@pytest.fixture
def collector() -> Iterator[Collector]:
    started = Collector()
    yield started
    started.close()


class Traced:
    """A pool that tells *collector*, and its Redis."""

    def __init__(self, pool: Pool, server: RedisServer) -> None:
        self.pool = pool
        self._db: Any = server.client()

    def push(self, graph: str, config: dict[str, Any], **more: Any) -> str:
        """Add an item; returns its entry."""
        item = {"graph_id": graph, "node_id": "node-1", "config": config, "inputs": {"secret": PLANTED}, **more}
        return str(self._db.xadd("executor.work", {"data": json.dumps(item)}).decode())

    def results(self) -> list[dict[str, Any]]:
        streams = ("dago:events:node.completed", "dago:events:node.failed")
        return [json.loads(fields[b"data"]) for stream in streams for _, fields in self._db.xrange(stream)]

    def result(self, graph: str) -> dict[str, Any]:
        found = wait_until(lambda: [each for each in self.results() if each["graph_id"] == graph], 20, graph)
        return dict(found[0]["data"])


@pytest.fixture
def traced(
    executor: Callable[..., Pool], redis_server: RedisServer, mcp_config: Callable[..., Path]
) -> Callable[..., Traced]:
    def start(endpoint: str, **settings: str) -> Traced:
        odd = {"command": sys.executable, "args": [str(ODD)]}
        given = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_BSP_SCHEDULE_DELAY": "50",  # milliseconds
            "LLM_MODEL": "m-1",
            "MCP_CONFIG": str(mcp_config(odd=odd)),
            "TOOL_MODULES": "tests.system.telemetry.tools",
            "PYTHONPATH": str(ROOT),
            "HTTP_ALLOW": "127.0.0.1",
        }
        return Traced(executor(redis_server, workers=1, **{**given, **settings}), redis_server)

    return start


def scripted(*rules: dict[str, Any]) -> str:
    return json.dumps({"script": list(rules)})


def calling(name: str, **arguments: Any) -> dict[str, Any]:
    return {"tool_calls": [{"name": name, "arguments": arguments}], "usage": {"input_tokens": 7, "output_tokens": 3}}


def test_item_is_one_trace_with_its_calls_in_it(traced: Callable[..., Traced], collector: Collector) -> None:
    """Agent, models and tools hang below whoever sent the item, by the conventions, with no content; so do failures."""
    stage = traced(
        collector.url,
        OTEL_EXPORTER_OTLP_HEADERS=f"x-key=Bearer%20{PLANTED}",
        OTEL_SERVICE_NAME="nodes",
        OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=test,service.name=other",
    )
    script = scripted(calling("calculate", expression="6*7"), calling("meta"), {"reply": f"done {PLANTED}"})
    agent = {"task": f"{script} {{{{secret}}}}", "tools": ["calculate", "meta"], "llm_config": {}}
    entry = stage.push("agent", agent, metadata=PARENT, execution_id="e-1")
    url = f"{collector.url}/{PLANTED}"
    stage.push("http", {"tool_name": "http_request", "tool_params": {"url": url}}, metadata=PARENT)
    stage.push("fails", {"llm_config": {"prompt": scripted({"error": "400"})}})

    item = collector.item("agent")
    assert (item.name, item.kind, item.trace, item.parent) == ("process executor.work", "consumer", TRACE, SENDER)
    told = item.attributes
    assert told["messaging.system"] == "redis" and told["messaging.message.id"] == entry
    assert (told["messaging.operation.type"], told["messaging.consumer.group.name"]) == ("process", GROUP)
    assert (told["dago.node.mode"], told["dago.item.outcome"], told["dago.item.deliveries"]) == (
        "agent",
        "completed",
        1,
    )
    assert told["dago.execution.id"] == "e-1" and not item.failed
    assert (item.resource["service.name"], item.resource["deployment.environment.name"]) == ("nodes", "test")
    assert item.resource["service.instance.id"] == told["messaging.client.id"]

    [run] = collector.inside(item)
    assert (run.name, run.kind, run.attributes["gen_ai.agent.name"]) == ("invoke_agent node-1", "internal", "node-1")
    steps = collector.inside(run)
    assert [step.name for step in steps] == [
        *("chat m-1", "execute_tool calculate", "chat m-1", "execute_tool meta", "chat m-1"),
    ]
    chat, calculate, _, meta, last = steps
    assert chat.kind == "client"
    assert (
        chat.attributes
        | {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "scripted",
            "gen_ai.request.model": "m-1",
            "gen_ai.response.model": "m-1",
            "gen_ai.response.finish_reasons": ["tool_use"],
            "gen_ai.usage.input_tokens": 7,
            "gen_ai.usage.output_tokens": 3,
        }
        == chat.attributes
    )
    assert last.attributes["gen_ai.response.finish_reasons"] == ["end_turn"]
    assert calculate.attributes == {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "calculate",
        "gen_ai.tool.type": "function",
        "dago.tool.source": "built-in",
    }
    assert (meta.attributes["mcp.method.name"], meta.attributes["dago.tool.source"]) == ("tools/call", "mcp odd")
    assert item.seconds >= run.seconds >= sum(step.seconds for step in steps)

    request = collector.inside(collector.item("http"))[0]
    seen = next(headers for path, headers in collector.headers if PLANTED in path)
    assert (seen["traceparent"], seen["tracestate"]) == (f"00-{TRACE}-{request.id}-01", "vendor=1")

    failed = collector.item("fails")
    assert failed.trace != TRACE and not failed.parent and failed.failed and not failed.said
    assert (failed.attributes["error.type"], failed.attributes["dago.item.outcome"]) == ("llm_rejected", "failed")
    [refused] = collector.inside(failed)
    assert refused.failed and refused.attributes["error.type"] == "llm_rejected" and not refused.said

    assert next(headers for path, headers in collector.headers if path == TRACES)["x-key"] == f"Bearer {PLANTED}"
    assert not [body for body in collector.bodies if PLANTED.encode() in body]

    # A tool gets its own span's name, by MCP too; a run that goes on names the one that was interrupted.
    stage.push("echo", {"tool_name": "meta", "tool_params": {}}, metadata=PARENT)
    carried = json.loads(stage.result("echo")["output"])
    assert carried["traceparent"] == f"00-{TRACE}-{collector.inside(collector.item('echo'))[0].id}-01"
    mark = str(stage.pool.folder / "mark")
    script = scripted(calling("die_once", mark=mark), {"reply": "done"})
    stage.push("resumed", {"task": script, "tools": ["die_once"], "llm_config": {}})
    resumed = collector.item("resumed", 30)
    assert (resumed.attributes["dago.item.deliveries"], resumed.attributes["dago.item.outcome"]) == (2, "completed")
    assert len(resumed.links) == 1 and resumed.links != (resumed.trace,)
    assert [step.name for step in collector.inside(collector.inside(resumed)[0])] == [
        "execute_tool die_once",
        "chat m-1",
    ]

    # What is not sent yet when the pool leaves is sent then.
    stage.push("late", {"tool_name": "calculate", "tool_params": {"expression": "1"}})
    stage.result("late")
    assert stage.pool.drain() == 0
    assert [item.attributes["dago.item.outcome"] for item in collector.items("late")] == ["completed"]
    assert not stage.pool.seen("fork.threads") and not stage.pool.seen("library.warning")


def test_collector_that_does_not_answer_holds_nobody_up(traced: Callable[..., Traced]) -> None:
    """Items are settled as ever, and a drain does not wait for it."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        stage = traced(f"http://127.0.0.1:{silent.getsockname()[1]}", MCP_CONFIG="", TOOL_MODULES="")
        for number in range(50):
            stage.push(f"g{number}", {"tool_name": "calculate", "tool_params": {"expression": "1"}})
        wait_until(lambda: len(stage.results()) == 50, 30, "all items are settled")
        began = Stopwatch()
        assert stage.pool.drain() == 0
        assert began.own_s() < 8
        assert not stage.pool.seen("library.warning")
