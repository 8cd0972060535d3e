"""`/metrics` as Prometheus reads it: names, labels, values."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.contract.wire import WORK, WORK_EVENTS, Wire
from tests.kit import RedisServer, own_name, wait_until
from tests.kit.paths import SERVERS

LOOK = json.dumps([{"name": "look", "inputSchema": {"type": "object"}}])
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]
COMPLAIN = {"tool_name": "complain", "tool_params": {"message": "no"}}
COUNTERS: dict[str, set[str]] = {
    "dago_nodes_executed_total": {"node_type", "status"},
    "dago_nodes_failed_total": {"node_type"},
    "dago_graphs_completed_total": {"status"},
    "dago_graphs_failed_total": set(),
    "dago_llm_calls_total": {"model"},
    "dago_llm_tokens_total": {"model", "type"},
    "dago_tool_executions_total": {"tool"},
    "dago_tool_failures_total": {"tool"},
    "dago_worker_restarts_total": {"reason"},
    "dago_items_reclaimed_total": set(),
    "dago_items_fenced_total": set(),
    "dago_items_dead_total": {"reason"},
}
HISTOGRAMS: dict[str, set[str]] = {
    "dago_node_duration_seconds": {"node_type"},
    "dago_node_execution_duration_seconds": set(),
    "dago_graph_duration_seconds": set(),
    "dago_llm_latency_seconds": {"model"},
    "dago_tool_duration_seconds": {"tool"},
    "dago_queue_wait_time_seconds": set(),
}
GAUGES: dict[str, set[str]] = {
    "dago_queue_depth": {"queue"},
    "dago_worker_pool_idle": set(),
    "dago_worker_pool_busy": set(),
    "dago_worker_pool_stopped": set(),
    "dago_items_pending": set(),
    "dago_items_parked": set(),
    "dago_oldest_item_age_seconds": set(),
}


@pytest.fixture
def fresh(start: Callable[..., Wire], room: Path) -> Iterator[Wire]:
    """A pool of two that has done nothing yet, on a Redis of its own."""
    folder = room / f"fresh{len(list(room.iterdir()))}"
    folder.mkdir()
    server = RedisServer(folder)
    pool = start(server, workers=2)
    yield pool
    assert pool.pool.drain() == 0
    server.close()


def samples(wire: Wire) -> Samples:
    text = wire.pool.get("/metrics").text
    families = list(text_string_to_metric_families(text))
    return {(one.name, frozenset(one.labels.items())): one.value for family in families for one in family.samples}


def value(wire: Wire, name: str, **labels: str) -> float:
    """A sample's value, 0 if it is not there yet."""
    return samples(wire).get((name, frozenset(labels.items())), 0.0)


def has(wire: Wire, name: str, **labels: str) -> bool:
    return (name, frozenset(labels.items())) in samples(wire)


def counted(wire: Wire, wanted: float, name: str, labels: dict[str, str]) -> bool:
    return value(wire, name, **labels) == wanted


def labels_of(found: Samples, name: str) -> set[frozenset[str]]:
    return {frozenset(key for key, _ in labels) for known, labels in found if known == name}


def hold(wire: Wire, gate: Path) -> str:
    graph_id = wire.new_graph()
    config = {"tool_name": "wait_for_file", "tool_params": {"path": str(gate)}}
    wire.add({"graph_id": graph_id, "node_id": "n", "config": config, "inputs": {}})
    return graph_id


def test_every_family_is_there_from_the_start(fresh: Wire) -> None:
    """All names with their types, before anything happened; those without labels stand at 0."""
    answer = fresh.pool.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    types = {family.name: family.type for family in text_string_to_metric_families(answer.text)}
    for name in COUNTERS:
        assert types[name.removesuffix("_total")] == "counter"
    for name in HISTOGRAMS:
        assert types[name] == "histogram"
    for name in GAUGES:
        assert types[name] == "gauge"
    found = samples(fresh)
    bare = frozenset[tuple[str, str]]()
    for name in ("dago_items_reclaimed_total", "dago_items_fenced_total", "dago_node_execution_duration_seconds_count"):
        assert found[name, bare] == 0
    assert found["dago_worker_pool_idle", bare] == 2
    assert found["dago_worker_pool_busy", bare] == found["dago_worker_pool_stopped", bare] == 0
    for queue in (WORK, WORK_EVENTS):
        wait_until(partial(has, fresh, "dago_queue_depth", queue=queue), 8, queue)


def test_labels_and_values_after_some_work(fresh: Wire) -> None:
    """Each name carries exactly its labels, and counts exactly what was done."""
    usage = {"input_tokens": 100, "output_tokens": 20}
    prompt = json.dumps({"script": [{"reply": "x", "usage": usage}]})
    fresh.output({"tool_name": "renamed"})
    fresh.output({"tool_name": "renamed"})
    fresh.error(COMPLAIN)
    fresh.output({"llm_config": {"prompt": prompt, "model": "m-1"}})
    call = {"tool_calls": [{"name": "plus", "arguments": {"a": 1}}], "usage": usage}
    agent = json.dumps({"script": [call, {"reply": "done", "usage": usage}]})
    fresh.output({"llm_config": {"prompt": agent, "model": "m-2"}, "tools": ["plus"]})
    fresh.wait_letter(fresh.add(b"no item"))
    expected: list[tuple[float, str, dict[str, str]]] = [
        (2, "dago_nodes_executed_total", {"node_type": "tool", "status": "completed"}),
        (1, "dago_nodes_executed_total", {"node_type": "tool", "status": "failed"}),
        (1, "dago_nodes_failed_total", {"node_type": "tool"}),
        (3, "dago_node_duration_seconds_count", {"node_type": "tool"}),
        (1, "dago_node_duration_seconds_count", {"node_type": "agent"}),
        (1, "dago_nodes_executed_total", {"node_type": "llm", "status": "completed"}),
        (1, "dago_nodes_executed_total", {"node_type": "agent", "status": "completed"}),
        (1, "dago_llm_calls_total", {"model": "m-1"}),
        (2, "dago_llm_calls_total", {"model": "m-2"}),
        (100, "dago_llm_tokens_total", {"model": "m-1", "type": "input"}),
        (20, "dago_llm_tokens_total", {"model": "m-1", "type": "output"}),
        (200, "dago_llm_tokens_total", {"model": "m-2", "type": "input"}),
        (40, "dago_llm_tokens_total", {"model": "m-2", "type": "output"}),
        (1, "dago_llm_latency_seconds_count", {"model": "m-1"}),
        (2, "dago_llm_latency_seconds_count", {"model": "m-2"}),
        (2, "dago_tool_executions_total", {"tool": "renamed"}),
        (1, "dago_tool_executions_total", {"tool": "plus"}),
        (1, "dago_tool_executions_total", {"tool": "complain"}),
        (1, "dago_tool_failures_total", {"tool": "complain"}),
        (0, "dago_tool_failures_total", {"tool": "renamed"}),
        (2, "dago_tool_duration_seconds_count", {"tool": "renamed"}),
        (1, "dago_items_dead_total", {"reason": "invalid_item"}),
        (6, "dago_queue_wait_time_seconds_count", {}),
        (0, "dago_items_fenced_total", {}),
        (0, "dago_items_reclaimed_total", {}),
    ]
    for wanted, name, labels in expected:
        wait_until(partial(counted, fresh, wanted, name, labels), 3, f"{wanted} {name} {labels}")
    found = samples(fresh)
    for name, names in (COUNTERS | GAUGES).items():
        assert labels_of(found, name) <= {frozenset(names)}, name
    for name, names in HISTOGRAMS.items():
        assert labels_of(found, name + "_count") == labels_of(found, name + "_sum") == {frozenset(names)}, name
        assert labels_of(found, name + "_bucket") == {frozenset(names | {"le"})}, name
    bare = frozenset[tuple[str, str]]()
    assert found["dago_node_execution_duration_seconds_bucket", frozenset({("le", "+Inf")})] >= 5
    assert 0 < found["dago_node_execution_duration_seconds_sum", bare] < 5
    assert 0 <= found["dago_queue_wait_time_seconds_sum", bare] < 5


def test_gauges_follow_the_pool_and_the_queue(fresh: Wire, gate: Path) -> None:
    """Busy and idle at once; depth, pending and age within the few seconds between two looks at Redis."""
    graphs = [hold(fresh, gate) for _ in range(5)]
    wait_until(lambda: value(fresh, "dago_worker_pool_busy") == 2, 5, "two are busy")
    assert value(fresh, "dago_worker_pool_idle") == 0
    wait_until(lambda: value(fresh, "dago_queue_depth", queue=WORK) == 5, 8, "five to do")
    wait_until(lambda: value(fresh, "dago_items_pending") == 2, 8, "two in hand")
    assert value(fresh, "dago_queue_depth", queue=WORK_EVENTS) == 0
    wait_until(lambda: value(fresh, "dago_oldest_item_age_seconds") >= 1, 12, "the oldest has an age")
    gate.touch()
    for graph_id in graphs:
        fresh.wait_result(graph_id)
    wait_until(lambda: value(fresh, "dago_queue_depth", queue=WORK) == 0, 8, "nothing to do")
    wait_until(lambda: value(fresh, "dago_worker_pool_idle") == 2, 3, "two are idle")
    assert value(fresh, "dago_items_pending") == 0
    assert value(fresh, "dago_oldest_item_age_seconds") == 0


def test_a_killed_worker_is_counted_and_no_total_goes_down(fresh: Wire, gate: Path) -> None:
    """A restart with a reason, an item taken over; what the dead worker had counted is kept."""
    for _ in range(4):
        fresh.output({"tool_name": "renamed"})
    graph_id = hold(fresh, gate)
    rows = fresh.pool.wait_workers(lambda rows: any(row["state"] == "busy" for row in rows))
    before = samples(fresh)
    os.kill(next(row["pid"] for row in rows if row["state"] == "busy"), signal.SIGKILL)
    wait_until(lambda: value(fresh, "dago_items_reclaimed_total") == 1, 5, "the item was taken over")
    restarts = [(labels, n) for (name, labels), n in samples(fresh).items() if name == "dago_worker_restarts_total"]
    reasons = {dict(labels)["reason"]: n for labels, n in restarts}
    assert sum(reasons.values()) == 1 and all(reasons)
    gate.touch()
    assert fresh.wait_result(graph_id)["data"]["attempt"] == 2
    after = samples(fresh)
    totals = [key for key in before if key[0].endswith(("_total", "_count", "_bucket"))]
    assert all(after[key] >= before[key] for key in totals)
    assert after["dago_tool_executions_total", frozenset({("tool", "renamed")})] == 4


def test_hostile_labels_do_no_harm(fresh: Wire) -> None:
    """Names from outside with quotes, newlines, bytes of any kind, or very long, are escaped or cut."""
    for model in ('a"b\\c', "line\nbreak", "\x1f\x00", "é😀", "x" * 5000):
        fresh.output({"llm_config": {"prompt": "p", "model": model}})
    found = samples(fresh)
    models = {dict(labels)["model"] for name, labels in found if name == "dago_llm_calls_total"}
    assert {'a"b\\c', "line\nbreak", "é😀"} <= models
    assert len(models) == 5
    assert max(map(len, models)) <= 200


def test_node_types_from_outside_make_no_series(fresh: Wire) -> None:
    """`node_type` is one of a few words, whatever items call themselves."""
    for number in range(20):
        fresh.error({}, node_type=f"made-up-{number}")
        graph_id = fresh.new_graph()
        fresh.add({"graph_id": graph_id, "node_id": "n", "node_type": f"made-up-{number}"})
        fresh.wait_result(graph_id)
    types = {dict(labels)["node_type"] for name, labels in samples(fresh) if name == "dago_nodes_executed_total"}
    assert types <= {"tool", "llm", "agent", "unknown"}


def test_servers_of_tools_connections_and_cpu_are_told(
    start: Callable[..., Wire], shared_redis: RedisServer, room: Path
) -> None:
    """A server that is there, one that is not, and one that dies and comes back; nothing before anybody has tried."""
    servers = {
        "here": {"command": sys.executable, "args": [str(SERVERS / "told.py")], "env": {"TOOLS": LOOK}},
        "gone": {"command": sys.executable, "args": ["-c", ""]},
        "away": {"url": "http://127.0.0.1:1/mcp"},
    }
    (room / "servers.json").write_text(json.dumps({"mcpServers": servers}))
    wire = start(
        shared_redis, workers=1, WORKER_ID=own_name("told"), QUEUES="told", MCP_CONFIG=str(room / "servers.json")
    )
    assert not any(name == "dago_mcp_server_up" for name, _ in samples(wire))
    wire.output({"tool_name": "here.look"}, stream="executor.work:told")
    for server, up in (("here", 1.0), ("gone", 0.0), ("away", 0.0)):
        wait_until(partial(has, wire, "dago_mcp_server_up", server=server), 15, server)
        assert value(wire, "dago_mcp_server_up", server=server) == up
    assert 2 <= value(wire, "dago_redis_connections") <= value(wire, "dago_redis_connections_max")

    def used_by_all() -> dict[str, float]:
        used = {role: value(wire, "dago_cpu_seconds_total", role=role) for role in ("supervisor", "keeper", "worker")}
        return used if all(used.values()) else {}

    before = wait_until(used_by_all, 10, "each has used a hundredth of a second")
    os.kill(wire.pool.worker_pid(1), signal.SIGKILL)
    wire.output({"tool_name": "here.look"}, stream="executor.work:told")
    assert all(value(wire, "dago_cpu_seconds_total", role=role) >= used for role, used in before.items())
    assert wire.pool.drain() == 0
