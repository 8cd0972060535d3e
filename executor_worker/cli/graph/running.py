"""`graph run`: one graph to its end, here and now."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from executor_worker.broker.connection.embedded import Embedded
from executor_worker.broker.connection.endpoint import Endpoint
from executor_worker.broker.connection.link import Link
from executor_worker.broker.graphs import drive, runs
from executor_worker.cli.child_pool import ChildPool
from executor_worker.cli.display import on_terminal, print_json
from executor_worker.cli.exits import CONFIG, DONE, FAILED, Quit
from executor_worker.cli.graph.checking import limits_of, lines
from executor_worker.cli.graph.following import follow, teller
from executor_worker.cli.graph.reading import Request, read_request
from executor_worker.graph.definition import Graph
from executor_worker.graph.validation import check
from executor_worker.json_text import loads
from executor_worker.nodes import spec
from executor_worker.settings import Settings, known_names
from executor_worker.worker.output import rendered

LOOK_S = 0.5


def run(settings: Settings, args: argparse.Namespace) -> int:
    """Run a graph with a pool of its own, and where none is named a Redis of its own; print its result."""
    request = read_request(args.file, args.input, args.inputs, settings.max_graph_bytes)
    graph = read_graph(request, settings)
    with ExitStack() as stack:
        address = args.redis or stack.enter_context(Embedded()).address
        link = stack.enter_context(closing(Link(Endpoint.parse(address), name="graph-run")))
        graph_id = submit_graph(link, graph, request, settings)
        pool = stack.enter_context(_pool(address, args.workers))
        show = teller_on_stderr()
        ended = False
        after = 0
        while not ended:
            for event in _followed(link, graph_id, after, pool):
                show(event)
                after = event["seq"]
            ended = drive(link, runs.require(graph_id)).ended
        return print_result(link, graph_id)


def read_graph(request: Request, settings: Settings) -> Graph:
    """
    Read a graph that can run with these inputs.

    Raises:
        Quit: It can't; with all that is wrong.
    """
    report = check(request.graph, limits_of(settings), config_rules=spec.read, inputs=request.inputs)
    if report.located is None or not report.valid:
        raise Quit(FAILED, *lines(report.errors))
    return report.located.graph


def submit_graph(link: Link, graph: Graph, request: Request, settings: Settings) -> str:
    """Submit a graph; answer its run's id."""
    submission = runs.Submission(
        graph,
        request.inputs,
        runs.new_graph_id(),
        default_timeout_s=settings.timeout_graph_execution,
        queued_max=settings.run_queued_max,
        state_ttl_s=settings.state_ttl,
        max_active=settings.max_active_graphs,
    )
    return drive(link, runs.submit(submission, rendered)).graph_id


def print_result(link: Link, graph_id: str) -> int:
    """Print an ended run's result as JSON; answer the exit status."""
    result = loads(drive(link, runs.result(graph_id)))
    print_json(result)
    return DONE if result["status"] == "completed" else FAILED


def teller_on_stderr() -> Any:
    """Show steps on stderr if that is a terminal: stdout is for the result."""
    if not on_terminal(sys.stderr):
        return lambda _event: None
    return teller(sys.stderr)


def _followed(link: Link, graph_id: str, after: int, pool: ChildPool) -> Iterator[dict[str, Any]]:
    """
    Raises:
        Quit: The pool has ended.
    """
    yield from follow(link, graph_id, after, time.monotonic() + LOOK_S)
    if pool.status is not None:
        status = CONFIG if pool.status == CONFIG else FAILED  # its settings are those of this command
        raise Quit(status, f"the pool ended with status {pool.status}:", pool.last_words())


@contextmanager
def _pool(address: str, workers: int) -> Iterator[ChildPool]:
    with tempfile.TemporaryDirectory(prefix="executor-graph-") as folder:
        pool = ChildPool(["--workers", str(workers)], _settings(address), Path(folder))
        try:
            yield pool
        finally:
            pool.close()


def _settings(address: str) -> Mapping[str, str]:
    """All settings around us, with a name and an address of its own."""
    env_file = os.environ.get("ENV_FILE", ".env")
    return {
        **{name: os.environ[name] for name in known_names() if name in os.environ},
        "ENV_FILE": str(Path(env_file).resolve()) if Path(env_file).exists() else os.devnull,
        "WORKER_ID": f"graph-run-{os.getpid()}",
        "REDIS_ADDR": address,
        "HEALTH_PORT": "",
        "LOG_FORMAT": "json",
        "LOG_FILE": "",
    }
