"""The cost of a run: what its nodes' model calls have spent, failed attempts included."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.kit import Pool, RedisServer
from tests.system.graphs.conftest import Kernel, calc

USED = {"input_tokens": 1000, "output_tokens": 100}
COST = (1000 * 3 + 100 * 15) / 1e6


def model(*rules: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A node that asks the scripted model."""
    return {"type": "llm", "config": {"prompt": json.dumps({"script": list(rules)}), **more}}


def test_run_counts_what_its_nodes_have_spent(
    redis_server: RedisServer, executor: Callable[..., Pool], kernel: Kernel, folder: Path
) -> None:
    """Two calls, and three of a node that never answers as its schema wants; nothing if no model was asked."""
    (folder / "prices.json").write_text(json.dumps({"priced": {"input": 3, "output": 15}}))
    executor(redis_server, workers=1, LLM_PRICES=str(folder / "prices.json"), LLM_MODEL="priced")
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    wrong = model({"reply": "no number", "usage": USED, "repeat": True}, output_schema=schema)
    nodes = {
        "a": model({"reply": "one", "usage": USED}),
        "b": model({"reply": "two", "usage": USED}),
        "c": {**wrong, "retry": {"max_attempts": 2, "delay": 0.01}, "on_failure": "continue"},
        "d": calc("1"),
    }
    run = kernel.submit({"nodes": nodes})
    states = kernel.wait(run)["result"]
    assert states["a"]["metadata"]["usage"]["cost_usd"] == pytest.approx(COST)
    asked = sum(event["type"] == "llm.called" for event in kernel.events(run))
    assert asked >= 4 and kernel.head(run).cost_usd == pytest.approx(asked * COST)
    free = kernel.submit({"nodes": {"d": calc("1")}})
    kernel.wait(free)
    assert kernel.head(free).cost_usd is None
