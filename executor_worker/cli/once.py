"""`once`: one node from a file to its outcome on stdout, with no Redis in sight."""

from __future__ import annotations

import argparse
import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from types import FrameType
from typing import Any

from executor_worker.cli.display import print_json
from executor_worker.cli.exits import DONE, FAILED, INTERRUPTED
from executor_worker.cli.files import read_bytes, refuse_stdin_twice, writable
from executor_worker.cli.outcomes import print_outcome
from executor_worker.cli.state_files import checked_state, of_graph
from executor_worker.cli.tool_traces import TracingContext
from executor_worker.cli.unknown_fields import parsed, warn_of_unknown_fields
from executor_worker.envelopes.work_item import Item, decode
from executor_worker.errors import Abandoned, InvalidNode, NodeError, Overdue, StateMissing
from executor_worker.graph.state import GraphState
from executor_worker.json_text import dumps
from executor_worker.nodes import spec
from executor_worker.nodes.executor import Executor, Task
from executor_worker.nodes.journal import Journal, Recorded
from executor_worker.outcome import Failed
from executor_worker.program.wiring import executor_of, model_settings, require_model, tool_registry
from executor_worker.providers import Models
from executor_worker.providers.prices import Prices
from executor_worker.settings import Settings
from executor_worker.telemetry import logs

# What a node has to stand in if it is run by itself.
_GRAPH, _NODE = "once", "node"


def once(settings: Settings, args: argparse.Namespace) -> int:
    refuse_stdin_twice(args.file, args.state)
    raw = read_bytes(args.file)
    state = read_bytes(args.state) if args.state else None
    warnings = warn_of_unknown_fields([parsed(raw)], run=True, numbered=False)
    try:
        item = decode(_as_item(raw), settings.max_item_bytes)
        task = _task(item, _state(state, item) if state is not None else None)
    except NodeError as error:
        return _refused(error, warnings) if args.dry_run else print_outcome(Failed.of(error))
    if not args.dry_run and _calls_model(task.config):
        require_model(settings, os.environ)
    prices = Prices.load(settings.llm_prices)
    with closing(tool_registry(settings)) as tools, closing(Models(model_settings(settings))) as models:
        executor = executor_of(settings, models, tools, prices)
        if args.dry_run:
            return _preview(executor, task, warnings)
        with _recording(args.record) as journal:
            return _run(executor, task, _seconds(settings, item), journal)


def _preview(executor: Executor, task: Task, warnings: list[str]) -> int:
    seen = executor.preview(task) | _warned(warnings)
    print_json(seen)
    return DONE if seen["valid"] else FAILED


def _refused(error: NodeError, warnings: list[str]) -> int:
    print_json({"valid": False, "mode": None, "error": str(error), "error_code": error.code} | _warned(warnings))
    return FAILED


def _warned(warnings: list[str]) -> dict[str, Any]:
    return {"warnings": warnings} if warnings else {}


def _state(raw: bytes, item: Item) -> GraphState:
    """
    Raises:
        StateInvalid: It is no state, or another graph's than the item's.
    """
    document = checked_state(raw)
    if item.graph_id != _GRAPH:
        of_graph(document, [item.graph_id])
    return GraphState.parse(raw)


@contextmanager
def _recording(file: str | None) -> Iterator[Journal | None]:
    """Keep the run's steps, and write them to *file* however it ends."""
    if file is None:
        yield None
        return
    with writable(file) as lines:
        journal = Recorded([])
        try:
            yield journal
        finally:
            lines.writelines(dumps(record) + b"\n" for record in journal.records)


def _run(executor: Executor, task: Task, seconds: float, journal: Journal | None) -> int:
    signal.signal(signal.SIGINT, _stop)
    try:
        with logs.context(graph=task.graph_id, node=task.node_id):
            return print_outcome(executor.execute(task, TracingContext(time.monotonic() + seconds), journal))
    except Overdue:
        return print_outcome(Failed("the node's time is up", "node_timeout"))
    except Abandoned:
        return INTERRUPTED
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # what is left is to close the tools, which takes its time


def _stop(_signum: int, _frame: FrameType | None) -> None:
    """Stop the node on Ctrl-C: a KeyboardInterrupt would be taken for its failure."""
    raise Abandoned("Ctrl-C")


def _as_item(raw: bytes) -> bytes:
    """
    Fill in the names that a node in a file of its own can do without.

    Accepted besides the two forms of a work item: a graph's node (`id`, `type`, `config`) and a bare `config`.
    """
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        return raw  # what is wrong with it is for `decode` to say
    if not isinstance(document, dict) or isinstance(document.get("data"), dict):
        return raw
    if "config" not in document and {"tool_name", "llm_config"} & document.keys():
        document = {"config": document}
    names = {"graph_id": _GRAPH, "node_id": document.get("id", _NODE), "node_type": document.get("type", "")}
    if names.keys() <= document.keys():
        return raw
    return json.dumps(names | document).encode("utf-8", "surrogatepass")


def _task(item: Item, state: GraphState | None) -> Task:
    """
    Raises:
        StateMissing, InvalidNode: There is no config to run.
    """
    config = item.config
    if config is None:
        if state is None:
            raise StateMissing('the item brings no config: add "config", or name the graph state it is in with --state')
        config = state.config_of(item.node_id)
    if config is None:
        raise InvalidNode(f"neither the item nor the state's graph has a config for the node {item.node_id!r}")
    return Task(
        graph_id=item.graph_id,
        node_id=item.node_id,
        node_type=item.node_type,
        config=config,
        inputs={**(state.inputs if state else {}), **(item.given_inputs or {})},
        outputs=dict(state.outputs) if state else {},
    )


def _calls_model(config: dict[str, Any]) -> bool:
    return spec.mode_of(config) != "tool" or config.get("extract_params") is not None


def _seconds(settings: Settings, item: Item) -> float:
    return min(settings.node_timeout, item.deadline - time.time() if item.deadline is not None else float("inf"))
