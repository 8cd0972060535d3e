"""`graph run` with the examples: a pool and a Redis of its own, the result as JSON, 1 if the graph failed."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

import pytest

from tests.kit import PROGRAM
from tests.kit.paths import ROOT

WANTED: dict[str, tuple[tuple[str, ...], Any, tuple[str, ...]]] = {
    "agent.yaml": ((), "checked", ()),
    "fan_out.json": ((), {"by_shop": {"north": 360, "east": 125, "south": 100, "west": 300}, "total": 885}, ()),
    "research.yaml": (("-i", "topic=moss"), "moss", ()),
    "retry.yaml": ((), "Translate into Norwegian", ()),
    "review.yaml": (("-i", 'expression="12 * (3 +"'), "can't be worked out", ("approve",)),
    "triage.yaml": (("-i", "message=Hello"), "Answer as the technical team", ("billing", "priority", "general")),
}
"""Arguments, the run's output or a part of it, and the nodes that are skipped."""


def graph_run(*arguments: str, provider: str = "scripted") -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if name not in ("REDIS_ADDR", "LLM_API_KEY")}
    env["LLM_PROVIDER"] = provider
    command = [str(PROGRAM), "graph", "run", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=env, check=False)


@pytest.mark.parametrize("name", WANTED)
def test_an_example_runs_to_its_end(name: str) -> None:
    """Each with the branches that its comment promises."""
    arguments, output, skipped = WANTED[name]
    done = graph_run(str(ROOT / "examples" / "graphs" / name), *arguments)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["status"] == "completed"
    if isinstance(output, str):
        assert output in json.dumps(result["output"])
    else:
        assert result["output"] == output
    assert tuple(node for node, state in result["result"].items() if state["status"] == "skipped") == skipped


def test_a_graph_that_fails_is_1_and_says_why(tmp_path: Any) -> None:
    """Its result is printed all the same."""
    file = tmp_path / "graph.json"
    file.write_text(
        '{"nodes": {"a": {"type": "tool", "tool_name": "calculate", "tool_params": {"expression": "1 / 0"}}}}'
    )
    done = graph_run(str(file))
    result = json.loads(done.stdout)
    assert done.returncode == 1 and result["status"] == "failed" and "1 / 0" not in done.stdout.split("result")[0]
    assert "zero" in result["error"] and result["result"]["a"]["status"] == "failed"


def test_a_pool_that_can_not_start_says_why() -> None:
    """In its own words, below ours; the program's name stands once on each line."""
    done = graph_run(str(ROOT / "examples" / "graphs" / "research.yaml"), provider="anthropic")
    ended, why = done.stderr.splitlines()
    assert done.returncode == 78 and ended == "executor-worker: the pool ended with status 78:"
    assert why.startswith("executor-worker: LLM_API_KEY: it is not set")


def test_the_graph_of_the_readme_runs_to_its_end(tmp_path: Any) -> None:
    """The first thing a reader sees, as it stands there."""
    file = tmp_path / "graph.yaml"
    file.write_text((ROOT / "README.md").read_text().split("```yaml\n")[1].split("```")[0])
    done = graph_run(str(file), "-i", "topic=tides")
    assert done.returncode == 0 and json.loads(done.stdout)["result"].keys() == {"plan", "facts", "answer"}, done.stderr
