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
