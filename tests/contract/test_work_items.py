"""What may stand on a work stream: both streams, both envelopes, both places of the config, and what goes with them."""

from __future__ import annotations

import itertools
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.contract.wire import COMPLETED, FAILED, GROUP, STREAMS, WORK, WORK_EVENTS, Json, Wire, as_time
from tests.kit import Stopwatch, holds_for, wait_until

ECHO = {"tool_name": "give_back", "tool_params": {"value": "{{x}}"}}


def plain(graph_id: str, **members: Any) -> Json:
    return {"graph_id": graph_id, "node_id": "n", "node_type": "tool", "dependencies": []} | members


def event(graph_id: str, work_id: str, data: Json, **members: Any) -> Json:
    """The second envelope."""
    body = {"graph_id": graph_id, "node_id": "n", "node_type": "tool"} | data
    head = {"id": work_id, "type": "node.work", "timestamp": "2026-11-21T10:00:00Z", "execution_id": "exec-7"}
    return head | {"data": body} | members


def at(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


@pytest.mark.parametrize(
    ("stream", "envelope", "place"),
    list(itertools.product(STREAMS, ("plain", "event"), ("item", "graph"))),
)
def test_either_form_is_accepted_on_either_stream(wire: Wire, stream: str, envelope: str, place: str) -> None:
    """Whatever the stream, the envelope and where the config stands: the node is run, the entry is settled."""
    graph_id = wire.new_graph()
    graph = {"nodes": {"n": {"config": ECHO}}} if place == "graph" else {}
    wire.put_state(graph_id, inputs={"x": [1, "two"]}, graph=graph)
    own: Json = {"config": ECHO} if place == "item" else {}
    item = plain(graph_id, **own) if envelope == "plain" else event(graph_id, f"w-{graph_id}", own)
    entry = wire.add(item, stream)
    result = wire.wait_result(graph_id)
    assert result["type"] == "node.completed"
    assert result["data"]["output"] == [1, "two"]
    assert result["execution_id"] == (graph_id if envelope == "plain" else "exec-7")
    wire.wait_gone(entry, stream)


def test_groups_are_made_at_the_beginning(wire: Wire) -> None:
    """Both streams have the group, made at 0: what was there before is read too."""
    for stream in STREAMS:
        (group,) = wire.redis.xinfo_groups(stream)
        assert group["name"] == GROUP.encode()


def test_consumers_are_named_by_worker_id_and_slot(wire: Wire) -> None:
    """`<WORKER_ID>.<slot>` is the consumer's name and stands in the result as `worker_id`."""
    data = wire.run(ECHO, inputs={"x": 1})
    name = wire.pool.env["WORKER_ID"]
    assert data["worker_id"] in (f"{name}.1", f"{name}.2")
    consumers = {consumer["name"].decode() for consumer in wire.redis.xinfo_consumers(WORK, GROUP)}
    assert consumers <= {f"{name}.1", f"{name}.2"} and data["worker_id"] in consumers


def test_graph_nodes_may_be_a_list(wire: Wire) -> None:
    """`graph.nodes[node_id]` also where the graph keeps its nodes as a list of objects with ids."""
    graph_id = wire.new_graph()
    wire.put_state(graph_id, inputs={"x": 5}, graph={"nodes": [{"id": "m"}, {"id": "n", "config": ECHO}]})
    wire.add(event(graph_id, f"w-{graph_id}", {"state": {}}), WORK_EVENTS)
    assert wire.wait_result(graph_id)["data"]["output"] == 5


def test_state_of_an_event_are_inputs(wire: Wire) -> None:
    """`data.state` of the event envelope holds inputs; where only they came, the document is made of them."""
    graph_id = wire.new_graph()
    wire.add(event(graph_id, f"w-{graph_id}", {"state": {"x": 3}, "node_state": {"a": 1}, "config": ECHO}), WORK_EVENTS)
    assert wire.wait_result(graph_id)["data"]["output"] == 3
    assert wire.state(graph_id)["inputs"] == {"x": 3}


@pytest.mark.parametrize("envelope", ["plain", "event"])
def test_inputs_are_laid_over_the_states_but_not_stored(wire: Wire, envelope: str) -> None:
    """`inputs` win over the state's for rendering; the stored ones stay as they are."""
    graph_id = wire.new_graph()
    wire.put_state(graph_id, inputs={"x": "stored", "y": "kept"})
    config = {"tool_name": "give_back", "tool_params": {"value": ["{{x}}", "{{y}}", "{{inputs.x}}"]}}
    extra = {"inputs": {"x": "given"}, "config": config}
    item = plain(graph_id, **extra) if envelope == "plain" else event(graph_id, f"w-{graph_id}", extra)
    wire.add(item)
    assert wire.wait_result(graph_id)["data"]["output"] == ["given", "kept", "given"]
    assert wire.state(graph_id)["inputs"] == {"x": "stored", "y": "kept"}


@pytest.mark.parametrize("envelope", ["plain", "event"])
@pytest.mark.parametrize("shape", ["Z", "offset", "whole seconds"])
def test_a_passed_deadline_means_not_run(wire: Wire, envelope: str, shape: str) -> None:
    """An item whose deadline has passed fails with `node_timeout` and its tool is not called."""
    graph_id = wire.new_graph()
    wire.put_state(graph_id, inputs={"x": 1})
    calls = 'dago_tool_executions_total{tool="renamed"}'
    before = wire.pool.metrics().get(calls, 0)
    deadline = {
        "Z": at(-1),
        "offset": at(-1).replace("Z", "+00:00"),
        "whole seconds": (datetime.now(UTC) - timedelta(seconds=2)).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }[shape]
    extra = {"config": {"tool_name": "renamed"}, "deadline": deadline}
    item = plain(graph_id, **extra) if envelope == "plain" else event(graph_id, f"w-{graph_id}", extra)
    entry = wire.add(item)
    result = wire.wait_result(graph_id)
    assert (result["type"], result["data"]["error_code"]) == ("node.failed", "node_timeout")
    assert wire.node_state(graph_id)["status"] == "failed"
    assert wire.pool.metrics().get(calls, 0) == before
    wire.wait_gone(entry)
    assert not wire.letters(entry)


def test_a_deadline_ahead_lets_it_run(wire: Wire) -> None:
    """A deadline that has not passed, in any zone, changes nothing."""
    for deadline in (at(60), "2099-01-01T00:00:00+14:00", "2099-01-01t00:00:00.123456z"):
        assert wire.output(ECHO, inputs={"x": 1}, deadline=deadline) == 1


def test_a_deadline_ends_a_node_that_runs(wire: Wire, gate: Any) -> None:
    """A deadline that passes in mid-run ends the node with `node_timeout`; the slot is whole again after it."""
    started = Stopwatch()
    code, _ = wire.error({"tool_name": "wait_for_file", "tool_params": {"path": str(gate)}}, deadline=at(1))
    assert code == "node_timeout"
    assert started.own_s() < 6
    wire.pool.wait_workers(lambda rows: all(row["state"] == "idle" for row in rows))


def test_metadata_and_dependencies_are_carried_not_enforced(wire: Wire) -> None:
    """A traceparent, and dependencies that nobody has run, keep no node from running."""
    trace = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    assert wire.output(ECHO, inputs={"x": 1}, dependencies=["never", "ran"], metadata=trace) == 1


def test_unknown_members_are_ignored(wire: Wire) -> None:
    """What other versions may add to an item does no harm."""
    assert wire.output(ECHO, inputs={"x": 1}, priority=9, retry={"max": 3}) == 1


def test_an_item_that_has_been_run_is_acknowledged_and_nothing_else(wire: Wire) -> None:
    """An envelope id that stands in its node's finished state: no event, no change of the state, no run."""
    graph_id = wire.new_graph()
    wire.put_state(graph_id, inputs={"x": 1})
    item = event(graph_id, f"w-{graph_id}", {"config": ECHO})
    wire.wait_gone(wire.add(item, WORK_EVENTS), WORK_EVENTS)
    first = wire.wait_result(graph_id)
    assert wire.node_state(graph_id)["metadata"]["work_id"] == f"w-{graph_id}"
    raw, ttl = wire.raw_state(graph_id), wire.redis.pexpiretime(f"dago:state:{graph_id}")
    for stream in STREAMS:
        again = wire.add(item, stream)
        wire.wait_gone(again, stream)
        assert not wire.letters(again, stream)
    assert wire.results(graph_id) == [first]
    assert wire.raw_state(graph_id) == raw
    assert wire.redis.pexpiretime(f"dago:state:{graph_id}") == ttl


def test_a_failed_item_has_been_run_too(wire: Wire) -> None:
    """The mark counts in a failed state as well, and also where the graph has ended since."""
    graph_id = wire.new_graph()
    config = {"tool_name": "complain", "tool_params": {"message": "no"}}
    item = event(graph_id, f"w-{graph_id}", {"config": config, "inputs": {}})
    wire.wait_gone(wire.add(item))
    wire.wait_result(graph_id)
    ended = wire.state(graph_id) | {"status": "failed"}
    wire.redis.set(f"dago:state:{graph_id}", json.dumps(ended))
    raw = wire.raw_state(graph_id)
    wire.wait_gone(wire.add(item))
    assert len(wire.results(graph_id)) == 1
    assert wire.raw_state(graph_id) == raw


@pytest.mark.parametrize("status", ["pending", "running"])
def test_a_mark_in_an_unfinished_state_does_not_count(wire: Wire, status: str) -> None:
    """Where the node is not finished, the same id runs."""
    graph_id = wire.new_graph()
    node = {"node_id": "n", "status": status, "metadata": {"work_id": "w-1", "theirs": 1}}
    wire.put_state(graph_id, inputs={"x": 1}, node_states={"n": node})
    wire.add(event(graph_id, "w-1", {"config": ECHO}))
    assert wire.wait_result(graph_id)["data"]["output"] == 1
    assert wire.node_state(graph_id)["status"] == "completed"


def test_another_id_runs_again(wire: Wire) -> None:
    """The same node under another envelope id, or under none, is a new item."""
    graph_id = wire.new_graph()
    wire.put_state(graph_id, inputs={"x": 1})
    wire.add(event(graph_id, "w-1", {"config": ECHO}))
    wire.wait_result(graph_id)
    wire.add(event(graph_id, "w-2", {"config": ECHO}))
    wire.wait_result(graph_id, count=2)
    wire.add(plain(graph_id, config=ECHO))
    wire.wait_result(graph_id, count=3)
    assert "work_id" not in wire.node_state(graph_id)["metadata"]


def test_items_are_spread_over_the_workers(wire: Wire, gate: Any) -> None:
    """Two items are worked on at once by two workers, each holding no more than its own."""
    hold = {"tool_name": "wait_for_file", "tool_params": {"path": str(gate)}}
    graphs = [wire.new_graph() for _ in range(3)]
    for graph_id in graphs:
        wire.add(plain(graph_id, config=hold, inputs={}))
    wire.pool.wait_workers(lambda rows: [row["state"] for row in rows] == ["busy", "busy"])
    holds_for(lambda: wire.redis.xpending(WORK, GROUP)["pending"] == 2, 0.3, "nobody holds what nobody works on")
    gate.touch()
    names = {wire.wait_result(graph_id)["data"]["worker_id"] for graph_id in graphs}
    assert len(names) == 2
    wait_until(lambda: wire.redis.xpending(WORK, GROUP)["pending"] == 0, 5, "all are acknowledged")


def test_result_events_are_json_with_times_in_utc(wire: Wire) -> None:
    """Each entry of a result stream has one field, `data`, holding JSON; times end in Z."""
    wire.run(ECHO, inputs={"x": 1})
    wire.error(ECHO)
    for stream in (COMPLETED, FAILED):
        for one in wire.events(stream):
            assert abs(as_time(one["timestamp"]) - time.time()) < 120
