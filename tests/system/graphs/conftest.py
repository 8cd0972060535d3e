"""Submit graphs to the real program and look at their runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from executor_worker.broker import Endpoint, Link
from executor_worker.broker.graphs import Steps, drive, runs
from executor_worker.graph.definition import Graph
from executor_worker.worker.output import rendered
from tests.kit import RedisServer, wait_until

ROOT = Path(__file__).parents[3]
TOOLS = {"TOOL_MODULES": "tests.system.graphs.tools", "PYTHONPATH": str(ROOT)}


def calc(expression: str) -> dict[str, Any]:
    """A node that computes."""
    return tool("calculate", expression=expression)


def tool(name: str, **params: Any) -> dict[str, Any]:
    """A node that calls a tool."""
    return {"type": "tool", "config": {"tool_name": name, "tool_params": params}}


class Kernel:
    """The verbs of runs over one line to a server."""

    def __init__(self, server: RedisServer) -> None:
        self.link = Link(Endpoint.parse(server.unix_url), name="test")

    def submit(self, graph: Mapping[str, Any], inputs: Mapping[str, Any] | None = None, **more: Any) -> str:
        """Submit a graph; answer its run's id."""
        return drive(self.link, self.submitting(graph, inputs, **more)).graph_id

    def submitting(
        self, graph: Mapping[str, Any], inputs: Mapping[str, Any] | None = None, **more: Any
    ) -> Steps[runs.Submitted]:
        """The verb that submits a graph."""
        return runs.submit(runs.Submission(Graph.read(graph), inputs or {}, runs.new_graph_id(), **more), rendered)

    def head(self, graph_id: str) -> runs.Head:
        head = drive(self.link, runs.head(graph_id))
        assert head is not None
        return head

    def wait(self, graph_id: str, seconds: float = 30.0) -> dict[str, Any]:
        """Wait for the end of a run; answer its result."""
        wait_until(lambda: self.head(graph_id).ended, seconds, lambda: f"it ends: {self.head(graph_id)}")
        return self.result(graph_id)

    def result(self, graph_id: str) -> dict[str, Any]:
        result: dict[str, Any] = json.loads(drive(self.link, runs.result(graph_id)))
        return result

    def document(self, graph_id: str) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(drive(self.link, runs.document(graph_id)) or b"null")
        return document

    def events(self, graph_id: str) -> list[dict[str, Any]]:
        """All events so far, which must be numbered from 1 without gaps."""
        found = drive(self.link, runs.events(graph_id, limit=100_000)).events
        assert [event["seq"] for event in found] == list(range(1, len(found) + 1))
        return found

    def statuses(self, graph_id: str) -> dict[str, str]:
        """Status by node."""
        return {view.id: view.status for view in drive(self.link, runs.nodes(graph_id)) or []}


@pytest.fixture
def kernel(redis_server: RedisServer) -> Iterator[Kernel]:
    """The verbs of runs on a Redis of its own."""
    made = Kernel(redis_server)
    yield made
    made.link.close()


@pytest.fixture
def on() -> Iterator[Callable[[RedisServer], Kernel]]:
    """Make them for another server."""
    made: list[Kernel] = []

    def make(server: RedisServer) -> Kernel:
        made.append(Kernel(server))
        return made[-1]

    yield make
    for one in made:
        one.link.close()
