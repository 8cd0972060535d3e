"""What goes out: the two result streams, field by field, and who hears of a failure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.contract.wire import COMPLETED, FAILED, Json, Wire, as_time
from tests.kit import RedisServer, holds_for, wait_until

COMPLAIN = {"tool_name": "complain", "tool_params": {"message": "no"}}
ENVELOPE = {"id", "type", "timestamp", "graph_id", "execution_id", "node_id", "data"}
ALWAYS = {"graph_id", "node_id", "output", "worker_id", "mode", "attempt", "duration_ms"}


def run(wire: Wire, config: Any, **members: Any) -> Json:
    """Run a node; return its whole event."""
    graph_id = wire.new_graph()
    wire.add({"graph_id": graph_id, "node_id": "n", "config": config, "inputs": {}} | members)
    return wire.wait_result(graph_id)


def script(*rules: Json) -> str:
    """What makes the scripted model do as told."""
    return json.dumps({"script": rules})


def check_envelope(event: Json, kind: str) -> None:
    assert set(event) == ENVELOPE
    assert event["type"] == kind
    assert all(isinstance(event[name], str) and event[name] for name in ENVELOPE - {"data"})
    as_time(event["timestamp"])
    data = event["data"]
    assert (data["graph_id"], data["node_id"]) == (event["graph_id"], event["node_id"])
    assert type(data["attempt"]) is int
    assert type(data["duration_ms"]) in (int, float) and data["duration_ms"] >= 0


def test_completed_has_exactly_its_fields(wire: Wire) -> None:
    """`node.completed` of a tool: no usage, no error."""
    event = run(wire, {"tool_name": "renamed"})
    check_envelope(event, "node.completed")
    assert set(event["data"]) == ALWAYS
    assert event["execution_id"] == event["graph_id"]
    assert (event["data"]["mode"], event["data"]["attempt"]) == ("tool", 1)


def test_failed_has_exactly_its_fields(wire: Wire) -> None:
    """`node.failed` has the sentence and the code beside the rest."""
    event = run(wire, COMPLAIN, execution_id="exec-1")
    check_envelope(event, "node.failed")
    assert set(event["data"]) == ALWAYS | {"error", "error_code", "retriable"}
    assert event["execution_id"] == "exec-1"
    assert event["data"]["error_code"] == "tool_failed"
    assert "no" in event["data"]["error"]
    assert event["data"]["output"] is None


def test_events_have_ids_of_their_own(wire: Wire) -> None:
    """No two events share an id."""
    for _ in range(3):
        run(wire, {"tool_name": "renamed"})
    ids = [event["id"] for event in wire.events(COMPLETED)]
    assert len(ids) == len(set(ids)) >= 3


def test_llm_output(wire: Wire) -> None:
    """`{"content","usage"}`, the usage in `data` too, and nothing else."""
    data = run(
        wire, {"llm_config": {"prompt": script({"reply": "Hi", "usage": {"input_tokens": 7, "output_tokens": 2}})}}
    )["data"]
    usage = {"input_tokens": 7, "output_tokens": 2}
    assert data["output"] == {"content": "Hi", "usage": usage}
    assert set(data) == ALWAYS | {"usage"}
    assert (data["mode"], data["usage"]) == ("llm", usage)


def test_a_model_that_was_called_in_vain_has_a_usage_too(wire: Wire) -> None:
    """It is told wherever a model was called; nobody has said that it cost anything."""
    for config in ({}, {"tools": ["plus"]}):
        data = wire.run({"llm_config": {"prompt": script({"error": "400"})}, **config})
        assert (data["error_code"], data["usage"]) == ("llm_rejected", {"input_tokens": 0, "output_tokens": 0})


def test_llm_output_with_a_schema(wire: Wire) -> None:
    """`parsed` where a schema was asked for, of any JSON type."""
    for schema, answer in (({"type": "object"}, {"a": [1]}), ({"type": "integer"}, 5), ({"type": "null"}, None)):
        prompt = script({"reply": json.dumps(answer)})
        output = wire.output({"llm_config": {"prompt": prompt, "output_schema": schema}})
        assert set(output) == {"content", "usage", "parsed"}
        assert output["parsed"] == answer
        assert json.loads(output["content"]) == answer


@pytest.mark.parametrize("tools", [[], ["renamed"]])
def test_stop_reason_of_a_model_that_had_not_finished(wire: Wire, tools: list[str]) -> None:
    """`stop_reason` stands in the output where the model was cut short, and nowhere else."""
    cut = script({"reply": "half an ans", "stop_reason": "max_tokens"})
    output = run(wire, {"llm_config": {"prompt": cut}, "tools": tools})["data"].get("output") or {}
    assert output.get("stop_reason") == "max_tokens"
    whole = wire.output({"llm_config": {"prompt": script({"reply": "all"})}, "tools": tools})
    assert "stop_reason" not in whole


def test_agent_output(wire: Wire) -> None:
    """`{"result","iterations","usage","tool_calls"}`; the usage is the sum over all calls."""
    usage = {"input_tokens": 10, "output_tokens": 3}
    prompt = script(
        {
            "tool_calls": [
                {"name": "plus", "arguments": {"a": 1}},
                {"name": "complain", "arguments": {"message": "told to the model"}},
            ],
            "usage": usage,
        },
        {"reply": "eleven", "usage": usage},
    )
    data = run(wire, {"llm_config": {"prompt": prompt}, "tools": ["plus", "complain"]})["data"]
    output = data["output"]
    assert set(output) == {"result", "iterations", "usage", "tool_calls"}
    assert (output["result"], output["iterations"]) == ("eleven", 2)
    assert output["usage"] == data["usage"] == {"input_tokens": 20, "output_tokens": 6}
    assert [set(call) for call in output["tool_calls"]] == [{"name", "ok", "duration_ms"}] * 2
    assert [(call["name"], call["ok"]) for call in output["tool_calls"]] == [("plus", True), ("complain", False)]
    assert data["mode"] == "agent"


def test_agent_output_with_a_schema(wire: Wire) -> None:
    """An agent's last answer follows the schema: `parsed` stands beside it or it is the result."""
    prompt = script({"reply": '{"a": 1}'})
    output = wire.output({"llm_config": {"prompt": prompt, "output_schema": {"type": "object"}}, "tools": ["plus"]})
    assert output["parsed"] == {"a": 1}


@pytest.mark.parametrize(
    "value", [None, False, 0, "", "text é 😀", [], {}, [1, {"a": None}], 2**80, -(2**63), 1.5, 1e300, {"": {"": []}}]
)
def test_tool_output_is_what_the_tool_returned(wire: Wire, value: Any) -> None:
    """Any JSON value comes out as it is, in the event and in the state."""
    graph_id = wire.new_graph()
    config = {"tool_name": "give_back", "tool_params": {"value": value}}
    wire.add({"graph_id": graph_id, "node_id": "n", "config": config, "inputs": {}})
    output = wire.wait_result(graph_id)["data"]["output"]
    assert output == value and type(output) is type(value)
    assert wire.node_state(graph_id)["output"] == value


def test_usage_of_a_failed_node(wire: Wire) -> None:
    """What a model's calls cost stands in `data.usage` although the node failed."""
    prompt = script({"reply": "not a number", "repeat": True, "usage": {"input_tokens": 5, "output_tokens": 1}})
    data = run(wire, {"llm_config": {"prompt": prompt, "output_schema": {"type": "integer"}}})["data"]
    assert data["error_code"] == "llm_bad_response"
    assert data["usage"]["input_tokens"] == 15, "one call and two corrections"


# Who hears of a failure


@pytest.fixture(scope="module")
def other_redis(room: Any) -> Iterator[RedisServer]:
    """A second Redis, for pools with settings of their own."""
    (room / "other").mkdir()
    server = RedisServer(room / "other")
    yield server
    server.close()


def mirrored(wire: Wire, graph_id: str) -> list[Json]:
    return [event for event in wire.events(COMPLETED, graph_id) if event["type"] == "node.failed"]


def fail(wire: Wire) -> str:
    event = run(wire, COMPLAIN)
    assert event["type"] == "node.failed"
    return str(event["graph_id"])


def test_failures_stay_on_their_stream_without_an_orchestrator(wire: Wire) -> None:
    """`auto`: nobody named `dago-workers` reads the completed events, so failures are only where they belong."""
    graph_id = fail(wire)
    holds_for(lambda: not mirrored(wire, graph_id), 0.2)


def test_failures_are_told_to_the_original_orchestrator(start: Callable[..., Wire], other_redis: RedisServer) -> None:
    """`auto`: a new group is noticed within 10 s, a group that goes is noticed as well; the type stays node.failed."""
    wire = start(other_redis)
    assert not mirrored(wire, fail(wire))
    wire.redis.xgroup_create(COMPLETED, "somebody", mkstream=True)
    assert not mirrored(wire, fail(wire))
    wire.redis.xgroup_create(COMPLETED, "dago-workers", mkstream=True)
    graph_id = wait_until(lambda: graph if mirrored(wire, graph := fail(wire)) else "", 10, "the group is noticed")
    (copy,), (original,) = mirrored(wire, graph_id), wire.events(FAILED, graph_id)
    check_envelope(copy, "node.failed")
    assert copy["data"]["error"] == original["data"]["error"]
    assert copy["data"]["error_code"] == "tool_failed"
    assert run(wire, {"tool_name": "renamed"})["type"] == "node.completed"
    wire.redis.xgroup_destroy(COMPLETED, "dago-workers")
    wait_until(lambda: not mirrored(wire, fail(wire)), 10, "the group is missed")
    assert wire.pool.drain() == 0


@pytest.mark.parametrize(("setting", "expected"), [("always", True), ("never", False)])
def test_failures_to_completed_can_be_fixed(
    start: Callable[..., Wire], other_redis: RedisServer, setting: str, expected: bool
) -> None:
    """`always` and `never` ask nobody."""
    wire = start(other_redis, workers=1, FAILURES_TO_COMPLETED=setting)
    if setting == "never":
        wire.redis.xgroup_create(COMPLETED, "dago-workers", mkstream=True)
    assert bool(mirrored(wire, fail(wire))) is expected
    assert wire.pool.drain() == 0


def test_result_streams_are_trimmed_but_nothing_unread(start: Callable[..., Wire], room: Any) -> None:
    """About RESULTS_MAXLEN entries are kept, and always what a group has not read yet."""
    (room / "small").mkdir()
    server = RedisServer(room / "small", extra=["--stream-node-max-entries", "5"])
    try:
        wire = start(server, RESULTS_MAXLEN="10")
        wire.redis.xgroup_create(COMPLETED, "slow", id="0", mkstream=True)
        graphs = [wire.new_graph() for _ in range(60)]
        for graph_id in graphs:
            wire.add({"graph_id": graph_id, "node_id": "n", "config": {"tool_name": "renamed"}, "inputs": {}})
            wire.add({"graph_id": graph_id, "node_id": "m", "config": COMPLAIN, "inputs": {}})
        wait_until(lambda: 5 <= wire.redis.xlen(FAILED) <= 20, 20, lambda: f"trimmed to {wire.redis.xlen(FAILED)}")
        wait_until(lambda: wire.redis.xlen(COMPLETED) == 60, 5, "nobody read them yet")
        read: Any = wire.redis.xreadgroup("slow", "c", {COMPLETED: ">"}, count=30)
        assert len(read[0][1]) == 30
        wait_until(lambda: wire.redis.xlen(COMPLETED) < 40, 15, "what was read is trimmed")
        assert wire.redis.xlen(COMPLETED) >= 30, "what was not read stays"
        rest: Any = wire.redis.xreadgroup("slow", "c", {COMPLETED: ">"}, count=100)
        assert len(rest[0][1]) == 30
        assert wire.pool.drain() == 0
    finally:
        server.close()
