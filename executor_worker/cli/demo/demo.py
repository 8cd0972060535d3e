"""`demo`: the whole thing at work for a person to look at, with nothing set up."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from executor_worker.broker.graphs import drive, runs
from executor_worker.cli.demo import graph, resume
from executor_worker.cli.demo.stage import Stage
from executor_worker.cli.display import one_line
from executor_worker.cli.graph.following import follow
from executor_worker.client import DagoClient
from executor_worker.graph.definition import Graph
from executor_worker.program.services import api_is_installed
from executor_worker.worker.output import rendered

WORKERS = 4


def demo(args: argparse.Namespace) -> int:
    if args.resume:
        return resume.play()
    logging.disable(logging.INFO)  # of libraries: all that happens is said on stdout
    about = f"a graph of {len(graph.NODES)} nodes on a pool of {WORKERS} workers; only the model is scripted"
    with Stage(WORKERS, graph.SCRIPT, _warehouse, about, api=api_is_installed()) as stage:
        failed = Show(stage).run()
        next_step = (
            "`LLM_PROVIDER=scripted executor-worker graph run examples/graphs/research.yaml`, no key needed, or"
            " `run --embedded --api` and docs/API.md"
        )
        return stage.finish(failed=failed, next_step=next_step)


def _warehouse(folder: Path) -> Mapping[str, str]:
    warehouse = {"command": sys.executable, "args": ["-m", "executor_worker.cli.demo.warehouse"]}
    (folder / "mcp.json").write_text(json.dumps({"mcpServers": {"warehouse": warehouse}}))
    return {"MCP_CONFIG": str(folder / "mcp.json")}


class Show:
    """Submits the graph, over HTTP if the API is installed, and shows what happens until the run has ended."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._say = stage.say

    def run(self) -> bool:
        """Return whether the run failed."""
        self._stage.await_workers()
        if self._stage.api_url:
            with DagoClient(self._stage.api_url) as dago:
                graph_id = dago.submit_graph(graph.DOCUMENT, graph.INPUTS)
                self._say.step("Graph", f"POST {self._stage.api_url}/api/v1/graphs: 201, the run {graph_id}")
                return self._tell(dago.events(graph_id))
        submission = runs.Submission(Graph.read(graph.DOCUMENT), graph.INPUTS, runs.new_graph_id())
        graph_id = drive(self._stage.link, runs.submit(submission, rendered)).graph_id
        self._say.step("Graph", f"submitted over Redis: the run {graph_id}")
        return self._tell(follow(self._stage.link, graph_id))

    def _tell(self, events: Iterable[dict[str, Any]]) -> bool:
        last = ""
        for event in events:
            last, data, node = event["type"], event["data"], str(event.get("node_id", ""))
            by = str(data.get("worker_id", "")).rpartition(".")[2]
            match last:
                case "node.started":
                    self._say.took(f"worker {by}", node, graph.NODES[node]["type"])
                case "node.completed":
                    text = f"by worker {by} in {data['duration_ms'] / 1000:.1f} s: {_gist(data.get('output'))}"
                    self._say.result(node, text, good=True)
                case "node.failed":
                    self._say.result(node, f"failed: {data['error']}", good=False)
                case "graph.completed" | "graph.failed":
                    self._say.step("Run", f"{last.partition('.')[2]}, after {event['seq']} events")
        return last != "graph.completed"


def _gist(output: Any) -> str:
    """Show the part of an output that a person wants to read."""
    if isinstance(output, dict):
        if "parsed" in output:
            output = output["parsed"]
        elif "tool_calls" in output:
            calls = ", ".join(call["name"] for call in output["tool_calls"])
            return f"{one_line(str(output['result']), 90)} [called {calls}]"
    return one_line(output if isinstance(output, str) else json.dumps(output, ensure_ascii=False), 120)
