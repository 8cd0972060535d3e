"""`demo`: the whole thing at work for a person to look at, with nothing set up."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from executor_worker.broker.names import COMPLETED_STREAM, FAILED_STREAM
from executor_worker.cli.demo import graph, resume
from executor_worker.cli.demo.stage import Stage
from executor_worker.cli.display import one_line

WORKERS = 4
GRAPH = "demo"
NODE_S = 30.0


def demo(args: argparse.Namespace) -> int:
    if args.resume:
        return resume.play()
    about = f"a graph of {len(graph.NODES)} nodes on a pool of {WORKERS} workers; only the model is scripted"
    with Stage(WORKERS, graph.SCRIPT, _warehouse, about) as stage:
        failed = Show(stage).run()
        return stage.finish(failed=failed, next_step="`executor-worker once --help`")


def _warehouse(folder: Path) -> Mapping[str, str]:
    warehouse = {"command": sys.executable, "args": ["-m", "executor_worker.cli.demo.warehouse"]}
    (folder / "mcp.json").write_text(json.dumps({"mcpServers": {"warehouse": warehouse}}))
    return {"MCP_CONFIG": str(folder / "mcp.json")}


class Show:
    """Plays the orchestrator: hands out nodes whose dependencies are done, until all are."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._say = stage.say
        self._seen: set[str] = set()
        self._places = {COMPLETED_STREAM: "0-0", FAILED_STREAM: "0-0"}

    def run(self) -> bool:
        """Return whether a node failed."""
        self._stage.await_workers()
        self._stage.store(GRAPH, graph.state(GRAPH))
        waiting, done = dict(graph.NODES), set[str]()
        running: set[str] = set()
        while waiting or running:
            ready = [name for name, node in waiting.items() if done.issuperset(node["dependencies"])]
            self._hand_out(ready)
            running |= {name for name in ready if waiting.pop(name)}
            for name in self._await_results(running):
                if name is None:
                    return True
                running.discard(name)
                done.add(name)
        return False

    def _hand_out(self, names: list[str]) -> None:
        for name in names:
            self._stage.submit(graph.item(GRAPH, name))
        if names:
            self._say.step("Graph", f"on the stream: {', '.join(names)}")

    def _await_results(self, running: set[str]) -> list[str | None]:
        """Wait for at least one result; a node's name, or None if it failed."""
        found: list[str | None] = []

        def arrived() -> bool:
            self._tell_who_works()
            found.extend(self._results())
            return bool(found)

        self._stage.wait(arrived, NODE_S, f"no result of {', '.join(sorted(running))}")
        return found

    def _tell_who_works(self) -> None:
        for row in self._stage.look().workers:
            node = str(row.get("item") or "").rpartition("/")[2]
            if node in graph.NODES and node not in self._seen:
                self._seen.add(node)
                self._say.took(f"worker {row['slot']}", node, graph.NODES[node]["type"])

    def _results(self) -> Iterator[str | None]:
        reply = self._stage.link.call("XREAD", "COUNT", "10", "STREAMS", *self._places, *self._places.values())
        for stream, entries in reply or []:
            for entry, fields in entries:
                self._places[stream.decode()] = entry.decode()
                yield self._tell_result(json.loads(fields[1]))

    def _tell_result(self, event: dict[str, Any]) -> str | None:
        data, node = event["data"], str(event["node_id"])
        if event["type"] != "node.completed":
            self._say.result(node, f"failed: {data['error']}", good=False)
            return None
        by = str(data["worker_id"]).rpartition(".")[2]
        text = f"by worker {by} in {data['duration_ms'] / 1000:.1f} s: {_gist(data['output'])}"
        self._say.result(node, text, good=True)
        return node


def _gist(output: Any) -> str:
    """Show the part of an output that a person wants to read."""
    if isinstance(output, dict):
        if "parsed" in output:
            output = output["parsed"]
        elif "tool_calls" in output:
            calls = ", ".join(call["name"] for call in output["tool_calls"])
            return f"{one_line(str(output['result']), 90)} [called {calls}]"
    return one_line(output if isinstance(output, str) else json.dumps(output, ensure_ascii=False), 120)
