"""`tail`: runs as they happen."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests.kit import Pool, RedisServer, wait_until
from tests.system.cli.conftest import Run

SCRIPT = [{"tool_calls": [{"name": "calculate", "arguments": {"expression": "6*7"}}]}, {"reply": "It is 42."}]
AGENT = {"llm_config": {"prompt": json.dumps({"script": SCRIPT})}, "tools": ["calculate"]}


def push(server: RedisServer, graph: str, config: dict[str, Any]) -> None:
    client = server.client()
    item = {"graph_id": graph, "node_id": "n", "node_type": "x", "config": config, "inputs": {}}
    client.xadd("executor.work", {"data": json.dumps(item)})
    wait_until(lambda: client.get(f"dago:state:{graph}"), 15, f"{graph} is settled")
    client.close()


def test_tail_shows_each_step_of_a_run(
    redis_server: RedisServer, executor: Callable[..., Pool], run: Run, terminal: Any
) -> None:
    """From what is kept, of one graph or all, as lines or as JSON; and live on a terminal."""
    executor(redis_server, workers=1, EVENT_CONTENT="1")
    live = terminal("tail", "seen", **redis_server.env)
    client = redis_server.client()
    wait_until(lambda: "xread" in [one["cmd"] for one in client.client_list()], 30, "it listens")
    push(redis_server, "other", {"tool_name": "nobody"})
    push(redis_server, "seen", AGENT)
    shown = run("tail", "seen", "--from-start", "--no-follow", **redis_server.env)
    words = [line.split()[2] for line in shown.out.splitlines()]
    assert words == ["started", "llm", "call", "tool", "llm", "completed"], shown.out
    lines = shown.out.splitlines()
    assert "wants calculate" in lines[1] and '| {"expression": "6*7"}' in lines[2].replace("'", '"')
    assert "calculate ok" in lines[3] and "| 42" in lines[3]
    every = run("tail", "--from-start", "--no-follow", "--json", **redis_server.env).lines
    assert {event["graph_id"] for event in every} == {"seen", "other"}
    assert next(event for event in every if event["type"] == "node.failed")["data"]["error_code"] == "unknown_tool"
    push(redis_server, "seen", {"tool_name": "calculate", "tool_params": {"expression": "1+1"}})
    live.wait_for("completed")
    assert "other" not in live.shown and "\x1b[" in live.shown
    live.press("\x03")
    assert live.wait() == 130


def test_tail_of_many_events_keeps_their_order(redis_server: RedisServer, run: Run) -> None:
    """Streams of very different lengths are told by time, not one after the other."""
    client = redis_server.client()
    for number in range(1000):
        stream = "completed" if number % 250 == 249 else "progress"
        event = {"id": str(number), "type": "x", "graph_id": "g", "node_id": str(number), "data": {}}
        client.xadd(f"dago:events:node.{stream}", {"data": json.dumps(event)}, id=f"1700000000000-{number + 1}")
    client.close()
    found = run("tail", "--from-start", "--no-follow", "--json", **redis_server.env).lines
    assert [int(event["id"]) for event in found] == list(range(1000))


def test_tail_of_a_redis_that_is_not_there(run: Run) -> None:
    """A sentence, as everywhere."""
    done = run("tail", REDIS_ADDR="127.0.0.1:1")
    assert done.status == 1 and "can't be reached" in done.err


def told(graph: str, node: str, kind: str, at_ms: int, **data: Any) -> dict[str, Any]:
    stamp = f"2026-01-01T00:00:00.{at_ms:03}Z"
    return {
        "id": f"{graph}{node}{kind}{at_ms}",
        "type": kind,
        "timestamp": stamp,
        "graph_id": graph,
        "node_id": node,
        "data": data,
    }


def written(server: RedisServer, *events: dict[str, Any]) -> None:
    client = server.client()
    for event in events:
        stream = kind if (kind := event["type"]) in ("node.completed", "node.failed") else "node.progress"
        client.xadd(f"dago:events:{stream}", {"data": json.dumps(event)})
    client.close()


KEPT = (
    told("a-graph", "n", "node.completed", 30, output={"sum": 42}, duration_ms=20),
    told("a-graph", "n", "node.started", 10, attempt=1, worker_id="w.1"),
    told("b", "a-longer-name", "node.failed", 20, error="it is broken", error_code="tool_failed"),
    told("b", "a-longer-name", "tool.called", 20, name="x", ok=False, error_code="tool_failed"),
    told("b", "a-longer-name", "node.started", 20, attempt=1, worker_id="w.2"),
)


def test_tail_shows_what_happened_in_its_order_and_in_columns(redis_server: RedisServer, run: Run) -> None:
    """However the writers were interleaved, also within one millisecond."""
    written(redis_server, *KEPT)
    lines = run("tail", "--from-start", "--no-follow", **redis_server.env).out.splitlines()
    assert [line.split()[2] for line in lines] == ["started", "started", "tool", "failed", "completed"]
    assert len({line.index(f"  {line.split()[2]}") for line in lines}) == 1, lines


def test_tail_shows_what_is_asked_for(redis_server: RedisServer, run: Run) -> None:
    """Outputs, failures only, one node only; and says if there is nothing."""
    written(redis_server, *KEPT)
    kept = ("--from-start", "--no-follow")
    outputs = run("tail", *kept, "--outputs", **redis_server.env).out
    assert 'completed  in 0.02 s | {"sum": 42}' in outputs
    assert "sum" not in run("tail", *kept, **redis_server.env).out
    (failed,) = run("tail", *kept, "--failed", **redis_server.env).out.splitlines()
    assert "b/a-longer-name" in failed and failed.endswith("tool_failed: it is broken")
    assert len(run("tail", *kept, "--node", "n", "--json", **redis_server.env).lines) == 2
    nothing = run("tail", "b", *kept, "--node", "n", "--failed", **redis_server.env)
    assert nothing.out == "" and "nothing is kept of failures of node 'n' of graph 'b'" in nothing.err


def test_tail_says_what_it_waits_for(redis_server: RedisServer, terminal: Any) -> None:
    """On a terminal, where a person would wonder; what comes then is in order too."""
    live = terminal("tail", "b", "--failed", **redis_server.env)
    live.wait_for("waiting for failures of graph 'b'; Ctrl-C leaves")
    client = redis_server.client()
    wait_until(lambda: "xread" in [one["cmd"] for one in client.client_list()], 30, "it listens")
    client.close()
    written(redis_server, *KEPT)
    live.wait_for("it is broken")
    assert "\x1b[31m" in live.shown and "started" not in live.shown
    live.press("\x03")
    assert live.wait() == 130
