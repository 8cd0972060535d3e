"""What nodes that take no worker have for output, and whom a cascade has skipped, is seen by all that come after."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from executor_worker.broker.graphs import drive, runs
from executor_worker.broker.graphs.document_pieces import gathered
from executor_worker.broker.graphs.event_pages import pieces_with_outputs
from executor_worker.json_text import dumps, loads
from tests.kit import Pool, RedisServer, wait_until
from tests.system.graphs.conftest import TOOLS, Kernel, calc, tool


def test_outputs_of_start_and_end_are_seen(
    redis_server: RedisServer, executor: Callable[..., Pool], kernel: Kernel
) -> None:
    """In templates, rules, conditions, and the run's own output; of an end with conditions behind it too."""
    executor(redis_server, workers=1, **TOOLS)
    nodes = {
        "s": {"type": "start"},
        "r": {"type": "router", "config": {"rules": [{"condition": "nodes.s.q == 1", "target": "a"}], "fallback": "z"}},
        "a": tool("passes", value="{{s.q}}"),
        "x": {"type": "end"},
        "b": tool("passes", value="{{x}}"),
        "y": {"type": "end"},
        "z": tool("passes"),
    }
    edges = [
        {"from": "s", "to": "r"},
        {"from": "a", "to": "x"},
        {"from": "x", "to": "b", "condition": "output == 1"},
        {"from": "b", "to": "y"},
    ]
    graph = {"nodes": nodes, "edges": edges, "output": {"s": "{{s}}", "x": "{{x}}", "y": "{{y}}"}}
    result = kernel.wait(kernel.submit(graph, {"q": 1}))
    assert result["output"] == {"s": {"q": 1}, "x": 1, "y": 1}
    assert result["result"]["z"]["status"] == "skipped"


@pytest.mark.parametrize("join", ["any", "all"])
@pytest.mark.parametrize("rule", ["state.node_states.k.status == 'skipped'", "nodes.s.q == 1 && nodes.k == null"])
def test_rules_see_what_ended_in_the_same_step(
    redis_server: RedisServer, executor: Callable[..., Pool], kernel: Kernel, join: str, rule: str
) -> None:
    """The router is decided by the step that has skipped one of its past."""
    executor(redis_server, workers=1)
    router: dict[str, Any] = {"rules": [{"condition": rule, "target": "yes"}], "fallback": "no"}
    nodes = {
        "s": {"type": "start"},
        "a": calc("1"),
        "k": calc("2"),
        "r": {"type": "router", "join": join, "config": router},
        "yes": calc("1"),
        "no": calc("0"),
    }
    edges = [{"from": "s", "to": "a"}, {"from": "a", "to": "k", "condition": "false"}]
    edges += [{"from": "a", "to": "r"}, {"from": "k", "to": "r"}]
    run = kernel.submit({"nodes": nodes, "edges": edges}, {"q": 1})
    assert kernel.wait(run)["result"]["r"]["output"]["target"] == "yes"


@pytest.mark.parametrize("value", ["{{slow}}", "{{inputs.q}}"])
def test_node_behind_any_sees_as_null_what_still_runs(
    redis_server: RedisServer, executor: Callable[..., Pool], kernel: Kernel, folder: Path, value: str
) -> None:
    """Its template names it, or only the condition behind it does; also when it ends meanwhile."""
    executor(redis_server, workers=2, **TOOLS)
    gate = folder / "open"
    nodes = {
        "slow": tool("waits_for", file=str(gate)),
        "quick": calc("1"),
        "first": {**tool("passes", value=value), "join": "any", "on_failure": "continue"},
        "opens": tool("noted", file=str(gate)),
        "null": {"type": "end"},
    }
    edges = [
        {"from": "slow", "to": "first"},
        {"from": "quick", "to": "first"},
        {"from": "first", "to": "opens", "on": "always"},
        {"from": "first", "to": "null", "on": "always", "condition": "nodes.slow == null"},
    ]
    result = kernel.wait(kernel.submit({"nodes": nodes, "edges": edges}, {"q": None}))
    assert result["status"] == "completed" and result["result"]["slow"]["output"] == "there"
    first = result["result"]["first"]
    assert (first["status"], first["output"]) == ("completed", None)
    assert result["result"]["null"]["status"] == "completed"


def test_what_is_named_inside_of_a_skipped_or_failed_node_is_null(
    redis_server: RedisServer, executor: Callable[..., Pool], kernel: Kernel
) -> None:
    """In a node's templates and mappings, and in the run's own output."""
    executor(redis_server, workers=1, **TOOLS)
    nodes = {
        "a": calc("1"),
        "skipped": calc("2"),
        "failed": {**calc("1/0"), "on_failure": "continue"},
        "both": {
            **tool("passes", value="{{skipped.deep.er}} {{nodes.failed.x}} {{m}} {{a}}"),
            "input_mapping": {"m": "skipped.x"},
        },
    }
    edges = [
        {"from": "a", "to": "skipped", "condition": "false"},
        {"from": "a", "to": "both"},
        {"from": "skipped", "to": "both"},
        {"from": "failed", "to": "both"},
    ]
    output = {"own": "{{both}}", "skipped": "{{skipped.x.0}}", "failed": "<{{failed.x}}>"}
    run = kernel.submit({"nodes": nodes, "edges": edges, "output": output})
    result = kernel.wait(run)
    assert result["output"] == {"own": "null null null 1", "skipped": None, "failed": "<null>"}
    assert kernel.events(run)[-1]["data"] == {}


@pytest.mark.parametrize("output", [{"good": "{{a}}", "bad": ["{{a.nothing}}"]}, "{{a.nothing}}"])
@pytest.mark.parametrize("inline", [False, True])
def test_part_of_a_runs_output_that_can_not_be_made_is_null_and_told(
    redis_server: RedisServer, executor: Callable[..., Pool], kernel: Kernel, output: Any, inline: bool
) -> None:
    """With the last event, whoever ends the run: a worker, or who submits it."""
    executor(redis_server, workers=1)
    nodes = {"a": {"type": "start"} if inline else calc("1")}
    run = kernel.submit({"nodes": nodes, "output": output}, {"q": 1})
    result, whole = kernel.wait(run), isinstance(output, str)
    good = {"q": 1} if inline else 1
    assert (result["status"], result["error"]) == ("completed", None)
    assert result["output"] == (None if whole else {"good": good, "bad": [None]})
    errors = kernel.events(run)[-1]["data"]["output_errors"]
    assert list(errors) == ["output" if whole else "output.bad[0]"]
    assert "unknown name {{a.nothing}}" in next(iter(errors.values()))
    entries: Any = redis_server.client().xrange("dago:events:graph.events")
    told = [json.loads(fields[b"data"]) for _, fields in entries]
    (last,) = [event for event in told if event["graph_id"] == run and event["type"] == "graph.completed"]
    assert last["data"] == {"graph_id": run, "output_errors": errors}


def test_events_of_starts_and_ends_have_their_outputs(redis_server: RedisServer, kernel: Kernel) -> None:
    """Though they are stored nowhere: small ones are told, of large ones how large; all where that is asked for."""
    nodes = {name: {"type": "start" if name in "sl" else "end"} for name in ("s", "l", "a", "b", "c", "d", "e", "root")}
    pairs = ["sa", "ab", "bc", "cd", "sd", "ae", "ae", "sl"]
    edges = [{"from": pair[0], "to": pair[1], "on": "always" if pair == "ae" else "success"} for pair in pairs]
    edges.append({"from": "root", "to": "l", "condition": "nodes.root == null"})
    for inputs in ({"q": 1}, {"q": "x" * 2000}):
        run = kernel.submit({"nodes": nodes, "edges": edges}, inputs)
        told = {name: state["output"] for name, state in kernel.wait(run)["result"].items()}
        assert told["e"] == told["a"] == inputs and told["d"] == {"c": inputs, "s": inputs} and told["root"] is None
        found = [event for event in kernel.events(run) if event["type"] == "node.completed"]
        assert len(found) == len(nodes)
        for event in found:
            output, data = told[event["node_id"]], event["data"]
            small = output is None or len(dumps(output)) <= 1024
            assert data["output"] == output if small else data["output_bytes"] == len(dumps(output)) and len(data) == 2
        page = drive(kernel.link, runs.events(run, include_output=True))
        assert {each["node_id"]: each["data"]["output"] for each in page.events if "node_id" in each} == told
        page = drive(kernel.link, runs.events(run))
        pieces = drive(kernel.link, gathered(pieces_with_outputs(run, page.events, lambda event: event)))
        shown = [event for event in loads(b"[" + pieces + b"]") if "node_id" in event]
        assert {event["node_id"]: event["data"]["output"] for event in shown} == told


def test_end_within_an_end_is_told_to_others_too(
    redis_server: RedisServer, executor: Callable[..., Pool], kernel: Kernel
) -> None:
    """In the document and the event for others, which are written without a look at the graph; small ones."""
    executor(redis_server, workers=1)
    nodes = {"s": {"type": "start"}, "n": calc("1"), **{name: {"type": "end"} for name in "abcdef"}}
    edges = [{"from": pair[0], "to": pair[1]} for pair in ("na", "ab", "bc", "sc", "cd", "de", "se", "df")]
    run = kernel.submit({"nodes": nodes, "edges": edges}, {"q": 2})
    c = {"b": 1, "s": {"q": 2}}
    outputs = {"s": {"q": 2}, "n": 1, "a": 1, "b": 1, "c": c, "d": c, "e": {"d": c, "s": {"q": 2}}, "f": c}
    result = kernel.wait(run)
    assert {name: state["output"] for name, state in result["result"].items()} == outputs
    assert result["output"] == {"e": outputs["e"], "f": c}
    db = redis_server.client()
    document = json.loads(db.get(f"dago:state:{run}") or b"")
    assert {name: state["output"] for name, state in document["node_states"].items()} == outputs
    assert document["output"] == result["output"]
    entries: Any = db.xrange("dago:events:node.completed")
    told = [json.loads(fields[b"data"]) for _, fields in entries]
    assert {event["node_id"]: event["data"]["output"] for event in told if event["graph_id"] == run} == outputs


def test_ends_that_double_at_each_step_are_left_out(redis_server: RedisServer, kernel: Kernel) -> None:
    """Two ends lead to each: the last would have gigabytes."""
    nodes = {f"{side}{level}": {"type": "end"} for level in range(30) for side in "ab"}
    edges = [
        {"from": f"{source}{level}", "to": f"{target}{level + 1}"}
        for level in range(29)
        for source in "ab"
        for target in "ab"
    ]
    run = kernel.submit({"nodes": nodes, "edges": edges})
    wait_until(lambda: kernel.head(run).ended, 20, "it ends")
    raw = drive(kernel.link, runs.result(run))
    last = loads(raw)["result"]["a29"]
    assert last["output"] is None and last["metadata"]["output_bytes"] > 10**9
    assert len(raw) < 32 * 2**20
    page = drive(kernel.link, runs.events(run, limit=1000, include_output=True))
    assert any(event["data"].get("output_bytes", 0) > 10**9 for event in page.events)
