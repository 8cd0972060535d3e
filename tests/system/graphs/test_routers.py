"""Where routers go: by their rules at once, by a model where the rules do not decide."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.kit import Pool, RedisServer
from tests.system.graphs.conftest import Kernel, calc

RULES = [{"condition": "inputs.amount > 1000", "target": "big"}, {"condition": "inputs.vip", "target": "vip"}]
MODEL = {"prompt_template": "Is this urgent? {{state.message}}", "routes": {"urgent": "fast", "calm": "slow"}}


def graph(config: dict[str, Any]) -> dict[str, Any]:
    """A router before a node for each way."""
    names = ("big", "vip", "fast", "slow", "else")
    nodes: dict[str, Any] = {name: calc(str(at)) for at, name in enumerate(names)}
    targets = {rule["target"] for rule in config.get("rules", config.get("fast_rules", ()))}
    targets |= set(config.get("llm_config", config.get("llm_fallback", {})).get("routes", {}).values())
    targets |= {config["fallback"]} if "fallback" in config else set()
    return {"nodes": {"route": {"type": "router", "config": config}, **{name: nodes[name] for name in targets}}}


@pytest.mark.parametrize(
    ("inputs", "way", "path"),
    [
        ({"amount": 5000}, "big", "fast"),
        ({"amount": 1, "vip": True}, "vip", "fast"),
        ({"amount": 1, "vip": False}, "else", "fallback"),
        ({}, "else", "fallback"),
    ],
)
def test_rules_decide_without_a_worker(kernel: Kernel, inputs: dict[str, Any], way: str, path: str) -> None:
    """The router is decided by whoever submits; rules that raise are told."""
    run = kernel.submit(graph({"rules": RULES, "fallback": "else"}), inputs)
    ways = {"big", "vip", "else"}
    assert kernel.statuses(run) == {"route": "completed", way: "queued", **dict.fromkeys(ways - {way}, "skipped")}
    route = kernel.document(run)["node_states"]["route"]["output"]
    assert (route["target"], route["path"], route["mode"]) == (way, path, "deterministic")
    raised = [event["data"]["condition"] for event in kernel.events(run) if event["type"] == "edge.error"]
    assert len(raised) == (0 if inputs else 2)


def test_model_decides_where_rules_do_not(
    redis_server: RedisServer, executor: Callable[..., Pool], kernel: Kernel, folder: Path
) -> None:
    """Hybrid: the fast rules first, then the model's answer as one of the labels, then the fallback."""
    answers = {
        '{"route": "urgent"}': ("fast", "slow"),
        "  CALM ": ("slow", "slow"),
        "I think it is calm.": ("slow", "slow"),
        "either urgent or calm": ("else", "fallback"),
        "no idea": ("else", "fallback"),
    }
    script = folder / "script.json"
    rules = [{"match": f"case {at} ", "reply": answer, "repeat": True} for at, answer in enumerate(answers)]
    script.write_text(json.dumps([*rules, {"match": "case broken", "error": "400", "times": 9, "repeat": True}]))
    executor(redis_server, workers=2, LLM_SCRIPT=str(script))
    config = {"mode": "hybrid", "fast_rules": RULES[:1], "llm_fallback": MODEL, "fallback": "else"}
    cases = [*((f"case {at} .", *wanted) for at, wanted in enumerate(answers.values()))]
    cases += [("case broken", "else", "fallback")]
    submitted = [kernel.submit(graph(config), {"amount": 1, "message": message}) for message, _, _ in cases]
    for run, (_, way, path) in zip(submitted, cases, strict=True):
        result = kernel.wait(run)
        assert result["status"] == "completed", result
        route = result["result"]["route"]["output"]
        assert (route["target"], route["path"], route["mode"]) == (way, path, "hybrid"), route
        assert "usage" in route
        assert route["reasoning"].startswith("llm call failed: ") == (run == submitted[-1]), route
        completed = [event for event in kernel.events(run) if event["type"] == "node.completed"]
        assert completed[0]["data"]["next_node"] == way and completed[0]["data"]["mode"] == "router"


def test_without_a_way_to_go_the_router_fails(kernel: Kernel) -> None:
    """`no_route`, and the run with it."""
    run = kernel.submit(graph({"rules": RULES}), {"amount": 1, "vip": False})
    result = kernel.wait(run)
    assert result["status"] == "failed" and result["result"]["route"]["metadata"]["error_code"] == "no_route"
