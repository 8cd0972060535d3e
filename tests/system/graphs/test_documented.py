"""Documented graphs run to their ends: nine routing cases, an array with dependencies, the form of the schema."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.kit import Pool, RedisServer
from tests.system.graphs.conftest import Kernel, calc
from tests.unit.executor_worker.graph.test_router import CASES


def test_nine_documented_routing_cases_give_their_routes(
    redis_server: RedisServer, executor: Callable[..., Pool], kernel: Kernel, folder: Path
) -> None:
    """Each as a run: its router's target runs, nothing else does; a model's answer is looked for as its case says."""
    answers = {answer for *_, answer, _, _ in CASES if answer is not None}
    script = [{"match": f"SAY {number}!", "reply": answer, "repeat": True} for number, answer in enumerate(answers)]
    script.append({"match": "SAY nothing!", "error": "401", "times": 1000})
    (folder / "script.json").write_text(json.dumps(script))
    executor(redis_server, workers=2, LLM_SCRIPT=str(folder / "script.json"))
    numbers = {answer: number for number, answer in enumerate(answers)}
    runs = [(case, kernel.submit(_graph(config), _said(inputs, numbers.get(answer or "", "nothing"))), target, path)
            for case, config, inputs, answer, target, path in CASES]  # fmt: skip
    for case, run, target, path in runs:
        states = kernel.wait(run)["result"]
        output = states["route"]["output"]
        assert (output["target"], output["path"]) == (target, path), (case, states["route"])
        completed = {name for name, state in states.items() if state["status"] == "completed"}
        assert completed == {"route", target}, case


def _graph(config: dict[str, Any]) -> dict[str, Any]:
    """A router before all the nodes that its config names."""
    nested = [config.get(name) or {} for name in ("llm_config", "llm_fallback")]
    rules = [*config.get("rules", ()), *config.get("fast_rules", ())]
    targets = {rule["target"] for rule in rules} | {config["fallback"]}
    for routes in (part.get("routes", {}) for part in (config, *nested)):
        targets |= set(routes.values())
    return {"nodes": {"route": {"type": "router", "config": config}, **{name: calc("1") for name in sorted(targets)}}}


def _said(inputs: dict[str, Any], answer: object) -> dict[str, Any]:
    """The same inputs, with what the model is to say in the texts that prompts show."""
    return {
        name: f"{value} SAY {answer}!" if name in ("message", "company") and isinstance(value, str) else value
        for name, value in inputs.items()
    }


def test_array_of_nodes_with_dependencies_runs_to_its_end(
    redis_server: RedisServer, executor: Callable[..., Pool], kernel: Kernel
) -> None:
    """As API documents show them: agents with a model and a system prompt, which see what they depend on."""
    executor(redis_server, workers=2)
    nodes = [
        {"id": "first", "type": "agent", "config": {"model": "m", "system": "Sum up.", "temperature": 0.7}},
        {"id": "second", "type": "agent", "config": {"model": "m", "system": "Translate."}, "dependencies": ["first"]},
        {"id": "third", "type": "agent", "config": {"model": "m"}, "dependencies": ["first", "second"]},
    ]
    graph = {"id": "article", "version": "1.0.0", "nodes": nodes}
    run = kernel.submit(graph, {"topic": "tides"})
    result = kernel.wait(run)
    assert result["status"] == "completed"
    assert result["result"]["first"]["output"]["content"] == 'scripted: {"topic":"tides"}'
    seen = json.loads(result["output"]["content"].removeprefix("scripted: "))
    assert list(seen) == ["inputs", "first", "second"] and seen["inputs"] == {"topic": "tides"}
    ends = [event["node_id"] for event in kernel.events(run) if event["type"] == "node.completed"]
    assert ends == ["first", "second", "third"]


def test_form_of_the_graph_schema_runs_to_its_end(
    redis_server: RedisServer, executor: Callable[..., Pool], kernel: Kernel
) -> None:
    """A map of executors and routers with ids, executor types, routes with conditions and a default, and edges."""
    executor(redis_server, workers=2)

    def executor_node(name: str, kind: str, config: dict[str, Any]) -> dict[str, Any]:
        return {"id": name, "type": "executor", "executor_type": kind, "config": config}

    nodes = {
        "count": executor_node("count", "tool", {"tool_name": "calculate", "tool_params": {"expression": "{{n}} * 2"}}),
        "choose": {
            "id": "choose",
            "type": "router",
            "routes": [
                {"condition": "nodes.count > 10", "target": "large", "description": "much", "priority": 1},
                {"condition": "nodes.count > 100", "target": "huge", "priority": 5},
            ],
            "default_route": "small",
        },
        **{name: executor_node(name, "llm", {"prompt": name + " {{count}}"}) for name in ("small", "large", "huge")},
    }
    graph = {
        "id": "by-size",
        "version": "1.0",
        "entry_node": "count",
        "nodes": nodes,
        "edges": [
            {"id": "e1", "from": "count", "to": "choose", "label": "then", "metadata": {}},
            *({"from": "choose", "to": name} for name in ("small", "large", "huge")),
        ],
    }
    for n, way in ((1, "small"), (20, "large"), (200, "huge")):
        result = kernel.wait(kernel.submit(graph, {"n": n}))
        assert result["output"][way]["content"] == f"scripted: {way} {2 * n}"
        assert [name for name, state in result["result"].items() if state["status"] == "skipped"] == [
            name for name in ("small", "large", "huge") if name != way
        ]
